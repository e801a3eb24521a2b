"""Whatever is sent to the runtime API, it answers as its OpenAPI document says, and never with a 5xx."""

from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from hypothesis import given
from pytest_django.live_server_helper import LiveServer
from schemathesis import GenerationMode

from engage.tenancy.models import App, DeliveryMode
from tests.prompts.runtime import Caller, browser, redirecting

OPERATIONS = [
    ("/api/v1/events", "POST"),
    ("/api/v1/events/{event_id}", "GET"),
    ("/api/v1/executions/{execution_id}/report", "POST"),
    ("/api/v1/prompts", "GET"),
    ("/api/v1/users/{user_id}/traits", "PUT"),
]


@pytest.fixture
def described(live_server: LiveServer, app: App, settings: Any) -> Any:
    """The API of a live App with a prompt, as it describes itself."""
    app.delivery_mode = DeliveryMode.LIVE
    app.save()
    redirecting(app, key="offer")
    settings.ENGAGE_API_RATE = settings.ENGAGE_API_APP_RATE = "1000000/min"
    described = schemathesis.openapi.from_url(f"{live_server.url}/api/v1/openapi.json")
    # A pattern cannot name every letter of Unicode that a user id must not hold; within Latin 1 ours is exact.
    described.config.generation.update(codec="latin-1")
    return described


def test_every_operation_is_tried(described: Any) -> None:
    assert {(each.ok().path, each.ok().method.upper()) for each in described.get_all_operations()} == set(OPERATIONS)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=["as_described", "otherwise"])
@pytest.mark.parametrize("kind", ["server", "browser"])
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_whatever_is_sent_is_answered_as_described(
    described: Any, app: App, path: str, method: str, kind: str, mode: GenerationMode
) -> None:
    caller = Caller(app) if kind == "server" else browser(app, "user-1")

    @given(case=described[path][method].as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        case.call_and_validate(headers=caller.headers())

    send()


@pytest.mark.parametrize("change", [{}, {"user_id": "user-1"}], ids=["anybody", "the person"])
def test_events_of_a_prompt_that_is_there_are_answered_as_described(
    described: Any, app: App, change: dict[str, str]
) -> None:
    """The prompt's key is not guessed at random, so that it is put in."""
    caller = Caller(app)

    @given(case=described["/api/v1/events"]["POST"].as_strategy(generation_mode=GenerationMode.POSITIVE))
    def send(case: Any) -> None:
        case.body = {**case.body, "event_id": str(uuid4()), "prompt": "offer", "wait": 0, **change}
        assert case.call_and_validate(headers=caller.headers()).status_code in {200, 202}

    send()
