"""Purchases read again: whose, when, what comes of a bad one among good ones, and what becomes of a reading that breaks off."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection as database
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from connectors.failures import LostClaim
from connectors.models import Connection, Health
from engage.audit.models import Entry
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from sync import rereads, rounds
from sync.models import LastWord, RereadRun, RoundState, Subscriber
from tests.connectors.fake_vendor import NOTHING, Broken, Call, FakeVendor, Heard, fake_vendor
from tests.factories import ConnectionFactory, SubscriberFactory

pytestmark = pytest.mark.django_db
SECRET = "2:the-shared-key=="
SETTINGS = {"environment": "live", "package_name": "com.example.streamly", "reread_nightly": True}
RENEWS = 32473396800000  # 15 January 2999
NEW = "the-receipt-that-took-its-place"


@pytest.fixture(autouse=True)
def few_tries(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six tries, and two people at once."""
    settings.ENGAGE_RETRY_DELAYS = [60.0] * 5
    monkeypatch.setattr(rereads, "AT_ONCE", 2)


@pytest.fixture
def vendor(settings: Settings) -> Iterator[FakeVendor]:
    """An Amazon."""
    with fake_vendor() as made:
        settings.ENGAGE_VENDOR_URLS = {"amazon": made.url}
        yield made


@pytest.fixture
def connection(app: App) -> Connection:
    """A connection that reads every night."""
    made: Connection = ConnectionFactory(
        app=app, connector="amazon", settings=SETTINGS, secrets={"shared_secret": SECRET}
    )
    return made


def people(app: App, *names: str) -> None:
    for name in names:
        SubscriberFactory(app=app, user_id=name, traits=ids(name) | {"amazon_sku": "basic.month", "city": "Rome"})


def ids(name: str) -> dict[str, Any]:
    return {"amazon_user_id": f"user-{name}", "amazon_receipt_id": f"receipt-{name}"}


def read(name: str, **differences: Any) -> Call:
    """Return the look at somebody's receipt."""
    shown = {
        "receiptId": f"receipt-{name}",
        "productId": "premium",
        "termSku": "premium.month",
        "productType": "SUBSCRIPTION",
        "renewalDate": RENEWS,
        "autoRenewing": True,
    }
    return Call("GET", path(f"user-{name}", f"receipt-{name}"), {**shown, **differences})


def path(user: str, receipt: str) -> str:
    parts = ("developer", SECRET, "user", user, "receiptId", receipt)
    return "/version/1.0/verifyReceiptId/" + "/".join(quote(part, safe="") for part in parts)


NOBODYS = "engage-test-of-the-connection"


def asked(connection: Connection) -> RereadRun:
    """Read now, until a worker finds nothing more to do; no wait between tries is waited for."""
    run = rereads.ask(connection, "test")
    while work():
        pass
    run.refresh_from_db()
    return run


def work() -> int:
    """Let a worker do what waits."""
    RereadRun.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    return rereads.work()


def skus(app: App) -> dict[str, str | None]:
    """Return what each subscriber has by now."""
    rows = Subscriber.objects.filter(app=app).order_by("pk").values_list("user_id", "traits")
    return {user_id: traits.get("amazon_sku") for user_id, traits in rows}


def test_everybody_who_has_what_it_needs_and_nobody_elses(
    app: App, other_app: App, connection: Connection, vendor: FakeVendor
) -> None:
    people(app, "ann", "bob")
    people(other_app, "theirs")
    SubscriberFactory(app=app, user_id="no receipt", traits={"amazon_user_id": "user-x"})
    people(app, "cid")
    vendor.expect(read("ann"), read("bob", autoRenewing=False), read("cid"))
    run = asked(connection)
    vendor.assert_played()
    assert (run.state, run.taken, run.refused, run.message) == (RoundState.DONE, 3, 0, "")
    assert Subscriber.objects.get(user_id="bob").traits == {
        **ids("bob"),
        "amazon_sku": "premium.month",
        "amazon_renewal_date": "2999-01-15T12:00:00Z",
        "amazon_auto_renewing": False,
        "city": "Rome",
    }
    assert (skus(app)["cid"], skus(other_app)) == ("premium.month", {"theirs": "basic.month"})


def test_nobody_has_what_it_needs(app: App, connection: Connection, vendor: FakeVendor) -> None:
    SubscriberFactory(app=app, user_id="ann", traits={"city": "Rome"})
    run = asked(connection)
    assert (run.state, run.taken, run.refused, vendor.heard) == (RoundState.DONE, 0, 0, [])


def test_bad_receipts_are_told_and_the_others_read(app: App, connection: Connection, vendor: FakeVendor) -> None:
    people(app, "ann", "bob", "cid", "dan")
    vendor.expect(
        *(read(name) for name in ("ann", "bob", "cid", "dan")), broken={1: Broken("?", 400), 2: Broken("gone", 410)}
    )
    run = asked(connection)
    vendor.assert_played()
    assert (run.state, run.taken, run.refused) == (RoundState.DONE, 3, 1)
    assert run.refusal == "Amazon knows no such receipt."
    assert skus(app) == {"ann": "premium.month", "bob": "basic.month", "cid": "basic.month", "dan": "premium.month"}
    assert Subscriber.objects.get(user_id="cid").traits["amazon_auto_renewing"] is False, "as Check purchase says it"


@pytest.mark.parametrize(
    ("broken", "tries"),
    [(Broken("odd", 200, '{"receiptId": "another"}'), 1), (Broken("error", 500, "{}"), 1 + rereads.PATIENCE)],
)
def test_a_receipt_in_trouble_holds_up_nobody_else(
    app: App, connection: Connection, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch, broken: Broken, tries: int
) -> None:
    monkeypatch.setattr(rereads, "AT_ONCE", 50)
    people(app, "ann", "bob", "cid")
    vendor.expect(read("ann"), *[read("bob")] * tries, read("cid"), broken=dict.fromkeys(range(1, tries + 1), broken))
    run = asked(connection)
    vendor.assert_played()
    assert (run.state, run.taken, run.refused) == (RoundState.DONE, 2, 1)
    assert skus(app)["cid"] == "premium.month"


def test_a_vendor_that_is_down_makes_it_wait_where_it_is(app: App, connection: Connection, vendor: FakeVendor) -> None:
    people(app, "ann", "bob", "cid")
    down = Broken("503", 503, "{}", headers={"Retry-After": "300"})
    vendor.expect(read("ann"), read("bob"), broken={1: down})
    run = rereads.ask(connection, "test")
    assert work() == 1
    run.refresh_from_db()
    assert (run.state, run.taken, run.message) == (RoundState.OPEN, 1, "Amazon Appstore has a problem (status 503).")
    assert run.due_at > timezone.now() + timedelta(seconds=200), "as long as the vendor says"
    Connection.objects.update(next_free_at=None)
    vendor.expect(read("bob"), read("cid"))
    assert (asked(connection).taken, vendor.problems) == (3, [])
    vendor.assert_played()


def test_a_vendor_that_stays_down_ends_it(
    app: App, connection: Connection, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rereads, "AT_ONCE", 50)
    people(app, *"abcdefgh")
    vendor.by_shape = lambda heard: Call(heard.method, heard.path, {}, status=500)
    run = asked(connection)
    assert (run.state, run.taken, run.refused) == (RoundState.FAILED, 0, 0)
    assert run.message == "Amazon Appstore has a problem (status 500). Gave up after 6 tries."
    tries = rereads.PATIENCE
    assert len(vendor.heard) == tries + (6 - tries) * (rereads.BEYOND + 1), "it looks no further than that"


def test_refused_credentials_make_it_wait_for_the_connection(
    app: App, connection: Connection, vendor: FakeVendor
) -> None:
    people(app, "ann", "bob")
    test = Call("GET", path(NOBODYS, NOBODYS), NOTHING, status=496)
    vendor.expect(read("ann"), read("bob"), test, broken={1: Broken("wrong key", 496)})
    run = asked(connection)
    vendor.assert_played()
    connection.refresh_from_db()
    assert (run.state, run.taken, run.message) == (
        RoundState.OPEN,
        1,
        "Appstore: Amazon does not accept the shared key.",
    )
    assert (connection.health, connection.attention, work()) == (Health.ATTENTION, run.message, 0)
    Connection.objects.update(attention_parts=["Device Messaging"])
    vendor.expect(read("bob"))
    assert asked(connection).taken == 2, "what another part of the vendor refuses is no matter"
    vendor.assert_played()


def test_a_worker_that_died_is_followed_by_another_and_one_that_comes_late_stores_nothing(
    app: App, connection: Connection, vendor: FakeVendor
) -> None:
    people(app, "ann", "bob", "cid")
    rereads.ask(connection, "test")
    RereadRun.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    dead = rounds.claim(RereadRun)
    assert dead is not None
    vendor.expect(read("ann"), read("bob"))
    assert rereads._one_batch(dead)  # noqa: SLF001 - as far as it came
    assert rounds.claim(RereadRun) is None, "its lease"
    vendor.expect(read("cid"))
    assert work() == 1
    with pytest.raises(LostClaim):
        rereads._one_batch(dead)  # noqa: SLF001
    vendor.assert_played()
    assert RereadRun.objects.get().taken == 3


def test_a_newer_word_of_the_same_receipt_stays(app: App, connection: Connection, vendor: FakeVendor) -> None:
    people(app, "ann", "bob")
    ann = Subscriber.objects.get(user_id="ann")
    soon = timezone.now() + timedelta(minutes=1)
    LastWord.objects.create(connection=connection, subscriber=ann, subject="receipt receipt-ann", as_of=soon)
    vendor.expect(read("ann"), read("bob"))
    assert asked(connection).taken == 2
    assert skus(app) == {"ann": "basic.month", "bob": "premium.month"}


def elsewhere(change: Callable[[], object]) -> None:
    """Change something in the vendor's thread, which has a connection to the database of its own."""
    try:
        change()
    finally:
        database.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_gone", [False, True])
def test_who_has_another_purchase_meanwhile_or_is_deleted_stays_so(
    app: App, connection: Connection, vendor: FakeVendor, is_gone: bool
) -> None:
    people(app, "ann")
    ann = Subscriber.objects.filter(user_id="ann")
    changed = ids("ann") | {"amazon_receipt_id": NEW, "amazon_sku": "premium.year"}

    def meanwhile(heard: Heard) -> Call:
        elsewhere(ann.delete if is_gone else lambda: ann.update(traits=changed))
        return read("ann", cancelDate=1, cancelReason=4)

    vendor.by_shape = meanwhile
    run = asked(connection)
    assert (run.state, run.taken, len(vendor.heard)) == (RoundState.DONE, 1, 1)
    assert list(ann.values_list("traits", flat=True)) == ([] if is_gone else [changed])
    assert not LastWord.objects.exists()


def test_what_is_switched_off_waits(app: App, connection: Connection, vendor: FakeVendor) -> None:
    people(app, "ann")
    Connection.objects.update(active=False)
    assert (asked(connection).state, vendor.heard) == (RoundState.OPEN, [])
    Connection.objects.update(active=True)
    vendor.expect(read("ann"))
    assert asked(connection).state == RoundState.DONE
    vendor.assert_played()


def test_each_night_is_read_once(app: App, connection: Connection) -> None:
    App.objects.update(time_zone="Europe/Paris")
    Connection.objects.update(created_at=datetime(2027, 1, 1, 12, tzinfo=UTC))
    found = []
    for day, hour in [(1, 13), (2, 0), (2, 1), (2, 2), (3, 2)]:
        rereads.tick(datetime(2027, 1, day, hour, 30, tzinfo=UTC))
        found.append(RereadRun.objects.count())
        RereadRun.objects.update(state=RoundState.DONE)
    assert found == [0, 0, 1, 1, 2], "02:00 in Paris is 01:00 UTC"
    Connection.objects.update(settings={**SETTINGS, "reread_nightly": False})
    rereads.tick(datetime(2027, 1, 4, 2, tzinfo=UTC))
    assert RereadRun.objects.count() == 2


Console = Callable[[Role], Client]


def test_read_now(console: Console, app: App, connection: Connection, vendor: FakeVendor) -> None:
    people(app, "ann", "bob")
    browser, url = console(Role.APP_ADMIN), reverse("admin:sync_source_reread", args=[connection.pk])
    page_url = reverse("admin:connectors_connection_page", args=["amazon"])
    assert "Nobody was read yet." in browser.get(page_url).content.decode()
    assert browser.post(url).headers["Location"] == f"{page_url}#reread"
    assert browser.post(url).status_code == 302
    assert (RereadRun.objects.count(), Entry.objects.filter(verb="asked for").count()) == (1, 2)
    vendor.expect(read("ann"), read("bob"), broken={1: Broken("?", 400)})
    assert work() == 1
    page = browser.get(page_url).content.decode()
    assert "done, 1 person read, 1 could not be read." in page
    assert "The first of them: Amazon knows no such receipt." in page
    Connection.objects.update(active=False)
    assert "is switched off" in browser.post(url, follow=True).content.decode()
    assert console(Role.APP_MEMBER).post(url).status_code == 403
    Subscriber.objects.all().delete()
    Connection.objects.update(active=True)
    assert asked(connection).state == RoundState.DONE
    assert "nobody has the traits that it needs" in browser.get(page_url).content.decode()


def test_there_is_nothing_to_read_again_of_others(console: Console, app: App, other_app: App) -> None:
    browser = console(Role.APP_ADMIN)
    for made in (ConnectionFactory(app=app), ConnectionFactory(app=other_app, connector="amazon")):
        assert browser.post(reverse("admin:sync_source_reread", args=[made.pk])).status_code == 404


def test_one_whose_connection_was_switched_off_since_it_was_claimed_waits_for_it(connection: Connection) -> None:
    rereads.ask(connection, "test")
    run = rounds.claim(RereadRun)
    assert run is not None
    Connection.objects.update(active=False)
    connection.refresh_from_db()
    assert rounds.opened(run, connection) is None
    run.refresh_from_db()
    assert (run.state, run.due_at <= timezone.now()) == (RoundState.OPEN, True)


def test_secrets_that_cannot_be_opened_end_it_with_a_word(app: App, connection: Connection, vendor: FakeVendor) -> None:
    people(app, "ann")
    ConnectionFactory(app=app, connector="stripe", secrets={"shared_secret": SECRET})
    with database.cursor() as cursor:  # another row's secrets
        cursor.execute(
            "UPDATE connectors_connection SET sealed = "
            "(SELECT other.sealed FROM connectors_connection other WHERE other.connector = 'stripe') WHERE connector = 'amazon'"
        )
    run = asked(connection)
    assert (run.state, run.message) == (
        RoundState.FAILED,
        "The stored secrets cannot be opened. Enter them again.",
    )
    assert vendor.heard == []
