"""What Celery rings for: each task calls one function."""

import os
import threading
from socket import gethostname
from uuid import UUID

from celery import shared_task
from django.utils import timezone

from engage import places
from prompts import bell, bindings, executions, forwarding, recovery


def worker_name() -> str:
    """Return a name for this thread that people find in the attempts: host, process and thread."""
    return f"{gethostname()}:{os.getpid()}:{threading.get_ident() % 10**6}"[:80]


@shared_task(name="prompts.work")
def work(first: str | None = None) -> None:
    """Carry out what is due, for some seconds."""
    executions.work(worker_name(), UUID(first) if first else None)


@shared_task(name="prompts.sweep")
def sweep() -> None:
    """Return expired leases, and ring for what is due: once for each thread that could work on it.

    Nothing else rings for forwards: what came in between two ticks is what goes in one batch.
    """
    for _ in range(recovery.sweep()):
        bell.ring()
    for connection_id in forwarding.sweep():
        bell.ring_for_forwards(connection_id)


@shared_task(name="prompts.forward")
def forward(connection_id: str) -> None:
    """Forward a connection's events for some seconds, where a thread may be spared; else the next tick rings again."""
    with places.taken(places.TURNS) as has_one:
        if has_one:
            forwarding.work(worker_name(), UUID(connection_id))


@shared_task(name="prompts.recheck_inputs")
def recheck_inputs() -> None:
    """Check the fixed inputs of the Apps whose night has come, where a thread may be spared; else at the next tick."""
    with places.taken(places.LONG) as has_one:
        if has_one:
            bindings.recheck_due(timezone.now())
