"""The words for the states of an execution: label, icon, sentence, and what a person may do about it."""

from dataclasses import dataclass
from enum import StrEnum

from prompts.models import Execution, State


class Button(StrEnum):
    """What a person may do with an execution; each is a function of `prompts.executions`."""

    TRY_NOW = "Try now"
    STOP_TRYING = "Stop trying"
    CHECK_NOW = "Check now"
    OPEN_CONNECTION = "Open connection"
    RUN_AGAIN = "Run again"
    IT_HAPPENED = "It happened"
    CLOSE = "Close"


@dataclass(frozen=True)
class StateWords:
    """How a state is shown: `icon` is a Material symbol, `tone` one of neutral, busy, good, warning, bad."""

    label: str
    icon: str
    tone: str
    buttons: tuple[Button, ...] = ()


STATES: dict[State, StateWords] = {
    State.QUEUED: StateWords("Queued", "schedule", "busy"),
    State.RUNNING: StateWords("Running", "sync", "busy"),
    State.WAITING: StateWords("Will retry", "update", "warning", (Button.TRY_NOW, Button.STOP_TRYING)),
    State.PENDING: StateWords("Vendor is working", "hourglass_top", "busy", (Button.CHECK_NOW,)),
    State.HELD: StateWords("On hold", "pause_circle", "warning", (Button.OPEN_CONNECTION, Button.STOP_TRYING)),
    State.BLOCKED: StateWords("Waits for its turn", "low_priority", "neutral"),
    State.HANDED_OVER: StateWords("Sent to the app", "send_to_mobile", "good"),
    State.DONE: StateWords("Done", "check_circle", "good"),
    State.SKIPPED: StateWords("Skipped", "skip_next", "neutral", (Button.RUN_AGAIN,)),
    State.REJECTED: StateWords("Refused", "block", "bad", (Button.RUN_AGAIN,)),
    State.UNCERTAIN: StateWords("Needs checking", "help", "bad", (Button.IT_HAPPENED, Button.RUN_AGAIN, Button.CLOSE)),
    State.GAVE_UP: StateWords("Gave up", "cancel", "bad", (Button.RUN_AGAIN,)),
    State.NOT_SENT: StateWords("Not sent", "do_not_disturb_on", "neutral", (Button.RUN_AGAIN,)),
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
    if state is State.RUNNING:
        return f"Attempt {execution.attempts_made + 1} is under way."
    return execution.message or FALLBACK.get(state, STATES[state].label + ".")
