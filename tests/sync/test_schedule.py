"""Schedules of sources: a slot starts one import, whatever ticks, and what a process left behind is gone on with."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule

from engage.schedules.models import Slot
from sync import schedule
from sync.imports import Lease
from sync.models import ImportRun, RunState, Source
from tests.sync.conftest import TestBucket

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
