import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from connectors.base import Action
from connectors.failures import BadCredentials, Rejected
from connectors.forms import settings_form
from connectors.http import Api
from connectors.registry import connector
from connectors.runner import Outcome, Result, Work, follow_up
from connectors.vendors.google_play import GooglePlay, plans, products
from connectors.vendors.google_play.buying import Downgrade, Purchase, Upgrade
from connectors.vendors.google_play.managing import Cancel, Defer, RefundOrder, Revoke
from tests.connectors.contract import ActionContract, MemoryJournal, Player, Scenario
from tests.connectors.fake_vendor import NOTHING, Broken, Call, Form

PACKAGE = "com.example.streamly"
APP = f"/androidpublisher/v3/applications/{PACKAGE}"
TOKEN = "aaaa.AO-J1O_x/y"
QUOTED = "aaaa.AO-J1O_x%2Fy"
ORDER = "GPA.3345-1"
ACCOUNT = "06edbd0b39e3a1e7a6e3ad0b0b5d4d7c5d1a57c9b21b1c3d7a8c1e2f3a4b5c6d"


@cache
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def key_file() -> str:
    pem = key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    told = {
        "type": "service_account",
        "client_email": "engage@example.iam.gserviceaccount.com",
        "private_key_id": "key-1",
        "private_key": pem.decode(),
        "token_uri": "https://evil.example.net/token",
    }
    return json.dumps(told)


class Assertion(str):
    """An assertion that Google would believe."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        claims = jwt.decode(str(other), key().public_key(), ["RS256"], audience="https://oauth2.googleapis.com/token")
        return (
            jwt.get_unverified_header(str(other))["kid"] == "key-1"
            and claims["iss"] == "engage@example.iam.gserviceaccount.com"
            and claims["scope"] == "https://www.googleapis.com/auth/androidpublisher"
            and claims["exp"] - claims["iat"] == 3600
        )

    __hash__ = str.__hash__


GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GIVES = Call(
    "POST",
    "/token/token",
    {"access_token": "planted-token", "expires_in": 3599, "token_type": "Bearer"},
    body=Form({"grant_type": GRANT, "assertion": Assertion()}),
    token="planted-token",
    signed={},
)
SETTINGS = {"package_name": PACKAGE, "service_account": key_file()}
SIGNED = {"Authorization": "Bearer planted-token"}
PROBE = (GIVES, Call("GET", f"{APP}/subscriptions", {}, {"pageSize": "1"}))
COMMON: dict[str, Any] = {"connector": GooglePlay, "settings": SETTINGS, "signed": SIGNED, "probe": PROBE}
PURCHASE = f"{APP}/purchases/subscriptionsv2/tokens/{QUOTED}"


def in_days(days: float) -> str:
    return (datetime(2027, 1, 15, 12, tzinfo=UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def bought(state: str = "ACTIVE", *, renews: bool = True, acknowledged: bool = True, **more: Any) -> dict[str, Any]:
    item = {
        "productId": "premium",
        "expiryTime": in_days(0),
        "latestSuccessfulOrderId": ORDER,
        "autoRenewingPlan": {"autoRenewEnabled": renews},
        "offerDetails": {"basePlanId": "yearly", "offerId": "winback"},
    }
    return {
        "kind": "androidpublisher#subscriptionPurchaseV2",
        "subscriptionState": f"SUBSCRIPTION_STATE_{state}",
        "acknowledgementState": f"ACKNOWLEDGEMENT_STATE_{'ACKNOWLEDGED' if acknowledged else 'PENDING'}",
        "externalAccountIdentifiers": {"obfuscatedExternalAccountId": ACCOUNT},
        "etag": "etag-1",
        "lineItems": [item],
        **more,
    }


def shown(answer: Any) -> Call:
    return Call("GET", PURCHASE, answer)


def order(state: str) -> Call:
    return Call("GET", f"{APP}/orders/{ORDER}", {"orderId": ORDER, "state": state})


class ByAnEmptyObject(ActionContract):
    """Google's documented answer to these writes is empty: that one is believed, and what came of it is asked afterwards."""

    def test_an_answer_that_nobody_documented(
        self, player: Player, number: int, meaningless: Broken, acted: bool
    ) -> None:
        if self.scenario.calls[number].kind == "write" and meaningless.name in DOCUMENTED:
            player.vendor.expect(*self.scenario.calls[: number + 1], broken={number: meaningless})
            outcome, _ = player.play(self.scenario)
            assert (outcome.result, outcome.job) == (Result.PENDING, self.scenario.job)
            return
        super().test_an_answer_that_nobody_documented(player, number, meaningless, acted)

    def test_an_answer_of_wrong_types(self, player: Player, any_call: int) -> None:
        if self.scenario.calls[any_call].kind == "write":
            pytest.skip("nothing in it has a type")
        super().test_an_answer_of_wrong_types(player, any_call)


DOCUMENTED = {"null", "an empty object", "an empty body"}
BY_TOKEN = {"google_purchase_token": TOKEN}
CANCEL = {"kind": "USER_REQUESTED_STOP_RENEWALS"}


class TestCancel(ByAnEmptyObject):
    scenario = Scenario(
        action=Cancel,
        calls=(
            GIVES,
            shown(bought()),
            shown(bought()),
            Call("POST", f"{PURCHASE}:cancel", {}, body={"cancellationContext": {"cancellationType": CANCEL["kind"]}}),
        ),
        result=Result.PENDING,
        message="Google accepted it.",
        job={"name": TOKEN, "inputs": CANCEL},
        traits=BY_TOKEN,
        inputs=CANCEL,
        looks=2,
        looks_done=(GIVES, shown(bought("CANCELED", renews=False))),
        **COMMON,
    )

    @pytest.mark.parametrize(
        ("answer", "result", "message"),
        [
            (bought("CANCELED", renews=False), Result.DONE, "premium ends on 15 January 2027"),
            (bought("EXPIRED", renews=False), Result.DONE, "premium is over"),
            (bought(), Result.PENDING, "Google does not show it yet."),
        ],
    )
    def test_it_is_done_once_google_shows_it(self, player: Player, answer: Any, result: Result, message: str) -> None:
        outcome = asked(player, Cancel, self.scenario.job, GIVES, shown(answer))
        assert (outcome.result, outcome.message) == (result, message)

    def test_several_products_are_not_guessed_among(self, player: Player) -> None:
        several = bought()
        several["lineItems"] = [*several["lineItems"], {**several["lineItems"][0], "productId": "sports"}]
        player.vendor.expect(GIVES, shown(several))
        assert player.play(self.scenario)[0].result is Result.REJECTED

    def test_what_is_prepaid_ends_by_itself(self, player: Player) -> None:
        prepaid = bought()
        prepaid["lineItems"] = [{"productId": "premium", "expiryTime": in_days(0), "prepaidPlan": {}}]
        player.vendor.expect(GIVES, shown(prepaid), shown(prepaid))
        assert player.play(self.scenario)[0].result is Result.REJECTED


class TestRevoke(ByAnEmptyObject):
    scenario = Scenario(
        action=Revoke,
        calls=(
            GIVES,
            shown(bought()),
            shown(bought()),
            Call("POST", f"{PURCHASE}:revoke", {}, body={"revocationContext": {"fullRefund": {}}}),
        ),
        result=Result.PENDING,
        message="Google accepted it.",
        job={"name": TOKEN, "inputs": {"refund": "fullRefund"}},
        traits=BY_TOKEN,
        inputs={"refund": "fullRefund"},
        looks=2,
        looks_done=(GIVES, shown(bought("EXPIRED", renews=False)), order("REFUNDED")),
        **COMMON,
    )

    def test_what_ended_without_a_refund_is_not_called_revoked(self, player: Player) -> None:
        player.vendor.expect(GIVES, shown(bought("EXPIRED", renews=False)), order("PROCESSED"))
        outcome, _ = player.play(self.scenario)
        assert (outcome.result, outcome.message) == (
            Result.REJECTED,
            f"The subscription is over, and its order {ORDER} is processed.",
        )


class TestRefundOrder(ByAnEmptyObject):
    scenario = Scenario(
        action=RefundOrder,
        calls=(
            GIVES,
            order("PROCESSED"),
            order("PROCESSED"),
            Call("POST", f"{APP}/orders/{ORDER}:refund", NOTHING, {"revoke": "true"}),
        ),
        result=Result.PENDING,
        message="Google accepted it.",
        job={"name": ORDER, "inputs": {"revoke": True}},
        traits={"google_order_id": ORDER},
        inputs={"revoke": True},
        looks=2,
        looks_done=(GIVES, order("REFUNDED")),
        **COMMON,
    )

    def test_it_is_done_once_google_shows_it(self, player: Player) -> None:
        outcome = asked(player, RefundOrder, self.scenario.job, GIVES, order("REFUNDED"))
        assert (outcome.result, outcome.message) == (Result.DONE, f"Order {ORDER} is refunded")

    def test_what_was_never_paid_is_not_refunded(self, player: Player) -> None:
        player.vendor.expect(GIVES, order("CANCELED"), order("CANCELED"))
        assert player.play(self.scenario)[0].result is Result.REJECTED


def deferred(days: float) -> dict[str, Any]:
    return {"itemExpiryTimeDetails": [{"productId": "premium", "expiryTime": in_days(days)}]}


def defers(answer: Any) -> Call:
    wish = {"deferDuration": "604800s", "etag": "etag-1", "validateOnly": False}
    return Call("POST", f"{PURCHASE}:defer", answer, body={"deferralContext": wish})


class TestDefer(ActionContract):
    scenario = Scenario(
        action=Defer,
        calls=(GIVES, shown(bought()), defers(deferred(7))),
        result=Result.DONE,
        message="premium renews on 22 January 2027",
        traits=BY_TOKEN,
        inputs={"days": 7},
        **COMMON,
    )

    def test_a_renewal_that_did_not_move_is_not_done(self, player: Player) -> None:
        player.vendor.expect(GIVES, shown(bought()), defers(deferred(6.9)))
        assert player.play(self.scenario)[0].result is Result.UNCERTAIN

    @pytest.mark.parametrize("stands", [bought("CANCELED", renews=False), bought("ON_HOLD"), bought(renews=False)])
    def test_only_what_runs_and_renews_is_deferred(self, player: Player, stands: Any) -> None:
        player.vendor.expect(GIVES, shown(stands))
        assert player.play(self.scenario)[0].result is Result.REJECTED

    def test_another_change_at_the_same_time_leaves_it_to_a_person(self, player: Player) -> None:
        busy = Broken("409", 409, '{"error": {"code": 409, "message": "Concurrent update"}}')
        player.vendor.expect(GIVES, shown(bought()), defers(deferred(7)), broken={2: busy})
        outcome, _ = player.play(self.scenario)
        assert outcome.result is Result.UNCERTAIN
        assert "Concurrent update" in outcome.message

    @pytest.mark.parametrize("status", [403, 429])
    def test_a_quota_that_is_used_up_is_waited_for(self, player: Player, status: int) -> None:
        error = {"code": status, "message": "Quota", "errors": [{"reason": "quotaExceeded"}]}
        over = Broken("quota", status, json.dumps({"error": error}))
        player.vendor.expect(GIVES, shown(bought()), defers(deferred(7)), broken={2: over})
        outcome, _ = player.play(self.scenario)
        assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, False)


# --- what the app carries out -----------------------------------------------------------------------

ID = "ab5e7e4047ef85620b604181a81ffc9db83f2e46dec522bb76268500a00b49fb"


def handed(**differences: Any) -> dict[str, Any]:
    told = {
        "kind": "purchase",
        "store": "google",
        "operation": "purchase",
        "package_name": PACKAGE,
        "offer": {"product_id": "premium", "base_plan_id": "yearly", "offer_id": "winback", "offer_tag": None},
        "purchase": {
            "type": "Subs",
            "requestSubscription": {
                "google": {"skus": ["premium"], "obfuscatedAccountId": ID, "isOfferPersonalized": False}
            },
        },
        "replacement": None,
        "report": {"fields": ["purchaseToken", "productId"]},
    }
    return {**told, **differences}


CHOSEN = {"offer": "subs/premium/yearly/winback", "offer_tag": "", "personalized": False}
CLIENT: dict[str, Any] = {"calls": (), "result": Result.HANDED_OVER, **COMMON}


class TestPurchase(ActionContract):
    scenario = Scenario(
        action=Purchase,
        message="To be bought in the app: premium",
        traits={},
        inputs=CHOSEN,
        instruction=handed(),
        **CLIENT,
    )

    def test_another_execution_has_another_account(self, player: Player) -> None:
        journal = MemoryJournal()
        journal.tag = "execution-2"
        outcome, _ = player.play(self.scenario, journal)
        assert outcome.instruction is not None
        other = outcome.instruction["purchase"]["requestSubscription"]["google"]["obfuscatedAccountId"]
        assert other != ID
        assert len(other) == 64


class TestPurchaseOnce(ActionContract):
    scenario = Scenario(
        action=Purchase,
        message="To be bought in the app: coins_100",
        traits={},
        inputs={"offer": "inapp/coins_100", "offer_tag": "", "personalized": True},
        instruction=handed(
            offer={"product_id": "coins_100", "base_plan_id": None, "offer_id": None, "offer_tag": None},
            purchase={
                "type": "InApp",
                "requestPurchase": {
                    "google": {"skus": ["coins_100"], "obfuscatedAccountId": ID, "isOfferPersonalized": True}
                },
            },
        ),
        **CLIENT,
    )


def change(operation: str, mode: str, number: int) -> dict[str, Any]:
    google = {
        "skus": ["premium"],
        "obfuscatedAccountId": ID,
        "isOfferPersonalized": False,
        "purchaseToken": TOKEN,
        "subscriptionProductReplacementParams": {"oldProductId": "basic", "replacementMode": mode},
    }
    return handed(
        operation=operation,
        purchase={"type": "Subs", "requestSubscription": {"google": google}},
        replacement={"mode": mode, "billing_client_int": number},
    )


OLD = {"google_purchase_token": TOKEN, "google_product_id": "basic"}


class TestUpgrade(ActionContract):
    scenario = Scenario(
        action=Upgrade,
        message="To be bought in the app: premium",
        traits=OLD,
        inputs={**CHOSEN, "mode": "CHARGE_PRORATED_PRICE"},
        instruction=change("upgrade", "CHARGE_PRORATED_PRICE", 2),
        **CLIENT,
    )


class TestDowngrade(ActionContract):
    scenario = Scenario(
        action=Downgrade,
        message="To be bought in the app: premium",
        traits=OLD,
        inputs={**CHOSEN, "mode": "DEFERRED"},
        instruction=change("downgrade", "DEFERRED", 6),
        **CLIENT,
    )

    def test_without_traits_the_app_finds_the_old_purchase(self, player: Player) -> None:
        outcome, _ = player.play(self.scenario, traits={})
        assert outcome.instruction is not None
        google = outcome.instruction["purchase"]["requestSubscription"]["google"]
        assert set(google) == {"skus", "obfuscatedAccountId", "isOfferPersonalized"}
        assert outcome.instruction["replacement"] == {"mode": "DEFERRED", "billing_client_int": 6}


# --- what the app reports ---------------------------------------------------------------------------

JOB = {"type": "subs", "token": TOKEN, "product": "premium", "account": ACCOUNT}
ACKNOWLEDGE = Call("POST", f"{APP}/purchases/subscriptions/premium/tokens/{QUOTED}:acknowledge", NOTHING, body={})
LEARNED = {
    "google_purchase_token": TOKEN,
    "google_product_id": "premium",
    "google_base_plan_id": "yearly",
    "google_offer_id": "winback",
    "google_subscription_state": "active",
    "google_expiry_time": in_days(0),
    "google_auto_renew": True,
    "google_order_id": ORDER,
}


def asked(player: Player, action: type[Action], job: Any, *calls: Call, broken: Any = None) -> Outcome:
    """Ask once what became of a job."""
    player.point_at(GooglePlay, (key_file(), "planted-token"))
    player.vendor.expect(*calls, broken=broken)
    outcome = follow_up(Work(GooglePlay(), action(), SETTINGS, {}, {}), job, MemoryJournal())
    player.vendor.assert_played()
    return outcome


def test_a_report_is_what_google_is_asked_about() -> None:
    told = Purchase().claimed(handed(), {"purchaseToken": TOKEN, "productId": "premium"})
    assert told == {**JOB, "account": ID}
    once = TestPurchaseOnce.scenario.instruction
    assert once is not None
    assert Purchase().claimed(dict(once), {"purchaseToken": TOKEN})["type"] == "inapp"


@pytest.mark.parametrize(
    "detail",
    [
        {},
        {"purchaseToken": ""},
        {"purchaseToken": 7},
        {"purchaseToken": "a b"},
        {"purchaseToken": TOKEN, "productId": "x"},
    ],
)
def test_a_report_that_names_no_purchase_of_this_offer_is_refused(detail: dict[str, Any]) -> None:
    with pytest.raises(Rejected):
        Purchase().claimed(handed(), detail)


def test_a_purchase_is_acknowledged_and_told(player: Player) -> None:
    outcome = asked(player, Purchase, JOB, GIVES, shown(bought(acknowledged=False)), ACKNOWLEDGE, shown(bought()))
    assert (outcome.result, outcome.message) == (Result.DONE, "premium is bought.")
    assert outcome.confirmed is not None
    assert outcome.confirmed.traits == LEARNED
    assert outcome.confirmed.subject == f"purchase {TOKEN}"


def test_what_is_acknowledged_is_not_acknowledged_again(player: Player) -> None:
    assert asked(player, Purchase, JOB, GIVES, shown(bought())).result is Result.DONE


def test_an_acknowledgement_that_is_not_shown_is_looked_for_again(player: Player) -> None:
    unseen = shown(bought(acknowledged=False))
    assert asked(player, Purchase, JOB, GIVES, unseen, ACKNOWLEDGE, unseen).result is Result.PENDING
    lost = asked(player, Purchase, JOB, GIVES, unseen, ACKNOWLEDGE, broken={2: Broken("lost", then="reset")})
    assert (lost.result, lost.job) == (Result.PENDING, JOB)


def spoilt(**differences: Any) -> dict[str, Any]:
    return {**bought(), **differences}


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (bought("PENDING", acknowledged=False), Result.PENDING),
        (bought("IN_GRACE_PERIOD"), Result.DONE),
        (bought("CANCELED", renews=False), Result.DONE),
        (bought("EXPIRED"), Result.REJECTED),
        (bought("ON_HOLD"), Result.REJECTED),
        (bought("PENDING_PURCHASE_CANCELED"), Result.REJECTED),
        (spoilt(externalAccountIdentifiers={"obfuscatedExternalAccountId": "somebody else"}), Result.REJECTED),
        (spoilt(externalAccountIdentifiers=None), Result.REJECTED),
        (spoilt(lineItems=[{"productId": "basic", "expiryTime": in_days(0)}]), Result.REJECTED),
        (spoilt(acknowledgementState="ACKNOWLEDGEMENT_STATE_UNSPECIFIED"), Result.PENDING),
        ({}, Result.REJECTED),
        (None, Result.REJECTED),
    ],
)
def test_only_what_google_shows_is_done(player: Player, answer: Any, result: Result) -> None:
    assert asked(player, Purchase, JOB, GIVES, shown(answer)).result is result


def test_a_change_at_the_next_renewal_is_done_and_says_when(player: Player) -> None:
    later = {**bought()["lineItems"][0], "productId": "basic", "deferredItemReplacement": {"productId": "premium"}}
    outcome = asked(player, Downgrade, JOB, GIVES, shown(spoilt(lineItems=[later])))
    assert (outcome.result, outcome.message) == (Result.DONE, "premium takes effect on 15 January 2027.")


ONCE = {**JOB, "type": "inapp", "product": "coins_100"}


def once(state: str = "PURCHASED", *, acknowledged: bool = True, account: str = ACCOUNT) -> Call:
    answer = {
        "purchaseStateContext": {"purchaseState": state},
        "productLineItem": [{"productId": "coins_100"}],
        "orderId": ORDER,
        "acknowledgementState": f"ACKNOWLEDGEMENT_STATE_{'ACKNOWLEDGED' if acknowledged else 'PENDING'}",
        "obfuscatedExternalAccountId": account,
    }
    return Call("GET", f"{APP}/purchases/productsv2/tokens/{QUOTED}", answer)


def test_a_one_time_product_is_acknowledged(player: Player) -> None:
    path = f"{APP}/purchases/products/coins_100/tokens/{QUOTED}:acknowledge"
    told = Call("POST", path, NOTHING, body={})
    outcome = asked(player, Purchase, ONCE, GIVES, once(acknowledged=False), told, once())
    assert (outcome.result, outcome.message) == (Result.DONE, "coins_100 is bought.")
    assert outcome.confirmed is not None
    assert outcome.confirmed.traits == {"google_order_id": ORDER}


@pytest.mark.parametrize(
    ("call", "result"),
    [
        (once("PENDING", acknowledged=False), Result.PENDING),
        (once("CANCELLED"), Result.REJECTED),
        (once(account="somebody else"), Result.REJECTED),
    ],
)
def test_only_a_product_that_google_shows_is_done(player: Player, call: Call, result: Result) -> None:
    assert asked(player, Purchase, ONCE, GIVES, call).result is result


# --- catalogues and settings ------------------------------------------------------------------------


def listed(path: str, rows: Any, **query: str) -> Call:
    return Call("GET", f"{APP}/{path}", rows, {"pageSize": "1000", **query})


def test_what_is_for_sale_is_offered(player: Player) -> None:
    player.point_at(GooglePlay, (key_file(),))
    plan = {"basePlanId": "yearly", "state": "ACTIVE"}
    titled = {"productId": "premium", "listings": [{"title": "Premium"}], "basePlans": [plan, {"state": "DRAFT"}]}
    bare = {"productId": "basic", "basePlans": [{"basePlanId": "monthly", "state": "ACTIVE"}]}
    offer = {"productId": "premium", "basePlanId": "yearly", "offerId": "winback", "state": "ACTIVE"}
    coins = {"productId": "coins_100", "purchaseOptions": [{"state": "ACTIVE"}]}
    of_plans = (
        listed("subscriptions", {"subscriptions": [titled], "nextPageToken": "more"}),
        listed("subscriptions", {"subscriptions": [bare]}, pageToken="more"),
        listed("subscriptions/-/basePlans/-/offers", {"subscriptionOffers": [offer, {**offer, "state": "INACTIVE"}]}),
    )
    player.vendor.expect(GIVES, *of_plans, *of_plans)
    player.vendor.expect(listed("oneTimeProducts", {"oneTimeProducts": [coins, {"productId": "old"}]}))
    with Api(GooglePlay(), SETTINGS, MemoryJournal()) as api:
        found = [(row.key, row.label) for row in plans(api)]
        everything = [row.key for row in products(api)]
    player.vendor.assert_played()
    assert found == [
        ("subs/premium/yearly", "Premium (premium): yearly"),
        ("subs/basic/monthly", "basic: monthly"),
        ("subs/premium/yearly/winback", "premium: yearly, offer winback"),
    ]
    assert everything == [*(name for name, _ in found), "inapp/coins_100"]


@pytest.mark.parametrize("wrong", ["", "{}", "[]", "7", '{"type": "authorized_user", "private_key": "x"}', "no JSON"])
def test_a_key_file_is_one(wrong: str) -> None:
    assert not settings_form(None, connector("google_play"), {**SETTINGS, "service_account": wrong}).is_valid()
    assert settings_form(None, connector("google_play"), SETTINGS).is_valid()


def test_a_key_that_cannot_sign_is_refused_here() -> None:
    broken = json.dumps({**json.loads(key_file()), "private_key": "-----BEGIN PRIVATE KEY-----\nx"})
    with pytest.raises(BadCredentials) as raised:
        GooglePlay().auth({**SETTINGS, "service_account": broken}).assertion(0.0)
    assert "BEGIN" not in str(raised.value)


def test_the_private_key_is_a_secret_of_its_own(player: Player) -> None:
    scenario = replace(TestDefer.scenario)
    player.vendor.expect(*scenario.calls)
    _, journal = player.play(scenario)
    private = json.loads(key_file())["private_key"]
    assert not any(private in str(exchange.as_json()) for exchange in journal.exchanges)
