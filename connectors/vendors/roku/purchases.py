"""What Roku shows of a transaction, and what that says of a person. Roku Pay web services.

https://developer.roku.com/docs/developer-program/roku-pay/implementation/roku-web-service.md. Prose and examples of that page
contradict each other on `purchaseStatus`, so nothing is concluded of it where a field says the same.
"""

import re
from datetime import UTC, datetime, timedelta

from connectors.answers import Answer
from connectors.app_stores import no_purchase
from connectors.auth import PLACE
from connectors.base import Confirmed, Json, Pending, Values
from connectors.choosing import require, text_in
from connectors.failures import Rejected, Undocumented
from connectors.http import Api
from connectors.times import day_in_words, utc

DOCS = "https://developer.roku.com/docs/developer-program/roku-pay/implementation/roku-web-service.md"
TRANSACTION = r"[!-~]{1,1024}"
PRODUCT = r"[A-Za-z0-9_.-]{1,120}"  # UNVERIFIED what a product's code may hold; these need no guess
CLOCKS_DIFFER = timedelta(minutes=5)


def transaction_of(user: Values) -> str:
    """Return the transaction that the traits hold."""
    return text_in(user, "roku_transaction_id", TRANSACTION, "transaction id of Roku's")


def purchase(api: Api, number: str) -> Answer:
    """Return what Roku shows of a transaction: validate-transaction."""
    shown = api.get("validate-transaction", PLACE, number)
    shown.shows("status", 0)
    shown.shows("transactionId", number)
    channel = shown.fill("{channelId}")  # a number or a text
    require(channel == api.settings["channel_id"], f"The transaction belongs to another app (channel {channel}).")
    return shown


def moment_in(shown: Answer, name: str) -> datetime | None:
    r"""Return a time written as `/Date(1581033062000+0000)/`: milliseconds, in UTC whatever follows; None where there is none."""
    value = shown.get(name)
    if value is None:
        return None
    found = re.fullmatch(r"\\?/Date\((-?[0-9]{1,15})([+-][0-9]{4})?\)\\?/", str(value))
    if found is None:
        raise Undocumented(f"Roku's {name!r} is no time as its documentation has it.")
    return datetime.fromtimestamp(int(found[1]) / 1000, UTC)


def day(at: datetime | None) -> str:
    """Return a day in words."""
    return day_in_words(at) if at else "an unknown day"


def is_cancelled(shown: Answer) -> bool:
    """Whether it does not renew."""
    return bool(shown.shows("cancelled", True, False))


def is_pending(shown: Answer) -> bool:
    """Whether it has not begun; prose and examples spell it differently."""
    return shown.get("purchaseStatus") in {"PendingActive", "Pending_Active"}


def state(shown: Answer) -> str:
    """Return how a subscription stands: entitled beyond what was paid for is the time of grace."""
    ends = moment_in(shown, "expirationDate")
    entitled, cancelled, is_past = (
        shown.shows("isEntitled", True, False),
        is_cancelled(shown),
        ends and ends <= datetime.now(UTC),
    )
    if entitled:
        return "grace" if is_past else "cancelled" if cancelled else "active"
    return "ended" if cancelled else "on_hold"


def subject(original: str) -> str:
    """Name a subscription, of which the newest word counts."""
    return f"purchase {original}"


def traits_of(shown: Answer) -> Json:
    """Return what a transaction says of who has it. What it does not have is None, which takes the trait away."""
    ends = moment_in(shown, "expirationDate")
    return {
        "roku_customer_id": shown.get("rokuCustomerId"),
        "roku_transaction_id": shown.text("transactionId"),
        "roku_original_transaction_id": shown.get("OriginalTransactionId"),
        "roku_product_code": shown.text("productId"),
        "roku_expiration_date": utc(ends) if ends else None,
        "roku_is_entitled": shown["isEntitled"],
        "roku_cancelled": is_cancelled(shown),
        "roku_state": state(shown),
    }


def shown_as(shown: Answer, message: str, receipt: str = "") -> Confirmed:
    """Return what Roku shows, with the traits that follow."""
    original = shown.get("OriginalTransactionId") or shown["transactionId"]
    return Confirmed(message, traits_of(shown), subject(str(original)), receipt)


# --- a purchase that the app has made -------------------------------------------------------------


def confirm(api: Api, job: Json) -> Confirmed | Pending:
    """Ask Roku about a purchase that the app reports: done once Roku shows it.

    Roku lets nothing of ours travel with an order, so what shows that it answers this instruction is the product, the time,
    the plan that it took the place of, and that no other execution was shown the same transaction.
    """
    try:
        shown = purchase(api, job["transaction"])
    except Rejected as no:  # of a transaction Roku says so inside a 200
        raise (no_purchase(no) if no.status == 200 else no) from None
    product = shown.text("productId")
    require(product == job["product"], f"The purchase is of {product}, not of {job['product']}.")
    bought, asked = moment_in(shown, "purchaseDate"), datetime.fromisoformat(job["asked_at"])
    if bought is None:
        raise Undocumented("Roku does not show when it was bought.")
    require(bought >= asked - CLOCKS_DIFFER, f"The purchase is of {day(bought)}, before it was offered.")
    if job["operation"] != "purchase":
        rows = [str(one) for one in shown.each("cancelledTransactionIds")]
        kind = shown.get("purchaseType")
        require(kind == job["operation"].upper(), f"Roku shows the purchase as {kind or 'a new one'}.")
        # A downgrade takes effect at the end of the period: then only is the old plan cancelled.
        fits = not job["replaces"] or job["replaces"] in rows or job["operation"] == "downgrade"
        require(fits, "The purchase takes the place of another plan than this person's.")
    if is_pending(shown) and job["operation"] == "downgrade":
        return Confirmed(f"{product} takes effect at the end of the period", {}, receipt=job["transaction"])
    if is_pending(shown):
        return Pending(job, "Roku shows the purchase as pending.")
    return shown_as(shown, f"{product} is bought", receipt=job["transaction"])
