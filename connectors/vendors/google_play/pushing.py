"""Push notifications through Firebase Cloud Messaging (FCM): to Android, to the web, and to iOS where the app uses Firebase.

https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send. Firebase is a part of its own: it may have another
key than Google Play, and who sells subscriptions need not send notifications.
"""

import json

from connectors.answers import Answer, retry_after, words_of
from connectors.auth import ServiceAccount
from connectors.base import BY_STATUS, ProbeLine, Values, one_of
from connectors.choosing import require
from connectors.failures import Failure, Rejected, Temporary, refused
from connectors.http import Api, Custom, Segment
from connectors.push_notifications import Message, PushNotification, unregistered

DOCS = "https://firebase.google.com/docs/reference/fcm/rest/v1"
FIREBASE = "Firebase Cloud Messaging"
HOST = "firebase"
URL = "https://fcm.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
BUSY_FOR = 60.0
"""Seconds: "If no retry-after header is set, default to 60 seconds", https://firebase.google.com/docs/cloud-messaging/scale-fcm"""


class FirebaseAccount(ServiceAccount):
    """A token for Firebase, which is another one than Google Play's."""

    name = "firebase"


def key_file(settings: Values) -> str:
    """Return the key that signs in to Firebase: its own, or else Google Play's."""
    return str(settings.get("firebase_account") or settings["service_account"])


def project(settings: Values) -> str:
    """Return the project of that key; empty where the file names none."""
    try:
        named = json.loads(key_file(settings)).get("project_id")
    except (ValueError, AttributeError):
        return ""
    return named if isinstance(named, str) else ""


def sending(settings: Values) -> tuple[Segment, ...]:
    """Return the path at which messages are sent.

    Raises:
        Rejected: the key file names no project.

    """
    named = project(settings)
    require(named, "The key file names no project of Firebase's. Enter the whole file again.")
    return ("v1", "projects", named, Custom("messages", "send"))


class Push(PushNotification):
    """A notification through Firebase."""

    description = "Shows a notification on the person's device, through Firebase Cloud Messaging."
    needs = one_of("endpoint_fcm", "endpoint_gcm")
    replay_proof = f"{DOCS}/projects.messages/send: it takes no idempotency key; every request is a message"
    check_at = (
        "Firebase shows no single message: ask the person. The Firebase console counts them under Messaging > Reports."
    )
    part = FIREBASE
    # "Maximum payload for both message types is 4096 bytes": https://firebase.google.com/docs/cloud-messaging/customize-messages
    most_bytes = 4096

    def send(self, api: Api, address: str, message: Message) -> str:
        """Send it. What each platform reads says how long it is kept, and what it takes the place of."""
        tag, payload = message.tag, {"notification": {"title": message.title, "body": message.text}}
        headers = {"apns-collapse-id": tag, "apns-expiration": str(message.until)}
        # "HTTPS is required" of a web page's link; an app gets any.
        web_link = {"fcmOptions": {"link": message.link}} if message.link.startswith("https://") else {}
        wish = {
            # `fid` is to replace `token`, which "also accepts a Firebase Installation ID" meanwhile; endpoints do not say which
            # of the two they hold.
            "token": address,
            **self.fitting({**payload, **({"data": message.data} if message.data else {})}),
            "android": {"collapseKey": tag, "ttl": f"{message.seconds}s", "notification": {"tag": tag}},
            "apns": {"headers": headers},
            "webpush": {"headers": {"TTL": str(message.seconds)}, "notification": {"tag": tag}, **web_link},
        }
        answer = api.at(HOST).post(*sending(api.settings), json={"message": wish})
        return f"Firebase has accepted the notification as {answer.text('name').rpartition('/')[2]}"


def probe(api: Api) -> list[ProbeLine]:
    """Let Firebase check a message, which it then sends to nobody. Google Play's key need not be able to."""
    message = {"topic": "connection-test", "notification": {"title": "Test"}}
    try:
        answer = api.at(HOST).read(*sending(api.settings), json={"validateOnly": True, "message": message})
    except Rejected as no:
        if api.settings.get("firebase_account"):
            raise
        return [ProbeLine(None, f"With the key of Google Play no push notifications can be sent: {no.message}")]
    answer.text("name")
    return [ProbeLine(True, f"Firebase takes push notifications for the project {project(api.settings)}.")]


def failure(answer: Answer) -> Failure | None:
    """Read `{"error": {"status", "message", "details": [{"errorCode"}]}}`, https://firebase.google.com/docs/cloud-messaging/error-codes.

    None where it is no refusal of Firebase's (Google Play's have `errors`), or the status says what follows.
    """
    error = answer.inner("error")
    status, codes = error.get("status"), [row.get("errorCode") for row in error.objects("details")]
    if not isinstance(status, str) or error.get("errors") is not None or not 400 <= answer.status < 500:
        return None
    code = next((one for one in codes if isinstance(one, str) and one), status)
    match code:
        case "UNREGISTERED":
            return unregistered("Firebase", code=code)
        case "SENDER_ID_MISMATCH":
            return Rejected("The device's address belongs to another project of Firebase's than the key.", code=code)
        case "THIRD_PARTY_AUTH_ERROR":
            told = "Firebase cannot reach the device: its own key for Apple or the web is missing or no longer good."
            return Rejected(f"{told} In the Firebase console, open Project settings > Cloud Messaging.", code=code)
        case "QUOTA_EXCEEDED":
            after = retry_after(answer)
            after = BUSY_FOR if after is None else after
            return Temporary(f"Firebase says: {words_of(answer) or code}", after=after, code=code, sent=False)
    return None if answer.status in BY_STATUS else refused("Google", words_of(answer), code=code)
