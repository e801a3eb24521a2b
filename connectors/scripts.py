"""Scripts that browsers load by the hash of what is in them: published once, never changed, and checked by the browser.

The address names an App and a hash, and serves what that App has published under it; everything else is not found, in the
same words. Nothing can be listed or guessed. What is in a file cannot change, so browsers may keep it for ever.
"""

import hashlib
from base64 import b64encode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from connectors.models import Connection, Script
from engage.tenancy.models import App, User

YEAR = 60 * 60 * 24 * 365
HEADERS = {
    # https://datatracker.ietf.org/doc/html/rfc8246: what has this address is never another thing.
    "Cache-Control": f"public, max-age={YEAR}, immutable",
    # A module is fetched across origins, and its integrity can be checked only where it is readable there
    # (https://www.w3.org/TR/SRI/). It is the same for everybody, and no cookie is looked at.
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    # Opened by itself it is a text and nothing else.
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


def digest(text: str) -> str:
    """Return the hash by which a script is addressed: SHA-256 of its UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def integrity(sha256: str) -> str:
    """Return a hash as browsers compare it (https://www.w3.org/TR/SRI/#the-integrity-attribute)."""
    return f"sha256-{b64encode(bytes.fromhex(sha256)).decode()}"


def url(app: App, sha256: str) -> str:
    """Return the address of the script of `app` with this hash."""
    return f"{settings.ENGAGE_BASE_URL}{reverse('script', args=[app.key, sha256])}"


def publish(connection: Connection, text: str, *, by: User | None) -> Script:
    """Let browsers load this version from now on. The one before stays for those who are about to load it.

    Args:
        by: who published it; a version that comes back keeps who was first.

    """
    script, _ = Script.objects.get_or_create(
        connection=connection,
        sha256=digest(text),
        defaults={"text": text, "published_at": timezone.now(), "published_by": by},
    )
    others = Script.objects.filter(connection=connection, replaced_at=None).exclude(pk=script.pk)
    others.update(replaced_at=timezone.now())
    Script.objects.filter(pk=script.pk).update(replaced_at=None)
    script.replaced_at = None
    return script


def withdraw(connection: Connection) -> None:
    """Hand out no version from now on. They stay for those who are about to load them."""
    Script.objects.filter(connection=connection, replaced_at=None).update(replaced_at=timezone.now())


@require_safe
def serve(_: HttpRequest, app: str, sha256: str) -> HttpResponse:
    """Answer with what an App has published under a hash."""
    found = Script.objects.filter(connection__app__key=app, sha256=sha256).values_list("text", flat=True).first()
    if found is None:
        return HttpResponseNotFound("There is no such file.\n", "text/plain", headers={"Cache-Control": "no-store"})
    return HttpResponse(found, "text/javascript; charset=utf-8", headers=HEADERS)
