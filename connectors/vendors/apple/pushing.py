"""Push notifications through Apple's own service (APNs): to iOS, iPadOS, tvOS and macOS.

https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns. It is a part of its own, with a
key of its own, and speaks HTTP/2 alone.
"""

import json
import time

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.utils import base64url_encode, der_to_raw_signature
from requests import PreparedRequest
from requests.auth import AuthBase

from connectors.answers import Answer, retry_after
from connectors.base import BY_STATUS, ProbeLine, Values, all_of
from connectors.failures import BadCredentials, Failure, Rejected, Temporary, Undocumented, refused
from connectors.http import Api
from connectors.push_notifications import Message, PushNotification, unregistered

DOCS = "https://developer.apple.com/documentation/usernotifications"
APNS = "Push notifications"
HOST = "push"
HOSTS = {"live": "https://api.push.apple.com", "sandbox": "https://api.development.push.apple.com"}
NOT_SET_UP = "Push notifications are not set up in this connection."
NOBODYS = "0" * 64
RENEWED = 1800  # seconds; "no more than once every 20 minutes and no less than once every 60 minutes"
BAD_KEY = frozenset(
    {"BadEnvironmentKeyIdInToken", "InvalidProviderToken", "MissingProviderToken", "UnrelatedKeyIdInToken"}
)
# UNVERIFIED: that nothing was sent on. "The APNs server is shutting down", "The service is unavailable", and a second one would
# take the place of the first on the device.
NOT_NOW = frozenset({"ServiceUnavailable", "Shutdown", "TooManyProviderTokenUpdates", "TooManyRequests"})


class ProviderToken(AuthBase):
    """Says which app a notification is for, by a token that is the same for half an hour, whoever makes it.

    Apple takes few new ones, so all workers use one. Nothing is kept for that: its time is that of the half hour, and its signature
    follows from its text (RFC 6979). https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns
    """

    def __init__(self, settings: Values) -> None:
        self.topic = settings["bundle_id"]
        self.team, self.key_id, self.key = (settings[f"apns_{name}"] for name in ("team_id", "key_id", "private_key"))

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Return the request, signed.

        Raises:
            BadCredentials: what is stored as the key cannot sign.

        """
        request.headers["apns-topic"] = self.topic
        request.headers["Authorization"] = f"bearer {self.token(time.time())}"
        return request

    def token(self, now: float) -> str:
        """Return the token of this time; raise BadCredentials."""
        # A minute old at least: a clock that is ahead of Apple's would give it a time that is not yet.
        issued = int(now - 60) // RENEWED * RENEWED
        parts = {"alg": "ES256", "typ": "JWT", "kid": self.key_id}, {"iss": self.team, "iat": issued}
        text = b".".join(base64url_encode(json.dumps(part).encode()) for part in parts)
        try:
            key = _private_key(self.key)
        except (ValueError, TypeError):
            raise BadCredentials("Apple's key for push notifications cannot sign. Enter it again.") from None
        signature = der_to_raw_signature(key.sign(text, ECDSA(SHA256(), deterministic_signing=True)), key.curve)
        return b".".join([text, base64url_encode(signature)]).decode()


def _private_key(pem: str) -> EllipticCurvePrivateKey:
    key = load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise TypeError("It is no key of an elliptic curve.")
    return key


class Push(PushNotification):
    """A notification through APNs."""

    description = "Shows a notification on the person's Apple device."
    needs = all_of("endpoint_apns")
    replay_proof = (
        f"{DOCS}/sending-notification-requests-to-apns: it takes no idempotency key; apns-id only names a notification"
    )
    check_at = "Apple shows no single notification: ask the person. The Push Notifications Console counts them."
    part = APNS
    most_bytes = 4096  # "For all other remote notifications, the maximum payload size is 4 KB (4096 bytes)"

    def send(self, api: Api, address: str, message: Message) -> str:
        """Send it. Apple answers with nothing but the notification's name, in a header."""
        headers = {
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-expiration": str(message.until),
            "apns-collapse-id": message.tag,
        }
        shown = {"alert": {"title": message.title, "body": message.text}, "sound": "default"}
        payload = self.fitting({"aps": shown, **message.data})
        answer = api.at(HOST).write("POST", "3", "device", address, headers=headers, json=payload)
        if not (name := answer.with_status(200).headers.get("apns-id")):
            raise Undocumented("Apple's answer does not say that it has the notification: it has no apns-id.")
        return f"Apple has accepted the notification as {name}"

    def unavailable(self, settings: Values) -> str:
        """It needs a key of its own."""
        return "" if settings.get("apns_key_id") else NOT_SET_UP


def probe(api: Api) -> list[ProbeLine]:
    """Send to a device that nobody has: whoever is told so is let in. UNVERIFIED: that Apple looks at the token first."""
    if not api.settings.get("apns_key_id"):
        return [ProbeLine(None, f"{NOT_SET_UP} The action is not available.")]
    try:
        api.at(HOST).read("3", "device", NOBODYS, json={"aps": {}})
    except Rejected as no:
        if no.code != "BadDeviceToken":
            raise
    else:
        raise Undocumented("Apple knows a device that cannot be.")
    return [ProbeLine(True, f"Apple accepts the key for push notifications to {api.settings['bundle_id']}.")]


def failure(answer: Answer) -> Failure | None:
    """Read `{"reason"}`, https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns.

    None where it is no refusal of APNs, or the status says what follows.
    """
    reason = answer.get("reason")
    if not isinstance(reason, str) or answer.status < 400:
        return None
    match reason:
        case "Unregistered" | "ExpiredToken":
            return unregistered("Apple", code=reason)
        case "BadDeviceToken":
            told = (
                "Apple knows no such device here. Devices of production and of the sandbox have addresses of their own."
            )
            return Rejected(told, code=reason)
        case "DeviceTokenNotForTopic":
            return Rejected("The device's address belongs to another app than the connection's bundle ID.", code=reason)
        case "ExpiredProviderToken":
            told = "Apple takes the push key's signature for more than an hour old. Is the server's clock right?"
            return BadCredentials(told, code=reason)
    if reason in BAD_KEY:
        return BadCredentials(f"Apple does not accept the key for push notifications: {reason}.", code=reason)
    if reason in NOT_NOW:
        after = retry_after(answer)
        return Temporary(f"Apple sends no notification just now: {reason}.", after=after, code=reason, sent=False)
    return None if answer.status in BY_STATUS or answer.status >= 500 else refused("Apple", reason, code=reason)
