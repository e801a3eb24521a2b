"""Staging on SQLite: temporary tables of the connection, sorted by their keys alone, and a merge in short transactions.

On SQLite there is one writer at a time, and the events of the runtime API are written too. Temporary tables have a file of their
own, in which work keeps nobody waiting. There what is known is looked up and JSON is made before the write transaction begins;
that only copies what is ready, lasts at most 50 ms and is followed by as long a time in which others get their turn. Rows go from
table to table inside SQLite: to take one out and bind it again costs as much as its insert.

https://www.sqlite.org/tempfiles.html (a connection's own, removed with it, never synced)
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from itertools import chain
from json.encoder import encode_basestring_ascii
from typing import Any

from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from sync.csv_rows import SEPARATOR, StagedRow
from sync.staging import Batch, Shape
from sync.traits import MOST_SUBSCRIBERS

WRITE_SECONDS = 0.04  # aimed at, to stay below 50 ms
FEWEST, MOST = 50, 10_000
TOGETHER = 50  # rows that one statement stages, which is a third quicker than one by one
CACHE_KIB = 8 * 1024  # of the temporary tables

_TABLES = {
    "sync_staged": "line INTEGER PRIMARY KEY, user_id TEXT, weight REAL, digest INTEGER, texts TEXT, typed TEXT",
    "sync_sorted": "number INTEGER PRIMARY KEY, line INTEGER, user_id TEXT, digest INTEGER",
    "sync_ready": "number INTEGER PRIMARY KEY, app_id INTEGER, user_id TEXT, digest INTEGER, traits TEXT",
}
_STAGE = "INSERT INTO sync_staged VALUES (%s, %s, %s, %s, %s, %s)"
_STAGE_TOGETHER = _STAGE + ", (%s, %s, %s, %s, %s, %s)" * (TOGETHER - 1)
_SORT = """
    INSERT INTO sync_sorted (line, user_id, digest)
    SELECT line, user_id, digest FROM sync_staged ORDER BY user_id, weight DESC, line DESC
"""
_BY_TRAIT = """
    SELECT user_id, {place} AS place, CAST(json_extract(traits, %s) AS TEXT) AS key FROM sync_subscriber
    WHERE app_id = %s AND json_type(traits, %s) IN ('text', 'integer', 'real')
"""
_BY_USER_ID = "SELECT user_id, 1 AS place, user_id AS key FROM sync_subscriber WHERE app_id = %s"
# Of the traits that hold a row's id at anybody the first one counts.
_SORT_FOUND = """
    INSERT INTO sync_sorted (line, user_id, digest)
    WITH wanted AS (SELECT DISTINCT user_id AS key FROM sync_staged),
    named AS ({named}),
    meant AS (
        SELECT key, named.user_id AS user_id, place, min(place) OVER (PARTITION BY key) AS first,
            count(*) OVER (PARTITION BY key, place) AS people
        FROM named JOIN wanted USING (key)
    )
    SELECT line, meant.user_id, digest FROM sync_staged JOIN meant ON key = sync_staged.user_id
    WHERE place = first AND people <= %s ORDER BY meant.user_id, weight DESC, line DESC
"""
_COUNT_FOUND = "SELECT (SELECT count(*) FROM sync_staged), (SELECT count(DISTINCT line) FROM sync_sorted)"
# Rows of one id stand together, the one that counts first.
_COUNT_REPEATED = """
    SELECT count(*) FROM sync_sorted before CROSS JOIN sync_sorted row ON row.number = before.number + 1
    WHERE row.user_id = before.user_id
"""
_KEEP_FIRST = (
    """
    CREATE TEMPORARY TABLE sync_first AS
    SELECT row.line, row.user_id, row.digest
    FROM sync_sorted row LEFT JOIN sync_sorted before ON before.number = row.number - 1
    WHERE before.user_id IS NOT row.user_id ORDER BY row.number
    """,
    "DELETE FROM sync_sorted",
    "INSERT INTO sync_sorted (line, user_id, digest) SELECT line, user_id, digest FROM sync_first ORDER BY rowid",
    "DROP TABLE sync_first",
)
# Each id once, its rows joined.
_JOIN = (
    """
    CREATE TEMPORARY TABLE sync_joined AS
    SELECT max(line) AS line, user_id, engage_joined(weight, line, typed) AS typed FROM sync_staged GROUP BY user_id
    """,
    "DELETE FROM sync_staged",
    "INSERT INTO sync_staged SELECT line, user_id, 0, engage_digest(typed), '', typed FROM sync_joined",
    "DROP TABLE sync_joined",
)
_MAKE_READY = """
    INSERT INTO sync_ready
    SELECT row.number, %s, row.user_id, row.digest, engage_traits(staged.texts, staged.typed)
    FROM sync_sorted row
    LEFT JOIN sync_subscriber known ON known.app_id = %s AND known.user_id = row.user_id
    CROSS JOIN sync_staged staged ON staged.line = row.line
    WHERE row.number > %s AND row.number <= %s AND known.import_digest IS NOT row.digest
    ORDER BY row.number LIMIT %s
"""
_INSERT = """
    INSERT INTO sync_subscriber (app_id, user_id, traits, import_digest, is_test, test_note, created_at, updated_at)
    SELECT app_id, user_id, {traits}, digest, 0, '', %s, %s FROM sync_ready WHERE true ORDER BY number
    ON CONFLICT (app_id, user_id) DO NOTHING
"""
# json_patch: a null of the row removes the trait. Rows that were just inserted have the digest already.
_UPDATE = """
    UPDATE sync_subscriber
    SET traits = json_patch(sync_subscriber.traits, ready.traits), import_digest = ready.digest, updated_at = %s
    FROM sync_ready ready
    WHERE sync_subscriber.app_id = ready.app_id AND sync_subscriber.user_id = ready.user_id
    AND sync_subscriber.import_digest IS NOT ready.digest
    AND json_patch(sync_subscriber.traits, ready.traits) <> json(sync_subscriber.traits)
"""


class _Joined:
    """The traits of rows as one JSON object: each trait from the row that wins among those that have it."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, int, str]] = []

    def step(self, weight: float, line: int, typed: str) -> None:
        """Take a row in."""
        self._rows.append((weight, line, typed))

    def finalize(self) -> str:
        """Return the object."""
        said: dict[str, Any] = {}
        for _, _, typed in sorted(self._rows):
            said |= json.loads(typed)
        return json.dumps(said, sort_keys=True)


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


class SQLiteStaging:
    """See `Staging`."""

    def __init__(self, shape: Shape) -> None:
        self.superseded = self.unmatched = self.shared = 0
        self._shape, self._after, self._total, self._ready = shape, 0, 0, 0
        self._size, self._others_until = 1_000, 0.0
        self._insert = _INSERT.format(traits="json_patch('{}', traits)" if shape.clears else "traits")
        connection.ensure_connection()
        connection.connection.create_function("engage_traits", 2, traits_maker(shape))
        with connection.cursor() as cursor:
            # What went wrong in a temporary table is never taken back: the file is read again.
            cursor.execute("PRAGMA temp.journal_mode = OFF")
            cursor.execute(f"PRAGMA temp.cache_size = -{CACHE_KIB}")
        with _temporary() as cursor:
            for table, columns in _TABLES.items():
                cursor.execute(f"DROP TABLE IF EXISTS temp.{table}")
                cursor.execute(f"CREATE TEMPORARY TABLE {table} ({columns})")
        with connection.cursor() as cursor:
            is_off = cursor.execute("PRAGMA synchronous").fetchone()[0] == 0
            if not (is_off or connection.in_atomic_block):
                # The cursor is written with the rows: what a power cut takes back is done again, so no commit waits for the disk.
                # It comes last: from now on `close()` ends it, together with the connection.
                cursor.execute("PRAGMA synchronous = NORMAL")

    def add(self, rows: Sequence[StagedRow]) -> None:
        """Put rows in."""
        alone = len(rows) % TOGETHER
        with _temporary() as cursor:
            together = zip(*[iter(rows[alone:])] * TOGETHER, strict=True)
            cursor.executemany(_STAGE_TOGETHER, [tuple(chain.from_iterable(several)) for several in together])
            cursor.executemany(_STAGE, rows[:alone])

    def sort(self, after: int) -> None:
        """Put all rows in order."""
        with _temporary() as cursor:
            joined = self._join(cursor) if self._shape.joins else 0
            if self._shape.found_by is None:
                cursor.execute(_SORT)
                self._total = cursor.rowcount
            else:
                self._sort_found(cursor, self._shape.found_by)
            cursor.execute(_COUNT_REPEATED)
            self.superseded = cursor.fetchone()[0]
            if self.superseded:
                self._total -= self.superseded
                for statement in _KEEP_FIRST:
                    cursor.execute(statement)
        self.superseded += joined
        self._after = after

    def _join(self, cursor: CursorWrapper) -> int:
        """Leave one row of each id, and return how many it took in."""
        connection.connection.create_aggregate("engage_joined", 3, _Joined)
        connection.connection.create_function("engage_digest", 1, _digest, deterministic=True)
        cursor.execute("SELECT count(*) FROM sync_staged")
        before: int = cursor.fetchone()[0]
        for statement in _JOIN:
            cursor.execute(statement)
        cursor.execute("SELECT count(*) FROM sync_staged")
        return before - int(cursor.fetchone()[0])

    def _sort_found(self, cursor: CursorWrapper, found_by: tuple[str, ...]) -> None:
        """Sort rows by whose they are; those of nobody are left out, and one of several people comes for each."""
        app = self._shape.app_id
        named = " UNION ALL ".join(_BY_TRAIT.format(place=place) for place, _ in enumerate(found_by)) or _BY_USER_ID
        paths = [f'$."{name}"' for name in found_by]
        parameters = [value for path in paths for value in (path, app, path)] or [app]
        cursor.execute(_SORT_FOUND.format(named=named), [*parameters, MOST_SUBSCRIBERS])
        self._total = cursor.rowcount
        cursor.execute(_COUNT_FOUND)
        staged, lines = cursor.fetchone()
        self.unmatched, self.shared = staged - lines, self._total - lines

    def next(self) -> Batch | None:
        """Make the next rows ready that say something new; then wait for as long as others may write."""
        if self._after >= self._total:
            return None
        app, last = self._shape.app_id, min(self._total, self._after + MOST)
        with _temporary() as cursor:
            cursor.execute("DELETE FROM sync_ready")
            cursor.execute(_MAKE_READY, [app, app, self._after, last, self._size])
            self._ready = cursor.rowcount
            if self._ready == self._size:
                cursor.execute("SELECT max(number) FROM sync_ready")
                last = cursor.fetchone()[0]
        batch = Batch(self._after, last)
        self._after = last
        time.sleep(max(0.0, self._others_until - time.monotonic()))
        return batch

    def merge(self, batch: Batch) -> tuple[int, int]:
        """Insert who is new and update who changed; who came or went since they were looked up is counted as it is now."""
        if not self._ready:
            return 0, 0
        now = connection.ops.adapt_datetimefield_value(timezone.now())
        with connection.cursor() as cursor:
            cursor.execute(self._insert, [now, now])
            new = cursor.rowcount
            if new == self._ready:
                return new, 0
            cursor.execute(_UPDATE, [now])
            return new, cursor.rowcount

    def rest(self, seconds: float) -> None:
        """Note until when others may write; making the next batch ready falls into that time."""
        self._others_until = time.monotonic() + seconds
        self._size = max(FEWEST, min(MOST, int(self._size * min(2.0, WRITE_SECONDS / max(seconds, 0.001)))))

    def close(self) -> None:
        """Let go of the connection, and with it of its temporary file at once: to drop the tables reads all of them."""
        if not connection.in_atomic_block:
            connection.close()


@contextmanager
def _temporary() -> Iterator[CursorWrapper]:
    """A cursor for several writes to temporary tables at once.

    `transaction.atomic` would lock the database itself (BEGIN IMMEDIATE); a savepoint begins a transaction that locks what is
    written to.
    """
    with connection.cursor() as cursor:
        cursor.execute("SAVEPOINT staging")
        try:
            yield cursor
        finally:
            cursor.execute("RELEASE staging")


def traits_maker(shape: Shape) -> Callable[[str, str], str]:
    """Return the function that makes a JSON object, in the escapes that Django's JSONField writes, of a staged row.

    It takes the row's cells of `shape.names` with SEPARATOR between them, and its other traits as a JSON object. An empty cell is
    left out, or a null where it clears.
    """
    width = len(shape.names)
    said = [part for name in shape.names for part in (f'","{name}":"', "")]  # a row's cells come in between
    empty = [(f',"{name}":""', f',"{name}":null' if shape.clears else "") for name in shape.names]
    separator = encode_basestring_ascii(SEPARATOR)[1:-1]

    def traits(texts: str, typed: str) -> str:
        if not width:
            return typed
        cells = encode_basestring_ascii(texts)[1:-1].split(separator)
        if len(cells) != width:  # a cell holds the very letters of the separator's escape
            cells = [encode_basestring_ascii(cell)[1:-1] for cell in texts.split(SEPARATOR)]
        said[1::2] = cells
        members = "".join(said)[1:] + '"'
        if not all(cells):  # no cell holds a quotation mark any more, so these stand where they seem to
            for member, instead in empty:
                members = members.replace(member, instead)
        if len(typed) > 2:
            members += "," + typed[1:-1]
        return f"{{{members[1:]}}}"

    return traits
