"""What a vendor's world is: a module in `connectors/sandbox/worlds/` that has these names."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from connectors.sandbox.http import Request, Response
from connectors.sandbox.people import Person
from connectors.sandbox.store import Json, Store

Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]
"""A table for people: its title, its columns, its rows."""


class World(Protocol):
    """One vendor, as far as Engage asks anything of it."""

    KEY: str
    """The connector's key, and the first segment of the world's address."""
    LABEL: str

    def seed(self, store: Store, more: Json | None = None) -> None:
        """Fill the world as it is at its start; with `more`, add to it or replace in it."""

    def setup(self, store: Store) -> Mapping[str, str]:
        """Return what a person types to set the connection up: the settings' names, with credentials that this world accepts."""

    def traits(self, person: Person) -> Mapping[str, str]:
        """Return the traits by which the vendor's actions find somebody here, beside names and e-mail address."""

    def answer(self, request: Request, store: Store) -> Response:
        """Answer one request, inside the store's transaction."""

    def state(self, store: Store) -> Json:
        """Return the world for the control API."""

    def tables(self, store: Store) -> Sequence[Table]:
        """Return what people look at to see what became of it, beyond the list of effects."""
