"""How the last calls of a connection went, and whether it pauses: what its page says under *Activity*."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from connectors.limits import WAITS_AT_MOST
from connectors.models import Connection

PERIOD = timedelta(hours=24)
LOOKED_AT = 1000  # attempts at most
SUCCESSES = ("done", "pending", "handed_over")  # outcomes of attempts, which belong to a higher room


@dataclass(frozen=True)
class Activity:
    """The attempts of the last 24 hours, `LOOKED_AT` of them at most. `attempts` is 0 where there are none to speak of."""

    attempts: int
    succeeded: float  # per cent: done, accepted or handed over
    troubled: float  # per cent: no answer, or a passing trouble of the vendor
    p95: float  # seconds that 95 % of them took at most, waits for the vendor's rate included
    sentence: str  # whether it pauses; empty where it does not


def of(connection: Connection) -> Activity:
    """Return how a connection's last attempts went."""
    now = timezone.now()
    rows = connection.attempts.filter(vendor_failed__isnull=False, finished_at__gt=now - PERIOD)
    last = list(
        rows.order_by("-finished_at").values_list("started_at", "finished_at", "outcome", "vendor_failed")[:LOOKED_AT]
    )
    took = sorted((finished - started).total_seconds() for started, finished, _, _ in last if finished)
    return Activity(
        len(last),
        _percent(sum(outcome in SUCCESSES for _, _, outcome, _ in last), len(last)),
        _percent(sum(bool(failed) for _, _, _, failed in last), len(last)),
        took[(len(took) * 95 - 1) // 100] if took else 0.0,
        pause(connection),
    )


def pause(connection: Connection) -> str:
    """Return the sentence of why nothing of a connection leaves just now, and until when; empty where it does."""
    now = timezone.now()
    closed, free = connection.closed_until, connection.next_free_at
    if closed is not None and closed > now:
        return format_html("Paused after repeated failures; next try {}.", _moment(closed))
    if closed is not None:
        return "Paused after repeated failures; the next action is the try that decides."
    if free is not None and free > now + timedelta(seconds=WAITS_AT_MOST):
        return format_html("Paused, since the vendor asked us to wait; it goes on {}.", _moment(free))
    return ""


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


def _moment(at: datetime) -> SafeString:
    """Return a time as every page shows one: the browser puts it into its own zone. A pause may be one of seconds."""
    return format_html('<time datetime="{}" data-eg-seconds>{} UTC</time>', at.isoformat(), f"{at:%-d %b %Y, %H:%M:%S}")
