import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.templating import problems, render, variables


@pytest.mark.parametrize(
    ("text", "traits", "shown"),
    [
        ("Hi {{ first_name }}!", {"first_name": "Ann"}, "Hi Ann!"),
        ("Hi {{first_name}}!", {"first_name": "Ann"}, "Hi Ann!"),
        ("Hi {{ first_name }}!", {}, "Hi !"),
        ("Hi {{ first_name|there }}!", {}, "Hi there!"),
        ("Hi {{ first_name | dear friend }}!", {"first_name": ""}, "Hi dear friend!"),
        ("Hi {{ first_name|there }}!", {"first_name": "Ann"}, "Hi Ann!"),
        ("{{ a }}{{ b }}", {"a": "1", "b": "2"}, "12"),
        ("{{ price }}", {"price": 9.0}, "9"),
        ("{{ price }}", {"price": 9.5}, "9.5"),
        ("{{ count|none }}", {"count": 0}, "0"),
        ("{{ adult|unknown }}", {"adult": False}, "no"),
        ("{{ adult }}", {"adult": True}, "yes"),
        ("{{ gone|was here }}", {"gone": None}, "was here"),
    ],
)
def test_a_variable_becomes_its_trait_its_default_or_nothing(text: str, traits: dict[str, object], shown: str) -> None:
    assert render(text, traits) == shown


@pytest.mark.parametrize(
    "text", ["{% load x %}", "{{ a.b|upper|lower }}", "{{ settings.SECRET_KEY() }}", "{{ }}", "{a}"]
)
def test_nothing_but_variables_is_interpreted(text: str) -> None:
    assert render(text, {"a": "changed", "settings": "changed"}) == text


def test_a_value_is_not_rendered_again() -> None:
    assert render("{{ a }}", {"a": "{{ b }}", "b": "secret"}) == "{{ b }}"


def test_a_value_stays_text() -> None:
    assert render("{{ a }}", {"a": "<b>&"}) == "<b>&"


def test_variables_are_named_each_once() -> None:
    assert variables("{{ a }} {{ b|there }} {{a}} {{ not one") == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ first name }}", "“{{ first name }}” is not a variable"),
        ("Hi {{ name", "“{{ name” is not a variable"),
        ("Hi name }}", "without its “{{”"),
        ("{% if a %}", "would be shown as they stand"),
        ("{{ a|b|c }}", "is not a variable"),
    ],
)
def test_what_looks_like_a_variable_and_is_none_is_said(text: str, said: str) -> None:
    assert any(said in sentence for sentence in problems(text))


@pytest.mark.parametrize("text", ["", "Plain.", "{{ a }} and {{ b|there }}", "100 % {sic}"])
def test_a_sound_text_has_no_problem(text: str) -> None:
    assert problems(text) == []


@given(st.text(), st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.text()))
def test_any_text_can_be_rendered_and_judged(text: str, traits: dict[str, str]) -> None:
    render(text, traits)
    problems(text)
    if "{{" not in text:
        assert render(text, traits) == text
