"""Vendors that are read over their API: what becomes of their rows, and what of a reading that fails."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.db import connection as database
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from connectors.models import Connection
from connectors.vendors.recurly import pulls as recurly_pulls
from engage.audit.models import Entry
from engage.schedules import slots
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from sync import imports, pulls, schedule
from sync.imports import import_source
from sync.models import ImportRun, RunState, Source, Subscriber, Trait
from sync.storage import StorageProblem
from tests.factories import ConnectionFactory, SubscriberFactory
from tests.sync.vendor_pages import Answer, Pages, subscription, vendor_pages

KEY = "recurly-key-of-the-tests-0123456789"


@pytest.fixture
def vendor(settings: Settings) -> Iterator[Pages]:
    """A Recurly without anybody; what it asks us to wait is not waited for."""
    with vendor_pages() as pages:
        settings.ENGAGE_VENDOR_URLS = {"recurly": pages.url}
        settings.ENGAGE_PRIVATE_HOSTS = [pages.url.removeprefix("http://")]
        settings.ENGAGE_RETRY_DELAYS = [0.0] * 10
        yield pages


@pytest.fixture
def connection(app: App) -> Connection:
    """A connection that reads traits; account codes stand in account_code and account_number."""
    settings = {"region": "us", "use_account_code": True, "traits_for": "trait"}
    return ConnectionFactory(app=app, connector="recurly", settings=settings, secrets={"api_key": KEY})


@pytest.fixture
def source(connection: Connection) -> Source:
    return pulls.source_of(connection, "subscriptions")


def read(source: Source) -> ImportRun:
    """Read now, and return the run as it is stored."""
    summary = import_source(Source.objects.get(pk=source.pk), started_by="test")
    (run,) = summary.runs
    return ImportRun.objects.get(pk=run.pk)


def counts(run: ImportRun) -> dict[str, int]:
    names = ("read", "new", "changed", "unchanged", "superseded", "rejected", "unmatched", "shared")
    found = {name: getattr(run, f"rows_{name}") for name in names}
    return {name: value for name, value in found.items() if value}


def traits_of(app: App, user_id: str) -> dict[str, object]:
    return dict(Subscriber.objects.get(app=app, user_id=user_id).traits)


TOLD = {
    "state": "active",
    "currency": "USD",
    "total_recurring_amount": 9.99,
    "plan_code": "basic",
    "plan_name": "Basic",
}


def test_every_page_is_read_and_rows_become_traits(app: App, source: Source, vendor: Pages) -> None:
    vendor.lists["subscriptions"] = [subscription(f"a{n}") for n in range(450)]
    SubscriberFactory(app=app, user_id="ann", traits={"account_code": "a7", "kept": "yes", "canceled_at": "2026-01-01"})
    SubscriberFactory(app=app, user_id="bob", traits={"account_number": "a449"})
    SubscriberFactory(app=app, user_id="eve", traits={"account_number": "somebody else's"})
    run = read(source)
    assert (run.state, run.message) == (RunState.DONE, "")
    assert counts(run) == {"read": 450, "changed": 2, "unmatched": 448}
    assert run.object_key.startswith("Recurly subscriptions, read on ")
    assert traits_of(app, "ann") == {**TOLD, "account_code": "a7", "kept": "yes"}
    assert traits_of(app, "bob") == {**TOLD, "account_code": "a449", "account_number": "a449"}
    assert traits_of(app, "eve") == {"account_number": "somebody else's"}
    assert Subscriber.objects.count() == 3
    everything = {"limit": "200", "sort": "created_at", "order": "asc"}
    assert [query for _, query in vendor.queries] == [
        everything,
        *({**everything, "cursor": n} for n in ("200", "400")),
    ]
    assert Trait.objects.get(name="total_recurring_amount").type == "number"


def test_by_user_id_whoever_has_the_account_s_code(
    app: App, connection: Connection, source: Source, vendor: Pages
) -> None:
    Connection.objects.update(settings={"region": "us", "traits_for": "user_id"})
    vendor.lists["subscriptions"] = [subscription("ann-1"), subscription("bob-2")]
    SubscriberFactory(app=app, user_id="ann-1")
    SubscriberFactory(app=app, user_id="x", traits={"account_code": "bob-2"})
    assert counts(read(source)) == {"read": 2, "changed": 1, "unmatched": 1}
    assert traits_of(app, "ann-1") == {**TOLD, "account_code": "1-nna"}
    assert traits_of(app, "x") == {"account_code": "bob-2"}


def test_of_several_subscriptions_the_one_that_webhooks_tell_of(app: App, source: Source, vendor: Pages) -> None:
    vendor.lists["subscriptions"] = [
        subscription("a", state="active", plan={"code": "old"}, created_at="2026-01-01T00:00:00Z"),
        subscription("a", state="active", plan={"code": "newer"}, created_at="2026-02-01T00:00:00Z"),
        subscription("a", state="expired", plan={"code": "newest"}, created_at="2026-03-01T00:00:00Z"),
    ]
    SubscriberFactory(app=app, user_id="ann", traits={"account_code": "a"})
    assert counts(read(source)) == {"read": 3, "changed": 1, "superseded": 2}
    assert traits_of(app, "ann")["plan_code"] == "newer"


def test_an_id_that_several_have_and_one_that_too_many_have(app: App, source: Source, vendor: Pages) -> None:
    vendor.lists["subscriptions"] = [subscription("1001"), subscription("0")]
    SubscriberFactory(app=app, user_id="ann", traits={"account_code": "1001"})
    SubscriberFactory(app=app, user_id="bob", traits={"account_code": 1001})
    SubscriberFactory(app=app, user_id="second choice", traits={"account_number": "1001"})
    for number in range(11):
        SubscriberFactory(app=app, user_id=f"u{number}", traits={"account_code": "0"})
    assert counts(read(source)) == {"read": 2, "changed": 2, "unmatched": 1, "shared": 1}
    assert traits_of(app, "ann")["state"] == traits_of(app, "bob")["state"] == "active"
    assert "state" not in traits_of(app, "second choice")


def test_later_only_what_changed_is_asked_for_and_the_account_is_read_anew(
    app: App, source: Source, vendor: Pages
) -> None:
    vendor.lists["subscriptions"] = [subscription(f"a{n}") for n in range(300)]
    SubscriberFactory(app=app, user_id="ann", traits={"account_code": "a7"})
    first = read(source)
    vendor.heard.clear()
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ended = subscription(
        "a7", state="expired", plan={"code": "gone"}, created_at="2026-03-01T00:00:00Z", updated_at=now
    )
    vendor.lists["subscriptions"].append(ended)
    second = read(source)
    assert counts(second) == {"read": 1, "unchanged": 1}, (
        "the active one, which has not changed, says more than the ended"
    )
    assert traits_of(app, "ann")["plan_code"] == "basic"
    since = first.started_at - pulls.OVERLAP
    assert second.changed_since == since
    assert vendor.queries == [
        (
            "/subscriptions",
            {"limit": "200", "sort": "updated_at", "order": "asc", "begin_time": since.strftime("%Y-%m-%dT%H:%M:%SZ")},
        ),
        ("/accounts/7a/subscriptions", {"limit": "200"}),
    ]
    vendor.lists["subscriptions"] = []
    nothing = read(source)
    assert (nothing.state, counts(nothing)) == (RunState.DONE, {})


def test_so_many_changes_that_reading_everything_costs_less(
    app: App, source: Source, vendor: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(source)
    vendor.heard.clear()
    monkeypatch.setattr(recurly_pulls, "MOST_ACCOUNTS", 2)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    vendor.lists["subscriptions"] = [subscription(f"a{n}", updated_at=now) for n in range(5)]
    for number in range(5):
        SubscriberFactory(app=app, user_id=f"u{number}", traits={"account_code": f"a{number}"})
    assert counts(read(source)) == {"read": 7, "changed": 5, "superseded": 2}
    assert [path for path, _ in vendor.queries] == [
        "/subscriptions",
        "/accounts/0a/subscriptions",
        "/accounts/1a/subscriptions",
        "/subscriptions",
    ]


def test_when_everything_is_read_again(app: App, connection: Connection, source: Source, vendor: Pages) -> None:
    assert read(source).changed_since is None
    assert read(source).changed_since is not None
    Connection.objects.update(settings={**connection.settings, "traits_for": "user_id"})
    assert read(source).changed_since is None, "rows find their subscribers in another way"
    Connection.objects.update(generation=connection.generation + 1)
    assert read(source).changed_since is None, "another account"
    ImportRun.objects.update(started_at=timezone.now() - pulls.EVERYTHING_EVERY)
    assert read(source).changed_since is None, "a week later"


def test_a_reading_that_fails_half_way_merges_nothing_and_the_next_one_begins_where_the_last_complete_did(
    app: App, source: Source, vendor: Pages
) -> None:
    vendor.lists["subscriptions"] = [subscription(f"a{n}") for n in range(450)]
    SubscriberFactory(app=app, user_id="ann", traits={"account_code": "a7"})

    def refuse_the_last_page(path: str) -> Answer | None:
        refusal = {"error": {"type": "validation", "message": f"Cursor is over, {KEY}"}}
        return (422, {}, refusal) if "cursor=400" in path else None

    vendor.before = refuse_the_last_page
    run = read(source)
    assert run.state == RunState.FAILED
    assert "Cursor is over" in run.message
    assert run.message.endswith(pulls.NOTHING_MERGED)
    assert KEY not in run.message
    assert traits_of(app, "ann") == {"account_code": "a7"}
    vendor.before = lambda _: None
    again = read(source)
    assert (again.pk != run.pk, again.state, again.changed_since) == (True, RunState.DONE, None)
    assert traits_of(app, "ann")["state"] == "active"


def test_a_passing_trouble_is_waited_for_and_one_that_stays_ends_it(app: App, source: Source, vendor: Pages) -> None:
    vendor.lists["subscriptions"] = [subscription(f"a{n}") for n in range(250)]
    times = iter([503, 500, 502, 500])
    vendor.before = lambda path: (status, {}, {}) if "cursor" in path and (status := next(times, 0)) else None
    run = read(source)
    assert (run.state, run.rows_read, len(vendor.heard)) == (RunState.DONE, 250, 6)
    vendor.before = lambda _: (500, {}, {})
    run = read(source)
    assert (run.state, len(vendor.heard)) == (RunState.FAILED, 11)


def test_the_vendor_s_retry_after_pauses_the_connection_and_the_reading_with_it(
    app: App, source: Source, vendor: Pages
) -> None:
    vendor.lists["subscriptions"] = [subscription(f"a{n}") for n in range(250)]
    times = iter([429])
    vendor.before = lambda path: (s, {"Retry-After": "1"}, {}) if "cursor" in path and (s := next(times, 0)) else None
    began = timezone.now()
    run = read(source)
    assert run.state == RunState.DONE
    assert timezone.now() - began >= timedelta(seconds=1)
    free_at = Connection.objects.get().next_free_at
    assert free_at is not None
    assert free_at > began


def test_an_account_that_is_changed_meanwhile_is_not_merged(
    connection: Connection, source: Source, vendor: Pages
) -> None:
    vendor.lists["subscriptions"] = [subscription("a7")]
    reading = pulls.Reading(pulls.ask(source, "test"))
    Connection.objects.update(generation=connection.generation + 1)
    with pytest.raises(StorageProblem, match="changed meanwhile"):
        list(reading)


def test_a_connection_that_is_off_is_not_read(app: App, connection: Connection, source: Source, vendor: Pages) -> None:
    waits = pulls.ask(source, "test")
    Connection.objects.update(active=False)
    run = read(source)
    assert (run.pk, run.state) == (waits.pk, RunState.FAILED)
    assert "switched off" in run.message
    assert import_source(Source.objects.get(), started_by="test").runs == []
    assert vendor.heard == []


def test_invoices_tell_how_the_newest_stands(app: App, connection: Connection, vendor: Pages) -> None:
    source = pulls.source_of(connection, "invoices")

    def invoice(account: str, state: str, created: str, updated: str = "2026-01-01T00:00:00Z") -> dict[str, object]:
        owner = {"id": account[::-1], "code": account}
        return {"account": owner, "state": state, "created_at": created, "updated_at": updated}

    SubscriberFactory(app=app, user_id="ann", traits={"account_code": "a7", "state": "active"})
    vendor.lists["invoices"] = [
        invoice("a7", "past_due", "2026-02-01T00:00:00Z"),
        invoice("a7", "paid", "2026-01-01T00:00:00Z"),
    ]
    assert counts(read(source)) == {"read": 2, "changed": 1, "superseded": 1}
    assert traits_of(app, "ann") == {"account_code": "a7", "state": "active", "status": "past_due"}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    vendor.lists["invoices"][1]["updated_at"] = now
    assert counts(read(source)) == {"read": 1, "unchanged": 1}
    assert vendor.queries[-1] == ("/accounts/7a/invoices", {"limit": "1", "sort": "created_at", "order": "desc"})


# --- when -------------------------------------------------------------------------------------------------------------------


def test_each_night_is_read_once(app: App, connection: Connection) -> None:
    App.objects.update(time_zone="Europe/Paris")
    sent: list[tuple[str, str, str]] = []

    def tick(day: int, hour: int) -> int:
        sent.clear()
        return schedule.tick(datetime(2027, 1, day, hour, 30, tzinfo=UTC), lambda *what: sent.append(what))

    assert tick(2, 0) == 2  # what was due at the night before: the two lists, made by this tick
    names = set(Source.objects.values_list("name", flat=True))
    assert names == {"Recurly: Subscriptions", "Recurly: Invoices"}
    for source in Source.objects.all():
        slots.complete(schedule.job_of(source.pk), datetime(2027, 1, 2, tzinfo=UTC), now=timezone.now())
    assert tick(2, 0) == 0
    assert tick(2, 2) == 2  # 02:00 in Paris is 01:00 UTC
    assert {slot for _, _, slot in sent} == {"2027-01-02T01:00:00+00:00"}
    assert tick(2, 2) == 0
    Source.objects.filter(pull="invoices").update(paused=True)
    assert tick(3, 2) == 1
    Connection.objects.update(settings={"region": "us"})
    assert tick(4, 2) == 0


def test_what_was_asked_for_is_read_when_the_bell_was_not_heard(source: Source) -> None:
    assert schedule.left_behind(timezone.now()) == []
    pulls.ask(source, "test")
    assert schedule.left_behind(timezone.now()) == [source.pk]


def test_a_name_that_a_person_has_given_is_left_to_them(app: App, connection: Connection) -> None:
    Source.objects.create(app=app, name="Recurly: Invoices", id_column="id")
    assert pulls.source_of(connection, "invoices").name == "Recurly: Invoices (API)"
    assert pulls.source_of(connection, "invoices") == pulls.source_of(connection, "invoices")


# --- in the console ---------------------------------------------------------------------------------------------------------

Console = Callable[[Role], Client]


def test_read_now(console: Console, connection: Connection, vendor: Pages) -> None:
    browser = console(Role.APP_ADMIN)
    url = reverse("admin:sync_source_read", args=[connection.pk, "subscriptions"])
    page = browser.get(reverse("admin:connectors_connection_page", args=["recurly"]))
    assert url in page.content.decode()
    answer = browser.post(url)
    assert answer.status_code == 302
    run = ImportRun.objects.get()
    assert run.source is not None
    assert Entry.objects.filter(verb="asked for", object_id=str(run.pk)).exists()
    assert browser.get(reverse("admin:sync_importrun_change", args=[run.pk])).status_code == 200
    listed = browser.get(reverse("admin:sync_importrun_changelist")).content.decode()
    assert run.object_key in listed
    shown = browser.get(reverse("admin:sync_source_change", args=[run.source.pk])).content.decode()
    assert "Read now" in shown
    assert "Upload a file" not in shown
    assert browser.get(reverse("admin:sync_source_changelist")).status_code == 200
    for hidden in (
        reverse("admin:sync_source_change", args=[run.source.pk]),
        reverse("admin:sync_source_upload", args=[run.source.pk]),
    ):
        assert browser.post(hidden).status_code == 404


def test_who_may_not(console: Console, connection: Connection, other_app: App) -> None:
    url = reverse("admin:sync_source_read", args=[connection.pk, "subscriptions"])
    assert console(Role.APP_MEMBER).post(url).status_code == 403
    browser = console(Role.APP_ADMIN)
    assert browser.post(reverse("admin:sync_source_read", args=[connection.pk, "nothing"])).status_code == 404
    Connection.objects.update(app=other_app)
    assert browser.post(url).status_code == 404
    assert not Source.objects.exists()


def test_what_is_off_is_told(console: Console, connection: Connection) -> None:
    url = reverse("admin:sync_source_read", args=[connection.pk, "subscriptions"])
    Connection.objects.update(settings={"region": "us"})
    page = console(Role.APP_ADMIN).post(url, follow=True).content.decode()
    assert "is not read: switch it on, and choose under" in page
    assert not ImportRun.objects.exists()


# --- while it lasts ---------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_slow_vendor_costs_neither_the_lease_nor_anybody_s_time(
    source: Source, vendor: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "BEAT", 0.02)
    vendor.lists["subscriptions"] = [subscription(f"a{n}") for n in range(250)]
    seen: list[bool] = []

    def look(path: str) -> None:
        try:
            if "cursor" in path:
                first = Source.objects.get().lease_until
                assert first is not None
                renewed = (Source.objects.get().lease_until != first for _ in range(5_000))
                seen.append(any(renewed))
                seen.append(Source.objects.update(trait_prefix="") == 1)  # waits for who holds a transaction
        finally:
            database.close()

    vendor.before = look
    assert read(source).state == RunState.DONE
    assert seen == [True, True]
    assert Source.objects.get().lease_until is None


def test_the_command_reads_a_vendor_when_it_is_named(
    source: Source, vendor: Pages, capsys: pytest.CaptureFixture[str]
) -> None:
    vendor.lists["subscriptions"] = [subscription("a1")]
    call_command("sync_subscriptions")
    assert vendor.heard == []
    call_command("sync_subscriptions", source=source.name)
    assert "1 of nobody known" in capsys.readouterr().out
