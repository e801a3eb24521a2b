"""The door by which a vendor is read for hours: in constant memory, and patient."""

import time
from collections.abc import Callable

from connectors.answers import Answer
from connectors.base import Connector, Values
from connectors.failures import Paused, Temporary
from connectors.http import Api, Asked
from connectors.journal import Exchange, OnlyLooks
from connectors.models import Connection
from connectors.waits import until_the_next_try

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
        tries, waited = 0, 0.0
        while True:
            if self.remaining < SPAN / 2:
                self._attempt.renew(SPAN)
            try:
                return super()._send_read(asked)
            except Temporary as failure:
                # Its turn, or the end of a pause, costs no try.
                wait: float | None
                if isinstance(failure, Paused):
                    wait = failure.after or 0.0
                else:
                    tries += 1
                    wait = until_the_next_try(tries, failure.after) if tries < TRIES else None
                waited += wait or 0.0
                if wait is None or waited > LONGEST_WAIT:
                    raise
            self._attempt.renew(SPAN)
            self._sleep(wait)
