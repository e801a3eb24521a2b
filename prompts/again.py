"""Many executions run again at once: those of Live's filters, seen before, each as `prompts.decisions` runs one.

A waiting one is tried now, in the place of its next try by itself. What may have happened, what was not sent and what belongs to
tests is left out unless somebody asks for it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from django.db.models import Exists, OuterRef

from connectors.base import Replay
from connectors.registry import action_of
from engage.tenancy.models import App
from prompts import decisions, live
from prompts.decisions import Decision, NotPossible
from prompts.models import Execution, Reason, State
from prompts.states import StateWords, words

AT_ONCE = 200
"""How many are shown, and run by one press of the button, oldest first. The rest waits for the next press, or for nobody's."""
RUN = (State.WAITING, State.REJECTED, State.GAVE_UP, State.SKIPPED)


@dataclass(frozen=True)
class Extras:
    """What is left out unless it is asked for."""

    uncertain: bool = False
    not_sent: bool = False
    tests: bool = False


@dataclass(frozen=True)
class Group:
    """Executions of one state and action, as the preview tells them."""

    state: StateWords
    connector: str
    action: str
    count: int
    oldest: datetime
    newest: datetime
    warning: str


@dataclass
class Ran:
    """What came of it."""

    executions: list[tuple[Execution, str]] = field(default_factory=list)  # with the state that each was in
    left: list[str] = field(default_factory=list)
    """Why others were left as they are."""


def ran_again() -> Exists:
    """Whether a later run has taken an execution's place.

    `reruns=None` says the same by an outer join, of which PostgreSQL expects one row: it would read and sort all for it.
    """
    return Exists(Execution.objects.filter(rerun_of=OuterRef("pk"), rerun_of__isnull=False))


def those(app: App, chosen: Mapping[str, Any], extras: Extras, most: int) -> list[Execution]:
    """Return so many of what would run, oldest first.

    What an earlier action stopped is none of it: it comes back when that one is done. Each state is asked for its own
    oldest, which `execution_state` has in order: no more of them are read than are shown, however many there are.

    Args:
        chosen: Live's filters.
        most: how many at most.

    """
    states = [*RUN, *[State.UNCERTAIN] * extras.uncertain, *[State.NOT_SENT] * extras.not_sent]
    rows = live.executions_of(app, chosen).exclude(ran_again()).exclude(state=State.SKIPPED, reason=Reason.STOPPED)
    if not extras.tests:
        rows = rows.filter(event__is_test=False)
    oldest = [
        key
        for state in states
        for key in rows.filter(state=state).order_by("created_at", "pk").values_list("created_at", "pk")[:most]
    ]
    return list(rows.filter(pk__in=[pk for _, pk in sorted(oldest)[:most]]).order_by("created_at", "pk"))


def preview(rows: Iterable[Execution]) -> list[Group]:
    """Return these executions in groups, the largest first."""

    def kind(row: Execution) -> tuple[str, str, str]:
        return row.state, live.connector_label(row), live.action_label(row)

    found = [list(group) for _, group in groupby(sorted(rows, key=kind), key=kind)]
    return sorted(map(_group, found), key=lambda group: -group.count)


def _group(rows: list[Execution]) -> Group:
    first, moments = rows[0], [row.created_at for row in rows]
    return Group(
        words(first),
        live.connector_label(first),
        live.action_label(first),
        len(rows),
        min(moments),
        max(moments),
        "" if first.state != State.UNCERTAIN or is_safe(first) else "What did happen happens a second time.",
    )


def is_safe(execution: Execution) -> bool:
    """Whether it may run again although a person errs who says that it did not happen: the request goes under a new key."""
    action = action_of(execution)
    return action is not None and action.replay in {Replay.CHECK, Replay.NATURAL}


def run(app: App, seen: Mapping[str, Iterable[str]], *, by: str, note: str) -> Ran:
    """Run executions again that still stand as they were seen.

    Args:
        seen: their ids, by how they stood (`Execution.standing`).
        note: how the person knows that the uncertain ones among them did not happen.

    """
    ran = Ran()
    for standing, ids in seen.items():
        rows = Execution.objects.filter(app=app, pk__in=list(ids)[:AT_ONCE]).select_related("subscriber")
        for row in rows.order_by("created_at", "pk"):
            before = row.state
            try:
                ran.executions.append((_again(row, standing, by=by, note=note), before))
            except NotPossible as reason:
                ran.left.append(str(reason))
    return ran


def _again(execution: Execution, seen: str, *, by: str, note: str) -> Execution:
    if execution.standing != seen:
        raise NotPossible(f"It has changed since you looked, and is “{words(execution).label}” now.")
    match State(execution.state):
        case State.WAITING:
            return decisions.try_now(execution, by=by)
        case State.UNCERTAIN:
            return decisions.decide(execution, Decision.RUN_AGAIN, by=by, note=note)
    return decisions.run_again(execution, by=by)
