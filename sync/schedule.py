"""When a source is looked at: its slots, *Check now*, and what a process that died left behind."""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from engage.schedules import slots
from sync import pulls, reports
from sync.imports import Busy, LostLease, import_source
from sync.models import Access, RunState, Source

logger = logging.getLogger(__name__)

# How long a slot belongs to a run that said nothing since; a longer import still holds its source, so nothing runs twice.
SLOT_LEASE = timedelta(minutes=10)


JOB = "source:"


def job_of(source_id: UUID) -> str:
    """Return the name under which a source's slots are claimed."""
    return f"{JOB}{source_id}"


def schedule_of(source: Source) -> slots.Schedule | None:
    """Return when a source is looked at; None: only by hand.

    Raises:
        ValueError: its row cannot be read.
    """
    if source.access == Access.API:
        return pulls.night_of(source.app) if pulls.is_on(source) else None
    return slots.schedule_of(source.crontab, source.interval)


def next_run(source: Source, now: datetime) -> datetime | None:
    """Return when a source is looked at next by its schedule; None without one, or while it is paused."""
    schedule = None if source.paused else schedule_of(source)
    return schedule.following(now) if schedule else None


def tick(now: datetime, send: Callable[[str, str, str], object]) -> int:
    """Send every source whose slot is due or was put off, and every import that a process died over, to a worker.

    Returns how many.

    Args:
        now: the moment to look at.
        send: called with source id, who started it and the slot (or an empty text), as `carry_out` takes them.
    """
    sent = 0
    pulls.prepare()
    scheduled = Q(crontab__isnull=False) | Q(interval__isnull=False) | Q(access=Access.API)
    sources = Source.objects.filter(scheduled, paused=False)
    for source in sources.select_related("app", "connection", "crontab", "interval"):
        try:
            schedule = schedule_of(source)
        except ValueError:
            logger.exception("a schedule cannot be read", extra={"source": str(source.pk)})
            continue
        job = job_of(source.pk)
        start = slots.due(schedule, now=now, since=source.schedule_since, job=job) if schedule else None
        if start and slots.claim(job, start, now=now, lease=SLOT_LEASE):
            send(str(source.pk), "Schedule", start.isoformat())
            sent += 1
    waiting = {turn.job.removeprefix(JOB): turn for turn in slots.put_off(JOB)}
    for source_id, turn in waiting.items():
        if Source.objects.filter(pk=source_id, paused=True).exists():
            continue
        if slots.claim(turn.job, turn.start, now=now, lease=SLOT_LEASE):
            send(source_id, "Schedule", turn.start.isoformat())
            sent += 1
    for pk in left_behind(now):
        if str(pk) in waiting:
            continue
        begun = slots.open_turn(job_of(pk))
        send(str(pk), "Schedule", begun.start.isoformat() if begun else "")
        sent += 1
    return sent


def left_behind(now: datetime) -> list[UUID]:
    """Return the sources with an import that nobody is at: its process died, or nobody heard the bell for what was asked for."""
    died = Source.objects.filter(paused=False, lease_until__lt=now, runs__state=RunState.RUNNING)
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    asked = Q(runs__uploaded=True) | Q(access=Access.API)
    unheard = Source.objects.filter(free, asked, paused=False, runs__state=RunState.STOPPED)
    return list({*died.values_list("pk", flat=True), *unheard.values_list("pk", flat=True)})


def carry_out(source_id: str, started_by: str, slot: str = "") -> None:
    """Import what waits at a source; called by the worker. Completes the slot that it was for.

    A source that is gone, or that another run is at, needs nothing; nor does a slot that was carried out.
    """
    source = Source.objects.select_related("app", "connection").filter(pk=source_id).first()
    if source is None:
        return
    turn = slots.Turn(job_of(source.pk), datetime.fromisoformat(slot)) if slot else None
    with suppress(Busy, LostLease):
        reports.tell(import_source(source, started_by=started_by, turn=turn))


def put_off(source_id: str, slot: str = "") -> None:
    """Leave a source to the next tick, since no thread can be spared for it; what is put off is kept as a slot.

    Args:
        source_id: the source, as `carry_out` takes it.
        slot: the one that it was for; without one, somebody asked for a look now.
    """
    start = datetime.fromisoformat(slot) if slot else timezone.now()
    slots.Turn(job_of(UUID(source_id)), start).put_off()
