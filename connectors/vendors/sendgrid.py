"""Twilio SendGrid, API v3: e-mail from dynamic templates, and lists of Marketing Campaigns.

https://www.twilio.com/docs/sendgrid/api-reference. A mail carries no idempotency key and cannot be looked up without a paid
add-on, so it is never repeated blindly. Lists change by jobs, which are followed.
"""

from collections.abc import Iterable

from django import forms
from django.core.validators import RegexValidator
from requests.auth import AuthBase

from connectors.answers import Answer, query_of
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
    ObjectField,
    Pending,
    ProbeLine,
    Replay,
    SecretField,
    Values,
    account_choice,
    all_of,
    listed,
    object_in,
)
from connectors.choosing import email_in, require
from connectors.failures import Undocumented
from connectors.http import Api, or_none

API_VERSION = "v3"
HOSTS = {"global": f"https://api.sendgrid.com/{API_VERSION}", "eu": f"https://api.eu.sendgrid.com/{API_VERSION}"}
TEMPLATES_PER_PAGE, LISTS_PER_PAGE = 200, 1000  # the most that each allows
DOCS = "https://www.twilio.com/docs/sendgrid/api-reference"
ACTIVITY = "In SendGrid, open Activity and search for the address; the feed goes back a few days."
# The vendor's own description gives contacts and lists the global server only; that the EU has none is inferred from it.
GLOBAL_ONLY = "SendGrid keeps marketing lists in its global region only, and this connection is set to the EU."


# --- mail -----------------------------------------------------------------------------------------


class Mail(forms.Form):
    """Which mail."""

    template = CatalogueField("templates", label="Template", help_text="A dynamic template's active version.")
    template_data = ObjectField(
        label="Template data", required=False, help_text="For {{placeholders}}.", example='{"plan": "Premium"}'
    )
    group = CatalogueField(
        "groups",
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
    found = or_none(api.get, "templates", template)
    if found is None:
        return [f"SendGrid knows no template {template}."]
    if found["generation"] != "dynamic":
        return [f"{found['name']} is a legacy template; only dynamic ones can be sent."]
    if not has_active_version(found):
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
        return send(api, email_in(user), inputs)

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
        address = email_in(user)
        answer = api.post("asm", "suppressions", "global", json={"recipient_emails": [address]})
        shown = next((one for one in answer.texts("recipient_emails") if one.lower() == address.lower()), "")
        if not shown:
            raise Undocumented(f"SendGrid accepted the request, and does not show {address} as unsubscribed.")
        return f"{shown} gets no more mail from this account"


# --- lists ----------------------------------------------------------------------------------------


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
        answer = or_none(api.get, "marketing", "contacts", "imports", number)
        if answer is None:  # just accepted: not to be seen yet, until `settles_within` is over
            raise Undocumented(f"SendGrid does not show its job {number}.")
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


# --- catalogues -----------------------------------------------------------------------------------


def has_active_version(template: Answer) -> bool:
    """Whether a template can be sent: without an active version SendGrid delivers nothing."""
    return any(version.get("active") == 1 for version in template.rows("versions"))


dynamic = {"generations": "dynamic", "page_size": TEMPLATES_PER_PAGE}
templates = listed("templates", key="{id}", label="{name}", where=has_active_version, params=dynamic)
all_lists = listed("marketing", "lists", key="{id}", label="{name}", params={"page_size": LISTS_PER_PAGE})


def lists(api: Api) -> Iterable[Choice]:
    """Read the lists; the EU has none."""
    return all_lists(api) if has_lists(api) else ()


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
        "groups": Catalogue("Unsubscribe groups", listed("asm", "groups", key="{id}", label="{name}")),
    }
    base_urls, chosen_by = HOSTS, "region"
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

        region = account_choice(
            "Region",
            [("global", "Global"), ("eu", "EU")],
            help_text="Where the key was made; lists are in Global only.",
        )
        api_key = SecretField(label="API key", help_text="Begins with “SG.”; shown only once.", usual_length=69)
        from_email = forms.EmailField(label="Sender's address", help_text="Verified, or of a verified domain.")
        from_name = forms.CharField(label="Sender's name", required=False, max_length=100, help_text="What people see.")
        reply_to = forms.EmailField(label="Replies to", required=False, help_text="Empty: to the sender's address.")
        asm_group_id = forms.IntegerField(
            label="Unsubscribe group", required=False, min_value=1, help_text="Its number; an action may name another."
        )
        sandbox_mode = forms.BooleanField(
            label="Sandbox mode", required=False, help_text="Mails are checked, not delivered. Lists are still changed."
        )

    def environment(self, settings: Values) -> str:
        """Production, unless mails stay in the sandbox. It is none for `is_sandbox`: lists are changed all the same."""
        return "Undelivered" if settings.get("sandbox_mode") else "Production"

    def auth(self, settings: Values) -> AuthBase:
        """The key, on every call."""
        return HeaderKey("Authorization", settings["api_key"], "Bearer ")

    def probe(self, api: Api) -> list[ProbeLine]:
        """Ask what the key may do. UNVERIFIED: the scopes' names beyond mail.send, so their lack is said and fails nothing."""
        scopes = api.get("scopes").texts("scopes")
        may_send = "mail.send" in scopes
        words = "The key may send mail." if may_send else "The key may not send mail (scope mail.send)."
        lines = [ProbeLine(True, "SendGrid accepts the key."), ProbeLine(may_send, words)]
        for scope, lacking in (
            ("templates.read", "templates cannot be chosen"),
            ("marketing.read", "lists cannot be chosen"),
            ("marketing.update", "lists may not be changed"),
        ):
            if scope not in scopes:
                lines.append(ProbeLine(None, f"The key does not show the scope {scope}; without it {lacking}."))
        return lines

    def rows_of(self, page: Answer) -> list[Answer]:
        """Return a page's rows: in `result`, or, of the unsubscribe groups, the answer itself."""
        return page.rows("result") if isinstance(page.data, dict) else page.rows()

    def next_page(self, page: Answer, query: Values) -> Json | None:
        """`_metadata.next` is a whole URL, of which only the token counts."""
        metadata = page.get("_metadata")
        token = query_of(metadata.get("next")).get("page_token") if isinstance(metadata, Answer) else None
        return {**query, "page_token": token} if token not in {None, query.get("page_token")} else None
