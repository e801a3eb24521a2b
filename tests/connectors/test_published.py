"""Keys that vendors publish: kept for as long as the vendor allows, looked for again when one is new, and seldom."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine
from pytest_django.fixtures import Settings

from connectors import published
from connectors.answers import Answer
from connectors.base import Category, Connector, Values
from connectors.inbound import Forged, NoKey, Published, keys_of_set
from connectors.published import published_key
from tests.connectors.fake_vendor import Call, FakeVendor, fake_vendor

PATH = "/keyed/keys/v1/set"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OURS, THEIRS = uuid4(), uuid4()


class Keyed(Connector):
    key, label, category = "keyed", "Keyed", Category.STORES

    def base_url(self, settings: Values) -> str:
        return "https://api.keyed.invalid"

    def hosts(self, settings: Values) -> dict[str, str]:
        return {"keys": "https://keys.keyed.invalid"}


def names(document: Answer) -> dict[str, str]:
    return {name: f"key {name}" for name in document.texts("names")}


def ask(name: str, document: str = "set", *, connection: UUID = OURS, ends: datetime | None = None) -> Any:
    wanted = Published("keys", ("v1", document), name, names, (lambda _: ends) if ends else None)
    return published_key(connection, Keyed(), {}, wanted)


@pytest.fixture
def vendor(settings: Settings) -> Iterator[FakeVendor]:
    with fake_vendor() as running:
        settings.ENGAGE_VENDOR_URLS = {"keyed": f"{running.url}/keyed"}
        yield running


def publishes(vendor: FakeVendor, *keys: str, **call: Any) -> None:
    vendor.published[PATH] = Call("GET", PATH, {"names": list(keys)}, **call)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Cache-Control": "public, max-age=3600, must-revalidate"}, 3600),
        ({"Cache-Control": "max-age=3600", "Age": "600"}, 3000),
        ({"Cache-Control": "max-age=3600", "Age": "9000"}, published.SHORTEST),
        ({"Cache-Control": "no-store, max-age=3600"}, published.SHORTEST),
        ({"Cache-Control": "max-age=0"}, published.SHORTEST),
        ({"Cache-Control": "max-age=99999999"}, published.LONGEST),
        ({"Cache-Control": "max-age=soon"}, published.SHORTEST),
        ({}, published.SHORTEST),
    ],
)
def test_a_document_is_kept_for_as_long_as_the_vendor_allows(
    vendor: FakeVendor, headers: dict[str, str], seconds: float
) -> None:
    publishes(vendor, "a", answer_headers=headers)
    with time_machine.travel(NOW, tick=False) as clock:
        assert [ask("a"), ask("a")] == ["key a", "key a"]
        clock.shift(seconds - 1)
        ask("a")
        assert len(vendor.fetched) == 1
        clock.shift(2)
        ask("a")
        assert len(vendor.fetched) == 2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 90 * 86_400),
        ({"Cache-Control": "max-age=3600"}, 3600),
        ({"Cache-Control": "no-store"}, published.SHORTEST),
        ({"Expires": "0"}, published.SHORTEST),
    ],
)
def test_a_key_that_says_until_when_it_is_good_is_kept_until_then_unless_the_vendor_says_otherwise(
    vendor: FakeVendor, headers: dict[str, str], seconds: float
) -> None:
    publishes(vendor, "a", answer_headers=headers)
    ends = NOW + timedelta(days=90)
    with time_machine.travel(NOW, tick=False) as clock:
        ask("a", ends=ends)
        clock.shift(seconds - 1)
        ask("a", ends=ends)
        assert len(vendor.fetched) == 1
        clock.shift(2)
        ask("a", ends=ends)
        assert len(vendor.fetched) == 2


def test_a_key_that_ends_is_kept_no_longer_though_the_vendor_allows_it(vendor: FakeVendor) -> None:
    publishes(vendor, "a", answer_headers={"Cache-Control": "max-age=3600"})
    with time_machine.travel(NOW, tick=False) as clock:
        ask("a", ends=NOW + timedelta(minutes=1))
        clock.shift(61)
        ask("a", ends=NOW + timedelta(days=90))
    assert len(vendor.fetched) == 2


def test_what_is_sent_to_one_connection_takes_no_others_turn(vendor: FakeVendor) -> None:
    publishes(vendor, "a")
    with time_machine.travel(NOW, tick=False) as clock:
        for number in range(3):
            with pytest.raises(NoKey):
                ask("a", f"another-{number}", connection=THEIRS)
        assert len(vendor.heard) == 1
        assert ask("a") == ask("a", connection=THEIRS) == "key a"
        with pytest.raises(NoKey):
            ask("b")
        assert len(vendor.fetched) == 1
        clock.shift(published.APART)
        with pytest.raises(Forged):
            ask("b")
        assert len(published.asked) == 1  # what is over is forgotten


def test_a_new_key_is_found_and_the_old_one_ends_with_the_document(vendor: FakeVendor) -> None:
    publishes(vendor, "a")
    with time_machine.travel(NOW, tick=False) as clock:
        ask("a")
        publishes(vendor, "b")
        with pytest.raises(NoKey):
            ask("b")
        clock.shift(published.APART + 1)
        assert ask("b") == "key b"
        clock.shift(published.APART + 1)
        with pytest.raises(Forged):
            ask("a")


def test_unknown_keys_make_us_look_seldom_and_hide_no_known_one(vendor: FakeVendor) -> None:
    publishes(vendor, "a")
    with time_machine.travel(NOW, tick=False) as clock:
        with pytest.raises(Forged):
            ask("x0")
        for number in range(1, 60):
            clock.shift(1)
            with pytest.raises((NoKey, Forged)):
                ask(f"x{number}")
            with pytest.raises(NoKey):
                ask("a", f"another-{number}")
            assert ask("a") == "key a"
    assert len(vendor.fetched) == 2


@pytest.mark.parametrize(
    "broken",
    [
        Call("GET", PATH, {"message": "later"}, status=503),
        Call("GET", PATH, {}, status=404),
        Call("GET", PATH, {"names": [7]}),
        Call("GET", PATH, [], status=302, answer_headers={"Location": "https://elsewhere.invalid/keys"}),
    ],
)
def test_what_cannot_be_read_is_asked_for_again_and_takes_no_key_away(vendor: FakeVendor, broken: Call) -> None:
    publishes(vendor, "a")
    with time_machine.travel(NOW, tick=False) as clock:
        ask("a")
        vendor.published[PATH] = broken
        clock.shift(published.APART + 1)
        with pytest.raises(NoKey):
            ask("b")
        assert ask("a") == "key a"
        clock.shift(timedelta(seconds=published.SHORTEST))
        with pytest.raises(NoKey):
            ask("a")
        publishes(vendor, "a", "b")
        clock.shift(published.APART + 1)
        assert [ask("b"), ask("a")] == ["key b", "key a"]


def test_few_documents_are_kept(vendor: FakeVendor) -> None:
    for number in range(published.MOST + 5):
        published.kept[f"https://elsewhere.invalid/{number}"] = published._Document({}, 0)  # noqa: SLF001 - as others left it
    publishes(vendor, "a")
    assert ask("a") == "key a"
    assert len(published.kept) == published.MOST


def test_a_key_set_has_the_keys_that_can_be_used() -> None:
    known = {"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}
    whole = {**known, "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", "kid": "a"}
    unfit = [known, {**known, "kid": "b"}, {"kty": "oct", "kid": "c", "k": "AAAA"}, {**whole, "kid": "d", "use": "enc"}]
    assert set(keys_of_set(Answer({"keys": [*unfit, whole, {}]}, where="keys"))) == {"a"}
