"""Look what is wrong, keep one open alert of each thing, and tell of what has changed.

Beat itself does this (`engage.beat`): when no worker runs, that is what has to be said. Of two beats one opens an alert, closes it
and writes: a unique index and conditional UPDATEs decide. A thing is over once it has been well for `SETTLED`, and an App's people
are written to at most once in `EVERY`, with all that has changed since: what comes and goes makes no storm. The note that something
was told follows the e-mail, so a beat that dies in between tells it twice rather than never.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from connectors.models import Connection, Health
from engage.alerts.models import Alert, AlertRules, Kind
from engage.tenancy import mail
from engage.tenancy.models import App
from prompts import recovery
from prompts.models import HELD_FOR_A_PERSON, Execution, State

SETTLED = timedelta(minutes=5)
EVERY = timedelta(minutes=5)
GAVE_UP_OF = timedelta(days=2)
"""What gave up within this time is counted."""
COUNTED = 1000
"""Executions are counted so far."""


class Wrong(NamedTuple):
    """A thing that is wrong."""

    kind: Kind
    subject: str
    text: str


def watch(now: datetime) -> int:
    """Look at every App. Returns how many e-mails left."""
    late = recovery.overdue_apps(2 * settings.ENGAGE_LEASE)
    sent = 0
    for app in App.objects.select_related("company"):
        rules = AlertRules.of(app)
        _keep(app, rules, list(_wrong(app, rules, now=now, late=app.pk in late)), now)
        sent += _tell(app, now)
    return sent


def _wrong(app: App, rules: AlertRules, *, now: datetime, late: bool) -> Iterator[Wrong]:
    for connection in Connection.objects.filter(app=app, active=True):
        if rules.attention and connection.health == Health.ATTENTION:
            yield Wrong(Kind.ATTENTION, str(connection.pk), f"{connection} needs attention: its actions wait.")
        if rules.paused and connection.closed_until is not None:
            text = f"{connection} is paused after repeated failures. It is tried again by itself."
            yield Wrong(Kind.PAUSED, str(connection.pk), text)
    mine = _actions(app)
    uncertain = _count(mine, Q(state=State.UNCERTAIN), rules.uncertain)
    if uncertain:
        yield Wrong(Kind.UNCERTAIN, "", f"Answers were lost, and nobody has said whether it happened: {uncertain}.")
    held = _count(mine, Q(state=State.HELD, reason__in=HELD_FOR_A_PERSON), rules.held)
    if held:
        yield Wrong(Kind.HELD, "", f"Actions are on hold until a person decides: {held}.")
    gave_up = _count(mine, _gave_up_by(now), rules.gave_up)
    if gave_up:
        yield Wrong(Kind.GAVE_UP, "", f"Actions of the last two days gave up: {gave_up}.")
    if rules.overdue and late:
        yield Wrong(Kind.OVERDUE, "", "Work is overdue: no worker carries it out, or too few do.")


def _actions(app: App) -> QuerySet[Execution]:
    return Execution.objects.filter(app=app, is_forward=False)


def _gave_up_by(moment: datetime) -> Q:
    return Q(state=State.GAVE_UP, settled_at__gte=moment - GAVE_UP_OF)


def _count(rows: QuerySet[Execution], which: Q, least: int) -> str:
    """Return how many rows there are, in words; "" for fewer than `least`, or when that is 0."""
    count = rows.filter(which)[:COUNTED].count() if least else 0
    if count < max(1, min(least, COUNTED)):
        return ""
    return f"{count:,} or more" if count == COUNTED else str(count)


def _keep(app: App, rules: AlertRules, wrong: list[Wrong], now: datetime) -> None:
    """Open, renew and close alerts.

    Where no more actions give up, but those that did stand as they are, nothing is well again: that ends without a word, and the
    next ones to give up are told of.
    """
    open_ones = {(alert.kind, alert.subject): alert for alert in Alert.objects.filter(app=app, closed_at=None)}
    for kind, subject, text in wrong:
        alert = open_ones.pop((kind, subject), None)
        if alert is None:
            _open(Alert(app=app, kind=kind, subject=subject, text=text[:200], opened_at=now))
        elif alert.well_since is not None or alert.text != text[:200]:
            Alert.objects.filter(pk=alert.pk, closed_at=None).update(well_since=None, text=text[:200])
    for alert in open_ones.values():
        mine = Alert.objects.filter(pk=alert.pk, closed_at=None)
        if alert.well_since is None:
            mine.update(well_since=now)
        else:
            still = alert.kind == Kind.GAVE_UP and _count(_actions(app), _gave_up_by(alert.opened_at), rules.gave_up)
            mine.filter(well_since__lte=now - SETTLED).update(closed_at=now, told_over_at=now if still else None)


def _open(alert: Alert) -> None:
    try:
        with transaction.atomic():
            alert.save(force_insert=True)
    except IntegrityError:
        pass  # another beat has seen it in the same moment


def untold(app: App) -> list[Alert]:
    """Return the alerts of which something is to be told: that they began, or that what was told is over."""
    began = Q(told_at=None, closed_at=None)
    over = Q(told_at__isnull=False, told_over_at=None, closed_at__isnull=False)
    return list(Alert.objects.filter(began | over, app=app).order_by("closed_at", "opened_at"))


def _tell(app: App, now: datetime) -> int:
    news = untold(app)
    if not news:
        return 0
    rules, _ = AlertRules.objects.get_or_create(app=app)
    turn = AlertRules.objects.filter(Q(mailed_at=None) | Q(mailed_at__lte=now - EVERY), pk=rules.pk)
    if not turn.update(mailed_at=now):
        return 0
    recipients = rules.recipients()
    began = [alert for alert in news if alert.closed_at is None]
    over = [alert for alert in news if alert.closed_at is not None]
    told_first = began or over
    what = told_first[0].text if len(told_first) == 1 else f"{len(told_first)} things"
    subject = f"{'Alert' if began else 'Over'}: {what} ({app.name})"
    context = {"app": app, "began": began, "over": over}
    taken = [mail.send(user.email, subject, "alerts/mail.txt", context) for user in recipients]
    if any(taken) or not recipients:
        Alert.objects.filter(pk__in=[alert.pk for alert in began]).update(told_at=now)
        Alert.objects.filter(pk__in=[alert.pk for alert in over]).update(told_over_at=now)
    return sum(taken)
