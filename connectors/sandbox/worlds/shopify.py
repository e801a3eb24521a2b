"""Shopify's Admin and Storefront GraphQL, version 2026-07 (shopify.dev/docs/api): what Engage asks of it.

The mount point stands for a store's own host; `/token` below it gives out the tokens of the Admin API, and `/storefront` is where
nobody signs. What changes a cart is no request of Engage's: the visitor's browser does it, on a page of the store, which is not
here. So nothing ever happens in this world, and it can be looked at alone. The costs of queries and the limits on them are left
out. Where the documentation is silent (the body for a wrong client secret), this world picks something.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from connectors.sandbox.graphql import Wrong, answered
from connectors.sandbox.http import Request, Response, Route, routed
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Table, World

KEY, LABEL = "shopify", "Shopify"
VERSION = "2026-07"
SHOP, DOMAIN = "example.myshopify.com", "shop.example.com"
CLIENT_ID = "sandbox-client-id-not-a-real-credential"
CLIENT_SECRET = "sandbox-secret-not-a-real-credential"  # noqa: S105 - opens nothing but this fake world
OLD_TOKEN = "shpat_sandboxNotARealCredential"  # noqa: S105 - the same
TOKEN_SECONDS = 86_399
SCOPES = ("read_discounts", "read_products")
MOST = 250

VARIANTS = (
    # number, SKU, title, product, its status
    ("44556601", "TSHIRT-M", "M", "Club shirt", "ACTIVE"),
    ("44556602", "TSHIRT-L", "L", "Club shirt", "ACTIVE"),
    ("44556603", "MUG", "Default Title", "Mug", "ACTIVE"),
    ("44556604", "POSTER", "Default Title", "Poster that is not on sale yet", "DRAFT"),
    ("44556605", "SCARF", "Red", "Scarf", "ACTIVE"),
    ("44556606", "SCARF", "Blue", "Scarf", "ACTIVE"),
)
DISCOUNTS = (
    ("SAVE20", "DiscountCodeBasic", "20 % off", "ACTIVE"),
    ("SHIPFREE", "DiscountCodeFreeShipping", "Free shipping", "ACTIVE"),
    ("SUMMER24", "DiscountCodeBasic", "A summer that is over", "EXPIRED"),
)


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {
        "shop_url": SHOP,
        "storefront_domain": DOMAIN,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }


# --- what it answers ------------------------------------------------------------------------------------------------------


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction."""
    return routed(request, store, ROUTES, lambda status: {"errors": status.phrase})


def token(request: Request, store: Store) -> Response:
    """`POST /admin/oauth/access_token`: for an app's id and secret, for 24 hours."""
    form = {name: values[0] for name, values in request.form().items()}
    wished = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    if form != wished:
        told = {"error": "invalid_client", "error_description": "The client id or secret is wrong."}
        return Response(HTTPStatus.BAD_REQUEST, told)
    made = f"shpat_{uuid.uuid4().hex}"
    store.put(KEY, "token", made, {"until": store.now() + TOKEN_SECONDS})
    return Response(body={"access_token": made, "scope": ",".join(SCOPES), "expires_in": TOKEN_SECONDS})


def admin(request: Request, store: Store) -> Response:
    """`POST /admin/api/{version}/graphql.json`: for who has a token."""
    shown = request.headers.get("x-shopify-access-token", "")
    known = store.get(KEY, "token", shown)
    if shown != OLD_TOKEN and (known is None or known["until"] <= store.now()):
        words = "[API] Invalid API key or access token (unrecognized login or wrong password)"
        return Response(HTTPStatus.UNAUTHORIZED, {"errors": words})
    roots = {
        "shop": lambda _: {"__typename": "Shop", "name": "Streamly shop", "myshopifyDomain": SHOP},
        "currentAppInstallation": lambda _: {
            "__typename": "AppInstallation",
            "accessScopes": [{"__typename": "AccessScope", "handle": handle} for handle in SCOPES],
        },
        "productVariants": _variants,
        "codeDiscountNodeByCode": _discount,
    }
    return Response(body=answered(request.members(), roots))


def storefront(request: Request, _: Store) -> Response:
    """`POST /api/{version}/graphql.json`: for everybody."""
    domain = {"__typename": "Domain", "host": DOMAIN, "url": f"https://{DOMAIN}"}
    shop = {"__typename": "Shop", "name": "Streamly shop", "primaryDomain": domain}
    return Response(body=answered(request.members(), {"shop": lambda _: shop}))


def _variants(asked: Mapping[str, Any]) -> Json:
    """Return the variants with one of the SKUs or ids: `sku:"…" OR id:…`; all of them without a query."""
    first, query = asked.get("first"), asked.get("query") or ""
    if not isinstance(first, int) or not 1 <= first <= MOST:
        raise Wrong("BAD_REQUEST", f"first is 1 to {MOST}.")
    named = [re.fullmatch(r'sku:"([^"]*)"|id:([0-9]+)', part) for part in str(query).split(" OR ")]
    if query and not all(named):
        raise Wrong("BAD_REQUEST", "This sandbox finds variants by sku and id.")
    skus, ids = ({found[group] for found in named if found} for group in (1, 2))
    rows = [
        {
            "__typename": "ProductVariant",
            "id": f"gid://shopify/ProductVariant/{number}",
            "legacyResourceId": number,
            "sku": sku,
            "title": title,
            "product": {"__typename": "Product", "title": product, "status": status},
        }
        for number, sku, title, product, status in VARIANTS
        if not query or sku in skus or number in ids
    ]
    page = {"__typename": "PageInfo", "hasNextPage": len(rows) > first}
    return {"__typename": "ProductVariantConnection", "nodes": rows[:first], "pageInfo": page}


def _discount(asked: Mapping[str, Any]) -> Json | None:
    """Return the discount with a code, whose case does not matter."""
    for code, kind, title, status in DISCOUNTS:
        if str(asked.get("code")).upper() == code:
            discount = {"__typename": kind, "title": title, "status": status}
            return {"__typename": "DiscountCodeNode", "codeDiscount": discount}
    return None


ROUTES: tuple[Route, ...] = (
    ("POST", "/token/admin/oauth/access_token", token),
    ("POST", f"/admin/api/{VERSION}/graphql\\.json", admin),
    ("POST", f"/storefront/api/{VERSION}/graphql\\.json", storefront),
)


# --- shown to people ------------------------------------------------------------------------------------------------------


def state(_: Store) -> Json:
    """Return this world for the control API."""
    return {"variants": [row[0] for row in VARIANTS], "discounts": [row[0] for row in DISCOUNTS]}


def tables(_: Store) -> Sequence[Table]:
    """Return what the page shows of this world: what there is to put into a cart, and the discount codes."""
    codes = [(code, title, status.lower()) for code, _, title, status in DISCOUNTS]
    variants = [(number, sku, product, title, status.lower()) for number, sku, title, product, status in VARIANTS]
    return [
        ("Variants", ("Number", "SKU", "Product", "Variant", "State of the product"), variants),
        ("Discount codes", ("Code", "Title", "State"), codes),
    ]


WORLD = World(
    key=KEY,
    label=LABEL,
    setup=setup,
    answer=answer,
    state=state,
    tables=tables,
    note=f"What changes a cart is done by the visitor's browser, on a page of the store. No store is here: a prompt on the demo "
    f"site opens a page of https://{DOMAIN}, which leads nowhere. So nothing ever happens below.",
)
