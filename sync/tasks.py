"""What Celery rings for: each task calls one function."""

from celery import shared_task
from django.utils import timezone

from engage import places
from sync import inbound, pushes, reports, rereads, retyping, schedule


@shared_task(name="sync.tick")
def tick() -> None:
    """Look what is due (sources, missing files, pushes, readings), and ring for what waits and nobody heard of."""
    schedule.tick(timezone.now(), import_source.delay)
    reports.tell_of_missing_files(timezone.now())
    inbound.sweep()
    retyping.sweep()
    pushes.tick(timezone.now())
    rereads.tick(timezone.now())


@shared_task(name=inbound.TASK)
def process_messages() -> None:
    """Read what vendors have told for some seconds, where a thread may be spared; else the next tick rings again."""
    with places.taken(places.TURNS) as has_one:
        if has_one:
            inbound.work()


@shared_task(name=pushes.TASK)
def push_traits() -> None:
    """Push traits to vendors, where a thread may be spared; else the next tick rings again."""
    with places.taken(places.LONG) as has_one:
        if has_one:
            pushes.work()


@shared_task(name=rereads.TASK)
def read_again() -> None:
    """Read subscribers again at vendors, one by one, where a thread may be spared; else the next tick rings again."""
    with places.taken(places.LONG) as has_one:
        if has_one:
            rereads.work()


@shared_task(name="sync.import_source")
def import_source(source_id: str, started_by: str, slot: str = "") -> None:
    """Import what waits at a source, where a thread may be spared; else the next tick sends it again."""
    with places.taken(places.LONG) as has_one:
        if has_one:
            schedule.carry_out(source_id, started_by, slot)
        else:
            schedule.put_off(source_id, slot)


@shared_task(name=retyping.TASK)
def retype_traits() -> None:
    """Read what is stored of traits as their types, where a thread may be spared; else the next tick rings again."""
    with places.taken(places.LONG) as has_one:
        if has_one:
            retyping.work()
