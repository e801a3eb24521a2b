"""What a vendor answers, read with care."""

import contextlib
import json as jsonlib
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from connectors.failures import Undocumented

KEPT_OF_AN_ANSWER = 20_000  # characters of an answer that are kept to be looked at
DEEPEST_ANSWER = 50  # levels of a JSON answer; no vendor's has ten


class Answer:
    """A vendor's JSON, read with care: what is not there as documented raises `Undocumented` instead of a KeyError.

    Objects and lists come out wrapped again; texts, numbers, booleans and None as they are.
    """

    def __init__(self, data: Any, *, where: str, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.data = data
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
        raise Undocumented(f"The answer to {self._where} has no {name!r}, which its documentation promises.")

    def get(self, name: str, default: Any = None) -> Any:
        """Return a member, or `default` where it is missing or null, or where this is no object."""
        value = self.data.get(name) if isinstance(self.data, dict) else None
        return default if value is None else self._wrap(value, f"{self._where}.{name}")

    def rows(self, name: str) -> "list[Answer]":
        """Return a member that is a list of objects; raises Undocumented where it is anything else."""
        member = self[name]
        if not isinstance(member, Answer) or not all(isinstance(row, dict) for row in member.data):
            raise Undocumented(f"In the answer to {self._where}, {name!r} is no list of objects, as documented.")
        return list(member)

    def __iter__(self) -> Iterator[Any]:
        """Go through a list."""
        if not isinstance(self.data, list):
            raise Undocumented(f"The answer to {self._where} is no list, which its documentation promises.")
        return iter([self._wrap(item, self._where) for item in self.data])

    def __len__(self) -> int:
        """Number of members; 0 for null."""
        return len(self.data) if isinstance(self.data, (dict, list)) else 0

    def __str__(self) -> str:
        """Refuse to be a word of a sentence or a part of an address: a value was promised, and an object or list came."""
        raise Undocumented(f"The answer to {self._where} has an object or list where a value is documented.")

    def __bool__(self) -> bool:
        """Whether there is anything in it."""
        return bool(self.data)


def json_or_text(raw: bytes) -> Any:
    """Return JSON as RFC 8259 has it (no NaN), no deeper than anybody needs; everything else as text."""
    if not raw.strip():
        return None
    try:
        return _plain(jsonlib.loads(raw, parse_constant=_finite, parse_float=_finite))
    except (ValueError, RecursionError):
        return _plain(raw.decode("utf-8", "replace"))


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise ValueError(number)
    return value


def _plain(data: Any, level: int = 0) -> Any:
    """Return JSON data that every database can keep: without NUL and half characters, which PostgreSQL refuses."""
    if level > DEEPEST_ANSWER:
        raise ValueError("nested too deeply")
    if isinstance(data, str):
        return data.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    if isinstance(data, list):
        return [_plain(item, level + 1) for item in data]
    if isinstance(data, dict):
        return {_plain(name): _plain(item, level + 1) for name, item in data.items()}
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
        if isinstance(words, str) and words:
            return words[:500]
        if isinstance(words, Answer) and isinstance(words.get("message"), str):
            return str(words.get("message"))[:500]
    return ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the vendor wishes us to wait (RFC 9110, 10.2.3: seconds or a date), at least 0 and at most a day."""
    value = (headers.get("Retry-After") or "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), 86400.0) if seconds == seconds else None
