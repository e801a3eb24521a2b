"""Vendors to call: one that answers as Cleeng does, and ones that misbehave. Run as `python -m bench.vendors <port>`.

/good/...     Cleeng's subscriptions: every one is active and without a coupon, until it is changed
/hang/...     never answers
/500/...      answers at once that it has a problem
/trickle/...  sends a drop of its headers every half second
"""

import json
import sys
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FOR_EVER = 120.0  # seconds; longer than any attempt


class Handler(BaseHTTPRequestHandler):
    """Answers by the first part of the path."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def parse_request(self) -> bool:
        """Answer every method alike."""
        if not super().parse_request():
            return False
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with suppress(OSError):
            self.answer(self.path.split("/")[1])
        return False

    def answer(self, kind: str) -> None:
        """Answer, or not."""
        match kind:
            case "hang":
                time.sleep(FOR_EVER)
            case "trickle":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                for _ in range(int(FOR_EVER * 2)):
                    self.wfile.write(b"X-Drop: 1\r\n")
                    time.sleep(0.5)
            case "500":
                self.send(500, {"errors": [{"message": "internal error"}]})
            case _:
                number = int(self.path.partition("?")[0].rsplit("/", 1)[1])
                subscription = {"subscriptionId": number, "status": "active", "offerId": "S1_US", "couponCode": None}
                if self.command == "PATCH":
                    changed = {**subscription, **json.loads(self.body)}
                    self.send(200, {"success": True, "subscription": changed})
                else:
                    self.send(200, subscription)

    def send(self, status: int, data: Any) -> None:
        """Send JSON, and hang up."""
        raw = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(raw)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Takes many connections that hang."""

    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
