"""Recurly's actions, each by somebody whom it is for."""

from connectors.sandbox.people import AVA, BEN, CHLOE, DIEGO, EMMA, FARID, GRACE
from connectors.sandbox.worlds.recurly import COUPONS
from tests.sandbox.tries import Try

SAVE20, FIVER, STAY50 = (row["id"] for row in COUPONS[:3])
LATER = {"timeframe": "bill_date"}

TRIES = (
    Try("apply_coupon", {"coupon": SAVE20}, "coupon_redeemed", AVA),
    Try("apply_coupon", {"coupon": FIVER, "currency": "USD"}, "coupon_redeemed", EMMA),
    Try("apply_coupon", {"coupon": STAY50, "only_plan": "sports"}, "coupon_redeemed", DIEGO),
    Try("pause", {"cycles": 2}, "pause_scheduled", AVA),
    Try("resume", {}, "resumed", GRACE),
    Try("switch", {"plan": "premium", "timeframe": "now"}, "subscription_changed", AVA),
    Try("switch", {"plan": "premium", **LATER}, "change_scheduled", FARID),
    Try("create", {"plan": "premium", "currency": "USD", "coupon_code": "SAVE20"}, "subscription_created", EMMA),
    Try("create", {"plan": "sports", "currency": "USD", "trial_days": 7}, "subscription_created", GRACE),
    Try("reactivate", {}, "reactivated", BEN),
    Try("update_price", {"unit_amount": "6.50", "timeframe": "now"}, "subscription_changed", AVA),
    Try("convert_trial", {}, "trial_converted", CHLOE),
    Try("record_usage", {"add_on": "code-rentals", "amount": "2"}, "usage_recorded", AVA),
    Try("cancel", {"ending": "bill_date"}, "canceled", AVA),
    Try("cancel", {"ending": "partial"}, "terminated", BEN),
)
