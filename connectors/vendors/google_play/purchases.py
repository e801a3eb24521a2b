"""What Google Play shows of a purchase, and what that says of a person.

https://developers.google.com/android-publisher/api-ref/rest/v3/purchases.subscriptionsv2
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from connectors.answers import Answer
from connectors.base import Confirmed, Json, Pending, Values
from connectors.choosing import require, text_in
from connectors.http import Api, Custom, Segment

PURCHASE = r"[A-Za-z0-9._~/+=-]{1,1500}"  # Google does not say what a purchase token is made of; these need no guess
ORDER = r"[A-Za-z0-9._-]{1,100}"
NAME = "SUBSCRIPTION_STATE_"
NOT_THIS_ONE = "The purchase was not made for this offer: Google shows another account id, or none."
ACKNOWLEDGED, UNACKNOWLEDGED = "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED", "ACKNOWLEDGEMENT_STATE_PENDING"


def app(api: Api, *segments: Segment) -> tuple[Segment, ...]:
    """Return the path of something of the app's."""
    return ("androidpublisher", "v3", "applications", str(api.settings["package_name"]), *segments)


def token_of(user: Values) -> str:
    """Return the purchase token that the traits hold."""
    return text_in(user, "google_purchase_token", PURCHASE, "purchase token of Google's")


def subscription(api: Api, token: str) -> Answer:
    """Return a subscription by its purchase token."""
    return api.get(*app(api, "purchases", "subscriptionsv2", "tokens", token))


def state(bought: Answer) -> str:
    """Return how a subscription stands: "ACTIVE", "CANCELED", "EXPIRED", ..."""
    return bought.text("subscriptionState").removeprefix(NAME)


def line(bought: Answer, product: str = "") -> Answer:
    """Return the line of a product; without one, the only line.

    Raises:
        Rejected: there are several (add-ons), and nothing says which.

    """
    rows = bought.rows("lineItems")
    named = [row for row in rows if row.text("productId") == product] if product else rows
    require(len(named) == 1, "The purchase holds several products, or not this one; none is chosen by guessing.")
    return named[0]


def traits_of(bought: Answer, item: Answer, token: str) -> Json:
    """Return what a subscription says of who has it. What it does not have is None, which takes the trait away."""
    offer, renewing = item.get("offerDetails") or {}, item.get("autoRenewingPlan") or {}
    return {
        "google_purchase_token": token,
        "google_product_id": item.text("productId"),
        "google_base_plan_id": offer.get("basePlanId"),
        "google_offer_id": offer.get("offerId"),
        "google_subscription_state": state(bought).lower(),
        "google_expiry_time": item.get("expiryTime"),
        "google_auto_renew": renewing.get("autoRenewEnabled", False),
        "google_order_id": item.get("latestSuccessfulOrderId"),
    }


def subject(token: str) -> str:
    """Name a purchase, of which the newest word counts."""
    return f"purchase {token}"


# --- a purchase that the app has made -------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """A purchase that is what the app says: what it tells, of which product, and whether Google was told that it came."""

    confirmed: Confirmed
    product: str
    acknowledged: bool


def confirm(api: Api, job: Json) -> Confirmed | Pending:
    """Ask Google about a purchase that the app reports, and acknowledge it: done once Google shows both.

    "If you don't acknowledge a purchase within three days, the user automatically receives a refund, and Google Play revokes
    the purchase": https://developer.android.com/google/play/billing/integrate#process
    """
    look = _subscription if job["type"] == "subs" else _product
    shown = look(api, job)
    if isinstance(shown, Shown) and not shown.acknowledged:
        kind = "subscriptions" if job["type"] == "subs" else "products"
        purchase = ("purchases", kind, shown.product, "tokens", Custom(job["token"], "acknowledge"))
        api.post(*app(api, *purchase), json={}, step="acknowledge")
        shown = look(api, job)
    if isinstance(shown, Pending):
        return shown
    if not shown.acknowledged:
        return Pending(job, "Google does not show yet that the purchase is acknowledged.")
    return shown.confirmed


def _subscription(api: Api, job: Json) -> Shown | Pending:
    bought = subscription(api, job["token"])
    owner = bought.get("externalAccountIdentifiers") or {}
    require(owner.get("obfuscatedExternalAccountId") == job["account"], NOT_THIS_ONE)
    stands = state(bought)
    if stands == "PENDING":
        return Pending(job, "The payment is pending at Google.")
    rows = bought.rows("lineItems")
    now = [row for row in rows if row.text("productId") == job["product"]]
    later = [row for row in rows if (row.get("deferredItemReplacement") or {}).get("productId") == job["product"]]
    require(now or later, f"The purchase is of another product than {job['product']}.")
    item = (now or later)[0]
    told = f"{job['product']} is bought" if now else f"{job['product']} takes effect on {item.day('expiryTime')}"
    runs = stands in {"ACTIVE", "IN_GRACE_PERIOD"} or (stands == "CANCELED" and not is_past(item))
    require(runs, f"Google shows the subscription as {words(stands)}.")
    confirmed = Confirmed(f"{told}.", traits_of(bought, item, job["token"]), subject(job["token"]))
    return Shown(confirmed, item.text("productId"), _acknowledged(bought))


def _product(api: Api, job: Json) -> Shown | Pending:
    bought = api.get(*app(api, "purchases", "productsv2", "tokens", job["token"]))
    require(bought.get("obfuscatedExternalAccountId") == job["account"], NOT_THIS_ONE)
    stands = bought.part("purchaseStateContext")["purchaseState"]
    if stands == "PENDING":
        return Pending(job, "The payment is pending at Google.")
    require(stands == "PURCHASED", f"Google shows the purchase as {words(str(stands))}.")
    products = [row.text("productId") for row in bought.rows("productLineItem")]
    require(job["product"] in products, f"The purchase is of another product than {job['product']}.")
    traits = {"google_order_id": bought.get("orderId")}
    confirmed = Confirmed(f"{job['product']} is bought.", traits, subject(job["token"]))
    return Shown(confirmed, job["product"], _acknowledged(bought))


def _acknowledged(bought: Answer) -> bool:
    return bool(bought.shows("acknowledgementState", ACKNOWLEDGED, UNACKNOWLEDGED) == ACKNOWLEDGED)


def is_past(item: Answer) -> bool:
    """Whether what was paid for is over."""
    return item.moment("expiryTime") <= datetime.now(UTC)


def words(stands: str) -> str:
    """Return a state as people say it."""
    return stands.lower().replace("_", " ")
