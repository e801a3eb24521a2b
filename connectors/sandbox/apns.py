"""Apple's push service (APNs) as its documentation describes it: one notification to one device, which shows it at once.

It is spoken to in HTTP/1.1 here, and in HTTP/2 alone at Apple's. Left out: other kinds than alerts, and devices that are off.
"""

import re
import time
from http import HTTPStatus
from uuid import uuid4

import jwt

from connectors.sandbox import devices
from connectors.sandbox.http import Refusal, Request, Response, Route, routed
from connectors.sandbox.store import Store

VENDOR = "apple"
"""In whose world the devices are."""
BUNDLE = "com.example.streamly"
KEY_ID, TEAM = "SANDBOXAPN", "SANDBOXTEA"
MOST_BYTES = 4096
MOST_OF_A_TAG = 64  # bytes
AN_HOUR = 3600


def no(status: HTTPStatus, reason: str) -> Refusal:
    """Return a refusal as Apple words it."""
    return Refusal(status, {"reason": reason})


def sign_in(request: Request, public_key: str) -> None:
    """See that a provider token is the team's, and not older than an hour; raise Refusal."""
    token = request.bearer()
    if not token:
        raise no(HTTPStatus.FORBIDDEN, "MissingProviderToken")
    try:
        claims = jwt.decode(token, public_key, algorithms=["ES256"], issuer=TEAM, options={"require": ["iat"]})
        is_ours = jwt.get_unverified_header(token).get("kid") == KEY_ID
    except jwt.PyJWTError:
        is_ours = False
    if not is_ours:
        raise no(HTTPStatus.FORBIDDEN, "InvalidProviderToken")
    if claims["iat"] < time.time() - AN_HOUR:
        raise no(HTTPStatus.FORBIDDEN, "ExpiredProviderToken")


def send(request: Request, store: Store, address: str) -> Response:
    """`POST /3/device/{token}`."""
    told, tag = request.members(), request.headers.get("apns-collapse-id", "")
    if request.headers.get("apns-topic") != BUNDLE:
        raise no(HTTPStatus.BAD_REQUEST, "TopicDisallowed")
    if len(tag.encode()) > MOST_OF_A_TAG:
        raise no(HTTPStatus.BAD_REQUEST, "BadCollapseId")
    if not re.fullmatch("[0-9]*", request.headers.get("apns-expiration", "")):
        raise no(HTTPStatus.BAD_REQUEST, "BadExpirationDate")
    if not isinstance(told.get("aps"), dict):
        raise no(HTTPStatus.BAD_REQUEST, "PayloadEmpty")
    if len(request.content) > MOST_BYTES:
        raise no(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "PayloadTooLarge")
    if not devices.is_address("apns", address):
        raise no(HTTPStatus.BAD_REQUEST, "BadDeviceToken")
    person = devices.owner("apns", address)
    if person is None:
        raise no(HTTPStatus.GONE, "Unregistered")
    shown = told["aps"].get("alert") or {}
    texts = {"title": shown.get("title", ""), "text": shown.get("body", ""), "link": told.get("link", "")}
    devices.show(store, VENDOR, person, tag=tag, **texts)
    return Response(headers={"apns-id": str(uuid4()).upper()})


ROUTES: tuple[Route, ...] = (("POST", "/push/3/device/([^/]+)", send),)


def answer(request: Request, store: Store, public_key: str) -> Response:
    """Answer one request; `public_key` is that of the connection's key."""
    try:
        sign_in(request, public_key)
    except Refusal as refusal:
        return refusal.response
    return routed(request, store, ROUTES, lambda _: {"reason": "BadPath"})
