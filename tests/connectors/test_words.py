"""Small words of the vocabulary that many vendors share."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from connectors.answers import Answer
from connectors.app_stores import purchased, reported
from connectors.bodies import without_empty
from connectors.failures import Rejected, Undocumented, refused
from connectors.pulls import telling
from connectors.times import MILLISECOND, day_in_words, milliseconds, utc

LATE = datetime(2027, 1, 15, 23, 30, 0, 250_000, timezone(timedelta(hours=-5)))
"""Late in New York; in UTC it is the next day."""


class TestTimes:
    def test_are_written_in_utc(self) -> None:
        assert utc(LATE) == "2027-01-16T04:30:00Z"
        assert utc(LATE, "milliseconds") == "2027-01-16T04:30:00.250Z"
        assert day_in_words(LATE) == "16 January 2027"
        assert milliseconds(LATE) == 1_800_073_800_250

    def test_are_read_in_the_vendors_unit(self) -> None:
        answer = Answer({"at": 1_800_073_800_250, "text": LATE.isoformat(), "none": None}, where="answer")
        assert answer.moment("at", unit=MILLISECOND) == LATE
        assert (answer.day("text"), answer.moment("text")) == ("16 January 2027", LATE)
        for name in ("none", "missing"):
            with pytest.raises(Undocumented):
                answer.moment(name, unit=MILLISECOND)

    def test_are_over_or_not(self) -> None:
        now = datetime.now(UTC)
        times = {
            "past": (now - timedelta(minutes=1)).timestamp(),
            "ahead": utc(now + timedelta(minutes=1)),
            "none": None,
        }
        answer = Answer(times, where="answer")
        assert [answer.is_past(name) for name in ("past", "ahead", "none", "missing")] == [True, False, False, False]


def test_what_is_empty_is_left_out_and_what_is_zero_is_not() -> None:
    kept = {"zero": 0, "none of it": 0.0, "no": False, "text": " ", "list": [0]}
    assert without_empty({**kept, "a": None, "b": "", "c": [], "d": {}}) == kept


def test_an_answer_has_the_status_that_is_documented() -> None:
    answer = Answer(None, where="answer", status=204)
    assert answer.with_status(204) is answer
    with pytest.raises(Undocumented, match="The answer has status 204, where 202 is documented"):
        answer.with_status(202)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("No such plan", "E7", "No such plan"),
        ("", "E7", "E7"),
        ("", "", "it does not say why"),
        ("x" * 501, "", "x" * 500),
    ],
)
def test_a_no_is_told_as_far_as_the_vendor_gives_a_reason(words: str, code: str, told: str) -> None:
    no = refused("Ruritania", words, code=code)
    assert (no.message, no.code) == (f"Ruritania refused: {told}", code)


def test_of_rows_that_say_equally_much_the_last_is_told_of() -> None:
    ranks = {"a": 1.0, "b": 2.0, "c": 2.0, "d": -1.0}
    assert telling(ranks, ranks.__getitem__) == "c"
    assert telling(["d"], ranks.__getitem__) is None


class TestAPurchase:
    @pytest.mark.parametrize("detail", [{}, {"token": 7}, {"token": ""}, {"token": "a b"}, {"token": "a\n"}])
    def test_a_report_without_what_it_must_hold_is_refused(self, detail: dict[str, object]) -> None:
        with pytest.raises(Rejected, match="The report holds no token of Ruritania's"):
            reported(detail, "token", "[a-z]+", "Ruritania's")

    def test_a_change_that_comes_later_counts_as_no_purchase_yet(self) -> None:
        now = purchased("gold", {"plan": "gold"}, subject="purchase 7", receipt="7")
        later = purchased("gold", {"plan": "gold"}, subject="purchase 7", receipt="7", later="on 3 May 2027")
        assert (now.message, now.receipt) == ("gold is bought.", "7")
        assert (later.message, later.receipt) == ("gold takes effect on 3 May 2027.", "")
        assert now.traits == later.traits == {"plan": "gold"}
