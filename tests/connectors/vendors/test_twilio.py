"""Twilio's messages by its sheet: what goes over the wire, and how every one of its answers is read."""

from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from connectors import runner
from connectors.base import Choice, ProbeLine
from connectors.forms import settings_form
from connectors.http import Api
from connectors.journal import OnlyLooks
from connectors.runner import Outcome, Result
from connectors.vendors.twilio import LONGEST_TEXT, SendSms, SendSmsTo, Twilio
from tests.connectors.contract import ActionContract, MemoryJournal, Player, Scenario
from tests.connectors.fake_vendor import Call, Form

ACCOUNT, KEY_SID, SERVICE = "AC" + "0a" * 16, "SK" + "1b" * 16, "MG" + "2c" * 16
SID = "SM" + "3d" * 16
SECRET = "planted-secret-of-the-key"
SETTINGS = {
    "region": "us1",
    "account_sid": ACCOUNT,
    "key_sid": KEY_SID,
    "secret": SECRET,
    "sender": "+15005550006",
    "validity_period": None,
}
BY_TOKEN = {**SETTINGS, "key_sid": ""}
SIGNED = {
    "Authorization": f"Basic {b64encode(f'{KEY_SID}:{SECRET}'.encode()).decode()}",
    "Accept": "application/json",
}
ANN = "+14155550123"
MESSAGES = f"/Accounts/{ACCOUNT}/Messages.json"
MESSAGE = f"/Accounts/{ACCOUNT}/Messages/{SID}.json"
QUEUED = {"sid": SID, "status": "queued", "to": ANN, "num_segments": "1", "error_code": None, "error_message": None}
PROBE = Call("GET", MESSAGES, {"messages": []}, {"PageSize": "1"})
TEXT = "Hello %first_name|there%, 100%% of it is yours"


def sent(answer: Any = QUEUED, status: int = 201, **fields: str) -> Call:
    body = {"To": ANN, "From": "+15005550006", "Body": "Hello Ann, 100% of it is yours", **fields}
    return Call(
        "POST", MESSAGES, answer, body=Form({name: value for name, value in body.items() if value}), status=status
    )


class TestSendSms(ActionContract):
    scenario = Scenario(
        Twilio,
        SendSms,
        calls=(sent(),),
        result=Result.PENDING,
        message=f"Twilio has queued it as {SID}",
        job={"sid": SID},
        settings=SETTINGS,
        traits={"phone_number": ANN, "first_name": "Ann"},
        inputs={"text": TEXT},
        signed=SIGNED,
        probe=(PROBE,),
    )


class TestSendSmsTo(ActionContract):
    scenario = Scenario(
        Twilio,
        SendSmsTo,
        calls=(sent({**QUEUED, "status": "accepted"}, To="+442071838750", From="", MessagingServiceSid=SERVICE),),
        result=Result.PENDING,
        message=f"Twilio has accepted it as {SID}",
        job={"sid": SID},
        settings={**SETTINGS, "sender": SERVICE},
        traits={"first_name": "Ann"},
        inputs={"to": "+442071838750", "text": TEXT},
        signed=SIGNED,
        probe=(PROBE,),
    )


SMS = TestSendSms.scenario


def played(player: Player, *calls: Call, scenario: Scenario = SMS, **differences: Any) -> Outcome:
    player.vendor.expect(*calls)
    outcome, _ = player.play(scenario, **differences)
    player.vendor.assert_played()
    return outcome


def refused_with(code: int, message: str, status: int = 400) -> dict[str, Any]:
    return {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }


class TestWhatIsSent:
    def test_a_picture_and_for_how_long_it_is_worth_sending(self, player: Player) -> None:
        picture = "https://example.com/a.png"
        call = sent(MediaUrl=picture, ValidityPeriod="600")
        outcome = played(
            player, call, settings={**SETTINGS, "validity_period": 600}, inputs={"text": TEXT, "media_url": picture}
        )
        assert outcome.result is Result.PENDING

    @pytest.mark.parametrize(("sender", "field"), [(SERVICE, "MessagingServiceSid"), ("Streamly", "From")])
    def test_an_action_may_name_another_sender(self, player: Player, sender: str, field: str) -> None:
        named: dict[str, Any] = {"From": "", field: sender}
        call = sent(**named)
        assert played(player, call, inputs={"text": TEXT, "sender": sender}).result is Result.PENDING

    @pytest.mark.parametrize("sender", ["../admin", "a name that is long", "+0", "12"])
    def test_what_is_no_sender_is_refused(self, player: Player, sender: str) -> None:
        assert played(player, inputs={"text": TEXT, "sender": sender}).reason == "inputs"

    def test_a_number_as_people_write_it(self, player: Player) -> None:
        for number in ("+1 415 555 0123", "+1-415-555-0123", "+1.415.555.0123", " +14155550123 "):
            outcome = played(player, sent(), traits={"phone_number": number, "first_name": "Ann"})
            assert outcome.result is Result.PENDING

    @pytest.mark.parametrize(
        "number", ["4155550123", "+0155550123", "+44 (0)20 7183 8750", "0044207", "+1415555012345678", 14155550123, "+"]
    )
    def test_a_number_that_would_have_to_be_guessed_is_refused(self, player: Player, number: Any) -> None:
        outcome = played(player, traits={"phone_number": number, "first_name": "Ann"})
        assert (outcome.result, player.vendor.heard) == (Result.REJECTED, [])
        assert outcome.message == "The trait phone_number holds no phone number that begins with + and its country."

    def test_without_a_trait_stands_its_default(self, player: Player) -> None:
        outcome = played(player, sent(Body="Hello there, 100% of it is yours"), traits={"phone_number": ANN})
        assert outcome.result is Result.PENDING

    def test_a_trait_without_a_default_is_needed(self, player: Player) -> None:
        outcome = played(player, traits={"phone_number": ANN}, inputs={"text": "Hello %first_name%"})
        assert (outcome.result, outcome.reason) == (Result.SKIPPED, "missing")
        assert "first_name" in outcome.message

    @pytest.mark.parametrize("text", ["100% of it", "%input.plan%", "%secret.key%"])
    def test_a_text_that_cannot_be_filled_in_is_refused(self, player: Player, text: str) -> None:
        outcome = played(player, inputs={"text": text})
        assert (outcome.result, outcome.reason) == (Result.REJECTED, "inputs")

    def test_a_text_that_grew_too_long(self, player: Player) -> None:
        traits = {"phone_number": ANN, "first_name": "x" * LONGEST_TEXT}
        assert played(player, traits=traits).message.startswith("Filled in, the text has 1627 characters")

    def test_a_text_of_nothing(self, player: Player) -> None:
        traits = {"phone_number": ANN, "first_name": " "}
        assert played(player, traits=traits, inputs={"text": "%first_name%"}).result is Result.REJECTED

    def test_the_auth_token_signs_as_the_account(self, player: Player) -> None:
        basic = b64encode(f"{ACCOUNT}:{SECRET}".encode()).decode()
        by_token = replace(SMS, settings=BY_TOKEN, signed={"Authorization": f"Basic {basic}"})
        assert played(player, sent(), scenario=by_token).result is Result.PENDING


class TestRefusals:
    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (21211, "The 'To' number is not a valid phone number."),
            (21408, "Permission to send an SMS has not been enabled for the region"),
            (21610, "Attempt to send to unsubscribed recipient"),
            (99999, "A code of next year"),
        ],
    )
    def test_are_in_twilios_words(self, player: Player, code: int, words: str) -> None:
        outcome = played(player, sent(refused_with(code, words), 400))
        assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False)
        assert outcome.message == f"Twilio SMS refused: {words}"

    def test_a_full_queue_is_tried_again(self, player: Player) -> None:
        outcome = played(player, sent(refused_with(21611, "This 'From' number has too many messages"), 400))
        assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, False)


class TestWhatBecameOfIt:
    def asked(self, player: Player, settings: Settings, answer: Any, status: int = 200) -> Outcome:
        settings.ENGAGE_VENDOR_URLS = {"twilio": player.vendor.url}
        player.vendor.expect(Call("GET", MESSAGE, answer, status=status))
        outcome = runner.follow_up(SMS.work(), {"sid": SID}, MemoryJournal())
        player.vendor.assert_played()
        return outcome

    @pytest.mark.parametrize(
        ("status", "result"),
        [
            *((status, Result.PENDING) for status in ("accepted", "scheduled", "queued", "sending", "unheard-of")),
            *((status, Result.DONE) for status in ("delivered", "read", "partially_delivered")),
            *((status, Result.REJECTED) for status in ("failed", "undelivered", "canceled")),
        ],
    )
    def test_its_status_says_so(self, player: Player, settings: Settings, status: str, result: Result) -> None:
        outcome = self.asked(player, settings, {**QUEUED, "status": status})
        assert outcome.result is result
        assert SID in outcome.message or status == "unheard-of"
        assert outcome.job == ({"sid": SID} if result is Result.PENDING else None)

    def test_a_loss_says_why(self, player: Player, settings: Settings) -> None:
        lost = {**QUEUED, "status": "undelivered", "error_code": 30003, "error_message": "Unreachable destination"}
        outcome = self.asked(player, settings, lost)
        assert outcome.message == f"Twilio's message {SID} is undelivered. Unreachable destination (error 30003)"

    @pytest.mark.parametrize(("minutes", "result"), [(1, Result.PENDING), (11, Result.DONE)])
    def test_a_receipt_is_waited_for_and_not_for_ever(
        self, player: Player, settings: Settings, minutes: int, result: Result
    ) -> None:
        told = format_datetime(datetime.now(UTC) - timedelta(minutes=minutes))
        assert self.asked(player, settings, {**QUEUED, "status": "sent", "date_sent": told}).result is result

    @pytest.mark.parametrize("told", [None, "soon", 7])
    def test_a_time_that_is_none_proves_nothing(self, player: Player, settings: Settings, told: Any) -> None:
        outcome = self.asked(player, settings, {**QUEUED, "status": "sent", "date_sent": told})
        assert outcome.result is Result.PENDING

    def test_one_that_is_not_to_be_seen_yet(self, player: Player, settings: Settings) -> None:
        assert self.asked(player, settings, refused_with(20404, "not found", 404), 404).result is Result.PENDING

    def test_with_test_credentials_nothing_is_delivered(self, player: Player, settings: Settings) -> None:
        outcome = self.asked(player, settings, refused_with(20008, "test credentials", 403), 403)
        assert (outcome.result, "test credentials" in outcome.message) == (Result.DONE, True)


class TestProbe:
    def probe(self, player: Player, settings: Settings, answer: Any, status: int = 200) -> runner.ProbeReport:
        settings.ENGAGE_VENDOR_URLS = {"twilio": player.vendor.url}
        player.vendor.expect(Call("GET", f"/Accounts/{ACCOUNT}.json", answer, status=status))
        report = runner.probe(Twilio(), BY_TOKEN)
        player.vendor.assert_played()
        return report

    def account(self, **changes: str) -> dict[str, str]:
        return {"sid": ACCOUNT, "friendly_name": "Streamly", "status": "active", "type": "Full", **changes}

    def test_the_token_sees_the_account(self, player: Player, settings: Settings) -> None:
        report = self.probe(player, settings, self.account())
        assert (report.passed, report.message) == (True, "The account Streamly is active.")

    def test_a_trial_account_is_told(self, player: Player, settings: Settings) -> None:
        report = self.probe(player, settings, self.account(type="Trial"))
        assert report.passed
        assert report.lines[-1].text.startswith("It is a trial account")

    def test_a_suspended_account_fails(self, player: Player, settings: Settings) -> None:
        report = self.probe(player, settings, self.account(status="suspended"))
        assert not report.passed
        assert report.lines[0] == ProbeLine(False, "The account Streamly is suspended.")

    def test_test_credentials_are_told(self, player: Player, settings: Settings) -> None:
        report = self.probe(player, settings, refused_with(20008, "test credentials", 403), 403)
        assert (report.passed, "never delivered" in report.message) == (True, True)

    @pytest.mark.parametrize(("code", "status", "bad"), [(20003, 401, True), (20003, 403, False), (20404, 404, False)])
    def test_any_other_refusal_fails(
        self, player: Player, settings: Settings, code: int, status: int, bad: bool
    ) -> None:
        report = self.probe(player, settings, refused_with(code, "Authenticate", status), status)
        assert (report.passed, report.bad_credentials) == (False, bad)


class TestSenders:
    def test_services_and_numbers_page_by_page(self, player: Player, settings: Settings) -> None:
        settings.ENGAGE_VENDOR_URLS = {"twilio": player.vendor.url}
        numbers = f"/Accounts/{ACCOUNT}/IncomingPhoneNumbers.json"
        services = [{"sid": SERVICE, "friendly_name": "Offers"}]
        after = "https://messaging.elsewhere.invalid/v1/Services?PageSize=50&Page=1&PageToken=PT1"
        text = {"phone_number": "+15005550006", "friendly_name": "Main", "capabilities": {"sms": True, "voice": True}}
        voice = {**text, "phone_number": "+15005550007", "capabilities": {"sms": False}}
        following = f"/2010-04-01{numbers}?PageSize=100&Page=1&PageToken=PN1"
        second = {"PageSize": "50", "Page": "1", "PageToken": "PT1"}
        player.vendor.expect(
            Call("GET", "/messaging/Services", {"services": [], "meta": {"next_page_url": after}}, {"PageSize": "50"}),
            Call("GET", "/messaging/Services", {"services": services, "meta": {"next_page_url": None}}, second),
            Call("GET", numbers, {"incoming_phone_numbers": [voice], "next_page_uri": following}, {"PageSize": "100"}),
            Call(
                "GET",
                numbers,
                {"incoming_phone_numbers": [text], "next_page_uri": None},
                {"PageSize": "100", "Page": "1", "PageToken": "PN1"},
            ),
        )
        with Api(Twilio(), SETTINGS, OnlyLooks(5)) as api:
            rows = list(Twilio.catalogues["senders"].fetch(api))
        player.vendor.assert_played()
        assert rows == [Choice(SERVICE, "Offers (messaging service)"), Choice("+15005550006", "+15005550006 (Main)")]
        assert all(heard.header("Authorization") == SIGNED["Authorization"] for heard in player.vendor.heard)


def test_each_region_has_its_own_hosts() -> None:
    declared = Twilio()
    assert declared.base_url({"region": "us1"}) == "https://api.twilio.com/2010-04-01"
    assert declared.base_url({"region": "ie1"}) == "https://api.dublin.ie1.twilio.com/2010-04-01"
    assert declared.hosts({"region": "au1"}) == {"messaging": "https://messaging.sydney.au1.twilio.com/v1"}


@pytest.mark.parametrize("sender", ["+15005550006", "12345", SERVICE, "Streamly", "My Shop 24"])
def test_a_sender(sender: str) -> None:
    form = settings_form(None, Twilio(), {**SETTINGS, "sender": sender, "validity_period": ""})
    assert form.is_valid(), form.errors


@pytest.mark.parametrize("sender", ["+0123", "12", "A name that is long", "MG12345678901", "Ünï", ""])
def test_what_is_no_sender(sender: str) -> None:
    form = settings_form(None, Twilio(), {**SETTINGS, "sender": sender, "validity_period": ""})
    assert set(form.errors) == {"sender"}


def test_nothing_of_a_message_comes_from_the_browser() -> None:
    assert [action.from_browser for action in Twilio.actions] == [frozenset(), frozenset()]
