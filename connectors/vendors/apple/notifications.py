"""What Apple tells by itself: App Store Server Notifications, version 2, each signed up to Apple's root.

https://developer.apple.com/documentation/appstoreservernotifications. They come late, twice and in any order, so one is a hint.
"""

from collections.abc import Iterable
from typing import ClassVar

from connectors.base import Values
from connectors.choosing import text_in
from connectors.failures import Undocumented
from connectors.http import Api
from connectors.inbound import Forged, Inbound, Learned, Message, Request, Unreadable, moment
from connectors.vendors.apple import signing
from connectors.vendors.apple.subscriptions import TRANSACTION, subject, subscription

RENEWS = "Auto-Renewable Subscription"
ASKED = "CONSUMPTION_REQUEST"
REFUNDS = frozenset({ASKED, "REFUND", "REFUND_DECLINED"})  # somebody asks for one, and what Apple decided


class Notifications(Inbound):
    """Signed notifications of one app in one environment."""

    setup_steps = (
        "In App Store Connect, open your app, then App Information > App Store Server Notifications.",
        "Enter this address as the Production Server URL, or as the Sandbox one if this connection is for the sandbox.",
        "Choose Version 2 notifications. Nothing is to be copied here: Apple signs with certificates of its own.",
        "Bring original transaction ids into the trait apple_original_transaction_id: by it a notification finds its subscriber.",
        "While a refund of a subscription is asked for, the trait apple_refund_transaction_id names the transaction.",
    )
    types: ClassVar[frozenset[str]] = frozenset(
        {
            "SUBSCRIBED",
            "DID_RENEW",
            "DID_CHANGE_RENEWAL_PREF",
            "DID_CHANGE_RENEWAL_STATUS",
            "OFFER_REDEEMED",
            "EXPIRED",
            "DID_FAIL_TO_RENEW",
            "GRACE_PERIOD_EXPIRED",
            "PRICE_INCREASE",
            "REFUND_REVERSED",
            "RENEWAL_EXTENDED",
            "REVOKE",
            *REFUNDS,
        }
    )
    believed_by = "app_apple_id"

    def verify(self, request: Request, settings: Values) -> None:
        """The payload is signed by a certificate of Apple's, and is about this app in this environment."""
        if not settings.get(self.believed_by):
            raise Forged("The app's Apple ID is not stored.")
        try:
            signing.notification(settings, request.json().text("signedPayload"))
        except (Undocumented, Unreadable) as unfit:
            raise Forged(str(unfit)) from None

    def messages(self, request: Request, settings: Values) -> Iterable[Message]:
        """One notification, with an id that is the same in every try."""
        told = signing.notification(settings, request.json().text("signedPayload"))
        data, signed_at = told.get("data"), told.get("signedDate")
        signed = data.get("signedTransactionInfo") if data else None
        bought = signing.transaction(settings, signed) if signed else None
        payload = {
            "subtype": told.get("subtype"),
            "original": bought.get("originalTransactionId") if bought else None,
            "transaction": bought.get("transactionId") if bought else None,
            "renews": bool(bought and bought.get("type") == RENEWS),
        }
        at = moment(signed_at / 1000) if isinstance(signed_at, int) else None
        yield Message(told.text("notificationUUID"), told.text("notificationType"), payload, at)

    def read(self, message: Message, api: Api) -> Iterable[Learned]:
        """Read how the subscription stands; which refund is asked for, Apple says here alone."""
        if not message.payload["renews"]:
            return  # other products give no trait that a notification could be found by
        number = text_in(message.payload, "original", TRANSACTION, "transaction id of Apple's")
        stands = subscription(api, number)
        found_by = (("apple_original_transaction_id", number),)
        yield Learned(stands.traits(), found_by=found_by, subject=subject(number))
        if message.type in REFUNDS:
            # A message that waits since an older version of Engage has no transaction.
            asked = message.payload.get("transaction") if message.type == ASKED else None
            about, at = f"refund of {subject(number)}", message.happened_at
            yield Learned({"apple_refund_transaction_id": asked}, found_by=found_by, subject=about, as_of=at)
