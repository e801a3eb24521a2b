"""An API action from the Actions panel to the endpoint and back."""

import json

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings
from pytest_httpserver import HTTPServer

from connectors.models import Connection
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from prompts import events, executions
from prompts.models import Binding, EventSource, Execution, PromptVersion, State
from tests.connectors.test_api_pages import Console
from tests.connectors.vendors.test_api import TOKEN, stored
from tests.factories import ConnectionFactory, PromptFactory, SubscriberFactory


@pytest.fixture
def designer(console: Console) -> Client:
    return console(Role.APP_MEMBER)


@pytest.fixture
def url(httpserver: HTTPServer, settings: Settings) -> str:
    settings.ENGAGE_PRIVATE_HOSTS = [f"{httpserver.host}:{httpserver.port}"]
    httpserver.expect_request("/grants/c7").respond_with_json({"ok": True})
    httpserver.expect_request("/refuses").respond_with_json({}, status=401)
    return httpserver.url_for("").rstrip("/")


def api_action(app: App, name: str, url: str, **changes: str) -> Connection:
    told = stored(name=name, url=url, **changes)
    secrets = {key: told.pop(key) for key in list(told) if key.startswith("secret.")}
    made: Connection = ConnectionFactory(app=app, connector="api", name=name, settings=told, secrets=secrets)
    return made


def test_each_is_offered_added_and_carried_out_by_itself(
    designer: Client, app: App, url: str, httpserver: HTTPServer
) -> None:
    grant = api_action(app, "Grant premium", f"{url}/grants/%customer_id%")
    api_action(app, "Close account", f"{url}/closed", inputs="", body="{}")
    prompt = PromptFactory(app=app)
    choose = designer.get(reverse("admin:prompts_prompt_actions_choose", args=[prompt.pk])).content.decode()
    add = reverse("admin:prompts_prompt_actions_add", args=[prompt.pk, "api", "call"])

    assert "Grant premium" in choose
    assert "Close account" in choose
    assert f"connection={grant.pk}" in choose
    assert designer.get(add).status_code == 404

    form = {"on_error": "stop", "daily_limit": "10", "max_age_hours": "72", "input-plan": "gold", "input-days": ""}
    response = designer.post(f"{add}?lane=accept&connection={grant.pk}", form)
    assert response.status_code == 302, response.content.decode()
    binding = Binding.objects.get(prompt=prompt)
    assert binding.connection == grant

    panel = designer.get(reverse("admin:prompts_prompt_actions", args=[prompt.pk])).content.decode()
    assert "Grant premium" in panel
    assert PromptVersion.objects.filter(prompt=prompt).exists()

    person = SubscriberFactory(app=app, user_id="u-1", traits={"customer_id": "c7", "age": 41}, is_test=True)
    _, execution = events.record_direct(
        app, "api", "call", grant, person.user_id, {"plan": "gold"}, source=EventSource.CONSOLE, reported_by="x"
    )
    executions.work("w")
    execution.refresh_from_db()
    (request, _) = httpserver.log[0]

    assert execution.state == State.DONE
    assert json.loads(request.get_data()) == {"plan": "gold", "age": 41, "note": "for somebody"}
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in json.dumps(execution.steps)


def test_refused_secrets_hold_it_until_a_person_says_so(app: App, url: str) -> None:
    refuses = api_action(app, "Grant premium", f"{url}/refuses", body="{}", inputs="")
    SubscriberFactory(app=app, user_id="u-1", traits={})
    events.record_direct(app, "api", "call", refuses, "u-1", {}, source=EventSource.CONSOLE, reported_by="x")
    executions.work("w")

    assert Execution.objects.get().state == State.HELD
    refuses.refresh_from_db()
    assert refuses.health == "attention"
