"""Requests and answers as vendors see them, and what can go wrong on the way back."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from http import HTTPStatus
from typing import Any, Literal, Self
from urllib.parse import parse_qs

from connectors.sandbox.store import Json, Store

SECRET_HEADERS = frozenset(
    {
        "api-token",
        "authorization",
        "cookie",
        "proxy-authorization",
        "x-api-key",
        "x-publisher-token",
        "x-shopify-access-token",
    }
)
SECRET_PARAMETERS = frozenset({"api_secret", "assertion", "client_secret"})
"""Of a query or a form."""
SECRET_ELEMENT = re.compile(r"(?<=>)[^<>]+(?=</fueloauth>)")
"""Of an envelope that carries its token."""
SECRET_MEMBERS = frozenset({"partnerAPIKey"})
"""Of a JSON body."""
SECRET_SEGMENT = re.compile("(?<=/developer/)[^/]+|(?<=/validate-transaction/)[^/]+")
"""Of a path, where a vendor has no other place for a key."""

KEYS_KEPT = 24 * 3600.0
"""Seconds for which vendors recognise a repeat by its key."""


@dataclass(frozen=True)
class Request:
    """What a vendor is asked. `path` is below the vendor's base URL."""

    method: str
    path: str
    query_string: str
    headers: dict[str, str]  # names in lower case
    content: bytes

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's parameters; blank ones are there."""
        return parse_qs(self.query_string, keep_blank_values=True)

    def first(self, name: str, default: str = "") -> str:
        """Return the first value of a query parameter."""
        return self.query.get(name, [default])[0]

    def json(self) -> Any:
        """Return the body.

        Raises:
            Refusal: it is not JSON.

        """
        try:
            return json.loads(self.content or b"null")
        except ValueError:
            raise Refusal(HTTPStatus.BAD_REQUEST, {"message": "The body is not JSON."}) from None

    def members(self) -> Json:
        """Return the body's members; none where it is no JSON object, so that the vendor says what is missing."""
        try:
            body = self.json()
        except Refusal:
            return {}
        return body if isinstance(body, dict) else {}

    def form(self) -> dict[str, list[str]]:
        """Return the fields of a body that is a form; blank ones are there."""
        return parse_qs(self.content.decode("utf-8", "replace"), keep_blank_values=True)

    def bearer(self) -> str:
        """Return the token of the Authorization header; empty where there is none."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else ""

    def basic(self) -> tuple[str, str]:
        """Return user name and password of the Authorization header; empty where there are none."""
        scheme, _, coded = self.headers.get("authorization", "").partition(" ")
        try:
            name, _, password = base64.b64decode(coded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return (name, password) if scheme.lower() == "basic" else ("", "")

    def for_the_log(self) -> Json:
        """Return what is written down of it: no secret in full."""
        headers = {name: mask(value) if name in SECRET_HEADERS else value for name, value in self.headers.items()}
        try:
            body = json.loads(self.content) if self.content else None
        except ValueError:
            form = "x-www-form-urlencoded" in self.headers.get("content-type", "")
            text = self.content.decode("utf-8", "replace")
            body = _without_secrets(self.form()) if form else SECRET_ELEMENT.sub(lambda found: mask(found[0]), text)
        if isinstance(body, dict):
            body |= {name: mask(str(body[name])) for name in SECRET_MEMBERS & body.keys()}
        path = SECRET_SEGMENT.sub(lambda found: mask(found[0]), self.path)
        query = _without_secrets(self.query)
        return {"method": self.method, "path": path, "query": query, "headers": headers, "body": body}


def _without_secrets(fields: dict[str, list[str]]) -> dict[str, list[str]]:
    return {
        name: [mask(value) for value in values] if name in SECRET_PARAMETERS else values
        for name, values in fields.items()
    }


def is_json(request: Request) -> bool:
    """Whether a body says that it is JSON, which no foreign web page can send unasked."""
    return request.headers.get("content-type", "").partition(";")[0].strip() == "application/json"


def objects(value: Any) -> list[Json]:
    """Return the objects in a list; none where it is another thing."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def mask(secret: str) -> str:
    """Return how long a secret was, and nothing of it."""
    return f"({len(secret)} characters)"


@dataclass(frozen=True)
class Response:
    """What a vendor answers: `body` is JSON, `raw` any text in its place."""

    status: int = HTTPStatus.OK
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: str | None = None
    content_type: str = "application/json"

    @property
    def content(self) -> bytes:
        """The bytes on the wire."""
        return (json.dumps(self.body) if self.raw is None else self.raw).encode()


class Refusal(Exception):
    """A vendor says no."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.response = Response(status, body)


Handler = Callable[..., Response]
Route = tuple[str, str, Handler]
"""A method, the pattern of a path (all of it must fit), and what answers: it gets the request, the store and the groups."""


def in_words(status: HTTPStatus) -> Json:
    """Return the body of a refusal that says no more than its status."""
    return {"message": status.phrase}


def routed(
    request: Request, store: Store, routes: Sequence[Route], nothing: Callable[[HTTPStatus], Any] = in_words
) -> Response:
    """Let the first route that fits answer.

    Args:
        nothing: makes the body where none fits: 404, or 405 where only the method does not.

    """
    known_path = False
    for method, pattern, handler in routes:
        found = re.fullmatch(pattern, request.path)
        if found and method == request.method:
            try:
                return handler(request, store, *found.groups())
            except Refusal as refusal:
                return refusal.response
        known_path = known_path or bool(found)
    status = HTTPStatus.METHOD_NOT_ALLOWED if known_path else HTTPStatus.NOT_FOUND
    return Response(status, nothing(status))


def once(
    request: Request,
    store: Store,
    vendor: str,
    act: Callable[[], Response],
    *,
    header: str,
    clash: Response,
    mark: dict[str, str] | None = None,
    keeps_refusals: bool = False,
) -> Response:
    """Carry a request out once: a repeat with the same key gets the first answer again, for a day.

    Args:
        act: carries it out.
        header: where the key stands, in lower case; a request without one is carried out each time.
        clash: what is answered where the key came with another request.
        mark: the headers by which the vendor says that an answer is a repeated one.
        keeps_refusals: whether the vendor keeps those as well.

    """
    key = request.headers.get(header)
    if not key:
        return act()
    asked = [request.method, request.path, request.content.decode("utf-8", "replace")]
    known = store.get(vendor, "key", key)
    if known is not None and store.now() - known["at"] < KEYS_KEPT:
        first = Response(**known["answer"])
        return replace(first, headers={**first.headers, **(mark or {})}) if known["asked"] == asked else clash
    answer = act()
    if keeps_refusals or answer.status < HTTPStatus.BAD_REQUEST:
        store.put(vendor, "key", key, {"at": store.now(), "asked": asked, "answer": asdict(answer)})
    return answer


@dataclass(frozen=True)
class Fault:
    """One scripted misbehaviour, for the next `times` requests that match.

    Without anything else the vendor's own answer goes out. `act` says whether the vendor carries the request out although
    what comes back is not its own answer: a lost answer with `act` is the case in which a repeat would act twice.
    """

    method: str = ""  # any
    path: str = ""  # regular expression, searched in the path below the vendor's base URL
    vendor: str = ""
    skip: int = 0  # let this many matching requests pass first
    times: int = 1
    act: bool = False
    delay: float = 0  # seconds before the answer, and after the effect
    then: Literal["answer", "hang", "reset", "trickle"] = "answer"
    hang: float = 60  # seconds, for "hang"
    pause: float = 0.5  # seconds between two bytes, for "trickle"
    status: int | None = None
    body: Any = None  # JSON, with `status`
    raw: str | None = None  # text in place of the body: HTML, "null", half of a JSON
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    retry_after: str = ""

    @classmethod
    def read(cls, asked: Json) -> Self:
        """Make one from the control API's JSON.

        Raises:
            ValueError: something in it is no part of a fault.

        """
        unknown = set(asked) - {known.name for known in fields(cls)}
        if unknown:
            raise ValueError(f"A fault has no {', '.join(sorted(unknown))}.")
        if asked.get("then", "answer") not in {"answer", "hang", "reset", "trickle"}:
            raise ValueError("`then` is answer, hang, reset or trickle.")
        try:
            re.compile(asked.get("path", ""))
        except re.error as error:
            raise ValueError(f"`path` is no regular expression: {error}") from None
        return cls(**asked)

    @property
    def keeps_the_answer(self) -> bool:
        """Whether the vendor answers in its own words."""
        return self.then in {"answer", "trickle"} and self.status is None and self.raw is None

    def matches(self, vendor: str, request: Request) -> bool:
        """Whether it is meant for this request."""
        return (
            self.vendor in {"", vendor}
            and self.method.upper() in {"", request.method}
            and re.search(self.path, request.path) is not None
        )

    def spoil(self, answer: Response) -> Response:
        """Return what goes out in place of `answer`."""
        headers = {**answer.headers, **self.headers, **({"Retry-After": self.retry_after} if self.retry_after else {})}
        kept = answer if self.status is None and self.raw is None else Response(body=self.body, raw=self.raw)
        return Response(
            self.status or answer.status, kept.body, headers, kept.raw, self.content_type or kept.content_type
        )


def next_fault(store: Store, vendor: str, request: Request) -> Fault | None:
    """Take the first queued fault that is meant for this request."""
    with store.transaction():
        for number, queued in store.faults():
            fault = Fault.read(queued)
            if not fault.matches(vendor, request):
                continue
            if fault.skip:
                store.keep_fault(number, asdict(fault) | {"skip": fault.skip - 1})
                continue
            store.keep_fault(number, asdict(fault) | {"times": fault.times - 1} if fault.times > 1 else None)
            return fault
    return None
