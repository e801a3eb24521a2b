"""Heap: events and properties of identified users, and what can be tested of an account."""

import base64
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from connectors.base import ANSWERED_AT, USER_ID
from connectors.batches import payload_of
from connectors.forwarders import ForwardedEvent
from connectors.pushes import Person
from connectors.runner import Result, probe
from connectors.vendors.heap import HOSTS, AddUserProperties, Events, Heap, Users
from tests.connectors.contract import ActionContract, Player, Scenario
from tests.connectors.fake_vendor import NOTHING, Broken, Call
from tests.connectors.forwarder_contract import ForwarderContract, ForwardScenario, PushContract, PushScenario

KEY = "heap-key-of-the-tests"
SETTINGS = {"region": "us", "app_id": "1234567", "api_key": KEY, "event_prefix": "", "traits": "plan, email_address"}
AT = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
ANN = ForwardedEvent(
    id=UUID("11111111-2222-4333-8444-555555555555"),
    time=AT,
    interaction="accept",
    user_id="ann",
    app="Streamly",
    prompt_key="stay",
    prompt_version=3,
    traits={"plan": "Premium", "email_address": "ann@example.com"},
)
BOB = ForwardedEvent(
    id=UUID("66666666-7777-4888-8999-000000000000"), time=AT, interaction="impression", user_id="bob", is_test=True
)
ANNS = {
    "identity": "ann",
    "event": "Recurly Engage Prompt Click",
    "timestamp": "2026-03-01T12:30:15.250+00:00",
    "idempotency_key": ANN.key,
    "properties": {
        "promo_id": "stay",
        "prompt_version": 3,
        "event_timestamp": "2026-03-01T12:30:15.250+00:00",
        "app_name": "Streamly",
    },
}
BOBS = {
    "identity": "bob",
    "event": "Recurly Engage Prompt Impression",
    "timestamp": "2026-03-01T12:30:15.250+00:00",
    "idempotency_key": BOB.key,
    "properties": {"event_timestamp": "2026-03-01T12:30:15.250+00:00", "is_test": "true"},
}
ANN_KNOWN = {"identity": "ann", "properties": {"plan": "Premium", "email": "ann@example.com"}}
BOB_KNOWN = {"identity": "bob", "properties": {"plan": "Basic"}}
SAYS_NOTHING = frozenset({"an empty object", "an empty body", "null"})


def users(*told: Any) -> Call:
    return Call("POST", "/add_user_properties", NOTHING, body={"app_id": "1234567", "users": list(told)})


def track(*events: Any) -> Call:
    return Call("POST", "/track", NOTHING, body={"app_id": "1234567", "events": list(events)})


class TestEvents(ForwarderContract):
    scenario = ForwardScenario(
        connector=Heap,
        items=(ANN, BOB),
        calls=(users(ANN_KNOWN), track(ANNS, BOBS)),
        counts=1,
        messages=("Heap took it in (status 200)",) * 2,
        settings=SETTINGS,
        signed=({}, {}),
        also_yes=SAYS_NOTHING,
    )

    def alone(self, place: int) -> tuple[Call, ...]:
        """Bob has no traits."""
        return (users(ANN_KNOWN), track(ANNS)) if place == 0 else (track(BOBS),)


class TestUsers(PushContract):
    scenario = PushScenario(
        connector=Heap,
        items=(Person("ann", ANN.traits), Person("bob", {"plan": "Basic"})),
        calls=(users(ANN_KNOWN, BOB_KNOWN),),
        counts=0,
        messages=("Heap took it in (status 200)",) * 2,
        settings=SETTINGS,
        also_yes=SAYS_NOTHING,
        signed=({},),
    )

    def alone(self, place: int) -> tuple[Call, ...]:
        """Return the call for one of them."""
        return (users((ANN_KNOWN, BOB_KNOWN)[place]),)


class TestAddUserProperties(ActionContract):
    scenario = Scenario(
        Heap,
        AddUserProperties,
        calls=(users(ANN_KNOWN),),
        result=Result.DONE,
        message="Heap took the user's properties in (status 200)",
        settings={**SETTINGS, "region": "eu"},  # where a test asks nothing
        traits=ANN.traits,
        given={USER_ID: "ann", ANSWERED_AT: AT},
        inputs={"traits": "plan, email_address, city"},
        also_yes=SAYS_NOTHING,
    )

    def test_without_any_of_the_traits_nothing_is_sent(self, player: Player) -> None:
        outcome, _ = player.play(self.scenario, traits={})
        assert outcome.result is Result.SKIPPED
        assert outcome.message == "No plan or email_address or city is known of this subscriber."
        assert player.vendor.heard == []


def test_values_are_as_heap_takes_them() -> None:
    person = Person("ann", {"id": "x", "vip": False, "age": 7, "note": "n" * 5000})
    payload = payload_of(Users(), person, SETTINGS)
    assert payload == {"identity": "ann", "properties": {"user_id": "x", "vip": "false", "age": 7, "note": "n" * 1023}}


def test_a_persons_properties_are_set_once_in_a_batch_as_they_were_last(player: Player) -> None:
    player.point_at(Heap, ())
    later = replace(ANN, id=BOB.id, traits={"plan": "Basic"})
    basic = {"identity": "ann", "properties": {"plan": "Basic"}}
    player.vendor.expect(users(basic), track(ANNS, {**ANNS, "idempotency_key": BOB.key}))
    TestEvents().play(player, [Events().payload(event, SETTINGS) for event in (ANN, later)])
    player.vendor.assert_played()


TOKEN = Call("POST", "/account/auth_token", {"access_token": "short-lived"})


def test_a_test_asks_where_there_is_a_key_and_says_what_it_cannot_tell(player: Player) -> None:
    player.point_at(Heap, ())
    player.vendor.expect(TOKEN)
    report = probe(Heap(), SETTINGS)
    player.vendor.assert_played()
    assert (report.passed, [line.ok for line in report.lines]) == (True, [True, None])
    basic = "Basic " + base64.b64encode(f"1234567:{KEY}".encode()).decode()
    assert player.vendor.heard[0].header("Authorization") == basic
    for other in ({"api_key": ""}, {"region": "eu"}):
        assert [line.ok for line in probe(Heap(), {**SETTINGS, **other}).lines] == [None]
    player.vendor.expect(TOKEN, broken={0: Broken("401", 401, "{}")})
    assert probe(Heap(), SETTINGS).bad_credentials


@pytest.mark.parametrize("region", HOSTS)
def test_the_host_is_the_regions(region: str) -> None:
    assert (
        Heap().base_url({"region": region})
        == {"us": "https://heapanalytics.com/api", "eu": "https://c.eu.heap-api.com/api"}[region]
    )
