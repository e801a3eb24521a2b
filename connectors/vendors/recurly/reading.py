"""Whose subscription is meant, and how it stands."""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

from django import forms

from connectors.answers import Answer
from connectors.base import DesiredState, Json, Values, one_of
from connectors.choosing import email_in, id_at_address, on_first, only_one, only_with, text_in
from connectors.http import Api

API_VERSION = "v2021-02-25"
DOCS = f"https://recurly.com/developers/api/{API_VERSION}"
CHECK_AT = "In Recurly, open the account and look at its subscriptions and invoices."
CLOCKS_DIFFER = timedelta(seconds=60)
ACCOUNT = one_of("account_code", "account_number", "email_address")
OVER = ("expired", "failed")


def account_of(api: Api, user: Json) -> str:
    """Return the path segment of a person's account: `code-<code>`, or Recurly's own id.

    Raises:
        Rejected: what is known is no account, or an e-mail address that not exactly one account has.

    """
    name = next((name for name in ("account_code", "account_number") if name in user), "")
    if not name:
        address = email_in(user)
        return id_at_address(api, api.pages("accounts", params={"email": address}), address, "account")
    if api.settings.get("use_account_code"):
        # "maxLength": 50
        code = text_in(
            user, name, r"[!-~]([ -~]{0,48}[!-~])?", "account code, which has at most 50 letters, digits or signs"
        )
        return f"code-{code}"
    # A bare "code-x" would be read as a code.
    return text_in(user, name, r"[A-Za-z0-9]{1,50}", "account id of Recurly's, which has letters and digits only")


def subscriptions(api: Api, account: str) -> list[Answer]:
    """Return all subscriptions of an account: `state=live` would leave out the paused ones, so that nothing is filtered."""
    return list(api.pages("accounts", account, "subscriptions"))


def plan_of(subscription: Answer) -> str:
    """Return its plan's code."""
    return subscription.part("plan").text("code")


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
    meant = on_first(rows, plans, lambda row: [plan_of(row)])
    candidates = [row for row in meant if row["state"] in states]
    return only_one(api, candidates, whose="The account", what="subscription", named=in_words, others=rows)


def in_words(row: Answer) -> str:
    """Return a subscription so that it is told from others."""
    return f"{row['id']} on {plan_of(row)} is {row['state']}"


def named(subscription: Answer) -> str:
    """Return its id and plan in words."""
    return f"Subscription {subscription['id']} on plan {plan_of(subscription)}"


def in_trial(subscription: Answer) -> bool:
    """Whether its trial goes on."""
    has_one = subscription.get("trial_ends_at") is not None
    return has_one and subscription.moment("trial_ends_at") > datetime.now(UTC) + CLOCKS_DIFFER


class OnPlan(forms.Form):
    """Which subscription."""

    only_plan = only_with("plans", "plan")


class OnSubscription(DesiredState):
    """What the actions on a running subscription share."""

    needs = ACCOUNT
    check_at = CHECK_AT
    states: ClassVar[tuple[str, ...]] = ("active",)

    class Inputs(OnPlan):
        """Which subscription."""

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """The account's only one, or the only one on the plan."""
        return one_subscription(api, user, self.states, inputs.get("only_plan", ""))
