"""Google Play's actions, each by somebody whom it is for; what is bought, the device buys."""

from typing import Any

from connectors.runner import Result
from connectors.sandbox.people import AVA, CHLOE, EMMA, GRACE, HUGO
from tests.sandbox.tries import Try

NOTICE = {"title": "20 %% off, %first_name%", "text": "Come back.", "link": "streamly://offers", "hours": 24}
CHOSEN = {"offer_tag": "", "personalized": False}


def bought(action: str, offer: str, effect: str, who: Any, **more: Any) -> Try:
    """Return what the app carries out."""
    inputs = {"offer": offer, **CHOSEN, **more}
    return Try(action, inputs, effect, who, Result.HANDED_OVER, on_device=True)


TRIES = (
    bought("purchase", "subs/premium/yearly/winback50", "subscription_bought", EMMA),
    bought("purchase", "inapp/film_pass", "acknowledged", GRACE),
    bought("purchase", "inapp/coins_100", "consumed", GRACE, consumable=True),
    bought("upgrade", "subs/premium/monthly", "plan_changed", AVA, mode="CHARGE_PRORATED_PRICE"),
    bought("downgrade", "subs/sports/monthly", "plan_changed", CHLOE, mode="DEFERRED"),
    Try("defer", {"days": 7}, "renewal_deferred", AVA),
    Try("cancel", {"kind": "USER_REQUESTED_STOP_RENEWALS"}, "subscription_canceled", AVA, Result.PENDING),
    Try("revoke", {"refund": "proratedRefund"}, "subscription_revoked", AVA, Result.PENDING),
    Try("refund_order", {"revoke": True}, "order_refunded", AVA, Result.PENDING),
    Try("refund_order", {"revoke": False}, "order_refunded", CHLOE, Result.PENDING),
    Try("push", NOTICE, "notification_shown", EMMA),
    Try("push", NOTICE, "", HUGO, Result.REJECTED, ends=Result.REJECTED),
)
