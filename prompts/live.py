"""What Live shows: events and executions by time, filtered, a page at a time and never counted.

Without a filter about executions the list is one of events, each with what was carried out for it; with one it is a list of
executions. Both are ordered by time and id and paged by the last row seen, so that each query walks one index of
`prompts.models` and stops after a page, whatever the history grows to.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model, Prefetch, Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from connectors.models import Connection
from connectors.registry import action_of, all_connectors, connector_or_none, forwarder_keys
from engage.tenancy.models import App, Company
from prompts.models import CLAIMABLE, IMPRESSION, OPEN, Execution, Interaction, Prompt, PromptEvent, Refusal, State
from prompts.skipped import can_run_since
from prompts.states import STATES
from sync.models import ImportRun, Subscriber

PAGE = 50
MOST_NEW = 100
"""How far new rows are counted before the page says "99+"."""
TROUBLE = (State.UNCERTAIN, State.GAVE_UP, State.REJECTED, State.HELD, State.WAITING)
"""What "Errors only" means; the index `execution_state` covers these."""
MOVING = frozenset({*CLAIMABLE, *OPEN, State.HANDED_OVER})
"""States in which a row on the screen may change by itself."""


class FilterForm(forms.Form):
    """The filters, as they stand in the URL. Times are in the App's zone."""

    trouble = forms.BooleanField(label="Errors only", required=False)
    interaction = forms.ChoiceField(required=False)
    prompt = forms.ChoiceField(required=False)
    connector = forms.ChoiceField(required=False)
    state = forms.ChoiceField(required=False)
    user = forms.CharField(label="User id", max_length=200, required=False)
    reference = forms.CharField(max_length=12, required=False)
    kind = forms.ChoiceField(
        label="Test or real", choices=[("", "Both"), ("real", "Real"), ("test", "Test")], required=False
    )
    since = forms.DateTimeField(
        label="From", required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )
    until = forms.DateTimeField(required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"}))
    can_run_since = forms.IntegerField(label="Can run since the import", required=False, min_value=1, max_value=2**62)
    impressions = forms.BooleanField(label="Show impressions", required=False)
    forwards = forms.BooleanField(label="Show forwards", required=False)

    def __init__(self, app: App, data: Mapping[str, Any]) -> None:
        super().__init__(data)
        self.app = app
        self.fields["interaction"].choices = [("", "All"), *Interaction.choices]  # type: ignore[attr-defined]
        self.fields["prompt"].choices = [  # type: ignore[attr-defined]
            ("", "All"),
            *Prompt.objects.filter(app=app).order_by("name").values_list("key", "name"),
        ]
        self.fields["connector"].choices = [("", "All"), *((one.key, one.label) for one in all_connectors())]  # type: ignore[attr-defined]
        self.fields["state"].choices = [("", "All"), *((state, words.label) for state, words in STATES.items())]  # type: ignore[attr-defined]

        for bound in self:
            if bound.widget_type != "checkbox":
                bound.field.widget.attrs["class"] = "eg-input"

    def full_clean(self) -> None:
        """Read times as the App's zone shows them."""
        with timezone.override(self.app.zone):
            super().full_clean()

    @property
    def chosen(self) -> dict[str, Any]:
        """The filters that are set and valid. One that is not understood is not applied, and the form says so."""
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value not in ("", None, False)}


@dataclass(frozen=True)
class Cursor:
    """A place in a list that is ordered by time and id, newest first."""

    at: datetime
    id: str

    def __str__(self) -> str:
        return f"{self.at.isoformat()}~{self.id}"

    @classmethod
    def read(cls, text: str) -> "Cursor | None":
        """Return the cursor that a URL holds, or None when it holds none."""
        at, _, key = text.partition("~")
        try:
            moment = parse_datetime(at)
        except ValueError:
            return None
        return cls(moment, key) if moment and timezone.is_aware(moment) and key else None


@dataclass(frozen=True)
class Listing:
    """One way in which Live lists rows: which, and by which time."""

    rows: QuerySet[Any]
    time: str

    def older_than(self, cursor: Cursor | None) -> QuerySet[Any]:
        """Return the rows from the newest (or after `cursor`) to the oldest."""
        rows = self.rows.order_by(f"-{self.time}", "-pk")
        if cursor is None:
            return rows
        same_or_older = Q(
            **{f"{self.time}__lte": cursor.at}
        )  # lets the index begin there; the rest is decided row by row
        return rows.filter(same_or_older, Q(**{f"{self.time}__lt": cursor.at}) | Q(pk__lt=self._key(cursor)))

    def newer_than(self, cursor: Cursor) -> QuerySet[Any]:
        """Return the rows that came after `cursor`."""
        same_or_newer = Q(**{f"{self.time}__gte": cursor.at})
        return self.rows.filter(same_or_newer, Q(**{f"{self.time}__gt": cursor.at}) | Q(pk__gt=self._key(cursor)))

    def cursor(self, row: Model) -> Cursor:
        """Return the place of `row`."""
        return Cursor(getattr(row, self.time), str(row.pk))

    def _key(self, cursor: Cursor) -> Any:
        key = self.rows.model._meta.pk
        try:
            return key.to_python(cursor.id)
        except ValidationError:
            return key.to_python(0)


@dataclass(frozen=True)
class Line:
    """A row of the list: an event, and the execution that stands in this row (None: nothing was to be carried out)."""

    event: PromptEvent
    execution: Execution | None
    continues: bool = False  # the row above is about the same event

    @cached_property
    def at(self) -> datetime:
        """When it came."""
        return self.event.received_at

    @property
    def is_impression(self) -> bool:
        """Whether the prompt was only shown."""
        return self.event.interaction == IMPRESSION

    @property
    def moves(self) -> bool:
        """Whether the row may change by itself."""
        return self.execution is not None and self.execution.state in MOVING


@dataclass(frozen=True)
class Page:
    """A page of the list; `older` is where the next one begins, `newest` what new rows are newer than."""

    lines: list[Line]
    newest: Cursor | None = None
    older: Cursor | None = None
    chosen: Mapping[str, Any] = field(default_factory=dict)


def page(app: App, chosen: Mapping[str, Any], before: Cursor | None = None, size: int = PAGE) -> Page:
    """Return a page of events with their executions, or of executions, newest first.

    Args:
        chosen: filters, as `FilterForm.chosen` gives them.
        before: the last row of the page before.
        size: how many events (or executions) are on a page.

    """
    listing = _listing(app, chosen)
    rows = list(listing.older_than(before)[: size + 1])
    shown, more = rows[:size], len(rows) > size
    return Page(
        lines=[line for row in shown for line in _lines(row)],
        newest=listing.cursor(shown[0]) if shown else None,
        older=listing.cursor(shown[-1]) if more else None,
        chosen=chosen,
    )


def count_newer(app: App, chosen: Mapping[str, Any], newest: Cursor | None) -> int:
    """Return how many rows came after `newest` (None: the list was empty), counted up to `MOST_NEW`."""
    listing = _listing(app, chosen)
    rows = listing.newer_than(newest) if newest else listing.rows
    return len(rows.order_by().values_list("pk")[:MOST_NEW])


def lines_of(app: App, executions: Iterable[UUID]) -> list[Line]:
    """Return the rows of these executions as they are now (for rows that may change by themselves)."""
    rows = _executions().filter(app=app, pk__in=list(executions)[:MOST_NEW])
    return [_line(row) for row in rows]


def history(app: App, subscriber: Subscriber, size: int = PAGE) -> Page:
    """Return the latest events of a subscriber, impressions included."""
    return page(app, {"user": subscriber.user_id, "impressions": True}, size=size)


def _lines(row: PromptEvent | Execution) -> list[Line]:
    if isinstance(row, Execution):
        return [_line(row)]
    executions = list(row.executions.all())
    return [Line(row, execution, continues=number > 0) for number, execution in enumerate(executions)] or [
        Line(row, None)
    ]


def _line(execution: Execution) -> Line:
    execution.event.subscriber = execution.subscriber  # the same row, which nobody needs to look for again
    return Line(execution.event, execution)


def _executions() -> QuerySet[Execution]:
    return Execution.objects.select_related("connection", "event__prompt", "subscriber").defer(
        "steps", "traits", "job", "report"
    )


def _listing(app: App, chosen: Mapping[str, Any]) -> Listing:
    if any(chosen.get(name) for name in ("state", "trouble", "connector", "can_run_since")):
        return Listing(executions_of(app, chosen), "created_at")
    return Listing(_filtered_events(app, chosen), "received_at")


def _filtered_events(app: App, chosen: Mapping[str, Any]) -> QuerySet[PromptEvent]:
    executions = Execution.objects.select_related("connection").defer("steps", "traits", "job", "report")
    if not chosen.get("forwards"):
        executions = executions.filter(is_forward=False)
    rows = (
        PromptEvent.objects.filter(app=app, **_event_terms(app, chosen, ""), **_time_terms(chosen, "received_at"))
        .select_related("prompt", "subscriber")
        .prefetch_related(Prefetch("executions", executions.order_by("created_at", "position")))
    )
    return rows if chosen.get("impressions") else rows.exclude(interaction=IMPRESSION)


def executions_of(app: App, chosen: Mapping[str, Any]) -> QuerySet[Execution]:
    """Return the executions that the filters let through, in no order."""
    rows = _executions().filter(app=app, **_event_terms(app, chosen, "event__"), **_time_terms(chosen, "created_at"))
    if chosen.get("state"):
        rows = rows.filter(state=chosen["state"])
    if chosen.get("can_run_since"):
        run = ImportRun.objects.filter(app=app, pk=chosen["can_run_since"]).select_related("source").first()
        rows = rows.filter(pk__in=[execution.pk for execution in can_run_since(run)] if run else [])
    if chosen.get("trouble"):
        rows = rows.filter(state__in=TROUBLE)
    if not chosen.get("forwards") and chosen.get("connector") not in forwarder_keys():
        rows = rows.filter(is_forward=False)
    if chosen.get("connector"):
        rows = rows.filter(**_account_terms(app, chosen["connector"]))
    return rows


def _account_terms(app: App, key: str) -> dict[str, Any]:
    """Return the terms about a connector: by its accounts, whose executions an index has in order, as those without any."""
    declared = connector_or_none(key)
    if declared is None or declared.needs_connection:
        return {"connection__in": list(Connection.objects.filter(app=app, connector=key).values_list("pk", flat=True))}
    return {"connection": None, "connector": key}


def _time_terms(chosen: Mapping[str, Any], time: str) -> dict[str, Any]:
    bounds = {f"{time}__gte": chosen.get("since"), f"{time}__lte": chosen.get("until")}
    return {name: value for name, value in bounds.items() if value}


def _event_terms(app: App, chosen: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the terms about the event; what names few is looked up first, so that one index serves."""
    terms: dict[str, Any] = {}
    if chosen.get("interaction"):
        terms[f"{path}interaction"] = chosen["interaction"]
    if chosen.get("reference"):
        named = PromptEvent.objects.filter(app=app, reference=chosen["reference"].upper())
        terms[f"{path}pk__in"] = list(named.values_list("pk", flat=True)[:PAGE])
    if chosen.get("kind"):
        terms[f"{path}is_test"] = chosen["kind"] == "test"
    if chosen.get("prompt"):
        terms[f"{path}prompt"] = (
            Prompt.objects.filter(app=app, key=chosen["prompt"]).values_list("pk", flat=True).first() or 0
        )
    if chosen.get("user"):
        # (the subscriber stands on both rows)
        terms["subscriber"] = (
            Subscriber.objects.filter(app=app, user_id=chosen["user"]).values_list("pk", flat=True).first() or 0
        )
    return terms


# --- refused requests -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RefusalWords:
    """A reason in words, and what to do about it."""

    label: str
    hint: str


REASONS: dict[str, RefusalWords] = {
    "no key": RefusalWords("No API key", "Send “Authorization: Bearer” with one of the App's API keys."),
    "wrong key": RefusalWords(
        "Wrong API key", "Compare it with those under API keys: it may have been revoked or cut off."
    ),
    "secret key needed": RefusalWords("Secret key needed", "Send this request from your server, with the secret key."),
    "secret key in a browser": RefusalWords(
        "Secret key in a browser",
        "Replace this secret key now, since anybody can read it there; browsers use the publishable key.",
    ),
    "unsigned identity": RefusalWords(
        "Identity not signed",
        "From a browser a user id counts only with a token that your server signed with the App's identity secret, "
        "for this key, and that has not run out.",
    ),
    "unknown prompt": RefusalWords("Unknown prompt", "Compare the key in your app with those in the list of prompts."),
    "foreign domain": RefusalWords("Foreign domain", "If the address is yours, add it to the App's domains."),
    "invalid inputs": RefusalWords(
        "Inputs do not fit", "What was typed does not fit the prompt's inputs; the answer says why."
    ),
    "invalid request": RefusalWords("Fields do not fit", "Compare the named fields with the API's documentation."),
    "not JSON": RefusalWords("Not JSON", "Send the body as a JSON object."),
    "body too large": RefusalWords("Body too large", "Send smaller inputs and a smaller context."),
    "event id taken": RefusalWords(
        "Event id used twice", "Make a new event id for every answer; send an id again only with the same body."
    ),
    "rate": RefusalWords(
        "Too many requests", "Wait as long as Retry-After says. An endless loop in the app is the usual cause."
    ),
}


def refusal_words(reason: str) -> RefusalWords:
    """Return how a reason is shown; one that has no words yet is shown as it is."""
    return REASONS.get(reason) or RefusalWords(
        reason.replace("_", " ").capitalize(), "See the API's answer for this request."
    )


def refusals(app: App, before: Cursor | None = None, size: int = PAGE) -> tuple[list[Refusal], Cursor | None]:
    """Return refused requests by when they last happened, and where the next page begins.

    A request with an unknown key belongs to no App. It is shown where it can be nobody else's: while the installation
    has one company.
    """
    anybodys = Q(app=None) if not Company.objects.exclude(pk=app.company_id).exists() else Q()
    listing = Listing(Refusal.objects.filter(Q(app=app) | anybodys), "last_at")
    rows = list(listing.older_than(before)[: size + 1])
    return rows[:size], listing.cursor(rows[size - 1]) if len(rows) > size else None


# --- words ------------------------------------------------------------------------------------------------------------------


def connector_label(execution: Execution) -> str:
    """The vendor's name, or its key when it has been taken out since."""
    declared = connector_or_none(execution.connector)
    return declared.label if declared else execution.connector


def action_label(execution: Execution) -> str:
    """The action's name, or its key when it has been taken out since."""
    declared = connector_or_none(execution.connector)
    if execution.is_forward and declared and declared.forwarder:
        return declared.forwarder.label
    action = action_of(execution)
    return action.label if action else execution.action


def environment(execution: Execution) -> str:
    """Where the execution acts, in words: "Cleeng Production"; only the vendor's name where there is no account."""
    declared = connector_or_none(execution.connector)
    if declared is None or execution.connection is None:
        return connector_label(execution)
    return f"{declared.label} {declared.environment(execution.connection.settings)}"
