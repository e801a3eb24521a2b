"""What a vendor answers, read with care."""

import contextlib
import json as jsonlib
import math
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlsplit
from xml.etree.ElementTree import Element

from defusedxml import ElementTree

from connectors.failures import Undocumented
from connectors.times import day_in_words

KEPT_OF_AN_ANSWER = 20_000  # characters of an answer that are kept to be looked at
DEEPEST_ANSWER = 50  # levels of an answer; no vendor's has twenty
XML_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"


class Answer:
    """A vendor's JSON, read with care: what is not there as documented raises `Undocumented` instead of a KeyError.

    Objects and lists come out wrapped again; texts, numbers, booleans and None as they are. `where` names it in sentences.
    """

    def __init__(
        self,
        data: Any,
        *,
        where: str,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        xml: bytes = b"",
    ) -> None:
        self.data = data
        self.xml = xml  # the whole document, where it was one and parsed safely: for an SDK that reads it itself
        self.status = status
        self.headers = headers or {}
        self._where = where

    def _wrap(self, value: Any, where: str) -> Any:
        return (
            Answer(value, where=where, status=self.status, headers=self.headers)
            if isinstance(value, (dict, list))
            else value
        )

    def __getitem__(self, name: str | int) -> Any:
        """Return a member, or raise Undocumented where there is none."""
        with contextlib.suppress(KeyError, IndexError, TypeError):
            return self._wrap(self.data[name], f"{self._where}.{name}")
        raise Undocumented(f"The {self._where} has no {name!r}, which its documentation promises.")

    def get(self, name: str, default: Any = None) -> Any:
        """Return a member, or `default` where it is missing or null, or where this is no object."""
        value = self.data.get(name) if isinstance(self.data, dict) else None
        return default if value is None else self._wrap(value, f"{self._where}.{name}")

    def rows(self, name: str = "") -> "list[Answer]":
        """Return a member (this itself, without a name) that is a list of objects, else raise Undocumented."""
        member = self[name] if name else self
        rows = member.data if isinstance(member, Answer) and isinstance(member.data, list) else [None]
        return list(member) if all(isinstance(row, dict) for row in rows) else self._is_no("list of objects", name)

    def part(self, name: str) -> "Answer":
        """Return a member that is an object, else raise Undocumented."""
        member = self[name]
        return member if isinstance(member, Answer) and isinstance(member.data, dict) else self._is_no("object", name)

    def inner(self, name: str) -> "Answer":
        """Return a member that is an object; an empty one where it is missing, or something else."""
        member = self.get(name)
        if isinstance(member, Answer) and isinstance(member.data, dict):
            return member
        return Answer({}, where=f"{self._where}.{name}", status=self.status, headers=self.headers)

    def text(self, name: str) -> str:
        """Return a member that is a text with something in it, else raise Undocumented."""
        value = self[name]
        return value if isinstance(value, str) and value else self._is_no("text", name)

    def texts(self, name: str) -> list[str]:
        """Return a member that is a list of texts, else raise Undocumented."""
        member = self[name]
        values: list[Any] = member.data if isinstance(member, Answer) and isinstance(member.data, list) else [None]
        return values if all(isinstance(value, str) for value in values) else self._is_no("list of texts", name)

    def amount(self, name: str) -> Decimal:
        """Return a member that is an amount (a number, or a text that is one), else raise Undocumented."""
        value = self[name]
        try:
            amount = Decimal("NaN" if isinstance(value, bool) else str(value))
        except InvalidOperation:
            amount = Decimal("NaN")
        return amount if amount.is_finite() else self._is_no("amount", name)

    def moment(self, name: str, *, unit: float = 1.0) -> datetime:
        """Return a member that is a time (ISO 8601, UTC where it says nothing else; or Unix time), else raise Undocumented.

        Unix time is in seconds; `unit` says how many of them one step is (0.001: milliseconds).
        """
        value = self[name]
        try:
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return datetime.fromtimestamp(value * unit, UTC)
            moment = datetime.fromisoformat(value)
        except (TypeError, ValueError, OverflowError, OSError):
            return self._is_no("time", name)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def day(self, name: str) -> str:
        """Return a member that is a time as a day in words, in UTC ("15 January 2027"), else raise Undocumented."""
        return day_in_words(self.moment(name))

    def is_past(self, name: str) -> bool:
        """Whether a member is a time that is over; one that is missing or null is not."""
        return self.get(name) is not None and self.moment(name) <= datetime.now(UTC)

    def with_status(self, status: int) -> "Answer":
        """Return this answer, which has the status that is documented, else raise Undocumented."""
        if self.status == status:
            return self
        raise Undocumented(f"The {self._where} has status {self.status}, where {status} is documented.")

    def shows(self, name: str, *wanted: Any) -> Any:
        """Return a member that is as it was asked to be; an answer that does not show it proves nothing: Undocumented."""
        value = self[name]
        if value in wanted:
            return value
        said = value if isinstance(value, (str, int, float)) else "something else"
        raise Undocumented(f"The {self._where} does not show what was asked for: {name!r} is {said}.")

    def fill(self, template: str) -> str:
        """Return a text with members in it, e.g. "{name} ({code})"; raise Undocumented where one is missing, null or empty."""
        return template.format_map(_Members(self))

    def _is_no(self, kind: str, name: str) -> NoReturn:
        raise Undocumented(f"In the {self._where}, {name or 'it'!r} is no {kind}, as documented.")

    def each(self, name: str) -> list[Any]:
        """Return a member that may stand there any number of times, as in XML: none, one or a list of them."""
        member = self.get(name)
        return (
            list(member)
            if isinstance(member, Answer) and isinstance(member.data, list)
            else [member][: member is not None]
        )

    def objects(self, name: str) -> "list[Answer]":
        """Return the objects in a member that is a list; none where it is missing, or something else."""
        member = self.get(name)
        rows = member if isinstance(member, Answer) and isinstance(member.data, list) else ()
        return [row for row in rows if isinstance(row, Answer) and isinstance(row.data, dict)]

    def __iter__(self) -> Iterator[Any]:
        """Go through a list."""
        if not isinstance(self.data, list):
            raise Undocumented(f"The {self._where} is no list, which its documentation promises.")
        return iter([self._wrap(item, self._where) for item in self.data])

    def __len__(self) -> int:
        """Number of members; 0 for null."""
        return len(self.data) if isinstance(self.data, (dict, list)) else 0

    def __str__(self) -> str:
        """Refuse to be a word of a sentence or a part of an address: a value was promised, and an object or list came."""
        raise Undocumented(f"The {self._where} has an object or list where a value is documented.")

    def __bool__(self) -> bool:
        """Whether there is anything in it."""
        return bool(self.data)


class _Members(dict[str, Any]):
    """The members of an answer that a text can hold."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._answer = answer

    def __missing__(self, name: str) -> Any:
        value = self._answer[name]
        if value in (None, ""):
            raise Undocumented(f"The vendor's {name!r} is empty, which its documentation does not say.")
        return value


def json_or_text(raw: bytes) -> Any:
    """Return JSON as RFC 8259 has it (no NaN), no deeper than anybody needs; everything else as text."""
    if not raw.strip():
        return None
    try:
        return plain(jsonlib.loads(raw, parse_constant=_finite, parse_float=_finite))
    except (ValueError, RecursionError):
        return plain(raw.decode("utf-8", "replace"))


def read_xml(raw: bytes) -> Any:
    """Return an XML document as JSON-like data; what is none, or declares a DTD or entities, as text.

    Elements go by their local names and attributes are left out. One with children is an object, in which a name that comes
    several times is a list (`Answer.each` reads either); another is its text; one that is nil is None.
    """
    try:
        root = ElementTree.fromstring(raw, forbid_dtd=True)
        return {_local(root.tag): _of_element(root)}
    except (ElementTree.ParseError, ValueError, LookupError):
        return plain(raw.decode("utf-8", "replace"))


def _of_element(element: Element, level: int = 0) -> Any:
    if level > DEEPEST_ANSWER:
        raise ValueError("nested too deeply")
    if element.get(XML_NIL) in {"true", "1"}:
        return None
    if not len(element):
        return plain(element.text or "")
    members: dict[str, Any] = {}
    for child in element:
        name, value = _local(child.tag), _of_element(child, level + 1)
        if name not in members:
            members[name] = value
        elif isinstance(members[name], list):
            members[name].append(value)
        else:
            members[name] = [members[name], value]
    return members


def _local(tag: str) -> str:
    return str(plain(tag.rpartition("}")[2]))


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise ValueError(number)
    return value


def plain(data: Any, level: int = 0) -> Any:
    """Return JSON data that every database can keep: without NUL and half characters, which PostgreSQL refuses."""
    if level > DEEPEST_ANSWER:
        raise ValueError("nested too deeply")
    if isinstance(data, str):
        return data.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    if isinstance(data, list):
        return [plain(item, level + 1) for item in data]
    if isinstance(data, dict):
        return {plain(name): plain(item, level + 1) for name, item in data.items()}
    return data


def shortened(data: Any) -> Any:
    text = data if isinstance(data, str) else jsonlib.dumps(data, ensure_ascii=False)
    return data if len(text) <= KEPT_OF_AN_ANSWER else f"{text[:KEPT_OF_AN_ANSWER]}… ({len(text)} characters)"


def interesting(headers: Mapping[str, str]) -> dict[str, str]:
    kept = ("content-type", "retry-after", "date", "x-request-id", "request-id", "x-total-count", "location")
    return {name: value for name, value in headers.items() if name.lower() in kept or "request-id" in name.lower()}


def words_of(answer: Answer) -> str:
    """The vendor's own sentence in a refusal, where it stands in one of the usual places."""
    for name in ("message", "error_description", "error", "detail", "title"):
        words = answer.get(name)
        if isinstance(words, Answer):
            words = words.get("message")
        if isinstance(words, str) and words:
            return words[:500]
    errors = answer.get("errors")
    if isinstance(errors, Answer):
        several = list(errors) if isinstance(errors.data, list) else [errors]
        errors = "; ".join(filter(None, map(_words_of_one, several)))
    return errors[:500] if isinstance(errors, str) else ""


def _words_of_one(error: Any) -> str:
    """The sentence of one of several errors: a text, or an object with a message and perhaps the field that it is about.

    With JSON:API (https://jsonapi.org/format/#error-objects) the sentence is its `detail`, or else its `title`.
    """
    if not isinstance(error, Answer):
        return error if isinstance(error, str) else ""
    words, field = error.get("message") or error.get("detail") or error.get("title"), error.get("field")
    named = f" ({field})" if isinstance(field, str) and field not in {"", "null"} else ""
    return f"{words}{named}" if isinstance(words, str) and words else ""


def query_of(url: Any) -> dict[str, str]:
    """Return the query of a URL or path that stands in an answer. The rest of it never chooses where we call."""
    return dict(parse_qsl(urlsplit(str(url or "")).query))


def retry_after(answer: Answer) -> float | None:
    """Seconds that the vendor wishes us to wait, at least 0 and at most a day; None where it says nothing.

    RFC 9110, 10.2.3: seconds or a date. Without it, when the rate limit's window ends: `X-RateLimit-Reset` is Unix time with
    some vendors (SendGrid, Recurly) and seconds from now with others; no window lasts thirty years. It is read with a 429 alone:
    vendors send it with every answer, and when a window ends says nothing of when a 5xx is over.
    """
    value = (answer.headers.get("Retry-After") or "").strip()
    seconds = _number(value)
    if not value and answer.status == 429:
        seconds = _number(answer.headers.get("X-RateLimit-Reset") or "")
        if seconds is not None and seconds > 1e9:
            seconds = seconds - time.time() if math.isfinite(seconds) else None
    elif value and seconds is None:
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    return None if seconds is None else min(max(seconds, 0.0), 86_400.0)


def _number(text: str) -> float | None:
    with contextlib.suppress(ValueError):
        number = float(text)
        return None if math.isnan(number) else number
    return None
