"""engage.js in a real browser: what a person sees, and what the server is told, once."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, cast

import pytest
from django.db import connection
from django.utils import timezone
from playwright.sync_api import BrowserContext, Page, Route, expect
from pytest_django.live_server_helper import LiveServer

from engage.tenancy.models import App, DeliveryMode, KeyKind
from prompts.models import Execution, PromptEvent, State
from tests.prompts.runtime import Caller, prompt, redirecting
from tests.waiting import becomes, until

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


def settle(state: State = State.DONE) -> None:
    """Be the worker."""
    until(lambda: Execution.objects.update(state=state))


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
    becomes(answers, ["accept"])
    assert PromptEvent.objects.filter(interaction="impression").count() == 1
    assert PromptEvent.objects.first().subscriber.user_id == "mia"  # type: ignore[union-attr]


def contexts() -> list[dict[str, Any]]:
    connection.close()  # a new look, beside the server's threads
    # What was shown and what was pressed go out one beside the other: the impression is named first, whichever came first.
    return list(PromptEvent.objects.order_by("-interaction").values_list("context", flat=True))


def test_the_ids_of_google_analytics_go_with_an_event(
    app: App, context: BrowserContext, live_server: LiveServer, open_app: Callable[[], None]
) -> None:
    cookies = {"_ga": "GA1.1.1234567890.1700000000", "_ga_ABC123": "GS2.1.s1700000123$o1$g0$t1700000123", "_gat": "1"}
    context.add_cookies([{"name": name, "value": value, "url": live_server.url} for name, value in cookies.items()])
    prompt(app, key="offer", title="Stay")
    open_app()
    measured = {"path": "/app/", "ga_client_id": "1234567890.1700000000", "ga_session_id": "1700000123"}
    becomes(contexts, [measured])


def test_a_page_adds_what_it_knows_and_can_lose_no_event_by_it(
    app: App, site: Caller, page: Page, open_app: Callable[[], None]
) -> None:
    # The page's own script has asked before there is a prompt: otherwise it might show it, without what the page adds below.
    with page.expect_response(lambda answer: "/api/v1/prompts" in answer.url):
        open_app()
    prompt(app, key="offer", title="Stay", accept_label="Yes")
    page.evaluate(
        """([key, identity]) => { let asked = 0; Engage.init({ key, identity, context: () => {
          if (asked++) throw new Error("oops");
          return { shelf: "sports", seats: 2, member: true, odd: {}, none: null, long: "x".repeat(3000) };
        } }); }""",
        [site.token, site.identity],
    )
    page.get_by_role("button", name="Yes").click()
    own = {"shelf": "sports", "seats": 2, "member": True, "long": "x" * 2000}
    becomes(contexts, [{"path": "/app/", **own}, {"path": "/app/"}])


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
    becomes(answers, ["dismiss"])


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
    becomes(answers, ["timeout"])


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
    becomes(answers, ["accept"])
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
    becomes(answers, ["accept"])
    Execution.objects.update(state=State.HANDED_OVER, instruction={"kind": "redirect", "url": url}, due_at=None)
    becomes(lambda: (Execution.objects.get().report or {}).get("result"), result)
    page.wait_for_url(f"**{ends_at}")


def test_other_instructions_are_the_pages_to_carry_out(app: App, page: Page, open_app: Callable[[], None]) -> None:
    redirecting(app, key="offer", title="Stay")
    page.add_init_script(
        "document.addEventListener('engage:instruction', (e) => e.detail.report('done', { sku: e.detail.instruction.sku }))"
    )
    open_app()
    page.get_by_role("button", name="Yes, please").click()
    becomes(answers, ["accept"])
    Execution.objects.update(state=State.HANDED_OVER, instruction={"kind": "purchase", "sku": "gold"}, due_at=None)
    becomes(lambda: Execution.objects.get().report, {"result": "done", "detail": {"sku": "gold"}})


def test_an_answer_survives_the_tab_that_closes(app: App, page: Page, open_app: Callable[[], None]) -> None:
    redirecting(app, key="offer", title="Stay")
    open_app()
    page.get_by_role("button", name="Yes, please").click()
    page.goto("about:blank")
    becomes(answers, ["accept"])
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
    becomes(answers, ["accept"])


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
    becomes(answers, ["accept"])


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
    becomes(answers, ["accept"])


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


# --- what the page does itself ------------------------------------------------------------------------------------------

CART: dict[str, Any] = {
    "kind": "cart",
    "hosts": ["store.example.com"],
    "ajax": {"method": "POST", "path": "/cart/add.js", "body": {"items": [{"id": 7, "quantity": 2}]}},
    "then": "/cart",
    "url": "https://example.com/cart/7:2?storefront=true",
}
DISCOUNT: dict[str, Any] = {
    "kind": "discount",
    "hosts": ["store.example.com"],
    "ajax": {"method": "POST", "path": "/cart/update.js", "body": {"discount": "SAVE20"}},
    "then": None,
    "url": "https://example.com/discount/SAVE20",
}


class Store:
    """The store's Ajax cart, on the app's own host and below /fr/, as a theme in a second language has it."""

    def __init__(self, context: BrowserContext, live_server: LiveServer) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.codes = [{"code": "OLD", "applicable": True}]
        self.host = live_server.url.partition("//")[2]
        self.status, self.takes_codes = 200, True
        context.add_init_script("window.Shopify = { routes: { root: '/fr/' } }")
        context.route(f"{live_server.url}/fr/**", self.answer)

    def answer(self, route: Route) -> None:
        path, body = route.request.url.partition(self.host)[2], cast("dict[str, Any]", route.request.post_data_json)
        self.heard.append((path, body))
        if path == "/fr/cart/update.js" and self.takes_codes:
            self.codes = [{"code": code, "applicable": code != "SAVE20"} for code in body["discount"].split(",")]
        given = {"items": [{"id": 7}], "discount_codes": self.codes, "description": "The mug is sold out."}
        route.fulfill(json=given, status=self.status)


@pytest.fixture
def store(context: BrowserContext, live_server: LiveServer) -> Store:
    return Store(context, live_server)


def handed(page: Page, app: App, open_app: Callable[[], None], instruction: dict[str, Any]) -> None:
    """Accept a prompt whose action is then the app's."""
    redirecting(app, key="offer", title="Stay")
    open_app()
    page.get_by_role("button", name="Yes, please").click()
    becomes(answers, ["accept"])
    Execution.objects.update(
        state=State.HANDED_OVER, instruction=instruction, due_at=timezone.now() + timedelta(hours=1)
    )


def reported() -> Any:
    connection.close()
    return Execution.objects.get().report


def comes(page: Page, look: Callable[[], Any], expected: Any) -> None:
    """For what the test answers itself: the page's requests are served meanwhile."""
    becomes(look, expected, rest=lambda: page.wait_for_timeout(50))


def test_items_go_into_the_cart_that_the_visitor_has(
    app: App, page: Page, open_app: Callable[[], None], store: Store
) -> None:
    handed(page, app, open_app, {**CART, "hosts": [store.host]})
    comes(page, reported, {"result": "done", "detail": {"items": 1}})
    page.wait_for_url("**/fr/cart")
    assert store.heard[:1] == [("/fr/cart/add.js", {"items": [{"id": 7, "quantity": 2}]})]
    assert [path for path, _ in store.heard].count("/fr/cart/add.js") == 1


def test_a_store_that_refuses_is_quoted(app: App, page: Page, open_app: Callable[[], None], store: Store) -> None:
    store.status = 422
    handed(page, app, open_app, {**CART, "hosts": [store.host]})
    comes(page, reported, {"result": "failed", "detail": {"reason": "The mug is sold out."}})
    assert page.url.endswith("/app/")
    expect(page.get_by_role("status")).to_contain_text("Sorry, this was not possible.")


def test_on_another_page_the_stores_link_is_opened(app: App, page: Page, open_app: Callable[[], None]) -> None:
    handed(page, app, open_app, CART)
    page.wait_for_url(CART["url"])
    comes(page, reported, {"result": "done", "detail": {"opened": True}})


def test_what_has_no_link_is_done_on_the_stores_pages_only(app: App, page: Page, open_app: Callable[[], None]) -> None:
    handed(page, app, open_app, {**CART, "url": None})
    comes(page, reported, {"result": "failed", "detail": {"reason": "only on the store's own pages"}})


def test_a_code_joins_those_that_are_on_the_cart(
    app: App, page: Page, open_app: Callable[[], None], store: Store
) -> None:
    handed(page, app, open_app, {**DISCOUNT, "hosts": [store.host]})
    comes(page, reported, {"result": "done", "detail": {"code": "SAVE20", "applicable": False}})
    assert store.heard == [("/fr/cart.js", None), ("/fr/cart/update.js", {"discount": "OLD,SAVE20"})]
    expect(page.get_by_role("status")).to_have_text("Done. Thank you!")


def test_a_code_that_the_store_does_not_take_is_not_done(
    app: App, page: Page, open_app: Callable[[], None], store: Store
) -> None:
    store.takes_codes = False
    handed(page, app, open_app, {**DISCOUNT, "hosts": [store.host]})
    comes(page, reported, {"result": "failed", "detail": {"reason": "the store did not take the code"}})


def test_a_report_that_got_lost_puts_nothing_into_the_cart_again(
    app: App, page: Page, context: BrowserContext, open_app: Callable[[], None], store: Store
) -> None:
    context.route("**/report", lambda route: route.abort())
    handed(page, app, open_app, {**CART, "hosts": [store.host], "then": None})
    comes(page, lambda: len(store.heard), 1)
    with page.expect_response("**/api/v1/events/*"):
        pass  # it asks again, and the instruction still stands there
    with page.expect_response("**/api/v1/events/*"):
        pass
    assert len(store.heard) == 1
    assert reported() is None


def test_an_app_carries_out_kinds_of_its_own(app: App, page: Page, open_app: Callable[[], None]) -> None:
    page.add_init_script(
        "window.heard = []; document.addEventListener('DOMContentLoaded', () => { Engage.instructions.purchase = "
        "async ({ sku }) => { heard.push(sku); return { result: 'done', detail: { token: 't-' + sku } }; } })"
    )
    handed(page, app, open_app, {"kind": "purchase", "sku": "gold"})
    comes(page, reported, {"result": "done", "detail": {"token": "t-gold"}})
    assert page.evaluate("heard") == ["gold"]


def test_what_no_page_can_do_is_said_and_stays_open(app: App, page: Page, open_app: Callable[[], None]) -> None:
    handed(page, app, open_app, {"kind": "purchase", "sku": "gold"})
    expect(page.get_by_role("status")).to_contain_text("This page cannot do it. Please go on in our app.")
    assert reported() is None
