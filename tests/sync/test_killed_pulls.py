"""A process that is killed while it reads a vendor, or merges what it read, costs a second reading and nothing else."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection as database
from django.utils import timezone

from engage.tenancy.models import App
from sync import pulls, schedule
from sync.models import ImportRun, RunState, Source, Subscriber
from tests.factories import ConnectionFactory, SubscriberFactory
from tests.sync.vendor_pages import Pages, subscription, vendor_pages

ROOT = Path(__file__).resolve().parent.parent.parent
ACCOUNTS = 1_000
READ = """
import sys, django
django.setup()
from django.conf import settings
from django.db import connection
connection.close()
connection.settings_dict["NAME"] = sys.argv[1]
settings.ENGAGE_VENDOR_URLS = {"recurly": sys.argv[2]}
settings.ENGAGE_PRIVATE_HOSTS = [sys.argv[2].removeprefix("http://")]
from sync.imports import import_source
from sync.models import Source
import_source(Source.objects.get(pk=sys.argv[3]), started_by="subprocess")
"""


@pytest.fixture
def vendor() -> Iterator[Pages]:
    """A Recurly with an active subscription for each account."""
    with vendor_pages() as pages:
        pages.lists["subscriptions"] = [subscription(f"a{n}") for n in range(ACCOUNTS)]
        yield pages


@pytest.fixture
def source(app: App) -> Source:
    """A source that reads it for somebody of each account but one."""
    for number in range(1, ACCOUNTS):
        SubscriberFactory(app=app, user_id=f"u{number}", traits={"account_code": f"a{number}", "state": "future"})
    settings = {"region": "us", "use_account_code": True, "traits_for": "trait"}
    connection = ConnectionFactory(app=app, connector="recurly", settings=settings, secrets={"api_key": "k" * 32})
    return pulls.source_of(connection, "subscriptions")


def start(source: Source, vendor: Pages) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", READ, str(database.settings_dict["NAME"]), vendor.url, str(source.pk)]
    return subprocess.Popen(arguments, env=environment, cwd=ROOT)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill it, and pass the time until its lease is over."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    Source.objects.filter(lease_until__gt=timezone.now()).update(lease_until=timezone.now())


def states() -> dict[str, int]:
    found = list(Subscriber.objects.values_list("traits__state", flat=True))
    return {state: found.count(state) for state in set(found)}


@pytest.mark.django_db(transaction=True)
def test_killed_between_two_pages_and_in_the_merge(source: Source, vendor: Pages) -> None:
    asked = threading.Event()

    def hang(path: str) -> None:
        if "cursor=600" in path:
            asked.set()
            time.sleep(5)

    vendor.before = hang
    process = start(source, vendor)
    assert asked.wait(60)
    kill(process)
    run = ImportRun.objects.get()
    assert (run.state, run.merged_through, states()) == (RunState.RUNNING, 0, {"future": ACCOUNTS - 1})
    assert schedule.left_behind(timezone.now()) == [source.pk]

    vendor.before = lambda _: None
    process = start(source, vendor)
    while process.poll() is None and not ImportRun.objects.filter(merged_through__gt=0).exists():
        time.sleep(0.002)
    kill(process)
    # Where one transaction merges all of it, it may have been at its end; then it is as if it had not been killed.
    if ImportRun.objects.get().state == RunState.RUNNING:
        assert start(source, vendor).wait(120) == 0
    run = ImportRun.objects.get()
    assert (run.state, run.rows_read, run.rows_unmatched) == (RunState.DONE, ACCOUNTS, 1)
    assert run.rows_changed + run.rows_unchanged == ACCOUNTS - 1
    assert states() == {"active": ACCOUNTS - 1}
