from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape
from pytest_django.fixtures import Settings

from connectors import connections
from connectors.base import Connector
from connectors.forms import settings_form
from connectors.models import CatalogueEntry, Connection, Health
from connectors.registry import all_connectors
from engage.audit.models import Entry
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from prompts.models import State
from tests import factories
from tests.connectors.conftest import KEY, OTHER_KEY, Vendor
from tests.factories import BindingFactory, ConnectionFactory, ExecutionFactory, PromptFactory

Console = Callable[[Role], Client]
CATALOGUE = "/console/connectors/connection/"
PAGE = f"{CATALOGUE}cleeng/"
TEST = f"{PAGE}test/"
REFRESH = f"{PAGE}refresh/offers/"


@pytest.fixture
def admin(console: Console) -> Client:
    return console(Role.APP_ADMIN)


def typed(app: App, **changes: str) -> dict[str, str]:
    """What the page's form sends, as it would send it now."""
    row = Connection.objects.filter(app=app).first()
    return {
        "environment": "sandbox",
        "api_key": "",
        "connection-app": str(app.pk),
        "connection-seen": connections.stamp(row),
        **changes,
    }


def text(client: Client, url: str = PAGE, data: dict[str, Any] | None = None) -> str:
    return client.get(url, data).content.decode()


def test_the_demo_says_where_it_stands_what_to_type(console: Console, settings: Settings) -> None:
    assert "In this demo" not in text(console(Role.APP_ADMIN))
    settings.ENGAGE_DEMO_SANDBOX_URL = "http://127.0.0.1:9000"
    assert 'href="http://127.0.0.1:9000/cleeng"' in text(console(Role.APP_ADMIN))
    assert 'href="http://127.0.0.1:9000/smtp"' in text(console(Role.APP_ADMIN), f"{CATALOGUE}smtp/")
    assert 'href="http://127.0.0.1:9000/cleeng"' not in text(console(Role.READ_ONLY))


# --- the catalogue ----------------------------------------------------------------------------------------------------------


def shown(page: str) -> set[str]:
    return {key for key in ("cleeng", "builtin") if f'href="{CATALOGUE}{key}/"' in page}


def test_the_urls_have_the_names_that_other_pages_use() -> None:
    assert reverse("admin:connectors_connection_changelist") == CATALOGUE
    assert reverse("admin:connectors_connection_page", args=["cleeng"]) == PAGE


def test_a_connector_without_a_connection_is_not_set_up_and_built_ins_are_on(admin: Client, app: App) -> None:
    page = text(admin, CATALOGUE)

    assert shown(page) == {"cleeng", "builtin"}
    assert "Not set up</span>" in page
    assert "Always on</span>" in page


def test_a_card_says_how_the_connection_stands(admin: Client, app: App) -> None:
    row = ConnectionFactory(app=app)
    for prompt in (PromptFactory(app=app), PromptFactory(app=app), PromptFactory(app=app, status="draft")):
        BindingFactory(prompt=prompt, connection=row)
        BindingFactory(prompt=prompt, connection=row)
    page = text(admin, CATALOGUE)

    assert "Active</span>" in page
    assert "Sandbox</span>" in page
    assert "Used by 2 live prompts" in page
    assert "3 actions" in page


def test_what_needs_attention_comes_first_with_its_sentence(admin: Client, app: App) -> None:
    ConnectionFactory(app=app, health=Health.ATTENTION, attention="Cleeng does not accept the key.")
    page = text(admin, CATALOGUE)

    assert "Cleeng does not accept the key." in page
    assert page.index(f'href="{PAGE}"') < page.index(f'href="{CATALOGUE}builtin/"')


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"q": "cleeng"}, {"cleeng"}),
        ({"q": "CHURNIQ"}, {"cleeng"}),
        ({"q": "apply coupon"}, {"cleeng"}),
        ({"q": "redirect"}, {"builtin"}),
        ({"category": "billing"}, {"cleeng"}),
        ({"state": "inactive"}, {"cleeng"}),
        ({"state": "active"}, {"builtin"}),
        ({"used": "1"}, {"cleeng"}),
        ({"q": "coupon", "category": "built_in"}, set()),
    ],
)
def test_the_catalogue_is_searched_and_filtered_by_its_address(
    admin: Client, app: App, asked: dict[str, str], found: set[str]
) -> None:
    row = ConnectionFactory(app=app, active=False)
    BindingFactory(prompt=PromptFactory(app=app), connection=row)

    assert shown(text(admin, CATALOGUE, asked)) == found


def test_where_nothing_matches_it_says_so_and_offers_a_way_back(admin: Client, app: App) -> None:
    page = text(admin, CATALOGUE, {"q": "<nothing>"})

    assert f"No connector matches “{escape('<nothing>')}”" in page
    assert "Clear filters" in page


# --- who sees what ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.APP_MEMBER, Role.READ_ONLY])
def test_who_may_not_manage_connections_sees_states_and_no_settings(console: Console, app: App, role: Role) -> None:
    row = ConnectionFactory(app=app)
    client = console(role)

    assert "Active</span>" in text(client, CATALOGUE)
    page = text(client)
    assert "Apply coupon" in page
    assert 'name="environment"' not in page
    assert 'id="history"' not in page
    assert client.post(PAGE, typed(app)).status_code == 403
    assert client.post(TEST, typed(app)).status_code == 403
    assert client.post(REFRESH).status_code == 403
    assert Connection.objects.get() == row
    assert not Entry.objects.filter(kind="connection").exists()


@pytest.mark.parametrize("role", [Role.COMPANY_ADMIN, Role.APP_ADMIN])
def test_administrators_see_the_settings(console: Console, app: App, role: Role) -> None:
    assert 'name="environment"' in text(console(role))


def test_another_apps_connection_is_not_there(admin: Client, app: App, other_app: App) -> None:
    theirs = ConnectionFactory(app=other_app, settings={"environment": "live"})

    assert "Not set up</span>" in text(admin)
    assert admin.get(f"{CATALOGUE}{theirs.pk}/change/").status_code == 404
    assert admin.post(REFRESH).status_code == 404


def test_a_connection_is_found_by_its_id(admin: Client, app: App) -> None:
    row = ConnectionFactory(app=app)
    answer = admin.get(f"{CATALOGUE}{row.pk}/change/")

    assert (answer.status_code, answer["Location"]) == (302, PAGE)


def test_a_connector_that_does_not_exist_is_not_there(admin: Client, app: App) -> None:
    assert admin.get(f"{CATALOGUE}nobody/").status_code == 404


@pytest.mark.parametrize("declared", [one for one in all_connectors() if one.needs_connection], ids=lambda one: one.key)
def test_every_connectors_page_can_be_opened_before_it_is_set_up(admin: Client, app: App, declared: Connector) -> None:
    page = admin.get(reverse("admin:connectors_connection_page", args=[declared.key])).content.decode()
    assert all(escape(bound.label) in page for bound in settings_form(None, declared))
    assert all(escape(action.label) in page for action in declared.actions)


def test_nobody_gets_past_the_sign_in(client: Client, app: App) -> None:
    for url in (CATALOGUE, PAGE):
        assert client.get(url)["Location"].startswith("/console/login/")


def test_a_built_in_connector_has_no_settings_to_save(admin: Client, app: App) -> None:
    url = f"{CATALOGUE}builtin/"

    assert "Always on</span>" in text(admin, url)
    assert 'id="settings"' not in text(admin, url)
    assert admin.post(url, typed(app)).status_code == 404


# --- saving -------------------------------------------------------------------------------------------------------------------


def test_setting_up_saves_tests_and_switches_on(admin: Client, app: App, vendor: Vendor) -> None:
    answer = admin.post(PAGE, typed(app, api_key=f" {KEY} ", **{"connection-active": "on"}), follow=True)

    row = Connection.objects.get()
    assert row.active
    assert row.secrets() == {"api_key": KEY}
    page = answer.content.decode()
    assert "Saved. Cleeng is active." in page
    assert "Stored, 48 characters." in page
    assert CatalogueEntry.objects.count() == 2


def test_a_key_never_comes_back(admin: Client, app: App, vendor: Vendor) -> None:
    pages = [
        admin.post(PAGE, typed(app, api_key=OTHER_KEY, environment="nowhere")),
        admin.post(TEST, typed(app, api_key=OTHER_KEY)),
        admin.post(PAGE, typed(app, api_key=OTHER_KEY, **{"connection-active": "on"}), follow=True),
        admin.get(CATALOGUE),
        admin.post(PAGE, typed(app, api_key=KEY, **{"connection-seen": "stale"})),
        admin.get(PAGE),
    ]

    for page in pages:
        assert OTHER_KEY not in page.content.decode()
        assert KEY not in page.content.decode()
    assert OTHER_KEY not in str(list(Entry.objects.values()))


def test_a_failed_test_keeps_the_typing_and_leaves_it_off(admin: Client, app: App, vendor: Vendor) -> None:
    answer = admin.post(PAGE, typed(app, api_key=OTHER_KEY, **{"connection-active": "on"}), follow=True)

    assert "Saved, but not switched on: Cleeng does not accept the credentials." in answer.content.decode()
    assert not Connection.objects.get().active


def test_an_error_loses_no_typing_and_is_linked_to_its_field(admin: Client, app: App) -> None:
    page = admin.post(PAGE, typed(app)).content.decode()

    assert Connection.objects.count() == 0
    assert "Nothing was saved yet." in page
    assert '<a class="eg-link" href="#id_api_key">API key</a>' in page
    assert '<option value="sandbox" selected>' in page


def test_another_environment_asks_for_the_key_again(admin: Client, app: App) -> None:
    ConnectionFactory(app=app)
    page = admin.post(PAGE, typed(app, environment="live")).content.decode()

    assert "a stored secret is never sent to another account" in page
    assert Connection.objects.get().settings == {"environment": "sandbox"}


def test_a_save_in_between_shows_both_versions_and_keeps_the_typing(admin: Client, app: App) -> None:
    ConnectionFactory(app=app)
    mine = typed(app, environment="live", api_key=KEY)
    Connection.objects.update(updated_at=timezone.now(), settings={"environment": "sandbox", "x": 1})
    answer = admin.post(PAGE, mine)

    page = answer.content.decode()
    assert answer.status_code == 409
    assert '<td data-label="Stored now">Sandbox</td><td data-label="Yours">Production</td>' in page
    assert '<option value="live" selected>' in page
    assert Connection.objects.get().secrets() != {"api_key": KEY}
    again = {**mine, "connection-seen": answer.context["switch"]["seen"].value()}
    assert admin.post(PAGE, again).status_code == 302
    assert Connection.objects.get().secrets() == {"api_key": KEY}


def test_a_form_of_another_app_is_refused(admin: Client, app: App, other_app: App, vendor: Vendor) -> None:
    for url in (PAGE, TEST):
        answer = admin.post(url, typed(app, api_key=KEY, **{"connection-app": str(other_app.pk)}))
        assert answer.status_code == 409
    assert Connection.objects.count() == 0
    assert vendor.asked_with == []


def test_stored_secrets_that_cannot_be_opened_are_entered_again(admin: Client, app: App) -> None:
    page = reverse("admin:connectors_connection_page", args=["sendgrid"])
    settings = {"region": "eu", "from_email": "hello@example.com"}
    ConnectionFactory(app=app, connector="sendgrid", settings=settings, secrets={"api_key": OTHER_KEY})
    Connection.objects.update(generation=9)  # what is sealed is another row's from now on
    blank = admin.post(page, typed(app, **settings, reply_to="a@example.com"))
    again = admin.post(page, typed(app, **settings, reply_to="a@example.com", api_key=KEY))

    assert "The stored secrets cannot be opened. Enter all of them again." in blank.content.decode()
    assert again.status_code == 302
    assert Connection.objects.get().secrets() == {"api_key": KEY}


def test_an_unusual_key_is_saved_with_a_warning(admin: Client, app: App) -> None:
    answer = admin.post(PAGE, typed(app, api_key="short"), follow=True)

    assert "API key has 5 characters; 48 are usual. Is it complete?" in answer.content.decode()


# --- switching ----------------------------------------------------------------------------------------------------------------


def test_turning_off_says_what_it_means(admin: Client, app: App) -> None:
    binding = BindingFactory(prompt=PromptFactory(app=app), connection=ConnectionFactory(app=app))
    for state in (State.WAITING, State.QUEUED):
        ExecutionFactory(binding=binding, state=state)
    page = " ".join(text(admin).split())

    assert "1 live prompt uses this and will not be shown." in page
    assert "2 waiting actions and late accepts go on hold." in page
    admin.post(PAGE, typed(app))
    assert not Connection.objects.get().active


def test_turning_on_asks_what_becomes_of_the_held_actions(admin: Client, app: App, vendor: Vendor) -> None:
    row = ConnectionFactory(app=app, active=False, secrets={"api_key": KEY})
    ExecutionFactory(binding=BindingFactory(prompt=PromptFactory(app=app), connection=row), state=State.HELD)
    assert "1 action waits on hold." in text(admin)

    page = admin.post(PAGE, typed(app, **{"connection-active": "on"})).content.decode()
    assert "Say what becomes of the actions on hold." in page
    assert not Connection.objects.get().active

    answer = admin.post(PAGE, typed(app, **{"connection-active": "on", "connection-held": "review"}))
    assert answer.status_code == 302
    assert Connection.objects.get().active


def test_it_is_switched_on_untested_only_with_the_tick(admin: Client, app: App, vendor: Vendor) -> None:
    row = ConnectionFactory(app=app, active=False, secrets={"api_key": OTHER_KEY})
    admin.post(PAGE, typed(app, **{"connection-active": "on"}))
    row.refresh_from_db()
    assert not row.active
    admin.post(PAGE, typed(app, **{"connection-active": "on", "connection-untested": "on"}))
    row.refresh_from_db()
    assert row.active


# --- Test connection ------------------------------------------------------------------------------------------------------------


def test_a_test_says_what_it_found_line_by_line(admin: Client, app: App, vendor: Vendor) -> None:
    page = admin.post(TEST, typed(app, api_key=KEY)).content.decode()

    assert "The test passed." in page
    assert "Cleeng Sandbox accepts the key." in page
    assert "Writing cannot be tested without changing something." in page
    assert "Nothing is saved yet." in page
    assert Connection.objects.count() == 0


def test_a_test_of_an_incomplete_form_asks_nobody(admin: Client, app: App, vendor: Vendor) -> None:
    answer = admin.post(TEST, typed(app))

    assert answer.status_code == 422
    assert "API key: This field is required." in answer.content.decode()
    assert vendor.asked_with == []


def test_a_test_never_takes_the_stored_key_to_another_account(admin: Client, app: App, vendor: Vendor) -> None:
    ConnectionFactory(app=app, secrets={"api_key": KEY})
    answer = admin.post(TEST, typed(app, environment="live"))

    assert answer.status_code == 422
    assert "never sent to another account" in answer.content.decode()
    assert vendor.asked_with == []


def test_a_test_of_what_is_stored_is_kept_with_who_ran_it(admin: Client, app: App, vendor: Vendor) -> None:
    row = ConnectionFactory(app=app, secrets={"api_key": KEY})
    admin.post(TEST, typed(app))
    row.refresh_from_db()

    assert row.test_passed
    assert row.tested_by is not None
    assert [True, "Subscriptions can be read."] in row.test_result


def test_a_test_of_something_else_is_not_kept(admin: Client, app: App, vendor: Vendor) -> None:
    row = ConnectionFactory(app=app, secrets={"api_key": OTHER_KEY})
    admin.post(TEST, typed(app, api_key=KEY))
    row.refresh_from_db()

    assert row.test_passed is None


# --- vendor data, users of it, history --------------------------------------------------------------------------------------------


def test_the_vendors_rows_are_refreshed_by_button(admin: Client, app: App, vendor: Vendor) -> None:
    ConnectionFactory(app=app, secrets={"api_key": KEY})
    page = admin.post(REFRESH, follow=True).content.decode()
    assert "Offers: 2 rows." in page
    assert "Premium (S100000002_US)" in page

    vendor.status = 500
    page = admin.post(REFRESH, follow=True).content.decode()
    assert "Offers could not be refreshed: Cleeng has a problem" in page
    assert "what was read before is kept" in page


def test_what_changes_something_is_a_post(admin: Client, app: App) -> None:
    ConnectionFactory(app=app)

    assert admin.get(TEST).status_code == 405
    assert admin.get(REFRESH).status_code == 405


def test_the_page_names_the_prompts_that_use_it_and_no_others(admin: Client, app: App, other_app: App) -> None:
    BindingFactory(prompt=PromptFactory(app=app, name="Win back"), connection=ConnectionFactory(app=app))
    BindingFactory(prompt=PromptFactory(app=other_app, name="Not ours"))
    page = text(admin)

    assert "Win back" in page
    assert "Not ours" not in page


def test_the_page_lists_actions_needs_repeat_and_set_up_from_the_declaration(admin: Client, app: App) -> None:
    page = text(admin)

    for words in (
        "Reactivate subscription",
        "cleeng_subscription_id or cleeng_customer_id",
        "we look first",
        "Paste the token",
    ):
        assert words in page


def test_the_history_speaks_in_the_forms_words(admin: Client, app: App, vendor: Vendor) -> None:
    admin.post(PAGE, typed(app, api_key=KEY))
    admin.post(PAGE, typed(app, api_key=OTHER_KEY, environment="live"))
    page = " ".join(text(admin).split())

    assert "Environment: Sandbox → Production" in page
    assert "API key: replaced" in page


def test_for_firewalls_it_says_whom_it_talks_to(admin: Client, app: App, settings: Any) -> None:
    settings.ENGAGE_VENDOR_URLS = {}
    assert "<code>api.cleeng.com:443</code>" in text(admin)
    ConnectionFactory(app=app)
    assert "<code>api.sandbox.cleeng.com:443</code>" in text(admin)
    settings.ENGAGE_VENDOR_URLS = {"cleeng": "http://127.0.0.1:9000/cleeng"}
    assert "<code>127.0.0.1:9000</code> in place of the vendor" in text(admin)


def test_a_person_without_a_role_in_any_app_gets_nowhere(signed_in: Callable[..., Client], app: App) -> None:
    client = signed_in(factories.UserFactory())

    assert client.get(PAGE).status_code in {302, 403}


# --- activity ---------------------------------------------------------------------------------------------------------


def attempted(row: Connection, outcome: str, failed: bool | None, seconds: float, *, ago: timedelta) -> None:
    """Let an attempt have ended."""
    execution = ExecutionFactory(binding__connection=row, binding__prompt__app=row.app, state=State.DONE)
    finished = timezone.now() - ago
    execution.attempts.create(
        connection=row,
        number=1,
        fence=1,
        worker="w",
        started_at=finished - timedelta(seconds=seconds),
        finished_at=finished,
        outcome=outcome,
        vendor_failed=failed,
    )


def test_activity_says_how_the_last_day_went(admin: Client, app: App, other_app: App) -> None:
    row, other = ConnectionFactory(app=app), ConnectionFactory(app=other_app)
    assert "No action has called Cleeng in the last 24 hours." in text(admin, PAGE)
    now, long_ago = timedelta(minutes=1), timedelta(hours=25)
    for _ in range(5):
        attempted(row, "done", False, 0.2, ago=now)
    attempted(row, "pending", False, 0.4, ago=now)
    attempted(row, "rejected", False, 0.2, ago=now)
    attempted(row, "waiting", True, 7.9, ago=now)
    attempted(row, "skipped", None, 99, ago=now)
    attempted(row, "waiting", True, 99, ago=long_ago)
    attempted(other, "waiting", True, 99, ago=now)
    page = text(admin, PAGE)
    assert "75.0 % of 8 attempts" in page
    assert "<dd>12.5 %</dd>" in page
    assert "7.9 s, 95 % of them" in page


@pytest.mark.parametrize(
    ("paused", "sentence"),
    [
        ({"closed_until": timedelta(seconds=30)}, "Paused after repeated failures; next try {}."),
        (
            {"closed_until": timedelta(seconds=-1)},
            "Paused after repeated failures; the next action is the try that decides.",
        ),
        (
            {"next_free_at": timedelta(minutes=5)},
            "Paused, since the vendor asked us to wait; it goes on {}.",
        ),
    ],
)
def test_a_pause_is_said_on_the_card_and_on_the_page(
    admin: Client, app: App, paused: dict[str, timedelta], sentence: str
) -> None:
    row = ConnectionFactory(app=app)
    at = timezone.now() + next(iter(paused.values()))
    Connection.objects.filter(pk=row.pk).update(**dict.fromkeys(paused, at))
    shown_at = f'<time datetime="{at.isoformat()}" data-eg-seconds>{at:%-d %b %Y, %H:%M:%S} UTC</time>'
    for address in (CATALOGUE, PAGE):
        page = text(admin, address)
        assert sentence.format(shown_at) in page
        assert "Paused</span>" in page
    assert "What waits for it spends no try and goes on by itself." in text(admin, PAGE)
    assert shown(text(admin, CATALOGUE, {"state": "paused"})) == {"cleeng"}


def test_keeping_to_a_vendors_rate_is_no_pause(admin: Client, app: App) -> None:
    row = ConnectionFactory(app=app)
    Connection.objects.filter(pk=row.pk).update(next_free_at=timezone.now() + timedelta(seconds=3))
    assert "Paused" not in text(admin, CATALOGUE).replace('<option value="paused">Paused</option>', "")
