"""Salesforce Service Cloud: cases and their feeds, by the REST API of the organisation's My Domain.

https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/. It knows no idempotency key; so every action looks for
its own reference first, which stands in the case or in the post.
"""

from collections.abc import Callable, Iterator
from typing import Any

from django import forms
from django.core.validators import RegexValidator

from connectors.answers import Answer
from connectors.auth import ClientCredentials
from connectors.base import Action, Catalogue, CatalogueField, Choice, Json, ProbeLine, Replay, Values, one_of
from connectors.bodies import without_empty
from connectors.choosing import email_in, text_in
from connectors.failures import Failure, Rejected, Temporary, Undocumented, refused
from connectors.http import MOST_PAGES, Api

API_VERSION = "v60.0"  # Spring '24; a version is kept for at least three years
DATA = f"/services/data/{API_VERSION}"
DOCS = "https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest"
SESSION = 900.0  # seconds; a token's answer names none, and the shortest session that can be set is 15 minutes
MOST_CASES = 200  # "Up to 200 records can be created in one request": resources_composite_sobjects_collections_create
LONGEST_SUBJECT, LONGEST_POST = 255, 10_000  # of the fields Subject and Body
QUOTA_PAUSE = 3600.0  # seconds; the daily quota of the organisation is counted over the last 24 hours
CLOUD = "Service Cloud"
NOT_SET_UP = "Service Cloud is not set up in this connection."
LOOKED_BACK = 30  # days in which a post is looked for; far longer than an execution is open
CONTACT = one_of("salesforce_id", "email_address")


class ServiceToken(ClientCredentials):
    """The organisation's token. It is asked for and used at the My Domain alone, whatever `instance_url` an answer names."""

    name, host = "service", "login"


def quoted(value: Any) -> str:
    """Return a value as a SOQL string, with whatever could end it escaped; raise Rejected where that is not possible.

    https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select_quotedstringescapes.htm
    """
    text = str(value)
    if not text.isprintable():
        raise Rejected("A value holds a sign that Salesforce cannot be asked for.")
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace('"', '\\"') + "'"


def found(api: Api, soql: str) -> list[Answer]:
    """Return the rows of a query, which is never longer than one page here."""
    answer = api.get("query", params={"q": soql})
    if answer["done"] is not True:
        raise Undocumented("Salesforce did not give all rows of a short query at once.")
    return answer.rows("records")


def contact_of(api: Api, user: Json) -> str:
    """Return a person's contact id; empty where no contact has the address.

    Raises:
        Rejected: the trait is no contact id, or several contacts have the address: none is chosen by guessing.

    """
    if "salesforce_id" in user:
        return text_in(
            user, "salesforce_id", "003[A-Za-z0-9]{12}([A-Za-z0-9]{3})?", "contact's id, which begins with 003"
        )
    address = email_in(user)
    rows = found(api, f"SELECT Id FROM Contact WHERE Email = {quoted(address)} LIMIT 2")  # noqa: S608 - escaped
    if len(rows) > 1:
        raise Rejected(f"Several contacts in Salesforce have the address {address}; none is chosen by guessing.")
    return rows[0].text("Id") if rows else ""


class ServiceAction(Action):
    """What is done in Service Cloud."""

    needs = CONTACT
    replay = Replay.CHECK
    part = CLOUD

    def unavailable(self, settings: Values) -> str:
        """It needs the organisation."""
        return "" if settings.get("my_domain") else NOT_SET_UP


class CreateCase(ServiceAction):
    """Open a case."""

    key, label = "case_create", "Create a case"
    description = "Opens a case for the subscriber, linked to their contact where Salesforce has one."
    replay_proof = f"{DOCS}/dome_query.htm: a case that carries our reference is found again"
    check_at = (
        "In Salesforce, open Cases and search for the reference, which stands in the subject or in your own field."
    )

    class Inputs(forms.Form):
        """What the case says."""

        # 45 characters are left for the reference.
        subject = forms.CharField(
            label="Subject", max_length=LONGEST_SUBJECT - 45, help_text="The case's title, the same for everybody."
        )
        description = forms.CharField(
            label="Description",
            required=False,
            max_length=32_000,
            widget=forms.Textarea(attrs={"rows": 3}),
            help_text="What the agent reads.",
        )
        origin = CatalogueField(catalogue="origins", label="Origin", required=False, help_text="Empty: none.")
        priority = CatalogueField(
            catalogue="priorities", label="Priority", required=False, help_text="Empty: the default."
        )
        status = CatalogueField(catalogue="statuses", label="Status", required=False, help_text="Empty: the default.")

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """Look for the reference."""
        if own := api.settings.get("case_reference_field"):
            where = f"{own} = {quoted(api.tag)}"
        else:
            where = f"Subject = {quoted(titled(api, inputs))}"
        rows = found(api, f"SELECT Id FROM Case WHERE {where} LIMIT 2")  # noqa: S608 - escaped
        return f"Case {rows[0].text('Id')} is open" if rows else None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Open it. With a unique field of its own the request itself cannot open a second one."""
        contact = contact_of(api, user)
        own = api.settings.get("case_reference_field")
        case = {
            "Subject": inputs["subject"] if own else titled(api, inputs),
            "Description": inputs.get("description"),
            "Origin": inputs.get("origin"),
            "Priority": inputs.get("priority"),
            "Status": inputs.get("status"),
            "ContactId": contact,
            "SuppliedEmail": email_in(user) if "email_address" in user else "",
        }
        body = without_empty(case)
        cases = ("sobjects", "Case")
        answer = api.patch(*cases, own, api.tag, json=body) if own else api.post(*cases, json=body)
        answer.shows("success", True)
        return f"Case {answer.text('id')} is open"


def titled(api: Api, inputs: Values) -> str:
    """Return the subject with the reference, by which the case is found again: a description cannot be searched for."""
    return f"{inputs['subject']} [{api.tag}]"


class PostToCases(ServiceAction):
    """Write on a person's cases."""

    key, label = "case_feed_post", "Post to the contact's cases"
    description = "Posts a text to the feed of every case of the subscriber's contact, for the agents who work on them."
    replay_proof = f"{DOCS}/dome_query.htm: a post that carries our reference is found again"
    check_at = "In Salesforce, open the contact's cases and look at their feeds for the reference."

    class Inputs(forms.Form):
        """What is posted where."""

        text = forms.CharField(
            label="Text",
            max_length=LONGEST_POST - 45,
            widget=forms.Textarea(attrs={"rows": 3}),
            help_text="What the agents read, the same for everybody. A reference is added.",
        )
        open_only = forms.BooleanField(label="Open cases only", required=False)

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """Look for the reference on every case."""
        cases = self._cases(api, user, inputs)
        if not cases:
            return "The contact has no case to post to"
        return None if self._without_post(api, cases) else f"The post is on {counted(cases)}"

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Post to all that lack it, all or none: so a "no" always means that nothing was posted."""
        cases = self._without_post(api, self._cases(api, user, inputs))
        text = f"{inputs['text']}\n[{api.tag}]"
        posts = [
            {"attributes": {"type": "FeedItem"}, "ParentId": case, "Body": text, "Type": "TextPost"} for case in cases
        ]
        rows = api.post("composite", "sobjects", json={"allOrNone": True, "records": posts}).rows()
        if len(rows) != len(cases) or not all(row.shows("success", True) for row in rows):
            raise Undocumented("Salesforce does not show every post as made.")
        return f"The post is on {counted(cases)}"

    def _cases(self, api: Api, user: Json, inputs: Values) -> list[str]:
        contact = contact_of(api, user)
        if not contact:
            return []
        closed = " AND IsClosed = false" if inputs.get("open_only") else ""
        where = f"ContactId = {quoted(contact)}{closed} ORDER BY Id LIMIT {MOST_CASES + 1}"
        rows = found(api, f"SELECT Id FROM Case WHERE {where}")  # noqa: S608 - escaped
        if len(rows) > MOST_CASES:
            raise Rejected(f"The contact has more than {MOST_CASES} cases, which is more than one request may post to.")
        return [row.text("Id") for row in rows]

    def _without_post(self, api: Api, cases: list[str]) -> list[str]:
        """Return the cases without our post. The text of posts cannot be filtered by, so that it is compared here."""
        parents = ", ".join(quoted(case) for case in cases)
        since = f"CreatedDate = LAST_N_DAYS:{LOOKED_BACK}"
        soql = f"SELECT ParentId, Body FROM FeedItem WHERE ParentId IN ({parents}) AND {since}"  # noqa: S608 - escaped
        posted = {str(row["ParentId"])[:15] for row in every(api, soql) if api.tag in str(row.get("Body", ""))}
        return [case for case in cases if case[:15] not in posted]


def every(api: Api, soql: str, most: int = MOST_PAGES) -> Iterator[Answer]:
    """Return the rows of all pages, of which there are at most so many more than the first.

    Of `nextRecordsUrl` only the last part is taken: no answer chooses where we call.
    """
    answer = api.get("query", params={"q": soql})
    yield from answer.rows("records")
    for _ in range(most):
        if answer["done"] is True:
            return
        answer = api.get("query", str(answer["nextRecordsUrl"]).rpartition("/")[2])
        yield from answer.rows("records")
    raise Rejected(f"What Salesforce was asked for is longer than {most:,} pages.")


def counted(cases: list[str]) -> str:
    """Say how many cases."""
    return f"case {cases[0]}" if len(cases) == 1 else f"{len(cases)} cases"


# --- settings, catalogues, test, refusals -------------------------------------------------------------------------------

MY_DOMAIN = RegexValidator(
    r"^https://[a-z0-9-]+(\.[a-z0-9-]+)*\.my\.salesforce\.com/?\Z",
    "Enter the My Domain URL, like https://example.my.salesforce.com (login.salesforce.com gives out no such tokens).",
)
OWN_FIELD = RegexValidator(r"^[A-Za-z][A-Za-z0-9_]{0,36}__c\Z", "A custom field's API name ends in __c.")


def picklist(field: str) -> Callable[[Api], Iterator[Choice]]:
    """Return what reads the active values of a field of Case."""

    def fetch(api: Api) -> Iterator[Choice]:
        if not api.settings.get("my_domain"):
            return
        fields = api.get("sobjects", "Case", "describe").rows("fields")
        for described in fields:
            if described["name"] == field:
                for row in described.rows("picklistValues"):
                    if row["active"] is True:
                        yield Choice(str(row["value"]), str(row["label"]))

    return fetch


CATALOGUES = {
    "origins": Catalogue("Case origins", picklist("Origin")),
    "priorities": Catalogue("Case priorities", picklist("Priority")),
    "statuses": Catalogue("Case statuses", picklist("Status")),
}


def probe(api: Api) -> Iterator[ProbeLine]:
    """Ask what the application may do with cases."""
    if not api.settings.get("my_domain"):
        yield ProbeLine(None, f"{NOT_SET_UP} Its actions are not available.")
        return
    described = api.get("sobjects", "Case", "describe")
    may = described["createable"] is True
    yield ProbeLine(may, "Service Cloud: cases may be created." if may else "The application may not create cases.")
    if own := api.settings.get("case_reference_field"):
        field = next((row for row in described.rows("fields") if row["name"] == own), None)
        fits = field is not None and field["externalId"] is True and field["unique"] is True
        yield ProbeLine(fits, f"{own} is a unique external ID." if fits else f"{own} is no unique external ID of Case.")


def failure(answer: Answer) -> Failure | None:
    """Read a list of errors, or of records of which some failed, which comes with status 200."""
    if answer.status >= 500 or answer.status in {401, 408, 425, 429}:
        return None
    rows = [row for row in answer if isinstance(row, Answer)]
    if answer.status == 300:
        return refused("Salesforce", "several cases carry this reference")
    failed = [row for row in rows if answer.status < 300 and row.get("success") is False]
    if answer.status < 300:
        rows = [error for row in failed for error in row.each("errors") if isinstance(error, Answer)]
    errors = [(_code(row), row.get("message")) for row in rows]
    codes = {code for code, _ in errors if code}
    if "REQUEST_LIMIT_EXCEEDED" in codes:
        text = "The organisation has used up its API requests of 24 hours."
        return Temporary(text, after=QUOTA_PAUSE, code="REQUEST_LIMIT_EXCEEDED", sent=False)
    if "UNABLE_TO_LOCK_ROW" in codes:
        return Temporary("Salesforce is changing the same record just now.", code="UNABLE_TO_LOCK_ROW", sent=False)
    said = [(code, text) for code, text in errors if code and isinstance(text, str) and code not in UNTRIED]
    if not said:
        return refused("Salesforce") if failed else None
    return refused("Salesforce", "; ".join(text for _, text in said), code=said[0][0])


# Of the records that were not tried because another one failed.
UNTRIED = {"ALL_OR_NONE_OPERATION_ROLLED_BACK", "PROCESSING_HALTED"}


def _code(row: Answer) -> str:
    """The REST API says `errorCode`, its collections say `statusCode`."""
    code = row.get("errorCode") or row.get("statusCode")
    return code if isinstance(code, str) else ""
