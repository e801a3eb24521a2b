"""How much a request may bring: said before anything looks at it.

Django writes the files of a form to the disk while it looks for the CSRF token, whoever sent them, and limits only what is no file.
"""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from engage.tenancy import current
from engage.tenancy.roles import Right

UPLOAD = "admin:sync_source_upload"
PIECE = 256 * 1024
THROWN_AWAY = 5
"""Up to so many times what may be uploaded, what somebody sends who is signed in is read and thrown away."""


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
        form, file = settings.DATA_UPLOAD_MAX_MEMORY_SIZE, _file_most(request)
        try:
            length = int(request.META.get("CONTENT_LENGTH") or 0)
        except ValueError:  # nothing, to Django
            length = 0
        if length <= form + file:
            return None
        if request.user.is_authenticated and length <= settings.ENGAGE_UPLOAD_MOST * THROWN_AWAY:
            _throw_away(request)
        sizes = {"sent": length / 1e6, "form_most": form / 1e6, "file_most": file / 1e6}
        return render(request, "413.html", sizes, status=413)


def _file_most(request: HttpRequest) -> int:
    """Return how many bytes of a file may come beside a form: some where one is uploaded by somebody who may, else none."""
    match = request.resolver_match
    is_upload = match is not None and match.view_name == UPLOAD and current.may(request, Right.MANAGE_SOURCES)
    return int(settings.ENGAGE_UPLOAD_MOST) if is_upload else 0


def _throw_away(request: HttpRequest) -> None:
    """Read what comes, or the answer may not be seen.

    The server ends a connection of which something is unread, and a browser that is still sending may show that instead:
    https://github.com/hyperium/hyper/issues/3944.
    """
    while request.read(PIECE):
        pass
