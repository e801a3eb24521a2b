"""Salesforce, two clouds, as their references describe them: what Engage asks of them.

The mount point stands for `https://{my domain}/services/data/v60.0` (Service Cloud's REST API), and below it `/login` for the My
Domain itself, `/auth`, `/rest` and `/soap` for Marketing Cloud's three hosts. Of SOQL, conditions that are joined by AND are
understood. Left out: second pages, sharing rules, other fields of cases, contacts and posts, and who has unsubscribed.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException, ElementTree

from connectors.sandbox.http import Refusal, Request, Response, Route, objects, routed
from connectors.sandbox.people import AVA, BEN, CHLOE, DIEGO, EMMA, HUGO, PEOPLE, Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Table, World

KEY, LABEL = "salesforce", "Salesforce"
CONSUMER, SECRET = "sandbox-consumer-key", "sandbox-secret-not-a-real-credential"
PACKAGE, MC_SECRET = "sandbox-package", "sandbox-mc-secret-not-a-real-credential"
TENANT, UNIT = "mc-sandbox-streamly-00000000", "7654321"
SESSION, MC_SESSION = 7200.0, 1080.0
REFERENCE = "Engage_Ref__c"

PICKLISTS = {
    "Origin": ("Web", "Phone", "Email"),
    "Priority": ("High", "Medium", "Low"),
    "Status": ("New", "Working", "Escalated", "Closed"),
}
COLUMNS = {
    "Contact": {"Id", "Name", "Email", "SystemModstamp"},
    "Case": {"Id", "Subject", "Description", *PICKLISTS, "ContactId", "SuppliedEmail", "IsClosed", REFERENCE},
    "FeedItem": {"Id", "ParentId", "Body", "CreatedDate"},
}
WRITABLE = COLUMNS["Case"] - {"Id", "IsClosed"}
DEFINITIONS = {
    "stay-thanks": ("Thank you for staying", "Active"),
    "spring": ("Spring offer, being written", "Inactive"),
}
TRIGGERED = {"offer-mail": ("Offer by mail", "Active"), "old-mail": ("Mail of last year", "Inactive")}
LISTS = {"101": "All Subscribers", "201": "Newsletter", "202": "Win back"}


# --- the world at its start -----------------------------------------------------------------------------------------------


def contact_id(number: int) -> str:
    """Return a contact's id of 18 characters."""
    return f"003gK00000{number:05d}QAA"


def seed(store: Store, _: Json | None = None) -> None:
    """Fill the world. Emma is nobody's contact, Diego is one twice, and Hugo has two cases."""
    known = [(person.number, person) for person in PEOPLE if person is not EMMA]
    for number, person in (*known, (44, DIEGO)):
        contact = {"Id": contact_id(number), "Name": f"{person.first} {person.last}", "Email": person.email}
        store.put(KEY, "Contact", contact["Id"], contact | {"SystemModstamp": _time(store.now())})
        store.put(KEY, "subscriber", person.email, {"key": person.email, "email": person.email, "lists": {}})
    store.put(KEY, "subscriber", BEN.email, {"key": BEN.email, "email": BEN.email, "lists": {"201": "Active"}})
    asked = ((AVA, "Sound out of sync"), (CHLOE, "Discount is missing"), (HUGO, "Cannot sign in"), (HUGO, "Invoice"))
    for person, subject in asked:
        _put_case(store, {"Subject": subject, "Origin": "Web", "ContactId": contact_id(person.number)})


def _put_case(store: Store, given: Json) -> str:
    number = f"500gK00000{len(store.all(KEY, 'Case')) + 1:05d}QAA"
    case = dict.fromkeys(sorted(COLUMNS["Case"])) | {"Priority": "Medium", "Status": "New"} | given
    store.put(KEY, "Case", number, case | {"Id": number, "IsClosed": case["Status"] == "Closed"})
    return number


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection: both clouds."""
    return {
        "my_domain": "https://streamly--demo.sandbox.my.salesforce.com",
        "client_id": CONSUMER,
        "client_secret": SECRET,
        "case_reference_field": REFERENCE,
        "mc_auth_url": f"https://{TENANT}.auth.marketingcloudapis.com/",
        "mc_client_id": PACKAGE,
        "mc_client_secret": MC_SECRET,
        "mc_account_id": UNIT,
        "mc_subscriber_key": "email",
    }


def traits(person: Person) -> Mapping[str, str]:
    """Return the contact's id. Emma has none, and Diego's address has two."""
    return {} if person in {DIEGO, EMMA} else {"salesforce_id": contact_id(person.number)}


# --- answering ------------------------------------------------------------------------------------------------------------


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction."""
    if request.path.startswith(("/login/", "/auth/")):
        return routed(request, store, TOKEN_ROUTES)
    if request.path == "/soap/Service.asmx":
        return soap(request, store)
    if request.path.startswith("/rest/"):
        if not _knows(store, "marketing", request.bearer()):
            return Response(HTTPStatus.UNAUTHORIZED, {"message": "Not Authorized", "errorcode": 0, "documentation": ""})
        return routed(request, store, MARKETING_ROUTES)
    if not _knows(store, "service", request.bearer()):
        return Response(HTTPStatus.UNAUTHORIZED, _errors("INVALID_SESSION_ID", "Session expired or invalid"))
    return routed(
        request, store, SERVICE_ROUTES, nothing=lambda _: _errors("NOT_FOUND", "The requested resource does not exist")
    )


def _token(store: Store, cloud: str, seconds: float) -> str:
    token = f"sandbox-{cloud}-{uuid.uuid4().hex}"
    store.put(KEY, "token", token, {"cloud": cloud, "until": store.now() + seconds})
    return token


def _knows(store: Store, cloud: str, token: str) -> bool:
    known = store.get(KEY, "token", token)
    return known is not None and known["cloud"] == cloud and bool(known["until"] > store.now())


def _granted(request: Request, client: str, secret: str, status: int) -> dict[str, str]:
    form = {name: values[0] for name, values in request.form().items()}
    if form.get("grant_type") != "client_credentials":
        told = {"error": "unsupported_grant_type", "error_description": "grant type not supported"}
        raise Refusal(HTTPStatus.BAD_REQUEST, told)
    if (form.get("client_id"), form.get("client_secret")) != (client, secret):
        raise Refusal(status, {"error": "invalid_client", "error_description": "invalid client credentials"})
    return form


def give_service_token(request: Request, store: Store) -> Response:
    """`POST /services/oauth2/token` of the My Domain; it does not say for how long the token is good."""
    _granted(request, CONSUMER, SECRET, HTTPStatus.BAD_REQUEST)
    told = {"instance_url": "https://streamly--demo.sandbox.my.salesforce.com", "token_type": "Bearer"}
    return Response(body={"access_token": _token(store, "service", SESSION), **told})


def give_marketing_token(request: Request, store: Store) -> Response:
    """`POST /v2/token` of Marketing Cloud."""
    form = _granted(request, PACKAGE, MC_SECRET, HTTPStatus.UNAUTHORIZED)
    if form.get("account_id", UNIT) != UNIT:
        told = {"error": "invalid_request", "error_description": "The client has no access to this business unit."}
        raise Refusal(HTTPStatus.BAD_REQUEST, told)
    told = {"access_token": _token(store, "marketing", MC_SESSION), "token_type": "Bearer"}
    return Response(body={**told, "expires_in": int(MC_SESSION) - 1})


# --- Service Cloud --------------------------------------------------------------------------------------------------------


def _errors(code: str, message: str) -> list[Json]:
    return [{"errorCode": code, "message": message}]


def _no(code: str, message: str, status: int = HTTPStatus.BAD_REQUEST) -> Refusal:
    return Refusal(status, _errors(code, message))


STRING = r"'(?:[^'\\]|\\.)*'"
QUERY = re.compile(r"SELECT ([\w, ]+) FROM (\w+) WHERE (.+?)(?: ORDER BY Id)?(?: LIMIT ([0-9]{1,4}))?")
CONDITION = re.compile(rf"(\w+) (=|!=|>=|IN) ({STRING}|\({STRING}(?:, {STRING})*\)|[\w:.-]+)(?: AND |\Z)")


def query(request: Request, store: Store) -> Response:
    """`GET /query?q=`."""
    asked = QUERY.fullmatch(request.first("q"))
    if not asked or asked[2] not in COLUMNS:
        raise _no("MALFORMED_QUERY", "unexpected token, or an object that is not known here")
    kind, rows, at = asked[2], store.all(KEY, asked[2]), 0
    columns = [name.strip() for name in asked[1].split(",")]
    while at < len(asked[3]):
        condition = CONDITION.match(asked[3], at)
        if not condition:
            raise _no("MALFORMED_QUERY", f"unexpected token: {asked[3][at : at + 40]}")
        columns.append(condition[1])
        rows = [row for row in rows if _fits(row.get(condition[1]), condition[2], condition[3])]
        at = condition.end()
    if unknown := set(columns) - COLUMNS[kind]:
        raise _no("INVALID_FIELD", f"No such column '{min(unknown)}' on entity '{kind}'")
    wanted = [name.strip() for name in asked[1].split(",")]
    found = [{"attributes": {"type": kind}} | {name: row.get(name) for name in wanted} for row in rows]
    limit = int(asked[4]) if asked[4] else len(found)
    return Response(body={"totalSize": len(found[:limit]), "done": True, "records": found[:limit]})


def _fits(value: Any, operator: str, wanted: str) -> bool:
    strings = [re.sub(r"\\(.)", r"\1", one[1:-1]) for one in re.findall(STRING, wanted)]
    if strings:
        return str(value or "").lower() in {one.lower() for one in strings}
    if wanted == "null":
        return (value is None) is (operator == "=")
    if wanted in {"true", "false"}:
        return bool(value) is (wanted == "true")
    if operator == ">=":
        return str(value) >= wanted
    return wanted.startswith("LAST_N_DAYS:")  # everything here is younger


def describe_case(*_: object) -> Response:
    """`GET /sobjects/Case/describe`."""
    fields = []
    for name in sorted(COLUMNS["Case"]):
        own = name == REFERENCE
        choices = [{"value": one, "label": one, "active": True} for one in PICKLISTS.get(name, ())]
        fields.append({"name": name, "externalId": own, "unique": own, "picklistValues": choices})
    return Response(body={"name": "Case", "createable": True, "fields": fields})


def _case(request: Request, store: Store) -> Json:
    given = request.members()
    for name, value in given.items():
        if name not in WRITABLE:
            raise _no("INVALID_FIELD", f"No such column '{name}' on sobject of type Case")
        if not isinstance(value, str):
            raise _no("JSON_PARSER_ERROR", f"{name} is no text")
        if name in PICKLISTS and value not in PICKLISTS[name]:
            raise _no(
                "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", f"{name}: bad value for restricted picklist field: {value}"
            )
    if "ContactId" in given and store.get(KEY, "Contact", given["ContactId"]) is None:
        raise _no("INVALID_CROSS_REFERENCE_KEY", "Contact ID: id value of incorrect type or unknown")
    return given


def create_case(request: Request, store: Store) -> Response:
    """`POST /sobjects/Case`."""
    return _opened(store, _case(request, store))


def _opened(store: Store, given: Json) -> Response:
    number = _put_case(store, given)
    store.effect(KEY, "case_opened", number, subject=given.get("Subject", ""))
    return Response(HTTPStatus.CREATED, {"id": number, "success": True, "errors": [], "created": True})


def upsert_case(request: Request, store: Store, reference: str) -> Response:
    """`PATCH /sobjects/Case/{field}/{value}`: by an external id, of which there is one case at most."""
    given = _case(request, store)
    known = next((row for row in store.all(KEY, "Case") if row[REFERENCE] == reference), None)
    if known is None:
        return _opened(store, given | {REFERENCE: reference})
    store.put(KEY, "Case", known["Id"], known | given)
    return Response(body={"id": known["Id"], "success": True, "errors": [], "created": False})


def create_records(request: Request, store: Store) -> Response:
    """`POST /composite/sobjects`: posts, all or none; a refusal stands inside a 200."""
    records = objects(request.members().get("records"))
    if not records or len(records) > 200:
        raise _no("INVALID_INPUT", "records must hold 1 to 200 objects")
    unknown = [row for row in records if store.get(KEY, "Case", row.get("ParentId")) is None or not row.get("Body")]
    if unknown:
        error = {"statusCode": "INVALID_CROSS_REFERENCE_KEY", "message": "ParentId or Body is not valid", "fields": []}
        return Response(body=[{"success": False, "errors": [error]} for _ in records])
    answers = []
    for row in records:
        number = f"0D5gK00000{len(store.all(KEY, 'FeedItem')) + 1:05d}QAA"
        post = {"Id": number, "ParentId": row["ParentId"], "Body": str(row["Body"]), "CreatedDate": _time(store.now())}
        store.put(KEY, "FeedItem", number, post)
        store.effect(KEY, "posted_to_case", row["ParentId"], text=post["Body"])
        answers.append({"id": number, "success": True, "errors": []})
    return Response(body=answers)


# --- Marketing Cloud: mails -----------------------------------------------------------------------------------------------


def _refused(code: int, message: str, status: int = HTTPStatus.BAD_REQUEST) -> Refusal:
    return Refusal(status, {"message": message, "errorcode": code, "documentation": ""})


def list_definitions(request: Request, _: Store) -> Response:
    """`GET /messaging/v1/email/definitions/`: one page."""
    rows = [{"definitionKey": key, "name": name, "status": status} for key, (name, status) in DEFINITIONS.items()]
    first = request.first("$page", "1") == "1"
    return Response(body={"definitions": rows if first else [], "count": len(rows), "page": 1, "pageSize": 50})


def get_message(_: Request, store: Store, number: str) -> Response:
    """`GET /messaging/v1/email/messages/{messageKey}`."""
    mail = store.get(KEY, "mail", number)
    if mail is None:
        raise _refused(30003, "No message with this key was found.", HTTPStatus.NOT_FOUND)
    info = {"messageKey": number, "contactKey": mail["key"], "to": mail["to"]}
    return Response(body={"eventCategoryType": "TransactionalSendEvents.EmailSent", "info": info})


def send_message(request: Request, store: Store, number: str) -> Response:
    """`POST /messaging/v1/email/messages/{messageKey}`: a key is taken once."""
    mail = request.members()
    to = mail.get("recipient")
    if not isinstance(to, dict) or not to.get("contactKey") or "@" not in str(to.get("to")):
        raise _refused(10003, "recipient.contactKey and recipient.to are required.")
    definition = mail.get("definitionKey")
    if not isinstance(definition, str) or definition not in DEFINITIONS:
        raise _refused(10004, "The definitionKey is not known.")
    if store.get(KEY, "mail", number):
        raise _refused(10006, "A message with this key was accepted before.")
    _send(store, number, to["to"], to["contactKey"], DEFINITIONS[definition][0])
    body = {"requestId": str(uuid.uuid4()), "errorcode": 0, "responses": [{"messageKey": number}]}
    return Response(HTTPStatus.ACCEPTED, body)


def _send(store: Store, number: str, to: object, key: object, name: str) -> None:
    store.put(KEY, "mail", number, {"id": number, "to": str(to), "key": str(key), "name": name})
    store.effect(KEY, "message_sent", to, mail=name)


def trigger(request: Request, store: Store, number: str) -> Response:
    """`POST /messaging/v1/messageDefinitionSends/key:{key}/send`: every request is a mail."""
    to = request.members().get("To")
    if number not in TRIGGERED or TRIGGERED[number][1] != "Active":
        raise _refused(18002, "The triggered send definition is not known or not started.")
    if not isinstance(to, dict) or "@" not in str(to.get("Address")) or not to.get("SubscriberKey"):
        raise _refused(10003, "To.Address and To.SubscriberKey are required.")
    sent = str(uuid.uuid4())
    _send(store, sent, to["Address"], to["SubscriberKey"], TRIGGERED[number][0])
    row = {"recipientSendId": sent, "hasErrors": False, "messages": ["Queued"]}
    return Response(HTTPStatus.ACCEPTED, {"requestId": str(uuid.uuid4()), "responses": [row]})


# --- Marketing Cloud: lists -----------------------------------------------------------------------------------------------


def soap(request: Request, store: Store) -> Response:
    """`POST /Service.asmx`: Create, Update and Retrieve, with the token inside the envelope."""
    try:
        envelope = ElementTree.fromstring(request.content)
    except (ElementTree.ParseError, DefusedXmlException, LookupError, ValueError):
        return _fault("The envelope is no XML")
    parts = {part.tag.rpartition("}")[2]: part for part in envelope.iter()}
    token = parts.get("fueloauth")
    if token is None or not _knows(store, "marketing", token.text or ""):
        return _fault("Token Expired" if token is not None else "Login Failed")
    told = {name: (part.text or "").strip() for name, part in parts.items()}
    if "RetrieveRequestMsg" in parts:
        return _retrieved(told.get("ObjectType", ""))
    for method in ("Create", "Update"):
        if f"{method}Request" in parts:
            lists = [each.text or "" for each in envelope.iter("{http://exacttarget.com/wsdl/partnerAPI}ID")]
            return _saved(method, *_put_subscriber(store, told, lists, creates=method == "Create"))
    return _fault("The method is not known")


def _put_subscriber(store: Store, told: dict[str, str], lists: list[str], *, creates: bool) -> tuple[str, str]:
    """Save a subscriber; returns error code and words, which are empty where it was done."""
    key, status = told.get("SubscriberKey", ""), told.get("Status", "")
    known = store.get(KEY, "subscriber", key)
    if "@" not in told.get("EmailAddress", "") or not key:
        return "12002", "The subscriber's address or key is not valid"
    if any(number not in LISTS for number in lists):
        return "13000", "The list is not known"
    if known is None and not creates:
        return "12001", "The subscriber does not exist"
    row = known or {"key": key, "lists": {}}
    if creates and known and any(number in row["lists"] for number in lists):
        return "12014", "The subscriber is already on the list"
    row["email"] = told["EmailAddress"]
    for number in lists:
        before = row["lists"].get(number)
        row["lists"][number] = status or before or "Active"
        if row["lists"][number] != before:
            store.effect(KEY, "added_to_list", key, list=LISTS[number])
    store.put(KEY, "subscriber", key, row)
    return "", ""


def _xml(body: str, status: int = HTTPStatus.OK) -> Response:
    soap, xsi = "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2001/XMLSchema-instance"
    text = f'<soap:Envelope xmlns:soap="{soap}" xmlns:xsi="{xsi}"><soap:Body>{body}</soap:Body></soap:Envelope>'
    return Response(status, raw=f'<?xml version="1.0" encoding="utf-8"?>{text}', content_type="text/xml; charset=utf-8")


def _fault(words: str) -> Response:
    fault = f"<soap:Fault><faultcode>soap:Client</faultcode><faultstring>{escape(words)}</faultstring></soap:Fault>"
    return _xml(fault, HTTPStatus.INTERNAL_SERVER_ERROR)


def _saved(method: str, code: str, words: str) -> Response:
    state = "Error" if code else "OK"
    number = f"<ErrorCode>{code}</ErrorCode>" if code else ""
    result = f"<StatusCode>{state}</StatusCode><StatusMessage>{escape(words or 'Saved')}</StatusMessage>{number}"
    named = f'{method}Response xmlns="http://exacttarget.com/wsdl/partnerAPI"'
    overall = f"<RequestID>{uuid.uuid4()}</RequestID><OverallStatus>{state}</OverallStatus>"
    return _xml(f"<{named}><Results>{result}</Results>{overall}</{method}Response>")


def _retrieved(kind: str) -> Response:
    if kind == "List":
        rows = [f"<ID>{number}</ID><ListName>{escape(name)}</ListName>" for number, name in LISTS.items()]
    else:
        rows = [
            f"<Name>{escape(name)}</Name><CustomerKey>{key}</CustomerKey><TriggeredSendStatus>{status}</TriggeredSendStatus>"
            for key, (name, status) in TRIGGERED.items()
            if kind == "TriggeredSendDefinition" and status == "Active"
        ]
    results = "".join(f"<Results>{row}</Results>" for row in rows)
    named = 'RetrieveResponseMsg xmlns="http://exacttarget.com/wsdl/partnerAPI"'
    overall = f"<OverallStatus>OK</OverallStatus><RequestID>{uuid.uuid4()}</RequestID>"
    return _xml(f"<{named}>{overall}{results}</RetrieveResponseMsg>")


TOKEN_ROUTES: tuple[Route, ...] = (
    ("POST", "/login/services/oauth2/token", give_service_token),
    ("POST", "/auth/v2/token", give_marketing_token),
)
SERVICE_ROUTES: tuple[Route, ...] = (
    ("GET", "/query", query),
    ("GET", "/sobjects/Case/describe", describe_case),
    ("POST", "/sobjects/Case", create_case),
    ("PATCH", f"/sobjects/Case/{REFERENCE}/([^/]+)", upsert_case),
    ("POST", "/composite/sobjects", create_records),
)
MARKETING_ROUTES: tuple[Route, ...] = (
    ("GET", "/rest/messaging/v1/email/definitions/", list_definitions),
    ("GET", "/rest/messaging/v1/email/messages/([^/]+)", get_message),
    ("POST", "/rest/messaging/v1/email/messages/([^/]+)", send_message),
    ("POST", "/rest/messaging/v1/messageDefinitionSends/key:([^/]+)/send", trigger),
)


# --- shown to people --------------------------------------------------------------------------------------------------------


def state(store: Store) -> Json:
    """Return this world for the control API."""
    kinds = {"contacts": "Contact", "cases": "Case", "posts": "FeedItem", "mails": "mail", "subscribers": "subscriber"}
    return {name: store.all(KEY, kind) for name, kind in kinds.items()}


def tables(store: Store) -> Sequence[Table]:
    """Return cases with their posts, contacts, mails and subscribers."""
    world = state(store)
    names = {row["Id"]: row["Name"] for row in world["contacts"]}
    cases = [
        (
            row["Id"],
            names.get(row["ContactId"], ""),
            row["Subject"],
            row["Status"],
            row["Priority"],
            row[REFERENCE] or "",
        )
        for row in world["cases"]
    ]
    posts = [(row["ParentId"], row["Body"]) for row in world["posts"]]
    mails = [(row["to"], row["name"], row["id"]) for row in reversed(world["mails"])]
    lists = [(row["key"], ", ".join(LISTS[number] for number in row["lists"])) for row in world["subscribers"]]
    return [
        ("Cases", ("Id", "Contact", "Subject", "Status", "Priority", "Reference"), cases),
        ("Posts", ("Case", "Text"), posts),
        ("Contacts", ("Id", "Name", "E-mail"), [(row["Id"], row["Name"], row["Email"]) for row in world["contacts"]]),
        ("Mails of Marketing Cloud", ("To", "Mail", "Key"), mails),
        ("Subscribers of Marketing Cloud", ("Key", "Lists"), lists),
    ]


WORLD = World(
    key=KEY,
    label=LABEL,
    setup=setup,
    answer=answer,
    state=state,
    tables=tables,
    seed=seed,
    traits=traits,
)
