"""*User traits* in the console: traits, sources, imports."""

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from unfold.decorators import display

from engage.audit.record import differences, record, snapshot
from engage.tenancy import current
from engage.tenancy.roles import Right
from engage.tenancy.scoped import ScopedModelAdmin
from sync import traits, views
from sync.models import ImportRun, RunState, Source, Subscriber, Trait
from sync.sources import RUN_STATUS

SAMPLED = 50


@admin.register(Source)
class SourceAdmin(ScopedModelAdmin):
    """Sources. Django's own form would know nothing of secrets."""

    add_right = change_right = Right.MANAGE_SOURCES

    def get_urls(self) -> list[URLPattern]:
        """The pages of sources, and what their buttons call; none of Django's own pages."""
        pages = {
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
        ours = {
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
        return super().changelist_view(request, {**(extra_context or {}), "title": "Imports"})

    @display(description="File", ordering="object_key")
    def file(self, run: ImportRun) -> str:
        """The object's key."""
        return run.object_key

    @display(description="State", ordering="state")
    def state_label(self, run: ImportRun) -> str:
        """Icon and word."""
        return render_to_string("sync/state.html", {"status": RUN_STATUS[RunState(run.state)]})

    @display(description="Rows", ordering="rows_read")
    def rows(self, run: ImportRun) -> str:
        """How many were read."""
        return f"{run.rows_read:,}"

    @display(description="Rejected", ordering="rows_rejected")
    def rejected(self, run: ImportRun) -> str:
        """How many could not be imported."""
        return f"{run.rows_rejected:,}"

    @display(description="Started", ordering="started_at")
    def started(self, run: ImportRun) -> str:
        """When."""
        return render_to_string("sync/moment.html", {"at": run.started_at})


@admin.register(Trait)
class TraitAdmin(ScopedModelAdmin):
    """What is known of each trait: its type, what it means, whether it is personal."""

    change_right = Right.MANAGE_SOURCES
    list_display = ("name", "type_label", "state", "personal", "filled", "sample", "description", "origin")
    list_filter = ("type", "personal", "confirmed")
    search_fields = ("name", "description")
    ordering = ("name",)
    fields = ("name", "origin", "type", "description", "personal", "confirmed")
    readonly_fields = ("name", "origin")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Remember for this request what the columns need of the whole App."""
        app = current.current_app_or_none(request)
        self.filled_by = traits.filled(app) if app else {}
        self.total = traits.coverage(app, traits.Needs())[1] if app else 0
        newest = Subscriber.objects.filter(app=app).order_by("-updated_at").values_list("traits", flat=True)[:SAMPLED]
        self.samples: dict[str, Any] = {}
        for each in newest:
            self.samples = {**each, **self.samples}
        if app and not current.may(request, Right.SEE_PERSONAL):
            self.samples = traits.mask_personal(app, self.samples)
        return super().get_queryset(request)

    @display(description="Type", ordering="type")
    def type_label(self, trait: Trait) -> str:
        """The type in words."""
        return str(trait.get_type_display())

    @display(description="State", ordering="confirmed")
    def state(self, trait: Trait) -> str:
        """Whether a person has confirmed it."""
        return "Confirmed" if trait.confirmed else "To be confirmed"

    @display(description="Filled")
    def filled(self, trait: Trait) -> str:
        """How many subscribers have it."""
        having = self.filled_by.get(trait.name, 0)
        return f"{having / self.total:.0%} ({having:,})" if self.total else "–"

    @display(description="Sample")
    def sample(self, trait: Trait) -> str:
        """A value that somebody has."""
        value = self.samples.get(trait.name)
        return "–" if value is None else str(value)[:40]

    def save_model(self, request: HttpRequest, obj: Trait, form: Any, change: Any) -> None:
        """Store it, with its entry in the history."""
        names = ["type", "description", "personal", "confirmed"]
        before = snapshot(Trait.objects.get(pk=obj.pk), names)
        super().save_model(request, obj, form, change)
        changes = differences(before, snapshot(obj, names))
        if changes:
            record("changed", obj, changes, request=request)
