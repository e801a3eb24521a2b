"""A privacy request: everything known of a subscriber goes, unless an action of theirs is still open."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from time import sleep

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from engage.audit.models import Entry
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from prompts import decisions, erasure
from prompts.models import Attempt, AttemptBody, Batch, BatchBody, Execution, LimitTaken, PromptEvent, State
from sync.csv_rows import BadRow
from sync.models import ImportRun, InboundMessage, LastWord, RejectedRow, Subscriber
from sync.rejected import reject
from tests import factories

pytestmark = pytest.mark.django_db
Console = Callable[[Role], Client]
USER_ID = "ann-of-the-privacy-request"
EMAIL = "ann.private@example.com"


@pytest.fixture
def ann(app: App) -> Subscriber:
    """A subscriber of whom there is something in every table."""
    person: Subscriber = factories.SubscriberFactory(app=app, user_id=USER_ID, traits={"email": EMAIL})
    binding = factories.BindingFactory(prompt__app=app)
    event = factories.EventFactory(prompt=binding.prompt, subscriber=person, inputs={"email": EMAIL})
    now = timezone.now()
    batch = Batch.objects.create(connection=binding.connection, worker="w", started_at=now, lease_until=now)
    execution = factories.ExecutionFactory(
        event=event, subscriber=person, binding=binding, state=State.DONE, traits={"email": EMAIL}, batch=batch
    )
    BatchBody.objects.create(batch=batch, payloads={str(execution.pk): {"id": USER_ID}, "another": {"id": "bob"}})
    attempt = Attempt.objects.create(execution=execution, number=1, fence=1, worker="w", started_at=timezone.now())
    AttemptBody.objects.create(attempt=attempt, exchanges=[{"sent": EMAIL}])
    LimitTaken.objects.create(prompt=binding.prompt, subscriber=person, event=event, taken_at=timezone.now())
    InboundMessage.objects.create(
        app=app, connection=binding.connection, event_id="1", payload={"email": EMAIL}, subscriber=person
    )
    LastWord.objects.create(connection=binding.connection, subscriber=person, subject=USER_ID, as_of=now)
    run = ImportRun.objects.create(app=app, object_key="a.csv", etag="e")
    rows = [BadRow(2, "user_id", "No.", USER_ID), BadRow(3, "age", "No.", "old", (USER_ID, "old"))]
    rows += [
        BadRow(4, "age", "No.", "old", ("x", EMAIL, "old")),
        BadRow(5, "age", "No.", "old", (f"{USER_ID}-2", "old")),
    ]
    reject(run, rows)
    return person


def page(person: Subscriber) -> str:
    return reverse("admin:prompts_lookup_erase", args=[person.pk])


def everything() -> str:
    """Return the text of every row of every table."""
    found = []
    with connection.cursor() as cursor:
        for model in apps.get_models():
            cursor.execute(f'SELECT * FROM "{model._meta.db_table}"')  # noqa: S608 - Django's own table names
            found += [str(row) for row in cursor.fetchall()]
    return "\n".join(found)


def test_nothing_of_the_person_stays_in_any_table(console: Console, ann: Subscriber) -> None:
    client = console(Role.APP_ADMIN)
    client.get(reverse("admin:prompts_lookup"), {"q": USER_ID})
    assert "1 executions" in client.get(page(ann)).content.decode()
    assert USER_ID in everything()
    answer = client.post(page(ann), {"user_id": USER_ID})
    assert answer.headers["Location"] == reverse("admin:prompts_lookup")
    left = everything()
    assert USER_ID not in left.replace(f"{USER_ID}-2", "")
    assert EMAIL not in left
    assert BatchBody.objects.get().payloads == {"another": {"id": "bob"}}
    assert [model.objects.count() for model in (Subscriber, PromptEvent, Execution, Attempt)] == [0, 0, 0, 0]
    assert RejectedRow.objects.get().line == 5
    looked, deleted = Entry.objects.filter(kind="subscriber").order_by("pk")
    assert (looked.verb, looked.label) == ("looked up", "a subscriber who was deleted")
    assert (deleted.verb, deleted.label, deleted.user is not None) == (
        "deleted on request",
        "a subscriber who was deleted",
        True,
    )


@pytest.mark.parametrize(
    ("state", "due"),
    [
        *((state, None) for state in (State.QUEUED, State.RUNNING, State.WAITING, State.PENDING, State.HELD)),
        *((state, None) for state in (State.BLOCKED, State.UNCERTAIN)),
        (State.HANDED_OVER, timedelta(hours=1)),
    ],
)
def test_what_is_open_stands_in_the_way(console: Console, ann: Subscriber, state: State, due: timedelta | None) -> None:
    Execution.objects.update(state=state, due_at=timezone.now() + due if due else None)
    answer = console(Role.APP_ADMIN).post(page(ann), {"user_id": USER_ID}).content.decode()
    assert "cannot be deleted yet" in answer
    assert f"{state.label}: 1" in answer
    assert Subscriber.objects.filter(pk=ann.pk).exists()
    assert not Entry.objects.filter(verb="deleted on request").exists()


@pytest.mark.django_db(transaction=True)
def test_what_is_run_again_at_the_same_moment_stands_in_the_way(ann: Subscriber, rf: RequestFactory) -> None:
    execution = Execution.objects.get()
    Execution.objects.update(state=State.GAVE_UP)

    def deletes() -> str:
        try:
            erasure.erase(ann, rf.post("/"))
        except erasure.StillOpen:
            return "still open"
        finally:
            connection.close()
        return "deleted"

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            decisions.run_again(execution, by="ben@example.com")
            deleting = pool.submit(deletes)
            sleep(0.5)
            assert not deleting.done()
        assert deleting.result(20) == "still open"
    assert Execution.objects.get().state == State.QUEUED


DECISIONS: dict[str, Callable[[Execution], Execution]] = {
    "run again": lambda row: decisions.run_again(row, by="ben@example.com"),
    "try now": lambda row: decisions.try_now(row, by="ben@example.com"),
    "check now": decisions.check_now,
    "stop": lambda row: decisions.stop_trying(row, by="ben@example.com"),
    "happened": lambda row: decisions.decide(row, decisions.Decision.HAPPENED, by="ben@example.com", note="Seen."),
    "did not": lambda row: decisions.decide(row, decisions.Decision.RUN_AGAIN, by="ben@example.com", note="Seen."),
    "report": lambda row: decisions.report(row, "done", {}),
}


@pytest.mark.parametrize("decide", DECISIONS.values(), ids=DECISIONS)
def test_what_was_deleted_is_decided_about_no_more(
    ann: Subscriber, rf: RequestFactory, decide: Callable[[Execution], Execution]
) -> None:
    execution = Execution.objects.get()
    erasure.erase(ann, rf.post("/"))
    with pytest.raises(decisions.NotPossible):
        decide(execution)


def test_the_id_must_be_typed(console: Console, ann: Subscriber) -> None:
    answer = console(Role.APP_ADMIN).post(page(ann), {"user_id": "somebody"}).content.decode()
    assert "This is not the user id" in answer
    assert 'value="somebody"' in answer
    assert Subscriber.objects.filter(pk=ann.pk).exists()


@pytest.mark.parametrize("role", [Role.APP_MEMBER, Role.READ_ONLY])
def test_only_administrators_delete(console: Console, ann: Subscriber, role: Role) -> None:
    client = console(role)
    assert client.get(page(ann)).status_code == 403
    assert client.post(page(ann), {"user_id": USER_ID}).status_code == 403
    assert "Delete this subscriber" not in client.get(reverse("admin:prompts_lookup"), {"q": USER_ID}).content.decode()
    assert Subscriber.objects.filter(pk=ann.pk).exists()


def test_a_subscriber_of_another_app_is_not_there(console: Console, other_app: App) -> None:
    theirs = factories.SubscriberFactory(app=other_app, user_id="theirs")
    assert console(Role.COMPANY_ADMIN).post(page(theirs), {"user_id": "theirs"}).status_code == 404
    assert Subscriber.objects.filter(pk=theirs.pk).exists()
