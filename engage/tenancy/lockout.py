"""Somebody who failed to sign in too often."""

from typing import Any

from django.http import HttpRequest, HttpResponse


def locked_out(request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
    """Answer a locked-out sign-in."""
    return HttpResponse("Locked", status=429)
