"""Who is at the other end when a proxy of the operator's stands between."""

import ipaddress
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse


class ForwardedAddressMiddleware:
    """Put the visitor's address where everybody looks for it: REMOTE_ADDR (history, lock-out, rate limits).

    Only with ENGAGE_BEHIND_PROXY. The one proxy in front adds the address that it saw behind whatever the visitor had sent,
    so the last entry of X-Forwarded-For counts, and no other.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Correct the address, then answer."""
        if settings.ENGAGE_BEHIND_PROXY and (seen := _last(request.headers.get("X-Forwarded-For", ""))):
            request.META["REMOTE_ADDR"] = seen
        return self.get_response(request)


def _last(forwarded: str) -> str:
    """Return the last entry where it is an address, else an empty text."""
    entry = forwarded.rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(entry))
    except ValueError:
        return ""
