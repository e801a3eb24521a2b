"""Keys that vendors publish, with which they sign what they send: fetched through the one door, and kept for a while.

Which document is meant, and which key in it, says `Inbound.signed_by`; its host is one that the connector declares. What was
fetched is kept in this process for as long as the vendor allows. An unknown key makes us look again, since the vendor may
have begun to use a new one; but a host is not asked more often than every `APART` seconds, whatever requests name.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
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
"""Seconds between two fetches from a host."""
SHORTEST, LONGEST = 300.0, 86_400.0
"""Seconds for which a document is kept at least and at most, whatever its Cache-Control says."""
MOST = 64
"""Documents that are kept."""


@dataclass(frozen=True)
class _Document:
    keys: Mapping[str, Any]
    good_until: float


kept: dict[str, _Document] = {}
"""By URL; the one that was used last is the last."""
asked: dict[str, float] = {}
"""When a host was asked last, by its base URL. Hosts are declared, and no request adds one."""
_lock = Lock()


def published_key(declared: Connector, settings: Values, wanted: Published) -> Any:
    """Return the key that a request says it is signed with.

    Raises:
        Forged: the vendor publishes no such key.
        NoKey: whether it does cannot be known now.

    """
    host = base_url(declared, settings, wanted.host)
    place = "/".join([host, *wanted.path])
    if (key := _recalled(place, wanted.key_id)) is not None:
        return key
    _take_turn(host)
    try:
        with Api(declared, settings, OnlyLooks(WITHIN)) as api:
            answer = api.at(wanted.host).text(*wanted.path)
        keys = wanted.keys(answer)
    except Failure as failure:
        raise NoKey(f"The keys that {declared.label} publishes could not be read: {failure.message}") from None
    with _lock:
        kept[place] = _Document(keys, time.time() + _seconds(answer))
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


def _take_turn(host: str) -> None:
    """Take the turn to ask a host.

    Raises:
        NoKey: it was asked just now.

    """
    now = time.time()
    with _lock:
        if now - asked.get(host, -APART) < APART:
            raise NoKey("The key is not among those that were read a moment ago, and they are not read again so soon.")
        asked[host] = now


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
