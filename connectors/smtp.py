"""Mail over SMTP (RFC 5321) as a protocol of the door: what `Api` sends to an `smtp:` URL becomes a talk with a server.

The request's method is `SEND` (its body is the mail, its headers the envelope) or `GET` (sign in, name the sender, and take it
back: a read). The answer's status is the server's last reply; its JSON says after which step it came and what was said until
then. All recipients are named before the mail is handed over: when one of them is refused, nobody gets it.

`smtp://` speaks in the clear, `smtp+starttls://` changes to TLS before anything is told, `smtps://` begins with it.
"""

import base64
import json
import smtplib
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from io import BytesIO
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from connectors.answers import Answer
from connectors.failures import BadCredentials, Failure, Rejected, Temporary, Undocumented
from connectors.transport import open_socket
from engage.redaction import mask

PLAIN, STARTTLS, TLS = "smtp", "smtp+starttls", "smtps"
SENDER, RECIPIENTS = "Mail-From", "Rcpt-To"  # the envelope, as headers of the request
MOST_SAID = 256 * 1024  # bytes of all replies; a conversation has a few hundred
CONNECTING, SIGNING_IN, HANDED_OVER = "connecting", "AUTH", "end of the mail"
SETTING_UP = frozenset({CONNECTING, "EHLO", "HELO", "STARTTLS", SIGNING_IN})  # about the account, not about one mail
SIGN_IN_FIRST = frozenset({530, 534, 535, 538})  # RFC 4954, 6: of any step


class SignIn(AuthBase):
    """Lets a conversation sign in."""

    def __init__(self, user: str, password: str) -> None:
        self.user, self.password = user, password

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request, signed as HTTP would be; `Smtp` reads it again, and no header is ever sent."""
        request.headers["Authorization"] = _base64(f"{self.user}\0{self.password}")
        return request


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _signing(header: str | bytes | None) -> tuple[str, str] | None:
    if not header:
        return None
    user, _, password = base64.b64decode(header).decode().partition("\0")
    return user, password


@cache
def tls_context() -> ssl.SSLContext:
    """Return how certificates are checked: against the system's roots, where a company's own may stand, and requests' ones."""
    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context


class _OtherReply(Exception):
    """The server said something else than the next step needs."""


class _Conversation(smtplib.SMTP):
    """One, from the connection to the good-bye. `at` is the step under way, `in_doubt` whether the mail may be accepted."""

    def __init__(self, url: str, seconds: float, sender: str, signing: tuple[str, str] | None) -> None:
        parts = urlsplit(url)
        # The name in the greeting is the sender's domain: smtplib would ask the resolver for this machine's.
        super().__init__(local_hostname=sender.rpartition("@")[2], timeout=seconds)
        self._scheme, self._host, self._port = parts.scheme, parts.hostname or "", parts.port or 25
        self._sender, self._signing = sender, signing
        # How a server might repeat what it was told.
        told = [signing[1], _base64(signing[1]), _base64(f"\0{signing[0]}\0{signing[1]}")] if signing else []
        self._secrets = tuple(told)
        self._room = MOST_SAID
        self.at, self.code, self.said, self.in_doubt = CONNECTING, 0, "", False
        self._log: list[str] = []

    # --- what smtplib does by itself, done through the door ---------------------------------------------------------

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:
        sock = open_socket(host, port, timeout)
        return tls_context().wrap_socket(sock, server_hostname=host) if self._scheme == TLS else sock

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply, as long as there is room for it."""
        if self.file is None and self.sock is not None:
            self.file = _Bounded(self.sock.makefile("rb"), self._count)
        return super().getreply()

    def _count(self, line: bytes) -> None:
        self._room -= len(line)
        if self._room < 0:
            raise smtplib.SMTPServerDisconnected("The server says more than anybody reads.")

    # --- step by step -------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Connect, greet, change to TLS, sign in and name the sender.

        Raises:
            BadCredentials: the server cannot do what the settings ask for.
            _OtherReply: it said no.

        """
        self._step(CONNECTING, partial(self.connect, self._host, self._port), 220)
        self._greet()
        if self._scheme == STARTTLS:
            if not self.has_extn("starttls"):
                raise BadCredentials(
                    f"{self._host} offers no STARTTLS, so nothing was sent. Is it the right port, or does it begin with TLS?"
                )
            self._step("STARTTLS", partial(self.starttls, context=tls_context()), 220)
            self._greet()
        if self._signing:
            self._step(SIGNING_IN, partial(self._sign_in, *self._signing), 235, 503)  # 503: signed in already
        self._step("MAIL FROM", partial(self.docmd, "MAIL", f"FROM:<{self._sender}>"), 250)

    def take_back(self) -> None:
        """End without a mail."""
        self._step("RSET", partial(self.docmd, "RSET"), 250)

    def hand_over(self, recipients: Sequence[str], mail: str) -> None:
        """Name the recipients, and hand the mail over where all of them are taken.

        Raises:
            _OtherReply: the server said no.

        """
        for address in recipients:
            self._step(f"RCPT TO {address}", partial(self.docmd, "RCPT", f"TO:<{address}>"), 250, 251)
        self._step("DATA", partial(self.docmd, "DATA"), 354)
        self.at, self.in_doubt = HANDED_OVER, True
        self.send(f"{smtplib.quotedata(mail.removesuffix(smtplib.CRLF))}{smtplib.CRLF}.{smtplib.CRLF}")
        self._step(HANDED_OVER, self.getreply, 250)

    def good_bye(self) -> None:
        """Say so, and wait for no answer: it would change nothing."""
        with suppress(OSError):
            self.putcmd("QUIT")
        self.close()

    def _greet(self) -> None:
        self._step("EHLO", self.ehlo, 250, 500, 502)
        if self.code != 250:
            self._step("HELO", self.helo, 250)  # RFC 5321, 3.2: a server that is older than EHLO

    def _sign_in(self, user: str, password: str) -> tuple[int, bytes]:
        try:
            return self.login(user, password)
        except UnicodeEncodeError:
            raise BadCredentials("User name or password hold a letter that this sign-in cannot carry.") from None
        except (smtplib.SMTPResponseException, smtplib.SMTPServerDisconnected):
            raise
        except smtplib.SMTPException:
            raise BadCredentials(f"{self._host} offers no sign-in by user name and password.") from None

    def _step(self, at: str, say: Callable[[], tuple[int, bytes]], *wanted: int) -> None:
        self.at = at
        try:
            self.code, words = say()
        except smtplib.SMTPResponseException as refusal:
            self.code, words = refusal.smtp_code, _bytes(refusal.smtp_error)
        told = words.decode("utf-8", "replace")
        self.said = mask(" ".join(told.split()), self._secrets)[:1000]
        self._log.append(f"{at}: {self.code} {self.said}".rstrip())
        if self.code not in wanted:
            raise _OtherReply

    # --- what came of it ----------------------------------------------------------------------------------------------

    def answer(self, request: requests.PreparedRequest, *, accepted: bool) -> requests.Response:
        """Return the last reply as an answer."""
        told = {"accepted": accepted, "at": self.at, "said": self.said, "server": self._host, "conversation": self._log}
        raw = json.dumps(told).encode()
        response = requests.Response()
        response.request, response.url, response.status_code = request, str(request.url), max(self.code, 0)
        response.headers = CaseInsensitiveDict({"Content-Type": "application/json", "Content-Length": str(len(raw))})
        response.raw = BytesIO(raw)
        return response

    def broken_off(self, error: OSError) -> Failure:
        """Return what a connection that broke means."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return BadCredentials(f"The certificate of {self._host} cannot be relied on: {error.verify_message}.")
        if self.in_doubt:
            return Temporary(f"{self._host} was given the mail, and did not say that it has it.")
        if self.at == CONNECTING:
            return Temporary(f"{self._host} could not be reached, or does not answer as a mail server.", sent=False)
        return Temporary(f"{self._host} hung up or did not answer ({self.at}); it was not given the mail.", sent=False)


class _Bounded:
    """A server's lines, each of which is counted."""

    def __init__(self, file: BinaryIO, count: Callable[[bytes], None]) -> None:
        self._file, self._count = file, count

    def readline(self, size: int) -> bytes:
        """Return a line."""
        line = self._file.readline(size)
        self._count(line)
        return line

    def close(self) -> None:
        """Let go."""
        self._file.close()


def _bytes(words: bytes | str) -> bytes:
    return words if isinstance(words, bytes) else words.encode()


class Smtp(BaseAdapter):
    """Carries requests to these URLs."""

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Hold the conversation.

        Raises:
            Temporary: it broke off; `sent` says whether the mail may have been accepted.
            BadCredentials: it cannot be begun safely, or not signed in to.
            NotAllowed: the server is private, and not listed.

        """
        headers = request.headers
        signing, sender = _signing(headers.get("Authorization")), str(headers[SENDER])
        conversation, accepted = _Conversation(str(request.url), timeout[0], sender, signing), False
        with suppress(_OtherReply):
            try:
                conversation.begin()
                if request.method == "GET":
                    conversation.take_back()
                else:
                    mail = request.body.decode() if isinstance(request.body, bytes) else ""
                    conversation.hand_over(str(headers[RECIPIENTS]).split(), mail)
                accepted = True
            except OSError as error:
                raise conversation.broken_off(error) from None
            finally:
                conversation.good_bye()
        return conversation.answer(request, accepted=accepted)

    def close(self) -> None:
        """Nothing is kept."""


def refusal(answer: Answer) -> Failure | None:
    """Return what a reply means for the next step (RFC 5321, 4.2.1); None where the server accepted."""
    if answer["accepted"] is True:
        return None
    code, at, server = answer.status, answer.text("at"), answer.text("server")
    words = f"{server} said {code} {answer['said']}".rstrip() + f" ({at})"
    if 400 <= code < 500:
        return Temporary(words, code=str(code), sent=False)  # it did not take the mail, and may later
    if code in SIGN_IN_FIRST or (500 <= code < 600 and at in SETTING_UP):
        return BadCredentials(words, code=str(code))
    if 500 <= code < 600:
        return Rejected(words, code=str(code))
    if at == HANDED_OVER:
        return Undocumented(words, code=str(code))
    return Temporary(words, code=str(code), sent=False)  # nobody documented it, and the mail was not given
