"""Amazon's actions, each by somebody whom it is for; the device buys."""

from connectors.runner import Result
from connectors.sandbox.people import AVA, CHLOE, EMMA, GRACE, HUGO, Person
from tests.sandbox.tries import Try

NOTICE = {"title": "20 %% off, %first_name%", "text": "Come back.", "link": "streamly://offers", "hours": 24}


def bought(action: str, sku: str, effect: str, who: Person, **more: str) -> Try:
    """Return what the app carries out."""
    return Try(action, {"sku": sku, **more}, effect, who, Result.HANDED_OVER, on_device=True)


TRIES = (
    bought("purchase", "premium.month", "bought", EMMA),
    bought("purchase", "film.pass", "bought", GRACE),
    bought("purchase", "coins.100", "bought", AVA),
    bought("upgrade", "premium.month", "tier_changed", AVA, mode="IMMEDIATE"),
    bought("downgrade", "basic.month", "tier_changed", CHLOE, mode="DEFERRED"),
    Try("validate", {}, "", AVA),
    Try("push", NOTICE, "notification_shown", CHLOE),
    Try("push", NOTICE, "", HUGO, Result.REJECTED, ends=Result.REJECTED),
)
