"""Firebase Cloud Messaging, version 1, as its reference describes it: one message to one device, which shows it at once.

Left out: topics, except for a message that is only checked, and what happens to devices that are off.
"""

from http import HTTPStatus
from uuid import uuid4

from connectors.sandbox import devices
from connectors.sandbox.http import Refusal, Request, Response, Route, routed
from connectors.sandbox.store import Json, Store

VENDOR = "google_play"
"""In whose world the devices are."""
PROJECT = "streamly-sandbox"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
MOST_BYTES = 4096
TARGETS = {"token", "fid", "topic", "condition"}


def no(status: HTTPStatus, name: str, message: str, code: str = "") -> Refusal:
    """Return Google's refusal; `code` is Firebase's own."""
    details = [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}] if code else []
    told = {"code": int(status), "message": message, "status": name, **({"details": details} if details else {})}
    return Refusal(status, {"error": told})


def send(request: Request, store: Store, project: str) -> Response:
    """`POST /v1/projects/{project}/messages:send`."""
    if project != PROJECT:
        raise no(HTTPStatus.FORBIDDEN, "PERMISSION_DENIED", f"Permission denied on resource project {project}.")
    wish = request.members()
    message = wish.get("message")
    if not isinstance(message, dict) or len(TARGETS & message.keys()) != 1:
        raise _invalid("Exactly one of token, fid, topic or condition is required.")
    shown, data = message.get("notification") or {}, message.get("data") or {}
    texts = [*shown.values(), *data.values()]
    if not all(isinstance(text, str) for text in texts) or sum(len(text.encode()) for text in texts) > MOST_BYTES:
        raise _invalid("Message is too big, or holds another thing than texts.")
    if wish.get("validateOnly"):
        return _accepted("fake_message_id")
    person = devices.owner("fcm", message.get("token") or message.get("fid"))
    if person is None:
        raise no(HTTPStatus.NOT_FOUND, "NOT_FOUND", "Requested entity was not found.", "UNREGISTERED")
    told: Json = {"title": shown.get("title", ""), "text": shown.get("body", ""), "link": data.get("link", "")}
    tag = ((message.get("android") or {}).get("notification") or {}).get("tag", "")
    devices.show(store, VENDOR, person, tag=tag, **told)
    return _accepted(f"0:{uuid4().int % 10**16}%{uuid4().hex[:16]}")


def _invalid(message: str) -> Refusal:
    return no(HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT", message, "INVALID_ARGUMENT")


def _accepted(name: str) -> Response:
    return Response(body={"name": f"projects/{PROJECT}/messages/{name}"})


ROUTES: tuple[Route, ...] = (("POST", "/firebase/v1/projects/([^/]+)/messages:send", send),)


def answer(request: Request, store: Store) -> Response:
    """Answer one request whose token is for Firebase."""
    return routed(request, store, ROUTES, lambda status: no(status, "NOT_FOUND", status.phrase).response.body)
