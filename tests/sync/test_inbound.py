"""Webhooks beyond what each vendor's contract tries: order, workers that die, pending executions, addresses, the console."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.utils import timezone
from kombu import Producer
from pytest_django.fixtures import Settings

from connectors import connections, registry
from connectors.base import Connector
from connectors.inbound import Learned, Message, Request
from connectors.models import Connection
from engage import places
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from prompts.models import Execution, State
from sync import inbound, tasks
from sync.models import InboundMessage, MessageState, RefusedDelivery, Subscriber, Trait
from tests import factories
from tests.connectors.inbound_contract import OTHER_SECRET, SECRET, Sent
from tests.connectors.tellers import (
    Hinting,
    Pinging,
    Slipping,
    Tracking,
    as_json,
    digest,
    sign_slip,
    sign_tracks,
    slip,
)

KEY = "api-key-of-the-tests-0123456789"


@pytest.fixture(autouse=True)
def _tellers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    known = registry._by_key  # noqa: SLF001 - the registry's memory, forgotten before and after
    monkeypatch.setattr(registry, "CONNECTORS", (*registry.CONNECTORS, Slipping, Tracking, Pinging, Hinting))
    known.cache_clear()
    yield
    known.cache_clear()


def connect(app: App, connector: type[Connector] = Slipping, **fields: Any) -> Connection:
    made: Connection = factories.ConnectionFactory(
        app=app, connector=connector.key, settings={}, secrets={"api_key": KEY, "webhook_secret": SECRET}, **fields
    )
    return made


@pytest.fixture
def connection(app: App) -> Connection:
    return connect(app)


@pytest.fixture
def request_of_admin(app: App, rf: RequestFactory) -> HttpRequest:
    request = rf.post("/")
    request.user = factories.person(app, Role.APP_ADMIN)
    return request


@pytest.fixture
def subscriber(app: App) -> Subscriber:
    made: Subscriber = factories.SubscriberFactory(app=app, traits={"customer_id": "c-1"})
    return made


def send(connection: Connection, sent: Sent) -> Any:
    target = f"/hooks/{connection.pk}?{sent.query}"
    return Client().generic(sent.method, target, sent.body, content_type=sent.content_type, headers=dict(sent.headers))


def send_slip(connection: Connection, *args: Any, **kwargs: Any) -> Any:
    return send(connection, sign_slip(slip(*args, **kwargs), SECRET, datetime.now(UTC)))


def states() -> list[str]:
    return list(InboundMessage.objects.order_by("pk").values_list("state", flat=True))


def plan(subscriber: Subscriber) -> Any:
    subscriber.refresh_from_db()
    return subscriber.traits.get("plan")


# --- order ------------------------------------------------------------------------------------------------------------------


def test_an_older_word_that_comes_later_does_not_count(connection: Connection, subscriber: Subscriber) -> None:
    send_slip(connection, 2, "premium", "2026-11-20T10:00:01Z")
    inbound.work()
    send_slip(connection, 1, "basic", "2026-11-20T10:00:00Z")
    inbound.work()
    assert states() == [MessageState.DONE, MessageState.OVERTAKEN]
    assert plan(subscriber) == "premium"


def test_of_two_that_wait_the_newer_word_stays_whatever_is_read_first(
    connection: Connection, subscriber: Subscriber
) -> None:
    send_slip(connection, 2, "premium", "2026-11-20T10:00:01Z")
    send_slip(connection, 1, "basic", "2026-11-20T10:00:00Z")
    assert inbound.work() == 2
    assert plan(subscriber) == "premium"


def test_processing_an_old_message_again_undoes_nothing(connection: Connection, subscriber: Subscriber) -> None:
    send_slip(connection, 1, "basic", "2026-11-20T10:00:00Z")
    send_slip(connection, 2, "premium", "2026-11-20T10:00:01Z")
    inbound.work()
    assert inbound.again(InboundMessage.objects.filter(event_id="slip-1")) == 1
    inbound.work()
    assert states() == [MessageState.OVERTAKEN, MessageState.DONE]
    assert plan(subscriber) == "premium"


def test_words_about_other_subjects_or_of_other_connections_are_no_newer_ones(
    connection: Connection, subscriber: Subscriber, other_app: App
) -> None:
    theirs = connect(other_app)
    send_slip(theirs, 7, "premium", "2026-11-25T10:00:00Z")
    send_slip(connection, 7, "basic", "2026-11-20T10:00:00Z")
    inbound.work()
    assert plan(subscriber) == "basic"


def test_somebody_who_has_the_id_since_then_gets_what_others_were_told_before(app: App, connection: Connection) -> None:
    first = factories.SubscriberFactory(app=app, traits={"customer_id": "c-1"})
    send_slip(connection, 1, "premium", "2026-11-20T10:00:01Z")
    inbound.work()
    second = factories.SubscriberFactory(app=app, traits={"customer_id": "c-1"})
    send_slip(connection, 2, "basic", "2026-11-20T10:00:00Z")
    inbound.work()
    assert [plan(each) for each in (first, second)] == ["premium", "basic"]


def test_a_message_may_take_a_trait_away(connection: Connection, subscriber: Subscriber) -> None:
    send_slip(connection, 1, "basic")
    send_slip(connection, 2, "", "2026-11-21T10:00:00Z")
    inbound.work()
    assert plan(subscriber) is None


# --- whose it is ------------------------------------------------------------------------------------------------------------


def test_an_id_of_digits_is_found_however_a_file_brought_it(app: App) -> None:
    row = connect(app, Slipping)
    number = factories.SubscriberFactory(app=app, traits={"customer_id": 42})
    text = factories.SubscriberFactory(app=app, traits={"customer_id": "42"})
    other = factories.SubscriberFactory(app=app, traits={"customer_id": 420, "x": "42"})
    send(row, sign_slip(slip().replace(b"c-1", b"42"), SECRET, datetime.now(UTC)))
    inbound.work()
    assert [plan(each) for each in (number, text, other)] == ["premium", "premium", None]
    assert "1 more" in InboundMessage.objects.get().reason


def test_an_id_that_many_have_is_nobodys(app: App, connection: Connection) -> None:
    people = [factories.SubscriberFactory(app=app, traits={"customer_id": "c-1"}) for _ in range(11)]
    send_slip(connection)
    inbound.work()
    message = InboundMessage.objects.get()
    assert message.state == MessageState.FAILED
    assert "nobody's id" in message.reason
    assert not any(plan(each) for each in people)


def test_what_cannot_be_kept_is_kept_as_a_message_and_nothing_is_written(
    app: App, connection: Connection, subscriber: Subscriber
) -> None:
    send_slip(connection, 1, "x" * 2001)
    inbound.work()
    message = InboundMessage.objects.get()
    assert message.state == MessageState.FAILED
    assert "2,000" in message.reason
    assert plan(subscriber) is None
    send_slip(connection, 2, "basic")  # and its word about the subject does not stand in the way
    inbound.work()
    assert plan(subscriber) == "basic"


def test_a_batch_is_as_many_messages_and_may_add_subscribers(app: App) -> None:
    row = connect(app, Tracking)
    events = [
        {"messageId": f"m-{number}", "type": "identify", "userId": f"new-{number}", "traits": {"plan": "basic"}}
        for number in (1, 2, 1)
    ]
    body = b"[" + b",".join(as_json(**event) for event in events) + b"]"
    assert send(row, sign_tracks(body, SECRET, datetime.now(UTC))).status_code == 200
    assert inbound.work() == 2
    assert set(app.subscribers.values_list("user_id", flat=True)) == {"new-1", "new-2"}
    assert Trait.objects.get(app=app).origin == "Webhook from Tracking"


def test_events_without_an_id_are_told_apart_by_their_place(app: App) -> None:
    row = connect(app, Tracking)
    event = as_json(type="identify", userId="new", traits={"plan": "basic"})
    for _ in range(2):
        send(row, sign_tracks(b"[" + event + b"," + event + b"]", SECRET, datetime.now(UTC)))
    assert InboundMessage.objects.count() == 2


def test_a_get_that_says_all_in_its_query(app: App) -> None:
    row = connect(app, Pinging)
    person = factories.SubscriberFactory(app=app, user_id="viewer-ann")
    ping = Sent(headers={"X-Api-Key": SECRET, "User-Id": "viewer-ann"}, query="properties[plan]=basic", method="GET")
    answer = send(row, ping)
    assert (answer.status_code, "no-store" in answer["Cache-Control"]) == (200, True)
    inbound.work()
    assert plan(person) == "basic"
    assert send(row, Sent(headers={"X-Api-Key": OTHER_SECRET}, query=ping.query, method="GET")).status_code == 401
    assert send(row, Sent(headers=ping.headers, query="", method="GET")).status_code == 200
    poison = InboundMessage.objects.latest("pk")
    assert poison.state == MessageState.FAILED
    assert SECRET not in str(poison.request)


def test_a_challenge_is_answered_and_nothing_is_stored(connection: Connection) -> None:
    answer = send(connection, Sent(method="GET", query="challenge=abc123"))
    assert (answer.status_code, answer.content.decode()) == (200, digest(SECRET, b"abc123", "sha1"))
    assert send(connection, Sent(method="GET", query="challenge=a&challenge=b")).status_code == 401
    assert send(connection, Sent(method="GET")).status_code == 401
    assert states() == []


# --- what was waiting for it ------------------------------------------------------------------------------------------------


def test_the_vendors_jobs_for_this_person_are_asked_about_at_once(
    connection: Connection, subscriber: Subscriber, app: App
) -> None:
    later = timezone.now() + timedelta(hours=1)

    def pending(connection: Connection, subscriber: Subscriber, state: str = State.PENDING) -> Execution:
        binding = factories.BindingFactory(prompt__app=app, connection=connection, connector=connection.connector)
        made: Execution = factories.ExecutionFactory(
            binding=binding, subscriber=subscriber, state=state, job={"id": "job-1"}, due_at=later
        )
        return made

    mine = pending(connection, subscriber)
    others = [
        pending(factories.ConnectionFactory(app=app), subscriber),
        pending(connection, factories.SubscriberFactory(app=app)),
        pending(connection, subscriber, State.HELD),
    ]
    send_slip(connection)
    inbound.work()
    for each in (mine, *others):
        each.refresh_from_db()
    assert mine.state == State.PENDING
    assert mine.due_at is not None
    assert mine.due_at <= timezone.now()
    assert [each.due_at for each in others] == [later] * 3


# --- workers ----------------------------------------------------------------------------------------------------------------


def test_a_worker_that_dies_leaves_its_message_to_the_next_one(connection: Connection, subscriber: Subscriber) -> None:
    send_slip(connection)
    died = inbound.claim()
    assert died is not None
    assert inbound.claim() is None
    InboundMessage.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    assert inbound.work() == 1
    assert plan(subscriber) == "premium"
    Subscriber.objects.update(traits={"customer_id": "c-1"})
    inbound.process(died)  # it wakes up, and has no claim any more
    assert plan(subscriber) is None
    assert states() == [MessageState.DONE]


def test_the_sweep_rings_for_what_nobody_heard(
    connection: Connection, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(Producer, "publish", lambda *_, headers, **__: rung.append(headers["task"]))
    tasks.tick()
    assert rung == []
    send_slip(connection)
    rung.clear()  # nobody heard it
    tasks.tick()
    assert rung == ["sync.process_messages"]
    tasks.process_messages()
    tasks.tick()
    assert (rung, plan(subscriber)) == (["sync.process_messages"], "premium")


def test_a_long_queue_keeps_a_thread_for_some_seconds_and_is_rung_for_again(
    connection: Connection, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(Producer, "publish", lambda *_, headers, **__: rung.append(headers["task"]))
    monkeypatch.setattr(places, "WORKS_FOR", 0.0)
    for number in (1, 2):
        send_slip(connection, number)
    rung.clear()
    assert inbound.work() == 1
    assert rung == ["sync.process_messages"]
    assert inbound.work() == 1
    assert len(rung) == 1, "nothing was left"
    assert states() == [MessageState.DONE] * 2


def test_what_waits_for_a_connection_that_is_off_stands_in_nobodys_way(
    app: App, connection: Connection, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbound, "AT_ONCE", 2)
    off = connect(app, Tracking, active=False)
    InboundMessage.objects.bulk_create(
        InboundMessage(app=app, connection=off, event_id=str(number), type="track", due_at=timezone.now())
        for number in range(5)
    )
    send_slip(connection)
    assert inbound.work() == 1
    assert plan(subscriber) == "premium"
    assert set(InboundMessage.objects.filter(connection=off).values_list("due_at", "tries")) == {(None, 0)}
    assert not inbound.due().exists()


@pytest.mark.django_db(transaction=True)
def test_what_came_while_a_connection_was_off_is_read_in_its_order_when_it_is_on(
    connection: Connection, subscriber: Subscriber, request_of_admin: HttpRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(Producer, "publish", lambda *_, headers, **__: rung.append(headers["task"]))
    connections.switch_off(connection, request=request_of_admin)
    for number, word in ((2, "basic"), (1, "premium")):
        send_slip(connection, number, word)
    assert inbound.work() == 0
    assert states() == [MessageState.QUEUED] * 2
    rung.clear()
    connections.switch_on(connection, choice="review", request=request_of_admin)
    assert "sync.process_messages" in rung
    claimed = [inbound.claim(), inbound.claim()]
    assert [message.event_id for message in claimed if message] == ["slip-2", "slip-1"]


def test_what_waited_too_long_ends_unread_and_can_be_processed_again(
    connection: Connection, subscriber: Subscriber, settings: Settings
) -> None:
    settings.ENGAGE_KEEP_EVENTS_DAYS = 10
    Connection.objects.update(active=False)
    send_slip(connection)
    inbound.work()
    for days, state in ((9, MessageState.QUEUED), (11, MessageState.IGNORED)):
        InboundMessage.objects.update(received_at=timezone.now() - timedelta(days=days))
        tasks.tick()
        assert states() == [state]
    ended = InboundMessage.objects.get()
    assert ended.reason == "Its connection was switched off for 10 days. It was not read."
    assert ended.settled_at is not None
    Connection.objects.update(active=True)
    inbound.again(InboundMessage.objects.all())
    inbound.work()
    assert plan(subscriber) == "premium"


def test_the_vendor_is_answered_after_the_commit_and_the_worker_rung_for(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    rung: list[tuple[str, bool]] = []

    def publish(*_: Any, headers: dict[str, Any], **__: Any) -> None:
        rung.append((headers["task"], InboundMessage.objects.exists()))

    monkeypatch.setattr(Producer, "publish", publish)
    with django_capture_on_commit_callbacks(execute=True):
        assert send_slip(connection).status_code == 200
    assert rung == [("sync.process_messages", True)]


def test_a_database_that_says_no_is_no_success(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(raise_request_exception=False)
    sent = sign_slip(slip(), SECRET, datetime.now(UTC))
    with transaction.atomic():
        transaction.set_rollback(True)  # every further query of the block is refused
        answer = client.generic("POST", f"/hooks/{connection.pk}", sent.body, content_type=sent.content_type)
    assert answer.status_code == 500


def test_it_gives_up_after_the_last_try_and_can_be_processed_again(
    app: App, settings: Settings, subscriber: Subscriber
) -> None:
    settings.ENGAGE_VENDOR_URLS = {"hinting": "http://127.0.0.1:9"}
    row = connect(app, Hinting)
    message = InboundMessage.objects.create(
        app=app,
        connection=row,
        event_id="e",
        type="plan.changed",
        payload={"customer": "c-1"},
        due_at=timezone.now() - timedelta(seconds=1),
        tries=len(settings.ENGAGE_RETRY_DELAYS),
    )
    inbound.work()
    message.refresh_from_db()
    assert message.state == MessageState.FAILED
    assert "Gave up after 11 tries" in message.reason
    inbound.again(InboundMessage.objects.all())
    inbound.work()
    message.refresh_from_db()
    assert (message.state, message.tries) == (MessageState.QUEUED, 1)


def test_a_request_that_a_newer_version_can_take_apart_is_not_lost(
    connection: Connection, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    teller = type(Slipping.inbound)

    def broken(self: Any, request: Request, values: Any) -> Any:
        raise KeyError("what the next version knows")

    with monkeypatch.context() as patch:
        patch.setattr(teller, "messages", broken)
        assert send_slip(connection).status_code == 200
    assert states() == [MessageState.FAILED]
    inbound.again(InboundMessage.objects.all())
    inbound.work()
    assert states() == [MessageState.DONE, MessageState.DONE]
    assert plan(subscriber) == "premium"


# --- who is refused ---------------------------------------------------------------------------------------------------------


def test_a_flood_of_forged_requests_writes_little(connection: Connection) -> None:
    forged = sign_slip(slip(), OTHER_SECRET, datetime.now(UTC))
    send(connection, forged)
    first = RefusedDelivery.objects.get()
    for _ in range(3):
        send(connection, forged)
    assert RefusedDelivery.objects.get().at == first.at
    RefusedDelivery.objects.update(at=first.at - timedelta(seconds=11))
    send(connection, forged)
    assert RefusedDelivery.objects.get().at > first.at - timedelta(seconds=1)
    assert states() == []


def test_secrets_that_cannot_be_opened_are_our_fault_and_the_vendor_comes_again(connection: Connection) -> None:
    Connection.objects.update(generation=9)
    answer = send_slip(connection)
    assert answer.status_code == 503
    assert states() == []


def test_nobody_needs_a_session_or_a_csrf_token(connection: Connection) -> None:
    sent = sign_slip(slip(), SECRET, datetime.now(UTC))
    strict = Client(enforce_csrf_checks=True)
    answer = strict.generic("POST", f"/hooks/{connection.pk}", sent.body, content_type=sent.content_type)
    assert answer.status_code == 200
    assert not answer.cookies


def test_a_read_that_says_nothing_is_not_used(
    connection: Connection, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(self: Any, message: Message, api: Any) -> list[Learned]:
        return []

    monkeypatch.setattr(type(Slipping.inbound), "read", silent)
    send_slip(connection)
    inbound.work()
    assert states() == [MessageState.IGNORED]
