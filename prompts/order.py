"""In which order the executions of one event go. Pure: rows in, changes out.

*Stop*: `done`, or handed over without a report, lets the next go; an end at which nothing happened skips all that follow;
every other state keeps them waiting. *Continue*: the next goes once this one's first attempt has ended.
"""

from collections.abc import Iterable
from typing import Protocol, TypeVar

from prompts.models import NOTHING_HAPPENED, OnError, Reason, State


class Row(Protocol):
    """What is looked at of an execution."""

    @property
    def state(self) -> str:
        """A `State`."""

    @property
    def reason(self) -> str:
        """Why it is in that state."""

    @property
    def on_error(self) -> str:
        """An `OnError`."""

    @property
    def attempts_made(self) -> int:
        """How many attempts have ended."""

    @property
    def wants_report(self) -> bool:
        """Whether the client has not said yet what came of it."""


AnyRow = TypeVar("AnyRow", bound=Row)


def changes(rows: Iterable[AnyRow]) -> list[tuple[AnyRow, State]]:
    """Return which executions (of one event, in order) now change to queued, blocked or skipped."""
    found: list[tuple[AnyRow, State]] = []
    stopped = waiting = False
    for row in rows:
        state = State(row.state)
        if state is State.BLOCKED or (state is State.SKIPPED and row.reason == Reason.STOPPED):
            wanted = State.SKIPPED if stopped else State.BLOCKED if waiting else State.QUEUED
            if wanted is not state:
                found.append((row, wanted))
            waiting = waiting or wanted is not State.SKIPPED
            continue
        if state is State.DONE or (state is State.HANDED_OVER and not row.wants_report):
            continue
        if state in NOTHING_HAPPENED:
            stopped = stopped or row.on_error == OnError.STOP
        elif row.on_error == OnError.STOP or not first_attempt_ended(row):
            waiting = True
    return found


def first_attempt_ended(row: Row) -> bool:
    """Whether an open execution has been tried once, and is not being tried just now."""
    return row.attempts_made > 0 and row.state not in {State.RUNNING, State.QUEUED}
