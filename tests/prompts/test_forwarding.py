"""Events on their way to an analytics vendor, over real HTTP: what is planned, claimed, sent, settled and recovered."""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from django import forms
from django.conf import settings
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from kombu import Producer
from pytest_django import Settings
from requests.auth import AuthBase

from connectors import connections, registry
from connectors.auth import HeaderKey
from connectors.base import Category, Connector, Json, ProbeLine, Replay, SecretField, Values
from connectors.failures import Missing, Rejected
from connectors.forwarders import ForwardedEvent, Forwarder, TraitNames, Verdict, size_of, trait_names
from connectors.http import Api
from connectors.models import Connection, Health
from connectors.runner import Outcome, Result
from connectors.times import milliseconds
from engage import bell, dashboard, places
from engage.tenancy.models import App, DeliveryMode, KeyKind
from engage.tenancy.roles import Role
from prompts import claims, decisions, events, executions, forwarding, live, recovery, tasks, versions
from prompts.models import Batch, BatchBody, Execution, LimitTaken, Prompt, PromptEvent, State
from tests import factories
from tests.connectors.fake_vendor import Broken, Call, FakeVendor, Heard, fake_vendor
from tests.prompts import runtime

pytestmark = pytest.mark.django_db
SECRET = "the-tally-key-of-the-tests"


class Tallies(Forwarder):
    """Counts what is sent by each event's key."""

    description = "Every event."
    replay, replay_proof = Replay.KEY, "The tests' vendor counts a key once."
    most_items, most_bytes, largest_item = 5, 2000, 1500
    browser = frozenset({"shelf"})

    def traits(self, settings: Values) -> tuple[str, ...]:
        return trait_names(settings.get("traits"))

    def wants_visitor(self, settings: Values) -> bool:
        return bool(settings.get("locate"))

    def payload(self, event: ForwardedEvent, settings: Values) -> Json:
        if event.browser.get("shelf") == "none":
            raise Missing("No shelf is known.")
        payload: Json = {
            "key": event.key,
            "what": event.interaction,
            "who": event.user_id,
            "at": milliseconds(event.time),
        }
        more = {"traits": dict(event.traits), "browser": dict(event.browser), "address": event.address}
        return payload | {name: value for name, value in more.items() if value}

    def send(self, api: Api, payloads: Sequence[Json]) -> Sequence[Verdict]:
        refused = api.post("tallies", json=list(payloads))["refused"]
        by_key = {row["key"]: row["why"] for row in refused}
        return [Rejected(by_key[one["key"]]) if one["key"] in by_key else "Tallied" for one in payloads]


class OnceTallies(Tallies):
    """The same of a vendor that recognises no repeat."""

    replay, replay_proof = Replay.NEVER, "Every POST counts."


class Tally(Connector):
    key, label, category = "tally", "Tally", Category.ANALYTICS
    forwarder: ClassVar[type[Forwarder] | None] = Tallies

    class Settings(forms.Form):
        api_key = SecretField(label="Key")
        traits = TraitNames("They are told.")
        locate = forms.BooleanField(required=False)

    def base_url(self, settings: Values) -> str:
        return "https://tally.invalid"

    def auth(self, settings: Values) -> AuthBase:
        return HeaderKey("Authorization", settings["api_key"], "Bearer ")

    def probe(self, api: Api) -> list[ProbeLine]:
        return [ProbeLine(True, f"Signed in as {api.get('me')['name']}.")]


class OnceTally(Tally):
    key, label = "once_tally", "Once"
    forwarder = OnceTallies


class Counter:
    """A vendor that keeps what it was sent; `refuse` are users whose events it refuses, one by one."""

    def __init__(self, vendor: FakeVendor) -> None:
        self.vendor = vendor
        self.refuse: set[str] = set()
        self.spoils: set[str] = set()  # users because of whom it refuses a whole request
        self.counted: dict[str, Json] = {}
        self.requests: list[list[Json]] = []
        vendor.by_shape = self._answer

    def _answer(self, heard: Heard) -> Call | None:
        if heard.path == "/me":
            return Call("GET", "/me", {"name": "tests"})
        if (heard.method, heard.path) != ("POST", "/tallies"):
            return None
        self.requests.append(heard.body)
        if any(one["who"] in self.spoils for one in heard.body):
            return Call("POST", "/tallies", {"message": "one of these is bad"}, status=422)
        for one in heard.body:
            if one["who"] not in self.refuse:
                self.counted[one["key"]] = one
        refused = [{"key": one["key"], "why": "not wanted"} for one in heard.body if one["who"] in self.refuse]
        return Call("POST", "/tallies", {"refused": refused})


@pytest.fixture
def tally(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter]:
    """A running vendor, and both connectors of it in the registry."""
    known = registry._by_key  # noqa: SLF001 - the registry's memory, forgotten before and after
    monkeypatch.setattr(registry, "CONNECTORS", (*registry.CONNECTORS, Tally, OnceTally))
    known.cache_clear()
    with fake_vendor() as vendor:
        settings.ENGAGE_VENDOR_URLS = {"tally": vendor.url, "once_tally": vendor.url}
        yield Counter(vendor)
        assert vendor.problems == []
    monkeypatch.undo()
    known.cache_clear()


class Desk:
    """A live App with a prompt and connections that get its events."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.prompt: Prompt = factories.PromptFactory(app=app, key="stay", name="Stay", limit="none")
        versions.publish(self.prompt, by="tests")

    def connect(self, key: str = "tally", **settings: Any) -> Connection:
        made: Connection = factories.ConnectionFactory(
            app=self.app, connector=key, settings=settings, secrets={"api_key": SECRET}
        )
        return made

    def report(self, interaction: str = "impression", user: str = "ann", **more: Any) -> PromptEvent:
        told = events.Report(more.pop("event_id", uuid4()), "stay", interaction, user, **more)
        return events.record(self.app, told)[0]


@pytest.fixture
def desk(live_app: App) -> Desk:
    return Desk(live_app)


def forwards(**terms: Any) -> list[Execution]:
    return list(Execution.objects.filter(is_forward=True, **terms).order_by("event_id", "connector"))


def only() -> Execution:
    return Execution.objects.get(is_forward=True)


def make_due() -> None:
    past = timezone.now() - timedelta(seconds=1)
    Execution.objects.filter(is_forward=True, state=State.WAITING).update(due_at=past)
    Batch.objects.update(pause_until=None)


def go(connection: Connection) -> int:
    return forwarding.work("tests", connection.pk)


# --- plan -------------------------------------------------------------------------------------------------------------------


def test_every_event_is_planned_for_every_active_forwarder_with_one_statement(desk: Desk, tally: Counter) -> None:
    desk.connect()
    with CaptureQueriesContext(database) as one:
        desk.report()
    desk.connect("once_tally")
    with CaptureQueriesContext(database) as two:
        desk.report("accept")
    assert [(row.connector, row.state, row.binding) for row in forwards()] == [
        ("tally", State.QUEUED, None),
        ("once_tally", State.QUEUED, None),
        ("tally", State.QUEUED, None),
    ]
    inserts = [query["sql"] for query in two if 'INSERT INTO "prompts_execution"' in query["sql"]]
    assert len(inserts) == 1
    assert len(two) <= len(one) + 1  # (an accept looks for its version's bindings)


def test_the_same_event_twice_is_planned_once(desk: Desk, tally: Counter) -> None:
    desk.connect()
    event = desk.report()
    desk.report(event_id=event.event_id)
    assert len(forwards()) == 1


def test_an_inactive_connection_gets_nothing(desk: Desk, tally: Counter) -> None:
    Connection.objects.filter(pk=desk.connect().pk).update(active=False)
    desk.report()
    assert forwards() == []


@pytest.mark.parametrize(("mode", "sent"), [("nobody", False), ("test", False), ("live", True)])
def test_delivery_mode_is_respected(desk: Desk, tally: Counter, mode: str, sent: bool) -> None:
    desk.app.delivery_mode = DeliveryMode(mode)
    desk.app.save()
    connection = desk.connect()
    desk.report()
    go(connection)
    assert only().state == (State.DONE if sent else State.NOT_SENT)
    assert bool(tally.requests) is sent


def test_a_test_subscriber_is_forwarded_in_test_mode(desk: Desk, tally: Counter) -> None:
    desk.app.delivery_mode = DeliveryMode.TEST
    desk.app.save()
    factories.SubscriberFactory(app=desk.app, user_id="ann", is_test=True)
    go(desk.connect())
    desk.report()
    assert only().state == State.QUEUED


def test_a_forward_is_none_of_the_events_state_nor_of_its_limit(desk: Desk, tally: Counter) -> None:
    desk.prompt.limit = "once"
    desk.prompt.save()
    connection = desk.connect()
    event = desk.report("accept")
    assert events.status_of(event).outcome == "nothing"
    Connection.objects.filter(pk=connection.pk).update(active=False)
    go(connection)
    held = only()
    assert (held.state, held.reason) == (State.HELD, "inactive")
    decisions.stop_trying(held, by="tests")
    assert LimitTaken.objects.filter(event=event).exists()
    assert executions.work("tests") == 0


def test_another_apps_connection_gets_nothing(desk: Desk, tally: Counter, other_app: App) -> None:
    factories.ConnectionFactory(app=other_app, connector="tally", settings={}, secrets={"api_key": SECRET})
    desk.report()
    assert forwards() == []


# --- send -------------------------------------------------------------------------------------------------------------------


def test_events_go_together_and_each_has_an_outcome(desk: Desk, tally: Counter) -> None:
    connection = desk.connect(traits="plan")
    factories.SubscriberFactory(
        app=desk.app, user_id="ann", traits={"plan": "Premium", "email_address": "ann@example.com"}
    )
    tally.refuse = {"bob"}
    desk.report(context={"shelf": "top", "path": "/account"})
    desk.report("decline", "bob")
    desk.report("accept", "cleo", context={"shelf": "none"})
    assert go(connection) == 1
    ann, bob, cleo = forwards()
    assert (ann.state, ann.message) == (State.DONE, "Tallied")
    assert (bob.state, bob.message) == (State.REJECTED, "not wanted")
    assert (cleo.state, cleo.message) == (State.SKIPPED, "No shelf is known.")
    [request] = tally.requests
    assert [(one["who"], one["what"]) for one in request] == [("ann", "impression"), ("bob", "decline")]
    assert (request[0]["traits"], request[0]["browser"]) == ({"plan": "Premium"}, {"shelf": "top"})
    batch = Batch.objects.get()
    assert (batch.events, batch.accepted, batch.problem) == (2, 1, "No shelf is known.")
    assert batch.finished_at is not None
    assert ann.batch == bob.batch == batch


def test_what_is_kept_holds_no_secret_and_each_events_part(desk: Desk, tally: Counter) -> None:
    connection = desk.connect()
    desk.report()
    go(connection)
    body = BatchBody.objects.get()
    assert body.payloads[str(only().pk)]["who"] == "ann"
    [exchange] = body.exchanges
    assert (exchange["method"], exchange["status"], exchange["body"]) == ("POST", 200, None)
    assert SECRET not in str(body.exchanges) + str(body.payloads)


def test_the_number_of_events_is_limited_and_full_batches_follow_at_once(desk: Desk, tally: Counter) -> None:
    connection = desk.connect()
    for number in range(12):
        desk.report(user=f"u{number}")
    assert go(connection) == 3
    assert [len(request) for request in tally.requests] == [5, 5, 2]
    assert {row.state for row in forwards()} == {State.DONE}
    assert len(tally.counted) == 12


def test_a_long_queue_keeps_a_thread_for_some_seconds_and_is_rung_for_again(
    desk: Desk, tally: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[tuple[str, ...]] = []
    monkeypatch.setattr(Producer, "publish", lambda _, body, headers, **__: rung.append((headers["task"], *body[0])))
    monkeypatch.setattr(bell, "_quiet_until", 0.0)
    monkeypatch.setattr(places, "WORKS_FOR", 0.0)
    connection = desk.connect()
    for number in range(12):
        desk.report(user=f"u{number}")
    assert go(connection) == 1
    assert [len(request) for request in tally.requests] == [5]
    assert rung == [("prompts.forward", str(connection.pk))]
    assert [go(connection), go(connection)] == [1, 1]
    assert {row.state for row in forwards()} == {State.DONE}
    assert len(rung) == 2, "nothing was left after the last one"


def test_the_bytes_of_a_request_are_limited(desk: Desk, tally: Counter) -> None:
    connection = desk.connect()
    for number in range(5):
        desk.report(user=f"u{number}", context={"shelf": "x" * 700})
    go(connection)
    assert [len(request) for request in tally.requests] == [2, 2, 1]
    assert all(sum(size_of(one) for one in request) <= Tallies.most_bytes for request in tally.requests)
    assert {(row.state, row.attempts_made) for row in forwards()} == {(State.DONE, 1)}


def test_the_number_of_queries_does_not_grow_with_the_batch(desk: Desk, tally: Counter) -> None:
    connection = desk.connect()

    def queries(events: int) -> int:
        for number in range(events):
            desk.report(user=f"u{number}")
        with CaptureQueriesContext(database) as captured:
            go(connection)
        return len(captured)

    queries(1)
    assert queries(4) == queries(1)


def test_one_huge_event_is_refused_and_holds_nobody_up(desk: Desk, tally: Counter) -> None:
    connection = desk.connect()
    desk.report(user="huge", context={"shelf": "x" * 900 + "y" * 900})
    desk.report(user="small")
    go(connection)
    huge, small = forwards()
    assert (huge.state, huge.reason) == (State.REJECTED, "too_large")
    assert "one may take 1,500" in huge.message
    assert small.state == State.DONE


def test_a_batch_that_is_refused_goes_in_halves_until_the_bad_event_stands_alone(desk: Desk, tally: Counter) -> None:
    connection = desk.connect()
    tally.spoils = {"u3"}
    for number in range(5):
        desk.report(user=f"u{number}")
    go(connection)
    assert [row.state for row in forwards()] == [State.DONE] * 3 + [State.REJECTED, State.DONE]
    assert forwards()[3].message == "Tally refused: one of these is bad"
    assert len(tally.counted) == 4


def test_the_visitors_address_is_kept_only_where_a_connection_sends_it(desk: Desk, tally: Counter) -> None:
    connection = desk.connect()
    assert desk.report(address="198.51.100.7", user_agent="Browser").address is None
    Connection.objects.filter(pk=connection.pk).update(settings={"locate": True})
    event = desk.report(address="198.51.100.7", user_agent="B" * 400)
    event.refresh_from_db()
    assert (event.address, len(event.user_agent)) == ("198.51.100.7", 300)
    go(connection)
    assert [one.get("address") for one in tally.requests[0]] == [None, "198.51.100.7"]


# --- when it goes wrong -----------------------------------------------------------------------------------------------------


LOST = [
    Broken("reset", then="reset"),
    Broken("close", then="close"),
    Broken("5xx", 502, "<h1>Bad gateway</h1>", "text/html"),
    Broken("page", 200, "<h1>Sign in</h1>", "text/html"),
    Broken("null", 200, "null"),
]


@pytest.mark.parametrize("broken", LOST, ids=lambda broken: broken.name)
def test_a_lost_answer_is_repeated_where_the_vendor_recognises_it(desk: Desk, tally: Counter, broken: Broken) -> None:
    connection = desk.connect()
    desk.report()
    tally.vendor.by_shape = None
    payload = Tallies().payload(forwarding.seen(PromptEvent.objects.get(), forwarding.targets([connection])[0]), {})
    call = Call("POST", "/tallies", {"refused": []}, body=[payload])
    tally.vendor.expect(call, call, broken={0: broken})
    go(connection)
    lost = only()
    assert (lost.state, lost.attempts_made, lost.may_have_acted) == (State.WAITING, 1, False)
    assert 4 < (lost.due_at - timezone.now()).total_seconds() < 6  # type: ignore[operator]
    assert forwarding.sweep() == []  # and what comes meanwhile waits for the vendor to recover
    make_due()
    assert go(connection) == 1
    assert (only().state, only().attempts_made) == (State.DONE, 2)
    tally.vendor.assert_played()


@pytest.mark.parametrize("broken", LOST, ids=lambda broken: broken.name)
def test_a_lost_answer_of_a_vendor_that_recognises_nothing_gives_up(desk: Desk, tally: Counter, broken: Broken) -> None:
    connection = desk.connect("once_tally")
    desk.report()
    tally.vendor.by_shape = None
    seen = forwarding.seen(PromptEvent.objects.get(), forwarding.targets([connection])[0])
    tally.vendor.expect(Call("POST", "/tallies", body=[OnceTallies().payload(seen, {})]), broken={0: broken})
    go(connection)
    assert (only().state, only().reason) == (State.GAVE_UP, "lost_answer")
    assert only().message.endswith("The event may be lost.")
    assert not Execution.objects.filter(state=State.UNCERTAIN).exists()


@pytest.mark.parametrize("key", ["tally", "once_tally"])
def test_a_vendor_that_asks_to_slow_down_is_left_alone(desk: Desk, tally: Counter, key: str) -> None:
    connection = desk.connect(key)
    desk.report()
    tally.vendor.by_shape = lambda _: Call("POST", "/tallies", {}, status=429, answer_headers={"Retry-After": "77"})
    go(connection)
    assert only().state == State.WAITING
    desk.report(user="bob")
    assert forwarding.sweep() == []
    assert go(connection) == 0
    pause = Batch.objects.get().pause_until
    assert pause is not None
    assert 75 < (pause - timezone.now()).total_seconds() < 78


def test_after_eleven_tries_it_gives_up_and_can_be_sent_again(desk: Desk, tally: Counter) -> None:
    connection = desk.connect()
    desk.report()
    answer = tally.vendor.by_shape
    tally.vendor.by_shape = lambda _: Call("POST", "/tallies", {}, status=503)
    for _ in range(11):
        make_due()
        go(connection)
    assert (only().state, only().attempts_made) == (State.GAVE_UP, 11)
    tally.vendor.by_shape = answer
    make_due()
    decisions.run_again(only(), by="tests")
    go(connection)
    assert only().state == State.DONE


def test_refused_credentials_hold_everything_until_a_test_passes(desk: Desk, tally: Counter) -> None:
    connection = desk.connect()
    desk.report()
    answer = tally.vendor.by_shape
    tally.vendor.by_shape = lambda _: Call("POST", "/tallies", {"message": "bad key"}, status=401)
    go(connection)
    connection.refresh_from_db()
    assert (only().state, only().reason, only().attempts_made) == (State.HELD, "credentials", 0)
    assert connection.health == Health.ATTENTION
    desk.report(user="bob")
    assert go(connection) == 0
    assert {row.state for row in forwards()} == {State.HELD}
    tally.vendor.by_shape = answer
    assert connections.probe_stored(connection).passed
    go(connection)
    assert {row.state for row in forwards()} == {State.DONE}


def test_what_was_held_for_three_days_is_given_up_in_small_steps_and_seen(
    desk: Desk, tally: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = desk.connect()
    connections.mark_attention(connection, "The key was refused.")
    for number in range(4):
        desk.report(user=f"u{number}")
    go(connection)
    late = [row.pk for row in forwards()[:3]]
    Execution.objects.filter(pk__in=late).update(due_at=timezone.now() - timedelta(hours=72, seconds=1))
    monkeypatch.setattr(forwarding, "GIVEN_UP_AT_ONCE", 2)
    assert forwarding.sweep() == []
    assert sorted(row.state for row in forwards()) == [State.GAVE_UP] * 2 + [State.HELD] * 2
    forwarding.sweep()
    forwarding.sweep()
    assert {row.pk for row in forwards(state=State.GAVE_UP)} == set(late)
    ended = forwards(state=State.GAVE_UP)[0]
    assert (ended.due_at, ended.settled_at is not None) == (None, True)
    assert "The key was refused. It was held for 72 hours, and is given up." in ended.message
    assert "3 events could not be forwarded this week" in [need.text for need in dashboard.needs(desk.app)]
    assert decisions.run_again(ended, by="tests").state == State.QUEUED


def test_what_was_held_while_it_was_switched_off_is_closed_at_once(desk: Desk, tally: Counter) -> None:
    connection = desk.connect()
    for number in range(3):
        desk.report(user=f"u{number}")
    Connection.objects.filter(pk=connection.pk).update(active=False)
    go(connection)
    assert decisions.release(connection, "close", by="tests") == 3
    assert {row.state for row in forwards()} == {State.CLOSED}


@pytest.mark.django_db(transaction=True)
def test_a_claim_that_is_lost_between_two_halves_takes_nothing_back_that_is_known(desk: Desk, tally: Counter) -> None:
    connection = desk.connect("once_tally")
    for number in range(4):
        desk.report(user=f"u{number}")
    tally.spoils = {"u3"}
    answer = tally.vendor.by_shape

    def slowly(heard: Heard) -> Call | None:
        if len(heard.body) == 2:
            Batch.objects.update(started_at=timezone.now() - timedelta(seconds=settings.ENGAGE_ATTEMPT_TIMEOUT + 1))
            database.close()
        assert answer is not None
        return answer(heard)

    tally.vendor.by_shape = slowly
    go(connection)
    assert [row.state for row in forwards()] == [State.DONE, State.DONE, State.WAITING, State.WAITING]
    tally.vendor.by_shape = answer
    make_due()
    go(connection)
    assert [row.state for row in forwards()] == [State.DONE, State.DONE, State.DONE, State.REJECTED]
    assert [one["who"] for one in tally.counted.values()] == ["u0", "u1", "u2"]


# --- claim and recover ------------------------------------------------------------------------------------------------------


def claimed(connection: Connection) -> tuple[Batch, list[Execution]]:
    found = forwarding.claim("dead", connection, 5)
    assert found is not None
    return found


def expire(batch: Batch, **values: Any) -> None:
    Batch.objects.filter(pk=batch.pk).update(lease_until=timezone.now() - timedelta(seconds=1), **values)


def test_one_batch_at_a_time_for_a_connection(desk: Desk, tally: Counter) -> None:
    connection = desk.connect()
    desk.report()
    claimed(connection)
    desk.report(user="bob")
    assert forwarding.claim("another", connection, 5) is None
    assert forwarding.sweep() == []
    assert [row.state for row in forwards()] == [State.RUNNING, State.QUEUED]


@pytest.mark.parametrize(
    ("key", "begun", "state"),
    [
        ("tally", False, State.WAITING),
        ("tally", True, State.WAITING),
        ("once_tally", False, State.WAITING),
        ("once_tally", True, State.GAVE_UP),
    ],
)
def test_a_worker_that_died_between_claim_and_settle(
    desk: Desk, tally: Counter, key: str, begun: bool, state: State
) -> None:
    connection = desk.connect(key)
    desk.report()
    batch, _ = claimed(connection)
    expire(batch, write_begun_at=timezone.now() if begun else None)
    due = forwarding.sweep()
    assert only().state == state
    assert due == ([connection.pk] if state == State.WAITING else [])
    if state == State.WAITING:
        assert go(connection) == 1
        assert only().state == State.DONE


def test_a_worker_that_lost_its_batch_sends_nothing(desk: Desk, tally: Counter) -> None:
    connection = desk.connect()
    desk.report()
    batch, rows = claimed(connection)
    expire(batch)
    forwarding.sweep()
    forwarding.send(forwarding.targets([connection])[0], batch, rows)
    assert tally.requests == []
    assert only().state == State.WAITING


def test_a_late_success_settles_what_nobody_has_sent_again(desk: Desk, tally: Counter) -> None:
    connection = desk.connect("once_tally")
    desk.report()
    batch, rows = claimed(connection)
    expire(batch, write_begun_at=timezone.now())
    forwarding.sweep()
    assert only().state == State.GAVE_UP
    forwarding.settle(batch, [(rows[0], Outcome(Result.DONE, "Tallied"))])
    assert only().state == State.DONE


def test_a_late_answer_changes_nothing_of_another_workers_batch(desk: Desk, tally: Counter) -> None:
    connection = desk.connect()
    desk.report()
    batch, rows = claimed(connection)
    expire(batch)
    forwarding.sweep()
    make_due()
    claimed(connection)
    forwarding.settle(batch, [(rows[0], Outcome(Result.REJECTED, "no", reason="vendor"))])
    assert only().state == State.RUNNING


def test_a_worker_that_died_every_time_gives_up(desk: Desk, tally: Counter) -> None:
    connection = desk.connect()
    desk.report()
    for _ in range(11):
        make_due()
        expire(claimed(connection)[0])
        forwarding.sweep()
    assert (only().state, only().attempts_made) == (State.GAVE_UP, 11)


def test_a_repeat_carries_the_same_key_and_time(desk: Desk, tally: Counter) -> None:
    connection = desk.connect()
    desk.report()
    batch, _ = claimed(connection)
    go(connection)
    forwarding.send(forwarding.targets([connection])[0], batch, forwards())
    expire(batch)
    forwarding.sweep()
    Execution.objects.update(state=State.WAITING, due_at=timezone.now() - timedelta(seconds=1))
    go(connection)
    first, second = (request[0] for request in tally.requests)
    assert first == second
    assert len(tally.counted) == 1


def test_actions_do_not_wait_behind_forwards(desk: Desk, tally: Counter) -> None:
    desk.connect()
    desk.report()
    assert list(claims.due()) == []
    assert claims.claim("tests") is None


def test_an_overdue_forward_is_seen_without_a_worker(desk: Desk, tally: Counter) -> None:
    connection = desk.connect()
    desk.report()
    Execution.objects.update(due_at=timezone.now() - timedelta(seconds=100))
    assert 99 < recovery.oldest_overdue() < 102
    Connection.objects.filter(pk=connection.pk).update(health=Health.ATTENTION)
    assert recovery.oldest_overdue() == 0


# --- what people see --------------------------------------------------------------------------------------------------------


def test_live_shows_forwards_where_they_are_asked_for(desk: Desk, tally: Counter) -> None:
    connection = desk.connect()
    event = desk.report("accept")

    def shown(**chosen: Any) -> list[Execution | None]:
        return [line.execution for line in live.page(desk.app, chosen).lines]

    assert shown() == [None]
    assert shown(forwards=True) == [only()]
    assert shown(connector="tally") == [only()]
    assert shown(state="queued") == []
    assert shown(state="queued", forwards=True) == [only()]
    go(connection)
    assert events.status_of(event).executions == []


def test_the_dashboard_counts_forwards_apart(desk: Desk, tally: Counter) -> None:
    desk.connect()
    desk.report("accept")
    Execution.objects.update(state=State.GAVE_UP, settled_at=timezone.now())
    assert [need.text for need in dashboard.needs(desk.app)] == ["1 event could not be forwarded this week"]
    assert sum(bar.count for day in dashboard.week(desk.app) for bar in day.bars) == 0


@pytest.mark.parametrize("kind", [KeyKind.PUBLISHABLE, KeyKind.SECRET])
def test_only_a_browser_shows_where_its_visitor_is(desk: Desk, tally: Counter, kind: KeyKind) -> None:
    desk.connect(locate=True)
    caller = runtime.Caller(desk.app, kind, "ann" if kind == KeyKind.PUBLISHABLE else "")
    answer = caller.post("/events", runtime.event("stay", "ann"), **{"User-Agent": "Browser/1"})
    assert answer.status_code == 200
    event = PromptEvent.objects.get()
    seen = ("127.0.0.1", "Browser/1") if kind == KeyKind.PUBLISHABLE else (None, "")
    assert (event.address, event.user_agent) == seen


def test_at_most_half_of_the_threads_forward(desk: Desk, tally: Counter) -> None:
    connection = desk.connect()
    desk.report()
    half = settings.ENGAGE_WORKER_THREADS // 2
    for _ in range(half):
        assert places.TURNS.acquire(blocking=False)
    try:
        tasks.forward(str(connection.pk))
        assert only().state == State.QUEUED
    finally:
        places.TURNS.release(half)
    tasks.forward(str(connection.pk))
    assert only().state == State.DONE


# --- the pages --------------------------------------------------------------------------------------------------------------


def text_of(page: Any) -> str:
    assert page.status_code == 200
    return " ".join(page.content.decode().split())


def test_the_connectors_page_says_what_is_sent_and_how_it_went(
    desk: Desk, tally: Counter, console: Callable[[Role], Client]
) -> None:
    connection = desk.connect(traits="plan")
    tally.refuse = {"bob"}
    desk.report()
    desk.report(user="bob")
    go(connection)
    url = reverse("admin:connectors_connection_page", args=["tally"])
    page = text_of(console(Role.APP_MEMBER).get(url))
    assert "Recurly Engage Prompt Click 2" in page
    assert "&quot;who&quot;: &quot;customer-1042&quot;" in page
    assert "&quot;plan&quot;: &quot;…&quot;" in page
    assert "Last problem: not wanted" in page
    assert re.search(r"<dt>Sent</dt><dd><a [^>]*connector=tally[^>]*state=done[^>]*>1</a>", page)
    assert re.search(r"<dt>Refused</dt><dd><a [^>]*>1</a>", page)
    assert SECRET not in page
    assert "Used by" not in page


def test_the_connectors_page_before_it_is_set_up(desk: Desk, tally: Counter, console: Callable[[Role], Client]) -> None:
    page = text_of(console(Role.APP_ADMIN).get(reverse("admin:connectors_connection_page", args=["tally"])))
    assert "nothing is sent" in page
    assert "The last 24 hours" not in page


def test_a_forwards_page_shows_its_part_of_the_batch_and_nobody_elses(
    desk: Desk, tally: Counter, console: Callable[[Role], Client]
) -> None:
    connection = desk.connect()
    desk.report()
    desk.report(user="bob")
    url = reverse("admin:prompts_execution_change", args=[forwards()[0].pk])
    assert "Events are collected for some seconds" in text_of(console(Role.APP_ADMIN).get(url))
    go(connection)
    page = text_of(console(Role.APP_ADMIN).get(url))
    assert "with 2 events, of which 2 were accepted" in page
    assert "&quot;who&quot;: &quot;ann&quot;" in page
    assert "bob" not in page
    assert "ann was shown Stay" in page
    hidden = text_of(console(Role.READ_ONLY).get(url))
    assert "&quot;who&quot;" not in hidden
    Batch.objects.all().delete()
    assert "no longer kept" in text_of(console(Role.APP_ADMIN).get(url))


def test_what_may_have_arrived_is_sent_again_with_a_warning_only(
    desk: Desk, tally: Counter, console: Callable[[Role], Client]
) -> None:
    connection = desk.connect("once_tally")
    desk.report()
    answer = tally.vendor.by_shape
    tally.vendor.by_shape = lambda _: Call("POST", "/tallies", {}, status=500)
    go(connection)
    page = text_of(console(Role.APP_ADMIN).get(reverse("admin:prompts_execution_change", args=[only().pk])))
    assert "Send again" in page
    assert "would be counted twice" in page
    tally.vendor.by_shape = answer
    url = reverse("admin:prompts_execution_do", args=[only().pk, "run-again"])
    console(Role.APP_ADMIN).post(url, {"seen": only().standing})
    make_due()
    go(connection)
    assert only().state == State.DONE
