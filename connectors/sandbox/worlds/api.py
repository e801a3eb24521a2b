"""An endpoint of a customer's own, as an API action calls it: one write for each way of being repeatable.

POST /credits/<whom>     recognises a repeat by the Idempotency-Key header, and answers it with its first answer
PUT /<what>/<whom>       sets a state; nothing happens where it is so already
POST /gifts/<whom>       every request is a gift
POST /token/grant        gives out an access token; the other addresses take any
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from connectors.sandbox.http import Refusal, Request, Response
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Table, World

KEY, LABEL = "api", "An endpoint of your own"
KEY_HEADER = "idempotency-key"


def setup(_: Store) -> Mapping[str, str]:
    """Return an API action that this endpoint takes; others would do as well."""
    return {
        "name": "Credit a month",
        "method": "POST",
        "url": "https://api.example.com/credits/%email_address%",
        "body": '{"months": 1}',
        "replay": "KEY",
        "key_hours": "24",
        "success_path": "ok",
        "success_value": "true",
    }


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction."""
    found = re.fullmatch(r"/([a-z]+)/([A-Za-z0-9_.@-]+)", request.path)
    if not found:
        return Response(HTTPStatus.NOT_FOUND, {"message": "Nothing is here."})
    what, whom = found.groups()
    try:
        match request.method, what:
            case "POST", "token":
                return Response(body={"access_token": uuid.uuid4().hex, "expires_in": 3600, "token_type": "bearer"})
            case "POST", "credits":
                return _credit(request, store, whom)
            case "POST", "gifts":
                store.effect(KEY, "gift_sent", whom)
                return Response(HTTPStatus.CREATED, {"ok": True})
            case "PUT", _:
                return _set(request, store, what, whom)
    except Refusal as refusal:
        return refusal.response
    return Response(HTTPStatus.METHOD_NOT_ALLOWED, {"message": "Method Not Allowed"})


def _credit(request: Request, store: Store, whom: str) -> Response:
    key = request.headers.get(KEY_HEADER)
    if not key:
        raise Refusal(HTTPStatus.BAD_REQUEST, {"message": "The Idempotency-Key header is needed."})
    asked = {"path": request.path, "body": request.json()}
    known = store.get(KEY, "key", key)
    if known is not None:
        if known["asked"] != asked:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, {"message": "This key came with another request."})
        return Response(HTTPStatus.CREATED, known["answer"])
    store.effect(KEY, "credited", whom, key=key)
    store.put(KEY, "key", key, {"asked": asked, "answer": {"id": key, "ok": True}})
    return Response(HTTPStatus.CREATED, {"id": key, "ok": True})


def _set(request: Request, store: Store, what: str, whom: str) -> Response:
    wanted, known = request.json(), store.get(KEY, what, whom)
    if known is None or known["value"] != wanted:
        store.put(KEY, what, whom, {"value": wanted})
        store.effect(KEY, f"{what}_set", whom, value=wanted)
    return Response(body={"ok": True, what: wanted})


def state(store: Store) -> Json:
    """Return this world for the control API."""
    return {"keys": store.all(KEY, "key")}


def tables(_: Store) -> Sequence[Table]:
    """Return what else can be called."""
    taken = (
        ("POST", "/credits/<whom>", "recognises a repeat by the Idempotency-Key header"),
        ("PUT", "/<what>/<whom>", "sets a state, which a repeat leaves as it is"),
        ("POST", "/gifts/<whom>", "sends a gift each time"),
        ("POST", "/token/grant", "gives out an access token; the other addresses take any"),
    )
    return [("What can be called", ("Method", "Path", "What it does"), taken)]


WORLD = World(
    key=KEY,
    label=LABEL,
    setup=setup,
    answer=answer,
    state=state,
    tables=tables,
    note="Whatever server an API action names, its requests come here.",
)
