"""Whose subscription is meant, how it stands, and how a change of it is asked for in either object model.

Zuora has two: orders (`POST /v1/orders`), and Subscribe and Amend (`PUT /v1/subscriptions/{number}`), which tenants made since 2021
do not have and old ones have alone. https://docs.zuora.com, "Orders Harmonization".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError

from connectors.answers import Answer
from connectors.base import DesiredState, Json, PatternField, Values, all_of
from connectors.choosing import only_one, only_with, text_in
from connectors.failures import Undocumented
from connectors.http import Api

DOCS = "https://developer.zuora.com/v1-api-reference/api"
SHOWN = f"{DOCS}/operation/GET_SubscriptionsByAccount"
CHECK_AT = "In Zuora, open the account and look at its subscriptions and orders."
KEYS_KEPT = timedelta(hours=24)  # https://developer.zuora.com/docs/guides/idempotent-requests
OVER = ("Cancelled", "Expired")
PERIODS = [(one, f"{one}s") for one in ("Day", "Week", "Month", "Year")]
DATES = ("ContractEffective", "ServiceActivation", "CustomerAcceptance")


def by_orders(api: Api) -> bool:
    """Whether the tenant works with orders."""
    return bool(api.settings["tenant_model"] == "orders")


def today(api: Api) -> str:
    """Return the day that it is in the tenant's time zone."""
    return datetime.now(ZoneInfo(api.settings["time_zone"])).date().isoformat()


def account_of(user: Json) -> str:
    """Return the number of a person's account; "maxLength": 70."""
    return text_in(user, "account_number", r"[!-~]([ -~]{0,68}[!-~])?", "account number of Zuora's")


def subscriptions(api: Api, user: Json) -> list[Answer]:
    """Return all subscriptions of a person's account, in their latest version."""
    return list(api.pages("subscriptions", "accounts", account_of(user)))


def plan_in(subscription: Answer, plan: str) -> list[Answer]:
    """Return its rate plans that were made of this one of the product catalogue, without those that were removed."""
    rows = [row for row in subscription.rows("ratePlans") if row.text("productRatePlanId") == plan]
    return [row for row in rows if row.get("lastChangeType") != "Remove"]


def named(subscription: Answer) -> str:
    """Return its number in words. The number stays, while every change gives a subscription another id."""
    return f"Subscription {subscription.text('subscriptionNumber')}"


def one_subscription(
    api: Api, rows: list[Answer], account: str, statuses: tuple[str, ...], plan: str = "", over: Sequence[Answer] = ()
) -> Answer:
    """Return the only subscription in these states, with this plan where one is given; where there is none, one that is `over`.

    Raises:
        Rejected: there is none, or several and nothing says which.

    """
    meant = [row for row in rows if row["status"] in statuses and (not plan or plan_in(row, plan))]
    return only_one(
        api, meant, whose=f"Account {account}", what="subscription", named=_in_words, others=rows, over=over
    )


def _in_words(row: Answer) -> str:
    return f"{row['subscriptionNumber']} is {row['status']}"


def lies_ahead(api: Api, subscription: Answer, status: str) -> str | None:
    """Return the day from which it has, or will have, a status that its history shows; None where it shows none.

    UNVERIFIED: that the history shows what is scheduled. Where it does, that is a proof; where it does not, we look in vain.
    """
    rows = subscription.objects("statusHistory")
    shown = [row for row in rows if row.get("status") == status and str(row.get("endDate") or "9999") > today(api)]
    return shown[-1].text("startDate") if shown else None


def day_field(label: str, help_text: str) -> PatternField:
    """Return the input of a day, which may be left out; it stays the text that Zuora takes."""
    widget = forms.DateInput(attrs={"type": "date"})
    shape = "Like 2027-03-01."
    return PatternField(
        "20[0-9]{2}-[01][0-9]-[0-3][0-9]", required=False, label=label, help_text=help_text, shape=shape, widget=widget
    )


class OnPlan(forms.Form):
    """Which subscription."""

    only_plan = only_with("plans", "plan")


class Billing(forms.Form):
    """What is charged at once."""

    run_billing = forms.BooleanField(
        required=False, label="Make an invoice", help_text="At once, instead of with the next bill run."
    )
    collect = forms.BooleanField(
        required=False, label="Collect the payment", help_text="Charges the account's payment method at once."
    )

    def clean(self) -> dict[str, Any]:
        """Only an invoice can be paid."""
        told = super().clean() or self.cleaned_data
        if told.get("collect") and not told.get("run_billing"):
            raise ValidationError("A payment is collected for an invoice: tick both.")
        return told


def charges(inputs: Values, collect: str) -> dict[str, bool]:
    """Return what is charged at once, as the object model calls it; nothing where the action does not ask."""
    asked = "run_billing" in inputs
    return {"runBilling": inputs["run_billing"], collect: inputs["collect"]} if asked else {}


def amended(answer: Answer) -> Answer:
    """Return an answer of Subscribe and Amend, whose 200 means success only together with `success: true`."""
    answer.shows("success", True)
    answer.text("subscriptionId")
    return answer


def ordered(api: Api, account: str, action: Json, charges: Mapping[str, bool], number: str = "") -> tuple[str, str]:
    """Make an order with one action.

    Args:
        api: the door.
        account: the number of the account that gets the invoice.
        action: of the order.
        charges: processing options.
        number: of the subscription; without one, the order makes it.

    Returns:
        the order in words, and the number of the subscription that the answer shows.

    """
    subscription = {**({"subscriptionNumber": number} if number else {}), "orderActions": [action]}
    order: Json = {"orderDate": today(api), "existingAccountNumber": account, "subscriptions": [subscription]}
    answer = api.post("orders", json={**order, **({"processingOptions": dict(charges)} if charges else {})})
    answer.shows("success", True)
    # "If the order contains any Pending Activation or Pending Acceptance subscription, the order status will be Pending".
    status = answer.shows("status", "Completed", *(() if number else ("Pending",)))
    # To API version 222.0 a list of numbers, and from 223.0 on one of objects.
    has_rows = answer.get("subscriptions") is not None
    rows = answer.rows("subscriptions") if has_rows else []
    numbers = [row.text("subscriptionNumber") for row in rows] if has_rows else answer.texts("subscriptionNumbers")
    if len(numbers) != 1 or number not in ("", numbers[0]):
        raise Undocumented("Zuora made the order, and shows another subscription in it.")
    return f"order {answer.text('orderNumber')} is {status.lower()}", numbers[0]


def dated(api: Api, kind: str, day: str = "") -> Json:
    """Return the beginning of an order's action, with the dates of its taking effect; without a day, today."""
    dates = [{"name": name, "triggerDate": day or today(api)} for name in DATES]
    return {"type": kind, "triggerDates": dates}


@dataclass(frozen=True)
class Wish:
    """A change as both object models write it.

    Args:
        done: the sentence of success.
        order: the order's action.
        amendment: the body of Subscribe and Amend.
        at: what follows the subscription's number in the latter's path.
        day: which member of its answer says when it takes effect.

    """

    done: str
    order: Json
    amendment: Json
    at: tuple[str, ...] = ()
    day: str = ""


class OnSubscription(DesiredState):
    """What the actions on a subscription share.

    A lost answer is looked for before anything is repeated. A repeated order is recognised by its key as well, for as long as
    Zuora keeps that. A PUT takes no key: Zuora calls it idempotent by nature, which one that adds a plan is not.
    """

    needs = all_of("account_number")
    key_kept = KEYS_KEPT
    check_at = CHECK_AT
    statuses: ClassVar[tuple[str, ...]] = ("Active",)

    class Inputs(OnPlan, Billing):
        """Which subscription, and what is charged at once."""

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """The account's only one, or the only one with the plan."""
        rows, plan = subscriptions(api, user), inputs.get("only_plan", "")
        return one_subscription(api, rows, account_of(user), self.statuses, plan)

    def wish(self, api: Api, thing: Answer, inputs: Values) -> Wish:
        """Return what is asked for."""
        raise NotImplementedError

    def credit(self, inputs: Values) -> dict[str, bool]:
        """Return which credit of the account's pays an invoice; none, unless the action asks."""
        return {}

    def change(self, api: Api, thing: Answer, inputs: Values) -> str:
        """Ask for it by an order, or by an amendment."""
        wish, number, credit = self.wish(api, thing, inputs), thing.text("subscriptionNumber"), self.credit(inputs)
        if by_orders(api):
            # "Note that this actually specifies the invoice owner account of the subscriptions": existingAccountNumber.
            account = thing.get("invoiceOwnerAccountNumber") or thing.text("accountNumber")
            order, _ = ordered(api, account, wish.order, {**charges(inputs, "collectPayment"), **credit}, number)
            return f"{wish.done} ({order})"
        body = {**wish.amendment, **charges(inputs, "collect"), **credit}
        answer = amended(api.put("subscriptions", number, *wish.at, json=body))
        return f"{wish.done}, from {answer.text(wish.day)} on" if wish.day else wish.done
