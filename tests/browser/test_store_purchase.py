"""A viewer of the demo accepts an offer of a store: the device buys, the store shows it, and their traits say so."""

import pytest
from playwright.sync_api import Browser, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

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
PATIENCE = 20_000  # milliseconds, of a busy machine
CHOSEN = {"offer": "subs/premium/yearly/winback50", "offer_tag": "", "personalized": False, "consumable": False}


@pytest.fixture
def streamly(app: App, settings: Settings, sandbox: RunningSandbox) -> App:
    """The demo's App, with a viewer who has a device, and a prompt that sells her a subscription at Google Play."""
    settings.ENGAGE_VENDOR_URLS = sandbox.urls
    app.delivery_mode = DeliveryMode.LIVE
    app.save()
    _, settings.ENGAGE_DEMO_PUBLISHABLE_KEY = ApiKey.make(app, KeyKind.PUBLISHABLE)
    IdentitySecret.make(app)
    factories.SubscriberFactory(app=app, user_id=EMMA.user_id, traits={"first_name": EMMA.first})
    with sandbox.store.transaction():
        typed = dict(WORLDS["google_play"].setup(sandbox.store))
    connection = factories.ConnectionFactory(
        app=app, connector="google_play", secrets={"service_account": typed.pop("service_account")}, settings=typed
    )
    prompt = factories.PromptFactory(app=app, key="stay", title="Half a year for free", accept_label="Subscribe")
    inputs = {name: {"from": "fixed", "value": value} for name, value in CHOSEN.items()}
    factories.BindingFactory(
        prompt=prompt, connection=connection, connector="google_play", action="purchase", inputs=inputs
    )
    versions.publish(prompt, by="tests")
    return app


@pytest.mark.django_db(transaction=True)
def test_a_purchase_on_the_demo_is_validated(
    chromium: Browser, live_server: LiveServer, streamly: App, sandbox: RunningSandbox
) -> None:
    expect.set_options(timeout=PATIENCE)
    page = chromium.new_page(reduced_motion="reduce")
    with worker(sandbox):
        page.goto(f"{live_server.url}/demo/")
        page.get_by_role("button", name="Subscribe").click()
        expect(page.get_by_text("Done. Thank you!")).to_be_visible()
    page.close()
    effects = [(effect["what"], effect["whom"]) for effect in sandbox.store.effects("google_play")]
    assert effects == [("subscription_bought", EMMA.user_id), ("acknowledged", EMMA.user_id)]
    execution = Execution.objects.get()
    assert (execution.state, execution.message) == (State.DONE, "premium is bought.")
    traits = Subscriber.objects.get(user_id=EMMA.user_id).traits
    assert (traits["google_product_id"], traits["google_subscription_state"]) == ("premium", "active")


@pytest.mark.django_db
def test_no_other_page_can_make_the_demo_buy(live_server: LiveServer, streamly: App, sandbox: RunningSandbox) -> None:
    from django.test import Client

    stranger = Client(enforce_csrf_checks=True)
    answer = stranger.post("/demo/device/", {"store": "google"}, content_type="application/json")
    assert answer.status_code == 403
    assert not sandbox.store.requests("google_play")
