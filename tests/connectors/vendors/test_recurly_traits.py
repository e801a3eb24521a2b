"""What Recurly tells and shows of an account, as traits."""

from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.answers import Answer
from connectors.inbound import Forged, Request
from connectors.pulls import telling
from connectors.vendors.recurly import Recurly
from connectors.vendors.recurly.traits import Webhooks, rank_of
from tests.connectors.fake_vendor import Call
from tests.connectors.inbound_contract import InboundContract, InboundScenario, Sent
from tests.connectors.tellers import as_json, digest
from tests.connectors.vendors.test_recurly import ACCOUNT, KEY, RENEWS, listed, page, subscription

UUID = "63ab531e1d5b1d47eaf1ef44eeb853c3"
SHOWN = subscription(
    uuid=UUID,
    created_at="2026-01-15T08:00:00Z",
    current_period_started_at="2026-12-15T08:00:00Z",
    activated_at="2026-01-15T08:00:00Z",
    total=9.99,
    coupon_redemptions=[
        {"id": "r1", "coupon": {"id": "c1", "code": "SAVE20"}},
        {"id": "r2", "coupon": {"code": "MORE"}},
    ],
)
TRAITS = {
    "account_code": ACCOUNT,
    "plan_code": "basic",
    "plan_name": "Basic",
    "state": "active",
    "currency": "USD",
    "total_recurring_amount": 9.99,
    "current_period_started_at": "2026-12-15T08:00:00Z",
    "current_period_ends_at": RENEWS,
    "activated_at": "2026-01-15T08:00:00Z",
    "plan_coupon_codes": "SAVE20, MORE",
    "status": "past_due",
}


def invoices(account: str, *rows: Any) -> Call:
    query = {"limit": "1", "sort": "created_at", "order": "desc"}
    return Call("GET", f"/accounts/{account}/invoices", page(*rows), query)


def notification(**changes: Any) -> bytes:
    told = {
        "id": "jx4s2ybfvmh8",
        "object_type": "subscription",
        "site_id": "s1",
        "event_type": "renewed",
        "event_time": "2026-11-21T08:00:00Z",
        "uuid": UUID,
    }
    return as_json(**{**told, **changes})


def sign(tells: bytes, secret: str, at: datetime) -> Sent:
    ms = str(int(at.timestamp() * 1000))
    signature = f"{ms},{'0' * 64},{digest(secret, f'{ms}.'.encode() + tells)}"
    return Sent(tells, {"recurly-signature": signature, "recurly-notification-id": "note-1"})


class TestBySubscription(InboundContract):
    scenario = InboundScenario(
        Recurly,
        tells=notification(),
        sign=sign,
        known={"account_number": ACCOUNT, "first_name": "Ann", "canceled_at": "2026-11-01T08:00:00Z"},
        learned={**TRAITS, "account_number": ACCOUNT, "first_name": "Ann"},
        calls=(
            Call("GET", f"/subscriptions/uuid-{UUID}", SHOWN),
            listed(subscription("old", state="expired"), SHOWN),
            invoices(ACCOUNT, {"state": "past_due"}),
        ),
        settings={"region": "us", "use_account_code": False},
        secrets={"api_key": KEY},
        user_id="somebody-else-entirely",
        event_id="note-1",
        type="subscription.renewed",
        unread=notification(object_type="billing_info", event_type="updated"),
    )


class TestByCode(InboundContract):
    """An invoice's notification names the account's code, which is the App's own user id."""

    scenario = InboundScenario(
        Recurly,
        tells=notification(
            object_type="charge_invoice", event_type="paid", account_code="viewer-ann", invoice_number="1001"
        ),
        sign=sign,
        known={"first_name": "Ann"},
        learned={
            **{k: v for k, v in TRAITS.items() if k != "status"},
            "first_name": "Ann",
            "account_code": "viewer-ann",
        },
        calls=(listed(SHOWN, account="code-viewer-ann"), invoices("code-viewer-ann")),
        settings={"region": "eu", "use_account_code": True},
        secrets={"api_key": KEY},
        user_id="viewer-ann",
        event_id="note-1",
        type="charge_invoice.paid",
        unread=notification(object_type="account", event_type="created", account_code="viewer-ann"),
    )


class TestByInvoice(InboundContract):
    scenario = InboundScenario(
        Recurly,
        tells=notification(object_type="charge_invoice", event_type="past_due", uuid="x", invoice_number="1001"),
        sign=sign,
        known={"account_code": ACCOUNT},
        learned=TRAITS,
        calls=(
            Call("GET", "/invoices/number-1001", {"account": {"id": ACCOUNT, "code": "viewer-ann"}}),
            listed(SHOWN),
            invoices(ACCOUNT, {"state": "past_due"}),
        ),
        settings={"region": "us"},
        secrets={"api_key": KEY},
        event_id="note-1",
        type="charge_invoice.past_due",
        unread=notification(object_type="plan", event_type="created"),
    )


def test_a_signature_that_others_have_computed() -> None:
    """The vector of another implementation (the npm package verihook's tests)."""
    body = (
        b'{"id":"jx4s2ybfvmh8","object_type":"subscription","site_id":"site1","event_type":"created",'
        b'"event_time":"2022-08-04T19:37:31Z","account_code":"acct1"}'
    )
    signature = "1659641851000,ced656db6ac83dfaf36c31833b27f95b8e6b8eb1ebb7df69ba8f65821f1af98c"
    request = Request("POST", body, {"recurly-signature": signature}, (), datetime(2022, 8, 4, 19, 39, tzinfo=UTC))
    Webhooks().verify(request, {"webhook_secret": "recurly_secret"})
    with pytest.raises(Forged):
        Webhooks().verify(request, {"webhook_secret": "recurly_secret2"})


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], None),
        ([("a", "expired", "2026-01-01"), ("b", "failed", "2026-02-01")], "a"),
        ([("a", "expired", "2026-01-01"), ("b", "expired", "2026-02-01")], "b"),
        ([("a", "active", "2026-01-01"), ("b", "canceled", "2026-02-01")], "a"),
        ([("a", "active", "2026-01-01"), ("b", "active", "2026-02-01"), ("c", "new state", "2026-03-01")], "b"),
        ([("a", "new state", "2026-03-01")], None),
    ],
)
def test_which_of_several_subscriptions_is_told_of(rows: list[tuple[str, str, str]], told: str | None) -> None:
    shown = [Answer({"id": number, "state": state, "created_at": at}, where="list") for number, state, at in rows]
    found = telling(shown, rank_of)
    assert (found and found["id"]) == told
