"""Live and an execution's page in a real browser: they keep themselves up to date, and a decision is made by keyboard."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from engage.tenancy.models import App
from prompts.models import Execution, State
from tests import factories

pytestmark = pytest.mark.browser
SOON = 15_000  # the page asks every four seconds


@pytest.fixture
def execution(app: App) -> Execution:
    """One that is under way."""
    prompt = factories.PromptFactory(app=app, name="Stay")
    at = timezone.now() - timedelta(minutes=1)
    subscriber = factories.SubscriberFactory(app=app, user_id="ann")
    event = factories.EventFactory(prompt=prompt, subscriber=subscriber, received_at=at)
    made: Execution = factories.ExecutionFactory(
        binding__prompt=prompt, event=event, state=State.RUNNING, created_at=at
    )
    return made


def another_answer(execution: Execution, user_id: str) -> None:
    subscriber = factories.SubscriberFactory(app=execution.app, user_id=user_id)
    event = factories.EventFactory(prompt=execution.event.prompt, subscriber=subscriber)
    factories.ExecutionFactory(binding=execution.binding, event=event, state=State.DONE)


def becomes(execution: Execution, state: State, message: str, **fields: Any) -> None:
    Execution.objects.filter(pk=execution.pk).update(state=state, message=message, **fields)


def test_new_rows_wait_behind_a_button_and_open_ones_change_in_place(
    page: Page, live_server: LiveServer, execution: Execution
) -> None:
    page.goto(f"{live_server.url}/console/prompts/execution/")
    rows = page.locator("tr[data-key]")
    expect(rows).to_have_count(1)
    becomes(execution, State.DONE, "SAVE20 is on subscription 1.", settled_at=timezone.now())
    expect(rows.first).to_contain_text("SAVE20 is on subscription 1.", timeout=SOON)
    another_answer(execution, "bob")
    button = page.get_by_role("button", name="1 new")
    expect(button).to_be_visible(timeout=SOON)
    expect(rows).to_have_count(1)
    button.click()
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("bob")
    expect(button).to_be_hidden()


def test_paused_nothing_is_asked_for(page: Page, live_server: LiveServer, execution: Execution) -> None:
    page.goto(f"{live_server.url}/console/prompts/execution/")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused.")).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/news/" in request.url else None)
    page.wait_for_timeout(5000)
    assert asked == []
    page.get_by_role("button", name="Go on").click()
    another_answer(execution, "bob")
    expect(page.get_by_role("button", name="1 new")).to_be_visible(timeout=SOON)


def test_an_empty_page_fills_by_itself(
    page: Page, live_server: LiveServer, app: App, request: pytest.FixtureRequest
) -> None:
    page.goto(f"{live_server.url}/console/prompts/execution/")
    expect(page.get_by_text("No answer has come in yet.")).to_be_visible()
    request.getfixturevalue("execution")
    expect(page.locator("tr[data-key]")).to_have_count(1, timeout=SOON)


def test_times_are_the_viewers_with_the_apps_on_hover(
    page: Page, live_server: LiveServer, app: App, execution: Execution
) -> None:
    app.time_zone = "Asia/Tokyo"
    app.save()
    page.goto(f"{live_server.url}/console/prompts/execution/")
    time = page.locator("tr[data-key] time")
    at = execution.event.received_at
    new_york = page.evaluate("at => new Date(at).toLocaleTimeString(undefined, {timeStyle: 'medium'})", at.isoformat())
    expect(time).to_contain_text(new_york)
    expect(time).to_have_attribute("title", re.compile(r"\(Asia/Tokyo\)$"))


def test_an_execution_is_decided_by_keyboard_once_the_page_says_that_it_needs_checking(
    page: Page, live_server: LiveServer, execution: Execution
) -> None:
    page.goto(f"{live_server.url}/console/prompts/execution/{execution.pk}/")
    expect(page.get_by_role("button", name="It happened")).to_have_count(0)
    becomes(execution, State.UNCERTAIN, "Cleeng did not answer. It may have happened.")
    expect(page.get_by_role("button", name="It happened")).to_be_visible(timeout=SOON)
    page.get_by_role("button", name="It happened").press("Enter")
    dialog = page.get_by_role("dialog", name="It happened?")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_label("How do you know?")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="It happened").press("Enter")
    page.keyboard.type("The coupon is on the subscription.")
    # While the dialog is open nothing is taken from under the person's hands.
    Execution.objects.filter(pk=execution.pk).update(polls=7)
    page.wait_for_timeout(5000)
    expect(dialog.get_by_label("How do you know?")).to_have_value("The coupon is on the subscription.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Recorded as done.")).to_be_visible()
    assert Execution.objects.get(pk=execution.pk).state == State.DONE


@pytest.mark.parametrize("path", ["", "refused/"])
def test_a_phone_needs_no_sideways_scrolling(
    page: Page, live_server: LiveServer, execution: Execution, path: str
) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{live_server.url}/console/prompts/execution/{path}")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
