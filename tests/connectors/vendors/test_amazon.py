import json
import logging
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import quote

import pytest
import time_machine
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from django.conf import settings as django_settings

from connectors.failures import Rejected
from connectors.forms import settings_form
from connectors.http import Api
from connectors.registry import connector
from connectors.runner import Outcome, Result, Work, follow_up, probe
from connectors.vendors.amazon import Amazon, products
from connectors.vendors.amazon.buying import Downgrade, Purchase, Upgrade
from connectors.vendors.amazon.checking import Validate
from connectors.vendors.amazon.pushing import Push
from sync.models import MessageState
from tests.connectors.contract import ActionContract, MemoryJournal, Player, Scenario, played
from tests.connectors.fake_vendor import NOTHING, Broken, Call, Form, Raw
from tests.connectors.inbound_contract import House, InboundContract, InboundScenario, Sent

SECRET = "2:planted/secret+of=the:tests=="
USER, RECEIPT = "l3HL7XppEMhrOGDgur9-ulvqomrSg6qyODKmah72lJU=", "wE1EG1gsEZI9q9UnI5YoZ2OxeoVKPdR5:3:11"
PACKAGE = "com.example.streamly"
TOPIC = "arn:aws:sns:us-east-1:123456789012:appstore-rtn"
SETTINGS = {
    "environment": "live",
    "package_name": PACKAGE,
    "shared_secret": SECRET,
    "products": "premium.month Premium, monthly\n\ncoins",
}


def path(user: str = USER, number: str = RECEIPT) -> str:
    """The path of a receipt, in which every part is quoted on its own."""
    parts = ("developer", SECRET, "user", user, "receiptId", number)
    return "/version/1.0/verifyReceiptId/" + "/".join(quote(part, safe="") for part in parts)


def shown(**differences: Any) -> Call:
    answer = {
        "receiptId": RECEIPT,
        "productId": "premium",
        "termSku": "premium.month",
        "productType": "SUBSCRIPTION",
        "purchaseDate": 1763632800000,
        "renewalDate": 1766224800000,
        "cancelDate": None,
        "cancelReason": None,
        "autoRenewing": True,
        "deferredSku": None,
        "testTransaction": False,
    }
    return Call("GET", path(), {**answer, **differences})


NOBODY = path("engage-test-of-the-connection", "engage-test-of-the-connection")
COMMON: dict[str, Any] = {
    "connector": Amazon,
    "settings": SETTINGS,
    "calls": (),
    "result": Result.HANDED_OVER,
    "message": "To be bought in the app: premium.month",
    "traits": {"amazon_user_id": USER},
    "probe": (Call("GET", NOBODY, NOTHING, status=400, signed={}),),
}


def handed(operation: str, **call: Any) -> dict[str, Any]:
    return {
        "kind": "purchase",
        "store": "amazon",
        "operation": operation,
        "package_name": PACKAGE,
        "amazon": {"sku": "premium.month", **call},
        "amazon_user_id": USER,
        "after": {"notify_fulfillment": "after_validation"},
        "report": {"fields": ["amazonUserId", "receiptId"]},
    }


class TestPurchase(ActionContract):
    scenario = Scenario(
        action=Purchase,
        inputs={"sku": "premium.month"},
        instruction=handed("purchase", method="purchase"),
        **COMMON,
    )


class TestUpgrade(ActionContract):
    scenario = Scenario(
        action=Upgrade,
        inputs={"sku": "premium.month", "mode": "IMMEDIATE"},
        instruction=handed("upgrade", method="modifySubscription", prorationMode="IMMEDIATE"),
        **COMMON,
    )


class TestDowngrade(ActionContract):
    scenario = Scenario(
        action=Downgrade,
        inputs={"sku": "premium.month", "mode": "DEFERRED"},
        instruction=handed("downgrade", method="modifySubscription", prorationMode="DEFERRED"),
        **COMMON,
    )


# --- what the app reports -----------------------------------------------------------------------------

JOB = {"user": USER, "receipt": RECEIPT, "sku": "premium.month"}
LEARNED = {
    "amazon_user_id": USER,
    "amazon_receipt_id": RECEIPT,
    "amazon_sku": "premium.month",
    "amazon_renewal_date": "2025-12-20T10:00:00Z",
    "amazon_auto_renewing": True,
}


def test_a_report_is_what_amazon_is_asked_about() -> None:
    told = {"amazonUserId": USER, "receiptId": RECEIPT}
    first = {**handed("purchase"), "amazon_user_id": None}
    assert Purchase().claimed(handed("purchase"), dict(told)) == Purchase().claimed(first, dict(told)) == JOB
    for unfit in ({}, {**told, "receiptId": 7}, {**told, "receiptId": "a b"}, {**told, "amazonUserId": "another"}):
        with pytest.raises(Rejected):
            Purchase().claimed(handed("purchase"), dict(unfit))


def asked(player: Player, call: Call, broken: Broken | None = None) -> tuple[Outcome, MemoryJournal]:
    player.point_at(Amazon, (SECRET,))
    # A key that is refused is tested.
    calls = (call, Call("GET", NOBODY, NOTHING, status=496)) if broken and broken.status == 496 else (call,)
    player.vendor.expect(*calls, broken={0: broken} if broken else None)
    journal = MemoryJournal()
    outcome = follow_up(Work(Amazon(), Purchase(), SETTINGS, {}, {}), JOB, journal)
    player.vendor.assert_played()
    player.keeps((SECRET, quote(SECRET, safe="")), f"{outcome} {[one.as_json() for one in journal.exchanges]}")
    return outcome, journal


def test_a_purchase_is_done_once_amazon_shows_it(player: Player) -> None:
    outcome, journal = asked(player, shown())
    assert (outcome.result, outcome.message) == (Result.DONE, "premium.month is bought.")
    assert outcome.confirmed is not None
    assert outcome.confirmed.traits == {**LEARNED, "amazon_cancel_date": None, "amazon_deferred_sku": None}
    assert (outcome.confirmed.subject, outcome.confirmed.receipt) == (f"receipt {RECEIPT}", RECEIPT)
    assert "developer/[secret]/user" in journal.exchanges[0].url


def test_a_change_at_the_next_renewal_counts_for_no_receipt(player: Player) -> None:
    outcome, _ = asked(player, shown(termSku="premium.year", deferredSku="premium.month"))
    assert outcome.message == "premium.month takes effect at the next renewal."
    assert outcome.confirmed is not None
    assert outcome.confirmed.receipt == ""


@pytest.mark.parametrize(
    ("call", "result"),
    [
        (shown(productType="ENTITLED", productId="premium.month", termSku=None), Result.DONE),
        (shown(renewalDate=1), Result.DONE),
        (shown(cancelDate=1763632800000, cancelReason=1), Result.REJECTED),
        (shown(termSku="premium.year"), Result.REJECTED),
        (shown(receiptId="another"), Result.PENDING),
        (shown(renewalDate="soon"), Result.PENDING),
    ],
)
def test_only_what_amazon_shows_is_done(player: Player, call: Call, result: Result) -> None:
    assert asked(player, call)[0].result is result


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (400, Result.REJECTED),
        (410, Result.REJECTED),
        (497, Result.REJECTED),
        (496, Result.HELD),
        (500, Result.PENDING),
        (429, Result.PENDING),
    ],
)
@pytest.mark.parametrize("raw", ["", '{"message": "no {secret}", "status": false}', "<h1>{secret}</h1>"])
def test_amazons_own_statuses(player: Player, status: int, result: Result, raw: str) -> None:
    broken = Broken("x", status, raw, "text/html" if raw.startswith("<") else "application/json")
    assert asked(player, shown(), broken)[0].result is result


def test_the_key_stands_in_no_log(player: Player, caplog: pytest.LogCaptureFixture) -> None:
    """urllib3 quotes the address where a header cannot be read."""
    loggers: Any = django_settings.LOGGING["loggers"]
    assert logging.getLevelName(loggers["urllib3"]["level"]) > logging.WARNING
    for fault in (Broken("reset", then="reset"), Broken("closed", then="close"), Broken("half", 200, '{"a')):
        assert asked(player, shown(), fault)[0].result is Result.PENDING
    assert quote(SECRET, safe="") not in caplog.text


@pytest.mark.parametrize(
    ("status", "passes"), [(400, True), (410, True), (497, True), (496, False), (500, False), (403, False)]
)
def test_a_key_is_tested_by_a_receipt_that_nobody_has(player: Player, status: int, passes: bool) -> None:
    player.point_at(Amazon, (SECRET,))
    player.vendor.expect(Call("GET", NOBODY, NOTHING, status=status))
    report = probe(Amazon(), SETTINGS)
    assert (report.passed, report.bad_credentials) == (passes, status == 496)
    assert [line.ok for line in probe(Amazon(), {**SETTINGS, "environment": "sandbox"}).lines] == [None, None]
    player.vendor.assert_played()


def test_settings_and_what_is_for_sale() -> None:
    assert settings_form(None, connector("amazon"), SETTINGS).is_valid()
    for wrong in ({"products": "a/b"}, {"rtn_topic_arn": "arn:aws:sqs:x"}, {"rtn_topic_arn": TOPIC + "\nx"}):
        assert not settings_form(None, connector("amazon"), {**SETTINGS, **wrong}).is_valid()
    with Api(Amazon(), SETTINGS, MemoryJournal()) as api:
        assert [(row.key, row.label) for row in products(api)] == [
            ("premium.month", "Premium, monthly (premium.month)"),
            ("coins", "coins"),
        ]
    assert Amazon().base_url({**SETTINGS, "environment": "sandbox"}) == "https://appstore-sdk.amazon.com/sandbox"
    assert Amazon().hosts({**SETTINGS, "rtn_topic_arn": TOPIC}) == {"sns": "https://sns.us-east-1.amazonaws.com"}


# --- how a purchase stands ----------------------------------------------------------------------------

RENEWS, PAST = 32473396800000, 1763632800000  # 15 January 2999, 20 November 2025


class TestValidate(ActionContract):
    scenario = Scenario(
        **{
            **COMMON,
            "action": Validate,
            "calls": (shown(renewalDate=RENEWS),),
            "result": Result.DONE,
            "message": "premium.month is active, and renews on 15 January 2999",
            "traits": {"amazon_user_id": USER, "amazon_receipt_id": RECEIPT},
            "also_yes": frozenset({"gone"}),
        }
    )

    @pytest.mark.parametrize(
        ("stands", "message"),
        [
            ({"renewalDate": PAST}, "premium.month is active, and was to renew on 20 November 2025"),
            ({"renewalDate": None}, "premium.month is active, and renews"),
            ({"autoRenewing": False}, "premium.month is active, and ends on 15 January 2999"),
            ({"deferredSku": "basic.month"}, "premium.month is active, and becomes basic.month on 15 January 2999"),
            ({"cancelDate": PAST, "cancelReason": 1}, "premium.month ended on 20 November 2025"),
            ({"cancelDate": PAST, "cancelReason": 0}, "premium.month ended on 20 November 2025"),
            (
                {"cancelDate": PAST, "cancelReason": 4},
                "premium.month was replaced by another tier on 20 November 2025",
            ),
        ],
    )
    def test_how_it_stands(self, player: Player, stands: dict[str, Any], message: str) -> None:
        call = shown(**{"renewalDate": RENEWS, **stands})
        player.vendor.expect(call)
        outcome, _ = player.play(self.scenario)
        player.vendor.assert_played()
        assert (outcome.result, outcome.message) == (Result.DONE, message)
        assert outcome.confirmed is not None
        assert outcome.confirmed.traits == {
            **LEARNED,
            "amazon_renewal_date": {RENEWS: "2999-01-15T12:00:00Z", PAST: "2025-11-20T10:00:00Z"}.get(
                call.answer["renewalDate"]
            ),
            "amazon_cancel_date": "2025-11-20T10:00:00Z" if "cancelDate" in stands else None,
            "amazon_auto_renewing": stands.get("autoRenewing", True),
            "amazon_deferred_sku": stands.get("deferredSku"),
        }
        assert (outcome.confirmed.subject, outcome.confirmed.receipt) == (f"receipt {RECEIPT}", "")

    def test_what_is_no_subscription_leaves_the_subscriptions_traits_alone(self, player: Player) -> None:
        player.vendor.expect(shown(productType="ENTITLED", productId="film.pass", termSku=None, renewalDate=None))
        outcome, _ = player.play(self.scenario)
        assert (outcome.message, outcome.confirmed and outcome.confirmed.traits) == (
            "film.pass is bought",
            {"amazon_user_id": USER},
        )

    @pytest.mark.parametrize("raw", ["", "<h1>gone</h1>"])
    def test_what_is_no_longer_valid_has_ended(self, player: Player, raw: str) -> None:
        player.vendor.expect(shown(), broken={0: Broken("gone", 410, raw, "text/html")})
        outcome, _ = player.play(self.scenario)
        told = "The purchase has ended: Amazon shows the receipt as no longer valid"
        assert (outcome.result, outcome.message) == (Result.DONE, told)
        assert outcome.confirmed is not None
        assert outcome.confirmed.traits == {"amazon_auto_renewing": False}
        assert outcome.confirmed.subject == f"receipt {RECEIPT}"

    @pytest.mark.parametrize(
        ("status", "message"),
        [(400, "Amazon knows no such receipt."), (497, "Amazon knows no such receipt of this user.")],
    )
    def test_what_amazon_does_not_know_is_refused(self, player: Player, status: int, message: str) -> None:
        player.vendor.expect(shown(), broken={0: Broken("no", status, "")})
        outcome, _ = player.play(self.scenario)
        assert (outcome.result, outcome.message, outcome.confirmed) == (Result.REJECTED, message, None)

    def test_another_developers_key_holds_it(self, player: Player) -> None:
        player.vendor.expect(shown(), broken={0: Broken("key", 496, "")})
        player.vendor.expect(Call("GET", NOBODY, NOTHING, status=496))
        outcome, _ = player.play(self.scenario)
        assert (outcome.result, outcome.reason) == (Result.HELD, "credentials")


# --- push notifications -------------------------------------------------------------------------------

CLIENT, DEVICE = "amzn1.application-oa2-client.1a2b3c", "amzn1.adm-registration.v2.Y29tL/9+a=="
BOTH = {**SETTINGS, "adm_client_id": CLIENT, "adm_client_secret": "planted-client-secret"}
ASKS = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": "planted-client-secret"}
GIVES = Call(
    "POST",
    "/token/auth/O2/token",
    {"access_token": "planted-token", "expires_in": 3600, "scope": "messaging:push", "token_type": "bearer"},
    body=Form({**ASKS, "scope": "messaging:push"}),
    token="planted-token",
    signed={},
)
NOTICE = {"title": "20 % off, Ava", "text": "Come back.", "link": "streamly://offers"}


def pushes(answers: str = DEVICE, **differences: Any) -> Call:
    return Call(
        "POST",
        f"/messaging/messaging/registrations/{quote(DEVICE, safe='')}/messages",
        {"registrationID": answers},
        body={"data": NOTICE, "consolidationKey": "execution-1", "expiresAfter": 86_400, **differences},
    )


class TestPush(ActionContract):
    scenario = Scenario(
        Amazon,
        Push,
        calls=(GIVES, pushes()),
        result=Result.DONE,
        message="Amazon has accepted the notification",
        settings=BOTH,
        traits={"endpoint_adm": DEVICE, "first_name": "Ava"},
        inputs={"title": "20 %% off, %first_name%", "text": "Come back.", "link": "streamly://offers", "hours": 24},
        signed={
            "Authorization": "Bearer planted-token",
            "X-Amzn-Type-Version": "com.amazon.device.messaging.ADMMessage@1.0",
            "X-Amzn-Accept-Type": "com.amazon.device.messaging.ADMSendResult@1.0",
        },
        probe=(*COMMON["probe"], GIVES),
        others=1,
    )

    def test_the_trait_follows_a_new_address(self, player: Player) -> None:
        outcome = played(player, self.scenario, GIVES, pushes("newer"))
        assert (outcome.result, outcome.confirmed and outcome.confirmed.traits) == (
            Result.DONE,
            {"endpoint_adm": "newer"},
        )
        assert played(player, self.scenario, GIVES, pushes()).confirmed is None

    def test_what_is_too_long_once_it_is_filled_in_is_not_sent(self, player: Player) -> None:
        outcome = played(player, self.scenario, traits={"endpoint_adm": DEVICE, "first_name": "x" * 6200})
        assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False)
        assert outcome.message.endswith(" bytes; 6,144 are possible. Shorten its text.")

    @pytest.mark.parametrize(
        ("status", "reason", "result", "words"),
        [
            (400, "Unregistered", Result.REJECTED, "Amazon says that the device is no longer registered: "),
            (400, "InvalidRegistrationId", Result.REJECTED, "Amazon Appstore refused: InvalidRegistrationId"),
            (413, "MessageTooLarge", Result.REJECTED, "Amazon Appstore refused: MessageTooLarge"),
            (429, "MaxRateExceeded", Result.WAITING, "Amazon Appstore asks us to slow down."),
        ],
    )
    def test_amazons_own_reasons(self, player: Player, status: int, reason: str, result: Result, words: str) -> None:
        no = replace(pushes(), answer={"reason": reason}, status=status, answer_headers={"Retry-After": "7"})
        outcome = played(player, self.scenario, GIVES, no)
        assert (outcome.result, outcome.may_have_acted) == (result, False)
        assert outcome.message.startswith(words)

    def test_it_needs_credentials_of_its_own(self, player: Player) -> None:
        outcome = played(player, self.scenario, settings=SETTINGS)
        why = "Device Messaging is not set up in this connection."
        assert (outcome.result, outcome.message) == (Result.REJECTED, why)
        assert lines(player, SETTINGS, *COMMON["probe"])[-1] == (
            None,
            f"{why} Without it no push notifications can be sent.",
        )
        only_half = {name: value for name, value in BOTH.items() if name != "adm_client_secret"}
        assert not settings_form(None, connector("amazon"), only_half).is_valid()

    def test_a_connection_to_the_sandbox_sends_real_ones(self, player: Player) -> None:
        settings = {**BOTH, "environment": "sandbox"}
        gives = (True, "Amazon gives out access tokens for Device Messaging.")
        assert lines(player, settings, GIVES)[0] == lines(player, BOTH, *COMMON["probe"], GIVES)[1] == gives
        assert (Amazon().environment(settings), Amazon().is_sandbox(settings)) == ("Sandbox", False)
        assert Amazon().is_sandbox({**SETTINGS, "environment": "sandbox"})

    def test_refused_credentials_hold_nothing_of_the_appstore(self, player: Player) -> None:
        player.point_at(Amazon, ())
        player.vendor.expect(*COMMON["probe"], replace(GIVES, answer={"error": "invalid_client"}, status=401))
        report = probe(Amazon(), BOTH)
        assert report.failed_parts == {"Device Messaging"}
        assert report.passed_for("Appstore")


def lines(player: Player, settings: dict[str, Any], *calls: Call) -> list[tuple[bool | None, str]]:
    player.point_at(Amazon, ())
    player.vendor.expect(*calls)
    told = probe(Amazon(), settings).lines
    player.vendor.assert_played()
    return [(line.ok, line.text) for line in told]


# --- notifications ------------------------------------------------------------------------------------

FILE = "SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"


@cache
def sns_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(*, ends: timedelta = timedelta(days=30)) -> Call:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(sns_key().public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=90))
        .not_valid_after(now + ends)
        .sign(sns_key(), hashes.SHA256())
    )
    text = made.public_bytes(serialization.Encoding.PEM).decode()
    return Call("GET", f"/sns/{FILE}", Raw("application/x-pem-file", text))


def message(
    tells: bytes, topic: str = TOPIC, *, key: Any = None, version: str = "2", **differences: Any
) -> dict[str, Any]:
    """What SNS sends; the last members are changed before it signs."""
    told = {
        "Type": "Notification",
        "MessageId": f"id-{len(tells)}-{sum(tells)}",
        "TopicArn": topic,
        "Message": tells.decode("utf-8", "replace"),
        "Timestamp": "2026-11-20T10:00:00.000Z",
        "SignatureVersion": version,
        "SigningCertURL": f"https://sns.us-east-1.amazonaws.com/{FILE}",
        **differences,
    }
    names = sorted(set(told) - {"SignatureVersion", "SigningCertURL"})
    signed = "".join(f"{name}\n{told[name]}\n" for name in names).encode()
    digest = hashes.SHA256() if version == "2" else hashes.SHA1()  # noqa: S303 - SNS still does
    told["Signature"] = b64encode((key or sns_key()).sign(signed, padding.PKCS1v15(), digest)).decode()
    return told


def sent(told: dict[str, Any]) -> Sent:
    return Sent(json.dumps(told).encode(), content_type="text/plain; charset=UTF-8")


def rtn(kind: str = "SUBSCRIPTION_RENEWED", **differences: Any) -> bytes:
    told = {"appPackageName": PACKAGE, "notificationType": kind, "appUserId": USER, "receiptId": RECEIPT}
    return json.dumps({**told, "relatedReceipts": {}, "timestamp": 1763632800000, **differences}).encode()


CONFIRM = {
    "Type": "SubscriptionConfirmation",
    "Token": "token-1",
    "SubscribeURL": "https://elsewhere.invalid/?Token=token-1",
}


def sign(tells: bytes, topic: str, at: datetime) -> Sent:
    return sent(message(tells, topic))


class TestNotifications(InboundContract):
    scenario = InboundScenario(
        Amazon,
        tells=rtn(),
        sign=sign,
        known={"amazon_receipt_id": RECEIPT, "amazon_cancel_date": "2026-01-01T00:00:00Z"},
        learned=LEARNED,
        calls=(shown(),),
        settings={"environment": "live", "package_name": PACKAGE},
        secrets={"shared_secret": SECRET},
        type="SUBSCRIPTION_RENEWED",
        unread=rtn("CONSUMABLE_PURCHASED"),
        dated=False,  # what could not be delivered comes hours later, signed as it was
        rotates=False,
        signs_body=False,  # the signature is over the members
        published=(certificate(),),
        secret=TOPIC,
        other=TOPIC.replace("appstore", "another"),
    )

    def test_only_what_sns_signed_for_this_topic_counts(self, house: House) -> None:
        other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        url = "https://sns.us-east-1.amazonaws.com"
        forged = {
            "another key": message(rtn(), key=other),
            "another message": {**message(rtn()), "Message": rtn("SUBSCRIPTION_CANCELLED").decode()},
            "another time": {**message(rtn()), "Timestamp": "2026-11-20T11:00:00.000Z"},
            "a subject afterwards": {**message(rtn()), "Subject": "x"},
            "no signature": {**message(rtn()), "Signature": None},
            "another digest": {**message(rtn()), "SignatureVersion": "1"},
            "no digest": {**message(rtn()), "SignatureVersion": "3"},
            "another kind": message(rtn(), Type="UnsubscribeConfirmation"),
            **{
                f"the certificate at {place}": message(rtn(), SigningCertURL=place)
                for place in (
                    f"https://evil.example.com/{FILE}",
                    f"http://sns.us-east-1.amazonaws.com/{FILE}",
                    f"https://sns.eu-west-1.amazonaws.com/{FILE}",
                    f"https://sns.us-east-1.amazonaws.com.evil.example.com/{FILE}",
                    f"https://evil.example.com@sns.us-east-1.amazonaws.com/{FILE}",
                    f"{url}/other/{FILE}",
                    f"{url}/../{FILE}",
                    f"{url}/{FILE}?x=1",
                    f"{url}/?Action=Publish",
                )
            },
        }
        for why, told in forged.items():
            assert house.send(sent(told)).status_code == 401, why
        assert house.is_untouched()
        assert len(house.vendor.fetched) == 1
        for told in (message(rtn(), version="1"), message(rtn(), Subject="A subject", MessageId="x")):
            assert house.send(sent(told)).status_code == 200

    def test_a_certificate_that_is_over_shows_nothing(self, house: House) -> None:
        over = certificate(ends=-timedelta(days=1))
        house.vendor.published[over.path] = over
        assert house.send(self.scenario.now()).status_code == 401

    def test_a_certificate_is_fetched_once_for_as_long_as_it_is_good(self, house: House) -> None:
        published = certificate(ends=timedelta(days=40))
        house.vendor.published[published.path] = published
        for days, answer, fetched in ((0, 200, 1), (39, 200, 1), (41, 401, 2)):
            with time_machine.travel(datetime.now(UTC) + timedelta(days=days)):
                assert house.send(self.scenario.now()).status_code == answer
            assert len(house.vendor.fetched) == fetched

    def test_the_topic_is_confirmed_where_the_settings_say(self, house: House) -> None:
        asks = message(b"You have chosen to subscribe", **CONFIRM)
        assert house.send(sent(asks)).status_code == 200
        query = {"Action": "ConfirmSubscription", "TopicArn": TOPIC, "Token": "token-1"}
        house.tells(Call("GET", "/sns", Raw("text/xml", "<ConfirmSubscriptionResponse/>"), query))
        house.work()
        house.vendor.assert_played()
        assert house.message().state == MessageState.IGNORED

    def test_a_topic_that_is_not_stored_is_told_of_and_not_confirmed(self, house: House) -> None:
        house.seal("")
        assert house.send(sent(message(b"x", **CONFIRM))).status_code == 401
        assert house.connection.refused_delivery.reason == f"It comes from the topic {TOPIC}."
        assert (house.vendor.fetched, house.vendor.heard) == ([], [])

    def test_what_is_over_takes_nobodys_present_one_away(self, house: House) -> None:
        house.subscriber.traits = {"amazon_user_id": USER, "amazon_receipt_id": "newer"}
        house.subscriber.save()
        house.send(self.scenario.now(rtn("SUBSCRIPTION_CANCELLED")))
        house.tells(shown(cancelDate=1763632800000, cancelReason=4))
        house.work()
        assert house.traits()["amazon_receipt_id"] == "newer"
        house.send(
            self.scenario.now(rtn("SUBSCRIPTION_MODIFIED_IMMEDIATE", relatedReceipts={"cancelledReceiptId": "newer"}))
        )
        house.tells(shown())
        house.work()
        assert house.traits()["amazon_receipt_id"] == RECEIPT

    def test_another_apps_notification_asks_nothing(self, house: House) -> None:
        house.send(self.scenario.now(rtn(appPackageName="com.example.another")))
        house.work()
        assert (house.message().state, house.vendor.heard) == (MessageState.IGNORED, [])

    def test_what_is_no_longer_valid_does_not_renew(self, house: House) -> None:
        house.send(self.scenario.now())
        house.tells(shown(), broken=Broken("gone", 410))
        house.work()
        assert house.traits()["amazon_auto_renewing"] is False
