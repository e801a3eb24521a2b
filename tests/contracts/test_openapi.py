"""Every request of every scenario is one that the vendor's own OpenAPI description describes."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from connectors.base import Connector
from tests.connectors.contract import Player, Scenario
from tests.connectors.contract import player as player  # noqa: PLC0414 - a fixture
from tests.connectors.fake_vendor import Heard
from tests.connectors.vendors import test_recurly, test_stripe, test_twilio
from tests.contracts.conftest import description
from tests.contracts.openapi import Description, path_of
from tests.contracts.scenarios import name, requests_of, scenarios

FILES = {"recurly": "recurly.yaml", "stripe": "stripe.json", "twilio": "twilio-sms.json"}
SCENARIOS = scenarios(test_recurly, test_stripe, test_twilio)


@cache
def _read(file: str) -> Description:
    return Description.read(description(file))


def problems(declared: type[Connector], settings: Any, heard: Heard) -> list[str]:
    return _read(FILES[declared.key]).problems(heard, path_of(declared().base_url(settings)))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=name)
def test_the_vendor_describes_every_request(scenario: Scenario, player: Player) -> None:
    heard = requests_of(scenario, player)
    assert heard
    assert [problems(scenario.connector, scenario.settings, one) for one in heard] == [[]] * len(heard)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=name)
def test_a_request_that_the_vendor_does_not_describe_is_found(scenario: Scenario, player: Player) -> None:
    for heard in requests_of(scenario, player):
        for spoilt in (
            replace(heard, path=heard.path + "/nowhere/at/all"),
            replace(heard, method="OPTIONS"),
            replace(heard, query=[*heard.query, ("coupn", "1")]),
            *([replace(heard, body={**heard.body, "coupn": 1})] if isinstance(heard.body, dict) else ()),
        ):
            assert problems(scenario.connector, scenario.settings, spoilt) != [], spoilt
