"""`wait=`: hold an answer back for a moment, so that a one-click action can say "done"."""

import threading
import time
from collections.abc import Callable

from django.conf import settings

FIRST_PAUSE, LONGEST_PAUSE = 0.03, 0.3
"""Seconds between two looks."""

# At most half of a process's threads wait: the others go on answering, also when a vendor is slow.
places = threading.BoundedSemaphore(max(1, settings.ENGAGE_WEB_THREADS // 2))


def until(happened: Callable[[], bool], seconds: float) -> None:
    """Look again and again until `happened()` or `seconds` are over; not at all when too many others wait.

    Between two looks no transaction is open; `happened` is one short read.
    """
    if seconds <= 0 or not places.acquire(blocking=False):
        return
    try:
        end = time.monotonic() + seconds
        pause = FIRST_PAUSE
        while not happened() and (left := end - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE)
    finally:
        places.release()
