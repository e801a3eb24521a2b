"""Marketing Cloud's requests against its Swagger description and its WSDL. Service Cloud publishes none of its REST API."""

from dataclasses import replace
from functools import cache

import pytest

from tests.connectors.contract import Player, Scenario
from tests.connectors.contract import player as player  # noqa: PLC0414 - a fixture
from tests.connectors.fake_vendor import Heard, Raw
from tests.connectors.vendors import test_salesforce
from tests.contracts.conftest import description
from tests.contracts.openapi import Description
from tests.contracts.scenarios import name, requests_of, scenarios
from tests.contracts.wsdl import Wsdl

SCENARIOS = scenarios(test_salesforce)
NOT_DESCRIBED = (
    "/sobjects",
    "/query",
    "/composite",
    "/limits",
    "/auth",
    "/login",
    "/rest/messaging/v1/messageDefinitionSends",
)
"""Service Cloud, sign-in, and the older triggered sends, which the Swagger file leaves out."""


@cache
def swagger() -> Description:
    return Description.read(description("salesforce-marketing-cloud.json"))


@cache
def wsdl() -> Wsdl:
    return Wsdl(description("salesforce-marketing-cloud-soap.wsdl"))


def problems(heard: Heard) -> list[str]:
    if heard.path.startswith("/soap/") and isinstance(heard.body, Raw):
        return wsdl().problems(heard.body.text)
    if heard.path.startswith(NOT_DESCRIBED):
        return []
    return swagger().problems(replace(heard, path=heard.path.removeprefix("/rest")))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=name)
def test_the_vendor_describes_every_request(scenario: Scenario, player: Player) -> None:
    heard = requests_of(scenario, player)
    assert heard
    assert [problems(one) for one in heard] == [[]] * len(heard)


def with_calls(start: str) -> list[Scenario]:
    return [one for one in SCENARIOS if any(call.path.startswith(start) and call.body for call in one.calls)]


@pytest.mark.parametrize("scenario", with_calls("/soap/"), ids=name)
def test_what_the_wsdl_does_not_describe_is_found(scenario: Scenario, player: Player) -> None:
    for heard in requests_of(scenario, player):
        if not isinstance(heard.body, Raw):
            continue
        for old, new in (("EmailAddress>", "EmailAdress>"), ("ObjectType>", "Object>")):
            if old in heard.body.text:
                assert wsdl().problems(heard.body.text.replace(old, new)) != []


@pytest.mark.parametrize("scenario", with_calls("/rest/messaging/v1/email/messages"), ids=name)
def test_what_the_swagger_file_does_not_describe_is_found(scenario: Scenario, player: Player) -> None:
    for heard in requests_of(scenario, player):
        if heard.path.startswith("/rest/messaging/v1/email/messages") and isinstance(heard.body, dict):
            assert problems(replace(heard, body={**heard.body, "definitionKee": "x"})) != []
            assert problems(replace(heard, body={})) != []
