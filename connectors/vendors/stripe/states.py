"""Trials, discounts, pauses, endings and beginnings of a subscription."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from connectors.answers import Answer
from connectors.base import Action, CatalogueField, Json, Pending, Replay, Values
from connectors.choosing import require
from connectors.failures import Rejected
from connectors.http import Api
from connectors.vendors.stripe.reading import (
    CHECK_AT,
    DOCS,
    OVER,
    PERSON,
    OnPrice,
    OnSubscription,
    choose,
    customers_of,
    named,
    prices_of,
    subscriptions_of,
)

KEYS_KEPT = timedelta(
    hours=24
)  # "You can remove keys ... after they're at least 24 hours old" (api/idempotent_requests)


class ExtendTrial(OnSubscription):
    """A longer trial. The end is computed once: a repeat sends the stored one, and the mark says that it happened."""

    key, label = "extend_trial", "Extend trial"
    description = "Lengthens a trial that runs by a number of days. Nothing is charged before its end."
    replay_proof = f"{DOCS}/subscriptions/update: metadata, set in the same request, shows it"
    key_kept = KEYS_KEPT
    states = ("trialing",)

    class Inputs(OnPrice):
        """By how much."""

        days = forms.IntegerField(min_value=1, max_value=730, label="Days", help_text="Added to the trial's end.")

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It was this execution that did it."""
        is_so = self.is_marked(api, thing) and thing["status"] == "trialing"
        return f"{named(thing)} is in trial until {thing.day('trial_end')}" if is_so else None

    def wish(self, api: Api, thing: Answer, inputs: Values) -> Json:
        """The new end."""
        ends = int((thing.moment("trial_end") + timedelta(days=inputs["days"])).timestamp())
        return {"trial_end": ends, "proration_behavior": "none", "metadata": self.mark(api)}


class EndTrial(OnSubscription):
    """The trial ends now, and the first period is charged."""

    key, label = "end_trial", "End trial now"
    description = "Ends the trial and charges the subscriber at once. When the payment fails, the trial goes on."
    replay_proof = f"{DOCS}/subscriptions/object: status shows it"
    states = ("trialing", "active")

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It is active, and not in trial."""
        return f"{named(thing)} is active" if thing["status"] == "active" else None

    def wish(self, api: Api, thing: Answer, inputs: Values) -> Json:
        """`error_if_incomplete`: a payment that fails, or needs the person, is a 402 and changes nothing."""
        return {"trial_end": "now", "proration_behavior": "none", "payment_behavior": "error_if_incomplete"}


class ApplyCoupon(OnSubscription):
    """A discount from the next invoice on."""

    key, label = "apply_coupon", "Apply coupon"
    description = "Puts a coupon or a promotion code on the subscription; it counts from the next invoice."
    replay_proof = f"{DOCS}/subscriptions/object: discount shows it, and metadata set in the same request"
    key_kept = KEYS_KEPT

    class Inputs(OnPrice):
        """Which discount."""

        coupon = CatalogueField("coupons", required=False, label="Coupon", help_text="Or a promotion code.")
        promotion_code = CatalogueField(
            "promotion_codes", required=False, label="Promotion code", help_text="Or a coupon."
        )
        replace = forms.BooleanField(
            required=False,
            label="Replace another discount",
            help_text="A subscription has one. Unless ticked, one that has another is left alone.",
        )

        def clean(self) -> dict[str, Any]:
            """One of the two."""
            told = super().clean() or self.cleaned_data
            if bool(told.get("coupon")) is bool(told.get("promotion_code")):
                raise ValidationError("Choose a coupon or a promotion code, one of the two.")
            return told

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It is on it; or this execution put it there, and it is used up."""
        discount = thing.get("discount")
        if discount is None:
            return f"{named(thing)} had the discount, which is used up" if self.is_marked(api, thing) else None
        coupon, code = discount.part("coupon").text("id"), discount.get("promotion_code")
        is_ours = (coupon == inputs["coupon"]) if inputs.get("coupon") else (code == inputs["promotion_code"])
        return f"{named(thing)} has the discount of {coupon}" if is_ours else None

    def change(self, api: Api, thing: Answer, inputs: Values) -> Answer | str | Pending:
        """Put it on the subscription, and see it there. Further discounts beside one are a later API version's."""
        has_another = bool(thing.get("discount") or thing.get("discounts"))
        require(not has_another or inputs.get("replace"), f"{named(thing)} has another discount, which would go.")
        wish = {name: inputs.get(name) or None for name in ("coupon", "promotion_code")}
        changed = api.post("subscriptions", thing.text("id"), form={**wish, "metadata": self.mark(api)})
        changed.part("discount")
        return changed


class CancelAtPeriodEnd(OnSubscription):
    """No renewal."""

    key, label = "cancel_at_period_end", "Cancel at the end of the period"
    description = "Stops the renewal. The subscriber keeps access until the period is over."
    replay_proof = f"{DOCS}/subscriptions/object: cancel_at_period_end shows it"

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It will not renew."""
        is_so = thing["cancel_at_period_end"] is True
        return f"{named(thing)} ends on {thing.day('current_period_end')}" if is_so else None

    def wish(self, api: Api, thing: Answer, inputs: Values) -> Json:
        """Set it."""
        return {"cancel_at_period_end": True}


class Keep(OnSubscription):
    """Undo a cancellation that has not taken effect yet."""

    key, label = "keep_subscription", "Keep subscription"
    description = "Undoes a pending cancellation, so that the subscription renews again."
    replay_proof = f"{DOCS}/subscriptions/object: cancel_at_period_end and cancel_at show it"

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """No end is ahead."""
        is_so = thing["cancel_at_period_end"] is False and thing["cancel_at"] is None
        return f"{named(thing)} renews on {thing.day('current_period_end')}" if is_so else None

    def wish(self, api: Api, thing: Answer, inputs: Values) -> Json:
        """Undo what was asked for at the period's end; another day was chosen by somebody, for a reason."""
        is_pending = thing["cancel_at_period_end"] is True
        require(is_pending, f"{named(thing)} ends on a day of its own, which was set in Stripe.")
        return {"cancel_at_period_end": False}


class CancelNow(OnSubscription):
    """The end, at once. A key is "ignored" for DELETE, so the cancellation's comment is what it is found by."""

    key, label = "cancel_now", "Cancel now"
    description = "Ends the subscription and the access at once. Nothing is paid back by itself."
    replay_proof = f"{DOCS}/subscriptions/cancel: status and cancellation_details show it"

    class Inputs(OnPrice):
        """What becomes of the money."""

        prorate = forms.BooleanField(
            required=False, label="Credit the time that is left", help_text="As a credit on the customer's balance."
        )
        invoice_now = forms.BooleanField(
            required=False, label="Invoice now", help_text="What is not yet invoiced: usage, and credits."
        )

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """The one that this execution ended, else the one that runs; where none does, the one that ended last.

        So a subscription that began since is not ended by a repeat.
        """
        rows, price = subscriptions_of(api, user), inputs.get("only_price", "")
        meant = [row for row in rows if not price or price in prices_of(row)]
        ended = [row for row in meant if row["status"] == "canceled"]
        ours = [row for row in ended if _comment(row) == api.tag]
        if ours or (ended and all(row["status"] in OVER for row in meant)):
            return max(ours or ended, key=lambda row: row.moment("canceled_at"))
        states = {str(row["status"]) for row in meant} - set(OVER)
        return choose(api, rows, states, price)

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It is over."""
        return f"{named(thing)} is canceled" if thing["status"] == "canceled" else None

    def change(self, api: Api, thing: Answer, inputs: Values) -> Answer:
        """End it."""
        details = {"cancellation_details": {"comment": api.tag}}
        wish = {**details, "prorate": inputs["prorate"], "invoice_now": inputs["invoice_now"]}
        return api.delete("subscriptions", thing.text("id"), form=wish)


def _comment(subscription: Answer) -> str:
    return str(subscription.inner("cancellation_details").get("comment", ""))


class Pause(OnSubscription):
    """No money is collected; the subscription goes on."""

    key, label = "pause_collection", "Pause collection"
    description = (
        "Collects no payments for a while. The subscription stays active: what access that gives, your app decides."
    )
    replay_proof = f"{DOCS}/subscriptions/object: pause_collection shows it"

    class Inputs(OnPrice):
        """What becomes of invoices, and until when."""

        behavior = forms.ChoiceField(
            choices=[
                ("void", "Give the service for nothing"),
                ("keep_as_draft", "Keep the invoices, and collect later"),
                ("mark_uncollectible", "Write the invoices off"),
            ],
            label="Invoices of that time",
            help_text="What Stripe does with them.",
        )
        days = forms.IntegerField(
            required=False, min_value=1, max_value=1825, label="Days", help_text="Empty: until somebody resumes it."
        )

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It is paused in that way."""
        pause = thing.get("pause_collection")
        if pause is None:
            return None
        require(
            pause["behavior"] == inputs["behavior"], f"{named(thing)} is paused in another way: {pause['behavior']}."
        )
        return f"{named(thing)} is paused" + (f" until {pause.day('resumes_at')}" if pause.get("resumes_at") else "")

    def wish(self, api: Api, thing: Answer, inputs: Values) -> Json:
        """Pause it."""
        days = inputs.get("days")
        ends = int((datetime.now(UTC) + timedelta(days=days)).timestamp()) if days else None
        return {"pause_collection": {"behavior": inputs["behavior"], "resumes_at": ends}}


class Resume(OnSubscription):
    """Money is collected again."""

    key, label = "resume_collection", "Resume collection"
    description = "Collects payments again, from the next invoice on."
    replay_proof = f"{DOCS}/subscriptions/object: pause_collection shows it"

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It is not paused."""
        return f"{named(thing)} is not paused" if thing["pause_collection"] is None else None

    def wish(self, api: Api, thing: Answer, inputs: Values) -> Json:
        """An empty value takes it away."""
        return {"pause_collection": ""}


class Create(Action):
    """A new subscription."""

    key, label = "create_subscription", "Create subscription"
    description = (
        "Starts a subscription and charges the customer's payment method. When that fails, nothing is started."
    )
    needs = PERSON
    replay = Replay.CHECK
    replay_proof = f"{DOCS}/subscriptions/list: price and status show it"
    key_kept = KEYS_KEPT
    check_at = CHECK_AT

    class Inputs(forms.Form):
        """To what."""

        price = CatalogueField("prices", label="Price", help_text="The price that the subscriber gets.")
        trial_days = forms.IntegerField(
            required=False, min_value=1, max_value=730, label="Days of trial", help_text="Empty for none."
        )

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """One with that price runs."""
        rows = [row for row in subscriptions_of(api, user) if inputs["price"] in prices_of(row)]
        found = next((row for row in rows if row["status"] not in OVER), None)
        return None if found is None else f"{named(found)} on price {inputs['price']} is {found['status']}"

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Start it. `error_if_incomplete`: without it a payment that fails leaves one that lapses after 23 hours."""
        customers = customers_of(api, user)
        if len(customers) > 1:
            raise Rejected(f"Several customers at Stripe have the person's e-mail address ({', '.join(customers)}).")
        wish = {
            "customer": customers[0],
            "items": [{"price": inputs["price"]}],
            "payment_behavior": "error_if_incomplete",
        }
        answer = api.post("subscriptions", form={**wish, "trial_period_days": inputs.get("trial_days")})
        status = answer.shows("status", "active", "trialing")
        answer.part("items").rows("data")[0].part("price").shows("id", inputs["price"])
        return f"{named(answer)} on price {inputs['price']} is {status}"
