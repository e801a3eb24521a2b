"""What is deleted when it is old, so that nothing grows without bound.

What is open, and what it needs, is never deleted, however old it is. Rows go in small steps, each in a transaction of its own,
so that nobody waits for a purge, and each kind of row has its turn. A run has a worker's thread for some seconds; while there
is something to delete, one run rings for the next.
"""

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection, models, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from connectors.models import Script
from engage import bell, places
from engage.alerts.models import Alert
from engage.audit.models import Entry
from engage.schedules.models import Slot
from engage.tenancy.models import App
from prompts.models import OPEN, Attempt, Batch, BindingDay, Execution, PromptEvent, Refusal, State
from sync.imports import OPEN_STATES
from sync.models import Access, ImportRun, InboundMessage, PushRun, RejectedRow, RereadRun, Source, UploadPart
from sync.uploads import FORGOTTEN_AFTER, IDLE

logger = logging.getLogger(__name__)

TASK = "engage.purge"
EVERY = timedelta(hours=1)
"""After this the schedule begins anew, and so what rang until then falls silent: two of them would never be one again."""
HEARD_WITHIN = 600.0  # seconds in which a busy worker may get to the next run
STEP = 500  # rows in one transaction
PAUSE = 0.05  # seconds between two steps, in which others write
SLOTS_KEPT = timedelta(days=400)
"""A slot that is gone could be run again; the rarest schedule comes once a year."""
DAYS_KEPT = timedelta(days=7)
"""Of an action's counts for its daily limit only today's is asked for."""
UNSETTLED = Q(state__in=OPEN) | Q(state=State.HANDED_OVER, due_at__isnull=False)
"""Executions that are not at their end."""


@dataclass(frozen=True)
class Rule:
    """One kind of row. `expired` takes the moment before which rows are old, and finds them by an index."""

    name: str
    kept: Callable[[], timedelta]
    expired: Callable[[datetime], Iterable[QuerySet[Any]]]


def _setting(name: str) -> Callable[[], timedelta]:
    return lambda: timedelta(days=getattr(settings, name))


def _attempts(before: datetime) -> Iterator[QuerySet[Any]]:
    unsettled = Execution.objects.filter(UNSETTLED, pk=OuterRef("execution"))
    yield Attempt.objects.filter(~Exists(unsettled), started_at__lt=before).order_by("started_at")


def _events(before: datetime) -> Iterator[QuerySet[Any]]:
    unsettled = Execution.objects.filter(UNSETTLED, event=OuterRef("pk"))
    for app in App.objects.values_list("pk", flat=True):
        yield PromptEvent.objects.filter(~Exists(unsettled), app=app, received_at__lt=before).order_by(
            "received_at", "pk"
        )


def _webhooks(before: datetime) -> Iterator[QuerySet[Any]]:
    """Most are settled when they come; one that waited for its connection is kept as long after its end."""
    yield InboundMessage.objects.filter(received_at__lt=before, settled_at__lt=before).order_by("pk")


def _replaced_scripts(before: datetime) -> Iterator[QuerySet[Any]]:
    yield Script.objects.filter(replaced_at__lt=before).order_by("replaced_at")


def _readings(before: datetime) -> Iterator[QuerySet[Any]]:
    """Readings of vendors, but the last one of each list. One of a week ago has no say in the next one (`sync.pulls`).

    Their rejected rows go before them, in steps of their own.
    """
    rejected = RejectedRow.objects.filter(run=OuterRef("pk"))
    over = ImportRun.objects.exclude(state__in=OPEN_STATES)
    newer = over.filter(source=OuterRef("source"), pk__gt=OuterRef("pk"))
    for source in Source.objects.filter(access=Access.API):
        yield over.filter(Exists(newer), ~Exists(rejected), source=source, started_at__lt=before).order_by("pk")


def _sessions(before: datetime) -> Iterator[QuerySet[Any]]:
    yield Session.objects.filter(expire_date__lt=before).order_by("expire_date")


def _oldest(model: type[models.Model], moment: str, *only: Q) -> Callable[[datetime], Iterator[QuerySet[Any]]]:
    """Rows whose keys rise with time: they are found by their keys."""
    manager: Any = model._default_manager  # noqa: SLF001 - Django's public name for it

    def expired(before: datetime) -> Iterator[QuerySet[Any]]:
        yield manager.filter(*only, **{f"{moment}__lt": before}).order_by("pk")

    return expired


RULES = (
    Rule("attempts", _setting("ENGAGE_KEEP_ATTEMPTS_DAYS"), _attempts),
    Rule("batches", _setting("ENGAGE_KEEP_ATTEMPTS_DAYS"), _oldest(Batch, "started_at", Q(finished_at__isnull=False))),
    Rule("events", _setting("ENGAGE_KEEP_EVENTS_DAYS"), _events),
    Rule("days' counts", lambda: DAYS_KEPT, _oldest(BindingDay, "day")),
    Rule("refused requests", _setting("ENGAGE_KEEP_ATTEMPTS_DAYS"), _oldest(Refusal, "last_at")),
    Rule("webhooks", _setting("ENGAGE_KEEP_EVENTS_DAYS"), _webhooks),
    # An instruction is followed within a day of its event, which is kept for as long.
    Rule("replaced scripts", _setting("ENGAGE_KEEP_EVENTS_DAYS"), _replaced_scripts),
    Rule("rejected rows", _setting("ENGAGE_KEEP_EVENTS_DAYS"), _oldest(RejectedRow, "run__started_at")),
    Rule("readings", _setting("ENGAGE_KEEP_EVENTS_DAYS"), _readings),
    Rule("pushes", _setting("ENGAGE_KEEP_EVENTS_DAYS"), _oldest(PushRun, "asked_at", Q(finished_at__isnull=False))),
    Rule("rereads", _setting("ENGAGE_KEEP_EVENTS_DAYS"), _oldest(RereadRun, "asked_at", Q(finished_at__isnull=False))),
    Rule("parts of uploads", lambda: FORGOTTEN_AFTER, _oldest(UploadPart, "run__started_at", IDLE)),
    Rule("alerts", _setting("ENGAGE_KEEP_EVENTS_DAYS"), _oldest(Alert, "closed_at")),
    Rule("sessions", timedelta, _sessions),
    Rule("history", _setting("ENGAGE_KEEP_AUDIT_DAYS"), _oldest(Entry, "at")),
    Rule("schedules' slots", lambda: SLOTS_KEPT, _oldest(Slot, "start", Q(completed_at__isnull=False))),
)


def work(now: datetime, begun: datetime) -> None:
    """Delete what is old for some seconds, and ring for the next run where there was something.

    Args:
        now: the time by which rows are old.
        begun: when the schedule rang for the first of these runs.

    """
    if any(purge(now, seconds=places.WORKS_FOR).values()) and now < begun + EVERY:
        bell.ring(TASK, begun.isoformat(), good_for=HEARD_WITHIN)


def purge(now: datetime, *, seconds: float, pause: float = PAUSE) -> dict[str, int]:
    """Delete what is old, of each rule a step in turn.

    Args:
        now: the time by which rows are old.
        seconds: no step is begun after so long.
        pause: seconds between two steps.

    Returns how many rows of each rule went, without those that hang on them.

    """
    ends = time.monotonic() + seconds
    deleted = {rule.name: 0 for rule in RULES}
    # In any order: a run may be over before all had a turn.
    waiting = deque((rule, _steps(rule, now)) for rule in random.sample(RULES, len(RULES)))
    while waiting and time.monotonic() < ends:
        rule, steps = waiting.popleft()
        if gone := next(steps, 0):
            deleted[rule.name] += gone
            waiting.append((rule, steps))
            time.sleep(pause)
    if any(deleted.values()):
        logger.info("Purged %s", ", ".join(f"{count} {name}" for name, count in deleted.items() if count))
    return deleted


def _steps(rule: Rule, now: datetime) -> Iterator[int]:
    """Delete a step's rows each time that the next number is asked for: how many went."""
    for expired in rule.expired(now - rule.kept()):
        while gone := _step(expired):
            yield gone


def count(now: datetime) -> dict[str, int]:
    """Return how many rows `purge` would delete now."""
    return {rule.name: sum(expired.count() for expired in rule.expired(now - rule.kept())) for rule in RULES}


@transaction.atomic
def _step(expired: QuerySet[Any]) -> int:
    """Delete the first few of what is expired, but nothing that somebody works on at this moment."""
    if connection.features.has_select_for_update_skip_locked:
        locked = expired.select_for_update(skip_locked=True, of=("self",))
        # Looked at again under the locks: what was reopened while they were taken is no longer expired.
        expired = expired.filter(pk__in=list(locked.values_list("pk", flat=True)[:STEP]))
    keys = list(expired.values_list("pk", flat=True)[:STEP])
    expired.model._base_manager.filter(pk__in=keys).delete()  # noqa: SLF001 - Django's public name for it
    return len(keys)
