"""Website actions: what is handed to the browser, the file that it loads, and the pages on which they are written."""

import hashlib
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from connectors import connections, runner, scripts
from connectors.forms import settings_form
from connectors.models import Connection, Script
from connectors.registry import connector
from connectors.runner import Result, Work
from engage.audit.models import Entry
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from tests import factories
from tests.connectors.contract import MemoryJournal
from tests.factories import BindingFactory, PromptFactory, SubscriberFactory

pytestmark = pytest.mark.django_db
Console = Callable[[Role], Client]
LIST = reverse("admin:connectors_connection_website")
NEW = reverse("admin:connectors_connection_page", args=["website"])
FIRST = "export default (args) => `${args.inputs.plan} für ${args.traits.first_name}`;\n"
SECOND = "export default () => 2;\n"


def written(**changes: Any) -> dict[str, Any]:
    """Settings as they are typed."""
    told = {
        "name": "Add to cart",
        "description": "",
        "script": FIRST,
        "inputs": "plan: Which plan\ncount: How many [number] [optional]",
        "traits": "first_name\nseats [optional]",
    }
    return {**told, **changes}


@pytest.fixture
def admin(console: Console) -> Client:
    return console(Role.APP_ADMIN)


def typed(app: App, row: Connection | None = None, **changes: str) -> dict[str, str]:
    """What the page's form sends."""
    switch = {"connection-app": str(app.pk), "connection-seen": connections.stamp(row)}
    return {**written(), **switch, **changes}


def saved(admin: Client, app: App, row: Connection | None = None, *, active: bool = True, **changes: str) -> Connection:
    """Save it, switched on or off."""
    sent = {"connection-active": "on" if active else "", **changes}
    response = admin.post(page_of(row) if row else NEW, typed(app, row, **sent))
    assert response.status_code == 302, response.content.decode()
    return Connection.objects.get(app=app, name=changes.get("name", "Add to cart"))


def page_of(row: Connection) -> str:
    return reverse("admin:connectors_connection_one", args=[row.pk])


def stored(app: App, **changes: Any) -> Connection:
    made: Connection = factories.ConnectionFactory(
        app=app, connector="website", name="Add to cart", settings=written(**changes), secrets={}
    )
    return made


def play(row: Connection, traits: dict[str, Any], inputs: dict[str, Any]) -> runner.Outcome:
    declared = connector("website")
    work = Work(declared, declared.action("run", row.settings), row.everything(), traits, inputs, account=row)
    return runner.run(work, MemoryJournal())


def file_of(app: App, text: str) -> Any:
    return Client().get(reverse("script", args=[app.key, scripts.digest(text)]))


# --- what is handed over ----------------------------------------------------------------------------------------------------


def test_the_browser_is_told_the_inputs_and_the_allowed_traits_and_nothing_else(app: App, settings: Settings) -> None:
    settings.ENGAGE_BASE_URL = "https://engage.example.com"
    known = {"first_name": "Mia", "seats": 3, "email": "mia@example.com", "cleeng_customer_id": "640000001"}
    outcome = play(stored(app), known, {"plan": "gold", "count": "2"})
    digest = hashlib.sha256(FIRST.encode())

    assert outcome.result is Result.HANDED_OVER
    assert outcome.wants_report
    assert outcome.instruction == {
        "kind": "script",
        "url": f"https://engage.example.com/site-actions/{app.key}/{digest.hexdigest()}.js",
        "integrity": f"sha256-{b64encode(digest.digest()).decode()}",
        "args": {"inputs": {"plan": "gold", "count": 2}, "traits": {"first_name": "Mia", "seats": 3}},
    }


def test_what_is_optional_may_be_missing_and_what_is_not_skips(app: App) -> None:
    row = stored(app)
    without = play(row, {"first_name": "Mia"}, {"plan": "gold", "count": ""})

    assert without.instruction is not None
    assert without.instruction["args"] == {"inputs": {"plan": "gold"}, "traits": {"first_name": "Mia"}}
    assert play(row, {"seats": 3}, {"plan": "gold"}).result is Result.SKIPPED
    assert play(row, {"first_name": "Mia"}, {}).result is Result.SKIPPED


def test_only_inputs_that_are_marked_so_come_from_the_person() -> None:
    settings = written(inputs="plan: Plan\nnote: Note [from the person]")

    assert connector("website").action("run", settings).from_browser == {"note"}


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"script": "alert(1)"}, "script", "Nothing is exported"),
        ({"script": "<script>export default () => 1</script>"}, "script", "without &lt;script&gt;"),
        ({"script": "export default () => 1;" + " " * 100_000}, "script", "at most 100000 characters"),
        ({"script": "export default () => '\0';"}, "script", "Null characters"),
        ({"script": ""}, "script", "required"),
        ({"inputs": "Plan"}, "inputs", "Line 1: write an input as name: Label"),
        ({"traits": "seats\nFirst Name"}, "traits", "Line 2: write the name of one trait"),
        ({"traits": "seats [required]"}, "traits", "“[required]” means nothing"),
        ({"traits": "seats\nseats [optional]"}, "traits", "“seats” stands here twice"),
    ],
)
def test_what_cannot_be_run_is_refused_at_its_field(changes: dict[str, str], field: str, words: str) -> None:
    form = settings_form(None, connector("website"), written(**changes))

    assert list(form.errors) == [field]
    assert words in form.errors[field].as_text()


@pytest.mark.parametrize("text", ["export default () => 1", "const run = () => 1;\nexport { run as default };"])
def test_a_module_with_a_default_export_is_taken_with_one_kind_of_line_end(text: str) -> None:
    form = settings_form(None, connector("website"), written(script=text.replace("\n", "\r\n")))

    assert form.is_valid()
    assert form.new_settings["script"] == text


# --- the file ---------------------------------------------------------------------------------------------------------------


def test_a_published_script_is_served_as_it_was_written_for_ever_and_to_everybody(admin: Client, app: App) -> None:
    saved(admin, app)
    answer = file_of(app, FIRST)

    assert answer.status_code == 200
    assert answer.content == FIRST.encode()
    assert answer["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert answer["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert "Cookie" not in answer.get("Vary", "")
    assert not answer.cookies


def test_a_session_changes_nothing_of_it(admin: Client, app: App) -> None:
    saved(admin, app)
    answer = admin.get(reverse("script", args=[app.key, scripts.digest(FIRST)]))

    assert "Cookie" not in answer.get("Vary", "")
    assert not answer.cookies


def test_it_is_read_and_nothing_else(admin: Client, app: App) -> None:
    saved(admin, app)
    address = reverse("script", args=[app.key, scripts.digest(FIRST)])

    assert Client().head(address).status_code == 200
    assert Client().post(address).status_code == 405


def test_nothing_else_is_found_and_nothing_tells_why(admin: Client, app: App) -> None:
    saved(admin, app)
    other = factories.AppFactory()
    unknown = file_of(app, SECOND)
    elsewhere = file_of(other, FIRST)
    nowhere = Client().get(f"/site-actions/no-such-app/{scripts.digest(FIRST)}.js")

    for answer in (unknown, elsewhere, nowhere):
        assert answer.status_code == 404
        assert answer.content == unknown.content
        assert answer["Cache-Control"] == "no-store"
    for path in ("", f"{app.key}/", f"{app.key}/{'0' * 63}.js", f"{app.key}/{scripts.digest(FIRST)[:8]}.js"):
        assert Client().get(f"/site-actions/{path}").status_code == 404


def test_what_is_not_switched_on_is_not_public(admin: Client, app: App) -> None:
    row = saved(admin, app, active=False)
    assert not row.active
    row = saved(admin, app, row, active=False, script=SECOND)
    assert file_of(app, FIRST).status_code == file_of(app, SECOND).status_code == 404

    saved(admin, app, row, script=SECOND)
    assert file_of(app, SECOND).status_code == 200
    assert file_of(app, FIRST).status_code == 404  # it was never handed out


def test_a_replaced_version_stays_and_says_since_when(admin: Client, app: App) -> None:
    row = saved(admin, app)
    row = saved(admin, app, row, script=SECOND)

    assert file_of(app, FIRST).status_code == file_of(app, SECOND).status_code == 200
    first, second = Script.objects.order_by("pk")
    assert first.replaced_at is not None
    assert second.replaced_at is None
    assert second.published_by is not None

    saved(admin, app, row)  # back to the first
    assert [one.replaced_at is None for one in Script.objects.order_by("pk")] == [True, False]


def test_what_stands_otherwise_in_the_settings_is_no_new_version(admin: Client, app: App) -> None:
    row = saved(admin, app)
    saved(admin, app, row, description="Another sentence")

    assert Script.objects.count() == 1


# --- the pages --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.COMPANY_ADMIN, Role.APP_ADMIN])
def test_administrators_write_them_and_every_text_is_in_the_history(console: Console, app: App, role: Role) -> None:
    client = console(role)
    row = saved(client, app)
    saved(client, app, row, script=SECOND)
    created, changed = Entry.objects.filter(object_id=str(row.pk), verb__in=["created", "changed"]).order_by("id")

    assert created.changes["script"] == [None, FIRST]
    assert changed.changes == {"script": [FIRST, SECOND]}
    page = client.get(page_of(row)).content.decode()
    assert "export default () =&gt; 2;" in page
    assert "Handed out now" in page
    assert scripts.url(app, scripts.digest(SECOND)) in page


@pytest.mark.parametrize("role", [Role.APP_MEMBER, Role.READ_ONLY])
def test_nobody_else_does_or_sees_the_text(console: Console, app: App, role: Role) -> None:
    row = stored(app)
    client = console(role)
    page = client.get(page_of(row)).content.decode()

    assert "Add to cart" in page
    assert "args.inputs.plan" not in page.split("Example")[0]
    assert client.post(page_of(row), typed(app, row, script=SECOND)).status_code == 403
    assert client.post(NEW, typed(app, name="Another")).status_code == 403
    assert client.post(f"{page_of(row)}preview/", {}).status_code == 403
    row.refresh_from_db()
    assert row.settings["script"] == FIRST
    assert Connection.objects.count() == 1


def test_another_apps_are_nowhere(admin: Client, app: App) -> None:
    other = stored(factories.AppFactory())

    assert "Add to cart" not in admin.get(LIST).content.decode()
    assert admin.get(page_of(other)).status_code == 404
    assert admin.post(page_of(other), typed(app, other)).status_code == 404
    assert admin.post(f"{page_of(other)}preview/", {}).status_code == 404


def test_the_list_begins_with_a_first_step_for_who_may_take_it(console: Console, app: App) -> None:
    shown = {role: console(role).get(LIST).content.decode() for role in (Role.APP_ADMIN, Role.APP_MEMBER)}

    assert all("No website action yet" in page and "Redirect" in page for page in shown.values())
    assert f'href="{NEW}"' in shown[Role.APP_ADMIN]
    assert f'href="{NEW}"' not in shown[Role.APP_MEMBER]


def test_the_list_and_the_page_say_who_uses_it(admin: Client, app: App) -> None:
    row = saved(admin, app)
    prompt = PromptFactory(app=app, name="Stay with us")
    BindingFactory(prompt=prompt, connection=row, connector="website", action="run")

    assert "Used by 1 live prompt<" in admin.get(LIST).content.decode()
    assert "Stay with us" in admin.get(page_of(row)).content.decode()
    assert "Add to cart" not in admin.get(reverse("admin:connectors_connection_api")).content.decode()


def test_a_page_of_what_calls_nobody_offers_no_test(admin: Client, app: App) -> None:
    page = admin.get(page_of(saved(admin, app))).content.decode()

    assert "Test connection" not in page
    assert "Has a key leaked" not in page
    assert "Activity" not in page


def test_the_preview_shows_exactly_what_a_test_subscriber_would_get(
    admin: Client, app: App, settings: Settings
) -> None:
    settings.ENGAGE_BASE_URL = "https://engage.example.com"
    row = saved(admin, app, active=False)
    SubscriberFactory(app=app, user_id="test-7", is_test=True, traits={"first_name": "Mia", "email": "m@example.com"})
    SubscriberFactory(app=app, user_id="customer-1", traits={"first_name": "Ann"})
    SubscriberFactory(user_id="theirs", is_test=True)
    form = admin.get(page_of(row)).content.decode()
    page = admin.post(f"{page_of(row)}preview/", {"person": "test-7", "input-plan": "gold"}).content.decode()

    assert "test-7" in form
    assert "customer-1" not in form
    assert "theirs" not in form
    assert f"https://engage.example.com/site-actions/{app.key}/" in page
    assert "&quot;first_name&quot;: &quot;Mia&quot;" in page
    assert "m@example.com" not in page
    assert not Script.objects.exists()


def test_the_preview_says_what_is_missing(admin: Client, app: App) -> None:
    row = saved(admin, app)
    SubscriberFactory(app=app, user_id="test-7", is_test=True, traits={})
    page = admin.post(f"{page_of(row)}preview/", {"person": "test-7", "input-plan": "gold"}).content.decode()
    unknown = admin.post(f"{page_of(row)}preview/", {"person": "somebody", "input-plan": "gold"}).content.decode()

    assert "No first_name is known of this subscriber" in page
    assert "Select a valid choice" in unknown


def test_what_is_wrong_is_said_and_no_typing_is_lost(admin: Client, app: App) -> None:
    page = admin.post(NEW, typed(app, script="function mine() {}", traits="seats")).content.decode()

    assert "Nothing is exported" in page
    assert "function mine() {}" in page
    assert not Connection.objects.exists()
