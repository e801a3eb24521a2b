"""What an API action calls, read from what an administrator wrote."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from connectors import placeholders
from connectors.base import Values
from connectors.inputs import Input, lines, read_inputs
from connectors.placeholders import BadTemplate, Placeholder, Template

KEY_HEADER = "Idempotency-Key"  # https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
_SERVER = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2: token
KEPT = 256
"""How many endpoints a process keeps as it has read them."""
# Of the connection, not of the request; each of them is made by the transport.
NOT_YOURS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect", "keep-alive"}
)


def server_of(url: Any) -> str:
    """Return scheme, host and port of a URL: what secrets are bound to."""
    found = _SERVER.match(str(url or ""))
    return found[0].lower() if found else ""


def read_path(url: str) -> tuple[list[Template], bool]:
    """Return the segments of a URL's path, and whether it ends with a slash.

    Raises:
        BadTemplate: it cannot be called; says why.

    """
    server = server_of(url)
    rest = url[len(server) :]
    if not server or (rest and not rest.startswith("/")):
        raise BadTemplate(
            "Begin with https:// and the server's name, e.g. https://api.example.com/customers/%customer_id%. The server's "
            "name holds no placeholder, no password and no blank: neither a trait nor an input chooses where we call."
        )
    if "?" in rest or "#" in rest:
        raise BadTemplate("The path ends before “?” and “#”. Put query parameters into their own field.")
    segments = rest.strip("/").split("/") if rest.strip("/") else []
    if any(segment in {"", ".", ".."} for segment in segments):
        raise BadTemplate("The path has an empty part, “.” or “..”.")
    return [placeholders.parse(segment) for segment in segments], bool(segments) and rest.endswith("/")


def read_pairs(text: str, sign: str, example: str) -> dict[str, Template]:
    """Return name -> template of lines like `name: value`.

    Raises:
        BadTemplate: a line cannot be read; says which.

    """
    pairs: dict[str, Template] = {}
    for number, line in lines(text):
        name, found, value = (part.strip() for part in line.partition(sign))
        if not found or not name:
            raise BadTemplate(f"Line {number}: write {example}.")
        if name.lower() in {known.lower() for known in pairs}:
            raise BadTemplate(f"Line {number}: “{name}” stands here twice.")
        try:
            pairs[name] = placeholders.parse(value)
        except BadTemplate as wrong:
            raise BadTemplate(f"Line {number}: {wrong}") from None
    return pairs


def read_headers(text: str) -> dict[str, Template]:
    """Return the headers of lines like `X-Source: engage`.

    Raises:
        BadTemplate: a line cannot be read, or no header can carry it.

    """
    headers = read_pairs(text, ":", "a header as Name: value")
    for name, template in headers.items():
        if not _HEADER.fullmatch(name):
            raise BadTemplate(f"“{name}” is no header's name.")
        if name.lower() in NOT_YOURS:
            raise BadTemplate(f"“{name}” is made when the request is sent; leave it out.")
        if name.lower() == KEY_HEADER.lower():
            raise BadTemplate(f"“{name}” is sent with every request, the same for every try; leave it out.")
        if not fits_header("".join(part if isinstance(part, str) else part.default or "" for part in template)):
            raise BadTemplate(f"The value of “{name}” holds a character that no header can carry.")
    return headers


def fits_header(value: str) -> bool:
    """Whether a header can carry a value: printable ASCII, as the door demands."""
    return value.isascii() and value.isprintable() if value else True


@dataclass(frozen=True)
class Endpoint:
    """What is called, read from settings. It is kept and read by all who call it: nobody changes it."""

    method: str
    segments: list[Template]
    slash: bool
    headers: dict[str, Template]
    params: dict[str, Template]
    body: Any
    inputs: list[Input]

    @classmethod
    def read(cls, settings: Values) -> "Endpoint":
        """Read settings that were checked when they were saved."""
        texts = (settings.get(name) or "" for name in ("headers", "params", "body", "inputs"))
        return _read(settings["method"], settings["url"], *texts)

    def used(self, kind: str) -> list[Placeholder]:
        """Return the placeholders of a kind."""
        everywhere = placeholders.placeholders([self.segments, self.headers, self.params, self.body])
        return [placeholder for placeholder in everywhere if placeholder.kind == kind]


@lru_cache(KEPT)
def _read(method: str, url: str, headers: str, params: str, body: str, inputs: str) -> Endpoint:
    return Endpoint(
        method,
        *read_path(url),
        read_headers(headers),
        read_pairs(params, "=", "name=value"),
        placeholders.parse_json(body) if body.strip() else None,
        read_inputs(inputs),
    )
