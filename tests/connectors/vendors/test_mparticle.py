"""mParticle: batches of one event each, and the credentials of a feed."""

import base64
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from connectors.batches import payload_of
from connectors.forms import settings_form
from connectors.forwarders import ForwardedEvent
from connectors.registry import connector
from connectors.runner import Outcome, Result, probe
from connectors.vendors.mparticle import HOSTS, Events, MParticle
from tests.connectors.contract import Player
from tests.connectors.fake_vendor import NOTHING, Broken, Call
from tests.connectors.forwarder_contract import ForwarderContract, ForwardScenario

SECRET = "the-feeds-secret-of-the-tests"
SETTINGS: dict[str, Any] = {
    "pod": "eu1",
    "mode": "production",
    "server_key": "eu1-feed",
    "server_secret": SECRET,
    "event_prefix": "Recurly Engage Prompt",
    "impressions": True,
    "traits": "plan",
    "locate": True,
}
BASIC = {"Authorization": "Basic " + base64.b64encode(f"eu1-feed:{SECRET}".encode()).decode()}
AT = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
ANN = ForwardedEvent(
    id=UUID("11111111-2222-4333-8444-555555555555"),
    time=AT,
    interaction="accept",
    user_id="ann",
    app="Streamly",
    prompt_key="stay",
    prompt_name="Stay with us",
    prompt_version=3,
    traits={"plan": "Premium"},
    address="198.51.100.7",
    user_agent="Mozilla/5.0",
)
BOB = ForwardedEvent(
    id=UUID("66666666-7777-4888-8999-000000000000"), time=AT, interaction="impression", user_id="bob", is_test=True
)


def event(of: ForwardedEvent, name: str, **attributes: str) -> list[dict[str, Any]]:
    data = {
        "event_name": f"Recurly Engage Prompt {name}",
        "custom_event_type": "other",
        "source_message_id": of.key,
        "timestamp_unixtime_ms": 1772368215250,
        "custom_attributes": attributes,
    }
    return [{"event_type": "custom_event", "data": data}]


ANNS = {
    "environment": "production",
    "source_request_id": ANN.key,
    "user_identities": {"customer_id": "ann"},
    "user_attributes": {"plan": "Premium"},
    "ip": "198.51.100.7",
    "device_info": {"http_header_user_agent": "Mozilla/5.0"},
    "events": event(
        ANN,
        "Click",
        prompt_id="stay",
        prompt_name="Stay with us",
        prompt_version="3",
        event_timestamp="2026-03-01T12:30:15.250+00:00",
        app_name="Streamly",
    ),
}
BOBS = {
    "environment": "production",
    "source_request_id": BOB.key,
    "user_identities": {"customer_id": "bob"},
    "events": event(BOB, "Impression", event_timestamp="2026-03-01T12:30:15.250+00:00", is_test="True"),
}


def bulk(*batches: Any) -> Call:
    return Call("POST", "/bulkevents", NOTHING, body=list(batches), status=202)


class TestEvents(ForwarderContract):
    scenario = ForwardScenario(
        connector=MParticle,
        items=(ANN, BOB),
        calls=(bulk(ANNS, BOBS),),
        counts=0,
        messages=("mParticle took it in (status 202); what becomes of it, its Live Stream shows",) * 2,
        settings=SETTINGS,
        signed=(BASIC,),
    )

    def alone(self, place: int) -> tuple[Call, ...]:
        """Return the call for one of them."""
        return (bulk((ANNS, BOBS)[place]),)


def test_what_mparticle_would_drop_is_cut_or_refused() -> None:
    payload = payload_of(Events(), replace(ANN, prompt_name="x" * 5000, traits={"plan": "y" * 5000}), SETTINGS)
    assert isinstance(payload, dict)
    assert len(payload["events"][0]["data"]["custom_attributes"]["prompt_name"]) == 4096
    assert len(payload["user_attributes"]["plan"]) == 4096
    for spoilt in (
        payload_of(Events(), ANN, {**SETTINGS, "event_prefix": "p" * 300}),
        payload_of(Events(), replace(ANN, traits={f"t{n}": 1 for n in range(101)}), SETTINGS),
    ):
        assert isinstance(spoilt, Outcome)
        assert spoilt.result is Result.REJECTED


def test_impressions_may_be_left_out() -> None:
    without = {**SETTINGS, "impressions": False}
    left_out = payload_of(Events(), BOB, without)
    assert isinstance(left_out, Outcome)
    assert (left_out.result, left_out.message) == (Result.SKIPPED, "Impressions are not sent, as the settings say.")
    assert isinstance(payload_of(Events(), ANN, without), dict)


def test_development_is_said_with_every_batch() -> None:
    payload = payload_of(Events(), ANN, {**SETTINGS, "mode": "development"})
    assert isinstance(payload, dict)
    assert payload["environment"] == "development"
    assert MParticle().is_sandbox({"mode": "development"})


EMPTY = {"environment": "development", "events": [], "user_identities": {}}
TEST = Call("POST", "/events", NOTHING, body=EMPTY, status=202)
UNFIT = {"errors": [{"code": "BAD_REQUEST", "message": "Required field is missing"}]}


@pytest.mark.parametrize("call", [TEST, replace(TEST, answer=UNFIT, status=400)], ids=["202", "400"])
def test_the_test_sends_a_batch_without_events(player: Player, call: Call) -> None:
    player.point_at(MParticle, ())
    player.vendor.expect(call)
    report = probe(MParticle(), SETTINGS)
    player.vendor.assert_played()
    assert [line.ok for line in report.lines] == [True, None]
    assert player.vendor.heard[0].header("Authorization") == BASIC["Authorization"]


@pytest.mark.parametrize(("status", "bad"), [(401, True), (403, True), (404, False)])
def test_the_test_fails_with_bad_credentials(player: Player, status: int, bad: bool) -> None:
    player.point_at(MParticle, ())
    player.vendor.expect(TEST, broken={0: Broken("no", status, "{}")})
    report = probe(MParticle(), SETTINGS)
    assert (report.passed, report.bad_credentials) == (False, bad)


@pytest.mark.parametrize("pod", HOSTS)
def test_the_host_is_the_pods(pod: str) -> None:
    assert MParticle().base_url({"pod": pod}) == f"https://s2s.{pod}.mparticle.com/v2"


def test_only_known_pods_can_be_chosen() -> None:
    form = settings_form(None, connector("mparticle"), {**SETTINGS, "pod": "evil.example"})
    assert set(form.errors) == {"pod"}
