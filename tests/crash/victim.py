"""Processes that do one job of the product and end at a crash point. They are forked from a process that has Django ready."""

import multiprocessing
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import django
from django.apps import apps

if not apps.ready:
    django.setup()

from django import forms
from django.conf import settings
from django.db import connection

from connectors import registry
from connectors.auth import ClientCredentials, TokenSource
from connectors.base import Action, Category, Connector, Json, ProbeLine, Replay, Values, all_of
from connectors.http import Api
from engage import crash
from engage.tenancy.models import App
from prompts import events, executions, forwarding, recovery, settlement
from sync import imports, inbound, pushes, rereads
from sync.models import Source
from tests.connectors.tellers import Slipping

PATIENCE = 30.0
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.crash.victim"])


class Credit(Action):
    """A write under a key, signed by an access token."""

    key, label = "credit", "Credit"
    needs = all_of("customer")
    replay, replay_proof, key_kept = Replay.KEY, "The sandbox keeps keys.", settlement.REPORT_WITHIN

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        return f"Credit {api.post('credits', str(user['customer']), json={})['id']} is given"


class Ticketed(Connector):
    """The sandbox's endpoint, for somebody who signs by tokens."""

    key, label, category = "ticketed", "Ticketed", Category.BILLING
    actions = (Credit,)
    idempotency_header = "Idempotency-Key"

    class Settings(forms.Form):
        """None."""

    def base_url(self, settings: Values) -> str:
        return "https://ticketed.invalid"

    def hosts(self, settings: Values) -> dict[str, str]:
        return {"token": "https://ticketed.invalid/token"}

    def auth(self, settings: Values) -> TokenSource:
        return ClientCredentials("grant", client_id="c", client_secret="not-a-real-secret")

    def probe(self, api: Api) -> list[ProbeLine]:
        return [ProbeLine(True, "It is there.")]


def know(*more: type[Connector]) -> None:
    """Let this process know connectors of the tests."""
    registry.CONNECTORS = (*registry.CONNECTORS, *more)
    registry._by_key.cache_clear()  # noqa: SLF001 - the registry's memory


# --- jobs ---------------------------------------------------------------------------------------------------------------------


def report(app_key: str, event_id: UUID) -> None:
    """What the runtime API does with an answer to the prompt."""
    events.record(App.objects.get(key=app_key), events.Report(event_id, "stay", "accept", "ann"))


def work() -> None:
    """What a worker does when the bell rings."""
    executions.work("victim")


def sweep() -> None:
    """What the beat's tick does."""
    recovery.sweep()


def forward(connection_id: UUID) -> None:
    """What a worker does when the bell rings for forwards."""
    forwarding.work("victim", connection_id)


def push() -> None:
    """What a worker does when the bell rings for pushes."""
    pushes.work()


def read_again() -> None:
    """What a worker does when the bell rings for readings."""
    rereads.work()


def read_messages() -> None:
    """What a worker does when a vendor has told something."""
    inbound.work()


def import_files(source_id: UUID) -> None:
    """What a schedule does."""
    imports.import_source(Source.objects.get(pk=source_id), started_by="victim")


# --- the kill -----------------------------------------------------------------------------------------------------------------

INHERITED = ("ENGAGE_VENDOR_URLS", "ENGAGE_PRIVATE_HOSTS")


def dies_at(point: str, job: Callable[..., None], *arguments: Any) -> None:
    """Let a process of its own do a job, and make sure that it ended at the point."""
    told = {name: getattr(settings, name) for name in INHERITED}
    process = _forks.Process(target=_run, args=(str(connection.settings_dict["NAME"]), point, told, job, arguments))
    process.start()
    process.join(PATIENCE)
    if process.exitcode is None:
        process.kill()
    assert process.exitcode == crash.STATUS, f"It ended with {process.exitcode}, and not at {point}."


def _run(
    database: str, point: str, told: Mapping[str, Any], job: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    connection.settings_dict["NAME"] = database
    know(Ticketed, Slipping)
    for name, value in {**told, "ENGAGE_CRASH_AT": point}.items():
        setattr(settings, name, value)
    job(*arguments)
