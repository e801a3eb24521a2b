"""What is forwarded to Mixpanel is what the vendor's own OpenAPI description describes."""

from dataclasses import replace

import pytest

from tests.connectors.contract import Player
from tests.connectors.contract import player as player  # noqa: PLC0414 - a fixture
from tests.connectors.fake_vendor import Heard
from tests.connectors.vendors import test_mixpanel as vendor
from tests.contracts.conftest import description
from tests.contracts.openapi import Description
from tests.contracts.scenarios import requests_of


@pytest.fixture
def heard(player: Player) -> list[Heard]:
    """What the vendor hears of a batch of events, of a push of traits, of a custom event and of a test of the connection."""
    found = []
    for contract in (vendor.TestEvents(), vendor.TestProfiles()):
        player.vendor.expect(*contract.scenario.calls)
        contract.play(player)
        found += player.vendor.heard
        player.vendor.heard.clear()
    return [*found, *requests_of(vendor.TestTrackCustomEvent.scenario, player)]


def test_the_vendor_describes_every_request(heard: list[Heard]) -> None:
    described = Description.read(description("mixpanel.yaml"))
    assert [request.path for request in heard] == ["/engage", "/import", "/engage", "/import", "/lookup-tables"]
    assert [described.problems(request) for request in heard] == [[]] * 5


def test_a_request_that_the_vendor_does_not_describe_is_found(heard: list[Heard]) -> None:
    described = Description.read(description("mixpanel.yaml"))
    engage, events, *_ = heard
    for spoilt in (
        replace(engage, body=[{**engage.body[0], "$distinct_id": 7}]),
        replace(events, query=[("strict", "1")]),
        replace(events, body=[{**events.body[0], "name": "x"}]),
        replace(events, body=[{"event": "x", "properties": {"time": 1}}]),
    ):
        assert described.problems(spoilt) != []
