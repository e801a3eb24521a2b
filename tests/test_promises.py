"""The README's promises: what holds each is there, and its numbers are those of the settings."""

import re
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(__file__).parents[1]
SECTION = (ROOT / "README.md").read_text().partition("## Promises")[2].partition("\n## ")[0]
ROWS = [tuple(cell.strip() for cell in row.split("|")[1:3]) for row in SECTION.splitlines() if row.startswith("| **")]


def promise(words: str) -> str:
    (text,) = [text for text, _ in ROWS if words in text]
    return text


@pytest.mark.parametrize(("text", "held_by"), ROWS, ids=lambda cell: cell[:30])
def test_what_holds_a_promise_is_there(text: str, held_by: str) -> None:
    named = re.findall(r"`([^`]+)`", held_by)
    assert named
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for name in named:
        made = name.removeprefix("make ")
        assert made in targets if made != name else (ROOT / name).exists(), name


def test_a_dead_workers_work_goes_on_in_time() -> None:
    # A lease that has just been renewed, and a sweep that has just been made.
    sweep = settings.CELERY_BEAT_SCHEDULE["engage: sweep executions"]["schedule"].run_every.total_seconds()
    assert f"within {round(settings.ENGAGE_LEASE + 3 * sweep)} seconds" in promise("No answer is lost")


def test_the_numbers_are_those_of_the_settings() -> None:
    assert f"within {settings.ENGAGE_SETTLING:.0f} seconds" in promise("An effect happens once")
    assert f"end within {settings.ENGAGE_ATTEMPT_TIMEOUT:.0f} seconds" in promise("One bad neighbour")
    assert (settings.ENGAGE_SLOTS, "four actions under way" in promise("One bad neighbour")) == (4, True)
    days = (settings.ENGAGE_KEEP_ATTEMPTS_DAYS, settings.ENGAGE_KEEP_EVENTS_DAYS, settings.ENGAGE_KEEP_AUDIT_DAYS)
    assert "for {} days, events for {}, the history for {}".format(*days) in promise("Nothing grows")
    assert (2 * settings.ENGAGE_LEASE, "by two minutes" in promise("Who must know")) == (120, True)
