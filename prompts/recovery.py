"""What goes on without a person: after a worker's death, after a report that did not come; and what is late."""

import logging
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import F, Value
from django.db.models.functions import Coalesce, Now

from connectors import breaker
from connectors.base import Replay
from connectors.registry import action_of
from engage import crash
from prompts import claims, forwarding, settlement
from prompts.models import LOST, Attempt, Execution, Reason, State

logger = logging.getLogger(__name__)


def sweep() -> int:
    """Return expired leases, postpone what has come during a pause, and end what nobody reported.

    Returns how many executions are due, as far as threads can do them.
    """
    breaker.tell_again()
    expired = claims.left_behind().filter(is_forward=False)
    for execution in expired.select_related("event", "connection"):
        _return_lease(execution)
    for execution in Execution.objects.filter(state=State.HANDED_OVER, due_at__lt=Now()):
        with settlement.changing(execution.event_id):
            ended = Execution.objects.filter(pk=execution.pk, state=State.HANDED_OVER, due_at__lt=Now()).update(
                state=State.GAVE_UP,
                reason=Reason.NO_REPORT,
                message="The app did not report back.",
                due_at=None,
                settled_at=Now(),
            )
            if ended:
                settlement.go_on(execution.event_id, State.GAVE_UP)
    return len(claims.due().values_list("pk")[: settings.ENGAGE_WORKER_THREADS])


def _return_lease(execution: Execution) -> None:
    """Let go of an execution whose worker died in mid-call."""
    with settlement.changing(execution.event_id):
        attempt = Attempt.objects.select_for_update().filter(execution=execution, fence=execution.fence).first()
        values = _values_left_behind(execution, attempt)
        returned = Execution.objects.filter(pk=execution.pk, fence=execution.fence, state=State.RUNNING).update(
            **values
        )
        if attempt is not None:
            if attempt.finished_at is None:
                attempt.outcome, attempt.message = LOST, "Its worker stopped."
            attempt.write_begun_with = None  # the execution has it now
            attempt.save(update_fields=["outcome", "message", "write_begun_with"])
        if returned:
            settlement.go_on(execution.event_id, State(values["state"]))
        crash.point("lease.returning")
    crash.point("lease.returned")
    logger.warning("A lease expired; its worker stopped")


def _values_left_behind(execution: Execution, attempt: Attempt | None) -> dict[str, Any]:
    """Return the columns of an execution whose worker died: was a write begun? Then it may have acted."""
    begun = attempt.write_begun_at if attempt is not None else None
    acted = begun is not None
    action = action_of(execution)
    replay = action.replay if action else None
    may_have_acted = acted or execution.may_have_acted
    made = execution.attempts_made + (1 if attempt is not None and execution.job is None else 0)
    values: dict[str, Any] = {"lease_until": None, "may_have_acted": may_have_acted, "attempts_made": made}
    if execution.job is not None:
        values |= {"state": State.PENDING, "due_at": Now()}
    elif acted and replay is Replay.NEVER:
        text = "The worker stopped after the request had left. It may have happened."
        values |= {"state": State.UNCERTAIN, "reason": Reason.LOST_ANSWER, "message": text, "due_at": None}
    elif made > len(settings.ENGAGE_RETRY_DELAYS):
        text = f"The worker stopped in each of the last tries; {made} were made."
        values |= {
            "state": State.UNCERTAIN if may_have_acted else State.GAVE_UP,
            "reason": Reason.WORKER_DIED,
            "message": text,
            "due_at": None,
            "settled_at": None if may_have_acted else Now(),
        }
    else:
        wait = timedelta(seconds=settings.ENGAGE_SETTLING if acted and replay is Replay.CHECK else 0)
        text = "The worker stopped in the middle; it is tried again."
        values |= {"state": State.WAITING, "reason": Reason.WORKER_DIED, "message": text, "due_at": Now() + Value(wait)}
    if attempt is not None and acted:
        values["first_write_at"] = Coalesce(F("first_write_at"), Value(begun))
        values |= attempt.write_begun_with or {}
    return values


def oldest_overdue() -> float:
    """Return for how many seconds the execution that waits longest has been due; 0 when none is. Computed when asked."""
    waiting: list[timedelta | None] = [
        rows.order_by(moment).values_list(Now() - F(moment), flat=True).first()
        for rows, moment in (
            (claims.due(), "due_at"),
            (claims.left_behind(), "lease_until"),
            (forwarding.all_due(), "due_at"),
        )
    ]
    return max([0.0, *(late.total_seconds() for late in waiting if late)])


def overdue_apps(seconds: float) -> set[int]:
    """Return the Apps in which work has been due for longer than `seconds`."""
    before = Now() - Value(timedelta(seconds=seconds))
    late = (claims.due().filter(due_at__lt=before), claims.left_behind().filter(lease_until__lt=before))
    rows = (*late, forwarding.all_due().filter(due_at__lt=before))
    return {app for each in rows for app in each.order_by().values_list("app", flat=True).distinct()}
