"""Every URL of the installation: who gets in without signing in, and who without a CSRF token."""

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

MACHINES = ("api/v1/", "hooks/")
"""Asked by servers and browsers of other sites, which show a key or a signature and no cookie."""
OPEN = {
    "",  # leads to the console
    "healthz",
    "readyz",
    "metrics",  # has a token of its own
    "console/login/",
    "console/logout/",
    "console/account/code/",
    "console/account/forgotten/",
    "console/account/forgotten/sent/",
    "console/account/password/set/",
}
"""Without signing in; beside them what has an unguessable address (a link in an e-mail, a script's hash)."""


def urls(resolver: URLResolver, above: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        path = above + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from urls(entry, path)
        else:
            yield path, entry


EVERY = [(path, entry) for path, entry in urls(get_resolver()) if not path.startswith("demo/")]
PLAIN = sorted({path for path, entry in EVERY if not entry.pattern.converters and not entry.pattern.regex.groups})


def test_only_machines_need_no_csrf_token() -> None:
    exempt = {path for path, entry in EVERY if getattr(entry.callback, "csrf_exempt", False)}
    assert exempt
    assert {path for path in exempt if not path.startswith(MACHINES)} == set()


@pytest.mark.django_db
def test_who_is_not_signed_in_is_led_to_where_one_does() -> None:
    assert set(PLAIN) >= OPEN
    client = Client()
    for path in PLAIN:
        if path in OPEN or path.startswith(MACHINES):
            continue
        answer = client.get(f"/{path}")
        assert (answer.status_code, answer.get("Location", "").partition("?")[0]) == (302, "/console/login/"), path


def test_the_bare_address_leads_to_the_console() -> None:
    answer = Client().get("/")
    assert (answer.status_code, answer["Location"]) == (302, "/console/")
