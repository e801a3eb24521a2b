from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

import pytest
from django.db import connection as database
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import timezone

from connectors import catalogues
from connectors.failures import Missing
from connectors.registry import connector
from engage.audit.models import Entry
from engage.tenancy.models import App, User
from engage.tenancy.roles import Role
from prompts import bindings
from prompts.models import Binding, Interaction, Prompt, PromptStatus
from tests import factories
from tests.prompts.conftest import House

pytestmark = pytest.mark.django_db


def request_of(user: User) -> HttpRequest:
    request = RequestFactory().post("/")
    request.user = user
    return request


@pytest.fixture
def request_(app: App) -> HttpRequest:
    return request_of(factories.person(app, Role.APP_MEMBER, email="dana@example.com"))


@pytest.fixture
def prompt(app: App) -> Prompt:
    made: Prompt = factories.PromptFactory(app=app)
    return made


@pytest.fixture
def lane(prompt: Prompt) -> list[Binding]:
    """Three actions of accept, called by their coupons."""
    connection = factories.ConnectionFactory(app=prompt.app)
    return [
        factories.BindingFactory(
            prompt=prompt, connection=connection, position=place, inputs={"coupon": {"from": "fixed", "value": name}}
        )
        for place, name in enumerate(["ONE", "TWO", "THREE"], start=1)
    ]


def order(prompt: Prompt, interaction: str = Interaction.ACCEPT) -> list[tuple[int, str]]:
    return [(row.position, row.inputs["coupon"]["value"]) for row in bindings.lane(prompt, interaction)]


# --- inputs -----------------------------------------------------------------------------------------


def test_inputs_come_from_where_they_were_chosen_to_come_from() -> None:
    inputs = {
        "code": {"from": "fixed", "value": "SAVE20"},
        "email": {"from": "trait", "name": "email_address"},
        "reason": {"from": "input", "name": "why"},
    }
    found = bindings.resolve(
        inputs, {"email_address": "a@example.com", "why": "trait"}, {"why": "price", "email_address": "forged"}
    )
    assert found == {"code": "SAVE20", "email": "a@example.com", "reason": "price"}


@pytest.mark.parametrize("value", [0, False])
def test_zero_and_no_are_values(value: object) -> None:
    assert bindings.resolve({"a": {"from": "trait", "name": "t"}}, {"t": value}, {}) == {"a": value}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"from": "trait", "name": "plan"}, "No plan is known of this subscriber."),
        ({"from": "input", "name": "why"}, "The answer came without “why”."),
        ({"from": "elsewhere"}, "“a” has no value."),
        ({}, "“a” has no value."),
    ],
)
def test_what_is_not_there_is_named(source: dict[str, str], said: str) -> None:
    with pytest.raises(Missing, match=said):
        bindings.resolve({"a": source}, {"plan": ""}, {})


def test_an_optional_input_that_is_not_there_is_empty() -> None:
    assert bindings.resolve({"a": {"from": "input", "name": "why", "optional": True}}, {}, {}) == {"a": ""}


# --- order ------------------------------------------------------------------------------------------


def test_moving_changes_places_and_stops_at_the_ends(
    prompt: Prompt, lane: list[Binding], request_: HttpRequest
) -> None:
    bindings.move(lane[2], -1, request_)
    assert order(prompt) == [(1, "ONE"), (2, "THREE"), (3, "TWO")]
    bindings.move(lane[0], -1, request_)
    assert order(prompt) == [(1, "ONE"), (2, "THREE"), (3, "TWO")]
    bindings.move(lane[1], 1, request_)
    assert order(prompt) == [(1, "ONE"), (2, "THREE"), (3, "TWO")]


@pytest.mark.parametrize(
    ("index", "names"), [(0, "THREE ONE TWO"), (1, "ONE THREE TWO"), (9, "ONE TWO THREE"), (-4, "THREE ONE TWO")]
)
def test_an_action_is_put_at_a_place(
    prompt: Prompt, lane: list[Binding], request_: HttpRequest, index: int, names: str
) -> None:
    bindings.place(lane[2], Interaction.ACCEPT, index, request_)
    assert order(prompt) == list(enumerate(names.split(), start=1))


def test_an_action_is_put_into_another_lane_and_both_are_numbered_anew(
    prompt: Prompt, lane: list[Binding], request_: HttpRequest
) -> None:
    bindings.place(lane[0], Interaction.DECLINE, 0, request_)
    assert order(prompt) == [(1, "TWO"), (2, "THREE")]
    assert order(prompt, Interaction.DECLINE) == [(1, "ONE")]


def test_adding_numbers_a_lane_whose_places_have_gaps(
    prompt: Prompt, lane: list[Binding], request_: HttpRequest
) -> None:
    Binding.objects.filter(pk=lane[2].pk).update(position=40)
    bindings.copy(lane[0], Interaction.ACCEPT, request_)
    assert order(prompt) == [(1, "ONE"), (2, "TWO"), (3, "THREE"), (4, "ONE")]


@pytest.mark.django_db(transaction=True)
def test_people_who_move_at_once_lose_and_double_no_place() -> None:
    prompt = factories.PromptFactory()
    people = [factories.person(prompt.app, Role.APP_MEMBER) for _ in range(4)]
    connection = factories.ConnectionFactory(app=prompt.app)
    rows = [factories.BindingFactory(prompt=prompt, connection=connection, position=place) for place in range(1, 6)]
    start = Barrier(len(people))

    def shuffle(number: int) -> None:
        try:
            request = request_of(people[number])
            start.wait(timeout=10)
            for turn in range(4):
                binding = Binding.objects.select_related("prompt__app").get(pk=rows[(number + turn) % 5].pk)
                bindings.move(binding, 1 if turn % 2 else -1, request)
        finally:
            database.close()

    with ThreadPoolExecutor(len(people)) as pool:
        for done in [pool.submit(shuffle, number) for number in range(len(people))]:
            done.result()

    assert [row.position for row in bindings.lane(prompt, Interaction.ACCEPT)] == [1, 2, 3, 4, 5]
    assert sorted(prompt.versions.values_list("number", flat=True)) == list(range(1, 17))
    assert prompt.versions.filter(superseded_at=None).count() == 1
    assert [kept["id"] for kept in prompt.versions.get(superseded_at=None).bindings] == [
        row.pk for row in bindings.lane(prompt, Interaction.ACCEPT)
    ]


# --- changes ----------------------------------------------------------------------------------------


def test_every_change_is_published_and_in_the_history(
    prompt: Prompt, lane: list[Binding], request_: HttpRequest
) -> None:
    first = lane[0]
    bindings.switch(first, request_, on=False)
    assert [kept["inputs"]["coupon"]["value"] for kept in prompt.versions.get(superseded_at=None).bindings] == [
        "TWO",
        "THREE",
    ]
    first.inputs = {"coupon": {"from": "fixed", "value": "NEW"}}
    bindings.edit(first, request_)
    bindings.switch(first, request_, on=True)
    bindings.copy(first, Interaction.DISMISS, request_)
    bindings.move(first, 1, request_)
    bindings.archive(first, request_)

    prompt.refresh_from_db()
    assert prompt.version == 6
    assert prompt.updated_by == request_.user
    entries = list(Entry.objects.filter(kind="binding").order_by("pk"))
    assert [entry.verb for entry in entries] == [
        "switched an action off",
        "changed an action",
        "switched an action on",
        "added an action",
        "moved an action",
        "removed an action",
    ]
    assert {entry.actor for entry in entries} == {"dana@example.com"}
    assert {entry.app for entry in entries} == {prompt.app}
    assert entries[1].changes == {
        "inputs": [{"coupon": {"from": "fixed", "value": "ONE"}}, {"coupon": {"from": "fixed", "value": "NEW"}}]
    }


def test_a_removed_action_stays_as_a_row_and_leaves_no_gap(
    prompt: Prompt, lane: list[Binding], request_: HttpRequest
) -> None:
    bindings.archive(lane[1], request_)
    assert order(prompt) == [(1, "ONE"), (2, "THREE")]
    assert Binding.objects.get(pk=lane[1].pk).archived_at is not None


def test_switching_off_twice_is_one_change(prompt: Prompt, lane: list[Binding], request_: HttpRequest) -> None:
    bindings.switch(lane[0], request_, on=False)
    bindings.switch(lane[0], request_, on=False)
    assert Entry.objects.filter(kind="binding").count() == 1


def test_a_duplicate_is_a_draft_with_actions_of_its_own(
    prompt: Prompt, lane: list[Binding], request_: HttpRequest
) -> None:
    bindings.archive(lane[2], request_)
    again = bindings.duplicate(prompt, request_)
    third = bindings.duplicate(prompt, request_)
    assert (again.key, third.key) == (f"{prompt.key}-copy", f"{prompt.key}-copy-2")
    assert again.status == PromptStatus.DRAFT
    assert order(again) == order(prompt) == [(1, "ONE"), (2, "TWO")]
    bindings.archive(bindings.lane(again, Interaction.ACCEPT)[0], request_)
    assert len(order(prompt)) == 2
    assert len(third.versions.get(superseded_at=None).bindings) == 2


# --- problems ---------------------------------------------------------------------------------------


def problems_of(binding: Binding) -> list[str]:
    binding = Binding.objects.select_related("connection").get(pk=binding.pk)
    return bindings.problems(binding, bindings.entries_of([binding]))


def test_an_inactive_connection_is_said(lane: list[Binding]) -> None:
    assert problems_of(lane[0]) == []
    connection = lane[0].connection
    assert connection is not None
    connection.active = False
    connection.save()
    assert "This connection is off" in problems_of(lane[0])[0]


def test_a_connection_that_needs_attention_says_why(lane: list[Binding]) -> None:
    connection = lane[0].connection
    assert connection is not None
    connection.health, connection.attention = "attention", "Cleeng refuses the key."
    connection.save()
    assert problems_of(lane[0]) == ["Cleeng refuses the key."]


def test_a_connection_that_is_paused_is_said(lane: list[Binding]) -> None:
    connection = lane[0].connection
    assert connection is not None
    connection.closed_until = timezone.now()
    connection.save()
    assert problems_of(lane[0]) == ["Cleeng is paused: its last calls failed. It is tried again by itself."]


def test_an_offer_that_has_vanished_is_said(house: House) -> None:
    catalogues.refresh(house.connection)
    offer = house.connection.catalogue_entries.first()
    assert offer is not None
    inputs = {"to_offer": {"from": "fixed", "value": offer.key}, "direction": {"from": "fixed", "value": "upgrade"}}
    binding = house.bind("switch_subscription", inputs=inputs)
    assert problems_of(binding) == []
    assert bindings.in_words(binding, bindings.entries_of([binding]))[0].text == offer.label

    offer.vanished_at = timezone.now()
    offer.save()
    assert "is no longer offered by the vendor" in problems_of(binding)[0]
    assert list(bindings.problems_by_prompt(house.app)) == [house.prompt.pk]


def test_inputs_are_told_in_the_order_of_the_form(house: House) -> None:
    inputs = {"direction": {"from": "fixed", "value": "upgrade"}, "to_offer": {"from": "trait", "name": "offer"}}
    binding = house.bind("switch_subscription", inputs={**inputs, "once": {"from": "fixed", "value": "x"}})
    assert [word.label for word in bindings.in_words(binding, {})] == ["To offer", "Direction", "Once"]


def test_an_action_that_is_no_longer_declared_is_said(prompt: Prompt) -> None:
    binding = factories.BindingFactory(prompt=prompt, action="retired")
    assert problems_of(binding) == ["This action is no longer part of the product. Remove it."]


def test_only_enabled_actions_of_this_app_make_a_problem(app: App, other_app: App) -> None:
    for which in (app, other_app):
        made = factories.BindingFactory(prompt__app=which, problem="Coupon ended.")
        assert list(bindings.problems_by_prompt(which).values()) == [["Cleeng: Apply coupon: Coupon ended."]]
        Binding.objects.filter(pk=made.pk).update(enabled=False)
        assert bindings.problems_by_prompt(which) == {}
        Binding.objects.filter(pk=made.pk).update(enabled=True, archived_at=timezone.now())
        assert bindings.problems_by_prompt(which) == {}


# --- asking the vendor ------------------------------------------------------------------------------

COUPON = ("cleeng", "apply_coupon")


def ask(house: House, coupon: str) -> bindings.Check:
    cleeng = connector(COUPON[0])
    return bindings.check(
        cleeng, cleeng.action(COUPON[1], {}), house.connection, {"coupon": {"from": "fixed", "value": coupon}}
    )


def test_the_vendor_knows_a_good_coupon_and_refuses_an_unknown_one(house: House) -> None:
    assert ask(house, "SAVE20") == bindings.Check()
    assert ask(house, "NOPE99").refused == ("Cleeng knows no coupon NOPE99.",)


def test_a_vendor_that_is_down_leaves_it_unchecked(house: House) -> None:
    house.sandbox.fault(status=503)
    result = ask(house, "SAVE20")
    assert result.refused == ()
    assert result.unchecked.startswith("Could not check SAVE20.")
    assert result.unchecked.endswith("It is checked again tonight.")


def test_the_nightly_check_finds_a_campaign_that_has_ended_and_forgets_what_is_mended(house: House) -> None:
    ended = house.bind(inputs={"coupon": {"from": "fixed", "value": "SUMMER24"}})
    mended = house.bind(problem="Could not check SAVE20.")
    assert bindings.recheck(house.app) == 1
    ended.refresh_from_db()
    mended.refresh_from_db()
    assert "ended" in ended.problem
    assert mended.problem == ""
    assert mended.checked_at is not None


def test_every_night_is_checked_once(house: House) -> None:
    binding = house.bind(inputs={"coupon": {"from": "fixed", "value": "SUMMER24"}})
    App.objects.update(created_at=datetime(2026, 1, 1, tzinfo=UTC), time_zone="America/New_York")
    before_four, after_four = datetime(2026, 1, 2, 8, 59, tzinfo=UTC), datetime(2026, 1, 2, 9, 1, tzinfo=UTC)
    assert bindings.recheck_due(before_four) == bindings.recheck_due(before_four) + 1
    assert [bindings.recheck_due(after_four) for _ in range(2)] == [1, 0]
    binding.refresh_from_db()
    assert "ended" in binding.problem


def test_a_time_zone_that_does_not_exist_stops_nobodys_check(house: House, other_app: App) -> None:
    factories.ConnectionFactory(app=other_app)
    App.objects.update(created_at=datetime(2026, 1, 1, tzinfo=UTC))
    App.objects.filter(pk=other_app.pk).update(time_zone="Mars/Olympus")
    assert bindings.recheck_due(datetime(2026, 1, 2, 4, 1, tzinfo=UTC)) == 2
