"""How much a request may bring: said before anything reads it.

Django writes the files of a form to the disk while it looks for the CSRF token, whoever sent them, and limits only what is no file.
"""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from engage.tenancy import current
from engage.tenancy.roles import Right

UPLOAD = "admin:sync_source_upload"


class BodyLimitMiddleware:
    """Refuse people's requests that are too large, by the length that they state; without one, Django reads nothing.

    It stands before the CSRF check, whose `process_view` is what reads first. By then who is asking is known.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Let it pass: `process_view` decides."""
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: Any) -> HttpResponse | None:
        """Answer 413 where more comes than may."""
        most = _most(request)
        try:
            length = int(request.META.get("CONTENT_LENGTH") or 0)
        except ValueError:  # nothing, to Django
            length = 0
        if length <= most:
            return None
        text = f"This is too large: {length / 1e6:,.0f} MB were to be sent, and {most / 1e6:,.0f} MB are taken here."
        return HttpResponse(text, status=413, content_type="text/plain; charset=utf-8")


def _most(request: HttpRequest) -> int:
    """Return how many bytes may come: of a form, and of a file beside it where one is uploaded by somebody who may."""
    form: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    match = request.resolver_match
    if match is not None and match.view_name == UPLOAD and current.may(request, Right.MANAGE_SOURCES):
        return form + int(settings.ENGAGE_UPLOAD_MOST)
    return form
