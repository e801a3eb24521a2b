import base64
import hashlib
import hmac
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from connectors import published
from connectors.base import Action
from connectors.failures import BadCredentials, Rejected
from connectors.forms import settings_form
from connectors.http import Api
from connectors.registry import connector
from connectors.runner import Outcome, Result, Work, follow_up, probe
from connectors.vendors.google_play import GooglePlay, plans, products
from connectors.vendors.google_play.buying import Downgrade, Purchase, Upgrade
from connectors.vendors.google_play.managing import Cancel, Defer, RefundOrder, Revoke
from connectors.vendors.google_play.pushing import Push
from sync.models import MessageState
from tests.connectors.contract import ActionContract, MemoryJournal, Player, Scenario, played
from tests.connectors.fake_vendor import NOTHING, Broken, Call, Form
from tests.connectors.inbound_contract import House, InboundContract, InboundScenario, Sent

PACKAGE = "com.example.streamly"
APP = f"/androidpublisher/v3/applications/{PACKAGE}"
TOKEN = "aaaa.AO-J1O_x/y"
QUOTED = "aaaa.AO-J1O_x%2Fy"
ORDER = "GPA.3345-1"
ACCOUNT = MemoryJournal().person


@cache
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def key_file(**differences: str) -> str:
    pem = key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    told = {
        "type": "service_account",
        "client_email": "engage@example.iam.gserviceaccount.com",
        "private_key_id": "key-1",
        "private_key": pem.decode(),
        "token_uri": "https://evil.example.net/token",
        **differences,
    }
    return json.dumps(told)


class Assertion(str):
    """An assertion that Google would believe."""

    __slots__ = ()
    account = "engage@example.iam.gserviceaccount.com"
    scope = "https://www.googleapis.com/auth/androidpublisher"

    def __eq__(self, other: object) -> bool:
        claims = jwt.decode(str(other), key().public_key(), ["RS256"], audience="https://oauth2.googleapis.com/token")
        return (
            jwt.get_unverified_header(str(other))["kid"] == "key-1"
            and claims["iss"] == self.account
            and claims["scope"] == self.scope
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
    return (datetime(2127, 1, 15, 12, tzinfo=UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


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
            (bought("CANCELED", renews=False), Result.DONE, "premium ends on 15 January 2127"),
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
        over = shown(bought("EXPIRED", renews=False))
        player.vendor.expect(GIVES, over, order("PROCESSED"), over)
        outcome, _ = player.play(self.scenario)
        assert (outcome.result, outcome.message) == (
            Result.REJECTED,
            "The subscription is over, and its order is not refunded.",
        )

    def test_a_refund_that_google_does_not_show_yet_is_asked_about_again(self, player: Player) -> None:
        over = shown(bought("EXPIRED", renews=False))
        for stands, result in (("PROCESSED", Result.PENDING), ("REFUNDED", Result.DONE)):
            assert asked(player, Revoke, self.scenario.job, GIVES, over, order(stands)).result is result


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
        message="premium renews on 22 January 2127",
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


def offer(**differences: Any) -> dict[str, Any]:
    nothing = {"product_id": None, "base_plan_id": None, "offer_id": None, "offer_tag": None, "consumable": False}
    return {**nothing, **differences}


def handed(**differences: Any) -> dict[str, Any]:
    told = {
        "kind": "purchase",
        "store": "google",
        "operation": "purchase",
        "package_name": PACKAGE,
        "offer": offer(product_id="premium", base_plan_id="yearly", offer_id="winback"),
        "purchase": {
            "type": "Subs",
            "requestSubscription": {
                "google": {"skus": ["premium"], "obfuscatedAccountId": ACCOUNT, "isOfferPersonalized": False}
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

    def test_another_execution_of_the_same_person_has_the_same_account(self, player: Player) -> None:
        journal = MemoryJournal()
        journal.tag = "execution-2"
        outcome, _ = player.play(self.scenario, journal)
        assert outcome.instruction == handed()

    def test_a_subscription_is_not_used_up(self, player: Player) -> None:
        outcome, _ = player.play(self.scenario, inputs={**CHOSEN, "consumable": True})
        assert outcome.result is Result.REJECTED


class TestPurchaseOnce(ActionContract):
    scenario = Scenario(
        action=Purchase,
        message="To be bought in the app: coins_100",
        traits={},
        inputs={"offer": "inapp/coins_100", "offer_tag": "", "personalized": True, "consumable": True},
        instruction=handed(
            offer=offer(product_id="coins_100", consumable=True),
            purchase={
                "type": "InApp",
                "requestPurchase": {
                    "google": {"skus": ["coins_100"], "obfuscatedAccountId": ACCOUNT, "isOfferPersonalized": True}
                },
            },
        ),
        **CLIENT,
    )


def change(operation: str, mode: str, number: int) -> dict[str, Any]:
    google = {
        "skus": ["premium"],
        "obfuscatedAccountId": "theirs since before Engage",
        "obfuscatedProfileId": "a profile",
        "isOfferPersonalized": False,
        "purchaseToken": TOKEN,
        "subscriptionProductReplacementParams": {"oldProductId": "basic", "replacementMode": mode},
    }
    return handed(
        operation=operation,
        purchase={"type": "Subs", "requestSubscription": {"google": google}},
        replacement={"mode": mode, "billing_client_int": number},
    )


def old(state: str = "ACTIVE", **differences: Any) -> Call:
    """The present subscription, which the app has sold before there was Engage."""
    identifiers = {
        "obfuscatedExternalAccountId": "theirs since before Engage",
        "obfuscatedExternalProfileId": "a profile",
    }
    item = {**bought()["lineItems"][0], "productId": "basic"}
    return shown(bought(state, **{"externalAccountIdentifiers": identifiers, "lineItems": [item], **differences}))


CHANGES: dict[str, Any] = {**CLIENT, "calls": (GIVES, old()), "traits": BY_TOKEN}


class TestUpgrade(ActionContract):
    scenario = Scenario(
        action=Upgrade,
        message="To be bought in the app: premium",
        inputs={**CHOSEN, "mode": "CHARGE_PRORATED_PRICE"},
        instruction=change("upgrade", "CHARGE_PRORATED_PRICE", 2),
        **CHANGES,
    )


class TestDowngrade(ActionContract):
    scenario = Scenario(
        action=Downgrade,
        message="To be bought in the app: premium",
        inputs={**CHOSEN, "mode": "DEFERRED"},
        instruction=change("downgrade", "DEFERRED", 6),
        **CHANGES,
    )

    @pytest.mark.parametrize("stands", ["EXPIRED", "ON_HOLD", "PAUSED", "PENDING"])
    def test_only_what_runs_is_changed(self, player: Player, stands: str) -> None:
        player.vendor.expect(GIVES, old(stands))
        assert player.play(self.scenario)[0].result is Result.REJECTED

    def test_a_purchase_without_an_account_is_changed_without_one(self, player: Player) -> None:
        player.vendor.expect(GIVES, old(externalAccountIdentifiers=None))
        outcome, _ = player.play(self.scenario)
        assert outcome.instruction is not None
        google = outcome.instruction["purchase"]["requestSubscription"]["google"]
        assert set(google) == {
            "skus",
            "isOfferPersonalized",
            "purchaseToken",
            "subscriptionProductReplacementParams",
        }

    def test_without_traits_the_app_finds_the_old_purchase(self, player: Player) -> None:
        outcome, _ = player.play(self.scenario, traits={})
        assert outcome.instruction is not None
        google = outcome.instruction["purchase"]["requestSubscription"]["google"]
        assert google == {"skus": ["premium"], "obfuscatedAccountId": ACCOUNT, "isOfferPersonalized": False}
        assert outcome.instruction["replacement"] == {"mode": "DEFERRED", "billing_client_int": 6}


# --- what the app reports ---------------------------------------------------------------------------

JOB = {
    "type": "subs",
    "token": TOKEN,
    "product": "premium",
    "plan": "yearly",
    "account": ACCOUNT,
    "replaces": None,
    "consumable": False,
}
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
    assert told == JOB
    once = TestPurchaseOnce.scenario.instruction
    assert once is not None
    assert Purchase().claimed(dict(once), {"purchaseToken": TOKEN}) == {**ONCE, "consumable": True}
    changed = TestUpgrade.scenario.instruction
    assert changed is not None
    assert Upgrade().claimed(dict(changed), {"purchaseToken": "new"})["replaces"] == TOKEN


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
    assert (outcome.confirmed.subject, outcome.confirmed.receipt) == (f"purchase {TOKEN}", TOKEN)


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
        (spoilt(lineItems=[{**bought()["lineItems"][0], "offerDetails": {"basePlanId": "monthly"}}]), Result.REJECTED),
        (spoilt(acknowledgementState="ACKNOWLEDGEMENT_STATE_UNSPECIFIED"), Result.PENDING),
        ({}, Result.REJECTED),
        (None, Result.REJECTED),
    ],
)
def test_only_what_google_shows_is_done(player: Player, answer: Any, result: Result) -> None:
    assert asked(player, Purchase, JOB, GIVES, shown(answer)).result is result


@pytest.mark.parametrize(
    ("status", "result"),
    [(400, Result.REJECTED), (404, Result.REJECTED), (410, Result.REJECTED), (403, Result.PENDING)],
)
def test_a_purchase_that_google_does_not_have_is_none(player: Player, status: int, result: Result) -> None:
    refused = Broken("no", status, '{"error": {"message": "No."}}')
    assert asked(player, Purchase, JOB, GIVES, shown(bought()), broken={1: refused}).result is result


def test_a_refused_acknowledgement_is_no_refusal_of_the_purchase(player: Player) -> None:
    unseen, refused = shown(bought(acknowledged=False)), Broken("no", 400, '{"error": {"message": "No."}}')
    outcome = asked(player, Purchase, JOB, GIVES, unseen, ACKNOWLEDGE, broken={2: refused})
    assert (outcome.result, outcome.job) == (Result.PENDING, JOB)


def test_a_change_at_the_next_renewal_is_done_and_says_when(player: Player) -> None:
    later = {**bought()["lineItems"][0], "productId": "basic", "deferredItemReplacement": {"productId": "premium"}}
    not_yet = {"productId": "premium", "offerDetails": {"basePlanId": "yearly"}}
    job = {**JOB, "account": None, "replaces": TOKEN}
    outcome = asked(player, Downgrade, job, GIVES, shown(spoilt(lineItems=[not_yet, later])))
    assert (outcome.result, outcome.message) == (Result.DONE, "premium takes effect on 15 January 2127.")
    assert outcome.confirmed is not None
    assert (outcome.confirmed.traits["google_product_id"], outcome.confirmed.receipt) == ("basic", "")


@pytest.mark.parametrize(
    ("linked", "result"), [("old", Result.DONE), ("another", Result.REJECTED), (None, Result.REJECTED)]
)
def test_a_change_replaces_the_purchase_that_was_to_be_replaced(
    player: Player, linked: str | None, result: Result
) -> None:
    job = {**JOB, "account": None, "replaces": "old"}
    assert asked(player, Upgrade, job, GIVES, shown(spoilt(linkedPurchaseToken=linked))).result is result


ONCE = {**JOB, "type": "inapp", "product": "coins_100", "plan": None}


def once(state: str = "PURCHASED", *, acknowledged: bool = True, account: str = ACCOUNT, used_up: bool = False) -> Call:
    consumed = f"CONSUMPTION_STATE_{'CONSUMED' if used_up else 'YET_TO_BE_CONSUMED'}"
    answer = {
        "purchaseStateContext": {"purchaseState": state},
        "productLineItem": [{"productId": "coins_100", "productOfferDetails": {"consumptionState": consumed}}],
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


CONSUME = Call("POST", f"{APP}/purchases/products/coins_100/tokens/{QUOTED}:consume", NOTHING)
USABLE = {**ONCE, "consumable": True}
USED = {**USABLE, "order": ORDER}
GONE = Broken("gone", 410, '{"error": {"code": 410, "message": "The purchase token is no longer valid."}}')


def test_what_is_used_up_is_acknowledged_first_and_consumed_next(player: Player) -> None:
    outcome = asked(player, Purchase, USABLE, GIVES, once())
    assert (outcome.result, outcome.job) == (Result.PENDING, USED)
    outcome = asked(player, Purchase, USED, GIVES, once(), CONSUME, once(used_up=True))
    assert outcome.result is Result.DONE
    assert outcome.confirmed is not None
    assert (outcome.confirmed.traits, outcome.confirmed.receipt) == ({"google_order_id": ORDER}, TOKEN)


def test_what_google_has_forgotten_was_used_up(player: Player) -> None:
    assert asked(player, Purchase, USED, GIVES, once(), broken={1: GONE}).result is Result.DONE


@pytest.mark.parametrize(
    ("job", "calls", "broken", "result"),
    [
        (USED, (once(), CONSUME), {2: Broken("lost", then="reset")}, Result.PENDING),
        (USED, (once(), CONSUME, once()), {}, Result.PENDING),
        (USED, (once("CANCELLED"),), {}, Result.REJECTED),
        (USABLE, (once(),), {1: GONE}, Result.REJECTED),
    ],
)
def test_only_what_google_showed_before_is_taken_for_used_up(
    player: Player, job: Any, calls: tuple[Call, ...], broken: Any, result: Result
) -> None:
    assert asked(player, Purchase, job, GIVES, *calls, broken=broken).result is result


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
    assert not settings_form(None, connector("google_play"), {**SETTINGS, "service_account": broken}).is_valid()
    with pytest.raises(BadCredentials) as raised:
        GooglePlay().auth({**SETTINGS, "service_account": broken}).assertion(0.0)
    assert "BEGIN" not in str(raised.value)


def test_the_private_key_is_a_secret_of_its_own(player: Player) -> None:
    scenario = replace(TestDefer.scenario)
    player.vendor.expect(*scenario.calls)
    _, journal = player.play(scenario)
    private = json.loads(key_file())["private_key"]
    assert not any(private in str(exchange.as_json()) for exchange in journal.exchanges)


# --- push notifications -----------------------------------------------------------------------------

PUSHER, PROJECT = "push@example.iam.gserviceaccount.com", "streamly-push"
DEVICE = "fGh7:APA91b-device_1"


class PushAssertion(Assertion):
    """One of the account that may send notifications."""

    __slots__ = ()
    account, scope = PUSHER, "https://www.googleapis.com/auth/firebase.messaging"


class InADay(str):
    """The Unix time in a day from now."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return str(other).isdecimal() and abs(int(str(other)) - time.time() - 86_400) < 60

    __hash__ = str.__hash__


BOTH = {**SETTINGS, "firebase_account": key_file(client_email=PUSHER, project_id=PROJECT)}
SEND = f"/firebase/v1/projects/{PROJECT}/messages:send"
GIVES_PUSH = replace(
    GIVES,
    answer={"access_token": "planted-push-token", "expires_in": 3599},
    body=Form({"grant_type": GRANT, "assertion": PushAssertion()}),
    token="planted-push-token",
)
BY_FIREBASE = {"Authorization": "Bearer planted-push-token"}
ACCEPTED = {"name": f"projects/{PROJECT}/messages/0:1500415314455276%31bd1c96f9fd7ecd"}
TEST = {"topic": "connection-test", "notification": {"title": "Test"}}
CHECKS = Call("POST", SEND, ACCEPTED, body={"validateOnly": True, "message": TEST}, reads=True, signed=BY_FIREBASE)
TEXT, LINKED = "Come back, there is a film for you.", {"link": "https://example.com/offers"}
PUSHED: dict[str, Any] = {
    "token": DEVICE,
    "notification": {"title": "20 % off, Ava", "body": TEXT},
    "data": LINKED,
    "android": {"collapseKey": "execution-1", "ttl": "86400s", "notification": {"tag": "execution-1"}},
    "apns": {"headers": {"apns-collapse-id": "execution-1", "apns-expiration": InADay()}},
    "webpush": {
        "headers": {"TTL": "86400"},
        "notification": {"tag": "execution-1"},
        "fcmOptions": LINKED,
    },
}


def pushes(**differences: Any) -> Call:
    told = {name: value for name, value in {**PUSHED, **differences}.items() if value is not None}
    return Call("POST", SEND, ACCEPTED, body={"message": told}, signed=BY_FIREBASE)


class TestPush(ActionContract):
    scenario = Scenario(
        GooglePlay,
        Push,
        calls=(GIVES_PUSH, pushes()),
        result=Result.DONE,
        message="Firebase has accepted the notification as 0:1500415314455276%31bd1c96f9fd7ecd",
        settings=BOTH,
        traits={"endpoint_fcm": DEVICE, "first_name": "Ava"},
        inputs={
            "title": "20 %% off, %first_name%",
            "text": f" {TEXT} ",
            **LINKED,
            "hours": 24,
        },
        signed=SIGNED,
        probe=(*PROBE, GIVES_PUSH, CHECKS),
        others=len(PROBE),
    )

    def test_a_device_known_by_the_older_channel(self, player: Player) -> None:
        told = {"endpoint_gcm": "older", "first_name": "Ava"}
        assert played(player, self.scenario, GIVES_PUSH, pushes(token="older"), traits=told).result is Result.DONE
        both = {**told, "endpoint_fcm": DEVICE}
        assert played(player, self.scenario, GIVES_PUSH, pushes(), traits=both).result is Result.DONE

    def test_a_link_that_only_an_app_opens_is_none_of_a_web_page(self, player: Player) -> None:
        web = {name: value for name, value in PUSHED["webpush"].items() if name != "fcmOptions"}
        for link in ("streamly://offers", ""):
            data = {"link": link} if link else None
            call = pushes(data=data, webpush=web)
            outcome = played(player, self.scenario, GIVES_PUSH, call, inputs={**self.scenario.inputs, "link": link})
            assert outcome.result is Result.DONE

    def test_what_is_too_long_once_it_is_filled_in_is_not_sent(self, player: Player) -> None:
        room = 4096 - len(json.dumps({"notification": {"title": "20 % off, ", "body": TEXT}, "data": LINKED}))
        name = "é" + "x" * (room - len(json.dumps("é")[1:-1]))
        fits = pushes(notification={"title": f"20 % off, {name}", "body": TEXT})
        traits = {"endpoint_fcm": DEVICE, "first_name": name}
        assert played(player, self.scenario, GIVES_PUSH, fits, traits=traits).result is Result.DONE
        outcome = played(player, self.scenario, traits={**traits, "first_name": name + "x"})
        assert (outcome.result, outcome.message) == (
            Result.REJECTED,
            "Filled in, the notification has 4,097 bytes; 4,096 are possible. Shorten its text.",
        )

    @pytest.mark.parametrize(
        ("status", "code", "result", "words"),
        [
            (404, "UNREGISTERED", Result.REJECTED, "Firebase says that the device is no longer registered: "),
            (403, "SENDER_ID_MISMATCH", Result.REJECTED, "The device's address belongs to another project"),
            (401, "THIRD_PARTY_AUTH_ERROR", Result.REJECTED, "Firebase cannot reach the device: "),
            (400, "INVALID_ARGUMENT", Result.REJECTED, "Google refused: Not so."),
            (429, "QUOTA_EXCEEDED", Result.WAITING, "Firebase says: Not so."),
        ],
    )
    @pytest.mark.parametrize("headers", [{}, {"Retry-After": "7"}])
    def test_firebases_own_codes(
        self, player: Player, status: int, code: str, result: Result, words: str, headers: dict[str, str]
    ) -> None:
        no = replace(pushes(), answer=refusal(status, "SOME_STATUS", code), status=status, answer_headers=headers)
        outcome = played(player, self.scenario, GIVES_PUSH, no)
        assert (outcome.result, outcome.may_have_acted) == (result, False)
        assert outcome.message.startswith(words)
        assert outcome.after == (None if result is Result.REJECTED else 7 if headers else 60)

    def test_google_plays_key_does_for_both(self, player: Player) -> None:
        settings = {**SETTINGS, "service_account": key_file(project_id=PROJECT)}
        gives = replace(GIVES_PUSH, body=Form({"grant_type": GRANT, "assertion": PlaysPushAssertion()}))
        assert played(player, self.scenario, gives, pushes(), settings=settings).result is Result.DONE
        assert lines(player, settings, *PROBE, gives, CHECKS)[1] == (True, FIREBASE_TAKES)

    @pytest.mark.parametrize("status", [403, 404])
    def test_google_plays_key_need_not_be_able_to(self, player: Player, status: int) -> None:
        settings = {**SETTINGS, "service_account": key_file(project_id=PROJECT)}
        gives = replace(GIVES_PUSH, body=Form({"grant_type": GRANT, "assertion": PlaysPushAssertion()}))
        no = replace(CHECKS, answer=refusal(status, "PERMISSION_DENIED"), status=status)
        told = lines(player, settings, *PROBE, gives, no)
        assert [ok for ok, _ in told] == [True, None, None, None]
        assert told[-1][1] == "With the key of Google Play no push notifications can be sent: Google refused: Not so."
        told = lines(player, BOTH, *PROBE, GIVES_PUSH, no)
        assert told[1] == (False, "Firebase Cloud Messaging: Google refused: Not so.")

    def test_a_key_without_a_project_sends_nothing(self, player: Player) -> None:
        outcome = played(player, self.scenario, settings=SETTINGS)
        why = "The key file names no project of Firebase's. Enter the whole file again."
        assert (outcome.result, outcome.message) == (Result.REJECTED, why)
        assert (None, f"With the key of Google Play no push notifications can be sent: {why}") in lines(
            player, SETTINGS, *PROBE
        )


class PlaysPushAssertion(Assertion):
    """One of Google Play's account, for notifications."""

    __slots__ = ()
    scope = PushAssertion.scope


FIREBASE_TAKES = f"Firebase takes push notifications for the project {PROJECT}."


def refusal(status: int, name: str, code: str = "") -> dict[str, Any]:
    """Firebase's no: https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode."""
    kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
    details = [{"@type": kind, "errorCode": code}] if code else []
    return {"error": {"code": status, "message": "Not so.", "status": name, "details": details}}


def lines(player: Player, settings: dict[str, Any], *calls: Call) -> list[tuple[bool | None, str]]:
    player.point_at(GooglePlay, ())
    player.vendor.expect(*calls)
    told = probe(GooglePlay(), settings).lines
    player.vendor.assert_played()
    return [(line.ok, line.text) for line in told]


# --- notifications ----------------------------------------------------------------------------------

AUDIENCE = "https://engage.example.com/hooks/1"
ACCOUNT_OF_THE_PUSH = "push@streamly.iam.gserviceaccount.com"
CERTIFICATES = "/certificates/oauth2/v3/certs"


def key_set(**public: rsa.RSAPublicKey) -> Call:
    """What Google publishes, by key id."""
    rows = [{**RSAAlgorithm.to_jwk(each, as_dict=True), "kid": kid, "use": "sig"} for kid, each in public.items()]
    return Call("GET", CERTIFICATES, {"keys": rows}, answer_headers={"Cache-Control": "public, max-age=3600"})


def id_token(
    at: datetime, *, headers: Any = None, signed_by: Any = None, alg: str = "RS256", **differences: Any
) -> str:
    claims = {
        "iss": "https://accounts.google.com",
        "aud": AUDIENCE,
        "email": ACCOUNT_OF_THE_PUSH,
        "email_verified": True,
        "iat": int(at.timestamp()),
        "exp": int(at.timestamp()) + 3600,
        **differences,
    }
    told = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(told, signed_by or key(), alg, headers={"kid": "google-1"} if headers is None else headers)


def pushed(tells: bytes, token: str) -> Sent:
    number = hashlib.sha256(tells).hexdigest()[:16]
    message = {"data": base64.b64encode(tells).decode(), "messageId": number, "publishTime": "2026-11-20T10:00:00Z"}
    body = {"message": message, "subscription": "projects/streamly/subscriptions/engage"}
    return Sent(json.dumps(body).encode(), {"Authorization": f"Bearer {token}"})


def notice(package: str = PACKAGE, **differences: Any) -> bytes:
    told = {"version": "1.0", "packageName": package, "eventTimeMillis": "1763632800000"}
    kind = {"subscriptionNotification": {"version": "1.0", "notificationType": 2, "purchaseToken": TOKEN}}
    return json.dumps({**told, **(differences or kind)}).encode()


PUSH = {"package_name": PACKAGE, "rtdn_audience": AUDIENCE}


class TestNotifications(InboundContract):
    scenario = InboundScenario(
        GooglePlay,
        tells=notice(),
        sign=lambda tells, account, at: pushed(tells, id_token(at, email=account)),
        known={"google_purchase_token": TOKEN, "google_subscription_state": "on_hold"},
        learned=LEARNED,
        calls=(GIVES, shown(bought())),
        settings=PUSH,
        secrets={"service_account": key_file()},
        type="subscriptionNotification",
        unread=notice(oneTimeProductNotification={"notificationType": 1, "purchaseToken": TOKEN, "sku": "coins_100"}),
        dated=False,  # a token is good for an hour
        rotates=False,
        signs_body=False,
        published=(key_set(**{"google-1": key().public_key()}),),
        secret=ACCOUNT_OF_THE_PUSH,
        other="push@elsewhere.iam.gserviceaccount.com",
    )

    def test_only_googles_token_for_this_endpoint_counts(self, house: House) -> None:
        now, hours = datetime.now(UTC), timedelta(hours=1)
        public = (
            key().public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        head, claims, signature = id_token(now).split(".")
        by_the_public_key = f"{unpadded({'alg': 'HS256', 'kid': 'google-1'})}.{claims}"
        mac = hmac.new(public, by_the_public_key.encode(), "sha256").digest()
        forged = {
            "another audience": id_token(now, aud="https://elsewhere.example.com/hooks/1"),
            "several audiences": id_token(now, aud=[AUDIENCE, "https://elsewhere.example.com"]),
            "no audience": id_token(now, aud=None),
            "another issuer": id_token(now, iss="https://accounts.example.com"),
            "another account": id_token(now, email="push@elsewhere.iam.gserviceaccount.com"),
            "no account": id_token(now, email=None),
            "not verified": id_token(now, email_verified=False),
            "verified in words": id_token(now, email_verified="true"),
            "over": id_token(now - 2 * hours),
            "not yet": id_token(now + hours),
            "for ever": id_token(now, exp=None),
            "no algorithm": f"{unpadded({'alg': 'none', 'kid': 'google-1'})}.{claims}.",
            "the public key as a secret": f"{by_the_public_key}.{unpadded(mac)}",
            "a secret": id_token(now, signed_by="x" * 64, alg="HS256"),
            "another key under its name": id_token(now, signed_by=another_key()),
            "a key of its own": id_token(
                now, signed_by=another_key(), headers={"kid": "x", "jwk": {}, "jku": "https://x"}
            ),
            "no key": id_token(now, headers={}),
            "no text as the key": f"{unpadded({'alg': 'RS256', 'kid': 7})}.{claims}.{signature}",
            "another's signature": f"{head}.{claims}.{id_token(now, aud='x').split('.')[2]}",
        }
        for why, token in forged.items():
            published.asked.clear()  # as if a while had passed
            assert house.send(pushed(notice(), token)).status_code == 401, why
        assert house.is_untouched()
        assert house.send(pushed(notice(), id_token(now - hours / 2))).status_code == 200

    def test_without_an_audience_nothing_is_believed(self, house: House) -> None:
        house.connection.settings = {"package_name": PACKAGE}
        house.connection.save()
        assert house.send(self.scenario.now()).status_code == 401

    def test_a_purchase_that_replaces_theirs_is_theirs(self, house: House) -> None:
        new: dict[str, Any] = {"subscriptionNotification": {"notificationType": 4, "purchaseToken": "new"}}
        path = f"{APP}/purchases/subscriptionsv2/tokens/new"
        for state, token in (("PENDING", TOKEN), ("ACTIVE", "new")):
            answer = bought(state, acknowledged=False, linkedPurchaseToken=TOKEN)
            house.send(self.scenario.now(notice(version=state, **new)))
            house.tells(GIVES, Call("GET", path, answer))
            house.work()
            assert house.traits()["google_purchase_token"] == token, state

    def test_what_google_has_forgotten_is_over(self, house: House) -> None:
        house.send(self.scenario.now())
        house.tells(GIVES, shown(None), broken=GONE)
        house.work()
        assert house.traits() == {
            "google_purchase_token": TOKEN,
            "google_subscription_state": "expired",
            "google_auto_renew": False,
        }

    @pytest.mark.parametrize(
        "tells",
        [
            notice("com.example.another", subscriptionNotification={"purchaseToken": TOKEN}),
            notice(voidedPurchaseNotification={"purchaseToken": TOKEN, "productType": 2}),
            notice(testNotification={"version": "1.0"}),
        ],
    )
    def test_what_is_not_about_a_subscription_of_this_app_asks_nothing(self, house: House, tells: bytes) -> None:
        assert house.send(self.scenario.now(tells)).status_code == 200
        house.work()
        assert house.message().state == MessageState.IGNORED
        assert house.vendor.heard == []


def unpadded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@cache
def another_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
