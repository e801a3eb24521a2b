"""Adobe's Edge Network, its tokens, and a read of Experience Platform, as their documentation describes them.

The mount point stands for `https://server.adobedc.net/ee`; below it stand `/token` for `https://ims-na1.adobelogin.com` and
`/platform` for `https://platform.adobe.io`. The datastream takes authenticated requests only. Left out: schemas, so every field
is taken. An `_id` counts once, as it does for Adobe's profiles.
"""

import uuid
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from connectors.sandbox.analytics import Intake
from connectors.sandbox.http import Refusal, Request, Response, Route, objects, routed
from connectors.sandbox.people import PEOPLE
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import World

KEY, LABEL = "adobe", "Adobe"
DATASTREAM = "5a4db0c0-0000-4000-8000-000000000001"
ORG_ID = "5A4DB0C00000000000000001@AdobeOrg"
CLIENT_ID, CLIENT_SECRET = "sandbox-client", "sandbox-secret-not-a-real-credential"
TENANT = "_sandbox"
TOKEN_SECONDS = 86_399
INTAKE = Intake(KEY)


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {
        "datastream_id": DATASTREAM,
        "identity_namespace": "Email_LC_SHA256",
        "tenant": TENANT,
        "event_type": "web.webinteraction.linkClicks",
        "org_id": ORG_ID,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }


def _problem(number: str, status: HTTPStatus, title: str, detail: str = "") -> Refusal:
    kind = f"https://ns.adobe.com/aep/errors/EXEG-{number}-{status.value}"
    return Refusal(status, {"type": kind, "status": status.value, "title": title, "detail": detail})


def give_token(request: Request, store: Store) -> Response:
    """`POST /ims/token/v3`."""
    form = {name: values[0] for name, values in request.form().items()}
    wanted = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    if not wanted.items() <= form.items():
        body = {"error": "invalid_client", "error_description": "invalid client_id or client_secret"}
        raise Refusal(HTTPStatus.UNAUTHORIZED, body)
    token = f"sandbox-{uuid.uuid4().hex}"
    store.put(KEY, "token", token, {"ends": store.now() + TOKEN_SECONDS})
    return Response(body={"access_token": token, "token_type": "bearer", "expires_in": TOKEN_SECONDS})


def _check_token(request: Request, store: Store) -> None:
    token = store.get(KEY, "token", request.bearer())
    named = (request.headers.get("x-api-key"), request.headers.get("x-gw-ims-org-id"))
    if token is None or named != (CLIENT_ID, ORG_ID):
        raise _problem(
            "0500", HTTPStatus.UNAUTHORIZED, "Unauthorized", "The datastream takes authenticated requests only."
        )
    if token["ends"] <= store.now():
        raise _problem("0503", HTTPStatus.UNAUTHORIZED, "Unauthorized", "The access token has expired.")


def _check(request: Request, store: Store, name: str) -> None:
    """Refuse another datastream, and whoever has no token."""
    if request.first(name) != DATASTREAM:
        raise _problem("0003", HTTPStatus.BAD_REQUEST, "Invalid datastream ID", "The datastream is not known.")
    _check_token(request, store)


def list_sandboxes(request: Request, store: Store) -> Response:
    """`GET /data/foundation/sandbox-management/` of Platform."""
    _check_token(request, store)
    return Response(body={"sandboxes": [{"name": "prod", "title": "Prod", "state": "active", "type": "production"}]})


def acquire_identity(request: Request, store: Store) -> Response:
    """`POST /v1/identity/acquire`."""
    _check(request, store, "configId")
    ecid = {"id": f"{uuid.uuid4().int % 10**38:038d}", "namespace": {"code": "ECID"}}
    return Response(body={"requestId": str(uuid.uuid4()), "handle": [{"type": "identity:result", "payload": [ecid]}]})


def _primary(xdm: Json) -> Any:
    """Return the id of an event's primary identity."""
    people = xdm.get("identityMap")
    named = [one for rows in people.values() for one in objects(rows)] if isinstance(people, dict) else []
    found = [one["id"] for one in named if one.get("primary") is True and one.get("id")]
    if len(found) != 1:
        raise _problem("0306", HTTPStatus.BAD_REQUEST, "Invalid identity", "One identity must be the primary one.")
    return found[0]


def _whose(number: Any) -> str:
    """Return the person whose hashed address this is; else the id as it is."""
    hashes = {sha256(person.email.encode()).hexdigest(): person.email for person in PEOPLE}
    return hashes.get(str(number), str(number))


def collect(request: Request, store: Store) -> Response:
    """`POST /v2/collect`."""
    _check(request, store, "datastreamId")
    found = [event.get("xdm") for event in objects(request.members().get("events"))]
    events = [(xdm, _primary(xdm)) for xdm in objects(found)]
    if not events or not all(xdm.get("_id") and xdm.get("timestamp") for xdm, _ in events):
        raise _problem("0104", HTTPStatus.BAD_REQUEST, "Invalid request", "Events need xdm with _id and timestamp.")
    for xdm, number in events:
        if INTAKE.is_new(store, xdm["_id"]):
            fields = xdm.get(TENANT)
            told = fields if isinstance(fields, dict) else {}
            INTAKE.receive(store, told.get("activity") or xdm.get("eventType"), _whose(number), told)
    return Response(HTTPStatus.ACCEPTED, {"requestId": f"{request.first('requestId')}-{uuid.uuid4().hex[:8]}"})


ROUTES: tuple[Route, ...] = (
    ("POST", "/token/ims/token/v3", give_token),
    ("GET", "/platform/data/foundation/sandbox-management/", list_sandboxes),
    ("POST", "/v1/identity/acquire", acquire_identity),
    ("POST", "/v2/collect", collect),
)


WORLD = World(
    key=KEY,
    label=LABEL,
    setup=setup,
    answer=partial(routed, routes=ROUTES),
    state=INTAKE.state,
    tables=INTAKE.tables,
)
