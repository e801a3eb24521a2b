"""What is read of Recurly at night is asked for as its own description says."""

from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest
from pytest_django import Settings

from connectors.http import Api
from connectors.journal import OnlyLooks
from connectors.vendors.recurly import Recurly
from tests.connectors.fake_vendor import NOTHING, Heard
from tests.contracts.conftest import description
from tests.contracts.openapi import Description
from tests.sync.vendor_pages import subscription, vendor_pages

SETTINGS = {"region": "us", "api_key": "recurly-key-of-the-tests-0123456789"}


@pytest.mark.parametrize("since", [None, datetime(2025, 1, 1, tzinfo=UTC)])
@pytest.mark.parametrize("key", Recurly.pulls)
def test_the_vendor_describes_every_request(key: str, since: datetime | None, settings: Settings) -> None:
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
