"""When what failed is tried again, and when nobody tries any more."""

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Value
from django.db.models.functions import Now

from connectors.runner import Outcome
from connectors.waits import JITTER, until_the_next_try
from prompts.models import State

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
