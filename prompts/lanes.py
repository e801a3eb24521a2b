"""What the Actions panel of a prompt shows: five lanes with their actions."""

from dataclasses import dataclass, field

from django.db.models import OuterRef, Subquery

from connectors.base import NOTHING, Replay
from connectors.registry import declaration
from prompts import bindings, states
from prompts.models import Binding, Execution, Interaction, Prompt
from sync import traits


@dataclass
class Row:
    """An action of a lane, as the panel shows it."""

    binding: Binding
    connector: str
    action: str
    inputs: list[bindings.InputWords]
    repeat: str
    repeat_is_safe: bool
    having: int
    total: int
    needs: str
    by_client: str
    problems: list[str]
    last: Execution | None
    last_words: states.StateWords | None
    hint: str = ""


@dataclass
class Lane:
    """One interaction: its actions, and what keeps it from ever happening."""

    interaction: Interaction
    icon: str
    button: str
    missing: str
    mend: str
    anchor: str
    rows: list[Row] = field(default_factory=list)

    @property
    def others(self) -> list[Interaction]:
        """The lanes that an action may be copied to."""
        return [interaction for interaction in Interaction if interaction != self.interaction]


_ICONS = {
    Interaction.ACCEPT: "thumb_up",
    Interaction.SECONDARY_ACCEPT: "done_all",
    Interaction.DECLINE: "thumb_down",
    Interaction.DISMISS: "close",
    Interaction.TIMEOUT: "timer",
}


def lanes(prompt: Prompt) -> list[Lane]:
    """Return the five lanes of a prompt with their actions."""
    timeout = f"After {prompt.timeout_seconds} seconds" if prompt.timeout_seconds else ""
    shown = {
        Interaction.ACCEPT: (f"“{prompt.accept_label}”", "", "", ""),
        Interaction.SECONDARY_ACCEPT: (
            f"“{prompt.secondary_label}”",
            "This prompt has no second button.",
            "Add one",
            "secondary_label",
        ),
        Interaction.DECLINE: (
            f"“{prompt.decline_label}”",
            "This prompt has no decline button.",
            "Add one",
            "decline_label",
        ),
        Interaction.DISMISS: ("Closed without an answer", "", "", ""),
        Interaction.TIMEOUT: (
            timeout,
            "This prompt has no timeout, so it never ends by itself.",
            "Set one",
            "timeout_seconds",
        ),
    }
    there = {
        Interaction.SECONDARY_ACCEPT: bool(prompt.secondary_label),
        Interaction.DECLINE: bool(prompt.decline_label),
        Interaction.TIMEOUT: bool(prompt.timeout_seconds),
    }
    result = []
    for interaction, (button, missing, mend, anchor) in shown.items():
        exists = there.get(interaction, True)
        result.append(
            Lane(interaction, _ICONS[interaction], button if exists else "", "" if exists else missing, mend, anchor)
        )
    by_interaction = {lane.interaction: lane for lane in result}
    for row in _rows(prompt):
        by_interaction[Interaction(row.binding.interaction)].rows.append(row)
    for lane in result:
        _hint_at_redirects(lane.rows)
    return result


def _rows(prompt: Prompt) -> list[Row]:
    newest = Execution.objects.filter(binding=OuterRef("pk")).order_by("-created_at").values("pk")[:1]
    rows = list(
        prompt.bindings.filter(archived_at=None)
        .select_related("connection", "prompt")
        .annotate(last_id=Subquery(newest))
        .order_by("position", "id")
    )
    entries = bindings.entries_of(rows)
    last = Execution.objects.in_bulk([row.last_id for row in rows if row.last_id])
    return [_row(binding, entries, last.get(binding.last_id)) for binding in rows]


def _row(binding: Binding, entries: bindings.Entries, last: Execution | None) -> Row:
    found = declaration(binding)
    needs = found[1].needs_with(bindings.fixed(binding.inputs)) if found else NOTHING
    having, total = traits.coverage(binding.prompt.app, needs) if found else (0, 0)
    return Row(
        binding,
        connector=found[0].label if found else binding.connector,
        action=found[1].label if found else binding.action,
        inputs=bindings.in_words(binding, entries),
        repeat=found[1].replay.in_words if found else "",
        repeat_is_safe=found is not None and found[1].replay is not Replay.NEVER,
        having=having,
        total=total,
        by_client=found[1].by_client if found else "",
        needs=needs.in_words if needs.groups else "",
        problems=bindings.problems(binding, entries),
        last=last,
        last_words=states.words(last) if last else None,
    )


def _hint_at_redirects(rows: list[Row]) -> None:
    """A redirect above a vendor's action takes the person away before that action is done."""
    for index, row in enumerate(rows):
        if row.binding.connection_id is None and any(later.binding.connection_id for later in rows[index + 1 :]):
            row.hint = "The browser would leave before the actions below are done. Move this to the end."
