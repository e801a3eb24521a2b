"""What the person's own device does: buy, and change to another tier. A server can do neither.

https://developer.amazon.com/docs/in-app-purchasing/tiered-subscriptions-integrate-android.html
"""

import re

from django import forms

from connectors.app_stores import InAppPurchase, no_purchase, purchased, reported
from connectors.base import CatalogueField, Confirmed, Json, Values, if_known
from connectors.choosing import require, text_in
from connectors.failures import Rejected
from connectors.http import Api
from connectors.vendors.amazon.receipts import APPSTORE, CHECK_AT, ID, NO_RECEIPT, receipt, subject, traits_of

SKU = "[A-Za-z0-9_.-]{1,150}"


class Buying(InAppPurchase):
    """What is bought in the app, and what Amazon shows of it afterwards."""

    needs = if_known("amazon_user_id")
    check_at = CHECK_AT
    part = APPSTORE
    by_client = (
        "A Fire app calls what `amazon.method` names in Amazon's Appstore SDK, reports `amazonUserId` and `receiptId`, and calls "
        "notifyFulfillment once the execution is done. A web page cannot buy here."
    )
    store, reports = "amazon", ("amazonUserId", "receiptId")

    def wanted(self, api: Api, user: Json, inputs: Values) -> tuple[str, Json]:
        """The SKU."""
        sku = str(inputs["sku"])
        require(re.fullmatch(SKU, sku), "The SKU is none of Amazon's; choose it again.")
        buyer = text_in(user, "amazon_user_id", ID, "user id of Amazon's") if "amazon_user_id" in user else None
        return sku, {
            "package_name": api.settings["package_name"],
            "amazon": {**self.call(inputs), "sku": sku},
            "amazon_user_id": buyer,
            "after": {"notify_fulfillment": "after_validation"},
        }

    def call(self, inputs: Values) -> Json:
        """Return what of Amazon's SDK is called."""
        return {"method": "purchase"}

    def claimed(self, instruction: Json, detail: Json) -> Json:
        """Ask Amazon about the receipt that the app reports.

        Amazon has no account id of ours in a receipt: a person's Amazon user, once known, is the only one whose receipts count.
        """
        user, number = (reported(detail, name, ID, "Amazon's") for name in self.reports)
        require(
            instruction["amazon_user_id"] in (None, user), "The report is of another Amazon user than this person's."
        )
        return {"user": user, "receipt": number, "sku": instruction["amazon"]["sku"]}

    def follow_up(self, api: Api, job: Json) -> Confirmed:
        """Done once Amazon shows it."""
        sku = job["sku"]
        try:
            shown = receipt(api, job["user"], job["receipt"])
        except Rejected as no:
            raise (no_purchase(no) if no.status in NO_RECEIPT else no) from None
        # "A null cancelDate" is what entitles; a renewal date in the past alone does not end anything.
        require(shown.get("cancelDate") is None, "Amazon shows the purchase as cancelled.")
        now = sku in {shown.get("termSku"), shown["productId"]}
        later = shown.get("deferredSku") == sku
        require(now or later, f"The purchase is of another product than {sku}.")
        # A change at the next renewal keeps the receipt of what it will replace.
        return purchased(
            sku,
            traits_of(shown, job["user"]),
            subject=subject(job["receipt"]),
            receipt=job["receipt"],
            later="" if now else "at the next renewal",
        )


class Bought(forms.Form):
    """What is bought."""

    sku = CatalogueField(
        "products", label="SKU", help_text="What the person is offered. Of a subscription, that of a term."
    )


class Purchase(Buying):
    """Buy a product."""

    key, label = "purchase", "In-app purchase"
    description = "Opens Amazon's purchase of a product or a subscription's term in the app."

    class Inputs(Bought):
        """Nothing else."""


class Change(Buying):
    """Change to another tier of the subscription; Amazon finds the present one by itself."""

    def call(self, inputs: Values) -> Json:
        """Amazon's change of a tier."""
        return {"method": "modifySubscription", "prorationMode": inputs["mode"]}


class Upgrade(Change):
    """Change to a higher tier."""

    key, label = "upgrade", "Upgrade"
    description = "Opens Amazon's change to a higher tier in the app. The subscription needs tiers in Amazon's console."

    class Inputs(Bought):
        """To what, and when."""

        mode = forms.ChoiceField(
            label="When", choices=[("IMMEDIATE", "Now"), ("DEFERRED", "At the next renewal")], initial="IMMEDIATE"
        )


class Downgrade(Change):
    """Change to a lower tier."""

    key, label = "downgrade", "Downgrade"
    description = "Opens Amazon's change to a lower tier in the app. The subscription needs tiers in Amazon's console."

    class Inputs(Bought):
        """To what, and when."""

        mode = forms.ChoiceField(
            label="When", choices=[("DEFERRED", "At the next renewal"), ("IMMEDIATE", "Now")], initial="DEFERRED"
        )
