"""Stripe's actions by its published contract: what goes over the wire, and how every one of its answers is read."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from connectors import runner
from connectors.failures import Undocumented
from connectors.http import Api
from connectors.journal import OnlyLooks
from connectors.runner import Outcome, Result, clean_inputs, probe
from connectors.vendors.stripe import Stripe
from connectors.vendors.stripe.prices import SwitchAtPeriodEnd, UpdateSubscription
from connectors.vendors.stripe.states import (
    ApplyCoupon,
    CancelAtPeriodEnd,
    CancelNow,
    Create,
    EndTrial,
    ExtendTrial,
    Keep,
    Pause,
    Resume,
)
from tests.connectors.contract import ActionContract, MemoryJournal, Player, Scenario, played
from tests.connectors.fake_vendor import Broken, Call, Form

KEY = "rk_test_plantedRestrictedKey0123456789"
CUSTOMER, NUMBER, OTHER, ITEM = "cus_ann", "sub_1", "sub_2", "si_1"
BASIC, PREMIUM, SPORTS = "price_basic", "price_premium", "price_sports"
TAG = "execution-1"  # what the tests' journal calls every execution
DAY = 86_400
BEGAN, RENEWS, TRIAL_ENDS = 1_797_400_000, 1_800_000_000, 1_799_000_000
SETTINGS = {"environment": "sandbox", "api_key": KEY, "stripe_account": ""}
KNOWN = {"stripe_id": CUSTOMER}
SIGNED = {"Authorization": f"Bearer {KEY}", "Accept": "application/json", "Stripe-Version": "2025-02-24.acacia"}


def item(price: str = BASIC, number: str = ITEM, quantity: int = 2) -> dict[str, Any]:
    return {
        "id": number,
        "object": "subscription_item",
        "price": {"id": price, "object": "price"},
        "quantity": quantity,
    }


def subscription(*items: dict[str, Any], price: str = BASIC, **changes: Any) -> dict[str, Any]:
    """A subscription as this version of Stripe shows it."""
    return {
        "id": NUMBER,
        "object": "subscription",
        "customer": CUSTOMER,
        "status": "active",
        "items": {"object": "list", "data": list(items or [item(price)]), "has_more": False},
        "current_period_end": RENEWS,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "discount": None,
        "discounts": [],
        "metadata": {},
        "pause_collection": None,
        "pending_update": None,
        "schedule": None,
        "trial_end": None,
        "automatic_tax": {"enabled": False, "liability": None},
        **changes,
    }


def page(*rows: Any, **changes: Any) -> dict[str, Any]:
    return {"object": "list", "data": list(rows), "has_more": False, **changes}


def listed(*rows: dict[str, Any], customer: str = CUSTOMER) -> Call:
    return Call("GET", "/subscriptions", page(*rows), {"customer": customer, "status": "all", "limit": "100"})


def posted(answer: Any, path: str = f"/subscriptions/{NUMBER}", **fields: str) -> Call:
    return Call("POST", path, answer, body=form(**fields))


def form(**fields: str) -> Form:
    """A form's fields; `items__0__price` stands for `items[0][price]`."""
    names = {name: name.split("__") for name in fields}
    return Form({first + "".join(f"[{one}]" for one in rest): fields[name] for name, (first, *rest) in names.items()})


def marked(action: Any, **changes: Any) -> dict[str, Any]:
    return subscription(metadata={f"engage_{action.key}": TAG}, **changes)


def discount(coupon: str = "SAVE20", code: str | None = None) -> dict[str, Any]:
    return {"id": "di_1", "object": "discount", "coupon": {"id": coupon, "object": "coupon"}, "promotion_code": code}


def phase(price: str = BASIC, begins: int = BEGAN, ends: int = RENEWS, **changes: Any) -> dict[str, Any]:
    """A phase as it is made from a subscription."""
    row = {"price": price, "plan": price, "quantity": 2, "metadata": {}, "tax_rates": [], "billing_thresholds": None}
    return {
        "items": [row],
        "start_date": begins,
        "end_date": ends,
        "currency": "usd",
        "proration_behavior": "create_prorations",
        "add_invoice_items": [],
        "automatic_tax": {"enabled": False, "liability": None},
        "coupon": None,
        "discounts": [],
        "metadata": {},
        "trial_end": None,
        **changes,
    }


def schedule(*phases: dict[str, Any]) -> dict[str, Any]:
    return {"id": "sub_sched_1", "object": "subscription_schedule", "subscription": NUMBER, "phases": list(phases)}


PRICE = {"id": BASIC, "object": "price", "livemode": False}
PROBE = Call("GET", "/prices", page(PRICE), {"limit": "1"})
ACTIVE, ON_PREMIUM = subscription(), subscription(price=PREMIUM)
TRIAL = subscription(status="trialing", trial_end=TRIAL_ENDS)
LONGER = marked(ExtendTrial, status="trialing", trial_end=TRIAL_ENDS + 7 * DAY)
ENDING = subscription(cancel_at_period_end=True, cancel_at=RENEWS)
OURS = {"comment": TAG, "feedback": None, "reason": "cancellation_requested"}
CANCELED = subscription(status="canceled", canceled_at=BEGAN, cancellation_details=OURS)
PAUSED = subscription(pause_collection={"behavior": "void", "resumes_at": None})
TWO = schedule(phase(), phase(PREMIUM, RENEWS, RENEWS + 30 * DAY))
SCHEDULED = subscription(schedule="sub_sched_1")
SCHEDULE_READ = Call("GET", "/subscription_schedules/sub_sched_1", TWO)


def scenario(
    action: Any, before: dict[str, Any], write: Call, after: dict[str, Any], message: str, **more: Any
) -> Scenario:
    """A scenario that looks, looks again and writes once."""
    told = {"settings": SETTINGS, "traits": KNOWN, "signed": SIGNED, "probe": (PROBE,), "looks": 1, **more}
    calls = (listed(before), listed(before), write)
    return Scenario(Stripe, action, calls, Result.DONE, message, looks_done=(listed(after),), **told)


UPDATE = {
    "price": PREMIUM,
    "proration_behavior": "create_prorations",
    "payment_behavior": "error_if_incomplete",
}


def updated(answer: Any, **changes: str) -> Call:
    fields = {
        "items__0__id": ITEM,
        "items__0__price": PREMIUM,
        "items__0__quantity": "2",
        "proration_behavior": "create_prorations",
        "payment_behavior": "error_if_incomplete",
        **changes,
    }
    return posted(answer, **fields)


class TestUpdate(ActionContract):
    scenario = scenario(
        UpdateSubscription,
        ACTIVE,
        updated(ON_PREMIUM),
        ON_PREMIUM,
        f"Subscription {NUMBER} is on price {PREMIUM}",
        inputs=UPDATE,
    )


class TestSwitchAtPeriodEnd(ActionContract):
    scenario = Scenario(
        Stripe,
        SwitchAtPeriodEnd,
        calls=(
            listed(ACTIVE),
            listed(ACTIVE),
            posted(schedule(phase()), "/subscription_schedules", from_subscription=NUMBER),
            posted(
                TWO,
                "/subscription_schedules/sub_sched_1",
                end_behavior="release",
                proration_behavior="none",
                phases__0__items__0__price=BASIC,
                phases__0__items__0__quantity="2",
                phases__0__start_date=str(BEGAN),
                phases__0__end_date=str(RENEWS),
                phases__1__items__0__price=PREMIUM,
                phases__1__items__0__quantity="2",
                phases__1__iterations="1",
                phases__1__proration_behavior="none",
            ),
        ),
        looks=1,
        looks_done=(listed(SCHEDULED), SCHEDULE_READ),
        result=Result.DONE,
        message=f"Subscription {NUMBER} changes to price {PREMIUM} on 15 January 2027",
        settings=SETTINGS,
        traits=KNOWN,
        inputs={"price": PREMIUM},
        signed=SIGNED,
        probe=(PROBE,),
    )


class TestExtendTrial(ActionContract):
    scenario = scenario(
        ExtendTrial,
        TRIAL,
        posted(
            LONGER,
            trial_end=str(TRIAL_ENDS + 7 * DAY),
            proration_behavior="none",
            metadata__engage_extend_trial=TAG,
        ),
        LONGER,
        f"Subscription {NUMBER} is in trial until 10 January 2027",
        inputs={"days": 7},
    )


class TestEndTrial(ActionContract):
    scenario = scenario(
        EndTrial,
        TRIAL,
        posted(ACTIVE, trial_end="now", proration_behavior="none", payment_behavior="error_if_incomplete"),
        ACTIVE,
        f"Subscription {NUMBER} is active",
    )


class TestApplyCoupon(ActionContract):
    scenario = scenario(
        ApplyCoupon,
        ACTIVE,
        posted(marked(ApplyCoupon, discount=discount()), coupon="SAVE20", metadata__engage_apply_coupon=TAG),
        marked(ApplyCoupon, discount=discount()),
        f"Subscription {NUMBER} has the discount of SAVE20",
        inputs={"coupon": "SAVE20"},
    )


class TestApplyPromotionCode(ActionContract):
    scenario = scenario(
        ApplyCoupon,
        ACTIVE,
        posted(
            marked(ApplyCoupon, discount=discount(code="promo_1")),
            promotion_code="promo_1",
            metadata__engage_apply_coupon=TAG,
        ),
        subscription(discount=discount(code="promo_1")),
        f"Subscription {NUMBER} has the discount of SAVE20",
        inputs={"promotion_code": "promo_1"},
    )


class TestCancelAtPeriodEnd(ActionContract):
    scenario = scenario(
        CancelAtPeriodEnd,
        ACTIVE,
        posted(ENDING, cancel_at_period_end="true"),
        ENDING,
        f"Subscription {NUMBER} ends on 15 January 2027",
    )


class TestKeep(ActionContract):
    scenario = scenario(
        Keep,
        ENDING,
        posted(ACTIVE, cancel_at_period_end="false"),
        ACTIVE,
        f"Subscription {NUMBER} renews on 15 January 2027",
    )


def ended(answer: Any, number: str = NUMBER) -> Call:
    body = form(cancellation_details__comment=TAG, prorate="true", invoice_now="false")
    return Call("DELETE", f"/subscriptions/{number}", answer, body=body)


class TestCancelNow(ActionContract):
    scenario = scenario(
        CancelNow, ACTIVE, ended(CANCELED), CANCELED, f"Subscription {NUMBER} is canceled", inputs={"prorate": True}
    )


class TestPause(ActionContract):
    scenario = scenario(
        Pause,
        ACTIVE,
        posted(PAUSED, pause_collection__behavior="void"),
        PAUSED,
        f"Subscription {NUMBER} is paused",
        inputs={"behavior": "void"},
    )


class TestResume(ActionContract):
    scenario = scenario(
        Resume, PAUSED, posted(ACTIVE, pause_collection=""), ACTIVE, f"Subscription {NUMBER} is not paused"
    )


class TestCreate(ActionContract):
    scenario = Scenario(
        Stripe,
        Create,
        calls=(
            listed(CANCELED),
            posted(
                ACTIVE,
                "/subscriptions",
                customer=CUSTOMER,
                items__0__price=BASIC,
                payment_behavior="error_if_incomplete",
            ),
        ),
        looks=1,
        looks_done=(listed(CANCELED, subscription(id=OTHER)),),
        result=Result.DONE,
        message=f"Subscription {NUMBER} on price {BASIC} is active",
        settings=SETTINGS,
        traits=KNOWN,
        inputs={"price": BASIC},
        signed=SIGNED,
        probe=(PROBE,),
    )


UPDATE_PLAY, SCHEDULE_PLAY = TestUpdate.scenario, TestSwitchAtPeriodEnd.scenario
CANCEL_PLAY, COUPON_PLAY, TRIAL_PLAY = TestCancelNow.scenario, TestApplyCoupon.scenario, TestExtendTrial.scenario


def refusal(player: Player, scenario: Scenario, *calls: Call, **differences: Any) -> str:
    """Do so, and return the words of the refusal."""
    outcome = played(player, scenario, *calls, **differences)
    assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False)
    return outcome.message


class TestWho:
    EMAIL = {"email_address": "ann@example.com"}

    def customers(self, *rows: tuple[str, str], **changes: Any) -> Call:
        found = [{"id": number, "object": "customer", "email": email} for number, email in rows]
        return Call("GET", "/customers", page(*found, **changes), {"email": "ann@example.com", "limit": "100"})

    def test_by_address_only_the_one_with_a_subscription_is_meant(self, player: Player) -> None:
        rows = (("cus_ann", "ann@example.com"), ("cus_old", "ann@example.com"), ("cus_x", "Ann@example.com"))
        reads = (self.customers(*rows), listed(ON_PREMIUM), listed(customer="cus_old"))
        assert played(player, UPDATE_PLAY, *reads, traits=self.EMAIL).result is Result.DONE

    def test_two_with_subscriptions_are_told(self, player: Player) -> None:
        rows = (("cus_ann", "ann@example.com"), ("cus_old", "ann@example.com"))
        other = listed(subscription(id=OTHER), customer="cus_old")
        words = refusal(player, UPDATE_PLAY, self.customers(*rows), listed(ACTIVE), other, traits=self.EMAIL)
        assert f"several subscriptions at Stripe ({NUMBER} on {BASIC} is active, {OTHER} on {BASIC} is active)" in words

    def test_nobody_and_too_many(self, player: Player) -> None:
        assert "No customer at Stripe" in refusal(player, UPDATE_PLAY, self.customers(), traits=self.EMAIL)
        many = self.customers(*((f"cus_{number}", "ann@example.com") for number in range(6)))
        assert refusal(player, UPDATE_PLAY, many, traits=self.EMAIL).startswith("6 customers")

    @pytest.mark.parametrize("value", ["ann", "cus_", "cus_1/..", "sub_1", 7, ["cus_1"], "cus_ünï"])
    def test_what_is_no_customer_is_not_asked_about(self, player: Player, value: Any) -> None:
        assert "holds no customer id" in refusal(player, UPDATE_PLAY, traits={"stripe_id": value})

    def test_a_new_subscription_needs_one_customer(self, player: Player) -> None:
        rows = self.customers(("cus_ann", "ann@example.com"), ("cus_old", "ann@example.com"))
        reads = (rows, listed(), listed(customer="cus_old"), rows)
        assert "Several customers" in refusal(player, TestCreate.scenario, *reads, traits=self.EMAIL)


class TestPages:
    def test_a_list_goes_on_after_its_last_row(self, player: Player) -> None:
        first = Call("GET", "/subscriptions", page(CANCELED, has_more=True), listed().query)
        second = Call("GET", "/subscriptions", page(ON_PREMIUM), {**listed().query, "starting_after": NUMBER})
        assert played(player, UPDATE_PLAY, first, second).result is Result.DONE

    def test_one_that_goes_on_without_a_row_proves_nothing(self, player: Player) -> None:
        endless = Call("GET", "/subscriptions", page(has_more=True), listed().query)
        assert played(player, UPDATE_PLAY, endless).result is Result.WAITING

    def test_the_same_page_for_ever_ends(self, player: Player) -> None:
        again = Call("GET", "/subscriptions", page(ACTIVE, has_more=True), {**listed().query, "starting_after": NUMBER})
        first = Call("GET", "/subscriptions", page(ACTIVE, has_more=True), listed().query)
        assert played(player, UPDATE_PLAY, first, again).result is Result.WAITING


class TestUpdates:
    def test_the_quantity_is_the_bindings_where_it_says_one(self, player: Player) -> None:
        more = updated(subscription(item(PREMIUM, quantity=3)), items__0__quantity="3", billing_cycle_anchor="now")
        inputs = {**UPDATE, "quantity": 3, "billing_cycle_anchor": "now"}
        outcome = played(player, UPDATE_PLAY, listed(ON_PREMIUM), listed(ON_PREMIUM), more, inputs=inputs)
        assert outcome.result is Result.DONE

    def test_several_items_need_to_be_told_apart(self, player: Player) -> None:
        two = subscription(item(SPORTS, "si_2"), item(BASIC))
        assert "has 2 items" in refusal(player, UPDATE_PLAY, listed(two))
        after = subscription(item(SPORTS, "si_2"), item(PREMIUM))
        inputs = {**UPDATE, "only_price": BASIC}
        outcome = played(player, UPDATE_PLAY, listed(two), listed(two), updated(after), inputs=inputs)
        assert outcome.result is Result.DONE

    def test_one_that_follows_a_schedule_is_left_alone(self, player: Player) -> None:
        assert "follows a schedule" in refusal(player, UPDATE_PLAY, listed(SCHEDULED), listed(SCHEDULED))

    def test_one_on_a_third_price_is_none(self, player: Player) -> None:
        inputs = {**UPDATE, "only_price": SPORTS}
        assert "no matching subscription" in refusal(player, UPDATE_PLAY, listed(ACTIVE), inputs=inputs)

    def test_an_open_payment_is_said(self, player: Player) -> None:
        late = subscription(price=PREMIUM, status="past_due")
        write = updated(late, payment_behavior="allow_incomplete")
        inputs = {**UPDATE, "payment_behavior": "allow_incomplete"}
        outcome = played(player, UPDATE_PLAY, listed(ACTIVE), listed(ACTIVE), write, inputs=inputs)
        assert outcome.message.endswith("its payment is open (past_due)")

    def test_a_declined_card_changes_nothing(self, player: Player) -> None:
        error = {"type": "card_error", "code": "card_declined", "decline_code": "lost_card", "message": "Declined."}
        no = Call("POST", f"/subscriptions/{NUMBER}", {"error": error}, body=updated({}).body, status=402)
        assert refusal(player, UPDATE_PLAY, *UPDATE_PLAY.calls[:2], no) == "Stripe refused: Declined."


class TestWaitingForAPayment:
    INPUTS = {**UPDATE, "payment_behavior": "pending_if_incomplete"}

    def waiting(self, to: str = PREMIUM, ends: float = RENEWS, **now: Any) -> dict[str, Any]:
        rows = [{"id": ITEM, "price": {"id": to}, "quantity": 2}]
        return subscription(pending_update={"expires_at": ends, "subscription_items": rows}, **now)

    def job(self, ends: float = RENEWS) -> dict[str, Any]:
        return {"subscription": NUMBER, "item": ITEM, "from": BASIC, "to": PREMIUM, "ends": ends}

    def test_it_is_pending(self, player: Player) -> None:
        write = updated(self.waiting(), payment_behavior="pending_if_incomplete")
        outcome = played(player, UPDATE_PLAY, listed(ACTIVE), listed(ACTIVE), write, inputs=self.INPUTS)
        assert (outcome.result, outcome.job) == (Result.PENDING, self.job())
        assert "the change lapses on 15 January 2027" in outcome.message

    def test_and_found_pending_by_the_next_attempt(self, player: Player) -> None:
        outcome = played(player, UPDATE_PLAY, listed(self.waiting()), inputs=self.INPUTS)
        assert (outcome.result, outcome.job) == (Result.PENDING, self.job())

    def test_another_change_that_waits_is_left_alone(self, player: Player) -> None:
        assert "another change" in refusal(player, UPDATE_PLAY, listed(self.waiting(SPORTS)), inputs=self.INPUTS)

    def test_nor_does_it_hide_that_the_price_is_the_wished_one(self, player: Player) -> None:
        outcome = played(player, UPDATE_PLAY, listed(self.waiting(SPORTS, price=PREMIUM)), inputs=self.INPUTS)
        assert outcome.result is Result.DONE

    def ask(self, player: Player, settings: Settings, shown: dict[str, Any], ends: float = RENEWS) -> Outcome:
        settings.ENGAGE_VENDOR_URLS = {"stripe": player.vendor.url}
        player.vendor.expect(Call("GET", f"/subscriptions/{NUMBER}", shown))
        outcome = runner.follow_up(UPDATE_PLAY.work(), self.job(ends), MemoryJournal())
        player.vendor.assert_played()
        return outcome

    def test_what_becomes_of_it(self, player: Player, settings: Settings) -> None:
        past, ahead = time.time() - 60, time.time() + 3600
        assert self.ask(player, settings, ON_PREMIUM).result is Result.DONE
        assert self.ask(player, settings, self.waiting()).result is Result.PENDING
        lapsed = self.ask(player, settings, ACTIVE, past)
        assert (lapsed.result, "its payment did not come in time" in lapsed.message) == (Result.REJECTED, True)
        unknown = self.ask(player, settings, ACTIVE, ahead)
        assert (unknown.result, unknown.job) == (Result.PENDING, self.job(ahead))

    def test_what_happened_is_done_whatever_waits_by_now(self, player: Player, settings: Settings) -> None:
        assert self.ask(player, settings, self.waiting(SPORTS, price=PREMIUM)).result is Result.DONE

    def test_what_may_have_happened_before_another_change_is_no_refusal(
        self, player: Player, settings: Settings
    ) -> None:
        past = time.time() - 60
        replaced = self.ask(player, settings, self.waiting(SPORTS), time.time() + 3600)
        assert (replaced.result, "another change waits" in replaced.message) == (Result.PENDING, True)
        for shown in (subscription(price=SPORTS), self.waiting(BASIC, price=SPORTS), subscription(item(BASIC, "si_9"))):
            assert self.ask(player, settings, shown, past).result is Result.PENDING


class TestSchedules:
    @pytest.mark.parametrize(
        "kept",
        [
            {"discount": discount()},
            {"discounts": ["di_1"]},
            {"default_tax_rates": [{"id": "txr_1"}]},
            {"automatic_tax": {"enabled": True, "liability": None}},
            {"transfer_data": {"destination": "acct_1"}},
            {"cancel_at_period_end": True},
            {"cancel_at": RENEWS},
            {"pause_collection": {"behavior": "void"}},
        ],
        ids=lambda kept: next(iter(kept)),
    )
    def test_settings_that_would_be_lost_are_refused_before_anything_is_made(
        self, player: Player, kept: dict[str, Any]
    ) -> None:
        row = listed(subscription(**kept))
        assert f"would lose: {next(iter(kept))}" in refusal(player, SCHEDULE_PLAY, row, row)

    @pytest.mark.parametrize(
        ("kept", "name"),
        [
            ({"coupon": "SAVE20"}, "coupon"),
            ({"trial_end": RENEWS}, "trial_end"),
            ({"metadata": {"a": "b"}}, "metadata"),
            ({"automatic_tax": {"enabled": True}}, "automatic_tax"),
            ({"items": [{"price": BASIC, "quantity": 2, "tax_rates": ["txr_1"]}]}, "items.tax_rates"),
        ],
    )
    def test_a_phase_with_settings_of_its_own_is_refused(self, player: Player, kept: dict[str, Any], name: str) -> None:
        read = Call("GET", "/subscription_schedules/sub_sched_1", schedule(phase(**kept)))
        words = refusal(player, SCHEDULE_PLAY, listed(SCHEDULED), read, listed(SCHEDULED), read)
        assert words == f"The schedule of Subscription {NUMBER} has settings that would be lost: {name}."

    def test_a_schedule_that_a_lost_answer_left_is_taken_up(self, player: Player) -> None:
        one = Call("GET", "/subscription_schedules/sub_sched_1", schedule(phase()))
        outcome = played(player, SCHEDULE_PLAY, listed(SCHEDULED), one, listed(SCHEDULED), one, SCHEDULE_PLAY.calls[3])
        assert outcome.result is Result.DONE

    @pytest.mark.parametrize(
        ("phases", "words"),
        [
            ((phase(), phase(SPORTS, RENEWS)), f"another change scheduled, to {SPORTS}"),
            ((phase(), phase(SPORTS), phase(PREMIUM)), "a schedule of its own"),
        ],
    )
    def test_a_schedule_of_somebody_elses_is_left_alone(self, player: Player, phases: Any, words: str) -> None:
        read = Call("GET", "/subscription_schedules/sub_sched_1", schedule(*phases))
        assert words in refusal(player, SCHEDULE_PLAY, listed(SCHEDULED), read)

    def test_on_the_price_already(self, player: Player) -> None:
        assert played(player, SCHEDULE_PLAY, listed(ON_PREMIUM)).result is Result.DONE


class TestCancellations:
    def test_one_that_began_since_is_not_ended_by_a_repeat(self, player: Player) -> None:
        outcome = played(player, CANCEL_PLAY, listed(CANCELED, subscription(id=OTHER)))
        assert (outcome.result, outcome.message) == (Result.DONE, f"Subscription {NUMBER} is canceled")

    def test_somebody_elses_old_end_is_none_while_another_runs(self, player: Player) -> None:
        old = subscription(id=OTHER, status="canceled", canceled_at=BEGAN)
        row = listed(old, ACTIVE)
        assert played(player, CANCEL_PLAY, row, row, ended(CANCELED)).result is Result.DONE

    def test_one_whose_subscriptions_are_all_over_has_what_is_wanted(self, player: Player) -> None:
        older = subscription(id=OTHER, status="canceled", canceled_at=BEGAN - 9)
        newer = subscription(status="canceled", canceled_at=BEGAN)
        lapsed = subscription(id="sub_3", status="incomplete_expired")
        assert NUMBER in played(player, CANCEL_PLAY, listed(older, newer, lapsed)).message

    def test_none_at_all_is_a_refusal(self, player: Player) -> None:
        assert "no matching subscription" in refusal(player, CANCEL_PLAY, listed())
        assert "no matching" in refusal(player, CANCEL_PLAY, listed(subscription(status="incomplete_expired")))

    def test_an_end_on_a_day_of_its_own_is_left_alone(self, player: Player) -> None:
        row = listed(subscription(cancel_at=RENEWS))
        assert "a day of its own" in refusal(player, TestKeep.scenario, row, row)


class TestDiscounts:
    def test_another_one_is_replaced_only_where_that_is_wanted(self, player: Player) -> None:
        other = listed(subscription(discount=discount("OTHER")))
        assert "another discount" in refusal(player, COUPON_PLAY, other, other)
        outcome = played(
            player, COUPON_PLAY, other, other, COUPON_PLAY.calls[2], inputs={"coupon": "SAVE20", "replace": True}
        )
        assert outcome.result is Result.DONE

    def test_one_that_this_execution_gave_and_an_invoice_used_up_is_not_given_again(self, player: Player) -> None:
        assert "used up" in played(player, COUPON_PLAY, listed(marked(ApplyCoupon))).message

    def test_an_answer_without_it_is_no_success(self, player: Player) -> None:
        write = posted(subscription(), coupon="SAVE20", metadata__engage_apply_coupon=TAG)
        outcome = played(player, COUPON_PLAY, listed(ACTIVE), listed(ACTIVE), write, listed(ACTIVE))
        assert outcome.result is Result.UNCERTAIN

    @pytest.mark.parametrize("inputs", [{}, {"coupon": "A", "promotion_code": "promo_1"}])
    def test_it_is_one_of_the_two(self, player: Player, inputs: dict[str, str]) -> None:
        assert "one of the two" in refusal(player, COUPON_PLAY, inputs=inputs)


class TestKeys:
    """What Stripe forgot after a day is not sent again where a look may miss it."""

    @pytest.mark.parametrize(("hours", "result"), [(23, Result.DONE), (25, Result.UNCERTAIN)])
    def test_a_lost_answer_that_no_look_finds(self, player: Player, hours: int, result: Result) -> None:
        calls = COUPON_PLAY.calls if result is Result.DONE else COUPON_PLAY.calls[:1]
        age = timedelta(hours=hours)
        assert played(player, COUPON_PLAY, *calls, may_have_acted=True, since_first_write=age).result is result

    def test_a_look_that_finds_it_counts_whenever(self, player: Player) -> None:
        late = {"may_have_acted": True, "since_first_write": timedelta(days=3)}
        assert played(player, COUPON_PLAY, *COUPON_PLAY.looks_done, **late).result is Result.DONE

    @pytest.mark.parametrize(("marked", "result"), [(True, Result.UNCERTAIN), (False, Result.WAITING)])
    def test_a_stored_500_is_not_asked_for_again(self, player: Player, marked: bool, result: Result) -> None:
        headers = {"Idempotent-Replayed": "true"} if marked else {}
        broken = Broken("500", 500, '{"error": {"type": "api_error"}}', headers=headers)
        player.vendor.expect(*COUPON_PLAY.calls, broken={2: Broken("500", 500, "{}")})
        _, journal = player.play(COUPON_PLAY)
        looks = COUPON_PLAY.calls[:1] if marked else ()
        player.vendor.expect(*COUPON_PLAY.calls, broken={2: broken})
        player.vendor.expect(*looks)
        outcome, _ = player.play(COUPON_PLAY, journal.again(), may_have_acted=True, since_first_write=timedelta(0))
        player.vendor.assert_played()
        assert outcome.result is result

    def test_a_repeat_of_a_longer_trial_sends_the_end_that_was_computed_first(self, player: Player) -> None:
        player.vendor.expect(*TRIAL_PLAY.calls, broken={2: Broken("lost", then="reset")})
        _, journal = player.play(TRIAL_PLAY)
        moved = listed(subscription(status="trialing", trial_end=TRIAL_ENDS + DAY))
        player.vendor.expect(moved, moved, TRIAL_PLAY.calls[2])
        outcome, _ = player.play(TRIAL_PLAY, journal.again(), may_have_acted=True, since_first_write=timedelta(0))
        player.vendor.assert_played()
        assert outcome.result is Result.DONE


class TestRefusals:
    def no(self, status: int, headers: dict[str, str] | None = None, **error: str) -> Call:
        body = COUPON_PLAY.calls[2].body
        told = {"error": {"type": "invalid_request_error", "message": "No such coupon: 'x'", **error}}
        return Call("POST", f"/subscriptions/{NUMBER}", told, body=body, status=status, answer_headers=headers or {})

    @pytest.mark.parametrize("status", [400, 402, 403, 404])
    def test_are_in_stripes_words(self, player: Player, status: int) -> None:
        words = refusal(player, COUPON_PLAY, *COUPON_PLAY.calls[:2], self.no(status, code="resource_missing"))
        assert words == "Stripe refused: No such coupon: 'x'"

    @pytest.mark.parametrize(
        ("status", "headers"),
        [(409, {}), (429, {}), (400, {"Stripe-Should-Retry": "true"}), (409, {"Stripe-Should-Retry": "true"})],
    )
    def test_some_are_tried_again(self, player: Player, status: int, headers: dict[str, str]) -> None:
        outcome = played(player, COUPON_PLAY, *COUPON_PLAY.calls[:2], self.no(status, headers))
        assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, False)

    def test_and_one_is_not(self, player: Player) -> None:
        no = self.no(409, {"Stripe-Should-Retry": "false"})
        assert "Stripe refused" in refusal(player, COUPON_PLAY, *COUPON_PLAY.calls[:2], no)


class TestConnection:
    def probe(self, player: Player, settings: Settings, *rows: Any, **changes: Any) -> runner.ProbeReport:
        settings.ENGAGE_VENDOR_URLS = {"stripe": player.vendor.url}
        player.vendor.expect(Call("GET", "/prices", page(*rows), {"limit": "1"}))
        report = probe(Stripe(), {**SETTINGS, **changes})
        player.vendor.assert_played()
        return report

    def test_a_price_says_of_which_environment_the_key_is(self, player: Player, settings: Settings) -> None:
        assert self.probe(player, settings, PRICE).passed
        assert self.probe(player, settings).passed
        wrong = self.probe(player, settings, {**PRICE, "livemode": True})
        assert (wrong.passed, wrong.message) == (False, "The key belongs to the other environment.")

    def test_a_connected_account_stands_in_every_request(self, player: Player, settings: Settings) -> None:
        assert self.probe(player, settings, PRICE, stripe_account="acct_1").passed
        assert player.vendor.heard[0].header("Stripe-Account") == "acct_1"

    @pytest.mark.parametrize(
        ("environment", "key", "fits"),
        [
            ("sandbox", KEY, True),
            ("live", KEY, False),
            ("live", "sk_live_0123456789", True),
            ("sandbox", "sk_live_0123456789", False),
            ("sandbox", "pk_test_0123456789", False),
            ("sandbox", "whsec_0123456789", False),
        ],
    )
    def test_a_key_of_the_other_environment_is_refused(self, environment: str, key: str, fits: bool) -> None:
        form = Stripe.Settings({"environment": environment, "api_key": key, "stripe_account": ""})
        assert form.is_valid() is fits

    def test_where_money_moves_is_said(self) -> None:
        assert [Stripe().environment({"environment": name}) for name in ("live", "sandbox")] == [
            "Production",
            "Sandbox",
        ]


class TestCatalogues:
    def read(self, player: Player, settings: Settings, name: str, query: dict[str, str], *rows: Any) -> list[Any]:
        settings.ENGAGE_VENDOR_URLS = {"stripe": player.vendor.url}
        player.vendor.expect(Call("GET", f"/{name}", page(*rows), {"limit": "100", **query}))
        with Api(Stripe(), SETTINGS, OnlyLooks(5)) as api:
            found = [(row.key, row.label) for row in Stripe.catalogues[name].fetch(api)]
        player.vendor.assert_played()
        return found

    def test_prices(self, player: Player, settings: Settings) -> None:
        query = {"active": "true", "type": "recurring", "expand[]": "data.product"}
        rows = [
            {
                "id": BASIC,
                "nickname": None,
                "product": {"name": "Basic"},
                "unit_amount": 999,
                "currency": "usd",
                "recurring": {"interval": "month", "interval_count": 1},
            },
            {"id": PREMIUM, "nickname": "Tiered", "product": "prod_1", "unit_amount": None, "currency": "usd"},
        ]
        assert self.read(player, settings, "prices", query, *rows) == [
            (BASIC, f"Basic, 999 USD (smallest unit) per 1 month ({BASIC})"),
            (PREMIUM, f"Tiered ({PREMIUM})"),
        ]

    def test_coupons_that_can_be_had(self, player: Player, settings: Settings) -> None:
        rows = [{"id": "SAVE20", "name": "20 %", "valid": True}, {"id": "OLD", "name": None, "valid": False}]
        assert self.read(player, settings, "coupons", {}, *rows) == [("SAVE20", "20 % (SAVE20)")]

    def test_promotion_codes(self, player: Player, settings: Settings) -> None:
        row = {"id": "promo_1", "code": "SPRING"}
        found = self.read(player, settings, "promotion_codes", {"active": "true"}, row)
        assert found == [("promo_1", "SPRING (promo_1)")]

    def test_a_row_without_its_id_is_no_row(self, player: Player, settings: Settings) -> None:
        with pytest.raises(Undocumented):
            self.read(player, settings, "promotion_codes", {"active": "true"}, {"id": None, "code": "SPRING"})


def test_a_new_subscription_may_begin_with_a_trial(player: Player) -> None:
    create = TestCreate.scenario
    fields = {**create.calls[1].body, "trial_period_days": "7"}
    write = Call("POST", "/subscriptions", subscription(status="trialing"), body=Form(fields))
    outcome = played(player, create, listed(), write, inputs={"price": BASIC, "trial_days": 7})
    assert outcome.message == f"Subscription {NUMBER} on price {BASIC} is trialing"


def test_a_pause_may_end_by_itself(player: Player) -> None:
    ends = datetime.now(UTC) + timedelta(days=30)
    paused = subscription(pause_collection={"behavior": "void", "resumes_at": int(ends.timestamp())})
    inputs = clean_inputs(Pause(), {"behavior": "void", "days": 30})
    with Api(Stripe(), SETTINGS, MemoryJournal()) as api:
        asked = Pause().wish(api, None, inputs)["pause_collection"]  # type: ignore[arg-type]
    assert abs(asked["resumes_at"] - ends.timestamp()) < 60
    words = played(player, TestPause.scenario, listed(paused)).message
    assert words == f"Subscription {NUMBER} is paused until {ends:%-d %B %Y}"


def test_a_pause_of_another_kind_is_left_alone(player: Player) -> None:
    drafts = listed(subscription(pause_collection={"behavior": "keep_as_draft", "resumes_at": None}))
    assert "paused in another way" in refusal(player, TestPause.scenario, drafts)
