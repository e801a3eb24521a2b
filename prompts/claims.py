"""Claim what is due: the row is the queue.

A claim is one conditional UPDATE with a lease and a fence; whoever settles must still have the fence. Times that decide (due,
lease) are the database's, not the worker's.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, IntegrityError, connection
from django.db import connections as databases
from django.db.models import QuerySet, UUIDField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from connectors import clock
from engage import crash
from engage.disk import before_anything_leaves
from engage.prepared import Given, Prepared, prepared_cursor
from prompts import slots
from prompts.models import CLAIMABLE, Execution, State

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


def claimed_at(execution: Execution) -> datetime:
    """Return when a claimed execution was, by the database's clock: workers' clocks differ, and what it stored is compared."""
    if execution.lease_until is None:
        raise ValueError("This execution is not claimed.")
    return execution.lease_until - timedelta(seconds=settings.ENGAGE_LEASE)


def _candidate(passed_over: str, first: UUID | None = None) -> str:
    return _CANDIDATE.format(
        passed_over=passed_over,
        now=clock.now(),
        first="AND due.id = %s" if first else "",
        skip_locked="FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else "",
    )


def due() -> QuerySet[Execution]:
    """The executions that a worker may claim now: what waits for its own connection is not late."""
    claimable = Execution.objects.filter(state__in=CLAIMABLE, due_at__lte=Now(), is_forward=False)
    return claimable.exclude(connection__in=RawSQL(slots.unavailable(), []))  # noqa: S611 - it has no parameters


def left_behind() -> QuerySet[Execution]:
    """The executions whose worker died."""
    return Execution.objects.filter(state=State.RUNNING, lease_until__lt=Now())
