"""What the sandbox remembers: the vendors' worlds, effects, requests, faults and its clock, in one SQLite file."""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

Json = dict[str, Any]

SCHEMA = """
CREATE TABLE IF NOT EXISTS things (
    vendor TEXT, kind TEXT, key TEXT, body TEXT NOT NULL, PRIMARY KEY (vendor, kind, key)
);
CREATE TABLE IF NOT EXISTS effects (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, vendor TEXT NOT NULL, what TEXT NOT NULL, whom TEXT NOT NULL,
    detail TEXT NOT NULL, request INTEGER
);
CREATE TABLE IF NOT EXISTS requests (id INTEGER PRIMARY KEY, at REAL NOT NULL, vendor TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS faults (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS clock (id INTEGER PRIMARY KEY CHECK (id = 1), ahead REAL NOT NULL);
"""


class Store:
    """One file (or `:memory:`), one connection, one thread at a time.

    A vendor answers inside `transaction()`: its state and its effects change together or not at all.
    """

    def __init__(self, path: str = ":memory:") -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=OFF")  # a fake world may lose its last second
        self._database.executescript(SCHEMA)
        self.request: int | None = None  # the request being answered, for effects

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens together, and nothing else meanwhile."""
        with self._lock:
            if self._depth:
                yield
                return
            self._depth += 1
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            else:
                self._database.execute("COMMIT")
            finally:
                self._depth -= 1

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(sql, values).fetchall()

    # --- the clock ----------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the sandbox's time: seconds since 1970, and as far ahead as somebody has put it."""
        ahead = self._rows("SELECT ahead FROM clock")
        return time.time() + (ahead[0][0] if ahead else 0)

    def advance(self, seconds: float) -> None:
        """Put the clock forward."""
        with self.transaction():
            ahead = self._rows("SELECT ahead FROM clock")
            self._rows("INSERT OR REPLACE INTO clock VALUES (1, ?)", (ahead[0][0] if ahead else 0) + seconds)

    # --- a vendor's world ---------------------------------------------------------------------------------------------

    def get(self, vendor: str, kind: str, key: object) -> Json | None:
        """Return one thing of a vendor, or None."""
        rows = self._rows("SELECT body FROM things WHERE vendor = ? AND kind = ? AND key = ?", vendor, kind, str(key))
        return json.loads(rows[0][0]) if rows else None

    def all(self, vendor: str, kind: str) -> list[Json]:
        """Return all things of a kind, in the order in which they were first put."""
        rows = self._rows("SELECT body FROM things WHERE vendor = ? AND kind = ? ORDER BY rowid", vendor, kind)
        return [json.loads(body) for (body,) in rows]

    def put(self, vendor: str, kind: str, key: object, body: Json) -> None:
        """Add a thing, or replace it."""
        self._rows(
            "INSERT INTO things VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body",
            vendor, kind, str(key), json.dumps(body),
        )  # fmt: skip

    # --- what happened ------------------------------------------------------------------------------------------------

    def effect(self, vendor: str, what: str, whom: object, **detail: Any) -> None:
        """Write down that something changed (or was done again) in a vendor's world."""
        self._rows(
            "INSERT INTO effects (at, vendor, what, whom, detail, request) VALUES (?, ?, ?, ?, ?, ?)",
            self.now(), vendor, what, str(whom), json.dumps(detail), self.request,
        )  # fmt: skip

    def effects(self, vendor: str = "") -> list[Json]:
        """Return every effect, oldest first: at, vendor, what, whom, detail, request (id in `requests`)."""
        rows = self._rows("SELECT at, vendor, what, whom, detail, request FROM effects ORDER BY id")
        names = ("at", "vendor", "what", "whom", "detail", "request")
        found = [dict(zip(names, (*row[:4], json.loads(row[4]), row[5]), strict=True)) for row in rows]
        return [effect for effect in found if not vendor or effect["vendor"] == vendor]

    def begin_request(self, vendor: str, body: Json) -> int:
        """Write down a request that has arrived; returns its id."""
        return int(
            self._rows(
                "INSERT INTO requests (at, vendor, body) VALUES (?, ?, ?) RETURNING id",
                self.now(),
                vendor,
                json.dumps(body),
            )[0][0]
        )

    def finish_request(self, number: int, **answer: Any) -> None:
        """Add what was answered to a request."""
        with self.transaction():
            ((body,),) = self._rows("SELECT body FROM requests WHERE id = ?", number) or (("{}",),)
            self._rows("UPDATE requests SET body = ? WHERE id = ?", json.dumps(json.loads(body) | answer), number)

    def requests(self, vendor: str = "") -> list[Json]:
        """Return every request, oldest first: id, at, vendor, method, path, query, headers, body, status, fault."""
        rows = self._rows("SELECT id, at, vendor, body FROM requests ORDER BY id")
        found = [{"id": number, "at": at, "vendor": of, **json.loads(body)} for number, at, of, body in rows]
        return [request for request in found if not vendor or request["vendor"] == vendor]

    # --- faults -------------------------------------------------------------------------------------------------------

    def add_fault(self, fault: Json) -> None:
        """Queue a misbehaviour."""
        self._rows("INSERT INTO faults (body) VALUES (?)", json.dumps(fault))

    def faults(self) -> list[tuple[int, Json]]:
        """Return the queue, first come first served."""
        return [(number, json.loads(body)) for number, body in self._rows("SELECT id, body FROM faults ORDER BY id")]

    def keep_fault(self, number: int, fault: Json | None) -> None:
        """Change a queued misbehaviour, or take it out of the queue."""
        if fault is None:
            self._rows("DELETE FROM faults WHERE id = ?", number)
        else:
            self._rows("UPDATE faults SET body = ? WHERE id = ?", json.dumps(fault), number)

    def clear(self, *, faults_only: bool = False) -> None:
        """Forget the queued faults, or everything."""
        with self.transaction():
            for table in ("faults",) if faults_only else ("faults", "things", "effects", "requests", "clock"):
                self._rows(f"DELETE FROM {table}")  # noqa: S608 - names from the line above
