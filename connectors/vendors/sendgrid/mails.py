"""Mails from dynamic templates. A mail carries no idempotency key, and none can be looked up without a paid add-on."""

from django import forms
from django.core.validators import RegexValidator

from connectors.answers import Answer
from connectors.base import (
    NOTHING,
    Action,
    CatalogueField,
    Json,
    ObjectField,
    Replay,
    Values,
    all_of,
    object_in,
)
from connectors.bodies import without_empty
from connectors.choosing import email_in
from connectors.failures import Undocumented
from connectors.http import Api, or_none

DOCS = "https://www.twilio.com/docs/sendgrid/api-reference"
CHECK_AT = "In SendGrid, open Activity and search for the address; the feed goes back a few days."


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
    data, group = inputs.get("template_data"), inputs.get("group") or settings.get("asm_group_id")
    person = {"to": [{"email": to}], "dynamic_template_data": object_in(data) if data else None}
    mail = {
        "personalizations": [without_empty(person)],
        "from": without_empty({"email": settings["from_email"], "name": settings.get("from_name")}),
        "reply_to": without_empty({"email": settings.get("reply_to")}),
        "template_id": inputs["template"],
        "asm": {"group_id": int(group)} if group else None,
        "mail_settings": {"sandbox_mode": {"enable": True}} if settings.get("sandbox_mode") else None,
    }
    answer = api.post("mail", "send", json=without_empty(mail))
    if settings.get("sandbox_mode"):
        # UNVERIFIED: 200 instead of 202, and no id; nothing is delivered, so either is as good.
        return f"SendGrid checked the mail to {to} and does not deliver it: sandbox mode (status {answer.status})"
    # UNVERIFIED: the vendor's machine-readable description does not name this header. Without it nothing proves a mail.
    number = str(answer.headers.get("X-Message-Id") or "").strip()
    if answer.status != 202 or not number:
        raise Undocumented("SendGrid accepted the mail, and gave it no X-Message-Id.")
    return f"SendGrid accepted the mail to {to} as {number}"


def has_active_version(template: Answer) -> bool:
    """Whether a template can be sent: without an active version SendGrid delivers nothing."""
    return any(version.get("active") == 1 for version in template.rows("versions"))


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
    check_at = CHECK_AT

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
