"""Recurly, API v2021-02-25: subscription billing.

https://recurly.com/developers/api/v2021-02-25/. The published OpenAPI description (recurly/recurly-client-python, MIT) is what
the requests are checked against. Recurly recognises an `Idempotency-Key` (recurly-client-ruby, pull request 579), and does not
say for how long; so every write carries one, and every action looks first as well.
"""

import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from django import forms
from django.core.validators import RegexValidator
from requests.auth import AuthBase, HTTPBasicAuth

from connectors.answers import Answer, retry_after
from connectors.base import (
    Action,
    Catalogue,
    CatalogueField,
    Category,
    Choice,
    Connector,
    Json,
    ProbeLine,
    Replay,
    SecretField,
    Support,
    Values,
    identity,
    one_of,
)
from connectors.failures import BadCredentials, Failure, Rejected, Temporary, Undocumented
from connectors.http import Api

API_VERSION = "v2021-02-25"
HOSTS = {"us": "https://v3.recurly.com", "eu": "https://v3.eu.recurly.com"}
PER_PAGE = 200  # the most that Recurly gives
MOST_PAGES = 50
CLOCKS_DIFFER = 60.0  # seconds
USAGE_LOOKED_BACK = timedelta(days=30)  # far longer than an execution is open
ACCOUNT = one_of("account_code", "account_number", "email_address")
REFERENCE = f"https://recurly.com/developers/api/{API_VERSION}/"
DASHBOARD = "In Recurly, open the account and look at its subscriptions and invoices."
OVER = ("expired", "failed")
TIMEFRAMES = [
    ("now", "Now"),
    ("bill_date", "At the next billing date"),
    ("term_end", "At the end of the term"),
    ("renewal", "At the renewal"),
]
AT_PERIOD_END, AT_ONCE = ("bill_date", "term_end"), ("none", "partial", "full")
REFUSED_KEY = {"unauthorized", "invalid_api_key", "invalid_permissions"}


# --- reading ----------------------------------------------------------------------------------------------------------


def listed(api: Api, *segments: str, params: Mapping[str, Any]) -> Iterator[Answer]:
    """Read a list to its end. Of `next` (a URL or a path) only the query is taken: no answer chooses where we call.

    Raises:
        Rejected: it does not end.

    """
    query: Mapping[str, Any] = {"limit": PER_PAGE, **params}
    for _ in range(MOST_PAGES):
        page = api.get(*segments, params=query)
        yield from page.rows("data")
        if page["has_more"] is not True:
            return
        query = dict(parse_qsl(urlsplit(str(page["next"])).query))
    raise Rejected(f"Recurly's list of {segments[-1]} is longer than {MOST_PAGES} pages.")


def account_of(api: Api, user: Json) -> str:
    """Return the path segment of a person's account: `code-<code>`, or Recurly's own id.

    Raises:
        Rejected: what is known is no account, or an e-mail address that not exactly one account has.

    """
    value = user.get("account_code", user.get("account_number"))
    if value is None:
        return _account_by_email(api, str(user["email_address"]).strip())
    code = str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if api.settings.get("use_account_code"):
        if re.fullmatch(r"[!-~]([ -~]{0,48}[!-~])?", code):  # "maxLength": 50
            return f"code-{code}"
        raise Rejected("The trait holds no account code, which has at most 50 letters, digits or signs.")
    # A bare "code-x" would be read as a code.
    if re.fullmatch(r"[A-Za-z0-9]{1,50}", code):
        return code
    raise Rejected("The trait holds no account id of Recurly's, which has letters and digits only.")


def _account_by_email(api: Api, email: str) -> str:
    if "@" not in email:  # a blank one would find all accounts that have none
        raise Rejected("The trait email_address holds no e-mail address.")
    rows = listed(api, "accounts", params={"email": email})
    found = [row for row in rows if str(row.get("email", "")).casefold() == email.casefold()]
    if len(found) != 1:
        many = "several accounts have" if found else "no account has"
        raise Rejected(f"At Recurly {many} the person's e-mail address; none is chosen by guessing.")
    return str(found[0]["id"])


def subscriptions(api: Api, account: str) -> list[Answer]:
    """Return all subscriptions of an account: `state=live` would leave out the paused ones, so that nothing is filtered."""
    return list(listed(api, "accounts", account, "subscriptions", params={}))


def one_subscription(api: Api, user: Json, states: tuple[str, ...], *plans: str) -> Answer:
    """Return the subscription that an action is about: the account's only one in these states.

    Args:
        api: the door.
        user: the person's traits.
        states: only these count.
        plans: where one is given: the one on the first of these plans that any is on.

    Raises:
        Rejected: there is none, or several and nothing says which.

    """
    rows = subscriptions(api, account_of(api, user))
    if plans := tuple(plan for plan in plans if plan):
        rows = next((on for plan in plans if (on := [row for row in rows if row["plan"]["code"] == plan])), [])
    candidates = [row for row in rows if row["state"] in states]
    if not candidates:
        others = ", ".join(f"{row['id']} on {row['plan']['code']} is {row['state']}" for row in rows)
        raise Rejected("The account has no matching subscription at Recurly" + (f" ({others})." if others else "."))
    if len(candidates) > 1:
        ids = ", ".join(str(row["id"]) for row in candidates)
        raise Rejected(f"The account has several subscriptions at Recurly ({ids}); none is chosen by guessing.")
    return candidates[0]


def named(subscription: Answer) -> str:
    """Return its id and plan in words."""
    return f"Subscription {subscription['id']} on plan {subscription['plan']['code']}"


def amount_of(value: Any) -> Decimal:
    """Return an amount out of an answer."""
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise Undocumented(f"Recurly answered with {value!r} where an amount is documented.") from None


def moment_of(value: Any) -> datetime:
    """Return a moment out of an answer."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise Undocumented(f"Recurly answered with {value!r} where a time is documented.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def in_trial(subscription: Answer) -> bool:
    """Whether its trial goes on."""
    ends = subscription.get("trial_ends_at")
    return ends is not None and moment_of(ends) > datetime.now(UTC) + timedelta(seconds=CLOCKS_DIFFER)


def expect_state(subscription: Answer, *states: str) -> str:
    """Return the state in the answer to a write; raises Undocumented where it is not what was asked for."""
    if subscription["state"] not in states:
        raise Undocumented(f"Recurly accepted, and shows the subscription as {subscription['state']}.")
    return str(subscription["state"])


# --- actions ----------------------------------------------------------------------------------------------------------


class OnSubscription(Action):
    """What the actions on a running subscription share."""

    needs = ACCOUNT
    replay = Replay.CHECK
    check_at = DASHBOARD

    class Inputs(forms.Form):
        """Which subscription."""

        only_plan = CatalogueField(
            catalogue="plans",
            required=False,
            label="Only on plan",
            help_text="Needed where subscribers have several subscriptions: the one on this plan is meant.",
        )


class Pause(OnSubscription):
    """Stop billing for a number of cycles, from the next renewal on."""

    key, label = "pause", "Pause subscription"
    description = "Pauses the subscription from its next renewal on, for a number of billing cycles."
    replay_proof = f"{REFERENCE}#operation/pause_subscription: state and remaining_pause_cycles show it"

    class Inputs(OnSubscription.Inputs):
        """For how long."""

        cycles = forms.IntegerField(min_value=1, label="Billing cycles", help_text="How many are left out.")

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """It is paused, or will be."""
        found = one_subscription(api, user, ("active", "paused"), inputs.get("only_plan", ""))
        cycles = found.get("remaining_pause_cycles")
        if found["state"] == "paused":
            return f"{named(found)} is paused"
        if cycles is not None and cycles != inputs["cycles"]:
            raise Rejected(f"{named(found)} will be paused already, for another number of cycles ({cycles}).")
        return None if cycles is None else f"{named(found)} pauses at its next renewal (cycles: {cycles})"

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Ask for the pause."""
        found = one_subscription(api, user, ("active",), inputs.get("only_plan", ""))
        wish = {"remaining_pause_cycles": inputs["cycles"]}
        answer = api.put("subscriptions", found["id"], "pause", json=wish)
        if answer["remaining_pause_cycles"] != inputs["cycles"]:
            raise Undocumented(f"Recurly accepted the pause, and shows cycles: {answer['remaining_pause_cycles']}.")
        return f"{named(answer)} pauses at its next renewal (cycles: {answer['remaining_pause_cycles']})"


class Resume(OnSubscription):
    """End a pause, or call one off that has not begun."""

    key, label = "resume", "Resume subscription"
    description = "Ends a pause at once, or calls off one that has not begun. Recurly may bill at once."
    replay_proof = f"{REFERENCE}#operation/resume_subscription: state and remaining_pause_cycles show it"

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """It runs, and no pause is ahead."""
        found = one_subscription(api, user, ("active", "paused"), inputs.get("only_plan", ""))
        runs = found["state"] == "active" and not found.get("remaining_pause_cycles")
        return f"{named(found)} is active" if runs else None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Resume. "The subscription must be in the paused state"; a pause that is only ahead is ended by one of 0 cycles."""
        found = one_subscription(api, user, ("active", "paused"), inputs.get("only_plan", ""))
        if found["state"] == "paused":
            answer = api.put("subscriptions", found["id"], "resume", step="resume")
        else:
            answer = api.put("subscriptions", found["id"], "pause", json={"remaining_pause_cycles": 0}, step="call_off")
        state = expect_state(answer, "active")
        if answer.get("remaining_pause_cycles"):
            raise Undocumented("Recurly accepted, and shows a pause ahead all the same.")
        return f"{named(answer)} is {state}"


class Change(OnSubscription):
    """What a change of plan and one of price share. Recurly keeps one scheduled change, and a new one overwrites it."""

    def found(self, api: Api, user: Json, inputs: Values) -> Answer:
        """Return the subscription to be changed, or the one that was: after a switch it is on the target plan."""
        start, target = inputs.get("only_plan", ""), inputs.get("plan", "")
        return one_subscription(api, user, ("active",), *((start, target) if start else ()))

    def wish(self, inputs: Values) -> Json:
        """Return what is to be, as Recurly writes it."""
        wish = {"plan_code": inputs.get("plan"), "quantity": inputs.get("quantity")}
        price = inputs.get("unit_amount")
        wish["unit_amount"] = None if price is None else float(price)
        return {name: value for name, value in wish.items() if value is not None}

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """It is so, or will be so by the scheduled change."""
        found = self.found(api, user, inputs)
        pending = found.get("pending_change")
        if pending is None:
            return f"{named(found)} is as wished" if self._fits(found, found, inputs) else None
        if inputs["timeframe"] != "now" and self._fits(pending, found, inputs):
            return f"The change of subscription {found['id']} takes effect at {pending['activate_at']}"
        return None

    def _fits(self, state: Answer, subscription: Answer, inputs: Values) -> bool:
        wish = self.wish(inputs)
        plan = wish.pop("plan_code", subscription["plan"]["code"])
        return bool(state["plan"]["code"] == plan) and all(
            amount_of(state[name]) == amount_of(value) for name, value in wish.items()
        )

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Ask for the change; one that is scheduled already is overwritten only where the binding says so."""
        found = self.found(api, user, inputs)
        if found.get("pending_change") is not None and not inputs.get("replace_scheduled"):
            raise Rejected(f"{named(found)} has another change scheduled, which this one would overwrite.")
        wish = {**self.wish(inputs), "timeframe": inputs["timeframe"]}
        answer = api.post("subscriptions", found["id"], "change", json=wish)
        if answer.status == 204:  # "The previous pending change was reverted"
            answer = api.get("subscriptions", found["id"])
            if answer.get("pending_change") is not None:
                raise Undocumented("Recurly says that the scheduled change is gone, and shows one.")
        if not self._fits(answer, found, inputs):
            raise Undocumented(f"Recurly accepted the change, and shows plan {answer['plan']['code']}.")
        when = f", from {answer['activate_at']} on" if answer.get("activated") is False else ""
        return f"Subscription {found['id']} is changed (plan {answer['plan']['code']}{when})"


REPLACE_SCHEDULED = forms.BooleanField(
    required=False,
    label="Replace a scheduled change",
    help_text="Recurly keeps one scheduled change. Unless ticked, a subscription that has one is left alone.",
)


class Switch(Change):
    """Move a subscription to another plan."""

    key, label = "switch", "Switch subscription"
    description = "Moves the subscription to another plan. “Now” may charge or credit at once."
    replay_proof = f"{REFERENCE}#operation/create_subscription_change: plan and pending_change show it"

    class Inputs(Change.Inputs):
        """The target."""

        plan = CatalogueField(catalogue="plans", label="To plan", help_text="The plan that the subscriber gets.")
        timeframe = forms.ChoiceField(choices=TIMEFRAMES, label="When", help_text="When it takes effect.")
        unit_amount = forms.DecimalField(
            required=False,
            label="Price",
            help_text="Leave empty for the plan's own.",
            min_value=0,
            max_value=1_000_000,
            max_digits=9,
            decimal_places=2,
        )
        quantity = forms.IntegerField(required=False, min_value=0, label="Quantity", help_text="Empty: as it is.")
        replace_scheduled = REPLACE_SCHEDULED


class UpdatePrice(Change):
    """Give a subscription a price of its own."""

    key, label = "update_price", "Update subscription price"
    description = "Sets the subscription's price, in its own currency."
    replay_proof = f"{REFERENCE}#operation/create_subscription_change: unit_amount and pending_change show it"

    class Inputs(Change.Inputs):
        """The price."""

        unit_amount = forms.DecimalField(
            label="Price",
            help_text="For one unit and billing period.",
            min_value=0,
            max_value=1_000_000,
            max_digits=9,
            decimal_places=2,
        )
        timeframe = forms.ChoiceField(choices=TIMEFRAMES, label="When", help_text="When it takes effect.")
        replace_scheduled = REPLACE_SCHEDULED


class Reactivate(OnSubscription):
    """Undo a cancellation that has not taken effect yet."""

    key, label = "reactivate", "Reactivate subscription"
    description = "Undoes a pending cancellation, so that the subscription renews again."
    replay_proof = f"{REFERENCE}#operation/reactivate_subscription: state shows it"

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """It is active."""
        found = one_subscription(api, user, ("active", "canceled"), inputs.get("only_plan", ""))
        return f"{named(found)} is active" if found["state"] == "active" else None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Reactivate it."""
        found = one_subscription(api, user, ("canceled",), inputs.get("only_plan", ""))
        answer = api.put("subscriptions", found["id"], "reactivate")
        return f"{named(answer)} is {expect_state(answer, 'active')}"


class ConvertTrial(OnSubscription):
    """End a trial now, and charge."""

    key, label = "convert_trial", "Convert trial"
    description = "Ends the trial and charges the subscriber at once. When the payment fails, the trial goes on."
    replay_proof = f"{REFERENCE}#operation/convert_trial: trial_ends_at shows it"

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """No trial goes on."""
        found = one_subscription(api, user, ("active",), inputs.get("only_plan", ""))
        return None if in_trial(found) else f"{named(found)} is in no trial"

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Convert it."""
        found = one_subscription(api, user, ("active",), inputs.get("only_plan", ""))
        answer = api.put("subscriptions", found["id"], "convert_trial")
        state = expect_state(answer, "active")
        if in_trial(answer):
            raise Undocumented(f"Recurly accepted, and shows a trial until {answer['trial_ends_at']}.")
        return f"{named(answer)} is paid and {state}"


class Cancel(OnSubscription):
    """End a subscription: two calls of Recurly's, since a refund exists only where access ends at once."""

    key, label = "cancel", "Cancel subscription"
    description = "Stops the renewal, or ends the subscription at once, with or without a refund."
    replay_proof = f"{REFERENCE}#operation/cancel_subscription and terminate_subscription: state shows it"

    class Inputs(OnSubscription.Inputs):
        """When, and what is paid back."""

        ending = forms.ChoiceField(
            choices=[
                ("bill_date", "At the next billing date, no refund"),
                ("term_end", "At the end of the term, no refund"),
                ("none", "Now, no refund"),
                ("partial", "Now, refund for the time that is left"),
                ("full", "Now, full refund of the last invoice"),
            ],
            label="End and refund",
            help_text="“Now” ends the access at once; Recurly refunds only then.",
        )

    def _found(self, api: Api, user: Json, inputs: Values) -> Answer | None:
        """Return the running one; None where the account (or plan) has only such that are over."""
        plan = inputs.get("only_plan")
        rows = subscriptions(api, account_of(api, user))
        rows = [row for row in rows if not plan or row["plan"]["code"] == plan]
        running = [row for row in rows if row["state"] not in OVER]
        if len(running) > 1 or not rows:
            what = "several subscriptions" if running else "no matching subscription"
            raise Rejected(f"The account has {what} at Recurly; none is chosen by guessing.")
        return running[0] if running else None

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """It is over; or cancelled, where that is what is wanted: a cancelled one gives access until the period's end."""
        found = self._found(api, user, inputs)
        if found is None:
            return "The subscription is over"
        if inputs["ending"] in AT_PERIOD_END and found["state"] == "canceled":
            return f"{named(found)} is canceled"
        return None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Cancel or terminate. "Only active and future subscriptions can be canceled"; a future one becomes `failed`."""
        found, ending = self._found(api, user, inputs), inputs["ending"]
        if found is None:
            raise Rejected("The subscription is over.")
        if ending in AT_ONCE:
            answer = api.delete("subscriptions", found["id"], params={"refund": ending}, step="terminate")
            return f"{named(answer)} is {expect_state(answer, 'expired')} (refund: {ending})"
        if found["state"] not in {"active", "future"}:
            raise Rejected(f"{named(found)} is {found['state']}: resume it first, or end it now.")
        answer = api.put("subscriptions", found["id"], "cancel", json={"timeframe": ending}, step="cancel")
        return f"{named(answer)} is {expect_state(answer, 'canceled', 'failed')}"


class RecordUsage(OnSubscription):
    """Bill for a use. Each usage carries the execution's tag, by which it is found again."""

    key, label = "record_usage", "Record usage"
    description = "Records usage of an add-on, which the next invoice charges."
    replay_proof = f"{REFERENCE}#operation/list_usage: merchant_tag, “the id in your own system”, shows it"

    class Inputs(OnSubscription.Inputs):
        """What, and how much."""

        add_on = CatalogueField(catalogue="add_ons", label="Add-on", help_text="A usage add-on of the plan.")
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
        for usage in listed(api, *self._path(api, user, inputs), params=params):
            if usage.get("merchant_tag") == api.tag:
                return f"Usage {usage['id']} of {usage['amount']} is recorded"
            if moment_of(usage["recording_timestamp"]) < oldest:
                break
        return None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Record it."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        wish = {
            "merchant_tag": api.tag,
            "amount": float(inputs["amount"]),
            "usage_timestamp": now,
            "recording_timestamp": now,
        }
        usage = api.post(*self._path(api, user, inputs), json=wish)
        if usage["merchant_tag"] != api.tag:
            raise Undocumented(f"Recurly answered with another usage ({usage['id']}).")
        return f"Usage {usage['id']} of {usage['amount']} is recorded"


class ApplyCoupon(OnSubscription):
    """Redeem a coupon on an account, or on its subscription where the coupon is for subscriptions."""

    key, label = "apply_coupon", "Apply coupon code"
    description = "Redeems a coupon; it counts from the next invoice."
    replay_proof = f"{REFERENCE}#operation/list_active_coupon_redemptions: coupon and subscription_id show it"

    class Inputs(OnSubscription.Inputs):
        """Which coupon. UNVERIFIED whether a redemption takes `code-…`, so the id is kept."""

        coupon = CatalogueField(catalogue="coupons", label="Coupon", help_text="A coupon that can be redeemed.")
        currency = forms.RegexField(
            r"^[A-Z]{3}$",
            required=False,
            label="Currency",
            help_text="For a coupon on accounts with a fixed amount: three letters, as USD. Else leave it empty.",
        )

    def _wish(self, api: Api, user: Json, inputs: Values) -> tuple[Answer, Json]:
        coupon = api.get("coupons", inputs["coupon"])
        wish = {"coupon_id": str(coupon["id"])}
        if coupon["redemption_resource"] == "subscription":
            found = one_subscription(api, user, ("active", "future"), inputs.get("only_plan", ""))
            return coupon, {**wish, "currency": str(found["currency"]), "subscription_id": str(found["id"])}
        if coupon["redemption_resource"] != "account":
            raise Undocumented(f"Recurly says that coupons are redeemed on {coupon['redemption_resource']}.")
        return coupon, {**wish, "currency": inputs["currency"]} if inputs.get("currency") else wish

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """It is redeemed there."""
        coupon, wish = self._wish(api, user, inputs)
        for row in listed(api, "accounts", account_of(api, user), "coupon_redemptions", "active", params={}):
            on = wish.get("subscription_id")
            if row["coupon"]["id"] == wish["coupon_id"] and on in {None, row.get("subscription_id")}:
                return f"Coupon {coupon['code']} is redeemed"
        return None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Redeem it."""
        coupon, wish = self._wish(api, user, inputs)
        if coupon["state"] != "redeemable":
            raise Rejected(f"Coupon {coupon['code']} cannot be redeemed: it is {coupon['state']}.")
        answer = api.post("accounts", account_of(api, user), "coupon_redemptions", "active", json=wish)
        if answer["coupon"]["id"] != wish["coupon_id"]:
            raise Undocumented(f"Recurly answered with another coupon ({answer['coupon']['code']}).")
        return f"Coupon {answer['coupon']['code']} is redeemed"


class Create(Action):
    """Start a subscription."""

    key, label = "create", "Create subscription"
    description = "Starts a subscription and charges the payment method that Recurly has on the account."
    needs = ACCOUNT
    replay = Replay.CHECK
    replay_proof = f"{REFERENCE}#operation/list_account_subscriptions: plan and state show it"
    check_at = DASHBOARD

    class Inputs(forms.Form):
        """To what."""

        plan = CatalogueField(catalogue="plans", label="Plan", help_text="The plan that the subscriber gets.")
        currency = forms.RegexField(r"^[A-Z]{3}$", label="Currency", help_text="Three letters, as USD.")
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
        rows = [row for row in subscriptions(api, account_of(api, user)) if row["plan"]["code"] == inputs["plan"]]
        found = next((row for row in rows if row["state"] not in OVER), None)
        if found is not None and found["state"] == "canceled":
            raise Rejected(f"{named(found)} is canceled and still runs: reactivate it.")
        return None if found is None else f"{named(found)} is {found['state']}"

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Start it. A code that Recurly does not know would create an account, so it is read; only `code` changes none."""
        account = api.get("accounts", account_of(api, user))
        wish: Json = {
            "plan_code": inputs["plan"],
            "currency": inputs["currency"],
            "account": {"code": str(account["code"])},
        }
        if inputs.get("coupon_code"):
            wish["coupon_codes"] = [inputs["coupon_code"]]
        if inputs.get("trial_days") is not None:
            ends = datetime.now(UTC) + timedelta(days=inputs["trial_days"])
            wish["trial_ends_at"] = ends.strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = api.post("subscriptions", json=wish)
        if answer["plan"]["code"] != inputs["plan"]:
            raise Undocumented(f"Recurly answered with plan {answer['plan']['code']}.")
        return f"{named(answer)} is {expect_state(answer, 'active', 'future')}"


# --- catalogues -------------------------------------------------------------------------------------------------------


def plans(api: Api) -> Iterator[Choice]:
    """Read the active plans."""
    for row in listed(api, "plans", params={"state": "active"}):
        yield Choice(str(row["code"]), f"{row['name']} ({row['code']})")


def coupons(api: Api) -> Iterator[Choice]:
    """Read the coupons that can be redeemed, by their ids. Of a bulk coupon only its single codes can be."""
    for row in listed(api, "coupons", params={}):
        if row["state"] == "redeemable" and row["coupon_type"] == "single_code":
            yield Choice(str(row["id"]), f"{row['name']} ({row['code']})")


def add_ons(api: Api) -> Iterator[Choice]:
    """Read the usage add-ons; plans share codes, so each code comes once."""
    seen: set[str] = set()
    for row in listed(api, "add_ons", params={"state": "active"}):
        code = str(row["code"])
        if row["add_on_type"] == "usage" and code not in seen:
            seen.add(code)
            yield Choice(f"code-{code}", f"{row['name']} ({code})")  # as it stands in the path of a usage


class Recurly(Connector):
    """Subscription billing."""

    key, label, category = "recurly", "Recurly", Category.BILLING
    description = "Start, change, pause and end subscriptions, redeem coupons and record usage."
    aliases = ("subscriptions", "coupon", "usage", "trial")
    support = Support.DOCUMENTATION
    docs_url = REFERENCE
    actions = (
        ApplyCoupon,
        Pause,
        Resume,
        Switch,
        Create,
        Reactivate,
        UpdatePrice,
        ConvertTrial,
        RecordUsage,
        Cancel,
    )
    catalogues = {
        "plans": Catalogue("Plans", plans),
        "coupons": Catalogue("Coupons", coupons),
        "add_ons": Catalogue("Usage add-ons", add_ons),
    }
    idempotency_header = "Idempotency-Key"
    setup_steps = (
        "In Recurly, open Integrations > API credentials and add a private API key for Engage.",
        "Choose the region in which Recurly keeps your site; a sandbox is a site of its own, with a key of its own.",
        "Say whether your traits hold account codes or Recurly's own account ids.",
        "Paste the key, test the connection, switch it to Active and save.",
    )

    class Settings(forms.Form):
        """Which site."""

        region = identity(
            forms.ChoiceField(
                choices=[("us", "United States"), ("eu", "European Union")],
                label="Region",
                help_text="Where Recurly keeps your site.",
            )
        )
        # 32 hexadecimal digits in practice, which Recurly promises nowhere.
        api_key = SecretField(
            label="Private API key",
            help_text="Of the site that is meant, production or sandbox.",
            usual_length=32,
            validators=[RegexValidator(r"\A[!-~]{16,}\Z", "A key has at least 16 letters or digits, and no spaces.")],
        )
        use_account_code = forms.BooleanField(
            required=False,
            label="Traits hold account codes",
            help_text="Otherwise account_code or account_number is taken for Recurly's own account id.",
        )

    def base_url(self, settings: Values) -> str:
        """The region's host."""
        return HOSTS[settings["region"]]

    def auth(self, settings: Values) -> AuthBase:
        """The key as user name, without a password."""
        return HTTPBasicAuth(settings["api_key"], "")

    def headers(self, settings: Values) -> Mapping[str, str]:
        """The version that is spoken (without it: 406 `invalid_api_version`)."""
        return {"Accept": f"application/vnd.recurly.{API_VERSION}", "Content-Type": "application/json"}

    def probe(self, api: Api) -> list[ProbeLine]:
        """Ask which site the key belongs to."""
        sites = api.get("sites", params={"limit": 1}).rows("data")
        if not sites:
            raise Undocumented("Recurly shows no site to this key.")
        return [
            ProbeLine(True, f"The key belongs to the {sites[0]['mode']} site “{sites[0]['subdomain']}”."),
            ProbeLine(None, "Writing cannot be tested without changing something."),
        ]

    def failure(self, answer: Answer) -> Failure | None:
        """Read `{"error": {type, message, params, transaction_error}}`; the contract leaves the outer member out."""
        inner = answer.get("error")
        error = inner if isinstance(inner, Answer) else answer
        kind, status = error.get("type"), answer.status
        if status == 429 or kind == "rate_limited":
            return Temporary("Recurly asks us to slow down.", after=_until_reset(answer), sent=False)
        if status < 400 or status >= 500 or not isinstance(kind, str):
            return None
        if status in {401, 403} and kind in REFUSED_KEY:
            return BadCredentials(f"Recurly does not accept the key ({kind}).", code=kind)
        words = str(error.get("message", kind))
        if kind == "simultaneous_request":
            return Temporary(f"Recurly is busy with this account: {words}", code=kind, sent=False)
        if kind in {"service_not_available", "tax_service_error", "internal_server_error"}:
            return Temporary(f"Recurly has a problem: {words}", code=kind)
        if isinstance(declined := error.get("transaction_error"), Answer):
            return Rejected(
                f"The payment failed: {declined.get('message', words)}", code=str(declined.get("code", kind))
            )
        return Rejected(f"Recurly refused: {words}", code=kind)

    def replayed(self, answer: Answer) -> bool:
        """Recurly marks an answer that it gives again (recurly-client-go: `Idempotency-Prior`)."""
        return answer.headers.get("Idempotency-Prior") == "true"


def _until_reset(answer: Answer) -> float | None:
    """Seconds to wait: Recurly documents no Retry-After, and says in X-RateLimit-Reset (Unix time) when it goes on."""
    reset = answer.headers.get("X-RateLimit-Reset", "")
    told = retry_after(answer.headers)
    return min(max(float(reset) - time.time(), 1.0), 3600.0) if told is None and reset.isdecimal() else told
