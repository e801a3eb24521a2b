"""`manage.py run_action`: carry out one action for one person, by the way that every answer goes."""

import getpass
import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from connectors import runner
from connectors.base import Action, Connector
from connectors.failures import Failure
from connectors.models import Connection
from connectors.registry import all_connectors, connector_or_none
from engage.tenancy.models import App
from engage.vault.fields import Unreadable
from prompts import claims, events, executions
from prompts.api import waiting
from prompts.models import EventSource, Execution, State
from prompts.states import sentence
from sync.models import Subscriber
from sync.traits import TraitError, given_of, traits_of

SUCCESS = frozenset({State.DONE, State.PENDING, State.HANDED_OVER})
WOULD_SUCCEED = frozenset({"would_write", *SUCCESS})
WRONG_USE = 2


class Command(BaseCommand):
    """Prints one JSON object; exits 0 for done, pending and handed over, 1 for any other end, 2 for wrong use."""

    help = (
        "Carry out one action of a connector for one person, and print one JSON object: outcome, message and the requests, "
        "with secrets masked. Exit status 0: done, pending or handed over; 1: any other outcome; 2: wrong use."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare what the command takes."""
        parser.add_argument("connector", help="e.g. cleeng")
        parser.add_argument("action", help="e.g. apply_coupon")
        parser.add_argument("--app", required=True, help="the App's key, e.g. streamly")
        parser.add_argument("--user", required=True, help="the id that the App sends for this person")
        parser.add_argument(
            "--input", action="append", default=[], metavar="NAME=VALUE", help="an input; may be repeated"
        )
        parser.add_argument(
            "--connection", default="", metavar="NAME", help="which one, where an App may have several (API actions)"
        )
        parser.add_argument("--dry-run", action="store_true", help="send reads only, and show the first write unsent")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run it, print what came of it, and exit accordingly."""
        app = App.objects.filter(key=options["app"]).first()
        if app is None:
            keys = known(App.objects.values_list("key", flat=True))
            raise wrong(f"There is no App with the key {options['app']!r}. Known: {keys}.")
        connector = connector_or_none(options["connector"])
        if connector is None:
            raise wrong(
                f"There is no connector {options['connector']!r}. Known: {known(one.key for one in all_connectors())}."
            )
        connection = connection_of(app, connector, options["connection"])
        values = connection.settings if connection else {}
        try:
            action = connector.action(options["action"], values)
        except KeyError:
            keys = known(one.key for one in connector.actions_of(values))
            raise wrong(f"{connector.label} has no action {options['action']!r}. Known: {keys}.") from None
        inputs = inputs_of(action, options["input"])
        if options["dry_run"]:
            answer, succeeded = self.preview(app, connector, action, connection, options["user"], inputs)
        else:
            answer, succeeded = self.carry_out(app, connector, action, connection, options["user"], inputs)
        self.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False))
        if not succeeded:
            raise SystemExit(1)

    def preview(
        self,
        app: App,
        connector: Connector,
        action: Action,
        connection: Connection | None,
        user_id: str,
        inputs: dict[str, str],
    ) -> tuple[dict[str, Any], bool]:
        """Send the reads, show the first write; nothing is stored, not even a subscriber."""
        found = Subscriber.objects.filter(app=app, user_id=user_id).first()
        subscriber = found or Subscriber(app=app, user_id=user_id)
        try:
            settings = connection.everything() if connection else {}
        except Unreadable as unreadable:
            raise wrong(str(unreadable)) from None
        known, given = traits_of(subscriber), given_of(subscriber, timezone.now())
        work = runner.Work(connector, action, settings, known, inputs, account=connection, given=given)
        shown = runner.preview(work)
        answer = {"outcome": str(shown.outcome), "message": shown.message, "dry_run": True, "requests": shown.exchanges}
        return answer, shown.outcome in WOULD_SUCCEED

    def carry_out(
        self,
        app: App,
        connector: Connector,
        action: Action,
        connection: Connection | None,
        user_id: str,
        inputs: dict[str, str],
    ) -> tuple[dict[str, Any], bool]:
        """Record an event and its execution, and work it off in this process."""
        try:
            event, execution = events.record_direct(
                app,
                connector.key,
                action.key,
                connection,
                user_id,
                inputs,
                source=EventSource.COMMAND,
                reported_by=f"run_action ({whoami()})",
            )
        except TraitError as error:
            raise wrong(f"--user: {' '.join(error.errors.values())}") from None
        if (claimed := claims.claim("run_action", execution.pk)) is not None:
            executions.carry_out(claimed)
        # A worker may have heard the bell first, or be busy with another action of this person.
        under_way = Execution.objects.filter(pk=execution.pk, state__in=[State.QUEUED, State.RUNNING])
        waiting.until(lambda: not under_way.exists(), settings.ENGAGE_LEASE)
        settled = Execution.objects.get(pk=execution.pk)
        attempts = settled.attempts.select_related("body").order_by("pk")
        answer = {
            "outcome": settled.state,
            "message": sentence(settled),
            "dry_run": False,
            "event": str(event.event_id),
            "execution": str(settled.pk),
            "instruction": settled.instruction,
            "requests": [
                exchange for attempt in attempts if hasattr(attempt, "body") for exchange in attempt.body.exchanges
            ],
        }
        return answer, settled.state in SUCCESS


def inputs_of(action: Action, given: list[str]) -> dict[str, str]:
    """Return the inputs as they were typed, once the action's form takes them.

    Raises:
        CommandError: one is not NAME=VALUE, is none of this action, is missing or does not fit.

    """
    names = list(action.Inputs().fields)
    inputs: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise wrong(f"--input {text!r} is not NAME=VALUE.")
        if name not in names:
            raise wrong(f"{action.label} has no input {name!r}. Known: {known(names)}.")
        if name in inputs:
            raise wrong(f"The input {name!r} is given twice.")
        inputs[name] = value
    try:
        runner.clean_inputs(action, inputs)
    except Failure as failure:
        raise wrong(failure.message) from None
    return inputs


def connection_of(app: App, connector: Connector, name: str) -> Connection | None:
    """Return the App's connection (where it may have several, the one of this name), or None where none is needed.

    Raises:
        CommandError: there is none yet, or none of this name.

    """
    if not connector.needs_connection:
        return None
    rows = Connection.objects.filter(app=app, connector=connector.key, archived_at=None)
    connection = rows.filter(name=name).first()
    if connection is None and connector.several:
        names = known(rows.values_list("name", flat=True))
        raise wrong(f"{app} has no {connector.label} called {name!r}; name one by --connection. Known: {names}.")
    if connection is None:
        raise wrong(f"{app} has no connection to {connector.label}. Set it up under Settings > Actions.")
    return connection


def whoami() -> str:
    """Return the operating system's name of who runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return "unknown"


def known(names: Any) -> str:
    """Return names for a person to choose from."""
    return ", ".join(sorted(names)) or "none"


def wrong(sentence: str) -> CommandError:
    """Return the error of wrong use."""
    return CommandError(sentence, returncode=WRONG_USE)
