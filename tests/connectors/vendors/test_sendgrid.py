"""SendGrid's actions by its sheet: what goes over the wire, and how every one of its answers is read."""

import time
from dataclasses import replace
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from connectors import runner
from connectors.base import Choice, ProbeLine
from connectors.failures import Undocumented
from connectors.http import Api
from connectors.journal import OnlyLooks
from connectors.runner import Outcome, Result
from connectors.vendors.sendgrid import SendGrid
from connectors.vendors.sendgrid.lists import GLOBAL_ONLY, ListAdd, ListRemove
from connectors.vendors.sendgrid.mails import SendTemplate, SendTemplateTo, Unsubscribe
from tests.connectors.contract import ActionContract, MemoryJournal, Player, Scenario, played
from tests.connectors.fake_vendor import NOTHING, Call

KEY = "SG.planted-key-0123456789.planted-secret-ABCDEFGHIJKLMNOPQRSTUVWXYZ-012345"
TEMPLATE, LIST = "d-4b3c0e1f8a9d4c6eb7f5a2d1c0e9f8a7", "8a1f0c2e-5d3b-4f6a-9c7e-0b1d2e3f4a5b"
CONTACT, JOB = "51d2a7c0-93fe-4b61-8a5e-77c4d0e6b912", "job-7f3a"
ANN = "Ann@example.com"
SETTINGS = {
    "region": "global",
    "api_key": KEY,
    "from_email": "hello@streamly.example",
    "from_name": "Streamly",
    "reply_to": "help@streamly.example",
    "asm_group_id": 17,
    "sandbox_mode": False,
}
SIGNED = {"Authorization": f"Bearer {KEY}", "Accept": "application/json"}
TRAITS = {"email_address": ANN}
ON_LIST = {"list_id": LIST}
NUMBER = {"X-Message-Id": "msg-14c5d75ce93"}
SCOPES = ["mail.send", "templates.read", "marketing.read", "marketing.update"]
PROBE = Call("GET", "/scopes", {"scopes": SCOPES})


def mail(to: str = ANN, **changes: Any) -> dict[str, Any]:
    """A mail as it goes over the wire."""
    return {
        "personalizations": [{"to": [{"email": to}], "dynamic_template_data": {"plan": "Premium"}}],
        "from": {"email": "hello@streamly.example", "name": "Streamly"},
        "reply_to": {"email": "help@streamly.example"},
        "template_id": TEMPLATE,
        "asm": {"group_id": 17},
        **changes,
    }


def sent(body: Any, answer: Any = NOTHING, status: int = 202, **options: Any) -> Call:
    return Call("POST", "/mail/send", answer, body=body, status=status, answer_headers=NUMBER, **options)


def found(*list_ids: str) -> Call:
    """The contact, found by its address, on these lists."""
    row = {"contact": {"id": CONTACT, "email": ANN.lower(), "list_ids": list(list_ids)}}
    return searched({"result": {ANN.lower(): row}})


def searched(answer: Any, status: int = 200) -> Call:
    body = {"emails": [ANN.lower()]}
    return Call("POST", "/marketing/contacts/search/emails", answer, body=body, status=status, reads=True)


def put(answer: Any, status: int = 202) -> Call:
    body = {"list_ids": [LIST], "contacts": [{"email": ANN}]}
    return Call("PUT", "/marketing/contacts", answer, body=body, status=status)


def refused_with(*errors: Any) -> dict[str, Any]:
    return {"errors": list(errors)}


class TestSendTemplate(ActionContract):
    scenario = Scenario(
        SendGrid,
        SendTemplate,
        calls=(sent(mail()),),
        result=Result.DONE,
        message=f"SendGrid accepted the mail to {ANN} as msg-14c5d75ce93",
        settings=SETTINGS,
        traits=TRAITS,
        inputs={"template": TEMPLATE, "template_data": '{"plan": "Premium"}'},
        signed=SIGNED,
        probe=(PROBE,),
    )


class TestSendTemplateTo(ActionContract):
    scenario = Scenario(
        SendGrid,
        SendTemplateTo,
        calls=(sent(mail("friend@example.org")),),
        result=Result.DONE,
        message="SendGrid accepted the mail to friend@example.org as msg-14c5d75ce93",
        settings=SETTINGS,
        traits={},
        inputs={"template": TEMPLATE, "template_data": '{"plan": "Premium"}', "email": "friend@example.org"},
        signed=SIGNED,
        probe=(PROBE,),
    )


class TestUnsubscribe(ActionContract):
    scenario = Scenario(
        SendGrid,
        Unsubscribe,
        calls=(
            Call(
                "POST",
                "/asm/suppressions/global",
                {"recipient_emails": [ANN.lower()]},
                body={"recipient_emails": [ANN]},
                status=201,
            ),
        ),
        result=Result.DONE,
        message=f"{ANN.lower()} gets no more mail from this account",
        settings=SETTINGS,
        traits=TRAITS,
        signed=SIGNED,
        probe=(PROBE,),
    )


class TestListAdd(ActionContract):
    scenario = Scenario(
        SendGrid,
        ListAdd,
        calls=(put({"job_id": JOB}),),
        result=Result.PENDING,
        message=f"SendGrid has queued it (job {JOB})",
        job={"job": JOB},
        settings=SETTINGS,
        traits=TRAITS,
        inputs=ON_LIST,
        signed=SIGNED,
        probe=(PROBE,),
    )


class TestListRemove(ActionContract):
    scenario = Scenario(
        SendGrid,
        ListRemove,
        calls=(
            found(LIST, "another"),
            found(LIST, "another"),
            Call("DELETE", f"/marketing/lists/{LIST}/contacts", {"job_id": JOB}, {"contact_ids": CONTACT}, status=202),
        ),
        looks=1,
        looks_done=(found("another"),),
        result=Result.PENDING,
        message=f"SendGrid has queued it (job {JOB})",
        job={"email": ANN, "list": LIST},
        settings=SETTINGS,
        traits=TRAITS,
        inputs=ON_LIST,
        signed=SIGNED,
        probe=(PROBE,),
    )


SEND, TYPED, ADD = TestSendTemplate.scenario, TestSendTemplateTo.scenario, TestListAdd.scenario
REMOVE, SUPPRESS = TestListRemove.scenario, TestUnsubscribe.scenario


def asked(player: Player, settings: Settings, scenario: Scenario, call: Call, job: dict[str, Any]) -> Outcome:
    """Follow a job up once."""
    settings.ENGAGE_VENDOR_URLS = {"sendgrid": player.vendor.url}
    player.vendor.expect(call)
    outcome = runner.follow_up(scenario.work(), job, MemoryJournal())
    player.vendor.assert_played()
    return outcome


class TestMail:
    def test_the_least_that_is_sent(self, player: Player) -> None:
        body = {
            "personalizations": [{"to": [{"email": ANN}]}],
            "from": {"email": "hello@streamly.example"},
            "template_id": TEMPLATE,
        }
        least = {"region": "global", "api_key": KEY, "from_email": "hello@streamly.example"}
        outcome = played(player, SEND, sent(body), settings=least, inputs={"template": TEMPLATE})
        assert outcome.result is Result.DONE

    def test_an_actions_group_counts_before_the_connections(self, player: Player) -> None:
        inputs = {**SEND.inputs, "group": "23"}
        assert played(player, SEND, sent(mail(asm={"group_id": 23})), inputs=inputs).result is Result.DONE

    def test_in_sandbox_mode_it_says_that_nothing_is_delivered(self, player: Player) -> None:
        body = mail(mail_settings={"sandbox_mode": {"enable": True}})
        call = Call("POST", "/mail/send", NOTHING, body=body, status=200)
        outcome = played(player, SEND, call, settings={**SETTINGS, "sandbox_mode": True})
        assert outcome.result is Result.DONE
        assert "does not deliver it: sandbox mode (status 200)" in outcome.message

    @pytest.mark.parametrize("difference", [{"answer_headers": {}}, {"status": 200}])
    def test_without_an_id_or_with_another_status_it_is_not_known_to_be_sent(
        self, player: Player, difference: dict[str, Any]
    ) -> None:
        outcome = played(player, SEND, replace(sent(mail()), **difference))
        assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True)

    @pytest.mark.parametrize("value", ["ann", "ann@", "a@b.com, c@d.com", ["a@b.com"], 7, "a@b.com\nBcc: x@y.com"])
    def test_what_is_no_address_is_not_written_to(self, player: Player, value: Any) -> None:
        assert played(player, SEND, traits={"email_address": value}).result is Result.REJECTED
        assert played(player, TYPED, inputs={**TYPED.inputs, "email": value}).result is Result.REJECTED

    @pytest.mark.parametrize("data", ["[1]", "7", "{", '{"a": NaN}', "plan=Premium", "[" * 5000])
    def test_template_data_is_an_object(self, player: Player, data: str) -> None:
        outcome = played(player, SEND, inputs={**SEND.inputs, "template_data": data})
        assert (outcome.result, outcome.reason) == (Result.REJECTED, "inputs")
        assert "Write a JSON object" in outcome.message


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "errors", "words"),
        [
            (400, [{"message": "Bad", "field": "from.email"}, {"message": "Worse"}], "Bad (from.email); Worse"),
            (403, [{"message": "not a verified Sender", "field": "null", "help": None}], "not a verified Sender"),
            (413, [{"message": "too large", "field": None}], "too large"),
            (400, [], "status 400"),
            (400, [3, {"message": 7}, None], "status 400"),
        ],
    )
    def test_are_in_sendgrids_words(self, player: Player, status: int, errors: list[Any], words: str) -> None:
        outcome = played(player, SEND, sent(mail(), refused_with(*errors), status))
        assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False)
        assert outcome.message == f"SendGrid refused: {words}"

    def test_a_bad_address_is_named(self, player: Player) -> None:
        outcome = played(player, ADD, put(refused_with({"message": "email 'x' is not valid"}), 400))
        assert outcome.message == "SendGrid refused: email 'x' is not valid"

    def test_the_rate_limit_says_until_when(self, player: Player) -> None:
        slow = replace(
            sent(mail(), refused_with({"field": None, "message": "too many requests"}), 429),
            answer_headers={"X-RateLimit-Reset": str(int(time.time()) + 40)},
        )
        outcome = played(player, SEND, slow)
        assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, False)
        assert outcome.after is not None
        assert 30 < outcome.after <= 40

    @pytest.mark.parametrize("reset", ["soon", "nan", "inf", ""])
    def test_or_it_does_not(self, player: Player, reset: str) -> None:
        slow = replace(sent(mail(), {}, 429), answer_headers={"X-RateLimit-Reset": reset})
        outcome = played(player, SEND, slow)
        assert (outcome.result, outcome.after) == (Result.WAITING, None)


class TestTheTemplateIsLookedAt:
    def check(self, player: Player, settings: Settings, answer: Any, status: int = 200) -> list[str]:
        settings.ENGAGE_VENDOR_URLS = {"sendgrid": player.vendor.url}
        player.vendor.expect(Call("GET", f"/templates/{TEMPLATE}", answer, status=status))
        with Api(SendGrid(), SETTINGS, OnlyLooks(5)) as api:
            wrong = [action.check_inputs(api, {"template": TEMPLATE}) for action in (SendTemplate(),)]
        player.vendor.assert_played()
        return wrong[0]

    def shown(self, **changes: Any) -> dict[str, Any]:
        versions = [{"id": "1", "active": 0}, {"id": "2", "active": 1}]
        return {"id": TEMPLATE, "name": "Welcome", "generation": "dynamic", "versions": versions, **changes}

    def test_a_good_one(self, player: Player, settings: Settings) -> None:
        assert self.check(player, settings, self.shown()) == []

    def test_one_without_an_active_version_would_never_be_delivered(self, player: Player, settings: Settings) -> None:
        for versions in ([], [{"id": "1", "active": 0}]):
            (sentence,) = self.check(player, settings, self.shown(versions=versions))
            assert sentence.startswith("Welcome has no active version")

    def test_a_legacy_one(self, player: Player, settings: Settings) -> None:
        (sentence,) = self.check(player, settings, self.shown(generation="legacy"))
        assert "legacy" in sentence

    def test_an_unknown_one(self, player: Player, settings: Settings) -> None:
        assert self.check(player, settings, {"error": "not found"}, 404) == [f"SendGrid knows no template {TEMPLATE}."]

    def test_for_a_typed_address_too(self, player: Player, settings: Settings) -> None:
        settings.ENGAGE_VENDOR_URLS = {"sendgrid": player.vendor.url}
        player.vendor.expect(Call("GET", f"/templates/{TEMPLATE}", self.shown(versions=[])))
        with Api(SendGrid(), SETTINGS, OnlyLooks(5)) as api:
            assert SendTemplateTo().check_inputs(api, {"template": TEMPLATE})

    def test_without_one_nothing_is_asked(self, player: Player, settings: Settings) -> None:
        settings.ENGAGE_VENDOR_URLS = {"sendgrid": player.vendor.url}
        with Api(SendGrid(), SETTINGS, OnlyLooks(5)) as api:
            assert SendTemplateTo().check_inputs(api, {"email": "a@b.com"}) == []
        player.vendor.assert_played()


class TestLists:
    def import_(self, answer: Any, status: int = 200) -> Call:
        return Call("GET", f"/marketing/contacts/imports/{JOB}", answer, status=status)

    @pytest.mark.parametrize(
        ("answer", "status", "result"),
        [
            ({"id": JOB, "status": "pending"}, 200, Result.PENDING),
            ({"id": JOB, "status": "completed", "results": {"updated_count": 1, "errored_count": 0}}, 200, Result.DONE),
            ({"id": JOB, "status": "completed"}, 200, Result.DONE),
            ({"id": JOB, "status": "completed", "results": {"errored_count": 1}}, 200, Result.REJECTED),
            ({"id": JOB, "status": "errored"}, 200, Result.REJECTED),
            ({"id": JOB, "status": "failed"}, 200, Result.REJECTED),
            ({"id": JOB, "status": "unheard-of"}, 200, Result.PENDING),
            ({"errors": [{"message": "not found"}]}, 404, Result.PENDING),
            ({"errors": [{"message": "no"}]}, 403, Result.PENDING),
        ],
    )
    def test_an_addition_is_done_when_its_job_says_so(
        self, player: Player, settings: Settings, answer: Any, status: int, result: Result
    ) -> None:
        outcome = asked(player, settings, ADD, self.import_(answer, status), {"job": JOB})
        assert outcome.result is result
        assert outcome.job == ({"job": JOB} if result is Result.PENDING else None)
        if result is Result.DONE:
            assert outcome.message == f"The subscriber is on the list (job {JOB})"

    def test_a_removal_is_done_when_the_contact_shows_it(self, player: Player, settings: Settings) -> None:
        job = dict(REMOVE.job or {})
        assert asked(player, settings, REMOVE, found(LIST), job).result is Result.PENDING
        assert asked(player, settings, REMOVE, found(), job).result is Result.DONE

    def test_nobody_is_on_no_list(self, player: Player) -> None:
        outcome = played(player, REMOVE, searched(refused_with({"message": "not found"}), 404))
        assert (outcome.result, outcome.message) == (Result.DONE, f"SendGrid has no contact {ANN.lower()}")

    def test_somebody_who_left_since_we_looked_is_done(self, player: Player) -> None:
        outcome = played(player, REMOVE, found(LIST), found())
        assert (outcome.result, outcome.message) == (Result.DONE, f"{ANN.lower()} is not on the list {LIST}")

    @pytest.mark.parametrize("row", ["none", {"error": "timed out"}, {"contact": "none"}, {}])
    def test_a_search_that_says_nothing_proves_nothing(self, player: Player, row: Any) -> None:
        outcome = played(player, REMOVE, searched({"result": {ANN.lower(): row}}))
        assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, False)

    @pytest.mark.parametrize("scenario", [ADD, REMOVE])
    def test_the_eu_has_none(self, player: Player, scenario: Scenario) -> None:
        eu = {**SETTINGS, "region": "eu"}
        outcome = played(player, scenario, settings=eu)
        assert (outcome.result, outcome.message) == (Result.REJECTED, GLOBAL_ONLY)
        with Api(SendGrid(), eu, OnlyLooks(5)) as api:
            assert scenario.action().check_inputs(api, ON_LIST) == [GLOBAL_ONLY]
            assert list(SendGrid.catalogues["lists"].fetch(api)) == []
        with Api(SendGrid(), SETTINGS, OnlyLooks(5)) as api:
            assert scenario.action().check_inputs(api, ON_LIST) == []
        assert player.vendor.heard == []


def test_an_unsubscription_that_shows_another_address_is_no_success(player: Player) -> None:
    other = replace(SUPPRESS.calls[0], answer={"recipient_emails": ["somebody@example.com"]})
    assert played(player, SUPPRESS, other).result is Result.UNCERTAIN


class TestProbe:
    def probe(self, player: Player, settings: Settings, answer: Any, status: int = 200) -> runner.ProbeReport:
        settings.ENGAGE_VENDOR_URLS = {"sendgrid": player.vendor.url}
        player.vendor.expect(Call("GET", "/scopes", answer, status=status))
        report = runner.probe(SendGrid(), SETTINGS)
        player.vendor.assert_played()
        return report

    def test_a_key_with_every_scope(self, player: Player, settings: Settings) -> None:
        report = self.probe(player, settings, {"scopes": SCOPES})
        assert (report.passed, [line.ok for line in report.lines]) == (True, [True, True])

    def test_what_a_key_lacks_is_said(self, player: Player, settings: Settings) -> None:
        report = self.probe(player, settings, {"scopes": ["mail.send", "marketing.read"]})
        assert report.passed
        assert [line.text for line in report.lines if line.ok is None] == [
            "The key does not show the scope templates.read; without it templates cannot be chosen.",
            "The key does not show the scope marketing.update; without it lists may not be changed.",
        ]

    def test_a_key_that_may_not_send(self, player: Player, settings: Settings) -> None:
        report = self.probe(player, settings, {"scopes": ["templates.read"]})
        assert not report.passed
        assert ProbeLine(False, "The key may not send mail (scope mail.send).") in report.lines

    def test_a_401_is_a_bad_one(self, player: Player, settings: Settings) -> None:
        report = self.probe(player, settings, refused_with({"message": "authorization required"}), 401)
        assert (report.passed, report.bad_credentials) == (False, True)

    @pytest.mark.parametrize("answer", [None, {}, [], {"scopes": "mail.send"}, {"scopes": None}])
    def test_anything_else_proves_nothing(self, player: Player, settings: Settings, answer: Any) -> None:
        assert not self.probe(player, settings, answer).passed


class TestCatalogues:
    def read(self, player: Player, settings: Settings, name: str, *calls: Call) -> list[Choice]:
        settings.ENGAGE_VENDOR_URLS = {"sendgrid": player.vendor.url}
        player.vendor.expect(*calls)
        with Api(SendGrid(), SETTINGS, OnlyLooks(5)) as api:
            rows = list(SendGrid.catalogues[name].fetch(api))
        player.vendor.assert_played()
        return rows

    def page(self, path: str, rows: Any, size: int, token: str = "", following: Any = None, **query: str) -> Call:
        query = {**query, "page_size": str(size), **({"page_token": token} if token else {})}
        return Call("GET", path, {"result": rows, "_metadata": {"next": following}}, query)

    def test_dynamic_templates_with_an_active_version_page_by_page(self, player: Player, settings: Settings) -> None:
        def template(number: int, active: int) -> dict[str, Any]:
            return {"id": f"d-{number}", "name": f"Mail {number}", "versions": [{"id": "v", "active": active}]}

        # Only the token of the next page's address counts, never its host.
        following = "https://elsewhere.invalid/v3/templates?page_token=abc%3D&page_size=1"
        rows = self.read(
            player,
            settings,
            "templates",
            self.page("/templates", [template(1, 1), template(2, 0)], 200, "", following, generations="dynamic"),
            self.page("/templates", [template(3, 1)], 200, "abc=", None, generations="dynamic"),
        )
        assert [(row.key, row.label) for row in rows] == [("d-1", "Mail 1"), ("d-3", "Mail 3")]

    def test_a_page_that_names_itself_as_the_next_is_the_last(self, player: Player, settings: Settings) -> None:
        again = "https://api.sendgrid.com/v3/marketing/lists?page_token=a"
        rows = [{"id": LIST, "name": "News"}]
        pages = [self.page("/marketing/lists", rows, 1000, token, again) for token in ("", "a")]
        assert {row.key for row in self.read(player, settings, "lists", *pages)} == {LIST}

    def test_groups(self, player: Player, settings: Settings) -> None:
        rows = self.read(player, settings, "groups", Call("GET", "/asm/groups", [{"id": 17, "name": "Offers"}]))
        assert [(row.key, row.label) for row in rows] == [("17", "Offers")]

    @pytest.mark.parametrize("answer", [None, {}, {"result": None}, {"result": [1]}, {"result": [{}]}, [1], 7])
    @pytest.mark.parametrize("name", ["templates", "lists", "groups"])
    def test_what_is_no_list_is_no_empty_one(self, player: Player, settings: Settings, name: str, answer: Any) -> None:
        path, query = {
            "templates": ("/templates", {"generations": "dynamic", "page_size": "200"}),
            "lists": ("/marketing/lists", {"page_size": "1000"}),
            "groups": ("/asm/groups", {}),
        }[name]
        with pytest.raises(Undocumented):
            self.read(player, settings, name, Call("GET", path, answer, query))


def test_each_region_has_its_own_host() -> None:
    declared = SendGrid()
    assert declared.base_url({"region": "global"}) == "https://api.sendgrid.com/v3"
    assert declared.base_url({"region": "eu"}) == "https://api.eu.sendgrid.com/v3"


def test_sandbox_mode_is_no_sandbox_since_lists_are_changed() -> None:
    assert not SendGrid().is_sandbox({"sandbox_mode": True})
    assert SendGrid().environment({"sandbox_mode": True}) == "Undelivered"
    assert SendGrid().environment({}) == "Production"


def test_only_the_address_comes_from_the_browser() -> None:
    sources = {action.key: action.from_browser for action in SendGrid.actions if action.from_browser}
    assert sources == {"send_template_to": {"email"}}
