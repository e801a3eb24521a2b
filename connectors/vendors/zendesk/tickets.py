"""Zendesk's tickets: one more, or all that somebody has. They change by jobs of a hundred, which are followed.

A job that is completed may hold tickets that it could not change. A ticket that is opened carries our reference as its
`external_id`.
"""

import re
from collections.abc import Sequence
from hashlib import sha256

from django import forms
from django.core.validators import RegexValidator

from connectors.answers import Answer
from connectors.base import Action, CatalogueField, Json, Pending, Replay, TemplateField, Values, if_known
from connectors.choosing import email_in, require
from connectors.failures import Rejected, Undocumented
from connectors.http import Api, or_none
from connectors.placeholders import fill_traits
from connectors.vendors.zendesk.users import DOCS, REQUESTER, known_id, user_of

BY_CURSOR = {"page[size]": 100}  # at most: https://developer.zendesk.com/api-reference/introduction/pagination/
TICKETS_AT_ONCE = 100  # https://developer.zendesk.com/api-reference/ticketing/tickets/tickets/#update-many-tickets
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
        subject, comment = fill_traits(inputs["subject"], user).strip(), fill_traits(inputs["comment"], user).strip()
        require(subject and comment, "The subject or the comment is empty once it is filled in.")
        ticket = {
            "subject": subject,
            "comment": {"body": comment, "public": bool(inputs["public"])},
            **requester(user),
            "external_id": api.tag,
            "priority": inputs["priority"],
            "status": inputs["status"],
            "group_id": number_in(inputs, "group_id"),
            "assignee_id": number_in(inputs, "assignee_id"),
            "tags": [tag for tag in re.split(r"[\s,]+", inputs["tags"]) if tag],
        }
        answer = api.post("tickets", json={"ticket": {name: value for name, value in ticket.items() if value}})
        opened = answer.part("ticket")
        return f"Ticket {opened.fill('{id}')} is open{link(api, opened)}"


def requester(user: Json) -> Json:
    """Return who asks, as a ticket has it. Zendesk looks an address up itself, and takes the name where it is a new one."""
    if "zendesk_id" in user:
        return {"requester_id": int(known_id(user))}
    address = email_in(user)
    names = [user.get(part) for part in ("first_name", "last_name")]
    name = " ".join(name.strip() for name in names if isinstance(name, str) and name.strip())
    return {"requester": {"name": name or address.partition("@")[0], "email": address}}


def link(api: Api, ticket: Answer) -> str:
    """Where an agent sees a ticket."""
    return f" (https://{host_of(api.settings)}/agent/tickets/{ticket.fill('{id}')})"


def number_in(inputs: Values, name: str) -> int | None:
    """Return a chosen id as the number that it is."""
    return int(inputs[name]) if inputs[name] else None


# --- all that somebody has ------------------------------------------------------------------------


class OnTickets(Action):
    """What is done to all tickets of a requester, a hundred at a time. Every job is named by its tickets.

    So a repeat after some of them were changed is another request, and is not taken for the first one.
    """

    needs = REQUESTER
    replay = Replay.CHECK
    replay_proof = f"{DOCS}/tickets/tickets/#list-tickets: the requester's tickets show it"
    check_at = "In Zendesk, open the customer's profile and look at the tickets."
    closed_too = False  # no closed ticket can be changed; it can be deleted

    def wish(self, inputs: Values) -> Json:
        """Return the members that the tickets should have. None: they should not be there."""
        return {}

    def what(self, inputs: Values) -> str:
        """Say what is wished, as a sentence begins."""
        return "; ".join(
            f"{name.removesuffix('_id').capitalize()} {value}" for name, value in self.wish(inputs).items()
        )

    def send(self, api: Api, ids: Sequence[str], wish: Json, step: str) -> Answer:
        """Change these tickets."""
        return api.put("tickets", "update_many", params={"ids": ",".join(ids)}, json={"ticket": wish}, step=step)

    def left(self, api: Api, requester: str, wish: Json) -> list[str]:
        """Return the tickets that are not as wished."""
        tickets = api.pages("users", requester, "tickets", "requested", params=BY_CURSOR, rows="tickets")
        return list(
            dict.fromkeys(
                row.fill("{id}")
                for row in tickets
                if (self.closed_too or row.text("status") != "closed")
                and (not wish or any(row[name] != value for name, value in wish.items()))
            )
        )

    def nothing_left(self, requester: str, inputs: Values) -> str:
        """Say that all is as wished."""
        return f"{self.what(inputs)}: nothing is left to do for user {requester}"

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """Nothing is left to do."""
        requester = user_of(api, user)
        left = self.left(api, requester, self.wish(inputs))
        return None if left else self.nothing_left(requester, inputs)

    def perform(self, api: Api, user: Json, inputs: Values) -> str | Pending:
        """Ask for it. Zendesk answers with jobs."""
        requester, wish = user_of(api, user), self.wish(inputs)
        left = self.left(api, requester, wish)
        if not left:
            return self.nothing_left(requester, inputs)
        jobs = []
        for first in range(0, len(left), TICKETS_AT_ONCE):
            ids = left[first : first + TICKETS_AT_ONCE]
            named = sha256(",".join(ids).encode()).hexdigest()[:16]
            jobs.append(self.send(api, ids, wish, f"tickets-{named}").part("job_status").text("id"))
        what = f"{self.what(inputs)}: {len(left)} {'ticket' if len(left) == 1 else 'tickets'}"
        job = {"jobs": jobs, "requester": requester, "wish": wish, "count": len(left), "what": what}
        return Pending(job, f"Zendesk has queued it ({what})")

    def follow_up(self, api: Api, job: Json) -> str | Pending:
        """Ask for the jobs. Where one does not say of every ticket that it succeeded, the tickets themselves are looked at."""
        shown = [self._shown(api, number) for number in job["jobs"]]
        if any(one["status"] in UNDER_WAY for one in shown):
            return Pending(job, f"Zendesk is at it ({job['what']})")
        rows = [row for one in shown for row in results_of(one)]
        if sum(row.get("success") is True for row in rows) >= job["count"]:
            return f"{job['what']} (job {', '.join(one.text('id') for one in shown)})"
        left = self.left(api, job["requester"], job["wish"])
        if not left:
            return f"{job['what']}, as the tickets show"
        told = [row.get(name) for row in rows if row.get("success") is not True for name in ("error", "details")]
        told += [one.get("message") for one in shown if one["status"] != "completed"]
        why = "; ".join(dict.fromkeys(words for words in told if isinstance(words, str) and words))[:500]
        some = ", ".join(left[:10]) + (", …" if len(left) > 10 else "")
        raise Rejected(f"{job['what']}. Zendesk left out {len(left)} ({some}): {why or 'it does not say why'}")

    def _shown(self, api: Api, number: str) -> Answer:
        answer = or_none(api.get, "job_statuses", number)
        if answer is None:  # just accepted, or older than the day for which Zendesk keeps one
            raise Undocumented(f"Zendesk does not show its job {number}.")
        shown = answer.part("job_status")
        shown.shows("status", *UNDER_WAY, *ENDED)
        return shown


def results_of(job: Answer) -> list[Answer]:
    """Return what a job says of each ticket; nothing where it says it in another way."""
    results = job.get("results")
    return (
        [row for row in results if isinstance(row, Answer)] if isinstance(getattr(results, "data", None), list) else []
    )


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

    def send(self, api: Api, ids: Sequence[str], wish: Json, step: str) -> Answer:
        """Delete these."""
        return api.delete("tickets", "destroy_many", params={"ids": ",".join(ids)}, step=step)


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

    def send(self, api: Api, ids: Sequence[str], wish: Json, step: str) -> Answer:
        """Mark these."""
        return api.put("tickets", "mark_many_as_spam", params={"ids": ",".join(ids)}, json={}, step=step)
