"""What Roku tells by itself: push notifications, signed as JSON Web Signatures by keys that Roku publishes.

https://developer.roku.com/docs/developer-program/roku-pay/implementation/push-notifications.md. The document of the keys is fixed
here, whatever a token names. A notification is a hint: Roku sends old ones again from its dashboard, so the purchase is read anew.
"""

import base64
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar

import jwt

from connectors.answers import Answer, json_or_text
from connectors.base import Values
from connectors.choosing import text_in
from connectors.failures import Undocumented
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
from connectors.vendors.roku.purchases import TRANSACTION, is_pending, moment_in, purchase, subject, traits_of

KEYS_HOST = "https://assets.cs.roku.com"
KEYS = ("keys", "partner-jwks.json")
ISSUER = "Roku, Inc. urn:roku:apps:partner-service.roku.com"
COMPACT = r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"
OTHER_APP = "of another app"
# A sale may be the first that is heard of a purchase, so that its customer says whose it is. What else befalls a purchase is
# that purchase's alone: the customer may have a newer one.
SALES = frozenset({"Sale", "Resubscribe", "UpgradeSale", "DowngradeSale"})
CHANGES = frozenset({"GraceInitiated", "GraceRecovered", "OnHoldInitiated", "OnHoldRecovered", "Cancellation"})
# With them comes personal data (Instant Signup), which is not kept.
KEPT = ("transactionId", "originalTransactionId", "customerId", "productCode", "partnerReferenceId", "eventDate")


class Notifications(Inbound):
    """Pushed by Roku for all apps of a developer account."""

    setup_steps = (
        "In Roku's Developer Dashboard, open Roku Pay Web Services and enter this address as the push notification URL.",
        "A developer account has one such URL. What comes for other apps of yours is acknowledged, and not used.",
        "Bring roku_original_transaction_id or roku_customer_id into the traits; purchases through Engage bring both.",
    )
    types: ClassVar[frozenset[str]] = SALES | CHANGES
    believed_by = "channel_id"

    def signed_by(self, request: Request, settings: Values) -> Published:
        """A key of those that Roku publishes for production."""
        return Published("keys", KEYS, key_named(_token(request)), keys_of_set)

    def verify(self, request: Request, settings: Values) -> None:
        """The token is Roku's, and good now. It names no developer: which app it is about, its message says."""
        if not settings.get(self.believed_by):
            raise Forged("The channel id is not stored.")
        check_token(_token(request), request.key, algorithm="RS256", issuer=ISSUER, audience=None)

    def messages(self, request: Request, settings: Values) -> Iterable[Message]:
        """One message, in base64 of either alphabet."""
        claims = jwt.decode(_token(request), options={"verify_signature": False})  # `verify` has believed it
        told = _told(claims)
        if told is None:
            raise Unreadable("What Roku signed holds no message as it is documented.")
        is_ours = str(told.get("channelId")) == settings[self.believed_by]
        name = claims.get("x-Roku-message-key")
        yield Message(
            name if isinstance(name, str) and name else request.fingerprint,
            told.text("transactionType") if is_ours else OTHER_APP,
            {member: told.data.get(member) for member in KEPT} if is_ours else {},
            _happened(told),
        )

    def reply(self, request: Request) -> str:
        """The message's `responseKey`: older documentation asks for it, and the present one for a 200."""
        told = _told(jwt.decode(_token(request), options={"verify_signature": False}))
        said = told.get("responseKey") if told else None
        return said if isinstance(said, str) and re.fullmatch("[ -~]{1,500}", said) else ""

    def read(self, message: Message, api: Api) -> Iterable[Learned]:
        """Read the purchase."""
        number = text_in(message.payload, "transactionId", TRANSACTION, "transaction id of Roku's")
        shown = purchase(api, number)
        if is_pending(shown):
            return  # a downgrade that takes effect later: until then the present plan counts
        original = shown.get("OriginalTransactionId") or number
        told = {"roku_original_transaction_id": original, "roku_transaction_id": number}
        if message.type in SALES:
            told["roku_customer_id"] = shown.get("rokuCustomerId")
        found_by = tuple((name, str(value)) for name, value in told.items() if value)
        yield Learned(traits_of(shown), found_by=found_by, subject=subject(str(original)))


def _token(request: Request) -> str:
    text = request.body.decode("ascii", "replace")
    if not re.fullmatch(COMPACT, text):
        raise Forged("It is not signed.")
    return text


def _happened(told: Answer) -> datetime | None:
    """Return when it was; UNVERIFIED in which of Roku's two spellings of a time."""
    try:
        return moment_in(told, "eventDate")
    except Undocumented:
        return moment(told.get("eventDate"))


def _told(claims: dict[str, Any]) -> Answer | None:
    """Return the message in a token's claims; None where there is none as documented."""
    raw = claims.get("x-Roku-message")
    if not isinstance(raw, str):
        return None
    same = raw.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        told = json_or_text(base64.b64decode(same + "=" * (-len(same) % 4), validate=True))
    except ValueError:
        return None
    return Answer(told, where="notification") if isinstance(told, dict) else None
