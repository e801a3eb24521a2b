"""Roku: purchases on the device by Roku Pay, and what a server may do with them.

https://developer.roku.com/docs/developer-program/roku-pay/implementation/roku-web-service.md
"""

import json
from collections.abc import Iterator, Mapping

from django import forms
from django.core.validators import RegexValidator
from requests import PreparedRequest
from requests.auth import AuthBase

from connectors.answers import Answer
from connectors.auth import PLACE, PathKey
from connectors.base import (
    WRITING_UNTESTED,
    Catalogue,
    Category,
    Choice,
    Connector,
    PatternField,
    ProbeLine,
    Rate,
    SecretField,
    Values,
    identity,
    per_second,
)
from connectors.failures import BadCredentials, Failure, Rejected, Undocumented, refused
from connectors.http import Api
from connectors.rereads import nightly_choice
from connectors.typed_lists import ListField, labelled, typed
from connectors.vendors.roku.bill_cycle import UpdateBillCycle, legacy_choice
from connectors.vendors.roku.buying import LINE, Downgrade, Purchase, Upgrade
from connectors.vendors.roku.managing import Cancel, Credit, Refund, Validate
from connectors.vendors.roku.notifications import KEYS_HOST, Notifications
from connectors.vendors.roku.purchases import DOCS

HOST = "https://apipub.roku.com/listen/transaction-service.svc"  # there is no other for tests: beta apps and test users
NOBODYS = "0" * 32  # a transaction id of the right shape
UNAUTHORIZED = "UNAUTHORIZED"


class PartnerKey(PathKey):
    """Puts the key where Roku wants it: into the path of what reads, and into the body of what writes."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Return the request, signed."""
        if isinstance(request.body, bytes):
            request.body = json.dumps({"partnerAPIKey": self.key, **json.loads(request.body)}).encode()
        return super().__call__(request)


def products(api: Api) -> Iterator[Choice]:
    """Return what was typed: Roku lists products to nobody but the device."""
    for line in typed(api.settings, "products", LINE):
        yield Choice(line["code"], labelled(line["code"], line["name"]))


class Roku(Connector):
    """Purchases on Roku devices."""

    key, label, category = "roku", "Roku", Category.STORES
    description = "Sell and change subscriptions on Roku devices; check, cancel and refund them, and give credit."
    aliases = ("roku pay", "channel store", "in-app purchase", "streaming player")
    docs_url = DOCS
    actions = (Purchase, Upgrade, Downgrade, Validate, Cancel, Refund, Credit, UpdateBillCycle)
    reread = Validate
    catalogues = {"products": Catalogue("Products", products)}
    inbound = Notifications()
    setup_steps = (
        "In Roku's Developer Dashboard, open Roku Pay Web Services and copy the API key; there is one for all your apps.",
        "If you restrict the addresses that may ask there, allow this server's.",
        "Enter the key and the app's channel id, and list the products that you offer with their product groups.",
        "Test the connection, switch it to Active and save. Purchases of test users are made here too: Roku has no sandbox.",
        "Let your channel carry out the instructions and report the purchase: see “Put Engage into your app”.",
        "From a server Roku changes and resumes no plan. A credit gives free time; to move the next bill is legacy, and off.",
    )

    class Settings(forms.Form):
        """The app, and the developer's key."""

        channel_id = identity(PatternField("[0-9]{1,10}", label="Channel id", shape="Digits.", help_text="Of the app."))
        partner_api_key = SecretField(
            label="Roku Pay API key",
            help_text="Of the developer account.",
            names_account=True,
            validators=[RegexValidator(r"\A[0-9A-Za-z]{20,64}\Z", "A key has 20 to 64 letters and digits.")],
        )
        products = ListField(
            LINE,
            wanted="begin with a product's code, and part its group and its name by semicolons",
            label="Products",
            help_text="One a line: code; product group; name. Like “premium_yearly; films; Premium, yearly”.",
        )
        reread_nightly = nightly_choice("Roku")
        legacy_bill_cycle = legacy_choice()

    def base_url(self, settings: Values) -> str:
        """One host for everybody."""
        return HOST

    def hosts(self, settings: Values) -> Mapping[str, str]:
        """Where Roku publishes the keys of its notifications."""
        return {"keys": KEYS_HOST}

    def rate(self, settings: Values) -> Rate:
        """As Roku says: 20 requests a second for a key."""
        return per_second(20)

    def auth(self, settings: Values) -> AuthBase:
        """The key, in the path or in the body: Roku has no other place for it."""
        return PartnerKey(settings["partner_api_key"])

    def probe(self, api: Api) -> list[ProbeLine]:
        """Ask for a transaction that nobody has: whoever is told so has the right key.

        UNVERIFIED: the answers to it. Only UNAUTHORIZED is believed to speak of the key.
        """
        try:
            api.get("validate-transaction", PLACE, NOBODYS).shows("status", 0)
        except Rejected as no:
            if no.status != 200:
                raise
            return [ProbeLine(True, "Roku accepts the key."), WRITING_UNTESTED]
        raise Undocumented("Roku knows a transaction that cannot be.")

    def said(self, answer: Answer) -> tuple[str, str]:
        """Read `{"status": 1, "errorCode", "errorMessage", "errorDetails"}`."""
        words = answer.get("errorMessage") or answer.get("errorDetails") or ""
        return str(answer.get("errorCode", "")), str(words) if isinstance(words, str) else ""

    def failure(self, answer: Answer) -> Failure | None:
        """Read a refusal, which is inside a 200: `status` is 0 in everything else."""
        status = answer.get("status")
        if answer.status >= 400 or not isinstance(status, int) or status == 0:
            return super().failure(answer)
        code, words = self.said(answer)
        if words.strip().upper() == UNAUTHORIZED:
            return BadCredentials("Roku does not accept the key.", code=code)
        return refused(self.label, words, code=code)
