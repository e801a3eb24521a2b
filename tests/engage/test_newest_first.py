"""Lists that only grow: their order and pages, and that nothing is counted for them."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape

from engage.audit.models import Entry
from engage.audit.occurring import occurring
from engage.audit.record import record
from engage.tenancy.models import App
from engage.tenancy.newest_first import NewestFirstAdmin
from engage.tenancy.roles import Role
from sync.models import ImportRun, InboundMessage, MessageState
from tests import factories

Console = Callable[[Role], Client]
LOG = "/console/audit/entry/"
COUNTS = re.compile(
    r"(COUNT\(|DISTINCT|DATE_TRUNC|datetime_trunc).*(audit_entry|sync_inboundmessage|sync_importrun)", re.IGNORECASE
)


@pytest.fixture
def client(console: Console) -> Client:
    signed_in = console(Role.APP_ADMIN)
    Entry.objects.all().delete()  # of signing in
    return signed_in


def entries(app: App) -> list[Entry]:
    prompt = factories.PromptFactory(app=app)
    return [record("changed", prompt, actor=f"ann-{number}@example.com") for number in range(3)]


def webhooks(app: App) -> list[InboundMessage]:
    account = app.connections.first() or factories.ConnectionFactory(app=app)
    known = InboundMessage.objects.count()
    return [
        InboundMessage.objects.create(app=app, connection=account, event_id=f"evt_{number}", state=MessageState.FAILED)
        for number in range(known, known + 3)
    ]


def imports(app: App) -> list[ImportRun]:
    source = factories.SourceFactory(app=app)
    return [
        ImportRun.objects.create(app=app, source=source, bucket="b", object_key=f"{number}.csv", etag="e")
        for number in range(3)
    ]


LISTS = [(LOG, entries), ("/console/sync/inboundmessage/", webhooks), ("/console/sync/importrun/", imports)]


@pytest.mark.parametrize(("url", "make"), LISTS)
def test_it_is_paged_by_the_last_row_seen_and_never_counted(
    app: App, client: Client, monkeypatch: pytest.MonkeyPatch, url: str, make: Callable[[App], list[Any]]
) -> None:
    monkeypatch.setattr(NewestFirstAdmin, "list_per_page", 2)
    oldest, middle, newest = make(app)
    with CaptureQueriesContext(connection) as queries:
        first = client.get(url)
    assert [query["sql"] for query in queries.captured_queries if COUNTS.search(query["sql"])] == []
    assert first.context["cl"].result_list == [newest, middle]
    assert f'href="?p={middle.pk}"' in first.content.decode()
    assert "Newest</a>" not in first.content.decode()

    newcomer = make(app)[0]  # moves no row to another page
    second = client.get(f"{url}?p={middle.pk}")
    assert second.context["cl"].result_list == [oldest]
    assert newcomer not in second.context["cl"].result_list
    assert "Older<" not in second.content.decode()
    assert 'href="?"' in second.content.decode()


@pytest.mark.parametrize(("url", "make"), LISTS)
@pytest.mark.parametrize("query", ["?o=1", "?o=-2", "?p=x", "?p=0", "?all=", "?_facets=True"])
def test_no_address_brings_another_order_or_a_count(
    app: App, client: Client, url: str, make: Callable[[App], list[Any]], query: str
) -> None:
    made = make(app)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url + query).context["cl"].result_list == made[::-1]
    assert [query["sql"] for query in queries.captured_queries if COUNTS.search(query["sql"])] == []


def test_the_next_page_keeps_search_and_filters(app: App, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NewestFirstAdmin, "list_per_page", 1)
    made = entries(app)
    page = client.get(LOG, {"q": "ann", "verb": "changed"})
    assert escape(f"?p={made[2].pk}&q=ann&verb=changed") in page.content.decode()


def test_a_selection_goes_beyond_the_page(app: App, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NewestFirstAdmin, "list_per_page", 2)
    webhooks(app)
    url = "/console/sync/inboundmessage/"
    assert "Select all that match" in client.get(url).content.decode()
    chosen = InboundMessage.objects.first()
    assert chosen is not None
    client.post(url, {"action": "process_again", "_selected_action": [chosen.pk], "select_across": "1"})
    assert set(InboundMessage.objects.values_list("state", flat=True)) == {MessageState.QUEUED}
    assert "Select all that match" not in client.get(f"{url}?q=evt_1").content.decode()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ANN", ["ann@example.com"]),
        ("example.com", ["bob@example.com", "ann@example.com"]),
        ("archi", ["bob@example.com"]),
        ("Cancel", ["ann@example.com"]),
        ("Cancel offer", ["ann@example.com"]),
        ("the-id", ["bob@example.com"]),
        ("offer", []),
        ("the-", []),
        ("stranger", []),
    ],
)
def test_the_log_is_searched_by_person_word_id_and_beginning_of_a_name(
    app: App, other_app: App, client: Client, text: str, found: list[str]
) -> None:
    prompt, theirs = factories.PromptFactory(app=app), factories.PromptFactory(app=other_app)
    record("changed", prompt, actor="ann@example.com", label="Cancel offer")
    entry = record("archived", prompt, actor="bob@example.com", label="Stay")
    Entry.objects.filter(pk=entry.pk).update(object_id="the-id")
    record("archived", theirs, actor="stranger@example.com", label="Cancel offer")
    page = client.get(LOG, {"q": text})
    assert [each.actor for each in page.context["cl"].result_list] == found


def test_what_occurs_is_found_by_skipping_through_an_index(app: App, other_app: App) -> None:
    for verb in ("removed", "changed", "changed", "created"):
        record(verb, factories.PromptFactory(app=app))
    record("archived", factories.PromptFactory(app=other_app))
    record("renamed", app.company)
    with CaptureQueriesContext(connection) as queries:
        assert occurring("verb", app.company_id, app.pk) == ["changed", "created", "removed"]
        assert occurring("verb", app.company_id, None) == ["renamed"]
        assert occurring("kind", other_app.company_id, None) == []
    if connection.vendor == "sqlite":  # PostgreSQL decides by statistics
        with connection.cursor() as raw:
            plan = raw.execute("EXPLAIN QUERY PLAN " + queries.captured_queries[0]["sql"]).fetchall()
        steps = [row[3] for row in plan if "audit_entry" in row[3]]
        assert len(steps) == 2
        assert all("COVERING INDEX audit_verb" in step for step in steps)
