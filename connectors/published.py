"""Keys that vendors publish, with which they sign what they send: fetched through the one door, and kept for a while.

Which document is meant, and which key in it, says `Inbound.signed_by`; its host is one that the connector declares. What was
fetched is kept in this process for as long as the vendor allows, and serves all connections. An unknown key makes us look again,
since the vendor may have begun to use a new one; but for one connection a host is not asked more often than every `APART`
seconds, whatever requests name. Nothing of a request is believed yet, so what is sent to one App takes no other's turn.
"""

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any
from uuid import UUID

from connectors.answers import Answer
from connectors.base import Connector, Values
from connectors.failures import Failure
from connectors.http import Api, base_url
from connectors.inbound import Forged, NoKey, Published
from connectors.journal import OnlyLooks

WITHIN = 4.0
"""Seconds that a fetch may take, while the vendor waits for our answer."""
APART = 30.0
"""Seconds between two fetches from a host for one connection."""
SHORTEST, LONGEST = 300.0, 86_400.0
"""Seconds for which a document is kept at least and at most, whatever its Cache-Control says; where the answer says nothing and
its keys say until when they are good, until then."""
MOST = 64
"""Documents that are kept."""


@dataclass(frozen=True)
class _Document:
    keys: Mapping[str, Any]
    good_until: float


kept: dict[str, _Document] = {}
"""By URL; the one that was used last is the last."""
asked: dict[tuple[UUID, str], float] = {}
"""When a host, by its base URL, was asked last for a connection; nothing that is older than `APART`."""
_lock = Lock()


def published_key(connection: UUID, declared: Connector, settings: Values, wanted: Published) -> Any:
    """Return the key that a request says it is signed with.

    Args:
        connection: to which the request was sent, with these `settings`.

    Raises:
        Forged: the vendor publishes no such key.
        NoKey: whether it does cannot be known now.

    """
    host = base_url(declared, settings, wanted.host)
    place = "/".join([host, *wanted.path])
    if (key := _recalled(place, wanted.key_id)) is not None:
        return key
    _take_turn(connection, host)
    try:
        with Api(declared, settings, OnlyLooks(WITHIN)) as api:
            answer = api.at(wanted.host).text(*wanted.path)
        keys = wanted.keys(answer)
    except Failure as failure:
        raise NoKey(f"The keys that {declared.label} publishes could not be read: {failure.message}") from None
    with _lock:
        kept[place] = _Document(keys, _good_until(answer, keys, wanted))
        while len(kept) > MOST:
            del kept[next(iter(kept))]
    if wanted.key_id not in keys:
        raise Forged(f"It is signed with a key that {declared.label} does not publish.")
    return keys[wanted.key_id]


def _recalled(place: str, key_id: str) -> Any:
    """Return a key of a document that is kept and still good; None where there is none."""
    with _lock:
        document = kept.pop(place, None)
        if document is None or time.time() >= document.good_until:
            return None
        kept[place] = document
        return document.keys.get(key_id)


def _take_turn(connection: UUID, host: str) -> None:
    """Take a connection's turn to ask a host.

    Raises:
        NoKey: it was asked just now.

    """
    now, turn = time.time(), (connection, host)
    with _lock:
        for over in [one for one, at in asked.items() if now - at >= APART]:
            del asked[over]
        if turn in asked:
            raise NoKey("The key is not among those that were read a moment ago, and they are not read again so soon.")
        asked[turn] = now


def _good_until(answer: Answer, keys: Mapping[str, Any], wanted: Published) -> float:
    """Return until when a document is kept: as long as the vendor allows, and no longer than its keys say that they are good."""
    allowed = _seconds(answer)
    ends = min((wanted.ends(key).timestamp() for key in keys.values()), default=None) if wanted.ends else None
    if allowed is None and ends is not None:
        return ends
    return min(time.time() + (allowed or SHORTEST), ends or math.inf)


def _seconds(answer: Answer) -> float | None:
    """Return for how long the vendor allows to keep an answer (RFC 9111, 4.2), within our bounds; None: it does not say."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    if not {"cache-control", "expires"} & set(headers):
        return None
    control = headers.get("cache-control", "").lower()
    lasts = re.search(r"\bmax-age\s*=\s*\"?([0-9]{1,9})", control)
    if lasts is None or "no-store" in control or "no-cache" in control:
        return SHORTEST
    age = headers.get("age", "")
    spent = int(age) if age.isascii() and age.isdecimal() and len(age) < 10 else 0
    return min(max(float(lasts[1]) - spent, SHORTEST), LONGEST)
