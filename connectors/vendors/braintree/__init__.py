"""Braintree, the classic XML API, version 6: recurring billing.

The official SDK builds and parses the XML, and checks the ids that stand in paths; its requests leave through the one door
(`Door` in `reading.py`), so that nothing of its own HTTP is used. GraphQL is no way: a subscription made there takes no id of
our choice, so a lost answer could not be looked up.
"""

from collections.abc import Iterator, Mapping

from braintree.configuration import Configuration
from django import forms
from requests.auth import AuthBase, HTTPBasicAuth

from connectors.answers import Answer
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
    identity,
    live_or_sandbox,
)
from connectors.failures import Failure, refused
from connectors.http import Api
from connectors.pulls import traits_choice
from connectors.vendors.braintree.actions import AddDiscount, SubscribePlan
from connectors.vendors.braintree.pulls import PULLS
from connectors.vendors.braintree.reading import DOCS, HOSTS, gateway
from connectors.vendors.braintree.traits import Webhooks


def plans(api: Api) -> Iterator[Choice]:
    """Read the plans; Braintree lists all at once."""
    for plan in gateway(api).plan.all():
        data = {"price": str(plan.price), "currency": str(plan.currency_iso_code)}
        yield Choice(str(plan.id), f"{plan.name} ({plan.id})", data)


def discounts(api: Api) -> Iterator[Choice]:
    """Read the discounts; Braintree lists all at once."""
    for discount in gateway(api).discount.all():
        yield Choice(str(discount.id), f"{discount.name} ({discount.id})", {"price": str(discount.amount)})


class Braintree(Connector):
    """Recurring billing."""

    key, label, category = "braintree", "Braintree", Category.BILLING
    description = "Start subscriptions and put discounts on them."
    aliases = ("paypal", "subscription", "discount", "coupon")
    support = Support.CONTRACT  # the official SDK builds and reads every request
    docs_url = f"{DOCS}/"
    actions = (SubscribePlan, AddDiscount)
    catalogues = {"plans": Catalogue("Plans", plans), "discounts": Catalogue("Discounts", discounts)}
    inbound = Webhooks()
    pulls = PULLS
    base_urls = HOSTS
    setup_steps = (
        "In Braintree's control panel, open Settings > API and make a key for Engage; sandbox and production have their own.",
        "Copy the merchant id and both keys here, test the connection, switch it to Active and save.",
    )

    class Settings(forms.Form):
        """Which account."""

        environment = live_or_sandbox("Keys belong to one of the two.")
        merchant_id = identity(
            PatternField("[a-z0-9]{8,32}", label="Merchant ID", shape="8 to 32 small letters and digits.")
        )
        merchant_account_id = forms.SlugField(
            max_length=64,
            required=False,
            label="Merchant account ID",
            help_text="Decides the currency. Empty: the default.",
        )
        # No secret: Braintree itself sends it along with every webhook.
        public_key = PatternField(
            "[A-Za-z0-9_-]{8,64}",
            label="Public key",
            shape="8 to 64 letters, digits, hyphens or underscores.",
            help_text="Stands beside the private one.",
        )
        private_key = SecretField(label="Private key", help_text="Webhooks are signed with it, too.")
        traits_for = traits_choice("Braintree", trait="braintree_id", user_id="customer ids")

    def auth(self, settings: Values) -> AuthBase:
        """Both keys, as user name and password."""
        return HTTPBasicAuth(settings["public_key"], settings["private_key"])

    def headers(self, settings: Values) -> Mapping[str, str]:
        """The version that the SDK speaks."""
        kind = "application/xml"
        return {"Accept": kind, "Content-Type": kind, "X-ApiVersion": Configuration.api_version()}

    def probe(self, api: Api) -> list[ProbeLine]:
        """Read the plans."""
        found = len(gateway(api).plan.all())
        return [
            ProbeLine(True, f"Braintree accepts the keys and shows plans: {found}."),
            WRITING_UNTESTED,
        ]

    def failure(self, answer: Answer) -> Failure | None:
        """Read the words of a 422: an `api-error-response` with validation errors, or a payment that failed."""
        error = answer.get("api-error-response")
        if not isinstance(error, Answer):
            return None
        words = str(error.get("message", "")).replace("\n", " ")
        return refused(self.label, words or f"status {answer.status}")
