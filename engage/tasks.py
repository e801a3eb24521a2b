"""What Celery rings for: each task calls one function."""

from celery import shared_task
from django.utils import timezone

from engage import retention


@shared_task(name="engage.purge")
def purge() -> None:
    """Delete what is old."""
    retention.purge(timezone.now())
