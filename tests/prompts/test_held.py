"""What is held for a connection, and a connection that changes while a worker is at it: nothing stays held for one that is well."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.utils import timezone

from connectors import connections
from connectors.models import Connection, Health
from prompts import claims, executions, forwarding
from prompts.models import BindingDay, Execution, State
from tests.connectors.fake_vendor import Call, Heard
from tests.prompts.conftest import House
from tests.prompts.test_forwarding import Counter, Desk, desk, go, only, tally
from tests.prompts.test_journal import KEY, RESET, Shop, charge, shop, throwaway

__all__ = ["desk", "shop", "tally", "throwaway"]

pytestmark = pytest.mark.django_db


def stored() -> Connection:
    return Connection.objects.get()


def told_to_wait(house: House, **why: Any) -> Execution:
    """Return an execution whose worker has read of its connection that it waits; nothing is settled yet."""
    house.bind()
    house.report()
    Connection.objects.update(**why)
    claimed = claims.claim("slow")
    assert claimed is not None
    return claimed


NEEDS_IT: dict[str, Any] = {"health": Health.ATTENTION, "attention": "The key is refused."}
IS_OFF: dict[str, Any] = {"active": False}


class TestLetGoMeanwhile:
    def test_what_waited_for_a_connection_that_is_healthy_by_now_goes_on(self, house: House) -> None:
        claimed = told_to_wait(house, **NEEDS_IT)
        connections.mark_healthy(house.connection)
        executions.carry_out(claimed)
        claimed.refresh_from_db()
        assert (claimed.state, claimed.reason, claimed.attempts_made) == (State.QUEUED, "", 0)
        executions.work("tests")
        claimed.refresh_from_db()
        assert claimed.state == State.DONE
        assert BindingDay.objects.get().count == 1

    def test_so_does_what_waited_for_one_that_is_switched_on_by_now(self, house: House) -> None:
        claimed = told_to_wait(house, **IS_OFF)
        Connection.objects.update(active=True)
        executions.carry_out(claimed)
        executions.work("tests")
        claimed.refresh_from_db()
        assert claimed.state == State.DONE

    def test_a_job_is_asked_about_again(self, house: House) -> None:
        claimed = told_to_wait(house, **NEEDS_IT)
        claimed.job = {"id": 7}
        Execution.objects.update(job=claimed.job)
        connections.mark_healthy(house.connection)
        executions.carry_out(claimed)
        claimed.refresh_from_db()
        assert (claimed.state, claimed.reason, claimed.job) == (State.PENDING, "", {"id": 7})

    def test_what_waits_for_another_reason_by_now_is_let_go_for_that_one(self, house: House) -> None:
        claimed = told_to_wait(house, **IS_OFF)
        Connection.objects.update(active=True, **NEEDS_IT)
        executions.carry_out(claimed)
        claimed.refresh_from_db()
        assert (claimed.state, claimed.reason) == (State.HELD, "credentials")
        connections.mark_healthy(house.connection)
        claimed.refresh_from_db()
        assert claimed.state == State.QUEUED

    @pytest.mark.django_db(transaction=True)
    def test_who_lets_go_at_the_same_moment_is_waited_for(self, house: House) -> None:
        claimed = told_to_wait(house, **NEEDS_IT)
        settled = _beside_a_test_that_passes(house.connection, lambda: executions.carry_out(claimed))
        assert not settled, "it holds what is not let go of yet"
        claimed.refresh_from_db()
        assert claimed.state == State.QUEUED

    @pytest.mark.django_db(transaction=True)
    def test_so_is_who_lets_forwards_go(self, desk: Desk, tally: Counter) -> None:
        account = desk.connect()
        desk.report()
        Connection.objects.update(**NEEDS_IT)
        settled = _beside_a_test_that_passes(account, lambda: forwarding.work("tests", account.pk))
        assert not settled, "it holds what is not let go of yet"
        assert only().state == State.QUEUED
        go(account)
        assert only().state == State.DONE


def _beside_a_test_that_passes(account: Connection, work: Callable[[], Any]) -> bool:
    """Let a worker work while a passed test is stored and not committed. Returns whether it ended before that was."""

    def away() -> None:
        try:
            work()
        finally:
            database.close()

    with ThreadPoolExecutor(1) as worker:
        with transaction.atomic():
            connections.mark_healthy(account)
            works = worker.submit(away)
            try:
                works.result(timeout=0.5)
            except TimeoutError:
                ended = False
            else:
                ended = True
        works.result(timeout=20)
    return ended


class TestSavedMeanwhile:
    """The vendor refuses a key, and before that is stored a person saves one that it takes."""

    def save_another(self) -> None:
        row = stored()
        row.seal({"api_key": f"{KEY}-2"})
        row.health = Health.HEALTHY
        row.save()

    def takes_another(self, heard: Heard) -> Call:
        """Answer as a vendor that refuses the key of now, while a person saves the one that it takes."""
        if (heard.header("Authorization") or "").endswith("-2"):
            return Call(heard.method, heard.path, {"id": "ch7"})
        if heard.path == "/me":
            self.save_another()
        return Call(heard.method, heard.path, {"message": "bad key"}, status=401)

    @pytest.mark.django_db(transaction=True)  # the key is saved from the vendor's thread
    def test_the_new_key_is_not_told_to_be_refused_and_is_tried(self, shop: Shop) -> None:
        execution = shop.planned("charge")
        shop.vendor.by_shape = self.takes_another
        claimed = claims.claim("slow")
        assert claimed is not None
        executions.carry_out(claimed)
        execution.refresh_from_db()
        assert (execution.state, execution.attempts_made) == (State.QUEUED, 0)
        assert (stored().health, stored().attention) == (Health.HEALTHY, "")
        executions.work("tests")
        execution.refresh_from_db()
        assert (execution.state, execution.attempts_made) == (State.DONE, 1)
        assert [attempt.outcome for attempt in execution.attempts.order_by("fence")] == ["held", "done"]
        assert BindingDay.objects.get().count == 1

    @pytest.mark.django_db(transaction=True)
    def test_what_may_have_happened_is_not_tried_before_the_vendor_can_show_it(self, shop: Shop) -> None:
        execution, _ = shop.play(shop.planned("charge"), charge(), broken=RESET)
        shop.vendor.by_shape = self.takes_another
        Execution.objects.update(due_at=timezone.now() - timedelta(seconds=1))
        executions.work("tests")
        execution.refresh_from_db()
        assert (execution.state, execution.may_have_acted) == (State.QUEUED, True)
        assert execution.due_at is not None
        assert 25 < (execution.due_at - timezone.now()).total_seconds() < 31

    @pytest.mark.django_db(transaction=True)
    def test_nor_is_it_by_a_batch(self, desk: Desk, tally: Counter) -> None:
        account, counts = desk.connect(), tally.vendor.by_shape
        desk.report()

        def answer(heard: Heard) -> Call | None:
            if (heard.header("Authorization") or "").endswith("-2"):
                return counts(heard) if counts else None
            self.save_another()
            return Call(heard.method, heard.path, {"message": "bad key"}, status=401)

        tally.vendor.by_shape = answer
        go(account)
        assert (only().state, only().reason, only().attempts_made) == (State.QUEUED, "", 0)
        assert (stored().health, stored().attention) == (Health.HEALTHY, "")
        go(account)
        assert only().state == State.DONE

    @pytest.mark.django_db(transaction=True)
    def test_nor_is_it_by_the_test_of_what_is_held(self, shop: Shop) -> None:
        Connection.objects.update(**NEEDS_IT)

        def answer(heard: Heard) -> Call:
            self.save_another()
            return Call(heard.method, heard.path, {"message": "bad key"}, status=401)

        shop.vendor.by_shape = answer
        connections.probe_held()
        assert stored().health == Health.HEALTHY

    def test_what_is_said_of_an_older_row_is_not_kept(self, house: House) -> None:
        before = stored()
        self.save_another()
        assert not connections.mark_attention(before, "The key is refused.")
        assert stored().health == Health.HEALTHY
        assert connections.mark_attention(stored(), "The key is refused.")

    def test_nor_is_what_passed_of_an_older_row(self, house: House) -> None:
        Connection.objects.update(**NEEDS_IT)
        before = stored()
        Connection.objects.update(updated_at=timezone.now())
        assert not connections.mark_healthy(before)
        assert (stored().health, stored().attention) == (Health.ATTENTION, NEEDS_IT["attention"])
        Connection.objects.update(health=Health.UNKNOWN)
        connections.mark_healthy(before)
        assert stored().health == Health.UNKNOWN
        assert not connections.mark_healthy(stored())
        assert stored().health == Health.HEALTHY
