"""Braintree's actions: what the official SDK sends through the door, and how every one of the answers is read."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from braintree import BraintreeGateway, Configuration, Environment
from braintree.webhook_testing_gateway import WebhookTestingGateway
from pytest_django.fixtures import Settings

from connectors.http import Api
from connectors.inbound import Request
from connectors.journal import OnlyLooks
from connectors.runner import Result
from connectors.vendors.braintree import Braintree, discounts, plans
from connectors.vendors.braintree.actions import AddDiscount, SubscribePlan
from tests.connectors.contract import ActionContract, Player, Scenario
from tests.connectors.fake_vendor import Broken, Call, Raw, fake_vendor
from tests.connectors.inbound_contract import InboundContract, InboundScenario, Sent

PUBLIC, PRIVATE = "public-key-of-the-tests", "planted-private-key-0123456789ab"
OTHER = "another-private-key-9876543210ab"
SETTINGS = {
    "environment": "sandbox",
    "merchant_id": "merchant1",
    "merchant_account_id": "",
    "public_key": PUBLIC,
    "private_key": PRIVATE,
}
SIGNED = {
    "Authorization": "Basic " + base64.b64encode(f"{PUBLIC}:{PRIVATE}".encode()).decode(),
    "Accept": "application/xml",
    "Content-Type": "application/xml",
    "X-ApiVersion": "6",
}
CHOSEN = "eng-" + hashlib.sha256(b"execution-1").hexdigest()[:32]
CUSTOMER, NUMBER = "cust1", "sub1"
BY_ID = {"braintree_id": CUSTOMER}


def xml(text: str) -> Raw:
    return Raw("application/xml", text)


def subscription(number: str = NUMBER, plan: str = "basic", status: str = "Active", *with_discounts: str) -> str:
    """A subscription as Braintree shows it."""
    held = "".join(f"<discount><id>{one}</id><amount>1.00</amount></discount>" for one in with_discounts)
    return (
        f"<subscription><id>{number}</id><plan-id>{plan}</plan-id><status>{status}</status><price>9.99</price>"
        f'<next-billing-date type="date">2027-01-15</next-billing-date><payment-method-token>tok1</payment-method-token>'
        f'<add-ons type="array"/><discounts type="array">{held}</discounts><transactions type="array"/></subscription>'
    )


def customer(*subscriptions: str, default: str = "true", email: str = "ann@example.com") -> Raw:
    """A customer as Braintree shows one, with a card and what is paid by it."""
    return xml(
        f'<?xml version="1.0" encoding="UTF-8"?><customer><id>{CUSTOMER}</id><email>{email}</email>'
        '<credit-cards type="array"><credit-card><token>tok1</token><bin>411111</bin><last-4>1111</last-4>'
        f'<card-type>Visa</card-type><default type="boolean">{default}</default>'
        f'<subscriptions type="array">{"".join(subscriptions)}</subscriptions></credit-card></credit-cards></customer>'
    )


def found(*subscriptions: str, **options: Any) -> Call:
    return Call("GET", f"/merchants/merchant1/customers/{CUSTOMER}", customer(*subscriptions, **options))


def ids(*numbers: str) -> Call:
    items = "".join(f"<item>{number}</item>" for number in numbers)
    answer = f'<search-results><page-size type="integer">50</page-size><ids type="array">{items}</ids></search-results>'
    body = xml("<search><email><is>ann@example.com</is></email></search>")
    return Call("POST", "/merchants/merchant1/customers/advanced_search_ids", xml(answer), body=body, reads=True)


def subscribed(extra: str = "", answer: str = "") -> Call:
    wish = f"<id>{CHOSEN}</id><payment_method_token>tok1</payment_method_token><plan_id>premium</plan_id>{extra}"
    body = xml(f"<subscription>{wish}</subscription>")
    answer = answer or subscription(CHOSEN, "premium")
    return Call("POST", "/merchants/merchant1/subscriptions", xml(answer), body=body, status=201)


def discounted(*shown: str) -> Call:
    item = "<item><inherited_from_id>d20</inherited_from_id></item>"
    body = xml(f'<subscription><discounts><add type="array">{item}</add></discounts></subscription>')
    shown = shown or ("d20",)
    answer = xml(subscription(NUMBER, "basic", "Active", *shown))
    return Call("PUT", f"/merchants/merchant1/subscriptions/{NUMBER}", answer, body=body)


def listed(kind: str, *rows: str) -> Call:
    return Call("GET", f"/merchants/merchant1/{kind}/", xml(f'<{kind} type="array">{"".join(rows)}</{kind}>'))


PLAN = (
    "<plan><id>basic</id><name>Basic</name><price>9.99</price><currency-iso-code>USD</currency-iso-code>"
    '<add-ons type="array"/><discounts type="array"/></plan>'
)
SHOWN: dict[str, Any] = {"signed": SIGNED, "probe": (listed("plans", PLAN),)}
STARTED = f"Subscription {CHOSEN} on plan premium is Active"


class TestSubscribePlan(ActionContract):
    scenario = Scenario(
        Braintree,
        SubscribePlan,
        (found(), found(), subscribed()),
        Result.DONE,
        f"{STARTED}; next billing on 2027-01-15",
        settings=SETTINGS,
        traits=BY_ID,
        inputs={"plan": "premium"},
        looks=1,
        looks_done=(found(subscription(CHOSEN, "premium")),),
        **SHOWN,
    )


class TestSubscribePlanByEmail(ActionContract):
    scenario = Scenario(
        Braintree,
        SubscribePlan,
        (
            ids(CUSTOMER),
            found(),
            ids(CUSTOMER),
            found(),
            subscribed(
                "<merchant_account_id>euro</merchant_account_id>"
                '<discounts><add type="array"><item><inherited_from_id>d20</inherited_from_id></item></add></discounts>'
            ),
        ),
        Result.DONE,
        f"{STARTED}; next billing on 2027-01-15",
        settings={**SETTINGS, "merchant_account_id": "euro"},
        traits={"email_address": "ann@example.com"},
        inputs={"plan": "premium", "discount": "d20"},
        looks=2,
        looks_done=(ids(CUSTOMER), found(subscription(CHOSEN, "premium"))),
        **SHOWN,
    )


class TestAddDiscount(ActionContract):
    scenario = Scenario(
        Braintree,
        AddDiscount,
        (found(subscription()), found(subscription()), discounted()),
        Result.DONE,
        f"Discount d20 is on subscription {NUMBER}",
        settings=SETTINGS,
        traits=BY_ID,
        inputs={"discount": "d20"},
        looks=1,
        looks_done=(found(subscription(NUMBER, "basic", "Active", "d20")),),
        **SHOWN,
    )


def one(*discounted_by: str) -> Call:
    answer = xml(subscription(NUMBER, "basic", "Active", *discounted_by))
    return Call("GET", f"/merchants/merchant1/subscriptions/{NUMBER}", answer)


class TestAddDiscountToAKnownSubscription(ActionContract):
    scenario = Scenario(
        Braintree,
        AddDiscount,
        (
            one("d5"),
            one("d5"),
            discounted(
                '<amount>1.50</amount><number_of_billing_cycles type="integer">3</number_of_billing_cycles>',
                "d5",
                "d20",
            ),
        ),
        Result.DONE,
        f"Discount d20 is on subscription {NUMBER}",
        settings=SETTINGS,
        traits={"braintree_subscription_id": NUMBER},
        inputs={"discount": "d20", "only_plan": "basic"},
        looks=1,
        looks_done=(one("d5", "d20"),),
        **SHOWN,
    )


# --- what is meant ----------------------------------------------------------------------------------------------------


def rejected(player: Player, scenario: Scenario, *calls: Call, **differences: Any) -> str:
    player.vendor.expect(*calls)
    outcome, _ = player.play(scenario, **differences)
    player.vendor.assert_played()
    assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False), outcome
    return outcome.message


@pytest.mark.parametrize(("numbers", "said"), [((), "no matching customer"), (("cust1", "cust2"), "several customers")])
def test_an_address_that_is_not_one_customers(player: Player, numbers: tuple[str, ...], said: str) -> None:
    message = rejected(player, TestSubscribePlanByEmail.scenario, ids(*numbers))
    assert said in message


def test_a_customer_without_a_default_payment_method(player: Player) -> None:
    without = found(default="false")
    assert "no default payment method" in rejected(player, TestSubscribePlan.scenario, without, without)


@pytest.mark.parametrize("status", ["Active", "Past Due", "Pending"])
def test_one_that_runs_on_that_plan_is_enough(player: Player, status: str) -> None:
    player.vendor.expect(found(subscription("other", "premium", status)))
    outcome, _ = player.play(TestSubscribePlan.scenario)
    assert (outcome.result, outcome.message) == (Result.DONE, f"Subscription other on plan premium is {status}")


@pytest.mark.parametrize("status", ["Canceled", "Expired"])
def test_one_that_is_over_is_not(player: Player, status: str) -> None:
    over = found(subscription("other", "premium", status))
    player.vendor.expect(over, over, subscribed())
    outcome, _ = player.play(TestSubscribePlan.scenario)
    player.vendor.assert_played()
    assert outcome.result is Result.DONE


def test_several_subscriptions_and_nothing_that_says_which(player: Player) -> None:
    message = rejected(player, TestAddDiscount.scenario, found(subscription(), subscription("sub2", "premium")))
    assert "sub1 on plan basic" in message
    assert "sub2 on plan premium" in message


def test_the_plan_says_which(player: Player) -> None:
    several = found(subscription(), subscription("sub2", "premium"), subscription("sub3", "basic", "Canceled"))
    player.vendor.expect(several, several, discounted())
    outcome, _ = player.play(TestAddDiscount.scenario, inputs={"discount": "d20", "only_plan": "basic"})
    player.vendor.assert_played()
    assert outcome.result is Result.DONE


def test_no_active_one(player: Player) -> None:
    message = rejected(player, TestAddDiscount.scenario, found(subscription(status="Past Due")))
    assert "no matching active subscription" in message
    assert "sub1 on plan basic is Past Due" in message


def test_an_answer_that_does_not_show_the_discount_proves_nothing(player: Player) -> None:
    player.vendor.expect(found(subscription()), found(subscription()), discounted("d5"), found(subscription()))
    outcome, _ = player.play(TestAddDiscount.scenario)
    player.vendor.assert_played()
    assert outcome.result is Result.UNCERTAIN


def test_braintrees_own_words(player: Player) -> None:
    refusal = (
        "<api-error-response><errors><errors type='array'/><subscription><errors type='array'><error><code>91904</code>"
        "<attribute>plan_id</attribute><message>Plan ID is invalid.</message></error></errors></subscription></errors>"
        "<message>Plan ID is invalid.</message></api-error-response>"
    )
    broken = {2: Broken("422", 422, refusal, "application/xml")}
    player.vendor.expect(*TestSubscribePlan.scenario.calls, broken=broken)
    outcome, journal = player.play(TestSubscribePlan.scenario)
    assert (outcome.result, outcome.message) == (Result.REJECTED, "Braintree refused: Plan ID is invalid.")
    assert journal.refusals == ["write"]


def test_entities_are_not_expanded(player: Player) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><customer><id>&c;</id></customer>'
    player.vendor.expect(found(), broken={0: Broken("a bomb", 200, bomb, "application/xml")})
    outcome, _ = player.play(TestSubscribePlan.scenario)
    assert (outcome.result, outcome.reason) == (Result.WAITING, "undocumented")


# --- the account ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ("live", "https://api.braintreegateway.com:443"),
        ("sandbox", "https://api.sandbox.braintreegateway.com:443"),
    ],
)
def test_the_hosts(environment: str, url: str) -> None:
    assert Braintree().base_url({**SETTINGS, "environment": environment}) == url


def test_the_catalogues(settings: Settings) -> None:
    discount = "<discount><id>d20</id><name>20 off</name><amount>2.00</amount></discount>"
    with fake_vendor() as vendor:
        settings.ENGAGE_VENDOR_URLS = {"braintree": vendor.url}
        vendor.expect(listed("plans", PLAN), listed("discounts", discount))
        with Api(Braintree(), SETTINGS, OnlyLooks()) as api:
            assert [(row.key, row.label, row.data) for row in plans(api)] == [
                ("basic", "Basic (basic)", {"price": "9.99", "currency": "USD"})
            ]
            assert [(row.key, row.label) for row in discounts(api)] == [("d20", "20 off (d20)")]
        vendor.assert_played()


# --- webhooks ---------------------------------------------------------------------------------------------------------


def notification(kind: str = "subscription_went_past_due") -> bytes:
    """A notification as Braintree's own test kit makes one."""
    told = (
        f'<notification><timestamp type="datetime">2026-11-21T08:00:00Z</timestamp><kind>{kind}</kind>'
        f"<subject>{subscription(status='Past Due')}</subject></notification>"
    )
    return told.encode()


def sign(content: bytes, secret: str, _: datetime) -> Sent:
    payload = base64.encodebytes(content).decode()
    digest = hmac.new(hashlib.sha1(secret.encode()).digest(), payload.encode(), hashlib.sha1).hexdigest()  # noqa: S324
    body = urlencode({"bt_signature": f"stranger|0000&{PUBLIC}|{digest}", "bt_payload": payload})
    return Sent(body.encode(), content_type="application/x-www-form-urlencoded")


METHOD = Call(
    "GET",
    "/merchants/merchant1/payment_methods/any/tok1",
    xml(
        f"<credit-card><token>tok1</token><customer-id>{CUSTOMER}</customer-id><bin>411111</bin><last-4>1111</last-4>"
        '<card-type>Visa</card-type><default type="boolean">true</default><subscriptions type="array"/></credit-card>'
    ),
)


class TestWebhooks(InboundContract):
    scenario = InboundScenario(
        Braintree,
        tells=notification(),
        sign=sign,
        known=BY_ID,
        learned={
            **BY_ID,
            "braintree_subscription_id": NUMBER,
            "braintree_plan_id": "basic",
            "braintree_status": "Active",
            "braintree_next_billing_date": "2027-01-15",
        },
        calls=(one(), METHOD, found(subscription())),
        settings={name: value for name, value in SETTINGS.items() if name != "private_key"},
        type="subscription_went_past_due",
        unread=notification("disbursement"),
        dated=False,
        rotates=False,
        secret=PRIVATE,
        other=OTHER,
    )


def test_what_a_subscription_does_not_have_is_taken_away(settings: Settings) -> None:
    dated = '<next-billing-date type="date">2027-01-15</next-billing-date>'
    over = subscription(status="Canceled").replace(dated, '<next-billing-date nil="true"/>')
    with fake_vendor() as vendor:
        settings.ENGAGE_VENDOR_URLS = {"braintree": vendor.url}
        vendor.expect(one(), METHOD, found(over))
        [message] = Braintree.inbound.messages(
            Request("POST", sign(notification(), PRIVATE, datetime.now(UTC)).body), SETTINGS
        )
        with Api(Braintree(), SETTINGS, OnlyLooks()) as api:
            [learned] = Braintree.inbound.read(message, api)
        vendor.assert_played()
    assert (learned.traits["braintree_status"], learned.traits["braintree_next_billing_date"]) == ("Canceled", None)


def gateway() -> BraintreeGateway:
    return BraintreeGateway(Configuration(Environment.Sandbox, "merchant1", PUBLIC, PRIVATE))


@pytest.mark.parametrize("kind", sorted(Braintree.inbound.types))
def test_the_sdks_own_samples_are_believed_and_read(kind: str) -> None:
    sample: Any = WebhookTestingGateway(gateway()).sample_notification(kind, "sub7")
    request = Request("POST", urlencode(sample).encode())
    Braintree.inbound.verify(request, SETTINGS)
    [message] = Braintree.inbound.messages(request, SETTINGS)
    assert (message.type, message.payload) == (kind, {"subscription": "sub7"})
    parsed = gateway().webhook_notification.parse(sample["bt_signature"], sample["bt_payload"])
    assert (parsed.kind, parsed.subscription.id) == (kind, "sub7")


def test_the_challenge_is_answered_as_the_sdk_answers_it() -> None:
    asked = "0123456789abcdef0123"
    answer = Braintree.inbound.challenge(Request("GET", query=(("bt_challenge", asked),)), SETTINGS)
    assert answer == gateway().webhook_notification.verify(asked)
    for other in ("", "xyz", "0123"):
        assert Braintree.inbound.challenge(Request("GET", query=(("bt_challenge", other),)), SETTINGS) is None
