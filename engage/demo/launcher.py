"""Start everything that the demo needs, say where it is, watch it, and end it all together."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NoReturn, Self

import requests

from connectors.sandbox.worlds import OVER_HTTP
from engage.demo.kept import PEOPLE, Kept, Lost

ROOT = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"
PATIENCE = 90.0
"""Seconds that a process may take until it answers: a small machine's first start compiles everything."""
WEB_THREADS = "16"
GRACE = 10.0
"""Seconds that a process is given to end by itself."""


class Problem(Exception):
    """The demo cannot start or go on."""


class Ended(Exception):
    """Somebody asked the demo to end."""


@dataclass(frozen=True)
class Place:
    """Where the demo keeps its things and listens: `var/demo` and four ports, each of which the environment may change."""

    folder: Path
    web: int
    sandbox: int
    s3: int
    mail: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read ENGAGE_DEMO_DIR, ENGAGE_DEMO_PORT, ENGAGE_DEMO_SANDBOX_PORT, ENGAGE_DEMO_S3_PORT and ENGAGE_DEMO_MAIL_PORT.

        Raises:
            Problem: one of them is no port.

        """

        def port(name: str, default: int) -> int:
            text = environment.get(name) or str(default)
            if not text.isdecimal() or not 0 < int(text) < 65536:
                raise Problem(f"{name} must be a port from 1 to 65535, not {text!r}.")
            return int(text)

        return cls(
            Path(environment.get("ENGAGE_DEMO_DIR") or ROOT / "var" / "demo").resolve(),
            port("ENGAGE_DEMO_PORT", 8000),
            port("ENGAGE_DEMO_SANDBOX_PORT", 9000),
            port("ENGAGE_DEMO_S3_PORT", 9001),
            port("ENGAGE_DEMO_MAIL_PORT", 9002),
        )

    @property
    def base_url(self) -> str:
        """Where people reach the demo."""
        return f"http://localhost:{self.web}"

    @property
    def sandbox_url(self) -> str:
        """Where the fake vendors are."""
        return f"http://{HOST}:{self.sandbox}"

    @property
    def s3_url(self) -> str:
        """Where the S3 server is."""
        return f"http://{HOST}:{self.s3}"

    @property
    def apple_root(self) -> Path:
        """Where the fake vendors leave the certificate by which their Apple is believed."""
        return self.folder / "apple_root.pem"

    def check_ports(self) -> None:
        """Look whether all ports are free.

        Raises:
            Problem: one is not; the sentence says which, and how to choose another.

        """
        for name, port in (
            ("ENGAGE_DEMO_PORT", self.web),
            ("ENGAGE_DEMO_SANDBOX_PORT", self.sandbox),
            ("ENGAGE_DEMO_S3_PORT", self.s3),
            ("ENGAGE_DEMO_MAIL_PORT", self.mail),
        ):
            with socket.socket() as probe:
                # As the servers do it: a port whose last connections are only winding down is free.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, port))
                except OSError as error:
                    raise Problem(
                        f"Port {port} cannot be used ({error.strerror}). Choose another one: {name}={port + 100} make demo"
                    ) from None

    def environment(self, kept: Kept, outer: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the demo's processes.

        Database, broker and cache are the embedded ones, and no e-mail leaves, whatever the person's shell or `.env`
        names: a demo must not find its way into a real installation.
        """
        return {
            **outer,
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "engage.settings",
            "DEBUG": "false",
            "SECRET_KEY": kept.secret_key,
            "FIELD_ENCRYPTION_KEY": kept.field_encryption_key,
            "ENGAGE_VAR_DIR": str(self.folder),
            "ENGAGE_BASE_URL": self.base_url,
            "ALLOWED_HOSTS": f"localhost,{HOST}",
            "DATABASE_URL": f"sqlite:///{self.folder / 'engage.sqlite3'}",
            "CELERY_BROKER_URL": "filesystem://",
            "CACHE_URL": "locmemcache://engage-demo",
            "EMAIL_URL": "",
            "ENGAGE_VENDOR_URLS": json.dumps({key: f"{self.sandbox_url}/{key}" for key in OVER_HTTP}),
            "ENGAGE_APPLE_ROOT": str(self.apple_root),
            "ENGAGE_PRIVATE_HOSTS": f"{HOST}:{self.s3},{HOST}:{self.mail}",
            "ENGAGE_WEB_THREADS": WEB_THREADS,
            "ENGAGE_DEMO": "1",
            "ENGAGE_DEMO_PUBLISHABLE_KEY": kept.publishable_key,
            "ENGAGE_DEMO_SANDBOX_URL": self.sandbox_url,
            "ENGAGE_DEMO_S3_URL": self.s3_url,
        }


# --- processes --------------------------------------------------------------------------------------------------------------


@dataclass
class Child:
    """A process of the demo, in a process group of its own, with a log file. A `job` is meant to end."""

    name: str
    job: bool
    log: Path
    begins_at: int  # where this start begins in the log
    process: "subprocess.Popen[bytes]"

    def said(self) -> str:
        """Return what it has written since it started."""
        with self.log.open("rb") as lines:
            lines.seek(self.begins_at)
            return lines.read().decode("utf-8", "replace")

    def signal(self, number: int) -> None:
        """Send a signal to the process and to everything that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    @property
    def is_gone(self) -> bool:
        """Whether nobody of its process group is left."""
        self.process.poll()
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # only a zombie that somebody else has to bury
            return self.process.returncode is not None
        return False


@dataclass
class Family:
    """The demo's processes. Leaving the block ends every one of them, in the opposite order of their start."""

    logs: Path
    environment: Mapping[str, str]
    asked_to_end: threading.Event = field(default_factory=threading.Event)
    children: list[Child] = field(default_factory=list)

    def __enter__(self) -> Self:
        """From here on Ctrl-C, SIGTERM and a closed terminal only ask; nothing is started and forgotten in between."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self.asked_to_end.set())
        return self

    def __exit__(self, *_: object) -> None:
        """End all."""
        for child in reversed(self.children):
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        while not all(child.is_gone for child in self.children) and time.monotonic() < deadline:
            time.sleep(0.05)
        for child in self.children:
            child.signal(signal.SIGKILL)
            child.process.wait()

    def start(self, name: str, *command: str, job: bool = False) -> Child:
        """Start a process; it runs until the demo ends, or (a `job`) until its work is done."""
        log = self.logs / f"{name}.log"
        with log.open("ab") as out:
            child = Child(name, job, log, out.tell(), self._open(command, out))
        self.children.append(child)
        return child

    def _open(self, command: Sequence[str], out: IO[bytes]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(  # noqa: S603 - our own programs
            command,
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C comes to us alone, and we end the others in order
        )

    def run(self, name: str, *command: str) -> None:
        """Run a process to its end.

        Raises:
            Ended: somebody asked the demo to end meanwhile.
            Problem: it failed; the sentence ends with its last words.

        """
        child = self.start(name, *command, job=True)
        while child.process.poll() is None:
            self._check(0.05)
        self.children.remove(child)
        if child.process.returncode:
            raise Problem(f"{name} failed. Its last words, in {child.log}:\n{_last_words(child)}")

    def wait_for(self, child: Child, is_up: Callable[[], bool]) -> None:
        """Wait until a process answers.

        Raises:
            Ended, Problem: as `watch`; Problem also when it does not answer in time.

        """
        deadline = time.monotonic() + PATIENCE
        while not is_up():
            self._check(0.1)
            if time.monotonic() > deadline:
                raise Problem(f"{child.name} does not answer. Its last words, in {child.log}:\n{_last_words(child)}")

    def watch(self) -> NoReturn:
        """Wait, and look after the processes.

        Raises:
            Ended: somebody asked the demo to end.
            Problem: a process ended by itself.

        """
        while True:
            self._check(0.5)

    def _check(self, seconds: float) -> None:
        if self.asked_to_end.wait(seconds):
            sys.stdout.write("\nEnding everything. This takes a few seconds.\n")
            sys.stdout.flush()
            raise Ended
        for child in self.children:
            status = child.process.poll()
            if status is not None and not child.job:
                raise Problem(
                    f"{child.name} ended by itself ({status}). Its last words, in {child.log}:\n{_last_words(child)}"
                )


def _last_words(child: Child) -> str:
    return "\n".join(f"  {line}" for line in child.said().splitlines()[-12:])


def _answers(url: str) -> Callable[[], bool]:
    session = requests.Session()
    session.trust_env = False  # no proxy stands between us and our own processes

    def is_up() -> bool:
        try:
            return session.get(url, timeout=2).ok
        except requests.RequestException:
            return False

    return is_up


# --- the demo ---------------------------------------------------------------------------------------------------------------


def start_all(family: Family, place: Place) -> None:
    """Start every process in the order in which they need each other.

    Raises:
        Ended, Problem: as `Family` says.

    """
    python = sys.executable
    programs = Path(python).parent  # of the virtual environment
    store = str(place.folder / "sandbox.sqlite3")
    ports = ("--port", str(place.sandbox), "--mail-port", str(place.mail))
    sandbox = family.start(
        "sandbox", python, "-m", "connectors.sandbox", *ports, "--store", store, "--apple-root", str(place.apple_root)
    )
    s3 = family.start("s3", str(programs / "moto_server"), "-H", HOST, "-p", str(place.s3))
    family.run("migrate", python, "manage.py", "migrate", "--no-input")
    family.wait_for(sandbox, _answers(f"{place.sandbox_url}/_sandbox/health"))
    family.wait_for(s3, _answers(f"{place.s3_url}/moto-api/"))
    family.run("seed", python, "manage.py", "seed_demo")
    granian = ("--interface", "wsgi", "--host", HOST, "--port", str(place.web), "--blocking-threads", WEB_THREADS)
    web = family.start("web", str(programs / "granian"), *granian, "--no-ws", "engage.wsgi:application")
    celery = (str(programs / "celery"), "-A", "engage")
    worker = family.start("worker", *celery, "worker", "-P", "threads", "--without-gossip", "--without-mingle")
    beat = family.start("beat", *celery, "beat", "--pidfile", "")
    family.wait_for(web, _answers(f"{place.base_url}/healthz"))
    family.wait_for(worker, lambda: "ready." in worker.said())
    family.wait_for(beat, lambda: "beat: Starting" in beat.said())


def welcome(place: Place, kept: Kept) -> str:
    """Return what the person reads when everything runs."""
    people = "\n".join(f"  {role:<22}  {email:<26}  {kept.passwords[email]}" for email, role in PEOPLE.items())
    return f"""
Engage is running.

  Console     {place.base_url}/console/
  Demo site   {place.base_url}/demo/
  API         {place.base_url}/api/v1/docs
  Sandbox     {place.sandbox_url}/   (the fake vendors: what an action really did)

Sign in as (passwords were made at the first start):

{people}

Logs: {place.folder / "logs"}
Ctrl-C ends everything; `make demo` goes on where it was; deleting {place.folder} begins anew.
"""


def manage(arguments: Sequence[str]) -> int:
    """Run a command of `manage.py` in the demo's environment, whether the demo runs or not; returns its exit status."""
    os.umask(0o077)
    try:
        place = Place.from_environment(os.environ)
        if not (place.folder / "engage.sqlite3").exists():
            sys.stderr.write(f"There is no demo in {place.folder} yet: `make demo` makes one.\n")
            return 1
        environment = place.environment(Kept.of(place.folder), os.environ)
    except (Problem, Lost) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - our own


def main() -> int:
    """Run the demo until somebody ends it; returns the exit status."""
    os.umask(0o077)  # databases, logs and secrets are the owner's alone
    try:
        place = Place.from_environment(os.environ)
        logs = place.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        with (place.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Problem(f"The demo in {place.folder} is running already.") from None
            place.check_ports()
            kept = Kept.of(place.folder)
            with Family(logs, place.environment(kept, os.environ)) as family:
                sys.stdout.write("Starting Engage. The first start takes a little longer.\n")
                sys.stdout.flush()
                start_all(family, place)
                sys.stdout.write(welcome(place, kept))
                sys.stdout.flush()
                family.watch()
    except Ended:
        sys.stdout.write("Everything has ended.\n")
        return 0
    except (Problem, Lost) as problem:
        sys.stderr.write(f"\n{problem}\n")
        return 1
