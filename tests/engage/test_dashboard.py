"""The dashboard: what needs a person, the first steps, the week."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from connectors.models import Connection
from engage import dashboard
from engage.alerts.models import AlertRules
from engage.tenancy.models import App, DeliveryMode
from engage.tenancy.roles import Role
from prompts.models import State
from sync.models import ImportRun, RunState
from tests import factories

Console = Callable[[Role], Client]


def test_an_app_without_trouble_says_so(console: Console) -> None:
    assert "Nothing waits for you." in console(Role.APP_ADMIN).get("/console/").content.decode()


def test_what_waits_for_a_person_is_counted_and_linked(app: App, other_app: App) -> None:
    binding = factories.BindingFactory(prompt__app=app)
    factories.ExecutionFactory.create_batch(2, binding=binding, state=State.UNCERTAIN)
    factories.ExecutionFactory(binding=binding, state=State.GAVE_UP, settled_at=timezone.now())
    factories.ExecutionFactory(binding=binding, state=State.GAVE_UP, settled_at=timezone.now() - timedelta(days=8))
    factories.ExecutionFactory(binding__prompt__app=other_app, state=State.UNCERTAIN)
    binding.connection.health = "attention"
    binding.connection.save()
    ImportRun.objects.create(app=app, object_key="a.csv", etag="1", state=RunState.FAILED)
    found = {need.text: need.link for need in dashboard.needs(app)}
    assert list(found) == [
        "2 answers were lost: did it happen?",
        f"1 connection needs attention: {binding.connection}",
        "1 action gave up this week",
        "1 import failed this week",
    ]
    assert all(found.values())


def test_a_pause_is_said_with_its_alert_off_and_what_waits_is_two_clicks_away(
    app: App, other_app: App, console: Console
) -> None:
    AlertRules.objects.create(app=app, paused=False)
    mine = factories.BindingFactory(prompt__app=app)
    soon = timezone.now() + timedelta(seconds=30)
    connections = [mine.connection, factories.BindingFactory(prompt__app=other_app).connection]
    Connection.objects.filter(pk__in=[one.pk for one in connections]).update(closed_until=soon)
    assert [need.text for need in dashboard.needs(app)] == ["Cleeng is paused"]
    first, second = factories.ExecutionFactory.create_batch(2, binding=mine, state=State.WAITING)
    factories.ExecutionFactory(binding=mine, state=State.DONE)
    [need] = dashboard.needs(app)
    assert need.text == "Cleeng is paused: 2 actions wait"
    page = console(Role.APP_ADMIN).get(need.link)
    assert {row.execution for row in page.context["rows"]} == {first, second}
    Connection.objects.update(closed_until=None)
    assert dashboard.needs(app) == []


def test_work_that_nobody_carries_out_is_said_with_its_alert_off(app: App, other_app: App) -> None:
    AlertRules.objects.create(app=app, overdue=False)
    factories.ExecutionFactory(binding__prompt__app=app, due_at=timezone.now() - timedelta(minutes=5))
    assert [need.text for need in dashboard.needs(app)] == ["Work is overdue: no worker carries it out, or too few do"]
    assert dashboard.needs(other_app) == []


@pytest.mark.parametrize(
    ("state", "sentence"),
    [(State.UNCERTAIN, "1 answer was lost: did it happen?"), (State.GAVE_UP, "1 action gave up this week")],
)
def test_a_need_leads_to_a_page_that_shows_just_that(app: App, console: Console, state: str, sentence: str) -> None:
    factories.ExecutionFactory(binding__prompt__app=app, state=state, settled_at=timezone.now())
    [need] = dashboard.needs(app)
    assert need.text == sentence
    assert console(Role.APP_ADMIN).get(need.link).status_code == 200


def test_of_very_many_the_dashboard_counts_only_the_first(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "MOST_COUNTED", 2)
    binding = factories.BindingFactory(prompt__app=app)
    factories.ExecutionFactory.create_batch(3, binding=binding, state=State.HELD)
    factories.ExecutionFactory.create_batch(2, binding=binding, state=State.UNCERTAIN)
    assert [need.text for need in dashboard.needs(app)] == [
        "2 answers were lost: did it happen?",
        "More than 2 actions are on hold",
    ]


def test_a_failed_import_leads_to_the_failed_imports(app: App, console: Console) -> None:
    for state in (RunState.FAILED, RunState.DONE):
        ImportRun.objects.create(app=app, object_key=f"{state}.csv", etag="1", state=state)
    [need] = dashboard.needs(app)
    page = console(Role.APP_ADMIN).get(need.link)
    assert [run.object_key for run in page.context["cl"].result_list] == ["failed.csv"]


def test_the_first_steps_are_ticked_as_they_are_done(app: App) -> None:
    assert [step.done for step in dashboard.first_steps(app)] == [False] * 7
    binding = factories.BindingFactory(prompt__app=app)
    event = factories.EventFactory(prompt=binding.prompt, is_test=True)
    factories.ExecutionFactory(binding=binding, event=event, state=State.DONE)
    factories.TraitFactory(app=app)
    factories.SubscriberFactory(app=app, is_test=True)
    done = {step.text for step in dashboard.first_steps(app) if step.done}
    assert done == {
        "Connect a vendor",
        "Import user traits",
        "Name a test subscriber",
        "Make a prompt and bind an action",
        "Test it",
    }
    app.delivery_mode = DeliveryMode.LIVE
    assert "Go live" in {step.text for step in dashboard.first_steps(app) if step.done}


def test_the_week_counts_by_day_in_the_time_zone_of_the_app(app: App, other_app: App) -> None:
    app.time_zone = "Pacific/Auckland"
    with time_machine.travel("2026-06-10T13:30:00Z", tick=False):  # 01:30 on the 11th in Auckland
        binding = factories.BindingFactory(prompt__app=app)
        for hours, state in (
            (0, State.DONE),
            (1, State.DONE),
            (2, State.UNCERTAIN),
            (24 * 6, State.NOT_SENT),
            (24 * 7, State.DONE),
        ):
            factories.ExecutionFactory(binding=binding, state=state, created_at=timezone.now() - timedelta(hours=hours))
        factories.ExecutionFactory(binding__prompt__app=other_app, state=State.DONE)
        week = dashboard.week(app)
    counts = {day.date.isoformat(): [bar.count for bar in day.bars] for day in week}
    assert list(counts) == [f"2026-06-{day:02}" for day in range(5, 12)]
    assert counts["2026-06-11"] == [2, 0, 0, 0]
    assert counts["2026-06-10"] == [0, 0, 1, 0]
    assert counts["2026-06-05"] == [0, 0, 0, 1]
    assert [bar.width for bar in week[-1].bars] == [100, 0, 0, 0]


def test_every_state_is_in_one_group_of_the_chart() -> None:
    grouped = [state for _, _, states in dashboard.GROUPS for state in states]
    assert sorted(grouped) == sorted(State.values)
