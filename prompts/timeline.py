"""One execution told in order: the answer, the actions before and after it, attempts and waits, decisions, reports."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from prompts import live
from prompts.models import IMPRESSION, LOST, Attempt, EventSource, Execution, Interaction, PromptEvent, State
from prompts.states import STATES, sentence

REQUEST_ID_HEADERS = (
    "x-request-id",
    "request-id",
    "x-correlation-id",
    "x-amzn-requestid",
    "x-zendesk-request-id",
    "cf-ray",
)
"""Where vendors say under which id they know a request."""


@dataclass(frozen=True)
class Moment:
    """Something that happened (or will): `tone` is one of the tones of `prompts.states`."""

    at: datetime | None
    icon: str
    tone: str
    title: str
    text: str = ""
    execution: Execution | None = None  # another one that the title links to


def seconds(duration: timedelta) -> str:
    """Return a duration in words: "under 0.1 s", "0.8 s", "12 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"."""
    total = max(duration.total_seconds(), 0)
    if total < 10:
        return f"{total:.1f} s" if total >= 0.05 else "under 0.1 s"
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    whole = round(total)
    parts = []
    for name, size in units:
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count} {name}")
        elif parts:
            break
    return " ".join(parts[:2])


def took(execution: Execution) -> str:
    """Return how long it took from the answer to the end, or an empty text while it is open."""
    return seconds(execution.settled_at - execution.created_at) if execution.settled_at else ""


def interaction_label(event: PromptEvent) -> str:
    """Return the answer in a word: "Accept", "Shown"; for an action without a prompt, who asked for it."""
    if event.prompt_id is None:
        return "Command" if event.source == EventSource.COMMAND else "Console"
    if event.interaction == IMPRESSION:
        return "Shown"
    return dict(Interaction.choices).get(event.interaction, event.interaction)


def timeline(execution: Execution, attempts: list[Attempt]) -> list[Moment]:
    """Return what happened, oldest first.

    Args:
        attempts: those of `execution`, oldest first.

    """
    event = execution.event
    moments = [_answer(event), *_earlier_and_later(execution), *_tries(attempts)]
    if execution.rerun_of is not None:
        by = f"By {execution.rerun_of.decided_by}." if execution.rerun_of.decided_by else ""
        moments.append(
            Moment(execution.created_at, "replay", "neutral", "Runs an earlier one again", by, execution.rerun_of)
        )
    if execution.report is not None and execution.settled_at:
        moments.append(
            Moment(execution.settled_at, "smartphone", "neutral", f"The app reported: {_told(execution.report)}")
        )
    if execution.decided_at is not None:
        title = f"{execution.decided_by} decided"
        moments.append(Moment(execution.decided_at, "gavel", "neutral", title, execution.note))
    moments += [
        Moment(rerun.created_at, "replay", "neutral", "Run again as another execution", sentence(rerun), rerun)
        for rerun in execution.reruns.all()
    ]
    moments.sort(key=lambda moment: moment.at or event.received_at)
    return [*moments, *_end(execution, attempts)]


def _answer(event: PromptEvent) -> Moment:
    if event.prompt is None:
        by = f"By {event.reported_by}." if event.reported_by else ""
        return Moment(
            event.received_at, "terminal", "neutral", f"Asked for in the {event.get_source_display().lower()}", by
        )
    title = f"{event.subscriber} answered “{interaction_label(event)}” to {event.prompt}"
    if event.interaction == IMPRESSION:
        title = f"{event.subscriber} was shown {event.prompt}"
    said = f"Version {event.prompt_version}. " if event.prompt_version else ""
    by = f", by {event.reported_by}" if event.reported_by else ""
    return Moment(event.received_at, "ads_click", "neutral", title, f"{said}{event.get_source_display()}{by}.")


def _earlier_and_later(execution: Execution) -> Iterator[Moment]:
    if execution.is_forward:
        return  # it stands outside their order
    others = execution.event.executions.filter(is_forward=False).exclude(pk=execution.pk).exclude(rerun_of=execution.pk)
    if execution.rerun_of_id is not None:
        others = others.exclude(pk=execution.rerun_of_id)
    for other in others.order_by("position", "created_at"):
        words = STATES[State(other.state)]
        place = (
            "Earlier" if (other.position, other.created_at) < (execution.position, execution.created_at) else "Later"
        )
        title = f"{place} action of this answer: {live.action_label(other)}: {words.label}"
        yield Moment(other.settled_at or other.created_at, words.icon, words.tone, title, sentence(other), other)


def names(attempts: list[Attempt]) -> list[str]:
    """Return what each attempt is called, oldest first: numbered through, since `number` begins anew when one is run again."""
    found: list[str] = []
    before: Attempt | None = None
    count = 0
    for attempt in attempts:
        is_look = before is not None and before.outcome == State.PENDING and before.number == attempt.number
        count += not is_look
        found.append("Asked the vendor" if is_look else f"Attempt {count}")
        before = attempt
    return found


def _tries(attempts: list[Attempt]) -> Iterator[Moment]:
    before: Attempt | None = None
    for attempt, name in zip(attempts, names(attempts), strict=True):
        waited = f"Waited {seconds(attempt.started_at - before.finished_at)}. " if before and before.finished_at else ""
        before = attempt
        if attempt.outcome == LOST:
            text = "A write had left." if attempt.write_begun_at else "Nothing had been sent."
            yield Moment(attempt.started_at, "link_off", "warning", f"{name}: its worker stopped", waited + text)
        elif attempt.finished_at is None:
            text = "A write has left; its answer is not here yet." if attempt.write_begun_at else ""
            yield Moment(attempt.started_at, "sync", "busy", f"{name} is under way", waited + text)
        else:
            words = STATES[State(attempt.outcome)]
            lasted = seconds(attempt.finished_at - attempt.started_at)
            text = f"{waited}{attempt.message} ({lasted})"
            yield Moment(attempt.started_at, words.icon, words.tone, f"{name}: {words.label}", text)


def _end(execution: Execution, attempts: list[Attempt]) -> Iterator[Moment]:
    words = STATES[State(execution.state)]
    if execution.state in {State.WAITING, State.PENDING} and execution.due_at:
        verb = "Next try" if execution.state == State.WAITING else "Asked again"
        yield Moment(execution.due_at, words.icon, words.tone, verb)
    elif execution.state == State.HANDED_OVER and execution.due_at:
        yield Moment(execution.due_at, words.icon, words.tone, "Until then a report of the app is waited for")
    else:
        # The last attempt may have said it already.
        told = bool(attempts) and attempts[-1].outcome == execution.state and attempts[-1].message == execution.message
        text = "" if told else sentence(execution)
        if execution.settled_at:
            yield Moment(execution.settled_at, words.icon, words.tone, f"{words.label}, after {took(execution)}", text)
        elif text:
            yield Moment(None, words.icon, words.tone, words.label, text)


def _told(report: Any) -> str:
    return str(report.get("result", "something")) if isinstance(report, dict) else str(report)


def request_id(exchange: dict[str, Any]) -> str:
    """Return the id under which the vendor knows a request, or an empty text."""
    headers = {name.lower(): value for name, value in (exchange.get("answer_headers") or {}).items()}
    return next((str(headers[name]) for name in REQUEST_ID_HEADERS if headers.get(name)), "")


def for_vendor_support(execution: Execution, attempts: list[Attempt], *, personal: bool) -> str:
    """Return a text to send to a vendor's support: when, what, which answer; of the person nothing but ids in paths.

    Query strings and bodies are left out, and so is a path segment that looks like an e-mail address. Without `personal`
    whole paths are, for those who may not see the ids either.
    """
    place = _without_person if personal else _host
    lines = [
        f"{live.environment(execution)}: {live.action_label(execution)}",
        f"Our id: {execution.pk}",
        f"State: {STATES[State(execution.state)].label}",
    ]
    for attempt, name in zip(attempts, names(attempts), strict=True):
        lines += ["", f"{name}, {attempt.started_at:%Y-%m-%d %H:%M:%S} UTC"]
        for exchange in _exchanges(attempt):
            if not exchange.get("sent"):
                lines.append(f"  {exchange['method']} {place(exchange['url'])}: not sent")
                continue
            answer = f"answer {exchange['status']}" if exchange.get("status") else "no answer"
            lasted = f" after {exchange['ms']} ms" if exchange.get("ms") is not None else ""
            lines.append(f"  {exchange['method']} {place(exchange['url'])}: {answer}{lasted}")
            if found := request_id(exchange):
                lines.append(f"    your request id: {found}")
    return "\n".join(lines)


def _exchanges(attempt: Attempt) -> list[dict[str, Any]]:
    body = getattr(attempt, "body", None)
    return list(body.exchanges) if body else []


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _without_person(url: str) -> str:
    parts = urlsplit(url)
    path = "/".join("[e-mail]" if "@" in unquote(segment) else segment for segment in parts.path.split("/"))
    return f"{_host(url)}{path}"
