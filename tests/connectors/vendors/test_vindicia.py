"""Vindicia's actions by its own samples: what goes over the wire, dry runs, and lists that name a next page even on the last."""

from typing import Any

import pytest

from connectors.base import Choice
from connectors.http import Api
from connectors.journal import OnlyLooks
from connectors.runner import Result, preview
from connectors.vendors.vindicia import AddCampaign, AddProduct, ReplaceProduct, Vindicia, campaigns
from tests.connectors.contract import ActionContract, Player, Scenario, played
from tests.connectors.fake_vendor import Call

USER, KEY = "planted-api-user-0123456789", "planted-key-0123456789"
SETTINGS = {"environment": "prodtest", "api_username": USER, "api_password": KEY}
SIGNED = {"Authorization": "Basic cGxhbnRlZC1hcGktdXNlci0wMTIzNDU2Nzg5OnBsYW50ZWQta2V5LTAxMjM0NTY3ODk="}
NUMBER, ACCOUNT = "AutoBill for Ann", "ann-1"
PATH = "/subscriptions/AutoBill%20for%20Ann"
OURS = "engage-execution-1"


def bill(*items: Any, amount: float = 6.99) -> dict[str, Any]:
    return {
        "object": "Transaction",
        "amount": amount,
        "currency": "USD",
        "items": {"object": "List", "data": list(items)},
    }


def item(product: str, index: int = 0, number: str = "item-1", **more: Any) -> dict[str, Any]:
    return {"object": "SubscriptionItem", "id": number, "index": index, "product": {"id": product}, **more}


def subscription(*items: Any, number: str = NUMBER, **changes: Any) -> dict[str, Any]:
    return {
        "object": "Subscription",
        "id": number,
        "account": {"object": "Account", "id": ACCOUNT, "vid": "7c43"},
        "status": "Active",
        "items": {"object": "List", "data": list(items), "total_count": len(items)},
        "next_billing": bill(),
        **changes,
    }


def shown(*items: Any, **changes: Any) -> Call:
    return Call("GET", PATH, subscription(*items, **changes))


def listed(*rows: Any, total: int | None = None, after: str = "") -> Call:
    query = {"limit": "100", "account": ACCOUNT, **({"starting_after": after} if after else {})}
    last = rows[-1]["id"] if rows else after
    following = f"/subscriptions?account={ACCOUNT}&starting_after={last}"
    count = len(rows) if total is None else total
    return Call(
        "GET", "/subscriptions", {"object": "List", "data": rows, "total_count": count, "next": following}, query
    )


def modified(body: dict[str, Any], answer: Any, effective: str = "today", prorate: str = "true", **more: Any) -> Call:
    query = {"effective_date": effective, "bill_prorated_period": prorate, **({"dryrun": "true"} if more else {})}
    plan = {"billing_plan": {"object": "BillingPlan", "id": "ANNUAL"}} if "replaces" in body else {}
    wish = {"object": "Subscription", "id": NUMBER, "items": [{"object": "SubscriptionItem", **body}], **plan}
    return Call("POST", PATH, answer, query, body=wish, **more)


def product(number: str) -> dict[str, str]:
    return {"object": "Product", "id": number}


COMMON: dict[str, Any] = {
    "connector": Vindicia,
    "settings": SETTINGS,
    "traits": {"vindicia_subscription_id": NUMBER},
    "signed": SIGNED,
    "probe": (Call("GET", "/products", {"object": "List", "data": [], "total_count": 7}, {"limit": "1"}),),
    "result": Result.DONE,
    "looks": 1,
}
BEFORE = shown(item("BASIC"))
# As Vindicia's sample of a change with the next bill shows it: the old item has an end, and the new one a beginning.
REPLACED = (
    item("BASIC", ends="2027-01-15T00:00:00-08:00"),
    item("PREMIUM", 1, OURS, starts="2027-01-15T00:00:00-08:00"),
)
REPLACES = {
    "id": OURS,
    "product": product("PREMIUM"),
    "replaces": {"object": "SubscriptionItem", "product": product("BASIC")},
}


class TestReplaceProduct(ActionContract):
    scenario = Scenario(
        action=ReplaceProduct,
        calls=(BEFORE, BEFORE, modified(REPLACES, subscription(*REPLACED), "nextBill", "false")),
        looks_done=(shown(*REPLACED),),
        message=f"Subscription {NUMBER} has product PREMIUM; the next bill is 6.99 USD",
        inputs={"new": "PREMIUM", "old": "BASIC", "billing_plan": "ANNUAL", "effective": "nextBill"},
        **COMMON,
    )


ADDED = (item("BASIC"), item("SPORTS", 1, OURS))
ADDS = modified({"id": OURS, "product": product("SPORTS")}, subscription(*ADDED))


class TestAddProduct(ActionContract):
    scenario = Scenario(
        action=AddProduct,
        calls=(BEFORE, BEFORE, ADDS),
        looks_done=(shown(*ADDED),),
        message=f"Subscription {NUMBER} has product SPORTS; the next bill is 6.99 USD",
        inputs={"product": "SPORTS", "effective": "today", "prorate": True},
        **COMMON,
    )


DISCOUNTED = subscription(item("BASIC"), next_billing=bill({"sku": "BASIC", "campaign_id": "SAVE"}, amount=4.99))
SAVES = {"id": "item-1", "campaign_code": "SAVE20"}
TRIED = modified(SAVES, DISCOUNTED, "nextBill", "false", reads=True)
PUT = modified(SAVES, DISCOUNTED, "nextBill", "false")


class TestAddCampaign(ActionContract):
    scenario = Scenario(
        action=AddCampaign,
        calls=(BEFORE, BEFORE, TRIED, PUT),
        looks_done=(Call("GET", PATH, DISCOUNTED),),
        message=f"Subscription {NUMBER} has campaign SAVE; the next bill is 4.99 USD",
        inputs={"campaign": "SAVE20/SAVE"},
        **COMMON,
    )


REPLACE, ADD, CAMPAIGN = TestReplaceProduct.scenario, TestAddProduct.scenario, TestAddCampaign.scenario
BY_ACCOUNT = {"vindicia_account_id": ACCOUNT}


def refusal(player: Player, scenario: Scenario, *calls: Call, **differences: Any) -> str:
    """Do so, and return the words of the refusal."""
    outcome = played(player, scenario, *calls, **differences)
    assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False)
    return outcome.message


class TestAPreview:
    def test_shows_what_vindicia_would_charge(self, player: Player) -> None:
        dry = modified({"id": OURS, "product": product("SPORTS")}, subscription(*ADDED), reads=True)
        dry.body["items"][0]["id"] = "engage-made when it is sent"
        player.vendor.expect(BEFORE, BEFORE, dry)
        player.point_at(Vindicia, (KEY,))
        found = preview(ADD.work())
        player.vendor.assert_played()
        assert found.outcome == "would_write"
        assert [(one["kind"], one["sent"]) for one in found.exchanges[2:]] == [("write", False), ("read", True)]
        assert found.exchanges[-1]["answer"]["next_billing"]["amount"] == 6.99


class TestWhichSubscription:
    def test_one_that_vindicia_does_not_know(self, player: Player) -> None:
        unknown = Call("GET", PATH, {"object": "Error", "message": "No such subscription"}, status=404)
        assert refusal(player, ADD, unknown) == f"Vindicia knows no subscription {NUMBER}."

    def test_only_an_active_one(self, player: Player) -> None:
        assert "is Pending Cancel" in refusal(player, ADD, shown(item("BASIC"), status="Pending Cancel"))

    def test_of_an_account_the_one_with_the_product(self, player: Player) -> None:
        rows = listed(subscription(item("NEWS"), number="other"), subscription(*REPLACED))
        assert played(player, REPLACE, rows, traits=BY_ACCOUNT).message == REPLACE.message

    @pytest.mark.parametrize("only", ["", "BASIC"])
    def test_several_are_told(self, player: Player, only: str) -> None:
        rows = listed(subscription(item("BASIC"), number="other"), subscription(item("BASIC")))
        inputs = {**ADD.inputs, "only_product": only}
        assert "other is Active" in refusal(player, ADD, rows, traits=BY_ACCOUNT, inputs=inputs)

    def test_somebody_elses_is_not_this_accounts(self, player: Player) -> None:
        foreign = subscription(*ADDED, account={"id": "bob", "vid": "1"})
        assert "no matching subscription" in refusal(player, ADD, listed(foreign), traits=BY_ACCOUNT)

    def test_the_list_ends_with_an_empty_page(self, player: Player) -> None:
        """The last page names a next one, too."""
        first = listed(subscription(number="a", status="Canceled"), total=2)
        second = listed(subscription(*ADDED), total=2, after="a")
        assert (
            played(player, ADD, first, second, listed(total=2, after=NUMBER), traits=BY_ACCOUNT).result is Result.DONE
        )


class TestReplacing:
    def test_the_first_item_where_no_product_is_named(self, player: Player) -> None:
        told = {"new": "PREMIUM", "billing_plan": "ANNUAL", "effective": "nextBill"}
        before = shown(item("SPORTS", 1, "item-2"), item("BASIC"))
        outcome = played(player, REPLACE, before, before, REPLACE.calls[-1], inputs=told)
        assert outcome.result is Result.DONE

    @pytest.mark.parametrize(
        ("items", "words"),
        [
            ([item("BASIC"), item("PREMIUM", 1)], "has both products"),
            ([item("NEWS")], "does not have product BASIC"),
            ([item("BASIC", ends="2027-01-15T00:00:00-08:00")], "does not have product BASIC"),
        ],
    )
    def test_nothing_is_guessed(self, player: Player, items: list[Any], words: str) -> None:
        assert words in refusal(player, REPLACE, shown(*items), shown(*items))

    def test_an_answer_in_which_the_old_one_goes_on_is_not_believed(self, player: Player) -> None:
        both = modified(REPLACES, subscription(item("BASIC"), item("PREMIUM", 1)), "nextBill", "false")
        outcome = played(player, REPLACE, BEFORE, BEFORE, both, BEFORE)
        assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True)


class TestCampaigns:
    def test_one_that_a_dry_run_does_not_show_is_not_written(self, player: Player) -> None:
        dry = modified(SAVES, subscription(item("BASIC")), "nextBill", "false", reads=True)
        assert "puts no campaign on an item that stays" in refusal(player, CAMPAIGN, BEFORE, BEFORE, dry)

    def test_on_the_item_of_a_product(self, player: Player) -> None:
        before = shown(item("SPORTS"), item("BASIC", 1))
        inputs = {**CAMPAIGN.inputs, "product": "BASIC"}
        assert played(player, CAMPAIGN, before, before, TRIED, PUT, inputs=inputs).result is Result.DONE

    def test_one_of_the_last_bill_is_not_given_again(self, player: Player) -> None:
        had = shown(item("BASIC"), most_recent_billing=bill({"campaign_id": "SAVE"}))
        assert played(player, CAMPAIGN, had).result is Result.DONE

    def test_those_that_a_running_subscription_may_have_are_offered(self, player: Player) -> None:
        good = {"campaign_id": "SAVE", "name": "20 % off", "state": "Active", "promotion_code": "SAVE20"}
        rows = [
            {**good, "offer_end_date": "2999-01-01T00:00:00Z"},
            {**good, "offer_end_date": "2020-01-01T00:00:00Z"},
            {**good, "state": "Draft"},
            {**good, "promotion_code": None},
            {**good, "restrict_to_new_subscription": True},
        ]
        player.vendor.expect(Call("GET", "/campaigns", {"data": rows, "total_count": 5}, {"limit": "100"}))
        player.point_at(Vindicia, (KEY,))
        with Api(Vindicia(), SETTINGS, OnlyLooks(5)) as api:
            assert list(campaigns(api)) == [Choice("SAVE20/SAVE", "20 % off (SAVE20)")]


@pytest.mark.parametrize("status", [200, 402, 404])
def test_an_error_is_one_whatever_its_status(player: Player, status: int) -> None:
    no = Call("POST", PATH, {"object": "Error", "message": "Card declined"}, ADDS.query, body=ADDS.body, status=status)
    assert refusal(player, ADD, BEFORE, BEFORE, no) == "Vindicia refused: Card declined"


def test_each_environment_has_its_host() -> None:
    declared = Vindicia()
    hosts = {name: declared.base_url({"environment": name}) for name in ("production", "prodtest")}
    assert hosts == {"production": "https://api.vindicia.com", "prodtest": "https://api.prodtest.vindicia.com"}
    assert [declared.environment({"environment": name}) for name in hosts] == ["Production", "Sandbox"]
