"""Roku's actions by its sheet: orders for the device, 200s that mean no, and money that is given once."""

import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from connectors.answers import Answer
from connectors.base import Choice
from connectors.failures import BadCredentials, Rejected, Undocumented
from connectors.forms import settings_form
from connectors.http import Api
from connectors.journal import OnlyLooks
from connectors.registry import connector
from connectors.runner import Outcome, Result, Work, follow_up
from connectors.vendors.roku import Roku, products
from connectors.vendors.roku.bill_cycle import UpdateBillCycle
from connectors.vendors.roku.buying import Downgrade, Purchase, Upgrade
from connectors.vendors.roku.managing import Cancel, Credit, Refund, Validate
from connectors.vendors.roku.purchases import traits_of
from sync.models import InboundMessage, MessageState, Subscriber
from tests.connectors.contract import ActionContract, MemoryJournal, Player, Scenario
from tests.connectors.fake_vendor import Broken, Call
from tests.connectors.inbound_contract import House, InboundContract, InboundScenario, Sent

KEY = "PLANTED0123456789ABCDEF0123456789"
NUMBER, OLD, CUSTOMER, CHANNEL = "cea5e5cc-25de-9b9b-13b2-13e9b1c4a3f4", "old-1", "abcdef0123456789", "12345"
LIST = "basic_monthly; films; Basic\npremium_yearly;films; Premium, yearly\nnews\nsports ; sport"
SETTINGS = {"channel_id": CHANNEL, "partner_api_key": KEY, "products": LIST}


def at(when: datetime) -> str:
    return f"/Date({int(when.timestamp() * 1000)}+0000)/"


def in_days(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


ENDS = datetime(2999, 1, 15, 12, tzinfo=UTC)


def bought(**changes: Any) -> dict[str, Any]:
    return {
        "status": 0,
        "errorMessage": "",
        "transactionId": NUMBER,
        "OriginalTransactionId": OLD,
        "productId": "premium_yearly",
        "channelId": int(CHANNEL),
        "amount": 9.99,
        "tax": 0.8,
        "total": 10.79,
        "currency": "usd",
        "purchaseDate": at(in_days(0)),
        "expirationDate": at(ENDS),
        "isEntitled": True,
        "cancelled": False,
        "purchaseStatus": "Active",
        "purchaseType": None,
        "cancelledTransactionIds": [],
        "rokuCustomerId": CUSTOMER,
        **changes,
    }


def shown(number: str = NUMBER, **changes: Any) -> Call:
    return Call("GET", f"/validate-transaction/{KEY}/{number}", bought(**{"transactionId": number, **changes}))


def no(words: str = "Invalid transaction.") -> dict[str, Any]:
    return {"status": 1, "errorCode": None, "errorMessage": words}


def wrote(path: str, answer: Any = None, **body: Any) -> Call:
    wish = {"partnerAPIKey": KEY, **body, "partnerReferenceId": "execution-1"}
    return Call("POST", f"/{path}", {"errorCode": None, "errorMessage": "", "status": 0} | (answer or {}), body=wish)


COMMON: dict[str, Any] = {
    "connector": Roku,
    "settings": SETTINGS,
    "probe": (Call("GET", f"/validate-transaction/{KEY}/{'0' * 32}", no()),),
}
KNOWN = {"roku_transaction_id": NUMBER}


class Now(str):
    """The time at which it is sent, to the microsecond and without a zone."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        told = datetime.fromisoformat(str(other))
        return abs(told.replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(minutes=5)

    __hash__ = str.__hash__


NOW = Now("now")

# --- what the device does -----------------------------------------------------------------------------------------------


def handed(operation: str, replaces: str | None, **order: Any) -> dict[str, Any]:
    return {
        "kind": "purchase",
        "store": "roku",
        "operation": operation,
        "channel_id": CHANNEL,
        "order": {**order, "items": [{"code": "premium_yearly", "qty": 1}]},
        "command": "doOrder",
        "replaces": replaces,
        "asked_at": NOW,
        "report": {"fields": ["purchaseId"]},
    }


CLIENT: dict[str, Any] = {
    "result": Result.HANDED_OVER,
    "message": "To be bought in the app: premium_yearly",
    "inputs": {"product": "premium_yearly"},
    **COMMON,
}
BASIC = shown(OLD, productId="basic_monthly")


class TestPurchase(ActionContract):
    scenario = Scenario(action=Purchase, calls=(), traits={}, instruction=handed("purchase", None), **CLIENT)


class TestUpgrade(ActionContract):
    scenario = Scenario(
        action=Upgrade,
        calls=(BASIC,),
        traits={"roku_transaction_id": OLD},
        instruction=handed("upgrade", OLD, action="Upgrade"),
        **CLIENT,
    )

    @pytest.mark.parametrize(
        ("present", "words"),
        [
            ({"isEntitled": False}, "cannot be changed"),
            ({"cancelled": True}, "cannot be changed"),
            ({"productId": "premium_yearly"}, "has premium_yearly already"),
            ({"productId": "sports"}, "different product groups"),
            ({"channelId": "999"}, "another app"),
        ],
    )
    def test_a_plan_that_cannot_be_changed(self, player: Player, present: Any, words: str) -> None:
        player.vendor.expect(shown(OLD, **{"productId": "basic_monthly", **present}))
        outcome, _ = player.play(self.scenario)
        assert (outcome.result, words in outcome.message) == (Result.REJECTED, True)

    def test_an_unknown_plan_or_group_is_left_to_roku(self, player: Player) -> None:
        player.vendor.expect(shown(OLD, productId="news"))
        assert player.play(self.scenario)[0].result is Result.HANDED_OVER
        outcome, _ = player.play(self.scenario, traits={})
        assert outcome.instruction == handed("upgrade", None, action="Upgrade")


class TestDowngrade(ActionContract):
    scenario = Scenario(
        action=Downgrade,
        calls=(BASIC,),
        traits={"roku_transaction_id": OLD},
        instruction=handed("downgrade", OLD, action="Downgrade"),
        **CLIENT,
    )


class TestWhatTheDeviceReports:
    def asked(self, player: Player, answer: Call, action: Any = Purchase, **instruction: Any) -> Outcome:
        told = {**handed("purchase", None), "asked_at": in_days(0).isoformat(), **instruction}
        job = action().claimed(told, {"purchaseId": NUMBER, "orderStatus": "1"})
        player.vendor.expect(answer)
        player.point_at(Roku, (KEY,))
        outcome = follow_up(Work(Roku(), action(), SETTINGS, {}, {}), job, MemoryJournal())
        player.vendor.assert_played()
        return outcome

    def test_is_done_once_roku_shows_it(self, player: Player) -> None:
        outcome = self.asked(player, shown())
        assert (outcome.result, outcome.message) == (Result.DONE, "premium_yearly is bought")
        assert outcome.confirmed is not None
        assert (outcome.confirmed.subject, outcome.confirmed.receipt) == (f"purchase {OLD}", NUMBER)
        assert outcome.confirmed.traits["roku_state"] == "active"

    @pytest.mark.parametrize(
        "changes",
        [
            {"productId": "news"},
            {"channelId": 999},
            {"purchaseDate": at(in_days(-30))},
        ],
    )
    def test_another_purchase_is_not_believed(self, player: Player, changes: Any) -> None:
        assert self.asked(player, shown(**changes)).result is Result.REJECTED

    @pytest.mark.parametrize(
        ("changes", "result"),
        [
            ({"purchaseType": "UPGRADE", "cancelledTransactionIds": [OLD]}, Result.DONE),
            ({"purchaseType": "UPGRADE", "cancelledTransactionIds": ["bobs"]}, Result.REJECTED),
            ({"purchaseType": None}, Result.REJECTED),
            ({"purchaseType": "DOWNGRADE", "cancelledTransactionIds": [OLD]}, Result.REJECTED),
        ],
    )
    def test_an_upgrade_took_the_place_of_the_persons_plan(self, player: Player, changes: Any, result: Result) -> None:
        told = handed("upgrade", OLD) | {"asked_at": in_days(0).isoformat()}
        assert self.asked(player, shown(**changes), Upgrade, **told).result is result

    def test_a_downgrade_waits_for_the_end_of_the_period(self, player: Player) -> None:
        later = shown(purchaseType="DOWNGRADE", purchaseStatus="PendingActive", isEntitled=False)
        told = handed("downgrade", OLD) | {"asked_at": in_days(0).isoformat()}
        outcome = self.asked(player, later, Downgrade, **told)
        assert outcome.result is Result.DONE
        assert outcome.confirmed is not None
        assert (outcome.confirmed.traits, outcome.confirmed.receipt) == ({}, NUMBER)

    def test_a_purchase_that_roku_does_not_have_is_none(self, player: Player) -> None:
        assert self.asked(player, replace(shown(), answer=no())).result is Result.REJECTED
        assert self.asked(player, replace(shown(), status=404)).result is Result.PENDING

    def test_a_pending_purchase_is_asked_about_again(self, player: Player) -> None:
        assert self.asked(player, shown(purchaseStatus="Pending_Active")).result is Result.PENDING

    @pytest.mark.parametrize("detail", [{}, {"purchaseId": 7}, {"purchaseId": ""}, {"purchaseId": "a b"}])
    def test_a_report_without_a_transaction(self, detail: Any) -> None:
        with pytest.raises(Rejected):
            Purchase().claimed(handed("purchase", None), detail)


# --- what a server does -------------------------------------------------------------------------------------------------


class TestValidate(ActionContract):
    scenario = Scenario(
        action=Validate,
        calls=(shown(),),
        result=Result.DONE,
        message="premium_yearly is active",
        traits=KNOWN,
        **COMMON,
    )


class TestCancel(ActionContract):
    scenario = Scenario(
        action=Cancel,
        calls=(
            shown(),
            shown(),
            wrote("cancel-subscription", transactionId=NUMBER, cancellationDate=NOW, dontNotifyUser=False),
        ),
        result=Result.PENDING,
        message="Roku accepted it.",
        job={"transaction": NUMBER},
        traits=KNOWN,
        inputs={"when": "now", "notify": True},
        looks=1,
        looks_done=(shown(cancelled=True),),
        **COMMON,
    )

    def test_with_the_end_of_what_was_paid_for(self, player: Player) -> None:
        date = "2999-01-15T12:00:00.000000"
        call = wrote("cancel-subscription", transactionId=NUMBER, cancellationDate=date, dontNotifyUser=True)
        player.vendor.expect(shown(), shown(), call)
        outcome, _ = player.play(self.scenario, inputs={"when": "end_of_period"})
        player.vendor.assert_played()
        assert outcome.result is Result.PENDING

    @pytest.mark.parametrize(
        ("cancelled", "result", "message"),
        [
            (True, Result.DONE, "premium_yearly is cancelled; what was paid for ends on 15 January 2999"),
            (False, Result.PENDING, "Roku does not show it yet."),
        ],
    )
    def test_it_is_done_once_roku_shows_it(self, player: Player, cancelled: bool, result: Result, message: str) -> None:
        player.vendor.expect(shown(cancelled=cancelled))
        player.point_at(Roku, (KEY,))
        outcome = follow_up(Work(Roku(), Cancel(), SETTINGS, {}, {}), {"transaction": NUMBER}, MemoryJournal())
        assert (outcome.result, outcome.message) == (result, message)

    def test_a_look_that_is_refused_afterwards_says_nothing_of_it(self, player: Player) -> None:
        player.vendor.expect(replace(shown(), answer=no()))
        player.point_at(Roku, (KEY,))
        outcome = follow_up(Work(Roku(), Cancel(), SETTINGS, {}, {}), {"transaction": NUMBER}, MemoryJournal())
        assert (outcome.result, outcome.job) == (Result.PENDING, {"transaction": NUMBER})


def refunded(amount: float, comment: str = "") -> Call:
    return wrote("refund-subscription", {"RefundId": "r-1"}, transactionId=NUMBER, amount=amount, comments=comment)


class TestRefund(ActionContract):
    scenario = Scenario(
        action=Refund,
        calls=(shown(), refunded(3.3, "Sorry")),
        result=Result.DONE,
        message="3.30 USD of premium_yearly is refunded (refund r-1)",
        traits=KNOWN,
        inputs={"kind": "percent", "percent": 33, "comment": "Sorry"},
        **COMMON,
    )

    @pytest.mark.parametrize(
        ("inputs", "amount"), [({"kind": "full"}, 9.99), ({"kind": "amount", "amount": "5.00"}, 5.0)]
    )
    def test_all_of_it_or_an_amount(self, player: Player, inputs: Any, amount: float) -> None:
        player.vendor.expect(shown(), refunded(amount))
        assert player.play(self.scenario, inputs=inputs)[0].result is Result.DONE
        player.vendor.assert_played()

    @pytest.mark.parametrize(
        ("inputs", "price"), [({"kind": "amount", "amount": "10.00"}, 9.99), ({"kind": "full"}, 0)]
    )
    def test_never_more_than_the_price(self, player: Player, inputs: Any, price: float) -> None:
        player.vendor.expect(shown(amount=price))
        outcome, _ = player.play(self.scenario, inputs=inputs)
        player.vendor.assert_played()
        assert (outcome.result, "cannot be refunded" in outcome.message) == (Result.REJECTED, True)

    @pytest.mark.parametrize("inputs", [{"kind": "amount"}, {"kind": "full", "percent": 5}, {"kind": "percent"}])
    def test_inputs_that_contradict_each_other(self, inputs: Any) -> None:
        assert not Refund.Inputs(data=inputs).is_valid()


def credited(amount: float, **more: Any) -> Call:
    body = {"amount": amount, "channelId": CHANNEL, "rokuCustomerId": CUSTOMER, "comments": "", **more}
    return wrote("issue-service-credit", {"ReferenceId": "c-1"}, **body)


class TestCredit(ActionContract):
    scenario = Scenario(
        action=Credit,
        calls=(credited(5.0, productId="premium_yearly"),),
        result=Result.DONE,
        message="A credit of 5.00 is given (reference c-1)",
        traits={"roku_customer_id": CUSTOMER},
        inputs={"amount": "5.00", "product": "premium_yearly"},
        **COMMON,
    )

    def test_the_price_of_a_period_is_a_free_period(self, player: Player) -> None:
        player.vendor.expect(shown(), credited(9.99))
        outcome, _ = player.play(self.scenario, inputs={}, traits={"roku_customer_id": CUSTOMER, **KNOWN})
        player.vendor.assert_played()
        assert outcome.message == "A credit of 9.99 is given (reference c-1)"

    def test_without_an_amount_or_a_transaction(self, player: Player) -> None:
        assert "roku_transaction_id" in player.play(self.scenario, inputs={})[0].message

    @pytest.mark.parametrize("answer", [no("Credit not allowed"), {"status": 7, "errorMessage": "Credit not allowed"}])
    def test_a_no_inside_a_200_is_a_no(self, player: Player, answer: Any) -> None:
        player.vendor.expect(replace(self.scenario.calls[0], answer=answer))
        outcome, _ = player.play(self.scenario)
        assert (outcome.result, outcome.message) == (Result.REJECTED, "Roku refused: Credit not allowed")
        assert not outcome.may_have_acted

    @pytest.mark.parametrize("answer", [{"status": 0}, {"ReferenceId": "c-1"}, {"status": 0, "ReferenceId": ""}])
    def test_an_answer_that_shows_no_credit_is_a_persons_to_judge(self, player: Player, answer: Any) -> None:
        player.vendor.expect(replace(self.scenario.calls[0], answer=answer))
        outcome, _ = player.play(self.scenario)
        assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True)


class TestUpdateBillCycle(ActionContract):
    call = Call(
        "POST",
        "/update-bill-cycle",
        {"status": 0, "errorMessage": ""},
        body={"partnerAPIKey": KEY, "transactionId": NUMBER, "newBillCycleDate": "2999-02-14"},
    )
    scenario = Scenario(
        action=UpdateBillCycle,
        calls=(shown(), call),
        result=Result.DONE,
        message="Roku accepted 30 free days of premium_yearly before its next bill",
        traits=KNOWN,
        inputs={"days": "30"},
        **{**COMMON, "settings": {**SETTINGS, "legacy_bill_cycle": True}},
    )

    def test_it_is_off_unless_the_settings_say_so(self, player: Player) -> None:
        off = replace(self.scenario, settings=SETTINGS)
        outcome, _ = player.play(off)
        told = (
            "Roku's reference no longer has it. “Give free days by moving the bill (legacy)” under Settings offers it."
        )
        assert (outcome.result, outcome.message, player.vendor.heard) == (Result.REJECTED, told, [])

    @pytest.mark.parametrize(
        "changes", [{"cancelled": True}, {"isEntitled": False}, {"expirationDate": at(in_days(-1))}]
    )
    def test_what_does_not_renew_has_no_next_bill(self, player: Player, changes: Any) -> None:
        player.vendor.expect(shown(**changes))
        outcome, _ = player.play(self.scenario)
        player.vendor.assert_played()
        assert (outcome.result, "no next bill" in outcome.message) == (Result.REJECTED, True)

    def test_a_repeat_sends_the_same_date_although_roku_shows_the_moved_one(self, player: Player) -> None:
        journal = MemoryJournal()
        player.vendor.expect(shown(), self.call, broken={1: Broken("reset", then="reset")})
        lost, _ = player.play(self.scenario, journal)
        player.vendor.expect(shown(expirationDate=at(ENDS + timedelta(days=30))), self.call)
        again, _ = player.play(self.scenario, journal.again(), may_have_acted=True)
        player.vendor.assert_played()
        assert (lost.result, lost.may_have_acted, again.result) == (Result.WAITING, True, Result.DONE)


# --- what Roku shows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entitled", "cancelled", "days", "state"),
    [
        (True, False, 9, "active"),
        (True, True, 9, "cancelled"),
        (True, False, -1, "grace"),
        (False, False, -9, "on_hold"),
        (False, True, -9, "ended"),
    ],
)
def test_how_a_subscription_stands(entitled: bool, cancelled: bool, days: int, state: str) -> None:
    shows = bought(isEntitled=entitled, cancelled=cancelled, expirationDate=at(in_days(days)))
    assert traits_of(Answer(shows, where="answer"))["roku_state"] == state


def test_the_traits_of_a_purchase() -> None:
    told = traits_of(Answer(bought(expirationDate="\\/Date(1581033062000+0000)\\/"), where="answer"))
    assert told == {
        "roku_customer_id": CUSTOMER,
        "roku_transaction_id": NUMBER,
        "roku_original_transaction_id": OLD,
        "roku_product_code": "premium_yearly",
        "roku_expiration_date": "2020-02-06T23:51:02Z",
        "roku_is_entitled": True,
        "roku_cancelled": False,
        "roku_state": "grace",
    }
    with pytest.raises(Undocumented):
        traits_of(Answer(bought(expirationDate="tomorrow"), where="answer"))


class TestTheKey:
    def probed(self, player: Player, answer: Any, broken: Broken | None = None) -> Any:
        player.vendor.expect(replace(COMMON["probe"][0], answer=answer), broken={0: broken} if broken else None)
        player.point_at(Roku, (KEY,))
        with Api(Roku(), SETTINGS, OnlyLooks(5)) as api:
            return Roku().probe(api)

    def test_a_wrong_one_is_told_inside_a_200(self, player: Player) -> None:
        with pytest.raises(BadCredentials):
            self.probed(player, no("UNAUTHORIZED"))

    def test_another_refusal_says_that_it_is_right(self, player: Player) -> None:
        assert self.probed(player, no())[0].ok is True

    def test_a_shape_that_is_refused_says_nothing_of_it(self, player: Player) -> None:
        with pytest.raises(Rejected):
            self.probed(player, {}, Broken("400", 400, "Invalid URI format.", "text/plain"))

    def test_stands_in_nothing_that_is_kept(self, player: Player) -> None:
        player.vendor.expect(*TestRefund.scenario.calls)
        _, journal = player.play(TestRefund.scenario)
        assert journal.exchanges[0].url == f"{player.vendor.url}/validate-transaction/[secret]/{NUMBER}"
        assert journal.exchanges[1].body["partnerAPIKey"] == "[secret]"


class TestProducts:
    def test_they_are_those_that_were_typed(self) -> None:
        with Api(Roku(), SETTINGS, OnlyLooks(5)) as api:
            found = list(products(api))
        assert found[1:3] == [Choice("premium_yearly", "Premium, yearly (premium_yearly)"), Choice("news", "news")]

    @pytest.mark.parametrize(("typed", "fits"), [(LIST, True), ("", True), ("a b; films", False), ("; films", False)])
    def test_each_line_begins_with_a_code(self, typed: str, fits: bool) -> None:
        assert settings_form(None, connector("roku"), {**SETTINGS, "products": typed}).is_valid() is fits


# --- what Roku tells by itself ------------------------------------------------------------------------------------------

APP_ID = "9876543210"


@cache
def signing_key(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_set(**public: rsa.RSAPublicKey) -> Call:
    rows = [{**RSAAlgorithm.to_jwk(each, as_dict=True), "kid": kid.replace("_", "-")} for kid, each in public.items()]
    return Call("GET", "/keys/keys/partner-jwks.json", {"keys": rows})


def pushed(
    tells: bytes, when: datetime, *, encode: Any = base64.b64encode, name: str = "roku-1", **claims: Any
) -> Sent:
    told = {
        "iss": "Roku, Inc. urn:roku:apps:partner-service.roku.com",
        "exp": int(when.timestamp()) + 86_400,
        "nbf": int(when.timestamp()) - 3600,
        "x-Roku-message-type": "roku.rpay.push",
        "x-Roku-message-key": hashlib.sha256(tells).hexdigest(),
        "x-Roku-message": encode(tells).decode(),
        **claims,
    }
    said = {member: value for member, value in told.items() if value is not None}
    token = jwt.encode(said, signing_key(name), "RS256", headers={"kid": "roku-1"})
    return Sent(token.encode(), content_type="text/plain")


def notice(kind: str = "Cancellation", **changes: Any) -> bytes:
    told = {
        "transactionType": kind,
        "transactionId": NUMBER,
        "originalTransactionId": OLD,
        "customerId": CUSTOMER,
        "productCode": "premium_yearly",
        "channelId": APP_ID,
        "eventDate": "2027-01-15T12:00:00Z",
        "responseKey": "answer-1",
        "partnerReferenceId": "",
    }
    return json.dumps({**told, **changes}).encode()


class TestNotifications(InboundContract):
    scenario = InboundScenario(
        Roku,
        tells=notice(),
        sign=lambda tells, _, when: pushed(tells, when),
        known={"roku_original_transaction_id": OLD, "roku_state": "active", "first_name": "Ann"},
        learned={
            "first_name": "Ann",
            "roku_customer_id": CUSTOMER,
            "roku_transaction_id": NUMBER,
            "roku_original_transaction_id": OLD,
            "roku_product_code": "premium_yearly",
            "roku_expiration_date": "2999-01-15T12:00:00Z",
            "roku_is_entitled": True,
            "roku_cancelled": True,
            "roku_state": "cancelled",
        },
        calls=(shown(cancelled=True, channelId=APP_ID),),
        settings={"products": ""},
        secrets={"partner_api_key": KEY},
        type="Cancellation",
        unread=notice("Refund"),
        dated=False,  # a token is good for a day
        rotates=False,
        reply=b"answer-1",
        published=(key_set(roku_1=signing_key("roku-1").public_key()),),
        secret=APP_ID,
        other="1234567890",
    )

    def test_another_secret(self, house: House) -> None:
        """Roku has one address for all apps of a developer, and gives it up after refusals: others are acknowledged."""
        assert house.send(Sent(pushed(notice(channelId="1234567890"), datetime.now(UTC)).body)).status_code == 200
        assert house.work() == 0
        assert (house.message().type, house.message().payload) == ("of another app", {})
        assert house.traits() == dict(self.scenario.known)

    def test_only_rokus_token_counts(self, house: House) -> None:
        now, day = datetime.now(UTC), timedelta(days=1)
        forged = {
            "another issuer": pushed(notice(), now, iss="https://elsewhere.example"),
            "none": pushed(notice(), now, iss=None),
            "over": pushed(notice(), now - 2 * day),
            "not yet": pushed(notice(), now + day),
            "for ever": pushed(notice(), now, exp=None),
            "another key under its name": pushed(notice(), now, name="another"),
        }
        for name, sent in forged.items():
            assert house.send(sent).status_code == 401, name
        assert house.is_untouched()

    def test_the_other_alphabet_of_base64(self, house: House) -> None:
        sent = pushed(notice(responseKey="??>>"), datetime.now(UTC), encode=base64.urlsafe_b64encode)
        assert house.send(sent).content == b"??>>"
        assert house.message().type == "Cancellation"

    def test_whose_a_sale_is_says_its_customer_and_of_a_change_the_purchase_alone(self, house: House) -> None:
        Subscriber.objects.update(traits={"roku_customer_id": CUSTOMER, "roku_transaction_id": "newer"})
        for kind, state in (("Cancellation", MessageState.UNMATCHED), ("Sale", MessageState.DONE)):
            house.send(pushed(notice(kind), datetime.now(UTC)))
            house.tells(shown(channelId=APP_ID))
            house.work()
            assert InboundMessage.objects.get(type=kind).state == state
        assert house.traits()["roku_transaction_id"] == NUMBER

    def test_a_plan_that_has_not_begun_is_not_theirs_yet(self, house: House) -> None:
        house.send(pushed(notice("DowngradeSale"), datetime.now(UTC)))
        house.tells(shown(channelId=APP_ID, purchaseStatus="PendingActive"))
        house.work()
        assert house.traits() == dict(self.scenario.known)
