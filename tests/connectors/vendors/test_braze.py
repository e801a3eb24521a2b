"""Braze's actions by its sheet: what goes over the wire, and how every one of its answers is read."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors import runner
from connectors.base import ANSWERED_AT, USER_ID
from connectors.batches import payload_of
from connectors.http import Api
from connectors.journal import OnlyLooks
from connectors.pushes import Person
from connectors.runner import Outcome, Result
from connectors.vendors.braze import Braze
from connectors.vendors.braze.sending import CampaignTrigger, CanvasTrigger, TransactionalEmail
from connectors.vendors.braze.users import AddEmail, TrackEvent, UpdateAttributes
from tests.connectors.contract import ActionContract, Player, Scenario, played
from tests.connectors.fake_vendor import Call
from tests.connectors.forwarder_contract import PushContract, PushScenario

KEY = "3c7a1f0e-planted-key-8c2d5e9b4a10"
SETTINGS = {"base_url": "rest.fra-01.braze.eu", "api_key": KEY, "user_ids": True, "app_id": "app-1"}
CAMPAIGN = "6ecc4a5e-1f0b-4a3c-8c1d-2b7e5d9f0a11"
ANN = "ann@example.com"
PROBE = Call("GET", "/campaigns/list", {"message": "success", "campaigns": []}, {"page": "0"})
OFTEN: dict[str, Any] = {
    "settings": SETTINGS,
    "signed": {"Authorization": f"Bearer {KEY}"},
    "probe": (PROBE,),
    "result": Result.DONE,
}
GIVEN = {USER_ID: "viewer-ann"}
AT = {ANSWERED_AT: datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)}
BY_ADDRESS = {**SETTINGS, "user_ids": False}


def tracked(body: Any, **answer: Any) -> Call:
    """A request to /users/track, about one thing."""
    processed = {f"{name}_processed": 1 for name in body}
    return Call("POST", "/users/track", {"message": "success", **processed, **answer}, body=body, status=201)


ADDED = tracked(
    {
        "attributes": [
            {
                "user_alias": {"alias_name": ANN, "alias_label": "engage"},
                "email": ANN,
                "_update_existing_only": False,
            }
        ]
    }
)


class TestAddEmail(ActionContract):
    scenario = Scenario(
        Braze,
        AddEmail,
        calls=(ADDED,),
        message=f"Braze says “success”: {ANN} is a user",
        traits={},
        inputs={"email": ANN, "alias_label": "engage"},
        **OFTEN,
    )


class TestTrackEvent(ActionContract):
    scenario = Scenario(
        Braze,
        TrackEvent,
        calls=(
            tracked(
                {
                    "events": [
                        {
                            "external_id": "viewer-ann",
                            "app_id": "app-1",
                            "name": "Offer taken",
                            "time": "2026-03-01T12:30:15.250+00:00",
                            "properties": {"offer": "SAVE20", "plan": "Premium", "engage_id": "execution-1"},
                        }
                    ]
                }
            ),
        ),
        message="Braze says “success”: the event “Offer taken”",
        traits={"plan": "Premium"},
        given={**GIVEN, **AT},
        inputs={"event": "Offer taken", "properties": '{"offer": "SAVE20"}', "traits": "plan, city"},
        **OFTEN,
    )


class TestUpdateAttributes(ActionContract):
    scenario = Scenario(
        Braze,
        UpdateAttributes,
        calls=(
            tracked(
                {
                    "attributes": [
                        {
                            "plan": "Premium",
                            "phone": "+4930123456",
                            "email_subscribe": "opted_in",
                            "subscription_groups": [
                                {"subscription_group_id": CAMPAIGN, "subscription_state": "unsubscribed"}
                            ],
                            "external_id": "viewer-ann",
                        }
                    ]
                }
            ),
        ),
        message="Braze says “success”: 4 attributes of viewer-ann",
        traits={"phone_number": "+4930123456"},
        given=GIVEN,
        inputs={
            "properties": '{"plan": "Premium"}',
            "traits": "phone_number",
            "email_subscribe": "opted_in",
            "subscription_group_id": CAMPAIGN,
            "subscription_state": "unsubscribed",
        },
        **OFTEN,
    )


def triggered(what: str, id_name: str, recipient: Any) -> Call:
    answer = {"message": "success", "dispatch_id": "d-4f2a"}
    body = {id_name: CAMPAIGN, "recipients": [recipient], "broadcast": False}
    return Call("POST", f"/{what}/trigger/send", answer, body=body, status=201)


class TestCampaignTrigger(ActionContract):
    who = {"external_user_id": "viewer-ann", "trigger_properties": {"offer": "SAVE20"}}
    scenario = Scenario(
        Braze,
        CampaignTrigger,
        calls=(triggered("campaigns", "campaign_id", who),),
        message="Braze has accepted it (dispatch d-4f2a)",
        traits={},
        given=GIVEN,
        inputs={"campaign_id": CAMPAIGN, "properties": '{"offer": "SAVE20"}'},
        **OFTEN,
    )


class TestCanvasTrigger(ActionContract):
    """By the trait, which counts before our own id."""

    who = {"external_user_id": "braze-7", "canvas_entry_properties": {"offer": "SAVE20"}}
    scenario = Scenario(
        Braze,
        CanvasTrigger,
        calls=(triggered("canvas", "canvas_id", who),),
        message="Braze has accepted it (dispatch d-4f2a)",
        traits={"braze_external_id": "braze-7"},
        given=GIVEN,
        inputs={"canvas_id": CAMPAIGN, "properties": '{"offer": "SAVE20"}'},
        **OFTEN,
    )


class TestTransactionalEmail(ActionContract):
    scenario = Scenario(
        Braze,
        TransactionalEmail,
        calls=(
            Call(
                "POST",
                f"/transactional/v1/campaigns/{CAMPAIGN}/send",
                {"dispatch_id": "d-4f2a", "status": "sent", "metadata": {}},
                body={
                    "external_send_id": "execution-1",
                    "recipient": {"external_user_id": "viewer-ann"},
                    "trigger_properties": {"offer": "SAVE20"},
                },
            ),
        ),
        message="Braze says “sent” (dispatch d-4f2a)",
        traits={},
        given=GIVEN,
        inputs={"campaign_id": CAMPAIGN, "properties": '{"offer": "SAVE20"}'},
        **OFTEN,
    )


def pushed(*people: Any, **answer: Any) -> Call:
    told = {"message": "success", "attributes_processed": len(people), **answer}
    return Call("POST", "/users/track", told, body={"attributes": list(people)}, status=201)


ANNS = {"plan": "Premium", "email": ANN, "external_id": "ann"}
BOBS = {"plan": "Basic", "external_id": "bob"}


class TestAttributes(PushContract):
    scenario = PushScenario(
        connector=Braze,
        items=(
            Person("ann", {"plan": "Premium", "email_address": ANN, "braze_id": "other"}),
            Person("bob", {"plan": "Basic"}),
        ),
        calls=(pushed(ANNS, BOBS),),
        counts=0,
        messages=("Braze says “success”",) * 2,
        settings={**SETTINGS, "traits": "plan, email_address", "traits_nightly": True},
        signed=({"Authorization": f"Bearer {KEY}"},),
    )

    def alone(self, place: int) -> tuple[Call, ...]:
        """Return the call for one of them."""
        return (pushed((ANNS, BOBS)[place]),)

    def test_whom_braze_names_is_refused_alone(self, player: Player) -> None:
        errors = [{"type": "'plan' is not valid", "input_array": "attributes", "index": 1}]
        player.vendor.expect(pushed(ANNS, BOBS, errors=errors))
        ann, bob = self.play(player)
        assert (ann.result, bob.result, bob.message) == (
            Result.DONE,
            Result.REJECTED,
            "Braze refused: 'plan' is not valid",
        )

    @pytest.mark.parametrize("errors", [["no"], [{"type": "no", "index": 2}], [{"type": "no", "index": "1"}], [{}]])
    def test_errors_that_name_nobody_are_everybodys(self, player: Player, errors: Any) -> None:
        player.vendor.expect(pushed(ANNS, BOBS, errors=errors))
        assert {outcome.result for outcome in self.play(player)} == {Result.REJECTED}

    def test_without_our_ids_nobody_is_known(self) -> None:
        found = payload_of(self.scenario.batched, self.scenario.items[0], BY_ADDRESS)
        assert isinstance(found, Outcome)
        assert found.result is Result.REJECTED


ADD, EVENT, ATTRIBUTES = TestAddEmail.scenario, TestTrackEvent.scenario, TestUpdateAttributes.scenario
CAMPAIGN_SENT, MAIL = TestCampaignTrigger.scenario, TestTransactionalEmail.scenario


def probed(player: Player, call: Call) -> runner.ProbeReport:
    player.point_at(Braze, (KEY,))
    player.vendor.expect(call)
    report = runner.probe(Braze(), SETTINGS)
    player.vendor.assert_played()
    return report


class TestUsers:
    def test_without_a_label_there_is_no_alias(self, player: Player) -> None:
        outcome = played(player, ADD, tracked({"attributes": [{"email": ANN}]}), inputs={"email": ANN})
        assert outcome.result is Result.DONE

    def test_what_waits_for_a_maintenance_is_accepted(self, player: Player) -> None:
        queued = replace(ADDED, answer={"message": "queued"}, status=202)
        assert played(player, ADD, queued).message == f"Braze says “queued”: {ANN} is a user"

    def test_the_number_that_was_processed_may_be_left_out_and_may_not_be_another(self, player: Player) -> None:
        assert played(player, ADD, replace(ADDED, answer={"message": "success"})).result is Result.DONE
        none = replace(ADDED, answer={"message": "success", "attributes_processed": 0})
        assert played(player, ADD, none).result is Result.UNCERTAIN

    @pytest.mark.parametrize(
        ("errors", "words"),
        [
            ([{"type": "'email' is not valid", "input_array": "attributes", "index": 0}], "'email' is not valid"),
            (["one", {"message": "two"}], "one; two"),
            ("all of it", "all of it"),
            ([7], "it does not say why"),
        ],
    )
    def test_an_error_inside_a_2xx_is_a_refusal(self, player: Player, errors: Any, words: str) -> None:
        answer = {"message": "success", "attributes_processed": 0, "errors": errors}
        outcome = played(player, ADD, replace(ADDED, answer=answer))
        assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False)
        assert outcome.message == f"Braze refused: {words}"

    def test_an_empty_list_of_errors_is_none(self, player: Player) -> None:
        answer = {"message": "success", "attributes_processed": 1, "errors": []}
        assert played(player, ADD, replace(ADDED, answer=answer)).result is Result.DONE

    def test_attributes_say_nothing_of_who_is_meant(self, player: Player) -> None:
        inputs = {"properties": '{"external_id": "other", "braze_id": "x", "_update_existing_only": true, "plan": "P"}'}
        call = tracked({"attributes": [{"plan": "P", "email": ANN}]})
        traits = {"email_address": ANN}
        outcome = played(player, ATTRIBUTES, call, inputs=inputs, traits=traits, settings=BY_ADDRESS)
        assert outcome.result is Result.DONE

    def test_nothing_to_set_is_told(self, player: Player) -> None:
        outcome = played(player, ATTRIBUTES, inputs={"traits": "plan"}, traits={})
        assert (outcome.result, player.vendor.heard) == (Result.REJECTED, [])


class TestRecipients:
    def test_by_address_braze_is_told_which_of_several_is_meant(self, player: Player) -> None:
        who = {"email": ANN, "prioritization": ["identified", "most_recently_updated"]}
        call = triggered("campaigns", "campaign_id", who)
        told: dict[str, Any] = {"settings": BY_ADDRESS, "traits": {"email_address": ANN}}
        outcome = played(player, CAMPAIGN_SENT, call, inputs={"campaign_id": CAMPAIGN}, **told)
        assert outcome.result is Result.DONE

    @pytest.mark.parametrize("scenario", [CAMPAIGN_SENT, MAIL, EVENT], ids=lambda one: str(one.action.key))
    def test_somebody_of_whom_nothing_is_known_is_left_out(self, player: Player, scenario: Scenario) -> None:
        outcome = played(player, scenario, settings=BY_ADDRESS, traits={})
        assert (outcome.result, outcome.reason, player.vendor.heard) == (Result.SKIPPED, "missing", [])

    def test_what_is_queued_has_no_dispatch(self, player: Player) -> None:
        queued = replace(CAMPAIGN_SENT.calls[0], answer={"message": "queued"}, status=202)
        outcome = played(player, CAMPAIGN_SENT, queued)
        assert outcome.message == "Braze has queued it, and gives it no dispatch yet"


LACKS = {"message": "You do not have permission to access this resource"}


class TestTheConnection:
    @pytest.mark.parametrize("status", [401, 403])
    def test_a_key_without_the_list_is_a_key(self, player: Player, status: int) -> None:
        report = probed(player, replace(PROBE, answer=LACKS, status=status))
        assert report.passed
        assert [line.ok for line in report.lines] == [True, None, None]

    def test_and_holds_nothing_where_it_lacks_another_right(self, player: Player) -> None:
        outcome = played(player, ADD, replace(ADDED, answer=LACKS, status=401))
        assert (outcome.result, outcome.message) == (Result.REJECTED, f"Braze refused: {LACKS['message']}")

    @pytest.mark.parametrize(
        ("status", "words"), [(401, "Invalid API key"), (404, "Unknown REST API key")], ids=["401", "404"]
    )
    def test_a_wrong_key_is_none(self, player: Player, status: int, words: str) -> None:
        report = probed(player, replace(PROBE, answer={"message": words}, status=status))
        assert (report.passed, report.bad_credentials) == (False, True)

    @pytest.mark.parametrize("endpoint", ["rest.iad-01.braze.com", "https://rest.iad-01.braze.com/"])
    def test_the_endpoint_is_the_instances(self, endpoint: str) -> None:
        form = Braze.Settings({**SETTINGS, "base_url": endpoint})
        assert form.is_valid(), form.errors
        assert form.cleaned_data["base_url"] == "https://rest.iad-01.braze.com"
        assert Braze().base_url(form.cleaned_data) == "https://rest.iad-01.braze.com"

    @pytest.mark.parametrize(
        "endpoint", ["rest.evil.example", "rest.iad-01.braze.com.evil.example", "http://rest.iad-01.braze.com", "x@y"]
    )
    def test_and_no_other(self, endpoint: str) -> None:
        assert "base_url" in Braze.Settings({**SETTINGS, "base_url": endpoint}).errors

    def test_lists_go_on_until_a_page_is_empty(self, player: Player) -> None:
        player.point_at(Braze, (KEY,))
        query = {"include_archived": "false", "sort_direction": "desc"}
        player.vendor.expect(
            Call("GET", "/canvas/list", {"canvases": [{"id": CAMPAIGN, "name": "Stay"}]}, {**query, "page": "0"}),
            Call("GET", "/canvas/list", {"canvases": []}, {**query, "page": "1"}),
        )
        with Api(Braze(), SETTINGS, OnlyLooks(5)) as api:
            assert [(row.key, row.label) for row in Braze.catalogues["canvases"].fetch(api)] == [(CAMPAIGN, "Stay")]
        player.vendor.assert_played()
