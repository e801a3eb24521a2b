from datetime import UTC, datetime, timedelta

import pytest

from connectors import catalogues
from connectors.models import CatalogueEntry, CatalogueState, Connection
from engage.schedules import slots
from engage.schedules.models import Slot
from engage.tenancy.models import App
from tests.connectors.conftest import KEY, OTHER_KEY, Vendor, offer
from tests.factories import ConnectionFactory

BASIC, PREMIUM = "S100000001_US", "S100000002_US"


@pytest.fixture
def connection(app: App) -> Connection:
    return ConnectionFactory(app=app, secrets={"api_key": KEY})


def state(connection: Connection) -> CatalogueState:
    return connection.catalogue_states.get(catalogue="offers")


def test_a_refresh_stores_the_rows_in_the_vendors_order(connection: Connection, vendor: Vendor) -> None:
    catalogues.refresh(connection)

    assert catalogues.choices(connection, "offers") == [(BASIC, f"Basic ({BASIC})"), (PREMIUM, f"Premium ({PREMIUM})")]
    assert state(connection).error == ""
    assert state(connection).refreshed_at is not None


def test_a_row_that_is_gone_is_marked_and_offered_again_when_it_returns(connection: Connection, vendor: Vendor) -> None:
    catalogues.refresh(connection)
    vendor.offers = [offer(100000001, "Basic")]
    catalogues.refresh(connection)

    assert [key for key, _ in catalogues.choices(connection, "offers")] == [BASIC]
    saved = catalogues.choices(connection, "offers", saved=PREMIUM)
    assert saved[-1] == (PREMIUM, f"Premium ({PREMIUM}) (no longer at the vendor)")

    vendor.offers = [offer(100000002, "Premium Plus"), offer(100000001, "Basic")]
    catalogues.refresh(connection)
    assert catalogues.choices(connection, "offers", saved=PREMIUM)[0] == (PREMIUM, f"Premium Plus ({PREMIUM})")


def test_a_saved_choice_that_was_never_listed_says_so(connection: Connection) -> None:
    assert catalogues.choices(connection, "offers", saved="S9_US") == [("S9_US", "S9_US (not known at the vendor)")]


@pytest.mark.parametrize("status", [401, 500])
def test_a_refresh_that_failed_marks_nothing_and_says_why(connection: Connection, vendor: Vendor, status: int) -> None:
    catalogues.refresh(connection)
    before = state(connection).refreshed_at
    vendor.status = status
    catalogues.refresh(connection)

    assert len(catalogues.choices(connection, "offers")) == 2
    assert "Cleeng" in state(connection).error
    assert state(connection).refreshed_at == before


def test_a_list_that_is_suddenly_empty_keeps_the_known_rows_and_says_so(connection: Connection, vendor: Vendor) -> None:
    catalogues.refresh(connection)
    vendor.offers = []
    catalogues.refresh(connection)

    assert len(catalogues.choices(connection, "offers")) == 2
    assert "2 known rows are kept" in state(connection).error


def test_a_vendor_that_lists_nothing_at_first_is_no_error(connection: Connection, vendor: Vendor) -> None:
    vendor.offers = []
    catalogues.refresh(connection)

    assert state(connection).error == ""
    assert catalogues.choices(connection, "offers") == []


def test_a_row_that_comes_twice_is_stored_once(connection: Connection, vendor: Vendor) -> None:
    vendor.offers = [offer(100000001, "Basic"), offer(100000001, "Basic again")]
    catalogues.refresh(connection)

    assert CatalogueEntry.objects.count() == 1


def test_rows_of_an_account_that_was_changed_meanwhile_are_not_stored(connection: Connection, vendor: Vendor) -> None:
    stale = Connection.objects.get(pk=connection.pk)
    connection.generation += 1
    connection.seal({"api_key": KEY})
    connection.save()
    stale.seal({"api_key": KEY})  # as it was opened before the change
    catalogues.refresh(stale)

    assert CatalogueEntry.objects.count() == 0
    assert "account was changed" in state(connection).error


def test_secrets_that_do_not_open_are_an_error_in_words(connection: Connection, vendor: Vendor) -> None:
    Connection.objects.filter(pk=connection.pk).update(generation=7)
    catalogues.refresh(Connection.objects.get(pk=connection.pk))

    assert "cannot be opened" in state(connection).error
    assert vendor.asked_with == []


def test_prices_are_in_the_label_once() -> None:
    entry = CatalogueEntry(label="Premium", data={"price": 9.99, "currency": "USD"})
    assert catalogues.label(entry) == "Premium, 9.99 USD"
    entry.label = "Premium, 9.99 USD"
    assert catalogues.label(entry) == "Premium, 9.99 USD"


# --- every night ------------------------------------------------------------------------------------------------------------

NIGHT = datetime(2026, 3, 10, 2, 0, tzinfo=UTC)  # 03:00 in Berlin


@pytest.fixture
def nightly(connection: Connection) -> Connection:
    App.objects.update(time_zone="Europe/Berlin")
    Connection.objects.update(created_at=NIGHT - timedelta(days=3))
    return connection


def test_a_night_is_carried_out_once(nightly: Connection, vendor: Vendor) -> None:
    assert catalogues.refresh_due(NIGHT + timedelta(minutes=1)) == 1
    assert catalogues.refresh_due(NIGHT + timedelta(minutes=2)) == 0
    assert catalogues.refresh_due(NIGHT + timedelta(days=1)) == 1
    assert len(catalogues.choices(nightly, "offers")) == 2


def test_the_night_begins_at_three_in_the_apps_time_zone(nightly: Connection, vendor: Vendor) -> None:
    catalogues.refresh_due(NIGHT - timedelta(minutes=1))
    catalogues.refresh_due(NIGHT)

    assert list(Slot.objects.order_by("start").values_list("start", flat=True)) == [NIGHT - timedelta(days=1), NIGHT]


def test_a_night_before_the_connection_was_made_is_not_caught_up(nightly: Connection, vendor: Vendor) -> None:
    Connection.objects.update(created_at=NIGHT + timedelta(minutes=5))

    assert catalogues.refresh_due(NIGHT + timedelta(minutes=10)) == 0
    assert vendor.asked_with == []


def test_a_refresh_that_died_is_taken_up_after_its_lease(nightly: Connection, vendor: Vendor) -> None:
    Slot.objects.create(job=f"catalogues:{nightly.pk}", start=NIGHT, lease_until=NIGHT + slots.NIGHT_LEASE)

    assert catalogues.refresh_due(NIGHT + timedelta(minutes=1)) == 0
    assert catalogues.refresh_due(NIGHT + slots.NIGHT_LEASE) == 1


def test_inactive_connections_sleep_at_night(nightly: Connection, vendor: Vendor) -> None:
    Connection.objects.update(active=False)

    assert catalogues.refresh_due(NIGHT + timedelta(minutes=1)) == 0


def test_a_time_zone_that_does_not_exist_stops_nobodys_night(
    nightly: Connection, other_app: App, vendor: Vendor
) -> None:
    App.objects.filter(pk=other_app.pk).update(time_zone="Mars/Olympus")
    ConnectionFactory(app=other_app, secrets={"api_key": OTHER_KEY})
    Connection.objects.update(created_at=NIGHT - timedelta(days=3))

    assert catalogues.refresh_due(NIGHT + timedelta(hours=2)) == 2
