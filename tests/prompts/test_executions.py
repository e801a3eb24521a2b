"""Claim, run, settle and recover, against the sandbox over real HTTP."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import IntegrityError, connection, transaction
from django.db import connections as databases
from django.utils import timezone
from kombu import Producer

from connectors import connections
from connectors.failures import LostClaim
from connectors.journal import Exchange
from connectors.models import Connection, Health
from connectors.runner import Outcome, Result
from engage import bell, places
from engage.tenancy.models import DeliveryMode
from prompts import claims, decisions, events, executions, recovery, settlement
from prompts.journal import AttemptJournal
from prompts.models import Attempt, BindingDay, Execution, LimitKind, LimitTaken, Prompt, PromptEvent, State
from tests import factories
from tests.clock import stopped_clock
from tests.prompts.conftest import SUBSCRIPTION, House
from tests.sandbox_fixture import RunningSandbox

pytestmark = pytest.mark.django_db


def carried_out(event: PromptEvent) -> Execution:
    """Let a worker do what is due, and return the event's first execution."""
    executions.work("tests")
    return first_of(event)


def first_of(event: PromptEvent) -> Execution:
    execution: Execution = event.executions.order_by("position")[0]
    return execution


def make_due(execution: Execution) -> None:
    Execution.objects.filter(pk=execution.pk).update(due_at=timezone.now() - timedelta(seconds=1))


def test_an_accepted_offer_reaches_cleeng_once(house: House) -> None:
    house.bind()
    event = house.report()
    execution = carried_out(event)
    assert (execution.state, execution.message) == (State.DONE, f"Coupon SAVE20 is on subscription {SUBSCRIPTION}")
    assert [effect["what"] for effect in house.sandbox.effects()] == ["coupon_applied"]
    assert house.sandbox.subscriptions()[SUBSCRIPTION]["couponCode"] == "SAVE20"
    attempt = execution.attempts.get()
    assert (attempt.number, attempt.outcome, attempt.write_begun_at is not None) == (1, "done", True)
    assert [(exchange["method"], exchange["kind"]) for exchange in attempt.body.exchanges][-1] == ("PATCH", "write")
    assert events.status_of(event).outcome == "done"


class TestHowLongAThreadIsKept:
    @pytest.fixture
    def rung(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        """What is sent to the broker."""
        heard: list[dict[str, Any]] = []
        monkeypatch.setattr(Producer, "publish", lambda *_, **message: heard.append(message["headers"]))
        monkeypatch.setattr(bell, "_quiet_until", 0.0)
        return heard

    def people(self, house: House, count: int) -> list[Execution]:
        """Let so many people of an App have answered."""
        house.bind()
        names = [f"person-{number}" for number in range(count)]
        for name in names:
            factories.SubscriberFactory(app=house.app, user_id=name, traits=house.subscriber.traits)
        return [house.report(user_id=name).executions.get() for name in names]

    def test_it_ends_after_some_seconds_and_rings_once_for_the_rest(
        self, house: House, rung: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(places, "WORKS_FOR", 0.0)
        waiting = self.people(house, 4)
        assert executions.work("tests", waiting[3].pk) == 2
        assert {row.pk for row in Execution.objects.filter(state=State.DONE)} == {waiting[0].pk, waiting[3].pk}
        assert [headers["task"] for headers in rung] == ["prompts.work"]
        expires = datetime.fromisoformat(rung[0]["expires"]) - timezone.now()
        assert timedelta(seconds=5) < expires < timedelta(seconds=15)

    def test_where_nothing_is_left_nobody_is_rung_for(self, house: House, rung: list[dict[str, Any]]) -> None:
        self.people(house, 3)
        assert executions.work("tests") == 3
        assert rung == []


@pytest.mark.django_db(transaction=True)
def test_two_long_queues_do_not_keep_a_third_connection_waiting(house: House, sandbox: RunningSandbox) -> None:
    others = [House(factories.AppFactory(delivery_mode=DeliveryMode.LIVE), sandbox) for _ in range(2)]
    for slow in (house, others[0]):
        slow.bind()
        for number in range(30):
            factories.SubscriberFactory(app=slow.app, user_id=f"{number}", traits=house.subscriber.traits)
            slow.report(user_id=f"{number}")
    others[1].bind()
    single = others[1].report().executions.get()

    def working(name: str) -> None:
        try:
            executions.work(name)
        finally:
            databases.close_all()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(working, [f"worker-{number}" for number in range(8)]))
    assert not Execution.objects.exclude(state=State.DONE).exists()
    begun = list(Attempt.objects.order_by("started_at").values_list("execution", flat=True))
    assert begun.index(single.pk) < 16


def test_the_key_is_nowhere_in_what_is_kept(house: House) -> None:
    house.bind()
    execution = carried_out(house.report())
    kept = str(list(Execution.objects.values())) + str(execution.attempts.get().body.exchanges)
    assert house.sandbox.token not in kept
    assert "X-Publisher-Token" in kept


def test_a_second_event_finds_it_done_and_writes_nothing(house: House) -> None:
    house.prompt.limit = "none"
    house.prompt.save()
    house.bind()
    with stopped_clock() as clock:
        carried_out(house.report())
        clock.go_on(31)
        execution = carried_out(house.report())
    assert execution.state == State.DONE
    assert execution.attempts.get().write_begun_at is None
    assert len(house.sandbox.effects()) == 1


def test_a_refusal_shows_the_vendors_words_and_gives_the_limit_back(house: House) -> None:
    house.bind(inputs={"coupon": {"from": "fixed", "value": "SUMMER24"}})
    execution = carried_out(house.report())
    assert execution.state == State.REJECTED
    assert "Cleeng refused" in execution.message
    assert not LimitTaken.objects.exists()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"status": 503, "raw": "<h1>Down</h1>", "content_type": "text/html"}, "has a problem"),
        ({"status": 200, "raw": "<h1>Login</h1>", "content_type": "text/html"}, "a page instead of data"),
        ({"status": 200, "raw": "null", "content_type": "application/json"}, "documentation promises"),
        ({"then": "reset"}, "broke"),
    ],
)
def test_a_read_that_fails_is_tried_again_and_nothing_may_have_happened(
    house: House, fault: dict[str, Any], message: str
) -> None:
    house.bind()
    house.sandbox.fault("GET", **fault)
    event = house.report()
    execution = carried_out(event)
    assert (execution.state, execution.may_have_acted) == (State.WAITING, False)
    assert message in execution.message
    assert 4 < (execution.due_at - timezone.now()).total_seconds() < 6  # type: ignore[operator]
    make_due(execution)
    assert carried_out(event).state == State.DONE
    assert len(house.sandbox.effects()) == 1


def test_a_vendors_wish_to_wait_is_granted(house: House) -> None:
    house.bind()
    house.sandbox.fault("GET", status=429, retry_after="77")
    execution = carried_out(house.report())
    assert execution.state == State.WAITING
    assert 75 < (execution.due_at - timezone.now()).total_seconds() < 78  # type: ignore[operator]


@pytest.mark.parametrize(
    ("wish", "made", "least", "most"),
    [("0", 0, 0, 1.5), ("0", 2, 0, 1.5), ("0", 3, 590, 661), ("77", 2, 75, 78), ("3000", 3, 2990, 3001)],
)
def test_a_wish_for_less_is_granted_three_times(house: House, wish: str, made: int, least: float, most: float) -> None:
    house.bind()
    event = house.report()
    Execution.objects.update(attempts_made=made)
    house.sandbox.fault("GET", status=503, retry_after=wish)
    execution = carried_out(event)
    assert (execution.state, execution.attempts_made) == (State.WAITING, made + 1)
    assert least < (execution.due_at - timezone.now()).total_seconds() < most  # type: ignore[operator]


def test_a_pause_after_a_lost_answer_does_not_shorten_the_time_that_the_write_needs_to_show(house: House) -> None:
    house.bind()
    event = house.report()
    claimed = claims.claim("tests")
    assert claimed is not None
    paused = Outcome(Result.WAITING, "Not our turn.", after=12, not_before=30, may_have_acted=True, spent=False)
    settlement.settle(claimed, paused)
    assert (first_of(event).due_at - timezone.now()).total_seconds() > 28  # type: ignore[operator]


def test_a_lost_answer_is_looked_after_before_anything_is_repeated(house: House) -> None:
    house.bind()
    house.sandbox.fault("PATCH", then="reset", act=True)
    event = house.report()
    execution = carried_out(event)
    assert (execution.state, execution.may_have_acted) == (State.WAITING, True)
    assert (execution.due_at - timezone.now()).total_seconds() > 28  # type: ignore[operator]
    make_due(execution)
    execution = carried_out(event)
    assert execution.state == State.DONE
    assert len(house.sandbox.effects()) == 1
    assert len(house.sandbox.requests("PATCH")) == 1


def test_an_answer_that_nobody_documented_after_a_write_is_looked_at(house: House) -> None:
    house.bind()
    house.sandbox.fault("PATCH", status=200, raw="<h1>OK</h1>", content_type="text/html", act=True)
    execution = carried_out(house.report())
    assert execution.state == State.DONE
    assert len(house.sandbox.requests("PATCH")) == 1


def test_an_answer_that_nobody_documented_and_no_effect_is_a_persons_to_judge(house: House) -> None:
    house.bind()
    house.sandbox.fault("PATCH", status=200, raw="[]", content_type="application/json")
    execution = carried_out(house.report())
    assert (execution.state, execution.may_have_acted) == (State.UNCERTAIN, True)


def test_after_eleven_tries_it_gives_up_and_can_be_run_again(house: House) -> None:
    house.bind()
    event = house.report()
    for _ in range(11):
        house.sandbox.fault("GET", status=500)
        Connection.objects.update(closed_until=None)
        make_due(first_of(event))
        execution = carried_out(event)
    assert (execution.state, execution.attempts_made) == (State.GAVE_UP, 11)
    Connection.objects.update(closed_until=None)
    decisions.run_again(execution, by="ann@example.com")
    assert carried_out(event).state == State.DONE


class TestCredentials:
    def test_a_refused_key_holds_the_connection_and_its_executions(self, house: House) -> None:
        house.bind()
        house.sandbox.seed(token="another-token")
        execution = carried_out(house.report())
        house.connection.refresh_from_db()
        assert (execution.state, execution.reason) == (State.HELD, "credentials")
        assert house.connection.health == Health.ATTENTION
        house.sandbox.seed(token=house.sandbox.token)
        assert connections.probe_held() == 1
        assert carried_out(execution.event).state == State.DONE

    def test_what_comes_while_it_needs_attention_is_held_and_leaves_its_sentence_alone(self, house: House) -> None:
        house.prompt.limit = "none"
        house.prompt.save()
        house.bind()
        house.sandbox.seed(token="another-token")
        carried_out(house.report())
        house.connection.refresh_from_db()
        said = house.connection.attention
        asked = len(house.sandbox.requests())
        assert carried_out(house.report()).state == State.HELD
        house.connection.refresh_from_db()
        assert house.connection.attention == said
        assert len(house.sandbox.requests()) == asked

    def test_held_for_more_than_three_days_waits_for_a_person(self, house: House) -> None:
        house.bind()
        house.sandbox.seed(token="another-token")
        execution = carried_out(house.report())
        Execution.objects.update(due_at=timezone.now() - timedelta(hours=73))
        house.sandbox.seed(token=house.sandbox.token)
        connections.probe_held()
        execution = carried_out(execution.event)
        assert execution.state == State.HELD
        decisions.try_now(execution, by="ann@example.com")
        assert carried_out(execution.event).state == State.DONE

    def test_what_is_held_for_its_connection_is_not_tried_before_that_is_well(self, house: House) -> None:
        house.bind()
        house.sandbox.seed(token="another-token")
        execution = carried_out(house.report())
        with pytest.raises(decisions.NotPossible, match="needs attention"):
            decisions.try_now(execution, by="ann@example.com")

    def test_a_job_that_is_held_for_its_connection_is_asked_about(self, house: House) -> None:
        house.bind()
        house.report()
        Execution.objects.update(state=State.HELD, reason="inactive", job={"switch": 1})
        tried = decisions.try_now(Execution.objects.get(), by="ann@example.com")
        assert (tried.state, tried.job) == (State.PENDING, {"switch": 1})

    def test_one_refused_request_with_a_good_key_is_a_refusal(self, house: House) -> None:
        house.bind()
        house.sandbox.fault("PATCH", status=401, raw="{}", content_type="application/json")
        execution = carried_out(house.report())
        house.connection.refresh_from_db()
        assert execution.state == State.REJECTED
        assert house.connection.health == Health.HEALTHY

    def test_an_inactive_connection_keeps_what_comes_and_lets_it_go_when_it_is_wanted(self, house: House) -> None:
        house.bind()
        house.connection.active = False
        house.connection.save(update_fields=["active"])
        event = house.report()
        assert (carried_out(event).state, first_of(event).reason) == (State.HELD, "inactive")
        house.connection.active = True
        house.connection.save(update_fields=["active"])
        assert decisions.release(house.connection, "run", by="ann@example.com") == 1
        assert carried_out(event).state == State.DONE

    def test_held_ones_can_be_closed(self, house: House) -> None:
        house.bind()
        house.connection.active = False
        house.connection.save(update_fields=["active"])
        event = house.report()
        carried_out(event)
        decisions.release(house.connection, "close", by="ann@example.com")
        assert first_of(event).state == State.CLOSED
        assert not house.sandbox.effects()


class TestOrder:
    def test_stop_skips_what_follows_until_the_failed_one_is_done(self, house: House) -> None:
        house.bind(inputs={"coupon": {"from": "fixed", "value": "SUMMER24"}})
        house.bind("reactivate_subscription", inputs={})
        event = house.report()
        executions.work("tests")
        first, second = event.executions.order_by("position")
        assert [first.state, second.state] == [State.REJECTED, State.SKIPPED]
        house.sandbox.seed(campaigns=[{"couponCode": "SUMMER24", "status": "active"}])
        decisions.run_again(first, by="ann@example.com")
        executions.work("tests")
        first, second = event.executions.order_by("position")
        assert first.state == State.DONE
        assert second.state in {State.DONE, State.REJECTED}
        assert second.attempts_made == 1

    def test_continue_goes_on_after_a_failure(self, house: House) -> None:
        house.bind(inputs={"coupon": {"from": "fixed", "value": "SUMMER24"}}, on_error="continue")
        house.bind()
        event = house.report()
        executions.work("tests")
        assert [row.state for row in event.executions.order_by("position")] == [State.REJECTED, State.DONE]


class TestClaim:
    def test_an_execution_is_claimed_once(self, house: House) -> None:
        house.bind()
        house.report()
        claimed = claims.claim("one")
        assert claimed is not None
        assert (claimed.worker, claimed.fence, claimed.state) == ("one", 1, State.RUNNING)
        assert claims.claim("two") is None

    def test_what_is_not_due_is_left(self, house: House) -> None:
        house.bind()
        house.report()
        Execution.objects.update(due_at=timezone.now() + timedelta(seconds=30))
        assert claims.claim("one") is None

    def test_what_has_become_due_a_moment_ago_is_claimed(self, house: House) -> None:
        house.bind()
        house.report()
        for _ in range(30):
            Execution.objects.update(state=State.QUEUED, due_at=timezone.now())
            assert claims.claim("one") is not None

    def test_a_person_is_served_one_at_a_time_in_an_account(self, house: House) -> None:
        house.prompt.limit = "none"
        house.prompt.save()
        house.bind()
        house.report()
        house.report()
        assert claims.claim("one") is not None
        assert claims.claim("two") is None
        with pytest.raises(IntegrityError), transaction.atomic():
            Execution.objects.filter(state=State.QUEUED).update(state=State.RUNNING)

    def test_the_bell_names_what_is_done_first(self, house: House) -> None:
        house.prompt.limit = "none"
        house.prompt.save()
        house.bind()
        house.report(user_id="early")
        late = house.report()
        assert claims.claim("one", first_of(late).pk).pk == first_of(late).pk  # type: ignore[union-attr]


class TestFence:
    def test_a_worker_that_lost_its_claim_sends_nothing(self, house: House) -> None:
        house.bind()
        event = house.report()
        claimed = claims.claim("slow")
        assert claimed is not None
        Execution.objects.filter(pk=claimed.pk).update(fence=7)
        executions.carry_out(claimed)
        assert not house.sandbox.requests("PATCH")
        assert Attempt.objects.get().outcome == "lost"
        assert first_of(event).state == State.RUNNING

    @pytest.mark.parametrize(("seconds", "may_write"), [(28, True), (31, False)])
    def test_a_write_is_refused_when_its_time_since_the_claim_is_over(
        self, house: House, seconds: int, may_write: bool
    ) -> None:
        house.bind()
        house.report()
        claimed = claims.claim("slow")
        assert claimed is not None
        lease_until = timezone.now() + timedelta(seconds=django_settings.ENGAGE_LEASE - seconds)
        Execution.objects.filter(pk=claimed.pk).update(lease_until=lease_until)
        now = timezone.now()
        attempt = Attempt.objects.create(execution=claimed, number=1, fence=1, worker="slow", started_at=now)
        with nullcontext() if may_write else pytest.raises(LostClaim):
            AttemptJournal(claimed, attempt).write_begins(Exchange("write", "PATCH", "https://api.cleeng.com", {}))
        attempt.refresh_from_db()
        assert (attempt.write_begun_at is not None) is may_write

    @pytest.mark.django_db(transaction=True)
    def test_a_write_that_begins_while_the_lease_is_being_returned_is_refused(self, house: House) -> None:
        house.bind()
        house.report()
        claimed = claims.claim("slow")
        assert claimed is not None
        attempt = Attempt.objects.create(
            execution=claimed, number=1, fence=claimed.fence, worker="slow", started_at=timezone.now()
        )

        def begin() -> str:
            try:
                AttemptJournal(claimed, attempt).write_begins(Exchange("write", "PATCH", "https://api.cleeng.com", {}))
            except LostClaim:
                return "refused"
            finally:
                connection.close()
            return "begun"

        with ThreadPoolExecutor(1) as worker:
            with settlement.changing(claimed.event_id):
                held = Attempt.objects.select_for_update().get(pk=attempt.pk)
                begins = worker.submit(begin)
                with pytest.raises(TimeoutError):  # it waits: what it sees of the execution is what was before
                    begins.result(timeout=0.3)
                Execution.objects.filter(pk=claimed.pk).update(state=State.WAITING, lease_until=None)
                Attempt.objects.filter(pk=held.pk).update(outcome="lost")
            assert begins.result() == "refused"
        attempt.refresh_from_db()
        assert attempt.write_begun_at is None

    @pytest.mark.django_db(transaction=True)
    def test_a_worker_that_stalled_before_its_attempt_writes_nothing_while_its_lease_is_returned(
        self, house: House
    ) -> None:
        house.bind()
        house.report()
        claimed = claims.claim("stalled")
        assert claimed is not None
        Execution.objects.filter(pk=claimed.pk).update(lease_until=timezone.now() - timedelta(seconds=1))

        def wake() -> None:
            try:
                executions.carry_out(claimed)
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as worker:
            with settlement.changing(claimed.event_id):
                # As whoever returns the lease: it has looked for an attempt and found none.
                Execution.objects.filter(pk=claimed.pk).update(state=State.WAITING, lease_until=None)
                wakes = worker.submit(wake)
                if connection.features.has_select_for_update:  # SQLite's worker cannot write before this one has
                    wakes.result(timeout=20)
            wakes.result(timeout=30)
        assert not house.sandbox.requests("PATCH")
        assert Attempt.objects.get().write_begun_at is None

    def test_a_late_success_settles_what_waits_for_another_try(self, house: House) -> None:
        house.bind()
        event = house.report()
        claimed = claims.claim("slow")
        assert claimed is not None
        attempt = Attempt.objects.create(
            execution=claimed, number=1, fence=claimed.fence, worker="slow", started_at=timezone.now()
        )
        Execution.objects.filter(pk=claimed.pk).update(state=State.WAITING, fence=9, may_have_acted=True)
        settlement.settle(claimed, Outcome(Result.DONE, "It is done"), AttemptJournal(claimed, attempt))
        assert first_of(event).state == State.DONE
        assert Attempt.objects.get().outcome == "done"


class TestRecovery:
    def dead_worker(self, house: House, *, wrote: bool) -> Execution:
        house.bind()
        house.report()
        claimed = claims.claim("dead")
        assert claimed is not None
        attempt = Attempt.objects.create(execution=claimed, number=1, fence=1, worker="dead", started_at=timezone.now())
        if wrote:
            journal = AttemptJournal(claimed, attempt)
            journal.step("write", "PATCH", "https://api.cleeng.com/x", None, None)
            journal.write_begins(Exchange("write", "PATCH", "https://api.cleeng.com/x", {}))
        Execution.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        return claimed

    def test_a_dead_worker_that_had_written_nothing_is_replaced(self, house: House) -> None:
        execution = self.dead_worker(house, wrote=False)
        assert recovery.sweep() == 1
        execution.refresh_from_db()
        assert (execution.state, execution.may_have_acted, execution.attempts_made) == (State.WAITING, False, 1)
        assert carried_out(execution.event).state == State.DONE

    def test_a_dead_worker_that_had_begun_to_write_may_have_acted(self, house: House) -> None:
        execution = self.dead_worker(house, wrote=True)
        recovery.sweep()
        execution.refresh_from_db()
        assert (execution.state, execution.may_have_acted) == (State.WAITING, True)
        assert (execution.due_at - timezone.now()).total_seconds() > 25  # type: ignore[operator]

    def test_what_a_dead_worker_began_to_write_is_kept_for_a_repeat_and_once(self, house: House) -> None:
        execution = self.dead_worker(house, wrote=True)
        attempt = Attempt.objects.get()
        assert attempt.write_begun_with is not None
        recovery.sweep()
        execution.refresh_from_db()
        attempt.refresh_from_db()
        assert execution.steps["write"]["sent"]["url"] == "https://api.cleeng.com/x"
        assert (execution.first_write_at, attempt.outcome) == (attempt.write_begun_at, "lost")
        assert attempt.write_begun_with is None

    def test_a_poison_execution_ends(self, house: House) -> None:
        execution = self.dead_worker(house, wrote=False)
        Execution.objects.update(attempts_made=10)
        recovery.sweep()
        execution.refresh_from_db()
        assert execution.state == State.GAVE_UP

    def test_overdue_work_is_seen_without_a_worker(self, house: House) -> None:
        assert recovery.oldest_overdue() == 0
        house.bind()
        house.report()
        Execution.objects.update(due_at=timezone.now() - timedelta(seconds=100))
        assert 99 < recovery.oldest_overdue() < 102


class TestSwitch:
    def bind(self, house: House, target: str = "S531000003_US", direction: str = "upgrade") -> None:
        house.bind(
            "switch_subscription",
            inputs={
                "to_offer": {"from": "fixed", "value": target},
                "direction": {"from": "fixed", "value": direction},
            },
        )

    def test_a_switch_is_followed_until_it_is_finished(self, house: House) -> None:
        self.bind(house)
        event = house.report()
        execution = carried_out(event)
        assert execution.state == State.PENDING
        assert events.status_of(event).outcome == "follows"
        assert 4 < (execution.due_at - timezone.now()).total_seconds() < 6  # type: ignore[operator]
        house.sandbox.advance(3600)
        make_due(execution)
        execution = carried_out(event)
        assert (execution.state, execution.attempts_made) == (State.DONE, 1)
        assert execution.message == f"Subscription {SUBSCRIPTION} is on offer S531000003_US"
        assert len(house.sandbox.requests("POST")) == 1

    def test_a_switch_at_the_periods_end_is_done_and_says_its_date(self, house: House) -> None:
        self.bind(house, "S531000001_US", "downgrade")
        execution = carried_out(house.report())
        assert execution.state == State.DONE
        assert "takes effect on" in execution.message

    def test_another_account_is_not_asked_what_became_of_it(self, house: House) -> None:
        self.bind(house)
        event = house.report()
        execution = carried_out(event)
        house.connection.generation += 1
        house.connection.seal({"api_key": house.sandbox.token})
        house.connection.save()
        asked = len(house.sandbox.requests())
        make_due(execution)
        execution = carried_out(event)
        assert (execution.state, execution.may_have_acted) == (State.UNCERTAIN, True)
        assert len(house.sandbox.requests()) == asked

    def test_a_switch_that_does_not_end_is_a_persons_to_judge(self, house: House) -> None:
        house.sandbox.seed(switch_seconds=10**9)
        self.bind(house)
        event = house.report()
        execution = carried_out(event)
        Execution.objects.update(pending_since=timezone.now() - timedelta(hours=25))
        make_due(execution)
        assert carried_out(event).state == State.UNCERTAIN


class TestDecisions:
    def uncertain(self, house: House) -> Execution:
        house.bind()
        house.sandbox.fault("PATCH", status=200, raw="[]", content_type="application/json")
        return carried_out(house.report())

    def test_it_happened(self, house: House) -> None:
        decided = decisions.decide(
            self.uncertain(house), decisions.Decision.HAPPENED, by="ann@example.com", note="Seen in Cleeng"
        )
        assert (decided.state, decided.decided_by, decided.note) == (State.DONE, "ann@example.com", "Seen in Cleeng")

    def test_it_did_not_and_is_run_again(self, house: House) -> None:
        with stopped_clock() as clock:
            uncertain = self.uncertain(house)
            clock.go_on(31)
            decided = decisions.decide(
                uncertain, decisions.Decision.RUN_AGAIN, by="ann@example.com", note="Not in Cleeng"
            )
            assert carried_out(decided.event).state == State.DONE
        assert len(house.sandbox.effects()) == 1

    def test_it_is_closed(self, house: House) -> None:
        decided = decisions.decide(
            self.uncertain(house), decisions.Decision.CLOSE, by="ann@example.com", note="Refunded"
        )
        assert decided.state == State.CLOSED
        assert LimitTaken.objects.exists()  # it may have happened, so the limit is not given back

    def test_a_decision_needs_a_note_and_an_uncertain_execution(self, house: House) -> None:
        execution = self.uncertain(house)
        with pytest.raises(decisions.NotPossible):
            decisions.decide(execution, decisions.Decision.CLOSE, by="ann@example.com", note=" ")
        decisions.decide(execution, decisions.Decision.CLOSE, by="ann@example.com", note="Refunded")
        with pytest.raises(decisions.NotPossible):
            decisions.decide(execution, decisions.Decision.HAPPENED, by="ann@example.com", note="Seen")

    def test_done_cannot_be_run_again(self, house: House) -> None:
        house.bind()
        with pytest.raises(decisions.NotPossible):
            decisions.run_again(carried_out(house.report()), by="ann@example.com")

    def test_todays_settings_make_a_new_linked_execution(self, house: House) -> None:
        binding = house.bind(inputs={"coupon": {"from": "fixed", "value": "SUMMER24"}})
        event = house.report()
        old = carried_out(event)
        binding.inputs = {"coupon": {"from": "fixed", "value": "SAVE20"}}
        binding.save()
        new = decisions.run_again(old, by="ann@example.com", todays_settings=True)
        executions.work("tests")
        new.refresh_from_db()
        assert (new.rerun_of, new.state, new.inputs) == (old, State.DONE, {"coupon": "SAVE20"})
        assert events.status_of(event).outcome == "done"

    def test_running_again_takes_the_limit_again_or_is_refused(self, house: House) -> None:
        house.bind(inputs={"coupon": {"from": "fixed", "value": "SUMMER24"}})
        refused = carried_out(house.report())
        house.sandbox.seed(campaigns=[{"couponCode": "SUMMER24", "status": "active"}])
        carried_out(house.report())
        with pytest.raises(decisions.NotPossible, match="limit"):
            decisions.run_again(refused, by="ann@example.com")

    def test_the_limits_days_count_from_when_it_is_run_again(self, house: House) -> None:
        Prompt.objects.update(limit=LimitKind.EVERY_DAYS, limit_days=7)
        house.bind(inputs={"coupon": {"from": "fixed", "value": "SUMMER24"}})
        refused = carried_out(house.report())
        PromptEvent.objects.update(received_at=timezone.now() - timedelta(days=8))
        before = timezone.now()
        decisions.run_again(refused, by="ann@example.com")
        assert LimitTaken.objects.get().taken_at >= before

    def test_stop_trying_what_was_tried_since_the_person_looked_asks_a_person(self, house: House) -> None:
        house.bind()
        house.sandbox.fault("GET", status=500)
        seen = carried_out(house.report())
        assert (seen.state, seen.may_have_acted) == (State.WAITING, False)
        house.sandbox.fault("PATCH", then="reset", act=True)
        make_due(seen)
        assert carried_out(seen.event).may_have_acted
        assert decisions.stop_trying(seen, by="ann@example.com").state == State.UNCERTAIN

    def test_stop_trying_what_may_have_happened_asks_a_person(self, house: House) -> None:
        house.bind()
        house.sandbox.fault("PATCH", then="reset", act=True)
        execution = carried_out(house.report())
        assert decisions.stop_trying(execution, by="ann@example.com").state == State.UNCERTAIN


class TestHandedOver:
    def test_a_redirect_is_the_clients(self, house: House) -> None:
        house.bind(
            "redirect",
            connector="builtin",
            connection=None,
            inputs={"url": {"from": "fixed", "value": "https://example.com/"}},
        )
        event = house.report()
        execution = carried_out(event)
        assert (execution.state, execution.instruction) == (
            State.HANDED_OVER,
            {"kind": "redirect", "url": "https://example.com/"},
        )
        assert events.status_of(event).settled
        decisions.report(execution, "done", {})
        with pytest.raises(decisions.NotPossible):
            decisions.report(execution, "failed", {})


class TestGuards:
    def test_an_old_answer_waits_for_a_persons_word(self, house: House) -> None:
        house.bind()
        event = house.report()
        Execution.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        execution = carried_out(event)
        assert (execution.state, execution.reason) == (State.HELD, "too_old")
        decisions.try_now(execution, by="ann@example.com")
        assert carried_out(event).state == State.DONE

    def test_more_than_the_daily_limit_is_held(self, house: House) -> None:
        binding = house.bind(daily_limit=1)
        BindingDay.objects.create(binding=binding, day=timezone.now().date(), count=1)
        execution = carried_out(house.report())
        assert (execution.state, execution.reason) == (State.HELD, "daily_limit")
        decisions.try_now(execution, by="ann@example.com")
        assert carried_out(execution.event).state == State.DONE
        assert BindingDay.objects.get().count == 2

    def test_two_that_are_the_days_first_at_once_are_both_carried_out(self, house: House) -> None:
        binding = house.bind(daily_limit=2)
        begun: list[BindingDay] = []

        def another_is_the_first(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            result = execute(sql, params, many, context)
            if sql.startswith('UPDATE "prompts_bindingday"') and not begun:
                begun.append(BindingDay.objects.create(binding=binding, day=timezone.now().date(), count=1))
            return result

        event = house.report()
        with connection.execute_wrapper(another_is_the_first):
            assert carried_out(event).state == State.DONE
        assert BindingDay.objects.get().count == 2
