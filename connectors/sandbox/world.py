"""What a vendor's world is: each module in `connectors/sandbox/worlds/` has one, its `WORLD`."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from connectors.sandbox.http import Refusal, Request, Response, is_json
from connectors.sandbox.people import PEOPLE, Person
from connectors.sandbox.store import Json, Store

Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]
"""A table for people: its title, its columns, its rows."""


def empty(_: Store, __: Json | None = None) -> None:
    """Begin with nothing."""


def by_user_id(_: Person) -> Mapping[str, str]:
    """Return no trait: people are known by the App's user ids, or by their addresses."""
    return {}


class Declined(Exception):
    """A store sells nothing to the device, in its own words."""


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
        note: what people should know before they try it; "" where there is nothing.
        device: carries an instruction out as the app on somebody's device does, and returns the `detail` of the app's report;
            raises Declined. Only stores, where no server can buy, have one.

    """

    key: str
    label: str
    setup: Callable[[Store], Mapping[str, str]]
    answer: Callable[[Request, Store], Response]
    state: Callable[[Store], Json]
    tables: Callable[[Store], Sequence[Table]]
    seed: Callable[[Store, Json | None], None] = empty
    traits: Callable[[Person], Mapping[str, str]] = by_user_id
    note: str = ""
    device: Callable[[Person, Json, Store], Json] | None = None

    def respond(self, request: Request, store: Store) -> Response:
        """Let the vendor answer; or somebody's device, which is asked at `/device/<user id>`."""
        asked = re.fullmatch("/device/([^/]+)", request.path)
        if asked is None or self.device is None:
            return self.answer(request, store)
        if request.method != "POST" or not is_json(request):
            return Response(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, {"message": "Post the instruction as JSON."})
        person = next((person for person in PEOPLE if person.user_id == asked[1]), None)
        if person is None:
            return Response(HTTPStatus.NOT_FOUND, {"message": "Nobody here has this user id."})
        try:
            return Response(body={"result": "done", "detail": self.device(person, request.json(), store)})
        except Declined as no:
            return Response(body={"result": "failed", "detail": {"reason": str(no)}})
        except Refusal as refusal:
            return refusal.response
        except (AttributeError, LookupError, TypeError, ValueError):
            return Response(HTTPStatus.BAD_REQUEST, {"message": "This is no instruction for this store."})
