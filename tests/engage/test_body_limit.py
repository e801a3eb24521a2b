"""What is too large is refused before anything of it is read."""

import io
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as django_settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from connectors.inbound import LARGEST_BODY
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from sync.models import Access, ImportRun
from tests.factories import SourceFactory

pytestmark = pytest.mark.django_db
Console = Callable[[Role], Client]
MOST = django_settings.DATA_UPLOAD_MAX_MEMORY_SIZE
TOKEN = "t" * 32  # anybody can make one up: the cookie is the sender's own
LARGE = SimpleUploadedFile("people.csv", b"user_id\n" + b"1\n" * MOST)


def send(path: str, content: bytes, client: Client | None = None, /, **headers: str) -> tuple[int, int]:
    """Send a form with a file as anybody can, or a client. Returns the status, and how many bytes of it were read."""
    client = client or Client(enforce_csrf_checks=True)
    client.cookies[django_settings.CSRF_COOKIE_NAME] = TOKEN
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    body = io.BytesIO(head + content + b"\r\n--x--\r\n")
    extra: dict[str, Any] = {"CONTENT_TYPE": "multipart/form-data; boundary=x", "wsgi.input": body, **headers}
    if "CONTENT_LENGTH" in headers:
        extra["CONTENT_LENGTH"] = str(len(body.getvalue()))
    answer = client.generic("POST", path, **extra)
    return answer.status_code, body.tell()


@pytest.mark.parametrize(
    "path", [reverse("admin:login"), reverse("admin:sync_source_upload", args=[UUID(int=0)]), "/api/v1/events"]
)
def test_nothing_large_is_read_of_anybody(path: str) -> None:
    assert send(path, b"x" * MOST, CONTENT_LENGTH="") == (413, 0)


def test_what_a_form_may_hold_is_read() -> None:
    status, read = send(reverse("admin:login"), b"x" * 1000, CONTENT_LENGTH="")
    assert status == 403, "there is no token in it"
    assert read > 1000


@pytest.mark.parametrize("headers", [{}, {"HTTP_TRANSFER_ENCODING": "chunked"}])
def test_nothing_is_read_of_what_does_not_say_its_length(headers: dict[str, str]) -> None:
    assert send(reverse("admin:login"), b"x" * MOST, **headers) == (403, 0)


@pytest.mark.parametrize(("role", "status"), [(Role.APP_ADMIN, 302), (Role.READ_ONLY, 413)])
def test_a_large_file_is_taken_of_who_may_upload(console: Console, app: App, role: Role, status: int) -> None:
    source = SourceFactory(app=app, access=Access.UPLOAD)
    LARGE.seek(0)
    answer = console(role).post(reverse("admin:sync_source_upload", args=[source.pk]), {"file": LARGE})
    assert answer.status_code == status
    assert ImportRun.objects.exists() == (status == 302)


def upload(client: Client, app: App) -> tuple[int, str]:
    """Upload a file by hand. Returns the status and what the page says."""
    LARGE.seek(0)
    path = reverse("admin:sync_source_upload", args=[SourceFactory(app=app, access=Access.UPLOAD).pk])
    answer = client.post(path, {"file": LARGE})
    return answer.status_code, answer.content.decode()


def test_a_page_says_how_large_a_file_may_be_and_what_to_do(console: Console, app: App, settings: Settings) -> None:
    settings.ENGAGE_UPLOAD_MOST = 1_000_000
    status, page = upload(console(Role.APP_ADMIN), app)
    assert status == 413
    assert "4.2 MB were sent, and nothing of it was saved." in page
    assert "may have 1 MB" in page
    assert "gzip" in page
    assert "<h1>" in page


def test_a_page_says_how_much_a_form_may_bring(console: Console, app: App) -> None:
    status, page = upload(console(Role.READ_ONLY), app)
    assert status == 413
    assert "A page takes 2.1 MB." in page
    assert "file" not in page, "they may upload none"


@pytest.mark.parametrize(("most", "is_read"), [(1_000_000, True), (1000, False)])
def test_who_is_signed_in_gets_the_answer_once_all_is_read_up_to_a_limit(
    console: Console, settings: Settings, most: int, is_read: bool
) -> None:
    settings.ENGAGE_UPLOAD_MOST = most
    status, read = send(reverse("admin:index"), b"x" * MOST, console(Role.READ_ONLY), CONTENT_LENGTH="")
    assert (status, read > MOST) == (413, is_read)


def test_machines_may_send_no_more_than_people() -> None:
    assert max(LARGEST_BODY, django_settings.ENGAGE_API_BODY_LIMIT) <= MOST
