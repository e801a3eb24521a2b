"""What Celery rings for: each task calls one function."""

from celery import shared_task
from django.utils import timezone

from connectors import catalogues, connections


@shared_task(name="connectors.probe_held")
def probe_held() -> None:
    """Ask the vendors of connections that need attention whether they are healthy again."""
    connections.probe_held()


@shared_task(name="connectors.refresh_catalogues")
def refresh_catalogues() -> None:
    """Read the catalogues whose night has come."""
    catalogues.refresh_due(timezone.now())
