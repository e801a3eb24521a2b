"""What a connector's page shows of its forwarder: what is sent, an example, and how the last day went."""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.db.models import Count
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from connectors.base import Connector, Json, Values
from connectors.batches import payload_of
from connectors.forwarders import EVENT_WORDS, EXAMPLE, Forwarder
from connectors.models import Connection

SHOWN = timedelta(days=1)
# The states are of executions, which belong to a higher room.
GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Sent", ("done",)),
    ("On their way", ("queued", "running", "waiting")),
    ("On hold", ("held",)),
    ("Refused", ("rejected",)),
    ("Given up", ("gave_up",)),
    ("Left out", ("skipped", "not_sent", "closed")),
)


@dataclass(frozen=True)
class Counted:
    """How many events of the last day stand so, and where they are listed."""

    label: str
    count: int
    link: str


@dataclass(frozen=True)
class Shown:
    """A forwarder in words."""

    forwarder: Forwarder
    names: list[tuple[str, str]]  # an interaction in words, and the event at the vendor
    example: str  # JSON, or why there is none
    traits: tuple[str, ...]
    visitor: bool
    counts: list[Counted]
    problem: str = ""
    problem_at: datetime | None = None


def shown(declared: Connector, connection: Connection | None) -> Shown | None:
    """Return what the page shows; None for a connector that forwards nothing."""
    if declared.forwarder is None:
        return None
    forwarder = declared.forwarder()
    settings = connection.settings if connection else _initial(declared)
    since = timezone.now() - SHOWN
    bad = connection.batches.exclude(problem="").filter(started_at__gte=since) if connection else None
    last = bad.order_by("-started_at").first() if bad is not None else None
    return Shown(
        forwarder,
        [(_words(each), forwarder.name(replace(EXAMPLE, interaction=each), settings)) for each in EVENT_WORDS],
        _example(forwarder, settings),
        forwarder.traits(settings),
        forwarder.wants_visitor(settings),
        _counts(connection, since),
        last.problem if last else "",
        last.finished_at if last else None,
    )


def _initial(declared: Connector) -> Json:
    return {name: form_field.initial for name, form_field in declared.Settings.base_fields.items()}


def _words(interaction: str) -> str:
    return interaction.replace("_", " ").capitalize()


def _example(forwarder: Forwarder, settings: Values) -> str:
    traits = dict.fromkeys(forwarder.traits(settings), "…")
    visitor = forwarder.wants_visitor(settings)
    event = replace(
        EXAMPLE,
        traits=traits,
        address=EXAMPLE.address if visitor else "",
        user_agent=EXAMPLE.user_agent if visitor else "",
        browser={name: value for name, value in EXAMPLE.browser.items() if name in forwarder.browser},
    )
    found = payload_of(forwarder, event, settings)
    return json.dumps(found, indent=2, ensure_ascii=False) if isinstance(found, dict) else str(found.message)


def _counts(connection: Connection | None, since: datetime) -> list[Counted]:
    if connection is None:
        return []
    rows = connection.executions.filter(is_forward=True, created_at__gte=since).order_by()
    by_state = dict(rows.values_list("state").annotate(Count("pk")))
    counted = []
    for label, states in GROUPS:
        query = {"connector": connection.connector, "impressions": "on"}
        if len(states) == 1:
            query["state"] = states[0]
        counted.append(Counted(label, sum(by_state.get(state, 0) for state in states), _live(query)))
    return counted


def _live(query: dict[str, str]) -> str:
    try:
        return f"{reverse('admin:prompts_execution_changelist')}?{urlencode(query)}"
    except NoReverseMatch:
        return ""
