"""Everything that the runtime API refuses, in one shape: {"error": {"code", "message", "fields"?}}."""

import logging
import math
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, Throttled, ValidationError

from prompts import refusals

logger = logging.getLogger(__name__)
View = Callable[..., HttpResponseBase]

BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, NOT_ALLOWED = 400, 401, 403, 404, 405
CONFLICT, TOO_LARGE, INVALID, TOO_MANY = 409, 413, 422, 429


class Refused(Exception):
    """A request that is not carried out.

    Args:
        code: what a program looks at, e.g. "unknown_prompt".
        message: a sentence for the developer of the app.
        counted: the reason under which it is counted as a refused request; empty: it is a normal answer.
        detail: what helps to find the cause, without secrets; shown in Live.
        fields: field -> sentence.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        counted: str = "",
        detail: str = "",
        fields: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.counted = counted
        self.detail = detail
        self.fields = fields


def endpoint(request: HttpRequest) -> str:
    """Return what a request is for, without ids: "POST /executions/<uuid:execution_id>/report"."""
    route = request.resolver_match.route if request.resolver_match else ""
    return f"{request.method} /{route.removeprefix('api/v1/')}"


def answer(
    status: int,
    code: str,
    message: str,
    fields: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JsonResponse:
    """Return an error's answer."""
    error: dict[str, Any] = {"code": code, "message": message}
    if fields:
        error["fields"] = dict(fields)
    return JsonResponse({"error": error}, status=status, headers=dict(headers or {}))


def _refused(request: HttpRequest, refused: Refused) -> HttpResponse:
    if refused.counted:
        caller = getattr(request, "auth", None)
        refusals.count(caller.app if caller else None, endpoint(request), refused.counted, refused.detail)
    headers = {"WWW-Authenticate": "Bearer"} if refused.status == UNAUTHORIZED else None
    return answer(refused.status, refused.code, refused.message, refused.fields, headers)


def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    # ninja puts the parameter's source and name before a body's field: ("body", "event", "user_id").
    fields = {".".join(str(part) for part in _place(each["loc"])): str(each["msg"]) for each in error.errors}
    return _refused(
        request,
        Refused(
            INVALID,
            "invalid",
            "Some fields are not as the documentation says.",
            counted="invalid request",
            detail=", ".join(sorted(fields)),
            fields=fields,
        ),
    )


def _place(where: tuple[str | int, ...]) -> tuple[str | int, ...]:
    return where[2:] or ("body",) if where and where[0] == "body" else where[1:] or where


def _unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    logger.error("The runtime API failed.", exc_info=error)
    got_request_exception.send(sender=None, request=request)
    return answer(500, "internal", "Something went wrong on our side. Send the same event id again later.")


def _throttled(request: HttpRequest, throttled: Throttled) -> HttpResponse:
    message = "Too many requests. Retry-After says when to go on."
    response = _refused(request, Refused(TOO_MANY, "too_many_requests", message, counted="rate"))
    if throttled.wait is not None:
        response["Retry-After"] = str(math.ceil(throttled.wait))
    return response


def _without_key(request: HttpRequest, _: AuthenticationError) -> HttpResponse:
    message = "Send an API key: Authorization: Bearer sk_… or pk_…"
    return _refused(request, Refused(UNAUTHORIZED, "wrong_key", message, counted="no key"))


def _other(request: HttpRequest, error: HttpError) -> HttpResponse:
    if isinstance(error.__cause__, Refused):  # ninja wraps what our parser raises
        return _refused(request, error.__cause__)
    return answer(error.status_code, "refused", error.message)


def handle(api: NinjaAPI) -> None:
    """Give every failure of `api` the one shape."""
    handlers: dict[type[Exception], Callable[[HttpRequest, Any], HttpResponse]] = {
        Refused: _refused,
        ValidationError: _invalid,
        Throttled: _throttled,
        AuthenticationError: _without_key,
        HttpError: _other,
        Exception: _unexpected,
    }
    for failure, handler in handlers.items():
        api.add_exception_handler(failure, handler)


def other_methods(view: View) -> View:
    """Return `view` with its answer to a method that it does not have in the one shape."""

    @wraps(view)
    def shaped(request: HttpRequest, *args: Any, **values: Any) -> HttpResponseBase:
        response = view(request, *args, **values)
        if response.status_code != NOT_ALLOWED:
            return response
        return answer(
            NOT_ALLOWED,
            "method_not_allowed",
            f"This address answers {response['Allow']}.",
            headers={"Allow": response["Allow"]},
        )

    return shaped


@csrf_exempt
def unknown_address(_: HttpRequest) -> HttpResponse:
    """Answer every address below the API that is none of its own."""
    return answer(NOT_FOUND, "not_found", "The runtime API has no such address. Its documentation is at /api/v1/docs.")
