"""engage.js in a real browser: what a person sees, and what the server is told, once."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import BrowserContext, Page, Route, expect
from pytest_django.live_server_helper import LiveServer

from engage.tenancy.models import App, DeliveryMode, KeyKind
from prompts.models import Execution, PromptEvent, State
from tests.prompts.runtime import Caller, prompt, redirecting

pytestmark = pytest.mark.browser
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'"
MARKUP = """<!doctype html><html lang="en"><title>An app</title><body>
<button id="before">Play</button>
<script src="/static/engage.js" data-key="{key}" data-identity="{identity}" defer></script></body></html>"""


@pytest.fixture
def site(live_server: LiveServer, app: App) -> Caller:
    """A page of an app, for the person "mia", served below /app/ under a strict policy."""
    app.delivery_mode = DeliveryMode.LIVE
    app.save()
    return Caller(app, KeyKind.PUBLISHABLE, "mia")


@pytest.fixture
def context(chromium: Any, live_server: LiveServer, site: Caller) -> Iterator[BrowserContext]:
    made: BrowserContext = chromium.new_context(reduced_motion="reduce")
    made.set_default_timeout(10_000)

    def page_of_the_app(route: Route) -> None:
        body = MARKUP.format(key=site.token, identity=site.identity)
        route.fulfill(body=body, content_type="text/html", headers={"Content-Security-Policy": POLICY})

    made.route(f"{live_server.url}/app/**", page_of_the_app)
    made.route("https://example.com/**", lambda route: route.fulfill(body="Thanks", content_type="text/html"))
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None)
    yield opened
    assert wrong == []


@pytest.fixture
def open_app(page: Page, live_server: LiveServer) -> Callable[[], None]:
    def go() -> None:
        page.goto(f"{live_server.url}/app/")

    return go


def answers() -> list[str]:
    connection.close()  # a new look, beside the server's threads
    return list(
        PromptEvent.objects.exclude(interaction="impression").order_by("pk").values_list("interaction", flat=True)
    )


def soon(look: Callable[[], Any], expected: Any) -> None:
    """Assert that `look()` becomes `expected` within ten seconds."""
    ends = time.monotonic() + 10
    while look() != expected and time.monotonic() < ends:
        time.sleep(0.05)
    assert look() == expected


def settle(state: State = State.DONE) -> None:
    """Be the worker."""
    ends = time.monotonic() + 10
    while not Execution.objects.update(state=state) and time.monotonic() < ends:
        time.sleep(0.05)


def test_a_popup_is_accepted_once(app: App, page: Page, open_app: Callable[[], None]) -> None:
    prompt(
        app,
        key="offer",
        title="Stay, {{ name|you }}",
        message="Please <b>do</b>",
        accept_label="Yes",
        decline_label="No",
    )
    open_app()
    dialog = page.get_by_role("dialog", name="Stay, you")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("Please <b>do</b>")  # text, never markup
    page.get_by_role("button", name="Yes").dblclick()
    expect(page.get_by_role("status")).to_have_text("Done. Thank you!")
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    soon(answers, ["accept"])
    assert PromptEvent.objects.filter(interaction="impression").count() == 1
    assert PromptEvent.objects.first().subscriber.user_id == "mia"  # type: ignore[union-attr]


def test_nothing_is_accepted_by_a_key_pressed_by_chance(app: App, page: Page, open_app: Callable[[], None]) -> None:
    prompt(app, key="offer", title="Stay")
    open_app()
    expect(page.get_by_role("dialog", name="Stay")).to_be_visible()
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    expect(page.get_by_role("dialog", name="Stay")).to_be_visible()
    assert answers() == []


@pytest.mark.parametrize("kind", ["popup", "notification", "banner"])
def test_escape_dismisses_and_the_focus_returns(app: App, page: Page, open_app: Callable[[], None], kind: str) -> None:
    prompt(app, key="offer", title="Stay", type=kind)
    page.add_init_script("addEventListener('DOMContentLoaded', () => document.getElementById('before').focus())")
    open_app()
    expect(page.get_by_role("dialog", name="Stay")).to_be_visible()
    if kind != "popup":
        page.get_by_role("button", name="Yes, please").focus()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.evaluate("document.activeElement.id") == "before"
    soon(answers, ["dismiss"])


def test_the_focus_stays_in_a_popup(app: App, page: Page, open_app: Callable[[], None]) -> None:
    prompt(app, key="offer", title="Stay", decline_label="No")
    open_app()
    expect(page.get_by_role("dialog", name="Stay")).to_be_visible()
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") != "before"


def test_a_prompt_that_nobody_answers_times_out(app: App, page: Page, open_app: Callable[[], None]) -> None:
    prompt(app, key="offer", title="Stay", type="banner", timeout_seconds=1)
    open_app()
    expect(page.get_by_role("dialog", name="Stay")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    soon(answers, ["timeout"])


def test_what_is_typed_is_checked_and_sent(app: App, page: Page, open_app: Callable[[], None]) -> None:
    fields = [
        {"name": "mail", "label": "Your e-mail", "type": "email", "required": True, "choices": []},
        {"name": "why", "label": "Why", "type": "choice", "required": False, "choices": ["Price", "Time"]},
    ]
    prompt(app, key="offer", title="Stay", inputs=fields)
    open_app()
    page.get_by_role("button", name="Yes, please").click()
    mail = page.get_by_label("Your e-mail")
    expect(mail).to_be_focused()
    expect(mail).to_have_attribute("aria-invalid", "true")
    assert answers() == []
    mail.fill("mia@example.com")
    page.get_by_label("Why").select_option("Time")
    page.get_by_role("button", name="Yes, please").click()
    soon(answers, ["accept"])
    assert PromptEvent.objects.get(interaction="accept").inputs == {"mail": "mia@example.com", "why": "Time"}


def test_an_open_answer_is_followed_to_its_end(app: App, page: Page, open_app: Callable[[], None]) -> None:
    redirecting(app, key="offer", title="Stay")
    page.add_init_script(
        "window.heard = []; document.addEventListener('engage:settled', (e) => heard.push(e.detail.outcome))"
    )
    page.route("**/api/v1/events", lambda route: route.continue_(post_data=_at_once(route)))
    open_app()
    page.get_by_role("button", name="Yes, please").click()
    expect(page.get_by_role("status")).to_contain_text("Thank you. This will take effect shortly.")
    expect(page.get_by_role("status")).to_contain_text(PromptEvent.objects.get(interaction="accept").reference)
    settle()
    expect(page.get_by_role("status")).to_have_text("Done. Thank you!")
    assert page.evaluate("heard") == ["done"]


def _at_once(route: Route) -> str:
    """Return the event without its wish to wait."""
    import json

    return json.dumps({**(route.request.post_data_json or {}), "wait": 0})


def test_what_was_not_possible_is_said_with_a_reference(app: App, page: Page, open_app: Callable[[], None]) -> None:
    redirecting(app, key="offer", title="Stay", text_not_possible="That did not work.")
    open_app()
    page.get_by_role("button", name="Yes, please").click()
    settle(State.REJECTED)
    expect(page.get_by_role("status")).to_contain_text("That did not work.")
    expect(page.get_by_role("status")).to_contain_text(PromptEvent.objects.get(interaction="accept").reference)


@pytest.mark.parametrize(
    ("url", "ends_at", "result"),
    [("https://example.com/thanks", "https://example.com/thanks", "done"), ("javascript:alert(1)", "/app/", "failed")],
)
def test_a_redirect_is_followed_to_web_addresses_only(
    app: App, page: Page, open_app: Callable[[], None], url: str, ends_at: str, result: str
) -> None:
    redirecting(app, key="offer", title="Stay", url=url)
    open_app()
    page.get_by_role("button", name="Yes, please").click()
    soon(answers, ["accept"])
    Execution.objects.update(state=State.HANDED_OVER, instruction={"kind": "redirect", "url": url}, due_at=None)
    soon(lambda: (Execution.objects.get().report or {}).get("result"), result)
    page.wait_for_url(f"**{ends_at}")


def test_other_instructions_are_the_pages_to_carry_out(app: App, page: Page, open_app: Callable[[], None]) -> None:
    redirecting(app, key="offer", title="Stay")
    page.add_init_script(
        "document.addEventListener('engage:instruction', (e) => e.detail.report('done', { sku: e.detail.instruction.sku }))"
    )
    open_app()
    page.get_by_role("button", name="Yes, please").click()
    soon(answers, ["accept"])
    Execution.objects.update(state=State.HANDED_OVER, instruction={"kind": "purchase", "sku": "gold"}, due_at=None)
    soon(lambda: Execution.objects.get().report, {"result": "done", "detail": {"sku": "gold"}})


def test_an_answer_survives_the_tab_that_closes(app: App, page: Page, open_app: Callable[[], None]) -> None:
    redirecting(app, key="offer", title="Stay")
    open_app()
    page.get_by_role("button", name="Yes, please").click()
    page.goto("about:blank")
    soon(answers, ["accept"])
    assert Execution.objects.count() == 1


def test_an_answer_given_offline_is_sent_later_once(
    app: App, page: Page, context: BrowserContext, open_app: Callable[[], None]
) -> None:
    prompt(app, key="offer", title="Stay")
    open_app()
    expect(page.get_by_role("dialog", name="Stay")).to_be_visible()
    context.set_offline(True)
    page.get_by_role("button", name="Yes, please").click()
    expect(page.get_by_role("status")).to_contain_text("Your answer is kept")
    assert answers() == []
    context.set_offline(False)
    expect(page.get_by_role("status")).to_have_text("Done. Thank you!")
    soon(answers, ["accept"])


def test_an_answer_that_did_not_get_through_leaves_with_the_tab(
    app: App, page: Page, open_app: Callable[[], None]
) -> None:
    prompt(app, key="offer", title="Stay")
    page.add_init_script(
        "window.fetch = new Proxy(fetch, { apply: (real, self, [url, options]) => "
        "options.method === 'POST' ? Promise.reject(new Error()) : real.call(self, url, options) })"
    )
    open_app()
    page.get_by_role("button", name="Yes, please").click()
    expect(page.get_by_role("status")).to_contain_text("Your answer is kept")
    assert answers() == []
    page.goto("about:blank")
    soon(answers, ["accept"])


def test_an_answer_that_was_never_confirmed_is_sent_by_the_next_page(
    app: App, page: Page, context: BrowserContext, open_app: Callable[[], None]
) -> None:
    prompt(app, key="offer", title="Stay")
    page.add_init_script("navigator.sendBeacon = () => false")
    open_app()
    expect(page.get_by_role("dialog", name="Stay")).to_be_visible()
    context.route("**/api/v1/events", lambda route: route.abort())
    page.get_by_role("button", name="Yes, please").click()
    expect(page.get_by_role("status")).to_contain_text("Your answer is kept")
    page.goto("about:blank")
    context.unroute("**/api/v1/events")
    assert answers() == []
    open_app()
    soon(answers, ["accept"])


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_with_the_same_id(
    app: App, page: Page, open_app: Callable[[], None], status: int
) -> None:
    prompt(app, key="offer", title="Stay")
    ids: list[str] = []

    def busy_at_first(route: Route) -> None:
        event = route.request.post_data_json or {}
        if event["interaction"] != "accept":
            return route.continue_()
        ids.append(event["event_id"])
        if len(ids) > 1:
            return route.continue_()
        return route.fulfill(status=status, json={"error": {}}, headers={"Retry-After": "1"})

    page.route("**/api/v1/events", busy_at_first)
    open_app()
    page.get_by_role("button", name="Yes, please").click()
    expect(page.get_by_role("status")).to_have_text("Done. Thank you!")
    assert len(ids) == 2
    assert len(set(ids)) == 1
    assert answers() == ["accept"]


def test_two_tabs_show_a_prompt_once(
    app: App, page: Page, context: BrowserContext, live_server: LiveServer, open_app: Callable[[], None]
) -> None:
    prompt(app, key="offer", title="Stay")
    open_app()
    expect(page.get_by_role("dialog", name="Stay")).to_be_visible()
    second = context.new_page()
    with second.expect_response("**/api/v1/prompts*"):
        second.goto(f"{live_server.url}/app/")
    second.wait_for_timeout(300)
    expect(second.get_by_role("dialog")).to_have_count(0)


def test_a_narrow_screen_shows_everything(app: App, page: Page, open_app: Callable[[], None]) -> None:
    page.set_viewport_size({"width": 360, "height": 640})
    prompt(app, key="offer", title="Stay " * 20, message="word " * 200, secondary_label="Later", decline_label="No")
    open_app()
    for name in ("Yes, please", "Later", "No", "Close"):
        button = page.get_by_role("button", name=name, exact=True)
        button.scroll_into_view_if_needed()
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 44
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
