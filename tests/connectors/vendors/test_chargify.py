"""Chargify's actions by its sheet: what goes over the wire, tokens that refuse a repeat, and how its answers are read."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from connectors.base import Choice
from connectors.forms import settings_form
from connectors.http import Api
from connectors.journal import OnlyLooks
from connectors.registry import connector
from connectors.runner import Result
from connectors.vendors.chargify import (
    AddCoupon,
    CancelSubscription,
    Chargify,
    CreateSubscription,
    coupons,
    price_points,
    products,
    reason_codes,
)
from tests.connectors.contract import ActionContract, MemoryJournal, Player, Scenario, played
from tests.connectors.fake_vendor import Broken, Call

KEY = "planted_key_0123456789"
SETTINGS = {"domain": "streamly.chargify.com", "api_key": KEY}
SIGNED = {"Authorization": "Basic cGxhbnRlZF9rZXlfMDEyMzQ1Njc4OTp4"}
PROBE = (Call("GET", "/site.json", {"site": {"id": 1, "name": "Streamly", "test": True}}),)
CUSTOMER, NUMBER, PRODUCT = 640001, 15100141, 7001


class Token(str):
    """A token that nobody has sent before."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and len(other) == 32 and other.isalnum()

    __hash__ = str.__hash__


ONCE = {"uniqueness_token": Token("once")}


def subscription(**changes: Any) -> dict[str, Any]:
    return {
        "id": NUMBER,
        "state": "active",
        "reference": None,
        "product": {"id": PRODUCT, "name": "Gold"},
        "cancel_at_end_of_period": False,
        "current_period_ends_at": "2027-01-15T12:00:00-05:00",
        "coupon_code": None,
        "coupon_codes": [],
        **changes,
    }


def listed(*rows: Any) -> Call:
    return Call("GET", f"/customers/{CUSTOMER}/subscriptions.json", [{"subscription": row} for row in rows])


def shown(row: Any) -> Call:
    return Call("GET", f"/subscriptions/{NUMBER}.json", {"subscription": row})


def profiles(*rows: Any) -> Call:
    query = {"page": "1", "per_page": "200", "customer_id": str(CUSTOMER)}
    return Call("GET", "/payment_profiles.json", [{"payment_profile": row} for row in rows], query)


def created(answer: Any, status: int = 201, **changes: Any) -> Call:
    wish = {"product_id": PRODUCT, "customer_id": CUSTOMER, "payment_profile_id": 12, "reference": "execution-1"}
    said = {name: value for name, value in {**wish, **changes}.items() if value is not None}
    return Call("POST", "/subscriptions.json", answer, body={"subscription": said, **ONCE}, status=status)


COMMON: dict[str, Any] = {
    "connector": Chargify,
    "settings": SETTINGS,
    "traits": {"chargify_id": CUSTOMER},
    "signed": SIGNED,
    "probe": PROBE,
    "result": Result.DONE,
    "looks": 1,
}
BEFORE = listed(
    subscription(), subscription(id=7, product={"id": 1, "name": "Sports"}), subscription(id=8, product=None)
)
CARDS = profiles({"id": 11}, {"id": 12}, {"id": 13, "disabled": True})


class TestCreateSubscription(ActionContract):
    scenario = Scenario(
        action=CreateSubscription,
        calls=(
            listed(subscription(state="canceled")),
            CARDS,
            created({"subscription": subscription()}, product_price_point_id=31, coupon_codes=["SAVE20"]),
        ),
        looks_done=(listed(subscription()),),
        message=f"Subscription {NUMBER} to Gold is active",
        inputs={"product": str(PRODUCT), "price_point": "31", "coupon": "SAVE20"},
        **COMMON,
    )


ENDING = subscription(cancel_at_end_of_period=True)
WHY = {"subscription": {"reason_code": "TOO", "cancellation_message": "They said so."}}


class TestCancelSubscription(ActionContract):
    scenario = Scenario(
        action=CancelSubscription,
        calls=(
            BEFORE,
            BEFORE,
            Call("POST", f"/subscriptions/{NUMBER}/delayed_cancel.json", {"message": "Will be"}, body={**WHY, **ONCE}),
            shown(ENDING),
        ),
        looks_done=(listed(ENDING),),
        message=f"Subscription {NUMBER} to Gold ends on 15 January 2027",
        inputs={"product": str(PRODUCT), "mode": "end_of_period", "reason": "TOO", "message": "They said so."},
        **COMMON,
    )


class TestCancelAtOnce(ActionContract):
    scenario = Scenario(
        action=CancelSubscription,
        calls=(
            BEFORE,
            BEFORE,
            Call("DELETE", f"/subscriptions/{NUMBER}.json", {"subscription": subscription(state="canceled")}),
        ),
        looks_done=(listed(subscription(state="canceled")),),
        message=f"Subscription {NUMBER} to Gold is cancelled",
        inputs={"product": str(PRODUCT), "mode": "immediate"},
        **COMMON,
    )


WITH_COUPON = subscription(coupon_codes=["OTHER", "SAVE20"])


class TestAddCoupon(ActionContract):
    scenario = Scenario(
        action=AddCoupon,
        calls=(
            BEFORE,
            BEFORE,
            Call(
                "POST",
                f"/subscriptions/{NUMBER}/add_coupon.json",
                {"subscription": WITH_COUPON},
                body={"codes": ["SAVE20"], **ONCE},
            ),
        ),
        looks_done=(listed(WITH_COUPON),),
        message=f"Subscription {NUMBER} to Gold has coupon SAVE20",
        inputs={"product": str(PRODUCT), "coupon": "SAVE20"},
        **COMMON,
    )


CREATE, COUPON = TestCreateSubscription.scenario, TestAddCoupon.scenario
PLAIN = {"product": str(PRODUCT)}


class TestARepeat:
    """What may have acted is sent again under the same token, and refused for it."""

    LOST = {"may_have_acted": True, "since_first_write": timedelta(minutes=1)}
    SENT_BEFORE = Broken("409", 409, '{"errors": ["DuplicatePrevention::DuplicateSubmissionError"]}')

    def token(self, player: Player) -> str:
        return str(player.vendor.heard[-1].body["uniqueness_token"])

    def lost(self, player: Player) -> MemoryJournal:
        journal = MemoryJournal()
        player.vendor.expect(*COUPON.calls, broken={2: Broken("lost", then="close")})
        player.play(COUPON, journal)
        return journal.again()

    def test_says_nothing_of_the_first_and_is_looked_at_again(self, player: Player) -> None:
        journal = self.lost(player)
        first = self.token(player)
        player.vendor.expect(*COUPON.calls, broken={2: self.SENT_BEFORE})
        outcome, journal = player.play(COUPON, journal, **self.LOST)
        assert (outcome.result, outcome.may_have_acted, journal.refusals) == (Result.WAITING, True, [])
        assert self.token(player) == first
        found = played(player, COUPON, listed(WITH_COUPON), **self.LOST)
        assert (found.result, found.message) == (Result.DONE, COUPON.message)

    @pytest.mark.parametrize(("scenario", "looks"), [(COUPON, BEFORE), (CREATE, listed())])
    def test_past_chargifys_memory_is_not_sent(self, player: Player, scenario: Scenario, looks: Call) -> None:
        late = {**self.LOST, "since_first_write": timedelta(minutes=61)}
        outcome = played(player, scenario, looks, **late)
        assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True)

    def test_of_what_was_refused_has_another_token(self, player: Player) -> None:
        tokens = set()
        for _ in range(2):
            player.vendor.expect(*COUPON.calls, broken={2: Broken("422", 422, '{"codes": ["No."]}')})
            assert player.play(COUPON)[0].result is Result.REJECTED
            tokens.add(self.token(player))
        assert len(tokens) == 2


class TestWhoIsMeant:
    FOUND = Call("GET", "/customers/lookup.json", {"customer": {"id": CUSTOMER}}, {"reference": "ann-1"})

    def by_email(self, *emails: str | None) -> Call:
        rows = [{"customer": {"id": CUSTOMER + number, "email": email}} for number, email in enumerate(emails)]
        return Call("GET", "/customers.json", rows, {"page": "1", "per_page": "200", "q": "ann@example.com"})

    def test_by_your_own_reference(self, player: Player) -> None:
        known = {"chargify_reference": "ann-1", "email_address": "ann@example.com"}
        assert played(player, COUPON, self.FOUND, listed(WITH_COUPON), traits=known).result is Result.DONE

    def test_by_exactly_this_address(self, player: Player) -> None:
        rows = self.by_email("Ann@Example.com", "joann@example.com", None)
        outcome = played(player, COUPON, rows, listed(WITH_COUPON), traits={"email_address": "ann@example.com"})
        assert outcome.result is Result.DONE

    @pytest.mark.parametrize(
        ("emails", "words"),
        [
            (("ann@example.com", "ann@example.com"), "several customers"),
            (("joann@example.com",), "no matching customer"),
        ],
    )
    def test_nobody_is_chosen_by_guessing(self, player: Player, emails: tuple[str, ...], words: str) -> None:
        outcome = played(player, COUPON, self.by_email(*emails), traits={"email_address": "ann@example.com"})
        assert (outcome.result, words in outcome.message) == (Result.REJECTED, True)

    def test_several_subscriptions_to_the_product(self, player: Player) -> None:
        outcome = played(player, COUPON, listed(subscription(), subscription(id=9, state="on_hold")))
        assert (outcome.result, "9 is on_hold" in outcome.message) == (Result.REJECTED, True)

    def test_what_is_cancelled_takes_no_coupon(self, player: Player) -> None:
        over = listed(subscription(state="canceled"))
        assert "is canceled; a coupon needs one that runs" in played(player, COUPON, over, over).message


class TestCreating:
    NONE = listed()

    @pytest.mark.parametrize("state", ["trialing", "past_due", "on_hold", "suspended"])
    def test_one_that_runs_is_enough(self, player: Player, state: str) -> None:
        assert played(player, CREATE, listed(subscription(state=state))).result is Result.DONE

    def test_one_that_this_execution_made_is_not_made_again(self, player: Player) -> None:
        ours = listed(subscription(state="canceled", reference="execution-1"))
        assert played(player, CREATE, ours).message == f"Subscription {NUMBER} to Gold is canceled"

    @pytest.mark.parametrize(("required", "result"), [(True, Result.REJECTED), (False, Result.DONE)])
    def test_without_a_payment_profile(self, player: Player, required: bool, result: Result) -> None:
        product = Call(
            "GET", f"/products/{PRODUCT}.json", {"product": {"id": PRODUCT, "require_credit_card": required}}
        )
        made = [] if required else [created({"subscription": subscription()}, payment_profile_id=None)]
        outcome = played(player, CREATE, self.NONE, profiles(), product, *made, inputs=PLAIN)
        assert outcome.result is result

    @pytest.mark.parametrize("changes", [{"state": "failed_to_create"}, {"product": {"id": 1, "name": "Sports"}}])
    def test_an_answer_that_does_not_show_it_is_not_believed(self, player: Player, changes: Any) -> None:
        made = created({"subscription": subscription(**changes)})
        outcome = played(player, CREATE, self.NONE, CARDS, made, self.NONE, inputs=PLAIN)
        assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True)

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            ({"errors": ["Your card was declined."]}, "Your card was declined."),
            ({"errors": "Your card was declined."}, "Your card was declined."),
            ({"error": "Your card was declined."}, "Your card was declined."),
            ({"coupon_codes": ["is invalid"], "subscription": ["is over", 3], "x": 1}, "is invalid; is over"),
            (
                {"errors": ["Confirm it."], "action_link": "https://pay.example/1"},
                "Confirm it. The payment must be confirmed by the person at https://pay.example/1.",
            ),
        ],
    )
    def test_a_refusal_in_each_of_its_shapes(self, player: Player, answer: Any, words: str) -> None:
        outcome = played(player, CREATE, self.NONE, CARDS, created(answer, 422), inputs=PLAIN)
        assert (outcome.result, outcome.message) == (Result.REJECTED, f"Chargify refused: {words}")


class TestWhatThereIsToChooseFrom:
    PRODUCTS = (
        {"id": 1, "name": "Gold", "product_family": {"id": 5, "name": "Films"}, "archived_at": None},
        {"id": 2, "name": "Silver", "product_family": {"id": 5, "name": "Films"}, "archived_at": None},
        {"id": 3, "name": "Old", "product_family": {"id": 6, "name": "Sports"}, "archived_at": "2020-01-01T00:00:00Z"},
    )

    def pages(self, kind: str, *rows: Any) -> Call:
        return Call("GET", f"/{kind}s.json", [{kind: row} for row in rows], {"page": "1", "per_page": "200"})

    def chosen(self, player: Player, fetch: Any, *calls: Call) -> list[Choice]:
        player.vendor.expect(*calls)
        player.point_at(Chargify, (KEY,))
        with Api(Chargify(), SETTINGS, OnlyLooks(5)) as api:
            found = list(fetch(api))
        player.vendor.assert_played()
        return found

    def test_products_over_several_pages(self, player: Player) -> None:
        full = self.pages("product", *[self.PRODUCTS[0]] * 200)
        rest = replace(self.pages("product", *self.PRODUCTS), query={"page": "2", "per_page": "200"})
        found = self.chosen(player, products, full, rest)
        assert (len(found), found[-1]) == (202, Choice("2", "Silver (Films)"))

    def test_coupons_with_the_products_that_they_are_for(self, player: Player) -> None:
        def coupon(code: str, **more: Any) -> dict[str, Any]:
            common = {"code": code, "name": "20 % off", "product_family_id": 5, "archived_at": None, "end_date": None}
            return {**common, "coupon_restrictions": [], **more}

        found = self.chosen(
            player,
            coupons,
            self.pages("product", *self.PRODUCTS),
            self.pages(
                "coupon",
                coupon("ALL", end_date="2999-01-01T00:00:00Z"),
                coupon("ONE", coupon_restrictions=[{"item_type": "Product", "item_id": 2}]),
                coupon("PAST", end_date="2020-01-01T00:00:00Z"),
                coupon("GONE", archived_at="2020-01-01T00:00:00Z"),
                coupon("NONE", product_family_id=6),
            ),
        )
        assert [(row.key, row.within) for row in found] == [("ALL", ("1", "2")), ("ONE", ("2",))]

    def test_price_points_and_reasons(self, player: Player) -> None:
        points = {"price_points": [{"id": 31, "name": "Yearly", "product_id": 1, "archived_at": None}]}
        call = Call("GET", "/products_price_points.json", points, {"page": "1", "per_page": "200"})
        assert self.chosen(player, price_points, call) == [Choice("31", "Yearly (31)", within=("1",))]
        reasons = self.pages("reason_code", {"code": "TOO", "description": "Too dear"})
        assert self.chosen(player, reason_codes, reasons) == [Choice("TOO", "Too dear (TOO)")]


@pytest.mark.parametrize(
    ("domain", "fits"),
    [
        ("streamly.chargify.com", True),
        ("streamly-test.ebilling.maxio.com", True),
        ("streamly.maxio.com", False),
        ("chargify.com", False),
        ("evil.example/.chargify.com", False),
        ("a.b.chargify.com", False),
        ("streamly.chargify.com.evil.example", False),
        ("169.254.169.254", False),
    ],
)
def test_only_chargifys_own_hosts(domain: str, fits: bool) -> None:
    form = settings_form(None, connector("chargify"), {"domain": domain, "api_key": KEY})
    assert form.is_valid() is fits
    if fits:
        assert Chargify().base_url(form.cleaned_data) == f"https://{domain}"
