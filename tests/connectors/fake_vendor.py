"""A vendor that plays a script over a real connection, and misbehaves where it says so."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qsl

NOTHING = object()
"""No body at all."""
Json = Any


class Form(dict[str, str]):
    """The fields of a form-encoded body, by their names as they stand on the wire. No JSON object equals one."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Form) and dict(self) == dict(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None


@dataclass(frozen=True)
class Raw:
    """A body of another kind, and the media type under which it came."""

    content_type: str
    text: str


@dataclass(frozen=True)
class Call:
    """One request exactly as it must come, and the answer to it. `path` is quoted, as it stands on the wire."""

    method: str
    path: str
    answer: Json = None
    query: Mapping[str, str] = field(default_factory=dict)
    body: Json = NOTHING
    status: int = 200
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    reads: bool = False  # a read by POST
    token: str = ""  # the access token that this answer gives out
    signed: Mapping[str, str] | None = None  # the headers by which it is signed, where they are not the scenario's

    def __str__(self) -> str:
        return _line(self.method, self.path, self.query.items())

    @property
    def kind(self) -> Literal["read", "write"]:
        """As the door counts it."""
        return "read" if self.reads or self.token or self.method == "GET" else "write"


@dataclass(frozen=True)
class Broken:
    """A way in which an answer goes wrong. `raw` is sent instead of the answer; "{secret}" in it is the vendor's key."""

    name: str
    status: int = 200
    raw: str = ""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    then: Literal["answer", "hang", "reset", "close", "refuse"] = "answer"


@dataclass(frozen=True)
class Heard:
    """A request as it came."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: list[tuple[str, str]]
    body: Json
    call: Call | None = None  # as which it was answered

    def __str__(self) -> str:
        return _line(self.method, self.path, self.query)

    def header(self, name: str) -> str | None:
        """Return the value of a header."""
        return next((value for found, value in self.headers if found.lower() == name.lower()), None)


def _line(method: str, path: str, query: Iterable[tuple[str, str]]) -> str:
    return f"{method} {path} {dict(sorted(query)) or ''}".rstrip()


@dataclass(frozen=True)
class Turn:
    """What is expected next. `optional`: it may also not come."""

    call: Call
    broken: Broken | None = None
    optional: bool = False


class FakeVendor:
    """Answers the requests of a script in order, or, with `by_shape`, any request that looks like one of these calls."""

    def __init__(self) -> None:
        self.script: list[Turn] = []
        self.by_shape: Callable[[Heard], Call | None] | None = None
        self.published: dict[str, Call] = {}  # by path: documents that are asked for at any time, outside the script
        self.fetched: list[str] = []  # which of them were
        self.echo = ""  # what "{secret}" stands for
        self.heard: list[Heard] = []
        self.problems: list[str] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.vendor = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.005})
        self._thread.start()

    def expect(self, *calls: Call, broken: Mapping[int, Broken] | None = None, optional: bool = False) -> None:
        """Add calls to the script; `broken` says which of them go wrong. One before a "refuse" ends the listening."""
        faults = broken or {}
        turns = [Turn(call, faults.get(number), optional) for number, call in enumerate(calls)]
        if turns and turns[0].broken and turns[0].broken.then == "refuse" and not self.script:
            self.stop_listening()
        self.script += turns

    def assert_played(self) -> None:
        """Nothing came that was not expected, and everything came that was."""
        assert not self.problems, "\n".join(["The vendor heard something else than these calls say.", *self.problems])
        left = [str(turn.call) for turn in self.script if not turn.optional and not _never_comes(turn)]
        assert not left, "\n".join(["The vendor still waits for these calls.", *left])
        self.script.clear()

    def stop_listening(self) -> None:
        """Let no further connection in."""
        self._server.shutdown()
        self._server.server_close()

    def stop(self) -> None:
        """End it."""
        with suppress(OSError):
            self.stop_listening()
        self._thread.join()

    def reply_to(self, heard: Heard) -> tuple[Call, Broken | None, bool]:
        """Return the answer to a request, how it goes wrong, and whether this is the last connection."""
        with self._lock:
            if heard.path in self.published:
                self.fetched.append(heard.path)
                return self.published[heard.path], None, False
            call, broken, is_last = self._reply_to(heard)
            self.heard.append(replace(heard, call=call))
            return call, broken, is_last

    def _reply_to(self, heard: Heard) -> tuple[Call, Broken | None, bool]:
        if self.by_shape is not None:
            if (call := self.by_shape(heard)) is None:
                self.problems.append(f"No call has the shape of {heard}, {_told(heard.body)}")
                call = Call(heard.method, heard.path, {}, status=404)
            return call, None, False
        while self.script and self.script[0].optional and _difference(self.script[0].call, heard):
            self.script.pop(0)
        if not self.script:
            self.problems.append(f"One call too many: {heard}, {_told(heard.body)}")
            return Call(heard.method, heard.path, {}, status=418), None, False
        turn = self.script.pop(0)
        if difference := _difference(turn.call, heard):
            self.problems.append(difference)
        return turn.call, turn.broken, bool(self.script and _never_comes(self.script[0]))


def _never_comes(turn: Turn) -> bool:
    return turn.broken is not None and turn.broken.then == "refuse"


def _difference(call: Call, heard: Heard) -> str:
    """Say how a request differs from the expected one."""
    wanted = (call.method, call.path, sorted(call.query.items()))
    came = (heard.method, heard.path, sorted(heard.query))
    if wanted != came:
        return f"Expected {call}\n    came {heard}"
    if (call.body is NOTHING) != (heard.body is NOTHING) or call.body != heard.body:
        return f"{call}: expected {_told(call.body)}\n    came {_told(heard.body)}"
    return ""


def _told(body: Json) -> str:
    return "no body" if body is NOTHING else f"the body {body!r}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    vendor: FakeVendor

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what many tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle_one_request(self) -> None:
        """Read one request, whatever its method, and answer as the script says."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline:
            self.close_connection = True
            return
        if not self.parse_request():
            return
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        heard = Heard(
            self.command,
            path,
            parse_qsl(query, keep_blank_values=True),
            list(self.headers.items()),
            _body(raw, self.headers.get("Content-Type", "")),
        )
        vendor = self.server.vendor
        call, broken, is_last = vendor.reply_to(heard)
        if is_last:
            vendor.stop_listening()
            self.close_connection = True
        if broken is None:
            is_empty = call.answer is NOTHING or (call.answer is None and call.status == 204)
            given = call.answer
            if isinstance(given, bytes):
                self._send(call.status, given, "application/octet-stream", call.answer_headers, last=is_last)
                return
            if not isinstance(given, Raw):
                given = Raw("application/json", "" if is_empty else json.dumps(given))
            self._send(call.status, given.text.encode(), given.content_type, call.answer_headers, last=is_last)
            return
        match broken.then:
            case "hang":
                time.sleep(2)
                self.close_connection = True
            case "reset":
                reset(self.connection)
                self.close_connection = True
            case "close":
                self.close_connection = True
            case _:
                text = broken.raw.replace("{secret}", vendor.echo)
                self._send(broken.status, text.encode(), broken.content_type, broken.headers, last=is_last)

    def _send(self, status: int, raw: bytes, content_type: str, headers: Mapping[str, str], *, last: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(raw)))
        if last:
            self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


def reset(connection: socket.socket) -> None:
    """Hang up at once, without a good-bye (RST)."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _body(raw: bytes, content_type: str) -> Json:
    """Read a body as what its media type says; one that is not that is kept as it came."""
    if not raw:
        return NOTHING
    text = raw.decode("utf-8", "replace")
    with suppress(ValueError):
        if content_type == "application/json":
            return json.loads(text)
        if content_type == "application/x-www-form-urlencoded":
            fields = parse_qsl(text, keep_blank_values=True, strict_parsing=True)
            if len(fields) == len(dict(fields)):
                return Form(fields)
    return Raw(content_type, text)


@contextmanager
def fake_vendor() -> Iterator[FakeVendor]:
    """Run one on a free port."""
    vendor = FakeVendor()
    try:
        yield vendor
    finally:
        vendor.stop()
