"""What Braintree knows of all customers, read at night: the traits that its webhooks bring, made by the same functions.

https://developer.paypal.com/braintree/docs/reference/general/searching/search-results/python: a search gives all ids first, and
then what they stand for. It cannot be asked what has changed since, so everything is read each time.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from braintree import CustomerSearch

from connectors.failures import Rejected
from connectors.http import Api
from connectors.pulls import Pull, Row, telling
from connectors.vendors.braintree.reading import gateway, subscriptions
from connectors.vendors.braintree.traits import FOUND_BY, TYPES, rank_of, traits_of

FIELDS: Any = CustomerSearch  # its methods are without types
MOST_FOUND = 10_000
"""Ids that a search gives at most; so that many may not be all. UNVERIFIED: today's pages do not name the number."""
BLOCK = 20
"""Customers in one answer. The SDK would take the 50 that Braintree proposes; each comes with its subscriptions, and these with up
to 20 transactions, so that those might be more than an answer may have."""
OLDEST = datetime(2007, 1, 1, tzinfo=UTC)  # the year in which Braintree began
SHORTEST = timedelta(minutes=1)  # no list of so short a time is halved


def customer_rows(api: Api, _: datetime | None) -> Iterator[Row]:
    """Return what the customers' subscriptions say; who has none any more loses the traits of it."""
    customers = gateway(api).customer
    for ids in _made(customers, OLDEST, datetime.now(UTC)):
        for start in range(0, len(ids), BLOCK):
            for customer in customers.search(FIELDS.ids.in_list(ids[start : start + BLOCK])):
                yield Row(customer.id, customer.id, traits_of(customer.id, telling(subscriptions(customer), rank_of)))


def _made(customers: Any, start: datetime, end: datetime) -> Iterator[list[str]]:
    """Return the ids of customers that were made in a time, by halves of it where one search may not show all."""
    ids = customers.search(FIELDS.created_at.between(start, end)).ids
    if len(ids) < MOST_FOUND:
        yield ids
        return
    if end - start <= SHORTEST:
        raise Rejected(f"Braintree has more customers of one minute than it shows ({start:%Y-%m-%d %H:%M} UTC).")
    middle = start + (end - start) / 2
    yield from _made(customers, start, middle)
    yield from _made(customers, middle, end)


PULLS = {"customers": Pull("Customers", "customer", FOUND_BY, TYPES, customer_rows)}
