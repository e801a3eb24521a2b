"""What Braintree knows of a customer, as traits: told by its webhooks, and read at Braintree each time."""

import base64
import hmac
import re
from datetime import UTC
from typing import Any
from urllib.parse import parse_qsl

import braintree
from braintree.util.crypto import Crypto

from connectors.answers import Answer, read_xml
from connectors.base import Json, Values
from connectors.choosing import text_in
from connectors.http import Api
from connectors.inbound import Forged, Inbound, Learned, Message, Request, Unreadable, moment
from connectors.pulls import rank_in, telling
from connectors.vendors.braintree.reading import ID, gateway, subscriptions

KINDS = [kind for kind in vars(braintree.WebhookNotification.Kind).values() if isinstance(kind, str)]
# Of several subscriptions the one that says most of today is told of: the newest of the first of these that any has.
STATUSES = ("Active", "Past Due", "Pending", "Canceled", "Expired")
NAMES = ("id", "plan_id", "status", "next_billing_date")
TRAITS = ("braintree_subscription_id", "braintree_plan_id", "braintree_status", "braintree_next_billing_date")
FOUND_BY = ("braintree_id",)
TYPES = dict.fromkeys((*FOUND_BY, *TRAITS), "text")


def rank_of(subscription: Any) -> float:
    """Return how much a subscription says of today; below 0 where nothing is told of its status."""
    made = getattr(subscription, "created_at", None)
    return rank_in(STATUSES, subscription.status, made.replace(tzinfo=UTC).timestamp() if made else 0.0)


def traits_of(customer: str, subscription: Any) -> Json:
    """Return what a subscription says of its customer. What it does not have is None, which takes the trait away."""
    told = (getattr(subscription, name, None) for name in NAMES)
    return {
        "braintree_id": customer,
        **{name: str(value) if value else None for name, value in zip(TRAITS, told, strict=True)},
    }


class Webhooks(Inbound):
    """A form with a signature over a payload, which is XML in base64. It is taken for a hint: the customer is read."""

    setup_steps = (
        "In Braintree's control panel, open Settings > API > Webhooks and add a destination with the address above.",
        "Tick all notifications of subscriptions. Braintree signs them with the private key that you have entered.",
    )
    types = frozenset(kind for kind in KINDS if kind.startswith("subscription_"))
    methods = frozenset({"GET", "POST"})
    believed_by = "private_key"

    def challenge(self, request: Request, settings: Values) -> str | None:
        """Answer the question that Braintree asks before it begins: `GET ?bt_challenge=` and 20 to 32 hexadecimal digits."""
        asked = request.parameter("bt_challenge")
        if request.method != "GET" or not re.fullmatch("[a-f0-9]{20,32}", asked):
            return None
        return f"{settings['public_key']}|{Crypto.sha1_hmac_hash(settings['private_key'], asked)}"

    def verify(self, request: Request, settings: Values) -> None:
        """Compare the signature that belongs to our public key; Braintree's SDKs take a payload without its last line end, too."""
        signature, payload = _parts(request)
        pairs = (pair.partition("|") for pair in signature.split("&"))
        given = [digest.encode("utf-8", "replace") for key, _, digest in pairs if key == settings["public_key"]]
        expected = [Crypto.sha1_hmac_hash(settings["private_key"], one).encode() for one in (payload, payload + "\n")]
        if not any([hmac.compare_digest(one, other) for one in expected for other in given]):  # noqa: C419 - compare all
            raise Forged("No signature fits.")

    def messages(self, request: Request, settings: Values) -> list[Message]:
        """Braintree gives a notification no id: exactly the same one is the same."""
        try:
            document = read_xml(base64.b64decode(_parts(request)[1]))
        except ValueError:
            raise Unreadable("The payload is not in base64.") from None
        if not isinstance(document, dict):
            raise Unreadable("The payload is not the XML that is documented.")
        told = Answer(document, where="webhook").part("notification")
        number = told.inner("subject").inner("subscription").get("id")
        at = moment(told.get("timestamp"))
        return [Message(request.fingerprint, told.text("kind"), {"subscription": number}, at)]

    def read(self, message: Message, api: Api) -> list[Learned]:
        """Read the subscription, whose payment method it is on, and what else that customer has."""
        account = gateway(api)
        found = account.subscription.find(text_in(message.payload, "subscription", ID, "id of a subscription"))
        customer = account.payment_method.find(found.payment_method_token).customer_id
        traits = traits_of(customer, telling(subscriptions(account.customer.find(customer)), rank_of))
        return [
            Learned(traits, found_by=tuple((name, customer) for name in FOUND_BY), subject=f"subscription {found.id}")
        ]


def _parts(request: Request) -> tuple[str, str]:
    """Return signature and payload."""
    fields = parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
    form = dict(fields)
    if len(form) != len(fields):
        raise Forged("A field came twice.")
    return form.get("bt_signature", ""), form.get("bt_payload", "")
