"""What is known of a subscriber: names and values of traits, and the only way in which they are written one by one.

A stored trait is never None nor an empty text: what is not known is not there, so "has this trait" is "has this key".
Files are merged in bulk (`sync.imports`), with the same names and values.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any

from django.core.cache import cache
from django.db import connection, transaction
from django.db.models import Count, Q, QuerySet
from django.dispatch import Signal
from django.utils import timezone

from connectors.base import ANSWERED_AT, USER_ID, Needs
from engage.tenancy.models import App
from sync.models import Source, Subscriber, Trait, TraitColumn, TraitType

NAME = re.compile(r"[a-z][a-z0-9_]{0,79}")
LONGEST_TEXT = 2000
LONGEST_USER_ID = 200
MOST_TRAITS = 200
# An id that more people have than a family has members is none, and what is said of it is said of nobody.
MOST_SUBSCRIBERS = 10
# PostgreSQL's JSON numbers hold more than this; a browser, and a vendor's JSON parser, do not.
LARGEST_NUMBER = 2**53
COVERAGE_KEPT = 60  # seconds
MASKED = "•••"
JUDGED = 1_000  # subscribers whose values tell a trait's type
PLAIN_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,15})?")


class TraitError(ValueError):
    """Traits that cannot be stored. `errors` says why: trait name -> sentence."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__(" ".join(f"{name}: {text}" for name, text in errors.items()))
        self.errors = errors


def traits_of(subscriber: Subscriber) -> dict[str, Any]:
    """Return what is known of a subscriber: name -> text, number or bool."""
    return dict(subscriber.traits)


def given_of(subscriber: Subscriber, answered_at: datetime) -> dict[str, Any]:
    """Return what an action may be given of a person besides traits (`connectors.base.Needs.given`)."""
    return {USER_ID: subscriber.user_id, ANSWERED_AT: answered_at}


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


def wrong_value(value: Any, *, longest: int = LONGEST_TEXT) -> str:
    """Return what is wrong with a trait's value, as a sentence, or an empty text. None (remove it) is a value."""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, str):
        if len(value) > longest:
            return f"A text has at most {longest:,} characters, this one {len(value):,}."
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
            row.import_digest = None
            row.save(update_fields=["traits", "import_digest", "updated_at"])
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


asked_for_uses = Signal()
"""What uses the App's traits? Sent with `app`; whoever uses some answers with pairs of trait and a name for people."""


def uses(app: App) -> dict[str, list[str]]:
    """Return what uses each trait, by names for people; a trait that nothing uses is not there."""
    found: dict[str, list[str]] = {}
    answers: list[tuple[Any, Any]] = asked_for_uses.send(App, app=app)
    for _, pairs in answers:
        for trait, user in pairs:
            found.setdefault(trait, []).append(user)
    return found


def types_of(app: App) -> dict[str, str]:
    """Return the types by which files are read: those that a person has confirmed. Anything else is kept as text."""
    return dict(Trait.objects.filter(app=app, confirmed=True).values_list("name", "type"))


def type_of_texts(values: Sequence[str]) -> str:
    """Return the type that texts show, or an empty one when there are none.

    Digits with a leading zero, or more of them than a number holds, are an id or a postcode and stay text. 0 and 1 are
    numbers: nobody can tell whether they mean no and yes.
    """
    if not values:
        return ""
    if all(PLAIN_NUMBER.fullmatch(value) and abs(float(value)) <= LARGEST_NUMBER for value in values):
        return TraitType.NUMBER
    if all(value.casefold() in {"true", "false", "yes", "no"} for value in values):
        return TraitType.BOOLEAN
    return TraitType.DATE if all(map(_is_moment, values)) else TraitType.TEXT


def _is_moment(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return len(value) >= len("2026-01-31") and value[4] == "-"


def saw(source: Source, columns: Mapping[str, str]) -> None:
    """Note that a file of this source had these columns: trait -> column."""
    rows = Trait.objects.filter(app=source.app_id, name__in=columns)
    now = timezone.now()
    TraitColumn.objects.bulk_create(
        [TraitColumn(trait=row, source=source, column=columns[row.name][:120], seen_at=now) for row in rows],
        update_conflicts=True,
        unique_fields=["trait", "source"],
        update_fields=["column", "seen_at"],
    )


def find_types(app: App) -> None:
    """Look at the newest subscribers for what the values of each trait to be confirmed show."""
    pending = list(Trait.objects.filter(app=app, confirmed=False))
    if not pending:
        return
    newest = Subscriber.objects.filter(app=app).order_by("-updated_at").values_list("traits", flat=True)[:JUDGED]
    known_of = list(newest)
    for trait in pending:
        values = [known[trait.name] for known in known_of if trait.name in known]
        types = {type_of(value) for value in values}
        if types == {TraitType.TEXT}:
            found = type_of_texts(values)
        else:
            found = types.pop() if len(types) == 1 else TraitType.TEXT if types else ""
        if found != trait.found_type:
            Trait.objects.filter(pk=trait.pk).update(found_type=found)


def having(app: App, name: str, value: str) -> QuerySet[Subscriber]:
    """Return the subscribers whose trait is exactly this id; a file may have brought an id of digits as a number."""
    found = Q(**{f"traits__{name}": value})
    if value.isascii() and value.isdecimal() and str(int(value)) == value and int(value) <= LARGEST_NUMBER:
        found |= Q(**{f"traits__{name}": int(value)})
    return Subscriber.objects.filter(found, app=app)


def coverage(app: App, needs: Needs) -> tuple[int, int]:
    """Return how many subscribers have what `needs` names, and how many there are; at most a minute old."""
    name = blake2b(repr(needs.groups).encode(), digest_size=12).hexdigest()
    return cache.get_or_set(f"coverage:{app.pk}:{name}", lambda: _count(app, needs), COVERAGE_KEPT) or (0, 0)


def meeting(needs: Needs) -> Q:
    """Return the condition of subscribers who have what `needs` names; an empty one where it names nothing."""
    having = Q()
    for group in needs.groups:
        having &= Q(traits__has_any_keys=list(group))
    return having


def _count(app: App, needs: Needs) -> tuple[int, int]:
    counts = Subscriber.objects.filter(app=app).aggregate(
        having=Count("pk", filter=meeting(needs)) if needs.groups else Count("pk"), total=Count("pk")
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
