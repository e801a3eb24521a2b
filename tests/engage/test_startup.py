"""What a process says of itself when it starts."""

import logging
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from engage.startup import begin

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).parents[2]


def test_settings_are_said_without_their_secrets(settings: object, caplog: pytest.LogCaptureFixture) -> None:
    settings.CELERY_BROKER_URL = "amqp://engage:rabbit-password@broker.example:5672//"  # type: ignore[attr-defined]
    settings.ENGAGE_VENDOR_URLS = {"cleeng": "http://user:vendor-password@127.0.0.1:9000/cleeng"}  # type: ignore[attr-defined]
    settings.ENGAGE_PRIVATE_HOSTS = ["crm.internal:443"]  # type: ignore[attr-defined]
    with caplog.at_level(logging.INFO):
        begin("worker")
    said = caplog.text
    assert "amqp://broker.example:5672" in said
    assert "cleeng at http://127.0.0.1:9000/cleeng" in said
    assert "crm.internal:443" in said
    assert "password" not in said


@pytest.mark.parametrize(("hours", "said"), [(1, "3600 seconds ahead of"), (-1, "3600 seconds behind"), (0, "")])
def test_a_clock_that_differs_from_the_databases_is_said_with_what_follows(
    caplog: pytest.LogCaptureFixture, hours: int, said: str
) -> None:
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours)):
        begin("worker")
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [said in text and "no work is done" in text for text in errors] == ([True] if said else [])


def test_a_crash_point_is_said_aloud(settings: object, caplog: pytest.LogCaptureFixture) -> None:
    settings.ENGAGE_CRASH_AT = "write.sent"  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING):
        begin("worker")
    assert "ends itself at the crash point write.sent" in caplog.text


@pytest.mark.parametrize(("sandbox", "said"), [("apple", True), ("cleeng", False)])
def test_a_root_in_apples_place_is_said_aloud(
    settings: object, caplog: pytest.LogCaptureFixture, sandbox: str, said: bool
) -> None:
    settings.ENGAGE_VENDOR_URLS = {sandbox: "http://127.0.0.1:9000/sandbox"}  # type: ignore[attr-defined]
    settings.ENGAGE_APPLE_ROOT = "/root.pem"  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING):
        begin("worker")
    assert ("In place of Apple's signatures, those of /root.pem are believed" in caplog.text) is said


def test_a_command_without_its_settings_says_so_in_one_line(tmp_path: Path) -> None:
    environment = {**os.environ, "SECRET_KEY": "", "DJANGO_SETTINGS_MODULE": "engage.settings"}
    command = [sys.executable, "manage.py", "sync_subscriptions"]
    ended = subprocess.run(
        command,
        env={**environment, "ENGAGE_VAR_DIR": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("manage.py: SECRET_KEY is not set.")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("point", "address", "said"),
    [
        ("write.sent", "https://engage.example.com", "reached over HTTPS refuses it"),
        ("write.snet", "http://localhost:8000", "names no crash point"),
    ],
)
def test_a_crash_point_is_refused_in_production_and_where_there_is_none(point: str, address: str, said: str) -> None:
    environment = {**os.environ, "ENGAGE_CRASH_AT": point, "ENGAGE_BASE_URL": address}
    ended = subprocess.run(
        [sys.executable, "-c", "import engage.settings"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert said in ended.stderr


@pytest.mark.parametrize(
    "command", [["-c", "import engage.wsgi as web; web.get_wsgi_application()"], ["manage.py", "check"]]
)
def test_nothing_warns_in_a_folder_of_its_own(tmp_path: Path, command: list[str]) -> None:
    environment = {**os.environ, "ENGAGE_VAR_DIR": str(tmp_path / "var"), "LOG_LEVEL": "WARNING"}
    ended = subprocess.run(
        [sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stderr == ""
