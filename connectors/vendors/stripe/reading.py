"""Whose subscription is meant, and how it stands."""

from collections.abc import Iterable
from typing import ClassVar

from django import forms

from connectors.answers import Answer
from connectors.base import CatalogueField, DesiredState, Json, Pending, Values, one_of
from connectors.choosing import email_in, on_first, only_one, require, text_in
from connectors.http import Api

DOCS = "https://docs.stripe.com/api"
CHECK_AT = "In Stripe's dashboard, open the customer and look at the subscription, its invoices and its events."
PERSON = one_of("stripe_id", "email_address")
CUSTOMERS_LOOKED_AT = 5  # of those that share an address; each costs a request of the attempt's time
OVER = ("canceled", "incomplete_expired")
RUNNING = ("active", "trialing", "past_due", "unpaid", "paused")


def customers_of(api: Api, user: Json) -> list[str]:
    """Return the ids of the customers that a person is: the known one, or all with the address.

    The filter `email` is exact and "case-sensitive" (api/customers/list); the search is only eventually consistent.

    Raises:
        Rejected: there is none, or too many to look at.

    """
    if user.get("stripe_id"):
        return [text_in(user, "stripe_id", r"cus_[A-Za-z0-9]+", "customer id of Stripe's, which begins with cus_")]
    email = email_in(user)
    found = [row.text("id") for row in api.pages("customers", params={"email": email}) if row.get("email") == email]
    require(found, "No customer at Stripe has the person's e-mail address.")
    require(len(found) <= CUSTOMERS_LOOKED_AT, f"{len(found)} customers at Stripe have the person's e-mail address.")
    return found


def subscriptions_of(api: Api, user: Json) -> list[Answer]:
    """Return all subscriptions of a person, those that are over too."""
    lists = (api.pages("subscriptions", params={"customer": one, "status": "all"}) for one in customers_of(api, user))
    return [row for rows in lists for row in rows]


def choose(api: Api, rows: list[Answer], states: Iterable[str], *prices: str) -> Answer:
    """Return the only subscription in one of these states; with prices, the one that has the first of them that any has.

    Raises:
        Rejected: there is none, or several and nothing says which.

    """
    candidates = on_first([row for row in rows if row["status"] in states], prices, prices_of)
    return only_one(api, candidates, whose="The person", what="subscription", named=_in_words, others=rows)


def prices_of(subscription: Answer) -> list[str]:
    """Return the prices of its items."""
    return [row.part("price").text("id") for row in subscription.part("items").rows("data")]


def item_of(subscription: Answer, *prices: str) -> Answer:
    """Return the item that a change is about: the one on the first of these prices that any is on, else the only one.

    Raises:
        Rejected: there are several items, and nothing says which.

    """
    items = subscription.part("items").rows("data")
    found = on_first(items, prices, lambda row: [row.part("price").text("id")]) or items
    require(len(found) == 1, f"{named(subscription)} has {len(found)} items; none is chosen by guessing.")
    return found[0]


def _in_words(row: Answer) -> str:
    return f"{row['id']} on {' and '.join(prices_of(row))} is {row['status']}"


def named(subscription: Answer) -> str:
    """Return it in words."""
    return f"Subscription {subscription.text('id')}"


class OnPrice(forms.Form):
    """Which subscription."""

    only_price = CatalogueField(
        "prices", required=False, label="Only on price", help_text="Where people have several subscriptions or items."
    )


class OnSubscription(DesiredState):
    """What the actions on a running subscription share."""

    needs = PERSON
    check_at = CHECK_AT
    states: ClassVar[tuple[str, ...]] = RUNNING

    class Inputs(OnPrice):
        """Which subscription."""

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """The person's only one, or the only one on the price."""
        return choose(api, subscriptions_of(api, user), self.states, inputs.get("only_price", ""))

    def change(self, api: Api, thing: Answer, inputs: Values) -> Answer | str | Pending:
        """Set what `wish()` says. Stripe answers with the subscription."""
        return api.post("subscriptions", thing.text("id"), form=self.wish(api, thing, inputs))

    def wish(self, api: Api, thing: Answer, inputs: Values) -> Json:
        """Return what is to be set."""
        raise NotImplementedError

    def mark(self, api: Api) -> Json:
        """Return metadata by which this execution's change is found again, whatever becomes of the subscription later.

        "Individual keys can be unset"; other keys stay (api/metadata).
        """
        return {self.mark_name: api.tag}

    def is_marked(self, api: Api, thing: Answer) -> bool:
        """Whether this execution changed it."""
        return bool(thing.part("metadata").get(self.mark_name) == api.tag)

    @property
    def mark_name(self) -> str:
        """The name of the mark: one for each action, the last execution's."""
        return f"engage_{self.key}"
