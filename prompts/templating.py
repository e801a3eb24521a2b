"""`{{ trait }}` in a prompt's texts: names of traits are replaced by their values, and nothing else is interpreted.

`{{ first_name|there }}` says what stands there for somebody whose trait is not known. Values are text, not HTML:
whoever shows them (`engage.js`) sets them as text.
"""

import re
from collections.abc import Mapping
from typing import Any

_VARIABLE = re.compile(r"\{\{\s*(?P<name>[\w.\-]+)\s*(?:\|\s*(?P<default>[^{}|]*?)\s*)?\}\}")


def render(text: str, traits: Mapping[str, Any]) -> str:
    """Return `text` with every variable replaced; an unknown trait becomes its default, or nothing."""
    return _VARIABLE.sub(lambda match: _spelled(traits.get(match["name"])) or match["default"] or "", text)


def variables(text: str) -> set[str]:
    """Return the names of the traits that `text` uses."""
    return {match["name"] for match in _VARIABLE.finditer(text)}


def problems(text: str) -> list[str]:
    """Return, as sentences, what in `text` looks like a variable and is none."""
    rest = _VARIABLE.sub("", text)
    found = []
    if "{%" in rest or "{#" in rest:
        found.append("Only {{ trait }} is replaced; {% … %} and {# … #} would be shown as they stand.")
    found.extend(
        f"“{odd[:60]}” is not a variable. Write {{{{ trait }}}} or {{{{ trait|what to show without it }}}}."
        for odd in re.findall(r"\{\{.*?(?:\}\}|$)", rest, flags=re.MULTILINE)
    )
    if not found and "}}" in rest:
        found.append("There is a “}}” without its “{{”.")
    return found


def _spelled(value: Any) -> str:
    """Return a trait's value as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)
