"""Which sites' pages may call the runtime API from a browser."""

from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.http import HttpRequest

from engage.tenancy.models import App

DEFAULT_PORTS = {"http": 80, "https": 443}


def origin(text: str) -> str:
    """Return `text` as the origin that a browser sends: scheme, host in lower case, and the port unless it is the usual one.

    Raises:
        ValidationError: it is not an origin (another scheme, no host, a path, a wildcard).

    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValidationError(f"“{text}” is not an address.") from None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValidationError(
            f"“{text}” must look like https://www.example.com, with https:// (or http:// for tests) in front."
        )
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username or "*" in parts.hostname:
        raise ValidationError(f"“{text}” must name one site only: no path, no user name and no wildcard.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname.encode("idna").decode("ascii")
    return f"{parts.scheme}://{host}" + (f":{port}" if port and port != DEFAULT_PORTS[parts.scheme] else "")


def is_known(sender: object, request: HttpRequest, **_: Any) -> bool:
    """Whether some App lists the origin of this request (corsheaders asks; the API then checks that it is the key's App)."""
    asking = request.headers.get("origin", "")
    return bool(asking) and any(asking in listed for listed in App.objects.values_list("domains", flat=True).iterator())
