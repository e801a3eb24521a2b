"""Somebody who failed to sign in too often: axes counts, this says so, to the browser and to the person by e-mail."""

from datetime import timedelta
from typing import Any

from axes.attempts import get_cool_off_threshold
from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_cool_off
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib import admin
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from engage.tenancy.mail import send_sparingly
from engage.tenancy.models import User

KNOWN = "engage_known"
"""Cookie of a browser in which somebody has signed in with the password that they have now."""
KNOWN_FOR = timedelta(days=365)
FROM_EVERYWHERE = 20
"""So many failures of a person from everywhere count like one from here: a hundred in a quarter of an hour lock."""


class Handler(AxesDatabaseHandler):  # type: ignore[misc]
    """Counts the failures of a person from one address, as axes does, and from everywhere: addresses are cheap.

    The latter lock only browsers in which the person has not signed in yet. Nobody is kept out of their own by others' failures,
    and the link of a forgotten password makes another browser known.
    """

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        """Return how many failures stand against this request."""
        from_here: int = super().get_failures(request, credentials)
        name = username(request, credentials)
        if _is_known(request, name):
            return from_here
        lately = AccessAttempt.objects.filter(username=name, attempt_time__gte=get_cool_off_threshold(request))
        from_everywhere: int = lately.aggregate(count=Sum("failures_since_start", default=0))["count"]
        return max(from_here, from_everywhere // FROM_EVERYWHERE)


def remember(response: HttpResponse, user: User) -> HttpResponse:
    """Make the browser that is answered one that the person is known in. Returns the answer."""
    response.set_signed_cookie(
        KNOWN,
        "yes",
        salt=_salt(user),
        max_age=KNOWN_FOR,
        path=reverse("admin:index"),
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return response


def _is_known(request: HttpRequest, name: str) -> bool:
    if request.user.is_authenticated and request.user.get_username() == name:
        return True
    if KNOWN not in request.COOKIES:
        return False
    user = User.objects.filter(email=name).first()
    return user is not None and bool(request.get_signed_cookie(KNOWN, default="", salt=_salt(user), max_age=KNOWN_FOR))


def _salt(user: User) -> str:
    return f"{KNOWN}:{user.pk}:{user.get_session_auth_hash()}"


def username(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str:
    """Return under which name failures are counted: the address in lower case, so that its spelling gives no new tries."""
    given = (credentials or {}).get("username") or request.POST.get("username", "")
    return str(given).strip().lower()


def locked_out(request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
    """Answer a locked-out sign-in, in the same way whether there is such a person or not."""
    minutes = round(_cool_off() / timedelta(minutes=1))
    return render(
        request,
        "tenancy/locked_out.html",
        {
            **admin.site.each_context(request),
            "title": "Try again later",
            "minutes": minutes,
            "email_is_set_up": settings.EMAIL_IS_SET_UP,
        },
        status=429,
    )


def tell_the_person(request: HttpRequest, username: str, **_: Any) -> None:
    """Write to the person when they are locked out (axes' signal also comes for every later try)."""
    if not getattr(request, "axes_failures_since_start", None):
        return
    user = User.objects.filter(email=username, is_active=True).first()
    if user is not None:
        until = timezone.now() + _cool_off()
        send_sparingly(
            user,
            "Your sign-in to Engage is locked",
            "tenancy/locked_out.txt",
            {"until": until, "name": user.name},
        )


def _cool_off() -> timedelta:
    return get_cool_off() or timedelta(0)
