"""`python -m chaos --events 10000 --kills 500`: run the drill, and print one JSON object on one line.

The exit status is 0 where nothing was lost, nothing doubled, and a person is asked only where nobody can know.
"""

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos.fleet import ROOT, Fleet, kill_evenly
from chaos.servers import HOST, NotThere, Postgres, Redis, environment, free_port, servers, wait_for

TIME_SCALE = 20
BETWEEN_KILLS = 2.5  # seconds: what was killed lives for a while before its turn comes again
SHOWN = 10


def say(text: str) -> None:
    """Tell people how far it is; standard output is for the result."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description="Kill everything again and again, and count.")
    parser.add_argument("--events", type=int, default=10_000, help="answers, of two actions each")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1, help="of what goes wrong, and when")
    parser.add_argument(
        "--minutes", type=float, default=60, help="it takes no longer; what is not settled then is lost"
    )
    parser.add_argument("--logs", type=Path, help="a folder that keeps the processes' logs (default: none does)")
    return parser.parse_args()


@contextmanager
def vendors(seed: int, logs: Path) -> Iterator[str]:
    """Run the vendors in a process that nobody kills; yields their URL."""
    port = free_port()
    command = [sys.executable, "-m", "chaos.vendor", str(port), str(seed)]
    with (logs / "vendors.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)  # noqa: S603
    try:
        wait_for(port, process)
        yield f"http://{HOST}:{port}"
    finally:
        process.kill()
        process.wait()


def set_up(postgres: Postgres, redis: Redis, sandbox: str, web: int, folder: Path) -> None:
    """Let this process and its children be Engage on these servers, whatever the shell or `.env` says."""
    os.environ.update(
        {
            **environment(postgres, redis),
            "DJANGO_SETTINGS_MODULE": "engage.settings",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "FIELD_ENCRYPTION_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "ENGAGE_VAR_DIR": str(folder),
            "ENGAGE_BASE_URL": f"http://{HOST}:{web}",
            "ENGAGE_VENDOR_URLS": json.dumps({key: f"{sandbox}/{key}" for key in ("cleeng", "api")}),
            "ENGAGE_TIME_SCALE": str(TIME_SCALE),
            "ENGAGE_API_RATE": "1000000/min",
            "ENGAGE_API_APP_RATE": "1000000/min",
            "ENGAGE_CRASH_AT": "",
            "ENGAGE_DEMO": "",
            "EMAIL_URL": "dummymail://",
        }
    )
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def drain(out_of_time: Callable[[], bool]) -> None:
    """Wait until nothing is left that goes on by itself."""
    from django.db import DatabaseError, connection

    from prompts.models import CLAIMABLE, Execution, State

    goes_on = Execution.objects.filter(state__in=[*CLAIMABLE, State.RUNNING])
    while not out_of_time():
        try:
            left = goes_on.count()
        except DatabaseError:
            connection.close()
            left = -1
        if not left:
            return
        say(f"{left} executions go on")
        time.sleep(2)


def effects(sandbox: str) -> list[tuple[str, str]]:
    """Ask the vendors what happened, and to whom."""
    with urllib.request.urlopen(f"{sandbox}/_sandbox/effects", timeout=60) as answer:  # noqa: S310 - our own
        return [(effect["what"], effect["whom"]) for effect in json.load(answer)]


def drill(chosen: argparse.Namespace, folder: Path) -> int:
    """Run it in a folder that is its own; returns the exit status."""
    began = time.monotonic()
    ends: float = began + chosen.minutes * 60

    def out_of_time() -> bool:
        return time.monotonic() > ends

    web = free_port()
    with servers() as (postgres, redis), vendors(chosen.seed, folder) as sandbox:
        set_up(postgres, redis, sandbox, web, folder)
        from django.db import connections

        from chaos import crowd
        from chaos.verdict import judge

        api_key = crowd.settle_in(chosen.events, sandbox)
        connections.close_all()
        with Fleet(postgres, redis, os.environ, web, folder) as fleet:
            lasts = chosen.kills * BETWEEN_KILLS
            people = crowd.Crowd(chosen.events, lasts, chosen.seed, f"http://{HOST}:{web}", api_key)
            answering = threading.Thread(target=people.answer, args=(out_of_time,))
            answering.start()
            kill_evenly(fleet, chosen.kills, lasts, chosen.seed, out_of_time)
            answering.join()
            say(f"{len(people.accepted)} answers accepted, killed: {dict(fleet.kills)}")
            drain(out_of_time)
        verdict = judge(people.accepted, effects(sandbox))
        connections.close_all()
    for name in ("lost", "doubled", "unfounded"):
        for line in getattr(verdict, name)[:SHOWN]:
            say(f"{name}: {line}")
    result = {
        "events": len(people.accepted),
        "executions": verdict.executions,
        "kills": fleet.kills.total(),
        "lost": len(verdict.lost) + chosen.events - len(people.accepted),
        "doubled": len(verdict.doubled),
        "uncertain": verdict.uncertain,
        "seconds": round(time.monotonic() - began, 1),
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return int(bool(result["lost"] or result["doubled"] or verdict.unfounded))


def main() -> int:
    """Run the drill; returns the exit status."""
    chosen = options()
    try:
        with tempfile.TemporaryDirectory(prefix="engage-drill-") as folder:
            return drill(chosen, chosen.logs or Path(folder))
    except NotThere as problem:
        say(str(problem))
        return 1


if __name__ == "__main__":
    sys.exit(main())
