"""Actions that were skipped for a trait that an import has brought since. Nothing here runs them: people do."""

from datetime import timedelta

from django.urls import reverse
from django.utils import timezone

from connectors.registry import action_of
from prompts.models import Execution, Reason, State
from sync.models import ImportRun
from sync.reports import CanRun

LOOKED_BACK = timedelta(hours=72)
MOST_LOOKED_AT = 500


def can_run_since(run: ImportRun) -> list[Execution]:
    """Return the App's executions that can run now, and could not before an import: the newest of the last 72 hours.

    They were skipped for a trait that the run's source fills, before the run ended; their subscribers were written since it
    began, and have all that the action needs. At most `MOST_LOOKED_AT` rows are looked at, found by an index of their own.
    """
    if run.source_id is None or run.finished_at is None or not run.rows_new + run.rows_changed:
        return []
    now = timezone.now()
    skipped = Execution.objects.filter(
        app=run.app_id,
        state=State.SKIPPED,
        reason=Reason.MISSING,
        created_at__gte=now - LOOKED_BACK,
        settled_at__lte=run.finished_at,
        subscriber__updated_at__gte=run.started_at,
        is_forward=False,
        reruns=None,
    ).exclude(expires_at__lte=now)
    rows = skipped.select_related("connection", "subscriber").defer("steps", "job", "report")
    brought = set(run.source.trait_columns.values_list("trait__name", flat=True)) if run.source else set()
    return [row for row in rows.order_by("-created_at", "-pk")[:MOST_LOOKED_AT] if _was_brought(row, brought)]


def _was_brought(execution: Execution, brought: set[str]) -> bool:
    action = action_of(execution)
    if action is None:
        return False
    needs, known = action.needs_with(execution.inputs), execution.subscriber.traits
    if not needs.met_by(known):
        return False
    lacked = [group for group in needs.groups if needs.lacking(group) == execution.message]
    return any(name in brought and name in known for group in lacked for name in group)


def tell(run: ImportRun) -> CanRun:
    """Return how many they are, and the page that lists them."""
    number = len(can_run_since(run))
    return CanRun(number, f"{reverse('admin:prompts_execution_changelist')}?can_run_since={run.pk}")
