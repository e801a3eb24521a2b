"""*User traits*: sources and their set-up, import runs."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.generic import TemplateView, View
from kombu.exceptions import OperationalError

from connectors.models import Connection
from connectors.pulls import way_of
from connectors.registry import connector, connector_or_none
from connectors.views import page_url
from engage import bell
from engage.audit.models import Entry
from engage.audit.record import differences, plain, record
from engage.tenancy import current
from engage.tenancy.roles import Right
from engage.tenancy.scoped import ConsoleViewMixin
from sync import exports, pulls, pushes, rejected, reports, rereads, sources, uploads
from sync.forms import CLEENG_ID_COLUMN, IDENTITY, SECRET, ExportForm, SourceForm, external_id_of
from sync.imports import layout_of
from sync.models import Access, Content, ImportRun, MailWhen, RunState, Source, Subscriber
from sync.schedule import next_run
from sync.tasks import import_source

RUNS_SHOWN = 10
HISTORY_SHOWN = 30
REJECTED_SHOWN = 200
TITLE_ALONE = {"model_admin": None}  # unfold would head these pages with the names of models
RULES = (
    "content",
    "trait_prefix",
    "row_wins",
    "row_wins_column",
    "row_wins_value",
    "empty_cells",
    "misfit",
    "mode",
    "time_zone",
)
WHERE = (*IDENTITY, "prefix", "pattern")
AUDITED = ("name", *WHERE, "id_column", "columns", *RULES, "crontab", "interval", "alert_after_days")


def source_or_404(request: HttpRequest, key: Any) -> Source:
    """Return a source of the App at hand."""
    rows = Source.objects.filter(app=current.current_app(request)).select_related(
        "app", "connection", "crontab", "interval"
    )
    return get_object_or_404(rows, pk=key)


def run_or_404(request: HttpRequest, key: Any) -> ImportRun:
    """Return an import run of the App at hand."""
    return get_object_or_404(
        ImportRun.objects.filter(app=current.current_app(request)).select_related("source"), pk=key
    )


def who(request: HttpRequest) -> str:
    """Return the e-mail address of the person."""
    person = current.person_or_none(request)
    return person.email if person else ""


def schedule_words(source: Source) -> str:
    """Say in words when a source is looked at."""
    row = source.crontab
    if source.access == Access.API:
        return f"Every night at {pulls.NIGHTLY_HOUR:02}:00" if pulls.is_on(source) else "Switched off"
    if row is None:
        every = source.interval
        if every is None:
            return "Only by hand"
        return (
            f"Every {every.get_period_display().removesuffix('s')}"
            if every.every == 1
            else f"Every {every.every} {every.period}"
        )
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
    unsaid = [RunState.SUPERSEDED, RunState.UPLOADED]
    last = source.runs.exclude(state__in=unsaid).order_by("-modified_at", "-pk").first()
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
        rows = Source.objects.filter(app=current.current_app(self.request))
        rows = rows.select_related("app", "connection", "crontab", "interval")
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

    @property
    def is_read(self) -> bool:
        """Whether it is a vendor, whose settings are those of its connection."""
        return self.source is not None and self.source.access == Access.API

    def form(self, data: Any = None) -> SourceForm:
        """Return the form, empty or as sent."""
        return SourceForm(data, instance=self.source, app=current.current_app(self.request))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the form, the set-up steps, the last runs and the history."""
        may_manage = current.may(self.request, Right.MANAGE_SOURCES)
        if self.source is None and not may_manage:
            raise Http404
        bucket, prefix = place_of(self.source)
        context = super().get_context_data(**kwargs)
        if may_manage and not self.is_read:
            context.setdefault("form", self.form())
        if self.source:
            context.update(described(self.source), runs=self.source.runs.order_by("-pk")[:RUNS_SHOWN])
            entries = Entry.objects.filter(kind="source", object_id=str(self.source.pk), app=self.source.app_id)
            context["mail_whens"] = MailWhen.choices
            context["mail_when"] = (
                self.source.mails.filter(user=self.request.user.pk).values_list("when", flat=True).first()
            )
            context["history"] = entries.order_by("-pk")[:HISTORY_SHOWN] if may_manage else []
        return context | {
            **TITLE_ALONE,
            "source": self.source,
            "is_read": self.is_read,
            "may_manage": may_manage,
            "reader_policy": sources.reader_policy(bucket, prefix),
            "writer_policy": sources.writer_policy(bucket, prefix),
            "trust_policy": sources.trust_policy(external_id_of(current.current_app(self.request)))
            if settings.ENGAGE_S3_OWN_CREDENTIALS
            else "",
            "vendor_steps": connector("cleeng").import_steps,
            "upload_most": settings.ENGAGE_UPLOAD_MOST // 1_000_000,
            "run_status": sources.RUN_STATUS,
        }

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Store it."""
        current.require(request, Right.MANAGE_SOURCES)
        if self.is_read:
            raise Http404
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


def place_of(source: Source | None) -> tuple[str, str]:
    """Return bucket and path of a source, or names to be replaced."""
    return (source.bucket, source.prefix) if source and source.bucket else ("your-bucket", "cleeng/")


class CloudFormationView(ConsoleViewMixin, View):
    """The CloudFormation template of the bucket and its two users."""

    title = "CloudFormation"
    right = Right.LOOK

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Answer with a file."""
        source = source_or_404(request, kwargs["source"]) if "source" in kwargs else None
        answer = HttpResponse(sources.cloudformation(*place_of(source)), content_type="application/json")
        answer["Content-Disposition"] = 'attachment; filename="engage-bucket.template.json"'
        return answer


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
            if name in {*WHERE, *RULES, SECRET, "customer_id_trait"}
        }
        found = None if wrong or form.non_field_errors() else sources.test(app, form.location(), form.layout())
        named = [column for column, _ in form.mapping_rows()]
        mapped = {column.strip().casefold() for column in (*named, CLEENG_ID_COLUMN, form["id_column"].value() or "")}
        offered = found.columns if found and form["content"].value() != Content.ENDPOINTS else []
        new = [column for column in offered if column.casefold() not in mapped]
        chosen = str(form["id_column"].value() or "").strip().casefold()
        ids = [] if found is None else [pair for pair in found.id_columns if pair[0].casefold() != chosen]
        context = {
            "id_columns": ids,
            "id_chosen": chosen,
            "found": found,
            "wrong": wrong,
            "other": form.non_field_errors(),
            "new_columns": new,
        }
        return TemplateResponse(request, "sync/tested.html", context)


class CheckNowView(ConsoleViewMixin, View):
    """Look for new files now."""

    title = "Check now"
    right = Right.MANAGE_SOURCES

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Ring for a worker."""
        source = source_or_404(request, kwargs["source"])
        if source.access == Access.API:
            read_now(request, source)
        else:
            start(request, source, f"{source.name} is being looked at. New files appear below as they are imported.")
            record("checked", source, request=request)
        return redirect("admin:sync_source_change", source.pk)


class ReadNowView(ConsoleViewMixin, View):
    """*Read now* on a connector's page: read what its vendor knows into traits."""

    title = "Read now"
    right = Right.MANAGE_SOURCES

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Note it, and ring for a worker."""
        rows = Connection.objects.filter(app=current.current_app(request))
        connection = get_object_or_404(rows, pk=kwargs["connection"])
        declared = connector_or_none(connection.connector)
        if declared is None or kwargs["pull"] not in declared.pulls:
            raise Http404
        read_now(
            request, pulls.source_of(connection, kwargs["pull"]), everything=request.POST.get("everything") == "yes"
        )
        return redirect(f"{page_url(declared, connection)}#traits")


class PushNowView(ConsoleViewMixin, View):
    """*Push now* on a connector's page: push the subscribers' traits to its vendor."""

    title = "Push now"
    right = Right.MANAGE_SOURCES

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Note it, and ring for a worker."""
        rows = Connection.objects.filter(app=current.current_app(request)).select_related("app")
        connection = get_object_or_404(rows, pk=kwargs["connection"])
        found = pushes.push_of(connection)
        if found is None:
            raise Http404
        if why := pushes.unwanted(connection):
            messages.error(request, f"Nothing was pushed. {why}")
        else:
            run = pushes.ask(connection, who(request), everything=request.POST.get("everything") == "yes")
            record("asked for", run, {"everything": [None, run.changed_since is None]}, request=request)
            bell.ring_on_commit(pushes.TASK)
            messages.success(request, f"Traits are being pushed to {connection}.")
        return redirect(f"{page_url(found[0], connection)}#push")


class ReadAgainView(ConsoleViewMixin, View):
    """*Read now* on the page of a connector whose vendor is read person by person."""

    title = "Read now"
    right = Right.MANAGE_SOURCES

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Note it, and ring for a worker."""
        rows = Connection.objects.filter(app=current.current_app(request)).select_related("app")
        connection = get_object_or_404(rows, pk=kwargs["connection"])
        found = rereads.reread_of(connection)
        if found is None:
            raise Http404
        if connection.active:
            record("asked for", rereads.ask(connection, who(request)), request=request)
            bell.ring_on_commit(rereads.TASK)
            messages.success(request, f"What your subscribers have is being read at {connection}.")
        else:
            messages.error(request, f"Nothing was read. {connection} is switched off.")
        return redirect(f"{page_url(found[0], connection)}#reread")


def read_now(request: HttpRequest, source: Source, *, everything: bool = False) -> None:
    """Ask for a reading of a vendor, and tell the person."""
    if not pulls.is_on(source):
        messages.error(
            request,
            f"{source.connection} is not read: switch it on, and choose under “Traits every night” how its rows find your "
            "subscribers."
            if source.connection and not way_of(source.connection.settings)
            else f"{source.connection} is not read while it is switched off.",
        )
        return
    run = pulls.ask(source, who(request), everything=everything)
    record("asked for", run, {"everything": [None, run.changed_since is None]}, request=request)
    try:
        import_source.delay(str(source.pk), who(request))
    except (OperationalError, OSError):
        messages.warning(
            request, "The worker cannot be reached now. It is noted, and begins as soon as a worker is there."
        )
    else:
        messages.success(request, f"{source.name} is being read. It stands in the list of imports.")


def start(request: HttpRequest, source: Source, words: str) -> None:
    """Send the source to a worker, and tell the person what happens next."""
    try:
        import_source.delay(str(source.pk), who(request))
    except (OperationalError, OSError):
        messages.error(
            request, "The worker cannot be reached now. Nothing is lost: the next scheduled run takes what waits."
        )
    else:
        messages.success(request, words)


class MailView(ConsoleViewMixin, View):
    """Somebody's own choice to be told of a source by e-mail."""

    title = "E-mail"
    right = Right.MANAGE_SOURCES

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Keep it."""
        source, when = source_or_404(request, kwargs["source"]), request.POST.get("when", "")
        person: Any = request.user  # nobody else comes this far
        if when in MailWhen.values:
            source.mails.update_or_create(user=person, defaults={"when": when})
        else:
            source.mails.filter(user=person).delete()
        messages.success(request, "Your choice is saved. It is yours alone: others choose for themselves.")
        return redirect("admin:sync_source_change", source.pk)


class UploadView(ConsoleViewMixin, View):
    """Take a file that is uploaded by hand."""

    title = "Upload a file"
    right = Right.MANAGE_SOURCES

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Store it and show it; refuse it on the source's page."""
        source = source_or_404(request, kwargs["source"])
        if source.access == Access.API:
            raise Http404
        file = request.FILES.get("file")
        try:
            run = uploads.keep(source, file, who(request))
        except uploads.Refused as refused:
            page = SourceView(model_admin=self.model_admin)
            page.setup(request, **kwargs)
            return page.render_to_response(page.get_context_data(refused=str(refused), refused_for=refused.known))
        record("uploaded", run, {"size": [None, run.size]}, request=request)
        return redirect("admin:sync_importrun_change", run.pk)


class TakeUploadView(ConsoleViewMixin, View):
    """Import an upload, now that somebody has looked at it."""

    title = "Import an upload"
    right = Right.MANAGE_SOURCES

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Put it among the waiting ones and ring for a worker."""
        run = run_or_404(request, kwargs["run"])
        seen = ImportRun.objects.filter(pk=run.pk, state=RunState.UPLOADED)
        if run.source and seen.update(state=RunState.STOPPED, message="Waits for a worker.", started_at=timezone.now()):
            record("asked for", run, request=request)
            start(
                request, run.source, f"{run.object_key} is imported as soon as a worker is free. This page follows it."
            )
        return redirect("admin:sync_importrun_change", run.pk)


class DiscardUploadView(ConsoleViewMixin, View):
    """Throw an upload away, instead of importing it."""

    title = "Discard an upload"
    right = Right.MANAGE_SOURCES

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Delete it."""
        run = run_or_404(request, kwargs["run"])
        with transaction.atomic():
            rows = ImportRun.objects.select_for_update().filter(pk=run.pk, state=RunState.UPLOADED)
            if rows.exists():
                record("discarded", run, request=request)
                rows.delete()
        messages.success(request, f"{run.object_key} is discarded; nothing of it was imported.")
        return (
            redirect("admin:sync_source_change", run.source_id)
            if run.source_id
            else redirect("admin:sync_importrun_changelist")
        )


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
        done, total = (run.bytes_read, run.size) if reading else (run.merged_through, run.rows_to_merge)
        rate = run.rows_read / seconds if seconds >= 1 else 0
        waits = run.uploaded and run.state == RunState.STOPPED  # an upload never stops by itself
        return super().get_context_data(**kwargs) | {
            **TITLE_ALONE,
            "run": run,
            "preview": uploads.preview(run, layout_of(run.source))
            if run.state == RunState.UPLOADED and run.source
            else None,
            "status": sources.WAITS if waits else sources.RUN_STATUS[RunState(run.state)],
            "moves": run.state == RunState.RUNNING or waits,
            "percent": min(100, 100 * done // total) if total else 0,
            "step": "Reading" if reading else "Merging",
            "seconds": seconds,
            "rate": int(rate),
            "is_read": run.source is not None and run.source.access == Access.API,
            "time_left": seconds * (total - done) / done
            if run.state == RunState.RUNNING and 0 < done < total
            else None,
            "can_run": reports.can_run(run),
            "fewer": reports.fewer_than_usual(run),
            "not_kept": run.rejected_rows.filter(cells="").count() if run.rows_rejected else 0,
            "rejected": run.rejected_rows.order_by("line", "pk")[:REJECTED_SHOWN],
            "see_personal": current.may(self.request, Right.SEE_PERSONAL),
            "may_manage": current.may(self.request, Right.MANAGE_SOURCES),
            "again": not waits and run.state in {RunState.FAILED, RunState.STOPPED} and run.source_id is not None,
        }


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
            start(
                request, source, f"{run.object_key} is imported as soon as a worker is free. Reload the page to see it."
            )
        return redirect("admin:sync_importrun_change", run.pk)


class RejectedView(ConsoleViewMixin, View):
    """The rejected rows as CSV, to be mended and uploaded again."""

    title = "Rejected rows"
    right = Right.SEE_PERSONAL

    def get(self, request: HttpRequest, **kwargs: Any) -> StreamingHttpResponse:
        """Stream them."""
        run = run_or_404(request, kwargs["run"])
        record("downloaded rejected rows", run, request=request)
        answer = StreamingHttpResponse(rejected.lines(run), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="rejected-{run.pk}.csv"'
        return answer


class ExportView(ConsoleViewMixin, TemplateView):
    """Export subscribers and traits as CSV: choose, then download."""

    title = "Export subscribers"
    template_name = "sync/export.html"
    right = Right.EXPORT_SUBSCRIBERS

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the form and how many there are."""
        app = current.current_app(self.request)
        kwargs.setdefault("form", ExportForm(app=app))
        return super().get_context_data(**kwargs) | {**TITLE_ALONE, "total": Subscriber.objects.filter(app=app).count()}

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Stream what was chosen; the history says what it was."""
        app = current.current_app(request)
        form = ExportForm(request.POST, app=app)
        if not form.is_valid():
            return self.render_to_response(self.get_context_data(form=form))
        selection = form.selection()
        chosen = {"traits": exports.names_of(app, selection), "having": selection.having, "since": selection.since}
        changes = {name: [None, plain(value)] for name, value in chosen.items() if value}
        record("exported subscribers", app, changes, request=request)
        answer = StreamingHttpResponse(exports.lines(app, selection), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="subscribers-{app.key}.csv"'
        return answer
