"""Traits pushed to vendors: whose, when, and how far a push came.

A push is a round (`sync.rounds`) in batches of the vendor's size. Setting traits again changes nothing, so a batch whose answer
was lost goes again.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Q, Value
from django.db.models.functions import Now
from django.utils import timezone

from connectors.base import Connector, Json
from connectors.batches import forward, payload_of
from connectors.forwarders import size_of
from connectors.http import secret_values
from connectors.journal import Exchange, Step
from connectors.models import Connection
from connectors.pushes import Person, TraitPush, is_on
from connectors.registry import connector_or_none
from connectors.runner import Outcome
from engage.tenancy.models import DeliveryMode
from sync import rounds
from sync.models import PushRun, RoundState, Subscriber
from sync.pulls import OVERLAP, settings_now

TASK = "sync.push_traits"
NIGHTLY_HOUR = 4  # in the App's time zone: after vendors were read


def push_of(connection: Connection) -> tuple[Connector, TraitPush] | None:
    """Return how a connection's vendor takes traits; None where it takes none."""
    declared = connector_or_none(connection.connector)
    return (declared, declared.push()) if declared and declared.push else None


def tick(now: datetime) -> None:
    """Note the pushes whose night has come, and ring for what waits."""
    for connection in rounds.tonight("push", NIGHTLY_HOUR, now, push_of):
        found = push_of(connection)
        if found and is_on(found[1], connection.settings) and not unwanted(connection):
            ask(connection, "Schedule")
    rounds.ring(PushRun, TASK)


def unwanted(connection: Connection) -> str:
    """Return why traits are not pushed now, as a sentence; empty where they can be."""
    found = push_of(connection)
    if found is None or not found[1].traits(connection.settings):
        return "No traits are named in the settings."
    if connection.app.delivery_mode == DeliveryMode.NOBODY:
        return "The App's delivery mode is “Nobody”, so nothing leaves."
    return "" if connection.active else f"{connection} is switched off."


def ask(connection: Connection, by: str, *, everything: bool = False) -> PushRun:
    """Return the push that a worker is to carry out: the one under way, else a new one.

    Args:
        connection: where to.
        by: who asks, for people.
        everything: also of whom nothing has changed.

    """
    pushed_as = _pushed_as(connection)
    since = None if everything else _since(connection, pushed_as)
    return rounds.begin(PushRun, connection, by, pushed_as=pushed_as, changed_since=since)


def _pushed_as(connection: Connection) -> str:
    return f"{settings_now(connection)}/{connection.app.delivery_mode}"


def _since(connection: Connection, pushed_as: str) -> datetime | None:
    """Return since when somebody must have changed; None where nothing was pushed to this account in this way."""
    complete = PushRun.objects.filter(connection=connection, state=RoundState.DONE, pushed_as=pushed_as)
    last = complete.order_by("-pk").first()
    return last.asked_at - OVERLAP if last else None


# --- carry out --------------------------------------------------------------------------------------------------------------


def work() -> int:
    """Carry out what is due until nothing is left. Returns how many pushes were claimed."""
    return rounds.work(PushRun, _one_batch)


class PushJournal:
    """The journal of one batch (see `connectors.journal.Journal`): a write needs the claim, and lengthens it."""

    def __init__(self, run: PushRun) -> None:
        self.tag = f"push-{run.pk}"
        self.person = ""  # a batch is of many
        self._run = run
        self._ends = time.monotonic() + settings.ENGAGE_ATTEMPT_TIMEOUT

    @property
    def deadline(self) -> float:
        """Seconds that are left for the batch's requests."""
        return self._ends - time.monotonic()

    def step(self, name: str, method: str, url: str, query: Any, body: Any) -> Step:
        """A batch is made anew from the subscribers as they are."""
        return Step(1, method, url, query, body)

    def idempotency_key(self, name: str, step: Step) -> str:
        """Return a key of this batch."""
        return f"{self.tag}-{self._run.cursor}-{name}"

    def write_begins(self, exchange: Exchange) -> None:
        """Confirm the claim.

        Raises:
            LostClaim: another worker has it.

        """
        rounds.store(self._run, due_at=Now() + Value(rounds.LEASE))

    def answered(self, exchange: Exchange) -> None:
        """Keep nothing: there may be thousands, and they hold people's traits."""

    def refused(self, name: str) -> None:
        """There is no key that would have to change."""


@dataclass
class _Batch:
    """The next people, in the order of their rows: what goes to the vendor for each, or why nothing does."""

    people: list[tuple[int, Json | Outcome]]
    seen: int  # the last row that was looked at

    @property
    def payloads(self) -> list[Json]:
        return [found for _, found in self.people if not isinstance(found, Outcome)]


def _one_batch(run: PushRun) -> bool:
    """Push the traits of the next people and store how far that came. Returns whether to go on at once."""
    connection = Connection.objects.select_related("app").get(pk=run.connection_id)
    found = push_of(connection)
    if found is None or run.pushed_as != _pushed_as(connection):
        text = f"The settings of {connection} or the App's delivery mode were changed. The next push takes everybody."
        return rounds.end(run, RoundState.FAILED, text)
    if (values := rounds.opened(run, connection)) is None:
        return False
    declared, push = found
    batch = _next(run, connection, push, values)
    if batch is None:
        return rounds.end(run, RoundState.DONE)
    payloads = batch.payloads
    sent = iter(forward(push, declared, values, payloads, PushJournal(run), connection) if payloads else ())
    outcomes = [(pk, found if isinstance(found, Outcome) else next(sent)) for pk, found in batch.people]
    return rounds.settle(run, connection, batch.seen, outcomes, secret_values(declared, values))


def _next(run: PushRun, connection: Connection, push: TraitPush, values: Json) -> _Batch | None:
    """Return the next people; None behind the last."""
    rows = Subscriber.objects.filter(app=connection.app_id, pk__gt=run.cursor)
    if connection.app.delivery_mode == DeliveryMode.TEST:
        rows = rows.filter(Q(test_until=None) | Q(test_until__gt=timezone.now()), is_test=True)
    if run.changed_since:
        rows = rows.filter(updated_at__gte=run.changed_since)
    wanted, size, batch = push.traits(values), 0, _Batch([], run.cursor)
    for pk, user_id, known in rows.order_by("pk").values_list("pk", "user_id", "traits")[: push.most_items]:
        told = {name: known[name] for name in wanted if name in known}
        if told:
            payload = payload_of(push, Person(user_id, told), values)
            size += 0 if isinstance(payload, Outcome) else size_of(payload)
            if size > push.most_bytes:
                break
            batch.people.append((pk, payload))
        batch.seen = pk
    return batch if batch.seen > run.cursor else None
