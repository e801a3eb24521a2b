"""`make bench`: the engine beside the bare thing, on the servers of DATABASE_URL, CELERY_BROKER_URL and CACHE_URL (else embedded).

Its tables and queues are emptied for each round.

- ingestion: events taken in (authenticated, validated, planned, committed) beside `bench.bare.urls` on the same server;
- executions: carried out over 16 connections, with a vendor that answers in 0 and in 50 ms, beside `bench.bare.celery`;
- latency: from the report of an answer to the vendor's hearing of it, beside the way of a request to the vendor;
- idle: CPU and memory (PSS) of web, worker and beat, beside the same three of the bare project.

Rounds of ours and bare alternate; medians count. Pages are measured by `bench.pages`.
"""

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import django

from chaos.servers import HOST, free_port

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
PATIENCE = 120.0
CONNECTIONS = 16
PEOPLE = 3000
CALLERS = 8
TICKS = os.sysconf("SC_CLK_TCK")


def say(measure: str, ours: list[float], bare: list[float], aim: str) -> None:
    """Print a measure: the medians of its rounds."""
    one, other = statistics.median(ours), statistics.median(bare)
    found = {"measure": measure, "ours": round(one, 2), "bare": round(other, 2), "ratio": round(one / other, 3)}
    rounds = {"rounds": [round(value, 2) for value in ours], "rounds_bare": [round(value, 2) for value in bare]}
    print(json.dumps({**found, "aim": aim, **rounds}), flush=True)


def wait_for(true: Callable[[], object], what: str) -> None:
    """Wait until it is so.

    Raises:
        SystemExit: it took too long.

    """
    ends = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > ends:
            raise SystemExit(f"It took too long until {what}.")
        time.sleep(0.02)


def answers(port: int) -> bool:
    """Whether something listens."""
    with socket.socket() as sock:
        return not sock.connect_ex((HOST, port))


@contextmanager
def running(*command: str, port: int | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process of a round; with a port, once it listens there."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if port is not None:
            wait_for(lambda: answers(port), f"{command[0]} listens")
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def granian(application: str, port: int) -> list[str]:
    """Return the command that serves a WSGI application."""
    options = ("--interface", "wsgi", "--no-ws", "--host", HOST, "--port", str(port), "--blocking-threads", "8")
    return [str(PROGRAMS / "granian"), *options, application]


def celery(app: str, *command: str) -> list[str]:
    """Return the command that starts a worker or beat, with the settings of its own project."""
    return ["env", f"DJANGO_SETTINGS_MODULE={app}.settings", sys.executable, "-m", "celery", "-A", app, *command]


@dataclass(frozen=True)
class Project:
    """What runs of a project."""

    application: str
    worker: list[str]
    beat: list[str]


THREADS = ("-P", "threads", "--without-gossip", "--without-mingle")
OURS = Project(
    "engage.wsgi:application", celery("engage", "worker", *THREADS), celery("engage", "beat", "--pidfile", "")
)
BARE = Project(
    "bench.bare.wsgi:application",
    celery("bench.bare", "worker", *THREADS),
    celery("bench.bare", "beat", "--pidfile", "", "--scheduler", "celery.beat:Scheduler"),
)


class Bench:
    """An installation with an App whose prompt calls an endpoint, and people who accept it."""

    def __init__(self, vendor: int, options: argparse.Namespace) -> None:
        from bench.empty import migrate_empty

        migrate_empty()
        self.vendor, self.options = vendor, options
        self.kind = "embedded" if os.environ["CELERY_BROKER_URL"].startswith("filesystem") else "servers"
        self._seed()

    def _seed(self) -> None:
        from connectors.models import Connection
        from engage.tenancy.models import ApiKey, App, Company, DeliveryMode, KeyKind
        from prompts import versions
        from prompts.models import Binding, Prompt, PromptStatus
        from sync.models import Subscriber

        company = Company.objects.create(name="Bench")
        self.app = App.objects.create(company=company, name="Bench", key="bench", delivery_mode=DeliveryMode.LIVE)
        self.token = ApiKey.make(self.app, KeyKind.SECRET)[1]
        people = [Subscriber(app=self.app, user_id=f"u{n}", traits={"number": str(n)}) for n in range(PEOPLE)]
        self.people = Subscriber.objects.bulk_create(people)
        self.connections: dict[int, list[Connection]] = {
            wait: [self._connection(Connection, wait, number) for number in range(CONNECTIONS)] for wait in (0, 50)
        }
        self.prompt = Prompt.objects.create(
            app=self.app, key="offer", name="Offer", title="Offer", status=PromptStatus.LIVE, limit="none"
        )
        Binding.objects.create(
            prompt=self.prompt,
            interaction="accept",
            connector="api",
            action="call",
            connection=self.connections[0][0],
            daily_limit=10**6,
        )
        versions.publish(self.prompt, "bench")

    def _connection(self, model: Any, wait: int, number: int) -> Any:
        made = model(
            app=self.app,
            connector="api",
            name=f"Endpoint {wait}/{number}",
            active=True,
            health="healthy",
            settings={
                "name": f"Endpoint {wait}/{number}",
                "description": "",
                "method": "POST",
                "url": f"http://{HOST}:{self.vendor}/after/{wait}/%number%",
                "headers": "",
                "params": "",
                "body": "{}",
                "inputs": "",
                "replay": "NATURAL",
                "key_hours": None,
                "success_path": "",
                "success_value": "",
            },
        )
        made.seal({})
        made.save(force_insert=True)
        return made

    def forget(self) -> None:
        """Let a round begin with nothing of the one before, neither rows nor messages."""
        from django.db import connection

        from engage.celery import app

        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("TRUNCATE prompts_promptevent CASCADE")
            else:
                for table in ("attemptbody", "attempt", "execution", "limittaken", "promptevent"):
                    cursor.execute(f"DELETE FROM prompts_{table}")
        with app.connection_for_write() as broker:
            for queue in ("engage", "bare"):
                channel: Any = broker.channel()
                channel.queue_declare(queue, durable=True)
                channel.queue_purge(queue)
        self.heard()

    def heard(self) -> dict[str, float]:
        """Return what the vendor heard since the last look: when, by path."""
        caller = http.client.HTTPConnection(HOST, self.vendor, timeout=30)
        caller.request("GET", "/heard")
        found: dict[str, float] = json.loads(caller.getresponse().read())
        caller.close()
        return found

    # --- ingestion ----------------------------------------------------------------------------------------------------

    def ingestion(self) -> None:
        """Events a second, by eight callers that keep their connections."""
        ours: list[float] = []
        bare: list[float] = []
        ports = free_port(), free_port()
        servers = [granian(project.application, port) for project, port in zip((OURS, BARE), ports, strict=True)]
        with running(*servers[0], port=ports[0]), running(*servers[1], port=ports[1]):
            for round_ in range(self.options.rounds + 1):
                for port, make, found in ((ports[0], self._event, ours), (ports[1], self._row, bare)):
                    self.forget()
                    rate = self._requests(port, make)
                    if round_:  # the first one warms up
                        found.append(rate)
        self.forget()
        say(f"{self.kind}: ingestion, events/s", ours, bare, "0.6 or more")

    def _event(self, number: int) -> bytes:
        body = {
            "event_id": str(uuid.uuid4()),
            "prompt": "offer",
            "interaction": "accept",
            "user_id": f"u{number % PEOPLE}",
        }
        return _request("/api/v1/events", body, f"Authorization: Bearer {self.token}\r\n")

    def _row(self, number: int) -> bytes:
        person = self.people[number % PEOPLE].pk
        ids = {"app": self.app.pk, "prompt": self.prompt.pk, "subscriber": person}
        return _request("/events", {"event_id": str(uuid.uuid4()), **ids}, "")

    def _requests(self, port: int, make: Callable[[int], bytes]) -> float:
        ends, counts = time.monotonic() + self.options.seconds, [0] * CALLERS

        def call(caller: int) -> None:
            with socket.create_connection((HOST, port)) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while time.monotonic() < ends:
                    _exchange(sock, make(counts[caller] * CALLERS + caller))
                    counts[caller] += 1

        with ThreadPoolExecutor(CALLERS) as callers:
            list(callers.map(call, range(CALLERS)))
        return sum(counts) / float(self.options.seconds)

    # --- executions ---------------------------------------------------------------------------------------------------

    def executions(self) -> None:
        """Executions a second of one worker, from the first to the last call that the vendor heard."""
        for wait, aim in ((0, "0.5 or more"), (50, "0.7 or more")):
            ours: list[float] = []
            bare: list[float] = []
            for _ in range(self.options.rounds):
                ours.append(self._rate(OURS.worker, partial(self._plan, wait)))
                bare.append(self._rate(BARE.worker, partial(self._send, wait)))
            also = "; 200/s embedded" if self.kind == "embedded" else ""
            say(f"{self.kind}: executions/s, a vendor that answers in {wait} ms", ours, bare, aim + also)

    def _plan(self, wait: int) -> None:
        from prompts import events
        from prompts.models import EventSource

        for number in range(self.options.executions):
            account = self.connections[wait][number % CONNECTIONS]
            events.record_direct(
                self.app, "api", "call", account, f"u{number}", {}, source=EventSource.CONSOLE, reported_by="bench"
            )

    def _send(self, wait: int) -> None:
        from bench.bare.celery import call

        for number in range(self.options.executions):
            call.delay(f"http://{HOST}:{self.vendor}/after/{wait}/{number}")

    def _rate(self, worker: list[str], prepare: Callable[[], None]) -> float:
        self.forget()
        prepare()
        wanted, times = int(self.options.executions), list[float]()

        def all_heard() -> bool:
            times.extend(self.heard().values())
            return len(times) >= wanted

        with running(*worker):
            wait_for(all_heard, f"{wanted} calls were heard; there were {len(times)}")
        return (len(times) - 1) / (max(times) - min(times))

    # --- latency ------------------------------------------------------------------------------------------------------

    def latency(self) -> None:
        """Milliseconds from an event's report to the call that the vendor hears, one event after the other."""
        ours: list[float] = []
        bare: list[float] = []
        port = free_port()
        self.forget()
        with running(*granian(OURS.application, port), port=port), running(*OURS.worker), running(*OURS.beat):
            for number in range(self.options.events + 10):
                added = self._way(port, self._event(number), f"/after/0/{number}")
                plain = self._way(self.vendor, _request(f"/after/0/p{number}", {}, ""), f"/after/0/p{number}")
                if number >= 10:  # the first ones warm up
                    ours.append(added)
                    bare.append(plain)
        added_ms = sorted(one - other for one, other in zip(ours, bare, strict=True))
        aim = "p95 under 150 ms" if self.kind == "embedded" else "median under 25 ms"
        for name, place in (("median", 0.5), ("p95", 0.95)):
            line = {
                "measure": f"{self.kind}: latency from event to effect, added to the vendor's own, ms, {name}",
                "ours": round(sorted(ours)[int(place * len(ours))], 2),
                "bare": round(sorted(bare)[int(place * len(bare))], 2),
                "added": round(added_ms[int(place * len(added_ms))], 2),
                "aim": aim,
            }
            print(json.dumps(line), flush=True)

    def _way(self, port: int, request: bytes, path: str) -> float:
        with socket.create_connection((HOST, port)) as sock:
            began = time.time()
            _exchange(sock, request)
        heard: dict[str, float] = {}

        def was_heard() -> bool:
            heard.update(self.heard())
            return path in heard

        wait_for(was_heard, f"the vendor heard {path}")
        return (heard[path] - began) * 1000

    # --- idle ---------------------------------------------------------------------------------------------------------

    def idle(self) -> None:
        """What web, worker and beat take while nothing happens."""
        self.forget()
        ours, bare = self._resting(OURS), self._resting(BARE)
        say(f"{self.kind}: idle, % of a core", [ours[0]], [bare[0]], "ours under 2")
        say(f"{self.kind}: idle, MB (PSS)", [ours[1]], [bare[1]], "ours under 350")

    def _resting(self, project: Project) -> tuple[float, float]:
        port = free_port()
        with ExitStack() as stack:
            lines = [granian(project.application, port), project.worker, project.beat]
            roots = [stack.enter_context(running(*line)) for line in lines]
            wait_for(lambda: answers(port), "the web server listens")
            time.sleep(self.options.settle)
            family = [pid for root in roots for pid in _family(root.pid)]
            began, used = time.monotonic(), sum(map(_cpu, family))
            time.sleep(self.options.rest)
            percent = (sum(map(_cpu, family)) - used) / (time.monotonic() - began) * 100
            return percent, sum(map(_pss, family))


def _request(path: str, body: dict[str, Any], headers: str) -> bytes:
    raw = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\n{headers}Content-Type: application/json\r\n"
    return f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw


def _exchange(sock: socket.socket, request: bytes) -> None:
    """Send a request and read its whole answer. Cheaper than a client library's, since it stands beside what is measured."""
    sock.sendall(request)
    answer = b""
    while not _is_whole(answer):
        answer += sock.recv(65536)
    if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202")):
        raise SystemExit(f"Refused: {answer.decode()}")


def _is_whole(answer: bytes) -> bool:
    head, ended, body = answer.partition(b"\r\n\r\n")
    if not ended or b"transfer-encoding: chunked" in head.lower():
        return answer.endswith(b"\r\n0\r\n\r\n")
    return len(body) == int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in _family(int(child)))]


def _cpu(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _pss(pid: int) -> float:
    """Return a process's share of memory in MB, shared pages divided among those that share them."""
    line = next(line for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) / 1024


MEASURES = ("ingestion", "executions", "latency", "idle")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=MEASURES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a round of ingestion")
    parser.add_argument("--executions", type=int, default=1500, help="in a round")
    parser.add_argument("--events", type=int, default=100, help="whose latency is measured")
    parser.add_argument("--settle", type=float, default=10.0, help="seconds until processes count as idle")
    parser.add_argument("--rest", type=float, default=30.0, help="seconds of idleness that are measured")
    options = parser.parse_args()
    vendor = free_port()
    with tempfile.TemporaryDirectory(prefix="engage-bench-") as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "engage.settings",
            "ENGAGE_VAR_DIR": folder,
            "DATABASE_URL": os.environ.get("DATABASE_URL") or f"sqlite:///{folder}/engage.sqlite3",
            "CELERY_BROKER_URL": os.environ.get("CELERY_BROKER_URL") or "filesystem://",
            "SECRET_KEY": "only for measuring, and long enough to be one",
            "FIELD_ENCRYPTION_KEY": "bWVhc3VyaW5nLW9ubHkta2V5LTMyLWJ5dGVzLWxvbmc=",
            "ENGAGE_PRIVATE_HOSTS": f"{HOST}:{vendor}",
            "ALLOWED_HOSTS": HOST,
            "ENGAGE_API_RATE": "10000000/min",
            "ENGAGE_API_APP_RATE": "10000000/min",
            "LOG_LEVEL": "ERROR",
        }
        django.setup()
        with running(sys.executable, "-m", "bench.vendors", str(vendor), port=vendor):
            bench = Bench(vendor, options)
            for name in options.only or MEASURES:
                getattr(bench, name)()


if __name__ == "__main__":
    main()
