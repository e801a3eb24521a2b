"""When what failed is tried again, when nobody tries any more, and what goes on at once."""

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Greatest, Now

from connectors.runner import Outcome
from connectors.waits import JITTER, until_the_next_try
from prompts import bell
from prompts.models import Execution, Reason, State

ASK_FIRST_AFTER = timedelta(hours=72)
"""What was held for longer does not go on by itself: about an action a person is asked, and an event is no longer forwarded."""
LET_GO: Mapping[str, Any] = {"state": State.QUEUED, "reason": "", "message": "", "due_at": Now()}
ASKED_AGAIN: Mapping[str, Any] = {"state": State.PENDING, "reason": "", "due_at": Now()}
"""The columns of an execution that goes on at once; the second ones where the vendor has accepted a job."""


def next_try(made: int, outcome: Outcome) -> dict[str, Any]:
    """Return the columns of an execution that is tried again after `made` tries, or gives up."""
    if not outcome.spent:
        turn = max(outcome.after or 0, outcome.not_before)
        spread = random.uniform(0, max(1 / settings.ENGAGE_TIME_SCALE, turn * JITTER))  # noqa: S311 - so that not all come at once
        return {"due_at": Now() + Value(timedelta(seconds=turn + spread))}
    wait = until_the_next_try(made, outcome.after)
    if wait is None:
        if outcome.may_have_acted:
            return {
                "state": State.UNCERTAIN,
                "message": f"{outcome.message} It may have happened in one of {made} tries.",
            }
        return {
            "state": State.GAVE_UP,
            "message": f"{outcome.message} Gave up after {made} tries.",
            "settled_at": Now(),
        }
    return {"due_at": Now() + Value(timedelta(seconds=max(wait, outcome.not_before)))}


def resume(connection_id: UUID) -> int:
    """Let the executions go on that were held for a connection that is healthy again, except those held for too long."""
    held = Execution.objects.filter(connection=connection_id, state=State.HELD, reason=Reason.CREDENTIALS)
    return let_go(held.filter(due_at__gt=Now() - Value(ASK_FIRST_AFTER)))


def let_go(held: QuerySet[Execution]) -> int:
    """Queue held executions again; a job that the vendor accepted is asked about again.

    One of which a part may have happened just before it was held goes on when the vendor can show that.
    """
    going = held.filter(job__isnull=True, may_have_acted=False).update(**LET_GO)
    shown = Greatest(Now(), F("due_at") + Value(timedelta(seconds=settings.ENGAGE_SETTLING)))
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
