"""Sync as a Django app."""

from typing import Any

from django.apps import AppConfig


class SyncConfig(AppConfig):
    """Subscribers, what is known of them, and the files and webhooks that it comes from."""

    name = "sync"
    verbose_name = "User traits"

    def ready(self) -> None:
        """Hear when a connection is switched on, so that what waits for it is read."""
        from connectors.connections import switched_on

        switched_on.connect(_bring_back, dispatch_uid="sync.bring_back")


def _bring_back(connection: Any, **_: Any) -> None:
    from sync.inbound import bring_back

    bring_back(connection)
