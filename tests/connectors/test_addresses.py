"""Which hosts may be called. When in doubt the answer is no."""

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from connectors import addresses, transport
from connectors.addresses import checked_addresses, is_public, listed, resolve
from connectors.failures import NotAllowed, Paused, Temporary
from connectors.http import Api
from tests.connectors.contract import MemoryJournal
from tests.connectors.throwaway import Throwaway
from tests.waiting import until

# Numeric forms are resolved by the system's own resolver, as a browser's URL bar would.
HOSTILE = [
    *("127.0.0.1", "127.1", "127.255.255.254", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001"),
    *("0.0.0.0", "0", "255.255.255.255", "240.0.0.1", "224.0.0.1", "239.255.255.250"),  # noqa: S104 - nothing is bound
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.1.1", "100.64.0.1", "100.127.255.254"),
    *(
        "169.254.169.254",
        "0xa9fea9fe",
        "2852039166",
        "169.254.170.2",
        "192.0.0.1",
        "192.0.0.9",
        "192.0.0.200",
        "192.0.2.1",
        "198.18.0.1",
    ),
    *("198.51.100.1", "203.0.113.1", "192.88.99.1", "192.0.0.9", "192.0.0.200", "168.63.129.16", "0xa83f8110"),
    *("::1", "::", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::127.0.0.1", "::8.8.8.8"),
    *("fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "ff0e::1"),
    *("64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::", "2002:808:808::", "2001:0:808:808::1"),
    *("2001:db8::1", "3fff::1", "100::1", "::ffff:0:7f00:1", "5f00::1", "[::1]", "[::ffff:10.0.0.1]"),
    *("localhost", "LOCALHOST", "localhost."),
]


@pytest.mark.parametrize("host", HOSTILE)
def test_what_is_not_on_the_public_internet_is_refused(host: str) -> None:
    with pytest.raises((NotAllowed, Temporary)) as refused:
        checked_addresses(host, 443)
    assert isinstance(refused.value, NotAllowed) or "does not resolve" in str(refused.value)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::1"])
def test_what_is_may_be_called(address: str) -> None:
    assert checked_addresses(address, 443) == [address]


@pytest.mark.parametrize(
    "host", ["", " ", "a" * 64 + ".example", "\x00", "exa mple", "xn--", "no-such-host.invalid", "ex\nample"]
)
def test_what_is_no_name_does_not_resolve(host: str) -> None:
    with pytest.raises((Temporary, NotAllowed)):
        checked_addresses(host, 443)


def test_a_zone_belongs_to_a_link_of_this_machine() -> None:
    assert not is_public(ipaddress.ip_address("2606:4700::1111%eth0"))
    assert is_public(ipaddress.ip_address("2606:4700::1111"))


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_that_hides_another_is_never_public(address: ipaddress.IPv6Address) -> None:
    if is_public(address):
        assert address.ipv4_mapped is None
        assert address.sixtofour is None
        assert address.teredo is None
        assert address in ipaddress.ip_network("2000::/3")
        assert not address.is_private


@given(st.ip_addresses(v=4))
def test_no_spelling_of_an_ipv4_address_inside_ipv6_is_public(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for prefix in ("::ffff:0:0", "::", "64:ff9b::", "::ffff:0:0:0"):
        assert not is_public(ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | number))
    assert not is_public(ipaddress.IPv6Address((0x2002 << 112) | (number << 80)))


@given(
    st.sampled_from(
        [
            "10.0.0.0/8",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "224.0.0.0/3",
            "0.0.0.0/8",
            "fc00::/7",
            "fe80::/10",
            "fec0::/10",
            "ff00::/8",
            "2001:db8::/32",
            "::/8",
        ]
    ),
    st.integers(min_value=0),
)
def test_no_address_of_a_private_network_is_public(network: str, number: int) -> None:
    inside = ipaddress.ip_network(network)
    assert not is_public(inside[number % inside.num_addresses])


def answering(*found: str) -> Callable[..., Any]:
    """Return a resolver of the system that knows these addresses."""
    return lambda _, port, *__: [
        (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
        for address in found
    ]


class TestNames:
    @pytest.mark.parametrize(
        "found",
        [
            ("10.0.0.1",),
            ("8.8.8.8", "10.0.0.1"),
            ("10.0.0.1", "8.8.8.8"),
            ("2606:4700::1111", "::1"),
            ("fe80::1%eth0",),
            ("gibberish",),
        ],
    )
    def test_one_private_address_is_enough_to_refuse(
        self, monkeypatch: pytest.MonkeyPatch, found: tuple[str, ...]
    ) -> None:
        monkeypatch.setattr(socket, "getaddrinfo", answering(*found))
        with pytest.raises(NotAllowed, match="ENGAGE_PRIVATE_HOSTS"):
            checked_addresses("vendor.example", 443)

    def test_public_ones_are_returned_each_once_in_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(socket, "getaddrinfo", answering("8.8.8.8", "2606:4700::1111", "8.8.8.8"))
        assert checked_addresses("vendor.example", 443) == ["8.8.8.8", "2606:4700::1111"]

    def test_no_address_at_all_is_a_no(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(socket, "getaddrinfo", answering())
        with pytest.raises(Temporary):
            checked_addresses("vendor.example", 443)

    @pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), OSError("network"), UnicodeError("label")])
    def test_a_resolver_that_fails_is_a_no(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        def failing(*_: Any) -> Any:
            raise error

        monkeypatch.setattr(socket, "getaddrinfo", failing)
        with pytest.raises(Temporary) as failed:
            resolve("vendor.example", 443)
        assert failed.value.sent is False

    def test_a_resolver_that_hangs_is_a_no_in_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        let_go = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: let_go.wait(10))
        try:
            with pytest.raises(Temporary, match="in time"):
                checked_addresses("vendor.example", 443, 0.1)
        finally:
            let_go.set()


class TestSilentNameServers:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
        """The names that the system's resolver was asked for; it knows one at once, and the others in the end."""
        asked: list[str] = []
        self.answers = threading.Event()

        def answer(host: str, port: int, *_: Any) -> Any:
            asked.append(host)
            if host != "vendor.example":
                self.answers.wait(20)
            return answering("8.8.8.8")("", port)

        monkeypatch.setattr(socket, "getaddrinfo", answer)
        yield asked
        self.answers.set()
        until(lambda: all(lookup.done() for _, lookup in addresses._under_way))  # noqa: SLF001 - no test sees another's

    def test_a_silent_name_keeps_two_threads(self, asked: list[str]) -> None:
        for _ in range(9):
            with pytest.raises(Temporary, match="in time") as failed:
                resolve("Silent.example", 443, 0.02)
            assert not isinstance(failed.value, Paused)
        assert asked == ["Silent.example"] * 2
        assert resolve("vendor.example", 443, 5) == ["8.8.8.8"]

    def test_who_comes_third_gets_the_answer_of_the_others(self, asked: list[str]) -> None:
        with ThreadPoolExecutor(3) as threads:
            found = [threads.submit(resolve, "slow.example", 443, 10) for _ in range(3)]
            threading.Timer(0.2, self.answers.set).start()
            assert [each.result() for each in found] == [["8.8.8.8"]] * 3
        assert len(asked) <= 2

    def test_who_got_no_thread_was_not_refused_and_is_not_asked_about_later(self, asked: list[str]) -> None:
        for number in range(8):
            with pytest.raises(Temporary):
                resolve(f"silent-{number // 2}.example", 443, 0.02)
        with pytest.raises(Paused, match="other names keep the resolver busy") as paused:
            resolve("vendor.example", 443, 0.02)
        assert (paused.value.after, paused.value.sent) == (5, False)
        self.answers.set()
        assert resolve("silent-9.example", 443, 5) == ["8.8.8.8"]
        assert "vendor.example" not in asked

    def test_it_is_no_trouble_of_the_vendor_s(self, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(8):
            with pytest.raises(Temporary):
                resolve(f"silent-{number // 2}.example", 443, 0.02)
        monkeypatch.setattr(transport, "RESOLVE_SECONDS", 0.02)
        with Api(Throwaway(), {"api_key": "a-key-of-the-tests"}, MemoryJournal()) as api:
            with pytest.raises(Paused):
                api.get("x")
            assert api.failed is None


class TestExceptions:
    @pytest.mark.parametrize("entry", ["localhost:8100", "LocalHost:8100"])
    def test_a_listed_host_may_be_private_on_that_port_alone(self, settings: Settings, entry: str) -> None:
        settings.ENGAGE_PRIVATE_HOSTS = [entry]
        assert "127.0.0.1" in checked_addresses("localhost", 8100)
        for host, port in (("localhost", 8101), ("127.0.0.1", 8100), ("localhost.", 8100), ("xlocalhost", 8100)):
            assert not listed(host, port)
        with pytest.raises(NotAllowed):
            checked_addresses("localhost", 8101)

    @pytest.mark.parametrize(
        ("url", "host", "port"),
        [
            ("http://127.0.0.1:9000/cleeng", "127.0.0.1", 9000),
            ("http://recorder/", "recorder", 80),
            ("https://Recorder.local/x", "recorder.local", 443),
            ("http://[::1]:9000/", "::1", 9000),
        ],
    )
    def test_a_vendors_own_url_is_listed_host_and_port(
        self, settings: Settings, url: str, host: str, port: int
    ) -> None:
        settings.ENGAGE_VENDOR_URLS = {"cleeng": url}
        assert listed(host, port)
        assert not listed(host, port + 1)
        assert not listed("127.0.0.2", port)

    def test_nothing_is_listed_unless_somebody_lists_it(self, settings: Settings) -> None:
        settings.ENGAGE_PRIVATE_HOSTS, settings.ENGAGE_VENDOR_URLS = [], {}
        assert not listed("localhost", 80)
