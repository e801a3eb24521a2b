"""A connector's settings in a real browser: when its page asks for stored secrets again."""

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from engage.tenancy.models import App
from tests import factories

pytestmark = pytest.mark.browser

STORED = {
    "my_domain": "https://example.my.salesforce.com",
    "client_id": "consumer-1",
    "mc_auth_url": "https://mc-sandbox-streamly-00000000.auth.marketingcloudapis.com/",
    "mc_client_id": "package-1",
}
SECRETS = {"client_secret": "a-stored-secret", "mc_client_secret": "another-stored-secret"}


def test_stored_secrets_are_asked_for_as_soon_as_the_account_changes_and_not_before(
    page: Page, live_server: LiveServer, app: App
) -> None:
    factories.ConnectionFactory(app=app, connector="salesforce", settings=STORED, secrets=SECRETS)
    page.goto(f"{live_server.url}/console/connectors/connection/salesforce/")
    opened, kept = page.locator("details.eg-replace[open]"), page.locator("[data-keep]:visible")
    expect(page.locator("details.eg-replace")).to_have_count(2)
    expect(opened).to_have_count(0)
    page.locator("details.eg-replace summary").first.click()
    expect(kept).to_have_count(1)

    page.get_by_label("Marketing Cloud: client id").fill("package-2")
    page.keyboard.press("Tab")
    expect(opened).to_have_count(2)
    expect(kept).to_have_count(0)

    page.get_by_label("Marketing Cloud: client id").fill("package-1")
    page.keyboard.press("Tab")
    expect(kept).to_have_count(2)
