"""What is old is deleted, and nothing else."""

import math
from datetime import datetime, timedelta
from io import StringIO
from itertools import count as counting
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection, connections
from django.utils import timezone
from kombu import Producer
from pytest_django import Settings

from engage import retention, tasks
from engage import settings as engage_settings
from engage.alerts.models import Alert, Kind
from engage.audit.models import Entry
from engage.retention import count, purge
from engage.schedules.models import Slot
from prompts.models import (
    OPEN,
    Attempt,
    AttemptBody,
    Batch,
    BatchBody,
    BindingDay,
    Execution,
    LimitTaken,
    PromptEvent,
    Refusal,
    State,
)
from sync import pulls
from sync.models import ImportRun, InboundMessage, RejectedRow, RunState, Source
from tests.factories import (
    AppFactory,
    BindingFactory,
    ConnectionFactory,
    ExecutionFactory,
    PromptFactory,
    SourceFactory,
    SubscriberFactory,
)

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def ago(**time: float) -> datetime:
    return NOW - timedelta(**time)


def execution(state: State, received: datetime, **fields: Any) -> Execution:
    made: Execution = ExecutionFactory(state=state, created_at=received, **fields)
    PromptEvent.objects.filter(pk=made.event.pk).update(received_at=received)
    attempt = Attempt.objects.create(execution=made, number=1, fence=1, worker="w", started_at=received)
    AttemptBody.objects.create(attempt=attempt, exchanges=[{"url": "https://vendor.example.com"}])
    return made


def purged() -> dict[str, int]:
    return purge(NOW, seconds=math.inf, pause=0)


def test_attempts_and_their_bodies_go_before_the_events() -> None:
    execution(State.DONE, ago(days=31))
    young = execution(State.DONE, ago(days=29))
    purged()
    assert Execution.objects.count() == PromptEvent.objects.count() == 2
    assert list(Attempt.objects.values_list("execution", flat=True)) == [young.pk]
    assert AttemptBody.objects.count() == 1


def test_an_event_goes_with_its_executions() -> None:
    execution(State.DONE, ago(days=91))
    young = execution(State.REJECTED, ago(days=89))
    assert purged()["events"] == 1
    assert list(PromptEvent.objects.values_list("pk", flat=True)) == [young.event.pk]
    assert list(Execution.objects.values_list("pk", flat=True)) == [young.pk]


@pytest.mark.parametrize("state", [*OPEN, State.HANDED_OVER])
def test_what_is_open_stays_with_all_it_needs(state: State) -> None:
    execution(state, ago(days=4000), due_at=NOW)
    done = ExecutionFactory(event=Execution.objects.get().event, state=State.DONE)
    purged()
    assert (Execution.objects.count(), Attempt.objects.count(), AttemptBody.objects.count()) == (2, 1, 1)
    Execution.objects.exclude(pk=done.pk).update(state=State.DONE)
    purged()
    assert (Execution.objects.count(), Attempt.objects.count()) == (0, 0)


def test_an_instruction_that_nobody_reports_on_any_more_goes() -> None:
    execution(State.HANDED_OVER, ago(days=91), due_at=None)
    purged()
    assert PromptEvent.objects.count() == 0


def test_a_limit_stays_when_its_event_goes() -> None:
    old = execution(State.DONE, ago(days=91))
    assert old.binding
    LimitTaken.objects.create(
        prompt=old.binding.prompt, subscriber=old.subscriber, event=old.event, taken_at=old.created_at
    )
    purged()
    assert LimitTaken.objects.get().event is None


def test_a_batch_goes_with_what_was_sent_and_its_executions_stay() -> None:
    row = execution(State.DONE, ago(days=1))
    old, young, open_one = (
        Batch.objects.create(
            connection=ConnectionFactory(app=row.app, name=name),
            started_at=ago(days=days),
            lease_until=NOW,
            finished_at=ended,
        )
        for name, days, ended in (("a", 31, NOW), ("b", 29, NOW), ("c", 31, None))
    )
    BatchBody.objects.create(batch=old, payloads={"x": {}})
    Execution.objects.update(batch=old)
    assert purged()["batches"] == 1
    assert set(Batch.objects.values_list("pk", flat=True)) == {young.pk, open_one.pk}
    assert not BatchBody.objects.exists()
    assert Execution.objects.get().batch is None


def test_each_app_has_its_events_purged() -> None:
    for app in (AppFactory(), AppFactory()):
        PromptEvent.objects.create(
            app=app,
            prompt=PromptFactory(app=app),
            subscriber=SubscriberFactory(app=app),
            interaction="impression",
            digest="",
            mode="live",
            reference="R",
            received_at=ago(days=91),
        )
    assert purged()["events"] == 2


def test_the_history_of_a_year_stays() -> None:
    company = AppFactory().company
    rows = [Entry.objects.create(company=company, actor="a", verb="changed", kind="prompt") for _ in range(2)]
    Entry.objects.filter(pk=rows[0].pk).update(at=ago(days=366))
    Entry.objects.filter(pk=rows[1].pk).update(at=ago(days=364))
    assert purged()["history"] == 1
    assert Entry.objects.get().pk == rows[1].pk


def test_counts_of_refused_requests_and_rejected_rows_go() -> None:
    for days in (31, 29):
        Refusal.objects.create(hour=ago(days=days), endpoint="e", reason="r", last_at=ago(days=days))
    source = SourceFactory()
    for days in (91, 89):
        run = ImportRun.objects.create(app=source.app, source=source, object_key=f"{days}.csv")
        ImportRun.objects.filter(pk=run.pk).update(started_at=ago(days=days))
        RejectedRow.objects.create(run=run, line=2, reason="no id")
    deleted = purged()
    assert (deleted["refused requests"], deleted["rejected rows"]) == (1, 1)
    assert ImportRun.objects.count() == 2  # the ledger of files


def test_of_the_counts_of_days_a_week_stays() -> None:
    binding = BindingFactory()
    for days in (0, 7, 8, 9):
        BindingDay.objects.create(binding=binding, day=ago(days=days).date(), count=3)
    assert purged()["days' counts"] == 2
    assert set(BindingDay.objects.values_list("day", flat=True)) == {NOW.date(), ago(days=7).date()}


def vendors_list() -> Source:
    """A list of a vendor that is read every night."""
    told = {"region": "us", "use_account_code": True, "traits_for": "trait"}
    return pulls.source_of(ConnectionFactory(connector="recurly", settings=told), "subscriptions")


def reading(source: Source, days: float, state: RunState = RunState.DONE, **fields: Any) -> ImportRun:
    run = ImportRun.objects.create(
        app=source.app, source=source, object_key="read", etag=str(days), state=state, finished_at=NOW, **fields
    )
    ImportRun.objects.filter(pk=run.pk).update(started_at=ago(days=days))
    return run


def test_readings_of_a_vendor_go_but_the_last_of_each_list() -> None:
    vendor, file = vendors_list(), reading(SourceFactory(), 200)
    waiting = reading(vendor, 150, RunState.STOPPED)
    for days, state in ((140, RunState.DONE), (130, RunState.DONE_WITH_REJECTED), (120, RunState.FAILED)):
        reading(vendor, days, state)
    last = reading(vendor, 110)
    open_one = reading(vendor, 100, RunState.STOPPED)
    other = reading(vendors_list(), 200)
    assert purged()["readings"] == 3
    assert set(ImportRun.objects.all()) == {file, waiting, last, open_one, other}
    reading(vendor, 1)
    assert purged()["readings"] == 1
    assert not ImportRun.objects.filter(pk=last.pk).exists()


def test_what_later_readings_rest_on_is_young_enough_to_stay(settings: Settings) -> None:
    vendor = vendors_list()
    settings.ENGAGE_KEEP_EVENTS_DAYS = 7  # no less is allowed
    read_as = pulls.settings_now(vendor.connection)
    for days, since in ((9, None), (8, ago(days=10)), (6.9, None), (2, ago(days=3)), (1, ago(days=2))):
        reading(vendor, days, read_as=read_as, changed_since=since)
    assert purged()["readings"] == 2
    assert pulls.ask(vendor, "test").changed_since == ago(days=1) - pulls.OVERLAP


def test_a_slot_stays_as_long_as_it_could_come_due_again() -> None:
    Slot.objects.create(job="yearly", start=ago(days=366), completed_at=ago(days=366))
    Slot.objects.create(job="old", start=ago(days=401), completed_at=ago(days=401))
    Slot.objects.create(job="never done", start=ago(days=500))
    purged()
    assert set(Slot.objects.values_list("job", flat=True)) == {"yearly", "never done"}


def test_a_purge_goes_on_over_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STEP", 2)
    for _ in range(5):
        execution(State.DONE, ago(days=91))
    assert purged()["events"] == 5


def test_no_kind_of_row_waits_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STEP", 1)
    for _ in range(20):
        execution(State.DONE, ago(days=31))
    for _ in range(2):
        entry = Entry.objects.create(company=AppFactory().company, actor="a", verb="changed", kind="prompt")
        Entry.objects.filter(pk=entry.pk).update(at=ago(days=366))
    ticks = counting()
    monkeypatch.setattr(retention, "random", SimpleNamespace(sample=lambda rules, _: rules))
    monkeypatch.setattr(retention, "time", SimpleNamespace(monotonic=lambda: next(ticks), sleep=lambda _: None))
    gone = purge(NOW, seconds=len(retention.RULES) + 3)  # a second for each look at the clock
    assert gone["history"] == 2
    assert 0 < gone["attempts"] < 20


def test_rejected_rows_go_in_steps_before_their_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STEP", 2)
    vendor = vendors_list()
    old = reading(vendor, 100)
    reading(vendor, 1)
    RejectedRow.objects.bulk_create(RejectedRow(run=old, line=line, reason="no id") for line in range(5))
    assert purged()["rejected rows"] == 5
    purged()
    assert not ImportRun.objects.filter(pk=old.pk).exists()


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments of each bell for the purge."""
    heard: list[list[str]] = []
    monkeypatch.setattr(Producer, "publish", lambda _, body, **__: heard.append(list(body[0])))
    return heard


def test_a_run_rings_for_the_next_while_something_is_deleted(rung: list[list[str]]) -> None:
    execution(State.DONE, ago(days=91))
    tasks.purge()
    [begun] = rung
    tasks.purge(*begun)
    assert PromptEvent.objects.count() == 0
    assert rung == [begun]


def test_after_an_hour_the_schedule_rings_and_nobody_else(rung: list[list[str]]) -> None:
    for minutes, heard in ((59, 1), (60, 1)):
        execution(State.DONE, ago(days=91))
        retention.work(NOW, NOW - timedelta(minutes=minutes))
        assert len(rung) == heard


def test_out_of_time_the_rest_stays_for_the_next() -> None:
    execution(State.DONE, ago(days=91))
    assert set(purge(NOW, seconds=0).values()) == {0}
    assert purged()["events"] == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_an_event_that_somebody_works_on_is_left() -> None:
    old = execution(State.DONE, ago(days=91))
    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT id FROM prompts_promptevent WHERE id = %s FOR NO KEY UPDATE", [old.event.pk])
            assert purged()["events"] == 0
            cursor.execute("COMMIT")
    finally:
        other.close()
    assert purged()["events"] == 1


def test_the_command_counts_first() -> None:
    execution(State.DONE, ago(days=91))
    assert count(NOW)["events"] == 1
    out = StringIO()
    call_command("purge", "--dry-run", stdout=out)
    assert "events: 1 would be deleted" in out.getvalue()
    assert PromptEvent.objects.count() == 1
    call_command("purge", stdout=out)
    assert "events: 1 deleted" in out.getvalue()
    assert PromptEvent.objects.count() == 0


@pytest.mark.parametrize("value", ["6", "-1", "soon", "7.5"])
def test_events_cannot_be_kept_too_short(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ENGAGE_KEEP_EVENTS_DAYS", value)
    with pytest.raises(ImproperlyConfigured, match="at least 7"):
        engage_settings.days("ENGAGE_KEEP_EVENTS_DAYS", 90, least=7)


def test_webhooks_go_once_they_are_at_their_end() -> None:
    connection = ConnectionFactory()
    for number, (days, settled) in enumerate(((91, 91), (91, None), (91, 89), (89, 89))):
        InboundMessage.objects.create(
            app=connection.app,
            connection=connection,
            event_id=str(number),
            received_at=ago(days=days),
            settled_at=ago(days=settled) if settled else None,
        )
    assert purged()["webhooks"] == 1
    assert set(InboundMessage.objects.values_list("event_id", flat=True)) == {"1", "2", "3"}


def test_a_session_goes_when_it_has_expired_and_an_alert_long_after_it_was_over() -> None:
    for hours in (-1, 1):
        Session.objects.create(session_key=f"key{hours}", session_data="", expire_date=ago(hours=hours))
    app = AppFactory()
    for kind, closed in ((Kind.OVERDUE, ago(days=91)), (Kind.GAVE_UP, ago(days=89)), (Kind.UNCERTAIN, None)):
        Alert.objects.create(app=app, kind=kind, opened_at=ago(days=92), closed_at=closed)
    gone = purged()
    assert (gone["sessions"], gone["alerts"]) == (1, 1)
    assert Session.objects.get().session_key == "key-1"
    assert set(Alert.objects.values_list("kind", flat=True)) == {Kind.GAVE_UP, Kind.UNCERTAIN}
