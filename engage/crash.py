"""Crash points: named places between two writes or calls, at which a drill ends the process as a power cut would.

`ENGAGE_CRASH_AT` names one; without it `point()` compares two texts and does nothing. An installation that is reached over
HTTPS refuses it, any other one says it aloud at its start. What must be true after each of them is in `tests/crash/`.
"""

import os
from typing import Final

from django.conf import settings

STATUS: Final[int] = 86
"""The exit status of a process that ended at a point."""
POINTS: Final[dict[str, str]] = {
    "event.written": "event and executions are written, and not committed",
    "event.committed": "what was stored is committed, and nobody rang for it",
    "bell.rung": "the bell rang",
    "claim.next": "a worker is about to claim",
    "claim.made": "an execution is claimed",
    "breaker.turned": "the turn of a paused connection is taken",
    "attempt.stored": "the attempt's row is stored, and nothing was asked",
    "token.given": "the vendor gave out an access token, and it is kept nowhere",
    "token.kept": "the access token is kept",
    "look.next": "the vendor is about to be asked whether it was done before",
    "look.answered": "the vendor said whether it was done before",
    "write.next": "a write is built, and nothing of it is stored",
    "write.begun": "“write begun” is stored, and nothing has left",
    "write.sent": "the vendor has the write, and its answer is not read",
    "write.answered": "the answer to the write is read, and nothing of it is stored",
    "settle.next": "the outcome is known and not stored",
    "settle.written": "the outcome is written, what goes next is not decided, and nothing is committed",
    "settle.decided": "what goes next is written, and nothing is committed",
    "settle.committed": "the outcome is committed, and the breaker has not been told",
    "breaker.opened": "a connection pauses, and its queue was not postponed",
    "breaker.closed": "a connection goes on, and its queue was not told",
    "lease.returning": "an expired lease is returned, and not committed",
    "lease.returned": "an expired lease is returned, and nobody rang",
    "batch.claimed": "a batch of forwards is claimed",
    "batch.answered": "a batch was answered, and none of its events is settled",
    "batch.settled": "a batch is settled, and its connection was not told",
    "round.claimed": "a round through the subscribers is claimed",
    "round.answered": "a batch of people was answered, and the cursor is where it was",
    "round.stored": "the cursor is behind a batch of people",
    "hook.claimed": "a vendor's message is claimed",
    "hook.told": "a vendor's message has its effect, and neither is committed",
    "import.staged": "a file is read and judged, and nothing of it is merged",
    "import.merged": "a batch of rows is merged, and neither they nor the cursor are committed",
    "import.committed": "a batch of rows is merged and committed",
}
"""Every point, and what is so there."""


def point(name: str) -> None:
    """Pass a point. Where `ENGAGE_CRASH_AT` names it the process ends here: nothing is flushed, closed or rolled back by us."""
    if name == settings.ENGAGE_CRASH_AT:
        os._exit(STATUS)
