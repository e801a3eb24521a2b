"""What need not be on the disk before anything goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

_FULL = 2  # https://www.sqlite.org/pragma.html#pragma_synchronous


@contextmanager
def before_anything_leaves() -> Iterator[None]:
    """Store what prepares a call to a vendor: a power cut may take it back as long as nothing has left.

    What must not be taken back ("write begun") is committed later, and that commit waits for the whole log, with what came before
    (https://www.sqlite.org/wal.html). So it is on SQLite alone, where a power cut ends the worker as well: one that outlived the
    crash of a server would go on with a claim that nobody knows of.
    """
    database: Any = connections[DEFAULT_DB_ALIAS]
    if database.vendor != "sqlite" or database.in_atomic_block:
        yield
        return
    database.ensure_connection()
    sqlite = database.connection
    waits = sqlite.execute("PRAGMA synchronous").fetchone()[0] == _FULL
    if waits:
        sqlite.execute("PRAGMA synchronous = NORMAL")
    try:
        yield
    finally:
        if waits:
            sqlite.execute("PRAGMA synchronous = FULL")
