"""Access tokens: asked for where none is at hand, kept encrypted for the account's next attempts, replaced once, never shown."""

import json
import logging
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django import forms
from django.core.cache import cache
from pytest_django.fixtures import Settings
from requests.auth import AuthBase, HTTPBasicAuth

from connectors import runner, tokens
from connectors.answers import Answer
from connectors.auth import ClientCredentials, HeaderKey, Token, TokenSource, token_in
from connectors.base import Category, Connector, ProbeLine, SecretField, Values
from connectors.failures import BadCredentials, Failure, LostClaim, NotAllowed, Rejected, Temporary, Undocumented
from connectors.http import Api, base_url
from connectors.journal import Exchange, OnlyLooks, WouldWrite
from connectors.models import Connection
from engage.tenancy.models import App
from tests.connectors.contract import MemoryJournal
from tests.connectors.fake_vendor import Broken, Call, FakeVendor, Form, Heard, fake_vendor
from tests.factories import ConnectionFactory

SECRET = "planted/secret+0123456789"
SETTINGS = {"client_id": "client-1", "client_secret": SECRET, "shop": "a"}
FIRST, SECOND, NEWS = "planted-token-number-1", "planted-token-number-2", "planted-token-of-news-1"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class ByHeader(ClientCredentials):
    """The same token, in another header."""

    def bearing(self, token: str) -> AuthBase:
        return HeaderKey("X-Token", token)


class News(ClientCredentials):
    """A second credential of the same connection."""

    name, host = "news", "news-login"


class TwoClouds(Connector):
    """A vendor with two clouds: the one's token is good for two of its hosts, the other's comes from elsewhere."""

    key, label, category = "clouds", "Clouds", Category.CRM
    idempotency_header = "Idempotency-Key"

    class Settings(forms.Form):
        client_id = forms.CharField()
        client_secret = SecretField(label="Secret")
        shop = forms.CharField()

    def base_url(self, settings: Values) -> str:
        return "https://api.clouds.invalid/v1/"

    def hosts(self, settings: Values) -> dict[str, str]:
        return {
            "token": "https://login.clouds.invalid",
            "files": "https://files.clouds.invalid",
            "news": "https://news.invalid",
            "news-login": f"https://{settings['shop']}.login.news.invalid/",
        }

    def auth(self, settings: Values) -> TokenSource:
        return self._client(ClientCredentials, settings)

    def auth_at(self, host: str, settings: Values) -> AuthBase | TokenSource:
        match host:
            case "files":
                return self._client(ByHeader, settings)
            case "news":
                return self._client(News, settings)
            case "news-login":
                return HTTPBasicAuth("news", settings["client_secret"])
        return super().auth_at(host, settings)

    def _client(self, kind: type[ClientCredentials], settings: Values) -> ClientCredentials:
        return kind("oauth", "v2", client_id=settings["client_id"], client_secret=settings["client_secret"])

    def probe(self, api: Api) -> list[ProbeLine]:
        return [ProbeLine(True, f"Signed in as {api.get('me')['name']}.")]


def asks(token: Any = FIRST, seconds: Any = 3600, **answer: Any) -> Call:
    """The request for a token, and its answer."""
    form = {"grant_type": "client_credentials", "client_id": "client-1", "client_secret": SECRET}
    given = {"access_token": token, "expires_in": seconds, "token_type": "Bearer", **answer}
    return Call("POST", "/clouds/token/oauth/v2", given, body=Form(form), reads=True)


ME = Call("GET", "/clouds/me", {"name": "Ann"})
CREDIT = Call("POST", "/clouds/credits", {"id": 7}, body={"amount": 5})
WITHDRAWN = Broken("the token is refused", 401, '{"message": "expired"}')


@pytest.fixture
def vendor(settings: Settings) -> Iterator[FakeVendor]:
    with fake_vendor() as running:
        settings.ENGAGE_VENDOR_URLS = {"clouds": f"{running.url}/clouds/"}
        yield running


@pytest.fixture
def connection(app: App) -> Connection:
    made: Connection = ConnectionFactory(app=app, connector="clouds", settings={"shop": "a"})
    return made


def door(connection: Connection | None = None, journal: Any = None, **options: Any) -> Api:
    settings = options.pop("settings", SETTINGS)
    return Api(TwoClouds(), settings, journal or MemoryJournal(), connection, **options)


def signed(heard: Heard) -> str | None:
    return heard.header("Authorization")


def failure_of(api: Api, method: str = "get", path: str = "me", **content: Any) -> Failure:
    with api, pytest.raises(Failure) as failed:
        getattr(api, method)(path, **content)
    return failed.value


@pytest.fixture(autouse=True)
def _cache_of_this_process(settings: Settings) -> None:
    """One whose clock can be moved, and into which a test can look."""
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "tokens"}}
    cache.clear()


def in_the_cache() -> dict[str, Any]:
    """What any reader of the cache sees, by key."""
    return {key: cache.get(key.removeprefix(":1:")) for key in cache._cache}  # type: ignore[attr-defined]  # noqa: SLF001


class TestAskingForOne:
    def test_once_for_an_attempt_and_all_that_it_sends(self, vendor: FakeVendor) -> None:
        vendor.expect(asks(), ME, CREDIT, Call("GET", "/clouds/files/list", []))
        journal = MemoryJournal()
        with door(journal=journal) as api:
            api.get("me")
            api.post("credits", json={"amount": 5})
            api.at("files").get("list")
        vendor.assert_played()
        token, me, credit, files = vendor.heard
        assert signed(token) is None
        assert (signed(me), signed(credit)) == (f"Bearer {FIRST}", f"Bearer {FIRST}")
        assert (signed(files), files.header("X-Token")) == (None, FIRST)
        assert [exchange.kind for exchange in journal.exchanges] == ["read", "read", "write", "read"]
        assert len(journal.announced) == 1

    def test_two_clouds_have_a_token_each(self, vendor: FakeVendor, connection: Connection) -> None:
        news = Call("POST", "/clouds/news-login/oauth/v2", {"access_token": NEWS, "expires_in": 900}, body=asks().body)
        again = [ME, Call("GET", "/clouds/news/all", [])]
        vendor.expect(asks(), ME, news, again[1], *again)
        for _ in range(2):
            with door(connection) as api:
                api.get("me")
                api.at("news").get("all")
        vendor.assert_played()
        assert [signed(heard) for heard in vendor.heard[3:]] == [f"Bearer {NEWS}", f"Bearer {FIRST}", f"Bearer {NEWS}"]
        assert signed(vendor.heard[2]) == f"Basic {b64encode(f'news:{SECRET}'.encode()).decode()}"

    def test_before_a_write_is_announced(self, vendor: FakeVendor) -> None:
        vendor.expect(asks(), broken={0: Broken("no answer", then="close")})
        journal = MemoryJournal()
        with door(journal=journal) as api:
            with pytest.raises(Temporary):
                api.post("credits", json={"amount": 5})
            assert not api.may_have_acted
        assert (journal.announced, journal.refusals) == ([], [])

    def test_a_preview_shows_the_write_and_sends_no_more_than_the_reads(self, vendor: FakeVendor) -> None:
        vendor.expect(asks())
        journal = OnlyLooks(5)
        with door(journal=journal) as api, pytest.raises(WouldWrite):
            api.post("credits", json={"amount": 5})
        vendor.assert_played()
        assert [exchange.sent for exchange in journal.exchanges] == [True, False]

    @pytest.mark.parametrize(
        ("status", "answer", "kind"),
        [
            (400, {"error": "invalid_grant", "error_description": "no such client"}, BadCredentials),
            (401, {"error": "invalid_client"}, BadCredentials),
            (403, {"message": "not from here"}, BadCredentials),
            (404, "<h1>nothing here</h1>", BadCredentials),
            (429, {}, Temporary),
            (503, {}, Temporary),
            (200, {}, Undocumented),
            (200, {"access_token": "", "expires_in": 60}, Undocumented),
            (200, {"access_token": {"a": 1}, "expires_in": 60}, Undocumented),
            (200, {"access_token": "a\r\nX-Evil: 1", "expires_in": 60}, Undocumented),
            (200, {"access_token": "tökén", "expires_in": 60}, Undocumented),
            (200, {"access_token": FIRST}, Undocumented),
            (200, {"access_token": FIRST, "expires_in": "soon"}, Undocumented),
            (200, {"access_token": FIRST, "expires_in": None}, Undocumented),
            (200, {"access_token": FIRST, "expires_in": 0}, Undocumented),
            (200, {"access_token": FIRST, "expires_in": "inf"}, Undocumented),
        ],
    )
    def test_a_vendor_that_gives_none(
        self, vendor: FakeVendor, connection: Connection, status: int, answer: Any, kind: type[Failure]
    ) -> None:
        vendor.expect(Call("POST", "/clouds/token/oauth/v2", answer, body=asks().body, status=status))
        failure = failure_of(door(connection), "post", "credits", json={"amount": 5})
        assert type(failure) is kind
        vendor.assert_played()
        assert in_the_cache() == {}

    def test_it_says_why_in_the_vendors_words(self, vendor: FakeVendor) -> None:
        vendor.expect(asks(), broken={0: Broken("no", 400, '{"error_description": "no such client"}')})
        assert failure_of(door()).message == "Clouds gives out no access token: no such client"

    @pytest.mark.parametrize("seconds", [1200, "1200", 1200.0])
    def test_how_long_it_is_good(self, seconds: Any) -> None:
        answer = Answer({"access_token": FIRST, "expires_in": seconds}, where="here")
        assert token_in(answer, lasts=5) == Token(FIRST, 1200.0)

    def test_or_what_the_connector_says_where_the_vendor_does_not(self) -> None:
        assert token_in(Answer({"access_token": FIRST}, where="here"), lasts=900) == Token(FIRST, 900)


class TestWhereItGoes:
    def test_each_host_has_its_own_address(self, settings: Settings) -> None:
        settings.ENGAGE_VENDOR_URLS = {}
        found = [base_url(TwoClouds(), SETTINGS, host) for host in ("", "token", "news-login")]
        assert found == [
            "https://api.clouds.invalid/v1",
            "https://login.clouds.invalid",
            "https://a.login.news.invalid",
        ]

    def test_a_sandbox_stands_for_all_of_them(self, settings: Settings) -> None:
        settings.ENGAGE_VENDOR_URLS = {"clouds": "http://127.0.0.1:9000/clouds/"}
        found = [base_url(TwoClouds(), SETTINGS, host) for host in ("", "token")]
        assert found == ["http://127.0.0.1:9000/clouds", "http://127.0.0.1:9000/clouds/token"]

    def test_a_private_address_gets_no_credentials(self, settings: Settings) -> None:
        class Inside(TwoClouds):
            def hosts(self, settings: Values) -> dict[str, str]:
                return {"token": "http://127.0.0.1:9"}

        settings.ENGAGE_PRIVATE_HOSTS, settings.ENGAGE_VENDOR_URLS = [], {}
        with Api(Inside(), SETTINGS, MemoryJournal()) as api, pytest.raises(NotAllowed):
            api.get("me")

    def test_nothing_signs_at_a_host_of_which_the_connector_says_nothing(self, vendor: FakeVendor) -> None:
        vendor.expect(Call("GET", "/clouds/token/keys", []))
        with door() as api:
            api.at("token").get("keys")
        assert signed(vendor.heard[0]) is None

    def test_what_is_written_at_another_host_counts_for_the_attempt(self, vendor: FakeVendor) -> None:
        vendor.expect(asks(), Call("POST", "/clouds/files/x", {}), broken={1: Broken("lost", then="close")})
        with door() as api:
            with pytest.raises(Temporary):
                api.at("files").post("x")
            assert api.may_have_acted
            with pytest.raises(RuntimeError, match="a name of its own"):
                api.post("y")


class TestKeepingIt:
    def test_for_the_accounts_next_attempts(self, vendor: FakeVendor, connection: Connection) -> None:
        vendor.expect(asks(), ME, ME, ME)
        for _ in range(3):
            with door(connection) as api:
                api.get("me")
        vendor.assert_played()

    def test_not_where_settings_are_only_typed(self, vendor: FakeVendor) -> None:
        vendor.expect(asks(), ME, asks(SECOND), ME)
        for _ in range(2):
            with door() as api:
                api.get("me")
        vendor.assert_played()
        assert in_the_cache() == {}

    def test_a_test_of_the_credentials_asks_anew(self, vendor: FakeVendor, connection: Connection) -> None:
        vendor.expect(asks(), ME)
        with door(connection) as api:
            api.get("me")
        vendor.expect(asks(), broken={0: Broken("revoked", 401, '{"error": "invalid_client"}')})
        report = runner.probe(TwoClouds(), SETTINGS)
        assert (report.passed, report.bad_credentials) == (False, True)
        vendor.expect(asks(), broken={0: Broken("revoked", 401, '{"error": "invalid_client"}')})
        assert isinstance(failure_of(door(connection, kept_tokens=False)), BadCredentials)
        vendor.assert_played()

    @pytest.mark.parametrize(
        ("after", "asked"),
        [(0, 1), (1200 - 61, 1), (1200 - 60, 2), (1200, 2)],
        ids=["at once", "before", "then", "past"],
    )
    def test_until_a_minute_before_it_expires(
        self, vendor: FakeVendor, connection: Connection, after: float, asked: int
    ) -> None:
        vendor.expect(asks(seconds=1200), ME)
        with time_machine.travel(NOW, tick=False) as clock:
            with door(connection) as api:
                api.get("me")
            clock.move_to(NOW + timedelta(seconds=after))
            vendor.expect(*([asks(SECOND)] if asked == 2 else []), ME)
            with door(connection) as api:
                api.get("me")
        vendor.assert_played()

    def test_one_that_is_good_for_a_minute_only_is_not_kept(self, vendor: FakeVendor, connection: Connection) -> None:
        vendor.expect(asks(seconds=60), ME)
        with door(connection) as api:
            api.get("me")
        assert in_the_cache() == {}

    @pytest.mark.parametrize(
        ("changed", "of_the_row"),
        [
            ({"client_secret": "another-secret-0123456789"}, {}),
            ({"client_id": "client-2"}, {}),
            ({"shop": "b"}, {}),
            ({}, {"generation": 2}),
            ({}, {"pk": "00000000-0000-4000-8000-000000000000"}),
        ],
    )
    def test_not_for_another_account(
        self, vendor: FakeVendor, connection: Connection, changed: dict[str, str], of_the_row: dict[str, Any]
    ) -> None:
        vendor.by_shape = lambda heard: Call(
            heard.method, heard.path, asks().answer if heard.path.endswith("oauth/v2") else ME.answer
        )
        with door(connection) as api:
            api.get("me")
        for name, value in of_the_row.items():
            setattr(connection, name, value)
        with door(connection, settings={**SETTINGS, **changed}) as api:
            api.get("me")
        assert [heard.path for heard in vendor.heard] == ["/clouds/token/oauth/v2", "/clouds/me"] * 2

    def test_nor_for_the_real_vendor_after_a_sandbox(
        self, vendor: FakeVendor, connection: Connection, settings: Settings
    ) -> None:
        before = tokens.place(TwoClouds(), connection, SETTINGS, "token")
        settings.ENGAGE_VENDOR_URLS = {}
        assert tokens.place(TwoClouds(), connection, SETTINGS, "token") != before

    def test_encrypted_and_under_a_key_that_tells_nothing(self, vendor: FakeVendor, connection: Connection) -> None:
        vendor.expect(asks(), ME)
        with door(connection) as api:
            api.get("me")
        stored = in_the_cache()
        assert len(stored) == 1
        assert f"{connection.pk}:1:" in next(iter(stored))
        for planted in (FIRST, SECRET, "client-1"):
            assert planted not in repr(stored)

    def test_a_copy_under_another_key_opens_nothing(self, vendor: FakeVendor, connection: Connection) -> None:
        mine, other = (tokens.place(TwoClouds(), connection, {**SETTINGS, "shop": shop}, "token") for shop in "ab")
        tokens.keep(mine, Token(FIRST, 1200))
        cache.set(other, cache.get(mine))
        assert (tokens.recall(mine), tokens.recall(other)) == (FIRST, None)

    @pytest.mark.parametrize("rubbish", ["", "engage1:rubbish", FIRST, 7, None, {"token": FIRST}])
    def test_what_cannot_be_read_is_asked_for_again(
        self, vendor: FakeVendor, connection: Connection, rubbish: Any
    ) -> None:
        cache.set(tokens.place(TwoClouds(), connection, SETTINGS, "token"), rubbish)
        vendor.expect(asks(), ME)
        with door(connection) as api:
            api.get("me")
        vendor.assert_played()

    def test_without_a_cache_each_attempt_asks(
        self, vendor: FakeVendor, connection: Connection, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": "redis://127.0.0.1:1/0",
            }
        }
        vendor.expect(*[asks(), ME] * 2)
        for _ in range(2):
            with door(connection) as api:
                api.get("me")
        vendor.assert_played()
        assert FIRST not in caplog.text


class TestOneThatIsRefused:
    @pytest.fixture(autouse=True)
    def _kept(self, vendor: FakeVendor, connection: Connection) -> None:
        vendor.expect(asks(), ME)
        with door(connection) as api:
            api.get("me")
        vendor.heard.clear()

    def test_is_replaced_once_and_the_write_sent_again(self, vendor: FakeVendor, connection: Connection) -> None:
        vendor.expect(CREDIT, asks(SECOND), CREDIT, broken={0: WITHDRAWN})
        journal = MemoryJournal()
        with door(connection, journal) as api:
            assert api.post("credits", json={"amount": 5})["id"] == 7
        vendor.assert_played()
        first, _, second = vendor.heard
        assert (signed(first), signed(second)) == (f"Bearer {FIRST}", f"Bearer {SECOND}")
        assert first.header("Idempotency-Key") == second.header("Idempotency-Key") == "write-1"
        # Each time that it leaves, it is announced first.
        assert [(exchange.status, exchange.sent) for exchange in journal.announced] == [(401, True), (200, True)]
        assert journal.refusals == []

    def test_and_the_next_attempt_uses_the_new_one(self, vendor: FakeVendor, connection: Connection) -> None:
        vendor.expect(ME, asks(SECOND), ME, ME, broken={0: WITHDRAWN})
        for _ in range(2):
            with door(connection) as api:
                api.get("me")
        vendor.assert_played()
        assert signed(vendor.heard[-1]) == f"Bearer {SECOND}"

    def test_a_new_one_that_is_refused_too_is_bad_credentials(self, vendor: FakeVendor, connection: Connection) -> None:
        vendor.expect(CREDIT, asks(SECOND), CREDIT, broken={0: WITHDRAWN, 2: WITHDRAWN})
        journal = MemoryJournal()
        with door(connection, journal) as api:
            with pytest.raises(BadCredentials):
                api.post("credits", json={"amount": 5})
            assert not api.may_have_acted
        vendor.assert_played()
        assert journal.refusals == ["write"]

    def test_one_that_was_just_given_out_is_not_replaced(self, vendor: FakeVendor) -> None:
        vendor.expect(asks(SECOND), ME, broken={1: WITHDRAWN})
        assert isinstance(failure_of(door()), BadCredentials)
        vendor.assert_played()

    def test_and_not_kept_either(self, vendor: FakeVendor, connection: Connection) -> None:
        vendor.expect(ME, asks(SECOND), ME, broken={0: WITHDRAWN, 2: WITHDRAWN})
        failure_of(door(connection))
        vendor.expect(asks("planted-token-number-3"), ME)
        with door(connection) as api:
            api.get("me")
        vendor.assert_played()

    @pytest.mark.parametrize(
        ("broken", "kind"),
        [
            (Broken("lost", then="close"), Temporary),
            (Broken("502", 502, "<h1>x</h1>", "text/html"), Temporary),
            (Broken("page", 200, "<h1>x</h1>", "text/html"), Undocumented),
            (Broken("revoked", 401, '{"error": "invalid_client"}'), BadCredentials),
        ],
    )
    def test_without_a_new_one_the_write_has_not_happened(
        self, vendor: FakeVendor, connection: Connection, broken: Broken, kind: type[Failure]
    ) -> None:
        vendor.expect(CREDIT, asks(SECOND), broken={0: WITHDRAWN, 1: broken})
        journal = MemoryJournal()
        with door(connection, journal) as api:
            with pytest.raises(kind):
                api.post("credits", json={"amount": 5})
            assert not api.may_have_acted
        vendor.assert_played()
        assert journal.refusals == (["write"] if kind is BadCredentials else [])

    def test_a_lost_answer_to_the_second_try_may_have_acted(self, vendor: FakeVendor, connection: Connection) -> None:
        vendor.expect(CREDIT, asks(SECOND), CREDIT, broken={0: WITHDRAWN, 2: Broken("lost", then="close")})
        first = MemoryJournal()
        with door(connection, first) as api:
            with pytest.raises(Temporary):
                api.post("credits", json={"amount": 5})
            assert api.may_have_acted
        assert first.refusals == []
        vendor.expect(CREDIT)
        with door(connection, first.again()) as api:
            api.post("credits", json={"amount": 5})
        assert [heard.header("Idempotency-Key") for heard in vendor.heard if heard.path == CREDIT.path] == [
            "write-1"
        ] * 3

    def test_a_worker_that_lost_its_claim_meanwhile_sends_nothing_more(
        self, vendor: FakeVendor, connection: Connection
    ) -> None:
        class Once(MemoryJournal):
            def write_begins(self, exchange: Exchange) -> None:
                if self.announced:
                    raise LostClaim
                super().write_begins(exchange)

        vendor.expect(CREDIT, asks(SECOND), broken={0: WITHDRAWN})
        with door(connection, Once()) as api, pytest.raises(LostClaim):
            api.post("credits", json={"amount": 5})
        vendor.assert_played()

    @pytest.mark.parametrize("status", [403, 422])
    def test_another_refusal_is_none_of_the_token(
        self, vendor: FakeVendor, connection: Connection, status: int
    ) -> None:
        vendor.expect(CREDIT, broken={0: Broken("no", status, '{"message": "no"}')})
        assert isinstance(failure_of(door(connection), "post", "credits", json={"amount": 5}), Rejected)
        vendor.assert_played()


class TestItStaysIn:
    def test_the_request_and_the_answer_are_not_kept(self, vendor: FakeVendor) -> None:
        vendor.expect(asks(refresh="other-secret", id="https://clouds.invalid/ann"), ME)
        journal = MemoryJournal()
        with door(journal=journal) as api:
            api.get("me")
        token = journal.exchanges[0]
        assert (token.method, token.status, token.body, token.answer) == ("POST", 200, "[secret]", "[secret]")

    def test_it_is_masked_wherever_a_vendor_repeats_it(
        self, vendor: FakeVendor, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        echo = json.dumps({"message": f"bad {FIRST}", "sent": {"header": f"Bearer {FIRST}"}})
        journal = MemoryJournal()
        vendor.expect(asks(), ME, broken={1: Broken("echo", 400, echo, headers={"X-Request-Id": FIRST})})
        failure = failure_of(door(journal=journal))
        kept = json.dumps([exchange.as_json() for exchange in journal.exchanges])
        for text in (kept, failure.message, repr(failure), caplog.text):
            assert FIRST not in text
        assert failure.message == "Clouds refused: bad [secret]"

    def test_a_secret_that_the_token_endpoint_repeats_is_masked(self, vendor: FakeVendor) -> None:
        journal = MemoryJournal()
        vendor.expect(asks(), broken={0: Broken("echo", 400, json.dumps({"message": f"bad {SECRET}"}))})
        failure = failure_of(door(journal=journal))
        assert SECRET not in failure.message + json.dumps(journal.exchanges[0].as_json())

    def test_it_shows_in_no_representation(self) -> None:
        assert FIRST not in repr(Token(FIRST, 60))
