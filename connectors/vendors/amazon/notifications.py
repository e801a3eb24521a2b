"""What Amazon tells by itself: real-time notifications, which it publishes to an SNS topic of its own.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html. SNS signs for whoever has a topic, so only the one
that the settings name is believed; its region says where the certificate is. A notification is a hint: the receipt is read.
"""

import json
import re
from base64 import b64decode
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import ClassVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from connectors.answers import Answer, json_or_text
from connectors.base import Json, Values
from connectors.choosing import text_in
from connectors.failures import Undocumented
from connectors.http import Api
from connectors.inbound import Forged, Inbound, Learned, Message, Published, Request, Unreadable, moment
from connectors.vendors.amazon.receipts import ID, now_of, subject

TOPIC = r"arn:aws:sns:(?P<region>[a-z0-9-]{4,30}):[0-9]{12}:[A-Za-z0-9_.-]{1,256}"
CERTIFICATE = re.compile(r"https://(?P<host>[a-z0-9.-]+)/(?P<file>SimpleNotificationService-[0-9a-f]{16,64}\.pem)")
CONFIRMATION, NOTIFICATION = "SubscriptionConfirmation", "Notification"
SIGNED = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
DIGESTS = {"1": SHA1, "2": SHA256}
EVENTS = (
    "PURCHASED",
    "RENEWED",
    "CONVERTED_FREE_TRIAL_TO_PAID",
    "AUTO_RENEWAL_ON",
    "AUTO_RENEWAL_OFF",
    "SCHEDULED_TO_END",
    "IN_GRACE_PERIOD",
    "OUT_OF_GRACE_PERIOD",
    "EXPIRED",
    "CANCELLED",
    "MODIFIED_IMMEDIATE",
    "MODIFIED_DEFERRED",
)


class Notifications(Inbound):
    """Real-time notifications, which Amazon publishes to an SNS topic of its own."""

    setup_steps = (
        "In the Amazon Developer Console, open your app, then Real-time Notifications, and enter this address.",
        "Amazon asks this address to confirm at once, which is refused the first time: this page then says from which topic.",
        "See that it is the topic that Amazon's console shows, enter it in the settings, and save.",
        "Enter the address in Amazon's console again: now it is confirmed, within seconds.",
    )
    types: ClassVar[frozenset[str]] = frozenset({CONFIRMATION, *(f"SUBSCRIPTION_{event}" for event in EVENTS)})
    believed_by = "rtn_topic_arn"

    def signed_by(self, request: Request, settings: Values) -> Published:
        """The certificate that the message names, where it lies at SNS of the topic's own region."""
        told, topic = _signed(request), str(settings.get(self.believed_by) or "")
        if told.get("TopicArn") != topic or not topic:
            known = re.fullmatch(TOPIC, str(told.get("TopicArn")))
            raise Forged(f"It comes from the topic {known[0]}." if known else "It comes from no topic of SNS.")
        found = CERTIFICATE.fullmatch(str(told.get("SigningCertURL")))
        if found is None or found["host"] != sns_of(topic).removeprefix("https://"):
            raise Forged("The certificate that it names does not lie at SNS.")
        return Published("sns", (found["file"],), "", _certificate, lambda key: key.not_valid_after_utc)

    def verify(self, request: Request, settings: Values) -> None:
        """The fields that SNS signs, in its order, by the certificate's key."""
        told = _signed(request)
        names, digest = SIGNED.get(str(told.get("Type"))), DIGESTS.get(str(told.get("SignatureVersion")))
        if names is None or digest is None:
            raise Forged("It is of no kind that SNS signs.")
        lines = [f"{name}\n{told[name]}\n" for name in names if told.get(name) is not None]
        try:
            given = b64decode(str(told.get("Signature")), validate=True)
            request.key.public_key().verify(given, "".join(lines).encode("utf-8", "replace"), PKCS1v15(), digest())
        except (InvalidSignature, ValueError):
            raise Forged("Its signature does not fit.") from None

    def messages(self, request: Request, settings: Values) -> Iterable[Message]:
        """One message, in JSON within JSON."""
        told = request.json()
        number, at = told.text("MessageId"), moment(told.get("Timestamp"))
        if told["Type"] == CONFIRMATION:
            yield Message(number, CONFIRMATION, {"Token": told.text("Token")}, at)
            return
        inner = json_or_text(told.text("Message").encode("utf-8", "replace"))
        if not isinstance(inner, dict):
            raise Unreadable("What SNS carries is not the JSON that is documented.")
        kind = inner.get("notificationType")
        yield Message(number, kind if isinstance(kind, str) else "", inner, at)

    def read(self, message: Message, api: Api) -> Iterable[Learned]:
        """Read the receipt anew; the first message of all asks to be confirmed."""
        told = Answer(message.payload, where="notification")
        if message.type == CONFIRMATION:
            # Put together from the settings and a token: no address that a message names is called.
            query = {
                "Action": "ConfirmSubscription",
                "TopicArn": api.settings[self.believed_by],
                "Token": told.text("Token"),
            }
            api.at("sns").text(params=query)
            return
        if told["appPackageName"] != api.settings["package_name"]:
            return
        user = text_in(message.payload, "appUserId", ID, "user id of Amazon's") if told.text("appUserId") else ""
        number = text_in(message.payload, "receiptId", ID, "receipt id of Amazon's") if told.text("receiptId") else ""
        found_by = [("amazon_receipt_id", number)]
        shown, traits = now_of(api, user, number)
        if shown is not None and shown.get("cancelDate") is None:  # one that is over takes nobody's present one away
            replaced = told.inner("relatedReceipts").get("cancelledReceiptId")
            found_by += [("amazon_receipt_id", str(replaced))] if replaced else []
            found_by.append(("amazon_user_id", user))
        yield Learned(traits, found_by=tuple(found_by), subject=subject(number))


def _signed(request: Request) -> Json:
    """Return the members of a message exactly as they came, which is how they were signed."""
    try:
        told = json.loads(request.body)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise Forged("The body is no message of SNS.")
    return told


def sns_of(topic: str) -> str:
    found = re.fullmatch(TOPIC, topic)
    return f"https://sns.{found['region']}.amazonaws.com" if found else ""


def _certificate(document: Answer) -> dict[str, x509.Certificate]:
    """Return a certificate in PEM that is good now."""
    try:
        found = x509.load_pem_x509_certificate(str(document.data).encode())
        is_good = found.not_valid_before_utc <= datetime.now(UTC) <= found.not_valid_after_utc
        return {"": found} if is_good and isinstance(found.public_key(), RSAPublicKey) else {}
    except ValueError:
        raise Undocumented("The certificate of SNS cannot be read.") from None
