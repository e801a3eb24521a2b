"""What an attempt writes down, and what a repeat is made of: keys, bodies, accounts and fences, through the worker."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from connectors import registry
from connectors.models import Connection
from engage.tenancy.models import App
from prompts import claims, decisions, events, executions, offers, recovery, retries, versions
from prompts.journal import AttemptJournal
from prompts.models import Attempt, Execution, LimitTaken, PromptEvent, State
from sync.models import Subscriber
from tests import factories
from tests.connectors.fake_vendor import Broken, Call, FakeVendor, Heard, fake_vendor
from tests.connectors.throwaway import Throwaway
from tests.prompts.conftest import House

pytestmark = pytest.mark.django_db

KEY = "planted-key-of-the-throwaway-vendor"
RESET = Broken("", then="reset")
FAILED = Broken("", 500, '{"message": "oops"}')


@pytest.fixture
def throwaway(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the product know the tests' connector."""
    known = registry._by_key  # noqa: SLF001 - the registry's memory, forgotten before and after
    monkeypatch.setattr(registry, "CONNECTORS", (*registry.CONNECTORS, Throwaway))
    known.cache_clear()
    yield
    known.cache_clear()


class Shop:
    """A live App with a connection to the throwaway vendor, and a person whom it knows."""

    def __init__(self, app: App, vendor: FakeVendor) -> None:
        self.app, self.vendor = app, vendor
        self.connection: Connection = factories.ConnectionFactory(
            app=app, connector=Throwaway.key, settings={}, secrets={"api_key": KEY}
        )
        self.prompt = factories.PromptFactory(app=app, key="stay", limit="none")
        self.person: Subscriber = factories.SubscriberFactory(
            app=app, user_id="ann", traits={"customer": "c-1", "plan": "gold"}
        )

    def bind(self, action: str, **fields: Any) -> None:
        inputs = {
            "charge": {"amount": {"from": "fixed", "value": "5"}},
            "credit": {"amount": {"from": "fixed", "value": "5"}},
            "set_plan": {"plan": {"from": "fixed", "value": "gold"}},
        }
        self.binding = factories.BindingFactory(
            prompt=self.prompt,
            connector=Throwaway.key,
            action=action,
            connection=self.connection,
            inputs=inputs.get(action, {}),
            **fields,
        )
        versions.publish(self.prompt, by="tests")

    def report(self) -> PromptEvent:
        return events.record(self.app, events.Report(uuid4(), "stay", "accept", "ann"))[0]

    def play(self, execution: Execution, *calls: Call, broken: Broken | None = None) -> tuple[Execution, list[Heard]]:
        """Let a worker try it now; the first call goes wrong if so asked. Returns it as it is then, and what was sent."""
        self.vendor.heard.clear()
        self.vendor.expect(*calls, broken={0: broken} if broken else None)
        Execution.objects.filter(pk=execution.pk).update(due_at=timezone.now() - timedelta(seconds=1))
        executions.work("tests", execution.pk)
        self.vendor.assert_played()
        execution.refresh_from_db()
        return execution, list(self.vendor.heard)

    def planned(self, action: str) -> Execution:
        self.bind(action)
        execution: Execution = self.report().executions.get()
        return execution


@pytest.fixture
def shop(live_app: App, throwaway: None, settings: Settings) -> Iterator[Shop]:
    with fake_vendor() as vendor:
        settings.ENGAGE_VENDOR_URLS = {Throwaway.key: vendor.url}
        yield Shop(live_app, vendor)


def charge(plan: str = "gold", customer: str = "c-1", **more: Any) -> Call:
    body = {"amount": "5", "plan": plan}
    return Call("POST", f"/customers/{customer}/charges", {"id": "ch7"}, body=body, **more)


def key_of(heard: list[Heard]) -> str | None:
    return heard[-1].header("Idempotency-Key")


@pytest.mark.parametrize("header", ["X-Request-Id", "Location"])
def test_what_no_database_keeps_does_not_stand_between_an_answer_and_its_execution(shop: Shop, header: str) -> None:
    execution, _ = shop.play(shop.planned("charge"), charge(answer_headers={header: "a\0b"}))
    assert execution.state == State.DONE
    [exchange] = execution.attempts.get().body.exchanges
    assert exchange["answer_headers"][header] == "a\ufffdb"


class TestKey:
    @pytest.mark.parametrize("broken", [RESET, FAILED, Broken("", then="close")])
    def test_a_repeat_is_the_same_request_whatever_has_changed_meanwhile(self, shop: Shop, broken: Broken) -> None:
        execution, first = shop.play(shop.planned("charge"), charge(), broken=broken)
        assert (execution.state, execution.may_have_acted) == (State.WAITING, True)
        shop.binding.inputs = {"amount": {"from": "fixed", "value": "500"}}
        shop.binding.save()
        versions.publish(shop.prompt, by="tests")
        Subscriber.objects.update(traits={"customer": "c-1", "plan": "none"})
        execution, second = shop.play(execution, charge())
        assert (execution.state, execution.attempts_made) == (State.DONE, 2)
        assert key_of(first) == key_of(second) is not None

    def test_nor_does_a_person_who_has_become_another_customer(self, shop: Shop) -> None:
        execution, _ = shop.play(shop.planned("charge"), charge(), broken=RESET)
        Subscriber.objects.update(traits={"customer": "c-2", "plan": "gold"})
        assert shop.play(execution, charge())[0].state == State.DONE

    def test_two_executions_and_two_steps_have_keys_of_their_own(self, shop: Shop) -> None:
        execution = shop.planned("credit")
        note = Call("POST", "/notes", {"id": "n1"}, body={"for": "c-1", "amount": "5"})
        look = Call("GET", "/customers/c-1", {"balance": 10})
        credit = Call("POST", "/customers/c-1/credits", {"id": "cr"}, body={"note": "n1", "before": 10})
        _, first = shop.play(execution, note, look, credit)
        _, second = shop.play(shop.report().executions.get(), note, look, credit)
        keys = [heard.header("Idempotency-Key") for heard in (*first, *second) if heard.method == "POST"]
        assert len(set(keys)) == 4

    def test_a_repeat_of_the_first_step_is_the_stored_one_and_the_second_is_new(self, shop: Shop) -> None:
        note = Call("POST", "/notes", {"id": "n1"}, body={"for": "c-1", "amount": "5"})
        look = Call("GET", "/customers/c-1", {"balance": 10})
        credit = Call("POST", "/customers/c-1/credits", {"id": "cr"}, body={"note": "n1", "before": 10})
        shop.vendor.expect(note, look, broken={1: FAILED})
        execution, first = shop.play(shop.planned("credit"))
        assert (execution.state, execution.may_have_acted) == (State.WAITING, True)
        execution, second = shop.play(execution, note, look, credit)
        assert execution.state == State.DONE
        assert first[0].header("Idempotency-Key") == second[0].header("Idempotency-Key")

    def test_nor_does_what_the_vendor_shows_meanwhile(self, shop: Shop) -> None:
        note = Call("POST", "/notes", {"id": "n1"}, body={"for": "c-1", "amount": "5"})
        credit = Call("POST", "/customers/c-1/credits", {"id": "cr"}, body={"note": "n1", "before": 10})
        shop.vendor.expect(note, Call("GET", "/customers/c-1", {"balance": 10}), credit, broken={2: RESET})
        execution, _ = shop.play(shop.planned("credit"))
        # It acted: the balance is another one now, and the repeat is the same request nevertheless.
        execution, _ = shop.play(execution, note, Call("GET", "/customers/c-1", {"balance": 15}), credit)
        assert execution.state == State.DONE

    def test_a_definite_refusal_makes_the_next_one_a_new_request(self, shop: Shop) -> None:
        execution, first = shop.play(shop.planned("charge"), charge(), broken=Broken("", 422, "{}"))
        assert execution.state == State.REJECTED
        Subscriber.objects.update(traits={"customer": "c-1", "plan": "silver"})
        decisions.run_again(execution, by="ann@example.com")
        execution, second = shop.play(execution, charge("silver"))
        assert execution.state == State.DONE
        assert key_of(first) != key_of(second)

    @pytest.mark.parametrize("broken", [Broken("", 429, "{}"), Broken("", 503, "{}")])
    def test_what_is_none_keeps_the_key(self, shop: Shop, broken: Broken) -> None:
        execution, first = shop.play(shop.planned("charge"), charge(), broken=broken)
        execution, second = shop.play(execution, charge())
        assert key_of(first) == key_of(second)

    def test_where_nothing_happened_another_request_has_another_key(self, shop: Shop) -> None:
        """A vendor refuses a known key with another body."""
        execution, first = shop.play(shop.planned("charge"), charge(), broken=Broken("", 429, "{}"))
        Subscriber.objects.update(traits={"customer": "c-2", "plan": "silver"})
        execution, second = shop.play(execution, charge("silver", "c-2"))
        assert execution.state == State.DONE
        assert key_of(first) != key_of(second)

    @pytest.mark.parametrize("between", [Broken("", 429, "{}"), Broken("", 401, "{}")])
    def test_a_refusal_of_the_repeat_does_not_forget_the_first_try(self, shop: Shop, between: Broken) -> None:
        """The failure that matters most: the first acted, the second was turned away, the third must not act anew."""
        execution, first = shop.play(shop.planned("charge"), charge(), broken=RESET)
        if between.status == 401:
            shop.vendor.expect(charge(), Call("GET", "/me"), broken={0: between, 1: between})
            execution, _ = shop.play(execution)
            assert (execution.state, execution.may_have_acted) == (State.HELD, True)
            Connection.objects.update(health="healthy")
            retries.resume(shop.connection.pk)
        else:
            execution, _ = shop.play(execution, charge(), broken=between)
            assert (execution.state, execution.may_have_acted) == (State.WAITING, True)
        execution, third = shop.play(execution, charge())
        assert execution.state == State.DONE
        assert key_of(first) == key_of(third)

    def test_a_worker_that_died_in_the_middle_leaves_the_key_behind(self, shop: Shop) -> None:
        execution = shop.planned("charge")
        _, first = shop.play(execution, charge(), broken=RESET)
        # As its row stood before that worker could settle it.
        Execution.objects.update(
            state=State.RUNNING, attempts_made=0, may_have_acted=False, first_write_at=None, lease_until=timezone.now()
        )
        Attempt.objects.update(finished_at=None, outcome="")
        Subscriber.objects.update(traits={"customer": "c-2", "plan": "none"})
        recovery.sweep()
        execution, second = shop.play(execution, charge())
        assert execution.state == State.DONE
        assert key_of(first) == key_of(second)

    def test_past_the_vendors_memory_a_person_decides_and_the_next_request_is_new(self, shop: Shop) -> None:
        execution, first = shop.play(shop.planned("charge"), charge(), broken=RESET)
        Execution.objects.update(first_write_at=timezone.now() - timedelta(hours=24, seconds=5))
        execution, sent = shop.play(execution)
        assert (execution.state, sent) == (State.UNCERTAIN, [])
        decisions.decide(
            execution, decisions.Decision.RUN_AGAIN, by="ann@example.com", note="Not in the vendor's books"
        )
        execution, second = shop.play(execution, charge(), broken=RESET)
        assert execution.state == State.WAITING
        execution, third = shop.play(execution, charge())
        assert execution.state == State.DONE
        assert key_of(first) != key_of(second) == key_of(third)

    def test_a_stored_failure_given_out_again_is_a_persons_to_judge_at_once(self, shop: Shop) -> None:
        execution, _ = shop.play(shop.planned("charge"), charge(), broken=FAILED)
        replayed = Broken("", 500, '{"message": "oops"}', headers={"Idempotent-Replayed": "true"})
        execution, _ = shop.play(execution, charge(), broken=replayed)
        assert (execution.state, execution.attempts_made) == (State.UNCERTAIN, 2)

    def test_after_all_tries_a_lost_answer_is_uncertain_never_given_up(self, shop: Shop) -> None:
        execution = shop.planned("charge")
        Execution.objects.update(attempts_made=10)
        execution, _ = shop.play(execution, charge(), broken=RESET)
        assert (execution.state, execution.may_have_acted) == (State.UNCERTAIN, True)


class TestAccount:
    def test_a_repeat_does_not_go_to_another_account(self, shop: Shop) -> None:
        execution, _ = shop.play(shop.planned("charge"), charge(), broken=RESET)
        shop.connection.generation += 1
        shop.connection.seal({"api_key": KEY})
        shop.connection.save()
        execution, sent = shop.play(execution)
        assert (execution.state, sent) == (State.UNCERTAIN, [])

    def test_nor_to_another_address(self, shop: Shop, settings: Settings) -> None:
        execution, _ = shop.play(shop.planned("charge"), charge(), broken=RESET)
        settings.ENGAGE_VENDOR_URLS = {Throwaway.key: f"{shop.vendor.url}/other"}
        execution, sent = shop.play(execution)
        assert (execution.state, sent) == (State.UNCERTAIN, [])

    def test_what_never_left_goes_to_the_account_of_today(self, shop: Shop) -> None:
        execution, _ = shop.play(shop.planned("charge"), charge(), broken=Broken("", 429, "{}"))
        shop.connection.generation += 1
        shop.connection.seal({"api_key": KEY})
        shop.connection.save()
        assert shop.play(execution, charge())[0].state == State.DONE

    def test_a_worker_that_died_on_an_account_that_was_changed_before_is_repeated_there(self, shop: Shop) -> None:
        shop.connection.generation = 4
        shop.connection.seal({"api_key": KEY})
        shop.connection.save()
        execution, _ = shop.play(shop.planned("charge"), charge(), broken=RESET)
        assert execution.connection_generation == 4
        Execution.objects.update(state=State.RUNNING, lease_until=timezone.now() - timedelta(seconds=1))
        recovery.sweep()
        assert shop.play(execution, charge())[0].state == State.DONE


class TestGone:
    """What the next version of the product has no connector, or no action, for any more."""

    def removed(self, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
        if what == "action":
            monkeypatch.setattr(Throwaway, "actions", ())
        else:
            monkeypatch.setattr(
                registry, "CONNECTORS", tuple(one for one in registry.CONNECTORS if one is not Throwaway)
            )
        registry._by_key.cache_clear()  # noqa: SLF001 - the registry's memory

    @pytest.mark.parametrize("what", ["action", "connector"])
    @pytest.mark.parametrize("left", ["a lost answer", "a job", "nothing"])
    def test_what_may_have_happened_is_a_persons_to_judge(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch, what: str, left: str
    ) -> None:
        execution = shop.planned("charge")
        if left == "a lost answer":
            execution, _ = shop.play(execution, charge(), broken=RESET)
        elif left == "a job":
            Execution.objects.update(state=State.PENDING, job={"id": 7})
        self.removed(monkeypatch, what)
        execution, _ = shop.play(execution)
        wanted = (State.REJECTED, False) if left == "nothing" else (State.UNCERTAIN, True)
        assert (execution.state, execution.may_have_acted) == wanted
        assert (execution.reason, execution.job) == ("gone", None)


class TestNever:
    GIFT = Call("POST", "/gifts", {"id": 4}, body={"to": "c-1"})

    @pytest.mark.parametrize(
        "broken", [RESET, FAILED, Broken("", 200, "null"), Broken("", 200, "<h1>OK</h1>", "text/html")]
    )
    def test_a_lost_answer_is_a_persons_to_judge_and_keeps_the_limit(self, shop: Shop, broken: Broken) -> None:
        shop.prompt.limit = "once"
        shop.prompt.save()
        execution, _ = shop.play(shop.planned("send_gift"), self.GIFT, broken=broken)
        assert (execution.state, execution.may_have_acted) == (State.UNCERTAIN, True)
        assert LimitTaken.objects.exists()
        assert claims.claim("tests") is None

    def test_what_never_arrived_is_tried_again(self, shop: Shop) -> None:
        execution, _ = shop.play(shop.planned("send_gift"), self.GIFT, broken=Broken("", 429, "{}"))
        assert (execution.state, execution.may_have_acted) == (State.WAITING, False)
        look = Call("GET", "/gifts/4", {"state": "sent"})
        assert shop.play(execution, self.GIFT, look)[0].state == State.DONE

    def test_a_worker_that_died_after_the_request_had_left_is_a_persons_to_judge(self, shop: Shop) -> None:
        execution, _ = shop.play(shop.planned("send_gift"), self.GIFT, broken=RESET)
        Execution.objects.update(
            state=State.RUNNING, may_have_acted=False, lease_until=timezone.now() - timedelta(seconds=1)
        )
        recovery.sweep()
        execution.refresh_from_db()
        assert (execution.state, execution.may_have_acted) == (State.UNCERTAIN, True)


class TestJob:
    """What the vendor has accepted and works on."""

    ORDER = Call("POST", "/orders", {"id": "o1"}, body={"for": "c-1"})

    def ordered(self, shop: Shop) -> Execution:
        execution, _ = shop.play(shop.planned("order"), self.ORDER)
        assert (execution.state, execution.job, execution.may_have_acted) == (State.PENDING, {"id": "o1"}, False)
        return execution

    def held(self, shop: Shop) -> Execution:
        shop.prompt.limit = "once"
        shop.prompt.save()
        execution = self.ordered(shop)
        shop.connection.active = False
        shop.connection.save()
        execution, sent = shop.play(execution)
        assert (execution.state, execution.job, sent) == (State.HELD, {"id": "o1"}, [])
        return execution

    def test_one_that_is_stopped_while_it_is_held_needs_checking_and_keeps_the_limit(self, shop: Shop) -> None:
        held = self.held(shop)
        [stop] = [offer.text for offer in offers.offers(held) if offer.verb is offers.STOP_TRYING]
        assert "it will need checking" in stop
        execution = decisions.stop_trying(held, by="ann@example.com")
        assert (execution.state, execution.reason, execution.may_have_acted) == (State.UNCERTAIN, "unsettled", True)
        assert "had accepted it" in execution.message
        assert LimitTaken.objects.exists()

    def test_so_does_one_that_is_not_run_when_its_connection_is_switched_on(self, shop: Shop) -> None:
        execution = self.held(shop)
        decisions.release(shop.connection, "close", by="ann@example.com")
        execution.refresh_from_db()
        assert (execution.state, execution.may_have_acted) == (State.UNCERTAIN, True)

    def test_one_that_failed_runs_again_under_a_new_key_with_the_traits_of_then(self, shop: Shop) -> None:
        execution, first = shop.play(shop.planned("order"), self.ORDER)
        execution, _ = shop.play(execution, Call("GET", "/orders/o1", {"state": "failed"}))
        assert execution.state == State.REJECTED
        Subscriber.objects.update(traits={"customer": "c-2"})
        decisions.run_again(execution, by="ann@example.com")
        execution, second = shop.play(execution, Call("POST", "/orders", {"id": "o2"}, body={"for": "c-2"}))
        assert (execution.state, execution.job) == (State.PENDING, {"id": "o2"})
        assert key_of(first) != key_of(second)


class TestNatural:
    LOOK = Call("GET", "/plans", {"id": 1}, query={"name": "gold"})
    PUT = Call("PUT", "/customers/c-1/plan", {"plan": "gold"}, body={"plan": "gold"})

    def lost(self, shop: Shop) -> Execution:
        shop.vendor.expect(self.LOOK, self.PUT, broken={1: RESET})
        execution, _ = shop.play(shop.planned("set_plan"))
        assert (execution.state, execution.may_have_acted) == (State.WAITING, True)
        return execution

    def test_a_lost_answer_is_sent_again_without_a_look(self, shop: Shop) -> None:
        execution = self.lost(shop)
        assert (execution.due_at - timezone.now()).total_seconds() < 6  # type: ignore[operator]
        assert shop.play(execution, self.LOOK, self.PUT)[0].state == State.DONE

    def test_not_after_an_hour_when_a_later_answer_came_and_the_limit_stays(self, shop: Shop) -> None:
        shop.prompt.limit = "every_days"
        shop.prompt.limit_days = 1
        shop.prompt.save()
        execution = self.lost(shop)
        Execution.objects.update(created_at=timezone.now() - timedelta(hours=2))
        later = shop.report().executions.get()
        Execution.objects.filter(pk=later.pk).update(state=State.DONE, due_at=None)
        execution, sent = shop.play(execution)
        assert (execution.state, execution.reason, sent) == (State.SKIPPED, "overtaken", [])
        assert execution.may_have_acted
        assert LimitTaken.objects.exists()

    @pytest.mark.parametrize("came_to", [State.SKIPPED, State.REJECTED, State.NOT_SENT, State.QUEUED, State.HELD])
    def test_a_later_answer_that_did_nothing_is_none_to_make_way_for(self, shop: Shop, came_to: State) -> None:
        execution = self.lost(shop)
        Execution.objects.update(created_at=timezone.now() - timedelta(hours=2))
        later = shop.report().executions.get()
        Execution.objects.filter(pk=later.pk).update(state=came_to, due_at=None)
        assert shop.play(execution, self.LOOK, self.PUT)[0].state == State.DONE

    def test_nor_is_what_runs_again_of_the_same_answer(self, shop: Shop) -> None:
        execution = self.lost(shop)
        Execution.objects.update(created_at=timezone.now() - timedelta(hours=2))
        factories.ExecutionFactory(
            binding=shop.binding, event=execution.event, state=State.DONE, due_at=None, inputs={}
        )
        assert shop.play(execution, self.LOOK, self.PUT)[0].state == State.DONE


class TestFence:
    def test_a_write_that_never_began_leaves_no_step(self, shop: Shop, settings: Settings) -> None:
        execution = shop.planned("charge")
        settings.ENGAGE_ATTEMPT_TIMEOUT = 0
        executions.work("slow", execution.pk)
        execution.refresh_from_db()
        assert (execution.steps, Attempt.objects.get().write_begun_at) == ({}, None)
        assert shop.vendor.heard == []

    @pytest.mark.django_db(transaction=True)  # the vendor looks into the database from a thread of its own
    def test_step_traits_account_and_mark_are_stored_before_the_request_leaves(self, shop: Shop) -> None:
        seen: list[tuple[Any, ...]] = []
        shop.connection.generation = 4
        shop.connection.seal({"api_key": KEY})
        shop.connection.save()
        execution = shop.planned("charge")

        def look(heard: Heard) -> Call:
            row, attempt = Execution.objects.get(), Attempt.objects.get()
            begun = attempt.write_begun_with
            assert attempt.write_begun_at is not None
            assert begun is not None
            seen.append((begun["steps"]["write"]["sent"]["body"], begun["traits"], begun["connection_generation"]))
            assert row.steps == {}
            connection.close()
            return charge()

        shop.vendor.by_shape = look
        executions.work("tests", execution.pk)
        # As text, since a database that stores JSON brings members back in another order.
        body = {"content_type": "application/json", "text": '{"amount": "5", "plan": "gold"}'}
        assert seen == [(body, {"customer": "c-1", "plan": "gold"}, 4)]
        execution.refresh_from_db()
        assert execution.steps["write"]["sent"]["body"] == body
        assert (execution.traits, execution.connection_generation) == ({"customer": "c-1", "plan": "gold"}, 4)
        assert Attempt.objects.get().write_begun_with is None

    def test_what_is_kept_holds_no_credentials(self, shop: Shop) -> None:
        execution, _ = shop.play(shop.planned("charge"), charge(), broken=RESET)
        assert KEY not in str(execution.steps) + str(execution.attempts.get().body.exchanges)


def test_what_an_answer_holds_never_keeps_an_attempt_from_being_stored(shop: Shop) -> None:
    poison = '{"id": "a\\u0000b\\ud800", "n": 1e308, "message": "\\u0000"}'
    execution, _ = shop.play(shop.planned("charge"), charge(), broken=Broken("", 200, poison))
    assert execution.state == State.DONE
    for broken in ('{"id": NaN}', '{"id": 1e999}', "[" * 300 + "]" * 300):
        execution, _ = shop.play(shop.report().executions.get(), charge(), broken=Broken("", 200, broken))
        assert execution.state == State.UNCERTAIN
        assert execution.attempts.get().body.exchanges


def test_an_execution_is_called_the_same_in_all_its_attempts(house: House) -> None:
    """Vendors that keep a client's own id are searched by it before a repeat."""
    house.bind()
    execution = house.report().executions.get()
    attempts = [
        Attempt.objects.create(execution=execution, number=number, fence=number, worker="w", started_at=timezone.now())
        for number in (1, 2)
    ]
    assert {AttemptJournal(execution, attempt).tag for attempt in attempts} == {str(execution.pk)}
