"""Subscribers' purchases read again at vendors that list them to nobody: whose, when, and how far a reading came.

A reading is a round (`sync.rounds`): for everybody who has the traits that the connector's `reread` needs, it carries that action
out. It only looks, so a person who was read before a worker died is read again; and as nothing leaves that could change
anything, the App's delivery mode does not matter. What is read is written as what any other look at the vendor showed: a newer
word about the same subject stays, and so does what is known of somebody who has another purchase by now.
"""

import time
from dataclasses import replace
from datetime import datetime

from django.db.models import Value
from django.db.models.functions import Now
from django.utils import timezone

from connectors import runner
from connectors.base import USER_ID, Action, Connector, Values
from connectors.http import secret_values
from connectors.journal import OnlyLooks
from connectors.models import Connection
from connectors.registry import connector_or_none
from connectors.rereads import is_on
from connectors.runner import Outcome, Result, Work
from sync import inbound, rounds, traits
from sync.models import RereadRun, RoundState, Subscriber

TASK = "sync.read_again"
NIGHTLY_HOUR = 2  # in the App's time zone: with the vendors that are read, and before traits are pushed
AT_ONCE = 50  # people whose rows are taken from the database together
ENOUGH = 20.0
"""Seconds after which a batch begins no other person: with the time of one attempt it stays within its lease."""
PATIENCE = 3
"""Tries after which a trouble may be this one person's: the next ones show whether the vendor answers at all."""
BEYOND = 4
"""People in a row beyond whom it is looked. So many in trouble are the vendor's trouble."""


def reread_of(connection: Connection) -> tuple[Connector, Action] | None:
    """Return how a person is read at a connection's vendor; None where nobody is."""
    declared = connector_or_none(connection.connector)
    return (declared, declared.reread()) if declared and declared.reread else None


def tick(now: datetime) -> None:
    """Note the readings whose night has come, and ring for what waits."""
    for connection in rounds.tonight("reread", NIGHTLY_HOUR, now, reread_of):
        if is_on(connection.settings):
            ask(connection, "Schedule")
    rounds.ring(RereadRun, TASK)


def ask(connection: Connection, by: str) -> RereadRun:
    """Return the reading that a worker is to carry out: the one under way, else a new one.

    Args:
        connection: where it is read.
        by: who asks, for people.

    """
    return rounds.begin(RereadRun, connection, by)


def work() -> int:
    """Carry out what is due until nothing is left. Returns how many readings were claimed."""
    return rounds.work(RereadRun, _one_batch)


def _one_batch(run: RereadRun) -> bool:
    """Read the next people and store how far that came. Returns whether to go on at once."""
    connection = Connection.objects.select_related("app").get(pk=run.connection_id)
    found = reread_of(connection)
    if found is None:
        return rounds.end(run, RoundState.FAILED, "This version of Engage does not read this any more.")
    if (values := rounds.opened(run, connection)) is None:
        return False
    declared, action = found
    rows = Subscriber.objects.filter(traits.meeting(action.needs), app=connection.app_id, pk__gt=run.cursor)
    people = list(rows.order_by("pk")[:AT_ONCE])
    if not people:
        return rounds.end(run, RoundState.DONE)
    rounds.store(run, due_at=Now() + Value(rounds.LEASE))  # nobody is read twice because a worker was slow
    outcomes = _read(run, connection, declared, action, values, people)
    return rounds.settle(run, connection, outcomes[-1][0], outcomes, secret_values(declared, values))


def _read(
    run: RereadRun,
    connection: Connection,
    declared: Connector,
    action: Action,
    values: Values,
    people: list[Subscriber],
) -> list[tuple[int, Outcome]]:
    """Read people until there is a trouble that may be the vendor's, or for long enough. Returns outcomes by their rows."""
    outcomes: list[tuple[int, Outcome]] = []
    until, tries, stuck = time.monotonic() + ENOUGH, run.tries, 0
    for person in people:
        outcome = _look(connection, declared, action, values, person)
        outcomes.append((person.pk, outcome))
        if outcome.result in rounds.THROUGH:
            tries = stuck = 0
        elif not _may_be_alone(outcome, tries) or (stuck := stuck + 1) > BEYOND:
            break
        if time.monotonic() > until:
            break
    return _looked_beyond(outcomes)


def _look(connection: Connection, declared: Connector, action: Action, values: Values, person: Subscriber) -> Outcome:
    """Read how one person's purchase stands, and write it."""
    began = timezone.now()
    work = Work(declared, action, values, person.traits, {}, account=connection, given={USER_ID: person.user_id})
    outcome = runner.run(work, OnlyLooks())
    if outcome.confirmed:
        asked_by = {name: value for name, value in person.traits.items() if name in action.needs.traits}
        inbound.confirmed(connection, person, outcome.confirmed, began, asked_by)
    return outcome


def _may_be_alone(outcome: Outcome, tries: int) -> bool:
    """Whether it may be this person's trouble alone: an odd answer may at once, one that does not come after some tries."""
    is_passing = outcome.result is Result.WAITING and outcome.spent
    return is_passing and (outcome.failed is False or tries >= PATIENCE)


def _looked_beyond(outcomes: list[tuple[int, Outcome]]) -> list[tuple[int, Outcome]]:
    """Give up those in trouble behind whom somebody else was answered: it was theirs alone, and they do not hold up the rest."""
    answered = [outcome.result in rounds.THROUGH and outcome.failed is False for _, outcome in outcomes]
    return [
        (pk, replace(outcome, result=Result.GAVE_UP))
        if outcome.result not in rounds.THROUGH and any(answered[place:])
        else (pk, outcome)
        for place, (pk, outcome) in enumerate(outcomes)
    ]
