"""Times as vendors and people write them."""

from datetime import UTC, datetime

MILLISECOND = 0.001
"""In seconds: the unit in which some vendors give Unix time (`Answer.moment`)."""


def utc(at: datetime, timespec: str = "seconds") -> str:
    """Return a time in ISO 8601, in UTC: 2027-01-15T08:00:00Z."""
    return at.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def day_in_words(at: datetime) -> str:
    """Return the day of a time, in UTC: 15 January 2027."""
    return at.astimezone(UTC).strftime("%-d %B %Y")


def milliseconds(at: datetime) -> int:
    """Return a time as milliseconds since 1970."""
    return round(at.timestamp() * 1000)
