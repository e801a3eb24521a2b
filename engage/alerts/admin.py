"""Alerts in the console: what is wrong now, what was lately, and who hears of it."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import urlencode
from django.views.generic import TemplateView

from connectors.models import Connection
from engage.alerts.forms import RulesForm
from engage.alerts.models import Alert, AlertRules, Kind
from engage.audit.record import differences, plain, record
from engage.tenancy import current
from engage.tenancy.models import App
from engage.tenancy.roles import Right
from engage.tenancy.scoped import ConsoleViewMixin, ScopedModelAdmin
from prompts.models import State

LATELY = 20
STATES = {
    Kind.ATTENTION: State.HELD,
    Kind.PAUSED: State.WAITING,
    Kind.UNCERTAIN: State.UNCERTAIN,
    Kind.HELD: State.HELD,
    Kind.GAVE_UP: State.GAVE_UP,
    Kind.OVERDUE: State.QUEUED,
}
"""In which state the executions are that an alert is about."""


class AlertsView(ConsoleViewMixin, TemplateView):
    """Everybody looks; administrators change who hears of what."""

    title = "Alerts"
    template_name = "alerts/alerts.html"
    right = Right.LOOK

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """What is open, what was lately, and the rules."""
        app = current.current_app(self.request)
        mine = Alert.objects.filter(app=app).order_by("-opened_at")
        may_change = current.may(self.request, Right.MANAGE_APP)
        rules = AlertRules.of(app)
        if may_change:
            kwargs.setdefault("form", RulesForm(instance=rules))
        return super().get_context_data(
            open_ones=[(alert, _links(app, alert)) for alert in mine.filter(closed_at=None)],
            lately=mine.filter(closed_at__isnull=False)[:LATELY],
            may_change=may_change,
            email_is_set_up=settings.EMAIL_IS_SET_UP,
            nobody=may_change and not rules.recipients(),
            **kwargs,
        )

    def post(self, request: HttpRequest) -> HttpResponse:
        """Save the rules."""
        current.require(request, Right.MANAGE_APP)
        app = current.current_app(request)
        before = _plain(AlertRules.of(app))
        form = RulesForm(request.POST, instance=AlertRules.of(app))
        if not form.is_valid():
            return self.render_to_response(self.get_context_data(form=form))
        with transaction.atomic():
            rules = form.save()
            rules.silent.set(form.silent())
            if changes := differences(before, _plain(rules)):
                record("changed", rules, changes, request=request)
        messages.success(request, "Saved.")
        return HttpResponseRedirect(reverse("admin:alerts_alert_changelist"))


@admin.register(Alert)
class AlertAdmin(ScopedModelAdmin):
    """One page: the alerts of the App at hand."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The alerts."""
        return AlertsView.as_view(model_admin=self)(request)


def _plain(rules: AlertRules) -> dict[str, Any]:
    told = [user.email for user in rules.recipients()]
    return {"told": told, **{name: plain(getattr(rules, name)) for name in RulesForm.Meta.fields}}


def _links(app: App, alert: Alert) -> list[tuple[str, str]]:
    """Return where to see to it: the executions, and the connection where it is about one."""
    kind = Kind(alert.kind)
    query = {"state": STATES[kind].value}
    connection = Connection.objects.filter(app=app, pk=alert.subject).first() if alert.subject else None
    if connection is not None:
        query["connector"] = connection.connector
    links = [("Executions", f"{reverse('admin:prompts_execution_changelist')}?{urlencode(query)}")]
    if connection is not None:
        links.insert(0, ("Connection", reverse("admin:connectors_connection_change", args=[connection.pk])))
    return links
