"""What Celery rings for: each task calls one function."""

from datetime import datetime

from celery import shared_task
from django.utils import timezone

from engage import retention


@shared_task(name=retention.TASK)
def purge(begun: str = "") -> None:
    """Delete what is old."""
    now = timezone.now()
    retention.work(now, datetime.fromisoformat(begun) if begun else now)
