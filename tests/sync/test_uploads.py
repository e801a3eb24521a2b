"""Files uploaded by hand: looked at first, then imported by the source's rules on the same path, once."""

import gzip
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from engage.audit.models import Entry
from engage.retention import purge
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from sync import schedule, uploads
from sync.imports import import_source
from sync.models import Access, ImportRun, RunState, Source, Subscriber, Trait, TraitColumn, TraitType, UploadPart
from sync.storage import StorageProblem
from tests.factories import SourceFactory

pytestmark = pytest.mark.django_db
Console = Callable[[Role], Client]
CSV = b"user_id,Age,Email Address,Postcode\nann,44,ann@example.com,01234\nbob,,bob@example.com,99999\n,5,x,1\n"


@pytest.fixture
def by_hand(app: App) -> Source:
    """A source without a bucket."""
    source: Source = SourceFactory(
        app=app, access=Access.UPLOAD, bucket="", prefix="", access_key_id="", id_column="user_id", secrets={}
    )
    return source


def upload(client: Client, source: Source, content: bytes = CSV, name: str = "people.csv") -> Any:
    url = reverse("admin:sync_source_upload", args=[source.pk])
    return client.post(url, {"file": SimpleUploadedFile(name, content)})


def page(run: ImportRun) -> str:
    return reverse("admin:sync_importrun_change", args=[run.pk])


@pytest.mark.parametrize("compress", [False, True])
def test_an_upload_is_looked_at_and_then_imported_like_any_file(
    console: Console, app: App, by_hand: Source, *, compress: bool
) -> None:
    Trait.objects.create(app=app, name="age", type=TraitType.NUMBER)
    client = console(Role.APP_ADMIN)
    answer = upload(client, by_hand, gzip.compress(CSV) if compress else CSV)
    run = ImportRun.objects.get()
    sources = client.get(reverse("admin:sync_source_changelist")).content.decode()
    assert "Waiting for first file" in sources
    assert answer.headers["Location"] == page(run)
    shown = client.get(page(run))
    preview = shown.context["preview"]
    assert [(c.name, c.trait, c.found_words, c.known_words) for c in preview.columns] == [
        ("user_id", "", "Text", ""),
        ("Age", "age", "Number", "Number"),
        ("Email Address", "email_address", "Text", ""),
        ("Postcode", "postcode", "Text", ""),
    ]
    assert (preview.looked_at, preview.rejected, len(preview.rows)) == (3, 1, 3)
    assert "ann@example.com" in shown.content.decode()
    assert not Subscriber.objects.exists()
    client.post(reverse("admin:sync_importrun_take", args=[run.pk]))
    waiting = client.get(page(run)).content.decode()
    assert "Waits for a worker" in waiting
    assert "hx-trigger" in waiting
    import_source(by_hand, started_by="test")
    run.refresh_from_db()
    assert (run.state, run.rows_read, run.rows_new, run.rows_rejected) == (RunState.DONE_WITH_REJECTED, 3, 2, 1)
    assert Subscriber.objects.get(user_id="ann").traits == {
        "age": 44,
        "email_address": "ann@example.com",
        "postcode": "01234",
    }
    assert not UploadPart.objects.exists()
    assert list(Entry.objects.filter(kind="importrun").order_by("pk").values_list("verb", flat=True)) == [
        "uploaded",
        "asked for",
    ]
    assert TraitColumn.objects.get(trait__name="email_address").column == "Email Address"


def test_a_large_upload_arrives_whole_in_parts(by_hand: Source) -> None:
    content = b"user_id,n\n" + b"".join(b"%d,%d\n" % (n, n) for n in range(60_000))
    assert len(content) > 2 * uploads.PART
    with TemporaryUploadedFile("big.csv", "text/csv", len(content), "utf-8") as file:
        file.write(content)
        file.seek(0)
        run = uploads.keep(by_hand, file, "somebody")
    assert b"".join(uploads.open_upload(run)) == content
    ImportRun.objects.update(state=RunState.STOPPED)
    import_source(by_hand, started_by="test")
    assert Subscriber.objects.count() == 60_000


def test_the_same_bytes_are_taken_once(console: Console, by_hand: Source) -> None:
    client = console(Role.APP_ADMIN)
    upload(client, by_hand)
    again = upload(client, by_hand, name="other.csv").content.decode()
    assert "This very file was uploaded here before." in again
    assert page(ImportRun.objects.get()) in again


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "The file is empty."), (b"x" * 2_000_001, "2 MB can be uploaded by hand")]
)
def test_what_is_not_taken_is_said(
    console: Console, by_hand: Source, settings: Settings, content: bytes, said: str
) -> None:
    settings.ENGAGE_UPLOAD_MOST = 2_000_000
    assert said in upload(console(Role.APP_ADMIN), by_hand, content).content.decode()
    assert not ImportRun.objects.exists()


def test_no_file_is_said(console: Console, by_hand: Source) -> None:
    answer = console(Role.APP_ADMIN).post(reverse("admin:sync_source_upload", args=[by_hand.pk]))
    assert "Choose a file." in answer.content.decode()


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"id,x\n1,2\n", "There is no column “user_id”"), (b"PK\x03\x04....", ""), (b"user_id,x\n", "header and no rows")],
)
def test_what_cannot_be_imported_can_only_be_discarded(
    console: Console, by_hand: Source, content: bytes, said: str
) -> None:
    client = console(Role.APP_ADMIN)
    upload(client, by_hand, content)
    run = ImportRun.objects.get()
    shown = client.get(page(run)).content.decode()
    assert said in shown
    assert reverse("admin:sync_importrun_take", args=[run.pk]) not in shown
    client.post(reverse("admin:sync_importrun_discard", args=[run.pk]))
    assert not ImportRun.objects.exists()
    assert not UploadPart.objects.exists()


def test_an_upload_whose_bell_was_not_heard_is_found_by_the_tick(by_hand: Source) -> None:
    run = uploads.keep(by_hand, SimpleUploadedFile("a.csv", CSV), "somebody")
    assert schedule.left_behind(timezone.now()) == []
    ImportRun.objects.filter(pk=run.pk).update(state=RunState.STOPPED)
    assert schedule.left_behind(timezone.now()) == [by_hand.pk]


@pytest.mark.parametrize("state", [RunState.UPLOADED, RunState.FAILED])
def test_bytes_that_nobody_decided_about_are_forgotten_in_time(by_hand: Source, state: RunState) -> None:
    run = uploads.keep(by_hand, SimpleUploadedFile("a.csv", CSV), "somebody")
    ImportRun.objects.update(state=state)
    now = timezone.now()
    assert purge(now, seconds=60, pause=0)["parts of uploads"] == 0
    assert purge(now + uploads.FORGOTTEN_AFTER + timedelta(seconds=1), seconds=60, pause=0)["parts of uploads"] == 1
    with pytest.raises(StorageProblem, match="Upload it again"):
        uploads.open_upload(run)
    assert uploads.keep(by_hand, SimpleUploadedFile("b.csv", b"user_id,x\n1,2\n"), "somebody")


@pytest.mark.parametrize("state", [RunState.STOPPED, RunState.RUNNING])
def test_bytes_that_are_still_to_be_imported_stay_however_old_they_are(by_hand: Source, state: RunState) -> None:
    run = uploads.keep(by_hand, SimpleUploadedFile("a.csv", CSV), "somebody")
    ImportRun.objects.update(state=state)
    purge(timezone.now() + 10 * uploads.FORGOTTEN_AFTER, seconds=60, pause=0)
    assert b"".join(uploads.open_upload(run)) == CSV


@pytest.mark.parametrize("role", [Role.APP_MEMBER, Role.READ_ONLY])
def test_others_neither_upload_nor_decide(console: Console, by_hand: Source, role: Role) -> None:
    client = console(role)
    assert upload(client, by_hand).status_code == 403
    run = uploads.keep(by_hand, SimpleUploadedFile("a.csv", CSV), "somebody")
    for name in ("take", "discard"):
        assert client.post(reverse(f"admin:sync_importrun_{name}", args=[run.pk])).status_code == 403
    shown = client.get(page(run)).content.decode()
    assert ("ann@example.com" in shown) == (role == Role.APP_MEMBER)


def test_uploads_of_another_app_are_not_there(console: Console, other_app: App) -> None:
    theirs = SourceFactory(app=other_app, access=Access.UPLOAD)
    run = uploads.keep(theirs, SimpleUploadedFile("a.csv", CSV), "somebody")
    client = console(Role.COMPANY_ADMIN)
    assert upload(client, theirs).status_code == 404
    for name in ("take", "discard", "change"):
        assert client.post(reverse(f"admin:sync_importrun_{name}", args=[run.pk])).status_code == 404
