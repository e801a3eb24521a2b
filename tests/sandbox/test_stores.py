"""The stores' worlds, where people buy on a device: what it may buy, and what the store shows of it afterwards."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from pytest_django import Settings

from connectors import registry
from connectors.base import Json
from connectors.checks import stand_in_for_apple
from connectors.runner import Outcome, Result, Work, follow_up, run
from connectors.sandbox.apple_authority import Authority
from connectors.sandbox.people import AVA, BEN, CHLOE, EMMA, Person
from connectors.sandbox.worlds import WORLDS, amazon, apple, google_play, roku
from connectors.vendors.apple import signing
from tests.connectors.contract import MemoryJournal
from tests.sandbox_fixture import RunningSandbox

DAY = 86_400


@pytest.fixture(autouse=True)
def at_the_sandbox(sandbox: RunningSandbox, settings: Settings, tmp_path: Path) -> None:
    settings.ENGAGE_VENDOR_URLS = sandbox.urls
    settings.ENGAGE_APPLE_ROOT = sandbox.apple_root(tmp_path)


def worked(sandbox: RunningSandbox, key: str, action: str, who: Person, **inputs: Any) -> tuple[Work, Outcome]:
    """Run an action for somebody, set up as the world's page says."""
    connector = registry.connector(key)
    with sandbox.store.transaction():
        form = connector.Settings(data=dict(WORLDS[key].setup(sandbox.store)))
    assert form.is_valid(), form.errors
    traits = dict(WORLDS[key].traits(who))
    work = Work(connector, connector.action(action, form.cleaned_data), form.cleaned_data, traits, inputs)
    return work, run(work, MemoryJournal())


def device(sandbox: RunningSandbox, key: str, who: str, instruction: Json | None, **more: Any) -> requests.Response:
    return requests.post(f"{sandbox.urls[key]}/device/{who}", timeout=5, **({"json": instruction} | more))


def looked_at(work: Work, outcome: Outcome, report: Json) -> Outcome:
    """Let the connector look at what a device reports."""
    assert outcome.instruction is not None
    job = work.action.claimed(outcome.instruction, report["detail"])
    assert job is not None
    return follow_up(work, job, MemoryJournal())


# --- Google Play ----------------------------------------------------------------------------------------------------------

PREMIUM = {"offer": "subs/premium/monthly", "offer_tag": "", "personalized": False}


def subscription(sandbox: RunningSandbox, token: str) -> Json:
    with sandbox.store.transaction():
        rows = WORLDS["google_play"].state(sandbox.store)["subscriptions"]
    shown: Json = next(row["shown"] for row in rows if row["token"] == token)
    return shown


def test_an_upgrade_takes_the_place_of_the_purchase_before(sandbox: RunningSandbox) -> None:
    work, outcome = worked(sandbox, "google_play", "upgrade", AVA, **PREMIUM, mode="CHARGE_PRORATED_PRICE")
    report = device(sandbox, "google_play", AVA.user_id, outcome.instruction).json()
    token = report["detail"]["purchaseToken"]
    assert subscription(sandbox, token)["acknowledgementState"] == "ACKNOWLEDGEMENT_STATE_PENDING"
    done = looked_at(work, outcome, report)
    assert (done.result, done.message) == (Result.DONE, "premium is bought.")
    assert done.confirmed is not None
    assert done.confirmed.traits["google_purchase_token"] == token
    assert subscription(sandbox, token)["linkedPurchaseToken"] == google_play.purchase_token(AVA)
    assert subscription(sandbox, token)["acknowledgementState"] == "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED"
    before = subscription(sandbox, google_play.purchase_token(AVA))
    assert before["subscriptionState"] == "SUBSCRIPTION_STATE_EXPIRED"


def test_a_change_at_the_next_renewal_comes_with_it(sandbox: RunningSandbox) -> None:
    work, outcome = worked(sandbox, "google_play", "downgrade", AVA, **PREMIUM, mode="DEFERRED")
    report = device(sandbox, "google_play", AVA.user_id, outcome.instruction).json()
    assert "premium takes effect on" in looked_at(work, outcome, report).message
    now, _ = subscription(sandbox, report["detail"]["purchaseToken"])["lineItems"]
    assert (now["productId"], now["deferredItemReplacement"]) == ("standard", {"productId": "premium"})
    sandbox.advance(21 * DAY)
    (then,) = subscription(sandbox, report["detail"]["purchaseToken"])["lineItems"]
    assert (then["productId"], "deferredItemReplacement" in then) == ("premium", False)


def test_what_another_account_bought_is_not_this_persons(sandbox: RunningSandbox) -> None:
    work, outcome = worked(sandbox, "google_play", "purchase", EMMA, **PREMIUM, consumable=False)
    assert outcome.instruction is not None
    google = outcome.instruction["purchase"]["requestSubscription"]["google"]
    mine = google["obfuscatedAccountId"]
    google["obfuscatedAccountId"] = "somebody else"
    report = device(sandbox, "google_play", EMMA.user_id, outcome.instruction).json()
    google["obfuscatedAccountId"] = mine
    assert looked_at(work, outcome, report).result is Result.REJECTED


def test_what_nobody_acknowledges_is_refunded_after_three_days(sandbox: RunningSandbox) -> None:
    _, outcome = worked(sandbox, "google_play", "purchase", EMMA, **PREMIUM, consumable=False)
    token = device(sandbox, "google_play", EMMA.user_id, outcome.instruction).json()["detail"]["purchaseToken"]
    sandbox.advance(2.9 * DAY)
    assert subscription(sandbox, token)["subscriptionState"] == "SUBSCRIPTION_STATE_ACTIVE"
    sandbox.advance(0.2 * DAY)
    assert subscription(sandbox, token)["subscriptionState"] == "SUBSCRIPTION_STATE_EXPIRED"
    assert [effect["what"] for effect in sandbox.store.effects("google_play")] == [
        "subscription_bought",
        "refunded_unacknowledged",
    ]


@pytest.mark.parametrize(
    ("who", "action", "inputs", "reason"),
    [
        (AVA, "purchase", {"offer": "subs/standard/monthly", "consumable": False}, "ITEM_ALREADY_OWNED"),
        (AVA, "purchase", {"offer": "subs/standard/monthly-2024", "consumable": False}, "ITEM_UNAVAILABLE"),
        (EMMA, "upgrade", {"offer": "subs/premium/monthly", "mode": "DEFERRED"}, "ITEM_NOT_OWNED"),
        (BEN, "purchase", {"offer": "subs/premium/yearly", "consumable": False}, "Account identifiers don't match"),
    ],
)
def test_google_declines_what_cannot_be_bought(
    sandbox: RunningSandbox, who: Person, action: str, inputs: Json, reason: str
) -> None:
    _, outcome = worked(sandbox, "google_play", action, who, **{**PREMIUM, **inputs})
    report = device(sandbox, "google_play", who.user_id, outcome.instruction).json()
    assert report["result"] == "failed"
    assert reason in report["detail"]["reason"]
    assert not sandbox.store.effects("google_play")


def test_an_assertion_is_in_no_log(sandbox: RunningSandbox) -> None:
    _, outcome = worked(sandbox, "google_play", "cancel", AVA, kind="USER_REQUESTED_STOP_RENEWALS")
    assert outcome.result is Result.PENDING
    asked = next(row for row in sandbox.store.requests("google_play") if row["path"] == "/token/token")
    assert asked["body"]["assertion"][0].endswith("characters)")


# --- Roku -----------------------------------------------------------------------------------------------------------------


def transactions(sandbox: RunningSandbox) -> dict[str, Json]:
    with sandbox.store.transaction():
        rows = WORLDS["roku"].state(sandbox.store)["transactions"]
    return {row["number"]: row["shown"] for row in rows}


def test_rokus_key_is_in_no_log(sandbox: RunningSandbox) -> None:
    _, outcome = worked(sandbox, "roku", "credit", AVA, amount=None, product="", comment="")
    assert outcome.result is Result.DONE, outcome.message
    looked, wrote = sandbox.store.requests("roku")
    assert looked["path"].startswith(f"/validate-transaction/({len(roku.API_KEY)} characters)/")
    assert wrote["body"]["partnerAPIKey"] == f"({len(roku.API_KEY)} characters)"
    assert roku.API_KEY not in json.dumps([looked, wrote])


def test_roku_refuses_inside_a_200(sandbox: RunningSandbox) -> None:
    answer = requests.get(f"{sandbox.urls['roku']}/validate-transaction/another-key/1", timeout=5)
    assert (answer.status_code, answer.json()["status"], answer.json()["errorMessage"]) == (200, 1, "UNAUTHORIZED")
    half = {"kind": "percent", "amount": None, "percent": 60, "comment": ""}
    assert worked(sandbox, "roku", "refund", AVA, **half)[1].result is Result.DONE
    _, again = worked(sandbox, "roku", "refund", AVA, **half)
    assert (again.result, "exceeds the amount" in again.message) == (Result.REJECTED, True)


def test_rokus_upgrade_takes_effect_at_once(sandbox: RunningSandbox) -> None:
    work, outcome = worked(sandbox, "roku", "upgrade", AVA, product="premium_monthly")
    report = device(sandbox, "roku", AVA.user_id, outcome.instruction).json()
    assert looked_at(work, outcome, report).result is Result.DONE
    new, old = transactions(sandbox)[report["detail"]["purchaseId"]], transactions(sandbox)[roku.transaction_id(AVA)]
    assert (new["purchaseType"], new["cancelledTransactionIds"]) == ("UPGRADE", [roku.transaction_id(AVA)])
    assert (old["isEntitled"], old["cancelled"]) == (False, True)


def test_rokus_downgrade_begins_when_the_period_ends(sandbox: RunningSandbox) -> None:
    work, outcome = worked(sandbox, "roku", "downgrade", CHLOE, product="basic_monthly")
    report = device(sandbox, "roku", CHLOE.user_id, outcome.instruction).json()
    assert looked_at(work, outcome, report).result is Result.DONE
    number, old = report["detail"]["purchaseId"], roku.transaction_id(CHLOE)
    assert (transactions(sandbox)[number]["purchaseStatus"], transactions(sandbox)[number]["amount"]) == (
        "PendingActive",
        0,
    )
    assert transactions(sandbox)[old]["isEntitled"]
    sandbox.advance(201 * DAY)
    assert (transactions(sandbox)[number]["purchaseStatus"], transactions(sandbox)[number]["amount"]) == (
        "Active",
        5.99,
    )
    assert not transactions(sandbox)[old]["isEntitled"]


@pytest.mark.parametrize(
    ("who", "action", "product", "reason"),
    [
        (AVA, "purchase", "premium_monthly", "of this group already"),
        (EMMA, "upgrade", "premium_monthly", "no other product of this group"),
        (AVA, "downgrade", "premium_monthly", "cannot be Downgrade"),
    ],
)
def test_roku_declines_what_cannot_be_ordered(
    sandbox: RunningSandbox, who: Person, action: str, product: str, reason: str
) -> None:
    _, outcome = worked(sandbox, "roku", action, who, product=product)
    report = device(sandbox, "roku", who.user_id, outcome.instruction).json()
    assert (report["result"], reason in report["detail"]["reason"]) == ("failed", True), report
    assert not sandbox.store.effects("roku")


# --- Amazon ---------------------------------------------------------------------------------------------------------------


def receipts(sandbox: RunningSandbox) -> dict[str, Json]:
    with sandbox.store.transaction():
        rows = WORLDS["amazon"].state(sandbox.store)["receipts"]
    return {row["shown"]["receiptId"]: row["shown"] for row in rows}


def test_amazons_key_is_in_no_log(sandbox: RunningSandbox) -> None:
    work, outcome = worked(sandbox, "amazon", "purchase", EMMA, sku="premium.month")
    report = device(sandbox, "amazon", EMMA.user_id, outcome.instruction).json()
    assert looked_at(work, outcome, report).result is Result.DONE
    _, looked = sandbox.store.requests("amazon")
    assert f"/developer/({len(amazon.SHARED_KEY)} characters)/user/" in looked["path"]
    page = requests.get(f"{sandbox.root}/amazon", timeout=5).text
    assert page.count(amazon.SHARED_KEY) == 1  # where it says what to type


def test_amazon_tells_a_wrong_key_from_a_wrong_user(sandbox: RunningSandbox) -> None:
    def status(key: str, user: str, number: str) -> int:
        parts = [quote(part, safe="") for part in (key, "user", user, "receiptId", number)]
        place = f"{sandbox.urls['amazon']}/version/1.0/verifyReceiptId/developer/{'/'.join(parts)}"
        return requests.get(place, timeout=5).status_code

    ava, ben, hers = amazon.amazon_user(AVA), amazon.amazon_user(BEN), amazon.receipt_id(AVA)
    assert status(amazon.SHARED_KEY, ava, hers) == 200
    assert status("2:another", ava, hers) == 496
    assert status(amazon.SHARED_KEY, ben, hers) == 497
    assert status(amazon.SHARED_KEY, ava, "none") == 400


def test_amazons_tiers_change_at_once_or_with_the_renewal(sandbox: RunningSandbox) -> None:
    work, outcome = worked(sandbox, "amazon", "upgrade", AVA, sku="premium.month", mode="IMMEDIATE")
    report = device(sandbox, "amazon", AVA.user_id, outcome.instruction).json()
    assert looked_at(work, outcome, report).message == "premium.month is bought."
    assert receipts(sandbox)[amazon.receipt_id(AVA)]["cancelReason"] == 4

    work, outcome = worked(sandbox, "amazon", "downgrade", CHLOE, sku="basic.month", mode="DEFERRED")
    report = device(sandbox, "amazon", CHLOE.user_id, outcome.instruction).json()
    assert looked_at(work, outcome, report).message == "basic.month takes effect at the next renewal."
    hers = amazon.receipt_id(CHLOE)
    assert (report["detail"]["receiptId"], receipts(sandbox)[hers]["cancelDate"]) == (hers, None)
    before = set(receipts(sandbox))
    sandbox.advance(201 * DAY)
    assert receipts(sandbox)[hers]["cancelReason"] == 4
    (new,) = set(receipts(sandbox)) - before
    assert (receipts(sandbox)[new]["termSku"], receipts(sandbox)[new]["cancelDate"]) == ("basic.month", None)


@pytest.mark.parametrize(
    ("who", "action", "inputs", "reason"),
    [
        (AVA, "purchase", {"sku": "premium.month"}, "ALREADY_PURCHASED"),
        (AVA, "purchase", {"sku": "unknown"}, "INVALID_SKU"),
        (EMMA, "upgrade", {"sku": "premium.month", "mode": "IMMEDIATE"}, "no other tier"),
    ],
)
def test_amazon_declines_what_cannot_be_bought(
    sandbox: RunningSandbox, who: Person, action: str, inputs: Json, reason: str
) -> None:
    _, outcome = worked(sandbox, "amazon", action, who, **inputs)
    report = device(sandbox, "amazon", who.user_id, outcome.instruction).json()
    assert (report["result"], reason in report["detail"]["reason"]) == ("failed", True), report
    assert not sandbox.store.effects("amazon")


# --- Apple ----------------------------------------------------------------------------------------------------------------

NO_OFFER = {"offer": "", "introductory": ""}


def apples(sandbox: RunningSandbox) -> dict[str, Json]:
    with sandbox.store.transaction():
        rows = WORLDS["apple"].state(sandbox.store)["subscriptions"]
    return {row["who"]: row for row in rows}


def extended(sandbox: RunningSandbox) -> Outcome:
    return worked(sandbox, "apple", "extend", AVA, days=7, reason=1)[1]


def test_apples_stand_in_is_believed_only_where_an_operator_says_so(
    sandbox: RunningSandbox, settings: Settings, tmp_path: Path
) -> None:
    assert signing.roots() != signing.ROOTS
    for nobodys in ("", str(tmp_path / "missing.pem"), __file__):
        settings.ENGAGE_APPLE_ROOT = nobodys
        assert signing.roots() == ([] if nobodys else signing.ROOTS)
        outcome = extended(sandbox)
        assert (outcome.result, "not signed by Apple" in outcome.message) == (Result.WAITING, True), outcome
    assert not sandbox.store.effects("apple")
    settings.ENGAGE_APPLE_ROOT = sandbox.apple_root(tmp_path)
    assert extended(sandbox).result is Result.DONE


def test_a_root_in_apples_place_needs_a_sandbox_in_apples_place(settings: Settings) -> None:
    assert stand_in_for_apple() == []
    settings.ENGAGE_VENDOR_URLS = {"google_play": "http://127.0.0.1:9000/google_play"}
    assert signing.roots() == signing.ROOTS
    assert [problem.id for problem in stand_in_for_apple()] == ["engage.E010"]
    settings.ENGAGE_APPLE_ROOT = ""
    assert stand_in_for_apple() == []


def test_apples_signatures_of_another_sandbox_are_refused(
    sandbox: RunningSandbox, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "another.pem"
    file.write_text(Authority.new().root_pem)
    settings.ENGAGE_APPLE_ROOT = str(file)
    assert "not signed by Apple" in extended(sandbox).message
    assert not sandbox.store.effects("apple")


def test_apple_extends_twice_a_year(sandbox: RunningSandbox) -> None:
    assert [extended(sandbox).result for _ in range(3)] == [Result.DONE, Result.DONE, Result.REJECTED]
    assert len(sandbox.store.effects("apple")) == 2


def test_apples_higher_level_comes_at_once_and_a_lower_one_with_the_renewal(sandbox: RunningSandbox) -> None:
    work, outcome = worked(sandbox, "apple", "upgrade", AVA, product=f"subs/{apple.YEAR}", **NO_OFFER)
    report = device(sandbox, "apple", AVA.user_id, outcome.instruction).json()
    done = looked_at(work, outcome, report)
    assert (done.result, done.message) == (Result.DONE, f"{apple.YEAR} is bought.")
    assert done.confirmed is not None
    assert done.confirmed.traits["apple_original_transaction_id"] == apple.original_id(AVA)

    work, outcome = worked(sandbox, "apple", "downgrade", CHLOE, product=f"subs/{apple.BASIC}", **NO_OFFER)
    report = device(sandbox, "apple", CHLOE.user_id, outcome.instruction).json()
    assert f"{apple.BASIC} takes effect on" in looked_at(work, outcome, report).message
    assert apples(sandbox)[CHLOE.user_id]["shown"]["productId"] == apple.YEAR
    sandbox.advance(201 * DAY)
    assert apples(sandbox)[CHLOE.user_id]["shown"]["productId"] == apple.BASIC


def test_apples_offer_is_for_one_person_and_one_purchase(sandbox: RunningSandbox) -> None:
    offer = {"offer": f"promotional/{apple.YEAR}/stay50", "introductory": ""}
    work, outcome = worked(sandbox, "apple", "upgrade", AVA, product=f"subs/{apple.YEAR}", **offer)
    others = device(sandbox, "apple", BEN.user_id, outcome.instruction).json()
    assert "another customer's" in others["detail"]["reason"]
    assert outcome.instruction is not None
    forged = json.loads(json.dumps(outcome.instruction).replace("stay50", "stay99"))
    assert "invalidOfferSignature" in device(sandbox, "apple", AVA.user_id, forged).json()["detail"]["reason"]
    report = device(sandbox, "apple", AVA.user_id, outcome.instruction).json()
    done = looked_at(work, outcome, report)
    assert done.confirmed is not None
    assert done.confirmed.traits["apple_offer_identifier"] == "stay50"
    again = device(sandbox, "apple", AVA.user_id, outcome.instruction).json()
    assert "used before" in again["detail"]["reason"]


@pytest.mark.parametrize(
    ("who", "action", "inputs", "reason"),
    [
        (AVA, "purchase", {"product": f"subs/{apple.BASIC}"}, "is subscribed"),
        (EMMA, "purchase", {"product": "subs/com.example.other"}, "productUnavailable"),
        (AVA, "purchase", {"product": f"subs/{apple.YEAR}", "offer": f"winback/{apple.YEAR}/back30"}, "ineligible"),
    ],
)
def test_apple_declines_what_cannot_be_bought(
    sandbox: RunningSandbox, who: Person, action: str, inputs: Json, reason: str
) -> None:
    _, outcome = worked(sandbox, "apple", action, who, **{**NO_OFFER, **inputs})
    report = device(sandbox, "apple", who.user_id, outcome.instruction).json()
    assert (report["result"], reason in report["detail"]["reason"]) == ("failed", True), report
    assert not sandbox.store.effects("apple")


# --- devices --------------------------------------------------------------------------------------------------------------


def test_a_device_takes_instructions_of_its_store_and_no_forms(sandbox: RunningSandbox) -> None:
    _, outcome = worked(sandbox, "google_play", "purchase", EMMA, **PREMIUM, consumable=False)
    assert outcome.instruction is not None
    form = {"data": "{}", "headers": {"Content-Type": "text/plain"}, "json": None}
    assert device(sandbox, "google_play", EMMA.user_id, None, **form).status_code == 415
    assert device(sandbox, "google_play", "nobody", outcome.instruction).status_code == 404
    for wrong in ({}, {**outcome.instruction, "purchase": "all of it"}, [1]):
        assert device(sandbox, "google_play", EMMA.user_id, {}, json=wrong).status_code == 400
    assert not sandbox.store.effects("google_play")


def test_a_vendor_that_is_no_store_has_no_devices(sandbox: RunningSandbox) -> None:
    assert device(sandbox, "chargify", AVA.user_id, {}).status_code == 401
