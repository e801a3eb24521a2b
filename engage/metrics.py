"""`/metrics` for Prometheus: how the work stands, computed from the rows when it is asked for.

Nothing is counted in a process, so that a worker that died takes no figure with it and a restart begins none anew. Attempts are
those that ended within `WINDOW`: gauges, not counters.
"""

import hmac
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db.models import Count, F, Min, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeHistogramMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from connectors.models import Connection, Health
from prompts import recovery
from prompts.models import CLAIMABLE, OPEN, Attempt, Execution

WINDOW = timedelta(minutes=5)
LONGEST = timedelta(minutes=2)
"""No attempt takes longer: its HTTP ends within 30 s, its lease within 60."""
BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds
OF_AN_ACTION = ["app", "connector", "action"]
OF_A_CONNECTION = ["app", "connector", "connection"]


@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer Prometheus. 404 while ENGAGE_METRICS_TOKEN is not set, 401 without that token in `Authorization: Bearer …`."""
    token = settings.ENGAGE_METRICS_TOKEN
    if not token:
        return HttpResponse(status=404)
    said = request.headers.get("Authorization", "").encode()
    if not hmac.compare_digest(said, f"Bearer {token}".encode()):
        return HttpResponse(status=401, headers={"WWW-Authenticate": "Bearer"})
    registry = CollectorRegistry()
    registry.register(Rows())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class Rows(Collector):
    """Reads the figures out of the database."""

    def describe(self) -> list[Metric]:
        """Say nothing beforehand: Prometheus' library would read everything to find the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read."""
        yield GaugeMetricFamily(
            "engage_oldest_overdue_seconds",
            "For how long the execution that is most overdue could have been worked on.",
            value=recovery.oldest_overdue(),
        )
        yield from self._attempts()
        yield from self._executions()
        yield from self._connections()

    def _attempts(self) -> Iterator[Metric]:
        now = timezone.now()
        took = F("finished_at") - F("started_at")
        rows = (
            Attempt.objects.filter(started_at__gte=now - WINDOW - LONGEST, finished_at__gte=now - WINDOW)
            .values_list("execution__app__key", "execution__connector", "execution__action", "outcome")
            .annotate(
                count=Count("pk"),
                total=Sum(took),
                **{
                    f"within_{number}": Count(
                        "pk", filter=Q(finished_at__lte=F("started_at") + timedelta(seconds=most))
                    )
                    for number, most in enumerate(BOUNDS)
                },
            )
        )
        ended = GaugeMetricFamily(
            "engage_attempts", "Attempts that ended within the last five minutes.", labels=[*OF_AN_ACTION, "outcome"]
        )
        lasted = GaugeHistogramMetricFamily(
            "engage_attempt_seconds", "How long the attempts of the last five minutes took.", labels=OF_AN_ACTION
        )
        counts: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * (len(BOUNDS) + 1))
        totals: dict[tuple[str, ...], float] = defaultdict(float)
        for app, connector, action, outcome, count, total, *within in rows:
            ended.add_metric([app, connector, action, outcome], count)
            of = (app, connector, action)
            counts[of] = [sum(pair) for pair in zip(counts[of], [*within, count], strict=True)]
            totals[of] += total.total_seconds() if total else 0.0
        yield ended
        for labels, cumulative in counts.items():
            buckets = list(zip([*map(str, BOUNDS), "+Inf"], cumulative, strict=True))
            lasted.add_metric(labels, buckets, totals[labels])
        yield lasted

    def _executions(self) -> Iterator[Metric]:
        open_ones = GaugeMetricFamily(
            "engage_executions_open", "Executions that are not at their end.", labels=["app", "connector", "state"]
        )
        rows = Execution.objects.filter(state__in=OPEN).order_by()
        for app, connector, state, count in rows.values_list("app__key", "connector", "state").annotate(Count("pk")):
            open_ones.add_metric([app, connector, state], count)
        yield open_ones
        age = GaugeMetricFamily(
            "engage_queue_age_seconds", "How long the oldest due execution has waited.", labels=OF_A_CONNECTION
        )
        now = timezone.now()
        due = Execution.objects.filter(state__in=CLAIMABLE, due_at__lte=now).order_by()
        labels = ("app__key", "connector", "connection__name")
        for app, connector, name, oldest in due.values_list(*labels).annotate(Min("due_at")):
            age.add_metric([app, connector, name or ""], (now - oldest).total_seconds())
        yield age

    def _connections(self) -> Iterator[Metric]:
        healthy = GaugeMetricFamily(
            "engage_connection_healthy", "1 unless the connection needs attention.", labels=OF_A_CONNECTION
        )
        paused = GaugeMetricFamily(
            "engage_connection_paused", "1 while the circuit breaker keeps it closed.", labels=OF_A_CONNECTION
        )
        now = timezone.now()
        for row in Connection.objects.filter(active=True).select_related("app"):
            key = [row.app.key, row.connector, row.name]
            healthy.add_metric(key, float(row.health != Health.ATTENTION))
            paused.add_metric(key, float(row.closed_until is not None and row.closed_until > now))
        yield healthy
        yield paused
