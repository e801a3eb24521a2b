"""What is known of a subscriber: names and values of traits, and the only way in which they are written one by one.

A stored trait is never None nor an empty text: what is not known is not there, so "has this trait" is "has this key".
Files are merged in bulk (`sync.imports`), with the same names and values.
"""

import math
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from django.core.cache import cache
from django.db import connection, transaction
from django.db.models import Count, Q

from connectors.base import Needs
from engage.tenancy.models import App
from sync.models import Subscriber, Trait, TraitType

NAME = re.compile(r"[a-z][a-z0-9_]{0,79}")
LONGEST_TEXT = 2000
LONGEST_USER_ID = 200
MOST_TRAITS = 200
# PostgreSQL's JSON numbers hold more than this; a browser, and a vendor's JSON parser, do not.
LARGEST_NUMBER = 2**53
COVERAGE_KEPT = 60  # seconds
MASKED = "•••"


class TraitError(ValueError):
    """Traits that cannot be stored. `errors` says why: trait name -> sentence."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__(" ".join(f"{name}: {text}" for name, text in errors.items()))
        self.errors = errors


def traits_of(subscriber: Subscriber) -> dict[str, Any]:
    """Return what is known of a subscriber: name -> text, number or bool."""
    return dict(subscriber.traits)


def known(app: App) -> list[Trait]:
    """Return the traits of an App by name, those that wait to be confirmed included."""
    return list(Trait.objects.filter(app=app).order_by("name"))


def subscriber(app: App, user_id: str) -> Subscriber:
    """Return the subscriber with the id that the App sends; a new one when nobody has it.

    Raises:
        TraitError: the id is empty, too long or holds control characters.
    """
    wrong = wrong_user_id(user_id)
    if wrong:
        raise TraitError({"user_id": wrong})
    return Subscriber.objects.get_or_create(app=app, user_id=user_id)[0]


def wrong_user_id(user_id: str) -> str:
    """Return what is wrong with an id that an App sends, as a sentence, or an empty text."""
    if not user_id or user_id != user_id.strip():
        return "An id must not be empty, nor begin or end with a blank."
    if len(user_id) > LONGEST_USER_ID:
        return f"An id has at most {LONGEST_USER_ID} characters, this one {len(user_id):,}."
    if not user_id.isprintable():
        return "An id must not hold control characters."
    return ""


def wrong_name(name: str) -> str:
    """Return what is wrong with a trait's name, as a sentence, or an empty text."""
    if NAME.fullmatch(name):
        return ""
    return "A trait's name has 1 to 80 lower-case letters, digits and underscores, and begins with a letter."


def wrong_value(value: Any) -> str:
    """Return what is wrong with a trait's value, as a sentence, or an empty text. None (remove it) is a value."""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            return f"A text has at most {LONGEST_TEXT:,} characters, this one {len(value):,}."
        if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            return "The text holds characters that cannot be stored."
        return ""
    if isinstance(value, (int, float)):
        if not math.isfinite(value) or abs(value) > LARGEST_NUMBER:
            return "The number is too large; send it as text."
        return ""
    return "A trait is a text, a number, true or false, or null to remove it; not a list or an object."


def type_of(value: Any) -> TraitType:
    """Return the type that a value which came as JSON shows."""
    if isinstance(value, bool):
        return TraitType.BOOLEAN
    return TraitType.NUMBER if isinstance(value, (int, float)) else TraitType.TEXT


def set_traits(app: App, user_id: str, traits: Mapping[str, Any], *, origin: str) -> Subscriber:
    """Write these traits of a subscriber and leave the others alone; None or an empty text removes one.

    The row is locked while it is compared and written, so two writers at once do not lose each other's traits; what is
    already so is not written. A trait that the App has not seen before appears under *Traits*, to be confirmed.

    Args:
        origin: who says so, for people: "API", "Console", "Webhook from Cleeng".

    Raises:
        TraitError: a name or value cannot be stored; nothing was written.
    """
    errors = {name: wrong for name, value in traits.items() if (wrong := wrong_name(name) or wrong_value(value))}
    if errors:
        raise TraitError(errors)
    with transaction.atomic():
        person = subscriber(app, user_id)
        row = Subscriber.objects.select_for_update().get(pk=person.pk)
        before = dict(row.traits)
        row.traits = {name: value for name, value in {**before, **traits}.items() if value not in (None, "")}
        if len(row.traits) > MOST_TRAITS:
            raise TraitError({"traits": f"A subscriber has at most {MOST_TRAITS} traits."})
        if not _same(row.traits, before):
            row.save(update_fields=["traits", "updated_at"])
            announce(app, {name: type_of(row.traits[name]) for name in row.traits if name not in before}, origin=origin)
    return row


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two sets of traits are equal; 1 and True are not."""
    return one == other and all(type(one[name]) is type(other[name]) for name in one)


def announce(app: App, types: Mapping[str, str], *, origin: str) -> None:
    """Make a row for each trait that the App has none of yet; it waits until a person confirms it."""
    new = set(types) - set(Trait.objects.filter(app=app, name__in=types).values_list("name", flat=True))
    Trait.objects.bulk_create(
        [Trait(app=app, name=name, type=types[name], confirmed=False, origin=origin[:80]) for name in sorted(new)],
        ignore_conflicts=True,
    )


def coverage(app: App, needs: Needs) -> tuple[int, int]:
    """Return how many subscribers have what `needs` names, and how many there are; at most a minute old."""
    name = blake2b(repr(needs.groups).encode(), digest_size=12).hexdigest()
    return cache.get_or_set(f"coverage:{app.pk}:{name}", lambda: _count(app, needs), COVERAGE_KEPT) or (0, 0)


def _count(app: App, needs: Needs) -> tuple[int, int]:
    having = Q()
    for group in needs.groups:
        having &= Q(traits__has_any_keys=list(group))
    counts = Subscriber.objects.filter(app=app).aggregate(
        having=Count("pk", filter=having) if needs.groups else Count("pk"), total=Count("pk")
    )
    return counts["having"], counts["total"]


_FILLED = {
    "postgresql": """
        SELECT name, count(*) FROM sync_subscriber, jsonb_object_keys(traits) AS name WHERE app_id = %s GROUP BY name
    """,
    "sqlite": """
        SELECT key, count(*) FROM sync_subscriber, json_each(sync_subscriber.traits) WHERE app_id = %s GROUP BY key
    """,
}


def filled(app: App) -> dict[str, int]:
    """Return how many subscribers have each trait, by one look at all of them; at most a minute old."""

    def count() -> dict[str, int]:
        with connection.cursor() as cursor:
            cursor.execute(_FILLED[connection.vendor], [app.pk])
            return dict(cursor.fetchall())

    return cache.get_or_set(f"filled:{app.pk}", count, COVERAGE_KEPT) or {}


def mask_personal(app: App, traits: Mapping[str, Any]) -> dict[str, Any]:
    """Return traits as somebody sees them who may not see personal ones: those, and unknown ones, are masked."""
    open_names = set(Trait.objects.filter(app=app, personal=False).values_list("name", flat=True))
    return {name: value if name in open_names else MASKED for name, value in traits.items()}
