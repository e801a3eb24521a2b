"""The circuit breaker: after repeated failures a connection pauses, one try goes ahead, and nothing is dropped or spent."""

import os
import subprocess
import sys
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connections as databases
from django.utils import timezone

from connectors import breaker, connections, limits
from connectors.failures import Paused
from connectors.models import Connection
from engage.audit.models import Entry
from prompts import claims, executions, pauses, recovery
from prompts.models import Attempt, BindingDay, Execution, State
from tests import factories
from tests.prompts.conftest import CUSTOMER, House

pytestmark = pytest.mark.django_db
SENTENCE = "Cleeng is paused: its last calls failed. It is tried again by itself."


@pytest.fixture
def house(house: House) -> House:
    house.bind()
    return house


def connection_of(house: House) -> Connection:
    return Connection.objects.get(pk=house.connection.pk)


def had(account: Connection, *verdicts: bool | None, ago: float = 1) -> None:
    """Let attempts of an account have ended, oldest first: failed, or not; the last one `ago` seconds ago."""
    execution = Execution.objects.filter(connection=account).first() or factories.ExecutionFactory(
        binding__connection=account, binding__prompt__app=account.app, state=State.DONE, due_at=None
    )
    last = timezone.now() - timedelta(seconds=ago)
    fence = 1000 + Attempt.objects.count()
    for number, failed in enumerate(verdicts):
        at = last - timedelta(milliseconds=len(verdicts) - number)
        Attempt.objects.create(
            execution=execution,
            connection=account,
            number=1,
            fence=fence + number,
            worker="w",
            started_at=at,
            finished_at=at,
            vendor_failed=failed,
        )


def report(house: House, name: str) -> Execution:
    """Report an answer of a person of this name, and return what is to be carried out for it."""
    factories.SubscriberFactory(app=house.app, user_id=name, traits={"cleeng_customer_id": str(CUSTOMER)})
    execution: Execution = house.report(user_id=name).executions.get()
    return execution


def carried_out(execution: Execution) -> Execution:
    """Let a worker do what is due, and the sweep come by."""
    executions.work("tests")
    recovery.sweep()
    return Execution.objects.get(pk=execution.pk)


def due_in(execution: Execution) -> float:
    assert execution.due_at is not None
    return (execution.due_at - timezone.now()).total_seconds()


def closed_for(house: House) -> float:
    until = connection_of(house).closed_until
    assert until is not None
    return (until - timezone.now()).total_seconds()


def opened(house: House) -> None:
    """Let ten calls have failed, the last of them now."""
    had(house.connection, *[True] * 9)
    house.sandbox.fault("GET", status=503)
    carried_out(report(house, "the-tenth"))
    assert closed_for(house) > 0


def pause_is_over(house: House) -> None:
    """Let the pause end now, and what was postponed until then be due."""
    past = timezone.now() - timedelta(seconds=1)
    Connection.objects.filter(pk=house.connection.pk).update(closed_until=past)
    Execution.objects.filter(state=State.WAITING).update(due_at=past)


class TestOpening:
    def test_ten_failures_in_a_row_pause_the_connection_and_spend_nothing_of_what_waits(self, house: House) -> None:
        opened(house)
        assert 28 < closed_for(house) < 32
        asked = len(house.sandbox.requests())
        execution = carried_out(report(house, "ben"))
        assert (execution.state, execution.reason, execution.attempts_made) == (State.WAITING, "paused", 0)
        assert execution.message == SENTENCE
        assert 27 < due_in(execution) < 32
        assert not execution.attempts.exists()
        assert BindingDay.objects.get().count == 1  # of the tenth alone
        assert len(house.sandbox.requests()) == asked

    def test_what_was_claimed_just_before_is_put_back(self, house: House) -> None:
        execution = report(house, "ben")
        claimed = claims.claim("tests")
        assert claimed is not None
        claimed.connection.closed_until = timezone.now() + timedelta(seconds=20)  # type: ignore[union-attr]
        claimed.connection.save()  # type: ignore[union-attr]
        executions.carry_out(claimed)
        execution.refresh_from_db()
        assert (execution.state, execution.reason, execution.attempts_made) == (State.WAITING, "paused", 0)
        assert execution.message == SENTENCE
        assert 18 < due_in(execution) < 24
        assert not execution.attempts.exists()
        assert BindingDay.objects.get().count == 0
        assert house.sandbox.requests() == []

    def test_nothing_of_it_is_claimed_and_nothing_is_late(self, house: House) -> None:
        opened(house)
        execution = report(house, "ben")
        assert claims.claim("tests") is None
        assert claims.claim("tests", execution.pk) is None
        assert recovery.oldest_overdue() == 0

    def test_nine_do_not(self, house: House) -> None:
        had(house.connection, *[True] * 8)
        house.sandbox.fault("GET", status=503)
        carried_out(report(house, "ben"))
        assert connection_of(house).closed_until is None

    @pytest.mark.parametrize("fault", [{"then": "reset"}, {"status": 429}, {"status": 500}])
    def test_no_answer_and_asking_to_slow_down_are_failures(self, house: House, fault: dict[str, Any]) -> None:
        had(house.connection, *[True] * 9)
        house.sandbox.fault("GET", **fault)
        assert carried_out(report(house, "ben")).attempts.get().vendor_failed is True
        assert connection_of(house).closed_until is not None

    def test_a_definite_refusal_is_an_answer(self, house: House) -> None:
        had(house.connection, *[True] * 9)
        house.sandbox.fault("GET", status=404, raw='{"message": "No such customer"}')
        execution = carried_out(report(house, "ben"))
        assert (execution.state, execution.attempts.get().vendor_failed) == (State.REJECTED, False)
        assert connection_of(house).closed_until is None

    def test_who_asked_nobody_says_nothing(self, house: House) -> None:
        execution = report(house, "ben")
        execution.subscriber.traits = {}
        execution.subscriber.save()
        execution = carried_out(execution)
        assert (execution.state, execution.attempts.get().vendor_failed) == (State.SKIPPED, None)

    @pytest.mark.parametrize(
        ("verdicts", "trouble"),
        [
            ([True] * 6 + [False] * 3 + [True], True),  # 7 of 10
            ([True] * 5 + [False] * 4 + [True], False),
            ([True] * 8, False),  # too few to say anything
            ([False] * 20 + [True] * 10, True),  # 10 in a row
            ([False] * 20 + [True] * 9, False),
            ([None] * 5 + [True] * 9, False),
        ],
    )
    def test_seven_tenths_of_the_last_minutes_or_ten_in_a_row(
        self, house: House, verdicts: list[bool | None], trouble: bool
    ) -> None:
        had(house.connection, *verdicts)
        assert breaker.is_in_trouble(house.connection.pk) is trouble

    def test_what_was_more_than_five_minutes_ago_is_not_counted(self, house: House) -> None:
        had(house.connection, *[True] * 8, ago=301)
        had(house.connection, False, *[True] * 5)
        assert not breaker.is_in_trouble(house.connection.pk)
        had(house.connection, True, True, False, True)
        assert breaker.is_in_trouble(house.connection.pk)

    def test_another_connection_is_not_concerned(self, house: House, other_app: Any) -> None:
        other = factories.ConnectionFactory(app=other_app)
        had(other, *[True] * 20)
        assert not breaker.is_in_trouble(house.connection.pk)

    def test_what_else_was_due_is_postponed_at_once(self, house: House) -> None:
        had(house.connection, *[True] * 9)
        house.sandbox.fault("GET", status=503)
        report(house, "the-tenth")
        waiting = [report(house, name) for name in ("ben", "cem", "dan")]
        executions.work("tests")
        for execution in waiting:
            execution.refresh_from_db()
            assert (execution.state, execution.message, execution.fence) == (State.WAITING, SENTENCE, 0)
        assert len(house.sandbox.requests()) == 1

    def test_who_was_under_way_neither_prolongs_the_pause_nor_ends_it(self, house: House) -> None:
        opened(house)
        before = connection_of(house).closed_until
        breaker.note(house.connection, failed=True, probing=False)
        breaker.note(house.connection, failed=False, probing=False)
        assert connection_of(house).closed_until == before


class TestProbe:
    def test_after_the_pause_one_goes_ahead_and_its_success_brings_back_the_others(self, house: House) -> None:
        opened(house)
        waiting = [carried_out(report(house, name)) for name in ("ben", "cem", "dan")]
        pause_is_over(house)
        executions.work("tests")
        account = connection_of(house)
        assert (account.closed_until, account.pauses) == (None, 0)
        states = {Execution.objects.get(pk=execution.pk).state for execution in waiting}
        assert states <= {State.DONE, State.WAITING}
        Execution.objects.filter(state=State.WAITING).update(due_at=timezone.now() - timedelta(seconds=1))
        executions.work("tests")
        assert {execution.state for execution in Execution.objects.exclude(fence=0)} == {State.DONE}
        assert set(
            Execution.objects.filter(pk__in=[row.pk for row in waiting]).values_list("attempts_made", flat=True)
        ) == {1}

    def test_the_others_wait_while_it_is_under_way(self, house: House) -> None:
        opened(house)
        execution = carried_out(report(house, "ben"))
        pause_is_over(house)
        assert breaker.turn(connection_of(house)) is True
        execution.refresh_from_db()
        assert 55 < due_in(execution) < 62
        with pytest.raises(Paused) as paused:
            breaker.turn(connection_of(house))
        assert 55 < (paused.value.after or 0) < 61

    def test_each_failure_doubles_the_pause_up_to_ten_minutes(self, house: House) -> None:
        opened(house)
        event = report(house, "ben")
        lasted = []
        for _ in range(6):
            pause_is_over(house)
            house.sandbox.fault("GET", status=503)
            executions.work("tests")
            lasted.append(round(closed_for(house) / 10) * 10)
        assert lasted == [60, 120, 240, 480, 600, 600]
        assert house.sandbox.waiting_faults() == 0
        assert carried_out(event).state == State.WAITING

    def test_what_failed_before_is_forgotten_when_it_works_again(self, house: House) -> None:
        opened(house)
        report(house, "ben")
        pause_is_over(house)
        executions.work("tests")
        house.sandbox.fault("GET", status=503)
        carried_out(report(house, "cem"))
        assert connection_of(house).closed_until is None

    def test_one_that_asked_nobody_lets_the_next_go(self, house: House) -> None:
        opened(house)
        nobody = report(house, "nobody")
        nobody.subscriber.traits = {}
        nobody.subscriber.save()
        pause_is_over(house)
        claimed = claims.claim("tests", nobody.pk)
        assert claimed is not None
        executions.carry_out(claimed)  # and nothing else: the tenth comes back within a tenth of a second
        claimed.refresh_from_db()
        assert claimed.state == State.SKIPPED
        assert closed_for(house) <= 0
        assert breaker.turn(connection_of(house)) is True

    def test_a_vendor_that_asked_for_a_longer_pause_gets_it_and_the_others_are_left_where_they_are(
        self, house: House
    ) -> None:
        opened(house)
        waiting = report(house, "ben")
        limits.pause(house.connection, 600)
        pause_is_over(house)
        Execution.objects.update(due_at=timezone.now() + timedelta(seconds=590))
        late, asked = report(house, "cem"), len(house.sandbox.requests())
        late = carried_out(late)
        assert (late.state, late.reason, late.attempts_made, late.message) == (State.WAITING, "paused", 0, SENTENCE)
        assert 585 < due_in(late) < 670
        waiting.refresh_from_db()
        assert 580 < due_in(waiting) < 591
        assert len(house.sandbox.requests()) == asked
        Connection.objects.update(next_free_at=timezone.now() + timedelta(seconds=8))
        assert breaker.turn(connection_of(house)) is True

    def test_one_whose_worker_died_is_followed_by_another(self, house: House) -> None:
        opened(house)
        pause_is_over(house)
        assert breaker.turn(connection_of(house)) is True
        assert 58 < closed_for(house) < 62  # as long as its lease
        pause_is_over(house)
        assert breaker.turn(connection_of(house)) is True

    def test_a_test_that_passes_lets_it_go_at_once(self, house: House) -> None:
        opened(house)
        execution = carried_out(report(house, "ben"))
        connections.probe_stored(connection_of(house))
        assert closed_for(house) <= 0
        execution.refresh_from_db()
        assert due_in(execution) < 2

    def test_the_history_says_when_it_paused_and_when_it_worked_again(self, house: House) -> None:
        opened(house)
        report(house, "ben")
        pause_is_over(house)
        executions.work("tests")
        said = Entry.objects.filter(object_id=str(house.connection.pk)).order_by("pk").values_list("verb", "actor")
        assert list(said) == [("paused after repeated failures", "Engage"), ("works again", "Engage")]


class TestWhatWaits:
    def put_back(self, house: House, execution: Execution) -> Execution:
        """Let a pause begin just after this was claimed."""
        claimed = claims.claim("tests", execution.pk)
        assert claimed is not None
        Connection.objects.update(closed_until=timezone.now() + timedelta(seconds=30))
        claimed.connection = connection_of(house)
        executions.carry_out(claimed)
        return Execution.objects.get(pk=execution.pk)

    def test_what_may_have_happened_is_not_forgotten_by_a_pause(self, house: House) -> None:
        execution = report(house, "ben")
        Execution.objects.filter(pk=execution.pk).update(may_have_acted=True, attempts_made=3)
        execution = self.put_back(house, execution)
        assert (execution.state, execution.may_have_acted, execution.attempts_made) == (State.WAITING, True, 3)

    def test_a_job_that_the_vendor_accepted_is_asked_about_later(self, house: House) -> None:
        execution = report(house, "ben")
        Execution.objects.filter(pk=execution.pk).update(state=State.PENDING, job={"switch": 1}, attempts_made=1)
        execution = self.put_back(house, execution)
        assert (execution.state, execution.job) == (State.PENDING, {"switch": 1})
        assert 25 < due_in(execution) < 37
        assert house.sandbox.requests() == []

    def test_a_look_after_a_lost_answer_is_not_made_too_early(self, house: House) -> None:
        execution = report(house, "ben")
        later = timezone.now() + timedelta(seconds=40)
        Execution.objects.update(state=State.WAITING, reason="paused", may_have_acted=True, due_at=later)
        assert pauses.bring_back(house.connection.pk) == 0
        Execution.objects.update(may_have_acted=False)
        assert pauses.bring_back(house.connection.pk) == 1
        execution.refresh_from_db()
        assert due_in(execution) < 1

    def test_what_waits_for_its_own_reason_is_not_brought_back(self, house: House) -> None:
        report(house, "ben")
        later = timezone.now() + timedelta(hours=2)
        Execution.objects.update(state=State.WAITING, reason="vendor", due_at=later)
        assert pauses.bring_back(house.connection.pk) == 0

    def test_a_person_may_still_stop_or_hurry_it(self, house: House) -> None:
        from prompts import decisions

        opened(house)
        execution = carried_out(report(house, "ben"))
        execution = carried_out(decisions.try_now(execution, by="ann@example.com"))
        assert (execution.state, execution.attempts_made) == (State.WAITING, 0)
        assert decisions.stop_trying(execution, by="ann@example.com").state == State.CLOSED


@pytest.mark.django_db(transaction=True)
def test_exactly_one_goes_ahead_whoever_comes_in_the_same_instant(house: House) -> None:
    past = timezone.now() - timedelta(seconds=1)
    Connection.objects.filter(pk=house.connection.pk).update(closed_until=past, pauses=1)
    account = connection_of(house)
    turns: list[bool] = []
    refused: list[float] = []
    lock, together = threading.Lock(), threading.Barrier(8)

    def worker() -> None:
        together.wait()
        try:
            is_probe = breaker.turn(account)
            with lock:
                turns.append(is_probe)
        except Paused as paused:
            with lock:
                refused.append(paused.after or 0)
        finally:
            databases.close_all()

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert turns == [True]
    assert len(refused) == 7
    assert all(50 < seconds < 61 for seconds in refused)


def test_all_times_are_divided_by_one_setting() -> None:
    code = (
        "from django.conf import settings as s;"
        "print(s.ENGAGE_LEASE, s.ENGAGE_ATTEMPT_TIMEOUT, s.ENGAGE_SETTLING, s.ENGAGE_RETRY_DELAYS[0],"
        " s.ENGAGE_POLL_DELAYS[1], s.ENGAGE_BREAKER_WINDOW, s.ENGAGE_BREAKER_PAUSES)\n"
        "print(s.CELERY_BEAT_SCHEDULE['engage: sweep executions']['schedule'].run_every)"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "ENGAGE_TIME_SCALE": "10"}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=django_settings.BASE_DIR, capture_output=True, check=True
    )
    times, tick = said.stdout.decode().splitlines()
    assert times == "6.0 3.0 3.0 0.5 3.0 30.0 [3.0, 6.0, 12.0, 24.0, 48.0, 60.0]"
    assert tick == "0:00:01"  # beat keeps whole seconds
