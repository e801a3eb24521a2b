"""What a vendor has for the inputs of an action: found when they are saved, kept with them, asked for again only where it must."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client, RequestFactory
from django.urls import reverse
from pytest_django import Settings

from connectors.base import RESOLVED
from connectors.models import Connection
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from prompts import bindings, claims, executions, trying
from prompts.models import Binding, Execution, Prompt, State
from tests import factories
from tests.connectors.fake_vendor import Broken, Call, FakeVendor, fake_vendor
from tests.connectors.vendors.test_shopify import SETTINGS, TOKEN, variant, variants
from tests.prompts.runtime import Caller, event

pytestmark = pytest.mark.django_db

FORM = {
    "on_error": "stop",
    "daily_limit": "1000",
    "max_age_hours": "72",
    "input-items": "MUG, 2",
    "input-after": "stay",
    "input-selling_plan": "",
    "input-properties": "",
}


def looked_up(number: int) -> Call:
    return variants('sku:"MUG"', variant(number, "MUG"))


@pytest.fixture
def vendor(settings: Settings) -> Iterator[FakeVendor]:
    with fake_vendor() as made:
        settings.ENGAGE_VENDOR_URLS = {"shopify": made.url}
        yield made
        made.assert_played()


@pytest.fixture
def shop(live_app: App) -> Connection:
    told = {name: value for name, value in SETTINGS.items() if name != "client_secret"}
    made: Connection = factories.ConnectionFactory(
        app=live_app, connector="shopify", settings=told, secrets={"client_secret": "planted-secret"}
    )
    return made


@pytest.fixture
def prompt(live_app: App, shop: Connection) -> Prompt:
    made: Prompt = factories.PromptFactory(app=live_app, key="stay", limit="none")
    return made


@pytest.fixture
def save(prompt: Prompt, console: Callable[[Role], Client], vendor: FakeVendor) -> Callable[..., Binding]:
    """Add the action as a designer does."""

    def saved(*calls: Call, broken: dict[int, Broken] | None = None) -> Binding:
        vendor.expect(*calls, broken=broken)
        address = reverse("admin:prompts_prompt_actions_add", args=[prompt.pk, "shopify", "add_to_cart"])
        answer = console(Role.APP_MEMBER).post(address, FORM)
        assert answer.status_code == 302, answer.content.decode()
        vendor.assert_played()
        return Binding.objects.get()

    return saved


def kept(binding: Binding) -> Any:
    binding.refresh_from_db()
    return binding.inputs[RESOLVED]["value"]["values"] if RESOLVED in binding.inputs else None


def carried_out(app: App) -> Execution:
    """Answer the prompt, be the worker, and return what came of it."""
    answer = Caller(app).post("/events", event("stay"))
    assert answer.status_code == 202, answer.content
    execution = claims.claim("tests")
    assert execution is not None
    executions.carry_out(execution)
    return Execution.objects.order_by("-created_at")[0]


def bought(execution: Execution) -> list[int]:
    assert execution.instruction is not None, execution.message
    return [item["id"] for item in execution.instruction["ajax"]["body"]["items"]]


def test_what_was_found_when_it_was_saved_is_not_asked_for_again(
    save: Callable[..., Binding], live_app: App, vendor: FakeVendor
) -> None:
    binding = save(TOKEN, looked_up(7))
    assert kept(binding) == {"variants": {"MUG": 7}}
    vendor.heard.clear()
    execution = carried_out(live_app)
    assert (execution.state, bought(execution), vendor.heard) == (State.HANDED_OVER, [7], [])


def test_what_names_nothing_is_not_saved(prompt: Prompt, console: Callable[[Role], Client], vendor: FakeVendor) -> None:
    vendor.expect(TOKEN, variants('sku:"MUG"'))
    address = reverse("admin:prompts_prompt_actions_add", args=[prompt.pk, "shopify", "add_to_cart"])
    answer = console(Role.APP_MEMBER).post(address, FORM)
    assert answer.status_code == 422
    assert "“MUG” has no matching variant at Shopify." in answer.content.decode()
    assert not Binding.objects.exists()


def test_what_could_not_be_found_is_looked_for_when_it_is_carried_out(
    save: Callable[..., Binding], live_app: App, vendor: FakeVendor
) -> None:
    binding = save(TOKEN, looked_up(7), broken={1: Broken("down", 503, "{}")})
    assert kept(binding) is None
    assert "It is checked again tonight." in binding.problem
    vendor.expect(looked_up(7))
    assert bought(carried_out(live_app)) == [7]


def test_the_night_finds_what_was_not_found_and_what_has_become_another(
    save: Callable[..., Binding], live_app: App, vendor: FakeVendor, prompt: Prompt
) -> None:
    binding = save(TOKEN, looked_up(7), broken={1: Broken("down", 503, "{}")})
    for number in (7, 9):
        vendor.expect(looked_up(number))
        assert bindings.recheck(live_app) == 0
        assert kept(binding) == {"variants": {"MUG": number}}
        assert bought(carried_out(live_app)) == [number]
    shown = prompt.versions.count()
    vendor.expect(looked_up(9))
    bindings.recheck(live_app)
    assert prompt.versions.count() == shown


def test_what_is_gone_in_the_night_is_said_and_stays_what_it_was(
    save: Callable[..., Binding], live_app: App, vendor: FakeVendor
) -> None:
    binding = save(TOKEN, looked_up(7))
    vendor.expect(variants('sku:"MUG"'))
    assert bindings.recheck(live_app) == 1
    assert kept(binding) == {"variants": {"MUG": 7}}
    assert "no matching variant" in binding.problem


def test_another_account_has_other_variants(
    save: Callable[..., Binding], live_app: App, vendor: FakeVendor, shop: Connection
) -> None:
    save(TOKEN, looked_up(7))
    shop.generation += 1
    shop.seal({"client_secret": "planted-secret"})
    shop.save()
    vendor.expect(TOKEN, looked_up(70))
    assert bought(carried_out(live_app)) == [70]


def test_copies_take_it_along(save: Callable[..., Binding], live_app: App, vendor: FakeVendor, prompt: Prompt) -> None:
    binding = save(TOKEN, looked_up(7))
    request = RequestFactory().post("/")
    request.user = factories.person(live_app, Role.APP_MEMBER, email="dana@example.com")
    copy = bindings.copy(binding, "decline", request)
    again = bindings.duplicate(prompt, request).bindings.get(interaction="accept")
    vendor.heard.clear()
    for one in (copy, again):
        subscriber = factories.SubscriberFactory(app=live_app)
        assert trying.preview(one, subscriber, {}).outcome == "handed_over"
    assert vendor.heard == []


def test_a_command_has_it_looked_up(
    live_app: App, shop: Connection, vendor: FakeVendor, capsys: pytest.CaptureFixture[str]
) -> None:
    factories.SubscriberFactory(app=live_app, user_id="ann")
    told = [
        "shopify",
        "add_to_cart",
        "--app",
        live_app.key,
        "--user",
        "ann",
        "--input",
        "items=MUG",
        "--input",
        "after=cart",
    ]
    vendor.expect(TOKEN, looked_up(7))
    call_command("run_action", *told)
    answer = json.loads(capsys.readouterr().out)
    assert (answer["outcome"], answer["instruction"]["then"]) == ("handed_over", "/cart")
    assert answer["instruction"]["ajax"]["body"] == {"items": [{"id": 7, "quantity": 1}]}


def test_the_panel_says_who_does_it_and_the_execution_what_it_was(
    save: Callable[..., Binding], live_app: App, prompt: Prompt, console: Callable[[Role], Client]
) -> None:
    binding = save(TOKEN, looked_up(7))
    client = console(Role.APP_MEMBER)
    for address in ("actions", "action_edit"):
        pks = [prompt.pk, *([binding.pk] if address == "action_edit" else [])]
        shown = client.get(reverse(f"admin:prompts_prompt_{address}", args=pks)).content.decode()
        assert "engage.js must be loaded on the store&#x27;s pages" in shown
        assert RESOLVED not in shown
    execution = carried_out(live_app)
    shown = client.get(reverse("admin:prompts_execution_change", args=[execution.pk])).content.decode()
    assert "Which is, at the vendor" in shown
    assert "{&#x27;variants&#x27;: {&#x27;MUG&#x27;: 7}}" in shown
