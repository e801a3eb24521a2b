"""A real Celery worker, as a process of its own, on the test's database and broker."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.db import connection

PATIENCE = 30.0
ROOT = Path(__file__).resolve().parents[1]


class World(Protocol):
    """Where the vendors are."""

    @property
    def urls(self) -> Mapping[str, str]:
        """What ENGAGE_VENDOR_URLS takes."""


def database_url() -> str:
    """The test's own database, as DATABASE_URL says it."""
    values = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{values['NAME']}"
    host = values["HOST"] or "127.0.0.1"
    return f"postgres://{values['USER']}:{values['PASSWORD']}@{host}:{values['PORT'] or 5432}/{values['NAME']}"


@contextmanager
def worker(world: World, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Celery worker with two threads against the test's database, broker and vendors; `more` is its environment."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": database_url(),
        "ENGAGE_VAR_DIR": str(settings.VAR_DIR),
        "ENGAGE_VENDOR_URLS": json.dumps(world.urls),
        **more,
    }
    command = [sys.executable, "-m", "celery", "-A", "engage", "worker", "--pool=threads", "--concurrency=2"]
    process = subprocess.Popen([*command, "--without-gossip", "--without-mingle"], cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
