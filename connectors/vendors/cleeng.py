"""Cleeng, Core API 3.1: billing and subscriber management for video services.

https://developers.cleeng.com/reference/api31. All requests are server to server, signed with the broadcaster token. Cleeng
documents no idempotency key; all three actions set a state, so looking first makes a repeat safe.
"""

import re

from django import forms
from requests.auth import AuthBase

from connectors.answers import Answer, words_of
from connectors.auth import HeaderKey
from connectors.base import (
    WRITING_UNTESTED,
    Catalogue,
    CatalogueField,
    Category,
    Connector,
    DesiredState,
    Json,
    PatternField,
    Pending,
    ProbeLine,
    SecretField,
    Values,
    listed,
    live_or_sandbox,
    one_of,
)
from connectors.choosing import on_first, only_one, require, whole_number_in
from connectors.failures import AlreadyDone, Failure, Rejected, Temporary, refused
from connectors.http import Api, existing, or_none

API_VERSION = "3.1"
DOCS = "https://developers.cleeng.com/reference"
HOSTS = {"live": f"https://api.cleeng.com/{API_VERSION}", "sandbox": f"https://api.sandbox.cleeng.com/{API_VERSION}"}
PER_PAGE = 100

IDS = "id of Cleeng's, which are whole numbers"
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


def number_of(subscription: Answer) -> int:
    """Return a subscription's id; `id` is its deprecated name."""
    return int(subscription.get("subscriptionId") or subscription["id"])


def named(subscription: Answer) -> str:
    """Return its id in words."""
    return f"Subscription {number_of(subscription)}"


def is_over(subscription: Answer) -> bool:
    """Whether a subscription has ended; a cancelled ("stopped") one runs until `dateTo`."""
    ended = {"terminated", "stopped"} if subscription.is_past("dateTo") else {"terminated"}
    return subscription["status"] in ended


def one_subscription(api: Api, user: Json, *offers: str, statuses: tuple[str, ...] = ("active", "stopped")) -> Answer:
    """Return the subscription that an action is about: the one with the known id, or the customer's only one.

    Args:
        offers: which one it is where the customer has several: the one on the first of these offers that any is on.
        statuses: of the customer's subscriptions only these count, and none that is over.

    Raises:
        Rejected: there is none, or several and nothing says which.

    """
    if user.get("cleeng_subscription_id"):
        number = whole_number_in(user, "cleeng_subscription_id", IDS)
        return existing(api, f"subscription {number}", "subscriptions", number)
    customer = whole_number_in(user, "cleeng_customer_id", IDS)
    # The documentation of the status filter contradicts itself (`status[]` or `status`), and it has no `paused`: filter here.
    rows = api.get("subscriptions", params={"customerId": customer, "limit": PER_PAGE}).rows("data")
    rows = [row for row in rows if _belongs_to(row, customer)]
    running = [row for row in rows if row["status"] in statuses and not is_over(row)]
    meant = on_first(running, offers, lambda row: [str(row["offerId"])])
    return only_one(api, meant, whose=f"Customer {customer}", what="subscription", named=_in_words, others=rows)


def _belongs_to(row: Answer, customer: str) -> bool:
    """Whether a row of the list is this customer's (`userId` is the deprecated name): a filter that fails costs others money."""
    return str(row.get("customerId") or row.get("userId") or customer) == customer


def _in_words(row: Answer) -> str:
    return f"{number_of(row)} on {row['offerId']} is {row['status']}"


class OnSubscription(DesiredState):
    """What the actions share."""

    needs = one_of("cleeng_subscription_id", "cleeng_customer_id")
    check_at = "In Cleeng's dashboard, open the customer and look at the subscription."


class SwitchSubscription(OnSubscription):
    """Move a subscription to another offer. Cleeng carries it out later: the switch is followed until it is finished."""

    key, label = "switch_subscription", "Switch subscription"
    description = "Moves the subscriber to another offer. Cleeng must have a switch between the two offers."
    replay_proof = f"{DOCS}/31-switch-subscription: offerId and pendingSwitchId show it"

    class Inputs(forms.Form):
        """The target, and which way it lies."""

        to_offer = CatalogueField("offers", label="To offer", help_text="The offer that the subscriber gets.")
        direction = forms.ChoiceField(
            choices=[("upgrade", "Upgrade"), ("downgrade", "Downgrade")],
            label="Direction",
            help_text="As set up in Cleeng.",
        )
        from_offer = CatalogueField(
            "offers", required=False, label="From offer", help_text="Where people have several."
        )

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """The subscription to be switched, or the one that was: after the switch it is on the target offer."""
        offers = (start, inputs["to_offer"]) if (start := inputs.get("from_offer")) else ()
        found = one_subscription(api, user, *offers, statuses=("active",))
        status, offer = found["status"], found["offerId"]
        require(status == "active", f"{named(found)} is {status}; only an active one can be switched.")
        require(not start or offer in offers, f"{named(found)} is on offer {offer}, not on {start}.")
        return found

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | Pending | None:
        """On the target offer already, or on the way there."""
        if thing["offerId"] == inputs["to_offer"]:
            return f"{named(thing)} is on offer {inputs['to_offer']}"
        if not (pending := thing.get("pendingSwitchId")):
            return None
        switch = api.get("subscription_switches", str(pending))
        target = switch["toOfferId"]
        require(target == inputs["to_offer"], f"Another switch is under way at Cleeng, to offer {target}.")
        return self._standing(switch, thing)

    def change(self, api: Api, thing: Answer, inputs: Values) -> str | Pending:
        """Ask for the switch."""
        number, coupon = number_of(thing), thing.get("couponCode")
        require(not coupon, f"Coupon {coupon} is on subscription {number}; Cleeng switches none that has a coupon.")
        is_ours = not thing.get("isExternallyManaged")
        require(is_ours, f"{named(thing)} is managed by an app store, where Cleeng cannot switch it.")
        wish = {"toOfferId": inputs["to_offer"], "switchDirection": inputs["direction"], "subscriptionId": number}
        try:
            switch = api.post("subscription_switches", json=wish)
        except Rejected as no:
            return self._after_refusal(api, number, inputs, no)
        switch.shows("toOfferId", inputs["to_offer"])
        return self._standing(switch, thing)

    def _after_refusal(self, api: Api, number: int, inputs: Values, no: Rejected) -> str | Pending:
        """Read the refusals that are none: somebody asked for the switch since we looked, or it is not the moment."""
        match no.code:
            case "SAME_TARGET_OFFER":
                raise AlreadyDone(f"The subscription is on offer {inputs['to_offer']} already.", code=no.code)
            case "RECURRING_PROCESS_ALREADY_STARTED":
                raise Temporary(no.message, after=BILLING_LASTS, code=no.code, sent=False)
            case "SWITCH_IN_PROGRESS" if found := self.stands(api, api.get("subscriptions", number), inputs):
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
        status = switch.shows("status", "inprogress", "pending", "finished", "cancelled", "failed")
        require(
            status not in {"cancelled", "failed"}, f"Cleeng's switch of subscription {number} to {target} was {status}."
        )
        if status == "inprogress":
            job = {"switch": str(switch["id"]), "subscription": str(number), "to_offer": target}
            return Pending(job, f"Cleeng is switching subscription {number} to offer {target}")
        if status == "finished":
            return f"{named(subscription)} is on offer {target}"
        days = [subscription.day(name) for name in ("nextPaymentActionDate", "dateTo") if subscription.get(name)]
        when = next(iter(days), "the end of the period")
        return f"{named(subscription)} changes to offer {target}; it takes effect on {when}"


class ApplyCoupon(OnSubscription):
    """Put a coupon on a running subscription."""

    key, label = "apply_coupon", "Apply coupon"
    description = "Puts a coupon on the subscriber's running subscription; it counts from the next payment."
    replay_proof = f"{DOCS}/update-subscription: couponCode shows it"

    class Inputs(forms.Form):
        """Which coupon."""

        coupon = PatternField(
            r"[A-Za-z0-9_-]{2,40}", label="Coupon code", shape="2 to 40 letters, digits, hyphens or underscores."
        )

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """A subscription that runs."""
        found = one_subscription(api, user)
        require(not is_over(found), f"{named(found)} is over; a coupon needs one that runs.")
        return found

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """The coupon is on it."""
        is_on = thing.get("couponCode") == inputs["coupon"]
        return f"Coupon {inputs['coupon']} is on subscription {number_of(thing)}" if is_on else None

    def change(self, api: Api, thing: Answer, inputs: Values) -> Answer:
        """Put it there. Cleeng's 200 carries `success: false` by default, so the coupon in the answer is what counts."""
        answer = api.patch("subscriptions", number_of(thing), json={"couponCode": inputs["coupon"]})
        return answer.part("subscription")

    def check_inputs(self, api: Api, inputs: Values) -> list[str]:
        """Ask Cleeng for the coupon's campaign (there is no list of all coupons)."""
        code = inputs["coupon"]
        answer = or_none(api.get, "campaigns", params={"couponCode": code})
        if answer is None or not (campaigns := answer.rows("data")):
            return [f"Cleeng knows no coupon {code}."]
        wrong = [_why_not_on_a_running_subscription(campaign) for campaign in campaigns]
        return [] if any(not reason for reason in wrong) else [f"Coupon {code} {wrong[0]}."]


def _why_not_on_a_running_subscription(campaign: Answer) -> str:
    if campaign["status"] != "active":
        return f"belongs to a campaign that is {campaign['status']}"
    rules = campaign.get("constraints", {})
    if rules.get("paymentType", "all") not in {"all", "renewal"}:
        return "counts for first payments only, not for a running subscription"
    is_for_them = "subscription" in list(rules.get("offerTypes") or ["subscription"])
    return "" if is_for_them else "does not count for subscriptions"


class ReactivateSubscription(OnSubscription):
    """Undo a cancellation that has not taken effect yet."""

    key, label = "reactivate_subscription", "Reactivate subscription"
    description = "Undoes a pending cancellation, so that the subscription renews again."
    replay_proof = f"{DOCS}/api31, “Activate subscription”: status shows it"

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """The subscription, whatever its state."""
        return one_subscription(api, user)

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It is active."""
        return f"{named(thing)} is active" if thing["status"] == "active" else None

    def change(self, api: Api, thing: Answer, inputs: Values) -> Answer:
        """Activate it; only one that is stopped and not yet over can be."""
        only = "only one with a pending cancellation can be reactivated"
        require(thing["status"] == "stopped", f"{named(thing)} is {thing['status']}; {only}.")
        require(not is_over(thing), f"{named(thing)} ended on {thing.day('dateTo')}; it cannot be reactivated.")
        return api.post("subscriptions", number_of(thing), "activate")


def key_of(offer: Answer) -> str:
    """Return an offer's id."""
    return str(offer.get("longId") or offer["id"])


def label_of(offer: Answer) -> str:
    """Return an offer's name, price and id."""
    price, title = offer.inner("price"), offer.get("title", key_of(offer))
    amount = f", {price['amount']} {price.get('currency', '')}".rstrip() if price.get("amount") else ""
    return f"{title}{amount} ({key_of(offer)})"


def is_offered(offer: Answer) -> bool:
    """Whether it is a subscription that can be had."""
    return bool(offer.get("type", "subscription") == "subscription" and offer.get("active", True))


offers = listed("offers", key=key_of, label=label_of, where=is_offered, params={"page": 1, "limit": PER_PAGE})


class Cleeng(Connector):
    """Subscriptions of video services."""

    key, label, category = "cleeng", "Cleeng", Category.BILLING
    description = "Switch a subscription, apply a coupon, or undo a cancellation in Cleeng Core."
    aliases = ("churniq", "ott", "mediastore")
    docs_url = f"{DOCS}/api31"
    actions = (SwitchSubscription, ApplyCoupon, ReactivateSubscription)
    catalogues = {"offers": Catalogue("Offers", offers)}
    base_urls = HOSTS
    may_not_page = True
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

        environment = live_or_sandbox("Which Cleeng account the key belongs to.")
        api_key = SecretField(label="API key", help_text="Your broadcaster token.", usual_length=48, names_account=True)

    def auth(self, settings: Values) -> AuthBase:
        """The broadcaster token, on every call."""
        return HeaderKey("X-Publisher-Token", settings["api_key"])

    def probe(self, api: Api) -> list[ProbeLine]:
        """Ask for subscriptions without a filter: documented to be an empty list, so no personal data comes."""
        api.get("subscriptions", params={"limit": 1}).rows("data")
        accepted = ProbeLine(True, f"Cleeng {self.environment(api.settings)} accepts the key.")
        return [accepted, ProbeLine(True, "Subscriptions can be read."), WRITING_UNTESTED]

    def rows_of(self, page: Answer) -> list[Answer]:
        """Find a page's rows in any of the usual envelopes: paging and envelope of `GET /offers` are not documented."""
        for name in ("data", "responseData", "items"):
            if isinstance(inner := page.get(name), Answer):
                return self.rows_of(inner)
        return page.rows()

    def next_page(self, page: Answer, query: Values) -> Json | None:
        """Pages by number, as the sister API documents; a short one proves nothing (who knows whether `limit` is heard)."""
        return {**query, "page": query["page"] + 1} if self.rows_of(page) else None

    def said(self, answer: Answer) -> tuple[str, str]:
        """Return the code, which stands in `code` or in `message`, and the words."""
        words, code = words_of(answer), answer.get("code")
        if not isinstance(code, str):
            code = next((known for known in SWITCH_REFUSALS if re.search(rf"\b{known}\b", words)), "")
        words = SWITCH_REFUSALS.get(words, words)
        return code, words if code in words else f"{words} ({code})"

    def failure(self, answer: Answer) -> Failure | None:
        """Read a refusal, which may be inside a 200: `{success: false, …}`."""
        # `success` is false by default even beside a resource: only without one is it a refusal.
        has_resource = any(answer.get(name) is not None for name in ("subscription", "data", "id"))
        if answer.status < 400 and answer.get("success") is False and not has_resource:
            code, words = self.said(answer)
            return refused(self.label, words, code=code)
        return super().failure(answer)
