"""A viewer of the demo accepts an offer of a store: the device buys, the store shows it, and their traits say so."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from connectors import registry
from connectors.base import SecretField
from connectors.sandbox.people import EMMA
from connectors.sandbox.worlds import WORLDS
from engage.tenancy.models import ApiKey, App, DeliveryMode, IdentitySecret, KeyKind
from prompts import versions
from prompts.models import Execution, State
from sync.models import Subscriber
from tests import factories
from tests.sandbox_fixture import RunningSandbox, sandbox
from tests.worker import worker

__all__ = ["sandbox"]

pytestmark = [pytest.mark.browser, pytest.mark.broker]
PATIENCE = 60_000  # milliseconds, of a busy machine: a worker starts, and a report is followed up
YEAR = "com.example.streamly.premium.year"


@pytest.fixture
def streamly(app: App, settings: Settings, sandbox: RunningSandbox, tmp_path: Path) -> App:
    """The demo's App, with a viewer who has a device and has bought nothing yet."""
    settings.ENGAGE_VENDOR_URLS = sandbox.urls
    settings.ENGAGE_APPLE_ROOT = sandbox.apple_root(tmp_path)
    app.delivery_mode = DeliveryMode.LIVE
    app.save()
    _, settings.ENGAGE_DEMO_PUBLISHABLE_KEY = ApiKey.make(app, KeyKind.PUBLISHABLE)
    IdentitySecret.make(app)
    factories.SubscriberFactory(app=app, user_id=EMMA.user_id, traits={"first_name": EMMA.first})
    return app


def sell(app: App, sandbox: RunningSandbox, key: str, **chosen: Any) -> None:
    """Make a prompt that sells something at a store, which is set up as the sandbox's page says."""
    with sandbox.store.transaction():
        typed = WORLDS[key].setup(sandbox.store)
    fields = registry.connector(key).Settings.base_fields
    secret = {name: value for name, value in typed.items() if isinstance(fields[name], SecretField)}
    plain = {name: value for name, value in typed.items() if name not in secret}
    connection = factories.ConnectionFactory(app=app, connector=key, secrets=secret, settings=plain)
    prompt = factories.PromptFactory(app=app, key="stay", title="Half price", accept_label="Subscribe")
    inputs = {name: {"from": "fixed", "value": value} for name, value in chosen.items()}
    factories.BindingFactory(prompt=prompt, connection=connection, connector=key, action="purchase", inputs=inputs)
    versions.publish(prompt, by="tests")


@pytest.mark.parametrize(
    ("key", "chosen", "effect", "learned"),
    [
        (
            "google_play",
            {"offer": "subs/premium/yearly/winback50", "offer_tag": "", "personalized": False, "consumable": False},
            "subscription_bought",
            {"google_product_id": "premium", "google_subscription_state": "active"},
        ),
        (
            "roku",
            {"product": "premium_monthly"},
            "subscription_bought",
            {"roku_product_code": "premium_monthly", "roku_state": "active"},
        ),
        ("amazon", {"sku": "premium.month"}, "bought", {"amazon_sku": "premium.month"}),
        (
            "apple",
            {"product": f"subs/{YEAR}", "offer": "", "introductory": ""},
            "subscription_bought",
            {"apple_product_id": YEAR, "apple_subscription_status": "active"},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.django_db(transaction=True)
def test_a_purchase_on_the_demo_is_validated(
    chromium: Browser,
    live_server: LiveServer,
    streamly: App,
    sandbox: RunningSandbox,
    settings: Settings,
    key: str,
    chosen: dict[str, Any],
    effect: str,
    learned: dict[str, Any],
) -> None:
    expect.set_options(timeout=PATIENCE)
    sell(streamly, sandbox, key, **chosen)
    page = chromium.new_page(reduced_motion="reduce")
    with worker(sandbox, ENGAGE_APPLE_ROOT=settings.ENGAGE_APPLE_ROOT):
        page.goto(f"{live_server.url}/demo/")
        page.get_by_role("button", name="Subscribe").click()
        expect(page.get_by_text("Done. Thank you!")).to_be_visible()
    page.close()
    effects = [(one["what"], one["whom"]) for one in sandbox.store.effects(key)]
    assert effects.count((effect, EMMA.user_id)) == 1
    assert Execution.objects.get().state == State.DONE
    assert Subscriber.objects.get(user_id=EMMA.user_id).traits.items() >= learned.items()


@pytest.mark.django_db
def test_no_other_page_can_make_the_demo_buy(live_server: LiveServer, streamly: App, sandbox: RunningSandbox) -> None:
    stranger = Client(enforce_csrf_checks=True)
    answer = stranger.post("/demo/device/", {"store": "google"}, content_type="application/json")
    assert answer.status_code == 403
    assert not sandbox.store.requests("google_play")
