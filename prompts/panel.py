"""The Actions panel of a prompt: the pages on which an action is chosen, edited and ordered."""

import uuid
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db.models import Max
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import TemplateView

from connectors.base import Action, Connector, Replay
from connectors.models import Connection
from connectors.registry import all_connectors, connector_or_none, declaration
from engage.tenancy import current
from engage.tenancy.roles import Right
from engage.tenancy.scoped import ConsoleViewMixin, ScopedModelAdmin
from prompts import bindings
from prompts.forms import BindingForm, InputsForm
from prompts.lanes import lanes
from prompts.models import Binding, Interaction, Prompt
from sync import traits


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
            raise Http404("There is no such connector.")
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
