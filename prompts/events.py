"""Record an event and plan its executions, in one transaction; say how an event stands."""

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils import timezone

from connectors.failures import Missing
from connectors.models import Connection
from engage import crash
from engage.prepared import PreparedInsert
from engage.tenancy.models import App, DeliveryMode
from prompts import at_hand, bell, bindings, forwarding, order, versions
from prompts.models import (
    IMPRESSION,
    NOTHING_HAPPENED,
    TAKES_LIMIT,
    Binding,
    EventSource,
    Execution,
    Interaction,
    LimitKind,
    LimitTaken,
    OnError,
    Prompt,
    PromptEvent,
    PromptStatus,
    PromptVersion,
    Reason,
    State,
)
from sync import traits
from sync.models import Subscriber

_insert_event = PreparedInsert(PromptEvent)
# Workers ask the database's clock what is due: by ours, an answer would wait for as long as that is ahead.
_insert_executions = PreparedInsert(Execution, now_or_never=["due_at"])
INTERACTIONS = frozenset({*Interaction.values, IMPRESSION})
LONGEST_INPUT = 1000
COUNTS_FOR = timedelta(hours=72)
"""How long a prompt's answers count after it ended or was paused: a browser sends again for as long."""
# Without letters and digits that people mix up when they read a reference out.
REFERENCE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"


class UnknownPrompt(LookupError):
    """The App has no prompt with this key."""


class UnknownInteraction(ValueError):
    """Neither one of the five interactions nor an impression."""


class Conflict(ValueError):
    """The event id is taken by another event."""


class BadInputs(ValueError):
    """What the person typed does not fit the prompt's inputs. `errors`: input name -> sentence."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__(" ".join(errors.values()))
        self.errors = errors


@dataclass(frozen=True)
class Report:
    """An event as it is reported. `version` is the prompt's version that was shown; `context` changes nothing.

    `address` and `user_agent` are the visitor's, as the server saw them; they are kept only where a forwarder asks for them.
    """

    event_id: UUID
    prompt: str
    interaction: str
    user_id: str
    version: int | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    address: str = ""
    user_agent: str = ""

    def digest(self) -> str:
        """Return what tells this event from another under the same id; a resend may come with another context."""
        told = [self.prompt, self.interaction, self.user_id, dict(self.inputs)]
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


class Recorded(NamedTuple):
    """An event as it was stored. Where it is new: what was planned for it, and the version whose bindings run."""

    event: PromptEvent
    is_new: bool
    planned: list[Execution] | None = None
    version: PromptVersion | None = None


def record(
    app: App,
    report: Report,
    *,
    source: EventSource = EventSource.API,
    reported_by: str = "",
    only: Iterable[Binding] | None = None,
    test: bool = False,
) -> Recorded:
    """Store an event and one execution for each of its bindings, and ring.

    Args:
        only: these bindings as they are now, instead of the shown version's (*Run for real* in the console).
        test: *Run for real*: whatever the delivery mode; the caller has made sure that it is a test subscriber.

    Raises:
        UnknownPrompt, UnknownInteraction, BadInputs: nothing was stored.
        Conflict: the same id was reported before with other contents.
        TraitError: the user id cannot be one.

    """
    found = at_hand.look(app, report.prompt, report.user_id)
    try:
        prompt, inputs = _checked(found.prompt, report)
    except (UnknownPrompt, UnknownInteraction, BadInputs):
        # What was stored is the same event still, though its prompt was archived or its inputs were changed since.
        if (known := _known(app, report.event_id, report.digest())) is not None:
            return Recorded(known, is_new=False)
        raise
    version: PromptVersion | None = None
    subscriber = found.subscriber or traits.subscriber(app, report.user_id)

    def plan(event: PromptEvent) -> list[Execution]:
        nonlocal version
        if report.interaction == IMPRESSION:
            return []
        event.limit_reached = (
            not test and report.interaction in TAKES_LIMIT and not take_limit(prompt, event, event.received_at)
        )
        if only is not None:
            chosen = [versions.as_kept(binding) for binding in only]
        else:
            version = versions.to_run(prompt, report.version, event.received_at, found.version)
            chosen = version.bindings
        ended = _not_sent(event, prompt)
        return [_planned(event, kept, ended) for kept in chosen if kept["interaction"] == report.interaction]

    event = PromptEvent(
        app=app,
        event_id=report.event_id,
        prompt=prompt,
        prompt_version=report.version or prompt.version,
        subscriber=subscriber,
        interaction=report.interaction,
        inputs=inputs,
        context=dict(report.context),
        digest=report.digest(),
        source=source,
        reported_by=reported_by,
        is_test=test or is_test_subscriber(subscriber),
    )
    forwarding.keep_visitor(event, report.address, report.user_agent, found.targets)
    stored = _store(event, plan, lambda event: forwarding.planned(event, found.targets, _not_served(event, prompt)))
    return stored._replace(version=version)


def _checked(prompt: Prompt | None, report: Report) -> tuple[Prompt, dict[str, Any]]:
    """Return the prompt that a report is about, and what the person typed, or raise what is wrong with it."""
    if report.interaction not in INTERACTIONS:
        raise UnknownInteraction(f"{report.interaction!r} is no interaction; known: {', '.join(sorted(INTERACTIONS))}.")
    if prompt is None:
        raise UnknownPrompt(f"This App has no prompt {report.prompt!r}.")
    return prompt, _clean_inputs(prompt, report)


def _known(app: App, event_id: UUID, digest: str) -> PromptEvent | None:
    """Return the event that has this id already, or None.

    Raises:
        Conflict: it is another one.
    """
    existing = PromptEvent.objects.filter(app=app, event_id=event_id).select_related("prompt").first()
    if existing is not None and existing.digest != digest:
        raise Conflict("This event id was used before, for another event. Every answer needs an id of its own.")
    return existing


def record_direct(
    app: App,
    connector: str,
    action: str,
    connection: Connection | None,
    user_id: str,
    inputs: Mapping[str, Any],
    *,
    source: EventSource,
    reported_by: str,
    test: bool = False,
) -> tuple[PromptEvent, Execution]:
    """Store an event without a prompt, and the execution of one action for it (`manage.py run_action`).

    Args:
        connection: the App's, where the connector needs one.

    Raises:
        TraitError: the user id cannot be one.

    """
    report = Report(uuid4(), "", Interaction.ACCEPT, user_id, inputs=inputs)
    event = PromptEvent(
        app=app,
        event_id=report.event_id,
        subscriber=traits.subscriber(app, user_id),
        interaction=report.interaction,
        inputs=dict(inputs),
        digest=report.digest(),
        source=source,
        reported_by=reported_by,
        is_test=test,
    )
    kept = {
        "id": None,
        "connector": connector,
        "action": action,
        "connection": str(connection.pk) if connection else None,
        "inputs": {name: {"from": "fixed", "value": value} for name, value in inputs.items()},
        "on_error": OnError.STOP,
        "position": 0,
    }
    stored = _store(event, lambda event: [_planned(event, kept)], lambda _: []).event
    return stored, stored.executions.get()


def is_test_subscriber(subscriber: Subscriber, now: datetime | None = None) -> bool:
    """Whether a subscriber is served in test mode."""
    ends = subscriber.test_until
    return subscriber.is_test and (ends is None or ends > (now or timezone.now()))


def take_limit(prompt: Prompt, event: PromptEvent, at: datetime) -> bool:
    """Take the subscriber's limit of a prompt for an event. Returns whether it was free; call inside a transaction."""
    if prompt.limit == LimitKind.NONE:
        return True
    _, taken = LimitTaken.objects.get_or_create(
        prompt=prompt, subscriber_id=event.subscriber_id, defaults={"event": event, "taken_at": at}
    )
    if taken or prompt.limit != LimitKind.EVERY_DAYS or not prompt.limit_days:
        return taken
    over = LimitTaken.objects.filter(
        prompt=prompt, subscriber_id=event.subscriber_id, taken_at__lte=at - timedelta(days=prompt.limit_days)
    )
    return over.update(event=event, taken_at=at) == 1


def give_limit_back(event_pk: int) -> None:
    """Give the limit back when every execution of an event ended without anything having happened."""
    happened = Execution.objects.filter(event=event_pk, is_forward=False, reruns=None).exclude(
        state__in=NOTHING_HAPPENED, may_have_acted=False
    )
    if not happened.exists():
        LimitTaken.objects.filter(event=event_pk).delete()


Plan = Callable[[PromptEvent], list[Execution]]


def _store(event: PromptEvent, plan: Plan, forwards: Plan) -> Recorded:
    """Insert event, executions and forwards, or find the event that has the id already."""
    event.mode = event.app.delivery_mode
    event.reference = "".join(secrets.choice(REFERENCE_ALPHABET) for _ in range(8))
    event.received_at = timezone.now()
    try:
        with transaction.atomic():
            _insert_event(event)
            executions = plan(event)
            _order(event, executions)
            if rows := [*executions, *forwards(event)]:
                _insert_executions(*rows)
            if executions:
                if event.limit_reached:
                    event.save(update_fields=["limit_reached"])
                elif all(execution.state in NOTHING_HAPPENED for execution in executions):
                    give_limit_back(event.pk)
                first = next((execution for execution in executions if execution.state == State.QUEUED), None)
                if first:
                    bell.ring_on_commit(first.pk)
            crash.point("event.written")
    except IntegrityError:
        existing = _known(event.app, event.event_id, event.digest)
        if existing is None:
            raise
        return Recorded(existing, is_new=False)
    return Recorded(event, is_new=True, planned=executions)


End = tuple[State, Reason, str]
"""Why an execution is at its end as soon as it is planned: state, reason, sentence."""


def _planned(event: PromptEvent, kept: Mapping[str, Any], ended: End | None = None) -> Execution:
    """Return the execution of a binding as it is frozen now: `ended`, or blocked until its turn is decided."""
    execution = Execution(
        app_id=event.app_id,
        event=event,
        subscriber_id=event.subscriber_id,
        binding_id=kept["id"],
        connection_id=UUID(kept["connection"]) if kept["connection"] else None,
        connector=kept["connector"],
        action=kept["action"],
        position=kept["position"],
        on_error=kept["on_error"],
        state=State.BLOCKED,
        created_at=event.received_at,
        expires_at=event.received_at + timedelta(hours=kept["max_age_hours"]) if "max_age_hours" in kept else None,
    )
    if ended:
        execution.state, execution.reason, execution.message = ended
    try:
        execution.inputs = bindings.resolve(kept["inputs"], traits.traits_of(event.subscriber), event.inputs)
    except Missing as missing:
        execution.inputs = bindings.fixed(kept["inputs"])
        if not ended:
            execution.state, execution.reason, execution.message = State.SKIPPED, Reason.MISSING, missing.message
    if execution.state != State.BLOCKED:
        execution.settled_at = event.received_at
    return execution


def _not_sent(event: PromptEvent, prompt: Prompt) -> End | None:
    """Why nothing of an event is sent, if so."""
    if event.limit_reached:
        return State.SKIPPED, Reason.LIMIT, "The limit per subscriber was reached: this person has accepted before."
    return _not_served(event, prompt)


def _not_served(event: PromptEvent, prompt: Prompt) -> End | None:
    """Why nothing leaves for this person or prompt, if so."""
    if event.source != EventSource.API:
        return None  # a person asked for it by name
    if event.mode == DeliveryMode.NOBODY:
        return State.NOT_SENT, Reason.MODE, "The App's delivery mode is “Nobody”."
    if event.is_test:
        return None  # also of a prompt that nobody is shown
    if event.mode == DeliveryMode.TEST:
        return State.NOT_SENT, Reason.MODE, "Test mode: this is no test subscriber."
    return _not_open(prompt, event.received_at)


def _not_open(prompt: Prompt, now: datetime) -> End | None:
    """Why a prompt's answers do not count, if so: it is not shown yet, or has not been for long."""
    if prompt.status == PromptStatus.DRAFT:
        return State.NOT_SENT, Reason.DRAFT, "The prompt is a draft."
    if prompt.starts_at and prompt.starts_at > now:
        return State.NOT_SENT, Reason.EARLY, "The prompt has not started yet."
    shown_after = now - COUNTS_FOR
    if prompt.ends_at and prompt.ends_at <= shown_after:
        return State.NOT_SENT, Reason.ENDED, "The prompt ended more than 72 hours before this answer."
    if prompt.status == PromptStatus.PAUSED and not versions.was_live(prompt, shown_after):
        return State.NOT_SENT, Reason.PAUSED, "The prompt was paused more than 72 hours before this answer."
    return None


def _order(event: PromptEvent, executions: list[Execution]) -> None:
    """Put the executions in order, and decide which one begins."""
    executions.sort(key=lambda execution: execution.position)
    for execution, state in order.changes(executions):
        execution.state = state
        if state is State.QUEUED:
            execution.due_at = event.received_at
        elif state is State.SKIPPED:
            execution.reason, execution.message = Reason.STOPPED, "An earlier action stopped it."
            execution.settled_at = event.received_at


def _clean_inputs(prompt: Prompt, report: Report) -> dict[str, Any]:
    """Return what the person typed, checked against the prompt's inputs; other names are left out.

    Raises:
        BadInputs: with a sentence for each.

    """
    errors: dict[str, str] = {}
    cleaned: dict[str, Any] = {}
    for declared in prompt.inputs:
        name, label = declared["name"], declared.get("label") or declared["name"]
        value = report.inputs.get(name)
        if value in (None, ""):
            if declared.get("required") and report.interaction in TAKES_LIMIT:
                errors[name] = f"{label} is needed."
            continue
        wrong = _wrong_input(declared, value)
        if wrong:
            errors[name] = f"{label} {wrong}"
        cleaned[name] = value
    if errors:
        raise BadInputs(errors)
    return cleaned


def _wrong_input(declared: Mapping[str, Any], value: Any) -> str:
    if not isinstance(value, (str, int, float)) or len(str(value)) > LONGEST_INPUT:
        return f"must be a text of at most {LONGEST_INPUT} characters."
    match declared.get("type"):
        case "email":
            try:
                validate_email(str(value))
            except ValidationError:
                return "must be an e-mail address."
        case "number":
            try:
                float(value)
            except ValueError:
                return "must be a number."
        case "choice":
            if str(value) not in declared.get("choices", []):
                return "must be one of the choices."
    return ""


# --- how an event stands ----------------------------------------------------------------------------


@dataclass(frozen=True)
class EventStatus:
    """How an event stands: `outcome` is done, follows, not_possible or nothing (there was nothing to do)."""

    settled: bool
    outcome: str
    executions: list[Execution]

    @property
    def rests(self) -> bool:
        """Whether nothing is to be waited for: it is settled, or the app has an instruction that it must follow first."""
        return self.settled or any(row.wants_report and row.report is None for row in self.executions)


SETTLED = frozenset({State.DONE, State.HANDED_OVER, *NOTHING_HAPPENED})


def status_of(event: PromptEvent, planned: list[Execution] | None = None) -> EventStatus:
    """Return how an event stands: as it was `planned` just now, or else with one query by its key."""
    if planned is None:
        planned = list(event.executions.filter(is_forward=False, reruns=None).order_by("position", "created_at"))
    rows = planned
    states = {State(row.state) for row in rows}
    settled = states <= SETTLED and not any(row.wants_report for row in rows)
    if not rows:
        outcome = "not_possible" if event.limit_reached else "nothing"
    elif not settled:
        outcome = "follows"
    else:
        outcome = "done" if states.isdisjoint(NOTHING_HAPPENED) else "not_possible"
    return EventStatus(settled, outcome, rows)


def shown_version(event: PromptEvent, at_hand: PromptVersion | None = None) -> PromptVersion | None:
    """Return the prompt as this event's person saw it; without a query where that is the version `at_hand`."""
    if event.prompt_version is None:
        return None
    if at_hand is not None and at_hand.number == event.prompt_version:
        return at_hand
    return PromptVersion.objects.filter(prompt=event.prompt_id, number=event.prompt_version).first()


def sent_ids(app: App, most: int) -> list[str]:
    """Return the user ids in the last `most` events that the App reported."""
    events = PromptEvent.objects.filter(app=app, source=EventSource.API).order_by("-received_at", "-id")[:most]
    return list(dict.fromkeys(events.values_list("subscriber__user_id", flat=True)))
