"""What Celery rings for: each task calls one function."""

from celery import shared_task
from django.utils import timezone

from connectors import catalogues, connections
from engage import places


@shared_task(name="connectors.probe_held")
def probe_held() -> None:
    """Ask the vendors of connections that need attention whether they are healthy again."""
    connections.probe_held()


@shared_task(name="connectors.refresh_catalogues")
def refresh_catalogues() -> None:
    """Read the rows of the connections whose night has come, where a thread may be spared; else at the next tick."""
    with places.taken(places.LONG) as has_one:
        if has_one:
            catalogues.refresh_due(timezone.now())
