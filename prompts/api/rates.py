"""How often somebody may call."""

import threading
import time

from django.conf import settings
from django.http import HttpRequest
from ninja.throttling import SimpleRateThrottle

from engage.tenancy.models import ApiKey, KeyKind
from engage.tenancy.rates import one_address, within


class Window(SimpleRateThrottle):
    """So many requests in a window of time.

    ninja's own throttle keeps the request at hand on the object, which threads share; here nothing is kept on it, and the
    cache counts with one atomic increment. ninja asks every throttle, also after one has refused: what is refused already
    counts no further.
    """

    setting: str

    def __init__(self) -> None:
        """The rate is read from the settings at each request."""

    def allow_request(self, request: HttpRequest) -> bool:
        """Count the request; whether it is within the limit."""
        if getattr(request, "engage_too_many", False):
            return True
        who = self.get_cache_key(request)
        allowed = who is None or self._within(f"{self.setting}:{who}", *self._rate())
        request.engage_too_many = not allowed  # type: ignore[attr-defined]
        return allowed

    def wait(self) -> float:
        """Return the seconds until the next window begins."""
        _, seconds = self._rate()
        return seconds - time.time() % seconds

    def _rate(self) -> tuple[int, int]:
        count, seconds = self.parse_rate(getattr(settings, self.setting))
        return int(count or 0), int(seconds or 1)

    def _within(self, what: str, limit: int, seconds: int) -> bool:
        return within(what, limit, seconds)


class PerAddress(Window):
    """What comes from one address without a secret key: a browser, or somebody who guesses keys."""

    setting = "ENGAGE_API_RATE"

    def get_cache_key(self, request: HttpRequest) -> str | None:
        """Return the address; None for servers, which speak for many people from one."""
        caller = getattr(request, "auth", None)
        return None if caller and caller.key.kind == KeyKind.SECRET else one_address(request) or "unknown"


class PerApp(Window):
    """What one App's servers may ask for in all, and what its browsers may: a fuse for the others.

    The two are counted apart. A publishable key is everybody's, who may use up what browsers have, and holds up no server.

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
        """Return the App, and which kind of key was used."""
        key: ApiKey = request.auth.key  # type: ignore[attr-defined]
        return f"{key.app_id}:{key.kind}"

    def _within(self, what: str, limit: int, seconds: int) -> bool:
        share = limit // self.SHARES
        if share < 2:
            return super()._within(what, limit, seconds)
        window = int(time.time() // seconds)
        key = f"{what}:{window}"
        with self._lock:
            if left := self._left.get(key):
                self._left[key] = left - 1
                return True
        if not super()._within(what, limit // share, seconds):
            return False
        with self._lock:
            if key not in self._left:
                self._left = {other: left for other, left in self._left.items() if other.endswith(f":{window}")}
            self._left[key] = self._left.get(key, 0) + share - 1
        return True
