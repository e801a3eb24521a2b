"""Twilio SendGrid, API v3: e-mail from dynamic templates, and lists of Marketing Campaigns.

https://www.twilio.com/docs/sendgrid/api-reference. A mail carries no idempotency key and cannot be looked up without a paid
add-on, so it is never repeated blindly. Lists change by jobs, which are followed.
"""

import json
import math
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator, validate_email
from requests.auth import AuthBase

from connectors.answers import Answer
from connectors.auth import HeaderKey
from connectors.base import (
    NOTHING,
    Action,
    Catalogue,
    CatalogueField,
    Category,
    Choice,
    Connector,
    Json,
    Pending,
    ProbeLine,
    Replay,
    SecretField,
    Values,
    all_of,
    identity,
)
from connectors.failures import Failure, Rejected, Temporary, Undocumented
from connectors.http import Api

API_VERSION = "v3"
HOSTS = {
    "global": f"https://api.sendgrid.com/{API_VERSION}",
    "eu": f"https://api.eu.sendgrid.com/{API_VERSION}",
}
TEMPLATES_PER_PAGE, LISTS_PER_PAGE = 200, 1000  # the most that each allows
MOST_PAGES = 50
DOCS = "https://www.twilio.com/docs/sendgrid/api-reference"
ACTIVITY = "In SendGrid, open Activity and search for the address; the feed goes back a few days."
# The vendor's own description gives contacts and lists the global server only; that the EU has none is inferred from it.
GLOBAL_ONLY = "SendGrid keeps marketing lists in its global region only, and this connection is set to the EU."


def address_of(value: Any) -> str:
    """Return an e-mail address out of a trait or input; raise Rejected where it is none."""
    address = str(value).strip()
    try:
        validate_email(address)
    except ValidationError:
        raise Rejected("What is known as the e-mail address is none.") from None
    return address


def values_of(answer: Answer, name: str) -> list[str]:
    """Return a member that is a list of texts; raise Undocumented where it is anything else."""
    member = answer[name]
    if not isinstance(member, Answer):
        raise Undocumented(f"SendGrid answered with no list of {name}, as documented.")
    return [str(value) for value in member]


def text_of(answer: Answer, name: str) -> str:
    """Return a member that is a text with something in it; raise Undocumented where it is anything else."""
    if not isinstance(text := answer[name], str) or not text:
        raise Undocumented(f"SendGrid answered without the {name} that it documents.")
    return text


# --- mail -----------------------------------------------------------------------------------------


def object_in(text: str) -> Json:
    """Return the JSON object that a text holds; raise ValidationError where it holds none."""
    try:
        found = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValidationError('Write a JSON object, e.g. {"plan": "Premium"}.')
    return found


def check_object(text: str) -> None:
    """Raise ValidationError where a text holds no JSON object."""
    object_in(text)


def _no_number(name: str) -> float:
    raise ValueError(name)


class Mail(forms.Form):
    """Which mail."""

    template = CatalogueField(catalogue="templates", label="Template", help_text="A dynamic template's active version.")
    template_data = forms.CharField(
        label="Template data",
        required=False,
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 3}),
        validators=[check_object],
        help_text='Values for the template\'s {{placeholders}}, the same for everybody, as JSON: {"plan": "Premium"}.',
    )
    group = CatalogueField(
        catalogue="groups",
        label="Unsubscribe group",
        required=False,
        validators=[RegexValidator(r"^[0-9]{1,10}\Z", "An unsubscribe group is a number.")],
        help_text="Empty: the connection's group, if it has one.",
    )


def send(api: Api, to: str, inputs: Values) -> str:
    """Send a template to one address. SendGrid answers 202 without a body; the mail's id is in a header."""
    settings = api.settings
    person: Json = {"to": [{"email": to}]}
    if inputs.get("template_data"):
        person["dynamic_template_data"] = object_in(inputs["template_data"])
    sender = {"email": settings["from_email"], "name": settings.get("from_name")}
    mail: Json = {
        "personalizations": [person],
        "from": {name: value for name, value in sender.items() if value},
        "template_id": inputs["template"],
    }
    if settings.get("reply_to"):
        mail["reply_to"] = {"email": settings["reply_to"]}
    if group := inputs.get("group") or settings.get("asm_group_id"):
        mail["asm"] = {"group_id": int(group)}
    if settings.get("sandbox_mode"):
        mail["mail_settings"] = {"sandbox_mode": {"enable": True}}
    answer = api.post("mail", "send", json=mail)
    if settings.get("sandbox_mode"):
        # UNVERIFIED: 200 instead of 202, and no id; nothing is delivered, so either is as good.
        return f"SendGrid checked the mail to {to} and does not deliver it: sandbox mode (status {answer.status})"
    # UNVERIFIED: the vendor's machine-readable description does not name this header. Without it nothing proves a mail.
    number = str(answer.headers.get("X-Message-Id") or "").strip()
    if answer.status != 202 or not number:
        raise Undocumented("SendGrid accepted the mail, and gave it no X-Message-Id.")
    return f"SendGrid accepted the mail to {to} as {number}"


def template_problems(api: Api, inputs: Values) -> list[str]:
    """Look at the template: with an unknown one, or one without an active version, SendGrid answers 202 and delivers nothing.

    https://github.com/sendgrid/sendgrid-nodejs/issues/778
    """
    template = str(inputs.get("template") or "")
    if not template:
        return []
    try:
        found = api.get("templates", template)
    except Rejected as no:
        if no.status != 404:
            raise
        return [f"SendGrid knows no template {template}."]
    if found["generation"] != "dynamic":
        return [f"{found['name']} is a legacy template; only dynamic ones can be sent."]
    if not any(version.get("active") == 1 for version in found.rows("versions")):
        return [f"{found['name']} has no active version: SendGrid would accept the mail and not deliver it."]
    return []


class SendTemplate(Action):
    """A mail to the subscriber."""

    key, label = "send_template", "Send template"
    description = "Sends a dynamic template to the subscriber's e-mail address."
    needs = all_of("email_address")
    replay = Replay.NEVER
    replay_proof = f"{DOCS}/mail-send/mail-send: no idempotency key; every request is a mail"
    check_at = ACTIVITY

    class Inputs(Mail):
        """Which mail."""

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Send it."""
        return send(api, address_of(user["email_address"]), inputs)

    def check_inputs(self, api: Api, inputs: Values) -> list[str]:
        """Look at the template."""
        return template_problems(api, inputs)


class SendTemplateTo(SendTemplate):
    """A mail to an address that the person types, e.g. a friend's."""

    key, label = "send_template_to", "Send template to a typed address"
    description = "Sends a dynamic template to an address that the person enters into the prompt."
    needs = NOTHING
    # The address alone: whoever could also write into the mail could send anything to anybody in your name.
    from_browser = frozenset({"email"})

    class Inputs(Mail):
        """To whom, and which mail."""

        email = forms.EmailField(label="E-mail address", help_text="Where the mail goes.")
        field_order = ("email", "template", "template_data", "group")

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Send it."""
        return send(api, inputs["email"], inputs)


class Unsubscribe(Action):
    """No more mail for somebody."""

    key, label = "global_unsubscribe", "Unsubscribe from all mail"
    description = "Puts the subscriber's address on SendGrid's global unsubscribe list: no more mail from this account."
    needs = all_of("email_address")
    replay = Replay.NATURAL
    replay_proof = f"{DOCS}/suppressions-global-suppressions: an address is on the list or not"
    check_at = "In SendGrid, open Suppressions > Global Unsubscribes and search for the address."

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Put the address on the list."""
        address = address_of(user["email_address"])
        answer = api.post("asm", "suppressions", "global", json={"recipient_emails": [address]})
        listed = next((one for one in values_of(answer, "recipient_emails") if one.lower() == address.lower()), "")
        if not listed:
            raise Undocumented(f"SendGrid accepted the request, and does not show {address} as unsubscribed.")
        return f"{listed} gets no more mail from this account"


# --- lists ----------------------------------------------------------------------------------------


class ListAction(Action):
    """What has to do with one list."""

    needs = all_of("email_address")
    check_at = "In SendGrid, open Marketing > Contacts and search for the address."

    class Inputs(forms.Form):
        """Which list."""

        list_id = CatalogueField(catalogue="lists", label="List")

    def check_inputs(self, api: Api, inputs: Values) -> list[str]:
        """The region must have lists."""
        return [GLOBAL_ONLY] if api.settings["region"] == "eu" else []


def global_only(api: Api) -> None:
    """Raise Rejected where the region has no lists."""
    if api.settings["region"] == "eu":
        raise Rejected(GLOBAL_ONLY)


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
        global_only(api)
        contact = {"email": address_of(user["email_address"])}
        answer = api.put("marketing", "contacts", json={"list_ids": [inputs["list_id"]], "contacts": [contact]})
        job = text_of(answer, "job_id")
        return Pending({"job": job}, f"SendGrid has queued it (job {job})")

    def follow_up(self, api: Api, job: Json) -> str | Pending:
        """Ask for the job."""
        number = job["job"]
        try:
            answer = api.get("marketing", "contacts", "imports", number)
        except Rejected as no:
            if no.status == 404:  # just accepted: not to be seen yet, until `settles_within` is over
                raise Undocumented(f"SendGrid does not show its job {number}.") from None
            raise
        match answer["status"]:
            case "pending":
                return Pending(job, f"SendGrid has queued it (job {number})")
            case "completed":
                results = answer.get("results")
                if isinstance(results, Answer) and results.get("errored_count", 0) != 0:
                    raise Rejected(f"SendGrid could not add the contact (job {number}, errors in its results).")
                return f"The subscriber is on the list (job {text_of(answer, 'id')})"
            case "errored" | "failed" as ended:
                raise Rejected(f"SendGrid's job {number} has {ended}.")
            case other:
                raise Undocumented(f"SendGrid says {other!r} of its job, which its documentation does not.")


class ListRemove(ListAction):
    """Somebody off a list."""

    key, label = "list_remove", "Remove from list"
    description = "Takes the subscriber off a list of Marketing Campaigns; the contact itself stays."
    replay = Replay.CHECK
    replay_proof = f"{DOCS}/contacts/get-contacts-by-emails: list_ids shows it"

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """There is no such contact, or it is not on the list."""
        global_only(api)
        found = on_list(api, address_of(user["email_address"]), inputs["list_id"])
        return found if isinstance(found, str) else None

    def perform(self, api: Api, user: Json, inputs: Values) -> str | Pending:
        """Ask for it."""
        address, chosen = address_of(user["email_address"]), inputs["list_id"]
        contact = on_list(api, address, chosen)
        if isinstance(contact, str):
            return contact
        params = {"contact_ids": text_of(contact, "id")}
        job = text_of(api.delete("marketing", "lists", chosen, "contacts", params=params), "job_id")
        return Pending({"email": address, "list": chosen}, f"SendGrid has queued it (job {job})")

    def follow_up(self, api: Api, job: Json) -> str | Pending:
        """Look at the contact: SendGrid documents no question about a job of this kind."""
        found = on_list(api, job["email"], job["list"])
        return found if isinstance(found, str) else Pending(job, "SendGrid still shows the contact on the list")


def on_list(api: Api, address: str, chosen: str) -> Answer | str:
    """Return the contact where it is on the list, else the sentence that says why not. SendGrid keeps addresses lower-case."""
    email = address.lower()
    try:
        answer = api.read("marketing", "contacts", "search", "emails", json={"emails": [email]})
    except Rejected as no:
        if no.status != 404:
            raise
        return f"SendGrid has no contact {email}"
    row = answer["result"][email]
    if not isinstance(row, Answer):
        raise Undocumented("SendGrid answered the search with no object.")
    if row.get("error") and row.get("contact") is None:
        # Only the whole search's 404 is documented to mean "nobody".
        raise Undocumented(f"SendGrid could not look for {email}.")
    contact: Answer = row["contact"]
    if not isinstance(contact, Answer):
        raise Undocumented("SendGrid answered the search with no contact.")
    return contact if chosen in values_of(contact, "list_ids") else f"{email} is not on the list {chosen}"


# --- catalogues -----------------------------------------------------------------------------------


def pages(api: Api, *segments: str, **params: Any) -> Iterator[Answer]:
    """Read the rows of all pages. `_metadata.next` is a whole URL, of which only the token counts: its host is never followed."""
    for _ in range(MOST_PAGES):
        answer = api.get(*segments, params=params)
        yield from answer.rows("result")
        metadata = answer.get("_metadata")
        following = metadata.get("next") if isinstance(metadata, Answer) else None
        token = parse_qs(urlsplit(str(following or "")).query).get("page_token", [""])[0]
        if not token or token == params.get("page_token"):
            return
        params["page_token"] = token


def templates(api: Api) -> Iterator[Choice]:
    """Read the dynamic templates that have an active version."""
    for row in pages(api, "templates", generations="dynamic", page_size=TEMPLATES_PER_PAGE):
        if any(version.get("active") == 1 for version in row.rows("versions")):
            yield Choice(text_of(row, "id"), text_of(row, "name"))


def lists(api: Api) -> Iterator[Choice]:
    """Read the lists; the EU has none."""
    if api.settings["region"] == "eu":
        return
    for row in pages(api, "marketing", "lists", page_size=LISTS_PER_PAGE):
        yield Choice(text_of(row, "id"), text_of(row, "name"))


def groups(api: Api) -> Iterator[Choice]:
    """Read the unsubscribe groups, which come all at once."""
    for row in api.get("asm", "groups"):
        if not isinstance(row, Answer):
            raise Undocumented("SendGrid answered with no list of unsubscribe groups.")
        yield Choice(str(row["id"]), text_of(row, "name"))


class SendGrid(Connector):
    """E-mail by Twilio."""

    key, label, category = "sendgrid", "SendGrid", Category.CRM
    description = "Send a template, to the subscriber or to an address that the person enters; manage marketing lists."
    aliases = ("twilio", "email", "e-mail", "mail", "newsletter")
    docs_url = DOCS
    actions = (SendTemplate, SendTemplateTo, ListAdd, ListRemove, Unsubscribe)
    catalogues = {
        "templates": Catalogue("Templates", templates),
        "lists": Catalogue("Lists", lists),
        "groups": Catalogue("Unsubscribe groups", groups),
    }
    setup_steps = (
        "In SendGrid, verify the domain or the address that mail comes from (Settings > Sender Authentication).",
        "Open Settings > API Keys and create a key with restricted access to Mail Send, Template Engine and Marketing.",
        "For “Unsubscribe from all mail”, and to choose unsubscribe groups, give it access to Suppressions too.",
        "Paste the key, choose the region that it belongs to, and enter the sender.",
        "Test the connection, switch it to Active and save.",
        "Bring the subscribers' addresses into the trait email_address.",
    )

    class Settings(forms.Form):
        """Which account, and who writes."""

        region = identity(
            forms.ChoiceField(
                choices=[("global", "Global"), ("eu", "EU")],
                label="Region",
                help_text="Where the key was made. Marketing lists exist in the global region only.",
            )
        )
        api_key = SecretField(
            label="API key", help_text="Begins with “SG.”; shown once, when it is made.", usual_length=69
        )
        from_email = forms.EmailField(
            label="Sender's address", help_text="Verified in SendGrid, or of a verified domain."
        )
        from_name = forms.CharField(
            label="Sender's name", required=False, max_length=100, help_text="As people read it."
        )
        reply_to = forms.EmailField(label="Replies to", required=False, help_text="Empty: to the sender's address.")
        asm_group_id = forms.IntegerField(
            label="Unsubscribe group",
            required=False,
            min_value=1,
            help_text="The group's number (Suppressions > Unsubscribe Groups), for mails whose action names none.",
        )
        sandbox_mode = forms.BooleanField(
            label="Sandbox mode",
            required=False,
            help_text="Mails are checked and not delivered. Lists are still changed.",
        )

    def environment(self, settings: Values) -> str:
        """Production, unless mails stay in the sandbox. It is none for `is_sandbox`: lists are changed all the same."""
        return "Undelivered" if settings.get("sandbox_mode") else "Production"

    def base_url(self, settings: Values) -> str:
        """The region's host."""
        return HOSTS[settings["region"]]

    def auth(self, settings: Values) -> AuthBase:
        """The key, on every call."""
        return HeaderKey("Authorization", settings["api_key"], "Bearer ")

    def probe(self, api: Api) -> list[ProbeLine]:
        """Ask what the key may do. UNVERIFIED: the scopes' names beyond mail.send, so their lack is said and fails nothing."""
        scopes = values_of(api.get("scopes"), "scopes")
        may_send = "mail.send" in scopes
        lines = [
            ProbeLine(True, "SendGrid accepts the key."),
            ProbeLine(
                may_send, "The key may send mail." if may_send else "The key may not send mail (scope mail.send)."
            ),
        ]
        for scope, lacking in (
            ("templates.read", "templates cannot be chosen"),
            ("marketing.read", "lists cannot be chosen"),
            ("marketing.update", "lists may not be changed"),
        ):
            if scope not in scopes:
                lines.append(ProbeLine(None, f"The key does not show the scope {scope}; without it {lacking}."))
        return lines

    def failure(self, answer: Answer) -> Failure | None:
        """Read a refusal: `{errors: [{message, field}]}`, where `field` may be null or the text "null"."""
        if answer.status == 429 and not answer.headers.get("Retry-After"):
            # The documented wish is X-RateLimit-Reset, in seconds of Unix time.
            return Temporary("SendGrid asks us to slow down.", after=_until(answer), sent=False)
        if answer.status < 400 or answer.status in {401, 408, 425, 429} or answer.status >= 500:
            return None
        errors = answer.get("errors")
        listed = list(errors) if isinstance(errors, Answer) and isinstance(errors.data, list) else []
        words = [
            _words(error) for error in listed if isinstance(error, Answer) and isinstance(error.get("message"), str)
        ]
        return Rejected(f"SendGrid refused: {'; '.join(words)[:500]}") if words else None


def _words(error: Answer) -> str:
    field = error.get("field")
    named = f" ({field})" if isinstance(field, str) and field not in {"", "null"} else ""
    return f"{error.get('message')}{named}"


def _until(answer: Answer) -> float | None:
    """Seconds until the rate limit's window is over, at most a day."""
    try:
        seconds = float(answer.headers.get("X-RateLimit-Reset") or "") - time.time()
    except ValueError:
        return None
    return min(max(seconds, 0.0), 86_400.0) if math.isfinite(seconds) else None
