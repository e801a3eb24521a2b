"""A PostgreSQL and a Redis of our own, in a temporary folder, on free ports. `python -m chaos.servers COMMAND...` lends them.

They belong to this process and end with it; servers that the machine has are never touched.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

HOST = "127.0.0.1"
PATIENCE = 60.0  # seconds that a server may take to begin
PORTS = range(20_000, 32_000)
"""Below those that a system gives out by itself, so that nobody is given one while its server is begun again."""


class NotThere(Exception):
    """A program that is needed is not installed, or a server does not begin."""


def free_port() -> int:
    """Return a port that nobody uses."""
    while True:
        port = random.choice(PORTS)  # noqa: S311 - to be free, not secret
        with socket.socket() as sock, suppress(OSError):
            sock.bind((HOST, port))
            return port


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until something listens.

    Raises:
        NotThere: it ended, or took too long.

    """
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends and process.poll() is None:
        with socket.socket() as sock:
            if not sock.connect_ex((HOST, port)):
                return
        time.sleep(0.05)
    raise NotThere(f"{process.args!r} does not listen on port {port}.")


def program(name: str) -> str:
    """Return the path of a server's program; Debian keeps PostgreSQL's out of the way.

    Raises:
        NotThere: it is not installed.

    """
    elsewhere = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    found = shutil.which(name) or (str(elsewhere[-1]) if elsewhere else "")
    if not found:
        raise NotThere(f"{name} is not installed.")
    return found


class Server:
    """A server that can be ended at once, and begun again."""

    end_at_once: signal.Signals = signal.SIGKILL

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        # PostgreSQL refuses to run as root.
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            shutil.chown(folder, self.user, self.user)

    def command(self) -> list[str]:
        """Return what starts it."""
        raise NotImplementedError

    def spawn(self, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Run a program in the server's folder, and under its user."""
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - commands of this file
                command,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                user=self.user,
                group=self.user,
                start_new_session=True,
            )

    def begin(self) -> None:
        """Start it, and wait until it listens."""
        self.process = self.spawn(self.command())
        wait_for(self.port, self.process)

    def crash(self) -> None:
        """End it as a crash does, and begin again."""
        self.stop()
        self.begin()

    def stop(self) -> None:
        """End it at once."""
        if self.process.poll() is None:
            self.process.send_signal(self.end_at_once)
        self.process.wait(PATIENCE)


class Postgres(Server):
    """A cluster with an empty database `engage`. A crash ends its processes in mid-work; the log is replayed afterwards."""

    end_at_once = signal.SIGQUIT  # "immediate shutdown": no checkpoint, no good-bye

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if self.spawn([program("initdb"), "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8"]).wait(PATIENCE):
            raise NotThere(f"initdb failed: {(folder / 'log').read_text()[-500:]}")
        self.begin()
        made = self.spawn([program("createdb"), "-h", HOST, "-p", str(self.port), "-U", "postgres", "engage"])
        if made.wait(PATIENCE):
            raise NotThere(f"createdb failed: {(folder / 'log').read_text()[-500:]}")

    def command(self) -> list[str]:
        """Return what starts it."""
        return [program("postgres"), "-D", "data", "-p", str(self.port), "-h", HOST, "-k", str(self.folder)]

    def begin(self) -> None:
        """Start it, and wait until it takes connections."""
        super().begin()
        ends = time.monotonic() + PATIENCE
        while self.spawn([program("pg_isready"), "-q", "-h", HOST, "-p", str(self.port)]).wait(PATIENCE):
            if time.monotonic() > ends:
                raise NotThere("PostgreSQL takes no connections.")
            time.sleep(0.1)

    @property
    def url(self) -> str:
        """What DATABASE_URL takes."""
        return f"postgres://postgres@{HOST}:{self.port}/engage"


class Redis(Server):
    """A Redis that keeps nothing: a crash empties it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.begin()

    def command(self) -> list[str]:
        """Return what starts it."""
        return [program("redis-server"), "--port", str(self.port), "--bind", HOST, "--save", "", "--appendonly", "no"]

    def url(self, scheme: str, number: int) -> str:
        """What CELERY_BROKER_URL or CACHE_URL takes."""
        return f"{scheme}://{HOST}:{self.port}/{number}"


@contextmanager
def servers() -> Iterator[tuple[dict[str, str], dict[str, Server]]]:
    """Run both for a while; yields what tells Engage to use them, and the servers, which may be crashed.

    Raises:
        NotThere: one is not installed, or does not begin.

    """
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="engage-drill-"))) for _ in range(2)]
        postgres = Postgres(folders[0])
        stack.callback(postgres.stop)
        redis = Redis(folders[1])
        stack.callback(redis.stop)
        urls = {
            "DATABASE_URL": postgres.url,
            "CELERY_BROKER_URL": redis.url("redis", 1),
            "CACHE_URL": redis.url("rediscache", 2),
        }
        yield urls, {"broker": redis, "database": postgres}


@contextmanager
def embedded(folder: Path) -> Iterator[tuple[dict[str, str], dict[str, Server]]]:
    """Yield the same for an Engage that needs no server: there is none to crash."""
    urls = {
        "DATABASE_URL": f"sqlite:///{folder / 'engage.sqlite3'}",
        "CELERY_BROKER_URL": "filesystem://",
        "CACHE_URL": "locmemcache://engage",
    }
    yield urls, {}


def main() -> int:
    """Run a command with both; returns its exit status. Who is told to end takes them along."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        with servers() as (urls, _):
            return subprocess.run(sys.argv[1:], env={**os.environ, **urls}, check=False).returncode  # noqa: S603 - what it was told
    except NotThere as problem:
        sys.stderr.write(f"{problem}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
