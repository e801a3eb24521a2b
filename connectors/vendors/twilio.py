"""Twilio Programmable Messaging, API 2010-04-01: text messages.

https://www.twilio.com/docs/messaging/api/message-resource

A message carries no idempotency key, so one whose answer was lost is never sent again blindly. Twilio's 201 means "queued": what
became of a message is asked afterwards.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from django import forms
from django.core.validators import RegexValidator, URLValidator
from requests.auth import AuthBase, HTTPBasicAuth

from connectors.answers import Answer, query_of, words_of
from connectors.base import (
    NOTHING,
    WRITING_UNTESTED,
    Action,
    Catalogue,
    CatalogueField,
    Category,
    Choice,
    Connector,
    Json,
    PatternField,
    Pending,
    ProbeLine,
    Replay,
    SecretField,
    Support,
    TemplateField,
    Values,
    account_choice,
    all_of,
    busy,
    identity,
)
from connectors.choosing import filled_in, require, text_in
from connectors.failures import Rejected, Undocumented
from connectors.http import Api, shown

API_VERSION = "2010-04-01"
MESSAGING_VERSION = "v1"
DOCS = "https://www.twilio.com/docs/messaging/api/message-resource"
# https://www.twilio.com/docs/global-infrastructure/understanding-twilio-regions: {product}.{edge}.{region}.twilio.com
PLACES = {"us1": "twilio.com", "ie1": "dublin.ie1.twilio.com", "au1": "sydney.au1.twilio.com"}
LONGEST_TEXT = 1600  # characters: Body, in the vendor's description of the resource
SERVICES_PER_PAGE, NUMBERS_PER_PAGE = 50, 100
E164 = r"\+[1-9][0-9]{6,14}"  # ITU-T E.164: at most 15 digits; no country has numbers of fewer than seven
SENDER = rf"^({E164}|[0-9]{{3,8}}|MG[0-9a-fA-F]{{32}}|(?=.*[A-Za-z])[A-Za-z0-9 ]{{1,11}})\Z"
# https://www.twilio.com/docs/messaging/api/message-resource#message-status-values
UNDER_WAY = ("accepted", "scheduled", "queued", "sending")
ARRIVED = ("delivered", "read", "partially_delivered")
LOST = ("failed", "undelivered", "canceled")
RECEIPT_WITHIN = timedelta(minutes=10)  # after this a carrier that confirms deliveries has done so; many never do
TEST_CREDENTIALS = "20008"  # https://www.twilio.com/docs/api/errors/20008: not accessible with test account credentials
QUEUE_FULL = "21611"  # https://www.twilio.com/docs/api/errors/21611: too many messages of this sender are waiting


class Text(forms.Form):
    """What is said, and by whom."""

    text = TemplateField(
        label="Text",
        max_length=LONGEST_TEXT,
        help_text=f"At most {LONGEST_TEXT} characters once it is filled in. Twilio bills segments of 160 characters, or of 70 as "
        "soon as one of them is no plain letter (an emoji, say).",
    )
    media_url = forms.URLField(
        label="Picture",
        required=False,
        assume_scheme="https",
        validators=[URLValidator(["https"])],
        help_text="The public address of a picture that is sent along (MMS: United States and Canada).",
    )
    sender = CatalogueField(
        "senders",
        label="Sender",
        required=False,
        validators=[RegexValidator(SENDER, "It is no sender: neither a number, a name nor a messaging service.")],
        help_text="Empty: the one of the connection's settings.",
    )


def send(api: Api, to: str, user: Json, inputs: Values) -> Pending:
    """Send one message. Twilio answers 201 with the message, which is queued then."""
    text = filled_in(inputs["text"], user, "text")
    require(len(text) <= LONGEST_TEXT, f"Filled in, the text has {len(text)} characters; {LONGEST_TEXT} are possible.")
    sender = inputs.get("sender") or api.settings["sender"]
    message = {
        "To": to,
        "Body": text,
        "MessagingServiceSid" if sender.startswith("MG") and len(sender) == 34 else "From": sender,
        "MediaUrl": inputs.get("media_url") or None,
        "ValidityPeriod": api.settings.get("validity_period"),
    }
    answer = api.post("Accounts", api.settings["account_sid"], "Messages.json", form=message)
    answer.shows("status", *UNDER_WAY, "sent", *ARRIVED, *LOST)  # a loss is told by the first look, with its reason
    return Pending({"sid": answer.text("sid")}, f"Twilio has {answer['status']} it as {answer['sid']}")


class SendSms(Action):
    """A text message to the subscriber."""

    key, label = "send_sms", "Send SMS"
    description = "Sends a text message to the subscriber's phone, and looks whether it was delivered."
    needs = all_of("phone_number")
    replay = Replay.NEVER
    replay_proof = f"{DOCS}#create-a-message-resource: it takes no idempotency key; every request is a message"
    check_at = "In the Twilio console, open Monitor > Logs > Messaging and search for the number."

    class Inputs(Text):
        """What is said."""

    def perform(self, api: Api, user: Json, inputs: Values) -> str | Pending:
        """Send it. Blanks, hyphens and dots are how people write numbers; a missing country code is not guessed."""
        written = re.sub(r"(?<=[0-9])[ .-](?=[0-9])", "", str(user["phone_number"]).strip())
        to = text_in({"phone_number": written}, "phone_number", E164, "phone number that begins with + and its country")
        return send(api, to, user, inputs)

    def follow_up(self, api: Api, job: Json) -> str | Pending:
        """Ask what became of the message."""
        sid = job["sid"]
        try:
            place = ("Accounts", api.settings["account_sid"], "Messages", f"{sid}.json")
            message = shown(api, f"message {sid}", *place)
        except Rejected as no:
            if no.code != TEST_CREDENTIALS:
                raise
            return f"Twilio checked {sid}, and delivers nothing: these are test credentials"
        status = message.shows("status", *UNDER_WAY, "sent", *ARRIVED, *LOST)
        if status in LOST:
            code, words = message.get("error_code") or "", message.get("error_message") or ""
            raise Rejected(f"Twilio's message {sid} is {status}. {words} (error {code or 'unknown'})", code=str(code))
        if status in ARRIVED:
            return f"{sid} is {status} (segments: {message['num_segments']})"
        if status == "sent" and is_older(message, RECEIPT_WITHIN):
            return f"{sid} is sent (segments: {message['num_segments']}); the carrier confirms no delivery"
        return Pending(job, f"Twilio shows {sid} as {status}")


def is_older(message: Answer, age: timedelta) -> bool:
    """Whether a message was handed to its carrier longer ago than this (`date_sent`, RFC 2822)."""
    with suppress(ValueError):
        return datetime.now(UTC) - parsedate_to_datetime(message.text("date_sent")).astimezone(UTC) > age
    raise Undocumented("Twilio's message has no time in 'date_sent', as documented.")


class SendSmsTo(SendSms):
    """A text message to a number of the designer's.

    The number never comes from the browser: whoever could type it could make the account pay for messages to any country.
    """

    key, label = "send_sms_to", "Send SMS to a number"
    description = "Sends a text message to a number that you enter here, e.g. to tell your own team."
    needs = NOTHING

    class Inputs(Text):
        """To whom, and what is said."""

        to = PatternField(E164, label="Phone number", shape="It begins with + and its country code, e.g. +14155550123.")
        field_order = ("to", "text", "media_url", "sender")

    def perform(self, api: Api, user: Json, inputs: Values) -> str | Pending:
        """Send it."""
        return send(api, inputs["to"], user, inputs)


def senders(api: Api) -> Iterator[Choice]:
    """Read the messaging services, and the numbers that can send text messages."""
    for service in api.at("messaging").pages("Services", params={"PageSize": SERVICES_PER_PAGE}):
        yield Choice(service.text("sid"), service.fill("{friendly_name} (messaging service)"))
    own = ("Accounts", api.settings["account_sid"], "IncomingPhoneNumbers.json")
    for number in api.pages(*own, params={"PageSize": NUMBERS_PER_PAGE}):
        if number.part("capabilities").get("sms"):
            yield Choice(number.text("phone_number"), number.fill("{phone_number} ({friendly_name})"))


class Twilio(Connector):
    """Text messages. Built in, since every prompt may want to send one; the account at Twilio is the company's own."""

    key, label, category = "twilio", "Twilio SMS", Category.BUILT_IN
    description = "Send a text message from your Twilio account, to the subscriber or to a number of yours."
    aliases = ("sms", "text message", "phone", "mms", "messaging")
    support = Support.CONTRACT
    docs_url = DOCS
    actions = (SendSms, SendSmsTo)
    catalogues = {"senders": Catalogue("Senders", senders)}
    base_urls = {region: f"https://api.{place}/{API_VERSION}" for region, place in PLACES.items()}
    chosen_by = "region"
    rows_in = ("services", "incoming_phone_numbers")
    codes = {QUEUE_FULL: busy}
    setup_steps = (
        "In the Twilio console, open Account Dashboard and copy the Account SID (it begins with AC).",
        "Open Account > API keys & tokens and create a Standard API key; or use the account's auth token.",
        "Have a number that can send SMS (Phone Numbers > Active numbers), or a messaging service (Messaging > Services).",
        "Enter them here, test the connection, switch it to Active and save.",
        "Bring the subscribers' phone numbers into the trait phone_number, e.g. +14155550123.",
    )

    class Settings(forms.Form):
        """Which account, and who writes."""

        region = account_choice(
            "Region",
            [("us1", "United States (US1)"), ("ie1", "Ireland (IE1)"), ("au1", "Australia (AU1)")],
            help_text="Where the key was made; US1 unless somebody chose another.",
        )
        account_sid = identity(
            PatternField(r"AC[0-9a-fA-F]{32}", label="Account SID", shape="AC and 32 letters a-f or digits.")
        )
        key_sid = identity(
            PatternField(
                r"SK[0-9a-fA-F]{32}",
                label="API key SID",
                required=False,
                shape="SK and 32 letters a-f or digits.",
                help_text="Empty where the secret below is the account's auth token.",
            )
        )
        secret = SecretField(
            label="Secret", help_text="The API key's secret, or, without an API key, the account's auth token."
        )
        sender = PatternField(
            SENDER,
            label="Sender",
            shape="A number like +14155550123, a short code, a messaging service's SID (MG…) or up to 11 letters and digits.",
        )
        validity_period = forms.IntegerField(
            label="Valid for",
            required=False,
            min_value=1,
            max_value=36_000,
            help_text="Seconds after which Twilio no longer sends a message that still waits there; empty: 36,000.",
        )

    def hosts(self, settings: Values) -> Mapping[str, str]:
        """Messaging services have a host of their own."""
        return {"messaging": f"https://messaging.{PLACES[settings['region']]}/{MESSAGING_VERSION}"}

    def auth(self, settings: Values) -> AuthBase:
        """Basic authentication, by the key or by the account's token."""
        return HTTPBasicAuth(settings.get("key_sid") or settings["account_sid"], settings["secret"])

    def auth_at(self, host: str, settings: Values) -> AuthBase:
        """The same."""
        return self.auth(settings)

    def probe(self, api: Api) -> list[ProbeLine]:
        """Look at the account; an API key may not see that (Twilio keeps it for the auth token), so it looks at a message."""
        account = ("Accounts", api.settings["account_sid"])
        if api.settings.get("key_sid"):
            api.get(*account, "Messages.json", params={"PageSize": 1}).rows("messages")
            return [ProbeLine(True, "Twilio accepts the API key, which may see messages."), WRITING_UNTESTED]
        try:
            found = api.get("Accounts", f"{api.settings['account_sid']}.json")
        except Rejected as no:
            if no.code != TEST_CREDENTIALS:
                raise
            return [ProbeLine(True, "These are Twilio's test credentials: messages are checked, never delivered.")]
        is_active = found["status"] == "active"
        lines = [ProbeLine(is_active, f"The account {found['friendly_name']} is {found['status']}."), WRITING_UNTESTED]
        if found.get("type") == "Trial":
            lines.append(ProbeLine(None, "It is a trial account: only numbers that you verified get messages."))
        return lines

    def next_page(self, page: Answer, query: Values) -> Mapping[str, str] | None:
        """`next_page_uri`, or `meta.next_page_url` at the newer host: of either, only the query counts."""
        return query_of(page.inner("meta").get("next_page_url") or page.get("next_page_uri")) or None

    def said(self, answer: Answer) -> tuple[str, str]:
        """`{"code": 21211, "message": …}`."""
        return str(answer.get("code") or ""), words_of(answer)
