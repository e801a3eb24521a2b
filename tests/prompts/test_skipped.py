"""Actions that were skipped for a trait which an import brings later: said on the import's page, listed in Live, run by nobody."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from engage.tenancy.models import App
from engage.tenancy.roles import Role
from prompts.models import Execution, State
from prompts.skipped import can_run_since
from sync import uploads
from sync.imports import import_source
from sync.models import Access, ImportRun, RunState, Source
from tests.factories import BindingFactory, EventFactory, ExecutionFactory, SourceFactory, SubscriberFactory

# An import's rows carry the time of its own transactions: within a test's they would all be older than the import.
pytestmark = pytest.mark.django_db(transaction=True)
Console = Callable[[Role], Client]
LACKED = "No cleeng_subscription_id or cleeng_customer_id is known of this subscriber."


@pytest.fixture
def source(app: App) -> Source:
    """A source that brings Cleeng's customer ids."""
    made: Source = SourceFactory(
        app=app,
        access=Access.UPLOAD,
        bucket="",
        prefix="",
        access_key_id="",
        id_column="user_id",
        columns={"Customer ID": {"trait": "cleeng_customer_id"}},
        secrets={},
    )
    return made


@pytest.fixture
def skip(app: App) -> Callable[..., Execution]:
    """Return a function that makes an execution of somebody, skipped an hour ago."""
    binding = BindingFactory(prompt__app=app)

    def made(user_id: str, traits: dict[str, Any] | None = None, **fields: Any) -> Execution:
        person = SubscriberFactory(app=app, user_id=user_id, traits=traits or {})
        ago = timezone.now() - timedelta(hours=1)
        values = {"state": State.SKIPPED, "reason": "missing", "message": LACKED, "created_at": ago, "settled_at": ago}
        event = EventFactory(prompt=binding.prompt, subscriber=person)
        execution: Execution = ExecutionFactory(binding=binding, event=event, due_at=None, **{**values, **fields})
        return execution

    return made


def imported(source: Source, content: str) -> ImportRun:
    run = uploads.keep(source, SimpleUploadedFile("a.csv", content.encode()), "somebody")
    ImportRun.objects.filter(pk=run.pk).update(state=RunState.STOPPED)
    import_source(source, started_by="test")
    run.refresh_from_db()
    return run


def test_what_can_run_now_is_said_and_listed(console: Console, source: Source, skip: Callable[..., Execution]) -> None:
    now = timezone.now()
    long_ago = now - timedelta(hours=73)
    mine = [skip("ann"), skip("bob")]
    skip("not in the file")
    skip("known before", {"cleeng_customer_id": "5"})  # so the file says nothing new
    skip("old", created_at=long_ago, settled_at=long_ago)
    skip("expired", expires_at=now - timedelta(minutes=1))
    skip("another reason", reason="limit", message="The limit was reached.")
    skip("another trait", message="No email is known of this subscriber.")
    skip("not skipped", state=State.REJECTED)
    ids = ["ann", "bob", "known before", "old", "expired", "another reason", "another trait", "not skipped"]
    rows = "".join(f"{user_id},5\n" for user_id in ids)
    run = imported(source, f"user_id,Customer ID\n{rows}")
    assert {execution.pk for execution in can_run_since(run)} == {execution.pk for execution in mine}
    client = console(Role.APP_MEMBER)
    page = client.get(reverse("admin:sync_importrun_change", args=[run.pk])).content.decode()
    link = f"{reverse('admin:prompts_execution_changelist')}?can_run_since={run.pk}"
    assert "2 skipped actions of the last 72 hours can run now" in page
    assert link in page
    listed = client.get(link)
    assert {row.line.execution.pk for row in listed.context["rows"]} == {execution.pk for execution in mine}
    assert 'name="can_run_since"' in listed.content.decode()
    assert set(Execution.objects.filter(pk__in=[each.pk for each in mine]).values_list("state", flat=True)) == {
        "skipped"
    }


def test_what_was_skipped_after_the_import_is_not_what_it_brought(
    source: Source, skip: Callable[..., Execution]
) -> None:
    execution = skip("ann")
    run = imported(source, "user_id,Customer ID\nann,5\n")
    Execution.objects.filter(pk=execution.pk).update(settled_at=timezone.now() + timedelta(seconds=1))
    assert can_run_since(run) == []


def test_a_file_that_brings_something_else_makes_nothing_run(source: Source, skip: Callable[..., Execution]) -> None:
    skip("ann")
    run = imported(source, "user_id,plan\nann,gold\n")
    assert run.rows_changed == 1
    assert can_run_since(run) == []


def test_nothing_is_said_where_nothing_can_run(console: Console, source: Source) -> None:
    run = imported(source, "user_id,Customer ID\nann,5\n")
    page = console(Role.APP_MEMBER).get(reverse("admin:sync_importrun_change", args=[run.pk])).content.decode()
    assert "can run now" not in page


def test_the_imports_of_another_app_filter_nothing(
    console: Console, other_app: App, skip: Callable[..., Execution]
) -> None:
    skip("ann")
    theirs = ImportRun.objects.create(app=other_app, object_key="a.csv", etag="e")
    for key in (theirs.pk, 2**62, "x"):
        answer = console(Role.APP_MEMBER).get(reverse("admin:prompts_execution_changelist"), {"can_run_since": key})
        assert answer.status_code == 200
        assert not answer.context["rows"] or key == "x"
