"""Forward events to analytics vendors: plan, claim a batch, send, settle event by event, recover.

Each event has one execution for each connection that is active when it comes (`is_forward`); they stand outside order,
`wait` and the event's state. Nobody rings when an event comes: each tick of the sweep rings once for a connection, so what
came between two ticks goes in one batch. An open `Batch` is the claim, and there is one at a time for a connection; like an
action's attempt it has a lease, and no transaction is open while the vendor is called.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Concat, Now

from connectors import connections
from connectors.base import Connector, Json, Replay, Values
from connectors.batches import forward, payload_of
from connectors.failures import LostClaim
from connectors.forwarders import ForwardedEvent, Forwarder, size_of
from connectors.http import secret_values
from connectors.journal import Exchange, Step
from connectors.models import Connection, Health
from connectors.registry import connector_or_none, forwarder_keys
from connectors.runner import Outcome, Result
from engage import crash, places
from engage.logs import about
from engage.redaction import redact
from engage.vault.fields import Unreadable
from prompts import bell
from prompts.models import Batch, BatchBody, EventSource, Execution, PromptEvent, Reason, State
from prompts.retries import ASK_FIRST_AFTER, LET_GO, next_try

logger = logging.getLogger(__name__)

PAUSE = 30.0
"""Seconds without another batch after one of which the vendor took nothing, where it names no time itself."""
GIVEN_UP_AT_ONCE = 500  # of what was held for too long, in one tick: others write too
DUE = (State.QUEUED, State.WAITING)
LATE = (State.QUEUED, State.WAITING, State.GAVE_UP)
"""States out of which a late success still brings an event whose batch was given up for lost."""


# --- plan ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """An active connection that gets every event."""

    connection: Connection
    declared: Connector
    forwarder: Forwarder


def targets(active: Iterable[Connection]) -> list[Target]:
    """Return where an App's events go, oldest first, out of its active connections."""
    return [target for row in sorted(active, key=lambda row: row.created_at) if (target := _target(row))]


def _target(connection: Connection) -> Target | None:
    declared = connector_or_none(connection.connector)
    if declared is None or declared.forwarder is None:
        return None
    return Target(connection, declared, declared.forwarder())


def keep_visitor(event: PromptEvent, address: str, user_agent: str, found: Iterable[Target]) -> None:
    """Keep the visitor's address and browser with an event, where one of its targets sends them on."""
    if any(target.forwarder.wants_visitor(target.connection.settings) for target in found):
        event.address = address or None
        event.user_agent = user_agent[:300]


def planned(event: PromptEvent, found: Iterable[Target], ended: tuple[State, Reason, str] | None) -> list[Execution]:
    """Return the executions that forward an event; the caller stores them with the event.

    Args:
        ended: why nothing of the event leaves (delivery mode, a prompt that is not shown), if so: state, reason, sentence.

    """
    state, reason, message = ended or (State.QUEUED, "", "")
    return [
        Execution(
            app_id=event.app_id,
            event=event,
            subscriber_id=event.subscriber_id,
            connection=target.connection,
            connector=target.declared.key,
            action=target.forwarder.key,
            is_forward=True,
            state=state,
            reason=reason,
            message=message,
            due_at=None if ended else event.received_at,
            settled_at=event.received_at if ended else None,
            created_at=event.received_at,
        )
        for target in found
        if event.source == EventSource.API  # what staff tries is none of an analyst's figures
    ]


# --- claim ----------------------------------------------------------------------------------------------------------------------


def due(connection_id: UUID) -> QuerySet[Execution]:
    """The events that wait to be forwarded to a connection."""
    return Execution.objects.filter(connection=connection_id, is_forward=True, state__in=DUE, due_at__lte=Now())


def claim(worker: str, connection: Connection, most: int) -> tuple[Batch, list[Execution]] | None:
    """Claim up to `most` events of a connection, oldest first; None when none is due, or another worker is at it."""
    lease = Value(timedelta(seconds=settings.ENGAGE_LEASE))
    try:
        with transaction.atomic():
            batch = Batch.objects.create(
                connection=connection, worker=worker, started_at=Now(), lease_until=Now() + lease
            )
            oldest = due(connection.pk).order_by("due_at").values("pk")[:most]
            claimed = Execution.objects.filter(pk__in=oldest, state__in=DUE).update(
                state=State.RUNNING, batch=batch, fence=F("fence") + 1, worker=worker
            )
            if not claimed:
                batch.delete()
    except IntegrityError:
        return None  # one batch at a time: its worker goes on with what is due
    if not claimed:
        return None
    crash.point("batch.claimed")
    rows = Execution.objects.filter(batch=batch).select_related("event__prompt", "event__subscriber")
    return batch, list(rows.order_by("event__received_at", "event_id"))


def work(worker: str, connection_id: UUID) -> int:
    """Forward what is due, batch after batch while they are full. Returns how many batches were sent.

    The rest of a few is left to the next tick, so that it goes together with what comes until then. After `places.WORKS_FOR`
    seconds it ends, and rings for what is left.
    """
    ends, count = time.monotonic() + places.WORKS_FOR, 0
    while (more := _one_batch(worker, connection_id)) is not None:
        count += 1
        if not more:
            break
        if time.monotonic() >= ends:
            bell.ring_for_forwards(connection_id)
            break
    return count


def _one_batch(worker: str, connection_id: UUID) -> bool | None:
    """Send one batch. Returns whether it was full, or None when none was sent."""
    connection = Connection.objects.select_related("app").get(pk=connection_id)
    with about(connection=connection.pk):
        target = _target(connection)
        if _held_back(connection, target):
            _hold(connection.pk)
            return None
        if target is None or _paused(connection.pk):
            return None
        found = claim(worker, connection, target.forwarder.most_items)
        if found is None:
            return None
        batch, rows = found
        return send(target, batch, rows) or len(rows) == target.forwarder.most_items


@transaction.atomic
def _hold(connection_id: UUID) -> None:
    """Hold what is due, unless the connection lets it go by now. Who does so changes its row first, and finds what is held."""
    connection = connections.held_still(connection_id)
    if why := _held_back(connection, _target(connection)):
        due(connection_id).update(state=State.HELD, reason=why[0], message=why[1], due_at=Now())


def _held_back(connection: Connection, target: Target | None) -> tuple[Reason, str] | None:
    """Why nothing is forwarded now, if so: reason and sentence."""
    if target is None:
        return Reason.GONE, "This connector no longer forwards events."
    if not connection.active:
        return Reason.INACTIVE, f"The connection to {connection} is switched off."
    if connection.health == Health.ATTENTION:
        return Reason.CREDENTIALS, f"The connection to {connection} needs attention: {connection.attention}"
    return None


def _paused(connection_id: UUID) -> bool:
    return Batch.objects.filter(connection=connection_id, pause_until__gt=Now()).exists()


# --- send -----------------------------------------------------------------------------------------------------------------------


class BatchJournal:
    """The journal of one batch (see `connectors.journal.Journal`): a write needs the batch to be open still."""

    def __init__(self, batch: Batch) -> None:
        self.tag = f"batch-{batch.pk}"
        self.person = ""  # a batch is of many
        self.exchanges: list[Exchange] = []
        self._batch = batch
        self._ends = time.monotonic() + settings.ENGAGE_ATTEMPT_TIMEOUT

    @property
    def deadline(self) -> float:
        """Seconds that are left for the batch's requests."""
        return self._ends - time.monotonic()

    def step(self, name: str, method: str, url: str, query: Any, body: Any) -> Step:
        """A batch is built anew from its events in every try; what repeats is each event's id."""
        return Step(1, method, url, query, body)

    def idempotency_key(self, name: str, step: Step) -> str:
        """Return a key of this batch; events are recognised by their own."""
        return f"{self.tag}-{name}"

    def write_begins(self, exchange: Exchange) -> None:
        """Confirm the claim, and store "write begun".

        Raises:
            LostClaim: the batch was given up for lost, or its time is over.

        """
        in_time = Now() - Value(timedelta(seconds=settings.ENGAGE_ATTEMPT_TIMEOUT))
        mine = Batch.objects.filter(pk=self._batch.pk, finished_at=None, started_at__gt=in_time)
        if mine.update(write_begun_at=Now()) != 1:
            raise LostClaim

    def answered(self, exchange: Exchange) -> None:
        """Keep the exchange without its body: each event's part of that is kept with the event."""
        exchange.body = None
        self.exchanges.append(exchange)

    def refused(self, name: str) -> None:
        """There is no key that would have to change."""


def send(target: Target, batch: Batch, rows: Sequence[Execution]) -> bool:
    """Build, send and settle a batch. Returns whether events were left over, which did not fit."""
    try:
        values = target.connection.everything()
    except Unreadable:
        unread = Outcome(Result.HELD, "The connection's credentials cannot be read.", reason=Reason.CREDENTIALS)
        settle(batch, [(row, unread) for row in rows])
        return False
    sending, ended, left = _build(target, rows, values)
    if left:
        pks = [row.pk for row in left]
        Execution.objects.filter(pk__in=pks, batch=batch, state=State.RUNNING).update(state=State.QUEUED, batch=None)
    journal = BatchJournal(batch)
    if sending:
        payloads = [payload for _, payload in sending]
        Batch.objects.filter(pk=batch.pk, finished_at=None).update(events=len(sending))
        try:
            outcomes = forward(target.forwarder, target.declared, values, payloads, journal, target.connection)
        except LostClaim:
            logger.warning("The claim was lost before a write; nothing was sent")
            return False
        crash.point("batch.answered")
        ended += [(row, outcome) for (row, _), outcome in zip(sending, outcomes, strict=True)]
        _keep(batch, journal, sending, secret_values(target.declared, values))
    settle(batch, ended)
    return bool(left)


def _build(
    target: Target, rows: Sequence[Execution], values: Values
) -> tuple[list[tuple[Execution, Json]], list[tuple[Execution, Outcome]], list[Execution]]:
    """Return what is sent with its payloads, what has ended without (with why), and what does not fit any more."""
    sending: list[tuple[Execution, Json]] = []
    ended: list[tuple[Execution, Outcome]] = []
    left: list[Execution] = []
    size, together = 0, None
    wanted = target.forwarder.traits(values)
    for row in rows:
        payload = payload_of(target.forwarder, seen(row.event, target, wanted), values)
        if isinstance(payload, Outcome):
            ended.append((row, payload))
            continue
        alike = target.forwarder.together(payload)
        if sending and (size + size_of(payload) > target.forwarder.most_bytes or alike != together):
            left.append(row)
            continue
        size, together = size + size_of(payload), alike
        sending.append((row, payload))
    return sending, ended, left


def seen(event: PromptEvent, target: Target, wanted: Iterable[str] = ()) -> ForwardedEvent:
    """Return an event as a connector's forwarder sees it, with the traits and the context that it asks for."""
    known = event.subscriber.traits
    plain = ForwardedEvent(
        id=event.event_id,
        time=event.received_at,
        interaction=event.interaction,
        user_id=event.subscriber.user_id,
        app=target.connection.app.name,
        prompt_key=event.prompt.key if event.prompt else "",
        prompt_name=event.prompt.name if event.prompt else "",
        prompt_version=event.prompt_version,
        is_test=event.is_test,
        traits={name: known[name] for name in wanted if name in known},
        browser={name: value for name, value in event.context.items() if name in target.forwarder.browser},
    )
    if not target.forwarder.wants_visitor(target.connection.settings):
        return plain
    return replace(plain, address=event.address or "", user_agent=event.user_agent)


def _keep(
    batch: Batch, journal: BatchJournal, sending: Iterable[tuple[Execution, Json]], secrets: tuple[str, ...]
) -> None:
    exchanges = [exchange.as_json() for exchange in journal.exchanges]
    payloads = {str(row.pk): redact(payload, secrets) for row, payload in sending}
    BatchBody.objects.update_or_create(batch=batch, defaults={"exchanges": exchanges, "payloads": payloads})


# --- settle ---------------------------------------------------------------------------------------------------------------------


def settle(batch: Batch, outcomes: Sequence[tuple[Execution, Outcome]]) -> None:
    """Store what became of each event and close the batch, in one transaction.

    A worker whose batch was given up for lost changes nothing but what it knows to be done.
    """
    groups: dict[tuple[Outcome, int], list[UUID]] = defaultdict(list)
    for row, outcome in outcomes:
        groups[outcome, row.attempts_made + outcome.spent].append(row.pk)
    accepted = sum(outcome.result is Result.DONE for _, outcome in outcomes)
    problem = next((outcome.message for _, outcome in outcomes if outcome.result is not Result.DONE), "")
    held = next((outcome for _, outcome in outcomes if outcome.result is Result.HELD), None)
    if held is not None:
        # First, so that nothing is ever held for a connection that seems well: nobody would let it go.
        connections.mark_attention(batch.connection, held.message)
    with transaction.atomic():
        account = connections.held_still(batch.connection_id) if held is not None else None
        lets_go = account is not None and _held_back(account, _target(account)) is None
        for (outcome, made), pks in groups.items():
            mine = Q(state=State.RUNNING) | (Q(state__in=LATE) if outcome.result is Result.DONE else Q(pk=None))
            values = _values(outcome, made)
            if outcome.result is Result.HELD and lets_go:  # it is not as it was when the batch was sent
                values |= LET_GO
            Execution.objects.filter(mine, pk__in=pks, batch=batch).update(**values)
        Batch.objects.filter(pk=batch.pk).update(
            finished_at=Now(), accepted=accepted, problem=problem, pause_until=_pause([each for _, each in outcomes])
        )
    crash.point("batch.settled")
    if accepted and held is None:
        connections.note_success(batch.connection)
    logger.info("Forwarded %d of %d events", accepted, len(outcomes))


def _values(outcome: Outcome, made: int) -> dict[str, Any]:
    """Return the columns of an execution after an outcome; `made` tries were made, this one included."""
    values: dict[str, Any] = {
        "state": State(outcome.result),
        "reason": outcome.reason,
        "message": outcome.message,
        "attempts_made": made,
        "due_at": None,
        "settled_at": None,
    }
    match outcome.result:
        case Result.WAITING:
            values |= next_try(made, outcome)
        case Result.HELD:
            values |= {"due_at": Now(), "attempts_made": made - 1}
        case _:
            values["settled_at"] = Now()
    return values


def _pause(outcomes: Sequence[Outcome]) -> Any:
    """Until when nothing more is sent: where the vendor took none of a batch, the next ones wait a while."""
    unanswered = [outcome for outcome in outcomes if outcome.result in {Result.WAITING, Result.GAVE_UP}]
    if not unanswered or len(unanswered) < len(outcomes):
        return None
    wish = max((outcome.after or 0.0 for outcome in unanswered), default=0.0)
    return Now() + Value(timedelta(seconds=wish or PAUSE))


# --- recover --------------------------------------------------------------------------------------------------------------------


def sweep() -> list[UUID]:
    """Return expired leases, and give up what was held for too long.

    Returns the connections for which events are due, those that are paused left out.
    """
    for batch in Batch.objects.filter(finished_at=None, lease_until__lt=Now()).select_related("connection"):
        _give_up_for_lost(batch)
    _give_up_held()
    waiting = Execution.objects.filter(connection=OuterRef("pk"), is_forward=True, state__in=DUE, due_at__lte=Now())
    busy = Batch.objects.filter(Q(finished_at=None) | Q(pause_until__gt=Now()), connection=OuterRef("pk"))
    rows = Connection.objects.filter(Exists(waiting), ~Exists(busy), connector__in=forwarder_keys())
    return list(rows.values_list("pk", flat=True))


def _give_up_held() -> None:
    """End some of the events that were held for too long: nothing lets them go, and they would stay out of the purge for ever."""
    too_long = Execution.objects.filter(is_forward=True, state=State.HELD, due_at__lt=Now() - Value(ASK_FIRST_AFTER))
    accounts = Connection.objects.filter(connector__in=forwarder_keys())
    some = too_long.filter(connection__in=accounts).values("pk")[:GIVEN_UP_AT_ONCE]
    ended = too_long.filter(pk__in=some).update(
        state=State.GAVE_UP,
        message=Concat(F("message"), Value(" It was held for 72 hours, and is given up.")),
        due_at=None,
        settled_at=Now(),
    )
    if ended:
        logger.warning("%d events were held for too long and are given up", ended)


def _give_up_for_lost(batch: Batch) -> None:
    """A worker died in the middle: its events go again, unless they may have arrived and the vendor would count them twice."""
    target = _target(batch.connection)
    with transaction.atomic():
        # Closed first, looked at then: a write that begins in this instant is refused or seen.
        if not Batch.objects.filter(pk=batch.pk, finished_at=None).update(
            finished_at=Now(), problem="The worker stopped in the middle."
        ):
            return
        batch.refresh_from_db(fields=["write_begun_at"])
        lost = batch.write_begun_at is not None and (target is None or target.forwarder.replay is Replay.NEVER)
        mine = Execution.objects.filter(batch=batch, state=State.RUNNING)
        for made in set(mine.values_list("attempts_made", flat=True)):
            if lost:
                text = "The worker stopped after the request had left. The event may be lost."
                values = _values(Outcome(Result.GAVE_UP, text, reason=Reason.LOST_ANSWER), made + 1)
            else:
                text = "The worker stopped in the middle; it is sent again."
                values = _values(Outcome(Result.WAITING, text, reason=Reason.WORKER_DIED), made + 1)
                if values["state"] == State.WAITING:
                    values["due_at"] = Now()
            mine.filter(attempts_made=made).update(**values)
    logger.warning("A batch's lease expired; its worker stopped")


def all_due() -> QuerySet[Execution]:
    """The events that wait to be forwarded now, of connections that could take them."""
    ready = Connection.objects.filter(active=True).exclude(health=Health.ATTENTION)
    paused = Batch.objects.filter(connection=OuterRef("connection"), pause_until__gt=Now())
    rows = Execution.objects.filter(~Exists(paused), is_forward=True, state__in=DUE, due_at__lte=Now())
    return rows.filter(connection__in=ready)
