"""API keys, identity secrets and the App's settings."""

import re
from collections.abc import Callable

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from engage.audit.models import Entry
from engage.tenancy import domains
from engage.tenancy.models import ApiKey, App, DeliveryMode, IdentitySecret, KeyKind, token_hash
from engage.tenancy.roles import Role

Console = Callable[[Role], Client]
KEYS = "/console/tenancy/apikey/"
APP = "/console/tenancy/app/"


def once(answer: object) -> str:
    found = re.search(r'value="((?:sk|pk|is)_[\w-]{43})"', answer.content.decode())  # type: ignore[attr-defined]
    assert found is not None
    return found[1]


@pytest.mark.parametrize("kind", KeyKind.values)
def test_a_key_is_shown_once_and_only_its_hash_is_kept(app: App, console: Console, kind: str) -> None:
    client = console(Role.APP_ADMIN)
    answer = client.post(KEYS, {"do": "make-key", "kind": kind})
    token = once(answer)
    assert "no-store" in answer["Cache-Control"]
    key = ApiKey.objects.get()
    assert (key.hashed, key.kind, key.app) == (token_hash(token), kind, app)
    for place in (
        client.get(KEYS).content.decode(),
        str(dict(client.session)),
        str(client.cookies),
        str(Entry.objects.values()),
    ):
        assert token not in place
    assert Entry.objects.get(kind="apikey").verb == "created"


def test_a_revoked_key_is_listed_as_such_and_recorded(app: App, console: Console) -> None:
    key, _ = ApiKey.make(app, KeyKind.SECRET)
    client = console(Role.APP_ADMIN)
    assert client.post(KEYS, {"do": "revoke-key", "id": key.pk}).status_code == 302
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert "Revoked (1)" in client.get(KEYS).content.decode()
    assert Entry.objects.get(verb="revoked").object_id == str(key.pk)
    assert client.post(KEYS, {"do": "revoke-key", "id": key.pk}).status_code == 404


def test_a_reload_of_the_page_that_shows_a_key_makes_no_other(app: App, console: Console) -> None:
    client = console(Role.APP_ADMIN)
    form = client.get(KEYS).context["new_form"]
    data = {"do": "make-key", "kind": "secret", "form": str(form)}
    first, again = client.post(KEYS, data), client.post(KEYS, data, follow=True)
    token = once(first)
    assert ApiKey.objects.filter(app=app).count() == 1
    assert "this form was sent before" in again.content.decode()
    assert token not in again.content.decode()
    assert token not in str(dict(client.session))
    client.post(KEYS, {**data, "form": str(again.context["new_form"])})
    assert ApiKey.objects.filter(app=app).count() == 2


def test_at_most_two_identity_secrets_are_valid_at_once(app: App, console: Console) -> None:
    client = console(Role.APP_ADMIN)
    tokens = [once(client.post(KEYS, {"do": "make-secret"})) for _ in range(2)]
    third = client.post(KEYS, {"do": "make-secret"}, follow=True).content.decode()
    assert "Two identity secrets are valid already" in third
    assert not any(token in third for token in tokens)
    first = IdentitySecret.objects.order_by("created_at")[0]
    assert first.secrets() == {"secret": tokens[0]}
    client.post(KEYS, {"do": "revoke-secret", "id": first.pk})
    assert once(client.post(KEYS, {"do": "make-secret"})) not in tokens


@pytest.mark.parametrize("role", [Role.APP_MEMBER, Role.READ_ONLY])
def test_others_neither_see_nor_make_keys(console: Console, role: Role) -> None:
    client = console(role)
    assert client.get(KEYS).status_code == 403
    assert client.post(KEYS, {"do": "make-key", "kind": "secret"}).status_code == 403
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    "form",
    [{"do": "revoke-key", "id": "x"}, {"do": "revoke-secret", "id": "x"}, {"do": "make-key", "kind": "root"}, {}],
)
def test_nonsense_is_a_404(console: Console, form: dict[str, str]) -> None:
    assert console(Role.APP_ADMIN).post(KEYS, form).status_code == 404


def test_keys_of_another_app_are_neither_seen_nor_revoked(other_app: App, console: Console) -> None:
    key, _ = ApiKey.make(other_app, KeyKind.SECRET)
    secret, _ = IdentitySecret.make(other_app)
    client = console(Role.COMPANY_ADMIN)
    assert str(key) not in client.get(KEYS).content.decode()
    assert client.post(KEYS, {"do": "revoke-key", "id": key.pk}).status_code == 404
    assert client.post(KEYS, {"do": "revoke-secret", "id": secret.pk}).status_code == 404


def test_the_settings_are_saved_and_recorded(app: App, console: Console) -> None:
    form = {
        "name": "Streamly",
        "time_zone": "Europe/Vienna",
        "domains": "https://WWW.Example.com/\n\nhttp://localhost:8000\n",
    }
    assert console(Role.APP_ADMIN).post(APP, form).status_code == 302
    app.refresh_from_db()
    assert (app.time_zone, app.domains) == ("Europe/Vienna", ["https://www.example.com", "http://localhost:8000"])
    entry = Entry.objects.get(verb="changed")
    assert entry.changes == {
        "time_zone": ["UTC", "Europe/Vienna"],
        "domains": [[], ["https://www.example.com", "http://localhost:8000"]],
    }


def test_a_refused_form_keeps_what_was_typed_and_changes_nothing(app: App, console: Console) -> None:
    answer = console(Role.APP_ADMIN).post(
        APP, {"name": "Renamed", "time_zone": "Mars/Olympus", "domains": "https://a.example/path"}
    )
    text = answer.content.decode()
    assert "https://a.example/path" in text
    assert "must name one site only" in text
    assert 'value="Renamed"' in text
    app.refresh_from_db()
    assert app.name == "Streamly"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://www.example.com", "https://www.example.com"),
        ("https://WWW.example.com:443/", "https://www.example.com"),
        ("http://localhost:80", "http://localhost"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(given: str, kept: str) -> None:
    assert domains.origin(given) == kept


@pytest.mark.parametrize(
    "given",
    ["example.com", "ftp://example.com", "https://", "https://*.example.com", "https://a.example/x", "https://a.example?x", "https://u@a.example",
     "https://a.example:99999", "javascript:alert(1)", "null", "https://a b.example", "https://" + "a" * 64 + ".example"],
)  # fmt: skip
def test_what_is_no_origin_is_refused(given: str) -> None:
    with pytest.raises(ValidationError):
        domains.origin(given)


@pytest.mark.parametrize(
    ("origin", "answered"),
    [("https://a.example", True), ("https://b.example", False), ("https://a.example.evil", False)],
)
def test_a_browser_is_answered_for_the_domains_of_some_app(app: App, origin: str, answered: bool) -> None:
    app.domains = ["https://a.example"]
    app.save()
    answer = Client().options("/api/v1/events", headers={"origin": origin, "access-control-request-method": "POST"})
    assert (answer.headers.get("access-control-allow-origin") == origin) is answered


def test_the_delivery_mode_is_changed_by_administrators_and_recorded(app: App, console: Console) -> None:
    for role in (Role.APP_MEMBER, Role.READ_ONLY):
        client = console(role)
        assert client.get(APP).status_code == 200
        assert client.post(APP, {"do": "mode", "mode": "live"}).status_code == 403
    app.refresh_from_db()
    assert app.delivery_mode == DeliveryMode.TEST
    client = console(Role.APP_ADMIN)
    assert client.post(APP, {"do": "mode", "mode": "everybody"}).status_code == 404
    assert client.post(APP, {"do": "mode", "mode": "live"}).status_code == 302
    app.refresh_from_db()
    assert app.delivery_mode == DeliveryMode.LIVE
    assert Entry.objects.get(verb="changed the delivery mode").changes == {"delivery_mode": ["test", "live"]}
