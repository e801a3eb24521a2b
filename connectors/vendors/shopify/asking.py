"""How the Admin API is asked, and about what; which store a connection is of."""

from typing import Any

from connectors.answers import Answer
from connectors.base import Values
from connectors.http import Api

API_VERSION = "2026-07"  # the latest stable one; a version is answered for at least a year
ADMIN = ("admin", "api", API_VERSION, "graphql.json")
STOREFRONT = ("api", API_VERSION, "graphql.json")
ADMIN_HEADER = "X-Shopify-Access-Token"
SCOPES = ("read_discounts", "read_products")

VARIANTS = """
query Variants($query: String!) {
  productVariants(first: 250, query: $query) {
    nodes { legacyResourceId sku title product { title status } }
    pageInfo { hasNextPage }
  }
}"""
DISCOUNT = """
query Discount($code: String!) {
  codeDiscountNodeByCode(code: $code) {
    codeDiscount {
      ... on DiscountCodeBasic { title status }
      ... on DiscountCodeBxgy { title status }
      ... on DiscountCodeFreeShipping { title status }
      ... on DiscountCodeApp { title status }
    }
  }
}"""
WHO_WE_ARE = """
query WhoWeAre {
  shop { name myshopifyDomain }
  currentAppInstallation { accessScopes { handle } }
}"""
WHOSE_STORE = "query WhoseStore { shop { name primaryDomain { url } } }"


def store(settings: Values) -> str:
    """Return the host on which visitors are."""
    return str(settings.get("storefront_domain") or settings["shop_url"])


def store_hosts(settings: Values) -> list[str]:
    """Return the hosts on which a page may change the cart by itself."""
    return list(dict.fromkeys([store(settings), settings["shop_url"]]))


def has_admin(settings: Values) -> bool:
    """Whether Shopify may be asked about products and discounts."""
    return bool(settings.get("client_id") or settings.get("access_token"))


def ask(api: Api, document: str, **variables: Any) -> Answer:
    """Ask the Admin API. Returns `data`."""
    return api.read(*ADMIN, json={"query": document, "variables": variables}).part("data")


def restored_after(answer: Answer) -> float | None:
    """Return in how many seconds the store's bucket holds enough for the query again; None where it does not say.

    "extensions.cost", https://shopify.dev/docs/api/usage/limits#graphql-admin-api-rate-limits
    """
    cost = answer.data.get("extensions", {})
    try:
        cost = cost["cost"]
        bucket = cost["throttleStatus"]
        lacking = float(cost["requestedQueryCost"]) - float(bucket["currentlyAvailable"])
        return min(max(lacking / float(bucket["restoreRate"]), 0.0), 60.0)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
