"""The audit log: who sees what, search and filters, the export."""

import csv
from collections.abc import Callable

import pytest
from django.test import Client

from engage.audit.admin import safe_cell
from engage.audit.models import Entry
from engage.audit.record import record
from engage.tenancy.models import App, Membership
from engage.tenancy.roles import Role
from tests import factories

Console = Callable[[Role], Client]
LOG = "/console/audit/entry/"


@pytest.fixture
def _history(app: App, other_app: App) -> None:
    record(
        "renamed",
        factories.ConnectionFactory(app=app),
        {"name": ["Old", "New"]},
        actor="ada@example.com",
        label="Cleeng live",
    )
    record("created", factories.PromptFactory(app=app), actor="bob@example.com", label="=HYPERLINK(1)")
    record("renamed", factories.ConnectionFactory(app=other_app), actor="stranger@example.com")
    boss = factories.person(app, Role.COMPANY_ADMIN)
    record("promoted", Membership.objects.get(user=boss), actor="company@example.com")


def exported(client: Client, query: str = "") -> list[dict[str, str]]:
    answer = client.post(f"{LOG}export/{query}")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.usefixtures("_history")
@pytest.mark.parametrize(("role", "sees_company"), [(Role.COMPANY_ADMIN, True), (Role.APP_ADMIN, False)])
def test_administrators_see_their_app_and_company_administrators_the_company(
    console: Console, role: Role, sees_company: bool
) -> None:
    text = console(role).get(LOG).content.decode()
    assert "ada@example.com" in text
    assert "Old → New" in " ".join(text.split())
    assert "stranger@example.com" not in text
    assert ("company@example.com" in text) is sees_company


@pytest.mark.usefixtures("_history")
@pytest.mark.parametrize("role", [Role.APP_MEMBER, Role.READ_ONLY])
def test_others_see_no_log_and_take_none_out(console: Console, role: Role) -> None:
    client = console(role)
    assert client.get(LOG).status_code == 403
    assert client.post(f"{LOG}export/").status_code == 403
    assert not Entry.objects.filter(verb="exported the audit log").exists()


@pytest.mark.usefixtures("_history")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?q=bob", ["bob@example.com"]),
        ("?actor=ada@example.com", ["ada@example.com"]),
        ("?verb=renamed", ["ada@example.com"]),
        ("?kind=prompt", ["bob@example.com"]),
        ("?at__gte=2999-01-01+00:00:00%2B00:00", []),
        ("?at__year=1999", []),
    ],
)
def test_search_and_filters_narrow_the_list_and_the_export(console: Console, query: str, found: list[str]) -> None:
    client = console(Role.APP_ADMIN)
    page = client.get(LOG + query)
    assert [entry.actor for entry in page.context["cl"].result_list] == found
    assert [row["actor"] for row in exported(client, query)] == found


@pytest.mark.usefixtures("_history")
def test_the_export_holds_what_the_person_may_see_runs_no_formula_and_is_recorded(console: Console) -> None:
    client = console(Role.APP_ADMIN)
    rows = exported(client)
    assert {"ada@example.com", "bob@example.com"} <= {row["actor"] for row in rows}
    assert "stranger@example.com" not in {row["actor"] for row in rows}
    assert next(row["label"] for row in rows if row["actor"] == "bob@example.com") == "'=HYPERLINK(1)"
    assert Entry.objects.filter(verb="exported the audit log", kind="app").count() == 1
    assert client.get(f"{LOG}export/").status_code == 405


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", "\r=1", "  =1", "\n=1"])
def test_a_cell_that_a_spreadsheet_would_run_gets_an_apostrophe(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "plain", "a=b", "2026-01-01"])
def test_other_cells_stay(text: str) -> None:
    assert safe_cell(text) == text


@pytest.mark.usefixtures("_history")
def test_an_entry_is_neither_added_nor_changed_nor_deleted(console: Console) -> None:
    client = console(Role.COMPANY_ADMIN)
    entry = Entry.objects.filter(actor="ada@example.com").get()
    for path in (f"{LOG}add/", f"{LOG}{entry.pk}/change/", f"{LOG}{entry.pk}/delete/"):
        assert client.post(path, {"post": "yes", "actor": "nobody"}).status_code == 403, path
    entry.refresh_from_db()
    assert entry.actor == "ada@example.com"


def test_the_history_of_one_thing_is_shown_on_its_page(app: App, console: Console) -> None:
    prompt, other = factories.PromptFactory(app=app), factories.PromptFactory(app=app)
    record("paused", prompt, {"status": ["live", "paused"]}, actor="ada@example.com")
    record("renamed", other, actor="bob@example.com")
    text = console(Role.READ_ONLY).get(f"/console/prompts/prompt/{prompt.pk}/history/").content.decode()
    assert "live → paused" in " ".join(text.split())
    assert "bob@example.com" not in text


def test_a_switch_is_told_as_yes_or_no(app: App, console: Console) -> None:
    record("switched off", factories.ConnectionFactory(app=app), {"active": [True, False]}, actor="ada@example.com")
    assert "yes → no" in " ".join(console(Role.APP_ADMIN).get(LOG).content.decode().split())
