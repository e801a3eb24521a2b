"""Send a batch of events, or of people's traits, to a vendor, and turn whatever comes of it into an Outcome for each.

What `connectors.runner` is for actions. Nothing is uncertain here: where an answer was lost, the batch goes again if the
vendor recognises its events, and else they are given up, since no person can tell one impression from another.
"""

import logging
from collections.abc import Sequence
from typing import Any

from connectors.base import Connector, Json, Replay, Values
from connectors.failures import (
    NOT_THE_VENDORS,
    AlreadyDone,
    BadCredentials,
    Failure,
    LostClaim,
    Missing,
    Paused,
    Rejected,
    Temporary,
    Undocumented,
)
from connectors.forwarders import Batched, Item, size_of
from connectors.http import Api
from connectors.journal import Journal
from connectors.models import Connection
from connectors.runner import CREDENTIALS, LOST_ANSWER, MISSING, PAUSED, Outcome, Result
from engage.redaction import redact

logger = logging.getLogger(__name__)

UNFIT = frozenset({200, 400, 413, 422})
"""Statuses by which a vendor refuses what is in a batch (200: inside its answer); one event in it may be the reason."""


def payload_of(batched: Batched[Item], item: Item, settings: Values) -> Json | Outcome:
    """Return what goes to the vendor for an event or a person, or the outcome when nothing can."""
    try:
        payload = batched.payload(item, settings)
        size = size_of(payload)
    except Failure as failure:
        return _forwarded(failure, batched, acted=False)
    except Exception as error:
        logger.exception("A payload of %s could not be built", type(batched).__name__)
        text = f"The connector could not build the request ({type(error).__name__})."
        return Outcome(Result.REJECTED, text, reason="connector")
    most = min(batched.largest_item, batched.most_bytes)
    if size > most:
        text = f"It takes {size:,} bytes, and one may take {most:,}."
        return Outcome(Result.REJECTED, text, reason="too_large")
    return payload


def forward(
    batched: Batched[Any],
    connector: Connector,
    settings: Values,
    payloads: Sequence[Json],
    journal: Journal,
    account: Connection | None = None,
) -> list[Outcome]:
    """Send a batch. Returns one outcome for each payload, in their order; none is uncertain.

    A batch that is refused for its contents goes again in halves, so that only the event that is the reason is refused. What
    there was no time for waits. Every request gets the time that `journal.deadline` still has.

    Raises:
        LostClaim: the journal refused the first write, since this worker no longer has the batch. Where a later one is
            refused, what is known of the parts before is kept.

    """
    outcomes: dict[int, Outcome] = {}
    parts = [range(len(payloads))]
    stopped: Outcome | None = None
    while parts:
        part = parts.pop()
        if stopped is None and journal.deadline <= 0:
            stopped = Outcome(Result.WAITING, "The time for this batch was over.", reason="vendor")
        if stopped is not None:
            outcomes |= dict.fromkeys(part, stopped)
            continue
        with Api(connector, settings, journal, account) as api:
            try:
                found = _send(api, batched, [payloads[place] for place in part])
            except LostClaim:
                if not outcomes:
                    raise
                late = Temporary("The time for this batch was over.")
                found = [_forwarded(late, batched, acted=api.may_have_acted)] * len(part)
        if found is None:
            middle = len(part) // 2
            parts += [part[middle:], part[:middle]]
            continue
        outcomes |= zip(part, found, strict=True)
        stopped = _stops(found)
    return [outcomes[place] for place in range(len(payloads))]


def _send(api: Api, batched: Batched[Any], payloads: Sequence[Json]) -> list[Outcome] | None:
    """Send one request. Returns an outcome for each payload, or None when they are to go in halves."""
    try:
        verdicts = list(batched.send(api, payloads))
    except NOT_THE_VENDORS:
        raise
    except Rejected as no:
        if no.status in UNFIT and len(payloads) > 1:
            return None
        return [_forwarded(no, batched, acted=False)] * len(payloads)
    except Failure as failure:
        return [_forwarded(failure, batched, acted=api.may_have_acted)] * len(payloads)
    except Exception as error:
        logger.exception("Forwarding to %s failed", api.connector.key)
        if api.answers or api.may_have_acted:
            unread = Undocumented(f"The connector could not read an answer ({type(error).__name__}).")
            return [_forwarded(unread, batched, acted=api.may_have_acted)] * len(payloads)
        if len(payloads) > 1:
            return None
        text = f"The connector could not build the request ({type(error).__name__})."
        return [Outcome(Result.REJECTED, text, reason="connector")]
    if len(verdicts) != len(payloads):
        raise TypeError(f"{type(batched).__name__} said something of {len(verdicts)} of {len(payloads)} payloads.")
    return [
        _forwarded(verdict, batched, acted=False)
        if isinstance(verdict, Failure)
        else Outcome(Result.DONE, str(redact(verdict)))
        for verdict in verdicts
    ]


def _forwarded(failure: Failure, batched: Batched[Any], *, acted: bool) -> Outcome:
    """Name what follows for an event from a failure: where a repeat is safe it is made, else the event is given up."""
    match failure:
        case AlreadyDone():
            return Outcome(Result.DONE, failure.message)
        case BadCredentials():
            # Without a test beside it: where a batch is refused for its key, the next one is as well.
            return Outcome(Result.HELD, failure.message, reason=CREDENTIALS)
        case Temporary() | Undocumented() if acted and batched.replay is Replay.NEVER:
            return Outcome(Result.GAVE_UP, f"{failure.message} The event may be lost.", reason=LOST_ANSWER)
        case Paused():
            return Outcome(Result.WAITING, failure.message, after=failure.after, reason=PAUSED, spent=False)
        case Temporary():
            return Outcome(Result.WAITING, failure.message, after=failure.after, reason="vendor")
        case Undocumented():
            return Outcome(Result.WAITING, failure.message, reason="undocumented")
        case Missing():
            return Outcome(Result.SKIPPED, failure.message, reason=MISSING)
    return Outcome(Result.REJECTED, failure.message, reason="vendor")


def _stops(outcomes: Sequence[Outcome]) -> Outcome | None:
    """What becomes of the events that were not sent yet, when those before them show that the vendor takes none now."""
    if any(outcome.result not in {Result.WAITING, Result.HELD, Result.GAVE_UP} for outcome in outcomes):
        return None
    first = outcomes[0]
    return first if first.result is not Result.GAVE_UP else Outcome(Result.WAITING, first.message, reason="vendor")
