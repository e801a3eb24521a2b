"""Google Analytics: a person's events in one request, names and values as GA4 takes them, and nothing twice."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from connectors.base import ANSWERED_AT, USER_ID
from connectors.batches import payload_of
from connectors.forms import settings_form
from connectors.forwarders import EXAMPLE, ForwardedEvent
from connectors.registry import connector
from connectors.runner import Outcome, Result, probe
from connectors.vendors.google_analytics import HOSTS, GoogleAnalytics
from connectors.vendors.google_analytics.events import Events, SendEvent
from tests.connectors.contract import ActionContract, Player, Scenario
from tests.connectors.fake_vendor import Call
from tests.connectors.forwarder_contract import ForwarderContract, ForwardScenario

SECRET = "api-secret_of-the-tests"
SETTINGS: dict[str, Any] = {
    "region": "global",
    "measurement_id": "G-ABC123DEF4",
    "api_secret": SECRET,
    "event_prefix": "Recurly Engage Prompt",
    "traits": "plan",
    "send_user_id": True,
    "made_client_ids": False,
    "locate": True,
    "ad_consent": "DENIED",
    "debug_mode": False,
}
QUERY = {"measurement_id": "G-ABC123DEF4", "api_secret": SECRET}
AT = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 12, 30, 20, tzinfo=UTC)
MICROS, LATER_MICROS = 1_772_368_215_250_000, 1_772_368_220_000_000
ANN = ForwardedEvent(
    id=UUID("11111111-2222-4333-8444-555555555555"),
    time=AT,
    interaction="impression",
    user_id="ann",
    app="Streamly",
    prompt_key="stay",
    prompt_name="Stay with us",
    prompt_version=3,
    traits={"plan": "Premium"},
    browser={"ga_client_id": "123.456", "ga_session_id": "1772368000"},
    address="198.51.100.7",
    user_agent="Mozilla/5.0",
)
ACCEPTED = replace(ANN, id=UUID("66666666-7777-4888-8999-000000000000"), time=LATER, interaction="secondary_accept")
WHOSE = {
    "client_id": "123.456",
    "user_id": "ann",
    "user_properties": {"plan": {"value": "Premium"}},
    "ip_override": "198.51.100.7",
    "user_agent": "Mozilla/5.0",
    "consent": {"ad_user_data": "DENIED", "ad_personalization": "DENIED"},
}


def event(name: str, at: str, micros: int) -> dict[str, Any]:
    params = {
        "promo_id": "stay",
        "promo_name": "Stay with us",
        "prompt_version": 3,
        "event_timestamp": at,
        "app_name": "Streamly",
        "session_id": "1772368000",
        "engagement_time_msec": 1,
        "timestamp_micros": micros,
    }
    return {"name": f"recurly_engage_prompt_{name}", "params": params, "timestamp_micros": micros}


SEEN = event("impression", "2026-03-01T12:30:15.250+00:00", MICROS)
CLICKED = event("click_2", "2026-03-01T12:30:20.000+00:00", LATER_MICROS)


def collect(*events: Any, **whose: Any) -> Call:
    return Call("POST", "/mp/collect", None, QUERY, {**(whose or WHOSE), "events": list(events)}, status=204)


SAYS_NOTHING = frozenset({"an empty body", "null"})


def debug(*wrong: str) -> Call:
    payload = Events().payload(EXAMPLE, SETTINGS)
    body = {name: payload[name] for name in ("client_id", "user_id", "ip_override", "user_agent")}
    body |= {"events": [payload["event"]], "validation_behavior": "ENFORCE_RECOMMENDATIONS"}
    answer = {"validationMessages": [{"description": each, "validationCode": "NAME_INVALID"} for each in wrong]}
    return Call("POST", "/debug/mp/collect", answer, QUERY, body, reads=True)


class TestEvents(ForwarderContract):
    scenario = ForwardScenario(
        connector=GoogleAnalytics,
        items=(ANN, ACCEPTED),
        calls=(collect(SEEN, CLICKED),),
        counts=0,
        messages=("Google took it in (status 204), and does not say whether it is kept",) * 2,
        settings=SETTINGS,
        signed=({},),
        also_yes=SAYS_NOTHING,
    )

    def alone(self, place: int) -> tuple[Call, ...]:
        """Return the call for one of them."""
        return (collect((SEEN, CLICKED)[place]),)


class TestSendEvent(ActionContract):
    scenario = Scenario(
        GoogleAnalytics,
        SendEvent,
        calls=(
            collect(
                {
                    "name": "offer_taken",
                    "params": {
                        "offer": "SAVE20",
                        "plan": "Premium",
                        "engagement_time_msec": 1,
                        "timestamp_micros": MICROS,
                    },
                    "timestamp_micros": MICROS,
                },
                client_id="123.456",
                consent=WHOSE["consent"],
            ),
        ),
        result=Result.DONE,
        message="Google took it in (status 204), and does not say whether it is kept",
        settings=SETTINGS,
        traits={"ga_client_id": "123.456", "plan": "Premium"},
        given={USER_ID: "ann", ANSWERED_AT: AT},
        inputs={"event": "offer_taken", "properties": '{"offer": "SAVE20"}', "traits": "plan"},
        also_yes=SAYS_NOTHING,
        probe=(debug(),),
    )

    @pytest.mark.parametrize("name", ["session_start", "ga_event", "1st", "two words", "x" * 41])
    def test_a_name_that_google_does_not_take_is_refused(self, name: str) -> None:
        assert set(SendEvent.Inputs({"event": name, "properties": ""}).errors) == {"event"}

    def test_properties_that_google_does_not_take_are_refused(self, player: Player) -> None:
        for properties in ('{"ga_x": 1}', '{"two words": 1}', str({f"p{n}": n for n in range(23)}).replace("'", '"')):
            outcome, _ = player.play(self.scenario, inputs={"event": "taken", "properties": properties})
            assert outcome.result is Result.REJECTED
        assert player.vendor.heard == []


def built(of: ForwardedEvent, **differences: Any) -> dict[str, Any]:
    found = payload_of(Events(), of, {**SETTINGS, **differences})
    assert isinstance(found, dict), found
    return found


def test_events_of_one_person_and_browser_go_together() -> None:
    together = Events().together
    assert together(built(ANN)) == together(built(ACCEPTED))
    for other in (replace(ANN, user_id="bob"), replace(ANN, browser={"ga_client_id": "7.7"}), replace(ANN, address="")):
        assert together(built(ANN)) != together(built(other))


@pytest.mark.parametrize("found", [None, "", "x", "12", 1.5, "1.2.3", "1.2\n"])
def test_without_a_client_id_an_event_is_left_out_unless_one_is_made(found: Any) -> None:
    event = replace(ANN, browser={"ga_client_id": found})
    left_out = payload_of(Events(), event, SETTINGS)
    assert isinstance(left_out, Outcome)
    assert (left_out.result, left_out.reason) == (Result.SKIPPED, "missing")
    made = built(event, made_client_ids=True)["client_id"]
    assert made == built(replace(ACCEPTED, browser={}), made_client_ids=True)["client_id"]
    assert made != built(replace(event, user_id="bob"), made_client_ids=True)["client_id"]
    assert [part.isdecimal() for part in made.split(".")] == [True, True]


def test_the_cookies_whole_value_is_a_client_id_too() -> None:
    assert built(replace(ANN, browser={"ga_client_id": "GA1.1.123.456"}))["client_id"] == "GA1.1.123.456"


def test_a_user_id_goes_only_where_it_is_wanted_and_never_an_e_mail_address() -> None:
    assert "user_id" not in built(ANN, send_user_id=False)
    assert "user_id" not in built(replace(ANN, user_id="ann@example.com"))


def test_values_are_cut_and_debug_mode_is_said() -> None:
    payload = built(replace(ANN, prompt_name="n" * 200, traits={"plan": "p" * 50, "vip": True}), debug_mode=True)
    assert len(payload["event"]["params"]["promo_name"]) == 100
    assert payload["event"]["params"]["debug_mode"] == 1
    assert payload["user_properties"] == {"plan": {"value": "p" * 36}, "vip": {"value": "true"}}


def test_settings_that_make_names_that_google_does_not_take_are_refused() -> None:
    for unfit in ({"event_prefix": "p" * 40}, {"event_prefix": "1 offer"}, {"event_prefix": "Google"}):
        assert set(settings_form(None, connector("google_analytics"), {**SETTINGS, **unfit}).errors) == {"event_prefix"}
    for traits in ("t" * 25, "ga_plan", ",".join(f"t{n}" for n in range(26))):
        form = settings_form(None, connector("google_analytics"), {**SETTINGS, "traits": traits})
        assert set(form.errors) == {"traits"}
    form = settings_form(None, connector("google_analytics"), {**SETTINGS, "measurement_id": "UA-1234-5"})
    assert set(form.errors) == {"measurement_id"}
    assert settings_form(None, connector("google_analytics"), SETTINGS).is_valid()


def test_the_test_checks_the_format_and_says_that_it_checks_no_more(player: Player) -> None:
    player.point_at(GoogleAnalytics, (SECRET,))
    player.vendor.expect(debug())
    report = probe(GoogleAnalytics(), SETTINGS)
    assert [(line.ok, "cannot be tested" in line.text) for line in report.lines] == [(True, False), (None, True)]
    player.vendor.expect(debug("Event name is wrong"))
    report = probe(GoogleAnalytics(), SETTINGS)
    player.vendor.assert_played()
    assert (report.passed, report.message) == (False, "Google does not take our events: Event name is wrong")
    player.keeps((SECRET,), str(report))


@pytest.mark.parametrize("region", HOSTS)
def test_the_host_is_one_of_googles(region: str) -> None:
    assert GoogleAnalytics().base_url({"region": region}) == HOSTS[region]
    assert HOSTS[region].endswith(".google-analytics.com")
