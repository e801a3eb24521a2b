"""Push notifications through Amazon Device Messaging (ADM), to Fire tablets and Fire TV.

https://developer.amazon.com/docs/adm/send-message.html. It is a part of its own, with credentials of its own: who sells in the
Appstore need not send notifications.
"""

from connectors.auth import ClientCredentials
from connectors.base import Confirmed, ProbeLine, Values, all_of
from connectors.failures import Rejected
from connectors.http import Api
from connectors.push_notifications import Message, PushNotification, unregistered

DOCS = "https://developer.amazon.com/docs/adm/send-message.html"
MESSAGING = "Device Messaging"
HOST = "messaging"
URL = "https://api.amazon.com"
TRAIT = "endpoint_adm"
VERSIONS = {
    "X-Amzn-Type-Version": "com.amazon.device.messaging.ADMMessage@1.0",
    "X-Amzn-Accept-Type": "com.amazon.device.messaging.ADMSendResult@1.0",
}


def account(settings: Values) -> ClientCredentials:
    """Return how a token is asked for: https://developer.amazon.com/docs/adm/request-access-token.html."""
    client = {"client_id": settings["adm_client_id"], "client_secret": settings["adm_client_secret"]}
    return ClientCredentials("auth", "O2", "token", **client, more={"scope": "messaging:push"})


class Push(PushNotification):
    """A notification through ADM."""

    description = "Sends a notification to the person's Fire tablet or Fire TV, through Amazon Device Messaging. Your app shows it."
    needs = all_of(TRAIT)
    replay_proof = f"{DOCS}: it takes no idempotency key; every request is a message"
    check_at = "Amazon shows no single message: ask the person, or look at what your app has noted."
    part = MESSAGING
    most_bytes = 6 * 1024  # "a payload of up to 6KB in size"

    def send(self, api: Api, address: str, message: Message) -> str | Confirmed:
        """Send it, as data that the app shows: what Amazon shows by itself (`notification`) is for newer versions of its SDK."""
        data = {"title": message.title, "text": message.text, **message.data}
        wish = {"data": self.fitting(data), "consolidationKey": message.tag, "expiresAfter": message.seconds}
        place = ("messaging", "registrations", address, "messages")
        now = api.at(HOST).write("POST", *place, headers=VERSIONS, json=wish).text("registrationID")
        told = "Amazon has accepted the notification"
        if now == address:
            return told
        # Amazon may know the device by a newer id, which then counts.
        return Confirmed(f"{told}, and has given the device a new address, which is kept", {TRAIT: now}, subject=TRAIT)

    def unavailable(self, settings: Values) -> str:
        """It needs credentials of its own."""
        return "" if settings.get("adm_client_id") else "Device Messaging is not set up in this connection."


def probe(api: Api) -> list[ProbeLine]:
    """Ask for a token: there is nothing to read with it."""
    if no := Push().unavailable(api.settings):
        return [ProbeLine(None, f"{no} Without it no push notifications can be sent.")]
    api.at(HOST).sign_in()
    return [ProbeLine(True, "Amazon gives out access tokens for Device Messaging.")]


def unknown(_: str, *, code: str = "") -> Rejected:
    """Return the refusal of an address that Amazon does not know any more, for `Connector.codes`."""
    return unregistered("Amazon", code=code)
