"""Braintree's actions, each by somebody whom it is for."""

from connectors.sandbox.people import AVA, BEN, DIEGO, EMMA
from connectors.sandbox.worlds.braintree import MERCHANT_ACCOUNT
from tests.sandbox.tries import Try

TRIES = (
    Try("subscribe_plan", {"plan": "premium", "discount": "save2"}, "subscribed", EMMA),
    Try("subscribe_plan", {"plan": "basic"}, "subscribed", BEN, settings={"merchant_account_id": MERCHANT_ACCOUNT}),
    Try("add_discount", {"discount": "save2"}, "discount_added", AVA),
    Try("add_discount", {"discount": "first_month", "only_plan": "basic"}, "discount_added", DIEGO),
)
