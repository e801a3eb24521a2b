"""Actions attached to a prompt's interactions: what a designer does with them, and what their inputs are in the end."""

from collections.abc import Mapping
from typing import Any

from connectors.failures import Missing


def resolve(inputs: Mapping[str, Any], traits: Mapping[str, Any], form_inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return input name -> value for one answer.

    Args:
        inputs: a binding's inputs: name -> {"from": "fixed", "value": ...}, {"from": "trait", "name": ...} or
            {"from": "input", "name": ...}; the last two with "optional": true where the action can do without.
        traits: what is known of the subscriber.
        form_inputs: what the person typed into the prompt.

    Raises:
        Missing: a trait or form input is not there; the message names it.
    """
    return {name: _value(name, source, traits, form_inputs) for name, source in inputs.items()}


def _value(name: str, source: Mapping[str, Any], traits: Mapping[str, Any], form_inputs: Mapping[str, Any]) -> Any:
    if source.get("from") == "fixed":
        return source.get("value")
    known, sentence = {
        "trait": (traits, f"No {source.get('name')} is known of this subscriber."),
        "input": (form_inputs, f"The answer came without “{source.get('name')}”."),
    }.get(str(source.get("from")), ({}, f"“{name}” has no value."))
    value = known.get(str(source.get("name")))
    if value in (None, ""):
        if source.get("optional"):
            return ""
        raise Missing(sentence)
    return value
