"""Lookup, and the page on which a subscriber is deleted."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.generic import TemplateView

from engage.audit.record import record
from engage.tenancy import current
from engage.tenancy.models import App
from engage.tenancy.roles import Right
from engage.tenancy.scoped import ConsoleViewMixin
from prompts import erasure, live, lookup
from prompts.events import is_test_subscriber
from prompts.live_views import rows_of
from sync.models import Subscriber


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
        context = {"q": text or user_id, "matches": matches, "asked": bool(text or user_id), "zone": app.zone}
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
