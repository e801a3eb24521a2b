"""The vendor's rows that fill dropdowns: read all of them nightly and by button, so that no form touches the network."""

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from connectors.base import Catalogue, Choice, Connector
from connectors.failures import Failure, Undocumented
from connectors.http import Api
from connectors.journal import OnlyLooks
from connectors.models import CatalogueEntry, CatalogueState, Connection
from connectors.registry import connector_or_none
from engage.schedules import slots
from engage.vault.fields import Unreadable

logger = logging.getLogger(__name__)

REFRESH_TIMEOUT = 120.0
"""Seconds that reading one catalogue may take."""
NIGHTLY_HOUR = 3  # in the App's time zone
WITHIN = "within"  # in an entry's data: to which rows of another catalogue it belongs
AT_ONCE = 500  # rows in one statement
KEY_LENGTH, LABEL_LENGTH = 200, 300  # as CatalogueEntry has them


def refresh(connection: Connection, name: str | None = None) -> None:
    """Read the rows of a catalogue (or of all) from the vendor and store them.

    New rows are added, known ones updated, and those that are gone are marked as vanished; one that comes back is offered
    again. A read that failed changes no row and leaves its sentence in `CatalogueState.error`. Raises for nothing that a
    vendor can cause.
    """
    declared = connector_or_none(connection.connector)
    if declared is None:
        return
    for key, catalogue in declared.catalogues.items():
        if name in (None, key):
            _refresh_one(connection, declared, key, catalogue)


def _refresh_one(connection: Connection, declared: Connector, key: str, catalogue: Catalogue) -> None:
    tried_at = timezone.now()
    try:
        with Api(declared, connection.everything(), OnlyLooks(REFRESH_TIMEOUT), connection) as api:
            rows = _by_key(catalogue.fetch(api))
        error = _store(connection, key, rows, tried_at)
    except Failure as failure:
        error = failure.message
    except Unreadable:
        error = "The stored secrets cannot be opened. Enter them again."
    except Exception as problem:
        logger.exception("Reading the catalogue %s of %s failed", key, declared.key)
        error = f"The connector failed while reading ({type(problem).__name__})."
    state: dict[str, Any] = {"tried_at": tried_at, "error": error}
    if not error:
        state["refreshed_at"] = tried_at
    CatalogueState.objects.update_or_create(connection=connection, catalogue=key, defaults=state)


def _by_key(rows: Iterable[Choice]) -> dict[str, Choice]:
    """Return the rows by key; a vendor that pages while its rows move may send one twice."""
    found: dict[str, Choice] = {}
    for row in rows:
        if not row.key or len(row.key) > KEY_LENGTH:
            raise Undocumented(f"The vendor listed a row whose key is empty or longer than {KEY_LENGTH} characters.")
        found.setdefault(row.key, row)
    return found


@transaction.atomic
def _store(connection: Connection, name: str, rows: dict[str, Choice], now: datetime) -> str:
    """Store what was read. Returns what is wrong, as a sentence, or nothing."""
    if not Connection.objects.select_for_update().filter(pk=connection.pk, generation=connection.generation).exists():
        return "The account was changed while its rows were read. Refresh again."
    offered = dict(
        CatalogueEntry.objects.filter(connection=connection, catalogue=name, vanished_at=None).values_list("key", "pk")
    )
    if offered and not rows:
        # A filter or a right that changed at the vendor looks just like this. To offer rows that are gone costs a refused
        # action at worst; to mark all of them as gone would put every prompt that uses one in doubt.
        return f"The vendor listed nothing at all. The {len(offered)} known rows are kept until it lists some again."
    CatalogueEntry.objects.bulk_create(
        [
            CatalogueEntry(
                connection=connection,
                catalogue=name,
                key=row.key,
                label=row.label[:LABEL_LENGTH],
                data={**row.data, WITHIN: list(row.within)} if row.within else row.data,
                position=position,
            )
            for position, row in enumerate(rows.values())
        ],
        batch_size=AT_ONCE,
        update_conflicts=True,
        unique_fields=["connection", "catalogue", "key"],
        update_fields=["label", "data", "position", "vanished_at"],
    )
    gone = [pk for key, pk in offered.items() if key not in rows]
    for start in range(0, len(gone), AT_ONCE):
        CatalogueEntry.objects.filter(pk__in=gone[start : start + AT_ONCE]).update(vanished_at=now)
    return ""


def forget(connection: Connection) -> None:
    """Mark every row as vanished: the connection is another account from now on, whose rows are not known yet."""
    CatalogueEntry.objects.filter(connection=connection, vanished_at=None).update(vanished_at=timezone.now())
    CatalogueState.objects.filter(connection=connection).update(refreshed_at=None, error="")


def choices(connection: Connection, name: str, *, saved: str = "") -> list[tuple[str, str]]:
    """Return (key, label) of what a dropdown offers, in the vendor's order.

    A `saved` key that the vendor no longer lists is offered as well, and its label says so.
    """
    entries = CatalogueEntry.objects.filter(connection=connection, catalogue=name)
    offered = [(entry.key, label(entry)) for entry in entries.filter(vanished_at=None).order_by("position", "pk")]
    if saved and saved not in {key for key, _ in offered}:
        vanished = entries.filter(key=saved).first()
        offered.append(
            (
                saved,
                f"{label(vanished)} (no longer at the vendor)" if vanished else f"{saved} (not known at the vendor)",
            )
        )
    return offered


def belongs(connection: Connection, name: str) -> dict[str, list[str]]:
    """Return to which rows of another catalogue the rows belong, by key; one that belongs to all is left out."""
    rows = CatalogueEntry.objects.filter(connection=connection, catalogue=name, data__has_key=WITHIN)
    return {row.key: row.data[WITHIN] for row in rows}


def label(entry: CatalogueEntry) -> str:
    """Return the words of a row for people, with its price where the vendor states one."""
    price, currency = entry.data.get("price"), entry.data.get("currency")
    if price in (None, "") or str(price) in entry.label:
        return entry.label
    return f"{entry.label}, {price} {currency}" if currency else f"{entry.label}, {price}"


# --- every night ----------------------------------------------------------------------------------------------------------


def refresh_due(now: datetime) -> int:
    """Refresh the catalogues of every active connection whose night has come. Returns how many were read."""
    read = 0
    for connection in Connection.objects.filter(active=True).select_related("app"):
        declared = connector_or_none(connection.connector)
        if declared is None or not declared.catalogues:
            continue
        night = slots.nightly(NIGHTLY_HOUR, connection.app.zone)
        turn = slots.tonight(f"catalogues:{connection.pk}", night, now=now, since=connection.created_at)
        if turn:
            refresh(connection)
            turn.complete()
            read += 1
    return read
