"""Prompts as a Django app."""

from typing import Any

from django.apps import AppConfig


class PromptsConfig(AppConfig):
    """Prompts, what their answers set in motion, and how that went."""

    name = "prompts"

    def ready(self) -> None:
        """Hear when a connection can be used again: what was held for it goes on."""
        from connectors.connections import became_healthy, switched_on

        became_healthy.connect(_resume, dispatch_uid="prompts.resume")
        switched_on.connect(_release, dispatch_uid="prompts.release")


def _resume(connection: Any, **_: Any) -> None:
    from prompts.executions import resume

    resume(connection.pk)


def _release(connection: Any, choice: str, by: str, **_: Any) -> None:
    from prompts.decisions import release

    release(connection, choice, by=by)
