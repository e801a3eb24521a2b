"""A prepared statement finds what the ORM finds, at every run anew."""

from typing import Any

import pytest
from django.db.models import BigAutoField, CharField

from engage.prepared import Given, Prepared
from engage.tenancy.models import ApiKey, App, KeyKind
from tests import factories

pytestmark = pytest.mark.django_db

KEYS = Prepared(
    lambda: App.objects.select_related("company").filter(pk=Given("app", BigAutoField())),
    lambda: ApiKey.objects.filter(app=Given("app", BigAutoField())).defer("hint").order_by("pk"),
)


def test_it_finds_what_the_orm_finds_related_rows_and_json_included(app: App, django_assert_num_queries: Any) -> None:
    app.domains = ["https://www.example.com"]
    app.save()
    keys = [ApiKey.make(app, KeyKind.SECRET)[0], ApiKey.make(app, KeyKind.PUBLISHABLE)[0]]
    with django_assert_num_queries(1):
        rows = KEYS(app=app.pk)
        assert rows[0][0].company.name == "Example Media"
    assert [row[0] for row in rows] == [app, app]
    assert sorted(row[1].pk for row in rows) == [key.pk for key in keys]
    read = App.objects.get(pk=app.pk)
    assert {field.attname: getattr(rows[0][0], field.attname) for field in App._meta.concrete_fields} == {
        field.attname: getattr(read, field.attname) for field in App._meta.concrete_fields
    }
    assert rows[0][1].get_deferred_fields() == {"hint"}
    rows[0][0].name = "Renamed"
    rows[0][0].save()  # it is a row of the database, not a new one
    assert KEYS(app=app.pk)[0][0].name == "Renamed"


def test_what_is_not_there_is_none(app: App, other_app: App) -> None:
    assert KEYS(app=0) == [(None, None)]
    ApiKey.make(other_app, KeyKind.SECRET)
    assert KEYS(app=app.pk) == [(app, None)]


def test_a_value_is_never_part_of_the_statement(app: App) -> None:
    named = Prepared(lambda: App.objects.filter(key=Given("key", CharField())))
    hostile = "a' OR '1'='1' -- %s \" \\"
    assert named(key=hostile) == [(None,)]
    odd = factories.AppFactory(key=hostile)
    assert named(key=hostile) == [(odd,)]
    with pytest.raises(KeyError):
        named(other="x")
