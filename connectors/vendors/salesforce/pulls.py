"""The contacts of Service Cloud, read at night: their addresses, and their ids where the App's user ids are theirs.

https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/dome_query.htm. A contact without an address is passed
over: other vendors find people by email_address, and where Salesforce has none, what another source has brought stays.
"""

from collections.abc import Iterator
from datetime import datetime

from connectors.http import Api
from connectors.pulls import MOST_PAGES, Pull, Row
from connectors.times import utc
from connectors.vendors.salesforce.service import every

TYPES = {"salesforce_id": "text", "email_address": "text"}


def contact_rows(api: Api, since: datetime | None) -> Iterator[Row]:
    """Return the contacts that have an address. Each has one row, so that those that changed say all of themselves."""
    # SystemModstamp: a change that an automatic process has made counts, too.
    changed = f" AND SystemModstamp >= {utc(since)}" if since else ""
    soql = f"SELECT Id, Email FROM Contact WHERE Email != null{changed}"  # noqa: S608 - a moment
    for contact in every(api, soql, MOST_PAGES):
        number = contact.text("Id")
        yield Row(number, number, {"salesforce_id": number, "email_address": contact.text("Email")})


PULLS = {"contacts": Pull("Contacts", "contact", ("salesforce_id",), TYPES, contact_rows, tells_changes=True)}
