"""Braze's REST API, as its documentation describes it (braze.com/docs/api): what Engage asks of it.

The mount point stands for an instance's endpoint, such as `https://rest.iad-01.braze.com`. Left out: purchases, what a key may,
and maintenance. Where the documentation leaves words open (of a wrong key, of a transactional mail to nobody), this world picks
some.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from connectors.sandbox.http import Refusal, Request, Response, Route, objects, routed
from connectors.sandbox.people import FARID, GRACE, HUGO, PEOPLE, Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Table, World

KEY, LABEL = "braze", "Braze"
API_KEY = "sandbox-key-not-a-real-credential-00"
MOST_OBJECTS, MOST_RECIPIENTS, PAGE = 75, 50, 100
SEND_ID = re.compile(r"[A-Za-z0-9\-_+/=]+")
SEND_ID_KEPT = 86_400
WHO = ("external_id", "user_alias", "braze_id", "email")
NO_ATTRIBUTES = {"external_id", "user_alias", "braze_id", "_update_existing_only"}


def _id(number: int) -> str:
    return f"5a4db0c0-0000-4000-8000-{number:012d}"


WIN_BACK, NEWSLETTER, RECEIPT, SERIES = _id(1), _id(2), _id(3), _id(11)
CAMPAIGNS = (
    (WIN_BACK, "Win back with 20 % off", "api"),
    (NEWSLETTER, "Weekly newsletter (scheduled)", "scheduled"),
    (RECEIPT, "Your plan has changed (transactional)", "transactional"),
)
CANVASES = ((SERIES, "Stay with us, in three mails", "api"), (_id(12), "Onboarding (scheduled)", "scheduled"))


def seed(store: Store, more: Json | None = None) -> None:
    """Fill the world; `more` may hold `users`, as `_user()` returns them."""
    if more is None:
        for kind, rows in (("campaign", CAMPAIGNS), ("canvas", CANVASES)):
            for number, name, delivery in rows:
                store.put(KEY, kind, number, {"id": number, "name": name, "delivery": delivery})
        more = {"users": [_first(person) for person in PEOPLE if person != HUGO]}  # of whom Braze has not heard yet
    for user in more.get("users", ()):
        store.put(KEY, "user", user["braze_id"], user)


def _user(**known: Any) -> Json:
    return {"braze_id": uuid.uuid4().hex[:24], "external_id": None, "aliases": [], "attributes": {}} | known


def _first(person: Person) -> Json:
    attributes = {"email": person.email, "first_name": person.first, "last_name": person.last}
    if person == FARID:
        attributes["email_subscribe"] = "unsubscribed"
    # Grace came by a newsletter: nobody has said yet by which id the App knows her.
    return _user(external_id=None if person == GRACE else person.user_id, attributes=attributes)


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {"base_url": "https://rest.iad-01.braze.com", "api_key": API_KEY, "user_ids": "on", "traits": "plan"}


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction."""
    if request.bearer() != API_KEY:
        return Response(HTTPStatus.UNAUTHORIZED, {"message": "Invalid API key: sandbox"})
    return routed(request, store, ROUTES)


def _refusal(message: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, {"message": message})


# --- users ----------------------------------------------------------------------------------------------------------------


def _named(given: Json) -> str:
    """Return by which of its names an object says who is meant; empty: it does not say."""
    return next((name for name in WHO if given.get(name)), "")


def _find(store: Store, name: str, value: Any) -> Json | None:
    """Return whom an identifier means; of several with an address the one with an external id."""
    users = sorted(store.all(KEY, "user"), key=lambda user: user["external_id"] is None)
    fits = {
        "external_id": lambda user: user["external_id"] == value,
        "user_alias": lambda user: value in user["aliases"],
        "braze_id": lambda user: user["braze_id"] == value,
        "email": lambda user: str(user["attributes"].get("email", "")).lower() == str(value).lower(),
    }[name]
    return next(filter(fits, users), None)


def _whom(user: Json) -> str:
    return str(user["external_id"] or user["attributes"].get("email") or user["braze_id"])


def _set_attributes(store: Store, given: Json) -> str:
    """Set somebody's attributes; returns why not."""
    name = _named(given)
    if not name:
        return "'external_id', 'braze_id', 'user_alias' or 'email' is required"
    known = {each: value for each, value in given.items() if each not in NO_ATTRIBUTES}
    user = _find(store, name, given[name])
    if user is None:
        if name == "braze_id" or given.get("_update_existing_only", name == "user_alias"):
            return ""  # whoever is not there is passed over without a word
        user = _user(
            external_id=given.get("external_id"),
            aliases=[given["user_alias"]] if name == "user_alias" else [],
            attributes=known,
        )
        store.effect(KEY, "user_added", _whom(user), **known)
    elif (changed := user["attributes"] | known) != user["attributes"]:
        user |= {"attributes": changed}
        store.effect(KEY, "profile_updated", _whom(user), **known)
    store.put(KEY, "user", user["braze_id"], user)
    return ""


def _add_event(store: Store, given: Json) -> str:
    """Add an event to somebody's profile, who is made for it where they are not there; returns why not."""
    lacking = [name for name in ("name", "time") if not isinstance(given.get(name), str) or not given[name]]
    if lacking:
        return f"'{lacking[0]}' is required"
    name = _named(given)
    if problem := _set_attributes(
        store, {each: given[each] for each in (name, "_update_existing_only") if each in given}
    ):
        return problem
    if user := _find(store, name, given[name]):
        store.put(KEY, "event", uuid.uuid4().hex, {"user": _whom(user), "name": given["name"]})
        store.effect(KEY, "event_received", _whom(user), event=given["name"])
    return ""


def track(request: Request, store: Store) -> Response:
    """`POST /users/track`: takes what is right, and names the rest."""
    body = request.members()
    given = {name: body[name] for name in ("attributes", "events") if isinstance(body.get(name), list) and body[name]}
    if not given:
        raise _refusal("Valid data must be provided in the 'attributes', 'events', or 'purchases' fields.")
    if any(len(rows) > MOST_OBJECTS for rows in given.values()):
        raise _refusal(f"No more than {MOST_OBJECTS} objects of a kind are taken in a request.")
    errors, processed = [], {}
    for name, rows in given.items():
        take = _set_attributes if name == "attributes" else _add_event
        words = [take(store, row) if isinstance(row, dict) else "an object is required" for row in rows]
        errors += [{"type": why, "input_array": name, "index": index} for index, why in enumerate(words) if why]
        processed[f"{name}_processed"] = words.count("")
    return Response(HTTPStatus.CREATED, {"message": "success", **processed, **({"errors": errors} if errors else {})})


# --- messages -------------------------------------------------------------------------------------------------------------


def _recipient(store: Store, given: Json) -> Json | None:
    """Return who gets it; None: nobody is meant, and nothing is sent."""
    named = [name for name in ("external_user_id", *WHO[1:]) if given.get(name)]
    if len(named) != 1:
        raise _refusal("Each recipient must have exactly one of external_user_id, user_alias, braze_id and email.")
    if named == ["email"] and not given.get("prioritization"):
        raise _refusal("'prioritization' is required with 'email'")
    return _find(store, named[0].replace("_user_", "_"), given[named[0]])


def _trigger(request: Request, store: Store, kind: str, effect: str) -> Response:
    body = request.members()
    chosen = store.get(KEY, kind, body.get(f"{kind}_id"))
    if chosen is None or chosen["delivery"] != "api":
        raise _refusal(f"Invalid {kind.capitalize()} ID")
    recipients = objects(body.get("recipients"))
    if not recipients or body.get("broadcast"):
        raise _refusal("'recipients' is required, and 'broadcast' must be false with it")
    if len(recipients) > MOST_RECIPIENTS:
        raise _refusal(f"'recipients' has more than {MOST_RECIPIENTS} objects")
    for user in [_recipient(store, given) for given in recipients]:
        if user and user["attributes"].get("email_subscribe") != "unsubscribed":
            store.effect(KEY, effect, _whom(user), name=chosen["name"])
    return Response(HTTPStatus.CREATED, {"message": "success", "dispatch_id": uuid.uuid4().hex})


def trigger_campaign(request: Request, store: Store) -> Response:
    """`POST /campaigns/trigger/send`: whom Braze does not know, and who has unsubscribed, gets nothing; the answer is the same."""
    return _trigger(request, store, "campaign", "message_sent")


def trigger_canvas(request: Request, store: Store) -> Response:
    """`POST /canvas/trigger/send`."""
    return _trigger(request, store, "canvas", "canvas_entered")


def send_transactional(request: Request, store: Store, number: str) -> Response:
    """`POST /transactional/v1/campaigns/{campaign_id}/send`: an `external_send_id` of the last day is known again."""
    body, campaign = request.members(), store.get(KEY, "campaign", number)
    if campaign is None or campaign["delivery"] != "transactional":
        raise _refusal("The campaign is not a transactional campaign")
    recipient, send_id = body.get("recipient"), body.get("external_send_id")
    if not isinstance(recipient, dict) or not {"external_user_id", "user_alias"} & set(recipient):
        raise _refusal("'recipient' must have an external_user_id or a user_alias")
    if send_id is not None and not (isinstance(send_id, str) and SEND_ID.fullmatch(send_id)):
        raise _refusal("'external_send_id' is not valid")
    before = store.get(KEY, "send", send_id) if send_id else None
    if before and before["at"] > store.now() - SEND_ID_KEPT:
        return Response(HTTPStatus.CREATED, before["answer"])
    user = _recipient(store, recipient)
    if user is None:
        raise _refusal("The recipient could not be found")
    sent = {"dispatch_id": uuid.uuid4().hex, "status": "sent", "metadata": {"external_send_id": send_id}}
    if send_id:
        store.put(KEY, "send", send_id, {"at": store.now(), "answer": sent})
    store.effect(KEY, "message_sent", _whom(user), name=campaign["name"])
    return Response(HTTPStatus.CREATED, sent)


# --- lists ----------------------------------------------------------------------------------------------------------------


def _list(request: Request, store: Store, kind: str, name: str) -> Response:
    page = request.first("page", "0")
    if not page.isdecimal():
        raise _refusal("'page' must be a whole number")
    rows = [{"id": row["id"], "name": row["name"], "tags": []} for row in store.all(KEY, kind)]
    return Response(body={name: rows[int(page) * PAGE : (int(page) + 1) * PAGE], "message": "success"})


def list_campaigns(request: Request, store: Store) -> Response:
    """`GET /campaigns/list`."""
    return _list(request, store, "campaign", "campaigns")


def list_canvases(request: Request, store: Store) -> Response:
    """`GET /canvas/list`."""
    return _list(request, store, "canvas", "canvases")


ROUTES: tuple[Route, ...] = (
    ("POST", "/users/track", track),
    ("POST", "/campaigns/trigger/send", trigger_campaign),
    ("POST", "/canvas/trigger/send", trigger_canvas),
    ("POST", "/transactional/v1/campaigns/([^/]+)/send", send_transactional),
    ("GET", "/campaigns/list", list_campaigns),
    ("GET", "/canvas/list", list_canvases),
)


# --- shown to people ------------------------------------------------------------------------------------------------------


def state(store: Store) -> Json:
    """Return this world for the control API."""
    kinds = {"users": "user", "events": "event", "campaigns": "campaign", "canvases": "canvas"}
    return {name: store.all(KEY, kind) for name, kind in kinds.items()}


def tables(store: Store) -> Sequence[Table]:
    """Return what the page shows of this world."""
    world = state(store)
    users = [
        (
            user["external_id"] or "",
            user["attributes"].get("email", ""),
            user["attributes"].get("email_subscribe", "subscribed"),
            ", ".join(f"{alias.get('alias_label')}: {alias.get('alias_name')}" for alias in objects(user["aliases"])),
            ", ".join(
                f"{name}: {value}"
                for name, value in user["attributes"].items()
                if name not in {"email", "email_subscribe"}
            ),
        )
        for user in world["users"]
    ]
    rows = [(row["name"], row["delivery"], row["id"]) for row in (*world["campaigns"], *world["canvases"])]
    return [
        ("Users", ("External id", "E-mail address", "E-mail", "Aliases", "Attributes"), users),
        ("Campaigns and canvases", ("Name", "Delivery", "Id"), rows),
    ]


WORLD = World(
    key=KEY,
    label=LABEL,
    setup=setup,
    answer=answer,
    state=state,
    tables=tables,
    seed=seed,
)
