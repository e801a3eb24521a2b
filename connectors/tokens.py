"""Access tokens of an account, kept between attempts: encrypted, in the cache that all workers share.

A token is found by the account it was made for: the connection, its generation, and everything that the connection is set up
with. Whoever changes a secret or a setting meets no token that was given out before. Nothing depends on the cache: without
it every attempt asks for a token of its own, and several that ask at once each get one.
"""

import json
import logging
import time
from typing import TYPE_CHECKING

from django.conf import settings as django_settings
from django.core.cache import cache
from django.utils.crypto import salted_hmac

from connectors.auth import Token
from engage.vault.fields import SealedText, Unreadable

if TYPE_CHECKING:
    from connectors.base import Connector, Values
    from connectors.models import Connection

logger = logging.getLogger(__name__)

EARLY = 60.0
"""Seconds before its end at which a token is no longer used: twice what an attempt may take."""


def place(connector: "Connector", account: "Connection", settings: "Values", name: str) -> str:
    """Return the key under which a token is kept. No secret can be read or guessed from it: it is made with SECRET_KEY."""
    override = django_settings.ENGAGE_VENDOR_URLS.get(connector.key)
    everything = json.dumps([connector.key, override, dict(settings)], sort_keys=True, default=str)
    fingerprint = salted_hmac("connectors.tokens", everything, algorithm="sha256").hexdigest()
    return f"token:{account.pk}:{account.generation}:{name}:{fingerprint}"


def recall(key: str) -> str | None:
    """Return the token that is kept there, if it is still good."""
    try:
        stored = cache.get(key)
        if not isinstance(stored, str):
            return None
        kept = json.loads(SealedText(stored, "A token in the cache").reveal())
    except Unreadable:
        return None
    except Exception:
        logger.exception("The cache could not be asked for a token.")
        return None
    # Sealed with its key, so that a copy under another one opens nothing.
    return str(kept["token"]) if kept["key"] == key and kept["until"] > time.time() else None


def keep(key: str, token: Token) -> None:
    """Keep a token until shortly before it expires."""
    seconds = token.seconds - EARLY
    if seconds < 1:
        return
    kept = json.dumps({"key": key, "token": token.value, "until": time.time() + seconds})
    try:
        cache.set(key, SealedText.of(kept, "A token in the cache").stored, timeout=seconds)
    except Exception:
        logger.exception("A token could not be kept in the cache.")


def forget(key: str) -> None:
    """Drop what is kept there."""
    try:
        cache.delete(key)
    except Exception:
        logger.exception("A token could not be dropped from the cache.")
