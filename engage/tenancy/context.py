"""What every console page shows of the App at hand."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.templatetags.static import static

from engage.tenancy import current
from engage.tenancy.models import User
from engage.tenancy.roles import Right


def current_app(request: HttpRequest) -> dict[str, Any]:
    """Template context: `engage_app`, `engage_role`, `engage_apps` (to switch), `engage_may` (right name -> bool)."""
    app = current.current_app_or_none(request)
    if app is None or not isinstance(request.user, User):
        return {}
    return {
        "engage_app": app,
        "engage_role": current.current_role(request),
        "engage_apps": current.apps_of(request.user),
        "engage_may": {right.name.lower(): current.may(request, right) for right in Right},
    }


def account_pages(request: HttpRequest) -> dict[str, Any]:
    """Template context of the pages below /console/account/: the console's colours, style and script, as on its own pages."""
    return admin.site.each_context(request) if request.path.startswith("/console/account/") else {}


def console_stylesheet(_: HttpRequest) -> str:
    """Return the one stylesheet that the console adds to unfold's."""
    return static("console.css")


def console_script(_: HttpRequest) -> str:
    """Return the one script that the console adds to unfold's: dialogs, copying, times in the viewer's zone."""
    return static("console.js")


def console_icon(_: HttpRequest) -> str:
    """Return the console's icon in the browser's tab."""
    return static("console.svg")
