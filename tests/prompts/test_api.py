"""The runtime API, as servers and browsers call it."""

import json
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from django.core.cache import cache
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from engage.tenancy.models import ApiKey, App, DeliveryMode, KeyKind
from prompts.api import waiting
from prompts.api.rates import PerApp
from prompts.models import Execution, PromptEvent, Refusal, State
from sync.models import Subscriber
from tests import factories
from tests.prompts.runtime import Caller, browser, event, prompt, redirecting
from tests.waiting import until


@pytest.fixture(autouse=True)
def _live(app: App) -> None:
    app.delivery_mode = DeliveryMode.LIVE
    app.domains = ["https://www.streamly.example"]
    app.save()


@pytest.fixture
def server(app: App) -> Caller:
    return Caller(app)


def refusals() -> list[tuple[str, str, str]]:
    return list(Refusal.objects.order_by("pk").values_list("endpoint", "reason", "detail"))


def error(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


# --- keys -------------------------------------------------------------------------------------------------------------


def test_without_a_key_nothing_is_answered(app: App) -> None:
    response = Client().get("/api/v1/prompts")
    assert error(response) == (401, "wrong_key")
    assert response["WWW-Authenticate"] == "Bearer"
    assert refusals() == [("GET /prompts", "no key", "")]


def test_a_wrong_key_is_counted_without_the_key(app: App, server: Caller) -> None:
    server.token = "sk_not-a-key-that-anybody-ever-made"
    assert error(server.get("/prompts")) == (401, "wrong_key")
    assert refusals() == [("GET /prompts", "wrong key", "sk_…")]
    assert Refusal.objects.get().app is None


def test_a_revoked_key_is_a_wrong_key_and_the_other_goes_on(app: App, server: Caller) -> None:
    other = Caller(app)
    ApiKey.objects.filter(hashed=server_hash(server)).update(revoked_at=timezone.now())
    assert server.get("/prompts").status_code == 401
    assert other.get("/prompts").status_code == 200


def server_hash(caller: Caller) -> str:
    from engage.tenancy.models import token_hash

    return token_hash(caller.token)


def test_the_last_use_of_a_key_is_noted_once_a_minute(server: Caller) -> None:
    with time_machine.travel("2026-03-01T10:00:00Z", tick=False) as clock:
        server.get("/prompts")
        clock.shift(timedelta(seconds=59))
        server.get("/prompts")
        assert ApiKey.objects.get().last_used_at.isoformat() == "2026-03-01T10:00:00+00:00"  # type: ignore[union-attr]
        clock.shift(timedelta(seconds=1))
        server.get("/prompts")
        assert ApiKey.objects.get().last_used_at.isoformat() == "2026-03-01T10:01:00+00:00"  # type: ignore[union-attr]


def test_a_beacon_carries_key_and_identity_in_its_body(app: App) -> None:
    prompt(app, key="offer")
    page = browser(app, "user-1")
    body = json.dumps({**event("offer"), "key": page.token, "identity": page.identity})
    assert Client().post("/api/v1/events", body, "text/plain").status_code == 200
    assert PromptEvent.objects.get().subscriber.user_id == "user-1"


def test_a_key_in_the_address_is_no_key(server: Caller) -> None:
    assert error(Client().get(f"/api/v1/prompts?key={server.token}")) == (401, "wrong_key")


# --- origins ----------------------------------------------------------------------------------------------------------


def test_a_page_of_the_apps_domains_is_answered(app: App) -> None:
    page = browser(app, "user-1")
    response = page.get("/prompts", Origin="https://www.streamly.example")
    assert response.status_code == 200
    assert response["Access-Control-Allow-Origin"] == "https://www.streamly.example"


def test_a_page_elsewhere_is_refused_and_counted(app: App, other_app: App) -> None:
    other_app.domains = ["https://elsewhere.example"]
    other_app.save()
    response = browser(app, "user-1").get("/prompts", Origin="https://elsewhere.example")
    assert error(response) == (403, "foreign_domain")
    assert refusals() == [("GET /prompts", "foreign domain", "https://elsewhere.example")]
    assert Refusal.objects.get().app == app


def test_a_secret_key_in_a_browser_is_refused(app: App, server: Caller) -> None:
    assert error(server.get("/prompts", Origin="https://www.streamly.example")) == (403, "secret_key_in_browser")


def test_our_own_pages_may_call(server: Caller) -> None:
    assert server.get("/prompts", Origin="http://testserver").status_code == 200


def test_a_preflight_is_answered_without_a_key(app: App) -> None:
    response = Client().options(
        "/api/v1/events",
        headers={
            "Origin": "https://www.streamly.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-engage-identity",
        },
    )
    assert response.status_code == 200
    assert "x-engage-identity" in response["Access-Control-Allow-Headers"]


# --- who a browser speaks for -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("interaction", ["accept", "timeout", "impression"])
def test_a_browser_reports_nothing_without_a_signed_identity(app: App, interaction: str) -> None:
    prompt(app, key="offer")
    response = browser(app).post("/events", event("offer", interaction=interaction))
    assert error(response) == (401, "unsigned_identity")
    assert not PromptEvent.objects.exists()
    assert not Subscriber.objects.exists()
    assert refusals() == [("POST /events", "unsigned identity", "none")]


def test_a_browser_does_not_spend_another_persons_coupon(app: App) -> None:
    prompt(app, key="offer")
    assert error(browser(app, "user-1").post("/events", event("offer", "user-2"))) == (401, "unsigned_identity")
    assert refusals() == [("POST /events", "unsigned identity", "another user")]


def test_an_identity_for_another_key_is_refused(app: App) -> None:
    prompt(app, key="offer")
    page = browser(app, "user-1")
    page.token = ApiKey.make(app, KeyKind.PUBLISHABLE)[1]
    assert error(page.post("/events", event("offer"))) == (401, "unsigned_identity")
    assert refusals() == [("POST /events", "unsigned identity", "aud")]


def test_another_persons_event_is_not_there_for_a_browser(app: App, server: Caller) -> None:
    redirecting(app, key="offer")
    body = event("offer", "user-1")
    execution = server.post("/events", body).json()["executions"]
    other, owner = browser(app, "user-2"), browser(app, "user-1")
    assert error(other.get(f"/events/{body['event_id']}")) == (404, "not_found")
    assert error(browser(app).get(f"/events/{body['event_id']}")) == (401, "unsigned_identity")
    assert owner.get(f"/events/{body['event_id']}").status_code in {200, 202}
    path = f"/executions/{execution[0]['id']}/report"
    assert error(other.post(path, {"result": "done"})) == (404, "not_found")


def test_another_apps_event_is_not_there(app: App, other_app: App, server: Caller) -> None:
    prompt(app, key="offer")
    body = event("offer")
    assert server.post("/events", body).status_code == 200
    assert error(Caller(other_app).get(f"/events/{body['event_id']}")) == (404, "not_found")


# --- events -----------------------------------------------------------------------------------------------------------


def test_an_event_is_stored_and_answered(app: App, server: Caller) -> None:
    prompt(app, key="offer")
    body = event("offer", "ann", version=1, inputs={}, context={"path": "/account"})
    response = server.post("/events", body)
    stored = PromptEvent.objects.get()
    assert (stored.subscriber.user_id, stored.interaction, stored.context) == ("ann", "accept", {"path": "/account"})
    assert response.status_code == 200
    assert response.json() == {
        "event_id": body["event_id"],
        "reference": stored.reference,
        "settled": True,
        "outcome": "nothing",
        "text": "",
        "url": f"http://testserver/api/v1/events/{body['event_id']}",
        "executions": [],
    }


def test_an_open_event_is_answered_with_where_to_ask_again(app: App, server: Caller) -> None:
    redirecting(app, key="offer", text_follows="It will follow, {{ first_name|friend }}.")
    body = event("offer")
    response = server.post("/events", body)
    assert (response.status_code, response.json()["outcome"]) == (202, "follows")
    assert response.json()["text"] == "It will follow, friend."
    assert [each["action"] for each in response.json()["executions"]] == ["builtin.redirect"]
    again = server.get(response.json()["url"].removeprefix("http://testserver/api/v1"))
    assert (again.status_code, again.json()) == (202, response.json())


def test_the_same_event_again_is_the_event_as_it_is_now_and_runs_nothing(app: App, server: Caller) -> None:
    redirecting(app, key="offer")
    body = event("offer")
    assert server.post("/events", body).status_code == 202
    Execution.objects.update(state=State.DONE)
    again = server.post("/events", {**body, "context": {"try": 2}, "wait": 3})
    assert (again.status_code, again.json()["outcome"]) == (200, "done")
    assert (PromptEvent.objects.count(), Execution.objects.count()) == (1, 1)


@pytest.mark.parametrize("other", [{"interaction": "decline"}, {"user_id": "ben"}, {"inputs": {"a": 1}}])
def test_the_same_id_with_another_body_is_a_conflict(app: App, server: Caller, other: dict[str, Any]) -> None:
    prompt(app, key="offer")
    body = event("offer")
    server.post("/events", body)
    assert error(server.post("/events", {**body, **other})) == (409, "event_id_taken")
    assert PromptEvent.objects.count() == 1


def test_an_unknown_prompt_is_counted_with_its_key(server: Caller) -> None:
    assert error(server.post("/events", event("summer"))) == (404, "unknown_prompt")
    assert refusals() == [("POST /events", "unknown prompt", "summer")]


def test_another_apps_prompt_is_unknown(other_app: App, server: Caller) -> None:
    prompt(other_app, key="theirs")
    assert error(server.post("/events", event("theirs"))) == (404, "unknown_prompt")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"interaction": "maybe"}, "interaction"),
        ({"event_id": "1"}, "event_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": " ann"}, "user_id"),
        ({"user_id": "a\u0000b"}, "user_id"),
        ({"user_id": "x" * 201}, "user_id"),
        ({"wait": 11}, "wait"),
        ({"wait": "5"}, "wait"),
        ({"version": 0}, "version"),
        ({"inputs": {"a": []}}, "inputs.a"),
        ({"inputs": {"a": 1e400}}, "inputs.a"),
        ({"context": {"a": "x" * 2001}}, "context.a"),
        ({"interacton": "accept"}, "interacton"),
    ],
)
def test_a_wrong_field_is_named(app: App, server: Caller, change: dict[str, Any], field: str) -> None:
    prompt(app, key="offer")
    text = json.dumps({**event("offer"), **change}).replace("Infinity", "1e400")
    response = server.post("/events", text)
    assert error(response) == (422, "invalid")
    assert list(response.json()["error"]["fields"]) == [field]
    assert refusals() == [("POST /events", "invalid request", field)]
    assert not PromptEvent.objects.exists()


def test_what_a_person_typed_is_checked_against_the_prompt(app: App, server: Caller) -> None:
    prompt(app, key="offer", inputs=[{"name": "mail", "label": "E-mail", "type": "email", "required": True}])
    for inputs in ({}, {"mail": "nonsense"}):
        response = server.post("/events", event("offer", inputs=inputs))
        assert error(response) == (422, "invalid_inputs")
        assert list(response.json()["error"]["fields"]) == ["inputs.mail"]
    assert server.post("/events", event("offer", inputs={"mail": "ann@example.com"})).status_code == 200


@pytest.mark.parametrize(
    "body", ["", "nonsense", '{"a": NaN}', "[" * 100_000, '"\udc00'.encode("utf-8", "surrogatepass")]
)
def test_what_is_no_json_is_said_to_be_none(server: Caller, body: str | bytes) -> None:
    limit_free = body if len(body) < 60_000 else body[:60_000]
    assert error(server.post("/events", limit_free)) in {(400, "not_json"), (422, "invalid")}


@pytest.mark.parametrize("body", ["[]", "null", '"text"', "7", "true"])
def test_json_that_is_no_object_is_invalid(server: Caller, body: str) -> None:
    assert error(server.post("/events", body)) == (422, "invalid")


def test_a_body_that_is_too_large_is_not_read(server: Caller, settings: Any) -> None:
    settings.ENGAGE_API_BODY_LIMIT = 2048
    assert error(server.post("/events", {"x": "y" * 2048})) == (413, "body_too_large")
    assert refusals() == [("POST /events", "body too large", "")]


def test_a_browser_reads_no_words_of_a_vendor(app: App) -> None:
    redirecting(app, key="offer")
    page = browser(app, "user-1")
    body = event("offer")
    page.post("/events", body)
    Execution.objects.update(state=State.REJECTED, message="Cleeng says: customer 123 owes 9.90")
    seen = page.get(f"/events/{body['event_id']}")
    assert "Cleeng says" not in seen.content.decode()
    assert seen.json()["executions"][0].keys() == {"id", "state", "action"}
    assert seen.json()["text"] == "Sorry, this was not possible."
    told = Caller(app).get(f"/events/{body['event_id']}").json()
    assert told["executions"][0]["message"] == "Cleeng says: customer 123 owes 9.90"


# --- waiting ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_an_answer_waits_for_the_outcome(app: App, server: Caller) -> None:
    redirecting(app, key="offer")

    def settle() -> None:
        try:
            until(lambda: Execution.objects.update(state=State.DONE), within=5)
        finally:
            connection.close()

    worker = threading.Thread(target=settle)
    worker.start()
    begun = time.monotonic()
    response = server.post("/events", event("offer", wait=10))
    worker.join()
    assert (response.status_code, response.json()["outcome"]) == (200, "done")
    assert time.monotonic() - begun < 5


def test_an_answer_waits_no_longer_than_it_was_asked_to(app: App, server: Caller) -> None:
    redirecting(app, key="offer")
    begun = time.monotonic()
    assert server.post("/events", event("offer", wait=0.4)).status_code == 202
    assert 0.4 <= time.monotonic() - begun < 3


def test_nobody_waits_for_what_the_app_is_to_do(app: App, server: Caller) -> None:
    redirecting(app, key="offer")
    told = server.post("/events", event("offer")).json()
    until = timezone.now() + timedelta(hours=1)
    Execution.objects.update(state=State.HANDED_OVER, instruction={"kind": "cart"}, due_at=until)
    begun = time.monotonic()
    again = server.post("/events", {**event("offer"), "event_id": told["event_id"], "wait": 10})
    assert (again.status_code, again.json()["executions"][0]["instruction"]) == (202, {"kind": "cart"})
    assert time.monotonic() - begun < 5


def test_when_half_of_the_threads_wait_the_others_answer_at_once(app: App, server: Caller, settings: Any) -> None:
    redirecting(app, key="offer")
    places = 0
    while waiting.places.acquire(blocking=False):
        places += 1
    try:
        begun = time.monotonic()
        assert server.post("/events", event("offer", wait=10)).status_code == 202
        assert time.monotonic() - begun < 5
    finally:
        for _ in range(places):
            waiting.places.release()
    assert places == settings.ENGAGE_WEB_THREADS // 2


# --- what was handed over ---------------------------------------------------------------------------------------------


@pytest.fixture
def handed_over(app: App) -> Execution:
    binding = redirecting(app, key="offer").bindings.get()
    subscriber = factories.SubscriberFactory(app=app, user_id="ann")
    told = factories.EventFactory(prompt=binding.prompt, subscriber=subscriber)
    execution: Execution = factories.ExecutionFactory(
        binding=binding,
        event=told,
        state=State.HANDED_OVER,
        instruction={"kind": "redirect", "url": "https://example.com/thanks"},
        due_at=None,
    )
    return execution


def test_an_instruction_is_answered_until_it_is_reported(app: App, handed_over: Execution) -> None:
    page = browser(app, "ann")
    path = f"/events/{handed_over.event.event_id}"
    (seen,) = page.get(path).json()["executions"]
    assert seen["instruction"] == {"kind": "redirect", "url": "https://example.com/thanks"}
    reported = page.post(f"/executions/{seen['id']}/report", {"result": "done", "detail": {"opened": True}})
    assert (reported.status_code, reported.json()["outcome"]) == (200, "done")
    handed_over.refresh_from_db()
    assert (handed_over.state, handed_over.report) == (State.DONE, {"result": "done", "detail": {"opened": True}})
    assert "instruction" not in page.get(path).json()["executions"][0]


def test_an_action_is_reported_once(app: App, server: Caller, handed_over: Execution) -> None:
    path = f"/executions/{handed_over.pk}/report"
    assert server.post(path, {"result": "cancelled"}).status_code == 200
    assert error(server.post(path, {"result": "done"})) == (409, "nothing_to_report")
    assert error(server.post(path, {"result": "perhaps"})) == (422, "invalid")
    assert error(server.post(f"/executions/{uuid.uuid4()}/report", {"result": "done"})) == (404, "not_found")


# --- prompts ----------------------------------------------------------------------------------------------------------


def test_prompts_are_answered_for_a_person_and_path(app: App, server: Caller) -> None:
    factories.SubscriberFactory(app=app, user_id="mia", traits={"first_name": "Mia"})
    prompt(app, key="offer", title="Hello {{ first_name|there }}", url_pattern="/account*", timeout_seconds=20)
    prompt(app, key="film", title="A film", url_pattern="/watch*")
    (found,) = server.get("/prompts?user_id=mia&path=/account").json()["prompts"]
    assert (found["key"], found["title"], found["timeout_seconds"]) == ("offer", "Hello Mia", 20)
    assert found["buttons"] == [{"interaction": "accept", "label": "Yes, please"}]
    assert found["texts"].keys() == {"done", "follows", "not_possible"}


def test_a_browser_is_shown_traits_only_of_whom_it_speaks_for(app: App) -> None:
    factories.SubscriberFactory(app=app, user_id="mia", traits={"first_name": "Mia"})
    prompt(app, key="offer", title="Hello {{ first_name|there }}")

    def title(caller: Caller, query: str) -> str:
        return str(caller.get(f"/prompts?path=/{query}").json()["prompts"][0]["title"])

    assert title(browser(app), "&user_id=mia") == "Hello there"
    assert title(browser(app, "mia"), "&user_id=mia") == title(browser(app, "mia"), "") == "Hello Mia"
    assert error(browser(app, "ben").get("/prompts?user_id=mia")) == (401, "unsigned_identity")


def test_a_claimed_test_subscriber_is_not_served_in_test_mode(app: App) -> None:
    app.delivery_mode = DeliveryMode.TEST
    app.save()
    factories.SubscriberFactory(app=app, user_id="mia", is_test=True)
    prompt(app, key="offer")
    assert browser(app).get("/prompts?user_id=mia").json() == {"prompts": []}
    assert len(browser(app, "mia").get("/prompts?user_id=mia").json()["prompts"]) == 1


def test_an_expired_identity_is_said_and_not_ignored(app: App) -> None:
    page = browser(app, "mia")
    with time_machine.travel(timezone.now() + timedelta(minutes=20)):
        response = page.get("/prompts?user_id=mia")
    assert error(response) == (401, "unsigned_identity")
    assert response.json()["error"]["message"] == "The identity has expired."


# --- traits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user_id", ["ann", "auth0|7", "a/b", "josé@example.com"])
def test_a_server_writes_traits(app: App, server: Caller, user_id: str) -> None:
    from urllib.parse import quote

    path = f"/users/{quote(user_id, safe='')}/traits"
    assert server.put(path, {"plan": "gold", "seats": 3, "vip": True}).status_code == 200
    response = server.put(path, {"plan": "silver", "vip": None})
    assert response.json() == {"user_id": user_id, "traits": {"plan": "silver", "seats": 3}}
    assert Subscriber.objects.get(app=app).traits == {"plan": "silver", "seats": 3}


def test_a_browser_writes_no_traits(app: App) -> None:
    response = browser(app, "ann").put("/users/ann/traits", {"cleeng_customer_id": "1"})
    assert error(response) == (403, "secret_key_needed")
    assert not Subscriber.objects.exists()
    assert refusals()[0][1] == "secret key needed"


@pytest.mark.parametrize(
    "traits",
    [{"a": {}}, {"a": [1]}, {"A b": 1}, {"a": "x" * 2001}, {"a": 2**60}, {f"t{n}": n for n in range(201)}, [1], '"a"'],
)
def test_traits_are_scalars_of_bounded_size(server: Caller, traits: Any) -> None:
    assert error(server.put("/users/ann/traits", traits)) == (422, "invalid")
    assert not Subscriber.objects.exists()


# --- rates, addresses, documentation ----------------------------------------------------------------------------------


def asked_from(address: str, page: Caller) -> int:
    return Client(REMOTE_ADDR=address, headers=page.headers()).get("/api/v1/prompts").status_code


def test_a_browser_that_asks_too_often_is_told_when_to_go_on(app: App, server: Caller, settings: Any) -> None:
    settings.ENGAGE_API_RATE = "2/min"
    page = browser(app, "user-1")
    with time_machine.travel("2026-03-01T10:00:10Z", tick=False) as clock:
        page = browser(app, "user-1")
        assert [page.get("/prompts").status_code for _ in range(3)] == [200, 200, 429]
        refused = page.get("/prompts")
        assert (error(refused), refused["Retry-After"]) == ((429, "too_many_requests"), "50")
        assert server.get("/prompts").status_code == 200  # servers speak for many people
        clock.shift(50)
        assert page.get("/prompts").status_code == 200
    assert refusals() == [("GET /prompts", "rate", "")]


def test_an_app_has_a_fuse(server: Caller, settings: Any) -> None:
    settings.ENGAGE_API_APP_RATE = "1/hour"
    assert [server.get("/prompts").status_code for _ in range(2)] == [200, 429]


def test_who_asks_too_often_does_not_use_up_what_the_apps_other_browsers_have(app: App, settings: Any) -> None:
    settings.ENGAGE_API_RATE, settings.ENGAGE_API_APP_RATE = "2/hour", "3/hour"
    page = browser(app)
    assert [asked_from("198.51.100.7", page) for _ in range(5)] == [200, 200, 429, 429, 429]
    assert asked_from("203.0.113.7", page) == 200


def test_browsers_do_not_use_up_what_the_apps_servers_have(app: App, server: Caller, settings: Any) -> None:
    settings.ENGAGE_API_APP_RATE = "1/hour"
    page = browser(app, "user-1")
    assert [page.get("/prompts").status_code for _ in range(2)] == [200, 429]
    assert [server.get("/prompts").status_code for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
        ("::ffff:203.0.113.7", "::ffff:203.0.113.8", False),
        ("", "not an address", True),
    ],
)
def test_the_network_of_one_customer_is_one_address(app: App, settings: Any, one: str, other: str, same: bool) -> None:
    settings.ENGAGE_API_RATE = "1/hour"
    page = browser(app)
    assert [asked_from(address, page) for address in (one, other)] == [200, 429 if same else 200]


@pytest.mark.parametrize("elsewhere", [0, 1000])
def test_an_app_is_counted_in_shares_by_each_process_and_never_late(app: App, settings: Any, elsewhere: int) -> None:
    settings.ENGAGE_API_APP_RATE = "3000/hour"
    request = RequestFactory().get("/api/v1/prompts")
    request.auth = SimpleNamespace(key=ApiKey.make(app, KeyKind.SECRET)[0])  # type: ignore[attr-defined]
    here, other = PerApp(), PerApp()
    with time_machine.travel("2026-03-01T10:00:10Z", tick=False) as clock:
        assert all(other.allow_request(copy(request)) for _ in range(elsewhere))
        begun = -elsewhere % 3  # what is left of the other process's last share
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(lambda _: here.allow_request(copy(request)), range(4000)))
        assert answers.count(True) == 3000 - elsewhere - begun
        clock.shift(3600)
        assert here.allow_request(request)
        assert cache.get(f"rate:ENGAGE_API_APP_RATE:{app.pk}:secret:{int(time.time() // 3600)}") == 1


def test_guessing_keys_fills_no_table(server: Caller, settings: Any) -> None:
    settings.ENGAGE_API_RATE = "3/hour"
    server.token = "sk_guess"
    assert [server.get("/prompts").status_code for _ in range(5)] == [401, 401, 401, 429, 429]
    assert 0 < int(server.get("/prompts")["Retry-After"]) <= 3600
    assert Refusal.objects.get(reason="wrong key").count == 3


@pytest.mark.parametrize("body", ["{}", "not JSON", "x" * 70_000, '{"key": "\\ud800"}'])
def test_nobody_without_a_key_keeps_the_table_of_refused_requests_busy(app: App, settings: Any, body: str) -> None:
    settings.ENGAGE_API_RATE = "2/hour"
    answers = [Client().post("/api/v1/events", body, "text/plain").status_code for _ in range(4)]
    assert answers[:2] == [answers[0]] * 2
    assert answers[0] in {400, 401, 413}
    assert answers[2:] == [429, 429]


def test_a_foreign_page_is_slowed_down_as_well(app: App, settings: Any) -> None:
    settings.ENGAGE_API_RATE = "2/hour"
    page = browser(app)
    answers = [page.get("/prompts", Origin="https://evil.example").status_code for _ in range(3)]
    assert answers == [403, 403, 429]


def test_a_cache_that_is_away_refuses_nobody(server: Caller, settings: Any) -> None:
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
    }
    assert server.get("/prompts").status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/", "/api/v1/nonsense", "/api/v1/events/7", "/api/v1/users//traits"])
def test_an_unknown_address_is_said_in_the_same_shape(app: App, path: str) -> None:
    assert error(Client().get(path)) == (404, "not_found")


def test_another_method_is_said_in_the_same_shape(app: App) -> None:
    response = Client().delete("/api/v1/events")
    assert error(response) == (405, "method_not_allowed")
    assert response["Allow"] == "POST"


def test_the_documentation_needs_no_other_host(app: App) -> None:
    page = Client().get("/api/v1/docs")
    assert page.status_code == 200
    assert "//cdn" not in page.content.decode()
    assert "/static/ninja/swagger-ui-bundle.js" in page.content.decode()
    described = Client().get("/api/v1/openapi.json").json()
    assert set(described["paths"]) == {
        "/api/v1/events",
        "/api/v1/events/{event_id}",
        "/api/v1/executions/{execution_id}/report",
        "/api/v1/prompts",
        "/api/v1/users/{user_id}/traits",
    }


def test_asking_for_prompts_takes_few_statements(app: App, django_assert_max_num_queries: Any) -> None:
    for _ in range(3):
        prompt(app)
    page = browser(app, "user-1")
    page.get("/prompts")
    cache.clear()
    with django_assert_max_num_queries(6):  # savepoints of CORS and all
        assert len(page.get("/prompts").json()["prompts"]) == 3


@pytest.mark.parametrize(("kind", "statements"), [(KeyKind.SECRET, 4), (KeyKind.PUBLISHABLE, 5)])
def test_an_event_takes_few_statements(app: App, kind: KeyKind, statements: int) -> None:
    """The key with its App, a browser's identity secrets, what is at hand, and two INSERTs."""
    made = redirecting(app, limit="none")
    page = Caller(app, kind, "user-1" if kind == KeyKind.PUBLISHABLE else "")
    headers = {"Origin": "https://www.streamly.example"} if kind == KeyKind.PUBLISHABLE else {}
    page.post("/events", event(made.key))
    with CaptureQueriesContext(connection) as asked:
        assert page.post("/events", event(made.key), **headers).status_code in {200, 202}
    own = [query["sql"] for query in asked if "SAVEPOINT" not in query["sql"]]
    assert len(own) == statements, own


def test_a_misspelt_parameter_is_an_error_and_not_silence(server: Caller) -> None:
    response = server.get("/prompts?userid=ann")
    assert error(response) == (422, "invalid")
    assert list(response.json()["error"]["fields"]) == ["userid"]


def test_a_parameter_that_is_given_twice_is_an_error_and_not_a_guess(server: Caller) -> None:
    response = server.get("/prompts?user_id=ann&user_id=bob")
    assert error(response) == (422, "invalid")
    assert list(response.json()["error"]["fields"]) == ["user_id"]
