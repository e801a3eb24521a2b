"""*User traits*: sources and their set-up, import runs."""

import csv
from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.generic import TemplateView, View
from kombu.exceptions import OperationalError

from connectors.registry import connector
from engage.audit.models import Entry
from engage.audit.record import differences, plain, record
from engage.tenancy import current
from engage.tenancy.models import User
from engage.tenancy.roles import Right
from engage.tenancy.scoped import ConsoleViewMixin
from sync import sources
from sync.forms import CLEENG_ID_COLUMN, IDENTITY, SECRET, SourceForm
from sync.models import ImportRun, RunState, Source
from sync.schedule import next_run
from sync.tasks import import_source

RUNS_SHOWN = 10
HISTORY_SHOWN = 30
REJECTED_SHOWN = 200
WORTH_SAYING = 20  # per cent fewer rows than usual
TITLE_ALONE = {"model_admin": None}  # unfold would head these pages with the names of models
AUDITED = ("name", *IDENTITY, "prefix", "id_column", "mapping", "mode", "time_zone", "crontab", "interval")


def source_or_404(request: HttpRequest, key: Any) -> Source:
    """Return a source of the App at hand."""
    rows = Source.objects.filter(app=current.current_app(request)).select_related("app", "crontab", "interval")
    return get_object_or_404(rows, pk=key)


def run_or_404(request: HttpRequest, key: Any) -> ImportRun:
    """Return an import run of the App at hand."""
    return get_object_or_404(
        ImportRun.objects.filter(app=current.current_app(request)).select_related("source"), pk=key
    )


def who(request: HttpRequest) -> str:
    """Return the e-mail address of the person."""
    return request.user.email if isinstance(request.user, User) else ""


def schedule_words(source: Source) -> str:
    """Say in words when a source is looked at."""
    row = source.crontab
    if row is None:
        return f"Every {source.interval.every} {source.interval.period}" if source.interval else "Only by hand"
    if (
        row.minute.isdigit()
        and row.hour.isdigit()
        and (row.day_of_month, row.month_of_year, row.day_of_week) == ("*",) * 3
    ):
        return f"Daily at {int(row.hour):02}:{int(row.minute):02}, {row.timezone}"
    return f"{row.minute} {row.hour} {row.day_of_month} {row.month_of_year} {row.day_of_week}, {row.timezone}"


def described(source: Source) -> dict[str, Any]:
    """Return a source with what the console says of it."""
    now = timezone.now()
    last = source.runs.exclude(state=RunState.SUPERSEDED).order_by("-modified_at", "-pk").first()
    return {
        "source": source,
        "last": last,
        "status": sources.status_of(source, last, now),
        "next": next_run(source, now),
        "schedule": schedule_words(source),
    }


class SourcesView(ConsoleViewMixin, TemplateView):
    """All sources of the App at hand."""

    title = "Sources"
    template_name = "sync/sources.html"
    right = Right.LOOK

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the sources."""
        rows = Source.objects.filter(app=current.current_app(self.request)).select_related("crontab", "interval")
        return super().get_context_data(**kwargs) | {
            **TITLE_ALONE,
            "rows": [described(source) for source in rows.order_by("name")],
            "may_manage": current.may(self.request, Right.MANAGE_SOURCES),
        }


class SourceView(ConsoleViewMixin, TemplateView):
    """A source: to look at for everybody, to change for administrators."""

    template_name = "sync/source.html"
    right = Right.LOOK

    @property
    def title(self) -> str:
        """The source's name."""
        return self.source.name if self.source else "Add a source"

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Find the source."""
        super().setup(request, *args, **kwargs)
        self.source = source_or_404(request, kwargs["source"]) if "source" in kwargs else None

    def form(self, data: Any = None) -> SourceForm:
        """Return the form, empty or as sent."""
        return SourceForm(data, instance=self.source, app=current.current_app(self.request))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the form, the set-up steps, the last runs and the history."""
        may_manage = current.may(self.request, Right.MANAGE_SOURCES)
        if self.source is None and not may_manage:
            raise Http404
        bucket, prefix = (self.source.bucket, self.source.prefix) if self.source else ("your-bucket", "cleeng/")
        context = super().get_context_data(**kwargs)
        if may_manage:
            context.setdefault("form", self.form())
        if self.source:
            context.update(described(self.source), runs=self.source.runs.order_by("-pk")[:RUNS_SHOWN])
            entries = Entry.objects.filter(kind="source", object_id=str(self.source.pk), app=self.source.app_id)
            context["history"] = entries.order_by("-pk")[:HISTORY_SHOWN] if may_manage else []
        return context | {
            **TITLE_ALONE,
            "source": self.source,
            "may_manage": may_manage,
            "reader_policy": sources.reader_policy(bucket, prefix),
            "writer_policy": sources.writer_policy(bucket, prefix),
            "vendor_steps": connector("cleeng").import_steps,
            "run_status": sources.RUN_STATUS,
        }

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Store it."""
        current.require(request, Right.MANAGE_SOURCES)
        before = {name: plain(getattr(self.source, name)) for name in AUDITED} if self.source else {}
        form = self.form(request.POST)
        if not form.is_valid():
            return self.render_to_response(self.get_context_data(form=form))
        with transaction.atomic():
            source = form.save()
            changes = differences(before, {name: plain(getattr(source, name)) for name in AUDITED})
            if form.cleaned_data.get(SECRET):
                changes[SECRET] = [None, "replaced" if self.source else "set"]
            if changes:
                record("changed" if self.source else "created", source, changes, request=request)
        messages.success(request, f"{source.name} is saved.")
        return redirect("admin:sync_source_change", source.pk)


class TestView(ConsoleViewMixin, View):
    """*Test connection* with what is typed; nothing is saved."""

    title = "Test connection"
    right = Right.MANAGE_SOURCES

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Answer with a piece of page."""
        app = current.current_app(request)
        instance = source_or_404(request, kwargs["source"]) if "source" in kwargs else None
        form = SourceForm(request.POST, instance=instance, app=app)
        form.is_valid()
        # A name that is taken does not stand in the way of a test; what the test needs does.
        wrong = {
            form.fields[name].label or name: errors
            for name, errors in form.errors.items()
            if name in {*IDENTITY, SECRET, "id_column", "prefix", "customer_id_trait", "time_zone"}
        }
        found = None if wrong or form.non_field_errors() else sources.test(app, form.location(), form.layout())
        named = [column for column, _ in form.mapping_rows()]
        mapped = {column.strip().casefold() for column in (*named, CLEENG_ID_COLUMN, form["id_column"].value() or "")}
        new = [column for column in (found.columns if found else []) if column.casefold() not in mapped]
        context = {"found": found, "wrong": wrong, "other": form.non_field_errors(), "new_columns": new}
        return TemplateResponse(request, "sync/tested.html", context)


class CheckNowView(ConsoleViewMixin, View):
    """Look for new files now."""

    title = "Check now"
    right = Right.MANAGE_SOURCES

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Ring for a worker."""
        source = source_or_404(request, kwargs["source"])
        start(request, source)
        record("checked", source, request=request)
        return redirect("admin:sync_source_change", source.pk)


def start(request: HttpRequest, source: Source) -> None:
    """Send the source to a worker, and tell the person."""
    try:
        import_source.delay(str(source.pk), who(request))
    except (OperationalError, OSError):
        messages.error(
            request, "The worker cannot be reached now. Nothing is lost: the next scheduled run takes what waits."
        )
    else:
        messages.success(request, f"{source.name} is being looked at. New files appear below as they are imported.")


class PauseView(ConsoleViewMixin, View):
    """Pause a source, or resume it."""

    title = "Pause"
    right = Right.MANAGE_SOURCES

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Switch it."""
        source = source_or_404(request, kwargs["source"])
        paused = request.POST.get("paused") == "yes"
        with transaction.atomic():
            if Source.objects.filter(pk=source.pk, paused=not paused).update(paused=paused):
                record("paused" if paused else "resumed", source, {"paused": [not paused, paused]}, request=request)
        words = "paused; nothing is imported until somebody resumes it" if paused else "resumed"
        messages.success(request, f"{source.name} is {words}.")
        return redirect("admin:sync_source_change", source.pk)


class RunView(ConsoleViewMixin, TemplateView):
    """An import run: how far it is, what came of it, what was rejected."""

    template_name = "sync/run.html"
    right = Right.LOOK

    @property
    def title(self) -> str:
        """The file's name."""
        return self.run.object_key.rsplit("/", 1)[-1]

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Find the run."""
        super().setup(request, *args, **kwargs)
        self.run = run_or_404(request, kwargs["run"])

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add figures and rejected rows."""
        run = self.run
        seconds = ((run.finished_at or timezone.now()) - run.started_at).total_seconds()
        reading = not run.staged and run.state == RunState.RUNNING
        done, total = (run.bytes_read, run.size) if reading else (run.merged_through, run.last_line)
        usual = (
            ImportRun.objects.filter(
                source=run.source_id, state__in=[RunState.DONE, RunState.DONE_WITH_REJECTED], pk__lt=run.pk
            )
            .order_by("-pk")
            .values_list("rows_read", flat=True)[:5]
        )
        return super().get_context_data(**kwargs) | {
            **TITLE_ALONE,
            "run": run,
            "status": sources.RUN_STATUS[RunState(run.state)],
            "percent": min(100, 100 * done // total) if total else 0,
            "step": "Reading" if reading else "Merging",
            "seconds": seconds,
            "rate": int(run.rows_read / seconds) if seconds >= 1 else None,
            "fewer": fewer_than_usual(run.rows_read, list(usual)),
            "rejected": run.rejected_rows.order_by("line", "pk")[:REJECTED_SHOWN],
            "see_personal": current.may(self.request, Right.SEE_PERSONAL),
            "may_manage": current.may(self.request, Right.MANAGE_SOURCES),
            "again": run.state in {RunState.FAILED, RunState.STOPPED} and run.source_id is not None,
        }


def fewer_than_usual(rows: int, usual: list[int]) -> int:
    """Return by how many per cent a file has fewer rows than those before it; 0 where that is nothing to mention."""
    if not usual or not rows:
        return 0
    middle = sorted(usual)[len(usual) // 2]
    fewer = round(100 * (1 - rows / middle)) if middle else 0
    return fewer if fewer >= WORTH_SAYING else 0


class ImportAgainView(ConsoleViewMixin, View):
    """Import a failed file again, after what was wrong has been mended."""

    title = "Import again"
    right = Right.MANAGE_SOURCES

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Put it back among the waiting ones and ring for a worker."""
        run = run_or_404(request, kwargs["run"])
        source = run.source
        again = Q(state=RunState.FAILED) | Q(state=RunState.STOPPED)
        if source and ImportRun.objects.filter(again, pk=run.pk).update(
            state=RunState.STOPPED, starts=0, finished_at=None
        ):
            record("asked for again", run, {"state": [run.state, RunState.STOPPED.value]}, request=request)
            start(request, source)
        return redirect("admin:sync_importrun_change", run.pk)


class RejectedView(ConsoleViewMixin, View):
    """The rejected rows as CSV."""

    title = "Rejected rows"
    right = Right.SEE_PERSONAL

    def get(self, request: HttpRequest, **kwargs: Any) -> StreamingHttpResponse:
        """Stream them."""
        run = run_or_404(request, kwargs["run"])
        record("downloaded rejected rows", run, request=request)
        answer = StreamingHttpResponse(rejected_lines(run), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="rejected-{run.pk}.csv"'
        return answer


class _Echo:
    """A file that hands back what is written."""

    def write(self, text: str) -> str:
        return text


def rejected_lines(run: ImportRun) -> Iterator[str]:
    """Yield the lines of the CSV, which no spreadsheet takes for a formula."""
    writer: Any = csv.writer(_Echo())
    yield "\ufeff" + writer.writerow(["line", "column", "reason", "value"])
    for row in run.rejected_rows.order_by("line", "pk").iterator():
        yield writer.writerow([row.line, harmless(row.column), harmless(row.reason), harmless(row.value)])


def harmless(text: str) -> str:
    """Return `text` so that a spreadsheet shows it: an apostrophe before what would begin a formula (OWASP's advice)."""
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@", "\t", "\r")) or text[:1] in "\t\r\n" else text
