"""The contract that everything keeps that goes out in batches, whatever its vendor: events, and people's traits.

A forwarder's test says what goes over the wire for two events when all is well (a `ForwardScenario`), one of a push for two
people (a `PushScenario`); `ForwarderContract` and `PushContract` play it over a real connection, break every call in every way,
and judge each outcome by what is declared (`replay`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest

from connectors.base import Connector, Json, Replay
from connectors.batches import forward, payload_of
from connectors.forwarders import EVENT_WORDS, Batched, Forwarder, size_of
from connectors.http import secret_values
from connectors.pushes import TraitPush
from connectors.runner import Outcome, Result
from tests.connectors.contract import (
    HOSTILE,
    MEANINGLESS,
    NEVER_ARRIVED,
    ORDINARY_HEADERS,
    UNANSWERED,
    UNAUTHORIZED,
    UNAUTHORIZED_PAGE,
    MemoryJournal,
    Player,
)
from tests.connectors.fake_vendor import Broken, Call

FORBIDDEN = Broken("403", 403, '{"message": "not for {secret}"}')
GONE = Broken("gone", 410, "<h1>gone</h1>", "text/html")
UNFIT = (
    Broken("a refusal", 422, '{"message": "no", "errors": [1, {"x": null}]}'),
    Broken("too large", 413, "<h1>Too large</h1>", "text/html"),
)


@dataclass(frozen=True)
class BatchScenario:
    """What becomes of two events, or of the traits of two people, when all is well.

    Args:
        calls: the requests in order, with their answers.
        counts: the number of the call that carries them.
        messages: what is said of each.
        signed: for each call, the headers by which it is signed, exactly.
        also_yes: the names of those of MEANINGLESS that this vendor documents as its yes.

    """

    connector: type[Connector]
    items: tuple[Any, Any]
    calls: tuple[Call, ...]
    counts: int
    messages: tuple[str, str]
    settings: Mapping[str, Any]
    signed: tuple[Mapping[str, str], ...] = field(default_factory=tuple)
    also_yes: frozenset[str] = frozenset()

    @property
    def batched(self) -> Batched[Any]:
        """The declaration."""
        raise NotImplementedError

    def payload(self, item: Any) -> Json:
        """Return what goes to the vendor for an event or a person that fits."""
        payload = payload_of(self.batched, item, self.settings)
        assert not isinstance(payload, Outcome), payload
        return payload


class ForwardScenario(BatchScenario):
    """Two events of two people."""

    @property
    def batched(self) -> Forwarder:
        """The forwarder."""
        assert self.connector.forwarder is not None
        return self.connector.forwarder()


class PushScenario(BatchScenario):
    """The traits of two people."""

    @property
    def batched(self) -> TraitPush:
        """The push."""
        assert self.connector.push is not None
        return self.connector.push()


class BatchContract:
    """What both are held to."""

    scenario: ClassVar[BatchScenario]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Break every call in every way."""
        scenario = getattr(metafunc.cls, "scenario", None)
        if scenario is None:
            return
        is_bad_key = scenario.connector.forbidden_is_bad_credentials
        faults: dict[str, tuple[Broken, ...]] = {
            "unanswered": UNANSWERED,
            "never_arrived": NEVER_ARRIVED,
            "meaningless": tuple(way for way in MEANINGLESS if way.name not in scenario.also_yes),
            "unauthorized": (UNAUTHORIZED, UNAUTHORIZED_PAGE, *((FORBIDDEN,) if is_bad_key else ())),
        }
        for name, ways in faults.items():
            if name in metafunc.fixturenames:
                cases = [(number, way) for number in range(len(scenario.calls)) for way in ways]
                metafunc.parametrize(
                    ("number", name), cases, ids=[f"{number + 1}: {way.name}" for number, way in cases]
                )

    def play(
        self, player: Player, payloads: Sequence[Json] | None = None, journal: MemoryJournal | None = None
    ) -> list[Outcome]:
        """Send a batch once; no secret may come out."""
        scenario, vendor = self.scenario, player.vendor
        payloads = [scenario.payload(item) for item in scenario.items] if payloads is None else payloads
        journal = journal or MemoryJournal()
        secrets = secret_values(scenario.connector(), scenario.settings)
        player.point_at(scenario.connector, secrets)
        outcomes = forward(scenario.batched, scenario.connector(), scenario.settings, payloads, journal)
        player.keeps(secrets, f"{outcomes} {[exchange.as_json() for exchange in journal.exchanges]}")
        for heard in vendor.heard:
            came = {name.lower() for name, _ in heard.headers}
            named = {name.lower() for signed in scenario.signed for name in signed}
            assert came <= ORDINARY_HEADERS | named
        assert len(outcomes) == len(payloads)
        return outcomes

    # --- when all is well -------------------------------------------------------------------------------------------

    def test_it_sends_exactly_this_and_says_what_came_of_each(self, player: Player) -> None:
        scenario = self.scenario
        player.vendor.expect(*scenario.calls)
        outcomes = self.play(player)
        assert [(outcome.result, outcome.message) for outcome in outcomes] == [
            (Result.DONE, message) for message in scenario.messages
        ]
        player.vendor.assert_played()
        for signed, heard in zip(scenario.signed, player.vendor.heard, strict=True):
            assert {name: heard.header(name) for name in signed} == dict(signed)

    def test_the_same_makes_the_same_payload(self) -> None:
        one = self.scenario.items[0]
        assert self.scenario.payload(one) == self.scenario.payload(replace(one))

    def test_a_payload_holds_no_credentials(self) -> None:
        secrets = secret_values(self.scenario.connector(), self.scenario.settings)
        assert secrets
        assert not any(secret in str(self.scenario.payload(self.scenario.items[0])) for secret in secrets)

    @pytest.mark.parametrize("value", HOSTILE, ids=lambda value: str(value)[:20])
    def test_hostile_values_make_a_payload_or_a_reason(self, value: Any) -> None:
        for spoilt in self.spoilt(value):
            found = payload_of(self.scenario.batched, spoilt, self.scenario.settings)
            assert isinstance(found, dict) or (found.result in {Result.REJECTED, Result.SKIPPED} and found.message)

    def spoilt(self, value: Any) -> list[Any]:
        """Return things that hold a hostile value."""
        one = self.scenario.items[0]
        found = [replace(one, traits=dict.fromkeys(one.traits, value))]
        return found + ([replace(one, user_id=value)] if isinstance(value, str) else [])

    # --- when a call goes wrong -------------------------------------------------------------------------------------

    def test_a_lost_answer(self, player: Player, number: int, unanswered: Broken) -> None:
        calls = self.scenario.calls[: number + 1]
        player.vendor.expect(*calls, broken={number: unanswered})
        player.wait_shortly(self.scenario.connector)
        outcomes = self.play(player)
        player.vendor.assert_played()
        self._lost(outcomes)

    def test_an_answer_that_nobody_documented(self, player: Player, number: int, meaningless: Broken) -> None:
        player.vendor.expect(*self.scenario.calls[: number + 1], broken={number: meaningless})
        outcomes = self.play(player)
        player.vendor.assert_played()
        self._lost(outcomes)

    def _lost(self, outcomes: list[Outcome]) -> None:
        never = self.scenario.batched.replay is Replay.NEVER
        assert {outcome.result for outcome in outcomes} == {Result.GAVE_UP if never else Result.WAITING}
        assert not any(outcome.may_have_acted for outcome in outcomes)

    def test_a_request_that_never_arrived(self, player: Player, number: int, never_arrived: Broken) -> None:
        player.vendor.expect(*self.scenario.calls[: number + 1], broken={number: never_arrived})
        outcomes = self.play(player)
        player.vendor.assert_played()
        after = 7 if never_arrived.status == 429 else None
        assert {(outcome.result, outcome.after) for outcome in outcomes} == {(Result.WAITING, after)}

    def test_refused_credentials_hold_everything(self, player: Player, number: int, unauthorized: Broken) -> None:
        player.vendor.expect(*self.scenario.calls[: number + 1], broken={number: unauthorized})
        outcomes = self.play(player)
        player.vendor.assert_played()
        assert {(outcome.result, outcome.reason) for outcome in outcomes} == {(Result.HELD, "credentials")}

    @pytest.mark.parametrize("forbidden", [FORBIDDEN, GONE], ids=lambda way: way.name)
    def test_a_refusal_of_the_request_is_one_of_every_event(self, player: Player, forbidden: Broken) -> None:
        if forbidden is FORBIDDEN and self.scenario.connector.forbidden_is_bad_credentials:
            pytest.skip("it refuses the credentials")
        number = self.scenario.counts
        player.vendor.expect(*self.scenario.calls[: number + 1], broken={number: forbidden})
        outcomes = self.play(player)
        player.vendor.assert_played()
        assert {outcome.result for outcome in outcomes} == {Result.REJECTED}

    @pytest.mark.parametrize("unfit", UNFIT, ids=lambda way: way.name)
    def test_a_refusal_of_the_contents_is_one_of_the_event_that_is_the_reason(
        self, player: Player, unfit: Broken
    ) -> None:
        """Both together are refused, then the first alone is, and the second alone is taken."""
        scenario, number = self.scenario, self.scenario.counts
        player.vendor.by_shape = None
        first, second = (self.alone(place) for place in (0, 1))
        player.vendor.expect(*scenario.calls[: number + 1], broken={number: unfit})
        player.vendor.expect(*first[: number + 1], broken={number: unfit})
        player.vendor.expect(*second)
        outcomes = self.play(player)
        player.vendor.assert_played()
        assert [outcome.result for outcome in outcomes] == [Result.REJECTED, Result.DONE]

    def alone(self, place: int) -> tuple[Call, ...]:
        """Return the calls for one of the two events alone."""
        raise NotImplementedError


class ForwarderContract(BatchContract):
    """What every forwarder is held to. A subclass in the vendor's test sets `scenario`."""

    scenario: ClassVar[ForwardScenario]

    def spoilt(self, value: Any) -> list[Any]:
        """Return events that hold a hostile value, one of them in what the browser says."""
        event = self.scenario.items[0]
        return [*super().spoilt(value), replace(event, browser=dict.fromkeys(event.browser, value))]

    @pytest.mark.parametrize("interaction", EVENT_WORDS)
    def test_every_interaction_has_a_payload_of_its_own(self, interaction: str) -> None:
        event = self.scenario.items[0]
        others = [self.scenario.payload(replace(event, interaction=other)) for other in EVENT_WORDS]
        assert others.count(self.scenario.payload(replace(event, interaction=interaction))) == 1

    def test_an_event_that_is_too_large_is_refused_before_it_is_sent(self) -> None:
        scenario = self.scenario
        event = replace(scenario.items[0], prompt_name="x" * scenario.batched.largest_item)
        outcome = payload_of(scenario.batched, event, scenario.settings)
        fits = isinstance(outcome, dict) and size_of(outcome) <= scenario.batched.largest_item
        assert fits or (isinstance(outcome, Outcome) and outcome.result is Result.REJECTED)


class PushContract(BatchContract):
    """What every push of traits is held to. A subclass in the vendor's test sets `scenario`."""

    scenario: ClassVar[PushScenario]
