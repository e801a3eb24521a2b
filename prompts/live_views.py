"""The list of Live."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest, JsonResponse
from django.template.loader import render_to_string
from django.views.generic import TemplateView, View

from engage.tenancy import current
from engage.tenancy.roles import Right
from engage.tenancy.scoped import ConsoleViewMixin
from prompts import live, lookup, timeline
from prompts.models import Execution, PromptEvent
from prompts.states import StateWords, sentence, words


@dataclass
class Row:
    """A line of Live in words."""

    line: live.Line
    hide: lookup.Veil = lookup.open_veil
    event: PromptEvent = field(init=False)
    execution: Execution | None = field(init=False)

    def __post_init__(self) -> None:
        """Take what the template asks for most."""
        self.event, self.execution = self.line.event, self.line.execution

    @property
    def key(self) -> str:
        """What tells this row from the others on a page."""
        return str(self.execution.pk) if self.execution else f"event-{self.event.pk}"

    @property
    def interaction(self) -> str:
        """The answer in a word."""
        return timeline.interaction_label(self.event)

    @property
    def state(self) -> StateWords | None:
        """How the execution stands."""
        return words(self.execution) if self.execution else None

    @property
    def connector(self) -> str:
        """The vendor's name."""
        return live.connector_label(self.execution) if self.execution else ""

    @property
    def action(self) -> str:
        """The action's name."""
        return live.action_label(self.execution) if self.execution else ""

    @property
    def took(self) -> str:
        """From the answer to the end."""
        return timeline.took(self.execution) if self.execution else ""

    @property
    def sentence(self) -> str:
        """What a person reads about it."""
        if self.execution:
            return self.hide(sentence(self.execution))
        if self.line.is_impression:
            return "Shown."
        if self.event.limit_reached:
            return "The limit per subscriber was reached: this person has accepted before."
        return "No action is attached to this answer."


def rows_of(request: HttpRequest, lines: list[live.Line]) -> list[Row]:
    """Put lines into words, with personal values masked for roles that may not see them."""
    if current.may(request, Right.SEE_PERSONAL):
        return [Row(line) for line in lines]
    app = current.current_app(request)
    veils = {
        line.event.pk: lookup.veil(app, [(line.event.subscriber, [line.event.inputs])])
        for line in lines
        if line.execution is not None and not line.continues
    }
    return [Row(line, veils.get(line.event.pk, lookup.open_veil)) for line in lines]


class LivePage(ConsoleViewMixin, TemplateView):
    """Events and executions as they come."""

    title = "Live"
    right = Right.LOOK
    template_name = "prompts/live/live.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """One page of rows, and the filters as they stand in the URL."""
        app = current.current_app(self.request)
        form = live.FilterForm(app, self.request.GET)
        chosen = form.chosen
        before = live.Cursor.read(self.request.GET.get("before", ""))
        page = live.page(app, chosen, before)
        filters = {name: value for name, value in self.request.GET.items() if name in form.fields and value}
        return super().get_context_data(
            **kwargs,
            form=form,
            rows=rows_of(self.request, page.lines),
            page=page,
            before=before,
            filters=filters,
            query=urlencode(filters),
            older=urlencode({**filters, "before": str(page.older)}) if page.older else "",
            may_run_again=bool(filters) and current.may(self.request, Right.RUN_MANY_AGAIN),
            zone=app.zone,
            tab="events",
        )


class LiveNews(ConsoleViewMixin, View):
    """What has changed since the page was shown: how many rows are new, and the open rows as they are now."""

    right = Right.LOOK

    def get(self, request: HttpRequest) -> JsonResponse:
        """Answer how many rows are new, and the rows named by `open` as they are now.

        {"new": n, "more": bool, "rows": {id: {"html": the last cells, "moves": bool}}}
        """
        app = current.current_app(request)
        chosen = live.FilterForm(app, request.GET).chosen
        new = live.count_newer(app, chosen, live.Cursor.read(request.GET.get("newest", "")))
        try:
            asked = [UUID(key) for key in request.GET.get("open", "").split(",") if key]
        except ValueError:
            asked = []
        cells = {
            row.key: {"html": render_to_string("prompts/live/state.html", {"row": row}), "moves": row.line.moves}
            for row in rows_of(request, live.lines_of(app, asked))
        }
        return JsonResponse({"new": new, "more": new >= live.MOST_NEW, "rows": cells})


class RefusedPage(ConsoleViewMixin, TemplateView):
    """Requests that the runtime API refused: without this page a wrong integration would be silence."""

    title = "Live"
    right = Right.LOOK
    template_name = "prompts/live/refused.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """One page of refusals with words and hints."""
        app = current.current_app(self.request)
        rows, older = live.refusals(app, live.Cursor.read(self.request.GET.get("before", "")))
        return super().get_context_data(
            **kwargs,
            rows=[(row, live.refusal_words(row.reason)) for row in rows],
            older=urlencode({"before": str(older)}) if older else "",
            zone=app.zone,
            tab="refused",
        )
