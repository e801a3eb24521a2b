"""From an answer in a prompt to a mail, over a real mail server: what an execution keeps, and where it ends."""

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from prompts import executions
from prompts.models import State
from tests.connectors.fake_mail_server import TAKEN, Fault, MailServer, mail_server
from tests.factories import ConnectionFactory
from tests.prompts.conftest import House

pytestmark = pytest.mark.django_db

WRITTEN = {"subject": "A gift for %first_name|you%", "text": "Hello %first_name|there%"}
KNOWN = {"email_address": "ann@example.com", "first_name": "Ann"}


@pytest.fixture
def server(settings: Settings) -> Iterator[MailServer]:
    with mail_server() as running:
        settings.ENGAGE_PRIVATE_HOSTS = [running.address]
        yield running


@pytest.mark.parametrize(
    ("faults", "state"),
    [
        ([], State.DONE),
        ([Fault(TAKEN, then="drop")], State.UNCERTAIN),
        ([Fault("RCPT", "451 later")], State.WAITING),
        ([Fault("RCPT", "550 no such user")], State.REJECTED),
    ],
)
def test_an_accepted_offer_becomes_a_mail(house: House, server: MailServer, faults: list[Fault], state: str) -> None:
    server.faults = faults
    told: dict[str, Any] = {
        "host": "localhost",
        "port": server.port,
        "security": "smtp",
        "from_email": "offers@shop.example",
    }
    account = ConnectionFactory(app=house.app, connector="smtp", settings=told, secrets={})
    inputs = {name: {"from": "fixed", "value": value} for name, value in WRITTEN.items()}
    house.bind("send_email", connector="smtp", connection=account, inputs=inputs)
    house.subscriber.traits = {**KNOWN, "unused": "x"}
    house.subscriber.save()
    event = house.report()
    executions.work("tests")

    (execution,) = event.executions.all()
    attempt = execution.attempts.get()
    assert (execution.state, attempt.write_begun_at is not None) == (state, True)
    assert execution.traits == KNOWN
    assert [exchange["method"] for exchange in attempt.body.exchanges] == ["SEND"]
    if server.taken:
        assert str(server.taken[0].read["Message-ID"]) == f"<{execution.pk}@shop.example>"
        assert server.taken[0].texts == ["Hello Ann\n"]
