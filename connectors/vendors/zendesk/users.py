"""Zendesk's users: who is meant, and whether somebody is suspended."""

from typing import ClassVar

from connectors.answers import Answer
from connectors.base import DesiredState, Json, Values, one_of
from connectors.choosing import email_in, id_at_address, require, whole_number_in
from connectors.http import Api, existing

DOCS = "https://developer.zendesk.com/api-reference/ticketing"
REQUESTER = one_of("zendesk_id", "email_address")


def known_id(user: Json) -> str:
    """Return the id that is known of a person."""
    return whole_number_in(user, "zendesk_id", "id of Zendesk's, which are whole numbers")


def user_of(api: Api, user: Json) -> str:
    """Return a person's id at Zendesk: the known one, or that of the one user with exactly this address.

    Raises:
        Rejected: there is none, or several.

    """
    if "zendesk_id" in user:
        return known_id(user)
    address = email_in(user)
    require(not set('"\\') & set(address), "Zendesk cannot be asked for an address with quotation marks.")
    # It finds parts of addresses, too, and users' other ones; the primary address is compared.
    rows = api.pages("users", "search", params={"query": f'email:"{address}"'})
    return id_at_address(api, rows, address, "user")


class Suspension(DesiredState):
    """Whether a user is suspended."""

    needs = REQUESTER
    replay_proof = f"{DOCS}/users/users/#update-user: `suspended` shows it"
    check_at = "In Zendesk, open the customer's profile and look whether it is suspended."
    suspended: ClassVar[bool]

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """Read the user itself: what a search finds may be some minutes old."""
        number = user_of(api, user)
        return existing(api, f"user {number}", "users", number).part("user")

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """The user says so."""
        state = "suspended" if self.suspended else "not suspended"
        return thing.fill(f"User {{id}} is {state}") if thing["suspended"] is self.suspended else None

    def change(self, api: Api, thing: Answer, inputs: Values) -> Answer:
        """Say it to the user."""
        return api.put("users", thing.fill("{id}"), json={"user": {"suspended": self.suspended}}).part("user")


class SuspendUser(Suspension):
    """No more tickets from somebody."""

    key, label, suspended = "suspend_user", "Suspend user", True
    description = "Suspends the user: no sign-in to the help center, and their mails become suspended tickets."


class RestoreUser(Suspension):
    """The reverse."""

    key, label, suspended = "restore_user", "Restore suspended user", False
    description = "Ends the suspension of the user."
