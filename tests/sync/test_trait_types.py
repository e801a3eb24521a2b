"""Types of traits: found from the data, confirmed by a person, and then stored values are read again."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from kombu import Producer

from engage.audit.models import Entry
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from sync import retyping, tasks, traits
from sync.imports import import_source
from sync.models import Source, Subscriber, Trait, TraitColumn, TraitType
from tests import factories
from tests.sync.conftest import TestBucket

pytestmark = pytest.mark.django_db
Console = Callable[[Role], Client]
TRAITS = reverse("admin:sync_trait_changelist")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], ""),
        (["1", "-2.50", "0"], TraitType.NUMBER),
        (["01234", "99999"], TraitType.TEXT),
        (["12345678901234567890"], TraitType.TEXT),
        (["1e5"], TraitType.TEXT),
        (["nan"], TraitType.TEXT),
        (["Yes", "no", "TRUE"], TraitType.BOOLEAN),
        (["0", "1"], TraitType.NUMBER),
        (["2026-01-31", "2026-01-31T10:00:00Z"], TraitType.DATE),
        (["20260131"], TraitType.NUMBER),
        (["2026-02-30"], TraitType.TEXT),
        (["1", "x"], TraitType.TEXT),
    ],
)
def test_texts_show_a_type_only_when_all_of_them_do(values: list[str], found: str) -> None:
    assert traits.type_of_texts(values) == found


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the broker hears."""
    heard: list[str] = []
    monkeypatch.setattr(Producer, "publish", lambda *_, headers, **__: heard.append(headers["task"]))
    return heard


def test_a_new_column_waits_as_text_and_is_read_again_once_confirmed(
    console: Console,
    app: App,
    source: Source,
    bucket: TestBucket,
    rung: list[str],
    django_capture_on_commit_callbacks: Any,
) -> None:
    bucket.put("cleeng/a.csv", "user_id,Age,Joined\n1,44,2026-01-02\n2,7,2026-01-03\n3,,\n")
    import_source(source, started_by="test")
    age = Trait.objects.get(app=app, name="age")
    assert (age.confirmed, age.type, age.found_type) == (False, "text", "number")
    assert Subscriber.objects.get(user_id="1").traits["age"] == "44"  # usable meanwhile, as text
    client = console(Role.APP_ADMIN)
    assert "Text, looks like number" in client.get(TRAITS, {"show": "pending"}).content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        client.post(TRAITS, {"action": "confirm", "_selected_action": [age.pk]})
    assert rung == ["sync.retype_traits"]
    age.refresh_from_db()
    assert (age.confirmed, age.type) == (True, "number")
    assert Entry.objects.get(kind="trait").changes == {"type": ["text", "number"], "confirmed": [False, True]}
    retyping.work()
    assert list(Subscriber.objects.order_by("user_id").values_list("traits__age", flat=True)) == [44, 7, None]
    bucket.put("cleeng/b.csv", "user_id,Age,Joined\n1,45,2026-01-02\n")
    import_source(source, started_by="test")
    assert Subscriber.objects.get(user_id="1").traits["age"] == 45
    column = TraitColumn.objects.get(trait=age)
    assert (column.source, column.column) == (source, "Age")


def test_what_does_not_fit_stays_and_is_counted(app: App, other_app: App) -> None:
    trait = Trait.objects.create(app=app, name="n", type=TraitType.NUMBER)
    for user_id, value in (("a", "12.5"), ("b", "twelve"), ("c", 3), ("d", True)):
        factories.SubscriberFactory(app=app, user_id=user_id, traits={"n": value, "other": "1"})
    theirs = factories.SubscriberFactory(app=other_app, traits={"n": "5"})
    retyping.ask(trait)
    retyping.work()
    assert dict(Subscriber.objects.filter(app=app).values_list("user_id", "traits__n")) == {
        "a": 12.5,
        "b": "twelve",
        "c": 3,
        "d": True,
    }
    assert {row["other"] for row in Subscriber.objects.filter(app=app).values_list("traits", flat=True)} == {"1"}
    theirs.refresh_from_db()
    assert theirs.traits == {"n": "5"}
    trait.refresh_from_db()
    assert trait.misfits == 2


@pytest.mark.parametrize(
    ("value", "type_", "becomes"),
    [
        (7, "text", "7"),
        (7.0, "text", "7"),
        (2.5, "text", "2.5"),
        (True, "text", "true"),
        ("yes", "boolean", True),
        (1, "boolean", True),
        ("2026-01-02", "date", "2026-01-02"),
        ("2026-01-02T03:04:05+01:00", "date", "2026-01-02T02:04:05Z"),
    ],
)
def test_a_stored_value_is_read_as_a_file_would_be(value: Any, type_: str, becomes: Any) -> None:
    found = retyping.as_type(value, type_)
    assert (found, type(found)) == (becomes, type(becomes))


def test_many_subscribers_are_read_again_in_small_steps(app: App) -> None:
    trait = Trait.objects.create(app=app, name="n", type=TraitType.NUMBER)
    people = [Subscriber(app=app, user_id=str(n), traits={"n": str(n)}) for n in range(2 * retyping.AT_ONCE + 1)]
    Subscriber.objects.bulk_create(people)
    retyping.ask(trait)
    retyping.work()
    assert all(isinstance(value, int) for value in Subscriber.objects.values_list("traits__n", flat=True))


def test_what_nobody_heard_of_or_a_worker_died_over_is_gone_on_with(app: App, rung: list[str]) -> None:
    trait = Trait.objects.create(app=app, name="n", type=TraitType.NUMBER)
    people = [factories.SubscriberFactory(app=app, traits={"n": value}) for value in ("1", "x", "3", "y")]
    tasks.tick()
    assert rung == []
    Trait.objects.filter(pk=trait.pk).update(retyped_to=people[1].pk, misfits=1)  # one worker came so far
    tasks.tick()
    assert rung == ["sync.retype_traits"]
    tasks.retype_traits()
    assert [person.traits["n"] for person in Subscriber.objects.order_by("pk")] == ["1", "x", 3, "y"]
    trait.refresh_from_db()
    assert (trait.misfits, trait.retyped_to) == (2, None)
    tasks.tick()
    assert len(rung) == 1


def test_a_trait_begins_anew_only_with_another_type(console: Console, app: App) -> None:
    trait = Trait.objects.create(app=app, name="n", type=TraitType.NUMBER)
    page = reverse("admin:sync_trait_change", args=[trait.pk])
    form = {"type": "number", "confirmed": "on", "description": "", "personal": "on"}
    Trait.objects.filter(pk=trait.pk).update(retyped_to=7)
    console(Role.APP_ADMIN).post(page, {**form, "description": "How many"})
    trait.refresh_from_db()
    assert (trait.description, trait.retyped_to) == ("How many", 7)
    console(Role.APP_ADMIN).post(page, {**form, "type": "text"})
    trait.refresh_from_db()
    assert (trait.type, trait.retyped_to) == ("text", 0), "it begins anew"


def test_traits_say_who_uses_them_and_are_filtered_by_it(console: Console, app: App, other_app: App) -> None:
    prompt = factories.PromptFactory(app=app, name="Stay a while")
    factories.BindingFactory(prompt=prompt, inputs={"coupon": {"from": "trait", "name": "best_coupon"}})
    factories.BindingFactory(prompt__app=other_app, inputs={"coupon": {"from": "trait", "name": "shoe_size"}})
    for name in ("best_coupon", "cleeng_customer_id", "shoe_size"):
        Trait.objects.create(app=app, name=name)
    client = console(Role.READ_ONLY)

    def shown(**query: str) -> list[str]:
        return [trait.name for trait in client.get(TRAITS, query).context["cl"].result_list]

    assert "Stay a while" in client.get(TRAITS).content.decode()
    assert shown(show="needed") == ["best_coupon", "cleeng_customer_id"]
    assert shown(show="unused") == ["shoe_size"]
    assert shown(show="pending") == []


def test_only_administrators_confirm(console: Console, app: App) -> None:
    trait = Trait.objects.create(app=app, name="n", confirmed=False, found_type="number")
    for role in (Role.APP_MEMBER, Role.READ_ONLY):
        console(role).post(TRAITS, {"action": "confirm", "_selected_action": [trait.pk]})
        trait.refresh_from_db()
        assert not trait.confirmed
