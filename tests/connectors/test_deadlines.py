"""One thread ends what is over, for all attempts at once."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from connectors.deadlines import Deadline

LONG, SHORT = 60.0, 0.2  # seconds
SOON = 5.0


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    """Close what a test opened."""
    with ExitStack() as stack:
        yield stack


def watched(ends: ExitStack, seconds: float) -> socket.socket:
    """Return a socket on which nothing ever comes, watched by a deadline of its own."""
    ours, theirs = socket.socketpair()
    ends.enter_context(ours)
    ends.enter_context(theirs)
    ours.settimeout(SOON)
    deadline = Deadline(seconds)
    ends.callback(deadline.close)
    deadline.watch(ours)
    return ours


def is_shut(sock: socket.socket) -> bool:
    """Whether a read comes back; it waits for that."""
    try:
        return sock.recv(1) == b""
    except TimeoutError:
        return False


def test_a_short_one_is_not_behind_a_long_one(ends: ExitStack) -> None:
    long, short = watched(ends, LONG), watched(ends, SHORT)
    began = time.monotonic()
    assert is_shut(short)
    assert SHORT / 2 < time.monotonic() - began < SOON
    long.settimeout(0)
    with pytest.raises(BlockingIOError):
        long.recv(1)


def test_many_end_by_one_thread(ends: ExitStack) -> None:
    watched(ends, LONG)
    before = threading.active_count()
    socks = [watched(ends, SHORT) for _ in range(50)]
    assert threading.active_count() == before
    assert all(map(is_shut, socks))


def test_a_socket_that_is_opened_after_the_end_is_shut_at_once(ends: ExitStack) -> None:
    assert is_shut(watched(ends, 0.0))


def test_what_was_let_go_is_left_alone(ends: ExitStack) -> None:
    ours, theirs = socket.socketpair()
    ends.enter_context(ours)
    ends.enter_context(theirs)
    deadline = Deadline(SHORT)
    deadline.watch(ours)
    deadline.close()
    assert is_shut(watched(ends, 2 * SHORT))  # by then the other one would have been
    theirs.sendall(b"x")
    assert ours.recv(1) == b"x"
