"""Rejected rows that are downloaded, mended and uploaded again: just those rows, with the values that they had."""

import csv
import io
from collections.abc import Callable
from contextlib import closing

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from engage.tenancy.models import App
from engage.tenancy.roles import Role
from sync import rejected, reports, uploads
from sync.csv_rows import ADDED_COLUMNS, LONGEST_KEPT
from sync.formulas import harmless, restored
from sync.imports import import_source
from sync.models import Access, ImportRun, RunState, Source, Subscriber, Trait, TraitType
from tests.factories import SourceFactory

Console = Callable[[Role], Client]
Table = list[list[str]]


@pytest.fixture
def by_hand(app: App) -> Source:
    """A source without a bucket, in an App whose trait `age` is a number."""
    Trait.objects.create(app=app, name="age", type=TraitType.NUMBER)
    source: Source = SourceFactory(
        app=app, access=Access.UPLOAD, bucket="", prefix="", access_key_id="", id_column="user_id", secrets={}
    )
    return source


def imported(source: Source, content: str, name: str = "people.csv") -> ImportRun:
    run = uploads.keep(source, SimpleUploadedFile(name, content.encode()), "somebody")
    ImportRun.objects.filter(pk=run.pk).update(state=RunState.STOPPED)
    import_source(source, started_by="test")
    run.refresh_from_db()
    return run


def downloaded(run: ImportRun) -> Table:
    text = "".join(rejected.lines(run))
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


def saved(table: Table) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(table)
    return "\ufeff" + text.getvalue()


def traits(user_id: str) -> dict[str, object]:
    return dict(Subscriber.objects.get(user_id=user_id).traits)


@pytest.mark.django_db
def test_rows_come_whole_and_are_imported_once_they_are_mended(by_hand: Source) -> None:
    long = "x" * 500
    first = imported(by_hand, f"user_id,age,note,@x\nann,44,hi,1\nbob,old,\"=1+1\n2\",+49 30\n,7,{long},'='\n")
    assert (first.rows_new, first.rows_rejected) == (1, 2)
    table = downloaded(first)
    assert table[0] == ["user_id", "age", "note", "'@x", *ADDED_COLUMNS]
    assert table[1][:6] == ["bob", "old", "'=1+1\n2", "'+49 30", "4", "age"]
    assert "not a number" in table[1][6]
    assert table[2][:6] == ["", "7", long, "''='", "5", "user_id"]
    table[1][1], table[2][0] = "45", "zoe"
    again = imported(by_hand, saved(table), "mended.csv")
    assert (again.state, again.rows_read, again.rows_new) == (RunState.DONE, 2, 2)
    assert traits("bob") == {"age": 45, "note": "=1+1\n2", "x": "+49 30"}
    assert traits("zoe") == {"age": 7, "note": long, "x": "'='"}
    assert not Trait.objects.filter(name__startswith="engage").exists()


@pytest.mark.django_db
def test_what_was_not_mended_is_rejected_again_and_comes_back_the_same(by_hand: Source) -> None:
    first = imported(by_hand, "user_id,age,note\nok,1,x\nbob,old,@a\nshort,1\nlong,2,x,y,=z\n")
    assert first.rows_rejected == 3
    table = downloaded(first)
    assert table[2][:3] == ["short", "1", ""]
    assert "2 cells for 3 columns" in table[2][6]
    assert table[3] == ["long", "2", "x", "5", "", "The row has 5 cells, the header 3.", "y | =z"]
    table.append(["eve", "5", "y", "", "", "", ""])
    again = imported(by_hand, saved(table), "mended.csv")
    assert (again.rows_new, again.rows_rejected) == (1, 3)
    back = downloaded(again)
    assert [row[:3] for row in back] == [row[:3] for row in table[:4]]
    assert [row[6] for row in back] == [row[6] for row in table[:4]]
    assert {row.reason for row in again.rejected_rows.exclude(column="age")} == {
        "Its cells did not fit the columns. Put each into its own, and empty engage_unfit."
    }
    back[2][6], back[3][:3], back[3][6] = "", ["long", "2", "xy"], ""
    assert imported(by_hand, saved(back), "mended again.csv").rows_new == 2
    assert traits("long") == {"age": 2, "note": "xy"}


@pytest.mark.django_db
def test_what_could_not_be_kept_is_said(console: Console, by_hand: Source) -> None:
    huge = ",".join(["x" * 1_999] * 11)
    names = ",".join(f"c{n}" for n in range(11))
    run = imported(by_hand, f'user_id,age,{names}\nok,1,{"," * 10}\nbad,old,{huge}\nb"ob,"x"y\nz,o\x1fld,{"," * 10}\n')
    assert len(huge) > LONGEST_KEPT
    table = downloaded(run)
    assert [(row[0], row[1], "could not be kept" in row[-1]) for row in table[1:]] == [
        ("", "", True),
        ("", "", True),
        ("z", "o�ld", False),
    ]
    page = console(Role.APP_ADMIN).get(reverse("admin:sync_importrun_change", args=[run.pk])).content.decode()
    assert "2 of them could not be kept" in page
    again = imported(by_hand, saved([*table, ["eve", *[""] * (len(table[0]) - 1)]]), "mended.csv")
    assert again.rows_rejected == 3


@pytest.mark.django_db
def test_a_mended_file_is_not_taken_for_one_that_was_cut_off(by_hand: Source) -> None:
    everybody = "".join(f"u{n},{n}\n" for n in range(50))
    first = imported(by_hand, f"user_id,age\n{everybody}bob,old\n")
    table = downloaded(first)
    table[1][1] = "5"
    mended = imported(by_hand, saved(table), "mended.csv")
    assert "mended download" in mended.message
    assert reports.fewer_than_usual(mended) == 0
    assert reports.fewer_than_usual(imported(by_hand, f"user_id,age\n{everybody}", "next.csv")) == 0
    assert reports.fewer_than_usual(imported(by_hand, "user_id,age\nann,1\n", "cut.csv")) == 98


@pytest.mark.django_db
def test_a_usual_file_keeps_its_apostrophes(by_hand: Source) -> None:
    imported(by_hand, "user_id,note\nann,'=1\n")
    assert traits("ann") == {"note": "'=1"}


@given(st.text(alphabet=st.sampled_from("'=+-@＝ \t\r\nab1"), max_size=8))  # noqa: RUF001
def test_a_cell_is_harmless_and_becomes_again_what_it_was(text: str) -> None:
    shown = harmless(text)
    assert shown[:1] not in set("=+-@\t\r\n＝")  # noqa: RUF001
    assert shown.lstrip()[:1] not in set("=+-@＝")  # noqa: RUF001
    assert restored(shown) == text


@pytest.mark.django_db
def test_the_preview_of_a_mended_file_leaves_the_added_columns_out(console: Console, by_hand: Source) -> None:
    first = imported(by_hand, "user_id,age\nok,1\nbob,old\n")
    table = downloaded(first)
    run = uploads.keep(by_hand, SimpleUploadedFile("m.csv", saved(table).encode()), "somebody")
    with closing(uploads.open_upload(run)) as download:
        assert b"engage_line" in b"".join(download)
    seen = console(Role.APP_ADMIN).get(reverse("admin:sync_importrun_change", args=[run.pk])).context["preview"]
    assert [column.trait for column in seen.columns] == ["", "age", "", "", "", ""]
