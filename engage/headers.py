"""The Content-Security-Policy of the installation's own pages (Django sets the other security headers itself)."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

# Alpine evaluates the expressions in unfold's attributes ('unsafe-eval'); unfold writes its colours into a <style>, and
# htmx its indicator's ('unsafe-inline' for styles). No inline script runs, and nothing is loaded from elsewhere.
CONSOLE = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Whatever else we answer is never a frame of somebody's page, and never carries plug-ins or another base.
ELSEWHERE = "base-uri 'none'; object-src 'none'; frame-ancestors 'none'"


class ContentSecurityPolicyMiddleware:
    """Set the policy, unless the view has set one of its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._console = reverse("admin:index")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer with a policy."""
        response = self.get_response(request)
        policy = CONSOLE if request.path.startswith(self._console) else ELSEWHERE
        response.headers.setdefault("Content-Security-Policy", policy)
        return response
