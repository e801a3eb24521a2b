"""Keys of the runtime API: which App and kind a token stands for."""

from datetime import timedelta

from django.db.models import CharField, Q
from django.utils import timezone

from engage.prepared import Given, Prepared
from engage.tenancy.models import ApiKey, token_hash

LAST_USE_PRECISION = timedelta(minutes=1)
"""How exactly "last used" is kept: a busy key is not written at every request."""
_KEY = Prepared(
    lambda: ApiKey.objects.select_related("app").filter(hashed=Given("hashed", CharField()), revoked_at=None)
)


def find(token: str) -> ApiKey | None:
    """Return the key that `token` is, with its App, or None for a token that is unknown or revoked.

    Its last use is noted, at most once a minute.
    """
    key: ApiKey | None
    ((key,),) = _KEY(hashed=token_hash(token))
    if key is not None:
        _note_use(key)
    return key


def _note_use(key: ApiKey) -> None:
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at >= LAST_USE_PRECISION:
        stale = Q(last_used_at=None) | Q(last_used_at__lte=now - LAST_USE_PRECISION)
        ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)
