"""Vindicia's actions, each by somebody whom it is for."""

from connectors.sandbox.people import AVA, CHLOE, HUGO
from tests.sandbox.tries import Try

TRIES = (
    Try("replace_product", {"new": "PREMIUM", "effective": "today", "prorate": True}, "product_replaced", AVA),
    Try(
        "replace_product",
        {"new": "STANDARD", "old": "PREMIUM", "billing_plan": "ANNUAL", "effective": "nextBill", "prorate": False},
        "product_replaced",
        HUGO,
    ),
    Try("add_product", {"product": "SPORTS", "effective": "today", "prorate": False}, "product_added", AVA),
    Try("add_campaign", {"campaign": "SAVE20/campaign-1", "product": "SPORTS"}, "campaign_added", CHLOE),
)
