"""Built-in actions: they need no connection."""

from django import forms
from django.core.validators import URLValidator

from connectors.base import Action, Category, Connector, HandedOver, Json, ProbeLine, Replay, Support, Values
from connectors.http import Api


class Redirect(Action):
    """Send the person's browser to an address."""

    key, label = "redirect", "Redirect"
    description = "Opens a page in the browser once the person has answered."
    replay = Replay.NATURAL
    replay_proof = "Following a link twice opens the same page; nothing is sent to a vendor."
    by_client = "On web pages engage.js follows the address; another app must open it."

    class Inputs(forms.Form):
        """Where to."""

        url = forms.URLField(
            label="Address",
            assume_scheme="https",
            help_text="Opened in the same window.",
            validators=[URLValidator(["http", "https"])],  # by itself the field takes ftp as well
        )

    def perform(self, api: Api, user: Json, inputs: Values) -> HandedOver:
        """Hand the address over to the client."""
        return HandedOver({"kind": "redirect", "url": inputs["url"]}, f"Redirects to {inputs['url']}")


class BuiltIn(Connector):
    """What needs no vendor."""

    key, label, category = "builtin", "Built in", Category.BUILT_IN
    description = "Actions that need no vendor account."
    support = Support.CONTRACT
    actions = (Redirect,)
    needs_connection = False

    def probe(self, api: Api) -> list[ProbeLine]:
        """There is nothing to test."""
        return [ProbeLine(True, "Built-in actions are always on.")]
