"""What Celery does for Django in a worker, except that a task goes on with the database connection of the one before."""

from typing import Any

from celery import Celery
from celery.fixups.django import DjangoFixup, DjangoWorkerFixup  # type: ignore[attr-defined]  # its stubs lack the second
from django.db import close_old_connections


class WorkerFixup(DjangoWorkerFixup):  # type: ignore[misc]
    """Celery's own closes all connections around each task, whatever `CONN_MAX_AGE` says: two reconnections for each bell."""

    def close_database(self, **_: Any) -> None:
        """Close what is too old or broken, as Django does around each request."""
        close_old_connections()


class Fixup(DjangoFixup):
    """Celery's own, with our part of it."""

    _worker_fixup: WorkerFixup | None

    @property
    def worker_fixup(self) -> WorkerFixup:
        """Make ours when it is needed first: by then the settings are read."""
        if self._worker_fixup is None:
            self._worker_fixup = WorkerFixup(self.app)
        return self._worker_fixup


def fixup(app: Celery) -> Fixup:
    """Install it; Celery calls this."""
    installed = Fixup(app)
    installed.install()
    return installed
