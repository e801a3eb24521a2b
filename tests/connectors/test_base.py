"""The vocabulary's own behaviour, and what every registered declaration owes."""

import importlib
import json
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from django import forms
from django.core.exceptions import ValidationError

from connectors.base import (
    ANSWERED_AT,
    USER_ID,
    Action,
    CatalogueField,
    Connector,
    Json,
    PatternField,
    Replay,
    SecretField,
    TemplateField,
    all_of,
    given,
    one_of,
)
from connectors.failures import Missing
from connectors.forwarders import EXAMPLE, Forwarder, size_of
from connectors.registry import CONNECTORS
from sync.traits import wrong_name
from tests.connectors.contract import Scenario
from tests.connectors.forwarder_contract import ForwardScenario, PushScenario
from tests.connectors.throwaway import SendGift
from tests.contracts.scenarios import scenarios

# What an administrator writes has no actions of its own; tests/connectors/vendors/test_api.py holds it to the contract. What
# speaks another protocol than HTTP is broken in that protocol's own ways (test_smtp.py).
VENDORS = [
    declared
    for declared in CONNECTORS
    if not (declared.several or any(not url.startswith("https:") for url in declared.protocols))
]


def scenarios_of(declared: type[Connector]) -> list[Scenario]:
    """Return the scenarios in the connector's own test module."""
    return scenarios(importlib.import_module(f"tests.connectors.vendors.test_{declared.key}"))


@pytest.mark.parametrize("declared", VENDORS, ids=lambda declared: declared.key)
def test_every_action_is_held_to_the_contract(declared: type[Connector]) -> None:
    assert {case.action for case in scenarios_of(declared)} == set(declared.actions)


@pytest.mark.parametrize("declared", VENDORS, ids=lambda declared: declared.key)
def test_everything_that_goes_out_in_batches_is_held_to_the_contract(declared: type[Connector]) -> None:
    module = importlib.import_module(f"tests.connectors.vendors.test_{declared.key}")
    cases = {type(getattr(each, "scenario", None)) for each in vars(module).values()}
    assert (ForwardScenario in cases, PushScenario in cases) == (bool(declared.forwarder), bool(declared.push))


class TestAPatternField:
    field = PatternField("[a-z]+|[0-9]{3}", shape="Letters, or three digits.", help_text="Its code.")

    def test_the_shape_is_told_in_the_help(self) -> None:
        assert self.field.help_text == "Its code. Letters, or three digits."

    @pytest.mark.parametrize("text", ["abc", "123", " abc\n"])
    def test_what_fits_is_taken_without_blanks_around_it(self, text: str) -> None:
        assert self.field.clean(text) == text.strip()

    @pytest.mark.parametrize("text", ["abc1", "1234", "abc\nabc", "https://elsewhere.example/abc"])
    def test_what_fits_in_part_does_not_fit(self, text: str) -> None:
        with pytest.raises(ValidationError, match="It does not fit: Letters"):
            self.field.clean(text)


class TestNeeds:
    def test_one_of_each_group_is_enough_and_nothing_else_is_given(self) -> None:
        needs = one_of("a", "b") & all_of("c")
        assert needs.pick({"b": 1, "c": "x", "secret": "y"}) == {"b": 1, "c": "x"}
        assert needs.traits == ("a", "b", "c")
        assert needs.in_words == "a or b, and c"

    def test_what_is_given_is_no_trait_and_cannot_be_one(self) -> None:
        needs = all_of("a") & given(USER_ID) & given(USER_ID, ANSWERED_AT)
        known = {USER_ID: "ann", ANSWERED_AT: EXAMPLE.time, "more": 1}
        assert needs.pick({"a": 1, USER_ID: "a trait"}, known) == {
            "a": 1,
            USER_ID: "ann",
            ANSWERED_AT: EXAMPLE.time,
        }
        assert (needs.traits, needs.in_words) == (("a",), "a")
        assert wrong_name(USER_ID)
        assert wrong_name(ANSWERED_AT)

    @pytest.mark.parametrize("empty", ["", None])
    def test_an_empty_trait_is_none(self, empty: str | None) -> None:
        with pytest.raises(Missing, match="No a or b is known"):
            one_of("a", "b").pick({"a": empty})

    def test_what_a_text_fills_in_is_needed_too(self) -> None:
        class Written(SendGift):
            class Inputs(forms.Form):
                text = TemplateField(label="Text", help_text="What is said.")
                other = forms.CharField()

        needs = Written().needs_with({"text": "%customer% %first_name% %plan|none% 100%%", "other": "%d%"})
        assert needs.groups == (("customer",), ("first_name",))
        assert needs.welcome == ("plan",)
        for unfit in ({}, {"text": None}, {"text": "100%"}, {"text": "%input.plan%"}, {"text": {"a": "%b%"}}):
            assert Written().needs_with(unfit) == SendGift.needs

    def test_zero_and_false_are_values(self) -> None:
        assert all_of("a", "b").pick({"a": 0, "b": False}) == {"a": 0, "b": False}


class TestForwarders:
    LIMITS = {"most_items": 10, "most_bytes": 1000, "largest_item": 500}

    def test_one_that_does_not_say_what_a_repeat_does_is_refused(self) -> None:
        for said in ({}, {"replay": Replay.CHECK, "replay_proof": "x"}):
            with pytest.raises(TypeError, match="what a repeat does"):
                type("Silent", (Forwarder,), {**self.LIMITS, **said})
        with pytest.raises(TypeError, match="on what that stands"):
            type("Unproven", (Forwarder,), {**self.LIMITS, "replay": Replay.KEY})

    @pytest.mark.parametrize("limit", LIMITS)
    def test_one_that_does_not_say_what_fits_is_refused(self, limit: str) -> None:
        said = {"replay": Replay.NEVER, "replay_proof": "x", **self.LIMITS, limit: 0}
        with pytest.raises(TypeError, match=limit):
            type("Boundless", (Forwarder,), said)

    def test_an_events_key_is_its_own_and_always_the_same(self) -> None:
        other = replace(EXAMPLE, id=UUID(int=7), interaction="decline")
        assert EXAMPLE.key == replace(EXAMPLE, user_id="another").key == "6ad43aa9-abe3-5643-9ccc-640bfd19edd1"
        assert other.key != EXAMPLE.key
        assert other.key != str(other.id)

    def test_a_size_is_never_less_than_what_a_request_carries(self) -> None:
        payloads: list[Json] = [{"a": "ü😀" * 50}, {"b": 1}, {"c": None}]
        assert len(json.dumps(payloads)) <= sum(map(size_of, payloads))


class TestDeclarations:
    def test_an_action_that_does_not_say_why_it_may_run_again_is_refused(self) -> None:
        with pytest.raises(TypeError, match="why it may run again"):
            type("Silent", (Action,), {"key": "silent"})
        with pytest.raises(TypeError, match="why it may run again"):
            type("Unproven", (Action,), {"key": "unproven", "replay": Replay.NEVER})

    def test_a_key_says_how_long_it_is_kept(self) -> None:
        declaration = {"key": "keyed", "replay": Replay.KEY, "replay_proof": "docs"}
        with pytest.raises(TypeError, match="key_kept"):
            type("Keyed", (Action,), declaration)
        type("Keyed", (Action,), {**declaration, "key_kept": timedelta(hours=24)})

    def test_check_has_a_look(self) -> None:
        with pytest.raises(TypeError, match="already_done"):
            type("Blind", (Action,), {"key": "blind", "replay": Replay.CHECK, "replay_proof": "docs"})

    def test_every_replay_says_in_words_what_a_repeat_does(self) -> None:
        assert all(replay.in_words.endswith(".") for replay in Replay)


class TestFields:
    def test_a_secret_is_never_rendered(self) -> None:
        form = type("Settings", (forms.Form,), {"key": SecretField(label="Key")})(data={"key": "planted-secret"})
        assert "planted-secret" not in str(form)
        assert form.is_valid()

    def test_a_choice_is_judged_only_where_the_vendors_rows_are_at_hand(self) -> None:
        field = CatalogueField(catalogue="offers", label="Offer")
        assert field.clean("S1_US") == "S1_US"
        field.bind_catalogue([("S2_US", "Basic")])
        assert field.clean("S2_US") == "S2_US"
        with pytest.raises(forms.ValidationError):
            field.clean("S1_US")


@pytest.mark.parametrize("declared", CONNECTORS, ids=lambda declared: declared.key)
def test_every_secret_of_its_settings_is_known_and_masked(declared: type[Connector]) -> None:
    secret = {name for name, field in declared.Settings().fields.items() if isinstance(field, SecretField)}
    assert set(declared().secret_fields({})) == secret
    makes_fields_itself = declared.Settings.__init__ is not forms.Form.__init__
    assert (declared.secret_fields is not Connector.secret_fields) == makes_fields_itself
