"""Mixpanel's ingestion API, as its reference describes it (developer.mixpanel.com/reference): what Engage asks of it.

The mount point stands for `https://api.mixpanel.com`. Profiles are set whatever token comes with them, and kept only with the
project's own: as at Mixpanel, the answer is the same.
"""

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus

from connectors.sandbox.analytics import Intake
from connectors.sandbox.http import Refusal, Request, Response, Route, objects, routed
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import World

KEY, LABEL = "mixpanel", "Mixpanel"
PROJECT = "2000001"
ACCOUNT, PASSWORD = "engage.sandbox.mp-service-account", "sandbox-password-not-a-real-credential"
TOKEN = "sandbox-token-no-real-credential"  # noqa: S105 - opens nothing but this fake world
MOST = 2000
NOBODY = {"anonymous", "null", "undefined", "unknown", "none", "0", "-1"}
INTAKE = Intake(KEY)


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {
        "region": "us",
        "project_id": PROJECT,
        "service_account": ACCOUNT,
        "service_account_password": PASSWORD,
        "project_token": TOKEN,
        "event_prefix": "Recurly Engage Prompt",
        "traits": "plan",
    }


def _check(request: Request) -> None:
    if request.basic() != (ACCOUNT, PASSWORD) or request.first("project_id") != PROJECT:
        body = {"code": 401, "error": "Invalid credentials", "status": "Unauthorized"}
        raise Refusal(HTTPStatus.UNAUTHORIZED, body)


def _bad(error: str, **more: object) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, {"code": 400, "error": error, "status": "Bad Request", **more})


def list_tables(request: Request, _: Store) -> Response:
    """`GET /lookup-tables`."""
    _check(request)
    return Response(body={"code": 200, "status": "OK", "results": []})


def _records(request: Request) -> list[Json]:
    """Return the objects of a body that is a list of nothing else."""
    body = request.json()
    rows = objects(body)
    if not rows or len(rows) != len(body) or len(rows) > MOST:
        raise _bad(f"a list of 1 to {MOST} objects is expected")
    return rows


def _wrong(event: Json) -> tuple[str, str]:
    """Return which field of an event is wrong, and why; empty where none is."""
    told = event.get("properties")
    if not isinstance(event.get("event"), str) or not event["event"]:
        return "event", "'event' is missing or not a string"
    if not isinstance(told, dict):
        return "properties", "'properties' is missing or not an object"
    if type(told.get("time")) not in {int, float}:
        return "properties.time", "'properties.time' is missing or not a number"
    if not isinstance(told.get("$insert_id"), str) or not told["$insert_id"]:
        return "properties.$insert_id", "'properties.$insert_id' is missing or empty"
    who = told.get("distinct_id")
    if not isinstance(who, str) or who.lower() in NOBODY:
        return "properties.distinct_id", "'properties.distinct_id' is invalid"
    return "", ""


def import_events(request: Request, store: Store) -> Response:
    """`POST /import`: what is right is imported, and the rest is named."""
    _check(request)
    events = _records(request)
    failed = []
    for index, event in enumerate(events):
        field, message = _wrong(event)
        if field:
            failed.append({"index": index, "field": field, "message": message})
            continue
        told = event["properties"]
        once = [event["event"], told["time"], told["distinct_id"], told["$insert_id"]]
        if INTAKE.is_new(store, once):
            shown = {name: value for name, value in told.items() if name not in {"time", "distinct_id", "$insert_id"}}
            INTAKE.receive(store, event["event"], told["distinct_id"], shown)
    imported = len(events) - len(failed)
    if failed:
        error = "some data points in the request failed validation"
        raise _bad(error, num_records_imported=imported, failed_records=failed)
    return Response(body={"code": 200, "num_records_imported": imported, "status": "OK"})


def set_profiles(request: Request, store: Store) -> Response:
    """`POST /engage`: says "no" inside a 200."""
    for profile in _records(request):
        if not isinstance(profile.get("$set"), dict) or not profile.get("$distinct_id") or not profile.get("$token"):
            return Response(body={"status": 0, "error": "$token, $distinct_id and $set are required"})
        if profile["$token"] == TOKEN:
            INTAKE.describe(store, profile["$distinct_id"], profile["$set"])
    return Response(body={"status": 1, "error": None})


ROUTES: tuple[Route, ...] = (
    ("GET", "/lookup-tables", list_tables),
    ("POST", "/import", import_events),
    ("POST", "/engage", set_profiles),
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
