"""What may be done with an execution as it stands: the buttons of its page, and what each of them does."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from connectors.registry import action_of
from engage.tenancy.roles import Right
from prompts import again, decisions, live
from prompts.decisions import RUNS_AGAIN, Decision
from prompts.models import Execution, Reason, State


@dataclass(frozen=True)
class Verb:
    """Something that a person may do: its button, what the history (`past`) and the person (`said`) read of it, and how.

    `note` says whether the person is asked for one: "", "optional" or "required".
    """

    key: str
    label: str
    icon: str
    right: Right
    past: str
    said: str
    do: Callable[[Execution, str, str], Execution]  # with who does it, and their note
    note: str = ""
    primary: bool = False


TRY_NOW = Verb(
    "try-now",
    "Try now",
    "play_arrow",
    Right.RUN_AGAIN,
    past="tried at once",
    said="It is tried now.",
    do=lambda execution, by, _: decisions.try_now(execution, by=by),
    primary=True,
)
CHECK_NOW = Verb(
    "check-now",
    "Check now",
    "refresh",
    Right.RUN_AGAIN,
    past="checked at once",
    said="The vendor is asked now.",
    do=lambda execution, *_: decisions.check_now(execution),
    primary=True,
)
STOP_TRYING = Verb(
    "stop-trying",
    "Stop trying",
    "stop_circle",
    Right.RUN_AGAIN,
    past="stopped trying",
    said="It will not be tried again.",
    do=lambda execution, by, note: decisions.stop_trying(execution, by=by, note=note),
    note="optional",
)
RUN_AGAIN = Verb(
    "run-again",
    "Run again as it was",
    "replay",
    Right.RUN_AGAIN,
    past="ran again",
    said="It runs again.",
    do=lambda execution, by, _: decisions.run_again(execution, by=by),
    primary=True,
)
SEND_AGAIN = replace(RUN_AGAIN, label="Send again")
RUN_AGAIN_TODAY = Verb(
    "run-again-today",
    "Run again with today's settings",
    "restart_alt",
    Right.RUN_AGAIN,
    past="ran again with today's settings",
    said="It runs again, as this new execution.",
    do=lambda execution, by, _: decisions.run_again(execution, by=by, todays_settings=True),
)
IT_HAPPENED = Verb(
    "it-happened",
    "It happened",
    "check_circle",
    Right.DECIDE_UNCERTAIN,
    past="decided: it happened",
    said="Recorded as done.",
    do=lambda execution, by, note: decisions.decide(execution, Decision.HAPPENED, by=by, note=note),
    note="required",
)
RUN_UNDECIDED = Verb(
    "run-undecided",
    "Run again",
    "replay",
    Right.DECIDE_UNCERTAIN,
    past="decided: run again",
    said="It runs again.",
    do=lambda execution, by, note: decisions.decide(execution, Decision.RUN_AGAIN, by=by, note=note),
    note="required",
)
CLOSE = Verb(
    "close",
    "Close",
    "archive",
    Right.DECIDE_UNCERTAIN,
    past="decided: closed",
    said="Closed.",
    do=lambda execution, by, note: decisions.decide(execution, Decision.CLOSE, by=by, note=note),
    note="required",
)


@dataclass(frozen=True)
class Offer:
    """A verb for one execution, and what the dialog says before it is done."""

    verb: Verb
    text: str
    warning: str = ""


def offers(execution: Execution) -> list[Offer]:
    """Return what may be done with an execution as it stands."""
    where, what, who = live.environment(execution), live.action_label(execution), execution.subscriber.user_id
    doing = f"“{what}” for {who} in {where}"
    match State(execution.state):
        case State.WAITING:
            return [Offer(TRY_NOW, f"Tries {doing} at once instead of waiting."), _stop(execution, doing)]
        case State.PENDING:
            asks = f"Asks {where} at once what became of “{what}” for {who}. Nothing is changed there."
            return [Offer(CHECK_NOW, asks)]
        case State.HELD:
            return [*_lets_go(execution, doing), _stop(execution, doing)]
        case State.UNCERTAIN:
            return _decisions(execution, doing)
        case state if state in RUNS_AGAIN:
            return _runs_again(execution, doing)
    return []


def _lets_go(execution: Execution, doing: str) -> list[Offer]:
    """What is held is carried out on a person's word, unless its connection keeps it."""
    if not decisions.waits_for_a_person(execution):
        return []
    return [Offer(TRY_NOW, f"Carries out {doing} now, all the same.")]


def _stop(execution: Execution, doing: str) -> Offer:
    text = (
        f"{doing} is not tried again and ends as Closed. Where the prompt says Stop, the actions after it are skipped."
    )
    if execution.job is not None:
        text = f"{doing} is not asked about again. It had been accepted, so it will need checking."
    elif execution.may_have_acted:
        text = f"{doing} is not tried again. An earlier try may have acted, so it will need checking."
    return Offer(STOP_TRYING, text)


def _runs_again(execution: Execution, doing: str) -> list[Offer]:
    if execution.is_forward:
        lost = execution.reason == Reason.LOST_ANSWER
        twice = "It may have arrived, and would be counted twice." if lost else ""
        return [Offer(SEND_AGAIN, f"Sends {doing} with the next batch.", twice)]
    as_it_was = Offer(RUN_AGAIN, f"Carries out {doing} with the inputs as they were when the person answered.")
    if execution.may_have_acted or execution.binding is None:
        return [as_it_was]
    todays = f"Carries out {doing} as a new execution, with the inputs that the prompt has today."
    return [as_it_was, Offer(RUN_AGAIN_TODAY, todays)]


def _decisions(execution: Execution, doing: str) -> list[Offer]:
    action = action_of(execution)
    once_more, twice = f"Carries out {doing} once more.", "If it did happen, it happens a second time."
    if action is not None and again.is_safe(execution):
        once_more, twice = f"{once_more} {action.replay.in_words}", ""
    return [
        Offer(IT_HAPPENED, f"Records that {doing} was carried out. Nothing is sent; the actions after it go on."),
        Offer(RUN_UNDECIDED, once_more, twice),
        Offer(
            CLOSE,
            f"Ends {doing} as Closed. Nothing is sent. Where the prompt says Stop, the actions after it are skipped.",
        ),
    ]
