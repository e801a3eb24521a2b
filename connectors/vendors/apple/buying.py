"""What the person's own device does: buy, and change to another product of the same group. A server can do neither.

https://developer.apple.com/documentation/storekit. The payload has OpenIAP's types (https://openiap.dev). Offers are signed for one
person at the moment of the answer, and kept with the execution alone: nobody else is told of them.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
from django import forms

from connectors.app_stores import InAppPurchase
from connectors.base import CatalogueField, Confirmed, Json, Values, if_known
from connectors.choosing import require
from connectors.failures import Rejected
from connectors.http import Api
from connectors.vendors.apple import signing
from connectors.vendors.apple.subscriptions import APP_STORE, TRANSACTION, confirm, original_of

PRODUCT = "[A-Za-z0-9._]{1,255}"
OFFERED = re.compile(rf"(?P<type>subs|inapp)/(?P<product>{PRODUCT})")
OFFER = re.compile(rf"(?P<kind>promotional|winback)/(?P<product>{PRODUCT})/(?P<offer>[A-Za-z0-9._-]{{1,255}})")
OFFER_LASTS = timedelta(hours=24)  # "The timestamp keeps the offer active for 24 hours"
IN_PREVIEW = "made when it is handed over"


class Buying(InAppPurchase):
    """What is bought in the app, and what Apple shows of it afterwards."""

    needs = if_known("apple_original_transaction_id")
    check_at = "In App Store Connect, Apple shows no single purchases; ask the person for the order, and look it up by its number."
    part = APP_STORE
    by_client = (
        "An iOS, tvOS or macOS app hands `purchase` to StoreKit 2 (or an OpenIAP library) and reports `signedTransactionInfo`, or "
        "`transactionId`. A web page cannot buy here."
    )
    store, reports = "apple", ("signedTransactionInfo",)

    def wanted(self, api: Api, user: Json, inputs: Values) -> tuple[str, Json]:
        """The product, with the signatures of its offer."""
        found = OFFERED.fullmatch(str(inputs["product"]))
        if found is None:
            raise Rejected("The product is none of Apple's; choose it again.")
        product, is_subscription = found["product"], found["type"] == "subs"
        original = original_of(user) if "apple_original_transaction_id" in user else None
        quantity = inputs.get("quantity") or 1
        require(
            not is_subscription or quantity == 1, "A subscription is bought once; only consumables have a quantity."
        )
        signed, expires = _offer(api, inputs, product, original)
        require(is_subscription or not signed, "Only subscriptions have offers.")
        request = "requestSubscription" if is_subscription else "requestPurchase"
        apple = {"sku": product, "quantity": quantity, "appAccountToken": api.person, **signed}
        return product, {
            "environment": signing.environment(api.settings).value,
            "bundle_id": api.settings["bundle_id"],
            "purchase": {"type": "Subs" if is_subscription else "InApp", request: {"apple": apple}},
            "original_transaction_id": original,
            "expires_at": expires,
        }

    def claimed(self, instruction: Json, detail: Json) -> Json:
        """Ask Apple about the transaction that the app reports. What the device says of it is not believed."""
        bought: Any = instruction["purchase"]
        is_subscription = bought["type"] == "Subs"
        apple = bought["requestSubscription" if is_subscription else "requestPurchase"]["apple"]
        number = detail.get("transactionId")
        if (signed := detail.get("signedTransactionInfo")) is not None:
            try:
                number = jwt.decode(str(signed), options={"verify_signature": False}).get("transactionId")
            except jwt.PyJWTError:
                number = None
        said = isinstance(number, str) and re.fullmatch(TRANSACTION, number)
        require(said, "The report holds no signedTransactionInfo or transactionId of Apple's.")
        return {
            "type": "subs" if is_subscription else "inapp",
            "transaction": number,
            "product": apple["sku"],
            "quantity": apple["quantity"],
            "account": apple["appAccountToken"],
            "original": instruction["original_transaction_id"],
        }

    def follow_up(self, api: Api, job: Json) -> Confirmed:
        """Done once Apple shows it."""
        return confirm(api, job)


def _offer(api: Api, inputs: Values, product: str, original: str | None) -> tuple[Json, str | None]:
    """Return what the payload says of the offer, and until when its signature counts."""
    chosen, introductory = str(inputs.get("offer") or ""), inputs.get("introductory")
    require(not (chosen and introductory), "Choose an offer or a rule for the introductory one, not both.")
    if introductory:
        if original is None:
            raise Rejected(
                "Whether a person may have the introductory offer is signed for a transaction of theirs: none is known."
            )
        allowed = introductory == "allow"
        signed = (
            IN_PREVIEW if api.only_looks else signing.introductory_jws(api.settings, product, original, allowed=allowed)
        )
        return {"compactJWS": signed}, None
    if not chosen:
        return {}, None
    found = OFFER.fullmatch(chosen)
    if found is None or found["product"] != product:
        raise Rejected("The offer is none of this product's; choose it again.")
    name = found["offer"]
    if found["kind"] == "winback":
        return {"winBackOffer": {"offerId": name}}, None
    nonce, now = uuid4(), datetime.now(UTC)
    millis = int(now.timestamp() * 1000)
    jws = older = IN_PREVIEW
    if not api.only_looks:
        jws = signing.promotional_jws(api.settings, product, name, original)
        older = signing.promotional_signature(api.settings, product, name, api.person, nonce, millis)
    # Either form will do; the app takes the one that its StoreKit knows.
    with_offer = {
        "identifier": name,
        "keyIdentifier": api.settings["iap_key_id"],
        "nonce": str(nonce),
        "timestamp": millis,
        "signature": older,
    }
    both = {"promotionalOfferJWS": {"offerId": name, "jws": jws}, "withOffer": with_offer}
    return both, (now + OFFER_LASTS).isoformat(timespec="seconds")


class Offers(forms.Form):
    """With which offer."""

    offer = CatalogueField(
        "offers",
        within="product",
        required=False,
        label="Offer",
        help_text="A promotional offer is for people who have or had a subscription; Apple leaves it to you who gets it.",
    )
    introductory = forms.ChoiceField(
        required=False,
        label="Introductory offer",
        choices=[
            ("", "For those whom Apple finds eligible"),
            ("allow", "This person may have it"),
            ("deny", "This person may not have it"),
        ],
    )


class Purchase(Buying):
    """Buy a subscription or another product."""

    key, label = "purchase", "In-app purchase"
    description = (
        "Opens Apple's purchase of a subscription, with an offer if you wish, or of another product in the app."
    )

    class Inputs(Offers):
        """What is bought."""

        product = CatalogueField("products", label="Product", help_text="What the person is offered.")
        quantity = forms.IntegerField(
            required=False, min_value=1, max_value=10, label="Quantity", help_text="Of a consumable, 1 to 10. Empty: 1."
        )
        field_order = ("product",)


class Change(Buying):
    """Buy another product of the same group, which is the change: Apple tells up from down by the group's levels."""

    class Inputs(Offers):
        """To what."""

        product = CatalogueField("subscriptions", label="Product", help_text="What replaces the present subscription.")
        field_order = ("product",)


class Upgrade(Change):
    """Change to a higher level."""

    key, label = "upgrade", "Upgrade"
    description = "Opens Apple's change to a product of a higher level in the app. It takes effect at once; Apple refunds the rest."


class Downgrade(Change):
    """Change to a lower level."""

    key, label = "downgrade", "Downgrade"
    description = "Opens Apple's change to a product of a lower level in the app. It takes effect at the next renewal."
