from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from connectors import catalogues
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from prompts import bindings, lanes
from prompts.models import Binding, Interaction, Prompt
from tests import factories
from tests.prompts.conftest import House

pytestmark = pytest.mark.django_db

Console = Callable[[Role], Client]
GUARDS = {"on_error": "stop", "daily_limit": "1000", "max_age_hours": "72"}


@pytest.fixture
def prompt(app: App) -> Prompt:
    made: Prompt = factories.PromptFactory(app=app, name="Stay with us", decline_label="No, thanks")
    return made


@pytest.fixture
def pair(prompt: Prompt) -> list[Binding]:
    connection = factories.ConnectionFactory(app=prompt.app)
    return [
        factories.BindingFactory(
            prompt=prompt, connection=connection, position=place, inputs={"coupon": {"from": "fixed", "value": name}}
        )
        for place, name in enumerate(["ONE", "TWO"], start=1)
    ]


def url(name: str, *args: object) -> str:
    return reverse(f"admin:prompts_prompt_{name}", args=args)


def page(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def names(prompt: Prompt, interaction: str = Interaction.ACCEPT) -> list[str]:
    return [row.inputs["coupon"]["value"] for row in bindings.lane(prompt, interaction)]


# --- the lanes --------------------------------------------------------------------------------------


def test_a_lane_without_its_button_says_so(prompt: Prompt, console: Console) -> None:
    shown = page(console(Role.APP_MEMBER), url("actions", prompt.pk))
    assert "This prompt has no second button." in shown
    assert "#id_secondary_label" in shown
    assert "This prompt has no timeout" in shown
    assert "This prompt has no decline button." not in shown


def test_a_row_says_what_it_does_what_a_repeat_would_do_and_for_whom(
    prompt: Prompt, pair: list[Binding], console: Console
) -> None:
    factories.SubscriberFactory(app=prompt.app, traits={"cleeng_customer_id": "1"})
    factories.SubscriberFactory(app=prompt.app)
    factories.ExecutionFactory(binding=pair[0], state="rejected")
    shown = page(console(Role.APP_MEMBER), url("actions", prompt.pk))
    assert "Coupon code: <strong>ONE</strong>" in shown
    assert "Safe to repeat: we look first" in shown
    assert "of 3 subscribers have cleeng_subscription_id or cleeng_customer_id" in shown
    assert "Refused" in shown


def test_who_lacks_a_trait_that_a_text_fills_in_is_counted(prompt: Prompt, console: Console) -> None:
    said = {"text": {"from": "fixed", "value": "Hello %first_name%, %plan|you%"}}
    connection = factories.ConnectionFactory(app=prompt.app, connector="twilio")
    texted = factories.BindingFactory(
        prompt=prompt, connection=connection, connector="twilio", action="send_sms", inputs=said
    )
    factories.SubscriberFactory(app=prompt.app, traits={"phone_number": "+14155550123"})
    factories.SubscriberFactory(app=prompt.app, traits={"phone_number": "+14155550124", "first_name": "Ann"})
    for address in (url("actions", prompt.pk), url("action_edit", prompt.pk, texted.pk)):
        assert "1 of 2 subscribers have phone_number, and first_name" in page(console(Role.APP_MEMBER), address)
    assert bindings.uses_of_traits(prompt.app) == [
        (trait, prompt.name) for trait in ("first_name", "phone_number", "plan")
    ]


def test_a_redirect_above_a_vendors_action_is_warned_about_and_below_it_is_not(
    prompt: Prompt, pair: list[Binding]
) -> None:
    redirect: dict[str, Any] = {"connection": None, "connector": "builtin", "action": "redirect", "inputs": {}}
    early = factories.BindingFactory(prompt=prompt, position=0, **redirect)
    late = factories.BindingFactory(prompt=prompt, position=9, **redirect)
    hints = {row.binding.pk: row.hint for row in lanes.lanes(prompt)[0].rows}
    assert "The browser would leave" in hints[early.pk]
    assert hints[late.pk] == hints[pair[0].pk] == ""


def test_an_action_of_an_inactive_connection_says_so(prompt: Prompt, pair: list[Binding], console: Console) -> None:
    prompt.app.connections.update(active=False)
    assert "This connection is off" in page(console(Role.APP_MEMBER), url("actions", prompt.pk))


def test_somebody_who_only_reads_sees_the_lanes_without_buttons(
    prompt: Prompt, pair: list[Binding], console: Console
) -> None:
    reader, designer = console(Role.READ_ONLY), console(Role.APP_MEMBER)
    address = url("actions", prompt.pk)
    for word in ("Add action", "Move up", "data-eg-place", "Preview or run"):
        assert word not in page(reader, address)
        assert word in page(designer, address)
    assert "Apply coupon" in page(reader, address)


# --- roles and Apps ---------------------------------------------------------------------------------


def addresses(prompt: Prompt, binding: Binding) -> dict[str, tuple[str, ...]]:
    """Every page of the panel with the methods that it has."""
    return {
        url("actions_choose", prompt.pk): ("get",),
        url("actions_add", prompt.pk, "builtin", "redirect"): ("get", "post"),
        url("action_edit", prompt.pk, binding.pk): ("get", "post"),
        url("action_try", prompt.pk, binding.pk): ("get", "post"),
        url("lane_try", prompt.pk, "accept"): ("get", "post"),
        url("duplicate", prompt.pk): ("post",),
        **{
            url("action_change", prompt.pk, binding.pk, verb): ("post",)
            for verb in ("up", "place", "copy", "off", "remove")
        },
    }


def test_somebody_who_only_reads_may_do_nothing(prompt: Prompt, pair: list[Binding], console: Console) -> None:
    client = console(Role.READ_ONLY)
    for address, methods in addresses(prompt, pair[0]).items():
        for method in methods:
            assert getattr(client, method)(address).status_code == 403, address
    assert names(prompt) == ["ONE", "TWO"]
    assert Prompt.objects.count() == 1


@pytest.mark.parametrize("role", [Role.APP_MEMBER, Role.APP_ADMIN, Role.COMPANY_ADMIN])
def test_designers_and_administrators_may_open_every_page(
    prompt: Prompt, pair: list[Binding], console: Console, role: Role
) -> None:
    client = console(role)
    for address, methods in addresses(prompt, pair[0]).items():
        if "get" in methods:
            assert client.get(address).status_code == 200, address


def test_another_apps_prompt_and_action_are_not_there(
    prompt: Prompt, pair: list[Binding], other_app: App, console: Console
) -> None:
    client = console(Role.COMPANY_ADMIN)
    theirs = factories.BindingFactory(prompt__app=other_app)
    for address, methods in {
        url("actions", theirs.prompt.pk): ("get",),
        **addresses(theirs.prompt, theirs),
        url("action_edit", prompt.pk, theirs.pk): ("get", "post"),
        url("action_change", prompt.pk, theirs.pk, "remove"): ("post",),
    }.items():
        for method in methods:
            assert getattr(client, method)(address).status_code == 404, address
    theirs.refresh_from_db()
    assert theirs.archived_at is None


def test_nothing_is_changed_by_get(prompt: Prompt, pair: list[Binding], console: Console) -> None:
    client = console(Role.APP_MEMBER)
    for verb in ("up", "down", "off", "remove", "copy", "place"):
        assert client.get(url("action_change", prompt.pk, pair[1].pk, verb)).status_code == 405


def test_an_archived_prompt_is_not_changed(prompt: Prompt, pair: list[Binding], console: Console) -> None:
    from django.utils import timezone

    Prompt.objects.filter(pk=prompt.pk).update(archived_at=timezone.now())
    client = console(Role.APP_MEMBER)
    assert "This prompt is archived" in page(client, url("actions", prompt.pk))
    assert client.post(url("action_change", prompt.pk, pair[0].pk, "off")).status_code == 404
    assert client.get(url("actions_add", prompt.pk, "builtin", "redirect")).status_code == 404


# --- ordering and the menu --------------------------------------------------------------------------


def test_buttons_order_a_lane(prompt: Prompt, pair: list[Binding], console: Console) -> None:
    client = console(Role.APP_MEMBER)
    answer = client.post(url("action_change", prompt.pk, pair[1].pk, "up"))
    assert answer.headers["Location"] == url("actions", prompt.pk)
    assert names(prompt) == ["TWO", "ONE"]
    client.post(url("action_change", prompt.pk, pair[1].pk, "down"))
    assert names(prompt) == ["ONE", "TWO"]


def test_dragging_orders_a_lane_and_moves_between_lanes(prompt: Prompt, pair: list[Binding], console: Console) -> None:
    client = console(Role.APP_MEMBER)
    address = url("action_change", prompt.pk, pair[1].pk, "place")
    client.post(address, {"interaction": "accept", "index": "0"})
    assert names(prompt) == ["TWO", "ONE"]
    client.post(address, {"interaction": "decline", "index": "0"})
    assert (names(prompt), names(prompt, Interaction.DECLINE)) == (["ONE"], ["TWO"])


@pytest.mark.parametrize(
    "data",
    [{}, {"interaction": "accept"}, {"interaction": "hover", "index": "0"}, {"interaction": "accept", "index": "x"}],
)
def test_a_place_that_is_none_is_refused(
    prompt: Prompt, pair: list[Binding], console: Console, data: dict[str, str]
) -> None:
    assert console(Role.APP_MEMBER).post(url("action_change", prompt.pk, pair[1].pk, "place"), data).status_code == 400
    assert names(prompt) == ["ONE", "TWO"]


def test_the_menu_copies_switches_and_removes(prompt: Prompt, pair: list[Binding], console: Console) -> None:
    client = console(Role.APP_MEMBER)
    client.post(url("action_change", prompt.pk, pair[0].pk, "copy"), {"interaction": "dismiss"})
    assert names(prompt, Interaction.DISMISS) == ["ONE"]
    client.post(url("action_change", prompt.pk, pair[0].pk, "off"))
    assert [
        kept["id"] for kept in prompt.versions.get(superseded_at=None).bindings if kept["interaction"] == "accept"
    ] == [pair[1].pk]
    client.post(url("action_change", prompt.pk, pair[0].pk, "on"))
    client.post(url("action_change", prompt.pk, pair[1].pk, "remove"))
    assert names(prompt) == ["ONE"]
    assert client.post(url("action_change", prompt.pk, pair[0].pk, "explode")).status_code == 404


# --- adding and editing -----------------------------------------------------------------------------


def test_actions_of_active_connections_and_built_ins_are_offered(house: House, console: Console) -> None:
    shown = page(console(Role.APP_MEMBER), url("actions_choose", house.prompt.pk) + "?lane=decline")
    assert "Add an action to Decline" in shown
    assert url("actions_add", house.prompt.pk, "cleeng", "apply_coupon") + "?lane=decline" in shown
    assert url("actions_add", house.prompt.pk, "builtin", "redirect") in shown


def test_an_inactive_connections_actions_are_not_offered_and_say_why(house: House, console: Console) -> None:
    house.app.connections.update(active=False)
    client = console(Role.APP_MEMBER)
    address = url("actions_add", house.prompt.pk, "cleeng", "apply_coupon")
    shown = page(client, url("actions_choose", house.prompt.pk))
    assert address not in shown
    assert "Cleeng is switched off in Settings &gt; Actions." in shown
    assert client.post(address, {"input-coupon": "SAVE20", **GUARDS}).status_code == 404


def test_actions_that_the_connections_settings_do_not_allow_are_not_offered_and_say_why(
    house: House, console: Console
) -> None:
    marketing = {"mc_auth_url": f"https://{'a' * 28}.auth.marketingcloudapis.com", "mc_client_id": "1"}
    factories.ConnectionFactory(app=house.app, connector="salesforce", settings=marketing)
    client = console(Role.APP_MEMBER)
    shown = page(client, url("actions_choose", house.prompt.pk))
    address = url("actions_add", house.prompt.pk, "salesforce", "case_create")
    assert url("actions_add", house.prompt.pk, "salesforce", "mc_send") in shown
    assert address not in shown
    assert "Service Cloud is not set up in this connection." in shown
    refused = client.post(address, {"input-subject": "Offer accepted", **GUARDS})
    assert "Service Cloud is not set up in this connection." in refused.content.decode()
    assert not house.prompt.bindings.filter(connector="salesforce").exists()
    about = page(client, reverse("admin:connectors_connection_page", args=["salesforce"]))
    assert "Not available: Service Cloud is not set up in this connection." in about
    assert "Not available: Marketing Cloud" not in about


def test_the_search_finds_by_vendor_action_and_alias(house: House, console: Console) -> None:
    client = console(Role.APP_MEMBER)
    address = url("actions_choose", house.prompt.pk)
    assert "Reactivate subscription" in page(client, address + "?q=reactivate+cleeng")
    assert "Redirect" not in page(client, address + "?q=churniq").replace("data-eg", "")
    assert "Nothing matches." in page(client, address + "?q=zzz")


def test_an_action_is_added_with_what_was_entered(house: House, console: Console) -> None:
    address = url("actions_add", house.prompt.pk, "cleeng", "apply_coupon") + "?lane=decline"
    data = {"input-coupon": " SAVE20 ", "on_error": "continue", "daily_limit": "5", "max_age_hours": "2"}
    answer = console(Role.APP_MEMBER).post(address, data)
    assert answer.headers["Location"] == url("actions", house.prompt.pk)
    binding = house.prompt.bindings.get()
    assert binding.inputs == {"coupon": {"from": "fixed", "value": "SAVE20"}}
    assert (binding.interaction, binding.on_error, binding.daily_limit, binding.max_age_hours) == (
        "decline",
        "continue",
        5,
        2,
    )
    assert binding.connection == house.connection
    assert binding.checked_at is not None
    assert house.prompt.versions.get(superseded_at=None).bindings[0]["id"] == binding.pk


@pytest.mark.parametrize(
    ("coupon", "said"),
    [
        ("", "This field is required."),
        ("no spaces allowed", "It does not fit: 2 to 40 letters"),
        ("NOPE99", "Cleeng knows no coupon NOPE99."),
        ("SUMMER24", "Coupon SUMMER24 belongs to a campaign that is ended."),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_lost(house: House, console: Console, coupon: str, said: str) -> None:
    address = url("actions_add", house.prompt.pk, "cleeng", "apply_coupon")
    answer = console(Role.APP_MEMBER).post(address, {"input-coupon": coupon, **GUARDS, "daily_limit": "321"})
    assert answer.status_code == 422
    shown = answer.content.decode()
    assert said in shown
    assert f'value="{coupon}"' in shown or not coupon
    assert 'value="321"' in shown
    assert not house.prompt.bindings.exists()


def test_with_the_vendor_down_it_is_saved_and_checked_later(house: House, console: Console) -> None:
    house.sandbox.fault(status=503)
    client = console(Role.APP_MEMBER)
    address = url("actions_add", house.prompt.pk, "cleeng", "apply_coupon")
    shown = client.post(address, {"input-coupon": "SAVE20", **GUARDS}, follow=True).content.decode()
    binding = house.prompt.bindings.get()
    assert "Could not check SAVE20." in binding.problem
    assert binding.checked_at is None
    assert shown.count("Could not check SAVE20.") == 2  # the message, and the row
    assert bindings.recheck(house.app) == 0
    assert "Could not check SAVE20." not in page(client, url("actions", house.prompt.pk))


def test_editing_keeps_place_and_shows_what_is_stored(house: House, console: Console) -> None:
    first, second = house.bind(), house.bind()
    client = console(Role.APP_MEMBER)
    assert 'value="SAVE20"' in page(client, url("action_edit", house.prompt.pk, second.pk))
    client.post(url("action_edit", house.prompt.pk, second.pk), {"input-coupon": "STAY50", **GUARDS})
    assert names(house.prompt) == ["SAVE20", "STAY50"]
    assert [row.pk for row in bindings.lane(house.prompt, Interaction.ACCEPT)] == [first.pk, second.pk]


def test_the_vendors_offers_fill_the_dropdown_and_others_are_refused(house: House, console: Console) -> None:
    catalogues.refresh(house.connection)
    client = console(Role.APP_MEMBER)
    address = url("actions_add", house.prompt.pk, "cleeng", "switch_subscription")
    offer = house.connection.catalogue_entries.order_by("position").first()
    assert offer is not None
    assert f'<option value="{offer.key}">' in page(client, address)
    data = {"input-direction": "upgrade", **GUARDS}
    assert client.post(address, {"input-to_offer": "S999999999_XX", **data}).status_code == 422
    assert client.post(address, {"input-to_offer": offer.key, **data}).status_code == 302


def test_a_code_never_comes_from_the_browser(house: House, console: Console) -> None:
    house.prompt.inputs = [{"name": "code", "label": "Code", "type": "text", "required": True, "choices": []}]
    house.prompt.save()
    client = console(Role.APP_MEMBER)
    address = url("actions_add", house.prompt.pk, "cleeng", "apply_coupon")
    assert "source-coupon" not in page(client, address)
    answer = client.post(address, {"input-coupon": "SAVE20", "source-coupon": "input:code", **GUARDS})
    assert answer.status_code == 422
    assert "This value cannot come from there." in answer.content.decode()
    assert not house.prompt.bindings.exists()


@pytest.mark.parametrize(
    "guards", [{"daily_limit": "0"}, {"max_age_hours": "-1"}, {"on_error": "explode"}, {"daily_limit": ""}]
)
def test_guards_must_make_sense(house: House, console: Console, guards: dict[str, str]) -> None:
    address = url("actions_add", house.prompt.pk, "cleeng", "apply_coupon")
    assert console(Role.APP_MEMBER).post(address, {"input-coupon": "SAVE20", **GUARDS, **guards}).status_code == 422


def test_a_new_connections_first_action_can_be_added_where_nothing_is_synced(house: House, console: Console) -> None:
    address = url("actions_add", house.prompt.pk, "cleeng", "reactivate_subscription")
    assert "This action needs no inputs." in page(console(Role.APP_MEMBER), address)
    assert console(Role.APP_ADMIN).post(address, GUARDS).status_code == 302
