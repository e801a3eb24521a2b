"""What a server may do with a purchase at Amazon: look."""

from datetime import UTC, datetime

from connectors.answers import Answer
from connectors.base import Action, Confirmed, Json, Replay, Values, all_of
from connectors.choosing import text_in
from connectors.http import Api
from connectors.times import day_in_words
from connectors.vendors.amazon.receipts import APPSTORE, CHECK_AT, DOCS, ID, SUBSCRIPTION, moment_in, now_of, subject

ANOTHER_TIER = 4  # of `cancelReason`: https://developer.amazon.com/docs/in-app-purchasing/iap-rvs-for-tiered-subs.html


class Validate(Action):
    """Look at a receipt."""

    key, label = "validate", "Check purchase"
    description = "Reads at Amazon how the person's purchase stands, and writes it to the traits."
    needs = all_of("amazon_user_id", "amazon_receipt_id")
    replay = Replay.NATURAL
    replay_proof = f"{DOCS}: verifyReceiptId changes nothing"
    check_at = CHECK_AT
    part = APPSTORE

    def perform(self, api: Api, user: Json, inputs: Values) -> Confirmed:
        """Read it. One that is no longer valid is an answer, too: it has ended."""
        buyer = text_in(user, "amazon_user_id", ID, "user id of Amazon's")
        number = text_in(user, "amazon_receipt_id", ID, "receipt id of Amazon's")
        shown, traits = now_of(api, buyer, number)
        ended = "The purchase has ended: Amazon shows the receipt as no longer valid"
        return Confirmed(ended if shown is None else in_words(shown), traits, subject(number))


def in_words(shown: Answer) -> str:
    """Return how a purchase stands. Only a cancel date ends it: a renewal may come late."""
    sku = shown.get("termSku") or shown.text("productId")
    if (ended := moment_in(shown, "cancelDate")) is not None:
        how = "was replaced by another tier" if shown.get("cancelReason") == ANOTHER_TIER else "ended"
        return f"{sku} {how} on {day_in_words(ended)}"
    if shown["productType"] != SUBSCRIPTION:
        return f"{sku} is bought"
    due = moment_in(shown, "renewalDate")
    on = f" on {day_in_words(due)}" if due else ""
    if shown.get("deferredSku"):
        return f"{sku} is active, and becomes {shown.text('deferredSku')}{on}"
    if shown.get("autoRenewing") is False:
        return f"{sku} is active, and ends{on}"
    return f"{sku} is active, and {'was to renew' if due and due <= datetime.now(UTC) else 'renews'}{on}"
