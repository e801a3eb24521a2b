"""Chargify, now Maxio Advanced Billing: subscriptions to products.

https://developers.maxio.com. A write may carry a `uniqueness_token` in its body: for 60 minutes Chargify refuses another one with
the same token by a 409, which says nothing of what became of the first. So every action looks first, and again after that.
"""

from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

from django import forms
from django.core.validators import RegexValidator
from requests.auth import AuthBase, HTTPBasicAuth

from connectors.answers import Answer, words_of
from connectors.base import (
    WRITING_UNTESTED,
    Action,
    Catalogue,
    CatalogueField,
    Category,
    Choice,
    Connector,
    DesiredState,
    Json,
    PatternField,
    ProbeLine,
    Replay,
    SecretField,
    Values,
    identity,
    one_of,
)
from connectors.bodies import without_empty
from connectors.choosing import email_in, id_at_address, only_one, require, text_in, whole_number_in
from connectors.failures import Temporary, Undocumented
from connectors.http import Api

DOCS = "https://developers.maxio.com/http/advanced-billing-api/api-endpoints"
CHECK_AT = "In Chargify, open the customer and look at their subscriptions."
# "uniqueness_token": https://docs.maxio.com/hc/en-us/articles/24294819360525, Duplicate Prevention.
# UNVERIFIED: that it is still heeded. Where it is not, looking first is what keeps a repeat harmless.
KEYS_KEPT = timedelta(minutes=60)
DUPLICATE = "DuplicatePrevention::DuplicateSubmissionError"
PER_PAGE = 200  # "any per_page value over 200 will be changed to 200"
OVER = ("canceled", "expired", "failed_to_create", "trial_ended")
NUMBER = RegexValidator(r"\A[0-9]{1,18}\Z", "An id of Chargify's is a number.")


def once(body: Json) -> Json:
    """Return a body with a token of its own. What may have acted is repeated as it was stored, and so under the same token."""
    return {**body, "uniqueness_token": uuid4().hex}


def customer_of(api: Api, user: Json) -> str:
    """Return the id of a person's customer.

    UNVERIFIED: whose id the trait chargify_id holds. A subscription needs a customer, so it is taken for the customer's.

    Raises:
        Rejected: what is known is no customer, or an e-mail address that not exactly one has.

    """
    if "chargify_id" in user:
        return whole_number_in(user, "chargify_id", "customer id of Chargify's, which are whole numbers")
    if "chargify_reference" in user:
        reference = text_in(user, "chargify_reference", r"[ -~]{1,255}", "customer reference")
        return api.get("customers", "lookup.json", params={"reference": reference}).part("customer").fill("{id}")
    address = email_in(user)
    # `q` finds by id, reference and organization as well.
    rows = (row.part("customer") for row in api.pages("customers.json", params={"q": address}))
    return id_at_address(api, rows, address, "customer")


def product_of(subscription: Answer) -> str:
    """Return the id of its product; empty where it has none, as in the newer catalogue."""
    product = subscription.inner("product")
    return product.fill("{id}") if product else ""


def subscriptions(api: Api, customer: str, product: str) -> list[Answer]:
    """Return a customer's subscriptions to a product; this list comes whole."""
    rows = [row.part("subscription") for row in api.get("customers", customer, "subscriptions.json").rows()]
    return [row for row in rows if product_of(row) == product]


def named(subscription: Answer) -> str:
    """Return its id and product in words."""
    return f"Subscription {subscription['id']} to {subscription.part('product').text('name')}"


def _in_words(row: Answer) -> str:
    return f"{row['id']} is {row['state']}"


class Product(forms.Form):
    """Which product."""

    product = CatalogueField("products", validators=[NUMBER], label="Product", help_text="That is subscribed to.")


class CreateSubscription(Action):
    """A new subscription."""

    key, label = "create_subscription", "Create subscription"
    description = "Starts a subscription, unless one to that product runs, and charges the newest payment profile of the customer."
    needs = one_of("chargify_id", "chargify_reference", "email_address")
    replay = Replay.CHECK
    replay_proof = f"{DOCS}/customers/list-customer-subscriptions: product, state and reference show it"
    key_kept = KEYS_KEPT
    check_at = CHECK_AT

    class Inputs(Product):
        """To what, and for how much."""

        price_point = CatalogueField(
            "price_points",
            within="product",
            required=False,
            validators=[NUMBER],
            label="Price point",
            help_text="Empty: the product's own.",
        )
        coupon = CatalogueField(
            "coupons", within="product", required=False, label="Coupon", help_text="From the first invoice on."
        )

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """One runs; or this execution made one, whatever became of it since."""
        rows = subscriptions(api, customer_of(api, user), inputs["product"])
        found = next((row for row in rows if row["state"] not in OVER or row.get("reference") == api.tag), None)
        return f"{named(found)} is {found['state']}" if found else None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Start it with the newest payment profile; UNVERIFIED that Chargify would take the customer's own without one."""
        customer = customer_of(api, user)
        rows = [
            row.part("payment_profile") for row in api.pages("payment_profiles.json", params={"customer_id": customer})
        ]
        profiles = [int(row.fill("{id}")) for row in rows if not row.get("disabled")]
        if not profiles:
            product = api.get("products", f"{inputs['product']}.json").part("product")
            require(
                product["require_credit_card"] is False, "The customer has no payment profile, which the product needs."
            )
        wish = {
            "product_id": int(inputs["product"]),
            "customer_id": int(customer),
            "payment_profile_id": max(profiles, default=None),
            "product_price_point_id": int(inputs["price_point"]) if inputs.get("price_point") else None,
            "coupon_codes": [inputs["coupon"]] if inputs.get("coupon") else None,
            "reference": api.tag,
        }
        body = once({"subscription": without_empty(wish)})
        made = api.post("subscriptions.json", json=body).part("subscription")
        made.part("product").shows("id", wish["product_id"])
        if made.text("state") in OVER:
            raise Undocumented(f"Chargify made the subscription, and shows it as {made['state']}.")
        return f"{named(made)} is {made['state']}"


class OnSubscription(DesiredState):
    """What the actions on a running subscription share."""

    needs = one_of("chargify_id", "chargify_reference", "email_address")
    key_kept = KEYS_KEPT
    check_at = CHECK_AT

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """The customer's only one to the product that runs; where none does, one that was cancelled."""
        customer = customer_of(api, user)
        rows = subscriptions(api, customer, inputs["product"])
        running = [row for row in rows if row["state"] not in OVER]
        over = [row for row in reversed(rows) if row["state"] == "canceled"]
        whose = f"Customer {customer}"
        return only_one(api, running, whose=whose, what="subscription", named=_in_words, others=rows, over=over)


class CancelSubscription(OnSubscription):
    """The end."""

    key, label = "cancel_subscription", "Cancel subscription"
    description = "Cancels the subscription to a product, now or at the end of its period."
    replay_proof = f"{DOCS}/subscriptions/read-subscription: state and cancel_at_end_of_period show it"

    class Inputs(Product):
        """Of which product, when and why."""

        mode = forms.ChoiceField(
            choices=[("end_of_period", "At the end of the period"), ("immediate", "Now")], label="When"
        )
        reason = CatalogueField("reason_codes", required=False, label="Reason", help_text="As set up in Chargify.")
        message = forms.CharField(required=False, max_length=500, label="Message", help_text="A note for your staff.")

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It is cancelled, or ends with its period."""
        if thing["state"] == "canceled":
            return f"{named(thing)} is cancelled"
        ends = inputs["mode"] == "end_of_period" and thing.get("cancel_at_end_of_period") is True
        return f"{named(thing)} ends on {thing.day('current_period_ends_at')}" if ends else None

    def change(self, api: Api, thing: Answer, inputs: Values) -> Answer:
        """Cancel it, and look at it where the answer is a message only. A DELETE takes no token."""
        number = thing.fill("{id}")
        said = without_empty({"reason_code": inputs.get("reason"), "cancellation_message": inputs.get("message")})
        body = {"subscription": said}
        if inputs["mode"] == "immediate":
            return api.delete("subscriptions", f"{number}.json", json=body if said else None).part("subscription")
        api.post("subscriptions", number, "delayed_cancel.json", json=once(body)).text("message")
        return api.get("subscriptions", f"{number}.json").part("subscription")


class AddCoupon(OnSubscription):
    """A discount."""

    key, label = "add_coupon", "Add coupon"
    description = "Adds a coupon to the subscription to a product, beside those that it has."
    replay_proof = f"{DOCS}/subscriptions/read-subscription: coupon_codes shows it"

    class Inputs(Product):
        """Which one."""

        coupon = CatalogueField("coupons", within="product", label="Coupon", help_text="Of the product's family.")

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It has it."""
        codes = [*(thing.get("coupon_codes") or ()), thing.get("coupon_code")]
        return f"{named(thing)} has coupon {inputs['coupon']}" if inputs["coupon"] in codes else None

    def change(self, api: Api, thing: Answer, inputs: Values) -> Answer:
        """Add it in the body. In the query, which is deprecated, it would take the place of all others."""
        require(thing["state"] not in OVER, f"{named(thing)} is {thing['state']}; a coupon needs one that runs.")
        body = once({"codes": [inputs["coupon"]]})
        return api.post("subscriptions", thing.fill("{id}"), "add_coupon.json", json=body).part("subscription")


# --- what there is to choose from -----------------------------------------------------------------


def _products(api: Api) -> list[Answer]:
    rows = [row.part("product") for row in api.pages("products.json")]
    return [row for row in rows if row.get("archived_at") is None]


def products(api: Api) -> Iterator[Choice]:
    """Read the products that can be subscribed to."""
    for row in _products(api):
        yield Choice(row.fill("{id}"), f"{row['name']} ({row.part('product_family')['name']})")


def price_points(api: Api) -> Iterator[Choice]:
    """Read the products' price points."""
    for row in api.pages("products_price_points.json"):
        if row.get("archived_at") is None:
            yield Choice(row.fill("{id}"), row.fill("{name} ({id})"), within=(row.fill("{product_id}"),))


def coupons(api: Api) -> Iterator[Choice]:
    """Read the coupons, each with the products of its family to which it is not restricted away."""
    family_of = {row.fill("{id}"): row.part("product_family").fill("{id}") for row in _products(api)}
    for row in (page.part("coupon") for page in api.pages("coupons.json")):
        if row.get("archived_at") is None and not row.is_past("end_date"):
            only = [
                one.fill("{item_id}") for one in row.get("coupon_restrictions") or () if one["item_type"] == "Product"
            ]
            family = row.fill("{product_family_id}")
            fit = tuple(one for one in family_of if family_of[one] == family and (not only or one in only))
            if fit:
                yield Choice(row.text("code"), row.fill("{name} ({code})"), within=fit)


def reason_codes(api: Api) -> Iterator[Choice]:
    """Read the reasons for a cancellation."""
    for row in (page.part("reason_code") for page in api.pages("reason_codes.json")):
        yield Choice(row.text("code"), row.fill("{description} ({code})"))


def sent_before(message: str, *, code: str) -> Temporary:
    """Return what follows from a 409: what became of the first request is not said, so we look again."""
    return Temporary(f"{message}. An earlier request may be under way.", code=code)


class Chargify(Connector):
    """Subscription billing."""

    key, label, category = "chargify", "Chargify", Category.BILLING
    description = "Start and cancel subscriptions to products and add coupons in Chargify, now Maxio Advanced Billing."
    aliases = ("maxio", "advanced billing", "subscriptions", "coupon")
    docs_url = "https://developers.maxio.com"
    actions = (CreateSubscription, CancelSubscription, AddCoupon)
    catalogues = {
        "products": Catalogue("Products", products),
        "price_points": Catalogue("Price points", price_points),
        "coupons": Catalogue("Coupons", coupons),
        "reason_codes": Catalogue("Reasons for cancelling", reason_codes),
    }
    page_query = {"page": 1, "per_page": PER_PAGE}
    rows_in = ("price_points", "")  # all other lists are the answer itself
    codes = {DUPLICATE: sent_before}
    timeout = 20.0  # since a charge may take its time there
    at_once = 4  # "4 concurrent requests" per site; what comes above waits there, and is cut off after 120 seconds
    setup_steps = (
        "In Chargify, open Config > Integrations > API Keys and make a key for Engage.",
        "The site's address is the one in which you see it, like example.chargify.com or example.ebilling.maxio.com (Europe).",
        "A test site is a site of its own, with a key of its own; the connection's test says which kind it is.",
        "Paste the key, test the connection, switch it to Active and save.",
        "Bring the customers' ids into the trait chargify_id, or your own into chargify_reference.",
        "Without these traits, people are found by email_address.",
    )

    class Settings(forms.Form):
        """Which site."""

        domain = identity(
            PatternField(
                r"[a-z0-9][a-z0-9-]{0,62}\.(chargify\.com|ebilling\.maxio\.com)",
                label="Site",
                shape="Like example.chargify.com or example.ebilling.maxio.com.",
            )
        )
        api_key = SecretField(
            label="API key",
            help_text="Of this site.",
            validators=[RegexValidator(r"\A[A-Za-z0-9_-]{16,128}\Z", "A key has at least 16 letters and digits.")],
        )

    def base_url(self, settings: Values) -> str:
        """Each site has a host of its own."""
        return f"https://{settings['domain']}"

    def auth(self, settings: Values) -> AuthBase:
        """The key as user name, and the letter x as password."""
        return HTTPBasicAuth(settings["api_key"], "x")

    def probe(self, api: Api) -> list[ProbeLine]:
        """Ask which site it is."""
        site = api.get("site.json").part("site")
        kind = "test site" if site["test"] is True else "site"
        return [ProbeLine(True, f"The key belongs to the {kind} “{site.text('name')}”."), WRITING_UNTESTED]

    def next_page(self, page: Answer, query: Values) -> Json | None:
        """After a full page."""
        full = len(self.rows_of(page)) >= PER_PAGE
        return {**query, "page": query["page"] + 1} if full else None

    def said(self, answer: Answer) -> tuple[str, str]:
        """Read `errors` or `error`, or lists of texts under the names of what is wrong."""
        words = words_of(answer)
        if not words and isinstance(answer.data, dict):
            lists = (value for value in answer.data.values() if isinstance(value, list))
            words = "; ".join(text for several in lists for text in several if isinstance(text, str))
        # The bank wants to see the person (3-D Secure), which no server can do.
        if isinstance(link := answer.get("action_link"), str):
            words = f"{words} The payment must be confirmed by the person at {link}."
        return (DUPLICATE if DUPLICATE in words else ""), words
