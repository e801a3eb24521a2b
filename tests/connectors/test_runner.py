"""What follows from everything that an action can meet, over real HTTP; and the contract on each way of being repeatable."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django import forms
from django.db import OperationalError
from pytest_django.fixtures import Settings

from connectors import runner
from connectors.base import Action, HandedOver, Json, Pending, ProbeLine, Replay, Values
from connectors.failures import AlreadyDone, LostClaim, Missing, Rejected
from connectors.http import Api
from connectors.journal import Exchange
from connectors.runner import Outcome, Result, Work, preview, probe, run
from tests.connectors.contract import ActionContract, MemoryJournal, Player, Scenario, player
from tests.connectors.fake_vendor import Broken, Call
from tests.connectors.throwaway import Charge, Credit, SendGift, SetPlan, Throwaway

__all__ = ["player"]

KEY = "planted-key-of-the-throwaway-vendor"
ME = (Call("GET", "/me", {"name": "Ann"}),)
COMMON: dict[str, Any] = {
    "settings": {"api_key": KEY},
    "signed": {"Authorization": f"Bearer {KEY}"},
    "probe": ME,
    "result": Result.DONE,
}


class TestCredit(ActionContract):
    scenario = Scenario(
        Throwaway,
        Credit,
        calls=(
            Call("POST", "/notes", {"id": "n1"}, body={"for": "c-1", "amount": "5"}),
            Call("GET", "/customers/c-1", {"balance": 10}),
            Call("POST", "/customers/c-1/credits", {"id": "cr9"}, body={"note": "n1", "before": 10}, status=201),
        ),
        message="Credit cr9 is given",
        traits={"customer": "c-1"},
        inputs={"amount": "5"},
        **COMMON,
    )


class TestCharge(ActionContract):
    scenario = Scenario(
        Throwaway,
        Charge,
        calls=(Call("POST", "/customers/c-1/charges", {"id": "ch7"}, body={"amount": "5", "plan": "gold"}),),
        message="Charge ch7",
        traits={"customer": "c-1", "plan": "gold"},
        inputs={"amount": "5"},
        **COMMON,
    )


class TestSetPlan(ActionContract):
    scenario = Scenario(
        Throwaway,
        SetPlan,
        calls=(
            Call("GET", "/plans", {"id": 1}, query={"name": "gold"}),
            Call("PUT", "/customers/c-1/plan", {"plan": "gold"}, body={"plan": "gold"}),
        ),
        message="The plan is gold",
        traits={"customer": "c-1"},
        inputs={"plan": "gold"},
        **COMMON,
    )


class TestSendGift(ActionContract):
    scenario = Scenario(
        Throwaway,
        SendGift,
        calls=(
            Call("POST", "/gifts", {"id": 4}, body={"to": "c-1"}),
            Call("GET", "/gifts/4", {"state": "sent"}),
        ),
        message="Gift 4 is sent",
        traits={"customer": "c-1"},
        **COMMON,
    )


CHARGE, GIFT = TestCharge.scenario, TestSendGift.scenario
LOST = {"may_have_acted": True, "since_first_write": timedelta(minutes=1)}


class TestKeys:
    def lost(self, player: Player) -> MemoryJournal:
        player.vendor.expect(*CHARGE.calls, broken={0: Broken("", then="reset")})
        return player.play(CHARGE)[1]

    def test_past_the_vendors_memory_a_lost_answer_is_a_persons_to_judge(self, player: Player) -> None:
        journal = self.lost(player).again()
        player.vendor.heard.clear()
        late = {"may_have_acted": True, "since_first_write": timedelta(hours=24, seconds=1)}
        outcome, _ = player.play(CHARGE, journal, **late)
        assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True)
        assert player.vendor.heard == []

    def test_within_it_the_stored_body_goes_again_whatever_the_person_has_become(self, player: Player) -> None:
        journal = self.lost(player).again()
        player.vendor.expect(*CHARGE.calls)
        outcome, _ = player.play(CHARGE, journal, traits={"customer": "c-1", "plan": "none"}, **LOST)
        player.vendor.assert_played()
        assert outcome.result is Result.DONE

    def test_a_repeat_to_another_address_is_not_sent(self, player: Player) -> None:
        journal = self.lost(player).again()
        player.vendor.heard.clear()
        outcome, _ = player.play(CHARGE, journal, traits={"customer": "c-2", "plan": "gold"}, **LOST)
        assert (outcome.result, player.vendor.heard) == (Result.UNCERTAIN, [])

    @pytest.mark.parametrize("page", ['{"error": "oops"}', "<h1>oops</h1>"])
    def test_a_stored_failure_given_out_again_ends_it(self, player: Player, page: str) -> None:
        journal = self.lost(player).again()
        replayed = Broken("", 500, page, headers={"Idempotent-Replayed": "true"})
        player.vendor.expect(*CHARGE.calls, broken={0: replayed})
        outcome, _ = player.play(CHARGE, journal, **LOST)
        assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True)

    def test_a_failure_that_is_new_is_tried_again(self, player: Player) -> None:
        journal = self.lost(player).again()
        player.vendor.expect(*CHARGE.calls, broken={0: Broken("", 500, "{}")})
        outcome, _ = player.play(CHARGE, journal, **LOST)
        assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, True)

    def test_the_mark_means_nothing_on_a_first_try(self, player: Player) -> None:
        marked = Broken("", 500, "{}", headers={"Idempotent-Replayed": "true"})
        player.vendor.expect(*CHARGE.calls, broken={0: marked})
        assert player.play(CHARGE)[0].result is Result.WAITING

    @pytest.mark.parametrize(
        ("broken", "whose"),
        [
            (Broken("", 422, "{}"), "An earlier"),
            (Broken("", 200, "null"), "This"),
            (Broken("", 403, "{}"), "An earlier"),
        ],
    )
    def test_a_refused_repeat_says_nothing_about_the_first_try(
        self, player: Player, broken: Broken, whose: str
    ) -> None:
        journal = self.lost(player).again()
        player.vendor.expect(*CHARGE.calls, broken={0: broken})
        outcome, _ = player.play(CHARGE, journal, **LOST)
        assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True)
        assert outcome.message.endswith(f" {whose} attempt may have acted.")

    @pytest.mark.parametrize("broken", [Broken("", 429, "{}"), Broken("", then="refuse")])
    def test_a_repeat_that_never_arrived_leaves_the_first_try_open(self, player: Player, broken: Broken) -> None:
        journal = self.lost(player).again()
        player.vendor.expect(*CHARGE.calls, broken={0: broken})
        outcome, journal = player.play(CHARGE, journal, **LOST)
        assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, True)
        assert journal.refusals == []

    def test_a_repeat_with_refused_credentials_is_held_and_stays_open(self, player: Player) -> None:
        journal = self.lost(player).again()
        no = Broken("", 401, "{}")
        player.vendor.expect(*CHARGE.calls, broken={0: no})
        player.vendor.expect(*ME, broken={0: no})
        outcome, _ = player.play(CHARGE, journal, **LOST)
        assert (outcome.result, outcome.may_have_acted) == (Result.HELD, True)

    def test_inputs_that_no_longer_fit_leave_it_open_too(self, player: Player) -> None:
        journal = self.lost(player).again()
        unfits: tuple[dict[str, Any], ...] = ({"inputs": {}}, {"traits": {}})
        for unfit in unfits:
            outcome, _ = player.play(CHARGE, journal, **LOST, **unfit)
            assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True)


class Odd(Action):
    """Does what a test says."""

    key, label = "odd", "Odd"
    replay, replay_proof = Replay.NATURAL, "Nothing is sent."

    class Inputs(forms.Form):
        size = forms.IntegerField(label="Size", max_value=9)

    does: Callable[[Api], Any]

    def perform(self, api: Api, user: Json, inputs: Values) -> Any:
        return type(self).does(api)


def odd(does: Callable[[Api], Any], **more: Any) -> Work:
    """Return the work of an action that does this."""
    action = type("Odd", (Odd,), {"does": staticmethod(does)})
    settings = more.pop("settings", {"api_key": KEY})
    return Work(Throwaway(), action(), settings, {}, more.pop("inputs", {"size": "3"}), **more)


def raising(error: Exception) -> Callable[[Api], Any]:
    def does(api: Api) -> Any:
        raise error

    return does


class TestOutcomes:
    @pytest.mark.parametrize(
        ("does", "result", "message"),
        [
            (lambda _: "Done", Result.DONE, "Done"),
            (lambda _: Pending({"id": 1}, "Working"), Result.PENDING, "Working"),
            (lambda _: HandedOver({"kind": "x"}, "Yours"), Result.HANDED_OVER, "Yours"),
            (raising(AlreadyDone("It was so")), Result.DONE, "It was so"),
            (raising(Rejected("No")), Result.REJECTED, "No"),
            (raising(Missing("No id")), Result.SKIPPED, "No id"),
            (raising(ZeroDivisionError("planted-detail")), Result.REJECTED, "could not build the request (ZeroDiv"),
            (raising(UnicodeError("planted-detail")), Result.REJECTED, "could not build the request (Unicode"),
        ],
    )
    def test_each_end(self, does: Callable[[Api], Any], result: Result, message: str) -> None:
        outcome = run(odd(does), MemoryJournal())
        assert outcome.result is result
        assert message in outcome.message
        assert "planted-detail" not in outcome.message

    def test_a_connectors_error_after_an_answer_is_an_answer_not_understood(
        self, player: Player, settings: Settings
    ) -> None:
        settings.ENGAGE_VENDOR_URLS = {"throwaway": player.vendor.url}
        player.vendor.expect(*ME)
        outcome = run(odd(lambda api: api.get("me")["name"]["first"]), MemoryJournal())
        assert (outcome.result, outcome.reason) == (Result.WAITING, "undocumented")

    def test_a_connectors_error_after_a_write_is_a_persons_to_judge(self, player: Player, settings: Settings) -> None:
        settings.ENGAGE_VENDOR_URLS = {"throwaway": player.vendor.url}
        player.vendor.expect(Call("POST", "/me", {"id": 3}))
        outcome = run(odd(lambda api: api.post("me")["id"]["first"]), MemoryJournal())
        assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True)

    @pytest.mark.parametrize(
        ("inputs", "result"),
        [({}, Result.SKIPPED), ({"size": "many"}, Result.REJECTED), ({"size": 10}, Result.REJECTED)],
    )
    def test_inputs_are_cleaned_by_the_actions_form(self, inputs: Json, result: Result) -> None:
        outcome = run(odd(lambda _: "Done", inputs=inputs), MemoryJournal())
        assert outcome.result is result
        assert "'Size'" in outcome.message

    def test_a_missing_setting_holds_it(self) -> None:
        outcome = run(odd(lambda api: api.get("me"), settings={}), MemoryJournal())
        assert (outcome.result, outcome.reason) == (Result.HELD, "credentials")

    def test_a_lost_claim_is_the_callers(self) -> None:
        class Lost(MemoryJournal):
            def write_begins(self, exchange: Exchange) -> None:
                raise LostClaim

        with pytest.raises(LostClaim):
            run(GIFT.work(), Lost())

    def test_never_is_not_repeated_after_a_lost_answer_and_is_after_none(self, player: Player) -> None:
        outcome, _ = player.play(GIFT, may_have_acted=True)
        assert (outcome.result, player.vendor.heard) == (Result.UNCERTAIN, [])
        player.vendor.expect(*GIFT.calls)
        assert player.play(GIFT)[0].result is Result.DONE


class TestFollowUp:
    def ask(self, answers: Callable[[Api, Json], Any]) -> Outcome:
        action = type("Odd", (Odd,), {"follow_up": lambda _, api, job: answers(api, job)})
        return runner.follow_up(Work(Throwaway(), action(), {"api_key": KEY}, {}, {}), {"id": 7}, MemoryJournal())

    def test_an_error_of_the_connector_is_asked_again(self) -> None:
        outcome = self.ask(lambda _, job: job["none"])
        assert (outcome.result, outcome.job) == (Result.PENDING, {"id": 7})
        assert "KeyError" in outcome.message

    @pytest.mark.parametrize("status", [400, 403, 404, 410])
    def test_a_question_that_is_refused_says_nothing_of_the_job(
        self, player: Player, settings: Settings, status: int
    ) -> None:
        settings.ENGAGE_VENDOR_URLS = {"throwaway": player.vendor.url}
        player.vendor.expect(*ME, broken={0: Broken("no", status, "{}")})
        outcome = self.ask(lambda api, _: api.get("me")["name"])
        assert (outcome.result, outcome.job) == (Result.PENDING, {"id": 7})
        assert "refused" in outcome.message

    @pytest.mark.parametrize("error", [LostClaim, OperationalError])
    def test_what_is_not_the_vendors_is_the_callers(self, error: type[Exception]) -> None:
        def fails(api: Api, job: Json) -> str:
            raise error

        with pytest.raises(error):
            self.ask(fails)

    def test_what_the_connector_has_read_is_its_end(self) -> None:
        def ended(api: Api, job: Json) -> str:
            raise Rejected("It was cancelled.")

        outcome = self.ask(ended)
        assert (outcome.result, outcome.job) == (Result.REJECTED, None)

    @pytest.mark.parametrize(("works", "result"), [(True, Result.PENDING), (False, Result.HELD)])
    def test_a_refused_key_holds_it_with_its_job_where_its_test_fails_too(
        self, player: Player, settings: Settings, works: bool, result: Result
    ) -> None:
        settings.ENGAGE_VENDOR_URLS = {"throwaway": player.vendor.url}
        refused = Broken("no", 401, "{}")
        player.vendor.expect(*ME, *ME, broken={0: refused} if works else {0: refused, 1: refused})
        outcome = self.ask(lambda api, _: api.get("me")["name"])
        player.vendor.assert_played()
        assert (outcome.result, outcome.job) == (result, {"id": 7})

    def test_a_missing_setting_holds_it_with_its_job(self) -> None:
        action = type("Odd", (Odd,), {"follow_up": lambda _, api, __: api.get("me")["name"]})
        work = Work(Throwaway(), action(), {}, {}, {})
        assert runner.follow_up(work, {"id": 7}, MemoryJournal()).result is Result.HELD


class TestPreview:
    def look(self, player: Player, settings: Settings, *calls: Call, **differences: Any) -> runner.Preview:
        settings.ENGAGE_VENDOR_URLS = {"throwaway": player.vendor.url}
        player.vendor.expect(*calls)
        found = preview(TestSetPlan.scenario.work(**differences))
        player.vendor.assert_played()
        return found

    def test_reads_are_sent_and_the_first_write_is_shown_as_it_would_go(
        self, player: Player, settings: Settings
    ) -> None:
        found = self.look(player, settings, TestSetPlan.scenario.calls[0])
        read, write = found.exchanges
        assert found.outcome == "would_write"
        assert (read["kind"], read["sent"], read["status"]) == ("read", True, 200)
        assert (write["kind"], write["sent"], write["method"], write["body"]) == (
            "write",
            False,
            "PUT",
            {"plan": "gold"},
        )
        assert write["url"] == f"{player.vendor.url}/customers/c-1/plan"
        assert write["headers"]["Authorization"] == "[secret]"
        assert KEY not in str(found)

    @pytest.mark.parametrize("status", [401, 403, 429, 500])
    def test_a_read_that_is_refused_says_so(self, player: Player, settings: Settings, status: int) -> None:
        refused = replace(TestSetPlan.scenario.calls[0], status=status)
        found = self.look(player, settings, refused)
        assert found.outcome == Result.REJECTED
        assert found.message.startswith("Throwaway")

    def test_without_what_it_needs_nothing_is_sent(self, player: Player, settings: Settings) -> None:
        assert self.look(player, settings, traits={}).outcome == Result.SKIPPED


class TestProbe:
    def test_an_error_of_the_connector_is_a_failed_test(self) -> None:
        class Broken(Throwaway):
            def probe(self, api: Api) -> list[ProbeLine]:
                raise KeyError("planted-detail")

        report = probe(Broken(), {"api_key": KEY})
        assert (report.passed, report.bad_credentials) == (False, False)
        assert "planted-detail" not in report.message

    def test_a_line_that_is_wrong_is_the_message(self) -> None:
        class Half(Throwaway):
            def probe(self, api: Api) -> list[ProbeLine]:
                return [ProbeLine(True, "Signed in."), ProbeLine(False, "May not write."), ProbeLine(None, "Unknown.")]

        report = probe(Half(), {"api_key": KEY})
        assert (report.passed, report.message) == (False, "May not write.")

    def test_a_write_in_a_test_is_not_sent(self, player: Player, settings: Settings) -> None:
        class Writes(Throwaway):
            def probe(self, api: Api) -> list[ProbeLine]:
                api.post("me")
                return []

        settings.ENGAGE_VENDOR_URLS = {"throwaway": player.vendor.url}
        assert not probe(Writes(), {"api_key": KEY}).passed
        assert player.vendor.heard == []
