"""What vendors say of all accounts, read at night: pages, several rows of one account, types, gaps."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_django import Settings

from connectors.models import Connection
from connectors.registry import connector
from connectors.vendors.salesforce import Salesforce
from engage.tenancy.models import App
from sync import pulls
from sync.imports import import_source
from sync.models import ImportRun, RunState, Source, Subscriber
from tests.connectors.fake_vendor import Call, FakeVendor, fake_vendor
from tests.connectors.vendors import test_salesforce as salesforce
from tests.connectors.vendors import test_stripe_traits as stripe
from tests.factories import ConnectionFactory, SubscriberFactory


@pytest.fixture
def vendor(settings: Settings) -> Iterator[FakeVendor]:
    with fake_vendor() as found:
        settings.ENGAGE_VENDOR_URLS = dict.fromkeys(("stripe", "salesforce"), found.url)
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
