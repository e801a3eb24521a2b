"""The only door out: every request to a vendor goes through `Api`.

It quotes every path segment on its own, follows no redirect, calls no private address, ends all of an attempt's HTTP within
its time, limits an answer's size, keeps a redacted copy of every exchange, and remembers whether a write may have acted.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from enum import Enum
from types import TracebackType
from typing import Any, ParamSpec, Self, Unpack
from urllib.parse import quote, urlencode, urlsplit

import requests
from django.conf import settings as django_settings
from requests.auth import AuthBase
from requests.exceptions import InvalidHeader, InvalidSchema, InvalidURL, MissingSchema
from requests.structures import CaseInsensitiveDict

from connectors import tokens
from connectors.answers import Answer, interesting, json_or_text, plain, read_xml, retry_after, shortened, words_of
from connectors.auth import TokenSource
from connectors.base import Connector, Values
from connectors.bodies import XML, Body, Content, body_of
from connectors.deadlines import Deadline, within
from connectors.failures import (
    AlreadyDone,
    BadCredentials,
    Failure,
    NotAllowed,
    Paused,
    Rejected,
    Temporary,
    Undocumented,
    refused,
)
from connectors.journal import Exchange, Journal, Kind, OnlyLooks, WouldWrite
from connectors.limits import Gate, pause
from connectors.models import Connection
from connectors.transport import HTTP_2, checked_session
from engage import crash
from engage.redaction import MASK, mask, redact

LARGEST_ANSWER = 5 * 1024 * 1024
MOST_PAGES = 50
USER_AGENT = "Engage"


class Ending(Enum):
    """The last of a request's segments, where the vendor documents a path that ends otherwise than with one."""

    SLASH = "/"


@dataclass(frozen=True)
class Custom:
    """A segment with a custom method behind it, whose colon stays as it is: `tokens/{token}:cancel` (https://google.aip.dev/136)."""

    segment: str
    method: str

    def __str__(self) -> str:
        return self.segment


Segment = str | int | Ending | Custom
"""A part of a request's path; each is quoted on its own."""
Params = Mapping[str, Any] | None
"""The query of a request."""
Told = ParamSpec("Told")
Judge = Callable[[Answer], Failure | None]
"""Reads a refusal out of an answer; None: as the status says."""


@dataclass(frozen=True)
class Asked:
    """A request before it is signed."""

    kind: Kind
    method: str
    url: str
    query: Params
    body: Body | None
    extra: Mapping[str, str]
    judge: Judge | None = None
    rehearsal: Params = None
    is_file: bool = False


@dataclass(frozen=True)
class _Held:
    """A token that this attempt uses, and where its account's next ones look for it."""

    value: str
    key: str
    recalled: bool  # out of the cache: it may have been withdrawn since


class _Attempt:
    """What all hosts of one attempt share."""

    def __init__(self, connector: Connector, secrets: tuple[str, ...], seconds: float) -> None:
        self.may_have_acted = False
        self.answers = 0
        self.failed: bool | None = None
        self.secrets = secrets
        self.connector = connector
        self.session = self._new_session()
        self.deadline = Deadline(seconds)
        self.gate: Gate | None = None
        self.steps: set[str] = set()
        self.signing: dict[str, AuthBase | TokenSource] = {}
        self.tokens: dict[str, _Held] = {}

    def renew(self, seconds: float) -> None:
        """Give the requests that follow a time and sockets of their own."""
        self.close()
        self.session, self.deadline, self.gate = self._new_session(), Deadline(seconds), None
        self.tokens.clear()  # the time of one of them may be over

    def _new_session(self) -> requests.Session:
        session = checked_session()
        for scheme, adapter in self.connector.protocols.items():
            session.mount(scheme, adapter())
        return session

    def close(self) -> None:
        """Let go of the sockets."""
        self.deadline.close()
        self.session.close()


class Api:
    """The requests of one attempt to one vendor account. Use as a context manager.

    `get` and `read` are reads; `post`, `put`, `patch` and `delete` are writes, and are announced to the journal first.

    Args:
        account: the stored connection, whose limits hold; None where settings are only typed so far.
        kept_tokens: whether an access token of an earlier attempt will do; a test of credentials asks for a new one.

    """

    def __init__(
        self,
        connector: Connector,
        settings: Values,
        journal: Journal,
        account: Connection | None = None,
        *,
        kept_tokens: bool = True,
    ) -> None:
        self.connector = connector
        self.settings = settings
        self.journal = journal
        self.account = account
        self._keeps_tokens = kept_tokens and account is not None
        self._host = ""
        self._asks_for_token = False
        self._attempt = _Attempt(connector, secret_values(connector, settings), journal.deadline)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._attempt.close()

    @property
    def may_have_acted(self) -> bool:
        """Whether a write of this attempt left us, and was not definitely refused."""
        return self._attempt.may_have_acted

    @property
    def answers(self) -> int:
        """How many answers were received whole."""
        return self._attempt.answers

    @property
    def failed(self) -> bool | None:
        """Whether the last request ended in a passing trouble of the vendor; None: none was sent."""
        return self._attempt.failed

    def at(self, host: str) -> "Api":
        """Return the door to a further host of the vendor, by its name (`Connector.hosts`); everything else is shared."""
        return self._door(host)

    def _door(self, host: str, *, asks_for_token: bool = False) -> "Api":
        other = copy(self)
        vars(other).update(_host=host, _asks_for_token=asks_for_token)
        return other

    def sign_in(self) -> None:
        """Get the access token for this host: all that a test can do where the vendor has nothing to read."""
        self._signer()

    @property
    def remaining(self) -> float:
        """Seconds that this attempt has left."""
        return self._attempt.deadline.remaining()

    @property
    def tag(self) -> str:
        """A name of this execution, the same in all its attempts, for vendors that keep a client's own id."""
        return self.journal.tag

    @property
    def person(self) -> str:
        """A name of the person that says nothing of who it is, always the same, for vendors that show it with a purchase."""
        return self.journal.person

    @property
    def only_looks(self) -> bool:
        """Whether this is a preview: what is handed over then must be worth nothing to whoever sees it."""
        return isinstance(self.journal, OnlyLooks)

    def get(self, *segments: Segment, params: Params = None) -> Answer:
        """Read. Returns the JSON answer; raises a Failure for everything else."""
        return self._read("GET", segments, params, None)

    def read(self, *segments: Segment, params: Params = None, **content: Unpack[Content]) -> Answer:
        """Read by POST (SOAP, JSON-RPC, GraphQL queries, tokens): changes nothing at the vendor."""
        return self._read("POST", segments, params, body_of(content))

    def text(self, *segments: Segment, params: Params = None) -> Answer:
        """Read what may be another thing than JSON: then `answer.data` is its text."""
        judge = self.connector.failure
        return self._send_read(Asked("read", "GET", self._url(segments), params, None, {}, judge))

    def file(self, url: str) -> Answer:
        """Read a file that an answer names, without credentials; `answer.data` is its bytes.

        The answer chooses the file, and the connector where files may lie (`file_hosts`).

        Raises:
            NotAllowed: it lies elsewhere.

        """
        asked = Asked("read", "GET", file_url(self.connector, url), None, None, {}, is_file=True)
        return self._door("files")._send_read(asked)  # noqa: SLF001 - a door of the same attempt

    def later(self, seconds: float, why: str) -> None:
        """Wait for the vendor, where this door has the time (`PatientApi`); else end the attempt, which comes back then.

        Raises:
            Temporary: this door has not.

        """
        raise Temporary(why, after=seconds, sent=False)

    def pages(self, *segments: Segment, params: Params = None, most: int = MOST_PAGES) -> Iterator[Answer]:
        """Read a list to its end, row by row; the connector's `next_page()` says how it goes on.

        Args:
            most: pages that are read.

        Raises:
            Rejected: it is longer than that.
            Undocumented: it says that there is more, and does not go on.

        """
        query, before = {**self.connector.page_query, **(params or {})}, None
        for _ in range(most):
            page = self.get(*segments, params=query)
            if before is not None and page.data == before and self.connector.may_not_page:
                return
            before = page.data
            yield from self.connector.rows_of(page)
            following = self.connector.next_page(page, query)
            if following is None:
                return
            if urlencode(following) == urlencode(query):
                raise Undocumented(f"{self.connector.label}'s list of {segments[-1]} does not go on after a page.")
            query = dict(following)
        raise Rejected(f"{self.connector.label}'s list of {segments[-1]} is longer than {most:,} pages.")

    def post(
        self, *segments: Segment, params: Params = None, step: str = "write", **content: Unpack[Content]
    ) -> Answer:
        """Write by POST; `step` names the write and is unique in its action. `content`: json, form, xml or mail."""
        return self._write("POST", segments, params, body_of(content), step)

    def put(self, *segments: Segment, params: Params = None, step: str = "write", **content: Unpack[Content]) -> Answer:
        """Write by PUT."""
        return self._write("PUT", segments, params, body_of(content), step)

    def patch(
        self, *segments: Segment, params: Params = None, step: str = "write", **content: Unpack[Content]
    ) -> Answer:
        """Write by PATCH."""
        return self._write("PATCH", segments, params, body_of(content), step)

    def delete(
        self, *segments: Segment, params: Params = None, step: str = "write", **content: Unpack[Content]
    ) -> Answer:
        """Write by DELETE."""
        return self._write("DELETE", segments, params, body_of(content), step)

    def write(
        self,
        method: str,
        *segments: Segment,
        params: Params = None,
        headers: Mapping[str, str] | None = None,
        judge: Judge | None = None,
        slash: bool = False,
        rehearsal: Params = None,
        step: str = "write",
        **content: Unpack[Content],
    ) -> Answer:
        """Write by any method, GET included: what a request does is not always what its method says.

        Args:
            headers: of this request alone, without credentials.
            judge: reads this answer in place of `Connector.failure()`; a 2xx may then be another thing than JSON.
            slash: the path ends with one.
            rehearsal: what makes the vendor say what would happen and do nothing, in the query; a preview then asks for it.

        """
        url = self._url(segments) + ("/" if slash else "")
        asked = Asked("write", method, url, params, body_of(content), headers or {}, judge, rehearsal)
        return self._write_to(asked, step)

    def _url(self, segments: tuple[Segment, ...]) -> str:
        ends_with_slash = bool(segments) and segments[-1] is Ending.SLASH
        parts = segments[:-1] if ends_with_slash else segments
        if any(str(part) in {"", ".", ".."} for part in parts):
            raise NotAllowed("A part of the vendor's address is empty; a needed id is not known.")
        quoted = [_quoted(part) for part in parts]
        return "/".join([base_url(self.connector, self.settings, self._host), *quoted, *[""] * ends_with_slash])

    def _read(self, method: str, segments: tuple[Segment, ...], query: Params, body: Body | None) -> Answer:
        return self._send_read(Asked("read", method, self._url(segments), query, body, {}))

    def _send_read(self, asked: Asked) -> Answer:
        prepared = self._prepare(asked)
        self._wait()
        try:
            return self._send(prepared, asked, self._exchange(prepared, asked))
        except BadCredentials:
            if not self._has_new_token():
                raise
        return self._send_read(asked)

    def _write(self, method: str, segments: tuple[Segment, ...], query: Params, body: Body | None, name: str) -> Answer:
        return self._write_to(Asked("write", method, self._url(segments), query, body, {}), name)

    def _write_to(self, wished: Asked, name: str) -> Answer:
        if name in self._attempt.steps:
            raise RuntimeError(f"The step {name!r} is written twice in one attempt: give each write a name of its own.")
        self._attempt.steps.add(name)
        step = self.journal.step(name, wished.method, wished.url, wished.query, wished.body)
        header, methods = self.connector.idempotency_header, self.connector.idempotency_methods
        has_key = bool(header) and (not methods or step.method in methods)
        extra = {**wished.extra, **({header: self.journal.idempotency_key(name, step)} if has_key else {})}
        asked = Asked("write", step.method, step.url, step.query, step.body, extra, wished.judge, wished.rehearsal)
        prepared = self._prepare(asked)
        try:
            return self._send_write(prepared, asked, repeats=step.repeats and has_key)
        except (Rejected, BadCredentials, NotAllowed, AlreadyDone):
            self.journal.refused(name)
            raise
        except Temporary as later:
            if has_key and self.connector.key_keeps_refusals and later.answer is not None and not later.sent:
                self.journal.refused(name)
            raise

    def _send_write(self, prepared: requests.PreparedRequest, asked: Asked, *, repeats: bool) -> Answer:
        exchange = self._exchange(prepared, asked)
        self._wait()
        try:
            self.journal.write_begins(exchange)
        except WouldWrite:
            self._rehearse(asked)
            raise
        crash.point("write.begun")
        before, self._attempt.may_have_acted = self._attempt.may_have_acted, True
        try:
            return self._send(prepared, asked, exchange, repeats=repeats)
        except (Rejected, BadCredentials, NotAllowed, AlreadyDone) as refusal:
            self._attempt.may_have_acted = before
            if not isinstance(refusal, BadCredentials) or not self._has_new_token():
                raise
        except Temporary as failure:
            if not failure.sent:
                self._attempt.may_have_acted = before
            raise
        # Refused for its token alone, nothing happened: the same request, under the same key, as if it were the first.
        return self._send_write(self._prepare(asked), asked, repeats=repeats)

    def _rehearse(self, asked: Asked) -> None:
        """Ask the vendor what a write that is not sent would do, where it can say that. It has no key yet."""
        if asked.rehearsal:
            extra = {name: value for name, value in asked.extra.items() if name != self.connector.idempotency_header}
            query = {**(asked.query or {}), **asked.rehearsal}
            self._send_read(replace(asked, kind="read", query=query, extra=extra))

    def _wait(self) -> None:
        """Wait until the connection may send one more request.

        Raises:
            Paused: that would take too long.

        """
        if self._attempt.gate is None:
            self._attempt.gate = Gate(self.account, self.connector.rate(self.settings))
        try:
            self._attempt.gate.wait(self._attempt.deadline.remaining())
        except Paused as paused:
            paused.message = f"{self.connector.label} takes no more requests just now, by its own limit."
            raise

    def _prepare(self, asked: Asked) -> requests.PreparedRequest:
        """Build and sign a request; where a token is needed and none is at hand, it is asked for first."""
        body = asked.body
        headers = {"User-Agent": USER_AGENT, **self.connector.headers(self.settings), **asked.extra}
        if body:
            headers.setdefault("Content-Type", body.content_type)
        if body and body.content_type == XML and "xml" not in headers.get("Accept", ""):
            headers["Accept"] = "text/xml"
        raw = body.text.encode() if body else None
        request = requests.Request(
            asked.method, asked.url, params=asked.query, data=raw, headers=headers, auth=self._signer()
        )
        label = self.connector.label
        unfit = f"The credentials of {label} hold a character that no header can carry."
        try:
            prepared = self._attempt.session.prepare_request(request)
        except (InvalidURL, MissingSchema):
            raise NotAllowed(f"The address of {label} is none that can be called.") from None
        except InvalidHeader:
            # Only settings stand in headers. The library's own message quotes the value, so it goes no further.
            raise BadCredentials(unfit) from None
        if not all(str(value).isascii() and str(value).isprintable() for value in prepared.headers.values()):
            raise BadCredentials(unfit)
        return prepared

    def _signing(self) -> AuthBase | TokenSource:
        """Return how the connector signs requests to this host."""
        known = self._attempt.signing
        if self._host not in known:
            try:
                declared = self.connector
                known[self._host] = (
                    declared.auth_at(self._host, self.settings) if self._host else declared.auth(self.settings)
                )
            except KeyError as missing:
                raise BadCredentials(f"The setting {missing} of {self.connector.label} is not there.") from None
        return known[self._host]

    def _signer(self) -> AuthBase:
        signing = self._signing()
        if not isinstance(signing, TokenSource):
            return signing
        held = self._attempt.tokens.get(signing.name) or self._recalled(signing) or self._fetched(signing)
        return signing.bearing(held.value)

    def _recalled(self, source: TokenSource) -> _Held | None:
        """Return the token that an earlier attempt of the same account has left, if it is still good."""
        if not (self._keeps_tokens and self.account):
            return None
        key = tokens.place(self.connector, self.account, self.settings, source.name)
        value = tokens.recall(key)
        return self._hold(source, _Held(value, key, recalled=True)) if value else None

    def _fetched(self, source: TokenSource) -> _Held:
        """Ask for a new token."""
        token = source.fetch(self._door(source.host, asks_for_token=True))
        crash.point("token.given")
        key = ""
        if self._keeps_tokens and self.account:
            key = tokens.place(self.connector, self.account, self.settings, source.name)
            tokens.keep(key, token)
            crash.point("token.kept")
        return self._hold(source, _Held(token.value, key, recalled=False))

    def _hold(self, source: TokenSource, held: _Held) -> _Held:
        self._attempt.secrets = (*self._attempt.secrets, held.value)
        self._attempt.tokens[source.name] = held
        return held

    def _has_new_token(self) -> bool:
        """After a refusal: whether a new token can have been the cure, and is at hand now.

        One out of the cache may have been withdrawn since; one that this attempt was given a moment ago has not.
        """
        source = self._signing()
        if not isinstance(source, TokenSource):
            return False
        held = self._attempt.tokens[source.name]
        if held.key:
            tokens.forget(held.key)
        if held.recalled:
            self._fetched(source)
        return held.recalled

    def _exchange(self, prepared: requests.PreparedRequest, asked: Asked) -> Exchange:
        secrets = self._attempt.secrets
        # What was signed is shown, not what is stored: an AuthBase may put credentials into a body.
        raw = prepared.body.decode() if isinstance(prepared.body, bytes) else ""
        shown = Body(asked.body.content_type, raw).shown if asked.body else None
        # The query of a file's address is often the key to it.
        url = str(prepared.url).partition("?")[0] if asked.is_file else str(prepared.url)
        return Exchange(
            asked.kind,
            str(prepared.method),
            mask(url, secrets),
            redact(dict(prepared.headers), secrets),
            MASK if self._asks_for_token else redact(shown, secrets),
        )

    def _send(
        self, prepared: requests.PreparedRequest, asked: Asked, exchange: Exchange, *, repeats: bool = False
    ) -> Answer:
        """Send one request and read its answer; whatever happens, the exchange is kept."""
        began = time.monotonic()
        secrets = self._attempt.secrets
        try:
            with within(self._attempt.deadline):
                status, headers, raw = self._transfer(prepared, asked.kind)
            if asked.kind == "write":
                crash.point("write.answered")
            self._attempt.failed = False
            exchange.sent, exchange.status = True, status
            self._attempt.answers += 1
            exchange.answer_headers = redact(interesting(headers), secrets)
            is_xml = all(
                "xml" in kind for kind in (prepared.headers.get("Accept", ""), headers.get("Content-Type", ""))
            )
            is_file = asked.is_file and 200 <= status < 300
            data = raw if is_file else read_xml(raw) if is_xml else json_or_text(raw)
            given = self._asks_for_token and 200 <= status < 300
            shown = f"A file of {len(raw):,} bytes." if is_file else data
            exchange.answer = MASK if given else shortened(redact(shown, secrets))
            where = f"answer to {prepared.method} {exchange.url}"
            answer = Answer(data, where=where, status=status, headers=headers, xml=raw if is_xml else b"")
            return self._judge(answer, repeats=repeats, judge=asked.judge)
        except Failure as failure:
            exchange.error = failure.message
            if not isinstance(failure, Paused):  # nobody was asked: it is no trouble of the vendor's
                self._attempt.failed = isinstance(failure, Temporary)
            if self.account and isinstance(failure, Temporary) and failure.status in {429, 503} and failure.after:
                pause(self.account, failure.after)
            if exchange.status is None:
                exchange.sent = failure.sent if isinstance(failure, Temporary) else isinstance(failure, Undocumented)
            raise
        finally:
            exchange.ms = round((time.monotonic() - began) * 1000)
            self.journal.answered(exchange)

    def _transfer(self, prepared: requests.PreparedRequest, kind: Kind) -> tuple[int, Mapping[str, str], bytes]:
        """Send, and read the whole answer within the deadline and the size limit.

        Raises:
            Temporary: no answer; `sent` says whether the request may have arrived.
            NotAllowed: a private address, or none that can be called.
            Undocumented: an answer that is too large.

        """
        label = self.connector.label
        seconds = min(self.connector.timeout / django_settings.ENGAGE_TIME_SCALE, self.remaining)
        if seconds <= 0:
            raise Temporary(f"{label} took too long; the time for this attempt is over.", sent=False)
        try:
            with self._attempt.session.send(
                prepared, stream=True, timeout=(seconds, seconds), allow_redirects=False
            ) as response:
                if kind == "write":
                    crash.point("write.sent")
                raw = bytearray()
                for part in response.iter_content(65536):
                    raw += part
                    if len(raw) > LARGEST_ANSWER:
                        raise Undocumented(f"{label} answered with more than {LARGEST_ANSWER // 2**20} MB.")
                self._check_whole(response, raw)
                return response.status_code, CaseInsensitiveDict(plain(dict(response.headers))), bytes(raw)
        except requests.Timeout:
            sent = self._attempt.deadline.connected
            raise Temporary(
                f"{label} did not answer in time." if sent else f"{label} could not be reached in time.", sent=sent
            ) from None
        except InvalidSchema:
            raise NotAllowed(f"The address of {label} is none that can be called.") from None
        except (requests.RequestException, OSError, ValueError):
            # ValueError: urllib3 found the socket shut by the deadline in the middle of a read.
            sent = self._attempt.deadline.connected
            over = " The time for this attempt is over." if not self._attempt.deadline.remaining() else ""
            raise Temporary(
                f"The connection to {label} broke." + over if sent else f"{label} could not be reached.", sent=sent
            ) from None

    def _check_whole(self, response: requests.Response, raw: bytes | bytearray) -> None:
        """Refuse what may be the beginning of an answer only: where nothing says how long it is, a break looks like its end.

        Over HTTP/2 it does not: there an end is said.

        Raises:
            Temporary: time was up, or not even a body came.

        """
        if getattr(response.raw, "version", 0) == HTTP_2:
            return
        said = {"content-length", "transfer-encoding"} & {name.lower() for name in response.headers}
        empty = response.ok and not raw and response.status_code != 204
        if not said and (empty or not self._attempt.deadline.remaining()):
            raise Temporary(f"The connection to {self.connector.label} broke.")

    def _judge(self, answer: Answer, *, repeats: bool = False, judge: Judge | None = None) -> Answer:
        """Tell an answer from a refusal: the connector's reading (or the request's own) first, the status second.

        `repeats`: it answers a write that an earlier attempt sent already, under the same key.
        """
        status, label = answer.status, self.connector.label
        is_json = not isinstance(answer.data, str)
        failure: Failure | None = None
        if judge is not None:
            failure = judge(answer)
        elif is_json:
            failure = self.connector.failure(answer)
        if failure is None:
            if 200 <= status < 300:
                if is_json or judge is not None:
                    return answer
                failure = Undocumented(f"{label} answered with a page instead of data (status {status}).")
            elif status == 401 or (status == 403 and self.connector.forbidden_is_bad_credentials):
                failure = BadCredentials(f"{label} does not accept the credentials.")
            elif status == 429:
                failure = Temporary(f"{label} asks us to slow down.", after=retry_after(answer), sent=False)
            elif status >= 500 or status in {408, 425}:
                failure = Temporary(f"{label} has a problem (status {status}).", after=retry_after(answer))
            elif status < 400:
                failure = Undocumented(f"{label} answered with a redirect (status {status}), which is not followed.")
            else:
                failure = refused(label, f"status {status}")
        if repeats and isinstance(failure, Temporary) and failure.sent and self.connector.replayed(answer):
            failure = Undocumented(f"{label} answers every repeat with its first answer (status {status}).")
        if self._asks_for_token and isinstance(failure, Rejected):
            failure = BadCredentials(f"{label} gives out no access token: {words_of(answer) or f'status {status}'}")
        failure.status, failure.answer = status, answer
        failure.message = mask(failure.message, self._attempt.secrets)
        failure.args = (failure.message,)
        raise failure


def _quoted(part: Segment) -> str:
    return quote(str(part), safe="") + (f":{part.method}" if isinstance(part, Custom) else "")


def or_none(call: Callable[Told, Answer], *told: Told.args, **more: Told.kwargs) -> Answer | None:
    """Return what a read answers, e.g. `or_none(api.get, "users", number)`; None where the vendor says 404: there is none."""
    try:
        return call(*told, **more)
    except Rejected as no:
        if no.status != 404:
            raise
        return None


def existing(api: Api, what: str, *path: Segment) -> Answer:
    """Read what is named by its path.

    Raises:
        Rejected: the vendor has none; `what` says what and which ("subscription 7").

    """
    if (found := or_none(api.get, *path)) is None:
        raise Rejected(f"{api.connector.label} knows no {what}.")
    return found


def shown(api: Api, what: str, *path: Segment) -> Answer:
    """Read what the vendor has accepted, and may not show in the first moments: a job, a message.

    Raises:
        Undocumented: it does not; `what` says what and which ("job 7"). It is asked about again, until `settles_within` is over.

    """
    if (found := or_none(api.get, *path)) is None:
        raise Undocumented(f"{api.connector.label} does not show its {what}.")
    return found


def base_url(connector: Connector, settings: Values, host: str = "") -> str:
    """Return the URL that requests of a connector go to: the vendor's own, or what ENGAGE_VENDOR_URLS says instead.

    Args:
        connector: whose.
        settings: of the connection.
        host: the name of a further host; what replaces that one is the connector's replacement, followed by the name.

    """
    override: str | None = django_settings.ENGAGE_VENDOR_URLS.get(connector.key)
    if override:
        return "/".join([override.rstrip("/"), *([host] if host else [])])
    return (connector.hosts(settings)[host] if host else connector.base_url(settings)).rstrip("/")


def file_url(connector: Connector, url: str) -> str:
    """Return where a file is read that an answer names: there, or below what ENGAGE_VENDOR_URLS says instead.

    The URL is made anew of the parts that were looked at, so nobody reads another host out of it.

    Raises:
        NotAllowed: it is not among the connector's `file_hosts`, or is none that can be called.

    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        parts, host = urlsplit(""), ""
    is_usual = parts.scheme == "https" and parts.netloc.lower() in (host, f"{host}:443")
    patterns = (re.escape(one).replace(r"\*", "[a-z0-9-]+") for one in connector.file_hosts)
    if not is_usual or not any(re.fullmatch(pattern, host) for pattern in patterns):
        raise NotAllowed(f"{connector.label} names a file at {host or 'no host'}, where none of its files may lie.")
    override: str | None = django_settings.ENGAGE_VENDOR_URLS.get(connector.key)
    place = f"{override.rstrip('/')}/files" if override else f"https://{host}"
    return f"{place}{parts.path}{'?' * bool(parts.query)}{parts.query}"


def secret_values(connector: Connector, settings: Values) -> tuple[str, ...]:
    """Return the values of the connector's secret settings, for masking."""
    return tuple(
        secret
        for name, form_field in connector.secret_fields(settings).items()
        for secret in form_field.values_in(str(settings.get(name) or ""))
    )
