"""HTTP/2 (RFC 9113) as a protocol of the door, for a vendor that speaks nothing else (`Connector.protocols`).

`h2` writes and reads the frames; sockets, checked addresses, certificates, time-outs and the deadline are those of HTTP/1.1. A
connection carries one request at a time and lives as long as its attempt. What the server says that it has not processed was not
sent; every other end before a whole answer may have acted.
"""

import ssl
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from io import RawIOBase
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError as BadFrame
from h2.settings import SettingCodes
from urllib3 import HTTPHeaderDict, HTTPResponse
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.exceptions import ProtocolError

from connectors.failures import Temporary
from connectors.transport import HTTP_2, CheckedAdapter, CheckedHTTPSConnection

ALPN = "h2"


class _Offer(ssl.SSLContext):
    """How certificates are checked, and what is offered: HTTP/2 alone, where urllib3 would have every context say HTTP/1.1."""

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """Offer HTTP/2."""
        super().set_alpn_protocols([ALPN])


class _Body(RawIOBase):
    """An answer's body as urllib3 reads it."""

    def __init__(self, take: Callable[[int], bytes]) -> None:
        self._take = take

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some of it; 0 bytes are its end."""
        part = self._take(len(buffer))
        buffer[: len(part)] = part
        return len(part)


class Http2Connection(CheckedHTTPSConnection):
    """A connection of urllib3 that speaks HTTP/2."""

    def connect(self) -> None:
        """Connect.

        Raises:
            Temporary: the server does not choose HTTP/2; nothing was sent.

        """
        super().connect()
        if not (isinstance(self.sock, ssl.SSLSocket) and self.sock.selected_alpn_protocol() == ALPN):
            raise Temporary(f"{self.host} does not speak HTTP/2, so nothing was sent.", sent=False)
        self._h2 = H2Connection(H2Configuration(header_encoding="latin-1"))
        self._h2.initiate_connection()
        self._h2.update_settings({SettingCodes.ENABLE_PUSH: 0})
        self._is_closing = False

    @property
    def is_connected(self) -> bool:
        """Whether it can carry one more request."""
        return super().is_connected and not self._is_closing

    def request(  # type: ignore[override]  # the door's bodies are bytes
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, **_: Any
    ) -> None:
        """Send a request, as a stream of its own.

        Raises:
            Temporary: the server says that it has not processed it.

        """
        self.sock.settimeout(self.timeout)
        self._stream = self._h2.get_next_available_stream_id()
        self._head: list[tuple[str, str]] = []
        self._body, self._is_whole = bytearray(), False
        self._asked = method, url
        host = f"[{self.host}]" if ":" in self.host else self.host
        authority = host if self.port == self.default_port else f"{host}:{self.port}"
        head = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", url)]
        rest = body or b""
        # h2 leaves out what is said of a connection and not of a request (RFC 9113, 8.2.2).
        self._h2.send_headers(self._stream, [*head, *(headers or {}).items()], end_stream=not rest)
        while rest and not self._is_whole:  # a server may answer before it has all of it
            room = min(self._h2.local_flow_control_window(self._stream), self._h2.max_outbound_frame_size)
            if not room:
                self._receive()
                continue
            self._h2.send_data(self._stream, rest[:room], end_stream=len(rest) <= room)
            rest = rest[room:]
        self._send()

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # none of http.client's
        """Read the head of the answer; its body is read by whoever wants it.

        Raises:
            Temporary: the server says that it has not processed the request.
            ProtocolError: it hung up, or speaks something else.

        """
        self.sock.settimeout(self.timeout)
        while not self._head:
            self._receive()
        method, url = self._asked
        (_, status), *fields = self._head
        return HTTPResponse(
            body=_Body(self._part_of_body),
            headers=HTTPHeaderDict(fields),
            status=int(status),
            version=HTTP_2,
            version_string="HTTP/2",
            preload_content=False,
            decode_content=False,
            request_method=method,
            request_url=url,
        )

    def _part_of_body(self, most: int) -> bytes:
        while not self._body and not self._is_whole:
            self._receive()
        part = bytes(self._body[:most])
        del self._body[:most]
        return part

    def _send(self) -> None:
        if frames := self._h2.data_to_send():
            self.sock.sendall(frames)

    def _receive(self) -> None:
        """Send what is to be sent, and read what comes next."""
        self._send()
        if not (raw := self.sock.recv(65536)):
            raise ProtocolError("The server hung up.")
        try:
            events = self._h2.receive_data(raw)
        except BadFrame as wrong:
            raise ProtocolError("The server speaks no HTTP/2 that can be read.") from wrong
        for event in events:
            self._heed(event)

    def _heed(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            self._is_closing = True
            last = event.last_stream_id
            if last is not None and last < self._stream:  # RFC 9113, 6.8: what is above it "was not processed"
                raise self._not_processed()
            if not self._is_whole:
                # The stream might still be answered; h2 reads no further (https://github.com/python-hyper/h2/issues/1181).
                raise ProtocolError("The server closed the connection.")
        elif getattr(event, "stream_id", None) == self._stream:
            self._heed_stream(event)

    def _heed_stream(self, event: Event) -> None:
        match event:
            case ResponseReceived(headers=head):
                self._head = [(str(name), str(value)) for name, value in head]
            case DataReceived(data=part, flow_controlled_length=length):
                self._body += part
                self._h2.acknowledge_received_data(length or 0, self._stream)
            case StreamEnded():
                self._is_whole = True
            case StreamReset(
                error_code=ErrorCodes.REFUSED_STREAM
            ):  # RFC 9113, 8.7: "guaranteed to not have been processed"
                raise self._not_processed()
            case StreamReset() if not self._is_whole:
                raise ProtocolError("The server broke the answer off.")

    def _not_processed(self) -> Temporary:
        return Temporary(f"{self.host} did not take the request.", sent=False)


class _Pool(HTTPSConnectionPool):
    ConnectionCls = Http2Connection  # type: ignore[assignment]  # its request() takes bytes alone


class Http2(CheckedAdapter):
    """Carries requests to the `https:` URLs under which a connector names it."""

    pools = {"https": _Pool}

    @cached_property
    def _offer(self) -> _Offer:
        return _Offer(ssl.PROTOCOL_TLS_CLIENT)

    def build_connection_pool_key_attributes(self, *told: Any, **more: Any) -> Any:
        """Let connections offer HTTP/2. Most attempts of a connector do not come here, so it is made at the first that does."""
        host, options = super().build_connection_pool_key_attributes(*told, **more)
        return host, {**options, "ssl_context": self._offer}
