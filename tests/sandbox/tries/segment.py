"""Segment's actions."""

from tests.sandbox.tries import Try

TRIES = (
    Try("track", {"event": "Offer taken", "properties": '{"offer": "SAVE20"}'}, "event_received"),
    Try("identify", {"traits": "email_address"}, "profile_updated"),
    Try("group", {"group_id": "household-7"}, "grouped"),
)
