"""Which hosts the product may call: public ones, and those that the operator listed.

A name is resolved once, every address is checked, and the connection is opened to a checked address; so a name that
resolves to something else a moment later ("rebinding") changes nothing. When in doubt the answer is no.
"""

import ipaddress
import socket
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from connectors.failures import NotAllowed, Paused, Temporary

RESOLVE_SECONDS = 5
LOOKUPS = 2  # of one name at once, so that one whose name server is silent leaves threads for the others
# Networks that Python's `is_global` lets pass, and in which no vendor lives. RFC 6052 and RFC 8215: addresses in which a
# NAT64 gateway finds an IPv4 address; RFC 3056: 6to4, RFC 7526: its relays; RFC 4380: Teredo; RFC 3879: site-local
# addresses, deprecated and still private; RFC 9637: documentation. RFC 6890: what the protocols themselves use (Python 3.11 knows
# a part of it). 168.63.129.16: the agent of the host that a virtual machine of Azure runs on
# (https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16).
REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "192.88.99.0/24",
        "2001::/32",
        "::ffff:0:0/96",
        "::/96",
        "fec0::/10",
        "3fff::/20",
        "192.0.0.0/24",
        "168.63.129.16/32",
    )
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@cache
def _resolvers() -> ThreadPoolExecutor:
    # getaddrinfo has no time-out of its own; a thread that hangs in it is left behind.
    return ThreadPoolExecutor(max_workers=8, thread_name_prefix="resolve")


_under_way: list[tuple[str, Future[list[Any]]]] = []
_under_way_changes = Lock()


def _looked_up(host: str, port: int) -> Future[list[Any]]:
    """Return a lookup that has begun: a new one, or the latest of this name where enough are under way."""
    name = host.lower()
    with _under_way_changes:
        _under_way[:] = [each for each in _under_way if not each[1].done()]
        lookups = [lookup for of, lookup in _under_way if of == name]
        if len(lookups) >= LOOKUPS:
            return lookups[-1]
        lookup = _resolvers().submit(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM)
        _under_way.append((name, lookup))
        return lookup


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet and hides no other address inside."""
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return False  # only an address of this machine's own links has a zone
    return not any(address in network for network in REFUSED)


def listed(host: str, port: int) -> bool:
    """Whether the operator allows this host and port, wherever it is (ENGAGE_PRIVATE_HOSTS, ENGAGE_VENDOR_URLS)."""
    if f"{host.lower()}:{port}" in {entry.lower() for entry in settings.ENGAGE_PRIVATE_HOSTS}:
        return True
    for url in settings.ENGAGE_VENDOR_URLS.values():
        parts = urlsplit(url)
        if (parts.hostname or "").lower() == host.lower() and (
            parts.port or (443 if parts.scheme == "https" else 80)
        ) == port:
            return True
    return False


def resolve(host: str, port: int, seconds: float = RESOLVE_SECONDS) -> list[str]:
    """Return the addresses of `host`, in the resolver's order.

    Raises:
        Temporary: the name does not resolve, or not within `seconds`.
        Paused: nobody was asked in that time, since other names kept every thread.

    """
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host))]  # nobody is asked, so no thread waits
    lookup = _looked_up(host, port)
    try:
        found = lookup.result(seconds)
    except (TimeoutError, CancelledError):  # the resolver's own time-out, or ours
        if lookup.cancel():
            text = f"The name {host} could not be looked up: other names keep the resolver busy."
            raise Paused(text, after=RESOLVE_SECONDS) from None
        raise Temporary(f"The name {host} did not resolve in time.", sent=False) from None
    except (OSError, UnicodeError):
        raise Temporary(f"The name {host} does not resolve.", sent=False) from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def checked_addresses(host: str, port: int, seconds: float = RESOLVE_SECONDS) -> list[str]:
    """Return the addresses to which a connection to `host` may be opened.

    Raises:
        NotAllowed: one of its addresses is not public, and the operator did not list the host.
        Temporary: the name does not resolve, or not within `seconds`.

    """
    host = host.strip("[]")
    addresses = resolve(host, port, seconds)
    if not addresses:
        raise Temporary(f"The name {host} has no address.", sent=False)
    if listed(host, port):
        return addresses
    for address in addresses:
        try:
            public = is_public(ipaddress.ip_address(address))
        except ValueError:
            public = False
        if not public:
            raise NotAllowed(
                f"{host} is on a private network, which Engage does not call. If it is yours and meant, "
                f"the operator adds {host}:{port} to ENGAGE_PRIVATE_HOSTS."
            )
    return addresses
