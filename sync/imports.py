"""Import the files of a source: each file once, whole or not at all, and on from where it was when a process dies.

A file has a row in the ledger (`ImportRun`: key, ETag, size). Its rows are read into `StagedRow` and judged; then they are
merged batch by batch, and the cursor `merged_through` is written in the transaction of each batch. The source's lease is
renewed in every one of these transactions as well: a process that stalled and lost it cannot write any more.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Protocol
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Count, F, Q
from django.utils import timezone

from sync import staging
from sync.csv_rows import BadFile, BadRow, Layout, Row, Table, plan, rows
from sync.models import ImportRun, RejectedRow, RunState, Source, SourceMode, Subscriber, Trait
from sync.s3 import Bucket, Download, Location, StorageProblem, StoredFile
from sync.traits import announce

LEASE = timedelta(minutes=2)
# A file that kills its process (memory, say) before anything is merged is not started for ever.
MOST_STARTS = 10
OPEN_STATES = (RunState.RUNNING, RunState.STOPPED)


class Busy(Exception):
    """Another run of this source is under way."""


class LostLease(Exception):
    """The process was too slow to renew its lease; another one goes on with the source."""


class Progress(Protocol):
    """Who wants to know how far an import is."""

    def reading(self, run: ImportRun) -> None:
        """`run.bytes_read` of `run.size` bytes and `run.rows_read` rows are read."""

    def merging(self, run: ImportRun) -> None:
        """`run.merged` of `run.rows_read` rows are merged."""

    def ended(self, run: ImportRun) -> None:
        """The file is done, in one way or another."""


class Silent:
    """Nobody wants to know."""

    def reading(self, run: ImportRun) -> None:
        """Say nothing."""

    merging = ended = reading


@dataclass
class Summary:
    """What a look at a source came to."""

    source: Source
    problem: str = ""  # why it could not be listed
    runs: list[ImportRun] = field(default_factory=list)  # files that were worked on, oldest first

    @property
    def failed(self) -> bool:
        """Whether somebody has to look."""
        return bool(self.problem) or any(run.state in {RunState.FAILED, *OPEN_STATES} for run in self.runs)


class Lease:
    """The right to write for a source: one process at a time, until `LEASE` after it was last renewed."""

    def __init__(self, source: Source) -> None:
        """Take it.

        Raises:
            Busy: another process has it.
        """
        self.source_id = source.pk
        self.until = timezone.now() + LEASE
        free = Source.objects.filter(Q(lease_until=None) | Q(lease_until__lt=timezone.now()), pk=source.pk)
        if not free.update(lease_until=self.until):
            raise Busy

    def renew(self) -> None:
        """Keep it, as part of the transaction at hand.

        Raises:
            LostLease: another process has taken it since.
        """
        until = timezone.now() + LEASE
        if not Source.objects.filter(pk=self.source_id, lease_until=self.until).update(lease_until=until):
            raise LostLease
        self.until = until

    def give_back(self) -> None:
        """Let the next one in."""
        Source.objects.filter(pk=self.source_id, lease_until=self.until).update(lease_until=None)


def location_of(source: Source) -> Location:
    """Return where a source's files are, with the key that reads them."""
    return Location(
        bucket=source.bucket,
        prefix=source.prefix,
        region=source.region,
        endpoint_url=source.endpoint_url,
        access_key_id=source.access_key_id,
        secret_access_key=source.secrets().get("secret_access_key", ""),
    )


def layout_of(source: Source) -> Layout:
    """Return how a source's columns become traits, with the types that the App's traits have today."""
    types = dict(Trait.objects.filter(app=source.app_id).values_list("name", "type"))
    return Layout(source.id_column, dict(source.mapping), types, ZoneInfo(source.time_zone))


def import_source(source: Source, *, started_by: str, progress: Progress | None = None) -> Summary:
    """Look for files that were not imported yet and import them, oldest first; go on with one that was interrupted.

    Raises:
        Busy: another run of this source is under way.
        LostLease: this process was taken for dead, and another one went on.
    """
    lease = Lease(source)
    try:
        return _import(source, lease, started_by, progress or Silent())
    finally:
        lease.give_back()


def _import(source: Source, lease: Lease, started_by: str, progress: Progress) -> Summary:
    summary = Summary(source)
    try:
        bucket = Bucket(location_of(source))
        files = bucket.files()
    except StorageProblem as error:
        summary.problem = error.message
        _looked(source, error.message)
        return summary
    _looked(source, "")
    for file in _wanted(source, files, started_by, lease):
        run = _enter(source, file, started_by)
        if run.state in OPEN_STATES:
            summary.runs.append(run)
            _carry_out(run, bucket, file, lease, progress)
            progress.ended(run)
    for run in _vanished(source, files, lease):
        summary.runs.append(run)
        progress.ended(run)
    return summary


def _looked(source: Source, problem: str) -> None:
    Source.objects.filter(pk=source.pk).update(checked_at=timezone.now(), problem=problem)


def waiting(source: Source, files: list[StoredFile]) -> tuple[list[StoredFile], list[StoredFile]]:
    """Return which of the listed files are to be imported (oldest first), and which a newer snapshot makes superfluous."""
    settled = set(
        ImportRun.objects.filter(source=source).exclude(state__in=OPEN_STATES).values_list("object_key", "etag", "size")
    )
    counted = files[-1:] if source.mode == SourceMode.SNAPSHOTS else files
    superseded = [
        file for file in files[: len(files) - len(counted)] if (file.key, file.etag, file.size) not in settled
    ]
    return [file for file in counted if (file.key, file.etag, file.size) not in settled], superseded


def _wanted(source: Source, files: list[StoredFile], started_by: str, lease: Lease) -> list[StoredFile]:
    """Return what is to be imported; older snapshots are recorded as superseded."""
    wanted, superseded = waiting(source, files)
    for file in superseded:
        run = _enter(source, file, started_by)
        staging.clear(run, lease.renew)
        _end(run, RunState.SUPERSEDED, "A newer snapshot made this one superfluous.")
    return wanted


def _enter(source: Source, file: StoredFile, started_by: str) -> ImportRun:
    """Return the file's row in the ledger."""
    run, _ = ImportRun.objects.get_or_create(
        source=source,
        object_key=file.key,
        etag=file.etag,
        size=file.size,
        defaults={"app_id": source.app_id, "modified_at": file.modified_at, "started_by": started_by},
    )
    return run


def _vanished(source: Source, files: list[StoredFile], lease: Lease) -> Iterator[ImportRun]:
    """End interrupted imports whose file is no longer there."""
    listed = {(file.key, file.etag, file.size) for file in files}
    for run in ImportRun.objects.filter(source=source, state__in=OPEN_STATES):
        if (run.object_key, run.etag, run.size) not in listed:
            staging.clear(run, lease.renew)
            _end(run, RunState.FAILED, "The file was removed or replaced before all of it was imported.")
            yield run


def _carry_out(run: ImportRun, bucket: Bucket, file: StoredFile, lease: Lease, progress: Progress) -> None:
    ImportRun.objects.filter(pk=run.pk).update(starts=F("starts") + 1, state=RunState.RUNNING, message="")
    run.refresh_from_db()
    if run.starts > MOST_STARTS:
        staging.clear(run, lease.renew)
        _end(
            run,
            RunState.FAILED,
            f"The import was started {MOST_STARTS} times and never came to its end. See the worker's log.",
        )
        return
    try:
        if not run.staged:
            with closing(bucket.open(file)) as download:
                _stage(run, download, lease, progress)
        _merge(run, lease, progress)
    except BadFile as error:
        staging.clear(run, lease.renew)
        _end(run, RunState.FAILED, str(error))
    except StorageProblem as error:
        staging.clear(run, lease.renew)
        _end(run, RunState.FAILED if error.lasting else RunState.STOPPED, error.message)


def _end(run: ImportRun, state: RunState, message: str) -> None:
    run.state, run.message, run.finished_at = state, message, timezone.now()
    run.save(update_fields=["state", "message", "finished_at", "rows_read", "rows_rejected", "bytes_read"])


# --- first pass: read and judge ---------------------------------------------------------------------------------------------


def _stage(run: ImportRun, download: Download, lease: Lease, progress: Progress) -> None:
    """Read the whole file into the staging table and judge it.

    Raises:
        BadFile: it is none, nothing of it can be used, or too much cannot.
        StorageProblem: reading broke off.
    """
    staging.clear(run, lease.renew)  # of a start that was interrupted
    RejectedRow.objects.filter(run=run).delete()
    run.rows_read = run.rows_rejected = 0
    source = run.source
    if source is None:
        raise BadFile("The source of this file was removed.")
    table = Table(download, id_column=source.id_column)
    layout = layout_of(source)
    _, columns = plan(table, layout)
    # A column that the App has not seen before waits under *Traits* to be confirmed.
    announce(source.app, {trait: layout.types.get(trait, "text") for trait in columns.values()}, origin=source.name)
    found = rows(table, layout)
    writer = staging.Writer(run)
    while piece := list(islice(found, writer.size)):
        good = [row for row in piece if isinstance(row, Row)]
        bad = [row for row in piece if isinstance(row, BadRow)]
        run.rows_read += len(piece)
        run.rows_rejected += len(bad)
        run.bytes_read = download.received
        with writer.batch():
            lease.renew()
            writer.write(good)
            _reject(run, bad)
            run.save(update_fields=["rows_read", "rows_rejected", "bytes_read"])
        progress.reading(run)
        if run.rows_rejected > settings.ENGAGE_IMPORT_REJECTED_MOST:
            raise BadFile(
                f"More than {settings.ENGAGE_IMPORT_REJECTED_MOST:,} of the first {run.rows_read:,} rows cannot be imported; "
                f"nothing of the file was. {_most_frequent(run)}"
            )
    _judge(run)
    superseded = staging.drop_superseded(run, lease.renew)
    ImportRun.objects.filter(pk=run.pk).update(
        staged=True, starts=0, rows_superseded=superseded, note=" ".join(table.notes), last_line=staging.last_line(run)
    )
    run.refresh_from_db()


def _reject(run: ImportRun, bad: list[BadRow]) -> None:
    RejectedRow.objects.bulk_create(
        RejectedRow(run=run, line=row.line, column=row.column[:120], reason=row.reason[:300], value=row.value[:200])
        for row in bad
    )


def _judge(run: ImportRun) -> None:
    if not run.rows_read:
        raise BadFile("The file has a header and no rows. Was the export made with “All results”?")
    if run.rows_rejected == run.rows_read:
        raise BadFile(f"None of the {run.rows_read:,} rows can be imported. {_most_frequent(run)}")
    share = run.rows_rejected / run.rows_read
    if run.rows_rejected >= settings.ENGAGE_IMPORT_REJECTED_LEAST and share > settings.ENGAGE_IMPORT_REJECTED_SHARE:
        raise BadFile(
            f"{run.rows_rejected:,} of {run.rows_read:,} rows ({share:.0%}) cannot be imported; nothing of the file was. "
            f"{_most_frequent(run)}"
        )


def _most_frequent(run: ImportRun) -> str:
    top = RejectedRow.objects.filter(run=run).values("reason").annotate(times=Count("pk")).order_by("-times").first()
    return f"Most frequent reason: {top['reason']}" if top else ""


# --- second pass: merge -----------------------------------------------------------------------------------------------------


def _merge(run: ImportRun, lease: Lease, progress: Progress) -> None:
    """Merge what is staged, batch by batch from the cursor on."""
    merger = staging.Merger(run)
    while run.merged_through < run.last_line:
        through = min(run.merged_through + merger.size, run.last_line)
        with merger.batch():
            lease.renew()
            new, changed, unchanged = merger.merge(run.merged_through, through)
            moved = ImportRun.objects.filter(pk=run.pk, merged_through=run.merged_through).update(
                merged_through=through,
                rows_new=F("rows_new") + new,
                rows_changed=F("rows_changed") + changed,
                rows_unchanged=F("rows_unchanged") + unchanged,
                starts=0,
            )
            if not moved:
                raise LostLease
        run.merged_through = through
        run.rows_new, run.rows_changed = run.rows_new + new, run.rows_changed + changed
        run.rows_unchanged += unchanged
        progress.merging(run)
    staging.clear(run, lease.renew)
    _check_sum(run)
    state = RunState.DONE_WITH_REJECTED if run.rows_rejected else RunState.DONE
    _end(run, state, run.note)


def _check_sum(run: ImportRun) -> None:
    """Every row that was read is accounted for, or something is wrong with us."""
    total = run.rows_new + run.rows_changed + run.rows_unchanged + run.rows_superseded + run.rows_rejected
    if total != run.rows_read:
        raise AssertionError(f"Import run {run.pk}: {run.rows_read} rows were read, {total} are accounted for.")


# --- asking without writing -------------------------------------------------------------------------------------------------


@dataclass
class Forecast:
    """What an import of a file would do."""

    file: StoredFile
    rows_read: int = 0
    rows_rejected: int = 0
    rows_new: int = 0
    rows_known: int = 0
    problem: str = ""
    reasons: dict[str, int] = field(default_factory=dict)


def forecast(source: Source) -> list[Forecast]:
    """Read every waiting file and say what its import would do; nothing is written.

    Raises:
        StorageProblem: the source cannot be listed.
    """
    bucket = Bucket(location_of(source))
    wanted, _ = waiting(source, bucket.files())
    return [_forecast(source, bucket, file) for file in wanted]


def _forecast(source: Source, bucket: Bucket, file: StoredFile) -> Forecast:
    result = Forecast(file)
    try:
        with closing(bucket.open(file)) as download:
            table = Table(download, id_column=source.id_column)
            for piece in _pieces(rows(table, layout_of(source)), 500):
                ids = [row.user_id for row in piece if isinstance(row, Row)]
                known = Subscriber.objects.filter(app=source.app_id, user_id__in=ids).count()
                result.rows_read += len(piece)
                result.rows_rejected += len(piece) - len(ids)
                result.rows_known += known
                result.rows_new += len(set(ids)) - known
                for row in piece:
                    if isinstance(row, BadRow):
                        result.reasons[row.reason] = result.reasons.get(row.reason, 0) + 1
    except (BadFile, StorageProblem) as error:
        result.problem = str(error)
    else:
        if not result.rows_read - result.rows_rejected:
            result.problem = "None of its rows can be imported." if result.rows_read else "It has a header and no rows."
    return result


def _pieces(found: Iterable[Row | BadRow], size: int) -> Iterator[list[Row | BadRow]]:
    iterator = iter(found)
    while piece := list(islice(iterator, size)):
        yield piece
