"""The vocabulary in which a vendor's taking of traits is declared: every night, and by button, people's traits go there.

A connector that takes them sets `push` to a subclass of `TraitPush`. `sync.pushes` runs it: which people, in which batches, and
what becomes of a push that breaks off. Nothing here touches the network or the database.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms

from connectors.base import Replay, Values
from connectors.forwarders import Batched

SETTING = "traits_nightly"


@dataclass(frozen=True)
class Person:
    """A subscriber as a vendor that takes traits sees them: the traits that the connection names, as far as they are known."""

    user_id: str
    traits: Mapping[str, Any]  # never empty


class TraitPush(Batched[Person]):
    """How a vendor takes people's traits. `most_items` are people, and a repeat must change nothing."""

    replays = frozenset({Replay.KEY, Replay.NATURAL})


def nightly_choice(vendor: str) -> forms.BooleanField:
    """Return the setting `traits_nightly`: whether the traits that `traits` names are pushed to a vendor at night."""
    return forms.BooleanField(
        label="Push traits every night",
        required=False,
        help_text=f"At 04:00 of the App's time zone the traits named above go to {vendor}: the first time of every subscriber who "
        "has one of them, then of those whose traits have changed. A trait that is no longer known stays there as it was.",
    )


def is_on(push: TraitPush, settings: Values) -> bool:
    """Whether a connection with these settings pushes traits: it was told to, and which."""
    return bool(settings.get(SETTING)) and bool(push.traits(settings))
