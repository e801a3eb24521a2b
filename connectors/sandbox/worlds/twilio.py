"""Twilio's Programmable Messaging, API 2010-04-01, as its reference describes it: what Engage asks of it.

https://www.twilio.com/docs/messaging/api/message-resource. The mount point stands for `https://api.twilio.com/2010-04-01`, and
`/messaging` below it for `https://messaging.twilio.com/v1`. A message is delivered some seconds after it was accepted, unless its
number is one of those below. Left out: prices, pictures' contents, a second page of a list.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus

from connectors.sandbox.http import Refusal, Request, Response, Route, routed
from connectors.sandbox.people import FARID, HUGO, Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Table, World

KEY, LABEL = "twilio", "Twilio"
ACCOUNT, KEY_SID, SERVICE = "AC" + "5a" * 16, "SK" + "5b" * 16, "MG" + "5c" * 16
SECRET = "sandbox-secret-not-a-real-credential"  # noqa: S105 - opens nothing but this fake world
AUTH_TOKEN = "sandbox-auth-token-not-a-real-credential"  # noqa: S105 - the same
SECONDS = 2.0
"""After this a message has arrived, or is lost."""
LONGEST_TEXT, IN_A_SEGMENT = 1600, 160

NUMBERS = {"+14155550100": "Streamly", "+14155550199": "Streamly, answers"}
E164 = re.compile(r"\+[1-9][0-9]{6,14}")


def phone_number(person: Person) -> str:
    """Return somebody's number."""
    return f"+1415555011{person.number}"


UNREACHABLE = phone_number(HUGO)
"""Whose phone is off for good."""
OPTED_OUT = phone_number(FARID)
"""Who has answered STOP."""


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {
        "region": "us1",
        "account_sid": ACCOUNT,
        "key_sid": KEY_SID,
        "secret": SECRET,
        "sender": next(iter(NUMBERS)),
    }


def traits(person: Person) -> Mapping[str, str]:
    """Return the number: Farid has answered STOP, and Hugo's phone is off."""
    return {"phone_number": phone_number(person)}


# --- answering ------------------------------------------------------------------------------------------------------------


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction: to an API key, or to the account's own token."""
    if request.basic() not in {(KEY_SID, SECRET), (ACCOUNT, AUTH_TOKEN)}:
        return Response(HTTPStatus.UNAUTHORIZED, _words(20003, "Authenticate", HTTPStatus.UNAUTHORIZED))
    return routed(request, store, ROUTES, nothing=lambda status: _words(20404, "The resource was not found", status))


def _words(code: int, message: str, status: int) -> Json:
    url = f"https://www.twilio.com/docs/errors/{code}"
    return {"code": code, "message": message, "more_info": url, "status": int(status)}


def _refusal(code: int, message: str, status: int = HTTPStatus.BAD_REQUEST) -> Refusal:
    return Refusal(status, _words(code, message, status))


def get_account(request: Request, _: Store) -> Response:
    """`GET /Accounts/{Sid}.json`, which an API key may not see."""
    if request.basic()[0] != ACCOUNT:
        raise _refusal(20003, "Authenticate", HTTPStatus.UNAUTHORIZED)
    return Response(body={"sid": ACCOUNT, "friendly_name": "Streamly", "status": "active", "type": "Full"})


def send_message(request: Request, store: Store) -> Response:
    """`POST /Accounts/{Sid}/Messages.json`: every request is a message."""
    form = {name: values[0] for name, values in request.form().items()}
    to, text, sender = form.get("To", ""), form.get("Body", ""), form.get("MessagingServiceSid") or form.get("From", "")
    if not to:
        raise _refusal(21604, "A 'To' phone number is required.")
    if not E164.fullmatch(to):
        raise _refusal(21211, f"The 'To' number {to} is not a valid phone number.")
    if not text and not form.get("MediaUrl"):
        raise _refusal(21602, "Message body is required.")
    if len(text) > LONGEST_TEXT:
        raise _refusal(21617, "The concatenated message body exceeds the 1600 character limit.")
    if not sender:
        raise _refusal(21603, "A 'From' phone number is required.")
    if sender not in {*NUMBERS, SERVICE}:
        raise _refusal(21606, f"The 'From' phone number {sender} is not a valid, SMS-capable number of this account.")
    if to == OPTED_OUT:
        raise _refusal(21610, "Attempt to send to unsubscribed recipient")
    number = f"SM{uuid.uuid4().hex}"
    segments = max(1, -(-len(text) // IN_A_SEGMENT))
    message = {"sid": number, "to": to, "from": sender, "body": text, "num_segments": str(segments)}
    store.put(KEY, "message", number, message | {"dueAt": store.now() + SECONDS})
    store.effect(KEY, "message_sent", to, text=text)
    return Response(HTTPStatus.CREATED, _shown(store, number))


def _shown(store: Store, number: str) -> Json:
    """Return a message as it is by now."""
    message = store.get(KEY, "message", number)
    if message is None:
        raise _refusal(20404, f"The requested resource /Messages/{number}.json was not found", HTTPStatus.NOT_FOUND)
    due = message.pop("dueAt")
    message |= {"status": "queued", "error_code": None, "error_message": None, "date_sent": None}
    if due <= store.now():
        message |= {"status": "delivered", "date_sent": format_datetime(datetime.fromtimestamp(due, UTC))}
    if due <= store.now() and message["to"] == UNREACHABLE:
        message |= {"status": "undelivered", "error_code": 30003, "error_message": "Unreachable destination handset"}
    return message


def list_messages(_: Request, store: Store) -> Response:
    """`GET /Accounts/{Sid}/Messages.json`: the newest first."""
    messages = [_shown(store, row["sid"]) for row in reversed(store.all(KEY, "message"))]
    return Response(body={"messages": messages[:50], "next_page_uri": None})


def get_message(_: Request, store: Store, number: str) -> Response:
    """`GET /Accounts/{Sid}/Messages/{Sid}.json`."""
    return Response(body=_shown(store, number))


def list_numbers(*_: object) -> Response:
    """`GET /Accounts/{Sid}/IncomingPhoneNumbers.json`."""
    rows = [
        {"phone_number": number, "friendly_name": name, "capabilities": {"sms": True, "mms": True, "voice": False}}
        for number, name in NUMBERS.items()
    ]
    return Response(body={"incoming_phone_numbers": rows, "next_page_uri": None})


def list_services(*_: object) -> Response:
    """`GET /Services`, at the host of messaging services."""
    rows = [{"sid": SERVICE, "friendly_name": "Streamly offers"}]
    return Response(body={"services": rows, "meta": {"next_page_url": None}})


ROUTES: tuple[Route, ...] = (
    ("GET", f"/Accounts/{ACCOUNT}\\.json", get_account),
    ("POST", f"/Accounts/{ACCOUNT}/Messages\\.json", send_message),
    ("GET", f"/Accounts/{ACCOUNT}/Messages\\.json", list_messages),
    ("GET", f"/Accounts/{ACCOUNT}/Messages/([^/]+)\\.json", get_message),
    ("GET", f"/Accounts/{ACCOUNT}/IncomingPhoneNumbers\\.json", list_numbers),
    ("GET", "/messaging/Services", list_services),
)


# --- shown to people --------------------------------------------------------------------------------------------------------


def state(store: Store) -> Json:
    """Return this world for the control API."""
    return {"messages": [_shown(store, row["sid"]) for row in store.all(KEY, "message")]}


def tables(store: Store) -> Sequence[Table]:
    """Return the messages, the newest first."""
    rows = [
        (row["to"], row["from"], row["body"], row["status"], row["error_message"] or "")
        for row in reversed(state(store)["messages"])
    ]
    return [("Messages", ("To", "From", "Text", "Status", ""), rows)]


WORLD = World(
    key=KEY,
    label=LABEL,
    setup=setup,
    answer=answer,
    state=state,
    tables=tables,
    traits=traits,
)
