"""Keys that vendors publish, with which they sign what they send: fetched through the one door, and kept for a while.

Which document is meant, and which key in it, says `Inbound.signed_by`; its host is one that the connector declares. What was
fetched is kept in this process for as long as the vendor allows. An unknown key makes us look again, since the vendor may
have begun to use a new one; but not more often than every `APART` seconds, whatever number of requests name unknown keys.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from connectors.answers import Answer
from connectors.base import Connector, Values
from connectors.failures import Failure
from connectors.http import Api, base_url
from connectors.inbound import Forged, NoKey, Published
from connectors.journal import OnlyLooks

WITHIN = 4.0
"""Seconds that a fetch may take, while the vendor waits for our answer."""
APART = 30.0
"""Seconds between two fetches of a document."""
SHORTEST, LONGEST = 300.0, 86_400.0
"""Seconds for which a document is kept at least and at most, whatever its Cache-Control says."""
MOST = 64
"""Documents that are kept. Each is named by a connector's declaration, so there are few."""


@dataclass
class _Document:
    keys: Mapping[str, Any] = field(default_factory=dict)
    good_until: float = 0.0
    asked_at: float | None = None


kept: dict[str, _Document] = {}
"""By URL. Only `published_key` changes it."""
_lock = Lock()


def published_key(declared: Connector, settings: Values, wanted: Published) -> Any:
    """Return the key that a request says it is signed with.

    Raises:
        Forged: the vendor publishes no such key.
        NoKey: whether it does cannot be known now.

    """
    place = "/".join([base_url(declared, settings, wanted.host), *wanted.path])
    document = _turn(place, wanted.key_id)
    if wanted.key_id in document.keys:
        return document.keys[wanted.key_id]
    try:
        with Api(declared, settings, OnlyLooks(WITHIN)) as api:
            answer = api.at(wanted.host).get(*wanted.path)
        keys = wanted.keys(answer)
    except Failure as failure:
        raise NoKey(f"The keys that {declared.label} publishes could not be read: {failure.message}") from None
    good_until = time.time() + _seconds(answer)
    with _lock:
        kept[place] = _Document(keys, good_until, document.asked_at)
    if wanted.key_id not in keys:
        raise Forged(f"It is signed with a key that {declared.label} does not publish.")
    return keys[wanted.key_id]


def _turn(place: str, key_id: str) -> _Document:
    """Return what is kept of a document, if it is good and has the key; else take the turn to fetch it.

    Raises:
        NoKey: somebody else has fetched it just now, or is about to.

    """
    now = time.time()
    with _lock:
        document = kept.pop(place, _Document())
        kept[place] = document  # the last to go
        while len(kept) > MOST:
            del kept[next(iter(kept))]
        if now < document.good_until and key_id in document.keys:
            return document
        if document.asked_at is not None and now - document.asked_at < APART:
            raise NoKey("The key is not among those that were read a moment ago, and they are not read again so soon.")
        document.asked_at = now
        return _Document(asked_at=now)


def _seconds(answer: Answer) -> float:
    """Return for how long the vendor allows to keep an answer (RFC 9111, 4.2.1), within our bounds."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    control = headers.get("cache-control", "").lower()
    lasts = re.search(r"\bmax-age\s*=\s*\"?([0-9]{1,9})", control)
    if lasts is None or "no-store" in control or "no-cache" in control:
        return SHORTEST
    age = headers.get("age", "")
    spent = int(age) if age.isascii() and age.isdecimal() and len(age) < 10 else 0
    return min(max(float(lasts[1]) - spent, SHORTEST), LONGEST)
