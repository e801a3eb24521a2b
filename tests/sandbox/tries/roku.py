"""Roku's actions, each by somebody whom it is for; what is bought, the device buys."""

from connectors.runner import Result
from connectors.sandbox.people import AVA, CHLOE, DIEGO, EMMA, Person
from tests.sandbox.tries import Try


def bought(action: str, product: str, effect: str, who: Person) -> Try:
    """Return what the channel carries out."""
    return Try(action, {"product": product}, effect, who, Result.HANDED_OVER, on_device=True)


TRIES = (
    bought("purchase", "premium_monthly", "subscription_bought", EMMA),
    bought("purchase", "sports_monthly", "subscription_bought", AVA),
    bought("upgrade", "premium_monthly", "plan_changed", AVA),
    bought("downgrade", "basic_monthly", "plan_changed", CHLOE),
    Try("validate", {}, "", AVA),
    Try("cancel", {"when": "now", "notify": False}, "subscription_cancelled", AVA, Result.PENDING),
    Try("cancel", {"when": "end_of_period", "notify": True}, "subscription_cancelled", DIEGO, Result.PENDING),
    Try("refund", {"kind": "percent", "amount": None, "percent": 50, "comment": ""}, "refunded", AVA),
    Try("credit", {"amount": None, "product": "basic_monthly", "comment": "Thank you"}, "credit_issued", AVA),
    Try("update_bill_cycle", {"days": 30}, "bill_moved", AVA, settings={"legacy_bill_cycle": True}),
)
