"""How long is waited between the tries of what a passing trouble of a vendor's has stopped."""

import random

from django.conf import settings

JITTER = 0.1
WISHES = 3
"""Tries after which the vendor's wish is granted as it is; from then on it only lengthens the wait, so that a vendor that says
"at once" through hours of trouble does not use up all tries in seconds."""


def until_the_next_try(tries: int, wish: float | None) -> float | None:
    """Return the seconds to wait after so many tries (one at least) that failed; None when no more are made.

    Args:
        tries: those made, the last one included.
        wish: how long the vendor asked us to wait, in seconds.

    """
    delays = settings.ENGAGE_RETRY_DELAYS
    if tries > len(delays):
        return None
    wait: float = delays[tries - 1] * (1 + random.random() * JITTER)  # noqa: S311 - to spread retries, not to keep a secret
    if wish is None:
        return wait
    return max(wish, 1 / settings.ENGAGE_TIME_SCALE if tries <= WISHES else wait)
