"""Many executions run again at once: what is shown is what runs, and a try that was to come by itself comes no more."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from engage import dashboard
from engage.audit.models import Entry
from engage.tenancy.models import App
from engage.tenancy.roles import Right, Role
from prompts import again, decisions, executions
from prompts.models import Execution, Reason, State
from tests import factories
from tests.prompts.conftest import House
from tests.prompts.test_live import execution_of

pytestmark = pytest.mark.django_db
Console = Callable[[Role], Client]
PAGE = "/console/prompts/execution/again/"


def press(client: Client, url: str = PAGE, **fields: Any) -> str:
    """Look at the preview and press its button; returns the page that follows."""
    seen = client.get(url).context["seen"]
    return client.post(url, {"seen": seen, **fields}, follow=True).content.decode()


def states(*rows: Execution) -> list[str]:
    return [Execution.objects.get(pk=row.pk).state for row in rows]


def test_what_may_have_happened_was_not_sent_or_is_a_test_is_left_out_unless_ticked(app: App, other_app: App) -> None:
    tests = {"event": {"is_test": True}}
    plain = [execution_of(app, state) for state in again.RUN]
    asked = [
        execution_of(app, State.UNCERTAIN),
        execution_of(app, State.NOT_SENT),
        execution_of(app, State.GAVE_UP, **tests),
    ]
    for state in (State.DONE, State.HELD, State.CLOSED, State.QUEUED, State.PENDING, State.BLOCKED):
        execution_of(app, state)
    execution_of(app, State.SKIPPED, reason=Reason.STOPPED)
    execution_of(other_app, State.GAVE_UP)
    assert again.those(app, {}, again.Extras(), 9) == plain
    assert set(again.those(app, {}, again.Extras(True, True, True), 9)) == {*plain, *asked}
    assert again.those(app, {"state": State.REJECTED}, again.Extras(), 9) == [plain[1]]


def test_the_oldest_of_all_states_are_found_and_of_no_state_more_is_read(app: App) -> None:
    moments = [timezone.now() - timedelta(hours=hours) for hours in range(4)]
    newest, third, second, oldest = (
        execution_of(app, state, created_at=at)
        for state, at in zip([State.GAVE_UP, State.REJECTED, State.GAVE_UP, State.SKIPPED], moments, strict=True)
    )
    first = execution_of(app, State.GAVE_UP, created_at=moments[3] - timedelta(hours=1))
    execution_of(app, State.QUEUED, rerun_of=first)
    with CaptureQueriesContext(connection) as queries:
        assert again.those(app, {}, again.Extras(), 3) == [oldest, second, third]
    assert again.those(app, {}, again.Extras(), 9)[-1] == newest
    *keys, rows = [query["sql"] for query in queries.captured_queries if query["sql"].startswith("SELECT")]
    assert len(keys) == len(again.RUN)
    assert all(sql.endswith("LIMIT 3") and "LEFT OUTER JOIN" not in sql for sql in keys)
    assert all(row.pk.hex in rows.replace("-", "") for row in (oldest, second, third))
    assert newest.pk.hex not in rows.replace("-", "")


def test_the_preview_groups_what_runs_and_says_what_would_happen_twice(app: App, console: Console) -> None:
    execution_of(app, State.GAVE_UP, created_at=timezone.now() - timedelta(hours=2))
    execution_of(app, State.GAVE_UP)
    execution_of(app, State.UNCERTAIN, connector="api", action="call")
    page = console(Role.APP_ADMIN).get(f"{PAGE}?uncertain=on&state=")
    found = [(group.count, group.state.label, bool(group.warning)) for group in page.context["groups"]]
    assert found == [(2, "Gave up", False), (1, "Needs checking", True)]
    assert "Run 3 again" in page.content.decode()


def test_a_press_runs_what_was_seen_and_a_waiting_try_by_itself_comes_no_more(house: House, console: Console) -> None:
    house.bind()
    house.sandbox.fault("GET", status=500)
    [waiting] = house.report().executions.all()
    executions.work("tests")
    assert states(waiting) == [State.WAITING]
    said = press(console(Role.APP_ADMIN), f"{PAGE}?state=waiting")
    assert "1 runs again." in said
    assert states(waiting) == [State.QUEUED]
    executions.work("tests")
    assert states(waiting) == [State.DONE]
    Execution.objects.update(due_at=timezone.now() - timedelta(seconds=1))  # when it would have come by itself
    assert executions.work("tests") == 0
    assert len(house.sandbox.effects()) == 1
    assert Entry.objects.filter(verb="ran again, with others").count() == 1


def test_what_has_changed_since_it_was_seen_is_left_and_said(app: App, console: Console) -> None:
    changed, given_up = execution_of(app, State.GAVE_UP), execution_of(app, State.GAVE_UP)
    client = console(Role.APP_ADMIN)
    seen = client.get(PAGE).context["seen"]
    Execution.objects.filter(pk=changed.pk).update(state=State.DONE)
    said = client.post(PAGE, {"seen": seen}, follow=True).content.decode()
    assert "1 runs again." in said
    assert "1 left as it is: It has changed since you looked, and is “Done” now." in said
    assert states(changed, given_up) == [State.DONE, State.QUEUED]


def test_uncertain_ones_run_only_with_a_note(app: App, console: Console) -> None:
    row = execution_of(app, State.UNCERTAIN, may_have_acted=True)
    client = console(Role.APP_ADMIN)
    assert "needs a note" in press(client, f"{PAGE}?uncertain=on")
    assert states(row) == [State.UNCERTAIN]
    assert "1 runs again." in press(client, f"{PAGE}?uncertain=on", note="Nothing at the vendor.")
    assert states(row) == [State.QUEUED]
    assert Execution.objects.get(pk=row.pk).note == "Nothing at the vendor."


@pytest.mark.parametrize("page", ["many", "one"])
def test_a_note_on_one_try_is_none_on_a_later_one(app: App, console: Console, page: str) -> None:
    sent = {"charge": {"generation": 1, "sent": {"x": 1}}}
    row = execution_of(app, State.UNCERTAIN, may_have_acted=True, fence=1, steps=sent)
    client = console(Role.APP_ADMIN)
    if page == "many":
        url, seen = PAGE, client.get(f"{PAGE}?uncertain=on").context["seen"]
    else:
        url, seen = reverse("admin:prompts_execution_do", args=[row.pk, "run-undecided"]), row.standing
    data = {"seen": seen, "note": "Nothing at the vendor at nine."}
    client.post(url, data)
    queued = Execution.objects.filter(pk=row.pk, state=State.QUEUED)
    assert queued.update(state=State.UNCERTAIN, fence=2, may_have_acted=True, due_at=None), "its second answer is lost"
    client.post(url, data)
    row.refresh_from_db()
    assert (row.state, row.steps["charge"]["generation"]) == (State.UNCERTAIN, 2)


def test_nor_is_what_was_looked_up_before_it(app: App) -> None:
    row = execution_of(app, State.UNCERTAIN, may_have_acted=True, fence=1)
    Execution.objects.update(fence=2)
    with pytest.raises(decisions.NotPossible):
        decisions.decide(row, decisions.Decision.HAPPENED, by="ann@example.com", note="I saw it.")


def test_one_press_runs_so_many_and_the_next_ones_are_shown_then(
    app: App, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "AT_ONCE", 2)
    rows = [execution_of(app, State.GAVE_UP) for _ in range(3)]
    client = console(Role.APP_ADMIN)
    assert client.get(PAGE).context["more"] is True
    press(client)
    assert states(*rows) == [State.QUEUED, State.QUEUED, State.GAVE_UP]
    assert client.get(PAGE).context["count"] == 1


@pytest.mark.parametrize("role", Role)
def test_only_who_may_run_many_again_sees_the_page_and_the_way_there(app: App, console: Console, role: Role) -> None:
    execution_of(app, State.GAVE_UP)
    client, allowed = console(role), Right.RUN_MANY_AGAIN.allows(role)
    assert (client.get(PAGE).status_code == 200) == allowed
    assert (client.post(PAGE, {"seen": "{}"}).status_code == 302) == allowed
    assert ("Run these again" in client.get("/console/prompts/execution/?state=gave_up").content.decode()) == allowed


@pytest.mark.parametrize("seen", ["", "[]", "{", '{"done": ["x"]}', '{"nothing": []}', '{"gave_up/0": 1}'])
def test_a_preview_that_is_none_runs_nothing(app: App, console: Console, seen: str) -> None:
    assert console(Role.APP_ADMIN).post(PAGE, {"seen": seen}, follow=True).status_code == 200


def test_another_apps_executions_are_left_alone(app: App, other_app: App) -> None:
    row = execution_of(other_app, State.GAVE_UP)
    ran = again.run(app, {row.standing: [str(row.pk)]}, by="ann@example.com", note="")
    assert (ran.executions, ran.left, states(row)) == ([], [], [State.GAVE_UP])


@pytest.mark.parametrize("state", [State.UNCERTAIN, State.GAVE_UP, State.WAITING, State.HELD])
def test_what_is_stuck_is_two_clicks_from_the_dashboard(app: App, console: Console, state: State) -> None:
    binding = factories.BindingFactory(prompt__app=app)
    long_ago = timezone.now() - timedelta(hours=2)
    settled_at = long_ago if state == State.GAVE_UP else None
    row = factories.ExecutionFactory(binding=binding, state=state, created_at=long_ago, settled_at=settled_at)
    [need] = dashboard.needs(app)
    assert f"/console/prompts/execution/{row.pk}/" in console(Role.APP_ADMIN).get(need.link).content.decode()
