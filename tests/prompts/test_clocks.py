"""Clocks that differ: what is due, too old or forgotten is judged by the database's clock alone."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from prompts import events, executions, preconditions, recovery, settlement
from prompts.models import Execution, State
from tests.connectors.fake_vendor import Call
from tests.prompts.conftest import House
from tests.prompts.test_journal import RESET, Shop, charge, shop, throwaway

__all__ = ["shop", "throwaway"]

pytestmark = pytest.mark.django_db


def differ(monkeypatch: pytest.MonkeyPatch, by: timedelta, *modules: Any) -> None:
    """Let a process's clock be ahead of the database's by so much in these modules, where they look at it at all."""
    wrong = SimpleNamespace(now=lambda: timezone.now() + by)
    for module in modules:
        monkeypatch.setattr(module, "timezone", wrong, raising=False)


@pytest.mark.parametrize("ahead", [timedelta(hours=2), timedelta(hours=-2)])
def test_an_answer_is_carried_out_at_once_whatever_time_the_web_server_has(
    house: House, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    house.bind()
    differ(monkeypatch, ahead, events)
    event = house.report()
    assert recovery.oldest_overdue() < 5
    executions.work("tests")
    assert event.executions.get().state == State.DONE


def test_what_is_not_due_yet_has_no_moment(house: House) -> None:
    house.bind()
    house.bind("switch_subscription", inputs={"offer_id": {"from": "fixed", "value": "S1"}})
    first, second = house.report().executions.order_by("position")
    assert (first.due_at is None, second.due_at is None, second.state) == (False, True, State.BLOCKED)


def test_a_key_that_the_vendor_has_forgotten_is_not_used_by_a_worker_whose_clock_is_behind(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution, _ = shop.play(shop.planned("charge"), charge(), broken=RESET)
    Execution.objects.update(first_write_at=timezone.now() - timedelta(hours=24, minutes=30))
    differ(monkeypatch, timedelta(hours=-1), executions, preconditions, settlement)
    execution, sent = shop.play(execution)
    assert (execution.state, sent) == (State.UNCERTAIN, [])


def test_nor_is_one_that_is_known_still_given_up_by_a_worker_that_is_ahead(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution, _ = shop.play(shop.planned("charge"), charge(), broken=RESET)
    differ(monkeypatch, timedelta(days=2), executions, preconditions, settlement)
    repeat: Call = charge()
    assert shop.play(execution, repeat)[0].state == State.DONE


def test_what_is_late_is_late_by_the_databases_clock(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.bind()
    house.report()
    Execution.objects.update(due_at=timezone.now() - timedelta(seconds=100))
    differ(monkeypatch, timedelta(hours=-2), recovery)
    assert 99 < recovery.oldest_overdue() < 102
