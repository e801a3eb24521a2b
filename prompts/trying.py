"""Try a prompt's actions before anybody sees them: a preview, and a run for real, for test subscribers only."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Max, Q, QuerySet
from django.utils import timezone

from connectors import runner
from connectors.failures import Missing
from connectors.registry import declaration
from engage.tenancy.models import App
from engage.vault.fields import Unreadable
from prompts import bindings, events
from prompts.models import Binding, EventSource, Prompt, PromptEvent
from sync.models import Subscriber
from sync.traits import given_of, traits_of


def test_subscribers(app: App) -> QuerySet[Subscriber]:
    """Return the test subscribers of `app`, those whose time is over included; `last_test` is when one was last tried."""
    return (
        Subscriber.objects.filter(app=app, is_test=True)
        .select_related("test_added_by")
        .annotate(last_test=Max("events__received_at"))
        .order_by("user_id")
    )


def test_subscribers_now(app: App) -> QuerySet[Subscriber]:
    """Return the subscribers for whom actions may be tried at this moment."""
    return test_subscribers(app).filter(Q(test_until=None) | Q(test_until__gt=timezone.now()))


def preview(binding: Binding, subscriber: Subscriber, answers: Mapping[str, Any]) -> runner.Preview:
    """Do what an action would do for this subscriber up to its first write, which is shown and not sent."""
    found = declaration(binding)
    if found is None:
        return runner.Preview(runner.Result.REJECTED, "This action is no longer part of the product.")
    connector, action = found
    try:
        traits = traits_of(subscriber)
        inputs = bindings.resolve(binding.inputs, traits, answers)
        settings = binding.connection.everything() if binding.connection else {}
    except Missing as missing:
        return runner.Preview(runner.Result.SKIPPED, missing.message)
    except Unreadable:
        return runner.Preview(
            runner.Result.HELD, "The stored secrets cannot be opened. An administrator must enter them again."
        )
    given = given_of(subscriber, timezone.now())
    work = runner.Work(connector, action, settings, traits, inputs, account=binding.connection, given=given)
    return runner.preview(work)


@dataclass(frozen=True)
class Effect:
    """What a run for real does, in words: "Apply coupon (Coupon code: SAVE20)" in "Cleeng", "Sandbox"."""

    action: str
    connector: str
    environment: str
    is_sandbox: bool
    problem: str  # what keeps it from being carried out now


def effects(rows: Iterable[Binding]) -> list[Effect]:
    """Return what carrying these actions out would do, in their order."""
    chosen = list(rows)
    entries = bindings.entries_of(chosen)
    result = []
    for binding in chosen:
        found = declaration(binding)
        if found is None:
            continue
        connector, action = found
        settings = binding.connection.settings if binding.connection else {}
        words = ", ".join(f"{word.label}: {word.text}" for word in bindings.in_words(binding, entries))
        result.append(
            Effect(
                f"{action.label} ({words})" if words else action.label,
                connector.label if connector.needs_connection else "",
                connector.environment(settings) if connector.needs_connection else "",
                connector.is_sandbox(settings),
                bindings.health(binding),
            )
        )
    return result


def run(
    prompt: Prompt,
    interaction: str,
    rows: list[Binding],
    subscriber: Subscriber,
    answers: Mapping[str, Any],
    *,
    by: str,
    event_id: uuid.UUID,
) -> PromptEvent:
    """Carry actions out for a test subscriber, by the way that every answer goes.

    Args:
        by: who runs it, an e-mail address.
        event_id: made when the confirmation was shown; pressing twice runs once.

    Raises:
        PermissionDenied: the subscriber is no test subscriber (any more).
        prompts.events.BadInputs: an answer does not fit what the prompt asks for.

    """
    if not events.is_test_subscriber(subscriber):
        raise PermissionDenied("Actions are run for real for test subscribers only.")
    report = events.Report(
        event_id=event_id,
        prompt=prompt.key,
        interaction=interaction,
        user_id=subscriber.user_id,
        version=prompt.version,
        inputs=dict(answers),
        context={},
    )
    return events.record(prompt.app, report, source=EventSource.CONSOLE, reported_by=by, only=rows, test=True).event
