"""Who and what an action is about: nothing is guessed, and what does not fit is told."""

from collections.abc import Iterator
from typing import Any

import pytest

from connectors.answers import Answer
from connectors.choosing import email_in, on_first, only_one, require, text_in, whole_number_in
from connectors.failures import Rejected
from connectors.http import Api
from tests.connectors.contract import MemoryJournal
from tests.connectors.throwaway import Throwaway


@pytest.fixture
def api() -> Iterator[Api]:
    with Api(Throwaway(), {"api_key": "x"}, MemoryJournal()) as door:
        yield door


def row(number: int, plan: str = "basic") -> Answer:
    return Answer({"id": number, "plan": plan}, where="GET /rows")


@pytest.mark.parametrize("value", ["ann@example.com", " ann@example.com\n"])
def test_an_address_is_found(value: str) -> None:
    assert email_in({"email_address": value}) == "ann@example.com"


@pytest.mark.parametrize("value", ["", " ", "ann", "@", "a b@example.com", None, 7, ["ann@example.com"]])
def test_what_is_no_address_is_told(value: Any) -> None:
    with pytest.raises(Rejected, match="email_address holds no e-mail address"):
        email_in({"email_address": value})


@pytest.mark.parametrize("value", [7, "7", "7.0", " 7 ", 7.0, "7.000"])
def test_a_whole_number_however_it_is_spelt(value: Any) -> None:
    assert whole_number_in({"n": value}, "n", "id") == "7"


@pytest.mark.parametrize("value", ["7.5", 7.5, "", "x", True, [7], "\u0667", "1e9", "-7", "7\n8"])
def test_what_is_no_whole_number_is_told(value: Any) -> None:
    with pytest.raises(Rejected, match="The trait n holds no id"):
        whole_number_in({"n": value}, "n", "id")


@pytest.mark.parametrize("value", ["cus_", "xcus_1", "cus_1/..", True, None, ["cus_1"], "cus_1\ncus_2"])
def test_a_text_fits_as_a_whole(value: Any) -> None:
    assert text_in({"id": " cus_1 "}, "id", r"cus_\w+", "id") == "cus_1"
    with pytest.raises(Rejected):
        text_in({"id": value}, "id", r"cus_\w+", "id")


def test_what_is_required_is_told_where_it_is_not_so() -> None:
    require(1, "never said")
    with pytest.raises(Rejected, match=r"It is over\."):
        require(0, "It is over.")


def test_the_first_wanted_that_any_is_on_counts() -> None:
    rows = [row(1, "gold"), row(2), row(3)]

    def on(*plans: str) -> list[int]:
        return [found["id"] for found in on_first(rows, plans, lambda one: [str(one["plan"])])]

    assert (on("none", "", "basic", "gold"), on("none"), on(""), on()) == ([2, 3], [], [1, 2, 3], [1, 2, 3])


def test_one_is_chosen_and_several_or_none_are_told(api: Api) -> None:
    def chosen(*rows: Answer, others: tuple[Answer, ...] = ()) -> Answer:
        return only_one(api, rows, whose="Ann", what="plan", named=lambda one: f"{one['id']}", others=others)

    assert chosen(row(1), others=(row(2),))["id"] == 1
    with pytest.raises(Rejected, match=r"Ann has several plans at Throwaway \(1, 2\); none is chosen by guessing\."):
        chosen(row(1), row(2))
    with pytest.raises(Rejected, match=r"Ann has no matching plan at Throwaway \(3\)\."):
        chosen(others=(row(3),))
    with pytest.raises(Rejected, match=r"Ann has no matching plan at Throwaway\.$"):
        chosen()


def test_what_is_over_will_do_only_where_nothing_runs(api: Api) -> None:
    def chosen(*rows: Answer) -> Answer:
        return only_one(api, rows, whose="Ann", what="plan", named=lambda one: f"{one['id']}", over=(row(8), row(9)))

    assert (chosen()["id"], chosen(row(1))["id"]) == (8, 1)
    with pytest.raises(Rejected, match="several plans"):
        chosen(row(1), row(2))
