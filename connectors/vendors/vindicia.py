"""Vindicia Subscribe, formerly CashBox: subscriptions of media companies.

https://github.com/Vindicia/CashBoxRESTCodeSamples (Vindicia's own requests and answers) and https://knowledge.vindicia.com. All
three actions modify a running subscription. Vindicia knows no idempotency key, so each looks first; an item that we add has an id
of our own choice.
"""

from collections.abc import Iterator

from django import forms
from requests.auth import AuthBase, HTTPBasicAuth

from connectors.answers import Answer, query_of
from connectors.base import (
    WRITING_UNTESTED,
    Catalogue,
    CatalogueField,
    Category,
    Choice,
    Connector,
    DesiredState,
    Json,
    ProbeLine,
    SecretField,
    Values,
    account_choice,
    listed,
    one_of,
)
from connectors.choosing import on_first, only_one, only_with, require, text_in
from connectors.failures import Failure, refused
from connectors.http import Api, existing

HOSTS = {"production": "https://api.vindicia.com", "prodtest": "https://api.prodtest.vindicia.com"}
SAMPLES = "https://github.com/Vindicia/CashBoxRESTCodeSamples"
PER_PAGE = 100
ID = r"[!-~]([ -~]{0,253}[!-~])?"  # a merchant's own id, blanks included, or Vindicia's 40 hexadecimal digits
WHEN = [("today", "Today"), ("nextBill", "With the next bill")]


def items_of(subscription: Answer, product: str = "") -> list[Answer]:
    """Return the items that go on, or those with a product; one that is replaced with the next bill has an end."""
    rows = [row for row in subscription.part("items").rows("data") if row.get("ends") is None]
    return [row for row in rows if not product or row.part("product").text("id") == product]


def products_of(subscription: Answer) -> list[str]:
    """Return the products of the items that go on."""
    return [row.part("product").text("id") for row in items_of(subscription)]


def primary(subscription: Answer) -> Answer:
    """Return the item at index 0."""
    rows = [row for row in items_of(subscription) if row["index"] == 0]
    require(len(rows) == 1, f"{named(subscription)} has no first item that goes on: say which product is meant.")
    return rows[0]


def subscription_of(api: Api, user: Json, *products: str) -> Answer:
    """Return the subscription that an action is about: the one with the known id, or the account's only active one.

    Args:
        api: the door.
        user: the person's traits.
        products: where an account has several: the one with the first of these that any has.

    Raises:
        Rejected: there is none, or several and nothing says which.

    """
    if "vindicia_subscription_id" in user:
        number = text_in(user, "vindicia_subscription_id", ID, "subscription id of Vindicia's")
        known = existing(api, f"subscription {number}", "subscriptions", number)
        status = known.text("status")
        require(status == "Active", f"{named(known)} is {status}; only an active one can be modified.")
        return known
    account = text_in(user, "vindicia_account_id", ID, "account id of Vindicia's")
    rows = list(api.pages("subscriptions", params={"account": account}))
    # A filter that fails would cost others money.
    rows = [row for row in rows if account in (row.part("account").get("id"), row.part("account").get("vid"))]
    active = [row for row in rows if row["status"] == "Active"]
    meant = on_first(active, products, products_of) or active
    return only_one(api, meant, whose=f"Account {account}", what="subscription", named=_in_words, others=rows)


def named(subscription: Answer) -> str:
    """Return its id in words."""
    return f"Subscription {subscription.text('id')}"


def _in_words(row: Answer) -> str:
    return f"{row['id']} is {row['status']}"


def next_charge(subscription: Answer) -> str:
    """Return what comes next, for people; empty where Vindicia does not say."""
    bill = subscription.inner("next_billing")
    amount = bill.get("amount")
    return f"; the next bill is {amount} {bill.get('currency', '')}".rstrip() if amount is not None else ""


class OnSubscription(DesiredState):
    """What the actions share: a modification that names only the items that change."""

    needs = one_of("vindicia_subscription_id", "vindicia_account_id")
    check_at = "In Vindicia's portal, open the account and look at its subscriptions, their items and transactions."

    def modify(self, api: Api, subscription: Answer, item: Json, inputs: Values) -> Answer:
        """Send it; a preview asks Vindicia for a dry run, which shows what would be charged."""
        number = subscription.text("id")
        wish: Json = {"object": "Subscription", "id": number, "items": [{"object": "SubscriptionItem", **item}]}
        if inputs.get("billing_plan"):
            wish["billing_plan"] = {"object": "BillingPlan", "id": inputs["billing_plan"]}
        asked = {
            "effective_date": inputs["effective"],
            "bill_prorated_period": "true" if inputs["prorate"] else "false",
        }
        return api.write("POST", "subscriptions", number, params=asked, rehearsal={"dryrun": "true"}, json=wish)

    def own_id(self, api: Api) -> str:
        """Return the id of an item that this execution adds, the same in all its attempts."""
        return f"engage-{api.tag}"


def product(number: str) -> Json:
    """Return a product as Vindicia writes it."""
    return {"object": "Product", "id": number}


class Timing(forms.Form):
    """When it counts, and what is charged."""

    effective = forms.ChoiceField(choices=WHEN, label="When", help_text="Today may charge or credit at once.")
    prorate = forms.BooleanField(
        required=False, label="Charge for what is left", help_text="Of the present period, in proportion."
    )


class ReplaceProduct(OnSubscription):
    """Another product in the place of one."""

    key, label = "replace_product", "Replace product"
    description = "Puts another product in the place of one of the subscription's."
    replay_proof = f"{SAMPLES}, Autobill/subscription_modify_annual_to_monthly: items show it, with their ends"

    class Inputs(Timing):
        """Which by which."""

        new = CatalogueField("products", label="New product", help_text="That the subscriber gets.")
        old = CatalogueField(
            "products", required=False, label="Old product", help_text="That goes. Empty: the subscription's first."
        )
        billing_plan = CatalogueField(
            "billing_plans",
            required=False,
            label="Billing plan",
            help_text="Needed where the term changes, as to yearly.",
        )
        field_order = ("new", "old", "billing_plan", "effective", "prorate")

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """The one with the old product, or with the new one."""
        return subscription_of(api, user, inputs.get("old", ""), inputs["new"])

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """The new product goes on, and the old one does not."""
        is_there = items_of(thing, inputs["new"])
        if not is_there or (inputs.get("old") and items_of(thing, inputs["old"])):
            return None
        return f"{named(thing)} has product {inputs['new']}{next_charge(thing)}"

    def change(self, api: Api, thing: Answer, inputs: Values) -> Answer:
        """Replace it."""
        old = inputs.get("old") or primary(thing).part("product").text("id")
        require(items_of(thing, old), f"{named(thing)} does not have product {old}.")
        require(not items_of(thing, inputs["new"]), f"{named(thing)} has both products; none is replaced.")
        replaced = {"object": "SubscriptionItem", "product": product(old)}
        item = {"id": self.own_id(api), "product": product(inputs["new"]), "replaces": replaced}
        return self.modify(api, thing, item, inputs)


class AddProduct(OnSubscription):
    """One more product."""

    key, label = "add_product", "Add product"
    description = "Adds a product to the subscription, unless it has it."
    replay_proof = f"{SAMPLES}, Autobill/Autobill_modify_addAProduct: items show it"

    class Inputs(Timing):
        """Which."""

        product = CatalogueField("products", label="Product", help_text="That is added.")
        only_product = only_with("products", "product")
        field_order = ("product", "only_product", "effective", "prorate")

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """The account's only one, or the only one with the other product."""
        return subscription_of(api, user, inputs.get("only_product", ""))

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It has it."""
        found = items_of(thing, inputs["product"])
        return f"{named(thing)} has product {inputs['product']}{next_charge(thing)}" if found else None

    def change(self, api: Api, thing: Answer, inputs: Values) -> Answer:
        """Add it."""
        return self.modify(api, thing, {"id": self.own_id(api), "product": product(inputs["product"])}, inputs)


class AddCampaign(OnSubscription):
    """A discount on what somebody has.

    UNVERIFIED: that REST puts a campaign on an item that it leaves as it is (documented are new and replaced items, and SOAP's
    `AutoBill.addCampaign`). So a dry run goes first, and only where it shows the campaign it is done.
    """

    key, label = "add_campaign", "Add campaign"
    description = (
        "Puts a promotion on an item of the subscription, from the next bill on, where a dry run shows that the account can do "
        "that. Coupon campaigns are not offered, since each of their codes is for one person."
    )
    replay_proof = f"{SAMPLES}, Autobill/Autobill_delayBillingToDate: campaign_id in next_billing shows it"

    class Inputs(forms.Form):
        """Which, and on what."""

        campaign = CatalogueField("campaigns", label="Campaign", help_text="A promotion for running subscriptions.")
        product = CatalogueField(
            "products", required=False, label="On product", help_text="Empty: the subscription's first."
        )

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """The account's only one, or the only one with the product."""
        return subscription_of(api, user, inputs.get("product", ""))

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """The campaign stands in the next bill, or stood in the last one."""
        bills = (thing.inner(name) for name in ("next_billing", "most_recent_billing"))
        rows = [row for bill in bills if bill for row in bill.part("items").rows("data")]
        _, campaign = self._chosen(inputs)
        shown = any(row.get("campaign_id") == campaign for row in rows)
        return f"{named(thing)} has campaign {campaign}{next_charge(thing)}" if shown else None

    def change(self, api: Api, thing: Answer, inputs: Values) -> Answer:
        """Rehearse it, and put it there."""
        wanted = inputs.get("product")
        items = items_of(thing, wanted) if wanted else [primary(thing)]
        require(len(items) == 1, f"{named(thing)} has product {wanted} {len(items)} times.")
        item = {
            "object": "SubscriptionItem",
            "id": items[0].text("id"),
            "campaign_code": self._chosen(inputs)[0],
        }
        number = thing.text("id")
        body = {"object": "Subscription", "id": number, "items": [item]}
        asked = {"effective_date": "nextBill", "bill_prorated_period": "false"}
        dry = api.read("subscriptions", number, params={**asked, "dryrun": "true"}, json=body)
        dry.shows("object", "Subscription")
        cannot = "This account of Vindicia's puts no campaign on an item that stays: a dry run does not show it."
        require(self.stands(api, dry, inputs), cannot)
        return api.post("subscriptions", number, params=asked, json=body)

    def _chosen(self, inputs: Values) -> tuple[str, str]:
        """Return the campaign's code, by which it is asked for, and its id, by which it shows."""
        code, _, campaign = str(inputs["campaign"]).partition("/")
        require(code and campaign, "The campaign is none of Vindicia's; choose it again.")
        return code, campaign


# --- what there is to choose from -----------------------------------------------------------------


def product_label(row: Answer) -> str:
    """Return a product's first description and its id."""
    first = next(iter(row.inner("descriptions").objects("data")), None)
    return f"{first.get('description', row['id'])} ({row['id']})" if first else row.text("id")


def campaigns(api: Api) -> Iterator[Choice]:
    """Read the promotions that a running subscription may have."""
    for row in api.pages("campaigns"):
        is_for_them = row.get("promotion_code") and not row.get("restrict_to_new_subscription")
        if row["state"] == "Active" and is_for_them and not row.is_past("offer_end_date"):
            yield Choice(row.fill("{promotion_code}/{campaign_id}"), row.fill("{name} ({promotion_code})"))


class Vindicia(Connector):
    """Subscription billing."""

    key, label, category = "vindicia", "Vindicia", Category.BILLING
    description = "Replace and add products and put campaigns on running subscriptions in Vindicia Subscribe (CashBox)."
    aliases = ("cashbox", "subscribe", "amdocs", "autobill")
    docs_url = "https://knowledge.vindicia.com"
    actions = (ReplaceProduct, AddProduct, AddCampaign)
    catalogues = {
        "products": Catalogue(
            "Products", listed("products", key="{id}", label=product_label, params={"status": "Active"})
        ),
        "billing_plans": Catalogue(
            "Billing plans", listed("billing_plans", key="{id}", label="{id}", params={"status": "active"})
        ),
        "campaigns": Catalogue("Campaigns", campaigns),
    }
    base_urls = HOSTS
    page_query = {"limit": PER_PAGE}
    timeout = 20.0  # since Vindicia takes long: a public client waits 100 seconds
    setup_steps = (
        "Ask Vindicia for an API user and its key. ProdTest and production have users of their own.",
        "The user must be allowed to read products, billing plans, campaigns and subscriptions, and to modify subscriptions.",
        "Choose the environment, enter both, test the connection, switch it to Active and save.",
        "Bring Vindicia's ids into the trait vindicia_subscription_id or vindicia_account_id; your own ids count too.",
    )

    class Settings(forms.Form):
        """Which environment, and who asks."""

        environment = account_choice(
            "Environment", [("production", "Production"), ("prodtest", "ProdTest")], help_text="Whose user it is."
        )
        api_username = SecretField(label="API user", help_text="As Vindicia has sent it.", names_account=True)
        api_password = SecretField(label="Key", help_text="Of this user.")

    def is_sandbox(self, settings: Values) -> bool:
        """ProdTest costs nobody anything."""
        return bool(settings["environment"] == "prodtest")

    def auth(self, settings: Values) -> AuthBase:
        """User and key."""
        return HTTPBasicAuth(settings["api_username"], settings["api_password"])

    def probe(self, api: Api) -> list[ProbeLine]:
        """Ask for one product."""
        count = api.get("products", params={"limit": 1}).amount("total_count")
        accepted = f"Vindicia {self.environment(api.settings)} accepts the user, and shows {count} products."
        return [ProbeLine(True, accepted), WRITING_UNTESTED]

    def next_page(self, page: Answer, query: Values) -> Json | None:
        """What `next`, a path, asks. The last page names one too, so that an empty page ends a list that does not fit on one."""
        rows = self.rows_of(page)
        fits = len(rows) >= page.amount("total_count")
        following = page.get("next")
        return None if fits or not rows or not following else {**query, **query_of(following)}

    def failure(self, answer: Answer) -> Failure | None:
        """An error is one whatever its status."""
        if answer.status < 400 and answer.get("object") == "Error":
            return refused(self.label, self.said(answer)[1])
        return super().failure(answer)
