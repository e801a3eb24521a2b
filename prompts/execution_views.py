"""The page of one execution."""

import json
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.html import format_html
from django.views.generic import TemplateView, View

from connectors import activity
from connectors.base import RESOLVED
from connectors.journal import spelled_out
from connectors.registry import action_of, connector_or_none
from connectors.views import page_url
from engage.audit.record import record
from engage.tenancy import current
from engage.tenancy.roles import Right
from engage.tenancy.scoped import ConsoleViewMixin
from prompts import live, lookup, timeline
from prompts.decisions import NotPossible
from prompts.live_views import Row
from prompts.models import Attempt, Batch, Execution, State
from prompts.offers import offers
from prompts.states import STATES, sentence
from sync.traits import MASKED


def own_execution(request: HttpRequest, pk: Any) -> Execution:
    """Return an execution of the App at hand; another App's is a 404."""
    rows = Execution.objects.select_related("event__prompt", "subscriber", "connection", "binding", "rerun_of")
    return get_object_or_404(rows, app=current.current_app(request), pk=pk)


def shown_inputs(execution: Execution, *, personal: bool) -> list[tuple[str, Any]]:
    """Return the frozen inputs with their labels; without `personal` only those that a designer fixed are shown."""
    action = action_of(execution)
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
        declared = connector_or_none(execution.connector)
        return super().get_context_data(
            **kwargs,
            row=Row(live.Line(event, execution), hide),
            execution=execution,
            stamp=stamp(execution, attempts),
            moves=execution.state in live.MOVING,
            moments=[(moment, hide(moment.title), hide(moment.text)) for moment in moments],
            attempts=[
                (name, attempt, exchanges_of(attempt), hide(attempt.message))
                for name, attempt in reversed(list(zip(timeline.names(attempts), attempts, strict=True)))
            ],
            attempt_states=STATES,
            personal=personal,
            inputs=shown_inputs(execution, personal=personal),
            traits=[(name, value if personal else MASKED) for name, value in sorted(execution.traits.items())],
            action=action_of(execution),
            where=live.environment(execution),
            paused=activity.pause(execution.connection) if execution.connection else "",
            offers=allowed,
            denied=bool(offers(execution)) and not allowed,
            uncertain=execution.state == State.UNCERTAIN,
            connection_url=page_url(declared, execution.connection) if declared else "",
            batch=batch_of(execution) if execution.is_forward else None,
            support_text=timeline.for_vendor_support(execution, attempts, personal=personal),
            zone=app.zone,
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
        {**spelled_out(exchange), "request_id": timeline.request_id(exchange)}
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


class ExecutionDo(ConsoleViewMixin, View):
    """Carry out what somebody chose on an execution's page."""

    right = Right.RUN_AGAIN
    http_method_names = ["post"]

    def post(self, request: HttpRequest, pk: Any, verb: str) -> HttpResponse:
        """Do it once, if the execution still stands as the person saw it; say what came of it."""
        execution = own_execution(request, pk)
        back = HttpResponseRedirect(reverse("admin:prompts_execution_change", args=[pk]))
        if request.POST.get("seen") != execution.standing:
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
        messages.success(request, sentence(after) if waits else _said(offer.verb.said, after))
        return HttpResponseRedirect(reverse("admin:prompts_execution_change", args=[after.pk]))


def _said(done: str, after: Execution) -> str:
    """Return what came of a decision; while the connection pauses, until when what goes on waits."""
    paused = activity.pause(after.connection) if after.connection and after.state == State.QUEUED else ""
    return format_html("It runs again when {} does. {}", after.connection, paused) if paused else done
