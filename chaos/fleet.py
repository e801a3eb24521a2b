"""Engage's own processes, killed and begun again."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Self

from chaos.servers import HOST, Server

ROOT = Path(__file__).resolve().parents[1]
LOOK_EVERY = 0.5  # seconds between two looks whether a process ended by itself


class Fleet:
    """Web, beat and two workers. What ends is begun again, as a service manager does it. Use as a context manager."""

    def __init__(self, servers: Mapping[str, Server], environment: Mapping[str, str], web: int, logs: Path) -> None:
        celery = [sys.executable, "-m", "celery", "-A", "engage"]
        granian = str(Path(sys.executable).with_name("granian"))
        worker = [*celery, "worker", "-P", "threads", "--without-gossip", "--without-mingle", "-n"]
        self.commands = {
            "worker 1": [*worker, "one@%h"],
            "worker 2": [*worker, "two@%h"],
            "beat": [*celery, "beat", "--pidfile", ""],
            "web": [
                granian, "--interface", "wsgi", "--no-ws", "--host", HOST, "--port", str(web), "--blocking-threads", "8",
                "engage.wsgi:application",
            ],
        }  # fmt: skip
        self.servers = servers
        self.victims = (*self.commands, *servers)
        self.environment, self.logs = environment, logs
        self.kills: Counter[str] = Counter()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._changing = threading.Lock()
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="watcher")

    def __enter__(self) -> Self:
        for name in self.commands:
            self._begin(name)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()
        for name in self.commands:
            self._end(name)

    def kill(self, name: str) -> None:
        """Kill one of the `victims`, without any warning, and begin it again."""
        self.kills[name] += 1
        if name in self.servers:
            self.servers[name].crash()
            return
        with self._changing:
            self._end(name)
            self._begin(name)

    def _begin(self, name: str) -> None:
        with (self.logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603 - commands of this file
                self.commands[name], cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def _end(self, name: str) -> None:
        # Its own session: what it started itself ends with it.
        with suppress(ProcessLookupError):
            os.killpg(self._running[name].pid, signal.SIGKILL)
        self._running[name].wait()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            with self._changing:
                for name, process in list(self._running.items()):
                    if process.poll() is not None:
                        self._end(name)
                        self._begin(name)


def kill_evenly(fleet: Fleet, kills: int, seconds: float, seed: int, ended: Callable[[], bool]) -> None:
    """Kill so many times in so many seconds, each time one of its victims: each as often as the others, in any order."""
    random = Random(seed)  # noqa: S311 - to be repeated, not to keep a secret
    order: list[str] = []
    while len(order) < kills:
        order += random.sample(fleet.victims, len(fleet.victims))
    began = time.monotonic()
    for number, name in enumerate(order[:kills]):
        time.sleep(max(0.0, began + seconds * (number + 0.5) / kills - time.monotonic()))
        if ended():
            return
        fleet.kill(name)
