"""The sandbox's web server: vendors below `/<vendor>/`, control below `/_sandbox/`, pages for people at `/` and at `/<vendor>`."""

import socket
import struct
import threading
import time
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from connectors.sandbox import page
from connectors.sandbox.http import Fault, Refusal, Request, Response, is_json, next_fault
from connectors.sandbox.mail import MailServer
from connectors.sandbox.store import Json, Store
from connectors.sandbox.worlds import OVER_HTTP, WORLDS, smtp

LARGEST_BODY = 1024 * 1024


class Sandbox(ThreadingHTTPServer):
    """Listens on `host`:`port` (0: any free one) until `stop()`; `serve()` is for a thread of its own.

    With a `mail_port` (0: any free one) a mail server listens there, too.
    """

    daemon_threads = True
    block_on_close = False  # a client may keep its connection for ever
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, store: Store, host: str = "127.0.0.1", port: int = 0, *, mail_port: int | None = None) -> None:
        super().__init__((host, port), Handler)
        self.store = store
        self.mails = MailServer(store, host, mail_port) if mail_port is not None else None
        self.labels: page.Labels = {}
        self.stopping = threading.Event()
        self._seed()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.server_address[0]!s}:{self.server_port}"

    def reset(self) -> None:
        """Make the world as it was at its start."""
        with self.store.transaction():
            self.store.clear()
            self._seed()

    def _seed(self) -> None:
        """Begin the worlds that are not in the store yet."""
        with self.store.transaction():
            for world in WORLDS.values():
                if self.store.get(world.key, "world", "begun") is None:
                    world.seed(self.store, None)
                    self.store.put(world.key, "world", "begun", {})
            if self.mails is not None:
                smtp.listen(self.store, self.mails.host, self.mails.port)

    def fault_for(self, vendor: str, request: Request) -> Fault | None:
        """Return how this request goes wrong, if it does."""
        return next_fault(self.store, vendor, request)

    def stop(self) -> None:
        """End at once, also the answers that hang."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        if self.mails is not None:
            self.mails.stop()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Sandbox
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise every answer waits 40 ms for the client's ACK
    wbufsize = -1  # head and body leave in one piece
    server_version, sys_version = "EngageSandbox", ""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as its base has it
        """Requests are in the store."""

    def handle(self) -> None:
        """Serve the connection; a client that hangs up is no news."""
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def finish(self) -> None:
        """Close the connection, also one that was reset already."""
        try:
            super().finish()
        except (OSError, ValueError):
            self.close_connection = True

    def _any(self) -> None:
        url = urlsplit(self.path)
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > LARGEST_BODY:
            self.close_connection = True
            self._send(Response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"message": "Too large"}))
            return
        content = self.rfile.read(int(length))
        _, first, *rest = url.path.split("/")
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, "/" + unquote("/".join(rest)), url.query, headers, content)
        if first in WORLDS and (rest or self.command != "GET"):
            self._vendor(first, request)
        elif first == "_sandbox":
            self._send(control(self.server, request))
        elif first in WORLDS:
            where = f"{self.server.url}/{first}" if first in OVER_HTTP else ""
            self._show(page.world(self.server.store, where, WORLDS[first], self.server.labels.get(first, {})))
        elif url.path == "/":
            self._show(page.overview(self.server.store, WORLDS))
        else:
            self._send(Response(HTTPStatus.NOT_FOUND, {"message": "Nothing is here. Vendors: " + ", ".join(WORLDS)}))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - as http.server calls them

    def _show(self, html: str) -> None:
        self._send(Response(raw=html, content_type="text/html; charset=utf-8"))

    def _vendor(self, vendor: str, request: Request) -> None:
        store = self.server.store
        number = store.begin_request(vendor, request.for_the_log())
        fault = self.server.fault_for(vendor, request)
        answer = Response(HTTPStatus.INTERNAL_SERVER_ERROR)
        if fault is None or fault.act or fault.keeps_the_answer:
            with store.transaction():
                store.request = number
                answer = WORLDS[vendor].respond(request, store)
        if fault is not None:
            answer = fault.spoil(answer)
        silent = fault is not None and fault.then in {"hang", "reset"}
        store.finish_request(
            number,
            status=None if silent else answer.status,
            fault=asdict(fault) if fault else None,
            finished_at=store.now(),
        )
        if fault is not None and fault.delay:
            self.server.stopping.wait(fault.delay)
        match fault:
            case Fault(then="hang"):
                self.server.stopping.wait(fault.hang)
                self.close_connection = True
            case Fault(then="reset"):
                self._reset()
            case Fault(then="trickle"):
                self._trickle(answer, fault.pause)
            case _:
                self._send(answer)

    def _send(self, answer: Response) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)
        self.wfile.flush()

    def _reset(self) -> None:
        # Lingering for zero seconds makes the kernel send a reset in place of an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _trickle(self, answer: Response, pause: float) -> None:
        head = f"HTTP/1.1 {answer.status} X\r\nContent-Type: {answer.content_type}\r\nContent-Length: {len(answer.content)}\r\n\r\n"
        self.close_connection = True
        for byte in head.encode() + answer.content:
            if self.server.stopping.wait(pause):
                return
            self.wfile.write(bytes([byte]))
            self.wfile.flush()


def control(server: Sandbox, request: Request) -> Response:
    """Answer the control API. It takes JSON only, so that no foreign web page can send it a form."""
    store = server.store
    try:
        if request.method == "GET":
            return _look(store, request)
        if not is_json(request):
            return Response(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, {"message": "Send JSON."})
        return _change(server, request)
    except Refusal as refusal:
        return refusal.response
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return Response(HTTPStatus.BAD_REQUEST, {"message": f"{type(error).__name__}: {error}"})


def _look(store: Store, request: Request) -> Response:
    vendor = request.first("vendor")
    with store.transaction():
        looks: dict[str, Any] = {
            "/state": lambda: {key: world.state(store) for key, world in WORLDS.items()} | {"now": store.now()},
            "/effects": lambda: store.effects(vendor),
            "/requests": lambda: store.requests(vendor),
            "/faults": lambda: [fault for _, fault in store.faults()],
            "/health": lambda: {"time": time.time(), "vendors": list(WORLDS)},
        }
        if request.path in looks:
            return Response(body=looks[request.path]())
    return Response(HTTPStatus.NOT_FOUND, {"message": "GET knows " + ", ".join(looks)})


def _change(server: Sandbox, request: Request) -> Response:
    store = server.store
    body: Json = request.json() or {}
    match request.method, request.path:
        case "POST", "/reset":
            server.reset()
        case "POST", "/seed":
            with store.transaction():
                for key, more in body.items():
                    WORLDS[key].seed(store, more)
        case "POST", "/faults":
            store.add_fault(asdict(Fault.read(body)))
        case "DELETE", "/faults":
            store.clear(faults_only=True)
        case "POST", "/labels":
            server.labels = page.read_labels(body)
        case "POST", "/clock":
            store.advance(float(body["advance"]))
        case _:
            return Response(
                HTTPStatus.NOT_FOUND,
                {"message": "POST knows /reset, /seed, /faults, /labels, /clock; DELETE knows /faults"},
            )
    return Response(body={})
