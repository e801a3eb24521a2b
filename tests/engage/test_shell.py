"""The console's shell: header, sidebar, banner, dashboard, switching Apps."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils.html import escape

from engage import navigation
from engage.tenancy.models import App, DeliveryMode, User
from engage.tenancy.roles import Role
from tests import factories

Console = Callable[[Role], Client]
SignedIn = Callable[[User], Client]


def page(client: Client, path: str = "/console/") -> str:
    answer = client.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return answer.content.decode()


def test_the_header_names_the_app_the_role_and_the_delivery_mode(console: Console) -> None:
    text = page(console(Role.APP_MEMBER))
    assert "Streamly" in text
    assert "Test subscribers only · App member" in text


@pytest.mark.parametrize(
    ("mode", "testers", "sentence"),
    [
        (DeliveryMode.TEST, 2, "Test mode: only 2 test subscribers are served. The rest is recorded, not sent."),
        (DeliveryMode.TEST, 1, "Test mode: only 1 test subscriber is served. The rest is recorded, not sent."),
        (DeliveryMode.TEST, 0, "Test mode: nobody is served, since there is no test subscriber."),
        (DeliveryMode.NOBODY, 2, "Nobody: no subscriber is served. What happens is recorded, not sent."),
    ],
)
def test_a_banner_says_whose_answers_are_carried_out(
    app: App, console: Console, mode: str, testers: int, sentence: str
) -> None:
    app.delivery_mode = mode
    app.save()
    factories.SubscriberFactory.create_batch(testers, app=app, is_test=True)
    factories.SubscriberFactory(app=app, is_test=True, test_until="2020-01-01T00:00Z")
    factories.SubscriberFactory(is_test=True)
    assert sentence in page(console(Role.READ_ONLY))


def test_a_live_app_has_no_banner(app: App, console: Console) -> None:
    app.delivery_mode = DeliveryMode.LIVE
    app.save()
    assert "eg-banner" not in page(console(Role.APP_ADMIN))


@pytest.mark.parametrize(
    ("role", "shown"),
    [(Role.COMPANY_ADMIN, True), (Role.APP_ADMIN, True), (Role.APP_MEMBER, False), (Role.READ_ONLY, False)],
)
def test_the_sidebar_shows_what_the_role_may_see(console: Console, role: Role, shown: bool) -> None:
    text = page(console(role))
    for path in ("/console/tenancy/apikey/", "/console/tenancy/membership/", "/console/audit/entry/"):
        assert (f'href="{path}"' in text) is shown, path
    assert 'href="/console/tenancy/app/"' in text


def test_somebody_with_several_apps_switches_by_post(app: App, other_app: App, signed_in: SignedIn) -> None:
    user = factories.person(app, Role.APP_ADMIN)
    factories.MembershipFactory(user=user, app=other_app, role=Role.READ_ONLY)
    client = signed_in(user)
    first = page(client)
    assert "Switch to another App" in first
    at_hand, other = (app, other_app) if "· App administrator" in first else (other_app, app)
    assert client.get("/console/switch-app/", {"app": other.pk}).status_code == 405
    assert client.post("/console/switch-app/", {"app": other.pk}).status_code == 302
    role = {app.pk: "App administrator", other_app.pk: "Read only"}
    assert f"· {role[other.pk]}" in page(client)
    assert at_hand != other


@pytest.mark.parametrize("chosen", ["other", "nonsense", "", "-1"])
def test_nobody_switches_to_an_app_of_others(other_app: App, console: Console, chosen: str) -> None:
    client = console(Role.COMPANY_ADMIN)
    answer = client.post("/console/switch-app/", {"app": other_app.pk if chosen == "other" else chosen})
    assert answer.status_code == 404
    assert "Streamly" in page(client)


def test_switching_needs_the_csrf_token(app: App) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(factories.person(app, Role.APP_ADMIN), backend="django.contrib.auth.backends.ModelBackend")
    assert client.post("/console/switch-app/", {"app": app.pk}).status_code == 403


def test_somebody_without_an_app_is_told_whom_to_ask_and_can_sign_out(db: None, signed_in: SignedIn) -> None:
    user = factories.UserFactory(email="new@example.com")
    client = signed_in(user)
    answer = client.get("/console/", follow=True)
    assert answer.status_code == 403
    assert "Ask an administrator for an invitation" in answer.content.decode()
    assert client.post("/console/logout/").status_code == 200
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("/console/", "Dashboard"),
        ("/console/prompts/prompt/", "Prompts"),
        ("/console/prompts/prompt/test-subscribers/", "Test subscribers"),
        ("/console/tenancy/app/add/", "App &amp; delivery mode"),
        ("/console/password_change/", None),
    ],
)
def test_the_sidebar_marks_the_one_page_that_one_is_on(rf: Any, path: str, title: str | None) -> None:
    request = rf.get(path)
    request.engage_role = Role.COMPANY_ADMIN
    marked = [item["title"] for group in navigation.sidebar(request) for item in group["items"] if item["active"]]
    assert [escape(each) for each in marked] == ([title] if title else [])


@pytest.mark.parametrize(
    ("path", "first"), [("/console/prompts/execution/", "Live"), ("/console/connectors/connection/", "Actions")]
)
def test_a_pages_heading_is_what_the_sidebar_calls_it(console: Console, path: str, first: str) -> None:
    text = page(console(Role.COMPANY_ADMIN), path)
    parts = re.findall(r'class="align-middle inline-block leading-5 min-w-0 truncate tracking-tight">([^<]*)<', text)
    assert parts == [first]


@pytest.mark.parametrize(
    ("path", "says"),
    [("sync/trait/", "Nothing is known yet"), ("sync/importrun/", "No file was imported yet")],
)
def test_an_empty_list_says_what_it_is_for_and_an_empty_search_how_to_clear_it(
    console: Callable[[Role], Client], path: str, says: str
) -> None:
    client = console(Role.APP_ADMIN)
    assert says in client.get(f"/console/{path}").content.decode()
    searched = client.get(f"/console/{path}?q=nothing").content.decode()
    assert says not in searched
    assert "Clear filters" in searched


def test_what_is_not_there_is_said_in_a_page(console: Callable[[Role], Client]) -> None:
    answer = console(Role.APP_ADMIN).get("/console/connectors/connection/nothing/")
    assert (answer.status_code, "Nothing is here" in answer.content.decode()) == (404, True)
