"""What is at Stripe when its world begins: prices, coupons, customers, and a subscription for each thing that can be the case."""

from collections.abc import Iterable
from typing import Any

from connectors.sandbox.people import AVA, BEN, CHLOE, DIEGO, FARID, GRACE, HUGO, PEOPLE, Person
from connectors.sandbox.store import Json, Store

KEY = "stripe"
DAY = 86_400

PRICES = (
    # id, product, name, amount, interval, active
    ("price_basic", "prod_basic", "Basic", 799, "month", True),
    ("price_standard", "prod_standard", "Standard", 1199, "month", True),
    ("price_premium", "prod_premium", "Premium", 1599, "month", True),
    ("price_premium_yearly", "prod_premium", "Premium", 14900, "year", True),
    ("price_sports", "prod_sports", "Sports", 999, "month", True),
    ("price_founders", "prod_founders", "Founders' plan (no longer sold)", 500, "month", False),
)
COUPONS = (
    {"id": "SAVE20", "name": "20 % off", "percent_off": 20, "duration": "once", "valid": True},
    {"id": "STAY50", "name": "Half price for three months", "percent_off": 50, "duration": "repeating", "valid": True},
    {"id": "SUMMER24", "name": "Summer 2024", "percent_off": 25, "duration": "once", "valid": False},
)
PROMOTION_CODES = (("promo_spring", "SPRING", "STAY50", True), ("promo_last_year", "LASTYEAR", "SAVE20", False))


def seed(store: Store, more: Json | None = None) -> None:
    """Fill the world; `more` may hold `subscriptions`, as the API shows them."""
    if more is not None:
        for row in more.get("subscriptions", ()):
            store.put(KEY, "subscription", row["id"], row)
        return
    for number, product, name, amount, interval, active in PRICES:
        store.put(KEY, "product", product, {"id": product, "object": "product", "name": name})
        price = {"id": number, "object": "price", "product": product, "nickname": None, "unit_amount": amount}
        every = {"interval": interval, "interval_count": 1}
        more_of_it = {"currency": "usd", "active": active, "type": "recurring", "recurring": every, "livemode": False}
        store.put(KEY, "price", number, price | more_of_it)
    for coupon in COUPONS:
        store.put(KEY, "coupon", coupon["id"], {"object": "coupon", **coupon})
    for number, code, coupon_id, active in PROMOTION_CODES:
        coupon_row = store.get(KEY, "coupon", coupon_id)
        shown = {"id": number, "object": "promotion_code", "code": code, "coupon": coupon_row, "active": active}
        store.put(KEY, "promotion_code", number, shown)
    for person in PEOPLE:
        customer = {"id": customer_id(person), "object": "customer", "email": person.email, "livemode": False}
        store.put(
            KEY,
            "customer",
            customer_id(person),
            customer | {"name": f"{person.first} {person.last}", "delinquent": False},
        )
    for row in _first_subscriptions(store):
        store.put(KEY, "subscription", row["id"], row)


def customer_id(person: Person) -> str:
    """Return whom Stripe calls them."""
    return f"cus_Sandbox{person.number:04}"


def _first_subscriptions(store: Store) -> Iterable[Json]:
    """One person for each thing that can be the case; Emma has none."""
    now = int(store.now())
    trial: Json = {"status": "trialing", "trial_start": now - 10 * DAY, "trial_end": now + 4 * DAY}
    over: Json = {"status": "canceled", "canceled_at": now - 30 * DAY}
    paused: Json = {"pause_collection": {"behavior": "void", "resumes_at": None}}
    yield _subscription(store, AVA, "price_standard")
    yield _subscription(store, BEN, "price_premium", **ending(now + 20 * DAY))
    yield _subscription(store, CHLOE, "price_basic", **trial)
    yield _subscription(store, DIEGO, "price_basic")
    yield _subscription(store, DIEGO, "price_sports", number="sub_Sandbox0014")
    yield _subscription(store, FARID, "price_standard")
    yield _subscription(store, GRACE, "price_standard", **paused)
    yield _subscription(store, HUGO, "price_premium", **over)


def ending(at: int) -> Json:
    """Return what a subscription shows that will not renew."""
    return {"cancel_at_period_end": True, "cancel_at": at}


def _subscription(store: Store, person: Person, price: str, number: str = "", **changes: Any) -> Json:
    return new_subscription(store, number or f"sub_Sandbox{person.number:04}", customer_id(person), price) | changes


def new_subscription(store: Store, number: str, customer: str, price: str, quantity: int = 1) -> Json:
    """Return a subscription as this version shows it: active, ten days into its month."""
    now = int(store.now())
    item = {
        "id": number.replace("sub_", "si_"),
        "object": "subscription_item",
        "price": store.get(KEY, "price", price),
        "quantity": quantity,
    }
    return {
        "id": number,
        "object": "subscription",
        "customer": customer,
        "created": now - 10 * DAY,
        "status": "active",
        "items": {"object": "list", "data": [item], "has_more": False},
        "current_period_start": now - 10 * DAY,
        "current_period_end": now + 20 * DAY,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "discount": None,
        "discounts": [],
        "default_tax_rates": [],
        "metadata": {},
        "pause_collection": None,
        "pending_update": None,
        "schedule": None,
        "trial_start": None,
        "trial_end": None,
        "automatic_tax": {"enabled": False, "liability": None},
    }
