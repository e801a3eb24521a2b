"""What Celery rings for: each task calls one function."""

import os
import socket
import threading
from uuid import UUID

from celery import shared_task
from django.utils import timezone

from prompts import bell, bindings, executions


def worker_name() -> str:
    """Return a name for this thread that people find in the attempts: host, process and thread."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident() % 10**6}"[:80]


@shared_task(name="prompts.work")
def work(first: str | None = None) -> None:
    """Carry out what is due."""
    executions.work(worker_name(), UUID(first) if first else None)


@shared_task(name="prompts.sweep")
def sweep() -> None:
    """Return expired leases, and ring for what is due: once for each thread that could work on it."""
    for _ in range(executions.sweep()):
        bell.ring()


@shared_task(name="prompts.recheck_inputs")
def recheck_inputs() -> None:
    """Ask the vendors about the fixed inputs of the Apps whose night has come."""
    bindings.recheck_due(timezone.now())
