"""mParticle's Events API of a Custom Feed, as its documentation describes it: what Engage asks of it.

The mount point stands for `https://s2s.us1.mparticle.com/v2`. As at mParticle, many batches are answered with 202 also where
some of them are dropped.
"""

from collections.abc import Mapping
from http import HTTPStatus

from connectors.sandbox.analytics import Intake
from connectors.sandbox.http import Refusal, Request, Response, Route, objects, routed
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import World

KEY, LABEL = "mparticle", "mParticle"
SERVER_KEY, SECRET = "us1-sandbox", "sandbox-secret-not-a-real-credential"
MOST = 100
INTAKE = Intake(KEY, kept=30 * 86_400)


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {
        "pod": "us1",
        "mode": "development",
        "server_key": SERVER_KEY,
        "server_secret": SECRET,
        "event_prefix": "Recurly Engage Prompt",
        "impressions": "on",
        "traits": "plan",
    }


def _refusal(status: HTTPStatus, code: str, message: str) -> Refusal:
    return Refusal(status, {"errors": [{"code": code, "message": message}]})


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction."""
    if "authorization" not in request.headers:
        return _refusal(HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED", "Key and secret are missing").response
    if request.basic() != (SERVER_KEY, SECRET):
        return _refusal(HTTPStatus.FORBIDDEN, "FORBIDDEN", "Key and secret are present but not valid").response
    return routed(request, store, ROUTES)


def _take(store: Store, batch: Json) -> bool:
    """Take a batch in; returns whether it is one."""
    identities, events = batch.get("user_identities"), objects(batch.get("events"))
    if batch.get("environment") not in ("production", "development") or not isinstance(identities, dict):
        return False
    number, who = batch.get("source_request_id"), identities.get("customer_id")
    if (number and not INTAKE.is_new(store, number)) or not who:
        return True
    INTAKE.describe(store, who, batch.get("user_attributes"))
    for event in events:
        data = event.get("data")
        if isinstance(data, dict) and data.get("event_name"):
            INTAKE.receive(store, data["event_name"], who, data.get("custom_attributes"))
    return True


def take_one(request: Request, store: Store) -> Response:
    """`POST /events`."""
    if not _take(store, request.members()):
        raise _refusal(HTTPStatus.BAD_REQUEST, "BAD_REQUEST", "environment and user_identities are required")
    return Response(HTTPStatus.ACCEPTED, raw="")


def take_many(request: Request, store: Store) -> Response:
    """`POST /bulkevents`."""
    batches = request.json()
    if not isinstance(batches, list) or not 1 <= len(batches) <= MOST:
        raise _refusal(HTTPStatus.BAD_REQUEST, "BAD_REQUEST", f"1 to {MOST} batches are required")
    for batch in objects(batches):
        _take(store, batch)
    return Response(HTTPStatus.ACCEPTED, raw="")


ROUTES: tuple[Route, ...] = (("POST", "/events", take_one), ("POST", "/bulkevents", take_many))


WORLD = World(
    key=KEY,
    label=LABEL,
    setup=setup,
    answer=answer,
    state=INTAKE.state,
    tables=INTAKE.tables,
    seed=INTAKE.seed,
)
