"""Somebody who failed to sign in too often: axes counts, this says so, to the browser and to the person by e-mail."""

from datetime import timedelta
from typing import Any

from axes.helpers import get_cool_off
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from engage.tenancy.mail import send_in_background
from engage.tenancy.models import User


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
        {**admin.site.each_context(request), "title": "Try again later", "minutes": minutes},
        status=429,
    )


def tell_the_person(request: HttpRequest, username: str, **_: Any) -> None:
    """Write to the person once, when they are locked out (axes' signal also comes for every later try)."""
    if not getattr(request, "axes_failures_since_start", None):
        return
    user = User.objects.filter(email=username, is_active=True).first()
    if user is not None:
        until = timezone.now() + _cool_off()
        send_in_background(
            user.email,
            "Your sign-in to Engage is locked",
            "tenancy/locked_out.txt",
            {"until": until, "name": user.name},
        )


def _cool_off() -> timedelta:
    return get_cool_off() or timedelta(0)
