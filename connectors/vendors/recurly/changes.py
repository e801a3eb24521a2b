"""Other plans and prices, and new subscriptions."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django import forms

from connectors.answers import Answer
from connectors.base import Action, CatalogueField, Json, PatternField, Replay, Values
from connectors.bodies import without_empty
from connectors.choosing import require
from connectors.failures import Undocumented
from connectors.http import Api
from connectors.times import utc
from connectors.vendors.recurly.reading import (
    ACCOUNT,
    CHECK_AT,
    DOCS,
    OVER,
    OnPlan,
    OnSubscription,
    account_of,
    named,
    one_subscription,
    plan_of,
    subscriptions,
)

TIMEFRAMES = [
    ("now", "Now"),
    ("bill_date", "At the next billing date"),
    ("term_end", "At the end of the term"),
    ("renewal", "At the renewal"),
]


def price(help_text: str, *, required: bool) -> forms.DecimalField:
    """Return the input of a price, within Recurly's bounds."""
    return forms.DecimalField(
        label="Price",
        help_text=help_text,
        required=required,
        min_value=0,
        max_value=1_000_000,
        max_digits=9,
        decimal_places=2,
    )


class ChangeInputs(OnPlan):
    """When, and what becomes of a change that is scheduled already."""

    timeframe = forms.ChoiceField(choices=TIMEFRAMES, label="When", help_text="When it takes effect.")
    replace_scheduled = forms.BooleanField(
        required=False,
        label="Replace a scheduled change",
        help_text="Recurly keeps one scheduled change. Unless ticked, a subscription that has one is left alone.",
    )


class Change(OnSubscription):
    """What a change of plan and one of price share. Recurly keeps one scheduled change, and a new one overwrites it."""

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """The subscription to be changed, or the one that was: after a switch it is on the target plan."""
        start, target = inputs.get("only_plan", ""), inputs.get("plan", "")
        return one_subscription(api, user, self.states, *((start, target) if start else ()))

    def wish(self, inputs: Values) -> Json:
        """Return what is to be, as Recurly writes it."""
        price = inputs.get("unit_amount")
        amount = None if price is None else float(price)
        return without_empty(
            {"plan_code": inputs.get("plan"), "quantity": inputs.get("quantity"), "unit_amount": amount}
        )

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It is so, or will be so by the scheduled change."""
        pending = thing.get("pending_change")
        if pending is None:
            return f"{named(thing)} is as wished" if self._fits(thing, thing, inputs) else None
        if inputs["timeframe"] != "now" and self._fits(pending, thing, inputs):
            return f"The change of subscription {thing['id']} takes effect at {pending['activate_at']}"
        return None

    def _fits(self, state: Answer, subscription: Answer, inputs: Values) -> bool:
        wish = self.wish(inputs)
        plan = wish.pop("plan_code", plan_of(subscription))
        return plan_of(state) == plan and all(state.amount(name) == Decimal(str(value)) for name, value in wish.items())

    def change(self, api: Api, thing: Answer, inputs: Values) -> str:
        """Ask for the change; one that is scheduled already is overwritten only where the binding says so."""
        is_free = thing.get("pending_change") is None or inputs.get("replace_scheduled")
        require(is_free, f"{named(thing)} has another change scheduled, which this one would overwrite.")
        wish = {**self.wish(inputs), "timeframe": inputs["timeframe"]}
        answer = api.post("subscriptions", thing["id"], "change", json=wish)
        if answer.status == 204:  # "The previous pending change was reverted"
            answer = api.get("subscriptions", thing["id"])
            if answer.get("pending_change") is not None:
                raise Undocumented("Recurly says that the scheduled change is gone, and shows one.")
        if not self._fits(answer, thing, inputs):
            raise Undocumented(f"Recurly accepted the change, and shows plan {plan_of(answer)}.")
        when = f", from {answer['activate_at']} on" if answer.get("activated") is False else ""
        return f"Subscription {thing['id']} is changed (plan {plan_of(answer)}{when})"


class Switch(Change):
    """Move a subscription to another plan."""

    key, label = "switch", "Switch subscription"
    description = "Moves the subscription to another plan. “Now” may charge or credit at once."
    replay_proof = f"{DOCS}/#operation/create_subscription_change: plan and pending_change show it"

    class Inputs(ChangeInputs):
        """The target."""

        plan = CatalogueField("plans", label="To plan", help_text="The plan that the subscriber gets.")
        unit_amount = price("Leave empty for the plan's own.", required=False)
        quantity = forms.IntegerField(required=False, min_value=0, label="Quantity", help_text="Empty: as it is.")
        field_order = ("only_plan", "plan", "timeframe", "unit_amount", "quantity", "replace_scheduled")


class UpdatePrice(Change):
    """Give a subscription a price of its own."""

    key, label = "update_price", "Update subscription price"
    description = "Sets the subscription's price, in its own currency."
    replay_proof = f"{DOCS}/#operation/create_subscription_change: unit_amount and pending_change show it"

    class Inputs(ChangeInputs):
        """The price."""

        unit_amount = price("For one unit and billing period.", required=True)
        field_order = ("only_plan", "unit_amount", "timeframe", "replace_scheduled")


class Create(Action):
    """Start a subscription."""

    key, label = "create", "Create subscription"
    description = "Starts a subscription and charges the payment method that Recurly has on the account."
    needs = ACCOUNT
    replay = Replay.CHECK
    replay_proof = f"{DOCS}/#operation/list_account_subscriptions: plan and state show it"
    check_at = CHECK_AT

    class Inputs(forms.Form):
        """To what."""

        plan = CatalogueField("plans", label="Plan", help_text="The plan that the subscriber gets.")
        currency = PatternField(r"[A-Z]{3}", label="Currency", shape="Three letters, as USD.")
        coupon_code = forms.CharField(
            required=False, max_length=50, label="Coupon code", help_text="Leave empty for none."
        )
        trial_days = forms.IntegerField(
            required=False,
            min_value=0,
            max_value=3650,
            label="Days of trial",
            help_text="Instead of the plan's own; 0 for none. Leave empty for the plan's.",
        )

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """One of that plan runs."""
        rows = [row for row in subscriptions(api, account_of(api, user)) if plan_of(row) == inputs["plan"]]
        found = next((row for row in rows if row["state"] not in OVER), None)
        if found is None:
            return None
        require(found["state"] != "canceled", f"{named(found)} is canceled and still runs: reactivate it.")
        return f"{named(found)} is {found['state']}"

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Start it. A code that Recurly does not know would create an account, so it is read; only `code` changes none."""
        account = api.get("accounts", account_of(api, user))
        days, code = inputs.get("trial_days"), inputs.get("coupon_code")
        wish = {
            "plan_code": inputs["plan"],
            "currency": inputs["currency"],
            "account": {"code": str(account["code"])},
            "coupon_codes": [code] if code else None,
            "trial_ends_at": utc(datetime.now(UTC) + timedelta(days=days)) if days is not None else None,
        }
        answer = api.post("subscriptions", json=without_empty(wish))
        answer.part("plan").shows("code", inputs["plan"])
        return f"{named(answer)} is {answer.shows('state', 'active', 'future')}"
