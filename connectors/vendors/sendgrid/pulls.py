"""The contacts of Marketing Campaigns, read at night.

https://www.twilio.com/docs/sendgrid/api-reference/contacts/export-contacts. The search shows 50 contacts of however many it
finds, and has no second page; so everything is exported each time, by a job whose files lie in Amazon S3. SendGrid documents no
bucket: `FILES` lets its answer name one, and nothing but S3. Such a file is asked for without our key.
"""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from datetime import datetime

from connectors.answers import Answer
from connectors.choosing import require
from connectors.failures import Undocumented
from connectors.http import Api, or_none
from connectors.pulls import BY_USER_ID, Pull, Row, way_of

FILES = ("*.s3.amazonaws.com", "*.s3.*.amazonaws.com", "s3.amazonaws.com", "s3.*.amazonaws.com")
MEGABYTES = 1
"""Of a file. Whether SendGrid counts them packed or unpacked is not documented; either is less than an answer may have."""
LONGEST_LINE = 1_000_000  # characters of one contact, which has 120 fields at most
WAITS = (5.0,) * 12 + (30.0,) * 10 + (60.0,) * 114
"""Seconds between two looks at an export, two hours in all."""
# What SendGrid says of a contact -> the trait. Names of their own: what it does not know is taken away, and must not take
# along what another source has brought under a general name.
TOLD = {
    "contact_id": "sendgrid_contact_id",
    "external_id": "sendgrid_external_id",
    "first_name": "sendgrid_first_name",
    "last_name": "sendgrid_last_name",
    "city": "sendgrid_city",
    "state_province_region": "sendgrid_region",
    "postal_code": "sendgrid_postal_code",
    "country": "sendgrid_country",
}
EMAIL = "email_address"


def contact_rows(api: Api, _: datetime | None) -> Iterator[Row]:
    """Return the contacts that have an address, and an external id where that says who they are."""
    by_user_id = way_of(api.settings) == BY_USER_ID
    for url in exported(api):
        for contact in contacts_in(api.file(url)):
            email, own = contact.get("email"), contact.get("external_id")
            if email and (own or not by_user_id):
                told = {trait: contact.get(name) for name, trait in TOLD.items()}
                yield Row(str(email), str(own or ""), {EMAIL: email, **told})


def exported(api: Api) -> list[str]:
    """Export all contacts, and return where the files lie.

    To ask for an export changes nothing that anybody could see; who asks twice gets two.
    """
    wish = {"file_type": "json", "max_file_size": MEGABYTES, "notifications": {"email": False}}
    number = api.read("marketing", "contacts", "exports", json=wish).text("id")
    for wait in WAITS:
        found = or_none(api.get, "marketing", "contacts", "exports", number)  # just accepted: not to be seen yet
        status = found.shows("status", "pending", "ready", "failure") if found else "pending"
        if found and status == "ready":
            return found.texts("urls")
        words = (found and found.get("message")) or "without a reason"
        require(status == "pending", f"SendGrid's export of the contacts has failed: {words}")
        api.later(wait, "SendGrid is still exporting the contacts.")
    raise Undocumented("SendGrid has not exported the contacts in two hours.")


def contacts_in(file: Answer) -> Iterator[Answer]:
    """Return the contacts of a file: a JSON object in each line, packed or not.

    https://github.com/sendgrid/sendgrid-csharp/issues/1024. What it unpacks to is read a line at a time.
    """
    lines = io.BytesIO(file.data)
    try:
        with gzip.open(lines) if file.data[:2] == b"\x1f\x8b" else lines as unpacked:
            while line := unpacked.readline(LONGEST_LINE):
                if line.strip():
                    yield _contact(line)
    except (OSError, EOFError, zlib.error):
        raise Undocumented("A file of SendGrid's export cannot be unpacked.") from None


def _contact(line: bytes) -> Answer:
    try:
        contact = json.loads(line)
    except (ValueError, RecursionError):
        contact = None
    if not isinstance(contact, dict):
        raise Undocumented("A line of SendGrid's export is no JSON object.")
    return Answer(contact, where="exported contact")


TYPES = dict.fromkeys((EMAIL, *TOLD.values()), "text")
PULLS = {"contacts": Pull("Contacts", "contact", (EMAIL,), TYPES, contact_rows)}
