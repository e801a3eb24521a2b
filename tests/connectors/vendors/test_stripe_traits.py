"""What Stripe tells and shows of a customer, as traits."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.answers import Answer
from connectors.inbound import Forged, Request
from connectors.pulls import telling
from connectors.vendors.stripe import Stripe
from connectors.vendors.stripe.traits import Webhooks, rank_of
from tests.connectors.fake_vendor import Call
from tests.connectors.inbound_contract import InboundContract, InboundScenario, Sent
from tests.connectors.tellers import as_json, digest

SECRETS = {"api_key": "rk_test_0123456789plantedkey"}
SETTINGS = {"environment": "sandbox", "stripe_account": ""}
CUSTOMER = Call("GET", "/customers/cus_Ann", {"id": "cus_Ann", "object": "customer", "delinquent": False})


def subscription(number: str = "sub_1", status: str = "active", **changes: Any) -> dict[str, Any]:
    price = {"id": "price_1", "nickname": "Premium", "product": "prod_1", "recurring": {"interval": "month"}}
    return {
        "id": number,
        "object": "subscription",
        "customer": "cus_Ann",
        "status": status,
        "created": 1_767_225_600,
        "items": {"object": "list", "has_more": False, "data": [{"id": "si_1", "price": price, "quantity": 1}]},
        "current_period_start": 1_767_225_600,
        "current_period_end": 1_769_904_000,
        "canceled_at": None,
        "cancel_at_period_end": False,
        "trial_start": None,
        "trial_end": None,
        "discount": {"id": "di_1", "coupon": {"id": "SAVE20", "name": "20 % off"}},
        **changes,
    }


def shows(*rows: Any) -> Call:
    query = {"limit": "100", "customer": "cus_Ann", "status": "all"}
    return Call("GET", "/subscriptions", {"object": "list", "has_more": False, "data": list(rows)}, query)


def event(kind: str = "customer.subscription.updated", **thing: Any) -> bytes:
    told = {"object": thing or subscription(), "previous_attributes": {"status": "trialing"}}
    return as_json(id="evt_1", object="event", type=kind, created=1_767_225_600, livemode=False, data=told)


def sign(tells: bytes, secret: str, at: datetime) -> Sent:
    seconds = str(int(at.timestamp()))
    signature = digest(secret, f"{seconds}.".encode() + tells)
    return Sent(tells, {"Stripe-Signature": f"t={seconds},v1={'0' * 64},v1={signature},v0={'f' * 64}"})


class TestSubscriptionEvents(InboundContract):
    scenario = InboundScenario(
        Stripe,
        tells=event(),
        sign=sign,
        known={"stripe_id": "cus_Ann", "first_name": "Ann", "trial_end": "2026-01-01T00:00:00Z"},
        learned={
            "stripe_id": "cus_Ann",
            "first_name": "Ann",
            "subscription_status": "active",
            "delinquent": False,
            "current_period_start": "2026-01-01T00:00:00Z",
            "current_period_end": "2026-02-01T00:00:00Z",
            "cancel_at_period_end": False,
            "subscription_plan": "Premium",
            "recurring_interval": "month",
            "coupon": "20 % off",
        },
        calls=(CUSTOMER, shows(subscription("sub_0", "canceled", created=1_799_000_000), subscription())),
        settings=SETTINGS,
        secrets=SECRETS,
        event_id="evt_1",
        type="customer.subscription.updated",
        unread=event("charge.succeeded"),
        secret="whsec_" + "a1" * 16,
        other="whsec_" + "b2" * 16,
    )


class TestInvoiceEvents(InboundContract):
    """A price without a nickname is called by its product; the customer may stand in the event as an object."""

    scenario = InboundScenario(
        Stripe,
        tells=event("invoice.payment_failed", id="in_1", object="invoice", customer={"id": "cus_Ann"}),
        sign=sign,
        known={"stripe_id": "cus_Ann"},
        learned={
            "stripe_id": "cus_Ann",
            "subscription_status": "past_due",
            "delinquent": True,
            "current_period_start": "2026-01-01T00:00:00Z",
            "current_period_end": "2026-02-01T00:00:00Z",
            "trial_end": "2026-01-01T00:00:00Z",
            "cancel_at_period_end": True,
            "subscription_plan": "Sports",
        },
        calls=(
            Call("GET", "/customers/cus_Ann", {"id": "cus_Ann", "delinquent": True}),
            shows(
                subscription(
                    status="past_due",
                    cancel_at_period_end=True,
                    trial_end=1_767_225_600,
                    discount=None,
                    items={"data": [{"id": "si_1", "price": {"id": "price_2", "nickname": None, "product": "prod_2"}}]},
                )
            ),
            Call("GET", "/products/prod_2", {"id": "prod_2", "name": "Sports"}),
        ),
        settings=SETTINGS,
        secrets=SECRETS,
        event_id="evt_1",
        type="invoice.payment_failed",
        unread=event("invoice.created"),
        secret="whsec_" + "a1" * 16,
        other="whsec_" + "b2" * 16,
    )


class TestCustomerEvents(InboundContract):
    """Somebody who has never had a subscription."""

    scenario = InboundScenario(
        Stripe,
        tells=event("customer.updated", id="cus_Ann", object="customer"),
        sign=sign,
        known={"stripe_id": "cus_Ann", "subscription_plan": "Premium"},
        learned={"stripe_id": "cus_Ann", "subscription_status": "NONE", "delinquent": False},
        calls=(CUSTOMER, shows()),
        settings=SETTINGS,
        secrets=SECRETS,
        event_id="evt_1",
        type="customer.updated",
        unread=event("customer.created"),
        secret="whsec_" + "a1" * 16,
        other="whsec_" + "b2" * 16,
    )


def test_the_signature_of_stripes_own_documented_scheme_and_no_other() -> None:
    body, secret, now = json.dumps({"id": "evt_1"}).encode(), "whsec_test", datetime(2026, 1, 1, tzinfo=UTC)
    seconds = str(int(now.timestamp()))
    good = digest(secret, f"{seconds}.".encode() + body)

    def verify(header: str) -> None:
        Webhooks().verify(Request("POST", body, {"stripe-signature": header}, (), now), {"webhook_secret": secret})

    verify(f"t={seconds},v1={good}")
    for header in (f"t={seconds},v0={good}", f"t={seconds},t={seconds},v1={good}", f"v1={good}", f"t={seconds}"):
        with pytest.raises(Forged):
            verify(header)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], None),
        ([("a", "canceled", 1), ("b", "canceled", 2)], "b"),
        ([("a", "trialing", 1), ("b", "canceled", 2)], "a"),
        ([("a", "active", 1), ("b", "active", 2), ("c", "a new word", 3)], "b"),
    ],
)
def test_which_of_several_subscriptions_is_told_of(rows: list[tuple[str, str, int]], told: str | None) -> None:
    shown = [Answer({"id": number, "status": status, "created": at}, where="list") for number, status, at in rows]
    found = telling(shown, rank_of)
    assert (found and found["id"]) == told


def test_a_signing_secret_is_known_by_its_beginning() -> None:
    typed = {"environment": "sandbox", "api_key": SECRETS["api_key"]}
    assert not Stripe.Settings({**typed, "webhook_secret": "whsec_abc  whsec_def"}).errors
    assert not Stripe.Settings(typed).errors
    assert "webhook_secret" in Stripe.Settings({**typed, "webhook_secret": "sk_test_0123456789"}).errors
