"""A vendor account of an App: saving, testing and switching it, and whether it is healthy.

Nothing here changes a row that somebody else has changed meanwhile. What was decided on a row read earlier names its state
(`updated_at`, which only a person's save moves) and looks at the row count; storing, archiving and removing lock the row first.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Coalesce
from django.dispatch import Signal
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from connectors import activity, breaker, catalogues, runner, scripts
from connectors.base import Connector, ProbeLine
from connectors.forms import SettingsForm
from connectors.models import Connection, Health
from connectors.registry import connector_or_none
from connectors.runner import ProbeReport
from engage.audit.record import Changes, differences, record
from engage.tenancy import current
from engage.tenancy.models import App, User
from engage.vault.fields import Unreadable

switched_on = Signal()
"""A connection was switched on. Sent in the transaction that does it, with `connection`, `choice` ("run", "review" or
"close": what becomes of its held actions) and `by` (the person's e-mail address)."""

became_healthy = Signal()
"""An active connection that needed attention passed its test, or a part of it did. Sent in the transaction that says so, with
`connection` and `held_since` (since when its actions waited)."""

# Of executions, which belong to a higher room: the states in which one waits for its connection, or is on its way.
WAITING_STATES = ("queued", "waiting", "pending", "running", "held", "blocked")
HELD = "held"
ITSELF = "Engage"  # who did it, in the history, where no person did


class ChangedMeanwhile(Exception):
    """Somebody saved the connection after this person had opened it. Nothing was changed."""

    def __init__(self, connection: Connection | None) -> None:
        super().__init__("The connection was changed meanwhile.")
        self.connection = connection


class NameTaken(Exception):
    """The App has another connection of this connector under this name. Nothing was changed."""


class InUse(Exception):
    """A prompt names it, or an action of it is on its way. Nothing was changed."""


@dataclass(frozen=True)
class Wish:
    """What a person wants of the switch when they save: `held` is one of `forms.HELD_CHOICES`."""

    active: bool
    untested: bool = False
    held: str = "review"


@dataclass(frozen=True)
class Saved:
    """What came of a save. `report` is None where no test was run."""

    connection: Connection
    changed: bool
    report: ProbeReport | None = None


# --- looking ----------------------------------------------------------------------------------------------------------------


def of_app(app: App, declared: Connector, key: UUID | None = None) -> Connection | None:
    """Return the App's connection of this connector, if it is set up.

    Args:
        key: which one, where an App may have several; None for one that is being added.

    """
    rows = Connection.objects.select_related("app", "tested_by", "secrets_set_by").filter(
        app=app, connector=declared.key
    )
    if declared.several:
        return rows.filter(pk=key).first() if key else None
    return rows.filter(name="").first()


def stamp(connection: Connection | None) -> str:
    """Return what a form carries, to find out at saving whether somebody saved in between."""
    return connection.updated_at.isoformat() if connection else ""


def hook_url(connection: Connection) -> str:
    """Return the address to which this connection's vendor sends its webhooks."""
    return f"{settings.ENGAGE_BASE_URL}{reverse('hook', args=[connection.pk])}"


def live_prompts(connection: Connection) -> int:
    """Return how many live prompts use a connection."""
    used = connection.bindings.filter(archived_at=None, prompt__status="live", prompt__archived_at=None)
    return used.values("prompt").distinct().count()


def waiting_executions(connection: Connection) -> int:
    """Return how many executions are on their way through a connection."""
    return connection.executions.filter(state__in=WAITING_STATES).count()


def was_used(connection: Connection) -> bool:
    """Whether the history names it: a prompt that has or had it, or an execution."""
    return bool(connection.bindings.exists() or connection.executions.exists())


def held_executions(connection: Connection) -> int:
    """Return how many executions are on hold."""
    return connection.executions.filter(state=HELD).count()


# --- testing ----------------------------------------------------------------------------------------------------------------


def probe_typed(form: SettingsForm) -> ProbeReport:
    """Test what is typed, before anything is saved. A secret left blank is the stored one, for the same account only."""
    try:
        settings = {**form.new_settings, **form.secrets_in_force()}
    except Unreadable:
        return _unreadable()
    return runner.probe(form.declared, settings, None if form.another_account else form.connection)


def probe_stored(connection: Connection, *, by: User | None = None) -> ProbeReport:
    """Test what is stored, and keep what came of it.

    A test that passes clears attention. One that finds the credentials refused by the vendor sets it where the connection
    is active; any other failure may be over in a minute and only stands in the result. Where no test proves the secrets,
    only a person's clears attention. `connection` stays as it was tested, so that what follows can name it.
    """
    declared = connector_or_none(connection.connector)
    if declared is None:
        text = "This version of Engage has no such connector any more."
        return ProbeReport(False, text, [ProbeLine(False, text)])
    try:
        report = runner.probe(declared, connection.everything(), connection)
    except Unreadable:
        report = _unreadable()
    kept = Connection.objects.filter(pk=connection.pk, updated_at=connection.updated_at).update(
        tested_at=timezone.now(),
        tested_by=by,
        test_passed=report.passed,
        test_result=[[line.ok, line.text] for line in report.lines],
    )
    if kept and report.passed and (by is not None or declared.probe_proves_secrets):
        mark_healthy(connection)
        breaker.try_at_once(connection.pk)
    elif kept and connection.active and report.bad_credentials:
        mark_attention(connection, report.message, report.failed_parts)
    return report


def _unreadable() -> ProbeReport:
    text = "The stored secrets cannot be opened. Enter them again."
    return ProbeReport(False, text, [ProbeLine(False, text)], bad_credentials=True)


# --- saving -----------------------------------------------------------------------------------------------------------------


def save(app: App, form: SettingsForm, wish: Wish, *, seen: str, request: HttpRequest) -> Saved:
    """Store what was typed, then test it, then switch.

    The row comes first: whatever happens at the vendor, the typing is kept. Active needs a passed test of exactly what is
    stored, or the wish to go without; a connection that is on already and fails after a change stays on and needs
    attention: its actions wait, and go on by themselves when a later test passes.

    Args:
        form: a valid form of the App's connection.
        seen: `stamp()` of the row that the person had opened.
        request: whose person is recorded.

    Raises:
        ChangedMeanwhile: somebody else saved in between, or during the test; in that case what was typed was stored before it.
        NameTaken: the name is another one's.
        Unreadable: a secret was left blank, and the stored ones cannot be opened.

    """
    connection, changed = _store(app, form, seen=seen, request=request)
    by = current.person_or_none(request)
    if not wish.active:
        if connection.active:
            switch_off(connection, request=request)
        return Saved(connection, changed)
    if wish.untested and not connection.active:
        switch_on(connection, choice=wish.held, request=request)
        return Saved(connection, changed)
    report = probe_stored(connection, by=by)
    if report.passed:
        was_off = not connection.active
        if was_off:
            switch_on(connection, choice=wish.held, request=request)
        if changed or was_off:
            catalogues.refresh(connection)
    elif connection.active and changed:
        mark_attention(connection, report.message, report.failed_parts)
    connection.refresh_from_db()
    return Saved(connection, changed, report)


@transaction.atomic
def _store(app: App, form: SettingsForm, *, seen: str, request: HttpRequest) -> tuple[Connection, bool]:
    """Store settings and secrets. Returns the row and whether anything changed."""
    rows = Connection.objects.select_for_update().filter(app=app, connector=form.declared.key)
    if form.declared.several:
        row = rows.filter(pk=form.connection.pk).first() if form.connection else None
        if any(other.pk != (row and row.pk) for other in rows.filter(name=_name(form))):
            raise NameTaken
    else:
        row = rows.filter(name="").first()
    if stamp(row) != seen:
        raise ChangedMeanwhile(row)
    if row is None:
        return _create(app, form, request), True
    form.connection = row
    if form.is_as_stored:
        return row, False
    before = dict(row.settings)
    row.settings, row.name = form.new_settings, _name(form)
    secrets, another_account = form.secrets_in_force(), form.another_account
    if another_account:
        row.generation += 1
        catalogues.forget(row)
        breaker.forget(row)
    if form.typed_secrets or another_account or secrets.keys() != row.secrets_set.keys():
        row.seal(secrets)
        row.secrets_set_at, row.secrets_set_by = timezone.now(), current.person_or_none(request)
    row.tested_at = row.tested_by = row.test_passed = None
    row.test_result = []
    if row.health == Health.HEALTHY:
        row.health = Health.UNKNOWN
    row.save()
    record("changed", row, {**differences(before, row.settings), **_replaced(form)}, request=request)
    if row.active:
        _publish(row, request)
    return row, True


def _create(app: App, form: SettingsForm, request: HttpRequest) -> Connection:
    row = Connection(app=app, connector=form.declared.key, name=_name(form), settings=form.new_settings)
    row.seal(form.typed_secrets)
    if form.typed_secrets:
        row.secrets_set_at, row.secrets_set_by = timezone.now(), current.person_or_none(request)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        if form.declared.several:
            raise NameTaken from None
        raise ChangedMeanwhile(of_app(app, form.declared)) from None
    record("created", row, {**differences({}, row.settings), **_replaced(form)}, request=request)
    return row


def _name(form: SettingsForm) -> str:
    return str(form.new_settings["name"]) if form.declared.several else ""


def _replaced(form: SettingsForm) -> Changes:
    return {name: [None, "replaced"] for name in form.typed_secrets}


def _publish(connection: Connection, request: HttpRequest) -> None:
    """Let browsers load what this connection's actions run, before an instruction can name it."""
    declared = connector_or_none(connection.connector)
    if declared and (text := declared.script(connection.settings)):
        scripts.publish(connection, text, by=current.person_or_none(request))


# --- switching --------------------------------------------------------------------------------------------------------------


@transaction.atomic
def switch_on(connection: Connection, *, choice: str, request: HttpRequest) -> None:
    """Let a connection's actions leave from now on; what becomes of the held ones, `choice` says.

    Raises:
        ChangedMeanwhile: it is no longer the row that was tested.

    """
    waiting = Case(When(health=Health.ATTENTION, then=F("held_since")), default=Value(None))
    _switch(connection, on=True, held_since=waiting)
    record("switched on", connection, {"active": [False, True]}, request=request)
    _publish(connection, request)
    person = current.person_or_none(request)
    switched_on.send(sender=Connection, connection=connection, choice=choice, by=person.email if person else "")


@transaction.atomic
def switch_off(connection: Connection, *, request: HttpRequest) -> None:
    """Hold a connection's actions from now on.

    Raises:
        ChangedMeanwhile: it is no longer the row that the person looked at.

    """
    _switch(connection, on=False, held_since=Coalesce("held_since", timezone.now()))
    record("switched off", connection, {"active": [True, False]}, request=request)


def _switch(connection: Connection, *, on: bool, held_since: Case | Coalesce) -> None:
    unchanged = Connection.objects.filter(pk=connection.pk, updated_at=connection.updated_at, active=not on)
    if not unchanged.update(active=on, held_since=held_since, updated_at=timezone.now()):
        raise ChangedMeanwhile(Connection.objects.filter(pk=connection.pk).first())
    connection.refresh_from_db()


# --- taking away ------------------------------------------------------------------------------------------------------------


@transaction.atomic
def archive(connection: Connection, *, request: HttpRequest) -> None:
    """Offer it to nobody any more. What the history says of it stays; its secrets go.

    Raises:
        InUse: first its prompts let go of it, and what is on its way ends.

    """
    row = _unused(connection)
    row.archived_at, row.active, row.held_since = timezone.now(), False, None
    row.health, row.attention, row.attention_parts = Health.UNKNOWN, "", []
    row.seal({})
    row.tested_at = row.tested_by = row.test_passed = row.secrets_set_at = row.secrets_set_by = None
    row.test_result = []
    row.save()
    scripts.withdraw(row)
    record("archived", row, request=request)


@transaction.atomic
def remove(connection: Connection, *, request: HttpRequest) -> None:
    """Delete one that nothing ever used.

    Raises:
        InUse: the history names it.

    """
    row = _unused(connection)
    if was_used(row):
        raise InUse
    record("removed", row, request=request)
    row.delete()


@transaction.atomic
def bring_back(connection: Connection, *, request: HttpRequest) -> None:
    """Offer an archived one again: switched off, and without secrets."""
    if Connection.objects.filter(pk=connection.pk, archived_at__isnull=False).update(
        archived_at=None, updated_at=timezone.now()
    ):
        record("restored", connection, request=request)


def _unused(connection: Connection) -> Connection:
    """Lock a row that neither a prompt nor an execution under way needs."""
    row = Connection.objects.select_for_update().get(pk=connection.pk)
    if row.bindings.filter(archived_at=None, prompt__archived_at=None).exists() or waiting_executions(row):
        raise InUse
    return row


# --- health -----------------------------------------------------------------------------------------------------------------


@transaction.atomic
def mark_attention(connection: Connection, sentence: str, parts: Iterable[str] = ()) -> bool:
    """Say that a connection needs somebody: its actions wait. Returns whether it did not need anybody before.

    Nothing is said of one that a person has saved or switched since: what was refused is no longer what is stored.

    Args:
        connection: as it was when it was found wanting.
        parts: of the connector, whose actions alone wait (`Connector.parts`); none, or "" among them: all do.

    """
    rows = Connection.objects.filter(pk=connection.pk, updated_at=connection.updated_at)
    about = sorted(parts) if all(parts) else []
    newly = rows.exclude(health=Health.ATTENTION).update(
        health=Health.ATTENTION,
        attention=sentence,
        attention_parts=about,
        held_since=Coalesce("held_since", timezone.now()),
    )
    if newly:
        record("needs attention", rows.select_related("app").get(), {"attention": ["", sentence]}, actor=ITSELF)
        return True
    before = rows.select_for_update().filter(health=Health.ATTENTION).first()
    if before is None or (before.attention, before.attention_parts) == (sentence, about):
        return False
    rows.update(attention=sentence, attention_parts=about)
    lets_go = (about and set(before.attention_parts) - set(about)) or not before.attention_parts
    if about and lets_go and before.active:
        became_healthy.send(sender=Connection, connection=before, held_since=before.held_since)
    return False


def held_still(connection_id: UUID) -> Connection:
    """Return a connection as it is now; inside a transaction, until the end of which nobody else changes it."""
    return Connection.objects.select_for_update(no_key=True).get(pk=connection_id)


@transaction.atomic
def mark_healthy(connection: Connection) -> bool:
    """Say that a connection's test passed. Returns whether it had needed attention.

    Nothing is said of one that a person has saved or switched since: what passed is no longer what is stored. It is tested
    again, by that person or by `probe_held`.

    Args:
        connection: as it was tested.

    """
    rows = Connection.objects.filter(pk=connection.pk, updated_at=connection.updated_at)
    before = rows.filter(health=Health.ATTENTION).values_list("attention", "held_since").first()
    # What is switched off goes on waiting.
    waiting = Case(When(active=False, then=F("held_since")), default=Value(None))
    if before is None or not rows.filter(health=Health.ATTENTION).update(
        health=Health.HEALTHY, attention="", attention_parts=[], held_since=waiting
    ):
        rows.exclude(health__in=[Health.HEALTHY, Health.ATTENTION]).update(health=Health.HEALTHY)
        return False
    healthy = rows.select_related("app").get()
    sentence, held_since = before
    record("is healthy again", healthy, {"attention": [sentence, ""]}, actor=ITSELF)
    if healthy.active:
        became_healthy.send(sender=Connection, connection=healthy, held_since=held_since)
    return True


def probe_held() -> int:
    """Test every active connection that needs attention. Returns how many are healthy again."""
    held = Connection.objects.filter(Q(active=True), health=Health.ATTENTION)
    passed = 0
    for connection in held.select_related("app"):
        report = probe_stored(connection)
        # Not `updated_at`, which names the row that was tested.
        connection.refresh_from_db(fields=["health"])
        passed += connection.health == Health.HEALTHY
        if not report.passed and connection.health == Health.ATTENTION:
            mark_attention(connection, report.message, report.failed_parts)
    return passed


def last_problem(connection: Connection) -> tuple[str, datetime | None]:
    """Return the sentence of what went wrong last, and since when; empty where all is well."""
    if connection.health == Health.ATTENTION:
        return connection.attention, connection.held_since
    if paused := activity.pause(connection):
        return paused, None
    if connection.test_passed is False:
        return next(
            (text for ok, text in connection.test_result if ok is False), "The last test failed."
        ), connection.tested_at
    declared = connector_or_none(connection.connector)
    for state in connection.catalogue_states.all():
        if state.error and declared and state.catalogue in declared.catalogues:
            label = declared.catalogues[state.catalogue].label
            return f"{label} could not be refreshed: {state.error}", state.tried_at
    return "", None


def note_success(connection: Connection) -> None:
    """Remember that a call of this connection just succeeded; a minute's exactness is enough for people."""
    now = timezone.now()
    if connection.last_success_at is None or now - connection.last_success_at > timedelta(minutes=1):
        Connection.objects.filter(pk=connection.pk).update(last_success_at=now)
