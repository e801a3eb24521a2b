"""The contract that every action keeps, whatever its vendor.

An action's test says what goes over the wire when all is well (a `Scenario`, which is data); `ActionContract` plays it over a
real connection, and then breaks every call of it in every way and judges the outcome by what the action declares
(`replay`) and by whether the broken call was a read or a write:

    class TestApplyCoupon(ActionContract):
        scenario = Scenario(Cleeng, ApplyCoupon, calls=(...), ...)
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from pytest_django.fixtures import Settings

from connectors.base import Action, Connector, Replay
from connectors.http import secret_values
from connectors.journal import Exchange, Step
from connectors.runner import SETTLING, Diverged, Outcome, Result, Work, run
from tests.connectors.fake_vendor import NOTHING, Broken, Call, FakeVendor, Heard, fake_vendor

SECONDS = 5.0
IMPATIENT = 0.4  # seconds of an attempt whose vendor does not answer
ORDINARY_HEADERS = {
    "host",
    "user-agent",
    "accept",
    "accept-encoding",
    "connection",
    "content-type",
    "content-length",
}


@dataclass(frozen=True)
class Scenario:
    """What an action does when all is well.

    Args:
        calls: the requests in order, with their answers.
        looks: how many of the first calls are `already_done()`'s own (CHECK).
        looks_done: the requests of `already_done()` once the writes have taken effect, with the answers of then (CHECK).
        found: the outcome when that look finds it done.
        signed: the headers by which every request is signed, exactly.
        probe: the requests of a passing *Test connection*.

    """

    connector: type[Connector]
    action: type[Action]
    calls: tuple[Call, ...]
    result: Result
    message: str
    settings: Mapping[str, Any]
    traits: Mapping[str, Any]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    looks: int = 0
    looks_done: tuple[Call, ...] = ()
    found: Result = Result.DONE
    signed: Mapping[str, str] = field(default_factory=dict)
    probe: tuple[Call, ...] = ()
    job: Mapping[str, Any] | None = None
    instruction: Mapping[str, Any] | None = None

    def work(self, **differences: Any) -> Work:
        """Return what `run()` takes."""
        told = {"settings": self.settings, "traits": self.traits, "inputs": self.inputs, **differences}
        return Work(self.connector(), self.action(), **told)


class MemoryJournal:
    """A journal that only remembers; `again()` is the next attempt's of the same execution."""

    def __init__(self, deadline: float = SECONDS, sent: dict[str, Step] | None = None) -> None:
        self.deadline = deadline
        self.tag = "execution-1"
        self.exchanges: list[Exchange] = []
        self.announced: list[Exchange] = []
        self.refusals: list[str] = []
        self._before = sent or {}
        self._sent: dict[str, Step] = {}

    def step(self, name: str, method: str, url: str, query: Any, body: Any) -> Step:
        """Return the step as the attempt before sent it."""
        if before := self._before.get(name):
            if (before.method, before.url) != (method, url):
                raise Diverged
            return Step(before.generation, method, url, before.query, before.body, repeats=True)
        self._sent[name] = Step(1, method, url, query, body)
        return self._sent[name]

    def idempotency_key(self, name: str, step: Step) -> str:
        """Return the key of a step."""
        return f"{name}-{step.generation}"

    def write_begins(self, exchange: Exchange) -> None:
        """Remember what is about to be sent."""
        assert not exchange.sent
        self.announced.append(exchange)

    def answered(self, exchange: Exchange) -> None:
        """Remember what came of it."""
        self.exchanges.append(exchange)

    def refused(self, name: str) -> None:
        """Remember the refusal."""
        self.refusals.append(name)

    def again(self) -> "MemoryJournal":
        """Return the journal of the next attempt, when this one may have acted."""
        return MemoryJournal(sent={**self._before, **self._sent})


UNANSWERED = (
    Broken("no answer in time", then="hang"),
    Broken("the connection is reset", then="reset"),
    Broken("the connection is closed", then="close"),
    Broken("a 5xx as HTML", 502, "<h1>Bad gateway {secret}</h1>", "text/html"),
    Broken("a 5xx as JSON", 500, '{"message": "oops", "code": "INTERNAL"}'),
)
NEVER_ARRIVED = (
    Broken("slow down", 429, '{"message": "too many"}', headers={"Retry-After": "7"}),
    Broken("nobody listens", then="refuse"),
)
MEANINGLESS = (
    Broken("HTML with 200", 200, "<h1>Sign in {secret}</h1>", "text/html"),
    Broken("null", 200, "null"),
    Broken("an empty list", 200, "[]"),
    Broken("an empty object", 200, "{}"),
    Broken("a number", 200, "7"),
    Broken("half an answer", 200, '{"data": [{"id": 1'),
    Broken("an empty body", 200, ""),
    Broken("a redirect", 302, "", headers={"Location": "/elsewhere"}),
)
UNAUTHORIZED = Broken("401", 401, '{"message": "bad key {secret}"}')
UNAUTHORIZED_PAGE = Broken("401 as HTML", 401, "<h1>{secret}</h1>", "text/html")
REFUSED = (
    Broken("403", 403, '{"message": "not for {secret}"}'),
    Broken("a refusal", 422, '{"message": "no", "errors": [1, {"x": null}]}'),
    Broken("gone", 410, "<h1>gone</h1>", "text/html"),
)
HOSTILE = (
    "../../admin",
    "..",
    ".",
    "a/b",
    "a\\b",
    "a?admin=1",
    "a#b",
    "a%2F..%2Fb",
    "a;b=c",
    "a&limit=9",
    "a\r\nX-Evil: 1",
    "a\x00b",
    " ",
    "ünï😀",
    "\ud800",
    "9" * 10_000,
    ["a", "b"],
    {"a": "b"},
    0,
    -1,
    1.5,
    True,
    "",
    None,
)


def wrong_types(answer: Any) -> Any:
    """Return an answer of the same shape in which no value has the type that it should have."""
    match answer:
        case dict():
            return {
                name: wrong_types(value) if isinstance(value, dict) else _other(value) for name, value in answer.items()
            }
        case _:
            return _other(answer)


def _other(value: Any) -> Any:
    return {"unexpected": True} if isinstance(value, (str, int, float)) else "unexpected"


class Player:
    """Plays scenarios against a fake vendor, and sees to it that no secret comes out."""

    def __init__(self, vendor: FakeVendor, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
        self.vendor = vendor
        self._settings, self._caplog = settings, caplog

    def play(
        self, scenario: Scenario, journal: MemoryJournal | None = None, **differences: Any
    ) -> tuple[Outcome, MemoryJournal]:
        """Carry the action out once."""
        journal = journal or MemoryJournal()
        self._settings.ENGAGE_VENDOR_URLS = {scenario.connector.key: self.vendor.url}
        secrets = secret_values(scenario.connector(), scenario.settings)
        self.vendor.echo = next(iter(secrets), "")
        outcome = run(scenario.work(**differences), journal)
        kept = f"{outcome} {[exchange.as_json() for exchange in journal.exchanges]} {self._caplog.text}"
        assert not any(secret in kept for secret in secrets)
        self._signed(scenario)
        return outcome, journal

    def _signed(self, scenario: Scenario) -> None:
        """Every request is signed as declared, and carries no header that nobody declared."""
        signed = {name.lower(): value for name, value in scenario.signed.items()}
        key = scenario.connector.idempotency_header.lower()
        for heard in self.vendor.heard:
            came = {name.lower(): value for name, value in heard.headers}
            assert {name: came.get(name) for name in signed} == signed
            assert set(came) <= ORDINARY_HEADERS | set(signed) | ({key} if key and heard.method != "GET" else set())


@pytest.fixture
def player(settings: Settings, caplog: pytest.LogCaptureFixture) -> Iterator[Player]:
    """A player with a vendor of its own."""
    with fake_vendor() as vendor:
        yield Player(vendor, settings, caplog)


class ActionContract:
    """What every action is held to. A subclass in the vendor's test sets `scenario`."""

    scenario: ClassVar[Scenario]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Break every call in every way; try every hostile value in every trait and input."""
        scenario = getattr(metafunc.cls, "scenario", None)
        if scenario is None:
            return
        faults = {
            "unanswered": UNANSWERED,
            "never_arrived": NEVER_ARRIVED,
            "meaningless": MEANINGLESS,
            "unauthorized": (UNAUTHORIZED, UNAUTHORIZED_PAGE),
            "refused": REFUSED,
        }
        for name, ways in faults.items():
            if name in metafunc.fixturenames:
                cases = [(number, way) for number in range(len(scenario.calls)) for way in ways]
                ids = [f"{scenario.calls[number].method} {number + 1}: {way.name}" for number, way in cases]
                metafunc.parametrize(("number", name), cases, ids=ids)
        if "any_call" in metafunc.fixturenames:
            metafunc.parametrize("any_call", range(len(scenario.calls)))
        if "hostile" in metafunc.fixturenames:
            values = [
                (kind, name, value)
                for kind in ("traits", "inputs")
                for name in getattr(scenario, kind)
                for value in HOSTILE
            ]
            metafunc.parametrize("hostile", values, ids=[f"{name}={str(value)[:20]!r}" for _, name, value in values])

    # --- when all is well -------------------------------------------------------------------------------------------

    def test_it_sends_exactly_this_and_says_what_came_of_it(self, player: Player) -> None:
        scenario = self.scenario
        player.vendor.expect(*scenario.calls)
        outcome, journal = player.play(scenario)
        assert (outcome.result, outcome.message) == (scenario.result, scenario.message)
        assert (outcome.job, outcome.instruction) == (scenario.job, scenario.instruction)
        player.vendor.assert_played()
        assert [exchange.kind for exchange in journal.exchanges] == [call.kind for call in scenario.calls]
        assert [id(exchange) for exchange in journal.announced] == [
            id(exchange) for exchange in journal.exchanges if exchange.kind == "write"
        ]

    def test_a_second_attempt_acts_no_second_time(self, player: Player) -> None:
        scenario = self.scenario
        if not _writes(scenario.calls):
            pytest.skip("nothing is written")
        player.vendor.expect(*scenario.calls)
        _, journal = player.play(scenario)
        self._again(player, scenario, journal, acted=True)

    def test_without_what_it_needs_nothing_is_sent(self, player: Player) -> None:
        for group in self.scenario.action.needs.groups:
            known = {name: value for name, value in self.scenario.traits.items() if name not in group}
            outcome, _ = player.play(self.scenario, traits=known)
            assert (outcome.result, outcome.reason) == (Result.SKIPPED, "missing")
        player.vendor.assert_played()
        assert player.vendor.heard == []

    # --- when a call goes wrong -------------------------------------------------------------------------------------

    @pytest.mark.parametrize("acted", [True, False], ids=["it acted", "it did not act"])
    def test_a_lost_answer(self, player: Player, number: int, unanswered: Broken, acted: bool) -> None:
        scenario, call = self.scenario, self.scenario.calls[number]
        player.vendor.expect(*scenario.calls[: number + 1], broken={number: unanswered})
        outcome, journal = player.play(scenario, MemoryJournal(IMPATIENT if unanswered.then == "hang" else SECONDS))
        player.vendor.assert_played()
        may_have_acted = _writes(scenario.calls[: number + 1])
        assert outcome.may_have_acted is may_have_acted
        assert journal.refusals == []
        if may_have_acted and scenario.action.replay is Replay.NEVER:
            assert outcome.result is Result.UNCERTAIN
            return
        assert outcome.result is Result.WAITING
        is_check = scenario.action.replay is Replay.CHECK
        assert outcome.not_before == (SETTLING if is_check and may_have_acted else 0)
        if call.kind == "write":
            self._again(player, scenario, journal, acted=acted)

    def test_a_request_that_never_arrived(self, player: Player, number: int, never_arrived: Broken) -> None:
        scenario = self.scenario
        player.vendor.expect(*scenario.calls[: number + 1], broken={number: never_arrived})
        outcome, journal = player.play(scenario)
        player.vendor.assert_played()
        acted = _writes(scenario.calls[:number])
        assert outcome.may_have_acted is acted
        if acted and scenario.action.replay is Replay.NEVER:
            assert outcome.result is Result.UNCERTAIN
            return
        assert outcome.result is Result.WAITING
        assert outcome.after == (7 if never_arrived.status == 429 else None)
        assert journal.exchanges[-1].sent is (never_arrived.status == 429)

    @pytest.mark.parametrize("acted", [True, False], ids=["it acted", "it did not act"])
    def test_an_answer_that_nobody_documented(
        self, player: Player, number: int, meaningless: Broken, acted: bool
    ) -> None:
        scenario, call = self.scenario, self.scenario.calls[number]
        player.vendor.expect(*scenario.calls[: number + 1], broken={number: meaningless})
        if _writes(scenario.calls[: number + 1]):
            self._look_again(player, scenario, acted=acted)
            return
        outcome, _ = player.play(scenario)
        player.vendor.assert_played()
        assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, False), call

    def test_an_answer_of_wrong_types(self, player: Player, any_call: int) -> None:
        scenario, call = self.scenario, self.scenario.calls[any_call]
        spoilt = Call(call.method, call.path, wrong_types(call.answer), call.query, call.body, reads=call.reads)
        player.vendor.expect(*scenario.calls[:any_call], spoilt)
        # What is not used at once may be of any type: then the action goes on.
        player.vendor.expect(*scenario.calls[any_call + 1 :], optional=True)
        if _writes(scenario.calls[: any_call + 1]):
            self._look_again(player, scenario, acted=False)
            return
        outcome, journal = player.play(scenario)
        player.vendor.assert_played()
        if not journal.announced:
            assert outcome.result in {Result.WAITING, Result.REJECTED}
            assert not outcome.may_have_acted

    @pytest.mark.parametrize("acted", [True, False], ids=["it acted", "it did not act"])
    def test_a_refusal(self, player: Player, number: int, refused: Broken, acted: bool) -> None:
        scenario = self.scenario
        player.vendor.expect(*scenario.calls[: number + 1], broken={number: refused})
        if _writes(scenario.calls[:number]):
            self._look_again(player, scenario, acted=acted)
            return
        outcome, journal = player.play(scenario)
        player.vendor.assert_played()
        assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False)
        assert len(journal.refusals) == (scenario.calls[number].kind == "write")

    def test_refused_credentials_hold_it_when_the_test_fails_too(
        self, player: Player, number: int, unauthorized: Broken
    ) -> None:
        scenario = self.scenario
        player.vendor.expect(*scenario.calls[: number + 1], broken={number: unauthorized})
        player.vendor.expect(scenario.probe[0], broken={0: unauthorized})
        outcome, _ = player.play(scenario)
        player.vendor.assert_played()
        assert (outcome.result, outcome.reason) == (Result.HELD, "credentials")
        assert outcome.may_have_acted is _writes(scenario.calls[:number])

    def test_refused_credentials_are_a_refusal_when_the_test_passes(
        self, player: Player, number: int, unauthorized: Broken
    ) -> None:
        scenario = self.scenario
        player.vendor.expect(*scenario.calls[: number + 1], broken={number: unauthorized})
        player.vendor.expect(*scenario.probe)
        if _writes(scenario.calls[:number]):
            self._look_again(player, scenario, acted=False)
            return
        outcome, _ = player.play(scenario)
        player.vendor.assert_played()
        assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False)

    # --- when a person's data is hostile ----------------------------------------------------------------------------

    def test_hostile_values_change_no_requests_shape(self, player: Player, hostile: tuple[str, str, Any]) -> None:
        scenario, (kind, name, value) = self.scenario, hostile
        player.vendor.by_shape = _Shapes(scenario)
        told: dict[str, Any] = {kind: {**getattr(scenario, kind), name: value}}
        outcome, _ = player.play(scenario, **told)
        assert player.vendor.problems == []
        assert outcome.message

    # --- what follows from it ---------------------------------------------------------------------------------------

    def _look_again(self, player: Player, scenario: Scenario, *, acted: bool) -> None:
        """A no, or nothing that could be read, after a write: done if the vendor shows it, else a person decides."""
        looks = scenario.action.replay is Replay.CHECK
        if looks:
            player.vendor.expect(*(scenario.looks_done if acted else scenario.calls[: scenario.looks]))
        outcome, _ = player.play(scenario)
        player.vendor.assert_played()
        if looks and acted:
            assert outcome.result is scenario.found
        else:
            assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True)

    def _again(self, player: Player, scenario: Scenario, journal: MemoryJournal, *, acted: bool) -> None:
        """The attempt after one that may have acted."""
        earlier = _written(scenario, player.vendor.heard)
        replay = scenario.action.replay
        looks = replay is Replay.CHECK and acted
        if looks:
            player.vendor.expect(*scenario.looks_done)
        elif replay is not Replay.NEVER:
            player.vendor.expect(*scenario.calls)
        player.vendor.heard.clear()
        outcome, _ = player.play(scenario, journal.again(), may_have_acted=True, since_first_write=timedelta(minutes=1))
        player.vendor.assert_played()
        later = _written(scenario, player.vendor.heard)
        if replay is Replay.NEVER:
            assert (outcome.result, later) == (Result.UNCERTAIN, [])
        elif looks:
            assert (outcome.result, later) == (scenario.found, [])
        else:
            assert outcome.result is scenario.result
            header = scenario.connector.idempotency_header
            if replay is Replay.KEY:
                keys = [heard.header(header) for heard in later]
                assert keys[: len(earlier)] == [heard.header(header) for heard in earlier]
                assert None not in keys
                assert len(set(keys)) == len(keys)


class _Shapes:
    """Finds the call of a scenario that a request looks like, when one of its values has become another."""

    def __init__(self, scenario: Scenario) -> None:
        self._calls = (*scenario.calls, *scenario.looks_done, *scenario.probe)
        values = [*scenario.traits.values(), *scenario.inputs.values()]
        self._variable = {quote(str(value), safe="") for value in values}

    def __call__(self, heard: Heard) -> Call | None:
        return next((call for call in self._calls if self._alike(call, heard)), None)

    def _alike(self, call: Call, heard: Heard) -> bool:
        fixed, came = call.path.split("/"), heard.path.split("/")
        return (
            call.method == heard.method
            and len(fixed) == len(came)
            and all(one == other or one in self._variable for one, other in zip(fixed, came, strict=True))
            and all(part not in {".", ".."} for part in came)
            and sorted(call.query) == sorted(name for name, _ in heard.query)
            and _names(call.body) == _names(heard.body)
        )


def _names(body: Any) -> Any:
    return sorted(body) if isinstance(body, dict) else body is NOTHING


def _written(scenario: Scenario, heard: list[Heard]) -> list[Heard]:
    """The writes among what was heard; a read by POST is none."""
    calls = (*scenario.calls, *scenario.looks_done)
    reads = {(call.method, call.path) for call in calls if call.kind == "read"}
    return [one for one in heard if (one.method, one.path) not in reads]


def _writes(calls: tuple[Call, ...]) -> bool:
    return any(call.kind == "write" for call in calls)
