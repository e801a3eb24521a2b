"""Which commits of an execution wait for the disk on SQLite."""

from collections.abc import Iterator

import pytest
from django.db import IntegrityError, connection, transaction

from engage.disk import before_anything_leaves
from prompts import executions
from prompts.models import Execution, State
from tests.prompts.conftest import House

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="a server's commits all wait"),
]
NAMES = {1: "NORMAL", 2: "FULL"}


@pytest.fixture
def as_installed() -> Iterator[None]:
    """The database waits for the disk, which the test suite's does not."""
    connection.ensure_connection()
    connection.connection.execute("PRAGMA synchronous = FULL")
    yield
    connection.close()


def waits() -> str:
    return NAMES[connection.connection.execute("PRAGMA synchronous").fetchone()[0]]


def test_only_what_comes_before_a_call_does_not_wait(as_installed: None, house: House) -> None:
    house.bind()
    house.report()
    seen: list[str] = []
    connection.connection.set_trace_callback(seen.append)
    executions.work("tests")
    connection.connection.set_trace_callback(None)
    assert set(Execution.objects.values_list("state", flat=True)) == {State.DONE}
    way, ways = "FULL", dict[str, set[str]]()
    for sql in map(str.strip, seen):
        if sql.startswith("PRAGMA synchronous ="):
            way = sql.split()[-1]
        for begins in (
            "WITH numbers",
            'INSERT INTO "prompts_attempt" ',
            'UPDATE "prompts_attempt" ',
            'UPDATE "prompts_execution" ',
        ):
            if sql.startswith(begins):
                ways.setdefault(begins, set()).add(way)
    assert ways == {
        "WITH numbers": {"NORMAL"},
        'INSERT INTO "prompts_attempt" ': {"NORMAL"},
        'UPDATE "prompts_attempt" ': {"FULL"},
        'UPDATE "prompts_execution" ': {"FULL"},
    }
    assert waits() == "FULL"


def test_a_failure_does_not_change_how_later_commits_wait(as_installed: None) -> None:
    with pytest.raises(IntegrityError), before_anything_leaves():
        connection.cursor().execute("INSERT INTO prompts_attempt (id) VALUES (NULL)")
    assert waits() == "FULL"


def test_what_is_part_of_a_transaction_waits_with_it(as_installed: None) -> None:
    with transaction.atomic(), before_anything_leaves():
        assert waits() == "FULL"
