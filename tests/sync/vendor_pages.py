"""A Recurly of many accounts, over real HTTP: its lists page by page, filtered and sorted as asked for."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Thing = dict[str, Any]
Answer = tuple[int, Mapping[str, str], Any]


def subscription(account: str, **changes: Any) -> Thing:
    """Return an account's active subscription; its account's id is that of its code, upside down."""
    return {
        "id": f"s-{account}",
        "account": {"id": account[::-1], "code": account},
        "plan": {"code": "basic", "name": "Basic"},
        "state": "active",
        "currency": "USD",
        "total": 9.99,
        "created_at": "2026-01-15T08:00:00Z",
        "updated_at": "2026-01-15T08:00:00Z",
        "canceled_at": None,
        "coupon_redemptions": [],
        **changes,
    }


class Pages:
    """The vendor. `before` is asked first, and answers in place of it where it wants to."""

    def __init__(self) -> None:
        self.lists: dict[str, list[Thing]] = {"subscriptions": [], "invoices": []}
        self.heard: list[str] = []
        self.before: Callable[[str], Answer | None] = lambda _: None
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                vendor.heard.append(self.path)
                status, headers, body = vendor.before(self.path) or (200, {}, vendor.page(self.path))
                raw = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Type": "application/json"}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def page(self, path: str) -> Any:
        """Return a page of a list, of the site or of an account."""
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        segments = parts.path.strip("/").split("/")
        rows = self.lists[segments[-1]]
        if segments[0] == "accounts":
            rows = [row for row in rows if row["account"]["id"] == segments[1]]
        by = query.get("sort", "created_at")
        rows = sorted(rows, key=lambda row: str(row[by]), reverse=query.get("order") == "desc")
        rows = [row for row in rows if str(row[by]) >= query.get("begin_time", "")]
        start, limit = int(query.get("cursor", "0")), int(query["limit"])
        more = start + limit < len(rows)
        query["cursor"] = str(start + limit)
        following = f"{parts.path}?" + "&".join(f"{name}={value}" for name, value in query.items())
        return {
            "object": "list",
            "has_more": more,
            "next": following if more else None,
            "data": rows[start : start + limit],
        }

    @property
    def queries(self) -> list[tuple[str, dict[str, str]]]:
        """What was asked for: path and query."""
        parts = [urlsplit(path) for path in self.heard]
        return [(one.path, {name: values[0] for name, values in parse_qs(one.query).items()}) for one in parts]


@contextmanager
def vendor_pages() -> Iterator[Pages]:
    """Run one on a free port."""
    vendor = Pages()
    thread = threading.Thread(target=vendor.server.serve_forever, kwargs={"poll_interval": 0.005})
    thread.start()
    try:
        yield vendor
    finally:
        vendor.server.shutdown()
        vendor.server.server_close()
        thread.join()
