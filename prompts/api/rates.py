"""How often somebody may call. Counted in the cache: for each process, or with a shared cache for all together."""

import logging
import threading
import time

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from ninja.throttling import SimpleRateThrottle

from engage.tenancy.models import KeyKind

log = logging.getLogger(__name__)


class Window(SimpleRateThrottle):
    """So many requests in a window of time.

    ninja's own throttle keeps the request at hand on the object, which threads share; here nothing is kept on it, and the
    cache counts with one atomic increment.
    """

    setting: str

    def __init__(self) -> None:
        """The rate is read from the settings at each request."""

    def allow_request(self, request: HttpRequest) -> bool:
        """Count the request; whether it is within the limit. A cache that is away refuses nobody."""
        who = self.get_cache_key(request)
        if who is None:
            return True
        limit, seconds = self._rate()
        key = f"rate:{self.setting}:{who}:{int(time.time() // seconds)}"
        try:
            return self._within(key, limit, seconds)
        except ValueError:  # it has just expired
            return True
        except Exception:
            log.exception("Requests could not be counted.")
            return True

    def wait(self) -> float:
        """Return the seconds until the next window begins."""
        _, seconds = self._rate()
        return seconds - time.time() % seconds

    def _rate(self) -> tuple[int, int]:
        count, seconds = self.parse_rate(getattr(settings, self.setting))
        return int(count or 0), int(seconds or 1)

    def _within(self, key: str, limit: int, seconds: int) -> bool:
        return _counted(key, 1, seconds) <= limit


def _counted(key: str, more: int, seconds: int) -> int:
    """Count so many more, and return how many there are."""
    try:
        return cache.incr(key, more)
    except ValueError:  # the first of its window
        return more if cache.add(key, more, timeout=seconds) else cache.incr(key, more)


class PerAddress(Window):
    """What comes from one address without a secret key: a browser, or somebody who guesses keys."""

    setting = "ENGAGE_API_RATE"

    def get_cache_key(self, request: HttpRequest) -> str | None:
        """Return the address; None for servers, which speak for many people from one."""
        caller = getattr(request, "auth", None)
        return None if caller and caller.key.kind == KeyKind.SECRET else self.get_ident(request) or "unknown"


class PerApp(Window):
    """What one App may ask for in all: a fuse for the others.

    Each process counts a thousandth of the limit at once, and asks the cache again when it has used that up. What it does not use
    is lost with the window: with several processes the limit is met a few thousandths early, and never late.
    """

    setting = "ENGAGE_API_APP_RATE"
    SHARES = 1000

    def __init__(self) -> None:
        """What is left of the shares is this process's; its threads use it together."""
        self._left: dict[str, int] = {}
        self._lock = threading.Lock()

    def get_cache_key(self, request: HttpRequest) -> str | None:
        """Return the App."""
        return str(request.auth.app.pk)  # type: ignore[attr-defined]

    def _within(self, key: str, limit: int, seconds: int) -> bool:
        share = limit // self.SHARES
        if share < 2:
            return super()._within(key, limit, seconds)
        with self._lock:
            if left := self._left.get(key):
                self._left[key] = left - 1
                return True
        if _counted(key, share, seconds) > limit:
            return False
        with self._lock:
            if key not in self._left:
                window = key.rpartition(":")[2]
                self._left = {other: left for other, left in self._left.items() if other.endswith(f":{window}")}
            self._left[key] = self._left.get(key, 0) + share - 1
        return True
