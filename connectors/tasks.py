"""What Celery rings for: each task calls one function."""

from celery import shared_task

from connectors import connections


@shared_task(name="connectors.probe_held")
def probe_held() -> None:
    """Ask the vendors of connections that need attention whether they are healthy again."""
    connections.probe_held()
