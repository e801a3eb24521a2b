"""The page on which an action or a lane is tried."""

import uuid
from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from connectors.journal import spelled_out
from engage.tenancy.roles import Right
from prompts import bindings, events, states, trying
from prompts.forms import AnswerForm
from prompts.models import Binding, Interaction, Prompt
from prompts.panel import PromptPage


@method_decorator(never_cache, name="dispatch")
class TryView(PromptPage):
    """Preview, and run for real, one action or a lane."""

    right = Right.TEST_PROMPTS
    template_name = "prompts/panel/try.html"
    title = "Try it"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add what is tried, for whom, and what came of the last run."""
        rows = self._rows()
        people = list(trying.test_subscribers_now(self.prompt.app))
        data = self.request.POST if self.request.method == "POST" else None
        lane = Interaction(rows[0].interaction) if rows else self._lane()
        context: dict[str, Any] = {
            "rows": rows,
            "lane": lane,
            "is_lane": "lane" in self.kwargs,
            "effects": trying.effects(rows),
            "people": people,
            "person": self._person(people),
            "shown": _shown(self.prompt, rows),
            "answer_form": AnswerForm(self.prompt, lane, data),
            **self._last_run(),
        }
        return super().get_context_data(**{**context, **kwargs})

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Preview, ask for confirmation, or run."""
        context = self.get_context_data()
        person, form, rows = context["person"], context["answer_form"], context["rows"]
        if person is None or not rows or not form.is_valid():
            if context["people"] and person is None:
                messages.error(request, "That is no test subscriber any more. Choose another one.")
            return self.render_to_response(context)
        match request.POST.get("do"):
            case "preview":
                context["previews"] = [
                    (bindings.title(row), found, [spelled_out(exchange) for exchange in found.exchanges])
                    for row in rows
                    for found in [trying.preview(row, person, form.answers)]
                ]
            case "ask":
                context["event_id"] = uuid.uuid4()
            case "run" if request.POST.get("shown") != context["shown"]:
                messages.warning(
                    request, "The prompt or its connection was changed since. Look at it again before you run it."
                )
                context["event_id"] = uuid.uuid4()
            case "run":
                return self._run(context)
            case _:
                raise BadRequest("Choose Preview or Run for real.")
        return self.render_to_response(context)

    def _run(self, context: dict[str, Any]) -> HttpResponse:
        form: AnswerForm = context["answer_form"]
        try:
            event_id = uuid.UUID(self.request.POST.get("event", ""))
        except ValueError:
            raise BadRequest("Confirm the run on its page.") from None
        try:
            event = trying.run(
                self.prompt,
                context["lane"],
                context["rows"],
                context["person"],
                form.answers,
                by=self.request.user.get_username(),
                event_id=event_id,
            )
        except events.BadInputs as bad:
            for name, sentence in bad.errors.items():
                form.add_error(name if name in form.fields else None, sentence)
            return self.render_to_response(context)
        except events.Conflict:
            raise BadRequest(
                "This confirmation was used before, for something else. Go back and run it again."
            ) from None
        return redirect(f"{self.request.path}?event={event.event_id}&for={context['person'].pk}")

    def _rows(self) -> list[Binding]:
        if "binding_id" in self.kwargs:
            return [self.binding()]
        return [row for row in bindings.lane(self.prompt, self._lane()) if row.enabled]

    def _lane(self) -> Interaction:
        try:
            return Interaction(self.kwargs.get("lane", Interaction.ACCEPT))
        except ValueError:
            raise Http404("There is no such lane.") from None

    def _person(self, people: list[Any]) -> Any:
        """Return whom it is tried for: the one who was chosen and nobody else; the first where nobody was."""
        chosen = self.request.POST.get("for") or self.request.GET.get("for")
        if chosen is None:
            return people[0] if people else None
        return next((person for person in people if str(person.pk) == chosen), None)

    def _last_run(self) -> dict[str, Any]:
        """Return the executions of the run that `?event=` names."""
        try:
            event_id = uuid.UUID(self.request.GET.get("event", ""))
        except ValueError:
            return {}
        event = self.prompt.events.filter(event_id=event_id, app=self.prompt.app).select_related("subscriber").first()
        if event is None:
            return {}
        executions = list(event.executions.select_related("connection").order_by("position", "created_at"))
        return {
            "event": event,
            "executions": [
                (execution, states.words(execution), states.sentence(execution)) for execution in executions
            ],
            "settled": events.status_of(event).settled,
        }


def _shown(prompt: Prompt, rows: list[Binding]) -> str:
    """Return what a confirmation is about: another version, or another account, needs another one."""
    accounts = sorted({f"{row.connection.pk}.{row.connection.generation}" for row in rows if row.connection})
    return " ".join([str(prompt.version), *accounts])
