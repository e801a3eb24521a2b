"""What Apple shows of a transaction and its subscription, and what that says of a person.

https://developer.apple.com/documentation/appstoreserverapi. Apple knows none of our users: a person is found by a transaction.
"""

from dataclasses import dataclass
from datetime import datetime

from connectors.answers import Answer
from connectors.app_stores import in_words, no_purchase, purchased
from connectors.base import Confirmed, Json, Values
from connectors.choosing import only_one, require, text_in
from connectors.failures import Rejected, Undocumented
from connectors.http import Api
from connectors.times import MILLISECOND, day_in_words, utc
from connectors.vendors.apple import signing

APP_STORE = "App Store"
TRANSACTION = "[0-9]{1,40}"
UNKNOWN = "4040010"  # TransactionIdNotFoundError
INVALID = "4000006"  # InvalidTransactionIdError
STATES = {1: "active", 2: "expired", 3: "billing_retry", 4: "billing_grace_period", 5: "revoked"}
RUNS = {"active", "billing_grace_period"}
IN_SANDBOX = "It was bought in Apple's sandbox (TestFlight, App Review), and this connection is for production."
NOT_THEIRS = "The purchase is not this person's: Apple shows another account token, or none."


def original_of(user: Values) -> str:
    """Return the transaction that the traits hold."""
    name = "apple_original_transaction_id"
    return text_in(user, name, TRANSACTION, "transaction id of Apple's")


@dataclass(frozen=True)
class Subscription:
    """How a subscription stands: its last transaction, and what Apple says of its next renewal."""

    state: str
    last: Answer
    renewal: Answer

    @property
    def original(self) -> str:
        """The id that it keeps through all renewals and changes."""
        return self.last.text("originalTransactionId")

    @property
    def until(self) -> datetime:
        """The end of what was paid for."""
        return self.last.moment("expiresDate", unit=MILLISECOND)

    @property
    def runs(self) -> bool:
        """Whether the person has it."""
        return self.state in RUNS

    def traits(self) -> Json:
        """Return what it says of who has it. What it does not have is None, which takes the trait away."""
        return {
            "apple_original_transaction_id": self.original,
            "apple_product_id": self.last.text("productId"),
            "apple_subscription_status": self.state,
            "apple_expires_date": utc(self.until),
            "apple_auto_renew": self.renewal["autoRenewStatus"] == 1,
            "apple_auto_renew_product_id": self.renewal.get("autoRenewProductId"),
            "apple_offer_identifier": self.last.get("offerIdentifier"),
            "apple_environment": self.last.text("environment"),
        }


def subject(original: str) -> str:
    """Name a subscription, of which the newest word counts."""
    return f"subscription {original}"


def subscription(api: Api, original: str) -> Subscription:
    """Return a subscription by its original transaction.

    Raises:
        Rejected: Apple knows none.

    """
    answer = api.get("inApps", "v1", "subscriptions", original)
    rows = [row for group in answer.rows("data") for row in group.rows("lastTransactions")]
    ours = [row for row in rows if row["originalTransactionId"] == original]
    row = only_one(
        api, ours, whose=f"Transaction {original}", what="subscription", named=lambda row: str(row["status"])
    )
    last = signing.transaction(api.settings, row.text("signedTransactionInfo"))
    last.shows("originalTransactionId", original)
    next_one = signing.renewal(api.settings, row.text("signedRenewalInfo"))
    state = STATES.get(row["status"]) if isinstance(row["status"], int) else None
    if state is None:
        raise Undocumented("Apple does not say how the subscription stands.")
    return Subscription(state, last, next_one)


def transaction(api: Api, number: str) -> Answer:
    """Return a transaction as Apple shows it.

    Raises:
        Rejected: Apple knows none, or knows it in its sandbox alone.

    """
    try:
        answer = api.get("inApps", "v1", "transactions", number)
    except Rejected as no:
        if no.code != UNKNOWN or api.settings["environment"] == "sandbox":
            raise
        api.at("sandbox").get("inApps", "v1", "transactions", number)
        raise Rejected(IN_SANDBOX) from None
    bought = signing.transaction(api.settings, answer.text("signedTransactionInfo"))
    bought.shows("transactionId", number)
    return bought


# --- a purchase that the app has made -------------------------------------------------------------


def confirm(api: Api, job: Json) -> Confirmed:
    """Ask Apple about a purchase that the app reports: done once Apple shows it, for this person and product."""
    try:
        bought = transaction(api, job["transaction"])
    except Rejected as no:
        raise (no_purchase(no) if no.code in {UNKNOWN, INVALID} else no) from None
    require("revocationDate" not in bought.data, "Apple has refunded or revoked the purchase.")
    if job["type"] != "subs":
        _require_owner([bought.get("appAccountToken")], bought, job)
        require(
            bought.text("productId") == job["product"], f"The purchase is of another product than {job['product']}."
        )
        require((bought.get("quantity") or 1) == job["quantity"], "The purchase is of another quantity.")
        return purchased(job["product"], {}, subject="", receipt=bought.text("transactionId"))
    stands = subscription(api, bought.text("originalTransactionId"))
    tokens = [one.get("appAccountToken") for one in (bought, stands.last, stands.renewal)]
    _require_owner(tokens, bought, job)
    now = bought.text("productId") == stands.last.text("productId") == job["product"]
    later = stands.renewal.get("autoRenewProductId") == job["product"]
    require(now or later, f"The purchase is of another product than {job['product']}.")
    require(stands.runs, f"Apple shows the subscription as {in_words(stands.state)}.")
    return purchased(
        job["product"],
        stands.traits(),
        subject=subject(stands.original),
        receipt=bought.text("transactionId"),
        later="" if now else f"on {day_in_words(stands.until)}",
    )


def _require_owner(tokens: list[str | None], bought: Answer, job: Json) -> None:
    """See that it is this person's: it has their account token, or is the subscription that is known to be theirs."""
    known = job["original"] is not None and bought["originalTransactionId"] == job["original"]
    require(known or job["account"] in [str(token).lower() for token in tokens if token], NOT_THEIRS)
