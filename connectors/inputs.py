"""Inputs that an administrator declares for an action of their own, one a line: `plan: Which plan [optional]`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django import forms

from connectors.placeholders import BadTemplate

_INPUT = re.compile(r"(?P<name>[a-z][a-z0-9_]{0,39})\s*:\s*(?P<label>[^\[\]]+?)\s*(?P<marks>(?:\[[^\[\]]*\]\s*)*)")


class NumberField(forms.FloatField):
    """A number that stays whole where it is."""

    def to_python(self, value: Any) -> Any:
        """Return an int or a float."""
        number = super().to_python(value)
        return int(number) if number is not None and number.is_integer() else number


FIELDS: dict[str, type[forms.Field]] = {
    "text": forms.CharField,
    "number": NumberField,
    "e-mail": forms.EmailField,
    "yes or no": forms.BooleanField,
}
OPTIONAL, FROM_THE_PERSON = "optional", "from the person"


@dataclass(frozen=True)
class Input:
    """A declared input."""

    name: str
    label: str
    kind: str
    is_optional: bool
    from_person: bool

    def field(self) -> forms.Field:
        """Return its form field."""
        return FIELDS[self.kind](label=self.label, required=not self.is_optional and self.kind != "yes or no")


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Go through the lines of a text that hold anything, with their numbers."""
    yield from ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip())


def read_inputs(text: str) -> list[Input]:
    """Return the inputs of lines like `plan: Which plan [optional]`.

    Raises:
        BadTemplate: a line cannot be read; says which.

    """
    inputs: list[Input] = []
    for number, line in lines(text):
        found = _INPUT.fullmatch(line)
        if not found:
            raise BadTemplate(f"Line {number}: write an input as name: Label, the name in lower-case letters.")
        marks = {mark.strip().lower() for mark in re.findall(r"\[([^\[\]]*)\]", found["marks"])}
        kinds = sorted(marks & set(FIELDS))
        if unknown := sorted(marks - set(FIELDS) - {OPTIONAL, FROM_THE_PERSON}):
            known = ", ".join(f"[{mark}]" for mark in (*FIELDS, OPTIONAL, FROM_THE_PERSON))
            raise BadTemplate(f"Line {number}: “[{unknown[0]}]” means nothing. There are {known}.")
        if len(kinds) > 1:
            raise BadTemplate(f"Line {number}: an input is of one kind, this one of {len(kinds)}.")
        if any(known_input.name == found["name"] for known_input in inputs):
            raise BadTemplate(f"Line {number}: “{found['name']}” stands here twice.")
        kind = kinds[0] if kinds else "text"
        inputs.append(Input(found["name"], found["label"], kind, OPTIONAL in marks, FROM_THE_PERSON in marks))
    return inputs


class InputsField(forms.CharField):
    """The text in which inputs are declared; `read_inputs()` reads it."""

    def __init__(self) -> None:
        super().__init__(
            required=False,
            label="Inputs",
            widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
            help_text="What is filled in for each prompt, one a line, e.g. plan: Which plan. Add [number], [e-mail], "
            "[yes or no], [optional], or [from the person] where the prompt's own form may fill it; never let a code or an "
            "amount come from there.",
        )

    def validate(self, value: str) -> None:
        """Refuse what makes no form."""
        super().validate(value)
        try:
            read_inputs(value)
        except BadTemplate as wrong:
            raise forms.ValidationError(str(wrong)) from None


def form_of(inputs: list[Input]) -> type[forms.Form]:
    """Return the `Inputs` of an action with these inputs."""
    return type("Inputs", (forms.Form,), {one.name: one.field() for one in inputs})
