"""What can be done for a customer."""

import hashlib
from typing import Any

from django import forms

from connectors.base import Action, CatalogueField, Json, Replay, Values, one_of
from connectors.bodies import without_empty
from connectors.choosing import only_one, only_with, require, text_in
from connectors.failures import Undocumented
from connectors.http import Api
from connectors.vendors.braintree.reading import (
    CHECK_AT,
    DOCS,
    ID,
    PERSON,
    changed,
    customer_of,
    gateway,
    in_words,
    named,
    subscriptions,
)

RUNS = {"Active", "Past Due", "Pending"}
"""Pending: its first billing date is ahead."""


class SubscribePlan(Action):
    """Start a subscription under an id that we choose, so that Braintree refuses a second one."""

    key, label = "subscribe_plan", "Subscribe plan"
    description = "Starts a subscription on the customer's default payment method, which Braintree charges."
    needs = PERSON
    replay = Replay.CHECK
    replay_proof = f"{DOCS}/create#id: the id is ours, and a customer shows the subscriptions with their plans"
    check_at = CHECK_AT

    class Inputs(forms.Form):
        """To what."""

        plan = CatalogueField("plans", label="Plan", help_text="The plan that the subscriber gets.")
        discount = CatalogueField(
            catalogue="discounts", required=False, label="Discount", help_text="Put on the new subscription at once."
        )

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """One of that plan runs."""
        for row in subscriptions(customer_of(api, user)):
            if row.id == chosen_id(api) or (row.plan_id == inputs["plan"] and row.status in RUNS):
                return in_words(row)
        return None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Start it."""
        methods = customer_of(api, user).payment_methods
        token = next((method.token for method in methods if method.default), None)
        require(token, "The customer has no default payment method at Braintree.")
        wish = {
            "id": chosen_id(api),
            "payment_method_token": token,
            "plan_id": inputs["plan"],
            "merchant_account_id": api.settings.get("merchant_account_id"),
            "discounts": added(inputs["discount"]) if inputs.get("discount") else None,
        }
        made = changed(gateway(api).subscription.create(without_empty(wish)))
        if (made.id, made.plan_id) != (wish["id"], inputs["plan"]):
            raise Undocumented(f"Braintree answered with another subscription ({made.id} on {made.plan_id}).")
        return f"{named(made)} is {made.status}; next billing on {made.next_billing_date}"


class AddDiscount(Action):
    """Put a discount on a running subscription."""

    key, label = "add_discount", "Add discount"
    description = "Puts a discount on the customer's running subscription."
    needs = one_of("braintree_id", "email_address", "braintree_subscription_id")
    replay = Replay.CHECK
    replay_proof = f"{DOCS}/update#discounts: a subscription shows its discounts with their ids"
    check_at = CHECK_AT

    class Inputs(forms.Form):
        """Which discount, and on which subscription."""

        discount = CatalogueField("discounts", label="Discount", help_text="From Braintree's control panel.")
        only_plan = only_with("plans", "plan")

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """It is among the discounts."""
        found = self._subscription(api, user, inputs)
        has = (discount.id for discount in found.discounts if discount.id == inputs["discount"])
        return next((f"Discount {discount} is on subscription {found.id}" for discount in has), None)

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Add it."""
        found = self._subscription(api, user, inputs)
        shown = changed(gateway(api).subscription.update(found.id, {"discounts": added(inputs["discount"])}))
        if not any(discount.id == inputs["discount"] for discount in shown.discounts):
            raise Undocumented("Braintree accepted the discount, and does not show it on the subscription.")
        return f"Discount {inputs['discount']} is on subscription {shown.id}"

    def _subscription(self, api: Api, user: Json, inputs: Values) -> Any:
        """Return the one that is meant.

        Raises:
            Rejected: there is none, or several and nothing says which.

        """
        if "braintree_subscription_id" in user:
            rows = [
                gateway(api).subscription.find(text_in(user, "braintree_subscription_id", ID, "id of a subscription"))
            ]
        else:
            rows = subscriptions(customer_of(api, user))
        fits = [row for row in rows if row.status == "Active" and inputs.get("only_plan") in {None, "", row.plan_id}]
        return only_one(api, fits, whose="The customer", what="active subscription", named=in_words, others=rows)


def added(discount: str) -> Json:
    """Return the change that puts a discount on a subscription, as Braintree writes it."""
    return {"add": [{"inherited_from_id": discount}]}


def chosen_id(api: Api) -> str:
    """Return the id of the subscription that this execution starts: the same in all its attempts, 36 characters."""
    return f"eng-{hashlib.sha256(api.tag.encode()).hexdigest()[:32]}"
