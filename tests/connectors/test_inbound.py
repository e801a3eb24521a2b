"""The inbound contract, kept by vendors that only tests know: the vocabulary says what real ones need."""

from tests.connectors.fake_vendor import Call
from tests.connectors.inbound_contract import InboundContract, InboundScenario
from tests.connectors.tellers import Hinting, Slipping, Tracking, as_json, sign_hint, sign_slip, sign_tracks, slip

API = {"api_key": "api-key-of-the-tests-0123456789"}


class TestHints(InboundContract):
    scenario = InboundScenario(
        Hinting,
        tells=as_json(id="evt_1", type="plan.changed", customer="c-1"),
        sign=sign_hint,
        known={"customer_id": "c-1", "first_name": "Ann"},
        learned={"customer_id": "c-1", "first_name": "Ann", "plan": "premium"},
        calls=(Call("GET", "/customers/c-1", {"plan": "premium"}),),
        secrets=API,
        event_id="evt_1",
        type="plan.changed",
        unread=as_json(id="evt_2", type="invoice.paid", customer="c-1"),
    )


class TestSlips(InboundContract):
    scenario = InboundScenario(
        Slipping,
        tells=slip(),
        sign=sign_slip,
        known={"customer_id": "c-1"},
        learned={"customer_id": "c-1", "plan": "premium"},
        secrets=API,
        event_id="slip-1",
        type="plan_changed",
        unread=slip(kind="dispute_opened"),
        dated=False,
    )


class TestTracks(InboundContract):
    scenario = InboundScenario(
        Tracking,
        tells=as_json(messageId="m-1", type="identify", userId="viewer-ann", traits={"plan": "premium"}),
        sign=sign_tracks,
        known={"plan": "basic"},
        learned={"plan": "premium"},
        secrets=API,
        event_id="m-1",
        type="identify",
        unread=as_json(messageId="m-2", type="track", userId="viewer-ann", event="Played"),
        dated=False,
        free=True,
    )
