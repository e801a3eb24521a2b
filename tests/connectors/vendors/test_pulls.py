"""What vendors say of all accounts, read at night: pages, several rows of one account, types, gaps."""

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from defusedxml import ElementTree
from pytest_django import Settings

from connectors.models import Connection
from connectors.registry import connector
from connectors.vendors.salesforce import Salesforce
from connectors.vendors.sendgrid import SendGrid
from connectors.vendors.sendgrid import pulls as sendgrid_pulls
from engage.tenancy.models import App
from sync import pulls
from sync.imports import import_source
from sync.models import ImportRun, RunState, Source, Subscriber
from tests.connectors.fake_vendor import Call, FakeVendor, Heard, fake_vendor
from tests.connectors.vendors import test_braintree as braintree
from tests.connectors.vendors import test_google_play as google_play
from tests.connectors.vendors import test_salesforce as salesforce
from tests.connectors.vendors import test_sendgrid as sendgrid
from tests.connectors.vendors import test_stripe_traits as stripe
from tests.factories import ConnectionFactory, SubscriberFactory


@pytest.fixture
def vendor(settings: Settings) -> Iterator[FakeVendor]:
    with fake_vendor() as found:
        settings.ENGAGE_VENDOR_URLS = dict.fromkeys(
            ("braintree", "google_play", "salesforce", "sendgrid", "stripe"), found.url
        )
        settings.ENGAGE_PRIVATE_HOSTS = [found.url.removeprefix("http://")]
        settings.ENGAGE_RETRY_DELAYS = [0.0] * 10
        yield found


Read = Callable[..., ImportRun]


@pytest.fixture
def read(app: App, vendor: FakeVendor) -> Read:
    """Read a vendor's only list, which takes exactly these calls."""

    def read(key: str, settings: dict[str, Any], secrets: dict[str, str], *calls: Call) -> ImportRun:
        connection = Connection.objects.filter(connector=key).first() or ConnectionFactory(
            app=app, connector=key, settings={"traits_for": "trait", **settings}, secrets=secrets
        )
        (name,) = connector(key).pulls
        source = pulls.source_of(connection, name)
        vendor.expect(*calls)
        (run,) = import_source(Source.objects.get(pk=source.pk), started_by="test").runs
        vendor.assert_played()
        return ImportRun.objects.get(pk=run.pk)

    return read


def traits_of(user_id: str) -> dict[str, Any]:
    return dict(Subscriber.objects.get(user_id=user_id).traits)


# --- Stripe -----------------------------------------------------------------------------------------------------------------

ALL = {"limit": "100", "status": "all", "expand[]": "data.customer"}
TOLD = {
    "subscription_status": "active",
    "delinquent": False,
    "current_period_start": "2026-01-01T00:00:00Z",
    "current_period_end": "2026-02-01T00:00:00Z",
    "cancel_at_period_end": False,
    "subscription_plan": "Premium",
    "recurring_interval": "month",
    "coupon": "20 % off",
}


def of(customer: str, number: str = "sub_1", status: str = "active", **changes: Any) -> dict[str, Any]:
    """A subscription with its customer; `whose` changes the customer."""
    whose = {"id": customer, "delinquent": False, **changes.pop("whose", {})}
    return stripe.subscription(number, status, customer=whose, **changes)


def page(*rows: Any, after: str = "", more: bool = False) -> Call:
    query = {**ALL, **({"starting_after": after} if after else {})}
    return Call("GET", "/subscriptions", {"object": "list", "has_more": more, "data": list(rows)}, query)


def test_stripe_s_pages_become_typed_traits_of_the_customer_s_telling_subscription(app: App, read: Read) -> None:
    gone = {"canceled_at": "2026-01-01T00:00:00Z", "trial_end": "2026-01-01T00:00:00Z"}
    SubscriberFactory(app=app, user_id="ann", traits={"stripe_id": "cus_Ann", "first_name": "Ann", **gone})
    SubscriberFactory(app=app, user_id="bob", traits={"stripe_id": "cus_Bob", "subscription_plan": "Premium"})
    SubscriberFactory(app=app, user_id="eve", traits={"stripe_id": "cus_Eve", "coupon": "mine"})
    sports = {"data": [{"id": "si_1", "price": {"id": "price_2", "nickname": None, "product": "prod_2"}}]}
    unnamed: dict[str, Any] = {"items": sports, "discount": None, "cancel_at_period_end": True, "status": "past_due"}
    run = read(
        "stripe",
        stripe.SETTINGS,
        stripe.SECRETS,
        page(
            of("cus_Ann", "sub_3", "canceled", created=1_799_000_000, discount=None),
            of("cus_Ann", "sub_2", created=1_780_000_000),
            of("cus_Bob", "sub_4", **unnamed, whose={"delinquent": True}),
            more=True,
        ),
        Call("GET", "/products/prod_2", {"id": "prod_2", "name": "Sports"}),
        page(
            of("cus_Ann", "sub_1", trial_end=1_767_225_600),
            of("cus_Stranger", "sub_5", **unnamed),
            of("cus_Eve", whose={"deleted": True}),
            after="sub_4",
        ),
    )
    assert (run.state, run.message) == (RunState.DONE, "")
    assert (run.rows_read, run.rows_changed, run.rows_superseded, run.rows_unmatched) == (5, 2, 2, 1)
    assert traits_of("ann") == {**TOLD, "stripe_id": "cus_Ann", "first_name": "Ann"}
    assert traits_of("bob") == {
        "stripe_id": "cus_Bob",
        "subscription_status": "past_due",
        "delinquent": True,
        "current_period_start": "2026-01-01T00:00:00Z",
        "current_period_end": "2026-02-01T00:00:00Z",
        "cancel_at_period_end": True,
        "subscription_plan": "Sports",
    }
    assert traits_of("eve") == {"stripe_id": "cus_Eve", "coupon": "mine"}


def test_stripe_s_newer_words_say_no_more_than_its_webhooks(app: App, read: Read) -> None:
    SubscriberFactory(app=app, user_id="ann", traits={"stripe_id": "cus_Ann"})
    SubscriberFactory(app=app, user_id="bob", traits={"stripe_id": "cus_Bob", "subscription_plan": "Premium"})
    rows = (of("cus_Ann", "sub_2", "a new word"), of("cus_Ann", "sub_1"), of("cus_Bob", "sub_3", "a new word"))
    assert read("stripe", stripe.SETTINGS, stripe.SECRETS, page(*rows)).state == RunState.DONE
    assert traits_of("ann") == {**TOLD, "stripe_id": "cus_Ann"}
    assert traits_of("bob") == {"stripe_id": "cus_Bob", "subscription_status": "NONE", "delinquent": False}


def test_stripe_s_customers_by_user_id_and_none_of_a_reading_that_breaks_off(app: App, read: Read) -> None:
    settings = {**stripe.SETTINGS, "traits_for": "user_id"}
    SubscriberFactory(app=app, user_id="cus_Ann")
    no = {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "No such subscription"}}
    refusal = Call("GET", "/subscriptions", no, {**ALL, "starting_after": "sub_1"}, status=400)
    broken = read("stripe", settings, stripe.SECRETS, page(of("cus_Ann"), more=True), refusal)
    assert broken.state == RunState.FAILED
    assert "No such subscription" in broken.message
    assert traits_of("cus_Ann") == {}
    assert read("stripe", settings, stripe.SECRETS, page(of("cus_Ann"))).state == RunState.DONE
    assert traits_of("cus_Ann") == TOLD


# --- Salesforce -------------------------------------------------------------------------------------------------------------

CONTACTS = "SELECT Id, Email FROM Contact WHERE Email != null"
ANN, BOB, EVE = "003xx000004TmiQAAS", "003xx000004TmiRAAS", "003xx000004TmiSAAS"
ORGANISATION = {name: value for name, value in salesforce.SERVICE.items() if name != "client_secret"}


def contact(number: str, email: str) -> dict[str, str]:
    return {"Id": number, "Email": email}


def test_salesforce_s_contacts_page_by_page_and_then_what_has_changed(app: App, read: Read) -> None:
    SubscriberFactory(app=app, user_id="ann", traits={"salesforce_id": ANN, "email_address": "old@example.com"})
    SubscriberFactory(app=app, user_id="bob", traits={"salesforce_id": BOB})
    SubscriberFactory(app=app, user_id="eve", traits={"salesforce_id": EVE, "email_address": "eve@example.com"})
    secrets = {"client_secret": salesforce.SECRET}
    first = read(
        "salesforce",
        ORGANISATION,
        secrets,
        salesforce.LOGIN,
        salesforce.asked(
            CONTACTS, contact(ANN, "ann@example.com"), done=False, nextRecordsUrl="/services/data/v60.0/query/01gx-2000"
        ),
        Call(
            "GET", "/query/01gx-2000", {"done": True, "records": [contact(BOB, "b@x.org"), contact("003q", "q@x.org")]}
        ),
    )
    assert (first.state, first.rows_read, first.rows_changed, first.rows_unmatched) == (RunState.DONE, 3, 2, 1)
    assert traits_of("ann") == {"salesforce_id": ANN, "email_address": "ann@example.com"}
    assert traits_of("bob") == {"salesforce_id": BOB, "email_address": "b@x.org"}
    assert traits_of("eve") == {"salesforce_id": EVE, "email_address": "eve@example.com"}
    since = first.started_at - pulls.OVERLAP
    changed = f"{CONTACTS} AND SystemModstamp >= {since:%Y-%m-%dT%H:%M:%SZ}"
    second = read("salesforce", ORGANISATION, secrets, salesforce.asked(changed, contact(BOB, "bob@x.org")))
    assert (second.changed_since, second.rows_changed) == (since, 1)
    assert traits_of("bob")["email_address"] == "bob@x.org"


def test_salesforce_s_contacts_by_user_id_learn_their_id(app: App, read: Read) -> None:
    SubscriberFactory(app=app, user_id=ANN)
    rows = salesforce.asked(CONTACTS, contact(ANN, "ann@example.com"))
    settings = {**ORGANISATION, "traits_for": "user_id"}
    run = read("salesforce", settings, {"client_secret": salesforce.SECRET}, salesforce.LOGIN, rows)
    assert run.state == RunState.DONE
    assert traits_of(ANN) == {"salesforce_id": ANN, "email_address": "ann@example.com"}


def test_salesforce_s_contacts_need_service_cloud() -> None:
    typed = {**salesforce.MARKETING, "traits_for": "trait"}
    assert list(Salesforce.Settings(typed).errors) == ["traits_for"]
    assert not Salesforce.Settings({**typed, **salesforce.SERVICE}).errors


# --- Braintree --------------------------------------------------------------------------------------------------------------

MERCHANT = {name: value for name, value in braintree.SETTINGS.items() if name != "private_key"}
SECRETS = {"private_key": braintree.PRIVATE}
TAKEN = {"first_name": "Bob", "braintree_plan_id": "basic", "braintree_next_billing_date": "2026-01-15"}
LISTED = 10_000


class Customers:
    """A Braintree of many customers: as the SDK asks for them, first their ids and then themselves."""

    def __init__(self) -> None:
        self.made: dict[str, datetime] = {}
        self.shown: dict[str, str] = {}  # what they pay by, as XML
        self.ranges: list[timedelta] = []
        self.blocks: list[int] = []
        self.crowded = timedelta.max  # searches of so long a time give as many ids as a search can

    def add(self, number: str, year: int, methods: str = "") -> None:
        self.made[number] = datetime(year, 5, 1, tzinfo=UTC)
        self.shown[number] = methods

    def answer(self, heard: Heard) -> Call:
        search = ElementTree.fromstring(heard.body.text)
        ids = [item.text or "" for item in search.iterfind("ids/item")]
        if heard.path.endswith("/advanced_search"):
            self.blocks.append(len(ids))
            rows = "".join(f"<customer><id>{one}</id>{self.shown[one]}</customer>" for one in ids)
            return Call("POST", heard.path, braintree.xml(f'<customers type="collection">{rows}</customers>'))
        if not ids:
            ids = self.between(
                *(datetime.fromisoformat(search.findtext(f"created_at/{end}", "")) for end in ("min", "max"))
            )
        items = "".join(f"<item>{one}</item>" for one in ids)
        found = f'<page-size type="integer">50</page-size><ids type="array">{items}</ids>'
        return Call("POST", heard.path, braintree.xml(f"<search-results>{found}</search-results>"))

    def between(self, start: datetime, end: datetime) -> list[str]:
        self.ranges.append(end - start)
        if end - start >= self.crowded:
            return ["unseen"] * LISTED
        return [number for number, made in self.made.items() if start <= made <= end]


@pytest.fixture
def customers(vendor: FakeVendor) -> Customers:
    found = Customers()
    vendor.by_shape = found.answer
    return found


def pays(*subscriptions: str, by: str = "credit-card") -> str:
    inner = f'<token>tok1</token><subscriptions type="array">{"".join(subscriptions)}</subscriptions>'
    return f'<{by}s type="array"><{by}>{inner}</{by}></{by}s>'


def test_braintree_s_customers_in_blocks_by_the_subscription_that_says_most(
    app: App, read: Read, customers: Customers
) -> None:
    SubscriberFactory(app=app, user_id="ann", traits={"braintree_id": "ann"})
    SubscriberFactory(app=app, user_id="bob", traits={"braintree_id": "bob", **TAKEN})
    SubscriberFactory(app=app, user_id="eve", traits={"braintree_id": "eve", **TAKEN})
    made = '<created-at type="datetime">{}-01-01T00:00:00Z</created-at></subscription>'
    older, newer = (
        braintree.subscription(f"s{year}", "premium").replace("</subscription>", made.format(year))
        for year in (2024, 2025)
    )
    over = braintree.subscription("s3", "basic", "Canceled").replace("</subscription>", made.format(2026))
    customers.add("ann", 2024, pays(newer, over) + pays(older, by="paypal-account"))
    for number in range(43):
        customers.add(f"stranger{number}", 2025, pays(over))
    customers.add("bob", 2025)
    undated = '<next-billing-date nil="true"/>'
    paid = braintree.subscription("s4").replace(
        '<next-billing-date type="date">2027-01-15</next-billing-date>', undated
    )
    customers.add("eve", 2026, pays(paid, by="us-bank-account") + '<europe-bank-accounts type="array"/>')
    run = read("braintree", MERCHANT, SECRETS)
    assert (run.state, run.message) == (RunState.DONE, "")
    assert (run.rows_read, run.rows_changed, run.rows_unmatched) == (46, 3, 43)
    assert customers.blocks == [20, 20, 6]
    assert traits_of("ann") == {
        "braintree_id": "ann",
        "braintree_subscription_id": "s2025",
        "braintree_plan_id": "premium",
        "braintree_status": "Active",
        "braintree_next_billing_date": "2027-01-15",
    }
    assert traits_of("bob") == {"braintree_id": "bob", "first_name": "Bob"}
    assert traits_of("eve") == {
        "braintree_id": "eve",
        "first_name": "Bob",
        "braintree_subscription_id": "s4",
        "braintree_plan_id": "basic",
        "braintree_status": "Active",
    }


def test_braintree_s_customers_by_user_id_and_by_halves_of_a_time_with_more_than_a_search_shows(
    app: App, read: Read, customers: Customers
) -> None:
    customers.crowded = timedelta(days=365 * 15)
    for number, year in (("ann", 2010), ("bob", 2025)):
        SubscriberFactory(app=app, user_id=number)
        customers.add(number, year, pays(braintree.subscription(f"of-{number}")))
    run = read("braintree", {**MERCHANT, "traits_for": "user_id"}, SECRETS)
    assert (run.state, run.rows_read, run.rows_changed) == (RunState.DONE, 2, 2)
    assert len(customers.ranges) == 3
    assert [traits_of(number)["braintree_subscription_id"] for number in ("ann", "bob")] == ["of-ann", "of-bob"]


def test_braintree_s_customers_are_not_read_in_part(app: App, read: Read, customers: Customers) -> None:
    customers.crowded = timedelta()
    run = read("braintree", MERCHANT, SECRETS)
    assert run.state == RunState.FAILED
    assert "more customers of one minute than it shows (2007-01-01" in run.message
    assert customers.ranges[-1] <= timedelta(minutes=1)


# --- SendGrid ---------------------------------------------------------------------------------------------------------------

SENDER = {name: value for name, value in sendgrid.SETTINGS.items() if name != "api_key"}
SENDGRID_KEY = {"api_key": sendgrid.KEY}
WISH = {"file_type": "json", "max_file_size": 1, "notifications": {"email": False}}
BEGIN = Call("POST", "/marketing/contacts/exports", {"id": "e1"}, body=WISH, status=202, reads=True)
BUCKET = "https://mc-exports.s3.us-east-1.amazonaws.com"


def looked(status: str, *names: str, code: int = 200, **more: Any) -> Call:
    urls = [f"{BUCKET}/{name}?X-Amz-Signature=planted" for name in names]
    return Call("GET", "/marketing/contacts/exports/e1", {"status": status, "urls": urls, **more}, status=code)


def stored(name: str, raw: bytes, status: int = 200) -> Call:
    return Call("GET", f"/files/{name}", raw, {"X-Amz-Signature": "planted"}, status=status)


def lines(*contacts: dict[str, Any]) -> bytes:
    return "".join(json.dumps({"custom_fields": {}, **one}) + "\n" for one in contacts).encode()


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sendgrid_pulls, "WAITS", (0.0,) * 3)


@pytest.mark.usefixtures("no_waiting")
def test_sendgrid_s_contacts_are_exported_and_their_files_read_without_our_key(
    app: App, read: Read, vendor: FakeVendor
) -> None:
    before = {"sendgrid_city": "Berlin", "city": "Bonn"}
    SubscriberFactory(app=app, user_id="ann", traits={"email_address": "ann@example.com", **before})
    SubscriberFactory(app=app, user_id="bob", traits={"email_address": "bob@example.com"})
    ann = {"contact_id": "c1", "email": "ann@example.com", "first_name": "Ann", "country": "", "external_id": "x1"}
    others = ({"contact_id": "c2", "email": "bob@example.com"}, {"contact_id": "c3", "email": "eve@example.com"})
    run = read(
        "sendgrid",
        SENDER,
        SENDGRID_KEY,
        BEGIN,
        looked("pending", code=404),
        looked("pending"),
        looked("ready", "1.json.gzip", "2.json"),
        stored("1.json.gzip", gzip.compress(lines(ann, {"contact_id": "c0", "phone_number_id": "+3612"}))),
        stored("2.json", lines(*others)),
    )
    assert (run.state, run.message) == (RunState.DONE, "")
    assert (run.rows_read, run.rows_changed, run.rows_unmatched) == (3, 2, 1)
    assert traits_of("ann") == {
        "email_address": "ann@example.com",
        "city": "Bonn",
        "sendgrid_contact_id": "c1",
        "sendgrid_external_id": "x1",
        "sendgrid_first_name": "Ann",
    }
    assert traits_of("bob") == {"email_address": "bob@example.com", "sendgrid_contact_id": "c2"}
    keys = [heard.header("Authorization") for heard in vendor.heard]
    assert keys == [f"Bearer {sendgrid.KEY}"] * 4 + [None] * 2


@pytest.mark.usefixtures("no_waiting")
def test_sendgrid_s_contacts_by_user_id_are_those_with_an_external_id(app: App, read: Read) -> None:
    SubscriberFactory(app=app, user_id="x1")
    told = lines({"contact_id": "c1", "email": "ann@example.com", "external_id": "x1"}, {"email": "bob@example.com"})
    settings = {**SENDER, "traits_for": "user_id"}
    run = read("sendgrid", settings, SENDGRID_KEY, BEGIN, looked("ready", "1"), stored("1", told))
    assert (run.state, run.rows_read, run.rows_changed) == (RunState.DONE, 1, 1)
    assert traits_of("x1")["email_address"] == "ann@example.com"


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        ([looked("failure", message="Out of space")], "has failed: Out of space"),
        ([looked("pending")] * 3, "has not exported the contacts in two hours"),
        ([looked("done")], "'status' is done"),
        ([looked("ready", "1"), stored("1", gzip.compress(lines({"email": "a@x.org"}))[:-9])], "cannot be unpacked"),
        ([looked("ready", "1"), stored("1", b'{"email":')], "is no JSON object"),
        ([looked("ready", "1"), stored("1", b"<Error/>", 403)], "status 403"),
        ([Call("GET", looked("").path, {"status": "ready", "urls": ["https://10.0.0.1/1"]})], "a file at 10.0.0.1,"),
    ],
)
@pytest.mark.usefixtures("no_waiting")
def test_sendgrid_s_export_that_goes_wrong_is_told_and_changes_nothing(
    app: App, read: Read, calls: list[Call], words: str
) -> None:
    SubscriberFactory(app=app, user_id="ann", traits={"email_address": "a@x.org"})
    run = read("sendgrid", SENDER, SENDGRID_KEY, BEGIN, *calls)
    assert run.state == RunState.FAILED
    assert words in run.message
    assert "planted" not in run.message
    assert traits_of("ann") == {"email_address": "a@x.org"}


def test_sendgrid_s_contacts_are_in_its_global_region_only() -> None:
    typed = {**sendgrid.SETTINGS, "region": "eu", "traits_for": "trait"}
    assert list(SendGrid.Settings(typed).errors) == ["traits_for"]
    assert not SendGrid.Settings({**typed, "region": "global"}).errors


# --- Google Play ------------------------------------------------------------------------------------------------------------

PACKAGE = {"package_name": google_play.PACKAGE}
GOOGLE_KEY = {"service_account": google_play.key_file()}


def voided(*rows: dict[str, Any], next_page: str = "", **query: str) -> Call:
    answer = {"voidedPurchases": list(rows)} if rows else {}
    pagination = {"tokenPagination": {"nextPageToken": next_page}} if next_page else {}
    wanted = {"type": "1", "maxResults": "1000", **query}
    return Call("GET", f"{google_play.APP}/purchases/voidedpurchases", {**answer, **pagination}, wanted)


def void(token: str, order: str, at: int, reason: int = 7, source: int = 2) -> dict[str, Any]:
    told = {"purchaseToken": token, "orderId": order, "voidedTimeMillis": str(at), "purchaseTimeMillis": "1"}
    return {**told, "voidedReason": reason, "voidedSource": source}


def test_google_play_s_voided_purchases_by_the_order_that_was_voided_last(app: App, read: Read) -> None:
    SubscriberFactory(app=app, user_id="ann", traits={"google_purchase_token": "t.1", "google_order_id": "GPA.2"})
    SubscriberFactory(app=app, user_id="bob", traits={"google_purchase_token": "t.2"})
    first = read(
        "google_play",
        PACKAGE,
        GOOGLE_KEY,
        google_play.GIVES,
        voided(void("t.1", "GPA.2", 1_798_761_600_000), void("t.1", "GPA.1", 1_798_000_000_000, 0, 0), next_page="p 2"),
        voided(void("t.2", "GPA.3", 1_798_761_600_999, 9, 1), void("t.3", "GPA.4", 1_798_761_600_000), token="p 2"),
    )
    assert (first.state, first.message) == (RunState.DONE, "")
    assert (first.rows_read, first.rows_changed, first.rows_superseded, first.rows_unmatched) == (4, 2, 1, 1)
    assert traits_of("ann") == {
        "google_purchase_token": "t.1",
        "google_order_id": "GPA.2",
        "google_voided_at": "2027-01-01T00:00:00Z",
        "google_voided_reason": "chargeback",
        "google_voided_by": "google",
        "google_voided_order_id": "GPA.2",
    }
    assert traits_of("bob")["google_voided_by"] == "developer"
    assert "google_voided_reason" not in traits_of("bob"), "a reason that Google had not when this was written"
    since = first.started_at - pulls.OVERLAP
    later = voided(startTime=str(int(since.timestamp() * 1000)))
    second = read("google_play", PACKAGE, GOOGLE_KEY, later)
    assert (second.state, second.rows_read, second.changed_since) == (RunState.DONE, 0, since)
    assert traits_of("ann")["google_voided_reason"] == "chargeback"
