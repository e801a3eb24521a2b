"""Lists of Marketing Campaigns, which change by jobs that are followed."""

from django import forms

from connectors.answers import Answer
from connectors.base import Action, CatalogueField, Json, Pending, Replay, Values, all_of
from connectors.choosing import email_in, require
from connectors.http import Api, or_none, shown
from connectors.vendors.sendgrid.mails import DOCS

# The vendor's own description gives contacts and lists the global server only; that the EU has none is inferred from it.
GLOBAL_ONLY = "SendGrid keeps marketing lists in its global region only, and this connection is set to the EU."


class ListAction(Action):
    """What has to do with one list."""

    needs = all_of("email_address")
    check_at = "In SendGrid, open Marketing > Contacts and search for the address."

    class Inputs(forms.Form):
        """Which list."""

        list_id = CatalogueField("lists", label="List")

    def check_inputs(self, api: Api, inputs: Values) -> list[str]:
        """The region must have lists."""
        return [] if has_lists(api) else [GLOBAL_ONLY]


def has_lists(api: Api) -> bool:
    """Whether the account's region has lists."""
    return bool(api.settings["region"] != "eu")


class ListAdd(ListAction):
    """Somebody onto a list."""

    key, label = "list_add", "Add to list"
    description = (
        "Adds the subscriber to a list of Marketing Campaigns. SendGrid does it a little later; we look until it has."
    )
    replay = Replay.NATURAL
    replay_proof = f"{DOCS}/contacts/add-or-update-a-contact: an upsert"

    def perform(self, api: Api, user: Json, inputs: Values) -> Pending:
        """Ask for it. The address is the only identifier that is sent: others of a contact are not ours to know."""
        require(has_lists(api), GLOBAL_ONLY)
        contact = {"email": email_in(user)}
        answer = api.put("marketing", "contacts", json={"list_ids": [inputs["list_id"]], "contacts": [contact]})
        job = answer.text("job_id")
        return Pending({"job": job}, f"SendGrid has queued it (job {job})")

    def follow_up(self, api: Api, job: Json) -> str | Pending:
        """Ask for the job."""
        number = job["job"]
        answer = shown(api, f"job {number}", "marketing", "contacts", "imports", number)
        status = answer.shows("status", "pending", "completed", "errored", "failed")
        if status == "pending":
            return Pending(job, f"SendGrid has queued it (job {number})")
        require(status == "completed", f"SendGrid's job {number} has {status}.")
        results = answer.get("results")
        has_errors = isinstance(results, Answer) and results.get("errored_count", 0) != 0
        require(not has_errors, f"SendGrid could not add the contact (job {number}, errors in its results).")
        return f"The subscriber is on the list (job {answer.text('id')})"


class ListRemove(ListAction):
    """Somebody off a list."""

    key, label = "list_remove", "Remove from list"
    description = "Takes the subscriber off a list of Marketing Campaigns; the contact itself stays."
    replay = Replay.CHECK
    replay_proof = f"{DOCS}/contacts/get-contacts-by-emails: list_ids shows it"

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """There is no such contact, or it is not on the list."""
        require(has_lists(api), GLOBAL_ONLY)
        found = on_list(api, email_in(user), inputs["list_id"])
        return found if isinstance(found, str) else None

    def perform(self, api: Api, user: Json, inputs: Values) -> str | Pending:
        """Ask for it."""
        address, chosen = email_in(user), inputs["list_id"]
        contact = on_list(api, address, chosen)
        if isinstance(contact, str):
            return contact
        params = {"contact_ids": contact.text("id")}
        job = api.delete("marketing", "lists", chosen, "contacts", params=params).text("job_id")
        return Pending({"email": address, "list": chosen}, f"SendGrid has queued it (job {job})")

    def follow_up(self, api: Api, job: Json) -> str | Pending:
        """Look at the contact: SendGrid documents no question about a job of this kind."""
        found = on_list(api, job["email"], job["list"])
        return found if isinstance(found, str) else Pending(job, "SendGrid still shows the contact on the list")


def on_list(api: Api, address: str, chosen: str) -> Answer | str:
    """Return the contact where it is on the list, else the sentence that says why not. SendGrid keeps addresses lower-case."""
    email = address.lower()
    answer = or_none(api.read, "marketing", "contacts", "search", "emails", json={"emails": [email]})
    if answer is None:  # only the whole search's 404 is documented to mean "nobody"
        return f"SendGrid has no contact {email}"
    contact = answer.part("result").part(email).part("contact")
    return contact if chosen in contact.texts("list_ids") else f"{email} is not on the list {chosen}"
