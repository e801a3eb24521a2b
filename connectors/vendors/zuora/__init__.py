"""Zuora, v1 API: subscription billing.

https://developer.zuora.com/v1-api-reference/introduction. A 200 means nothing without `success: true`. POST and PATCH take an
`idempotency-key`, which Zuora keeps for 24 hours with its first answer, refusals included; the other methods must not carry one.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from zoneinfo import available_timezones

from django import forms

from connectors.answers import Answer, query_of, retry_after
from connectors.auth import ClientCredentials
from connectors.base import (
    WRITING_UNTESTED,
    Catalogue,
    Category,
    Choice,
    Connector,
    Json,
    PatternField,
    ProbeLine,
    SecretField,
    Values,
    account_choice,
    busy,
    identity,
)
from connectors.bodies import without_empty
from connectors.failures import BadCredentials, Failure, Rejected, Temporary
from connectors.http import Api
from connectors.vendors.zuora.changes import AddPlan, AutoRenew, Create, RemovePlan
from connectors.vendors.zuora.states import Cancel, Resume, Suspend

# Without the header the tenant's own version counts, 186.0 unless it was raised, which has no `runBilling`.
# UNVERIFIED: that a new tenant takes it; so it is a setting.
API_VERSION = "211.0"
# The enumeration of Zuora's own SDK (PyPI zuora-sdk 3.21.0).
HOSTS = {
    "us": ("rest", "United States, production"),
    "na": ("rest.na", "North America, production"),
    "eu": ("rest.eu", "European Union, production"),
    "ap": ("rest.ap", "Asia and Pacific, production"),
    "us_test": ("rest.test", "United States, central sandbox"),
    "eu_test": ("rest.test.eu", "European Union, central sandbox"),
    "ap_test": ("rest.test.ap", "Asia and Pacific, central sandbox"),
    "us_sandbox": ("rest.apisandbox", "United States, API sandbox"),
    "na_sandbox": ("rest.sandbox.na", "North America, API sandbox"),
    "eu_sandbox": ("rest.sandbox.eu", "European Union, API sandbox"),
}
PER_PAGE = 40  # "the maximum is 40": catalogue and subscriptions
# The last two digits of a code: https://developer.zuora.com/docs/guides/error-codes
AUTHENTICATION, LOCKED, LIMIT = "11", "50", "70"
PASSING = ("60", "61", "99")  # internal, temporary (UNVERIFIED), gateway or tax: it is not said that nothing happened


def rate_plans(api: Api) -> Iterator[Choice]:
    """Read the product catalogue's rate plans; since version 230.0 a product has their address in their place."""
    today = datetime.now(UTC).date().isoformat()
    for product in api.pages("catalog", "products"):
        plans = product["productRatePlans"]
        embedded = plans.rows() if isinstance(plans, Answer) else None
        listed = ("rateplan", product.text("id"), "productRatePlan")
        for plan in api.pages(*listed) if embedded is None else embedded:
            ends = str(plan.get("effectiveEndDate") or "9999")
            if ends > today and plan.get("status", "Active") == "Active":
                yield Choice(plan.text("id"), f"{product['name']}: {plan['name']}")


class Zuora(Connector):
    """Subscription billing."""

    key, label, category = "zuora", "Zuora", Category.BILLING
    description = "Add and remove plans, start, suspend, resume and cancel subscriptions, and say whether they renew."
    aliases = ("subscriptions", "orders", "subscribe and amend", "rate plan")
    docs_url = "https://developer.zuora.com/v1-api-reference/introduction"
    actions = (AddPlan, RemovePlan, Cancel, Suspend, Resume, AutoRenew, Create)
    catalogues = {"plans": Catalogue("Rate plans", rate_plans)}
    base_urls = {key: f"https://{host}.zuora.com/v1" for key, (host, _) in HOSTS.items()}
    chosen_by = "data_center"
    page_query = {"pageSize": PER_PAGE}
    rows_in = ("products", "productRatePlans", "subscriptions")
    idempotency_header, idempotency_methods = "idempotency-key", frozenset({"POST", "PATCH"})
    key_keeps_refusals = True
    setup_steps = (
        "In Zuora, open Administration > Manage Users, and choose or make a user with API Write Access.",
        "On the user's page, make a new OAuth client; its id and secret are shown once.",
        "Look in the address of your tenant which data center it is in.",
        "Find out whether your tenant has Orders (new ones have) or Subscribe and Amend; do not mix the two for pauses.",
        "The tenant's time zone stands under Administration > Manage Tenant Profile.",
        "Enter all this, test the connection, switch it to Active and save.",
        "Bring the account numbers into the trait account_number.",
    )

    class Settings(forms.Form):
        """Which tenant, and how it works."""

        data_center = account_choice(
            "Data center",
            [(key, f"{label} ({host})") for key, (host, label) in HOSTS.items()],
            help_text="Of the tenant.",
        )
        client_id = identity(
            PatternField("[!-~]{36,64}", label="Client id", shape="At least 36 letters, digits and hyphens.")
        )
        client_secret = SecretField(label="Client secret", help_text="Shown once, when the client is made.")
        tenant_model = forms.ChoiceField(
            choices=[("orders", "Orders"), ("subscribe_amend", "Subscribe and Amend")],
            label="Object model",
            help_text="What the tenant works with. With “Orders Harmonization” take Orders: lost answers are safer there.",
        )
        time_zone = forms.ChoiceField(
            choices=lambda: [(zone, zone.replace("_", " ")) for zone in sorted(available_timezones())],
            initial="UTC",
            label="Tenant's time zone",
            help_text="What takes effect today takes effect on this day.",
        )
        zuora_version = PatternField(
            r"[0-9]{3}\.0|20[0-9]{2}-[0-9]{2}-[0-9]{2}",
            initial=API_VERSION,
            label="API version",
            shape=f"Like {API_VERSION}, or a date like 2024-05-20.",
        )
        entity_id = identity(
            PatternField("[!-~]{1,64}", required=False, label="Entity", shape="An entity's id; empty with one entity.")
        )
        org_ids = identity(
            PatternField("[!-~]{1,200}", required=False, label="Organizations", shape="Ids with commas; usually empty.")
        )

    def is_sandbox(self, settings: Values) -> bool:
        """All but the production data centers."""
        return "_" in settings["data_center"]

    def hosts(self, settings: Values) -> Mapping[str, str]:
        """Tokens come from the same host."""
        return {"token": self.base_url(settings).removesuffix("/v1")}

    def auth(self, settings: Values) -> ClientCredentials:
        """A token for the OAuth client."""
        return ClientCredentials(
            "oauth", "token", client_id=settings["client_id"], client_secret=settings["client_secret"]
        )

    def headers(self, settings: Values) -> Mapping[str, str]:
        """The version that is spoken, and in which part of the tenant."""
        parts = {"Zuora-Entity-Ids": settings.get("entity_id"), "Zuora-Org-Ids": settings.get("org_ids")}
        version = {"Accept": "application/json", "zuora-version": settings["zuora_version"]}
        return {**version, **without_empty(parts)}

    def probe(self, api: Api) -> list[ProbeLine]:
        """Read one product."""
        api.get("catalog", "products", params={"pageSize": 1}).rows("products")
        return [ProbeLine(True, "Zuora accepts the client, and shows it the product catalog."), WRITING_UNTESTED]

    def next_page(self, page: Answer, query: Values) -> Json | None:
        """What `nextPage`, a URL, asks; it is left out of the last page."""
        following = page.get("nextPage")
        return {**query, **query_of(following)} if following else None

    def said(self, answer: Answer) -> tuple[str, str]:
        """Read `{"success": false, "reasons": [{"code", "message"}]}`."""
        rows = answer.objects("reasons")
        if not rows:
            return super().said(answer)
        return str(rows[0].get("code", "")), "; ".join(str(row.get("message", "")) for row in rows)

    def failure(self, answer: Answer) -> Failure | None:
        """Read a refusal, which is mostly inside a 200, by its category."""
        if answer.status >= 500 or (answer.status < 400 and answer.get("success") is not False):
            return None
        code, words = self.said(answer)
        says, category = f"Zuora says: {words or code or 'it does not say why'}", code[-2:]
        if category == AUTHENTICATION:
            return BadCredentials(says, code=code)
        if category in (LOCKED, LIMIT):
            later = busy(says, code=code)
            later.after = retry_after(answer)
            return later
        if category in PASSING or answer.status == 409:
            # 409: "submitting concurrent requests for the same cached data while the request is still in progress".
            return Temporary(says, after=retry_after(answer), code=code)
        if answer.status < 400:
            return Rejected(says.replace("says", "refused", 1), code=code)
        return super().failure(answer)

    def replayed(self, answer: Answer) -> bool:
        """A refusal in Zuora's own words is kept with the key, and not marked as a repeat; what a gateway says is not."""
        return answer.get("success") is False
