"""The way of a file in a real browser: a source is made and tested, a file uploaded, looked at and imported while its progress is
shown, and the rejected rows come back, are mended and imported as well."""

import csv
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection
from django.urls import reverse
from playwright.sync_api import BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from engage.tenancy.models import App
from engage.tenancy.roles import Role
from sync.imports import Silent, import_source
from sync.models import ImportRun, RunState, Source, Subscriber
from tests import factories
from tests.browser.test_whole_way import PATIENCE, context, sign_in
from tests.sync.conftest import REGION, TestBucket, _moto, bucket, s3_url

__all__ = ["_moto", "bucket", "context", "s3_url"]

pytestmark = pytest.mark.browser
FILE = b"user_id,Plan,Phone\nann,gold,1\nbob,silver,+49 30\n,gold,=1+1\n"


class Held(Silent):
    """An import that stands still after reading until it is let go."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def reading(self, run: ImportRun) -> None:
        """Wait."""
        self.go_on.wait(PATIENCE / 1000)


@contextmanager
def importing(source: Source, progress: Held) -> Iterator[None]:
    """Import what waits, as a worker would, meanwhile."""

    def work() -> None:
        try:
            import_source(source, started_by="test", progress=progress)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        progress.go_on.set()
        thread.join()


def upload(page: Page, name: str, content: bytes) -> None:
    page.get_by_label("CSV file").set_input_files({"name": name, "mimeType": "text/csv", "buffer": content})
    page.get_by_role("button", name="Upload and look at it").click()
    expect(page.get_by_role("heading", name="Before it is imported")).to_be_visible()


@pytest.mark.django_db(transaction=True)
def test_a_source_is_made_and_a_file_imported_and_mended(
    context: BrowserContext, live_server: LiveServer, app: App, s3_url: str, bucket: TestBucket
) -> None:
    expect.set_options(timeout=PATIENCE)
    bucket.put("cleeng/newest.csv", "user_id,Plan\nzoe,gold\n")
    page = context.new_page()
    sign_in(page, live_server.url, factories.person(app, Role.APP_ADMIN).email)

    # A source is made and tested.
    page.goto(live_server.url + reverse("admin:sync_source_add"))
    typed = {"name": "Cleeng", "bucket": bucket.name, "prefix": "cleeng/", "region": REGION, "endpoint_url": s3_url}
    for name, value in {**typed, "access_key_id": "AKIAREADER", "secret_access_key": "of-the-reader"}.items():
        page.locator(f"[name={name}]").fill(value)
    page.get_by_role("button", name="Test connection").click()
    expect(page.get_by_text("Which of them is the id that your app sends?")).to_be_visible()
    page.get_by_role("button", name="user_id (0)").click()
    expect(page.get_by_text("The column “user_id” is there.")).to_be_visible()
    expect(page.get_by_text("The test passed.")).to_be_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Cleeng is saved.")).to_be_visible()
    source = Source.objects.get()

    # A file is uploaded, looked at and imported.
    upload(page, "people.csv", FILE)
    expect(page.get_by_text("Of the first 3 rows 1 would be rejected.")).to_be_visible()
    assert not Subscriber.objects.exists()
    page.get_by_role("button", name="Import it").click()
    expect(page.get_by_text("Waits for a worker")).to_be_visible()
    held = Held()
    with importing(source, held):
        expect(page.get_by_role("progressbar")).to_be_visible()
        expect(page.get_by_text("3 rows read")).to_be_visible()
        held.go_on.set()
        expect(page.get_by_text("Done with rejected rows")).to_be_visible()

    # Its rejected rows come back, are mended and imported.
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    rows = list(csv.reader(io.StringIO(download.value.path().read_text("utf-8-sig"), newline="")))
    assert rows[1][:5] == ["", "gold", "'=1+1", "4", "user_id"]
    rows[1][0] = "eve"
    mended = io.StringIO(newline="")
    csv.writer(mended).writerows(rows)
    page.get_by_role("link", name="Upload the mended file").click()
    upload(page, "mended.csv", mended.getvalue().encode())
    page.get_by_role("button", name="Import it").click()
    expect(page.get_by_text("Waits for a worker")).to_be_visible()
    held.go_on.set()
    with importing(source, held):
        expect(page.get_by_text("Waits for a worker")).not_to_be_visible()
    assert Subscriber.objects.get(user_id="eve").traits == {"plan": "gold", "phone": "=1+1"}
    assert ImportRun.objects.get(object_key="mended.csv").state == RunState.DONE
