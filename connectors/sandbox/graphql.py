"""GraphQL queries, as far as the worlds answer any: fields, arguments, variables, and fragments that stand where they are used.

It is no engine: there is no schema, and what an object has is what its data show. A field that is not there is refused in the
words of Shopify, the only vendor here that speaks it.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.sandbox.store import Json

_TOKEN = re.compile(r'\s*(\.\.\.|[{}()\[\]:!$=]|"(?:[^"\\\n]|\\.)*"|-?[0-9]+|[A-Za-z_][A-Za-z0-9_]*|,|#[^\n]*|$)')
Roots = Mapping[str, Callable[[Mapping[str, Any]], Any]]
"""What the root fields are, by their arguments. An object says with `__typename` what it is; only what it has can be asked for."""


class Wrong(Exception):
    """A query cannot be answered; its arguments are a code and words."""


@dataclass(frozen=True)
class Field:
    """A field of a selection; or, with `on`, what a fragment of that type selects."""

    name: str
    arguments: Mapping[str, Any]
    fields: Sequence["Field"]
    on: str = ""


def answered(asked: Json, roots: Roots) -> Json:
    """Return what a request's body gets: `data`, or `errors`."""
    variables = asked.get("variables")
    try:
        query = _read(str(asked.get("query")), variables if isinstance(variables, dict) else {})
        known = {field.name: roots[field.name](field.arguments) for field in query if field.name in roots}
        return {"data": _picked(query, {"__typename": "QueryRoot", **known})}
    except Wrong as wrong:
        code, words = wrong.args
        return {"errors": [{"message": words, "extensions": {"code": code}}]}


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise Wrong("BAD_REQUEST", f"Parse error on {text[at : at + 20].strip()!r}")
        if found[1] != "," and not found[1].startswith("#"):
            yield found[1]
        at = found.end()
    while True:
        yield ""


def _read(document: str, variables: Json) -> Sequence[Field]:
    """Return the fields of the document's query, whose declared variables are not looked at."""
    tokens = _tokens(document)
    first = next(tokens)
    if first not in ("query", "{"):
        raise Wrong("BAD_REQUEST", "This sandbox answers queries only.")
    while first not in ("{", ""):
        first = next(tokens)
    return _selection(tokens, variables)


def _selection(tokens: Iterator[str], variables: Json) -> Sequence[Field]:
    """Return the fields up to the brace that ends them."""
    fields: list[Field] = []
    word = next(tokens)
    while word != "}":
        name, on, arguments = word, "", {}
        if word == "...":
            if next(tokens) != "on":
                raise Wrong("BAD_REQUEST", "This sandbox reads fragments where they are used.")
            name, on = "", next(tokens)
        elif not re.fullmatch(r"\w+", word):
            raise Wrong("BAD_REQUEST", f"Parse error on {word or 'the end'!r}")
        word = next(tokens)
        if word == "(":
            arguments = _arguments(tokens, variables)
            word = next(tokens)
        inner: Sequence[Field] = ()
        if word == "{":
            inner = _selection(tokens, variables)
            word = next(tokens)
        fields.append(Field(name, arguments, inner, on))
    return fields


def _arguments(tokens: Iterator[str], variables: Json) -> Json:
    given: Json = {}
    while (name := next(tokens)) != ")":
        if not name or next(tokens) != ":":
            raise Wrong("BAD_REQUEST", f"Parse error on {name or 'the end'!r}")
        value = next(tokens)
        try:
            given[name] = variables.get(next(tokens)) if value == "$" else json.loads(value)
        except ValueError:
            raise Wrong("BAD_REQUEST", f"This sandbox takes no {value!r} for an argument.") from None
    return given


def _picked(fields: Sequence[Field], value: Any) -> Any:
    """Return what is asked for of a value."""
    if isinstance(value, list):
        return [_picked(fields, one) for one in value]
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Wrong("selectionMismatch", f"Selections can't be made on scalars (selections on {value!r})")
    shown: Json = {}
    kind = value["__typename"]
    for field in fields:
        if field.on:
            shown |= _picked(field.fields, value) if field.on == kind else {}
        elif field.name not in value:
            raise Wrong("undefinedField", f"Field '{field.name}' doesn't exist on type '{kind}'")
        elif field.fields:
            shown[field.name] = _picked(field.fields, value[field.name])
        elif isinstance(value[field.name], (dict, list)):
            raise Wrong("selectionMismatch", f"Field must have selections (field '{field.name}' returns an object)")
        else:
            shown[field.name] = value[field.name]
    return shown
