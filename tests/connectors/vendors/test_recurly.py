"""Recurly's actions by its published contract: what goes over the wire, and how every one of its answers is read."""

import base64
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from connectors.base import Catalogue
from connectors.http import Api
from connectors.journal import OnlyLooks
from connectors.runner import Outcome, Result, probe
from connectors.vendors.recurly import Recurly
from connectors.vendors.recurly.changes import Create, Switch, UpdatePrice
from connectors.vendors.recurly.extras import ApplyCoupon, RecordUsage
from connectors.vendors.recurly.states import Cancel, ConvertTrial, Pause, Reactivate, Resume
from tests.connectors.contract import ActionContract, Player, Scenario, played
from tests.connectors.fake_vendor import Broken, Call

KEY = "0123456789abcdef-planted-private-key"
ACCOUNT, NUMBER, OTHER = "e28zov4fw0v2", "sub1zov4fw0v", "sub2zov4fw0v"
COUPON = "coup1zov4fw0"
SETTINGS = {"region": "us", "api_key": KEY, "use_account_code": False}
BY_ID = {"account_number": ACCOUNT}
SIGNED = {
    "Authorization": "Basic " + base64.b64encode(f"{KEY}:".encode()).decode(),
    "Accept": "application/vnd.recurly.v2021-02-25",
    "Content-Type": "application/json",
}
RENEWS = "2027-01-15T08:00:00Z"


class Now:
    """Equals a time of just now, shifted."""

    def __init__(self, shift: timedelta = timedelta()) -> None:
        self.shift = shift

    def __eq__(self, other: object) -> bool:
        moment = datetime.fromisoformat(str(other))
        return abs(moment - datetime.now(UTC) - self.shift) < timedelta(minutes=1)

    __hash__ = None  # type: ignore[assignment]


def subscription(number: str = NUMBER, plan: str = "basic", **changes: Any) -> dict[str, Any]:
    """A subscription as Recurly shows it."""
    return {
        "id": number,
        "object": "subscription",
        "account": {"id": ACCOUNT, "code": "viewer-ann"},
        "plan": {"id": f"id-{plan}", "code": plan, "name": plan.title()},
        "state": "active",
        "unit_amount": 9.99,
        "quantity": 1,
        "currency": "USD",
        "current_period_ends_at": RENEWS,
        "trial_ends_at": None,
        "paused_at": None,
        "remaining_pause_cycles": None,
        "pending_change": None,
        **changes,
    }


def change(plan: str = "premium", **changes: Any) -> dict[str, Any]:
    """A change as Recurly shows it."""
    told = {"id": "change1", "subscription_id": NUMBER, "plan": {"id": f"id-{plan}", "code": plan}, "quantity": 1}
    return {**told, "unit_amount": 9.99, "activated": True, "activate_at": "2026-11-21T08:00:00Z", **changes}


def page(*rows: Any, **changes: Any) -> dict[str, Any]:
    return {"object": "list", "has_more": False, "next": None, "data": list(rows), **changes}


def listed(*rows: dict[str, Any], account: str = ACCOUNT) -> Call:
    return Call("GET", f"/accounts/{account}/subscriptions", page(*rows), {"limit": "200"})


def put(verb: str, answer: Any, **options: Any) -> Call:
    return Call("PUT", f"/subscriptions/{NUMBER}/{verb}", answer, **options)


def changed(answer: Any, status: int = 201, **body: Any) -> Call:
    return Call("POST", f"/subscriptions/{NUMBER}/change", answer, body=body, status=status)


PROBE = Call("GET", "/sites", page({"id": "s1", "subdomain": "streamly", "mode": "sandbox"}), {"limit": "1"})
ACTIVE, PAUSED, CANCELED = subscription(), subscription(state="paused"), subscription(state="canceled")
EXPIRED = subscription(state="expired")
PAUSE_AHEAD = subscription(remaining_pause_cycles=2, paused_at=RENEWS)
TRIAL_ENDS = (datetime.now(UTC) + timedelta(days=7)).strftime("%Y-%m-%dT%H:%M:%SZ")
IN_TRIAL = subscription(trial_ends_at=TRIAL_ENDS)
CONVERTED = subscription(trial_ends_at="2026-11-20T08:00:00Z", converted_at="2026-11-20T08:00:00Z")
SHOWN_COUPON = {"id": COUPON, "code": "SAVE20", "state": "redeemable", "redemption_resource": "subscription"}
COUPON_READ = Call("GET", f"/coupons/{COUPON}", SHOWN_COUPON)
REDEEMED = {"id": "r1", "subscription_id": NUMBER, "coupon": SHOWN_COUPON, "state": "active", "currency": "USD"}
REDEMPTIONS = f"/accounts/{ACCOUNT}/coupon_redemptions/active"
USAGE = {"id": "u1", "amount": 3.5, "merchant_tag": "execution-1", "recording_timestamp": RENEWS}
USAGES = f"/subscriptions/{NUMBER}/add_ons/code-downloads/usage"


def redemptions(*rows: Any) -> Call:
    return Call("GET", REDEMPTIONS, page(*rows))


def usages(*rows: Any) -> Call:
    query = {"limit": "200", "billing_status": "all", "sort": "recorded_timestamp", "order": "desc"}
    return Call("GET", USAGES, page(*rows), query)


def scenario(
    action: Any, before: tuple[Call, ...], write: Call, after: tuple[Call, ...], message: str, **more: Any
) -> Any:
    """A scenario whose look and whose action read the same before the write."""
    told = {"looks": len(before), "settings": SETTINGS, "traits": BY_ID, **more}
    calls = (*more.pop("calls", before), *before, write)
    told.pop("calls", None)
    return Scenario(
        Recurly, action, calls, Result.DONE, message, looks_done=after, signed=SIGNED, probe=(PROBE,), **told
    )


class TestPause(ActionContract):
    scenario = scenario(
        Pause,
        (listed(ACTIVE),),
        put("pause", PAUSE_AHEAD, body={"remaining_pause_cycles": 2}),
        (listed(PAUSE_AHEAD),),
        f"Subscription {NUMBER} on plan basic pauses at its next renewal (cycles: 2)",
        inputs={"cycles": 2},
    )


class TestResume(ActionContract):
    scenario = scenario(
        Resume,
        (listed(PAUSED),),
        put("resume", ACTIVE),
        (listed(ACTIVE),),
        f"Subscription {NUMBER} on plan basic is active",
    )


class TestSwitch(ActionContract):
    scenario = scenario(
        Switch,
        (listed(ACTIVE),),
        changed(change(), plan_code="premium", timeframe="now"),
        (listed(subscription(plan="premium")),),
        f"Subscription {NUMBER} is changed (plan premium)",
        inputs={"plan": "premium", "timeframe": "now"},
    )


class TestUpdatePrice(ActionContract):
    scenario = scenario(
        UpdatePrice,
        (listed(ACTIVE),),
        changed(
            change("basic", unit_amount=7.49, activated=False, activate_at=RENEWS),
            unit_amount=7.49,
            timeframe="bill_date",
        ),
        (listed(subscription(pending_change=change("basic", unit_amount=7.49, activate_at=RENEWS))),),
        f"Subscription {NUMBER} is changed (plan basic, from {RENEWS} on)",
        inputs={"unit_amount": "7.49", "timeframe": "bill_date"},
    )


class TestReactivate(ActionContract):
    scenario = scenario(
        Reactivate,
        (listed(CANCELED),),
        put("reactivate", ACTIVE),
        (listed(ACTIVE),),
        f"Subscription {NUMBER} on plan basic is active",
    )


class TestConvertTrial(ActionContract):
    scenario = scenario(
        ConvertTrial,
        (listed(IN_TRIAL),),
        put("convert_trial", CONVERTED),
        (listed(CONVERTED),),
        f"Subscription {NUMBER} on plan basic is paid and active",
    )


class TestCancelAtPeriodEnd(ActionContract):
    scenario = scenario(
        Cancel,
        (listed(ACTIVE),),
        put("cancel", CANCELED, body={"timeframe": "bill_date"}),
        (listed(CANCELED),),
        f"Subscription {NUMBER} on plan basic is canceled",
        inputs={"ending": "bill_date"},
    )


class TestCancelNowWithRefund(ActionContract):
    scenario = scenario(
        Cancel,
        (listed(CANCELED),),
        Call("DELETE", f"/subscriptions/{NUMBER}", EXPIRED, {"refund": "full"}),
        (listed(EXPIRED),),
        f"Subscription {NUMBER} on plan basic is expired (refund: full)",
        inputs={"ending": "full"},
    )


class TestRecordUsage(ActionContract):
    scenario = scenario(
        RecordUsage,
        (listed(ACTIVE),),
        Call(
            "POST",
            USAGES,
            USAGE,
            body={
                "merchant_tag": "execution-1",
                "amount": 3.5,
                "usage_timestamp": Now(),
                "recording_timestamp": Now(),
            },
            status=201,
        ),
        (listed(ACTIVE), usages({**USAGE, "id": "u0", "merchant_tag": "another"}, USAGE)),
        "Usage u1 of 3.5 is recorded",
        calls=(listed(ACTIVE), usages()),
        inputs={"add_on": "code-downloads", "amount": "3.5"},
        looks=2,
    )


class TestApplyCoupon(ActionContract):
    scenario = scenario(
        ApplyCoupon,
        (COUPON_READ, listed(ACTIVE)),
        Call(
            "POST",
            REDEMPTIONS,
            REDEEMED,
            body={"coupon_id": COUPON, "currency": "USD", "subscription_id": NUMBER},
        ),
        (COUPON_READ, listed(ACTIVE), redemptions(REDEEMED)),
        "Coupon SAVE20 is redeemed",
        calls=(COUPON_READ, listed(ACTIVE), redemptions()),
        inputs={"coupon": COUPON},
        looks=3,
    )


class TestCreate(ActionContract):
    scenario = scenario(
        Create,
        (Call("GET", f"/accounts/{ACCOUNT}", {"id": ACCOUNT, "code": "viewer-ann"}),),
        Call(
            "POST",
            "/subscriptions",
            ACTIVE,
            body={"plan_code": "basic", "currency": "USD", "account": {"code": "viewer-ann"}},
            status=201,
        ),
        (listed(ACTIVE),),
        f"Subscription {NUMBER} on plan basic is active",
        calls=(listed(EXPIRED),),
        inputs={"plan": "basic", "currency": "USD"},
    )


def refusal(player: Player, case: Scenario, *calls: Call, **differences: Any) -> str:
    """Do so, and return the words of the refusal."""
    outcome = played(player, case, *calls, **differences)
    assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False)
    return outcome.message


PAUSE, RESUME, SWITCH = TestPause.scenario, TestResume.scenario, TestSwitch.scenario
CANCEL, COUPONS, CREATE = TestCancelAtPeriodEnd.scenario, TestApplyCoupon.scenario, TestCreate.scenario


class TestWhichAccount:
    def test_a_code_is_marked_as_one(self, player: Player) -> None:
        outcome = played(
            player,
            RESUME,
            listed(ACTIVE, account="code-ann%2F7"),
            settings={**SETTINGS, "use_account_code": True},
            traits={"account_code": "ann/7"},
        )
        assert outcome.result is Result.DONE

    @pytest.mark.parametrize("value", ["code-ann", "a b", "a" * 51, True, ["a"], -1, 1.5])
    def test_what_is_no_id_is_not_asked_about(self, player: Player, value: Any) -> None:
        assert "no account id" in refusal(player, RESUME, traits={"account_number": value})

    def accounts(self, *emails: str) -> Call:
        rows = [{"id": f"{ACCOUNT}{n or ''}", "email": email} for n, email in enumerate(emails)]
        return Call("GET", "/accounts", page(*rows), {"limit": "200", "email": "ann@example.com"})

    def test_by_the_email_address_that_one_account_has(self, player: Player) -> None:
        found = self.accounts("Ann@Example.com", "joann@example.com")
        by_email = {"email_address": "ann@example.com"}
        assert played(player, RESUME, found, listed(ACTIVE), traits=by_email).result is Result.DONE

    @pytest.mark.parametrize(
        ("emails", "words"), [((), "no matching account"), (("ann@example.com", "ann@example.com"), "several accounts")]
    )
    def test_never_by_guessing(self, player: Player, emails: tuple[str, ...], words: str) -> None:
        by_email = {"email_address": "ann@example.com"}
        assert words in refusal(player, RESUME, self.accounts(*emails), traits=by_email)

    def test_a_blank_address_finds_nobody(self, player: Player) -> None:
        assert "no e-mail address" in refusal(player, RESUME, traits={"email_address": " "})


class TestWhichSubscription:
    def test_several_are_none(self, player: Player) -> None:
        words = refusal(player, RESUME, listed(PAUSED, subscription(OTHER)))
        assert f"({NUMBER} on basic is paused, {OTHER} on basic is active)" in words

    def test_the_binding_may_say_which_plan(self, player: Player) -> None:
        rows = listed(ACTIVE, subscription(OTHER, "sports", state="paused"))
        assert played(player, RESUME, rows, inputs={"only_plan": "basic"}).result is Result.DONE

    def test_none_in_a_fitting_state_says_what_there_is(self, player: Player) -> None:
        assert f"{NUMBER} on basic is expired" in refusal(player, RESUME, listed(EXPIRED))

    def test_all_pages_are_read_at_our_own_address(self, player: Player) -> None:
        first = Call(
            "GET",
            f"/accounts/{ACCOUNT}/subscriptions",
            page(
                EXPIRED, has_more=True, next="https://elsewhere.example/accounts/x/subscriptions?cursor=c%3A1&limit=200"
            ),
            {"limit": "200"},
        )
        second = Call("GET", f"/accounts/{ACCOUNT}/subscriptions", page(ACTIVE), {"cursor": "c:1", "limit": "200"})
        assert played(player, RESUME, first, second).result is Result.DONE


class TestPauseAndResume:
    def test_paused_is_done(self, player: Player) -> None:
        assert played(player, PAUSE, listed(PAUSED)).result is Result.DONE

    def test_another_number_of_cycles_is_left_alone(self, player: Player) -> None:
        ahead = subscription(remaining_pause_cycles=5)
        assert "(5)" in refusal(player, PAUSE, listed(ahead))

    def test_a_pause_that_is_only_ahead_is_called_off(self, player: Player) -> None:
        write = put("pause", ACTIVE, body={"remaining_pause_cycles": 0})
        assert played(player, RESUME, listed(PAUSE_AHEAD), listed(PAUSE_AHEAD), write).result is Result.DONE


class TestChange:
    PENDING = subscription(pending_change=change("sports", activated=False))

    def test_a_scheduled_change_is_not_overwritten_unasked(self, player: Player) -> None:
        assert "another change scheduled" in refusal(player, SWITCH, listed(self.PENDING), listed(self.PENDING))

    def test_and_is_where_the_binding_says_so(self, player: Player) -> None:
        inputs = {**SWITCH.inputs, "replace_scheduled": True}
        outcome = played(player, SWITCH, listed(self.PENDING), listed(self.PENDING), SWITCH.calls[-1], inputs=inputs)
        assert outcome.result is Result.DONE

    @pytest.mark.parametrize(("left", "result"), [(None, Result.DONE), (change("sports"), Result.UNCERTAIN)])
    def test_back_to_the_present_plan_reverts_the_scheduled_change(
        self, player: Player, left: Any, result: Result
    ) -> None:
        reverted = changed(None, 204, plan_code="basic", timeframe="now")
        shown = Call("GET", f"/subscriptions/{NUMBER}", subscription(pending_change=left))
        more = [listed(self.PENDING)] if result is Result.UNCERTAIN else []
        inputs = {"plan": "basic", "timeframe": "now", "replace_scheduled": True}
        calls = (listed(self.PENDING), listed(self.PENDING), reverted, shown, *more)
        assert played(player, SWITCH, *calls, inputs=inputs).result is result

    def test_scheduled_as_wished_is_done(self, player: Player) -> None:
        ahead = subscription(pending_change=change(activated=False, activate_at=RENEWS))
        outcome = played(player, SWITCH, listed(ahead), inputs={"plan": "premium", "timeframe": "term_end"})
        assert (outcome.result, RENEWS in outcome.message) == (Result.DONE, True)

    def test_price_and_quantity_count_too(self, player: Player) -> None:
        write = changed(
            change(unit_amount=5, quantity=2), plan_code="premium", unit_amount=5.0, quantity=2, timeframe="now"
        )
        on_plan = listed(subscription(plan="premium"))
        inputs = {"plan": "premium", "timeframe": "now", "unit_amount": "5.00", "quantity": 2}
        assert played(player, SWITCH, on_plan, on_plan, write, inputs=inputs).result is Result.DONE


class TestCancel:
    @pytest.mark.parametrize("ending", ["none", "partial", "full"])
    def test_a_refund_is_a_termination(self, player: Player, ending: str) -> None:
        write = Call("DELETE", f"/subscriptions/{NUMBER}", EXPIRED, {"refund": ending})
        outcome = played(player, CANCEL, listed(PAUSED), listed(PAUSED), write, inputs={"ending": ending})
        assert outcome.result is Result.DONE

    def test_a_paused_one_cannot_be_cancelled_at_the_periods_end(self, player: Player) -> None:
        assert "resume it first" in refusal(player, CANCEL, listed(PAUSED), listed(PAUSED))

    def test_several_are_never_ended(self, player: Player) -> None:
        assert "several" in refusal(player, CANCEL, listed(ACTIVE, subscription(OTHER)))

    def test_no_subscription_at_all_is_no_cancellation(self, player: Player) -> None:
        assert "no matching" in refusal(player, CANCEL, listed())


class TestCouponsAndCreation:
    def test_a_coupon_for_accounts_needs_no_subscription(self, player: Player) -> None:
        for_accounts = {**SHOWN_COUPON, "redemption_resource": "account"}
        read = Call("GET", f"/coupons/{COUPON}", for_accounts)
        write = Call("POST", REDEMPTIONS, {**REDEEMED, "subscription_id": None}, body={"coupon_id": COUPON})
        assert played(player, COUPONS, read, redemptions(), read, write).result is Result.DONE

    def test_on_another_subscription_it_is_not_yet_done(self, player: Player) -> None:
        elsewhere = redemptions({**REDEEMED, "subscription_id": OTHER})
        calls = (*COUPONS.calls[:2], elsewhere, *COUPONS.calls[3:])
        assert played(player, COUPONS, *calls).result is Result.DONE

    def test_one_that_is_used_up_is_not_sent(self, player: Player) -> None:
        used = Call("GET", f"/coupons/{COUPON}", {**SHOWN_COUPON, "state": "maxed_out"})
        words = refusal(player, COUPONS, used, listed(ACTIVE), redemptions(), used, listed(ACTIVE))
        assert "maxed_out" in words

    def test_a_canceled_one_of_the_plan_is_reactivated_instead(self, player: Player) -> None:
        assert "reactivate it" in refusal(player, CREATE, listed(CANCELED))

    def test_trial_and_coupon_are_sent_where_they_are_said(self, player: Player) -> None:
        wish = {"coupon_codes": ["SAVE20"], "trial_ends_at": Now(timedelta(days=14))}
        write = Call("POST", "/subscriptions", ACTIVE, body={**CREATE.calls[-1].body, **wish}, status=201)
        inputs = {**CREATE.inputs, "coupon_code": "SAVE20", "trial_days": 14}
        assert played(player, CREATE, *CREATE.calls[:-1], write, inputs=inputs).result is Result.DONE


class TestFailures:
    def fail(self, player: Player, status: int, error: Any, **headers: str) -> Outcome:
        write = put("resume", {"error": error}, status=status, answer_headers=headers)
        return played(player, RESUME, *RESUME.calls[:-1], write)

    def test_a_declined_card_is_a_no_in_the_banks_words(self, player: Player) -> None:
        declined = {"code": "declined_expiration_date", "message": "Your card is expired."}
        outcome = self.fail(player, 422, {"type": "transaction", "message": "?", "transaction_error": declined})
        assert (outcome.result, outcome.message) == (
            Result.REJECTED,
            "Recurly refused: The payment failed: Your card is expired.",
        )

    def test_a_refusal_is_said_in_recurlys_words(self, player: Player) -> None:
        outcome = self.fail(player, 422, {"type": "validation", "message": "Unable to resume"})
        assert (outcome.result, outcome.message) == (Result.REJECTED, "Recurly refused: Unable to resume")

    @pytest.mark.parametrize(
        ("kind", "acted"), [("simultaneous_request", False), ("tax_service_error", True), ("rate_limited", False)]
    )
    def test_what_may_pass_is_tried_again(self, player: Player, kind: str, acted: bool) -> None:
        outcome = self.fail(player, 422, {"type": kind, "message": "later"})
        assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, acted)

    def test_a_rate_limit_is_waited_out(self, player: Player) -> None:
        reset = {"X-RateLimit-Reset": str(int(time.time()) + 90)}
        outcome = self.fail(player, 429, {"type": "rate_limited", "message": "slow down"}, **reset)
        assert outcome.after == pytest.approx(90, abs=10)

    @pytest.mark.parametrize("kind", ["invalid_api_key", "invalid_permissions"])
    def test_a_403_for_the_key_holds_the_connection(self, player: Player, kind: str) -> None:
        broken = Broken("403", 403, f'{{"error": {{"type": "{kind}", "message": "no"}}}}')
        player.vendor.expect(RESUME.calls[0], broken={0: broken})
        player.vendor.expect(PROBE, broken={0: broken})
        outcome, _ = player.play(RESUME)
        assert (outcome.result, outcome.reason) == (Result.HELD, "credentials")

    def test_a_stored_5xx_is_not_asked_for_again(self, player: Player) -> None:
        player.vendor.expect(*RESUME.calls, broken={2: Broken("500", 500, "{}")})
        _, journal = player.play(RESUME)
        prior = Broken("500", 500, "{}", headers={"Idempotency-Prior": "true"})
        player.vendor.expect(*RESUME.calls, broken={2: prior})
        player.vendor.expect(listed(PAUSED))
        outcome, _ = player.play(RESUME, journal.again(), may_have_acted=True, since_first_write=timedelta(minutes=1))
        player.vendor.assert_played()
        assert outcome.result is Result.UNCERTAIN


class TestConnection:
    def read(self, player: Player, settings: Settings, name: str, *rows: Any, **query: str) -> list[tuple[str, str]]:
        settings.ENGAGE_VENDOR_URLS = {"recurly": player.vendor.url}
        player.vendor.expect(Call("GET", f"/{name}", page(*rows), {"limit": "200", **query}))
        catalogue: Catalogue = Recurly.catalogues[name]
        with Api(Recurly(), SETTINGS, OnlyLooks(5)) as api:
            found = [(row.key, row.label) for row in catalogue.fetch(api)]
        player.vendor.assert_played()
        return found

    def test_plans(self, player: Player, settings: Settings) -> None:
        found = self.read(player, settings, "plans", {"code": "basic", "name": "Basic"}, state="active")
        assert found == [("basic", "Basic (basic)")]

    def test_coupons_that_can_be_redeemed(self, player: Player, settings: Settings) -> None:
        good = {**SHOWN_COUPON, "name": "20 % off", "coupon_type": "single_code"}
        rows = (good, {**good, "state": "expired"}, {**good, "coupon_type": "bulk"})
        assert self.read(player, settings, "coupons", *rows) == [(COUPON, "20 % off (SAVE20)")]

    def test_usage_add_ons_once(self, player: Player, settings: Settings) -> None:
        usage = {"code": "downloads", "name": "Downloads", "add_on_type": "usage"}
        rows = (usage, usage, {"code": "seat", "name": "Seat", "add_on_type": "fixed"})
        found = self.read(player, settings, "add_ons", *rows, state="active")
        assert found == [("code-downloads", "Downloads (downloads)")]

    def test_the_test_says_which_site_it_is(self, player: Player, settings: Settings) -> None:
        settings.ENGAGE_VENDOR_URLS = {"recurly": player.vendor.url}
        player.vendor.expect(PROBE)
        report = probe(Recurly(), SETTINGS)
        assert (report.passed, report.message) == (True, "The key belongs to the sandbox site “streamly”.")

    @pytest.mark.parametrize(
        ("region", "host"), [("us", "https://v3.recurly.com"), ("eu", "https://v3.eu.recurly.com")]
    )
    def test_each_region_has_its_host(self, region: str, host: str) -> None:
        assert Recurly().base_url({"region": region}) == host

    @pytest.mark.parametrize("key", ["short", "with a space 0123456789", "ü" * 20, "0123456789abcdef\n?"])
    def test_what_can_be_no_key_is_refused(self, key: str) -> None:
        assert "api_key" in Recurly.Settings({"region": "us", "api_key": key}).errors
