"""A clock that stands still until it is told to go on: Python's and the test database's at once."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import time_machine
from django.db import connection

BEGINS = datetime(2026, 3, 2, 9, 30, 0, 5500, UTC)
TICK = 0.01  # seconds: so that no instant comes twice, though SQLite's clock has milliseconds only
_ASKS = re.compile(r"'now'|statement_timestamp\(\)", re.IGNORECASE)
"""How Django's Now() and `connectors.clock` ask SQLite and PostgreSQL for the time."""


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


@contextmanager
def stopped_clock() -> Iterator[Clock]:
    """Stop the clock of this thread's statements and of Python."""
    with time_machine.travel(BEGINS, tick=False) as traveller, connection.execute_wrapper(_at_our_time):
        yield Clock(traveller)


def _at_our_time(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    now = datetime.now(UTC)
    literal = f"'{now.isoformat()}'::timestamptz"
    if connection.vendor == "sqlite":
        literal = f"'{now:%Y-%m-%d %H:%M:%S}.{now.microsecond // 1000:03d}'"
    return execute(_ASKS.sub(literal, sql), params, many, context)
