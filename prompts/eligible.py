"""Which prompts a person is shown on a path."""

from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from django.db.models import Exists, OuterRef, Q, Subquery

from engage.tenancy.models import App, DeliveryMode
from prompts.models import Binding, Interaction, LimitKind, LimitTaken, Prompt, PromptStatus
from prompts.templating import render
from sync.models import Subscriber
from sync.traits import traits_of


def prompts_for(app: App, subscriber: Subscriber | None, path: str, now: datetime) -> list[dict[str, Any]]:
    """Return the live prompts for a person on a path as the runtime API answers them, the oldest first.

    Args:
        subscriber: whose limits and traits count; None for somebody who is not known or has not proved who they are, and
            who then is nobody's test subscriber either.
        path: the page's path, e.g. "/account".

    """
    if not _is_served(app, subscriber, now):
        return []
    traits = traits_of(subscriber) if subscriber else {}
    return [
        _shown(prompt, traits)
        for prompt in _live(app, subscriber, now)
        if matches(prompt.url_pattern, path) and not _is_used_up(prompt, now)
    ]


def matches(pattern: str, path: str) -> bool:
    """Whether a prompt with this URL pattern is shown on `path`: `*` stands for anything, an empty pattern for every path."""
    # Only the asterisk is a wildcard to a designer; fnmatch knows two more.
    return not pattern or fnmatchcase(path, pattern.replace("[", "[[]").replace("?", "[?]"))


def _is_served(app: App, subscriber: Subscriber | None, now: datetime) -> bool:
    match app.delivery_mode:
        case DeliveryMode.LIVE:
            return True
        case DeliveryMode.TEST:
            return bool(
                subscriber and subscriber.is_test and (subscriber.test_until is None or subscriber.test_until > now)
            )
        case _:
            return False


def _live(app: App, subscriber: Subscriber | None, now: datetime) -> list[Prompt]:
    """Return the prompts that are on, with `taken_at`: when this subscriber took their limit."""
    switched_off = Binding.objects.filter(
        prompt=OuterRef("pk"), enabled=True, archived_at=None, connection__active=False
    )
    taken = LimitTaken.objects.filter(prompt=OuterRef("pk"), subscriber=subscriber).values("taken_at")
    rows = (
        Prompt.objects.filter(
            Q(starts_at=None) | Q(starts_at__lte=now),
            Q(ends_at=None) | Q(ends_at__gt=now),
            app=app,
            status=PromptStatus.LIVE,
            archived_at=None,
        )
        # An accept could not be carried out, so that it is better not offered.
        .exclude(Exists(switched_off))
        .annotate(taken_at=Subquery(taken))
        .order_by("pk")
    )
    return list(rows)


def _is_used_up(prompt: Prompt, now: datetime) -> bool:
    taken_at: datetime | None = prompt.taken_at  # type: ignore[attr-defined]
    match prompt.limit:
        case LimitKind.NONE:
            return False
        case LimitKind.EVERY_DAYS:
            return taken_at is not None and taken_at > now - timedelta(days=prompt.limit_days or 0)
        case _:
            return taken_at is not None


def _shown(prompt: Prompt, traits: dict[str, Any]) -> dict[str, Any]:
    labels = {
        Interaction.ACCEPT: prompt.accept_label,
        Interaction.SECONDARY_ACCEPT: prompt.secondary_label,
        Interaction.DECLINE: prompt.decline_label,
    }
    return {
        "key": prompt.key,
        "version": prompt.version,
        "type": prompt.type,
        "title": render(prompt.title, traits),
        "message": render(prompt.message, traits),
        "buttons": [
            {"interaction": interaction.value, "label": render(label, traits)}
            for interaction, label in labels.items()
            if label
        ],
        "timeout_seconds": prompt.timeout_seconds,
        "inputs": prompt.inputs,
        "texts": {
            "done": render(prompt.text_done, traits),
            "follows": render(prompt.text_follows, traits),
            "not_possible": render(prompt.text_not_possible, traits),
        },
    }
