"""What may be kept or shown of a request, an answer or a text: everything but secrets.

`redact` is used on what is stored of a vendor call, on error texts and on log lines. Two rules work together: values of
keys that name a secret are masked whatever they hold, and every secret that the caller knows is masked wherever it stands.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

MASK = "[secret]"
# Names of headers, form fields, query parameters and JSON keys whose value is a secret or a token.
SECRET_NAME = re.compile(
    r"(?i)^(authorization|proxy-authorization|cookie|set-cookie|x-publisher-token|publishertoken|idempotency-?signature)$"
    r"|password|secret|api[-_]?key|private[-_]?key|access[-_]?token|refresh[-_]?token|id[-_]?token|session[-_]?id|signature|credential"
)
# A secret shorter than this would mask half of an ordinary text.
SHORTEST = 6


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` with every one of `secrets` masked, as it is and as a URL would carry it."""
    spellings = {form for secret in secrets if len(secret) >= SHORTEST for form in (secret, quote(secret, safe=""))}
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, MASK)
    return text


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
    return mask(value, known) if isinstance(value, str) else value
