"""Which slot is due: against wall clocks worked out by hand, and once only, whoever asks."""

from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django_celery_beat.models import CrontabSchedule, IntervalSchedule
from hypothesis import given
from hypothesis import strategies as st

from engage.schedules import slots
from engage.schedules.models import Slot
from engage.schedules.slots import Cron, Every


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def nightly(zone: str, hour: str = "2", minute: str = "30") -> Cron:
    return Cron.parse(minute, hour, "*", "*", "*", zone)


@pytest.mark.parametrize(
    ("zone", "now", "expected"),
    [
        ("UTC", "2026-05-04 02:30", "2026-05-04 02:30"),
        ("UTC", "2026-05-04 02:29:59", "2026-05-03 02:30"),
        ("America/Los_Angeles", "2026-01-10 12:00", "2026-01-10 10:30"),
        ("America/Los_Angeles", "2026-07-10 12:00", "2026-07-10 09:30"),
        # Paris, 29 March 2026: clocks go from 02:00 to 03:00, which is 01:00 UTC. 02:30 does not exist.
        ("Europe/Paris", "2026-03-29 00:59:59", "2026-03-28 01:30"),
        ("Europe/Paris", "2026-03-29 01:00", "2026-03-29 01:00"),
        ("Europe/Paris", "2026-03-29 23:00", "2026-03-29 01:00"),
        # Paris, 25 October 2026: 02:30 is shown at 00:30 and at 01:30 UTC.
        ("Europe/Paris", "2026-10-25 00:29", "2026-10-24 00:30"),
        ("Europe/Paris", "2026-10-25 00:30", "2026-10-25 00:30"),
        ("Europe/Paris", "2026-10-25 01:30", "2026-10-25 00:30"),
        # Lord Howe shifts by half an hour: 02:00 to 02:30 on 4 October 2026, at 15:30 UTC of the day before.
        ("Australia/Lord_Howe", "2026-10-03 15:30", "2026-10-03 15:30"),
    ],
)
def test_the_newest_slot_of_a_nightly_job(zone: str, now: str, expected: str) -> None:
    assert nightly(zone).latest(at(now)) == at(expected)


def test_a_slot_in_a_gap_at_midnight_is_the_first_instant_after_it() -> None:
    # Beirut, 29 March 2026: 00:00 becomes 01:00, at 22:00 UTC of the day before.
    cron = nightly("Asia/Beirut", hour="0", minute="0")
    assert cron.latest(at("2026-03-29 05:00")) == at("2026-03-28 22:00")
    assert cron.following(at("2026-03-28 21:59")) == at("2026-03-28 22:00")


def test_a_day_that_a_country_skipped_is_the_first_instant_after_it() -> None:
    # Samoa had no 30 December 2011: it went from the 29th to the 31st, at 10:00 UTC of the 30th.
    cron = Cron.parse("30", "2", "30", "12", "*", "Pacific/Apia")
    assert cron.latest(at("2012-01-02 00:00")) == at("2011-12-30 10:00")


def test_all_five_parts_must_match() -> None:
    friday_13 = Cron.parse("0", "9", "13", "*", "fri", "UTC")
    assert friday_13.latest(at("2026-12-01 00:00")) == at("2026-11-13 09:00")
    assert Cron.parse("*/20", "8-9", "*", "*", "mon-fri", "UTC").latest(at("2026-11-21 00:00")) == at(
        "2026-11-20 09:40"
    )


def test_a_day_that_never_comes_is_refused_and_a_rare_one_is_found() -> None:
    with pytest.raises(ValueError, match="never occurs"):
        Cron.parse("0", "0", "30", "2", "*", "UTC")
    assert Cron.parse("0", "0", "29", "2", "*", "UTC").latest(at("2026-01-01 00:00")) == at("2024-02-29 00:00")


@pytest.mark.parametrize("parts", [("61", "0", "*", "*", "*"), ("a", "0", "*", "*", "*"), ("*/0", "0", "*", "*", "*")])
def test_what_is_no_cron_expression_is_refused(parts: tuple[str, str, str, str, str]) -> None:
    with pytest.raises(ValueError, match="not a cron expression"):
        Cron.parse(*parts, "UTC")


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "", "../etc/passwd", "CEST\0"])
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        Cron.parse("0", "0", "*", "*", "*", zone)


@given(
    now=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - hypothesis adds the zone
    zone=st.sampled_from(
        ["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo"]
    ),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
)
def test_every_local_day_has_one_slot_at_the_hour_that_its_clocks_show(
    now: datetime, zone: str, hour: int, minute: int
) -> None:
    cron = nightly(zone, str(hour), str(minute))
    moment = now.replace(tzinfo=UTC)
    latest, following = cron.latest(moment), cron.following(moment)
    assert latest is not None
    assert following is not None
    assert latest <= moment < following
    assert (cron.latest(latest), cron.following(latest)) == (latest, following)
    assert timedelta(hours=22) < following - latest < timedelta(hours=26)
    shown = latest.astimezone(ZoneInfo(zone))
    before = (latest - timedelta(seconds=1)).astimezone(ZoneInfo(zone))
    skipped = before.utcoffset() != shown.utcoffset()
    assert (shown.hour, shown.minute) == (hour, minute) or skipped


def test_an_interval_keeps_its_slots_over_a_restart() -> None:
    six_hours = Every(timedelta(hours=6))
    assert six_hours.latest(at("2026-05-04 13:59")) == at("2026-05-04 12:00")
    assert six_hours.following(at("2026-05-04 12:00")) == at("2026-05-04 18:00")


@pytest.mark.django_db
def test_nothing_is_due_that_was_before_the_schedule_was_set() -> None:
    now = at("2026-05-04 10:00")
    assert slots.due(nightly("UTC"), now=now, since=at("2026-05-04 09:00"), job="j") is None
    assert slots.due(nightly("UTC"), now=now, since=at("2026-05-01 09:00"), job="j") == at("2026-05-04 02:30")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("zone", "following"),
    [
        ("America/New_York", "2026-05-06 06:30"),
        ("Asia/Tokyo", "2026-05-05 17:30"),
        ("Europe/Paris", "2026-05-06 00:30"),
        ("UTC", "2026-05-06 02:30"),
    ],
)
def test_another_time_zone_is_no_second_night(zone: str, following: str) -> None:
    since, night = at("2026-01-01 00:00"), at("2026-05-05 02:30")
    Slot.objects.create(job="j", start=night, completed_at=night)
    moved, now = nightly(zone), night
    found = []
    while now < at("2026-05-06 23:00"):
        now += timedelta(minutes=30)
        start = slots.due(moved, now=now, since=since, job="j")
        if start is not None and slots.claim("j", start, now=now, lease=LEASE):
            slots.complete("j", start, now=now)
            found.append(start)
    assert found[0] == at(following)
    assert len(found) == (2 if zone == "Asia/Tokyo" else 1)


def test_rows_of_beat_are_read() -> None:
    row = CrontabSchedule(minute="30", hour="2", timezone=ZoneInfo("Europe/Paris"))
    assert slots.schedule_of(row, None) == nightly("Europe/Paris")
    assert slots.schedule_of(None, IntervalSchedule(every=2, period="hours")) == Every(timedelta(hours=2))
    assert slots.schedule_of(None, None) is None


NOW = at("2026-05-04 02:31")
START = at("2026-05-04 02:30")
LEASE = timedelta(minutes=5)


@pytest.mark.django_db
def test_a_slot_is_claimed_once_and_again_only_when_its_lease_is_over() -> None:
    assert slots.claim("nightly", START, now=NOW, lease=LEASE)
    assert not slots.claim("nightly", START, now=NOW + timedelta(minutes=4), lease=LEASE)
    assert slots.claim("nightly", START, now=NOW + timedelta(minutes=6), lease=LEASE)
    assert not slots.claim("nightly", START, now=NOW + timedelta(minutes=7), lease=LEASE)


@pytest.mark.django_db
def test_a_completed_slot_is_never_claimed_again_nor_completed_twice() -> None:
    slots.claim("nightly", START, now=NOW, lease=LEASE)
    assert slots.complete("nightly", START, now=NOW)
    assert not slots.complete("nightly", START, now=NOW)
    assert not slots.claim("nightly", START, now=NOW + timedelta(days=1), lease=LEASE)


@pytest.mark.django_db
def test_the_newest_slot_stands_for_those_missed_before_it() -> None:
    slots.claim("nightly", START - timedelta(days=1), now=NOW, lease=LEASE)
    slots.claim("nightly", START, now=NOW, lease=LEASE)
    slots.claim("other", START - timedelta(days=1), now=NOW, lease=LEASE)
    slots.complete("nightly", START, now=NOW)
    assert list(Slot.objects.filter(completed_at=None).values_list("job", flat=True)) == ["other"]


@pytest.mark.django_db(transaction=True)
def test_of_two_beats_at_once_one_gets_the_slot() -> None:
    together, won = Barrier(4), []

    def beat() -> None:
        together.wait()
        won.append(slots.claim("nightly", START, now=NOW, lease=LEASE))
        connection.close()

    beats = [Thread(target=beat) for _ in range(4)]
    for thread in beats:
        thread.start()
    for thread in beats:
        thread.join()
    assert sorted(won) == [False, False, False, True]
