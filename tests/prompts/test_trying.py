import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from engage.tenancy.models import DeliveryMode
from engage.tenancy.roles import Role
from prompts import executions, trying
from prompts.models import EventSource, Execution, LimitTaken, PromptEvent
from sync.models import Subscriber
from tests import factories
from tests.prompts.conftest import SUBSCRIPTION, House

pytestmark = pytest.mark.django_db

Console = Callable[[Role], Client]


@pytest.fixture
def house(house: House) -> House:
    """The house's subscriber is a test one, and only test ones are served."""
    Subscriber.objects.filter(pk=house.subscriber.pk).update(is_test=True)
    house.subscriber.refresh_from_db()
    house.app.delivery_mode = DeliveryMode.TEST
    house.app.save()
    return house


def url(house: House, binding: Any = None) -> str:
    if binding is None:
        return reverse("admin:prompts_prompt_lane_try", args=[house.prompt.pk, "accept"])
    return reverse("admin:prompts_prompt_action_try", args=[house.prompt.pk, binding.pk])


def post(client: Client, address: str, house: House, **data: str) -> Any:
    return client.post(address, {"for": str(house.subscriber.pk), **data})


def run(client: Client, address: str, house: House, **data: str) -> Any:
    """Press *Run for real* and confirm."""
    asked = post(client, address, house, do="ask", **data)
    assert asked.status_code == 200
    assert not PromptEvent.objects.exists(), "asking runs nothing"
    return post(client, address, house, **confirmed(asked), **data)


def confirmed(asked: Any) -> dict[str, str]:
    """What the confirmation's button sends."""
    return {"do": "run", "event": str(asked.context["event_id"]), "shown": asked.context["shown"]}


# --- preview ----------------------------------------------------------------------------------------


def test_a_preview_sends_reads_and_shows_the_write_exactly(house: House, console: Console) -> None:
    binding = house.bind()
    shown = post(console(Role.APP_MEMBER), url(house, binding), house, do="preview")
    [(_, preview, exchanges)] = shown.context["previews"]
    assert preview.outcome == "would_write"
    assert [(exchange["kind"], exchange["sent"]) for exchange in exchanges][-1] == ("write", False)
    assert all(exchange["sent"] for exchange in exchanges[:-1])
    head, _, body = exchanges[-1]["as_sent"].partition("\n\n")
    assert head.startswith(f"PATCH {house.sandbox.url}/subscriptions/{SUBSCRIPTION}\n")
    assert "X-Publisher-Token: [secret]" in head
    assert body == '{\n  "couponCode": "SAVE20"\n}'
    page = shown.content.decode()
    assert "read, sent" in page
    assert "write, not sent" in page
    assert house.sandbox.token not in page
    assert house.sandbox.requests("PATCH") == []
    assert not house.sandbox.effects()
    assert not PromptEvent.objects.exists()


def test_a_preview_of_a_lane_goes_through_its_enabled_actions(house: House, console: Console) -> None:
    house.bind()
    house.bind("reactivate_subscription", inputs={})
    house.bind(enabled=False)
    shown = post(console(Role.APP_MEMBER), url(house), house, do="preview")
    assert [(title, preview.outcome) for title, preview, _ in shown.context["previews"]] == [
        ("Cleeng: Apply coupon", "would_write"),
        ("Cleeng: Reactivate subscription", "done"),
    ]


def test_a_preview_says_what_is_missing(house: House) -> None:
    binding = house.bind()
    stranger = factories.SubscriberFactory(app=house.app, is_test=True)
    preview = trying.preview(binding, stranger, {})
    assert (preview.outcome, preview.exchanges) == ("skipped", [])
    assert "cleeng_customer_id" in preview.message


def test_a_preview_shows_a_vendor_that_is_down(house: House) -> None:
    house.sandbox.fault(status=503)
    preview = trying.preview(house.bind(), house.subscriber, {})
    assert preview.outcome == "rejected"
    assert preview.exchanges[0]["status"] == 503


def test_what_the_person_enters_reaches_the_preview(house: House, console: Console) -> None:
    house.prompt.inputs = [{"name": "mail", "label": "Your e-mail", "type": "email", "required": True, "choices": []}]
    house.prompt.save()
    binding = house.bind()
    client = console(Role.APP_MEMBER)
    refused = post(client, url(house, binding), house, do="preview", **{"answer-mail": "no address"})
    assert "Enter a valid email address." in refused.content.decode()
    assert "previews" not in refused.context
    assert post(client, url(house, binding), house, do="preview", **{"answer-mail": "a@example.com"}).context[
        "previews"
    ]


# --- for real ---------------------------------------------------------------------------------------


def test_the_confirmation_names_action_person_vendor_and_environment(house: House, console: Console) -> None:
    shown = post(console(Role.APP_MEMBER), url(house, house.bind()), house, do="ask").content.decode()
    words = " ".join(shown[shown.index("This really happens") :].split())
    assert "Apply coupon (Coupon code: SAVE20) for ann in Cleeng" in words
    assert "Sandbox" in words[: words.index("Run it now")]


def test_a_run_goes_the_way_of_every_answer_and_is_shown_until_it_is_done(house: House, console: Console) -> None:
    first, _second = house.bind(), house.bind("reactivate_subscription", inputs={})
    client = console(Role.APP_MEMBER)
    answer = run(client, url(house, first), house)
    event = PromptEvent.objects.get()
    assert (event.source, event.is_test, event.subscriber) == (EventSource.CONSOLE, True, house.subscriber)
    assert event.reported_by
    assert [execution.binding for execution in event.executions.all()] == [first], "only the action that was tried"
    shown = client.get(answer.headers["Location"])
    assert "This updates by itself." in shown.content.decode()

    assert executions.work("tests") == 1
    assert house.sandbox.subscriptions()[SUBSCRIPTION]["couponCode"] == "SAVE20"
    page = client.get(answer.headers["Location"]).content.decode()
    assert "Coupon SAVE20 is on subscription" in page
    assert "This updates by itself." not in page


def test_a_lane_runs_in_order(house: House, console: Console) -> None:
    bound = [house.bind("reactivate_subscription", inputs={}), house.bind()]
    run(console(Role.APP_MEMBER), url(house), house)
    executions.work("tests")
    assert [row.binding for row in Execution.objects.order_by("position")] == bound
    assert set(Execution.objects.values_list("state", flat=True)) == {"done"}


def test_pressing_twice_runs_once(house: House, console: Console) -> None:
    client, binding = console(Role.APP_MEMBER), house.bind()
    button = confirmed(post(client, url(house, binding), house, do="ask"))
    answers = [post(client, url(house, binding), house, **button) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [302, 302]
    assert Execution.objects.count() == 1


def test_a_run_takes_no_limit(house: House, console: Console) -> None:
    client, binding = console(Role.APP_MEMBER), house.bind()
    run(client, url(house, binding), house)
    assert not LimitTaken.objects.exists()


@pytest.mark.parametrize("changes", [{"is_test": False}, {"test_until": timezone.now() - timedelta(minutes=1)}])
def test_only_somebody_who_is_a_test_subscriber_now_is_touched(
    house: House, console: Console, changes: dict[str, Any]
) -> None:
    binding, client = house.bind(), console(Role.APP_MEMBER)
    button = confirmed(post(client, url(house, binding), house, do="ask"))
    Subscriber.objects.filter(pk=house.subscriber.pk).update(**changes)
    shown = post(client, url(house, binding), house, **button)
    assert "No test subscriber" in shown.content.decode()
    house.subscriber.refresh_from_db()
    with pytest.raises(PermissionDenied):
        trying.run(house.prompt, "accept", [binding], house.subscriber, {}, by="x", event_id=uuid.uuid4())
    assert not PromptEvent.objects.exists()


def test_a_person_who_was_not_chosen_is_not_run_for_instead(house: House, console: Console) -> None:
    binding, client = house.bind(), console(Role.APP_MEMBER)
    factories.SubscriberFactory(app=house.app, user_id="aaa-first", is_test=True)
    button = confirmed(post(client, url(house, binding), house, do="ask"))
    Subscriber.objects.filter(pk=house.subscriber.pk).update(is_test=False)
    answer = post(client, url(house, binding), house, **button)
    assert "That is no test subscriber any more." in answer.content.decode()
    assert not PromptEvent.objects.exists()


@pytest.mark.parametrize("what", ["binding", "account"])
def test_what_changed_since_the_confirmation_is_confirmed_again(house: House, console: Console, what: str) -> None:
    binding, client = house.bind(), console(Role.APP_MEMBER)
    button = confirmed(post(client, url(house, binding), house, do="ask"))
    if what == "binding":
        house.bind()
    else:
        type(house.connection).objects.update(generation=2)
    answer = post(client, url(house, binding), house, **button)
    assert "was changed since" in answer.content.decode()
    assert not PromptEvent.objects.exists()
    assert post(client, url(house, binding), house, **confirmed(answer)).status_code == 302


@pytest.mark.parametrize("data", [{"do": "run"}, {"do": "run", "event": "x"}, {"do": "explode"}, {}])
def test_without_a_confirmation_nothing_runs(house: House, console: Console, data: dict[str, str]) -> None:
    post(console(Role.APP_MEMBER), url(house, house.bind()), house, **data)
    assert not PromptEvent.objects.exists()


def test_an_empty_lane_and_an_app_without_test_subscribers_say_what_to_do(house: House, console: Console) -> None:
    client = console(Role.APP_MEMBER)
    assert "Nothing to try" in client.get(url(house)).content.decode()
    binding = house.bind()
    Subscriber.objects.update(is_test=False)
    assert "Add a test subscriber" in client.get(url(house, binding)).content.decode()
