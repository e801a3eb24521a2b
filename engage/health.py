"""Is the process up, and can it work? For load balancers and monitors; nothing here is a secret."""

from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache

from engage.vault import canary
from engage.vault.fields import Unreadable
from prompts import recovery


@never_cache
def healthz(_: HttpRequest) -> JsonResponse:
    """The process answers. The database is not asked: restarting us would not mend it."""
    return JsonResponse({"status": "ok"})


@never_cache
def readyz(_: HttpRequest) -> JsonResponse:
    """Whether requests and workers get anywhere: 200, or 503 and which check says no.

    `oldest_overdue_seconds` is computed on reading, so that a dead worker is seen without a worker.
    """
    checks = {"database": "ok", "encryption_key": "ok", "workers": "ok"}
    overdue: float | None = None
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        if not canary.fits():
            checks["encryption_key"] = "does not fit"
        overdue = round(recovery.oldest_overdue(), 1)
    except Unreadable:
        checks["encryption_key"] = "does not fit"
    except Error:
        checks["database"] = "away"
    if overdue is None:
        checks["workers"] = "unknown"
    elif overdue > 2 * settings.ENGAGE_LEASE:
        checks["workers"] = "late"
    ready = all(state == "ok" for state in checks.values())
    answer = {"status": "ok" if ready else "not ready", "checks": checks, "oldest_overdue_seconds": overdue}
    return JsonResponse(answer, status=200 if ready else 503)
