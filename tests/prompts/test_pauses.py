"""What waits for a connection that pauses: it waits on, spends no try, and goes on by itself."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Value
from django.db.models.functions import Now
from django.utils import timezone

from connectors import limits
from connectors.models import Connection
from prompts import executions
from prompts.models import Attempt, BindingDay, Execution, OnError, PromptEvent, State
from prompts.pauses import SPREAD_AT_MOST, postpone
from tests import factories
from tests.prompts.conftest import CUSTOMER, House

pytestmark = pytest.mark.django_db


def free_in(house: House, seconds: float) -> None:
    """Say when the connection's next request may leave."""
    Connection.objects.update(next_free_at=Now() + Value(timedelta(seconds=seconds)))


def make_due() -> None:
    Execution.objects.exclude(due_at=None).update(due_at=timezone.now() - timedelta(seconds=1))


def carried_out(event: PromptEvent) -> Execution:
    """Let a worker do what is due, and return the event's first execution."""
    executions.work("tests")
    execution: Execution = event.executions.order_by("position")[0]
    return execution


def due_in(execution: Execution) -> float:
    assert execution.due_at is not None
    return (execution.due_at - timezone.now()).total_seconds()


def another_person(house: House, name: str = "ben") -> PromptEvent:
    """Report an answer of somebody else."""
    factories.SubscriberFactory(app=house.app, user_id=name, traits={"cleeng_customer_id": str(CUSTOMER + 1)})
    return house.report(user_id=name)


def test_who_has_to_wait_long_comes_back_and_has_spent_nothing(house: House) -> None:
    house.bind()
    free_in(house, 100)
    event = house.report()
    execution = carried_out(event)
    assert (execution.state, execution.reason, execution.attempts_made) == (State.WAITING, "paused", 0)
    assert execution.message == "Cleeng takes no more requests just now, by its own limit."
    assert 98 < due_in(execution) < 112
    assert not Attempt.objects.exists()
    assert BindingDay.objects.get().count == 0
    assert house.sandbox.requests() == []
    free_in(house, 0)
    make_due()
    execution = carried_out(event)
    assert (execution.state, execution.attempts_made) == (State.DONE, 1)
    assert BindingDay.objects.get().count == 1


def test_no_number_of_pauses_makes_it_give_up(house: House) -> None:
    house.bind()
    event = house.report()
    Execution.objects.update(attempts_made=10)
    free_in(house, 100)
    for _ in range(3):
        make_due()
        execution = carried_out(event)
    assert (execution.state, execution.attempts_made) == (State.WAITING, 10)


def test_the_action_behind_one_that_pauses_waits_for_its_first_try(house: House) -> None:
    house.bind(on_error=OnError.CONTINUE)
    house.bind()
    free_in(house, 100)
    event = house.report()
    carried_out(event)
    assert [row.state for row in event.executions.order_by("position")] == [State.WAITING, State.BLOCKED]


def test_a_wish_to_wait_postpones_what_else_is_due(house: House, other_app: Any) -> None:
    house.bind()
    house.sandbox.fault("GET", status=429, retry_after="77")
    first, second = house.report(), another_person(house)
    elsewhere = factories.ConnectionFactory(app=other_app)
    stranger = Execution.objects.get(event=second)
    stranger.pk, stranger.connection = None, elsewhere
    stranger.save()
    Execution.objects.filter(connection=elsewhere).update(due_at=timezone.now() + timedelta(seconds=1))
    heard = carried_out(first)
    assert (heard.attempts_made, heard.message) == (1, "Cleeng asks us to slow down.")
    waiting = second.executions.get(connection=house.connection)
    assert (waiting.state, waiting.reason, waiting.attempts_made) == (State.WAITING, "paused", 0)
    assert waiting.message == "Cleeng is paused: it asked us to wait."
    assert 75 < due_in(waiting) < 79
    assert Execution.objects.get(connection=elsewhere).state == State.QUEUED
    assert len(house.sandbox.requests()) == 1


def test_they_come_back_spread_out(house: House) -> None:
    house.bind()
    event = house.report()
    execution = event.executions.get()
    rows = []
    for number in range(1000):
        rows.append(Execution(**{**_columns(execution), "id": None, "attempts_made": number % 3}))
        rows[-1].id = Execution._meta.pk.get_default()
    Execution.objects.bulk_create(rows)
    assert postpone(house.connection.pk, 100, "Why.") == 1001
    waits = sorted(due_in(row) for row in Execution.objects.all())
    assert 95 < waits[0] < 105
    assert 100 + SPREAD_AT_MOST - 10 < waits[-1] < 101 + SPREAD_AT_MOST
    assert 120 < waits[500] < 140
    assert Execution.objects.filter(attempts_made=2).count() == 333


def test_what_comes_later_anyway_or_is_at_its_end_is_left_alone(house: House) -> None:
    house.bind()
    event = house.report()
    for state, seconds in ((State.WAITING, 500), (State.HELD, -1), (State.DONE, None), (State.RUNNING, -1)):
        due = None if seconds is None else timezone.now() + timedelta(seconds=seconds)
        event.executions.update(state=state, due_at=due)
        assert postpone(house.connection.pk, 100, "Why.") == 0
        assert event.executions.get().state == state


def test_a_pause_reaches_the_queue_only_when_it_is_longer(house: House) -> None:
    house.bind()
    event = house.report()
    limits.pause(house.connection, 600)
    assert 598 < due_in(event.executions.get()) < 602
    limits.pause(house.connection, 5)
    assert 598 < due_in(event.executions.get()) < 602


def _columns(execution: Execution) -> dict[str, Any]:
    return {field.attname: getattr(execution, field.attname) for field in Execution._meta.concrete_fields}
