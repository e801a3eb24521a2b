"""The only door out: every request to a vendor goes through `Api`.

It quotes every path segment on its own, follows no redirect, calls no private address, ends all of an attempt's HTTP within
its time, limits an answer's size, keeps a redacted copy of every exchange, and remembers whether a write may have acted.
"""

import time
from collections.abc import Mapping
from functools import cached_property
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import requests
from django.conf import settings as django_settings
from requests.auth import AuthBase
from requests.exceptions import InvalidHeader, InvalidSchema, InvalidURL, MissingSchema

from connectors.answers import Answer, interesting, json_or_text, retry_after, shortened, words_of
from connectors.base import Connector, SecretField, Values
from connectors.failures import BadCredentials, Failure, NotAllowed, Rejected, Temporary, Undocumented
from connectors.journal import Exchange, Journal, Kind
from connectors.transport import Deadline, checked_session, within
from engage.redaction import mask, redact

LARGEST_ANSWER = 5 * 1024 * 1024
USER_AGENT = "Engage"


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

    @property
    def tag(self) -> str:
        """A name of this execution, the same in all its attempts, for vendors that keep a client's own id."""
        return self.journal.tag

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
        try:
            with within(self._deadline):
                status, headers, raw = self._transfer(prepared)
            exchange.sent, exchange.status = True, status
            self.answers += 1
            exchange.answer_headers = redact(interesting(headers), self._secrets)
            data = json_or_text(raw)
            exchange.answer = shortened(redact(data, self._secrets))
            answer = Answer(data, where=f"{prepared.method} {exchange.url}", status=status, headers=headers)
            return self._judge(answer, repeats=repeats)
        except Failure as failure:
            exchange.error = failure.message
            if exchange.status is None:
                exchange.sent = failure.sent if isinstance(failure, Temporary) else isinstance(failure, Undocumented)
            raise
        finally:
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
                failure = Temporary(f"{label} asks us to slow down.", after=retry_after(answer.headers), sent=False)
            elif status >= 500 or status in {408, 425}:
                failure = Temporary(f"{label} has a problem (status {status}).", after=retry_after(answer.headers))
            elif status < 400:
                failure = Undocumented(f"{label} answered with a redirect (status {status}), which is not followed.")
            else:
                failure = Rejected(f"{label} refused: {words_of(answer) or f'status {status}'}")
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
