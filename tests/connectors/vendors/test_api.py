"""An API action over a real connection: what leaves, and what comes of each answer."""

import json
import re
from typing import Any

import pytest
from pytest_django.fixtures import Settings as DjangoSettings
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from connectors.api_actions import ApiActions
from connectors.base import Replay
from connectors.forms import settings_form
from connectors.http import secret_values
from connectors.registry import connector
from connectors.runner import Outcome, Result, Work, preview, probe, run
from tests.connectors.contract import ActionContract, MemoryJournal, Scenario
from tests.connectors.fake_vendor import Call

TOKEN = "the-token-of-the-endpoint"


def written(**changes: Any) -> dict[str, Any]:
    """Settings as they are typed."""
    return {
        "name": "Grant premium",
        "method": "POST",
        "url": "https://api.example.com/customers/%customer_id%/grants",
        "headers": "Authorization: Bearer %secret.token%\nX-Source: engage",
        "params": "",
        "body": '{"plan": "%input.plan%", "age": "%age|unknown%", "note": "for %email|somebody%"}',
        "inputs": "plan: Which plan\ndays: For how long [number] [optional]",
        "replay": "NEVER",
        "key_hours": "",
        "success_path": "",
        "success_value": "",
        "success_text": "",
        "description": "",
        "secret.token": TOKEN,
        **changes,
    }


def stored(**changes: Any) -> dict[str, Any]:
    """Settings and secrets as a connection keeps them."""
    form = settings_form(None, connector("api"), written(**changes))
    assert form.is_valid(), form.errors.as_json()
    return {**form.new_settings, **form.typed_secrets}


def wrong(**changes: Any) -> dict[str, list[str]]:
    form = settings_form(None, connector("api"), written(**changes))
    form.is_valid()
    return {name: [str(error) for error in errors] for name, errors in form.errors.items()}


class Endpoint:
    """A server that keeps what it was sent and answers as a test says."""

    def __init__(self, server: HTTPServer) -> None:
        self.url = server.url_for("").rstrip("/")
        self.heard: list[Request] = []
        self.bodies: list[Any] = []
        self.answer = Response('{"ok": true}', 200, content_type="application/json")
        server.expect_request(re.compile("/.*")).respond_with_handler(self._handle)

    def _handle(self, request: Request) -> Response:
        self.heard.append(request)
        self.bodies.append(json.loads(request.get_data()) if request.get_data() else None)
        return self.answer


@pytest.fixture
def endpoint(httpserver: HTTPServer, settings: DjangoSettings) -> Endpoint:
    settings.ENGAGE_PRIVATE_HOSTS = [f"{httpserver.host}:{httpserver.port}"]
    return Endpoint(httpserver)


TRAITS = {"customer_id": "c 7/1", "age": 41, "email": "ana@example.com"}
INPUTS = {"plan": "gold"}


def work(settings: dict[str, Any], traits: Any = None, inputs: Any = None) -> Work:
    (action,) = connector("api").actions_of(settings)
    return Work(
        connector("api"), action(), settings, TRAITS if traits is None else traits, INPUTS if inputs is None else inputs
    )


def carried_out(settings: dict[str, Any], *, journal: MemoryJournal | None = None, **told: Any) -> Outcome:
    return run(work(settings, **told), journal or MemoryJournal())


# --- what leaves ------------------------------------------------------------------------------------------------------------


def test_the_request_is_exactly_what_was_written(endpoint: Endpoint) -> None:
    url = f"{endpoint.url}/customers/%customer_id%/grants/"
    outcome = carried_out(
        stored(url=url, params="days=%input.days%\nq=a&b %email%"), inputs={"plan": "gold", "days": 30}
    )
    (heard,) = endpoint.heard

    assert outcome.result is Result.DONE
    assert outcome.message == "localhost accepted it (status 200)"
    assert heard.method == "POST"
    assert heard.environ["REQUEST_URI"] == "/customers/c%207%2F1/grants/?days=30&q=a%26b+ana%40example.com"
    assert heard.headers["Authorization"] == f"Bearer {TOKEN}"
    assert heard.headers["X-Source"] == "engage"
    assert heard.headers["Idempotency-Key"] == "write-1"
    assert endpoint.bodies == [{"plan": "gold", "age": 41, "note": "for ana@example.com"}]


def test_a_secret_in_the_body_is_sent_and_neither_stored_nor_shown(endpoint: Endpoint) -> None:
    journal = MemoryJournal()
    settings = stored(
        url=endpoint.url, body='{"auth": {"key": "k-%secret.other%"}}', **{"secret.other": 'quo"ted\\secret'}
    )
    outcome = carried_out(settings, journal=journal)
    step = journal.again().step("write", "POST", endpoint.url, {}, None)

    assert outcome.result is Result.DONE
    assert endpoint.bodies == [{"auth": {"key": 'k-quo"ted\\secret'}}]
    assert step.body is not None
    assert "quo" not in step.body.text
    assert set(secret_values(connector("api"), settings)) == {TOKEN, 'quo"ted\\secret'}
    assert "quo" not in json.dumps([exchange.as_json() for exchange in journal.exchanges])
    assert journal.exchanges[0].body == {"auth": {"key": "k-[secret]"}}


HOSTILE = [
    "%secret.token%",
    '", "admin": true, "x": "',
    "a\r\nX-Evil: 1",
    "\\",
    "ünï😀",
    "%%",
    "{{x}}",
    "\ufdd0token\ufdd1",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_trait_is_a_text_in_the_body_and_nothing_else(endpoint: Endpoint, value: str) -> None:
    outcome = carried_out(stored(url=endpoint.url), traits={"email": value, "age": value})

    if "\ufdd0" in value:
        assert outcome.result is Result.REJECTED
        assert not endpoint.heard
    else:
        assert endpoint.bodies == [{"plan": "gold", "age": value, "note": f"for {value}"}]
        assert TOKEN not in json.dumps(endpoint.bodies)


@pytest.mark.parametrize("value", ["../../admin", "a/b", "a?x=1", "a#b", "a%2Fb", "..", "x@evil.example.com"])
def test_a_hostile_trait_stays_within_its_part_of_the_path(endpoint: Endpoint, value: str) -> None:
    outcome = carried_out(stored(url=f"{endpoint.url}/customers/%customer_id%/grants"), traits={"customer_id": value})

    if value == "..":
        assert outcome.result is Result.REJECTED
        assert not endpoint.heard
    else:
        path = endpoint.heard[0].environ["REQUEST_URI"]
        assert path.startswith("/customers/")
        assert path.endswith("/grants")
        assert path.count("/") == 3
        assert "?" not in path


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "ünï", "a\x00b", "\t"])
def test_what_a_header_cannot_carry_is_refused_before_anything_leaves(endpoint: Endpoint, value: str) -> None:
    settings = stored(url=endpoint.url, headers="X-Name: %first_name%", **{"secret.token": ""})
    outcome = carried_out(settings, traits={"first_name": value})

    assert outcome.result is Result.REJECTED
    assert "X-Name" in outcome.message
    assert not endpoint.heard


def test_a_trait_that_is_not_known_skips_it(endpoint: Endpoint) -> None:
    outcome = carried_out(stored(url=f"{endpoint.url}/%customer_id%"), traits={"age": 3})

    assert (outcome.result, outcome.reason) == (Result.SKIPPED, "missing")
    assert "customer_id" in outcome.message
    assert not endpoint.heard


def test_defaults_stand_in_for_what_is_not_known(endpoint: Endpoint) -> None:
    carried_out(stored(url=endpoint.url), traits={})

    assert endpoint.bodies == [{"plan": "gold", "age": "unknown", "note": "for somebody"}]


def test_a_get_is_announced_as_a_write(endpoint: Endpoint) -> None:
    journal = MemoryJournal()
    outcome = carried_out(stored(url=endpoint.url, method="GET", body=""), journal=journal)

    assert outcome.result is Result.DONE
    assert [exchange.kind for exchange in journal.announced] == ["write"]
    assert endpoint.heard[0].method == "GET"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_preview_shows_the_request_masked_and_sends_nothing(endpoint: Endpoint, method: str) -> None:
    body = '{"k": "%secret.token%"}' if method == "POST" else ""
    found = preview(work(stored(url=endpoint.url, method=method, body=body)))
    (exchange,) = found.exchanges

    assert found.outcome == "would_write"
    assert exchange["method"] == method
    assert exchange["headers"]["Authorization"] == "[secret]"
    assert TOKEN not in json.dumps(exchange)
    assert not endpoint.heard


# --- what comes back --------------------------------------------------------------------------------------------------------


def answered(
    endpoint: Endpoint, status: int, body: str, content_type: str = "application/json", **changes: Any
) -> Outcome:
    endpoint.answer = Response(body, status, content_type=content_type)
    return carried_out(stored(url=endpoint.url, **changes))


TELLS = {"success_path": "result.0.status", "success_value": "granted", "success_text": "Premium is granted."}


@pytest.mark.parametrize(
    ("status", "body", "content_type", "told", "result"),
    [
        (200, "OK", "text/plain", {}, Result.DONE),
        (204, "", "text/plain", {}, Result.DONE),
        (201, "[]", "application/json", {}, Result.DONE),
        (200, "<h1>Sign in</h1>", "text/html", {}, Result.UNCERTAIN),
        (302, "", "text/plain", {}, Result.UNCERTAIN),
        (500, "{}", "application/json", {}, Result.UNCERTAIN),
        (422, '{"message": "no"}', "application/json", {}, Result.REJECTED),
        (429, "{}", "application/json", {}, Result.WAITING),
        (401, "{}", "application/json", {}, Result.HELD),
        (200, '{"result": [{"status": "granted"}]}', "application/json", TELLS, Result.DONE),
        (200, '{"result": [{"status": "denied"}]}', "application/json", TELLS, Result.REJECTED),
        (200, '{"result": []}', "application/json", TELLS, Result.UNCERTAIN),
        (200, "OK", "text/plain", TELLS, Result.UNCERTAIN),
        (200, '{"result": true}', "application/json", {"success_path": "result", "success_value": "true"}, Result.DONE),
        (200, '{"result": 7}', "application/json", {"success_path": "result", "success_value": "7"}, Result.DONE),
        (
            200,
            '{"result": "7"}',
            "application/json",
            {"success_path": "result.x", "success_value": "7"},
            Result.UNCERTAIN,
        ),
    ],
)
def test_what_comes_of_an_answer(
    endpoint: Endpoint, status: int, body: str, content_type: str, told: dict[str, str], result: Result
) -> None:
    assert answered(endpoint, status, body, content_type, **told).result is result


def test_success_and_refusal_are_said_in_words(endpoint: Endpoint) -> None:
    done = answered(endpoint, 200, '{"result": [{"status": "granted"}]}', **TELLS)
    refused = answered(endpoint, 200, '{"result": [{"status": "denied"}]}', **TELLS)

    assert done.message == "Premium is granted (status 200)"
    assert refused.message == "localhost answered that result.0.status is denied, not granted."


def test_a_lost_answer_is_tried_again_only_where_the_administrator_says_so(endpoint: Endpoint) -> None:
    endpoint.answer = Response("{}", 503)
    never, key, natural = (
        carried_out(stored(url=endpoint.url, replay=replay, key_hours=hours))
        for replay, hours in (("NEVER", ""), ("KEY", "24"), ("NATURAL", ""))
    )

    assert (never.result, key.result, natural.result) == (Result.UNCERTAIN, Result.WAITING, Result.WAITING)


def test_a_repeat_sends_the_same_body_under_the_same_key(endpoint: Endpoint) -> None:
    settings = stored(url=endpoint.url, replay="KEY", key_hours="24", body='{"k": "%secret.token%", "age": "%age%"}')
    first = MemoryJournal()
    endpoint.answer = Response("{}", 503)
    carried_out(settings, journal=first)
    endpoint.answer = Response("{}", 200)
    outcome = carried_out(settings | {"secret.token": "another-token-since"}, journal=first.again(), traits={"age": 99})

    assert outcome.result is Result.DONE
    assert endpoint.bodies == [{"k": TOKEN, "age": 41}, {"k": "another-token-since", "age": 41}]
    assert [heard.headers["Idempotency-Key"] for heard in endpoint.heard] == ["write-1", "write-1"]


def test_a_private_address_is_not_called(endpoint: Endpoint, settings: DjangoSettings) -> None:
    told = stored(url=endpoint.url)
    settings.ENGAGE_PRIVATE_HOSTS = []

    assert carried_out(told).result is Result.REJECTED
    assert not probe(connector("api"), told).passed
    assert not endpoint.heard


def test_the_test_says_what_it_cannot_test(endpoint: Endpoint) -> None:
    report = probe(connector("api"), stored(url=endpoint.url))

    assert report.passed
    assert [line.ok for line in report.lines] == [True, None]
    assert not endpoint.heard


# --- the contract that every action keeps -----------------------------------------------------------------------------------


def scenario(replay: str) -> Scenario:
    settings = stored(
        url="https://api.example.com/customers/%customer_id%/grants",
        replay=replay,
        key_hours="24" if replay == "KEY" else "",
        success_path="status",
        success_value="granted",
    )
    body = {"plan": "gold", "age": 41, "note": "for ana@example.com"}
    return Scenario(
        ApiActions,
        ApiActions().actions_of(settings)[0],
        calls=(Call("POST", "/customers/c%207%2F1/grants", {"status": "granted"}, body=body),),
        result=Result.DONE,
        message="api.example.com accepted it (status 200)",
        settings=settings,
        traits=TRAITS,
        inputs=INPUTS,
        signed={"Authorization": f"Bearer {TOKEN}", "X-Source": "engage"},
    )


class TestNever(ActionContract):
    scenario = scenario("NEVER")


class TestKey(ActionContract):
    scenario = scenario("KEY")


class TestNatural(ActionContract):
    scenario = scenario("NATURAL")


# --- what is refused when it is saved ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"url": "http://api.example.com/x"}, "url", "https://"),
        ({"url": "https://%host%/x"}, "url", "no placeholder"),
        ({"url": "https://%host%.example.com/x"}, "url", "no placeholder"),
        ({"url": "https://api.example.com%path%"}, "url", "no placeholder"),
        ({"url": "https://api.example.com@evil.example.com/"}, "url", "no placeholder"),
        ({"url": "https://user:pass@api.example.com/"}, "url", "no placeholder"),
        ({"url": "https://api.example.com:99999/"}, "url", "no such port"),
        ({"url": "ftp://api.example.com/"}, "url", "https://"),
        ({"url": "https://api.example.com/a?b=c"}, "url", "own field"),
        ({"url": "https://api.example.com/a#b"}, "url", "own field"),
        ({"url": "https://api.example.com/a/../b"}, "url", "“..”"),
        ({"url": "https://api.example.com/50%"}, "url", "begins no placeholder"),
        ({"url": "https://api.example.com/%secret.token%"}, "url", "logs"),
        ({"url": "https://api.example.com/%input.nothing%"}, "url", "not declared"),
        ({"params": "key=%secret.token%"}, "params", "logs"),
        ({"params": "no equals sign"}, "params", "Line 1"),
        ({"params": "a=1\n\na=2"}, "params", "Line 3: “a” stands here twice"),
        ({"headers": "X-A: 1\nnonsense"}, "headers", "Line 2"),
        ({"headers": "X A: 1"}, "headers", "no header's name"),
        ({"headers": "Host: evil.example.com"}, "headers", "leave it out"),
        ({"headers": "idempotency-key: 1"}, "headers", "leave it out"),
        ({"headers": "X-A: ünï"}, "headers", "no header can carry"),
        ({"headers": "X-A: 50% off"}, "headers", "Line 1: “% off”"),
        ({"body": '{\n "a": 1,\n}'}, "body", "Line"),
        ({"body": '{"a": "%other.x%"}'}, "body", "begins no placeholder"),
        ({"body": '{"a": "%input.nothing%"}'}, "body", "not declared"),
        ({"body": '{"a": "%secret.unknown%"}'}, "secret.unknown", "Enter it once"),
        ({"secret.token": "short"}, "secret.token", "at least 8"),
        ({"method": "GET"}, "body", "no body"),
        ({"replay": "KEY"}, "key_hours", "how many hours"),
        ({"replay": "CHECK"}, "replay", "valid choice"),
        ({"success_path": "a.b"}, "success_value", "both or none"),
        ({"inputs": "plan Which"}, "inputs", "Line 1"),
        ({"inputs": "plan: Which [colour]"}, "inputs", "[colour]"),
        ({"inputs": "plan: A\nplan: B"}, "inputs", "twice"),
        ({"inputs": "plan: A [number] [e-mail]"}, "inputs", "one kind"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_saved(changes: dict[str, str], field: str, words: str) -> None:
    assert words in " ".join(wrong(**changes).get(field, []))


def test_the_action_is_what_the_settings_say() -> None:
    (action,) = connector("api").actions_of(
        stored(replay="KEY", key_hours="24", inputs="plan: Which plan\nmail: Address [e-mail] [from the person]")
    )

    assert action.label == "Grant premium"
    assert action.needs.groups == (("customer_id",),)
    assert action.needs.welcome == ("age", "email")
    assert action.replay is Replay.KEY
    assert action.from_browser == {"mail"}
    assert [field.label for field in action.Inputs().fields.values()] == ["Which plan", "Address"]
    assert connector("api").actions_of({}) == ()
