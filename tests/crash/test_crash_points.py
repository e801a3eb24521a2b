"""A process dies between any two steps; another one goes on. No answer is lost, and nothing happens twice.

Each point is tried with one kind of action; `--all-crashes` (`make crash`) tries it with every kind.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.utils import timezone

from connectors import breaker, connections
from connectors.models import Connection, Health
from connectors.vendors.cleeng import ApplyCoupon
from engage import crash
from prompts import executions, preconditions, recovery
from prompts.journal import AttemptJournal
from prompts.models import Attempt, Execution, PromptEvent, State
from tests import factories
from tests.crash.street import CHECK, EFFECTS, KEY, NATURAL, NEVER, TOKEN, Street, time_passes
from tests.crash.victim import dies_at, report, sweep, work
from tests.worker import PATIENCE, worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.broker]

ANY = (CHECK, KEY, NATURAL, NEVER)
AGAIN = (KEY, NATURAL, CHECK)  # what a failure lets try again
REPORTING = {"event.written": ANY, "event.committed": ANY, "bell.rung": ANY}
WORKING = {
    "claim.next": ANY,
    "claim.made": ANY,
    "attempt.stored": ANY,
    "token.given": (TOKEN,),
    "token.kept": (TOKEN,),
    "look.next": (CHECK,),
    "look.answered": (CHECK,),
    "write.next": (*ANY, TOKEN),
    "write.begun": (NEVER, CHECK, KEY, NATURAL, TOKEN),
    "write.sent": (CHECK, KEY, NATURAL, NEVER, TOKEN),
    "write.answered": (KEY, NATURAL, NEVER, CHECK, TOKEN),
    "settle.next": (NATURAL, NEVER, CHECK, KEY),
    "settle.written": (NEVER, CHECK, KEY, NATURAL),
    "settle.decided": (CHECK, KEY, NATURAL, NEVER),
    "event.committed": (KEY, NATURAL, NEVER, CHECK),
    "settle.committed": (KEY, NATURAL, NEVER, CHECK),
}
PAUSING = {"breaker.turned": ANY, "breaker.opened": AGAIN, "breaker.closed": ANY}
SWEEPING = {"lease.returning": (CHECK, KEY, NATURAL, NEVER), "lease.returned": (NEVER, CHECK, KEY, NATURAL)}
ELSEWHERE = {point for point in crash.POINTS if point.startswith(("batch.", "hook.", "import.", "round."))}
"""See `test_crashes_elsewhere.py`."""
UNKNOWN = {"write.begun", "write.sent", "write.answered", "settle.next", "settle.written", "settle.decided"}
"""Points after which nobody can know whether what must not be repeated has happened."""

GROUPS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "reporting": REPORTING,
    "working": WORKING,
    "pausing": PAUSING,
    "sweeping": SWEEPING,
}
Build = Callable[[str], Street]


@dataclass(frozen=True)
class Vendors:
    """Where a worker finds them."""

    urls: dict[str, str]


Case = tuple[str, str]
"""A point, and a kind of action."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    thorough = metafunc.config.getoption("--all-crashes")
    for group in set(GROUPS) & set(metafunc.fixturenames):
        cases = [(point, kind) for point, kinds in GROUPS[group].items() for kind in (kinds if thorough else kinds[:1])]
        metafunc.parametrize(group, cases, ids=" ".join)


def expect_once(street: Street, point: str) -> None:
    """Nothing is lost and nothing doubled; and a person is asked only where nobody else can know."""
    if street.kind == NEVER and point in UNKNOWN:
        assert street.states() == [State.UNCERTAIN, State.BLOCKED]
        assert street.effects() == (int(point != "write.begun"), 0)
        assert street.nothing_is_stored_of_its_write()
    else:
        assert (street.states(), street.effects()) == ([State.DONE, State.DONE], (1, 1))


# --- every point ----------------------------------------------------------------------------------------------------------


def test_every_point_of_the_product_is_tried() -> None:
    passed = {
        name
        for room in ("engage", "connectors", "prompts", "sync")
        for file in (Path(settings.BASE_DIR) / room).rglob("*.py")
        for name in re.findall(r'crash\.point\("([^"]+)"\)', file.read_text())
    }
    tried = {point for points in GROUPS.values() for point in points}
    assert passed == set(crash.POINTS) == tried | ELSEWHERE


def test_who_reports_an_answer_dies(build: Build, reporting: Case) -> None:
    point, kind = reporting
    street = build(kind)
    dies_at(point, report, street.app.key, street.event_id)
    assert PromptEvent.objects.count() == (point != "event.written")
    street.report()
    street.go_on()
    assert PromptEvent.objects.count() == 1
    expect_once(street, point)


def test_a_worker_dies(build: Build, working: Case) -> None:
    point, kind = working
    street = build(kind)
    street.report()
    dies_at(point, work)
    street.go_on()
    expect_once(street, point)


def test_a_worker_dies_beside_the_breaker(build: Build, pausing: Case) -> None:
    point, kind = pausing
    street = build(kind)
    if point == "breaker.opened":
        _failed_before(street.account, breaker.CALLS - 1)
        street.sandbox.fault(method="GET" if kind == CHECK else "", status=500)
    else:
        Connection.objects.filter(pk=street.account.pk).update(closed_until=timezone.now(), pauses=1)
    street.report()
    dies_at(point, work)
    street.go_on()
    expect_once(street, point)
    assert Connection.objects.get(pk=street.account.pk).closed_until is None


@pytest.mark.parametrize("point", ["settle.next", "settle.committed"])
def test_a_worker_dies_whose_key_was_refused(build: Build, point: str) -> None:
    street = build(CHECK)
    street.sandbox.seed(token="another-token")
    street.report()
    dies_at(point, work)
    assert Connection.objects.get(pk=street.account.pk).health == Health.ATTENTION
    street.sandbox.seed(token=street.sandbox.token)
    street.go_on()
    assert connections.probe_held() == 1
    street.go_on()
    expect_once(street, "claim.made")


def _failed_before(account: Connection, times: int) -> None:
    """The account's last attempts failed, those of another answer."""
    other = factories.ExecutionFactory(connection=account, binding=account.bindings.get(), state=State.CLOSED)
    now = timezone.now()
    Attempt.objects.bulk_create(
        Attempt(
            execution=other, number=n, fence=n, started_at=now, finished_at=now, connection=account, vendor_failed=True
        )
        for n in range(times)
    )
    Execution.objects.filter(pk=other.pk).update(is_forward=True)


def test_who_returns_a_dead_ones_lease_dies_too(build: Build, sweeping: Case) -> None:
    point, kind = sweeping
    street = build(kind)
    street.report()
    dies_at("write.sent", work)
    time_passes()
    dies_at(point, sweep)
    street.go_on()
    expect_once(street, "write.sent")


# --- the same with a guard taken out: what is above would see it ----------------------------------------------------------


def _without_the_look(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ApplyCoupon, "already_done", lambda *_: None)


def _without_the_same_key(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AttemptJournal, "idempotency_key", lambda *_: str(uuid4()))


def _without_knowing_that_it_must_not_be_repeated(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    Connection.objects.filter(pk=street.account.pk).update(settings={**street.account.settings, "replay": "NATURAL"})


def _without_write_begun(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    Attempt.objects.update(write_begun_at=None)


def _without_the_sweep(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_return_lease", lambda _: None)


CONTROLS = {
    "check": (CHECK, _without_the_look, (2, 1)),
    "key": (KEY, _without_the_same_key, (2, 1)),
    "never": (NEVER, _without_knowing_that_it_must_not_be_repeated, (2, 1)),
    "write begun": (NEVER, _without_write_begun, (2, 1)),
    "sweep": (KEY, _without_the_sweep, (1, 0)),
}
IN_EVERY_RUN = ("check", "key", "never")


@pytest.fixture
def thorough(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--all-crashes"))


@pytest.mark.parametrize("guard", CONTROLS)
def test_without_a_guard_it_is_seen(build: Build, thorough: bool, guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not thorough and guard not in IN_EVERY_RUN:
        pytest.skip("one of those that `make crash` runs")
    kind, take_out, happened = CONTROLS[guard]
    street = build(kind)
    street.report()
    dies_at("write.sent", work)
    take_out(street, monkeypatch)
    street.go_on()
    assert street.effects() == happened
    with pytest.raises(AssertionError):
        expect_once(street, "write.sent")


def test_who_does_not_report_again_loses_what_was_not_committed(build: Build) -> None:
    street = build(KEY)
    dies_at("event.written", report, street.app.key, street.event_id)
    street.go_on()
    assert (street.states(), street.effects()) == ([], (0, 0))


# --- the database is away for a moment, and the worker lives ---------------------------------------------------------------

AWAY = {
    "claim.made": 'INSERT INTO "prompts_attempt"',
    "write.next": 'UPDATE "prompts_attempt"',
    "settle.next": 'UPDATE "prompts_execution"',
}
"""The first statement that fails, by the point where it does."""


@pytest.mark.parametrize("kind", ANY)
@pytest.mark.parametrize("point", AWAY)
def test_a_database_that_is_away_is_no_refusal_of_the_vendor(build: Build, point: str, kind: str) -> None:
    street = build(kind)
    street.report()
    failed: list[str] = []

    def away_once(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(AWAY[point]) and not failed:
            failed.append(sql)
            raise OperationalError("the connection is lost")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(away_once), pytest.raises(OperationalError):
        executions.work("unlucky")
    assert street.effects() == (1 if point == "settle.next" else 0, 0)
    street.go_on()
    expect_once(street, point)


# --- setting a state: a repeat that comes late must not undo what came in between ------------------------------------------


@pytest.mark.parametrize("guarded", [True, False])
def test_a_late_repeat_does_not_undo_a_later_answer(
    build: Build, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    street = build(NATURAL)
    street.report()
    dies_at("write.sent", work)
    first = Execution.objects.get(position=0)
    executions_of_first = Execution.objects.filter(pk=first.pk)
    executions_of_first.update(lease_until=timezone.now() - timedelta(seconds=1))
    recovery.sweep()
    executions_of_first.update(due_at=timezone.now() + timedelta(hours=2))
    street.person.traits |= {"plan": "silver"}
    street.person.save()
    street.event_id = uuid4()
    street.report()
    executions.work("another")
    executions_of_first.update(created_at=timezone.now() - 2 * preconditions.OVERTAKEN_AFTER)
    if not guarded:
        monkeypatch.setattr(preconditions, "OVERTAKEN_AFTER", timedelta(days=1))
    street.go_on()
    plans = [effect["detail"]["value"]["plan"] for effect in street.sandbox.effects(EFFECTS[NATURAL][0])]
    assert plans == (["gold", "silver"] if guarded else ["gold", "silver", "gold"])


# --- the real thing -------------------------------------------------------------------------------------------------------


def test_the_environment_names_the_point_and_a_real_worker_ends_there(build: Build) -> None:
    street = build(CHECK)
    with worker(Vendors(settings.ENGAGE_VENDOR_URLS), ENGAGE_CRASH_AT="write.sent") as process:
        street.report()
        assert process.wait(PATIENCE) == crash.STATUS
    street.go_on()
    expect_once(street, "write.sent")
