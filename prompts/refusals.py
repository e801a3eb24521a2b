"""Count what the runtime API refuses, so that a wrong integration is not silence. No bodies, no tokens, no traits."""

import logging
import re

from django.core.cache import cache
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from engage.tenancy.models import App
from prompts.models import Refusal

logger = logging.getLogger(__name__)

# Keys and tokens that somebody put where they do not belong, e.g. in a prompt's key.
_TOKEN = re.compile(r"\b(?:sk|pk|is)_[\w-]{6,}|\beyJ[\w-]+(?:\.[\w-]*)*|[\w-]{40,}")
DETAIL_LENGTH = 200
DETAILS_A_MINUTE = 60
"""Details kept of one App's refused requests in a minute; more are counted without theirs, since anybody may send them."""


def count(app: App | None, endpoint: str, reason: str, detail: str = "") -> None:
    """Add one to the refused requests of this hour. Never fails: the answer is more important than its count.

    Args:
        app: whose key it was; None for a key that nobody has.
        endpoint: e.g. "POST /events".
        reason: one word or two, e.g. "wrong key", "unsigned identity".
        detail: what helps to find it, e.g. the foreign origin; shortened, tokens taken out.

    """
    now = timezone.now()
    row = {
        "app": app,
        "hour": now.replace(minute=0, second=0, microsecond=0),
        "endpoint": endpoint[:60],
        "reason": reason[:40],
        "detail": _TOKEN.sub("[token]", detail.replace("\x00", ""))[:DETAIL_LENGTH] if _has_room(app) else "",
    }
    try:
        # In a transaction, so that on SQLite writers take turns; elsewhere a constraint decides.
        with transaction.atomic():
            if not Refusal.objects.filter(**row).update(count=F("count") + 1, last_at=now):
                try:
                    with transaction.atomic():
                        Refusal.objects.create(**row, last_at=now)
                except IntegrityError:  # somebody else was first
                    Refusal.objects.filter(**row).update(count=F("count") + 1, last_at=now)
    except DatabaseError:
        logger.exception("A refused request could not be counted.")


def _has_room(app: App | None) -> bool:
    key = f"refusals:{app.pk if app else 0}"
    try:
        cache.add(key, 0, timeout=60)
        return cache.incr(key) <= DETAILS_A_MINUTE
    except ValueError:  # it has just expired
        return True
    except Exception:  # noqa: BLE001 - a cache server that is away has many errors, and none may refuse the count
        return False
