"""A website action from the answer to the browser's report."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from connectors import scripts
from connectors.models import Connection, Script
from engage import retention
from engage.tenancy.models import App, DeliveryMode
from prompts import decisions, executions, versions
from prompts.models import Execution, PromptEvent, State
from tests import factories
from tests.connectors.test_website_actions import FIRST, SECOND, stored
from tests.prompts.runtime import Caller, browser, event


@pytest.fixture
def row(app: App) -> Connection:
    app.delivery_mode = DeliveryMode.LIVE
    app.save()
    made = stored(app)
    scripts.publish(made, FIRST, by=None)
    prompt = factories.PromptFactory(app=app, key="stay", limit="none")
    plan = {"plan": {"from": "fixed", "value": "gold"}}
    factories.BindingFactory(prompt=prompt, connection=made, connector="website", action="run", inputs=plan)
    versions.publish(prompt, "tests")
    factories.SubscriberFactory(app=app, user_id="mia", traits={"first_name": "Mia", "email": "mia@example.com"})
    return made


@pytest.fixture
def mia(app: App) -> Caller:
    return browser(app, "mia")


def answered(mia: Caller) -> dict[str, Any]:
    """Accept, let the worker work, and ask how it stands."""
    sent = event("stay", "mia")
    mia.post("/events", sent)
    executions.work("w")
    status: dict[str, Any] = mia.get(f"/events/{sent['event_id']}").json()
    return status


def test_the_browser_gets_the_instruction_until_it_has_reported(row: Connection, mia: Caller) -> None:
    status = answered(mia)
    (execution,) = status["executions"]

    assert not status["settled"]
    assert execution["instruction"]["args"] == {"inputs": {"plan": "gold"}, "traits": {"first_name": "Mia"}}
    assert execution["instruction"]["url"] == scripts.url(row.app, scripts.digest(FIRST))

    said = {"result": "done", "detail": {"message": "It is  in\nthe cart"}}
    after = mia.post(f"/executions/{execution['id']}/report", said).json()
    assert after["settled"]
    assert after["outcome"] == "done"
    assert "instruction" not in after["executions"][0]
    assert Execution.objects.get().message == "The app carried it out. It says: It is in the cart"


def test_a_failure_says_why_in_few_words(row: Connection, mia: Caller) -> None:
    (execution,) = answered(mia)["executions"]
    mia.post(f"/executions/{execution['id']}/report", {"result": "failed", "detail": {"reason": "no cart " * 100}})
    found = Execution.objects.get()

    assert found.state == State.REJECTED
    assert found.message.startswith("The app could not do it. It says: no cart no cart")
    assert len(found.message) < 250


def test_one_person_is_not_told_anothers_and_cannot_report_it(row: Connection, mia: Caller, app: App) -> None:
    (execution,) = answered(mia)["executions"]
    other = browser(app, "ann")

    assert other.get(f"/events/{PromptEvent.objects.get().event_id}").status_code == 404
    assert other.post(f"/executions/{execution['id']}/report", {"result": "done"}).status_code == 404
    assert Execution.objects.get().state == State.HANDED_OVER


def test_in_test_mode_only_test_subscribers_are_handed_it(row: Connection, mia: Caller, app: App) -> None:
    app.delivery_mode = DeliveryMode.TEST
    app.save()
    (execution,) = answered(mia)["executions"]

    assert execution["state"] == "not_sent"
    assert "instruction" not in execution


def test_an_answer_finds_its_version_after_another_has_replaced_it(row: Connection, mia: Caller) -> None:
    before = answered(mia)
    row.settings = {**row.settings, "script": SECOND}
    row.save()
    scripts.publish(row, SECOND, by=None)
    after = answered(mia)
    again = mia.get(f"/events/{before['event_id']}").json()
    (first,), (second,) = again["executions"], after["executions"]

    assert first["instruction"] == before["executions"][0]["instruction"]
    assert first["instruction"]["url"] != second["instruction"]["url"]
    for instruction, text in ((first["instruction"], FIRST), (second["instruction"], SECOND)):
        path = instruction["url"].split("/", 3)[3]
        assert Client().get(f"/{path}").content == text.encode()


def test_a_replaced_version_goes_when_nothing_can_hand_it_over_any_more(row: Connection) -> None:
    scripts.publish(row, SECOND, by=None)
    Script.objects.filter(replaced_at=None).update(published_at=timezone.now() - timedelta(days=5000))
    almost = timezone.now() + timedelta(days=6)
    retention.purge(almost, seconds=60, pause=0)
    assert Script.objects.count() == 2

    retention.purge(timezone.now() + timedelta(days=5000), seconds=60, pause=0)
    assert [script.text for script in Script.objects.all()] == [SECOND]


def test_what_the_browser_could_not_do_can_be_handed_to_it_again(row: Connection, mia: Caller) -> None:
    sent = event("stay", "mia")
    mia.post("/events", sent)
    executions.work("w")
    execution = Execution.objects.get()
    mia.post(f"/executions/{execution.pk}/report", {"result": "failed"})
    decisions.run_again(Execution.objects.get(), by="ann@example.com")
    executions.work("w")

    (shown,) = mia.get(f"/events/{sent['event_id']}").json()["executions"]
    assert (shown["state"], shown["instruction"] is not None) == ("handed_over", True)
    after = mia.post(f"/executions/{execution.pk}/report", {"result": "done"}).json()
    assert after["outcome"] == "done"
