"""XML answers, which only a request in XML may get."""

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from connectors.failures import Undocumented
from connectors.http import Api
from tests.connectors.contract import MemoryJournal
from tests.connectors.fake_vendor import Broken, Call, FakeVendor, Raw, fake_vendor
from tests.connectors.throwaway import Throwaway


@pytest.fixture
def vendor(settings: Settings) -> Iterator[FakeVendor]:
    with fake_vendor() as running:
        settings.ENGAGE_VENDOR_URLS = {"throwaway": running.url}
        yield running


def ask(vendor: FakeVendor, raw: str, content_type: str = "text/xml; charset=utf-8") -> Any:
    asked = Call("POST", "/x", body=Raw("text/xml; charset=utf-8", "<a/>"))
    vendor.expect(asked, broken={0: Broken("as it is", 200, raw, content_type)})
    with Api(Throwaway(), {"api_key": "k" * 20}, MemoryJournal()) as api:
        answer = api.read("x", xml="<a/>")
    vendor.assert_played()
    return answer


def test_elements_by_their_local_names(vendor: FakeVendor) -> None:
    raw = (
        '<?xml version="1.0" encoding="utf-8"?><s:E xmlns:s="urn:s" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        '<s:B><R kind="x"><Id>1</Id><N xsi:nil="true"/><T/></R><R><Id>ü &amp; 2</Id></R><One><Id>3</Id></One></s:B></s:E>'
    )
    body = ask(vendor, raw)["E"]["B"]
    assert body.data == {"R": [{"Id": "1", "N": None, "T": ""}, {"Id": "ü & 2"}], "One": {"Id": "3"}}
    assert [row["Id"] for row in body.each("R")] == ["1", "ü & 2"]
    assert [row["Id"] for row in body.each("One")] == ["3"]
    assert body.each("None") == []
    assert vendor.heard[-1].header("Accept") == "text/xml"


@pytest.mark.parametrize(
    "raw",
    [
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>',
        '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;&x;&x;">]><a>&y;</a>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd"><a/>',
        "<a><b></a>",
        "<a>" * 60 + "</a>" * 60,
        '<?xml version="1.0" encoding="none-such"?><a/>',
        "",
        "plain",
    ],
)
def test_what_is_none_or_would_have_us_fetch_or_swell_is_no_answer(vendor: FakeVendor, raw: str) -> None:
    with pytest.raises(Undocumented, match="a page instead of data"):
        ask(vendor, raw)


def test_a_page_is_no_answer(vendor: FakeVendor) -> None:
    with pytest.raises(Undocumented, match="a page instead of data"):
        ask(vendor, "<html><body>Sign in</body></html>", "text/html")


def test_what_was_not_asked_in_xml_gets_none(vendor: FakeVendor) -> None:
    vendor.expect(Call("GET", "/x"), broken={0: Broken("xml", 200, "<a><b>1</b></a>", "text/xml")})
    with Api(Throwaway(), {"api_key": "k" * 20}, MemoryJournal()) as api, pytest.raises(Undocumented):
        api.get("x")
