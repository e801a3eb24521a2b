"""The vocabulary's own behaviour, and what every registered declaration owes."""

import importlib
from datetime import timedelta

import pytest
from django import forms

from connectors.base import Action, CatalogueField, Connector, Replay, SecretField, all_of, one_of
from connectors.failures import Missing
from connectors.registry import CONNECTORS
from tests.connectors.contract import ActionContract, Scenario


def scenarios_of(declared: type[Connector]) -> list[Scenario]:
    """Return the scenarios in the connector's own test module."""
    module = importlib.import_module(f"tests.connectors.vendors.test_{declared.key}")
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, ActionContract)]
    return [case.scenario for case in found if case is not ActionContract]


@pytest.mark.parametrize("declared", CONNECTORS, ids=lambda declared: declared.key)
def test_every_action_is_held_to_the_contract(declared: type[Connector]) -> None:
    assert {case.action for case in scenarios_of(declared)} == set(declared.actions)


@pytest.mark.parametrize("declared", CONNECTORS, ids=lambda declared: declared.key)
def test_every_scenario_can_show_a_leak_and_what_a_repeat_does(declared: type[Connector]) -> None:
    """A scenario without a planted secret, or without the look after the effect, would prove less than it seems to."""
    secrets = {name for name, field in declared.Settings.base_fields.items() if isinstance(field, SecretField)}
    for case in scenarios_of(declared):
        assert all(len(case.settings[name]) >= 6 for name in secrets)
        assert bool(case.looks and case.looks_done) is (case.action.replay is Replay.CHECK)
        assert all(call.kind == "read" for call in (*case.calls[: case.looks], *case.looks_done, *case.probe))
        assert bool(case.probe) is declared.needs_connection


class TestNeeds:
    def test_one_of_each_group_is_enough_and_nothing_else_is_given(self) -> None:
        needs = one_of("a", "b") & all_of("c")
        assert needs.pick({"b": 1, "c": "x", "secret": "y"}) == {"b": 1, "c": "x"}
        assert needs.traits == ("a", "b", "c")
        assert needs.in_words == "a or b, and c"

    @pytest.mark.parametrize("empty", ["", None])
    def test_an_empty_trait_is_none(self, empty: str | None) -> None:
        with pytest.raises(Missing, match="No a or b is known"):
            one_of("a", "b").pick({"a": empty})

    def test_zero_and_false_are_values(self) -> None:
        assert all_of("a", "b").pick({"a": 0, "b": False}) == {"a": 0, "b": False}


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
