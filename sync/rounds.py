"""Rounds: a connection's ways through the subscribers of its App, such as a push of traits.

A round goes through them in the order of their rows, a batch at a time. Its row (`sync.models.Round`) is the queue: a worker
claims it with a lease and a fence, its cursor is stored after each batch, and whoever follows a worker that died goes on from
there, so a batch may be carried out again. No transaction is open while the vendor is called, and nobody sleeps: what is tried
again waits in its row.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Now

from connectors import connections
from connectors.base import Json
from connectors.failures import LostClaim
from connectors.models import Connection
from connectors.runner import Outcome, Result
from connectors.waits import until_the_next_try
from engage import bell, crash
from engage.logs import about
from engage.redaction import mask
from engage.schedules import slots
from engage.vault.fields import Unreadable
from sync.models import Round, RoundState

logger = logging.getLogger(__name__)

Kind = TypeVar("Kind", bound=Round)

LEASE = timedelta(seconds=60)  # of a batch, whose requests take less
THROUGH = frozenset({Result.DONE, Result.REJECTED, Result.SKIPPED, Result.GAVE_UP})
"""What ends with a batch; anything else is tried again."""


# --- when -------------------------------------------------------------------------------------------------------------------


def tonight(job: str, hour: int, now: datetime, concerns: Callable[[Connection], object]) -> Iterator[Connection]:
    """Return the active connections whose night has come; it is completed when the next one is asked for.

    Args:
        job: the name under which nights are claimed.
        hour: in the time zone of the connection's App.
        now: the moment to look at.
        concerns: whether a connection has such nights.

    """
    for connection in Connection.objects.filter(active=True).select_related("app"):
        if not concerns(connection):
            continue
        night = slots.nightly(hour, connection.app.zone)
        if turn := slots.tonight(f"{job}:{connection.pk}", night, now=now, since=connection.created_at):
            yield connection
            turn.complete()


def begin(kind: type[Kind], connection: Connection, by: str, **values: Any) -> Kind:
    """Return the round that a worker is to carry out: the one under way, else a new one.

    Args:
        kind: of which there is one at a time.
        connection: whose.
        by: who asks, for people.
        values: of a new one.

    """
    under_way = _rows(kind).filter(connection=connection, state=RoundState.OPEN)
    if (found := under_way.first()) is not None:
        return found
    try:
        with transaction.atomic():
            return _rows(kind).create(connection=connection, started_by=by[:254], **values)
    except IntegrityError:  # somebody else asked in the same instant
        return under_way.get()


def ring(kind: type[Round], task: str) -> None:
    """Ring for what waits and nobody rang for."""
    if due(kind):
        bell.ring(task)


# --- claim ------------------------------------------------------------------------------------------------------------------


def due(kind: type[Kind]) -> list[Kind]:
    """The rounds that a worker may go on with now, the one that has been due longest first."""
    rows = _rows(kind).filter(state=RoundState.OPEN, due_at__lte=Now(), connection__active=True)
    found = rows.select_related("connection").order_by("due_at", "pk")
    return [run for run in found if not run.connection.needs_attention(run.part)]


def claim(kind: type[Kind]) -> Kind | None:
    """Claim the round that has been due longest, or return None. A claim makes it due again when its lease is over."""
    for found in due(kind):
        mine = _rows(kind).filter(pk=found.pk, fence=found.fence, state=RoundState.OPEN)
        if mine.update(fence=F("fence") + 1, due_at=Now() + Value(LEASE)):
            crash.point("round.claimed")
            return _rows(kind).get(pk=found.pk)
    return None


def work(kind: type[Kind], batch: Callable[[Kind], bool]) -> int:
    """Carry out what is due until nothing is left; `batch` returns whether to go on. Returns how many rounds were claimed."""
    count = 0
    while (run := claim(kind)) is not None:
        count += 1
        with about(connection=run.connection_id):
            try:
                while batch(run):
                    pass
            except LostClaim:
                logger.warning("Another worker has this round since")
    return count


def opened(run: Round, connection: Connection) -> Json | None:
    """Return the settings and secrets with which the vendor is asked now; None where the round waits or is over.

    Raises:
        LostClaim: another worker has it.

    """
    if not connection.active:
        store(run, due_at=Now())  # it goes on when the connection does
        return None
    try:
        return connection.everything()
    except Unreadable:
        end(run, RoundState.FAILED, "The stored secrets cannot be opened. Enter them again.")
        return None


# --- store ------------------------------------------------------------------------------------------------------------------


def store(run: Round, **values: Any) -> None:
    """Store how a round stands.

    Raises:
        LostClaim: another worker has it.

    """
    mine = _rows(type(run)).filter(pk=run.pk, fence=run.fence, state=RoundState.OPEN)
    if not mine.update(**values):
        raise LostClaim


def settle(
    run: Round, connection: Connection, seen: int, outcomes: Sequence[tuple[int, Outcome]], secrets: tuple[str, ...]
) -> bool:
    """Store how far a batch came: up to the first person of whom it is not known. Returns whether to go on at once.

    Args:
        run: the round.
        connection: whose.
        seen: the last row that was looked at.
        outcomes: of people, by their rows and in the order of these.
        secrets: what no sentence may hold.

    Raises:
        LostClaim: another worker has it.

    """
    crash.point("round.answered")
    cursor, stopped = seen, None
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
        store(run, **progress, message="", tries=0, due_at=Now() + Value(LEASE))
        crash.point("round.stored")
        return True
    sentence = mask(stopped.message, secrets)
    if stopped.result is Result.HELD:
        store(run, **progress, message=sentence, tries=0, due_at=Now())
        connections.mark_attention(connection, sentence, stopped.failed_parts)
        return False
    tries += stopped.spent
    wait = until_the_next_try(tries, stopped.after) if stopped.spent else stopped.after or 0.0
    if wait is None:
        store(run, **progress)
        return end(run, RoundState.FAILED, f"{sentence} Gave up after {tries} tries.")
    store(run, **progress, message=sentence, tries=tries, due_at=Now() + Value(timedelta(seconds=wait)))
    return False


def end(run: Round, state: RoundState, message: str = "") -> bool:
    """Store that a round is over, and why. Returns False: there is nothing to go on with.

    Raises:
        LostClaim: another worker has it.

    """
    store(run, state=state, message=message, finished_at=Now())
    logger.info("A round is %s", state)
    return False


def _rows(kind: type[Kind]) -> QuerySet[Kind]:
    return kind._default_manager.all()  # noqa: SLF001 - Django's public name for it
