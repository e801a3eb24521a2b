"""The fake Recurly keeps to what its documentation says of every request."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from connectors.sandbox.worlds.recurly import API_KEY, DAY
from tests.sandbox_fixture import RunningSandbox

SPOKEN = {"Accept": "application/vnd.recurly.v2021-02-25"}


def call(sandbox: RunningSandbox, method: str, path: str, **options: Any) -> requests.Response:
    headers = SPOKEN | options.pop("headers", {})
    return requests.request(
        method, f"{sandbox.root}/recurly{path}", auth=(API_KEY, ""), headers=headers, timeout=5, **options
    )


def test_without_the_version_nothing_is_answered(sandbox: RunningSandbox) -> None:
    answer = call(sandbox, "GET", "/sites", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (406, "invalid_api_version")


def test_the_same_key_gets_the_first_answer_again(sandbox: RunningSandbox) -> None:
    path, key = "/subscriptions/subscr000001/pause", {"Idempotency-Key": "k1"}
    first, again = (call(sandbox, "PUT", path, json={"remaining_pause_cycles": 2}, headers=key) for _ in range(2))
    assert "Idempotency-Prior" not in first.headers
    assert (again.json(), again.headers["Idempotency-Prior"]) == (first.json(), "true")
    assert len(sandbox.store.effects("recurly")) == 1


def test_pages_follow_each_other(sandbox: RunningSandbox) -> None:
    path, found = "/subscriptions?limit=3&sort=created_at&order=asc", []
    while path:
        page = call(sandbox, "GET", path).json()
        found += [row["id"] for row in page["data"]]
        path = page["next"] if page["has_more"] else ""
    assert found == [f"subscr{number:06}" for number in range(1, 9)]


def test_only_what_changed_since_is_told(sandbox: RunningSandbox) -> None:
    now = datetime.now(UTC) - timedelta(seconds=5)
    path = f"/subscriptions?sort=updated_at&begin_time={now:%Y-%m-%dT%H:%M:%SZ}"
    assert call(sandbox, "GET", path).json()["data"] == []
    assert call(sandbox, "PUT", "/subscriptions/subscr000001/cancel").ok
    assert [row["id"] for row in call(sandbox, "GET", path).json()["data"]] == ["subscr000001"]


def test_a_declined_card_changes_nothing(sandbox: RunningSandbox) -> None:
    change = call(sandbox, "POST", "/subscriptions/subscr000006/change", json={"plan_code": "premium"})
    assert change.status_code == 422
    assert change.json()["error"]["transaction_error"]["code"] == "declined"
    assert call(sandbox, "GET", "/subscriptions/subscr000006").json()["plan"]["code"] == "standard"


@pytest.mark.parametrize(
    ("method", "verb", "body", "shown"),
    [
        ("PUT", "cancel", {}, ("expired", "standard")),
        ("PUT", "pause", {"remaining_pause_cycles": 1}, ("paused", "standard")),
        ("POST", "change", {"plan_code": "premium", "timeframe": "bill_date"}, ("active", "premium")),
    ],
)
def test_what_waits_for_the_end_of_the_period_comes_true(
    method: str, verb: str, body: Any, shown: tuple[str, str], sandbox: RunningSandbox
) -> None:
    path = "/subscriptions/subscr000001"
    assert call(sandbox, method, f"{path}/{verb}", json=body).ok
    before = call(sandbox, "GET", path).json()
    assert (before["state"], before["plan"]["code"]) != shown
    sandbox.advance(21 * DAY)
    after = call(sandbox, "GET", path).json()
    assert (after["state"], after["plan"]["code"]) == shown
