from datetime import timedelta

import pytest
from django.utils import timezone

from engage.tenancy.models import App
from prompts import versions
from prompts.models import Interaction, Prompt, PromptVersion
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def prompt(app: App) -> Prompt:
    made: Prompt = factories.PromptFactory(app=app, title="Hello")
    return made


def test_a_version_keeps_texts_and_enabled_actions_as_they_are(prompt: Prompt) -> None:
    connection = factories.ConnectionFactory(app=prompt.app)
    make = factories.BindingFactory
    second = make(prompt=prompt, connection=connection, position=2, on_error="continue", daily_limit=7, max_age_hours=3)
    first = make(prompt=prompt, connection=connection, position=1)
    make(prompt=prompt, connection=connection, position=3, enabled=False)
    make(prompt=prompt, connection=connection, position=4, archived_at=timezone.now())
    decline = make(
        prompt=prompt, connection=None, interaction=Interaction.DECLINE, connector="builtin", action="redirect"
    )

    version = versions.publish(prompt, by="dana@example.com")

    assert version.content["title"] == "Hello"
    assert version.created_by == "dana@example.com"
    assert [kept["id"] for kept in version.bindings] == [first.pk, second.pk, decline.pk]
    assert version.bindings[1] == {
        "id": second.pk,
        "interaction": "accept",
        "position": 2,
        "connector": "cleeng",
        "action": "apply_coupon",
        "connection": str(connection.pk),
        "inputs": {"coupon": {"from": "fixed", "value": "SAVE20"}},
        "on_error": "continue",
        "daily_limit": 7,
        "max_age_hours": 3,
    }
    assert version.bindings[2]["connection"] is None


def test_publishing_counts_up_and_supersedes_the_version_before(prompt: Prompt) -> None:
    first = versions.publish(prompt, by="x")
    second = versions.publish(prompt, by="x")
    first.refresh_from_db()
    assert (first.number, second.number) == (1, 2)
    assert first.superseded_at is not None
    assert prompt.versions.get(superseded_at=None) == second
    assert prompt.version == Prompt.objects.get(pk=prompt.pk).version == 2


def test_what_was_published_stays_when_an_action_changes(prompt: Prompt) -> None:
    binding = factories.BindingFactory(prompt=prompt)
    version = versions.publish(prompt, by="x")
    binding.inputs = {"coupon": {"from": "fixed", "value": "OTHER"}}
    binding.save()
    versions.publish(prompt, by="x")
    version.refresh_from_db()
    assert version.bindings[0]["inputs"]["coupon"]["value"] == "SAVE20"


def test_an_answer_runs_the_version_that_it_was_shown_for_24_hours(prompt: Prompt) -> None:
    old = versions.publish(prompt, by="x")
    new = versions.publish(prompt, by="x")
    old.refresh_from_db()
    assert old.superseded_at is not None
    last_moment = old.superseded_at + timedelta(hours=24) - timedelta(seconds=1)
    assert versions.to_run(prompt, old.number, last_moment) == old
    assert versions.to_run(prompt, old.number, last_moment + timedelta(seconds=1)) == new


@pytest.mark.parametrize("number", [None, 0, 99])
def test_no_or_an_unknown_number_runs_the_current_version(prompt: Prompt, number: int | None) -> None:
    versions.publish(prompt, by="x")
    current = versions.publish(prompt, by="x")
    assert versions.to_run(prompt, number, timezone.now()) == current


def test_a_prompt_that_was_never_published_runs_nothing(prompt: Prompt) -> None:
    with pytest.raises(PromptVersion.DoesNotExist):
        versions.to_run(prompt, 1, timezone.now())


def test_another_prompts_version_is_never_run(prompt: Prompt) -> None:
    other = factories.PromptFactory(app=prompt.app)
    for _ in range(3):
        versions.publish(other, by="x")
    mine = versions.publish(prompt, by="x")
    assert versions.to_run(prompt, 3, timezone.now()) == mine
