"""The guide's examples work as they stand."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from engage.tenancy.models import App, DeliveryMode, IdentitySecret
from prompts import identity
from prompts.models import Execution, PromptEvent, State
from sync.models import Subscriber
from tests.prompts.runtime import Caller, prompt, redirecting

GUIDE = (Path(__file__).parent.parent.parent / "docs" / "integration.md").read_text()
ENGAGE_JS = (Path(__file__).parent.parent.parent / "static" / "engage.js").read_text()


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
def server(app: App) -> Caller:
    app.delivery_mode = DeliveryMode.LIVE
    app.save()
    return Caller(app)


def test_the_identity_that_the_guide_signs_is_accepted(app: App) -> None:
    _, secret = IdentitySecret.make(app)
    (code,) = examples("python")
    names: dict[str, Any] = {"PUBLISHABLE_KEY": "pk_of-the-guide", "IDENTITY_SECRET": secret}
    exec(code, names)  # noqa: S102 - the guide's own code
    assert identity.verify(app, "pk_of-the-guide", names["engage_identity"]("user-1")) == "user-1"


def test_the_event_that_the_guide_reports_is_recorded(app: App, server: Caller) -> None:
    prompt(app, key="stay")
    body = json.loads(examples("json")[0])
    assert server.post("/events", body).status_code == 200
    assert str(PromptEvent.objects.get().event_id) == body["event_id"]


def test_the_report_that_the_guide_sends_is_taken(app: App, server: Caller) -> None:
    redirecting(app, key="stay")
    body = json.loads(examples("json")[0])
    (execution,) = server.post("/events", {**body, "wait": 0}).json()["executions"]
    Execution.objects.update(state=State.HANDED_OVER, instruction={"kind": "cart"})
    answer = server.post(f"/executions/{execution['id']}/report", json.loads(examples("json")[1]))
    assert (answer.status_code, answer.json()["outcome"]) == (200, "done")


def test_the_traits_that_the_guide_writes_are_kept(app: App, server: Caller) -> None:
    assert server.put("/users/user-1/traits", json.loads(examples("json")[-1])).status_code == 200
    assert Subscriber.objects.get().traits == {"first_name": "Mia", "cleeng_customer_id": "640000001", "seats": 3}


@pytest.mark.parametrize("name", re.findall(r"`--(engage-[a-z-]+)`|^\| `engage:([a-z]+)`", GUIDE, re.MULTILINE))
def test_engage_js_knows_what_the_guide_names(name: tuple[str, str]) -> None:
    variable, event = name
    assert (f"var(--{variable}" if variable else f'tell("{event}"') in ENGAGE_JS
