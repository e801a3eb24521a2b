"""The `sandbox` fixture: the fake vendor world in a thread of this process, on a free port, new for every test."""

import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from connectors.sandbox.http import Fault
from connectors.sandbox.server import Sandbox
from connectors.sandbox.store import Json, Store
from connectors.sandbox.worlds import OVER_HTTP, apple, cleeng


class RunningSandbox:
    """What a test asks of the world and does to it.

    `root` is the server's own address, `urls` what ENGAGE_VENDOR_URLS takes, `url` Cleeng's base URL (it stands for
    https://api.cleeng.com/3.1), `token` the API key that Cleeng accepts.
    """

    def __init__(self, server: Sandbox) -> None:
        self.server, self.store = server, server.store
        self.root = server.url
        self.urls = {key: f"{server.url}/{key}" for key in OVER_HTTP}
        self.url = self.urls["cleeng"]
        self.token = cleeng.TOKEN

    def apple_root(self, folder: Path) -> str:
        """Write the root by which Apple's stand-in is believed; return the file, which ENGAGE_APPLE_ROOT takes."""
        file = folder / "apple_root.pem"
        with self.store.transaction():
            file.write_text(apple.authority(self.store).root_pem)
        return str(file)

    def subscriptions(self) -> dict[int, Json]:
        """Return Cleeng's subscriptions by id, as they are now."""
        with self.store.transaction():
            return {row["subscriptionId"]: row for row in cleeng.state(self.store)["subscriptions"]}

    def switches(self) -> list[Json]:
        """Return Cleeng's switches, oldest first, as they are now."""
        with self.store.transaction():
            rows: list[Json] = cleeng.state(self.store)["switches"]
            return rows

    def effects(self, what: str = "") -> list[Json]:
        """Return what happened in the world, oldest first: at, vendor, what, whom (a string), detail, request."""
        with self.store.transaction():
            cleeng.finish_switches(self.store)
            return [effect for effect in self.store.effects() if what in {"", effect["what"]}]

    def requests(self, method: str = "") -> list[Json]:
        """Return what was asked, oldest first: id, at, vendor, method, path, query, headers, body, status, fault."""
        return [request for request in self.store.requests() if method in {"", request["method"]}]

    def fault(self, method: str = "", path: str = "", **misbehaviour: Any) -> None:
        """Queue a misbehaviour for the next matching request (the arguments of `connectors.sandbox.http.Fault`).

        E.g. `fault("PATCH", status=500, raw="<h1>Oops</h1>", content_type="text/html")`,
        `fault("PATCH", then="reset", act=True)` (it happened, and nobody was told), `fault(status=429, retry_after="7")`.
        """
        self.store.add_fault(asdict(Fault(method=method, path=path, **misbehaviour)))

    def waiting_faults(self) -> int:
        """Return how many queued misbehaviours nobody has met yet."""
        return len(self.store.faults())

    def seed(self, **more: Any) -> None:
        """Add to Cleeng's world or replace in it (the keys of `connectors.sandbox.cleeng.seed`)."""
        with self.store.transaction():
            cleeng.seed(self.store, more)

    def advance(self, seconds: float) -> None:
        """Put the sandbox's clock forward."""
        self.store.advance(seconds)

    def reset(self) -> None:
        """Make the world new."""
        self.server.reset()


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    """A running sandbox with its world as at its start."""
    store = Store()
    server = Sandbox(store)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="sandbox")
    thread.start()
    try:
        yield RunningSandbox(server)
    finally:
        server.stop()
        thread.join()
        store.close()
