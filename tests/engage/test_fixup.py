"""A worker's task goes on with the database connection of the one before, unless that is broken or too old."""

import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection

from engage.celery import app
from engage.fixup import Fixup, WorkerFixup

pytestmark = pytest.mark.django_db(transaction=True)
TASK: Any = SimpleNamespace(request=SimpleNamespace(is_eager=False))


@pytest.fixture
def at_hand() -> Any:
    """The connection of the task before."""
    connection.close()
    connection.ensure_connection()
    return connection.connection


def a_task_is_over() -> None:
    fixup = WorkerFixup(app)
    fixup.on_task_postrun(sender=TASK)
    fixup.on_task_prerun(sender=TASK)


def test_a_task_goes_on_with_the_connection_of_the_one_before(at_hand: Any) -> None:
    connection.close_at = time.monotonic() + 600
    a_task_is_over()
    assert connection.connection is at_hand


def test_a_connection_that_has_served_its_time_is_closed(at_hand: Any) -> None:
    connection.close_at = time.monotonic() - 1
    a_task_is_over()
    assert connection.connection is None


def test_a_broken_connection_is_closed(at_hand: Any) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("A file's connection does not break.")
    at_hand.close()
    connection.errors_occurred = True
    a_task_is_over()
    assert connection.connection is None


def test_the_application_uses_it_and_no_other() -> None:
    seen = "from engage.celery import app; print([type(each).__name__ for each in app._fixups])"
    printed = subprocess.run([sys.executable, "-c", seen], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == f"['{Fixup.__name__}']"
