"""Segment's webhook destinations: its events become traits within seconds.

https://segment.com/docs/connections/destinations/catalog/actions-webhook. `X-Signature` is the hexadecimal HMAC-SHA1 of the JSON
that was sent. Of a batch it covers the first element only (the destination's source says so: segmentio/action-destinations,
webhook), so a batch of more than one proves nothing about the rest, and is refused. No time is signed: what is sent twice is told
by its messageId.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError

from connectors.answers import Answer
from connectors.base import Json, Values, object_in
from connectors.http import Api
from connectors.inbound import (
    Forged,
    Inbound,
    Learned,
    Message,
    Request,
    Unreadable,
    check_hmac,
    moment,
    signing_secrets,
)

TRAIT = re.compile("[a-z][a-z0-9_]{0,79}")
TYPES = frozenset({"track", "page", "screen", "identify"})
IDENTIFY = "identify"


class Webhooks(Inbound):
    """Track, page, screen and identify calls."""

    setup_steps = (
        "In Segment, open Connections > Destinations, add Webhooks (Actions), and connect the source whose events you want.",
        "Enter the URL above, and as the shared secret the webhook signing secret that you have stored here.",
        "Leave batching switched off: Segment signs only the first event of a batch, so a batch is refused.",
        "Say under Settings, “What becomes traits”, which events are read. A deletion of a user at Segment deletes nobody here.",
    )
    types = TYPES

    def verify(self, request: Request, settings: Values) -> None:
        """Check the signature of the whole body, or of the one event of a list."""
        secrets, given = signing_secrets(settings), [request.header("X-Signature")]
        try:
            check_hmac(secrets, request.body, given, algorithm="sha1")
        except Forged:
            only = _only_element(request.body)
            if only is None:
                raise
            check_hmac(secrets, only, given, algorithm="sha1")

    def messages(self, request: Request, settings: Values) -> Iterable[Message]:
        """Return the calls."""
        told = request.json()
        for call in told.rows() if isinstance(told.data, list) else [told]:
            yield Message(call.text("messageId"), call.text("type"), call.data, moment(call.get("timestamp")))

    def read(self, message: Message, api: Api) -> Iterable[Learned]:
        """Return what the setting `taken` wants to know of an event."""
        call = Answer(message.payload, where="event")
        name = IDENTIFY if message.type == IDENTIFY else call.get("event" if message.type == "track" else "name")
        wanted = object_in(api.settings.get("taken") or "{}").get(name) if isinstance(name, str) else None
        user_id = call.get("userId")
        if not wanted or user_id is None:
            return []
        if not isinstance(user_id, str) or not user_id:
            raise Unreadable("Its userId is no text.")
        traits = {trait: value for trait, path in wanted.items() if (value := _at(message.payload, path)) is not None}
        trait = api.settings.get("id_trait")
        who: Json = {"found_by": ((trait, user_id),)} if trait else {"user_id": user_id}
        return [Learned(traits, subject=f"{message.type} {name}", as_of=message.happened_at, **who)] if traits else []


def _only_element(body: bytes) -> bytes | None:
    """Return the bytes of the one element of a JSON list, exactly as they came; None where it is no such list.

    Raises:
        Forged: it has several.

    """
    try:
        text = body.decode()
        if not text.startswith("["):
            return None
        _, end = json.JSONDecoder().raw_decode(text, 1)
    except (ValueError, RecursionError):
        return None
    if text[end:].strip() != "]":
        raise Forged(
            "It is a batch, of which Segment signs the first event only: switch batching off in the destination."
        )
    return text[1:end].encode()


def _at(data: Any, path: str) -> Any:
    """Return a text, number or bool at a place like "properties.title"; None where there is none."""
    for name in path.split("."):
        data = data.get(name) if isinstance(data, dict) else None
    return data if isinstance(data, (str, int, float)) else None


def check_taken(taken: Mapping[str, Any]) -> None:
    """See that the setting `taken` names traits, and places in an event.

    Raises:
        ValidationError: it does not.

    """
    for event, traits in taken.items():
        if not isinstance(traits, dict) or not traits:
            raise ValidationError(f"{event}: write an object of traits, and where their values are.")
        for trait, path in traits.items():
            if not TRAIT.fullmatch(trait):
                raise ValidationError(
                    f"{event}: {trait} is no name of a trait: lower-case letters, digits and underscores."
                )
            if not isinstance(path, str) or not path:
                raise ValidationError(
                    f"{event}: {trait} needs a place in the event, such as timestamp or properties.title."
                )
