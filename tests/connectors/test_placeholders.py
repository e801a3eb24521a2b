import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.failures import Rejected
from connectors.placeholders import (
    BadTemplate,
    Known,
    Placeholder,
    fill,
    fill_json,
    fill_text,
    parse,
    parse_json,
    put_secrets,
    put_secrets_in_json,
    secrets_named,
)


def known(inputs: dict[str, Any] | None = None, **traits: Any) -> Known:
    return Known(traits, inputs or {})


def test_a_text_is_its_parts() -> None:
    assert parse("Hi %first_name|you% (%input.plan%, %secret.token%) 100%%") == (
        "Hi ",
        Placeholder("trait", "first_name", "you"),
        " (",
        Placeholder("input", "plan"),
        ", ",
        Placeholder("secret", "token"),
        ") 100%",
    )
    assert parse("") == ("",)


@pytest.mark.parametrize("text", ["50% off", "%", "%Email%", "%other.x%", "%input.%", "%a b%", "%%%", "%secret.a|b%"])
def test_a_percent_sign_that_begins_no_placeholder_is_refused(text: str) -> None:
    with pytest.raises(BadTemplate):
        parse(text)


@pytest.mark.parametrize("value", [5, 5.5, True, False, "5", 'a"b\n{}'])
def test_alone_in_its_text_a_placeholder_keeps_the_type(value: Any) -> None:
    filled = fill_json(parse_json('{"a": ["%x%"], "b": {"c": "%x%"}}'), known(x=value))

    assert json.loads(json.dumps(filled)) == {"a": [value], "b": {"c": value}}
    assert type(filled["a"][0]) is type(value)


@pytest.mark.parametrize(("value", "spelled"), [(5, "5"), (5.0, "5"), (5.5, "5.5"), (True, "true"), ("x", "x")])
def test_inside_a_text_it_is_text(value: Any, spelled: str) -> None:
    assert fill(parse("-%x%-"), known(x=value)) == f"-{spelled}-"


@pytest.mark.parametrize("absent", [{}, {"x": None}, {"x": ""}])
def test_the_default_stands_in_for_what_is_not_known(absent: dict[str, Any]) -> None:
    assert fill(parse("%x|some body%"), known(**absent)) == "some body"
    assert fill(parse("-%x|%-"), known(**absent)) == "--"


@given(st.text())
def test_no_value_changes_the_shape_of_the_json(value: str) -> None:
    template = parse_json('{"a": "%x%", "b": "1 %x% 2", "c": [1, null]}')
    try:
        filled = fill_json(template, known(x=value))
    except Rejected:
        assert "\ufdd0" in value or "\ufdd1" in value
        return

    assert json.loads(json.dumps(filled)) == {"a": value or None, "b": f"1 {value} 2", "c": [1, None]}


@pytest.mark.parametrize("value", ["%secret.token%", "%email%", "%%", "%input.plan%", '", "admin": true, "x": "'])
def test_a_value_is_never_read_as_a_template(value: str) -> None:
    secrets = {"token": "the-secret-token"}
    filled = fill_json(parse_json('{"x": "%x%", "t": "%secret.token%"}'), known(x=value, email="a@example.com"))

    assert put_secrets_in_json(filled, secrets) == {"x": value, "t": "the-secret-token"}


def test_a_value_cannot_stand_for_a_secret() -> None:
    place = fill_text(parse("%secret.token%"), known())
    assert put_secrets(place, {"token": "s"}) == "s"

    with pytest.raises(Rejected):
        fill(parse("%x%"), known(x=place))


@pytest.mark.parametrize("value", [["a"], {"a": "b"}])
def test_only_plain_values_are_filled_in(value: Any) -> None:
    with pytest.raises(Rejected):
        fill(parse("%x%"), known(x=value))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"a": 1,\n "b": }', "Line 2, column 7: a value is missing"),
        ('{\n  "a": 1\n  "b": 2\n}', "Line 3, column 3: a comma is missing"),
        ('{"a": "x}', "Line 1, column 7: this text has no closing quote"),
        ('{"a": 1} x', "Line 1, column 10: the JSON ends before"),
        ('{"a": %age%}', "Placeholders stand in quotes"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": 1, "a": 2}', "“a” stands twice"),
        ('{"%email%": 1}', "only values can"),
        ('{"a": "50% off"}', "“% off” begins no placeholder"),
        ("[" * 60 + "]" * 60, "nested too deeply"),
        ("[" * 60_000, "nested too deeply"),
    ],
)
def test_what_is_wrong_with_json_is_said_with_its_place(text: str, where: str) -> None:
    with pytest.raises(BadTemplate) as wrong:
        parse_json(text)

    assert where in str(wrong.value)


def test_the_secrets_of_texts_are_found_in_order() -> None:
    assert secrets_named("Bearer %secret.b%", '{"x": "%secret.a% %secret.b% %%secret.no%%', "%trait%") == ["b", "a"]
