"""API actions, each with another way of being repeatable."""

from connectors.sandbox.people import AVA, BEN
from tests.sandbox.tries import Try

SETS = {"method": "PUT", "url": "https://api.example.com/plan/%first_name%", "body": '{"plan": "gold"}'}
SENDS = {"url": "https://api.example.com/gifts/%first_name%", "key_hours": ""}

TRIES = (
    Try("call", {}, "credited", AVA),
    Try("call", {}, "plan_set", BEN, settings={**SETS, "replay": "NATURAL"}),
    Try("call", {}, "gift_sent", BEN, settings={**SENDS, "replay": "NEVER"}),
)
