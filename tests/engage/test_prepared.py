"""A prepared statement finds what the ORM finds, at every run anew."""

import threading
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, transaction
from django.db import connection as database
from django.db.models import BigAutoField, CharField, F, Value
from django.db.models.functions import Upper
from django.utils import timezone

from engage.prepared import SHAPES, Given, Prepared, PreparedInsert, PreparedUpdate
from engage.tenancy.models import ApiKey, App, KeyKind
from prompts.models import Attempt, AttemptBody, Execution, PromptEvent
from tests import factories

pytestmark = pytest.mark.django_db

KEYS = Prepared(
    lambda: App.objects.select_related("company").filter(pk=Given("app", BigAutoField())),
    lambda: ApiKey.objects.filter(app=Given("app", BigAutoField())).defer("hint").order_by("pk"),
)


def test_it_finds_what_the_orm_finds_related_rows_and_json_included(app: App, django_assert_num_queries: Any) -> None:
    app.domains = ["https://www.example.com"]
    app.save()
    keys = [ApiKey.make(app, KeyKind.SECRET)[0], ApiKey.make(app, KeyKind.PUBLISHABLE)[0]]
    with django_assert_num_queries(1):
        rows = KEYS(app=app.pk)
        assert rows[0][0].company.name == "Example Media"
    assert [row[0] for row in rows] == [app, app]
    assert sorted(row[1].pk for row in rows) == [key.pk for key in keys]
    read = App.objects.get(pk=app.pk)
    assert {field.attname: getattr(rows[0][0], field.attname) for field in App._meta.concrete_fields} == {
        field.attname: getattr(read, field.attname) for field in App._meta.concrete_fields
    }
    assert rows[0][1].get_deferred_fields() == {"hint"}
    rows[0][0].name = "Renamed"
    rows[0][0].save()  # it is a row of the database, not a new one
    assert KEYS(app=app.pk)[0][0].name == "Renamed"


def test_what_is_not_there_is_none(app: App, other_app: App) -> None:
    assert KEYS(app=0) == [(None, None)]
    ApiKey.make(other_app, KeyKind.SECRET)
    assert KEYS(app=app.pk) == [(app, None)]


def test_a_value_is_never_part_of_the_statement(app: App) -> None:
    named = Prepared(lambda: App.objects.filter(key=Given("key", CharField())))
    hostile = "a' OR '1'='1' -- %s \" \\"
    assert named(key=hostile) == [(None,)]
    odd = factories.AppFactory(key=hostile)
    assert named(key=hostile) == [(odd,)]
    with pytest.raises(KeyError):
        named(other="x")


def columns(row: Any) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in type(row)._meta.concrete_fields}


def test_it_stores_what_the_orm_stores(app: App, django_assert_num_queries: Any) -> None:
    insert = PreparedInsert(Execution)
    event = factories.EventFactory(prompt__app=app)

    def made(action: str) -> Execution:
        hostile = {"name": "a' %s -- \" \\", "one": 1, "none": None}
        at = event.received_at
        return Execution(
            app=app, event=event, subscriber=event.subscriber, action=action, inputs=hostile, created_at=at
        )

    ours, theirs = [made("first"), made("second")], [made("first"), made("second")]
    with django_assert_num_queries(1):
        insert(*ours)
    Execution.objects.bulk_create(theirs)
    for one, other in zip(ours, theirs, strict=True):
        stored = Execution.objects.get(pk=one.pk)
        assert columns(stored) == columns(one)
        assert columns(stored) | {"id": other.pk} == columns(Execution.objects.get(pk=other.pk))
    ours[0].note = "seen"
    ours[0].save()  # it is a row of the database, not a new one
    assert Execution.objects.filter(note="seen").count() == 1


def test_a_key_that_counts_up_is_given_out_by_the_database(app: App) -> None:
    insert = PreparedInsert(PromptEvent)
    kept = factories.EventFactory(prompt__app=app)
    more = [PromptEvent(app=app, subscriber=kept.subscriber, received_at=kept.received_at) for _ in range(3)]
    insert(*more)
    assert [PromptEvent.objects.get(pk=row.pk).event_id for row in more] == [row.event_id for row in more]
    again = PromptEvent(app=app, subscriber=kept.subscriber, received_at=kept.received_at, event_id=kept.event_id)
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(again)
    assert again.pk is None
    assert PromptEvent.objects.count() == 4


@pytest.mark.skipif(database.vendor != "postgresql", reason="SQLite keeps what it has parsed by itself")
def test_postgresql_keeps_what_it_has_parsed(app: App) -> None:
    kept = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%tenancy_apikey%'"
    with database.cursor() as cursor:
        for _ in range(3):
            assert KEYS(app=app.pk) == [(app, None)]
        assert cursor.execute(kept).fetchone()[0] == 1


@pytest.mark.skipif(database.vendor != "postgresql", reason="a file does not go away")
@pytest.mark.django_db(transaction=True)
def test_a_connection_that_has_gone_is_replaced_unless_something_was_written_in_it() -> None:
    def end(number: int) -> None:
        with database.cursor() as another:
            another.execute("SELECT pg_terminate_backend(%s)", [number])
        database.close()

    def disconnect() -> None:
        with database.cursor() as cursor:
            number = cursor.execute("SELECT pg_backend_pid()").fetchone()[0]
        thread = threading.Thread(target=end, args=(number,))
        thread.start()
        thread.join()

    app = factories.AppFactory()
    disconnect()
    assert KEYS(app=app.pk) == [(app, None)]

    def write_and_read() -> None:
        with transaction.atomic():
            App.objects.update(name="Renamed")
            disconnect()
            KEYS(app=app.pk)

    with pytest.raises(OperationalError):
        write_and_read()
    assert App.objects.get().name != "Renamed"


def test_a_column_that_gets_the_databases_time_needs_no_value(app: App) -> None:
    execution = factories.ExecutionFactory(app=app)
    store = PreparedInsert(Attempt, now=["started_at"])
    for number in (1, 2):
        attempt = Attempt(execution=execution, number=number, fence=number, worker="%s")
        store(attempt)
        attempt.refresh_from_db()
        assert (attempt.execution, attempt.number, attempt.worker) == (execution, number, "%s")
        assert abs((attempt.started_at - timezone.now()).total_seconds()) < 5


def test_a_row_takes_the_place_of_one_that_has_its_key_where_that_is_meant(app: App) -> None:
    attempt = factories.ExecutionFactory(app=app).attempts.create(number=1, fence=1, started_at=timezone.now())
    replace, insert = PreparedInsert(AttemptBody, replaces=True), PreparedInsert(AttemptBody)
    for exchanges in ([], [{"method": "GET"}]):
        replace(AttemptBody(attempt=attempt, exchanges=exchanges))
        assert AttemptBody.objects.get().exchanges == exchanges
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(AttemptBody(attempt=attempt))


of_app = PreparedUpdate(lambda: App.objects.filter(pk=Given("app", BigAutoField())))
of_connector = PreparedUpdate(lambda: Execution.objects.filter(connector=Given("connector", CharField())))


def test_an_update_writes_values_and_expressions_where_it_is_meant_and_says_in_how_many_rows(
    app: App, other_app: App
) -> None:
    hostile = "a' OR '1'='1' -- %s \" \\"
    for name in (hostile, "Another"):
        assert of_app({"name": name, "domains": ["https://www.example.com"], "key": Upper(F("key"))}, app=app.pk) == 1
        app.refresh_from_db()
        assert (app.name, app.domains, app.key) == (name, ["https://www.example.com"], "STREAMLY")
    assert of_app({"name": "Nobody"}, app=0) == 0
    other_app.refresh_from_db()
    assert (other_app.name, other_app.key) == ("Elsewhere", "elsewhere")


def test_an_update_stores_none_as_null_in_json_too(app: App) -> None:
    execution = factories.ExecutionFactory(app=app, job={"id": 1})
    assert of_connector({"job": None, "due_at": None}, connector=execution.connector) == 1
    assert Execution.objects.filter(job__isnull=True, due_at=None).count() == 1


def test_expressions_that_never_come_again_are_written_and_forgotten(app: App) -> None:
    for number in range(SHAPES + 3):
        of_app({"name": Value(f"Name {number}")}, app=app.pk)
        app.refresh_from_db()
        assert app.name == f"Name {number}"
