"""What a visitor's browser does in the store: items and discount codes on the cart, and pages."""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from django import forms

from connectors.answers import Answer
from connectors.base import Action, HandedOver, Json, ObjectField, PatternField, Replay, Values, object_in
from connectors.choosing import only_one, require
from connectors.http import Api
from connectors.vendors.shopify.asking import DISCOUNT, VARIANTS, ask, has_admin, store, store_hosts

MOST_ROWS = 250  # "Arrays <=250 items", https://shopify.dev/docs/api/usage/limits
MOST_ITEMS = 50  # so that a page holds the variants of every SKU, should several have the same

PURE = "Nothing is sent to Shopify: an instruction is made of the inputs, and engage.js follows each execution's once."
ON_THE_STORE = (
    "engage.js must be loaded on the store's pages (in the theme); there it changes the cart that the visitor has. "
)


# --- items ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Item:
    """A line of what is put into the cart."""

    quantity: int
    sku: str = ""
    variant: str = ""

    @property
    def words(self) -> str:
        """How it was typed."""
        return self.sku or f"variant:{self.variant}"


def items_in(text: str) -> list[Item]:
    """Read lines like `TSHIRT-M`, `TSHIRT-M, 2` and `variant:44556677`.

    Raises:
        ValidationError: one cannot be read.

    """
    items = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, comma, number = line.rpartition(",")
        counted = bool(comma) and number.strip().isdecimal()
        what, quantity = (name.strip(), int(number)) if counted else (line, 1)
        variant = re.fullmatch(r"variant:([1-9][0-9]{0,19})", what)
        if not (1 <= quantity <= 9999) or not re.fullmatch(r'[^"\\\x00-\x1f\x7f]{1,255}', what):
            raise forms.ValidationError(
                f"“{line[:60]}” is neither a SKU nor variant:number, with a quantity after a comma."
            )
        items.append(Item(quantity, variant=variant[1]) if variant else Item(quantity, sku=what))
    if len({item.words for item in items}) < len(items):
        raise forms.ValidationError("Name each item once, with its quantity.")
    if len(items) > MOST_ITEMS:
        raise forms.ValidationError(f"At most {MOST_ITEMS} items.")
    return items


class ItemsField(forms.CharField):
    """Items, one a line, kept as they were typed; `items_in()` reads them."""

    widget = forms.Textarea(attrs={"rows": 3})

    def validate(self, value: str) -> None:
        """Refuse what cannot be read."""
        super().validate(value)
        items_in(value)


def variant_of(api: Api, item: Item, rows: list[Answer]) -> int:
    """Return the number of the one variant that an item is."""
    named = [row for row in rows if item.words in (row.get("sku"), f"variant:{row['legacyResourceId']}")]
    found = only_one(
        api,
        named,
        whose=f"“{item.words}”",
        what="variant",
        named=lambda row: f"variant:{row['legacyResourceId']} of {row.part('product')['title']}",
    )
    status = found.part("product")["status"]
    require(status in ("ACTIVE", "UNLISTED"), f"“{item.words}” cannot be bought: its product is {str(status).lower()}.")
    return _number(found["legacyResourceId"])


def _number(legacy_id: Any) -> int:
    """Return Shopify's UnsignedInt64, which JSON carries as a text, as the cart wants it."""
    require(re.fullmatch("[0-9]+", str(legacy_id)), "Shopify names a variant without its number.")
    return int(legacy_id)


# --- actions --------------------------------------------------------------------------------------


class AddToCart(Action):
    """Put items into the visitor's cart."""

    key, label = "add_to_cart", "Add to cart"
    description = "Puts items into the cart that the visitor has in your store."
    replay, replay_proof = Replay.NATURAL, PURE
    by_client = ON_THE_STORE + "Elsewhere it opens the store with a new cart that holds these items."

    class Inputs(forms.Form):
        """What, and what follows."""

        items = ItemsField(
            label="Items",
            max_length=5000,
            help_text="SKUs, one a line, with a quantity after a comma: TSHIRT-M, 2. Or variant:44556677, the number in the "
            "variant's address in the Shopify admin; without admin access only that.",
        )
        after = forms.ChoiceField(
            label="Then",
            choices=[("stay", "Stay on the page"), ("cart", "Open the cart"), ("checkout", "Open the checkout")],
        )
        selling_plan = PatternField(
            r"[1-9][0-9]{0,19}",
            required=False,
            label="Selling plan",
            shape="A number.",
            help_text="To sell the items as a subscription. Works on the store's own pages only.",
        )
        properties = ObjectField(
            required=False,
            label="Line item properties",
            example='{"Engraving": "Mia"}',
            help_text="Shown with each item of the order. Works on the store's own pages only.",
        )

    def perform(self, api: Api, user: Json, inputs: Values) -> HandedOver:
        """Hand over what to add."""
        more: Json = {"selling_plan": int(inputs["selling_plan"])} if inputs["selling_plan"] else {}
        if inputs["properties"]:
            more["properties"] = object_in(inputs["properties"])
        wanted = [(inputs["variants"][item.words], item.quantity) for item in items_in(inputs["items"])]
        place = ",".join(f"{variant}:{quantity}" for variant, quantity in wanted)
        # "storefront=true lands on the cart page instead" of the checkout; a permalink knows no selling plans or properties.
        link = f"https://{store(api.settings)}/cart/{place}" + (
            "" if inputs["after"] == "checkout" else "?storefront=true"
        )
        instruction = {
            "kind": "cart",
            "hosts": store_hosts(api.settings),
            "ajax": {
                "method": "POST",
                "path": "/cart/add.js",
                "body": {"items": [{"id": variant, "quantity": quantity, **more} for variant, quantity in wanted]},
            },
            "then": {"cart": "/cart", "checkout": "/checkout"}.get(inputs["after"]),
            "url": None if more else link,
        }
        names = ", ".join(f"{item.words} ({item.quantity})" for item in items_in(inputs["items"]))
        return HandedOver(instruction, f"To be put into the cart: {names}", wants_report=True)

    def resolve_inputs(self, api: Api, inputs: Values) -> Values:
        """Find the variants by their SKUs."""
        items = items_in(inputs["items"])
        if not has_admin(api.settings):
            typed = [item for item in items if item.sku]
            require(not typed, "Without admin access Engage cannot look SKUs up. Write variant:number for each item.")
            return {"variants": {item.words: _number(item.variant) for item in items}}
        words = [f'sku:"{item.sku}"' if item.sku else f"id:{item.variant}" for item in items]
        found = ask(api, VARIANTS, query=" OR ".join(words)).part("productVariants")
        require(not found.part("pageInfo")["hasNextPage"], f"More than {MOST_ROWS} variants have these SKUs.")
        rows = found.rows("nodes")
        return {"variants": {item.words: variant_of(api, item, rows) for item in items}}


class AddDiscount(Action):
    """Put a discount code on the visitor's cart."""

    key, label = "add_discount", "Add discount"
    description = "Puts a discount code on the cart that the visitor has in your store."
    replay, replay_proof = Replay.NATURAL, PURE
    by_client = ON_THE_STORE + "Elsewhere it opens the store by the code's link."

    class Inputs(forms.Form):
        """Which code."""

        code = PatternField(
            r"[^\s,/?#\\]{1,255}", label="Discount code", shape="Without blanks, commas, slashes, ? and #."
        )
        path = PatternField(
            r"/(?![/\\])[^\s\\]*",
            required=False,
            label="Page",
            shape="It begins with a slash, e.g. /collections/new.",
            help_text="Opened once the code is on the cart. Empty: the visitor stays where they are.",
        )

    def perform(self, api: Api, user: Json, inputs: Values) -> HandedOver:
        """Hand the code over."""
        code, path = inputs["code"], inputs["path"]
        query = "?" + urlencode({"redirect": path}, safe="/") if path else ""
        instruction = {
            "kind": "discount",
            "hosts": store_hosts(api.settings),
            "ajax": {"method": "POST", "path": "/cart/update.js", "body": {"discount": code}},
            "then": path or None,
            "url": f"https://{store(api.settings)}/discount/{quote(code, safe='')}{query}",
        }
        return HandedOver(instruction, f"To be put on the cart: the discount code {code}", wants_report=True)

    def check_inputs(self, api: Api, inputs: Values) -> list[str]:
        """Look the code up."""
        if not has_admin(api.settings):
            return []
        code = inputs["code"]
        found = ask(api, DISCOUNT, code=code).get("codeDiscountNodeByCode")
        if found is None:
            return [f"Shopify knows no discount code {code}."]
        return [f"The discount code {code} has expired."] if found.part("codeDiscount")["status"] == "EXPIRED" else []


class Redirect(Action):
    """Open a page of the store."""

    key, label = "redirect", "Open a page of the store"
    description = "Sends the visitor to a product, a collection or any other page of your store."
    replay, replay_proof = Replay.NATURAL, PURE
    by_client = "On web pages engage.js follows the address; another app must open it."

    class Inputs(forms.Form):
        """Which page."""

        target = forms.CharField(
            label="Page", max_length=2000, help_text="A path like /collections/new, or an https address of your store."
        )

    def perform(self, api: Api, user: Json, inputs: Values) -> HandedOver:
        """Hand the address over."""
        url = address(inputs["target"], api.settings)
        return HandedOver({"kind": "redirect", "url": url}, f"Redirects to {url}")

    def check_inputs(self, api: Api, inputs: Values) -> list[str]:
        """Refuse what is elsewhere."""
        address(inputs["target"], api.settings)
        return []


def address(target: str, settings: Values) -> str:
    """Return the address of a page of the store.

    Raises:
        Rejected: it is elsewhere. A link that looks like the store's and leads away is what phishing is made of.

    """
    require(re.fullmatch(r"[^\s\\\x00-\x1f\x7f]+", target), "The page's address holds a blank or a backslash.")
    if target.startswith("/") and not target.startswith("//"):
        return f"https://{store(settings)}{target}"
    try:
        parts = urlsplit(target)
        is_ours = parts.scheme == "https" and parts.netloc.lower() in store_hosts(settings)
    except ValueError:
        is_ours = False
    require(is_ours, f"The page is none of {' or '.join(store_hosts(settings))}.")
    return target
