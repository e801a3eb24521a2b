"""Which slot of a schedule is due, and who carries it out.

Celery's beat only ticks. What is due is decided here: a cron expression is read by Celery's own parser, local time is
zoneinfo's. In a gap of local time (clocks go forward) a slot is the first instant after it, in an overlap (clocks go
back) the first of the two. After downtime the newest slot stands for all that were missed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from celery.schedules import ParseException, crontab
from django.db import IntegrityError, transaction
from django.db.models import Max, Q
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule

from engage.schedules.models import Slot

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
# A 29 February that falls on one day of the week comes back after at most 40 years.
FARTHEST = 366 * 41
# How long a night belongs to who claimed it: whoever follows one that died goes on after it.
NIGHT_LEASE = timedelta(minutes=15)


@dataclass(frozen=True)
class Cron:
    """A cron expression in a named time zone. All five parts must match, as Celery has it."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days_of_week: frozenset[int]  # 0 is Sunday
    days_of_month: frozenset[int]
    months: frozenset[int]
    zone: ZoneInfo

    @classmethod
    def parse(cls, minute: str, hour: str, day_of_month: str, month: str, day_of_week: str, zone: str) -> "Cron":
        """Read the five parts in cron's order.

        Raises:
            ValueError: a part is none that cron knows, or there is no such time zone (a sentence for the person).
        """
        try:
            # Celery's stubs leave out the parsed parts.
            parts: Any = crontab(minute, hour, day_of_week=day_of_week, day_of_month=day_of_month, month_of_year=month)
        except (ParseException, ValueError) as error:
            raise ValueError(f"This is not a cron expression: {error}") from None
        try:
            where = ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"There is no time zone {zone!r}. Names look like Europe/Paris.") from None
        return cls(
            tuple(sorted(parts.minute)),
            tuple(sorted(parts.hour)),
            frozenset(parts.day_of_week),
            frozenset(parts.day_of_month),
            frozenset(parts.month_of_year),
            where,
        )

    def _on(self, day: datetime) -> bool:
        return day.month in self.months and day.day in self.days_of_month and day.isoweekday() % 7 in self.days_of_week

    def latest(self, now: datetime) -> datetime | None:
        """Return the newest slot that is not after `now`, in UTC; None when there is none in 41 years."""
        return next((slot for slot in self._slots(now, -1) if slot <= now), None)

    def following(self, now: datetime) -> datetime | None:
        """Return the first slot after `now`, in UTC; None when there is none in 41 years."""
        return next((slot for slot in self._slots(now, 1) if slot > now), None)

    def _slots(self, now: datetime, step: int) -> Iterator[datetime]:
        # A gap may carry a slot into the next day, so the look begins a day early.
        first = datetime.combine(now.astimezone(self.zone).date(), time()) - step * DAY
        for distance in range(FARTHEST):
            day = first + step * distance * DAY
            if self._on(day):
                for hour in self.hours[::step]:
                    for minute in self.minutes[::step]:
                        yield instant(day.replace(hour=hour, minute=minute), self.zone)


@dataclass(frozen=True)
class Every:
    """An interval: slots are whole multiples of it since 1970 in UTC, so a restart does not shift them."""

    period: timedelta

    def latest(self, now: datetime) -> datetime | None:
        """Return the newest slot that is not after `now`."""
        return EPOCH + (now - EPOCH) // self.period * self.period

    def following(self, now: datetime) -> datetime | None:
        """Return the first slot after `now`."""
        return EPOCH + ((now - EPOCH) // self.period + 1) * self.period


Schedule = Cron | Every


def instant(local: datetime, zone: ZoneInfo) -> datetime:
    """Return in UTC when the clocks of `zone` show `local` (naive).

    Where they show it twice, the first time; where they never do, the first instant after the gap.
    """
    early = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    late = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if early <= late and late.astimezone(zone).replace(tzinfo=None) != local:
        # In a gap fold 1 lies before the change of clocks and fold 0 not before it: look for the change between them.
        offset = late.astimezone(zone).utcoffset()
        while late - early > timedelta(seconds=1):
            middle = (early + (late - early) / 2).replace(microsecond=0)
            early, late = (early, middle) if middle.astimezone(zone).utcoffset() == offset else (middle, late)
    return late


@lru_cache(maxsize=256)
def _cron(minute: str, hour: str, day_of_month: str, month: str, day_of_week: str, zone: str) -> Cron:
    return Cron.parse(minute, hour, day_of_month, month, day_of_week, zone)


def schedule_of(crontab_row: CrontabSchedule | None, interval_row: IntervalSchedule | None) -> Schedule | None:
    """Return the schedule that one of django-celery-beat's rows describes; None without a row.

    Raises:
        ValueError: the row cannot be read.
    """
    if crontab_row is not None:
        return _cron(
            crontab_row.minute,
            crontab_row.hour,
            crontab_row.day_of_month,
            crontab_row.month_of_year,
            crontab_row.day_of_week,
            str(crontab_row.timezone),
        )
    if interval_row is not None:
        return Every(timedelta(**{interval_row.period: interval_row.every}))
    return None


def nightly(hour: int, zone: ZoneInfo) -> Cron:
    """Return the schedule of what is done once a night, at a full hour."""
    return _cron("0", str(hour), "*", "*", "*", zone.key)


def due(schedule: Schedule, *, now: datetime, since: datetime, job: str) -> datetime | None:
    """Return the newest slot in (`since`, `now`], or None: nothing is due that was before the schedule was set.

    Nor is what the job did lately by the clocks of another time zone: less than half a slot's time before, or later.
    """
    slot = schedule.latest(now)
    if slot is None or slot <= since:
        return None
    done = Slot.objects.filter(job=job, start__gt=since, completed_at__isnull=False)
    newest = done.order_by("-start").values_list("start", flat=True).first()
    before = schedule.latest(slot - timedelta(microseconds=1))
    if newest is not None and slot - newest <= ((slot - before) / 2 if before else timedelta(0)):
        return None
    return slot


def claim(job: str, start: datetime, *, now: datetime, lease: timedelta) -> bool:
    """Take a slot: True for exactly one caller, until the lease is over without `complete`.

    Args:
        job: whose slot it is, e.g. "source:6f1c…".
        start: when it was due.
    """
    try:
        with transaction.atomic():
            Slot.objects.create(job=job, start=start, lease_until=now + lease)
    except IntegrityError:
        open_again = Slot.objects.filter(
            Q(lease_until=None) | Q(lease_until__lte=now), job=job, start=start, completed_at=None
        )
        return bool(open_again.update(lease_until=now + lease))
    return True


def complete(job: str, start: datetime, *, now: datetime) -> bool:
    """Say that a slot was carried out, and with it those before it. False: it was completed already."""
    return bool(
        Slot.objects.filter(job=job, start__lte=start, completed_at=None).update(completed_at=now, lease_until=None)
    )


@dataclass(frozen=True)
class Turn:
    """A slot that somebody is about to carry out, whoever else was told to."""

    job: str
    start: datetime

    def is_open(self) -> bool:
        """Whether it is still to be done: a message may come twice, or late."""
        return not Slot.objects.filter(job=self.job, start=self.start, completed_at__isnull=False).exists()

    def complete(self) -> None:
        """Say that it was carried out."""
        complete(self.job, self.start, now=timezone.now())

    def put_off(self) -> None:
        """Say that nobody can be spared for it; it waits until somebody claims it (`put_off`)."""
        Slot.objects.update_or_create(job=self.job, start=self.start, defaults={"lease_until": None})


def tonight(job: str, night: Schedule, *, now: datetime, since: datetime) -> Turn | None:
    """Take the night that has come; None where it has not, or somebody else has it. Who took it completes it.

    A night is a slot that one caller takes and completes once, so this may be called by several, and again.
    """
    start = due(night, now=now, since=since, job=job)
    return Turn(job, start) if start and claim(job, start, now=now, lease=NIGHT_LEASE) else None


def open_turn(job: str) -> Turn | None:
    """Return the newest slot of a job that was begun and not completed."""
    start = Slot.objects.filter(job=job, completed_at=None).order_by("-start").values_list("start", flat=True).first()
    return Turn(job, start) if start else None


def put_off(prefix: str) -> list[Turn]:
    """Return what was put off and nobody has claimed since, oldest first: the newest slot of each job whose name begins so."""
    waiting = Slot.objects.filter(job__startswith=prefix, completed_at=None, lease_until=None)
    newest = waiting.values("job").annotate(newest=Max("start")).order_by("newest")
    return [Turn(found["job"], found["newest"]) for found in newest]
