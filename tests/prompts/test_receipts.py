"""A purchase that the app reports: believed once the vendor shows it, and for one answer alone."""

import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import IntegrityError
from django.utils import timezone
from pytest_django.fixtures import Settings

from connectors.models import Connection
from engage.tenancy.models import App
from prompts import decisions, events, executions, recovery
from prompts.models import EventSource, Execution, State
from sync.models import Subscriber
from tests.connectors.fake_vendor import FakeVendor, fake_vendor
from tests.connectors.vendors import test_google_play as play
from tests.factories import ConnectionFactory, SubscriberFactory


@pytest.fixture
def vendor(settings: Settings) -> Iterator[FakeVendor]:
    with fake_vendor() as running:
        settings.ENGAGE_VENDOR_URLS = {"google_play": running.url}
        yield running


@pytest.fixture
def connection(app: App) -> Connection:
    secrets = {"service_account": play.key_file()}
    made: Connection = ConnectionFactory(app=app, connector="google_play", settings=play.PUSH, secrets=secrets)
    return made


def offered(app: App, connection: Connection) -> Execution:
    """Hand the purchase over to Ann's app."""
    _, execution = events.record_direct(
        app, "google_play", "purchase", connection, "ann", play.CHOSEN, source=EventSource.CONSOLE, reported_by="x"
    )
    executions.work("w")
    execution.refresh_from_db()
    assert execution.state == State.HANDED_OVER
    return execution


def account_of(execution: Execution) -> str:
    assert execution.instruction is not None
    return str(execution.instruction["purchase"]["requestSubscription"]["google"]["obfuscatedAccountId"])


def test_a_report_that_nobody_waited_for_any_more_is_asked_about(
    app: App, connection: Connection, vendor: FakeVendor
) -> None:
    SubscriberFactory(app=app, user_id="ann", traits={})
    execution = offered(app, connection)
    Execution.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    recovery.sweep()
    execution.refresh_from_db()
    assert (execution.state, execution.reason) == (State.GAVE_UP, "no_report")
    with pytest.raises(decisions.NotPossible):
        decisions.report(execution, "failed", {})
    shown = play.shown(play.bought(externalAccountIdentifiers={"obfuscatedExternalAccountId": account_of(execution)}))
    vendor.expect(play.GIVES, shown)
    decisions.report(execution, "done", {"purchaseToken": play.TOKEN})
    executions.work("w")
    vendor.assert_played()
    execution.refresh_from_db()
    assert (execution.state, execution.reason) == (State.DONE, "")
    with pytest.raises(decisions.NotPossible):
        decisions.report(execution, "done", {"purchaseToken": play.TOKEN})


def test_a_purchase_counts_for_one_answer(app: App, connection: Connection, vendor: FakeVendor) -> None:
    ann: Subscriber = SubscriberFactory(app=app, user_id="ann", traits={})
    first, second = offered(app, connection), offered(app, connection)
    assert account_of(first) == account_of(second) == str(uuid.UUID(account_of(first)))
    shown = play.shown(play.bought(externalAccountIdentifiers={"obfuscatedExternalAccountId": account_of(first)}))
    vendor.expect(play.GIVES, shown, shown)
    for execution in (first, second):
        decisions.report(execution, "done", {"purchaseToken": play.TOKEN})
        executions.work("w")
        execution.refresh_from_db()
    vendor.assert_played()
    assert (first.state, second.state, second.reason) == (State.DONE, State.REJECTED, "counted")
    ann.refresh_from_db()
    assert ann.traits == play.LEARNED
    # Two workers that come to it at the same moment: the index decides.
    with pytest.raises(IntegrityError):
        Execution.objects.filter(pk=second.pk).update(receipt=first.receipt)
