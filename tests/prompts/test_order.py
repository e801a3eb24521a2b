"""The order of an event's executions, as a table: what stands in the lane, and what goes next."""

from dataclasses import dataclass

import pytest

from prompts.models import Reason, State
from prompts.order import changes


@dataclass
class Row:
    state: str
    on_error: str = "stop"
    attempts_made: int = 0
    reason: str = ""
    wants_report: bool = False


BLOCKED = State.BLOCKED


@pytest.mark.parametrize(
    ("first", "goes"),
    [
        (Row("done"), State.QUEUED),
        (Row("handed_over"), State.QUEUED),
        (Row("handed_over", wants_report=True), None),
        (Row("queued"), None),
        (Row("running", attempts_made=1), None),
        (Row("waiting", attempts_made=1), None),
        (Row("pending", attempts_made=1), None),
        (Row("held", attempts_made=1), None),
        (Row("uncertain", attempts_made=1), None),
        (Row("skipped"), State.SKIPPED),
        (Row("rejected", attempts_made=1), State.SKIPPED),
        (Row("gave_up", attempts_made=11), State.SKIPPED),
        (Row("closed"), State.SKIPPED),
        (Row("not_sent"), State.SKIPPED),
    ],
)
def test_stop_lets_the_next_go_only_after_success(first: Row, goes: State | None) -> None:
    second = Row(BLOCKED)
    assert changes([first, second]) == ([(second, goes)] if goes else [])


@pytest.mark.parametrize(
    ("first", "goes"),
    [
        (Row("queued"), None),
        (Row("running"), None),
        (Row("held"), None),
        (Row("waiting", attempts_made=1), State.QUEUED),
        (Row("pending", attempts_made=1), State.QUEUED),
        (Row("uncertain", attempts_made=1), State.QUEUED),
        (Row("rejected", attempts_made=1), State.QUEUED),
        (Row("skipped"), State.QUEUED),
        (Row("handed_over", attempts_made=1, wants_report=True), State.QUEUED),
    ],
)
def test_continue_lets_the_next_go_once_the_first_attempt_has_ended(first: Row, goes: State | None) -> None:
    first.on_error = "continue"
    second = Row(BLOCKED)
    assert changes([first, second]) == ([(second, goes)] if goes else [])


def test_only_one_begins() -> None:
    rows = [Row(BLOCKED), Row(BLOCKED), Row(BLOCKED)]
    assert changes(rows) == [(rows[0], State.QUEUED)]


def test_what_a_failure_stopped_comes_back_when_it_is_done_later() -> None:
    rows = [Row("done"), Row("skipped", reason=Reason.STOPPED), Row("skipped", reason=Reason.STOPPED)]
    assert changes(rows) == [(rows[1], State.QUEUED), (rows[2], State.BLOCKED)]


def test_what_was_skipped_for_a_reason_of_its_own_does_not_come_back() -> None:
    assert changes([Row("done"), Row("skipped", reason="missing")]) == []


def test_a_failure_stops_all_that_follow() -> None:
    rows = [Row("rejected", attempts_made=1), Row(BLOCKED, on_error="continue"), Row(BLOCKED)]
    assert changes(rows) == [(rows[1], State.SKIPPED), (rows[2], State.SKIPPED)]
