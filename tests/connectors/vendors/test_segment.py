"""Segment: calls out, alone and in batches, and its events as traits."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import segment.analytics as official

from connectors.base import ANSWERED_AT, USER_ID
from connectors.batches import forward, payload_of
from connectors.forms import settings_form
from connectors.forwarders import ForwardedEvent
from connectors.inbound import Forged, Request
from connectors.pushes import Person
from connectors.registry import connector
from connectors.runner import Result, probe
from connectors.vendors.segment import HOSTS, Segment
from connectors.vendors.segment.outbound import Events, Group, Identify, Track
from tests.connectors.contract import ActionContract, MemoryJournal, Player, Scenario
from tests.connectors.fake_vendor import Call, fake_vendor
from tests.connectors.forwarder_contract import ForwarderContract, ForwardScenario, PushContract, PushScenario
from tests.connectors.inbound_contract import InboundContract, InboundScenario, Sent

WRITE_KEY, PUBLIC_TOKEN = "abcdefghijABCDEFGHIJ012345678901", "public-token-of-the-tests"
TAKEN = {
    "Episode Watched": {"last_watched_at": "timestamp", "last_title": "properties.title"},
    "identify": {"city": "traits.address.city"},
}
SETTINGS: dict[str, Any] = {
    "region": "eu",
    "write_key": WRITE_KEY,
    "event_prefix": "Recurly Engage Prompt",
    "traits": "plan",
    "locate": True,
    "taken": json.dumps(TAKEN),
    "id_trait": "",
}
BASIC = {"Authorization": "Basic " + base64.b64encode(f"{WRITE_KEY}:".encode()).decode()}
AT, AT_TEXT = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC), "2026-03-01T12:30:15.250+00:00"
ANN = ForwardedEvent(
    id=UUID("11111111-2222-4333-8444-555555555555"),
    time=AT,
    interaction="accept",
    user_id="ann",
    app="Streamly",
    prompt_key="stay",
    traits={"plan": "Premium"},
    browser={"path": "/account"},
    address="198.51.100.7",
    user_agent="Mozilla/5.0",
)
BOB = ForwardedEvent(id=UUID("66666666-7777-4888-8999-000000000000"), time=AT, interaction="impression", user_id="bob")
ANNS_MORE = {
    "userId": "ann",
    "timestamp": AT_TEXT,
    "context": {"ip": "198.51.100.7", "userAgent": "Mozilla/5.0", "page": {"path": "/account"}},
}
ANNS = [
    {
        "type": "track",
        "messageId": ANN.key,
        "event": "Recurly Engage Prompt Click",
        "properties": {"promo_id": "stay", "event_timestamp": AT_TEXT, "app_name": "Streamly"},
        **ANNS_MORE,
    },
    {"type": "identify", "messageId": f"{ANN.key}-traits", "traits": {"plan": "Premium"}, **ANNS_MORE},
]
BOBS = [
    {
        "type": "track",
        "messageId": BOB.key,
        "event": "Recurly Engage Prompt Impression",
        "properties": {"event_timestamp": AT_TEXT},
        "userId": "bob",
        "timestamp": AT_TEXT,
    }
]
TOOK = "Segment took it in; whether it is kept, only its Debugger shows"
SUCCESS = {"success": True}


def batch(*calls: Any) -> Call:
    return Call("POST", "/batch", SUCCESS, body={"batch": list(calls)})


class TestEvents(ForwarderContract):
    scenario = ForwardScenario(
        connector=Segment,
        items=(ANN, BOB),
        calls=(batch(*ANNS, *BOBS),),
        counts=0,
        messages=(TOOK, TOOK),
        settings=SETTINGS,
        signed=(BASIC,),
    )

    def alone(self, place: int) -> tuple[Call, ...]:
        """Return the call for one of them."""
        return (batch(*(ANNS, BOBS)[place]),)


PEOPLE = [{"type": "identify", "userId": name, "traits": {"plan": "Premium"}} for name in ("ann", "bob")]


class TestIdentities(PushContract):
    scenario = PushScenario(
        connector=Segment,
        items=(Person("ann", {"plan": "Premium"}), Person("bob", {"plan": "Premium"})),
        calls=(batch(*PEOPLE),),
        counts=0,
        messages=(TOOK, TOOK),
        settings=SETTINGS,
        signed=(BASIC,),
    )

    def alone(self, place: int) -> tuple[Call, ...]:
        """Return the call for one of them."""
        return (batch(PEOPLE[place]),)


WHO = {"userId": "ann", "messageId": "execution-1", "timestamp": AT_TEXT}


def acting(action: Any, path: str, inputs: dict[str, Any], **body: Any) -> Scenario:
    return Scenario(
        Segment,
        action,
        calls=(Call("POST", path, SUCCESS, body={**WHO, **body}),),
        result=Result.DONE,
        message=TOOK,
        settings=SETTINGS,
        traits={"plan": "Premium", "household": "h7"},
        given={USER_ID: "ann", ANSWERED_AT: AT},
        inputs=inputs,
        signed=BASIC,
    )


class TestTrack(ActionContract):
    scenario = acting(
        Track,
        "/track",
        {"event": "Offer taken", "properties": '{"offer": "SAVE20"}', "traits": "plan"},
        event="Offer taken",
        properties={"offer": "SAVE20", "plan": "Premium"},
    )


class TestIdentify(ActionContract):
    scenario = acting(Identify, "/identify", {"traits": "plan"}, traits={"plan": "Premium"})


class TestGroup(ActionContract):
    scenario = acting(
        Group, "/group", {"group_id": "%household%", "traits": "plan"}, groupId="h7", traits={"plan": "Premium"}
    )


def test_a_person_s_identify_call_has_no_message_id_since_traits_may_become_again_what_they_were() -> None:
    assert Segment.push is not None
    assert "messageId" not in Segment.push().payload(Person("ann", {"plan": "Basic"}), SETTINGS)


def test_an_event_has_two_calls_at_most_and_a_batch_no_more_than_segment_takes() -> None:
    payload = payload_of(Events(), ANN, SETTINGS)
    assert isinstance(payload, dict)
    assert len(payload["calls"]) * Events.most_items <= 2500
    assert all(len(call["messageId"]) < 100 for call in payload["calls"])


# --- beside the vendor's own client -----------------------------------------------------------------------------------------


def test_calls_beside_the_official_clients(player: Player) -> None:
    with fake_vendor() as recorder:
        recorder.by_shape = lambda heard: Call(heard.method, heard.path, SUCCESS)
        client = official.Client(WRITE_KEY, host=recorder.url, sync_mode=True)
        more = {"context": ANNS_MORE["context"], "timestamp": AT}
        client.track("ann", ANNS[0]["event"], ANNS[0]["properties"], message_id=ANN.key, **more)
        client.identify("ann", {"plan": "Premium"}, message_id=f"{ANN.key}-traits", **more)
    player.point_at(Segment, (WRITE_KEY,))
    player.vendor.expect(batch(*ANNS))
    payload = payload_of(Events(), ANN, SETTINGS)
    assert isinstance(payload, dict)
    forward(Events(), Segment(), SETTINGS, [payload], MemoryJournal())
    [ours] = player.vendor.heard
    for theirs, call in zip(recorder.heard, ours.body["batch"], strict=True):
        assert (theirs.method, theirs.path) == ("POST", f"/v1{ours.path}")
        assert theirs.header("Authorization") == ours.header("Authorization")
        [told] = theirs.body["batch"]
        # The client names itself, and says of what it was not told that it is empty.
        told["context"].pop("library")
        assert told == {**call, "integrations": {}, "anonymousId": None}


# --- the account ------------------------------------------------------------------------------------------------------------


def sources(*keys: str, following: str | None = None) -> Call:
    rows = [{"id": "s1", "name": "Website", "writeKeys": list(keys)}]
    answer = {"data": {"sources": rows, "pagination": {"current": "MA==", "next": following}}}
    return Call("GET", "/public/sources", answer)


def test_a_test_says_that_a_write_key_cannot_be_tested(player: Player) -> None:
    player.point_at(Segment, ())
    report = probe(Segment(), SETTINGS)
    assert ([line.ok for line in report.lines], "200" in report.message) == ([None], True)
    assert player.vendor.heard == []


def test_with_a_public_api_token_the_write_key_is_looked_for(player: Player) -> None:
    player.point_at(Segment, (WRITE_KEY, PUBLIC_TOKEN))
    with_token = {**SETTINGS, "public_api_token": PUBLIC_TOKEN}
    found = []
    for call in (sources(WRITE_KEY), sources("another"), sources("another", following="Mg==")):
        player.vendor.expect(call)
        found.append([line.ok for line in probe(Segment(), with_token).lines])
    assert found == [[True], [False], [None]]
    player.vendor.assert_played()
    assert player.vendor.heard[0].header("Authorization") == f"Bearer {PUBLIC_TOKEN}"


@pytest.mark.parametrize("region", HOSTS)
def test_the_host_is_the_regions(region: str) -> None:
    hosts = {"us": "https://api.segment.io/v1", "eu": "https://events.eu1.segmentapis.com/v1"}
    assert Segment().base_url({"region": region}) == hosts[region]


@pytest.mark.parametrize(
    "taken", ['{"X": 1}', '{"X": {}}', '{"X": {"Not A Trait": "a"}}', '{"X": {"a": 1}}', '{"X": {"a": ""}}', "[]"]
)
def test_what_becomes_traits_must_name_traits_and_places(taken: str) -> None:
    form = settings_form(None, connector("segment"), {**SETTINGS, "taken": taken})
    assert set(form.errors) == {"taken"}


# --- its webhooks -----------------------------------------------------------------------------------------------------------


def signed(tells: bytes, secret: str, at: datetime) -> Sent:
    return Sent(tells, {"X-Signature": hmac.new(secret.encode(), tells, hashlib.sha1).hexdigest()})


WATCHED = {
    "type": "track",
    "event": "Episode Watched",
    "messageId": "ajs-1",
    "userId": "viewer-ann",
    "anonymousId": "a1",
    "timestamp": "2026-03-01T12:30:15.250Z",
    "properties": {"title": "Pilot é😀", "minutes": 42},
}


class TestWebhooks(InboundContract):
    scenario = InboundScenario(
        Segment,
        tells=json.dumps(WATCHED, ensure_ascii=False).encode(),
        sign=signed,
        known={"plan": "Premium"},
        learned={"plan": "Premium", "last_watched_at": "2026-03-01T12:30:15.250Z", "last_title": "Pilot é😀"},
        settings={"region": "eu", "taken": json.dumps(TAKEN)},
        secrets={"write_key": WRITE_KEY},
        event_id="ajs-1",
        type="track",
        unread=b'{"type": "alias", "messageId": "ajs-2", "userId": "viewer-ann"}',
        dated=False,
        free=True,
    )


SECRET = {"webhook_secret": "a-shared-secret-of-the-tests"}


def came(body: bytes, over: bytes) -> Request:
    signature = hmac.new(SECRET["webhook_secret"].encode(), over, hashlib.sha1).hexdigest()
    return Request("POST", body, {"x-signature": signature})


def test_of_a_list_only_one_event_alone_is_believed_since_only_the_first_is_signed() -> None:
    inbound = Segment.inbound
    assert inbound is not None
    one, other = json.dumps(WATCHED, ensure_ascii=False).encode(), b'{"type":"identify","userId":"ann"}'
    alone = came(b"[" + one + b"]", one)
    inbound.verify(alone, SECRET)
    assert [message.id for message in inbound.messages(alone, SECRET)] == ["ajs-1"]
    with pytest.raises(Forged, match="signs the first event only"):
        inbound.verify(came(b"[" + one + b"," + other + b"]", one), SECRET)
    for body in (b"[" + other + b"]", b"[" + one, b"[" + one + b"]]", b"x" + one):
        with pytest.raises(Forged):
            inbound.verify(came(body, one), SECRET)


def learned(told: dict[str, Any], **settings: Any) -> list[Any]:
    inbound = Segment.inbound
    assert inbound is not None
    api: Any = type("Door", (), {"settings": {**SETTINGS, **settings}})
    [message] = inbound.messages(Request("POST", json.dumps(told).encode()), SETTINGS)
    return list(inbound.read(message, api))


def test_identify_and_pages_are_read_as_the_setting_says() -> None:
    identify = {"type": "identify", "messageId": "m", "userId": "ann", "traits": {"address": {"city": "Rome"}}}
    [word] = learned(identify)
    assert (word.traits, word.user_id, word.subject) == ({"city": "Rome"}, "ann", "identify identify")
    page = {"type": "page", "messageId": "m", "userId": "ann", "name": "Pricing", "timestamp": "2026-03-01T00:00:00Z"}
    [word] = learned(page, taken='{"Pricing": {"saw_pricing_at": "timestamp"}}', id_trait="segment_id")
    assert (word.traits, word.found_by) == ({"saw_pricing_at": "2026-03-01T00:00:00Z"}, (("segment_id", "ann"),))
    assert (word.user_id, word.as_of) == ("", datetime(2026, 3, 1, tzinfo=UTC))


@pytest.mark.parametrize("nothing", [{"event": "Other"}, {"userId": None}, {"properties": {}, "timestamp": None}])
def test_what_says_nothing_of_a_known_user_is_passed_over(nothing: dict[str, Any]) -> None:
    assert learned({**WATCHED, **nothing}) == []
