"""Cleeng, Core API 3.1: billing and subscriber management for video services.

https://developers.cleeng.com/reference/api31. All requests are server to server, signed with the broadcaster token. Cleeng
documents no idempotency key; all three actions set a state, so looking first makes a repeat safe.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django import forms
from requests.auth import AuthBase

from connectors.auth import HeaderKey
from connectors.base import (
    Action,
    Catalogue,
    CatalogueField,
    Category,
    Choice,
    Connector,
    Json,
    Pending,
    ProbeLine,
    Replay,
    SecretField,
    Values,
    identity,
    one_of,
)
from connectors.failures import AlreadyDone, Failure, Rejected, Temporary
from connectors.http import Answer, Api

API_VERSION = "3.1"
HOSTS = {"live": f"https://api.cleeng.com/{API_VERSION}", "sandbox": f"https://api.sandbox.cleeng.com/{API_VERSION}"}
OFFERS_PER_PAGE = 100
MOST_PAGES = 50

SUBSCRIPTION = one_of("cleeng_subscription_id", "cleeng_customer_id")
DASHBOARD = "In Cleeng's dashboard, open the customer and look at the subscription."


def date_of(timestamp: Any) -> str:
    """Return a day in words out of Cleeng's Unix time."""
    try:
        return datetime.fromtimestamp(int(timestamp), UTC).strftime("%-d %B %Y")
    except (TypeError, ValueError, OverflowError):
        return "the end of the period"


def one_subscription(
    api: Api, user: Json, *, from_offer: str = "", statuses: tuple[str, ...] = ("active", "stopped")
) -> Answer:
    """Return the subscription that an action is about.

    Raises:
        Rejected: there is none, or several and nothing says which.

    """
    if known := user.get("cleeng_subscription_id"):
        try:
            return api.get("subscriptions", str(known))
        except Rejected as no:
            if no.status == 404:
                raise Rejected(f"Cleeng knows no subscription {known}.") from None
            raise
    customer = str(user["cleeng_customer_id"])
    # The documentation of the status filter contradicts itself (`status[]` or `status`), and it has no `paused`: filter here.
    listed = api.get("subscriptions", params={"customerId": customer, "limit": 100})
    candidates = [
        row for row in listed["data"] if row["status"] in statuses and (not from_offer or row["offerId"] == from_offer)
    ]
    if not candidates:
        raise Rejected(f"Customer {customer} has no matching subscription at Cleeng.")
    if len(candidates) > 1:
        ids = ", ".join(str(row["subscriptionId"]) for row in candidates)
        raise Rejected(f"Customer {customer} has several subscriptions at Cleeng ({ids}); none is chosen by guessing.")
    return candidates[0]  # type: ignore[no-any-return]


class SwitchSubscription(Action):
    """Move a subscription to another offer. Cleeng carries it out later: the switch is followed until it is finished."""

    key, label = "switch_subscription", "Switch subscription"
    description = "Moves the subscriber to another offer. Cleeng must have a switch between the two offers."
    needs = SUBSCRIPTION
    replay = Replay.CHECK
    replay_proof = "https://developers.cleeng.com/reference/31-switch-subscription: offerId and pendingSwitchId show it"
    check_at = DASHBOARD

    class Inputs(forms.Form):
        """The target, and which way it lies."""

        to_offer = CatalogueField(catalogue="offers", label="To offer", help_text="The offer that the subscriber gets.")
        direction = forms.ChoiceField(
            choices=[("upgrade", "Upgrade"), ("downgrade", "Downgrade")],
            label="Direction",
            help_text="Cleeng asks for it, and it must fit the switch as it is set up there.",
        )
        from_offer = CatalogueField(
            catalogue="offers",
            required=False,
            label="From offer",
            help_text="Only needed when subscribers have several subscriptions.",
        )

    def _subscription(self, api: Api, user: Json, inputs: Values) -> Answer:
        # After the switch the from-offer no longer matches: then the subscription on the target is the one.
        try:
            return one_subscription(api, user, from_offer=inputs.get("from_offer", ""), statuses=("active",))
        except Rejected:
            if inputs.get("from_offer") and "cleeng_customer_id" in user:
                return one_subscription(api, user, from_offer=inputs["to_offer"], statuses=("active",))
            raise

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | Pending | None:
        """On the target offer already, or on the way there."""
        subscription = self._subscription(api, user, inputs)
        if subscription["offerId"] == inputs["to_offer"]:
            return f"Subscription {subscription['subscriptionId']} is on offer {inputs['to_offer']}"
        if pending := subscription.get("pendingSwitchId"):
            switch = api.get("subscription_switches", str(pending))
            if switch["toOfferId"] != inputs["to_offer"]:
                raise Rejected(f"Another switch is under way at Cleeng, to offer {switch['toOfferId']}.")
            return self._standing(switch, subscription)
        return None

    def perform(self, api: Api, user: Json, inputs: Values) -> str | Pending:
        """Ask for the switch."""
        subscription = self._subscription(api, user, inputs)
        if subscription["status"] != "active":
            raise Rejected(
                f"Subscription {subscription['subscriptionId']} is {subscription['status']}; only an active one can be switched."
            )
        wish = {
            "toOfferId": inputs["to_offer"],
            "switchDirection": inputs["direction"],
            "subscriptionId": subscription["subscriptionId"],
        }
        try:
            return self._standing(api.post("subscription_switches", json=wish), subscription)
        except Rejected as no:
            # Somebody asked for a switch since we looked: it may be the very same one.
            if no.code == "SWITCH_IN_PROGRESS" and (found := self.already_done(api, user, inputs)):
                return found
            raise

    def follow_up(self, api: Api, job: Json) -> str | Pending:
        """Ask what became of a switch."""
        subscription = api.get("subscriptions", str(job["subscription"]))
        if subscription["offerId"] == job["to_offer"]:
            return f"Subscription {job['subscription']} is on offer {job['to_offer']}"
        return self._standing(api.get("subscription_switches", job["switch"]), subscription)

    def _standing(self, switch: Answer, subscription: Answer) -> str | Pending:
        """Say how a switch stands. One that is scheduled for the period's end needs nothing more from us: it is done."""
        number, target = subscription["subscriptionId"], switch["toOfferId"]
        match switch["status"]:
            case "finished":
                return f"Subscription {number} is on offer {target}"
            case "pending":
                ends = subscription.get("nextPaymentActionDate") or subscription.get("dateTo")
                return f"Subscription {number} changes to offer {target}; it takes effect on {date_of(ends)}"
            case "cancelled" | "failed" as ended:
                raise Rejected(f"Cleeng's switch of subscription {number} to {target} was {ended}.")
        return Pending(
            {"switch": str(switch["id"]), "subscription": str(number), "to_offer": target},
            f"Cleeng is switching subscription {number} to offer {target}",
        )


class ApplyCoupon(Action):
    """Put a coupon on a running subscription."""

    key, label = "apply_coupon", "Apply coupon"
    description = "Puts a coupon on the subscriber's running subscription; it counts from the next payment."
    needs = SUBSCRIPTION
    replay = Replay.CHECK
    replay_proof = "https://developers.cleeng.com/reference/update-subscription: couponCode shows it"
    check_at = DASHBOARD

    class Inputs(forms.Form):
        """Which coupon."""

        coupon = forms.RegexField(
            r"^[A-Za-z0-9_-]{2,40}$",
            label="Coupon code",
            help_text="As in Cleeng: 2 to 40 letters, digits, hyphens or underscores.",
            error_messages={"invalid": "A coupon code has 2 to 40 letters, digits, hyphens or underscores."},
        )

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """The coupon is on the subscription."""
        subscription = one_subscription(api, user)
        if subscription.get("couponCode") == inputs["coupon"]:
            return f"Coupon {inputs['coupon']} is on subscription {subscription['subscriptionId']}"
        return None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Put it there. Cleeng's 200 carries `success: false` by default, so the coupon in the answer is what counts."""
        subscription = one_subscription(api, user)
        answer = api.patch("subscriptions", str(subscription["subscriptionId"]), json={"couponCode": inputs["coupon"]})
        applied = answer["subscription"]["couponCode"]
        if applied != inputs["coupon"]:
            raise Rejected(f"Cleeng left coupon {applied} on subscription {subscription['subscriptionId']}.")
        return f"Coupon {applied} is on subscription {subscription['subscriptionId']}"

    def check_inputs(self, api: Api, inputs: Values) -> list[str]:
        """Ask Cleeng for the coupon's campaign (there is no list of all coupons)."""
        code = inputs["coupon"]
        campaigns = list(api.get("campaigns", params={"couponCode": code})["data"])
        if not campaigns:
            return [f"Cleeng knows no coupon {code}."]
        wrong = [_why_not_on_a_running_subscription(campaign) for campaign in campaigns]
        return [] if any(not reason for reason in wrong) else [f"Coupon {code} {wrong[0]}."]


def _why_not_on_a_running_subscription(campaign: Answer) -> str:
    if campaign["status"] != "active":
        return f"belongs to a campaign that is {campaign['status']}"
    constraints = campaign.get("constraints")
    if constraints and constraints.get("paymentType", "all") not in {"all", "renewal"}:
        return "counts for first payments only, not for a running subscription"
    types = constraints.get("offerTypes") if constraints else None
    if types and "subscription" not in types.data:
        return "does not count for subscriptions"
    return ""


class ReactivateSubscription(Action):
    """Undo a cancellation that has not taken effect yet."""

    key, label = "reactivate_subscription", "Reactivate subscription"
    description = "Undoes a pending cancellation, so that the subscription renews again."
    needs = SUBSCRIPTION
    replay = Replay.CHECK
    replay_proof = "https://developers.cleeng.com/reference/api31, “Activate subscription”: status shows it"
    check_at = DASHBOARD

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """It is active."""
        subscription = one_subscription(api, user)
        if subscription["status"] == "active":
            return f"Subscription {subscription['subscriptionId']} is active"
        return None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Activate it; only one that is stopped and not yet over can be."""
        subscription = one_subscription(api, user)
        number, status = subscription["subscriptionId"], subscription["status"]
        if status != "stopped":
            raise Rejected(
                f"Subscription {number} is {status}; only one with a pending cancellation can be reactivated."
            )
        answer = api.post("subscriptions", str(number), "activate")
        if answer["status"] != "active":
            raise Rejected(f"Cleeng left subscription {number} {answer['status']}.")
        return f"Subscription {answer['subscriptionId']} is active"


def offers(api: Api) -> Iterator[Choice]:
    """Read all subscription offers that are active.

    Paging and envelope of `GET /offers` are not documented; the sister API documents `page` and `limit`. So: any of the usual
    envelopes, and pages until one is short or brings nothing new.
    """
    seen: set[str] = set()
    for page in range(1, MOST_PAGES + 1):
        answer = api.get("offers", params={"page": page, "limit": OFFERS_PER_PAGE})
        rows = list(_rows(answer))
        new = [row for row in rows if str(row.get("longId") or row["id"]) not in seen]
        for row in new:
            key = str(row.get("longId") or row["id"])
            seen.add(key)
            if row.get("type", "subscription") == "subscription" and row.get("active", True):
                yield Choice(key, _offer_label(row, key), {"title": row.get("title", "")})
        if not new or len(rows) < OFFERS_PER_PAGE:
            return


def _rows(answer: Answer) -> Answer:
    if isinstance(answer.data, list):
        return answer
    for name in ("data", "responseData", "items"):
        if (inner := answer.get(name)) is not None:
            return _rows(inner)
    return answer["data"]  # type: ignore[no-any-return]


def _offer_label(row: Answer, key: str) -> str:
    price = row.get("price")
    amount = (
        f", {price.get('amount')} {price.get('currency', '')}".rstrip()
        if isinstance(price, Answer) and price.get("amount")
        else ""
    )
    return f"{row.get('title', key)}{amount} ({key})"


class Cleeng(Connector):
    """Subscriptions of video services."""

    key, label, category = "cleeng", "Cleeng", Category.BILLING
    description = "Switch a subscription, apply a coupon, or undo a cancellation in Cleeng Core."
    aliases = ("churniq", "ott", "mediastore")
    docs_url = "https://developers.cleeng.com/reference/api31"
    actions = (SwitchSubscription, ApplyCoupon, ReactivateSubscription)
    catalogues = {"offers": Catalogue("Offers", offers)}
    setup_steps = (
        "In Cleeng's dashboard, open Admin & Tools > API keys and copy the broadcaster token (also called publisher token).",
        "Choose the environment that the token belongs to: production and sandbox are separate accounts with tokens of their own.",
        "Paste the token, test the connection, switch it to Active and save.",
        "For “Switch subscription”, set up the pairs of offers in Cleeng first (Offers > Switch settings).",
        "Bring Cleeng's customer ids into the traits: User traits > Sources describes the ChurnIQ export to S3.",
    )
    import_steps = (
        "In Cleeng, open ChurnIQ > Segments (older ones: Admin & Tools > Legacy Segments) and build a segment.",
        "Tick the attributes that your prompts need; “Customer ID” and “Email Address” in any case.",
        "Open the gear menu of the segment and choose Schedule, then New.",
        "Destination: Amazon S3. Enter your bucket, the path, the vendor's write-only key, and your bucket's region.",
        "Format: CSV, unformatted (formatted ones change column names and numbers). Limit: All results.",
        "Trigger: Repeating interval, daily, some time after midnight in your time zone.",
        "Use Send Test, then “Check now” on the source's page.",
    )

    class Settings(forms.Form):
        """Which account."""

        environment = identity(
            forms.ChoiceField(
                choices=[("live", "Production"), ("sandbox", "Sandbox")],
                label="Environment",
                help_text="Which Cleeng account the key belongs to.",
            )
        )
        api_key = SecretField(label="API key", help_text="Your broadcaster token.", usual_length=48)

    def environment(self, settings: Values) -> str:
        """Production or Sandbox."""
        return "Sandbox" if settings.get("environment") == "sandbox" else "Production"

    def is_sandbox(self, settings: Values) -> bool:
        """Cleeng's sandbox moves no money."""
        return bool(settings.get("environment") == "sandbox")

    def base_url(self, settings: Values) -> str:
        """The environment's host."""
        return HOSTS[settings["environment"]]

    def auth(self, settings: Values) -> AuthBase:
        """The broadcaster token, on every call."""
        return HeaderKey("X-Publisher-Token", settings["api_key"])

    def probe(self, api: Api) -> list[ProbeLine]:
        """Ask for subscriptions without a filter: documented to be an empty list, so no personal data comes."""
        answer = api.get("subscriptions", params={"limit": 1})
        list(answer["data"])
        name = self.environment(api.settings)
        return [
            ProbeLine(True, f"Cleeng {name} accepts the key."),
            ProbeLine(True, "Subscriptions can be read."),
            ProbeLine(None, "Writing cannot be tested without changing something."),
        ]

    def failure(self, answer: Answer) -> Failure | None:
        """Read a refusal: `{message}`, `{success: false, …}` or, for switches, a code in `code` or in `message`."""
        if answer.status in {401, 403, 429} or answer.status >= 500:
            return None
        refused = answer.status >= 400
        if not refused:
            # `success` is false by default even beside a resource: only without one is it a refusal.
            has_resource = any(answer.get(name) is not None for name in ("subscription", "data", "id"))
            if answer.get("success") is not False or has_resource:
                return None
        listed = "; ".join(str(error) for error in answer.get("errors") or [])
        words = str(answer.get("message") or listed or f"status {answer.status}")
        found = re.search(r"\b[A-Z]+(?:_[A-Z]+)+\b", f"{answer.get('code', '')} {words}")
        code = found.group() if found else ""
        if code == "SAME_TARGET_OFFER":
            return AlreadyDone("The subscription is on that offer already.", code=code)
        if code == "RECURRING_PROCESS_ALREADY_STARTED":
            return Temporary("Cleeng is billing this subscription just now.", after=3600, code=code, sent=False)
        return Rejected(f"Cleeng refused: {words}" + (f" ({code})" if code and code not in words else ""), code=code)
