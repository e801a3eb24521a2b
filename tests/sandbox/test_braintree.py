"""The fake Braintree is understood by Braintree's own SDK, and refuses as Braintree does."""

from typing import Any

import pytest
import requests
from braintree.util.generator import Generator
from braintree.util.parser import Parser

from connectors.sandbox.worlds.braintree import MERCHANT, PRIVATE_KEY, PUBLIC_KEY
from tests.sandbox_fixture import RunningSandbox


def call(sandbox: RunningSandbox, method: str, path: str, told: Any = None, **options: Any) -> tuple[int, Any]:
    """Send what the SDK writes, and return the status with what the SDK reads."""
    answer = requests.request(
        method,
        f"{sandbox.root}/braintree/merchants/{MERCHANT}{path}",
        auth=(PUBLIC_KEY, PRIVATE_KEY),
        headers={"X-ApiVersion": "6"} | options.pop("headers", {}),
        data=Generator(told).generate() if told else options.pop("data", None),
        timeout=5,
    )
    return answer.status_code, Parser(answer.content).parse() if answer.content else None


def refusal(sandbox: RunningSandbox, method: str, path: str, **told: Any) -> tuple[str, str]:
    """Return the code and the words of a 422."""
    status, answer = call(sandbox, method, path, {"subscription": told})
    assert status == 422
    error = answer["api_error_response"]
    return error["errors"]["subscription"]["errors"][0]["code"], error["message"]


def test_another_version_is_refused(sandbox: RunningSandbox) -> None:
    assert call(sandbox, "GET", "/plans/", headers={"X-ApiVersion": "5"}) == (426, None)


def test_a_body_that_is_no_xml_or_declares_entities_is_refused(sandbox: RunningSandbox) -> None:
    hostile = '<!DOCTYPE search [<!ENTITY a "b">]><search><email><is>&a;</is></email></search>'
    for data in ("{}", hostile, "<search>words</search>"):
        assert call(sandbox, "POST", "/customers/advanced_search_ids", data=data) == (400, None)


def test_numbers_and_truths_have_types_and_words_are_escaped(sandbox: RunningSandbox) -> None:
    with sandbox.store.transaction():
        known = sandbox.store.get("braintree", "customer", "82000001") or {}
        sandbox.store.put("braintree", "customer", "82000001", known | {"last-name": "Stone & <Sons>"})
    status, told = call(sandbox, "GET", "/customers/82000001")
    (card,) = told["customer"]["credit_cards"]
    assert (status, told["customer"]["last_name"], card["default"]) == (200, "Stone & <Sons>", True)
    assert [row["current_billing_cycle"] for row in card["subscriptions"]] == [1]


def test_an_address_is_searched_exactly_and_nothing_else_is_taken_for_it(sandbox: RunningSandbox) -> None:
    for asked, ids in (("ava.stone@example.com", ["82000001"]), ("ava.stone@example.co", [])):
        _, told = call(sandbox, "POST", "/customers/advanced_search_ids", {"search": {"email": {"is": asked}}})
        assert told["search_results"]["ids"] == ids
    assert call(sandbox, "POST", "/customers/advanced_search_ids", {"search": {"phone": {"is": "1"}}})[0] == 422


def test_what_was_made_at_another_time_is_not_found(sandbox: RunningSandbox) -> None:
    made = {"created_at": {"min": "2007-01-01T00:00:00Z", "max": "2008-01-01T00:00:00Z"}}
    _, told = call(sandbox, "POST", "/customers/advanced_search_ids", {"search": made})
    assert told["search_results"]["ids"] == []


NEW = {"id": "eng-1", "payment_method_token": "method5", "plan_id": "basic"}


@pytest.mark.parametrize(
    ("differs", "code"),
    [
        ({"id": "sub11"}, "81902"),
        ({"id": "no spaces"}, "81906"),
        ({"payment_method_token": "nobodys"}, "91903"),
        ({"plan_id": "gold"}, "91904"),
        ({"merchant_account_id": "euro"}, "91901"),
        ({"discounts": {"add": [{"inherited_from_id": "none"}]}}, "92013"),
    ],
)
def test_a_subscription_that_cannot_be(differs: dict[str, Any], code: str, sandbox: RunningSandbox) -> None:
    assert refusal(sandbox, "POST", "/subscriptions", **{**NEW, **differs})[0] == code
    assert sandbox.store.effects("braintree") == []


@pytest.mark.parametrize(
    ("number", "discount", "code"),
    [("sub31", "save2", "91911"), ("sub81", "save2", "81901"), ("sub21", "save2", "91920")],
)
def test_a_discount_that_cannot_be(number: str, discount: str, code: str, sandbox: RunningSandbox) -> None:
    wish = {"discounts": {"add": [{"inherited_from_id": discount}]}}
    assert refusal(sandbox, "PUT", f"/subscriptions/{number}", **wish)[0] == code
    assert sandbox.store.effects("braintree") == []


def test_a_declined_card_starts_nothing(sandbox: RunningSandbox) -> None:
    status, told = call(sandbox, "POST", "/subscriptions", {"subscription": NEW | {"payment_method_token": "method6"}})
    assert (status, told["api_error_response"]["transaction"]["status"]) == (422, "processor_declined")
    assert call(sandbox, "GET", "/subscriptions/eng-1") == (404, None)
