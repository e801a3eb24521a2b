"""The pages of Live, of one execution, and Lookup."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.generic import TemplateView, View

from connectors.base import RESOLVED, Action
from connectors.registry import connector_or_none, declaration
from connectors.views import page_url
from engage.audit.record import record
from engage.tenancy import current
from engage.tenancy.models import App
from engage.tenancy.roles import Right
from engage.tenancy.scoped import ConsoleViewMixin
from prompts import erasure, live, lookup, timeline
from prompts.decisions import NotPossible
from prompts.events import is_test_subscriber
from prompts.models import Attempt, Batch, Execution, PromptEvent, State
from prompts.offers import offers
from prompts.states import STATES, StateWords, sentence, words
from sync.models import Subscriber
from sync.traits import MASKED


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


def own_execution(request: HttpRequest, pk: Any) -> Execution:
    """Return an execution of the App at hand; another App's is a 404."""
    rows = Execution.objects.select_related("event__prompt", "subscriber", "connection", "binding", "rerun_of")
    return get_object_or_404(rows, app=current.current_app(request), pk=pk)


# --- the list ---------------------------------------------------------------------------------------------------------------


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
            zone=app.time_zone,
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
            zone=app.time_zone,
            tab="refused",
        )


# --- one execution ----------------------------------------------------------------------------------------------------------


def declared_action(execution: Execution) -> Action | None:
    """Return the declaration of the action, or None when it has been taken out since."""
    found = declaration(execution)
    return found[1] if found else None


def shown_inputs(execution: Execution, *, personal: bool) -> list[tuple[str, Any]]:
    """Return the frozen inputs with their labels; without `personal` only those that a designer fixed are shown."""
    action = declared_action(execution)
    fields = action.Inputs.base_fields if action else {}
    sources = execution.binding.inputs if execution.binding else {}
    shown = []
    for name, value in execution.inputs.items():
        fixed = sources.get(name, {}).get("from") in {"fixed", "resolved"}
        label = fields[name].label if name in fields and fields[name].label else name
        if name == RESOLVED and isinstance(value, dict):
            label, value = "Which is, at the vendor", value.get("values")
        shown.append((str(label), value if personal or fixed else MASKED))
    return shown


class ExecutionPage(ConsoleViewMixin, TemplateView):
    """One execution: how it stands, how it came there, what was sent and answered, and what may be done."""

    right = Right.LOOK
    title = "Execution"
    template_name = "prompts/live/execution.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Everything that is known of it, masked for roles that may not see personal values."""
        app = current.current_app(self.request)
        execution = own_execution(self.request, kwargs["pk"])
        personal = current.may(self.request, Right.SEE_PERSONAL)
        attempts = list(execution.attempts.select_related("body").order_by("started_at", "pk"))
        event = execution.event
        hide: lookup.Veil = lookup.open_veil
        if not personal:
            hide = lookup.veil(app, [(execution.subscriber, [event.inputs, execution.traits])])
        moments = timeline.timeline(execution, attempts)
        self.title = f"{live.action_label(execution)} for {execution.subscriber.user_id}"
        allowed = [offer for offer in offers(execution) if current.may(self.request, offer.verb.right)]
        found, declared = declaration(execution), connector_or_none(execution.connector)
        return super().get_context_data(
            **kwargs,
            row=Row(live.Line(event, execution), hide),
            execution=execution,
            stamp=stamp(execution, attempts),
            moves=execution.state in live.MOVING,
            moments=[(moment, hide(moment.title), hide(moment.text)) for moment in moments],
            attempts=[(attempt, exchanges_of(attempt), hide(attempt.message)) for attempt in reversed(attempts)],
            attempt_states=STATES,
            personal=personal,
            inputs=shown_inputs(execution, personal=personal),
            traits=[(name, value if personal else MASKED) for name, value in sorted(execution.traits.items())],
            action=found[1] if found else None,
            where=live.environment(execution),
            offers=allowed,
            denied=bool(offers(execution)) and not allowed,
            uncertain=execution.state == State.UNCERTAIN,
            connection_url=page_url(declared, execution.connection) if declared else "",
            batch=batch_of(execution) if execution.is_forward else None,
            support_text=timeline.for_vendor_support(execution, attempts, personal=personal),
            zone=app.time_zone,
        )


def stamp(execution: Execution, attempts: list[Attempt]) -> str:
    """Return a text that changes when the page would."""
    finished = sum(attempt.finished_at is not None for attempt in attempts)
    counts = (execution.fence, execution.polls, len(attempts), finished)
    return f"{execution.state} {counts} {execution.due_at} {execution.decided_at}"


def exchanges_of(tried: Attempt | Batch) -> list[dict[str, Any]]:
    """Return what was sent and answered, as texts, with the id under which the vendor knows each request."""
    body = getattr(tried, "body", None)
    return [
        {
            **exchange,
            "request_id": timeline.request_id(exchange),
            "as_request": _message(exchange.get("headers"), exchange.get("body")),
            "as_answer": _message(exchange.get("answer_headers"), exchange.get("answer")),
        }
        for exchange in (body.exchanges if body else [])
    ]


@dataclass(frozen=True)
class BatchShown:
    """The batch in which an event was last sent: its requests, and this event's part of them."""

    batch: Batch
    exchanges: list[dict[str, Any]]
    payload: str


def batch_of(execution: Execution) -> BatchShown | None:
    """Return what is kept of the batch of a forward; None while there is none, or no more."""
    batch = Batch.objects.filter(pk=execution.batch_id).select_related("body").first() if execution.batch_id else None
    if batch is None:
        return None
    body = getattr(batch, "body", None)
    payload = body.payloads.get(str(execution.pk)) if body else None
    return BatchShown(batch, exchanges_of(batch), json.dumps(payload, indent=2, ensure_ascii=False) if payload else "")


def _message(headers: dict[str, str] | None, body: Any) -> str:
    lines = "\n".join(f"{name}: {value}" for name, value in (headers or {}).items())
    text = body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False) if body is not None else ""
    return "\n\n".join(part for part in (lines, text) if part) or "Empty"


class ExecutionDo(ConsoleViewMixin, View):
    """Carry out what somebody chose on an execution's page."""

    right = Right.RUN_AGAIN
    http_method_names = ["post"]

    def post(self, request: HttpRequest, pk: Any, verb: str) -> HttpResponse:
        """Do it once, if the execution still stands as the person saw it; say what came of it."""
        execution = own_execution(request, pk)
        back = HttpResponseRedirect(reverse("admin:prompts_execution_change", args=[pk]))
        if request.POST.get("seen") != execution.state:
            now = STATES[State(execution.state)].label
            messages.warning(request, f"Nothing was done: this has changed since you looked, and is now “{now}”.")
            return back
        offer = next((one for one in offers(execution) if one.verb.key == verb), None)
        if offer is None:
            raise Http404
        if not current.may(request, offer.verb.right):
            raise PermissionDenied("Your role does not allow this. An administrator of this App can decide it.")
        note = request.POST.get("note", "").strip()
        if offer.verb.note == "required" and not note:
            messages.error(request, f"Nothing was done: “{offer.verb.label}” needs a note on how you know.")
            return back
        before = execution.state
        try:
            after = offer.verb.do(execution, request.user.get_username(), note)
        except NotPossible as reason:
            messages.warning(request, str(reason))
            return back
        changes: dict[str, list[Any]] = {"state": [before, after.state]}
        if note:
            changes["note"] = [None, note]
        if after.pk != execution.pk:
            changes["new execution"] = [None, str(after.pk)]
        record(
            offer.verb.past,
            execution,
            changes,
            request=request,
            label=f"{live.action_label(execution)} for {execution.subscriber}",
        )
        waits = after.state == State.WAITING  # until the vendor can show what an earlier try did
        messages.success(request, sentence(after) if waits else offer.verb.said)
        return HttpResponseRedirect(reverse("admin:prompts_execution_change", args=[after.pk]))


# --- Lookup -----------------------------------------------------------------------------------------------------------------


class LookupPage(ConsoleViewMixin, TemplateView):
    """Find a subscriber, and see what is known of them. Who looked at whom is recorded."""

    title = "Lookup"
    right = Right.LOOK
    template_name = "prompts/lookup/lookup.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Nothing asked, nothing found, several to choose from, or one subscriber."""
        app = current.current_app(self.request)
        text, user_id = self.request.GET.get("q", "").strip(), self.request.GET.get("user", "")
        if user_id:
            matches = [lookup.Match(row, "user id") for row in Subscriber.objects.filter(app=app, user_id=user_id)]
        else:
            matches = lookup.search(app, text)
        context = {"q": text or user_id, "matches": matches, "asked": bool(text or user_id), "zone": app.time_zone}
        if len(matches) == 1:
            context |= self._subscriber(app, matches[0])
        return super().get_context_data(**kwargs, **context)

    def _subscriber(self, app: App, match: lookup.Match) -> dict[str, Any]:
        subscriber = match.subscriber
        record("looked up", subscriber, request=self.request)
        personal = current.may(self.request, Right.SEE_PERSONAL)
        page = live.history(app, subscriber)
        return {
            "match": match,
            "subscriber": subscriber,
            "is_test": is_test_subscriber(subscriber, timezone.now()),
            "personal": personal,
            "may_erase": current.may(self.request, Right.ERASE_SUBSCRIBERS),
            "traits": lookup.traits_shown(app, subscriber, personal=personal),
            "offered": lookup.prompts_of(app, subscriber),
            "limits": subscriber.limits_taken.filter(prompt__app=app).select_related("prompt").order_by("-taken_at"),
            "rows": rows_of(self.request, page.lines),
            "more": urlencode({"user": subscriber.user_id, "impressions": "on"}) if page.older else "",
        }


class ErasePage(ConsoleViewMixin, TemplateView):
    """Delete a subscriber and everything known of them. Asked twice: the page, and the id typed again."""

    title = "Delete a subscriber"
    right = Right.ERASE_SUBSCRIBERS
    template_name = "prompts/lookup/erase.html"

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Find the subscriber."""
        super().setup(request, *args, **kwargs)
        rows = Subscriber.objects.filter(app=current.current_app(request)).select_related("app")
        self.subscriber = get_object_or_404(rows, pk=kwargs["pk"])

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Say what would go, and what stands in the way."""
        person = self.subscriber
        return super().get_context_data(**kwargs) | {
            "subscriber": person,
            "open": erasure.open_of(person),
            "counts": {
                "traits": len(person.traits),
                "events": person.events.count(),
                "executions": person.executions.count(),
                "messages": person.messages.count(),
            },
        }

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Delete, if the id was typed as it is."""
        if request.POST.get("user_id", "").strip() != self.subscriber.user_id:
            wrong = "This is not the user id of this subscriber. Nothing was deleted."
            return self.render_to_response(self.get_context_data(wrong=wrong, typed=request.POST.get("user_id", "")))
        try:
            erasure.erase(self.subscriber, request)
        except erasure.StillOpen:
            return self.render_to_response(self.get_context_data(typed=request.POST.get("user_id", "")))
        except Subscriber.DoesNotExist:
            raise Http404 from None  # as for whoever looks a moment later
        messages.success(request, "The subscriber and everything that was known of them is deleted.")
        return redirect("admin:prompts_lookup")
