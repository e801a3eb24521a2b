"""What every long-running process does first: check the encryption key, and say its effective settings."""

import logging
from urllib.parse import urlsplit

from django.conf import settings
from django.db import Error

from connectors import clock
from engage.vault.canary import verify_or_exit

logger = logging.getLogger(__name__)
CLOCKS_DIFFER = 5.0  # seconds


def begin(process: str) -> None:
    """Stop with a sentence when the key does not fit; else say how this process is set up. `process`: "web", "worker", ..."""
    _compare_clocks(process)
    verify_or_exit()
    for name, value in effective_settings().items():
        logger.info("%s starts with %s: %s", process, name, value)
    if settings.ENGAGE_VENDOR_URLS:
        hosts = ", ".join(f"{key} at {_place(url)}" for key, url in settings.ENGAGE_VENDOR_URLS.items())
        logger.warning("Vendors are replaced by ENGAGE_VENDOR_URLS: %s", hosts)
    if settings.ENGAGE_APPLE_ROOT and "apple" in settings.ENGAGE_VENDOR_URLS:
        logger.warning(
            "In place of Apple's signatures, those of %s are believed (ENGAGE_APPLE_ROOT)", settings.ENGAGE_APPLE_ROOT
        )
    if process == "worker" and settings.ENGAGE_SLOTS >= settings.ENGAGE_WORKER_THREADS:
        logger.warning(
            "ENGAGE_SLOTS is %d and ENGAGE_WORKER_THREADS %d: with this worker alone, one vendor that hangs can keep every thread",
            settings.ENGAGE_SLOTS,
            settings.ENGAGE_WORKER_THREADS,
        )
    if settings.ENGAGE_S3_OWN_CREDENTIALS:
        logger.warning("Sources may read S3 with this server's own AWS credentials (ENGAGE_S3_OWN_CREDENTIALS)")
    if settings.ENGAGE_CRASH_AT:
        logger.warning("This process ends itself at the crash point %s (ENGAGE_CRASH_AT)", settings.ENGAGE_CRASH_AT)
    if settings.ENGAGE_PRIVATE_HOSTS:
        logger.warning("Private hosts may be called: %s", ", ".join(settings.ENGAGE_PRIVATE_HOSTS))


def _compare_clocks(process: str) -> None:
    """Say by how much this host's clock differs from the database's, and what follows."""
    try:
        ahead = clock.ahead()
    except Error:
        return  # the database is away, which is said elsewhere
    if abs(ahead) > CLOCKS_DIFFER:
        logger.error(
            "The clock of this %s is %.0f seconds %s the database's: bells between clocks that differ by more than 30 seconds are "
            "dropped as expired, and beyond five minutes ticks too, so that no work is done. Set it right.",
            process,
            abs(ahead),
            "ahead of" if ahead > 0 else "behind",
        )


def effective_settings() -> dict[str, str]:
    """Return what an operator wants to read at the start, without passwords and keys."""
    database = settings.DATABASES["default"]
    place = database["NAME"] if "sqlite" in database["ENGINE"] else f"{database['HOST']}/{database['NAME']}"
    return {
        "database": f"{database['ENGINE'].rpartition('.')[2]} {place}",
        "broker": _place(settings.CELERY_BROKER_URL),
        "cache": settings.CACHES["default"]["BACKEND"].rpartition(".")[2],
        "address": settings.ENGAGE_BASE_URL,
        "debug": str(settings.DEBUG),
        "encryption keys": str(len(settings.FIELD_ENCRYPTION_KEY)),
        "e-mail": "set up" if settings.EMAIL_IS_SET_UP else "not set up, none is sent",
    }


def _place(url: str) -> str:
    """A URL without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
