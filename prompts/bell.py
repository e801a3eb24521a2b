"""Ring for the workers. The bell says "there is work" and nothing else; the rows say what.

Ringing never fails or delays an answer: what nobody heard is found by the sweep.
"""

import logging
import time
from uuid import UUID

from celery import current_app
from django.db import transaction

logger = logging.getLogger(__name__)
QUIET_AFTER_FAILURE = 5.0  # seconds in which nothing is tried after the broker could not be reached
_quiet_until = 0.0


def ring_on_commit(execution_id: UUID | None = None) -> None:
    """Ring once the transaction at hand is committed; `execution_id` is what the worker looks at first."""
    transaction.on_commit(lambda: ring(execution_id), robust=True)


def ring(execution_id: UUID | None = None) -> None:
    """Ring now, or keep quiet while the broker is away."""
    global _quiet_until  # noqa: PLW0603 - one broker for each process
    if time.monotonic() < _quiet_until:
        return
    try:
        current_app.send_task(
            "prompts.work", args=[str(execution_id)] if execution_id else [], retry=False, ignore_result=True
        )
    except Exception:  # noqa: BLE001 - transports raise what they like, and the row is safe
        _quiet_until = time.monotonic() + QUIET_AFTER_FAILURE
        logger.warning("The broker cannot be reached; the sweep will find the work")
