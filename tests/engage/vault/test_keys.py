"""Keys: the canary tells a wrong one before anything else happens, and `rotate_keys` moves everything to a new one."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.core.management import CommandError, call_command
from encrypted_model_fields import fields as encryption

from connectors.models import Connection
from engage.tenancy.models import App, IdentitySecret
from engage.vault import canary, rotation
from engage.vault.fields import PREFIX, SealedText, Unreadable
from engage.vault.models import Canary
from tests import factories

ROOT = Path(settings.BASE_DIR)
OLD = settings.FIELD_ENCRYPTION_KEY[0]


@pytest.fixture
def new_key(monkeypatch: pytest.MonkeyPatch) -> str:
    """A new first key, in front of the one that everything is saved with."""
    key = Fernet.generate_key().decode()
    monkeypatch.setattr(settings, "FIELD_ENCRYPTION_KEY", [key, OLD])
    monkeypatch.setattr(encryption, "CRYPTER", MultiFernet([Fernet(key), Fernet(OLD)]))
    return key


def only(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "FIELD_ENCRYPTION_KEY", [key])
    monkeypatch.setattr(encryption, "CRYPTER", MultiFernet([Fernet(key)]))


def rotate(capsys: pytest.CaptureFixture[str]) -> str:
    call_command("rotate_keys")
    return capsys.readouterr().out.strip()


def test_rotating_moves_everything_to_the_first_key(
    app: App, new_key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only(OLD, monkeypatch)
    old = factories.ConnectionFactory(app=app, secrets={"api_key": "old"})
    secret, token = IdentitySecret.make(app)
    monkeypatch.setattr(settings, "FIELD_ENCRYPTION_KEY", [new_key, OLD])
    monkeypatch.setattr(encryption, "CRYPTER", MultiFernet([Fernet(new_key), Fernet(OLD)]))
    factories.ConnectionFactory(app=app, connector="builtin", secrets={"api_key": "new"})
    factories.ConnectionFactory(app=app, connector="empty", secrets={})
    assert rotate(capsys) == "3 rotated, 1 already current"
    assert rotate(capsys) == "0 rotated, 4 already current"
    only(new_key, monkeypatch)
    assert canary.fits()
    assert Connection.objects.get(pk=old.pk).secrets() == {"api_key": "old"}
    assert IdentitySecret.objects.get(pk=secret.pk).secrets() == {"secret": token}


def test_a_row_that_no_key_opens_is_named_and_nothing_is_changed(app: App, new_key: str) -> None:
    good = factories.ConnectionFactory(app=app)
    bad = factories.ConnectionFactory(app=app, connector="builtin")
    lost = PREFIX + Fernet(Fernet.generate_key()).encrypt(b"lost").decode()
    Connection.objects.filter(pk=bad.pk).update(sealed=SealedText(lost, "test"))
    before = list(Connection.objects.order_by("pk").values_list("sealed", flat=True))
    with pytest.raises(CommandError, match=f"^1 secrets cannot be read.*connectors.Connection {bad.pk}$"):
        call_command("rotate_keys")
    assert list(Connection.objects.order_by("pk").values_list("sealed", flat=True)) == before
    assert Connection.objects.get(pk=good.pk).secrets()


def test_what_is_saved_during_a_rotation_is_not_lost(app: App, new_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only(OLD, monkeypatch)
    row = factories.ConnectionFactory(app=app, secrets={"api_key": "before"})
    monkeypatch.setattr(settings, "FIELD_ENCRYPTION_KEY", [new_key, OLD])
    crypter = MultiFernet([Fernet(new_key), Fernet(OLD)])

    class SavedMeanwhile:
        """The same crypter; just before a token is renewed, somebody saves another secret."""

        def rotate(self, token: bytes) -> bytes:
            found = Connection.objects.get(pk=row.pk)
            if found.secrets() == {"api_key": "before"}:
                found.seal({"api_key": "meanwhile"})
                found.save()
            return crypter.rotate(token)

        def __getattr__(self, name: str) -> Any:
            return getattr(crypter, name)

    monkeypatch.setattr(encryption, "CRYPTER", SavedMeanwhile())
    rotation.rotate()
    assert Connection.objects.get(pk=row.pk).secrets() == {"api_key": "meanwhile"}


def test_the_canary_is_made_by_migrate_and_fits(db: None) -> None:
    assert Canary.objects.count() == 1
    assert canary.fits()


def test_migrate_refuses_a_key_that_does_not_fit(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    only(Fernet.generate_key().decode(), monkeypatch)
    with pytest.raises(Unreadable):
        canary.after_migrate()
    assert Canary.objects.count() == 1


def test_migrate_refuses_secrets_without_a_canary(app: App) -> None:
    factories.ConnectionFactory(app=app)
    Canary.objects.all().delete()
    with pytest.raises(Unreadable, match="no canary"):
        canary.after_migrate()
    assert not Canary.objects.exists()


def test_a_new_database_gets_its_canary(db: None) -> None:
    Canary.objects.all().delete()
    canary.after_migrate()
    assert canary.fits()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of an installation with a migrated database of its own."""
    folder = tmp_path_factory.mktemp("installation")
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "engage.settings",
        "FIELD_ENCRYPTION_KEY": Fernet.generate_key().decode(),
        "ENGAGE_VAR_DIR": str(folder),
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "CELERY_BROKER_URL": "filesystem://",
    }
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "-v", "0"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return environment


WSGI = [sys.executable, "-c", "import engage.wsgi"]
COMMAND = [sys.executable, "manage.py", "rotate_keys"]
MIGRATE = [sys.executable, "manage.py", "migrate", "-v", "0"]
WORKER = [sys.executable, "-m", "celery", "-A", "engage", "worker", "-P", "solo", "--without-heartbeat"]
BEAT = [sys.executable, "-m", "celery", "-A", "engage", "beat"]


@pytest.mark.parametrize(
    "process", [WSGI, COMMAND, MIGRATE, WORKER, BEAT], ids=["wsgi", "command", "migrate", "worker", "beat"]
)
def test_with_a_wrong_key_no_process_starts_and_nothing_is_overwritten(
    installation: dict[str, str], process: list[str]
) -> None:
    def canaries() -> list[Any]:
        with sqlite3.connect(Path(installation["ENGAGE_VAR_DIR"]) / "db.sqlite3") as database:
            return database.execute("SELECT id, text FROM vault_canary").fetchall()

    before = canaries()
    wrong = {**installation, "FIELD_ENCRYPTION_KEY": Fernet.generate_key().decode()}
    done = subprocess.run(process, cwd=ROOT, env=wrong, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "FIELD_ENCRYPTION_KEY does not fit this database" in done.stderr or "cannot be decrypted" in done.stderr
    assert before[0][1] not in done.stderr + done.stdout
    assert canaries() == before


@pytest.mark.parametrize("process", [WSGI, COMMAND], ids=["wsgi", "command"])
def test_with_the_right_key_a_process_starts(installation: dict[str, str], process: list[str]) -> None:
    done = subprocess.run(process, cwd=ROOT, env=installation, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("key", ["", "nonsense", ","])
def test_a_key_that_is_none_is_refused(installation: dict[str, str], key: str) -> None:
    done = subprocess.run(
        WSGI,
        cwd=ROOT,
        env={**installation, "FIELD_ENCRYPTION_KEY": key},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert "FIELD_ENCRYPTION_KEY" in done.stderr
