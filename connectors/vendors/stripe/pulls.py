"""What Stripe knows of all customers, read at night: the traits that its webhooks bring, made by the same functions.

https://docs.stripe.com/api/subscriptions/list tells by no filter what has changed since, so everything is read each time. A
customer who never had a subscription is in no row; what there is to say of them is told by webhooks alone. The product cannot be
expanded, since "data.items.data.price.product" has more than four levels; so each product's name is read once.
"""

from collections.abc import Iterator
from datetime import datetime

from connectors.base import Json
from connectors.http import Api
from connectors.pulls import MOST_PAGES, Pull, Row
from connectors.vendors.stripe.traits import FOUND_BY, TYPES, product_names, rank_of, traits_of

EVERYTHING: Json = {"status": "all", "expand[]": "data.customer"}


def subscription_rows(api: Api, _: datetime | None) -> Iterator[Row]:
    """Return what the subscriptions say; of a customer's, the one that webhooks tell of."""
    name_of = product_names(api)
    for one in api.pages("subscriptions", params=EVERYTHING, most=MOST_PAGES):
        customer, rank = one.part("customer"), rank_of(one)
        if customer.get("deleted"):
            continue
        number = customer.text("id")
        yield Row(number, number, traits_of(one if rank >= 0 else None, customer, name_of), rank)


PULLS = {"subscriptions": Pull("Subscriptions", "customer", FOUND_BY, TYPES, subscription_rows)}
