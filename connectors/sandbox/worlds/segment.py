"""Segment's Tracking API and a read of its Public API, as their documentation describes them: what Engage asks of them.

The mount point stands for `https://api.segment.io/v1`, and `/public` below it for `https://api.segmentapis.com`. As at Segment,
every write key is answered alike; only what comes with the source's own is kept.
"""

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus

from connectors.sandbox.analytics import Intake
from connectors.sandbox.http import Refusal, Request, Response, Route, objects, routed
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import World

KEY, LABEL = "segment", "Segment"
WRITE_KEY = "sandboxNotARealCredential0000000"
PUBLIC_TOKEN = "sandbox-token-not-a-real-credential"  # noqa: S105 - opens nothing but this fake world
LARGEST_CALL, LARGEST_BATCH = 32_000, 500_000
INTAKE = Intake(KEY, kept=86_400)


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {
        "region": "us",
        "write_key": WRITE_KEY,
        "public_api_token": PUBLIC_TOKEN,
        "event_prefix": "Recurly Engage Prompt",
        "traits": "plan",
    }


def _call(request: Request, store: Store, call: Json, kind: object) -> None:
    """Take a call in; what lacks something is dropped without a word."""
    who, number = call.get("userId") or call.get("anonymousId"), call.get("messageId")
    complete = {"track": "event", "group": "groupId", "identify": "traits"}.get(str(kind))
    if request.basic()[0] != WRITE_KEY or not who or not complete or not call.get(complete):
        return
    if number and not INTAKE.is_new(store, number):
        return
    if kind == "track":
        INTAKE.receive(store, call["event"], who, call.get("properties"))
    elif kind == "identify":
        INTAKE.describe(store, who, call["traits"])
    else:
        INTAKE.describe(store, call["groupId"], call.get("traits"))
        store.effect(KEY, "grouped", who, group=str(call["groupId"]))


def _body(request: Request, most: int) -> Json:
    body = request.members()
    if not body or len(request.content) > most:
        raise Refusal(HTTPStatus.BAD_REQUEST, {"success": False, "message": "malformed JSON, or too large"})
    return body


def take_one(request: Request, store: Store, kind: str) -> Response:
    """`POST /track`, `/identify` and `/group`."""
    _call(request, store, _body(request, LARGEST_CALL), kind)
    return Response(body={"success": True})


def take_many(request: Request, store: Store) -> Response:
    """`POST /batch`."""
    for call in objects(_body(request, LARGEST_BATCH).get("batch")):
        _call(request, store, call, call.get("type"))
    return Response(body={"success": True})


def list_sources(request: Request, _: Store) -> Response:
    """`GET /sources` of the Public API."""
    if request.bearer() != PUBLIC_TOKEN:
        raise Refusal(HTTPStatus.UNAUTHORIZED, {"errors": [{"type": "unauthorized", "message": "Unauthorized"}]})
    source = {"id": "sandbox", "name": "Engage", "writeKeys": [WRITE_KEY], "enabled": True}
    return Response(body={"data": {"sources": [source], "pagination": {"current": "MA==", "totalEntries": 1}}})


ROUTES: tuple[Route, ...] = (
    ("POST", "/(track|identify|group)", take_one),
    ("POST", "/batch", take_many),
    ("GET", "/public/sources", list_sources),
)


WORLD = World(
    key=KEY,
    label=LABEL,
    setup=setup,
    answer=partial(routed, routes=ROUTES),
    state=INTAKE.state,
    tables=INTAKE.tables,
    seed=INTAKE.seed,
)
