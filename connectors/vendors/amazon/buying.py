"""What the person's own device does: buy, and change to another tier. A server can do neither.

https://developer.amazon.com/docs/in-app-purchasing/tiered-subscriptions-integrate-android.html
"""

import re
from datetime import timedelta

from django import forms

from connectors.base import Action, CatalogueField, Confirmed, HandedOver, Json, Pending, Replay, Values, if_known
from connectors.choosing import require, text_in
from connectors.http import Api
from connectors.vendors.amazon.receipts import ID, receipt, subject, traits_of

SKU = "[A-Za-z0-9_.-]{1,150}"


class Buying(Action):
    """What is bought in the app: the instruction, and what Amazon shows of it afterwards."""

    operation = "purchase"
    needs = if_known("amazon_user_id")
    by_client = (
        "A Fire app calls what `amazon.method` names in Amazon's Appstore SDK, reports `amazonUserId` and `receiptId`, and calls "
        "notifyFulfillment once the execution is done. A web page cannot buy here."
    )
    replay = Replay.NATURAL
    replay_proof = (
        "The instruction sends nothing; what is bought, Amazon's own sheet asks the person, and we only look."
    )
    settles_within = timedelta(days=2)
    check_at = "In the Amazon Developer Console, the sales report shows the receipt."

    def perform(self, api: Api, user: Json, inputs: Values) -> HandedOver:
        """Hand the SKU over."""
        sku = str(inputs["sku"])
        require(re.fullmatch(SKU, sku), "The SKU is none of Amazon's; choose it again.")
        buyer = text_in(user, "amazon_user_id", ID, "user id of Amazon's") if "amazon_user_id" in user else None
        instruction = {
            "kind": "purchase",
            "store": "amazon",
            "operation": self.operation,
            "package_name": api.settings["package_name"],
            "amazon": {**self.call(inputs), "sku": sku},
            "amazon_user_id": buyer,
            "after": {"notify_fulfillment": "after_validation"},
            "report": {"fields": ["amazonUserId", "receiptId"]},
        }
        return HandedOver(instruction, f"To be bought in the app: {sku}", wants_report=True)

    def call(self, inputs: Values) -> Json:
        """Return what of Amazon's SDK is called."""
        return {"method": "purchase"}

    def claimed(self, instruction: Json, detail: Json) -> Json:
        """Ask Amazon about the receipt that the app reports.

        Amazon has no account id of ours in a receipt: a person's Amazon user, once known, is the only one whose receipts count.
        """
        user, number, known = detail.get("amazonUserId"), detail.get("receiptId"), instruction["amazon_user_id"]
        for value in (user, number):
            fits = isinstance(value, str) and re.fullmatch(ID, value)
            require(fits, "The report holds no amazonUserId and receiptId of Amazon's.")
        require(known in (None, user), "The report is of another Amazon user than this person's.")
        return {"user": user, "receipt": number, "sku": instruction["amazon"]["sku"]}

    def follow_up(self, api: Api, job: Json) -> Confirmed | Pending:
        """Done once Amazon shows it."""
        shown, sku = receipt(api, job["user"], job["receipt"]), job["sku"]
        # "A null cancelDate" is what entitles; a renewal date in the past alone does not end anything.
        require(shown.get("cancelDate") is None, "Amazon shows the purchase as cancelled.")
        now = sku in {shown.get("termSku"), shown["productId"]}
        later = shown.get("deferredSku") == sku
        require(now or later, f"The purchase is of another product than {sku}.")
        told = f"{sku} is bought." if now else f"{sku} takes effect at the next renewal."
        # A change at the next renewal keeps the receipt of what it will replace.
        counted = job["receipt"] if now else ""
        return Confirmed(told, traits_of(shown, job["user"]), subject(job["receipt"]), counted)


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

    key, label, operation = "upgrade", "Upgrade", "upgrade"
    description = "Opens Amazon's change to a higher tier in the app. The subscription needs tiers in Amazon's console."

    class Inputs(Bought):
        """To what, and when."""

        mode = forms.ChoiceField(
            label="When", choices=[("IMMEDIATE", "Now"), ("DEFERRED", "At the next renewal")], initial="IMMEDIATE"
        )


class Downgrade(Change):
    """Change to a lower tier."""

    key, label, operation = "downgrade", "Downgrade", "downgrade"
    description = "Opens Amazon's change to a lower tier in the app. The subscription needs tiers in Amazon's console."

    class Inputs(Bought):
        """To what, and when."""

        mode = forms.ChoiceField(
            label="When", choices=[("DEFERRED", "At the next renewal"), ("IMMEDIATE", "Now")], initial="DEFERRED"
        )
