"""Beat's schedule, from the database; and the watch, which beat keeps itself."""

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from django.db import connections
from django.utils import timezone
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from engage.alerts.watch import watch

logger = logging.getLogger(__name__)

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
WATCH = "engage.watch"
"""What stands in the schedule for it; no worker has such a task."""


class Tick(ModelEntry):  # type: ignore[misc]
    """What the schedule holds of one task."""

    last_run_at: datetime

    def is_due(self) -> Any:
        """Say whether it is time, which it is where the last time is yet to come: a clock was ahead, and was set right since.

        It would otherwise rest until then, and what is carried out is repeatable.
        """
        if self.last_run_at > timezone.now():
            logger.warning(
                "%s was last sent at %s, which is yet to come: a clock was ahead", self.name, self.last_run_at
            )
            self.last_run_at = LONG_AGO
        return super().is_due()


class Scheduler(DatabaseScheduler):  # type: ignore[misc]
    """Sends what is due to workers, except the watch: it tells when no worker runs, or the broker is away.

    It has a thread of its own, so that a mail server that hangs delays no tick.
    """

    Entry = Tick

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._looked_at = timezone.now()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="watch")
        self._watching: Future[None] | None = None
        super().__init__(*args, **kwargs)

    def schedule_changed(self) -> bool:
        """Say whether to read the schedule anew: also when the clock was set back, or else all would wait for the old time."""
        before, self._looked_at = self._looked_at, timezone.now()
        return bool(super().schedule_changed()) or self._looked_at < before

    def apply_async(self, entry: Any, *args: Any, **kwargs: Any) -> Any:
        """Send an entry, or keep the watch, unless the last one still lasts."""
        if entry.task != WATCH:
            return super().apply_async(entry, *args, **kwargs)
        if self._watching is None or self._watching.done():
            self._watching = self._thread.submit(self._watch)
        return None

    def _watch(self) -> None:
        try:
            watch(timezone.now())
        except Exception:
            logger.exception("The watch failed; the next one is in half a minute")
        finally:
            connections.close_all()

    def close(self) -> None:
        """Write what is to be written, and wait for the watch."""
        super().close()
        self._thread.shutdown()
