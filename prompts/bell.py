"""Ring for executions: `engage.bell`, with what a worker looks at first."""

from uuid import UUID

from engage import bell

WORK, FORWARD = "prompts.work", "prompts.forward"
UNTIL_THE_NEXT_TICKS = 10.0
"""Seconds for which a bell for what is left is good: two ticks of the sweep, which rings again. While all threads are busy these
bells would otherwise become more and more."""


def ring_on_commit(execution_id: UUID | None = None) -> None:
    """Ring once the transaction at hand is committed; `execution_id` is what the worker looks at first."""
    bell.ring_on_commit(WORK, *([str(execution_id)] if execution_id else []))


def ring() -> None:
    """Ring now for what is left, whichever rows they are, or keep quiet while the broker is away."""
    bell.ring(WORK, good_for=UNTIL_THE_NEXT_TICKS)


def ring_for_forwards(connection_id: UUID) -> None:
    """Ring for a connection's events that wait to be forwarded, or keep quiet while the broker is away."""
    bell.ring(FORWARD, str(connection_id))
