"""From the bytes of a CSV file to rows, in constant memory. Nothing here knows a database or a network.

Python's csv module reads the rows, strictly: an unclosed quotation mark is an error and not a silent swallowing of what
follows. What cannot be read at all is a `BadFile`; what concerns one row is a `BadRow`, and the next row is read.

Most of most files needs none of that care: lines without a quotation mark, all of the header's width. A `Chunk` of such lines is
split at once, and rows are judged column by column with functions that run in C; as soon as anything is odd about a chunk, its
rows are taken one by one. Both ways give the same rows, which a test holds against Python's csv module.
"""

import codecs
import csv
import io
import json
import math
import re
import struct
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import blake2b
from itertools import chain, repeat
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sync.formulas import restored
from sync.models import RowWins, TraitType
from sync.traits import LARGEST_NUMBER, LONGEST_TEXT, LONGEST_USER_ID, MOST_TRAITS, wrong_name, wrong_user_id

LONGEST_LINE = 16 * 1024 * 1024  # characters: more without a line's end is no CSV
DELIMITERS = (",", ";", "\t", "|")
SAMPLE = 64 * 1024
CHUNK = 256 * 1024  # characters that are split at once: small enough for the processor's cache
SHOWN = 120
MOST_LINES = 2.0**52  # more than any file has; a float still counts them one by one
# NUL, and bytes that are not of the file's encoding (they are carried as a lone surrogate).
NOT_TEXT = "\udcff"
UNREADABLE = re.compile("[\x00\ud800-\udfff]")
UNREADABLE_BYTES = "engage_unreadable"
# Between the cells of a row that waits to be merged; ASCII's unit separator, which is no text anybody sends.
SEPARATOR = "\x1f"
LONGEST_KEPT = 20_000  # characters of a rejected row
ADDED_COLUMNS = ("engage_line", "engage_column", "engage_reason", "engage_unfit")
"""What a download of rejected rows has beside the file's own columns. In a file that is uploaded they become no traits; one
that has the first of them is such a download, mended."""
UNFIT = ADDED_COLUMNS[-1]


def _unreadable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return NOT_TEXT, error.end


codecs.register_error(UNREADABLE_BYTES, _unreadable)
TRUE = frozenset({"true", "yes", "1", "t", "y"})
FALSE = frozenset({"false", "no", "0", "f", "n"})


class BadFile(ValueError):
    """The whole file cannot be imported; the text says why, for the person who can mend it."""


class BadRow(NamedTuple):
    """A row that cannot be imported, or a cell of one that can.

    `value` is shortened, `line` the one on which the row ends. `cells` are the row's own, as far as they can be stored; none of
    one that could not be taken apart or is too long to be kept.
    """

    line: int
    column: str
    reason: str
    value: str
    cells: tuple[str, ...] = ()


StagedRow = tuple[int, str, float, int, str, str]
"""A row that can be imported, as it waits to be merged: a bare tuple, since there are millions of them.

- its line;
- the user's id;
- its weight: of an id that a file names several times the row with the largest counts, and of equal ones the last;
- its digest (64 bits, signed): rows with the same one say the same, whatever file they stand in;
- the cells of `Reading.names`, with SEPARATOR between them: an empty one says nothing, or clears;
- the other traits, as a JSON object.
"""


class Block(NamedTuple):
    """Rows of a file as they were judged; `left_out` are cells that did not fit, of rows that are among `rows` all the same."""

    rows: list[StagedRow]
    rejected: list[BadRow]
    left_out: list[BadRow]

    @property
    def ids(self) -> list[str]:
        """The ids of the good rows."""
        return [row[1] for row in self.rows]

    @property
    def read(self) -> int:
        """How many rows these are."""
        return len(self.rows) + len(self.rejected)


@dataclass(frozen=True)
class Layout:
    """How a source's columns become an id and traits."""

    id_column: str
    mapping: Mapping[str, str] = field(default_factory=dict)  # column -> trait, "" leaves it out
    types: Mapping[str, str] = field(default_factory=dict)  # trait -> TraitType; text when it is not named
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))  # of times without a zone
    prefix: str = ""  # of the traits that get their name from the column
    clears: bool = False  # an empty cell removes the trait; otherwise it says nothing
    keeps_misfits: bool = False  # a value that does not fit its trait's type is left out; otherwise the row is rejected
    row_wins: RowWins = RowWins.LAST  # of an id that a file names several times
    row_wins_column: str = ""
    row_wins_value: str = ""
    endpoints: bool = False  # a row is an address on one channel (`sync.endpoints`)


class _Bytes(io.RawIOBase):
    """An iterator of bytes as a file."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces, self._rest = iter(pieces), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)


class Table:
    """A CSV file whose header has been read: `columns`, `notes` (what a person should know), and `chunks()`."""

    def __init__(self, pieces: Iterable[bytes], *, id_column: str = "") -> None:
        """Read the header. `id_column` helps to tell which delimiter is meant.

        Raises:
            BadFile: it is empty, or no text.
        """
        self.notes: list[str] = []
        self._line = 0  # lines read so far
        self._pending: deque[str] = deque()  # lines that the csv module is given before it reads on
        iterator, sample = iter(pieces), b""
        while len(sample) < SAMPLE and (piece := next(iterator, None)) is not None:
            sample += piece
        raw = io.BufferedReader(_Bytes(chain([sample], iterator)), SAMPLE)
        self._text = io.TextIOWrapper(
            raw, encoding=self._encoding(sample[:SAMPLE]), errors=UNREADABLE_BYTES, newline=""
        )
        first = self._readline()
        while first and not first.strip():
            self._line += 1
            first = self._readline()
        if not first:
            raise BadFile("The file is empty.")
        said = re.fullmatch(r'"?sep=([^"\r\n])"?\s*', first)
        if said:
            self._line += 1
            self.delimiter, first = said[1], self._readline()
        else:
            self.delimiter = _delimiter(first, id_column)
        self._pending.append(first)
        self._reader = csv.reader(self._lines(), delimiter=self.delimiter, strict=True)
        try:
            header = next(self._reader, [])
        except csv.Error:
            raise BadFile("The header cannot be read: a quotation mark is not closed, or a name is too long.") from None
        if any(UNREADABLE.search(name) for name in header):
            raise BadFile("The header is not text in UTF-8 or Windows-1252. Save the file as “CSV UTF-8”.")
        self.columns = [restored(name.strip()) for name in header]
        self.is_mended = is_mended(self.columns)
        if self.is_mended:
            self.notes.append(
                "It is a mended download of rejected rows; the columns that were added to it were left out."
            )
        if not any(self.columns):
            raise BadFile("The file has no header: its first line must name the columns.")

    def _encoding(self, sample: bytes) -> str:
        if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        for start, name in ((1, "utf-16-le"), (0, "utf-16-be")):
            # Latin letters in UTF-16 are every other byte a zero.
            if len(sample) > 3 and sample[start::2].count(0) > len(sample) * 0.4 > sample[1 - start :: 2].count(0) * 5:
                return name
        try:
            codecs.getincrementaldecoder("utf-8")().decode(sample)
        except UnicodeDecodeError:
            self.notes.append("It is not UTF-8 and was read as Windows-1252 (Latin-1): look at a name with an accent.")
            return "cp1252"
        return "utf-8-sig"

    def _readline(self) -> str:
        line = self._text.readline(LONGEST_LINE)
        if len(line) == LONGEST_LINE and not line.endswith(("\r", "\n")):
            raise BadFile(f"A line is longer than {LONGEST_LINE >> 20} million characters. This is no CSV file.")
        return line

    def _lines(self) -> Iterator[str]:
        while line := self._pending.popleft() if self._pending else self._readline():
            self._line += 1
            yield line

    def chunks(self) -> Iterator["Chunk"]:
        """Yield what stands below the header.

        Raises:
            BadFile: where rows begin and end can no longer be told.
        """
        while text := self._text.read(CHUNK):
            if not text.endswith("\n"):
                text += self._readline()
            chunk = self._split(text) or self._parse(text)
            yield chunk._replace(cells=list(map(restored, chunk.cells))) if self.is_mended else chunk

    def _split(self, text: str) -> "Chunk | None":
        """Return the rows of whole lines in which nothing needs the csv module; None when something might."""
        width, delimiter = len(self.columns), self.delimiter
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        if width == 1 or any(mark in text for mark in ('"', "\r", "\x00", NOT_TEXT, SEPARATOR)):
            return None
        text = text.removesuffix("\n")
        lines = text.split("\n")
        longest = max(map(len, lines))
        if longest > LONGEST_TEXT or set(map(str.count, lines, repeat(delimiter))) != {width - 1}:
            return None
        first, self._line = self._line + 1, self._line + len(lines)
        return Chunk(range(first, self._line + 1), text.replace("\n", delimiter).split(delimiter), longest, [])

    def _parse(self, text: str) -> "Chunk":
        """Return the rows of whole lines, as the csv module reads them; the last one may go on behind them."""
        self._pending.extend(io.StringIO(text, newline=""))
        width = len(self.columns)
        lines: list[int] = []
        cells: list[str] = []
        bad: list[BadRow] = []
        while self._pending:
            before = self._line
            try:
                row = next(self._reader)
            except csv.Error as error:
                bad.append(self._broken(before + 1, str(error)))
                continue
            if len(row) == width:
                lines.append(self._line)
                cells += row
            elif any(row):
                reason = f"The row has {len(row):,} cells, the header {width:,}."
                if self.is_mended:
                    row = list(map(restored, row))
                bad.append(BadRow(self._line, "", reason, shortened(self.delimiter.join(row)), kept(row)))
        return Chunk(lines, cells, max(map(len, cells), default=0), bad)

    def _broken(self, start: int, error: str) -> BadRow:
        end = self._line
        if "field larger" in error:
            if end > start:
                raise BadFile(
                    f"The cell that begins in line {start:,} does not end within 128 KB: a quotation mark is not closed."
                )
            return BadRow(end, "", f"A cell is longer than {csv.field_size_limit():,} characters.", "")
        if end > start:
            reason = f"A quotation mark in line {start:,} is not closed as it should be; the lines up to {end:,} went with it."
        else:
            reason = "A quotation mark stands where none may."
        return BadRow(end, "", reason, "")


class Chunk(NamedTuple):
    """Some rows below the header as they stand in the file: of row n, `cells` has those from n times the width on."""

    lines: Sequence[int]
    cells: list[str]
    longest: int  # no cell has more characters
    bad: list[BadRow]


def _delimiter(line: str, id_column: str) -> str:
    """Return the delimiter that finds the id column in the header, or else the most columns."""
    wanted = _folded(id_column)

    def quality(delimiter: str) -> tuple[bool, int]:
        try:
            names = next(csv.reader([line], delimiter=delimiter))
        except (csv.Error, StopIteration):
            return False, 0
        return bool(wanted) and len(names) > 1 and wanted in map(_folded, names), len(names)

    return max(DELIMITERS, key=quality)


def _folded(name: str) -> str:
    return name.strip().casefold()


def is_mended(columns: Iterable[str]) -> bool:
    """Whether a file with these columns is a download of rejected rows, which somebody has mended."""
    return ADDED_COLUMNS[0] in map(_folded, columns)


def kept(row: Iterable[str]) -> tuple[str, ...]:
    """Return a row's cells as they can be stored: stripped, what cannot be stored as �; none of a row that is too long."""
    cells = tuple(UNREADABLE.sub("�", cell.strip()).replace(SEPARATOR, "�") for cell in row)
    return cells if sum(map(len, cells)) + len(cells) <= LONGEST_KEPT else ()


def trait_name(column: str) -> str:
    """Return the trait that a column becomes when nobody named one: its name in snake_case."""
    ascii_name = unicodedata.normalize("NFKD", column.casefold()).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "_", ascii_name).strip("_")[:80]
    return name if name[:1].isalpha() else f"column_{name}".rstrip("_")[:80]


def plan(table: Table, layout: Layout) -> tuple[int, dict[int, str]]:
    """Return the index of the id column, and column index -> trait.

    Raises:
        BadFile: the id column is missing or there twice, or two columns would write the same trait.
    """
    id_place = place_of(table, layout.id_column, "the id")
    folded = [_folded(name) for name in table.columns]
    named = {_folded(column): trait for column, trait in layout.mapping.items()}
    traits: dict[int, str] = {}
    for index, column in enumerate(folded):
        if table.is_mended and column in ADDED_COLUMNS:
            continue
        own_name = "" if index == id_place or not column else (layout.prefix + trait_name(table.columns[index]))[:80]
        trait = named.get(column, own_name)
        if not trait:
            continue
        if trait in traits.values():
            first = next(table.columns[other] for other, taken in traits.items() if taken == trait)
            raise BadFile(
                f"The columns “{first}” and “{table.columns[index]}” would both become the trait {trait}. "
                "Give one of them another name in the source's columns, or leave it out."
            )
        if wrong_name(trait):
            raise BadFile(f"The column “{table.columns[index]}” cannot become the trait “{trait}”. {wrong_name(trait)}")
        traits[index] = trait
    if len(traits) > MOST_TRAITS:
        raise BadFile(f"The file has {len(traits):,} columns; at most {MOST_TRAITS} can become traits. Leave some out.")
    unnamed = folded.count("")
    if unnamed:
        table.notes.append(f"{unnamed} columns without a name were left out.")
    return id_place, traits


def place_of(table: Table, column: str, what: str) -> int:
    """Return the index of the column that holds `what`.

    Raises:
        BadFile: it is missing or there twice.
    """
    places = [index for index, name in enumerate(table.columns) if _folded(name) == _folded(column)]
    if not places:
        found = ", ".join(shortened(name, 40) for name in table.columns[:30] if name)
        raise BadFile(f"There is no column “{column}”, which holds {what}. The file has: {found}.")
    if len(places) > 1:
        raise BadFile(f"The column “{column}”, which holds {what}, is there {len(places)} times.")
    return places[0]


Reader = Callable[[str], Any]


class Reading:
    """A file that is read by a source's rules: `blocks()` has its rows as they can be stored, or why they cannot."""

    joins = False
    """Whether the rows of an id are joined, each trait from the row that wins for it; otherwise one whole row wins."""

    def __init__(self, table: Table, layout: Layout) -> None:
        """Find the columns.

        Raises:
            BadFile: see `plan`; or the column by which the row is chosen is missing.
        """
        self._table, self._layout = table, layout
        self._id, self.traits = self._columns()
        by_trait = sorted((trait, index) for index, trait in self.traits.items())
        plain = [(trait, index) for trait, index in by_trait if self.type_of(trait) == TraitType.TEXT]
        if len(plain) == 1:  # PostgreSQL splits an empty text into no cells, not into one
            plain = []
        self.names = [trait for trait, _ in plain]
        self._plain = [index for _, index in plain]
        self._typed = [
            (json.dumps(trait), index, reader_of(self.type_of(trait), layout.zone))
            for trait, index in by_trait
            if index not in self._plain
        ]
        self._weights = self._weighing()
        # What a row says beside its cells: which traits they are, and what an empty one means.
        meaning = repr([[(trait, self.type_of(trait)) for trait, _ in by_trait], layout.clears])
        self._meaning = blake2b(meaning.encode(), digest_size=32).digest()

    def _columns(self) -> tuple[int, dict[int, str]]:
        """Return the index of the id column, and column index -> trait of those that are one trait each."""
        return plan(self._table, self._layout)

    @property
    def filled(self) -> dict[str, str]:
        """Trait -> the column that fills it."""
        return {trait: self._table.columns[index] for index, trait in self.traits.items()}

    def becomes(self, index: int) -> str:
        """Return the trait that a column becomes; empty when it is left out."""
        return self.traits.get(index, "")

    def type_of(self, trait: str) -> str:
        """Return the TraitType by which a trait's cells are read."""
        return str(self._layout.types.get(trait, TraitType.TEXT))

    @property
    def rules(self) -> str:
        """A digest of all that decides what is made of the file's bytes."""
        layout = self._layout
        winner = (layout.row_wins.value, layout.row_wins_column, layout.row_wins_value)
        columns = [self._id, sorted(self.traits.items())]
        rules = repr([self._meaning, columns, layout.keeps_misfits, winner, str(layout.zone)])
        return blake2b(rules.encode(), digest_size=16).hexdigest()

    def blocks(self) -> Iterator[Block]:
        """Yield every row below the header; blank rows are left out.

        Raises:
            BadFile: see `Table.chunks`.
        """
        for chunk in self._table.chunks():
            block = self._block(chunk)
            if block.read:
                yield block

    def _block(self, chunk: Chunk) -> Block:
        lines: Sequence[int] = chunk.lines
        cells = list(map(str.strip, chunk.cells))
        rejected, left_out = list(chunk.bad), list[BadRow]()
        try:
            self._expect_fine(cells, chunk.longest)
            typed = self._as_objects(cells)
        except ValueError:
            lines, cells, more, left_out = self._one_by_one(chunk)
            rejected += more
            typed = self._as_objects(cells)
        width = len(self._table.columns)
        columns = [cells[index::width] for index in self._plain]
        texts = list(map(SEPARATOR.join, zip(*columns, strict=True))) if columns else [""] * len(lines)
        digests = self._digests(map(SEPARATOR.join, zip(texts, typed, strict=True)))
        ids = cells[self._id :: width]
        rows = list(zip(lines, ids, self._weights(lines, cells), digests, texts, typed, strict=True))
        return Block(rows, sorted(rejected), left_out)

    def _digests(self, said: Iterable[str]) -> tuple[int, ...]:
        """Return the digest of what each row says."""
        # A copy costs a third of a new one with these parameters.
        begun = blake2b(digest_size=8, salt=self._meaning[:16], person=self._meaning[16:])
        digests = []
        for text in said:
            digest = begun.copy()
            digest.update(text.encode())
            digests.append(digest.digest())
        return struct.unpack(f">{len(digests)}q", b"".join(digests))

    def _expect_fine(self, cells: list[str], longest: int) -> None:
        """Raise ValueError when any of these stripped cells might have to be told to a person."""
        if self._table.is_mended:
            raise ValueError
        ids = cells[self._id :: len(self._table.columns)]
        every, together = "".join(cells), "".join(ids)
        if (
            longest > LONGEST_TEXT
            or any(mark in every for mark in ("\x00", NOT_TEXT, SEPARATOR))
            or not all(ids)
            or max(map(len, ids), default=0) > LONGEST_USER_ID
            or not together.isprintable()
        ):
            raise ValueError

    def _as_objects(self, cells: list[str]) -> list[str]:
        """Return the traits that are not plain text, row by row, as JSON objects.

        Raises:
            ValueError: a cell does not fit its trait's type.
        """
        width = len(self._table.columns)
        if not self._typed:
            return ["{}"] * (len(cells) // width)
        empty = "null" if self._layout.clears else ""

        def members(name: str, column: list[str], read: Reader) -> Iterator[str]:
            for cell in column:
                said = empty if not cell else "" if cell == SEPARATOR else json.dumps(read(cell))
                yield f"{name}:{said}" if said else ""

        columns = [members(name, cells[index::width], read) for name, index, read in self._typed]
        return [f"{{{','.join(filter(None, row))}}}" for row in zip(*columns, strict=True)]

    def _one_by_one(self, chunk: Chunk) -> tuple[list[int], list[str], list[BadRow], list[BadRow]]:
        """Return lines and stripped cells of the good rows, the bad rows, and cells that were left out of good ones."""
        width = len(self._table.columns)
        lines: list[int] = []
        cells: list[str] = []
        bad: list[BadRow] = []
        left_out: list[BadRow] = []
        for number, line in enumerate(chunk.lines):
            row = chunk.cells[number * width : (number + 1) * width]
            if not any(row):
                continue
            wrong = self._wrong_row(line, row)
            stripped = [cell.strip() for cell in row]
            misfits = [] if wrong else self._misfits(line, stripped)
            if not wrong and misfits and not self._layout.keeps_misfits:
                wrong = misfits[0][1]
            if wrong:
                bad.append(wrong._replace(cells=kept(row)))
                continue
            for index, misfit in misfits:
                stripped[index] = SEPARATOR  # says nothing, and clears nothing either
                left_out.append(misfit)
            lines.append(line)
            cells += stripped
        return lines, cells, bad, left_out

    def _wrong_row(self, line: int, row: list[str]) -> BadRow | None:
        columns = self._table.columns
        for index, cell in enumerate(row):
            if UNREADABLE.search(cell) or SEPARATOR in cell:
                what = "bytes that are not in the file's encoding"
                if "\x00" in cell or SEPARATOR in cell:
                    what = "a NUL character" if "\x00" in cell else "the control character U+001F"
                return BadRow(line, columns[index], f"The cell holds {what}.", shortened(cell))
            if self._table.is_mended and _folded(columns[index]) == UNFIT and cell.strip():
                reason = f"Its cells did not fit the columns. Put each into its own, and empty {UNFIT}."
                return BadRow(line, columns[index], reason, shortened(cell))
        user_id = row[self._id].strip()
        wrong = wrong_user_id(user_id)
        if wrong:
            return BadRow(line, columns[self._id], wrong if user_id else "The id is empty.", shortened(user_id))
        for index in self.traits:
            wrong_cell = too_long(line, columns[index], row[index].strip())
            if wrong_cell:
                return wrong_cell
        return None

    def _misfits(self, line: int, row: list[str]) -> list[tuple[int, BadRow]]:
        found = []
        for _, index, read in self._typed:
            try:
                if row[index]:
                    read(row[index])
            except ValueError as error:
                found.append((index, BadRow(line, self._table.columns[index], str(error), shortened(row[index]))))
        return found

    def _weighing(self) -> Callable[[Sequence[int], list[str]], Iterable[float]]:
        """Return the function that weighs rows (their lines, their cells) by the source's rule for which one wins."""
        layout, width = self._layout, len(self._table.columns)
        if layout.row_wins == RowWins.LAST:
            return lambda lines, _: repeat(0.0, len(lines))
        places = [n for n, name in enumerate(self._table.columns) if _folded(name) == _folded(layout.row_wins_column)]
        if not places:
            raise BadFile(
                f"There is no column “{layout.row_wins_column}”, by which it is told which row of an id counts."
            )
        if layout.row_wins == RowWins.NEWEST_BY:
            newness = _newness(layout.zone)
            return lambda _, cells: map(newness, cells[places[0] :: width])
        wanted = layout.row_wins_value.strip().casefold()
        return lambda lines, cells: [
            MOST_LINES - line if cell.casefold() == wanted else 0.0
            for line, cell in zip(lines, cells[places[0] :: width], strict=True)
        ]


def too_long(line: int, column: str, cell: str) -> BadRow | None:
    """Return why a cell is longer than a trait can be, if it is."""
    if len(cell) <= LONGEST_TEXT:
        return None
    reason = f"The cell has {len(cell):,} characters; a trait has at most {LONGEST_TEXT:,}."
    return BadRow(line, column, reason, shortened(cell))


def reader_of(type_: str, zone: ZoneInfo) -> Reader:
    """Return the function that reads a cell as a trait's type; it raises ValueError with a sentence."""

    def moment(cell: str) -> str:
        try:
            if len(cell) == len("2026-01-02"):
                return date.fromisoformat(cell).isoformat()
            found = datetime.fromisoformat(cell)
        except ValueError:
            raise ValueError("This is not a date like 2026-01-31 or 2026-01-31 13:45:00.") from None
        aware = found if found.tzinfo else found.replace(tzinfo=zone)
        return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")

    if type_ == TraitType.DATE:
        return moment
    return {TraitType.NUMBER.value: _number, TraitType.BOOLEAN.value: _boolean}.get(str(type_), str)


def _newness(zone: ZoneInfo) -> Callable[[str], float]:
    """Return the function that makes a number of a cell with a number, a date or a time; an empty or odd one is the oldest."""

    def newness(cell: str) -> float:
        try:
            return float(_number(cell))
        except ValueError:
            pass
        try:
            found = datetime.fromisoformat(cell)
            return (found if found.tzinfo else found.replace(tzinfo=zone)).timestamp()
        except (ValueError, OverflowError):
            return -math.inf

    return newness


def _number(cell: str) -> int | float:
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", cell, re.ASCII):
        raise ValueError("This is not a number like 12 or 12.50.")
    value: int | float = int(cell) if re.fullmatch(r"[+-]?\d{1,16}", cell, re.ASCII) else float(cell)
    if abs(value) > LARGEST_NUMBER:
        raise ValueError("The number is too large. Make the trait a text.")
    return value


def _boolean(cell: str) -> bool:
    word = cell.casefold()
    if word not in TRUE | FALSE:
        raise ValueError("This is neither yes nor no (true, false, yes, no, 1, 0).")
    return word in TRUE


def shortened(text: str, length: int = SHOWN) -> str:
    """Return `text` as it can be stored and shown: at most `length` characters, what cannot be stored as �."""
    clean = UNREADABLE.sub("�", text)
    return clean if len(clean) <= length else clean[: length - 1] + "…"
