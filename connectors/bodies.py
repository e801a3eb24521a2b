"""What a request carries: its body as it goes over the wire, in the few encodings that vendors speak.

A body is text from the moment it is built: what is stored of a write is what was sent, and a repeat sends it again byte by
byte. (A database would bring the members of a stored JSON object back in another order.)
"""

import json as jsonlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from email import message_from_string, policy
from email.message import EmailMessage
from typing import Any, TypedDict
from urllib.parse import parse_qsl, urlencode

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
XML = "text/xml; charset=utf-8"  # SOAP 1.1; https://www.w3.org/TR/2000/NOTE-SOAP-20000508/#_Toc478383526

MAIL = "message/rfc822"


class Content(TypedDict, total=False):
    """What `Api`'s requests may carry: one of these, or nothing.

    `form`: nested objects and lists become brackets (`items[0][price]=…`), booleans true and false; None is left out, and an
    empty text is sent as one. `xml`: a document. `mail`: a message of RFC 5322, in ASCII, its lines ended by CRLF.
    """

    json: Any
    form: Mapping[str, Any]
    xml: str
    mail: str


@dataclass(frozen=True)
class Body:
    """A body, as text (sent in UTF-8), and its media type. JSON-like in itself, so that a step can be stored."""

    content_type: str
    text: str

    @property
    def shown(self) -> Any:
        """What people read: the object, the fields of the form by their names, a mail's headers and texts, or the text."""
        if self.content_type == JSON:
            return jsonlib.loads(self.text)
        if self.content_type == FORM:
            return dict(parse_qsl(self.text, keep_blank_values=True))
        if self.content_type == MAIL:
            return _read(message_from_string(self.text, EmailMessage, policy=policy.SMTP))
        return self.text


def without_empty(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that say something: none that is None, or an empty text, list or object. False and 0 say something."""
    return {name: value for name, value in members.items() if value not in (None, "", [], {})}


def body_of(content: Content) -> Body | None:
    """Return the body that a request with this content has; None where it has none.

    Raises:
        TypeError: more than one is given, or a value has no spelling in that encoding.
        ValueError: a number is not finite.

    """
    given = {name: value for name, value in content.items() if value is not None}
    match list(given.items()):
        case []:
            return None
        case [("json", value)]:
            return Body(JSON, jsonlib.dumps(value, allow_nan=False))
        case [("form", Mapping() as fields)]:
            return Body(FORM, urlencode(list(_pairs(fields))))
        case [("xml", str() as document)]:
            return Body(XML, document)
        case [("mail", str() as message)]:
            return Body(MAIL, message)
    raise TypeError(f"A request carries one body: {', '.join(given)} was given.")


def _read(mail: EmailMessage) -> dict[str, str]:
    """Return a mail as its reader sees it."""
    parts = ((kind, mail.get_body((kind,))) for kind in ("plain", "html"))
    texts = {kind: str(part.get_content()).replace("\r\n", "\n") for kind, part in parts if part is not None}
    unseen = {"content-type", "content-transfer-encoding", "mime-version"}
    return {**{name: str(value) for name, value in mail.items() if name.lower() not in unseen}, **texts}


def _pairs(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Go through a form's fields by their full names; the brackets are those of PHP and Rack, which Stripe took over."""
    match value:
        case None:
            return
        case Mapping():
            for key, member in value.items():
                yield from _pairs(member, f"{name}[{key}]" if name else str(key))
        case list() | tuple():
            for number, member in enumerate(value):
                yield from _pairs(member, f"{name}[{number}]")
        case bool():
            yield name, "true" if value else "false"
        case str() | int() | float() | Decimal():
            yield name, str(value)
        case _:
            raise TypeError(f"A form has no spelling for {name}, a {type(value).__name__}.")
