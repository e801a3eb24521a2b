"""Freshdesk's API v2, as its reference describes it (developers.freshdesk.com/api): what Engage asks of it.

The mount point stands for `https://streamly.freshdesk.com/api/v2`. Tickets change by jobs, which take some seconds. Left out:
fields of an account's own that a ticket must have, what an agent may not do, spam and archived tickets.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from connectors.sandbox.http import Refusal, Request, Response, Route, routed
from connectors.sandbox.people import AVA, BEN, CHLOE, DIEGO, EMMA, GRACE, HUGO, PEOPLE, Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Table, World

KEY, LABEL = "freshdesk", "Freshdesk"
API_KEY = "sandbox-key-not-a-real-credential"
JOB_SECONDS = 2.0

DAY = 86_400
FIRST_CONTACT, FIRST_TICKET = 51_000_100, 300
ZOE, SAM = 51_000_001, 51_000_002
BILLING, RETENTION = 8_100, 8_200
PRIORITIES = {1: "Low", 2: "Medium", 3: "High", 4: "Urgent"}
STATUSES = {2: "Open", 3: "Pending", 4: "Resolved", 5: "Closed", 6: "Waiting on finance"}
SOURCES = {1: "E-mail", 2: "Portal", 3: "Phone", 7: "Chat", 8: "Mobihelp", 9: "Feedback widget", 10: "Outbound e-mail"}
AGENTS = {ZOE: ("Zoe Agent", "support@streamly.example"), SAM: ("Sam Agent", "sam@streamly.example")}
GROUPS = {BILLING: "Billing", RETENTION: "Retention"}


# --- the world at its start -----------------------------------------------------------------------------------------------


def contact_id(person: Person) -> int:
    """Return somebody's id."""
    return FIRST_CONTACT + person.number


def _ticket(number: int, requester: int, subject: str, at: float, **changes: Any) -> Json:
    return {
        "id": number,
        "subject": subject,
        "requester_id": requester,
        "status": 2,
        "priority": 1,
        "source": 1,
        "responder_id": None,
        "group_id": None,
        "tags": [],
        "custom_fields": {},
        "created_at": _time(at),
        "updated_at": _time(at),
        "deleted": False,
    } | changes


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seed(store: Store, _: Json | None = None) -> None:
    """Fill the world. Emma is nobody's contact yet; Ben's is deleted."""
    for person in PEOPLE:
        if person is not EMMA:
            contact = {"id": contact_id(person), "name": f"{person.first} {person.last}", "email": person.email}
            deleted = {"deleted": True} if person is BEN else {}
            store.put(KEY, "contact", contact["id"], {**contact, "active": True, **deleted})
    asked: Sequence[tuple[Person, str, int, Json]] = (
        (AVA, "How do I watch in 4K?", 1, {}),
        (BEN, "I was charged twice", 2, {"priority": 4}),
        (CHLOE, "Where is my discount?", 3, {"responder_id": ZOE}),
        (DIEGO, "Sound out of sync", 5, {}),
        (DIEGO, "Subtitles are missing", 4, {"status": 3}),
        (GRACE, "I want to cancel", 90, {"status": 5}),
        (HUGO, "Download does not start", 45, {"group_id": BILLING}),
    )
    for number, (person, subject, days, changes) in enumerate(asked, start=FIRST_TICKET):
        at = store.now() - days * DAY
        store.put(KEY, "ticket", number, _ticket(number, contact_id(person), subject, at, **changes))


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {"domain": "streamly.freshdesk.com", "api_key": API_KEY}


def traits(person: Person) -> Mapping[str, str]:
    """Return the contact's id. Emma has none, and Diego is found by his address alone."""
    return {} if person in {DIEGO, EMMA} else {"freshdesk_id": str(contact_id(person))}


# --- answering ------------------------------------------------------------------------------------------------------------


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction."""
    if request.basic()[0] != API_KEY:
        words = "You have to be logged in to perform this action."
        return Response(HTTPStatus.UNAUTHORIZED, {"code": "invalid_credentials", "message": words})
    finish_jobs(store)
    return routed(request, store, ROUTES)


def _invalid(field: str, message: str, code: str = "invalid_value") -> Refusal:
    errors = [{"field": field, "message": message, "code": code}]
    return Refusal(HTTPStatus.BAD_REQUEST, {"description": "Validation failed", "errors": errors})


def _body(request: Request) -> Json:
    body = request.json()
    if not isinstance(body, dict):
        words = "Request body has invalid json format"
        raise Refusal(HTTPStatus.BAD_REQUEST, {"code": "invalid_json", "message": words})
    return body


def _found(store: Store, kind: str, number: str) -> Json:
    row = store.get(KEY, kind, number)
    if row is None:
        raise Refusal(HTTPStatus.NOT_FOUND, {"code": "not_found", "message": "Not found"})
    return row


def _page(request: Request, rows: list[Json]) -> Response:
    """Return the page that was asked for, with the next one's address in a header."""
    numbers = {}
    for name, default, most in (("page", 1, 10**6), ("per_page", 30, 100)):
        text = request.first(name, str(default))
        if not re.fullmatch("[0-9]{1,7}", text) or not 1 <= int(text) <= most:
            raise _invalid(name, f"It should be a positive integer less than or equal to {most}")
        numbers[name] = int(text)
    page, size = numbers["page"], numbers["per_page"]
    following = urlencode({**{name: values[0] for name, values in request.query.items()}, "page": page + 1})
    link = {"Link": f'<https://streamly.freshdesk.com/api/v2{request.path}?{following}>; rel="next"'}
    return Response(body=rows[(page - 1) * size : page * size], headers=link if len(rows) > page * size else {})


def show_me(*_: object) -> Response:
    """`GET /agents/me`."""
    return Response(body=_agent(ZOE))


def _agent(number: int) -> Json:
    name, email = AGENTS[number]
    return {"id": number, "ticket_scope": 1, "type": "support_agent", "contact": {"name": name, "email": email}}


def list_agents(request: Request, _: Store) -> Response:
    """`GET /agents`."""
    return _page(request, [_agent(number) for number in AGENTS])


def list_groups(request: Request, _: Store) -> Response:
    """`GET /groups`."""
    return _page(request, [{"id": number, "name": name} for number, name in GROUPS.items()])


def list_fields(request: Request, _: Store) -> Response:
    """`GET /ticket_fields`: the statuses, as agents and as customers see them."""
    field = {"id": 1, "name": "status", "label": "Status", "type": "default_status"}
    return _page(request, [{**field, "choices": {str(number): [name, name] for number, name in STATUSES.items()}}])


def list_contacts(request: Request, store: Store) -> Response:
    """`GET /contacts`: `email` narrows it; deleted ones are listed for `state=deleted` alone."""
    email, deleted = request.first("email").lower(), request.first("state") == "deleted"
    rows = (row for row in store.all(KEY, "contact") if bool(row.get("deleted")) is deleted)
    return _page(request, [row for row in rows if not email or row["email"].lower() == email])


def get_contact(_: Request, store: Store, number: str) -> Response:
    """`GET /contacts/{id}`: `deleted` is there for deleted ones only."""
    return Response(body=_found(store, "contact", number))


def delete_contact(_: Request, store: Store, number: str) -> Response:
    """`DELETE /contacts/{id}`: one that is deleted already is a 405."""
    contact = _found(store, "contact", number)
    if contact.get("deleted"):
        return Response(HTTPStatus.METHOD_NOT_ALLOWED, raw="")
    store.put(KEY, "contact", number, contact | {"deleted": True})
    store.effect(KEY, "contact_deleted", number, who=contact["email"])
    return Response(HTTPStatus.NO_CONTENT, raw="")


def restore_contact(_: Request, store: Store, number: str) -> Response:
    """`PUT /contacts/{id}/restore`."""
    contact = _found(store, "contact", number)
    if not contact.pop("deleted", False):
        return Response(HTTPStatus.NOT_FOUND, raw="")
    store.put(KEY, "contact", number, contact)
    store.effect(KEY, "contact_restored", number, who=contact["email"])
    return Response(HTTPStatus.NO_CONTENT, raw="")


def list_tickets(request: Request, store: Store) -> Response:
    """`GET /tickets`: without `updated_since` only those of the last 30 days."""
    requester, email = request.first("requester_id"), request.first("email").lower()
    since, created = request.first("updated_since"), _time(store.now() - 30 * DAY)
    emails = {row["id"]: row["email"].lower() for row in store.all(KEY, "contact")}
    found = [
        row
        for row in store.all(KEY, "ticket")
        if not row["deleted"]
        and (not requester or str(row["requester_id"]) == requester)
        and (not email or emails.get(row["requester_id"]) == email)
        and (row["updated_at"] >= since if since else row["created_at"] >= created)
    ]
    return _page(request, found)


def get_ticket(_: Request, store: Store, number: str) -> Response:
    """`GET /tickets/{id}`."""
    return Response(body=_found(store, "ticket", number))


KNOWN = {
    "priority": tuple(PRIORITIES),
    "status": tuple(STATUSES),
    "source": tuple(SOURCES),
    "responder_id": tuple(AGENTS),
    "group_id": tuple(GROUPS),
}
IN_A_TICKET = {*KNOWN, "subject", "description", "email", "requester_id", "name", "tags", "custom_fields"}


def _checked(wished: Json, allowed: set[str]) -> None:
    """Refuse members that a ticket does not have, and values that they cannot have."""
    for name, value in wished.items():
        if name not in allowed:
            raise _invalid(name, "Unexpected/invalid field in request", "invalid_field")
        if name in KNOWN and (not isinstance(value, int) or value not in KNOWN[name]):
            raise _invalid(name, f"It should be one of these values: '{','.join(map(str, KNOWN[name]))}'")


def open_ticket(request: Request, store: Store) -> Response:
    """`POST /tickets`: an address that nobody has becomes a contact. No repeat is recognised."""
    wished = _body(request)
    _checked(wished, IN_A_TICKET)
    for name in ("subject", "description"):
        if not isinstance(wished.get(name), str) or not wished[name].strip():
            raise _invalid(name, "It should not be blank as this is a mandatory field", "missing_field")
    tags, custom = wished.get("tags", []), wished.get("custom_fields", {})
    if not isinstance(tags, list) or not all(isinstance(tag, str) and len(tag) <= 32 for tag in tags):
        raise _invalid("tags", "It should be an array of texts of at most 32 characters", "datatype_mismatch")
    if not isinstance(custom, dict) or custom:
        raise _invalid("custom_fields", "This account has no fields of its own", "invalid_field")
    number = FIRST_TICKET + len(store.all(KEY, "ticket"))
    kept = {name: wished[name] for name in KNOWN if name in wished}
    ticket = _ticket(number, _requester(store, wished), wished["subject"], store.now(), tags=tags, **kept)
    store.put(KEY, "ticket", number, ticket)
    store.effect(KEY, "ticket_opened", number, subject=wished["subject"])
    return Response(HTTPStatus.CREATED, ticket)


def _requester(store: Store, wished: Json) -> int:
    if "requester_id" in wished:
        if store.get(KEY, "contact", wished["requester_id"]) is None:
            raise _invalid("requester_id", "There is no contact matching the given requester_id")
        return int(wished["requester_id"])
    email = wished.get("email")
    if not isinstance(email, str) or "@" not in email:
        raise _invalid(
            "email", "It should be a valid email address", "missing_field" if email is None else "invalid_value"
        )
    for contact in store.all(KEY, "contact"):
        if contact["email"].lower() == email.lower():
            return int(contact["id"])
    number = FIRST_CONTACT + 100 + len(store.all(KEY, "contact"))
    name = str(wished.get("name") or email.partition("@")[0])
    store.put(KEY, "contact", number, {"id": number, "name": name, "email": email, "active": False})
    return number


# --- jobs -----------------------------------------------------------------------------------------------------------------


def change_tickets(request: Request, store: Store) -> Response:
    """`POST /tickets/bulk_update`."""
    ids, properties = _bulk(request)
    if not isinstance(properties, dict) or not properties:
        raise _invalid("properties", "It should be an object with at least one member", "missing_field")
    quietly = {name: value for name, value in properties.items() if name != "skip_close_notification"}
    _checked(quietly, set(KNOWN))
    return _queue(store, ids, quietly)


def delete_tickets(request: Request, store: Store) -> Response:
    """`POST /tickets/bulk_delete`: to the trash."""
    ids, _ = _bulk(request)
    return _queue(store, ids, {"deleted": True})


def _bulk(request: Request) -> tuple[list[int], Any]:
    action = _body(request).get("bulk_action")
    ids = action.get("ids") if isinstance(action, dict) else None
    if not isinstance(ids, list) or not ids or not all(isinstance(number, int) for number in ids):
        raise _invalid("ids", "It should be an array of numbers", "missing_field")
    return ids, action.get("properties") if isinstance(action, dict) else None


def _queue(store: Store, ids: list[int], wish: Json) -> Response:
    job = {"id": uuid.uuid4().hex, "status": "IN PROGRESS", "progress": 0, "tickets": ids, "wish": wish}
    store.put(KEY, "job", job["id"], job | {"dueAt": store.now() + JOB_SECONDS})
    href = f"https://streamly.freshdesk.com/api/v2/jobs/{job['id']}"
    return Response(HTTPStatus.ACCEPTED, {"job_id": job["id"], "href": href})


def get_job(_: Request, store: Store, number: str) -> Response:
    """`GET /jobs/{id}`."""
    job = _found(store, "job", number)
    return Response(body={name: job[name] for name in ("id", "status", "progress")})


def finish_jobs(store: Store) -> None:
    """Carry out the jobs whose time has come (asked before every answer, so that nobody needs a timer)."""
    for job in store.all(KEY, "job"):
        if job["status"] != "IN PROGRESS" or job["dueAt"] > store.now():
            continue
        for number in job["tickets"]:
            ticket = store.get(KEY, "ticket", number)
            if ticket is None or ticket["deleted"]:
                continue  # a job says nothing of single tickets
            store.put(KEY, "ticket", number, ticket | job["wish"] | {"updated_at": _time(store.now())})
            if "deleted" in job["wish"]:
                store.effect(KEY, "ticket_moved_to_trash", number)
            else:
                store.effect(KEY, "ticket_changed", number, **job["wish"])
        store.put(KEY, "job", job["id"], job | {"status": "COMPLETED", "progress": 100})


ROUTES: tuple[Route, ...] = (
    ("GET", "/agents/me", show_me),
    ("GET", "/agents", list_agents),
    ("GET", "/groups", list_groups),
    ("GET", "/ticket_fields", list_fields),
    ("GET", "/contacts", list_contacts),
    ("GET", "/contacts/([0-9]+)", get_contact),
    ("DELETE", "/contacts/([0-9]+)", delete_contact),
    ("PUT", "/contacts/([0-9]+)/restore", restore_contact),
    ("GET", "/tickets", list_tickets),
    ("POST", "/tickets", open_ticket),
    ("GET", "/tickets/([0-9]+)", get_ticket),
    ("POST", "/tickets/bulk_update", change_tickets),
    ("POST", "/tickets/bulk_delete", delete_tickets),
    ("GET", "/jobs/([0-9a-f]+)", get_job),
)


# --- shown to people --------------------------------------------------------------------------------------------------------


def state(store: Store) -> Json:
    """Return this world for the control API."""
    finish_jobs(store)
    return {f"{kind}s": store.all(KEY, kind) for kind in ("contact", "ticket", "job")}


def tables(store: Store) -> Sequence[Table]:
    """Return the tickets and the contacts."""
    world = state(store)
    names = {row["id"]: row["name"] for row in world["contacts"]}
    tickets = [
        (
            row["id"],
            names.get(row["requester_id"], ""),
            row["subject"],
            "in the trash" if row["deleted"] else STATUSES[row["status"]],
            PRIORITIES[row["priority"]],
            SOURCES[row["source"]],
            AGENTS.get(row["responder_id"], ("",))[0],
            GROUPS.get(row["group_id"], ""),
            ", ".join(row["tags"]),
        )
        for row in world["tickets"]
    ]
    contacts = [
        (row["id"], row["name"], row["email"], "deleted" if row.get("deleted") else "") for row in world["contacts"]
    ]
    return [
        ("Tickets", ("Id", "Requester", "Subject", "Status", "Priority", "Source", "Agent", "Group", "Tags"), tickets),
        ("Contacts", ("Id", "Name", "E-mail", ""), contacts),
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
