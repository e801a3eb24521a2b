"""How long is waited between tries."""

import pytest
from django.conf import settings

from connectors.waits import JITTER, until_the_next_try

DELAYS = settings.ENGAGE_RETRY_DELAYS


@pytest.mark.parametrize("tries", range(1, len(DELAYS) + 1))
def test_each_wait_is_that_of_the_table_a_little_spread(tries: int) -> None:
    waits = [until_the_next_try(tries, None) or 0 for _ in range(20)]
    assert all(DELAYS[tries - 1] <= wait <= DELAYS[tries - 1] * (1 + JITTER) for wait in waits)
    assert len(set(waits)) > 1


def test_after_the_last_wait_nobody_tries_any_more() -> None:
    assert until_the_next_try(len(DELAYS) + 1, 1.0) is None


def test_a_vendor_that_says_at_once_through_hours_of_trouble_does_not_use_up_all_tries() -> None:
    waits = [until_the_next_try(tries, 0.0) or 0 for tries in range(1, len(DELAYS) + 1)]
    assert waits[:3] == [1, 1, 1]
    assert sum(waits) > 19 * 3600


@pytest.mark.parametrize("tries", [1, 4, len(DELAYS)])
def test_a_longer_wish_is_granted(tries: int) -> None:
    assert until_the_next_try(tries, 86_400.0) == 86_400.0
