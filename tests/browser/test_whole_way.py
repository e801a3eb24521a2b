"""The main job in a real browser, with a real worker: an administrator sets Cleeng up, a designer binds a coupon, a person
accepts, and everybody sees it done; the sandbox most of all."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from connectors.models import Connection
from engage.tenancy.models import ApiKey, App, DeliveryMode, IdentitySecret, KeyKind
from engage.tenancy.roles import Role
from prompts import versions
from prompts.models import Execution, PromptEvent, State
from tests import factories
from tests.sandbox_fixture import RunningSandbox, sandbox
from tests.worker import worker

__all__ = ["sandbox"]

pytestmark = [pytest.mark.browser, pytest.mark.broker]
CUSTOMER, SUBSCRIPTION = "640000001", 710000001
PATIENCE = 20_000  # milliseconds, of a busy machine


@pytest.fixture
def streamly(app: App, settings: Settings, sandbox: RunningSandbox) -> App:
    """The demo's App: live, with keys, a subscriber whom Cleeng knows, and a prompt that nothing follows yet."""
    settings.ENGAGE_VENDOR_URLS = sandbox.urls
    app.delivery_mode = DeliveryMode.LIVE
    app.save()
    _, settings.ENGAGE_DEMO_PUBLISHABLE_KEY = ApiKey.make(app, KeyKind.PUBLISHABLE)
    IdentitySecret.make(app)
    factories.SubscriberFactory(app=app, user_id="ava", traits={"cleeng_customer_id": CUSTOMER, "first_name": "Ava"})
    prompt = factories.PromptFactory(
        app=app, key="stay", name="Stay with us", title="{{ first_name }}, stay with us", accept_label="Take 20 % off"
    )
    versions.publish(prompt, by="tests")
    return app


@pytest.fixture
def context(chromium: Browser, live_server: LiveServer) -> Iterator[BrowserContext]:
    made = chromium.new_context(reduced_motion="reduce", viewport={"width": 1280, "height": 900})
    made.set_default_timeout(PATIENCE)
    yield made
    made.close()


def sign_in(page: Page, url: str, email: str) -> None:
    page.goto(f"{url}/console/login/")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{url}/console/")


@pytest.mark.django_db(transaction=True)
def test_a_person_accepts_a_prompt_and_cleeng_acts(
    context: BrowserContext, live_server: LiveServer, streamly: App, sandbox: RunningSandbox
) -> None:
    expect.set_options(timeout=PATIENCE)
    administrator = factories.person(streamly, Role.APP_ADMIN)
    page = context.new_page()
    sign_in(page, live_server.url, administrator.email)

    # Settings > Actions: enter the key, test, switch on, save.
    page.get_by_role("link", name=re.compile(r"\bActions$")).click()
    page.get_by_role("link", name="Cleeng").first.click()
    page.get_by_label("Environment").select_option("sandbox")
    page.get_by_label("API key").fill(sandbox.token)
    page.get_by_role("button", name="Test connection").click()
    expect(page.get_by_text("Cleeng Sandbox accepts the key.")).to_be_visible()
    page.get_by_label("Active").check(force=True)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text(f"Stored, {len(sandbox.token)} characters")).to_be_visible()
    assert sandbox.token not in page.content()
    assert Connection.objects.get().active

    # The prompt's Actions panel: bind Apply coupon to accept.
    page.get_by_role("link", name=re.compile(r"\bPrompts$")).click()
    page.get_by_role("link", name="Stay with us").first.click()
    page.locator("main, #content").get_by_role("link", name="Actions").first.click()
    page.get_by_role("link", name="Add action").first.click()
    page.get_by_role("link", name=re.compile("Apply coupon")).click()
    page.get_by_label("Coupon code").fill("SAVE20")
    page.get_by_role("button", name=re.compile("^(Add|Save)")).click()
    expect(page.get_by_text("Coupon code: SAVE20")).to_be_visible()

    # The app: the person accepts, and is told that it is done.
    with worker(sandbox):
        theirs = context.new_page()
        theirs.goto(f"{live_server.url}/demo/")
        expect(theirs.get_by_text("Ava, stay with us")).to_be_visible()
        theirs.get_by_role("button", name="Take 20 % off").click()
        expect(theirs.get_by_text("Done. Thank you!")).to_be_visible()

    # Live, and the vendor's own world.
    page.get_by_role("link", name=re.compile(r"\bLive$")).click()
    expect(page.get_by_text(f"Coupon SAVE20 is on subscription {SUBSCRIPTION}").first).to_be_visible()
    assert [effect["what"] for effect in sandbox.effects()] == ["coupon_applied"]
    assert sandbox.subscriptions()[SUBSCRIPTION]["couponCode"] == "SAVE20"
    assert PromptEvent.objects.filter(interaction="accept").count() == 1
    assert Execution.objects.get().state == State.DONE
