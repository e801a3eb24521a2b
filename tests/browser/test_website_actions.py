"""Website actions in a real browser: a script is loaded as a file by its hash, checked, run once, and reported."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import BrowserContext, Page, expect
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from connectors import scripts
from engage.tenancy.models import App, DeliveryMode, KeyKind
from prompts import executions, versions
from prompts.models import Execution, State
from tests import factories
from tests.connectors.test_website_actions import written
from tests.prompts.runtime import Caller
from tests.waiting import becomes

pytestmark = pytest.mark.browser
# What docs/integration.md asks of a strict site: one that names hosts, and one that trusts a nonce alone.
BY_HOST = "default-src 'none'; script-src {engage}; connect-src {engage}; base-uri 'none'"
BY_NONCE = (
    "default-src 'none'; script-src 'nonce-r4nd0m' 'strict-dynamic'; connect-src {engage}; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types engage"
)
MARKUP = """<!doctype html><html lang="en"><title>A shop</title><body><p id="cart">Empty</p>
<script nonce="r4nd0m" src="{engage}/static/engage.js" data-key="{key}" data-identity="{identity}" defer></script>
</body></html>"""


class Shop:
    """A strict site of another origin than Engage's, and one open prompt whose acceptance runs a script."""

    def __init__(self, app: App, context: BrowserContext, engage: str, server: HTTPServer) -> None:
        self.app, self.context, self.engage, self.policy = app, context, engage, BY_HOST
        self.url = server.url_for("/account")
        self.caller = Caller(app, KeyKind.PUBLISHABLE, "mia")
        self.requests: list[str] = []
        server.expect_request("/account").respond_with_handler(self._answer)
        context.on("request", lambda request: self.requests.append(request.url))

    def _answer(self, _: Request) -> Response:
        body = MARKUP.format(engage=self.engage, key=self.caller.token, identity=self.caller.identity)
        policy = self.policy.format(engage=self.engage)
        return Response(body, content_type="text/html", headers={"Content-Security-Policy": policy})

    def accept(self, page: Page, script: str) -> None:
        """Answer a prompt whose action is this script, and be the worker."""
        row = factories.ConnectionFactory(
            app=self.app, connector="website", name="Add to cart", settings=written(script=script), secrets={}
        )
        scripts.publish(row, script, by=None)
        prompt = factories.PromptFactory(app=self.app, key="stay", title="Stay")
        plan = {"plan": {"from": "fixed", "value": "gold"}}
        factories.BindingFactory(prompt=prompt, connection=row, connector="website", action="run", inputs=plan)
        versions.publish(prompt, "tests")
        page.goto(self.url)
        page.get_by_role("button", name="Yes, please").click()
        soon(page, Execution.objects.count, 1)
        executions.work("w")


@pytest.fixture
def context(chromium: Any) -> Iterator[BrowserContext]:
    made: BrowserContext = chromium.new_context(reduced_motion="reduce")
    made.set_default_timeout(10_000)
    yield made
    made.close()


@pytest.fixture
def shop(
    live_server: LiveServer, httpserver: HTTPServer, settings: Settings, app: App, context: BrowserContext
) -> Shop:
    settings.ENGAGE_BASE_URL = live_server.url
    app.delivery_mode, app.domains = DeliveryMode.LIVE, [httpserver.url_for("").rstrip("/")]
    app.save()
    known = {"first_name": "Mia", "email": "mia@example.com"}
    factories.SubscriberFactory(app=app, user_id="mia", traits=known)
    return Shop(app, context, live_server.url, httpserver)


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None)
    yield opened
    assert wrong == []


def soon(page: Page, look: Callable[[], Any], expected: Any) -> None:
    """Assert that `look()` becomes `expected` within ten seconds."""

    def rest() -> None:
        connection.close()  # a new look, beside the server's threads
        page.wait_for_timeout(50)  # in which the routes of a test are answered too

    becomes(look, expected, rest)


def reported() -> tuple[str, str]:
    execution = Execution.objects.get()
    detail = (execution.report or {}).get("detail", {})
    return execution.state, detail.get("message") or detail.get("reason") or ""


GREETS = """export default async function (args, context) {
  window.runs = (window.runs ?? 0) + 1;
  document.getElementById("cart").textContent = JSON.stringify([args, context.prompt, context.interaction]);
  await Promise.resolve();
  return `${args.inputs.plan} is in the cart`;
}"""


@pytest.mark.parametrize("policy", [BY_HOST, BY_NONCE])
def test_a_script_runs_once_with_its_arguments_under_a_strict_policy(shop: Shop, page: Page, policy: str) -> None:
    shop.policy = policy
    shop.accept(page, GREETS)
    told = '[{"inputs":{"plan":"gold"},"traits":{"first_name":"Mia"}},"stay","accept"]'

    expect(page.locator("#cart")).to_have_text(told)
    expect(page.get_by_role("status")).to_have_text("Done. Thank you!")
    assert reported() == (State.DONE, "gold is in the cart")
    assert page.evaluate("runs") == 1
    assert len([url for url in shop.requests if "/site-actions/" in url]) == 1


def test_what_it_throws_is_reported_and_the_page_goes_on(shop: Shop, page: Page) -> None:
    shop.accept(page, "export default async () => { throw new Error('There is no cart.'); };")
    soon(page, reported, (State.REJECTED, "There is no cart."))

    expect(page.get_by_role("button", name="Close")).to_be_visible()
    assert page.evaluate("document.getElementById('cart').textContent") == "Empty"


def test_one_that_never_ends_is_timed_out_and_told(shop: Shop, page: Page) -> None:
    page.clock.install()
    never = "export default (_, { signal }) => { signal.onabort = () => (window.told = true); return new Promise(() => {}); };"
    shop.accept(page, f"window.loaded = true; {never}")
    soon(page, lambda: page.evaluate("window.loaded"), True)
    page.clock.fast_forward(31_000)
    soon(page, reported, (State.REJECTED, "It took longer than 30 seconds."))

    assert page.evaluate("told")


def test_a_tampered_file_is_not_run(shop: Shop, page: Page) -> None:
    other = "window.runs = 'tampered'; " + GREETS
    headers = {"Access-Control-Allow-Origin": "*"}
    shop.context.route(
        "**/site-actions/**", lambda route: route.fulfill(body=other, content_type="text/javascript", headers=headers)
    )
    shop.accept(page, GREETS)
    refused = "The script was not loaded: not reachable, not the published one, or not allowed here."
    soon(page, reported, (State.REJECTED, refused))

    assert page.evaluate("window.runs") is None
    assert page.evaluate("document.getElementById('cart').textContent") == "Empty"


def test_a_file_that_is_gone_is_reported(shop: Shop, page: Page) -> None:
    shop.context.route("**/site-actions/**", lambda route: route.fulfill(status=404))
    shop.accept(page, GREETS)
    soon(page, lambda: reported()[0], State.REJECTED)
    assert page.evaluate("window.runs") is None


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("export default 7;", "The script's default export is no function."),
        ("export const other = 1;", "The script's default export is no function."),
        ("export default () => { throw 'Not today'; };", "Not today"),
    ],
)
def test_what_is_no_good_script_is_said(shop: Shop, page: Page, script: str, words: str) -> None:
    shop.accept(page, script)
    soon(page, reported, (State.REJECTED, words))


def test_a_script_with_an_error_in_its_text_is_reported(shop: Shop, context: BrowserContext) -> None:
    page = context.new_page()
    shop.accept(page, "export default () => {")
    soon(page, lambda: reported()[0], State.REJECTED)
    expect(page.get_by_role("button", name="Close")).to_be_visible()
