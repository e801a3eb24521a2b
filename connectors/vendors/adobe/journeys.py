"""Journey Optimizer's custom actions: a journey calls us, and a user's traits follow.

https://experienceleague.adobe.com/en/docs/journey-optimizer/using/action/about-custom-action-configuration. A call that does not
succeed in time is repeated up to three times, so that it is stored and answered at once, and sets what it names.
"""

import re
from collections.abc import Iterable
from typing import ClassVar

from connectors.base import Values
from connectors.http import Api
from connectors.inbound import Inbound, Learned, Message, Request, Unreadable, check_key, moment, signing_secrets

PROPERTY = re.compile(r"properties\[(.{1,80})\]", re.DOTALL)
TYPE = "properties"


class Journeys(Inbound):
    """`GET …?properties[plan]=gold`, with the headers `USER-ID` and `X-API-Key`."""

    setup_steps = (
        "Think of a long random key, enter it in the settings here as the API key of journeys, and save.",
        "In Journey Optimizer, open Administration > Configurations > Actions and create a custom action: this address, GET.",
        "As authentication choose API key: the name is X-API-Key, the location is the header.",
        "Add a header USER-ID, filled in by the journey with the user id that your app reports.",
        "Add a query parameter for each trait, like properties[plan], and fill it in in the journey.",
        "Add a query parameter at and fill it in with now(): so a repeated call is recognised, and an old one undoes no newer one.",
        "Use the action in a journey and send a test profile through it: the call appears here within seconds.",
    )
    types: ClassVar[frozenset[str]] = frozenset({TYPE})
    methods = frozenset({"GET", "POST", "PUT"})

    def verify(self, request: Request, settings: Values) -> None:
        """Journeys do not sign. The key is taken from the header alone: what stands in an address is logged on the way."""
        check_key(signing_secrets(settings), request.header("x-api-key"))

    def messages(self, request: Request, settings: Values) -> Iterable[Message]:
        """One call, which names a user and properties. Without the time of its step every call is one of its own.

        The same content again is a repeat only at the same time: a trait may go back to what it was.
        """
        named = dict(request.query)
        found = [(match[1], value) for name, value in request.query if (match := PROPERTY.fullmatch(name))]
        user = request.header("user-id") or named.get("userId", "")
        properties = dict(found)
        if not user or not found or len(properties) < len(found):
            raise Unreadable("It names no user, or no property, or one property twice.")
        at = moment(named["at"]) if "at" in named else None
        number = f"{user} {request.fingerprint}" if at else f"{user} {request.received_at.isoformat()}"
        happened = min(at, request.received_at) if at else request.received_at
        yield Message(number, TYPE, {"user_id": user, "properties": properties}, happened)

    def read(self, message: Message, api: Api) -> Iterable[Learned]:
        """Every property is a trait, and a subject of its own: of each the newest call counts. An empty one takes it away."""
        for name, value in message.payload["properties"].items():
            yield Learned(
                {name: value or None},
                user_id=message.payload["user_id"],
                subject=f"property {name}",
                as_of=message.happened_at,
            )
