"""Every request knows its App and role."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from engage.tenancy import current


class CurrentAppMiddleware:
    """Find the App at hand for requests of signed-in people; what machines ask for finds its own by key or address."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Enter the App, then answer."""
        if not request.path.startswith(("/api/", "/hooks/", "/site-actions/")):
            current.enter(request)
        return self.get_response(request)
