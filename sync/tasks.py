"""What Celery rings for: each task calls one function."""

from celery import shared_task
from django.utils import timezone

from connectors import catalogues
from sync import schedule


@shared_task(name="sync.tick")
def tick() -> None:
    """Look which schedules are due."""
    schedule.tick(timezone.now(), import_source.delay)
    catalogues.refresh_due(timezone.now())


@shared_task(name="sync.import_source")
def import_source(source_id: str, started_by: str, slot: str = "") -> None:
    """Import what waits at a source."""
    schedule.carry_out(source_id, started_by, slot)
