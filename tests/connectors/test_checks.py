from collections.abc import Callable
from typing import Any

import pytest
from django import forms

from connectors.base import (
    Action,
    Catalogue,
    CatalogueField,
    Category,
    Choice,
    Connector,
    Json,
    ProbeLine,
    Replay,
    SecretField,
    Values,
    account_choice,
    all_of,
    identity,
)
from connectors.checks import declaration, registered_connectors
from connectors.forwarders import Forwarder
from connectors.http import Api
from connectors.registry import CONNECTORS
from tests.connectors.tellers import Hints


def list_nothing(api: Api) -> list[Choice]:
    return []


class Unread(Action):
    """A reading of one person, whose connector does not offer it."""

    key, label = "unread", "Unread"
    replay, replay_proof, needs = Replay.NATURAL, "https://vendor.example/docs", all_of("vendor_id")


def whole() -> tuple[type[Connector], type[Action]]:
    """A declaration without fault (it borrows a logo), new for every test, which breaks one thing of it."""

    class Act(Action):
        key, label = "act", "Act"
        description, check_at = "Acts.", "In the dashboard."
        replay, replay_proof = Replay.NATURAL, "https://vendor.example/docs"

        class Inputs(forms.Form):
            offer = CatalogueField(catalogue="offers", label="Offer")
            note = forms.CharField(label="Note", help_text="Why.")

        def perform(self, api: Api, user: Json, inputs: Values) -> str:
            return "Done"

    class Whole(Connector):
        key, label, category = "cleeng", "Whole", Category.BILLING
        actions = (Act,)
        catalogues = {"offers": Catalogue("Offers", list_nothing)}
        setup_steps = ("Ask for a key.",)

        class Settings(forms.Form):
            account = identity(forms.CharField(label="Account", help_text="Its name."))
            api_key = SecretField(label="API key", help_text="From the dashboard.")

        def base_url(self, settings: Values) -> str:
            return "https://vendor.example"

        def probe(self, api: Api) -> list[ProbeLine]:
            return []

    return Whole, Act


def ids(*connectors: type[Connector]) -> set[str | None]:
    return {problem.id for problem in declaration(connectors)}


def test_every_registered_connector_is_whole() -> None:
    assert [problem for problem in registered_connectors() if problem.is_serious()] == []


def test_a_whole_declaration_is_not_complained_of() -> None:
    assert ids(whole()[0]) == set()


def test_where_no_setting_says_which_account_it_is_a_key_does() -> None:
    told = {
        declared.key: {
            name for name, one in declared.Settings.base_fields.items() if getattr(one, "names_account", False)
        }
        for declared in CONNECTORS
    }

    assert {key: names for key, names in told.items() if names} == {
        "amazon": {"shared_secret"},
        "braze": {"api_key"},
        "cleeng": {"api_key"},
        "mixpanel": {"project_token"},
        "recurly": {"api_key"},
        "roku": {"partner_api_key"},
        "segment": {"write_key"},
        "sendgrid": {"api_key"},
        "stripe": {"api_key"},
        "vindicia": {"api_username"},
    }


def test_two_connectors_do_not_share_a_key() -> None:
    assert ids(whole()[0], whole()[0]) == {"engage.E001"}


def test_two_actions_of_a_connector_do_not_share_a_key() -> None:
    declared, action = whole()
    declared.actions = (action, action)
    assert ids(declared) == {"engage.E012"}


def form(**fields: forms.Field) -> type[forms.Form]:
    return type("Made", (forms.Form,), dict(fields))


HELP: dict[str, Any] = {"label": "A label", "help_text": "A help text."}


class Silent(Hints):
    """Webhooks of which nothing is said."""

    setup_steps, types = (), frozenset()


CONNECTOR_FAULTS: dict[str, tuple[str, Callable[[], Any], set[str]]] = {
    "a key that fits no URL": ("key", lambda: "Not A Key", {"engage.E001", "engage.E005"}),
    "no label": ("label", lambda: "", {"engage.E002"}),
    "no category": ("category", lambda: "billing", {"engage.E002"}),
    "no set-up steps": ("setup_steps", tuple, {"engage.E003"}),
    "no address": ("base_url", lambda: Connector.base_url, {"engage.E004"}),
    "no test": ("probe", lambda: Connector.probe, {"engage.E004"}),
    "no logo": ("key", lambda: "nobody", {"engage.E005"}),
    "a catalogue without label": ("catalogues", lambda: {"offers": Catalogue("", list_nothing)}, {"engage.E006"}),
    "a catalogue that is not declared": ("catalogues", dict, {"engage.E009"}),
    "settings that are no form": ("Settings", lambda: object, {"engage.E007"}),
    "a setting without label": ("Settings", lambda: form(x=forms.CharField(help_text="Help.")), {"engage.E008"}),
    "a setting without help": ("Settings", lambda: form(x=forms.CharField(label="X")), {"engage.W001"}),
    "a secret by its name": ("Settings", lambda: form(api_key=forms.CharField(**HELP)), {"engage.E010"}),
    "a secret by its widget": (
        "Settings",
        lambda: form(x=forms.CharField(widget=forms.PasswordInput, **HELP)),
        {"engage.E010"},
    ),
    "webhooks that nobody is told how to set up": ("inbound", Silent, {"engage.E019", "engage.E020"}),
    "webhooks that nothing makes believable": ("inbound", Hints, {"engage.E020"}),
    "a secret that goes with nothing": (
        "Settings",
        lambda: form(x=SecretField(goes_with="y", names_account=True, **HELP)),
        {"engage.E024"},
    ),
    "secrets of an account that nothing names": ("Settings", lambda: form(x=SecretField(**HELP)), {"engage.E028"}),
    "a region that is taken for an account": (
        "Settings",
        lambda: form(x=SecretField(**HELP), y=account_choice("Region", [("us", "US")], help_text="A help text.")),
        {"engage.E028"},
    ),
    "a reading that is none of its actions": ("reread", lambda: Unread, {"engage.E030", "engage.E031"}),
    "a secret that chooses the account": ("Settings", lambda: form(x=identity(SecretField(**HELP))), {"engage.E011"}),
}

ACTION_FAULTS: dict[str, tuple[str, Callable[[], Any], set[str]]] = {
    "a key that fits no column": ("key", lambda: "No key", {"engage.E012"}),
    "no label": ("label", lambda: "", {"engage.E013"}),
    "no word of what it does": ("description", lambda: "", {"engage.W002"}),
    "nothing that it does": ("perform", lambda: Action.perform, {"engage.E014"}),
    "no reason why it may run again": ("replay", lambda: None, {"engage.E015"}),
    "no proof of that": ("replay_proof", lambda: "", {"engage.E015"}),
    "a key of which nobody knows how long it is kept": ("replay", lambda: Replay.KEY, {"engage.E016"}),
    "a look that is none": ("replay", lambda: Replay.CHECK, {"engage.E017"}),
    "inputs that are no form": ("Inputs", lambda: object, {"engage.E007"}),
    "an input without label": ("Inputs", lambda: form(x=forms.CharField(help_text="Help.")), {"engage.E008"}),
    "a secret among its inputs": ("Inputs", lambda: form(x=SecretField(**HELP)), {"engage.E010"}),
    "a part that its connector has not": ("part", lambda: "Nothing", {"engage.E029"}),
    "an input from the browser that it has not": ("from_browser", lambda: frozenset({"nothing"}), {"engage.E018"}),
}


@pytest.mark.parametrize("fault", CONNECTOR_FAULTS)
def test_a_connector_is_told_of(fault: str) -> None:
    declared, _ = whole()
    name, broken, expected = CONNECTOR_FAULTS[fault]
    setattr(declared, name, broken())
    assert ids(declared) == expected


@pytest.mark.parametrize("fault", ACTION_FAULTS)
def test_an_action_is_told_of(fault: str) -> None:
    declared, action = whole()
    name, broken, expected = ACTION_FAULTS[fault]
    setattr(action, name, broken())
    assert ids(declared) == expected


def test_where_to_look_is_told_where_a_lost_answer_matters() -> None:
    declared, action = whole()
    action.check_at = ""
    assert ids(declared) == set()
    action.replay = Replay.NEVER
    assert ids(declared) == {"engage.W003"}


def test_a_forwarder_that_says_nothing_and_does_nothing_is_told_of() -> None:
    declared, _ = whole()
    limits = {"most_items": 1, "most_bytes": 1, "largest_item": 1}
    said = {"replay": Replay.NEVER, "replay_proof": "Every POST counts.", **limits}
    declared.forwarder = type("Empty", (Forwarder,), said)
    assert ids(declared) == {"engage.E022", "engage.E023"}
