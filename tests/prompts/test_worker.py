"""A real worker process: the bell goes through the broker, and what nobody rang for is found by the sweep."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from kombu import Producer

from prompts import bell, recovery
from prompts.models import Execution, State
from tests.prompts.conftest import House
from tests.waiting import until
from tests.worker import PATIENCE, worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.broker]


def settled(count: int) -> Callable[[], bool]:
    return lambda: Execution.objects.filter(state=State.DONE).count() == count


def test_a_worker_hears_the_bell_and_carries_it_out(house: House) -> None:
    house.bind()
    with worker(house.sandbox):
        house.report()
        until(settled(1), PATIENCE)
    assert [effect["what"] for effect in house.sandbox.effects()] == ["coupon_applied"]


def test_every_thread_rings_the_same_bell() -> None:
    from celery import current_app

    from engage.celery import app

    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(str(current_app.main)))
    thread.start()
    thread.join()
    assert found == [app.main] == ["engage"]


def test_what_nobody_rang_for_is_found_with_the_next_bell(house: House) -> None:
    house.bind()
    house.report()
    Execution.objects.update(due_at=timezone.now() - timedelta(hours=1))
    with worker(house.sandbox):
        bell.ring_on_commit()
        until(settled(1), PATIENCE)


def test_two_workers_and_many_bells_act_once_for_each_person(house: House) -> None:
    house.prompt.limit = "none"
    house.prompt.save()
    house.bind()
    with worker(house.sandbox), worker(house.sandbox):
        for _ in range(10):
            house.report()
        for _ in range(20):
            bell.ring_on_commit()
        # One of them writes; the others wait until Cleeng can show them that.
        until(lambda: not Execution.objects.filter(state__in=[State.QUEUED, State.RUNNING]).exists(), PATIENCE)
    assert settled(1)()
    assert len(house.sandbox.requests("PATCH")) == 1


def test_a_broker_that_is_away_neither_fails_nor_delays_an_answer(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engage import bell as lower

    monkeypatch.setattr(lower, "_quiet_until", 0.0)
    monkeypatch.setattr(Producer, "publish", _no_broker)
    house.bind()
    event = house.report()
    assert event.executions.get().state == State.QUEUED
    assert time.monotonic() < vars(lower)["_quiet_until"]


def _no_broker(*_: object, **__: object) -> None:
    raise ConnectionRefusedError


def test_a_worker_killed_in_mid_call_is_replaced_and_nothing_is_doubled(house: House) -> None:
    house.bind()
    house.sandbox.fault("PATCH", delay=30, act=True)
    with worker(house.sandbox) as first:
        event = house.report()
        until(lambda: bool(house.sandbox.effects()), PATIENCE)
        first.kill()
    Execution.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    recovery.sweep()
    execution = event.executions.get()
    assert (execution.state, execution.may_have_acted) == (State.WAITING, True)
    Execution.objects.update(due_at=timezone.now())
    with worker(house.sandbox):
        bell.ring_on_commit()
        until(settled(1), PATIENCE)
    assert len(house.sandbox.effects()) == 1
