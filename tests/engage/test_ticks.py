"""What beat sends by itself, as a beat that begins again reads it from the database."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from celery import current_app
from django.conf import settings
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import ModelEntry

from engage.beat import WATCH, Scheduler


@pytest.mark.django_db
@pytest.mark.parametrize("name", settings.CELERY_BEAT_SCHEDULE)
def test_a_tick_keeps_its_interval_and_expires_when_beat_begins_again(name: str) -> None:
    declared = settings.CELERY_BEAT_SCHEDULE[name]
    ModelEntry.from_entry(name, app=current_app, **declared)
    read = ModelEntry(PeriodicTask.objects.get(name=name), app=current_app)
    assert read.schedule.run_every == declared["schedule"].run_every >= timedelta(seconds=1)
    assert read.options["expires"] == declared["options"]["expire_seconds"]


@pytest.mark.parametrize("name", settings.CELERY_BEAT_SCHEDULE)
def test_a_tick_is_for_a_task_that_workers_have(name: str) -> None:
    current_app.loader.import_default_modules()
    task = settings.CELERY_BEAT_SCHEDULE[name]["task"]
    assert (task in current_app.tasks) is (task != WATCH)


class Sent(Scheduler):
    """Writes down what it would send."""

    def __init__(self) -> None:
        self.tasks: list[str] = []
        super().__init__(app=current_app)

    def apply_async(self, entry: Any, *_: Any, **__: Any) -> None:
        self.tasks.append(entry.task)

    def work(self) -> list[str]:
        """Tick until nothing is due; return which of our tasks were sent."""
        before = len(self.tasks)
        while self.tick() == 0:
            pass
        return sorted({*self.tasks[before:]} & {*EVERYTHING})


EVERYTHING = sorted(entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values())
TODAY = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


@pytest.fixture
def ahead(transactional_db: None) -> Iterator[tuple[Sent, time_machine.Traveller]]:
    """A beat whose clock is a day ahead, and which has sent everything."""
    with time_machine.travel(TODAY, tick=False) as clock:
        PeriodicTask.objects.all().delete()
        clock.shift(timedelta(days=1))
        beat = Sent()
        try:
            beat.work()
            clock.shift(3600)
            assert beat.work() == EVERYTHING
            beat.sync()
            yield beat, clock
        finally:
            beat.close()


def test_a_beat_whose_clock_is_set_back_goes_on_at_once(ahead: tuple[Sent, time_machine.Traveller]) -> None:
    beat, clock = ahead
    clock.move_to(TODAY)
    assert beat.work() == EVERYTHING
    assert beat.work() == []
    clock.shift(5)
    assert beat.work() == ["prompts.sweep"]
    clock.shift(595)
    assert "connectors.probe_held" in beat.work()


def test_a_beat_begins_where_another_was_ahead(
    ahead: tuple[Sent, time_machine.Traveller], caplog: pytest.LogCaptureFixture
) -> None:
    _, clock = ahead
    clock.move_to(TODAY)
    beat = Sent()
    try:
        assert beat.work() == EVERYTHING
        assert "which is yet to come: a clock was ahead" in caplog.text
        beat.sync()
        assert not PeriodicTask.objects.filter(last_run_at__gt=TODAY).exists()
        clock.shift(5)
        assert beat.work() == ["prompts.sweep"]
    finally:
        beat.close()


def test_a_running_beat_mends_what_another_one_writes(ahead: tuple[Sent, time_machine.Traveller]) -> None:
    beat, clock = ahead
    clock.move_to(TODAY)
    beat.work()
    beat.sync()
    PeriodicTask.objects.update(last_run_at=TODAY + timedelta(days=1))
    clock.shift(300)  # it reads the schedule anew
    assert beat.work() == EVERYTHING
