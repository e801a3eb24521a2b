"""Shopify's actions, which the visitor's browser carries out: nothing happens at the vendor by our doing."""

from connectors.runner import Result
from connectors.sandbox.worlds.shopify import OLD_TOKEN
from tests.sandbox.tries import Try

CART = {"items": "TSHIRT-M, 2\nMUG\nvariant:44556605", "after": "cart"}

TRIES = (
    Try("add_to_cart", CART, result=Result.HANDED_OVER),
    Try(
        "add_to_cart",
        CART,
        settings={"client_id": "", "client_secret": "", "access_token": OLD_TOKEN},
        result=Result.HANDED_OVER,
    ),
    Try("add_discount", {"code": "SAVE20", "path": "/collections/new"}, result=Result.HANDED_OVER),
    Try("redirect", {"target": "/collections/new"}, result=Result.HANDED_OVER),
)
