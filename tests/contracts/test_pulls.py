"""What is read of vendors at night is asked for as their own descriptions say."""

from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest
from pytest_django import Settings

from connectors.http import Api
from connectors.journal import OnlyLooks
from connectors.vendors.google_play import GooglePlay
from connectors.vendors.recurly import Recurly
from connectors.vendors.stripe import Stripe
from tests.connectors.fake_vendor import NOTHING, Call, Heard, fake_vendor
from tests.connectors.vendors import test_google_play, test_pulls, test_stripe_traits
from tests.contracts.conftest import description
from tests.contracts.discovery import Discovery
from tests.contracts.openapi import Description, path_of
from tests.sync.vendor_pages import subscription, vendor_pages

SETTINGS = {"region": "us", "api_key": "recurly-key-of-the-tests-0123456789"}


@pytest.mark.parametrize("since", [None, datetime(2025, 1, 1, tzinfo=UTC)])
@pytest.mark.parametrize("key", Recurly.pulls)
def test_recurly_describes_every_request(key: str, since: datetime | None, settings: Settings) -> None:
    recurly = Description.read(description("recurly.yaml"))
    with vendor_pages() as vendor:
        settings.ENGAGE_VENDOR_URLS = {"recurly": vendor.url}
        settings.ENGAGE_PRIVATE_HOSTS = [vendor.url.removeprefix("http://")]
        vendor.lists[key] = [subscription("a1"), subscription("a2")]
        with Api(Recurly(), SETTINGS, OnlyLooks()) as api:
            assert len(list(Recurly.pulls[key].rows(api, since))) == 2
    parts = [urlsplit(path) for path in vendor.heard]
    heard = [Heard("GET", one.path, parse_qsl(one.query), [], NOTHING) for one in parts]
    assert len(heard) == (3 if since else 1)
    assert [recurly.problems(one) for one in heard] == [[]] * len(heard)


def test_stripe_describes_every_request(settings: Settings) -> None:
    stripe = Description.read(description("stripe.json"))
    account = {**test_stripe_traits.SETTINGS, **test_stripe_traits.SECRETS}
    unnamed = test_pulls.of("cus_Ann", items={"data": [{"price": {"nickname": None, "product": "prod_1"}}]})
    with fake_vendor() as vendor:
        settings.ENGAGE_VENDOR_URLS = {"stripe": vendor.url}
        settings.ENGAGE_PRIVATE_HOSTS = [vendor.url.removeprefix("http://")]
        vendor.expect(
            test_pulls.page(test_pulls.of("cus_Ann"), more=True),
            test_pulls.page(unnamed, after="sub_1"),
            Call("GET", "/products/prod_1", {"id": "prod_1", "name": "Sports"}),
        )
        with Api(Stripe(), account, OnlyLooks()) as api:
            assert len(list(Stripe.pulls["subscriptions"].rows(api, None))) == 2
        vendor.assert_played()
    base = path_of(Stripe().base_url(account))
    assert [stripe.problems(one, base) for one in vendor.heard] == [[]] * 3


def test_google_describes_every_request(settings: Settings) -> None:
    publisher = Discovery.read(description("google-androidpublisher-v3.json"))
    since = datetime(2025, 1, 1, tzinfo=UTC)
    at = {"startTime": "1735689600000"}
    with fake_vendor() as vendor:
        settings.ENGAGE_VENDOR_URLS = {"google_play": vendor.url}
        settings.ENGAGE_PRIVATE_HOSTS = [vendor.url.removeprefix("http://")]
        vendor.expect(
            test_google_play.GIVES,
            test_pulls.voided(test_pulls.void("t.1", "GPA.1", 1), next_page="p 2", **at),
            test_pulls.voided(test_pulls.void("t.2", "GPA.2", 2), token="p 2", **at),
        )
        with Api(GooglePlay(), test_google_play.SETTINGS, OnlyLooks()) as api:
            assert len(list(GooglePlay.pulls["voided"].rows(api, since))) == 2
        vendor.assert_played()
    asked = vendor.heard[1:]
    assert [publisher.problems(one) for one in asked] == [[]] * 2
