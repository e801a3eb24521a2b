"""Waiting for what another thread or process does: it ends, and a test that waited in vain fails."""

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")


def _rest() -> None:
    time.sleep(0.02)


def until(look: Callable[[], Seen], within: float = 10.0) -> Seen:
    """Wait until `look()` is true, and return what was seen."""
    ends = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < ends, f"nothing happened within {within:g} seconds"
        _rest()
    return seen


def becomes(look: Callable[[], object], expected: object, rest: Callable[[], object] = _rest) -> None:
    """Assert that `look()` becomes `expected` within ten seconds.

    Args:
        look: returns what there is now.
        expected: what it is to be.
        rest: called between two looks; one that serves a browser's page, where the test answers its requests.

    """
    ends = time.monotonic() + 10
    while look() != expected and time.monotonic() < ends:
        rest()
    assert look() == expected
