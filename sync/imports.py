"""Import the files of a source: each file once, whole or not at all, and on from where it was when a process dies.

A reading of a vendor (`sync.pulls`) comes as the bytes of a file and goes the same way.

A file has a row in the ledger (`ImportRun`: bucket, key, ETag, size). Its rows are read into a staging table and judged; then
they are merged batch by batch in the order of their ids, and the cursor `merged_through` is written in the transaction of each
batch. The source's lease is renewed in every one of these transactions as well: a process that stalled and lost it cannot write
any more. After a process died the file is read again, and merged from the cursor on.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Count, F, Q
from django.utils import timezone

from engage import crash
from engage.schedules.slots import Turn
from sync import pulls, storage, uploads
from sync.csv_rows import BadFile, BadRow, Layout, Table
from sync.endpoints import reading_of
from sync.models import (
    Access,
    Content,
    EmptyCells,
    ImportRun,
    Misfit,
    RejectedRow,
    RowWins,
    RunState,
    Source,
    SourceMode,
    Subscriber,
)
from sync.rejected import reject
from sync.staging import Shape, Staging, staging_for
from sync.storage import Location, StorageProblem, StoredFile
from sync.traits import announce, find_types, saw, types_of

if TYPE_CHECKING:
    from sync.s3 import Bucket

LEASE = timedelta(minutes=2)
BEAT = 30  # seconds between renewals in a step that takes long
TOLD_EVERY = 0.5  # seconds between two looks that people get at the reading
# A file that kills its process (memory, say) before anything is merged is not started for ever.
MOST_STARTS = 10
OPEN_STATES = (RunState.RUNNING, RunState.STOPPED)
MERGED = (RunState.DONE, RunState.DONE_WITH_REJECTED, RunState.SAME)


class Busy(Exception):
    """Another run of this source is under way."""


class LostLease(Exception):
    """The process was too slow to renew its lease; another one goes on with the source."""


class Progress(Protocol):
    """Who wants to know how far an import is."""

    def reading(self, run: ImportRun) -> None:
        """`run.bytes_read` of `run.size` bytes and `run.rows_read` rows are read."""

    def merging(self, run: ImportRun) -> None:
        """`run.merged_through` of `run.rows_to_merge` ids are merged."""

    def ended(self, run: ImportRun) -> None:
        """The file is done, in one way or another."""


class Opened(Protocol):
    """A file that is being read: iterate for its bytes. Close it in the end."""

    received: int  # bytes so far

    def __iter__(self) -> Iterator[bytes]:
        """Return the bytes, in pieces of a size at which memory is no question."""

    def close(self) -> None:
        """Read no further."""


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
        self.source_id, self.holder = source.pk, uuid4()
        free = Source.objects.filter(Q(lease_until=None) | Q(lease_until__lt=timezone.now()), pk=source.pk)
        if not free.update(lease_until=timezone.now() + LEASE, lease_holder=self.holder):
            raise Busy

    def renew(self) -> None:
        """Keep it, as part of the transaction at hand.

        Raises:
            LostLease: another process has taken it since.
        """
        mine = Source.objects.filter(pk=self.source_id, lease_holder=self.holder)
        if not mine.update(lease_until=timezone.now() + LEASE):
            raise LostLease

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew it from a thread of its own, while one statement may take longer than it lasts."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(BEAT):
                with suppress(LostLease, DatabaseError):  # the next transaction finds out
                    self.renew()
                connection.close()

        thread = threading.Thread(target=beat, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def give_back(self) -> None:
        """Let the next one in."""
        mine = Source.objects.filter(pk=self.source_id, lease_holder=self.holder)
        mine.update(lease_until=None, lease_holder=None)


def location_of(source: Source) -> Location:
    """Return where a source's files are, with the key that reads them."""
    return Location(
        bucket=source.bucket,
        prefix=source.prefix,
        region=source.region,
        endpoint_url=source.endpoint_url,
        access_key_id=source.access_key_id,
        secret_access_key=source.secrets().get("secret_access_key", ""),
        pattern=source.pattern,
        access=source.access,
        role_arn=source.role_arn,
        external_id=source.external_id,
    )


def layout_of(source: Source) -> Layout:
    """Return how a source's columns become traits, with the types that the App's traits have today."""
    if source.access == Access.API:
        return pulls.layout_of(source)
    return Layout(
        source.id_column,
        source.mapping,
        types_of(source.app),
        ZoneInfo(source.time_zone),
        prefix=source.trait_prefix,
        clears=source.empty_cells == EmptyCells.CLEAR,
        keeps_misfits=source.misfit == Misfit.KEEP_ROW,
        row_wins=RowWins(source.row_wins),
        row_wins_column=source.row_wins_column,
        row_wins_value=source.row_wins_value,
        endpoints=source.content == Content.ENDPOINTS,
    )


def import_source(
    source: Source, *, started_by: str, progress: Progress | None = None, turn: Turn | None = None
) -> Summary:
    """Look for files that were not imported yet and import them, oldest first; go on with one that was interrupted.

    Args:
        source: where to look.
        started_by: who asks, for people.
        progress: hears how it goes.
        turn: the slot of its schedule that this is for. Nothing is done for one that was carried out; it is looked at and completed
            while nobody else can be at the source.

    Raises:
        Busy: another run of this source is under way.
        LostLease: this process was taken for dead, and another one went on.
    """
    lease = Lease(source)
    try:
        if turn is not None and not turn.is_open():
            return Summary(source)
        summary = _import(source, lease, started_by, progress or Silent())
        if turn is not None:
            turn.complete()
        return summary
    finally:
        lease.give_back()


def _import(source: Source, lease: Lease, started_by: str, progress: Progress) -> Summary:
    summary = Summary(source)
    for run in uploads.wanted(source):
        summary.runs.append(run)
        _carry_out(run, partial(uploads.open_upload, run), lease, progress)
        if run.state in MERGED:
            uploads.forget(run)
        progress.ended(run)
    if source.access == Access.API:
        _import_pull(summary, lease, started_by, progress)
    elif source.access != Access.UPLOAD:
        _import_bucket(summary, lease, started_by, progress)
    if summary.runs:
        find_types(source.app)
    return summary


def _import_pull(summary: Summary, lease: Lease, started_by: str, progress: Progress) -> None:
    """Read a vendor: the reading that waits or broke off, else a new one. It may take hours, between any two requests."""
    source = summary.source
    if not pulls.is_on(source) and not source.runs.filter(state__in=OPEN_STATES).exists():
        return
    run = pulls.ask(source, started_by)
    summary.runs.append(run)
    with lease.kept():
        _carry_out(run, partial(pulls.Reading, run), lease, progress)
    _looked(source, "")
    progress.ended(run)


def _import_bucket(summary: Summary, lease: Lease, started_by: str, progress: Progress) -> None:
    source = summary.source
    try:
        with lease.kept():
            bucket = storage.bucket(location_of(source))
            files = bucket.files()
    except StorageProblem as error:
        summary.problem = error.message
        _looked(source, error.message)
        return
    _looked(source, "")
    for file in _wanted(source, files, started_by, lease):
        run = _enter(source, file, started_by)
        if run.state in OPEN_STATES:
            summary.runs.append(run)
            with lease.kept():
                _carry_out(run, partial(bucket.open, file), lease, progress)
            progress.ended(run)
    for run in _vanished(source, files, lease):
        summary.runs.append(run)
        progress.ended(run)


def _looked(source: Source, problem: str) -> None:
    Source.objects.filter(pk=source.pk).update(checked_at=timezone.now(), problem=problem)


def waiting(source: Source, files: list[StoredFile]) -> tuple[list[StoredFile], list[StoredFile]]:
    """Return which of the listed files are to be imported (oldest first), and which a newer snapshot makes superfluous."""
    ledger = ImportRun.objects.filter(source=source, bucket=source.bucket).exclude(state__in=OPEN_STATES)
    settled = set(ledger.values_list("object_key", "etag", "size"))
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
        lease.renew()
        _end(run, RunState.SUPERSEDED, "A newer snapshot made this one superfluous.")
    return wanted


def _enter(source: Source, file: StoredFile, started_by: str) -> ImportRun:
    """Return the file's row in the ledger."""
    run, _ = ImportRun.objects.get_or_create(
        source=source,
        bucket=source.bucket,
        object_key=file.key,
        etag=file.etag,
        size=file.size,
        defaults={"app_id": source.app_id, "modified_at": file.modified_at, "started_by": started_by},
    )
    return run


def _vanished(source: Source, files: list[StoredFile], lease: Lease) -> Iterator[ImportRun]:
    """End interrupted imports whose file is no longer there."""
    listed = {(source.bucket, file.key, file.etag, file.size) for file in files}
    keys = {file.key for file in files}
    for run in ImportRun.objects.filter(source=source, state__in=OPEN_STATES, uploaded=False):
        if (run.bucket, run.object_key, run.etag, run.size) in listed:
            continue
        lease.renew()
        if run.object_key in keys and run.bucket == source.bucket and not run.merged_through:
            _end(
                run, RunState.SUPERSEDED, "It was written anew before anything of it was imported; the new one counts."
            )
        else:
            _end(run, RunState.FAILED, "The file was removed or replaced before all of it was imported.")
        yield run


def _carry_out(run: ImportRun, begin: Callable[[], Opened], lease: Lease, progress: Progress) -> None:
    started = ImportRun.objects.filter(pk=run.pk)
    started.update(starts=F("starts") + 1, state=RunState.RUNNING, message="", staged=False)
    run.refresh_from_db()
    if run.starts > MOST_STARTS:
        _end(
            run,
            RunState.FAILED,
            f"The import was started {MOST_STARTS} times and never came to its end. See the worker's log.",
        )
        return
    try:
        with closing(begin()) as download:
            _FileImport(run, download, lease, progress).carry_out()
    except BadFile as error:
        _end(run, RunState.FAILED, str(error))
    except StorageProblem as error:
        _end(run, RunState.FAILED if error.lasting else RunState.STOPPED, error.message)


def _end(run: ImportRun, state: RunState, message: str) -> None:
    run.state, run.message, run.finished_at = state, message, timezone.now()
    counted = ["rows_read", "rows_rejected", "rows_superseded", "rows_unmatched", "rows_shared", "bytes_read"]
    run.save(update_fields=["state", "message", "finished_at", *counted])


# --- one file ---------------------------------------------------------------------------------------------------------------


class _FileImport:
    """A file that is open: read and judge all of it, then merge it.

    Raises:
        BadFile: it is none, nothing of it can be used, or too much cannot.
        StorageProblem: reading broke off.
        LostLease: another process went on with the source.
    """

    def __init__(self, run: ImportRun, download: Opened, lease: Lease, progress: Progress) -> None:
        if run.source is None:
            raise BadFile("The source of this file was removed.")
        self.run, self.source, self.download = run, run.source, download
        self.lease, self.progress = lease, progress
        self.content = sha256()
        layout = layout_of(run.source)
        self.table = Table(self._pieces(), id_column=layout.id_column)
        self.reading = reading_of(self.table, layout)
        self.is_file = run.source.access != Access.API
        self.shape = Shape(
            run.app_id, self.reading.names, layout.clears, pulls.found_by(run.source), joins=self.reading.joins
        )
        self.told_at = 0.0

    def _pieces(self) -> Iterator[bytes]:
        for piece in self.download:
            self.content.update(piece)
            yield piece

    def carry_out(self) -> None:
        """Import it."""
        with closing(staging_for(self.shape)) as staging:
            self._stage(staging)
            self._judge()
            twin = self._twin()
            if twin:
                self._forget_rows()
                _end(self.run, RunState.SAME, f"Same content as {twin.object_key}, so nothing was merged.")
                return
            crash.point("import.staged")
            with self.lease.kept():
                staging.sort(self.run.merged_through)
            self._merge(staging)

    # first pass: read and judge

    def _stage(self, staging: Staging) -> None:
        run, reading = self.run, self.reading
        self._forget_rows()  # of a start that was interrupted
        run.columns = self.table.columns
        left_out: list[BadRow] = []
        misfits = 0
        for block in reading.blocks():
            staging.add(block.rows)
            run.rows_read += block.read
            misfits += len(block.left_out)
            left_out = left_out or block.left_out[:1]
            self._tell(block.rejected)
            if run.rows_rejected > settings.ENGAGE_IMPORT_REJECTED_MOST:
                raise BadFile(
                    f"More than {settings.ENGAGE_IMPORT_REJECTED_MOST:,} of the first {run.rows_read:,} rows cannot be "
                    f"imported; nothing of the file was. {_most_frequent(run)}"
                )
        self._tell([], now=True)
        # A column that the App has not seen before waits under *Traits* to be confirmed.
        types = {trait: reading.type_of(trait) for trait in reading.filled}
        announce(self.source.app, types, origin=self.source.name)
        saw(self.source, reading.filled)
        if left_out:
            (first,) = left_out
            self.table.notes.append(
                f"{misfits:,} values that do not fit their trait were left out, the first in line {first.line:,}, column "
                f"“{first.column}”: {first.reason}"
            )

    def _forget_rows(self) -> None:
        RejectedRow.objects.filter(run=self.run).delete()
        self.run.rows_read = self.run.rows_rejected = 0

    def _tell(self, rejected: list[BadRow], *, now: bool = False) -> None:
        """Store rejected rows, and from time to time how far the reading is."""
        if not (rejected or now or time.monotonic() > self.told_at + TOLD_EVERY):
            return
        run = self.run
        run.rows_rejected += len(rejected)
        run.bytes_read = self.download.received
        with transaction.atomic():
            self.lease.renew()
            reject(run, rejected)
            run.save(update_fields=["rows_read", "rows_rejected", "bytes_read", "columns"])
        self.progress.reading(run)
        self.told_at = time.monotonic()

    def _judge(self) -> None:
        run = self.run
        if not run.rows_read and not self.is_file:
            return  # nothing has changed
        if not run.rows_read:
            raise BadFile("The file has a header and no rows. Was the export made with “All results”?")
        if run.rows_rejected == run.rows_read:
            raise BadFile(f"None of the {run.rows_read:,} rows can be imported. {_most_frequent(run)}")
        share = run.rows_rejected / run.rows_read
        if run.rows_rejected >= settings.ENGAGE_IMPORT_REJECTED_LEAST and share > settings.ENGAGE_IMPORT_REJECTED_SHARE:
            raise BadFile(
                f"{run.rows_rejected:,} of {run.rows_read:,} rows ({share:.0%}) cannot be imported; nothing of the file "
                f"was. {_most_frequent(run)}"
            )

    def _twin(self) -> ImportRun | None:
        """Note what was read and by which rules; return the run that merged the very same last, if one did.

        Only the source's last merge counts: after a file in between, the same rows again say something.
        """
        run = self.run
        known = (run.content_digest, run.rules_digest)
        run.content_digest, run.rules_digest = self.content.hexdigest(), self.reading.rules
        if run.merged_through and (not self.is_file or known != (run.content_digest, run.rules_digest)):
            # The rules were changed while it was interrupted: the cursor counts ids of another reading. Those of a vendor's
            # rows are of people who were found, who may be others by now.
            run.merged_through = run.rows_new = run.rows_changed = run.rows_unchanged = 0
        run.staged, run.note = True, " ".join(self.table.notes)
        run.save()
        if run.merged_through or not self.is_file:
            return None
        merges = ImportRun.objects.filter(source=run.source, merged_through__gt=0).exclude(pk=run.pk)
        last = merges.order_by(F("finished_at").desc(nulls_first=True), "-pk").first()
        if last is None or last.state not in {RunState.DONE, RunState.DONE_WITH_REJECTED}:
            return None
        same = (last.content_digest, last.rules_digest) == (run.content_digest, run.rules_digest)
        return last if same else None

    # second pass: merge

    def _merge(self, staging: Staging) -> None:
        """Merge what is staged, batch by batch from the cursor on."""
        run = self.run
        while batch := staging.next():
            began = time.monotonic()
            with transaction.atomic():
                self.lease.renew()
                new, changed = staging.merge(batch)
                unchanged = batch.through - batch.after - new - changed
                moved = ImportRun.objects.filter(pk=run.pk, merged_through=batch.after).update(
                    merged_through=batch.through,
                    rows_new=F("rows_new") + new,
                    rows_changed=F("rows_changed") + changed,
                    rows_unchanged=F("rows_unchanged") + unchanged,
                    rows_superseded=staging.superseded,
                    rows_unmatched=staging.unmatched,
                    rows_shared=staging.shared,
                    starts=0,
                )
                if not moved:
                    raise LostLease
                crash.point("import.merged")
            crash.point("import.committed")
            staging.rest(time.monotonic() - began)
            run.merged_through = batch.through
            run.rows_new, run.rows_changed = run.rows_new + new, run.rows_changed + changed
            run.rows_unchanged += unchanged
            run.rows_superseded = staging.superseded
            self.progress.merging(run)
        run.rows_superseded = staging.superseded
        run.rows_unmatched, run.rows_shared = staging.unmatched, staging.shared
        _check_sum(run)
        state = RunState.DONE_WITH_REJECTED if run.rows_rejected else RunState.DONE
        _end(run, state, run.note)


def _most_frequent(run: ImportRun) -> str:
    top = RejectedRow.objects.filter(run=run).values("reason").annotate(times=Count("pk")).order_by("-times").first()
    return f"Most frequent reason: {top['reason']}" if top else ""


def _check_sum(run: ImportRun) -> None:
    """Every row that was read is accounted for, or something is wrong with us."""
    total = run.rows_new + run.rows_changed + run.rows_unchanged + run.rows_superseded + run.rows_rejected
    total += run.rows_unmatched - run.rows_shared
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
    if source.access in {Access.UPLOAD, Access.API}:
        return []
    bucket = storage.bucket(location_of(source))
    wanted, _ = waiting(source, bucket.files())
    return [_forecast(source, bucket, file) for file in wanted]


def _forecast(source: Source, bucket: "Bucket", file: StoredFile) -> Forecast:
    result = Forecast(file)
    try:
        with closing(bucket.open(file)) as download:
            layout = layout_of(source)
            for block in reading_of(Table(download, id_column=layout.id_column), layout).blocks():
                ids = set(block.ids)
                known = Subscriber.objects.filter(app=source.app_id, user_id__in=ids).count()
                result.rows_read += block.read
                result.rows_rejected += len(block.rejected)
                result.rows_known += known
                result.rows_new += len(ids) - known
                for row in block.rejected:
                    result.reasons[row.reason] = result.reasons.get(row.reason, 0) + 1
    except (BadFile, StorageProblem) as error:
        result.problem = str(error)
    else:
        if not result.rows_read - result.rows_rejected:
            result.problem = "None of its rows can be imported." if result.rows_read else "It has a header and no rows."
    return result
