"""Google Play: purchases in an Android app, and what a server may do with them. Android Publisher API, version 3.

https://developers.google.com/android-publisher. And push notifications to the app: Firebase Cloud Messaging, version 1.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django import forms
from requests.auth import AuthBase

from connectors.answers import Answer
from connectors.auth import ServiceAccount, TokenSource
from connectors.base import (
    WRITING_UNTESTED,
    Catalogue,
    Category,
    Choice,
    Connector,
    PatternField,
    ProbeLine,
    SecretField,
    Support,
    Values,
    busy,
    identity,
)
from connectors.failures import Failure, Temporary, Undocumented
from connectors.http import Api
from connectors.pulls import traits_choice
from connectors.vendors.google_play import pushing
from connectors.vendors.google_play.buying import Downgrade, Purchase, Upgrade
from connectors.vendors.google_play.managing import Cancel, Defer, RefundOrder, Revoke
from connectors.vendors.google_play.notifications import Notifications
from connectors.vendors.google_play.pulls import PULLS
from connectors.vendors.google_play.purchases import PLAY, app
from connectors.vendors.google_play.pushing import FIREBASE, Push

CERTIFICATES = "https://www.googleapis.com"
TOKENS = "https://oauth2.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/androidpublisher"
PAGED = {"pageSize": 1000}  # "The maximum value is 1000": monetization.subscriptions/list
LISTS = ("subscriptions", "subscriptionOffers", "oneTimeProducts", "voidedPurchases")


class KeyFileField(SecretField):
    """The JSON of a service account's key. The key in it is a secret of its own."""

    def validate(self, value: Any) -> None:
        """Refuse what is another file."""
        super().validate(value)
        if not value:
            return
        private = self.values_in(value)[1:]
        if not private:
            raise forms.ValidationError("Paste the whole JSON file of a service account's key.")
        try:
            load_pem_private_key(private[0].encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise forms.ValidationError("The private key in this file is damaged. Make a new one at Google.") from None

    @staticmethod
    def values_in(stored: str) -> tuple[str, ...]:
        """Return the file, and the key that it holds."""
        try:
            told = json.loads(stored)
            parts = [told[name] for name in ("private_key", "client_email", "private_key_id")]
        except (ValueError, KeyError, TypeError):
            return (stored,) if stored else ()
        is_one = told.get("type") == "service_account" and all(isinstance(part, str) and part for part in parts)
        return (stored, parts[0]) if is_one else (stored,)


def plans(api: Api) -> Iterator[Choice]:
    """Read the base plans that are for sale, and their offers."""
    for row in api.pages(*app(api, "subscriptions"), params=PAGED):
        product = row.text("productId")
        for plan in row.get("basePlans") or ():
            if plan.get("state") == "ACTIVE":
                name = plan.text("basePlanId")
                yield Choice(f"subs/{product}/{name}", f"{_title(row)}: {name}")
    for row in api.pages(*app(api, "subscriptions", "-", "basePlans", "-", "offers"), params=PAGED):
        if row.get("state") == "ACTIVE":
            yield Choice(
                row.fill("subs/{productId}/{basePlanId}/{offerId}"),
                row.fill("{productId}: {basePlanId}, offer {offerId}"),
            )


def products(api: Api) -> Iterator[Choice]:
    """Read what is for sale: plans, offers and one-time products."""
    yield from plans(api)
    for row in api.pages(*app(api, "oneTimeProducts"), params=PAGED):
        if any(option.get("state") == "ACTIVE" for option in row.get("purchaseOptions") or ()):
            yield Choice(row.fill("inapp/{productId}"), _title(row))


def _title(row: Answer) -> str:
    titles = [str(listing.get("title") or "") for listing in row.get("listings") or ()]
    product = row.text("productId")
    return f"{titles[0]} ({product})" if titles and titles[0] else product


def probe(api: Api) -> list[ProbeLine]:
    """Ask for one subscription of the app's."""
    answer = api.get(*app(api, "subscriptions"), params={"pageSize": 1})
    if not isinstance(answer.data, dict):
        raise Undocumented("Google does not answer with the app's subscriptions.")
    return [
        ProbeLine(True, f"Google shows the products of {api.settings['package_name']}."),
        WRITING_UNTESTED,
        ProbeLine(None, "Purchases by licence testers are made here too: Google has no sandbox."),
    ]


class GooglePlay(Connector):
    """Purchases and subscriptions of an Android app."""

    key, label, category = "google_play", "Google Play", Category.STORES
    description = (
        "Sell and change subscriptions in your Android app; cancel, defer and refund them; send push notifications."
    )
    aliases = ("android", "play store", "in-app purchase", "play billing", "firebase", "fcm", "push", "notification")
    support = Support.CONTRACT
    docs_url = "https://developers.google.com/android-publisher"
    actions = (Purchase, Upgrade, Downgrade, Defer, Cancel, Revoke, RefundOrder, Push)
    catalogues = {"products": Catalogue("Products", products), "plans": Catalogue("Plans and offers", plans)}
    inbound = Notifications()
    pulls = PULLS
    codes = {"rateLimitExceeded": busy, "quotaExceeded": busy, "userRateLimitExceeded": busy}
    parts = {PLAY: probe, FIREBASE: pushing.probe}
    setup_steps = (
        "In the Google Cloud console, enable the Google Play Android Developer API and make a service account with a JSON key.",
        "In the Play Console, open Users and permissions and invite the account's e-mail address to your app.",
        "It must be allowed to see financial data, and to manage orders and subscriptions.",
        "Paste the key file here and enter the app's package name. Google may take a day until the account may ask.",
        "Let your app carry out the instructions and report the purchase token: see “Put Engage into your app”.",
        "For push notifications: in the Google Cloud console of your Firebase project, enable the Firebase Cloud Messaging API.",
        "The service account may send them with the role Firebase Cloud Messaging API Admin; or enter a key of another account.",
        "Bring the devices' registration tokens into the trait endpoint_fcm or endpoint_gcm, by a file of push endpoints say.",
        "Test the connection, switch it to Active and save.",
    )

    class Settings(forms.Form):
        """The app, and who may manage its orders."""

        package_name = identity(
            PatternField(
                r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+",
                max_length=150,
                label="Package name",
                shape="Like com.example.app.",
                help_text="The app's id in the Play Console.",
            )
        )
        service_account = KeyFileField(
            label="Service account key", help_text="The whole JSON file, from the Google Cloud console."
        )
        firebase_account = KeyFileField(
            required=False,
            label="Firebase service account key",
            help_text="For push notifications: the whole JSON file. Empty: the key above is used for them, too.",
        )
        rtdn_push_service_account = forms.EmailField(
            required=False,
            max_length=200,
            label="Service account of the push subscription",
            help_text="Its e-mail address: Pub/Sub signs notifications as this account. See the steps under Webhooks.",
        )
        rtdn_audience = PatternField(
            r"[!-~]+",
            required=False,
            max_length=300,
            label="Audience of the push subscription",
            shape="Without blanks.",
            help_text="As it stands in the push subscription: this connection's address for webhooks, unless you chose another.",
        )
        traits_for = traits_choice("Google Play", trait="google_purchase_token")

    def base_url(self, settings: Values) -> str:
        """One host for everybody."""
        return "https://androidpublisher.googleapis.com"

    def hosts(self, settings: Values) -> Mapping[str, str]:
        """Where tokens come from, whatever the key file says, the keys by which Google's own tokens are known, and Firebase."""
        return {"token": TOKENS, "certificates": CERTIFICATES, pushing.HOST: pushing.URL}

    def auth(self, settings: Values) -> ServiceAccount:
        """A token for the service account."""
        return ServiceAccount("token", key_file=settings["service_account"], scope=SCOPE, audience=f"{TOKENS}/token")

    def auth_at(self, host: str, settings: Values) -> AuthBase | TokenSource:
        """Firebase has a token of its own."""
        if host != pushing.HOST:
            return super().auth_at(host, settings)
        account = pushing.key_file(settings)
        return pushing.FirebaseAccount("token", key_file=account, scope=pushing.SCOPE, audience=f"{TOKENS}/token")

    def rows_of(self, page: Answer) -> list[Answer]:
        """A list that is empty is left out."""
        return next((page.rows(name) for name in LISTS if page.get(name) is not None), [])

    def next_page(self, page: Answer, query: Values) -> Mapping[str, Any] | None:
        """Go on by the token; voided purchases are older than the other lists, and name it otherwise."""
        older = (page.get("tokenPagination") or {}).get("nextPageToken")
        name, token = ("token", older) if older else ("pageToken", page.get("nextPageToken"))
        return {**query, name: str(token)} if token else None

    def said(self, answer: Answer) -> tuple[str, str]:
        """Read `{"error": {"message", "errors": [{"reason"}]}}`."""
        error = answer.get("error")
        errors = error.get("errors") if isinstance(error, Answer) else None
        first = next(iter(errors), None) if isinstance(errors, Answer) and isinstance(errors.data, list) else None
        reason = first.get("reason") if isinstance(first, Answer) else None
        return (reason if isinstance(reason, str) else ""), super().said(answer)[1]

    def failure(self, answer: Answer) -> Failure | None:
        """Another change of the same purchase was under way (409): whether ours came through is looked up."""
        if answer.status == 409:
            return Temporary(f"Google says: {self.said(answer)[1] or 'the purchase is being changed'}")
        return pushing.failure(answer) or super().failure(answer)
