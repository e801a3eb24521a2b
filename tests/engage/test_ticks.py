"""What beat sends by itself, as a beat that begins again reads it from the database."""

from datetime import timedelta

import pytest
from celery import current_app
from django.conf import settings
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import ModelEntry

from engage.beat import WATCH


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
