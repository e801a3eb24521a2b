"""The contract that every action keeps, whatever its vendor.

An action's test says what goes over the wire when all is well (a `Scenario`, which is data); `ActionContract` plays it over a
real connection, and then breaks every call of it in every way and judges the outcome by what the action declares
(`replay`) and by whether the broken call was a read or a write:

    class TestApplyCoupon(ActionContract):
        scenario = Scenario(Cleeng, ApplyCoupon, calls=(...), ...)
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from types import NoneType
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from django.conf import settings as django_settings
from pytest_django.fixtures import Settings

from connectors.base import RESOLVED, USER_ID, Action, Connector, Pending, Replay, SecretField
from connectors.bodies import Body
from connectors.failures import Failure
from connectors.http import Api, secret_values
from connectors.journal import Exchange, Step
from connectors.models import Connection
from connectors.runner import Diverged, Outcome, Result, Work, clean_inputs, follow_up, run
from tests.connectors.fake_vendor import NOTHING, Broken, Call, FakeVendor, Heard, fake_vendor
from tests.factories import ConnectionFactory

SECONDS = 5.0
IMPATIENT = 0.5  # seconds that a request waits for an answer where the vendor gives none
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
        looks: how many of the first calls are `already_done()`'s own (CHECK). `perform()` begins after them, and reads again
            what it needs.
        looks_done: the requests of `already_done()` once the writes have taken effect, with the answers of then (CHECK).
        found: the outcome when that look finds it done.
        signed: the headers by which every request is signed, exactly; a call may have its own.
        probe: the requests of a passing *Test connection*.
        others: how many of the first of these test other parts of the vendor than the action's (`Connector.parts`).
        job: what is kept of a job that the vendor accepted (`Pending.job`).
        instruction: what the client is told (`HandedOver.instruction`).
        given: what the action is given of the person (`Needs.given`).
        also_yes: the names of those of MEANINGLESS and REFUSED that this vendor documents as its yes.

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
    others: int = 0
    job: Mapping[str, Any] | None = None
    instruction: Mapping[str, Any] | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    also_yes: frozenset[str] = frozenset()

    @property
    def tokens(self) -> tuple[str, ...]:
        """The access tokens that the vendor gives out here. A call that does stands before the first that uses it."""
        return tuple(call.token for call in (*self.calls, *self.looks_done, *self.probe) if call.token)

    def work(self, **differences: Any) -> Work:
        """Return what `run()` takes."""
        told: dict[str, Any] = {"settings": self.settings, "traits": self.traits, "inputs": self.inputs}
        told |= {"given": self.given, **differences}
        return Work(self.connector(), self.action(), **told)


class MemoryJournal:
    """A journal that only remembers; `again()` is the next attempt's of the same execution."""

    def __init__(self, deadline: float = SECONDS, sent: dict[str, Step] | None = None) -> None:
        self.deadline = deadline
        self.tag = "execution-1"
        self.person = "5f0c1e5a-3a0e-5f57-9d0b-0d5ad5a6a001"
        self.exchanges: list[Exchange] = []
        self.announced: list[Exchange] = []
        self.refusals: list[str] = []
        self._before = sent or {}
        self._sent: dict[str, Step] = {}

    def step(self, name: str, method: str, url: str, query: Any, body: Body | None) -> Step:
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
EMPTY_LIST = Broken("an empty list", 200, "[]")
UNREADABLE = (
    Broken("HTML with 200", 200, "<h1>Sign in {secret}</h1>", "text/html"),
    Broken("half an answer", 200, '{"data": [{"id": 1'),
    Broken("an empty body", 200, ""),
    Broken("a redirect", 302, "", headers={"Location": "/elsewhere"}),
)
MEANINGLESS = (
    *UNREADABLE,
    Broken("null", 200, "null"),
    EMPTY_LIST,
    Broken("an empty object", 200, "{}"),
    Broken("a number", 200, "7"),
)
JUDGED_BY_THE_DOOR = (*UNANSWERED, *UNREADABLE)
UNAUTHORIZED = Broken("401", 401, '{"message": "bad key {secret}"}')
UNAUTHORIZED_PAGE = Broken("401 as HTML", 401, "<h1>{secret}</h1>", "text/html")
FORBIDDEN = Broken("403", 403, '{"message": "not for {secret}"}')
REFUSED = (
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


def _hostile_to(scenario: Scenario, kind: str, name: str) -> list[Any]:
    """Return the values that one place is tried with: a third, in turn, so that places and actions together see all of them."""
    turn = scenario.connector.actions.index(scenario.action) if scenario.action in scenario.connector.actions else 0
    places = sorted(scenario.traits) + sorted(scenario.inputs) + [USER_ID]
    values = HOSTILE[(turn + places.index(name)) % 3 :: 3]
    return [value for value in values if kind != "given" or isinstance(value, str)]  # a user id is always a text


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
        secrets = (*secret_values(scenario.connector(), scenario.settings), *scenario.tokens)
        self.point_at(scenario.connector, secrets)
        outcome = run(scenario.work(**differences), journal)
        self.keeps(secrets, f"{outcome} {[exchange.as_json() for exchange in journal.exchanges]}")
        self._signed(scenario)
        return outcome, journal

    def point_at(self, connector: type[Connector], secrets: tuple[str, ...]) -> None:
        """Let a connector's requests go to the fake vendor, which quotes the first secret where it is told to."""
        self._settings.ENGAGE_VENDOR_URLS = {connector.key: self.vendor.url}
        self.vendor.echo = next(iter(secrets), "")

    def wait_shortly(self, connector: type[Connector]) -> None:
        """Let every request of a connector give up soon, each by itself: the ones before the lost one may be slow."""
        self._settings.ENGAGE_TIME_SCALE = connector.timeout / IMPATIENT

    def keeps(self, secrets: tuple[str, ...], kept: str) -> None:
        """No secret stands in what is kept or logged."""
        assert not any(secret in kept + self._caplog.text for secret in secrets)

    def _signed(self, scenario: Scenario) -> None:
        """Every request is signed as declared, and carries no header that nobody declared."""
        key, methods = scenario.connector.idempotency_header.lower(), scenario.connector.idempotency_methods
        for heard in self.vendor.heard:
            own = heard.call.signed if heard.call else None
            signed = {name.lower(): value for name, value in (scenario.signed if own is None else own).items()}
            came = {name.lower(): value for name, value in heard.headers}
            assert {name: came.get(name) for name in signed} == signed
            has_key = bool(key) and (heard.method in methods if methods else heard.method != "GET")
            assert set(came) <= ORDINARY_HEADERS | set(signed) | ({key} if has_key else set())


@pytest.fixture
def player(settings: Settings, caplog: pytest.LogCaptureFixture) -> Iterator[Player]:
    """A player with a vendor of its own."""
    with fake_vendor() as vendor:
        yield Player(vendor, settings, caplog)


def played(player: Player, scenario: Scenario, *calls: Call, **differences: Any) -> Outcome:
    """Carry an action out with these answers instead, none left over."""
    player.vendor.expect(*calls)
    outcome, _ = player.play(scenario, **differences)
    player.vendor.assert_played()
    return outcome


def followed(player: Player, scenario: Scenario, *calls: Call, **differences: Any) -> Outcome:
    """Follow a scenario's job up once, none of the answers left over."""
    player.point_at(scenario.connector, secret_values(scenario.connector(), scenario.settings))
    player.vendor.expect(*calls)
    outcome = follow_up(scenario.work(), {**(scenario.job or {}), **differences}, MemoryJournal())
    player.vendor.assert_played()
    return outcome


class ActionContract:
    """What every action is held to. A subclass in the vendor's test sets `scenario`."""

    scenario: ClassVar[Scenario]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Break every call in every way; try every hostile value in every trait and input."""
        scenario = getattr(metafunc.cls, "scenario", None)
        if scenario is None:
            return
        is_bad_key = scenario.connector.forbidden_is_bad_credentials
        faults = {
            "unanswered": UNANSWERED,
            "never_arrived": NEVER_ARRIVED,
            "meaningless": tuple(way for way in MEANINGLESS if way.name not in scenario.also_yes),
            "unauthorized": (UNAUTHORIZED, UNAUTHORIZED_PAGE, *((FORBIDDEN,) if is_bad_key else ())),
            "refused": (
                *(way for way in REFUSED if way.name not in scenario.also_yes),
                *(() if is_bad_key else (FORBIDDEN,)),
            ),
        }
        for name, ways in faults.items():
            if name not in metafunc.fixturenames:
                continue
            told = [
                (f"{call.method} {number + 1}: {way.name}{', and it acted' * acted}", number, way, acted)
                for number, call in enumerate(scenario.calls)
                for way in _in_turn(ways, call, number)
                if not (way is EMPTY_LIST and call.kind == "read" and isinstance(call.answer, list))  # it says: none
                for acted in ((False, True) if _tells_acts_apart(scenario, name, number) else (False,))
            ]
            if "acted" in metafunc.fixturenames:
                metafunc.parametrize(
                    ("number", name, "acted"), [case[1:] for case in told], ids=[case[0] for case in told]
                )
            else:
                whole = [case for case in told if not case[3]]
                metafunc.parametrize(("number", name), [case[1:3] for case in whole], ids=[case[0] for case in whole])
        if "signed_by_token" in metafunc.fixturenames:
            by_token = [number for number, call in enumerate(scenario.calls) if scenario.tokens and not call.token]
            metafunc.parametrize("signed_by_token", by_token)
        if "any_call" in metafunc.fixturenames:
            metafunc.parametrize("any_call", range(len(scenario.calls)))
        if "hostile" in metafunc.fixturenames:
            places = [(kind, name) for kind in ("traits", "inputs") for name in getattr(scenario, kind)]
            places += [("given", USER_ID)] if USER_ID in scenario.given else []
            metafunc.parametrize("hostile", places, ids=[name for _, name in places])

    # --- whether the scenario proves what it seems to prove ---------------------------------------------------------

    def test_the_scenario_is_whole(self) -> None:
        scenario, declared = self.scenario, self.scenario.connector
        for what, form in (("settings", declared.Settings), ("inputs", scenario.action.Inputs)):
            values: Mapping[str, Any] = getattr(scenario, what)
            unknown = sorted(set(values) - set(form.base_fields) - {RESOLVED})
            assert not unknown or declared.several, (
                f"The scenario's {what} name {unknown}, which the form does not have."
            )
        # A part of the vendor that a scenario is not about may be left out, with its secret.
        secrets = secret_values(declared(), scenario.settings)
        has_secrets = any(isinstance(field, SecretField) for field in declared.Settings.base_fields.values())
        assert secrets or not has_secrets, "The scenario's settings hold no secret, so that none can be seen to leak."
        assert all(len(secret) >= 6 for secret in secrets), "A short secret may stand somewhere by chance."
        is_check = scenario.action.replay is Replay.CHECK
        looks = scenario.looks and scenario.looks_done
        assert bool(looks) is is_check, (
            "`looks` and `looks_done` say what `already_done()` reads: with CHECK, and only then."
        )
        reads = (*scenario.calls[: scenario.looks], *scenario.looks_done, *scenario.probe)
        writes = [str(call) for call in reads if call.kind == "write"]
        assert not writes, f"A look, or a test of the connection, only reads. Is one of these a read by POST? {writes}"
        is_tested = declared.needs_connection and declared.probe_proves_secrets and bool(scenario.calls)
        assert scenario.probe or not is_tested, "`probe` has the requests of *Test connection*."

    def test_the_look_reads_exactly_this(self, player: Player) -> None:
        scenario, action = self.scenario, self.scenario.action()
        if action.replay is not Replay.CHECK:
            pytest.skip("it does not look")
        inputs = clean_inputs(action, scenario.inputs)
        user = action.needs_with(inputs).pick(scenario.traits, scenario.given)
        player.point_at(scenario.connector, secret_values(scenario.connector(), scenario.settings))
        for calls, is_done in ((scenario.calls[: scenario.looks], False), (scenario.looks_done, True)):
            player.vendor.expect(*calls)
            found: object
            with Api(scenario.connector(), scenario.settings, MemoryJournal()) as api:
                try:
                    found = action.already_done(api, user, inputs)
                except Failure as failure:
                    found = failure
            player.vendor.assert_played()
            expected = (
                "`looks_done` shows that it is done" if is_done else "the first `looks` calls show that it is not done"
            )
            assert isinstance(found, (str, Pending) if is_done else NoneType), f"{expected}; the look says: {found!r}"

    # --- when all is well -------------------------------------------------------------------------------------------

    def test_it_sends_exactly_this_and_says_what_came_of_it(self, player: Player) -> None:
        scenario = self.scenario
        player.vendor.expect(*scenario.calls)
        outcome, journal = player.play(scenario)
        assert (outcome.result, outcome.message) == (scenario.result, scenario.message), player.vendor.problems
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
            assert (outcome.result, outcome.reason) == (Result.SKIPPED, "missing"), outcome
        player.vendor.assert_played()
        assert player.vendor.heard == []

    # --- when a call goes wrong -------------------------------------------------------------------------------------

    def test_a_lost_answer(self, player: Player, number: int, unanswered: Broken, acted: bool) -> None:
        scenario, call = self.scenario, self.scenario.calls[number]
        player.vendor.expect(*scenario.calls[: number + 1], broken={number: unanswered})
        player.wait_shortly(scenario.connector)
        outcome, journal = player.play(scenario)
        player.vendor.assert_played()
        may_have_acted = _writes(scenario.calls[: number + 1])
        assert outcome.may_have_acted is may_have_acted, outcome
        assert journal.refusals == []
        if may_have_acted and scenario.action.replay is Replay.NEVER:
            assert outcome.result is Result.UNCERTAIN, outcome
            return
        assert outcome.result is Result.WAITING, outcome
        is_check = scenario.action.replay is Replay.CHECK
        assert outcome.not_before == (django_settings.ENGAGE_SETTLING if is_check and may_have_acted else 0), outcome
        if call.kind == "write":
            self._again(player, scenario, journal, acted=acted)

    def test_a_request_that_never_arrived(self, player: Player, number: int, never_arrived: Broken) -> None:
        scenario = self.scenario
        player.vendor.expect(*scenario.calls[: number + 1], broken={number: never_arrived})
        outcome, journal = player.play(scenario)
        player.vendor.assert_played()
        acted = _writes(scenario.calls[:number])
        assert outcome.may_have_acted is acted, outcome
        if acted and scenario.action.replay is Replay.NEVER:
            assert outcome.result is Result.UNCERTAIN, outcome
            return
        assert outcome.result is Result.WAITING, outcome
        assert outcome.after == (7 if never_arrived.status == 429 else None), outcome
        assert journal.exchanges[-1].sent is (never_arrived.status == 429)

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
        assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, False), f"{call}: {outcome}"

    def test_an_answer_of_wrong_types(self, player: Player, any_call: int) -> None:
        scenario, call = self.scenario, self.scenario.calls[any_call]
        spoilt = replace(call, answer=wrong_types(call.answer), status=200, answer_headers={})
        player.vendor.expect(*scenario.calls[:any_call], spoilt)
        # What is not used at once may be of any type: then the action goes on.
        player.vendor.expect(*scenario.calls[any_call + 1 :], optional=True)
        if _writes(scenario.calls[: any_call + 1]):
            self._look_again(player, scenario, acted=False)
            return
        outcome, journal = player.play(scenario)
        player.vendor.assert_played()
        if not journal.announced:
            assert outcome.result in {Result.WAITING, Result.REJECTED}, outcome
            assert not outcome.may_have_acted

    def test_a_refusal(self, player: Player, number: int, refused: Broken, acted: bool) -> None:
        scenario = self.scenario
        player.vendor.expect(*scenario.calls[: number + 1], broken={number: refused})
        if scenario.calls[number].token:
            # Whoever gives out no token refuses the credentials, whatever the status.
            self._held(player, scenario, number, refused)
            return
        if _writes(scenario.calls[:number]):
            self._look_again(player, scenario, acted=acted)
            return
        outcome, journal = player.play(scenario)
        player.vendor.assert_played()
        assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False), outcome
        assert len(journal.refusals) == (scenario.calls[number].kind == "write")

    def test_refused_credentials_hold_it_when_the_test_fails_too(
        self, player: Player, number: int, unauthorized: Broken
    ) -> None:
        scenario = self.scenario
        if not scenario.connector.probe_proves_secrets:
            pytest.skip("no test asks the vendor")
        player.vendor.expect(*scenario.calls[: number + 1], broken={number: unauthorized})
        self._held(player, scenario, number, unauthorized)

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
        wanted = Result.REJECTED if scenario.connector.probe_proves_secrets else Result.HELD
        assert (outcome.result, outcome.may_have_acted) == (wanted, False), outcome

    # --- when an access token was kept by an earlier attempt ---------------------------------------------------------

    @pytest.mark.django_db
    def test_a_kept_token_is_used_again(self, player: Player) -> None:
        scenario = self.scenario
        if not scenario.tokens:
            pytest.skip("there are no access tokens")
        account = self._with_kept_tokens(player)
        player.vendor.expect(*_without(scenario.tokens, scenario.calls))
        outcome, _ = player.play(scenario, account=account)
        player.vendor.assert_played()
        assert (outcome.result, outcome.message) == (scenario.result, scenario.message), outcome

    @pytest.mark.django_db
    @pytest.mark.parametrize("helps", [True, False], ids=["a new one helps", "a new one is refused too"])
    def test_a_kept_token_that_is_refused_is_replaced_once(
        self, player: Player, signed_by_token: int, helps: bool
    ) -> None:
        scenario, number = self.scenario, signed_by_token
        account = self._with_kept_tokens(player)
        gives = next(call for call in reversed(scenario.calls[:number]) if call.token)
        until = _without(scenario.tokens, scenario.calls[: number + 1])
        player.vendor.expect(*until, broken={len(until) - 1: UNAUTHORIZED})
        player.vendor.expect(gives, scenario.calls[number], broken={} if helps else {1: UNAUTHORIZED})
        if not helps:
            self._held(player, scenario, number, UNAUTHORIZED, account=account)
            return
        player.vendor.expect(*_without(scenario.tokens, scenario.calls[number + 1 :]))
        outcome, journal = player.play(scenario, account=account)
        player.vendor.assert_played()
        assert (outcome.result, outcome.message) == (scenario.result, scenario.message), outcome
        assert (journal.refusals, outcome.may_have_acted) == ([], False)

    def _with_kept_tokens(self, player: Player) -> Connection:
        """Return an account of which an earlier attempt has left the tokens."""
        account: Connection = ConnectionFactory(connector=self.scenario.connector.key)
        player.vendor.expect(*self.scenario.calls)
        player.play(self.scenario, account=account)
        player.vendor.assert_played()
        player.vendor.heard.clear()
        return account

    # --- when a person's data is hostile ----------------------------------------------------------------------------

    def test_hostile_values_change_no_requests_shape(self, player: Player, hostile: tuple[str, str]) -> None:
        kind, name = hostile
        player.vendor.by_shape = _Shapes(self.scenario)
        for value in _hostile_to(self.scenario, kind, name):
            told: dict[str, Any] = {kind: {**getattr(self.scenario, kind), name: value}}
            outcome, _ = player.play(self.scenario, **told)
            assert player.vendor.problems == [], value
            assert outcome.message, value
            player.vendor.heard.clear()

    # --- what follows from it ---------------------------------------------------------------------------------------

    def _held(
        self, player: Player, scenario: Scenario, number: int, broken: Broken, account: Connection | None = None
    ) -> None:
        """The credentials were refused at a call, and in the test that follows."""
        own = scenario.others
        player.vendor.expect(*scenario.probe[: own + 1], broken={own: broken})
        outcome, _ = player.play(scenario, account=account)
        player.vendor.assert_played()
        assert (outcome.result, outcome.reason) == (Result.HELD, "credentials"), outcome
        assert outcome.may_have_acted is _writes(scenario.calls[:number]), outcome

    def _look_again(self, player: Player, scenario: Scenario, *, acted: bool) -> None:
        """A no, or nothing that could be read, after a write: done if the vendor shows it, else a person decides."""
        looks = scenario.action.replay is Replay.CHECK
        if looks:
            # The attempt has its tokens already; its test, if there was one, had its own.
            calls = scenario.looks_done if acted else scenario.calls[: scenario.looks]
            player.vendor.expect(*_without([turn.call.token for turn in player.vendor.script], calls))
        outcome, _ = player.play(scenario)
        player.vendor.assert_played()
        if looks and acted:
            assert outcome.result is scenario.found, outcome
        else:
            assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True), outcome

    def _again(self, player: Player, scenario: Scenario, journal: MemoryJournal, *, acted: bool) -> None:
        """The attempt after one that may have acted."""
        earlier = _written(player.vendor.heard)
        replay = scenario.action.replay
        looks = replay is Replay.CHECK and acted
        if looks:
            player.vendor.expect(*scenario.looks_done)
        elif replay is not Replay.NEVER:
            player.vendor.expect(*scenario.calls)
        player.vendor.heard.clear()
        outcome, _ = player.play(scenario, journal.again(), may_have_acted=True, since_first_write=timedelta(minutes=1))
        player.vendor.assert_played()
        later = _written(player.vendor.heard)
        if replay is Replay.NEVER:
            assert (outcome.result, later) == (Result.UNCERTAIN, []), outcome
        elif looks:
            assert (outcome.result, later) == (scenario.found, []), outcome
        else:
            assert outcome.result is scenario.result, outcome
            header = scenario.connector.idempotency_header
            if replay is Replay.KEY:
                # Without a header it is the body that holds the key, and `calls` says that it is the same.
                keys = [heard.header(header) if header else str(heard.body) for heard in later]
                if header:
                    assert keys[: len(earlier)] == [heard.header(header) for heard in earlier]
                assert None not in keys
                assert len(set(keys)) == len(keys)


class _Shapes:
    """Finds the call of a scenario that a request looks like, when one of its values has become another."""

    def __init__(self, scenario: Scenario) -> None:
        self._calls = (*scenario.calls, *scenario.looks_done, *scenario.probe)
        values = [*scenario.traits.values(), *scenario.inputs.values(), *scenario.given.values()]
        self._variable = {quote(str(value), safe="") for value in values}

    def __call__(self, heard: Heard) -> Call | None:
        alike = [call for call in self._calls if self._alike(call, heard)]
        # One that asks in a language of queries has its words in one parameter: the call whose words begin alike is meant.
        return max(alike, key=lambda call: _alike_words(call, heard), default=None)

    def _varies(self, part: str) -> bool:
        """Whether a part of a path is a value: alone, behind a word of the vendor's ("key:value") or before its method."""
        return not self._variable.isdisjoint({part, part.rpartition("%3A")[2].partition(":")[0]})

    def _alike(self, call: Call, heard: Heard) -> bool:
        fixed, came = call.path.split("/"), heard.path.split("/")
        return (
            call.method == heard.method
            and len(fixed) == len(came)
            and all(one == other or self._varies(one) for one, other in zip(fixed, came, strict=True))
            and all(part not in {".", ".."} for part in came)
            and sorted(call.query) == sorted(name for name, _ in heard.query)
            and _fits(call.body, heard.body)
        )


def _fits(expected: Any, came: Any) -> bool:
    """Whether a body has no name that the expected one has not; what is empty may be left out."""
    if isinstance(expected, dict) and isinstance(came, dict):
        return set(came) <= set(expected)
    return type(expected) is type(came) and (expected is NOTHING) == (came is NOTHING)


def _alike_words(call: Call, heard: Heard) -> int:
    came = dict(heard.query)
    return sum(_same_beginning(value, came.get(name, "")) for name, value in call.query.items())


def _same_beginning(one: str, other: str) -> int:
    return next((number for number, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))


def _written(heard: list[Heard]) -> list[Heard]:
    """The writes among what was heard; a read by POST is none."""
    return [one for one in heard if one.call and one.call.kind == "write"]


def _without(tokens: Iterable[str], calls: tuple[Call, ...]) -> list[Call]:
    """The calls without those that give out these tokens."""
    given = set(tokens)
    return [call for call in calls if not call.token or call.token not in given]


def _writes(calls: tuple[Call, ...]) -> bool:
    return any(call.kind == "write" for call in calls)


def _in_turn(ways: Sequence[Broken], call: Call, number: int) -> Iterator[Broken]:
    """Yield the ways in which a call breaks: a write in all of them.

    Reads take turns with those that the door judges by itself, whatever is asked: each breaks in every third of them.
    """
    turns = count(number)
    for way in ways:
        if call.kind == "write" or way not in JUDGED_BY_THE_DOOR or next(turns) % 3 == 0:
            yield way


def _tells_acts_apart(scenario: Scenario, fault: str, number: int) -> bool:
    """Whether it makes a difference for what follows that a broken call has acted all the same."""
    replay = scenario.action.replay
    match fault:
        case "unanswered":
            return scenario.calls[number].kind == "write" and replay is not Replay.NEVER
        case "meaningless":
            return replay is Replay.CHECK and _writes(scenario.calls[: number + 1])
        case "refused":
            return replay is Replay.CHECK and _writes(scenario.calls[:number])
        case _:
            return False
