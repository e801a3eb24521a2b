"""Which sites' pages may call the runtime API from a browser."""

import re
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.http import HttpRequest

from engage.tenancy.models import App

HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
DEFAULT_PORTS = {"http": 80, "https": 443}


def origin(text: str) -> str:
    """Return `text` as the origin that a browser sends: scheme, host in lower case, and the port unless it is the usual one.

    Raises:
        ValidationError: it is not an origin (another scheme, no host, a path, a wildcard).

    """
    try:
        parts = urlsplit(text)
        port = parts.port
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host.encode("idna").decode("ascii")
    except ValueError:
        raise ValidationError(f"“{text}” is not an address.") from None
    if parts.scheme not in DEFAULT_PORTS or not host:
        raise ValidationError(
            f"“{text}” must look like https://www.example.com, with https:// (or http:// for tests) in front."
        )
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username or not HOST.fullmatch(host):
        raise ValidationError(f"“{text}” must name one site only: no path, no user name and no wildcard.")
    return f"{parts.scheme}://{host}" + (f":{port}" if port and port != DEFAULT_PORTS[parts.scheme] else "")


def is_known(request: HttpRequest, **_: Any) -> bool:
    """Whether some App lists the origin of this request (corsheaders asks; the API then checks that it is the key's App)."""
    asking = request.headers.get("origin", "")
    caller = getattr(request, "auth", None)  # the API has found it, and its App lists the origin in most cases
    if asking and caller and asking in caller.app.domains:
        return True
    return bool(asking) and any(asking in listed for listed in App.objects.values_list("domains", flat=True).iterator())
