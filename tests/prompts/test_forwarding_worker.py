"""A real worker process that forwards, and is killed in the middle of it."""

import threading
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from connectors.models import Connection
from engage.tenancy.models import App
from prompts import bell, events, forwarding, versions
from prompts.models import Batch, Execution, State
from tests import factories
from tests.connectors.fake_vendor import Call, FakeVendor, Heard, fake_vendor
from tests.connectors.vendors.test_mixpanel import PASSWORD, SETTINGS, TOKEN
from tests.waiting import until
from tests.worker import PATIENCE, worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.broker]


@dataclass
class SlowMixpanel:
    """Takes the first batch, and does not answer until it is told to."""

    vendor: FakeVendor
    answers: threading.Event = field(default_factory=threading.Event)
    batches: list[list[str]] = field(default_factory=list)

    @property
    def urls(self) -> dict[str, str]:
        return {"mixpanel": self.vendor.url}

    def answer(self, heard: Heard) -> Call:
        self.batches.append([event["properties"]["$insert_id"] for event in heard.body])
        self.answers.wait(20)
        return Call("POST", "/import", {"code": 200, "num_records_imported": len(heard.body), "status": "OK"})


@pytest.fixture
def account(live_app: App) -> Connection:
    sealed = {"service_account_password": PASSWORD, "project_token": TOKEN}
    plain = {name: value for name, value in SETTINGS.items() if name not in {*sealed, "traits"}}
    made: Connection = factories.ConnectionFactory(app=live_app, connector="mixpanel", settings=plain, secrets=sealed)
    return made


def test_what_a_killed_worker_was_sending_is_sent_again_under_the_same_ids(account: Connection) -> None:
    prompt = factories.PromptFactory(app=account.app, key="stay")
    versions.publish(prompt, by="tests")
    for user in ("ann", "bob", "cleo"):
        events.record(account.app, events.Report(uuid4(), "stay", "impression", user))
    with fake_vendor() as vendor:
        mixpanel = SlowMixpanel(vendor)
        vendor.by_shape = mixpanel.answer
        with worker(mixpanel) as process:
            bell.ring_for_forwards(account.pk)
            until(lambda: len(mixpanel.batches) == 1, PATIENCE)
            process.kill()
        mixpanel.answers.set()
        assert set(Execution.objects.values_list("state", flat=True)) == {State.RUNNING}
        assert Batch.objects.get().write_begun_at is not None
        assert forwarding.sweep() == []  # its lease holds still
        Batch.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        assert forwarding.sweep() == [account.pk]
        with worker(mixpanel):
            bell.ring_for_forwards(account.pk)
            until(lambda: not Execution.objects.exclude(state=State.DONE).exists(), PATIENCE)
    first, second = mixpanel.batches
    assert len(first) == 3
    assert sorted(first) == sorted(second)
