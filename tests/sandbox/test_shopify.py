"""The fake Shopify answers what is asked for and no more, and its log keeps no token."""

from typing import Any

import pytest
import requests

from connectors.sandbox.worlds.shopify import CLIENT_ID, CLIENT_SECRET, OLD_TOKEN
from connectors.vendors.shopify.asking import DISCOUNT, VARIANTS, WHO_WE_ARE, WHOSE_STORE
from tests.sandbox_fixture import RunningSandbox

ADMIN = "/admin/api/2026-07/graphql.json"


def ask(sandbox: RunningSandbox, document: str, path: str = ADMIN, token: str = OLD_TOKEN, **variables: Any) -> Any:
    answer = requests.post(
        f"{sandbox.root}/shopify{path}",
        json={"query": document, "variables": variables},
        headers={"X-Shopify-Access-Token": token},
        timeout=5,
    )
    return answer.json() if answer.ok else answer.status_code


def test_only_what_is_asked_for_is_answered(sandbox: RunningSandbox) -> None:
    told = ask(sandbox, WHO_WE_ARE)["data"]
    assert told["shop"] == {"name": "Streamly shop", "myshopifyDomain": "example.myshopify.com"}
    assert {"handle": "read_products"} in told["currentAppInstallation"]["accessScopes"]
    found = ask(sandbox, VARIANTS, query='sku:"MUG" OR id:44556602')["data"]["productVariants"]
    assert [row["sku"] for row in found["nodes"]] == ["TSHIRT-L", "MUG"]
    assert found["nodes"][1]["product"] == {"title": "Mug", "status": "ACTIVE"}
    assert found["pageInfo"] == {"hasNextPage": False}
    more = ask(sandbox, "{ productVariants(first: 2) { nodes { sku } pageInfo { hasNextPage } } }")["data"]
    assert more["productVariants"] == {
        "nodes": [{"sku": "TSHIRT-M"}, {"sku": "TSHIRT-L"}],
        "pageInfo": {"hasNextPage": True},
    }


@pytest.mark.parametrize(("code", "status"), [("save20", "ACTIVE"), ("SHIPFREE", "ACTIVE"), ("SUMMER24", "EXPIRED")])
def test_a_code_is_found_whatever_its_kind_and_case(code: str, status: str, sandbox: RunningSandbox) -> None:
    found = ask(sandbox, DISCOUNT, code=code)["data"]["codeDiscountNodeByCode"]
    assert found["codeDiscount"]["status"] == status


def test_a_code_that_there_is_not(sandbox: RunningSandbox) -> None:
    assert ask(sandbox, DISCOUNT, code="NONE")["data"] == {"codeDiscountNodeByCode": None}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ shop { name owner } }", "undefinedField"),
        ("{ shops { name } }", "undefinedField"),
        ("{ shop }", "selectionMismatch"),
        ("{ shop { name { first } } }", "selectionMismatch"),
        ("{ shop { name }", "BAD_REQUEST"),
        ("{ shop { na-me } }", "BAD_REQUEST"),
        ("mutation { shopDelete { id } }", "BAD_REQUEST"),
        ("{ productVariants { nodes { sku } } }", "BAD_REQUEST"),
    ],
)
def test_what_is_wrongly_asked_is_refused(query: str, code: str, sandbox: RunningSandbox) -> None:
    told = ask(sandbox, query)
    assert ("data" in told, told["errors"][0]["extensions"]["code"]) == (False, code)


def test_a_token_is_given_out_for_a_day_and_nobody_else_is_let_in(sandbox: RunningSandbox) -> None:
    form = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    url = f"{sandbox.root}/shopify/token/admin/oauth/access_token"
    assert requests.post(url, data=form | {"client_secret": "wrong"}, timeout=5).status_code == 400
    token = requests.post(url, data=form, timeout=5).json()["access_token"]
    assert "data" in ask(sandbox, WHO_WE_ARE, token=token)
    sandbox.advance(24 * 3600)
    assert ask(sandbox, WHO_WE_ARE, token=token) == ask(sandbox, WHO_WE_ARE, token="shpat_wrong") == 401
    kept = str(sandbox.requests())
    assert not [secret for secret in (token, CLIENT_SECRET, OLD_TOKEN, "shpat_wrong") if secret in kept]


def test_the_storefront_needs_no_token_and_shows_less(sandbox: RunningSandbox) -> None:
    path = "/storefront/api/2026-07/graphql.json"
    assert ask(sandbox, WHOSE_STORE, path, "")["data"]["shop"]["primaryDomain"] == {"url": "https://shop.example.com"}
    assert "errors" in ask(sandbox, VARIANTS, path, "", query="")
