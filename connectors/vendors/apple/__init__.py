"""Apple: in-app purchases of an app in the App Store. App Store Server API, and App Store Connect API for what is for sale.

https://developer.apple.com/documentation/appstoreserverapi. And push notifications to the app. Three kinds of key, which are never
interchangeable.
"""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from django import forms
from requests.auth import AuthBase

from connectors.answers import Answer, query_of, retry_after
from connectors.base import (
    WRITING_UNTESTED,
    Catalogue,
    Category,
    Choice,
    Connector,
    Json,
    PatternField,
    ProbeLine,
    Rate,
    Support,
    Values,
    busy,
    identity,
    live_or_sandbox,
    per_second,
)
from connectors.failures import Failure, Rejected, Temporary, Undocumented
from connectors.http import Api
from connectors.http2 import Http2
from connectors.typed_lists import ListField, labelled, typed
from connectors.vendors.apple import pushing
from connectors.vendors.apple.buying import PRODUCT, Downgrade, Purchase, Upgrade
from connectors.vendors.apple.extending import Extend
from connectors.vendors.apple.linking import SetAppAccountToken
from connectors.vendors.apple.notifications import Notifications
from connectors.vendors.apple.pushing import APNS, Push
from connectors.vendors.apple.refunds import SendConsumption
from connectors.vendors.apple.signing import Bearer, KeyField
from connectors.vendors.apple.subscriptions import APP_STORE

HOSTS = {"live": "https://api.storekit.apple.com", "sandbox": "https://api.storekit-sandbox.apple.com"}
CATALOGUE = "https://api.appstoreconnect.apple.com"
PER_PAGE = 200  # at most, of every list of App Store Connect
NO_SUCH = {"4000006", "4040010"}  # InvalidTransactionIdError, TransactionIdNotFoundError
UNIX_MILLIS = 1e11  # a Retry-After above it is a moment, not a number of seconds
LINE = re.compile(
    rf"(?P<type>subscription|product|(?P<of>promotional|winback))\s+(?P<product>{PRODUCT})"
    r"(?(of)\s+(?P<offer>[A-Za-z0-9._-]{1,255})|(\s+(?P<name>\S.*))?)"
)


def _named(api: Api, kind: str) -> dict[str, str | None]:
    """Return the products of a kind that were typed, and their names."""
    return {line["product"]: line["name"] for line in typed(api.settings, "products", LINE) if line["type"] == kind}


def subscriptions(api: Api) -> Iterator[Choice]:
    """Read the subscriptions that are for sale."""
    found = _named(api, "subscription")
    for row in _listed(api):
        found.setdefault(row.part("attributes").text("productId"), row.part("attributes").get("name"))
    for product, name in found.items():
        yield Choice(f"subs/{product}", labelled(product, name))


def products(api: Api) -> Iterator[Choice]:
    """Read everything that is for sale."""
    yield from subscriptions(api)
    found = _named(api, "product")
    for row in _rows(api, "v1", "apps", str(api.settings["app_apple_id"]), "inAppPurchasesV2"):
        if row.part("attributes").get("state") == "APPROVED":
            found.setdefault(row.part("attributes").text("productId"), row.part("attributes").get("name"))
    for product, name in found.items():
        yield Choice(f"inapp/{product}", labelled(product, name))


def offers(api: Api) -> Iterator[Choice]:
    """Read the offers, each of its subscription."""
    kinds = {"promotional": ("promotionalOffers", "offerCode"), "winback": ("winBackOffers", "offerId")}
    lines = typed(api.settings, "products", LINE)
    found = {(line["type"], line["product"], line["offer"]): None for line in lines if line["of"]}
    for row in _listed(api):
        for kind, (many, name) in kinds.items():
            for offer in _rows(api, "v1", "subscriptions", row.text("id"), many):
                product = row.part("attributes").text("productId")
                found[(kind, product, offer.part("attributes").text(name))] = None
    for kind, product, name in found:
        yield Choice(f"{kind}/{product}/{name}", f"{product}: {kind} offer {name}", within=(f"subs/{product}",))


def _listed(api: Api) -> Iterator[Answer]:
    """Read the approved subscriptions at App Store Connect."""
    for group in _rows(api, "v1", "apps", str(api.settings["app_apple_id"]), "subscriptionGroups"):
        for row in _rows(api, "v1", "subscriptionGroups", group.text("id"), "subscriptions"):
            if row.part("attributes").get("state") == "APPROVED":
                yield row


def _rows(api: Api, *path: str) -> Iterator[Answer]:
    """Read a list of App Store Connect; nothing where its key is not entered."""
    if api.settings.get("asc_key_id"):
        yield from api.at("catalogue").pages(*path)


def probe(api: Api) -> list[ProbeLine]:
    """Ask for a transaction that nobody has: whoever is told so is let in."""
    try:
        api.get("inApps", "v1", "transactions", "0")
    except Rejected as no:
        if no.code not in NO_SUCH:
            raise
    else:
        raise Undocumented("Apple knows a transaction that cannot be.")
    lines = [ProbeLine(True, f"Apple accepts the key for {api.settings['bundle_id']}."), WRITING_UNTESTED]
    if api.settings.get("asc_key_id"):
        query: dict[str, Any] = {"filter[bundleId]": api.settings["bundle_id"], "limit": 1}
        numbers = [row.text("id") for row in api.at("catalogue").get("v1", "apps", params=query).rows("data")]
        fits = numbers == [str(api.settings["app_apple_id"])]
        told = "the app" if fits else f"another app ({', '.join(numbers) or 'none'})"
        lines.append(ProbeLine(fits, f"App Store Connect shows {told} under this bundle ID and Apple ID."))
    return lines


class Apple(Connector):
    """In-app purchases of one app and notifications to it, in production or in the sandbox."""

    key, label, category = "apple", "Apple App Store", Category.STORES
    description = (
        "Sell and change subscriptions in your app with signed offers, give free days, answer requests for refunds; send push "
        "notifications."
    )
    aliases = ("ios", "storekit", "in-app purchase", "itunes", "tvos", "apns", "push", "notification")
    support = Support.CONTRACT
    docs_url = "https://developer.apple.com/documentation/appstoreserverapi"
    actions = (Purchase, Upgrade, Downgrade, Extend, SetAppAccountToken, SendConsumption, Push)
    catalogues = {
        "products": Catalogue("Products", products),
        "subscriptions": Catalogue("Subscriptions", subscriptions),
        "offers": Catalogue("Offers", offers),
    }
    inbound = Notifications()
    base_urls = HOSTS
    page_query = {"limit": PER_PAGE}
    # "Retryable": not found yet, which it may be in a moment.
    codes = {"4040002": busy, "4040004": busy, "4040006": busy}
    protocols = {f"{url}/": Http2 for url in pushing.HOSTS.values()}
    parts = {APP_STORE: probe, APNS: pushing.probe}
    setup_steps = (
        "In App Store Connect, open Users and Access > Integrations > In-App Purchase and make a key: download its .p8 file.",
        "Enter the issuer id, the key's id and the whole file here; the Apple ID of the app stands under App Information.",
        "List your products and offers, or make a team key under App Store Connect API, by which they are read.",
        "Let your app carry out the instructions and report the transaction: see “Put Engage into your app”.",
        "For push notifications: in the developer account, open Certificates, Identifiers & Profiles > Keys and make an APNs key.",
        "Enter its id, its .p8 file, and your team id, which stands under Membership details.",
        "Bring the devices' tokens into the trait endpoint_apns, by a file of push endpoints say.",
        "Test the connection, switch it to Active and save.",
        "Apple lets no server cancel, change or refund a subscription, so there are no such actions: people do it on the device.",
    )

    class Settings(forms.Form):
        """Which app, and the keys."""

        environment = live_or_sandbox("Purchases belong to one of the two, and so do the tokens of devices.")
        bundle_id = identity(
            PatternField("[A-Za-z0-9.-]{1,155}", label="Bundle ID", shape="Like com.example.app.", max_length=155)
        )
        app_apple_id = identity(
            PatternField("[0-9]{6,12}", label="Apple ID of the app", shape="A number of 6 to 12 digits.")
        )
        issuer_id = identity(
            PatternField("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", label="Issuer ID", shape="A UUID.")
        )
        iap_key_id = PatternField(
            "[A-Z0-9]{10}", label="In-App Purchase key: id", shape="Ten capital letters and digits."
        )
        iap_private_key = KeyField(label="In-App Purchase key", help_text="The whole .p8 file.")
        asc_key_id = PatternField(
            "[A-Z0-9]{10}",
            required=False,
            label="App Store Connect API key: id",
            shape="Ten capital letters and digits.",
            help_text="To list your products and offers.",
        )
        asc_private_key = KeyField(
            goes_with="asc_key_id", label="App Store Connect API key", help_text="Its whole .p8 file."
        )
        products = ListField(
            LINE,
            wanted="write a kind, a product id, and a name or an offer's id",
            label="Products and offers",
            help_text="One a line: “subscription com.example.year Premium, yearly”, “product com.example.coins 100 coins”, "
            "“promotional com.example.year winback50” or “winback com.example.year back30”. What App Store Connect lists is "
            "added, where its key is entered.",
        )
        apns_team_id = PatternField(
            "[A-Z0-9]{10}",
            required=False,
            label="Push notifications: team id",
            shape="Ten capital letters and digits.",
            help_text="Of the developer account.",
        )
        apns_key_id = PatternField(
            "[A-Z0-9]{10}",
            required=False,
            label="Push notifications: key id",
            shape="Ten capital letters and digits.",
            help_text="Empty: none are sent.",
        )
        apns_private_key = KeyField(
            goes_with="apns_key_id",
            label="Push notifications: key",
            help_text="The whole .p8 file of a key for the Apple Push Notifications service (APNs).",
        )

        def clean(self) -> Json:
            """The push key belongs to a team."""
            cleaned: Json = super().clean() or self.cleaned_data
            if cleaned.get("apns_key_id") and "apns_team_id" in cleaned and not cleaned["apns_team_id"]:
                self.add_error("apns_team_id", "Enter the team that the push key belongs to.")
            return cleaned

    def hosts(self, settings: Values) -> Mapping[str, str]:
        """Where products are listed, where TestFlight's purchases are, and where notifications are sent."""
        return {
            "catalogue": CATALOGUE,
            "sandbox": HOSTS["sandbox"],
            pushing.HOST: pushing.HOSTS[settings["environment"]],
        }

    def rate(self, settings: Values) -> Rate:
        """As Apple states it for its slowest calls that are used here: 20 extensions a second, a tenth of it in the sandbox.

        https://developer.apple.com/documentation/appstoreserverapi/identifying-rate-limits
        """
        return per_second(2 if self.is_sandbox(settings) else 20)

    def auth(self, settings: Values) -> AuthBase:
        """The In-App Purchase key, for this app."""
        claims = {"iss": settings["issuer_id"], "bid": settings["bundle_id"]}
        return Bearer(settings["iap_key_id"], settings["iap_private_key"], claims)

    def auth_at(self, host: str, settings: Values) -> AuthBase:
        """The other keys: for what is for sale, and for notifications."""
        if host == pushing.HOST:
            return pushing.ProviderToken(settings)
        if host == "catalogue":
            return Bearer(settings["asc_key_id"], settings["asc_private_key"], {"iss": settings["issuer_id"]})
        return self.auth(settings)

    def next_page(self, page: Answer, query: Values) -> Mapping[str, Any] | None:
        """Go on by the cursor in the next page's address."""
        following = page.inner("links").get("next")
        return {**query, **query_of(following)} if following else None

    def said(self, answer: Answer) -> tuple[str, str]:
        """Read `{"errorCode", "errorMessage"}`."""
        code, words = answer.get("errorCode"), answer.get("errorMessage")
        if isinstance(code, int):
            return str(code), words if isinstance(words, str) else ""
        return super().said(answer)

    def failure(self, answer: Answer) -> Failure | None:
        """After too many requests, Retry-After is a moment: Unix time in milliseconds. APNs has refusals of its own."""
        if told := pushing.failure(answer):
            return told
        if answer.status != 429:
            return super().failure(answer)
        value = str(answer.headers.get("Retry-After") or "").strip()
        after = retry_after(answer)
        if value.isascii() and value.isdecimal() and float(value[:20]) > UNIX_MILLIS:
            after = min(max(float(value[:20]) / 1000 - time.time(), 0.0), 86_400.0)
        return Temporary("Apple asks us to slow down.", after=after, sent=False)
