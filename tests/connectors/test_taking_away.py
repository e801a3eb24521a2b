"""Archiving and removing what administrators made: API actions and website actions."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from connectors import connections
from connectors.models import Connection, Script
from engage.audit.models import Entry
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from prompts.models import Binding, State
from tests import factories
from tests.connectors.test_api_pages import LIST, page_of, saved, typed
from tests.connectors.vendors.test_api import TOKEN
from tests.factories import BindingFactory, ExecutionFactory, PromptFactory

Console = Callable[[Role], Client]


@pytest.fixture
def admin(console: Console) -> Client:
    return console(Role.APP_ADMIN)


def taking_away(row: Connection) -> str:
    return reverse("admin:connectors_connection_one_remove", args=[row.pk])


def bound(app: App, row: Connection, name: str = "Win-back") -> Binding:
    prompt = PromptFactory(app=app, name=name, status="live")
    return BindingFactory(prompt=prompt, connector=row.connector, action=row.connector, connection=row)


def let_go(binding: Binding) -> None:
    Binding.objects.filter(pk=binding.pk).update(archived_at=timezone.now())


def text(client: Client, url: str) -> str:
    return " ".join(client.get(url).content.decode().split())


def test_what_no_prompt_ever_used_is_removed_for_good(admin: Client, app: App) -> None:
    row = saved(admin, app)
    assert taking_away(row) in text(admin, page_of(row))
    assert "No prompt has ever used it" in text(admin, taking_away(row))
    answer = admin.post(taking_away(row), follow=True)

    assert not Connection.objects.exists()
    assert "was removed" in answer.content.decode()
    assert Entry.objects.get(verb="removed").object_id == str(row.pk)


def test_what_a_prompt_uses_stays_and_the_prompt_is_named(admin: Client, app: App) -> None:
    row = saved(admin, app)
    binding = bound(app, row)
    page = text(admin, taking_away(row))
    answer = admin.post(taking_away(row))

    assert "is in use" in page
    assert f'href="{reverse("admin:prompts_prompt_change", args=[binding.prompt_id])}">Win-back</a>' in page
    assert '<button class="eg-button eg-danger-fill">' not in page
    assert answer.status_code == 409
    assert "Win-back" in answer.content.decode()
    assert Connection.objects.get().archived_at is None


@pytest.mark.parametrize("state", [State.WAITING, State.HELD])
def test_what_is_on_its_way_or_on_hold_ends_first(admin: Client, app: App, state: State) -> None:
    row = saved(admin, app)
    binding = bound(app, row)
    ExecutionFactory(binding=binding, connection=row, state=state)
    let_go(binding)

    assert "1 action of it is on its way or on hold" in text(admin, taking_away(row))
    assert admin.post(taking_away(row)).status_code == 409
    assert Connection.objects.get().archived_at is None


def test_what_the_history_names_is_archived_without_its_secrets(admin: Client, app: App) -> None:
    row = saved(admin, app)
    Connection.objects.filter(pk=row.pk).update(active=True, test_passed=True)
    binding = bound(app, row)
    ExecutionFactory(binding=binding, connection=row, state=State.DONE)
    let_go(binding)
    assert "Archive “Grant premium”?" in text(admin, taking_away(row))
    admin.post(taking_away(row))

    kept = Connection.objects.get()
    assert kept.archived_at is not None
    assert (kept.active, kept.test_passed, kept.secrets(), kept.secrets_set) == (False, None, {}, {})
    listed, page = text(admin, LIST), text(admin, page_of(row))
    assert "Archived (1)" in listed
    assert 'class="eg-card-title"' not in listed
    assert "it is not offered to prompts" in page
    assert 'id="settings"' not in page
    assert 'id="history"' in page
    assert "Settings are seen and changed by administrators" not in page, "there are none to see"
    assert Entry.objects.filter(verb="archived", object_id=str(row.pk)).count() == 1


def test_an_archived_prompt_holds_nothing_and_says_what_is_gone_when_it_comes_back(admin: Client, app: App) -> None:
    row = saved(admin, app)
    binding = bound(app, row)
    type(binding.prompt).objects.update(archived_at=timezone.now(), status="paused")
    admin.post(taking_away(row))
    assert Connection.objects.get().archived_at is not None

    type(binding.prompt).objects.update(archived_at=None)
    panel = text(admin, reverse("admin:prompts_prompt_actions", args=[binding.prompt_id]))
    assert "“Grant premium” is archived." in panel


def test_what_is_archived_is_offered_to_no_prompt(admin: Client, app: App) -> None:
    row = saved(admin, app)
    choose = reverse("admin:prompts_prompt_actions_choose", args=[PromptFactory(app=app).pk]) + "?lane=accept"
    assert "Grant premium" in text(admin, choose)
    let_go(bound(app, row))
    admin.post(taking_away(row), follow=True)

    assert "Grant premium" not in text(admin, choose)


def test_a_form_that_was_open_meanwhile_changes_nothing(admin: Client, app: App) -> None:
    row = saved(admin, app)
    form = typed(app, row, description="Typed before")
    let_go(bound(app, row))
    admin.post(taking_away(row))
    answer = admin.post(
        page_of(row), {**form, "connection-seen": connections.stamp(Connection.objects.get())}, follow=True
    )

    assert "It is archived, so nothing was saved." in answer.content.decode()
    assert Connection.objects.get().secrets() == {}


def test_it_comes_back_switched_off_and_asks_for_its_secrets(admin: Client, app: App) -> None:
    row = saved(admin, app)
    let_go(bound(app, row))
    admin.post(taking_away(row))
    assert "Bring “Grant premium” back?" in text(admin, taking_away(row))
    admin.post(taking_away(row))
    row.refresh_from_db()
    blank = admin.post(page_of(row), typed(app, row, **{"secret.token": ""}))
    again = admin.post(page_of(row), typed(app, row))

    assert (row.archived_at, row.active) == (None, False)
    assert "Enter it once" in blank.content.decode()
    assert again.status_code == 302
    row.refresh_from_db()
    assert row.secrets() == {"secret.token": TOKEN}
    assert row.generation == 2, "who has its secrets may have another account by now"


def test_a_scripts_last_version_is_handed_out_no_more(admin: Client, app: App) -> None:
    row = factories.ConnectionFactory(app=app, connector="website", name="Open the chat", settings={}, secrets={})
    Script.objects.create(connection=row, sha256="0" * 64, text="export default 1", published_at=timezone.now())
    let_go(bound(app, row))
    admin.post(taking_away(row))

    assert Script.objects.get().replaced_at is not None, "the night removes it some time after"


def test_the_name_of_an_archived_one_stays_taken(admin: Client, app: App) -> None:
    row = saved(admin, app)
    let_go(bound(app, row))
    admin.post(taking_away(row))
    page = admin.post(reverse("admin:connectors_connection_page", args=["api"]), typed(app)).content.decode()

    assert "perhaps an archived one" in page


def test_only_who_manages_connections_takes_away(console: Console, admin: Client, app: App) -> None:
    row = saved(admin, app)
    member = console(Role.APP_MEMBER)

    assert member.get(taking_away(row)).status_code == 403
    assert member.post(taking_away(row)).status_code == 403
    assert taking_away(row) not in text(member, page_of(row))


def test_another_apps_action_is_not_there(admin: Client, other_app: App) -> None:
    row = factories.ConnectionFactory(app=other_app, connector="api", name="Theirs", settings={}, secrets={})

    assert admin.get(taking_away(row)).status_code == 404
    assert admin.post(taking_away(row)).status_code == 404


def test_a_vendors_connection_is_switched_off_and_never_taken_away(admin: Client, app: App) -> None:
    row = factories.ConnectionFactory(app=app)

    assert admin.post(taking_away(row)).status_code == 404
