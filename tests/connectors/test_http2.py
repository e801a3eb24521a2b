"""The door over HTTP/2: the same rules, over a real connection with TLS."""

import gzip
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from h2.errors import ErrorCodes
from pytest_django.fixtures import Settings

from connectors.base import Connector
from connectors.failures import Failure, NotAllowed, Rejected, Temporary, Undocumented
from connectors.http import Api
from connectors.http2 import Http2
from tests.connectors.contract import MemoryJournal
from tests.connectors.fake_http2_vendor import Http2Vendor, Stream, http2_vendor
from tests.connectors.test_http import HURRY, KEY, SOON, Plain, api, outcome_of

DATA_OF_NO_STREAM = b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x"


class Distrusting(Plain):
    protocols = {"https://": Http2}


@pytest.fixture
def vendor(tmp_path: Path, settings: Settings) -> Iterator[Http2Vendor]:
    with http2_vendor(tmp_path) as running:
        listed(running, settings)
        yield running


def listed(vendor: Http2Vendor, settings: Settings) -> None:
    settings.ENGAGE_PRIVATE_HOSTS, settings.ENGAGE_VENDOR_URLS = [f"localhost:{vendor.port}"], {}


def trusting(vendor: Http2Vendor) -> type[Connector]:
    """Return a connector that believes this vendor's certificate, and no other."""

    class Trusting(Http2):
        def send(self, request: requests.PreparedRequest, *told: Any, **more: Any) -> requests.Response:
            return super().send(request, *told, **{**more, "verify": str(vendor.certificate)})

    class Trusted(Plain):
        protocols = {"https://": Trusting}

    return Trusted


def door_to(vendor: Http2Vendor, journal: MemoryJournal | None = None) -> Api:
    return api(vendor.url, journal, connector=trusting(vendor))


def failed_write(vendor: Http2Vendor, does: Callable[[Stream], None], seconds: float = 30.0) -> tuple[Failure, bool]:
    """Let a write meet this, and return what it became, and whether it may have acted."""
    vendor.does = does
    with door_to(vendor, MemoryJournal(seconds)) as door:
        return outcome_of(lambda: door.post("x", json={"a": 1})), door.may_have_acted


class TestWhatIsSaid:
    def test_a_request_and_its_answer(self, vendor: Http2Vendor) -> None:
        vendor.does = lambda stream: stream.answer(
            201, b'{"id": 7}', content_type="application/json", x_request_id="r1"
        )
        journal = MemoryJournal()
        with door_to(vendor, journal) as door:
            answer = door.write("POST", "3", "a b", json={"a": 1}, params={"q": "é"}, headers={"Apns-Topic": "com.x"})
        heard = vendor.heard[0]
        said = {
            ":method": "POST",
            ":scheme": "https",
            ":authority": f"localhost:{vendor.port}",
            ":path": "/3/a%20b?q=%C3%A9",
        }
        assert said.items() <= heard.headers.items()
        assert (heard.headers["apns-topic"], heard.headers["authorization"]) == ("com.x", f"Bearer {KEY}")
        assert heard.headers["content-length"] == str(len(heard.body))
        assert not {"host", "connection", "transfer-encoding"} & set(heard.headers)
        assert json.loads(heard.body) == {"a": 1}
        assert (answer.status, answer.data) == (201, {"id": 7})
        kept = journal.exchanges[0].as_json()
        assert (kept["url"], kept["status"], kept["sent"]) == (f"{vendor.url}/3/a%20b?q=%C3%A9", 201, True)
        assert kept["answer_headers"]["x-request-id"] == "r1"

    def test_no_secret_is_logged(self, vendor: Http2Vendor, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        vendor.does = lambda stream: stream.answer(200, b"{}", x_echo=KEY)
        with door_to(vendor) as door:
            door.get("x")
        assert vendor.heard[0].headers["authorization"] == f"Bearer {KEY}"
        assert KEY not in caplog.text

    def test_an_empty_answer_has_an_end(self, vendor: Http2Vendor) -> None:
        with door_to(vendor) as door:
            assert door.post("x").data is None

    def test_one_connection_serves_an_attempt(self, vendor: Http2Vendor) -> None:
        vendor.does = lambda stream: stream.answer(200, b"{}")
        with door_to(vendor) as door:
            for number in range(3):
                door.post("x", json={}, step=str(number))
        assert [stream.number for stream in vendor.heard] == [1, 3, 5]

    def test_what_is_larger_than_the_vendor_takes_at_once(self, vendor: Http2Vendor) -> None:
        vendor.does = lambda stream: stream.answer(200, json.dumps({"told": "y" * 300_000}).encode())
        with door_to(vendor) as door:
            assert len(door.post("x", json={"told": "x" * 300_000}).text("told")) == 300_000
        assert len(json.loads(vendor.heard[0].body)["told"]) == 300_000

    def test_a_packed_answer_is_unpacked(self, vendor: Http2Vendor) -> None:
        packed = gzip.compress(b'{"id": 7}')
        vendor.does = lambda stream: stream.answer(200, packed, content_encoding="gzip")
        with door_to(vendor) as door:
            assert door.get("x").data == {"id": 7}

    def test_a_refusal_with_its_reason(self, vendor: Http2Vendor) -> None:
        failure, acted = failed_write(vendor, lambda stream: stream.answer(410, b'{"message": "Unregistered"}'))
        assert (type(failure), failure.status, acted) == (Rejected, 410, False)
        assert "Unregistered" in failure.message

    def test_a_redirect_is_not_followed(self, vendor: Http2Vendor) -> None:
        failure, _ = failed_write(vendor, lambda stream: stream.answer(307, location="/y"))
        assert (type(failure), failure.status, len(vendor.heard)) == (Undocumented, 307, 1)


def silence(stream: Stream) -> None:
    pass


def dripping_body(stream: Stream) -> None:
    stream.answer(200, ends=False)
    for _ in range(200):
        stream.drop(b" ")
        time.sleep(0.05)


def dripping_pings(stream: Stream) -> None:
    for _ in range(200):
        stream.talk.ping(b"12345678")
        stream.flush()
        time.sleep(0.05)


def dripping_frame(stream: Stream) -> None:
    stream.connection.sendall(b"\x00\x40\x00\x01\x04\x00\x00\x00\x01")  # the head of HEADERS with 16 kB to come
    for _ in range(200):
        stream.connection.sendall(b"\x00")
        time.sleep(0.05)


def half(stream: Stream) -> None:
    stream.answer(200, b"{", ends=False)
    stream.reset(ErrorCodes.CANCEL)


def half_and_hung_up(stream: Stream) -> None:
    stream.answer(200, b"{", ends=False)
    stream.connection.close()


def goodbye(stream: Stream) -> None:
    stream.talk.send_headers(stream.number, [(":status", "200")])
    stream.talk.send_data(stream.number, b"{}", end_stream=True)
    stream.go_away(stream.number)  # in one piece: a goodbye that comes later may meet the next request on its way


def too_much(stream: Stream) -> None:
    stream.answer(200, b" " * 6_000_000)


class TestWhereItEnds:
    @pytest.mark.parametrize("does", [silence, dripping_body, dripping_pings, dripping_frame])
    def test_nobody_outlasts_the_deadline(self, vendor: Http2Vendor, does: Callable[[Stream], None]) -> None:
        began = time.monotonic()
        failure, acted = failed_write(vendor, does, HURRY)
        assert (type(failure), acted) == (Temporary, True)
        assert time.monotonic() - began < SOON

    def test_more_than_five_megabytes_are_refused(self, vendor: Http2Vendor) -> None:
        failure, acted = failed_write(vendor, too_much)
        assert (type(failure), acted) == (Undocumented, True)
        assert "more than 5 MB" in failure.message


class TestWhetherItArrived:
    @pytest.mark.parametrize(
        "does",
        [lambda stream: stream.reset(ErrorCodes.REFUSED_STREAM), lambda stream: stream.go_away(0)],
        ids=["refused stream", "closed before it"],
    )
    def test_what_was_not_processed_was_not_sent(self, vendor: Http2Vendor, does: Callable[[Stream], None]) -> None:
        failure, acted = failed_write(vendor, does)
        assert isinstance(failure, Temporary)
        assert (failure.sent, acted) == (False, False)
        assert failure.message == "localhost did not take the request."

    @pytest.mark.parametrize(
        "does",
        [
            lambda stream: stream.reset(ErrorCodes.INTERNAL_ERROR),
            lambda stream: stream.reset(ErrorCodes.NO_ERROR),
            half,
            lambda stream: stream.go_away(1),
            lambda stream: stream.connection.close(),
            half_and_hung_up,
            lambda stream: stream.answer(200, b"{}", content_length="9"),
            lambda stream: stream.connection.sendall(DATA_OF_NO_STREAM),
        ],
        ids=["reset", "no error", "half", "closed after it", "hung up", "half, hung up", "short", "nonsense"],
    )
    def test_every_other_end_before_a_whole_answer_may_have_acted(
        self, vendor: Http2Vendor, does: Callable[[Stream], None]
    ) -> None:
        failure, acted = failed_write(vendor, does)
        assert isinstance(failure, Temporary)
        assert (failure.sent, acted) == (True, True)

    def test_after_a_goodbye_the_next_request_has_a_new_connection(self, vendor: Http2Vendor) -> None:
        vendor.does = goodbye
        with door_to(vendor) as door:
            door.get("x")
            door.get("x")
        assert (vendor.opened, [stream.number for stream in vendor.heard]) == (2, [1, 1])

    @pytest.mark.parametrize("protocols", [(), ("http/1.1",)], ids=["no choice", "HTTP/1.1"])
    def test_a_vendor_without_http2_is_sent_nothing(
        self, tmp_path: Path, settings: Settings, protocols: tuple[str, ...]
    ) -> None:
        with http2_vendor(tmp_path, protocols) as vendor:
            listed(vendor, settings)
            failure, acted = failed_write(vendor, Stream.answer)
        assert isinstance(failure, Temporary)
        assert (failure.sent, acted, vendor.heard) == (False, False, [])
        assert failure.message == "localhost does not speak HTTP/2, so nothing was sent."


class TestWhereItGoes:
    def test_a_private_address_is_not_called(self, vendor: Http2Vendor, settings: Settings) -> None:
        settings.ENGAGE_PRIVATE_HOSTS = []
        failure, acted = failed_write(vendor, Stream.answer)
        assert (type(failure), acted, vendor.opened) == (NotAllowed, False, 0)

    def test_a_certificate_that_does_not_hold_is_not_sent_to(self, vendor: Http2Vendor) -> None:
        with api(vendor.url, connector=Distrusting) as door:
            failure = outcome_of(lambda: door.post("x"))
            assert not door.may_have_acted
        assert isinstance(failure, Temporary)
        assert (failure.sent, vendor.heard) == (False, [])

    def test_nor_to_a_name_for_which_it_does_not_hold(self, vendor: Http2Vendor, settings: Settings) -> None:
        settings.ENGAGE_PRIVATE_HOSTS = [f"127.0.0.1:{vendor.port}"]
        with api(f"https://127.0.0.1:{vendor.port}", connector=trusting(vendor)) as door:
            assert not getattr(outcome_of(lambda: door.post("x")), "sent", True)
        assert vendor.heard == []

    def test_no_proxy_is_asked(self, vendor: Http2Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        with door_to(vendor) as door:
            assert door.post("x").status == 200
