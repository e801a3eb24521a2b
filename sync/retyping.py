"""When a person says what type a trait has, what is stored of it is read again as that type.

Files are read as text until a trait's type is confirmed, and what an action needs can be used as text meanwhile. A value that
the type does not read stays as it is and is counted.
"""

import math
import time
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection, transaction

from sync.csv_rows import reader_of
from sync.models import Subscriber, Trait, TraitType

AT_ONCE = 200
UTC = ZoneInfo("UTC")


def retype(trait_id: int) -> None:
    """Read every stored value of a trait as its type; a trait that is gone, or not confirmed, needs nothing."""
    trait = Trait.objects.filter(pk=trait_id, confirmed=True).first()
    if trait is None:
        return
    misfits, last = 0, 0
    while True:
        with transaction.atomic():
            began = time.monotonic()
            having = Subscriber.objects.filter(app=trait.app_id, traits__has_key=trait.name, pk__gt=last)
            rows = list(having.select_for_update().order_by("pk")[:AT_ONCE])
            changed = []
            for row in rows:
                before = row.traits[trait.name]
                try:
                    value = as_type(before, trait.type)
                except ValueError:
                    misfits += 1
                    continue
                if (type(value), value) != (type(before), before):
                    row.traits[trait.name] = value
                    row.import_digest = None
                    changed.append(row)
            Subscriber.objects.bulk_update(changed, ["traits", "import_digest"])
        if len(rows) < AT_ONCE:
            break
        last = rows[-1].pk
        if connection.vendor == "sqlite":  # one writer at a time: others get as long
            time.sleep(time.monotonic() - began)
    Trait.objects.filter(pk=trait.pk, type=trait.type).update(misfits=misfits)


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
