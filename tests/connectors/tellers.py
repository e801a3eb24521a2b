"""Vendors that only tests know, one for each way in which webhooks come: what the vocabulary must be able to say."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode
from xml.etree import ElementTree as ET

from django import forms
from requests.auth import AuthBase

from connectors.auth import HeaderKey
from connectors.base import Category, Connector, SecretField, SigningSecretField, Values
from connectors.http import Api
from connectors.inbound import (
    Forged,
    Inbound,
    Learned,
    Message,
    Request,
    Unreadable,
    check_hmac,
    check_key,
    check_moment,
    moment,
    signing_secrets,
)
from tests.connectors.inbound_contract import Sent


def digest(secret: str, signed: bytes, algorithm: str = "sha256") -> str:
    return hmac.new(secret.encode(), signed, algorithm).hexdigest()


class _Teller(Connector):
    category = Category.BILLING

    class Settings(forms.Form):
        api_key = SecretField(label="Key")
        webhook_secret = SigningSecretField()

    def base_url(self, settings: Values) -> str:
        return "https://teller.invalid"

    def auth(self, settings: Values) -> AuthBase:
        return HeaderKey("Authorization", settings["api_key"], "Bearer ")


# --- a hint with a signed time; the vendor is asked what is so (Stripe, Recurly, Google) -----------------------------------


class Hints(Inbound):
    setup_steps: ClassVar[tuple[str, ...]] = ("Paste the address.",)
    types = frozenset({"plan.changed"})

    def verify(self, request: Request, settings: Values) -> None:
        at, _, given = request.header("X-Signature").partition(",")
        check_moment(request, at)
        check_hmac(signing_secrets(settings), f"{at}.".encode() + request.body, given.split(","))

    def messages(self, request: Request, settings: Values) -> Iterable[Message]:
        told = request.json()
        yield Message(str(told["id"]), str(told["type"]), told.data)

    def read(self, message: Message, api: Api) -> Iterable[Learned]:
        customer = str(message.payload["customer"])
        plan = api.get("customers", customer)["plan"]
        yield Learned({"plan": str(plan)}, found_by=(("customer_id", customer),), subject=f"customer {customer}")


class Hinting(_Teller):
    key, label, inbound = "hinting", "Hinting", Hints()


def sign_hint(tells: bytes, secret: str, at: datetime) -> Sent:
    seconds = str(int(at.timestamp()))
    return Sent(tells, {"X-Signature": f"{seconds},{digest(secret, f'{seconds}.'.encode() + tells)}"})


# --- all of it in the message, with the vendor's own time, in a form, as XML (Braintree) -----------------------------------


class Slips(Inbound):
    setup_steps = ("Paste the address.",)
    types = frozenset({"plan_changed"})
    methods = frozenset({"GET", "POST"})

    def challenge(self, request: Request, settings: Values) -> str | None:
        if request.method != "GET":
            return None
        asked = request.parameter("challenge")
        if not asked.isalnum():
            raise Forged("No challenge.")
        return digest(signing_secrets(settings)[0], asked.encode(), "sha1")

    def _form(self, request: Request) -> dict[str, str]:
        fields = parse_qs(request.body.decode("ascii", "replace"), keep_blank_values=True, max_num_fields=10)
        return {name: values[0] for name, values in fields.items() if len(values) == 1}

    def verify(self, request: Request, settings: Values) -> None:
        form = self._form(request)
        check_hmac(signing_secrets(settings), form["payload"].encode(), [form["signature"]], algorithm="sha1")

    def messages(self, request: Request, settings: Values) -> Iterable[Message]:
        raw = base64.b64decode(self._form(request)["payload"], validate=True)
        if b"<!" in raw:
            raise Unreadable("XML with declarations is not read.")
        try:
            slip = ET.fromstring(raw)  # noqa: S314 - no declarations, so nothing grows
        except (ET.ParseError, ValueError) as error:
            raise Unreadable("The payload is no XML.") from error
        told = {child.tag: child.text or "" for child in slip}
        yield Message(told.get("id", ""), told.get("kind", ""), dict(told), moment(told.get("at")))

    def read(self, message: Message, api: Api) -> Iterable[Learned]:
        customer = message.payload["customer"]
        traits = {"plan": message.payload["plan"] or None}
        yield Learned(traits, (("customer_id", customer),), subject=customer, as_of=message.happened_at)


class Slipping(_Teller):
    key, label, inbound = "slipping", "Slipping", Slips()


def slip(number: int = 1, plan: str = "premium", at: str = "2026-11-20T10:00:00Z", kind: str = "plan_changed") -> bytes:
    fields = {"id": f"slip-{number}", "kind": kind, "customer": "c-1", "plan": plan, "at": at}
    return "".join(["<slip>", *(f"<{name}>{value}</{name}>" for name, value in fields.items()), "</slip>"]).encode()


def sign_slip(tells: bytes, secret: str, at: datetime) -> Sent:
    payload = base64.b64encode(tells).decode()
    form = {"signature": digest(secret, payload.encode(), "sha1"), "payload": payload}
    return Sent(urlencode(form).encode(), content_type="application/x-www-form-urlencoded")


# --- several events in one request, by the App's own user ids, who may be new (Segment) ------------------------------------


class Tracks(Inbound):
    setup_steps = ("Paste the address.",)
    types = frozenset({"identify"})

    def verify(self, request: Request, settings: Values) -> None:
        check_hmac(signing_secrets(settings), request.body, [request.header("X-Signature")], algorithm="sha1")

    def messages(self, request: Request, settings: Values) -> Iterable[Message]:
        told = request.json()
        for each in told if isinstance(told.data, list) else [told]:
            yield Message(str(each.get("messageId", "")), str(each["type"]), each.data, moment(each.get("timestamp")))

    def read(self, message: Message, api: Api) -> Iterable[Learned]:
        said: Any = message.payload
        if not isinstance(said.get("userId"), str) or not isinstance(said.get("traits"), dict):
            raise Unreadable("An identify has a userId and traits.")
        yield Learned(
            said["traits"],
            user_id=said["userId"],
            adds=True,
            subject=f"traits of {said['userId']}",
            as_of=message.happened_at,
        )


class Tracking(_Teller):
    key, label, inbound = "tracking", "Tracking", Tracks()


def sign_tracks(tells: bytes, secret: str, at: datetime) -> Sent:
    return Sent(tells, {"X-Signature": digest(secret, tells, "sha1")})


# --- a GET whose query says all, with a key in a header and no id of its own (Adobe Journey Optimizer) ---------------------


class Pings(Inbound):
    setup_steps = ("Paste the address.",)
    types = frozenset({"properties"})
    methods = frozenset({"GET", "POST"})

    def verify(self, request: Request, settings: Values) -> None:
        check_key(signing_secrets(settings), request.header("X-Api-Key"))

    def messages(self, request: Request, settings: Values) -> Iterable[Message]:
        traits = {name[11:-1]: value for name, value in request.query if name.startswith("properties[")}
        if not traits:
            raise Unreadable("It names no property.")
        user = request.header("User-Id") or request.parameter("userId")
        # Two requests that say the same are two: each may set again what another has changed.
        number = hashlib.sha256(f"{request.received_at.isoformat()} {request.fingerprint}".encode()).hexdigest()
        yield Message(number, "properties", {"user": user, "traits": traits}, request.received_at)

    def read(self, message: Message, api: Api) -> Iterable[Learned]:
        yield Learned(message.payload["traits"], user_id=message.payload["user"], as_of=message.happened_at)


class Pinging(_Teller):
    key, label, inbound = "pinging", "Pinging", Pings()


def as_json(**fields: Any) -> bytes:
    return json.dumps(fields).encode()
