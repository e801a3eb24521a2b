"""How bytes leave: sockets to checked addresses only, no redirects, and all of it within a deadline."""

import socket
from collections.abc import Mapping
from typing import Any, ClassVar

import requests
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from connectors import deadlines
from connectors.addresses import RESOLVE_SECONDS, checked_addresses

HTTP_2 = 20
"""The version of an answer over HTTP/2, as urllib3 counts: major * 10 + minor."""


def open_socket(host: str, port: int, seconds: float) -> socket.socket:
    """Open a socket to a checked address of a host, which is shut when the deadline at hand is over.

    Args:
        seconds: for connecting, and for each read and write afterwards.

    Raises:
        OSError: nobody listens, or not in time.
        NotAllowed: the host is private, and not listed.
        Temporary: the name does not resolve.

    """
    deadline = deadlines.required()
    failed = OSError("no address")
    for address in checked_addresses(host, port, min(RESOLVE_SECONDS, deadline.remaining())):
        try:
            sock = socket.create_connection((address, port), min(seconds, deadline.remaining() or 0.001))
        except OSError as error:
            failed = error
            continue
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        deadline.watch(sock)
        return sock
    raise failed


def _connect(connection: HTTPConnection) -> socket.socket:
    """Open a socket to a checked address of the connection's host. The name stays for SNI and the certificate."""
    deadlines.required().connected = False
    host, port = connection._dns_host, connection.port  # noqa: SLF001 - what urllib3's own _new_conn connects to
    try:
        return open_socket(host, port, float(connection.timeout or 1))
    except TimeoutError as late:
        raise ConnectTimeoutError(connection, "no connection in time") from late
    except OSError as failed:
        raise NewConnectionError(connection, "no connection") from failed


class _CheckedHTTPConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)

    def connect(self) -> None:
        super().connect()
        deadlines.required().connected = True


class CheckedHTTPSConnection(HTTPSConnection):
    """A connection of urllib3 to a checked address, whose certificate is checked against the host's name."""

    def _new_conn(self) -> socket.socket:
        return _connect(self)

    def connect(self) -> None:
        """Connect, and say to the deadline that there is a connection."""
        super().connect()
        deadlines.required().connected = True


class _CheckedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _CheckedHTTPConnection


class _CheckedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = CheckedHTTPSConnection


class CheckedAdapter(HTTPAdapter):
    """A transport of requests whose connections are opened to checked addresses only."""

    pools: ClassVar[Mapping[str, type[HTTPConnectionPool]]] = {"http": _CheckedHTTPPool, "https": _CheckedHTTPSPool}

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        """Make the pools with our connections. Nothing is retried inside: a repeat is the runner's decision."""
        super().init_poolmanager(connections, maxsize, block, **options)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = dict(self.pools)


class _CheckedSession(requests.Session):
    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Leave out, where another protocol than HTTP is spoken, the headers that belong to HTTP."""
        prepared = super().prepare_request(request)
        if not request.url.startswith("http"):
            for name in (*self.headers, "Content-Length"):
                prepared.headers.pop(name, None)
        return prepared

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """No answer is a redirect: even unfollowed, requests would read its whole body to prepare the next request."""
        return None


def checked_session() -> requests.Session:
    """Return a session that goes through the door (SDKs that cannot be given one are not used)."""
    session = _CheckedSession()
    # Proxy variables would bypass the address check; ~/.netrc would replace our Authorization.
    session.trust_env = False
    session.adapters.clear()
    adapter = CheckedAdapter(max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
