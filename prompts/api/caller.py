"""Who calls: the key, the origin, and the person that a browser speaks for."""

import ipaddress
import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from django.http.request import UnreadablePostError
from ninja.errors import Throttled
from ninja.parser import Parser
from ninja.security import HttpBearer

from engage.tenancy import keys
from engage.tenancy.models import ApiKey, App, KeyKind
from prompts import identity
from prompts.api.errors import BAD_REQUEST, FORBIDDEN, NOT_FOUND, TOO_LARGE, UNAUTHORIZED, Refused
from prompts.api.rates import PerAddress

IDENTITY_HEADER = "X-Engage-Identity"


@dataclass(frozen=True)
class Caller:
    """An App's server (secret key) or somebody's browser (publishable key)."""

    key: ApiKey
    token: str

    @property
    def app(self) -> App:
        """Whose key it is."""
        return self.key.app

    @property
    def is_server(self) -> bool:
        """Whether this is the App's server, which may speak for everybody."""
        return self.key.kind == KeyKind.SECRET


def caller_of(request: HttpRequest) -> Caller:
    """Return who calls, once the key was accepted."""
    return cast("Caller", request.auth)  # type: ignore[attr-defined]


def visitor(request: HttpRequest) -> dict[str, str]:
    """Return the address and browser of who calls, when that is the visitor; behind an App's server it is not."""
    if caller_of(request).is_server:
        return {}
    return {"address": _address(request), "user_agent": _printable(request.headers.get("User-Agent", ""))}


def _address(request: HttpRequest) -> str:
    try:
        return str(ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")))
    except ValueError:
        return ""


def _printable(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable())


# --- the body ---------------------------------------------------------------------------------------------------------


class JsonBody(Parser):
    """Reads a body as JSON, whatever its content type says: a beacon can only send text/plain."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Return the JSON value in the body.

        Raises:
            Refused: it is too large, or is not JSON.
        """
        if not hasattr(request, "engage_json"):
            request.engage_json = _read(request)  # type: ignore[attr-defined]
        return request.engage_json  # type: ignore[attr-defined]


def _read(request: HttpRequest) -> Any:
    limit = settings.ENGAGE_API_BODY_LIMIT
    too_large = Refused(
        TOO_LARGE, "body_too_large", f"The body is larger than {limit // 1024} KiB.", counted="body too large"
    )
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > limit or len(request.body) > limit:
            raise too_large
    except RequestDataTooBig:
        raise too_large from None
    except UnreadablePostError:
        raise Refused(BAD_REQUEST, "body_unreadable", "The body broke off.") from None
    try:
        return json.loads(request.body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Refused(BAD_REQUEST, "not_json", "The body is not JSON.", counted="not JSON") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON.")


# --- the key ----------------------------------------------------------------------------------------------------------


class Key(HttpBearer):
    """An API key: in the Authorization header, or as `key` in the body for beacons, which have no headers."""

    def __call__(self, request: HttpRequest) -> Caller | None:
        """Return who calls, or None for a request without a key.

        Raises:
            Refused: nobody has that key, or the browser's page is not one of the App's.
            Throttled: too much of that came from this address. What is refused is counted in a table, which nobody may keep
                busy without a key.
        """
        try:
            caller = self._caller(request)
        except Refused:
            _slow_down(request)
            raise
        if caller is None:
            _slow_down(request)
        return caller

    def _caller(self, request: HttpRequest) -> Caller | None:
        from_header = super().__call__(request)
        if from_header is not None or "Authorization" in request.headers or request.method not in {"POST", "PUT"}:
            return cast("Caller | None", from_header)
        body = JsonBody().parse_body(request)
        token = body.get("key") if isinstance(body, dict) else None
        return self.authenticate(request, token) if isinstance(token, str) else None

    def authenticate(self, request: HttpRequest, token: str) -> Caller:
        """Find the key."""
        key = keys.find(token)
        if key is None:
            raise Refused(
                UNAUTHORIZED,
                "wrong_key",
                "This API key is not known, or was revoked.",
                counted="wrong key",
                detail=_hint(token),
            )
        caller = Caller(key, token)
        request.auth = caller  # type: ignore[attr-defined]  # what is refused below counts for this App
        _check_origin(request, caller)
        return caller


def _slow_down(request: HttpRequest) -> None:
    rate = PerAddress()
    if not rate.allow_request(request):
        raise Throttled(wait=math.ceil(rate.wait())) from None


def _hint(token: str) -> str:
    """Return the kind of key that was sent, and nothing of the key."""
    kind = token.partition("_")[0]
    return f"{kind}_…" if kind in ApiKey.PREFIXES.values() else ""


def _check_origin(request: HttpRequest, caller: Caller) -> None:
    """Refuse browsers on pages of others. Not every client sends an Origin; for the others the key decides."""
    origin = request.headers.get("Origin")
    if origin is None or origin == f"{request.scheme}://{request.get_host()}":
        return
    if caller.is_server:
        raise Refused(
            FORBIDDEN,
            "secret_key_in_browser",
            "A secret key must not be used in a browser. Replace it, and use the publishable key there.",
            counted="secret key in a browser",
            detail=origin,
        )
    if origin not in caller.app.domains:
        raise Refused(
            FORBIDDEN,
            "foreign_domain",
            "This page's origin is not one of the App's domains. An administrator can add it in the console.",
            counted="foreign domain",
            detail=origin,
        )


# --- the person -------------------------------------------------------------------------------------------------------


def person(request: HttpRequest, in_body: str | None = None) -> str | None:
    """Return the user id that a browser has proved, or None without a proof.

    Raises:
        Refused: there is an identity, and it proves nothing.
    """
    caller = caller_of(request)
    token = request.headers.get(IDENTITY_HEADER) or in_body
    if not token or caller.is_server:
        return None
    try:
        return identity.verify(caller.app, caller.token, token)
    except identity.Unsigned as error:
        raise _unsigned(error.message, error.reason) from None


def speak_for(request: HttpRequest, user_id: str, in_body: str | None = None) -> None:
    """Go on only when the caller may speak for this person: a server for everybody, a browser for whom it has proved.

    Raises:
        Refused: it may not.
    """
    if caller_of(request).is_server:
        return
    proved = person(request, in_body)
    if proved is None:
        raise _unsigned(
            "From a browser a user id counts only with an identity that the App's server has signed.", "none"
        )
    if proved != user_id:
        raise _unsigned("The identity was signed for another user id.", "another user")


def may_see(request: HttpRequest, user_id: str, in_body: str | None = None) -> None:
    """Go on only when what belongs to this person may be answered to the caller.

    Raises:
        Refused: 404, as for what is not there: a browser learns nothing of others.
    """
    if caller_of(request).is_server:
        return
    proved = person(request, in_body)
    if proved is None:
        raise _unsigned("A browser is answered only with an identity that the App's server has signed.", "none")
    if proved != user_id:
        raise not_there()


def not_there() -> Refused:
    """Return the answer for what is not there, or is somebody else's."""
    return Refused(NOT_FOUND, "not_found", "There is nothing with this id.")


def servers_only(request: HttpRequest) -> None:
    """Go on only with a secret key.

    Raises:
        Refused: it is a publishable one. Who can write their own customer id spends another's coupon.
    """
    if not caller_of(request).is_server:
        raise Refused(
            FORBIDDEN,
            "secret_key_needed",
            "Only the App's server may do this, with a secret key.",
            counted="secret key needed",
        )


def _unsigned(message: str, reason: str) -> Refused:
    return Refused(UNAUTHORIZED, "unsigned_identity", message, counted="unsigned identity", detail=reason)
