"""`python -m connectors.sandbox --port 9000 --store sandbox.sqlite3`: run the fake vendor world until Ctrl-C."""

import argparse
import signal
import sys
import threading
from pathlib import Path

from connectors.sandbox.server import Sandbox
from connectors.sandbox.store import Store
from connectors.sandbox.worlds import WORLDS, apple, cleeng


def main() -> int:
    """Serve; returns the exit status."""
    options = argparse.ArgumentParser(
        prog="python -m connectors.sandbox", description="A fake vendor world for Engage."
    )
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=9000)
    options.add_argument("--mail-port", type=int, help="where its mail server listens (default: none does)")
    options.add_argument(
        "--store", default=":memory:", help="SQLite file that keeps the world (default: forgotten at the end)"
    )
    options.add_argument(
        "--cleeng-token", help=f"the API key that Cleeng accepts (default at first start: {cleeng.TOKEN})"
    )
    options.add_argument(
        "--apple-root", help="file to write Apple's stand-in root certificate to: what ENGAGE_APPLE_ROOT is to name"
    )
    chosen = options.parse_args()
    store = Store(chosen.store)
    try:
        server = Sandbox(store, chosen.host, chosen.port, mail_port=chosen.mail_port)
    except OSError as error:
        sys.stderr.write(
            f"The sandbox cannot listen on {chosen.host}:{chosen.port}, or at its mail port: {error.strerror}.\n"
        )
        return 1
    if chosen.cleeng_token:
        cleeng.seed(store, {"token": chosen.cleeng_token})
    if chosen.apple_root:
        with store.transaction():
            Path(chosen.apple_root).write_text(apple.authority(store).root_pem)
    for number in (signal.SIGINT, signal.SIGTERM):
        # stop() waits for serve_forever(), which runs in this very thread.
        signal.signal(number, lambda *_: threading.Thread(target=server.stop).start())
    sys.stdout.write(f"Vendor sandbox at {server.url} with {', '.join(WORLDS)}\n")
    sys.stdout.flush()
    server.serve_forever()
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
