"""What Prometheus is told, read back by its own parser."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django.fixtures import Settings

from connectors.models import Health
from prompts.models import Attempt, State
from tests.factories import AppFactory, BindingFactory, ConnectionFactory, ExecutionFactory, PromptFactory

pytestmark = pytest.mark.django_db
TOKEN = "token-of-the-tests"


@pytest.fixture(autouse=True)
def _with_a_token(settings: Settings) -> None:
    settings.ENGAGE_METRICS_TOKEN = TOKEN


def told() -> dict[tuple[Any, ...], float]:
    """Return the samples by name and the values of their labels."""
    answer = Client().get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    families = text_string_to_metric_families(answer.content.decode())
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.mark.parametrize("said", ["", "Bearer ", "Bearer token-of-the-test", f"Basic {TOKEN}", "Bearer t\u00f6ken"])
def test_without_the_token_nothing_is_told(said: str) -> None:
    answer = Client().get("/metrics", headers={"Authorization": said} if said else {})
    assert (answer.status_code, answer.content, answer["WWW-Authenticate"]) == (401, b"", "Bearer")


def test_without_a_token_set_there_is_no_such_page(settings: Settings) -> None:
    settings.ENGAGE_METRICS_TOKEN = ""
    assert Client().get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


def test_an_empty_installation_tells_nothing_but_that_nothing_is_overdue() -> None:
    assert told() == {("engage_oldest_overdue_seconds",): 0.0}


def test_attempts_of_the_last_five_minutes() -> None:
    app = AppFactory(key="streamly")
    execution = ExecutionFactory(binding=BindingFactory(prompt=PromptFactory(app=app)), state=State.DONE)
    now = timezone.now()
    for number, (ago, took, outcome) in enumerate(
        [(10, 0.2, "done"), (20, 0.2, "waiting"), (30, 4, "done"), (400, 1, "done")]
    ):
        began = now - timedelta(seconds=ago)
        Attempt.objects.create(
            execution=execution,
            number=number,
            fence=number,
            worker="w",
            started_at=began,
            finished_at=began + timedelta(seconds=took),
            outcome=outcome,
        )
    Attempt.objects.create(execution=execution, number=9, fence=9, worker="w", started_at=now)  # goes on
    samples = told()
    of = ("apply_coupon", "streamly", "cleeng")
    assert samples["engage_attempts", *of, "done"] == 2
    assert samples["engage_attempts", *of, "waiting"] == 1
    buckets = {le: samples["engage_attempt_seconds_bucket", *of, le] for le in ("0.1", "0.25", "2.5", "5.0", "+Inf")}
    assert buckets == {"0.1": 0, "0.25": 2, "2.5": 2, "5.0": 3, "+Inf": 3}
    assert samples["engage_attempt_seconds_gsum", *of] == pytest.approx(4.4)


def test_open_executions_and_the_age_of_the_queue() -> None:
    app = AppFactory(key="streamly")
    binding = BindingFactory(prompt=PromptFactory(app=app))
    late = timezone.now() - timedelta(seconds=90)
    ExecutionFactory(binding=binding, state=State.QUEUED, due_at=late)
    ExecutionFactory(binding=binding, state=State.WAITING, due_at=timezone.now() + timedelta(hours=1))
    ExecutionFactory(binding=binding, state=State.DONE)
    samples = told()
    states = {key[-1]: value for key, value in samples.items() if key[0] == "engage_executions_open"}
    assert states == {"queued": 1, "waiting": 1}
    assert samples["engage_queue_age_seconds", "streamly", "", "cleeng"] == pytest.approx(90, abs=10)
    assert samples["engage_oldest_overdue_seconds",] == pytest.approx(90, abs=10)


def test_connections_that_need_attention_or_are_paused() -> None:
    app = AppFactory(key="streamly")
    soon = timezone.now() + timedelta(minutes=1)
    ConnectionFactory(app=app, connector="cleeng", health=Health.ATTENTION, closed_until=soon)
    ConnectionFactory(app=app, connector="recurly", health=Health.UNKNOWN)
    ConnectionFactory(app=app, connector="sendgrid", active=False)
    samples = told()
    assert {key[1:]: value for key, value in samples.items() if key[0] == "engage_connection_healthy"} == {
        ("streamly", "", "cleeng"): 0,
        ("streamly", "", "recurly"): 1,
    }
    assert samples["engage_connection_paused", "streamly", "", "cleeng"] == 1
    assert samples["engage_connection_paused", "streamly", "", "recurly"] == 0
