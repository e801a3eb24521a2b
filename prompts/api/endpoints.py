"""The operations of the runtime API, under /api/v1."""

from typing import Annotated, Any, TypeVar, cast
from uuid import UUID

from django.http import HttpRequest
from django.urls import path, re_path, reverse
from django.utils import timezone
from ninja import Body, NinjaAPI, Status
from ninja.errors import ValidationError
from ninja.openapi.docs import Swagger
from pydantic import Field

from prompts import decisions, eligible, events
from prompts.api import rates, schemas, waiting
from prompts.api.caller import JsonBody, Key, caller_of, may_see, not_there, person, servers_only, speak_for, visitor
from prompts.api.errors import (
    BAD_REQUEST,
    CONFLICT,
    FORBIDDEN,
    INVALID,
    NOT_FOUND,
    TOO_LARGE,
    TOO_MANY,
    UNAUTHORIZED,
    Refused,
    View,
    handle,
    other_methods,
    unknown_address,
)
from prompts.models import Execution, PromptEvent, PromptVersion, State
from prompts.templating import render
from sync import traits as known_traits
from sync.models import Subscriber

DESCRIPTION = """
Your app asks for the prompts of a person, shows them, and reports what the person answered.

**Keys.** `Authorization: Bearer sk_…` from servers, `Bearer pk_…` from browsers.

**Identity.** With a publishable key a user id counts only with `X-Engage-Identity`: an HS256 JWT, signed by your server with
the App's identity secret: `sub` the user id, `aud` the publishable key, `exp` at most an hour ahead.

**Repeating.** Send the same `event_id` again whenever you are not sure: it is the same event, and nothing runs twice.
"""

api = NinjaAPI(
    title="Engage runtime API",
    version="1",
    description=DESCRIPTION,
    urls_namespace="runtime-api",
    auth=Key(),
    throttle=[rates.PerAddress(), rates.PerApp()],
    parser=JsonBody(),
    docs=Swagger(settings={"persistAuthorization": False}),
)
handle(api)

Request = HttpRequest
Row = TypeVar("Row", PromptEvent, Execution)
ERRORS = frozenset({BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TOO_LARGE, INVALID, TOO_MANY})
OPTIONAL_IDENTITY = {
    "parameters": [
        {
            "in": "header",
            "name": "X-Engage-Identity",
            "required": False,
            "schema": {"type": "string"},
            "description": "The signed identity of the person, with a publishable key.",
        }
    ]
}


def _answer(
    request: HttpRequest, event: PromptEvent, status: events.EventStatus, version: PromptVersion | None = None
) -> Status[Any]:
    """Return an event as it stands: 200 when it is settled, else 202. A browser sees no words of a vendor."""
    server = caller_of(request).is_server
    version = events.shown_version(event, version)
    words = version.content.get(f"text_{status.outcome}", "") if version else ""
    body = {
        "event_id": event.event_id,
        "reference": event.reference,
        "settled": status.settled,
        "outcome": status.outcome,
        "text": render(words, known_traits.traits_of(event.subscriber)),
        "url": request.build_absolute_uri(reverse("runtime-api:get_event", kwargs={"event_id": event.event_id})),
        "executions": [
            {
                "id": execution.pk,
                "state": execution.state,
                "action": f"{execution.connector}.{execution.action}",
                "message": execution.message if server else None,
                "instruction": _instruction(execution),
            }
            for execution in status.executions
        ],
    }
    return Status(200 if status.settled else 202, body)


def _instruction(execution: Execution) -> dict[str, Any] | None:
    """Return what the client is to do, until it has said what came of it."""
    return execution.instruction if execution.state == State.HANDED_OVER and execution.report is None else None


EVENT_ANSWERS = {200: schemas.EventOut, 202: schemas.EventOut}


@api.post(
    "/events",
    response={**EVENT_ANSWERS, ERRORS | {CONFLICT}: schemas.ErrorOut},
    exclude_none=True,
    openapi_extra=OPTIONAL_IDENTITY,
    url_name="report_event",
    summary="Report an impression or an answer",
)
def report_event(request: Request, event: schemas.EventIn) -> Status[Any]:
    """Stored before it is answered. 200: every action is at its end; 202: ask `url` again. 409: the id is another event's."""
    speak_for(request, event.user_id, event.identity)
    try:
        recorded = events.record(
            caller_of(request).app,
            events.Report(
                event.event_id,
                event.prompt,
                event.interaction,
                event.user_id,
                event.version,
                event.inputs,
                event.context,
                **visitor(request),
            ),
        )
    except events.UnknownPrompt as error:
        raise Refused(NOT_FOUND, "unknown_prompt", str(error), counted="unknown prompt", detail=event.prompt) from None
    except events.Conflict as error:
        raise Refused(CONFLICT, "event_id_taken", str(error), counted="event id taken", detail=event.prompt) from None
    except events.BadInputs as error:
        raise Refused(
            INVALID,
            "invalid_inputs",
            "What the person typed does not fit the prompt's inputs.",
            counted="invalid inputs",
            detail=event.prompt,
            fields={f"inputs.{name}": text for name, text in error.errors.items()},
        ) from None
    stored = recorded.event
    status = events.status_of(stored, recorded.planned)
    if not status.rests and event.wait:
        waiting.until(lambda: events.status_of(stored).rests, event.wait)
        status = events.status_of(stored)
    return _answer(request, stored, status, recorded.version)


@api.get(
    "/events/{uuid:event_id}",
    response={**EVENT_ANSWERS, ERRORS: schemas.ErrorOut},
    exclude_none=True,
    openapi_extra=OPTIONAL_IDENTITY,
    url_name="get_event",
    summary="How an event stands",
)
def get_event(request: Request, event_id: UUID) -> Status[Any]:
    """200: every action is at its end; 202: not yet. From a browser only the events of the person it speaks for."""
    event = (
        PromptEvent.objects.select_related("subscriber").filter(app=caller_of(request).app, event_id=event_id).first()
    )
    event = _seen(request, event)
    return _answer(request, event, events.status_of(event))


@api.post(
    "/executions/{uuid:execution_id}/report",
    response={**EVENT_ANSWERS, ERRORS | {CONFLICT}: schemas.ErrorOut},
    exclude_none=True,
    openapi_extra=OPTIONAL_IDENTITY,
    url_name="report_execution",
    summary="Report what came of an action that was handed over",
)
def report_execution(request: Request, execution_id: UUID, report: schemas.ReportIn) -> Status[Any]:
    """For an action with an `instruction`, once. 409: there is nothing (more) to report."""
    execution = (
        Execution.objects.select_related("event", "subscriber")
        .filter(app=caller_of(request).app, pk=execution_id)
        .first()
    )
    execution = _seen(request, execution, report.identity)
    try:
        decisions.report(execution, report.result, dict(report.detail))
    except decisions.UnfitReport as error:
        raise Refused(
            INVALID, "invalid", str(error), counted="invalid request", fields={"detail": str(error)}
        ) from None
    except decisions.NotPossible as error:
        raise Refused(CONFLICT, "nothing_to_report", str(error)) from None
    event = execution.event
    return _answer(request, event, events.status_of(event))


def _seen(request: HttpRequest, row: Row | None, identity: str | None = None) -> Row:
    """Return the row when it is there and may be seen. The identity is asked for first: it says nothing about ids."""
    if row is None:
        may_see(request, "", identity)
        raise not_there()
    may_see(request, row.subscriber.user_id, identity)
    return row


@api.get(
    "/prompts",
    response={200: schemas.PromptsOut, ERRORS: schemas.ErrorOut},
    openapi_extra=OPTIONAL_IDENTITY,
    url_name="list_prompts",
    summary="Which prompts to show",
)
def list_prompts(
    request: Request,
    user_id: schemas.UserId | None = None,
    path: Annotated[str, Field(max_length=2000, description="The page's path, e.g. `/account`.")] = "/",
) -> dict[str, Any]:
    """The live prompts for a person on a path, variables filled in.

    From a browser without an identity nothing of the person counts: no trait is filled in, no limit is known, and in test
    mode there are no prompts.
    """
    caller = caller_of(request)
    misspelt = [name for name in request.GET if name not in ("user_id", "path")]
    if misspelt:
        raise ValidationError([{"loc": ("query", name), "msg": "There is no such parameter."} for name in misspelt])
    repeated = [name for name, values in request.GET.lists() if len(values) > 1]
    if repeated:
        raise ValidationError([{"loc": ("query", name), "msg": "It may be given once."} for name in repeated])
    if not caller.is_server:
        proved = person(request)
        if proved is not None and user_id not in (None, proved):
            speak_for(request, str(user_id))
        user_id = proved
    subscriber = Subscriber.objects.filter(app=caller.app, user_id=user_id).first() if user_id else None
    return {"prompts": eligible.prompts_for(caller.app, subscriber, path, timezone.now())}


@api.put(
    "/users/{path:user_id}/traits",
    response={200: schemas.TraitsOut, ERRORS: schemas.ErrorOut},
    url_name="set_traits",
    summary="Write traits of a person",
)
def set_traits(request: Request, user_id: schemas.UserId, traits: Annotated[schemas.Traits, Body()]) -> dict[str, Any]:
    """For servers only. A trait that is null or empty is removed; traits that are not named stay as they are."""
    servers_only(request)
    try:
        subscriber = known_traits.set_traits(caller_of(request).app, user_id, traits, origin="API")
    except known_traits.TraitError as error:
        raise Refused(
            INVALID,
            "invalid",
            "These traits cannot be stored.",
            counted="invalid request",
            detail=", ".join(error.errors),
            fields=error.errors,
        ) from None
    return {"user_id": subscriber.user_id, "traits": known_traits.traits_of(subscriber)}


_patterns, _app_name, _namespace = api.urls
for _pattern in _patterns:
    _pattern.callback = other_methods(cast("View", _pattern.callback))
urlpatterns = [path("", unknown_address), path("", (_patterns, _app_name, _namespace)), re_path("", unknown_address)]
"""Included by the project under /api/v1/."""
