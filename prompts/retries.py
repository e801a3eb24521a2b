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


def next_try(made: int, outcome: Outcome) -> dict[str, Any]:
    """Return the columns of an execution that is tried again after `made` tries, or gives up."""
    if not outcome.spent:
        spread = random.uniform(0, max(1 / settings.ENGAGE_TIME_SCALE, (outcome.after or 0) * JITTER))  # noqa: S311 - as below
        return {"due_at": Now() + Value(timedelta(seconds=(outcome.after or 0) + spread))}
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
        wait = outcome.after
    return {"due_at": Now() + Value(timedelta(seconds=max(wait, outcome.not_before)))}
