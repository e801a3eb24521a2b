"""How often the App's prompts were accepted lately, and how many of the actions of that were done: for the list of prompts."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.cache import cache
from django.db.models import Count, Q
from django.utils import timezone

from engage.tenancy.models import App
from prompts.again import ran_again
from prompts.models import TAKES_LIMIT, Execution, PromptEvent, State

LATELY = timedelta(days=7)
COUNTED_FOR = 600
"""Seconds for which the figures are shown as they were counted: a busy App has a million executions in them."""


@dataclass(frozen=True)
class Accepts:
    """Of one prompt, by real subscribers."""

    count: int = 0
    actions: int = 0
    done: int = 0


def lately(app: App) -> dict[int, Accepts]:
    """Return the App's prompts that were accepted within `LATELY`, as they were counted at most `COUNTED_FOR` seconds ago."""
    counted: Any = cache.get_or_set(f"accepts:{app.pk}", lambda: count(app), COUNTED_FOR)
    return dict(counted)


def count(app: App) -> dict[int, Accepts]:
    """Count them now. Of an action that ran again only the last run counts."""
    since = timezone.now() - LATELY
    accepts = dict(
        PromptEvent.objects.filter(app=app, received_at__gte=since, interaction__in=TAKES_LIMIT, is_test=False)
        .values_list("prompt")
        .annotate(Count("pk"))
        .order_by()
    )
    actions = (
        Execution.objects.filter(~ran_again(), app=app, is_forward=False, created_at__gte=since)
        .filter(
            event__app=app,
            event__received_at__gte=since,
            event__interaction__in=TAKES_LIMIT,
            event__is_test=False,
            binding__isnull=False,
        )
        .values_list("event__prompt")
        .annotate(actions=Count("pk"), done=Count("pk", filter=Q(state__in=[State.DONE, State.HANDED_OVER])))
        .order_by()
    )
    carried_out = {prompt: (all_of_them, done) for prompt, all_of_them, done in actions}
    return {prompt: Accepts(number, *carried_out.get(prompt, (0, 0))) for prompt, number in accepts.items()}
