"""What a vendor allows a connection: its rate, and the pauses that it asks for. Kept in one row, for all workers.

`Connection.next_free_at` is the next instant at which a request may leave. Where the vendor states a rate, every request
takes its place by one conditional UPDATE that moves that instant on; where the vendor says "not before", it is moved there.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Literal
from uuid import UUID

from django.conf import settings
from django.db import connection as database
from django.db.models import Q, Value
from django.db.models.functions import Now
from django.dispatch import Signal

from connectors import clock
from connectors.base import Rate
from connectors.failures import Paused
from connectors.models import Connection

WAITS_AT_MOST = 10.0
"""Seconds that the first request of an attempt waits for its place; for longer, the attempt comes back later."""
LONGEST_PAUSE = 3600.0
"""Seconds that a connection pauses at a vendor's word. A larger wish holds for the execution that heard it."""

paused = Signal()
"""A connection pauses. Sent with `connection_id`, `seconds`, and the `sentence` that says why."""

_TAKE_A_PLACE = """
UPDATE connectors_connection SET next_free_at = {moved}
WHERE id = %s AND (next_free_at IS NULL OR next_free_at <= {longest})
RETURNING {wait}
"""


class Gate:
    """Lets the requests of one attempt (a test, a refresh) leave when the connection may send one.

    Args:
        account: the stored connection that they count for; None for settings that are only typed so far.
        rate: what its vendor allows.
        sleep: waits for so many seconds.

    """

    def __init__(
        self, account: Connection | None, rate: Rate | None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.account = account
        self.rate = rate
        self._sleep = sleep
        self._has_begun = False

    def wait(self, remaining: float) -> None:
        """Wait for the place of one request. No transaction is open meanwhile.

        Args:
            remaining: seconds that the attempt has. Once it has sent something it waits that long rather than to stop halfway.

        Raises:
            Paused: that would take too long; `after` says when to come back.

        """
        if self.account is None:
            return
        longest = remaining if self._has_begun else min(WAITS_AT_MOST / settings.ENGAGE_TIME_SCALE, remaining)
        if self.rate is not None:
            self._sleep(take_a_place(self.account.pk, self.rate, longest))
        elif not self._has_begun and self.account.next_free_at is not None:
            # Told to pause at some time, and perhaps still; a vendor without a rate is not asked about each request.
            seconds = seconds_to_wait(self.account.pk)
            if seconds > longest:
                raise Paused(after=seconds)
            self._sleep(seconds)
        self._has_begun = True


def take_a_place(connection_id: UUID, rate: Rate, longest: float) -> float:
    """Take the next place of a connection. Returns the seconds until it comes.

    Raises:
        Paused: it would come later than in `longest` seconds, so none was taken.

    """
    wait = clock.seconds_until("next_free_at")
    sql = _TAKE_A_PLACE.format(
        moved=clock.later(clock.latest(f"COALESCE(next_free_at, {clock.now()})", clock.now())),
        longest=clock.later(),
        wait=wait,
    )
    key = Connection._meta.pk.get_db_prep_value(connection_id, database)
    with database.cursor() as cursor:
        cursor.execute(sql, [rate.spacing, key, longest])
        row = cursor.fetchone()
    if row is None:
        raise Paused(after=seconds_to_wait(connection_id))
    return max(float(row[0]) - rate.spacing, 0.0)


def seconds_to_wait(connection_id: UUID, until: Literal["next_free_at", "closed_until"] = "next_free_at") -> float:
    """Return the seconds until a request of this connection may leave, or until its breaker lets one through."""
    sql = f"SELECT {clock.seconds_until(until)} FROM connectors_connection WHERE id = %s"  # noqa: S608 - two names of ours
    with database.cursor() as cursor:
        cursor.execute(sql, [Connection._meta.pk.get_db_prep_value(connection_id, database)])
        row = cursor.fetchone()
    return max(float(row[0] or 0.0), 0.0) if row else 0.0


def pause(account: Connection, seconds: float) -> None:
    """Let nothing of this connection leave for so long, as its vendor asked (Retry-After)."""
    seconds = min(seconds, LONGEST_PAUSE)
    until = Now() + Value(timedelta(seconds=seconds))
    sooner = Q(next_free_at=None) | Q(next_free_at__lt=until)
    if Connection.objects.filter(sooner, pk=account.pk).update(next_free_at=until):
        sentence = f"{account} is paused: it asked us to wait."
        paused.send(sender=Connection, connection_id=account.pk, seconds=seconds, sentence=sentence)
