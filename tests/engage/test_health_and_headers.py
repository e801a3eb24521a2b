"""Health checks and security headers."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.db import connection
from django.test import Client
from django.utils import timezone
from encrypted_model_fields import fields as encryption

from engage.tenancy.roles import Role
from prompts.models import State
from tests import factories

HEADERS = {
    "Content-Security-Policy": "base-uri 'none'; object-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""What every answer carries that is no page of the console."""


def test_healthz_answers_without_the_database() -> None:
    # pytest-django refuses the database to a test that does not ask for it.
    answer = Client().get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_readyz_says_ok(db: None) -> None:
    answer = Client().get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "checks": {"database": "ok", "encryption_key": "ok", "workers": "ok"},
        "oldest_overdue_seconds": 0.0,
    }
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.parametrize(("late", "status"), [(60, 200), (200, 503)])
def test_readyz_tells_how_late_the_workers_are(db: None, late: int, status: int) -> None:
    factories.ExecutionFactory(state=State.QUEUED, due_at=timezone.now() - timedelta(seconds=late))
    answer = Client().get("/readyz")
    assert answer.status_code == status
    assert answer.json()["oldest_overdue_seconds"] == pytest.approx(late, abs=5)


def test_readyz_refuses_a_key_that_does_not_fit(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption, "CRYPTER", MultiFernet([Fernet(Fernet.generate_key())]))
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["encryption_key"]) == (503, "does not fit")


@pytest.mark.django_db(transaction=True)  # PostgreSQL answers nothing more in a transaction in which something failed
def test_readyz_says_that_the_database_is_away() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE vault_canary RENAME TO vault_canary_away")
    try:
        answer = Client().get("/readyz")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE vault_canary_away RENAME TO vault_canary")
    assert (answer.status_code, answer.json()["checks"]["database"]) == (503, "away")


def test_console_pages_run_no_inline_script_and_load_nothing_from_elsewhere(console: Callable[[Role], Client]) -> None:
    for answer in (Client().get("/console/login/"), console(Role.APP_ADMIN).get("/console/")):
        policy = dict(part.strip().split(" ", 1) for part in answer["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == "'self' 'unsafe-eval'"
        assert policy["frame-ancestors"] == "'none'"
        assert policy["form-action"] == "'self'"
        assert answer["X-Frame-Options"] == "DENY"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["Referrer-Policy"] == "same-origin"
        assert b"<script>" not in answer.content
        assert b"onclick=" not in answer.content


PRODUCTION = """
import json
import django
django.setup()
from django.core.management import call_command
from django.conf import settings
from django.test import Client
call_command("check", deploy=True, fail_level="WARNING")
visitor = Client(headers={"host": "engage.example"})
page, plain = visitor.get("/console/login/", secure=True), visitor.get("/console/login/")
token = page.cookies[settings.CSRF_COOKIE_NAME]
names = ("NAME", "SECURE", "HTTPONLY", "SAMESITE", "PATH", "DOMAIN")
print(json.dumps({
    "headers": dict(page.headers),
    "token": [token.key, token["secure"], token["httponly"], token["samesite"], token["path"], token["domain"]],
    "session": [getattr(settings, f"SESSION_COOKIE_{name}") for name in names],
    "plain": [plain.status_code, plain["Location"]],
}))
"""


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/v1/prompts", 401), ("/api/v1/nonsense", 404), ("/hooks/nobody", 404), ("/site-actions/x.js", 404)],
)
def test_machines_are_answered_without_a_session_and_with_every_header(db: None, path: str, status: int) -> None:
    client = Client(headers={"Origin": "https://elsewhere.example"})
    client.cookies[settings.SESSION_COOKIE_NAME] = "of-somebody"
    answer = client.get(path)
    assert answer.status_code == status
    assert not hasattr(answer.wsgi_request, "session")
    assert not answer.cookies
    assert "Access-Control-Allow-Origin" not in answer
    assert {name: answer[name] for name in HEADERS} == HEADERS
    foreign = Client(headers={"Host": "elsewhere.example"}).get(path)
    assert foreign.status_code == 400


def test_with_an_https_address_check_deploy_finds_nothing_and_cookies_are_for_that_host_alone(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "engage.settings",
        "SECRET_KEY": "0a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8s9t0u1v2w3x4y5z-_",
        "ENGAGE_BASE_URL": "https://engage.example",
        "ENGAGE_VAR_DIR": str(tmp_path),
        "ALLOWED_HOSTS": "",
    }
    done = subprocess.run(
        [sys.executable, "-c", PRODUCTION],
        cwd=settings.BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["token"] == ["__Host-csrftoken", True, True, "Lax", "/", ""]
    assert found["session"] == ["__Host-sessionid", True, True, "Lax", "/", None]
    assert found["headers"]["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"
    assert found["headers"]["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "no-store" in found["headers"]["Cache-Control"]
    assert found["plain"] == [301, "https://engage.example/console/login/"]
