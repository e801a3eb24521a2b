"""When what failed is tried again, and when nobody tries any more."""

import random
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Value
from django.db.models.functions import Now

from connectors.runner import Outcome
from prompts.models import State

JITTER = 0.1
ASK_FIRST_AFTER = timedelta(hours=72)
"""What was held for longer does not go on by itself: about an action a person is asked, and an event is no longer forwarded."""
WISHES = 3
"""Tries after which the vendor's wish is granted as it is; from then on it only lengthens the wait, so that a vendor that says
"at once" through hours of trouble does not use up all tries in seconds."""


def next_try(made: int, outcome: Outcome) -> dict[str, Any]:
    """Return the columns of an execution that is tried again after `made` tries, or gives up."""
    a_second = 1 / settings.ENGAGE_TIME_SCALE
    if not outcome.spent:
        wait = max(outcome.after or 0, outcome.not_before)
        spread = random.uniform(0, max(a_second, wait * JITTER))  # noqa: S311 - as below
        return {"due_at": Now() + Value(timedelta(seconds=wait + spread))}
    delays = settings.ENGAGE_RETRY_DELAYS
    if made > len(delays):
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
    wait = delays[made - 1] * (1 + random.random() * JITTER)  # noqa: S311 - to spread retries, not to keep a secret
    if outcome.after is not None:
        wait = max(outcome.after, a_second if made <= WISHES else wait)
    return {"due_at": Now() + Value(timedelta(seconds=max(wait, outcome.not_before)))}
