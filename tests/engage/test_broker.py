"""The embedded broker's files appear whole or not at all; and what every broker keeps."""

import os
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import current_app
from kombu import Connection
from kombu.transport import filesystem
from pytest_django import Settings

from engage import bell, broker
from tests.worker import ROOT

AT_ONCE, EACH = 4, 150


def connection(folder: Path) -> Connection:
    for name in ("messages", "control"):
        (folder / name).mkdir(exist_ok=True)
    options: dict[str, Any] = {
        "data_folder_in": folder / "messages",
        "data_folder_out": folder / "messages",
        "control_folder": folder / "control",
    }
    return Connection("filesystem://", transport_options=options)


def test_the_products_celery_uses_it() -> None:
    import engage

    assert engage.celery_app.connection("filesystem://").get_transport_cls() is broker.Transport
    assert issubclass(broker.Channel, filesystem.Channel)


def test_every_message_arrives_once_and_whole_while_several_write(tmp_path: Path) -> None:
    def write(writer: int) -> None:
        with connection(tmp_path) as mine, mine.SimpleQueue("bell") as queue:
            for number in range(EACH):
                queue.put([writer, number])

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(AT_ONCE)]
    for thread in writers:
        thread.start()
    got: list[tuple[int, int]] = []
    with connection(tmp_path) as mine, mine.SimpleQueue("bell") as queue:
        while len(got) < AT_ONCE * EACH:
            message = queue.get(timeout=10)
            got.append(tuple(message.payload))
            message.ack()
    for thread in writers:
        thread.join()
    assert sorted(got) == [(writer, number) for writer in range(AT_ONCE) for number in range(EACH)]
    assert not list((tmp_path / "messages").iterdir())


@pytest.mark.parametrize("attempt", range(10))
def test_the_first_messages_of_several_threads_are_not_sent_into_a_gap(tmp_path: Path, attempt: int) -> None:
    """The queue is not bound yet when the first of them sends."""

    def write(writer: int) -> None:
        with connection(tmp_path) as mine, mine.SimpleQueue(f"first-{attempt}") as queue:
            queue.put(writer)

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    assert len(list((tmp_path / "messages").glob("*.msg"))) == 8


# Queues have names of their own: kombu remembers for the whole process which it has bound.


def test_a_message_that_is_still_being_written_is_not_there_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []
    looked: list[Path] = []
    rename = Path.rename

    def look_first(path: Path, target: Path) -> Path:
        looked.append(target)
        seen.extend((tmp_path / "messages").glob("*.msg"))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", look_first)
    with connection(tmp_path) as mine, mine.SimpleQueue("other-bell") as queue:
        queue.put("ding")
        assert looked
        assert not seen
        assert queue.get(timeout=5).payload == "ding"


@pytest.mark.broker
def test_a_bell_that_rings_before_the_first_worker_is_kept_for_it(settings: Settings) -> None:
    settings.CELERY_TASK_DEFAULT_QUEUE = name = f"engage-new-{uuid4()}"
    bell.ring("the.task", "its hint")
    with current_app.connection_for_read() as broker:
        queue = current_app.amqp.queues[name](broker.default_channel)
        message = queue.get(no_ack=True)
        queue.delete()
    assert message is not None
    assert (message.headers["task"], message.payload[0]) == ("the.task", ["its hint"])
    expires = datetime.fromisoformat(message.headers["expires"]) - datetime.now(UTC)
    assert timedelta(seconds=20) < expires <= timedelta(seconds=30)


RING = """
import time, django
django.setup()
from engage import bell
began = time.monotonic()
bell.ring("the.task")
assert bell._quiet_until, "it was heard"
print(time.monotonic() - began)
"""


@pytest.mark.parametrize("kind", ["redis", "amqp"])
def test_a_broker_that_accepts_and_says_nothing_delays_no_answer(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{kind}://guest:guest@127.0.0.1:{silent.getsockname()[1]}//"
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "CELERY_BROKER_URL": url}
        rings = subprocess.run(
            [sys.executable, "-c", RING], cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True
        )
    assert float(rings.stdout) < 3
