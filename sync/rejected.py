"""Rejected rows as a file to mend: the rows as they were, with line and reason behind, to be uploaded at the same source again.

The columns that are added are known by their names when the file comes back (`sync.csv_rows`), and what was done to its cells
for spreadsheets is undone (`sync.formulas`).
"""

import csv
from collections.abc import Iterator, Sequence
from typing import Any

from django.db.models import Q, QuerySet

from sync.csv_rows import ADDED_COLUMNS, SEPARATOR, UNFIT, BadRow
from sync.exports import Echo
from sync.formulas import harmless
from sync.models import ImportRun, RejectedRow

NOT_KEPT = "The row itself could not be kept. See its line in the file, and empty this cell when it is filled in."


def reject(run: ImportRun, bad: Sequence[BadRow]) -> None:
    """Store rows that cannot be imported, and why."""
    RejectedRow.objects.bulk_create(
        RejectedRow(
            run=run,
            line=row.line,
            column=row.column[:120],
            reason=row.reason[:300],
            value=row.value[:200],
            cells=_framed(SEPARATOR.join(row.cells)) if row.cells else "",
        )
        for row in bad
    )


def _framed(cells: str) -> str:
    return f"{SEPARATOR}{cells}{SEPARATOR}"


def speaking_of(rows: QuerySet[RejectedRow], values: Sequence[str]) -> QuerySet[RejectedRow]:
    """Return the rejected rows that have a cell which is exactly one of these values."""
    found = Q(value__in=values)
    for value in values:
        found |= Q(cells__contains=_framed(value))
    return rows.filter(found)


def lines(run: ImportRun) -> Iterator[str]:
    """Yield the lines of the CSV: UTF-8 with its mark, the file's own columns and the added ones."""
    writer: Any = csv.writer(Echo())
    width = len(run.columns)
    columns = [name for name in run.columns if name not in ADDED_COLUMNS]
    places = [place for place, name in enumerate(run.columns) if name not in ADDED_COLUMNS]
    yield "\ufeff" + writer.writerow([*map(harmless, columns), *ADDED_COLUMNS])
    for row in run.rejected_rows.order_by("line", "pk").iterator():
        cells = row.cells[1:-1].split(SEPARATOR) if row.cells else []
        unfit = cells[run.columns.index(UNFIT)] if UNFIT in run.columns and len(cells) == width else ""
        if not cells:
            unfit = NOT_KEPT
        elif len(cells) < width:
            unfit = f"{len(cells)} cells for {width} columns: put each into its own, then empty this one."
        elif len(cells) > width:
            unfit = " | ".join(cells[width:])
        cells += [""] * (width - len(cells))
        own = [harmless(cells[place]) for place in places]
        yield writer.writerow([*own, row.line, harmless(row.column), harmless(row.reason), harmless(unfit)])
