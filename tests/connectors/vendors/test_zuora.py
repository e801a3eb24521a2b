"""Zuora's actions by its sheet: two object models, what goes over the wire, and how its 200s that mean no are read."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from connectors.base import Action, Choice
from connectors.http import Api
from connectors.journal import OnlyLooks
from connectors.runner import Outcome, Result
from connectors.vendors.zuora import Zuora, rate_plans
from connectors.vendors.zuora.changes import AddPlan, AutoRenew, Create, RemovePlan
from connectors.vendors.zuora.states import Cancel, Resume, Suspend
from tests.connectors.contract import ActionContract, MemoryJournal, Player, Scenario
from tests.connectors.fake_vendor import Broken, Call, Form

TOKEN, SECRET = "planted-access-token-0123456789", "planted-client-secret-0123456789"
CLIENT = "2f3c4d5e-0000-4000-8000-123456789abc"
ACCOUNT, NUMBER, OTHER = "A00000001", "A-S00000001", "A-S00000002"
GOLD, SPORTS, OWN = "8ad08f748eb3a4cf018eb4c9a9b21234", "8ad08f748eb3a4cf018eb4c9a9b25678", "8ad08aae4ce50001"
SETTINGS = {
    "data_center": "us_sandbox",
    "client_id": CLIENT,
    "client_secret": SECRET,
    "tenant_model": "orders",
    "time_zone": "America/New_York",
    "zuora_version": "211.0",
    "entity_id": "",
    "org_ids": "",
}
AMENDS = {**SETTINGS, "tenant_model": "subscribe_amend"}
VERSION = {"zuora-version": "211.0"}
SIGNED = {**VERSION, "Authorization": f"Bearer {TOKEN}"}
LOGIN = Call(
    "POST",
    "/token/oauth/token",
    {"access_token": TOKEN, "token_type": "bearer", "expires_in": 3598, "scope": "tenant.1", "jti": "x"},
    body=Form({"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}),
    token=TOKEN,
    signed=VERSION,
)
PROBE = (LOGIN, Call("GET", "/catalog/products", {"products": [], "success": True}, {"pageSize": "1"}))


class Today(str):
    """The day on which it is sent, wherever midnight has passed already."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return abs(date.fromisoformat(str(other)) - datetime.now(UTC).date()) <= timedelta(days=1)

    __hash__ = str.__hash__


TODAY = Today("today")
DATES = [
    {"name": name, "triggerDate": TODAY} for name in ("ContractEffective", "ServiceActivation", "CustomerAcceptance")
]


def in_days(days: int) -> str:
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


def plan(product: str = GOLD, number: str = OWN, **more: Any) -> dict[str, Any]:
    return {"id": number, "productRatePlanId": product, "ratePlanName": "Gold", **more}


def subscription(number: str = NUMBER, **changes: Any) -> dict[str, Any]:
    return {
        "id": "8ad08d2986bb0001",
        "subscriptionNumber": number,
        "accountNumber": ACCOUNT,
        "status": "Active",
        "termType": "TERMED",
        "autoRenew": True,
        "termEndDate": "2027-06-01",
        "subscriptionEndDate": "2027-06-01",
        "ratePlans": [plan()],
        **changes,
    }


def listed(*rows: Any, **more: Any) -> Call:
    answer = {"subscriptions": list(rows), "success": True, **more}
    return Call("GET", f"/subscriptions/accounts/{ACCOUNT}", answer, {"pageSize": "40"})


def ordered(action: dict[str, Any], number: str = NUMBER, charges: Any = None, **answer: Any) -> Call:
    nothing = {"runBilling": False, "collectPayment": False}
    options = nothing if charges is None else charges
    of = {} if action["type"] == "CreateSubscription" else {"subscriptionNumber": number}
    body = {
        "orderDate": TODAY,
        "existingAccountNumber": ACCOUNT,
        "subscriptions": [{**of, "orderActions": [action]}],
        **({"processingOptions": options} if options else {}),
    }
    made = {"success": True, "orderNumber": "O-1", "status": "Completed", "subscriptionNumbers": [number]}
    return Call("POST", "/orders", {**made, **answer}, body=body)


def amended(body: dict[str, Any], *at: str, **answer: Any) -> Call:
    made = {"success": True, "subscriptionId": "8ad08d2986bb0002", "totalDeltaMrr": 0, **answer}
    charges = {"runBilling": False, "collect": False}
    return Call("PUT", "/".join(["/subscriptions", NUMBER, *at]), made, body={**body, **charges})


BY_ACCOUNT = {"account_number": ACCOUNT}
COMMON: dict[str, Any] = {
    "connector": Zuora,
    "traits": BY_ACCOUNT,
    "signed": SIGNED,
    "probe": PROBE,
    "result": Result.DONE,
    "looks": 2,
}
BEFORE = listed(subscription())
ADDED = subscription(ratePlans=[plan(), plan(SPORTS, "p2")])
ADDS = {"type": "AddProduct", "triggerDates": DATES, "addProduct": {"productRatePlanId": SPORTS}}


class TestAddPlan(ActionContract):
    scenario = Scenario(
        action=AddPlan,
        calls=(LOGIN, BEFORE, BEFORE, ordered(ADDS)),
        looks_done=(LOGIN, listed(ADDED)),
        message=f"Subscription {NUMBER} has plan {SPORTS} (order O-1 is completed)",
        settings=SETTINGS,
        inputs={"plan": SPORTS},
        **COMMON,
    )


class TestAddPlanByAmendment(ActionContract):
    scenario = replace(
        TestAddPlan.scenario,
        settings=AMENDS,
        calls=(
            LOGIN,
            BEFORE,
            BEFORE,
            amended({"add": [{"productRatePlanId": SPORTS, "contractEffectiveDate": TODAY}]}),
        ),
        message=f"Subscription {NUMBER} has plan {SPORTS}",
    )


class TestRemovePlan(ActionContract):
    scenario = Scenario(
        action=RemovePlan,
        calls=(
            LOGIN,
            BEFORE,
            BEFORE,
            ordered({"type": "RemoveProduct", "triggerDates": DATES, "removeProduct": {"ratePlanId": OWN}}),
        ),
        looks_done=(LOGIN, listed(subscription(ratePlans=[plan(lastChangeType="Remove")]))),
        message=f"Subscription {NUMBER} no longer has plan {GOLD} (order O-1 is completed)",
        settings=SETTINGS,
        inputs={"plan": GOLD},
        **COMMON,
    )


ENDS = {"cancellationPolicy": "EndOfCurrentTerm"}


class TestCancel(ActionContract):
    scenario = Scenario(
        action=Cancel,
        calls=(
            LOGIN,
            BEFORE,
            BEFORE,
            ordered({"type": "CancelSubscription", "triggerDates": DATES, "cancelSubscription": ENDS}),
        ),
        looks_done=(LOGIN, listed(subscription(status="Cancelled"), subscription(OTHER, status="Expired"))),
        message=f"Subscription {NUMBER} is cancelled (order O-1 is completed)",
        settings=SETTINGS,
        inputs={"policy": "EndOfCurrentTerm"},
        **COMMON,
    )


IN_MONTHS = {"policy": "FixedPeriodsFromToday", "periods": 2, "period": "Month"}
PAUSES = {"suspendPolicy": "FixedPeriodsFromToday", "suspendPeriods": 2, "suspendPeriodsType": "Month"}


class TestSuspend(ActionContract):
    scenario = Scenario(
        action=Suspend,
        calls=(LOGIN, BEFORE, BEFORE, ordered({"type": "Suspend", "suspend": PAUSES})),
        looks_done=(LOGIN, listed(subscription(status="Suspended"))),
        message=f"Subscription {NUMBER} is suspended (order O-1 is completed)",
        settings=SETTINGS,
        inputs={**IN_MONTHS},
        **COMMON,
    )


PAUSED = listed(subscription(status="Suspended"))


class TestResume(ActionContract):
    scenario = Scenario(
        action=Resume,
        calls=(
            LOGIN,
            PAUSED,
            PAUSED,
            ordered({"type": "Resume", "resume": {"resumePolicy": "Today", "extendsTerm": True}}),
        ),
        looks_done=(LOGIN, BEFORE),
        message=f"Subscription {NUMBER} is resumed (order O-1 is completed)",
        settings=SETTINGS,
        inputs={"policy": "Today", "extends_term": True},
        **COMMON,
    )


class TestAutoRenew(ActionContract):
    scenario = Scenario(
        action=AutoRenew,
        calls=(
            LOGIN,
            BEFORE,
            BEFORE,
            ordered(
                {"type": "TermsAndConditions", "triggerDates": DATES, "termsAndConditions": {"autoRenew": False}},
                charges={},
            ),
        ),
        looks_done=(LOGIN, listed(subscription(autoRenew=False))),
        message=f"Subscription {NUMBER} does not renew automatically (order O-1 is completed)",
        settings=SETTINGS,
        inputs={"auto_renew": "off"},
        **COMMON,
    )


NONE_RUNS = listed(subscription(OTHER, status="Cancelled", ratePlans=[plan(SPORTS)]))
FOR_A_YEAR = {
    "plan": SPORTS,
    "term_type": "TERMED",
    "initial_term": 12,
    "renewal_term": 1,
    "period": "Month",
    "auto_renew": True,
}
TERMS = {
    "initialTerm": {"termType": "TERMED", "startDate": TODAY, "period": 12, "periodType": "Month"},
    "renewalSetting": "RENEW_WITH_SPECIFIC_TERM",
    "renewalTerms": [{"period": 1, "periodType": "Month"}],
    "autoRenew": True,
}


def creates(terms: Any, dates: Any = DATES) -> dict[str, Any]:
    made = {"terms": terms, "subscribeToRatePlans": [{"productRatePlanId": SPORTS}]}
    return {"type": "CreateSubscription", "triggerDates": dates, "createSubscription": made}


class TestCreate(ActionContract):
    scenario = Scenario(
        action=Create,
        calls=(LOGIN, NONE_RUNS, ordered(creates(TERMS))),
        looks_done=(LOGIN, listed(ADDED)),
        message=f"Subscription {NUMBER} with plan {SPORTS} is made (order O-1 is completed)",
        settings=SETTINGS,
        inputs=FOR_A_YEAR,
        **COMMON,
    )


ADD, REMOVE, CREATE = TestAddPlan.scenario, TestRemovePlan.scenario, TestCreate.scenario
CANCEL, SUSPEND, RESUME = TestCancel.scenario, TestSuspend.scenario, TestResume.scenario


def played(player: Player, scenario: Scenario, *calls: Call, **differences: Any) -> Outcome:
    """Carry an action out with these calls after the token's, none left over."""
    player.vendor.expect(LOGIN, *calls)
    outcome, _ = player.play(scenario, **differences)
    player.vendor.assert_played()
    return outcome


class TestByAmendment:
    """The bodies of Subscribe and Amend, where no scenario has them."""

    @pytest.mark.parametrize(
        ("scenario", "inputs", "before", "call", "message"),
        [
            (
                REMOVE,
                {},
                BEFORE,
                amended({"remove": [{"ratePlanId": OWN, "contractEffectiveDate": TODAY}]}),
                f"no longer has plan {GOLD}",
            ),
            (CANCEL, {}, BEFORE, amended(ENDS, "cancel", cancelledDate="2027-06-01"), "cancelled, from 2027-06-01 on"),
            (
                SUSPEND,
                {},
                BEFORE,
                amended({**PAUSES, "suspendPeriods": "2"}, "suspend", suspendDate="2027-01-21"),
                "is suspended, from 2027-01-21 on",
            ),
            (
                RESUME,
                {"policy": "SpecificDate", "on": "2027-02-01", "extends_term": False},
                PAUSED,
                amended(
                    {"resumePolicy": "SpecificDate", "resumeSpecificDate": "2027-02-01", "extendsTerm": False},
                    "resume",
                    resumeDate="2027-02-01",
                ),
                "is resumed, from 2027-02-01 on",
            ),
            (
                TestAutoRenew.scenario,
                {},
                BEFORE,
                replace(amended({}), body={"autoRenew": False}),
                "does not renew automatically",
            ),
        ],
    )
    def test_a_change(
        self, player: Player, scenario: Scenario, inputs: Any, before: Call, call: Call, message: str
    ) -> None:
        told = {**scenario.inputs, **inputs}
        outcome = played(player, scenario, before, before, call, settings=AMENDS, inputs=told)
        assert (outcome.result, outcome.message.endswith(message)) == (Result.DONE, True), outcome
        assert player.vendor.heard[-1].header("idempotency-key") is None

    @pytest.mark.parametrize(
        ("inputs", "term"),
        [
            (
                {},
                {
                    "termType": "TERMED",
                    "initialTerm": 12,
                    "initialTermPeriodType": "Month",
                    "renewalTerm": 1,
                    "renewalTermPeriodType": "Month",
                    "autoRenew": True,
                },
            ),
            (
                {"term_type": "EVERGREEN", "initial_term": "", "renewal_term": 0},
                {"termType": "EVERGREEN", "renewalTerm": 0},
            ),
        ],
    )
    def test_a_new_subscription(self, player: Player, inputs: Any, term: dict[str, Any]) -> None:
        body = {
            "accountKey": ACCOUNT,
            "contractEffectiveDate": TODAY,
            "subscribeToRatePlans": [{"productRatePlanId": SPORTS}],
            "runBilling": True,
            "collect": True,
            **term,
        }
        answer = {"success": True, "subscriptionId": "8ad0", "subscriptionNumber": "A-S9"}
        call = Call("POST", "/subscriptions", answer, body=body)
        told = {**FOR_A_YEAR, **inputs, "run_billing": True, "collect": True}
        outcome = played(player, CREATE, NONE_RUNS, call, settings=AMENDS, inputs=told)
        assert outcome.message == f"Subscription A-S9 with plan {SPORTS} is made"
        assert player.vendor.heard[-1].header("idempotency-key") == "write-1"


class TestByOrder:
    def test_an_order_carries_a_key(self, player: Player) -> None:
        assert played(player, ADD, *ADD.calls[1:]).result is Result.DONE
        assert player.vendor.heard[-1].header("idempotency-key") == "write-1"

    def test_an_evergreen_subscription_from_a_day_on(self, player: Player) -> None:
        dates = [{**one, "triggerDate": "2027-03-01"} for one in DATES]
        action = creates({"initialTerm": {"termType": "EVERGREEN", "startDate": "2027-03-01"}}, dates)
        inputs = {**FOR_A_YEAR, "term_type": "EVERGREEN", "initial_term": "", "starts_on": "2027-03-01"}
        call = ordered(action, "A-S9", status="Pending")
        outcome = played(player, CREATE, NONE_RUNS, call, inputs=inputs)
        assert outcome.message == f"Subscription A-S9 with plan {SPORTS} is made (order O-1 is pending)"

    def test_a_cancellation_on_a_day_that_charges_and_uses_the_credit(self, player: Player) -> None:
        ends = {"cancellationPolicy": "SpecificDate", "cancellationEffectiveDate": "2027-03-01"}
        action = {"type": "CancelSubscription", "triggerDates": DATES, "cancelSubscription": ends}
        charges = {"runBilling": True, "collectPayment": True, "applyCredit": True}
        inputs = {
            "policy": "SpecificDate",
            "on": "2027-03-01",
            "run_billing": True,
            "collect": True,
            "credit": "applyCredit",
        }
        assert (
            played(player, CANCEL, BEFORE, BEFORE, ordered(action, charges=charges), inputs=inputs).result
            is Result.DONE
        )

    def test_the_account_that_gets_the_invoice_makes_the_order(self, player: Player) -> None:
        paid_by_another = listed(subscription(invoiceOwnerAccountNumber="A00000009"))
        call = ordered(ADDS)
        call = replace(call, body={**call.body, "existingAccountNumber": "A00000009"})
        assert played(player, ADD, paid_by_another, paid_by_another, call).result is Result.DONE

    def test_newer_versions_answer_with_objects(self, player: Player) -> None:
        answer: dict[str, Any] = {
            "subscriptionNumbers": None,
            "subscriptions": [{"subscriptionNumber": NUMBER, "status": "Active"}],
        }
        assert played(player, ADD, BEFORE, BEFORE, ordered(ADDS, **answer)).result is Result.DONE

    @pytest.mark.parametrize(
        "answer",
        [
            {"success": None},
            {"status": "Pending"},
            {"status": "Scheduled"},
            {"subscriptionNumbers": [OTHER]},
            {"subscriptions": [{"subscriptionNumber": OTHER}]},
        ],
    )
    def test_an_order_that_does_not_show_it_is_not_believed(self, player: Player, answer: Any) -> None:
        outcome = played(player, ADD, BEFORE, BEFORE, ordered(ADDS, **answer), BEFORE)
        assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True)


def no(code: int, status: int = 200, after: str = "") -> Broken:
    raw = f'{{"success": false, "processId": "1", "reasons": [{{"code": {code}, "message": "Because."}}]}}'
    return Broken(str(code), status, raw, headers={"Retry-After": after} if after else {})


class TestRefusals:
    """Inside a 200, by the last two digits of the code."""

    def refused(self, player: Player, broken: Broken, journal: MemoryJournal | None = None, **more: Any) -> Outcome:
        player.vendor.expect(*ADD.calls, broken={3: broken})
        return player.play(ADD, journal, **more)[0]

    @pytest.mark.parametrize(
        ("code", "result", "may_have_acted", "refusals"),
        [
            (53100320, Result.REJECTED, False, 1),
            (53100010, Result.REJECTED, False, 1),
            (53100040, Result.REJECTED, False, 1),
            (58730050, Result.WAITING, False, 1),
            (50000070, Result.WAITING, False, 1),
            (50000060, Result.WAITING, True, 0),
            (50000061, Result.WAITING, True, 0),
            (50000099, Result.WAITING, True, 0),
        ],
    )
    @pytest.mark.parametrize("status", [200, 400])
    def test_what_follows(
        self, player: Player, code: int, result: Result, may_have_acted: bool, refusals: int, status: int
    ) -> None:
        journal = MemoryJournal()
        outcome = self.refused(player, no(code, status), journal)
        assert (outcome.result, outcome.may_have_acted) == (result, may_have_acted)
        assert "Because." in outcome.message
        # For a key that it knows, Zuora would give out the same "not now" for a day.
        assert len(journal.refusals) == refusals

    def test_bad_credentials_inside_a_200(self, player: Player) -> None:
        broken = no(90000011)
        player.vendor.expect(LOGIN, BEFORE, broken={1: broken})
        player.vendor.expect(*PROBE, broken={1: broken})
        outcome, _ = player.play(ADD)
        assert (outcome.result, outcome.reason) == (Result.HELD, "credentials")

    def test_it_says_when_to_come_back(self, player: Player) -> None:
        assert self.refused(player, no(50000070, after="9")).after == 9

    @pytest.mark.parametrize(
        ("broken", "result"),
        [
            (no(50000060), Result.UNCERTAIN),  # kept with the key: no repeat will bring another
            (no(50000060, 500), Result.UNCERTAIN),
            (Broken("409", 409, "{}"), Result.WAITING),  # the first request is still under way
            (Broken("504", 504, "<h1>Gateway</h1>", "text/html"), Result.WAITING),
        ],
    )
    def test_of_a_repeat(self, player: Player, broken: Broken, result: Result) -> None:
        journal = MemoryJournal()
        self.refused(player, Broken("lost", then="close"), journal)
        player.vendor.expect(*ADD.calls, broken={3: broken})
        if result is Result.UNCERTAIN:
            player.vendor.expect(BEFORE)
        lost = {"may_have_acted": True, "since_first_write": timedelta(minutes=1)}
        outcome, _ = player.play(ADD, journal.again(), **lost)
        player.vendor.assert_played()
        assert (outcome.result, outcome.may_have_acted) == (result, True)


class TestWhichSubscription:
    def test_several_are_told(self, player: Player) -> None:
        outcome = played(player, ADD, listed(subscription(), subscription(OTHER)))
        assert (outcome.result, f"{OTHER} is Active" in outcome.message) == (Result.REJECTED, True)

    def test_the_one_with_the_plan(self, player: Player) -> None:
        both = listed(subscription(OTHER, ratePlans=[]), ADDED)
        outcome = played(player, ADD, both, inputs={**ADD.inputs, "only_plan": GOLD})
        assert outcome.message == f"Subscription {NUMBER} has plan {SPORTS}"

    def test_a_plan_is_removed_from_the_one_that_has_it(self, player: Player) -> None:
        both = listed(subscription(OTHER, ratePlans=[]), subscription())
        assert played(player, REMOVE, both, both, REMOVE.calls[-1]).result is Result.DONE

    def test_a_plan_that_is_there_twice_is_not_chosen(self, player: Player) -> None:
        twice = listed(subscription(ratePlans=[plan(), plan(number="p2")]))
        outcome = played(player, REMOVE, twice, twice)
        assert (outcome.result, "2 times" in outcome.message) == (Result.REJECTED, True)

    def test_the_list_is_read_to_its_end(self, player: Player) -> None:
        more = f"https://rest.zuora.com/v1/subscriptions/accounts/{ACCOUNT}?page=2&pageSize=40"
        second = replace(listed(ADDED), query={"pageSize": "40", "page": "2"})
        first = listed(subscription(OTHER, status="Expired"), nextPage=more)
        assert played(player, ADD, first, second).result is Result.DONE


class TestWhatLiesAhead:
    @pytest.mark.parametrize(
        "shown",
        [
            {"subscriptionEndDate": "2027-01-01"},
            {"termType": "EVERGREEN", "termEndDate": "2027-01-01", "subscriptionEndDate": "2027-01-01"},
            {
                "statusHistory": [
                    {"status": "Active", "startDate": "2025-01-01", "endDate": "2027-01-01"},
                    {"status": "Cancelled", "startDate": "2027-01-01", "endDate": None},
                ]
            },
        ],
    )
    def test_a_cancellation(self, player: Player, shown: Any) -> None:
        outcome = played(player, CANCEL, listed(subscription(**shown)))
        assert (outcome.result, outcome.message) == (Result.DONE, f"Subscription {NUMBER} ends on 2027-01-01")

    def test_a_cancellation_on_another_day_is_not_this_one(self, player: Player) -> None:
        ends = {"cancellationPolicy": "SpecificDate", "cancellationEffectiveDate": "2026-12-01"}
        action = {"type": "CancelSubscription", "triggerDates": DATES, "cancelSubscription": ends}
        later = listed(subscription(subscriptionEndDate="2027-01-01"))
        inputs = {"policy": "SpecificDate", "on": "2026-12-01"}
        assert played(player, CANCEL, later, later, ordered(action), inputs=inputs).result is Result.DONE

    @pytest.mark.parametrize(
        ("scenario", "status", "comes"), [(SUSPEND, "Active", "Suspended"), (RESUME, "Suspended", "Active")]
    )
    def test_a_pause_and_its_end(self, player: Player, scenario: Scenario, status: str, comes: str) -> None:
        history = [
            {"status": comes, "startDate": "2025-01-01", "endDate": in_days(-9)},
            {"status": status, "startDate": in_days(-9), "endDate": in_days(9)},
            {"status": comes, "startDate": in_days(9), "endDate": None},
        ]
        outcome = played(player, scenario, listed(subscription(status=status, statusHistory=history)))
        assert (outcome.result, in_days(9) in outcome.message) == (Result.DONE, True)


@pytest.mark.parametrize(
    ("action", "inputs"),
    [
        (AddPlan, {"plan": GOLD, "collect": True}),
        (Cancel, {"policy": "SpecificDate"}),
        (Cancel, {"policy": "EndOfCurrentTerm", "on": "2027-01-01"}),
        (Cancel, {"policy": "EndOfCurrentTerm", "credit": "applyCredit"}),
        (Suspend, {"policy": "FixedPeriodsFromToday"}),
        (Suspend, {"policy": "FixedPeriodsFromToday", "periods": 2}),
        (Resume, {"policy": "Today", "periods": 2, "period": "Day"}),
        (Create, {**FOR_A_YEAR, "initial_term": ""}),
    ],
)
def test_inputs_that_contradict_each_other(action: type[Action], inputs: Any) -> None:
    assert not action.Inputs(data=inputs).is_valid()


def test_rate_plans_are_read_in_either_form(player: Player) -> None:
    sold, gone = {"id": "p1", "name": "Monthly", "status": "Active"}, {"id": "p2", "name": "x", "status": "Expired"}
    past = {"id": "p3", "name": "x", "effectiveEndDate": "2020-01-01"}
    products = [
        {"id": "one", "name": "Gold", "productRatePlans": [sold, gone, past]},
        {"id": "two", "name": "Sports", "productRatePlans": "https://rest.zuora.com/v1/rateplan/two/productRatePlan"},
    ]
    player.vendor.expect(
        LOGIN,
        Call("GET", "/catalog/products", {"products": products, "success": True}, {"pageSize": "40"}),
        Call(
            "GET",
            "/rateplan/two/productRatePlan",
            {"productRatePlans": [{**sold, "id": "p4"}], "success": True},
            {"pageSize": "40"},
        ),
    )
    player.point_at(Zuora, (SECRET,))
    with Api(Zuora(), SETTINGS, OnlyLooks(5)) as api:
        assert list(rate_plans(api)) == [Choice("p1", "Gold: Monthly"), Choice("p4", "Sports: Monthly")]
    player.vendor.assert_played()


def test_each_data_center_has_its_host_and_parts_of_a_tenant_their_headers() -> None:
    declared = Zuora()
    assert declared.base_url({**SETTINGS, "data_center": "eu_test"}) == "https://rest.test.eu.zuora.com/v1"
    assert declared.hosts({**SETTINGS, "data_center": "us"}) == {"token": "https://rest.zuora.com"}
    told = declared.headers({**SETTINGS, "entity_id": "e1", "org_ids": "o1,o2"})
    assert (told["Zuora-Entity-Ids"], told["Zuora-Org-Ids"]) == ("e1", "o1,o2")
    assert [declared.is_sandbox({"data_center": one}) for one in ("eu", "eu_test", "na_sandbox")] == [False, True, True]
