"""*User traits* in the console: traits, sources, imports."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.views.generic import View

from connectors.base import NOTHING
from engage.audit.record import differences, record, snapshot
from engage.tenancy import current
from engage.tenancy.models import App
from engage.tenancy.roles import Right
from engage.tenancy.scoped import ScopedModelAdmin
from sync import traits, views
from sync.models import ImportRun, RunState, Source, Subscriber, Trait
from sync.sources import RUN_STATUS, Status

SAMPLED = 50
CONFIRMED = Status("Confirmed", "check_circle", "success")
PENDING = Status("To be confirmed", "help", "warning")


@admin.register(Source)
class SourceAdmin(ScopedModelAdmin):
    """Sources. Django's own form would know nothing of secrets."""

    add_right = change_right = Right.MANAGE_SOURCES

    def get_urls(self) -> list[URLPattern]:
        """The pages of sources, and what their buttons call; none of Django's own pages."""
        pages: dict[str, tuple[str, type[View]]] = {
            "": ("changelist", views.SourcesView),
            "add/": ("add", views.SourceView),
            "test/": ("test_new", views.TestView),
            "<uuid:source>/change/": ("change", views.SourceView),
            "<uuid:source>/test/": ("test", views.TestView),
            "<uuid:source>/check/": ("check", views.CheckNowView),
            "<uuid:source>/pause/": ("pause", views.PauseView),
        }
        return [
            path(route, self.admin_site.admin_view(view.as_view(model_admin=self)), name=f"sync_source_{name}")
            for route, (name, view) in pages.items()
        ]


@admin.register(ImportRun)
class ImportRunAdmin(ScopedModelAdmin):
    """Every file that was imported, newest first."""

    list_display = ("file", "state_label", "source", "rows", "rejected", "started")
    list_display_links = ("file",)
    list_filter = ("state",)
    search_fields = ("object_key",)
    ordering = ("-pk",)
    list_select_related = ("source",)

    def get_urls(self) -> list[URLPattern]:
        """The run's page in place of Django's form."""
        ours: dict[str, tuple[str, type[View]]] = {
            "<int:run>/change/": ("change", views.RunView),
            "<int:run>/again/": ("again", views.ImportAgainView),
            "<int:run>/rejected.csv": ("rejected", views.RejectedView),
        }
        listing = [url for url in super().get_urls() if url.name == "sync_importrun_changelist"]
        return listing + [
            path(route, self.admin_site.admin_view(view.as_view(model_admin=self)), name=f"sync_importrun_{name}")
            for route, (name, view) in ours.items()
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With the plural that the console uses."""
        page: HttpResponse = super().changelist_view(request, {**(extra_context or {}), "title": "Imports"})
        return page

    @admin.display(description="File", ordering="object_key")
    def file(self, run: ImportRun) -> str:
        """The object's key."""
        return run.object_key

    @admin.display(description="State", ordering="state")
    def state_label(self, run: ImportRun) -> str:
        """Icon and word."""
        return render_to_string("sync/state.html", {"status": RUN_STATUS[RunState(run.state)]})

    @admin.display(description="Rows", ordering="rows_read")
    def rows(self, run: ImportRun) -> str:
        """How many were read."""
        return f"{run.rows_read:,}"

    @admin.display(description="Rejected", ordering="rows_rejected")
    def rejected(self, run: ImportRun) -> str:
        """How many could not be imported."""
        return f"{run.rows_rejected:,}"

    @admin.display(description="Started", ordering="started_at")
    def started(self, run: ImportRun) -> str:
        """When."""
        return render_to_string("sync/moment.html", {"at": run.started_at})


class _Columns:
    """The columns of the list of traits that need a look at the App's subscribers, for one request."""

    def __init__(self, app: App, *, masked: bool) -> None:
        self.filled_by, self.total = traits.filled(app), traits.coverage(app, NOTHING)[1]
        self.samples: dict[str, Any] = {}
        newest = Subscriber.objects.filter(app=app).order_by("-updated_at").values_list("traits", flat=True)
        for each in newest[:SAMPLED]:
            self.samples = {**each, **self.samples}
        if masked:
            self.samples = traits.mask_personal(app, self.samples)

    @admin.display(description="Filled")
    def filled(self, trait: Trait) -> str:
        """How many subscribers have it."""
        having = self.filled_by.get(trait.name, 0)
        return f"{having / self.total:.0%} ({having:,})" if self.total else ""

    @admin.display(description="Sample")
    def sample(self, trait: Trait) -> str:
        """A value that somebody has."""
        return str(self.samples.get(trait.name, ""))[:40]


@admin.register(Trait)
class TraitAdmin(ScopedModelAdmin):
    """What is known of each trait: its type, what it means, whether it is personal."""

    change_right = Right.MANAGE_SOURCES
    list_filter = ("type", "personal", "confirmed")
    search_fields = ("name", "description")
    ordering = ("name",)
    fields = ("name", "origin", "type", "description", "personal", "confirmed")
    readonly_fields = ("name", "origin")

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """The columns, some of which are made for this request and its App."""
        app = current.current_app_or_none(request)
        looked = _Columns(app, masked=not current.may(request, Right.SEE_PERSONAL)) if app else None
        counted = [looked.filled, looked.sample] if looked else []
        return ["name", "type_label", "state", "personal", *counted, "description", "origin"]

    @admin.display(description="Type", ordering="type")
    def type_label(self, trait: Trait) -> str:
        """The type in words."""
        return str(trait.get_type_display())

    @admin.display(description="State", ordering="confirmed")
    def state(self, trait: Trait) -> str:
        """Whether a person has confirmed it."""
        return render_to_string("sync/state.html", {"status": CONFIRMED if trait.confirmed else PENDING})

    def save_model(self, request: HttpRequest, obj: Trait, form: Any, change: Any) -> None:
        """Store it, with its entry in the history."""
        names = ["type", "description", "personal", "confirmed"]
        before = snapshot(Trait.objects.get(pk=obj.pk), names)
        super().save_model(request, obj, form, change)
        changes = differences(before, snapshot(obj, names))
        if changes:
            record("changed", obj, changes, request=request)
