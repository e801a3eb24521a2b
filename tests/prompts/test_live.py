"""Live, an execution's page and what may be done there."""

import html
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from engage.audit.models import Entry
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from prompts import decisions, executions, live
from prompts.models import IMPRESSION, Attempt, AttemptBody, Execution, PromptEvent, Refusal, State
from prompts.states import STATES
from prompts.timeline import for_vendor_support, seconds
from sync.models import Subscriber
from tests import factories
from tests.prompts.conftest import House

NOBODYS_ID = "5f0c2ab0-6f0e-4f0a-9d55-6a1a9b6c0d11"
pytestmark = pytest.mark.django_db
Console = Callable[[Role], Client]

LIVE = "/console/prompts/execution/"
LOOKUP = "/console/prompts/promptevent/"
EVERY_ROLE = list(Role)


def event_of(app: App, **fields: Any) -> PromptEvent:
    prompt = fields.pop("prompt", None) or factories.PromptFactory(app=app)
    event: PromptEvent = factories.EventFactory(prompt=prompt, **fields)
    return event


def execution_of(app: App, state: State = State.DONE, **fields: Any) -> Execution:
    """An execution of `app`; `user`, `traits` and `event` describe whose it is."""
    prompt = fields.pop("prompt", None) or factories.PromptFactory(app=app)
    account = fields.pop("connection", None) or app.connections.first() or factories.ConnectionFactory(app=app)
    sources = fields.pop("sources", {"coupon": {"from": "fixed"}})
    binding = factories.BindingFactory(prompt=prompt, connection=account, inputs=sources)
    subscriber = Subscriber.objects.get_or_create(app=app, user_id=fields.pop("user", "ann"))[0]
    subscriber.traits = fields.pop("known", subscriber.traits)
    subscriber.save()
    at = fields.pop("created_at", timezone.now())
    event = factories.EventFactory(prompt=prompt, subscriber=subscriber, received_at=at, **fields.pop("event", {}))
    execution: Execution = factories.ExecutionFactory(
        binding=binding, event=event, state=state, created_at=at, **fields
    )
    return execution


def keys(page: live.Page) -> list[Any]:
    return [line.execution.pk if line.execution else line.event.pk for line in page.lines]


def page_of(execution: Execution) -> str:
    return reverse("admin:prompts_execution_change", args=[execution.pk])


def do(client: Client, execution: Execution, verb: str, **data: str) -> Any:
    url = reverse("admin:prompts_execution_do", args=[execution.pk, verb])
    return client.post(url, {"seen": execution.standing, **data}, follow=True)


def text_of(response: Any) -> str:
    """Return what a person reads, with blanks folded."""
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", response.content.decode(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


# --- which rows -------------------------------------------------------------------------------------------------------------


def test_events_come_newest_first_each_with_its_executions_in_order(app: App) -> None:
    now = timezone.now()
    older = execution_of(app, created_at=now - timedelta(minutes=5))
    newer = execution_of(app, created_at=now)
    second = factories.ExecutionFactory(binding=newer.binding, event=newer.event, position=1, created_at=now)
    page = live.page(app, {})
    assert keys(page) == [newer.pk, second.pk, older.pk]
    assert [line.continues for line in page.lines] == [False, True, False]


def test_impressions_are_left_out_until_they_are_asked_for(app: App) -> None:
    answer, shown = event_of(app), event_of(app, interaction=IMPRESSION)
    assert keys(live.page(app, {})) == [answer.pk]
    assert set(keys(live.page(app, {"impressions": True}))) == {answer.pk, shown.pk}


def test_the_pages_follow_each_other_without_gap_or_repeat_even_within_one_instant(app: App) -> None:
    at = timezone.now()
    prompt = factories.PromptFactory(app=app)
    events = [event_of(app, prompt=prompt, received_at=at).pk for _ in range(7)]
    seen, before = [], None
    while True:
        page = live.page(app, {}, before, size=3)
        seen += keys(page)
        if page.older is None:
            break
        before = live.Cursor.read(str(page.older))
    assert seen == sorted(events, reverse=True)


def test_the_list_of_executions_is_paged_the_same_way(app: App) -> None:
    at = timezone.now()
    made = [execution_of(app, State.REJECTED, created_at=at).pk for _ in range(5)]
    first = live.page(app, {"trouble": True}, size=3)
    second = live.page(app, {"trouble": True}, live.Cursor.read(str(first.older)), size=3)
    assert (len(keys(first)), second.older) == (3, None)
    assert sorted(keys(first) + keys(second)) == sorted(made)


@pytest.mark.parametrize("text", ["", "x", "~1", "2026-13-45T00:00:00+00:00~1", "2026-01-01T00:00:00~1", "2026-01-01"])
def test_a_cursor_that_is_none_is_ignored(text: str) -> None:
    assert live.Cursor.read(text) is None


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"user": "ann"}, {"ann-done", "ann-rejected"}),
        ({"user": "nobody"}, set()),
        ({"prompt": "stay"}, {"ann-done", "bob-uncertain"}),
        ({"interaction": "decline"}, {"bob-uncertain"}),
        ({"connector": "builtin"}, {"bob-redirect"}),
        ({"connector": "cleeng"}, {"ann-done", "ann-rejected", "bob-uncertain"}),
        ({"state": "uncertain"}, {"bob-uncertain"}),
        ({"trouble": "on"}, {"ann-rejected", "bob-uncertain"}),
        ({"trouble": "on", "user": "ann"}, {"ann-rejected"}),
        ({"kind": "test"}, {"ann-rejected"}),
        ({"kind": "real"}, {"ann-done", "bob-uncertain", "bob-redirect"}),
        ({"reference": "abc23456"}, {"ann-done"}),
        ({"since": "2026-03-02T00:00"}, {"bob-uncertain", "bob-redirect"}),
        ({"until": "2026-03-01T11:30"}, {"ann-done"}),
        ({"until": "2026-03-01T11:30", "state": "done"}, {"ann-done"}),
    ],
)
def test_each_filter_keeps_what_it_names(app: App, query: dict[str, str], found: set[str]) -> None:
    app.time_zone = "Europe/Berlin"  # one hour ahead of UTC in March
    app.save()
    stay = factories.PromptFactory(app=app, key="stay")
    day = datetime(2026, 3, 1, 10, tzinfo=UTC)
    rows = {
        "ann-done": execution_of(app, prompt=stay, created_at=day, event={"reference": "ABC23456"}),
        "ann-rejected": execution_of(app, State.REJECTED, created_at=day + timedelta(hours=1), event={"is_test": True}),
        "bob-uncertain": execution_of(
            app,
            State.UNCERTAIN,
            user="bob",
            prompt=stay,
            created_at=day + timedelta(days=1),
            event={"interaction": "decline"},
        ),
        "bob-redirect": execution_of(
            app, user="bob", created_at=day + timedelta(days=2), connector="builtin", action="redirect", connection=None
        ),
    }
    Execution.objects.filter(pk=rows["bob-redirect"].pk).update(connection=None)
    chosen = live.FilterForm(app, query).chosen
    assert set(keys(live.page(app, chosen))) == {rows[name].pk for name in found}


def test_a_filter_that_is_not_understood_is_said_and_not_applied(app: App, console: Console) -> None:
    execution_of(app)
    response = console(Role.READ_ONLY).get(LIVE, {"since": "yesterday", "state": "sleeping"})
    assert "Enter a valid date/time." in text_of(response)
    assert "Apply coupon" in text_of(response)


def test_new_rows_are_counted_up_to_a_hundred_and_only_those_that_match(app: App) -> None:
    first = execution_of(app, created_at=timezone.now() - timedelta(minutes=1))
    newest = live.page(app, {}).newest
    assert live.count_newer(app, {}, newest) == 0
    execution_of(app, prompt=first.event.prompt, user="bob")
    assert live.count_newer(app, {}, newest) == 1
    assert live.count_newer(app, {"user": "ann"}, live.page(app, {"user": "ann"}).newest) == 0
    PromptEvent.objects.bulk_create(
        factories.EventFactory.build(prompt=first.event.prompt, app=app, subscriber=first.subscriber)
        for _ in range(105)
    )
    assert live.count_newer(app, {}, newest) == 100


@pytest.mark.parametrize(
    ("chosen", "index"),
    [
        ({}, "event_answers"),
        ({"impressions": True}, "event_live"),
        ({"user": "ann"}, "event_subscriber"),
        ({"prompt": "stay"}, "event_prompt"),
        ({"reference": "ABC"}, "event_reference"),
        ({"trouble": True}, "execution_(actions|state)"),
        ({"state": "done"}, "execution_actions"),
        ({"connector": "cleeng"}, "execution_(actions|connection)"),
        ({"user": "ann", "state": "done"}, "execution_(actions|subscriber)"),
    ],
)
def test_a_page_walks_an_index_made_for_it_and_counts_nothing(app: App, chosen: dict[str, Any], index: str) -> None:
    execution_of(app, prompt=factories.PromptFactory(app=app, key="stay"))
    cursor = live.Cursor(timezone.now(), str(uuid4()) if {"trouble", "state", "connector"} & set(chosen) else "9")
    with CaptureQueriesContext(connection) as queries:
        live.page(app, chosen, cursor)
    statements = [query["sql"] for query in queries.captured_queries if query["sql"].startswith("SELECT")]
    assert not [sql for sql in statements if "COUNT(" in sql.upper()]
    if connection.vendor == "sqlite":  # PostgreSQL decides by statistics, and reads a table of one row as it is
        with connection.cursor() as raw:
            plans = [raw.execute("EXPLAIN QUERY PLAN " + sql).fetchall() for sql in statements]
        steps = [row[3] for plan in plans for row in plan]
        assert [step for step in steps if re.search(f"INDEX {index} ", step)], steps
        assert not [step for step in steps if step.startswith("SCAN prompts_")], steps


def test_a_page_of_executions_asks_as_often_for_many_as_for_one(app: App, console: Console) -> None:
    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert browser.get(LIVE, {"trouble": "on"}).status_code == 200
        return len(queries)

    browser = console(Role.COMPANY_ADMIN)
    first = execution_of(app, state=State.GAVE_UP)
    asked()  # what is looked up only once
    once = asked()
    for number in range(3):
        execution_of(app, state=State.GAVE_UP, prompt=first.event.prompt, user=f"more-{number}")
    assert asked() == once


# --- the pages --------------------------------------------------------------------------------------------------------------


def test_an_app_without_events_is_told_what_will_appear(app: App, console: Console) -> None:
    assert "No answer has come in yet." in text_of(console(Role.READ_ONLY).get(LIVE))


def test_filters_that_match_nothing_can_be_cleared(app: App, console: Console) -> None:
    execution_of(app)
    page = text_of(console(Role.READ_ONLY).get(LIVE, {"user": "nobody"}))
    assert "Nothing matches these filters." in page
    assert "Clear filters" in page


@pytest.mark.parametrize("state", list(State))
def test_every_state_is_shown_with_its_word_in_the_list_and_on_its_page(
    app: App, console: Console, state: State
) -> None:
    execution = execution_of(app, state, message="What the vendor said.")
    client = console(Role.COMPANY_ADMIN)
    for response in (client.get(LIVE), client.get(page_of(execution))):
        assert response.status_code == 200
        assert STATES[state].label in text_of(response)


def test_the_news_say_how_many_are_new_and_how_open_rows_stand_now(app: App, console: Console) -> None:
    execution = execution_of(app, State.RUNNING)
    client = console(Role.READ_ONLY)
    query = {"newest": str(live.page(app, {}).newest), "open": str(execution.pk)}
    news = client.get(LIVE + "news/", query).json()
    assert (news["new"], news["rows"][str(execution.pk)]["moves"]) == (0, True)
    Execution.objects.filter(pk=execution.pk).update(state=State.DONE, message="It is done.")
    execution_of(app, user="bob")
    news = client.get(LIVE + "news/", query).json()
    assert (news["new"], news["rows"][str(execution.pk)]["moves"]) == (1, False)
    assert "It is done." in news["rows"][str(execution.pk)]["html"]


@pytest.mark.parametrize("open_rows", ["x", ",,", "event-1", NOBODYS_ID])
def test_the_news_about_rows_that_are_not_there_are_none(app: App, console: Console, open_rows: str) -> None:
    assert console(Role.READ_ONLY).get(LIVE + "news/", {"open": open_rows}).json()["rows"] == {}


def test_refused_requests_have_words_and_a_hint(app: App, console: Console) -> None:
    now = timezone.now()
    for reason, detail in (("unknown prompt", "save-ofer"), ("new reason", "")):
        Refusal.objects.create(app=app, hour=now, endpoint="POST /events", reason=reason, detail=detail, last_at=now)
    page = text_of(console(Role.READ_ONLY).get(LIVE + "refused/"))
    assert "Unknown prompt save-ofer Compare the key in your app with those in the list of prompts." in page
    assert "New reason" in page


def test_a_request_with_an_unknown_key_is_shown_while_it_can_be_nobody_elses(app: App, console: Console) -> None:
    now = timezone.now()
    Refusal.objects.create(
        app=None, hour=now, endpoint="POST /events", reason="wrong key", detail="sk_abc…", last_at=now
    )
    client = console(Role.READ_ONLY)
    assert "sk_abc…" in text_of(client.get(LIVE + "refused/"))
    factories.AppFactory()
    page = text_of(client.get(LIVE + "refused/"))
    assert "sk_abc…" not in page
    assert "Nothing was refused." in page


def test_every_reason_that_the_api_counts_has_words(settings: Any) -> None:
    sources = [path.read_text() for path in (settings.BASE_DIR / "prompts" / "api").glob("*.py")]
    counted = {reason for source in sources for reason in re.findall(r'counted="([^"]+)"', source)}
    assert counted
    assert counted <= set(live.REASONS)


# --- who sees what ----------------------------------------------------------------------------------------------------------


def test_nothing_of_another_app_is_shown_or_done(app: App, other_app: App, console: Console) -> None:
    execution = execution_of(other_app, State.UNCERTAIN, user="their-user")
    Refusal.objects.create(
        app=other_app, hour=timezone.now(), endpoint="x", reason="rate", detail="theirs", last_at=timezone.now()
    )
    client = console(Role.COMPANY_ADMIN)
    assert "their-user" not in text_of(client.get(LIVE))
    assert "theirs" not in text_of(client.get(LIVE + "refused/"))
    assert client.get(LIVE + "news/", {"open": str(execution.pk)}).json() == {"new": 0, "more": False, "rows": {}}
    assert client.get(page_of(execution)).status_code == 404
    assert do(client, execution, "close", note="mine now").status_code == 404
    assert Execution.objects.get(pk=execution.pk).state == State.UNCERTAIN


@pytest.mark.parametrize("path", [LIVE, LIVE + "news/", LIVE + "refused/", LOOKUP, f"{LIVE}{NOBODYS_ID}/"])
def test_nobody_looks_without_signing_in(app: App, path: str) -> None:
    response = Client().get(path)
    assert response.status_code == 302
    assert "/login/" in response["Location"]


PERSONAL = {"email": "ann@example.com", "cleeng_customer_id": "640000001", "plan": "premium"}


def attempt_with_exchange(execution: Execution) -> None:
    now = timezone.now()
    attempt = Attempt.objects.create(
        execution=execution,
        number=1,
        fence=1,
        worker="w",
        started_at=now,
        finished_at=now,
        outcome="rejected",
        message="Customer 640000001 (ann@example.com) has no subscription.",
    )
    exchange = {
        "kind": "read",
        "method": "GET",
        "url": "https://api.cleeng.com/3.1/customers/640000001/ann%40example.com?email=ann@example.com",
        "headers": {"X-Publisher-Token": "[secret]"},
        "body": None,
        "sent": True,
        "status": 404,
        "answer_headers": {"X-Request-Id": "req-77"},
        "answer": {"message": "no ann@example.com"},
        "ms": 31,
        "error": "",
    }
    AttemptBody.objects.create(attempt=attempt, exchanges=[exchange])


def test_a_request_and_its_answer_are_shown_line_by_line(app: App, console: Console) -> None:
    execution = execution_of(app, State.REJECTED)
    attempt_with_exchange(execution)
    page = html.unescape(console(Role.APP_ADMIN).get(page_of(execution)).content.decode())
    where = "https://api.cleeng.com/3.1/customers/640000001/ann%40example.com?email=ann@example.com"
    assert f"<pre>GET {where}\nX-Publisher-Token: [secret]</pre>" in page
    assert '<pre>X-Request-Id: req-77\n\n{\n  "message": "no ann@example.com"\n}</pre>' in page


@pytest.mark.parametrize("role", EVERY_ROLE)
def test_personal_values_are_masked_for_those_who_may_only_read(app: App, console: Console, role: Role) -> None:
    factories.TraitFactory(app=app, name="plan", personal=False)
    execution = execution_of(
        app,
        State.REJECTED,
        known=PERSONAL,
        traits={"cleeng_customer_id": "640000001"},
        message="Customer 640000001 has no subscription, says ann@example.com on premium.",
        inputs={"coupon": "SAVE20", "email": "ann@example.com"},
        sources={"coupon": {"from": "fixed"}, "email": {"from": "trait", "name": "email"}},
    )
    attempt_with_exchange(execution)
    client = console(role)
    pages = [client.get(url).content.decode() for url in (LIVE, page_of(execution), LOOKUP + "?user=ann")]
    pages.append(json.dumps(client.get(LIVE + "news/", {"open": str(execution.pk)}).json()))
    for page in pages:
        assert ("ann@example.com" in page or "640000001" in page) is (role != Role.READ_ONLY)
    assert "SAVE20" in pages[1]  # what a designer fixed is nobody's
    assert "premium" in pages[2]  # declared as not personal


@pytest.mark.parametrize(
    ("state", "verb"),
    [
        (State.WAITING, "try-now"),
        (State.WAITING, "stop-trying"),
        (State.HELD, "stop-trying"),
        (State.PENDING, "check-now"),
        (State.REJECTED, "run-again"),
        (State.REJECTED, "run-again-today"),
        (State.UNCERTAIN, "it-happened"),
        (State.UNCERTAIN, "run-undecided"),
        (State.UNCERTAIN, "close"),
    ],
)
@pytest.mark.parametrize("role", EVERY_ROLE)
def test_each_role_is_offered_and_may_do_exactly_what_is_its_own(
    app: App, console: Console, role: Role, state: State, verb: str
) -> None:
    execution = execution_of(app, state)
    client = console(role)
    administrators = {Role.COMPANY_ADMIN, Role.APP_ADMIN}
    allowed = role in (administrators if state == State.UNCERTAIN else administrators | {Role.APP_MEMBER})
    assert (f'data-eg-open="do-{verb}"' in client.get(page_of(execution)).content.decode()) is allowed
    response = do(client, execution, verb, note="Looked in Cleeng.")
    assert response.status_code == (200 if allowed else 403)
    changed = Execution.objects.get(pk=execution.pk).state != state or execution.reruns.exists()
    assert changed is (allowed and verb != "check-now")
    assert Entry.objects.filter(kind="execution").exists() is allowed


# --- what is done -----------------------------------------------------------------------------------------------------------


def test_a_decision_is_recorded_with_who_and_why(app: App, console: Console) -> None:
    execution = execution_of(app, State.UNCERTAIN)
    response = do(console(Role.APP_ADMIN), execution, "it-happened", note="The coupon is on the subscription.")
    assert "Recorded as done." in text_of(response)
    assert Execution.objects.get(pk=execution.pk).state == State.DONE
    entry = Entry.objects.get(kind="execution")
    assert entry.changes == {"state": ["uncertain", "done"], "note": [None, "The coupon is on the subscription."]}
    assert (entry.verb, entry.object_id, entry.label) == (
        "decided: it happened",
        str(execution.pk),
        "Apply coupon for ann",
    )


@pytest.mark.parametrize("verb", ["it-happened", "run-undecided", "close"])
def test_a_decision_without_a_note_is_none(app: App, console: Console, verb: str) -> None:
    execution = execution_of(app, State.UNCERTAIN)
    response = do(console(Role.APP_ADMIN), execution, verb, note="  ")
    assert "needs a note" in text_of(response)
    assert Execution.objects.get(pk=execution.pk).state == State.UNCERTAIN


def test_what_has_changed_since_the_person_looked_is_not_decided(app: App, console: Console) -> None:
    execution = execution_of(app, State.UNCERTAIN)
    Execution.objects.filter(pk=execution.pk).update(state=State.DONE)
    response = do(console(Role.APP_ADMIN), execution, "run-undecided", note="Not there.")
    assert "Nothing was done: this has changed since you looked, and is now “Done”." in text_of(response)
    assert Execution.objects.get(pk=execution.pk).state == State.DONE


def test_what_the_state_does_not_allow_is_no_page(app: App, console: Console) -> None:
    execution = execution_of(app, State.DONE)
    assert do(console(Role.COMPANY_ADMIN), execution, "run-again").status_code == 404
    assert do(console(Role.COMPANY_ADMIN), execution, "explode").status_code == 404
    assert (
        console(Role.COMPANY_ADMIN).get(reverse("admin:prompts_execution_do", args=[execution.pk, "close"])).status_code
        == 405
    )


def test_a_refusal_of_the_engine_is_said_in_its_words(app: App, console: Console) -> None:
    execution = execution_of(app, State.REJECTED)
    decisions.run_again(execution, by="somebody", todays_settings=True)
    response = do(console(Role.APP_MEMBER), execution, "run-again")
    assert "It was run again already" in text_of(response)


def test_running_again_with_todays_settings_is_offered_only_where_nothing_can_have_happened(
    app: App, console: Console
) -> None:
    client = console(Role.APP_MEMBER)
    may_have, cannot_have = execution_of(app, State.GAVE_UP, may_have_acted=True), execution_of(app, State.GAVE_UP)
    assert "do-run-again-today" not in client.get(page_of(may_have)).content.decode()
    assert "do-run-again-today" in client.get(page_of(cannot_have)).content.decode()


def test_running_again_with_todays_settings_leads_to_the_new_execution(app: App, console: Console) -> None:
    execution = execution_of(app, State.REJECTED, sources={"coupon": {"from": "fixed", "value": "NEW10"}})
    response = do(console(Role.APP_MEMBER), execution, "run-again-today")
    again = execution.reruns.get()
    assert response.redirect_chain[-1][0] == page_of(again)
    page = text_of(response)
    assert "NEW10" in page
    assert "Runs an earlier one again" in page
    assert "Run again as another execution" in text_of(console(Role.APP_MEMBER).get(page_of(execution)))


def test_running_again_during_a_pause_says_until_when_it_waits(app: App, console: Console) -> None:
    execution = execution_of(app, State.REJECTED)
    until = timezone.now() + timedelta(seconds=30)
    app.connections.update(closed_until=until)
    page = text_of(do(console(Role.APP_MEMBER), execution, "run-again"))
    pause = f"Paused after repeated failures; next try {until:%-d %b %Y, %H:%M:%S} UTC ."
    assert f"It runs again when Cleeng does. {pause}" in page
    assert "Cleeng is paused: its last calls failed." in page
    assert f"Account Cleeng Sandbox {pause}" in page
    assert "Starts within seconds." not in page


@pytest.mark.parametrize(
    ("fields", "said"),
    [({}, "active"), ({"health": "attention"}, "needs attention"), ({"active": False}, "switched off")],
)
def test_the_account_is_said_to_stand_as_it_does(app: App, console: Console, fields: dict[str, Any], said: str) -> None:
    execution = execution_of(app, State.QUEUED)
    app.connections.update(**fields)
    page = console(Role.APP_MEMBER).get(page_of(execution)).content.decode()
    assert f'<span class="eg-quiet">{said}</span>' in page


def test_the_dialog_says_what_will_be_done_for_whom_and_where(app: App, console: Console) -> None:
    account = factories.ConnectionFactory(app=app, settings={"environment": "live"})
    execution = execution_of(app, State.REJECTED, connection=account)
    page = text_of(console(Role.APP_MEMBER).get(page_of(execution)))
    assert "Carries out “Apply coupon” for ann in Cleeng Production with the inputs as they were" in page


def test_an_uncertain_one_says_where_to_look(app: App, console: Console) -> None:
    page = text_of(console(Role.APP_ADMIN).get(page_of(execution_of(app, State.UNCERTAIN))))
    assert "In Cleeng's dashboard, open the customer and look at the subscription." in page.replace("&#x27;", "'")


def test_held_for_a_person_can_be_tried_and_held_for_its_connection_leads_there(app: App, console: Console) -> None:
    client = console(Role.COMPANY_ADMIN)
    for_age, for_key = (
        execution_of(app, State.HELD, reason="too_old"),
        execution_of(app, State.HELD, reason="credentials"),
    )
    app.connections.update(health="attention")
    assert "do-try-now" in client.get(page_of(for_age)).content.decode()
    page = client.get(page_of(for_key)).content.decode()
    assert "do-try-now" not in page
    assert reverse("admin:connectors_connection_page", args=["cleeng"]) in page
    app.connections.update(health="healthy")
    assert "It is tried now." in text_of(do(client, for_key, "try-now"))
    assert Execution.objects.get(pk=for_key.pk).state == State.QUEUED


# --- end to end -------------------------------------------------------------------------------------------------------------


def test_attempts_are_numbered_through_when_one_is_run_again(house: House, console: Console) -> None:
    house.bind()
    execution = house.report().executions.get()
    house.sandbox.fault("PATCH", status=422)
    executions.work("tests")
    execution.refresh_from_db()
    decisions.run_again(execution, by="somebody")
    executions.work("tests")
    assert [attempt.number for attempt in execution.attempts.all()] == [1, 1]
    page = text_of(console(Role.COMPANY_ADMIN).get(page_of(execution)))
    assert "Attempt 1: Refused" in page
    assert "Attempt 2: Done" in page
    assert "Requests and answers Attempt 2" in page
    assert "Attempt 2, 20" in page  # the text for the vendor's support


def test_a_whole_execution_is_told_with_its_requests_and_no_secret(house: House, console: Console) -> None:
    house.bind()
    event = house.report()
    execution = event.executions.get()
    house.sandbox.fault("PATCH", status=503)
    executions.work("tests")
    Execution.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    executions.work("tests")
    response = console(Role.COMPANY_ADMIN).get(page_of(execution))
    page = text_of(response)
    assert "Attempt 1: Will retry" in page
    assert "Attempt 2: Done" in page
    assert "PATCH" in page
    assert "[secret]" in page
    assert page.index("Requests and answers Attempt 2") < page.rindex("Attempt 1")
    assert house.sandbox.token not in response.content.decode()


def test_run_again_from_the_page_reaches_the_vendor(house: House, console: Console) -> None:
    house.bind()
    event = house.report()
    house.sandbox.fault("PATCH", status=422, raw='{"message": "not today"}', content_type="application/json")
    executions.work("tests")
    execution = event.executions.get()
    assert execution.state == State.REJECTED
    do(console(Role.APP_MEMBER), execution, "run-again")
    executions.work("tests")
    assert Execution.objects.get(pk=execution.pk).state == State.DONE
    assert len(house.sandbox.effects("coupon_applied")) == 1


@pytest.mark.parametrize(
    ("personal", "place"),
    [(True, "https://api.cleeng.com/3.1/customers/640000001/[e-mail]"), (False, "https://api.cleeng.com")],
)
def test_the_text_for_vendor_support_holds_ids_for_those_who_may_see_them_and_nothing_else_of_the_person(
    app: App, personal: bool, place: str
) -> None:
    execution = execution_of(app, State.REJECTED, known=PERSONAL)
    attempt_with_exchange(execution)
    text = for_vendor_support(execution, list(execution.attempts.select_related("body")), personal=personal)
    assert f"GET {place}: answer 404 after 31 ms" in text
    assert "your request id: req-77" in text
    assert "ann@example.com" not in text


def test_a_worker_that_stopped_is_told_as_such(app: App, console: Console) -> None:
    execution = execution_of(app, State.WAITING)
    now = timezone.now()
    Attempt.objects.create(
        execution=execution, number=1, fence=1, worker="w", started_at=now, write_begun_at=now, outcome="lost"
    )
    assert "Attempt 1: its worker stopped A write had left." in text_of(console(Role.READ_ONLY).get(page_of(execution)))


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (0.04, "under 0.1 s"),
        (0.84, "0.8 s"),
        (12, "12 s"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_durations_are_said_in_two_units_at_most(duration: float, words: str) -> None:
    assert seconds(timedelta(seconds=duration)) == words
