"""The staging table and the merge into subscribers, in the SQL that each database is best at.

On SQLite there is one writer at a time, and the events of the runtime API are written too: so a transaction here lasts at most
50 ms, and as long a pause follows. On PostgreSQL rows are copied in and merged by one statement per batch; what did not change
is not written.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection, transaction
from django.utils import timezone

from sync.csv_rows import Row
from sync.models import ImportRun, StagedRow

WRITE_SECONDS = 0.04  # aimed at, to stay below 50 ms
FEWEST, MOST = 50, 20_000

encode = json.JSONEncoder(separators=(",", ":")).encode  # `json.dumps` would make an encoder for each row

Keep = Callable[[], None]
"""Renews the lease inside the transaction, or raises."""


def _is_postgresql() -> bool:
    return connection.vendor == "postgresql"


class _Batches:
    """Write transactions of a fitting size: fixed on PostgreSQL, by the clock on SQLite."""

    on_postgresql = 5_000

    def __init__(self, run: ImportRun) -> None:
        self.run = run
        self.size = self.on_postgresql if _is_postgresql() else 500

    @contextmanager
    def batch(self) -> Iterator[None]:
        """One transaction; afterwards the pause that it owes to others."""
        with transaction.atomic():
            began = time.monotonic()
            yield
        if not _is_postgresql():
            took = time.monotonic() - began
            self.size = max(FEWEST, min(MOST, int(self.size * min(2.0, WRITE_SECONDS / max(took, 0.001)))))
            time.sleep(took)


class Writer(_Batches):
    """Puts rows of a file into the staging table."""

    def write(self, rows: list[Row]) -> None:
        """Add these rows."""
        values = ((self.run.pk, row.line, row.user_id, encode(row.traits)) for row in rows)
        with connection.cursor() as cursor:
            if _is_postgresql():
                with cursor.copy("COPY sync_stagedrow (run_id, line, user_id, traits) FROM STDIN") as copy:
                    for value in values:
                        copy.write_row(value)
            else:
                cursor.executemany(
                    "INSERT INTO sync_stagedrow (run_id, line, user_id, traits) VALUES (%s, %s, %s, %s)", list(values)
                )


# Of an id that a file names several times the last row counts.
_SUPERSEDED = """
    SELECT staged.id FROM sync_stagedrow staged
    JOIN (
        SELECT user_id, max(line) AS line FROM sync_stagedrow WHERE run_id = %s GROUP BY user_id HAVING count(*) > 1
    ) AS newest ON newest.user_id = staged.user_id AND newest.line > staged.line
    WHERE staged.run_id = %s
"""


def drop_superseded(run: ImportRun, keep: Keep) -> int:
    """Remove the rows that a later row of the same file supersedes. Returns how many there were, in all starts together."""
    with connection.cursor() as cursor:
        cursor.execute(_SUPERSEDED, [run.pk, run.pk])
        while found := cursor.fetchmany(FEWEST * 10):
            _delete(run, [row[0] for row in found], keep)
    return run.rows_read - run.rows_rejected - StagedRow.objects.filter(run=run).count()


def _delete(run: ImportRun, ids: list[int], keep: Keep) -> None:
    with _Batches(run).batch():
        keep()
        StagedRow.objects.filter(pk__in=ids)._raw_delete(using="default")  # noqa: SLF001 - nothing points to a staged row


def last_line(run: ImportRun) -> int:
    """Return the last line that is staged."""
    return StagedRow.objects.filter(run=run).order_by("-line").values_list("line", flat=True).first() or 0


def clear(run: ImportRun, keep: Keep) -> None:
    """Remove what is staged of a run."""
    staged = StagedRow.objects.filter(run=run)
    lines = staged.order_by("line").values_list("line", flat=True)
    batches = _Batches(run)
    while last := last_line(run):
        through = next(iter(lines[batches.size - 1 : batches.size]), last)
        with batches.batch():
            keep()
            staged.filter(line__lte=through)._raw_delete(using="default")  # noqa: SLF001 - nothing points to a staged row


_MERGE_POSTGRESQL = """
    WITH batch AS (
        SELECT user_id, traits FROM sync_stagedrow WHERE run_id = %(run)s AND line > %(after)s AND line <= %(through)s
    ), merged AS (
        INSERT INTO sync_subscriber (app_id, user_id, traits, is_test, test_note, created_at, updated_at)
        SELECT %(app)s, batch.user_id, batch.traits, false, '', now(), now()
        FROM batch
        LEFT JOIN sync_subscriber known ON known.app_id = %(app)s AND known.user_id = batch.user_id
        WHERE known.id IS NULL OR NOT known.traits @> batch.traits
        ORDER BY batch.user_id
        ON CONFLICT (app_id, user_id) DO UPDATE
        SET traits = sync_subscriber.traits || EXCLUDED.traits, updated_at = EXCLUDED.updated_at
        WHERE NOT sync_subscriber.traits @> EXCLUDED.traits
        RETURNING (xmax = 0) AS is_new
    )
    SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new), (SELECT count(*) FROM batch) FROM merged
"""

_BATCH_SQLITE = """
    SELECT count(*), count(known.id) FROM sync_stagedrow staged
    LEFT JOIN sync_subscriber known ON known.app_id = %s AND known.user_id = staged.user_id
    WHERE staged.run_id = %s AND staged.line > %s AND staged.line <= %s
"""
_MERGE_SQLITE = """
    INSERT INTO sync_subscriber (app_id, user_id, traits, is_test, test_note, created_at, updated_at)
    SELECT %s, user_id, traits, 0, '', %s, %s FROM sync_stagedrow WHERE run_id = %s AND line > %s AND line <= %s
    ON CONFLICT (app_id, user_id) DO UPDATE
    SET traits = json_patch(sync_subscriber.traits, excluded.traits), updated_at = excluded.updated_at
    WHERE json_patch(sync_subscriber.traits, excluded.traits) <> json(sync_subscriber.traits)
"""


class Merger(_Batches):
    """Merges staged rows into the App's subscribers; traits that a row does not name stay as they are."""

    on_postgresql = 10_000

    def merge(self, after: int, through: int) -> tuple[int, int, int]:
        """Merge the lines in (after, through], inside a transaction. Returns how many were new, changed and unchanged."""
        run = self.run
        with connection.cursor() as cursor:
            if _is_postgresql():
                cursor.execute(
                    _MERGE_POSTGRESQL, {"run": run.pk, "app": run.app_id, "after": after, "through": through}
                )
                new, changed, total = cursor.fetchone()
            else:
                now = connection.ops.adapt_datetimefield_value(timezone.now())
                cursor.execute(_BATCH_SQLITE, [run.app_id, run.pk, after, through])
                total, known = cursor.fetchone()
                cursor.execute(_MERGE_SQLITE, [run.app_id, now, now, run.pk, after, through])
                new = total - known
                changed = cursor.rowcount - new
        return new, changed, total - new - changed
