"""A vendor that speaks HTTP/2 over TLS, and does with each request what a test says."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError

from tests.connectors.test_http import own_certificate, serving

HTTP_2 = ("h2",)


@dataclass
class Stream:
    """A request as it came, and how it can be answered: by its methods, or by those of `talk` and `flush()`."""

    talk: H2Connection
    connection: socket.socket
    number: int
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)

    def answer(self, status: int = 200, body: bytes = b"", *, ends: bool = True, **headers: str) -> None:
        """Answer, as far as the windows let it."""
        fields = [(":status", str(status)), *((name.replace("_", "-"), value) for name, value in headers.items())]
        self.talk.send_headers(self.number, fields, end_stream=ends and not body)
        while body:
            room = min(self.talk.local_flow_control_window(self.number), self.talk.max_outbound_frame_size)
            if room:
                self.talk.send_data(self.number, body[:room], end_stream=ends and room >= len(body))
                body = body[room:]
            self.flush()
            if not room:
                self.talk.receive_data(self.connection.recv(65536))
        self.flush()

    def drop(self, part: bytes) -> None:
        """Send a part of the body."""
        self.talk.send_data(self.number, part)
        self.flush()

    def reset(self, code: ErrorCodes) -> None:
        """End the stream."""
        self.talk.reset_stream(self.number, code)
        self.flush()

    def go_away(self, last: int) -> None:
        """Say that the connection ends, and which stream was the last to be processed."""
        self.talk.close_connection(last_stream_id=last)
        self.flush()

    def flush(self) -> None:
        """Send what was said."""
        self.connection.sendall(self.talk.data_to_send())


class Http2Vendor:
    """Listens on a port of localhost, under a certificate of its own (`certificate`)."""

    def __init__(self, folder: Path, protocols: tuple[str, ...] = HTTP_2) -> None:
        self.context = own_certificate(folder)
        self.certificate = folder / "own.pem"
        if protocols:
            self.context.set_alpn_protocols(list(protocols))
        self.does: Callable[[Stream], None] = Stream.answer
        self.heard: list[Stream] = []
        self.opened = 0
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://localhost:{self.port}"

    def serve(self, connection: socket.socket) -> None:
        """Hold one connection's talk."""
        with self.context.wrap_socket(connection, server_side=True) as secured:
            self.opened += 1
            with suppress(ProtocolError):  # h2 takes nothing more once a connection was closed
                self._talk(secured)

    def _talk(self, secured: ssl.SSLSocket) -> None:
        talk = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        talk.initiate_connection()
        secured.sendall(talk.data_to_send())
        streams: dict[int, Stream] = {}
        while raw := secured.recv(65536):
            for event in talk.receive_data(raw):
                self._heed(event, talk, secured, streams)
            secured.sendall(talk.data_to_send())

    def _heed(self, event: Event, talk: H2Connection, secured: ssl.SSLSocket, streams: dict[int, Stream]) -> None:
        match event:
            case RequestReceived(stream_id=number, headers=head):
                streams[number] = Stream(talk, secured, number, {str(name): str(value) for name, value in head})
            case DataReceived(stream_id=number, data=part, flow_controlled_length=length):
                streams[number].body += part
                talk.acknowledge_received_data(length or 0, number)
            case StreamEnded(stream_id=number):
                self.heard.append(streams[number])
                self.does(streams[number])


@contextmanager
def http2_vendor(folder: Path, protocols: tuple[str, ...] = HTTP_2) -> Iterator[Http2Vendor]:
    """Run one on a free port.

    Args:
        folder: for its certificate.
        protocols: that it chooses from; none: it does not know of choosing.

    """
    vendor = Http2Vendor(folder, protocols)
    with serving(vendor.serve) as vendor.port:
        yield vendor
