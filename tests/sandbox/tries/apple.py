"""Apple's actions, each by somebody whom it is for; what is bought, the device buys."""

from typing import Any

from connectors.runner import Result
from connectors.sandbox.people import AVA, BEN, CHLOE, DIEGO, EMMA, FARID, GRACE, HUGO, Person
from connectors.sandbox.worlds.apple import BASIC, BUNDLE, PREMIUM, YEAR
from tests.sandbox.tries import Try


def bought(action: str, product: str, effect: str, who: Person, **more: Any) -> Try:
    """Return what the app carries out."""
    inputs = {"product": product, "offer": "", "introductory": "", **more}
    return Try(action, inputs, effect, who, Result.HANDED_OVER, on_device=True)


TOLD = {"consented": True, "delivery": "DELIVERED", "sample": True, "percent": None, "preference": "DECLINE"}
NOTICE = {"title": "20 %% off, %first_name%", "text": "Come back.", "link": "streamly://offers", "hours": 24}
TRIES = (
    bought("purchase", f"subs/{PREMIUM}", "subscription_bought", EMMA),
    bought("purchase", f"inapp/{BUNDLE}.coins", "product_bought", GRACE, quantity=3),
    bought("purchase", f"subs/{YEAR}", "subscription_bought", HUGO, offer=f"winback/{YEAR}/back30"),
    bought("upgrade", f"subs/{PREMIUM}", "plan_changed", AVA, introductory="deny"),
    bought("upgrade", f"subs/{YEAR}", "plan_changed", DIEGO, offer=f"promotional/{YEAR}/stay50"),
    bought("downgrade", f"subs/{BASIC}", "change_scheduled", CHLOE),
    Try("extend", {"days": 7, "reason": 1}, "renewal_extended", AVA),
    Try("set_app_account_token", {"replace": False}, "account_token_set", FARID),
    Try("set_app_account_token", {"replace": True}, "account_token_set", AVA),
    Try("send_consumption", TOLD, "consumption_told", BEN),
    Try("push", NOTICE, "notification_shown", EMMA),
    Try("push", NOTICE, "", HUGO, Result.REJECTED, ends=Result.REJECTED),
)
