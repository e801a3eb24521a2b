"""Traits pushed to vendors: whose, when, and how far a push came.

A push goes through the App's subscribers in the order of their rows, a batch of the vendor's size at a time. The row of the push
(`PushRun`) is the queue: a worker claims it with a lease and a fence, its cursor is stored after each batch, and whoever follows
a worker that died goes on from there. Setting traits again changes nothing, so a batch whose answer was lost goes again. No
transaction is open while the vendor is called, and nobody sleeps: what is tried again waits in its row.
"""

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Now
from django.utils import timezone

from connectors import connections
from connectors.base import Connector, Json
from connectors.batches import forward, payload_of
from connectors.catalogues import zone_of
from connectors.failures import LostClaim
from connectors.forwarders import size_of
from connectors.http import secret_values
from connectors.journal import Exchange, Step
from connectors.models import Connection, Health
from connectors.pushes import Person, TraitPush, is_on
from connectors.registry import connector_or_none
from connectors.runner import Outcome, Result
from engage import bell, crash
from engage.logs import about
from engage.redaction import mask
from engage.schedules import slots
from engage.tenancy.models import DeliveryMode
from engage.vault.fields import Unreadable
from sync.models import PushRun, PushState, Subscriber
from sync.pulls import OVERLAP, settings_now

logger = logging.getLogger(__name__)

TASK = "sync.push_traits"
NIGHTLY_HOUR = "4"  # in the App's time zone: after vendors were read
SLOT_LEASE = timedelta(minutes=10)
LEASE = timedelta(seconds=60)  # of a batch, whose requests take half of that at most
THROUGH = frozenset({Result.DONE, Result.REJECTED, Result.SKIPPED, Result.GAVE_UP})
"""What ends with a batch; anything else is tried again."""


def push_of(connection: Connection) -> tuple[Connector, TraitPush] | None:
    """Return how a connection's vendor takes traits; None where it takes none."""
    declared = connector_or_none(connection.connector)
    return (declared, declared.push()) if declared and declared.push else None


# --- when -------------------------------------------------------------------------------------------------------------------


def tick(now: datetime) -> None:
    """Note the pushes whose night has come (04:00 in their App's time zone), and ring for what waits.

    A night is a slot that one caller takes and completes once, so this may be called by several, and again.
    """
    for connection in Connection.objects.filter(active=True).select_related("app"):
        found = push_of(connection)
        if found is None:
            continue
        night = slots.Cron.parse("0", NIGHTLY_HOUR, "*", "*", "*", zone_of(connection.app.time_zone))
        start, job = slots.due(night, now=now, since=connection.created_at), f"push:{connection.pk}"
        if start is None or not slots.claim(job, start, now=now, lease=SLOT_LEASE):
            continue
        if is_on(found[1], connection.settings) and not unwanted(connection):
            ask(connection, "Schedule")
        slots.complete(job, start, now=timezone.now())
    if due().exists():
        bell.ring(TASK)


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
    open_ones, pushed_as = PushRun.objects.filter(connection=connection, state=PushState.OPEN), _pushed_as(connection)
    since = None if everything else _since(connection, pushed_as)
    if (under_way := open_ones.first()) is not None:
        return under_way
    try:
        with transaction.atomic():
            return PushRun.objects.create(
                connection=connection, started_by=by[:254], pushed_as=pushed_as, changed_since=since
            )
    except IntegrityError:  # somebody else asked in the same instant
        return open_ones.get()


def _pushed_as(connection: Connection) -> str:
    return f"{settings_now(connection)}/{connection.app.delivery_mode}"


def _since(connection: Connection, pushed_as: str) -> datetime | None:
    """Return since when somebody must have changed; None where nothing was pushed to this account in this way."""
    complete = PushRun.objects.filter(connection=connection, state=PushState.DONE, pushed_as=pushed_as)
    last = complete.order_by("-pk").first()
    return last.asked_at - OVERLAP if last else None


# --- claim ------------------------------------------------------------------------------------------------------------------


def due() -> QuerySet[PushRun]:
    """The pushes that a worker may go on with now."""
    rows = PushRun.objects.filter(state=PushState.OPEN, due_at__lte=Now(), connection__active=True)
    return rows.exclude(connection__health=Health.ATTENTION)


def claim() -> PushRun | None:
    """Claim the push that has been due longest, or return None. A claim makes it due again when its lease is over."""
    with transaction.atomic():
        found = due().select_for_update(skip_locked=True, of=("self",)).order_by("due_at", "pk").first()
        if found is None:
            return None
        PushRun.objects.filter(pk=found.pk).update(fence=F("fence") + 1, due_at=Now() + Value(LEASE))
    crash.point("push.claimed")
    return PushRun.objects.get(pk=found.pk)


def work() -> int:
    """Carry out what is due until nothing is left. Returns how many pushes were claimed."""
    count = 0
    while (run := claim()) is not None:
        count += 1
        with about(connection=run.connection_id):
            try:
                while _one_batch(run):
                    pass
            except LostClaim:
                logger.warning("Another worker has this push since")
    return count


# --- carry out --------------------------------------------------------------------------------------------------------------


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
        _store(self._run, due_at=Now() + Value(LEASE))

    def answered(self, exchange: Exchange) -> None:
        """Keep nothing: there may be thousands, and they hold people's traits."""

    def refused(self, name: str) -> None:
        """There is no key that would have to change."""


def _store(run: PushRun, **values: Any) -> None:
    """Store how a push stands.

    Raises:
        LostClaim: another worker has it.

    """
    mine = PushRun.objects.filter(pk=run.pk, fence=run.fence, state=PushState.OPEN)
    if not mine.update(**values):
        raise LostClaim


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
        return _end(run, PushState.FAILED, text)
    if not connection.active:
        _store(run, due_at=Now())  # it goes on when the connection does
        return False
    declared, push = found
    try:
        values = connection.everything()
    except Unreadable:
        return _end(run, PushState.FAILED, "The stored secrets cannot be opened. Enter them again.")
    batch = _next(run, connection, push, values)
    if batch is None:
        return _end(run, PushState.DONE, "")
    payloads = batch.payloads
    sent = iter(forward(push, declared, values, payloads, PushJournal(run), connection) if payloads else ())
    crash.point("push.answered")
    outcomes = [(pk, found if isinstance(found, Outcome) else next(sent)) for pk, found in batch.people]
    return _settle(run, connection, batch, outcomes, secret_values(declared, values))


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


def _settle(
    run: PushRun,
    connection: Connection,
    batch: _Batch,
    outcomes: list[tuple[int, Outcome]],
    secrets: tuple[str, ...],
) -> bool:
    """Store how far a batch came: up to the first person of whom it is not known. Returns whether to go on at once."""
    cursor, stopped = batch.seen, None
    for pk, outcome in outcomes:
        if outcome.result not in THROUGH:
            cursor, stopped = pk - 1, outcome
            break
        if outcome.result is Result.DONE:
            run.taken += 1
        else:
            run.refused += 1
            run.refusal = run.refusal or mask(outcome.message, secrets)
    tries = 0 if cursor > run.cursor else run.tries
    run.cursor = cursor
    progress: Json = {"cursor": cursor, "taken": run.taken, "refused": run.refused, "refusal": run.refusal}
    if outcomes and stopped is not outcomes[0][1]:
        connections.note_success(connection)
    if stopped is None:
        _store(run, **progress, message="", tries=0, due_at=Now() + Value(LEASE))
        crash.point("push.stored")
        return True
    sentence = mask(stopped.message, secrets)
    if stopped.result is Result.HELD:
        _store(run, **progress, message=sentence, tries=0, due_at=Now())
        connections.mark_attention(connection.pk, sentence)
        return False
    tries, delays = tries + stopped.spent, settings.ENGAGE_RETRY_DELAYS
    if tries > len(delays):
        _store(run, **progress)
        return _end(run, PushState.FAILED, f"{sentence} Gave up after {tries} tries.")
    wait = stopped.after if stopped.after is not None else delays[max(tries, 1) - 1]
    _store(run, **progress, message=sentence, tries=tries, due_at=Now() + Value(timedelta(seconds=wait)))
    return False


def _end(run: PushRun, state: PushState, message: str) -> bool:
    _store(run, state=state, message=message, finished_at=Now())
    logger.info("A push of traits is %s", state)
    return False
