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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chaos.fleet import ROOT, Fleet, kill_evenly
from chaos.servers import HOST, NotThere, embedded, free_port, servers, wait_for

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
    parser.add_argument("--scale", type=float, default=20, help="the engine's times are divided by it")
    parser.add_argument("--faults", type=int, default=3, help="so many requests to one address may go wrong")
    parser.add_argument("--embedded", action="store_true", help="SQLite and a broker in a folder, which nobody kills")
    parser.add_argument(
        "--minutes", type=float, default=60, help="it takes no longer; what is not settled then is lost"
    )
    parser.add_argument("--logs", type=Path, help="a folder that keeps the processes' logs (default: none does)")
    return parser.parse_args()


@contextmanager
def vendors(seed: int, faults: int, logs: Path) -> Iterator[str]:
    """Run the vendors in a process that nobody kills; yields their URL."""
    port = free_port()
    command = [sys.executable, "-m", "chaos.vendor", str(port), str(seed), str(faults)]
    with (logs / "vendors.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)  # noqa: S603
    try:
        wait_for(port, process)
        yield f"http://{HOST}:{port}"
    finally:
        process.kill()
        process.wait()


def set_up(ground: Mapping[str, str], scale: float, sandbox: str, web: int, folder: Path) -> None:
    """Let this process and its children be Engage on these servers, whatever the shell or `.env` says."""
    os.environ.update(
        {
            **ground,
            "DJANGO_SETTINGS_MODULE": "engage.settings",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "FIELD_ENCRYPTION_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "ENGAGE_VAR_DIR": str(folder),
            "ENGAGE_BASE_URL": f"http://{HOST}:{web}",
            "ENGAGE_VENDOR_URLS": json.dumps({key: f"{sandbox}/{key}" for key in ("cleeng", "api")}),
            "ENGAGE_TIME_SCALE": str(scale),
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


def recorded(sandbox: str, what: str) -> list[dict[str, Any]]:
    """Ask the vendors what they wrote down: "effects" or "requests"."""
    with urllib.request.urlopen(f"{sandbox}/_sandbox/{what}", timeout=300) as answer:  # noqa: S310 - our own
        found: list[dict[str, Any]] = json.load(answer)
        return found


def drill(chosen: argparse.Namespace, folder: Path) -> int:
    """Run it in a folder that is its own; returns the exit status."""
    began = time.monotonic()
    ends: float = began + chosen.minutes * 60

    def out_of_time() -> bool:
        return time.monotonic() > ends

    web = free_port()
    ground = embedded(folder) if chosen.embedded else servers()
    with ground as (urls, mortal), vendors(chosen.seed, chosen.faults, folder) as sandbox:
        set_up(urls, chosen.scale, sandbox, web, folder)
        from django.conf import settings
        from django.db import connections

        from chaos import crowd
        from chaos.verdict import judge, lost_answers

        api_key = crowd.settle_in(chosen.events, sandbox)
        connections.close_all()
        with Fleet(mortal, os.environ, web, folder) as fleet:
            lasts = chosen.kills * BETWEEN_KILLS
            people = crowd.Crowd(chosen.events, lasts, chosen.seed, f"http://{HOST}:{web}", api_key)
            answering = threading.Thread(target=people.answer, args=(out_of_time,))
            answering.start()
            kill_evenly(fleet, chosen.kills, lasts, chosen.seed, out_of_time)
            answering.join()
            say(f"{len(people.accepted)} answers accepted, killed: {dict(fleet.kills)}")
            drain(out_of_time)
        verdict = judge(people.accepted, [(effect["what"], effect["whom"]) for effect in recorded(sandbox, "effects")])
        injected = lost_answers(recorded(sandbox, "requests"))
        connections.close_all()
    # What a kill takes with it: one answer for each thread of a worker.
    at_most = fleet.kills.total() * settings.ENGAGE_WORKER_THREADS + injected.total()
    say(
        f"Answers to writes that the vendors lost: {dict(injected)}. A person is asked about: {dict(verdict.uncertain)}"
    )
    for name in ("lost", "doubled", "unfounded"):
        for line in getattr(verdict, name)[:SHOWN]:
            say(f"{name}: {line}")
    result = {
        "events": len(people.accepted),
        "executions": verdict.executions,
        "kills": fleet.kills.total(),
        "lost": len(verdict.lost) + chosen.events - len(people.accepted),
        "doubled": len(verdict.doubled),
        "uncertain": verdict.uncertain.total(),
        "uncertain_at_most": at_most,
        "seconds": round(time.monotonic() - began, 1),
    }
    sys.stdout.write(json.dumps(result) + "\n")
    too_many = verdict.uncertain.total() > at_most
    return int(bool(result["lost"] or result["doubled"] or verdict.unfounded or too_many))


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
