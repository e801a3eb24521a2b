"""Cleeng's actions by its sheet: what goes over the wire, and how every one of its answers is read."""

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
from connectors.vendors.cleeng import ApplyCoupon, Cleeng, ReactivateSubscription, SwitchSubscription, offers
from tests.connectors.contract import ActionContract, MemoryJournal, Player, Scenario, played
from tests.connectors.fake_vendor import Broken, Call

KEY = "planted-broadcaster-token-0123456789-ABCDEFGHIJK"
CUSTOMER, NUMBER, OTHER = "640000001", 710000001, 710000002
BASIC, PREMIUM, SPORTS = "S531000001_US", "S531000003_US", "S531000005_US"
SWITCH = "5d7f2f0a-8a34-4a86-9a39-6f1d2c1f7e11"
DAY = 86_400
RENEWS = 1_800_000_000  # 15 January 2027
SETTINGS = {"environment": "sandbox", "api_key": KEY}
BY_CUSTOMER = {"cleeng_customer_id": CUSTOMER}
BY_NUMBER = {"cleeng_subscription_id": str(NUMBER)}
COUPON = {"coupon": "SAVE20"}
UPGRADE = {"to_offer": PREMIUM, "direction": "upgrade"}


def subscription(number: int = NUMBER, **changes: Any) -> dict[str, Any]:
    """A subscription as Cleeng shows it."""
    return {
        "subscriptionId": number,
        "id": number,
        "customerId": int(CUSTOMER),
        "userId": int(CUSTOMER),
        "status": "active",
        "dateFrom": RENEWS - 30 * DAY,
        "dateTo": RENEWS,
        "nextPaymentActionDate": RENEWS,
        "offerId": BASIC,
        "inTrial": False,
        "couponCode": None,
        "pendingSwitchId": None,
        "isExternallyManaged": False,
        **changes,
    }


def switch(status: Any, **changes: Any) -> dict[str, Any]:
    """A switch as Cleeng shows it."""
    return {
        "id": SWITCH,
        "customerId": int(CUSTOMER),
        "direction": "upgrade",
        "algorithm": "IMMEDIATE_WITH_PRORATION",
        "fromOfferId": BASIC,
        "toOfferId": PREMIUM,
        "subscriptionId": NUMBER,
        "status": status,
        **changes,
    }


def listed(*rows: dict[str, Any], customer: str = CUSTOMER) -> Call:
    """The customer's subscriptions."""
    answer = {"success": True, "data": list(rows), "message": ""}
    return Call("GET", "/subscriptions", answer, {"customerId": customer, "limit": "100"})


def shown(row: dict[str, Any], number: int = NUMBER) -> Call:
    """One subscription by its id."""
    return Call("GET", f"/subscriptions/{number}", row)


def shown_switch(status: str, **changes: Any) -> Call:
    return Call("GET", f"/subscription_switches/{SWITCH}", switch(status, **changes))


def coupon_put(answer: Any, status: int = 200, number: int = NUMBER) -> Call:
    return Call("PATCH", f"/subscriptions/{number}", answer, body={"couponCode": "SAVE20"}, status=status)


def switch_asked(answer: Any, status: int = 200, **changes: Any) -> Call:
    body = {"toOfferId": PREMIUM, "switchDirection": "upgrade", "subscriptionId": NUMBER, **changes}
    return Call("POST", "/subscription_switches", answer, body=body, status=status)


def activated(answer: Any, status: int = 200) -> Call:
    return Call("POST", f"/subscriptions/{NUMBER}/activate", answer, status=status)


PROBE = Call("GET", "/subscriptions", {"success": True, "data": []}, {"limit": "1"})
WITH_COUPON = subscription(couponCode="SAVE20")
STOPPED = subscription(status="stopped", dateTo=int(time.time()) + 7 * DAY)
OVER = subscription(status="stopped", dateTo=1_600_000_000)
PENDING_JOB = {"switch": SWITCH, "subscription": str(NUMBER), "to_offer": PREMIUM}
WITH_SWITCH = subscription(pendingSwitchId=SWITCH)


class TestApplyCoupon(ActionContract):
    scenario = Scenario(
        Cleeng,
        ApplyCoupon,
        calls=(
            listed(subscription()),
            listed(subscription()),
            # "success" is false by default in Cleeng's contract, even in the answer of a success.
            coupon_put({"success": False, "subscription": WITH_COUPON, "message": ""}),
        ),
        looks=1,
        looks_done=(listed(WITH_COUPON),),
        result=Result.DONE,
        message=f"Coupon SAVE20 is on subscription {NUMBER}",
        settings=SETTINGS,
        traits=BY_CUSTOMER,
        inputs=COUPON,
        signed={"X-Publisher-Token": KEY, "Accept": "application/json"},
        probe=(PROBE,),
    )


class TestSwitchSubscription(ActionContract):
    scenario = Scenario(
        Cleeng,
        SwitchSubscription,
        calls=(shown(subscription()), shown(subscription()), switch_asked(switch("inprogress"))),
        looks=1,
        looks_done=(shown(WITH_SWITCH), shown_switch("inprogress")),
        found=Result.PENDING,
        result=Result.PENDING,
        message=f"Cleeng is switching subscription {NUMBER} to offer {PREMIUM}",
        job=PENDING_JOB,
        settings=SETTINGS,
        traits=BY_NUMBER,
        inputs=UPGRADE,
        signed={"X-Publisher-Token": KEY},
        probe=(PROBE,),
    )


class TestReactivateSubscription(ActionContract):
    scenario = Scenario(
        Cleeng,
        ReactivateSubscription,
        calls=(listed(STOPPED), listed(STOPPED), activated(subscription())),
        looks=1,
        looks_done=(listed(subscription()),),
        result=Result.DONE,
        message=f"Subscription {NUMBER} is active",
        settings=SETTINGS,
        traits=BY_CUSTOMER,
        signed={"X-Publisher-Token": KEY},
        probe=(PROBE,),
    )


COUPON_PLAY, SWITCH_PLAY = TestApplyCoupon.scenario, TestSwitchSubscription.scenario
REACTIVATE_PLAY = TestReactivateSubscription.scenario


def refusal(player: Player, scenario: Scenario, *calls: Call, **differences: Any) -> str:
    """Do so, and return the words of the refusal."""
    outcome = played(player, scenario, *calls, **differences)
    assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False)
    return outcome.message


class TestWhichSubscription:
    def test_the_known_one_counts_before_the_customers(self, player: Player) -> None:
        outcome = played(player, COUPON_PLAY, shown(WITH_COUPON), traits={**BY_NUMBER, **BY_CUSTOMER})
        assert outcome.result is Result.DONE

    @pytest.mark.parametrize(
        "spelling", [CUSTOMER, int(CUSTOMER), float(CUSTOMER), f"{CUSTOMER}.0", f" {CUSTOMER}\n", "9999999999"]
    )
    def test_an_id_is_a_whole_number_however_it_is_spelt(self, player: Player, spelling: Any) -> None:
        asked = str(spelling).strip().removesuffix(".0")
        row = {**WITH_COUPON, "customerId": int(asked)}
        outcome = played(player, COUPON_PLAY, listed(row, customer=asked), traits={"cleeng_customer_id": spelling})
        assert outcome.result is Result.DONE

    @pytest.mark.parametrize("value", ["viewer-ann", "64000 0001", "٦٤٠٠٠٠٠٠١", "1e9", "-1", True, [CUSTOMER]])
    def test_what_is_no_id_is_not_asked_about(self, player: Player, value: Any) -> None:
        assert "holds no id of Cleeng's" in refusal(player, COUPON_PLAY, traits={"cleeng_customer_id": value})

    def test_one_that_cleeng_does_not_know(self, player: Player) -> None:
        unknown = Call("GET", f"/subscriptions/{NUMBER}", {"message": "Subscription not found"}, status=404)
        assert refusal(player, COUPON_PLAY, unknown, traits=BY_NUMBER) == f"Cleeng knows no subscription {NUMBER}."

    def test_an_id_that_cleeng_finds_wrong(self, player: Player) -> None:
        bad = replace(listed(), status=400, answer={"success": False, "data": None, "message": "customerId is wrong"})
        assert refusal(player, COUPON_PLAY, bad) == "Cleeng refused: customerId is wrong"

    def test_none(self, player: Player) -> None:
        assert refusal(player, COUPON_PLAY, listed()) == f"Customer {CUSTOMER} has no matching subscription at Cleeng."

    @pytest.mark.parametrize("over", [subscription(status="terminated"), OVER, subscription(status="paused")])
    def test_none_that_runs(self, player: Player, over: dict[str, Any]) -> None:
        words = refusal(player, COUPON_PLAY, listed(over))
        assert f"{NUMBER} on {BASIC} is {over['status']}" in words

    def test_one_that_is_over_is_no_second_one(self, player: Player) -> None:
        assert played(player, COUPON_PLAY, listed(WITH_COUPON, {**OVER, "subscriptionId": OTHER})).result is Result.DONE

    def test_several(self, player: Player) -> None:
        words = refusal(player, COUPON_PLAY, listed(subscription(), subscription(OTHER)))
        assert "several subscriptions at Cleeng" in words
        assert f"({NUMBER} on {BASIC} is active, {OTHER} on {BASIC} is active)" in words

    def test_somebody_elses_row_is_not_this_customers(self, player: Player) -> None:
        foreign = subscription(customerId=640000002, userId=640000002)
        assert "no matching subscription" in refusal(player, COUPON_PLAY, listed(foreign))

    def test_the_deprecated_names_are_read_where_the_new_ones_are_missing(self, player: Player) -> None:
        old = {name: value for name, value in WITH_COUPON.items() if name not in {"subscriptionId", "customerId"}}
        outcome = played(player, COUPON_PLAY, listed(old, {**old, "id": OTHER, "userId": 640000002}))
        assert outcome.message == f"Coupon SAVE20 is on subscription {NUMBER}"


class TestCoupon:
    def test_on_a_known_subscription(self, player: Player) -> None:
        put = coupon_put({"success": True, "subscription": WITH_COUPON, "message": ""})
        outcome = played(player, COUPON_PLAY, shown(subscription()), shown(subscription()), put, traits=BY_NUMBER)
        assert outcome.result is Result.DONE

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            ({"success": False, "subscription": None, "message": "Coupon SAVE20 not found"}, "Coupon SAVE20 not found"),
            ({"message": "cannot be applied on this offer"}, "cannot be applied on this offer"),
            ({"errors": ["reserved", "cannot be applied on existing subscription"]}, "reserved; cannot be applied on"),
            ({"message": "", "errors": [{"message": "reserved"}, 3, None, "gone"]}, "reserved; gone"),
            ({"errors": {"message": "reserved"}}, "reserved"),
            ({"errors": "reserved"}, "reserved"),
            ({}, "status 422"),
        ],
    )
    @pytest.mark.parametrize("status", [400, 404, 422])
    def test_refused_in_each_envelope(self, player: Player, status: int, answer: Any, words: str) -> None:
        message = refusal(player, COUPON_PLAY, *COUPON_PLAY.calls[:2], coupon_put(answer, status))
        assert message.startswith("Cleeng refused: ")
        assert words.replace("422", str(status)) in message

    def test_a_no_inside_a_200_is_a_no(self, player: Player) -> None:
        no = coupon_put({"success": False, "subscription": None, "message": "reserved"})
        assert refusal(player, COUPON_PLAY, *COUPON_PLAY.calls[:2], no) == "Cleeng refused: reserved"

    def test_a_no_inside_the_200_of_a_list_is_a_no(self, player: Player) -> None:
        no = replace(listed(), answer={"success": False, "data": None, "message": "customerId is wrong"})
        assert refusal(player, COUPON_PLAY, no) == "Cleeng refused: customerId is wrong"

    @pytest.mark.parametrize("other", [None, "OTHER", "save20", ["SAVE20"]])
    def test_another_coupon_in_the_answer_is_no_success(self, player: Player, other: Any) -> None:
        put = coupon_put({"success": True, "subscription": subscription(couponCode=other)})
        outcome = played(player, COUPON_PLAY, *COUPON_PLAY.calls[:2], put, listed(subscription(couponCode=other)))
        assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True)

    @pytest.mark.parametrize("over", [subscription(status="terminated", couponCode="SAVE20"), OVER])
    def test_not_on_one_that_is_over(self, player: Player, over: dict[str, Any]) -> None:
        assert "is over" in refusal(player, COUPON_PLAY, shown(over), traits=BY_NUMBER)

    def test_a_coupon_that_is_named_like_a_code_of_cleengs_is_refused_like_any_other(self, player: Player) -> None:
        code = "SAME_TARGET_OFFER"
        no = replace(coupon_put({"message": f"Coupon {code} not found"}, 422), body={"couponCode": code})
        assert code in refusal(player, COUPON_PLAY, *COUPON_PLAY.calls[:2], no, inputs={"coupon": code})

    @pytest.mark.parametrize("code", ["S", "a" * 41, "SAVE 20", "SAVE/20", "ÄÖ", "SAVE20\n?"])
    def test_what_cannot_be_a_coupon_is_not_sent(self, player: Player, code: str) -> None:
        assert "2 to 40 letters" in refusal(player, COUPON_PLAY, inputs={"coupon": code})

    @pytest.mark.parametrize("status", [408, 425, 429, 503])
    def test_what_may_pass_is_tried_again(self, player: Player, status: int) -> None:
        busy = coupon_put({"success": False, "message": "later"}, status)
        outcome = played(player, COUPON_PLAY, *COUPON_PLAY.calls[:2], busy)
        assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, status != 429)


class TestCouponCheck:
    """The look at the coupon's campaign when a binding is saved."""

    def check(self, player: Player, settings: Settings, answer: Any, status: int = 200) -> list[str]:
        player.vendor.expect(Call("GET", "/campaigns", answer, {"couponCode": "SAVE20"}, status=status))
        settings.ENGAGE_VENDOR_URLS = {"cleeng": player.vendor.url}
        with Api(Cleeng(), SETTINGS, OnlyLooks(5)) as api:
            problems = ApplyCoupon().check_inputs(api, COUPON)
        player.vendor.assert_played()
        return problems

    def campaign(self, status: str = "active", **constraints: Any) -> dict[str, Any]:
        rules = {"offerTypes": ["subscription"], "paymentType": "all", "offers": [], "tags": [], **constraints}
        return {"name": "20% off", "discount": 0.2, "status": status, "usagePerCoupon": 1, "constraints": rules}

    @pytest.mark.parametrize("kind", ["all", "renewal"])
    def test_a_good_one(self, player: Player, settings: Settings, kind: str) -> None:
        assert self.check(player, settings, {"message": "", "data": [self.campaign(paymentType=kind)]}) == []

    def test_one_good_campaign_is_enough(self, player: Player, settings: Settings) -> None:
        assert self.check(player, settings, {"data": [self.campaign("ended"), self.campaign()]}) == []

    def test_a_campaign_without_constraints_has_none(self, player: Player, settings: Settings) -> None:
        assert self.check(player, settings, {"data": [{"status": "active", "constraints": None}]}) == []

    def test_an_unknown_one(self, player: Player, settings: Settings) -> None:
        assert self.check(player, settings, {"message": "", "data": []}) == ["Cleeng knows no coupon SAVE20."]

    def test_an_unknown_one_as_a_404(self, player: Player, settings: Settings) -> None:
        assert self.check(player, settings, {"message": "?"}, 404) == ["Cleeng knows no coupon SAVE20."]

    @pytest.mark.parametrize(
        ("status", "constraints", "words"),
        [
            ("ended", {}, "belongs to a campaign that is ended"),
            ("deactivated", {}, "belongs to a campaign that is deactivated"),
            ("active", {"paymentType": "initial"}, "counts for first payments only"),
            ("active", {"offerTypes": ["pass", "vod"]}, "does not count for subscriptions"),
        ],
    )
    def test_one_that_a_running_subscription_cannot_have(
        self, player: Player, settings: Settings, status: str, constraints: dict[str, Any], words: str
    ) -> None:
        (problem,) = self.check(player, settings, {"data": [self.campaign(status, **constraints)]})
        assert words in problem

    @pytest.mark.parametrize("answer", [None, [], {"data": None}, {"data": {"status": "active"}}, {"data": ["SAVE20"]}])
    def test_an_answer_that_says_nothing_is_no_yes(self, player: Player, settings: Settings, answer: Any) -> None:
        with pytest.raises(Undocumented):
            self.check(player, settings, answer)


class TestSwitch:
    def test_on_the_offer_already(self, player: Player) -> None:
        outcome = played(player, SWITCH_PLAY, shown(subscription(offerId=PREMIUM)))
        assert (outcome.result, outcome.message) == (
            Result.DONE,
            f"Subscription {NUMBER} is on offer {PREMIUM}",
        )

    @pytest.mark.parametrize("status", ["stopped", "terminated", "paused"])
    @pytest.mark.parametrize("offer", [BASIC, PREMIUM])
    def test_only_an_active_one_can_be_switched(self, player: Player, status: str, offer: str) -> None:
        words = refusal(player, SWITCH_PLAY, shown(subscription(status=status, offerId=offer)))
        assert words == f"Subscription {NUMBER} is {status}; only an active one can be switched."

    def test_one_with_a_coupon_is_refused_before_it_is_asked(self, player: Player) -> None:
        words = refusal(player, SWITCH_PLAY, shown(WITH_COUPON), shown(WITH_COUPON))
        assert "Coupon SAVE20 is on subscription" in words

    def test_one_of_an_app_store_is_refused_before_it_is_asked(self, player: Player) -> None:
        apple = shown(subscription(isExternallyManaged=True))
        assert "app store" in refusal(player, SWITCH_PLAY, apple, apple)

    def test_scheduled_for_the_periods_end_is_done_and_says_when(self, player: Player) -> None:
        outcome = played(player, SWITCH_PLAY, *SWITCH_PLAY.calls[:2], switch_asked(switch("pending")))
        assert (outcome.result, outcome.message) == (
            Result.DONE,
            f"Subscription {NUMBER} changes to offer {PREMIUM}; it takes effect on 15 January 2027",
        )

    def test_finished_at_once(self, player: Player) -> None:
        outcome = played(player, SWITCH_PLAY, *SWITCH_PLAY.calls[:2], switch_asked(switch("finished")))
        assert outcome.result is Result.DONE

    def test_a_switch_of_ours_that_is_scheduled_is_found_done(self, player: Player) -> None:
        outcome = played(player, SWITCH_PLAY, shown(WITH_SWITCH), shown_switch("pending"))
        assert outcome.result is Result.DONE
        assert "15 January 2027" in outcome.message

    def test_another_switch_is_under_way(self, player: Player) -> None:
        words = refusal(player, SWITCH_PLAY, shown(WITH_SWITCH), shown_switch("inprogress", toOfferId=SPORTS))
        assert words == f"Another switch is under way at Cleeng, to offer {SPORTS}."

    @pytest.mark.parametrize("status", ["unheard-of", None, 3])
    def test_a_status_that_nobody_documented_is_no_success(self, player: Player, status: Any) -> None:
        answer = switch_asked(switch(status))
        outcome = played(player, SWITCH_PLAY, *SWITCH_PLAY.calls[:2], answer, shown(subscription()))
        assert outcome.result is Result.UNCERTAIN

    def test_a_switch_to_elsewhere_in_the_answer_is_no_success(self, player: Player) -> None:
        answer = switch_asked(switch("inprogress", toOfferId=SPORTS))
        outcome = played(player, SWITCH_PLAY, *SWITCH_PLAY.calls[:2], answer, shown(subscription()))
        assert outcome.result is Result.UNCERTAIN

    @pytest.mark.parametrize("where", ["code", "message", "message with words"])
    @pytest.mark.parametrize(
        "code",
        [
            "PAYMENT_GATEWAY_NOT_SUPPORTED",
            "ALREADY_HAS_ACCESS",
            "TO_OFFER_COUNTRY_NOT_ALLOWED",
            "TO_FREE_OFFER_NOT_ALLOWED",
            "SWITCH_NOT_DEFINED_IN_SWITCH_SETTINGS",
            "SUBSCRIPTION_WITH_COUPON_NOT_ALLOWED",
            "OFFER_INACTIVE",
            "VALIDATION_ERROR",
        ],
    )
    def test_each_refusal_is_said_with_its_code(self, player: Player, code: str, where: str) -> None:
        no = switch_asked(self.no(code, where), 422)
        words = refusal(player, SWITCH_PLAY, *SWITCH_PLAY.calls[:2], no)
        assert code in words
        assert words != f"Cleeng refused: {code}"

    def no(self, code: str, where: str) -> dict[str, Any]:
        """A refusal with its code where Cleeng may put it (its reference does not say)."""
        if where == "code":
            return {"code": code, "message": "Not possible"}
        return {"message": code if where == "message" else f"Not possible: {code}."}

    @pytest.mark.parametrize("where", ["code", "message", "message with words"])
    def test_the_same_target_is_done(self, player: Player, where: str) -> None:
        no = switch_asked(self.no("SAME_TARGET_OFFER", where), 422)
        assert played(player, SWITCH_PLAY, *SWITCH_PLAY.calls[:2], no).result is Result.DONE

    @pytest.mark.parametrize("where", ["code", "message", "message with words"])
    def test_while_it_is_being_billed_it_waits_an_hour(self, player: Player, where: str) -> None:
        no = switch_asked(self.no("RECURRING_PROCESS_ALREADY_STARTED", where), 422)
        outcome = played(player, SWITCH_PLAY, *SWITCH_PLAY.calls[:2], no)
        assert (outcome.result, outcome.after, outcome.may_have_acted) == (Result.WAITING, 3600, False)

    def test_a_switch_that_began_since_we_looked_is_followed_when_it_is_ours(self, player: Player) -> None:
        no = switch_asked(self.no("SWITCH_IN_PROGRESS", "code"), 422)
        after = (shown(WITH_SWITCH), shown_switch("inprogress"))
        outcome = played(player, SWITCH_PLAY, *SWITCH_PLAY.calls[:2], no, *after)
        assert (outcome.result, outcome.job) == (Result.PENDING, PENDING_JOB)

    def test_and_a_refusal_when_it_is_another_or_cannot_be_seen(self, player: Player) -> None:
        no = switch_asked(self.no("SWITCH_IN_PROGRESS", "code"), 422)
        other = (shown(WITH_SWITCH), shown_switch("inprogress", toOfferId=SPORTS))
        assert "Another switch" in refusal(player, SWITCH_PLAY, *SWITCH_PLAY.calls[:2], no, *other)
        assert "SWITCH_IN_PROGRESS" in refusal(player, SWITCH_PLAY, *SWITCH_PLAY.calls[:2], no, shown(subscription()))


class TestFromOffer:
    def play(self, player: Player, *calls: Call, from_offer: str = BASIC, **differences: Any) -> Outcome:
        inputs = {**UPGRADE, "from_offer": from_offer}
        return played(player, SWITCH_PLAY, *calls, inputs=inputs, **{"traits": BY_CUSTOMER, **differences})

    def test_it_chooses_among_several(self, player: Player) -> None:
        rows = listed(subscription(OTHER, offerId=SPORTS), subscription())
        assert self.play(player, rows, rows, switch_asked(switch("inprogress"))).result is Result.PENDING

    def test_after_the_switch_the_one_on_the_target_is_it(self, player: Player) -> None:
        rows = listed(subscription(OTHER, offerId=SPORTS), subscription(offerId=PREMIUM))
        outcome = self.play(player, rows)
        assert (outcome.result, outcome.message) == (Result.DONE, f"Subscription {NUMBER} is on offer {PREMIUM}")

    def test_two_on_the_same_offer_stay_several_even_beside_one_on_the_target(self, player: Player) -> None:
        rows = listed(subscription(), subscription(OTHER), subscription(710000003, offerId=PREMIUM))
        outcome = self.play(player, rows)
        assert outcome.result is Result.REJECTED
        assert f"({NUMBER} on {BASIC} is active, {OTHER} on {BASIC} is active)" in outcome.message

    def test_none_on_either_is_none(self, player: Player) -> None:
        outcome = self.play(player, listed(subscription(offerId=SPORTS)))
        assert "no matching subscription" in outcome.message

    def test_a_known_subscription_on_another_offer_is_left_alone(self, player: Player) -> None:
        outcome = self.play(player, shown(subscription(offerId=SPORTS)), traits=BY_NUMBER)
        assert (outcome.result, outcome.message) == (
            Result.REJECTED,
            f"Subscription {NUMBER} is on offer {SPORTS}, not on {BASIC}.",
        )


class TestFollowUp:
    def ask(self, player: Player, settings: Settings, *calls: Call, broken: Broken | None = None) -> Outcome:
        settings.ENGAGE_VENDOR_URLS = {"cleeng": player.vendor.url}
        player.vendor.expect(*calls, broken=dict.fromkeys(range(len(calls)), broken) if broken else None)
        outcome = runner.follow_up(SWITCH_PLAY.work(), PENDING_JOB, MemoryJournal())
        player.vendor.assert_played()
        return outcome

    def test_done_when_the_offer_has_changed(self, player: Player, settings: Settings) -> None:
        assert self.ask(player, settings, shown(subscription(offerId=PREMIUM))).result is Result.DONE

    @pytest.mark.parametrize(
        ("status", "result"),
        [
            ("inprogress", Result.PENDING),
            ("finished", Result.DONE),
            ("pending", Result.DONE),
            ("cancelled", Result.REJECTED),
            ("failed", Result.REJECTED),
            ("unheard-of", Result.PENDING),
        ],
    )
    def test_else_as_the_switch_says(self, player: Player, settings: Settings, status: str, result: Result) -> None:
        outcome = self.ask(player, settings, shown(WITH_SWITCH), shown_switch(status))
        assert outcome.result is result
        assert outcome.job == (PENDING_JOB if result is Result.PENDING else None)

    @pytest.mark.parametrize(
        "broken", [Broken("503", 503, "down"), Broken("null", raw="null"), Broken("reset", then="reset")]
    )
    def test_a_look_that_fails_is_taken_again(self, player: Player, settings: Settings, broken: Broken) -> None:
        outcome = self.ask(player, settings, shown(WITH_SWITCH), broken=broken)
        assert (outcome.result, outcome.job) == (Result.PENDING, PENDING_JOB)

    def test_refused_credentials_hold_it_with_its_job(self, player: Player, settings: Settings) -> None:
        outcome = self.ask(player, settings, shown(WITH_SWITCH), PROBE, broken=Broken("401", 401, "{}"))
        assert (outcome.result, outcome.job) == (Result.HELD, PENDING_JOB)

    @pytest.mark.parametrize("status", [403, 404])
    def test_a_switch_that_is_not_to_be_seen_yet_is_under_way(
        self, player: Player, settings: Settings, status: int
    ) -> None:
        unseen = replace(shown_switch("inprogress"), answer={"message": "No such switch"}, status=status)
        outcome = self.ask(player, settings, shown(WITH_SWITCH), unseen)
        assert (outcome.result, outcome.job) == (Result.PENDING, PENDING_JOB)


class TestReactivate:
    def test_active_already(self, player: Player) -> None:
        assert played(player, REACTIVATE_PLAY, listed(subscription())).message == f"Subscription {NUMBER} is active"

    @pytest.mark.parametrize("status", ["terminated", "paused"])
    def test_what_is_not_stopped_cannot_be(self, player: Player, status: str) -> None:
        row = shown(subscription(status=status))
        words = refusal(player, REACTIVATE_PLAY, row, row, traits=BY_NUMBER)
        assert words == f"Subscription {NUMBER} is {status}; only one with a pending cancellation can be reactivated."

    def test_a_customers_terminated_one_is_none(self, player: Player) -> None:
        assert "is terminated" in refusal(player, REACTIVATE_PLAY, listed(subscription(status="terminated")))

    def test_a_stopped_one_whose_time_is_over_cannot_be(self, player: Player) -> None:
        words = refusal(player, REACTIVATE_PLAY, shown(OVER), shown(OVER), traits=BY_NUMBER)
        assert words == f"Subscription {NUMBER} ended on 13 September 2020; it cannot be reactivated."

    def test_a_refusal_is_in_cleengs_words(self, player: Player) -> None:
        no = activated({"message": "Subscription is externally managed"}, 422)
        words = refusal(player, REACTIVATE_PLAY, *REACTIVATE_PLAY.calls[:2], no)
        assert words == "Cleeng refused: Subscription is externally managed"

    def test_an_answer_that_shows_another_status_is_no_success(self, player: Player) -> None:
        outcome = played(player, REACTIVATE_PLAY, *REACTIVATE_PLAY.calls[:2], activated(STOPPED), listed(STOPPED))
        assert outcome.result is Result.UNCERTAIN


class TestProbe:
    def probe(self, player: Player, settings: Settings, call: Call, broken: Broken | None = None) -> runner.ProbeReport:
        settings.ENGAGE_VENDOR_URLS = {"cleeng": player.vendor.url}
        player.vendor.expect(call, broken={0: broken} if broken else None)
        report = runner.probe(Cleeng(), SETTINGS)
        player.vendor.assert_played()
        return report

    def test_an_empty_list_is_a_good_key(self, player: Player, settings: Settings) -> None:
        report = self.probe(player, settings, PROBE)
        assert (report.passed, report.message) == (True, "Cleeng Sandbox accepts the key.")
        assert ProbeLine(None, "Writing cannot be tested without changing something.") in report.lines

    @pytest.mark.parametrize("page", [Broken("401", 401, "{}"), Broken("401 as HTML", 401, "<h1>No</h1>", "text/html")])
    def test_a_401_is_a_bad_one(self, player: Player, settings: Settings, page: Broken) -> None:
        report = self.probe(player, settings, PROBE, page)
        assert (report.passed, report.bad_credentials) == (False, True)

    @pytest.mark.parametrize(
        "broken",
        [
            Broken("HTML", raw="<h1>Welcome</h1>", content_type="text/html"),
            Broken("null", raw="null"),
            Broken("no list", raw='{"success": true, "data": "none"}'),
            Broken("no data", raw='{"success": true}'),
            Broken("down", 503),
            Broken("reset", then="reset"),
        ],
    )
    def test_anything_else_proves_nothing(self, player: Player, settings: Settings, broken: Broken) -> None:
        report = self.probe(player, settings, PROBE, broken)
        assert (report.passed, report.bad_credentials) == (False, False)
        assert report.message.endswith(".")


class TestOffers:
    def rows(self, first: int, count: int) -> list[dict[str, Any]]:
        return [
            {"longId": f"S{number}_US", "title": f"Offer {number}", "type": "subscription", "active": True}
            for number in range(first, first + count)
        ]

    def read(self, player: Player, settings: Settings, *pages: Any) -> list[Choice]:
        settings.ENGAGE_VENDOR_URLS = {"cleeng": player.vendor.url}
        player.vendor.expect(
            *(
                Call("GET", "/offers", page, {"page": str(number), "limit": "100"})
                for number, page in enumerate(pages, 1)
            )
        )
        with Api(Cleeng(), SETTINGS, OnlyLooks(5)) as api:
            found = list(offers(api))
        player.vendor.assert_played()
        return found

    @pytest.mark.parametrize("envelope", ["", "data", "responseData", "items", "responseData.items"])
    def test_every_envelope_is_read_page_by_page(self, player: Player, settings: Settings, envelope: str) -> None:
        def wrapped(rows: Any) -> Any:
            for name in reversed(envelope.split(".") if envelope else []):
                rows = {name: rows}
            return rows

        pages = [wrapped(self.rows(531000000, 15)), wrapped(self.rows(531000015, 3)), wrapped([])]
        assert len(self.read(player, settings, *pages)) == 18

    def test_a_vendor_that_does_not_page_is_asked_twice(self, player: Player, settings: Settings) -> None:
        same = self.rows(531000000, 4)
        assert len(self.read(player, settings, same, same)) == 4

    def test_only_active_subscription_offers_are_offered(self, player: Player, settings: Settings) -> None:
        rows = [
            {"id": "S1", "longId": BASIC, "title": "Basic", "type": "subscription", "active": True, "price": None},
            {"longId": "P1_US", "title": "Pass", "type": "pass", "active": True},
            {"longId": "S2_US", "title": "Old", "type": "subscription", "active": False},
            {"id": PREMIUM, "title": "Premium", "price": {"amount": 15.99, "currency": "USD"}},
        ]
        found = self.read(player, settings, rows, [])
        assert [(row.key, row.label) for row in found] == [
            (BASIC, f"Basic ({BASIC})"),
            (PREMIUM, f"Premium, 15.99 USD ({PREMIUM})"),
        ]

    @pytest.mark.parametrize(
        "answer", [None, {}, {"data": None}, {"data": "none"}, {"data": [1]}, {"data": [{}]}, 7, "offers"]
    )
    def test_what_is_no_list_of_offers_is_no_empty_one(self, player: Player, settings: Settings, answer: Any) -> None:
        with pytest.raises(Undocumented):
            self.read(player, settings, answer)


def test_each_environment_has_its_own_host() -> None:
    declared = Cleeng()
    assert declared.base_url({"environment": "live"}) == "https://api.cleeng.com/3.1"
    assert declared.base_url({"environment": "sandbox"}) == "https://api.sandbox.cleeng.com/3.1"
    assert [declared.is_sandbox({"environment": name}) for name in ("live", "sandbox")] == [False, True]
