"""Test subscribers: for whom actions are tried, and who alone is served while the App is in test mode."""

from datetime import datetime, time, timedelta
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.views.generic import TemplateView

from engage.audit.record import record
from engage.tenancy import current
from engage.tenancy.models import App
from engage.tenancy.roles import Right
from engage.tenancy.scoped import ConsoleViewMixin, ScopedModelAdmin
from prompts import trying
from prompts.forms import TestSubscriberForm
from prompts.models import LimitTaken
from sync import traits
from sync.models import Subscriber


class TestSubscribersView(ConsoleViewMixin, TemplateView):
    """Who they are; adding one."""

    __test__ = False
    right = Right.TEST_PROMPTS
    title = "Test subscribers"
    template_name = "prompts/prompt/test_subscribers.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the people and the form."""
        kwargs.setdefault("form", TestSubscriberForm())
        app = current.current_app(self.request)
        return super().get_context_data(
            people=list(trying.test_subscribers(app)),
            now=timezone.now(),
            **kwargs,
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Add one."""
        form = TestSubscriberForm(request.POST)
        if not form.is_valid():
            return self.render_to_response(self.get_context_data(form=form), status=422)
        app = current.current_app(request)
        with transaction.atomic():
            subscriber = traits.subscriber(app, form.cleaned_data["user_id"])
            was = subscriber.is_test
            subscriber.is_test = True
            subscriber.test_note = form.cleaned_data["note"]
            subscriber.test_until = _end_of(form.cleaned_data["until"], app)
            subscriber.test_added_by = request.user  # type: ignore[assignment]  # signed in: a User
            subscriber.save(update_fields=["is_test", "test_note", "test_until", "test_added_by", "updated_at"])
            verb = "changed a test subscriber" if was else "added a test subscriber"
            record(verb, subscriber, {"ends": [None, str(subscriber.test_until or "never")]}, request=request)
        messages.success(request, f"{subscriber} is a test subscriber.")
        return redirect("admin:prompts_test_subscribers")


def _end_of(day: Any, app: App) -> datetime | None:
    """Return the instant at which a day is over in the App's time zone."""
    return datetime.combine(day + timedelta(days=1), time.min, app.zone) if day else None


class TestSubscriberView(ConsoleViewMixin, TemplateView):
    """What the buttons of a row do."""

    __test__ = False
    right = Right.TEST_PROMPTS
    title = "Test subscribers"
    http_method_names = ["post"]

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Remove one, or give back the limits that they have taken."""
        subscriber = get_object_or_404(Subscriber, pk=kwargs["pk"], app=current.current_app(request), is_test=True)
        with transaction.atomic():
            match kwargs["verb"]:
                case "remove":
                    Subscriber.objects.filter(pk=subscriber.pk).update(is_test=False, test_until=None, test_note="")
                    record("removed a test subscriber", subscriber, request=request)
                    messages.success(request, f"{subscriber} is no test subscriber any more.")
                case "reset":
                    given_back, _ = LimitTaken.objects.filter(subscriber=subscriber).delete()
                    record("reset the limits of a test subscriber", subscriber, request=request)
                    messages.success(request, f"{subscriber} may accept every prompt again ({given_back} given back).")
                case _:
                    raise Http404
        return redirect("admin:prompts_test_subscribers")


def urls(admin: ScopedModelAdmin) -> list[URLPattern]:
    """Return the pages' URLs, beside the prompts'."""
    site = admin.admin_site
    return [
        path(
            "test-subscribers/",
            site.admin_view(TestSubscribersView.as_view(model_admin=admin)),
            name="prompts_test_subscribers",
        ),
        path(
            "test-subscribers/<int:pk>/<slug:verb>/",
            site.admin_view(TestSubscriberView.as_view(model_admin=admin)),
            name="prompts_test_subscriber",
        ),
    ]
