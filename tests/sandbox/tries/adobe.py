"""Adobe's action."""

from tests.sandbox.tries import Try

TRIES = (
    Try("aep_event", {"event": "Offer taken", "properties": '{"offer": "SAVE20"}'}, "event_received"),
    Try("aep_event", {"event": "Offer taken"}, "event_received", settings={"identity_namespace": "CRMID"}),
)
