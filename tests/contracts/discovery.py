"""One of Google's discovery documents, asked whether a request that was really sent is one that it describes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from tests.connectors.fake_vendor import NOTHING, Heard

Json = Any
KINDS = {"string": str, "boolean": bool, "integer": int, "object": dict, "array": list, "any": object}
DURATION = re.compile(r"-?\d+(\.\d{1,9})?s")


class Discovery:
    """A discovery document. A query parameter or a member of a body that it does not name is a problem, too."""

    def __init__(self, document: Json) -> None:
        self.document = document
        self.methods = list(_methods(document))

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a file."""
        return cls(json.loads(file.read_text()))

    def problems(self, heard: Heard) -> list[str]:
        """Say what Google does not describe in a request."""
        fitting = [method for method in self.methods if self._is(method, heard)]
        if len(fitting) != 1:
            return [f"{len(fitting)} methods are {heard.method} {heard.path}"]
        (method,) = fitting
        known = {name: one for name, one in method.get("parameters", {}).items() if one["location"] == "query"}
        unknown = [f"the parameter {name} is unknown" for name, _ in heard.query if name not in known]
        wrong = [
            f"{name} is {value!r}" for name, value in heard.query if name in known and not _fits(known[name], value)
        ]
        return [*unknown, *wrong, *self._body(method, heard)]

    def differences(self, schema: str, value: Any) -> list[str]:
        """Say what a value holds that Google does not describe in this schema."""
        return list(self._against({"$ref": schema}, value, schema))

    def _is(self, method: Json, heard: Heard) -> bool:
        parts = re.split(r"{(\+?\w+)}", method["path"])
        pattern = "/" + "".join(
            _pattern(method, part) if number % 2 else re.escape(part) for number, part in enumerate(parts)
        )
        return bool(method["httpMethod"] == heard.method and re.fullmatch(pattern, heard.path))

    def _body(self, method: Json, heard: Heard) -> Iterator[str]:
        declared = method.get("request")
        if heard.body is NOTHING:
            return
        if declared is None:
            yield "a body is not described"
            return
        yield from self._against({"$ref": declared["$ref"]}, heard.body, "body")

    def _against(self, schema: Json, value: Any, where: str) -> Iterator[str]:
        if "$ref" in schema:
            schema = self.document["schemas"][schema["$ref"]]
        if not isinstance(value, KINDS[schema["type"]]):
            yield f"{where} is no {schema['type']}"
        elif isinstance(value, dict):
            for name, member in value.items():
                if known := schema.get("properties", {}).get(name, schema.get("additionalProperties")):
                    yield from self._against(known, member, f"{where}.{name}")
                else:
                    yield f"{where}.{name} is unknown"
        elif isinstance(value, list):
            for member in value:
                yield from self._against(schema["items"], member, f"{where}[]")
        elif value not in schema.get("enum", [value]):
            yield f"{where} is {value!r}"
        elif schema.get("format") == "google-duration" and not DURATION.fullmatch(str(value)):
            yield f"{where} is no duration"


def _pattern(method: Json, name: str) -> str:
    """Return what a part of a path may be; of one that is several segments (`{+parent}`), Google says which."""
    return str(method["parameters"][name[1:]]["pattern"]).strip("^$") if name[0] == "+" else "[^/:]+"


def _methods(resource: Json) -> Iterator[Json]:
    yield from resource.get("methods", {}).values()
    for inner in resource.get("resources", {}).values():
        yield from _methods(inner)


def _fits(parameter: Json, value: str) -> bool:
    patterns = {"boolean": "true|false", "integer": r"\d+", "string": "(?s).*"}
    return bool(re.fullmatch(patterns[parameter["type"]], value))
