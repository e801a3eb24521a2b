"""Amazon Appstore: in-app purchases on Fire TV and Fire tablets, of which a server may read and no more; and push notifications."""

import re
from collections.abc import Iterator, Mapping

from django import forms
from requests.auth import AuthBase

from connectors.answers import Answer, words_of
from connectors.auth import PathKey, TokenSource
from connectors.base import (
    Catalogue,
    Category,
    Choice,
    Connector,
    PatternField,
    ProbeLine,
    SecretField,
    Values,
    identity,
    live_or_sandbox,
)
from connectors.failures import Rejected, Undocumented
from connectors.http import Api
from connectors.rereads import nightly_choice
from connectors.typed_lists import ListField, labelled, typed
from connectors.vendors.amazon import pushing
from connectors.vendors.amazon.buying import SKU, Downgrade, Purchase, Upgrade
from connectors.vendors.amazon.checking import Validate
from connectors.vendors.amazon.notifications import TOPIC, Notifications, sns_of
from connectors.vendors.amazon.pushing import MESSAGING, Push
from connectors.vendors.amazon.receipts import APPSTORE, DOCS, GONE, UNKNOWN, WRONG_USER, receipt

RVS = "https://appstore-sdk.amazon.com"
NOBODY = "engage-test-of-the-connection"
LINE = re.compile(rf"(?P<sku>{SKU})(\s+(?P<name>\S.*))?")


def products(api: Api) -> Iterator[Choice]:
    """Return what was typed: Amazon lists nothing."""
    for line in typed(api.settings, "products", LINE):
        yield Choice(line["sku"], labelled(line["sku"], line["name"]))


def probe(api: Api) -> list[ProbeLine]:
    """Ask for a receipt that nobody has: whoever is told so has the right key."""
    if api.settings["environment"] == "sandbox":
        return [ProbeLine(None, "Amazon's sandbox takes any key, so nothing here can be tested.")]
    try:
        receipt(api, NOBODY, NOBODY)
    except Rejected as no:
        if no.status not in {UNKNOWN, GONE, WRONG_USER}:
            raise
        return [
            ProbeLine(True, "Amazon accepts the shared key."),
            ProbeLine(None, "It shows no name of the account."),
        ]
    raise Undocumented("Amazon knows a receipt that cannot be.")


class Amazon(Connector):
    """In-app purchases of an app in Amazon's Appstore."""

    key, label, category = "amazon", "Amazon Appstore", Category.STORES
    description = "Sell and change subscriptions in your app for Fire TV and Fire tablets; send push notifications."
    aliases = (
        "fire tv",
        "kindle fire",
        "in-app purchase",
        "appstore",
        "device messaging",
        "adm",
        "push",
        "notification",
    )
    docs_url = DOCS
    actions = (Purchase, Upgrade, Downgrade, Validate, Push)
    reread = Validate
    catalogues = {"products": Catalogue("Products", products)}
    inbound = Notifications()
    base_urls = {"live": RVS, "sandbox": f"{RVS}/sandbox"}
    codes = {"Unregistered": pushing.unknown}
    parts = {APPSTORE: probe, MESSAGING: pushing.probe}
    setup_steps = (
        "In the Amazon Developer Console, open Settings > Identity and copy the shared key.",
        "Enter it with the app's package name, and list the SKUs that you offer: Amazon lists them to nobody.",
        "Let your app carry out the instructions and report the receipt: see “Put Engage into your app”.",
        "For push notifications: in the Developer Console, make a security profile with Device Messaging for your app.",
        "Enter its client id and secret, and bring the devices' registration ids into the trait endpoint_adm.",
        "Let your app show what arrives as `title`, `text` and `link`: see “Put Engage into your app”.",
        "Test the connection, switch it to Active and save.",
        "Amazon lets no server cancel, extend or refund, so there are no such actions: people do it at amazon.com.",
    )

    class Settings(forms.Form):
        """The app, and the developer's key."""

        environment = live_or_sandbox("The sandbox knows receipts of the App Tester only, and takes any key.")
        package_name = identity(
            PatternField(
                r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+",
                max_length=150,
                label="Package name",
                shape="Like com.example.app.",
            )
        )
        shared_secret = SecretField(
            label="Shared key", names_account=True, help_text="From Settings > Identity in the Developer Console."
        )
        products = ListField(
            LINE,
            wanted="write a SKU, and a name behind it if you wish",
            label="SKUs",
            help_text="One a line, e.g. “premium.month Premium, monthly”. Of a subscription, those of its terms.",
        )
        reread_nightly = nightly_choice("Amazon")
        rtn_topic_arn = identity(
            PatternField(
                TOPIC,
                required=False,
                max_length=350,
                label="Topic of the notifications",
                shape="Like arn:aws:sns:us-east-1:123456789012:name.",
                help_text="See the steps under Webhooks.",
            )
        )
        adm_client_id = identity(
            PatternField(
                "[!-~]+",
                required=False,
                max_length=200,
                label="Device Messaging: client id",
                shape="Like amzn1.application-oa2-client.1a2b3c.",
                help_text="Of the app's security profile. Empty: no push notifications are sent.",
            )
        )
        adm_client_secret = SecretField(
            label="Device Messaging: client secret", goes_with="adm_client_id", help_text="Of the same profile."
        )

    def environment(self, settings: Values) -> str:
        """Of the purchases."""
        return "Sandbox" if settings.get("environment") == "sandbox" else "Production"

    def is_sandbox(self, settings: Values) -> bool:
        """Only where nothing of it is real: Device Messaging has no sandbox."""
        return super().is_sandbox(settings) and not settings.get("adm_client_id")

    def hosts(self, settings: Values) -> Mapping[str, str]:
        """Device Messaging and where its tokens come from, and SNS in the region of the topic that the settings name."""
        sns = sns_of(str(settings.get("rtn_topic_arn") or ""))
        messaging = {"token": pushing.URL, pushing.HOST: pushing.URL} if settings.get("adm_client_id") else {}
        return {**({"sns": sns} if sns else {}), **messaging}

    def auth(self, settings: Values) -> AuthBase:
        """The shared key, in the path: Amazon has no other place for it."""
        return PathKey(settings["shared_secret"])

    def auth_at(self, host: str, settings: Values) -> AuthBase | TokenSource:
        """A token for Device Messaging."""
        return pushing.account(settings) if host == pushing.HOST else super().auth_at(host, settings)

    def said(self, answer: Answer) -> tuple[str, str]:
        """Read Device Messaging's `{"reason": "Unregistered"}`; of a receipt Amazon has words at most."""
        reason = answer.get("reason")
        return (reason if isinstance(reason, str) else ""), words_of(answer)
