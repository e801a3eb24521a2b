"""The least of an S3 store: lists a folder and streams its files, so that the store costs next to nothing of what is measured."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.sax.saxutils import escape


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve this folder as every bucket; yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """List, or send a file."""
            name = unquote(urlsplit(self.path).path).strip("/").partition("/")[2]
            if name:
                return self._send(folder / name)
            body = _listing(folder).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return None

        def _send(self, path: Path) -> None:
            self.send_response(200)
            self.send_header("ETag", _etag(path))
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            with path.open("rb") as file:
                shutil.copyfileobj(file, self.wfile, 1 << 20)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def _etag(path: Path) -> str:
    found = path.stat()
    return f'"{found.st_ino:x}-{found.st_mtime_ns:x}"'


def _listing(folder: Path) -> str:
    items = [
        f"<Contents><Key>{escape(path.name)}</Key><ETag>{escape(_etag(path))}</ETag><Size>{path.stat().st_size}</Size>"
        f"<LastModified>{datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y-%m-%dT%H:%M:%S.000Z}</LastModified></Contents>"
        for path in sorted(folder.iterdir())
    ]
    return f"<ListBucketResult><Name>bench</Name>{''.join(items)}</ListBucketResult>"
