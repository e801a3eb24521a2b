"""What Google Play shows of a purchase, and what that says of a person.

https://developers.google.com/android-publisher/api-ref/rest/v3/purchases.subscriptionsv2
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from connectors.answers import Answer
from connectors.app_stores import in_words, no_purchase, purchased
from connectors.base import Confirmed, Json, Pending, Values
from connectors.choosing import require, text_in
from connectors.failures import Rejected
from connectors.http import Api, Custom, Segment

PLAY = "Google Play"
"""The part of the connector that is not Firebase."""
PURCHASE = r"[A-Za-z0-9._~/+=-]{1,1500}"  # Google does not say what a purchase token is made of; these need no guess
ORDER = r"[A-Za-z0-9._-]{1,100}"
NAME = "SUBSCRIPTION_STATE_"
UNPAID = frozenset({"PENDING", "PENDING_PURCHASE_CANCELED"})
GONE = 410
"""Google forgets a purchase 60 days after it is over, and one that was replaced or used up."""
NO_PURCHASE = frozenset({400, 404, GONE})
"""What Google answers to a look at a purchase token that is none, or is one no more."""
NOT_THEIRS = "The purchase is not this person's: Google shows another account id, or none."
NOT_INSTEAD = (
    "The purchase does not replace the person's present one: Google shows another purchase before it, or none."
)
CONSUMED = "CONSUMPTION_STATE_CONSUMED"
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


def line(bought: Answer) -> Answer:
    """Return the only line of what the person has; one that is to replace it later has no order yet.

    Raises:
        Rejected: there are several (add-ons), and nothing says which.

    """
    rows = bought.rows("lineItems")
    theirs = [row for row in rows if row.get("latestSuccessfulOrderId")] or rows
    require(len(theirs) == 1, "The purchase holds several products; none is chosen by guessing.")
    return theirs[0]


def require_running(bought: Answer, item: Answer) -> None:
    """Go on only where the person has what they paid for.

    Raises:
        Rejected: they do not, in words.

    """
    stands = state(bought)
    runs = stands in {"ACTIVE", "IN_GRACE_PERIOD"} or (stands == "CANCELED" and not is_past(item))
    require(runs, f"Google shows the subscription as {in_words(stands)}.")


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
    the purchase": https://developer.android.com/google/play/billing/integrate#process. What is used up is consumed as well, and
    only after that: Google may then show it no more (410), so what it showed before is kept with the job.
    """
    if "order" in job:
        return _use_up(api, job)
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
    if job["consumable"]:
        order = shown.confirmed.traits["google_order_id"]
        return Pending({**job, "order": order}, f"{shown.confirmed.message} It is being used up.")
    return shown.confirmed


def _reported(api: Api, kind: str, job: Json) -> Answer:
    """Read the purchase that the app reports."""
    try:
        return api.get(*app(api, "purchases", kind, "tokens", job["token"]))
    except Rejected as no:
        raise (no_purchase(no) if no.status in NO_PURCHASE else no) from None


def _subscription(api: Api, job: Json) -> Shown | Pending:
    bought = _reported(api, "subscriptionsv2", job)
    _require_owner(bought, job)
    if state(bought) == "PENDING":
        return Pending(job, "The payment is pending at Google.")
    rows = bought.rows("lineItems")
    now = [row for row in rows if _is_now(row, job)]
    later = [row for row in rows if (row.get("deferredItemReplacement") or {}).get("productId") == job["product"]]
    require(now or later, f"The purchase is of another product or plan than {job['product']}.")
    item = (now or later)[0]
    require_running(bought, item)
    confirmed = purchased(
        job["product"],
        traits_of(bought, item, job["token"]),
        subject=subject(job["token"]),
        receipt=job["token"],
        later="" if now else f"on {item.day('expiryTime')}",
    )
    return Shown(confirmed, item.text("productId"), _acknowledged(bought))


def _require_owner(bought: Answer, job: Json) -> None:
    """See that a subscription is this person's: it replaces the one that is known to be, or has their account id."""
    if job["replaces"]:
        require(job["replaces"] in {job["token"], bought.get("linkedPurchaseToken")}, NOT_INSTEAD)
        return
    owner = bought.get("externalAccountIdentifiers") or {}
    require(owner.get("obfuscatedExternalAccountId") == job["account"], NOT_THEIRS)


def _is_now(row: Answer, job: Json) -> bool:
    plan = (row.get("offerDetails") or {}).get("basePlanId")
    return row.text("productId") == job["product"] and plan == job["plan"] and bool(row.get("latestSuccessfulOrderId"))


def _product(api: Api, job: Json) -> Shown | Pending:
    bought = _reported(api, "productsv2", job)
    require(bought.get("obfuscatedExternalAccountId") == job["account"], NOT_THEIRS)
    stands = bought.part("purchaseStateContext")["purchaseState"]
    if stands == "PENDING":
        return Pending(job, "The payment is pending at Google.")
    require(stands == "PURCHASED", f"Google shows the purchase as {in_words(str(stands))}.")
    products = [row.text("productId") for row in bought.rows("productLineItem")]
    require(job["product"] in products, f"The purchase is of another product than {job['product']}.")
    return Shown(_bought_once(job, bought.get("orderId")), job["product"], _acknowledged(bought))


def _bought_once(job: Json, order: str | None) -> Confirmed:
    return purchased(job["product"], {"google_order_id": order}, subject=subject(job["token"]), receipt=job["token"])


def _use_up(api: Api, job: Json) -> Confirmed | Pending:
    """Consume what was shown as bought and acknowledged, unless that is done."""
    if not _is_used_up(api, job):
        purchase = ("purchases", "products", job["product"], "tokens", Custom(job["token"], "consume"))
        api.post(*app(api, *purchase), step="consume")
        if not _is_used_up(api, job):
            return Pending(job, "Google does not show yet that it is used up.")
    return _bought_once(job, job["order"])


def _is_used_up(api: Api, job: Json) -> bool:
    try:
        bought = api.get(*app(api, "purchases", "productsv2", "tokens", job["token"]))
    except Rejected as no:
        if no.status != GONE:
            raise
        return True
    stands = bought.part("purchaseStateContext")["purchaseState"]
    require(stands == "PURCHASED", f"Google shows the purchase as {in_words(str(stands))}.")
    rows = [row for row in bought.rows("productLineItem") if row.text("productId") == job["product"]]
    return bool(rows) and all(row.part("productOfferDetails").get("consumptionState") == CONSUMED for row in rows)


def _acknowledged(bought: Answer) -> bool:
    return bool(bought.shows("acknowledgementState", ACKNOWLEDGED, UNACKNOWLEDGED) == ACKNOWLEDGED)


def is_past(item: Answer) -> bool:
    """Whether what was paid for is over."""
    return item.moment("expiryTime") <= datetime.now(UTC)
