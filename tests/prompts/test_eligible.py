"""Which prompts a person is shown."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engage.tenancy.models import App, DeliveryMode
from prompts.eligible import matches, prompts_for
from prompts.models import LimitKind, LimitTaken, PromptStatus
from sync.models import Subscriber
from tests import factories
from tests.prompts.runtime import prompt

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def live(app: App) -> App:
    app.delivery_mode = DeliveryMode.LIVE
    app.save()
    return app


@pytest.fixture
def mia(app: App) -> Subscriber:
    return factories.SubscriberFactory(app=app, user_id="mia", traits={"first_name": "Mia"})


def shown(app: App, subscriber: Subscriber | None = None, path: str = "/", now: datetime = NOW) -> list[str]:
    return [each["key"] for each in prompts_for(app, subscriber, path, now)]


def test_live_prompts_are_shown_in_the_order_in_which_they_were_made(live: App) -> None:
    prompt(live, key="first")
    prompt(live, key="draft", status=PromptStatus.DRAFT)
    prompt(live, key="paused", status=PromptStatus.PAUSED)
    prompt(live, key="archived", archived_at=NOW)
    prompt(live, key="second")
    assert shown(live) == ["first", "second"]


def test_another_apps_prompts_are_not_shown(live: App, other_app: App) -> None:
    prompt(other_app, key="theirs")
    assert shown(live) == []


@pytest.mark.parametrize(
    ("begins", "ends", "is_shown"),
    [(None, 1, True), (-1, None, True), (0, None, True), (1, None, False), (None, -1, False), (None, 0, False)],
)
def test_a_prompt_is_shown_from_its_start_until_its_end(
    live: App, begins: int | None, ends: int | None, is_shown: bool
) -> None:
    moments = {"starts_at": begins, "ends_at": ends}
    fields: dict[str, Any] = {
        name: NOW + timedelta(hours=hours) for name, hours in moments.items() if hours is not None
    }
    prompt(live, **fields)
    assert bool(shown(live)) is is_shown


@pytest.mark.parametrize(
    ("pattern", "path", "is_match"),
    [
        ("", "/anything", True),
        ("/account", "/account", True),
        ("/account", "/account/", False),
        ("/account*", "/account/plan", True),
        ("*/plan", "/account/plan", True),
        ("/a*c*e", "/abcde", True),
        ("/a*c*e", "/abcdef", False),
        ("/Account", "/account", False),
        ("/a?b", "/axb", False),
        ("/a?b", "/a?b", True),
        ("/[ab]", "/a", False),
        ("/[ab]", "/[ab]", True),
    ],
)
def test_only_the_asterisk_is_a_wildcard(pattern: str, path: str, is_match: bool) -> None:
    assert matches(pattern, path) is is_match


def test_a_prompt_is_shown_on_the_paths_of_its_pattern(live: App) -> None:
    prompt(live, key="account", url_pattern="/account*")
    assert shown(live, path="/account/plan") == ["account"]
    assert shown(live, path="/watch") == []


def test_in_test_mode_only_test_subscribers_are_shown_prompts(app: App, mia: Subscriber) -> None:
    prompt(app, key="offer")
    assert app.delivery_mode == DeliveryMode.TEST
    assert shown(app) == shown(app, mia) == []
    mia.is_test = True
    assert shown(app, mia) == ["offer"]
    mia.test_until = NOW
    assert shown(app, mia) == []
    mia.test_until = NOW + timedelta(seconds=1)
    assert shown(app, mia) == ["offer"]


def test_in_mode_nobody_not_even_test_subscribers_are_shown_prompts(app: App, mia: Subscriber) -> None:
    prompt(app)
    app.delivery_mode, mia.is_test = DeliveryMode.NOBODY, True
    assert shown(app, mia) == []


def test_a_prompt_whose_action_is_switched_off_is_not_shown(live: App) -> None:
    binding = factories.BindingFactory(prompt=prompt(live, key="offer"))
    assert shown(live) == ["offer"]
    binding.connection.active = False
    binding.connection.save()
    assert shown(live) == []
    binding.enabled = False
    binding.save()
    assert shown(live) == ["offer"]


def test_a_limit_once_is_once_for_this_subscriber(live: App, mia: Subscriber) -> None:
    offer = prompt(live, key="offer")
    LimitTaken.objects.create(prompt=offer, subscriber=mia, taken_at=NOW - timedelta(days=900))
    assert shown(live, mia) == []
    assert shown(live) == shown(live, factories.SubscriberFactory(app=live)) == ["offer"]


def test_a_limit_of_days_ends(live: App, mia: Subscriber) -> None:
    offer = prompt(live, key="offer", limit=LimitKind.EVERY_DAYS, limit_days=30)
    LimitTaken.objects.create(prompt=offer, subscriber=mia, taken_at=NOW - timedelta(days=30))
    assert shown(live, mia, now=NOW - timedelta(seconds=1)) == []
    assert shown(live, mia) == ["offer"]


def test_a_prompt_without_a_limit_stays(live: App, mia: Subscriber) -> None:
    offer = prompt(live, key="offer", limit=LimitKind.NONE)
    LimitTaken.objects.create(prompt=offer, subscriber=mia, taken_at=NOW)
    assert shown(live, mia) == ["offer"]


def test_variables_are_filled_in_for_somebody_known_only(live: App, mia: Subscriber) -> None:
    prompt(
        live,
        title="Hello {{ first_name|there }}",
        message="Stay, {{ first_name }}",
        accept_label="Yes",
        secondary_label="Later",
        timeout_seconds=30,
        text_done="Done, {{ first_name|friend }}",
    )
    (known,) = prompts_for(live, mia, "/", NOW)
    (unknown,) = prompts_for(live, None, "/", NOW)
    assert (known["title"], known["message"], known["texts"]["done"]) == ("Hello Mia", "Stay, Mia", "Done, Mia")
    assert (unknown["title"], unknown["message"], unknown["texts"]["done"]) == ("Hello there", "Stay, ", "Done, friend")
    assert known["buttons"] == [
        {"interaction": "accept", "label": "Yes"},
        {"interaction": "secondary_accept", "label": "Later"},
    ]
    assert (known["version"], known["type"], known["timeout_seconds"]) == (1, "popup", 30)


def test_many_prompts_are_one_question_to_the_database(
    live: App, mia: Subscriber, django_assert_num_queries: Any
) -> None:
    connection = factories.ConnectionFactory(app=live)
    for _ in range(5):
        factories.BindingFactory(prompt=prompt(live), connection=connection)
    with django_assert_num_queries(1):
        assert len(shown(live, mia)) == 5
