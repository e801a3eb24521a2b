"""A report is a claim: where the vendor can be asked, an action is done once the vendor shows it."""

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from engage.tenancy.models import App
from prompts import claims, executions, versions
from prompts.models import Execution, State
from sync.models import Subscriber
from tests import factories
from tests.connectors.fake_vendor import FakeVendor, fake_vendor
from tests.connectors.vendors import test_google_play as play
from tests.prompts.runtime import Caller, browser, event

pytestmark = pytest.mark.django_db

REPORT: dict[str, Any] = {"result": "done", "detail": {"purchaseToken": play.TOKEN, "productId": "premium"}}


@pytest.fixture
def vendor(settings: Settings) -> Iterator[FakeVendor]:
    with fake_vendor() as made:
        settings.ENGAGE_VENDOR_URLS = {"google_play": made.url}
        yield made
        made.assert_played()


@pytest.fixture
def handed(live_app: App, vendor: FakeVendor) -> Execution:
    """A purchase that is the app's to make, of the subscriber "ann"."""
    connection = factories.ConnectionFactory(
        app=live_app,
        connector="google_play",
        settings={"package_name": play.PACKAGE},
        secrets={"service_account": play.key_file()},
    )
    prompt = factories.PromptFactory(app=live_app, key="stay")
    inputs = {name: {"from": "fixed", "value": value} for name, value in play.CHOSEN.items()}
    factories.BindingFactory(
        prompt=prompt, connection=connection, connector="google_play", action="purchase", inputs=inputs
    )
    versions.publish(prompt, "tests")
    assert Caller(live_app).post("/events", event("stay", "ann")).status_code == 202
    work()
    execution = Execution.objects.get()
    assert execution.state == State.HANDED_OVER
    return execution


def work() -> None:
    claimed = claims.claim("tests")
    assert claimed is not None
    executions.carry_out(claimed)


def shown(execution: Execution, **differences: Any) -> Any:
    assert execution.instruction is not None
    account = execution.instruction["purchase"]["requestSubscription"]["google"]["obfuscatedAccountId"]
    return play.shown(play.spoilt(externalAccountIdentifiers={"obfuscatedExternalAccountId": account}, **differences))


def test_a_purchase_is_done_once_google_shows_it(live_app: App, handed: Execution, vendor: FakeVendor) -> None:
    answer = browser(live_app, "ann").post(f"/executions/{handed.pk}/report", REPORT)
    assert (answer.status_code, answer.json()["executions"][0]["state"]) == (202, "pending")
    vendor.expect(play.GIVES, shown(handed))
    work()
    handed.refresh_from_db()
    assert (handed.state, handed.message) == (State.DONE, "premium is bought.")
    assert Subscriber.objects.get(user_id="ann").traits == play.LEARNED


def test_a_purchase_that_google_shows_for_something_else_is_not_done(
    live_app: App, handed: Execution, vendor: FakeVendor
) -> None:
    browser(live_app, "ann").post(f"/executions/{handed.pk}/report", REPORT)
    vendor.expect(play.GIVES, play.shown(play.bought()))
    work()
    handed.refresh_from_db()
    assert handed.state == State.REJECTED
    assert Subscriber.objects.get(user_id="ann").traits == {}


def test_a_report_without_the_purchase_changes_nothing(live_app: App, handed: Execution) -> None:
    answer = browser(live_app, "ann").post(f"/executions/{handed.pk}/report", {"result": "done"})
    assert (answer.status_code, "purchaseToken" in answer.json()["error"]["message"]) == (422, True)
    handed.refresh_from_db()
    assert (handed.state, handed.report) == (State.HANDED_OVER, None)


@pytest.mark.parametrize(("length", "status"), [(10_000, 202), (10_001, 422)])
def test_a_report_has_room_for_what_apple_signs(live_app: App, handed: Execution, length: int, status: int) -> None:
    detail = {**REPORT["detail"], "signedTransactionInfo": "e" * length}
    answer = browser(live_app, "ann").post(f"/executions/{handed.pk}/report", {"result": "done", "detail": detail})
    assert answer.status_code == status


def test_a_report_counts_once(live_app: App, handed: Execution, vendor: FakeVendor) -> None:
    caller = browser(live_app, "ann")
    assert caller.post(f"/executions/{handed.pk}/report", REPORT).status_code == 202
    assert caller.post(f"/executions/{handed.pk}/report", REPORT).status_code == 409


def test_what_the_person_cancelled_is_asked_about_nowhere(live_app: App, handed: Execution, vendor: FakeVendor) -> None:
    browser(live_app, "ann").post(f"/executions/{handed.pk}/report", {"result": "cancelled"})
    handed.refresh_from_db()
    assert (handed.state, handed.job) == (State.SKIPPED, None)
