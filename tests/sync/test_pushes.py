"""Traits pushed to vendors: whose, when, in which batches, and what becomes of a push that breaks off."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from connectors.failures import LostClaim
from connectors.models import Connection, Health
from connectors.vendors.mixpanel.profiles import Profiles
from engage.audit.models import Entry
from engage.tenancy.models import App, DeliveryMode
from engage.tenancy.roles import Role
from sync import pushes, rounds
from sync.models import PushRun, RoundState, Subscriber
from sync.pulls import OVERLAP
from tests.connectors.fake_vendor import Broken, Call, FakeVendor, fake_vendor
from tests.factories import ConnectionFactory, SubscriberFactory

pytestmark = pytest.mark.django_db
TOKEN = "0123456789abcdef0123456789abcdef"
SECRETS = {"project_token": TOKEN, "service_account_password": "the-service-accounts-password"}
SETTINGS = {
    "region": "eu",
    "project_id": "7",
    "service_account": "a.b.mp-service-account",
    "traits": "plan, email_address",
    "traits_nightly": True,
}


@pytest.fixture(autouse=True)
def live(app: App, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An App that is live, a vendor that takes two people at once, and three tries."""
    App.objects.filter(pk=app.pk).update(delivery_mode=DeliveryMode.LIVE)
    app.refresh_from_db()
    monkeypatch.setattr(Profiles, "most_items", 2)
    settings.ENGAGE_RETRY_DELAYS = [60.0, 60.0]


@pytest.fixture
def vendor(settings: Settings) -> Iterator[FakeVendor]:
    """A Mixpanel."""
    with fake_vendor() as made:
        settings.ENGAGE_VENDOR_URLS = {"mixpanel": made.url}
        yield made


@pytest.fixture
def connection(app: App) -> Connection:
    """A connection that pushes two traits every night."""
    made: Connection = ConnectionFactory(app=app, connector="mixpanel", settings=SETTINGS, secrets=SECRETS)
    return made


def people(app: App, *names: str, **traits: Any) -> None:
    for name in names:
        SubscriberFactory(app=app, user_id=name, traits={"plan": "gold", **traits})


def engage(*names: str, **plans: str) -> Call:
    """Return the request that sets these people's profiles; the plan of those with a name alone is gold."""
    told = dict.fromkeys(names, "gold") | plans
    body = [{"$token": TOKEN, "$distinct_id": name, "$set": {"plan": plan}} for name, plan in told.items()]
    return Call("POST", "/engage", {"status": 1, "error": None}, {"ip": "0", "verbose": "1", "strict": "1"}, body)


def pushed(connection: Connection, *, everything: bool = False) -> PushRun:
    """Push now, until a worker finds nothing more to do; no wait between tries is waited for."""
    run = pushes.ask(connection, "test", everything=everything)
    while work():
        pass
    run.refresh_from_db()
    return run


def work() -> int:
    """Let a worker do what waits."""
    PushRun.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    return pushes.work()


def test_everybody_with_one_of_the_traits_in_the_vendors_batches(
    app: App, other_app: App, connection: Connection, vendor: FakeVendor
) -> None:
    people(app, "ann", "bob")
    SubscriberFactory(app=app, user_id="none of them", traits={"city": "Paris"})
    SubscriberFactory(app=other_app, user_id="theirs", traits={"plan": "gold"})
    people(app, "cid", city="Rome")
    vendor.expect(engage("ann", "bob"), engage("cid"))
    run = pushed(connection)
    vendor.assert_played()
    assert (run.state, run.taken, run.refused, run.message) == (RoundState.DONE, 3, 0, "")
    assert (run.changed_since, run.finished_at is None) == (None, False)


def test_later_only_those_who_have_changed(app: App, connection: Connection, vendor: FakeVendor) -> None:
    people(app, "ann", "bob")
    vendor.expect(engage("ann", "bob"))
    first = pushed(connection)
    Subscriber.objects.update(updated_at=F("updated_at") - 2 * OVERLAP)
    Subscriber.objects.filter(user_id="bob").update(traits={"plan": "free"}, updated_at=timezone.now())
    vendor.expect(engage(bob="free"))
    second = pushed(connection)
    assert (second.changed_since, second.taken) == (first.asked_at - OVERLAP, 1)
    Connection.objects.update(settings={**SETTINGS, "traits": "plan"})
    connection.refresh_from_db()
    vendor.expect(engage(ann="gold", bob="free"), engage(ann="gold", bob="free"))
    assert pushed(connection).changed_since is None, "other settings"
    assert pushed(connection, everything=True).taken == 2
    vendor.assert_played()


def test_in_test_mode_only_test_subscribers_and_with_nobody_none(
    app: App, connection: Connection, vendor: FakeVendor
) -> None:
    people(app, "ann", "bob", "cid")
    Subscriber.objects.filter(user_id="bob").update(is_test=True)
    long_ago = timezone.now() - timedelta(days=1)
    Subscriber.objects.filter(user_id="cid").update(is_test=True, test_until=long_ago)
    App.objects.update(delivery_mode=DeliveryMode.TEST)
    connection.app.refresh_from_db()
    vendor.expect(engage("bob"))
    assert pushed(connection).taken == 1
    vendor.assert_played()
    connection.app.delivery_mode = DeliveryMode.NOBODY
    assert "“Nobody”" in pushes.unwanted(connection)


def test_one_who_is_refused_stands_alone_and_the_others_are_taken(
    app: App, connection: Connection, vendor: FakeVendor
) -> None:
    people(app, "ann", "bob")
    people(app, "undefined")
    no = {"status": 0, "error": f"$set is wrong, {TOKEN}"}
    vendor.expect(replace(engage("ann", "bob"), answer=no), replace(engage("ann"), answer=no), engage("bob"))
    run = pushed(connection)
    vendor.assert_played()
    assert (run.state, run.taken, run.refused) == (RoundState.DONE, 1, 2)
    assert run.refusal == "Mixpanel refused: $set is wrong, [secret]"


def test_a_lost_answer_goes_again_from_where_it_was(app: App, connection: Connection, vendor: FakeVendor) -> None:
    people(app, "ann", "bob", "cid", "dan")
    vendor.expect(engage("ann", "bob"), engage("cid", "dan"), broken={1: Broken("500", 500, "{}")})
    vendor.expect(engage("cid", "dan"))
    run = pushed(connection)
    vendor.assert_played()
    assert (run.state, run.taken) == (RoundState.DONE, 4)


def test_a_trouble_that_stays_ends_it_and_the_next_push_takes_everybody(
    app: App, connection: Connection, vendor: FakeVendor
) -> None:
    people(app, "ann")
    calls = [engage("ann")] * 3
    vendor.expect(*calls, broken=dict.fromkeys(range(3), Broken("503", 503, "{}")))
    run = pushed(connection)
    vendor.assert_played()
    assert (run.state, run.taken) == (RoundState.FAILED, 0)
    assert run.message.endswith("Gave up after 3 tries.")
    assert pushes.ask(connection, "test").changed_since is None


def test_refused_credentials_make_it_wait_for_the_connection(
    app: App, connection: Connection, vendor: FakeVendor
) -> None:
    people(app, "ann")
    vendor.expect(engage("ann"), broken={0: Broken("401", 401, "{}")})
    run = pushed(connection)
    connection.refresh_from_db()
    assert (run.state, connection.health, work()) == (RoundState.OPEN, Health.ATTENTION, 0)
    Connection.objects.update(health=Health.HEALTHY)
    vendor.expect(engage("ann"))
    assert pushed(connection).state == RoundState.DONE
    vendor.assert_played()


def test_a_worker_that_died_is_followed_by_another_and_one_that_comes_late_writes_nothing(
    app: App, connection: Connection, vendor: FakeVendor
) -> None:
    people(app, "ann", "bob", "cid")
    pushes.ask(connection, "test")
    PushRun.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    dead = rounds.claim(PushRun)
    assert dead is not None
    vendor.expect(engage("ann", "bob"))
    assert pushes._one_batch(dead)  # noqa: SLF001 - as far as it came
    assert rounds.claim(PushRun) is None, "its lease"
    vendor.expect(engage("cid"))
    assert work() == 1
    with pytest.raises(LostClaim):
        pushes._one_batch(dead)  # noqa: SLF001
    vendor.assert_played()
    assert PushRun.objects.get().taken == 3


def test_what_is_changed_meanwhile_ends_it_and_what_is_switched_off_waits(
    app: App, connection: Connection, vendor: FakeVendor
) -> None:
    people(app, "ann")
    Connection.objects.update(active=False)
    assert pushed(connection).state == RoundState.OPEN
    Connection.objects.update(active=True, settings={**SETTINGS, "traits": "city"})
    run = pushed(connection)
    assert (run.state, "were changed" in run.message) == (RoundState.FAILED, True)
    assert vendor.heard == []


def test_each_night_is_pushed_once(app: App, connection: Connection) -> None:
    App.objects.update(time_zone="Europe/Paris")
    Connection.objects.update(created_at=datetime(2027, 1, 1, 12, tzinfo=UTC))
    nights = [(1, 13), (2, 2), (2, 3), (2, 4), (3, 4)]
    asked = []
    for day, hour in nights:
        pushes.tick(datetime(2027, 1, day, hour, 30, tzinfo=UTC))
        asked.append(PushRun.objects.count())
        PushRun.objects.update(state=RoundState.DONE)
    assert asked == [0, 0, 1, 1, 2], "04:00 in Paris is 03:00 UTC"
    Connection.objects.update(settings={**SETTINGS, "traits_nightly": False})
    pushes.tick(datetime(2027, 1, 4, 4, tzinfo=UTC))
    Connection.objects.update(settings=SETTINGS)
    pushes.tick(datetime(2027, 1, 4, 5, tzinfo=UTC))
    assert PushRun.objects.count() == 2, "switched on later, it begins with the next night"


Console = Callable[[Role], Client]


def test_push_now(console: Console, app: App, connection: Connection, vendor: FakeVendor) -> None:
    people(app, "ann")
    browser, url = console(Role.APP_ADMIN), reverse("admin:sync_source_push", args=[connection.pk])
    page_url = reverse("admin:connectors_connection_page", args=["mixpanel"])
    assert "Nothing was pushed yet." in browser.get(page_url).content.decode()
    assert browser.post(url).headers["Location"] == f"{page_url}#push"
    assert browser.post(url, {"everything": "yes"}).status_code == 302
    assert (PushRun.objects.count(), Entry.objects.filter(verb="asked for").count()) == (1, 2)
    vendor.expect(engage("ann"))
    assert work() == 1
    page = browser.get(page_url).content.decode()
    assert "everybody: done, 1 person taken." in page
    assert "Push everything now" in page
    Connection.objects.update(active=False)
    assert "is switched off" in browser.post(url, follow=True).content.decode()
    assert console(Role.APP_MEMBER).post(url).status_code == 403
