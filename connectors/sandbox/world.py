"""What a vendor's world is: each module in `connectors/sandbox/worlds/` has one, its `WORLD`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from connectors.sandbox.http import Request, Response
from connectors.sandbox.people import Person
from connectors.sandbox.store import Json, Store

Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]
"""A table for people: its title, its columns, its rows."""


def empty(_: Store, __: Json | None = None) -> None:
    """Begin with nothing."""


def by_user_id(_: Person) -> Mapping[str, str]:
    """Return no trait: people are known by the App's user ids, or by their addresses."""
    return {}


@dataclass(frozen=True, kw_only=True)
class World:
    """One vendor, as far as Engage asks anything of it.

    Args:
        key: the connector's key, and the first segment of the world's address.
        label: the vendor's name.
        setup: returns what a person types to set the connection up: the settings' names, with credentials that this world accepts.
        answer: answers one request, inside the store's transaction.
        state: returns the world for the control API.
        tables: returns what people look at to see what became of it, beyond the list of effects.
        seed: fills the world as it is at its start; with a second argument, adds to it or replaces in it.
        traits: returns the traits by which the vendor's actions find somebody here, beside names and e-mail address.

    """

    key: str
    label: str
    setup: Callable[[Store], Mapping[str, str]]
    answer: Callable[[Request, Store], Response]
    state: Callable[[Store], Json]
    tables: Callable[[Store], Sequence[Table]]
    seed: Callable[[Store, Json | None], None] = empty
    traits: Callable[[Person], Mapping[str, str]] = by_user_id
