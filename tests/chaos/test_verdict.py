"""What the drill calls lost, doubled and unfounded; and that its plan can be repeated."""

from dataclasses import asdict

import pytest
from django.utils import timezone

from chaos import crowd
from chaos.vendor import FAULTS, Unruly
from chaos.verdict import KILLED, NO_ANSWER, PAGE, TROUBLE, Verdict, judge, lost_answers
from connectors.sandbox.http import Fault, Request
from engage.tenancy.models import App
from prompts.models import Attempt, AttemptBody, Execution, State
from tests import factories

MOST = 3
PERSON = 0  # a coupon (looked for first), then a gift (never repeated)


@pytest.fixture
def two(app: App) -> list[Execution]:
    """The two executions of one person's answer, both done."""
    prompt = factories.PromptFactory(app=app)
    person = factories.SubscriberFactory(app=app, user_id=f"u{PERSON}")
    event = factories.EventFactory(prompt=prompt, subscriber=person)
    binding = factories.BindingFactory(prompt=prompt)
    made = [
        factories.ExecutionFactory(binding=binding, event=event, position=position, state=State.DONE)
        for position in range(2)
    ]
    return [Execution.objects.get(pk=one.pk) for one in made]


def be(execution: Execution, state: State) -> None:
    Execution.objects.filter(pk=execution.pk).update(state=state)


def verdict(*effects: tuple[str, str]) -> Verdict:
    return judge([PERSON], effects)


COUPON, GIFT = crowd.promised(PERSON)


def test_everything_once_is_as_it_should_be(two: list[Execution]) -> None:
    found = verdict(COUPON, GIFT)
    assert (found.executions, found.lost, found.doubled, found.unfounded) == (2, [], [], [])


def test_what_happened_twice_is_doubled(two: list[Execution]) -> None:
    assert len(verdict(COUPON, GIFT, GIFT).doubled) == 1


def test_what_is_called_done_and_did_not_happen_is_lost(two: list[Execution]) -> None:
    assert len(verdict(COUPON).lost) == 1


@pytest.mark.parametrize("state", [State.WAITING, State.HELD, State.REJECTED, State.GAVE_UP, State.BLOCKED])
def test_what_ended_otherwise_is_lost(two: list[Execution], state: State) -> None:
    be(two[1], state)
    assert len(verdict(COUPON).lost) == 1


def test_an_accepted_answer_without_executions_is_lost(db: None) -> None:
    assert len(verdict().lost) == 1


def test_what_waits_behind_a_persons_word_is_not_lost(two: list[Execution]) -> None:
    be(two[0], State.UNCERTAIN)
    be(two[1], State.BLOCKED)
    assert verdict().lost == []


@pytest.mark.parametrize(
    ("answer", "status", "why"),
    [
        (None, None, NO_ANSWER),
        ("<h1>Bad Gateway</h1>", 502, TROUBLE),
        ({"message": "internal error"}, 500, TROUBLE),
        ("<h1>Hello</h1>", 200, PAGE),
        ({"ok": True}, 200, "unfounded"),
        ({"message": "slow down"}, 429, "unfounded"),
    ],
)
def test_a_person_is_asked_only_where_no_answer_says_what_happened(
    two: list[Execution], answer: object, status: int | None, why: str
) -> None:
    be(two[1], State.UNCERTAIN)
    assert len(verdict(COUPON).unfounded) == 1, "no write had begun"
    now = timezone.now()
    tried = Attempt.objects.create(execution=two[1], number=1, fence=1, started_at=now, write_begun_at=now)
    found = verdict(COUPON)
    assert (found.uncertain, found.unfounded) == ({KILLED: 1}, [])
    AttemptBody.objects.create(attempt=tried, exchanges=[{"kind": "write", "status": status, "answer": answer}])
    found = verdict(COUPON)
    assert (found.uncertain, len(found.unfounded)) == ({why: 1}, why == "unfounded")


def test_answers_that_the_vendors_lost_are_counted_by_how() -> None:
    seen = [
        {"method": method, "fault": fault and asdict(fault)}
        for method in ("GET", "POST")
        for fault in (None, *(fault for _, fault in FAULTS))
    ]
    assert lost_answers(seen) == {NO_ANSWER: 4, TROUBLE: 4, PAGE: 1}


def planned(seed: int) -> list[Fault | None]:
    unruly = Unruly(seed, MOST, 0)
    try:
        asked = [Request("POST", f"/gifts/c{person}", "", {}, b"{}") for person in range(50) for _ in range(MOST + 1)]
        return [unruly.fault_for("api", request) for request in asked]
    finally:
        unruly.server_close()


def test_the_plan_follows_from_the_seed_and_ends_for_each_address() -> None:
    first = planned(1)
    assert first == planned(1)
    assert first != planned(2)
    assert any(first)
    assert not any(first[MOST :: MOST + 1])
