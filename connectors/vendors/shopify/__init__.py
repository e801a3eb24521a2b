"""Shopify: what happens in a visitor's cart. Admin GraphQL 2026-07, Ajax cart, cart permalinks (https://shopify.dev/docs/api).

The cart belongs to a cookie on the store's host, so the visitor's browser carries these actions out (`static/engage.js`). We
look only when an action is saved: which variants its SKUs are, and whether a discount code is one.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.core.validators import RegexValidator
from requests.auth import AuthBase

from connectors.answers import Answer
from connectors.auth import ClientCredentials, HeaderKey, TokenSource
from connectors.base import Category, Connector, ProbeLine, SecretField, Support, Values, identity
from connectors.failures import Failure, Temporary, refused
from connectors.http import Api
from connectors.vendors.shopify.actions import AddDiscount, AddToCart, Redirect
from connectors.vendors.shopify.asking import (
    ADMIN_HEADER,
    SCOPES,
    STOREFRONT,
    WHO_WE_ARE,
    WHOSE_STORE,
    ask,
    has_admin,
    restored_after,
)


class HostField(forms.CharField):
    """A host; of an address that was pasted, its host."""

    def to_python(self, value: Any) -> str:
        """Take off what is around the host."""
        text = str(super().to_python(value) or "").lower()
        try:
            return urlsplit(text if "//" in text else f"//{text}").hostname or ""
        except ValueError:
            return text


class AdminToken(ClientCredentials):
    """An access token of the Admin API, good for 24 hours: `expires_in` says so."""

    def bearing(self, token: str) -> AuthBase:
        """Sign with Shopify's own header."""
        return HeaderKey(ADMIN_HEADER, token)


class Shopify(Connector):
    """Carts, discounts and pages of a store."""

    key, label, category = "shopify", "Shopify", Category.STORES
    description = "Put items or a discount on a visitor's cart, and send them to pages of your store."
    aliases = ("cart", "checkout", "e-commerce", "shop")
    support = Support.CONTRACT
    docs_url = "https://shopify.dev/docs/api"
    actions = (AddToCart, Redirect, AddDiscount)
    setup_steps = (
        "Enter the store's myshopify.com address and, where visitors use another one, that domain.",
        "Load engage.js in the store's theme (Online Store > Themes > Edit code, theme.liquid): see “Put Engage into your app”.",
        "Add the store's address to the App's domains.",
        "To name items by SKU and have codes checked: in the Dev Dashboard, make an app of your organisation.",
        "Give it the scopes read_products and read_discounts, install it in the store, and copy its client id and secret.",
        "Test the connection, switch it to Active and save.",
    )

    class Settings(forms.Form):
        """The store, and who may look into it."""

        shop_url = identity(
            HostField(
                label="Shop URL",
                validators=[RegexValidator(r"^[a-z0-9][a-z0-9-]*\.myshopify\.com\Z", "It ends in .myshopify.com.")],
                help_text="Like example.myshopify.com: Settings > Domains in the Shopify admin.",
            )
        )
        storefront_domain = HostField(
            label="Domain that visitors use",
            required=False,
            validators=[RegexValidator(r"^([a-z0-9-]+\.)+[a-z]{2,}\Z", "A domain like www.example.com.")],
            help_text="Where it is not the one above: a cart belongs to one host.",
        )
        client_id = identity(
            forms.CharField(
                label="Client id",
                required=False,
                max_length=200,
                help_text="Of an app in the Dev Dashboard. Empty: items are named by variant numbers, and codes unchecked.",
            )
        )
        client_secret = SecretField(
            label="Client secret", goes_with="client_id", help_text="Of the same app, from its settings."
        )
        access_token = SecretField(
            label="Admin API access token",
            required=False,
            help_text="Of an older custom app (shpat_…), in place of client id and secret.",
        )

    def base_url(self, settings: Values) -> str:
        """The store."""
        return f"https://{settings['shop_url']}"

    def hosts(self, settings: Values) -> Mapping[str, str]:
        """The same store, where tokens come from and where nobody signs."""
        return {"token": self.base_url(settings), "storefront": self.base_url(settings)}

    def auth(self, settings: Values) -> AuthBase | TokenSource:
        """The token of an older app, or one that the app's secret is exchanged for."""
        if settings.get("access_token"):
            return HeaderKey(ADMIN_HEADER, settings["access_token"])
        return AdminToken(
            "admin",
            "oauth",
            "access_token",
            client_id=settings["client_id"],
            client_secret=settings["client_secret"],
        )

    def probe(self, api: Api) -> list[ProbeLine]:
        """Ask whose store it is, and what the app may read."""
        in_the_browser = ProbeLine(None, "What a visitor's browser does in the cart cannot be tested from here.")
        if not has_admin(api.settings):
            shop = api.at("storefront").read(*STOREFRONT, json={"query": WHOSE_STORE}).part("data").part("shop")
            return [
                ProbeLine(True, f"The store is {shop['name']}, at {shop.part('primaryDomain')['url']}."),
                in_the_browser,
            ]
        data = ask(api, WHO_WE_ARE)
        name = data.part("shop").fill("{name} ({myshopifyDomain})")
        scopes = {str(row["handle"]) for row in data.part("currentAppInstallation").rows("accessScopes")}
        lacking = [scope for scope in SCOPES if scope not in scopes]
        lines = [
            ProbeLine(not lacking, f"The app lacks the scope {' and '.join(lacking)}." if lacking else "It may look.")
        ]
        return [ProbeLine(True, f"The store is {name}."), *lines, in_the_browser]

    def said(self, answer: Answer) -> tuple[str, str]:
        """Read GraphQL's errors: the first one's code, and the words of all."""
        codes = [error.inner("extensions").get("code") for error in answer.objects("errors")]
        return (codes[0] if codes and isinstance(codes[0], str) else ""), super().said(answer)[1]

    def failure(self, answer: Answer) -> Failure | None:
        """Read the errors that come with status 200. All requests are reads, so nothing can have happened."""
        if answer.status != 200 or not answer.get("errors"):
            return super().failure(answer)
        code, words = self.said(answer)
        if code in {"THROTTLED", "INTERNAL_SERVER_ERROR"}:
            return Temporary(f"Shopify says: {words or code}", after=restored_after(answer), code=code, sent=False)
        return refused(self.label, words, code=code)
