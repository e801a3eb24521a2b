"""The door by which a vendor is read for hours: in constant memory, and patient."""

import time
from collections.abc import Callable

from django.conf import settings as django_settings

from connectors.answers import Answer
from connectors.base import Connector, Values
from connectors.failures import Paused, Temporary
from connectors.http import Api, Asked
from connectors.journal import Exchange, OnlyLooks
from connectors.models import Connection

SPAN = 120.0
"""Seconds that requests share one connection to the vendor; each has at least half of them for itself."""
TRIES = 5
"""Of one request; between them the waits between tries (ENGAGE_RETRY_DELAYS), or what the vendor says."""
LONGEST_WAIT = 2 * 3600.0
"""Seconds that one request waits in all, its tries and the vendor's limit taken together."""


class _Forgets(OnlyLooks):
    """A journal for reads that are many: it keeps none of them, so that hours take no memory."""

    def answered(self, exchange: Exchange) -> None:
        """Keep nothing."""


class PatientApi(Api):
    """The door for a long read: no request shares its time with the others, and each waits for a vendor that is away."""

    def __init__(
        self,
        connector: Connector,
        settings: Values,
        account: Connection,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(connector, settings, _Forgets(SPAN), account)
        self._sleep = sleep

    def later(self, seconds: float, why: str) -> None:
        """Wait: nobody else does for a long read."""
        self._attempt.renew(SPAN)
        self._sleep(seconds)

    def _send_read(self, asked: Asked) -> Answer:
        """Send a read; a passing trouble is waited for, as is the connection's turn.

        Raises:
            Temporary: it does not pass.

        """
        delays = iter(django_settings.ENGAGE_RETRY_DELAYS[: TRIES - 1])
        waited = 0.0
        while True:
            if self.remaining < SPAN / 2:
                self._attempt.renew(SPAN)
            try:
                return super()._send_read(asked)
            except Temporary as failure:
                # Its turn, or the end of a pause, costs no try.
                delay = failure.after if isinstance(failure, Paused) else next(delays, None)
                if delay is None:
                    raise
                wait = delay if failure.after is None else failure.after
                waited += wait
                if waited > LONGEST_WAIT:
                    raise
            self._attempt.renew(SPAN)
            self._sleep(wait)
