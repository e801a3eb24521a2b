"""A vendor's own OpenAPI description, asked whether a request that was really sent is one that it describes."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import yaml
from jsonschema import TypeChecker
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from openapi_schema_validator import OAS30Validator
from openapi_schema_validator import oas30_format_checker as formats
from referencing import Registry
from referencing.jsonschema import DRAFT4

from tests.connectors.fake_vendor import NOTHING, Heard

Json = Any
METHODS = {"get", "put", "post", "delete", "patch"}


def _is_number(_: TypeChecker, value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value) is not None)


def _is_integer(_: TypeChecker, value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"-?\d+", value) is not None


def _is_boolean(_: TypeChecker, value: Any) -> bool:
    return value in ("true", "false")


def _of_a_number(keyword: str) -> Any:
    """Return a keyword's check that takes a number out of its text first."""

    def check(validator: Any, limit: Any, value: Any, schema: Json) -> Any:
        number = float(value) if validator.is_type(value, "number") else value
        return OAS30Validator.VALIDATORS[keyword](validator, limit, number, schema)

    return check


WRITTEN: Any = extend(  # type: ignore[no-untyped-call]
    OAS30Validator,
    {keyword: _of_a_number(keyword) for keyword in ("minimum", "maximum")},
    type_checker=OAS30Validator.TYPE_CHECKER.redefine("number", _is_number)
    .redefine("integer", _is_integer)
    .redefine("boolean", _is_boolean),
)
"""Judges values that came as text: in a query, a path, a header or a form."""


class Description:
    """An OpenAPI 3.0 (or Swagger 2.0) description.

    Stricter than the format asks for: a query parameter or a member of a body that the description does not name is a
    problem, too, since vendors ignore what they do not know, and a coupon in a misspelt member is a coupon not applied.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        resource = DRAFT4.create_resource(document)
        self._registry = Registry().with_resource("", resource)
        self._resolver = self._registry.resolver()

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a file in JSON or YAML."""
        text = file.read_text()
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        document = json.loads(text) if file.suffix == ".json" else yaml.load(text, Loader=loader)  # noqa: S506 - safe
        return cls(_as_openapi(document) if "swagger" in document else document)

    def problems(self, heard: Heard, base: str = "") -> list[str]:
        """Say what the vendor does not describe in a request; `base` is the path that its server's URL ends with."""
        path = base + heard.path
        found = self._operation(heard.method, path)
        if found is None:
            return [f"No operation {heard.method} {path}"]
        item, operation, in_path = found
        return [
            f"{heard.method} {path}: {problem}"
            for problem in (*self._parameters(item, operation, in_path, heard), *self._body(operation, heard))
        ]

    # --- which operation ------------------------------------------------------------------------------------------

    def _operation(self, method: str, path: str) -> tuple[Json, Json, dict[str, str]] | None:
        """Find the operation with the most literal path (`/plans/new` before `/plans/{id}`)."""
        matches = []
        for template, item in self.document["paths"].items():
            if method.lower() not in METHODS & set(item):
                continue
            names = re.findall(r"{([^}]+)}", template)
            pattern = re.sub(r"\\{[^}]+\\}", "([^/]+)", re.escape(template.partition("#")[0]))
            if matched := re.fullmatch(pattern, path):
                in_path = dict(zip(names, map(unquote, matched.groups()), strict=True))
                matches.append((len(names), item, item[method.lower()], in_path))
        return min(matches, key=lambda match: match[0])[1:] if matches else None

    # --- its parameters -------------------------------------------------------------------------------------------

    def _parameters(self, item: Json, operation: Json, in_path: dict[str, str], heard: Heard) -> Iterator[str]:
        declared = [self._read(one) for one in (*item.get("parameters", ()), *operation.get("parameters", ()))]
        headers = {name.lower(): value for name, value in heard.headers}
        query = _nested(heard.query)
        known = {one["name"].removesuffix("[]") for one in declared if one["in"] == "query"}
        yield from (f"the query parameter {name!r} is unknown" for name in query if name not in known)
        for one in declared:
            name, place = one["name"], one["in"]
            came = {"query": query, "path": in_path, "header": headers}.get(place, {})
            value = came.get(name.lower() if place == "header" else name.removesuffix("[]"))
            if value is None:
                if one.get("required"):
                    yield f"the {place} parameter {name!r} is missing"
            elif "schema" in one:
                yield from self._against(WRITTEN, one["schema"], value, f"{place}.{name}")

    # --- its body -------------------------------------------------------------------------------------------------

    def _body(self, operation: Json, heard: Heard) -> Iterator[str]:
        declared = self._read(operation.get("requestBody", {}))
        if heard.body is NOTHING:
            if declared.get("required"):
                yield "a body is missing"
            return
        kind = (heard.header("Content-Type") or "").partition(";")[0]
        if kind not in declared.get("content", {}):
            yield f"a body of type {kind!r} is not described"
            return
        is_form = kind == "application/x-www-form-urlencoded"
        value = _nested(list(heard.body.items())) if is_form else heard.body
        schema = declared["content"][kind]["schema"]
        yield from self._against(WRITTEN if is_form else OAS30Validator, schema, value, "body")
        yield from self._unknown(schema, value, "body")

    def _against(self, validator: Any, schema: Json, value: Any, where: str) -> Iterator[str]:
        judge: Validator = validator(schema, registry=self._registry, _resolver=self._resolver, format_checker=formats)
        for error in judge.iter_errors(value):
            yield f"{'.'.join([where, *map(str, error.absolute_path)])}: {error.message}"

    def _unknown(self, schema: Json, value: Any, where: str) -> Iterator[str]:
        """Name the members that no part of the schema names."""
        shapes = list(self._shapes(schema))
        if isinstance(value, list):
            items = {"anyOf": [shape["items"] for shape in shapes if "items" in shape] or [{}]}
            for number, member in enumerate(value):
                yield from self._unknown(items, member, f"{where}.{number}")
        if not isinstance(value, dict) or any(_is_open(shape) for shape in shapes):
            return
        for name, member in value.items():
            meant = [shape["properties"][name] for shape in shapes if name in shape.get("properties", {})]
            if meant:
                yield from self._unknown({"anyOf": meant}, member, f"{where}.{name}")
            else:
                yield f"{where}.{name} is unknown"

    def _shapes(self, schema: Json) -> Iterator[Json]:
        """Go through a schema and all that it is composed of."""
        schema = self._read(schema)
        parts = [part for word in ("allOf", "anyOf", "oneOf") for part in schema.get(word, ())]
        if not parts or "properties" in schema:
            yield schema
        for part in parts:
            yield from self._shapes(part)

    def _read(self, node: Json) -> Json:
        while "$ref" in node:
            node = self._resolver.lookup(node["$ref"]).contents
        return node


def _is_open(shape: Json) -> bool:
    """Whether it takes members of any name: it says so, or is an object of which nothing is said."""
    if shape.get("additionalProperties"):
        return True
    return shape.get("type", "object") == "object" and "properties" not in shape


def _nested(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Read `a[b][0]=c` as `{"a": {"b": ["c"]}}`: how forms write what is nested."""
    told: dict[str, Any] = {}
    for name, value in pairs:
        first, *inner = re.findall(r"[^\[\]]+|(?<=\[)(?=\])", name)
        node, key = told, first
        for part in inner:
            node = node.setdefault(key, {})
            key = part or str(len(node))
        node[key] = value
    return {name: _as_list(value) for name, value in told.items()}


def _as_list(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    members = {name: _as_list(member) for name, member in value.items()}
    return list(members.values()) if members and list(members) == [str(n) for n in range(len(members))] else members


def _as_openapi(document: Mapping[str, Any]) -> Json:
    """Write the operations of a Swagger 2.0 description as OpenAPI 3.0 does; definitions stay where they are."""
    paths: Json = {}
    for path, item in document["paths"].items():
        paths[path] = {method: _operation(item[method]) for method in METHODS & set(item)}
    return {**document, "paths": paths}


def _operation(operation: Json) -> Json:
    told = {"parameters": [], **{name: value for name, value in operation.items() if name != "parameters"}}
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "body":
            content = {"application/json": {"schema": parameter["schema"]}}
            told["requestBody"] = {"required": parameter.get("required", False), "content": content}
        else:
            told["parameters"].append({**parameter, "schema": {"type": parameter.get("type", "string")}})
    return told


def path_of(url: str) -> str:
    """Return the path of a base URL, without a trailing slash."""
    return urlsplit(url).path.rstrip("/")
