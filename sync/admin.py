"""*User traits* in the console: traits, sources, imports, webhooks."""

from collections import defaultdict
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.views.generic import View

from connectors.base import NOTHING
from engage.audit.record import differences, record, snapshot
from engage.tenancy import current
from engage.tenancy.models import App
from engage.tenancy.newest_first import NewestFirstAdmin
from engage.tenancy.roles import Right
from engage.tenancy.scoped import ScopedModelAdmin
from sync import messages as inbound_messages
from sync import retyping, traits, views
from sync.models import ImportRun, InboundMessage, RunState, Source, Subscriber, Trait, TraitColumn
from sync.sources import RUN_STATUS, Status

SAMPLED = 50
NAMED = 3  # prompts that use a trait
NAMES = ["type", "description", "personal", "confirmed"]
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
            "cloudformation/": ("cloudformation_new", views.CloudFormationView),
            "read/<uuid:connection>/<slug:pull>/": ("read", views.ReadNowView),
            "push/<uuid:connection>/": ("push", views.PushNowView),
            "reread/<uuid:connection>/": ("reread", views.ReadAgainView),
            "<uuid:source>/cloudformation/": ("cloudformation", views.CloudFormationView),
            "<uuid:source>/change/": ("change", views.SourceView),
            "<uuid:source>/test/": ("test", views.TestView),
            "<uuid:source>/check/": ("check", views.CheckNowView),
            "<uuid:source>/pause/": ("pause", views.PauseView),
            "<uuid:source>/mail/": ("mail", views.MailView),
            "<uuid:source>/upload/": ("upload", views.UploadView),
        }
        return [
            path(route, self.admin_site.admin_view(view.as_view(model_admin=self)), name=f"sync_source_{name}")
            for route, (name, view) in pages.items()
        ]


@admin.register(ImportRun)
class ImportRunAdmin(NewestFirstAdmin):
    """Every file that was imported, newest first."""

    list_display = ("file", "state_label", "source", "rows", "rejected", "started")
    list_display_links = ("file",)
    list_filter = ("state",)
    search_fields = ("object_key",)
    list_select_related = ("source",)

    def get_urls(self) -> list[URLPattern]:
        """The run's page in place of Django's form."""
        ours: dict[str, tuple[str, type[View]]] = {
            "<int:run>/change/": ("change", views.RunView),
            "<int:run>/again/": ("again", views.ImportAgainView),
            "<int:run>/take/": ("take", views.TakeUploadView),
            "<int:run>/discard/": ("discard", views.DiscardUploadView),
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

    @admin.display(description="File")
    def file(self, run: ImportRun) -> str:
        """The object's key."""
        return run.object_key

    @admin.display(description="State")
    def state_label(self, run: ImportRun) -> str:
        """Icon and word."""
        return render_to_string("sync/state.html", {"status": RUN_STATUS[RunState(run.state)]})

    @admin.display(description="Rows")
    def rows(self, run: ImportRun) -> str:
        """How many were read."""
        return f"{run.rows_read:,}"

    @admin.display(description="Rejected")
    def rejected(self, run: ImportRun) -> str:
        """How many could not be imported."""
        return f"{run.rows_rejected:,}"

    @admin.display(description="Started")
    def started(self, run: ImportRun) -> str:
        """When."""
        return render_to_string("sync/moment.html", {"at": run.started_at})


class _Columns:
    """The columns of the list of traits that need a look at the App's subscribers, files and prompts, for one request."""

    def __init__(self, app: App, *, masked: bool) -> None:
        self.filled_by, self.total = traits.filled(app), traits.coverage(app, NOTHING)[1]
        self.uses = traits.uses(app)
        self.seen: dict[int, list[TraitColumn]] = defaultdict(list)
        for column in TraitColumn.objects.filter(source__app=app).select_related("source").order_by("source__name"):
            self.seen[column.trait_id].append(column)
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

    @admin.display(description="Sources")
    def sources(self, trait: Trait) -> str:
        """Which files bring it, or who named it."""
        columns = [f"{column.source} ({column.column})" for column in self.seen[trait.pk]]
        return ", ".join(columns) or trait.origin

    @admin.display(description="Used by")
    def used_by(self, trait: Trait) -> str:
        """Which prompts need it."""
        names = self.uses.get(trait.name, [])
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return f"{', '.join(names[:NAMED])}{more}"

    @admin.display(description="In a file")
    def updated(self, trait: Trait) -> str:
        """When a file last had it."""
        at = max((column.seen_at for column in self.seen[trait.pk]), default=None)
        return render_to_string("sync/moment.html", {"at": at}) if at else ""


class Show(admin.SimpleListFilter):
    """Traits by what there is to do about them."""

    title, parameter_name = "what to do", "show"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the choices."""
        return [("pending", "To be confirmed"), ("needed", "Needed by an action"), ("unused", "Unused")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Trait]) -> QuerySet[Trait]:
        """Keep the chosen ones."""
        if self.value() == "pending":
            return queryset.filter(confirmed=False)
        if self.value() in {"needed", "unused"}:
            used = list(traits.uses(current.current_app(request)))
            return queryset.filter(name__in=used) if self.value() == "needed" else queryset.exclude(name__in=used)
        return queryset


@admin.register(Trait)
class TraitAdmin(ScopedModelAdmin):
    """What is known of each trait: its type, what it means, whether it is personal."""

    change_right = Right.MANAGE_SOURCES
    list_filter = (Show, "type", "personal")
    search_fields = ("name", "description")
    actions = ("confirm",)
    list_before_template = "sync/traits_before.html"
    ordering = ("name",)
    fields = ("name", "origin", "looks_like", "type", "confirmed", "description", "personal")
    readonly_fields = ("name", "origin", "looks_like")

    def get_urls(self) -> list[URLPattern]:
        """With the export."""
        view = self.admin_site.admin_view(views.ExportView.as_view(model_admin=self))
        pages: list[URLPattern] = [path("export/", view, name="sync_trait_export"), *super().get_urls()]
        return pages

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With the way to the export, for those who may."""
        may_export = current.may(request, Right.EXPORT_SUBSCRIBERS)
        said = {"may_export": may_export, "title": "Traits"}
        page: HttpResponse = super().changelist_view(request, {**(extra_context or {}), **said})
        return page

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """The columns, some of which are made for this request and its App."""
        app = current.current_app_or_none(request)
        looked = _Columns(app, masked=not current.may(request, Right.SEE_PERSONAL)) if app else None
        if looked is None:
            return ["name"]
        seen = [looked.sources, looked.sample, looked.filled, looked.used_by, looked.updated]
        return ["name", "type_label", "state", *seen, "about_a_person"]

    @admin.display(description="Personal", ordering="personal", empty_value="")
    def about_a_person(self, trait: Trait) -> str | None:
        """Whether people without the right see it masked: "no" is nothing that needs a red sign."""
        return "Personal" if trait.personal else None

    @admin.display(description="Type", ordering="type")
    def type_label(self, trait: Trait) -> str:
        """The type in words; of one to be confirmed, what its values look like."""
        if not trait.confirmed and trait.found_type and trait.found_type != trait.type:
            return f"{trait.get_type_display()}, looks like {trait.get_found_type_display().lower()}"
        return str(trait.get_type_display())

    @admin.display(description="Its values look like")
    def looks_like(self, trait: Trait) -> str:
        """The type that the values of the newest subscribers show, and how many do not fit."""
        found = trait.get_found_type_display() if trait.found_type else "nothing was looked at yet"
        return f"{found}; {trait.misfits:,} stored values do not fit its type" if trait.misfits else str(found)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """With what the type and its confirmation do."""
        kwargs["help_texts"] = {
            "type": "Files are read by it once it is confirmed, and what is stored is read again.",
            "confirmed": "Until then its values from files are kept as text; actions can use them as text.",
            **(kwargs.get("help_texts") or {}),
        }
        return super().get_form(request, obj, change, **kwargs)

    @admin.action(description="Confirm with the type that their values show", permissions=["change"])
    def confirm(self, request: HttpRequest, queryset: QuerySet[Trait]) -> None:
        """Confirm traits that wait for it."""
        number = 0
        for trait in queryset.filter(confirmed=False):
            before = snapshot(trait, NAMES)
            trait.type, trait.confirmed = trait.found_type or trait.type, True
            with transaction.atomic():
                trait.save(update_fields=["type", "confirmed"])
                record("changed", trait, differences(before, snapshot(trait, NAMES)), request=request)
                retyping.ask(trait)
            number += 1
        messages.success(request, f"{number:,} traits are confirmed.")

    @admin.display(description="State", ordering="confirmed")
    def state(self, trait: Trait) -> str:
        """Whether a person has confirmed it."""
        return render_to_string("sync/state.html", {"status": CONFIRMED if trait.confirmed else PENDING})

    def save_model(self, request: HttpRequest, obj: Trait, form: Any, change: Any) -> None:
        """Store it, with its entry in the history."""
        before = snapshot(Trait.objects.get(pk=obj.pk), NAMES)
        obj.save(update_fields=NAMES)  # not how far a worker came meanwhile
        changes = differences(before, snapshot(obj, NAMES))
        if changes:
            record("changed", obj, changes, request=request)
        if obj.confirmed and (obj.misfits or {"type", "confirmed"} & set(changes)):
            retyping.ask(obj)


admin.site.register(InboundMessage, inbound_messages.MessageAdmin)
