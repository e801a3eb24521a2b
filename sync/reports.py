"""E-mails about a source: the summary of what was imported, and that files stay away. Only to people who chose them."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Max, Q
from django.dispatch import Signal
from django.urls import reverse

from engage.tenancy import mail
from engage.tenancy.people import people_of
from engage.tenancy.roles import Right
from sync.csv_rows import is_mended
from sync.imports import Summary
from sync.models import Access, ImportRun, MailWhen, RunState, Source, SourceMail

USUAL_OF = 5  # files before, of which the middle is what is usual
WORTH_SAYING = 20  # per cent fewer rows than usual
FINE = (RunState.DONE, RunState.SAME, RunState.SUPERSEDED)


class CanRun(NamedTuple):
    """Actions that were skipped for a trait that an import has brought since: how many, and the page that lists them."""

    number: int
    path: str


asked_what_can_run = Signal()
"""Which skipped actions can run since an import? Sent with `run`; whoever carries actions out answers with a `CanRun`."""


def can_run(run: ImportRun) -> list[CanRun]:
    """Return the skipped actions that can run since an import, where there are any."""
    answers: list[tuple[Any, Any]] = asked_what_can_run.send(ImportRun, run=run)
    return [answer for _, answer in answers if answer.number]


def fewer_than_usual(run: ImportRun) -> int:
    """Return by how many per cent a file has fewer rows than those before it; 0 where that is nothing to mention."""
    # Of a vendor: how much has changed at it says nothing.
    if run.read_as or is_mended(run.columns):
        return 0
    before = ImportRun.objects.filter(
        source=run.source_id, state__in=[RunState.DONE, RunState.DONE_WITH_REJECTED], pk__lt=run.pk
    )
    last = before.order_by("-pk").values_list("rows_read", "columns")[: 2 * USUAL_OF]
    usual = sorted([rows for rows, columns in last if not is_mended(columns)][:USUAL_OF])
    middle = usual[len(usual) // 2] if usual else 0
    fewer = round(100 * (1 - run.rows_read / middle)) if middle and run.rows_read else 0
    return fewer if fewer >= WORTH_SAYING else 0


def addresses(source: Source, *, whens: tuple[MailWhen, ...]) -> list[str]:
    """Return who is written to: those who chose so, and may still manage sources of this App."""
    chosen = set(SourceMail.objects.filter(source=source, when__in=whens).values_list("user", flat=True))
    return sorted({email for pk, email in _managers(source) if pk in chosen})


def _managers(source: Source) -> list[tuple[int, str]]:
    rows = people_of(source.app).filter(role__in=Right.MANAGE_SOURCES.roles, user__is_active=True)
    return [(row.user_id, row.user.email) for row in rows]


def tell(summary: Summary) -> int:
    """Write to those who want to know of a look at a source. Returns how many e-mails were taken.

    A problem of the whole source (a key that is refused) is told when it is new, not at each look.
    """
    source, runs = summary.source, summary.runs
    new_problem = summary.problem if summary.problem != source.problem else ""
    lines = [(run, fewer_than_usual(run)) for run in runs]
    bad = bool(new_problem) or any(run.state not in FINE or fewer for run, fewer in lines)
    if not (runs or new_problem):
        return 0
    whens = (MailWhen.ALWAYS, MailWhen.PROBLEMS) if bad else (MailWhen.ALWAYS,)
    subject = f"{'Needs a look' if bad else 'Imported'}: {source.name} ({source.app.name})"
    context = {"source": source, "problem": new_problem, "lines": lines, "path": _page(source)}
    return sum(mail.send(to, subject, "sync/mail_summary.txt", context) for to in addresses(source, whens=whens))


def _page(source: Source) -> str:
    return reverse("admin:sync_source_change", args=[source.pk])


def without_files(now: datetime) -> list[Source]:
    """Return the sources whose last file is older than their people wish, and of which nobody was told since."""
    wished = Source.objects.filter(paused=False, alert_after_days__isnull=False).exclude(
        access__in=[Access.UPLOAD, Access.API]
    )
    last = Max("runs__modified_at", filter=Q(runs__uploaded=False))
    late: list[Source] = []
    for source in wished.select_related("app").annotate(last_file=last):
        since = max(filter(None, (source.created_at, source.last_file)))
        is_late = now - since >= timedelta(days=source.alert_after_days or 0)
        if is_late and (source.alerted_at is None or source.alerted_at < since):
            late.append(source)
    return late


def tell_of_missing_files(now: datetime) -> int:
    """Write once per absence: to those who chose e-mails of the source, or to its administrators when nobody did."""
    sent = 0
    for source in without_files(now):
        before = Source.objects.filter(pk=source.pk, alerted_at=source.alerted_at)
        if not before.update(alerted_at=now):
            continue  # another process tells it
        to_whom = addresses(source, whens=tuple(MailWhen)) or sorted({email for _, email in _managers(source)})
        subject = f"No file for {source.alert_after_days} days: {source.name} ({source.app.name})"
        context = {"source": source, "path": _page(source)}
        sent += sum(mail.send(to, subject, "sync/mail_missing.txt", context) for to in to_whom)
    return sent
