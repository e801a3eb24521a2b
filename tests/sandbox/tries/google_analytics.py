"""Google Analytics' action."""

from tests.sandbox.tries import Try

TRIES = (Try("send_event", {"event": "offer_taken", "properties": '{"offer": "SAVE20"}'}, "event_received"),)
