"""What is kept, shown and logged holds no secret."""

import json
import logging
from typing import Any

import pytest
from django.test import Client

from engage.logs import JsonFormatter, about
from engage.redaction import MASK, mask, redact

SECRET = 'k"ey/with &<odd> ünicode+1'


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        json.dumps({"a": SECRET}),
        json.dumps({"a": SECRET}, ensure_ascii=False),
        "https://a.example/?k=k%22ey%2Fwith%20%26%3Codd%3E%20%C3%BCnicode%2B1",
        "k=k%22ey%2Fwith+%26%3Codd%3E+%C3%BCnicode%2B1",
        "<key>k&quot;ey/with &amp;&lt;odd&gt; ünicode+1</key>",
    ],
)
def test_a_known_secret_is_masked_however_it_is_spelt(text: str) -> None:
    masked = mask(text, [SECRET])
    assert MASK in masked
    for piece in ("ey/with", "ey%2Fwith", "nicode"):
        assert piece not in masked


def test_the_longer_of_two_secrets_is_masked_whole() -> None:
    assert mask("abcdef-123456", ["abcdef", "abcdef-123456"]) == MASK


def test_a_short_secret_would_mask_half_the_text_and_is_left() -> None:
    assert mask("a test", ["a"]) == "a test"


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "X-Publisher-Token",
        "api_key",
        "apiKey",
        "client_secret",
        "accessToken",
        "password",
        "Set-Cookie",
        "token",
        "jwt",
    ],
)
def test_what_is_named_like_a_secret_is_masked_whatever_it_holds(name: str) -> None:
    assert redact({"deep": [{name: "x"}, {name: {"a": 1}}, {name: 5}]}) == {
        "deep": [{name: MASK}, {name: MASK}, {name: MASK}]
    }
    assert redact({name: None}) == {name: None}


def test_a_secret_is_masked_as_key_value_bytes_and_number() -> None:
    value: Any = {"1234567": 1234567, "list": ("1234567", b"..1234567..", 3), "other": 12345678}
    assert redact(value, ["1234567"]) == {MASK: MASK, "list": [MASK, f"..{MASK}..", 3], "other": 12345678}


def test_what_is_no_secret_stays(db: None) -> None:
    value = {"customerId": "77", "coupon": "SAVE20", "active": True, "price": 9.5, "nothing": None}
    assert redact(value, ["secret-key"]) == value


def line(record: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(JsonFormatter().format(record))
    return found


def made(message: str, *args: object, **extra: Any) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "test", "levelno": 30, "levelname": "WARNING", "msg": message, "args": args, **extra}
    )


def test_a_line_is_one_json_object_with_the_ids_at_hand() -> None:
    with about(event="e1"), about(execution=7):
        found = line(made("one\ntwo %s", "three"))
    assert (found["message"], found["event"], found["execution"], found["level"]) == (
        "one\ntwo three",
        "e1",
        "7",
        "warning",
    )
    assert "event" not in line(made("after"))


def test_the_text_of_an_exception_is_left_out_and_its_place_kept() -> None:
    try:
        int("ada@example.com said sk_secret")
    except ValueError as error:
        record = made("It failed", exc_info=(type(error), error, error.__traceback__))
    text = JsonFormatter().format(record)
    assert "ada@example.com" not in text
    assert "sk_secret" not in text
    found = json.loads(text)
    assert found["exception"] == "ValueError"
    assert any("test_redaction.py" in frame for frame in found["where"])


class Lines(logging.Handler):
    """Keeps what the product's own formatter makes of each record."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(JsonFormatter().format(record))


@pytest.mark.parametrize("path", ["/console/account/invitation/inv_{}/", "/nowhere/ada@example.com/{}"])
def test_the_path_of_a_request_is_not_logged(db: None, path: str) -> None:
    handler, token = Lines(), "x" * 43
    logging.getLogger("django.request").addHandler(handler)
    try:
        assert Client().get(path.format(token)).status_code == 404
    finally:
        logging.getLogger("django.request").removeHandler(handler)
    [text] = handler.lines
    assert "Not Found" in text
    assert token not in text
    assert "ada@example.com" not in text


def test_our_own_tokens_are_masked_in_any_line() -> None:
    assert line(made("key %s", f"sk_{'a' * 43}"))["message"] == f"key {MASK}"
