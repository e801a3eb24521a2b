"""*Settings > Actions*: the catalogue of connectors, and the page of one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from django.conf import settings as django_settings
from django.contrib import messages
from django.db.models import Count, Prefetch, Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.views.generic import TemplateView, View

from connectors import activity, catalogues, connections, forwarded, pushes, rereads, runner, scripts
from connectors.base import Action, Category, Connector, ProbeLine
from connectors.forms import SamplesForm, SettingsForm, SwitchForm, settings_form
from connectors.journal import spelled_out
from connectors.models import CatalogueState, Connection, Health, Script
from connectors.pulls import BY_USER_ID, SETTING, way_of
from connectors.registry import all_connectors, connector, connector_or_none
from connectors.runner import Preview, Work
from engage.audit.models import Entry
from engage.tenancy import current
from engage.tenancy.models import App
from engage.tenancy.roles import Right
from engage.tenancy.scoped import ConsoleViewMixin
from engage.vault.fields import Unreadable

HISTORY_SHOWN = 50
ROUNDS_SHOWN = 7
# unfold would head these pages "Connectors > Connections > ...", which are no words of the console.
TITLE_ALONE = {"model_admin": None}


@dataclass(frozen=True)
class Status:
    """How a connector stands in an App: icon, word and tone (a class)."""

    key: str
    label: str
    icon: str
    tone: str


ALWAYS_ON = Status("active", "Always on", "check_circle", "eg-good")
ATTENTION = Status("attention", "Needs attention", "error", "eg-bad")
PAUSED = Status("paused", "Paused", "timer", "eg-warn")
ACTIVE = Status("active", "Active", "check_circle", "eg-good")
INACTIVE = Status("inactive", "Inactive", "pause_circle", "eg-subtle")
NOT_SET_UP = Status("new", "Not set up", "radio_button_unchecked", "eg-subtle")
ARCHIVED = Status("archived", "Archived", "archive", "eg-subtle")
STATUSES = (ATTENTION, PAUSED, ACTIVE, INACTIVE, NOT_SET_UP)


def status_of(declared: Connector, connection: Connection | None) -> Status:
    """Return how a connector stands."""
    if not declared.needs_connection:
        return ALWAYS_ON
    if connection is None:
        return NOT_SET_UP
    if connection.archived_at:
        return ARCHIVED
    if not connection.active:
        return INACTIVE
    if connection.health == Health.ATTENTION:
        return ATTENTION
    return PAUSED if activity.pause(connection) else ACTIVE


def prompts_url(key: int) -> str:
    """Return the page of a prompt; empty where the console has none."""
    try:
        return reverse("admin:prompts_prompt_change", args=[key])
    except NoReverseMatch:
        return ""


# --- the catalogue ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Card:
    """A connector in the catalogue."""

    declared: Connector
    connection: Connection | None
    status: Status
    environment: str
    sandbox: bool
    used_by: int
    problem: str
    problem_at: datetime | None
    found: tuple[str, ...] = ()  # labels of actions that the search found

    def matches(self, words: Sequence[str]) -> bool:
        """Whether every word stands somewhere in what the connector is called and can do."""
        declared = self.declared
        text = " ".join(
            [
                declared.key,
                declared.label,
                str(declared.category.label),
                declared.description,
                *declared.aliases,
                *(action.label for action in declared.actions),
            ]
        ).lower()
        return all(word in text for word in words)


def cards(app: App) -> Iterator[Card]:
    """Every connector, as it stands in an App."""
    states = Prefetch("catalogue_states", CatalogueState.objects.exclude(error=""))
    rows = {row.connector: row for row in app.connections.filter(name="").prefetch_related(states)}
    live = Q(status="live", archived_at=None, bindings__archived_at=None)
    counted = app.prompts.filter(live).values("bindings__connector").annotate(prompts=Count("pk", distinct=True))
    used = {row["bindings__connector"]: row["prompts"] for row in counted}
    for declared in all_connectors():
        if declared.several:
            continue
        row = rows.get(declared.key)
        problem, problem_at = connections.last_problem(row) if row else ("", None)
        yield Card(
            declared,
            row,
            status_of(declared, row),
            declared.environment(row.settings) if row else "",
            declared.is_sandbox(row.settings) if row else False,
            used.get(declared.key, 0),
            problem,
            problem_at,
        )


class CatalogueView(ConsoleViewMixin, TemplateView):
    """The connectors by category, those that need attention first. Filters are in the URL."""

    title = "Actions"
    template_name = "connectors/catalogue.html"
    right = Right.LOOK

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the cards that match the filters, in groups."""
        asked = {name: self.request.GET.get(name, "").strip() for name in ("q", "category", "state", "used")}
        words = asked["q"].lower().split()
        shown = []
        for card in cards(current.current_app(self.request)):
            if (
                not card.matches(words)
                or asked["category"] not in {"", card.declared.category}
                or asked["state"] not in {"", card.status.key}
                or (asked["used"] and not card.used_by)
            ):
                continue
            labels = (action.label for action in card.declared.actions)
            shown.append(
                replace(card, found=tuple(label for label in labels if any(word in label.lower() for word in words)))
            )
        return (
            super().get_context_data(
                **kwargs,
                groups=list(_groups(shown)),
                asked=asked,
                filtered=any(asked.values()),
                categories=[(category.value, category.label) for category in _categories()],
                statuses=STATUSES,
                may_manage=current.may(self.request, Right.MANAGE_CONNECTIONS),
                tab="connectors",
            )
            | TITLE_ALONE
        )


@dataclass(frozen=True)
class NamedCard:
    """An action that an administrator made, in its list."""

    connection: Connection
    declared: Connector
    action: type[Action]
    status: Status
    environment: str
    used_by: int
    problem: str


def named_actions(app: App, key: str) -> Iterator[NamedCard]:
    """The actions that an App has of a connector of which it may have several, by name; without archived ones."""
    declared = connector(key)
    rows = app.connections.filter(connector=key, archived_at=None).prefetch_related("catalogue_states")
    for row in rows.order_by("name"):
        for action in declared.actions_of(row.settings):
            yield NamedCard(
                row,
                declared,
                action,
                status_of(declared, row),
                declared.environment(row.settings),
                connections.live_prompts(row),
                connections.last_problem(row)[0],
            )


class NamedActionsView(ConsoleViewMixin, TemplateView):
    """The actions that administrators of the App have made, those that need attention first."""

    title = "Actions"
    right = Right.LOOK
    key: ClassVar[str]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the actions, each with how it stands, and those that are offered no more."""
        app = current.current_app(self.request)
        shown = named_actions(app, self.key)
        return (
            super().get_context_data(
                **kwargs,
                shown=sorted(shown, key=lambda one: one.status is not ATTENTION),
                archived=app.connections.filter(connector=self.key, archived_at__isnull=False).order_by("name"),
                may_manage=current.may(self.request, Right.MANAGE_CONNECTIONS),
                tab=self.key,
            )
            | TITLE_ALONE
        )


class ApiActionsView(NamedActionsView):
    """The App's API actions."""

    key = "api"
    template_name = "connectors/api_actions.html"


class WebsiteActionsView(NamedActionsView):
    """What the person's own browser carries out: the App's scripts, and what needs none."""

    key = "website"
    template_name = "connectors/website_actions.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the actions that are always there."""
        built_in = [declared for declared in all_connectors() if not declared.needs_connection]
        return super().get_context_data(
            **kwargs, built_in=[action for declared in built_in for action in declared.actions]
        )


def _categories() -> list[Category]:
    used = {declared.category for declared in all_connectors() if not declared.several}
    return [category for category in Category if category in used]


def _groups(shown: list[Card]) -> Iterator[tuple[str, list[Card]]]:
    trouble = [card for card in shown if card.status is ATTENTION]
    if trouble:
        yield "Needs attention", trouble
    for category in _categories():
        rest = [card for card in shown if card.declared.category == category and card.status is not ATTENTION]
        if rest:
            yield str(category.label), rest


def prompts_using(declared: Connector, app: App, connection: Connection | None) -> Iterator[dict[str, Any]]:
    """The prompts with an action of this connector; of this connection, where there may be several."""
    mine = {"bindings__connection": connection} if declared.several else {}
    used = app.prompts.filter(archived_at=None, bindings__archived_at=None, bindings__connector=declared.key, **mine)
    for prompt in used.annotate(actions=Count("bindings")).order_by("name"):
        yield {
            "name": prompt.name,
            "status": prompt.get_status_display(),
            "actions": prompt.actions,
            "url": prompts_url(prompt.pk),
        }


# --- one connector ------------------------------------------------------------------------------------------------------------


def page_url(declared: Connector, connection: Connection | None) -> str:
    """Return the page of a connector, or of one connection where an App may have several."""
    if declared.several and connection is not None:
        return reverse("admin:connectors_connection_one", args=[connection.pk])
    return reverse("admin:connectors_connection_page", args=[declared.key])


class ConnectorViewMixin(ConsoleViewMixin):
    """A view about one connector in the App at hand."""

    declared: Connector
    app: App
    connection: Connection | None

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Find the connector and its connection."""
        super().setup(request, *args, **kwargs)
        self.app, key = current.current_app(request), kwargs.get("key")
        named = get_object_or_404(self.app.connections, pk=key).connector if key else kwargs["connector"]
        declared = connector_or_none(named)
        if declared is None:
            raise Http404("There is no such connector.")
        self.declared = declared
        self.connection = connections.of_app(self.app, declared, key)
        self.title = str(self.connection) if declared.several and self.connection else declared.label

    def page_url(self, fragment: str = "") -> str:
        """The page of the connector, or of the connection where there may be several."""
        url = page_url(self.declared, self.connection)
        return f"{url}#{fragment}" if fragment else url

    def is_about_this_app(self, switch: SwitchForm) -> bool:
        """Whether the form was made for the App at hand; in another tab the person may have gone to another one."""
        return switch.is_valid() and switch.cleaned_data["app"] == self.app.pk


class ConnectionView(ConnectorViewMixin, TemplateView):
    """A connector's page: settings, actions, the vendor's rows, who uses it, set-up and history."""

    template_name = "connectors/connection.html"
    right = Right.LOOK

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Everything that the page shows; settings and history only to who may manage connections."""
        declared, row = self.declared, self.connection
        may_manage = current.may(self.request, Right.MANAGE_CONNECTIONS)
        is_archived = bool(row and row.archived_at)
        context = (
            super().get_context_data(
                **kwargs,
                declared=declared,
                connection=row,
                status=status_of(declared, row),
                account=declared.environment(row.settings) if row else "",
                sandbox=declared.is_sandbox(row.settings) if row else False,
                may_manage=may_manage,
                actions=[
                    (action, action().unavailable(row.settings) if row else "")
                    for action in declared.actions_of(row.settings if row else {})
                ],
                page_url=self.page_url(),
                test_url=f"{self.page_url()}test/",
                list_url=reverse(f"admin:connectors_connection_{declared.key if declared.several else 'changelist'}"),
                forwarded=forwarded.shown(declared, row),
                activity=activity.of(row) if row and declared.calls_out and declared.actions_of(row.settings) else None,
                catalogues=list(self._catalogues()),
                prompts=list(prompts_using(declared, self.app, row)),
                hook=self._hook(),
                pulls=list(self._pulls()),
                pulls_on=bool(row and row.active and way_of(row.settings)),
                pulls_setting=declared.Settings.base_fields[SETTING].label if declared.pulls else "",
                by_user_id=bool(row and way_of(row.settings) == BY_USER_ID),
                push=self._push(),
                reread=self._reread(),
                may_preview=declared.several and row is not None and may_manage and not is_archived,
                problem=connections.last_problem(row)[0] if row else "",
            )
            | TITLE_ALONE
        )
        if context["may_preview"]:
            context.setdefault("samples", SamplesForm(context["actions"][0][0], test_subscribers(self.app)))
        if may_manage and declared.needs_connection:
            context |= self._management(context.get("form"), context.get("switch"))
        if is_archived:
            context["form"] = None  # there is nothing to set; its history is shown
        return context

    def _management(self, form: SettingsForm | None, switch: SwitchForm | None) -> dict[str, Any]:
        row = self.connection
        form = form or settings_form(row, self.declared)
        sandbox = django_settings.ENGAGE_DEMO_SANDBOX_URL
        return {
            "form": form,
            "switch": switch
            or SwitchForm(
                initial={"app": self.app.pk, "seen": connections.stamp(row), "active": bool(row and row.active)}
            ),
            "errors": [(bound, error) for bound in form for error in bound.errors],
            "talks_to": talks_to(self.declared, row),
            "versions": self._versions(),
            "overridden": self.declared.key in django_settings.ENGAGE_VENDOR_URLS,
            "sandbox_page": f"{sandbox}/{self.declared.key}" if sandbox and self.declared.calls_out else "",
            "lines": [ProbeLine(ok, text) for ok, text in row.test_result] if row else [],
            "live_prompts": connections.live_prompts(row) if row else 0,
            "waiting": connections.waiting_executions(row) if row else 0,
            "held": connections.held_executions(row) if row else 0,
            "history": list(self._history(form)),
        }

    def _versions(self) -> list[tuple[Script, str, str]]:
        """The published versions of a script, the newest first, with address and integrity."""
        rows = Script.objects.filter(connection=self.connection) if self.connection else Script.objects.none()
        newest = rows.select_related("published_by").defer("text").order_by("-published_at")[:HISTORY_SHOWN]
        return [(row, scripts.url(self.app, row.sha256), scripts.integrity(row.sha256)) for row in newest]

    def _catalogues(self) -> Iterator[dict[str, Any]]:
        row = self.connection
        if row is None:
            return
        states = {state.catalogue: state for state in row.catalogue_states.all()}
        counted = row.catalogue_entries.values("catalogue").annotate(
            offered=Count("pk", filter=Q(vanished_at=None)), vanished=Count("pk", filter=Q(vanished_at__isnull=False))
        )
        counts = {count["catalogue"]: (count["offered"], count["vanished"]) for count in counted}
        for key, catalogue in self.declared.catalogues.items():
            offered, vanished = counts.get(key, (0, 0))
            yield {
                "key": key,
                "label": catalogue.label,
                "offered": offered,
                "vanished": vanished,
                "state": states.get(key),
                "first": row.catalogue_entries.filter(catalogue=key, vanished_at=None).order_by("position")[:10],
            }

    def _hook(self) -> dict[str, Any] | None:
        """What the page says of the vendor's webhooks; None where it sends none."""
        declared, row = self.declared, self.connection
        if declared.inbound is None:
            return None
        if row is None:
            return {"url": ""}
        needed = declared.inbound.believed_by
        form_field = declared.Settings.base_fields.get(needed)
        refused = getattr(row, "refused_delivery", None)
        last = row.messages.order_by("-pk").first()
        return {
            "url": connections.hook_url(row),
            "https": django_settings.HTTPS,
            "needs": form_field.label if form_field else needed,
            "believes": needed in row.secrets_set or bool(row.settings.get(needed)),
            "types": sorted(declared.inbound.types),
            "last": last,
            "failed": row.messages.filter(state="failed").count(),
            "refused": refused if refused and (last is None or last.received_at < refused.at) else None,
        }

    def _pulls(self) -> Iterator[dict[str, Any]]:
        """What the vendor is read for, and how the last reading went."""
        rows = {} if self.connection is None else {source.pull: source for source in self.connection.sources.all()}
        for key, pull in self.declared.pulls.items():
            source = rows.get(key)
            yield {
                "key": key,
                "label": pull.label,
                "traits": sorted(pull.traits),
                "found_by": pull.found_by,
                "tells_changes": pull.tells_changes,
                "last": source.runs.order_by("-pk").first() if source else None,
            }

    def _push(self) -> dict[str, Any] | None:
        """How traits go to the vendor, and how the last pushes went; None where it takes none."""
        declared, row = self.declared, self.connection
        if declared.push is None:
            return None
        push = declared.push()
        return {
            "push": push,
            "traits": push.traits(row.settings) if row else (),
            "nightly": bool(row and row.active and pushes.is_on(push, row.settings)),
            "label": declared.Settings.base_fields[pushes.SETTING].label,
            "runs": list(row.push_runs.order_by("-pk")[:ROUNDS_SHOWN]) if row else [],
        }

    def _reread(self) -> dict[str, Any] | None:
        """How people are read again at the vendor, and how the last readings went; None where nobody is."""
        declared, row = self.declared, self.connection
        if declared.reread is None:
            return None
        return {
            "action": declared.reread,
            "nightly": bool(row and row.active and rereads.is_on(row.settings)),
            "label": declared.Settings.base_fields[rereads.SETTING].label,
            "runs": list(row.reread_runs.order_by("-pk")[:ROUNDS_SHOWN]) if row else [],
        }

    def _history(self, form: SettingsForm) -> Iterator[dict[str, Any]]:
        if self.connection is None:
            return
        entries = Entry.objects.filter(app=self.app, kind="connection", object_id=str(self.connection.pk))
        for entry in entries.select_related("user").order_by("-id")[:HISTORY_SHOWN]:
            yield {
                "entry": entry,
                "changes": [change_in_words(form, name, *pair) for name, pair in entry.changes.items()],
            }

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Save, test and switch."""
        current.require(request, Right.MANAGE_CONNECTIONS)
        if not self.declared.needs_connection:
            raise Http404("This connector has no settings.")
        if self.connection and self.connection.archived_at:
            messages.error(request, "It is archived, so nothing was saved. Bring it back first.")
            return redirect(self.page_url())
        switch = SwitchForm(request.POST)
        if not self.is_about_this_app(switch):
            return self._other_app()
        form = settings_form(self.connection, self.declared, request.POST)
        turns_on = switch.cleaned_data["active"] and not (self.connection and self.connection.active)
        if (
            turns_on
            and not switch.cleaned_data["held"]
            and self.connection
            and connections.held_executions(self.connection)
        ):
            switch.add_error("held", "Say what becomes of the actions on hold.")
        if not form.is_valid() or switch.errors:
            return self.render_to_response(self.get_context_data(form=form, switch=switch))
        wish = connections.Wish(
            switch.cleaned_data["active"], switch.cleaned_data["untested"], switch.cleaned_data["held"] or "review"
        )
        try:
            saved = connections.save(self.app, form, wish, seen=switch.cleaned_data["seen"], request=request)
        except connections.NameTaken:
            form.add_error("name", "Another one has this name, perhaps an archived one. Choose another.")
            return self.render_to_response(self.get_context_data(form=form, switch=switch))
        except Unreadable:
            form.add_error(None, "The stored secrets cannot be opened. Enter all of them again.")
            return self.render_to_response(self.get_context_data(form=form, switch=switch))
        except connections.ChangedMeanwhile as meanwhile:
            return self._conflict(meanwhile.connection)
        self.connection = saved.connection
        self._say(saved, wish, form)
        return redirect(self.page_url())

    def _say(self, saved: connections.Saved, wish: connections.Wish, form: SettingsForm) -> None:
        row = saved.connection
        label = str(row)
        for warning in form.warnings:
            messages.warning(self.request, warning)
        if saved.report and not saved.report.passed and not row.active:
            text = f"Saved, but not switched on: {saved.report.message} Mend it and save again, or tick “Activate untested”."
            messages.warning(self.request, text)
        elif saved.report and not saved.report.passed:
            messages.error(self.request, f"Saved. The test failed: {saved.report.message}")
        elif row.active:
            messages.success(self.request, f"Saved. {label} is active.")
        else:
            messages.success(self.request, f"Saved. {label} is switched off.")

    def _other_app(self) -> HttpResponse:
        context = {**self.get_context_data(), "other_app": True, "app": self.app}
        return self.render_to_response(context, status=409)

    def _conflict(self, stored: Connection | None) -> HttpResponse:
        """Show what is stored now beside what was typed; saving again replaces it."""
        self.connection = stored and connections.of_app(self.app, self.declared, stored.pk)
        form = settings_form(self.connection, self.declared, self.request.POST)
        form.is_valid()
        data = self.request.POST.copy()
        data["connection-seen"] = connections.stamp(self.connection)
        theirs = self.connection.settings if self.connection else {}
        typed = form.cleaned_data
        differing = [
            change_in_words(form, name, theirs.get(name), typed.get(name))
            for name in form.fields
            if name not in form.secret_names and theirs.get(name) != typed.get(name)
        ]
        entries = Entry.objects.filter(app=self.app, kind="connection", object_id=str(stored.pk if stored else ""))
        context = self.get_context_data(
            form=form,
            switch=SwitchForm(data),
            conflict=True,
            differing=differing,
            last=entries.exclude(actor=connections.ITSELF).order_by("-id").first(),
        )
        return self.render_to_response(context, status=409)


class RemoveView(ConnectorViewMixin, TemplateView):
    """*Archive or remove* what an administrator made; bring an archived one back."""

    template_name = "connectors/remove.html"
    right = Right.MANAGE_CONNECTIONS

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Say what keeps it, or what would become of it."""
        row = self._row()
        return (
            super().get_context_data(
                **kwargs,
                declared=self.declared,
                connection=row,
                prompts=list(prompts_using(self.declared, self.app, row)),
                waiting=connections.waiting_executions(row),
                was_used=connections.was_used(row),
                page_url=self.page_url(),
            )
            | TITLE_ALONE
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Do it; where something has come in between, show that."""
        row = self._row()
        if row.archived_at:
            connections.bring_back(row, request=request)
            secrets = " Enter its secrets again." if self.declared.calls_out else ""
            messages.success(request, f"“{row}” is back, and switched off.{secrets}")
            return redirect(self.page_url())
        try:
            if connections.was_used(row):
                connections.archive(row, request=request)
                messages.success(request, f"“{row}” is archived. It is not offered any more; its history stays.")
            else:
                connections.remove(row, request=request)
                messages.success(request, f"“{row}” was removed.")
        except connections.InUse:
            return self.render_to_response(self.get_context_data(), status=409)
        return redirect(reverse(f"admin:connectors_connection_{self.declared.key}"))

    def _row(self) -> Connection:
        if self.connection is None or not self.declared.several:
            raise Http404("There is nothing to take away.")
        return self.connection


class PreviewView(ConnectionView):
    """*Preview*: what would leave, for a test subscriber or with sample values; nothing is sent."""

    right = Right.MANAGE_CONNECTIONS
    http_method_names = ("post",)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show it on the connection's page."""
        row = self.connection
        if row is None or not self.declared.several:
            raise Http404("There is nothing to preview.")
        action = self.declared.actions_of(row.settings)[0]
        samples = SamplesForm(action, test_subscribers(self.app), request.POST)
        if not samples.is_valid():
            return self.render_to_response(self.get_context_data(samples=samples))
        try:
            work = Work(self.declared, action(), row.everything(), samples.traits, samples.inputs, account=row)
            found = runner.preview(work)
        except Unreadable:
            found = Preview(runner.Result.HELD, "The stored secrets cannot be opened. Enter them again.")
        shown = [spelled_out(exchange)["as_sent"] for exchange in found.exchanges]
        return self.render_to_response(self.get_context_data(samples=samples, preview=found, requests=shown))


def test_subscribers(app: App) -> dict[str, Mapping[str, Any]]:
    """Return the traits of the subscribers for whom actions may be tried at this moment, by user id."""
    now = Q(test_until=None) | Q(test_until__gt=timezone.now())
    return dict(app.subscribers.filter(now, is_test=True).order_by("user_id").values_list("user_id", "traits"))


@dataclass(frozen=True)
class ChangeInWords:
    """A change as the history shows it."""

    label: str
    old: str
    new: str

    @property
    def is_long(self) -> bool:
        """Whether it is code or a list, which stands below and not within a line."""
        return "\n" in self.old or "\n" in self.new


def change_in_words(form: SettingsForm, name: str, old: Any, new: Any) -> ChangeInWords:
    """Return a change with the labels of the form's fields and choices."""
    if name not in form.fields:
        return ChangeInWords(name.replace("_", " ").capitalize(), _word(old), _word(new))
    form_field = form.fields[name]
    named = {str(key): str(label) for key, label in getattr(form_field, "choices", [])}
    return ChangeInWords(
        str(form_field.label or name), named.get(str(old), _word(old)), named.get(str(new), _word(new))
    )


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def talks_to(declared: Connector, connection: Connection | None) -> list[str]:
    """Return "host:port" of all its hosts, for firewalls; nothing where they depend on settings that are not there yet."""
    override = django_settings.ENGAGE_VENDOR_URLS.get(declared.key)
    initial = {name: _first(form_field) for name, form_field in declared.Settings.base_fields.items()}
    settings = connection.settings if connection else initial
    try:
        files = [f"https://{host}" for host in declared.file_hosts]
        urls = [override] if override else [declared.base_url(settings), *declared.hosts(settings).values(), *files]
        return list(dict.fromkeys(_place(urlsplit(url)) for url in urls if urlsplit(url).hostname))
    except (KeyError, ValueError, NotImplementedError):
        return []


def _place(url: SplitResult) -> str:
    return f"{url.hostname}:{url.port or (443 if url.scheme == 'https' else 80)}"


def _first(form_field: Any) -> Any:
    choices = list(getattr(form_field, "choices", []))
    return form_field.initial or (choices[0][0] if choices else "")


class TestView(ConnectorViewMixin, View):
    """*Test connection*: runs with what is typed, and answers with a fragment of HTML."""

    right = Right.MANAGE_CONNECTIONS
    http_method_names = ("post",)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Test what is typed; where that is what is stored, the result is kept."""
        if not self.is_about_this_app(SwitchForm(request.POST)):
            text = f"You have gone to {self.app} in another tab. Nothing was tested."
            return self._answer(409, lines=[ProbeLine(False, text)])
        form = settings_form(self.connection, self.declared, request.POST)
        if not form.is_valid():
            wrong = [ProbeLine(False, f"{bound.label}: {error}") for bound in form for error in bound.errors]
            return self._answer(422, lines=wrong)
        if self.connection is not None and form.is_as_stored:
            by = current.person_or_none(request)
            report, stored = connections.probe_stored(self.connection, by=by), True
        else:
            report, stored = connections.probe_typed(form), False
        return self._answer(200, lines=report.lines, tested=True, passed=report.passed, stored=stored)

    def _answer(self, status: int, **context: Any) -> HttpResponse:
        return TemplateResponse(self.request, "connectors/test_result.html", context, status=status)


class RefreshView(ConnectorViewMixin, View):
    """*Refresh*: reads a catalogue of the vendor now."""

    right = Right.MANAGE_CONNECTIONS
    http_method_names = ("post",)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseRedirect:
        """Refresh, and say what came of it."""
        name = kwargs["catalogue"]
        if self.connection is None or name not in self.declared.catalogues:
            raise Http404("There is nothing to refresh.")
        catalogues.refresh(self.connection, name)
        state = self.connection.catalogue_states.get(catalogue=name)
        if state.error:
            messages.error(request, f"{self.declared.catalogues[name].label} could not be refreshed: {state.error}")
        else:
            offered = self.connection.catalogue_entries.filter(catalogue=name, vanished_at=None).count()
            messages.success(request, f"{self.declared.catalogues[name].label}: {offered} rows.")
        return HttpResponseRedirect(self.page_url("data"))


class ByIdView(ConsoleViewMixin, View):
    """A connection by its id: leads to its connector's page."""

    right = Right.LOOK

    def get(self, request: HttpRequest, connection: UUID) -> HttpResponse:
        """Redirect."""
        row = get_object_or_404(current.current_app(request).connections, pk=connection)
        declared = connector_or_none(row.connector)
        if declared is None:
            raise Http404("There is no such connector.")
        return redirect(page_url(declared, row))
