"""How often somebody may call. Counted in the cache: for each process, or with a shared cache for all together."""

import logging
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
            return _counted(key, seconds) <= limit
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


def _counted(key: str, seconds: int) -> int:
    """Count one more, and return how many there are."""
    try:
        return cache.incr(key)
    except ValueError:  # the first of its window
        return 1 if cache.add(key, 1, timeout=seconds) else cache.incr(key)


class PerAddress(Window):
    """What comes from one address without a secret key: a browser, or somebody who guesses keys."""

    setting = "ENGAGE_API_RATE"

    def get_cache_key(self, request: HttpRequest) -> str | None:
        """Return the address; None for servers, which speak for many people from one."""
        caller = getattr(request, "auth", None)
        return None if caller and caller.key.kind == KeyKind.SECRET else self.get_ident(request) or "unknown"


class PerApp(Window):
    """What one App may ask for in all: a fuse for the others."""

    setting = "ENGAGE_API_APP_RATE"

    def get_cache_key(self, request: HttpRequest) -> str | None:
        """Return the App."""
        return str(request.auth.app.pk)  # type: ignore[attr-defined]
