"""The first page: what needs a person, the first steps of a new App, and how the last week went."""

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core.cache import cache
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import TruncDate
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from connectors.models import Connection, Health
from engage.tenancy import current
from engage.tenancy.models import ApiKey, App, DeliveryMode, KeyKind
from engage.tenancy.roles import Right
from prompts import recovery
from prompts.models import Binding, Execution, PromptEvent, PromptStatus, State
from sync.models import ImportRun, RunState, Subscriber, Trait

DAYS = 7
STUCK_AFTER = timedelta(hours=1)
MOST_COUNTED = 1000
"""How far the executions that wait for a person are counted; more of them are no other news."""
COUNTED_FOR = 60
"""Seconds for which the week's bars are shown as they were counted: a busy App has a million executions in them."""


@dataclass(frozen=True)
class Banner:
    """What stands above every page while not everybody is served."""

    icon: str
    text: str
    link: str = ""
    link_text: str = ""


@dataclass(frozen=True)
class Need:
    """Something that waits for a person, and where to see to it."""

    icon: str
    text: str
    link: str


@dataclass(frozen=True)
class Step:
    """One of the first steps of a new App."""

    text: str
    help: str
    done: bool
    link: str
    right: Right = Right.LOOK


@dataclass(frozen=True)
class Bar:
    """The executions of one group on one day; `start` and `width` in per cent of the busiest day."""

    key: str
    count: int
    start: float
    width: float


@dataclass(frozen=True)
class Day:
    """How the executions of one day stand."""

    date: date
    bars: list[Bar]


GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("done", "Done", (State.DONE, State.HANDED_OVER)),
    ("open", "Under way", (State.QUEUED, State.RUNNING, State.WAITING, State.PENDING, State.BLOCKED, State.HELD)),
    ("trouble", "Failed or unknown", (State.UNCERTAIN, State.GAVE_UP, State.REJECTED)),
    ("quiet", "Nothing to do", (State.SKIPPED, State.NOT_SENT, State.CLOSED)),
)


def test_subscribers(app: App) -> int:
    """Count the subscribers that are served in test mode now."""
    mine = Subscriber.objects.filter(app=app, is_test=True)
    return mine.filter(Q(test_until=None) | Q(test_until__gt=timezone.now())).count()


def banner(request: HttpRequest) -> Banner | None:
    """Return what to say above every page: nothing while the App is live."""
    app = current.current_app_or_none(request)
    if app is None or app.delivery_mode == DeliveryMode.LIVE:
        return None
    link, words = (_link("tenancy_app_changelist"), "Change") if current.may(request, Right.MANAGE_APP) else ("", "")
    if app.delivery_mode == DeliveryMode.NOBODY:
        return Banner(
            "pause_circle", "Nobody: no subscriber is served. What happens is recorded, not sent.", link, words
        )
    count = test_subscribers(app)
    if not count:
        text = "Test mode: nobody is served, since there is no test subscriber. What happens is recorded, not sent."
        return Banner("science", text, link, words)
    who = "1 test subscriber is" if count == 1 else f"{count} test subscribers are"
    return Banner("science", f"Test mode: only {who} served. The rest is recorded, not sent.", link, words)


def overview(request: HttpRequest) -> dict[str, Any]:
    """Return the dashboard's template context."""
    app = current.current_app(request)
    steps = [step if current.may(request, step.right) else replace(step, link="") for step in first_steps(app)]
    return {
        "needs": needs(app),
        "steps": steps if not all(step.done for step in steps) else [],
        "steps_done": sum(step.done for step in steps),
        "week": cache.get_or_set(f"week:{app.pk}", lambda: week(app), COUNTED_FOR),
        "week_groups": [(key, label) for key, label, _ in GROUPS],
    }


def needs(app: App) -> list[Need]:
    """Return what waits for a person in this App, the most pressing first."""
    since, stuck = timezone.now() - timedelta(days=DAYS), timezone.now() - STUCK_AFTER
    mine = Execution.objects.filter(app=app)
    actions = mine.filter(is_forward=False)
    gave_up = {"state": State.GAVE_UP, "settled_at__gte": since}
    connections = Connection.objects.filter(app=app, active=True)
    imports = ImportRun.objects.filter(app=app, state=RunState.FAILED, started_at__gte=since).count()
    live = "prompts_execution_changelist"
    waiting = [
        (
            _counted(mine.filter(state=State.UNCERTAIN)),
            "help",
            "answer was lost: did it happen?",
            "answers were lost: did it happen?",
            _link(live, state="uncertain"),
        ),
        *[
            (
                1,
                "extension_off",
                f"connection needs attention: {connection}",
                "",
                _link("connectors_connection_change", connection.pk),
            )
            for connection in connections.filter(health=Health.ATTENTION)
        ],
        (
            _counted(actions.filter(**gave_up)),
            "error",
            "action gave up this week",
            "actions gave up this week",
            _link(live, state="gave_up"),
        ),
        (
            _counted(actions.filter(state=State.WAITING, created_at__lte=stuck)),
            "update",
            "action has been tried for over an hour",
            "actions have been tried for over an hour",
            _link(live, state="waiting"),
        ),
        (
            _counted(actions.filter(state=State.HELD)),
            "pause_circle",
            "action is on hold",
            "actions are on hold",
            _link(live, state="held"),
        ),
        (
            _counted(mine.filter(is_forward=True, **gave_up)),
            "monitoring",
            "event could not be forwarded this week",
            "events could not be forwarded this week",
            _link(live, state="gave_up", forwards="on"),
        ),
        (
            imports,
            "upload_file",
            "import failed this week",
            "imports failed this week",
            _link("sync_importrun_changelist", state__exact="failed"),
        ),
    ]
    return [
        *_late(app),
        *(_paused(connection, actions) for connection in connections.filter(closed_until__isnull=False)),
        *(
            Need(icon, f"{_number(count)} {one if count == 1 else many}", link)
            for count, icon, one, many, link in waiting
            if count
        ),
    ]


def _late(app: App) -> list[Need]:
    if app.pk not in recovery.overdue_apps(2 * settings.ENGAGE_LEASE):
        return []
    text = "Work is overdue: no worker carries it out, or too few do"
    return [Need("running_with_errors", text, _link("prompts_execution_changelist"))]


def _paused(connection: Connection, actions: QuerySet[Execution]) -> Need:
    """Return the pause as it stands in the connection's row: an alert of it is only kept while its rule is on."""
    count = _counted(actions.filter(connection=connection, state=State.WAITING))
    if not count:
        return Need("pause_circle", f"{connection} is paused", _link("connectors_connection_change", connection.pk))
    text = f"{connection} is paused: {_number(count)} {'action waits' if count == 1 else 'actions wait'}"
    return Need(
        "pause_circle",
        text,
        _link("prompts_execution_changelist", state="waiting", connector=connection.connector),
    )


def _counted(rows: QuerySet[Execution]) -> int:
    return rows[: MOST_COUNTED + 1].count()


def _number(count: int) -> str:
    return f"{count:,}" if count <= MOST_COUNTED else f"More than {MOST_COUNTED:,}"


def first_steps(app: App) -> list[Step]:
    """Return the way from a new App to a live one, and how far it has come."""
    events = PromptEvent.objects.filter(app=app)
    bindings = Binding.objects.filter(prompt__app=app, archived_at=None)
    keys = ApiKey.objects.filter(app=app, revoked_at=None)
    return [
        Step(
            "Connect a vendor",
            "Enter the API key, test it and switch the connection on.",
            Connection.objects.filter(app=app, active=True).exists(),
            _link("connectors_connection_changelist"),
        ),
        Step(
            "Import user traits",
            "The vendor's ids of your subscribers, from CSV files in S3.",
            Trait.objects.filter(app=app).exists(),
            _link("sync_source_changelist"),
        ),
        Step(
            "Install the script",
            "Put engage.js and a publishable key on your pages, and sign your subscribers' identity.",
            keys.filter(kind=KeyKind.PUBLISHABLE, last_used_at__isnull=False).exists(),
            _link("tenancy_apikey_changelist"),
            Right.MANAGE_KEYS,
        ),
        Step(
            "Name a test subscriber",
            "Somebody of your own: while in test mode only they are shown prompts.",
            Subscriber.objects.filter(app=app, is_test=True).exists(),
            _link("prompts_test_subscribers"),
            Right.TEST_PROMPTS,
        ),
        Step(
            "Make a prompt and bind an action",
            "Choose what happens when a person accepts.",
            bindings.exists(),
            _link("prompts_prompt_changelist"),
        ),
        Step(
            "Test it",
            "See one action done for a test subscriber.",
            events.filter(is_test=True, executions__is_forward=False, executions__state=State.DONE).exists(),
            _link("prompts_execution_changelist"),
        ),
        Step(
            "Go live",
            "Serve everybody.",
            app.delivery_mode == DeliveryMode.LIVE and events.filter(prompt__status=PromptStatus.LIVE).exists(),
            _link("tenancy_app_changelist"),
        ),
    ]


def week(app: App) -> list[Day]:
    """Return the last seven days in the App's time zone, today last, each with its executions by group."""
    zone = app.zone
    today = timezone.now().astimezone(zone).date()
    days = [today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    rows = (
        Execution.objects.filter(app=app, is_forward=False, created_at__gte=datetime.combine(days[0], time.min, zone))
        .values_list(TruncDate("created_at", tzinfo=zone), "state")
        .annotate(count=Count("pk"))
        .order_by()
    )
    group_of = {state: key for key, _, states in GROUPS for state in states}
    counts: dict[date, dict[str, int]] = {day: defaultdict(int) for day in days}
    for day, state, count in rows:
        if day in counts:
            counts[day][group_of[state]] += count
    most = max(1, *(sum(by_group.values()) for by_group in counts.values()))
    return [Day(day, _bars(counts[day], most)) for day in days]


def _bars(counts: dict[str, int], most: int) -> list[Bar]:
    bars, start = [], 0.0
    for key, _, _ in GROUPS:
        width = 100 * counts[key] / most
        bars.append(Bar(key, counts[key], start, width))
        start += width
    return bars


def _link(name: str, *args: Any, **query: str) -> str:
    return reverse(f"admin:{name}", args=args) + (f"?{urlencode(query)}" if query else "")
