"""The small drill: everything is killed again and again while vendors misbehave, and the vendors' count is as promised."""

import json
import subprocess
import sys

import pytest

from chaos.fleet import ROOT
from chaos.servers import NotThere, program

# Gentler than `make chaos`: on a machine that is busy with other tests a request of 0.4 seconds would time out by itself, and
# what has failed often waits long.
SMALL = ["--events", "200", "--kills", "10", "--scale", "10", "--faults", "1", "--minutes", "15"]


def ground() -> list[str]:
    """Servers of its own where their programs are installed, else the embedded set-up."""
    try:
        for name in ("initdb", "postgres", "redis-server"):
            program(name)
    except NotThere:
        return ["--embedded"]
    return []


@pytest.mark.chaos
def test_nothing_is_lost_and_nothing_doubled_while_everything_is_killed() -> None:
    command = [sys.executable, "-m", "chaos", *SMALL, *ground()]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-5000:]
    result = json.loads(ran.stdout)
    counted = {name: result[name] for name in ("events", "executions", "kills", "lost", "doubled")}
    assert counted == {"events": 200, "executions": 400, "kills": 10, "lost": 0, "doubled": 0}
    assert result["uncertain"] <= result["uncertain_at_most"]
