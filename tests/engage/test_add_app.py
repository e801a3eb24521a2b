"""One more App of a company."""

from collections.abc import Callable

import pytest
from django.test import Client

from engage.audit.models import Entry
from engage.tenancy.current import SESSION_KEY
from engage.tenancy.models import App, DeliveryMode
from engage.tenancy.roles import Role

Console = Callable[[Role], Client]
APP, ADD = "/console/tenancy/app/", "/console/tenancy/app/add/"
KIDS = {"name": "Streamly Kids", "key": "streamly-kids"}


def test_a_company_administrator_adds_an_app_and_is_taken_to_it(app: App, console: Console) -> None:
    App.objects.filter(pk=app.pk).update(time_zone="Europe/Vienna", delivery_mode=DeliveryMode.LIVE)
    client = console(Role.COMPANY_ADMIN)
    assert ADD in client.get(APP).content.decode()
    answer = client.post(ADD, KIDS, follow=True)
    made = App.objects.get(key="streamly-kids")
    assert (made.name, made.company) == ("Streamly Kids", app.company)
    assert (made.delivery_mode, made.time_zone, made.domains) == (DeliveryMode.TEST, "Europe/Vienna", [])
    assert client.session[SESSION_KEY] == made.pk
    assert "<strong>Streamly Kids</strong>" in answer.content.decode()
    entry = Entry.objects.get(kind="app")
    assert (entry.verb, entry.app, entry.company, entry.user is None) == ("created", made, app.company, False)


@pytest.mark.parametrize("role", [Role.APP_ADMIN, Role.APP_MEMBER, Role.READ_ONLY])
def test_others_neither_see_the_button_nor_add(app: App, console: Console, role: Role) -> None:
    client = console(role)
    assert ADD not in client.get(APP).content.decode()
    assert client.get(ADD).status_code == 403
    assert client.post(ADD, KIDS).status_code == 403
    assert App.objects.get() == app


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"name": "Streamly", "key": "fresh"}, "Your company has an App with this name already."),
        ({"name": "Fresh", "key": "taken"}, "This key is taken. Choose another one."),
        ({"name": "Fresh", "key": "not a key"}, "Enter a valid"),
        ({"name": "", "key": "fresh"}, "This field is required."),
    ],
)
def test_what_cannot_be_added_is_said_and_what_was_typed_is_kept(
    app: App, other_app: App, console: Console, form: dict[str, str], says: str
) -> None:
    App.objects.filter(pk=app.pk).update(name="Streamly")
    App.objects.filter(pk=other_app.pk).update(key="taken")
    before = App.objects.count()
    text = console(Role.COMPANY_ADMIN).post(ADD, form).content.decode()
    assert says in text
    assert f'value="{form["key"]}"' in text
    assert App.objects.count() == before


def test_two_companies_may_use_the_same_name(app: App, other_app: App, console: Console) -> None:
    App.objects.filter(pk=other_app.pk).update(name="Streamly Kids")
    assert other_app.company != app.company
    assert console(Role.COMPANY_ADMIN).post(ADD, KIDS).status_code == 302
    assert App.objects.get(key="streamly-kids").company == app.company
