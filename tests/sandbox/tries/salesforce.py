"""Salesforce's actions, each by somebody whom it is for."""

from connectors.runner import Result
from connectors.sandbox.people import AVA, CHLOE, DIEGO, EMMA
from tests.sandbox.tries import Try

CASE = {"subject": "Offer accepted", "description": "Say thank you.", "origin": "Web", "priority": "High"}

TRIES = (
    Try("case_create", CASE, "case_opened", AVA),
    Try("case_create", CASE, "case_opened", EMMA, settings={"case_reference_field": ""}),
    Try("case_create", CASE, "", DIEGO, Result.REJECTED, ends=Result.REJECTED),  # two contacts have the address
    Try("case_feed_post", {"text": "Took the offer.", "open_only": True}, "posted_to_case", CHLOE),
    Try("mc_send", {"definition": "stay-thanks"}, "message_sent", AVA),
    Try("mc_triggered_send", {"send": "offer-mail", "email": "friend@example.org"}, "message_sent", AVA),
    Try("mc_list_add", {"list_id": "202"}, "added_to_list", AVA),
    Try("mc_list_add_form", {"list_id": "201", "email": "friend@example.org"}, "added_to_list", AVA),
)
