"""Recurly, API v2021-02-25: subscription billing.

https://recurly.com/developers/api/v2021-02-25/. The published OpenAPI description (recurly/recurly-client-python, MIT) is what
the requests are checked against. Recurly recognises an `Idempotency-Key` (recurly-client-ruby, pull request 579), and does not
say for how long; so every write carries one, and every action looks first as well.
"""

from collections.abc import Mapping

from django import forms
from django.core.validators import RegexValidator
from requests.auth import AuthBase, HTTPBasicAuth

from connectors.answers import Answer, query_of
from connectors.base import (
    WRITING_UNTESTED,
    Catalogue,
    Category,
    Connector,
    Json,
    ProbeLine,
    Rate,
    SecretField,
    SigningSecretField,
    Support,
    Values,
    account_choice,
    busy,
    listed,
    per_minute,
)
from connectors.failures import BadCredentials, Temporary, Undocumented
from connectors.http import Api
from connectors.pulls import traits_choice
from connectors.vendors.recurly.changes import Create, Switch, UpdatePrice
from connectors.vendors.recurly.extras import ApplyCoupon, RecordUsage
from connectors.vendors.recurly.pulls import PULLS
from connectors.vendors.recurly.reading import API_VERSION, DOCS
from connectors.vendors.recurly.states import Cancel, ConvertTrial, Pause, Reactivate, Resume
from connectors.vendors.recurly.traits import Webhooks

HOSTS = {"us": "https://v3.recurly.com", "eu": "https://v3.eu.recurly.com"}
PER_PAGE = 200  # the most that Recurly gives


def is_redeemable(coupon: Answer) -> bool:
    """Whether it can be redeemed by its id: of a bulk coupon only its single codes can be."""
    return bool(coupon["state"] == "redeemable" and coupon["coupon_type"] == "single_code")


def is_usage(add_on: Answer) -> bool:
    """Whether it is billed by use."""
    return bool(add_on["add_on_type"] == "usage")


class Recurly(Connector):
    """Subscription billing."""

    key, label, category = "recurly", "Recurly", Category.BILLING
    description = "Start, change, pause and end subscriptions, redeem coupons and record usage."
    aliases = ("subscriptions", "coupon", "usage", "trial")
    support = Support.CONTRACT
    docs_url = f"{DOCS}/"
    actions = (
        ApplyCoupon,
        Pause,
        Resume,
        Switch,
        Create,
        Reactivate,
        UpdatePrice,
        ConvertTrial,
        RecordUsage,
        Cancel,
    )
    catalogues = {
        "plans": Catalogue("Plans", listed("plans", key="{code}", label="{name} ({code})", params={"state": "active"})),
        "coupons": Catalogue("Coupons", listed("coupons", key="{id}", label="{name} ({code})", where=is_redeemable)),
        # The key as it stands in the path of a usage. Plans share codes.
        "add_ons": Catalogue(
            "Usage add-ons",
            listed("add_ons", key="code-{code}", label="{name} ({code})", where=is_usage, params={"state": "active"}),
        ),
    }
    inbound = Webhooks()
    pulls = PULLS
    base_urls, chosen_by = HOSTS, "region"
    page_query = {"limit": PER_PAGE}
    codes = {
        **dict.fromkeys(("unauthorized", "invalid_api_key", "invalid_permissions"), BadCredentials),
        **dict.fromkeys(("service_not_available", "tax_service_error", "internal_server_error"), Temporary),
        **dict.fromkeys(("rate_limited", "simultaneous_request"), busy),
    }
    idempotency_header = "Idempotency-Key"
    setup_steps = (
        "In Recurly, open Integrations > API credentials and add a private API key for Engage.",
        "Choose the region in which Recurly keeps your site; a sandbox is a site of its own, with a key of its own.",
        "Say whether your traits hold account codes or Recurly's own account ids.",
        "Paste the key, test the connection, switch it to Active and save.",
    )

    class Settings(forms.Form):
        """Which site."""

        region = account_choice(
            "Region", [("us", "United States"), ("eu", "European Union")], help_text="Where Recurly keeps your site."
        )
        # 32 hexadecimal digits in practice, which Recurly promises nowhere.
        api_key = SecretField(
            label="Private API key",
            help_text="Of the site that is meant, production or sandbox.",
            usual_length=32,
            names_account=True,
            validators=[RegexValidator(r"\A[!-~]{16,}\Z", "A key has at least 16 letters or digits, and no spaces.")],
        )
        webhook_secret = SigningSecretField(
            help_text="The secret key of the webhook endpoint, which Recurly shows in its list. While it is rotated, both with "
            "a blank between."
        )
        use_account_code = forms.BooleanField(
            required=False,
            label="Traits hold account codes",
            help_text="Otherwise account_code or account_number is taken for Recurly's own account id.",
        )
        traits_for = traits_choice("Recurly", trait="account_code or account_number", user_id="account codes")

    # "Sandbox sites: 400 requests per minute. All requests count [...] Production sites: 1,000 requests per minute. Only GET
    # requests count", https://support.recurly.com/hc/en-us/articles/360034160731. Nothing in the settings tells which kind
    # of site a key belongs to, and the lower number keeps both.
    def rate(self, settings: Values) -> Rate:
        """400 requests a minute."""
        return per_minute(400)

    def auth(self, settings: Values) -> AuthBase:
        """The key as user name, without a password."""
        return HTTPBasicAuth(settings["api_key"], "")

    def headers(self, settings: Values) -> Mapping[str, str]:
        """The version that is spoken (without it: 406 `invalid_api_version`)."""
        return {"Accept": f"application/vnd.recurly.{API_VERSION}", "Content-Type": "application/json"}

    def probe(self, api: Api) -> list[ProbeLine]:
        """Ask which site the key belongs to."""
        sites = api.get("sites", params={"limit": 1}).rows("data")
        if not sites:
            raise Undocumented("Recurly shows no site to this key.")
        return [
            ProbeLine(True, f"The key belongs to the {sites[0]['mode']} site “{sites[0]['subdomain']}”."),
            WRITING_UNTESTED,
        ]

    def next_page(self, page: Answer, query: Values) -> Json | None:
        """What `next` (a URL or a path) asks."""
        return dict(query_of(page.text("next"))) if page["has_more"] is True else None

    def said(self, answer: Answer) -> tuple[str, str]:
        """Read `{"error": {type, message, params, transaction_error}}`; the contract leaves the outer member out."""
        error = answer.inner("error") or answer
        code, words = str(error.get("type", "")), str(error.get("message", ""))
        if declined := error.inner("transaction_error"):
            return str(declined.get("code", code)), f"The payment failed: {declined.get('message', words)}"
        return code, words

    def replayed(self, answer: Answer) -> bool:
        """Recurly marks an answer that it gives again (recurly-client-go: `Idempotency-Prior`)."""
        return answer.headers.get("Idempotency-Prior") == "true"
