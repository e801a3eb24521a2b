"""`%trait%`, `%input.name%` and `%secret.name%` in what an administrator writes: parsed when it is saved, filled in when it runs.

A text is parsed first and its parts are filled in afterwards, so a value is never read as a placeholder, a quote or a comma.
`%trait|default%` says what stands there where the trait is not known; `%%` is a percent sign.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.failures import Rejected

TRAIT, INPUT, SECRET = "trait", "input", "secret"
DEEPEST = 50  # levels of JSON; nobody writes ten
NAME = r"[a-z][a-z0-9_]{0,79}"
_TOKEN = re.compile(rf"%%|%(?:(?P<kind>input|secret)\.)?(?P<name>{NAME})(?:\|(?P<default>[^%\r\n]*))?%")
# A secret's place in a request that is built and stored without it. Unicode keeps these two for a program's own use and out
# of interchange (https://www.unicode.org/faq/private_use.html#nonchar1), so no honest value holds one; one that does is refused.
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
_STAND_IN = re.compile(f"{_OPEN}({NAME}){_CLOSE}")


class BadTemplate(ValueError):
    """A text that cannot be filled in; the message is a sentence for who wrote it."""


@dataclass(frozen=True)
class Placeholder:
    """One of them. `default` None: there is none."""

    kind: str
    name: str
    default: str | None = None

    def __str__(self) -> str:
        return f"%{self.name}%" if self.kind == TRAIT else f"%{self.kind}.{self.name}%"


Template = tuple[str | Placeholder, ...]
"""The parts of a text."""


@dataclass(frozen=True)
class Known:
    """What placeholders stand for in one execution. Secrets are not among it: they are put in when a request is signed."""

    traits: Mapping[str, Any]
    inputs: Mapping[str, Any]


def parse(text: str) -> Template:
    """Return the parts of a text.

    Raises:
        BadTemplate: a percent sign begins no placeholder.

    """
    parts: list[str | Placeholder] = []
    literal, position = "", 0
    for found in _TOKEN.finditer(text):
        literal += _literal(text[position : found.start()])
        position = found.end()
        if found[0] == "%%":
            literal += "%"
            continue
        kind, default = found["kind"] or TRAIT, found["default"]
        if kind == SECRET and default is not None:
            raise BadTemplate(f"“{found[0]}”: a secret has no default; it is stored or it is not.")
        parts += [literal] if literal else []
        parts.append(Placeholder(kind, found["name"], default))
        literal = ""
    literal += _literal(text[position:])
    return (*parts, literal) if literal or not parts else tuple(parts)


def _literal(text: str) -> str:
    if "%" in text:
        near = text[text.index("%") :][:30]
        raise BadTemplate(
            f"“{near}” begins no placeholder. Write %trait%, %input.name% or %secret.name%, in lower-case letters, and %% "
            "for a percent sign."
        )
    if _OPEN in text or _CLOSE in text:
        raise BadTemplate("The text holds a character that Unicode keeps out of texts.")
    return text


def parse_json(text: str) -> Any:
    """Return JSON with every text in it parsed into a `Template`.

    Raises:
        BadTemplate: it is no JSON, or a text in it is no template; says where.

    """
    try:
        data = json.loads(text, object_pairs_hook=_members, parse_constant=_no_number)
        return _each(data, parse)
    except json.JSONDecodeError as error:
        # A placeholder outside of quotes is the usual reason.
        bare = text[error.pos : error.pos + 1] == "%"
        hint = ' Placeholders stand in quotes: "%trait%" alone keeps its type.' if bare else ""
        raise BadTemplate(f"Line {error.lineno}, column {error.colno}: {_plainly(error.msg)}.{hint}") from None
    except RecursionError:
        raise BadTemplate(f"The JSON is nested too deeply; {DEEPEST} levels are possible.") from None


def _plainly(message: str) -> str:
    return {
        "Expecting value": "a value is missing here",
        "Expecting property name enclosed in double quotes": "a name in double quotes is missing here",
        "Expecting ',' delimiter": "a comma is missing here",
        "Expecting ':' delimiter": "a colon is missing here",
        "Extra data": "the JSON ends before this",
        "Unterminated string starting at": "this text has no closing quote",
        "Invalid control character at": "a line break or tab inside a text; write \\n or \\t",
        "Invalid \\escape": "a backslash that begins no escape; write \\\\",
        "Illegal trailing comma before end of object": "a comma too many",
        "Illegal trailing comma before end of array": "a comma too many",
    }.get(message.removesuffix(": "), message[:1].lower() + message[1:])


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadTemplate(f"The name “{twice}” stands twice in one object; only one of them would be sent.")
    for name in members:
        if any(isinstance(part, Placeholder) for part in parse(name)):
            raise BadTemplate(f"“{name}” is a name in the JSON, where nothing can be filled in; only values can.")
    return {"".join(str(part) for part in parse(name)): value for name, value in members.items()}


def _no_number(word: str) -> Any:
    raise BadTemplate(f"{word} is no number that JSON knows.")


def _each(data: Any, change: Any, level: int = 0) -> Any:
    """Return JSON-like data with every text in it changed."""
    if level > DEEPEST:
        raise RecursionError
    if isinstance(data, dict):
        return {name: _each(value, change, level + 1) for name, value in data.items()}
    if isinstance(data, list):
        return [_each(value, change, level + 1) for value in data]
    return change(data) if isinstance(data, (str, tuple)) else data


def placeholders(template: Any) -> Iterator[Placeholder]:
    """Go through the placeholders of a template, or of JSON-like data that holds templates."""
    if isinstance(template, Placeholder):
        yield template
    elif isinstance(template, (dict, list, tuple)):
        for part in template.values() if isinstance(template, dict) else template:
            yield from placeholders(part)


# --- filling in -----------------------------------------------------------------------------------------------------------


def fill(template: Template, known: Known) -> Any:
    """Return a template's value: the value itself where the whole text is one placeholder, else a text.

    Raises:
        Rejected: a value cannot stand where it should.

    """
    if len(template) == 1 and isinstance(template[0], Placeholder):
        return _value(template[0], known)
    return fill_text(template, known)


def fill_text(template: Template, known: Known) -> str:
    """Return a template as text."""
    return "".join(part if isinstance(part, str) else spelled(_value(part, known)) for part in template)


def traits_in(text: str) -> list[Placeholder]:
    """Return the traits that a text fills in.

    Raises:
        BadTemplate: it cannot be filled in, or not with traits alone.

    """
    found = list(placeholders(parse(text)))
    if wrong := next((one for one in found if one.kind != TRAIT), None):
        raise BadTemplate(f"{wrong} means nothing here; only traits can be filled in, e.g. %first_name|there%.")
    return found


def fill_traits(text: str, traits: Mapping[str, Any]) -> str:
    """Return a text with traits filled in.

    Raises:
        Rejected: one of them is no value that a text can hold.

    """
    return fill_text(parse(text), Known(traits, {}))


def fill_json(data: Any, known: Known) -> Any:
    """Return JSON with its templates filled in."""
    return _each(data, lambda template: fill(template, known))


def _value(placeholder: Placeholder, known: Known) -> Any:
    if placeholder.kind == SECRET:
        return f"{_OPEN}{placeholder.name}{_CLOSE}"
    value = (known.traits if placeholder.kind == TRAIT else known.inputs).get(placeholder.name)
    if value in (None, ""):
        value = placeholder.default
    if not isinstance(value, (str, int, float, type(None))):
        raise Rejected(f"{placeholder} is a {type(value).__name__}; only texts, numbers, yes and no can be filled in.")
    if isinstance(value, str) and (_OPEN in value or _CLOSE in value):
        raise Rejected(f"{placeholder} holds a character that Unicode keeps out of texts.")
    return value


def spelled(value: Any) -> str:
    """Return a value inside a text: 5 for 5.0, true and false as in JSON, nothing for None."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


# --- secrets --------------------------------------------------------------------------------------------------------------


def secrets_named(*texts: str) -> list[str]:
    """Return the names of the secrets that texts use, each once; texts that are no templates are read as far as possible."""
    found = (match for text in texts for match in _TOKEN.finditer(text))
    return list(dict.fromkeys(match["name"] for match in found if match["kind"] == SECRET))


def put_secrets(text: str, secrets: Mapping[str, str]) -> str:
    """Return a filled-in text with the secrets in their places.

    Raises:
        KeyError: one is not there.

    """
    return _STAND_IN.sub(lambda match: secrets[match[1]], text)


def put_secrets_in_json(data: Any, secrets: Mapping[str, str]) -> Any:
    """Return JSON with the secrets in their places."""
    return _each(data, lambda text: put_secrets(text, secrets))
