"""ActiveCampaign's API 3, as its reference describes it (developers.activecampaign.com): what Engage asks of it.

The mount point stands for `https://<account>.api-us1.com/api/3`. Where the reference leaves words open (of a wrong key, of an
automation that somebody is in already), this world picks some.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from connectors.sandbox.http import Refusal, Request, Response, Route, objects, routed
from connectors.sandbox.people import AVA, BEN, CHLOE, HUGO, PEOPLE, Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Table, World

KEY, LABEL = "activecampaign", "ActiveCampaign"
API_KEY = "sandbox-key-not-a-real-credential"
NEWSLETTER, OFFERS = "1", "2"
WIN_BACK, WELCOME, DRAFT = "1", "2", "3"
ACTIVE, UNSUBSCRIBED = "1", "2"
PLAN = "1"
LISTS = {NEWSLETTER: "Newsletter", OFFERS: "Offers and discounts", "3": "Product news"}
AUTOMATIONS = {WIN_BACK: ("Win back", "1"), WELCOME: ("Welcome series", "1"), DRAFT: ("Draft", "2")}
FIELDS = {PLAN: "Plan", "2": "Why they left"}
NAMES = ("firstName", "lastName", "phone")
MOST, USUAL = 100, 20


def seed(store: Store, more: Json | None = None) -> None:
    """Fill the world; `more` may hold `contacts`, as the API shows them."""
    if more is None:
        for number, name in LISTS.items():
            store.put(KEY, "list", number, {"id": number, "name": name, "stringid": name.lower().replace(" ", "-")})
        for number, (name, status) in AUTOMATIONS.items():
            store.put(KEY, "automation", number, {"id": number, "name": name, "status": status})
        for number, title in FIELDS.items():
            store.put(KEY, "field", number, {"id": number, "title": title, "type": "text"})
        more = {"contacts": [_contact(person) for person in PEOPLE if person != HUGO]}  # who is no contact yet
        _subscribe(store, _contact(AVA)["id"], NEWSLETTER, ACTIVE)
        _subscribe(store, _contact(BEN)["id"], NEWSLETTER, UNSUBSCRIBED)
        _enter(store, _contact(CHLOE)["id"], WELCOME)
    for contact in more.get("contacts", ()):
        store.put(KEY, "contact", contact["id"], contact)


def _contact(person: Person) -> Json:
    return {
        "id": str(100 + person.number),
        "email": person.email,
        "firstName": person.first,
        "lastName": person.last,
        "phone": "",
        "fields": {},
    }


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {"account_url": "https://sandbox.api-us1.com", "api_key": API_KEY}


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction."""
    if request.headers.get("api-token") != API_KEY:
        return Response(HTTPStatus.FORBIDDEN, {"message": "You are not authorized: the Api-Token is not known."})
    return routed(request, store, ROUTES)


def _errors(title: str, pointer: str) -> Refusal:
    body = {"errors": [{"title": title, "detail": "", "source": {"pointer": f"/data/attributes/{pointer}"}}]}
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, body)


def _no_result(what: str, number: object) -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, {"message": f"No Result found for {what} with id {number}"})


def _part(request: Request, name: str) -> Json:
    part = request.members().get(name)
    return part if isinstance(part, dict) else {}


def who_am_i(_: Request, __: Store) -> Response:
    """`GET /users/me`."""
    return Response(body={"user": {"id": "1", "username": "sandbox", "email": "owner@example.com"}})


# --- contacts -------------------------------------------------------------------------------------------------------------


def _shown(contact: Json) -> Json:
    return {name: value for name, value in contact.items() if name != "fields"}


def find_contacts(request: Request, store: Store) -> Response:
    """`GET /contacts`: by `email`, whatever its case."""
    email = request.first("email").lower()
    found = [_shown(row) for row in store.all(KEY, "contact") if not email or row["email"].lower() == email]
    return Response(body={"contacts": found[:USUAL], "meta": {"total": str(len(found))}})


def sync_contact(request: Request, store: Store) -> Response:
    """`POST /contact/sync`: adds the contact with this address, or changes what is said of it."""
    given = _part(request, "contact")
    email = given.get("email")
    if not isinstance(email, str) or "@" not in email:
        raise _errors("Contact Email Address is not valid.", "email")
    contacts = store.all(KEY, "contact")
    known = next((row for row in contacts if row["email"].lower() == email.lower()), None)
    contact = known or {
        "id": str(1 + max((int(row["id"]) for row in contacts), default=100)),
        "email": email,
        **dict.fromkeys(NAMES, ""),
        "fields": {},
    }
    told = {name: str(given[name]) for name in NAMES if given.get(name)}
    values = objects(given.get("fieldValues"))
    fields = {str(one.get("field")): str(one.get("value", "")) for one in values if str(one.get("field")) in FIELDS}
    after = contact | told | {"fields": contact["fields"] | fields}
    if after != known:
        detail = told | {FIELDS[number]: value for number, value in fields.items()}
        store.effect(KEY, "profile_updated" if known else "contact_added", email, **detail)
    store.put(KEY, "contact", after["id"], after)
    shown = [{"contact": after["id"], "field": number, "value": value} for number, value in after["fields"].items()]
    body = {"fieldValues": shown, "contact": _shown(after)}
    return Response(HTTPStatus.OK if known else HTTPStatus.CREATED, body)


def _known_contact(store: Store, number: Any) -> Json:
    contact = store.get(KEY, "contact", number)
    if contact is None:
        raise _no_result("Subscriber", number)
    return contact


# --- lists and automations ------------------------------------------------------------------------------------------------


def _subscribe(store: Store, contact: str, number: str, status: str) -> Json:
    row = {"id": f"{contact}{number}", "contact": contact, "list": number, "status": status}
    store.put(KEY, "contactList", row["id"], row)
    return row


def subscribe(request: Request, store: Store) -> Response:
    """`POST /contactLists`: the three values are texts."""
    given = _part(request, "contactList")
    if not all(isinstance(given.get(name), str) for name in ("list", "contact", "status")):
        raise _errors("list, contact and status are required, as texts.", "list")
    contact, number = _known_contact(store, given["contact"]), given["list"]
    if store.get(KEY, "list", number) is None:
        raise _no_result("List", number)
    if given["status"] not in {ACTIVE, UNSUBSCRIBED}:
        raise _errors("status is 1 or 2.", "status")
    before = store.get(KEY, "contactList", f"{contact['id']}{number}")
    if before is None or before["status"] != given["status"]:
        what = "subscribed" if given["status"] == ACTIVE else "unsubscribed"
        store.effect(KEY, what, contact["email"], list=LISTS.get(number, number))
    row = _subscribe(store, contact["id"], number, given["status"])
    return Response(body={"contacts": [_shown(contact)], "contactList": row})


def _enter(store: Store, contact: str, number: str) -> Json:
    row = {"id": f"{contact}{number}", "contact": contact, "automation": number, "seriesid": number, "status": "1"}
    store.put(KEY, "contactAutomation", row["id"], row)
    return row


def enter(request: Request, store: Store) -> Response:
    """`POST /contactAutomations`: takes nobody twice, and nobody at all while the automation is not active."""
    given = _part(request, "contactAutomation")
    if not all(type(given.get(name)) is int for name in ("contact", "automation")):
        raise _errors("contact and automation are required, as numbers.", "automation")
    contact, number = _known_contact(store, given["contact"]), str(given["automation"])
    automation = store.get(KEY, "automation", number)
    is_in = store.get(KEY, "contactAutomation", f"{contact['id']}{number}") is not None
    if automation is None or automation["status"] != "1" or is_in:
        raise Refusal(HTTPStatus.FORBIDDEN, {"message": "Could not create SubscriberSeries"})
    store.effect(KEY, "automation_entered", contact["email"], automation=automation["name"])
    row = _enter(store, contact["id"], number)
    return Response(HTTPStatus.CREATED, {"contacts": [_shown(contact)], "contactAutomation": row})


def _page(request: Request, name: str, rows: Sequence[Json]) -> Response:
    limit, offset = request.first("limit", str(USUAL)), request.first("offset", "0")
    if not (limit.isdecimal() and offset.isdecimal()):
        raise _errors("limit and offset are whole numbers.", "limit")
    first = int(offset)
    return Response(body={name: rows[first : first + min(int(limit), MOST)], "meta": {"total": str(len(rows))}})


def list_of_contact(request: Request, store: Store, number: str, name: str) -> Response:
    """`GET /contacts/{id}/contactLists` and `/contactAutomations`."""
    contact = _known_contact(store, number)
    rows = [row for row in store.all(KEY, name.removesuffix("s")) if row["contact"] == contact["id"]]
    return _page(request, name, rows)


def list_all(request: Request, store: Store, name: str) -> Response:
    """`GET /lists`, `/automations` and `/fields`."""
    return _page(request, name, store.all(KEY, name.removesuffix("s")))


ROUTES: tuple[Route, ...] = (
    ("GET", "/users/me", who_am_i),
    ("GET", "/contacts", find_contacts),
    ("POST", "/contact/sync", sync_contact),
    ("GET", "/contacts/([^/]+)/(contactLists|contactAutomations)", list_of_contact),
    ("POST", "/contactLists", subscribe),
    ("POST", "/contactAutomations", enter),
    ("GET", "/(lists|automations|fields)", list_all),
)


# --- shown to people ------------------------------------------------------------------------------------------------------


def state(store: Store) -> Json:
    """Return this world for the control API."""
    kinds = ("contact", "contactList", "contactAutomation", "list", "automation", "field")
    return {f"{kind}s": store.all(KEY, kind) for kind in kinds}


def tables(store: Store) -> Sequence[Table]:
    """Return what the page shows of this world."""
    world = state(store)

    def within(rows: Sequence[Json], contact: Json, kind: str, names: Mapping[str, str]) -> str:
        return ", ".join(
            names.get(row[kind], row[kind]) + (" (unsubscribed)" if row["status"] == UNSUBSCRIBED else "")
            for row in rows
            if row["contact"] == contact["id"]
        )

    automations = {number: name for number, (name, _) in AUTOMATIONS.items()}
    contacts = [
        (
            row["id"],
            row["email"],
            f"{row['firstName']} {row['lastName']}".strip(),
            row["phone"],
            ", ".join(f"{FIELDS[number]}: {value}" for number, value in row["fields"].items()),
            within(world["contactLists"], row, "list", LISTS),
            within(world["contactAutomations"], row, "automation", automations),
        )
        for row in world["contacts"]
    ]
    columns = ("Id", "E-mail address", "Name", "Phone", "Custom fields", "Lists", "Automations")
    return [("Contacts", columns, contacts)]


WORLD = World(
    key=KEY,
    label=LABEL,
    setup=setup,
    answer=answer,
    state=state,
    tables=tables,
    seed=seed,
)
