"""Traits: what can be stored, who may write at once, how many have what an action needs."""

from threading import Barrier, Thread
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection

from connectors.base import NOTHING, all_of, one_of
from engage.tenancy.models import App
from sync.models import Subscriber, Trait, TraitType
from sync.traits import TraitError, coverage, known, mask_personal, set_traits, subscriber, traits_of
from tests.factories import SubscriberFactory

pytestmark = pytest.mark.django_db


def test_traits_are_merged_and_a_null_or_an_empty_text_removes_one(app: App) -> None:
    set_traits(app, "user-1", {"email": "a@example.com", "age": 41, "vip": True}, origin="API")
    row = set_traits(app, "user-1", {"age": None, "vip": False, "email": ""}, origin="API")
    assert traits_of(row) == {"vip": False}
    assert Subscriber.objects.get(app=app, user_id="user-1").traits == {"vip": False}


def test_what_is_already_so_is_not_written(app: App) -> None:
    before = set_traits(app, "user-1", {"plan": "gold", "age": 1}, origin="API").updated_at
    assert set_traits(app, "user-1", {"plan": "gold"}, origin="API").updated_at == before
    assert set_traits(app, "user-1", {"age": True}, origin="API").traits["age"] is True


def test_a_new_trait_waits_to_be_confirmed_with_the_type_that_its_value_shows(app: App) -> None:
    set_traits(app, "user-1", {"plan": "gold", "age": 41, "vip": True}, origin="API")
    assert [(row.name, row.type, row.confirmed, row.personal, row.origin) for row in known(app)] == [
        ("age", TraitType.NUMBER, False, True, "API"),
        ("plan", TraitType.TEXT, False, True, "API"),
        ("vip", TraitType.BOOLEAN, False, True, "API"),
    ]


@pytest.mark.parametrize(
    ("traits", "said"),
    [
        ({"Customer ID": "1"}, "lower-case"),
        ({"": "1"}, "lower-case"),
        ({"a" * 81: "1"}, "1 to 80"),
        ({"tags": ["a"]}, "not a list"),
        ({"address": {"city": "Paris"}}, "not a list or an object"),
        ({"bio": "x" * 2001}, "2,001"),
        ({"bio": "a\x00b"}, "cannot be stored"),
        ({"bio": "\ud800"}, "cannot be stored"),
        ({"n": float("nan")}, "too large"),
        ({"n": 10**20}, "too large"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_name_and_nothing_is_written(
    app: App, traits: dict[str, Any], said: str
) -> None:
    with pytest.raises(TraitError, match=said) as error:
        set_traits(app, "user-1", {"good": "yes", **traits}, origin="API")
    assert set(error.value.errors) == set(traits)
    assert not Subscriber.objects.exists()


@pytest.mark.parametrize("user_id", ["", " ", " 7", "7\n", "x" * 201, "a\x00b"])
def test_an_id_that_cannot_be_one_is_refused(app: App, user_id: str) -> None:
    with pytest.raises(TraitError):
        subscriber(app, user_id)


def test_the_same_id_in_two_apps_is_two_people(app: App, other_app: App) -> None:
    set_traits(app, "user-1", {"plan": "gold"}, origin="API")
    assert traits_of(subscriber(other_app, "user-1")) == {}
    assert traits_of(subscriber(app, "user-1")) == {"plan": "gold"}


def test_coverage_counts_who_has_one_of_every_group(app: App, other_app: App) -> None:
    SubscriberFactory(app=app, traits={"cleeng_customer_id": "1", "email": "a@example.com"})
    SubscriberFactory(app=app, traits={"cleeng_subscription_id": "2"})
    SubscriberFactory(app=app, traits={"email": "b@example.com"})
    SubscriberFactory(app=other_app, traits={"cleeng_customer_id": "3"})
    either = one_of("cleeng_subscription_id", "cleeng_customer_id")
    assert coverage(app, either) == (2, 3)
    assert coverage(app, either & all_of("email")) == (1, 3)
    assert coverage(app, NOTHING) == (3, 3)


def test_coverage_is_at_most_a_minute_old(app: App) -> None:
    assert coverage(app, one_of("email")) == (0, 0)
    SubscriberFactory(app=app, traits={"email": "b@example.com"})
    assert coverage(app, one_of("email")) == (0, 0)
    cache.clear()
    assert coverage(app, one_of("email")) == (1, 1)


def test_personal_and_unknown_traits_are_masked(app: App) -> None:
    Trait.objects.create(app=app, name="plan", personal=False)
    Trait.objects.create(app=app, name="email", personal=True)
    masked = mask_personal(app, {"plan": "gold", "email": "a@example.com", "other": "x"})
    assert masked["plan"] == "gold"
    assert "a@example.com" not in str(masked)
    assert masked["other"] != "x"


@pytest.mark.django_db(transaction=True)
def test_writers_of_one_person_at_once_do_not_lose_each_others_traits(app: App) -> None:
    together, errors = Barrier(6), []

    def write(number: int) -> None:
        together.wait()
        try:
            for turn in range(5):
                set_traits(app, "user-1", {f"trait_{number}_{turn}": turn}, origin="API")
        except Exception as error:  # noqa: BLE001 - reported by the test
            errors.append(error)
        finally:
            connection.close()

    writers = [Thread(target=write, args=(number,)) for number in range(6)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    assert errors == []
    assert len(Subscriber.objects.get(user_id="user-1").traits) == 30
