"""An input that the person types: chosen in the Actions panel, taken from the answer, sent to the vendor."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from connectors.models import CatalogueEntry
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from prompts import bindings, events, executions
from prompts.models import Execution, Prompt, State
from tests import factories
from tests.connectors.fake_vendor import NOTHING, Call, FakeVendor, Heard, fake_vendor
from tests.prompts.conftest import live_app

__all__ = ["live_app"]

pytestmark = pytest.mark.django_db

Console = Callable[[Role], Client]
FRIEND = {"name": "friend", "label": "Your friend's address", "type": "email", "required": True, "choices": []}
TYPED = {
    "source-email": "input:friend",
    "input-template": "d-1",
    "on_error": "stop",
    "daily_limit": "1000",
    "max_age_hours": "72",
}
GOOD = {"id": "d-1", "name": "Invitation", "generation": "dynamic", "versions": [{"active": 1}]}


@pytest.fixture
def vendor(settings: Settings) -> Iterator[FakeVendor]:
    """A SendGrid that knows one template and accepts every mail."""

    def answer(heard: Heard) -> Call | None:
        if heard.method == "GET":
            return Call("GET", heard.path, GOOD)
        return Call("POST", heard.path, NOTHING, status=202, answer_headers={"X-Message-Id": "msg-1"})

    with fake_vendor() as running:
        running.by_shape = answer
        settings.ENGAGE_VENDOR_URLS = {"sendgrid": running.url}
        yield running


@pytest.fixture
def prompt(live_app: App, vendor: FakeVendor) -> Prompt:
    """A prompt that asks for a friend's address, in an App that is connected with SendGrid."""
    connection = factories.ConnectionFactory(
        app=live_app,
        connector="sendgrid",
        settings={"region": "global", "from_email": "hello@streamly.example"},
        secrets={"api_key": "SG.key-of-the-tests-0123456789"},
    )
    CatalogueEntry.objects.create(connection=connection, catalogue="templates", key="d-1", label="Invitation")
    factories.TraitFactory(app=live_app, name="partner_email")
    made: Prompt = factories.PromptFactory(app=live_app, key="invite", inputs=[FRIEND])
    return made


def dialog(prompt: Prompt) -> str:
    return reverse("admin:prompts_prompt_actions_add", args=[prompt.pk, "sendgrid", "send_template_to"])


def answered(prompt: Prompt, **inputs: Any) -> Execution:
    """Report an acceptance with what the person typed, and carry it out."""
    prompt.refresh_from_db()
    report = events.Report(uuid4(), prompt.key, "accept", "ann", inputs=inputs)
    event = events.record(prompt.app, report).event
    executions.work("tests")
    return event.executions.get()


def test_the_dialog_offers_what_the_person_enters_and_traits(prompt: Prompt, console: Console) -> None:
    shown = console(Role.APP_MEMBER).get(dialog(prompt)).content.decode()
    assert 'name="source-email"' in shown
    assert '<option value="input:friend">Your friend&#x27;s address</option>' in shown
    assert '<option value="trait:partner_email">partner_email</option>' in shown
    assert 'name="source-template"' not in shown


def test_a_typed_address_goes_the_whole_way(prompt: Prompt, console: Console, vendor: FakeVendor) -> None:
    client = console(Role.APP_MEMBER)
    assert client.post(dialog(prompt), TYPED).status_code == 302
    binding = prompt.bindings.get()
    assert binding.inputs["email"] == {"from": "input", "name": "friend"}
    assert binding.problem == ""
    panel = client.get(reverse("admin:prompts_prompt_actions", args=[prompt.pk])).content.decode()
    assert "what the person enters as “friend”" in panel
    edit = client.get(reverse("admin:prompts_prompt_action_edit", args=[prompt.pk, binding.pk])).content.decode()
    assert '<option value="input:friend" selected>' in edit

    execution = answered(prompt, friend="ben@example.org")
    assert (execution.state, execution.message) == (
        State.DONE,
        "SendGrid accepted the mail to ben@example.org as msg-1",
    )
    assert vendor.heard[-1].body["personalizations"] == [{"to": [{"email": "ben@example.org"}]}]


def test_a_trait_goes_the_whole_way(prompt: Prompt, console: Console, vendor: FakeVendor) -> None:
    factories.SubscriberFactory(app=prompt.app, user_id="ann", traits={"partner_email": "cat@example.org"})
    prompt.inputs = []
    prompt.save()
    assert (
        console(Role.APP_MEMBER).post(dialog(prompt), {**TYPED, "source-email": "trait:partner_email"}).status_code
        == 302
    )
    assert answered(prompt).state == State.DONE
    assert vendor.heard[-1].body["personalizations"] == [{"to": [{"email": "cat@example.org"}]}]


def test_what_is_no_address_is_not_taken(prompt: Prompt, console: Console, vendor: FakeVendor) -> None:
    assert console(Role.APP_MEMBER).post(dialog(prompt), TYPED).status_code == 302
    with pytest.raises(events.BadInputs):
        answered(prompt, friend="ben@")
    # A prompt may ask for it as a text: then the action's own form is the judge.
    prompt.inputs = [{**FRIEND, "type": "text", "required": False}]
    prompt.save()
    assert answered(prompt, friend="ben@").state == State.REJECTED
    skipped = answered(prompt)
    assert (skipped.state, skipped.message) == (State.SKIPPED, "The answer came without “friend”.")
    assert [heard.method for heard in vendor.heard] == ["GET"]


@pytest.mark.parametrize("source", ["input:other", "trait:secret", "input:", "everywhere"])
def test_another_source_is_refused_and_said(prompt: Prompt, console: Console, source: str) -> None:
    answer = console(Role.APP_MEMBER).post(dialog(prompt), {**TYPED, "source-email": source, "input-email": "a@b.com"})
    assert answer.status_code == 422
    shown = answer.content.decode()
    assert "This value cannot come from there. Choose again." in shown
    assert "Not saved yet." in shown
    assert not prompt.bindings.exists()


def test_a_question_that_the_prompt_no_longer_asks_is_a_problem(prompt: Prompt, console: Console) -> None:
    console(Role.APP_MEMBER).post(dialog(prompt), TYPED)
    binding = prompt.bindings.get()
    assert bindings.problems(binding, {**bindings.entries_of([binding])}) == []
    prompt.inputs = []
    prompt.save()
    binding = prompt.bindings.get()
    assert bindings.problems(binding, bindings.entries_of([binding])) == [
        "The prompt does not ask for “friend” any more, so “E-mail address” stays empty."
    ]
