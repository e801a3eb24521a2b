"""From the bytes of a CSV file to rows, in constant memory. Nothing here knows a database or a network.

Python's csv module reads the rows, strictly: an unclosed quotation mark is an error and not a silent swallowing of what
follows. What cannot be read at all is a `BadFile`; what concerns one row is a `BadRow`, and the next row is read.
"""

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import chain
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sync.models import TraitType
from sync.traits import LARGEST_NUMBER, LONGEST_TEXT, MOST_TRAITS, wrong_name, wrong_user_id

LONGEST_LINE = 16 * 1024 * 1024  # characters: more without a line's end is no CSV
DELIMITERS = (",", ";", "\t", "|")
SAMPLE = 64 * 1024
SHOWN = 120
# NUL, and bytes that are not of the file's encoding (they are carried as a lone surrogate).
UNREADABLE = re.compile("[\x00\ud800-\udfff]")
UNREADABLE_BYTES = "engage_unreadable"


def _unreadable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(UNREADABLE_BYTES, _unreadable)
TRUE = frozenset({"true", "yes", "1", "t", "y"})
FALSE = frozenset({"false", "no", "0", "f", "n"})


class BadFile(ValueError):
    """The whole file cannot be imported; the text says why, for the person who can mend it."""


class Row(NamedTuple):
    """A row that can be imported. `line` is the file's line (from 1) on which it ends."""

    line: int
    user_id: str
    traits: dict[str, Any]


class BadRow(NamedTuple):
    """A row that cannot be imported. `value` is shortened."""

    line: int
    column: str
    reason: str
    value: str


@dataclass(frozen=True)
class Layout:
    """How a source's columns become an id and traits."""

    id_column: str
    mapping: Mapping[str, str] = field(default_factory=dict)  # column -> trait, "" leaves it out
    types: Mapping[str, str] = field(default_factory=dict)  # trait -> TraitType; text when it is not named
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))  # of times without a zone


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
    """A CSV file whose header has been read: `columns`, `notes` (what a person should know), and `records()`."""

    def __init__(self, pieces: Iterable[bytes], *, id_column: str = "") -> None:
        """Read the header. `id_column` helps to tell which delimiter is meant.

        Raises:
            BadFile: it is empty, or no text.
        """
        self.notes: list[str] = []
        self._line = 0  # lines read so far; the csv module asks for one at a time
        iterator, sample = iter(pieces), b""
        while len(sample) < SAMPLE and (piece := next(iterator, None)) is not None:
            sample += piece
        raw = io.BufferedReader(_Bytes(chain([sample], iterator)), SAMPLE)
        self._text = io.TextIOWrapper(
            raw, encoding=self._encoding(sample[:SAMPLE]), errors=UNREADABLE_BYTES, newline=""
        )
        first = self._readline()
        while first and not first.strip():
            first = self._readline()
        if not first:
            raise BadFile("The file is empty.")
        said = re.fullmatch(r'"?sep=(.)"?\s*', first)
        if said:
            self.delimiter, first = said[1], self._readline()
        else:
            self.delimiter = _delimiter(first, id_column)
        self._reader = csv.reader(self._lines(first), delimiter=self.delimiter, strict=True)
        try:
            header = next(self._reader, [])
        except csv.Error:
            raise BadFile("The header cannot be read: a quotation mark is not closed, or a name is too long.") from None
        if any(UNREADABLE.search(name) for name in header):
            raise BadFile("The header is not text in UTF-8 or Windows-1252. Save the file as “CSV UTF-8”.")
        self.columns = [name.strip() for name in header]
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
        self._line += bool(line)
        return line

    def _lines(self, first: str) -> Iterator[str]:
        yield first
        yield from iter(self._readline, "")

    def records(self) -> Iterator[tuple[int, list[str]] | BadRow]:
        """Yield (line, cells) for each row below the header; blank rows are left out.

        Raises:
            BadFile: where rows begin and end can no longer be told.
        """
        width = len(self.columns)
        before = self._line
        while True:
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield self._broken(before + 1, str(error))
            else:
                line = self._line
                if len(cells) == width:
                    if any(cells):
                        yield line, cells
                elif any(cells):
                    reason = f"The row has {len(cells):,} cells, the header {width:,}."
                    yield BadRow(line, "", reason, shortened(self.delimiter.join(cells)))
            before = self._line

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
    folded = [_folded(name) for name in table.columns]
    places = [index for index, name in enumerate(folded) if name == _folded(layout.id_column)]
    if not places:
        found = ", ".join(shortened(name, 40) for name in table.columns[:30] if name)
        raise BadFile(f"There is no column “{layout.id_column}”, which holds the id. The file has: {found}.")
    if len(places) > 1:
        raise BadFile(f"The column “{layout.id_column}”, which holds the id, is there {len(places)} times.")
    named = {_folded(column): trait for column, trait in layout.mapping.items()}
    traits: dict[int, str] = {}
    for index, column in enumerate(folded):
        trait = named.get(column, "" if index == places[0] or not column else trait_name(table.columns[index]))
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
    return places[0], traits


def rows(table: Table, layout: Layout) -> Iterator[Row | BadRow]:
    """Yield every row below the header: as it can be stored, or why it cannot. An empty cell says nothing and is left out.

    Raises:
        BadFile: see `plan` and `Table.records`.
    """
    id_place, traits = plan(table, layout)
    readers = [
        (index, trait, reader_of(layout.types.get(trait, TraitType.TEXT), layout.zone))
        for index, trait in traits.items()
    ]
    for record in table.records():
        yield record if isinstance(record, BadRow) else _row(table, record, id_place, readers)


Reader = Callable[[str], Any]


def _row(
    table: Table, record: tuple[int, list[str]], id_place: int, readers: list[tuple[int, str, Reader]]
) -> Row | BadRow:
    line, cells = record
    if UNREADABLE.search("".join(cells)):
        index = next(place for place, cell in enumerate(cells) if UNREADABLE.search(cell))
        what = "a NUL character" if "\x00" in cells[index] else "bytes that are not in the file's encoding"
        return BadRow(line, table.columns[index], f"The cell holds {what}.", shortened(cells[index]))
    user_id = cells[id_place].strip()
    wrong = wrong_user_id(user_id)
    if wrong:
        return BadRow(line, table.columns[id_place], wrong if user_id else "The id is empty.", shortened(user_id))
    values = {}
    for index, trait, reader in readers:
        cell = cells[index].strip()
        if cell:
            try:
                values[trait] = reader(cell)
            except ValueError as error:
                return BadRow(line, table.columns[index], str(error), shortened(cell))
    return Row(line, user_id, values)


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
    return {TraitType.NUMBER.value: _number, TraitType.BOOLEAN.value: _boolean}.get(str(type_), _text)


def _text(cell: str) -> str:
    if len(cell) > LONGEST_TEXT:
        raise ValueError(f"The cell has {len(cell):,} characters; a trait has at most {LONGEST_TEXT:,}.")
    return cell


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
