"""A mail server of a company's own, which speaks SMTP (RFC 5321) on a port of its own: `connectors.sandbox.mail` lends it the ear.

It is not encrypted, asks for a sign-in, and takes mail from one domain alone. What is taken is shown to people and goes nowhere.
Over HTTP nobody answers here, and a fault of the sandbox's control API cannot be meant for it.
"""

import email.policy
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from http import HTTPStatus

from connectors.sandbox.http import Request, Response
from connectors.sandbox.people import GRACE
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Table, World

KEY, LABEL = "smtp", "E-mail"
NAME = "mail.streamly.example"
USER, PASSWORD = "engage", "sandbox-password-not-a-real-credential"
DOMAIN = "streamly.example"
SHOWN = 300
"""Characters of a text."""


def listen(store: Store, host: str, port: int) -> None:
    """Write down where the mail server is."""
    store.put(KEY, "setting", "address", {"host": host, "port": str(port)})


def setup(store: Store) -> Mapping[str, str]:
    """Return the settings of the connection; none where no mail server runs."""
    address = store.get(KEY, "setting", "address")
    if address is None:
        return {}
    told = {
        "security": "smtp",
        "user": USER,
        "password": PASSWORD,
        "from_email": f"hello@{DOMAIN}",
        "from_name": "Streamly",
    }
    return {**address, **told}


def answer(_: Request, __: Store) -> Response:
    """Refuse: this is no place for HTTP."""
    return Response(HTTPStatus.NOT_FOUND, {"message": "This is a mail server: speak SMTP at its own port."})


def note(store: Store, step: str, code: int) -> int:
    """Write a step of a conversation down where requests stand; returns its number."""
    number = store.begin_request(KEY, {"method": step, "path": "", "query": {}, "headers": {}, "body": None})
    store.finish_request(number, status=code, fault=None, finished_at=store.now())
    return number


def sender_problem(address: str) -> str:
    """Say why no mail is taken from an address; "" when it is."""
    if address.lower().endswith(f"@{DOMAIN}"):
        return ""
    return f"550 5.7.1 {USER} may send for {DOMAIN} only"


def recipient_problem(address: str) -> str:
    """Say why an address gets no mail; "" when it does. Grace's mailbox is closed."""
    return "550 5.2.1 The mailbox is disabled" if address.lower() == GRACE.email else ""


def deliver(store: Store, recipients: Sequence[str], raw: bytes) -> str:
    """Take a mail; returns the name under which it is known."""
    mail = email.message_from_bytes(raw, EmailMessage, policy=email.policy.SMTP)
    subject = str(mail["Subject"] or "")
    plain = mail.get_body(("plain", "html"))
    text = str(plain.get_content()) if plain else ""
    with store.transaction():
        store.request = note(store, "DATA", 250)
        number = f"{len(store.all(KEY, 'mail')) + 1:06d}"
        told = {"from": str(mail["From"] or ""), "subject": subject, "text": text}
        store.put(
            KEY, "mail", number, {"id": number, "to": list(recipients), "raw": raw.decode("utf-8", "replace"), **told}
        )
        for address in recipients:
            store.effect(KEY, "message_sent", address, subject=subject)
    return number


def state(store: Store) -> Json:
    """Return this world for the control API."""
    return {"mails": store.all(KEY, "mail")}


def tables(store: Store) -> Sequence[Table]:
    """Return the mails, the newest first."""
    rows = [
        (row["id"], row["from"], ", ".join(row["to"]), row["subject"], row["text"][:SHOWN])
        for row in reversed(store.all(KEY, "mail"))
    ]
    return [("Mails", ("Id", "From", "To", "Subject", "Text"), rows)]


WORLD = World(
    key=KEY,
    label=LABEL,
    setup=setup,
    answer=answer,
    state=state,
    tables=tables,
)
