"""Ring for the workers. The bell says "there is work", and perhaps which row to look at first; the rows say what.

Ringing never fails or delays an answer: what nobody heard is found by the sweep.
"""

import logging
import time
from datetime import timedelta

from celery import current_app, uuid
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from engage import crash

logger = logging.getLogger(__name__)
QUIET_AFTER_FAILURE = 5.0  # seconds in which nothing is tried after the broker could not be reached
GOOD_FOR = 30.0
"""Seconds after which a bell that no worker has heard expires, as ticks do: its row is found by the sweep, and a thousand bells
of busy hours do not stand before the ticks."""
_quiet_until = 0.0
_declared = set[str]()  # queues, by this process


def ring_on_commit(task: str, *hints: str) -> None:
    """Ring once the transaction at hand is committed, as `ring` does."""
    transaction.on_commit(lambda: _ring_committed(task, *hints), robust=True)


def _ring_committed(task: str, *hints: str) -> None:
    crash.point("event.committed")
    ring(task, *hints)
    crash.point("bell.rung")


def ring(task: str, *hints: str, good_for: float = GOOD_FOR) -> None:
    """Ring now, or keep quiet while the broker is away.

    Args:
        task: the name of the Celery task that looks for work.
        hints: its arguments, e.g. the row that it looks at first.
        good_for: seconds after which it expires.

    """
    global _quiet_until  # noqa: PLW0603 - one broker for each process
    if time.monotonic() < _quiet_until:
        return
    try:
        _send(task, hints, good_for)
    except Exception:  # noqa: BLE001 - transports raise what they like, and the row is safe
        _quiet_until = time.monotonic() + QUIET_AFTER_FAILURE
        logger.warning("The broker cannot be reached; the sweep will find the work")


def _send(task: str, hints: tuple[str, ...], good_for: float) -> None:
    """Send a task's message, with what a worker reads of one that has no result and nothing to follow.

    https://docs.celeryq.dev/en/stable/internals/protocol.html, version 2. Celery's own `send_task` takes more than twice as long
    to find out the same. A broker drops what has no queue, and the first message may come before the first worker: so each process
    declares the queue once, and a worker does whenever it connects.
    """
    number, queue = uuid(), current_app.amqp.queues[settings.CELERY_TASK_DEFAULT_QUEUE]
    expires = (timezone.now() + timedelta(seconds=good_for)).isoformat()
    about = {
        "lang": "py",
        "task": task,
        "id": number,
        "root_id": number,
        "ignore_result": True,
        "expires": expires,
    }
    with current_app.producer_pool.acquire(block=True) as producer:
        producer.publish(
            (hints, {}, {}),
            headers=about,
            correlation_id=number,
            serializer="json",
            routing_key=queue.name,
            declare=[queue] if queue.name not in _declared else [],
        )
    _declared.add(queue.name)
