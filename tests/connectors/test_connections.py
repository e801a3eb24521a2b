from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.dispatch import Signal
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import timezone

from connectors import connections, tasks
from connectors.connections import ChangedMeanwhile, Saved, Wish
from connectors.forms import settings_form
from connectors.models import CatalogueEntry, Connection, Health
from connectors.registry import connector
from engage.audit.models import Entry
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from prompts.models import State
from tests import factories
from tests.connectors.conftest import KEY, OTHER_KEY, Vendor, offer
from tests.factories import ConnectionFactory

ON, OFF = Wish(active=True), Wish(active=False)
Heard = list[dict[str, Any]]


@pytest.fixture
def request_of_admin(app: App, rf: RequestFactory) -> HttpRequest:
    request = rf.post("/", REMOTE_ADDR="203.0.113.7")
    request.user = factories.person(app, Role.APP_ADMIN, name="Ana", email="ana@example.com")
    return request


@pytest.fixture
def save(app: App, request_of_admin: HttpRequest) -> Callable[..., Saved]:
    def saved(wish: Wish = OFF, *, seen: str | None = None, key: str = "", environment: str = "sandbox") -> Saved:
        cleeng = connector("cleeng")
        row = connections.of_app(app, cleeng)
        form = settings_form(row, cleeng, {"environment": environment, "api_key": key})
        assert form.is_valid(), form.errors
        stamp = connections.stamp(row) if seen is None else seen
        return connections.save(app, form, wish, seen=stamp, request=request_of_admin)

    return saved


def listening(signal: Signal) -> Iterator[Heard]:
    heard: Heard = []

    def hear(**sent: Any) -> None:
        heard.append(sent)

    signal.connect(hear)
    yield heard
    signal.disconnect(hear)


@pytest.fixture
def heard_on() -> Iterator[Heard]:
    yield from listening(connections.switched_on)


@pytest.fixture
def heard_healthy() -> Iterator[Heard]:
    yield from listening(connections.became_healthy)


def save_beside() -> None:
    """Be somebody else who saves, from another thread."""
    Connection.objects.update(updated_at=timezone.now())
    database.close()


def stored() -> Connection:
    return Connection.objects.select_related("app").get()


# --- saving -----------------------------------------------------------------------------------------------------------------


def test_a_new_connection_is_sealed_and_recorded_without_its_secret(save: Callable[..., Saved], app: App) -> None:
    save(key=KEY)

    row = stored()
    assert (row.app, row.settings, row.secrets()) == (app, {"environment": "sandbox"}, {"api_key": KEY})
    assert (row.active, str(row.secrets_set_by)) == (False, "Ana")
    entry = Entry.objects.get()
    assert (entry.verb, entry.actor, entry.ip) == ("created", "ana@example.com", "203.0.113.7")
    assert entry.changes == {"environment": [None, "sandbox"], "api_key": [None, "replaced"]}


def test_active_needs_a_passed_test_of_what_is_stored(save: Callable[..., Saved], vendor: Vendor) -> None:
    saved = save(ON, key=OTHER_KEY)

    assert saved.report is not None
    assert not saved.report.passed
    row = stored()
    assert (row.active, row.test_passed, row.health) == (False, False, Health.UNKNOWN)
    assert row.secrets() == {"api_key": OTHER_KEY}, "the typing is kept"

    save(ON, key=KEY)
    row = stored()
    assert (row.active, row.test_passed, row.health, str(row.tested_by)) == (True, True, Health.HEALTHY, "Ana")
    assert vendor.asked_with[-1] == KEY


def test_it_can_be_switched_on_untested_when_that_is_wished(save: Callable[..., Saved], vendor: Vendor) -> None:
    save(Wish(active=True, untested=True), key=OTHER_KEY)

    assert stored().active
    assert vendor.asked_with == []


def test_a_blank_key_keeps_the_stored_one(save: Callable[..., Saved], vendor: Vendor) -> None:
    save(ON, key=KEY)
    save(ON)

    assert stored().secrets() == {"api_key": KEY}
    assert stored().generation == 1
    assert Entry.objects.filter(verb="changed").count() == 0, "nothing has changed"


def test_another_account_is_another_generation_and_takes_no_secret_along(
    save: Callable[..., Saved], vendor: Vendor
) -> None:
    save(ON, key=KEY)
    assert CatalogueEntry.objects.filter(vanished_at=None).count() == 2
    save(OFF, key=OTHER_KEY, environment="live")

    row = stored()
    assert (row.generation, row.secrets()) == (2, {"api_key": OTHER_KEY})
    assert (row.test_passed, row.health) == (None, Health.UNKNOWN)
    assert CatalogueEntry.objects.filter(vanished_at=None).count() == 0, "they are the other account's rows"
    changes = Entry.objects.get(verb="changed").changes
    assert changes == {"environment": ["sandbox", "live"], "api_key": [None, "replaced"]}


def test_another_key_is_another_generation_and_its_rows_are_read(save: Callable[..., Saved], vendor: Vendor) -> None:
    save(ON, key=KEY)
    vendor.keys.add(OTHER_KEY)
    vendor.offers = [offer(100000003, "The other account's")]
    save(ON, key=OTHER_KEY)

    row = stored()
    assert (row.generation, row.secrets()) == (2, {"api_key": OTHER_KEY})
    offered = CatalogueEntry.objects.get(vanished_at=None)
    assert offered.label.startswith("The other account's")


def test_the_same_key_typed_again_is_the_same_account(save: Callable[..., Saved], vendor: Vendor) -> None:
    save(ON, key=KEY)
    save(OFF, key=KEY)

    assert stored().generation == 1
    assert CatalogueEntry.objects.filter(vanished_at=None).count() == 2


def test_a_key_that_was_replaced_while_it_was_off_has_its_rows_once_it_is_on(
    save: Callable[..., Saved], vendor: Vendor
) -> None:
    save(ON, key=KEY)
    vendor.keys.add(OTHER_KEY)
    save(OFF, key=OTHER_KEY)
    assert CatalogueEntry.objects.filter(vanished_at=None).count() == 0

    save(ON)
    assert CatalogueEntry.objects.filter(vanished_at=None).count() == 2


def test_an_active_connection_that_fails_after_a_change_stays_on_and_needs_attention(
    save: Callable[..., Saved], vendor: Vendor
) -> None:
    save(ON, key=KEY)
    save(ON, key=OTHER_KEY)

    row = stored()
    assert (row.active, row.health) == (True, Health.ATTENTION)
    assert "credentials" in row.attention
    assert row.held_since is not None


def test_changed_settings_that_could_not_be_tested_do_not_act(save: Callable[..., Saved], vendor: Vendor) -> None:
    save(ON, key=KEY)
    vendor.keys.add(OTHER_KEY)
    vendor.status = 500
    save(ON, key=OTHER_KEY)
    assert (stored().active, stored().health) == (True, Health.ATTENTION)

    vendor.status = 200
    tasks.probe_held()
    assert stored().health == Health.HEALTHY


def test_saving_reads_the_vendors_rows_once_the_test_has_passed(save: Callable[..., Saved], vendor: Vendor) -> None:
    save(ON, key=OTHER_KEY)
    assert CatalogueEntry.objects.count() == 0
    save(ON, key=KEY)
    assert CatalogueEntry.objects.count() == 2


def test_a_save_in_between_changes_nothing_and_is_told(save: Callable[..., Saved]) -> None:
    save(key=KEY)
    opened = connections.stamp(stored())
    save(key=OTHER_KEY)

    with pytest.raises(ChangedMeanwhile):
        save(key=KEY, seen=opened)
    assert stored().secrets() == {"api_key": OTHER_KEY}


def test_two_who_set_it_up_at_once_do_not_make_two(save: Callable[..., Saved]) -> None:
    save(key=KEY)

    with pytest.raises(ChangedMeanwhile) as told:
        save(key=OTHER_KEY, seen="")
    assert told.value.connection == stored()
    assert Connection.objects.count() == 1


def test_another_apps_connection_is_left_alone(save: Callable[..., Saved], other_app: App) -> None:
    theirs = ConnectionFactory(app=other_app)
    save(key=KEY)

    assert Connection.objects.count() == 2
    assert Connection.objects.get(pk=theirs.pk).secrets() == theirs.secrets()


# --- testing ----------------------------------------------------------------------------------------------------------------


def test_what_is_typed_is_tested_and_nothing_is_stored(app: App, vendor: Vendor) -> None:
    form = settings_form(None, connector("cleeng"), {"environment": "sandbox", "api_key": KEY})
    assert form.is_valid()

    report = connections.probe_typed(form)
    assert report.passed
    assert Connection.objects.count() == 0


def test_a_kept_key_is_tested_with_for_the_same_account_only(app: App, vendor: Vendor) -> None:
    row = ConnectionFactory(app=app, secrets={"api_key": KEY})

    same = settings_form(row, connector("cleeng"), {"environment": "sandbox", "api_key": ""})
    assert same.is_valid()
    assert connections.probe_typed(same).passed
    assert vendor.asked_with == [KEY]
    assert not settings_form(row, connector("cleeng"), {"environment": "live", "api_key": ""}).is_valid()


def test_a_test_result_is_not_stored_on_a_row_that_was_saved_meanwhile(app: App, vendor: Vendor) -> None:
    row = ConnectionFactory(app=app, secrets={"api_key": KEY})
    Connection.objects.filter(pk=row.pk).update(updated_at=timezone.now())

    connections.probe_stored(row)
    assert stored().test_passed is None


def test_a_vendor_in_trouble_does_not_hold_a_connection(app: App, vendor: Vendor) -> None:
    row = ConnectionFactory(app=app, secrets={"api_key": KEY})
    vendor.status = 500
    connections.probe_stored(row)

    assert (stored().health, stored().test_passed) == (Health.HEALTHY, False)


def test_a_refused_key_holds_an_active_connection(app: App, vendor: Vendor) -> None:
    connections.probe_stored(ConnectionFactory(app=app, secrets={"api_key": OTHER_KEY}))

    assert stored().health == Health.ATTENTION


def test_secrets_that_do_not_open_never_reach_the_vendor(app: App, vendor: Vendor) -> None:
    row = ConnectionFactory(app=app)
    Connection.objects.filter(pk=row.pk).update(generation=9)
    report = connections.probe_stored(stored())

    assert "cannot be opened" in report.message
    assert vendor.asked_with == []
    assert stored().health == Health.ATTENTION


# --- switching --------------------------------------------------------------------------------------------------------------


def test_switching_off_and_on_is_recorded_and_the_choice_is_passed_on(
    save: Callable[..., Saved], vendor: Vendor, heard_on: Heard
) -> None:
    save(ON, key=KEY)
    save(OFF)
    assert not stored().active
    assert stored().held_since is not None
    save(Wish(active=True, held="close"))

    assert stored().active
    assert stored().held_since is None
    assert [(sent["connection"], sent["choice"], sent["by"]) for sent in heard_on] == [
        (stored(), "review", "ana@example.com"),
        (stored(), "close", "ana@example.com"),
    ]
    verbs = list(Entry.objects.order_by("id").values_list("verb", flat=True))
    assert verbs == ["created", "switched on", "switched off", "switched on"]


def test_what_listens_is_part_of_the_switch(save: Callable[..., Saved], vendor: Vendor) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("not released")

    connections.switched_on.connect(fail)
    try:
        with pytest.raises(RuntimeError):
            save(ON, key=KEY)
    finally:
        connections.switched_on.disconnect(fail)
    assert not stored().active
    assert stored().secrets() == {"api_key": KEY}


def test_the_row_that_was_tested_is_the_row_that_is_switched_on(app: App, request_of_admin: HttpRequest) -> None:
    row = ConnectionFactory(app=app, active=False)
    Connection.objects.filter(pk=row.pk).update(updated_at=timezone.now())

    with pytest.raises(ChangedMeanwhile):
        connections.switch_on(row, choice="run", request=request_of_admin)
    assert not stored().active


@pytest.mark.django_db(transaction=True)  # the other one saves from the vendor's thread
def test_what_somebody_else_saves_during_the_test_is_not_switched_on(
    save: Callable[..., Saved], vendor: Vendor
) -> None:
    save(key=KEY)
    vendor.meanwhile = save_beside
    with pytest.raises(ChangedMeanwhile):
        save(ON)
    assert not stored().active


def test_who_uses_it_and_what_waits_is_counted(app: App) -> None:
    row = ConnectionFactory(app=app)
    live = factories.PromptFactory(app=app)
    first = factories.BindingFactory(prompt=live, connection=row)
    factories.BindingFactory(prompt=live, connection=row)
    factories.BindingFactory(prompt=factories.PromptFactory(app=app, status="draft"), connection=row)
    factories.BindingFactory(prompt=factories.PromptFactory(app=app), connection=row, archived_at=timezone.now())
    for state in (State.HELD, State.WAITING, State.DONE, State.UNCERTAIN):
        factories.ExecutionFactory(binding=first, state=state)

    assert connections.live_prompts(row) == 1
    assert connections.waiting_executions(row) == 2
    assert connections.held_executions(row) == 1


# --- health -----------------------------------------------------------------------------------------------------------------


def test_attention_is_said_once_and_keeps_since_when(app: App) -> None:
    row = ConnectionFactory(app=app)

    assert connections.mark_attention(row, "Cleeng does not accept the key.")
    since = stored().held_since
    assert not connections.mark_attention(row, "Cleeng still does not accept it.")
    assert (stored().attention, stored().held_since) == ("Cleeng still does not accept it.", since)
    assert list(Entry.objects.values_list("verb", "actor")) == [("needs attention", "Engage")]


def test_healthy_again_is_said_once_with_since_when_it_waited(app: App, heard_healthy: Heard) -> None:
    row = ConnectionFactory(app=app)
    connections.mark_attention(row, "Cleeng does not accept the key.")
    since = stored().held_since

    assert connections.mark_healthy(row)
    assert not connections.mark_healthy(row)
    assert (stored().health, stored().attention, stored().held_since) == (Health.HEALTHY, "", None)
    assert [(sent["connection"], sent["held_since"]) for sent in heard_healthy] == [(stored(), since)]


def test_what_is_switched_off_goes_on_waiting_when_it_is_healthy(app: App, heard_healthy: Heard) -> None:
    row = ConnectionFactory(app=app, active=False, health=Health.ATTENTION, held_since=timezone.now())
    connections.mark_healthy(row)

    assert stored().held_since is not None
    assert heard_healthy == []


def test_held_connections_are_asked_and_go_on_when_they_are_healthy(
    app: App, vendor: Vendor, heard_healthy: Heard
) -> None:
    row = ConnectionFactory(app=app, secrets={"api_key": OTHER_KEY}, health=Health.ATTENTION, attention="No.")
    tasks.probe_held()
    assert stored().health == Health.ATTENTION
    assert "credentials" in stored().attention

    vendor.keys.add(OTHER_KEY)
    tasks.probe_held()
    assert stored().health == Health.HEALTHY
    assert stored().tested_by is None
    assert [sent["connection"] for sent in heard_healthy] == [row]


@pytest.mark.django_db(transaction=True)  # the key is saved from the vendor's thread
def test_a_key_that_is_saved_during_the_test_is_not_told_what_came_of_the_older_one(app: App, vendor: Vendor) -> None:
    ConnectionFactory(app=app, secrets={"api_key": OTHER_KEY}, health=Health.ATTENTION, attention="No.")
    vendor.meanwhile = save_beside
    tasks.probe_held()
    assert (stored().health, stored().attention) == (Health.ATTENTION, "No.")


def test_connections_that_are_well_or_switched_off_are_not_asked(app: App, other_app: App, vendor: Vendor) -> None:
    ConnectionFactory(app=app)
    ConnectionFactory(app=other_app, active=False, health=Health.ATTENTION)
    tasks.probe_held()

    assert vendor.asked_with == []


def test_a_success_is_noted_by_the_minute(app: App) -> None:
    connections.note_success(ConnectionFactory(app=app))
    first = stored().last_success_at
    connections.note_success(stored())
    assert first is not None
    assert stored().last_success_at == first

    Connection.objects.update(last_success_at=timezone.now() - timedelta(minutes=2))
    connections.note_success(stored())
    second = stored().last_success_at
    assert second is not None
    assert second > first


def test_the_last_problem_is_the_one_that_matters_most(app: App) -> None:
    row = ConnectionFactory(app=app, test_passed=False, test_result=[[True, "Reached."], [False, "No right to read."]])
    row.catalogue_states.create(catalogue="offers", error="Cleeng is away.", tried_at=timezone.now())
    assert connections.last_problem(row)[0] == "No right to read."
    row.test_passed = True
    assert connections.last_problem(row)[0] == "Offers could not be refreshed: Cleeng is away."
    row.health, row.attention = Health.ATTENTION, "The key is refused."
    assert connections.last_problem(row)[0] == "The key is refused."
