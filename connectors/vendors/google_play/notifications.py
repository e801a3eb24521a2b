"""What Google Play tells by itself: real-time developer notifications, which Cloud Pub/Sub pushes.

https://developer.android.com/google/play/billing/rtdn-reference, https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions.
Nothing signs the body: a token of Google's shows that the request comes from our push subscription. A notification is a hint
("Always call the Google Play Developer API"), so whoever repeats one, or changes it with a stolen token, makes us read and no more.
"""

import base64
import re
from collections.abc import Iterable
from typing import ClassVar

from connectors.answers import Answer, json_or_text
from connectors.base import Json, Values
from connectors.choosing import text_in
from connectors.failures import Rejected
from connectors.http import Api
from connectors.inbound import (
    Forged,
    Inbound,
    Learned,
    Message,
    Published,
    Request,
    Unreadable,
    check_token,
    key_named,
    keys_of_set,
    moment,
)
from connectors.vendors.google_play.purchases import (
    GONE,
    PURCHASE,
    UNPAID,
    line,
    state,
    subject,
    subscription,
    traits_of,
)

ISSUER = "https://accounts.google.com"
CERTIFICATES = ("oauth2", "v3", "certs")  # of https://www.googleapis.com
TEST = "testNotification"
OF_SUBSCRIPTIONS, VOIDED = "subscriptionNotification", "voidedPurchaseNotification"
# One-time products give no trait that a later notification could be found by, so theirs are kept and not read.
KINDS = (OF_SUBSCRIPTIONS, VOIDED, "oneTimeProductNotification", "pendingRefundReviewNotification", TEST)
A_SUBSCRIPTION = 1  # productType of a voided purchase: 1 subscription, 2 one-time


class Notifications(Inbound):
    """Pushed by Pub/Sub, with a token that Google signs."""

    setup_steps = (
        "In the Google Cloud console, open Pub/Sub and make a topic.",
        "Let google-play-developer-notifications@system.gserviceaccount.com publish to it: the role Pub/Sub Publisher.",
        "Make a service account without any role, and add a subscription to the topic: delivery type Push, to this address.",
        "There, enable authentication, choose that service account, and enter this address as the audience, too.",
        "Enter the audience and the service account's e-mail address in the settings here, and save.",
        "In the Play Console, open Monetization setup and enter the topic's name under Real-time developer notifications.",
        "Send a test notification from there: it appears here within seconds.",
    )
    types: ClassVar[frozenset[str]] = frozenset({OF_SUBSCRIPTIONS, VOIDED})
    believed_by = "rtdn_push_service_account"

    def signed_by(self, request: Request, settings: Values) -> Published:
        """A key of those with which Google signs its identity tokens."""
        return Published("certificates", CERTIFICATES, key_named(_token(request)), keys_of_set)

    def verify(self, request: Request, settings: Values) -> None:
        """The token is Google's, made for this endpoint, by the service account of the push subscription."""
        account, audience = (str(settings.get(name) or "") for name in (self.believed_by, "rtdn_audience"))
        if not account or not audience:
            raise Forged("The push subscription's service account or audience is not stored.")
        claims = check_token(_token(request), request.key, algorithm="RS256", issuer=ISSUER, audience=audience)
        if claims.get("email") != account or claims.get("email_verified") is not True:
            raise Forged("Its token was made for another account than the push subscription's.")

    def messages(self, request: Request, settings: Values) -> Iterable[Message]:
        """One notification, in base64. Pub/Sub delivers a message at least once, under the same id."""
        message = request.json().part("message")
        try:
            told = json_or_text(base64.b64decode(message.text("data"), validate=True))
        except ValueError:
            raise Unreadable("What Pub/Sub carries is not in base64.") from None
        if not isinstance(told, dict):
            raise Unreadable("What Pub/Sub carries is not the JSON that is documented.")
        kind = next((name for name in KINDS if isinstance(told.get(name), dict)), "")
        millis = re.fullmatch("[0-9]{1,16}", str(told.get("eventTimeMillis")))
        yield Message(message.text("messageId"), kind, told, moment(int(millis[0]) / 1000) if millis else None)

    def read(self, message: Message, api: Api) -> Iterable[Learned]:
        """Read the subscription: its subscriber has its token, or that of the one which it replaces."""
        told = Answer(message.payload, where="notification")
        if told["packageName"] != api.settings["package_name"]:
            return  # a topic may serve several apps, whose connections are told of theirs
        notice = told.part(message.type)
        if message.type == VOIDED and notice.get("productType") != A_SUBSCRIPTION:
            return
        token = text_in(
            {"purchaseToken": notice["purchaseToken"]}, "purchaseToken", PURCHASE, "purchase token of Google's"
        )
        tokens = [token]
        traits: Json = {"google_subscription_state": "expired", "google_auto_renew": False}
        try:
            bought = subscription(api, token)
            traits = traits_of(bought, line(bought), token)
            if state(bought) not in UNPAID:  # else the one that it is to replace is still theirs
                tokens.append(str(bought.get("linkedPurchaseToken") or ""))
        except Rejected as no:
            if no.status != GONE:
                raise
        found_by = tuple(("google_purchase_token", one) for one in tokens if one)
        yield Learned(traits, found_by=found_by, subject=subject(token))


def _token(request: Request) -> str:
    scheme, _, token = request.header("Authorization").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Forged("It carries no token.")
    return token
