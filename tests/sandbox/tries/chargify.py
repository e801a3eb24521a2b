"""Chargify's actions, each by somebody whom it is for."""

from connectors.sandbox.people import AVA, EMMA, GRACE
from connectors.sandbox.worlds.chargify import FREE, PREMIUM, STANDARD
from tests.sandbox.tries import Try

TRIES = (
    Try("create_subscription", {"product": str(PREMIUM), "coupon": "PREMIUM10"}, "subscription_created", EMMA),
    Try("create_subscription", {"product": str(FREE)}, "subscription_created", GRACE),
    Try(
        "cancel_subscription",
        {"product": str(STANDARD), "mode": "end_of_period", "reason": "NOT-USED"},
        "cancellation_scheduled",
        AVA,
    ),
    Try("cancel_subscription", {"product": str(STANDARD), "mode": "immediate"}, "subscription_canceled", AVA),
    Try("add_coupon", {"product": str(STANDARD), "coupon": "SAVE20"}, "coupon_added", AVA),
)
