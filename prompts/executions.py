"""Claim, run, settle, recover: how a worker carries executions out.

The row is the queue. A claim is one conditional UPDATE with a lease and a fence; whoever settles must still have the fence.
No transaction is open while a vendor is called. Times that decide (due, lease) are the database's, not the worker's.
"""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, IntegrityError, connection, transaction
from django.db import connections as databases
from django.db.models import BigAutoField, DateField, F, PositiveIntegerField, QuerySet, UUIDField, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Greatest, Now
from django.utils import timezone

from connectors import breaker, clock, connections
from connectors.base import Connector, Replay
from connectors.failures import LostClaim, Paused
from connectors.models import Connection
from connectors.registry import connector_or_none, declaration
from connectors.runner import PAUSED, Outcome, Result, Work, follow_up, run
from engage import crash
from engage.disk import before_anything_leaves
from engage.logs import about
from engage.prepared import Given, Prepared, PreparedInsert, PreparedUpdate, prepared_cursor
from engage.vault.fields import Unreadable
from prompts import bell, forwarding, order, slots
from prompts.events import give_limit_back
from prompts.journal import AttemptJournal, held
from prompts.models import (
    CLAIMABLE,
    NOTHING_HAPPENED,
    Attempt,
    AttemptBody,
    Binding,
    BindingDay,
    Execution,
    PromptEvent,
    State,
)
from prompts.retries import ASK_FIRST_AFTER, ASKED_AGAIN, LET_GO, next_try
from sync import inbound, traits

logger = logging.getLogger(__name__)

OVERTAKEN_AFTER = timedelta(hours=1)
REPORT_WITHIN = timedelta(hours=24)
WORKS_FOR = 5.0
"""Seconds after which a worker's thread claims no more and rings again, so that what else was rung for has its turn."""
SETTLING = "settling"
"""The reason of what waits until the vendor's read can show what was written just before."""
NOW, SINCE_FIRST_WRITE = Now(), Coalesce(F("first_write_at"), Now())
FOR_CONNECTION = frozenset({"inactive", "credentials"})
"""Reasons of what is held for its connection."""

# --- claim ------------------------------------------------------------------------------------------

# A person is served one execution at a time in an account, and an account has so many slots; two partial unique indexes are
# what holds that, the conditions here only keep workers from running into them again and again. A slot is drawn by lot, so
# that workers that claim in the same instant seldom draw the same one.
_CLAIM = """
WITH numbers(slot) AS (VALUES {numbers})
UPDATE prompts_execution SET state = 'running', fence = fence + 1, worker = %s, lease_until = {lease_ends}, slot = (
    SELECT numbers.slot FROM numbers
    WHERE numbers.slot <= {slots_of_its} AND NOT EXISTS (
        SELECT 1 FROM prompts_execution other
        WHERE other.connection_id = prompts_execution.connection_id AND other.slot = numbers.slot
          AND other.state = 'running')
    ORDER BY RANDOM() LIMIT 1)
WHERE id = {candidate} AND state IN ('queued', 'waiting', 'pending')
RETURNING id
"""
_CANDIDATE = """(
    SELECT due.id FROM prompts_execution due
    WHERE due.state IN ('queued', 'waiting', 'pending') AND due.due_at <= {now} AND NOT due.is_forward {first}
      AND (due.connection_id IS NULL OR due.connection_id NOT IN ({passed_over}))
      AND NOT EXISTS (
        SELECT 1 FROM prompts_execution other
        WHERE other.connection_id = due.connection_id AND other.subscriber_id = due.subscriber_id
          AND other.state = 'running' AND NOT other.is_forward)
    ORDER BY due.due_at LIMIT 1 {skip_locked}
)"""
_claimed = Prepared(
    lambda: Execution.objects.select_related("connection", "subscriber", "binding", "event").filter(
        pk=Given("execution", UUIDField())
    )
)


def claim(worker: str, first: UUID | None = None, *, in_turn: bool = False) -> Execution | None:
    """Claim the execution that has been due longest (or `first`, if it is due), or return None when nothing is.

    No connection has more executions running than it has slots, so one that hangs leaves the other threads alone.

    Args:
        in_turn: connections of which nothing is running go before the others, however long those have waited; without `first`.

    """
    candidate = _candidate(slots.unavailable(), first)
    if in_turn:
        candidate = f"COALESCE({_candidate(f'{slots.unavailable()} UNION ALL {slots.at_work()}')}, {candidate})"
    sql = _CLAIM.format(
        numbers=", ".join(f"({slot})" for slot in range(1, settings.ENGAGE_SLOTS + 1)),
        slots_of_its=slots.of("prompts_execution.connector"),
        lease_ends=clock.later(),
        candidate=candidate,
    )
    arguments: list[Any] = [worker, settings.ENGAGE_LEASE]
    if first:
        arguments.append(Execution._meta.pk.get_db_prep_value(first, connection))
    crash.point("claim.next")
    while True:
        try:
            with before_anything_leaves(), prepared_cursor(databases[DEFAULT_DB_ALIAS]) as cursor:
                cursor.execute(sql, arguments)
                row = cursor.fetchone()
            break
        except IntegrityError:
            # Another worker took this slot or this person's turn in the same instant; from now on the statement sees it.
            continue
    if row is None:
        return None
    crash.point("claim.made")
    execution: Execution = _claimed(execution=row[0])[0][0]
    return execution


def _candidate(passed_over: str, first: UUID | None = None) -> str:
    return _CANDIDATE.format(
        passed_over=passed_over,
        now=clock.now(),
        first="AND due.id = %s" if first else "",
        skip_locked="FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else "",
    )


def work(worker: str, first: UUID | None = None) -> int:
    """Carry out what is due: `first`, then one of a connection of which nothing is running, then what has waited longest.

    After `WORKS_FOR` seconds it ends, and rings once where something may be left: with a long queue at a slow vendor it would
    keep its thread for hours, and bells and ticks would wait behind it. Returns how many were carried out.
    """
    ends, count = time.monotonic() + WORKS_FOR, 0
    if first and (execution := claim(worker, first)) is not None:
        count += 1
        carry_out(execution)
    in_turn = True
    while (execution := claim(worker, in_turn=in_turn)) is not None:
        count += 1
        carry_out(execution)
        in_turn = False
        if time.monotonic() >= ends:
            bell.ring()
            break
    return count


# --- run ----------------------------------------------------------------------------------------------


_store_attempt = PreparedInsert(Attempt, now=["started_at"])


def carry_out(execution: Execution) -> None:
    """Carry a claimed execution out once, and settle it."""
    with about(event=execution.event_id, execution=execution.pk, connection=execution.connection_id):
        declared = connector_or_none(execution.connector)
        ended, probing = _held_back(execution), False
        if ended is None:
            try:
                probing = breaker.turn(execution.connection)
            except Paused as paused:
                ended = _paused(execution, paused)
        if ended is not None or declared is None:
            settle(
                execution,
                None,
                ended or _gone(execution, "This connector is no longer part of Engage."),
            )
            return
        attempt = _begin_attempt(execution)
        crash.point("attempt.stored")
        journal = AttemptJournal(execution, attempt)
        try:
            outcome = _outcome(execution, declared, journal)
        except LostClaim:
            logger.warning("The claim was lost before a write; nothing was sent")
            complete(attempt, "lost", "Another worker took over before anything was sent.", journal)
            breaker.note(execution.connection, failed=None, probing=probing)
            return
        execution.steps = journal.steps
        settle(execution, attempt, outcome, journal)
        breaker.note(execution.connection, failed=outcome.failed, probing=probing)


def _begin_attempt(execution: Execution) -> Attempt:
    """Store the row of an attempt; to ask what became of a job is none of its own."""
    attempt = Attempt(
        execution=execution,
        number=execution.attempts_made + (0 if execution.job is not None else 1),
        fence=execution.fence,
        worker=execution.worker,
        connection=execution.connection,
    )
    with before_anything_leaves():
        _store_attempt(attempt)
    return attempt


def _paused(execution: Execution, paused: Paused) -> Outcome:
    """Put back what its connection's breaker does not let through: whatever is known of it stays as it is."""
    return Outcome(
        Result.WAITING if execution.job is None else Result.PENDING,
        paused.message,
        after=paused.after,
        may_have_acted=execution.may_have_acted,
        job=execution.job,
        reason=PAUSED,
        spent=False,
    )


def _outcome(execution: Execution, declared: Connector, journal: AttemptJournal) -> Outcome:
    try:
        action = declared.action(execution.action, execution.connection.settings if execution.connection else {})
        values = execution.connection.everything() if execution.connection else {}
    except KeyError:
        return _gone(execution, f"{declared.label} no longer has this action.")
    except Unreadable:
        return Outcome(Result.HELD, "The connection's credentials cannot be read.", reason="credentials")
    if not execution.first_write_at:
        known = traits.traits_of(execution.subscriber)
        needed = action.needs_with(execution.inputs).traits
        execution.traits = {name: known[name] for name in needed if name in known}
    since = timezone.now() - execution.first_write_at if execution.first_write_at else None
    task = Work(
        declared,
        action,
        values,
        execution.traits,
        execution.inputs,
        execution.may_have_acted,
        since,
        execution.connection,
        traits.given_of(execution.subscriber, execution.event.received_at),
    )
    if execution.job is not None:
        return follow_up(task, execution.job, journal)
    return run(task, journal)


def _gone(execution: Execution, text: str) -> Outcome:
    """What becomes of that which nobody can carry out any more: nothing has happened, or a person says what has."""
    if execution.job is None and not execution.may_have_acted:
        return Outcome(Result.REJECTED, text, reason="gone")
    return Outcome(Result.UNCERTAIN, f"{text} It may have happened before.", may_have_acted=True, reason="gone")


def _held_back(execution: Execution) -> Outcome | None:
    """Why an execution is not tried now, if so."""
    account = execution.connection
    if account and (waits := _waits_for(account, execution)):
        return waits
    if account and execution.connection_generation != account.generation:
        if execution.job is not None:
            text = "It was not settled yet, and the connection now goes to another account."
            return Outcome(Result.UNCERTAIN, text, may_have_acted=True, reason="unsettled")
        if execution.may_have_acted:
            text = "The answer was lost, and the connection now goes to another account."
            return Outcome(Result.UNCERTAIN, text, may_have_acted=True, reason="lost_answer")
        execution.connection_generation = account.generation
    if execution.job is not None:
        return None
    if not execution.first_write_at and execution.expires_at and timezone.now() > execution.expires_at:
        return Outcome(
            Result.HELD, "The answer is too old to be carried out without a person's word.", reason="too_old"
        )
    if execution.attempts_made == 0 and execution.binding and not _within_daily_limit(execution, execution.binding):
        text = f"More than {execution.binding.daily_limit:,} executions of this action today."
        return Outcome(Result.HELD, text, reason="daily_limit")
    if execution.attempts_made and _overtaken(execution):
        return Outcome(
            Result.SKIPPED,
            "A later answer of this person came in between.",
            reason="overtaken",
            may_have_acted=execution.may_have_acted,
        )
    found = declaration(execution)
    # Its own tries are followed in time by themselves; those before a person's decision are not.
    is_afresh = execution.attempts_made == 0
    if found and found[1].replay is Replay.CHECK and (seconds := not_shown_for(execution, itself=is_afresh)):
        return Outcome(
            Result.WAITING,
            not_shown_yet(execution),
            after=seconds,
            may_have_acted=execution.may_have_acted,
            reason=SETTLING,
            spent=False,
        )
    return None


def _waits_for(account: Connection, execution: Execution) -> Outcome | None:
    """Why nothing of an account leaves now, if so."""
    if not account.active:
        return Outcome(Result.HELD, f"The connection to {account} is switched off.", reason="inactive")
    found = declaration(execution)
    if account.needs_attention(found[1].part if found else ""):
        return Outcome(
            Result.HELD, f"The connection to {account} needs attention: {account.attention}", reason="credentials"
        )
    return None


# A person's executions are few and an account's are many: the account is asked of the attempts, which have no index that would
# take SQLite, which knows no statistics, by way of the account.
_NOT_SHOWN = """
SELECT MAX({seconds}) FROM prompts_execution other JOIN prompts_attempt tried ON tried.execution_id = other.id
WHERE other.subscriber_id = %s AND other.action = %s AND tried.connection_id = %s
  AND (other.id <> %s OR %s) AND tried.write_begun_at IS NOT NULL AND tried.outcome <> 'rejected'
"""


def not_shown_for(execution: Execution, *, itself: bool) -> float:
    """Return for how many seconds the vendor's read may not show yet what was written there; 0 when it can be relied on.

    Asked is what was written by the same action for the same person in the same account, refusals left out.

    Args:
        itself: whether what this execution wrote counts, too.

    """
    if execution.connection_id is None:
        return 0.0
    ended = "COALESCE(tried.finished_at, tried.write_begun_at)"
    sql = _NOT_SHOWN.format(seconds=clock.seconds_until(clock.later(ended)))
    key = Execution._meta.pk.get_db_prep_value
    of = [key(execution.connection_id, connection), key(execution.pk, connection), itself]
    with prepared_cursor(databases[DEFAULT_DB_ALIAS]) as cursor:
        cursor.execute(sql, [settings.ENGAGE_SETTLING, execution.subscriber_id, execution.action, *of])
        (seconds,) = cursor.fetchone()
    return max(0.0, float(seconds or 0))


def not_shown_yet(execution: Execution) -> str:
    """Return why an execution waits until the vendor's read can be relied on."""
    return f"{execution.connection} may not show yet what was just sent for this person, so the next look waits."


_count_day = PreparedUpdate(
    lambda: BindingDay.objects.filter(
        binding=Given("binding", BigAutoField()),
        day=Given("today", DateField()),
        count__lt=Given("limit", PositiveIntegerField()),
    )
)
_ONE_MORE = F("count") + 1
NO_LIMIT = 2**31 - 1


def _within_daily_limit(execution: Execution, binding: Binding) -> bool:
    """Count an execution for its binding's day; what a person decided on is counted, and goes whatever the number."""
    today = timezone.now().date()
    limit = binding.daily_limit if execution.decided_at is None else NO_LIMIT
    counted = {"binding": binding.pk, "today": today, "limit": limit}
    with before_anything_leaves():
        if _count_day({"count": _ONE_MORE}, **counted):
            return True
    if not BindingDay.objects.filter(binding=binding, day=today).exists():
        BindingDay.objects.bulk_create([BindingDay(binding=binding, day=today)], ignore_conflicts=True)
    # Asked again even where the row was there: another worker may have made it since the first question.
    return bool(_count_day({"count": _ONE_MORE}, **counted))


def _give_day_back(execution: Execution) -> None:
    """It was counted for its binding's day and then not tried: it is counted when it is."""
    if execution.binding_id and execution.attempts_made == 0 and execution.job is None:
        today = BindingDay.objects.filter(binding=execution.binding_id, day=timezone.now().date(), count__gt=0)
        today.update(count=F("count") - 1)


def _overtaken(execution: Execution) -> bool:
    """Whether setting a state now would undo what a later answer of this person set."""
    if timezone.now() - execution.created_at < OVERTAKEN_AFTER:
        return False
    found = declaration(execution)
    later = Execution.objects.filter(
        subscriber=execution.subscriber_id,
        connection=execution.connection_id,
        is_forward=False,
        created_at__gt=execution.created_at,
    )
    return found is not None and found[1].replay is Replay.NATURAL and later.exists()


# --- settle -------------------------------------------------------------------------------------------

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


def settle(
    execution: Execution, attempt: Attempt | None, outcome: Outcome, journal: AttemptJournal | None = None
) -> None:
    """Store what came of an attempt and decide what goes next, in one transaction.

    A worker that lost its fence completes its own attempt, and changes the execution only with a late success.
    """
    asked = attempt is not None
    if asked and execution.connection and outcome.result is Result.HELD and outcome.reason == "credentials":
        # First, so that nothing is ever held for a connection that seems well: nobody would let it go.
        connections.mark_attention(execution.connection, outcome.message, outcome.failed_parts)
    outcome = _counted_once(execution, outcome)
    crash.point("settle.next")
    with _as_its_connection_is(execution, outcome, asked=asked) as stays, changing(execution.event_id):
        outcome = stays or replace(outcome, spent=not asked)
        tried = asked and execution.job is None and outcome.spent
        values = _values(execution, outcome, tried=tried)
        if stays is None:
            values |= LET_GO if execution.job is None else ASKED_AGAIN
            if outcome.may_have_acted:  # the vendor's read may not show it yet
                values["due_at"] = Now() + Value(timedelta(seconds=settings.ENGAGE_SETTLING))
            bell.ring_on_commit(execution.pk)
        settled = _settle(values, execution=execution.pk, fence=execution.fence)
        if not settled and outcome.result is Result.DONE:
            late = Execution.objects.filter(pk=execution.pk, state__in=[State.WAITING, State.UNCERTAIN, State.QUEUED])
            settled = late.update(**values)
        if attempt is not None and journal is not None:
            if outcome.spent or journal.exchanges:
                more = {"vendor_failed": outcome.failed, "write_begun_with": None}  # the execution has it now
                complete(attempt, outcome.result, outcome.message, journal, **more)
            else:
                attempt.delete()  # it was not our turn: nothing was tried
        if settled and not outcome.spent:
            _give_day_back(execution)
        crash.point("settle.written")
        if settled:
            go_on(execution.event_id, State(values["state"]))
        if settled and attempt is not None and outcome.confirmed and execution.connection:
            attempt.refresh_from_db(fields=["started_at"])
            inbound.confirmed(execution.connection, execution.subscriber, outcome.confirmed, attempt.started_at)
        crash.point("settle.decided")
    crash.point("settle.committed")
    if settled and tried and outcome.result in {Result.DONE, Result.PENDING} and execution.connection:
        connections.note_success(execution.connection)
    logger.info("Settled as %s", values["state"])


@contextmanager
def _as_its_connection_is(execution: Execution, outcome: Outcome, *, asked: bool) -> Iterator[Outcome | None]:
    """Give the outcome; None where it is to be held for a connection that is not as the worker loaded it, and lets it go.

    Whoever lets held executions go changes the connection's row first. So they find this one held, or it is found here.
    """
    if execution.connection_id is None or outcome.result is not Result.HELD or outcome.reason not in FOR_CONNECTION:
        yield outcome
        return
    with transaction.atomic():
        waits = _waits_for(connections.held_still(execution.connection_id), execution)
        yield outcome if waits and asked else waits


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
        Result.REJECTED, "The purchase was reported for an earlier answer, which it counts for.", reason="counted"
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
    found = declaration(execution)
    within = found[1].settles_within if found else timedelta(hours=24)
    began = execution.pending_since
    if began and timezone.now() - began > within:
        return {
            "state": State.UNCERTAIN,
            "reason": "unsettled",
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


def complete(attempt: Attempt, outcome: str, message: str, journal: AttemptJournal, **more: Any) -> None:
    """Complete an attempt with what was sent and answered, and `more` columns; also when its claim was lost meanwhile."""
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
            mine.update(state=wanted, reason=order.STOPPED, message="An earlier action stopped it.", settled_at=Now())
    if queued:
        bell.ring_on_commit(queued)
    if state in NOTHING_HAPPENED:
        give_limit_back(event_pk)


# --- recover ------------------------------------------------------------------------------------------


def sweep() -> int:
    """Return expired leases, postpone what has come during a pause, and end what nobody reported.

    Returns how many executions are due, as far as threads can do them.
    """
    breaker.tell_again()
    expired = left_behind().filter(is_forward=False)
    for execution in expired.select_related("event", "connection"):
        _return_lease(execution)
    for execution in Execution.objects.filter(state=State.HANDED_OVER, due_at__lt=Now()):
        with changing(execution.event_id):
            ended = Execution.objects.filter(pk=execution.pk, state=State.HANDED_OVER, due_at__lt=Now()).update(
                state=State.GAVE_UP,
                reason="no_report",
                message="The app did not report back.",
                due_at=None,
                settled_at=Now(),
            )
            if ended:
                go_on(execution.event_id, State.GAVE_UP)
    return len(due().values_list("pk")[: settings.ENGAGE_WORKER_THREADS])


def due() -> QuerySet[Execution]:
    """The executions that a worker may claim now: what waits for its own connection is not late."""
    claimable = Execution.objects.filter(state__in=CLAIMABLE, due_at__lte=Now(), is_forward=False)
    return claimable.exclude(connection__in=RawSQL(slots.unavailable(), []))  # noqa: S611 - it has no parameters


def _return_lease(execution: Execution) -> None:
    """Let go of an execution whose worker died in mid-call."""
    with changing(execution.event_id):
        attempt = Attempt.objects.select_for_update().filter(execution=execution, fence=execution.fence).first()
        values = _values_left_behind(execution, attempt)
        returned = Execution.objects.filter(pk=execution.pk, fence=execution.fence, state=State.RUNNING).update(
            **values
        )
        if attempt is not None:
            if attempt.finished_at is None:
                attempt.outcome, attempt.message = "lost", "Its worker stopped."
            attempt.write_begun_with = None  # the execution has it now
            attempt.save(update_fields=["outcome", "message", "write_begun_with"])
        if returned:
            go_on(execution.event_id, State(values["state"]))
        crash.point("lease.returning")
    crash.point("lease.returned")
    logger.warning("A lease expired; its worker stopped")


def _values_left_behind(execution: Execution, attempt: Attempt | None) -> dict[str, Any]:
    """Return the columns of an execution whose worker died: was a write begun? Then it may have acted."""
    begun = attempt.write_begun_at if attempt is not None else None
    acted = begun is not None
    found = declaration(execution)
    replay = found[1].replay if found else None
    may_have_acted = acted or execution.may_have_acted
    made = execution.attempts_made + (1 if attempt is not None and execution.job is None else 0)
    values: dict[str, Any] = {"lease_until": None, "may_have_acted": may_have_acted, "attempts_made": made}
    if execution.job is not None:
        values |= {"state": State.PENDING, "due_at": Now()}
    elif acted and replay is Replay.NEVER:
        text = "The worker stopped after the request had left. It may have happened."
        values |= {"state": State.UNCERTAIN, "reason": "lost_answer", "message": text, "due_at": None}
    elif made > len(settings.ENGAGE_RETRY_DELAYS):
        text = f"The worker stopped in each of the last tries; {made} were made."
        values |= {
            "state": State.UNCERTAIN if may_have_acted else State.GAVE_UP,
            "reason": "worker_died",
            "message": text,
            "due_at": None,
            "settled_at": None if may_have_acted else Now(),
        }
    else:
        wait = timedelta(seconds=settings.ENGAGE_SETTLING if acted and replay is Replay.CHECK else 0)
        text = "The worker stopped in the middle; it is tried again."
        values |= {"state": State.WAITING, "reason": "worker_died", "message": text, "due_at": Now() + Value(wait)}
    if attempt is not None and acted:
        values["first_write_at"] = Coalesce(F("first_write_at"), Value(begun))
        values |= attempt.write_begun_with or {}
    return values


def resume(connection_id: UUID) -> int:
    """Let the executions go on that were held for a connection that is healthy again, except those held for too long."""
    held = Execution.objects.filter(connection=connection_id, state=State.HELD, reason="credentials")
    return let_go(held.filter(due_at__gt=Now() - Value(ASK_FIRST_AFTER)))


def let_go(held: QuerySet[Execution]) -> int:
    """Queue held executions again; a job that the vendor accepted is asked about again.

    One of which a part may have happened just before it was held goes on when the vendor can show that.
    """
    going = held.filter(job__isnull=True, may_have_acted=False).update(**LET_GO)
    shown = Greatest(NOW, F("due_at") + Value(timedelta(seconds=settings.ENGAGE_SETTLING)))
    going += held.filter(job__isnull=True, may_have_acted=True).update(**{**LET_GO, "due_at": shown})
    going += held.filter(job__isnull=False).update(**ASKED_AGAIN)
    if going:
        bell.ring_on_commit()
    return going


def ask_now(connection_id: UUID, subscriber_id: int) -> int:
    """Ask at once what became of a person's jobs at a vendor, who has just told something of them."""
    pending = Execution.objects.filter(connection=connection_id, subscriber=subscriber_id, state=State.PENDING)
    asked = pending.filter(due_at__gt=Now()).update(due_at=Now())
    if asked:
        bell.ring_on_commit()
    return asked


def oldest_overdue() -> float:
    """Return for how many seconds the execution that waits longest has been due; 0 when none is. Computed when asked."""
    moments: Iterable[datetime | None] = [
        due().order_by("due_at").values_list("due_at", flat=True).first(),
        left_behind().order_by("lease_until").values_list("lease_until", flat=True).first(),
        forwarding.all_due().order_by("due_at").values_list("due_at", flat=True).first(),
    ]
    waiting = [(timezone.now() - moment).total_seconds() for moment in moments if moment]
    return max([0.0, *waiting])


def overdue_apps(seconds: float) -> set[int]:
    """Return the Apps in which work has been due for longer than `seconds`."""
    before = Now() - Value(timedelta(seconds=seconds))
    late = (due().filter(due_at__lt=before), left_behind().filter(lease_until__lt=before))
    rows = (*late, forwarding.all_due().filter(due_at__lt=before))
    return {app for each in rows for app in each.order_by().values_list("app", flat=True).distinct()}


def left_behind() -> QuerySet[Execution]:
    """The executions whose worker died."""
    return Execution.objects.filter(state=State.RUNNING, lease_until__lt=Now())
