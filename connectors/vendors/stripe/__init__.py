"""Stripe Billing, API version 2025-02-24.acacia: the settings, how a request is signed, how its refusals read.

https://docs.stripe.com/api. Bodies are forms. POSTs carry an Idempotency-Key, whose first answer Stripe gives again for at
least 24 hours, stored 500s included; every action looks first as well.
"""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from requests.auth import AuthBase

from connectors.answers import Answer, retry_after
from connectors.auth import BearerKey
from connectors.base import (
    WRITING_UNTESTED,
    Catalogue,
    Category,
    Connector,
    Json,
    PatternField,
    ProbeLine,
    SecretField,
    SigningSecretField,
    Support,
    Values,
    identity,
    listed,
    live_or_sandbox,
)
from connectors.bodies import without_empty
from connectors.failures import Failure, Temporary, Undocumented
from connectors.http import Api
from connectors.pulls import traits_choice
from connectors.vendors.stripe.prices import SwitchAtPeriodEnd, UpdateSubscription
from connectors.vendors.stripe.pulls import PULLS
from connectors.vendors.stripe.reading import DOCS
from connectors.vendors.stripe.states import (
    ApplyCoupon,
    CancelAtPeriodEnd,
    CancelNow,
    Create,
    EndTrial,
    ExtendTrial,
    Keep,
    Pause,
    Resume,
)
from connectors.vendors.stripe.traits import Webhooks

# Pinned: the last version with `coupon` and with the period on the subscription itself; 2025-03-31.basil moved both
# (docs.stripe.com/changelog/basil). Without the header the account's own version would count.
API_VERSION = "2025-02-24.acacia"
HOST = "https://api.stripe.com/v1"
RECURRING = {"active": "true", "type": "recurring", "expand[]": "data.product"}
PER_PAGE = 100  # "between 1 and 100" (api/pagination)


def price_label(row: Answer) -> str:
    """Return a price's product, amount and interval; `unit_amount` is in the smallest unit, and null where it is tiered."""
    amount, every = row.get("unit_amount"), row.inner("recurring")
    name = row.get("nickname") or row.inner("product").get("name") or row["id"]
    period = f" per {every['interval_count']} {every['interval']}" if every else ""
    cost = "" if amount is None else f", {amount} {str(row['currency']).upper()} (smallest unit){period}"
    return f"{name}{cost} ({row['id']})"


def coupon_label(row: Answer) -> str:
    """Return a coupon's name and id."""
    return f"{row.get('name') or row['id']} ({row['id']})"


def is_valid(row: Answer) -> bool:
    """Whether a coupon can still be redeemed."""
    return row["valid"] is True


class Stripe(Connector):
    """Payments and subscriptions."""

    key, label, category = "stripe", "Stripe", Category.BILLING
    description = "Move, pause, end and start subscriptions, lengthen trials and apply coupons in Stripe Billing."
    aliases = ("payments", "billing", "coupon", "trial", "subscriptions")
    support = Support.CONTRACT
    docs_url = DOCS
    actions = (
        UpdateSubscription,
        SwitchAtPeriodEnd,
        ExtendTrial,
        EndTrial,
        ApplyCoupon,
        CancelAtPeriodEnd,
        Keep,
        CancelNow,
        Pause,
        Resume,
        Create,
    )
    catalogues = {
        "prices": Catalogue("Prices", listed("prices", key="{id}", label=price_label, params=RECURRING)),
        "coupons": Catalogue(
            "Coupons",
            listed("coupons", key="{id}", label=coupon_label, where=is_valid),
        ),
        "promotion_codes": Catalogue(
            "Promotion codes", listed("promotion_codes", key="{id}", label="{code} ({id})", params={"active": "true"})
        ),
    }
    inbound = Webhooks()
    pulls = PULLS
    base_urls = {"live": HOST, "sandbox": HOST}
    page_query = {"limit": PER_PAGE}
    idempotency_header = "Idempotency-Key"
    setup_steps = (
        "In Stripe's dashboard, open Developers > API keys and create a restricted key for Engage.",
        "Let it write Customers and Subscriptions, and read Products, Prices, Coupons and Promotion Codes.",
        "Choose the environment of the key: rk_live_… is production; a sandbox or the test mode has keys of its own.",
        "Paste the key, test the connection, switch it to Active and save.",
        "Bring Stripe's customer ids into the trait stripe_id; without it, people are found by email_address.",
    )

    class Settings(forms.Form):
        """Which account."""

        environment = live_or_sandbox("Which of Stripe's environments the key belongs to.")
        api_key = SecretField(
            label="Secret or restricted key",
            help_text="Begins with rk_ or sk_.",
            names_account=True,
            validators=[RegexValidator(r"\A(sk|rk)_(test|live)_[A-Za-z0-9]{10,}\Z", "That is no key of Stripe's.")],
        )
        stripe_account = identity(
            PatternField(
                r"acct_\w+",
                required=False,
                label="Connected account",
                shape="Of a Connect platform: acct_… Else empty.",
            )
        )

        webhook_secret = SigningSecretField(
            help_text="Begins with whsec_; only for webhooks. While it is rolled, both with a blank between.",
            validators=[RegexValidator(r"\Awhsec_\S+(\s+whsec_\S+)*\Z", "A signing secret begins with whsec_.")],
        )
        traits_for = traits_choice("Stripe", trait="stripe_id", user_id="customer ids")

        def clean(self) -> dict[str, Any]:
            """A key says itself of which environment it is."""
            told = super().clean() or self.cleaned_data
            kind = "_live_" if told.get("environment") == "live" else "_test_"
            if told.get("api_key") and kind not in told["api_key"]:
                raise ValidationError("The key belongs to the other environment.")
            return told

    def auth(self, settings: Values) -> AuthBase:
        """The key, on every call."""
        return BearerKey(settings["api_key"])

    def headers(self, settings: Values) -> Mapping[str, str]:
        """The version that is spoken, and for whom."""
        account = {"Stripe-Account": settings.get("stripe_account")}
        return {"Accept": "application/json", "Stripe-Version": API_VERSION, **without_empty(account)}

    def probe(self, api: Api) -> list[ProbeLine]:
        """Read a price: a restricted key as described may do that, and its answer says of which environment it is."""
        prices = api.get("prices", params={"limit": 1}).rows("data")
        accepted, wanted = ProbeLine(True, "Stripe accepts the key."), not self.is_sandbox(api.settings)
        if not prices:
            return [accepted, ProbeLine(None, "There is no price yet to see the environment by."), WRITING_UNTESTED]
        if prices[0]["livemode"] is not wanted:
            return [ProbeLine(False, "The key belongs to the other environment.")]
        return [accepted, ProbeLine(True, "Prices can be read."), WRITING_UNTESTED]

    def next_page(self, page: Answer, query: Values) -> Json | None:
        """After the last row; a page without rows that says there is more leads nowhere."""
        if page["has_more"] is not True:
            return None
        if not (rows := page.rows("data")):
            raise Undocumented("Stripe says that a list goes on, and gives no row of it.")
        return {**query, "starting_after": rows[-1].text("id")}

    def said(self, answer: Answer) -> tuple[str, str]:
        """Read `{"error": {type, code, decline_code, message}}`."""
        if not (error := answer.inner("error")):
            return super().said(answer)
        code = next((str(error.get(name)) for name in ("decline_code", "code", "type") if error.get(name)), "")
        return code, str(error.get("message", ""))

    def failure(self, answer: Answer) -> Failure | None:
        """Heed `Stripe-Should-Retry`, as Stripe's own libraries do; they try again after a 409, which did nothing."""
        may_retry = answer.headers.get("Stripe-Should-Retry")
        if 400 <= answer.status < 500 and (may_retry == "true" or (answer.status == 409 and may_retry != "false")):
            code, words = self.said(answer)
            return Temporary(f"Stripe is busy: {words}", after=retry_after(answer), code=code, sent=False)
        return super().failure(answer)

    def replayed(self, answer: Answer) -> bool:
        """Stripe marks an answer that it gives again (api/idempotent_requests)."""
        return answer.headers.get("Idempotent-Replayed") == "true"
