"""The SDK behind our door, and whose subscription is meant."""

from collections.abc import Mapping
from typing import Any

import braintree
from braintree.configuration import Configuration

from connectors.base import Json, one_of
from connectors.choosing import email_in, only_one, text_in
from connectors.failures import Undocumented
from connectors.http import Api, Ending, Segment

DOCS = "https://developer.paypal.com/braintree/docs/reference/request/subscription"
CHECK_AT = "In Braintree's control panel, open the customer and look at the subscriptions of the payment methods."
ENVIRONMENTS = {"live": braintree.Environment.Production, "sandbox": braintree.Environment.Sandbox}
HOSTS = {name: each.protocol + each.server_and_port for name, each in ENVIRONMENTS.items()}
ID = "[A-Za-z0-9_-]{1,64}"
PERSON = one_of("braintree_id", "email_address")
SEARCHES = {"advanced_search", "advanced_search_ids"}
"""Reads by POST: first all ids, then what they stand for in blocks."""


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
        elif segments[-1] in SEARCHES:
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


def customer_of(api: Api, user: Json) -> Any:
    """Return the person's customer.

    Raises:
        Rejected: there is none, or an e-mail address is that of several: Braintree has no rule that it is one's own.

    """
    customers = gateway(api).customer
    if "braintree_id" in user:
        return customers.find(text_in(user, "braintree_id", ID, "id of a Braintree customer"))
    address = email_in(user)
    ids = customers.search(braintree.CustomerSearch.email == address).ids
    return customers.find(only_one(api, ids, whose=address, what="customer", named=str))


def subscriptions(customer: Any) -> list[Any]:
    """Return the customer's subscriptions, on whatever payment method they are."""
    rows = [row for method in customer.payment_methods for row in getattr(method, "subscriptions", ())]
    # The SDK makes no objects of what is on a bank account.
    known = braintree.Subscription
    return [row if isinstance(row, known) else known(customer.gateway, row) for row in rows]


def named(subscription: Any) -> str:
    """Return its id and plan in words."""
    return f"Subscription {subscription.id} on plan {subscription.plan_id}"


def in_words(subscription: Any) -> str:
    """Return a subscription so that it is told from others."""
    return f"{named(subscription)} is {subscription.status}"


def changed(result: Any) -> Any:
    """Return the subscription in the answer to a write."""
    if result is None or not result.is_success:
        raise Undocumented("Braintree accepted, and shows no subscription.")
    return result.subscription
