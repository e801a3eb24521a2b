"""A store that trickles: *Test connection* ends all the same."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest
from pytest_django import Settings
from pytest_httpserver import HTTPServer

from engage.tenancy.models import App
from sync import sources
from sync.csv_rows import Layout
from sync.s3 import Bucket
from sync.storage import Location, StorageProblem
from tests.sync.conftest import REGION


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


def test_a_store_that_trickles_holds_no_thread(app: App, trickling: str, settings: Settings) -> None:
    settings.ENGAGE_PRIVATE_HOSTS = [trickling.removeprefix("http://")]
    settings.ENGAGE_ATTEMPT_TIMEOUT = 1
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
