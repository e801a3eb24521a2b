"""To another price: now, or at the end of the period."""

import time
from typing import Any, ClassVar

from django import forms

from connectors.answers import Answer
from connectors.base import CatalogueField, Json, Pending, Values
from connectors.choosing import require
from connectors.failures import Undocumented
from connectors.http import Api
from connectors.vendors.stripe.reading import (
    DOCS,
    OnPrice,
    OnSubscription,
    choose,
    item_of,
    named,
    subscriptions_of,
)

PENDING = "pending_if_incomplete"
# What a phase made from a subscription carries and a plain one may leave out: it follows from the subscription, or is sent again.
SENT_AGAIN = {"items", "start_date", "end_date", "currency", "proration_behavior"}
SENT_AGAIN_OF_AN_ITEM = {"price", "plan", "quantity"}
# What a subscription has and a phase would have to repeat.
CARRIED = (
    "discount",
    "discounts",
    "default_tax_rates",
    "automatic_tax",
    "application_fee_percent",
    "transfer_data",
    "on_behalf_of",
    "billing_thresholds",
    "pause_collection",
    "cancel_at",
    "cancel_at_period_end",
)


class ToPrice(OnSubscription):
    """What both ways share."""

    states: ClassVar[tuple[str, ...]] = ("active", "trialing", "past_due")

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """The subscription to be changed, or the one that was: after the change it is on the target price."""
        start = inputs.get("only_price", "")
        prices = (start, inputs["price"]) if start else ()
        return choose(api, subscriptions_of(api, user), self.states, *prices)

    def item(self, thing: Answer, inputs: Values) -> Answer:
        """Return the item that is changed."""
        start = inputs.get("only_price", "")
        return item_of(thing, *((start, inputs["price"]) if start else ()))


class UpdateSubscription(ToPrice):
    """To another price, now."""

    key, label = "update_subscription", "Update existing subscription"
    description = "Moves the subscription to another price now. What that charges at once, “Proration” says."
    replay_proof = f"{DOCS}/subscriptions/object: the item's price shows it"

    class Inputs(OnPrice):
        """The target, and who pays what when."""

        price = CatalogueField("prices", label="To price", help_text="The price that the subscriber gets.")
        proration_behavior = forms.ChoiceField(
            choices=[
                ("create_prorations", "On the next invoice"),
                ("always_invoice", "Charge or credit now"),
                ("none", "None"),
            ],
            label="Proration",
            help_text="How the time that is left of the period is settled.",
        )
        payment_behavior = forms.ChoiceField(
            choices=[
                ("error_if_incomplete", "Change nothing"),
                (PENDING, "Wait for the payment, up to 23 hours"),
                ("allow_incomplete", "Change all the same, and collect later"),
                ("default_incomplete", "Change all the same, and wait for the person to pay"),
            ],
            label="When a payment fails",
            help_text="Or when the bank asks the person to confirm it.",
        )
        quantity = forms.IntegerField(required=False, min_value=1, label="Quantity", help_text="Empty: as it is.")
        billing_cycle_anchor = forms.ChoiceField(
            choices=[("", "As it is"), ("unchanged", "Unchanged"), ("now", "Starts now, and charges now")],
            required=False,
            label="Billing period",
        )

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | Pending | None:
        """On the price, in that quantity; or waiting for its payment."""
        item, target = self.item(thing, inputs), inputs["price"]
        price = item.part("price").text("id")
        if price == target and inputs.get("quantity") in {None, item.get("quantity")}:
            due = "" if thing["status"] in {"active", "trialing"} else f"; its payment is open ({thing['status']})"
            return f"{named(thing)} is on price {target}{due}"
        if (waiting := thing.get("pending_update")) is None:
            return None
        require(target in prices_of(waiting), f"{named(thing)} has another change that waits for its payment.")
        ends = waiting.moment("expires_at").timestamp()
        job = {"subscription": thing.text("id"), "item": item.text("id"), "from": price, "to": target, "ends": ends}
        return Pending(
            job, f"{named(thing)} waits for a payment; unpaid, the change lapses on {waiting.day('expires_at')}"
        )

    def wish(self, api: Api, thing: Answer, inputs: Values) -> Json:
        """A change without the item's id would add a second item, and one without the quantity would set it to 1."""
        require(thing.get("schedule") is None, f"{named(thing)} follows a schedule in Stripe, which decides its price.")
        item = self.item(thing, inputs)
        quantity = inputs.get("quantity") or item.get("quantity")
        return {
            "items": [{"id": item.text("id"), "price": inputs["price"], "quantity": quantity}],
            "proration_behavior": inputs["proration_behavior"],
            "payment_behavior": inputs["payment_behavior"],
            "billing_cycle_anchor": inputs.get("billing_cycle_anchor") or None,
        }

    def follow_up(self, api: Api, job: Json) -> str | Pending:
        """Ask what became of a change that waits for its payment: Stripe drops it after 23 hours.

        docs.stripe.com/billing/subscriptions/pending-updates. On the new price it has happened, whatever else waits by now. Only
        a subscription that is still on the old price after that moment is one whose change lapsed unpaid. Gone earlier, or on a
        third price, nothing says whether it happened before, until `settles_within` is over.
        """
        thing = api.get("subscriptions", job["subscription"])
        items = [row for row in thing.part("items").rows("data") if row["id"] == job["item"]]
        price = items[0].part("price").text("id") if items else "another item"
        if price == job["to"]:
            return f"{named(thing)} is on price {price}"
        waiting = thing.get("pending_update")
        if waiting is not None and job["to"] in prices_of(waiting):
            return Pending(job, f"{named(thing)} waits for a payment")
        lapsed = price == job["from"] and time.time() >= job["ends"]
        require(not lapsed, f"{named(thing)} stays on {price}: its payment did not come in time.")
        more = ", and another change waits for its payment" if waiting is not None else ""
        raise Undocumented(f"{named(thing)} is on {price}{more}: Stripe does not say what became of the change.")


class SwitchAtPeriodEnd(ToPrice):
    """To another price, from the next period on: by a schedule of two phases, which then lets go of the subscription."""

    key, label = "switch_at_period_end", "Switch at the end of the period"
    description = "Moves the subscription to another price from its next period on. Nothing is charged before."
    replay_proof = f"{DOCS}/subscription_schedules/object: its phases show it"
    states = ("active",)

    class Inputs(OnPrice):
        """The target."""

        price = CatalogueField("prices", label="To price", help_text="The price from the next period on.")

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """On the price, or on its way there."""
        schedule = thing.get("schedule")
        if schedule is None:
            is_there = self.item(thing, inputs).part("price")["id"] == inputs["price"]
            return f"{named(thing)} is on price {inputs['price']}" if is_there else None
        phases = api.get("subscription_schedules", str(schedule)).rows("phases")
        require(len(phases) <= 2, f"{named(thing)} has a schedule of its own ({schedule}).")
        return self._switches(thing, phases, inputs) if len(phases) == 2 else None

    def _switches(self, thing: Answer, phases: list[Answer], inputs: Values) -> str:
        target = [row["price"] for row in phases[-1].rows("items")]
        is_ours = target == [inputs["price"]] and len(phases) == 2
        require(is_ours, f"{named(thing)} has another change scheduled, to {' and '.join(map(str, target))}.")
        return f"{named(thing)} changes to price {inputs['price']} on {phases[-1].day('start_date')}"

    def change(self, api: Api, thing: Answer, inputs: Values) -> str:
        """Make the schedule, which has the period that runs as its only phase, and add the next one.

        Phases are replaced as a whole, so what is not sent again is lost: a subscription with such settings is refused, before
        anything is made. "Only `from_subscription` may be given" (api/subscription_schedules/create), so it takes two requests;
        a schedule of one phase, left by a lost answer, changes nothing and is taken up by the next attempt.
        """
        kept = [name for name in CARRIED if not is_empty(_plain(thing.get(name)))]
        require(not kept, f"{named(thing)} has settings that a schedule would lose: {', '.join(kept)}.")
        item = self.item(thing, inputs)
        require(len(thing.part("items").rows("data")) == 1, f"{named(thing)} has several items.")
        number = thing.get("schedule")
        if number is None:
            wish = {"from_subscription": thing.text("id")}
            schedule = api.post("subscription_schedules", form=wish, step="schedule")
        else:
            schedule = api.get("subscription_schedules", str(number))
        phases = schedule.rows("phases")
        require(len(phases) == 1, f"{named(thing)} has a schedule of its own ({schedule['id']}).")
        lost = lost_of(phases[0])
        require(not lost, f"The schedule of {named(thing)} has settings that would be lost: {', '.join(lost)}.")
        quantity = item.get("quantity")
        now, after = ({"price": price, "quantity": quantity} for price in (item.part("price")["id"], inputs["price"]))
        began, ends = (int(phases[0].moment(name).timestamp()) for name in ("start_date", "end_date"))
        changed = api.post(
            "subscription_schedules",
            schedule.text("id"),
            form={
                "end_behavior": "release",
                "proration_behavior": "none",
                "phases": [
                    {"items": [now], "start_date": began, "end_date": ends},
                    {"items": [after], "iterations": 1, "proration_behavior": "none"},
                ],
            },
            step="phases",
        )
        return self._switches(thing, changed.rows("phases"), inputs)


def prices_of(waiting: Answer) -> list[str]:
    """Return the prices of a change that waits for its payment."""
    return [row.part("price").text("id") for row in waiting.rows("subscription_items")]


def lost_of(phase: Answer) -> list[str]:
    """Return the names of what a phase has beyond what is sent again."""
    settings = [name for name in phase.data if name not in SENT_AGAIN and not is_empty(phase.data[name])]
    items = [row.data for row in phase.rows("items")]
    return settings + [
        f"items.{name}"
        for item in items
        for name in item
        if name not in SENT_AGAIN_OF_AN_ITEM and not is_empty(item[name])
    ]


def is_empty(value: Any) -> bool:
    """Whether nothing is set: null, false, an empty list or text, or an object of nothing else."""
    return all(map(is_empty, value.values())) if isinstance(value, dict) else value in (None, False, "", [])


def _plain(value: Any) -> Any:
    return value.data if isinstance(value, Answer) else value
