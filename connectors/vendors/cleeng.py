"""Cleeng, Core API 3.1: billing and subscriber management for video services.

https://developers.cleeng.com/reference/api31. All requests are server to server, signed with the broadcaster token. Cleeng
documents no idempotency key; all three actions set a state, so looking first makes a repeat safe.
"""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django import forms
from requests.auth import AuthBase

from connectors.answers import Answer
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
from connectors.failures import AlreadyDone, Failure, Rejected, Temporary, Undocumented
from connectors.http import Api

API_VERSION = "3.1"
HOSTS = {"live": f"https://api.cleeng.com/{API_VERSION}", "sandbox": f"https://api.sandbox.cleeng.com/{API_VERSION}"}
OFFERS_PER_PAGE = 100
MOST_PAGES = 50

SUBSCRIPTION = one_of("cleeng_subscription_id", "cleeng_customer_id")
# developers.cleeng.com/reference/31-switch-subscription lists these; its contract has only `message`, so a code is looked for
# in `code` and in `message`.
SWITCH_REFUSALS = {
    "PAYMENT_GATEWAY_NOT_SUPPORTED": "the subscription's payment method does not allow switching",
    "RECURRING_PROCESS_ALREADY_STARTED": "the subscription is being billed just now",
    "ALREADY_HAS_ACCESS": "the customer has that offer already",
    "TO_OFFER_COUNTRY_NOT_ALLOWED": "the offer is not for the customer's country",
    "TO_FREE_OFFER_NOT_ALLOWED": "nobody can be switched to a free offer",
    "SWITCH_NOT_DEFINED_IN_SWITCH_SETTINGS": "this switch is not set up in Cleeng (Offers > Switch settings)",
    "SUBSCRIPTION_WITH_COUPON_NOT_ALLOWED": "a subscription with a coupon cannot be switched",
    "OFFER_INACTIVE": "the offer is not active",
    "VALIDATION_ERROR": "the request was not valid",
    "SAME_TARGET_OFFER": "the subscription is on that offer already",
    "SWITCH_IN_PROGRESS": "a switch is under way",
}
BILLING_LASTS = 3600.0  # seconds after which a subscription that was being billed is asked about again
DASHBOARD = "In Cleeng's dashboard, open the customer and look at the subscription."


def date_of(timestamp: Any) -> str:
    """Return a day in words out of Cleeng's Unix time."""
    try:
        return datetime.fromtimestamp(int(timestamp), UTC).strftime("%-d %B %Y")
    except (TypeError, ValueError, OverflowError):
        return "the end of the period"


def id_in(user: Json, trait: str) -> str:
    """Return an id out of a trait: Cleeng's are whole numbers, which a CSV or JSON may have made 640000001.0.

    Raises:
        Rejected: the trait holds something else.

    """
    found = re.fullmatch(r"([0-9]+)(?:\.0+)?", str(user[trait]).strip())
    if found is None:
        raise Rejected(f"The trait {trait} holds no id of Cleeng's, which are whole numbers.")
    return found.group(1)


def number_of(subscription: Answer) -> int:
    """Return a subscription's id; `id` is its deprecated name."""
    number = subscription.get("subscriptionId")
    return int(subscription["id"] if number is None else number)


def is_over(subscription: Answer) -> bool:
    """Whether a subscription has ended; a cancelled ("stopped") one runs until `dateTo`."""
    ends = subscription.get("dateTo")
    return subscription["status"] == "terminated" or (
        subscription["status"] == "stopped" and isinstance(ends, (int, float)) and ends <= time.time()
    )


def one_subscription(
    api: Api, user: Json, *, offers: tuple[str, ...] = (), statuses: tuple[str, ...] = ("active", "stopped")
) -> Answer:
    """Return the subscription that an action is about: the one with the known id, or the customer's only one.

    Args:
        offers: which one it is where the customer has several: the one on the first of these offers that any is on.
        statuses: of the customer's subscriptions only these count, and none that is over.

    Raises:
        Rejected: there is none, or several and nothing says which.

    """
    if user.get("cleeng_subscription_id"):
        known = id_in(user, "cleeng_subscription_id")
        try:
            return api.get("subscriptions", known)
        except Rejected as no:
            if no.status == 404:
                raise Rejected(f"Cleeng knows no subscription {known}.") from None
            raise
    customer = id_in(user, "cleeng_customer_id")
    # The documentation of the status filter contradicts itself (`status[]` or `status`), and it has no `paused`: filter here.
    listed = api.get("subscriptions", params={"customerId": customer, "limit": 100})
    rows = [row for row in listed.rows("data") if _belongs_to(row, customer)]
    candidates = [row for row in rows if row["status"] in statuses and not is_over(row)]
    if offers:
        on_offer = ([row for row in candidates if row["offerId"] == offer] for offer in offers)
        candidates = next((found for found in on_offer if found), [])
    if not candidates:
        others = ", ".join(f"{number_of(row)} on {row['offerId']} is {row['status']}" for row in rows)
        raise Rejected(
            f"Customer {customer} has no matching subscription at Cleeng" + (f" ({others})." if others else ".")
        )
    if len(candidates) > 1:
        ids = ", ".join(str(number_of(row)) for row in candidates)
        raise Rejected(f"Customer {customer} has several subscriptions at Cleeng ({ids}); none is chosen by guessing.")
    return candidates[0]


def _belongs_to(row: Answer, customer: str) -> bool:
    """Whether a row of the list is this customer's (`userId` is the deprecated name): a filter that fails costs others money."""
    return str(row.get("customerId") or row.get("userId") or customer) == customer


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
        """Return the subscription to be switched, or the one that was: after the switch it is on the target offer."""
        start, target = inputs.get("from_offer"), inputs["to_offer"]
        offers = (start, target) if start else ()
        subscription = one_subscription(api, user, offers=offers, statuses=("active",))
        number = number_of(subscription)
        if subscription["status"] != "active":
            raise Rejected(f"Subscription {number} is {subscription['status']}; only an active one can be switched.")
        if offers and subscription["offerId"] not in offers:
            raise Rejected(f"Subscription {number} is on offer {subscription['offerId']}, not on {start}.")
        return subscription

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | Pending | None:
        """On the target offer already, or on the way there."""
        subscription = self._subscription(api, user, inputs)
        if subscription["offerId"] == inputs["to_offer"]:
            return f"Subscription {number_of(subscription)} is on offer {inputs['to_offer']}"
        if pending := subscription.get("pendingSwitchId"):
            switch = api.get("subscription_switches", str(pending))
            if switch["toOfferId"] != inputs["to_offer"]:
                raise Rejected(f"Another switch is under way at Cleeng, to offer {switch['toOfferId']}.")
            return self._standing(switch, subscription)
        return None

    def perform(self, api: Api, user: Json, inputs: Values) -> str | Pending:
        """Ask for the switch."""
        subscription, target = self._subscription(api, user, inputs), inputs["to_offer"]
        number = number_of(subscription)
        if coupon := subscription.get("couponCode"):
            raise Rejected(f"Coupon {coupon} is on subscription {number}; Cleeng switches none that has a coupon.")
        if subscription.get("isExternallyManaged"):
            raise Rejected(f"Subscription {number} is managed by an app store, where Cleeng cannot switch it.")
        wish = {"toOfferId": target, "switchDirection": inputs["direction"], "subscriptionId": number}
        try:
            switch = api.post("subscription_switches", json=wish)
        except Rejected as no:
            return self._after_refusal(api, user, inputs, no)
        if switch["toOfferId"] != target:
            raise Undocumented(f"Cleeng answered with a switch to {switch['toOfferId']} instead of {target}.")
        return self._standing(switch, subscription)

    def _after_refusal(self, api: Api, user: Json, inputs: Values, no: Rejected) -> str | Pending:
        """Read the refusals that are none: somebody asked for the switch since we looked, or it is not the moment."""
        match no.code:
            case "SAME_TARGET_OFFER":
                raise AlreadyDone(f"The subscription is on offer {inputs['to_offer']} already.", code=no.code)
            case "RECURRING_PROCESS_ALREADY_STARTED":
                raise Temporary(no.message, after=BILLING_LASTS, code=no.code, sent=False)
            case "SWITCH_IN_PROGRESS" if found := self.already_done(api, user, inputs):
                return found
        raise no

    def follow_up(self, api: Api, job: Json) -> str | Pending:
        """Ask what became of a switch."""
        subscription = api.get("subscriptions", str(job["subscription"]))
        if subscription["offerId"] == job["to_offer"]:
            return f"Subscription {job['subscription']} is on offer {job['to_offer']}"
        return self._standing(api.get("subscription_switches", job["switch"]), subscription)

    def _standing(self, switch: Answer, subscription: Answer) -> str | Pending:
        """Say how a switch stands. One that is scheduled for the period's end needs nothing more from us: it is done."""
        number, target = number_of(subscription), switch["toOfferId"]
        match switch["status"]:
            case "finished":
                return f"Subscription {number} is on offer {target}"
            case "pending":
                ends = subscription.get("nextPaymentActionDate") or subscription.get("dateTo")
                return f"Subscription {number} changes to offer {target}; it takes effect on {date_of(ends)}"
            case "cancelled" | "failed" as ended:
                raise Rejected(f"Cleeng's switch of subscription {number} to {target} was {ended}.")
            case "inprogress":
                return Pending(
                    {"switch": str(switch["id"]), "subscription": str(number), "to_offer": target},
                    f"Cleeng is switching subscription {number} to offer {target}",
                )
            case other:
                raise Undocumented(f"Cleeng says {other!r} of the switch, which its documentation does not.")


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

    def _subscription(self, api: Api, user: Json) -> Answer:
        subscription = one_subscription(api, user)
        if is_over(subscription):
            raise Rejected(f"Subscription {number_of(subscription)} is over; a coupon needs one that runs.")
        return subscription

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """The coupon is on the subscription."""
        subscription = self._subscription(api, user)
        if subscription.get("couponCode") == inputs["coupon"]:
            return f"Coupon {inputs['coupon']} is on subscription {number_of(subscription)}"
        return None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Put it there. Cleeng's 200 carries `success: false` by default, so the coupon in the answer is what counts."""
        number = number_of(self._subscription(api, user))
        answer = api.patch("subscriptions", number, json={"couponCode": inputs["coupon"]})
        applied = answer["subscription"]["couponCode"]
        if applied != inputs["coupon"]:
            raise Undocumented(f"Cleeng accepted the coupon, and shows {applied} on subscription {number}.")
        return f"Coupon {applied} is on subscription {number}"

    def check_inputs(self, api: Api, inputs: Values) -> list[str]:
        """Ask Cleeng for the coupon's campaign (there is no list of all coupons)."""
        code = inputs["coupon"]
        try:
            campaigns = api.get("campaigns", params={"couponCode": code}).rows("data")
        except Rejected as no:
            if no.status != 404:
                raise
            campaigns = []
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
    if types and "subscription" not in list(types):
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
            return f"Subscription {number_of(subscription)} is active"
        return None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Activate it; only one that is stopped and not yet over can be."""
        subscription = one_subscription(api, user)
        number, status = number_of(subscription), subscription["status"]
        if status != "stopped":
            raise Rejected(
                f"Subscription {number} is {status}; only one with a pending cancellation can be reactivated."
            )
        if is_over(subscription):
            raise Rejected(
                f"Subscription {number} ended on {date_of(subscription['dateTo'])}; it cannot be reactivated."
            )
        answer = api.post("subscriptions", number, "activate")
        if answer["status"] != "active":
            raise Undocumented(
                f"Cleeng accepted the reactivation, and shows subscription {number} as {answer['status']}."
            )
        return f"Subscription {number_of(answer)} is active"


def offers(api: Api) -> Iterator[Choice]:
    """Read all subscription offers that are active.

    Paging and envelope of `GET /offers` are not documented; the sister API documents `page` and `limit`. So: any of the usual
    envelopes, and pages until `x-total-count` is reached or one brings nothing new (a short page proves nothing: who knows
    whether `limit` is heard).
    """
    seen: set[str] = set()
    for page in range(1, MOST_PAGES + 1):
        answer = api.get("offers", params={"page": page, "limit": OFFERS_PER_PAGE})
        new = [row for row in _rows(answer) if str(row.get("longId") or row["id"]) not in seen]
        for row in new:
            key = str(row.get("longId") or row["id"])
            seen.add(key)
            if row.get("type", "subscription") == "subscription" and row.get("active", True):
                yield Choice(key, _offer_label(row, key), {"title": row.get("title", "")})
        if not new or str(len(seen)) == answer.headers.get("x-total-count"):
            return


def _rows(answer: Answer) -> list[Answer]:
    for name in ("data", "responseData", "items"):
        if isinstance(inner := answer.get(name), Answer):
            return _rows(inner)
    if not isinstance(answer.data, list) or not all(isinstance(row, dict) for row in answer.data):
        raise Undocumented("Cleeng answered with no list of offers.")
    return list(answer)


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
        answer.rows("data")
        name = self.environment(api.settings)
        return [
            ProbeLine(True, f"Cleeng {name} accepts the key."),
            ProbeLine(True, "Subscriptions can be read."),
            ProbeLine(None, "Writing cannot be tested without changing something."),
        ]

    def failure(self, answer: Answer) -> Failure | None:
        """Read a refusal: `{message}`, `{success: false, …}` or, for switches, a code in `code` or in `message`."""
        if answer.status in {401, 403, 408, 425, 429} or answer.status >= 500:
            return None
        if answer.status < 400:
            # `success` is false by default even beside a resource: only without one is it a refusal.
            has_resource = any(answer.get(name) is not None for name in ("subscription", "data", "id"))
            if answer.get("success") is not False or has_resource:
                return None
        words = _words(answer) or f"status {answer.status}"
        code = answer.get("code")
        if not isinstance(code, str):
            code = next((known for known in SWITCH_REFUSALS if re.search(rf"\b{known}\b", words)), "")
        if words == code:
            words = SWITCH_REFUSALS.get(code, code)
        return Rejected(f"Cleeng refused: {words}" + (f" ({code})" if code and code not in words else ""), code=code)


def _words(answer: Answer) -> str:
    """Return the vendor's words: `message`, or what is in `errors` (texts, or objects with a message)."""
    if isinstance(message := answer.get("message"), str) and message:
        return message
    errors = answer.get("errors")
    if not isinstance(errors, Answer):
        return errors if isinstance(errors, str) else ""
    listed = list(errors) if isinstance(errors.data, list) else [errors]
    told = (error.get("message") if isinstance(error, Answer) else error for error in listed)
    return "; ".join(str(words) for words in told if words)
