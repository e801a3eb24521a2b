"""Servers that are lent to a command end with it, however it ends."""

import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from chaos.servers import HOST, NotThere, program

PATIENCE = 60.0


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return not sock.connect_ex((HOST, port))


def test_who_is_told_to_end_leaves_no_server_behind() -> None:
    for name in ("postgres", "redis-server"):
        try:
            program(name)
        except NotThere as missing:
            pytest.skip(str(missing))
    command = ["sh", "-c", 'echo "$DATABASE_URL"; echo "$CACHE_URL"; exec sleep 600']
    lender = subprocess.Popen([sys.executable, "-m", "chaos.servers", *command], stdout=subprocess.PIPE, text=True)
    assert lender.stdout is not None
    ports = [urlsplit(lender.stdout.readline().strip()).port or 0 for _ in range(2)]
    assert all(map(listens, ports))
    lender.terminate()
    lender.wait(PATIENCE)
    lender.stdout.close()
    assert not any(map(listens, ports))
