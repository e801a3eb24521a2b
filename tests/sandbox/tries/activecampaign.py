"""ActiveCampaign's actions."""

from connectors.runner import Result
from connectors.sandbox.people import BEN, CHLOE, DIEGO, HUGO
from connectors.sandbox.worlds.activecampaign import NEWSLETTER, OFFERS, PLAN, WELCOME, WIN_BACK
from tests.sandbox.tries import Try

TRIES = (
    Try("add_contact", {"first_name": "Hugo", "field": PLAN, "value": "Premium"}, "contact_added", HUGO),
    Try("add_contact", {"phone": "+4930123456"}, "profile_updated"),
    Try("add_to_list", {"list_id": OFFERS}, "subscribed"),
    Try("add_to_list", {"list_id": OFFERS}, "subscribed", HUGO),
    Try("add_to_list", {"list_id": NEWSLETTER}, "", BEN, Result.REJECTED, ends=Result.REJECTED),
    Try("add_to_automation", {"automation_id": WIN_BACK}, "automation_entered", DIEGO),
    Try("add_to_automation", {"automation_id": WELCOME}, "", CHLOE),
)
