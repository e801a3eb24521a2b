"""A process that is killed in the middle of an import leaves what the next one needs to end it.

`make kill-imports` kills a hundred times; the suite does it a few times.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from sync.models import ImportRun, RejectedRow, RunState, Source, Subscriber
from tests.factories import SubscriberFactory
from tests.sync.conftest import TestBucket

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS = 12_000
KILLS = int(os.environ.get("ENGAGE_IMPORT_KILLS", "8"))
# A process that has everything loaded and makes a child for each import, so that a hundred of them take a minute.
NURSERY = """
import os, sys, django
django.setup()
from django.conf import settings
from django.db import connection
connection.close()
connection.settings_dict["NAME"] = sys.argv[1]
settings.ENGAGE_PRIVATE_HOSTS = [sys.argv[2]]
from sync.imports import import_source
from sync.models import Source
from sync.staging import postgresql, sqlite
postgresql.ROWS = sqlite.MOST = 500  # many batches of a small file
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if not child:
        import_source(Source.objects.get(pk=sys.argv[3]), started_by="subprocess")
        os._exit(0)
    print(child, flush=True)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass
class Nursery:
    """Where imports are started as processes of their own."""

    process: "subprocess.Popen[str]"

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def start(self) -> int:
        """Start an import; returns its process id."""
        self.tell()
        return int(self.read())

    def end(self) -> int:
        """Wait for its end; returns its exit status, below zero the signal that ended it."""
        self.tell()
        return int(self.read())


@pytest.fixture
def nursery(source: Source) -> Iterator[Nursery]:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)}
    name = str(connection.settings_dict["NAME"])
    arguments = [sys.executable, "-c", NURSERY, name, source.endpoint_url.removeprefix("http://"), str(source.pk)]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, env=environment, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        made = Nursery(process)
        assert made.read() == "ready"
        yield made
        assert process.stdin is not None
        process.stdin.close()


LINES = [f"u{number % (ROWS - 500)},plan {number},{number % 7}" for number in range(ROWS)]
LINES[100] = ",nobody,0"


def before(source: Source) -> None:
    """Make the state before the file."""
    ImportRun.objects.all().delete()
    Subscriber.objects.all().delete()
    SubscriberFactory(app=source.app, user_id="u7", traits={"kept": "yes", "plan": "old"})
    SubscriberFactory(app=source.app, user_id="u8", traits={"plan": "plan 11508", "group": "0"})


def expect_undisturbed() -> None:
    """Compare with what one run that nobody killed makes of the file."""
    run = ImportRun.objects.get()
    assert run.state == RunState.DONE_WITH_REJECTED
    # 500 ids come twice; the second row of u8 says what is known.
    counts = [run.rows_read, run.rows_new, run.rows_changed, run.rows_unchanged, run.rows_superseded, run.rows_rejected]
    assert counts == [ROWS, ROWS - 502, 1, 1, 499, 1]
    assert RejectedRow.objects.count() == 1
    expected: dict[str, dict[str, str]] = {"u7": {"kept": "yes"}}
    for line in LINES:
        user_id, plan, group = line.split(",")
        if user_id:
            expected[user_id] = {**expected.get(user_id, {}), "plan": plan, "group": group}
    assert dict(Subscriber.objects.values_list("user_id", "traits")) == expected


@pytest.mark.django_db(transaction=True)
def test_kills_at_random_moments_end_in_the_state_of_an_undisturbed_run(
    source: Source, bucket: TestBucket, nursery: Nursery
) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan,group\n" + "\n".join(LINES) + "\n")
    took = []
    for _ in range(3):
        before(source)
        began = time.monotonic()
        nursery.start()
        assert nursery.end() == 0
        took.append(time.monotonic() - began)
        expect_undisturbed()
    before(source)
    dice = random.Random(7)
    reading = merging = 0
    while reading + merging < KILLS:
        pid = nursery.start()
        time.sleep(dice.uniform(0, min(took)))  # the moment is what is tried
        os.kill(pid, signal.SIGKILL)  # until `end` the id stays its own
        status = nursery.end()
        # Pass the time until the dead process's lease is over, and do not give up a file for being killed so often.
        Source.objects.filter(lease_until__gt=timezone.now()).update(lease_until=timezone.now())
        ImportRun.objects.update(starts=0)
        if status == -signal.SIGKILL:
            merged = ImportRun.objects.filter(merged_through__gt=0).exists()
            reading, merging = reading + (not merged), merging + merged
        if not ImportRun.objects.exclude(state=RunState.RUNNING).exists():
            continue
        expect_undisturbed()
        before(source)
    nursery.start()
    assert nursery.end() == 0
    expect_undisturbed()
    if KILLS >= 100:
        assert reading
        assert merging
