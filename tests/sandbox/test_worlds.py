"""A newcomer can set every connector up against the sandbox, try each of its actions there, and see the effect."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import requests
from pytest_django.fixtures import Settings

from connectors import registry
from connectors.base import ANSWERED_AT, USER_ID, CatalogueField, Connector, Json, Replay, SecretField, Values
from connectors.batches import forward, payload_of
from connectors.forwarders import EXAMPLE
from connectors.http import Api
from connectors.journal import OnlyLooks
from connectors.runner import Result, Work, clean_inputs, follow_up, probe, run
from connectors.sandbox.mail import MailServer
from connectors.sandbox.people import AVA, PEOPLE, Person
from connectors.sandbox.worlds import WORLDS, smtp
from tests.connectors.contract import MemoryJournal
from tests.sandbox.tries import Try
from tests.sandbox_fixture import RunningSandbox

VENDORS = tuple(WORLDS)
TRIED = {key: import_module(f"tests.sandbox.tries.{key}") for key in VENDORS}
TRIES = [(key, one) for key, tried in TRIED.items() for one in tried.TRIES]
GIVES_UP_AFTER = 20
"""Looks at a pending job."""


@pytest.fixture(autouse=True)
def at_the_sandbox(sandbox: RunningSandbox, settings: Settings, tmp_path: Path) -> Iterator[None]:
    """Every connector speaks with the sandbox."""
    mails = MailServer(sandbox.store)
    smtp.listen(sandbox.store, mails.host, mails.port)
    settings.ENGAGE_VENDOR_URLS = sandbox.urls
    settings.ENGAGE_APPLE_ROOT = sandbox.apple_root(tmp_path)
    settings.ENGAGE_PRIVATE_HOSTS = [f"{mails.host}:{mails.port}"]
    yield
    mails.stop()


def set_up(sandbox: RunningSandbox, key: str, **differences: Any) -> tuple[Connector, Values]:
    """Type what the world says into the connection's form, which takes it."""
    connector = registry.connector(key)
    with sandbox.store.transaction():
        form = connector.Settings(data={**WORLDS[key].setup(sandbox.store), **differences})
    assert form.is_valid(), form.errors
    return connector, form.cleaned_data


def traits_of(key: str, person: Person) -> Json:
    """Return what the demo knows of somebody."""
    named = {"first_name": person.first, "last_name": person.last, "email_address": person.email}
    return {**named, **WORLDS[key].traits(person)}


def happened(sandbox: RunningSandbox, key: str) -> list[str]:
    """Return what happened in a vendor's world, oldest first."""
    with sandbox.store.transaction():
        WORLDS[key].state(sandbox.store)  # what is due happens when somebody looks
    return [effect["what"] for effect in sandbox.store.effects(key)]


def told_in_the_log(sandbox: RunningSandbox, key: str, connector: Connector, values: Values) -> list[str]:
    """Return which secrets of the settings stand in the world's log of requests."""
    fields = connector.Settings.base_fields.items()
    secrets = {name: str(values[name]) for name, field in fields if isinstance(field, SecretField) and values[name]}
    logged = str(sandbox.store.requests(key))
    return [name for name, secret in secrets.items() if secret in logged]


def carried_out(sandbox: RunningSandbox, key: str, person: Person, instruction: Json | None) -> Json:
    """Hand an instruction to somebody's device, which can do it; return what the app reports."""
    answer = requests.post(f"{sandbox.urls[key]}/device/{person.user_id}", json=instruction, timeout=5)
    report: Json = answer.json()
    assert report["result"] == "done", report
    detail: Json = report["detail"]
    return detail


def test_every_connector_that_calls_somebody_has_a_world() -> None:
    assert set(WORLDS) == {one.key for one in registry.CONNECTORS if one.needs_connection and one.calls_out}


@pytest.mark.parametrize("key", VENDORS)
def test_every_action_of_a_connector_is_tried(key: str, sandbox: RunningSandbox) -> None:
    connector, values = set_up(sandbox, key)
    tried = {one.action for vendor, one in TRIES if vendor == key}
    assert tried == {action.key for action in {*connector.actions, *connector.actions_of(values)}}


@pytest.mark.parametrize("key", VENDORS)
def test_what_the_page_says_sets_the_connection_up(key: str, sandbox: RunningSandbox) -> None:
    connector, values = set_up(sandbox, key)
    report = probe(connector, values)
    assert report.passed, report.lines


@pytest.mark.parametrize("key", VENDORS)
def test_other_credentials_are_refused(key: str, sandbox: RunningSandbox) -> None:
    connector, values = set_up(sandbox, key)
    unproven = getattr(TRIED[key], "UNPROVEN", ())
    secrets = [
        name
        for name, field in connector.Settings.base_fields.items()
        if isinstance(field, SecretField) and values[name] and name not in unproven
    ]
    if not connector.probe_proves_secrets or not secrets:
        pytest.skip("No read proves these credentials.")
    for name in secrets:
        report = probe(connector, {**values, name: values[name][::-1]})
        assert not report.passed, name


@pytest.mark.parametrize("key", VENDORS)
def test_there_is_something_to_choose(key: str, sandbox: RunningSandbox) -> None:
    connector, values = set_up(sandbox, key)
    offered: dict[str, set[str]] = {}
    for name, catalogue in connector.catalogues.items():
        with Api(connector, values, OnlyLooks(30)) as api:
            offered[name] = {choice.key for choice in catalogue.fetch(api)}
        assert offered[name], name
    for vendor, one in TRIES:
        fields = connector.action(one.action, values).Inputs.base_fields if vendor == key else {}
        for name, field in fields.items():
            if isinstance(field, CatalogueField) and one.inputs.get(name):
                assert one.inputs[name] in offered[field.catalogue], (one.action, name)


@pytest.mark.parametrize(("key", "one"), TRIES, ids=[f"{key}-{one.action}-{one.who.first}" for key, one in TRIES])
def test_an_action_has_its_effect_once(key: str, one: Try, sandbox: RunningSandbox) -> None:
    connector, values = set_up(sandbox, key, **one.settings)
    given = {USER_ID: one.who.user_id, ANSWERED_AT: datetime.now(UTC)}
    action = connector.action(one.action, values)
    work = Work(connector, action, values, traits_of(key, one.who), one.inputs, given=given)
    with Api(connector, values, OnlyLooks(30)) as api:
        assert action.check_inputs(api, clean_inputs(action, one.inputs)) == []
    journal = MemoryJournal()
    outcome = run(work, journal)
    assert outcome.result is one.result, outcome.message
    report = carried_out(sandbox, key, one.who, outcome.instruction) if one.on_device else one.report
    if report is not None:
        assert outcome.instruction is not None
        job = action.claimed(outcome.instruction, dict(report))
        assert job is not None
        outcome = follow_up(work, job, journal)
    sandbox.advance(one.later)
    for _ in range(GIVES_UP_AFTER):
        if outcome.result is not Result.PENDING:
            break
        assert outcome.job is not None
        outcome = follow_up(work, outcome.job, journal)
    assert outcome.result is (Result.HANDED_OVER if outcome.instruction else one.ends), outcome.message
    effects = happened(sandbox, key)
    assert effects.count(one.effect) == 1 if one.effect else not effects, effects
    assert told_in_the_log(sandbox, key, connector, values) == []
    if action.replay is Replay.CHECK:
        assert run(work, MemoryJournal()).result in {one.ends, one.result}
        assert happened(sandbox, key) == effects


@pytest.mark.parametrize("key", [key for key in VENDORS if registry.connector(key).forwarder])
def test_an_event_arrives(key: str, sandbox: RunningSandbox) -> None:
    connector, values = set_up(sandbox, key)
    assert connector.forwarder is not None
    forwarder = connector.forwarder()
    event = replace(EXAMPLE, user_id=AVA.user_id, traits=traits_of(key, AVA))
    payload = payload_of(forwarder, event, values)
    assert isinstance(payload, dict), payload
    outcomes = forward(forwarder, connector, values, [payload], MemoryJournal())
    assert [outcome.result for outcome in outcomes] == [Result.DONE], outcomes
    effects = happened(sandbox, key)
    assert effects.count("event_received") == 1
    assert set(effects) <= {"event_received", "profile_updated"}


@pytest.mark.parametrize(
    ("key", "name"), [(key, name) for key in VENDORS for name in registry.connector(key).pulls], ids=str
)
def test_traits_can_be_read(key: str, name: str, sandbox: RunningSandbox) -> None:
    connector, values = set_up(sandbox, key)
    pull = connector.pulls[name]
    with Api(connector, values, OnlyLooks(30)) as api:
        rows = list(pull.rows(api, None))
    known = {str(value) for person in PEOPLE for value in traits_of(key, person).values()}
    assert known & {row.id for row in rows}, rows
