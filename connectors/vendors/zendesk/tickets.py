"""Zendesk's tickets: one more, or all that somebody has. They change by jobs of a hundred, which are followed.

A ticket that is opened carries our reference as its `external_id`.
"""

import re
from collections.abc import Iterable, Sequence

from django import forms
from django.core.validators import RegexValidator

from connectors import help_desks
from connectors.answers import Answer
from connectors.base import Action, CatalogueField, Json, Replay, TemplateField, Values, if_known
from connectors.bodies import without_empty
from connectors.choosing import email_in, filled_in
from connectors.http import Api, shown
from connectors.vendors.zendesk.users import DOCS, REQUESTER, known_id, user_of

BY_CURSOR = {"page[size]": 100}  # at most: https://developer.zendesk.com/api-reference/introduction/pagination/
UNDER_WAY, ENDED = ("queued", "working"), ("completed", "failed", "killed")
NUMBER = RegexValidator(r"^[0-9]{1,19}\Z", "Zendesk's ids are numbers.")
PRIORITIES = [("urgent", "Urgent"), ("high", "High"), ("normal", "Normal"), ("low", "Low")]
# "closed" is left out: the vendor's pages allow the value, and others report that it cannot be set. UNVERIFIED.
STATUSES = [("open", "Open"), ("pending", "Pending"), ("hold", "On hold"), ("solved", "Solved")]


def host_of(settings: Values) -> str:
    """Return the account's host, of which people may enter the first part alone."""
    return f"{settings['domain'].removesuffix('.zendesk.com')}.zendesk.com"


# --- one more -------------------------------------------------------------------------------------


class CreateTicket(Action):
    """Open a ticket."""

    key, label = "create_ticket", "Create support ticket with notification of offer acceptance"
    description = "Opens a ticket in the subscriber's name. Somebody whom Zendesk does not know becomes a user there."
    needs = REQUESTER & if_known("first_name", "last_name")
    replay = Replay.CHECK
    # Zendesk knows an Idempotency-Key for two hours, which covers what a look a moment later may miss; the external id stays.
    replay_proof = f"{DOCS}/tickets/tickets/#list-tickets: `external_id` finds the ticket again"
    check_at = "In Zendesk, search for the customer's tickets and look for the subject."

    class Inputs(forms.Form):
        """What the ticket says, and who gets it."""

        subject = TemplateField(rows=1, max_length=150, label="Subject", help_text="The ticket's title.")
        comment = TemplateField(label="Comment", help_text="The ticket's first comment.")
        public = forms.BooleanField(label="Public comment: Zendesk mails it to the customer", required=False)
        priority = forms.ChoiceField(choices=[("", "None"), *PRIORITIES], required=False, label="Priority")
        status = forms.ChoiceField(choices=[("", "New"), *STATUSES], required=False, label="Status")
        group_id = CatalogueField("groups", required=False, validators=[NUMBER], label="Group")
        assignee_id = CatalogueField("agents", required=False, validators=[NUMBER], label="Agent")
        tags = forms.CharField(
            required=False, max_length=500, label="Tags", help_text="With blanks or commas between them."
        )

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """Look for our reference."""
        found = [
            row
            for row in api.get("tickets", params={"external_id": api.tag}).rows("tickets")
            if row["external_id"] == api.tag
        ]
        return f"Ticket {found[0].fill('{id}')} is open{link(api, found[0])}" if found else None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Open it."""
        comment = filled_in(inputs["comment"], user, "comment")
        ticket = {
            "subject": filled_in(inputs["subject"], user, "subject"),
            "comment": {"body": comment, "public": bool(inputs["public"])},
            **requester(user),
            "external_id": api.tag,
            "priority": inputs["priority"],
            "status": inputs["status"],
            "group_id": help_desks.number_in(inputs, "group_id"),
            "assignee_id": help_desks.number_in(inputs, "assignee_id"),
            "tags": [tag for tag in re.split(r"[\s,]+", inputs["tags"]) if tag],
        }
        opened = api.post("tickets", json={"ticket": without_empty(ticket)}).part("ticket")
        return f"Ticket {opened.fill('{id}')} is open{link(api, opened)}"


def requester(user: Json) -> Json:
    """Return who asks, as a ticket has it. Zendesk looks an address up itself, and takes the name where it is a new one."""
    if "zendesk_id" in user:
        return {"requester_id": int(known_id(user))}
    address = email_in(user)
    return {"requester": {"name": help_desks.name_of(user) or address.partition("@")[0], "email": address}}


def link(api: Api, ticket: Answer) -> str:
    """Where an agent sees a ticket."""
    return f" (https://{host_of(api.settings)}/agent/tickets/{ticket.fill('{id}')})"


# --- all that somebody has ------------------------------------------------------------------------


class OnTickets(help_desks.OnTickets):
    """What is done to all tickets of a user."""

    needs = REQUESTER
    replay_proof = f"{DOCS}/tickets/tickets/#list-tickets: the requester's tickets show it"
    check_at = "In Zendesk, open the customer's profile and look at the tickets."
    # https://developer.zendesk.com/api-reference/ticketing/tickets/tickets/#update-many-tickets
    tickets_at_once, requesters = 100, "user"
    closed_too = False  # no closed ticket can be changed; it can be deleted

    def requester(self, api: Api, user: Json) -> str:
        """The user."""
        return user_of(api, user)

    def tickets(self, api: Api, requester: str) -> Iterable[Answer]:
        """Those that the user has asked for."""
        rows = api.pages("users", requester, "tickets", "requested", params=BY_CURSOR)
        return (row for row in rows if self.closed_too or row.text("status") != "closed")

    def send(self, api: Api, ids: Sequence[int], inputs: Values, step: str) -> str:
        """Ask for a job."""
        answer = self.bulk(api, {"ids": ",".join(map(str, ids))}, inputs, step)
        return answer.part("job_status").text("id")

    def bulk(self, api: Api, params: Json, inputs: Values, step: str) -> Answer:
        """Change these tickets."""
        return api.put("tickets", "update_many", params=params, json={"ticket": self.wish(inputs)}, step=step)

    def job(self, api: Api, number: str) -> Answer:
        """A job, which Zendesk keeps for a day."""
        return shown(api, f"job {number}", "job_statuses", number).part("job_status")

    def has_ended(self, job: Answer) -> bool:
        """Its status says so."""
        return job.shows("status", *UNDER_WAY, *ENDED) in ENDED

    def succeeded(self, jobs: Sequence[Answer]) -> int:
        """A job that is completed may hold tickets that it could not change."""
        return sum(row.get("success") is True for job in jobs for row in job.objects("results"))

    def why(self, jobs: Sequence[Answer]) -> Iterable[object]:
        """What the jobs say of tickets, and of themselves."""
        rows = [row for job in jobs for row in job.objects("results") if row.get("success") is not True]
        told = [row.get(name) for row in rows for name in ("error", "details")]
        return [*told, *(job.get("message") for job in jobs if job["status"] != "completed")]


class SetPriority(OnTickets):
    """Their priority."""

    key, label = "set_priority", "Set priority of all existing tickets"
    description = "Sets the priority of all tickets that the subscriber has asked for and that are not closed."

    class Inputs(forms.Form):
        """Which one."""

        priority = forms.ChoiceField(choices=PRIORITIES, label="Priority")

    def wish(self, inputs: Values) -> Json:
        """The priority."""
        return {"priority": inputs["priority"]}


class SetStatus(OnTickets):
    """Their status."""

    key, label = "set_status", "Set status of all existing tickets"
    description = (
        "Sets the status of all tickets that the subscriber has asked for and that are not closed. Zendesk solves no ticket "
        "that lacks an agent or a field that it requires; such tickets are named."
    )

    class Inputs(forms.Form):
        """Which one."""

        status = forms.ChoiceField(
            choices=STATUSES, label="Status", help_text="On hold must be switched on in Zendesk."
        )

    def wish(self, inputs: Values) -> Json:
        """The status."""
        return {"status": inputs["status"]}


class AssignAgent(OnTickets):
    """Their agent."""

    key, label = "assign_agent", "Assign all existing tickets to a specific agent"
    description = "Gives all tickets that the subscriber has asked for and that are not closed to one agent."

    class Inputs(forms.Form):
        """Who."""

        assignee_id = CatalogueField("agents", validators=[NUMBER], label="Agent")

    def wish(self, inputs: Values) -> Json:
        """The agent."""
        return {"assignee_id": int(inputs["assignee_id"])}


class AssignGroup(OnTickets):
    """Their group."""

    key, label = "assign_group", "Assign all existing tickets to a group"
    description = "Gives all tickets that the subscriber has asked for and that are not closed to one group."

    class Inputs(forms.Form):
        """Which one."""

        group_id = CatalogueField("groups", validators=[NUMBER], label="Group")

    def wish(self, inputs: Values) -> Json:
        """The group."""
        return {"group_id": int(inputs["group_id"])}


class DeleteTickets(OnTickets):
    """They go."""

    key, label = "delete_tickets", "Delete all tickets"
    description = (
        "Deletes all tickets that the subscriber has asked for, closed ones too. For 30 days they can be restored."
    )
    closed_too = True

    def what(self, inputs: Values) -> str:
        """Deleted."""
        return "Deleted"

    def bulk(self, api: Api, params: Json, inputs: Values, step: str) -> Answer:
        """Delete these."""
        return api.delete("tickets", "destroy_many", params=params, step=step)


class SpamTickets(OnTickets):
    """They go as spam."""

    key, label = "spam_tickets", "Delete and spam all existing tickets"
    # UNVERIFIED: of one ticket the vendor says that marking it as spam suspends the requester, of many it says nothing.
    description = (
        "Marks all tickets that the subscriber has asked for as spam, which deletes them. Expect Zendesk to suspend the "
        "subscriber too."
    )
    closed_too = True

    def what(self, inputs: Values) -> str:
        """Spam."""
        return "Marked as spam"

    def bulk(self, api: Api, params: Json, inputs: Values, step: str) -> Answer:
        """Mark these."""
        return api.put("tickets", "mark_many_as_spam", params=params, json={}, step=step)
