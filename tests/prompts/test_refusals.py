"""What the runtime API refuses is counted, and nothing of it kept."""

import pytest
import time_machine
from django.db import DatabaseError, connection

from engage.tenancy.models import App
from prompts import refusals
from prompts.models import Refusal


def test_the_same_refusal_is_one_row_an_hour(app: App) -> None:
    with time_machine.travel("2026-03-01T10:10:00Z", tick=False) as clock:
        refusals.count(app, "POST /events", "unknown prompt", "summer")
        refusals.count(app, "POST /events", "unknown prompt", "summer")
        refusals.count(app, "POST /events", "unknown prompt", "winter")
        clock.shift(3600)
        refusals.count(app, "POST /events", "unknown prompt", "summer")
    rows = Refusal.objects.order_by("hour", "detail").values_list("hour__hour", "detail", "count")
    assert list(rows) == [(10, "summer", 2), (10, "winter", 1), (11, "summer", 1)]


@pytest.mark.django_db
def test_an_unknown_key_is_nobodys_and_still_one_row() -> None:
    for _ in range(3):
        refusals.count(None, "GET /prompts", "wrong key")
    row = Refusal.objects.get()
    assert (row.app, row.count) == (None, 3)


def test_keys_and_tokens_are_not_kept(app: App) -> None:
    refusals.count(
        app, "POST /events", "unknown prompt", "sk_abcdefghijklmnop eyJhbGciOiJ9.eyJzdWIi.c2ln and " + "x" * 300
    )
    detail = Refusal.objects.get().detail
    assert detail == "[token] [token] and [token]"


def test_a_long_detail_is_shortened(app: App) -> None:
    refusals.count(app, "POST /events", "unknown prompt", "word " * 100)
    assert len(Refusal.objects.get().detail) == 200


def test_a_flood_of_details_becomes_one_row(app: App) -> None:
    for number in range(refusals.DETAILS_A_MINUTE + 20):
        refusals.count(app, "POST /events", "unknown prompt", f"prompt {number}")
    assert Refusal.objects.count() == refusals.DETAILS_A_MINUTE + 1
    assert Refusal.objects.get(detail="").count == 20


def test_a_count_that_fails_refuses_nothing(app: App) -> None:
    def away(*_: object) -> None:
        raise DatabaseError("The database is away.")

    with connection.execute_wrapper(away):
        refusals.count(app, "POST /events", "wrong key")
    assert Refusal.objects.count() == 0
