"""What Stripe knows of a customer, as traits: told by its webhooks, and read at Stripe each time.

"Stripe doesn't guarantee the delivery of events in the order that they're generated", and an event is rendered in the version of
its endpoint (docs.stripe.com/webhooks); so an event only says whom to read anew, in the version that this connector speaks.
The traits have the names under which Recurly Engage's documentation lists them (recurly/recurly-engage-docs, its Stripe page).
Those of the payment card are left out: to read it takes a permission that the key of `setup_steps` does not have.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import ClassVar

from connectors.answers import Answer
from connectors.base import Json, Values
from connectors.http import Api
from connectors.inbound import (
    Forged,
    Inbound,
    Learned,
    Message,
    Request,
    Unreadable,
    check_hmac,
    check_moment,
    moment,
    signing_secrets,
)
from connectors.pulls import rank_in, telling
from connectors.times import utc

# Of several subscriptions the one that says most of today is told of: the newest of the first of these that any has.
STATUSES = ("active", "trialing", "past_due", "unpaid", "paused", "incomplete", "canceled", "incomplete_expired")
TIMES = ("current_period_start", "current_period_end", "canceled_at", "trial_start", "trial_end")
TEXTS = ("subscription_status", "subscription_plan", "recurring_interval", "coupon", *TIMES)
TYPES = {**dict.fromkeys(TEXTS, "text"), **dict.fromkeys(("delinquent", "cancel_at_period_end"), "boolean")}
FOUND_BY = ("stripe_id",)
PRODUCTS_KEPT = 1_000  # names; some sellers make a product for each sale
NameOf = Callable[[str], str]
"""Says what a product is called, by its id."""
NO_SUBSCRIPTION: Json = {
    "subscription_status": "NONE",
    "cancel_at_period_end": None,
    "subscription_plan": None,
    "recurring_interval": None,
    "coupon": None,
    **dict.fromkeys(TIMES),
}


def rank_of(subscription: Answer) -> float:
    """Return how much a subscription says of today; below 0 where nothing is told of its status."""
    return rank_in(STATUSES, subscription["status"], int(subscription["created"]))


def product_names(api: Api) -> NameOf:
    """Return what reads a product's name, and remembers it."""
    return lru_cache(PRODUCTS_KEPT)(lambda product: api.get("products", product).text("name"))


def traits_of(subscription: Answer | None, customer: Answer, name_of: NameOf) -> Json:
    """Return what a subscription says of its customer. What it does not have is None, which takes the trait away."""
    delinquent = customer.get("delinquent")
    if subscription is None:
        return {**NO_SUBSCRIPTION, "delinquent": delinquent}
    first = next(iter(subscription.part("items").rows("data")), None)
    price = first.part("price") if first else None
    discount = subscription.inner("discount")
    return {
        **{name: _time(subscription.get(name)) for name in TIMES},
        "subscription_status": subscription.text("status"),
        "delinquent": delinquent,
        "cancel_at_period_end": subscription["cancel_at_period_end"],
        "subscription_plan": _plan(price, name_of) if price else None,
        "recurring_interval": price.inner("recurring").get("interval") if price else None,
        "coupon": _coupon(discount.part("coupon")) if discount else None,
    }


def _time(seconds: object) -> str | None:
    return utc(datetime.fromtimestamp(seconds, UTC)) if isinstance(seconds, int) else None


def _plan(price: Answer, name_of: NameOf) -> str:
    return str(price.get("nickname") or name_of(price.text("product")))


def _coupon(coupon: Answer) -> str:
    return str(coupon.get("name") or coupon["id"])


class Webhooks(Inbound):
    """Events of an endpoint in the customer's Stripe account."""

    setup_steps = (
        "In Stripe's dashboard, open Workbench > Webhooks and add an endpoint for events of your account at this address.",
        "Choose customer.updated, all that begin with customer.subscription, invoice.paid and invoice.payment_failed.",
        "Reveal the endpoint's signing secret, which begins with whsec_, paste it into the settings here, and save.",
        "Bring Stripe's customer ids into the trait stripe_id: by it an event finds its subscriber.",
    )
    types: ClassVar[frozenset[str]] = frozenset(
        {
            "customer.updated",
            *(f"customer.subscription.{event}" for event in ("created", "updated", "deleted", "paused", "resumed")),
            "invoice.paid",
            "invoice.payment_failed",
        }
    )

    def verify(self, request: Request, settings: Values) -> None:
        """`Stripe-Signature: t=<Unix s>,v1=<hex>[,v1=<hex>]`: HMAC-SHA256 of "<t>.<body>", two while the secret is rolled.

        Other schemes than v1 are not believed ("To prevent downgrade attacks, ignore all schemes that aren't v1").
        """
        pairs = [part.strip().partition("=") for part in request.header("Stripe-Signature").split(",")]
        times = [value for name, _, value in pairs if name == "t"]
        if len(times) != 1:
            raise Forged("It is not signed.")
        check_moment(request, times[0])
        signed = f"{times[0]}.".encode() + request.body
        check_hmac(signing_secrets(settings), signed, [value for name, _, value in pairs if name == "v1"])

    def messages(self, request: Request, settings: Values) -> Iterable[Message]:
        """One event."""
        event = request.json()
        yield Message(event.text("id"), event.text("type"), event.data, moment(event.get("created")))

    def read(self, message: Message, api: Api) -> Iterable[Learned]:
        """Read the customer and the subscriptions."""
        thing = Answer(message.payload, where="webhook").part("data").part("object")
        customer = thing["id" if message.type == "customer.updated" else "customer"]
        number = customer.text("id") if isinstance(customer, Answer) else customer
        if not isinstance(number, str) or not number.startswith("cus_"):
            raise Unreadable("It names no customer.")
        shown = api.get("customers", number)
        if shown.get("deleted"):
            return
        told = telling(api.pages("subscriptions", params={"customer": number, "status": "all"}), rank_of)
        traits = traits_of(told, shown, product_names(api))
        yield Learned(traits, found_by=tuple((name, number) for name in FOUND_BY), subject=f"customer {number}")
