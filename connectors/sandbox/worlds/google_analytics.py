"""Google Analytics' Measurement Protocol (GA4), as its documentation describes it: what Engage asks of it.

The mount point stands for `https://www.google-analytics.com`. As at Google, every request is answered alike, whatever its secret
and its contents; only what comes with the stream's own, and is complete, is kept. A repeat counts twice.
"""

import re
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus

from connectors.sandbox.analytics import Intake
from connectors.sandbox.http import Request, Response, Route, objects, routed
from connectors.sandbox.people import Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import World

KEY, LABEL = "google_analytics", "Google Analytics"
MEASUREMENT_ID = "G-SANDBOX000"
API_SECRET = "sandbox-not-a-real-credential"  # noqa: S105 - opens nothing but this fake world
MOST = 25
NAME = re.compile("[A-Za-z][A-Za-z0-9_]{0,39}")
INTAKE = Intake(KEY)


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection; the demo's page carries no tag of Google's, so client ids are made."""
    return {
        "region": "global",
        "measurement_id": MEASUREMENT_ID,
        "api_secret": API_SECRET,
        "event_prefix": "Recurly Engage Prompt",
        "traits": "plan",
        "made_client_ids": "on",
    }


def traits(person: Person) -> Mapping[str, str]:
    """Return the client id of somebody's browser."""
    return {"ga_client_id": f"{100000000 + person.number}.1760000000"}


def _wrong(body: Json) -> list[Json]:
    """Return what the validation server says of a request."""
    events = objects(body.get("events"))
    wrong = [] if body.get("client_id") else [("client_id", "VALUE_REQUIRED", "A client_id is required.")]
    if not 1 <= len(events) <= MOST:
        wrong.append(("events", "EXCEEDED_MAX_ENTITIES", f"1 to {MOST} events are required."))
    wrong += [
        ("events", "NAME_INVALID", f"Event at index {index} has an invalid name.")
        for index, event in enumerate(events)
        if not (isinstance(event.get("name"), str) and NAME.fullmatch(event["name"]))
    ]
    return [{"fieldPath": path, "validationCode": code, "description": words} for path, code, words in wrong]


def collect(request: Request, store: Store) -> Response:
    """`POST /mp/collect`: says nothing."""
    body = request.members()
    ours = (request.first("measurement_id"), request.first("api_secret")) == (MEASUREMENT_ID, API_SECRET)
    if ours and not _wrong(body):
        properties = body.get("user_properties")
        known = properties.items() if isinstance(properties, dict) else ()
        who = body.get("user_id") or body["client_id"]
        INTAKE.describe(store, who, {name: one.get("value") for name, one in known if isinstance(one, dict)})
        for event in objects(body["events"]):
            INTAKE.receive(store, event["name"], who, event.get("params"))
    return Response(HTTPStatus.NO_CONTENT, raw="")


def validate(request: Request, _: Store) -> Response:
    """`POST /debug/mp/collect`: looks at the format alone, and keeps nothing."""
    return Response(body={"validationMessages": _wrong(request.members())})


ROUTES: tuple[Route, ...] = (("POST", "/mp/collect", collect), ("POST", "/debug/mp/collect", validate))


WORLD = World(
    key=KEY,
    label=LABEL,
    setup=setup,
    answer=partial(routed, routes=ROUTES),
    state=INTAKE.state,
    tables=INTAKE.tables,
    traits=traits,
)
