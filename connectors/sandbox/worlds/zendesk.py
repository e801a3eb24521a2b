"""Zendesk's Ticketing API v2, as its reference describes it: what Engage asks of it.

https://developer.zendesk.com/api-reference/ticketing. The mount point stands for `https://streamly.zendesk.com/api/v2`. Tickets
change by jobs, which take some seconds. Of a search only `email:"..."` is understood, and every list is one page. Left out:
custom fields and statuses, ticket forms, what an agent may not do.
"""

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from connectors.sandbox.http import Refusal, Request, Response, Route, routed
from connectors.sandbox.people import AVA, BEN, CHLOE, DIEGO, EMMA, GRACE, HUGO, PEOPLE, Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Table, World

KEY, LABEL = "zendesk", "Zendesk"
AGENT = "support@streamly.example"
TOKEN = "sandbox-token-not-a-real-credential-zendesk"  # noqa: S105 - opens nothing but this fake world
JOB_SECONDS = 2.0
KEY_KEPT = 2 * 3600.0  # seconds for which an Idempotency-Key is known

FIRST_USER, FIRST_TICKET = 9_001_000, 4_100
ZOE, SAM = 9_000_001, 9_000_002
BILLING, RETENTION = 7_100, 7_200
PRIORITIES = frozenset({"urgent", "high", "normal", "low"})
STATUSES = frozenset({"new", "open", "pending", "hold", "solved", "closed"})


# --- the world at its start -----------------------------------------------------------------------------------------------


def user_id(person: Person) -> int:
    """Return somebody's id."""
    return FIRST_USER + person.number


def _user(number: int, name: str, email: str, role: str = "end-user", **changes: Any) -> Json:
    return {"id": number, "name": name, "email": email, "role": role, "suspended": False, "verified": True} | changes


def _ticket(number: int, requester: int, subject: str, **changes: Any) -> Json:
    return {
        "id": number,
        "subject": subject,
        "requester_id": requester,
        "status": "open",
        "priority": "normal",
        "assignee_id": ZOE,
        "group_id": BILLING,
        "tags": [],
        "external_id": None,
    } | changes


def seed(store: Store, _: Json | None = None) -> None:
    """Fill the world. Emma is nobody's user yet; Ben is suspended."""
    staff = (_user(ZOE, "Zoe Agent", AGENT, "admin"), _user(SAM, "Sam Agent", "sam@streamly.example", "agent"))
    known = [
        _user(user_id(one), f"{one.first} {one.last}", one.email, suspended=one is BEN)
        for one in PEOPLE
        if one is not EMMA
    ]
    for user in (*staff, *known):
        store.put(KEY, "user", user["id"], user)
    for number, name in ((BILLING, "Billing"), (RETENTION, "Retention")):
        store.put(KEY, "group", number, {"id": number, "name": name, "deleted": False})
    asked: Sequence[tuple[Person, str, Json]] = (
        (AVA, "How do I watch in 4K?", {}),
        (AVA, "Invoice of last month", {"status": "closed"}),
        (BEN, "I was charged twice", {"priority": "urgent"}),
        (CHLOE, "Where is my discount?", {"assignee_id": None}),  # cannot be solved while nobody has it
        (DIEGO, "Sound out of sync", {}),
        (DIEGO, "Subtitles are missing", {"status": "pending"}),
        (GRACE, "I want to cancel", {"status": "solved"}),
        (HUGO, "Download does not start", {"priority": "low"}),
    )
    for number, (person, subject, changes) in enumerate(asked, start=FIRST_TICKET):
        store.put(KEY, "ticket", number, _ticket(number, user_id(person), subject, **changes))


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {"domain": "streamly.zendesk.com", "username": AGENT, "api_key": TOKEN}


def traits(person: Person) -> Mapping[str, str]:
    """Return the user's id. Emma has none, and Diego is found by his address alone."""
    return {} if person in {DIEGO, EMMA} else {"zendesk_id": str(user_id(person))}


# --- answering ------------------------------------------------------------------------------------------------------------


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction."""
    if request.basic() != (f"{AGENT}/token", TOKEN):
        if request.path == "/users/me" and "authorization" not in request.headers:
            return Response(body={"user": _user(0, "Anonymous user", "invalid@example.com") | {"id": None}})
        return Response(HTTPStatus.UNAUTHORIZED, {"error": "Couldn't authenticate you"})
    finish_jobs(store)
    return routed(
        request, store, ROUTES, nothing=lambda _: {"error": {"title": "Not found", "message": "No such page"}}
    )


def _refusal(status: int, error: str, description: str, **details: str) -> Refusal:
    told = {name: [{"description": words, "error": "InvalidValue"}] for name, words in details.items()}
    return Refusal(status, {"error": error, "description": description} | ({"details": told} if told else {}))


def _invalid(**details: str) -> Refusal:
    return _refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "RecordInvalid", "Record validation errors", **details)


def _member(request: Request, name: str) -> Json:
    """Return the object in which a request wraps what it is about."""
    body = request.json()
    wrapped = body.get(name) if isinstance(body, dict) else None
    if not isinstance(wrapped, dict):
        raise _refusal(HTTPStatus.BAD_REQUEST, "RequiredParameterMissing", f"Parameter {name} is required")
    return wrapped


def _found(store: Store, kind: str, number: str) -> Json:
    row = store.get(KEY, kind, number)
    if row is None:
        raise _refusal(HTTPStatus.NOT_FOUND, "RecordNotFound", "Not found")
    return row


def _page(name: str, rows: list[Json]) -> Response:
    """Return a list as cursors page it: all of it."""
    return Response(body={name: rows, "meta": {"has_more": False}, "links": {"next": None, "prev": None}})


def show_me(_: Request, store: Store) -> Response:
    """`GET /users/me`."""
    return Response(body={"user": store.get(KEY, "user", ZOE)})


def list_users(request: Request, store: Store) -> Response:
    """`GET /users`: `role[]` narrows it."""
    roles = request.query.get("role[]", [])
    return _page("users", [user for user in store.all(KEY, "user") if not roles or user["role"] in roles])


def search_users(request: Request, store: Store) -> Response:
    """`GET /users/search`: whose address holds what stands behind `email:`; pages have numbers here."""
    wanted = re.fullmatch(r'email:"?([^"]*)"?', request.first("query"))
    found = [user for user in store.all(KEY, "user") if wanted and wanted[1].lower() in user["email"].lower()]
    return Response(body={"users": found, "next_page": None, "previous_page": None, "count": len(found)})


def get_user(_: Request, store: Store, number: str) -> Response:
    """`GET /users/{user_id}`."""
    return Response(body={"user": _found(store, "user", number)})


def change_user(request: Request, store: Store, number: str) -> Response:
    """`PUT /users/{user_id}`: `suspended` is all that can be changed here."""
    user, wished = _found(store, "user", number), _member(request, "user").get("suspended")
    if not isinstance(wished, bool):
        raise _invalid(suspended="Suspended: is invalid")
    _suspend(store, user, suspended=wished)
    return Response(body={"user": user})


def _suspend(store: Store, user: Json, *, suspended: bool) -> None:
    user["suspended"] = suspended
    store.put(KEY, "user", user["id"], user)
    store.effect(KEY, "user_suspended" if suspended else "user_restored", user["id"], who=user["email"])


def list_groups(_: Request, store: Store) -> Response:
    """`GET /groups/assignable`."""
    return _page("groups", store.all(KEY, "group"))


def list_tickets(request: Request, store: Store) -> Response:
    """`GET /tickets`: `external_id` narrows it."""
    wanted = request.first("external_id")
    return _page("tickets", [row for row in store.all(KEY, "ticket") if not wanted or row["external_id"] == wanted])


def list_requested(_: Request, store: Store, number: str) -> Response:
    """`GET /users/{user_id}/tickets/requested`."""
    user = _found(store, "user", number)
    there = (row for row in store.all(KEY, "ticket") if row["status"] != "deleted")
    return _page("tickets", [row for row in there if row["requester_id"] == user["id"]])


def open_ticket(request: Request, store: Store) -> Response:
    """`POST /tickets`: a repeat under the same Idempotency-Key gets the first answer."""
    key, asked = request.headers.get("idempotency-key", ""), request.content.decode("utf-8", "replace")
    known = store.get(KEY, "key", key) if key else None
    if known is not None and known["until"] > store.now():
        if known["asked"] != asked:
            raise _refusal(
                HTTPStatus.BAD_REQUEST, "IdempotentRequestError", "The key was used with other parameters before."
            )
        return Response(HTTPStatus.CREATED, known["answer"], {"x-idempotency-lookup": "hit"})
    wished = _member(request, "ticket")
    comment = wished.get("comment")
    words = comment.get("body") if isinstance(comment, dict) else None
    if not isinstance(words, str) or not words.strip():
        raise _invalid(base="Description: cannot be blank")
    problems = _problems(store, wished)
    if problems:
        raise _invalid(**problems)
    number = FIRST_TICKET + len(store.all(KEY, "ticket"))
    kept = {name: wished[name] for name in _CHANGEABLE if wished.get(name)}
    tags = wished.get("tags")
    kept |= {"tags": tags if isinstance(tags, list) else [], "external_id": wished.get("external_id")}
    subject = str(wished.get("subject") or words[:80])
    ticket = _ticket(number, _requester(store, wished), subject, status="new", assignee_id=None, group_id=None) | kept
    store.put(KEY, "ticket", number, ticket)
    store.effect(KEY, "ticket_opened", number, subject=subject)
    body = {"ticket": ticket, "audit": {"id": number * 10, "events": []}}
    if key:
        store.put(KEY, "key", key, {"asked": asked, "answer": body, "until": store.now() + KEY_KEPT})
    return Response(HTTPStatus.CREATED, body, {"x-idempotency-lookup": "miss", "Location": f"/tickets/{number}"})


def _requester(store: Store, wished: Json) -> int:
    """Return who asks; an address that nobody has becomes a user."""
    if "requester_id" in wished:
        if store.get(KEY, "user", wished["requester_id"]) is None:
            raise _invalid(requester="Requester: is invalid")
        return int(wished["requester_id"])
    told = wished.get("requester")
    if told is None:
        return ZOE
    email = told.get("email") if isinstance(told, dict) else None
    if not isinstance(email, str) or "@" not in email:
        raise _invalid(requester="Requester: Email: is not properly formatted")
    known = [user for user in store.all(KEY, "user") if user["email"].lower() == email.lower()]
    if known:
        return int(known[0]["id"])
    if not told.get("name"):
        raise _invalid(requester="Requester: Name: is too short (minimum one character)")
    number = FIRST_USER + 100 + len(store.all(KEY, "user"))
    store.put(KEY, "user", number, _user(number, str(told["name"]), email))
    return number


_CHANGEABLE = ("priority", "status", "assignee_id", "group_id")


def _problems(store: Store, wished: Json) -> dict[str, str]:
    """Say which of a ticket's new members are none, in Zendesk's words."""
    agents = {user["id"] for user in store.all(KEY, "user") if user["role"] != "end-user"}
    groups = {group["id"] for group in store.all(KEY, "group")}
    allowed = {"priority": PRIORITIES, "status": STATUSES - {"closed"}, "assignee_id": agents, "group_id": groups}
    shown = {name: name.removesuffix("_id").capitalize() for name in allowed}
    return {
        name.removesuffix("_id"): f"{shown[name]}: {json.dumps(wished[name])} is not valid"
        for name, values in allowed.items()
        if wished.get(name) is not None and (isinstance(wished[name], (list, dict)) or wished[name] not in values)
    }


# --- jobs -----------------------------------------------------------------------------------------------------------------


def _queue(request: Request, store: Store, action: str, wish: Json) -> Response:
    ids = request.first("ids").split(",")
    if not all(re.fullmatch("[0-9]{1,19}", number) for number in ids) or len(ids) > 100:
        raise _refusal(HTTPStatus.BAD_REQUEST, "InvalidParameter", "ids must be up to 100 numbers with commas between")
    job = {"id": uuid.uuid4().hex, "status": "queued", "total": len(ids), "progress": None, "message": None}
    job |= {"results": None, "action": action, "tickets": ids, "wish": wish, "dueAt": store.now() + JOB_SECONDS}
    store.put(KEY, "job", job["id"], job)
    return Response(body={"job_status": _shown(job)})


def change_tickets(request: Request, store: Store) -> Response:
    """`PUT /tickets/update_many?ids=`."""
    return _queue(request, store, "update", _member(request, "ticket"))


def delete_tickets(request: Request, store: Store) -> Response:
    """`DELETE /tickets/destroy_many?ids=`."""
    return _queue(request, store, "delete", {})


def spam_tickets(request: Request, store: Store) -> Response:
    """`PUT /tickets/mark_many_as_spam?ids=`: the requesters are suspended too, as by the same request for one ticket."""
    return _queue(request, store, "spam", {})


def get_job(_: Request, store: Store, number: str) -> Response:
    """`GET /job_statuses/{job_status_id}`."""
    return Response(body={"job_status": _shown(_found(store, "job", number))})


def _shown(job: Json) -> Json:
    return {name: job[name] for name in ("id", "status", "total", "progress", "message", "results")}


def finish_jobs(store: Store) -> None:
    """Carry out the jobs whose time has come (asked before every answer, so that nobody needs a timer)."""
    for job in store.all(KEY, "job"):
        if job["status"] != "queued" or job["dueAt"] > store.now():
            continue
        results = [_carry_out(store, job, index, int(number)) for index, number in enumerate(job["tickets"])]
        done = {"status": "completed", "progress": job["total"], "results": results}
        store.put(KEY, "job", job["id"], job | done | {"message": f"Completed at {store.now():.0f}"})


def _carry_out(store: Store, job: Json, index: int, number: int) -> Json:
    ticket = store.get(KEY, "ticket", number)
    row = {"index": index, "id": number, "action": job["action"], "success": False}
    if ticket is None or ticket["status"] == "deleted":
        return row | {"error": "TicketNotFound", "details": f"Ticket {number} was not found"}
    if job["action"] == "update":
        problem = _cannot_change(store, ticket, job["wish"])
        if problem:
            return row | {"error": "TicketUpdateFailed", "details": problem}
        wish = {name: job["wish"][name] for name in _CHANGEABLE if name in job["wish"]}
        store.put(KEY, "ticket", number, ticket | wish)
        store.effect(KEY, "ticket_changed", number, **wish)
        return row | {"success": True}
    store.put(KEY, "ticket", number, ticket | {"status": "deleted"})
    store.effect(KEY, "ticket_deleted" if job["action"] == "delete" else "ticket_marked_as_spam", number)
    requester = store.get(KEY, "user", ticket["requester_id"])
    if job["action"] == "spam" and requester and not requester["suspended"]:
        _suspend(store, requester, suspended=True)
    return row | {"success": True}


def _cannot_change(store: Store, ticket: Json, wish: Json) -> str:
    if ticket["status"] == "closed":
        return "Status: closed prevents ticket update"
    if wish.get("status") == "solved" and not (wish.get("assignee_id") or ticket["assignee_id"]):
        return "Assignee: is required when solving a ticket"
    return "; ".join(_problems(store, wish).values())


ROUTES: tuple[Route, ...] = (
    ("GET", "/users/me", show_me),
    ("GET", "/users", list_users),
    ("GET", "/users/search", search_users),
    ("GET", "/users/([0-9]+)", get_user),
    ("PUT", "/users/([0-9]+)", change_user),
    ("GET", "/users/([0-9]+)/tickets/requested", list_requested),
    ("GET", "/groups/assignable", list_groups),
    ("GET", "/tickets", list_tickets),
    ("POST", "/tickets", open_ticket),
    ("PUT", "/tickets/update_many", change_tickets),
    ("PUT", "/tickets/mark_many_as_spam", spam_tickets),
    ("DELETE", "/tickets/destroy_many", delete_tickets),
    ("GET", "/job_statuses/([0-9a-f]+)", get_job),
)


# --- shown to people --------------------------------------------------------------------------------------------------------


def state(store: Store) -> Json:
    """Return this world for the control API."""
    finish_jobs(store)
    return {f"{kind}s": store.all(KEY, kind) for kind in ("user", "ticket", "group", "job")}


def tables(store: Store) -> Sequence[Table]:
    """Return the tickets and the users."""
    world = state(store)
    users = {user["id"]: user["name"] for user in world["users"]}
    groups = {group["id"]: group["name"] for group in world["groups"]}
    tickets = [
        (
            row["id"],
            users.get(row["requester_id"], ""),
            row["subject"],
            row["status"],
            row["priority"],
            users.get(row["assignee_id"], ""),
            groups.get(row["group_id"], ""),
            ", ".join(map(str, row["tags"])),
        )
        for row in world["tickets"]
    ]
    people = [
        (user["id"], user["name"], user["email"], user["role"], "suspended" if user["suspended"] else "")
        for user in world["users"]
    ]
    return [
        ("Tickets", ("Id", "Requester", "Subject", "Status", "Priority", "Agent", "Group", "Tags"), tickets),
        ("Users", ("Id", "Name", "E-mail", "Role", ""), people),
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
