"""What a person (or the App's client) decides about an execution.

Each is a conditional UPDATE: what has changed since the person looked is not overwritten, but said (`NotPossible`).
Who may do what, the pages check; the history is written where the person is known.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from enum import StrEnum
from typing import Any

from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Now
from django.utils import timezone

from connectors.base import Replay
from connectors.failures import Rejected
from connectors.models import Connection
from connectors.registry import action_of
from engage.redaction import redact
from prompts import bell, bindings, preconditions, retries, settlement
from prompts.events import take_limit
from prompts.models import HELD_FOR_A_PERSON, TAKES_LIMIT, EventSource, Execution, Reason, State
from prompts.retries import ASKED_AGAIN, LET_GO
from sync import traits


class NotPossible(Exception):
    """The execution is not (or no longer) in a state in which this can be done."""


class UnfitReport(ValueError):
    """The app says that it carried an action out, without what the vendor must be asked about."""


class Decision(StrEnum):
    """What a person says of an execution that needs checking."""

    HAPPENED = "happened"
    RUN_AGAIN = "run_again"
    CLOSE = "close"


RUNS_AGAIN = (State.SKIPPED, State.REJECTED, State.GAVE_UP, State.NOT_SENT)
NOT_REPORTED: Mapping[str, Any] = {"state": State.GAVE_UP, "reason": Reason.NO_REPORT}
LONGEST_SAID = 200
"""Characters of a client's own words."""
STOPPABLE = (State.WAITING, State.QUEUED, State.HELD)


def run_again(execution: Execution, *, by: str, todays_settings: bool = False) -> Execution:
    """Carry an execution out again that ended without having happened.

    Args:
        todays_settings: make a new, linked execution with the binding's action and inputs as they are now, and a key of
            its own; else the same one goes again as it was.

    Returns the execution that now waits for its turn.

    Raises:
        NotPossible: it happened, is under way, or may have happened; or the person's limit is taken by another answer.

    """
    with _changing(execution):
        current = Execution.objects.select_related("event__prompt", "binding").get(pk=execution.pk)
        if current.state not in RUNS_AGAIN:
            raise NotPossible(f"It is “{current.get_state_display()}” now, so there is nothing to run again.")
        if current.reruns.exists():
            raise NotPossible("It was run again already, with the settings of that day.")
        _take_limit_again(current)
        if todays_settings:
            again = _with_todays_settings(current, by)
            again.refresh_from_db()
            bell.ring_on_commit(again.pk)
            return again
        anew = {} if current.may_have_acted else _as_a_new_request(current)
        _requeue(Execution.objects.filter(pk=current.pk, state=current.state), by=by, **anew)
        if not current.is_forward:
            settlement.go_on(current.event_id, State.QUEUED)
        bell.ring_on_commit(current.pk)
        current.refresh_from_db()
    return current


def decide(execution: Execution, decision: Decision, *, by: str, note: str) -> Execution:
    """Say what became of an execution that needs checking.

    Raises:
        NotPossible: it does not need checking (any more), or the note is empty.

    """
    if not note.strip():
        raise NotPossible("Say in a note how you know.")
    # What was said of one try says nothing of a later one.
    uncertain = Execution.objects.filter(pk=execution.pk, state=State.UNCERTAIN, fence=execution.fence)
    decided = {"decided_by": by, "decided_at": Now(), "note": note.strip()}
    with _changing(execution):
        match decision:
            case Decision.HAPPENED:
                done = {"state": State.DONE, "message": f"It happened, says {by}.", "may_have_acted": False}
                changed = uncertain.update(**done, **decided, reason="", due_at=None, settled_at=Now())
                state = State.DONE
            case Decision.RUN_AGAIN:
                # The person says that it did not happen: the next try is a new request, under a new key.
                execution.refresh_from_db()
                anew = {**_next_try(execution), **_as_a_new_request(execution), "may_have_acted": False}
                changed = _requeue(uncertain, by=by, note=note.strip(), **anew)
                state = State.QUEUED
            case Decision.CLOSE:
                closed = {"state": State.CLOSED, "message": f"Closed by {by}.", "reason": Reason.CLOSED}
                changed = uncertain.update(**closed, **decided, due_at=None, settled_at=Now())
                state = State.CLOSED
        if not changed:
            raise NotPossible("It does not need checking any more; look again.")
        settlement.go_on(execution.event_id, state)
        if state == State.QUEUED:
            bell.ring_on_commit(execution.pk)
        execution.refresh_from_db()
    return execution


def try_now(execution: Execution, *, by: str) -> Execution:
    """Try an execution at once that waits for its next try, or that is held and waits for a person's word alone.

    One that looks first is tried when the vendor can show what was just written; of a job, the vendor is asked.

    Raises:
        NotPossible: it does not wait (any more), or its connection is switched off or needs attention.

    """
    with _changing(execution):
        execution.refresh_from_db()
        if execution.state == State.HELD and not waits_for_a_person(execution):
            raise NotPossible(f"It waits for {execution.connection}, which is switched off or needs attention.")
        next_try = ASKED_AGAIN if execution.job is not None else _next_try(execution)
        return _change(
            execution,
            Execution.objects.filter(state__in=[State.WAITING, State.HELD]),
            {**next_try, "expires_at": None, "decided_by": by, "decided_at": Now()},
            "It does not wait for another try any more.",
            ring=True,
        )


def waits_for_a_person(held: Execution) -> bool:
    """Whether what is held waits for nothing but a person's word: its connection, if that is why, is switched on and well."""
    account = held.connection
    if account is None or held.reason in HELD_FOR_A_PERSON:
        return True
    action = action_of(held)
    return account.active and not account.needs_attention(action.part if action else "")


def _next_try(execution: Execution) -> Mapping[str, Any]:
    """Return the columns of what is tried at once; where it looks first, when the vendor can show what was just written."""
    action = action_of(execution)
    looks = action is not None and action.replay is Replay.CHECK
    if looks and (seconds := preconditions.not_shown_for(execution, itself=True)):
        message = preconditions.not_shown_yet(execution)
        due_at = Now() + Value(timedelta(seconds=seconds))
        return {"state": State.WAITING, "reason": Reason.SETTLING, "message": message, "due_at": due_at}
    return LET_GO


def check_now(execution: Execution) -> Execution:
    """Ask the vendor at once what became of a job. Nothing is decided."""
    return _change(
        execution,
        Execution.objects.filter(state=State.PENDING),
        {"due_at": Now()},
        "The vendor is not working on it any more.",
        ring=True,
    )


def stop_trying(execution: Execution, *, by: str, note: str = "") -> Execution:
    """Close an execution that waits for another try or is held. One that may have happened needs checking instead.

    So does a job that the vendor had accepted before it was held.
    """
    with _changing(execution):
        execution.refresh_from_db()  # it may have been tried since the person looked, and its answer lost
        acted = execution.may_have_happened
        nothing_acted = Q(may_have_acted=False, job__isnull=True)
        return _change(
            execution,
            Execution.objects.filter(~nothing_acted if acted else nothing_acted, state__in=STOPPABLE),
            _to_be_checked(execution, note.strip()) if acted else _closed(by, note.strip()),
            "It is not waiting any more.",
        )


def _to_be_checked(execution: Execution, note: str) -> dict[str, Any]:
    checked = {"state": State.UNCERTAIN, "due_at": None, "reason": Reason.LOST_ANSWER, "note": note}
    if execution.job is None:
        return checked
    message = f"{execution.connection} had accepted it, and nobody asked any more what became of it."
    return {**checked, "reason": Reason.UNSETTLED, "message": message, "may_have_acted": True, "job": None}


def _closed(by: str, note: str = "") -> dict[str, Any]:
    closed = {"state": State.CLOSED, "reason": Reason.CLOSED, "message": f"Closed by {by}.", "settled_at": Now()}
    return {**closed, "due_at": None, "decided_by": by, "decided_at": Now(), "note": note}


def report(execution: Execution, result: str, detail: dict[str, Any]) -> Execution:
    """Store what the client says came of an action that was handed over to it: done, failed or cancelled. Once.

    A report is a claim: where the vendor can be asked, it is asked before the action is done, also when nobody waited for the
    report any more, since somebody may have paid. What the client says in `message`, or of a failure in `reason`, is shown
    beside the state, shortened.

    Raises:
        NotPossible: it was reported already, or there is nothing to report.
        UnfitReport: the vendor would be asked, and the report does not say about what.

    """
    job = _job_of(execution, detail) if result == "done" else None
    states = {"done": State.DONE, "failed": State.REJECTED, "cancelled": State.SKIPPED}
    reasons = {"done": "", "failed": Reason.CLIENT_FAILED, "cancelled": Reason.CLIENT_CANCELLED}
    words = {
        "done": "The app carried it out.",
        "failed": "The app could not do it.",
        "cancelled": "The person cancelled.",
    }
    said = str(redact(" ".join(str(detail.get("message") or detail.get("reason") or "").split())))[:LONGEST_SAID]
    unreported = Execution.objects.filter(report__isnull=True)
    waiting = unreported.filter(state=State.HANDED_OVER)
    otherwise = "This action was reported already, or is not the client's to report."
    if job is not None:
        asks = {
            "state": State.PENDING,
            "reason": "",
            "message": "The app says that it did it; the vendor is asked.",
            "report": {"result": result, "detail": detail},
            "job": job,
            "polls": 0,
            "pending_since": Now(),
            "due_at": Now(),
            "settled_at": None,
        }
        nobody_waited = execution.state != State.HANDED_OVER
        with _changing(execution):
            reported = _change(execution, waiting | unreported.filter(**NOT_REPORTED), asks, otherwise, ring=True)
            if nobody_waited:
                with suppress(NotPossible):  # whoever accepted again meanwhile has the limit, and what was paid is paid
                    _take_limit_again(reported)
            return reported
    return _change(
        execution,
        waiting,
        {
            "state": states[result],
            "reason": reasons[result],
            "message": f"{words[result]} It says: {said}" if said else words[result],
            "report": {"result": result, "detail": detail},
            "due_at": None,
            "settled_at": Now(),
        },
        otherwise,
    )


def _job_of(execution: Execution, detail: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the vendor is asked about, where it can be asked."""
    action = action_of(execution)
    if action is None or execution.report is not None:
        return None
    try:
        return action.claimed(execution.instruction or {}, detail)
    except Rejected as unfit:
        raise UnfitReport(unfit.message) from None


def held(connection: Connection) -> QuerySet[Execution]:
    """The executions that wait for this connection."""
    return Execution.objects.filter(connection=connection, state=State.HELD, reason__in=preconditions.FOR_CONNECTION)


def release(connection: Connection, choice: str, *, by: str) -> int:
    """Decide about the executions held for a connection that was switched on: "run", "close", or "review" (later)."""
    waiting = held(connection)
    if choice == "run":
        return retries.let_go(waiting)
    closed = 0
    if choice == "close":
        closed = waiting.filter(is_forward=True).update(**_closed(by))
        for execution in waiting.filter(is_forward=False).iterator():
            with suppress(NotPossible):
                stop_trying(execution, by=by)
                closed += 1
    return closed


@contextmanager
def _changing(execution: Execution) -> Iterator[None]:
    """`settlement.changing`, for an execution that may have been erased with its person since somebody looked.

    Raises:
        NotPossible: it was.

    """
    with settlement.changing(execution.event_id):
        try:
            yield
        except Execution.DoesNotExist:
            raise NotPossible("It was deleted, with everything that was known of its person.") from None


def _change(
    execution: Execution, rows: QuerySet[Execution], values: dict[str, Any], otherwise: str, *, ring: bool = False
) -> Execution:
    with _changing(execution):
        if not rows.filter(pk=execution.pk).update(**values):
            raise NotPossible(otherwise)
        if not execution.is_forward:
            settlement.go_on(execution.event_id, State(values.get("state", execution.state)))
        if ring:
            bell.ring_on_commit(execution.pk)
        execution.refresh_from_db()
    return execution


def _as_a_new_request(execution: Execution) -> dict[str, Any]:
    """Return the columns of what is sent under new keys, with the traits of then: nothing that was sent has happened."""
    steps = {name: {"generation": step["generation"] + 1, "sent": None} for name, step in execution.steps.items()}
    return {"steps": steps, "first_write_at": None}


def _requeue(rows: QuerySet[Execution], *, by: str, **values: Any) -> int:
    """Queue executions afresh: all tries before them, and whatever their age."""
    afresh = {
        **LET_GO,
        "settled_at": None,
        "attempts_made": 0,
        "polls": 0,
        "job": None,
        "pending_since": None,
        "instruction": None,
        "report": None,
        "expires_at": None,
        "decided_by": by,
        "decided_at": Now(),
    }
    return rows.update(**afresh | values)


def _take_limit_again(execution: Execution) -> None:
    """The limit was given back when nothing happened; running again needs it again."""
    event = execution.event
    if execution.is_forward or event.prompt is None or event.source != EventSource.API:
        return
    if event.interaction not in TAKES_LIMIT or event.limit_reached:
        return
    if event.prompt.limits_taken.filter(event=event).exists():
        return
    if not take_limit(event.prompt, event, timezone.now()):
        raise NotPossible(
            "This person has accepted the prompt again since; the limit per subscriber does not allow both."
        )


def _with_todays_settings(execution: Execution, by: str) -> Execution:
    binding = execution.binding
    if binding is None or binding.archived_at is not None:
        raise NotPossible("The action is no longer part of the prompt, so it has no settings of today.")
    if execution.may_have_acted:
        raise NotPossible("It may have happened: only as it was can it be repeated without acting twice.")
    return Execution.objects.create(
        app_id=execution.app_id,
        event=execution.event,
        subscriber_id=execution.subscriber_id,
        binding=binding,
        connection_id=binding.connection_id,
        rerun_of=execution,
        connector=binding.connector,
        action=binding.action,
        position=execution.position,
        on_error=binding.on_error,
        inputs=bindings.resolve(binding.inputs, traits.traits_of(execution.subscriber), execution.event.inputs),
        state=State.QUEUED,
        due_at=Now(),  # the worker compares it with the database's clock, which is coarser on SQLite
        created_at=timezone.now(),
        decided_by=by,
        decided_at=timezone.now(),
    )
