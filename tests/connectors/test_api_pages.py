"""API actions in the console: the catalogue's tabs, the page of one, its secrets, its preview."""

import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings
from pytest_httpserver import HTTPServer

from connectors import connections
from connectors.models import Connection, Health
from engage.audit.models import Entry
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from tests import factories
from tests.connectors.vendors.test_api import TOKEN, written
from tests.factories import BindingFactory, PromptFactory

Console = Callable[[Role], Client]
LIST = reverse("admin:connectors_connection_api")
NEW = reverse("admin:connectors_connection_page", args=["api"])


@pytest.fixture
def admin(console: Console) -> Client:
    return console(Role.APP_ADMIN)


def typed(app: App, row: Connection | None = None, **changes: str) -> dict[str, str]:
    """What the page's form sends."""
    switch = {"connection-app": str(app.pk), "connection-seen": connections.stamp(row)}
    return {**written(), **switch, **changes}


def saved(admin: Client, app: App, **changes: str) -> Connection:
    response = admin.post(NEW, typed(app, None, **changes))
    assert response.status_code == 302, re.findall(r"<li>.*?</li>", response.content.decode())[:5]
    return Connection.objects.get(app=app, name=changes.get("name", "Grant premium"))


def page_of(row: Connection) -> str:
    return reverse("admin:connectors_connection_one", args=[row.pk])


# --- the catalogue ----------------------------------------------------------------------------------------------------------


def test_the_catalogue_has_three_tabs_and_api_actions_are_no_card_of_the_first(admin: Client, app: App) -> None:
    page = admin.get(reverse("admin:connectors_connection_changelist")).content.decode()

    for name in ("changelist", "api", "website"):
        assert f'href="{reverse(f"admin:connectors_connection_{name}")}"' in page
    assert f'href="{NEW}"' not in page


def test_where_nothing_matches_an_api_action_is_offered(admin: Client, app: App) -> None:
    page = admin.get(reverse("admin:connectors_connection_changelist"), {"q": "nobody knows"}).content.decode()

    assert "Use an API action instead" in page


def test_without_any_the_first_step_is_offered_to_who_may_take_it(console: Console, app: App) -> None:
    shown = {role: console(role).get(LIST).content.decode() for role in (Role.APP_ADMIN, Role.APP_MEMBER)}

    assert all("No API action yet" in page for page in shown.values())
    assert f'href="{NEW}"' in shown[Role.APP_ADMIN]
    assert f'href="{NEW}"' not in shown[Role.APP_MEMBER]


def test_the_website_tab_lists_what_the_browser_does(admin: Client, app: App) -> None:
    assert "Redirect" in admin.get(reverse("admin:connectors_connection_website")).content.decode()


def test_the_list_shows_each_with_how_it_stands(admin: Client, app: App) -> None:
    row = saved(admin, app)
    other = saved(admin, app, name="Close account")
    Connection.objects.filter(pk=other.pk).update(
        active=True, health=Health.ATTENTION, attention="It refuses the token."
    )
    BindingFactory(prompt=PromptFactory(app=app), connection=row, connector="api", action="call")
    page = admin.get(LIST).content.decode()

    assert page.index(page_of(other)) < page.index(page_of(row))
    assert "It refuses the token." in page
    assert "Used by 1 live prompt<" in page
    assert "POST api.example.com" in page
    assert "Needs customer_id" in page


def test_another_apps_actions_are_nowhere(admin: Client, app: App) -> None:
    other = factories.ConnectionFactory(
        connector="api", name="Theirs", settings=written(), secrets={"secret.token": TOKEN}
    )

    assert "Theirs" not in admin.get(LIST).content.decode()
    assert admin.get(page_of(other)).status_code == 404
    assert admin.post(page_of(other), typed(app)).status_code == 404
    assert admin.post(f"{page_of(other)}preview/", {}).status_code == 404
    assert admin.post(f"{page_of(other)}test/", typed(app)).status_code == 404


# --- saving -----------------------------------------------------------------------------------------------------------------


def test_its_secrets_are_sealed_apart_and_never_shown(admin: Client, app: App) -> None:
    row = saved(admin, app)
    page = admin.get(page_of(row)).content.decode()

    assert row.secrets() == {"secret.token": TOKEN}
    assert "secret.token" not in row.settings
    assert TOKEN not in page
    assert "Secret “token”" in page
    assert f"Stored, {len(TOKEN)} characters" in page
    entry = Entry.objects.get(object_id=str(row.pk), verb="created")
    assert entry.changes["secret.token"] == [None, "replaced"]


def test_a_secret_is_added_and_replaced_singly(admin: Client, app: App) -> None:
    row = saved(admin, app)
    two = "Authorization: Bearer %secret.token%\nX-Key: %secret.key%"
    missing = admin.post(page_of(row), typed(app, row, headers=two, **{"secret.token": ""}))
    assert "Enter it once: %secret.key%" in missing.content.decode()

    admin.post(page_of(row), typed(app, row, headers=two, **{"secret.token": "", "secret.key": "a-second-secret"}))
    row.refresh_from_db()
    assert row.secrets() == {"secret.token": TOKEN, "secret.key": "a-second-secret"}

    admin.post(page_of(row), typed(app, row, headers=two, **{"secret.token": "another-first", "secret.key": ""}))
    row.refresh_from_db()
    assert row.secrets() == {"secret.token": "another-first", "secret.key": "a-second-secret"}


def test_a_secret_that_is_no_longer_used_is_forgotten(admin: Client, app: App) -> None:
    row = saved(admin, app)
    admin.post(page_of(row), typed(app, row, headers="", **{"secret.token": ""}))
    row.refresh_from_db()

    assert row.secrets() == {}
    assert row.secrets_set == {}


@pytest.mark.parametrize(
    ("url", "asked_again"),
    [
        ("https://api.example.com/another/%customer_id%", False),
        ("https://API.example.com/customers/%customer_id%/grants", False),
        ("https://api.example.com:8443/customers/%customer_id%/grants", True),
        ("https://evil.example.com/customers/%customer_id%/grants", True),
    ],
)
def test_a_stored_secret_never_goes_to_another_server(admin: Client, app: App, url: str, *, asked_again: bool) -> None:
    row = saved(admin, app)
    response = admin.post(page_of(row), typed(app, row, url=url, **{"secret.token": ""}))
    tested = admin.post(f"{page_of(row)}test/", typed(app, row, url=url, **{"secret.token": ""}))
    row.refresh_from_db()

    assert (response.status_code == 200) is asked_again
    assert (tested.status_code == 422) is asked_again
    assert (row.settings["url"] == url) is not asked_again
    assert row.generation == 1


def test_another_server_with_the_secrets_again_is_another_generation(admin: Client, app: App) -> None:
    row = saved(admin, app)
    admin.post(page_of(row), typed(app, row, url="https://new.example.com/", **{"secret.token": "the-new-token"}))
    row.refresh_from_db()

    assert row.generation == 2
    assert row.secrets() == {"secret.token": "the-new-token"}


def test_a_name_is_given_once(admin: Client, app: App) -> None:
    saved(admin, app)
    response = admin.post(NEW, typed(app))
    renamed = saved(admin, app, name="Another")
    again = admin.post(page_of(renamed), typed(app, renamed, name="Grant premium", **{"secret.token": ""}))

    assert "Another one has this name" in response.content.decode()
    assert "Another one has this name" in again.content.decode()
    assert Connection.objects.filter(app=app).count() == 2


def test_what_is_wrong_is_said_and_no_typing_is_lost(admin: Client, app: App) -> None:
    page = admin.post(NEW, typed(app, None, body='{"plan": "%email%",\n "x" 1}')).content.decode()

    assert "Line 2, column 6: a colon is missing here.<" in page
    assert "&quot;x&quot; 1}" in page
    assert not Connection.objects.filter(app=app).exists()


def test_a_designer_sees_it_and_changes_nothing(console: Console, admin: Client, app: App) -> None:
    row = saved(admin, app)
    designer = console(Role.APP_MEMBER)
    page = designer.get(page_of(row)).content.decode()

    assert "Grant premium" in page
    assert "eg-settings" not in page
    assert designer.post(page_of(row), typed(app, row)).status_code == 403
    assert designer.post(f"{page_of(row)}preview/", {}).status_code == 403


# --- preview and health -----------------------------------------------------------------------------------------------------


def test_the_preview_shows_the_request_with_secrets_masked(admin: Client, app: App) -> None:
    row = saved(admin, app)
    samples = {"trait-customer_id": '"7"', "trait-age": "41", "input-plan": "<gold>"}
    page = admin.post(f"{page_of(row)}preview/", samples).content.decode()

    assert "POST https://api.example.com/customers/7/grants" in page
    assert "&quot;age&quot;: 41" in page
    assert "&lt;gold&gt;" in page
    assert "Authorization: [secret]" in page
    assert TOKEN not in page


def test_the_preview_asks_for_what_is_needed(admin: Client, app: App) -> None:
    page = admin.post(f"{page_of(saved(admin, app))}preview/", {"input-plan": "gold"}).content.decode()

    assert "This field is required" in page


@pytest.fixture
def listening(httpserver: HTTPServer, settings: Settings) -> str:
    settings.ENGAGE_PRIVATE_HOSTS = [f"{httpserver.host}:{httpserver.port}"]
    return httpserver.url_for("/")


def test_only_a_persons_test_ends_the_hold_after_refused_secrets(admin: Client, app: App, listening: str) -> None:
    row = saved(admin, app, url=listening, **{"connection-active": "on"})
    assert row.active
    connections.mark_attention(row, "It refuses the token.")

    assert connections.probe_held() == 0
    row.refresh_from_db()
    assert row.health == Health.ATTENTION

    admin.post(f"{page_of(row)}test/", typed(app, row, url=listening, **{"secret.token": ""}))
    row.refresh_from_db()
    assert row.health == Health.HEALTHY


def test_every_field_looks_like_one(admin: Client, app: App) -> None:
    page = admin.get(NEW).content.decode()

    for name in ("name", "key_hours", "success_path"):
        (field,) = re.findall(rf'<input[^>]*name="{name}"[^>]*>', page)
        assert "border" in field
