"""Subscribers and their traits as CSV: streamed row by row, and harmless in a spreadsheet."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from engage.tenancy.models import App
from sync.formulas import harmless
from sync.models import Subscriber, Trait

AT_ONCE = 2_000  # rows that are in memory


@dataclass(frozen=True)
class Selection:
    """Whom and what an export holds."""

    traits: Sequence[str] = ()  # names; none: all that the App knows
    having: str = ""  # only subscribers with this trait
    since: datetime | None = None  # only those changed at or after this moment


def names_of(app: App, selection: Selection) -> list[str]:
    """Return the names of the traits that are columns, in order."""
    known = Trait.objects.filter(app=app).order_by("name").values_list("name", flat=True)
    return [name for name in known if name in selection.traits] if selection.traits else list(known)


def selected(app: App, selection: Selection) -> QuerySet[Subscriber]:
    """Return the subscribers that an export holds."""
    rows = Subscriber.objects.filter(app=app)
    if selection.having:
        rows = rows.filter(traits__has_key=selection.having)
    return rows.filter(updated_at__gte=selection.since) if selection.since else rows


def lines(app: App, selection: Selection) -> Iterator[str]:
    """Yield the lines of the CSV: UTF-8 with its mark, a header, a row per subscriber in the order in which they came."""
    writer: Any = csv.writer(Echo())
    names = names_of(app, selection)
    yield "\ufeff" + writer.writerow(["user_id", *map(harmless, names)])
    rows = selected(app, selection).order_by("pk").values_list("user_id", "traits")
    for user_id, traits in rows.iterator(chunk_size=AT_ONCE):
        yield writer.writerow([harmless(user_id), *(_cell(traits.get(name)) for name in names)])


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return harmless(value) if isinstance(value, str) else value


class Echo:
    """A file that hands back what is written."""

    def write(self, text: str) -> str:
        """Return the text."""
        return text
