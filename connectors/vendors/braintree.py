"""Braintree, the classic XML API, version 6: recurring billing.

The official SDK builds and parses the XML, and checks the ids that stand in paths; its requests leave through the one door
(`Door` below), so that nothing of its own HTTP is used. GraphQL is no way: a subscription made there takes no id of our choice,
so a lost answer could not be looked up.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

import braintree
from braintree.configuration import Configuration
from braintree.util.crypto import Crypto
from django import forms
from requests.auth import AuthBase, HTTPBasicAuth

from connectors.answers import Answer, read_xml
from connectors.base import (
    WRITING_UNTESTED,
    Action,
    Catalogue,
    CatalogueField,
    Category,
    Choice,
    Connector,
    Json,
    ProbeLine,
    Replay,
    SecretField,
    Support,
    Values,
    identity,
    live_or_sandbox,
    one_of,
)
from connectors.choosing import email_in, only_one, require, text_in
from connectors.failures import Failure, Rejected, Undocumented
from connectors.http import Api, Ending, Segment
from connectors.inbound import Forged, Inbound, Learned, Message, Request, Unreadable, moment

REFERENCE = "https://developer.paypal.com/braintree/docs/reference/request/subscription/"
DASHBOARD = "In Braintree's control panel, open the customer and look at the subscriptions of the payment methods."
ENVIRONMENTS = {"live": braintree.Environment.Production, "sandbox": braintree.Environment.Sandbox}
HOSTS = {name: each.protocol + each.server_and_port for name, each in ENVIRONMENTS.items()}
KINDS = [kind for kind in vars(braintree.WebhookNotification.Kind).values() if isinstance(kind, str)]
ID = "[A-Za-z0-9_-]{1,64}"
RUNS = {"Active", "Past Due", "Pending"}
"""Pending: its first billing date is ahead."""
PERSON = one_of("braintree_id", "email_address")


class Door:
    """What the SDK sends requests through, instead of its own HTTP."""

    def __init__(self, api: Api, host: str) -> None:
        self._api, self._host = api, host

    def http_do(self, verb: str, url: str, _: Mapping[str, Any], xml: str) -> tuple[int, bytes]:
        """Send one request. Raises a Failure for everything that is no success, before the SDK sees it."""
        path = url.removeprefix(self._host)
        segments: list[Segment] = [*path.strip("/").split("/"), *([Ending.SLASH] if path.endswith("/") else [])]
        if verb == "GET":
            answer = self._api.get(*segments)
        elif segments[-1] == "advanced_search_ids":
            answer = self._api.read(*segments, xml=xml)
        else:
            answer = {"POST": self._api.post, "PUT": self._api.put}[verb](*segments, xml=xml)
        if not answer.xml:
            raise Undocumented("Braintree answered with something else than XML.")
        return answer.status, answer.xml


def gateway(api: Api) -> Any:
    """Return the SDK's gateway to the account; its class is without types."""
    chosen = api.settings["environment"]
    keys = (api.settings[name] for name in ("merchant_id", "public_key", "private_key"))
    door = Door(api, HOSTS[chosen])
    return braintree.BraintreeGateway(Configuration(ENVIRONMENTS[chosen], *keys, http_strategy=lambda *_: door))


# --- reading ----------------------------------------------------------------------------------------------------------


def customer_of(api: Api, user: Json) -> Any:
    """Return the person's customer.

    Raises:
        Rejected: there is none, or an e-mail address is that of several: Braintree has no rule that it is one's own.

    """
    customers = gateway(api).customer
    if "braintree_id" in user:
        return customers.find(text_in(user, "braintree_id", ID, "id of a Braintree customer"))
    ids = customers.search(braintree.CustomerSearch.email == email_in(user)).ids
    return customers.find(only_one(api, ids, whose="The e-mail address", what="customer", named=str))


def subscriptions(customer: Any) -> list[Any]:
    """Return the customer's subscriptions, on whatever payment method they are."""
    return [subscription for method in customer.payment_methods for subscription in method.subscriptions]


def named(subscription: Any) -> str:
    """Return its id and plan in words."""
    return f"Subscription {subscription.id} on plan {subscription.plan_id}"


def changed(result: Any) -> Any:
    """Return the subscription in the answer to a write."""
    if result is None or not result.is_success:
        raise Undocumented("Braintree accepted, and shows no subscription.")
    return result.subscription


# --- actions ----------------------------------------------------------------------------------------------------------


class SubscribePlan(Action):
    """Start a subscription under an id that we choose, so that Braintree refuses a second one."""

    key, label = "subscribe_plan", "Subscribe plan"
    description = "Starts a subscription on the customer's default payment method, which Braintree charges."
    needs = PERSON
    replay = Replay.CHECK
    replay_proof = f"{REFERENCE}create#id: the id is ours, and a customer shows the subscriptions with their plans"
    check_at = DASHBOARD

    class Inputs(forms.Form):
        """To what."""

        plan = CatalogueField("plans", label="Plan", help_text="The plan that the subscriber gets.")
        discount = CatalogueField(
            catalogue="discounts", required=False, label="Discount", help_text="Put on the new subscription at once."
        )

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """One of that plan runs."""
        for row in subscriptions(customer_of(api, user)):
            if row.id == chosen_id(api) or (row.plan_id == inputs["plan"] and row.status in RUNS):
                return f"{named(row)} is {row.status}"
        return None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Start it."""
        methods = customer_of(api, user).payment_methods
        token = next((method.token for method in methods if method.default), None)
        require(token, "The customer has no default payment method at Braintree.")
        wish: Json = {"id": chosen_id(api), "payment_method_token": token, "plan_id": inputs["plan"]}
        if api.settings.get("merchant_account_id"):
            wish["merchant_account_id"] = api.settings["merchant_account_id"]
        if inputs.get("discount"):
            wish["discounts"] = {"add": [{"inherited_from_id": inputs["discount"]}]}
        made = changed(gateway(api).subscription.create(wish))
        if (made.id, made.plan_id) != (wish["id"], inputs["plan"]):
            raise Undocumented(f"Braintree answered with another subscription ({made.id} on {made.plan_id}).")
        return f"{named(made)} is {made.status}; next billing on {made.next_billing_date}"


class AddDiscount(Action):
    """Put a discount on a running subscription."""

    key, label = "add_discount", "Add discount"
    description = "Puts a discount on the customer's running subscription."
    needs = one_of("braintree_id", "email_address", "braintree_subscription_id")
    replay = Replay.CHECK
    replay_proof = f"{REFERENCE}update#discounts: a subscription shows its discounts with their ids"
    check_at = DASHBOARD

    class Inputs(forms.Form):
        """Which discount, and on which subscription."""

        discount = CatalogueField("discounts", label="Discount", help_text="From Braintree's control panel.")
        only_plan = CatalogueField(
            "plans",
            required=False,
            label="Only on plan",
            help_text="Needed where subscribers have several subscriptions: the one on this plan is meant.",
        )

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """It is among the discounts."""
        found = self._subscription(api, user, inputs)
        has = (discount.id for discount in found.discounts if discount.id == inputs["discount"])
        return next((f"Discount {discount} is on subscription {found.id}" for discount in has), None)

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Add it."""
        found = self._subscription(api, user, inputs)
        wish = {"discounts": {"add": [{"inherited_from_id": inputs["discount"]}]}}
        shown = changed(gateway(api).subscription.update(found.id, wish))
        if not any(discount.id == inputs["discount"] for discount in shown.discounts):
            raise Undocumented("Braintree accepted the discount, and does not show it on the subscription.")
        return f"Discount {inputs['discount']} is on subscription {shown.id}"

    def _subscription(self, api: Api, user: Json, inputs: Values) -> Any:
        """Return the one that is meant.

        Raises:
            Rejected: there is none, or several and nothing says which.

        """
        if "braintree_subscription_id" in user:
            rows = [
                gateway(api).subscription.find(text_in(user, "braintree_subscription_id", ID, "id of a subscription"))
            ]
        else:
            rows = subscriptions(customer_of(api, user))
        fits = [row for row in rows if row.status == "Active" and inputs.get("only_plan") in {None, "", row.plan_id}]
        return only_one(api, fits, whose="The customer", what="active subscription", named=named, others=rows)


def chosen_id(api: Api) -> str:
    """Return the id of the subscription that this execution starts: the same in all its attempts, 36 characters."""
    return f"eng-{hashlib.sha256(api.tag.encode()).hexdigest()[:32]}"


# --- webhooks ---------------------------------------------------------------------------------------------------------


class Webhooks(Inbound):
    """A form with a signature over a payload, which is XML in base64. It is taken for a hint: the subscription is read."""

    setup_steps = (
        "In Braintree's control panel, open Settings > API > Webhooks and add a destination with the address above.",
        "Tick all notifications of subscriptions. Braintree signs them with the private key that you have entered.",
    )
    types = frozenset(kind for kind in KINDS if kind.startswith("subscription_"))
    methods = frozenset({"GET", "POST"})
    believed_by = "private_key"

    def challenge(self, request: Request, settings: Values) -> str | None:
        """Answer the question that Braintree asks before it begins: `GET ?bt_challenge=` and 20 to 32 hexadecimal digits."""
        asked = request.parameter("bt_challenge")
        if request.method != "GET" or not re.fullmatch("[a-f0-9]{20,32}", asked):
            return None
        return f"{settings['public_key']}|{Crypto.sha1_hmac_hash(settings['private_key'], asked)}"

    def verify(self, request: Request, settings: Values) -> None:
        """Compare the signature that belongs to our public key; Braintree's SDKs take a payload without its last line end, too."""
        signature, payload = _parts(request)
        pairs = (pair.partition("|") for pair in signature.split("&"))
        given = [digest.encode("utf-8", "replace") for key, _, digest in pairs if key == settings["public_key"]]
        expected = [Crypto.sha1_hmac_hash(settings["private_key"], one).encode() for one in (payload, payload + "\n")]
        if not any([hmac.compare_digest(one, other) for one in expected for other in given]):  # noqa: C419 - compare all
            raise Forged("No signature fits.")

    def messages(self, request: Request, settings: Values) -> list[Message]:
        """Braintree gives a notification no id: exactly the same one is the same."""
        try:
            document = read_xml(base64.b64decode(_parts(request)[1]))
        except ValueError:
            raise Unreadable("The payload is not in base64.") from None
        if not isinstance(document, dict):
            raise Unreadable("The payload is not the XML that is documented.")
        told = Answer(document, where="webhook").part("notification")
        subject = told.get("subject")
        found = subject.get("subscription") if isinstance(subject, Answer) else None
        number = found.get("id") if isinstance(found, Answer) else None
        at = moment(told.get("timestamp"))
        return [Message(request.fingerprint, told.text("kind"), {"subscription": number}, at)]

    def read(self, message: Message, api: Api) -> list[Learned]:
        """Read the subscription, and whose payment method it is on."""
        account = gateway(api)
        found = account.subscription.find(text_in(message.payload, "subscription", ID, "id of a subscription"))
        customer = account.payment_method.find(found.payment_method_token).customer_id
        traits = {
            "braintree_id": customer,
            "braintree_subscription_id": found.id,
            "braintree_plan_id": found.plan_id,
            "braintree_status": found.status,
            "braintree_next_billing_date": str(found.next_billing_date),
        }
        return [Learned(traits, found_by=(("braintree_id", customer),), subject=f"subscription {found.id}")]


def _parts(request: Request) -> tuple[str, str]:
    """Return signature and payload."""
    fields = parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
    form = dict(fields)
    if len(form) != len(fields):
        raise Forged("A field came twice.")
    return form.get("bt_signature", ""), form.get("bt_payload", "")


# --- the account ------------------------------------------------------------------------------------------------------


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
    docs_url = REFERENCE
    actions = (SubscribePlan, AddDiscount)
    base_urls = HOSTS
    catalogues = {"plans": Catalogue("Plans", plans), "discounts": Catalogue("Discounts", discounts)}
    inbound = Webhooks()
    setup_steps = (
        "In Braintree's control panel, open Settings > API and make a key for Engage; sandbox and production have their own.",
        "Copy the merchant id and both keys here, test the connection, switch it to Active and save.",
    )

    class Settings(forms.Form):
        """Which account."""

        environment = live_or_sandbox("Keys belong to one of the two.")
        merchant_id = identity(
            forms.RegexField(r"^[a-z0-9]{8,32}$", label="Merchant ID", help_text="Small letters and digits.")
        )
        merchant_account_id = forms.SlugField(
            max_length=64,
            required=False,
            label="Merchant account ID",
            help_text="Decides the currency. Empty: the default.",
        )
        # No secret: Braintree itself sends it along with every webhook.
        public_key = forms.RegexField(
            r"^[A-Za-z0-9_-]{8,64}$", label="Public key", help_text="Stands beside the private one."
        )
        private_key = SecretField(label="Private key", help_text="Webhooks are signed with it, too.")

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
        return Rejected(f"Braintree refused: {words or f'status {answer.status}'}")
