"""Getting subscribers out: what the file holds, who may have it, and in how much memory it is made."""

import csv
import io
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from engage.audit.models import Entry
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from sync import exports
from sync.models import Subscriber, Trait
from tests import factories

pytestmark = pytest.mark.django_db
Console = Callable[[Role], Client]
EXPORT = reverse("admin:sync_trait_export")


@pytest.fixture
def people(app: App, other_app: App) -> None:
    """Three subscribers of the App, one of another."""
    for name in ("age", "email", "vip"):
        Trait.objects.create(app=app, name=name)
    factories.SubscriberFactory(app=app, user_id="1", traits={"email": "=HYPERLINK(1)", "age": -5, "vip": True})
    factories.SubscriberFactory(app=app, user_id="-2", traits={"email": "b@example.com"})
    factories.SubscriberFactory(app=app, user_id="3", traits={})
    factories.SubscriberFactory(app=other_app, user_id="theirs", traits={"email": "x"})


def table(answer: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(answer.getvalue().decode("utf-8-sig"))))


def test_everybody_of_this_app_is_exported_and_no_formula(console: Console, people: None) -> None:
    answer = console(Role.APP_ADMIN).post(EXPORT, {})
    assert "attachment" in answer.headers["Content-Disposition"]
    assert table(answer) == [
        ["user_id", "age", "email", "vip"],
        ["1", "-5", "'=HYPERLINK(1)", "true"],
        ["'-2", "", "b@example.com", ""],
        ["3", "", "", ""],
    ]
    entry = Entry.objects.get(verb="exported subscribers")
    assert entry.changes == {"traits": [None, ["age", "email", "vip"]]}


def test_an_export_is_filtered(console: Console, app: App, people: None) -> None:
    client = console(Role.APP_ADMIN)
    assert table(client.post(EXPORT, {"traits": ["vip"], "having": "email"})) == [
        ["user_id", "vip"],
        ["1", "true"],
        ["'-2", ""],
    ]
    App.objects.update(time_zone="America/Los_Angeles")
    Subscriber.objects.filter(user_id="1").update(updated_at=datetime(2026, 3, 2, 7, 59, tzinfo=UTC))
    Subscriber.objects.filter(user_id="-2").update(updated_at=datetime(2026, 3, 2, 8, 0, tzinfo=UTC))
    assert [row[0] for row in table(client.post(EXPORT, {"since": "2026-03-02"}))] == ["user_id", "'-2", "3"]
    assert "Select a valid choice" in client.post(EXPORT, {"traits": ["nonsense"]}).content.decode()


@pytest.mark.parametrize("role", [Role.APP_MEMBER, Role.READ_ONLY])
def test_only_administrators_export(console: Console, people: None, role: Role) -> None:
    assert console(role).get(EXPORT).status_code == 403
    assert console(role).post(EXPORT, {}).status_code == 403
    assert not Entry.objects.filter(verb="exported subscribers").exists()


def test_an_app_without_subscribers_says_so(console: Console, app: App) -> None:
    assert "There is no subscriber yet" in console(Role.APP_ADMIN).get(EXPORT).content.decode()


def test_an_export_is_made_in_constant_memory(app: App) -> None:
    Trait.objects.create(app=app, name="text")
    people = (Subscriber(app=app, user_id=f"u{number}", traits={"text": "x" * 500}) for number in range(30_000))
    Subscriber.objects.bulk_create(people, batch_size=1_000)
    tracemalloc.start()
    size = sum(len(line) for line in exports.lines(app, exports.Selection()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 15_000_000
    assert peak < 8_000_000
