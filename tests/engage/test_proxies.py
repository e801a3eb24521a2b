"""Whose address counts behind a proxy, and whose does not."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from engage.audit.models import Entry
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from tests import factories
from tests.conftest import BACKEND

pytestmark = pytest.mark.django_db

PROXY = "10.0.0.1"


def recorded(app: App, forwarded: str) -> str | None:
    """Return the address that the history keeps of a change."""
    client = Client(REMOTE_ADDR=PROXY, headers={"X-Forwarded-For": forwarded})
    client.force_login(factories.person(app, Role.APP_ADMIN), backend=BACKEND)
    client.post(reverse("admin:tenancy_app_changelist"), {"do": "mode", "mode": "nobody"})
    return Entry.objects.get(app=app, verb="changed the delivery mode").ip


@pytest.mark.parametrize(
    ("behind", "forwarded", "kept"),
    [
        (False, "203.0.113.7", PROXY),
        (True, "203.0.113.7", "203.0.113.7"),
        (True, "198.51.100.66, 203.0.113.7", "203.0.113.7"),  # the first one is what the visitor claims
        (True, "2001:db8::7", "2001:db8::7"),
        (True, "unknown", PROXY),
        (True, "203.0.113.7, ", PROXY),
        (True, "<script>", PROXY),
    ],
)
def test_the_history_keeps_the_address_that_the_proxy_saw(
    app: App, settings: Any, behind: bool, forwarded: str, kept: str
) -> None:
    settings.ENGAGE_BEHIND_PROXY = behind
    assert recorded(app, forwarded) == kept


def try_to_sign_in(email: str, forwarded: str) -> int:
    client = Client(REMOTE_ADDR=PROXY, headers={"X-Forwarded-For": forwarded})
    return client.post(reverse("admin:login"), {"username": email, "password": "wrong"}).status_code


def test_somebody_elses_failures_behind_the_same_proxy_lock_nobody_out(app: App, settings: Any) -> None:
    settings.ENGAGE_BEHIND_PROXY = True
    person = factories.person(app, Role.APP_ADMIN)
    assert [try_to_sign_in(person.email, "198.51.100.66") for _ in range(6)][-1] == 429
    assert try_to_sign_in(person.email, "203.0.113.7") == 200


@pytest.mark.parametrize("behind", [True, False])
def test_an_invented_address_gives_no_new_tries(app: App, settings: Any, behind: bool) -> None:
    settings.ENGAGE_BEHIND_PROXY = behind
    person = factories.person(app, Role.APP_ADMIN)
    seen = ", 203.0.113.7" if behind else ""
    assert [try_to_sign_in(person.email, f"198.51.100.{n}{seen}") for n in range(6)][-1] == 429


@pytest.mark.parametrize("behind", [True, False])
def test_an_invented_address_gives_no_new_requests(app: App, settings: Any, behind: bool) -> None:
    settings.ENGAGE_BEHIND_PROXY = behind
    settings.ENGAGE_API_RATE = "2/hour"
    seen = ", 203.0.113.7" if behind else ""
    answers = [
        Client(REMOTE_ADDR=PROXY).get("/api/v1/prompts", headers={"X-Forwarded-For": f"198.51.100.{n}{seen}"})
        for n in range(3)
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 429]
