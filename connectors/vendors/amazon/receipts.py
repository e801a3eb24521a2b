"""What Amazon shows of a receipt, and what that says of a person: Receipt Verification Service (RVS), version 1.0."""

from datetime import datetime

from connectors.answers import Answer
from connectors.auth import PLACE
from connectors.base import Json
from connectors.failures import BadCredentials, Rejected
from connectors.http import Api
from connectors.times import MILLISECOND, utc

DOCS = "https://developer.amazon.com/docs/in-app-purchasing/iap-rvs-for-android-apps.html"
CHECK_AT = "In the Amazon Developer Console, the sales report shows the receipt."
APPSTORE = "Appstore"
"""The part of the connector that is not Device Messaging."""
SUBSCRIPTION = "SUBSCRIPTION"
ID = r"[A-Za-z0-9_.:=+/~!*@|-]{1,500}"  # Amazon does not say what its ids are made of
UNKNOWN, GONE, WRONG_KEY, WRONG_USER = 400, 410, 496, 497  # RVS has statuses of its own
NO_RECEIPT = {
    UNKNOWN: "Amazon knows no such receipt.",
    GONE: "Amazon shows the receipt as no longer valid.",
    WRONG_USER: "Amazon knows no such receipt of this user.",
}


def receipt(api: Api, user: str, number: str) -> Answer:
    """Return a receipt of an Amazon user.

    Raises:
        BadCredentials: the shared key is another developer's.
        Rejected: it is no receipt of this user and developer, or no longer valid (status 410).

    """
    try:
        path = ("version", "1.0", "verifyReceiptId", "developer", PLACE, "user", user, "receiptId", number)
        found = api.get(*path)
    except Rejected as no:
        if no.status == WRONG_KEY:
            raise BadCredentials("Amazon does not accept the shared key.") from None
        no.message = NO_RECEIPT.get(no.status, no.message)
        raise
    found.shows("receiptId", number)
    return found


def traits_of(shown: Answer, user: str) -> Json:
    """Return what a receipt says of who has it. What it does not have is None, which takes the trait away."""
    if shown["productType"] != SUBSCRIPTION:
        return {"amazon_user_id": user}
    return {
        "amazon_user_id": user,
        "amazon_receipt_id": shown.text("receiptId"),
        "amazon_sku": shown.get("termSku") or shown.text("productId"),
        "amazon_renewal_date": utc(due) if (due := moment_in(shown, "renewalDate")) else None,
        "amazon_cancel_date": utc(ended) if (ended := moment_in(shown, "cancelDate")) else None,
        "amazon_auto_renewing": shown.get("autoRenewing"),
        "amazon_deferred_sku": shown.get("deferredSku"),
    }


def now_of(api: Api, user: str, number: str) -> tuple[Answer | None, Json]:
    """Return a receipt as it is now, and the traits that follow; None for one that is no longer valid, which does not renew.

    Raises:
        BadCredentials, Rejected: as `receipt` does of any other.

    """
    try:
        shown = receipt(api, user, number)
    except Rejected as no:
        if no.status != GONE:
            raise
        return None, {"amazon_auto_renewing": False}
    return shown, traits_of(shown, user)


def subject(number: str) -> str:
    """Name a receipt, of which the newest word counts."""
    return f"receipt {number}"


def moment_in(shown: Answer, name: str) -> datetime | None:
    """Return a time of a receipt; None where it has none."""
    return shown.moment(name, unit=MILLISECOND) if shown.get(name) is not None else None
