"""Every GraphQL document that is sent to Shopify is valid against Shopify's own schema, its variables included."""

import gzip
import json
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from graphql import GraphQLSchema, OperationDefinitionNode, build_client_schema, parse, validate
from graphql.execution.values import get_variable_values

from connectors.http import Api
from connectors.runner import probe
from connectors.vendors.shopify import Shopify
from connectors.vendors.shopify.actions import AddDiscount
from connectors.vendors.shopify.asking import DISCOUNT, WHOSE_STORE
from tests.connectors.contract import MemoryJournal, Player, Scenario
from tests.connectors.contract import player as player  # noqa: PLC0414 - a fixture
from tests.connectors.fake_vendor import Call, Heard
from tests.connectors.vendors import test_shopify
from tests.contracts.conftest import description
from tests.contracts.scenarios import name, requests_of, scenarios

SCENARIOS = scenarios(test_shopify)


@cache
def schema(file: str) -> GraphQLSchema:
    raw = description(file).read_bytes()
    told: dict[str, Any] = json.loads(gzip.decompress(raw) if file.endswith(".gz") else raw)
    # Shopify deprecates required arguments, which the specification forbids: their schema is taken as it is.
    return build_client_schema(told.get("data", told), assume_valid=True)


def problems(heard: Heard) -> list[str]:
    """Say what Shopify's schema does not know of a request."""
    known = schema("shopify.json" if heard.path.startswith("/storefront/api/") else "shopify-admin.json.gz")
    unknown = set(heard.body) - {"query", "variables"}
    document = parse(heard.body["query"])
    if wrong := [error.message for error in validate(known, document)] or sorted(unknown):
        return wrong
    (operation,) = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    values = get_variable_values(known, operation.variable_definitions or (), heard.body.get("variables", {}))
    return [error.message for error in values] if isinstance(values, list) else []


def graphql(heard: list[Heard]) -> list[Heard]:
    return [one for one in heard if one.path.endswith("/graphql.json")]


@pytest.mark.parametrize("scenario", [one for one in SCENARIOS if one.probe], ids=name)
def test_shopify_knows_every_document(scenario: Scenario, player: Player) -> None:
    heard = graphql(requests_of(scenario, player))
    assert heard
    assert [problems(one) for one in heard] == [[]] * len(heard)


def test_shopify_knows_what_is_asked_when_an_action_is_saved(player: Player) -> None:
    player.point_at(Shopify, ())
    player.vendor.expect(test_shopify.TOKEN, test_shopify.asked(DISCOUNT, {}, code="SAVE20"))
    with Api(Shopify(), test_shopify.SETTINGS, MemoryJournal()) as api:
        AddDiscount().check_inputs(api, {"code": "SAVE20"})
    (heard,) = graphql(player.vendor.heard)
    assert problems(heard) == []


def test_shopify_knows_what_is_asked_without_admin_access(player: Player) -> None:
    player.point_at(Shopify, ())
    shop = {"shop": {"name": "Streamly", "primaryDomain": {"url": "https://www.example.com"}}}
    path, body = "/storefront/api/2026-07/graphql.json", {"query": WHOSE_STORE}
    player.vendor.expect(Call("POST", path, {"data": shop}, body=body))
    assert probe(Shopify(), test_shopify.ALONE).passed
    (heard,) = graphql(player.vendor.heard)
    assert problems(heard) == []


def test_a_document_that_shopify_does_not_know_is_found(player: Player) -> None:
    heard = next(one for one in graphql(requests_of(SCENARIOS[0], player)) if one.body["variables"])
    document, variables = heard.body["query"], heard.body["variables"]
    for spoilt in (
        {"query": document.replace("legacyResourceId", "legacyId"), "variables": variables},
        {"query": document, "variables": {}},
        {"query": document, "variables": {"query": ["a"]}},
        {"query": document, "variables": {**variables, "query": None}},
        {"query": document, "variables": variables, "operation": "Variants"},
    ):
        assert problems(replace(heard, body=spoilt)) != [], spoilt
