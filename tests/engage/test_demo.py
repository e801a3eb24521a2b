"""The demo starts with one command, keeps what it made, and ends without leaving anything behind."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.management import CommandError, call_command
from moto.server import ThreadedMotoServer
from pytest_django import Settings

from connectors.base import CatalogueField
from connectors.models import CatalogueEntry, Connection
from connectors.registry import connector
from engage.audit.models import Entry
from engage.demo import seed
from engage.demo.kept import PEOPLE, Kept, Lost
from engage.demo.launcher import Child, Ended, Family, Place, Problem
from engage.tenancy.models import ApiKey, App, Membership, User, token_hash
from prompts.models import Binding, Prompt, PromptVersion
from sync.models import ImportRun, Source, Subscriber
from tests.sandbox_fixture import RunningSandbox, sandbox

__all__ = ["sandbox"]

ROOT = Path(__file__).parents[2]


# --- what it keeps ----------------------------------------------------------------------------------------------------------


def test_secrets_are_made_once_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    first = Kept.of(tmp_path)
    assert Kept.of(tmp_path) == first
    assert Kept.make() != first
    assert set(first.passwords) == set(PEOPLE)
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_a_lost_encryption_key_is_never_replaced_over_a_database(tmp_path: Path) -> None:
    (tmp_path / "engage.sqlite3").touch()
    with pytest.raises(Lost, match=r"secrets\.json is gone"):
        Kept.of(tmp_path)
    assert not (tmp_path / "secrets.json").exists()


# --- where it listens -------------------------------------------------------------------------------------------------------


def test_a_busy_port_is_named_with_a_way_out() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        place = Place.from_environment({"ENGAGE_DEMO_PORT": str(port)})
        with pytest.raises(Problem, match=rf"Port {port} cannot be used .* ENGAGE_DEMO_PORT=\d+ make demo"):
            place.check_ports()


@pytest.mark.parametrize("port", ["80x", "0", "65536", "-1"])
def test_what_is_no_port_is_refused(port: str) -> None:
    with pytest.raises(Problem, match="ENGAGE_DEMO_SANDBOX_PORT must be a port"):
        Place.from_environment({"ENGAGE_DEMO_SANDBOX_PORT": port})


def test_the_demo_stays_away_from_servers_that_the_shell_names(tmp_path: Path) -> None:
    shell = {"DATABASE_URL": "postgres://production", "CELERY_BROKER_URL": "redis://production", "PATH": "/bin"}
    place = Place.from_environment({"ENGAGE_DEMO_DIR": str(tmp_path)})
    environment = place.environment(Kept.make(), shell)
    assert environment["DATABASE_URL"] == f"sqlite:///{tmp_path}/engage.sqlite3"
    assert environment["CELERY_BROKER_URL"] == "filesystem://"
    assert environment["PATH"] == "/bin"


# --- processes --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def _own_signals() -> Iterator[None]:
    """A Family takes over the signals of its process, which here is that of the tests."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.usefixtures("_own_signals")
def test_children_and_their_children_end_with_the_family(tmp_path: Path) -> None:
    with Family(tmp_path, os.environ) as family:
        # The second one ignores SIGTERM's polite way, and its own child would outlive it.
        family.start("polite", "sleep", "60")
        stubborn = family.start("stubborn", "sh", "-c", "sleep 60 & echo $!; wait")
        family.wait_for(stubborn, lambda: stubborn.said().strip().isdecimal())
        grandchild = int(stubborn.said())
        pids = [child.process.pid for child in family.children]
        assert all(lives(pid) for pid in [*pids, grandchild])
    assert not any(lives(pid) for pid in [*pids, grandchild])


@pytest.mark.usefixtures("_own_signals")
def test_a_child_that_dies_is_named_with_its_last_words(tmp_path: Path) -> None:
    def run() -> Child:
        with Family(tmp_path, os.environ) as family:
            other = family.start("other", "sleep", "60")
            started.append(other)
            family.start("worker", "sh", "-c", "echo the disk is full; exit 3")
            family.watch()

    started: list[Child] = []
    with pytest.raises(Problem, match=r"worker ended by itself \(3\).*(?s:.)*the disk is full"):
        run()
    assert not lives(started[0].process.pid)


@pytest.mark.usefixtures("_own_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_watch_and_also_a_job_under_way(tmp_path: Path, number: int) -> None:
    def run() -> None:
        with Family(tmp_path, os.environ) as family:
            os.kill(os.getpid(), number)
            family.run("migrate", "sleep", "60")

    begun = time.monotonic()
    with pytest.raises(Ended):
        run()
    assert time.monotonic() - begun < 5


# --- the company ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def s3_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    forget(url)
    yield url
    server.stop()


def forget(s3_url: str) -> None:
    """What the S3 server of the demo does when it ends."""
    requests.post(f"{s3_url}/moto-api/reset", timeout=5).raise_for_status()


@pytest.fixture
def kept(sandbox: RunningSandbox, settings: Settings) -> Kept:
    settings.ENGAGE_VENDOR_URLS = sandbox.urls
    settings.ENGAGE_DEMO_SANDBOX_URL = sandbox.root
    settings.ENGAGE_BASE_URL = "http://localhost:8000"
    return Kept.make()


@pytest.mark.django_db
def test_the_company_works_at_once(kept: Kept, s3_url: str, sandbox: RunningSandbox) -> None:
    seed.seed(kept, s3_url=s3_url)
    app = App.objects.get(key="streamly")
    assert {key.hashed for key in ApiKey.objects.filter(app=app)} == {
        token_hash(kept.publishable_key),
        token_hash(kept.api_secret_key),
    }
    connection = Connection.objects.get(app=app)
    assert (connection.active, connection.test_passed, connection.health) == (True, True, "healthy")
    offers = CatalogueEntry.objects.filter(connection=connection, catalogue="offers")
    assert seed.PREMIUM in set(offers.values_list("key", flat=True))
    for prompt in Prompt.objects.filter(app=app):
        bindings = list(Binding.objects.filter(prompt=prompt))
        assert bindings
        published = PromptVersion.objects.get(prompt=prompt, superseded_at=None)
        assert {row["id"] for row in published.bindings} == {binding.pk for binding in bindings}
        for binding in bindings:
            inputs = {name: source["value"] for name, source in binding.inputs.items()}
            form = connector(binding.connector).action(binding.action, {}).Inputs(inputs)
            for field in form.fields.values():
                if isinstance(field, CatalogueField):
                    field.bind_catalogue([(key, key) for key in offers.values_list("key", flat=True)])
            assert form.is_valid(), form.errors
    known = {str(row["customerId"]) for row in sandbox.subscriptions().values()}
    traits = {row.traits["cleeng_customer_id"] for row in Subscriber.objects.filter(app=app)}
    assert known <= traits


@pytest.mark.django_db
def test_the_sandbox_calls_settings_as_the_console_does(kept: Kept, s3_url: str, sandbox: RunningSandbox) -> None:
    seed.seed(kept, s3_url=s3_url)
    page = requests.get(f"{sandbox.root}/recurly", timeout=5).text
    assert "<tr><td>Region</td><td>United States</td></tr>" in page
    assert "<tr><td>Private API key</td>" in page
    assert "<tr><td>Traits hold account codes</td><td>On</td></tr>" in page


@pytest.mark.django_db
def test_its_file_is_imported(kept: Kept, s3_url: str, settings: Settings) -> None:
    settings.ENGAGE_PRIVATE_HOSTS = [s3_url.removeprefix("http://")]
    seed.seed(kept, s3_url=s3_url)
    call_command("sync_subscriptions", "--app", "streamly", "--no-progress")
    assert Subscriber.objects.get(user_id="viewer-iris").traits["cleeng_customer_id"] == "640000009"
    assert ImportRun.objects.get().rows_rejected == 1


@pytest.mark.django_db
def test_its_three_people_sign_in_with_their_roles(kept: Kept, s3_url: str) -> None:
    seed.seed(kept, s3_url=s3_url)
    for email in PEOPLE:
        assert User.objects.get(email=email).check_password(kept.passwords[email])
    roles = dict(Membership.objects.values_list("user__email", "role"))
    assert list(roles.values()) == ["company_admin", "app_member", "read_only"]
    assert set(roles) == set(PEOPLE)


@pytest.mark.django_db
def test_a_second_start_changes_nothing_that_people_changed(kept: Kept, s3_url: str) -> None:
    seed.seed(kept, s3_url=s3_url)
    user = User.objects.get(email="admin@streamly.example")
    user.set_password("another pass phrase")
    user.save()
    Prompt.objects.filter(key="stay").update(title="Our own words")
    models: tuple[Any, ...] = (User, App, ApiKey, Connection, Prompt, Binding, PromptVersion, Source, Subscriber, Entry)
    before = [model.objects.count() for model in models]
    forget(s3_url)
    seed.seed(kept, s3_url=s3_url)
    assert [model.objects.count() for model in models] == before
    assert User.objects.get(email="admin@streamly.example").check_password("another pass phrase")
    assert Prompt.objects.get(key="stay").title == "Our own words"


@pytest.mark.django_db
def test_the_source_follows_the_s3_server_to_another_port(kept: Kept, s3_url: str) -> None:
    seed.seed(kept, s3_url=s3_url)
    Source.objects.update(endpoint_url="http://127.0.0.1:1")
    forget(s3_url)
    seed.seed(kept, s3_url=s3_url)
    assert Source.objects.get().endpoint_url == s3_url


@pytest.mark.django_db
def test_the_company_is_not_made_outside_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENGAGE_DEMO", raising=False)
    with pytest.raises(CommandError, match="make demo"):
        call_command("seed_demo")
    assert not App.objects.exists()


# --- all of it --------------------------------------------------------------------------------------------------------------


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def group_members(marker: str) -> list[int]:
    """Return the processes whose environment has `marker`: whatever the demo started, wherever it stands."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and lives(int(entry.name)):
            try:
                if marker.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def run_command(environment: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run what `make manage` does."""
    command = [sys.executable, "-m", "engage.demo", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_command_on_a_demo_that_was_never_started_says_so_and_makes_none(tmp_path: Path) -> None:
    ran = run_command({"PATH": os.environ["PATH"], "ENGAGE_DEMO_DIR": str(tmp_path)}, "purge")
    assert (ran.returncode, ran.stderr) == (1, f"There is no demo in {tmp_path} yet: `make demo` makes one.\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for left-over processes in /proc")
def test_it_starts_serves_an_accepted_prompt_and_ends_whole(tmp_path: Path) -> None:
    web, vendors, s3, mail = free_ports(4)
    environment = {
        "PATH": os.environ["PATH"],
        "ENGAGE_DEMO_DIR": str(tmp_path),
        "ENGAGE_DEMO_PORT": str(web),
        "ENGAGE_DEMO_SANDBOX_PORT": str(vendors),
        "ENGAGE_DEMO_S3_PORT": str(s3),
        "ENGAGE_DEMO_MAIL_PORT": str(mail),
    }
    output = tmp_path / "output"
    with output.open("w") as out:
        demo = subprocess.Popen(
            [sys.executable, "-m", "engage.demo"], cwd=ROOT, env=environment, stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + 150
        while "Engage is running." not in output.read_text():
            assert demo.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.2)
        kept = json.loads((tmp_path / "secrets.json").read_text())
        for email, password in kept["passwords"].items():
            assert re.search(rf"{re.escape(email)}\s+{re.escape(password)}", output.read_text())
        assert requests.get(f"http://127.0.0.1:{web}/readyz", timeout=5).json()["status"] == "ok"
        ran = run_command(environment, "sync_subscriptions", "--app", "streamly")
        assert (ran.returncode, ran.stderr) == (0, "")
        answer = requests.post(
            f"http://127.0.0.1:{web}/api/v1/events",
            json={
                "event_id": "0d0e9c7c-7c0e-4b52-8a3c-6f6f3f0f6d11",
                "prompt": "stay",
                "interaction": "accept",
                "user_id": "viewer-ava",
                "wait": 10,
            },
            headers={"Authorization": f"Bearer {kept['api_secret_key']}"},
            timeout=20,
        )
        assert answer.json()["outcome"] == "done", answer.text
        effects = requests.get(f"http://127.0.0.1:{vendors}/_sandbox/effects", timeout=5).json()
        assert [(effect["what"], effect["whom"]) for effect in effects] == [("coupon_applied", "710000001")]
    finally:
        demo.send_signal(signal.SIGINT)
        status = demo.wait(40)
    assert status == 0, output.read_text()
    assert "Everything has ended." in output.read_text()
    assert not group_members(f"ENGAGE_DEMO_DIR={tmp_path}")
