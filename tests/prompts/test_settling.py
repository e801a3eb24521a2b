"""For half a minute after a write the vendor's read may not show it: nobody looks before that, whoever wants it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from engage.tenancy.roles import Role
from prompts import again, claims, decisions, executions, preconditions, retries
from prompts.models import Attempt, BindingDay, Execution, State
from tests import factories
from tests.clock import Clock, stopped_clock
from tests.prompts.conftest import SUBSCRIPTION, House
from tests.prompts.test_live import do, text_of

pytestmark = pytest.mark.django_db
BY = "ann@example.com"


@pytest.fixture
def clock() -> Iterator[Clock]:
    with stopped_clock() as made:
        yield made


@pytest.fixture
def house(house: House) -> House:
    """The coupon is bound, nobody is limited, and each look is one request."""
    house.subscriber.traits = {"cleeng_subscription_id": str(SUBSCRIPTION)}
    house.subscriber.save()
    house.prompt.limit = "none"
    house.prompt.save()
    house.bind()
    return house


def work() -> None:
    while (claimed := claims.claim("tests")) is not None:
        executions.carry_out(claimed)


def carried_out(house: House, **fields: Any) -> Execution:
    """Somebody accepts, and a worker does what it can."""
    execution: Execution = house.report(**fields).executions.get()
    work()
    execution.refresh_from_db()
    return execution


def not_shown(house: House) -> None:
    """For its next look the vendor still answers as it was before."""
    unchanged = {**house.sandbox.subscriptions()[SUBSCRIPTION], "couponCode": None}
    house.sandbox.fault("GET", status=200, body=unchanged, times=2)


def lost(house: House) -> Execution:
    """A coupon is on the subscription, and nobody was told."""
    house.sandbox.fault("PATCH", then="reset", act=True)
    execution = carried_out(house)
    assert (execution.state, execution.may_have_acted) == (State.WAITING, True)
    return execution


def unread(house: House) -> Execution:
    """The answer to the write made no sense, and the look just after it showed nothing."""
    house.sandbox.fault("PATCH", status=200, raw="[]", content_type="application/json", act=True)
    house.sandbox.fault("GET", status=200, body=house.sandbox.subscriptions()[SUBSCRIPTION], times=3)
    execution = carried_out(house)
    house.sandbox.store.clear(faults_only=True)
    assert (execution.state, execution.may_have_acted) == (State.UNCERTAIN, True)
    return execution


def comes_due_after(execution: Execution, clock: Clock) -> float:
    execution.refresh_from_db()
    assert execution.due_at is not None
    return (execution.due_at - clock.now).total_seconds()


@pytest.mark.parametrize(
    "hurry",
    [
        lambda execution: decisions.try_now(execution, by=BY),
        lambda execution: again.run(execution.app, {execution.standing: [str(execution.pk)]}, by=BY, note=""),
    ],
)
def test_nobody_can_hurry_the_look_after_a_lost_answer(
    house: House, clock: Clock, hurry: Callable[[Execution], Any]
) -> None:
    execution = lost(house)
    clock.go_on(3)
    hurry(execution)
    assert comes_due_after(execution, clock) == pytest.approx(27, abs=0.01)
    not_shown(house)
    work()
    house.sandbox.store.clear(faults_only=True)
    clock.go_on(27.1)
    work()
    execution.refresh_from_db()
    assert (execution.state, len(house.sandbox.effects())) == (State.DONE, 1)


def test_what_was_written_long_ago_is_looked_at_at_once(house: House, clock: Clock) -> None:
    execution = lost(house)
    clock.go_on(31)
    house.sandbox.fault("GET", status=500)
    work()
    assert comes_due_after(execution, clock) > 20
    assert decisions.try_now(execution, by=BY).state == State.QUEUED
    work()
    execution.refresh_from_db()
    assert execution.state == State.DONE


def test_the_page_says_that_it_waits_and_until_when(
    house: House, clock: Clock, console: Callable[[Role], Client]
) -> None:
    page = text_of(do(console(Role.APP_ADMIN), lost(house), "try-now"))
    assert "may not show yet what was just sent for this person" in page
    assert "It is tried now." not in page
    assert "Next try" in page


def test_a_person_who_says_that_it_did_not_happen_may_not_have_been_shown_it_yet(house: House, clock: Clock) -> None:
    execution = unread(house)
    clock.go_on(10)
    decided = decisions.decide(execution, decisions.Decision.RUN_AGAIN, by=BY, note="It is not there.")
    assert (decided.state, decided.may_have_acted) == (State.WAITING, False)
    assert comes_due_after(execution, clock) == pytest.approx(20, abs=0.01)
    assert decisions.try_now(execution, by=BY).state == State.WAITING
    Execution.objects.update(due_at=clock.now)  # whoever else hurries it
    not_shown(house)
    work()
    house.sandbox.store.clear(faults_only=True)
    clock.go_on(23)
    work()
    execution.refresh_from_db()
    assert (execution.state, len(house.sandbox.effects())) == (State.DONE, 1)


def test_what_was_held_just_after_a_part_of_it_may_have_happened_waits_too(house: House, clock: Clock) -> None:
    execution = lost(house)
    Execution.objects.update(state=State.HELD, reason="credentials", due_at=clock.now)
    clock.go_on(5)
    retries.resume(house.connection.pk)
    assert comes_due_after(execution, clock) == pytest.approx(25, abs=0.01)


@pytest.mark.parametrize("first", [lost, carried_out])
def test_another_answer_of_the_same_person_does_not_overtake_it(
    house: House, clock: Clock, first: Callable[[House], Execution]
) -> None:
    before = first(house)
    not_shown(house)
    clock.go_on(3)
    execution = carried_out(house)
    house.sandbox.store.clear(faults_only=True)
    assert (execution.state, execution.reason, execution.attempts_made) == (State.WAITING, "settling", 0)
    assert 27 <= comes_due_after(execution, clock) < 31  # comes back spread out
    assert "may not show yet" in execution.message
    assert not execution.attempts.exists()
    assert BindingDay.objects.get().count == 1
    clock.go_on(31)
    work()
    execution.refresh_from_db()
    before.refresh_from_db()
    assert [before.state, execution.state] == [State.DONE, State.DONE]
    assert len(house.sandbox.effects()) == 1
    assert BindingDay.objects.get().count == 2


def test_a_refusal_keeps_nobody_waiting(house: House, clock: Clock) -> None:
    house.sandbox.fault("PATCH", status=422, body={"message": "No."})
    assert carried_out(house).state == State.REJECTED
    assert carried_out(house).state == State.DONE


def test_others_are_not_kept_waiting(house: House, clock: Clock) -> None:
    lost(house)
    other = {"cleeng_subscription_id": "710000002"}
    factories.SubscriberFactory(app=house.app, user_id="ben", traits=other)
    assert carried_out(house, user_id="ben").reason != "settling"
    house.prompt.bindings.update(action="reactivate_subscription", inputs={})
    house.publish()
    assert carried_out(house).reason != "settling"


def test_a_dead_workers_write_counts_from_its_beginning(house: House, clock: Clock) -> None:
    execution = carried_out(house)
    Attempt.objects.update(finished_at=None, outcome="lost")
    assert preconditions.not_shown_for(execution, itself=True) == pytest.approx(30, abs=0.01)
    assert preconditions.not_shown_for(execution, itself=False) == 0


def test_it_is_found_by_way_of_the_person(house: House) -> None:
    execution = carried_out(house)
    with CaptureQueriesContext(connection) as asked:
        preconditions.not_shown_for(execution, itself=False)
    [statement] = asked.captured_queries
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            plan = str(cursor.execute("EXPLAIN QUERY PLAN " + statement["sql"]).fetchall())
        else:  # which reads a table of one row as it is, if it may
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("EXPLAIN " + statement["sql"])
            plan = str(cursor.fetchall())
    assert "execution_subscriber" in plan
