"""The Celery application: it only rings the bell, the rows in the database are the queue."""

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, worker_init
from celery.signals import setup_logging as setup_logging_signal

from engage import broker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "engage.settings")

WITHIN = 0.5
"""Seconds in which a broker must take each step of a message that is sent."""


class Application(Celery):
    """Celery, which sends quickly or not at all: somebody waits for the answer whose bell it is."""

    def connection_for_write(self, url: str | None = None, **more: Any) -> Any:
        """Return a connection to send by. Whoever receives waits longer, for the next message."""
        options = {"socket_timeout": WITHIN, **(more.pop("transport_options", None) or {})}
        return super().connection_for_write(url, transport_options=options, **more)


broker.install()
app = Application("engage", fixups=["engage.fixup:fixup"])
app.set_default()  # in the web server's threads too, where Celery would make up an app of its own
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["engage", "prompts", "sync", "connectors"])


@setup_logging_signal.connect
def keep_our_logging(**_: object) -> None:
    """Celery leaves logging alone once somebody listens here; Django's LOGGING holds."""


@worker_init.connect
def worker_begins(**_: object) -> None:
    """A worker with the wrong encryption key stops before it does anything."""
    from engage.startup import begin

    begin("worker")


@beat_init.connect
def beat_begins(**_: object) -> None:
    """Beat with the wrong encryption key stops before it does anything."""
    from engage.startup import begin

    begin("beat")
