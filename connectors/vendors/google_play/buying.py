"""What the person's own device does: buy, and change to another plan. A server can neither choose an offer nor change a plan.

https://developer.android.com/google/play/billing/subscriptions. The payload has OpenIAP's types (https://openiap.dev).
"""

import re
from datetime import timedelta
from typing import Any

from django import forms

from connectors.app_stores import InAppPurchase, reported
from connectors.base import NOTHING, CatalogueField, Confirmed, Json, PatternField, Pending, Values, if_known
from connectors.choosing import require
from connectors.failures import Rejected
from connectors.http import Api
from connectors.vendors.google_play.purchases import (
    PLAY,
    PURCHASE,
    confirm,
    line,
    require_running,
    subscription,
    token_of,
)

# SubscriptionUpdateParams.ReplacementMode of Play Billing 6 and later. The older ProrationMode numbered them otherwise, so
# the instruction names the mode as well.
MODES = {
    "WITH_TIME_PRORATION": 1,
    "CHARGE_PRORATED_PRICE": 2,
    "WITHOUT_PRORATION": 3,
    "CHARGE_FULL_PRICE": 5,
    "DEFERRED": 6,
}
PRODUCT, PLAN = r"[a-z0-9][a-z0-9_.]{0,39}", r"[a-z0-9][a-z0-9-]{0,62}"
IDENTIFIERS = {
    "obfuscatedAccountId": "obfuscatedExternalAccountId",
    "obfuscatedProfileId": "obfuscatedExternalProfileId",
}
OFFER = re.compile(rf"(?P<type>subs)/(?P<product>{PRODUCT})/(?P<plan>{PLAN})(/(?P<offer>{PLAN}))?")
ONCE = re.compile(rf"(?P<type>inapp)/(?P<product>{PRODUCT})")


class Buying(InAppPurchase):
    """What is bought in the app, and what Google shows of it afterwards."""

    settles_within = timedelta(days=7)  # a payment in cash is pending for days
    check_at = "In the Play Console, open Order management and search for the order."
    part = PLAY
    by_client = (
        "An Android app hands `purchase` to Google Play Billing (or an OpenIAP library), having looked up the offer's token "
        "among those that Google shows to this person, and reports `purchaseToken`. A web page cannot buy here."
    )
    store, reports = "google", ("purchaseToken", "productId")

    def wanted(self, api: Api, user: Json, inputs: Values) -> tuple[str, Json]:
        """The offer."""
        offer = OFFER.fullmatch(str(inputs["offer"])) or ONCE.fullmatch(str(inputs["offer"]))
        if offer is None:
            raise Rejected("The offer is none of Google Play's; choose it again.")
        told = {"plan": None, "offer": None, **offer.groupdict()}
        is_subscription, consumable = told["type"] == "subs", bool(inputs.get("consumable"))
        require(not (is_subscription and consumable), "A subscription is not used up; untick “Can be bought again”.")
        google = {
            "skus": [told["product"]],
            "isOfferPersonalized": inputs["personalized"],
            **self.account(api, user, inputs),
        }
        request = "requestSubscription" if is_subscription else "requestPurchase"
        mode = inputs.get("mode")
        return str(told["product"]), {
            "package_name": api.settings["package_name"],
            "offer": {
                "product_id": told["product"],
                "base_plan_id": told["plan"],
                "offer_id": told["offer"],
                "offer_tag": inputs["offer_tag"] or None,
                "consumable": consumable,
            },
            "purchase": {"type": "Subs" if is_subscription else "InApp", request: {"google": google}},
            "replacement": {"mode": mode, "billing_client_int": MODES[mode]} if mode else None,
        }

    def account(self, api: Api, user: Json, inputs: Values) -> Json:
        """Return what the payload says of the person, and of the subscription that is replaced.

        Google wants one id of a person for ever: a change of plan, and a new purchase of what was cancelled and still runs, are
        refused under another one ("Account identifiers don't match the previous subscription").
        """
        return {"obfuscatedAccountId": api.person}

    def claimed(self, instruction: Json, detail: Json) -> Json:
        """Ask Google about the purchase token that the app reports."""
        token, wanted = reported(detail, "purchaseToken", PURCHASE, "Google's"), instruction["offer"]["product_id"]
        require(detail.get("productId") in (None, wanted), f"The report is of another product than {wanted}.")
        bought: Any = instruction["purchase"]
        is_subscription = bought["type"] == "Subs"
        google = bought["requestSubscription" if is_subscription else "requestPurchase"]["google"]
        return {
            "type": "subs" if is_subscription else "inapp",
            "token": token,
            "product": wanted,
            "plan": instruction["offer"]["base_plan_id"],
            "account": google.get("obfuscatedAccountId"),
            "replaces": google.get("purchaseToken"),
            "consumable": instruction["offer"]["consumable"],
        }

    def follow_up(self, api: Api, job: Json) -> Confirmed | Pending:
        """Done once Google shows it."""
        return confirm(api, job)


class OfferInputs(forms.Form):
    """What every purchase says."""

    offer_tag = PatternField(
        PLAN,
        required=False,
        label="Offer tag",
        shape="Small letters, digits and hyphens.",
        help_text="Of several offers that the person may have, the app takes one with this tag.",
    )
    personalized = forms.BooleanField(
        required=False,
        label="Personalised price",
        help_text="If the price was made for this person automatically; in the EU Google must then tell them.",
    )


class Purchase(Buying):
    """Buy a subscription or a one-time product."""

    key, label = "purchase", "In-app purchase"
    description = "Opens Google Play's purchase of a base plan, an offer or a one-time product in the app."
    needs = NOTHING

    class Inputs(OfferInputs):
        """What is bought."""

        offer = CatalogueField("products", label="Offer", help_text="What the person is offered.")
        consumable = forms.BooleanField(
            required=False,
            label="Can be bought again",
            help_text="A one-time product that is used up: once it is bought, Google is told so, and nothing is left of it there. "
            "Leave it out where the app does that itself, after it has handed out the goods.",
        )
        field_order = ("offer",)


class PlanChange(Buying):
    """Change to another plan, which is a purchase that replaces the one before."""

    needs = if_known("google_purchase_token", "google_product_id")

    def account(self, api: Api, user: Json, inputs: Values) -> Json:
        """Repeat the account of the old purchase, whoever made it, and name that one; where it is not known, the app finds it."""
        if "google_purchase_token" not in user:
            return {**super().account(api, user, inputs), **_replacing(user.get("google_product_id"), inputs)}
        token = token_of(user)
        old = subscription(api, token)
        item, owner = line(old), old.get("externalAccountIdentifiers") or {}
        require_running(old, item)
        known = {ours: owner.get(theirs) for ours, theirs in IDENTIFIERS.items() if owner.get(theirs)}
        return {**known, "purchaseToken": token, **_replacing(item.text("productId"), inputs)}


def _replacing(product: Any, inputs: Values) -> Json:
    if product is None:
        return {}
    require(re.fullmatch(PRODUCT, str(product)), "The trait google_product_id holds no product of Google's.")
    params = {"oldProductId": str(product), "replacementMode": inputs["mode"]}
    return {"subscriptionProductReplacementParams": params}


class Upgrade(PlanChange):
    """Change to a dearer plan."""

    key, label = "upgrade", "Upgrade"
    description = "Opens Google Play's change to a dearer plan in the app."

    class Inputs(OfferInputs):
        """To what, and what is charged."""

        offer = CatalogueField("plans", label="Offer", help_text="The plan that replaces the present one.")
        mode = forms.ChoiceField(
            label="When, and what is charged",
            choices=[
                ("CHARGE_PRORATED_PRICE", "Now; the difference is charged, the billing date stays"),
                ("WITH_TIME_PRORATION", "Now; what is left over becomes time on the new plan"),
                ("CHARGE_FULL_PRICE", "Now; the full price is charged, what is left over becomes time"),
                ("WITHOUT_PRORATION", "Now; the new price is charged at the next renewal"),
                ("DEFERRED", "At the next renewal"),
            ],
        )
        field_order = ("offer", "mode")


class Downgrade(PlanChange):
    """Change to a cheaper plan."""

    key, label = "downgrade", "Downgrade"
    description = "Opens Google Play's change to a cheaper plan in the app."

    class Inputs(OfferInputs):
        """To what, and when."""

        offer = CatalogueField("plans", label="Offer", help_text="The plan that replaces the present one.")
        # "CHARGE_PRORATED_PRICE ... available only for an upgrade": .../billing/subscriptions#replacement-modes
        mode = forms.ChoiceField(
            label="When, and what is charged",
            choices=[
                ("DEFERRED", "At the next renewal"),
                ("WITH_TIME_PRORATION", "Now; what is left over becomes time on the new plan"),
                ("WITHOUT_PRORATION", "Now; the new price is charged at the next renewal"),
                ("CHARGE_FULL_PRICE", "Now; the full price is charged, what is left over becomes time"),
            ],
        )
        field_order = ("offer", "mode")
