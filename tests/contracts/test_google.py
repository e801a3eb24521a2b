"""Every request to Google Play and Firebase is one that their discovery documents describe.

Every payload for the app has OpenIAP's types.
"""

from dataclasses import replace
from functools import cache
from typing import Any, cast

import pytest
from graphql import GraphQLSchema, OperationDefinitionNode, build_ast_schema, parse
from graphql.execution.values import get_variable_values

from connectors.base import Json
from connectors.sandbox.people import AVA, EMMA, Person
from connectors.sandbox.store import Store
from connectors.sandbox.worlds import google_play as sandbox
from tests.connectors.contract import Player, Scenario
from tests.connectors.contract import player as player  # noqa: PLC0414 - a fixture
from tests.connectors.fake_vendor import Heard
from tests.connectors.vendors import test_google_play as play
from tests.contracts.conftest import description
from tests.contracts.discovery import Discovery
from tests.contracts.scenarios import name, requests_of, scenarios

SCENARIOS = scenarios(play)
HANDED = [one for one in SCENARIOS if one.instruction]


@cache
def publisher() -> Discovery:
    return Discovery.read(description("google-androidpublisher-v3.json"))


@cache
def firebase() -> Discovery:
    return Discovery.read(description("google-fcm-v1.json"))


def undescribed(heard: Heard) -> list[str]:
    """Say what is not described by whom it is asked of."""
    if heard.path.startswith("/firebase/"):
        return firebase().problems(replace(heard, path=heard.path.removeprefix("/firebase")))
    return publisher().problems(heard)


def asked(heard: list[Heard]) -> list[Heard]:
    """The requests to the API itself; the one for a token is OAuth's."""
    return [one for one in heard if not one.path.startswith("/token/")]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=name)
def test_google_describes_every_request(scenario: Scenario, player: Player) -> None:
    heard = asked(requests_of(scenario, player))
    assert heard
    assert [undescribed(one) for one in heard] == [[]] * len(heard)


def test_google_describes_what_is_asked_about_a_report(player: Player) -> None:
    play.test_a_purchase_is_acknowledged_and_told(player)
    play.test_a_one_time_product_is_acknowledged(player)
    play.test_what_is_used_up_is_acknowledged_first_and_consumed_next(player)
    heard = asked(player.vendor.heard)
    assert [publisher().problems(one) for one in heard] == [[]] * 10


def test_google_describes_the_catalogues_and_looks(player: Player) -> None:
    play.test_what_is_for_sale_is_offered(player)
    play.TestRevoke().test_what_ended_without_a_refund_is_not_called_revoked(player)
    heard = asked(player.vendor.heard)
    assert [publisher().problems(one) for one in heard] == [[]] * len(heard)


def told_by_the_sandbox() -> list[tuple[str, Json]]:
    """Return what the sandbox's Google Play shows once Emma has bought and Ava changes later, by its schema."""
    store = Store()
    sandbox.seed(store)

    def buy(who: Person, operation: str, product: str, kind: str = "Subs", **google: str) -> None:
        offer = {"product_id": product, "base_plan_id": "monthly", "offer_id": None, "offer_tag": None}
        purchase = {"type": kind, "requestSubscription": {"google": google}, "requestPurchase": {"google": google}}
        asked = {"package_name": sandbox.PACKAGE, "operation": operation, "offer": offer, "purchase": purchase}
        sandbox.device(who, {**asked, "replacement": {"mode": "DEFERRED"}}, store)

    buy(EMMA, "purchase", "premium")
    buy(EMMA, "purchase", "film_pass", "InApp", obfuscatedAccountId="emma")
    buy(AVA, "downgrade", "sports", obfuscatedAccountId=sandbox.account_of(AVA))
    kinds = (("subscription", "SubscriptionPurchaseV2"), ("product", "ProductPurchaseV2"))
    shown = [(schema, row["shown"]) for kind, schema in kinds for row in store.all(sandbox.KEY, kind)]
    shown += [("Order", row) for row in store.all(sandbox.KEY, "order")]
    shown += [("VoidedPurchase", row["row"]) for row in store.all(sandbox.KEY, "voided")]
    lists = {"Subscription": sandbox.SUBSCRIPTIONS, "SubscriptionOffer": sandbox.OFFERS, "OneTimeProduct": sandbox.ONCE}
    return shown + [(schema, row) for schema, rows in lists.items() for row in rows]


def test_google_describes_what_the_sandbox_shows() -> None:
    shown = told_by_the_sandbox()
    assert len({schema for schema, _ in shown}) == 7
    assert [publisher().differences(schema, value) for schema, value in shown] == [[]] * len(shown)
    wrong = {"subscriptionState": "ACTIVE", "lineItems": [{"product": "premium"}]}
    assert len(publisher().differences("SubscriptionPurchaseV2", wrong)) == 2


@pytest.mark.parametrize("scenario", SCENARIOS, ids=name)
def test_a_request_that_google_does_not_describe_is_found(scenario: Scenario, player: Player) -> None:
    for heard in asked(requests_of(scenario, player)):
        for spoilt in (
            replace(heard, path=heard.path + "/nowhere"),
            replace(heard, path=heard.path.replace(":", "%3A") + "%3Anowhere"),
            replace(heard, method="DELETE"),
            replace(heard, query=[*heard.query, ("revok", "1")]),
            replace(heard, body={"cancelationContext": {}}),
        ):
            # A colon that is quoted belongs to the name before it, which may be anything where no method follows.
            if ":" in heard.path or "%3A" not in spoilt.path:
                assert undescribed(spoilt) != [], spoilt


@cache
def openiap() -> GraphQLSchema:
    return build_ast_schema(parse(description("openiap.graphql").read_text()), assume_valid_sdl=True)


def problems(payload: Any) -> list[str]:
    document = parse("query Q($payload: RequestPurchaseProps!) { __typename }")
    (operation,) = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    values = get_variable_values(openiap(), operation.variable_definitions or (), {"payload": payload})
    return [error.message for error in values] if isinstance(values, list) else []


def payload_of(scenario: Scenario) -> Json:
    assert scenario.instruction is not None
    return cast("Json", scenario.instruction["purchase"])


@pytest.mark.parametrize("scenario", HANDED, ids=name)
def test_the_apps_payload_has_openiaps_types(scenario: Scenario) -> None:
    assert problems(payload_of(scenario)) == []


def test_a_payload_of_other_types_is_found() -> None:
    (upgrade,) = [one for one in HANDED if one.action.key == "upgrade"]
    google = payload_of(upgrade)["requestSubscription"]["google"]
    for spoilt in (
        {"sku": "premium"},
        {**google, "skus": None},
        {**google, "offer": "winback"},
        {**google, "subscriptionProductReplacementParams": {"oldProductId": "basic", "replacementMode": "LATER"}},
    ):
        assert problems({"type": "Subs", "requestSubscription": {"google": spoilt}}) != [], spoilt
