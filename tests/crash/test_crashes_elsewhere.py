"""A process dies in an import, over a vendor's message, in the middle of a batch, a push or a reading; another goes on."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from connectors.models import Health
from engage.tenancy.models import App
from prompts import events, forwarding, versions
from prompts.models import Batch, Execution, State
from sync import imports, inbound, pushes, rereads
from sync.models import (
    ImportRun,
    InboundMessage,
    LastWord,
    MessageState,
    PushRun,
    RereadRun,
    RoundState,
    RunState,
    Source,
    Subscriber,
)
from tests import factories
from tests.connectors.fake_vendor import Call, FakeVendor, Heard, fake_vendor
from tests.connectors.inbound_contract import SECRET
from tests.connectors.tellers import Slipping, sign_slip, slip
from tests.connectors.vendors.test_mixpanel import PASSWORD, SETTINGS, TOKEN
from tests.connectors.vendors.test_roku import CHANNEL, KEY, shown
from tests.crash.victim import dies_at, forward, import_files, push, read_again, read_messages
from tests.sync.conftest import TestBucket

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.broker]

PEOPLE = ("ann", "bob", "cleo")
PAST = timedelta(seconds=1)


# --- imports ----------------------------------------------------------------------------------------------------------------


def goes_on(source: Source) -> ImportRun:
    """Let another process import the same source, once the dead one's lease is over."""
    Source.objects.update(lease_until=timezone.now() - PAST)
    source.refresh_from_db()
    imports.import_source(source, started_by="another")
    return ImportRun.objects.get()


def read_into(run: ImportRun) -> tuple[int, int, int]:
    return run.rows_read, run.rows_new, run.rows_changed


@pytest.mark.parametrize("point", ["import.staged", "import.merged", "import.committed"])
def test_who_imports_dies(source: Source, bucket: TestBucket, point: str) -> None:
    factories.SubscriberFactory(app=source.app, user_id="ann", traits={"plan": "old"})
    bucket.put("cleeng/a.csv", "user_id,plan\n" + "".join(f"{user},gold\n" for user in PEOPLE))
    dies_at(point, import_files, source.pk)
    assert ImportRun.objects.get().merged_through == (3 if point == "import.committed" else 0)
    run = goes_on(source)
    assert (run.state, *read_into(run)) == (RunState.DONE, 3, 2, 1)
    known = dict(Subscriber.objects.values_list("user_id", "traits__plan"))
    assert known == dict.fromkeys(PEOPLE, "gold")


def test_without_its_cursor_an_import_counts_rows_again(source: Source, bucket: TestBucket) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan\n" + "".join(f"{user},gold\n" for user in PEOPLE))
    dies_at("import.committed", import_files, source.pk)
    ImportRun.objects.update(merged_through=0)
    with pytest.raises(AssertionError, match="accounted for"):
        goes_on(source)


# --- a vendor's message ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["hook.claimed", "hook.told"])
def test_who_reads_a_vendors_message_dies(app: App, known: None, settings: Settings, point: str) -> None:
    person = factories.SubscriberFactory(app=app, traits={"customer_id": "c-1"})
    account = factories.ConnectionFactory(
        app=app, connector=Slipping.key, settings={}, secrets={"api_key": "key-of-the-tests", "webhook_secret": SECRET}
    )
    sent = sign_slip(slip(), SECRET, datetime.now(UTC))
    Client().generic(
        sent.method,
        f"/hooks/{account.pk}?{sent.query}",
        sent.body,
        content_type=sent.content_type,
        headers=dict(sent.headers),
    )
    dies_at(point, read_messages)
    assert not LastWord.objects.exists()
    assert inbound.work() == 0  # its lease holds
    InboundMessage.objects.update(due_at=timezone.now() - PAST)
    assert inbound.work() == 1
    assert InboundMessage.objects.get().state == MessageState.DONE
    person.refresh_from_db()
    assert person.traits["plan"] == "premium"


# --- a batch of forwards ----------------------------------------------------------------------------------------------------


class Mixpanel:
    """Counts an event once, by its id, as Mixpanel does."""

    def __init__(self, vendor: FakeVendor) -> None:
        self.came: list[str] = []
        vendor.by_shape = self.answer

    def answer(self, heard: Heard) -> Call:
        self.came += [event["properties"]["$insert_id"] for event in heard.body]
        return Call("POST", "/import", {"code": 200, "num_records_imported": len(heard.body), "status": "OK"})


@pytest.mark.parametrize("point", ["batch.claimed", "write.begun", "write.answered", "batch.answered", "batch.settled"])
def test_who_forwards_dies(live_app: App, settings: Settings, point: str) -> None:
    sealed = {"service_account_password": PASSWORD, "project_token": TOKEN}
    plain = {name: value for name, value in SETTINGS.items() if name not in {*sealed, "traits"}}
    account = factories.ConnectionFactory(app=live_app, connector="mixpanel", settings=plain, secrets=sealed)
    versions.publish(factories.PromptFactory(app=live_app, key="stay"), by="tests")
    with fake_vendor() as vendor:
        mixpanel = Mixpanel(vendor)
        settings.ENGAGE_VENDOR_URLS = {"mixpanel": vendor.url}
        for user in PEOPLE:
            events.record(live_app, events.Report(uuid4(), "stay", "impression", user))
        dies_at(point, forward, account.pk)
        Batch.objects.filter(finished_at=None).update(lease_until=timezone.now() - PAST)
        forwarding.sweep()
        Execution.objects.filter(state=State.WAITING).update(due_at=timezone.now() - PAST)
        forwarding.work("another", account.pk)
    assert set(Execution.objects.values_list("state", flat=True)) == {State.DONE}
    assert len(set(mixpanel.came)) == len(PEOPLE)
    assert len(mixpanel.came) == len(PEOPLE) * (2 if point in {"write.answered", "batch.answered"} else 1)


def test_who_forwards_with_a_key_that_is_refused_dies(live_app: App, settings: Settings) -> None:
    sealed = {"service_account_password": PASSWORD, "project_token": TOKEN}
    plain = {name: value for name, value in SETTINGS.items() if name not in {*sealed, "traits"}}
    account = factories.ConnectionFactory(app=live_app, connector="mixpanel", settings=plain, secrets=sealed)
    versions.publish(factories.PromptFactory(app=live_app, key="stay"), by="tests")
    events.record(live_app, events.Report(uuid4(), "stay", "impression", "ann"))
    with fake_vendor() as vendor:
        vendor.by_shape = lambda heard: Call(heard.method, heard.path, {"error": "no"}, status=401)
        settings.ENGAGE_VENDOR_URLS = {"mixpanel": vendor.url}
        dies_at("batch.settled", forward, account.pk)
        account.refresh_from_db()
        assert (Execution.objects.get().state, account.health) == (State.HELD, Health.ATTENTION)


# --- a push of traits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["round.claimed", "write.begun", "write.answered", "round.answered", "round.stored"])
def test_who_pushes_dies(live_app: App, settings: Settings, point: str) -> None:
    sealed = {"service_account_password": PASSWORD, "project_token": TOKEN}
    plain = {name: value for name, value in SETTINGS.items() if name not in sealed}
    account = factories.ConnectionFactory(app=live_app, connector="mixpanel", settings=plain, secrets=sealed)
    for user in PEOPLE:
        factories.SubscriberFactory(app=live_app, user_id=user, traits={"plan": "gold"})
    pushes.ask(account, "test")
    PushRun.objects.update(due_at=timezone.now() - PAST)
    with fake_vendor() as vendor:
        vendor.by_shape = lambda heard: Call(heard.method, heard.path, {"status": 1, "error": None})
        settings.ENGAGE_VENDOR_URLS = {"mixpanel": vendor.url}
        dies_at(point, push)
        assert pushes.work() == 0, "its lease holds"
        PushRun.objects.update(due_at=timezone.now() - PAST)
        assert pushes.work() == 1
        came = [profile["$distinct_id"] for heard in vendor.heard for profile in heard.body]
    run = PushRun.objects.get()
    assert (run.state, run.taken) == (RoundState.DONE, len(PEOPLE))
    assert came == [*PEOPLE] * (2 if point in {"write.answered", "round.answered"} else 1)


# --- a reading of purchases -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["round.claimed", "round.answered", "round.stored"])
def test_who_reads_purchases_dies(live_app: App, settings: Settings, point: str) -> None:
    account = factories.ConnectionFactory(
        app=live_app, connector="roku", settings={"channel_id": CHANNEL}, secrets={"partner_api_key": KEY}
    )
    for user in PEOPLE:
        factories.SubscriberFactory(app=live_app, user_id=user, traits={"roku_transaction_id": user})
    rereads.ask(account, "test")
    RereadRun.objects.update(due_at=timezone.now() - PAST)
    with fake_vendor() as vendor:
        vendor.by_shape = lambda heard: shown(heard.path.rpartition("/")[2])
        settings.ENGAGE_VENDOR_URLS = {"roku": vendor.url}
        dies_at(point, read_again)
        assert rereads.work() == 0, "its lease holds"
        RereadRun.objects.update(due_at=timezone.now() - PAST)
        assert rereads.work() == 1
        came = [heard.path.rpartition("/")[2] for heard in vendor.heard]
    run = RereadRun.objects.get()
    assert (run.state, run.taken, run.refused) == (RoundState.DONE, len(PEOPLE), 0)
    assert came == [*PEOPLE] * (2 if point == "round.answered" else 1)
    assert set(Subscriber.objects.values_list("traits__roku_state", flat=True)) == {"active"}
