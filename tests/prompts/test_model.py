"""The engine beside a small reference (`tests.prompts.reference`): whatever happens in whatever order, they agree.

Vendors answer over real HTTP, as it is planned for each try. Workers die, and answers come late, at the engine's own crash points.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import hypothesis
import pytest
from django.db import connection, transaction
from django.test import override_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from pytest_django import Settings

from connectors import breaker, waits
from engage import crash
from engage.tenancy.models import App
from prompts import claims, decisions, events, executions, recovery, retries, versions
from prompts.models import Attempt, Execution, Reason
from tests import factories
from tests.clock import BEGINS, TICK, Clock, stopped_clock
from tests.prompts import reference
from tests.prompts.reference import (
    ANSWERS,
    CHECK,
    DEATHS,
    DELAYS,
    KEY,
    LEASE,
    NATURAL,
    NEVER,
    OK,
    Late,
    Plan,
    Reference,
    Row,
)
from tests.sandbox_fixture import RunningSandbox

FIRST_SUBSCRIPTION = 720000000
LANES = (
    ((CHECK, reference.STOP), (NEVER, reference.STOP)),
    ((KEY, reference.STOP), (NATURAL, reference.CONTINUE), (NEVER, reference.STOP)),
    ((NATURAL, reference.CONTINUE), (CHECK, reference.STOP), (KEY, reference.STOP)),
    ((NEVER, reference.CONTINUE), (KEY, reference.STOP)),
)
"""What follows the answer to each prompt, in order, and what becomes of the rest when it fails."""
ENDPOINTS = {KEY: ("POST", "credits"), NATURAL: ("PUT", "plans"), NEVER: ("POST", "gifts")}
EFFECTS = {"coupon_applied": CHECK, "credited": KEY, "plans_set": NATURAL, "gift_sent": NEVER}
HTML = {"raw": "<h1>Hello</h1>", "content_type": "text/html"}
FAULTS: dict[str, dict[str, Any]] = {
    reference.REFUSED: {"status": 422, "body": {"message": "No."}},
    reference.BUSY: {"status": 429, "body": {"message": "Slow down."}},
    reference.TROUBLE: {"status": 500, "body": {"message": "Oops."}},
    reference.PAGE: {"status": 200, "act": True, **HTML},
    reference.LOST: {"then": "reset", "act": True},
    reference.BROKEN: {"then": "reset"},
    reference.BLIND: {"status": 500, "body": {"message": "Oops."}},
}


class Killed(BaseException):
    """A worker is gone: nothing catches this, as nothing catches a kill."""


class Twins:
    """The engine and the reference; everything is done to both."""

    def __init__(self, app: App, sandbox: RunningSandbox, clock: Clock, people: int) -> None:
        self.app, self.sandbox, self.clock = app, sandbox, clock
        self._interrupted: Callable[[], None] = lambda: None
        self._promise(people)
        self.begin()

    def _promise(self, people: int) -> None:
        """Make the accounts, prompts and people."""
        accounts = {CHECK: factories.ConnectionFactory(app=self.app, secrets={"api_key": self.sandbox.token})}
        for kind, (method, path) in ENDPOINTS.items():
            url = f"https://api.example.com/{path}/%customer%"
            settings = {
                "name": path,
                "method": method,
                "url": url,
                "body": "{}",
                "replay": kind.upper(),
                "key_hours": 72,
            }
            accounts[kind] = factories.ConnectionFactory(
                app=self.app, connector="api", name=path, settings=settings, secrets={}
            )
        for number, lane in enumerate(LANES):
            prompt = factories.PromptFactory(app=self.app, key=f"p{number}", limit="none")
            for position, (kind, on_error) in enumerate(lane):
                factories.BindingFactory(
                    prompt=prompt,
                    connector=accounts[kind].connector,
                    action="apply_coupon" if kind == CHECK else "call",
                    connection=accounts[kind],
                    inputs={"coupon": {"from": "fixed", "value": "SAVE20"}} if kind == CHECK else {},
                    position=position,
                    on_error=on_error,
                    daily_limit=10**6,
                )
            versions.publish(prompt, by="tests")
        for person in range(people):
            traits = {"customer": f"c{person}", "cleeng_subscription_id": str(FIRST_SUBSCRIPTION + person)}
            factories.SubscriberFactory(app=self.app, user_id=f"u{person}", traits=traits)
        self._subscriptions = [
            {"subscriptionId": FIRST_SUBSCRIPTION + person, "customerId": 1, "offerId": "S531000002_US"}
            for person in range(people)
        ]

    def begin(self) -> None:
        """Forget what happened."""
        self.sandbox.reset()
        self.sandbox.seed(subscriptions=self._subscriptions)
        self.reference = Reference(now=self._now())
        self._written: dict[str, float] = {}  # what looks are for: since when it is there
        self.ids: list[UUID] = []  # of the executions, in the order of the reference's rows
        self.reported: list[events.Report] = []

    def _now(self) -> float:
        return (self.clock.now - BEGINS).total_seconds()

    def row(self, execution: UUID) -> Row:
        """Return what the reference has in its place."""
        return self.reference.rows[self.ids.index(execution)]

    # --- what happens to both ---------------------------------------------------------------------------------------------

    def pass_time(self, seconds: float = 0) -> None:
        """Let time pass."""
        self.clock.go_on(seconds + TICK)
        self.reference.now = self._now()

    def report(self, person: int, prompt: int, interaction: str = "accept") -> None:
        """Somebody answers; actions follow on *accept* alone."""
        self.reported.append(events.Report(uuid4(), f"p{prompt}", interaction, f"u{person}"))
        recorded = events.record(self.app, self.reported[-1])
        assert recorded.is_new
        self.ids += recorded.event.executions.order_by("position").values_list("pk", flat=True)
        if interaction == "accept":
            self.reference.report(person, LANES[prompt])
        self.pass_time()

    def report_again(self, which: int) -> None:
        """The same answer comes a second time."""
        assert not events.record(self.app, self.reported[which % len(self.reported)]).is_new

    def ring(self, first: UUID | None, plan: Plan) -> bool:
        """A worker hears a bell that names an execution, or none, and takes one. Returns whether there was one."""
        possible = [row for row in self.reference.claimable() if first is None or row is self.row(first)]
        claimed = claims.claim("tests", first)
        assert (claimed is not None) == bool(possible)
        if claimed is None:
            return False
        row = self.row(claimed.pk)
        assert row in possible
        assert row.due == pytest.approx(min(one.due for one in possible if one.due is not None), abs=0.005)
        self._carry_out(claimed, plan)
        self.reference.carry_out(row, plan)
        self.pass_time()
        return True

    def _carry_out(self, claimed: Execution, plan: Plan) -> None:
        """Let a worker of the engine do as planned."""
        if plan.dies == "claim.made":
            return
        looks = claimed.connector == "cleeng"
        if plan.answer != OK and (looks or plan.answer != reference.BLIND):
            self.sandbox.fault(
                "" if not looks else "GET" if plan.answer == reference.BLIND else "PATCH", **FAULTS[plan.answer]
            )

        number = claimed.subscriber.traits["cleeng_subscription_id"]
        if looks:
            self._show_as_it_was(number)

        def interrupt(_: int) -> None:
            with override_settings(ENGAGE_CRASH_AT=""):
                self._note(number)
                if plan.late is None:
                    raise Killed
                self.clock.go_on(LEASE + 1)
                self.sandbox.store.clear(faults_only=True)  # by now it is shown
                recovery.sweep()
                self.clock.go_on(1)
                if plan.late.other and (again := claims.claim("another", claimed.pk)):
                    self._carry_out(again, plan.late.other)

        point = "write.answered" if plan.late else plan.dies
        with pytest.MonkeyPatch.context() as patch, override_settings(ENGAGE_CRASH_AT=point), suppress(Killed):
            patch.setattr(crash, "os", SimpleNamespace(_exit=interrupt))
            executions.carry_out(claimed)
        self._note(number)
        self.sandbox.store.clear(faults_only=True)

    def _note(self, number: str) -> None:
        """Remember when what looks are for came to a subscription."""
        if self.sandbox.subscriptions()[int(number)]["couponCode"]:
            self._written.setdefault(number, self._now())

    def _show_as_it_was(self, number: str) -> None:
        """Let the vendor answer looks with what was so half a minute ago."""
        if number not in self._written or self._now() - self._written[number] < reference.SHOWS_AFTER:
            before = {**self.sandbox.subscriptions()[int(number)], "couponCode": None}
            self.sandbox.fault("GET", number, status=200, body=before, times=9)

    def is_moving(self) -> bool:
        """Whether anything goes on by itself."""
        return any(row.state in {"queued", "waiting", "running"} for row in self.reference.rows)

    def sweep(self) -> None:
        """Beat's tick is heard."""
        recovery.sweep()
        self.reference.sweep()

    def somebody(self, what: str, which: int) -> None:
        """A person presses a button, whether it is there or not."""
        row, execution = self.reference.rows[which], Execution.objects.get(pk=self.ids[which])
        try:
            match what:
                case "run again":
                    decisions.run_again(execution, by="ann@example.com")
                case "try now":
                    decisions.try_now(execution, by="ann@example.com")
                case "stop trying":
                    decisions.stop_trying(execution, by="ann@example.com")
                case _:
                    decisions.decide(execution, decisions.Decision(what), by="ann@example.com", note="I looked.")
            was_possible = True
        except decisions.NotPossible:
            was_possible = False
        expected = {
            "run again": self.reference.run_again,
            "try now": self.reference.try_now,
            "stop trying": self.reference.stop_trying,
        }.get(what) or partial(self.reference.decide, decision=what)
        assert was_possible == expected(row)

    # --- whether they agree -----------------------------------------------------------------------------------------------

    def agree(self) -> None:
        """The executions stand as the reference says, and the vendors have seen and done what it says."""
        names = ("state", "reason", "attempts_made", "may_have_acted", "due_at")
        found = {row[0]: row[1:] for row in Execution.objects.filter(app=self.app).values_list("pk", *names)}
        assert set(found) == set(self.ids)
        for number, (pk, row) in enumerate(zip(self.ids, self.reference.rows, strict=True)):
            state, reason, tries, acted, due = found[pk]
            assert (number, state, reason == Reason.STOPPED, acted) == (number, row.state, row.stopped, row.acted)
            if state in {"queued", "waiting"}:
                assert tries == row.tries
                assert (due - BEGINS).total_seconds() == pytest.approx(row.due, abs=0.005)
        assert self._effects() == self.reference.effects
        assert {count for (kind, _), count in self.reference.effects.items() if kind == CHECK} <= {1}

    def _effects(self) -> Counter[tuple[str, int]]:
        return Counter((EFFECTS[effect["what"]], _person(effect["whom"])) for effect in self.sandbox.effects())

    def calls(self) -> list[tuple[str, int]]:
        """What the vendors were asked, in order, as the reference writes it down."""
        paths = {path: kind for kind, (_, path) in ENDPOINTS.items()} | {"subscriptions": CHECK}
        found = []
        for request in self.sandbox.requests():
            what, whom = request["path"].strip("/").split("/")
            found.append(("look" if request["method"] == "GET" else paths[what], _person(whom)))
        return found


def _person(whom: str) -> int:
    return int(whom[1:]) if whom.startswith("c") else int(whom) - FIRST_SUBSCRIPTION


@pytest.fixture
def twins(
    live_app: App, sandbox: RunningSandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[int], Twins]]:
    """Return a function that makes the twins, for so many people.

    Retries come to the second, and no breaker opens, which has tests of its own.
    """
    settings.ENGAGE_VENDOR_URLS = sandbox.urls
    settings.ENGAGE_RETRY_DELAYS = list(DELAYS)
    for module in (waits, retries):
        monkeypatch.setattr(module, "random", SimpleNamespace(random=lambda: 0.0, uniform=lambda least, _: least))
    monkeypatch.setattr(breaker, "CALLS", 10**6)
    with stopped_clock() as clock:
        yield lambda people: Twins(live_app, sandbox, clock, people)


plans = st.builds(Plan, st.sampled_from(ANSWERS), st.sampled_from(DEATHS)) | st.builds(Plan, st.sampled_from(ANSWERS))
late = st.builds(Plan, st.sampled_from(ANSWERS), late=st.builds(Late, st.none() | plans))
PEOPLE = 2


class Machine(RuleBasedStateMachine):
    """Whatever may happen, in any order."""

    def __init__(self, twins: Twins) -> None:
        super().__init__()
        self.twins = twins
        self.own = transaction.atomic()
        self.own.__enter__()
        twins.begin()

    def teardown(self) -> None:
        """The calls were those of the reference too; then everything is as before."""
        try:
            assert self.twins.calls() == self.twins.reference.calls
        finally:
            transaction.set_rollback(True)
            self.own.__exit__(None, None, None)

    def some(self, which: int) -> int:
        """Return the number of an execution."""
        return which % len(self.twins.ids)

    @rule(person=st.integers(0, PEOPLE - 1), prompt=st.integers(0, len(LANES) - 1))
    def somebody_answers(self, person: int, prompt: int) -> None:
        self.twins.report(person, prompt)

    @precondition(lambda self: self.twins.reported)
    @rule(which=st.integers(0, 99))
    def an_answer_comes_again(self, which: int) -> None:
        self.twins.report_again(which)

    @precondition(lambda self: self.twins.ids)
    @rule(which=st.none() | st.integers(0, 99), plan=plans | late)
    def a_bell_rings(self, which: int | None, plan: Plan) -> None:
        self.twins.ring(None if which is None else self.twins.ids[self.some(which)], plan)

    @rule(seconds=st.sampled_from([1, 6, 31, 61, 121, 3700]))
    def time_passes(self, seconds: int) -> None:
        self.twins.pass_time(seconds)

    @rule()
    def beat_ticks(self) -> None:
        self.twins.sweep()

    @precondition(lambda self: self.twins.ids)
    @rule(what=st.sampled_from(["run again", "try now", "stop trying", *decisions.Decision]), which=st.integers(0, 99))
    def somebody_decides(self, what: str, which: int) -> None:
        self.twins.somebody(what, self.some(which))

    @invariant()
    def they_agree(self) -> None:
        self.twins.agree()


@pytest.mark.django_db
def test_whatever_happens_the_engine_does_as_the_reference_says(twins: Callable[[int], Twins]) -> None:
    both = twins(PEOPLE)

    class OnBoth(Machine):
        def __init__(self) -> None:
            super().__init__(both)

    run_state_machine_as_test(OnBoth, settings=hypothesis.settings(stateful_step_count=40))


@pytest.mark.skipif(
    connection.vendor != "sqlite", reason="on SQLite alone: 2,000 answers take long, and the model runs on both"
)
@pytest.mark.django_db
def test_fifty_people_with_forty_answers_each_are_served_in_the_order_of_the_reference(
    twins: Callable[[int], Twins],
) -> None:
    both, random = twins(50), Random(4)
    answering = [person for person in range(50) for _ in range(40)]
    random.shuffle(answering)

    def plan() -> Plan:
        answer = OK if random.random() < 0.6 else random.choice(ANSWERS)
        return Plan(answer, random.choice(DEATHS) if random.random() < 0.1 else "")

    for number, person in enumerate(answering):
        both.report(person, number % len(LANES), "accept" if random.random() < 0.06 else "dismiss")
        if number % 5 == 0:
            both.ring(None, plan())
        hurried = [which for which, row in enumerate(both.reference.rows) if row.state in {"waiting", "uncertain"}]
        if number % 7 == 0 and hurried:
            which = random.choice(hurried)
            is_waiting = both.reference.rows[which].state == "waiting"
            both.somebody("try now" if is_waiting else decisions.Decision.RUN_AGAIN, which)
        if number % 50 == 0:
            both.pass_time(random.choice([1, 6, 31]))
            both.sweep()
    while both.is_moving():
        while both.ring(None, plan()):
            pass
        both.pass_time(LEASE + 1)
        both.sweep()
    both.agree()
    assert both.calls() == both.reference.calls
    assert {row.state for row in both.reference.rows} >= {"done", "rejected", "uncertain", "skipped"}
    followed: set[UUID] = set()
    for execution, outcome in Attempt.objects.order_by("pk").values_list("execution", "outcome"):
        assert execution not in followed, "It was tried again after a success."
        followed |= {execution} if outcome == "done" else set()
