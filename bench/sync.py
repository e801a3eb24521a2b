"""`make bench-sync`: imports of CSV files beside what the databases' own tools do with the same file in the same minutes.

One JSON line per measure: `measure`, `ours`, `bare`, `ratio` (ours / bare) and `aim`. Needs psql, sqlite3 and a PostgreSQL server
(`--postgresql` names a database on it; a database of its own is made and dropped).

The bare tools write into a table like the product's own, with the same indexes, constraints and foreign keys: PostgreSQL's LIKE
leaves foreign keys out and SQLite's shell does not enforce any, so both are told to. On PostgreSQL the checks at commit are about
a quarter of the floor's time.
"""

import argparse
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import files
from bench.store import serving

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
NAMES = [
    "first_name", "last_name", "email_address", "country", "account_activation_date", "subscriber_status",
    "customer_lifetime_revenue", "last_login_date", "churn_risk", "offer_id", "subscription_id",
]  # fmt: skip
CELLS = ", ".join(f"c{number} text" for number in range(files.COLUMNS))
MEMBERS = ", ".join(f"'{name}', c{number}" for number, name in enumerate(NAMES, 1))

FLOOR_TABLE = """
    CREATE TABLE floor_subscriber (LIKE sync_subscriber INCLUDING ALL);
    SELECT format('ALTER TABLE floor_subscriber ADD %s', pg_get_constraintdef(oid)) FROM pg_constraint
    WHERE conrelid = 'sync_subscriber'::regclass AND contype = 'f' \\gexec
"""
FLOOR_POSTGRESQL = f"""
    CREATE UNLOGGED TABLE floor_stage ({CELLS});
    \\copy floor_stage FROM '%(file)s' CSV HEADER
    INSERT INTO floor_subscriber (app_id, user_id, traits, is_test, test_note, created_at, updated_at)
    SELECT %(app)s, c0, jsonb_build_object({MEMBERS}), false, '', now(), now() FROM floor_stage
    ON CONFLICT (app_id, user_id) DO UPDATE
    SET traits = floor_subscriber.traits || EXCLUDED.traits, updated_at = EXCLUDED.updated_at;
"""
FLOOR_SQLITE = f"""
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
CREATE TABLE floor_stage ({CELLS});
.mode csv
.import --skip 1 %(file)s floor_stage
INSERT INTO sync_subscriber (app_id, user_id, traits, is_test, test_note, created_at, updated_at)
SELECT %(app)s, c0, json_object({MEMBERS}), 0, '', datetime(), datetime() FROM floor_stage WHERE true
ON CONFLICT (app_id, user_id) DO UPDATE
SET traits = json_patch(traits, excluded.traits), updated_at = excluded.updated_at;
"""


def say(measure: str, ours: float, bare: float, ratio: float, aim: str) -> None:
    """Print a measure."""
    found = {"measure": measure, "ours": round(ours, 3), "bare": round(bare, 3), "ratio": round(ratio, 3), "aim": aim}
    print(json.dumps(found), flush=True)


class World:
    """An installation on a database of its own, and the folder that its source reads."""

    def __init__(self, database: str, folder: Path, store: Path, url: str) -> None:
        self.database, self.folder, self.store = database, folder, store
        self.environment = {
            **os.environ,
            "DATABASE_URL": database,
            "ENGAGE_VAR_DIR": str(folder),
            "SECRET_KEY": "only for measuring, and long enough to be one",
            "FIELD_ENCRYPTION_KEY": "bWVhc3VyaW5nLW9ubHkta2V5LTMyLWJ5dGVzLWxvbmc=",
            "ENGAGE_PRIVATE_HOSTS": url.removeprefix("http://"),
            "ALLOWED_HOSTS": "127.0.0.1",
            "ENGAGE_API_RATE": "1000000/min",
            "LOG_LEVEL": "ERROR",
        }
        self._run("manage.py", "migrate", "--no-input", "-v0")
        made = json.loads(self._run("-m", "bench.world", "seed", url))
        self.app, self.token = made["app"], made["token"]

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], env=self.environment, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True
        )
        return done.stdout

    def imported(self, file: Path) -> dict[str, Any]:
        """Put a copy of the file where the source finds it, and import it."""
        for old in self.store.iterdir():
            old.unlink()
        os.link(file, self.store / f"{uuid.uuid4().hex}.csv")
        done: dict[str, Any] = json.loads(self._run("-m", "bench.world", "import"))
        if done["state"] != "done":
            raise SystemExit(f"The import did not come to its end: {done}")
        return done


@contextmanager
def on_postgresql(server: str, folder: Path, store: Path, url: str) -> Iterator[World]:
    """A world in a new database on this server."""
    name = f"engage_bench_{uuid.uuid4().hex[:8]}"
    database = f"{server.rpartition('/')[0]}/{name}"
    psql(server, f"CREATE DATABASE {name}")
    try:
        yield World(database, folder, store, url)
    finally:
        psql(server, f"DROP DATABASE {name} WITH (FORCE)")


def psql(database: str, commands: str) -> None:
    """Run commands, one after the other."""
    subprocess.run(
        ["psql", "-q", "-v", "ON_ERROR_STOP=1", database.replace("postgres://", "postgresql://")],
        input=commands, text=True, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds it took."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


class Bench:
    """The measurements, with the files that they share."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options, self.rows = folder, options, options.rows
        self.first, self.shuffled, self.changed = (folder / f"{name}.csv" for name in ("first", "shuffled", "changed"))
        files.write(self.first, self.rows)
        files.write(self.shuffled, self.rows, order=2)
        files.write(self.changed, self.rows, order=3, changed=0.01)

    @contextmanager
    def world(self, kind: str) -> Iterator[World]:
        """A new installation."""
        place = Path(tempfile.mkdtemp(dir=self.folder))
        store = place / "store"
        store.mkdir()
        with serving(store) as url:
            if kind == "postgresql":
                with on_postgresql(self.options.postgresql, place, store, url) as world:
                    yield world
            else:
                yield World(f"sqlite:///{place}/engage.sqlite3", place, store, url)
        shutil.rmtree(place)

    def compare(self, kind: str, floor: Callable[[World], float], aim: str) -> None:
        """First import beside the floor, then again in another order and with a hundredth changed."""
        bare, first, unchanged, changed = [], [], [], []
        for _ in range(self.options.repeat):
            with self.world(kind) as world:
                bare.append(floor(world))
                first.append(world.imported(self.first)["seconds"])
                unchanged.append(world.imported(self.shuffled)["seconds"])
                changed.append(world.imported(self.changed)["seconds"])
        ours, base = self.rows / statistics.median(first), self.rows / statistics.median(bare)
        say(f"{kind}: first import of {self.rows:,} rows, rows/s", ours, base, ours / base, aim)
        for name, found in (("the same rows in another order", unchanged), ("1 % of the rows changed", changed)):
            again = self.rows / statistics.median(found)
            say(f"{kind}: {name}, beside the first import, rows/s", again, ours, again / ours, "2 or more")

    def postgresql(self) -> None:
        """COPY and one INSERT by psql are the floor."""

        def floor(world: World) -> float:
            psql(world.database, FLOOR_TABLE)
            script = FLOOR_POSTGRESQL % {"file": self.first, "app": world.app}
            took = timed(lambda: psql(world.database, script))
            psql(world.database, "DROP TABLE floor_subscriber; DROP TABLE floor_stage; CHECKPOINT;")
            return took

        self.compare("postgresql", floor, "0.8 or more")

    def sqlite(self) -> None:
        """`.import` and one upsert by the shell are the floor."""

        def floor(world: World) -> float:
            copy = world.folder / "floor.sqlite3"
            shutil.copy(world.folder / "engage.sqlite3", copy)
            script = FLOOR_SQLITE % {"file": self.first, "app": world.app}
            shell = ["sqlite3", "-bail", str(copy)]
            took = timed(lambda: subprocess.run(shell, input=script, text=True, check=True, stdout=subprocess.DEVNULL))
            for path in world.folder.glob("floor.sqlite3*"):
                path.unlink()
            return took

        self.compare("sqlite", floor, "0.7 or more")

    def memory(self) -> None:
        """How much an import grows the process that looks for files."""
        sizes = [100_000, 1_000_000] + [10_000_000] * self.options.ten_million
        for rows in sizes:
            file = self.folder / f"{rows}.csv"
            files.write(file, rows)
            for kind in ("postgresql", "sqlite"):
                with self.world(kind) as world:
                    done = world.imported(file)
                grown, idle = done["grown"] / 1024**2, done["idle"] / 1024**2
                say(
                    f"{kind}: memory for {rows:,} rows, MB beyond the idle process's",
                    grown,
                    idle,
                    grown / idle,
                    "64 MB or less",
                )
            file.unlink()

    def events(self) -> None:
        """What a reported event waits while a file is imported on SQLite."""
        with self.world("sqlite") as world, _web(world) as port:
            idle = _percentile(_events(world, port, lambda: time.sleep(10)))
            busy = _percentile(_events(world, port, lambda: world.imported(self.first)))
        say("sqlite: POST /events while a file is imported, p99 in ms", busy, idle, busy / idle, "ours under 250 ms")


@contextmanager
def _web(world: World) -> Iterator[int]:
    """The runtime API in a process of its own."""
    port = 8700 + os.getpid() % 200
    command = [str(PROGRAMS / "granian"), "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--no-ws"]
    server = subprocess.Popen(
        [*command, "--blocking-threads", "8", "engage.wsgi:application"],
        env=world.environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(200):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait(20)


def _events(world: World, port: int, work: Callable[[], object]) -> list[float]:
    """Return what each of the events took, in ms, that were reported while `work` ran: twenty a second."""
    over, took = threading.Event(), list[float]()
    headers = {"Authorization": f"Bearer {world.token}", "Content-Type": "application/json"}

    def report() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while not over.wait(0.1):
            body = {
                "event_id": str(uuid.uuid4()),
                "prompt": "offer",
                "interaction": "accept",
                "user_id": f"u{len(took)}",
            }
            began = time.monotonic()
            connection.request("POST", "/api/v1/events", json.dumps(body), headers)
            answer = connection.getresponse()
            said = answer.read()
            took.append((time.monotonic() - began) * 1000)
            if answer.status >= 300:
                raise SystemExit(f"An event was refused: {said.decode()}")

    threads = [threading.Thread(target=report) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        work()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    return took


def _percentile(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=1, help="how often the imports are compared; medians are told")
    parser.add_argument("--ten-million", action="store_true", help="measure the memory for 10 million rows as well")
    parser.add_argument("--only", nargs="*", choices=["postgresql", "sqlite", "memory", "events"])
    parser.add_argument("--postgresql", default="postgres://postgres@127.0.0.1:5432/postgres")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="engage-bench-") as folder:
        bench = Bench(Path(folder), options)
        for name in options.only or ["postgresql", "sqlite", "memory", "events"]:
            getattr(bench, name)()


if __name__ == "__main__":
    main()
