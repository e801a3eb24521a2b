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
    spellings = {form for secret in secrets if len(secret) >= SHORTEST for form in _spellings(secret)}
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, MASK)
    return OWN_TOKEN.sub(MASK, text)


def _spellings(secret: str) -> set[str]:
    in_json = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), html.escape(secret), *in_json}


def redact(value: Any, secrets: Iterable[str] = ()) -> Any:
    """Return a copy of a JSON-like `value` without secrets: by the name of their key, and wherever a known one stands."""
    known = tuple(secrets)
    if isinstance(value, Mapping):
        return {
            mask(str(name), known): MASK
            if SECRET_NAME.search(str(name)) and item not in (None, "", [], {})
            else redact(item, known)
            for name, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact(item, known) for item in value]
    if isinstance(value, bytes):
        return mask(value.decode("utf-8", "replace"), known)
    if isinstance(value, str):
        return mask(value, known)
    return MASK if len(str(value)) >= SHORTEST and str(value) in known else value
