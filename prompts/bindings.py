"""Actions attached to a prompt's interactions: what a designer does with them, and what their inputs are in the end.

Every change locks the prompt's row, so that two people who order the same lane at once leave one order behind, publishes
a new version of the prompt and goes into the history, in one transaction.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from connectors import breaker, catalogues, runner
from connectors.base import RESOLVED, Action, CatalogueField, Connector, Values
from connectors.failures import Failure, Missing, Rejected
from connectors.http import Api
from connectors.journal import OnlyLooks
from connectors.models import CatalogueEntry, Connection
from connectors.registry import declaration
from engage.audit.record import Changes, differences, record, snapshot
from engage.schedules import slots
from engage.tenancy.models import App
from engage.vault.fields import Unreadable
from prompts import versions
from prompts.models import Binding, Interaction, Prompt

logger = logging.getLogger(__name__)

NIGHTLY_HOUR = 4  # in the App's time zone: after the vendors' rows were read
CHECK_TIMEOUT = 10.0
"""Seconds for which saving an action waits for the vendor."""
SETTINGS = ["inputs", "on_error", "daily_limit", "max_age_hours"]
"""What the dialog edits; the history compares it."""


# --- what an answer gives to an action ------------------------------------------------------------------------------------


def resolve(inputs: Mapping[str, Any], traits: Mapping[str, Any], form_inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return input name -> value for one answer.

    Args:
        inputs: a binding's inputs: name -> {"from": "fixed", "value": ...}, {"from": "trait", "name": ...} or
            {"from": "input", "name": ...}; the last two with "optional": true where the action can do without. What the
            vendor had for them when they were saved is {"from": "resolved", "value": ...}.
        traits: what is known of the subscriber.
        form_inputs: what the person typed into the prompt.

    Raises:
        Missing: a trait or form input is not there; the message names it.

    """
    return {name: _value(name, source, traits, form_inputs) for name, source in inputs.items()}


def _value(name: str, source: Mapping[str, Any], traits: Mapping[str, Any], form_inputs: Mapping[str, Any]) -> Any:
    if source.get("from") in {"fixed", "resolved"}:
        return source.get("value")
    known, sentence = {
        "trait": (traits, f"No {source.get('name')} is known of this subscriber."),
        "input": (form_inputs, f"The answer came without “{source.get('name')}”."),
    }.get(str(source.get("from")), ({}, f"“{name}” has no value."))
    value = known.get(str(source.get("name")))
    if value in (None, ""):
        if source.get("optional"):
            return ""
        raise Missing(sentence)
    return value


def fixed(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the inputs that are the same for everybody."""
    return {name: source.get("value") for name, source in inputs.items() if source.get("from") == "fixed"}


# --- what is declared of a binding ----------------------------------------------------------------------------------------


def title(binding: Binding) -> str:
    """E.g. "Cleeng: Apply coupon"."""
    found = declaration(binding)
    return f"{found[0].label}: {found[1].label}" if found else f"{binding.connector}: {binding.action}"


@dataclass(frozen=True)
class InputWords:
    """One input as the panel shows it."""

    label: str
    text: str
    is_fixed: bool


def in_words(binding: Binding, entries: "Entries") -> list[InputWords]:
    """Return a binding's inputs as people read them, in the form's order; a catalogue's choice by the vendor's name for it."""
    found = declaration(binding)
    fields = found[1].Inputs().fields if found else {}
    words = []
    for name in dict.fromkeys([*fields, *binding.inputs]):  # a database may keep the inputs in an order of its own
        source = binding.inputs.get(name)
        if source is None or name == RESOLVED:
            continue
        field = fields.get(name)
        label = str((field.label if field else None) or name.replace("_", " ").capitalize())
        if source.get("from") == "trait":
            words.append(InputWords(label, f"the trait {source.get('name')}", is_fixed=False))
        elif source.get("from") == "input":
            words.append(InputWords(label, f"what the person enters as “{source.get('name')}”", is_fixed=False))
        elif source.get("value") not in (None, ""):
            words.append(InputWords(label, _fixed_words(field, source["value"], binding, entries), is_fixed=True))
    return words


def _fixed_words(field: Any, value: Any, binding: Binding, entries: "Entries") -> str:
    if isinstance(field, CatalogueField):
        entry = entries.get((binding.connection_id, field.catalogue, str(value)))
        return catalogues.label(entry) if entry else str(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    choices = dict(getattr(field, "choices", ()) or ())
    return str(choices.get(value, value))


# --- what is wrong with it ------------------------------------------------------------------------------------------------

Entries = Mapping[tuple[Any, str, str], CatalogueEntry]
"""Rows of catalogues by connection, catalogue and key."""


def entries_of(bindings: Iterable[Binding]) -> Entries:
    """Return the catalogue rows that these bindings chose, in one query."""
    wanted = {
        (binding.connection_id, field.catalogue, str(binding.inputs[name].get("value")))
        for binding in bindings
        for name, field in _catalogue_fields(binding)
    }
    rows = CatalogueEntry.objects.filter(
        connection__in={connection for connection, _, _ in wanted}, key__in={key for _, _, key in wanted}
    )
    return {(row.connection_id, row.catalogue, row.key): row for row in rows} if wanted else {}


def _catalogue_fields(binding: Binding) -> Iterator[tuple[str, CatalogueField]]:
    found = declaration(binding)
    for name, field in (found[1].Inputs.base_fields if found else {}).items():
        source = binding.inputs.get(name, {})
        if isinstance(field, CatalogueField) and source.get("from") == "fixed" and source.get("value"):
            yield name, field


def health(binding: Binding) -> str:
    """Return what keeps the binding's connection from being called, as a sentence, or ""."""
    connection = binding.connection
    found = declaration(binding)
    if found is None:
        return "This action is no longer part of the product. Remove it."
    if not found[0].needs_connection:
        return ""
    if connection is None:
        return f"{found[0].label} is not set up."
    if connection.archived_at:
        return f"“{connection}” is archived. An administrator can bring it back; or choose another action."
    if not connection.active:
        return "This connection is off: actions are kept on hold until an administrator switches it on."
    if connection.needs_attention(found[1].part):
        return connection.attention or "This connection needs attention."
    if connection.closed_until is not None:
        return breaker.sentence(connection)
    return ""


def problems(binding: Binding, entries: Entries) -> list[str]:
    """Return what is wrong with a binding, as sentences.

    Its connection, the last check's words, a vanished choice, or a value that the prompt no longer asks for.
    """
    found = [sentence for sentence in (health(binding), binding.problem) if sentence]
    for name, field in _catalogue_fields(binding):
        value = str(binding.inputs[name]["value"])
        entry = entries.get((binding.connection_id, field.catalogue, value))
        if entry is None or entry.vanished_at is not None:
            shown = entry.label if entry else value
            found.append(f"“{shown}” is no longer offered by the vendor. Choose another in “{field.label or name}”.")
    return [*found, *_no_longer_asked(binding)]


def _no_longer_asked(binding: Binding) -> Iterator[str]:
    """Say which inputs wait for something that the prompt asks nobody for."""
    asked = {row["name"] for row in binding.prompt.inputs}
    found = declaration(binding)
    fields = found[1].Inputs.base_fields if found else {}
    for name, source in binding.inputs.items():
        if source.get("from") == "input" and source.get("name") not in asked:
            label = (fields[name].label if name in fields else None) or name
            yield f"The prompt does not ask for “{source.get('name')}” any more, so “{label}” stays empty."


def problems_by_prompt(app: App) -> dict[int, list[str]]:
    """Return prompt id -> what is wrong with its enabled actions, for the prompts of `app` that have a problem."""
    rows = list(
        Binding.objects.filter(prompt__app=app, prompt__archived_at=None, archived_at=None, enabled=True)
        .select_related("connection", "prompt")
        .order_by("prompt_id", "position")
    )
    entries = entries_of(rows)
    found: dict[int, list[str]] = {}
    for binding in rows:
        for sentence in problems(binding, entries):
            found.setdefault(binding.prompt_id, []).append(f"{title(binding)}: {sentence}")
    return found


# --- what a designer does -------------------------------------------------------------------------------------------------


def lane(prompt: Prompt, interaction: str) -> list[Binding]:
    """Return the actions of one interaction in their order."""
    return list(
        prompt.bindings.filter(interaction=interaction, archived_at=None)
        .select_related("connection")
        .order_by("position", "id")
    )


@contextmanager
def _changing(prompt: Prompt, request: HttpRequest) -> Iterator[None]:
    """One change of a prompt's actions: nobody else changes them meanwhile, and what results is a new version."""
    by = request.user.get_username()
    with transaction.atomic():
        Prompt.objects.select_for_update().get(pk=prompt.pk)
        yield
        Prompt.objects.filter(pk=prompt.pk).update(updated_at=timezone.now(), updated_by=request.user)
        versions.publish(prompt, by)


def _record(verb: str, binding: Binding, request: HttpRequest, changes: Changes | None = None) -> None:
    where = f"{binding.prompt.name}, {Interaction(binding.interaction).label}: {title(binding)}"
    record(verb, binding, changes, request=request, label=where)


def _number(rows: list[Binding]) -> None:
    """Store the order of a lane as 1, 2, 3."""
    for position, binding in enumerate(rows, start=1):
        if binding.position != position:
            binding.position = position
            Binding.objects.filter(pk=binding.pk).update(position=position)


def add(binding: Binding, request: HttpRequest) -> Binding:
    """Store a new binding at the end of its lane."""
    with _changing(binding.prompt, request):
        rows = lane(binding.prompt, binding.interaction)
        binding.position = len(rows) + 1
        binding.save(force_insert=True)
        _number([*rows, binding])
        _record(
            "added an action",
            binding,
            request,
            {name: [None, value] for name, value in snapshot(binding, SETTINGS).items()},
        )
    return binding


def edit(binding: Binding, request: HttpRequest) -> Binding:
    """Store what the dialog changed of a binding."""
    with _changing(binding.prompt, request):
        before = snapshot(Binding.objects.get(pk=binding.pk), SETTINGS)
        binding.save(update_fields=[*SETTINGS, "problem", "checked_at", "updated_at"])
        _record("changed an action", binding, request, differences(before, snapshot(binding, SETTINGS)))
    return binding


def place(binding: Binding, interaction: str, index: int, request: HttpRequest) -> None:
    """Put a binding at `index` (from 0) of a lane, of its own or of another."""
    with _changing(binding.prompt, request):
        binding.refresh_from_db(fields=["interaction", "position"])
        before = snapshot(binding, ["interaction", "position"])
        rest = [row for row in lane(binding.prompt, interaction) if row.pk != binding.pk]
        left = binding.interaction
        if left != interaction:
            binding.interaction = interaction
            Binding.objects.filter(pk=binding.pk).update(interaction=interaction)
            _number(lane(binding.prompt, left))
        rest.insert(max(0, min(index, len(rest))), binding)
        _number(rest)
        _record(
            "moved an action", binding, request, differences(before, snapshot(binding, ["interaction", "position"]))
        )


def move(binding: Binding, steps: int, request: HttpRequest) -> None:
    """Move a binding down by `steps` in its lane (up, when negative), as far as there is room."""
    with transaction.atomic():
        # The place is read under the lock that `place` takes again: two people who move at once both move.
        Prompt.objects.select_for_update().get(pk=binding.prompt_id)
        binding.refresh_from_db(fields=["interaction", "position"])
        keys = [row.pk for row in lane(binding.prompt, binding.interaction)]
        place(binding, binding.interaction, max(0, keys.index(binding.pk) + steps), request)


def copy(binding: Binding, interaction: str, request: HttpRequest) -> Binding:
    """Add a copy of a binding at the end of a lane."""
    again = Binding(
        prompt=binding.prompt,
        interaction=interaction,
        connector=binding.connector,
        action=binding.action,
        connection=binding.connection,
        enabled=binding.enabled,
        problem=binding.problem,
        checked_at=binding.checked_at,
        **{name: getattr(binding, name) for name in SETTINGS},
    )
    return add(again, request)


def switch(binding: Binding, request: HttpRequest, *, on: bool) -> None:
    """Switch a binding on or off; off, it keeps its place and its inputs."""
    with _changing(binding.prompt, request):
        if Binding.objects.filter(pk=binding.pk, enabled=not on).update(enabled=on, updated_at=timezone.now()):
            binding.enabled = on
            _record(
                "switched an action on" if on else "switched an action off", binding, request, {"enabled": [not on, on]}
            )


def archive(binding: Binding, request: HttpRequest) -> None:
    """Take a binding out of its lane. The row stays: executions point to it."""
    with _changing(binding.prompt, request):
        if Binding.objects.filter(pk=binding.pk, archived_at=None).update(archived_at=timezone.now()):
            _number(lane(binding.prompt, binding.interaction))
            _record("removed an action", binding, request)


def duplicate(prompt: Prompt, request: HttpRequest) -> Prompt:
    """Make a draft with the texts and actions of `prompt`, under a key that is free."""
    taken = set(Prompt.objects.filter(app=prompt.app, key__startswith=prompt.key[:50]).values_list("key", flat=True))
    suffixes = ("-copy", *(f"-copy-{number}" for number in range(2, len(taken) + 3)))
    key = next(key for suffix in suffixes if (key := prompt.key[: 60 - len(suffix)] + suffix) not in taken)
    bindings = prompt.bindings.filter(archived_at=None).order_by("position", "id")
    with transaction.atomic():
        again = Prompt.objects.get(pk=prompt.pk)
        again.pk, again.key, again.name = None, key, f"{prompt.name} (copy)"[:120]
        again.status, again.archived_at = "draft", None
        again.updated_by = request.user  # type: ignore[assignment]  # behind a page of the console it is a User
        again._state.adding = True  # noqa: SLF001 - Django's documented way to copy a row
        again.save()
        for binding in bindings:
            binding.pk, binding.prompt = None, again
            binding._state.adding = True  # noqa: SLF001 - as above
            binding.save()
        versions.publish(again, request.user.get_username())
        record("duplicated", again, {"from": [None, prompt.key]}, request=request)
    return again


# --- what the vendor says of its inputs -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """What came of asking the vendor: what it refuses for certain, why it could not be asked, what it has for the inputs."""

    refused: tuple[str, ...] = ()
    unchecked: str = ""
    resolved: Values | None = None

    def complete(self, inputs: Mapping[str, Any], connection: Connection | None) -> dict[str, Any]:
        """Return a binding's inputs with what was resolved of them, in place of what was resolved before."""
        typed = {name: source for name, source in inputs.items() if name != RESOLVED}
        if not self.resolved:
            return typed
        return {**typed, RESOLVED: {"from": "resolved", "value": runner.as_resolved(self.resolved, connection)}}


def check(connector: Connector, action: Action, connection: Connection | None, inputs: Mapping[str, Any]) -> Check:
    """Ask the vendor whether fixed inputs are valid, and what it has for them. Not asked where the action does neither."""
    if why := action.unavailable(connection.settings if connection else {}):
        return Check(refused=(why,))
    values = fixed(inputs)
    kind = type(action)
    asks = kind.check_inputs is not Action.check_inputs or kind.resolve_inputs is not Action.resolve_inputs
    if not asks or not values:
        return Check()
    try:
        settings = connection.everything() if connection is not None else {}
        with Api(connector, settings, OnlyLooks(CHECK_TIMEOUT), connection) as api:
            if refused := action.check_inputs(api, values):
                return Check(refused=tuple(refused))
            return Check(resolved=action.resolve_inputs(api, values) or None)
    except Rejected as refusal:
        return Check(refused=(refusal.message,))
    except Failure as failure:
        why = failure.message
    except Unreadable:
        why = "The stored secrets cannot be opened."
    except Exception as error:
        logger.exception("The check of inputs of %s.%s failed", connector.key, action.key)
        why = f"The connector failed while asking ({type(error).__name__})."
    shown = ", ".join(value for value in values.values() if isinstance(value, str) and value)
    return Check(unchecked=f"Could not check {shown or action.label}. {why} It is checked again tonight.")


def as_stored(result: Check) -> tuple[str, datetime | None]:
    """Return what a binding keeps of a check: `problem`, and when the vendor last answered."""
    problem = " ".join(result.refused) or result.unchecked
    return problem, None if result.unchecked else timezone.now()


def recheck(app: App) -> int:
    """Ask the vendors again about the fixed inputs of an App's enabled actions. Returns how many have a problem."""
    rows = Binding.objects.filter(
        prompt__app=app, prompt__archived_at=None, archived_at=None, enabled=True, connection__active=True
    ).select_related("connection")
    bad = 0
    for binding in list(rows):
        found = declaration(binding)
        if found is None:
            continue
        result = check(*found, binding.connection, binding.inputs)
        problem, checked_at = as_stored(result)
        bad += bool(problem)
        # Only where the inputs are still those that were asked about.
        same = Binding.objects.filter(pk=binding.pk, inputs=binding.inputs)
        same.update(problem=problem, checked_at=checked_at or binding.checked_at)
        if not problem and (inputs := result.complete(binding.inputs, binding.connection)) != binding.inputs:
            with transaction.atomic():
                prompt = Prompt.objects.select_for_update().get(pk=binding.prompt_id)
                if same.update(inputs=inputs):
                    versions.publish(prompt, by="nightly check")
    return bad


def recheck_due(now: datetime) -> int:
    """Recheck the Apps whose night has come. Returns how many."""
    done = 0
    for app in App.objects.filter(connections__active=True).distinct():
        night = slots.nightly(NIGHTLY_HOUR, app.zone)
        if turn := slots.tonight(f"inputs:{app.pk}", night, now=now, since=app.created_at):
            recheck(app)
            turn.complete()
            done += 1
    return done


def uses_of_traits(app: App) -> list[tuple[str, str]]:
    """Return (trait, prompt's name) for what the App's enabled bindings need of a person or take as an input."""
    uses: dict[tuple[str, str], None] = {}
    bindings = Binding.objects.filter(prompt__app=app, prompt__archived_at=None, archived_at=None, enabled=True)
    for binding in bindings.select_related("prompt").order_by("prompt__name", "pk"):
        found = declaration(binding)
        needed = sorted(found[1].needs_with(fixed(binding.inputs)).traits) if found else []
        taken = [source["name"] for source in binding.inputs.values() if source.get("from") == "trait"]
        uses |= {(trait, binding.prompt.name): None for trait in (*needed, *taken)}
    return list(uses)
