"""Does a connection that misbehaves harm another one? Run as `make bench-neighbour`.

The time from an answer to its settled execution, 95th percentile, of a healthy connection: alone, and beside one that hangs,
answers with 500 or sends its answer drop by drop. Both get the same number of answers a second. Rounds alternate, each with a
new worker; the figure is the median of five.
"""

import json
import os
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection, connections  # noqa: E402
from django.utils import timezone  # noqa: E402

from chaos.servers import free_port  # noqa: E402
from connectors.models import Connection  # noqa: E402
from engage.tenancy.models import App, DeliveryMode  # noqa: E402
from prompts import events, versions  # noqa: E402
from prompts.models import Execution, Prompt, State  # noqa: E402
from tests import factories  # noqa: E402
from tests.worker import database_url  # noqa: E402

ROUNDS = 5
RATE = 5  # answers a second of each connection
SECONDS = 10.0  # of measuring in a round
AHEAD = 2.0  # seconds that the bad one is ahead, so that it has all that it can get
PATIENCE = 60.0
KINDS = ("hang", "500", "trickle")
ROOT = Path(__file__).resolve().parents[1]


class Customer:
    """An App with one connection, a prompt that uses it, and people who answer."""

    def __init__(self, key: str, connector: str, action: str, inputs: dict[str, object]) -> None:
        self.app: App = factories.AppFactory(key=key, name=key, delivery_mode=DeliveryMode.LIVE)
        self.connection: Connection = factories.ConnectionFactory(
            app=self.app,
            connector=connector,
            settings={"environment": "sandbox", "region": "global", "from_email": "us@example.com"},
        )
        self.prompt: Prompt = factories.PromptFactory(app=self.app, key="stay", limit="none")
        factories.BindingFactory(
            prompt=self.prompt,
            connector=connector,
            action=action,
            connection=self.connection,
            inputs=inputs,
            daily_limit=10**6,
        )
        versions.publish(self.prompt, by="bench")
        for number in range(int(RATE * (SECONDS + AHEAD)) + 10):
            traits = {"cleeng_subscription_id": str(1000 + number), "email_address": f"person-{number}@example.com"}
            factories.SubscriberFactory(app=self.app, user_id=f"person-{number}", traits=traits)

    def answer(self, person: int) -> None:
        """Let a person accept the prompt."""
        told = events.Report(uuid.uuid4(), self.prompt.key, "accept", f"person-{person}")
        events.record(self.app, told)

    def answers(self, seconds: float) -> None:
        """Let people accept it, evenly, one after the other."""
        began = time.monotonic()
        for number in range(int(RATE * seconds)):
            time.sleep(max(began + number / RATE - time.monotonic(), 0))
            self.answer(number)

    def settled(self) -> list[float]:
        """Wait until everything is settled, and return the milliseconds that each took."""
        rows = Execution.objects.filter(app=self.app)
        ends = time.monotonic() + PATIENCE
        while rows.filter(settled_at=None).exists():
            if time.monotonic() > ends:
                raise SystemExit("The healthy connection's actions were not settled in time.")
            time.sleep(0.1)
        done = rows.filter(state=State.DONE).values_list("settled_at", "event__received_at")
        if len(done) != rows.count():
            raise SystemExit(f"Not every action of the healthy connection was done: {rows.values_list('message')[0]}")
        return [(settled - received) / timedelta(milliseconds=1) for settled, received in done if settled]


@contextmanager
def running(*command: str, **environment: str) -> Iterator[None]:
    """Run a process for as long as a round lasts."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url(), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def p95(milliseconds: list[float]) -> float:
    """Return the 95th percentile."""
    return statistics.quantiles(milliseconds, n=20, method="inclusive")[-1]


def forget() -> None:
    """Let a round begin with nothing of the one before."""
    Execution.objects.all().delete()
    Connection.objects.update(next_free_at=None, closed_until=None, pauses=0, counted_from=timezone.now())


def measure(healthy: Customer, bad: Customer, kind: str, port: int) -> float:
    """Measure one round: the healthy connection's 95th percentile, in milliseconds."""
    forget()
    urls = {"cleeng": f"http://127.0.0.1:{port}/good", "sendgrid": f"http://127.0.0.1:{port}/{kind}"}
    worker = ("celery", "-A", "engage", "worker", "-P", "threads")
    beat = ("celery", "-A", "engage", "beat", "--pidfile", "")
    with running(*worker, ENGAGE_VENDOR_URLS=json.dumps(urls)), running(*beat):
        for person in range(5):
            healthy.answer(person)
        healthy.settled()
        Execution.objects.all().delete()
        neighbour = threading.Thread(target=_answers, args=(bad, SECONDS + AHEAD))
        if kind != "alone":
            neighbour.start()
            time.sleep(AHEAD)
        healthy.answers(SECONDS)
        took = healthy.settled()
        if kind != "alone":
            neighbour.join()
    return p95(took)


def _answers(customer: Customer, seconds: float) -> None:
    try:
        customer.answers(seconds)
    finally:
        connections.close_all()


def main() -> None:
    """Measure, and print one line for each kind of bad neighbour."""
    database = settings.DATABASES["default"]["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    port = free_port()
    try:
        with running("bench.vendors", str(port)):
            healthy = Customer("healthy", "cleeng", "apply_coupon", {"coupon": {"from": "fixed", "value": "SAVE20"}})
            bad = Customer("bad", "sendgrid", "global_unsubscribe", {})
            found: dict[str, list[float]] = {kind: [] for kind in ("alone", *KINDS)}
            for _ in range(ROUNDS):
                for kind, figures in found.items():
                    figures.append(measure(healthy, bad, kind, port))
        alone = statistics.median(found["alone"])
        for kind in KINDS:
            beside = statistics.median(found[kind])
            line = {
                "measure": f"answer to settled, p95, ms, beside a connection that does this: {kind}",
                "ours": round(beside, 1),
                "bare": round(alone, 1),
                "ratio": round(beside / alone, 2),
                "rounds": [round(figure, 1) for figure in found[kind]],
                "rounds_alone": [round(figure, 1) for figure in found["alone"]],
            }
            sys.stdout.write(json.dumps(line) + "\n")
    finally:
        connection.creation.destroy_test_db(str(database), verbosity=0)


if __name__ == "__main__":
    main()
