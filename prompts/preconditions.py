"""Why a claimed execution is not tried now: its connection, its age, the day's limit, a later answer, what may not show yet."""

from datetime import timedelta

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection
from django.db import connections as databases
from django.db.models import BigAutoField, DateField, F, PositiveIntegerField, Q

from connectors import clock
from connectors.base import Replay
from connectors.models import Connection
from connectors.registry import action_of
from connectors.runner import Outcome, Result
from engage.disk import before_anything_leaves
from engage.prepared import Given, PreparedUpdate, prepared_cursor
from prompts import claims
from prompts.models import Binding, BindingDay, Execution, Reason, State

OVERTAKEN_AFTER = timedelta(hours=1)
HAS_ACTED = (State.DONE, State.PENDING, State.UNCERTAIN, State.HANDED_OVER)
FOR_CONNECTION = frozenset({Reason.INACTIVE, Reason.CREDENTIALS})
"""Reasons of what is held for its connection."""


def unmet(execution: Execution) -> Outcome | None:
    """Return what becomes of a claimed execution that is not tried now, or None where nothing stands against it.

    Counts it for its binding's day, which `give_day_back` takes back, and moves what has nothing out there to the connection's
    account of today (its generation).
    """
    account = execution.connection
    if account and (waits := waits_for(account, execution)):
        return waits
    if account and execution.connection_generation != account.generation:
        if execution.job is not None:
            text = "It was not settled yet, and the connection now goes to another account."
            return Outcome(Result.UNCERTAIN, text, may_have_acted=True, reason=Reason.UNSETTLED)
        if execution.may_have_acted:
            text = "The answer was lost, and the connection now goes to another account."
            return Outcome(Result.UNCERTAIN, text, may_have_acted=True, reason=Reason.LOST_ANSWER)
        execution.connection_generation = account.generation
    if execution.job is not None:
        return None
    if not execution.first_write_at and execution.expires_at and claims.claimed_at(execution) > execution.expires_at:
        return Outcome(
            Result.HELD, "The answer is too old to be carried out without a person's word.", reason=Reason.TOO_OLD
        )
    if execution.attempts_made == 0 and execution.binding and not _within_daily_limit(execution, execution.binding):
        text = f"More than {execution.binding.daily_limit:,} executions of this action today."
        return Outcome(Result.HELD, text, reason=Reason.DAILY_LIMIT)
    if execution.attempts_made and _overtaken(execution):
        return Outcome(
            Result.SKIPPED,
            "A later answer of this person came in between.",
            reason=Reason.OVERTAKEN,
            may_have_acted=execution.may_have_acted,
        )
    action = action_of(execution)
    # Its own tries are followed in time by themselves; those before a person's decision are not.
    is_afresh = execution.attempts_made == 0
    if action and action.replay is Replay.CHECK and (seconds := not_shown_for(execution, itself=is_afresh)):
        return Outcome(
            Result.WAITING,
            not_shown_yet(execution),
            after=seconds,
            may_have_acted=execution.may_have_acted,
            reason=Reason.SETTLING,
            spent=False,
        )
    return None


def waits_for(account: Connection, execution: Execution) -> Outcome | None:
    """Return the outcome of an execution that is held for its connection, or None where that is switched on and well."""
    if not account.active:
        return Outcome(Result.HELD, f"The connection to {account} is switched off.", reason=Reason.INACTIVE)
    action = action_of(execution)
    if account.needs_attention(action.part if action else ""):
        return Outcome(
            Result.HELD, f"The connection to {account} needs attention: {account.attention}", reason=Reason.CREDENTIALS
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
    today = claims.claimed_at(execution).date()
    limit = binding.daily_limit if execution.decided_at is None else NO_LIMIT
    counted = {"binding": binding.pk, "today": today, "limit": limit}
    with before_anything_leaves():
        if _count_day({"count": _ONE_MORE}, **counted):
            return True
    if not BindingDay.objects.filter(binding=binding, day=today).exists():
        BindingDay.objects.bulk_create([BindingDay(binding=binding, day=today)], ignore_conflicts=True)
    # Asked again even where the row was there: another worker may have made it since the first question.
    return bool(_count_day({"count": _ONE_MORE}, **counted))


def give_day_back(execution: Execution) -> None:
    """It was counted for its binding's day and then not tried: it is counted when it is."""
    if execution.binding_id and execution.attempts_made == 0 and execution.job is None:
        day = claims.claimed_at(execution).date()
        today = BindingDay.objects.filter(binding=execution.binding_id, day=day, count__gt=0)
        today.update(count=F("count") - 1)


def _overtaken(execution: Execution) -> bool:
    """Whether setting a state now would undo what a later answer of this person set, or may have set.

    A later answer that came to nothing, or that has its turn yet, is none to make way for.
    """
    if claims.claimed_at(execution) - execution.created_at < OVERTAKEN_AFTER:
        return False
    action = action_of(execution)
    later = Execution.objects.filter(
        subscriber=execution.subscriber_id,
        connection=execution.connection_id,
        is_forward=False,
        event__received_at__gt=execution.event.received_at,
    ).filter(Q(state__in=HAS_ACTED) | Q(may_have_acted=True) | Q(job__isnull=False))
    return action is not None and action.replay is Replay.NATURAL and later.exists()
