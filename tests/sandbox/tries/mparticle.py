"""mParticle has no actions: it gets every event."""

from tests.sandbox.tries import Try

TRIES: tuple[Try, ...] = ()
