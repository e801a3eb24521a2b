"""How the threads of a worker are shared, so that one at least is left for actions.

What is no action takes a place first, and ends at once where none is free: its rows wait, and the next tick rings again.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

LONG = threading.BoundedSemaphore(max(1, (settings.ENGAGE_WORKER_THREADS - 1) // 2))
"""For what may take hours, and waits for stores and vendors meanwhile: less than half of a process's threads."""
TURNS = threading.BoundedSemaphore(max(1, settings.ENGAGE_WORKER_THREADS // 2))
"""For what waits for vendors too, and takes turns of `WORKS_FOR` seconds: at most the other half."""
WORKS_FOR = 5.0
"""Seconds after which a thread begins nothing more and rings again, so that what else was rung for has its turn: with a long queue
at a slow vendor it would be kept for hours."""


@contextmanager
def taken(places: threading.BoundedSemaphore) -> Iterator[bool]:
    """Take a place, if one is free, until this ends; whether there was one."""
    has_one = places.acquire(blocking=False)
    try:
        yield has_one
    finally:
        if has_one:
            places.release()
