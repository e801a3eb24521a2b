"""The only door out: every request to a vendor goes through `Api`.

It quotes every path segment on its own, follows no redirect, calls no private address, ends all of an attempt's HTTP within
its time, limits an answer's size, keeps a redacted copy of every exchange, and remembers whether a write may have acted.
"""

import contextlib
import json as jsonlib
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from threading import Timer
from types import TracebackType
from typing import Any, Literal, Protocol, Self
from urllib.parse import quote

import requests
from django.conf import settings as django_settings
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.exceptions import InvalidHeader, InvalidSchema, InvalidURL, MissingSchema
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from connectors.addresses import RESOLVE_SECONDS, checked_addresses
from connectors.base import Connector, Json, SecretField, Values
from connectors.failures import BadCredentials, Failure, NotAllowed, Rejected, Temporary, Undocumented
from engage.redaction import mask, redact

LARGEST_ANSWER = 5 * 1024 * 1024
KEPT_OF_AN_ANSWER = 20_000  # characters of an answer that are kept to be looked at
DEEPEST_ANSWER = 50  # levels of a JSON answer; no vendor's has ten
USER_AGENT = "Engage"
Kind = Literal["read", "write"]


# --- time and sockets -----------------------------------------------------------------------------


class Deadline:
    """The end of all HTTP of one attempt. At that moment every socket is shut, whatever the other side is doing.

    Time-outs of requests are for each read; a vendor that trickles its headers outlives them.
    """

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self._sockets: list[socket.socket] = []
        self._timer: Timer | None = None
        # Whether requests have a working connection: a new one that is not up yet says no, one that is used again says yes.
        self.connected = False

    def remaining(self) -> float:
        """Seconds that are left, never less than 0."""
        return max(0.0, self._ends - time.monotonic())

    def watch(self, sock: socket.socket) -> None:
        """Shut this socket when time is up. A duplicate is kept, since TLS takes the original's descriptor over."""
        self._sockets.append(socket.socket(fileno=os.dup(sock.fileno())))
        if not self.remaining():
            self._shut()  # the timer has fired, or is about to: it may have missed this one
        elif self._timer is None:
            self._timer = Timer(self.remaining(), self._shut)
            self._timer.daemon = True
            self._timer.start()

    def _shut(self) -> None:
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of timer and sockets."""
        if self._timer is not None:
            self._timer.cancel()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()


_deadline: ContextVar[Deadline] = ContextVar("engage_deadline")


def _connect(connection: HTTPConnection) -> socket.socket:
    """Open a socket to a checked address of the connection's host. The name stays for SNI and the certificate."""
    deadline = _deadline.get()
    deadline.connected = False
    host, port = connection._dns_host, connection.port  # noqa: SLF001 - what urllib3's own _new_conn connects to
    failed: OSError | None = None
    for address in checked_addresses(host, port, min(RESOLVE_SECONDS, deadline.remaining())):
        try:
            sock = socket.create_connection(
                (address, port), min(float(connection.timeout or 1), deadline.remaining() or 0.001)
            )
        except OSError as error:
            failed = error
            continue
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        deadline.watch(sock)
        return sock
    if isinstance(failed, TimeoutError):
        raise ConnectTimeoutError(connection, "no connection in time") from failed
    raise NewConnectionError(connection, "no connection") from failed


class _CheckedHTTPConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)

    def connect(self) -> None:
        super().connect()
        _deadline.get().connected = True


class _CheckedHTTPSConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)

    def connect(self) -> None:
        super().connect()
        _deadline.get().connected = True


class _CheckedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _CheckedHTTPConnection


class _CheckedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _CheckedHTTPSConnection


class CheckedAdapter(HTTPAdapter):
    """A transport of requests whose connections are opened to checked addresses only."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        """Make the pools with our connections. Nothing is retried inside: a repeat is the runner's decision."""
        super().init_poolmanager(connections, maxsize, block, **options)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = {"http": _CheckedHTTPPool, "https": _CheckedHTTPSPool}


class _CheckedSession(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """No answer is a redirect: even unfollowed, requests would read its whole body to prepare the next request."""
        return None


def checked_session() -> requests.Session:
    """Return a session that goes through the door (SDKs that cannot be given one are not used)."""
    session = _CheckedSession()
    # Proxy variables would bypass the address check; ~/.netrc would replace our Authorization.
    session.trust_env = False
    session.adapters.clear()
    adapter = CheckedAdapter(max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


# --- what is kept of a call -----------------------------------------------------------------------


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
    body: Any
    repeats: bool = False  # an earlier attempt sent it, and may have acted


class Journal(Protocol):
    """What the caller of an action keeps about it while it runs."""

    deadline: float
    """Seconds that all HTTP of this attempt may take."""

    def step(self, name: str, method: str, url: str, query: Any, body: Any) -> Step:
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

    def step(self, name: str, method: str, url: str, query: Any, body: Any) -> Step:
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


# --- answers --------------------------------------------------------------------------------------


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


# --- the door -------------------------------------------------------------------------------------


class Api:
    """The requests of one attempt to one vendor account. Use as a context manager.

    `get` and `read` are reads; `post`, `put`, `patch` and `delete` are writes, and are announced to the journal first.
    """

    def __init__(self, connector: Connector, settings: Values, journal: Journal) -> None:
        self.connector = connector
        self.settings = settings
        self.journal = journal
        self.may_have_acted = False  # a write of this attempt left us, and was not definitely refused
        self.answers = 0  # how many answers were received whole
        self._secrets = secret_values(connector, settings)
        self._session = checked_session()
        self._deadline = Deadline(journal.deadline)
        self._steps: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadline.close()
        self._session.close()

    def get(self, *segments: str | int, params: Mapping[str, Any] | None = None) -> Answer:
        """Read. Returns the JSON answer; raises a Failure for everything else."""
        return self._read("GET", segments, params, None)

    def read(self, *segments: str | int, json: Any = None, params: Mapping[str, Any] | None = None) -> Answer:
        """Read by POST (SOAP, JSON-RPC, GraphQL queries, tokens): changes nothing at the vendor."""
        return self._read("POST", segments, params, json)

    def post(
        self, *segments: str | int, json: Any = None, params: Mapping[str, Any] | None = None, step: str = "write"
    ) -> Answer:
        """Write by POST; `step` names the write and is unique in its action."""
        return self._write("POST", segments, params, json, step)

    def put(
        self, *segments: str | int, json: Any = None, params: Mapping[str, Any] | None = None, step: str = "write"
    ) -> Answer:
        """Write by PUT."""
        return self._write("PUT", segments, params, json, step)

    def patch(
        self, *segments: str | int, json: Any = None, params: Mapping[str, Any] | None = None, step: str = "write"
    ) -> Answer:
        """Write by PATCH."""
        return self._write("PATCH", segments, params, json, step)

    def delete(
        self, *segments: str | int, json: Any = None, params: Mapping[str, Any] | None = None, step: str = "write"
    ) -> Answer:
        """Write by DELETE."""
        return self._write("DELETE", segments, params, json, step)

    def _url(self, segments: tuple[str | int, ...]) -> str:
        parts = [str(segment) for segment in segments]
        if any(part in {"", ".", ".."} for part in parts):
            raise NotAllowed("A part of the vendor's address is empty; a needed id is not known.")
        return "/".join([base_url(self.connector, self.settings), *(quote(part, safe="") for part in parts)])

    def _read(self, method: str, segments: tuple[str | int, ...], query: Any, body: Any) -> Answer:
        prepared = self._prepare(method, self._url(segments), query, body, {})
        return self._send(prepared, self._exchange("read", prepared, body))

    def _write(self, method: str, segments: tuple[str | int, ...], query: Any, body: Any, name: str) -> Answer:
        if name in self._steps:
            raise RuntimeError(f"The step {name!r} is written twice in one attempt: give each write a name of its own.")
        self._steps.add(name)
        step = self.journal.step(name, method, self._url(segments), query, body)
        header = self.connector.idempotency_header
        extra = {header: self.journal.idempotency_key(name, step)} if header else {}
        prepared = self._prepare(step.method, step.url, step.query, step.body, extra)
        exchange = self._exchange("write", prepared, step.body)
        self.journal.write_begins(exchange)
        before, self.may_have_acted = self.may_have_acted, True
        try:
            return self._send(prepared, exchange, repeats=step.repeats)
        except (Rejected, BadCredentials, NotAllowed):
            self.may_have_acted = before
            self.journal.refused(name)
            raise
        except Temporary as failure:
            if not failure.sent:
                self.may_have_acted = before
            raise

    def _prepare(
        self, method: str, url: str, query: Any, body: Any, extra: Mapping[str, str]
    ) -> requests.PreparedRequest:
        headers = {"User-Agent": USER_AGENT, **self.connector.headers(self.settings), **extra}
        request = requests.Request(method, url, params=query, json=body, headers=headers, auth=self._auth)
        label = self.connector.label
        unfit = f"The credentials of {label} hold a character that no header can carry."
        try:
            prepared = self._session.prepare_request(request)
        except (InvalidURL, MissingSchema):
            raise NotAllowed(f"The address of {label} is none that can be called.") from None
        except InvalidHeader:
            # Only settings stand in headers. The library's own message quotes the value, so it goes no further.
            raise BadCredentials(unfit) from None
        if not all(str(value).isascii() and str(value).isprintable() for value in prepared.headers.values()):
            raise BadCredentials(unfit)
        return prepared

    @cached_property
    def _auth(self) -> AuthBase:
        try:
            return self.connector.auth(self.settings)
        except KeyError as missing:
            raise BadCredentials(f"The setting {missing} of {self.connector.label} is not there.") from None

    def _exchange(self, kind: Kind, prepared: requests.PreparedRequest, body: Any) -> Exchange:
        return Exchange(
            kind,
            str(prepared.method),
            mask(str(prepared.url), self._secrets),
            redact(dict(prepared.headers), self._secrets),
            redact(body, self._secrets),
        )

    def _send(self, prepared: requests.PreparedRequest, exchange: Exchange, *, repeats: bool = False) -> Answer:
        """Send one request and read its answer; whatever happens, the exchange is kept."""
        began = time.monotonic()
        token = _deadline.set(self._deadline)
        try:
            status, headers, raw = self._transfer(prepared)
            exchange.sent, exchange.status = True, status
            self.answers += 1
            exchange.answer_headers = redact(_interesting(headers), self._secrets)
            data = _json_or_text(raw)
            exchange.answer = _shortened(redact(data, self._secrets))
            answer = Answer(data, where=f"{prepared.method} {exchange.url}", status=status, headers=headers)
            return self._judge(answer, repeats=repeats)
        except Failure as failure:
            exchange.error = failure.message
            if exchange.status is None:
                exchange.sent = failure.sent if isinstance(failure, Temporary) else isinstance(failure, Undocumented)
            raise
        finally:
            _deadline.reset(token)
            exchange.ms = round((time.monotonic() - began) * 1000)
            self.journal.answered(exchange)

    def _transfer(self, prepared: requests.PreparedRequest) -> tuple[int, Mapping[str, str], bytes]:
        """Send, and read the whole answer within the deadline and the size limit.

        Raises:
            Temporary: no answer; `sent` says whether the request may have arrived.
            NotAllowed: private address, or an answer that is too large.

        """
        label = self.connector.label
        seconds = min(self.connector.timeout, self._deadline.remaining())
        if seconds <= 0:
            raise Temporary(f"{label} took too long; the time for this attempt is over.", sent=False)
        try:
            with self._session.send(
                prepared, stream=True, timeout=(seconds, seconds), allow_redirects=False
            ) as response:
                raw = bytearray()
                for part in response.iter_content(65536):
                    raw += part
                    if len(raw) > LARGEST_ANSWER:
                        raise Undocumented(f"{label} answered with more than {LARGEST_ANSWER // 2**20} MB.")
                self._check_whole(response, raw)
                return response.status_code, response.headers, bytes(raw)
        except requests.Timeout:
            sent = self._deadline.connected
            raise Temporary(
                f"{label} did not answer in time." if sent else f"{label} could not be reached in time.", sent=sent
            ) from None
        except InvalidSchema:
            raise NotAllowed(f"The address of {label} is none that can be called.") from None
        except (requests.RequestException, OSError, ValueError):
            # ValueError: urllib3 found the socket shut by the deadline in the middle of a read.
            sent = self._deadline.connected
            over = " The time for this attempt is over." if not self._deadline.remaining() else ""
            raise Temporary(
                f"The connection to {label} broke." + over if sent else f"{label} could not be reached.", sent=sent
            ) from None

    def _check_whole(self, response: requests.Response, raw: bytes | bytearray) -> None:
        """Refuse what may be the beginning of an answer only: where nothing says how long it is, a break looks like its end.

        Raises:
            Temporary: time was up, or not even a body came.

        """
        said = {"content-length", "transfer-encoding"} & {name.lower() for name in response.headers}
        empty = response.ok and not raw and response.status_code != 204
        if not said and (empty or not self._deadline.remaining()):
            raise Temporary(f"The connection to {self.connector.label} broke.")

    def _judge(self, answer: Answer, *, repeats: bool = False) -> Answer:
        """Tell an answer from a refusal: the connector's reading first, the status second.

        `repeats`: it answers a write that an earlier attempt sent already, under the same key.
        """
        status, label = answer.status, self.connector.label
        is_json = not isinstance(answer.data, str)
        failure: Failure | None = None
        if status >= 500 and repeats and self.connector.replayed(answer):
            failure = Undocumented(f"{label} answers every repeat with its first answer (status {status}).")
        elif is_json:
            failure = self.connector.failure(answer)
        if failure is None:
            if 200 <= status < 300:
                if is_json:
                    return answer
                failure = Undocumented(f"{label} answered with a page instead of data (status {status}).")
            elif status == 401 or (status == 403 and self.connector.forbidden_is_bad_credentials):
                failure = BadCredentials(f"{label} does not accept the credentials.")
            elif status == 429:
                failure = Temporary(f"{label} asks us to slow down.", after=_retry_after(answer.headers), sent=False)
            elif status >= 500 or status in {408, 425}:
                failure = Temporary(f"{label} has a problem (status {status}).", after=_retry_after(answer.headers))
            elif status < 400:
                failure = Undocumented(f"{label} answered with a redirect (status {status}), which is not followed.")
            else:
                failure = Rejected(f"{label} refused: {_words(answer) or f'status {status}'}")
        failure.status = status
        failure.message = mask(failure.message, self._secrets)
        raise failure


def base_url(connector: Connector, settings: Values) -> str:
    """Return the URL that requests of a connector go to: the vendor's own, or what ENGAGE_VENDOR_URLS says instead."""
    override: str | None = django_settings.ENGAGE_VENDOR_URLS.get(connector.key)
    return (override or connector.base_url(settings)).rstrip("/")


def secret_values(connector: Connector, settings: Values) -> tuple[str, ...]:
    """Return the values of the connector's secret settings, for masking."""
    return tuple(
        str(settings[name])
        for name, form_field in connector.Settings.base_fields.items()
        if isinstance(form_field, SecretField) and settings.get(name)
    )


def _json_or_text(raw: bytes) -> Any:
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


def _shortened(data: Any) -> Any:
    text = data if isinstance(data, str) else jsonlib.dumps(data, ensure_ascii=False)
    return data if len(text) <= KEPT_OF_AN_ANSWER else f"{text[:KEPT_OF_AN_ANSWER]}… ({len(text)} characters)"


def _interesting(headers: Mapping[str, str]) -> dict[str, str]:
    kept = ("content-type", "retry-after", "date", "x-request-id", "request-id", "x-total-count", "location")
    return {name: value for name, value in headers.items() if name.lower() in kept or "request-id" in name.lower()}


def _words(answer: Answer) -> str:
    """The vendor's own sentence in a refusal, where it stands in one of the usual places."""
    for name in ("message", "error_description", "error", "detail", "title"):
        words = answer.get(name)
        if isinstance(words, str) and words:
            return words[:500]
        if isinstance(words, Answer) and isinstance(words.get("message"), str):
            return str(words.get("message"))[:500]
    return ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
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
