"""The audit log: looked at, searched, taken out as CSV, never changed."""

import csv
import json
from collections.abc import Iterator
from functools import reduce
from operator import or_
from typing import Any

from django.contrib import admin
from django.db import models
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.utils import timezone

from engage.audit.models import Entry
from engage.audit.occurring import occurring
from engage.audit.record import record
from engage.tenancy import current
from engage.tenancy.newest_first import NewestFirstAdmin
from engage.tenancy.roles import Right

COLUMNS = ("at", "actor", "ip", "verb", "kind", "label", "object_id", "changes")


def scopes(request: HttpRequest) -> list[tuple[int, int | None]]:
    """Return company and App of the entries that the person may see; None as App stands for the company itself."""
    app = current.current_app_or_none(request)
    if app is None:
        return []
    company: list[tuple[int, int | None]] = [(app.company_id, None)] * current.may(request, Right.MANAGE_COMPANY)
    return [(app.company_id, app.pk), *company]


def seen_values(column: str, request: HttpRequest) -> list[str]:
    """Return what occurs in a column of the entries that the person may see."""
    return sorted({value for company, app in scopes(request) for value in occurring(column, company, app)})


def in_scope(request: HttpRequest, *terms: Q) -> Q:
    """Return the entries that the person may see for which one of the terms holds.

    The scope stands in each of them, for an index begins with it.
    """
    places = [Q(company=company, app=app) for company, app in scopes(request)]
    return reduce(or_, [place & term for place in places for term in terms], Q(pk__in=[]))


class _Used(admin.SimpleListFilter):
    """Offers what occurs in the entries that the person may see."""

    field: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the values that occur."""
        return [(value, value.capitalize()) for value in seen_values(self.field, request)]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """Return the entries with the chosen value."""
        return queryset.filter(**{self.field: self.value()}) if self.value() else queryset


class VerbFilter(_Used):
    """By what was done."""

    title, parameter_name, field = "what was done", "verb", "verb"


class KindFilter(_Used):
    """By what it was done to."""

    title, parameter_name, field = "what it was done to", "kind", "kind"


class ActorFilter(_Used):
    """By who did it."""

    title, parameter_name, field = "who", "actor", "actor"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Addresses are shown as they are."""
        return [(value, value) for value, _ in super().lookups(request, model_admin)]


@admin.register(Entry)
class EntryAdmin(NewestFirstAdmin):
    """Entries of the App at hand; company administrators also see those of the company itself."""

    view_right = Right.SEE_AUDIT
    list_display = ("when", "who", "did", "what", "changes_in_words", "address")
    list_filter = (ActorFilter, VerbFilter, KindFilter, "at")
    search_fields = ("actor", "verb", "label", "object_id")
    search_help_text = "Search by person, what was done, id, or how the thing's name begins"
    list_before_template = "audit/intro.html"
    list_display_links = None
    actions = None

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Entry]:
        """Return what the person may see."""
        return Entry.objects.filter(in_scope(request, Q()))

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Entry], search_term: str
    ) -> tuple[models.QuerySet[Entry], bool]:
        """Keep what an index finds: by part of what occurs seldom differently, by an id, by how a name begins."""
        text = search_term.strip()
        if not text:
            return queryset, False

        def like(column: str) -> list[str]:
            return [value for value in seen_values(column, request) if text.lower() in value.lower()]

        found = in_scope(
            request,
            Q(actor__in=like("actor")),
            Q(verb__in=like("verb")),
            Q(label__startswith=text),
            Q(kind__in=seen_values("kind", request), object_id=text),
        )
        return queryset.filter(found), False

    def get_urls(self) -> list[URLPattern]:
        """The export, beside the usual pages."""
        return [
            path("export/", self.admin_site.admin_view(self.export), name="audit_entry_export"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The log."""
        answer: HttpResponse = super().changelist_view(request, {"title": "Audit log", **(extra_context or {})})
        return answer

    def export(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        """Answer the entries that the list's search and filters leave, as CSV; that it was taken is recorded first."""
        current.require(request, Right.SEE_AUDIT)
        if request.method != "POST":
            return HttpResponse(status=405, headers={"Allow": "POST"})
        app = current.current_app(request)
        rows = self.get_changelist_instance(request).get_queryset(request)
        record("exported the audit log", app, request=request)
        name = f"audit-{app.key}-{timezone.localdate():%Y-%m-%d}.csv"
        return StreamingHttpResponse(
            csv_lines(rows),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    @admin.display(description="When")
    def when(self, entry: Entry) -> str:
        """The moment, in the viewer's zone."""
        return render_to_string("tenancy/moment.html", {"moment": entry.at})

    @admin.display(description="Who")
    def who(self, entry: Entry) -> str:
        """Return the person's address, or the command."""
        return entry.actor

    @admin.display(description="Did what")
    def did(self, entry: Entry) -> str:
        """Return what was done."""
        return entry.verb

    @admin.display(description="From")
    def address(self, entry: Entry) -> str:
        """Return the IP address that the request came from."""
        return entry.ip or ""

    @admin.display(description="Thing")
    def what(self, entry: Entry) -> str:
        """Kind and name of what it was done to."""
        return f"{entry.kind}: {entry.label}"

    @admin.display(description="Old → new")
    def changes_in_words(self, entry: Entry) -> str:
        """Field by field."""
        return render_to_string("audit/changes.html", {"changes": entry.changes})


class _Echo:
    """What a csv writer writes to when its lines are wanted one by one."""

    def write(self, line: str) -> str:
        """Return the line."""
        return line


def csv_lines(rows: models.QuerySet[Entry]) -> Iterator[str]:
    """Yield the export line by line. A cell that a spreadsheet would take as a formula gets an apostrophe in front."""
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for entry in rows.iterator(chunk_size=1000):
        values = [
            entry.at.isoformat(),
            entry.actor,
            entry.ip or "",
            entry.verb,
            entry.kind,
            entry.label,
            entry.object_id,
        ]
        yield writer.writerow(
            [safe_cell(str(value)) for value in (*values, json.dumps(entry.changes, ensure_ascii=False))]
        )


def safe_cell(text: str) -> str:
    """Return `text` so that no spreadsheet runs it."""
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) or text.startswith(("\t", "\r", "\n")) else text
