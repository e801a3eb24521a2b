"""What a server may do with a transaction: look, cancel, refund, give credit.

Roku has no idempotency key: `partnerReferenceId` comes back in notifications and recognises nothing. A refund or a credit that was
asked for twice is given twice, so what we are about to do is stored first, and a lost answer is a person's to judge.
"""

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from connectors.answers import Answer
from connectors.app_stores import in_words
from connectors.base import (
    Action,
    CatalogueField,
    Confirmed,
    DesiredState,
    Json,
    Pending,
    Replay,
    Values,
    all_of,
    if_known,
)
from connectors.choosing import require, text_in
from connectors.http import Api
from connectors.vendors.roku.purchases import (
    DOCS,
    day,
    is_cancelled,
    moment_in,
    purchase,
    shown_as,
    state,
    transaction_of,
)

CHECK_AT = "In Roku's Developer Dashboard, open the transaction report and search for the transaction or the partner reference."
CENT = Decimal("0.01")


def comment() -> forms.CharField:
    """Return the input of the comment that Roku keeps."""
    return forms.CharField(required=False, max_length=200, label="Comment", help_text="Kept by Roku.")


def done(answer: Answer, name: str) -> str:
    """Return the number that Roku gives to what it did."""
    answer.shows("status", 0)
    return answer.text(name)


class Validate(Action):
    """Look at a transaction."""

    key, label = "validate", "Check purchase"
    description = "Reads at Roku how the person's purchase stands, and writes it to the traits."
    needs = all_of("roku_transaction_id")
    replay = Replay.NATURAL
    replay_proof = f"{DOCS}: validate-transaction changes nothing"
    check_at = CHECK_AT

    def perform(self, api: Api, user: Json, inputs: Values) -> Confirmed:
        """Read it."""
        shown = purchase(api, transaction_of(user))
        return shown_as(shown, f"{shown.text('productId')} is {in_words(state(shown))}")


class Cancel(DesiredState):
    """Let a subscription end."""

    key, label = "cancel", "Cancel subscription"
    description = "Cancels the subscription, now or at the end of its period."
    needs = all_of("roku_transaction_id")
    replay_proof = f"{DOCS}: validate-transaction's `cancelled` shows it"
    check_at = CHECK_AT

    class Inputs(forms.Form):
        """When, and whether Roku tells the person."""

        when = forms.ChoiceField(
            choices=[("now", "Now"), ("end_of_period", "At the end of the period")],
            label="When",
            help_text="The date that Roku is told. Whether access ends on it, Roku does not document: try it first.",
        )
        notify = forms.BooleanField(required=False, label="Roku tells the person", help_text="By e-mail.")

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """Read it."""
        return purchase(api, transaction_of(user))

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It does not renew."""
        product, ends = thing.text("productId"), moment_in(thing, "expirationDate")
        return f"{product} is cancelled; what was paid for ends on {day(ends)}" if is_cancelled(thing) else None

    def change(self, api: Api, thing: Answer, inputs: Values) -> Pending:
        """Cancel it. The answer says that it was accepted; what came of it is asked afterwards."""
        now, number = datetime.now(UTC), thing.text("transactionId")
        ends = moment_in(thing, "expirationDate")
        at = ends if ends and inputs["when"] == "end_of_period" else now
        wish = {
            "transactionId": number,
            "cancellationDate": at.strftime("%Y-%m-%dT%H:%M:%S.%f"),
            "dontNotifyUser": not inputs["notify"],
            "partnerReferenceId": api.tag,
        }
        api.post("cancel-subscription", json=wish).shows("status", 0)
        return Pending({"transaction": number}, "Roku accepted it.")

    def follow_up(self, api: Api, job: Json) -> str | Pending:
        """Done once Roku shows it."""
        shown = purchase(api, job["transaction"])
        return self.stands(api, shown, {}) or Pending(job, "Roku does not show it yet.")


class Refund(Action):
    """Give money back."""

    key, label = "refund", "Refund"
    description = "Refunds the transaction, all of it or a part. Tax is added by Roku."
    needs = all_of("roku_transaction_id")
    replay = Replay.NEVER
    replay_proof = f"{DOCS}: partial refunds add up; no key recognises a repeat"
    check_at = CHECK_AT

    class Inputs(forms.Form):
        """How much."""

        kind = forms.ChoiceField(
            choices=[("full", "The whole price"), ("amount", "An amount"), ("percent", "A part of the price")],
            label="Refund",
        )
        amount = forms.DecimalField(
            required=False,
            min_value=CENT,
            max_digits=8,
            decimal_places=2,
            label="Amount",
            help_text="Without tax, in the currency of the purchase; only for “An amount”.",
        )
        percent = forms.IntegerField(
            required=False, min_value=1, max_value=100, label="Percent", help_text="Only for “A part of the price”."
        )
        comment = comment()

        def clean(self) -> dict[str, Any]:
            """The number that the kind asks for, and no other."""
            told = super().clean() or self.cleaned_data
            for name in ("amount", "percent"):
                if (told.get("kind") == name) is not (told.get(name) is not None) and name not in self.errors:
                    raise ValidationError("Enter the amount or the percentage, as the kind of refund asks.")
            return told

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Read the price, and refund of it what was chosen."""
        shown = purchase(api, transaction_of(user))
        price = shown.amount("amount")  # before tax; `total` is with it
        part = price * (inputs["percent"] or 100) / 100 if inputs["amount"] is None else inputs["amount"]
        amount = part.quantize(CENT, ROUND_HALF_UP)
        currency = str(shown.get("currency", "")).upper()
        require(
            0 < amount <= price, f"{amount} cannot be refunded of a price of {price} {currency}.".replace(" .", ".")
        )
        wish = {
            "transactionId": shown.text("transactionId"),
            "amount": float(amount),
            "comments": inputs["comment"],
            "partnerReferenceId": api.tag,
        }
        number = done(api.post("refund-subscription", json=wish), "RefundId")
        return f"{amount} {currency} of {shown.text('productId')} is refunded (refund {number})"


class Credit(Action):
    """Give credit, which Roku Pay uses up with the next bills: its way to give free time."""

    key, label = "credit", "Service credit"
    description = "Gives the person a credit that pays their next bills: the price of a period is a free period."
    needs = all_of("roku_customer_id") & if_known("roku_transaction_id")
    replay = Replay.NEVER
    replay_proof = f"{DOCS}: each request issues a credit; no key recognises a repeat"
    check_at = CHECK_AT

    class Inputs(forms.Form):
        """How much, and for what."""

        amount = forms.DecimalField(
            required=False,
            min_value=CENT,
            max_digits=8,
            decimal_places=2,
            label="Amount",
            help_text="In the person's currency. Empty: the price of a period, which needs roku_transaction_id.",
        )
        product = CatalogueField(
            "products", required=False, label="Only for product", help_text="Empty: for all of the app's."
        )
        comment = comment()

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Issue it."""
        amount = inputs["amount"]
        if amount is None:
            require("roku_transaction_id" in user, "No roku_transaction_id is known, of which the price could be read.")
            amount = purchase(api, transaction_of(user)).amount("amount").quantize(CENT, ROUND_HALF_UP)
            require(amount > 0, "The person's period has no price.")
        wish = {
            "amount": float(amount),
            "channelId": api.settings["channel_id"],
            "rokuCustomerId": text_in(user, "roku_customer_id", "[!-~]{1,128}", "customer id of Roku's"),
            "comments": inputs["comment"],
            "partnerReferenceId": api.tag,
            **({"productId": inputs["product"]} if inputs.get("product") else {}),
        }
        number = done(api.post("issue-service-credit", json=wish), "ReferenceId")
        return f"A credit of {amount} is given (reference {number})"
