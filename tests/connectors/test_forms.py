from typing import Any

import pytest
from django import forms

from connectors.base import (
    Action,
    CatalogueField,
    Category,
    Connector,
    Replay,
    SecretField,
    SigningSecretField,
    identity,
)
from connectors.forms import inputs_form, settings_form
from connectors.models import CatalogueEntry, Connection
from engage.tenancy.models import App
from engage.vault.fields import Unreadable
from tests.factories import ConnectionFactory


class Switch(Action):
    key, label = "switch", "Switch"
    replay, replay_proof = Replay.NATURAL, "A test."

    class Inputs(forms.Form):
        offer = CatalogueField(catalogue="offers", label="Offer")
        note = forms.CharField(label="Note", required=False)


class Vendor(Connector):
    key, label, category = "vendor", "Vendor", Category.BILLING

    class Settings(forms.Form):
        account = identity(forms.CharField(label="Account"))
        region = forms.CharField(label="Region", required=False)
        api_key = SecretField(label="API key", usual_length=8)
        extra = SecretField(label="Extra secret", required=False)


@pytest.fixture
def stored(app: App) -> Connection:
    return ConnectionFactory(
        app=app,
        connector="vendor",
        settings={"account": "a", "region": "eu"},
        secrets={"api_key": "12345678", "extra": "x"},
    )


def typed(**changes: str) -> dict[str, Any]:
    return {"account": "a", "region": "eu", "api_key": "", "extra": "", **changes}


def test_a_new_connection_needs_its_secrets() -> None:
    form = settings_form(None, Vendor(), typed())

    assert not form.is_valid()
    assert list(form.errors) == ["api_key"]


def test_a_blank_secret_keeps_the_stored_one(stored: Connection) -> None:
    form = settings_form(stored, Vendor(), typed(region="us"))

    assert form.is_valid()
    assert form.secrets_in_force() == {"api_key": "12345678", "extra": "x"}
    assert form.new_settings == {"account": "a", "region": "us"}
    assert not form.is_as_stored


def test_a_typed_secret_replaces_only_itself_and_is_trimmed(stored: Connection) -> None:
    form = settings_form(stored, Vendor(), typed(api_key="  abcdefgh "))

    assert form.is_valid()
    assert form.secrets_in_force() == {"api_key": "abcdefgh", "extra": "x"}


def test_what_is_typed_again_as_it_was_is_as_stored(stored: Connection) -> None:
    form = settings_form(stored, Vendor(), typed())

    assert form.is_valid()
    assert form.is_as_stored


def test_a_stored_secret_never_goes_to_another_account(stored: Connection) -> None:
    form = settings_form(stored, Vendor(), typed(account="b"))

    assert not form.is_valid()
    assert "Account has changed" in form.errors["api_key"][0]
    again = settings_form(stored, Vendor(), typed(account="b", api_key="87654321"))
    assert again.is_valid()
    assert again.secrets_in_force() == {"api_key": "87654321"}, "an optional secret of the old account is dropped too"


class OneKey(Connector):
    key, label, category = "one_key", "One key", Category.BILLING

    class Settings(forms.Form):
        region = forms.CharField(label="Region")
        api_key = SecretField(label="API key", names_account=True)
        other_key = SecretField(label="Other key")
        webhook_secret = SigningSecretField()


KEPT = {"api_key": "the-first-account", "other_key": "other", "webhook_secret": "signing"}


@pytest.mark.parametrize(
    ("changes", "another"),
    [
        ({}, False),
        ({"api_key": "the-first-account"}, False),
        ({"api_key": "the-other-account"}, True),
        ({"other_key": "another", "webhook_secret": "another", "region": "us"}, False),
    ],
)
def test_another_key_is_another_account_where_it_names_it(app: App, changes: dict[str, str], *, another: bool) -> None:
    row = ConnectionFactory(app=app, connector="one_key", settings={"region": "eu"}, secrets=KEPT)
    form = settings_form(row, OneKey(), {"region": "eu", **changes})

    assert form.is_valid(), "no other secret is asked for"
    assert form.another_account is another
    kept = {name: changes.get(name, value) for name, value in KEPT.items()}
    assert form.secrets_in_force() == kept


def test_a_key_that_cannot_be_compared_is_another_accounts(app: App) -> None:
    row = ConnectionFactory(app=app, connector="one_key", settings={"region": "eu"}, secrets=KEPT)
    row.generation += 1  # so that what is sealed is another row's
    same = settings_form(row, OneKey(), {"region": "eu", "api_key": KEPT["api_key"]})
    all_of_them = settings_form(row, OneKey(), {"region": "eu", **KEPT})

    assert same.is_valid()
    assert same.another_account
    with pytest.raises(Unreadable):
        same.secrets_in_force()
    assert all_of_them.is_valid()
    assert all_of_them.secrets_in_force() == KEPT


def test_a_new_connection_is_no_other_account() -> None:
    form = settings_form(None, OneKey(), {"region": "eu", **KEPT})

    assert form.is_valid()
    assert not form.another_account


def test_a_stored_or_typed_secret_is_never_rendered(stored: Connection) -> None:
    form = settings_form(stored, Vendor(), typed(account="", api_key="TYPED-SECRET"))

    page = "".join(str(row.rendered) for row in form.rows())
    assert not form.is_valid()
    assert "TYPED-SECRET" not in page
    assert "12345678" not in page
    assert 'value="eu"' in page, "other typing stays"


def test_a_secrets_field_is_left_alone_by_browsers_and_password_managers(stored: Connection) -> None:
    page = str(settings_form(stored, Vendor())["api_key"])

    assert 'type="text"' in page
    assert 'autocomplete="off"' in page
    assert "data-1p-ignore" in page


def test_the_stored_length_is_known_to_the_page(stored: Connection) -> None:
    assert [row.stored_length for row in settings_form(stored, Vendor()).rows()] == [0, 0, 8, 1]


def test_an_unusual_length_is_accepted_with_a_warning(stored: Connection) -> None:
    form = settings_form(stored, Vendor(), typed(api_key="1234"))

    assert form.is_valid()
    assert form.warnings == ["API key has 4 characters; 8 are usual. Is it complete?"]


def test_an_actions_dropdown_holds_the_synced_rows(stored: Connection) -> None:
    CatalogueEntry.objects.create(connection=stored, catalogue="offers", key="S1", label="Basic")

    form = inputs_form(Switch(), stored, {"b-offer": "S2", "b-note": ""}, prefix="b")
    assert not form.is_valid()
    assert inputs_form(Switch(), stored, {"offer": "S1"}).is_valid()
    assert ">Basic</option>" in str(inputs_form(Switch, stored)["offer"])


def test_a_saved_choice_that_has_vanished_can_be_kept(stored: Connection) -> None:
    entry = CatalogueEntry.objects.create(connection=stored, catalogue="offers", key="S1", label="Premium")
    CatalogueEntry.objects.filter(pk=entry.pk).update(vanished_at=stored.created_at)

    form = inputs_form(Switch(), stored, {"offer": "S1"}, initial={"offer": "S1"})
    assert form.is_valid()
    assert "Premium (no longer at the vendor)" in str(form["offer"])
    assert not inputs_form(Switch(), stored, {"offer": "S1"}).is_valid()


def test_without_a_connection_a_dropdown_is_empty() -> None:
    assert str(inputs_form(Switch(), None)["offer"]).count("<option") == 1


class AddCoupon(Action):
    key, label = "add_coupon", "Add coupon"
    replay, replay_proof = Replay.NATURAL, "A test."

    class Inputs(forms.Form):
        family = CatalogueField("families", label="Product family", required=False)
        coupon = CatalogueField("coupons", within="family", label="Coupon")


def families(connection: Connection) -> None:
    for catalogue, key, data in (
        ("families", "tv", {}),
        ("families", "radio", {}),
        ("coupons", "TV10", {"within": ["tv"]}),
        ("coupons", "BOTH", {"within": ["tv", "radio"]}),
        ("coupons", "ANY", {}),
    ):
        CatalogueEntry.objects.create(connection=connection, catalogue=catalogue, key=key, label=key, data=data)


@pytest.mark.parametrize(
    ("family", "coupon", "fits"),
    [
        ("tv", "TV10", True),
        ("radio", "TV10", False),
        ("radio", "BOTH", True),
        ("radio", "ANY", True),
        ("", "TV10", True),
    ],
)
def test_a_choice_fits_what_it_belongs_to(stored: Connection, family: str, coupon: str, *, fits: bool) -> None:
    families(stored)
    form = inputs_form(AddCoupon, stored, {"family": family, "coupon": coupon})
    assert form.is_valid() is fits
    if not fits:
        assert form.errors == {"coupon": ["This does not belong to what is chosen in “Product family”."]}


def test_the_options_say_what_they_belong_to(stored: Connection) -> None:
    families(stored)
    html = str(inputs_form(AddCoupon, stored, prefix="input")["coupon"])
    assert 'data-eg-within="id_input-family"' in html
    assert '<option value="TV10" data-eg-belongs="[&quot;tv&quot;]">' in html
    assert '<option value="ANY">' in html


def test_another_connections_rows_decide_nothing(stored: Connection) -> None:
    families(ConnectionFactory(connector="vendor"))
    CatalogueEntry.objects.create(connection=stored, catalogue="coupons", key="TV10", label="TV10")
    CatalogueEntry.objects.create(connection=stored, catalogue="families", key="radio", label="radio")
    assert inputs_form(AddCoupon, stored, {"family": "radio", "coupon": "TV10"}).is_valid()
