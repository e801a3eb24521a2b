"""The console's sidebar: what a person does, in the order in which they do it."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse_lazy


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Return unfold's navigation for this request."""
    return [
        {"items": [{"title": "Dashboard", "icon": "home", "link": reverse_lazy("admin:index")}]},
    ]
