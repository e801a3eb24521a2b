"""`manage.py sync_subscriptions`: import the files that wait at the sources."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from django.template.defaultfilters import filesizeformat
from tqdm import tqdm

from engage.tenancy.models import App
from engage.vault.fields import Unreadable
from sync import imports, reports
from sync.models import Access, ImportRun, RunState, Source
from sync.storage import StorageProblem


class Bar:
    """Progress on a terminal: a bar of the bytes read, then one of the rows merged."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._phase = ""

    def _show(self, run: ImportRun, phase: str, done: int, total: int, unit: str) -> None:
        if self._bar is None or self._phase != phase:
            self.close()
            self._phase = phase
            name = run.object_key.rsplit("/", 1)[-1]
            self._bar = tqdm(
                total=total, desc=f"{phase} {name}", unit=unit, unit_scale=True, file=sys.stderr, leave=False
            )
        self._bar.update(done - self._bar.n)

    def reading(self, run: ImportRun) -> None:
        """Show the bytes read."""
        self._show(run, "Reading", run.bytes_read, run.size, "B")

    def merging(self, run: ImportRun) -> None:
        """Show the lines merged."""
        self._show(run, "Merging", run.merged_through, run.rows_to_merge, " rows")

    def ended(self, run: ImportRun) -> None:
        """Make room for the summary."""
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Command(BaseCommand):
    """Exit status: 0 when everything that waited was imported, 1 when a file failed, a source could not be read or an argument
    names nothing.
    """

    help = "Imports the CSV files that wait at the sources of subscribers' traits. What was imported is not imported again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say which sources, and how."""
        parser.add_argument("--app", help="only the sources of this App, by its key (default: all Apps)")
        parser.add_argument(
            "--source",
            help="only this source, by name or id; paused ones, and vendors that are read over their API, too when named",
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would happen, write nothing")
        parser.add_argument("--no-progress", action="store_true", help="no progress bar on a terminal")

    def handle(self, *args: Any, **options: Any) -> None:
        """Import, or say what would be imported."""
        sources = self._sources(options["app"], options["source"])
        if not sources:
            self.stdout.write("There is no source yet. Add one in the console, under User traits.")
            return
        work = self._foresee if options["dry_run"] else self._import
        bar = Bar() if sys.stderr.isatty() and not options["no_progress"] and not options["dry_run"] else None
        fine = [work(source, bar) for source in sources]
        if not all(fine):
            sys.exit(1)

    def _sources(self, app_key: str | None, name: str | None) -> list[Source]:
        sources = Source.objects.select_related("app", "connection").order_by("app__key", "name")
        if app_key:
            if not App.objects.filter(key=app_key).exists():
                keys = ", ".join(App.objects.order_by("key").values_list("key", flat=True)) or "none"
                raise CommandError(f"There is no App {app_key!r}. There are: {keys}.")
            sources = sources.filter(app__key=app_key)
        if not name:
            return list(sources.filter(paused=False).exclude(access=Access.API))  # vendors have their night
        by_id = Q(pk=name) if _is_uuid(name) else Q()
        found = list(sources.filter(Q(name=name) | by_id if by_id else Q(name=name)))
        if not found:
            names = ", ".join(f"{source.name} ({source.app.key})" for source in sources) or "none"
            raise CommandError(f"There is no source {name!r}. There are: {names}.")
        return found

    def _import(self, source: Source, bar: Bar | None) -> bool:
        self.stdout.write(f"{source.app.key}: {source.name}, {source.place}")
        try:
            summary = imports.import_source(source, started_by="sync_subscriptions", progress=bar)
        except imports.Busy:
            self.stdout.write("  Another run of this source is under way; it imports what waits.")
            return True
        except imports.LostLease:
            self.stderr.write("  Another run took over: this one was too slow to say that it is alive.")
            return False
        except Unreadable as error:
            self.stderr.write(f"  {error}")
            return False
        finally:
            if bar:
                bar.close()
        reports.tell(summary)
        if summary.problem:
            self.stderr.write(f"  The source cannot be read: {summary.problem}")
        elif not summary.runs:
            self.stdout.write("  Nothing new.")
        for run in summary.runs:
            self._sum_up(run)
        return not summary.failed

    def _sum_up(self, run: ImportRun) -> None:
        run.refresh_from_db()
        line = f"  {run.object_key} ({filesizeformat(run.size)}): {run.get_state_display()}"
        if run.state in {RunState.DONE, RunState.DONE_WITH_REJECTED}:
            line += (
                f". {run.rows_read:,} rows read: {run.rows_new:,} new, {run.rows_changed:,} changed, "
                f"{run.rows_unchanged:,} unchanged, {run.rows_superseded:,} superseded, {run.rows_rejected:,} rejected"
            )
            if run.rows_unmatched:
                line += f", {run.rows_unmatched:,} of nobody known"
            self.stdout.write(f"{line}. {run.message}".rstrip(". ") + ".")
        else:
            self.stderr.write(f"{line}. {run.message}")

    def _foresee(self, source: Source, bar: Bar | None) -> bool:
        self.stdout.write(f"{source.app.key}: {source.name}, {source.place} (dry run)")
        try:
            forecasts = imports.forecast(source)
        except (StorageProblem, Unreadable) as error:
            self.stderr.write(f"  The source cannot be read: {error}")
            return False
        if not forecasts:
            self.stdout.write("  Nothing new.")
        for result in forecasts:
            name = f"  {result.file.key} ({filesizeformat(result.file.size)})"
            if result.problem:
                self.stderr.write(f"{name} would fail: {result.problem}")
                continue
            self.stdout.write(
                f"{name} would be imported: {result.rows_read:,} rows, {result.rows_new:,} of new subscribers, "
                f"{result.rows_known:,} of known ones, {result.rows_rejected:,} rejected."
            )
            for reason, times in sorted(result.reasons.items(), key=lambda pair: -pair[1])[:5]:
                self.stdout.write(f"    {times:,} times: {reason}")
        return not any(result.problem for result in forecasts)


def _is_uuid(text: str) -> bool:
    from uuid import UUID

    try:
        UUID(text)
    except ValueError:
        return False
    return True
