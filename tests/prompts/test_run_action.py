"""`manage.py run_action`, against the sandbox over real HTTP."""

import json
import threading
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from kombu import Producer
from pytest_django import Settings

from connectors.times import milliseconds
from prompts import claims, executions
from prompts.models import Execution, PromptEvent, State
from sync.models import Subscriber
from tests import factories
from tests.connectors.fake_vendor import Call, fake_vendor
from tests.prompts.conftest import SUBSCRIPTION, House

pytestmark = pytest.mark.django_db


def run(capsys: pytest.CaptureFixture[str], *arguments: str, **options: Any) -> tuple[dict[str, Any], int]:
    """Return the one JSON object that is printed, and the exit status."""
    status = 0
    try:
        call_command("run_action", *arguments, **options)
    except SystemExit as end:
        status = int(end.code or 0)
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer, status


def test_it_does_it_and_records_an_event_like_any_other(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    answer, status = run(
        capsys, "cleeng", "apply_coupon", "--app", "streamly", "--user", "ann", "--input", "coupon=SAVE20"
    )
    assert (status, answer["outcome"]) == (0, "done")
    assert answer["message"] == f"Coupon SAVE20 is on subscription {SUBSCRIPTION}"
    assert house.sandbox.subscriptions()[SUBSCRIPTION]["couponCode"] == "SAVE20"
    event = PromptEvent.objects.get()
    assert (event.source, str(event.event_id), event.prompt) == ("command", answer["event"], None)
    assert event.reported_by.startswith("run_action (")
    assert [request["method"] for request in answer["requests"]][-1] == "PATCH"
    assert all(request["sent"] for request in answer["requests"])


@pytest.mark.django_db(transaction=True)
def test_it_waits_for_a_worker_that_heard_the_bell_first(
    house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the place of the broker stands a worker that is faster than the command."""
    house.sandbox.fault("PATCH", delay=0.5, act=True)
    claimed = threading.Event()

    def carry_out() -> None:
        execution = claims.claim("another worker")
        claimed.set()
        assert execution is not None
        executions.carry_out(execution)
        connection.close()

    workers: list[threading.Thread] = []

    def hear(*_: object, **__: object) -> None:
        workers.append(threading.Thread(target=carry_out))
        workers[0].start()
        claimed.wait(10)

    monkeypatch.setattr(Producer, "publish", hear)
    answer, status = run(
        capsys, "cleeng", "apply_coupon", "--app", "streamly", "--user", "ann", "--input", "coupon=SAVE20"
    )
    workers[0].join()
    assert (status, answer["outcome"]) == (0, "done")
    assert Execution.objects.get().attempts.get().worker == "another worker"


def test_a_dry_run_reads_and_shows_the_write_without_sending_it(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    answer, status = run(
        capsys, "cleeng", "apply_coupon", "--app", "streamly", "--user", "ann", "--input", "coupon=SAVE20", "--dry-run"
    )
    assert (status, answer["outcome"], answer["dry_run"]) == (0, "would_write", True)
    assert [(request["kind"], request["sent"]) for request in answer["requests"]][-1] == ("write", False)
    assert answer["requests"][-1]["body"] == {"couponCode": "SAVE20"}
    assert house.sandbox.requests("PATCH") == []
    assert not PromptEvent.objects.exists()


def test_a_dry_run_makes_no_subscriber(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    answer, status = run(
        capsys,
        "cleeng",
        "apply_coupon",
        "--app",
        "streamly",
        "--user",
        "nobody",
        "--input",
        "coupon=SAVE20",
        "--dry-run",
    )
    assert (status, answer["outcome"]) == (1, "skipped")
    assert not Subscriber.objects.filter(user_id="nobody").exists()


def test_the_key_is_not_printed(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ((), ("--dry-run",)):
        answer, _ = run(
            capsys, "cleeng", "apply_coupon", "--app", "streamly", "--user", "ann", "--input", "coupon=SAVE20", *more
        )
        assert house.sandbox.token not in json.dumps(answer)
        assert answer["requests"][0]["headers"]["X-Publisher-Token"] == "[secret]"


def test_an_action_for_the_client_is_handed_over(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    answer, status = run(
        capsys, "builtin", "redirect", "--app", "streamly", "--user", "ann", "--input", "url=https://shop.example/"
    )
    assert (status, answer["outcome"]) == (0, "handed_over")
    assert answer["instruction"]["url"] == "https://shop.example/"


@pytest.mark.parametrize(
    ("prepare", "outcome"),
    [
        ({"traits": {}}, "skipped"),
        ({"coupon": "SUMMER24"}, "rejected"),
        ({"inactive": True}, "held"),
        ({"fault": {"method": "PATCH", "status": 503}}, "waiting"),
    ],
)
def test_what_is_not_done_is_told_by_the_exit_status(
    house: House, capsys: pytest.CaptureFixture[str], prepare: dict[str, Any], outcome: str
) -> None:
    if "traits" in prepare:
        Subscriber.objects.update(traits=prepare["traits"])
    if "inactive" in prepare:
        house.connection.active = False
        house.connection.save(update_fields=["active"])
    if "fault" in prepare:
        house.sandbox.fault(**prepare["fault"])
    coupon = prepare.get("coupon", "SAVE20")
    answer, status = run(
        capsys, "cleeng", "apply_coupon", "--app", "streamly", "--user", "ann", "--input", f"coupon={coupon}"
    )
    assert (status, answer["outcome"]) == (1, outcome)
    assert answer["message"]
    assert Execution.objects.get().state == State(outcome)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere", "refund", "--app", "streamly", "--user", "ann"], "no connector 'nowhere'"),
        (["cleeng", "fly", "--app", "streamly", "--user", "ann"], "no action 'fly'"),
        (["cleeng", "apply_coupon", "--app", "nowhere", "--user", "ann"], "no App with the key 'nowhere'"),
        (["cleeng", "apply_coupon", "--app", "streamly", "--user", "ann"], "is empty"),
        (["cleeng", "apply_coupon", "--app", "streamly", "--user", "ann", "--input", "coupon"], "is not NAME=VALUE"),
        (
            ["cleeng", "apply_coupon", "--app", "streamly", "--user", "ann", "--input", "offer=X"],
            "has no input 'offer'",
        ),
        (["cleeng", "apply_coupon", "--app", "streamly", "--user", "ann", "--input", "coupon=a b"], "does not fit"),
        (
            ["cleeng", "apply_coupon", "--app", "streamly", "--user", "", "--input", "coupon=SAVE20"],
            "must not be empty",
        ),
    ],
)
def test_wrong_use_is_said_and_stores_nothing(house: House, arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence) as wrong:
        call_command("run_action", *arguments)
    assert wrong.value.returncode == 2
    assert not PromptEvent.objects.exists()


def test_an_app_without_the_connection_is_told_where_to_set_it_up(house: House) -> None:
    house.connection.delete()
    with pytest.raises(CommandError, match="Settings > Actions"):
        call_command("run_action", "cleeng", "apply_coupon", "--app=streamly", "--user=ann", "--input=coupon=SAVE20")


def test_an_action_is_given_the_user_id_and_the_time_of_the_answer(
    house: House, capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    secrets = {"service_account_password": "a-password-of-the-tests", "project_token": "a-token-of-the-tests"}
    kept = {"region": "us", "project_id": "7", "service_account": "a.b.mp-service-account"}
    factories.ConnectionFactory(app=house.app, connector="mixpanel", settings=kept, secrets=secrets)
    asked = ("mixpanel", "track_custom_event", "--app", "streamly", "--user", "somebody new", "--input", "event=Taken")
    answer, _ = run(capsys, *asked, "--dry-run")
    assert answer["requests"][-1]["body"][0]["properties"]["distinct_id"] == "somebody new"
    assert not Subscriber.objects.filter(user_id="somebody new").exists()
    with fake_vendor() as vendor:
        settings.ENGAGE_VENDOR_URLS = {"mixpanel": vendor.url}
        vendor.by_shape = lambda heard: Call(heard.method, heard.path, {"num_records_imported": 1})
        assert run(capsys, *asked)[1] == 0
    [sent] = vendor.heard[-1].body
    event, execution = PromptEvent.objects.get(), Execution.objects.get()
    assert sent["properties"] == {
        "time": milliseconds(event.received_at),
        "distinct_id": "somebody new",
        "$insert_id": str(execution.pk),
        "ip": "0",
    }
