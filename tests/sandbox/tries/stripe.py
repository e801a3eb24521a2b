"""Stripe's actions, each by somebody whom it is for."""

from connectors.runner import Result
from connectors.sandbox.people import BEN, CHLOE, EMMA, GRACE
from connectors.sandbox.worlds.stripe import CONFIRM_SECONDS
from tests.sandbox.tries import Try

CHANGED = {"price": "price_premium", "proration_behavior": "create_prorations"}

TRIES = (
    Try("update_subscription", {**CHANGED, "payment_behavior": "error_if_incomplete"}, "price_changed"),
    Try(
        "update_subscription",
        {**CHANGED, "payment_behavior": "pending_if_incomplete"},
        "price_changed",
        GRACE,
        Result.PENDING,
        later=CONFIRM_SECONDS,
    ),
    Try("switch_at_period_end", {"price": "price_basic"}, "switch_scheduled"),
    Try("extend_trial", {"days": 7}, "trial_extended", CHLOE),
    Try("end_trial", {}, "trial_ended", CHLOE),
    Try("apply_coupon", {"coupon": "SAVE20"}, "coupon_applied"),
    Try("apply_coupon", {"promotion_code": "promo_spring"}, "coupon_applied", BEN),
    Try("cancel_at_period_end", {}, "cancellation_scheduled"),
    Try("keep_subscription", {}, "cancellation_undone", BEN),
    Try("cancel_now", {"prorate": True}, "cancelled"),
    Try("pause_collection", {"behavior": "void", "days": 30}, "collection_paused"),
    Try("resume_collection", {}, "collection_resumed", GRACE),
    Try("create_subscription", {"price": "price_basic", "trial_days": 7}, "subscription_created", EMMA),
)
