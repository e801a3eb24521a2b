"""Lists that people type, of what a vendor lists to nobody: one thing a line, and all lines of one shape."""

import re
from collections.abc import Iterator
from typing import Any

from django import forms

from connectors.base import Values
from connectors.inputs import lines


class ListField(forms.CharField):
    """A list, kept as it was typed; `typed()` reads it.

    Args:
        line: what a line is made of, all of it; blanks around it do not count.
        wanted: says so to people: "write a SKU, and a name behind it if you wish".
        options: as every field of Django takes them.

    """

    def __init__(self, line: re.Pattern[str], *, wanted: str, **options: Any) -> None:
        self.line, self.wanted = line, wanted
        area = forms.Textarea(attrs={"rows": 4, "spellcheck": "false"})
        super().__init__(**{"required": False, "max_length": 20_000, "widget": area, **options})

    def validate(self, value: str) -> None:
        """Refuse a line of another shape."""
        super().validate(value)
        for number, line in lines(value):
            if not self.line.fullmatch(line):
                raise forms.ValidationError(f"Line {number}: {self.wanted}.", code="invalid")


def typed(settings: Values, name: str, line: re.Pattern[str]) -> Iterator[re.Match[str]]:
    """Go through the things of the list that was typed in a setting."""
    found = (line.fullmatch(text) for _, text in lines(str(settings.get(name) or "")))
    return (thing for thing in found if thing)


def labelled(code: str, name: str | None) -> str:
    """Return a thing in words: its name, if it has one, and its code."""
    return f"{name} ({code})" if name else code
