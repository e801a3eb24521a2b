"""Store what came of an attempt, and decide what goes next."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import BigAutoField, F, Value
from django.db.models.functions import Coalesce, Now

from connectors import connections
from connectors.registry import action_of
from connectors.runner import Outcome, Result
from engage import crash
from engage.prepared import Given, Prepared, PreparedInsert, PreparedUpdate
from prompts import bell, claims, order
from prompts.events import give_limit_back
from prompts.journal import AttemptJournal, held
from prompts.models import NOTHING_HAPPENED, Attempt, AttemptBody, Execution, PromptEvent, Reason, State
from prompts.preconditions import FOR_CONNECTION, give_day_back, waits_for
from prompts.retries import let_go, next_try
from sync import inbound

logger = logging.getLogger(__name__)

REPORT_WITHIN = timedelta(hours=24)
NOW, SINCE_FIRST_WRITE = Now(), Coalesce(F("first_write_at"), Now())

_lock_event = Prepared(
    lambda: PromptEvent.objects.select_for_update(no_key=True).filter(pk=Given("event", BigAutoField())).only("pk")
)
_settle = PreparedUpdate(held)
_complete = PreparedUpdate(lambda: Attempt.objects.filter(pk=Given("attempt", BigAutoField())))
_keep_exchanges = PreparedInsert(AttemptBody, replaces=True)
_in_line = Prepared(
    lambda: Execution.objects.filter(event=Given("event", BigAutoField()), is_forward=False, reruns=None).only(
        "state", "reason", "on_error", "attempts_made", "due_at", "position", "created_at"
    )
)


@contextmanager
def changing(event_pk: int) -> Iterator[None]:
    """A transaction that changes executions of one event.

    It holds the event's row, so that two of them that end at the same moment decide one after the other what goes next.
    """
    with transaction.atomic():
        if connection.features.has_select_for_update:  # SQLite has one writer, and this transaction is its
            _lock_event(event=event_pk)
        yield


def settle(execution: Execution, outcome: Outcome, journal: AttemptJournal | None = None) -> None:
    """Store what came of a claimed execution and decide what goes next, in one transaction.

    A worker that lost its fence completes its own attempt, and changes the execution only with a late success.

    Args:
        journal: of the attempt that the vendor was asked in; None where it was not asked.

    """
    asked = journal is not None
    if asked and execution.connection and outcome.result is Result.HELD and outcome.reason == Reason.CREDENTIALS:
        # First, so that nothing is ever held for a connection that seems well: nobody would let it go.
        connections.mark_attention(execution.connection, outcome.message, outcome.failed_parts)
    outcome = _counted_once(execution, outcome)
    crash.point("settle.next")
    with _as_its_connection_is(execution, outcome, asked=asked) as (outcome, goes_on), changing(execution.event_id):
        tried = asked and execution.job is None and outcome.spent
        values = _values(execution, outcome, tried=tried)
        settled = _settle(values, execution=execution.pk, fence=execution.fence)
        if not settled and outcome.result is Result.DONE:
            late = Execution.objects.filter(pk=execution.pk, state__in=[State.WAITING, State.UNCERTAIN, State.QUEUED])
            settled = late.update(**values)
        if journal is not None:
            _end_attempt(journal, outcome)
        if settled and not outcome.spent:
            give_day_back(execution)
        crash.point("settle.written")
        if settled and goes_on:
            let_go(Execution.objects.filter(pk=execution.pk))
        if settled:
            go_on(execution.event_id, State(values["state"]))
        if settled and journal is not None:
            _pass_on(execution, outcome, journal.attempt)
        crash.point("settle.decided")
    crash.point("settle.committed")
    if settled and tried and outcome.result in {Result.DONE, Result.PENDING} and execution.connection:
        connections.note_success(execution.connection)
    logger.info("Settled as %s", values["state"])


@contextmanager
def _as_its_connection_is(execution: Execution, outcome: Outcome, *, asked: bool) -> Iterator[tuple[Outcome, bool]]:
    """Give the outcome, and whether what is held goes on at once: its connection is not as the worker loaded it, and lets it go.

    Whoever lets held executions go changes the connection's row first. So they find this one held, or it is found here.
    """
    if execution.connection_id is None or outcome.result is not Result.HELD or outcome.reason not in FOR_CONNECTION:
        yield outcome, False
        return
    with transaction.atomic():
        waits = waits_for(connections.held_still(execution.connection_id), execution)
        if waits is None:  # what was asked with another key than today's was no try
            yield replace(outcome, spent=not asked), True
        else:
            yield outcome if asked else waits, False


def _end_attempt(journal: AttemptJournal, outcome: Outcome) -> None:
    if outcome.spent or journal.exchanges:
        # What a repeat needs the execution has now.
        complete(journal, outcome.result, outcome.message, vendor_failed=outcome.failed, write_begun_with=None)
    else:
        journal.attempt.delete()  # it was not our turn: nothing was tried


def _pass_on(execution: Execution, outcome: Outcome, attempt: Attempt) -> None:
    """Keep as traits what the vendor confirmed of the person."""
    if outcome.confirmed and execution.connection:
        attempt.refresh_from_db(fields=["started_at"])
        inbound.confirmed(execution.connection, execution.subscriber, outcome.confirmed, attempt.started_at)


def _counted_once(execution: Execution, outcome: Outcome) -> Outcome:
    """Return the outcome, or a refusal where it rests on a purchase that another execution was done by.

    Two that come to it at the same moment: the index lets one of them in, and the other comes back with its lease.
    """
    receipt = outcome.confirmed.receipt if outcome.confirmed else ""
    if not receipt:
        return outcome
    same = Execution.objects.filter(connection=execution.connection_id, receipt=_digest(receipt))
    if not same.exclude(pk=execution.pk).exists():
        return outcome
    return Outcome(
        Result.REJECTED, "The purchase was reported for an earlier answer, which it counts for.", reason=Reason.COUNTED
    )


def _digest(receipt: str) -> str:
    return sha256(receipt.encode()).hexdigest()


def _values(execution: Execution, outcome: Outcome, *, tried: bool) -> dict[str, Any]:
    """Return the columns of an execution after an outcome."""
    made = execution.attempts_made + (1 if tried else 0)
    values: dict[str, Any] = {
        "state": State(outcome.result),
        "reason": outcome.reason,
        "message": outcome.message,
        "attempts_made": made,
        "lease_until": None,
        "due_at": None,
        "settled_at": None,
        "steps": execution.steps,
        "traits": execution.traits,
        "connection_generation": execution.connection_generation,
        "may_have_acted": outcome.may_have_acted,
    }
    if outcome.confirmed and outcome.confirmed.receipt:
        values["receipt"] = _digest(outcome.confirmed.receipt)
    if outcome.may_have_acted or outcome.result in {Result.DONE, Result.PENDING}:
        values["first_write_at"] = SINCE_FIRST_WRITE
    match outcome.result:
        case Result.WAITING:
            values |= next_try(made, outcome)
        case Result.PENDING:
            values |= _next_look(execution, outcome)
        case Result.HANDED_OVER:
            values["instruction"] = outcome.instruction
            values["due_at"] = Now() + Value(REPORT_WITHIN) if outcome.wants_report else None
            values["settled_at"] = None if outcome.wants_report else NOW
        case Result.HELD:
            # While it is held, this says since when; a job that was accepted is asked about again when it is let go.
            values["due_at"] = NOW
            values["may_have_acted"] = outcome.may_have_acted or execution.may_have_acted
        case Result.UNCERTAIN:
            values["job"] = None
        case _:
            values["settled_at"] = NOW
            values["job"] = None
    return values


def _next_look(execution: Execution, outcome: Outcome) -> dict[str, Any]:
    action = action_of(execution)
    within = action.settles_within if action else timedelta(hours=24)
    began = execution.pending_since
    if began and claims.claimed_at(execution) - began > within:
        return {
            "state": State.UNCERTAIN,
            "reason": Reason.UNSETTLED,
            "message": f"{outcome.message} It has not been settled since {began:%-d %B %Y %H:%M} UTC.",
            "may_have_acted": True,
        }
    delays = settings.ENGAGE_POLL_DELAYS
    wait = outcome.after or delays[min(execution.polls, len(delays) - 1)]
    return {
        "job": outcome.job,
        "polls": F("polls") + 1,
        "pending_since": Coalesce(F("pending_since"), Now()),
        "due_at": Now() + Value(timedelta(seconds=wait)),
    }


def complete(journal: AttemptJournal, outcome: str, message: str, **more: Any) -> None:
    """Complete an attempt with what was sent and answered, and `more` columns; also when its claim was lost meanwhile."""
    attempt = journal.attempt
    _complete({"finished_at": NOW, "outcome": outcome, "message": message, **more}, attempt=attempt.pk)
    exchanges = [exchange.as_json() for exchange in journal.exchanges]
    _keep_exchanges(AttemptBody(attempt=attempt, exchanges=exchanges))


def go_on(event_pk: int, state: State) -> None:
    """Decide what an event's other executions do now that one is in `state`; inside `changing()`."""
    rows = [row for (row,) in _in_line(event=event_pk) if row is not None]
    rows.sort(key=lambda row: (row.position, row.created_at))
    queued = None
    for row, wanted in order.changes(rows):
        mine = Execution.objects.filter(pk=row.pk, state=row.state)
        if wanted is State.QUEUED:
            mine.update(state=wanted, reason="", message="", due_at=Now(), settled_at=None)
            queued = queued or row.pk
        elif wanted is State.BLOCKED:
            mine.update(state=wanted, reason="", message="", settled_at=None)
        else:
            mine.update(state=wanted, reason=Reason.STOPPED, message="An earlier action stopped it.", settled_at=Now())
    if queued:
        bell.ring_on_commit(queued)
    if state in NOTHING_HAPPENED:
        give_limit_back(event_pk)
