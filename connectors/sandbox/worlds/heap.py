"""Heap's server-side API, as its reference describes it (developers.heap.io/reference): what Engage asks of it.

The mount point stands for `https://heapanalytics.com/api`, and `/account` below it for `https://heapanalytics.com/api/public/v0`.
As at Heap, every environment's id is answered alike; only what comes with the account's own is kept.
"""

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus

from connectors.sandbox.analytics import Intake
from connectors.sandbox.http import Refusal, Request, Response, Route, objects, routed
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import World

KEY, LABEL = "heap", "Heap"
APP_ID, API_KEY = "1000000001", "sandbox-key-not-a-real-credential"
MOST = 1000
INTAKE = Intake(KEY)


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {
        "region": "us",
        "app_id": APP_ID,
        "api_key": API_KEY,
        "event_prefix": "Recurly Engage Prompt",
        "traits": "plan",
    }


def _rows(request: Request, name: str, *needed: str) -> list[Json]:
    """Return the rows of a request that has all that is needed; none where they are another environment's."""
    body = request.members()
    rows = objects(body.get(name))
    complete = all(row.get(each) for row in rows for each in ("identity", *needed))
    if not body.get("app_id") or not 1 <= len(rows) <= MOST or not complete:
        error = f"app_id and 1 to {MOST} {name} with {', '.join(('identity', *needed))} are required"
        raise Refusal(HTTPStatus.BAD_REQUEST, {"error": error})
    return rows if body["app_id"] == APP_ID else []


def track(request: Request, store: Store) -> Response:
    """`POST /track`, in bulk: an `idempotency_key` counts once."""
    for event in _rows(request, "events", "event"):
        key = event.get("idempotency_key")
        if not key or INTAKE.is_new(store, key):
            INTAKE.receive(store, event["event"], event["identity"], event.get("properties"))
    return Response(body={})


def add_user_properties(request: Request, store: Store) -> Response:
    """`POST /add_user_properties`, in bulk."""
    for user in _rows(request, "users", "properties"):
        INTAKE.describe(store, user["identity"], user["properties"])
    return Response(body={})


def give_token(request: Request, _: Store) -> Response:
    """`POST /auth_token` of the account."""
    if request.basic() != (APP_ID, API_KEY):
        raise Refusal(HTTPStatus.UNAUTHORIZED, {"error": "Unauthorized"})
    return Response(body={"access_token": "sandbox-token-not-a-real-credential"})


ROUTES: tuple[Route, ...] = (
    ("POST", "/track", track),
    ("POST", "/add_user_properties", add_user_properties),
    ("POST", "/account/auth_token", give_token),
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
