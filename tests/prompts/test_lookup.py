"""Lookup: who is found by what, and what is said of them."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from engage.audit.models import Entry
from engage.tenancy.models import App, DeliveryMode
from engage.tenancy.roles import Role
from prompts import eligible, lookup
from prompts.models import IMPRESSION, LimitTaken, Prompt
from sync.models import Subscriber
from tests import factories

NOBODYS_ID = "5f0c2ab0-6f0e-4f0a-9d55-6a1a9b6c0d11"
pytestmark = pytest.mark.django_db
Console = Callable[[Role], Client]

LOOKUP = "/console/prompts/promptevent/"


def text_of(response: Any) -> str:
    """Return what a person reads, with blanks folded."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


@pytest.fixture
def ann(app: App) -> Subscriber:
    """A subscriber with ids at a vendor."""
    traits = {"email": "Ann@Example.com", "cleeng_customer_id": 640000001, "cleeng_subscription_id": "710000001"}
    return factories.SubscriberFactory(app=app, user_id="ann", traits=traits)


@pytest.mark.parametrize(
    ("text", "found_by"),
    [
        ("ann", "user id"),
        (" ann ", "user id"),
        ("ann@example.com", "e-mail address"),
        ("640000001", "vendor's id"),
        ("710000001", "vendor's id"),
    ],
)
def test_a_subscriber_is_found_by_every_id_that_somebody_may_have(
    app: App, ann: Subscriber, text: str, found_by: str
) -> None:
    factories.SubscriberFactory(app=app, user_id="bob", traits={"email": "bob@example.com", "cleeng_customer_id": "7"})
    assert [(match.subscriber, match.found_by) for match in lookup.search(app, text)] == [(ann, found_by)]


@pytest.mark.parametrize("name", ["email", "email_address"])
def test_either_name_of_the_address_counts(app: App, name: str) -> None:
    person = factories.SubscriberFactory(app=app, traits={name: "a.b@example.com"})
    assert [match.subscriber for match in lookup.search(app, "A.B@example.com")] == [person]


def test_an_event_is_found_by_its_reference_in_any_case_and_by_its_id(app: App, ann: Subscriber) -> None:
    prompt = factories.PromptFactory(app=app)
    event = factories.EventFactory(prompt=prompt, subscriber=ann, reference="K7PX2QWE")
    execution = factories.ExecutionFactory(binding__prompt=prompt, event=event)
    for text, found_by in (
        ("k7px2qwe", "reference"),
        (str(event.event_id), "event id"),
        (str(execution.pk), "execution id"),
    ):
        match = lookup.search(app, text)[0]
        assert (match.subscriber, match.found_by, match.event) == (ann, found_by, event)
    assert lookup.search(app, str(execution.pk))[0].execution == execution


@pytest.mark.parametrize("text", ["", "  ", "nobody", "\x00", NOBODYS_ID, "%", "9" * 300, "no@body.example"])
def test_what_nobody_has_finds_nobody(app: App, ann: Subscriber, text: str) -> None:
    assert lookup.search(app, text) == []


def test_another_apps_people_are_not_found(app: App, other_app: App) -> None:
    theirs = factories.SubscriberFactory(
        app=other_app, user_id="eve", traits={"email": "eve@example.com", "cleeng_customer_id": "88"}
    )
    event = factories.EventFactory(
        prompt=factories.PromptFactory(app=other_app), subscriber=theirs, reference="THEIRS22"
    )
    for text in ("eve", "eve@example.com", "88", "THEIRS22", str(event.event_id)):
        assert lookup.search(app, text) == []


# --- the page ---------------------------------------------------------------------------------------------------------------


def test_one_match_is_shown_whole_and_recorded(app: App, ann: Subscriber, console: Console) -> None:
    prompt = factories.PromptFactory(app=app, name="Stay")
    event = factories.EventFactory(prompt=prompt, subscriber=ann, interaction=IMPRESSION)
    LimitTaken.objects.create(prompt=prompt, subscriber=ann, event=event, taken_at=timezone.now())
    client = console(Role.APP_MEMBER)
    page = text_of(client.get(LOOKUP, {"q": "ann"}))
    for words in ("Ann@Example.com", "640000001", "Limits used Stay", "Shown."):
        assert words in page
    entry = Entry.objects.get(verb="looked up")
    assert (entry.kind, entry.label, entry.app) == ("subscriber", "ann", app)
    assert str(entry.user_id) == client.session["_auth_user_id"]


def test_several_matches_are_a_list_to_choose_from_and_nobody_was_looked_at(app: App, console: Console) -> None:
    for number in range(2):
        factories.SubscriberFactory(app=app, user_id=f"twin-{number}", traits={"email": "home@example.com"})
    client = console(Role.APP_MEMBER)
    response = client.get(LOOKUP, {"q": "home@example.com"})
    assert "2 subscribers match. Which one?" in text_of(response)
    assert '?user=twin-1"' in response.content.decode()
    assert not Entry.objects.filter(verb="looked up").exists()
    assert "twin-1" in text_of(client.get(LOOKUP, {"user": "twin-1"}))
    assert Entry.objects.get(verb="looked up").label == "twin-1"


def test_nobody_found_says_what_that_can_mean(app: App, console: Console) -> None:
    page = text_of(console(Role.READ_ONLY).get(LOOKUP, {"q": "nobody"}))
    assert "No event in 90 days: not shown, blocked by the browser, or your app sends another id." in page


def test_an_empty_page_says_what_it_is_for(app: App, console: Console) -> None:
    assert "Look somebody up." in text_of(console(Role.READ_ONLY).get(LOOKUP))


def test_a_text_of_somebody_is_shown_as_text(app: App, console: Console) -> None:
    factories.SubscriberFactory(app=app, user_id="<b>x</b>", traits={"email": "<script>alert(1)</script>"})
    page = console(Role.APP_MEMBER).get(LOOKUP, {"user": "<b>x</b>"}).content.decode()
    assert "<script>alert(1)" not in page
    assert "<b>x</b>" not in page


# --- why a prompt is shown or not -------------------------------------------------------------------------------------------


def why_not(app: App, subscriber: Subscriber) -> str:
    (one,) = lookup.prompts_of(app, subscriber)
    return one.why_not


@pytest.fixture
def stay(app: App) -> Prompt:
    """A live prompt in a live App."""
    app.delivery_mode = DeliveryMode.LIVE
    app.save()
    return factories.PromptFactory(app=app, url_pattern="/account*")


def test_a_prompt_that_the_api_would_answer_is_shown(app: App, ann: Subscriber, stay: Prompt) -> None:
    (one,) = lookup.prompts_of(app, ann)
    assert (one.why_not, one.where) == ("", "on /account*")
    assert eligible.prompts_for(app, ann, "/account/plan", timezone.now())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "paused"}, "The prompt is paused."),
        ({"starts_at": timezone.now() + timedelta(days=3)}, "It starts on "),
        ({"ends_at": timezone.now() - timedelta(days=3)}, "It ended on "),
        ({"taken": True}, "the limit is once."),
        ({"taken": True, "limit": "every_days", "limit_days": 30}, "shown again from "),
        ({"mode": "test"}, "this is no test subscriber."),
        ({"mode": "nobody"}, "delivery mode is “Nobody”."),
        ({"switched_off": True}, "a connection that is switched off."),
    ],
)
def test_why_a_prompt_is_not_shown_is_said(
    app: App, ann: Subscriber, stay: Prompt, change: dict[str, Any], words: str
) -> None:
    if change.pop("taken", False):
        LimitTaken.objects.create(prompt=stay, subscriber=ann, taken_at=timezone.now())
    if change.pop("switched_off", False):
        factories.BindingFactory(prompt=stay, connection=factories.ConnectionFactory(app=app, active=False))
    if mode := change.pop("mode", ""):
        app.delivery_mode = mode
        app.save()
    Prompt.objects.filter(pk=stay.pk).update(**change)
    assert words in why_not(app, ann)
    assert not eligible.prompts_for(app, ann, "/account", timezone.now())


def test_a_limit_that_has_passed_or_does_not_count_is_no_reason(app: App, ann: Subscriber, stay: Prompt) -> None:
    LimitTaken.objects.create(prompt=stay, subscriber=ann, taken_at=timezone.now() - timedelta(days=31))
    Prompt.objects.update(limit="every_days", limit_days=30)
    assert why_not(app, ann) == ""
    Prompt.objects.update(limit="none")
    assert why_not(app, ann) == ""


def test_a_test_subscriber_whose_time_is_over_is_none(app: App, ann: Subscriber, stay: Prompt) -> None:
    app.delivery_mode = DeliveryMode.TEST
    ann.is_test, ann.test_until = True, timezone.now() + timedelta(hours=1)
    assert why_not(app, ann) == ""
    ann.test_until = timezone.now() - timedelta(hours=1)
    assert "no test subscriber" in why_not(app, ann)


# --- what is masked ---------------------------------------------------------------------------------------------------------


def test_a_trait_that_nobody_has_declared_counts_as_personal(app: App, ann: Subscriber) -> None:
    factories.TraitFactory(app=app, name="cleeng_subscription_id", personal=False)
    shown = {line.name: line.value for line in lookup.traits_shown(app, ann, personal=False)}
    assert shown == {"email": "•••", "cleeng_customer_id": "•••", "cleeng_subscription_id": "710000001"}


def test_a_sentence_loses_personal_values_and_keeps_the_user_id(app: App, ann: Subscriber) -> None:
    ann.traits["nickname"] = "ann"
    hide = lookup.veil(app, [(ann, [{"phone": "0170 555"}])])
    assert hide("ann has 640000001 and 0170 555, Ann@Example.com") == "ann has ••• and •••, •••"
