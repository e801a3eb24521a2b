"""Salesforce Marketing Cloud Engagement: mails by REST, lists by SOAP.

https://developer.salesforce.com/docs/marketing/marketing-cloud/guide/. Hosts are made from the tenant's subdomain alone; what a
token's answer names as `rest_instance_url` and `soap_instance_url` is not looked at.
"""

import re
from collections.abc import Iterator

from django import forms
from django.core.validators import RegexValidator

from connectors.answers import Answer
from connectors.auth import ClientCredentials
from connectors.base import (
    Action,
    Catalogue,
    CatalogueField,
    Choice,
    Json,
    Needs,
    ProbeLine,
    Replay,
    Values,
    if_known,
)
from connectors.choosing import email_in, text_in
from connectors.failures import AlreadyDone, Failure, Missing, Rejected, Temporary, Undocumented, refused
from connectors.http import Api, Ending
from connectors.vendors.salesforce import soap

DOCS = "https://developer.salesforce.com/docs/marketing/marketing-cloud/guide"
CLOUD = "Marketing Cloud"
NOT_SET_UP = "Marketing Cloud is not set up in this connection."
PER_PAGE = 50
BLOCKED_FOR = 300.0  # seconds; error 50200, "temporarily blocked", names no time: rate-limiting-errors
CHECK_AT = "In Marketing Cloud, open Email Studio > Tracking and search for the address."
PERSON = if_known("email_address", "salesforce_subscriber_key")
TENANT = re.compile(r"https://([a-z0-9-]{28})\.auth\.marketingcloudapis\.com/?")


class MarketingToken(ClientCredentials):
    """A business unit's token, good for about 18 minutes (`expires_in`)."""

    name, host = "marketing", "auth"


def hosts(settings: Values) -> dict[str, str]:
    """Return the tenant's hosts; none where it is not set up."""
    tenant = TENANT.fullmatch(settings.get("mc_auth_url") or "")
    kinds = ("auth", "rest", "soap") if tenant else ()
    return {kind: f"https://{tenant[1]}.{kind}.marketingcloudapis.com" for kind in kinds if tenant}


def key_of(api: Api, user: Json, address: str) -> str:
    """Return the subscriber key of a person: the address, or the trait, as the connection says.

    Raises:
        Missing: the trait is not known.

    """
    if api.settings.get("mc_subscriber_key") != "trait":
        return address
    if "salesforce_subscriber_key" not in user:
        raise Missing(Needs.lacking(("salesforce_subscriber_key",)))
    return text_in(user, "salesforce_subscriber_key", ".{1,254}", "subscriber key")


def recipient(user: Json, inputs: Values) -> str:
    """Return where a mail goes: to the address that was entered, else to the subscriber's own; raise Missing without either."""
    if inputs.get("email"):
        return str(inputs["email"])
    if "email_address" in user:
        return email_in(user)
    raise Missing("No email_address is known of this subscriber, and none was entered.")


class MarketingAction(Action):
    """What is done in Marketing Cloud."""

    needs = PERSON
    part = CLOUD

    def unavailable(self, settings: Values) -> str:
        """It needs the tenant."""
        return "" if hosts(settings) else NOT_SET_UP


# --- mails --------------------------------------------------------------------------------------------------------------


class Mail(MarketingAction):
    """A mail to the subscriber, or to an address that the person enters."""

    check_at = CHECK_AT
    # The address alone: whoever could also choose the mail could send anything to anybody in your name.
    from_browser = frozenset({"email"})


class SendMail(Mail):
    """A transactional message."""

    key, label = "mc_send", "Send a transactional mail"
    description = "Sends a mail by a transactional send definition. The sender and the content are the definition's."
    replay = Replay.CHECK
    replay_proof = (
        f"{DOCS}/sendMessageSingleRecipient.html: a duplicate of our message key is rejected, and it can be asked for"
    )

    class Inputs(forms.Form):
        """Which mail, to whom."""

        definition = CatalogueField(
            catalogue="definitions",
            label="Send definition",
            help_text="Transactional, made by API or in Journey Builder.",
        )
        email = forms.EmailField(label="E-mail address", required=False, help_text="Empty: the subscriber's own.")

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """Ask for the message. UNVERIFIED: what is answered for an unknown key; 400 and 404 are read as "no such message"."""
        try:
            answer = api.at("rest").get("messaging", "v1", "email", "messages", api.tag)
        except Rejected as no:
            if no.status in {400, 404}:
                return None
            raise
        if answer["info"]["messageKey"] != api.tag:
            raise Undocumented("Marketing Cloud answered with another message than the one that was asked for.")
        return f"Marketing Cloud has the message {api.tag}: {answer.get('eventCategoryType', 'accepted')}"

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Send it under our own key."""
        address = recipient(user, inputs)
        mail = {
            "definitionKey": inputs["definition"],
            "recipient": {"contactKey": key_of(api, user, address), "to": address},
        }
        answer = api.at("rest").post("messaging", "v1", "email", "messages", api.tag, json=mail)
        if [row["messageKey"] for row in answer.rows("responses")] != [api.tag]:
            raise Undocumented("Marketing Cloud does not show the message as accepted.")
        return f"Marketing Cloud accepted the mail to {address} as {api.tag}"


class TriggeredSend(Mail):
    """A triggered send of Email Studio."""

    key, label = "mc_triggered_send", "Start a triggered send"
    description = "Starts a triggered send of Email Studio. New accounts use transactional mails instead."
    replay = Replay.NEVER
    replay_proof = f"{DOCS}/messageDefinitionSends.html: no key is recognised; every request is a mail"

    class Inputs(forms.Form):
        """Which mail, to whom."""

        send = CatalogueField(catalogue="triggered", label="Triggered send", help_text="Only started ones are listed.")
        email = forms.EmailField(label="E-mail address", required=False, help_text="Empty: the subscriber's own.")

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Send it. UNVERIFIED: the answer beyond recipientSendId and hasErrors, so that nothing else is relied upon."""
        address = recipient(user, inputs)
        mail: Json = {
            "To": {"Address": address, "SubscriberKey": key_of(api, user, address)},
            "Options": {"RequestType": "ASYNC"},
        }
        if sender := api.settings.get("mc_from_email"):
            mail["From"] = {"Address": sender}
        answer = api.at("rest").post(
            "messaging", "v1", "messageDefinitionSends", f"key:{inputs['send']}", "send", json=mail
        )
        numbers = [row["recipientSendId"] for row in answer.rows("responses")]
        if len(numbers) != 1 or not isinstance(numbers[0], str) or not numbers[0]:
            raise Undocumented("Marketing Cloud does not show the mail as accepted.")
        return f"Marketing Cloud accepted the mail to {address} as {numbers[0]}"


# --- lists --------------------------------------------------------------------------------------------------------------


class ListAction(MarketingAction):
    """What has to do with one list."""

    replay = Replay.NATURAL
    check_at = "In Marketing Cloud, open Email Studio > Subscribers > Lists and search the list for the address."

    class Inputs(forms.Form):
        """Which list."""

        list_id = CatalogueField(
            catalogue="lists", label="List", validators=[RegexValidator(r"^[0-9]{1,10}\Z", "A list's id is a number.")]
        )
        resubscribe = forms.BooleanField(
            label="Make active again",
            required=False,
            help_text="Subscribes again whoever has unsubscribed. Only with their consent.",
        )


class ListAdd(ListAction):
    """An existing subscriber onto a list."""

    key, label = "mc_list_add", "Add to list"
    description = "Puts somebody who is a subscriber of Marketing Cloud already on a list."
    replay_proof = f"{DOCS}/adding_subscribers_to_a_list.html: an Update sets the membership"

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Update the subscriber."""
        address = recipient(user, {})
        soap.update(api, subscriber(api, user, address, inputs), step="update")
        return f"{address} is on the list {inputs['list_id']}"


class ListAddTyped(ListAction):
    """An address that the person enters onto a list."""

    key, label = "mc_list_add_form", "Add an entered address to list"
    description = "Makes the address that the person enters a subscriber of Marketing Cloud, and puts it on a list."
    replay_proof = f"{DOCS}/adding_subscribers_to_a_list.html: Create with UpdateAdd sets the membership"
    from_browser = frozenset({"email"})

    class Inputs(ListAction.Inputs):
        """Whom, and which list."""

        email = forms.EmailField(label="E-mail address", help_text="Who is put on the list.")
        field_order = ("email", "list_id", "resubscribe")

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Create; where that says "on the list already", update, as the vendor's own FuelSDK does."""
        address = inputs["email"]
        person = subscriber(api, user, address, inputs)
        try:
            soap.create(api, person, step="create")
        except AlreadyDone:
            soap.update(api, person, step="update")
        return f"{address} is on the list {inputs['list_id']}"


def subscriber(api: Api, user: Json, address: str, inputs: Values) -> str:
    """Return a Subscriber on a list as XML. The order of elements is the WSDL's.

    Without "Make active again" no status is sent: Active would subscribe again whoever has unsubscribed.
    """
    status = soap.element("Status", "Active") if inputs.get("resubscribe") else ""
    return (
        soap.element("EmailAddress", address)
        + soap.element("SubscriberKey", key_of(api, user, address))
        + status
        + f"<Lists>{soap.element('ID', inputs['list_id'])}{status}</Lists>"
    )


# --- catalogues, test, refusals -----------------------------------------------------------------------------------------


def definitions(api: Api) -> Iterator[Choice]:
    """Read the active transactional send definitions."""
    if hosts(api.settings):
        first = {"$page": 1, "$pageSize": PER_PAGE}
        for row in api.at("rest").pages("messaging", "v1", "email", "definitions", Ending.SLASH, params=first):
            if row.text("status").lower() == "active":
                yield Choice(row.text("definitionKey"), row.text("name"))


def next_page(page: Answer, query: Values) -> Json | None:
    """Return the query of the next page: they are counted, and the last one is not full."""
    full = "definitions" in page.data and len(page.rows("definitions")) == query["$pageSize"]
    return {**query, "$page": query["$page"] + 1} if full else None


def triggered(api: Api) -> Iterator[Choice]:
    """Read the triggered sends that are started."""
    if hosts(api.settings):
        where = ("TriggeredSendStatus", "Active")
        for row in soap.retrieve(api, "TriggeredSendDefinition", ("CustomerKey", "Name", "TriggeredSendStatus"), where):
            yield Choice(row.text("CustomerKey"), row.text("Name"))


def lists(api: Api) -> Iterator[Choice]:
    """Read the lists. Everybody is on All Subscribers, so that it is no choice."""
    if hosts(api.settings):
        for row in soap.retrieve(api, "List", ("ID", "ListName")):
            if row["ListName"] != "All Subscribers":
                yield Choice(row.text("ID"), row.text("ListName"))


CATALOGUES = {
    "definitions": Catalogue("Transactional send definitions", definitions),
    "triggered": Catalogue("Triggered sends", triggered),
    "lists": Catalogue("Lists", lists),
}


def probe(api: Api) -> Iterator[ProbeLine]:
    """Read a definition and the lists."""
    if not hosts(api.settings):
        yield ProbeLine(None, f"{NOT_SET_UP} Its actions are not available.")
        return
    api.at("rest").get(
        "messaging", "v1", "email", "definitions", Ending.SLASH, params={"$page": 1, "$pageSize": 1}
    ).rows("definitions")
    yield ProbeLine(True, "Marketing Cloud: mails can be chosen.")
    seen = sum(1 for _ in soap.retrieve(api, "List", ("ID", "ListName")))
    yield ProbeLine(True, f"Marketing Cloud: {seen} lists can be seen.")
    yield ProbeLine(None, "Whether mails may be sent and lists changed shows at the first real one.")


def failure(answer: Answer) -> Failure | None:
    """Read what REST says beyond the status: a block without a time, and recipients that failed inside a 2xx."""
    code = answer.get("errorcode", answer.get("errorCode"))
    if answer.status == 429 and str(code) == "50200":
        return Temporary(
            "Marketing Cloud has blocked us for some minutes.", after=BLOCKED_FOR, code="50200", sent=False
        )
    responses = answer.get("responses")
    if answer.status >= 300 or not isinstance(responses, Answer) or not isinstance(responses.data, list):
        return None
    for row in responses:
        if isinstance(row, Answer) and (row.get("errorCode") or row.get("errorcode") or row.get("hasErrors") is True):
            words = row.get("message") or row.get("messages") or ""
            said = "; ".join(map(str, words.data)) if isinstance(words, Answer) else str(words)
            return refused("Marketing Cloud", said, code=str(row.get("errorCode", "")))
    return None
