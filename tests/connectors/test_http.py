"""The door, over real connections: where it goes, how long it waits, what it sends, reads, keeps and remembers."""

import gzip
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django import forms
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings
from requests.auth import AuthBase

from connectors.addresses import is_public
from connectors.answers import Answer, query_of, words_of
from connectors.auth import HeaderKey, NoAuth
from connectors.base import Category, Connector, SecretField, Values, busy
from connectors.failures import (
    AlreadyDone,
    BadCredentials,
    Failure,
    LostClaim,
    NotAllowed,
    Rejected,
    Temporary,
    Undocumented,
)
from connectors.http import Api, Ending, file_url, or_none
from connectors.journal import Exchange, OnlyLooks, WouldWrite
from tests.connectors.contract import MemoryJournal
from tests.connectors.fake_vendor import Broken, Call, FakeVendor, Form, Raw, fake_vendor, reset

KEY = "planted/key+0123456789"
HURRY = 0.5  # seconds of an attempt that a vendor tries to outlast
SOON = 3.0  # by then it is over, on a slow machine too


class Plain(Connector):
    """A vendor whose address is a setting."""

    key, label, category = "plain", "Plain", Category.CRM

    class Settings(forms.Form):
        api_key = SecretField(label="Key")

    def base_url(self, settings: Values) -> str:
        return str(settings["url"])

    def auth(self, settings: Values) -> AuthBase:
        return HeaderKey("Authorization", settings["api_key"], "Bearer ")


class Unsigned(Plain):
    def auth(self, settings: Values) -> AuthBase:
        return NoAuth()


def api(url: str, journal: Any = None, *, connector: type[Connector] = Plain, key: str = KEY) -> Api:
    return Api(connector(), {"url": url, "api_key": key}, journal or MemoryJournal())


def outcome_of(call: Callable[[], Any]) -> Failure:
    with pytest.raises(Failure) as failed:
        call()
    return failed.value


@contextmanager
def serving(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accept connections on a free port, and let `handle` do with each whatever it likes."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                accepted.append(connection)
                threading.Thread(target=guarded, args=(connection,), daemon=True).start()

    def guarded(connection: socket.socket) -> None:
        with suppress(OSError, ValueError):
            handle(connection)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in accepted:
            connection.close()


def answering(raw: bytes) -> Callable[[socket.socket], None]:
    """Read one request, and send these bytes."""

    def handle(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(raw)
        connection.close()

    return handle


def with_body(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
def vendor() -> Iterator[FakeVendor]:
    with fake_vendor() as running:
        yield running


@pytest.fixture
def listed(settings: Settings) -> Callable[[int], str]:
    """Let the door call this port of this machine. Returns its URL."""

    def allow(port: int) -> str:
        settings.ENGAGE_PRIVATE_HOSTS = [*settings.ENGAGE_PRIVATE_HOSTS, f"127.0.0.1:{port}", f"localhost:{port}"]
        return f"http://127.0.0.1:{port}"

    settings.ENGAGE_PRIVATE_HOSTS = []
    return allow


@pytest.fixture
def url(vendor: FakeVendor, listed: Callable[[int], str]) -> str:
    return listed(int(vendor.url.rsplit(":", 1)[1]))


class TestWhereItGoes:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0x7f000001", "[::ffff:127.0.0.1]"])
    def test_a_private_address_is_not_called(self, vendor: FakeVendor, settings: Settings, host: str) -> None:
        settings.ENGAGE_PRIVATE_HOSTS, settings.ENGAGE_VENDOR_URLS = [], {}
        journal = MemoryJournal()
        with api(vendor.url.replace("127.0.0.1", host), journal) as door:
            failure = outcome_of(lambda: door.post("x", json={}))
            assert not door.may_have_acted
        assert isinstance(failure, NotAllowed)
        assert vendor.heard == []
        assert journal.exchanges[0].sent is False

    def test_a_name_is_resolved_once_and_the_checked_address_is_called(
        self, monkeypatch: pytest.MonkeyPatch, settings: Settings
    ) -> None:
        asked: list[str] = []
        called: list[tuple[str, int]] = []

        def rebinding(host: str, port: int, *_: Any) -> Any:
            asked.append(host)
            address = "8.8.8.8" if len(asked) == 1 else "127.0.0.1"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        def connecting(address: tuple[str, int], *_: Any) -> socket.socket:
            called.append(address)
            raise ConnectionRefusedError

        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        monkeypatch.setattr(socket, "create_connection", connecting)
        with api("https://rebinding.example") as door:
            assert isinstance(outcome_of(lambda: door.get("x")), Temporary)
        assert (asked, called) == (["rebinding.example"], [("8.8.8.8", 443)])

    # Parsers disagree on where the host is in such an address; whatever ours takes for it, it is checked.
    @pytest.mark.parametrize(
        "address",
        [
            *("http://127.0.0.1", "http://vendor.example@127.0.0.1", "http://vendor.example:80@127.0.0.1:22"),
            *("http://127.0.0.1:0", "http://127.0.0.1:99999", "http://127.0.0.1:-1", "http://127.0.0.1:80:80"),
            *(
                "http://127.0.0.1\\@vendor.example",
                "http://vendor.example\\@127.0.0.1",
                "http://127.0.0.1#@vendor.example",
            ),
            *(
                "http://127.0.0.1?@vendor.example",
                "http://vendor.example#@127.0.0.1",
                "http:///127.0.0.1",
                "http:127.0.0.1",
            ),
            *(
                "http://127%2e0%2e0%2e1",
                "http://%31%32%37.0.0.1",
                "http://127.0.0.1%00.vendor.example",
                "http://127.0.0.1.",
            ),
            *("http://127\u30020\u30020\u30021", "http://\uff11\uff12\uff17.0.0.1", "http://\u2460\u2461\u2466.0.0.1"),
            *(
                "http://loc\u00adalhost",
                "HTTP://LOCALHOST",
                "http://localhost.",
                "http://\tlocalhost",
                "http://local\nhost",
            ),
            *(
                "http://[::ffff:7f00:1]",
                "http://[::1%25lo]",
                "http://[::]",
                "http://[fd00::1]",
                "http://0",
                "http://0x7f.1",
            ),
            *("ws://127.0.0.1", "ldap://127.0.0.1", "dict://127.0.0.1:11211", "http+unix://%2Fvar%2Frun%2Fdocker.sock"),
            *("jar:http://127.0.0.1!/", "javascript:alert(1)", "data:,x", "//127.0.0.1", "\\\\127.0.0.1\\x"),
        ],
    )
    def test_however_an_address_is_spelled_only_a_public_one_is_called(
        self, monkeypatch: pytest.MonkeyPatch, settings: Settings, address: str
    ) -> None:
        settings.ENGAGE_PRIVATE_HOSTS, settings.ENGAGE_VENDOR_URLS = [], {}
        called: list[str] = []
        real = socket.getaddrinfo

        def resolving(host: str, port: int, *rest: Any) -> Any:
            public = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))]
            return public if host == "vendor.example" else real(host, port, *rest)

        def connecting(place: tuple[str, int], *_: Any) -> socket.socket:
            called.append(place[0])
            raise ConnectionRefusedError

        monkeypatch.setattr(socket, "getaddrinfo", resolving)
        monkeypatch.setattr(socket, "create_connection", connecting)
        with api(address) as door:
            assert not getattr(outcome_of(lambda: door.get("x")), "sent", False)
        assert all(is_public(ipaddress.ip_address(each)) for each in called)

    @given(
        st.lists(
            st.lists(
                st.one_of(
                    st.ip_addresses(), st.sampled_from(["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "8.8.8.8"])
                ),
                max_size=3,
            ),
            min_size=1,
            max_size=3,
        )
    )
    def test_whatever_a_resolver_says_from_one_moment_to_the_next_only_public_addresses_are_called(
        self, answers: list[list[Any]]
    ) -> None:
        called: list[str] = []
        asked = iter([*answers, []])

        def resolving(host: str, port: int, *_: Any) -> Any:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (str(each), port)) for each in next(asked, [])]

        def connecting(place: tuple[str, int], *_: Any) -> socket.socket:
            called.append(place[0])
            raise ConnectionRefusedError

        with pytest.MonkeyPatch.context() as patch, api("https://rebinding.example") as door:
            patch.setattr(socket, "getaddrinfo", resolving)
            patch.setattr(socket, "create_connection", connecting)
            for _ in answers:
                outcome_of(lambda: door.get("x"))
        public = [str(each) for found in answers for each in found if is_public(ipaddress.ip_address(str(each)))]
        all_public = [found for found in answers if all(str(each) in public for each in found)]
        assert called == [address for found in all_public for address in dict.fromkeys(map(str, found))]

    def test_every_address_of_a_name_is_tried(
        self, monkeypatch: pytest.MonkeyPatch, vendor: FakeVendor, listed: Callable[[int], str]
    ) -> None:
        port = int(vendor.url.rsplit(":", 1)[1])
        listed(port)
        real = socket.getaddrinfo

        def two(host: str, *rest: Any) -> Any:
            first = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.9", port))] if host == "localhost" else []
            return [*first, *real("127.0.0.1" if host == "localhost" else host, *rest)]

        monkeypatch.setattr(socket, "getaddrinfo", two)
        vendor.expect(Call("GET", "/x", {"ok": True}))
        with api(f"http://localhost:{port}") as door:
            assert door.get("x")["ok"] is True

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("method", ["get", "post"])
    def test_no_redirect_is_followed(
        self, vendor: FakeVendor, url: str, listed: Callable[[int], str], status: int, method: str
    ) -> None:
        with fake_vendor() as elsewhere:
            listed(int(elsewhere.url.rsplit(":", 1)[1]))
            moved = Broken("moved", status, "{}", headers={"Location": f"{elsewhere.url}/x"})
            vendor.expect(Call(method.upper(), "/x"), broken={0: moved})
            with api(url) as door:
                failure = outcome_of(lambda: getattr(door, method)("x"))
                assert door.may_have_acted is (method == "post")
            assert isinstance(failure, Undocumented)
            assert "redirect" in failure.message
            assert elsewhere.heard == []

    @pytest.mark.parametrize("location", ["http://[", "//", "http://127.0.0.1:99999/", "\xff", ""])
    def test_where_a_redirect_points_is_not_even_read(self, vendor: FakeVendor, url: str, location: str) -> None:
        vendor.expect(Call("GET", "/x"), broken={0: Broken("moved", 302, "{}", headers={"Location": location})})
        with api(url) as door:
            assert isinstance(outcome_of(lambda: door.get("x")), Undocumented)

    def test_a_redirects_body_is_no_way_round_the_limits(self, listed: Callable[[int], str]) -> None:
        head = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 8000000\r\n\r\n"
        with serving(answering(head + b"x" * 8_000_000)) as port, api(listed(port)) as door:
            assert "more than 5 MB" in outcome_of(lambda: door.get("x")).message

    @pytest.mark.parametrize(
        "address",
        [
            "ftp://vendor.example",
            "file:///etc/passwd",
            "gopher://vendor.example",
            "vendor.example",
            "http://",
            "https://[::1",
        ],
    )
    def test_an_address_of_another_kind_is_not_called(self, settings: Settings, address: str) -> None:
        with api(address) as door:
            failure = outcome_of(lambda: door.post("x"))
            assert not door.may_have_acted
        assert isinstance(failure, (NotAllowed, Temporary))
        assert not getattr(failure, "sent", False)

    def test_a_proxy_of_the_environment_is_not_used(
        self, vendor: FakeVendor, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        vendor.expect(Call("GET", "/x", {"ok": True}))
        with api(url) as door:
            assert door.get("x")["ok"] is True

    @pytest.mark.parametrize("connector", [Plain, Unsigned])
    def test_a_netrc_of_the_environment_is_not_used(
        self, vendor: FakeVendor, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, connector: type[Connector]
    ) -> None:
        netrc = tmp_path / ".netrc"
        netrc.write_text("machine 127.0.0.1 login somebody password else\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("HOME", str(tmp_path))
        vendor.expect(Call("GET", "/x", {"ok": True}))
        with api(url, connector=connector) as door:
            door.get("x")
        assert vendor.heard[0].header("Authorization") == (f"Bearer {KEY}" if connector is Plain else None)

    def test_an_override_replaces_the_vendors_address(self, vendor: FakeVendor, settings: Settings) -> None:
        settings.ENGAGE_VENDOR_URLS = {"plain": f"{vendor.url}/recorder/"}
        vendor.expect(Call("GET", "/recorder/x", {"ok": True}))
        with api("https://vendor.example") as door:
            assert door.get("x")["ok"] is True


class TestWhatItSends:
    @pytest.mark.parametrize(
        ("segment", "path"),
        [
            ("plain", "plain"),
            (17, "17"),
            ("a/b", "a%2Fb"),
            ("../up", "..%2Fup"),
            ("a?b=c", "a%3Fb%3Dc"),
            ("a#b", "a%23b"),
            ("a%2Fb", "a%252Fb"),
            ("a b", "a%20b"),
            ("a\r\nX-Evil: 1", "a%0D%0AX-Evil%3A%201"),
            ("a\x00", "a%00"),
            ("ü", "%C3%BC"),
            ("a;b@c:d&e", "a%3Bb%40c%3Ad%26e"),
            ("...", "..."),
        ],
    )
    def test_every_segment_is_quoted_on_its_own(self, vendor: FakeVendor, url: str, segment: Any, path: str) -> None:
        vendor.expect(Call("GET", f"/users/{path}/x", {}))
        with api(url) as door:
            door.get("users", segment, "x")
        vendor.assert_played()

    def test_a_path_ends_with_a_slash_only_where_the_vendors_does(self, vendor: FakeVendor, url: str) -> None:
        vendor.expect(Call("GET", "/plans/", {}), Call("GET", "/plans/%2F", {}))
        with api(url) as door:
            door.get("plans", Ending.SLASH)
            door.get("plans", "/")
            assert isinstance(outcome_of(lambda: door.get("plans", "", Ending.SLASH)), NotAllowed)
        vendor.assert_played()

    @pytest.mark.parametrize("segment", ["", ".", ".."])
    def test_a_segment_that_would_move_the_path_is_not_sent(self, vendor: FakeVendor, url: str, segment: str) -> None:
        with api(url) as door:
            assert isinstance(outcome_of(lambda: door.get("users", segment)), NotAllowed)
            assert isinstance(outcome_of(lambda: door.delete("users", segment)), NotAllowed)
            assert not door.may_have_acted
        assert vendor.heard == []

    @pytest.mark.parametrize("key", ["new\nline", "carriage\rreturn", "nul\0", "pasted…key", "\ud800"])
    def test_a_key_that_no_header_can_carry_is_said_and_not_quoted(
        self, vendor: FakeVendor, url: str, key: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with api(url, key=key, connector=Bare) as door:
            failure = outcome_of(lambda: door.get("x"))
        assert isinstance(failure, BadCredentials)
        assert key not in f"{failure} {failure.__cause__} {caplog.text}"
        assert vendor.heard == []

    def test_a_missing_setting_is_bad_credentials(self, url: str) -> None:
        with Api(Plain(), {"url": url}, MemoryJournal()) as door:
            assert isinstance(outcome_of(lambda: door.get("x")), BadCredentials)

    def test_each_method_with_its_kind_query_and_body(self, vendor: FakeVendor, url: str) -> None:
        journal = MemoryJournal()
        vendor.expect(
            Call("GET", "/x", {}, query={"q": "a b&c"}),
            Call("POST", "/x", {}, body={"query": 1}),
            *(Call(method, "/x", {}, body={"n": 1}) for method in ("POST", "PUT", "PATCH", "DELETE")),
        )
        with api(url, journal) as door:
            door.get("x", params={"q": "a b&c"})
            door.read("x", json={"query": 1})
            for method in ("post", "put", "patch", "delete"):
                getattr(door, method)("x", json={"n": 1}, step=method)
        vendor.assert_played()
        assert [exchange.kind for exchange in journal.exchanges] == ["read"] * 2 + ["write"] * 4
        assert journal.announced == journal.exchanges[2:]

    def test_a_write_that_the_journal_forbids_is_not_sent(self, vendor: FakeVendor, url: str) -> None:
        class Lost(MemoryJournal):
            def write_begins(self, exchange: Exchange) -> None:
                raise LostClaim

        with api(url, Lost()) as door:
            with pytest.raises(LostClaim):
                door.post("x")
            assert not door.may_have_acted
        with api(url, OnlyLooks(5)) as door, pytest.raises(WouldWrite):
            door.post("x")
        assert vendor.heard == []

    def test_two_writes_need_two_names(self, vendor: FakeVendor, url: str) -> None:
        vendor.expect(Call("POST", "/x", {}))
        with api(url) as door:
            door.post("x")
            with pytest.raises(RuntimeError, match="a name of its own"):
                door.post("y")

    def test_a_form_in_brackets(self, vendor: FakeVendor, url: str) -> None:
        journal = MemoryJournal()
        fields = {
            "items": [{"id": "si_1", "price": "price_1", "quantity": 2}, {"deleted": True}],
            "cancel": False,
            "pause": "",
            "unsaid": None,
            "tags": [],
            "metadata": {"a b": "c&d=ü+", "amount": Decimal("7.50")},
        }
        sent = Form(
            {
                "items[0][id]": "si_1",
                "items[0][price]": "price_1",
                "items[0][quantity]": "2",
                "items[1][deleted]": "true",
                "cancel": "false",
                "pause": "",
                "metadata[a b]": "c&d=ü+",
                "metadata[amount]": "7.50",
            }
        )
        vendor.expect(*(Call(method, "/x", {}, body=sent) for method in ("POST", "POST", "PUT", "PATCH", "DELETE")))
        with api(url, journal) as door:
            door.read("x", form=fields)
            for method in ("post", "put", "patch", "delete"):
                getattr(door, method)("x", form=fields, step=method)
        vendor.assert_played()
        assert {heard.header("Content-Type") for heard in vendor.heard} == {"application/x-www-form-urlencoded"}
        assert [exchange.body for exchange in journal.exchanges] == [dict(sent)] * 5

    def test_a_form_byte_by_byte(self, listed: Callable[[int], str]) -> None:
        sent = b"b%5Bc%5D%5B0%5D=1+2&a=true"
        received = bytearray()

        def handle(connection: socket.socket) -> None:
            while not received.endswith(sent):
                received.extend(connection.recv(65536))
            connection.sendall(with_body(b"{}"))

        with serving(handle) as port, api(listed(port)) as door:
            door.post("x", form={"b": {"c": ["1 2"]}, "a": True})
        assert received.partition(b"\r\n\r\n")[2] == sent

    def test_a_form_without_fields_carries_nothing(self, vendor: FakeVendor, url: str) -> None:
        vendor.expect(Call("POST", "/x", {}))
        with api(url) as door:
            door.post("x", form={"unsaid": None})
        vendor.assert_played()

    def test_an_xml_document(self, vendor: FakeVendor, url: str) -> None:
        journal = MemoryJournal()
        document = f"<e:Envelope><e:Body>ü {KEY}</e:Body></e:Envelope>"
        vendor.expect(*[Call("POST", "/x", {}, body=Raw("text/xml; charset=utf-8", document))] * 2)
        with api(url, journal) as door:
            door.read("x", xml=document)
            door.post("x", xml=document)
        vendor.assert_played()
        assert [exchange.body for exchange in journal.exchanges] == [document.replace(KEY, "[secret]")] * 2

    @pytest.mark.parametrize(
        "content",
        [
            {"json": {}, "form": {"a": 1}},
            {"form": ["a"]},
            {"form": {"a": object()}},
            {"form": {"a": b"x"}},
            {"xml": b"x"},
        ],
    )
    def test_a_body_that_has_no_spelling_is_not_sent(self, vendor: FakeVendor, url: str, content: Any) -> None:
        with api(url) as door:
            with pytest.raises(TypeError):
                door.post("x", **content)
            assert not door.may_have_acted
        assert vendor.heard == []

    def test_a_repeat_sends_what_was_sent(self, vendor: FakeVendor, url: str) -> None:
        first = MemoryJournal()
        vendor.expect(*[Call("POST", "/x", {}, body=Form({"a": "1"}))] * 2)
        with api(url, first) as door:
            door.post("x", form={"a": 1})
        with api(url, first.again()) as door:
            door.post("x", form={"a": 2})
        vendor.assert_played()


class Bare(Plain):
    def auth(self, settings: Values) -> AuthBase:
        return HeaderKey("Authorization", settings["api_key"])


def trickle(head: bytes, drop: bytes) -> Callable[[socket.socket], None]:
    def handle(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head)
        for _ in range(200):
            connection.sendall(drop)
            time.sleep(0.05)

    return handle


def hang(connection: socket.socket) -> None:
    time.sleep(10)


class TestHowLongItWaits:
    @pytest.mark.parametrize(
        "handle",
        [
            hang,
            trickle(b"HTTP/1.1 200 OK\r\n", b"X-Drop: 1\r\n"),
            trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
            trickle(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
            trickle(b"", b"H"),
            trickle(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ],
        ids=["silence", "headers drop by drop", "body drop by drop", "chunks drop by drop", "status line", "continue"],
    )
    def test_nobody_outlasts_the_deadline(
        self, listed: Callable[[int], str], handle: Callable[[socket.socket], None]
    ) -> None:
        began = time.monotonic()
        with serving(handle) as port, api(listed(port), MemoryJournal(HURRY)) as door:
            failure = outcome_of(lambda: door.post("x"))
            assert door.may_have_acted
        assert isinstance(failure, Temporary)
        assert failure.sent
        assert time.monotonic() - began < SOON

    @pytest.mark.parametrize(
        "then",
        [
            hang,
            trickle(b"HTTP/1.1 200 OK\r\n", b"X-Drop: 1\r\n"),
            trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
        ],
        ids=["silence", "headers drop by drop", "body drop by drop"],
    )
    def test_nor_on_a_connection_that_is_used_again(
        self, listed: Callable[[int], str], then: Callable[[socket.socket], None]
    ) -> None:
        opened = 0

        def handle(connection: socket.socket) -> None:
            nonlocal opened
            opened += 1
            connection.recv(65536)
            connection.sendall(with_body(b"{}"))
            then(connection)

        began = time.monotonic()
        with serving(handle) as port, api(listed(port), MemoryJournal(HURRY)) as door:
            door.get("x")
            failure = outcome_of(lambda: door.post("x"))
            assert door.may_have_acted
        assert isinstance(failure, Temporary)
        assert failure.sent
        assert opened == 1
        assert time.monotonic() - began < SOON

    def test_a_tls_handshake_that_hangs_ends_in_time_and_nothing_was_sent(self, listed: Callable[[int], str]) -> None:
        began = time.monotonic()
        with serving(hang) as port:
            listed(port)
            with api(f"https://localhost:{port}", MemoryJournal(HURRY)) as door:
                failure = outcome_of(lambda: door.post("x"))
                assert not door.may_have_acted
        assert isinstance(failure, Temporary)
        assert not failure.sent
        assert time.monotonic() - began < SOON

    def test_a_tls_handshake_drop_by_drop_ends_in_time(self, listed: Callable[[int], str]) -> None:
        began = time.monotonic()
        with serving(trickle(b"\x16\x03\x03\x40\x00", b"\x02")) as port:
            listed(port)
            with api(f"https://localhost:{port}", MemoryJournal(HURRY)) as door:
                assert not getattr(outcome_of(lambda: door.post("x")), "sent", True)
        assert time.monotonic() - began < SOON

    def test_the_deadline_is_the_attempts_not_the_requests(self, vendor: FakeVendor, url: str) -> None:
        journal = MemoryJournal(HURRY)
        vendor.expect(Call("GET", "/x"), broken={0: Broken("", then="hang")})
        with api(url, journal) as door:
            outcome_of(lambda: door.get("x"))
            began = time.monotonic()
            failure = outcome_of(lambda: door.post("y"))
            assert time.monotonic() - began < HURRY
            assert not door.may_have_acted
        assert "time for this attempt is over" in failure.message
        assert [exchange.sent for exchange in journal.exchanges] == [True, False]
        assert len(vendor.heard) == 1

    def test_a_request_has_no_longer_than_its_connector_says(self, listed: Callable[[int], str]) -> None:
        class Impatient(Plain):
            timeout = 0.2

        began = time.monotonic()
        with serving(hang) as port, api(listed(port), connector=Impatient) as door:
            assert "did not answer in time" in outcome_of(lambda: door.get("x")).message
        assert time.monotonic() - began < SOON

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("7", 7),
            ("0", 0),
            ("1.5", 1.5),
            ("-5", 0),
            ("999999999", 86400),
            ("inf", 86400),
            ("nan", None),
            ("", None),
            ("soon", None),
            ("Fri, 99 Foo 2026", None),
            ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
            ("Wed, 21 Oct 9999 07:28:00 GMT", 86400),
            ("Wed, 21 Oct 2015 07:28:00 -0000", None),
        ],
    )
    @pytest.mark.parametrize("status", [429, 503])
    def test_the_vendors_wish_to_wait(
        self, vendor: FakeVendor, url: str, value: str, seconds: float | None, status: int
    ) -> None:
        vendor.expect(Call("GET", "/x"), broken={0: Broken("", status, "{}", headers={"Retry-After": value})})
        with api(url) as door:
            failure = outcome_of(lambda: door.get("x"))
        assert isinstance(failure, Temporary)
        assert failure.after == seconds
        assert failure.sent is (status == 503)

    def test_the_vendors_wish_as_a_date(self, vendor: FakeVendor, url: str) -> None:
        then = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
        vendor.expect(Call("GET", "/x"), broken={0: Broken("", 429, "{}", headers={"Retry-After": then})})
        with api(url) as door:
            after = outcome_of(lambda: door.get("x")).after  # type: ignore[attr-defined]
        assert 80 < after <= 90

    @pytest.mark.parametrize(
        ("reset", "least", "most"),
        [("now+900", 800, 900), ("45", 45, 45), ("1", 1, 1), ("0", 0, 0), ("now-9", 0, 0)],
    )
    def test_where_the_vendor_says_only_when_its_window_ends(
        self, vendor: FakeVendor, url: str, reset: str, least: float, most: float
    ) -> None:
        told = str(time.time() + float(reset.removeprefix("now"))) if reset.startswith("now") else reset
        vendor.expect(Call("GET", "/x"), broken={0: Broken("", 429, "{}", headers={"X-RateLimit-Reset": told})})
        with api(url) as door:
            after = outcome_of(lambda: door.get("x")).after  # type: ignore[attr-defined]
        assert least <= after <= most

    def test_when_a_window_ends_says_nothing_of_when_a_trouble_does(self, vendor: FakeVendor, url: str) -> None:
        vendor.expect(Call("GET", "/x"), broken={0: Broken("", 503, "{}", headers={"X-RateLimit-Reset": "1"})})
        with api(url) as door:
            failure = outcome_of(lambda: door.get("x"))
        assert isinstance(failure, Temporary)
        assert failure.after is None


class TestHowMuchItReads:
    def read(self, listed: Callable[[int], str], raw: bytes) -> Failure:
        with serving(answering(raw)) as port, api(listed(port)) as door:
            return outcome_of(lambda: door.get("x"))

    def test_more_than_five_megabytes_are_refused(self, listed: Callable[[int], str]) -> None:
        assert "more than 5 MB" in self.read(listed, with_body(b" " * 6_000_000)).message

    def test_a_body_without_an_end_is_refused_too(self, listed: Callable[[int], str]) -> None:
        assert "more than 5 MB" in self.read(listed, b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 6_000_000).message

    @pytest.mark.parametrize("layers", [1, 2])
    def test_a_small_body_that_unpacks_to_a_huge_one_is_refused(
        self, listed: Callable[[int], str], layers: int
    ) -> None:
        body, coding = b"0" * 60_000_000, ", ".join(["gzip"] * layers)
        for _ in range(layers):
            body = gzip.compress(body)
        assert "more than 5 MB" in self.read(listed, with_body(body, f"Content-Encoding: {coding}")).message

    @pytest.mark.parametrize(
        "raw",
        [
            with_body(b"not gzip at all", "Content-Encoding: gzip"),
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
            b"nonsense\r\n\r\n",
            b"HTTP/1.1 abc\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 70_000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 200 + b"\r\n",
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
        ],
        ids=[
            "no gzip",
            "half",
            "chunk",
            "no HTTP",
            "no status",
            "long header",
            "many headers",
            "nothing",
            "half a head",
        ],
    )
    def test_what_is_no_whole_answer_is_a_lost_one(self, listed: Callable[[int], str], raw: bytes) -> None:
        failure = self.read(listed, raw)
        assert isinstance(failure, Temporary)
        assert failure.sent

    def test_a_long_answer_is_kept_in_part(self, listed: Callable[[int], str]) -> None:
        journal = MemoryJournal()
        with serving(answering(with_body(b"x" * 50_000))) as port, api(listed(port), journal) as door:
            outcome_of(lambda: door.get("x"))
        assert len(journal.exchanges[0].answer) < 21_000
        assert "50000 characters" in journal.exchanges[0].answer


class TestWhetherItArrived:
    def test_nobody_listens(self, vendor: FakeVendor, url: str) -> None:
        vendor.stop_listening()
        with api(url) as door:
            failure = outcome_of(lambda: door.post("x"))
            assert not door.may_have_acted
        assert not getattr(failure, "sent", True)
        assert "could not be reached" in failure.message

    @pytest.mark.parametrize("then", ["reset", "close"])
    @pytest.mark.parametrize("before", [0, 1, 2])
    def test_a_connection_that_breaks_after_a_write_counts_as_sent_used_again_or_not(
        self, vendor: FakeVendor, url: str, before: int, then: Any
    ) -> None:
        reads = [Call("GET", f"/{number}", {}) for number in range(before)]
        vendor.expect(*reads, Call("POST", "/x"), broken={before: Broken("", then=then)})
        journal = MemoryJournal()
        with api(url, journal) as door:
            for number in range(before):
                door.get(number)
            failure = outcome_of(lambda: door.post("x"))
            assert door.may_have_acted
        assert getattr(failure, "sent", False)
        assert journal.exchanges[-1].sent
        vendor.assert_played()

    def test_one_connection_serves_an_attempt(self, listed: Callable[[int], str]) -> None:
        connections: list[socket.socket] = []

        def handle(connection: socket.socket) -> None:
            connections.append(connection)
            while connection.recv(65536):
                connection.sendall(with_body(b"{}"))

        with serving(handle) as port, api(listed(port)) as door:
            for number in range(3):
                door.get(number)
        assert len(connections) == 1

    def test_a_connection_that_was_reset_on_its_second_use_is_not_opened_again(
        self, listed: Callable[[int], str]
    ) -> None:
        requests: list[bytes] = []

        def handle(connection: socket.socket) -> None:
            requests.append(connection.recv(65536))
            connection.sendall(with_body(b"{}"))
            requests.append(connection.recv(65536))
            reset(connection)

        with serving(handle) as port, api(listed(port)) as door:
            door.get("x")
            assert getattr(outcome_of(lambda: door.post("x")), "sent", False)
            assert door.may_have_acted
        assert [request[:4] for request in requests] == [b"GET ", b"POST"]

    def test_a_later_connection_that_is_refused_was_not_sent(self, vendor: FakeVendor, url: str) -> None:
        vendor.expect(Call("GET", "/x", {}), Call("POST", "/x"), broken={1: Broken("", then="refuse")})
        with api(url) as door:
            door.get("x")
            assert not getattr(outcome_of(lambda: door.post("x")), "sent", True)
            assert not door.may_have_acted

    def test_a_certificate_that_does_not_hold_is_not_sent_to(
        self, listed: Callable[[int], str], tmp_path: Path
    ) -> None:
        names: list[str | None] = []
        context = own_certificate(tmp_path)
        context.sni_callback = lambda _socket, name, _context: names.append(name)
        received: list[bytes] = []

        def handle(connection: socket.socket) -> None:
            with context.wrap_socket(connection, server_side=True) as secured:
                received.append(secured.recv(65536))

        with serving(handle) as port:
            listed(port)
            with api(f"https://localhost:{port}") as door:
                failure = outcome_of(lambda: door.post("x"))
                assert not door.may_have_acted
        assert not getattr(failure, "sent", True)
        assert names == ["localhost"]
        assert [chunk for chunk in received if chunk] == []

    @pytest.mark.parametrize(
        ("status", "kind", "acted"),
        [
            (400, Rejected, False),
            (401, BadCredentials, False),
            (403, Rejected, False),
            (404, Rejected, False),
            (408, Temporary, True),
            (409, Rejected, False),
            (422, Rejected, False),
            (425, Temporary, True),
            (429, Temporary, False),
            (500, Temporary, True),
            (503, Temporary, True),
            (599, Temporary, True),
            (304, Undocumented, True),
        ],
    )
    def test_what_a_status_means_for_a_write(
        self, vendor: FakeVendor, url: str, status: int, kind: type[Failure], acted: bool
    ) -> None:
        vendor.expect(Call("POST", "/x"), broken={0: Broken("", status, "")})
        with api(url) as door:
            failure = outcome_of(lambda: door.post("x"))
            assert (type(failure), failure.status, door.may_have_acted) == (kind, status, acted)

    def test_what_an_earlier_write_of_the_attempt_did_is_not_forgotten(self, vendor: FakeVendor, url: str) -> None:
        vendor.expect(Call("POST", "/a", {}), Call("POST", "/b", {}, status=422))
        with api(url) as door:
            door.post("a", step="a")
            outcome_of(lambda: door.post("b", step="b"))
            assert door.may_have_acted


def own_certificate(folder: Path) -> ssl.SSLContext:
    """Return a server's context with a certificate that only it trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "own.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


class TestWhatItKeeps:
    def test_no_secret_that_the_vendor_echoes(
        self, vendor: FakeVendor, url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        quoted = "planted%2Fkey%2B0123456789"
        echo = {"message": f"no {KEY}", KEY: [KEY, {"x": quoted}], "token": f"Bearer {KEY}"}
        headers = {"X-Request-Id": f"for-{KEY}", "Location": f"https://x/?k={quoted}"}
        journal = MemoryJournal()
        vendor.expect(
            Call("POST", "/x", query={"k": KEY}, body={"key": KEY}),
            broken={0: Broken("", 422, json.dumps(echo), headers=headers)},
        )
        with api(url, journal) as door:
            failure = outcome_of(lambda: door.post("x", params={"k": KEY}, json={"key": KEY}))
        kept = f"{journal.exchanges[0].as_json()} {failure.message}"
        vendor.assert_played()
        assert KEY not in kept + caplog.text
        assert quoted not in kept
        assert kept.count("[secret]") > 5

    def test_nothing_of_a_url_is_logged(self, vendor: FakeVendor, url: str, caplog: pytest.LogCaptureFixture) -> None:
        vendor.expect(Call("GET", "/users/ann%40example.com", {}))
        with api(url) as door:
            door.get("users", "ann@example.com")
        assert "ann" not in caplog.text

    def test_an_exchange_as_people_read_it(self, vendor: FakeVendor, url: str) -> None:
        journal = MemoryJournal()
        vendor.expect(
            Call("POST", "/x", {"id": 7}, body={"n": 1}, answer_headers={"X-Request-Id": "r1", "X-Other": "o"})
        )
        with api(url, journal) as door:
            door.post("x", json={"n": 1})
        kept = journal.exchanges[0].as_json()
        assert (kept["method"], kept["url"], kept["body"], kept["status"]) == ("POST", f"{url}/x", {"n": 1}, 200)
        assert (kept["answer"], kept["sent"], kept["error"]) == ({"id": 7}, True, "")
        assert kept["headers"]["Authorization"] == "[secret]"
        assert kept["answer_headers"].get("X-Request-Id") == "r1"
        assert "X-Other" not in kept["answer_headers"]
        assert kept["ms"] >= 0

    @pytest.mark.parametrize(
        ("raw", "data"),
        [
            (b'{"a": 1, "a": 2}', {"a": 2}),
            (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
            ('{"a": "ü"}'.encode("utf-16"), {"a": "ü"}),
            (b'{"a": "x\\u0000y"}', {"a": "x\ufffdy"}),
            (b'{"\\u0000": 1}', {"\ufffd": 1}),
            (b'{"a": "\\ud800"}', {"a": "?"}),
            (b'{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
            (b'{"a": "\xed\xa0\x80"}', {"a": "?"}),
            (b'{"a": 1e308}', {"a": 1e308}),
            (b"  [] ", []),
            (b"[" * 50 + b"]" * 50, None),
        ],
    )
    def test_json_as_every_database_can_keep_it(self, listed: Callable[[int], str], raw: bytes, data: Any) -> None:
        journal = MemoryJournal()
        with serving(answering(with_body(raw))) as port, api(listed(port), journal) as door:
            answer = door.get("x")
        assert data is None or answer.data == data
        json.dumps(journal.exchanges[0].as_json(), allow_nan=False, ensure_ascii=False).encode()

    @pytest.mark.parametrize(
        "raw",
        [
            b'{"a": NaN}',
            b'{"a": -Infinity}',
            b'{"a": 1e999}',
            b'{"a": ' + b"9" * 5000 + b"}",
            b"[" * 60 + b"]" * 60,
            b"[" * 100_000,
            b'{"a": "\xff\xfe"}',
            b'"a text"',
            b"{'a': 1}",
            b'{"a": 1}{"b": 2}',
            b"<html>\x00</html>",
        ],
        ids=["NaN", "Infinity", "1e999", "huge", "deep", "abyss", "no UTF-8", "text", "Python", "two", "page"],
    )
    def test_what_is_no_json_is_no_answer(self, listed: Callable[[int], str], raw: bytes) -> None:
        journal = MemoryJournal()
        with serving(answering(with_body(raw))) as port, api(listed(port), journal) as door:
            failure = outcome_of(lambda: door.get("x"))
        assert isinstance(failure, Undocumented)
        kept = json.dumps(journal.exchanges[0].as_json(), allow_nan=False, ensure_ascii=False)
        assert "\\u0000" not in kept
        kept.encode()


class Paged(Plain):
    page_query = {"limit": 2}

    def next_page(self, page: Answer, query: Values) -> dict[str, Any] | None:
        return {**query, **query_of(page.get("next"))} if page.get("next") else None


class TestPages:
    def page(self, numbers: list[int], after: str = "", following: str = "", **query: str) -> Call:
        answer = {"data": [{"n": number} for number in numbers], "next": following}
        return Call("GET", "/rows", answer, {"limit": "2", **({"after": after} if after else {}), **query})

    def read(self, url: str, connector: type[Connector] = Paged) -> list[int]:
        with api(url, connector=connector) as door:
            return [row["n"] for row in door.pages("rows", params={"state": "live"})]

    def test_a_list_is_read_to_its_end(self, vendor: FakeVendor, url: str) -> None:
        vendor.expect(
            self.page([1, 2], following="/rows?after=2", state="live"),
            self.page([], "2", "https://elsewhere.example/x?after=3#y", state="live"),
            self.page([3], "3", state="live"),
        )
        assert self.read(url) == [1, 2, 3]
        vendor.assert_played()

    @pytest.mark.parametrize("answer", [{"users": [{"n": 1}], "next": "/?after=2"}, [{"n": 1}]], ids=["users", "alone"])
    def test_rows_under_one_of_several_names_and_a_list_of_one_page(
        self, vendor: FakeVendor, url: str, answer: object
    ) -> None:
        class Several(Plain):
            rows_in = ("groups", "users", "")

        vendor.expect(Call("GET", "/rows", answer))
        with api(url, connector=Several) as door:
            assert [row["n"] for row in door.pages("rows")] == [1]

    def test_a_page_without_any_of_the_names_says_so(self, vendor: FakeVendor, url: str) -> None:
        vendor.expect(self.page([1]))

        class Elsewhere(Paged):
            rows_in = ("groups", "users")

        with api(url, connector=Elsewhere) as door, pytest.raises(Undocumented, match="has no 'users'"):
            list(door.pages("rows"))

    def test_a_list_that_does_not_go_on_says_so(self, vendor: FakeVendor, url: str) -> None:
        vendor.expect(self.page([1], following="/rows?limit=2", state="live"))
        with pytest.raises(Undocumented, match="does not go on"):
            self.read(url)

    def test_a_list_without_an_end_says_so(self, vendor: FakeVendor, url: str) -> None:
        pages = [self.page([1], str(n) if n else "", f"/?after={n + 1}", state="live") for n in range(50)]
        vendor.expect(*pages)
        with pytest.raises(Rejected, match="longer than 50 pages"):
            self.read(url)
        vendor.assert_played()

    def test_a_page_that_comes_again_is_the_end_only_where_the_vendor_may_not_page(
        self, vendor: FakeVendor, url: str
    ) -> None:
        class MayNot(Paged):
            may_not_page = True

            def next_page(self, page: Answer, query: Values) -> dict[str, Any]:
                return {**query, "after": int(query.get("after", 0)) + 1}

        vendor.expect(*(self.page([1], after, state="live") for after in ("", "1")))
        assert self.read(url, MayNot) == [1]
        vendor.assert_played()


class TestOrNone:
    def test_only_a_404_is_nothing(self, vendor: FakeVendor, url: str) -> None:
        vendor.expect(
            Call("GET", "/x", {"n": 1}),
            Call("GET", "/x", {}, status=404),
            Call("POST", "/x", {}, body={}, status=404),
            Call("GET", "/x", {}, status=410),
        )
        with api(url) as door:
            assert (found := or_none(door.get, "x")) is not None
            assert found["n"] == 1
            assert or_none(door.get, "x") is None
            assert or_none(door.read, "x", json={}) is None
            with pytest.raises(Rejected):
                or_none(door.get, "x")


class TestCodes:
    """A vendor's own codes, and what they mean."""

    class Coded(Plain):
        codes = {"busy": busy, "done": AlreadyDone, "key": BadCredentials}

        def said(self, answer: Answer) -> tuple[str, str]:
            return str(answer.get("code", "")), words_of(answer)

    @pytest.mark.parametrize(
        ("code", "status", "kind", "words"),
        [
            ("busy", 409, Temporary, "Plain says: no"),
            ("done", 422, AlreadyDone, "Plain says: no"),
            ("key", 403, BadCredentials, "Plain says: no"),
            ("key", 401, BadCredentials, "Plain says: no"),
            ("other", 400, Rejected, "Plain refused: no"),
            ("other", 401, BadCredentials, "Plain does not accept the credentials."),
            ("other", 429, Temporary, "Plain asks us to slow down."),
            ("done", 500, Temporary, "Plain has a problem (status 500)."),
        ],
    )
    def test_what_follows(
        self, vendor: FakeVendor, url: str, code: str, status: int, kind: type[Failure], words: str
    ) -> None:
        answer = {"code": code, "message": "no"}
        vendor.expect(Call("POST", "/x", answer, status=status, answer_headers={"Retry-After": "7"}))
        with api(url, connector=self.Coded) as door:
            failure = outcome_of(lambda: door.post("x"))
            assert door.may_have_acted is (status == 500)
        assert (type(failure), failure.message) == (kind, words)
        if isinstance(failure, Temporary):
            assert failure.after == 7

    @pytest.mark.parametrize(
        ("errors", "words"),
        [
            ([{"title": "Invalid", "detail": "The phone is too long.", "code": "x"}], "The phone is too long."),
            (
                [{"title": "Duplicate"}, {"message": "Bad", "field": "email"}, 7, {"detail": 7}],
                "Duplicate; Bad (email)",
            ),
        ],
    )
    def test_several_errors_are_told_each_in_its_sentence(
        self, vendor: FakeVendor, url: str, errors: object, words: str
    ) -> None:
        vendor.expect(Call("GET", "/x", {"errors": errors}, status=422))
        with api(url) as door:
            assert outcome_of(lambda: door.get("x")).message == f"Plain refused: {words}"

    def test_a_code_without_words_is_said(self, vendor: FakeVendor, url: str) -> None:
        vendor.expect(Call("GET", "/x", {"code": "odd"}, status=400))
        with api(url, connector=self.Coded) as door:
            failure = outcome_of(lambda: door.get("x"))
        assert (failure.message, failure.code) == ("Plain refused: odd", "odd")


class TestIdempotencyKeys:
    class Keyed(Plain):
        idempotency_header, idempotency_methods = "Idempotency-Key", frozenset({"POST"})
        key_keeps_refusals = True
        codes = {"busy": busy}

        def said(self, answer: Answer) -> tuple[str, str]:
            return answer.text("code"), ""

    def test_only_the_methods_that_take_one_carry_it(self, vendor: FakeVendor, url: str) -> None:
        vendor.expect(Call("POST", "/a", {}), Call("PUT", "/a", {}))
        with api(url, connector=self.Keyed) as door:
            door.post("a", step="first")
            door.put("a", step="second")
        assert [heard.header("Idempotency-Key") for heard in vendor.heard] == ["first-1", None]

    @pytest.mark.parametrize(
        ("method", "broken", "refusals"),
        [
            ("POST", Broken("not now", 409, '{"code": "busy"}'), ["write"]),
            ("POST", Broken("perhaps", 503, '{"code": "busy"}'), []),
            ("POST", Broken("gone", then="close"), []),
            ("PUT", Broken("not now", 409, '{"code": "busy"}'), []),
        ],
    )
    def test_where_the_key_keeps_a_not_now_the_next_try_has_another(
        self, vendor: FakeVendor, url: str, method: str, broken: Broken, refusals: list[str]
    ) -> None:
        vendor.expect(Call(method, "/a", {}), broken={0: broken})
        journal = MemoryJournal()
        with api(url, journal, connector=self.Keyed) as door, pytest.raises(Temporary):
            door.write(method, "a")
        assert journal.refusals == refusals


class TestARehearsal:
    """What a vendor says that a write would do."""

    class Keyed(Plain):
        idempotency_header = "Idempotency-Key"

    def test_a_preview_asks_for_it_and_sends_no_write(self, vendor: FakeVendor, url: str) -> None:
        vendor.expect(Call("POST", "/a", {"charge": 5}, {"now": "1", "dry": "1"}, body={"plan": "gold"}, reads=True))
        journal = OnlyLooks(5)
        with api(url, journal, connector=self.Keyed) as door, pytest.raises(WouldWrite):
            door.write("POST", "a", params={"now": "1"}, rehearsal={"dry": "1"}, json={"plan": "gold"})
        vendor.assert_played()
        write, rehearsal = journal.exchanges
        assert (write.kind, write.sent, write.url) == ("write", False, f"{url}/a?now=1")
        assert (rehearsal.kind, rehearsal.sent, rehearsal.answer) == ("read", True, {"charge": 5})
        assert vendor.heard[0].header("Idempotency-Key") is None

    def test_an_attempt_does_not(self, vendor: FakeVendor, url: str) -> None:
        vendor.expect(Call("POST", "/a", {"charge": 5}, {"now": "1"}, body={"plan": "gold"}))
        with api(url) as door:
            door.write("POST", "a", params={"now": "1"}, rehearsal={"dry": "1"}, json={"plan": "gold"})
        vendor.assert_played()


class TestAnswer:
    ANSWER = Answer(
        {"a": {"b": [1, {"c": None}]}, "text": "x", "rows": [{"n": 1}, {"n": 2}], "mixed": [{}, 1]}, where="GET /x"
    )

    def test_members_are_reached(self) -> None:
        assert self.ANSWER["a"]["b"][0] == 1
        assert self.ANSWER["a"]["b"][1]["c"] is None
        assert self.ANSWER.get("text") == "x"
        assert self.ANSWER.get("none", "default") == "default"
        assert self.ANSWER["a"]["b"][1].get("c", "default") == "default"
        assert [row["n"] for row in self.ANSWER.rows("rows")] == [1, 2]
        assert len(self.ANSWER["a"]["b"]) == 2

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda answer: answer["none"],
            lambda answer: answer["a"]["b"][7],
            lambda answer: answer["a"]["b"]["c"],
            list,
            lambda answer: f"It is {answer['a']}",
            lambda answer: str(answer["rows"]),
            lambda answer: answer.rows("none"),
            lambda answer: answer.rows("a"),
            lambda answer: answer.rows("text"),
            lambda answer: answer.rows("mixed"),
            lambda _: Answer(None, where="GET /x")["a"],
            lambda _: list(Answer(None, where="GET /x")),
        ],
    )
    def test_what_is_not_as_documented_says_so(self, wrong: Callable[[Answer], Any]) -> None:
        with pytest.raises(Undocumented, match="GET /x"):
            wrong(self.ANSWER)

    READ = Answer(
        {
            "day": "2027-01-15T08:00:00Z",
            "bare": "2027-01-15T08:00:00",
            "unix": 1_800_000_000,
            "price": 9.99,
            "spelt": "9.990",
            "yes": True,
            "empty": "",
            "none": None,
            "list": ["a", "b"],
            "mixed": ["a", 1],
            "part": {"n": 1},
        },
        where="GET /x",
    )

    def test_members_as_what_they_are(self) -> None:
        eight = datetime(2027, 1, 15, 8, tzinfo=UTC)
        assert [self.READ.moment(name) for name in ("day", "bare", "unix")] == [eight] * 3
        assert self.READ.day("unix") == "15 January 2027"
        assert self.READ.amount("price") == self.READ.amount("spelt") == Decimal("9.99")
        assert (self.READ.text("day"), self.READ.texts("list")) == ("2027-01-15T08:00:00Z", ["a", "b"])
        assert self.READ.part("part")["n"] == 1
        assert self.READ.shows("price", 1, 9.99) == 9.99
        assert self.READ.fill("{price} ({spelt})") == "9.99 (9.990)"

    @pytest.mark.parametrize(
        ("reading", "names"),
        [
            ("moment", ["price_", "yes", "empty", "none", "list"]),
            ("amount", ["yes", "empty", "none", "list", "day"]),
            ("text", ["yes", "empty", "none", "list", "unix"]),
            ("texts", ["mixed", "none", "day", "part"]),
            ("part", ["list", "none", "day"]),
            ("shows", ["none", "part", "day"]),
            ("fill", ["{none}", "{empty}", "{list}", "{absent}"]),
        ],
    )
    def test_and_what_is_something_else_says_so(self, reading: str, names: list[str]) -> None:
        for name in names:
            with pytest.raises(Undocumented):
                getattr(self.READ, reading)(name)


# --- files that an answer names ---------------------------------------------------------------------------------------------


class Filed(Connector):
    label = "Filed"
    key = "filed"
    file_hosts = ("*.s3.*.amazonaws.com", "s3.amazonaws.com")


@pytest.mark.parametrize(
    ("named", "read"),
    [
        (
            "https://b-1.s3.eu-west-1.amazonaws.com/a%2Fb/1?X=1%2F2",
            "https://b-1.s3.eu-west-1.amazonaws.com/a%2Fb/1?X=1%2F2",
        ),
        ("https://S3.Amazonaws.com:443/b/1", "https://s3.amazonaws.com/b/1"),
    ],
)
def test_a_file_is_read_where_its_vendor_s_files_may_lie(named: str, read: str) -> None:
    assert file_url(Filed(), named) == read


@pytest.mark.parametrize(
    "named",
    [
        "http://s3.amazonaws.com/1",
        "https://s3.amazonaws.com:8443/1",
        "https://s3.amazonaws.com.example.org/1",
        "https://s3xamazonaws.com/1",
        "https://s3.amazonaws.com@127.0.0.1/1",
        "https://127.0.0.1\\@s3.amazonaws.com/1",
        "https://a.b.s3.eu-west-1.amazonaws.com/1",
        "https://b.s3..amazonaws.com/1",
        "https://169.254.169.254/latest",
        "https://[::1/1",
        "//s3.amazonaws.com/1",
        "1",
        "",
    ],
)
def test_a_file_anywhere_else_is_not_read(named: str) -> None:
    with pytest.raises(NotAllowed, match="where none of its files may lie"):
        file_url(Filed(), named)


def test_of_a_file_s_address_what_opens_it_is_not_kept(settings: Settings) -> None:
    with fake_vendor() as vendor:
        settings.ENGAGE_VENDOR_URLS = {"filed": vendor.url}
        settings.ENGAGE_PRIVATE_HOSTS = [vendor.url.removeprefix("http://")]
        there = b"\x1f\x8b\x00\xff"
        vendor.expect(Call("GET", "/files/1", there, {"Signature": "planted"}))
        journal = OnlyLooks()
        with Api(Filed(), {}, journal) as api:
            assert api.file("https://s3.amazonaws.com/1?Signature=planted").data == there
        vendor.assert_played()
    (kept,) = journal.exchanges
    assert (kept.answer, "planted" in str(kept.as_json())) == ("A file of 4 bytes.", False)
