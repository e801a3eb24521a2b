"""The circuit breaker of a connection: after repeated failures nothing leaves for a while, and then one try goes ahead.

A failure is a passing trouble: no answer, a 5xx, a 429. A definite refusal is an answer like any other. What counts are the last
attempts; what was decided is kept in the connection's row (`closed_until`), so all workers agree:

- null: everything goes;
- in the future: nothing does;
- over: the next attempt is the probe. It takes its turn by one conditional UPDATE that moves the instant on, so there is one.
"""

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import F, Q, Value
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now
from django.dispatch import Signal
from django.utils import timezone

from connectors.failures import Paused
from connectors.limits import WAITS_AT_MOST, paused, seconds_to_wait
from connectors.models import Connection
from engage import crash
from engage.audit.record import record

CALLS = 10
"""So many attempts are looked at before anything is decided."""
SHARE = 0.7
"""Of those of the last minutes (`ENGAGE_BREAKER_WINDOW`); or the last `CALLS` in a row, whenever they were."""
LOOKED_AT = 200  # attempts at most
ITSELF = "Engage"  # who did it, in the history

resumed = Signal()
"""A connection can be tried again. Sent with `connection_id`."""


def turn(account: Connection | None) -> bool:
    """Return whether an attempt that is about to begin is the probe: the only one that may go while the others wait.

    Raises:
        Paused: it has to wait; `after` says for how long.

    """
    if account is None or account.closed_until is None:
        return False
    row = Connection.objects.filter(pk=account.pk)
    # Where the vendor asked us to wait for longer, the probe would be sent back at the gate, and free the turn for the next.
    soon = Q(next_free_at=None) | Q(next_free_at__lte=_in(WAITS_AT_MOST / settings.ENGAGE_TIME_SCALE))
    if row.filter(soon, closed_until__lte=Now()).update(closed_until=_in(settings.ENGAGE_LEASE)):
        crash.point("breaker.turned")
        _tell(account.pk, settings.ENGAGE_LEASE)
        return True
    if not row.filter(closed_until__isnull=False).exists():
        return False
    raise Paused(sentence(account), after=max(seconds_to_wait(account.pk, "closed_until"), seconds_to_wait(account.pk)))


def note(account: Connection | None, *, failed: bool | None, probing: bool) -> None:
    """Draw the conclusion from an attempt that has just been completed.

    Args:
        failed: whether it ended in a passing trouble of the vendor; None: the vendor was not asked.
        probing: what `turn()` returned for it.

    """
    if account is None:
        return
    if probing and failed is None:
        _reopen(account.pk)
    elif probing and failed:
        _pause_again(account.pk)
    elif probing:
        _close(account.pk)
    elif failed and is_in_trouble(account.pk):
        _open(account.pk)


def tell_again() -> None:
    """Say of every connection that pauses that it does: what has come since waits, too."""
    for key in Connection.objects.filter(closed_until__gt=Now()).values_list("pk", flat=True):
        _tell(key, seconds_to_wait(key, "closed_until"))


def try_at_once(connection_id: UUID) -> None:
    """Let the probe go now: a test has just passed."""
    if Connection.objects.filter(pk=connection_id, closed_until__gt=Now()).update(closed_until=Now()):
        resumed.send(sender=Connection, connection_id=connection_id)


def forget(account: Connection) -> None:
    """Begin anew: it is another account from now on. The caller saves the row."""
    account.next_free_at = account.closed_until = None
    account.pauses, account.counted_from = 0, timezone.now()


def is_in_trouble(connection_id: UUID) -> bool:
    """Whether the last attempts say that the vendor cannot be relied on just now."""
    row = Connection.objects.get(pk=connection_id)
    counted = row.attempts.filter(vendor_failed__isnull=False)
    if row.counted_from is not None:
        counted = counted.filter(finished_at__gt=row.counted_from)
    verdicts = counted.order_by("-finished_at").values_list("vendor_failed", flat=True)
    last = list(verdicts[:CALLS])
    if len(last) < CALLS:
        return False
    if all(last):
        return True
    lately = Now() - Value(timedelta(seconds=settings.ENGAGE_BREAKER_WINDOW))
    recent = list(verdicts.filter(finished_at__gt=lately)[:LOOKED_AT])
    return len(recent) >= CALLS and sum(map(bool, recent)) >= SHARE * len(recent)


def sentence(account: Connection) -> str:
    """Return why what a connection would carry out waits while it pauses."""
    return f"{account} is paused: its last calls failed. It is tried again by itself."


def _open(connection_id: UUID) -> None:
    first = settings.ENGAGE_BREAKER_PAUSES[0]
    row = Connection.objects.filter(pk=connection_id)
    if row.filter(closed_until=None).update(closed_until=_in(first), pauses=1):
        crash.point("breaker.opened")
        record("paused after repeated failures", row.select_related("app").get(), {}, actor=ITSELF)
        _tell(connection_id, first)


def _pause_again(connection_id: UUID) -> None:
    pauses = settings.ENGAGE_BREAKER_PAUSES
    row = Connection.objects.filter(pk=connection_id, closed_until__isnull=False)
    made = row.values_list("pauses", flat=True).first()
    if made is None:
        return
    seconds = pauses[min(made, len(pauses) - 1)]
    if row.update(closed_until=_in(seconds), pauses=F("pauses") + 1):
        _tell(connection_id, seconds)


def _close(connection_id: UUID) -> None:
    row = Connection.objects.filter(pk=connection_id)
    if row.filter(closed_until__isnull=False).update(closed_until=None, pauses=0, counted_from=Now()):
        crash.point("breaker.closed")
        record("works again", row.select_related("app").get(), {}, actor=ITSELF)
        resumed.send(sender=Connection, connection_id=connection_id)


def _reopen(connection_id: UUID) -> None:
    """The probe asked nobody: another one may."""
    if Connection.objects.filter(pk=connection_id, closed_until__isnull=False).update(closed_until=Now()):
        resumed.send(sender=Connection, connection_id=connection_id)


def _in(seconds: float) -> CombinedExpression:
    return Now() + Value(timedelta(seconds=seconds))


def _tell(connection_id: UUID, seconds: float) -> None:
    account = Connection.objects.get(pk=connection_id)
    paused.send(sender=Connection, connection_id=connection_id, seconds=seconds, sentence=sentence(account))
