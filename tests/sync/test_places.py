"""Long work has its places, so that threads are left for actions: who gets none is found by the next tick."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from threading import BoundedSemaphore

import pytest
from django.conf import settings as installed
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule
from pytest_django import Settings

from connectors.models import Connection
from connectors.tasks import refresh_catalogues
from engage import places
from engage.schedules.models import Slot
from engage.tenancy.models import App
from prompts.tasks import recheck_inputs
from sync import inbound, pushes, rereads, retyping, rounds, schedule, tasks
from sync.models import Access, ImportRun, InboundMessage, MessageState, Round, RoundState, RunState, Source, Trait
from tests.factories import ConnectionFactory
from tests.sync.conftest import TestBucket

pytestmark = pytest.mark.django_db
CSV = "user_id,plan\n1,gold\n"


def take_all(some: BoundedSemaphore, until: ExitStack) -> int:
    """Take the places that are left, and say how many there were."""
    count = 0
    while some.acquire(blocking=False):
        until.callback(some.release)
        count += 1
    return count


@pytest.fixture
def taken() -> Iterator[ExitStack]:
    """Every place is taken until this is closed."""
    with ExitStack() as until:
        assert take_all(places.LONG, until)
        assert take_all(places.TURNS, until)
        yield until


def tick(now: datetime) -> list[tuple[str, str, str]]:
    sent: list[tuple[str, str, str]] = []
    schedule.tick(now, lambda *call: sent.append(call))
    return sent


def test_a_thread_is_left_for_actions() -> None:
    with ExitStack() as until:
        busy = take_all(places.LONG, until) + take_all(places.TURNS, until)
    assert 2 <= busy < installed.ENGAGE_WORKER_THREADS


def test_check_now_waits_for_a_place(source: Source, bucket: TestBucket, taken: ExitStack) -> None:
    bucket.put("cleeng/a.csv", CSV)
    now = timezone.now()
    for _ in range(3):
        tasks.import_source(str(source.pk), "ann@example.com")
        assert not ImportRun.objects.exists()
    ((source_id, by, slot),) = tick(now)
    assert source_id == str(source.pk)
    tasks.import_source(source_id, by, slot)
    ((_, _, again),) = tick(now + timedelta(seconds=30))
    assert again == slot, "there was no place"
    taken.close()
    tasks.import_source(source_id, by, slot)
    assert ImportRun.objects.get().state == RunState.DONE
    assert not Slot.objects.filter(completed_at=None).exists()
    assert tick(now + timedelta(minutes=20)) == []


def test_a_slot_without_a_place_is_sent_again_by_the_next_tick(
    make_source: Callable[..., Source], bucket: TestBucket, taken: ExitStack
) -> None:
    now = datetime(2026, 5, 4, 10, 5, tzinfo=UTC)
    hourly = IntervalSchedule.objects.create(every=1, period="hours")
    make_source(interval=hourly, schedule_since=now - timedelta(days=1))
    bucket.put("cleeng/a.csv", CSV)
    ((source_id, by, slot),) = tick(now)
    tasks.import_source(source_id, by, slot)
    assert tick(now + timedelta(seconds=30)) == [(source_id, by, slot)]
    assert tick(now + timedelta(seconds=60)) == [], "it is on its way"
    taken.close()
    tasks.import_source(source_id, by, slot)
    assert ImportRun.objects.get().state == RunState.DONE


def test_what_was_asked_for_by_a_row_is_sent_once_a_tick(source: Source, taken: ExitStack) -> None:
    """A reading of a vendor or an upload has its row; it is not looked for twice."""
    Source.objects.update(access=Access.UPLOAD)
    ImportRun.objects.create(app=source.app, source=source, state=RunState.STOPPED, uploaded=True)
    now = timezone.now()
    for seconds in (0, 30, 60):
        sent = tick(now + timedelta(seconds=seconds))
        assert [source_id for source_id, _, _ in sent] == [str(source.pk)]
        for call in sent:
            tasks.import_source(*call)
    assert Slot.objects.count() == 1


@pytest.mark.parametrize("change", [{"paused": True}, None])
def test_who_is_paused_or_gone_waits_no_longer(
    source: Source, taken: ExitStack, change: dict[str, bool] | None
) -> None:
    tasks.import_source(str(source.pk), "ann@example.com")
    if change:
        Source.objects.update(**change)
        assert tick(timezone.now()) == []
        return
    source.delete()
    for call in tick(timezone.now()):
        schedule.carry_out(*call)
    assert tick(timezone.now() + schedule.SLOT_LEASE * 2) == []


@pytest.mark.parametrize(
    ("connector", "ask", "task"),
    [("mixpanel", pushes.ask, tasks.push_traits), ("amazon", rereads.ask, tasks.read_again)],
)
def test_a_round_without_a_place_stays_due(
    app: App,
    taken: ExitStack,
    connector: str,
    ask: Callable[[Connection, str], Round],
    task: Callable[[], None],
) -> None:
    run = ask(ConnectionFactory(app=app, connector=connector, settings={"traits": "plan"}), "ann@example.com")
    task()
    assert rounds.due(type(run)) == [run]
    taken.close()
    task()
    run.refresh_from_db()
    assert run.state == RoundState.DONE


def test_a_message_without_a_place_stays_due(app: App, taken: ExitStack) -> None:
    message = InboundMessage.objects.create(
        app=app,
        connection=ConnectionFactory(app=app, connector="cleeng"),
        event_id="1",
        received_at=timezone.now(),
        due_at=timezone.now(),
    )
    tasks.process_messages()
    assert inbound.due().get() == message
    taken.close()
    tasks.process_messages()
    message.refresh_from_db()
    assert message.state != MessageState.QUEUED


@pytest.mark.parametrize("task", [refresh_catalogues, recheck_inputs])
def test_a_night_without_a_place_stays_due(
    app: App, taken: ExitStack, settings: Settings, task: Callable[[], None]
) -> None:
    settings.ENGAGE_VENDOR_URLS = {"cleeng": "http://127.0.0.1:9"}
    ConnectionFactory(app=app, connector="cleeng")
    for model in (App, Connection):
        model.objects.update(created_at=timezone.now() - timedelta(days=2))
    task()
    assert not Slot.objects.exists()
    taken.close()
    task()
    assert Slot.objects.get().completed_at is not None


def test_a_trait_without_a_place_stays_due(app: App, taken: ExitStack) -> None:
    trait = Trait.objects.create(app=app, name="n")
    retyping.ask(trait)
    tasks.retype_traits()
    assert retyping.due().get() == trait
    taken.close()
    tasks.retype_traits()
    assert not retyping.due().exists()
