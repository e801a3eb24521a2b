"""Mixpanel: what goes over the wire, beside its published contract and beside its own client."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import mixpanel as official
import pytest
from mixpanel.credentials import ServiceAccountCredentials

from connectors.base import ANSWERED_AT, USER_ID
from connectors.batches import forward, payload_of
from connectors.forms import settings_form
from connectors.forwarders import ForwardedEvent
from connectors.pushes import Person
from connectors.registry import connector
from connectors.runner import Outcome, Result, probe
from connectors.times import milliseconds
from connectors.vendors.mixpanel import HOSTS, Mixpanel
from connectors.vendors.mixpanel.events import Events, TrackCustomEvent
from tests.connectors.contract import ActionContract, MemoryJournal, Player, Scenario
from tests.connectors.fake_vendor import Broken, Call, FakeVendor, Form, fake_vendor
from tests.connectors.forwarder_contract import ForwarderContract, ForwardScenario, PushContract, PushScenario

ACCOUNT, PASSWORD = "engage.a1b2c3.mp-service-account", "the-service-accounts-password"
TOKEN = "0123456789abcdef0123456789abcdef"
SETTINGS = {
    "region": "eu",
    "project_id": "2195193",
    "service_account": ACCOUNT,
    "service_account_password": PASSWORD,
    "project_token": TOKEN,
    "event_prefix": "Recurly Engage Prompt",
    "traits": "plan, email_address",
    "locate": True,
}
BASIC = {"Authorization": "Basic " + base64.b64encode(f"{ACCOUNT}:{PASSWORD}".encode()).decode()}
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
    traits={"plan": "Premium", "email_address": "ann@example.com"},
    address="198.51.100.7",
)
BOB = ForwardedEvent(
    id=UUID("66666666-7777-4888-8999-000000000000"), time=AT, interaction="impression", user_id="bob", is_test=True
)
ANNS = {
    "event": "Recurly Engage Prompt Click",
    "properties": {
        "time": 1772368215250,
        "distinct_id": "ann",
        "$insert_id": ANN.key,
        "ip": "198.51.100.7",
        "promo_id": "stay",
        "promo_name": "Stay with us",
        "prompt_version": 3,
        "event_timestamp": "2026-03-01T12:30:15.250+00:00",
        "app_name": "Streamly",
    },
}
BOBS = {
    "event": "Recurly Engage Prompt Impression",
    "properties": {
        "time": 1772368215250,
        "distinct_id": "bob",
        "$insert_id": BOB.key,
        "ip": "0",
        "event_timestamp": "2026-03-01T12:30:15.250+00:00",
        "is_test": True,
    },
}
PROFILE = {
    "$token": TOKEN,
    "$distinct_id": "ann",
    "$set": {"plan": "Premium", "$email": "ann@example.com"},
}
BOBS_PROFILE = {"$token": TOKEN, "$distinct_id": "bob", "$set": {"plan": "Basic"}}
TABLES = Call("GET", "/lookup-tables", {"code": 200, "status": "OK", "results": []}, {"project_id": "2195193"})
PARTLY = {
    "code": 400,
    "error": "some data points in the request failed validation",
    "status": "Bad Request",
    "num_records_imported": 1,
    "failed_records": [
        {"index": 1, "insert_id": BOB.key, "field": "properties.time", "message": "must be specified as seconds"}
    ],
}
ENGAGE = Call("POST", "/engage", {"status": 1, "error": None}, {"ip": "0", "verbose": "1", "strict": "1"}, [PROFILE])


def imported(*events: Any, answer: Any = None, status: int = 200) -> Call:
    answer = answer or {"code": 200, "num_records_imported": len(events), "status": "OK"}
    return Call("POST", "/import", answer, {"strict": "1", "project_id": "2195193"}, list(events), status)


class TestEvents(ForwarderContract):
    scenario = ForwardScenario(
        connector=Mixpanel,
        items=(ANN, BOB),
        calls=(ENGAGE, imported(ANNS, BOBS)),
        counts=1,
        messages=("Mixpanel imported it, in a batch of 2",) * 2,
        settings=SETTINGS,
        signed=({"Content-Type": "application/json"}, BASIC),
    )

    def alone(self, place: int) -> tuple[Call, ...]:
        """Bob has no traits, so there is no profile to be set."""
        return (ENGAGE, imported(ANNS)) if place == 0 else (imported(BOBS),)


class TestProfiles(PushContract):
    scenario = PushScenario(
        connector=Mixpanel,
        items=(
            Person("ann", {"plan": "Premium", "email_address": "ann@example.com"}),
            Person("bob", {"plan": "Basic"}),
        ),
        calls=(replace(ENGAGE, body=[PROFILE, BOBS_PROFILE]),),
        counts=0,
        messages=("Mixpanel has set the profile",) * 2,
        settings=SETTINGS,
        signed=({"Content-Type": "application/json"},),
    )

    def alone(self, place: int) -> tuple[Call, ...]:
        """Return the call for one of them."""
        return (replace(ENGAGE, body=[(PROFILE, BOBS_PROFILE)[place]]),)


class TestTrackCustomEvent(ActionContract):
    scenario = Scenario(
        Mixpanel,
        TrackCustomEvent,
        calls=(
            imported(
                {
                    "event": "Offer taken",
                    "properties": {
                        "offer": "SAVE20",
                        "plan": "Premium",
                        "time": 1772368215250,
                        "distinct_id": "ann",
                        "$insert_id": "execution-1",
                        "ip": "0",
                    },
                }
            ),
        ),
        result=Result.DONE,
        message="Mixpanel imported 1 event, “Offer taken”",
        settings=SETTINGS,
        traits={"plan": "Premium"},
        given={USER_ID: "ann", ANSWERED_AT: AT},
        inputs={"event": "Offer taken", "properties": '{"offer": "SAVE20"}', "traits": "plan, city"},
        signed=BASIC,
        probe=(TABLES,),
    )

    def test_a_refused_event_is_told_in_the_vendors_words(self, player: Player) -> None:
        refusal = {
            **PARTLY,
            "num_records_imported": 0,
            "failed_records": [{"index": 0, "field": "event", "message": "?"}],
        }
        player.vendor.expect(replace(self.scenario.calls[0], answer=refusal, status=400))
        outcome, _ = player.play(self.scenario)
        assert (outcome.result, outcome.message) == (Result.REJECTED, "Mixpanel refused: event: ?")

    def test_nested_properties_are_refused(self) -> None:
        form = TrackCustomEvent.Inputs({"event": "x", "properties": '{"a": {"b": 1}}'})
        assert set(form.errors) == {"properties"}


def sent(player: Player, *events: ForwardedEvent, **differences: Any) -> list[Outcome]:
    settings = {**SETTINGS, **differences}
    player.point_at(Mixpanel, ())
    payloads = [payload_of(Events(), event, settings) for event in events]
    assert all(isinstance(payload, dict) for payload in payloads)
    return forward(Events(), Mixpanel(), settings, payloads, MemoryJournal())  # type: ignore[arg-type]


def test_profiles_are_set_without_the_service_account(player: Player) -> None:
    player.vendor.expect(ENGAGE, imported(ANNS))
    sent(player, ANN)
    engage, events = player.vendor.heard
    assert engage.header("Authorization") is None
    assert events.header("Authorization") == BASIC["Authorization"]


def test_a_persons_profile_is_set_once_in_a_batch_as_it_was_last(player: Player) -> None:
    later = replace(ANN, id=BOB.id, interaction="decline", traits={"plan": "Basic"})
    declined = {**ANNS["properties"], "$insert_id": later.key}  # type: ignore[dict-item]
    profile = {**PROFILE, "$set": {"plan": "Basic"}}
    player.vendor.expect(
        replace(ENGAGE, body=[profile]),
        imported(ANNS, {"event": "Recurly Engage Prompt Decline", "properties": declined}),
    )
    sent(player, ANN, later)
    player.vendor.assert_played()


def test_of_a_batch_that_was_imported_in_part_only_the_named_events_are_refused(player: Player) -> None:
    player.vendor.expect(ENGAGE, imported(ANNS, BOBS, answer=PARTLY, status=400))
    ann, bob = sent(player, ANN, BOB)
    player.vendor.assert_played()
    assert (ann.result, ann.message) == (Result.DONE, "Mixpanel imported it, in a batch of 1")
    assert (bob.result, bob.message) == (
        Result.REJECTED,
        "Mixpanel refused: properties.time: must be specified as seconds",
    )


@pytest.mark.parametrize(
    "differences",
    [
        {"num_records_imported": 0},
        {"num_records_imported": "1"},
        {"failed_records": []},
        {"failed_records": [{"index": 7, "message": "?"}]},
        {"failed_records": [{"index": "1", "message": "?"}]},
        {"failed_records": [{"index": True, "message": "?"}]},
        {"failed_records": [None]},
        {"failed_records": [[]]},
        {"failed_records": {"index": 1}},
        {"failed_records": None},
    ],
    ids=str,
)
def test_a_refusal_that_does_not_add_up_is_believed_of_nobody(player: Player, differences: dict[str, Any]) -> None:
    player.vendor.expect(
        imported(BOBS, BOBS, answer={**PARTLY, **differences}, status=400), imported(BOBS), imported(BOBS)
    )
    assert [outcome.result for outcome in sent(player, BOB, BOB)] == [Result.DONE, Result.DONE]
    player.vendor.assert_played()


def test_fewer_events_than_were_sent_is_no_success(player: Player) -> None:
    answer = {"code": 200, "num_records_imported": 1, "status": "OK"}
    player.vendor.expect(imported(BOBS, BOBS, answer=answer))
    outcomes = sent(player, BOB, BOB)
    assert {outcome.result for outcome in outcomes} == {Result.WAITING}
    assert "imported 1 of 2 events" in outcomes[0].message


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": 0, "error": "$set, missing"}, "Mixpanel refused: $set, missing"),
        (0, "Mixpanel refused: it does not say why"),
    ],
)
def test_traits_that_are_refused_inside_a_200_keep_no_event_back(player: Player, answer: Any, words: str) -> None:
    player.vendor.expect(replace(ENGAGE, answer=answer), imported(ANNS))
    [outcome] = sent(player, ANN)
    player.vendor.assert_played()
    assert outcome.result is Result.DONE
    assert outcome.message == f"Mixpanel imported it, in a batch of 1. The traits were not taken: {words}"


@pytest.mark.parametrize("answer", [{"status": 2}, {"status": "1"}, {}, 7, []])
def test_profiles_that_nobody_says_are_set_go_again(player: Player, answer: Any) -> None:
    player.vendor.expect(replace(ENGAGE, answer=answer))
    [outcome] = sent(player, ANN)
    assert outcome.result is Result.WAITING


def test_a_401_says_what_may_be_the_reason(player: Player) -> None:
    bad = {"code": 401, "error": "Invalid credentials", "status": "Unauthorized"}
    player.vendor.expect(imported(BOBS, answer=bad, status=401))
    [outcome] = sent(player, BOB)
    assert outcome.result is Result.HELD
    assert "Invalid credentials" in outcome.message
    assert "region" in outcome.message


@pytest.mark.parametrize("user", ["undefined", "Anonymous", "0", "00000000-0000-0000-0000-000000000000"])
def test_a_user_whom_mixpanel_takes_for_nobody_is_refused_before(user: str) -> None:
    found = payload_of(Events(), replace(ANN, user_id=user), SETTINGS)
    assert isinstance(found, Outcome)
    assert (found.result, user in found.message) == (Result.REJECTED, True)


def test_without_the_wish_no_address_is_asked_for() -> None:
    assert not Events().wants_visitor({**SETTINGS, "locate": False})
    payload = payload_of(Events(), replace(ANN, address=""), SETTINGS)
    assert isinstance(payload, dict)
    assert payload["event"]["properties"]["ip"] == "0"


def test_the_prefix_is_the_connections() -> None:
    payload = payload_of(Events(), replace(ANN, interaction="secondary_accept"), {**SETTINGS, "event_prefix": "Offer"})
    assert isinstance(payload, dict)
    assert payload["event"]["event"] == "Offer Click 2"


def test_the_largest_batch_stays_below_the_vendors_limits() -> None:
    assert Events.most_items <= 2000
    assert Events.most_bytes <= 2_097_152
    assert Events.largest_item < 1_048_576


# --- the account ------------------------------------------------------------------------------------------------------------


def test_the_test_reads_and_says_what_it_cannot_tell(player: Player) -> None:
    player.point_at(Mixpanel, ())
    player.vendor.expect(TABLES)
    report = probe(Mixpanel(), SETTINGS)
    player.vendor.assert_played()
    assert report.passed
    assert [line.ok for line in report.lines] == [True, None]
    assert player.vendor.heard[0].header("Authorization") == BASIC["Authorization"]


def test_the_test_fails_with_bad_credentials(player: Player) -> None:
    player.point_at(Mixpanel, ())
    player.vendor.expect(TABLES, broken={0: Broken("401", 401, '{"error": "Invalid credentials"}')})
    report = probe(Mixpanel(), SETTINGS)
    assert (report.passed, report.bad_credentials) == (False, True)


@pytest.mark.parametrize("region", ["us", "eu", "in"])
def test_the_host_is_the_regions(region: str) -> None:
    assert Mixpanel().base_url({"region": region}) == HOSTS[region]
    assert HOSTS[region].endswith("mixpanel.com")


def test_settings_are_checked_and_traits_spelt_evenly() -> None:
    form = settings_form(None, connector("mixpanel"), {**SETTINGS, "traits": "plan,email_address  plan"})
    assert form.is_valid(), form.errors
    assert form.new_settings["traits"] == "plan, email_address"
    wrong = settings_form(
        None, connector("mixpanel"), {**SETTINGS, "traits": "Plan!", "project_id": "x", "service_account": "a b"}
    )
    assert set(wrong.errors) == {"traits", "project_id", "service_account"}


# --- beside the vendor's own client -----------------------------------------------------------------------------------------


@pytest.fixture
def recorder() -> Any:
    """A server that says yes to everything, as Mixpanel does to its client."""
    with fake_vendor() as vendor:
        vendor.by_shape = lambda heard: Call(heard.method, heard.path, {"status": 1, "error": None})
        yield vendor


def official_client(vendor: FakeVendor) -> official.Mixpanel:
    consumer = official.Consumer(
        people_url=f"{vendor.url}/engage",
        import_url=f"{vendor.url}/import",
        credentials=ServiceAccountCredentials(ACCOUNT, PASSWORD, "2195193"),
    )
    return official.Mixpanel(TOKEN, consumer=consumer)


def of_form(body: Form) -> tuple[Any, dict[str, str]]:
    """Return what the client sends: JSON in one field of a form, and the other fields."""
    fields = dict(body)
    return json.loads(fields.pop("data")), fields


def test_an_event_beside_the_official_clients(recorder: FakeVendor, player: Player) -> None:
    more = {name: value for name, value in ANNS["properties"].items() if name not in {"time", "distinct_id"}}  # type: ignore[attr-defined]
    official_client(recorder).import_data(None, "ann", ANNS["event"], milliseconds(ANN.time), more)
    player.vendor.expect(imported(ANNS))
    sent(player, replace(ANN, traits={}))
    [theirs], [ours] = recorder.heard, player.vendor.heard
    assert (theirs.method, theirs.path) == (ours.method, ours.path) == ("POST", "/import")
    assert theirs.header("Authorization") == ours.header("Authorization")
    assert dict(theirs.query) == {"project_id": "2195193"}
    assert dict(ours.query) == {"project_id": "2195193", "strict": "1"}  # which the contract requires
    event, fields = of_form(theirs.body)
    of_the_client = {"token": TOKEN, "mp_lib": "python", "$lib_version": official.__version__}
    assert event == {**ANNS, "properties": {**ANNS["properties"], **of_the_client}}  # type: ignore[dict-item]
    assert ours.body == [ANNS]
    # The client posts a form and asks that no address be looked up; the contract names JSON, and `ip` is in our event.
    assert fields == {"verbose": "1", "ip": "0"}
    assert (theirs.header("Content-Type"), ours.header("Content-Type")) == (
        "application/x-www-form-urlencoded",
        "application/json",
    )


def test_a_profile_beside_the_official_clients(recorder: FakeVendor, player: Player) -> None:
    official_client(recorder).people_set("ann", PROFILE["$set"])
    player.vendor.expect(ENGAGE, imported(ANNS))
    sent(player, ANN)
    theirs, ours = recorder.heard[0], player.vendor.heard[0]
    assert (theirs.method, theirs.path) == (ours.method, ours.path) == ("POST", "/engage")
    assert theirs.header("Authorization") is ours.header("Authorization") is None
    profile, fields = of_form(theirs.body)
    assert {name: value for name, value in profile.items() if name != "$time"} == ours.body[0]
    assert fields == {"verbose": "1", "ip": "0"}
    assert dict(ours.query) == {**fields, "strict": "1"}
