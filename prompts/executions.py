"""Carry executions out: claim what is due, ask the vendor, settle.

No transaction is open while a vendor is called.
"""

import logging
import time
from uuid import UUID

from connectors import breaker
from connectors.base import Connector
from connectors.failures import LostClaim, Paused
from connectors.registry import connector_or_none
from connectors.runner import Outcome, Result, Work, follow_up, run
from engage import crash, places
from engage.disk import before_anything_leaves
from engage.logs import about
from engage.prepared import PreparedInsert
from engage.vault.fields import Unreadable
from prompts import bell, claims, preconditions, settlement
from prompts.journal import AttemptJournal
from prompts.models import LOST, Attempt, Execution, Reason
from sync import traits

logger = logging.getLogger(__name__)

_store_attempt = PreparedInsert(Attempt, now=["started_at"])


def work(worker: str, first: UUID | None = None) -> int:
    """Carry out what is due: `first`, then one of a connection of which nothing is running, then what has waited longest.

    After `places.WORKS_FOR` seconds it ends, and rings once where something may be left. Returns how many were carried out.
    """
    ends, count = time.monotonic() + places.WORKS_FOR, 0
    if first and (execution := claims.claim(worker, first)) is not None:
        count += 1
        carry_out(execution)
    in_turn = True
    while (execution := claims.claim(worker, in_turn=in_turn)) is not None:
        count += 1
        carry_out(execution)
        in_turn = False
        if time.monotonic() >= ends:
            bell.ring()
            break
    return count


def carry_out(execution: Execution) -> None:
    """Carry a claimed execution out once, and settle it."""
    with about(event=execution.event_id, execution=execution.pk, connection=execution.connection_id):
        declared = connector_or_none(execution.connector)
        ended, probing = preconditions.unmet(execution), False
        if declared is None:
            settlement.settle(execution, ended or _gone(execution, "This connector is no longer part of Engage."))
            return
        if ended is None:
            try:
                probing = breaker.turn(execution.connection)
            except Paused as paused:
                ended = _paused(execution, paused)
        if ended is not None:
            settlement.settle(execution, ended)
            return
        journal = AttemptJournal(execution, _begin_attempt(execution))
        crash.point("attempt.stored")
        try:
            outcome = _outcome(execution, declared, journal)
        except LostClaim:
            logger.warning("The claim was lost before a write; nothing was sent")
            settlement.complete(journal, LOST, "Another worker took over before anything was sent.")
            breaker.note(execution.connection, failed=None, probing=probing)
            return
        execution.steps = journal.steps
        settlement.settle(execution, outcome, journal)
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
        reason=Reason.PAUSED,
        spent=False,
    )


def _outcome(execution: Execution, declared: Connector, journal: AttemptJournal) -> Outcome:
    try:
        action = declared.action(execution.action, execution.connection.settings if execution.connection else {})
        values = execution.connection.everything() if execution.connection else {}
    except KeyError:
        return _gone(execution, f"{declared.label} no longer has this action.")
    except Unreadable:
        return Outcome(Result.HELD, "The connection's credentials cannot be read.", reason=Reason.CREDENTIALS)
    if not execution.first_write_at:
        known = traits.traits_of(execution.subscriber)
        needed = action.needs_with(execution.inputs).traits
        execution.traits = {name: known[name] for name in needed if name in known}
    since = claims.claimed_at(execution) - execution.first_write_at if execution.first_write_at else None
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
    if not execution.may_have_happened:
        return Outcome(Result.REJECTED, text, reason=Reason.GONE)
    return Outcome(Result.UNCERTAIN, f"{text} It may have happened before.", may_have_acted=True, reason=Reason.GONE)
