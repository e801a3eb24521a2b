"""Adobe: what goes to the Edge Network with and without a credential, and what journeys tell us."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid5

import pytest
from django.test import Client
from django.utils import timezone

from connectors.base import ANSWERED_AT, USER_ID
from connectors.batches import forward, payload_of
from connectors.forwarders import KEYS, ForwardedEvent
from connectors.runner import Outcome, ProbeReport, Result, probe
from connectors.vendors.adobe import Adobe
from connectors.vendors.adobe.events import Events, SendEvent
from sync.models import InboundMessage, MessageState
from tests.connectors.contract import ActionContract, MemoryJournal, Player, Scenario
from tests.connectors.fake_vendor import Call, Form
from tests.connectors.forwarder_contract import ForwarderContract, ForwardScenario
from tests.connectors.inbound_contract import House, InboundContract, InboundScenario, Sent

DATASTREAM, ORG = "3849f3b5-9a2c-4d7e-8b1f-0c6d5e4a2b10", "53A16ACB5CC1D3760A495C99@AdobeOrg"
SECRET, TOKEN, JOURNEYS = "planted-client-secret", "planted-access-token", "planted-key-of-journeys"
OPEN = {
    "datastream_id": DATASTREAM,
    "identity_namespace": "Email_LC_SHA256",
    "tenant": "_production",
    "event_type": "web.webinteraction.linkClicks",
    "webhook_secret": JOURNEYS,
}
SIGNED = {
    **OPEN,
    "identity_namespace": "CRMID",
    "org_id": ORG,
    "client_id": "client-1",
    "client_secret": SECRET,
    "scopes": "openid,AdobeID",
}
OURS = {"x-api-key": "client-1", "x-gw-ims-org-id": ORG}
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
    traits={"email_address": " Ann@Example.com "},
    browser={"adobe_ecid": "12345678901234567890123456789012345678"},
)
BOB = ForwardedEvent(
    id=UUID("66666666-7777-4888-8999-000000000000"),
    time=AT,
    interaction="impression",
    user_id="bob",
    traits={"email_address": "bob@example.com"},
    is_test=True,
)


def hashed(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def known_as(namespace: str, who: str) -> dict[str, Any]:
    return {namespace: [{"id": who, "primary": True, "authenticatedState": "authenticated"}]}


def xdm(key: str, people: dict[str, Any], **more: Any) -> dict[str, Any]:
    event = {
        "_id": hashed(key),
        "eventType": "web.webinteraction.linkClicks",
        "timestamp": "2026-03-01T12:30:15.250Z",
        "identityMap": people,
    }
    return {"xdm": {**event, **more}}


ECID = {"ECID": [{"id": ANN.browser["adobe_ecid"], "primary": False, "authenticatedState": "ambiguous"}]}
ANNS = xdm(
    ANN.key,
    {**known_as("Email_LC_SHA256", hashed("ann@example.com")), **ECID},
    _production={
        "activity": "goal",
        "app_name": "Streamly",
        "event_timestamp": "2026-03-01T12:30:15.250+00:00",
        "promo_id": "stay",
        "promo_name": "Stay with us",
    },
)
BOBS = xdm(
    BOB.key,
    known_as("Email_LC_SHA256", hashed("bob@example.com")),
    _production={"activity": "impression", "event_timestamp": "2026-03-01T12:30:15.250+00:00"},
)


def named(*events: Any) -> str:
    """Under which name a request with these events goes."""
    return str(uuid5(KEYS, " ".join(event["xdm"]["_id"] for event in events)))


def collected(*events: Any, status: int = 202, **answer: Any) -> Call:
    name = named(*events)
    query = {"datastreamId": DATASTREAM, "requestId": name}
    return Call("POST", "/v2/collect", {"requestId": f"{name}-x1", **answer}, query, {"events": list(events)}, status)


class TestEvents(ForwarderContract):
    """Without a credential."""

    scenario = ForwardScenario(
        connector=Adobe,
        items=(ANN, BOB),
        calls=(collected(ANNS, BOBS),),
        counts=0,
        messages=(f"Adobe has taken it (request {named(ANNS, BOBS)}-x1)",) * 2,
        settings=OPEN,
        signed=({"Content-Type": "application/json"},),
    )

    def alone(self, place: int) -> tuple[Call, ...]:
        """Each as the other."""
        return (collected((ANNS, BOBS)[place]),)


LOGIN = Call(
    "POST",
    "/token/ims/token/v3",
    {"access_token": TOKEN, "token_type": "bearer", "expires_in": 86399},
    body=Form(
        {
            "grant_type": "client_credentials",
            "client_id": "client-1",
            "client_secret": SECRET,
            "scope": "openid,AdobeID",
        }
    ),
    token=TOKEN,
    signed=OURS,
)
SANDBOXES = Call("GET", "/platform/data/foundation/sandbox-management/", {"sandboxes": [{"name": "prod"}]})
ACQUIRED = Call(
    "POST",
    "/v1/identity/acquire",
    {"requestId": "x", "handle": [{"type": "identity:result", "payload": []}]},
    {"configId": DATASTREAM},
    {"query": {"identity": {"fetch": ["ECID"]}}},
    reads=True,
)
SENT = xdm(
    "execution-1",
    known_as("CRMID", "ann"),
    _production={
        "offer": "SAVE20",
        "activity": "Offer taken",
        "event_timestamp": "2026-03-01T12:30:15.250+00:00",
    },
)


class TestSendEvent(ActionContract):
    """With a credential: a token first."""

    scenario = Scenario(
        Adobe,
        SendEvent,
        calls=(LOGIN, collected(SENT)),
        result=Result.DONE,
        message=f"Adobe has taken it (request {named(SENT)}-x1)",
        settings=SIGNED,
        traits={},
        given={USER_ID: "ann", ANSWERED_AT: AT},
        inputs={"event": "Offer taken", "properties": '{"offer": "SAVE20"}'},
        signed={"Authorization": f"Bearer {TOKEN}", **OURS},
        probe=(LOGIN, SANDBOXES, ACQUIRED),
    )


def sent(player: Player, call: Call, *events: ForwardedEvent) -> list[Outcome]:
    """Forward events with this answer."""
    player.point_at(Adobe, (JOURNEYS,))
    player.vendor.expect(call)
    payloads = [payload_of(Events(), event, OPEN) for event in events]
    outcomes = forward(Events(), Adobe(), OPEN, payloads, MemoryJournal())  # type: ignore[arg-type]
    player.vendor.assert_played()
    return outcomes


def shown(event: ForwardedEvent, **settings: Any) -> Any:
    found = payload_of(Events(), event, {**OPEN, **settings})
    assert isinstance(found, dict), found
    return found["xdm"]


class TestAnswers:
    def test_a_207_says_what_did_not_get_it(self, player: Player) -> None:
        errors = [{"type": "https://ns.adobe.com/aep/errors/EXEG-0201-503", "title": "Upstream unavailable"}]
        warnings = [{"title": "Slow"}, {"title": "Slow"}]
        [outcome] = sent(player, collected(BOBS, status=207, errors=errors, warnings=warnings, handle=[]), BOB)
        assert outcome.result is Result.DONE
        assert outcome.message.endswith("-x1), and not all of its services have: Upstream unavailable; Slow")

    def test_another_requests_answer_is_none_of_ours(self, player: Player) -> None:
        [outcome] = sent(player, replace(collected(BOBS), answer={"requestId": "0000-x1"}), BOB)
        assert outcome.result is Result.WAITING

    @pytest.mark.parametrize("status", [400, 422, 500])
    def test_refusals_are_in_adobes_words_and_final(self, player: Player, status: int) -> None:
        refusal = {
            "type": f"https://ns.adobe.com/aep/errors/EXEG-0003-{status}",
            "status": status,
            "title": "Invalid datastream ID",
            "detail": "It is not known.",
        }
        [outcome] = sent(player, replace(collected(BOBS), answer=refusal, status=status), BOB)
        assert (outcome.result, outcome.message) == (
            Result.REJECTED,
            "Adobe refused: Invalid datastream ID: It is not known.",
        )

    def test_a_datastream_that_takes_no_events_of_anybody_holds_the_connection(self, player: Player) -> None:
        refusal = {"type": "https://ns.adobe.com/aep/errors/EXEG-0500-401", "title": "Unauthorized"}
        [outcome] = sent(player, replace(collected(BOBS), answer=refusal, status=401), BOB)
        assert (outcome.result, outcome.reason) == (Result.HELD, "credentials")


class TestWhoItIs:
    def test_without_the_address_nothing_is_said_of_anybody(self) -> None:
        found = payload_of(Events(), replace(ANN, traits={}), OPEN)
        assert isinstance(found, Outcome)
        assert (found.result, found.message) == (Result.SKIPPED, "No email_address is known of this subscriber.")

    def test_an_address_as_it_is(self) -> None:
        assert shown(replace(ANN, browser={}), identity_namespace="Email")["identityMap"] == known_as(
            "Email", "ann@example.com"
        )

    def test_another_namespace_has_our_ids_and_asks_for_no_trait(self) -> None:
        assert shown(replace(ANN, browser={}, traits={}), identity_namespace="CRMID")["identityMap"] == known_as(
            "CRMID", "ann"
        )
        assert Events().traits({**OPEN, "identity_namespace": "CRMID"}) == ()
        assert Events().traits(OPEN) == ("email_address",)

    @pytest.mark.parametrize("ecid", ["1", "x" * 38, 7, None, True])
    def test_what_is_no_ecid_is_left_out(self, ecid: Any) -> None:
        assert "ECID" not in shown(replace(ANN, browser={"adobe_ecid": ecid}))["identityMap"]


class TestAnalytics:
    mapping = json.dumps({"promo_id": "eVar12", "app_name": "eVar250", "goal": "event120", "decline": "event2"})

    def test_fields_and_activities_go_into_variables(self) -> None:
        assert shown(ANN, analytics=self.mapping)["_experience"] == {
            "analytics": {
                "customDimensions": {"eVars": {"eVar12": "stay", "eVar250": "Streamly"}},
                "event101to200": {"event120": {"id": hashed(ANN.key), "value": 1}},
            }
        }

    def test_what_is_not_there_goes_nowhere(self) -> None:
        assert "_experience" not in shown(BOB, analytics=self.mapping)

    @pytest.mark.parametrize("variable", ["eVar0", "eVar251", "event0", "event1001", "prop1", 7, ["eVar1"]])
    def test_only_variables_that_there_are(self, variable: Any) -> None:
        form = Adobe.Settings({**OPEN, "analytics": json.dumps({"promo_id": variable})})
        assert "analytics" in form.errors


def probed(player: Player, settings: dict[str, Any], *calls: Call) -> ProbeReport:
    player.point_at(Adobe, (JOURNEYS,))
    player.vendor.expect(*calls)
    report = probe(Adobe(), settings)
    player.vendor.assert_played()
    return report


class TestTheConnection:
    def test_without_a_credential_the_datastream_is_asked(self, player: Player) -> None:
        report = probed(player, OPEN, ACQUIRED)
        assert [(line.ok, line.text) for line in report.lines][:1] == [(True, "The datastream is there.")]
        assert player.vendor.heard[0].header("Authorization") is None

    def test_one_that_is_not_there(self, player: Player) -> None:
        refusal = {"type": "https://ns.adobe.com/aep/errors/EXEG-0003-400", "title": "Invalid datastream ID"}
        report = probed(player, OPEN, replace(ACQUIRED, answer=refusal, status=400))
        assert (report.passed, report.message) == (False, "Adobe refused: Invalid datastream ID")

    def test_hosts_are_adobes(self) -> None:
        assert Adobe().base_url(OPEN) == "https://edge.adobedc.net/ee"
        assert Adobe().base_url(SIGNED) == "https://server.adobedc.net/ee"

    def test_a_client_id_needs_its_organization_and_its_secret(self) -> None:
        assert Adobe.Settings(OPEN).is_valid()
        assert "org_id" in Adobe.Settings({**SIGNED, "org_id": ""}).errors


# --- journeys -------------------------------------------------------------------------------------------------------------

TOLD = b"id=streamly&userId=viewer-ann&at=2024-03-01T12:00:00Z&properties[plan]=gold&properties[city]="


def sign(tells: bytes, secret: str, at: datetime) -> Sent:
    """As a custom action sends it, whose address ends in this. It names a content type, though it has no content."""
    return Sent(query=quote(tells, safe="=&[]:"), headers={"X-API-Key": secret}, method="GET")


class TestJourneys(InboundContract):
    scenario = InboundScenario(
        Adobe,
        tells=TOLD,
        sign=sign,
        known={"plan": "basic", "city": "Bern", "first_name": "Ann"},
        learned={"plan": "gold", "first_name": "Ann"},
        settings={name: value for name, value in OPEN.items() if name != "webhook_secret"},
        type="properties",
        dated=False,
        signs_body=False,
        free=True,
    )

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
    def test_a_header_names_the_user_before_the_address_does(self, house: House, method: str) -> None:
        sent = self.scenario.now(TOLD.replace(b"viewer-ann", b"somebody"))
        answer = house.send(replace(sent, method=method, headers={**sent.headers, "USER-ID": "viewer-ann"}))
        assert (answer.status_code, "no-store" in answer["Cache-Control"]) == (200, True)
        house.work()
        assert house.traits() == dict(self.scenario.learned)

    def test_a_trait_may_go_back_to_what_it_was(self, house: House) -> None:
        for at, plan in (("01", "gold"), ("02", "basic"), ("03", "gold")):
            tells = TOLD.replace(b"12:00:00", f"12:00:{at}".encode()).replace(b"gold", plan.encode())
            house.send(self.scenario.now(tells))
            house.work()
        assert house.traits()["plan"] == "gold"

    def test_without_a_time_every_call_counts(self, house: House) -> None:
        for plan in ("gold", "basic", "gold"):
            tells = TOLD.replace(b"at=2024-03-01T12:00:00Z&", b"").replace(b"gold", plan.encode())
            house.send(self.scenario.now(tells))
            house.work()
        assert (InboundMessage.objects.count(), house.traits()["plan"]) == (3, "gold")

    def test_an_older_call_undoes_no_newer_one(self, house: House) -> None:
        house.send(self.scenario.now())
        house.work()
        house.send(self.scenario.now(TOLD.replace(b"12:00:00", b"11:59:59").replace(b"gold", b"basic")))
        house.work()
        assert house.traits()["plan"] == "gold"
        assert InboundMessage.objects.filter(state=MessageState.OVERTAKEN).count() == 1

    def test_a_time_to_come_stands_in_nobodys_way(self, house: House) -> None:
        soon = (timezone.now() + timedelta(days=300)).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
        house.send(self.scenario.now(TOLD.replace(b"2024-03-01T12:00:00Z", soon)))
        house.work()
        house.send(self.scenario.now(TOLD.replace(b"at=2024-03-01T12:00:00Z&", b"").replace(b"gold", b"basic")))
        house.work()
        assert house.traits()["plan"] == "basic"

    def test_a_key_in_the_address_is_none(self, house: House) -> None:
        answer = Client().get(f"/hooks/{house.connection.pk}?x-api-key={self.scenario.secret}&{TOLD.decode()}")
        assert answer.status_code == 401
        assert house.is_untouched()

    @pytest.mark.parametrize(
        "tells",
        [
            b"properties[plan]=gold",
            b"userId=viewer-ann&plan=gold",
            b"userId=viewer-ann&properties[plan]=gold&properties[plan]=basic",
            b"userId=viewer-ann&properties[Not a name]=1",
            b"userId=viewer-ann&properties[pl\x00an]=x",
        ],
    )
    def test_what_is_not_documented_is_kept_with_its_reason(self, house: House, tells: bytes) -> None:
        assert house.send(self.scenario.now(tells)).status_code == 200
        house.work()
        assert (house.message().state, bool(house.message().reason)) == (MessageState.FAILED, True)
        assert house.traits() == dict(self.scenario.known)

    def test_a_nul_is_kept_as_what_every_database_takes(self, house: House) -> None:
        house.send(self.scenario.now(b"userId=viewer-ann&properties[plan]=a\x00b"))
        house.work()
        assert house.traits()["plan"] == "a\ufffdb"
