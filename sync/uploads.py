"""Files that people upload by hand: kept in the database until they are imported, whichever machine the worker is on.

An upload is an ImportRun like any other file's. Its bytes are stored in parts, it is shown with its first rows, and once
somebody says so it is imported by the source's rules, on the same path. The ledger knows it by the SHA-256 of its bytes.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import Q, Sum
from django.db.models.functions import Length
from django.utils import timezone

from sync import storage, traits
from sync.csv_rows import BadFile, Layout, Table
from sync.endpoints import reading_of
from sync.models import Access, ImportRun, RunState, Source, TraitType, UploadPart
from sync.storage import Location, StorageProblem, StoredFile

if TYPE_CHECKING:
    from sync.s3 import Download

PART = 256 * 1024
ROWS_SHOWN = 20
VALUES_JUDGED = 1_000
FORGOTTEN_AFTER = timedelta(days=7)
"""What nobody decided about, or what could not be imported, is forgotten after this; the run stays in the list."""


class Refused(ValueError):
    """An upload that is not taken; the text says why. `known` is the run that has the very same file already."""

    def __init__(self, text: str, known: ImportRun | None = None) -> None:
        super().__init__(text)
        self.known = known


def keep(source: Source, file: UploadedFile[Any] | None, by: str) -> ImportRun:
    """Store an uploaded file; it waits until somebody has looked at it.

    Raises:
        Refused: there is none, it is empty, too large, or the very same file was uploaded here before.
    """
    most = settings.ENGAGE_UPLOAD_MOST
    if file is None:
        raise Refused("Choose a file.")
    if not file.size:
        raise Refused("The file is empty.")
    if file.size > most:
        raise Refused(
            f"The file has {file.size / 1e6:,.0f} MB; {most / 1e6:,.0f} MB can be uploaded by hand. "
            "Compress it with gzip, or put it into the bucket."
        )
    digest = sha256()
    for piece in file.chunks(PART):
        digest.update(piece)
    known = ImportRun.objects.filter(source=source, uploaded=True, etag=digest.hexdigest()).order_by("-pk").first()
    if known and (known.state != RunState.FAILED or known.parts.exists()):
        raise Refused("This very file was uploaded here before.", known)
    with transaction.atomic():
        if known:  # it failed so long ago that its bytes are gone
            known.delete()
        run = ImportRun.objects.create(
            app_id=source.app_id,
            source=source,
            bucket="",
            object_key=(file.name or "upload.csv")[-200:],
            etag=digest.hexdigest(),
            size=file.size,
            modified_at=timezone.now(),
            state=RunState.UPLOADED,
            started_by=by[:254],
            uploaded=True,
        )
    for number, piece in enumerate(file.chunks(PART)):
        UploadPart.objects.create(run=run, number=number, content=piece)
    return run


def wanted(source: Source) -> list[ImportRun]:
    """Return the uploads of a source that are to be imported, or gone on with, oldest first."""
    states = (RunState.STOPPED, RunState.RUNNING)
    return list(ImportRun.objects.filter(source=source, uploaded=True, state__in=states).order_by("pk"))


def forget(run: ImportRun) -> None:
    """Delete the bytes of an upload."""
    UploadPart.objects.filter(run=run).delete()


IDLE = Q(run__state__in=(RunState.UPLOADED, RunState.FAILED))
"""Parts of uploads that nobody decided about, or that failed. They are deleted when they are old (`engage.retention`)."""


class Parts:
    """The bytes of an upload as a file that is read once."""

    def __init__(self, run: ImportRun) -> None:
        numbers = UploadPart.objects.filter(run=run).order_by("number").values_list("number", flat=True)
        self._pieces = self._each(run, list(numbers))
        self._rest = b""

    def _each(self, run: ImportRun, numbers: list[int]) -> Iterator[bytes]:
        for number in numbers:
            yield bytes(UploadPart.objects.values_list("content", flat=True).get(run=run, number=number))

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; none at the end."""
        piece = self._rest or next(self._pieces, b"")
        self._rest = piece[size:]
        return piece[:size]

    def close(self) -> None:
        """Read no further."""
        self._pieces, self._rest = iter(()), b""


def open_upload(run: ImportRun) -> "Download":
    """Begin to read an upload, as a bucket's file is read.

    Raises:
        StorageProblem: its bytes are not there, or not all of them.
    """
    stored = UploadPart.objects.filter(run=run).aggregate(bytes=Sum(Length("content")))["bytes"]
    if stored != run.size:
        raise StorageProblem("The uploaded file is no longer there, or its upload broke off. Upload it again.")
    nowhere = Location("", "", "", "", "", "", access=Access.UPLOAD)
    file = StoredFile(run.object_key, run.etag, run.size, run.modified_at or run.started_at)
    return storage.download(nowhere, file, Parts(run))


@dataclass
class Column:
    """A column of an upload, as it is shown before anything is imported."""

    name: str
    trait: str  # empty: it is left out, or holds the id
    is_id: bool
    known_type: str  # of a trait that was confirmed
    found_type: str  # what its values show

    @property
    def found_words(self) -> str:
        """The type that its values show, for people; empty without values."""
        return str(TraitType(self.found_type).label) if self.found_type else ""

    @property
    def known_words(self) -> str:
        """The confirmed type, for people."""
        return str(TraitType(self.known_type).label) if self.known_type else ""


@dataclass
class Preview:
    """The beginning of an upload, and what would be made of it."""

    columns: list[Column] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    problem: str = ""  # why it cannot be imported as it is
    looked_at: int = 0
    rejected: int = 0
    reason: str = ""  # of the first rejected row
    notes: list[str] = field(default_factory=list)


def preview(run: ImportRun, layout: Layout) -> Preview:
    """Read the beginning of an upload; nothing is written. What cannot be read is its `problem`."""
    seen = Preview()
    try:
        with closing(open_upload(run)) as download:
            table = Table(download, id_column=layout.id_column)
            _look(table, seen, layout)
        with closing(open_upload(run)) as download:
            table = Table(download, id_column=layout.id_column)
            reading = reading_of(table, layout)
            block = next(reading.blocks(), None)
            for index, column in enumerate(seen.columns):
                column.trait = reading.becomes(index)
                column.known_type = layout.types.get(column.trait, "")
            if block:
                seen.looked_at, seen.rejected = block.read, len(block.rejected)
                seen.reason = block.rejected[0].reason if block.rejected else ""
            seen.notes = table.notes
    except (BadFile, StorageProblem) as error:
        seen.problem = str(error)
    return seen


def _look(table: Table, seen: Preview, layout: Layout) -> None:
    width = len(table.columns)
    wanted_id = layout.id_column.strip().casefold()
    seen.columns = [Column(name, "", name.casefold() == wanted_id, "", "") for name in table.columns]
    chunk = next(table.chunks(), None)
    if chunk is None:
        return
    rows = [chunk.cells[start : start + width] for start in range(0, len(chunk.cells), width)]
    seen.rows = rows[:ROWS_SHOWN]
    for index, column in enumerate(seen.columns):
        column.found_type = traits.type_of_texts(_first(row[index] for row in rows))


def _first(cells: Iterable[str]) -> list[str]:
    return list(islice(filter(None, map(str.strip, cells)), VALUES_JUDGED))
