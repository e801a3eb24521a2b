"""A process that is killed in the middle of an import leaves what the next one needs to end it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from sync.models import ImportRun, RunState, Source, StagedRow, Subscriber
from tests.factories import SubscriberFactory
from tests.sync.conftest import TestBucket

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS = 12_000
IMPORT = """
import sys, django
django.setup()
from django.conf import settings
from django.db import connection
connection.close()
connection.settings_dict["NAME"] = sys.argv[1]
settings.ENGAGE_PRIVATE_HOSTS = [sys.argv[2]]
from sync.imports import import_source
from sync.models import Source
print("ready", flush=True)
import_source(Source.objects.get(pk=sys.argv[3]), started_by="subprocess")
"""


def start(source: Source) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)}
    name = str(connection.settings_dict["NAME"])
    arguments = [sys.executable, "-c", IMPORT, name, source.endpoint_url.removeprefix("http://"), str(source.pk)]
    process = subprocess.Popen(arguments, env=environment, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def end_lease() -> None:
    """Pass the time until the dead process's lease is over."""
    Source.objects.filter(lease_until__gt=timezone.now()).update(lease_until=timezone.now())


MOMENTS: list[Callable[[ImportRun], bool]] = [
    lambda run: run.state == RunState.RUNNING,
    lambda run: run.rows_read > 0,
    lambda run: run.rows_read > ROWS // 2,
    lambda run: run.staged,
    lambda run: run.merged_through > 0,
    lambda run: run.merged_through > ROWS // 2,
]


def kill_at(moment: Callable[[ImportRun], bool], source: Source) -> bool:
    """Start the import and kill it as soon as its row shows this moment. False: it was at its end before."""
    process = start(source)
    while process.poll() is None and not any(map(moment, ImportRun.objects.all())):
        time.sleep(0.002)
    was_alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    end_lease()
    return was_alive and ImportRun.objects.get().state == RunState.RUNNING


@pytest.mark.django_db(transaction=True)
def test_kills_at_several_moments_end_in_the_state_of_an_undisturbed_run(source: Source, bucket: TestBucket) -> None:
    assert settings.ENGAGE_PRIVATE_HOSTS
    app = source.app
    SubscriberFactory(app=app, user_id="u7", traits={"kept": "yes", "plan": "old"})
    SubscriberFactory(app=app, user_id="u8", traits={"plan": "plan 8"})
    lines = [f"u{number % (ROWS - 500)},plan {number}" for number in range(ROWS)]
    lines[100] = ",nobody"
    bucket.put("cleeng/a.csv", "user_id,plan\n" + "\n".join(lines) + "\n")
    killed = [moment for moment in MOMENTS if kill_at(moment, source)]
    assert len(killed) > 1, "the import was quicker than those who wanted to kill it"
    process = start(source)
    assert process.wait(120) == 0
    run = ImportRun.objects.get()
    assert run.state == RunState.DONE_WITH_REJECTED
    # 500 ids come twice; u8's second row says "plan 11508", u7's "plan 11507".
    counts = [run.rows_read, run.rows_new, run.rows_changed, run.rows_unchanged, run.rows_superseded, run.rows_rejected]
    assert counts == [ROWS, ROWS - 502, 2, 0, 499, 1]
    traits = dict(Subscriber.objects.filter(app=app).values_list("user_id", "traits"))
    expected: dict[str, dict[str, str]] = {"u7": {"kept": "yes"}}
    for line in lines:
        user_id, plan = line.split(",")
        if user_id:
            expected[user_id] = {**expected.get(user_id, {}), "plan": plan}
    assert traits == expected
    assert not StagedRow.objects.exists()
