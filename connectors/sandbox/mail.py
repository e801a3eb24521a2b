"""The sandbox's mail server: speaks SMTP (aiosmtpd) on a port of its own, and puts what it takes into the world `smtp`."""

import asyncio
import socket
import ssl
import threading
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from connectors.sandbox.store import Store
from connectors.sandbox.worlds import smtp


class Listener:
    """Holds an SMTP conversation with whoever comes to `host`:`port` (0: any free one), from when it is made until `stop()`."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        listening = socket.create_server((host, port))
        self.host, self.port = host, int(listening.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(self._loop.create_server(self.session, sock=listening, ssl=tls))
        self._thread = threading.Thread(target=self._loop.run_forever, name="mail", daemon=True)
        self._thread.start()

    def session(self) -> SMTP:
        """Return a conversation."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it, whatever it is doing."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class MailServer(Listener):
    """Takes mail for the sandbox's people."""

    def __init__(self, store: Store, host: str = "127.0.0.1", port: int = 0) -> None:
        self._store = store
        super().__init__(host, port)

    def session(self) -> SMTP:
        """Return a conversation with whoever signs in."""
        return SMTP(
            self,
            hostname=smtp.NAME,
            authenticator=self._authenticate,
            auth_required=True,
            auth_require_tls=False,
            loop=self._loop,
        )

    def _authenticate(self, server: Any, session: Session, envelope: Envelope, mechanism: str, told: Any) -> AuthResult:
        fits = isinstance(told, LoginPassword) and told == LoginPassword(smtp.USER.encode(), smtp.PASSWORD.encode())
        smtp.note(self._store, "AUTH", 235 if fits else 535)
        return AuthResult(success=fits, handled=False)

    async def handle_MAIL(  # noqa: N802 - as aiosmtpd calls it
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take or refuse a sender."""
        envelope.mail_from = address
        return smtp.sender_problem(address) or "250 2.1.0 Ok"

    async def handle_RCPT(  # noqa: N802 - as aiosmtpd calls it
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take or refuse a recipient."""
        problem = smtp.recipient_problem(address)
        if not problem:
            envelope.rcpt_tos.append(address)
        return problem or "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take a mail."""
        number = smtp.deliver(self._store, envelope.rcpt_tos, envelope.original_content or b"")
        return f"250 2.0.0 Ok: queued as {number}"
