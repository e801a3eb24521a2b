"""The words for the states of an execution: label, icon and sentence."""

from dataclasses import dataclass

from connectors import breaker
from prompts.models import Execution, State


@dataclass(frozen=True)
class StateWords:
    """How a state is shown: `icon` is a Material symbol, `tone` one of neutral, busy, good, warning, bad."""

    label: str
    icon: str
    tone: str


STATES: dict[State, StateWords] = {
    State.QUEUED: StateWords("Queued", "schedule", "busy"),
    State.RUNNING: StateWords("Running", "sync", "busy"),
    State.WAITING: StateWords("Will retry", "update", "warning"),
    State.PENDING: StateWords("Vendor is working", "hourglass_top", "busy"),
    State.HELD: StateWords("On hold", "pause_circle", "warning"),
    State.BLOCKED: StateWords("Waits for its turn", "low_priority", "neutral"),
    State.HANDED_OVER: StateWords("Sent to the app", "send_to_mobile", "good"),
    State.DONE: StateWords("Done", "check_circle", "good"),
    State.SKIPPED: StateWords("Skipped", "skip_next", "neutral"),
    State.REJECTED: StateWords("Refused", "block", "bad"),
    State.UNCERTAIN: StateWords("Needs checking", "help", "bad"),
    State.GAVE_UP: StateWords("Gave up", "cancel", "bad"),
    State.NOT_SENT: StateWords("Not sent", "do_not_disturb_on", "neutral"),
    State.CLOSED: StateWords("Closed", "archive", "neutral"),
}

FALLBACK: dict[State, str] = {
    State.QUEUED: "Starts within seconds.",
    State.BLOCKED: "An earlier action of this answer is not at its end.",
    State.HANDED_OVER: "The app carries this out; it has not reported back.",
}


def words(execution: Execution) -> StateWords:
    """Return how the state of `execution` is shown."""
    return STATES[State(execution.state)]


def sentence(execution: Execution) -> str:
    """Return what a person reads about `execution`: what was said when it came into its state, or what the state means."""
    state = State(execution.state)
    account = execution.connection
    if state is State.QUEUED and account is not None and account.closed_until is not None:
        return breaker.sentence(account)
    if state is State.RUNNING:
        return "An attempt is under way."
    return execution.message or FALLBACK.get(state, STATES[state].label + ".")
