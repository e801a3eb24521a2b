"""Freshdesk's actions, each by somebody whom it is for."""

from connectors.runner import Result
from connectors.sandbox.people import AVA, BEN, EMMA, HUGO
from connectors.sandbox.worlds.freshdesk import JOB_SECONDS, RETENTION, SAM
from tests.sandbox.tries import Try

TICKET = {"subject": "%first_name|Somebody% took the offer", "description": "Say thank you.", "priority": "3"}

TRIES = (
    Try("create_ticket", {**TICKET, "group_id": str(RETENTION), "status": "3"}, "ticket_opened", AVA),
    Try("create_ticket", TICKET, "ticket_opened", EMMA),
    Try("set_priority", {"priority": "4"}, "ticket_changed", AVA, Result.PENDING, later=JOB_SECONDS),
    Try("set_status", {"status": "5", "quietly": True}, "ticket_changed", AVA, Result.PENDING, later=JOB_SECONDS),
    Try("set_responder", {"responder_id": str(SAM)}, "ticket_changed", AVA, Result.PENDING, later=JOB_SECONDS),
    Try("set_group", {"group_id": str(RETENTION)}, "ticket_changed", HUGO, Result.PENDING, later=JOB_SECONDS),
    Try("set_source", {"source": "3"}, "ticket_changed", AVA, Result.PENDING, later=JOB_SECONDS),
    Try("soft_delete_contact", {}, "contact_deleted", AVA),
    Try("restore_contact", {}, "contact_restored", BEN),
    Try("delete_all_tickets", {}, "ticket_moved_to_trash", HUGO, Result.PENDING, later=JOB_SECONDS),
)
