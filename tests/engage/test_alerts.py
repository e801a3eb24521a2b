"""Alerts: once when something begins, once when it is over, to those who want to hear."""

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Barrier, Thread
from types import SimpleNamespace

import pytest
from celery import current_app
from django.core import mail
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from connectors.models import Connection, Health
from engage import dashboard
from engage.alerts.models import Alert, AlertRules, Kind
from engage.alerts.watch import EVERY, GAVE_UP_OF, SETTLED, watch
from engage.audit.models import Entry
from engage.beat import WATCH, Scheduler
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from prompts.models import Execution, State
from tests import factories

PAGE = "/console/alerts/alert/"
RULES = {"attention": "on", "paused": "on", "overdue": "on", "uncertain": "1", "held": "1", "gave_up": "5"}
Console = Callable[[Role], Client]


@pytest.fixture
def account(app: App) -> Connection:
    """A connection of an App with two administrators and a designer."""
    for role in (Role.COMPANY_ADMIN, Role.APP_ADMIN, Role.APP_MEMBER):
        factories.person(app, role, email=f"{role}@example.com")
    found: Connection = factories.ConnectionFactory(app=app)
    return found


ADMINISTRATORS = ["app_admin@example.com", "company_admin@example.com"]


def written() -> dict[str, list[str]]:
    """Return and forget what was written: subject -> to whom."""
    found: dict[str, list[str]] = {}
    for message in mail.outbox:
        found.setdefault(str(message.subject), []).extend(message.to)
    mail.outbox.clear()
    return found


def execution(account: Connection, state: str, age: timedelta = timedelta(0), **more: object) -> Execution:
    moment = timezone.now() - age
    row: Execution = factories.ExecutionFactory(
        binding__prompt__app=account.app,
        binding__connection=account,
        state=state,
        created_at=moment,
        settled_at=moment if state == State.GAVE_UP else None,
        due_at=moment if state == State.QUEUED else None,
        **more,
    )
    return row


def attention(account: Connection) -> None:
    Connection.objects.filter(pk=account.pk).update(health=Health.ATTENTION, attention="The key hunter2 was refused.")


def paused(account: Connection) -> None:
    Connection.objects.filter(pk=account.pk).update(closed_until=timezone.now() - timedelta(seconds=5))


def overdue(account: Connection) -> None:
    execution(account, State.QUEUED, timedelta(seconds=125))


def lease_over(account: Connection) -> None:
    execution(account, State.RUNNING, lease_until=timezone.now() - timedelta(seconds=125))


def gave_up(account: Connection) -> None:
    for _ in range(5):
        execution(account, State.GAVE_UP, timedelta(hours=21))


def uncertain(account: Connection) -> None:
    execution(account, State.UNCERTAIN)


def held(account: Connection) -> None:
    execution(account, State.HELD, reason="daily_limit")
    execution(account, State.HELD, reason="too_old")


@pytest.mark.parametrize(
    ("begin", "kind", "subject"),
    [
        (attention, Kind.ATTENTION, "Alert: Cleeng needs attention: its actions wait. (Streamly)"),
        (
            paused,
            Kind.PAUSED,
            "Alert: Cleeng is paused after repeated failures. It is tried again by itself. (Streamly)",
        ),
        (
            overdue,
            Kind.OVERDUE,
            "Alert: Work is overdue: no worker carries it out, or too few do. (Streamly)",
        ),
        (
            lease_over,
            Kind.OVERDUE,
            "Alert: Work is overdue: no worker carries it out, or too few do. (Streamly)",
        ),
        (gave_up, Kind.GAVE_UP, "Alert: Actions of the last two days gave up: 5. (Streamly)"),
        (
            uncertain,
            Kind.UNCERTAIN,
            "Alert: Answers were lost, and nobody has said whether it happened: 1. (Streamly)",
        ),
        (held, Kind.HELD, "Alert: Actions are on hold until a person decides: 2. (Streamly)"),
    ],
)
def test_what_begins_and_what_is_over_is_told_once_to_the_administrators(
    account: Connection,
    other_app: App,
    console: Console,
    begin: Callable[[Connection], None],
    kind: str,
    subject: str,
) -> None:
    factories.person(other_app, Role.APP_ADMIN, email="stranger@example.com")
    begin(account)
    now = timezone.now()
    assert watch(now) == 2
    bodies = "".join(str(message.body) for message in mail.outbox)
    assert written() == {subject: ADMINISTRATORS}
    assert f"http://testserver{PAGE}" in bodies
    assert "hunter2" not in bodies
    assert not any(row.subscriber.user_id in bodies for row in Execution.objects.select_related("subscriber"))
    assert watch(now + EVERY) == 0
    alert = Alert.objects.get()
    assert (alert.kind, alert.app) == (kind, account.app)
    page = console(Role.READ_ONLY).get(PAGE)
    [(_, links)] = page.context["open_ones"]
    assert all(console(Role.READ_ONLY).get(link).status_code in {200, 302} for _, link in links)

    Execution.objects.update(state=State.DONE)
    Connection.objects.update(health=Health.HEALTHY, closed_until=None)
    for later in (EVERY * 2, EVERY * 2 + SETTLED / 2, EVERY * 2 + SETTLED, EVERY * 3 + SETTLED):
        watch(now + later)
    assert written() == {subject.replace("Alert", "Over"): ADMINISTRATORS}
    assert Alert.objects.get().closed_at == now + EVERY * 2 + SETTLED


@pytest.mark.parametrize(
    "make",
    [
        lambda account: execution(account, State.QUEUED, timedelta(seconds=110)),
        lambda account: [execution(account, State.GAVE_UP, timedelta(hours=21)) for _ in range(4)],
        lambda account: [execution(account, State.GAVE_UP, GAVE_UP_OF + timedelta(hours=1)) for _ in range(6)],
        lambda account: Connection.objects.filter(pk=account.pk).update(active=False, health=Health.ATTENTION),
        # What its connection holds goes on by itself.
        lambda account: execution(account, State.HELD, reason="credentials"),
        # What its own connection keeps waiting is not overdue.
        lambda account: [
            execution(account, State.QUEUED, timedelta(hours=1)),
            Connection.objects.update(closed_until=timezone.now() + timedelta(minutes=5), active=False),
        ],
    ],
)
def test_what_is_not_wrong_yet_is_not_told(account: Connection, make: Callable[[Connection], object]) -> None:
    make(account)
    assert watch(timezone.now()) == 0
    assert not Alert.objects.exists()


def test_answers_of_any_age_that_give_up_now_are_told_of(account: Connection) -> None:
    gave_up(account)
    Execution.objects.update(created_at=timezone.now() - timedelta(days=5))
    watch(timezone.now())
    assert Alert.objects.get().kind == Kind.GAVE_UP
    texts = [need.text for need in dashboard.needs(account.app)]
    Execution.objects.update(created_at=timezone.now() - timedelta(days=9))
    assert texts == [need.text for need in dashboard.needs(account.app)] == ["5 actions gave up this week"]
    Execution.objects.update(settled_at=timezone.now() - timedelta(days=8))
    assert dashboard.needs(account.app) == []


def goes_quiet(now: datetime) -> None:
    """The watch looks on until what happened is too long ago to be counted."""
    later = now + GAVE_UP_OF + EVERY
    for moment in (later, later + SETTLED, later + SETTLED + EVERY):
        watch(moment)


def test_what_gave_up_and_stands_is_never_over(account: Connection) -> None:
    now = timezone.now()
    gave_up(account)
    watch(now)
    written()
    goes_quiet(now)
    assert Alert.objects.get().closed_at
    assert written() == {}
    Execution.objects.update(settled_at=now + 2 * GAVE_UP_OF)  # they are run again, and give up again
    watch(now + 2 * GAVE_UP_OF)
    assert list(written()) == ["Alert: Actions of the last two days gave up: 5. (Streamly)"]


def test_what_gave_up_is_over_when_somebody_has_seen_to_enough_of_it(account: Connection) -> None:
    now = timezone.now()
    gave_up(account)
    watch(now)
    written()
    one = Execution.objects.all()[0]
    Execution.objects.filter(pk=one.pk).update(state=State.DONE)
    goes_quiet(now)
    assert list(written()) == ["Over: Actions of the last two days gave up: 5. (Streamly)"]


def test_what_comes_and_goes_makes_no_storm(account: Connection) -> None:
    now = timezone.now()
    for step in range(60):  # half an hour, in which it breaks and works again every minute
        Connection.objects.update(closed_until=now if step % 4 < 2 else None)
        watch(now + step * timedelta(seconds=30))
    assert len(written()) == 1
    assert Alert.objects.count() == 1


def test_all_that_changes_within_five_minutes_is_one_e_mail(account: Connection) -> None:
    now = timezone.now()
    uncertain(account)
    watch(now)
    assert len(written()) == 1
    attention(account)
    gave_up(account)
    for seconds in (30, 60, 270):
        assert watch(now + timedelta(seconds=seconds)) == 0
    assert watch(now + EVERY) == 2
    assert written() == {"Alert: 2 things (Streamly)": ADMINISTRATORS}


def test_what_was_over_before_anybody_was_told_is_not_told(account: Connection) -> None:
    now = timezone.now()
    attention(account)
    watch(now)
    written()
    uncertain(account)
    AlertRules.objects.update(mailed_at=now + 2 * SETTLED)
    watch(now + timedelta(seconds=30))
    Execution.objects.update(state=State.DONE)
    for later in (1, 2 + SETTLED.total_seconds(), 4 * SETTLED.total_seconds()):
        watch(now + timedelta(seconds=30 + later))
    assert written() == {}
    assert Alert.objects.filter(closed_at__isnull=False, told_at=None).count() == 1


def test_a_mail_server_that_refuses_is_asked_again(account: Connection, settings: Settings) -> None:
    now = timezone.now()
    uncertain(account)
    good = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND, settings.EMAIL_PORT = "django.core.mail.backends.smtp.EmailBackend", 1
    assert watch(now) == 0
    settings.EMAIL_BACKEND = good
    assert watch(now + EVERY) == 2
    assert watch(now + 2 * EVERY) == 0


@pytest.mark.django_db(transaction=True)
def test_of_two_beats_one_tells(account: Connection) -> None:
    now = timezone.now()
    uncertain(account)
    attention(account)
    together = Barrier(3)

    def beat() -> None:
        together.wait(10)
        watch(now)
        connection.close()

    beats = [Thread(target=beat) for _ in range(3)]
    for thread in beats:
        thread.start()
    for thread in beats:
        thread.join()
    assert Alert.objects.count() == 2
    told = [to for to_whom in written().values() for to in to_whom]
    assert sorted(told) == ADMINISTRATORS


@pytest.mark.django_db(transaction=True)
def test_beat_keeps_the_watch_itself(account: Connection) -> None:
    overdue(account)
    scheduler = Scheduler(app=current_app, lazy=True)
    try:
        assert scheduler.apply_async(SimpleNamespace(task=WATCH)) is None
    finally:
        scheduler.close()
    assert Alert.objects.get().told_at is not None
    assert list(written().values()) == [ADMINISTRATORS]


class TestRules:
    def test_administrators_choose_what_is_told_and_to_whom(self, account: Connection, console: Console) -> None:
        [boss] = [user for user in AlertRules.of(account.app).administrators() if user.email.startswith("company")]
        client = console(Role.APP_ADMIN)
        form = {**RULES, "uncertain": "2", "gave_up": "0", "told": [str(boss.pk)]}
        assert client.post(PAGE, form).status_code == 302
        entry = Entry.objects.get(kind="alertrules")
        assert entry.changes["uncertain"] == [1, 2]
        assert entry.changes["told"][1] == ["company_admin@example.com"]
        uncertain(account)
        gave_up(account)
        assert watch(timezone.now()) == 0
        uncertain(account)
        assert watch(timezone.now()) == 1
        assert list(written().values()) == [["company_admin@example.com"]]
        factories.person(account.app, Role.APP_ADMIN, email="new@example.com")
        assert "new@example.com" in [user.email for user in AlertRules.of(account.app).recipients()]

    def test_nobody_chosen_is_said_and_nobody_is_written_to(self, account: Connection, console: Console) -> None:
        client = console(Role.APP_ADMIN)
        client.post(PAGE, {"uncertain": "1", "held": "1", "gave_up": "5"})
        assert "Nobody is written to." in client.get(PAGE).content.decode()
        attention(account)
        uncertain(account)
        assert watch(timezone.now()) == 0
        assert Alert.objects.get().kind == Kind.UNCERTAIN

    @pytest.mark.parametrize("role", [Role.APP_MEMBER, Role.READ_ONLY])
    def test_others_look(self, account: Connection, console: Console, role: Role) -> None:
        client = console(role)
        assert "Who is written to" not in client.get(PAGE).content.decode()
        assert client.post(PAGE, RULES).status_code == 403
        assert not AlertRules.objects.exists()

    @pytest.mark.parametrize("wrong", ["-1", "many", ""])
    def test_what_is_no_number_is_refused(self, account: Connection, console: Console, wrong: str) -> None:
        assert console(Role.APP_ADMIN).post(PAGE, {**RULES, "uncertain": wrong}).status_code == 200
        assert not AlertRules.objects.exists()
