"""*Webhooks* in the console: what vendors told, how it stands, and processing it again."""

import json
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.views.generic import TemplateView, View

from connectors.answers import KEPT_OF_AN_ANSWER
from connectors.models import Connection
from engage.audit.record import record
from engage.redaction import redact
from engage.tenancy import current
from engage.tenancy.newest_first import NewestFirstAdmin
from engage.tenancy.roles import Right
from engage.tenancy.scoped import ConsoleViewMixin
from sync import inbound
from sync.models import InboundMessage, MessageState
from sync.sources import Status

TITLE_ALONE = {"model_admin": None}  # unfold would head these pages with the names of models
STATUS = {
    MessageState.QUEUED: Status("Waiting", "schedule", "neutral"),
    MessageState.DONE: Status("Done", "check_circle", "success"),
    MessageState.IGNORED: Status("Not used", "do_not_disturb_on", "neutral"),
    MessageState.UNMATCHED: Status("Nobody found", "person_search", "warning"),
    MessageState.OVERTAKEN: Status("Overtaken", "layers", "neutral"),
    MessageState.FAILED: Status("Could not be read", "error", "danger"),
}
# Of these the reason may quote the vendor, who may quote a person.
QUOTES = (MessageState.FAILED, MessageState.QUEUED)
SWITCHED_OFF = "It waits until the connection is switched on."


def sentence(message: InboundMessage, *, personal: bool) -> str:
    """Return what a person reads about how a message stands."""
    if message.state == MessageState.QUEUED and not message.connection.active:
        return SWITCHED_OFF
    if message.state in QUOTES and message.reason and not personal:
        return "Its reason may name a person; your role does not show it."
    return message.reason or ("It is read within seconds." if message.state == MessageState.QUEUED else "")


def shown_payload(message: InboundMessage) -> str:
    """Return what came, without what its name calls a secret, as text to be looked at."""
    if message.body is None:
        text = json.dumps(redact(message.payload), indent=2, ensure_ascii=False)
    else:
        text = str(redact(bytes(message.body)))
    return text if len(text) <= KEPT_OF_AN_ANSWER else f"{text[:KEPT_OF_AN_ANSWER]}… ({len(text):,} characters)"


class ConnectionFilter(admin.SimpleListFilter):
    """By the connection that it came to."""

    title, parameter_name = "connection", "connection"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the connections of the App at hand that have messages."""
        app = current.current_app_or_none(request)
        theirs = InboundMessage.objects.filter(connection=OuterRef("pk"))
        return [(str(row.pk), str(row)) for row in Connection.objects.filter(Exists(theirs), app=app)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[InboundMessage]) -> QuerySet[InboundMessage]:
        """Return the messages of the chosen one."""
        chosen = self.value()
        known = chosen in {key for key, _ in self.lookup_choices}
        return queryset.filter(connection=UUID(chosen)) if chosen and known else queryset


class MessageAdmin(NewestFirstAdmin):
    """Every message, newest first."""

    change_right = Right.MANAGE_CONNECTIONS  # to process again; nothing of a message can be edited
    list_display = ("event", "state_label", "received", "connection", "event_id")
    list_display_links = ("event",)
    list_filter = ("state", ConnectionFilter, "received_at")
    search_fields = ("event_id",)
    search_help_text = "Search by event id"
    list_select_related = ("connection",)
    actions = ("process_again",)

    def get_urls(self) -> list[URLPattern]:
        """A message's page in place of Django's form."""
        ours: dict[str, tuple[str, type[View]]] = {
            "<int:message>/change/": ("change", MessageView),
            "<int:message>/again/": ("again", AgainView),
        }
        listing = [url for url in super().get_urls() if url.name == "sync_inboundmessage_changelist"]
        return listing + [
            path(route, self.admin_site.admin_view(view.as_view(model_admin=self)), name=f"sync_inboundmessage_{name}")
            for route, (name, view) in ours.items()
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboundMessage]:
        """Without what came, which no list shows."""
        return super().get_queryset(request).defer("payload", "body", "request")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[InboundMessage], search_term: str
    ) -> tuple[QuerySet[InboundMessage], bool]:
        """Keep the messages of this id, whole: so they are known, one in each connection."""
        text = search_term.strip()
        mine = Connection.objects.filter(app=current.current_app_or_none(request)).values("pk")
        return (queryset.filter(connection__in=mine, event_id=text) if text else queryset), False

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """The columns; what a reason may quote depends on who looks."""
        personal = current.may(request, Right.SEE_PERSONAL)

        @admin.display(description="How it stands")
        def how_it_stands(message: InboundMessage) -> str:
            return sentence(message, personal=personal)

        first, state, *others = self.list_display
        return [first, state, how_it_stands, *others]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With the title that the sidebar uses."""
        page: HttpResponse = super().changelist_view(request, {**(extra_context or {}), "title": "Webhooks"})
        return page

    @admin.display(description="Event")
    def event(self, message: InboundMessage) -> str:
        """The vendor's type."""
        return message.type or "(no type)"

    @admin.display(description="State")
    def state_label(self, message: InboundMessage) -> str:
        """Icon and word."""
        return render_to_string("sync/state.html", {"status": STATUS[MessageState(message.state)]})

    @admin.display(description="Received")
    def received(self, message: InboundMessage) -> str:
        """When."""
        return render_to_string("sync/moment.html", {"at": message.received_at})

    @admin.action(description="Process again", permissions=["change"])
    def process_again(self, request: HttpRequest, queryset: QuerySet[InboundMessage]) -> None:
        """Queue the chosen ones again."""
        count = inbound.again(InboundMessage.objects.filter(pk__in=queryset.order_by().values("pk")))
        record("processed webhooks again", current.current_app(request), {"messages": [None, count]}, request=request)
        messages.success(request, f"{count} message{'' if count == 1 else 's'} will be processed again.")


class MessageViewMixin(ConsoleViewMixin):
    """A view about one message of the App at hand."""

    message: InboundMessage

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Find it."""
        super().setup(request, *args, **kwargs)
        rows = InboundMessage.objects.filter(app=current.current_app(request)).select_related(
            "connection", "subscriber"
        )
        self.message = get_object_or_404(rows, pk=kwargs["message"])
        self.title = self.message.type or "Message"


class MessageView(MessageViewMixin, TemplateView):
    """What a vendor told, and what came of it."""

    template_name = "sync/message.html"
    right = Right.LOOK

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the message; what came only for people who may see personal data."""
        message, personal = self.message, current.may(self.request, Right.SEE_PERSONAL)
        return super().get_context_data(**kwargs) | {
            **TITLE_ALONE,
            "message": message,
            "status": STATUS[MessageState(message.state)],
            "sentence": sentence(message, personal=personal),
            "personal": personal,
            "payload": shown_payload(message) if personal else "",
            "request_kept": redact(message.request) if personal and message.request else None,
            "again": message.state != MessageState.QUEUED and current.may(self.request, Right.MANAGE_CONNECTIONS),
        }


class AgainView(MessageViewMixin, View):
    """Process a message again: after a CSV brought the id that nobody had, or a newer version can read it."""

    right = Right.MANAGE_CONNECTIONS
    http_method_names = ("post",)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Queue it."""
        message = self.message
        if inbound.again(InboundMessage.objects.filter(pk=message.pk)):
            record("processed again", message, {"state": [message.state, MessageState.QUEUED.value]}, request=request)
            messages.success(request, "It will be processed again in a moment.")
        else:
            messages.info(request, "It waits to be processed already.")
        return redirect("admin:sync_inboundmessage_change", message.pk)
