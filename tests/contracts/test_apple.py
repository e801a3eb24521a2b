"""Apple's own library sends the same requests as we do, and takes what we sign; every payload for the app has OpenIAP's types."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from appstoreserverlibrary.api_client import AppStoreServerAPIClient
from appstoreserverlibrary.models.ConsumptionRequest import ConsumptionRequest
from appstoreserverlibrary.models.DeliveryStatus import DeliveryStatus
from appstoreserverlibrary.models.Environment import Environment
from appstoreserverlibrary.models.ExtendReasonCode import ExtendReasonCode
from appstoreserverlibrary.models.ExtendRenewalDateRequest import ExtendRenewalDateRequest
from appstoreserverlibrary.models.RefundPreference import RefundPreference
from appstoreserverlibrary.models.UpdateAppAccountTokenRequest import UpdateAppAccountTokenRequest

from connectors.vendors.apple.buying import Purchase
from connectors.vendors.apple.refunds import DELIVERIES, PREFERENCES
from tests.connectors.contract import Player, Scenario
from tests.connectors.contract import player as player  # noqa: PLC0414 - a fixture
from tests.connectors.fake_vendor import Heard
from tests.connectors.vendors import test_apple as apple
from tests.connectors.vendors.test_apple import _roots  # noqa: F401 - a fixture
from tests.contracts.scenarios import name, scenarios
from tests.contracts.test_google import problems

HANDED = [one for one in scenarios(apple) if one.instruction]


class Client(AppStoreServerAPIClient):
    """Apple's client, led to the fake vendor."""

    def __init__(self, url: str) -> None:
        key = apple.SETTINGS["iap_private_key"].encode()
        super().__init__(key, apple.SETTINGS["iap_key_id"], apple.ISSUER, apple.BUNDLE, Environment.SANDBOX)
        self._base_url = url


def told(heard: Heard) -> Any:
    """What a request says, its token by its head and claims."""
    token = str(heard.header("Authorization")).removeprefix("Bearer ")
    claims = jwt.decode(token, options={"verify_signature": False})
    lasts = claims.pop("exp") - int(datetime.now(UTC).timestamp())
    assert 0 < lasts <= 3600
    claims.pop("iat", None)
    return heard.method, heard.path, heard.query, heard.body, jwt.get_unverified_header(token), claims


def test_apples_client_sends_the_same(player: Player) -> None:
    calls = (apple.told(), apple.shown(), apple.shown(), apple.extends())
    apple.asked(player, Purchase, apple.ANYBODY, *calls[:2])
    player.vendor.expect(*calls[2:])
    player.play(apple.TestExtend.scenario)
    player.vendor.expect(*calls)
    theirs = Client(player.vendor.url)
    theirs.get_transaction_info(apple.BOUGHT)
    for _ in range(2):
        theirs.get_all_subscription_statuses(apple.ORIGINAL)
    days = ExtendRenewalDateRequest(7, ExtendReasonCode.CUSTOMER_SATISFACTION, "execution-1")
    answer = theirs.extend_subscription_renewal_date(apple.ORIGINAL, days)
    assert answer.success is True
    player.vendor.assert_played()
    requests = [told(heard) for heard in player.vendor.heard]
    assert requests[:4] == requests[4:]


def test_apples_client_links_and_answers_in_the_same_way(player: Player) -> None:
    links, answers = apple.TestSetAppAccountToken.scenario, apple.TestSendConsumption.scenario
    player.vendor.expect(*links.calls, *answers.calls)
    player.play(links)
    player.play(answers)
    player.vendor.expect(*links.calls, *answers.calls)
    theirs = Client(player.vendor.url)
    theirs.get_transaction_info(apple.ORIGINAL)
    theirs.set_app_account_token(apple.ORIGINAL, UpdateAppAccountTokenRequest(apple.ACCOUNT))
    used = ConsumptionRequest(
        customerConsented=True,
        sampleContentProvided=False,
        deliveryStatus=DeliveryStatus.DELIVERED,
        consumptionPercentage=40_000,
        refundPreference=RefundPreference.GRANT_PRORATED,
    )
    theirs.send_consumption_information(apple.BOUGHT, used)
    player.vendor.assert_played()
    requests = [told(heard) for heard in player.vendor.heard]
    assert len(requests) == 6
    assert requests[:3] == requests[3:]


def test_a_designer_chooses_what_apple_knows() -> None:
    assert [key for key, _ in DELIVERIES] == [one.value for one in DeliveryStatus]
    assert [key for key, _ in PREFERENCES if key] == [one.value for one in RefundPreference]


@pytest.mark.parametrize("scenario", HANDED, ids=name)
@pytest.mark.parametrize("inputs", [{}, apple.PROMOTIONAL, {"introductory": "allow"}])
def test_the_apps_payload_has_openiaps_types(player: Player, scenario: Scenario, inputs: Any) -> None:
    outcome, _ = player.play(replace(scenario, inputs={**scenario.inputs, **inputs}))
    assert outcome.instruction is not None
    payload = outcome.instruction["purchase"]
    assert problems(payload) == []
    assert problems({**payload, "requestSubscription": {"apple": {"skus": [apple.YEAR]}}}) != []
