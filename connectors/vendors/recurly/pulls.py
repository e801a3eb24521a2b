"""What Recurly knows of all accounts, read at night: the traits that its webhooks bring, made by the same functions.

https://recurly.com/developers/api/v2021-02-25/#operation/list_subscriptions and list_invoices. An account may have several of
either, and only one is told of. Where everything is read, that one is chosen among the rows; where only what changed is read,
the others are not among them, so each account that has a change is read anew, as for a webhook.
"""

from collections.abc import Callable, Iterator
from datetime import datetime

from connectors.answers import Answer
from connectors.base import Json
from connectors.http import Api
from connectors.pulls import MOST_PAGES, Pull, Row, telling
from connectors.times import utc
from connectors.vendors.recurly.reading import subscriptions
from connectors.vendors.recurly.traits import FOUND_BY, TYPES, key_of, newest_invoice, rank_of, traits_of

MOST_ACCOUNTS = 5_000
"""Accounts that are read one by one. The list of a million subscriptions takes as many requests, so with more it is read."""
Told = Callable[[Api, Answer], Row | None]
"""Makes a row of one of a list."""


def _read(
    api: Api, since: datetime | None, things: str, told: Told, newest: Callable[[Api, str], Answer | None]
) -> Iterator[Row]:
    """Read a list: all of it, or anew the accounts of what changed since.

    Args:
        api: the door.
        since: where only what changed since is wanted.
        things: the list's address.
        told: what one of the list says.
        newest: the one of an account's that is told of, by the account's id.

    """
    if since is not None:
        # "You *really* only want to sort by `updated_at` in ascending order": what changes meanwhile comes once more.
        changed = {"sort": "updated_at", "order": "asc", "begin_time": utc(since)}
        seen: set[str] = set()
        for one in api.pages(things, params=changed, most=MOST_PAGES):
            account = one.part("account").text("id")
            if account in seen:
                continue
            if len(seen) == MOST_ACCOUNTS:
                break
            seen.add(account)
            meant = newest(api, account)
            if meant and (row := told(api, meant)):
                yield row
        else:
            return
    # By creation nothing moves, and nothing is missed.
    for one in api.pages(things, params={"sort": "created_at", "order": "asc"}, most=MOST_PAGES):
        if row := told(api, one):
            yield row


def _row(api: Api, account: Answer, traits: Json, rank: float) -> Row:
    return Row(key_of(account, api.settings), account.text("code"), traits, rank)


def _of_subscription(api: Api, one: Answer) -> Row | None:
    rank = rank_of(one)
    return _row(api, one.part("account"), traits_of(one, api.settings), rank) if rank >= 0 else None


def _of_invoice(api: Api, one: Answer) -> Row:
    return _row(api, one.part("account"), {"status": one.text("state")}, one.moment("created_at").timestamp())


def subscription_rows(api: Api, since: datetime | None) -> Iterator[Row]:
    """Return what the subscriptions say; of an account's, the one that webhooks tell of."""
    return _read(
        api, since, "subscriptions", _of_subscription, lambda door, of: telling(subscriptions(door, of), rank_of)
    )


def invoice_rows(api: Api, since: datetime | None) -> Iterator[Row]:
    """Return how each account's newest invoice stands."""
    return _read(api, since, "invoices", _of_invoice, newest_invoice)


PULLS = {
    "subscriptions": Pull("Subscriptions", "account", FOUND_BY, TYPES, subscription_rows, tells_changes=True),
    "invoices": Pull("Invoices", "account", FOUND_BY, {"status": "text"}, invoice_rows, tells_changes=True),
}
