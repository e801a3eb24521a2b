"""Mixpanel's action."""

from tests.sandbox.tries import Try

UNPROVEN = ("project_token",)
TRIES = (Try("track_custom_event", {"event": "Offer taken", "properties": '{"offer": "SAVE20"}'}, "event_received"),)
