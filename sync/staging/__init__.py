"""Where the rows of a file wait between reading and merging, and their merge into subscribers.

Two ways with the same steps, each in what its database is best at. Rows are put in (`add`), then in the order of their ids
(`sort`), which is what makes the merge quick: neighbours in the index are written together. Of an id that a file names several
times one row is left. Then the rest is merged batch by batch; a batch whose rows say what the same file's rows said last time
costs nothing.

What waits here belongs to one connection and is gone with it, so nothing has to be cleared up after a process that died. The
next one reads the file again (it is known by its digest) and passes over the ids that the cursor says are merged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from django.db import connection

from sync.csv_rows import StagedRow


@dataclass(frozen=True)
class Shape:
    """What the staged rows of a file have in common."""

    app_id: int
    names: Sequence[str]  # the traits whose cells a staged row holds as texts
    clears: bool  # an empty cell removes the trait
    # None: a row's id is the user id, and who is not known yet is added. Else only who is known: by the first of these
    # traits that anybody has with the row's id, and without a name by the user id.
    found_by: tuple[str, ...] | None = None
    joins: bool = False  # the rows of an id are joined: each trait from the row that wins among those that have it


@dataclass(frozen=True)
class Batch:
    """Ids that are merged in one transaction: those behind the one before, up to the id number `through`."""

    after: int
    through: int


class Staging(Protocol):
    """The rows of one file. Close it in the end, whatever happened."""

    superseded: int  # rows that gave way to another one of the same id, as far as is known yet
    unmatched: int  # rows of nobody who is known
    shared: int  # how many more people than rows there are, where several have the same id

    def add(self, rows: Sequence[StagedRow]) -> None:
        """Put rows in."""

    def sort(self, after: int) -> None:
        """Find whose the rows are, put all in order and pass over the first `after` ids. May take minutes."""

    def next(self) -> Batch | None:
        """Return what is merged next; None behind the last one. Locks nothing that others write."""

    def merge(self, batch: Batch) -> tuple[int, int]:
        """Merge it, inside a transaction. Returns how many were new and how many were changed; the others were so already."""

    def rest(self, seconds: float) -> None:
        """Give way to other writers after a transaction that took so long."""

    def close(self) -> None:
        """Let go of everything."""


def staging_for(shape: Shape) -> Staging:
    """Return an empty staging on the database at hand."""
    if connection.vendor == "postgresql":
        from sync.staging.postgresql import PostgreSQLStaging

        return PostgreSQLStaging(shape)
    from sync.staging.sqlite import SQLiteStaging

    return SQLiteStaging(shape)
