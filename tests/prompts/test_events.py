"""Recording and planning: what is stored for an answer, and what it sets in motion."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from engage.tenancy.models import DeliveryMode
from prompts import events
from prompts.models import (
    Execution,
    Interaction,
    LimitTaken,
    Prompt,
    PromptEvent,
    PromptStatus,
    PromptVersion,
    State,
)
from tests import factories
from tests.prompts.conftest import House

pytestmark = pytest.mark.django_db


def only(event: PromptEvent) -> Execution:
    execution: Execution = event.executions.get()
    return execution


def test_an_answer_becomes_one_execution_for_each_enabled_binding_of_its_lane(house: House) -> None:
    first, second = house.bind(), house.bind("reactivate_subscription", inputs={})
    house.bind(interaction=Interaction.DECLINE)
    house.bind(enabled=False)
    executions = list(house.report().executions.order_by("position"))
    assert [execution.binding for execution in executions] == [first, second]
    assert [execution.state for execution in executions] == [State.QUEUED, State.BLOCKED]
    assert executions[0].inputs == {"coupon": "SAVE20"}


def test_an_impression_sets_nothing_in_motion_and_takes_no_limit(house: House) -> None:
    house.bind()
    event = house.report("impression")
    assert not event.executions.exists()
    assert not LimitTaken.objects.exists()


def test_the_same_id_again_is_the_same_event_and_plans_nothing(house: House) -> None:
    house.bind()
    chosen = uuid4()
    event = house.report(event_id=chosen)
    again = events.record(house.app, events.Report(chosen, "stay", "accept", "ann", context={"page": "/other"}))
    assert (again.event, again.is_new) == (event, False)
    assert Execution.objects.count() == 1


def test_a_resend_finds_its_event_though_the_prompt_was_archived_since(house: House) -> None:
    house.bind()
    chosen = uuid4()
    event = house.report(event_id=chosen)
    Prompt.objects.update(archived_at=timezone.now())
    again = events.record(house.app, events.Report(chosen, "stay", "accept", "ann"))
    assert (again.event, again.is_new) == (event, False)
    with pytest.raises(events.Conflict):
        events.record(house.app, events.Report(chosen, "stay", "decline", "ann"))


@pytest.mark.parametrize(
    "change",
    [{"interaction": "decline"}, {"user_id": "bob"}, {"inputs": {"reason": "price"}}],
    ids=lambda change: next(iter(change)),
)
def test_the_same_id_for_another_event_is_a_conflict(house: House, change: dict[str, object]) -> None:
    chosen = uuid4()
    house.publish()
    told = {"prompt": "stay", "interaction": "accept", "user_id": "ann"}
    events.record(house.app, events.Report(chosen, **told))  # type: ignore[arg-type]
    with pytest.raises(events.Conflict):
        events.record(house.app, events.Report(chosen, **{**told, **change}))  # type: ignore[arg-type]
    assert PromptEvent.objects.count() == 1


def test_what_is_unknown_is_refused_and_stores_nothing(house: House) -> None:
    with pytest.raises(events.UnknownPrompt):
        events.record(house.app, events.Report(uuid4(), "nothing", "accept", "ann"))
    with pytest.raises(events.UnknownInteraction):
        events.record(house.app, events.Report(uuid4(), "stay", "click", "ann"))
    assert not PromptEvent.objects.exists()


def test_a_prompt_of_another_app_is_unknown(house: House) -> None:
    theirs: Prompt = factories.PromptFactory(key="theirs")
    with pytest.raises(events.UnknownPrompt):
        events.record(house.app, events.Report(uuid4(), theirs.key, "accept", "ann"))


def test_inputs_are_checked_against_the_prompt(house: House) -> None:
    house.prompt.inputs = [
        {"name": "email", "label": "E-mail", "type": "email", "required": True},
        {"name": "why", "label": "Reason", "type": "choice", "choices": ["price", "other"]},
    ]
    house.prompt.save()
    house.bind()
    with pytest.raises(events.BadInputs) as missing:
        house.report()
    assert missing.value.errors == {"email": "E-mail is needed."}
    with pytest.raises(events.BadInputs) as wrong:
        house.report(inputs={"email": "not one", "why": "boredom"})
    assert set(wrong.value.errors) == {"email", "why"}
    event = house.report(inputs={"email": "ann@example.com", "why": "price", "extra": "dropped"})
    assert event.inputs == {"email": "ann@example.com", "why": "price"}


def test_a_missing_trait_skips_the_action_and_says_which(house: House) -> None:
    house.bind(inputs={"coupon": {"from": "trait", "name": "favourite_coupon"}})
    execution = only(house.report())
    assert (execution.state, execution.reason) == (State.SKIPPED, "missing")
    assert "favourite_coupon" in execution.message


class TestDeliveryMode:
    def test_nobody_is_served_when_the_mode_says_nobody(self, house: House) -> None:
        house.app.delivery_mode = DeliveryMode.NOBODY
        house.app.save()
        house.bind()
        assert only(house.report()).state == State.NOT_SENT

    @pytest.mark.parametrize(
        ("is_test", "until", "state"),
        [
            (False, None, State.NOT_SENT),
            (True, None, State.QUEUED),
            (True, timedelta(days=1), State.QUEUED),
            (True, timedelta(days=-1), State.NOT_SENT),
        ],
    )
    def test_test_mode_serves_test_subscribers_only(
        self, house: House, is_test: bool, until: timedelta | None, state: State
    ) -> None:
        house.app.delivery_mode = DeliveryMode.TEST
        house.app.save()
        house.subscriber.is_test = is_test
        house.subscriber.test_until = timezone.now() + until if until else None
        house.subscriber.save()
        house.bind()
        assert only(house.report()).state == state


class TestPromptThatIsNotShown:
    def pause(self, house: House, ago: timedelta) -> None:
        """Pause the prompt, as if it had been so long ago."""
        house.prompt.status = PromptStatus.PAUSED
        house.prompt.save()
        house.publish()
        house.prompt.versions.exclude(superseded_at=None).update(superseded_at=timezone.now() - ago)

    @pytest.mark.parametrize(
        ("moments", "reason"),
        [
            ({"starts_at": timedelta(minutes=-1), "ends_at": timedelta(minutes=1)}, ""),
            ({"ends_at": timedelta(hours=-71)}, ""),
            ({"ends_at": timedelta(hours=-73)}, "ended"),
            ({"starts_at": timedelta(minutes=1)}, "early"),
        ],
        ids=str,
    )
    def test_it_may_be_answered_until_three_days_after_its_end_and_not_before_its_start(
        self, house: House, moments: dict[str, timedelta], reason: str
    ) -> None:
        Prompt.objects.update(**{name: timezone.now() + moment for name, moment in moments.items()})
        house.bind()
        execution = only(house.report())
        assert (execution.state, execution.reason) == ((State.NOT_SENT, reason) if reason else (State.QUEUED, ""))

    def test_it_may_be_answered_until_three_days_after_it_was_paused(self, house: House) -> None:
        house.bind()
        self.pause(house, timedelta(hours=71))
        house.publish()  # an action was changed since
        assert only(house.report()).state == State.QUEUED
        PromptVersion.objects.filter(content__status="live").update(superseded_at=timezone.now() - timedelta(hours=73))
        LimitTaken.objects.all().delete()
        event = house.report()
        assert (only(event).state, only(event).reason) == (State.NOT_SENT, "paused")
        assert events.status_of(event).outcome == "not_possible"
        assert not LimitTaken.objects.exists()

    def test_one_that_was_never_live_is_not_carried_out_because_it_is_paused(self, house: House) -> None:
        Prompt.objects.update(status=PromptStatus.PAUSED)
        house.bind()
        assert only(house.report()).reason == "paused"

    def test_a_test_subscriber_is_served(self, house: House) -> None:
        house.bind()
        self.pause(house, timedelta(days=300))
        house.subscriber.is_test = True
        house.subscriber.save()
        assert only(house.report()).state == State.QUEUED

    def test_nothing_of_it_is_forwarded(self, house: House) -> None:
        house.bind()
        factories.ConnectionFactory(app=house.app, connector="heap")
        assert [row.state for row in house.report("impression").executions.all()] == [State.QUEUED]
        self.pause(house, timedelta(days=300))
        assert [row.reason for row in house.report("impression").executions.all()] == ["paused"]


class TestLimit:
    def test_once_means_once_and_the_second_answer_says_why(self, house: House) -> None:
        house.bind()
        assert only(house.report()).state == State.QUEUED
        second = house.report()
        assert (only(second).state, only(second).reason) == (State.SKIPPED, "limit")
        assert events.status_of(second).outcome == "not_possible"

    def test_declining_takes_no_limit(self, house: House) -> None:
        house.bind()
        house.report(Interaction.DECLINE)
        assert only(house.report()).state == State.QUEUED

    def test_every_n_days_frees_it_again(self, house: House) -> None:
        Prompt.objects.update(limit="every_days", limit_days=7)
        house.bind()
        house.report()
        assert only(house.report()).state == State.SKIPPED
        LimitTaken.objects.update(taken_at=timezone.now() - timedelta(days=7, minutes=1))
        assert only(house.report()).state == State.QUEUED

    def test_no_limit_takes_every_answer(self, house: House) -> None:
        Prompt.objects.update(limit="none")
        house.bind()
        assert [only(house.report()).state for _ in range(3)] == [State.QUEUED] * 3

    def test_it_is_not_kept_by_an_answer_that_nothing_follows(self, house: House) -> None:
        house.bind(inputs={"coupon": {"from": "trait", "name": "unknown"}})
        house.report()
        assert not LimitTaken.objects.exists()


class TestVersions:
    def test_the_version_that_was_shown_runs_for_a_day(self, house: House) -> None:
        binding = house.bind()
        shown = house.prompt.versions.get(superseded_at=None).number
        binding.inputs = {"coupon": {"from": "fixed", "value": "STAY50"}}
        binding.save()
        house.publish()
        assert only(house.report(version=shown)).inputs == {"coupon": "SAVE20"}
        PromptVersion.objects.filter(number=shown).update(superseded_at=timezone.now() - timedelta(hours=24, seconds=1))
        LimitTaken.objects.all().delete()
        assert only(house.report(version=shown)).inputs == {"coupon": "STAY50"}
