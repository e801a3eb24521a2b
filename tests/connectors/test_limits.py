"""A vendor's limits: one row says for all workers when the next request may leave."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections as databases
from django.db.models import Value
from django.db.models.functions import Now
from pytest_django import Settings

from connectors import limits, runner
from connectors.base import Rate, Values, per_minute, per_second
from connectors.failures import Paused, Temporary
from connectors.http import Api
from connectors.limits import Gate
from connectors.models import Connection
from connectors.registry import all_connectors
from connectors.vendors.recurly import Recurly
from engage.tenancy.models import App
from tests import factories
from tests.connectors.contract import MemoryJournal
from tests.connectors.fake_vendor import Broken, Call, FakeVendor, fake_vendor
from tests.connectors.throwaway import SetPlan, Throwaway

SLOWLY = Rate(1, 5)  # one request in five seconds


class Unhurried(Throwaway):
    def rate(self, settings: Values) -> Rate:
        return SLOWLY


@pytest.fixture
def account(app: App) -> Connection:
    made: Connection = factories.ConnectionFactory(app=app, secrets={"api_key": "k" * 20})
    return made


def free_in(account: Connection, seconds: float) -> None:
    """Say when the connection's next request may leave."""
    Connection.objects.filter(pk=account.pk).update(next_free_at=Now() + Value(timedelta(seconds=seconds)))
    account.refresh_from_db()


def never(seconds: float) -> None:
    pytest.fail(f"waited for {seconds} s")


def seconds_until_free(account: Connection) -> float:
    return limits.seconds_to_wait(account.pk)


@pytest.mark.django_db
class TestPlaces:
    def test_the_first_request_leaves_at_once_and_each_later_one_in_its_turn(self, account: Connection) -> None:
        waits = [limits.take_a_place(account.pk, SLOWLY, longest=60) for _ in range(4)]
        assert waits == pytest.approx([0, 5, 10, 15], abs=2)
        assert waits[0] == pytest.approx(0, abs=0.01)

    def test_time_that_nobody_used_is_not_saved_up(self, account: Connection) -> None:
        free_in(account, -3600)
        assert limits.take_a_place(account.pk, SLOWLY, longest=60) == pytest.approx(0, abs=0.01)
        assert limits.take_a_place(account.pk, SLOWLY, longest=60) == pytest.approx(5, abs=2)

    def test_a_place_too_far_away_is_not_taken(self, account: Connection) -> None:
        free_in(account, 100)
        with pytest.raises(Paused) as paused:
            limits.take_a_place(account.pk, SLOWLY, longest=10)
        assert paused.value.after == pytest.approx(100, abs=3)
        assert seconds_until_free(account) == pytest.approx(100, abs=3)

    def test_connections_do_not_wait_for_each_other(self, account: Connection, other_app: App) -> None:
        other = factories.ConnectionFactory(app=other_app)
        limits.take_a_place(account.pk, SLOWLY, longest=60)
        assert limits.take_a_place(other.pk, SLOWLY, longest=60) == pytest.approx(0, abs=0.01)


@pytest.mark.django_db(transaction=True)
def test_workers_at_the_same_moment_get_places_of_their_own(account: Connection) -> None:
    waits: list[float] = []
    lock, together = threading.Lock(), threading.Barrier(6)

    def worker() -> None:
        together.wait()
        try:
            for _ in range(5):
                wait = limits.take_a_place(account.pk, SLOWLY, longest=1000)
                with lock:
                    waits.append(wait)
        finally:
            databases.close_all()

    threads = [threading.Thread(target=worker) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(waits) == 30
    assert sorted(round(wait / 5) for wait in waits) == pytest.approx(range(30), abs=1)
    assert seconds_until_free(account) == pytest.approx(150, abs=10)


@pytest.mark.django_db
class TestGate:
    def test_it_sleeps_until_its_place(self, account: Connection) -> None:
        slept: list[float] = []
        gate = Gate(account, SLOWLY, slept.append)
        gate.wait(30)
        gate.wait(30)
        assert slept == pytest.approx([0, 5], abs=2)

    def test_the_first_request_does_not_wait_long_and_later_ones_as_long_as_the_attempt_lasts(
        self, account: Connection
    ) -> None:
        free_in(account, 20)
        with pytest.raises(Paused):
            Gate(account, SLOWLY, never).wait(30)
        slept: list[float] = []
        gate = Gate(account, SLOWLY, slept.append)
        free_in(account, 0)
        gate.wait(30)
        free_in(account, 20)
        gate.wait(28)
        assert slept == pytest.approx([0, 20], abs=2)
        free_in(account, 20)
        with pytest.raises(Paused):
            gate.wait(15)

    def test_without_a_rate_only_a_pause_counts(self, account: Connection) -> None:
        slept: list[float] = []
        for _ in range(3):
            Gate(account, None, slept.append).wait(30)
        assert slept == []
        free_in(account, 60)
        with pytest.raises(Paused) as paused:
            Gate(account, None, slept.append).wait(30)
        assert paused.value.after == pytest.approx(60, abs=3)
        free_in(account, 4)
        Gate(account, None, slept.append).wait(30)
        assert slept == pytest.approx([4], abs=2)

    def test_its_patience_is_divided_as_the_engines_times_are(self, account: Connection, settings: Settings) -> None:
        settings.ENGAGE_TIME_SCALE = 10
        free_in(account, 9)
        with pytest.raises(Paused):
            Gate(account, None, never).wait(15)

    def test_what_is_only_typed_has_no_row_to_wait_for(self) -> None:
        Gate(None, SLOWLY, never).wait(30)


@pytest.fixture
def vendor(settings: Settings) -> Any:
    with fake_vendor() as running:
        settings.ENGAGE_VENDOR_URLS = {"throwaway": running.url}
        yield running


@pytest.mark.django_db
class TestDoor:
    SETTINGS = {"api_key": "k" * 20}

    def door(self, account: Connection | None, connector: type[Throwaway] = Unhurried) -> Api:
        return Api(connector(), self.SETTINGS, MemoryJournal(30), account)

    def test_reads_and_writes_take_places(self, account: Connection, vendor: FakeVendor) -> None:
        vendor.expect(Call("GET", "/x", {}))
        with self.door(account) as api:
            api.get("x")
        assert seconds_until_free(account) == pytest.approx(5, abs=2)
        Connection.objects.filter(pk=account.pk).update(next_free_at=None)
        vendor.expect(Call("POST", "/x", {}, body={"a": 1}))
        with self.door(account) as api:
            api.post("x", json={"a": 1})
        assert seconds_until_free(account) == pytest.approx(5, abs=2)

    def test_a_write_that_has_to_wait_too_long_was_not_begun(self, account: Connection, vendor: FakeVendor) -> None:
        free_in(account, 100)
        with self.door(account) as api, pytest.raises(Paused) as paused:
            api.post("x", json={})
        assert isinstance(api.journal, MemoryJournal)
        assert (api.journal.announced, api.journal.exchanges, api.may_have_acted) == ([], [], False)
        assert paused.value.message == "Throwaway takes no more requests just now, by its own limit."
        assert vendor.heard == []

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_wish_to_wait_holds_for_the_whole_connection(
        self, account: Connection, vendor: FakeVendor, status: int
    ) -> None:
        vendor.expect(Call("GET", "/x"), broken={0: Broken("", status, "{}", headers={"Retry-After": "77"})})
        with self.door(account, Throwaway) as api, pytest.raises(Temporary):
            api.get("x")
        account.refresh_from_db()
        with self.door(account, Throwaway) as api, pytest.raises(Paused) as paused:
            api.get("y")
        assert paused.value.after == pytest.approx(77, abs=3)
        assert len(vendor.heard) == 1

    def test_a_day_of_pause_is_for_who_heard_it(self, account: Connection) -> None:
        limits.pause(account, 86400)
        assert seconds_until_free(account) == pytest.approx(limits.LONGEST_PAUSE, abs=3)

    def test_a_shorter_wish_does_not_end_a_longer_one(self, account: Connection) -> None:
        limits.pause(account, 600)
        limits.pause(account, 5)
        assert seconds_until_free(account) == pytest.approx(600, abs=3)

    def test_a_test_counts_too_and_says_when_it_could_not_be_made(
        self, account: Connection, vendor: FakeVendor
    ) -> None:
        vendor.expect(Call("GET", "/me", {"name": "Ann"}))
        assert runner.probe(Unhurried(), self.SETTINGS, account).passed
        assert seconds_until_free(account) == pytest.approx(5, abs=2)
        free_in(account, 100)
        report = runner.probe(Unhurried(), self.SETTINGS, account)
        assert (report.passed, report.bad_credentials, report.lines[0].ok) == (False, False, None)
        assert report.paused == pytest.approx(100, abs=3)
        assert len(vendor.heard) == 1


@pytest.mark.django_db
def test_a_refused_key_that_could_not_be_tested_holds_nothing(account: Connection, vendor: FakeVendor) -> None:
    class Rare(Throwaway):
        def rate(self, settings: Values) -> Rate:
            return per_minute(1)

    vendor.expect(Call("GET", "/plans", {}, {"name": "gold"}, status=401))
    work = runner.Work(Rare(), SetPlan(), TestDoor.SETTINGS, {"customer": "1"}, {"plan": "gold"}, account=account)
    outcome = runner.run(work, MemoryJournal(30))
    assert (outcome.result, outcome.reason, outcome.spent) == (runner.Result.WAITING, "paused", False)
    assert outcome.after == pytest.approx(60, abs=3)


def test_a_rate_is_spaced_evenly() -> None:
    assert per_second(4).spacing == 0.25
    assert per_minute(30).spacing == 2.0


def test_recurly_takes_400_requests_a_minute() -> None:
    rate = Recurly().rate({"region": "us", "api_key": "k"})
    assert (rate.requests, rate.seconds) == (400, 60)


@pytest.mark.parametrize("declared", all_connectors(), ids=lambda declared: declared.key)
def test_a_rate_needs_no_setting_that_may_be_missing(declared: Any) -> None:
    rate = declared.rate({})
    assert rate is None or rate.spacing > 0
