"""The fake Cleeng answers as Cleeng's reference says, and writes down what happened."""

from typing import Any

import pytest
import requests

from tests.sandbox_fixture import RunningSandbox

STANDARD, PREMIUM = "S531000002_US", "S531000003_US"
AVA, BEN, CHLOE, FARID, GRACE, HUGO = 710000001, 710000002, 710000003, 710000006, 710000007, 710000008


def call(sandbox: RunningSandbox, method: str, path: str, **options: Any) -> requests.Response:
    headers = {"X-Publisher-Token": sandbox.token} | options.pop("headers", {})
    return requests.request(method, sandbox.url + path, headers=headers, timeout=5, **options)


def switch(sandbox: RunningSandbox, subscription: int, offer: str, direction: str = "upgrade") -> requests.Response:
    body = {"toOfferId": offer, "switchDirection": direction, "subscriptionId": subscription}
    return call(sandbox, "POST", "/subscription_switches", json=body)


def test_another_token_is_a_401_and_the_log_keeps_no_token(sandbox: RunningSandbox) -> None:
    refused = call(sandbox, "GET", "/subscriptions", headers={"X-Publisher-Token": "wrong-token-of-somebody"})
    assert refused.status_code == 401
    assert call(sandbox, "GET", "/subscriptions").status_code == 200
    assert [request["status"] for request in sandbox.requests()] == [401, 200]
    assert "wrong-token" not in str(sandbox.requests())
    assert sandbox.token not in str(sandbox.requests())


def test_the_list_is_empty_without_a_filter_and_has_the_customers_own_with_one(sandbox: RunningSandbox) -> None:
    assert call(sandbox, "GET", "/subscriptions?limit=1").json() == {"success": True, "data": [], "message": ""}
    answer = call(sandbox, "GET", "/subscriptions?customerId=640000004&limit=1")
    assert [row["subscriptionId"] for row in answer.json()["data"]] == [710000004]
    assert answer.headers["X-Total-Count"] == "2"
    narrowed = call(sandbox, "GET", "/subscriptions?customerId=640000004&offerId=S531000005_US").json()
    assert [row["subscriptionId"] for row in narrowed["data"]] == [710000014]
    assert call(sandbox, "GET", "/subscriptions?offerId=S531000005_US").status_code == 400
    assert call(sandbox, "GET", "/subscriptions?customerId=12").status_code == 400


def test_an_unknown_subscription_is_a_404_with_a_message(sandbox: RunningSandbox) -> None:
    answer = call(sandbox, "GET", "/subscriptions/710009999")
    assert answer.status_code == 404
    assert "710009999" in answer.json()["message"]


def test_a_coupon_is_applied_and_every_time_is_an_effect(sandbox: RunningSandbox) -> None:
    for _ in range(2):
        answer = call(sandbox, "PATCH", f"/subscriptions/{AVA}", json={"couponCode": "SAVE20"})
        assert answer.json()["subscription"]["couponCode"] == "SAVE20"
    assert sandbox.subscriptions()[AVA]["couponCode"] == "SAVE20"
    effects = sandbox.effects("coupon_applied")
    assert [(effect["whom"], effect["detail"]) for effect in effects] == [(str(AVA), {"coupon": "SAVE20"})] * 2
    assert [effect["request"] for effect in effects] == [request["id"] for request in sandbox.requests("PATCH")]


@pytest.mark.parametrize(
    ("coupon", "status", "words"),
    [
        ("NOBODYS", 422, "not found"),
        ("SUMMER24", 422, "not found"),
        ("PREMIUM10", 422, "cannot be applied on this offer"),
        ("WELCOME", 422, "cannot be applied on existing subscription"),
        ("no spaces", 422, "not valid"),
    ],
)
def test_a_coupon_that_does_not_fit_is_refused_in_cleengs_words(
    sandbox: RunningSandbox, coupon: str, status: int, words: str
) -> None:
    answer = call(sandbox, "PATCH", f"/subscriptions/{AVA}", json={"couponCode": coupon})
    assert answer.status_code == status
    assert answer.json()["subscription"] is None
    assert words in answer.json()["message"]
    assert not sandbox.effects()


@pytest.mark.parametrize("body", [{}, {"couponCode": "SAVE20", "status": "active"}, {"offerId": PREMIUM}, []])
def test_a_change_names_exactly_one_field(sandbox: RunningSandbox, body: Any) -> None:
    assert call(sandbox, "PATCH", f"/subscriptions/{AVA}", json=body).status_code == 400
    assert not sandbox.effects()


def test_only_a_stopped_subscription_can_be_activated_and_only_before_its_end(sandbox: RunningSandbox) -> None:
    assert call(sandbox, "POST", f"/subscriptions/{BEN}/activate").json()["status"] == "active"
    for subscription in (BEN, GRACE):
        assert call(sandbox, "POST", f"/subscriptions/{subscription}/activate").status_code == 422
    sandbox.reset()
    sandbox.advance(8 * 86_400)
    assert call(sandbox, "POST", f"/subscriptions/{BEN}/activate").status_code == 422
    assert not sandbox.effects()


def test_an_upgrade_is_accepted_at_once_and_finished_later(sandbox: RunningSandbox) -> None:
    accepted = switch(sandbox, AVA, PREMIUM).json()
    assert accepted["status"] == "inprogress"
    assert sandbox.subscriptions()[AVA]["pendingSwitchId"] == accepted["id"]
    assert sandbox.subscriptions()[AVA]["offerId"] == STANDARD
    sandbox.advance(4)
    assert call(sandbox, "GET", f"/subscription_switches/{accepted['id']}").json()["status"] == "finished"
    assert sandbox.subscriptions()[AVA] | {"offerId": PREMIUM, "pendingSwitchId": None} == sandbox.subscriptions()[AVA]
    assert [effect["what"] for effect in sandbox.effects()] == ["switch_started", "switched"]


def test_a_downgrade_waits_for_the_periods_end_and_can_be_cancelled_until_then(sandbox: RunningSandbox) -> None:
    pending = switch(sandbox, HUGO, STANDARD, "downgrade").json()
    assert pending["status"] == "pending"
    listed = call(sandbox, "GET", "/subscription_switches?customerId=640000008&status=pending").json()
    assert [row["id"] for row in listed["data"]] == [pending["id"]]
    assert switch(sandbox, HUGO, STANDARD, "downgrade").json()["code"] == "SWITCH_IN_PROGRESS"
    cancelled = call(sandbox, "PATCH", f"/subscription_switches/{pending['id']}", json={"status": "cancelled"})
    assert cancelled.json()["status"] == "cancelled"
    again = switch(sandbox, HUGO, STANDARD, "downgrade").json()
    sandbox.advance(21 * 86_400)
    assert sandbox.subscriptions()[HUGO]["offerId"] == STANDARD
    assert (
        call(sandbox, "PATCH", f"/subscription_switches/{again['id']}", json={"status": "cancelled"}).status_code == 422
    )


@pytest.mark.parametrize(
    ("subscription", "offer", "code"),
    [
        (AVA, STANDARD, "SAME_TARGET_OFFER"),
        (CHLOE, PREMIUM, "SUBSCRIPTION_WITH_COUPON_NOT_ALLOWED"),
        (FARID, PREMIUM, "PAYMENT_GATEWAY_NOT_SUPPORTED"),
        (GRACE, PREMIUM, "VALIDATION_ERROR"),
        (AVA, "S531000005_US", "SWITCH_NOT_DEFINED_IN_SWITCH_SETTINGS"),
        (AVA, "S531000006_US", "OFFER_INACTIVE"),
        (AVA, "S531000007_US", "TO_FREE_OFFER_NOT_ALLOWED"),
        (AVA, "S531000008_GB", "TO_OFFER_COUNTRY_NOT_ALLOWED"),
    ],
)
def test_a_switch_is_refused_with_cleengs_code(
    sandbox: RunningSandbox, subscription: int, offer: str, code: str
) -> None:
    answer = switch(sandbox, subscription, offer)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert not sandbox.effects()


def test_a_switch_is_refused_while_billing_runs_or_when_the_customer_has_the_offer(sandbox: RunningSandbox) -> None:
    sandbox.seed(
        subscriptions=[
            {"subscriptionId": 710000101, "customerId": 640000001, "offerId": PREMIUM},
            {"subscriptionId": 710000102, "customerId": 640000101, "offerId": STANDARD, "nextPaymentActionDate": 1},
        ]
    )
    assert switch(sandbox, AVA, PREMIUM).json()["code"] == "ALREADY_HAS_ACCESS"
    assert switch(sandbox, 710000102, PREMIUM).json()["code"] == "RECURRING_PROCESS_ALREADY_STARTED"


def test_offers_come_in_pages(sandbox: RunningSandbox) -> None:
    everything = call(sandbox, "GET", "/offers")
    assert everything.headers["x-total-count"] == str(len(everything.json())) == "9"
    pages = [call(sandbox, "GET", f"/offers?page={page}&limit=4").json() for page in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [4, 4, 1, 0]
    assert [row for page in pages for row in page] == everything.json()


def test_a_campaign_is_found_by_its_coupon_only(sandbox: RunningSandbox) -> None:
    assert call(sandbox, "GET", "/campaigns").status_code == 400
    assert call(sandbox, "GET", "/campaigns?couponCode=NOBODYS").json()["data"] == []
    (campaign,) = call(sandbox, "GET", "/campaigns?couponCode=STAY50").json()["data"]
    assert (campaign["discount"], campaign["constraints"]["paymentType"]) == (0.5, "renewal")


def test_a_customer_is_found_by_email_whatever_its_case(sandbox: RunningSandbox) -> None:
    query = "/customers?email=AVA.stone@example.com"
    assert call(sandbox, "GET", query).status_code == 400
    found = call(sandbox, "GET", query + "&offset=0&limit=2").json()
    assert [row["id"] for row in found["data"]] == ["640000001"]


def test_what_cleeng_does_not_have_is_a_404_and_another_method_a_405(sandbox: RunningSandbox) -> None:
    assert call(sandbox, "GET", "/nothing").status_code == 404
    assert call(sandbox, "DELETE", "/offers").status_code == 405
