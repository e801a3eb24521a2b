"""Every request of a person knows its App and role, and a session that lacks the second factor is nobody's."""

from collections.abc import Callable

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import resolve, reverse

from engage.tenancy import current, second_factor
from engage.tenancy.models import User

Answers = Callable[[HttpRequest], HttpResponse]

FOR_MACHINES = ("/api/", "/hooks/", "/site-actions/")
"""What machines ask for finds its App by key or address, and knows no session."""


class MachinesMiddleware:
    """Answer machines here: sessions, CSRF tokens and messages, which the middlewares after this one are about, are for people."""

    def __init__(self, get_response: Answers) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Call a machine's view; let a person's request pass.

        Raises:
            Http404: no view has this address.

        """
        if not request.path_info.startswith(FOR_MACHINES):
            return self.get_response(request)
        match = request.resolver_match = resolve(request.path_info)
        response: HttpResponse = match.func(request, *match.args, **match.kwargs)
        return response


class SecondFactorMiddleware:
    """End a session that has not shown the second factor that its person has; lead who needs one to where it is set up."""

    def __init__(self, get_response: Answers) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Look at the factor, then answer."""
        user = request.user
        if isinstance(user, User) and not user.is_verified():  # type: ignore[attr-defined] # django-otp's
            if second_factor.factor_of(user) is not None:
                logout(request)
            elif _needs_one(request.path) and second_factor.required_by(user).exists():
                return HttpResponseRedirect(reverse("admin:second_factor"))
        return self.get_response(request)


def _needs_one(path: str) -> bool:
    """Whether a page is of the console, and neither the one where a factor is set up nor the way out."""
    open_to_all = (reverse("admin:second_factor"), reverse("admin:logout"), "/console/account/")
    return path.startswith(reverse("admin:index")) and not path.startswith(open_to_all)


class CurrentAppMiddleware:
    """Find the App at hand for requests of signed-in people."""

    def __init__(self, get_response: Answers) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Enter the App, then answer."""
        current.enter(request)
        return self.get_response(request)
