"""When a person says what type a trait has, what is stored of it is read again as that type.

Files are read as text until a trait's type is confirmed, and what an action needs can be used as text meanwhile. A value that
the type does not read stays as it is and is counted. The trait's row is the queue: how far its reading came is stored with what was
read, so whoever follows a worker that died goes on from there.
"""

import math
import time
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection, transaction
from django.db.models import QuerySet

from engage import bell
from sync.csv_rows import reader_of
from sync.models import Subscriber, Trait, TraitType

TASK = "sync.retype_traits"
AT_ONCE = 200
UTC = ZoneInfo("UTC")


def ask(trait: Trait) -> None:
    """Let a worker read every stored value of a trait as its type, from the first subscriber on."""
    Trait.objects.filter(pk=trait.pk).update(retyped_to=0, misfits=0)
    bell.ring_on_commit(TASK)


def due() -> QuerySet[Trait]:
    """The traits of which something is to be read still; one that is not confirmed needs nothing."""
    return Trait.objects.filter(confirmed=True, retyped_to__isnull=False)


def sweep() -> None:
    """Ring for what nobody heard of, or a worker died over."""
    if due().exists():
        bell.ring(TASK)


def work() -> None:
    """Read what is to be read until nothing is left, or other workers are at the rest."""
    began = time.monotonic()
    while _next_ones():
        if connection.vendor == "sqlite":  # one writer at a time: others get as long
            time.sleep(time.monotonic() - began)
        began = time.monotonic()


@transaction.atomic
def _next_ones() -> bool:
    """Read a trait of the next subscribers. Whoever has its row locked is at it; returns whether there was one."""
    trait = due().select_for_update(skip_locked=True, no_key=True).order_by("pk").first()
    if trait is None:
        return False
    having = Subscriber.objects.filter(app=trait.app_id, traits__has_key=trait.name, pk__gt=trait.retyped_to)
    rows = list(having.select_for_update().order_by("pk")[:AT_ONCE])
    changed = []
    for row in rows:
        before = row.traits[trait.name]
        try:
            value = as_type(before, trait.type)
        except ValueError:
            trait.misfits += 1
            continue
        if (type(value), value) != (type(before), before):
            row.traits[trait.name] = value
            row.import_digest = None
            changed.append(row)
    Subscriber.objects.bulk_update(changed, ["traits", "import_digest"])
    trait.retyped_to = rows[-1].pk if len(rows) == AT_ONCE else None
    trait.save(update_fields=["retyped_to", "misfits"])
    return True


def as_type(value: Any, type_: str) -> Any:
    """Return a stored value as a trait's type.

    Raises:
        ValueError: it cannot be read so.
    """
    fits: Any = {TraitType.TEXT: str, TraitType.BOOLEAN: bool, TraitType.NUMBER: (int, float)}.get(TraitType(type_))
    if fits and isinstance(value, fits) and (type_ == TraitType.BOOLEAN or not isinstance(value, bool)):
        return value
    return reader_of(type_, UTC)(as_text(value))


def as_text(value: Any) -> str:
    """Return a stored value as a file would write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and math.isfinite(value):
        return str(int(value))
    return str(value)
