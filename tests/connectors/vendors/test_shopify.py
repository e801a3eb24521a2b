from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from connectors.base import RESOLVED
from connectors.failures import Rejected
from connectors.forms import settings_form
from connectors.http import Api
from connectors.registry import connector
from connectors.runner import Result, probe
from connectors.vendors.shopify import Shopify
from connectors.vendors.shopify.actions import AddDiscount, AddToCart, Redirect, address, items_in
from connectors.vendors.shopify.asking import DISCOUNT, VARIANTS, WHO_WE_ARE, WHOSE_STORE
from tests.connectors.contract import HOSTILE, ActionContract, MemoryJournal, Player, Scenario
from tests.connectors.fake_vendor import Call, Form

ADMIN = "/admin/api/2026-07/graphql.json"
SETTINGS = {
    "shop_url": "example.myshopify.com",
    "storefront_domain": "www.example.com",
    "client_id": "app-1",
    "client_secret": "planted-secret",
    "access_token": "",
}
ALONE = {**SETTINGS, "client_id": "", "client_secret": ""}
HOSTS = ["www.example.com", "example.myshopify.com"]
TOKEN = Call(
    "POST",
    "/token/admin/oauth/access_token",
    {"access_token": "planted-token", "scope": "read_products", "expires_in": 86399},
    body=Form({"grant_type": "client_credentials", "client_id": "app-1", "client_secret": "planted-secret"}),
    token="planted-token",
    signed={},
)


def asked(document: str, data: Any, **variables: Any) -> Call:
    return Call("POST", ADMIN, {"data": data}, body={"query": document, "variables": variables}, reads=True)


def variant(number: int, sku: str, status: str = "ACTIVE") -> dict[str, Any]:
    product = {"title": "Tee", "status": status}
    return {"legacyResourceId": str(number), "sku": sku, "title": "M", "product": product}


def variants(query: str, *rows: Any, more: bool = False) -> Call:
    page = {"productVariants": {"nodes": list(rows), "pageInfo": {"hasNextPage": more}}}
    return asked(VARIANTS, page, query=query)


SCOPES = [{"handle": "read_products"}, {"handle": "read_discounts"}]
SHOP = {"shop": {"name": "Streamly", "myshopifyDomain": "example.myshopify.com"}}
PROBE = (TOKEN, asked(WHO_WE_ARE, {**SHOP, "currentAppInstallation": {"accessScopes": SCOPES}}))
COMMON: dict[str, Any] = {
    "connector": Shopify,
    "result": Result.HANDED_OVER,
    "settings": SETTINGS,
    "traits": {},
    "signed": {"X-Shopify-Access-Token": "planted-token"},
    "probe": PROBE,
}
ITEMS = {"items": "TSHIRT-M, 2\nvariant:9", "after": "cart", "selling_plan": "", "properties": ""}
CART = {
    "kind": "cart",
    "hosts": HOSTS,
    "ajax": {
        "method": "POST",
        "path": "/cart/add.js",
        "body": {"items": [{"id": 7, "quantity": 2}, {"id": 9, "quantity": 1}]},
    },
    "then": "/cart",
    "url": "https://www.example.com/cart/7:2,9:1?storefront=true",
}
FOUND = variants('sku:"TSHIRT-M" OR id:9', variant(7, "TSHIRT-M"), variant(9, "MUG"), variant(8, "TSHIRT-ML"))
KEPT = {RESOLVED: {"generation": None, "values": {"variants": {"TSHIRT-M": 7, "variant:9": 9}}}}


class TestAddToCartThatWasNotResolved(ActionContract):
    scenario = Scenario(
        action=AddToCart,
        calls=(TOKEN, FOUND),
        message="To be put into the cart: TSHIRT-M (2), variant:9 (1)",
        inputs=ITEMS,
        instruction=CART,
        **COMMON,
    )

    @pytest.mark.parametrize(
        ("rows", "said"),
        [
            ([variant(9, "MUG")], "“TSHIRT-M” has no matching variant at Shopify."),
            (
                [variant(9, "MUG"), variant(7, "TSHIRT-M"), variant(6, "TSHIRT-M")],
                "“TSHIRT-M” has several variants at Shopify (variant:7 of Tee, variant:6 of Tee); none is chosen by guessing.",
            ),
            (
                [variant(9, "MUG"), variant(7, "TSHIRT-M", "DRAFT")],
                "“TSHIRT-M” cannot be bought: its product is draft.",
            ),
            ([variant(9, "MUG"), variant(7, "tshirt-m")], "“TSHIRT-M” has no matching variant at Shopify."),
        ],
    )
    def test_one_variant_is_meant(self, player: Player, rows: list[Any], said: str) -> None:
        player.vendor.expect(TOKEN, variants('sku:"TSHIRT-M" OR id:9', *rows))
        outcome, _ = player.play(self.scenario)
        assert (outcome.result, outcome.message) == (Result.REJECTED, said)

    def test_a_list_that_goes_on_is_not_half_read(self, player: Player) -> None:
        player.vendor.expect(TOKEN, variants('sku:"TSHIRT-M" OR id:9', variant(7, "TSHIRT-M"), more=True))
        outcome, _ = player.play(self.scenario)
        assert outcome.result is Result.REJECTED
        assert "More than 250 variants" in outcome.message

    @pytest.mark.parametrize(
        ("error", "result", "after"),
        [
            ({"message": "Throttled", "extensions": {"code": "THROTTLED"}}, Result.WAITING, 5.0),
            ({"message": "Internal error", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}, Result.WAITING, 5.0),
            ({"message": "Access denied", "extensions": {"code": "ACCESS_DENIED"}}, Result.REJECTED, None),
            ({"message": "Field 'x' doesn't exist"}, Result.REJECTED, None),
        ],
    )
    def test_errors_come_with_status_200(
        self, player: Player, error: dict[str, Any], result: Result, after: float | None
    ) -> None:
        status = {"maximumAvailable": 2000, "currentlyAvailable": 50, "restoreRate": 100}
        said = {"errors": [error], "extensions": {"cost": {"requestedQueryCost": 550, "throttleStatus": status}}}
        player.vendor.expect(TOKEN, Call(FOUND.method, FOUND.path, said, body=FOUND.body))
        outcome, _ = player.play(self.scenario)
        assert (outcome.result, outcome.after, outcome.may_have_acted) == (result, after, False)
        assert error["message"] in outcome.message


class TestAddToCart(ActionContract):
    """Saved, with its variants: nothing is asked."""

    scenario = Scenario(
        action=AddToCart,
        calls=(),
        message="To be put into the cart: TSHIRT-M (2), variant:9 (1)",
        inputs={**ITEMS, **KEPT},
        instruction=CART,
        **{**COMMON, "probe": ()},
    )

    def test_hostile_values_change_no_requests_shape(self, player: Player, hostile: tuple[str, str]) -> None:
        """What was kept for something else, or is no longer readable, is not used: the vendor is asked again."""
        _, name = hostile
        player.vendor.by_shape = lambda heard: next((one for one in (TOKEN, FOUND) if one.path == heard.path), None)
        for value in HOSTILE:
            outcome, _ = player.play(self.scenario, inputs={**self.scenario.inputs, name: value})
            assert player.vendor.problems == [], value
            assert bool(player.vendor.heard) is (name == RESOLVED), value
            assert outcome.message, value
            player.vendor.heard.clear()

    def test_a_subscription_and_properties_have_no_link(self, player: Player) -> None:
        more = {"selling_plan": "12", "properties": '{"Engraving": "Mia"}', "after": "checkout"}
        outcome, _ = player.play(self.scenario, inputs={**self.scenario.inputs, **more})
        assert outcome.instruction is not None
        told = {"id": 7, "quantity": 2, "selling_plan": 12, "properties": {"Engraving": "Mia"}}
        assert outcome.instruction["ajax"]["body"]["items"][0] == told
        assert (outcome.instruction["url"], outcome.instruction["then"]) == (None, "/checkout")

    def test_the_checkout_has_a_link_of_its_own(self, player: Player) -> None:
        outcome, _ = player.play(self.scenario, inputs={**self.scenario.inputs, "after": "checkout"})
        assert outcome.instruction is not None
        assert outcome.instruction["url"] == "https://www.example.com/cart/7:2,9:1"


class TestAddDiscount(ActionContract):
    scenario = Scenario(
        action=AddDiscount,
        calls=(),
        message="To be put on the cart: the discount code SAVE%20",
        inputs={"code": "SAVE%20", "path": "/collections/new?sort=a&b"},
        instruction={
            "kind": "discount",
            "hosts": HOSTS,
            "ajax": {"method": "POST", "path": "/cart/update.js", "body": {"discount": "SAVE%20"}},
            "then": "/collections/new?sort=a&b",
            "url": "https://www.example.com/discount/SAVE%2520?redirect=/collections/new%3Fsort%3Da%26b",
        },
        **COMMON,
    )


class TestRedirect(ActionContract):
    scenario = Scenario(
        action=Redirect,
        calls=(),
        message="Redirects to https://www.example.com/products/mug",
        inputs={"target": "/products/mug"},
        instruction={"kind": "redirect", "url": "https://www.example.com/products/mug"},
        **COMMON,
    )


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example.net/",
        "//evil.example.net/",
        "/\\evil.example.net",
        "https://www.example.com@evil.example.net/",
        "https://www.example.com.evil.example.net/",
        "http://www.example.com/",
        "javascript:alert(1)",
        "https://[",
        "/a\tb",
        "products/mug",
    ],
)
def test_no_redirect_leads_away_from_the_store(elsewhere: str) -> None:
    with pytest.raises(Rejected):
        address(elsewhere, SETTINGS)


def test_both_hosts_are_the_stores() -> None:
    for ours in ("https://www.example.com/a", "https://example.myshopify.com/a"):
        assert address(ours, SETTINGS) == ours


@pytest.mark.parametrize(
    "wrong", ["A, 0", "A, 10000", 'A"', "A\\B", "A\nA", "A, 1\nA, 2", "\n".join(map(str, range(51)))]
)
def test_items_that_cannot_be_read(wrong: str) -> None:
    with pytest.raises(ValidationError):
        items_in(wrong)


def test_a_sku_may_hold_a_comma() -> None:
    assert [(item.sku, item.quantity) for item in items_in("A,B\n 7 , 3\n\n")] == [("A,B", 1), ("7", 3)]


# --- without admin access ---------------------------------------------------------------------------


@pytest.fixture
def alone(player: Player) -> Iterator[Api]:
    player.point_at(Shopify, ())
    with Api(Shopify(), ALONE, MemoryJournal()) as api:
        yield api
    assert player.vendor.heard == []


def test_without_admin_access_only_variants_are_items(alone: Api) -> None:
    with pytest.raises(Rejected, match="Write variant:number"):
        AddToCart().resolve_inputs(alone, {"items": "TSHIRT-M"})
    assert AddToCart().resolve_inputs(alone, {"items": "variant:9"}) == {"variants": {"variant:9": 9}}


def test_without_admin_access_a_code_is_not_checked(alone: Api) -> None:
    assert AddDiscount().check_inputs(alone, {"code": "SAVE20"}) == []


def test_the_store_is_known_to_everybody(player: Player) -> None:
    player.point_at(Shopify, ())
    shop = {"name": "Streamly", "primaryDomain": {"url": "https://www.example.com"}}
    asks = Call("POST", "/storefront/api/2026-07/graphql.json", {"data": {"shop": shop}}, body={"query": WHOSE_STORE})
    player.vendor.expect(asks)
    report = probe(Shopify(), ALONE)
    assert (report.passed, report.message) == (True, "The store is Streamly, at https://www.example.com.")
    player.vendor.assert_played()
    assert player.vendor.heard[0].header("X-Shopify-Access-Token") is None


# --- when an action is saved ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("discount", "problems"),
    [
        (None, ["Shopify knows no discount code SAVE20."]),
        ({"codeDiscount": {"title": "a", "status": "EXPIRED"}}, ["The discount code SAVE20 has expired."]),
        ({"codeDiscount": {"title": "a", "status": "ACTIVE"}}, []),
        ({"codeDiscount": {"title": "a", "status": "SCHEDULED"}}, []),
    ],
)
def test_a_code_is_looked_up(player: Player, discount: Any, problems: list[str]) -> None:
    player.point_at(Shopify, ("planted-secret",))
    player.vendor.expect(TOKEN, asked(DISCOUNT, {"codeDiscountNodeByCode": discount}, code="SAVE20"))
    with Api(Shopify(), SETTINGS, MemoryJournal()) as api:
        assert AddDiscount().check_inputs(api, {"code": "SAVE20"}) == problems
    player.vendor.assert_played()


def test_a_page_elsewhere_is_not_saved() -> None:
    with Api(Shopify(), SETTINGS, MemoryJournal()) as api:
        assert Redirect().check_inputs(api, {"target": "/pages/about"}) == []
        with pytest.raises(Rejected, match=r"none of www\.example\.com or example.myshopify.com"):
            Redirect().check_inputs(api, {"target": "https://example.net/"})


def test_a_scope_that_lacks_is_said(player: Player) -> None:
    player.point_at(Shopify, ("planted-secret",))
    told = {**SHOP, "currentAppInstallation": {"accessScopes": SCOPES[:1]}}
    player.vendor.expect(TOKEN, asked(WHO_WE_ARE, told))
    report = probe(Shopify(), SETTINGS)
    assert (report.passed, report.message) == (False, "The app lacks the scope read_discounts.")


def test_an_older_apps_token_is_used_as_it_is(player: Player) -> None:
    settings = {**ALONE, "access_token": "planted-secret"}
    player.point_at(Shopify, ("planted-secret",))
    player.vendor.expect(PROBE[1])
    assert probe(Shopify(), settings).passed
    assert player.vendor.heard[0].header("X-Shopify-Access-Token") == "planted-secret"


def test_a_pasted_address_is_a_host() -> None:
    typed = {"shop_url": " https://Example.myshopify.com/admin ", "storefront_domain": "www.example.com/"}
    form = settings_form(None, connector("shopify"), typed)
    assert form.is_valid(), form.errors
    assert form.new_settings["shop_url"] == "example.myshopify.com"
    assert form.new_settings["storefront_domain"] == "www.example.com"
    for wrong in (
        "example.com",
        "example.myshopify.com.evil.net",
        "-a.myshopify.com",
        "https://[",
        "a b.myshopify.com",
    ):
        assert not settings_form(None, connector("shopify"), {"shop_url": wrong}).is_valid()
