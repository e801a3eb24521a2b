"""Freshdesk's tickets: one more, or all that somebody has. They change by jobs, which are followed.

A ticket that is opened carries our reference among its tags.
"""

from collections.abc import Iterable, Sequence

from django import forms
from django.core.validators import RegexValidator
from django.utils.html import escape

from connectors import help_desks
from connectors.answers import Answer
from connectors.base import (
    Action,
    CatalogueField,
    Json,
    ObjectField,
    Replay,
    TemplateField,
    Values,
    if_known,
    object_in,
)
from connectors.bodies import without_empty
from connectors.choosing import email_in, filled_in
from connectors.failures import Undocumented
from connectors.http import Api, shown
from connectors.vendors.freshdesk.contacts import DOCS, REQUESTER, contact_of, known_id

# Without it a list has the last 30 days only: https://developers.freshdesk.com/api/#list_all_tickets
OF_ALL_TIMES = {"updated_since": "2000-01-01T00:00:00Z"}
UNDER_WAY, ENDED = ("QUEUED", "IN_PROGRESS"), ("COMPLETED", "FAILED")
LONGEST_TAG = 32
NUMBER = RegexValidator(r"^[0-9]{1,19}\Z", "Freshdesk's ids are numbers.")
PRIORITIES = [("1", "Low"), ("2", "Medium"), ("3", "High"), ("4", "Urgent")]
SOURCES = [
    ("1", "E-mail"),
    ("2", "Portal"),
    ("3", "Phone"),
    ("7", "Chat"),
    ("9", "Feedback widget"),
    ("10", "Outbound e-mail"),
]
OPEN, LOW, PORTAL = 2, 1, 2  # what a ticket is where nothing else is chosen: the vendor's defaults


def host_of(settings: Values) -> str:
    """Return the account's host, of which people may enter the first part alone, or a URL."""
    return (
        f"{settings['domain'].removeprefix('https://').removesuffix('/').removesuffix('.freshdesk.com')}.freshdesk.com"
    )


# --- one more -------------------------------------------------------------------------------------


class CreateTicket(Action):
    """Open a ticket."""

    key, label = "create_ticket", "Create support ticket with notification of offer acceptance"
    description = (
        "Opens a ticket in the subscriber's name. Somebody whom Freshdesk does not know becomes a contact there."
    )
    needs = REQUESTER & if_known("first_name", "last_name")
    replay = Replay.CHECK
    replay_proof = f"{DOCS}/#list_all_tickets: our tag finds the ticket again among the requester's"
    check_at = "In Freshdesk, open the contact's tickets and look for one with the tag that the request shows."

    class Inputs(forms.Form):
        """What the ticket says, and who gets it."""

        subject = TemplateField(rows=1, max_length=200, label="Subject", help_text="The ticket's title.")
        description = TemplateField(label="Description", help_text="What the agent reads, as plain text.")
        priority = forms.ChoiceField(choices=[("", "Low"), *PRIORITIES[1:]], required=False, label="Priority")
        status = CatalogueField(
            "statuses", required=False, validators=[NUMBER], label="Status", help_text="Empty: open."
        )
        group_id = CatalogueField("groups", required=False, validators=[NUMBER], label="Group")
        responder_id = CatalogueField("agents", required=False, validators=[NUMBER], label="Agent")
        tags = forms.CharField(required=False, max_length=500, label="Tags", help_text="With commas between them.")
        custom_fields = ObjectField(
            label="Custom fields",
            required=False,
            help_text="What your account asks for besides.",
            example='{"cf_order_number": "98765"}',
        )

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """Look for our tag among what the requester has asked for in the last 30 days. Nobody there yet: no ticket either.

        Any contact counts that the address finds, whichever of its addresses it is: that is where a ticket would be.
        """
        if "freshdesk_id" in user:
            requesters = [known_id(user)]
        else:
            requesters = [row.fill("{id}") for row in api.pages("contacts", params={"email": email_in(user)})]
        for requester in requesters:
            for row in api.pages("tickets", params={"requester_id": requester}):
                if tag_of(api) in tags_of(api, row):
                    return f"Ticket {row.fill('{id}')} is open{link(api, row)}"
        return None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Open it."""
        text = filled_in(inputs["description"], user, "description")
        ticket = {
            "subject": filled_in(inputs["subject"], user, "subject"),
            "description": escape(text).replace("\n", "<br>"),
            **requester(user),
            "status": int(inputs["status"] or OPEN),
            "priority": int(inputs["priority"] or LOW),
            "source": PORTAL,
            "group_id": help_desks.number_in(inputs, "group_id"),
            "responder_id": help_desks.number_in(inputs, "responder_id"),
            "tags": [*filter(None, (tag.strip() for tag in inputs["tags"].split(","))), tag_of(api)],
            "custom_fields": object_in(inputs["custom_fields"] or "{}"),
        }
        opened = api.post("tickets", json=without_empty(ticket))
        return f"Ticket {opened.fill('{id}')} is open{link(api, opened)}"


def requester(user: Json) -> Json:
    """Return who asks, as a ticket has it."""
    if "freshdesk_id" in user:
        return {"requester_id": int(known_id(user))}
    return {"email": email_in(user), "name": help_desks.name_of(user)}


def tag_of(api: Api) -> str:
    """Return our reference as a tag, as long as one may be."""
    return f"engage-{api.tag.replace('-', '')[7 - LONGEST_TAG :]}"


def tags_of(api: Api, ticket: Answer) -> list[str]:
    """Return a ticket's tags; the vendor's example of a list shows none, and that of a ticket does (UNVERIFIED)."""
    known = ticket if ticket.get("tags") is not None else api.get("tickets", ticket.fill("{id}"))
    return known.texts("tags")


def link(api: Api, ticket: Answer) -> str:
    """Where an agent sees a ticket. UNVERIFIED: the form of the address."""
    return f" (https://{host_of(api.settings)}/a/tickets/{ticket.fill('{id}')})"


# --- all that somebody has ------------------------------------------------------------------------


class OnTickets(help_desks.OnTickets):
    """What is done to all tickets of a contact."""

    needs = REQUESTER
    replay_proof = f"{DOCS}/#list_all_tickets: the requester's tickets show it"
    check_at = "In Freshdesk, open the contact and look at the tickets."
    # How many one request may name is not stated (UNVERIFIED); public scripts send a hundred.
    tickets_at_once, requesters = 100, "contact"
    path = "bulk_update"

    def requester(self, api: Api, user: Json) -> str:
        """The contact."""
        return contact_of(api, user)

    def tickets(self, api: Api, requester: str) -> Iterable[Answer]:
        """The contact's tickets. Those in the trash or among spam are in no list, nor are archived ones."""
        return api.pages("tickets", params={"requester_id": requester, **OF_ALL_TIMES})

    def send(self, api: Api, ids: Sequence[int], inputs: Values, step: str) -> str:
        """Ask for a job."""
        body = {"bulk_action": {"ids": list(ids), **self.properties(inputs)}}
        return api.post("tickets", self.path, json=body, step=step).fill("{job_id}")

    def job(self, api: Api, number: str) -> Answer:
        """A job, which says nothing of single tickets."""
        return shown(api, f"job {number}", "jobs", number)

    def has_ended(self, job: Answer) -> bool:
        """UNVERIFIED: the words for its ends; any other one is asked about again."""
        state = job.text("status").upper().replace(" ", "_")
        if state not in {*UNDER_WAY, *ENDED}:
            raise Undocumented(f"Freshdesk's job is in a state that is not documented: {state[:40]}.")
        return state in ENDED

    def wish(self, inputs: Values) -> Json:
        """The inputs are the members."""
        return {name: int(value) for name, value in inputs.items() if name in self.Inputs.base_fields}

    def properties(self, inputs: Values) -> Json:
        """Return what is sent of them."""
        return {"properties": self.wish(inputs)}


class SetPriority(OnTickets):
    """Their priority."""

    key, label = "set_priority", "Set priority of all existing tickets"
    description = "Sets the priority of all tickets that the subscriber has asked for."

    class Inputs(forms.Form):
        """Which one."""

        priority = forms.ChoiceField(choices=PRIORITIES, label="Priority")


class SetStatus(OnTickets):
    """Their status."""

    key, label = "set_status", "Set status of all existing tickets"
    description = (
        "Sets the status of all tickets that the subscriber has asked for. Those that lack a required field are named."
    )

    class Inputs(forms.Form):
        """Which one."""

        status = CatalogueField("statuses", validators=[NUMBER], label="Status")
        quietly = forms.BooleanField(required=False, label="Do not notify the customer of tickets that are closed")

    def wish(self, inputs: Values) -> Json:
        """The status."""
        return {"status": int(inputs["status"])}

    def properties(self, inputs: Values) -> Json:
        """The status, and whether it is told."""
        quietly = {"skip_close_notification": True} if inputs["quietly"] else {}
        return {"properties": {**self.wish(inputs), **quietly}}


class SetResponder(OnTickets):
    """Their agent."""

    key, label = "set_responder", "Assign all existing tickets to a specific agent"
    description = "Gives all tickets that the subscriber has asked for to one agent."

    class Inputs(forms.Form):
        """Who."""

        responder_id = CatalogueField("agents", validators=[NUMBER], label="Agent")


class SetGroup(OnTickets):
    """Their group."""

    key, label = "set_group", "Assign all existing tickets to a group"
    description = "Gives all tickets that the subscriber has asked for to one group."

    class Inputs(forms.Form):
        """Which one."""

        group_id = CatalogueField("groups", validators=[NUMBER], label="Group")


class SetSource(OnTickets):
    """Where they say to come from."""

    key, label = "set_source", "Set source of all existing tickets"
    description = "Sets the source of all tickets that the subscriber has asked for."

    class Inputs(forms.Form):
        """Which one."""

        source = forms.ChoiceField(choices=SOURCES, label="Source")


class DeleteAllTickets(OnTickets):
    """They go to the trash."""

    key, label = "delete_all_tickets", "Delete all tickets (to the trash)"
    description = (
        "Moves all tickets that the subscriber has asked for to the trash, from which agents can restore them."
    )
    path = "bulk_delete"

    def properties(self, inputs: Values) -> Json:
        """Nothing besides."""
        return {}

    def what(self, inputs: Values) -> str:
        """Where they are."""
        return "In the trash"
