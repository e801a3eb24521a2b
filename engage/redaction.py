"""What may be kept or shown of a request, an answer or a text: everything but secrets.

`redact` is used on what is stored of a vendor call, on error texts and on log lines. Two rules work together: values of
keys that name a secret are masked whatever they hold, and every secret that the caller knows is masked wherever it stands.
"""

import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "[secret]"
# Names of headers, form fields, query parameters and JSON keys whose value is a secret or a token.
SECRET_NAME = re.compile(
    r"(?i)^(authorization|proxy-authorization|cookie|set-cookie|x-publisher-token|publishertoken|idempotency-?signature)$"
    r"|password|secret|api[-_]?key|private[-_]?key|access[-_]?token|refresh[-_]?token|id[-_]?token|session[-_]?id|signature|credential|passphrase|token$|^jwt$"
)
# A secret shorter than this would mask half of an ordinary text.
SHORTEST = 6


# What this installation's own keys and links look like (`engage.tenancy.models.new_token`).
OWN_TOKEN = re.compile(r"\b(sk|pk|is|inv)_[A-Za-z0-9_-]{43}")


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` with every one of `secrets` masked: as it is, and as URLs, forms, JSON and XML spell it."""
    return _mask(text, _all_spellings(secrets))


def _mask(text: str, spellings: Iterable[str]) -> str:
    for spelling in spellings:
        text = text.replace(spelling, MASK)
    return OWN_TOKEN.sub(MASK, text)


def _all_spellings(secrets: Iterable[str]) -> list[str]:
    """Return every spelling of the secrets, the longest first: one may be the beginning of another."""
    spellings = {form for secret in secrets if len(secret) >= SHORTEST for form in _spellings(secret)}
    return sorted(spellings, key=len, reverse=True)


def _spellings(secret: str) -> set[str]:
    in_json = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), html.escape(secret), *in_json}


def redact(value: Any, secrets: Iterable[str] = ()) -> Any:
    """Return a copy of a JSON-like `value` without secrets: by the name of their key, and wherever a known one stands."""
    known = tuple(secrets)
    return _redact(value, known, _all_spellings(known))


def _redact(value: Any, known: tuple[str, ...], spellings: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {
            _mask(str(name), spellings): MASK
            if SECRET_NAME.search(str(name)) and item not in (None, "", [], {})
            else _redact(item, known, spellings)
            for name, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_redact(item, known, spellings) for item in value]
    if isinstance(value, bytes):
        return _mask(value.decode("utf-8", "replace"), spellings)
    if isinstance(value, str):
        return _mask(value, spellings)
    return MASK if len(str(value)) >= SHORTEST and str(value) in known else value
