"""E-mail over a mail server of the company's own (SMTP, RFC 5321).

SMTP has no key by which a server recognises a repeat, and no question whether it has a mail: one that was handed over and not
confirmed is never sent again blindly (RFC 1047). Its Message-ID is the execution's, so that it can be looked for.
"""

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from hashlib import sha256
from html import escape

from django import forms
from django.core.validators import RegexValidator
from requests.auth import AuthBase

from connectors.addresses import listed
from connectors.answers import Answer
from connectors.auth import NoAuth
from connectors.base import (
    NOTHING,
    Action,
    Category,
    Connector,
    Json,
    ProbeLine,
    Replay,
    SecretField,
    Support,
    TemplateField,
    Values,
    account_choice,
    all_of,
    identity,
)
from connectors.choosing import email_in, require, text_in
from connectors.failures import Failure
from connectors.http import Api
from connectors.placeholders import fill_traits
from connectors.smtp import PLAIN, RECIPIENTS, SENDER, STARTTLS, TLS, SignIn, Smtp, refusal

# What an envelope carries without quotes and without SMTPUTF8 (RFC 6531), which many servers lack.
ADDRESS = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+"
IS_PLAIN = RegexValidator(rf"^{ADDRESS}\Z", "Write it in plain letters, e.g. ann@example.com.")
PORTS = {STARTTLS: 587, TLS: 465, PLAIN: 25}
IN_A_LINE = 200  # characters of a subject once it is filled in
UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})  # Unicode's categories: control characters, half characters, line ends


class Mail(forms.Form):
    """What is written."""

    subject = TemplateField(label="Subject", rows=1, max_length=IN_A_LINE, help_text="One line.")
    text = TemplateField(label="Text", rows=8, help_text="The mail as plain text.")
    html = TemplateField(
        label="HTML",
        rows=8,
        required=False,
        help_text="The same as HTML, for mail programs that show it; values of traits stand in it as text.",
    )
    copy_to = forms.EmailField(
        label="Hidden copy to", required=False, validators=[IS_PLAIN], help_text="Who gets the mail, too, unseen."
    )


def send(api: Api, to: str, user: Json, inputs: Values) -> str:
    """Hand one mail over. The words of the server stand in the answer: mostly the number under which its log knows it."""
    mail = written(api, to, user, inputs)
    recipients = dict.fromkeys(filter(None, (to, inputs.get("copy_to"))))
    envelope = {RECIPIENTS: " ".join(recipients)}
    answer = api.write("SEND", headers=envelope, mail=mail)
    return f"{answer['server']} accepted the mail to {to}: {answer['said'] or answer.status}"


def written(api: Api, to: str, user: Json, inputs: Values) -> str:
    """Return the mail as it goes over the wire.

    Raises:
        Rejected: a value of a trait would make something else of it than a mail with these headers.

    """
    settings, sender = api.settings, api.settings["from_email"]
    subject = fill_traits(inputs["subject"], user)
    text, html = fill_traits(inputs["text"], user), fill_traits(inputs.get("html") or "", escaped(user))
    require(is_a_line(subject), "Filled in, the subject holds a line break or a control character.")
    require(subject.strip(), "The subject is empty once it is filled in.")
    require(all(map(is_text, (text, html))), "Filled in, the mail holds a character that is none.")
    number = f"{'-'.join(api.tag.split())}@{sender.rpartition('@')[2]}"
    mail = EmailMessage(SMTP.clone(cte_type="7bit"))  # for servers without 8BITMIME (RFC 6152)
    mail["From"] = Address(settings.get("from_name") or "", addr_spec=sender)
    mail["To"] = Address(addr_spec=to)
    mail["Subject"] = subject
    if settings.get("reply_to"):
        mail["Reply-To"] = Address(addr_spec=settings["reply_to"])
    mail["Date"] = datetime.now(UTC)
    mail["Message-ID"] = f"<{number}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: so that no absence notice answers it
    mail.set_content(text)
    if html:
        mail.add_alternative(html, subtype="html")
        mail.set_boundary(f"engage-{sha256(number.encode()).hexdigest()[:32]}")
    return mail.as_bytes().decode("ascii")


def is_a_line(text: str) -> bool:
    """Whether a header can carry a text: one with a line end in it would begin another header."""
    return not any(unicodedata.category(character) in UNFIT for character in text)


def is_text(text: str) -> bool:
    """Whether a body can carry a text."""
    return not any(unicodedata.category(one) == "Cs" or (one < " " and one not in "\t\r\n") for one in text)


def escaped(user: Json) -> Json:
    """Return traits as HTML has them."""
    return {name: escape(value) if isinstance(value, str) else value for name, value in user.items()}


class SendEmail(Action):
    """A mail to the subscriber."""

    key, label = "send_email", "Send e-mail"
    description = "Sends a mail to the subscriber's address."
    needs = all_of("email_address")
    replay = Replay.NEVER
    replay_proof = "https://www.rfc-editor.org/rfc/rfc1047: a mail that was not confirmed may have been delivered"
    check_at = "In your mail server's log, search for the Message-ID that the request shows, or for the recipient."

    class Inputs(Mail):
        """What is written."""

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Send it."""
        address = {"email_address": email_in(user)}
        return send(api, text_in(address, "email_address", ADDRESS, "address of plain letters"), user, inputs)


class SendEmailTo(SendEmail):
    """A mail to an address of the designer's, or one that the person types, e.g. a friend's."""

    key, label = "send_email_to", "Send e-mail to an address"
    description = "Sends a mail to an address that you enter here, e.g. your team's, or that the person enters."
    needs = NOTHING
    # The address alone: whoever could also write into the mail could send anything to anybody in your name.
    from_browser = frozenset({"to"})

    class Inputs(Mail):
        """To whom, and what is written."""

        to = forms.EmailField(label="To", validators=[IS_PLAIN], help_text="Where the mail goes.")
        field_order = ("to", "subject", "text", "html", "copy_to")

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Send it."""
        return send(api, inputs["to"], user, inputs)


class Email(Connector):
    """Mail. Built in, since every prompt may want to send one; the server is the company's own."""

    key, label, category = "smtp", "E-mail", Category.BUILT_IN
    description = "Send mails through your own mail server, to the subscriber or to an address of yours."
    aliases = ("smtp", "email", "mail", "message")
    support = Support.CONTRACT
    docs_url = "https://www.rfc-editor.org/rfc/rfc5321"
    actions = (SendEmail, SendEmailTo)
    timeout = 20.0  # RFC 5321, 4.5.3.2.6, asks for 10 minutes at the end of a mail; an attempt has 30 seconds in all
    protocols = {f"{scheme}://": Smtp for scheme in PORTS}
    setup_steps = (
        "Ask your mail provider for the server that takes mail from programs (“SMTP relay” or “submission”), its port, and a user.",
        "Enter them here, with the address that mail comes from. The server must be allowed to send for its domain (SPF, DKIM).",
        "Test the connection, switch it to Active and save.",
        "Bring the subscribers' addresses into the trait email_address.",
    )

    class Settings(forms.Form):
        """Which server, and who writes."""

        host = identity(
            forms.RegexField(
                r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?\Z",
                label="Server",
                help_text="Its name, e.g. smtp.example.com. One on a private network is listed by the operator first.",
            )
        )
        security = account_choice(
            "Encryption",
            [(STARTTLS, "STARTTLS (usually port 587)"), (TLS, "TLS (usually port 465)"), (PLAIN, "None")],
            help_text="None only for a server that the operator has listed: everybody on the way reads what is sent.",
        )
        port = identity(
            forms.IntegerField(
                label="Port", required=False, min_value=1, max_value=65_535, help_text="Empty: the usual one."
            )
        )
        user = identity(
            forms.CharField(label="User name", required=False, max_length=200, help_text="Empty: no sign-in.")
        )
        password = SecretField(label="Password", goes_with="user", help_text="Of this user; or an app password.")
        from_email = forms.EmailField(
            label="Sender's address", validators=[IS_PLAIN], help_text="The server must let this user send for it."
        )
        from_name = forms.CharField(
            label="Sender's name",
            required=False,
            max_length=100,
            help_text="What people see.",
            validators=[RegexValidator(r"^[^\x00-\x1f\x7f\u2028\u2029]*\Z", "One line, without control characters.")],
        )
        reply_to = forms.EmailField(
            label="Replies to", required=False, validators=[IS_PLAIN], help_text="Empty: to the sender's address."
        )

        def clean(self) -> Json:
            """Nothing in the clear, unless the operator listed the server."""
            cleaned: Json = super().clean() or self.cleaned_data
            if cleaned.get("security") == PLAIN and not listed(cleaned.get("host", ""), port_of(cleaned)):
                self.add_error(
                    "security", "This server is not listed (ENGAGE_PRIVATE_HOSTS), so choose STARTTLS or TLS."
                )
            return cleaned

    def base_url(self, settings: Values) -> str:
        """The server, and how it is spoken to."""
        return f"{settings['security']}://{settings['host']}:{port_of(settings)}"

    def auth(self, settings: Values) -> AuthBase:
        """User and password, where there are any."""
        return SignIn(settings["user"], settings["password"]) if settings.get("user") else NoAuth()

    def headers(self, settings: Values) -> Mapping[str, str]:
        """The envelope's sender."""
        return {SENDER: settings["from_email"]}

    def probe(self, api: Api) -> list[ProbeLine]:
        """Sign in, name the sender and take it back: nothing is sent."""
        answer = api.get()
        who = f"{api.settings['user']} signs in to" if api.settings.get("user") else "Without a sign-in,"
        sender = api.settings["from_email"]
        return [
            ProbeLine(True, f"{who} {answer['server']}, which takes mail from {sender}."),
            ProbeLine(None, "Whether mail arrives cannot be tested without sending one."),
        ]

    def failure(self, answer: Answer) -> Failure | None:
        """As the server's reply says."""
        return refusal(answer)


def port_of(settings: Values) -> int:
    """Return the server's port."""
    return int(settings.get("port") or PORTS[settings["security"]])
