"""A vendor of several parts: what one of them refuses holds its own actions, and no others. Salesforce, in the sandbox."""

from typing import Any

import pytest

from connectors import connections
from connectors.models import Connection, Health
from connectors.sandbox.worlds import salesforce
from engage.audit.models import Entry
from prompts import bindings, executions
from prompts.models import Binding, Execution, PromptEvent, State
from tests import factories
from tests.prompts.conftest import House

pytestmark = pytest.mark.django_db

CASE = {"subject": "Offer accepted", "description": "Say thank you.", "origin": "Web"}
MAIL = {"definition": "stay-thanks"}
SECRETS = {"client_secret": salesforce.SECRET, "mc_client_secret": salesforce.MC_SECRET}


@pytest.fixture
def clouds(house: House) -> Connection:
    with house.sandbox.store.transaction():
        told = dict(salesforce.WORLD.setup(house.sandbox.store))
    settings = {name: value for name, value in told.items() if name not in SECRETS}
    row: Connection = factories.ConnectionFactory(
        app=house.app, connector="salesforce", settings=settings, secrets=SECRETS
    )
    house.subscriber.traits = {"email_address": "ava.stone@example.com"}
    house.subscriber.save()
    house.prompt.limit = "none"
    house.prompt.save()
    return row


def bound(house: House, row: Connection, action: str, inputs: dict[str, Any]) -> Binding:
    fixed = {name: {"from": "fixed", "value": value} for name, value in inputs.items()}
    return house.bind(action, connector="salesforce", connection=row, inputs=fixed, on_error="continue")


def sealed(row: Connection, **secrets: str) -> Connection:
    """Store other secrets, as somebody would who changes them behind our back."""
    row.refresh_from_db()
    row.seal({**SECRETS, **secrets})
    row.save(update_fields=["sealed", "secrets_set"])
    return row


def answered(house: House, **told: str) -> dict[str, Execution]:
    """Let a worker do what is due, and return the executions of a new answer by action."""
    event: PromptEvent = house.report(**told)
    for _ in range(3):
        executions.work("tests")
    return {one.binding.action: one for one in event.executions.select_related("binding") if one.binding}


def test_one_clouds_bad_credentials_do_not_hold_up_the_other(house: House, clouds: Connection) -> None:
    case, mail = bound(house, clouds, "case_create", CASE), bound(house, clouds, "mc_send", MAIL)
    sealed(clouds, mc_client_secret="another-secret")
    factories.SubscriberFactory(app=house.app, user_id="ben", traits=house.subscriber.traits)
    first, second = answered(house), answered(house, user_id="ben")
    clouds.refresh_from_db()

    assert (clouds.health, clouds.attention_parts) == (Health.ATTENTION, ["Marketing Cloud"])
    assert clouds.attention.startswith("Marketing Cloud: ")
    for told in (first, second):
        assert (told["mc_send"].state, told["mc_send"].reason) == (State.HELD, "credentials")
        assert told["case_create"].state == State.DONE, told["case_create"].message
    mail.refresh_from_db()
    assert "Marketing Cloud" in bindings.health(Binding.objects.get(pk=mail.pk))
    assert bindings.health(Binding.objects.get(pk=case.pk)) == ""
    assert Entry.objects.filter(verb="needs attention").count() == 1

    sealed(clouds)
    assert connections.probe_held() == 1
    executions.work("tests")
    assert set(Execution.objects.values_list("state", flat=True)) == {State.DONE}


def test_the_part_that_can_go_on_goes_on_when_the_other_fails_instead(house: House, clouds: Connection) -> None:
    bound(house, clouds, "mc_send", MAIL)
    sealed(clouds, mc_client_secret="another-secret")
    held = answered(house)["mc_send"]
    assert held.state == State.HELD

    sealed(clouds, client_secret="another-secret")
    connections.probe_held()
    clouds.refresh_from_db()
    executions.work("tests")
    held.refresh_from_db()
    assert clouds.attention_parts == ["Service Cloud"]
    assert held.state == State.DONE, "its own cloud takes the credentials again"


def test_both_are_held_where_both_refuse(house: House, clouds: Connection) -> None:
    bound(house, clouds, "mc_send", MAIL)
    bound(house, clouds, "case_create", CASE)
    sealed(clouds, client_secret="another-secret", mc_client_secret="another-secret")
    told = answered(house)
    clouds.refresh_from_db()

    assert clouds.attention_parts == ["Marketing Cloud", "Service Cloud"]
    assert {one.state for one in told.values()} == {State.HELD}
