"""An end to all of an attempt's HTTP, whatever the other side is doing.

Time-outs of requests are for each read; a vendor that trickles its headers outlives them. So every socket of an attempt is shut at
its end, by one thread that does this for all attempts of the process: a timer each would cost every attempt a thread.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from contextvars import ContextVar
from threading import Condition, Thread


class Deadline:
    """The end of all HTTP of one attempt. At that moment every socket is shut."""

    def __init__(self, seconds: float) -> None:
        self.ends = time.monotonic() + seconds
        self._sockets: list[socket.socket] = []
        # Whether requests have a working connection: a new one that is not up yet says no, one that is used again says yes.
        self.connected = False

    def remaining(self) -> float:
        """Seconds that are left, never less than 0."""
        return max(0.0, self.ends - time.monotonic())

    def watch(self, sock: socket.socket) -> None:
        """Shut this socket when time is up. A duplicate is kept, since TLS takes the original's descriptor over."""
        self._sockets.append(socket.socket(fileno=os.dup(sock.fileno())))
        if self.remaining():
            _watchman.expect(self)
        else:
            self.shut()  # it is over, or about to be: this socket may have been missed

    def again(self, seconds: float) -> None:
        """Let the time begin anew, for the same sockets."""
        self.ends = time.monotonic() + seconds
        if self._sockets:
            _watchman.expect(self)

    def pause(self) -> None:
        """Shut nothing until the time begins anew."""
        _watchman.forget(self)

    def shut(self) -> None:
        """Shut every socket; whoever reads or writes learns of it at once."""
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the sockets."""
        _watchman.forget(self)
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()


class _Watchman:
    """Shuts what is over. Its thread begins with the first socket there is to watch."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._expected: set[Deadline] = set()
        self._thread: Thread | None = None
        self._wakes = float("inf")  # when it looks again by itself

    def expect(self, deadline: Deadline) -> None:
        with self._changed:
            self._expected.add(deadline)
            if self._thread is None or not self._thread.is_alive():  # as in the child of a fork
                self._thread = Thread(target=self._watch, name="deadlines", daemon=True)
                self._thread.start()
            elif deadline.ends < self._wakes:
                self._changed.notify()

    def forget(self, deadline: Deadline) -> None:
        with self._changed:
            self._expected.discard(deadline)

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for over in [deadline for deadline in self._expected if deadline.ends <= now]:
                    self._expected.discard(over)
                    over.shut()
                self._wakes = min((deadline.ends for deadline in self._expected), default=float("inf"))
                self._changed.wait(None if self._wakes == float("inf") else self._wakes - now)


_watchman = _Watchman()
_deadline: ContextVar[Deadline] = ContextVar("engage_deadline")


@contextlib.contextmanager
def within(deadline: Deadline) -> Iterator[None]:
    """Let requests of this thread leave within `deadline`; without one, no connection is opened."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def at_hand() -> Deadline | None:
    """Return the deadline within which requests of this thread leave, if there is one."""
    return _deadline.get(None)


def required() -> Deadline:
    """Return the deadline within which requests of this thread leave.

    Raises:
        LookupError: there is none, so nothing may leave.

    """
    return _deadline.get()
