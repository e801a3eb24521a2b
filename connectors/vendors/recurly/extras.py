"""What is charged and discounted beside a plan: usage and coupons."""

from datetime import UTC, datetime, timedelta

from django import forms

from connectors.answers import Answer
from connectors.base import Action, CatalogueField, Json, PatternField, Replay, Values
from connectors.choosing import require
from connectors.http import Api
from connectors.times import utc
from connectors.vendors.recurly.reading import ACCOUNT, CHECK_AT, DOCS, OnPlan, account_of, one_subscription

USAGE_LOOKED_BACK = timedelta(days=30)  # far longer than an execution is open


class RecordUsage(Action):
    """Bill for a use. Each usage carries the execution's tag, by which it is found again."""

    key, label = "record_usage", "Record usage"
    description = "Records usage of an add-on, which the next invoice charges."
    needs = ACCOUNT
    replay = Replay.CHECK
    replay_proof = f"{DOCS}/#operation/list_usage: merchant_tag, “the id in your own system”, shows it"
    check_at = CHECK_AT

    class Inputs(OnPlan):
        """What, and how much."""

        add_on = CatalogueField("add_ons", label="Add-on", help_text="A usage add-on of the plan.")
        amount = forms.DecimalField(
            max_digits=18,
            decimal_places=9,
            label="Amount",
            help_text="Units; cents where the add-on is billed as a percentage. Without Recurly's decimal quantities, whole.",
        )

    def _path(self, api: Api, user: Json, inputs: Values) -> tuple[str, ...]:
        found = one_subscription(api, user, ("active", "canceled"), inputs.get("only_plan", ""))
        return "subscriptions", str(found["id"]), "add_ons", inputs["add_on"], "usage"

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """The tag is among the usages, newest first. Unasked, Recurly shows the unbilled ones only."""
        params = {"billing_status": "all", "sort": "recorded_timestamp", "order": "desc"}
        oldest = datetime.now(UTC) - USAGE_LOOKED_BACK
        for usage in api.pages(*self._path(api, user, inputs), params=params):
            if usage.get("merchant_tag") == api.tag:
                return f"Usage {usage['id']} of {usage['amount']} is recorded"
            if usage.moment("recording_timestamp") < oldest:
                break
        return None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Record it."""
        now = utc(datetime.now(UTC))
        wish = {
            "merchant_tag": api.tag,
            "amount": float(inputs["amount"]),
            "usage_timestamp": now,
            "recording_timestamp": now,
        }
        usage = api.post(*self._path(api, user, inputs), json=wish)
        usage.shows("merchant_tag", api.tag)
        return f"Usage {usage['id']} of {usage['amount']} is recorded"


class ApplyCoupon(Action):
    """Redeem a coupon on an account, or on its subscription where the coupon is for subscriptions."""

    key, label = "apply_coupon", "Apply coupon code"
    description = "Redeems a coupon; it counts from the next invoice."
    needs = ACCOUNT
    replay = Replay.CHECK
    replay_proof = f"{DOCS}/#operation/list_active_coupon_redemptions: coupon and subscription_id show it"
    check_at = CHECK_AT

    class Inputs(OnPlan):
        """Which coupon. UNVERIFIED whether a redemption takes `code-…`, so the id is kept."""

        coupon = CatalogueField("coupons", label="Coupon", help_text="A coupon that can be redeemed.")
        currency = PatternField(
            "[A-Z]{3}",
            required=False,
            label="Currency",
            shape="Three letters, as USD.",
            help_text="For a coupon on accounts with a fixed amount; else leave it empty.",
        )

    def _wish(self, api: Api, user: Json, inputs: Values) -> tuple[Answer, Json]:
        coupon = api.get("coupons", inputs["coupon"])
        wish = {"coupon_id": str(coupon["id"])}
        if coupon["redemption_resource"] == "subscription":
            found = one_subscription(api, user, ("active", "future"), inputs.get("only_plan", ""))
            return coupon, {**wish, "currency": str(found["currency"]), "subscription_id": str(found["id"])}
        coupon.shows("redemption_resource", "account")
        return coupon, {**wish, "currency": inputs["currency"]} if inputs.get("currency") else wish

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """It is redeemed there."""
        coupon, wish = self._wish(api, user, inputs)
        # All at once: this list knows no `limit`.
        for row in api.get("accounts", account_of(api, user), "coupon_redemptions", "active").rows("data"):
            on = wish.get("subscription_id")
            if row["coupon"]["id"] == wish["coupon_id"] and on in {None, row.get("subscription_id")}:
                return f"Coupon {coupon['code']} is redeemed"
        return None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Redeem it."""
        coupon, wish = self._wish(api, user, inputs)
        state = coupon["state"]
        require(state == "redeemable", f"Coupon {coupon['code']} cannot be redeemed: it is {state}.")
        answer = api.post("accounts", account_of(api, user), "coupon_redemptions", "active", json=wish)
        answer.part("coupon").shows("id", wish["coupon_id"])
        return f"Coupon {answer['coupon']['code']} is redeemed"
