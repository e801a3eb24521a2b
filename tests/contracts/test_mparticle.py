"""What is forwarded to mParticle is what the vendor's own OpenAPI description describes."""

from dataclasses import replace

import pytest

from connectors.runner import probe
from tests.connectors.contract import Player
from tests.connectors.contract import player as player  # noqa: PLC0414 - a fixture
from tests.connectors.fake_vendor import Heard
from tests.connectors.vendors import test_mparticle as vendor
from tests.contracts.conftest import description
from tests.contracts.openapi import Description


def described() -> Description:
    """Read the description, and mend where it says less than its own text.

    It gives every event the data that all kinds share, though it describes a custom event's too, and has the values of user
    attributes as objects, where its documentation has texts.
    """
    found = Description.read(description("mparticle.yaml"))
    schemas = found.document["components"]["schemas"]
    schemas["BaseEvent"]["properties"]["data"] = {"$ref": "#/components/schemas/CustomEventData"}
    schemas["Batch"]["properties"]["user_attributes"]["additionalProperties"] = {"type": "string"}
    return found


@pytest.fixture
def heard(player: Player) -> list[Heard]:
    """What the vendor hears of a batch and of a test of the connection."""
    contract = vendor.TestEvents()
    player.vendor.expect(*contract.scenario.calls)
    contract.play(player)
    player.vendor.expect(vendor.TEST)
    assert probe(contract.scenario.connector(), contract.scenario.settings).passed
    return player.vendor.heard


def test_the_vendor_describes_every_request(heard: list[Heard]) -> None:
    assert [request.path for request in heard] == ["/bulkevents", "/events"]
    assert [described().problems(request) for request in heard] == [[], []]


def test_a_request_that_the_vendor_does_not_describe_is_found(heard: list[Heard]) -> None:
    bulk, _ = heard
    [first, *_] = bulk.body
    for spoilt in (
        replace(bulk, path="/bulk"),
        replace(bulk, body=[{**first, "schema_version": 2}]),
        replace(bulk, body=[{**first, "environment": "staging"}]),
        replace(bulk, body=[{**first, "events": [{"event_type": "custom_event", "data": {"event_name": "x"}}]}]),
    ):
        assert described().problems(spoilt) != []
