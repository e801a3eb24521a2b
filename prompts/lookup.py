"""Find a subscriber by whatever somebody has at hand, and say what is known of them; and what a role may not see."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from connectors.registry import all_connectors
from engage.tenancy.models import App, DeliveryMode
from prompts import eligible
from prompts.events import is_test_subscriber
from prompts.models import Execution, LimitKind, LimitTaken, Prompt, PromptEvent, PromptStatus
from sync.models import Subscriber
from sync.traits import MASKED

MOST_FOUND = 20
EMAIL_TRAITS = ("email", "email_address")
SHORTEST_MASKED = 3
"""A personal value shorter than this would mask half of an ordinary text."""


@dataclass(frozen=True)
class Match:
    """A subscriber who was found, and by what; `event` is the one whose id or reference it was."""

    subscriber: Subscriber
    found_by: str
    event: PromptEvent | None = None
    execution: Execution | None = None


def search(app: App, text: str) -> list[Match]:
    """Return who can be meant by `text`: a user id, e-mail address, vendor's id, reference, event id or execution id."""
    text = text.strip()
    if not text or "\x00" in text:
        return []
    matches = [*_by_user_id(app, text), *_by_reference(app, text), *_by_uuid(app, text), *_by_traits(app, text)]
    first: dict[int, Match] = {}
    for match in matches:
        first.setdefault(match.subscriber.pk, match)
    return list(first.values())[:MOST_FOUND]


def _by_user_id(app: App, text: str) -> list[Match]:
    return [Match(row, "user id") for row in Subscriber.objects.filter(app=app, user_id=text)]


def _by_reference(app: App, text: str) -> list[Match]:
    rows = PromptEvent.objects.filter(app=app, reference=text.upper()).select_related("subscriber")[:MOST_FOUND]
    return [Match(row.subscriber, "reference", row) for row in rows]


def _by_uuid(app: App, text: str) -> list[Match]:
    try:
        key = UUID(text)
    except ValueError:
        return []
    events = PromptEvent.objects.filter(app=app, event_id=key).select_related("subscriber")
    executions = Execution.objects.filter(app=app, pk=key).select_related("subscriber", "event")
    return [
        *(Match(row.subscriber, "event id", row) for row in events),
        *(Match(row.subscriber, "execution id", row.event, row) for row in executions),
    ]


def _by_traits(app: App, text: str) -> list[Match]:
    if "@" in text:
        terms, found_by = Q(), "e-mail address"
        for name in EMAIL_TRAITS:
            terms |= Q(**{f"traits__{name}__iexact": text})
    else:
        terms, found_by = Q(), "vendor's id"
        spellings: list[Any] = [text, int(text)] if text.isascii() and text.isdigit() and len(text) < 16 else [text]
        for name in vendor_id_traits():
            terms |= Q(**{f"traits__{name}__in": spellings})
    return [Match(row, found_by) for row in Subscriber.objects.filter(terms, app=app).order_by("pk")[:MOST_FOUND]]


def vendor_id_traits() -> list[str]:
    """Return the traits that some action finds its person by, e.g. "cleeng_customer_id"."""
    names = {name for connector in all_connectors() for action in connector.actions for name in action.needs.traits}
    return sorted(names - set(EMAIL_TRAITS))


# --- what somebody sees of it -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Offered:
    """A prompt, and why this subscriber is not shown it (empty: they are)."""

    prompt: Prompt
    why_not: str
    where: str
    taken_at: datetime | None


def prompts_of(app: App, subscriber: Subscriber) -> list[Offered]:
    """Return the App's prompts that are not drafts, and why each is shown or not. `prompts.eligible` decides."""
    now = timezone.now()
    prompts = list(Prompt.objects.filter(app=app, archived_at=None).exclude(status=PromptStatus.DRAFT).order_by("name"))
    taken = dict(LimitTaken.objects.filter(subscriber=subscriber, prompt__app=app).values_list("prompt", "taken_at"))
    paths = {prompt.url_pattern.replace("*", "") or "/" for prompt in prompts}
    shown = {one["key"] for path in paths for one in eligible.prompts_for(app, subscriber, path, now)}
    return [
        Offered(
            prompt,
            why_not="" if prompt.key in shown else _why_not(app, subscriber, prompt, taken.get(prompt.pk), now),
            where=f"on {prompt.url_pattern}" if prompt.url_pattern else "on every page",
            taken_at=taken.get(prompt.pk),
        )
        for prompt in prompts
    ]


def _why_not(app: App, subscriber: Subscriber, prompt: Prompt, taken_at: datetime | None, now: datetime) -> str:
    """Put into words why a prompt is not shown, the widest reason first."""
    if app.delivery_mode == DeliveryMode.NOBODY:
        return "The App's delivery mode is “Nobody”."
    if app.delivery_mode == DeliveryMode.TEST and not is_test_subscriber(subscriber, now):
        return "The App is in test mode, and this is no test subscriber."
    if prompt.status == PromptStatus.PAUSED:
        return "The prompt is paused."
    if prompt.starts_at and prompt.starts_at > now:
        return f"It starts on {_day(app, prompt.starts_at)}."
    if prompt.ends_at and prompt.ends_at <= now:
        return f"It ended on {_day(app, prompt.ends_at)}."
    if taken_at and prompt.limit == LimitKind.EVERY_DAYS:
        again = taken_at + timedelta(days=prompt.limit_days or 0)
        return f"Accepted on {_day(app, taken_at)}; shown again from {_day(app, again)}."
    if taken_at:
        return f"Accepted on {_day(app, taken_at)}; the limit is once."
    return "One of its actions belongs to a connection that is switched off."


def _day(app: App, at: datetime) -> str:
    """Return the day in the App's zone."""
    return f"{at.astimezone(app.zone):%-d %B %Y}"


@dataclass(frozen=True)
class TraitLine:
    """A trait as it is shown: `type` and `personal` come from its declaration."""

    name: str
    value: Any
    type: str
    personal: bool


def traits_shown(app: App, subscriber: Subscriber, *, personal: bool) -> list[TraitLine]:
    """Return a subscriber's traits by name; without `personal` the personal ones, and those nobody has declared, are masked."""
    declared = {trait.name: trait for trait in app.traits.all()}
    lines = []
    for name, value in sorted(subscriber.traits.items()):
        trait = declared.get(name)
        is_personal = trait is None or trait.personal
        lines.append(
            TraitLine(
                name,
                value if personal or not is_personal else MASKED,
                trait.get_type_display() if trait else "",
                is_personal,
            )
        )
    return lines


Veil = Callable[[str], str]
"""What hides personal values in a text."""


def open_veil(text: str) -> str:
    """Return `text` as it is: for roles that may see personal values."""
    return text


def veil(app: App, people: Iterable[tuple[Subscriber, Iterable[dict[str, Any]]]]) -> Veil:
    """Return what masks the personal values of these subscribers wherever a text holds them.

    A vendor's answer repeats what it was sent, so a sentence may hold a personal value.

    Args:
        people: each subscriber, with further values of theirs: what they typed, what an attempt was given.

    """
    open_names = set(app.traits.filter(personal=False).values_list("name", flat=True))
    values: set[str] = set()
    for subscriber, more in people:
        for known in (subscriber.traits, *more):
            values |= {
                str(value) for name, value in known.items() if name not in open_names and not isinstance(value, bool)
            }
        values.discard(subscriber.user_id)
    longest_first = sorted((value for value in values if len(value) >= SHORTEST_MASKED), key=len, reverse=True)

    def hide(text: str) -> str:
        for value in longest_first:
            text = text.replace(value, MASKED)
        return text

    return hide
