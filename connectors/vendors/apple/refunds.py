"""What the server may say of a refund that somebody asks Apple for: how the purchase was used. Apple decides.

Apple asks by a notification (CONSUMPTION_REQUEST), which names the transaction.
"""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from connectors.base import Action, Json, Replay, Values, all_of
from connectors.bodies import without_empty
from connectors.choosing import text_in
from connectors.http import Api
from connectors.vendors.apple.subscriptions import APP_STORE, TRANSACTION

DOCS = "https://developer.apple.com/documentation/appstoreserverapi/send-consumption-information"
DELIVERED = "DELIVERED"
DELIVERIES = [
    (DELIVERED, "Delivered, and works"),
    ("UNDELIVERED_QUALITY_ISSUE", "Not delivered: it does not work as it should"),
    ("UNDELIVERED_WRONG_ITEM", "Not delivered: another item came"),
    ("UNDELIVERED_SERVER_OUTAGE", "Not delivered: our servers were down"),
    ("UNDELIVERED_OTHER", "Not delivered, for another reason"),
]
PREFERENCES = [
    ("", "None said"),
    ("DECLINE", "Do not refund"),
    ("GRANT_FULL", "Refund all of it"),
    ("GRANT_PRORATED", "Refund what was not used"),
]
MILLIUNITS = 1000  # "40% = 40000": https://developer.apple.com/documentation/appstoreserverapi/consumptionpercentage


class SendConsumption(Action):
    """Tell Apple how a purchase was used whose refund somebody asks for."""

    key, label = "send_consumption", "Answer a refund request"
    # UNVERIFIED: the twelve hours, which developers report of Apple's notification.
    description = (
        "Tells Apple how a purchase was used whose refund the person asks for, and what you would prefer. Apple decides. It is of "
        "use for about 12 hours after Apple's notification, from which the trait comes."
    )
    needs = all_of("apple_refund_transaction_id")
    replay = Replay.NATURAL
    # UNVERIFIED: no page speaks of a repeat. What is sent is a statement about one transaction, which gives and takes nothing.
    replay_proof = f"{DOCS}: a PUT that says how a purchase was used, among what Apple's decision rests on"
    check_at = "App Store Connect shows no answers. Run it again: it says the same."
    part = APP_STORE

    class Inputs(forms.Form):
        """What is told."""

        consented = forms.BooleanField(
            label="The person agrees",
            help_text="Tick this only where the prompt says that you tell Apple how the purchase was used, and this answer is the "
            "person's yes to that. Apple takes nothing without it.",
        )
        delivery = forms.ChoiceField(label="Delivery", choices=DELIVERIES)
        sample = forms.BooleanField(
            required=False,
            label="Could be tried before",
            help_text="There was a sample, a trial, or a description of what it does.",
        )
        percent = forms.IntegerField(
            required=False,
            min_value=0,
            max_value=100,
            label="Percent used",
            help_text="Empty for subscriptions that renew: of those Apple reckons it itself, and refuses a number.",
        )
        preference = forms.ChoiceField(
            required=False,
            label="What you would prefer",
            choices=PREFERENCES,
            help_text="“Refund what was not used” wants the percentage, except for subscriptions that renew.",
        )

        def clean(self) -> dict[str, Any]:
            """What was not delivered was not used; and a part is "greater than 0 and less than 100000"."""
            told = super().clean() or self.cleaned_data
            percent = told.get("percent")
            if percent and told.get("delivery", DELIVERED) != DELIVERED:
                raise ValidationError(
                    "What was not delivered cannot have been used: leave the percentage empty, or enter 0."
                )
            if percent in {0, 100} and told.get("preference") == "GRANT_PRORATED":
                raise ValidationError(
                    "Where none or all of it was used, a part is no answer: prefer to refund all of it, or nothing."
                )
            return told

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Say it. Apple answers with nothing ("202 Accepted: The App Store server received the consumption information")."""
        number = text_in(user, "apple_refund_transaction_id", TRANSACTION, "transaction id of Apple's")
        percent = inputs["percent"]
        told = {
            "customerConsented": inputs["consented"],
            "sampleContentProvided": inputs["sample"],
            "deliveryStatus": inputs["delivery"],
            "consumptionPercentage": None if percent is None else percent * MILLIUNITS,
            "refundPreference": inputs["preference"],
        }
        answer = api.put("inApps", "v2", "transactions", "consumption", number, json=without_empty(told))
        answer.with_status(202)
        return f"Apple knows how purchase {number} was used, and decides about its refund"
