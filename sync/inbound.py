"""Vendors' webhooks: believe, store, acknowledge; then read them and write what they say of a subscriber.

The row is the queue (`InboundMessage`): it is stored before the vendor is answered, and claimed by a conditional UPDATE with a
lease and a fence. No transaction is open while a vendor is asked. What a message says is written together with its own end in
one transaction, and an older word never takes the place of a newer one (`LastWord`).

While a connection is switched off, what comes is believed, kept and acknowledged, and waits, set aside: it is not due until the
connection is switched on. To refuse it would make the vendor end its webhooks after some days, and what it says in between would
be lost; to read it would let calls leave, and let a leaked signing secret write, which is what people switch a connection off for.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Now
from django.dispatch import Signal
from django.utils import timezone

from connectors import connections
from connectors.base import Confirmed, Connector
from connectors.failures import NOT_THE_VENDORS, BadCredentials, Failure, Paused, Temporary, Undocumented
from connectors.http import Api, secret_values
from connectors.inbound import Forged, Inbound, Learned, Message, NoKey, Request, Unreadable
from connectors.journal import OnlyLooks
from connectors.models import Connection
from connectors.published import published_key
from connectors.registry import connector_or_none
from connectors.waits import until_the_next_try
from engage import bell, crash, places
from engage.logs import about
from engage.redaction import mask, redact
from engage.vault import fields as vault
from sync import traits
from sync.models import InboundMessage, LastWord, MessageState, RefusedDelivery, Subscriber

logger = logging.getLogger(__name__)

told = Signal()
"""A vendor's message spoke of a subscriber. Sent in the transaction that stores what it said, with `connection` and
`subscriber`."""

TASK = "sync.process_messages"
READING = 30.0  # seconds in which the vendor may be asked about one message
LEASE = timedelta(seconds=60)
REFUSALS_APART = timedelta(seconds=10)  # a flood of forged requests costs one write in this time
AT_ONCE = 1000  # messages that are set aside, or ended, in one statement
LONGEST_EVENT_ID, LONGEST_TYPE, LONGEST_SUBJECT = 200, 120, 200  # as the rows have them


# --- receive ----------------------------------------------------------------------------------------------------------------


def receive(connection: Connection, declared: Connector, inbound: Inbound, request: Request) -> str:
    """Store what a request of the vendor tells; a repeated event is there already. Returns the text to answer with.

    Raises:
        Forged: it does not show that it comes from the vendor; nothing was kept of it.
        NoKey: the key that the vendor publishes cannot be had now, so nothing was believed.
        Unreadable (of the vault): the connection's secrets cannot be opened, so nothing can be believed now.

    """
    values = connection.everything()
    secrets = secret_values(declared, values)
    try:
        if (answer := inbound.challenge(request, values)) is not None:
            return answer
        if (wanted := inbound.signed_by(request, values)) is not None:
            request = replace(request, key=published_key(connection.pk, declared, values, wanted))
        inbound.verify(request, values)
    except (Forged, NoKey) as refusal:
        _note_refusal(connection, mask(str(refusal), secrets))
        raise
    except Exception as error:
        logger.exception("The webhook of %s could not be verified", declared.key)
        _note_refusal(connection, f"It could not be verified ({type(error).__name__}).")
        raise Forged("It could not be verified.") from None
    rows = _rows(connection, inbound, request, values, secrets)
    with transaction.atomic():
        InboundMessage.objects.bulk_create(rows, batch_size=500, ignore_conflicts=True)
        bell.ring_on_commit(TASK)
    return inbound.reply(request)


def _note_refusal(connection: Connection, reason: str) -> None:
    """Remember for the connector's page that somebody was refused, and why: most often the secret is another one."""
    logger.warning("A webhook was refused: %s", reason)
    now, values = timezone.now(), {"reason": reason[:200]}
    _, first = RefusedDelivery.objects.get_or_create(connection=connection, defaults={"at": now, **values})
    if not first:
        stale = RefusedDelivery.objects.filter(connection=connection, at__lt=now - REFUSALS_APART)
        stale.update(at=now, **values)


def _rows(
    connection: Connection, inbound: Inbound, request: Request, values: dict[str, Any], secrets: Sequence[str]
) -> list[InboundMessage]:
    """Return a row for each event of a verified request; one that cannot be taken apart is kept whole."""
    try:
        messages, problem = list(inbound.messages(request, values)), ""
    except (Unreadable, Undocumented) as unfit:
        messages, problem = [], mask(str(unfit), secrets)
    except Exception as error:
        logger.exception("A webhook could not be taken apart")
        messages, problem = [], f"The connector could not take it apart ({type(error).__name__})."
    if messages:
        return [_row(connection, inbound, message, request, number) for number, message in enumerate(messages)]
    whole = {
        "method": request.method,
        "headers": redact(dict(request.headers), secrets),
        "query": redact([list(pair) for pair in request.query], secrets),
    }
    return [
        InboundMessage(
            app_id=connection.app_id,
            connection=connection,
            event_id=request.fingerprint,
            received_at=request.received_at,
            request=whole,
            body=request.body,
            state=MessageState.FAILED if problem else MessageState.IGNORED,
            reason=problem or "It tells of no event.",
            settled_at=request.received_at,
        )
    ]


def _row(connection: Connection, inbound: Inbound, message: Message, request: Request, number: int) -> InboundMessage:
    event_id = storable(message.id) or f"{request.fingerprint}/{number}"
    if len(event_id) > LONGEST_EVENT_ID:
        event_id = Request("", event_id.encode()).fingerprint
    is_read = message.type in inbound.types
    return InboundMessage(
        app_id=connection.app_id,
        connection=connection,
        event_id=event_id,
        type=storable(message.type)[:LONGEST_TYPE],
        happened_at=message.happened_at,
        received_at=request.received_at,
        payload=message.payload,
        state=MessageState.QUEUED if is_read else MessageState.IGNORED,
        reason="" if is_read else NOT_READ,
        due_at=request.received_at if is_read else None,
        settled_at=None if is_read else request.received_at,
    )


NOT_READ = "Events of this type are not used."


def storable(value: str) -> str:
    """Return a text that every database can keep: PostgreSQL takes no NUL in a text, nor in JSON."""
    return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


# --- claim ------------------------------------------------------------------------------------------------------------------


def due() -> QuerySet[InboundMessage]:
    """The messages that are due, and with nobody."""
    return InboundMessage.objects.filter(state=MessageState.QUEUED, due_at__lte=Now())


def claim() -> InboundMessage | None:
    """Claim the message that has been due longest, or return None. A claim makes it due again when its lease is over.

    What is due of connections that are switched off is set aside on the way.
    """
    while True:
        with transaction.atomic():
            rows = due().select_related("connection").select_for_update(skip_locked=True, of=("self",))
            found = rows.order_by("due_at", "pk").first()
            if found is None:
                return None
            if found.connection.active:
                mine = InboundMessage.objects.filter(pk=found.pk, fence=found.fence, state=MessageState.QUEUED)
                mine.update(fence=F("fence") + 1, tries=F("tries") + 1, due_at=Now() + Value(LEASE))
                break
        _set_aside(found.connection_id)
    crash.point("hook.claimed")
    return InboundMessage.objects.select_related("connection", "app").get(pk=found.pk)


@transaction.atomic
def _set_aside(connection_id: UUID) -> None:
    """Let some of what is due of a connection wait until it is switched on, unless it is by now."""
    if not connections.held_still(connection_id).active:
        some = due().filter(connection=connection_id).order_by("due_at").values("pk")[:AT_ONCE]
        due().filter(pk__in=some).update(due_at=None)


def bring_back(connection: Connection) -> None:
    """Let be read what came while a connection was switched off, in the order in which it came."""
    waiting = InboundMessage.objects.filter(connection=connection, state=MessageState.QUEUED, due_at=None)
    if waiting.update(due_at=F("received_at")):
        bell.ring_on_commit(TASK)


def work() -> int:
    """Read what is due. After `places.WORKS_FOR` seconds it ends, and rings for what is left. Returns how many were claimed."""
    ends, count = time.monotonic() + places.WORKS_FOR, 0
    while (message := claim()) is not None:
        count += 1
        process(message)
        if time.monotonic() >= ends:
            sweep()
            break
    return count


def sweep() -> None:
    """Ring where something is due: nobody heard of it, it is tried again, or a worker left it. And end what waited for too long."""
    _end_old()
    if due().exists():
        bell.ring(TASK)


def _end_old() -> None:
    """End some of what waited so long for its connection to be switched on that others of its age are deleted."""
    kept = settings.ENGAGE_KEEP_EVENTS_DAYS
    before = Now() - Value(timedelta(days=kept))
    old = InboundMessage.objects.filter(state=MessageState.QUEUED, due_at=None, received_at__lt=before)
    reason = f"Its connection was switched off for {kept} days. It was not read."
    some = old.values("pk")[:AT_ONCE]
    old.filter(pk__in=some).update(state=MessageState.IGNORED, reason=reason, settled_at=Now())


# --- read -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class End:
    """How a message stands after it was read, or could not be. QUEUED: it is tried again."""

    state: MessageState
    reason: str = ""
    after: float | None = None  # seconds that the vendor wishes us to wait
    counts: bool = True  # as a try: not where only the vendor's limit stood in the way
    subscriber: Subscriber | None = None


def process(message: InboundMessage) -> None:
    """Read a claimed message and write what it says. Raises for nothing that a vendor can cause."""
    with about(connection=message.connection_id, webhook=message.pk):
        began = timezone.now()
        try:
            found = _read(message)
        except vault.Unreadable:
            found = End(MessageState.QUEUED, "The connection's secrets cannot be opened.")
        if isinstance(found, End):
            end = found
            with transaction.atomic():
                _settle(message, end)
        else:
            end = _write(message, found, began)
        logger.info("A message is %s", end.state)


def _read(message: InboundMessage) -> list[Learned] | End:
    """Return what a message says, or how it ends without."""
    declared = connector_or_none(message.connection.connector)
    if declared is None or declared.inbound is None:
        return End(MessageState.FAILED, "This version of Engage reads no webhooks of this vendor.")
    values = message.connection.everything()
    secrets = secret_values(declared, values)
    if message.body is not None:
        return _take_apart_again(message, declared.inbound, values, secrets)
    if message.type not in declared.inbound.types:
        return End(MessageState.IGNORED, NOT_READ)
    told_of = Message(message.event_id, message.type, message.payload, message.happened_at)
    with Api(declared, values, OnlyLooks(READING), message.connection) as api:
        try:
            return list(declared.inbound.read(told_of, api))
        except Unreadable as unfit:
            return End(MessageState.FAILED, mask(str(unfit), secrets))
        except Failure as failure:
            # What is not as documented in the message itself stays so; the vendor's answers may be better next time.
            lasting = isinstance(failure, Undocumented) and not api.answers
            again = isinstance(failure, (Temporary, BadCredentials, Undocumented)) and not lasting
            state = MessageState.QUEUED if again else MessageState.FAILED
            after = failure.after if isinstance(failure, Temporary) else None
            return End(state, mask(failure.message, secrets), after, counts=not isinstance(failure, Paused))
        except NOT_THE_VENDORS:
            raise
        except Exception as error:
            logger.exception("A message of %s could not be read", declared.key)
            return End(MessageState.FAILED, f"The connector could not read it ({type(error).__name__}).")


def _take_apart_again(message: InboundMessage, inbound: Inbound, values: dict[str, Any], secrets: Sequence[str]) -> End:
    """Take a request apart that could not be before: what it tells of are messages of their own from now on."""
    kept: dict[str, Any] = message.request or {}
    request = Request(
        kept.get("method", "POST"),
        bytes(message.body or b""),
        kept.get("headers", {}),
        tuple((name, value) for name, value in kept.get("query", [])),
        message.received_at,
    )
    rows = _rows(message.connection, inbound, request, values, secrets)
    if rows[0].body is not None:
        return End(MessageState(rows[0].state), rows[0].reason)
    with transaction.atomic():
        InboundMessage.objects.bulk_create(rows, batch_size=500, ignore_conflicts=True)
        bell.ring_on_commit(TASK)
    return End(MessageState.DONE, f"It was taken apart into {len(rows)} message{'s' * (len(rows) > 1)}.")


# --- write ------------------------------------------------------------------------------------------------------------------


class _NotThem(Exception):
    """An id that so many have that it is none."""


def _write(message: InboundMessage, learned: Iterable[Learned], began: datetime) -> End:
    """Write what a message says and settle it, in one transaction: all of it or, with the reason, nothing."""
    try:
        with transaction.atomic():
            end = _apply(message, learned, began)
            if not _settle(message, end):
                transaction.set_rollback(True)  # another worker has it since
            crash.point("hook.told")
    except traits.TraitError as error:
        end = End(MessageState.FAILED, f"What it says cannot be kept. {error}")
    except _NotThem as error:
        end = End(MessageState.FAILED, str(error))
    else:
        return end
    with transaction.atomic():
        _settle(message, end)
    return end


def _apply(message: InboundMessage, learned: Iterable[Learned], began: datetime) -> End:
    connection, wrote, known = message.connection, list[Subscriber](), 0
    words = sorted(learned, key=lambda word: word.subject)  # one order of locks for all workers
    for word in words:
        people = _people(message, word)
        known += len(people)
        people = [person for person in people if _is_newest(connection, word, person, word.as_of or began)]
        for person in people:
            traits.set_traits(message.app, person.user_id, word.traits, origin=f"Webhook from {connection}")
            told.send(sender=InboundMessage, connection=connection, subscriber=person)
        wrote += people
    if wrote:
        others = f" The same was written of {len(wrote) - 1} more with this id." if len(wrote) > 1 else ""
        names = ", ".join(sorted({name for word in words for name in word.traits}))
        return End(MessageState.DONE, f"It told of {names}.{others}", subscriber=wrote[0])
    if known:
        return End(MessageState.OVERTAKEN, "A newer message had told of it already.")
    if words:
        return End(MessageState.UNMATCHED, f"No subscriber has {_ids(words)}.")
    return End(MessageState.IGNORED, "It says nothing of a subscriber.")


def confirmed(
    connection: Connection,
    person: Subscriber,
    word: Confirmed,
    as_of: datetime,
    asked_by: Mapping[str, Any] | None = None,
) -> None:
    """Write what the vendor showed of a person when it confirmed an action, unless a newer message has told of it.

    Args:
        connection: of the vendor.
        person: of whom it is said.
        word: what it said.
        as_of: when it was asked.
        asked_by: the traits by which it was asked. Whoever has others meanwhile has another purchase, say: nothing is written.

    """
    try:
        with transaction.atomic():
            if not _is_newest(connection, Learned(word.traits, subject=word.subject), person, as_of):
                return
            if asked_by is not None and not _still_have(person, asked_by):
                transaction.set_rollback(True)
                return
            traits.set_traits(connection.app, person.user_id, word.traits, origin=f"Action of {connection}")
    except traits.TraitError as error:
        logger.warning("What %s confirmed cannot be kept as traits: %s", connection, str(error))


def _still_have(person: Subscriber, known: Mapping[str, Any]) -> bool:
    """Whether somebody is there, and has these traits; the row is locked until the transaction ends."""
    row = Subscriber.objects.select_for_update().filter(pk=person.pk).first()
    return row is not None and all(row.traits.get(name) == value for name, value in known.items())


def _people(message: InboundMessage, word: Learned) -> list[Subscriber]:
    """Return the subscribers that a message speaks of: those who have the first of its ids that anybody has.

    Raises:
        _NotThem: more have it than can be meant.

    """
    for name, value in word.found_by:
        # In no order: to find the first ones PostgreSQL would go through every App's rows.
        found = list(traits.having(message.app, name, value)[: traits.MOST_SUBSCRIBERS + 1])
        if len(found) > traits.MOST_SUBSCRIBERS:
            raise _NotThem(f"More than {traits.MOST_SUBSCRIBERS} subscribers have this {name}, so it is nobody's id.")
        if found:
            return sorted(found, key=lambda person: person.pk)
    if not word.user_id or traits.wrong_user_id(word.user_id):
        return []
    if word.adds:
        return [traits.subscriber(message.app, word.user_id)]
    return list(Subscriber.objects.filter(app=message.app, user_id=word.user_id))


def _ids(words: Iterable[Learned]) -> str:
    named = [name for word in words for name, _ in word.found_by]
    return " or ".join(dict.fromkeys([*named, *("user id" for word in words if word.user_id)])) + " of this message"


def _is_newest(connection: Connection, word: Learned, person: Subscriber, as_of: datetime) -> bool:
    """Take note of a word about somebody, unless a newer one came before it; the row is locked until the transaction ends."""
    if not word.subject:
        return True
    row = {"connection": connection, "subscriber": person, "subject": storable(word.subject)[:LONGEST_SUBJECT]}
    LastWord.objects.bulk_create([LastWord(**row, as_of=as_of)], ignore_conflicts=True)
    return bool(LastWord.objects.filter(**row, as_of__lte=as_of).update(as_of=as_of))


def _settle(message: InboundMessage, end: End) -> bool:
    """Store how a message stands. False: this worker's claim is over, and nothing was stored."""
    values: dict[str, Any] = {"state": end.state, "reason": end.reason, "subscriber": end.subscriber}
    if end.state == MessageState.QUEUED:
        wait = until_the_next_try(message.tries, end.after) if end.counts else end.after or 0.0
        if wait is None:
            text = f"{end.reason} Gave up after {message.tries} tries."
            values |= {"state": MessageState.FAILED, "reason": text, "due_at": None, "settled_at": Now()}
        else:
            values["due_at"] = Now() + Value(timedelta(seconds=wait))
            values["tries"] = message.tries - (not end.counts)
    else:
        values |= {"due_at": None, "settled_at": Now()}
    mine = InboundMessage.objects.filter(pk=message.pk, fence=message.fence, state=MessageState.QUEUED)
    return bool(mine.update(**values))


# --- again ------------------------------------------------------------------------------------------------------------------


def again(messages: QuerySet[InboundMessage]) -> int:
    """Queue settled messages again, as a person asked. Returns how many there were."""
    settled = messages.exclude(state=MessageState.QUEUED)
    queued = settled.update(state=MessageState.QUEUED, reason="", due_at=Now(), tries=0, settled_at=None)
    bell.ring_on_commit(TASK)
    return queued
