"""Braze's actions."""

from connectors.sandbox.people import BEN, CHLOE, GRACE, HUGO
from connectors.sandbox.worlds.braze import RECEIPT, SERIES, WIN_BACK
from tests.sandbox.tries import Try

TRIES = (
    Try("user_add_email", {"email": "new@example.com", "alias_label": "engage"}, "user_added"),
    Try("user_add_email", {"email": HUGO.email}, "user_added", HUGO),
    Try("event_track", {"event": "Offer taken", "properties": '{"offer": "SAVE20"}'}, "event_received"),
    Try("campaign_trigger", {"campaign_id": WIN_BACK}, "message_sent", BEN),
    Try("campaign_trigger", {"campaign_id": WIN_BACK}, "message_sent", GRACE, settings={"user_ids": ""}),
    Try("canvas_trigger", {"canvas_id": SERIES}, "canvas_entered", CHLOE),
    Try("transactional_email", {"campaign_id": RECEIPT}, "message_sent"),
    Try("attributes_update", {"properties": '{"plan": "Premium"}', "email_subscribe": "opted_in"}, "profile_updated"),
)
