"""Actions that analytics vendors share: an event of the designer's own, and traits. A subclass for each vendor says how."""

from django import forms
from django.core.exceptions import ValidationError

from connectors.base import ANSWERED_AT, USER_ID, Action, Json, Needs, ObjectField, Values, given, if_known, object_in
from connectors.failures import Missing
from connectors.forwarders import TraitNames, trait_names


class Properties(forms.Form):
    """What goes with an event or a message."""

    properties = ObjectField(
        label="Properties",
        required=False,
        example='{"offer": "SAVE20"}',
        help_text="What goes with it: names, and texts, numbers or true and false.",
    )
    traits = TraitNames("They become properties, where they are known.")

    def clean_properties(self) -> str:
        """Refuse what is nested: not every vendor takes it, and reports show one level."""
        text: str = self.cleaned_data["properties"]
        if text and not all(isinstance(value, (str, int, float)) for value in object_in(text).values()):
            raise ValidationError("A property is a text, a number, true or false.")
        return text


class NamesTraits(Action):
    """An action with the input `traits`, the names of those that go along where they are known."""

    def needs_with(self, inputs: Values) -> Needs:
        """Add the traits that are named."""
        return super().needs_with(inputs) & if_known(*trait_names(inputs.get("traits")))


class WithProperties(NamesTraits):
    """An action whose inputs are `Properties`, besides its own; `custom_properties()` returns them."""

    class Inputs(Properties):
        """What goes with it."""


class CustomEvent(WithProperties):
    """Sends an event of the designer's; a subclass for each vendor says how."""

    needs = given(USER_ID, ANSWERED_AT)

    class Inputs(Properties):
        """What the event is called, and what goes with it."""

        event = forms.CharField(label="Event name", max_length=255, help_text="What it is called in reports.")
        field_order = ("event", "properties", "traits")


class SendTraits(NamesTraits):
    """Sends traits of the person; a subclass for each vendor says how."""

    needs = given(USER_ID, ANSWERED_AT)

    class Inputs(forms.Form):
        """Which traits."""

        traits = TraitNames("Those that are known are sent.", required=True)


def custom_properties(user: Json, inputs: Values) -> Json:
    """Return the properties that the designer wrote, and the traits that become some."""
    told = object_in(inputs["properties"]) if inputs["properties"] else {}
    return told | named_traits(user, inputs)


def named_traits(user: Json, inputs: Values) -> Json:
    """Return the traits that are named and known."""
    return {name: user[name] for name in trait_names(inputs["traits"]) if name in user}


def chosen_traits(user: Json, inputs: Values) -> Json:
    """Return the traits that are named and known, one at least.

    Raises:
        Missing: none of them is.

    """
    if known := named_traits(user, inputs):
        return known
    raise Missing(Needs.lacking(trait_names(inputs["traits"])))
