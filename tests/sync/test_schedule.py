"""Schedules of sources: a slot starts one import, whatever ticks, and what a process left behind is gone on with."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule

from engage.schedules import slots
from engage.schedules.models import Slot
from sync import schedule
from sync.imports import Lease
from sync.models import ImportRun, RunState, Source
from tests.sync.conftest import TestBucket
from tests.worker import database_url

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
SLOT = "2026-05-04T09:30:00+00:00"  # 02:30 in Los Angeles


@pytest.fixture
def nightly(make_source: Callable[..., Source]) -> Source:
    zone = ZoneInfo("America/Los_Angeles")
    crontab = CrontabSchedule.objects.create(minute="30", hour="2", timezone=zone)
    return make_source(crontab=crontab, schedule_since=NOW - timedelta(days=3))


def tick(now: datetime) -> list[tuple[str, str, str]]:
    sent: list[tuple[str, str, str]] = []
    count = schedule.tick(now, lambda *call: sent.append(call))
    assert count == len(sent)
    return sent


def test_a_due_slot_is_sent_once_though_days_were_missed(nightly: Source) -> None:
    assert tick(NOW) == [(str(nightly.pk), "Schedule", SLOT)]
    assert tick(NOW + timedelta(seconds=30)) == []


def test_a_slot_that_nobody_completed_is_sent_again_after_its_lease(nightly: Source) -> None:
    tick(NOW)
    later = NOW + schedule.SLOT_LEASE + timedelta(seconds=1)
    assert tick(later) == [(str(nightly.pk), "Schedule", SLOT)]


def test_carrying_it_out_completes_the_slot(nightly: Source, bucket: TestBucket) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan\n1,gold\n")
    ((source_id, by, slot),) = tick(NOW)
    schedule.carry_out(source_id, by, slot)
    assert ImportRun.objects.get().state == RunState.DONE
    assert ImportRun.objects.get().started_by == "Schedule"
    assert Slot.objects.get().completed_at is not None
    assert tick(NOW + timedelta(hours=3)) == []


def test_a_message_that_comes_twice_or_late_does_nothing_more(nightly: Source, bucket: TestBucket) -> None:
    ((source_id, by, slot),) = tick(NOW)
    bucket.put("cleeng/a.csv", "user_id,plan\n1,gold\n")
    schedule.carry_out(source_id, by, slot)
    bucket.put("cleeng/b.csv", "user_id,plan\n2,gold\n")
    for _ in range(2):
        schedule.carry_out(source_id, by, slot)
    assert ImportRun.objects.get().object_key == "cleeng/a.csv"
    ((_, _, following),) = tick(NOW + timedelta(days=1))
    schedule.carry_out(source_id, by, following)
    assert ImportRun.objects.count() == 2


def test_what_a_dead_process_left_is_the_slots_own_run(nightly: Source, bucket: TestBucket) -> None:
    """The import goes on with its slot, which is not sent once more when its own lease is over."""
    bucket.put("cleeng/a.csv", "user_id,plan\n1,gold\n")
    ((source_id, by, slot),) = tick(NOW)
    dead = Lease(nightly)
    Source.objects.filter(lease_holder=dead.holder).update(lease_until=NOW + timedelta(minutes=2))
    ImportRun.objects.create(app=nightly.app, source=nightly, object_key="cleeng/a.csv", etag="e")
    later = NOW + timedelta(minutes=3)
    assert tick(later) == [(source_id, by, slot)]
    Source.objects.update(lease_until=None)
    schedule.carry_out(source_id, by, slot)
    ImportRun.objects.filter(state=RunState.RUNNING).update(state=RunState.FAILED)
    assert Slot.objects.get().completed_at is not None
    assert tick(later + schedule.SLOT_LEASE) == []


KILLED = """
import os, signal, sys, django
django.setup()
from datetime import datetime
from django.db import connection
connection.close()
connection.settings_dict["NAME"] = sys.argv[1]
from sync import schedule
def send(*call):
    print(*call, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
schedule.tick(datetime.fromisoformat(sys.argv[2]), send)
"""


def carry_out_as_sent(sent: list[tuple[str, ...]]) -> None:
    """Let time pass with two beats and a worker, from when `sent` was sent."""
    for minutes in (0, 5, 11, 12, 25, 60):
        for source_id, by, slot in sent:
            schedule.carry_out(source_id, by, slot)
        sent = [*tick(NOW + timedelta(minutes=minutes)), *tick(NOW + timedelta(minutes=minutes))]
        assert len(sent) <= 1
    assert ImportRun.objects.get().state == RunState.DONE
    assert Slot.objects.get().completed_at is not None


@pytest.mark.django_db(transaction=True)
def test_a_beat_that_is_killed_after_the_dispatch_has_started_one_import(nightly: Source, bucket: TestBucket) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan\n1,gold\n")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(connection.settings_dict["NAME"]), NOW.isoformat()],
        cwd=django_settings.BASE_DIR,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": database_url()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    sent = [tuple(line.split()) for line in killed.stdout.splitlines()]
    assert len(sent) == 1
    carry_out_as_sent(sent)


def test_a_beat_that_dies_before_the_dispatch_is_followed_by_another(nightly: Source, bucket: TestBucket) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan\n1,gold\n")

    def dies(*_: str) -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        schedule.tick(NOW, dies)
    carry_out_as_sent([])


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("Europe/Paris", "2026-03-29"),
        ("Europe/Paris", "2026-10-25"),
        ("America/New_York", "2026-03-08"),
        ("America/New_York", "2026-11-01"),
        ("Australia/Lord_Howe", "2026-04-05"),
        ("Australia/Lord_Howe", "2026-10-04"),
    ],
)
@pytest.mark.parametrize("away", [False, True], ids=["up", "away over the slot"])
def test_when_the_clocks_change_a_night_has_one_slot_whoever_ticks(
    make_source: Callable[..., Source], zone: str, day: str, *, away: bool
) -> None:
    """Two beats, at 02:15 local time: skipped in spring, shown twice in autumn (in Lord Howe, where it is half an hour, too)."""
    crontab = CrontabSchedule.objects.create(minute="15", hour="2", timezone=ZoneInfo(zone))
    midnight = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    source = make_source(crontab=crontab, schedule_since=midnight - timedelta(hours=12))
    done: list[datetime] = []
    for half_hours in (-12, *range(12), 24, 48, 56, 72):
        now = midnight + half_hours * timedelta(minutes=30) + timedelta(seconds=7)
        if away and 0 <= half_hours < 12:
            continue
        for source_id, _, slot in [*tick(now), *tick(now)]:
            assert source_id == str(source.pk)
            done.append(datetime.fromisoformat(slot))
            slots.Turn(schedule.job_of(source.pk), done[-1]).complete()
    changed = datetime.fromisoformat(day).date()
    assert [start.astimezone(ZoneInfo(zone)).date() for start in done] == [changed, changed + timedelta(days=1)]


def test_a_slot_stays_open_while_another_run_has_the_source(nightly: Source) -> None:
    ((source_id, by, slot),) = tick(NOW)
    Lease(nightly)
    schedule.carry_out(source_id, by, slot)
    assert Slot.objects.get().completed_at is None


@pytest.mark.parametrize("change", [{"paused": True}, {"crontab": None}, {"schedule_since": NOW}])
def test_paused_unscheduled_or_newly_scheduled_sources_are_left_alone(
    nightly: Source, change: dict[str, object]
) -> None:
    Source.objects.filter(pk=nightly.pk).update(**change)
    assert tick(NOW) == []


def test_an_interval_is_due_as_well(make_source: Callable[..., Source]) -> None:
    hourly = IntervalSchedule.objects.create(every=1, period="hours")
    source = make_source(interval=hourly, schedule_since=NOW - timedelta(days=1))
    assert tick(NOW + timedelta(minutes=5)) == [(str(source.pk), "Schedule", "2026-05-04T10:00:00+00:00")]
    assert schedule.next_run(source, NOW) == NOW + timedelta(hours=1)


def test_an_import_that_a_process_died_over_is_sent_again(source: Source) -> None:
    ImportRun.objects.create(app=source.app, source=source, object_key="a", etag="e")
    now = timezone.now()
    Source.objects.update(lease_until=now + timedelta(seconds=5))
    assert tick(now) == []
    assert tick(now + timedelta(seconds=6)) == [(str(source.pk), "Schedule", "")]
    ImportRun.objects.update(state=RunState.DONE)
    assert tick(now + timedelta(seconds=6)) == []


def test_a_source_that_is_gone_needs_nothing(source: Source) -> None:
    source.delete()
    schedule.carry_out("00000000-0000-0000-0000-000000000000", "Schedule", SLOT)
    assert not ImportRun.objects.exists()
