"""CSV files as people and tools write them: a right import or a clear error, never a silent loss."""

import contextlib
import csv
import io
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.csv_rows import SEPARATOR, BadFile, BadRow, Layout, Reading, Table, trait_name

LAYOUT = Layout("user_id")


class Row(NamedTuple):
    """A row that can be imported, with its traits as they are said."""

    line: int
    user_id: str
    traits: dict[str, Any]


def read(content: str | bytes, layout: Layout = LAYOUT, piece: int = 1 << 16) -> list[Row | BadRow]:
    data = content.encode() if isinstance(content, str) else content
    pieces = (data[start : start + piece] for start in range(0, len(data), piece))
    reading = Reading(Table(pieces, id_column=layout.id_column), layout)
    found: list[Row | BadRow] = []
    for block in reading.blocks():
        for line, user_id, _, _, texts, typed in block.rows:
            cells = texts.split(SEPARATOR) if reading.names else []
            said = {name: cell for name, cell in zip(reading.names, cells, strict=True) if cell}
            found.append(Row(line, user_id, {**said, **json.loads(typed)}))
        found += block.rejected
    return sorted(found, key=lambda row: row.line)


def good(content: str | bytes, layout: Layout = LAYOUT) -> list[Row]:
    found = read(content, layout)
    assert all(isinstance(row, Row) for row in found), found
    return [row for row in found if isinstance(row, Row)]


def test_columns_become_traits_by_the_mapping_or_by_their_own_name() -> None:
    layout = Layout("Customer ID", {"Email Address": "email", "Churn risk": ""})
    content = "Customer ID,Email Address,Churn risk,Subscriber Status\n7,a@example.com,high,active\n"
    assert good(content, layout) == [Row(2, "7", {"email": "a@example.com", "subscriber_status": "active"})]


def test_the_id_column_becomes_a_trait_only_when_it_is_mapped() -> None:
    layout = Layout("customer id ", {"Customer ID": "cleeng_customer_id"})
    assert good("Customer ID,Plan\n7,gold\n", layout)[0].traits == {"cleeng_customer_id": "7", "plan": "gold"}


def test_an_empty_cell_says_nothing() -> None:
    assert good("user_id,plan,email\n7,,a@example.com\n")[0].traits == {"email": "a@example.com"}


@pytest.mark.parametrize(
    "content",
    [
        "user_id,name\n7,Zoë\n".encode(),
        "\ufeffuser_id,name\n7,Zoë\n".encode(),
        "user_id,name\r\n7,Zoë\r\n".encode(),
        "user_id,name\r7,Zoë\r".encode(),
        "\r\n\nuser_id,name\n\n7,Zoë\n\n,\n".encode(),
        "user_id;name\n7;Zoë\n".encode(),
        "user_id\tname\n7\tZoë".encode(),
        "user_id|name\n7|Zoë".encode(),
        "sep=;\nuser_id;name\n7;Zoë\n".encode(),
        '\ufeff"sep=;"\r\nuser_id;name\r\n7;Zoë\r\n'.encode(),
        "sep=^\nuser_id^name\n7^Zoë\n".encode(),
        '"user_id","name"\n"7","Zoë"\n'.encode(),
        "user_id,name\n7,Zoë\n".encode("latin-1"),
        "user_id,name\n7,Zoë\n".encode("utf-16"),
        "\ufeffuser_id,name\n7,Zoë\n".encode("utf-16-be"),
        "user_id,name\n7,Zoë\n".encode("utf-16-le"),
        "user_id,name\n7,Zoë\n".encode("utf-16-be"),
    ],
)
def test_the_same_row_however_the_file_was_saved(content: bytes) -> None:
    found = good(content)
    assert [(row.user_id, row.traits) for row in found] == [("7", {"name": "Zoë"})]


def test_a_file_that_is_not_utf8_is_read_and_said() -> None:
    table = Table([b"user_id,name\n7,Zo\xeb\n"])
    assert "Windows-1252" in table.notes[0]


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    content = 'sep=,\nuser_id,note\n1,"two\nlines"\n,x\n3,ok\n'
    assert [row.line for row in read(content)] == [4, 5, 6]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n\n \n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"id,name\n7,x\n", "no column “user_id”.*The file has: id, name"),
        (b"user_id,User_ID\n7,8\n", "there 2 times"),
        (b"user_id,Plan,plan\n7,a,b\n", "“Plan” and “plan” would both become the trait plan"),
        (b',,\n7,a,b\n', "no header"),
        (b'user_id,"name\n7,a\n', "quotation mark is not closed"),
        (b"user_id,a\x00b\n7,a\n", "The header is not text"),
        (b"user_id," + b",".join(b"c%d" % n for n in range(201)) + b"\n", "at most 200"),
        (b"x" * (17 * 1024 * 1024), "A line is longer"),
        (b'user_id,note\n1,"' + b"long line\n" * 20_000 + b'"\n', "does not end within 128 KB"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_whole_file_is_said(content: bytes, said: str) -> None:
    with pytest.raises(BadFile, match=said):
        read(content)


@pytest.mark.parametrize(
    ("row", "column", "said"),
    [
        (b",x", "user_id", "The id is empty"),
        (b"a\x01b,x", "user_id", "control characters"),
        (b"i" * 201 + b",x", "user_id", "at most 200"),
        (b"7", "", "has 1 cells, the header 2"),
        (b"7,a,b", "", "has 3 cells, the header 2"),
        (b"7,a\x00b", "note", "NUL"),
        (b'7,"a"b', "", "quotation mark"),
        (b"7," + b"x" * 2001, "note", "2,001 characters"),
        (b"7," + b"x" * 5_000_000, "", "A cell is longer than"),
    ],
)
def test_a_row_that_cannot_be_is_told_and_the_next_one_is_read(row: bytes, column: str, said: str) -> None:
    found = read(b"user_id,note\n" + row + b"\n8,fine\n")
    assert len(found) == 2
    assert isinstance(found[0], BadRow)
    assert (found[0].line, found[0].column) == (2, column)
    assert said in found[0].reason
    assert len(found[0].value) <= 120
    assert found[1] == Row(3, "8", {"note": "fine"})


def test_bytes_of_another_encoding_late_in_the_file_reject_their_row_only() -> None:
    found = read(b"user_id,name\n" + b"7,plain\n" * 20_000 + b"8,Zo\xeb\n9,fine\n")
    assert [(row.line, row.column) for row in found if isinstance(row, BadRow)] == [(20_002, "name")]
    assert found[-1] == Row(20_003, "9", {"name": "fine"})


def test_a_quotation_mark_that_is_never_closed_loses_nothing_silently() -> None:
    found = read('user_id,note\n1,fine\n2,"open\n3,swallowed\n4,swallowed\n')
    assert found[0] == Row(2, "1", {"note": "fine"})
    assert isinstance(found[1], BadRow)
    assert "line 3" in found[1].reason
    assert "up to 5" in found[1].reason


TYPED = Layout(
    "user_id", types={"age": "number", "vip": "boolean", "since": "date"}, zone=ZoneInfo("Europe/Paris")
)  # fmt: skip


@pytest.mark.parametrize(
    ("age", "vip", "since", "expected"),
    [
        ("41", "yes", "2026-01-02", {"age": 41, "vip": True, "since": "2026-01-02"}),
        ("-0.5", "FALSE", "2026-07-02 10:00:00", {"age": -0.5, "vip": False, "since": "2026-07-02T08:00:00Z"}),
        ("1e3", "0", "2026-01-02T10:00:00+05:00", {"age": 1000.0, "vip": False, "since": "2026-01-02T05:00:00Z"}),
    ],
)
def test_cells_are_read_as_their_traits_type(age: str, vip: str, since: str, expected: dict[str, object]) -> None:
    assert good(f"user_id,age,vip,since\n7,{age},{vip},{since}\n", TYPED)[0].traits == expected


@pytest.mark.parametrize(
    ("cells", "column"),
    [("x,,", "age"), ("1_000,,", "age"), ("nan,,", "age"), ("1e999,,", "age"),
     ("99999999999999999999,,", "age"), ("\u0661,,", "age"),
     (",maybe,", "vip"), (",,02.01.2026", "since"), (",,2026-13-01", "since")],
)  # fmt: skip
def test_a_cell_that_does_not_fit_its_type_rejects_the_row(cells: str, column: str) -> None:
    (row,) = read(f"user_id,age,vip,since\n7,{cells}\n", TYPED)
    assert isinstance(row, BadRow)
    assert row.column == column


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("Customer ID", "customer_id"),
        ("  E-Mail  (work)", "e_mail_work"),
        ("Größe", "grosse"),
        ("2fa", "column_2fa"),
        ("名前", "column"),
    ],
)
def test_a_columns_own_name_in_snake_case(column: str, name: str) -> None:
    assert trait_name(column) == name


# --- against Python's csv module ------------------------------------------------------------------------------------------

text = st.text(st.characters(blacklist_categories=("Cs", "Cc"), max_codepoint=0x2FFF), max_size=12) | st.sampled_from(
    ['"', '""', ",", ";", "\n", "\r\n", "\r", "'", "a,b", 'say "hi"', "sep=;", "\t"]
)


@given(
    cells=st.lists(st.lists(text, min_size=2, max_size=2), min_size=1, max_size=8),
    delimiter=st.sampled_from([",", ";", "\t"]),
    # With QUOTE_MINIMAL, csv leaves a lone carriage return unquoted where lines end in a line feed only.
    style=st.sampled_from([("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    piece=st.integers(1, 64),
)
def test_whatever_pythons_csv_writes_is_read_back(
    cells: list[list[str]], delimiter: str, style: tuple[str, int], encoding: str, piece: int
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=style[0], quoting=style[1])  # type: ignore[arg-type]  # any int of csv's
    writer.writerows([["user_id", "first", "second"], *[[f"u{n}", *row] for n, row in enumerate(cells)]])
    data = out.getvalue().encode(encoding)
    found = read(data, piece=piece)
    expected = [
        {name: cell.strip() for name, cell in zip(("first", "second"), row, strict=True) if cell.strip()}
        for row in cells
    ]
    assert [(row.user_id, row.traits) for row in found if isinstance(row, Row)] == [
        (f"u{number}", traits) for number, traits in enumerate(expected)
    ]
    assert len(found) == len(cells)


@given(
    st.lists(
        st.sampled_from(
            [b"user_id", b",", b";", b'"', b"\n", b"\r", b"\x00", b"\xff", b"\xc3", b"a", b"sep=", b"\xff\xfe", b" "]
        ),
        max_size=40,
    )
)
def test_no_bytes_at_all_cause_anything_but_rows_or_a_clear_error(parts: list[bytes]) -> None:  # fmt: skip
    data = b"".join(parts)

    def pieces() -> Iterator[bytes]:
        yield data

    with contextlib.suppress(BadFile):
        for block in Reading(Table(pieces(), id_column="user_id"), LAYOUT).blocks():
            assert all(row[0] > 1 for row in block.rows)
            assert all(row.line > 1 for row in block.rejected)


@given(
    st.lists(st.lists(st.sampled_from(["x", '"', ",", "\n", "y z"]), max_size=6).map("".join), min_size=1, max_size=20)
)
def test_every_record_of_the_reference_is_a_row_or_a_rejected_one(lines: list[str]) -> None:
    content = "user_id,note\n" + "\n".join(lines) + "\n"
    try:
        reference = [row for row in csv.reader(io.StringIO(content, newline=""), strict=True) if any(row)][1:]
    except csv.Error:
        assert any(isinstance(row, BadRow) for row in read(content))
        return
    found = read(content)
    assert len(found) == len(reference)
    for row, cells in zip(found, reference, strict=True):
        if len(cells) == 2 and cells[0].strip() and cells[0].isprintable():
            assert isinstance(row, Row)
            assert row.user_id == cells[0].strip()
