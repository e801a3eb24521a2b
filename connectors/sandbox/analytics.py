"""What the worlds of analytics vendors have in common: events that come in, some of them twice, and what is known of people."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.sandbox.people import PEOPLE
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Table

SHOWN = 50


@dataclass(frozen=True)
class Intake:
    """What one vendor takes in.

    Args:
        key: the vendor.
        kept: seconds for which it knows the id of what came.

    """

    key: str
    kept: float = float("inf")

    def seed(self, store: Store, more: Json | None = None) -> None:
        """Let the vendor know the first half of the people, whose plans may have changed since; nothing can be added."""
        if more is not None:
            return
        for person in PEOPLE[: len(PEOPLE) // 2]:
            store.put(self.key, "profile", person.user_id, {"who": person.user_id, "traits": {"plan": "Basic"}})

    def is_new(self, store: Store, number: object) -> bool:
        """Whether nothing came under this id before."""
        before = store.get(self.key, "taken", number)
        if before is not None and before["at"] > store.now() - self.kept:
            return False
        store.put(self.key, "taken", number, {"at": store.now()})
        return True

    def receive(self, store: Store, event: object, who: object, properties: Any = None) -> None:
        """Take an event in."""
        told = properties if isinstance(properties, dict) else {}
        store.put(self.key, "event", uuid.uuid4().hex, {"event": str(event), "who": str(who), "properties": told})
        store.effect(self.key, "event_received", who, event=str(event))

    def describe(self, store: Store, who: object, traits: Any) -> None:
        """Set what is known of somebody; nothing happens where it is known already."""
        if not isinstance(traits, dict) or not traits:
            return
        profile = store.get(self.key, "profile", who) or {"who": str(who), "traits": {}}
        known = profile["traits"] | traits
        if known != profile["traits"]:
            store.put(self.key, "profile", who, profile | {"traits": known})
            store.effect(self.key, "profile_updated", who, traits=_in_words(traits))

    def state(self, store: Store) -> Json:
        """Return what came and what is known, for the control API."""
        return {"events": store.all(self.key, "event"), "profiles": store.all(self.key, "profile")}

    def tables(self, store: Store) -> Sequence[Table]:
        """Return the newest events, and people."""
        events = store.all(self.key, "event")[: -SHOWN - 1 : -1]
        profiles = store.all(self.key, "profile")
        return [
            (
                "Events, newest first",
                ("Event", "Of", "Properties"),
                [(row["event"], row["who"], _in_words(row["properties"])) for row in events],
            ),
            ("People", ("Who", "Known of them"), [(row["who"], _in_words(row["traits"])) for row in profiles]),
        ]


def _in_words(told: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in told.items())
