"""Versions of a prompt: what was shown, and which bindings run for an answer that names a version."""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from engage.audit.record import snapshot
from prompts.models import Binding, Interaction, Prompt, PromptStatus, PromptVersion

CONTENT = [
    "key",
    "name",
    "type",
    "status",
    "title",
    "message",
    "accept_label",
    "secondary_label",
    "decline_label",
    "timeout_seconds",
    "inputs",
    "url_pattern",
    "starts_at",
    "ends_at",
    "limit",
    "limit_days",
    "text_done",
    "text_follows",
    "text_not_possible",
]
"""What a version keeps of its prompt, beside the bindings."""

_LANES = {interaction: lane for lane, interaction in enumerate(Interaction.values)}


def publish(prompt: Prompt, by: str) -> PromptVersion:
    """Make what the prompt and its bindings are now the version that is shown from now on.

    Call it after every change of either, in the transaction of the change.

    Args:
        by: who changed it: a person's e-mail address, or a command.

    """
    with transaction.atomic():
        locked = Prompt.objects.select_for_update().get(pk=prompt.pk)
        last = locked.versions.order_by("-number").values_list("number", flat=True).first() or 0
        locked.versions.filter(superseded_at=None).update(superseded_at=timezone.now())
        version: PromptVersion = locked.versions.create(
            number=last + 1, content=snapshot(locked, CONTENT), bindings=_enabled(locked), created_by=by
        )
        Prompt.objects.filter(pk=prompt.pk).update(version=version.number)
    prompt.version = version.number
    return version


def _enabled(prompt: Prompt) -> list[dict[str, Any]]:
    """Return the enabled bindings as `PromptVersion` keeps them, lane by lane in their order."""
    rows = prompt.bindings.filter(archived_at=None, enabled=True).order_by("position", "id")
    return [as_kept(binding) for binding in sorted(rows, key=lambda binding: _LANES[binding.interaction])]


def as_kept(binding: Binding) -> dict[str, Any]:
    """Return a binding as a version keeps it, and as an event is planned from it."""
    return {
        "id": binding.pk,
        "interaction": binding.interaction,
        "position": binding.position,
        "connector": binding.connector,
        "action": binding.action,
        "connection": str(binding.connection_id) if binding.connection_id else None,
        "inputs": binding.inputs,
        "on_error": binding.on_error,
        "daily_limit": binding.daily_limit,
        "max_age_hours": binding.max_age_hours,
    }


def was_live(prompt: Prompt, since: datetime) -> bool:
    """Return whether a prompt that is paused now was live after a moment."""
    return prompt.versions.filter(content__status=PromptStatus.LIVE, superseded_at__gt=since).exists()


def to_run(prompt: Prompt, number: int | None, now: datetime, shown_now: PromptVersion | None = None) -> PromptVersion:
    """Return the version whose bindings run for an answer that names `number`.

    It is that version while it is current and for 24 h after; otherwise, and for an unknown number, the current one.

    Args:
        shown_now: the current one, where the caller has it; nothing is asked then unless another one is named.

    Raises:
        PromptVersion.DoesNotExist: the prompt was never published.

    """
    if shown_now is not None and number in (None, shown_now.number):
        return shown_now
    candidates = {
        version.number: version for version in prompt.versions.filter(Q(superseded_at=None) | Q(number=number))
    }
    named = candidates.get(number) if number is not None else None
    if named and (named.superseded_at is None or now - named.superseded_at < PromptVersion.RUNS_FOR):
        return named
    for version in candidates.values():
        if version.superseded_at is None:
            return version
    raise PromptVersion.DoesNotExist(f"{prompt} was never published.")
