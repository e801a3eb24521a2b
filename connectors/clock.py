"""SQL for instants of the database's clock, which is the one that decides: workers' clocks differ."""

from django.db import connection
from django.utils import timezone

# SQLite counts milliseconds and Django writes microseconds: by the end of this one, what has become due in it is due.
_NOW = {"postgresql": "statement_timestamp()", "sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f999', 'now')"}
_LATER = {
    "postgresql": "{instant} + ({seconds}) * interval '1 second'",
    "sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', {instant}, ({seconds}) || ' seconds')",
}
_SECONDS_UNTIL = {
    "postgresql": "EXTRACT(EPOCH FROM {instant} - statement_timestamp())",
    "sqlite": "(JULIANDAY({instant}) - JULIANDAY('now')) * 86400.0",
}
_LATEST = {"postgresql": "GREATEST", "sqlite": "MAX"}
_RANDOM = {"postgresql": "RANDOM()", "sqlite": "(ABS(RANDOM() / 2) / 4611686018427387904.0)"}


def now() -> str:
    """Return the present instant."""
    return _NOW[connection.vendor]


def later(instant: str = "", seconds: str = "%s") -> str:
    """Return an instant (the present one, unless another is given) and some seconds, which are a parameter or an expression."""
    return _LATER[connection.vendor].format(instant=instant or now(), seconds=seconds)


def seconds_until(instant: str) -> str:
    """Return how many seconds there are until an instant; less than 0 when it is over."""
    return _SECONDS_UNTIL[connection.vendor].format(instant=instant)


def chance() -> str:
    """Return a number from 0 to 1, another one for each row."""
    return _RANDOM[connection.vendor]


def latest(*instants: str) -> str:
    """Return the last of several instants."""
    return f"{_LATEST[connection.vendor]}({', '.join(instants)})"


def ahead() -> float:
    """Return by how many seconds this process's clock is ahead of the database's; less than 0 where it is behind."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {seconds_until('%s' if connection.vendor == 'sqlite' else '%s::timestamptz')}",
            [timezone.now().isoformat()],
        )
        return float(cursor.fetchone()[0])
