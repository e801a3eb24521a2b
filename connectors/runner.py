"""Carry an action out, and turn whatever comes of it into an Outcome: what a vendor or a person's data can cause never
leaves as an exception.

The table of failures and what follows from each is DESIGN's; the rules for "it may already have happened" are in
`docs/engine.md`.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from django import forms

from connectors.base import Action, Connector, HandedOver, Json, Pending, ProbeLine, Replay, Values
from connectors.failures import (
    AlreadyDone,
    BadCredentials,
    Failure,
    LostClaim,
    Missing,
    NotAllowed,
    Rejected,
    Temporary,
    Undocumented,
)
from connectors.http import Api
from connectors.journal import Journal, OnlyLooks, WouldWrite
from engage.redaction import redact

logger = logging.getLogger(__name__)

SETTLING = 30.0
"""Seconds after a lost answer before the next look, so that the vendor's read can show the write."""


class Result(StrEnum):
    """How an attempt ended; the values are states of an execution."""

    DONE = "done"
    PENDING = "pending"
    HANDED_OVER = "handed_over"
    SKIPPED = "skipped"
    REJECTED = "rejected"
    HELD = "held"
    WAITING = "waiting"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt. `message` is a sentence for people, without secrets."""

    result: Result
    message: str
    after: float | None = None  # waiting: the vendor's own wish, in seconds
    not_before: float = 0.0  # waiting: seconds before which no attempt makes sense
    may_have_acted: bool = False  # a write left us in this attempt or an earlier one, and it is not known what it did
    job: Json | None = None  # pending
    instruction: Json | None = None  # handed over
    wants_report: bool = False
    reason: str = ""  # one word for filters: "missing", "credentials", "vendor", ...


class Diverged(Exception):
    """A repeat would send something else than the attempt that may have acted: a journal's step says so."""


@dataclass(frozen=True)
class Work:
    """What is to be carried out, with what earlier attempts left behind."""

    connector: Connector
    action: Action
    settings: Values
    traits: Mapping[str, Any]
    inputs: Mapping[str, Any]
    may_have_acted: bool = False
    since_first_write: timedelta | None = None


@dataclass(frozen=True)
class Preview:
    """What an action would do now: the reads that were sent, and the first write, which was not."""

    outcome: str  # "would_write", or a Result
    message: str
    exchanges: list[Json] = field(default_factory=list)


@dataclass(frozen=True)
class ProbeReport:
    """What *Test connection* found; `message` is one sentence."""

    passed: bool
    message: str
    lines: list[ProbeLine] = field(default_factory=list)
    bad_credentials: bool = False


def clean_inputs(action: Action, inputs: Mapping[str, Any]) -> Json:
    """Return the inputs as the action's form cleans them.

    Raises:
        Missing: a required one is not there.
        Rejected: one does not fit.

    """
    form: forms.Form = action.Inputs(data=dict(inputs))
    if form.is_valid():
        return form.cleaned_data
    for name, errors in form.errors.as_data().items():
        label = str(form.fields[name].label or name) if name in form.fields else name
        if any(error.code == "required" for error in errors):
            raise Missing(f"The input {label!r} is empty.")
        raise Rejected(
            f"The input {label!r} does not fit: {' '.join(str(text) for error in errors for text in error.messages)}"
        )
    raise Rejected("The inputs do not fit.")


def run(work: Work, journal: Journal) -> Outcome:
    """Carry an action out once.

    Raises:
        LostClaim: the journal refused a write, since this worker no longer has the execution.

    """
    try:
        user = work.action.needs.pick(work.traits)
        inputs = clean_inputs(work.action, work.inputs)
    except (Missing, Rejected) as unfit:
        if work.may_have_acted:
            return _uncertain(f"{unfit.message} An earlier request may have acted.")
        if isinstance(unfit, Missing):
            return Outcome(Result.SKIPPED, unfit.message, reason="missing")
        return Outcome(Result.REJECTED, unfit.message, reason="inputs")
    if refusal := _too_late_to_repeat(work):
        return refusal
    with Api(work.connector, work.settings, journal) as api:
        try:
            if work.action.replay is Replay.CHECK and (found := work.action.already_done(api, user, inputs)):
                return _settled(found)
            return _settled(work.action.perform(api, user, inputs))
        except LostClaim:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a vendor's file raises must end in an outcome
            return _failed(work, api, user, inputs, error)


def follow_up(work: Work, job: Json, journal: Journal) -> Outcome:
    """Ask once what became of a job that the vendor accepted. Polls are reads; one that fails is asked again."""
    with Api(work.connector, work.settings, journal) as api:
        try:
            return _settled(work.action.follow_up(api, job))
        except (Rejected, Missing) as no:
            return Outcome(Result.REJECTED, no.message, reason="vendor")
        except BadCredentials as bad:
            return Outcome(Result.HELD, bad.message, job=job, reason="credentials")
        except Failure as failure:
            return Outcome(Result.PENDING, failure.message, after=getattr(failure, "after", None), job=job)
        except Exception as error:
            logger.exception("The follow-up of %s.%s failed", work.connector.key, work.action.key)
            return Outcome(Result.PENDING, f"The connector failed while asking ({type(error).__name__}).", job=job)


def preview(work: Work) -> Preview:
    """Do what an action would do up to its first write: reads are sent, the write is shown and not sent."""
    journal = OnlyLooks()
    try:
        user = work.action.needs.pick(work.traits)
        inputs = clean_inputs(work.action, work.inputs)
        with Api(work.connector, work.settings, journal) as api:
            found = work.action.already_done(api, user, inputs) if work.action.replay is Replay.CHECK else None
            settled = _settled(found or work.action.perform(api, user, inputs))
            outcome, message = str(settled.result), settled.message
    except WouldWrite:
        outcome, message = "would_write", "Later requests, if there are any, depend on this one's answer."
    except Missing as missing:
        outcome, message = Result.SKIPPED, missing.message
    except AlreadyDone as done:
        outcome, message = Result.DONE, done.message
    except Failure as failure:
        outcome, message = Result.REJECTED, failure.message
    except Exception as error:
        logger.exception("The preview of %s.%s failed", work.connector.key, work.action.key)
        outcome, message = Result.REJECTED, f"The connector could not build the request ({type(error).__name__})."
    return Preview(outcome, message, [exchange.as_json() for exchange in journal.exchanges])


def probe(connector: Connector, settings: Values) -> ProbeReport:
    """Test a connection by reads only."""
    try:
        with Api(connector, settings, OnlyLooks(15.0)) as api:
            lines = connector.probe(api)
    except Failure as failure:
        return ProbeReport(
            False, failure.message, [ProbeLine(False, failure.message)], isinstance(failure, BadCredentials)
        )
    except Exception as error:
        logger.exception("The test of a connection to %s failed", connector.key)
        text = f"The connector failed while testing ({type(error).__name__})."
        return ProbeReport(False, text, [ProbeLine(False, text)])
    wrong = [line for line in lines if line.ok is False]
    return ProbeReport(not wrong, (wrong or lines)[0].text, lines)


def _settled(result: str | Pending | HandedOver) -> Outcome:
    if isinstance(result, Pending):
        return Outcome(Result.PENDING, result.message, job=result.job)
    if isinstance(result, HandedOver):
        return Outcome(
            Result.HANDED_OVER, result.message, instruction=result.instruction, wants_report=result.wants_report
        )
    return Outcome(Result.DONE, str(redact(result)))


def _too_late_to_repeat(work: Work) -> Outcome | None:
    """An attempt that may have acted, and a repeat that nothing makes safe: a person decides."""
    if not work.may_have_acted:
        return None
    if work.action.replay is Replay.NEVER:
        return _uncertain("The answer to an earlier attempt was lost, and this action must not be repeated blindly.")
    kept = work.action.key_kept
    if work.action.replay is Replay.KEY and kept is not None and (work.since_first_write or timedelta()) > kept:
        return _uncertain(f"The answer was lost, and {work.connector.label} no longer recognises a repeat.")
    return None


def _uncertain(message: str) -> Outcome:
    return Outcome(Result.UNCERTAIN, message, may_have_acted=True, reason="lost_answer")


def _failed(work: Work, api: Api, user: Json, inputs: Json, error: Exception) -> Outcome:
    """Name what follows from an exception of an action."""
    acted = api.may_have_acted or work.may_have_acted
    match error:
        case AlreadyDone():
            return Outcome(Result.DONE, error.message)
        case BadCredentials():
            return _credentials(work, api, user, inputs, error)
        case Temporary():
            return _temporary(work, error, acted=acted, this_one=api.may_have_acted)
        case Diverged():
            return _uncertain("An earlier attempt may have acted, and a repeat would send something else.")
        case Rejected() | Undocumented() | NotAllowed() | Missing() if acted:
            return _look_again(work, api, user, inputs, error)
        case Undocumented():
            return Outcome(Result.WAITING, error.message, reason="undocumented")
        case Missing():
            return Outcome(Result.SKIPPED, error.message, reason="missing")
        case Failure():
            return Outcome(Result.REJECTED, error.message, reason="vendor")
    logger.error("%s.%s failed", work.connector.key, work.action.key, exc_info=error)
    if api.answers:
        # Most likely an answer of another shape than the documented one.
        unread = Undocumented(f"The connector could not read an answer ({type(error).__name__}).")
        return _failed(work, api, user, inputs, unread)
    text = f"The connector could not build the request ({type(error).__name__})."
    return _uncertain(text) if acted else Outcome(Result.REJECTED, text, reason="connector")


def _credentials(work: Work, api: Api, user: Json, inputs: Json, error: BadCredentials) -> Outcome:
    """A refused key holds the connection only when a test of it fails too; else it was this request that was not allowed."""
    acted = api.may_have_acted or work.may_have_acted
    if not probe(work.connector, work.settings).passed:
        return Outcome(Result.HELD, error.message, may_have_acted=acted, reason="credentials")
    no = Rejected(f"{error.message} Its test passes, so the key lacks a right.", code=error.code)
    return _failed(work, api, user, inputs, no)


def _temporary(work: Work, error: Temporary, *, acted: bool, this_one: bool) -> Outcome:
    if work.action.replay is Replay.NEVER and acted:
        return _uncertain(f"{error.message} It may have happened.")
    wait = SETTLING if this_one and work.action.replay is Replay.CHECK else 0.0
    return Outcome(
        Result.WAITING, error.message, after=error.after, not_before=wait, may_have_acted=acted, reason="vendor"
    )


def _look_again(work: Work, api: Api, user: Json, inputs: Json, error: Failure) -> Outcome:
    """A no, or an answer that nobody documented, after a write that may have acted: look, and never guess."""
    if work.action.replay is Replay.CHECK:
        try:
            if found := work.action.already_done(api, user, inputs):
                return _settled(found)
        except LostClaim:
            raise
        except Exception:
            logger.exception("The look after a lost answer of %s.%s failed", work.connector.key, work.action.key)
    return _uncertain(f"{error.message} An earlier request may have acted.")
