import json
import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pytest_django.fixtures import Settings

from connectors.base import Action
from connectors.failures import Rejected
from connectors.forms import settings_form
from connectors.http import Api
from connectors.http2 import Http2
from connectors.registry import connector
from connectors.runner import Outcome, Result, Work, follow_up, preview, probe, run
from connectors.sandbox.apple_authority import Authority
from connectors.vendors.apple import Apple, offers, products, pushing, signing
from connectors.vendors.apple.buying import Downgrade, Purchase, Upgrade
from connectors.vendors.apple.extending import Extend
from connectors.vendors.apple.linking import SetAppAccountToken
from connectors.vendors.apple.pushing import APNS, Push
from connectors.vendors.apple.refunds import SendConsumption
from connectors.vendors.apple.subscriptions import APP_STORE
from sync.models import MessageState
from tests.connectors.contract import ActionContract, MemoryJournal, Player, Scenario, played
from tests.connectors.fake_http2_vendor import http2_vendor
from tests.connectors.fake_vendor import NOTHING, Broken, Call
from tests.connectors.inbound_contract import House, InboundContract, InboundScenario, Sent
from tests.connectors.test_http2 import trusting

BUNDLE, APP_ID, ISSUER = "com.example.streamly", "1234567890", "57246542-96fe-1a63-e053-0824d011072a"
ORIGINAL, BOUGHT = "2000000100000001", "2000000100000009"
YEAR, MONTH = "com.example.year", "com.example.month"
ACCOUNT = MemoryJournal().person
EXPIRES = datetime(2027, 1, 15, 12, tzinfo=UTC)


# --- an Apple of our own ------------------------------------------------------------------------------


@cache
def iap_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pem_of(key: Any) -> str:
    kind = serialization.PrivateFormat.PKCS8
    return str(key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode())


@cache
def apple() -> Authority:
    return Authority.new()


@pytest.fixture(autouse=True)
def _roots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom we believe here."""
    monkeypatch.setattr(signing, "ROOTS", [apple().root])


def millis(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def transaction(**differences: Any) -> dict[str, Any]:
    return {
        "transactionId": BOUGHT,
        "originalTransactionId": ORIGINAL,
        "bundleId": BUNDLE,
        "productId": YEAR,
        "type": "Auto-Renewable Subscription",
        "appAccountToken": ACCOUNT,
        "quantity": 1,
        "expiresDate": millis(EXPIRES),
        "offerIdentifier": "winback50",
        "environment": "Production",
        "signedDate": millis(datetime.now(UTC)),
        **differences,
    }


def renewal(**differences: Any) -> dict[str, Any]:
    now = millis(datetime.now(UTC))
    told = {"autoRenewProductId": YEAR, "autoRenewStatus": 1, "environment": "Production", "signedDate": now}
    return {"originalTransactionId": ORIGINAL, **told, **differences}


def shown(status: Any = 1, last: Any = None, then: Any = None) -> Call:
    row = {
        "originalTransactionId": ORIGINAL,
        "status": status,
        "signedTransactionInfo": apple().sign(transaction(**(last or {}))),
        "signedRenewalInfo": apple().sign(renewal(**(then or {}))),
    }
    answer = {"environment": "Production", "bundleId": BUNDLE, "data": [{"lastTransactions": [row]}]}
    return Call("GET", f"/inApps/v1/subscriptions/{ORIGINAL}", answer)


def told(number: str = BOUGHT, **differences: Any) -> Call:
    signed = apple().sign(transaction(**differences))
    return Call("GET", f"/inApps/v1/transactions/{number}", {"signedTransactionInfo": signed})


class Signed(str):
    """A header with a token of ours that Apple would believe."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        claims = jwt.decode(
            str(other).removeprefix("Bearer "), iap_key().public_key(), ["ES256"], audience="appstoreconnect-v1"
        )
        head = jwt.get_unverified_header(str(other).removeprefix("Bearer "))
        return (head["kid"], claims["iss"], claims.get("bid")) == ("IAPKEY1234", ISSUER, BUNDLE) and claims[
            "exp"
        ] - claims["iat"] == 300

    __hash__ = str.__hash__


UNKNOWN = {"errorCode": 4040010, "errorMessage": "Transaction id not found."}
SETTINGS = {
    "environment": "live",
    "bundle_id": BUNDLE,
    "app_apple_id": APP_ID,
    "issuer_id": ISSUER,
    "iap_key_id": "IAPKEY1234",
    "iap_private_key": pem_of(iap_key()),
    "products": f"subscription {YEAR} Premium\n\nproduct com.example.coins\npromotional {YEAR} winback50",
}
COMMON: dict[str, Any] = {
    "connector": Apple,
    "settings": SETTINGS,
    "signed": {"Authorization": Signed("a token")},
    "probe": (Call("GET", "/inApps/v1/transactions/0", UNKNOWN, status=404),),
}
KNOWN = {"apple_original_transaction_id": ORIGINAL}


# --- what the app carries out -------------------------------------------------------------------------


def handed(product: str = YEAR, **differences: Any) -> dict[str, Any]:
    apple = {"sku": product, "quantity": 1, "appAccountToken": ACCOUNT}
    return {
        "kind": "purchase",
        "store": "apple",
        "operation": "purchase",
        "environment": "Production",
        "bundle_id": BUNDLE,
        "purchase": {"type": "Subs", "requestSubscription": {"apple": apple}},
        "original_transaction_id": ORIGINAL,
        "expires_at": None,
        "report": {"fields": ["signedTransactionInfo"]},
        **differences,
    }


CHOSEN = {"product": f"subs/{YEAR}", "offer": "", "introductory": ""}
PROMOTIONAL = {**CHOSEN, "offer": f"promotional/{YEAR}/winback50"}
CLIENT: dict[str, Any] = {
    "calls": (),
    "result": Result.HANDED_OVER,
    "message": f"To be bought in the app: {YEAR}",
    "traits": KNOWN,
    **COMMON,
}


def apple_part(outcome: Outcome) -> Any:
    assert outcome.instruction is not None, outcome
    return outcome.instruction["purchase"]["requestSubscription"]["apple"]


class TestPurchase(ActionContract):
    scenario = Scenario(action=Purchase, inputs={**CHOSEN, "quantity": None}, instruction=handed(), **CLIENT)

    def test_an_offer_is_signed_for_this_person_and_moment(self, player: Player) -> None:
        outcome, _ = player.play(self.scenario, inputs=PROMOTIONAL)
        told, public = apple_part(outcome), iap_key().public_key()
        jws = told["promotionalOfferJWS"]["jws"]
        claims = jwt.decode(jws, public, ["ES256"], audience="promotional-offer", issuer=ISSUER)
        assert jwt.get_unverified_header(jws)["kid"] == "IAPKEY1234"
        del claims["iat"], claims["nonce"]
        assert claims == {
            "iss": ISSUER,
            "bid": BUNDLE,
            "aud": "promotional-offer",
            "productId": YEAR,
            "offerIdentifier": "winback50",
            "transactionId": ORIGINAL,
        }
        older = told["withOffer"]
        parts = [BUNDLE, "IAPKEY1234", YEAR, "winback50", ACCOUNT, older["nonce"], str(older["timestamp"])]
        public.verify(b64decode(older["signature"]), "\u2063".join(parts).encode(), ec.ECDSA(hashes.SHA256()))
        assert outcome.instruction is not None
        until = datetime.fromisoformat(outcome.instruction["expires_at"])
        assert abs(until.timestamp() - older["timestamp"] / 1000 - 86_400) < 2
        again, _ = player.play(self.scenario, inputs=PROMOTIONAL)
        assert apple_part(again)["withOffer"]["nonce"] != older["nonce"]

    def test_a_preview_signs_nothing(self) -> None:
        seen = preview(Work(Apple(), Purchase(), SETTINGS, KNOWN, PROMOTIONAL))
        assert seen.instruction is not None
        apple = seen.instruction["purchase"]["requestSubscription"]["apple"]
        assert apple["withOffer"]["signature"] == apple["promotionalOfferJWS"]["jws"] == "made when it is handed over"

    def test_other_offers(self, player: Player) -> None:
        outcome, _ = player.play(self.scenario, inputs={**CHOSEN, "offer": f"winback/{YEAR}/back30"})
        assert apple_part(outcome)["winBackOffer"] == {"offerId": "back30"}
        outcome, _ = player.play(self.scenario, inputs={**CHOSEN, "introductory": "deny"})
        claims = jwt.decode(
            apple_part(outcome)["compactJWS"],
            iap_key().public_key(),
            ["ES256"],
            audience="introductory-offer-eligibility",
        )
        assert (claims["allowIntroductoryOffer"], claims["transactionId"]) == (False, ORIGINAL)

    @pytest.mark.parametrize(
        ("inputs", "traits"),
        [
            ({"offer": f"promotional/{MONTH}/winback50"}, KNOWN),
            ({"offer": f"promotional/{YEAR}/winback50", "introductory": "allow"}, KNOWN),
            ({"introductory": "allow"}, {}),
            ({"product": "inapp/com.example.coins", "offer": "promotional/com.example.coins/x"}, KNOWN),
            ({"quantity": 2}, KNOWN),
        ],
    )
    def test_what_cannot_be_bought_so(self, player: Player, inputs: Any, traits: Any) -> None:
        outcome, _ = player.play(self.scenario, inputs={**CHOSEN, **inputs}, traits=traits)
        assert outcome.result is Result.REJECTED

    def test_a_consumable_has_a_quantity(self, player: Player) -> None:
        inputs = {**CHOSEN, "product": "inapp/com.example.coins", "quantity": 3}
        outcome, _ = player.play(self.scenario, inputs=inputs, traits={})
        assert outcome.instruction is not None
        apple = {"sku": "com.example.coins", "quantity": 3, "appAccountToken": ACCOUNT}
        assert outcome.instruction["purchase"] == {"type": "InApp", "requestPurchase": {"apple": apple}}
        job = Purchase().claimed(outcome.instruction, {"transactionId": BOUGHT})
        assert job == {**JOB, "type": "inapp", "product": "com.example.coins", "quantity": 3, "original": None}


class TestUpgrade(ActionContract):
    scenario = Scenario(action=Upgrade, inputs=CHOSEN, instruction=handed(operation="upgrade"), **CLIENT)


class TestDowngrade(ActionContract):
    scenario = Scenario(action=Downgrade, inputs=CHOSEN, instruction=handed(operation="downgrade"), **CLIENT)


# --- what the app reports -----------------------------------------------------------------------------

JOB = {
    "type": "subs",
    "transaction": BOUGHT,
    "product": YEAR,
    "quantity": 1,
    "account": ACCOUNT,
    "original": ORIGINAL,
}
ANYBODY = {**JOB, "original": None}
LEARNED = {
    "apple_original_transaction_id": ORIGINAL,
    "apple_product_id": YEAR,
    "apple_subscription_status": "active",
    "apple_expires_date": "2027-01-15T12:00:00Z",
    "apple_auto_renew": True,
    "apple_auto_renew_product_id": YEAR,
    "apple_offer_identifier": "winback50",
    "apple_environment": "Production",
}


def asked(player: Player, action: type[Action], job: Any, *calls: Call, **options: Any) -> Outcome:
    """Ask once what became of a job."""
    player.point_at(Apple, (SETTINGS["iap_private_key"],))
    player.vendor.expect(*calls, **options)
    outcome = follow_up(Work(Apple(), action(), SETTINGS, {}, {}), job, MemoryJournal())
    player.vendor.assert_played()
    return outcome


def test_a_report_is_what_apple_is_asked_about() -> None:
    forged = jwt.encode({"transactionId": BOUGHT, "productId": "anything"}, "x" * 40, "HS256")
    for detail in ({"signedTransactionInfo": forged}, {"transactionId": BOUGHT}):
        assert Purchase().claimed(handed(), detail) == JOB
    for unfit in ({}, {"transactionId": 7}, {"transactionId": "../1"}, {"signedTransactionInfo": "x"}):
        with pytest.raises(Rejected):
            Purchase().claimed(handed(), dict(unfit))


def test_a_purchase_is_done_once_apple_shows_it(player: Player) -> None:
    outcome = asked(player, Purchase, ANYBODY, told(), shown())
    assert (outcome.result, outcome.message) == (Result.DONE, f"{YEAR} is bought.")
    assert outcome.confirmed is not None
    assert outcome.confirmed.traits == LEARNED
    assert (outcome.confirmed.subject, outcome.confirmed.receipt) == (f"subscription {ORIGINAL}", BOUGHT)


def test_a_downgrade_is_done_and_says_when(player: Player) -> None:
    others: dict[str, Any] = {"productId": MONTH, "appAccountToken": None}
    outcome = asked(player, Downgrade, JOB, told(**others), shown(last=others))
    assert (outcome.result, outcome.message) == (Result.DONE, f"{YEAR} takes effect on 15 January 2027.")
    assert outcome.confirmed is not None
    assert outcome.confirmed.receipt == ""


ONCE = {**ANYBODY, "type": "inapp"}


@pytest.mark.parametrize(
    ("job", "calls", "result"),
    [
        (ANYBODY, (told(), shown(4)), Result.DONE),
        (ANYBODY, (told(appAccountToken=ACCOUNT.upper()), shown()), Result.DONE),
        (ANYBODY, (told(), shown(2)), Result.REJECTED),
        (ANYBODY, (told(), shown(5)), Result.REJECTED),
        (ANYBODY, (told(), shown(9)), Result.PENDING),
        (ANYBODY, (told(revocationDate=1),), Result.REJECTED),
        (
            ANYBODY,
            (told(productId=MONTH), shown(last={"productId": MONTH}, then={"autoRenewProductId": MONTH})),
            Result.REJECTED,
        ),
        (
            ANYBODY,
            (told(appAccountToken="x"), shown(last={"appAccountToken": None}, then={"appAccountToken": "y"})),
            Result.REJECTED,
        ),
        (ANYBODY, (told(bundleId="com.example.another"),), Result.PENDING),
        (ANYBODY, (told(environment="Sandbox"),), Result.PENDING),
        (ANYBODY, (told(transactionId="7"),), Result.PENDING),
        (ONCE, (told(),), Result.DONE),
        (ONCE, (told(appAccountToken=None),), Result.REJECTED),
        (ONCE, (told(quantity=2),), Result.REJECTED),
        (ONCE, (told(productId=MONTH),), Result.REJECTED),
    ],
)
def test_only_what_apple_shows_is_done(player: Player, job: Any, calls: tuple[Call, ...], result: Result) -> None:
    assert asked(player, Purchase, job, *calls).result is result


def test_a_purchase_in_the_sandbox_counts_for_no_production(player: Player) -> None:
    missing = Call("GET", f"/inApps/v1/transactions/{BOUGHT}", UNKNOWN, status=404)
    there = replace(told(), path=f"/sandbox{told().path}")
    outcome = asked(player, Purchase, ANYBODY, missing, there)
    assert outcome.result is Result.REJECTED
    assert "sandbox" in outcome.message
    outcome = asked(player, Purchase, ANYBODY, missing, replace(missing, path=there.path))
    assert (outcome.result, outcome.message) == (Result.REJECTED, "Apple App Store refused: Transaction id not found.")


@pytest.mark.parametrize(
    ("status", "code", "result"),
    [(400, 4000006, Result.REJECTED), (404, 4040010, Result.REJECTED), (404, 4040003, Result.PENDING)],
)
def test_a_purchase_that_apple_does_not_have_is_none(player: Player, status: int, code: int, result: Result) -> None:
    sandbox = {**SETTINGS, "environment": "sandbox"}
    no = {"errorCode": code, "errorMessage": "No."}
    player.point_at(Apple, (SETTINGS["iap_private_key"],))
    player.vendor.expect(Call("GET", f"/inApps/v1/transactions/{BOUGHT}", no, status=status))
    assert follow_up(Work(Apple(), Purchase(), sandbox, {}, {}), ANYBODY, MemoryJournal()).result is result
    player.vendor.assert_played()


def test_what_is_signed_by_somebody_else_shows_nothing(player: Player) -> None:
    another, unmarked = Authority.new(), Authority.new(("1.2.3.4", "1.2.3.5"))
    for signed in (
        another.sign(transaction()),
        unmarked.sign(transaction()),
        apple().sign(transaction(), x5c=[]),
        jwt.encode(transaction(), "x" * 40, "HS256"),
        apple().sign(b"no JSON"),
    ):
        outcome = asked(player, Purchase, ANYBODY, replace(told(), answer={"signedTransactionInfo": signed}))
        assert outcome.result is Result.PENDING
        assert outcome.confirmed is None


# --- free days ----------------------------------------------------------------------------------------


def extends(days: float = 7, **differences: Any) -> Call:
    answer = {
        "originalTransactionId": ORIGINAL,
        "success": True,
        "effectiveDate": millis(EXPIRES + timedelta(days=days)),
        **differences,
    }
    body = {"extendByDays": 7, "extendReasonCode": 1, "requestIdentifier": "execution-1"}
    return Call("PUT", f"/inApps/v1/subscriptions/extend/{ORIGINAL}", answer, body=body)


DAYS = {"days": 7, "reason": 1}
EXTENSION = {"original": ORIGINAL, "transaction": BOUGHT, "until": (EXPIRES + timedelta(days=7)).isoformat()}


class TestExtend(ActionContract):
    scenario = Scenario(
        action=Extend,
        calls=(shown(), extends()),
        result=Result.DONE,
        message=f"{YEAR} renews on 22 January 2027",
        traits=KNOWN,
        inputs=DAYS,
        **COMMON,
    )

    def test_a_lost_answer(self, player: Player, number: int, unanswered: Broken, acted: bool) -> None:
        if number == 0:
            super().test_a_lost_answer(player, number, unanswered, acted)
            return
        if unanswered.then == "hang":
            pytest.skip("it ends as a connection that is closed does")
        # Nothing is sent again: what came of it shows in the date.
        player.vendor.expect(*self.scenario.calls, broken={number: unanswered})
        outcome, _ = player.play(self.scenario)
        player.vendor.assert_played()
        assert (outcome.result, outcome.job) == (Result.PENDING, EXTENSION)

    @pytest.mark.parametrize(
        ("last", "result"),
        [
            ({"expiresDate": millis(EXPIRES + timedelta(days=7))}, Result.DONE),
            ({}, Result.PENDING),
            ({"expiresDate": millis(EXPIRES + timedelta(days=30)), "transactionId": "7"}, Result.PENDING),
        ],
    )
    def test_a_lost_answer_is_looked_for_in_the_date(self, player: Player, last: Any, result: Result) -> None:
        assert asked(player, Extend, EXTENSION, shown(last=last)).result is result

    @pytest.mark.parametrize("answer", [extends(6), extends(success=False), extends(originalTransactionId="7")])
    def test_a_renewal_that_did_not_move_is_not_done(self, player: Player, answer: Call) -> None:
        player.vendor.expect(shown(), answer)
        assert player.play(self.scenario)[0].result is Result.UNCERTAIN

    def test_only_what_is_active_is_extended(self, player: Player) -> None:
        player.vendor.expect(shown(4))
        assert player.play(self.scenario)[0].result is Result.REJECTED

    @pytest.mark.parametrize(("value", "seconds"), [(3600.0, 3600), (-5, 0), (10**7, 86_400)])
    def test_too_many_requests_are_waited_for_until_a_moment(
        self, player: Player, value: float, seconds: float
    ) -> None:
        moment = str(int((time.time() + value) * 1000))
        busy = Broken("429", 429, '{"errorCode": 4290000}', headers={"Retry-After": moment})
        player.vendor.expect(shown(), broken={0: busy})
        outcome, _ = player.play(self.scenario)
        assert outcome.result is Result.WAITING
        assert outcome.after is not None
        assert seconds - 600 <= outcome.after <= seconds

    def test_what_is_not_found_yet_is_asked_for_again(self, player: Player) -> None:
        later = Broken("later", 404, '{"errorCode": 4040002, "errorMessage": "Account not found. Please try again."}')
        player.vendor.expect(shown(), broken={0: later})
        assert player.play(self.scenario)[0].result is Result.WAITING


# --- whose a purchase is ------------------------------------------------------------------------------


def first(**differences: Any) -> Call:
    """The purchase with which the subscription began."""
    return told(ORIGINAL, **{"transactionId": ORIGINAL, **differences})


LINKS = Call("PUT", f"/inApps/v1/transactions/{ORIGINAL}/appAccountToken", NOTHING, body={"appAccountToken": ACCOUNT})
ANOTHERS = "0f0c1e5a-3a0e-5f57-9d0b-0d5ad5a6a002"


class TestSetAppAccountToken(ActionContract):
    scenario = Scenario(
        action=SetAppAccountToken,
        calls=(first(appAccountToken=None), LINKS),
        looks=1,
        looks_done=(first(),),
        result=Result.DONE,
        message=f"Purchase {ORIGINAL} is linked to the person",
        traits=KNOWN,
        inputs={"replace": False},
        also_yes=frozenset({"an empty body", "null"}),
        **COMMON,
    )

    def test_another_token_is_replaced_only_where_the_designer_says_so(self, player: Player) -> None:
        anothers = first(appAccountToken=ANOTHERS)
        outcome = played(player, self.scenario, anothers)
        assert outcome.result is Result.REJECTED
        assert "another account token" in outcome.message
        assert played(player, self.scenario, anothers, LINKS, inputs={"replace": True}).result is Result.DONE

    def test_what_has_the_token_is_left_alone(self, player: Player) -> None:
        outcome = played(player, self.scenario, first(appAccountToken=ACCOUNT.upper()), inputs={"replace": True})
        assert (outcome.result, outcome.message) == (Result.DONE, self.scenario.message)

    def test_a_refusal_is_told_in_apples_words(self, player: Player) -> None:
        words = "Transactions from Family Sharing aren't supported by this endpoint."
        no = replace(LINKS, status=400, answer={"errorCode": 4000185, "errorMessage": words})
        outcome = played(player, self.scenario, first(appAccountToken=None), no)
        assert (outcome.result, outcome.message) == (Result.REJECTED, f"Apple App Store refused: {words}")


# --- how a purchase was used --------------------------------------------------------------------------


def tells(**differences: Any) -> Call:
    body = {"customerConsented": True, "sampleContentProvided": False, "deliveryStatus": "DELIVERED", **differences}
    return Call("PUT", f"/inApps/v2/transactions/consumption/{BOUGHT}", NOTHING, body=body, status=202)


USED: dict[str, Any] = {
    "consented": True,
    "delivery": "DELIVERED",
    "sample": False,
    "percent": 40,
    "preference": "GRANT_PRORATED",
}


class TestSendConsumption(ActionContract):
    scenario = Scenario(
        action=SendConsumption,
        calls=(tells(consumptionPercentage=40_000, refundPreference="GRANT_PRORATED"),),
        result=Result.DONE,
        message=f"Apple knows how purchase {BOUGHT} was used, and decides about its refund",
        traits={"apple_refund_transaction_id": BOUGHT},
        inputs=USED,
        **COMMON,
    )

    @pytest.mark.parametrize(
        ("inputs", "body"),
        [
            ({"percent": None, "preference": ""}, {}),
            ({"percent": None}, {"refundPreference": "GRANT_PRORATED"}),
            (
                {"delivery": "UNDELIVERED_OTHER", "sample": True, "percent": 0, "preference": "GRANT_FULL"},
                {
                    "deliveryStatus": "UNDELIVERED_OTHER",
                    "sampleContentProvided": True,
                    "consumptionPercentage": 0,
                    "refundPreference": "GRANT_FULL",
                },
            ),
        ],
    )
    def test_what_is_not_said_is_not_sent(self, player: Player, inputs: Any, body: Any) -> None:
        assert played(player, self.scenario, tells(**body), inputs={**USED, **inputs}).result is Result.DONE

    @pytest.mark.parametrize(
        "inputs",
        [
            {"consented": False},
            {"delivery": "UNDELIVERED_OTHER"},
            {"percent": 0},
            {"percent": 100},
            {"percent": 101, "preference": ""},
        ],
    )
    def test_what_apple_would_refuse_is_not_saved_and_not_sent(self, player: Player, inputs: Any) -> None:
        assert not SendConsumption.Inputs({**USED, **inputs}).is_valid()
        outcome = played(player, self.scenario, inputs={**USED, **inputs})
        assert outcome.result is (Result.REJECTED if {**USED, **inputs}["consented"] else Result.SKIPPED)

    def test_a_refusal_is_told_in_apples_words(self, player: Player) -> None:
        no = replace(self.scenario.calls[0], status=404, answer=UNKNOWN)
        outcome = played(player, self.scenario, no)
        assert (outcome.result, outcome.message) == (
            Result.REJECTED,
            "Apple App Store refused: Transaction id not found.",
        )


# --- notifications ------------------------------------------------------------------------------------


def notice(kind: str = "DID_RENEW", **differences: Any) -> bytes:
    data = {"bundleId": BUNDLE, "environment": "Production", "signedTransactionInfo": apple().sign(transaction())}
    told = {"notificationType": kind, "notificationUUID": "9ad56bd2-0bc6-42e0-af24-fd996d87a1e6", "version": "2.0"}
    return json.dumps({**told, "signedDate": millis(datetime.now(UTC)), "data": data, **differences}).encode()


def send(tells: bytes, app_id: str, at: datetime) -> Sent:
    """What Apple sends of it about the app with this id; what is no notification is signed as it is."""
    try:
        payload = json.loads(tells)
        payload["data"]["appAppleId"] = int(app_id or 0)
    except (ValueError, TypeError, KeyError, RecursionError):
        payload = tells
    return Sent(json.dumps({"signedPayload": apple().sign(payload)}).encode())


class TestNotifications(InboundContract):
    scenario = InboundScenario(
        Apple,
        tells=notice(),
        sign=send,
        known={**KNOWN, "apple_subscription_status": "expired"},
        learned=LEARNED,
        calls=(shown(),),
        settings={name: SETTINGS[name] for name in ("environment", "bundle_id", "issuer_id", "iap_key_id")},
        secrets={"iap_private_key": SETTINGS["iap_private_key"]},
        event_id="9ad56bd2-0bc6-42e0-af24-fd996d87a1e6",
        type="DID_RENEW",
        unread=notice("TEST", notificationUUID="another"),
        dated=False,  # a repeat after three days is signed as it was
        rotates=False,
        signs_body=False,  # the signature is within it
        names_account=True,
        secret=APP_ID,
        other="9876543210",
    )

    def test_only_what_leads_to_apples_root_counts(self, house: House) -> None:
        payload = json.loads(self.scenario.now().body)["signedPayload"]
        claims = jwt.decode(payload, options={"verify_signature": False})
        head, body, signature = payload.split(".")
        other = apple().sign({**claims, "notificationType": "REFUND"}).split(".")[1]
        chain = jwt.get_unverified_header(payload)["x5c"]
        sandbox = {**claims, "data": {**claims["data"], "environment": "Sandbox"}}
        forged = {
            "another root": Authority.new().sign(claims),
            "no marks": Authority.new(("1.2.3.4", "1.2.3.5")).sign(claims),
            "another's chain": Authority.new().sign(claims, x5c=chain),
            "two certificates": apple().sign(claims, x5c=chain[:2]),
            "no chain": apple().sign(claims, x5c=None),
            "another body": f"{head}.{other}.{signature}",
            "no signature": f"{head}.{body}.",
            "a secret": jwt.encode(claims, "x" * 40, "HS256", headers={"x5c": chain}),
            "the sandbox": apple().sign(sandbox),
            "Xcode": apple().sign({**claims, "data": {**claims["data"], "environment": "Xcode"}}),
            "another bundle": apple().sign({**claims, "data": {**claims["data"], "bundleId": "com.example.x"}}),
        }
        for why, signed in forged.items():
            assert house.send(Sent(json.dumps({"signedPayload": signed}).encode())).status_code == 401, why
        assert house.is_untouched()

    def test_another_product_asks_nothing(self, house: House) -> None:
        coins = apple().sign(transaction(type="Consumable"))
        data = {"bundleId": BUNDLE, "environment": "Production", "signedTransactionInfo": coins}
        assert house.send(self.scenario.now(notice("REFUND", data=data))).status_code == 200
        house.work()
        assert (house.message().state, house.vendor.heard) == (MessageState.IGNORED, [])

    def test_a_refund_that_is_asked_for_is_known_until_apple_has_decided(self, house: House) -> None:
        def tell(kind: str, at: datetime) -> Any:
            house.vendor.expect(shown())
            told = notice(kind, notificationUUID=f"{kind} {at}", signedDate=millis(at))
            assert house.send(self.scenario.now(told)).status_code == 200
            house.work()
            return house.traits().get("apple_refund_transaction_id")

        now = datetime.now(UTC)
        assert tell("CONSUMPTION_REQUEST", now) == BOUGHT
        assert tell("DID_RENEW", now + timedelta(seconds=1)) == BOUGHT
        assert tell("REFUND_DECLINED", now + timedelta(seconds=2)) is None
        assert tell("CONSUMPTION_REQUEST", now - timedelta(seconds=1)) is None, "it was said before the decision"


def test_apples_root_is_the_one_that_apple_publishes() -> None:
    certificate = x509.load_der_x509_certificate(signing.apple_root())
    assert certificate.subject.rfc4514_string().startswith("C=US,O=Apple Inc.")
    assert certificate.not_valid_after_utc.year == 2039


# --- push notifications -------------------------------------------------------------------------------

DEVICE, TEAM = "740f4707bebcf74f9b7c25d48e3358945f6aa01da5ddb387462c7eb6", "TEAM123456"


@cache
def push_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


class ByPushKey(str):
    """A header with a provider token that Apple would believe, with no more in it than Apple wants; half an hour old at most."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        token = str(other).removeprefix("bearer ")
        claims, head = jwt.decode(token, push_key().public_key(), ["ES256"]), jwt.get_unverified_header(token)
        age = time.time() - claims.pop("iat")
        return (head["kid"], claims) == ("APNSKEY123", {"iss": TEAM}) and 60 <= age <= 60 + 1800

    __hash__ = str.__hash__


class InADay(str):
    """The Unix time in a day from now."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return str(other).isdecimal() and abs(int(str(other)) - time.time() - 86_400) < 60

    __hash__ = str.__hash__


PUSHING = {
    **SETTINGS,
    "apns_team_id": TEAM,
    "apns_key_id": "APNSKEY123",
    "apns_private_key": pem_of(push_key()),
}
TO_APP = {"Authorization": ByPushKey("a token"), "apns-topic": BUNDLE}
ALERT = {
    "apns-push-type": "alert",
    "apns-priority": "10",
    "apns-expiration": InADay(),
    "apns-collapse-id": "execution-1",
}
NAME = "EC1BF194-B3B2-424A-89A9-5A918A6E6B5D"
NOBODY = Call(
    "POST",
    f"/push/3/device/{'0' * 64}",
    {"reason": "BadDeviceToken"},
    body={"aps": {}},
    status=400,
    reads=True,
    signed=TO_APP,
)
TEXT, LINKED = "Come back, there is a film for you.", {"link": "streamly://offers"}


def pushes(title: str = "20 % off, Ava", **differences: Any) -> Call:
    told = {"aps": {"alert": {"title": title, "body": TEXT}, "sound": "default"}, **LINKED, **differences}
    body = {name: value for name, value in told.items() if value is not None}
    headers, signed = {"apns-id": NAME}, {**TO_APP, **ALERT}
    return Call("POST", f"/push/3/device/{DEVICE}", NOTHING, body=body, answer_headers=headers, signed=signed)


class TestPush(ActionContract):
    scenario = Scenario(
        Apple,
        Push,
        calls=(pushes(),),
        result=Result.DONE,
        message=f"Apple has accepted the notification as {NAME}",
        settings=PUSHING,
        traits={"endpoint_apns": DEVICE, "first_name": "Ava"},
        inputs={"title": "20 %% off, %first_name%", "text": f" {TEXT} ", **LINKED, "hours": 24},
        signed=COMMON["signed"],
        probe=(*COMMON["probe"], NOBODY),
        others=1,
    )

    def refused(self, player: Player, status: int, reason: str, **headers: str) -> Outcome:
        no = replace(pushes(), answer={"reason": reason}, status=status, answer_headers=headers)
        return played(player, self.scenario, no)

    def test_without_a_link_the_app_is_told_nothing_more(self, player: Player) -> None:
        inputs = {**self.scenario.inputs, "link": ""}
        assert played(player, self.scenario, pushes(link=None), inputs=inputs).result is Result.DONE

    def test_what_is_too_long_once_it_is_filled_in_is_not_sent(self, player: Player) -> None:
        name = "x" * (4096 - len(json.dumps(pushes("20 % off, ").body)))
        traits = {"endpoint_apns": DEVICE, "first_name": name}
        fits = played(player, self.scenario, pushes(f"20 % off, {name}"), traits=traits)
        assert fits.result is Result.DONE
        outcome = played(player, self.scenario, traits={**traits, "first_name": name + "x"})
        assert (outcome.result, outcome.message) == (
            Result.REJECTED,
            "Filled in, the notification has 4,097 bytes; 4,096 are possible. Shorten its text.",
        )

    @pytest.mark.parametrize(
        ("status", "reason", "words"),
        [
            (410, "Unregistered", "Apple says that the device is no longer registered: "),
            (410, "ExpiredToken", "Apple says that the device is no longer registered: "),
            (400, "BadDeviceToken", "Apple knows no such device here. "),
            (400, "DeviceTokenNotForTopic", "The device's address belongs to another app "),
            (400, "BadTopic", "Apple refused: BadTopic"),
            (403, "Forbidden", "Apple refused: Forbidden"),
            (413, "PayloadTooLarge", "Apple refused: PayloadTooLarge"),
        ],
    )
    def test_refusals(self, player: Player, status: int, reason: str, words: str) -> None:
        outcome = self.refused(player, status, reason)
        assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False)
        assert outcome.message.startswith(words)

    @pytest.mark.parametrize(
        ("status", "reason"),
        [
            (429, "TooManyRequests"),
            (429, "TooManyProviderTokenUpdates"),
            (503, "ServiceUnavailable"),
            (503, "Shutdown"),
        ],
    )
    @pytest.mark.parametrize("headers", [{}, {"Retry-After": "7"}])
    def test_what_is_tried_again(self, player: Player, status: int, reason: str, headers: dict[str, str]) -> None:
        outcome = self.refused(player, status, reason, **headers)
        assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, False)
        assert outcome.message == f"Apple sends no notification just now: {reason}."
        assert outcome.after == (7 if headers else None)

    @pytest.mark.parametrize("reason", ["InternalServerError", "SomethingNew"])
    def test_an_error_within_apple_may_have_sent_it(self, player: Player, reason: str) -> None:
        assert self.refused(player, 500, reason).result is Result.UNCERTAIN

    @pytest.mark.parametrize(
        ("reason", "words"),
        [
            ("InvalidProviderToken", "does not accept the key for push notifications: InvalidProviderToken."),
            ("ExpiredProviderToken", "Is the server's clock right?"),
        ],
    )
    def test_a_refused_key_holds_notifications_alone(self, player: Player, reason: str, words: str) -> None:
        no: dict[str, Any] = {"answer": {"reason": reason}, "status": 403}
        player.vendor.expect(replace(pushes(), **no), COMMON["probe"][0], replace(NOBODY, **no))
        outcome, _ = player.play(self.scenario)
        player.vendor.assert_played()
        assert (outcome.result, outcome.reason) == (Result.HELD, "credentials")
        assert words in outcome.message
        player.vendor.expect(COMMON["probe"][0], replace(NOBODY, **no))
        report = probe(Apple(), PUSHING)
        assert [(line.ok, line.part) for line in report.lines if line.ok is not None] == [
            (True, APP_STORE),
            (False, APNS),
        ]
        assert report.failed_parts == {APNS}

    def test_another_refusal_than_that_of_nobodys_device_fails_the_test(self, player: Player) -> None:
        player.point_at(Apple, ())
        player.vendor.expect(COMMON["probe"][0], replace(NOBODY, answer={"reason": "TopicDisallowed"}))
        failed = [line.text for line in probe(Apple(), PUSHING).lines if line.ok is False]
        assert failed == ["Push notifications: Apple refused: TopicDisallowed"]

    def test_a_key_that_cannot_sign(self, player: Player) -> None:
        player.vendor.expect(*COMMON["probe"])
        outcome, _ = player.play(self.scenario, settings={**PUSHING, "apns_private_key": "no key at all"})
        assert "cannot sign" in outcome.message

    def test_without_a_key_there_are_none(self, player: Player) -> None:
        outcome = played(player, self.scenario, settings=SETTINGS)
        assert (outcome.result, outcome.message) == (Result.REJECTED, pushing.NOT_SET_UP)


def test_a_provider_token_is_the_same_for_half_an_hour_whoever_makes_it() -> None:
    begins = 1_700_000_000 // 1800 * 1800 + 60
    tokens = [pushing.ProviderToken(PUSHING).token(begins + late) for late in (-0.5, 0, 900, 1799.5, 1800)]
    assert tokens[1] == tokens[2] == tokens[3]
    assert len(set(tokens)) == 3


def test_a_notification_over_http2(settings: Settings, tmp_path: Path) -> None:
    with http2_vendor(tmp_path) as vendor:
        settings.ENGAGE_PRIVATE_HOSTS, settings.ENGAGE_VENDOR_URLS = [f"localhost:{vendor.port}"], {}

        class There(Apple):
            protocols = dict(trusting(vendor).protocols)

            def hosts(self, settings: Any) -> dict[str, str]:
                return {"push": vendor.url}

        work = replace(TestPush.scenario.work(), connector=There())
        vendor.does = lambda stream: stream.answer(200, apns_id=NAME)
        done = run(work, MemoryJournal())
        vendor.does = lambda stream: stream.answer(410, b'{"reason": "Unregistered", "timestamp": 1700000000000}')
        gone = run(work, MemoryJournal())
    assert (done.result, done.message) == (Result.DONE, TestPush.scenario.message)
    assert (gone.result, "no longer registered" in gone.message) == (Result.REJECTED, True)
    heard = vendor.heard[0]
    said = {name.lower(): value for name, value in {**TO_APP, **ALERT}.items()}
    assert {name: heard.headers[name] for name in said} == said
    assert heard.headers[":path"] == f"/3/device/{DEVICE}"
    assert json.loads(heard.body) == pushes().body


def test_apples_push_service_is_spoken_to_in_http2_and_the_rest_is_not() -> None:
    for environment in ("live", "sandbox"):
        settings = {**PUSHING, "environment": environment}
        with Api(Apple(), settings, MemoryJournal()) as api:
            session = api._attempt.session  # noqa: SLF001 - what a URL goes through
            hosts = {"": Apple().base_url(settings), **Apple().hosts(settings)}
            spoken = {name for name, url in hosts.items() if isinstance(session.get_adapter(f"{url}/3"), Http2)}
        assert spoken == {"push"}
        assert (environment == "live") == ("development" not in hosts["push"])


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, set()),
        ({"apns_team_id": "", "apns_key_id": "", "apns_private_key": ""}, set()),
        ({"apns_team_id": ""}, {"apns_team_id"}),
        ({"apns_private_key": ""}, {"apns_private_key"}),
        ({"apns_key_id": "short", "apns_private_key": ""}, {"apns_key_id"}),
    ],
)
def test_what_belongs_to_the_push_key_goes_together(settings: Any, changes: Any, wrong: set[str]) -> None:
    assert set(settings_form(None, connector("apple"), {**PUSHING, **changes}).errors) == wrong


# --- settings and catalogues ----------------------------------------------------------------------------


def test_a_key_may_have_lost_its_line_ends(settings: Any) -> None:
    flat = SETTINGS["iap_private_key"].replace("\n", "")
    form = settings_form(None, connector("apple"), {**SETTINGS, "iap_private_key": flat})
    assert form.is_valid(), form.errors
    assert form.cleaned_data["iap_private_key"] == SETTINGS["iap_private_key"]
    other = pem_of(ec.generate_private_key(ec.SECP384R1()))
    for wrong in (other, "x", flat[:60] + flat[80:]):
        assert not settings_form(None, connector("apple"), {**SETTINGS, "iap_private_key": wrong}).is_valid()
    for line in (f"offer {YEAR} x", f"promotional {YEAR}", "subscription", f"winback {YEAR} two words"):
        assert not settings_form(None, connector("apple"), {**SETTINGS, "products": line}).is_valid()


@pytest.fixture
def listing(player: Player) -> Iterator[Api]:
    settings = {**SETTINGS, "asc_key_id": "ASCKEY1234", "asc_private_key": pem_of(iap_key())}
    player.point_at(Apple, (SETTINGS["iap_private_key"],))
    with Api(Apple(), settings, MemoryJournal()) as api:
        yield api
    player.vendor.assert_played()


def listed(path: str, *rows: Any, following: str = "", **query: str) -> Call:
    links = {"links": {"next": following}} if following else {}
    data = [{"type": "x", "id": number, "attributes": attributes} for number, attributes in rows]
    return Call("GET", f"/catalogue/v1/{path}", {"data": data, **links}, {"limit": "200", **query})


def test_what_is_for_sale_is_offered(player: Player, listing: Api) -> None:
    month = {"productId": MONTH, "name": "Monthly", "state": "APPROVED"}
    draft = {"productId": "com.example.draft", "name": "Draft", "state": "MISSING_METADATA"}
    of_groups = (
        listed(
            f"apps/{APP_ID}/subscriptionGroups", ("g1", {}), following="https://elsewhere.invalid/x?cursor=c2&limit=200"
        ),
        listed("subscriptionGroups/g1/subscriptions", ("s1", month), ("s2", draft)),
    )
    rest = listed(f"apps/{APP_ID}/subscriptionGroups", cursor="c2")
    coins = {"productId": "com.example.gems", "name": "Gems", "state": "APPROVED"}
    player.vendor.expect(*of_groups, rest, listed(f"apps/{APP_ID}/inAppPurchasesV2", ("i1", coins)))
    assert [(row.key, row.label) for row in products(listing)] == [
        (f"subs/{YEAR}", f"Premium ({YEAR})"),
        (f"subs/{MONTH}", f"Monthly ({MONTH})"),
        ("inapp/com.example.coins", "com.example.coins"),
        ("inapp/com.example.gems", "Gems (com.example.gems)"),
    ]
    player.vendor.expect(
        *of_groups,
        listed("subscriptions/s1/promotionalOffers", ("o1", {"offerCode": "half"})),
        listed("subscriptions/s1/winBackOffers", ("o2", {"offerId": "back"})),
        rest,
    )
    assert [(row.key, row.within) for row in offers(listing)] == [
        (f"promotional/{YEAR}/winback50", (f"subs/{YEAR}",)),
        (f"promotional/{MONTH}/half", (f"subs/{MONTH}",)),
        (f"winback/{MONTH}/back", (f"subs/{MONTH}",)),
    ]


@pytest.mark.parametrize(("number", "passes"), [(APP_ID, True), ("999999", False)])
def test_the_other_key_is_tested_too(player: Player, number: str, passes: bool) -> None:
    player.point_at(Apple, (SETTINGS["iap_private_key"],))
    query = {"filter[bundleId]": BUNDLE, "limit": "1"}
    there = Call("GET", "/catalogue/v1/apps", {"data": [{"id": number}]}, query)
    player.vendor.expect(*COMMON["probe"], there)
    settings = {**SETTINGS, "asc_key_id": "ASCKEY1234", "asc_private_key": pem_of(iap_key())}
    assert probe(Apple(), settings).passed is passes
    token = str(player.vendor.heard[-1].header("Authorization")).removeprefix("Bearer ")
    claims = jwt.decode(token, iap_key().public_key(), ["ES256"], audience="appstoreconnect-v1")
    assert (jwt.get_unverified_header(token)["kid"], "bid" in claims) == ("ASCKEY1234", False)
