"""What the server does with a subscription or an order of Google Play.

Google answers these with an empty object, which shows nothing; so what came of one is asked afterwards.
"""

from datetime import timedelta

from django import forms

from connectors.answers import Answer
from connectors.app_stores import in_words
from connectors.base import Action, DesiredState, Json, Pending, Replay, Values, all_of
from connectors.choosing import require, text_in
from connectors.failures import Undocumented
from connectors.http import Api, Custom
from connectors.vendors.google_play.purchases import (
    ORDER,
    PLAY,
    UNPAID,
    app,
    is_past,
    line,
    state,
    subscription,
    token_of,
)

DOCS = "https://developers.google.com/android-publisher/api-ref/rest/v3"
CHECK_AT = "In the Play Console, open Order management and search for the order or the purchase token."
REFUNDED = frozenset({"REFUNDED", "PARTIALLY_REFUNDED", "PENDING_REFUND"})


class Managed(DesiredState):
    """An action whose effect is looked up afterwards."""

    replay = Replay.CHECK
    check_at = CHECK_AT
    part = PLAY

    def thing(self, api: Api, name: str) -> Answer:
        """Return the subscription or order of this name."""
        raise NotImplementedError

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """Return the sentence that says that it is as wished."""
        raise NotImplementedError

    def follow_up(self, api: Api, job: Json) -> str | Pending:
        """Look again."""
        return self.stands(api, self.thing(api, job["name"]), job["inputs"]) or Pending(
            job, "Google does not show it yet."
        )


def accepted(answer: Answer, name: str, inputs: Values) -> Pending:
    """Return what is asked about after a write; Undocumented where the answer is another than the documented one."""
    if answer.data not in ({}, None):
        raise Undocumented("Google answered with something else than the documented empty object.")
    return Pending({"name": name, "inputs": dict(inputs)}, "Google accepted it.")


class OnSubscription(Managed):
    """What is done with the subscription that the purchase token names."""

    needs = all_of("google_purchase_token")

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """Read it."""
        return self.thing(api, token_of(user))

    def thing(self, api: Api, name: str) -> Answer:
        """Read it by its token, which the answer does not hold."""
        found = subscription(api, name)
        return Answer(
            {**found.data, "purchaseToken": name} if isinstance(found.data, dict) else found.data, where="subscription"
        )


class Cancel(OnSubscription):
    """Let a subscription end."""

    key, label = "cancel", "Cancel subscription"
    description = "Ends the subscription at the end of what was paid for."
    replay_proof = f"{DOCS}/purchases.subscriptionsv2/cancel: autoRenewEnabled shows it"

    class Inputs(forms.Form):
        """Who may undo it."""

        kind = forms.ChoiceField(
            label="Kind",
            choices=[
                ("USER_REQUESTED_STOP_RENEWALS", "As if the person had cancelled: they can undo it in Google Play"),
                ("DEVELOPER_REQUESTED_STOP_PAYMENTS", "By you: they cannot undo it"),
            ],
        )

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It does not renew."""
        item = line(thing)
        if state(thing) == "EXPIRED":
            return f"{item.text('productId')} is over"
        renews = (item.get("autoRenewingPlan") or {}).get("autoRenewEnabled", False)
        is_off = state(thing) == "CANCELED" and not renews
        return f"{item.text('productId')} ends on {item.day('expiryTime')}" if is_off else None

    def change(self, api: Api, thing: Answer, inputs: Values) -> Pending:
        """Cancel it."""
        require("autoRenewingPlan" in line(thing).data, "The subscription is prepaid: it ends by itself.")
        token = thing.text("purchaseToken")
        body = {"cancellationContext": {"cancellationType": inputs["kind"]}}
        answer = api.post(*app(api, "purchases", "subscriptionsv2", "tokens", Custom(token, "cancel")), json=body)
        return accepted(answer, token, inputs)


class Revoke(OnSubscription):
    """End a subscription at once, and refund it."""

    key, label = "revoke", "Refund and end at once"
    description = "Ends the subscription now and refunds its last payment."
    replay_proof = f"{DOCS}/purchases.subscriptionsv2/revoke and /orders/get: both show it"

    class Inputs(forms.Form):
        """How much."""

        refund = forms.ChoiceField(
            label="Refund",
            choices=[("fullRefund", "All of the last payment"), ("proratedRefund", "For the time that is left")],
        )

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It is over, and its last order is refunded."""
        if state(thing) != "EXPIRED":
            return None
        number = line(thing).text("latestSuccessfulOrderId")
        stands = api.get(*app(api, "orders", number)).text("state")
        is_back = stands in REFUNDED
        return f"{line(thing).text('productId')} is over, and order {number} is {in_words(stands)}" if is_back else None

    def change(self, api: Api, thing: Answer, inputs: Values) -> Pending:
        """Revoke it."""
        unpaid = state(thing) in UNPAID
        require(not unpaid, f"There is nothing to refund: the purchase is {in_words(state(thing))}.")
        require(state(thing) != "EXPIRED", "The subscription is over, and its order is not refunded.")
        token = thing.text("purchaseToken")
        body: Json = {"revocationContext": {inputs["refund"]: {}}}
        answer = api.post(*app(api, "purchases", "subscriptionsv2", "tokens", Custom(token, "revoke")), json=body)
        return accepted(answer, token, inputs)


class RefundOrder(Managed):
    """Refund an order."""

    key, label = "refund_order", "Refund order"
    description = "Refunds the person's last order, and ends what it bought if you wish."
    needs = all_of("google_order_id")
    replay_proof = f"{DOCS}/orders/get: an order shows that it is refunded"

    class Inputs(forms.Form):
        """What becomes of what was bought."""

        revoke = forms.BooleanField(required=False, label="End what was bought", help_text="At once.")

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """Read the order."""
        return self.thing(api, text_in(user, "google_order_id", ORDER, "order of Google's"))

    def thing(self, api: Api, name: str) -> Answer:
        """Read it by its number."""
        return api.get(*app(api, "orders", name))

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It is refunded, or about to be."""
        stands = thing.text("state")
        return f"Order {thing['orderId']} is {in_words(stands)}" if stands in {"REFUNDED", "PENDING_REFUND"} else None

    def change(self, api: Api, thing: Answer, inputs: Values) -> Pending:
        """Refund it."""
        number, stands = thing.text("orderId"), thing.text("state")
        require(stands in {"PROCESSED", "PARTIALLY_REFUNDED"}, f"Order {number} is {in_words(stands)}.")
        answer = api.post(
            *app(api, "orders", Custom(number, "refund")), params={"revoke": "true" if inputs["revoke"] else "false"}
        )
        return accepted(answer, number, inputs)


class Defer(Action):
    """Give days for free."""

    key, label = "defer", "Give free days"
    description = "Moves the next renewal of a running subscription into the future; until then nothing is charged."
    needs = all_of("google_purchase_token")
    # The etag of what was read goes along, and a repeat with the old one should be refused; how, Google does not document,
    # so a lost answer is left to a person.
    replay = Replay.NEVER
    replay_proof = f"{DOCS}/purchases.subscriptionsv2/defer: adds a duration to the expiry time"
    check_at = "In the Play Console, open Order management and look at the subscription's next renewal."
    part = PLAY

    class Inputs(forms.Form):
        """How long."""

        days = forms.IntegerField(label="Days", min_value=1, max_value=365, help_text="1 to 365.")

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Read it, defer it, and read in the answer by how much."""
        token, days = token_of(user), timedelta(days=inputs["days"])
        bought = subscription(api, token)
        item = line(bought)
        renews = (item.get("autoRenewingPlan") or {}).get("autoRenewEnabled") is True
        runs = state(bought) == "ACTIVE" and renews and not is_past(item)
        require(runs, f"Only what runs and renews can be deferred; this is {in_words(state(bought))}.")
        product, before = item.text("productId"), item.moment("expiryTime")
        wish = {"deferDuration": f"{int(days.total_seconds())}s", "etag": bought.text("etag"), "validateOnly": False}
        answer = api.post(
            *app(api, "purchases", "subscriptionsv2", "tokens", Custom(token, "defer")), json={"deferralContext": wish}
        )
        rows = [row for row in answer.rows("itemExpiryTimeDetails") if row.text("productId") == product]
        if len(rows) != 1 or rows[0].moment("expiryTime") < before + days - timedelta(minutes=1):
            raise Undocumented("Google accepted the request, and its answer does not show the later renewal.")
        return f"{product} renews on {rows[0].day('expiryTime')}"
