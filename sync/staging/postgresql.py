"""Staging on PostgreSQL: COPY into a temporary table, one statement that sorts it and drops what did not change, then one merge
per batch.

A subscriber that is new to the file's App is inserted without `ON CONFLICT`, which is a third quicker; when somebody else made one
in the same moment, the batch is merged with it.

https://www.postgresql.org/docs/15/sql-copy.html (text format: backslash, tab and line ends are escaped)
"""

from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, connection, transaction

from sync.csv_rows import SEPARATOR, StagedRow
from sync.staging import Batch, Shape
from sync.traits import MOST_SUBSCRIBERS

ROWS = 10_000  # that a batch writes at most: a tenth of a second for whoever waits for one of them
MEMORY = "32MB"  # of the server, for the sort

_LINE = "%s\t%s\t%s\t%s\t%s\t%s\n"
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

_DROP = "; ".join(
    [
        *(f"DROP TABLE IF EXISTS pg_temp.sync_{name}" for name in ("staged", "found", "waiting")),
        "DROP SEQUENCE IF EXISTS pg_temp.sync_number",
    ]
)
_CREATE = """
    CREATE TEMPORARY TABLE sync_staged
    (line bigint, user_id text, weight double precision, digest bigint, texts text, typed text);
    CREATE TEMPORARY SEQUENCE sync_number CACHE 1000
"""
_BY_TRAIT = """
    SELECT known.user_id, trait.place, known.traits ->> trait.name AS key
    FROM sync_subscriber known, unnest(%(found_by)s::text[]) WITH ORDINALITY AS trait (name, place)
    WHERE known.app_id = %(app)s AND jsonb_typeof(known.traits -> trait.name) IN ('string', 'number')
"""
_BY_USER_ID = "SELECT user_id, 1 AS place, user_id AS key FROM sync_subscriber WHERE app_id = %(app)s"
# Of the traits that hold a row's id at anybody the first one counts.
_FIND = """
    CREATE TEMPORARY TABLE sync_found AS
    WITH wanted AS (SELECT DISTINCT user_id AS key FROM sync_staged),
    named AS ({named}),
    meant AS (
        SELECT key, named.user_id, place, min(place) OVER (PARTITION BY key) AS first,
            count(*) OVER (PARTITION BY key, place) AS people
        FROM named JOIN wanted USING (key)
    )
    SELECT line, meant.user_id, weight, digest, texts, typed
    FROM sync_staged JOIN meant ON key = sync_staged.user_id AND place = first AND people <= %(most)s
"""
_COUNT_FOUND = "SELECT count(*), count(DISTINCT line) FROM sync_found"
_USE_FOUND = "DROP TABLE sync_staged; ALTER TABLE sync_found RENAME TO sync_staged"
_WINNER = """
    SELECT DISTINCT ON (user_id COLLATE "C") user_id, digest, texts, typed FROM sync_staged
    ORDER BY user_id COLLATE "C", weight DESC, line DESC
"""
# Of a key that is there several times jsonb keeps the last one.
_JOINED = """
    SELECT user_id, hashtextextended(typed, 0) AS digest, '' AS texts, typed FROM (
        SELECT user_id COLLATE "C" AS user_id,
            coalesce(jsonb_object_agg(key, value ORDER BY weight, line) FILTER (WHERE key IS NOT NULL), '{}')::text AS typed
        FROM sync_staged LEFT JOIN LATERAL jsonb_each(sync_staged.typed::jsonb) ON true
        GROUP BY user_id COLLATE "C"
    ) AS joined
    ORDER BY user_id
"""
# The order is that of bytes: the quickest one, and the same in every run. A sequence numbers the ids and says in the end how many
# they were; volatile, it numbers all of them before any is left out.
_SORT = """
    CREATE TEMPORARY TABLE sync_waiting AS
    WITH winner AS ({winner})
    SELECT numbered.*, known.id IS NOT NULL AS is_known
    FROM (SELECT nextval('pg_temp.sync_number') AS number, winner.* FROM winner) AS numbered
    LEFT JOIN sync_subscriber known ON known.app_id = %s AND known.user_id = numbered.user_id
    WHERE number > %s AND known.import_digest IS DISTINCT FROM numbered.digest
"""
_NEXT = """
    SELECT count(*), max(number) FROM (
        SELECT number FROM sync_waiting WHERE number > %s ORDER BY number LIMIT %s
    ) AS batch
"""
_TRAITS = "jsonb_object(%(names)s::text[], string_to_array(texts, %(separator)s, '')) || typed::jsonb"
_INSERT = """
    INSERT INTO sync_subscriber (app_id, user_id, traits, import_digest, is_test, test_note, created_at, updated_at)
    SELECT %(app)s, user_id, {traits}, digest, false, '', now(), now()
    FROM sync_waiting WHERE number > %(after)s AND number <= %(through)s {which} ORDER BY number
"""
_INSERT_NEW = _INSERT.format(traits=f"jsonb_strip_nulls({_TRAITS})", which="AND NOT is_known")
# A null of the new row removes the trait, which only holds for a subscriber that was there.
_UPSERT = """
    WITH merged AS (
        {insert}
        ON CONFLICT (app_id, user_id) DO UPDATE SET
            traits = jsonb_strip_nulls(sync_subscriber.traits || EXCLUDED.traits),
            import_digest = EXCLUDED.import_digest, updated_at = EXCLUDED.updated_at
        WHERE jsonb_strip_nulls(sync_subscriber.traits || EXCLUDED.traits) IS DISTINCT FROM sync_subscriber.traits
        RETURNING id, xmax = 0 AS is_new
    )
    SELECT count(*) FILTER (WHERE NOT is_new), array_agg(id) FILTER (WHERE is_new) FROM merged
"""
_STRIP = "UPDATE sync_subscriber SET traits = jsonb_strip_nulls(traits) WHERE id = ANY(%s)"


class PostgreSQLStaging:
    """See `Staging`."""

    def __init__(self, shape: Shape) -> None:
        self.superseded = self.unmatched = self.shared = 0
        self._shape, self._staged, self._total, self._after = shape, 0, 0, 0
        traits = _TRAITS if shape.clears else f"jsonb_strip_nulls({_TRAITS})"
        self._upsert_known = _UPSERT.format(insert=_INSERT.format(traits=traits, which="AND is_known"))
        self._upsert_all = _UPSERT.format(insert=_INSERT.format(traits=traits, which=""))
        self._parameters: dict[str, Any] = {
            "app": shape.app_id,
            "names": list(shape.names),
            "separator": SEPARATOR,
        }
        with connection.cursor() as cursor:
            cursor.execute(_DROP)
            cursor.execute(_CREATE)

    def add(self, rows: Sequence[StagedRow]) -> None:
        """Copy rows in."""
        data = "".join(map(_LINE.__mod__, rows))
        if "\\" in data or "\r" in data or data.count("\t") > 5 * len(rows) or data.count("\n") > len(rows):
            data = "".join(_LINE % tuple(str(value).translate(_ESCAPED) for value in row) for row in rows)
        with connection.cursor() as cursor, cursor.copy("COPY sync_staged FROM STDIN") as copy:
            copy.write(data)
        self._staged += len(rows)

    def sort(self, after: int) -> None:
        """Put all rows in order; those that say what their subscriber's last imported row said are left out at once."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('work_mem', %s, true)", [MEMORY])
            cursor.execute("SET LOCAL default_statistics_target = 10")  # how many ids there are is all that is asked
            cursor.execute("ANALYZE sync_staged (user_id)")
            if self._shape.found_by is not None:
                self._find(cursor, self._shape.found_by)
            cursor.execute(_SORT.format(winner=_JOINED if self._shape.joins else _WINNER), [self._shape.app_id, after])
            if self._staged:  # else the sequence was never asked
                cursor.execute("SELECT currval('pg_temp.sync_number')")
                self._total = cursor.fetchone()[0]
            cursor.execute("DROP TABLE sync_staged")
            cursor.execute("CREATE INDEX ON sync_waiting (number)")
            cursor.execute("ANALYZE sync_waiting (number)")
        self.superseded = self._staged - self._total
        self._after = after

    def _find(self, cursor: Any, found_by: tuple[str, ...]) -> None:
        """Put user ids in place of the vendor's ids; rows of nobody go, and one of several people comes for each."""
        named = _BY_TRAIT if found_by else _BY_USER_ID
        parameters = {"app": self._shape.app_id, "found_by": list(found_by), "most": MOST_SUBSCRIBERS}
        cursor.execute(_FIND.format(named=named), parameters)
        cursor.execute(_COUNT_FOUND)
        found, lines = cursor.fetchone()
        self.unmatched, self.shared = self._staged - lines, found - lines
        self._staged = found
        cursor.execute(_USE_FOUND)
        cursor.execute("ANALYZE sync_staged (user_id)")

    def next(self) -> Batch | None:
        """Return the ids up to the last of the next `ROWS` that have something to say."""
        if self._after >= self._total:
            return None
        with connection.cursor() as cursor:
            cursor.execute(_NEXT, [self._after, ROWS])
            count, last = cursor.fetchone()
        batch = Batch(self._after, last if count == ROWS else self._total)
        self._after = batch.through
        return batch

    def merge(self, batch: Batch) -> tuple[int, int]:
        """Insert who is new and update who changed."""
        parameters = {**self._parameters, "after": batch.after, "through": batch.through}
        with connection.cursor() as cursor:
            # The cursor is written in the same transaction: what a crash of the server takes back is done again.
            cursor.execute("SET LOCAL synchronous_commit = off")
            try:
                with transaction.atomic():
                    cursor.execute(_INSERT_NEW, parameters)
                    new = cursor.rowcount
                statement = self._upsert_known
            except IntegrityError:  # somebody made the same subscriber since
                new, statement = 0, self._upsert_all
            cursor.execute(statement, parameters)
            changed, made = cursor.fetchone()
            if made:
                cursor.execute(_STRIP, [made])
                new += len(made)
        return new, changed

    def rest(self, seconds: float) -> None:
        """Rows are locked one by one, so nobody waits for a pause."""

    def close(self) -> None:
        """Drop what waits."""
        if not connection.needs_rollback and connection.connection and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute(_DROP)
