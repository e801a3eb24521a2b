"""A clock that stands still until it is told to go on: Python's and the test database's at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import time_machine
from django.db import connection

BEGINS = datetime(2026, 3, 2, 9, 30, 0, 5500, UTC)
TICK = 0.01  # seconds: so that no instant comes twice, though SQLite's clock has milliseconds only
_PATTERN = "%Y-%m-%d %H:%M:%f"  # the only one that Django's Now() and `connectors.clock` ask SQLite for


class Clock:
    """What a test turns."""

    def __init__(self, traveller: time_machine.Traveller) -> None:
        self._traveller = traveller

    @property
    def now(self) -> datetime:
        """The present instant."""
        return datetime.now(UTC)

    def go_on(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self._traveller.shift(seconds)
        if connection.vendor == "postgresql":
            _tell_postgres()


@contextmanager
def stopped_clock() -> Iterator[Clock]:
    """Stop the clock. On PostgreSQL inside a transaction that is rolled back, e.g. a test's."""
    with time_machine.travel(BEGINS, tick=False) as traveller:
        if connection.vendor == "sqlite":
            connection.ensure_connection()
            connection.connection.create_function("STRFTIME", -1, _strftime)
        else:
            with connection.cursor() as cursor:
                # An unqualified name is looked for here first, before PostgreSQL's own functions.
                cursor.execute("CREATE SCHEMA stopped")
                cursor.execute(
                    "CREATE FUNCTION stopped.statement_timestamp() RETURNS timestamptz LANGUAGE sql"
                    " AS $$ SELECT current_setting('stopped.now')::timestamptz $$"
                )
                cursor.execute("SET LOCAL search_path TO stopped, public, pg_catalog")
            _tell_postgres()
        try:
            yield Clock(traveller)
        finally:
            if connection.vendor == "sqlite":
                connection.connection.create_function("STRFTIME", -1, None)


def _tell_postgres() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('stopped.now', %s, true)", [datetime.now(UTC).isoformat()])


def _strftime(pattern: str, instant: str, *shifts: str) -> str:
    if pattern != _PATTERN:
        raise ValueError(pattern)
    at = datetime.now(UTC) if instant.lower() == "now" else datetime.fromisoformat(instant)
    at += sum((timedelta(seconds=float(shift.removesuffix(" seconds"))) for shift in shifts), timedelta())
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}"
