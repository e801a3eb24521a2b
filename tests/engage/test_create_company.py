"""`manage.py create_company`."""

import re

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from engage.audit.models import Entry
from engage.tenancy.models import App, Company, DeliveryMode, Membership, User
from engage.tenancy.roles import Role
from tests import factories

WORDS = {"company": "Example Media", "app": "Streamly TV", "email": "Ada@Example.com"}


def test_the_administrator_sets_a_password_through_the_link_once_and_signs_in(
    db: None, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("create_company", **WORDS)
    out = capsys.readouterr().out
    found = re.search(r"^http://testserver(/console/account/password/\S+)$", out, re.MULTILINE)
    assert found is not None
    membership = Membership.objects.get()
    assert (membership.user.email, membership.role, membership.app) == ("ada@example.com", Role.COMPANY_ADMIN, None)
    assert App.objects.get().key == "streamly-tv"
    assert App.objects.get().delivery_mode == DeliveryMode.TEST

    client = Client()
    form = client.get(found[1])
    page = client.post(
        form["Location"], {"new_password1": "a long enough phrase", "new_password2": "a long enough phrase"}
    )
    assert page.status_code == 302
    signed_in = client.post("/console/login/", {"username": "ADA@example.com", "password": "a long enough phrase"})
    assert (signed_in.status_code, signed_in["Location"]) == (302, "/console/")
    assert client.get("/console/").status_code == 200
    assert "does not work any more" in Client().get(found[1]).content.decode()


def test_it_is_in_the_history(db: None) -> None:
    call_command("create_company", **WORDS)
    assert set(Entry.objects.values_list("verb", "kind", "actor")) == {
        ("created", "app", "manage.py create_company"),
        ("created", "membership", "manage.py create_company"),
    }


@pytest.mark.parametrize(
    ("taken", "sentence"),
    [
        ("company", "There is a company “Example Media” already."),
        ("app", "There is an App with the key “streamly-tv” already."),
        ("email", "There is an account of ada@example.com already."),
    ],
)
def test_what_is_there_already_is_refused_and_nothing_is_made(db: None, taken: str, sentence: str) -> None:
    if taken == "company":
        factories.CompanyFactory(name="Example Media")
    elif taken == "app":
        factories.AppFactory(key="streamly-tv")
    else:
        factories.UserFactory(email="ada@example.com")
    before = Company.objects.count(), App.objects.count(), User.objects.count()
    with pytest.raises(CommandError, match=sentence):
        call_command("create_company", **WORDS)
    assert (Company.objects.count(), App.objects.count(), User.objects.count()) == before


@pytest.mark.parametrize(
    "wrong", [{"email": "not an address"}, {"app": "!!!"}, {"company": ""}, {"app_key": "has space"}]
)
def test_what_is_not_valid_is_refused_and_nothing_is_made(db: None, wrong: dict[str, str]) -> None:
    with pytest.raises(CommandError):
        call_command("create_company", **{**WORDS, **wrong})
    assert not Company.objects.exists()
    assert not User.objects.exists()
