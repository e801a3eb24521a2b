"""The sandbox's faults, control API, page and command."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from connectors.sandbox.store import Store
from connectors.sandbox.worlds import WORLDS, cleeng
from tests.sandbox_fixture import RunningSandbox

AVA = 710000001
ROOT = Path(__file__).parents[2]


def apply_coupon(sandbox: RunningSandbox, timeout: float = 5) -> requests.Response:
    return requests.patch(
        f"{sandbox.url}/subscriptions/{AVA}",
        json={"couponCode": "SAVE20"},
        headers={"X-Publisher-Token": sandbox.token},
        timeout=timeout,
    )


def test_a_fault_answers_once_in_the_vendors_place_and_nothing_happens(sandbox: RunningSandbox) -> None:
    sandbox.fault("PATCH", status=503, raw="<h1>Down</h1>", content_type="text/html", retry_after="7")
    spoilt = apply_coupon(sandbox)
    assert (spoilt.status_code, spoilt.text, spoilt.headers["Retry-After"]) == (503, "<h1>Down</h1>", "7")
    assert spoilt.headers["Content-Type"] == "text/html"
    assert not sandbox.effects()
    assert apply_coupon(sandbox).status_code == 200
    assert [bool(request["fault"]) for request in sandbox.requests()] == [True, False]


def test_a_fault_that_acts_hides_what_happened(sandbox: RunningSandbox) -> None:
    sandbox.fault(status=500, body={"message": "Oops"}, act=True)
    assert apply_coupon(sandbox).json() == {"message": "Oops"}
    assert len(sandbox.effects("coupon_applied")) == 1


def test_a_fault_waits_for_its_method_and_path_and_lets_some_pass(sandbox: RunningSandbox) -> None:
    sandbox.fault("GET", status=500)
    sandbox.fault("PATCH", "/offers", status=500)
    sandbox.fault("PATCH", r"/subscriptions/\d+$", skip=1, times=2, status=429)
    assert [apply_coupon(sandbox).status_code for _ in range(4)] == [200, 429, 429, 200]
    assert sandbox.waiting_faults() == 2


def test_the_log_keeps_no_token_of_an_envelope(sandbox: RunningSandbox) -> None:
    envelope = (
        '<e><fueloauth xmlns="http://exacttarget.com">secret-token</fueloauth><SubscriberKey>ava</SubscriberKey></e>'
    )
    requests.post(f"{sandbox.root}/salesforce/soap/Service.asmx", data=envelope, timeout=5)
    (logged,) = [request["body"] for request in sandbox.requests()]
    assert logged == envelope.replace("secret-token", "(12 characters)")


def test_a_page_speaks_the_consoles_words_where_it_was_told_them(sandbox: RunningSandbox) -> None:
    page, control = f"{sandbox.root}/stripe", f"{sandbox.root}/_sandbox"
    assert "<td>Api key</td>" in requests.get(page, timeout=5).text
    labels = {"api_key": {"name": "<Restricted> key"}, "environment": {"name": "Mode", "values": {"sandbox": "Test"}}}
    assert requests.post(f"{control}/labels", json={"stripe": labels}, timeout=5).status_code == 200
    requests.post(f"{control}/reset", json={}, timeout=5)
    told = requests.get(page, timeout=5).text
    assert "<td>&lt;Restricted&gt; key</td>" in told
    assert "<tr><td>Mode</td><td>Test</td></tr>" in told
    for wrong in ({"stripe": ["api_key"]}, {"stripe": {"api_key": {"title": "Key"}}}):
        assert requests.post(f"{control}/labels", json=wrong, timeout=5).status_code == 400


def test_a_page_says_where_requests_come_in_and_what_to_know(sandbox: RunningSandbox) -> None:
    page = requests.get(f"{sandbox.root}/shopify", timeout=5).text
    assert f"Base URL <code>{sandbox.root}/shopify</code>" in page
    assert WORLDS["shopify"].note.split("'")[0] in page
    assert "Base URL" not in requests.get(f"{sandbox.root}/smtp", timeout=5).text


@pytest.mark.parametrize("act", [False, True])
def test_a_connection_can_be_reset_before_or_after_the_effect(sandbox: RunningSandbox, act: bool) -> None:
    sandbox.fault(then="reset", act=act)
    with pytest.raises(requests.ConnectionError):
        apply_coupon(sandbox)
    assert len(sandbox.effects()) == act
    assert sandbox.requests()[0]["status"] is None


def test_an_answer_can_hang_after_the_effect_and_does_not_hold_up_the_end(sandbox: RunningSandbox) -> None:
    sandbox.fault(then="hang", act=True)
    with pytest.raises(requests.Timeout):
        apply_coupon(sandbox, timeout=0.3)
    assert len(sandbox.effects()) == 1


def test_an_answer_can_trickle_through_every_read_timeout(sandbox: RunningSandbox) -> None:
    sandbox.fault(then="trickle", pause=0.002)
    begun = time.monotonic()
    assert apply_coupon(sandbox, timeout=0.1).json()["subscription"]["couponCode"] == "SAVE20"
    assert time.monotonic() - begun > 0.5


def test_an_answer_can_be_late_null_or_called_something_else(sandbox: RunningSandbox) -> None:
    sandbox.fault(delay=0.2, raw="null", act=True)
    begun = time.monotonic()
    assert apply_coupon(sandbox).json() is None
    assert time.monotonic() - begun >= 0.2
    sandbox.fault(content_type="text/html")
    answer = apply_coupon(sandbox)
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.json()["success"] is True


def test_the_control_api_scripts_seeds_and_resets(sandbox: RunningSandbox) -> None:
    control = f"{sandbox.root}/_sandbox"
    assert requests.post(f"{control}/faults", json={"method": "PATCH", "status": 502}, timeout=5).ok
    assert apply_coupon(sandbox).status_code == 502
    seeds = {
        "cleeng": {
            "subscriptions": [{"subscriptionId": 710000101, "customerId": 640000101, "offerId": "S531000001_US"}]
        }
    }
    assert requests.post(f"{control}/seed", json=seeds, timeout=5).ok
    assert sandbox.subscriptions()[710000101]["status"] == "active"
    apply_coupon(sandbox)
    assert requests.get(f"{control}/effects?vendor=cleeng", timeout=5).json() == sandbox.effects()
    assert [row["method"] for row in requests.get(f"{control}/requests", timeout=5).json()] == ["PATCH", "PATCH"]
    before = requests.get(f"{control}/state", timeout=5).json()["now"]
    assert requests.post(f"{control}/clock", json={"advance": 3600}, timeout=5).ok
    assert requests.get(f"{control}/state", timeout=5).json()["now"] >= before + 3600
    assert requests.post(f"{control}/reset", json={}, timeout=5).ok
    assert 710000101 not in sandbox.subscriptions()
    assert not sandbox.effects()


@pytest.mark.parametrize("fault", [{"stauts": 500}, {"then": "explode"}, {"path": "("}])
def test_a_fault_that_cannot_be_meant_is_refused(sandbox: RunningSandbox, fault: dict[str, object]) -> None:
    assert requests.post(f"{sandbox.root}/_sandbox/faults", json=fault, timeout=5).status_code == 400
    assert not sandbox.waiting_faults()


def test_a_form_of_a_foreign_page_cannot_control_the_sandbox(sandbox: RunningSandbox) -> None:
    assert requests.post(f"{sandbox.root}/_sandbox/reset", data="{}", timeout=5).status_code == 415


def test_the_page_shows_what_happened_and_escapes_it(sandbox: RunningSandbox) -> None:
    assert "Nothing yet" in requests.get(sandbox.root, timeout=5).text
    sandbox.seed(customers=[{"id": "640000001", "firstName": "<b>Ava", "lastName": "Stone", "email": "a@example.com"}])
    apply_coupon(sandbox)
    assert "coupon applied" in requests.get(sandbox.root, timeout=5).text
    page = requests.get(sandbox.url, timeout=5).text
    assert "coupon applied" in page
    assert sandbox.token in page
    assert "640000001" in page
    assert "&lt;b&gt;Ava Stone" in page
    assert "<b>" not in page
    assert sandbox.url in page


def test_of_what_happened_the_page_leaves_out_what_is_empty(sandbox: RunningSandbox) -> None:
    with sandbox.store.transaction():
        sandbox.store.effect("cleeng", "changed", "640000001", of="S1", by="", until=None, left=0)
    assert "<td>S1, 0</td>" in requests.get(sandbox.url, timeout=5).text


def test_answers_do_not_wait_for_the_clients_acknowledgement(sandbox: RunningSandbox) -> None:
    with requests.Session() as session:
        session.headers["X-Publisher-Token"] = sandbox.token
        session.get(f"{sandbox.url}/subscriptions", timeout=5)
        took = []
        for _ in range(20):
            begun = time.monotonic()
            session.get(f"{sandbox.url}/subscriptions", timeout=5)
            took.append(time.monotonic() - begun)
        assert min(took) < 0.03  # each would take 40 ms, however idle the machine


def test_the_world_outlives_its_process(tmp_path: Path) -> None:
    root, roots = tmp_path / "root.pem", set()
    command = [sys.executable, "-m", "connectors.sandbox", "--port", "0", "--store", str(tmp_path / "world.sqlite3")]
    command += ["--apple-root", str(root)]
    for expected in (None, "SAVE20"):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ)
        try:
            assert process.stdout is not None
            address = re.search(r"http://\S+", process.stdout.readline())
            assert address is not None
            token = {"X-Publisher-Token": cleeng.TOKEN}
            url = f"{address.group()}/cleeng/subscriptions/{AVA}"
            assert requests.get(url, headers=token, timeout=5).json()["couponCode"] == expected
            assert requests.patch(url, json={"couponCode": "SAVE20"}, headers=token, timeout=5).ok
            roots.add(root.read_text())
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            assert process.stdout is not None
            process.stdout.close()
    assert [text.startswith("-----BEGIN CERTIFICATE-----") for text in roots] == [True]


def test_a_transaction_that_fails_leaves_neither_state_nor_effect() -> None:
    store = Store()

    def fail_half_way() -> None:
        with store.transaction():
            store.put("cleeng", "subscription", 1, {})
            store.effect("cleeng", "switched", 1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert store.get("cleeng", "subscription", 1) is None
    assert not store.effects()
    store.close()
