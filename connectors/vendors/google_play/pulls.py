"""Purchases that Google Play has voided, read at night: cancelled, refunded or charged back.

https://developers.google.com/android-publisher/voided-purchases. How a subscription itself stands is told by notifications and
by actions, and these traits are none of theirs; so that a chargeback, of which Google notifies late or never, is seen as well.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from connectors.http import Api
from connectors.pulls import MOST_PAGES, Pull, Row
from connectors.times import utc
from connectors.vendors.google_play.purchases import app

VOIDED = ("google_voided_at", "google_voided_reason", "google_voided_by", "google_voided_order_id")
BOTH_KINDS = 1  # `type`: subscriptions, too
MOST_ROWS = 1000  # "the maximum value of this parameter is also 1000"
# As the description of the API numbers them.
REASONS = (
    "other",
    "remorse",
    "not_received",
    "defective",
    "accidental_purchase",
    "fraud",
    "friendly_fraud",
    "chargeback",
    "unacknowledged_purchase",
)
SOURCES = ("user", "developer", "google")


def voided_rows(api: Api, since: datetime | None) -> Iterator[Row]:
    """Return what was voided since; else all that Google still knows, which is that of 30 days.

    A subscription's renewals share its token: of several orders the one that was voided last is told of.
    """
    wanted = {"type": BOTH_KINDS, "maxResults": MOST_ROWS}
    if since:
        wanted["startTime"] = int(since.timestamp() * 1000)
    for row in api.pages(*app(api, "purchases", "voidedpurchases"), params=wanted, most=MOST_PAGES):
        at = datetime.fromtimestamp(float(row.amount("voidedTimeMillis")) / 1000, UTC)
        told = (
            utc(at),
            _named(REASONS, row.get("voidedReason")),
            _named(SOURCES, row.get("voidedSource")),
            row.get("orderId"),
        )
        yield Row(row.text("purchaseToken"), "", dict(zip(VOIDED, told, strict=True)), at.timestamp())


def _named(names: tuple[str, ...], number: object) -> str | None:
    """Return the word for a number; none for one that was not documented when this was written."""
    return names[number] if isinstance(number, int) and 0 <= number < len(names) else None


PULLS = {
    "voided": Pull(
        "Refunds and chargebacks",
        "purchase",
        ("google_purchase_token",),
        dict.fromkeys(VOIDED, "text"),
        voided_rows,
        tells_changes=True,
    )
}
