"""A mail server (aiosmtpd) that takes mail over a real connection, and misbehaves at the step where it is told to."""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, AnyStr, Literal

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from connectors.sandbox.mail import Listener

USER, PASSWORD = "engage@example.com", "planted-password-of-the-user"
QUEUED = "2.0.0 Ok: queued as 4XyZ1a"
GREETING, TAKEN, GONE_WRONG = "greeting", "end of the mail", "gone wrong"


@dataclass(frozen=True)
class Fault:
    """What goes wrong at a step: `says` is the reply, with {secret} for what the client signed in with."""

    at: str
    says: str = ""
    then: Literal["say", "hang", "drop"] = "say"


@dataclass(frozen=True)
class Mail:
    """A mail as it was taken."""

    sender: str
    recipients: list[str]
    raw: bytes
    signed_in: bool
    over_tls: bool

    @property
    def read(self) -> EmailMessage:
        """As a mail program reads it."""
        return message_from_bytes(self.raw, EmailMessage, policy=policy.SMTP)

    @property
    def texts(self) -> list[str]:
        """Its texts, line by line."""
        parts = [part for part in self.read.walk() if not part.is_multipart()]
        return [str(part.get_content()).replace("\r\n", "\n") for part in parts]


class MailServer(Listener):
    """Takes mail, over TLS where a context is given, from whoever signs in where `signing` is set."""

    def __init__(
        self, *, starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None, signing: bool = False
    ) -> None:
        self.faults: list[Fault] = []
        self.taken: list[Mail] = []
        self.steps: list[str] = []
        self._starttls, self._signing, self._is_tls = starttls, signing, tls is not None
        super().__init__(tls=tls)

    @property
    def address(self) -> str:
        """As ENGAGE_PRIVATE_HOSTS has it."""
        return f"localhost:{self.port}"

    def session(self) -> "_Session":
        """Return a conversation."""
        return _Session(
            self,
            hostname="mail.example.com",
            tls_context=self._starttls,
            authenticator=self._authenticate if self._signing else None,
            auth_required=self._signing,
            auth_exclude_mechanism=[] if self._signing else ["LOGIN", "PLAIN"],
            auth_require_tls=self._starttls is not None,
            loop=self._loop,
        )

    def _authenticate(self, server: Any, session: Session, envelope: Envelope, mechanism: str, told: Any) -> AuthResult:
        fits = isinstance(told, LoginPassword) and told == LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=fits, handled=False)

    async def handle_DATA(self, server: "_Session", session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take a mail."""
        server.at = TAKEN
        raw = envelope.original_content or b""
        over_tls = self._is_tls or session.ssl is not None
        mail = Mail(str(envelope.mail_from), list(envelope.rcpt_tos), raw, bool(session.authenticated), over_tls)
        if not any(fault.at == TAKEN and fault.then == "say" for fault in self.faults):
            self.taken.append(mail)
        return f"250 {QUEUED}"


def _noting(command: str) -> Callable[["_Session", str], Any]:
    """Return the method for a command which notes that it is under way."""

    async def method(self: "_Session", arg: str) -> None:
        self.at = command
        self.mails.steps.append(command)
        await getattr(SMTP, f"smtp_{command}")(self, arg)

    return method


class _Session(SMTP):
    """A conversation."""

    def __init__(self, mails: MailServer, **options: Any) -> None:
        self.mails, self.at = mails, GREETING
        super().__init__(mails, **options)

    async def push(self, status: AnyStr) -> None:
        """Say what is to be said, or what goes wrong instead."""
        fault = next((one for one in self.mails.faults if one.at == self.at), None)
        if self.at == GONE_WRONG:
            return  # the rest of a reply that has been given already
        if fault is None:
            await super().push(status)
            return
        self.at = GONE_WRONG
        if fault.then == "hang":
            await asyncio.sleep(60)
        elif fault.then == "drop":
            assert isinstance(self.transport, asyncio.WriteTransport)
            self.transport.abort()
        else:
            await super().push(fault.says)


for command in ("EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "RSET"):
    setattr(_Session, f"smtp_{command}", _noting(command))


@contextmanager
def mail_server(**options: Any) -> Iterator[MailServer]:
    """Run one on a free port."""
    server = MailServer(**options)
    try:
        yield server
    finally:
        server.stop()
