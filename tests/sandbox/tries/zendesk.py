"""Zendesk's actions, each by somebody whom it is for."""

from connectors.runner import Result
from connectors.sandbox.people import AVA, BEN, CHLOE, EMMA, HUGO
from connectors.sandbox.worlds.zendesk import JOB_SECONDS, RETENTION, SAM
from tests.sandbox.tries import Try

TICKET = {"subject": "%first_name|Somebody% took the offer", "comment": "Say thank you.", "priority": "high"}

TRIES = (
    Try("create_ticket", {**TICKET, "group_id": str(RETENTION)}, "ticket_opened", AVA),
    Try("create_ticket", TICKET, "ticket_opened", EMMA),
    Try("set_priority", {"priority": "urgent"}, "ticket_changed", AVA, Result.PENDING, later=JOB_SECONDS),
    Try("set_status", {"status": "solved"}, "ticket_changed", HUGO, Result.PENDING, later=JOB_SECONDS),
    Try("set_status", {"status": "solved"}, "", CHLOE, Result.PENDING, later=JOB_SECONDS, ends=Result.REJECTED),
    Try("assign_agent", {"assignee_id": str(SAM)}, "ticket_changed", AVA, Result.PENDING, later=JOB_SECONDS),
    Try("assign_group", {"group_id": str(RETENTION)}, "ticket_changed", AVA, Result.PENDING, later=JOB_SECONDS),
    Try("suspend_user", {}, "user_suspended", AVA),
    Try("restore_user", {}, "user_restored", BEN),
    Try("delete_tickets", {}, "ticket_deleted", HUGO, Result.PENDING, later=JOB_SECONDS),
    Try("spam_tickets", {}, "ticket_marked_as_spam", HUGO, Result.PENDING, later=JOB_SECONDS),
)
