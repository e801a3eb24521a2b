"""The Actions panel of a prompt: its lanes, and the pages on which an action is chosen, edited, ordered and tried."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db.models import Max, OuterRef, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import TemplateView

from connectors.base import NOTHING, Action, Connector, Replay
from connectors.journal import spelled_out
from connectors.models import Connection
from connectors.registry import all_connectors, connector_or_none, declaration
from engage.tenancy import current
from engage.tenancy.roles import Right
from engage.tenancy.scoped import ConsoleViewMixin, ScopedModelAdmin
from prompts import bindings, events, states, trying
from prompts.forms import AnswerForm, BindingForm, InputsForm
from prompts.models import Binding, Execution, Interaction, Prompt
from sync import traits

# --- what the panel shows -------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """An action of a lane, as the panel shows it."""

    binding: Binding
    vendor: str
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
        vendor=found[0].label if found else binding.connector,
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


# --- pages ----------------------------------------------------------------------------------------------------------------


class PromptPage(ConsoleViewMixin, TemplateView):
    """A page about one prompt of the App at hand."""

    model_admin: ScopedModelAdmin
    title = "Actions"

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Find the prompt; another App's is a 404."""
        super().setup(request, *args, **kwargs)
        self.prompt = get_object_or_404(
            Prompt.objects.select_related("app__company"), pk=kwargs["prompt_id"], app=current.current_app(request)
        )

    def binding(self) -> Binding:
        """Return the action that the URL names, or answer 404."""
        rows = Binding.objects.select_related("connection", "prompt__app__company")
        return get_object_or_404(rows, pk=self.kwargs["binding_id"], prompt=self.prompt, archived_at=None)

    @property
    def panel_url(self) -> str:
        """Where the lanes are."""
        return reverse("admin:prompts_prompt_actions", args=[self.prompt.pk])

    def to_panel(self) -> HttpResponse:
        """Go back to the lanes."""
        return redirect(self.panel_url)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the prompt, and what this person may do with it."""
        may_design = current.may(self.request, Right.DESIGN_PROMPTS) and self.prompt.archived_at is None
        return super().get_context_data(
            prompt=self.prompt,
            object=self.prompt,
            panel_url=self.panel_url,
            may_design=may_design,
            may_test=current.may(self.request, Right.TEST_PROMPTS) and self.prompt.archived_at is None,
            opts=Prompt._meta,
            tab="actions",
            **kwargs,
        )


@method_decorator(never_cache, name="dispatch")
class PanelView(PromptPage):
    """The five lanes."""

    right = Right.LOOK
    template_name = "prompts/panel/panel.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the lanes."""
        return super().get_context_data(lanes=lanes(self.prompt), **kwargs)


class ChangeView(PromptPage):
    """What the buttons of a row do."""

    right = Right.DESIGN_PROMPTS
    http_method_names = ["post"]

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Carry out the button's verb, and show the lanes again."""
        if self.prompt.archived_at is not None:
            raise Http404("This prompt is archived.")
        binding = self.binding()
        match kwargs["verb"]:
            case "up":
                bindings.move(binding, -1, request)
            case "down":
                bindings.move(binding, 1, request)
            case "place":
                bindings.place(binding, self._interaction(), self._index(), request)
            case "copy":
                copy = bindings.copy(binding, self._interaction(), request)
                messages.success(request, f"Copied to {Interaction(copy.interaction).label}.")
            case "on" | "off" as wish:
                bindings.switch(binding, request, on=wish == "on")
            case "remove":
                bindings.archive(binding, request)
                messages.success(request, f"{bindings.title(binding)} was removed. What it has done stays in Live.")
            case _:
                raise Http404
        return self.to_panel()

    def _interaction(self) -> Interaction:
        try:
            return Interaction(self.request.POST.get("interaction", ""))
        except ValueError:
            raise BadRequest("There is no such lane.") from None

    def _index(self) -> int:
        try:
            return int(self.request.POST.get("index", ""))
        except ValueError:
            raise BadRequest("The place in the lane is not a number.") from None


class DuplicateView(PromptPage):
    """Make a draft like this prompt."""

    right = Right.DESIGN_PROMPTS
    http_method_names = ["post"]

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Make it, and open it."""
        made = bindings.duplicate(self.prompt, request)
        messages.success(request, f"“{made}” is a draft with the same texts and actions.")
        return redirect("admin:prompts_prompt_change", made.pk)


@dataclass(frozen=True)
class Offer:
    """An action that may be added, or why it may not."""

    connector: Connector
    action: Action
    connection: Connection | None
    reason: str
    recent: Any


class ChooseView(PromptPage):
    """First step of adding: which action."""

    right = Right.DESIGN_PROMPTS
    template_name = "prompts/panel/choose.html"
    title = "Add an action"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add what can be chosen: recently used first, what cannot be used last, with the reason."""
        query = self.request.GET.get("q", "").strip()
        offers = [offer for offer in self._offers() if _fits(offer, query)]
        return super().get_context_data(
            lane=lane_of(self.request),
            query=query,
            offers=offers,
            has_any_connection=any(offer.connection for offer in offers) or bool(query),
            **kwargs,
        )

    def _offers(self) -> list[Offer]:
        connections: dict[str, list[Connection]] = {}
        for row in Connection.objects.filter(app=self.prompt.app, archived_at=None):
            connections.setdefault(row.connector, []).append(row)
        used: dict[tuple[str, uuid.UUID | None, str], Any] = {
            (row["connector"], row["connection"], row["action"]): row["last"]
            for row in Binding.objects.filter(prompt__app=self.prompt.app)
            .values("connector", "connection", "action")
            .annotate(last=Max("created_at"))
        }
        offers: list[Offer] = []
        for connector in all_connectors():
            none = [] if connector.needs_connection else [None]
            for connection in connections.get(connector.key, none):
                reason = (
                    ""
                    if connection is None or connection.active
                    else f"{connection} is switched off in Settings > Actions."
                )
                account, settings = (connection.pk, connection.settings) if connection else (None, {})
                for declared in connector.actions_of(settings):
                    action = declared()
                    why = reason or action.unavailable(settings)
                    last = used.get((connector.key, account, action.key))
                    offers.append(Offer(connector, action, connection, why, last))
        offers.sort(key=lambda offer: (offer.connector.label, offer.action.label))
        offers.sort(key=lambda offer: offer.recent.timestamp() if offer.recent else 0, reverse=True)
        offers.sort(key=lambda offer: bool(offer.reason))
        return offers


def _fits(offer: Offer, query: str) -> bool:
    words = " ".join(
        [offer.connector.label, *offer.connector.aliases, offer.action.label, offer.action.description]
    ).lower()
    return all(word in words for word in query.lower().split())


def lane_of(request: HttpRequest) -> Interaction:
    """Return the lane that `?lane=` names; the first one without it."""
    try:
        return Interaction(request.GET.get("lane", Interaction.ACCEPT))
    except ValueError:
        raise Http404("There is no such lane.") from None


def _account(request: HttpRequest) -> uuid.UUID:
    """Return the connection that `?connection=` names; needed where an App may have several of a connector."""
    try:
        return uuid.UUID(request.GET.get("connection", ""))
    except ValueError:
        raise Http404("There is no such connection.") from None


class EditorView(PromptPage):
    """The dialog in which an action's inputs are filled in; subclasses say which action."""

    right = Right.DESIGN_PROMPTS
    template_name = "prompts/panel/edit.html"

    def subject(self) -> Binding:
        """Return the binding that is edited or added."""
        raise NotImplementedError

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Nothing is edited in an archived prompt."""
        if self.prompt.archived_at is not None:
            raise Http404("This prompt is archived.")
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show the dialog."""
        return self._page(self.subject(), None)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Check what was entered, here and at the vendor, and store it."""
        binding = self.subject()
        connector, action = self._declared(binding)
        form, inputs = self._forms(binding, action, request.POST)
        if not (form.is_valid() & inputs.is_valid()):
            return self._page(binding, (form, inputs))
        result = bindings.check(connector, action, binding.connection, inputs.inputs)
        if result.refused:
            for sentence in result.refused:
                inputs.refuse(sentence)
            return self._page(binding, (form, inputs))
        binding = form.save(commit=False)
        binding.inputs = result.complete(inputs.inputs, binding.connection)
        binding.problem, binding.checked_at = bindings.as_stored(result)
        self.store(binding)
        if result.unchecked:
            messages.warning(request, f"Saved. {result.unchecked}")
        return self.to_panel()

    def store(self, binding: Binding) -> None:
        """Add or change it."""
        raise NotImplementedError

    def _declared(self, binding: Binding) -> tuple[Connector, Action]:
        found = declaration(binding)
        if found is None:
            raise Http404("This action is no longer part of the product.")
        return found

    def _forms(self, binding: Binding, action: Action, data: Any) -> tuple[BindingForm, InputsForm]:
        return (
            BindingForm(data, instance=binding),
            InputsForm(action, binding.connection, self.prompt, data=data, saved=binding.inputs),
        )

    def _page(self, binding: Binding, filled: tuple[BindingForm, InputsForm] | None) -> HttpResponse:
        connector, action = self._declared(binding)
        form, inputs = filled or self._forms(binding, action, None)
        needs = action.needs_with(bindings.fixed(binding.inputs))
        having, total = traits.coverage(self.prompt.app, needs)
        context = self.get_context_data(
            binding=binding,
            lane=Interaction(binding.interaction),
            connector=connector,
            action=action,
            form=form,
            inputs=inputs,
            health=bindings.health(binding),
            needs=needs,
            having=having,
            total=total,
            lacking=total - having,
            safe=action.replay is not Replay.NEVER,
        )
        return self.render_to_response(context, status=422 if filled else 200)


class AddView(EditorView):
    """Second step of adding: the inputs."""

    title = "Add an action"

    def subject(self) -> Binding:
        """Return a new binding; an action that is unknown or of an inactive connection is a 404."""
        connector = connector_or_none(self.kwargs["connector"])
        if connector is None:
            raise Http404("There is no such vendor.")
        rows = Connection.objects.filter(app=self.prompt.app, connector=connector.key, active=True)
        if connector.several:
            rows = rows.filter(pk=_account(self.request))
        connection = rows.first()
        if connector.needs_connection and connection is None:
            raise Http404(f"{connector.label} is not active in this App.")
        return Binding(
            prompt=self.prompt,
            interaction=lane_of(self.request),
            connector=connector.key,
            action=self.kwargs["action"],
            connection=connection,
        )

    def store(self, binding: Binding) -> None:
        """Add it to the end of its lane."""
        bindings.add(binding, self.request)
        messages.success(
            self.request, f"{bindings.title(binding)} was added to {Interaction(binding.interaction).label}."
        )


class EditView(EditorView):
    """An action's inputs, what follows when it fails, and its guards."""

    title = "Edit an action"

    def subject(self) -> Binding:
        """Return the action that the URL names."""
        return self.binding()

    def store(self, binding: Binding) -> None:
        """Change it."""
        bindings.edit(binding, self.request)
        messages.success(
            self.request, f"{bindings.title(binding)} was changed. It counts for what is shown from now on."
        )


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


def urls(admin: ScopedModelAdmin) -> list[URLPattern]:
    """Return the panel's URLs, below the prompt's own."""
    pages: list[tuple[str, str, type[PromptPage]]] = [
        ("duplicate/", "duplicate", DuplicateView),
        ("actions/", "actions", PanelView),
        ("actions/add/", "actions_choose", ChooseView),
        ("actions/add/<slug:connector>/<slug:action>/", "actions_add", AddView),
        ("actions/lane/<slug:lane>/try/", "lane_try", TryView),
        ("actions/<int:binding_id>/edit/", "action_edit", EditView),
        ("actions/<int:binding_id>/try/", "action_try", TryView),
        ("actions/<int:binding_id>/<slug:verb>/", "action_change", ChangeView),
    ]
    return [
        path(
            f"<int:prompt_id>/{route}",
            admin.admin_site.admin_view(view.as_view(model_admin=admin)),
            name=f"prompts_prompt_{name}",
        )
        for route, name, view in pages
    ]
