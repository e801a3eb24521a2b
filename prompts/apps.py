"""Prompts as a Django app."""

from typing import Any

from django.apps import AppConfig


class PromptsConfig(AppConfig):
    """Prompts, what their answers set in motion, and how that went."""

    name = "prompts"

    def ready(self) -> None:
        """Hear when a connection pauses or can be used again, so that what waits for it does so. And hear what vendors tell."""
        from connectors.breaker import resumed
        from connectors.connections import became_healthy, switched_on
        from connectors.limits import paused
        from sync.inbound import told
        from sync.reports import asked_what_can_run
        from sync.sources import asked_for_ids
        from sync.traits import asked_for_uses

        became_healthy.connect(_resume, dispatch_uid="prompts.resume")
        switched_on.connect(_release, dispatch_uid="prompts.release")
        paused.connect(_postpone, dispatch_uid="prompts.postpone")
        resumed.connect(_bring_back, dispatch_uid="prompts.bring_back")
        told.connect(_ask_now, dispatch_uid="prompts.ask_now")
        asked_for_ids.connect(_sent_ids, dispatch_uid="prompts.sent_ids")
        asked_for_uses.connect(_uses, dispatch_uid="prompts.uses")
        asked_what_can_run.connect(_can_run, dispatch_uid="prompts.can_run")


def _resume(connection: Any, **_: Any) -> None:
    from prompts.retries import resume

    resume(connection.pk)


def _release(connection: Any, choice: str, by: str, **_: Any) -> None:
    from prompts.decisions import release

    release(connection, choice, by=by)


def _postpone(connection_id: Any, seconds: float, sentence: str, **_: Any) -> None:
    from prompts.pauses import postpone

    postpone(connection_id, seconds, sentence)


def _bring_back(connection_id: Any, **_: Any) -> None:
    from prompts.pauses import bring_back

    bring_back(connection_id)


def _ask_now(connection: Any, subscriber: Any, **_: Any) -> None:
    from prompts.retries import ask_now

    ask_now(connection.pk, subscriber.pk)


def _sent_ids(app: Any, most: int, **_: Any) -> list[str]:
    from prompts.events import sent_ids

    return sent_ids(app, most)


def _can_run(run: Any, **_: Any) -> Any:
    from prompts.skipped import tell

    return tell(run)


def _uses(app: Any, **_: Any) -> list[tuple[str, str]]:
    from prompts.bindings import uses_of_traits

    return uses_of_traits(app)
