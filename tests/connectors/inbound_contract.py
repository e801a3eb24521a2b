"""The contract that every connector's webhooks keep, whatever the vendor.

A vendor's test says what the vendor sends and what is to be known afterwards (an `InboundScenario`, which is data);
`InboundContract` sends it to the product's own address, and then everything that nobody should believe:

    class TestWebhooks(InboundContract):
        scenario = InboundScenario(Stripe, body=..., sign=..., calls=(...), learned={...}, ...)

Three promises are judged: the right status, nothing lost that the vendor said, nothing believed that it did not say.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from typing import Any, ClassVar

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from connectors import published, registry
from connectors.base import Connector, SecretField
from connectors.inbound import LARGEST_BODY, Inbound
from connectors.models import Connection
from engage.tenancy.models import App
from sync import inbound
from sync.models import InboundMessage, MessageState, Subscriber
from tests import factories
from tests.connectors.contract import wrong_types
from tests.connectors.fake_vendor import Broken, Call, FakeVendor, fake_vendor

SECRET, OTHER_SECRET = "signing-secret-of-the-tests-0123456789", "another-secret-of-the-tests-9876543210"


@dataclass(frozen=True)
class Sent:
    """A request as the vendor sends it. `query` is as on the wire."""

    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    method: str = "POST"
    content_type: str = "application/json"


Sign = Callable[[bytes, str, datetime], Sent]
"""Makes the vendor's request out of what it tells (`InboundScenario.tells`), a secret and the time."""


@dataclass(frozen=True)
class InboundScenario:
    """What a vendor sends when all is well, and what comes of it.

    Args:
        tells: the content, before it is signed.
        sign: how the vendor makes a request of it.
        known: traits of the subscriber before, by which it is found.
        learned: all traits of the subscriber afterwards.
        calls: what is asked of the vendor, exactly.
        settings: the connection's settings without secrets; `secrets` beside the signing secret.
        unread: content of a type that is not read; None where the vendor has one type only.
        dated: the vendor signs a time.
        rotates: several secrets count at once; not where the account's one key signs.
        signs_body: a signature covers the body; where it does not, the message can be no more than a hint.
        names_account: whose account is meant stands in what is signed, so that nothing else is believed.
        reply: what the vendor is answered with.
        published: documents with the vendor's public keys, by which requests are believed.
        free: the customer chooses at the vendor which traits are sent.
        secret: a signing secret; `other` is one that the vendor does not know.

    """

    connector: type[Connector]
    tells: bytes
    sign: Sign
    known: Mapping[str, Any]
    learned: Mapping[str, Any]
    calls: tuple[Call, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    user_id: str = "viewer-ann"
    event_id: str = ""
    type: str = ""
    unread: bytes | None = None
    dated: bool = True
    rotates: bool = True
    signs_body: bool = True
    names_account: bool = False
    reply: bytes = b""
    published: tuple[Call, ...] = ()
    free: bool = False
    secret: str = SECRET
    other: str = OTHER_SECRET

    @property
    def inbound(self) -> Inbound:
        """What the connector declares."""
        declared = self.connector.inbound
        assert declared is not None
        return declared

    def now(self, tells: bytes | None = None, *, secret: str = "", at: datetime | None = None) -> Sent:
        """Return a request that the vendor sends now."""
        return self.sign(self.tells if tells is None else tells, secret or self.secret, at or datetime.now(UTC))


# Signed, and yet not what anybody documented.
POISON: Mapping[str, bytes] = {
    "nothing": b"",
    "null": b"null",
    "a number": b"7",
    "a text": b'"text"',
    "an empty list": b"[]",
    "an empty object": b"{}",
    "a list of numbers": b"[1, 2]",
    "half of it": b'{"id": "evt_1", "type": ',
    "no UTF-8": b'{"id": "\xff\xfe\x80"}',
    "UTF-16": '{"id": "x"}'.encode("utf-16"),
    "NaN": b'{"id": NaN}',
    "a NUL": b'{"id": "a\\u0000b", "type": "a\\u0000b"}',
    "half a character": b'{"id": "\\ud800", "type": "\\ud800"}',
    "deep": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "deep lists": b"[" * 100_000,
    "a page": b"<html><h1>Sign in</h1></html>",
    "XML that grows": b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><a>&c;</a>',
    "a long name": b'{"' + b"x" * 100_000 + b'": 1}',
    "a large number": b'{"id": ' + b"9" * 5000 + b"}",
}
SIGNATURES = (
    "",
    ",",
    "=",
    "t=,v1=",
    "v1=",
    "ü",
    "t=1,v1=" + "0" * 64,
    "0" * 64,
    "1," + "f" * 64,
    "Bearer ",
    "a" * 5000,
)
UNANSWERED = (
    Broken("500", 500, '{"message": "{secret}"}'),
    Broken("a page", 502, "<h1>{secret}</h1>", "text/html"),
    Broken("429", 429, "{}", headers={"Retry-After": "7"}),
    Broken("401", 401, '{"message": "{secret}"}'),
    Broken("half an answer", 200, '{"data": [{"id"'),
    Broken("reset", then="reset"),
)


class House:
    """A connection of the scenario's vendor, whom it knows, and what a vendor can do to it."""

    def __init__(self, scenario: InboundScenario, app: App, vendor: FakeVendor) -> None:
        self.scenario, self.vendor = scenario, vendor
        vendor.published = {call.path: call for call in scenario.published}
        vendor.echo = next(iter(scenario.secrets.values()), "")
        self.connection: Connection = factories.ConnectionFactory(
            app=app,
            connector=scenario.connector.key,
            settings=dict(scenario.settings),
            secrets={**scenario.secrets, scenario.inbound.believed_by: scenario.secret},
        )
        self.subscriber: Subscriber = factories.SubscriberFactory(
            app=app, user_id=scenario.user_id, traits=dict(scenario.known)
        )

    def send(self, sent: Sent, connection: object = None) -> Any:
        """Send a request to the connection's address."""
        return Client().generic(
            sent.method,
            f"/hooks/{connection or self.connection.pk}{'?' if sent.query else ''}{sent.query}",
            sent.body,
            content_type=sent.content_type,
            headers=dict(sent.headers),
        )

    def seal(self, secret: str) -> None:
        """Store another signing secret."""
        self.connection.seal({**self.scenario.secrets, self.scenario.inbound.believed_by: secret})
        self.connection.save()

    def tells(self, *calls: Call, broken: Broken | None = None) -> None:
        """Let the vendor answer what is asked; the last of the calls goes wrong as `broken` says."""
        self.vendor.expect(*calls, broken={len(calls) - 1: broken} if broken else None)

    def work(self) -> int:
        """Let a worker read what is due, with the vendor's limits at rest and no access token kept."""
        cache.clear()
        Connection.objects.update(next_free_at=None)
        return inbound.work()

    def message(self) -> InboundMessage:
        """Return the only message."""
        return InboundMessage.objects.get()

    def traits(self) -> dict[str, Any]:
        """Return what is known of the subscriber."""
        self.subscriber.refresh_from_db()
        return self.subscriber.traits

    def is_untouched(self) -> bool:
        """Whether nothing was stored and nothing believed."""
        return not InboundMessage.objects.exists() and self.traits() == dict(self.scenario.known)


class InboundContract:
    """What every vendor's webhooks are held to. A subclass in the vendor's test sets `scenario`."""

    scenario: ClassVar[InboundScenario]

    @pytest.fixture
    def house(
        self, app: App, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> Iterator[House]:
        """A house with a vendor of its own; afterwards no secret may stand anywhere."""
        known = registry._by_key  # noqa: SLF001 - the registry's memory, forgotten before and after
        if self.scenario.connector not in registry.CONNECTORS:
            monkeypatch.setattr(registry, "CONNECTORS", (*registry.CONNECTORS, self.scenario.connector))
        known.cache_clear()
        with fake_vendor() as vendor:
            settings.ENGAGE_VENDOR_URLS = {self.scenario.connector.key: vendor.url}
            made = House(self.scenario, app, vendor)
            yield made
            kept = [str(row) for row in InboundMessage.objects.values()] + [caplog.text]
            believed_by = self.scenario.connector.Settings.base_fields[self.scenario.inbound.believed_by]
            secrets = (self.scenario.secret,) if isinstance(believed_by, SecretField) else ()
            for secret in (*secrets, *self.scenario.secrets.values()):
                assert not any(secret in text for text in kept)
        known.cache_clear()

    # --- when all is well -------------------------------------------------------------------------------------------

    def test_it_is_stored_acknowledged_read_and_written(self, house: House) -> None:
        answer = house.send(self.scenario.now())
        assert (answer.status_code, answer.content) == (200, self.scenario.reply)
        message = house.message()
        assert message.state == MessageState.QUEUED
        assert self.scenario.event_id in {"", message.event_id}
        assert message.type == self.scenario.type
        assert house.vendor.heard == []
        house.tells(*self.scenario.calls)
        assert house.work() == 1
        house.vendor.assert_played()
        message = house.message()
        assert (message.state, message.subscriber) == (MessageState.DONE, house.subscriber), message.reason
        assert house.traits() == dict(self.scenario.learned)

    def test_the_same_event_twice_is_one_message_and_read_once(self, house: House) -> None:
        first = self.scenario.now()
        later = self.scenario.now(at=datetime.now(UTC) + timedelta(seconds=30))
        assert [house.send(sent).status_code for sent in (first, first, later)] == [200, 200, 200]
        house.tells(*self.scenario.calls)
        assert house.work() == 1
        assert house.send(later).status_code == 200
        assert house.work() == 0
        house.vendor.assert_played()
        assert house.message().state == MessageState.DONE

    def test_the_subscriber_of_another_app_is_left_alone(self, house: House, other_app: App) -> None:
        theirs = factories.SubscriberFactory(
            app=other_app, user_id=self.scenario.user_id, traits=dict(self.scenario.known)
        )
        house.send(self.scenario.now())
        house.tells(*self.scenario.calls)
        house.work()
        theirs.refresh_from_db()
        assert theirs.traits == dict(self.scenario.known)
        assert house.traits() == dict(self.scenario.learned)

    @pytest.mark.parametrize("order", ["{new} {old}", "{old} {new}", "  {old}\t{new} "])
    def test_two_secrets_count_while_one_replaces_the_other(self, house: House, order: str) -> None:
        if not self.scenario.rotates:
            pytest.skip("one key signs")
        house.seal(order.format(old=self.scenario.secret, new=self.scenario.other))
        assert house.send(self.scenario.now(secret=self.scenario.other)).status_code == 200
        assert house.send(self.scenario.now(secret=self.scenario.secret)).status_code == 200

    # --- what is not believed ---------------------------------------------------------------------------------------

    def test_another_secret(self, house: House) -> None:
        answer = house.send(self.scenario.now(secret=self.scenario.other))
        assert (answer.status_code, answer.content) == (401, b"")
        assert house.is_untouched()
        assert house.connection.refused_delivery.reason

    def test_no_secret_is_stored(self, house: House) -> None:
        house.seal("")
        assert house.send(self.scenario.now()).status_code == 401
        assert house.send(self.scenario.sign(self.scenario.tells, "", datetime.now(UTC))).status_code == 401
        assert house.is_untouched()

    def test_a_request_that_is_not_signed(self, house: House) -> None:
        sent = self.scenario.now()
        if sent.headers:
            assert house.send(replace(sent, headers={})).status_code == 401
        assert house.send(Sent(b"{}", method=sent.method)).status_code == 401
        assert house.is_untouched()

    @pytest.mark.parametrize("signature", SIGNATURES, ids=lambda value: ascii(value)[:20])
    def test_a_signature_that_is_none(self, house: House, signature: str) -> None:
        sent = self.scenario.now()
        for name in sent.headers:
            encoded = signature.encode().decode("latin-1")
            if sent.headers[name] in {self.scenario.event_id, signature}:
                continue
            answer = house.send(replace(sent, headers={**sent.headers, name: encoded}))
            assert answer.status_code == 401, name
        assert house.is_untouched()

    def test_an_altered_body(self, house: House) -> None:
        sent = self.scenario.now()
        if not sent.body or not self.scenario.signs_body:
            pytest.skip("there is none, or nothing signs it")
        middle = len(sent.body) // 2
        altered = [
            sent.body + b" ",
            b" " + sent.body,
            sent.body[:-1],
            sent.body[:middle] + bytes([sent.body[middle] ^ 1]) + sent.body[middle + 1 :],
            sent.body + sent.body,
            b"",
        ]
        for body in altered:
            assert house.send(replace(sent, body=body)).status_code == 401, body[:80]
        assert house.is_untouched()

    def test_while_the_vendors_keys_cannot_be_fetched_it_is_to_come_again(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not self.scenario.published:
            pytest.skip("it signs with a shared secret")
        monkeypatch.setattr(published, "APART", 3600.0)  # no while passes by itself
        for call in self.scenario.published:
            house.vendor.published[call.path] = replace(call, answer={"error": "{}"}, status=500)
        assert [house.send(self.scenario.now()).status_code for _ in range(3)] == [503, 503, 503]
        assert len(house.vendor.fetched) == 1
        assert house.is_untouched()
        assert house.connection.refused_delivery.reason
        published.asked.clear()  # as if a while had passed
        house.vendor.published = {call.path: call for call in self.scenario.published}
        assert house.send(self.scenario.now()).status_code == 200

    @pytest.mark.parametrize("minutes", [-6, -60, -60 * 24 * 365, 6, 60])
    def test_a_signed_time_that_is_far_away(self, house: House, minutes: int) -> None:
        if not self.scenario.dated:
            pytest.skip("the vendor signs no time")
        sent = self.scenario.now(at=datetime.now(UTC) + timedelta(minutes=minutes))
        assert house.send(sent).status_code == 401
        assert house.is_untouched()

    def test_a_body_that_is_too_large(self, house: House) -> None:
        large = self.scenario.now(b" " * (LARGEST_BODY + 1))
        if len(large.body) <= LARGEST_BODY:
            pytest.skip("it has no body")
        assert house.send(large).status_code == 413
        assert house.send(Sent(b"x" * (LARGEST_BODY * 3), method=large.method)).status_code == 413
        assert house.is_untouched()

    def test_another_address_or_method(self, house: House, app: App) -> None:
        sent = self.scenario.now()
        assert house.send(sent, "6f1c0c9e-9f3e-4d51-8d0a-000000000000").status_code == 404
        assert house.send(sent, "not-an-id").status_code == 404
        without = factories.ConnectionFactory(app=app, connector="builtin")
        assert house.send(sent, without.pk).status_code == 404
        for method in {
            "GET",
            "PUT",
            "PATCH",
            "DELETE",
            "HEAD",
            "OPTIONS",
            "POST",
            "TRACE",
        } - self.scenario.inbound.methods:
            answer = house.send(replace(sent, method=method))
            assert answer.status_code == 405, method
            assert set(answer["Allow"].split(", ")) == self.scenario.inbound.methods
        assert house.is_untouched()

    # --- what is kept and not used ----------------------------------------------------------------------------------

    def test_a_type_that_is_not_read(self, house: House) -> None:
        if self.scenario.unread is None:
            pytest.skip("there is one type only")
        assert house.send(self.scenario.now(self.scenario.unread)).status_code == 200
        assert house.work() == 0
        assert house.message().state == MessageState.IGNORED
        assert house.traits() == dict(self.scenario.known)

    @pytest.mark.parametrize("poison", POISON)
    def test_what_cannot_be_read_is_kept_with_its_reason(self, house: House, poison: str) -> None:
        sent = self.scenario.now(POISON[poison])
        answer = house.send(sent)
        if self.scenario.names_account:
            assert answer.status_code == 401
            assert house.is_untouched()
            return
        assert answer.status_code in {200, 413 if len(sent.body) > LARGEST_BODY else 200}
        house.work()
        for message in InboundMessage.objects.all():
            assert message.state in {MessageState.FAILED, MessageState.IGNORED, MessageState.UNMATCHED}, message.reason
            assert message.reason
        assert InboundMessage.objects.exists() or len(sent.body) > LARGEST_BODY
        assert house.traits() == dict(self.scenario.known)
        inbound.again(InboundMessage.objects.all())
        house.work()
        assert not InboundMessage.objects.filter(state__in=[MessageState.QUEUED, MessageState.DONE]).exists()
        assert house.traits() == dict(self.scenario.known)

    def test_what_has_other_types_than_documented(self, house: House) -> None:
        try:
            told = json.loads(self.scenario.tells)
        except ValueError:
            pytest.skip("it is no JSON")
        for spoilt in _spoilt(told):
            InboundMessage.objects.all().delete()
            status = house.send(self.scenario.now(json.dumps(spoilt).encode())).status_code
            assert status in {200, 401 if self.scenario.names_account else 200}
            house.vendor.by_shape = lambda heard: Call(heard.method, heard.path, {}, status=404)
            house.work()
            if not self.scenario.free:
                assert house.traits() in (dict(self.scenario.known), dict(self.scenario.learned)), spoilt
            assert all(message.reason for message in InboundMessage.objects.exclude(state=MessageState.DONE))

    def test_what_nobody_has_is_kept_until_somebody_has_it(self, house: House) -> None:
        Subscriber.objects.filter(pk=house.subscriber.pk).update(user_id="somebody", traits={"first_name": "Else"})
        house.send(self.scenario.now())
        house.tells(*self.scenario.calls)
        house.work()
        assert house.message().state in {MessageState.UNMATCHED, MessageState.DONE}
        if house.message().state == MessageState.DONE:
            pytest.skip("this vendor's messages may add a subscriber")
        Subscriber.objects.filter(pk=house.subscriber.pk).update(
            user_id=self.scenario.user_id, traits=dict(self.scenario.known)
        )
        house.tells(*self.scenario.calls)
        assert inbound.again(InboundMessage.objects.all()) == 1
        house.work()
        assert house.message().state == MessageState.DONE
        assert house.traits() == dict(self.scenario.learned)

    def test_while_it_is_switched_off_it_is_kept_and_waits(self, house: House) -> None:
        Connection.objects.update(active=False)
        assert house.send(self.scenario.now()).status_code == 200
        assert house.work() == 0
        assert house.traits() == dict(self.scenario.known)
        Connection.objects.update(active=True)
        inbound.bring_back(house.connection)
        house.tells(*self.scenario.calls)
        assert house.work() == 1
        assert house.traits() == dict(self.scenario.learned)

    @pytest.mark.parametrize("fault", UNANSWERED, ids=lambda fault: fault.name)
    def test_a_vendor_that_cannot_be_asked_is_asked_again(self, house: House, fault: Broken) -> None:
        if not self.scenario.calls:
            pytest.skip("nothing is asked")
        house.send(self.scenario.now())
        for number in range(len(self.scenario.calls)):
            house.tells(*self.scenario.calls[: number + 1], broken=fault)
            house.work()
            house.vendor.assert_played()
            message = house.message()
            assert message.state == MessageState.QUEUED, message.reason
            assert message.due_at is not None
            assert message.due_at > timezone.now()
            assert message.reason
            assert house.traits() == dict(self.scenario.known)
            InboundMessage.objects.update(due_at=timezone.now() - timedelta(seconds=1))
        house.tells(*self.scenario.calls)
        house.work()
        assert house.message().state == MessageState.DONE
        assert house.traits() == dict(self.scenario.learned)


def _spoilt(told: Any) -> Iterator[Any]:
    """Yield what is told with each member of other types or missing, two levels deep, and with all of them so.

    The members take turns with the values: each gets four of them.
    """
    yield wrong_types(told)
    if not isinstance(told, dict):
        return
    others = cycle((None, 7, True, [], {}, "", "\u0000", ["x"], {"unexpected": True}, "../../x", "x" * 5000))
    for name, value in told.items():
        for other in islice(others, 4):
            yield {**told, name: other}
        yield {other: value for other, value in told.items() if other != name}
        if isinstance(value, dict):
            for inner in _spoilt(value):
                yield {**told, name: inner}
