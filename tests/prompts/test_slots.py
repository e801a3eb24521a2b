"""A connection has so many slots: one vendor that hangs keeps those, and no other thread of any worker."""

import logging
import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.db import connections as databases
from django.utils import timezone
from pytest_django import Settings

from connectors import registry
from engage.startup import begin
from prompts import claims, recovery
from prompts.models import Binding, Execution, State
from tests import factories
from tests.connectors.throwaway import Throwaway

pytestmark = pytest.mark.django_db


def queued(count: int, **fields: object) -> list[Execution]:
    """Queue so many executions of one connection, each of another person."""
    binding: Binding = factories.BindingFactory(**fields)
    made: list[Execution] = factories.ExecutionFactory.create_batch(count, binding=binding)
    Execution.objects.filter(binding=binding).update(due_at=timezone.now() - timedelta(seconds=1))
    return made


def claimed(count: int) -> list[Execution]:
    found = [claims.claim(f"worker-{number}") for number in range(count)]
    return [execution for execution in found if execution is not None]


def test_a_connection_has_four_slots_and_the_next_one_is_served(other_app: object) -> None:
    hanging, healthy = queued(6), queued(1)
    Execution.objects.filter(pk=healthy[0].pk).update(due_at=timezone.now() - timedelta(milliseconds=500))
    running = claimed(6)
    assert [execution.connection_id for execution in running[:4]] == [hanging[0].connection_id] * 4
    assert sorted(execution.slot or 0 for execution in running[:4]) == [1, 2, 3, 4]
    assert [execution.pk for execution in running[4:]] == [healthy[0].pk]


def test_a_connection_of_which_nothing_is_running_has_its_turn_however_long_the_queues_of_others() -> None:
    slow, slower = queued(10), queued(10)
    running = claimed(8)
    late = queued(1)[0]
    Execution.objects.filter(pk=running[0].pk).update(state=State.DONE)
    assert claims.claim("another", in_turn=True) == late
    following = claims.claim("another", in_turn=True)
    assert following is not None
    assert following.connection_id in {slow[0].connection_id, slower[0].connection_id}


def test_a_slot_that_is_free_again_is_given_out_again() -> None:
    queued(6)
    first = claimed(4)[0]
    assert claimed(1) == []
    Execution.objects.filter(pk=first.pk).update(state=State.DONE)
    assert [execution.slot for execution in claimed(2)] == [first.slot]


def test_the_one_that_the_bell_names_waits_for_a_slot_as_well() -> None:
    waiting = queued(5)
    claimed(4)
    left = next(execution for execution in waiting if Execution.objects.get(pk=execution.pk).state == State.QUEUED)
    assert claims.claim("another", left.pk) is None


def test_no_slot_is_taken_twice_whoever_tries() -> None:
    queued(2)
    first, second = claimed(2)
    with pytest.raises(IntegrityError), transaction.atomic():
        Execution.objects.filter(pk=second.pk).update(slot=first.slot)


def test_what_needs_no_connection_is_not_limited(settings: Settings) -> None:
    settings.ENGAGE_SLOTS = 1
    queued(3, connector="builtin", action="redirect", connection=None, inputs={})
    queued(3)
    assert len(claimed(6)) == 4


def test_the_number_of_slots_is_the_operators(settings: Settings) -> None:
    settings.ENGAGE_SLOTS = 2
    queued(6)
    assert len(claimed(6)) == 2


def test_a_vendor_that_carries_out_fewer_together_gets_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    class OneByOne(Throwaway):
        at_once = 1

    registry._by_key.cache_clear()  # noqa: SLF001 - the registry's memory, forgotten before and after
    monkeypatch.setattr(registry, "CONNECTORS", (*registry.CONNECTORS, OneByOne))
    try:
        queued(3, connector="throwaway", action="charge")
        queued(6)
        running = [execution.connector for execution in claimed(9)]
        assert (running.count("throwaway"), running.count("cleeng")) == (1, 4)
    finally:
        registry._by_key.cache_clear()  # noqa: SLF001


def test_what_queues_behind_its_own_slots_is_not_late() -> None:
    queued(6)
    assert claims.due().count() == 6
    claimed(4)
    assert claims.due().count() == 0
    assert recovery.oldest_overdue() == 0
    assert recovery.sweep() == 0
    queued(1)
    assert recovery.sweep() == 1


@pytest.mark.django_db(transaction=True)
def test_workers_that_claim_in_the_same_instant_keep_to_the_slots() -> None:
    """Each worker claims until nothing is left; nobody ends anything, so what runs in the end is what ran at most."""
    hanging, healthy = queued(30), queued(3)
    together = threading.Barrier(8)

    def worker(name: str) -> None:
        together.wait()
        try:
            while claims.claim(name) is not None:
                pass
        finally:
            databases.close_all()

    threads = [threading.Thread(target=worker, args=(f"worker-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    running = Execution.objects.filter(state=State.RUNNING)
    assert {row.slot for row in running.filter(connection=hanging[0].connection)} == {1, 2, 3, 4}
    assert running.filter(connection=hanging[0].connection).count() == 4
    assert running.filter(connection=healthy[0].connection).count() == 3


def test_a_worker_says_when_one_vendor_could_keep_all_its_threads(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    begin("worker")
    assert "one vendor that hangs" not in caplog.text
    settings.ENGAGE_SLOTS = settings.ENGAGE_WORKER_THREADS
    with caplog.at_level(logging.WARNING):
        begin("worker")
    assert "one vendor that hangs can keep every thread" in caplog.text
