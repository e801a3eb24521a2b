"""Vendors that are read over their API: which, when, and what they say as the bytes of a file.

What is read of a vendor is a source, and each reading a run in its list, like a file's. It is written as CSV while it is read,
so that everything from there on (types, rejected rows, staging, merge, counts) is the way of files (`sync.imports`). Nothing
is merged before the vendor was read to the end.

The first reading asks for everything, later ones for what changed since the last complete one, where the vendor can be asked
for that. Once a week everything is read again: somebody who came meanwhile, or whose id was learned meanwhile, has changed
nothing at the vendor.
"""

import csv
import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import blake2b
from uuid import uuid4

from django.db import IntegrityError, transaction
from django.utils import timezone

from connectors.failures import Failure
from connectors.http import secret_values
from connectors.long_reads import PatientApi
from connectors.models import Connection
from connectors.pulls import BY_TRAIT, RANK, Pull, Row, way_of
from connectors.registry import connector_or_none
from engage.redaction import mask
from engage.schedules import slots
from engage.tenancy.models import App
from engage.vault.fields import Unreadable
from sync.csv_rows import Layout
from sync.exports import Echo
from sync.models import Access, ImportRun, RowWins, RunState, Source
from sync.storage import StorageProblem
from sync.traits import types_of

logger = logging.getLogger(__name__)

NIGHTLY_HOUR = 2  # in the App's time zone; an hour before catalogues are read
OVERLAP = timedelta(hours=1)
"""That later readings look back beyond the start of the last one: clocks differ, and a vendor's lists lag behind."""
EVERYTHING_EVERY = timedelta(days=7)
AT_ONCE = 200  # rows
COMPLETE = (RunState.DONE, RunState.DONE_WITH_REJECTED)
OPEN = (RunState.RUNNING, RunState.STOPPED)
NOTHING_MERGED = "Nothing of this reading was merged; the next one reads it again."


def pull_of(source: Source) -> Pull | None:
    """Return what is read for a source; None where this version of Engage reads it no more."""
    declared = connector_or_none(source.connection.connector) if source.connection else None
    return declared.pulls.get(source.pull) if declared else None


def is_on(source: Source) -> bool:
    """Whether a source is read: its connection is switched on, and says how rows find their subscribers."""
    return bool(
        source.connection and source.connection.active and way_of(source.connection.settings) and pull_of(source)
    )


def source_of(connection: Connection, key: str) -> Source:
    """Return the source for a list of the connection's vendor; it is made the first time.

    Raises:
        KeyError: the vendor has none with this key.
    """
    declared = connector_or_none(connection.connector)
    if declared is None:
        raise KeyError(key)
    pull = declared.pulls[key]
    found = Source.objects.filter(connection=connection, pull=key).select_related("app", "connection").first()
    if found:
        return found
    values = {"access": Access.API, "id_column": pull.id_column, "connection": connection, "pull": key}
    name = f"{connection}: {pull.label}"[:70]
    for wished in (name, f"{name} (API)", f"{name} ({uuid4().hex[:6]})"):
        try:
            with transaction.atomic():
                return Source.objects.create(app_id=connection.app_id, name=wished, **values)
        except IntegrityError:  # a person has named a source so, or another process was quicker
            found = Source.objects.filter(connection=connection, pull=key).first()
            if found:
                return found
    raise AssertionError("A name made by chance was taken.")


def prepare() -> None:
    """Make the sources of connections that were told to read traits."""
    for connection in Connection.objects.filter(active=True):
        declared = connector_or_none(connection.connector)
        if declared is None or not declared.pulls or not way_of(connection.settings):
            continue
        known = set(Source.objects.filter(connection=connection).values_list("pull", flat=True))
        for key in set(declared.pulls) - known:
            source_of(connection, key)


def night_of(app: App) -> slots.Schedule:
    """Return when vendors are read for an App."""
    return slots.nightly(NIGHTLY_HOUR, app.zone)


# --- which reading ----------------------------------------------------------------------------------------------------------


def ask(source: Source, by: str, *, everything: bool = False) -> ImportRun:
    """Return the reading that a worker is to carry out: the one that waits or broke off, else a new one.

    Args:
        source: what is read.
        by: who asks, for people.
        everything: also what has not changed.
    """
    waiting = ImportRun.objects.filter(source=source, state__in=OPEN).order_by("pk").first()
    if waiting:
        return waiting
    now = timezone.now()
    day = now.astimezone(source.app.zone)
    pull = pull_of(source)
    read_as = settings_now(source.connection)
    return ImportRun.objects.create(
        app_id=source.app_id,
        source=source,
        object_key=f"{source.connection} {pull.label.lower() if pull else source.pull}, read on {day:%-d %B %Y}",
        etag=uuid4().hex,
        modified_at=now,
        started_by=by[:254],
        state=RunState.STOPPED,
        message="Waits for a worker.",
        read_as=read_as,
        changed_since=None if everything or pull is None or not pull.tells_changes else _since(source, read_as, now),
    )


def settings_now(connection: Connection | None) -> str:
    """Name the account and its settings, as far as a difference means that everything is read or pushed anew."""
    if connection is None:
        return ""
    settings = json.dumps(connection.settings, sort_keys=True)
    return f"{connection.pk.hex}/{connection.generation}/{blake2b(settings.encode(), digest_size=8).hexdigest()}"


def _since(source: Source, read_as: str, now: datetime) -> datetime | None:
    """Return the moment since which changes are asked for; None where everything is."""
    complete = ImportRun.objects.filter(source=source, read_as=read_as, state__in=COMPLETE).order_by("-started_at")
    whole = complete.filter(changed_since=None).first()
    if whole is None or now - whole.started_at >= EVERYTHING_EVERY:
        return None
    last = complete.first()
    return last.started_at - OVERLAP if last else None


# --- as a file --------------------------------------------------------------------------------------------------------------


def layout_of(source: Source) -> Layout:
    """Return how what was read becomes traits: what the vendor does not say any more is taken away."""
    pull = pull_of(source)
    return Layout(
        source.id_column,
        {**source.mapping, RANK: ""},
        {**(pull.traits if pull else {}), **types_of(source.app)},
        clears=True,
        keeps_misfits=True,
        row_wins=RowWins.NEWEST_BY,
        row_wins_column=RANK,
    )


def found_by(source: Source) -> tuple[str, ...] | None:
    """Return the traits by which rows find their subscribers; none of them: by the user id. None for a source of files."""
    pull = pull_of(source) if source.access == Access.API else None
    if pull is None or source.connection is None:
        return None
    return pull.found_by if way_of(source.connection.settings) == BY_TRAIT else ()


class Reading:
    """A vendor that is being read: iterate for the bytes of a CSV file. `received` counts them."""

    def __init__(self, run: ImportRun) -> None:
        """Begin; the vendor is asked when it is iterated.

        Raises:
            StorageProblem: it is not to be read, or cannot be.
        """
        source = run.source
        connection = Connection.objects.filter(sources=source).first() if source else None
        declared = connector_or_none(connection.connector) if connection else None
        if source is None or connection is None or declared is None or source.pull not in declared.pulls:
            raise StorageProblem("This version of Engage does not read this any more.")
        if not connection.active:
            raise StorageProblem(f"{connection} is switched off, so it was not read. {NOTHING_MERGED}")
        if run.read_as != settings_now(connection) or not way_of(connection.settings):
            raise StorageProblem(f"The settings of {connection} were changed since. {NOTHING_MERGED}")
        try:
            self._values = connection.everything()
        except Unreadable:
            raise StorageProblem("The stored secrets cannot be opened. Enter them again.") from None
        self.received = 0
        self._run, self._connection, self._declared = run, connection, declared
        self._pull = declared.pulls[source.pull]
        self._names = sorted(self._pull.traits)

    def __iter__(self) -> Iterator[bytes]:
        """The header, then some rows at a time.

        Raises:
            StorageProblem: the vendor was not read to its end.
        """
        writer = csv.writer(Echo())
        lines = [writer.writerow([self._pull.id_column, RANK, *self._names])]
        try:
            with PatientApi(self._declared, self._values, self._connection) as api:
                for row in self._pull.rows(api, self._run.changed_since):
                    lines.append(writer.writerow(self._cells(row)))
                    if len(lines) >= AT_ONCE:
                        yield self._piece(lines)
                        lines = []
        except Failure as failure:
            words = mask(failure.message, secret_values(self._declared, self._values))
            raise StorageProblem(f"{words} {NOTHING_MERGED}") from None
        except Exception as error:
            logger.exception("Reading %s of %s failed", self._pull.label, self._declared.key)
            raise StorageProblem(
                f"The connector failed while reading ({type(error).__name__}). {NOTHING_MERGED}"
            ) from None
        if not self._is_same_account():
            raise StorageProblem(f"The settings of {self._connection} were changed meanwhile. {NOTHING_MERGED}")
        yield self._piece(lines)

    def close(self) -> None:
        """Nothing is open between two requests."""

    def _cells(self, row: Row) -> list[object]:
        by_trait = way_of(self._connection.settings) == BY_TRAIT
        told = (row.traits.get(name) for name in self._names)
        return [row.id if by_trait else row.user_id, row.rank, *("" if value is None else value for value in told)]

    def _piece(self, lines: list[str]) -> bytes:
        piece = "".join(lines).encode("utf-8", "replace")
        self.received += len(piece)
        return piece

    def _is_same_account(self) -> bool:
        """Whether what was read still belongs to the connection as it is now."""
        now = Connection.objects.filter(pk=self._connection.pk).first()
        return settings_now(now) == self._run.read_as
