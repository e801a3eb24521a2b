"""Carry an action out, and turn whatever comes of it into an Outcome: what a vendor or a person's data can cause never
leaves as an exception.

The failures are in `connectors.failures`; the rules for "it may already have happened" are in
`docs/engine.md`.
"""

import json as jsonlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

from django import forms
from django.conf import settings as django_settings

from connectors.base import RESOLVED, Action, Confirmed, Connector, HandedOver, Json, Pending, ProbeLine, Replay, Values
from connectors.failures import (
    NOT_THE_VENDORS,
    AlreadyDone,
    BadCredentials,
    Failure,
    Missing,
    NotAllowed,
    Paused,
    Rejected,
    Temporary,
    Undocumented,
)
from connectors.http import Api
from connectors.journal import Journal, OnlyLooks, WouldWrite
from connectors.models import Connection
from engage import crash
from engage.redaction import redact

logger = logging.getLogger(__name__)

PROBE_SECONDS = 15.0
MISSING, CREDENTIALS, LOST_ANSWER = "missing", "credentials", "lost_answer"
"""Reasons that more than a filter relies on: a trait or input lacks, the account is refused, it may have happened."""
PAUSED = "paused"
"""The reason of what waits for its connection's turn, and spends no try on it."""


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
    GAVE_UP = "gave_up"


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
    confirmed: Confirmed | None = None  # done, and the vendor said something of the person
    failed_parts: frozenset[str] = (
        frozenset()
    )  # held for its credentials: the connector's parts that did not pass their test
    reason: str = ""  # one word for filters: MISSING, CREDENTIALS, "vendor", ...
    spent: bool = True  # False: it was not our turn, and this is not counted as a try
    failed: bool | None = (
        None  # whether the vendor's last answer was a passing trouble, or none; None: it was not asked
    )


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
    account: Connection | None = None  # the stored connection, whose limits hold
    given: Mapping[str, Any] = field(default_factory=dict)  # what `Needs.given` may name


@dataclass(frozen=True)
class Preview:
    """What an action would do now: the reads that were sent, and the first write, which was not."""

    outcome: str  # "would_write", or a Result
    message: str
    exchanges: list[Json] = field(default_factory=list)
    instruction: Json | None = None  # what the client would be handed

    @property
    def handed(self) -> str:
        """The instruction as people read it; empty where there is none."""
        return jsonlib.dumps(self.instruction, indent=2, ensure_ascii=False) if self.instruction else ""


@dataclass(frozen=True)
class ProbeReport:
    """What *Test connection* found; `message` is one sentence."""

    passed: bool
    message: str
    lines: list[ProbeLine] = field(default_factory=list)
    bad_credentials: bool = False
    paused: float | None = None  # seconds until the vendor's limit lets it be tested; nothing was

    @property
    def failed_parts(self) -> frozenset[str]:
        """The connector's parts that did not pass; "" is all of it."""
        return frozenset(line.part for line in self.lines if line.ok is False)

    def passed_for(self, part: str) -> bool:
        """Whether it passed as far as this part is concerned."""
        return self.passed or (bool(part) and not self.failed_parts & {"", part})


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


def as_resolved(values: Values, account: Connection | None) -> Json:
    """Return what was resolved as it is kept: for the account in which it was found, and no other."""
    return {"generation": account.generation if account else None, "values": dict(values)}


def _resolved(work: Work, api: Api, inputs: Json) -> Json:
    """Return the inputs with what the vendor has for them, as it was kept when they were saved; else it is asked now."""
    kept = work.inputs.get(RESOLVED)
    if not isinstance(kept, dict) or kept != as_resolved(kept.get("values") or {}, work.account):
        return {**inputs, **work.action.resolve_inputs(api, inputs)}
    return {**inputs, **kept["values"]}


def run(work: Work, journal: Journal) -> Outcome:
    """Carry an action out once.

    Raises:
        LostClaim: the journal refused a write, since this worker no longer has the execution.
        OperationalError, InterfaceError: our own database is away.

    """
    try:
        user = work.action.needs_with(work.inputs).pick(work.traits, work.given)
        inputs = clean_inputs(work.action, work.inputs)
    except (Missing, Rejected) as unfit:
        if work.may_have_acted:
            return _uncertain(f"{unfit.message} An earlier attempt may have acted.")
        if isinstance(unfit, Missing):
            return Outcome(Result.SKIPPED, unfit.message, reason=MISSING)
        return Outcome(Result.REJECTED, unfit.message, reason="inputs")
    if why := work.action.unavailable(work.settings):
        return _uncertain(why) if work.may_have_acted else Outcome(Result.REJECTED, why, reason="settings")
    if refusal := _too_late_to_repeat(work):
        return refusal
    with Api(work.connector, work.settings, journal, work.account) as api:
        return replace(_carried_out(work, api, user, inputs), failed=api.failed)


def _carried_out(work: Work, api: Api, user: Json, inputs: Json) -> Outcome:
    try:
        inputs = _resolved(work, api, inputs)
        if work.action.replay is Replay.CHECK:
            crash.point("look.next")
            found = work.action.already_done(api, user, inputs)
            crash.point("look.answered")
            if found:
                return _settled(found)
            if _is_forgotten(work):
                label = work.connector.label
                return _uncertain(f"A request got no answer, {label} does not show it, and knows it no more.")
        return _settled(work.action.perform(api, user, inputs))
    except NOT_THE_VENDORS:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a vendor's file raises must end in an outcome
        return _failed(work, api, user, inputs, error)


def follow_up(work: Work, job: Json, journal: Journal) -> Outcome:
    """Ask once what became of a job that the vendor accepted. A question that fails or is refused is asked again.

    What the vendor refuses there is the question, and says nothing of the job: the job's end is only what the connector itself
    raises, having read it in an answer.

    Raises:
        LostClaim, OperationalError, InterfaceError: as `run()` does.

    """
    with Api(work.connector, work.settings, journal, work.account) as api:
        return replace(_asked(work, api, job), failed=api.failed)


def _asked(work: Work, api: Api, job: Json) -> Outcome:
    try:
        return _settled(work.action.follow_up(api, job))
    except NOT_THE_VENDORS:
        raise
    except (Rejected, Missing) as no:
        if no.status:
            return _asked_again(no, job)
        return Outcome(Result.REJECTED, no.message, reason="vendor")
    except BadCredentials as bad:
        found = _tested(work, api, bad)
        return replace(found, job=job) if isinstance(found, Outcome) else _asked_again(found, job)
    except Failure as failure:
        return _asked_again(failure, job)
    except Exception as error:
        logger.exception("The follow-up of %s.%s failed", work.connector.key, work.action.key)
        return Outcome(Result.PENDING, f"The connector failed while asking ({type(error).__name__}).", job=job)


def _asked_again(failure: Failure, job: Json) -> Outcome:
    return Outcome(Result.PENDING, failure.message, after=getattr(failure, "after", None), job=job)


def preview(work: Work) -> Preview:
    """Do what an action would do up to its first write: reads are sent, the write is shown and not sent."""
    journal, instruction = OnlyLooks(), None
    try:
        user = work.action.needs_with(work.inputs).pick(work.traits, work.given)
        inputs = clean_inputs(work.action, work.inputs)
        if why := work.action.unavailable(work.settings):
            return Preview(Result.REJECTED, why)
        with Api(work.connector, work.settings, journal, work.account) as api:
            inputs = _resolved(work, api, inputs)
            found = work.action.already_done(api, user, inputs) if work.action.replay is Replay.CHECK else None
            settled = _settled(found or work.action.perform(api, user, inputs))
            outcome, message, instruction = str(settled.result), settled.message, settled.instruction
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
    return Preview(outcome, message, [exchange.as_json() for exchange in journal.exchanges], instruction)


def probe(
    connector: Connector, settings: Values, account: Connection | None = None, within: float = PROBE_SECONDS
) -> ProbeReport:
    """Test a connection by reads only, which take no longer than `within` seconds."""
    try:
        with Api(connector, settings, OnlyLooks(within), account, kept_tokens=False) as api:
            if connector.parts:
                return _probe_parts(connector, api)
            lines = connector.probe(api)
    except Paused as paused:
        return ProbeReport(False, paused.message, [ProbeLine(None, paused.message)], paused=paused.after)
    except Failure as failure:
        return ProbeReport(
            False, failure.message, [ProbeLine(False, failure.message)], isinstance(failure, BadCredentials)
        )
    except NOT_THE_VENDORS:
        raise
    except Exception as error:
        logger.exception("The test of a connection to %s failed", connector.key)
        text = f"The connector failed while testing ({type(error).__name__})."
        return ProbeReport(False, text, [ProbeLine(False, text)])
    return _report(lines)


def _probe_parts(connector: Connector, api: Api) -> ProbeReport:
    """Test each part by itself: what one refuses says nothing of the others."""
    lines, bad_credentials = [], False
    for part, test in connector.parts.items():
        try:
            lines += [replace(line, part=part) for line in test(api)]
        except Paused:
            raise
        except Failure as failure:
            lines.append(ProbeLine(False, f"{part}: {failure.message}", part))
            bad_credentials |= isinstance(failure, BadCredentials)
    return _report(sorted(lines, key=lambda line: line.ok is None), bad_credentials=bad_credentials)


def _report(lines: list[ProbeLine], *, bad_credentials: bool = False) -> ProbeReport:
    wrong = [line for line in lines if line.ok is False]
    return ProbeReport(not wrong, (wrong or lines)[0].text, lines, bad_credentials)


def _settled(result: str | Confirmed | Pending | HandedOver) -> Outcome:
    if isinstance(result, Confirmed):
        return Outcome(Result.DONE, str(redact(result.message)), confirmed=result)
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
    if work.action.replay is Replay.KEY and _is_forgotten(work):
        return _uncertain(f"The answer was lost, and {work.connector.label} no longer recognises a repeat.")
    return None


def _is_forgotten(work: Work) -> bool:
    """Whether a write may have acted, and the vendor no longer recognises its key.

    For CHECK too, where it declares how long: such a look may miss what happened since (a coupon that an invoice has used up),
    and it was the key that made the repeat safe.
    """
    kept = work.action.key_kept
    return bool(work.may_have_acted and kept is not None and (work.since_first_write or timedelta()) > kept)


def _uncertain(message: str) -> Outcome:
    return Outcome(Result.UNCERTAIN, message, may_have_acted=True, reason=LOST_ANSWER)


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
            return Outcome(Result.SKIPPED, error.message, reason=MISSING)
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
    acted = api.may_have_acted or work.may_have_acted
    found = _tested(work, api, error)
    if isinstance(found, Outcome):
        return replace(found, may_have_acted=acted)
    if isinstance(found, Paused):
        return _temporary(work, found, acted=acted, this_one=api.may_have_acted)
    return _failed(work, api, user, inputs, found)


def _tested(work: Work, api: Api, error: BadCredentials) -> Outcome | Paused | Rejected:
    """A refused key holds the connection only when a test of it fails too; else it was this request that was not allowed."""
    report = probe(work.connector, work.settings, work.account, min(PROBE_SECONDS, api.remaining))
    if report.paused is not None:
        return Paused(report.message, after=report.paused)
    if not report.passed_for(work.action.part) or not work.connector.probe_proves_secrets:
        message = f"{work.action.part}: {error.message}" if work.action.part else error.message
        return Outcome(Result.HELD, message, failed_parts=report.failed_parts, reason=CREDENTIALS)
    return Rejected(f"{error.message} Its test passes, so the key lacks a right.", code=error.code)


def _temporary(work: Work, error: Temporary, *, acted: bool, this_one: bool) -> Outcome:
    if work.action.replay is Replay.NEVER and acted:
        return _uncertain(f"{error.message} It may have happened.")
    wait = django_settings.ENGAGE_SETTLING if this_one and work.action.replay is Replay.CHECK else 0.0
    paused = isinstance(error, Paused)
    return Outcome(
        Result.WAITING,
        error.message,
        after=error.after,
        not_before=wait,
        may_have_acted=acted,
        reason=PAUSED if paused else "vendor",
        spent=not paused,
    )


def _look_again(work: Work, api: Api, user: Json, inputs: Json, error: Failure) -> Outcome:
    """A no, or an answer that nobody documented, after a write that may have acted: look, and never guess."""
    if work.action.replay is Replay.CHECK:
        try:
            if found := work.action.already_done(api, user, inputs):
                return _settled(found)
        except NOT_THE_VENDORS:
            raise
        except Exception:
            logger.exception("The look after a lost answer of %s.%s failed", work.connector.key, work.action.key)
    whose = "This" if api.may_have_acted else "An earlier"
    return _uncertain(f"{error.message} {whose} attempt may have acted.")
