"""Connectors as a Django app."""

from django.apps import AppConfig


class ConnectorsConfig(AppConfig):
    """Vendors: what they can do, their accounts, and the only door out to them."""

    name = "connectors"

    def ready(self) -> None:
        """Register the checks of the declarations."""
        from connectors import checks  # noqa: F401 - registers itself
