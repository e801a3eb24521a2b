"""A form belongs to the App for which it was opened."""

import re

import pytest
from django.test import Client

from engage.tenancy.models import App, Membership
from engage.tenancy.roles import Role
from prompts.models import Prompt
from sync.models import Subscriber
from tests import factories
from tests.conftest import BACKEND

pytestmark = pytest.mark.django_db
PAGE = "/console/prompts/prompt/test-subscribers/"


def token_in(client: Client, path: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', client.get(path).content.decode())
    assert found
    return found[1]


@pytest.fixture
def browser(app: App, other_app: App) -> Client:
    """Somebody who designs prompts in two Apps, in a browser that checks CSRF; the first one is at hand."""
    user = factories.person(app, Role.APP_MEMBER)
    Membership.objects.create(user=user, company=other_app.company, app=other_app, role=Role.APP_MEMBER)
    client = Client(enforce_csrf_checks=True)
    client.force_login(user, backend=BACKEND)
    switch(client, app)
    return client


def switch(client: Client, app: App) -> None:
    path = "/console/switch-app/"
    answer = client.post(path, {"app": app.pk, "csrfmiddlewaretoken": token_in(client, "/console/")})
    assert answer.status_code == 302


def add(client: Client, token: str) -> int:
    return client.post(PAGE, {"user_id": "ann", "note": "", "csrfmiddlewaretoken": token}).status_code


def test_it_is_taken_while_its_app_is_at_hand(browser: Client, app: App) -> None:
    assert add(browser, token_in(browser, PAGE)) == 302
    assert Subscriber.objects.get().app == app


def test_it_is_refused_after_a_switch_in_another_tab_and_says_why(browser: Client, other_app: App) -> None:
    opened = token_in(browser, PAGE)
    switch(browser, other_app)
    answer = browser.post(PAGE, {"user_id": "ann", "csrfmiddlewaretoken": opened})
    assert answer.status_code == 403
    assert "opened for another App" in answer.content.decode()
    assert not Subscriber.objects.exists()
    assert not Prompt.objects.exists()


def test_it_is_refused_when_its_app_is_no_longer_the_persons(browser: Client, app: App) -> None:
    opened = token_in(browser, PAGE)
    Membership.objects.filter(app=app).delete()
    add(browser, opened)
    assert not Subscriber.objects.exists()
