"""Stores that trickle, or have no end: whoever reads them ends all the same."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from zoneinfo import ZoneInfo

import pytest
from django.db import connection as database
from pytest_django import Settings
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from engage.tenancy.models import App
from sync import imports, s3, sources
from sync.csv_rows import Layout
from sync.models import ImportRun, RunState, Source
from sync.s3 import CHUNK, Bucket
from sync.storage import Location, StorageProblem
from tests.sync.conftest import REGION, TestBucket

SIZE = 10_000
LISTING = (
    "<ListBucketResult><Name>exports</Name><Contents><Key>a.csv</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
    f"<ETag>&quot;e&quot;</ETag><Size>{SIZE}</Size></Contents></ListBucketResult>"
)
HEADERS = f'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: {SIZE}\r\n'


@pytest.fixture
def trickling() -> Iterator[str]:
    """A store that sends a byte of its answer every 50 ms, so that no single read takes long."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def trickle(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            sock.recv(65536)
            sock.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not over.wait(0.05):
                sock.sendall(b"x")

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listening.accept()
                threading.Thread(target=trickle, args=(sock,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    over.set()
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


@pytest.fixture
def trickles(settings: Settings) -> Iterator[Callable[[str], Location]]:
    """Return a function that starts a store: it lists its file at once, and after these headers trickles on the same connection."""
    listening = socket.create_server(("127.0.0.1", 0))
    host = f"127.0.0.1:{listening.getsockname()[1]}"
    settings.ENGAGE_PRIVATE_HOSTS = [host]
    over = threading.Event()
    begin: list[str] = []

    def answer(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            sock.recv(65536)
            sock.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(LISTING)}\r\n\r\n{LISTING}".encode())
            sock.recv(65536)
            sock.sendall(begin[0].encode())
            while not over.wait(0.05):
                sock.sendall(b"x")

    def serve() -> None:
        with contextlib.suppress(OSError):
            answer(listening.accept()[0])

    def start(headers: str) -> Location:
        begin.append(headers)
        threading.Thread(target=serve, daemon=True).start()
        return Location("exports", "", REGION, f"http://{host}", "AKIAREADER", "secret-of-the-reader")

    yield start
    over.set()
    listening.close()


def test_a_list_that_trickles_ends_in_time(trickling: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ENGAGE_PRIVATE_HOSTS = [trickling.removeprefix("http://")]
    monkeypatch.setattr(s3, "LIST_SECONDS", 0.5)
    begun = time.monotonic()
    with pytest.raises(StorageProblem, match="too long to list") as problem:
        Bucket(Location("exports", "", REGION, trickling, "AKIAREADER", "secret-of-the-reader")).files()
    assert time.monotonic() - begun < 6
    assert not problem.value.lasting


@pytest.mark.parametrize("headers", [f"{HEADERS}\r\n", f"{HEADERS}X-Slow: "], ids=["body", "headers"])
def test_a_file_that_trickles_over_the_connection_of_its_list_ends_in_time(
    trickles: Callable[[str], Location], monkeypatch: pytest.MonkeyPatch, headers: str
) -> None:
    monkeypatch.setattr(s3, "CHUNK_SECONDS", 0.5)
    store = Bucket(trickles(headers))
    (file,) = store.files()
    begun = time.monotonic()
    with pytest.raises(StorageProblem, match=r"too slow to read a\.csv") as problem:
        list(store.open(file))
    assert time.monotonic() - begun < 6
    assert not problem.value.lasting


def test_only_the_reading_counts_and_not_what_becomes_of_it(
    bucket: TestBucket, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"user_id\n" + b"1\n" * 40 * CHUNK  # more than the sockets hold
    bucket.put("a.csv", content)
    monkeypatch.setattr(s3, "CHUNK_SECONDS", 1)
    store = Bucket(Location("exports", "", REGION, s3_url, "AKIAREADER", "secret-of-the-reader"))
    with contextlib.closing(store.open(store.files()[0])) as download:
        pieces = iter(download)
        read = len(next(pieces))
        time.sleep(1.2)
        read += sum(map(len, pieces))
    assert read == len(content)


@pytest.mark.django_db(transaction=True)
def test_a_source_stays_with_who_reads_a_slow_store(
    source: Source, httpserver: HTTPServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease is renewed while the list is waited for, and the file."""
    monkeypatch.setattr(imports, "BEAT", 0.02)
    settings.ENGAGE_PRIVATE_HOSTS = [f"{httpserver.host}:{httpserver.port}"]
    Source.objects.update(endpoint_url=httpserver.url_for("").rstrip("/"), prefix="")
    rows = b"user_id,plan\n" + b"1,gold\n" * 10
    seen: list[bool] = []

    def slowly(body: bytes) -> Callable[[Request], Response]:
        def handler(_: Request) -> Response:
            try:
                first = Source.objects.get().lease_until
                seen.append(any(Source.objects.get().lease_until != first for _ in range(5_000)))
            finally:
                database.close()
            return Response(body, headers={"ETag": '"e"'})

        return handler

    listing = LISTING.replace(f"<Size>{SIZE}", f"<Size>{len(rows)}").encode()
    httpserver.expect_request("/exports").respond_with_handler(slowly(listing))
    httpserver.expect_request("/exports/a.csv").respond_with_handler(slowly(rows))
    imports.import_source(Source.objects.get(), started_by="test")
    assert seen == [True, True]
    assert ImportRun.objects.get().state == RunState.DONE
    assert Source.objects.get().lease_until is None


def test_a_store_that_trickles_holds_no_thread(app: App, trickling: str, settings: Settings) -> None:
    settings.ENGAGE_PRIVATE_HOSTS = [trickling.removeprefix("http://")]
    settings.ENGAGE_ATTEMPT_TIMEOUT = 1.0
    location = Location("exports", "", REGION, trickling, "AKIAREADER", "secret-of-the-reader")
    begun = time.monotonic()
    found = sources.test(app, location, Layout("user_id", {}, {}, ZoneInfo("UTC")))
    assert time.monotonic() - begun < 6  # botocore waits a little before it tries again
    assert not found.passed
    assert "took longer than 1 seconds in all" in found.lines[-1].text


@pytest.mark.parametrize("answer", ["", "<ListBucketResult></ListBucketResult>"])
def test_an_answer_without_a_list_is_not_an_empty_bucket(
    httpserver: HTTPServer, settings: Settings, answer: str
) -> None:
    settings.ENGAGE_PRIVATE_HOSTS = [f"{httpserver.host}:{httpserver.port}"]
    httpserver.expect_request("/exports").respond_with_data(answer, content_type="application/xml")
    location = Location("exports", "", REGION, httpserver.url_for("").rstrip("/"), "AKIAREADER", "secret-of-the-reader")
    with pytest.raises(StorageProblem, match="breaks off"):
        Bucket(location).files()


@pytest.mark.parametrize("missing", ["Key", "LastModified", "ETag", "Size"])
def test_a_list_that_leaves_out_what_a_file_is_known_by_is_told(
    httpserver: HTTPServer, settings: Settings, missing: str
) -> None:
    settings.ENGAGE_PRIVATE_HOSTS = [f"{httpserver.host}:{httpserver.port}"]
    listing = re.sub(f"<{missing}>.*</{missing}>", "", LISTING)
    httpserver.expect_request("/exports").respond_with_data(listing, content_type="application/xml")
    location = Location("exports", "", REGION, httpserver.url_for("").rstrip("/"), "AKIAREADER", "secret-of-the-reader")
    with pytest.raises(StorageProblem, match=f"without its {missing}"):
        Bucket(location).files()


def test_a_file_of_unknown_length_is_told(httpserver: HTTPServer, settings: Settings) -> None:
    settings.ENGAGE_PRIVATE_HOSTS = [f"{httpserver.host}:{httpserver.port}"]
    httpserver.expect_request("/exports").respond_with_data(LISTING, content_type="application/xml")
    pieces = Response(iter([b"user_id"]), headers={"ETag": '"e"'})
    httpserver.expect_request("/exports/a.csv").respond_with_response(pieces)
    location = Location("exports", "", REGION, httpserver.url_for("").rstrip("/"), "AKIAREADER", "secret-of-the-reader")
    store = Bucket(location)
    with pytest.raises(StorageProblem, match="Content-Length"):
        store.open(store.files()[0])
