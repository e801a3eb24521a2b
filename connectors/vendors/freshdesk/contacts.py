"""Freshdesk's contacts: who is meant, and whether somebody is deleted."""

from typing import ClassVar

from connectors.answers import Answer
from connectors.base import DesiredState, Json, Values, one_of
from connectors.choosing import at_address, email_in, id_at_address, whole_number_in
from connectors.failures import AlreadyDone, Rejected
from connectors.http import Api, existing

DOCS = "https://developers.freshdesk.com/api"
REQUESTER = one_of("freshdesk_id", "email_address")


def known_id(user: Json) -> str:
    """Return the id that is known of a person."""
    return whole_number_in(user, "freshdesk_id", "id of Freshdesk's, which are whole numbers")


def contact_of(api: Api, user: Json, *, deleted_too: bool = False) -> str:
    """Return a person's id at Freshdesk: the known one, or that of the one contact with exactly this address.

    Args:
        deleted_too: where no other contact has the address, deleted ones count; a list has them only when it is asked for them.

    Raises:
        Rejected: there is none, or several.

    """
    if "freshdesk_id" in user:
        return known_id(user)
    address = email_in(user)
    rows = list(api.pages("contacts", params={"email": address}))
    if deleted_too and not at_address(rows, address):
        rows = list(api.pages("contacts", params={"email": address, "state": "deleted"}))
    return id_at_address(api, rows, address, "contact")


class Deletion(DesiredState):
    """Whether a contact is deleted. Nothing is lost: a deleted contact can be restored."""

    needs = REQUESTER
    replay_proof = f"{DOCS}/#view_contact: `deleted` shows it"
    check_at = "In Freshdesk, open Contacts and search for the address, among all and among the deleted contacts."
    deleted: ClassVar[bool]

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """Read the contact itself."""
        number = contact_of(api, user, deleted_too=True)
        contact = existing(api, f"contact {number}", "contacts", number)
        contact["id"]
        return contact

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """The contact says so; "this attribute will only be present for deleted contacts"."""
        return self._told(thing) if bool(thing.get("deleted")) is self.deleted else None

    def _told(self, contact: Answer) -> str:
        return contact.fill("Contact {id} is deleted" if self.deleted else "Contact {id} is there")


class SoftDeleteContact(Deletion):
    """Somebody to the deleted contacts."""

    key, label, deleted = "soft_delete_contact", "Soft-delete contact", True
    description = "Deletes the contact; an agent, or “Restore contact”, brings it back. Its tickets stay."

    def change(self, api: Api, thing: Answer, inputs: Values) -> str:
        """Delete it. "Updating or deleting a contact that has been blocked or deleted will now return a 405"."""
        try:
            api.delete("contacts", thing.fill("{id}")).with_status(204)
        except Rejected as no:
            if no.status != 405:
                raise
            raise AlreadyDone(thing.fill("Freshdesk says that contact {id} is deleted or blocked already.")) from None
        return self._told(thing)


class RestoreContact(Deletion):
    """The reverse."""

    key, label, deleted = "restore_contact", "Restore contact", False
    description = "Brings a deleted contact back."

    def change(self, api: Api, thing: Answer, inputs: Values) -> str:
        """Restore it."""
        api.put("contacts", thing.fill("{id}"), "restore").with_status(204)
        return self._told(thing)
