"""Cleeng's actions, each by somebody whom it is for."""

from connectors.runner import Result
from connectors.sandbox.people import AVA, BEN, HUGO
from connectors.sandbox.worlds.cleeng import SWITCH_SECONDS
from tests.sandbox.tries import Try

TRIES = (
    Try("apply_coupon", {"coupon": "SAVE20"}, "coupon_applied", AVA),
    Try("reactivate_subscription", {}, "reactivated", BEN),
    Try("switch_subscription", {"to_offer": "S531000001_US", "direction": "downgrade"}, "switch_started", HUGO),
    Try(
        "switch_subscription",
        {"to_offer": "S531000003_US", "direction": "upgrade"},
        "switched",
        AVA,
        Result.PENDING,
        later=SWITCH_SECONDS,
    ),
)
