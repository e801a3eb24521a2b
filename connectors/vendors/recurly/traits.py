"""What Recurly knows of an account, as traits: told by its webhooks, and read at Recurly each time.

https://docs.recurly.com/recurly-subscriptions/docs/webhooks: JSON webhooks carry a type and identifiers alone. "Treat webhooks as
triggers, not the source of truth"; so what changed is never taken from one, and their order does not matter.
The traits have the names under which Recurly Engage's documentation lists them (recurly/recurly-engage-docs, its Recurly page).
"""

import re
from collections.abc import Iterable
from typing import Any, ClassVar

from connectors.answers import Answer
from connectors.base import Json, Values
from connectors.http import Api
from connectors.inbound import (
    Forged,
    Inbound,
    Learned,
    Message,
    Request,
    Unreadable,
    check_hmac,
    check_moment,
    moment,
    signing_secrets,
)
from connectors.pulls import rank_in, telling
from connectors.times import MILLISECOND
from connectors.vendors.recurly.reading import subscriptions

# Of several subscriptions the one that says most of today is told of: the newest of the first of these states that any has.
STATES = ("active", "paused", "canceled", "future", "expired", "failed")
PLAIN = (
    "state",
    "currency",
    "current_period_started_at",
    "current_period_ends_at",
    "trial_started_at",
    "trial_ends_at",
    "activated_at",
    "canceled_at",
    "expires_at",
)
TYPES = {
    **dict.fromkeys((*PLAIN, "account_code", "plan_code", "plan_name", "plan_coupon_codes"), "text"),
    "total_recurring_amount": "number",
}
FOUND_BY = ("account_code", "account_number")
NEWEST: Json = {"limit": 1, "sort": "created_at", "order": "desc"}
SUBSCRIPTION_EVENTS = ("created", "updated", "renewed", "canceled", "expired", "paused", "resumed", "reactivated")
INVOICE_EVENTS = ("created", "processing", "past_due", "paid", "failed", "voided")


def key_of(account: Answer, settings: Values) -> str:
    """Return what the traits hold of an account: its code, or Recurly's own id."""
    return str(account["code" if settings.get("use_account_code") else "id"])


def traits_of(subscription: Answer, settings: Values) -> Json:
    """Return what a subscription says of its account. What it does not have is None, which takes the trait away."""
    codes = [row["coupon"]["code"] for row in subscription.get("coupon_redemptions") or ()]
    told: dict[str, Any] = {name: subscription.get(name) for name in PLAIN}
    return {
        **told,
        "account_code": key_of(subscription["account"], settings),
        "plan_code": str(subscription["plan"]["code"]),
        "plan_name": subscription["plan"].get("name"),
        "total_recurring_amount": subscription.get("total"),
        "plan_coupon_codes": ", ".join(map(str, codes)) or None,
    }


def rank_of(subscription: Answer) -> float:
    """Return how much a subscription says of today; below 0 where nothing is told of its state."""
    created = subscription.moment("created_at").timestamp() if subscription.get("created_at") else 0.0
    return rank_in(STATES, subscription["state"], created)


def newest_invoice(api: Api, account: str) -> Answer | None:
    """Return an account's newest invoice; None where it has none."""
    return next(iter(api.get("accounts", account, "invoices", params=NEWEST).rows("data")), None)


class Webhooks(Inbound):
    """Recurly's JSON webhooks. XML ones are not signed, so they are not believed."""

    setup_steps = (
        "In Recurly, open Integrations > Webhooks and add an endpoint with this address. Choose JSON as the payload type.",
        "Choose the events of subscriptions and of charge invoices. Others may be sent; they are kept and not used.",
        "Copy the endpoint's secret key from the list of endpoints into the settings here, and save.",
        "Send a test notification: it appears here within seconds.",
    )
    types: ClassVar[frozenset[str]] = frozenset(
        {f"subscription.{event}" for event in SUBSCRIPTION_EVENTS}
        | {f"charge_invoice.{event}" for event in INVOICE_EVENTS}
        | {"subscription.pause.scheduled", "subscription.pending_change.scheduled"}
    )

    def verify(self, request: Request, settings: Values) -> None:
        """`recurly-signature: <Unix ms>,<hex>[,<hex>]`: HMAC-SHA256 of "<ms>.<body>", two while the secret is rotated.

        https://docs.recurly.com/recurly-subscriptions/docs/signature-verification
        """
        sent, *given = request.header("recurly-signature").split(",")
        if not given:
            raise Forged("It is not signed.")
        check_moment(request, sent, unit=MILLISECOND)
        check_hmac(signing_secrets(settings), f"{sent}.".encode() + request.body, given)

    def messages(self, request: Request, settings: Values) -> Iterable[Message]:
        """One notification. `recurly-notification-id` "stays identical across retries"; it is not signed, and need not be:
        whoever repeats a request under another id makes us read once more.
        """
        told = request.json()
        number = request.header("recurly-notification-id") or request.fingerprint
        kind = f"{told['object_type']}.{told['event_type']}"
        yield Message(number, kind, told.data, moment(told["event_time"]))

    def read(self, message: Message, api: Api) -> Iterable[Learned]:
        """Read the account's subscriptions and its newest invoice."""
        account = self._account(Answer(message.payload, where="webhook"), api)
        told = telling(subscriptions(api, account), rank_of)
        if told is None:
            return
        invoice = newest_invoice(api, account)
        status = str(invoice["state"]) if invoice else None
        owner = told["account"]
        key = key_of(owner, api.settings)
        yield Learned(
            {**traits_of(told, api.settings), "status": status},
            found_by=tuple((name, key) for name in FOUND_BY),
            user_id=str(owner["code"]),  # "Must match the user's ID in Engage, or be mapped"
            subject=f"account {owner['id']}",
        )

    def _account(self, told: Answer, api: Api) -> str:
        """Return the path segment of the account that a notification is about."""
        code, uuid, number = (told.get(name) for name in ("account_code", "uuid", "invoice_number"))
        if isinstance(code, str) and code.strip():
            return f"code-{code}"
        if told["object_type"] == "subscription" and isinstance(uuid, str) and re.fullmatch(r"[0-9a-f-]{32,36}", uuid):
            return str(api.get("subscriptions", f"uuid-{uuid}")["account"]["id"])
        if isinstance(number, (str, int)) and re.fullmatch(r"[A-Za-z0-9]{1,20}", str(number)):
            return str(api.get("invoices", f"number-{number}")["account"]["id"])
        raise Unreadable("It names no account, subscription or invoice.")
