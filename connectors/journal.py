"""What is kept of an action's requests while it runs, and by whom."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from django.conf import settings as django_settings

from connectors.base import Json
from connectors.bodies import Body

Kind = Literal["read", "write"]


@dataclass
class Exchange:
    """One request and its answer, redacted, as it is stored and shown."""

    kind: Kind
    method: str
    url: str
    headers: dict[str, str]
    body: Any = None
    sent: bool = False
    status: int | None = None
    answer_headers: dict[str, str] = field(default_factory=dict)
    answer: Any = None
    ms: int | None = None
    error: str = ""

    def as_json(self) -> Json:
        """Return it as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Step:
    """A write of an action as its first attempt made it. No credentials are in it."""

    generation: int
    method: str
    url: str
    query: Any
    body: Body | None
    repeats: bool = False  # an earlier attempt sent it, and may have acted


class Journal(Protocol):
    """What the caller of an action keeps about it while it runs."""

    @property
    def deadline(self) -> float:
        """Seconds that all HTTP of this attempt may take."""

    tag: str
    """A name of this execution, the same in all its attempts: vendors that keep a client's own id are searched by it."""

    person: str
    """A name of the subscriber that says nothing of who it is, the same in all executions of the App: a UUID in small letters."""

    def step(self, name: str, method: str, url: str, query: Any, body: Body | None) -> Step:
        """Return the step as an earlier attempt that may have acted sent it; else this one, which is kept when it is written.

        Raises:
            Diverged: that attempt went to another URL.

        """

    def idempotency_key(self, name: str, step: Step) -> str:
        """Return the key by which the vendor recognises a repeat of this step."""

    def write_begins(self, exchange: Exchange) -> None:
        """Confirm the claim and store "write begun"; called before each write.

        Raises:
            LostClaim: somebody else has the execution, or its time is over. Nothing is sent.

        """

    def answered(self, exchange: Exchange) -> None:
        """Keep a finished exchange, whatever became of it."""

    def refused(self, name: str) -> None:
        """The vendor definitely refused this step. Where no earlier attempt may have acted, the next is a new request."""


class WouldWrite(Exception):
    """Raised by a journal that only looks, at the first write."""


class OnlyLooks:
    """A journal for *Test connection*, catalogues and *Preview*: reads are sent and kept, the first write is not sent."""

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = float(django_settings.ENGAGE_ATTEMPT_TIMEOUT) if deadline is None else deadline
        self.exchanges: list[Exchange] = []
        self.tag = self.person = "made when it is sent"

    def step(self, name: str, method: str, url: str, query: Any, body: Body | None) -> Step:
        """Nothing is stored."""
        return Step(1, method, url, query, body)

    def idempotency_key(self, name: str, step: Step) -> str:
        """A real one is made when the write is."""
        return "made when it is sent"

    def write_begins(self, exchange: Exchange) -> None:
        """Stop here."""
        self.exchanges.append(exchange)
        raise WouldWrite

    def answered(self, exchange: Exchange) -> None:
        """Keep it to show it."""
        self.exchanges.append(exchange)

    def refused(self, name: str) -> None:
        """No write, no refusal."""


# --- for people ------------------------------------------------------------------------------------------------------------


def spelled_out(exchange: Mapping[str, Any]) -> dict[str, Any]:
    """Return an exchange with its texts as a page shows them: `as_sent` and `as_answered` are all of it, line by line."""
    body, answer = _text(exchange["body"]), _text(exchange["answer"])
    first = f"{exchange['method']} {exchange['url']}"
    return {
        **exchange,
        "as_sent": "\n\n".join(filter(None, ["\n".join([first, *_lines(exchange["headers"])]), body])),
        "as_answered": "\n\n".join(filter(None, ["\n".join(_lines(exchange["answer_headers"])), answer])),
        "body_text": body,
        "answer_text": answer,
    }


def _lines(headers: Mapping[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers.items()]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
