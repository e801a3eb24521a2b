"""The embedded broker: kombu's files in a folder, without its races.

kombu 5.7 makes a message's file and then writes it, and its reader does not wait: it may take the file while it is still
empty. The worker then ends with "Unrecoverable error: JSONDecodeError" (seen within minutes of an idle demo). The files that
say which queue an exchange feeds are made in the same way.
"""

import fcntl
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps

_one_thread = threading.Lock()


class Channel(filesystem.Channel):
    """A message appears whole or not at all."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:  # type: ignore[override]  # as kombu itself names it
        folder = Path(self.data_folder_out)
        name = f"{time.monotonic_ns() // 1_000_000}_{uuid.uuid4()}.{queue}"
        being_written = folder / f"{name}.part"  # the reader looks for `.msg`
        being_written.write_text(dumps(payload), encoding="utf-8")
        being_written.rename(folder / f"{name}.msg")

    @contextmanager
    def _alone(self, kind: int) -> Iterator[None]:
        self.control_folder.mkdir(exist_ok=True)
        with (self.control_folder / "lock").open("w") as held:
            fcntl.flock(held, kind)
            yield

    def queue_bind(self, *args: Any, **options: Any) -> None:
        """Bind a queue. kombu notes a binding before it writes it down; a second thread would send into the gap."""
        with _one_thread:
            super().queue_bind(*args, **options)

    def _queue_bind(self, *args: Any) -> None:
        with self._alone(fcntl.LOCK_EX):
            super()._queue_bind(*args)

    def get_table(self, exchange: str) -> Any:
        """Return the queues of an exchange."""
        with self._alone(fcntl.LOCK_SH):
            return super().get_table(exchange)


class Transport(filesystem.Transport):
    """Stands in for kombu's own behind `filesystem://`."""

    Channel = Channel


def install() -> None:
    """From here on `filesystem://` is this one."""
    TRANSPORT_ALIASES["filesystem"] = f"{__name__}:Transport"
