"""The sandbox's page in a browser: it renews itself, and leaves alone who is copying from it."""

import pytest
from playwright.sync_api import Browser, expect

from tests.sandbox_fixture import RunningSandbox, sandbox

__all__ = ["sandbox"]

pytestmark = pytest.mark.browser
RENEWED = 5_000  # milliseconds
SELECT = "getSelection().selectAllChildren(document.querySelector('code'))"


@pytest.mark.parametrize("is_copying", [False, True])
def test_a_page_renews_itself_unless_somebody_copies(
    is_copying: bool, chromium: Browser, sandbox: RunningSandbox
) -> None:
    page = chromium.new_page()
    page.clock.install()
    page.goto(f"{sandbox.root}/recurly")
    sandbox.store.effect("recurly", "terminated", "subscr000001")
    if is_copying:
        page.evaluate(SELECT)
    page.clock.run_for(RENEWED)
    if is_copying:
        assert page.evaluate("String(getSelection())") == f"{sandbox.root}/recurly"
        page.evaluate("getSelection().removeAllRanges()")
        expect(page.get_by_text("terminated")).to_have_count(0)
        page.clock.run_for(RENEWED)
    expect(page.get_by_text("terminated")).to_be_visible()
    page.close()
