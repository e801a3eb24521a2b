"""Mixpanel's profiles: what is known of people, set by /engage. https://developer.mixpanel.com/reference/profile-set."""

from collections.abc import Iterable, Sequence

from connectors.base import Json, Replay, Values
from connectors.failures import Rejected, Undocumented
from connectors.forwarders import Verdict
from connectors.http import Api
from connectors.pushes import Person, TraitPush

DOCS = "https://developer.mixpanel.com/reference"
NO_ADDRESS = "0"  # without it Mixpanel would place every person where this server stands
MOST_PROFILES, LARGEST_PROFILE = 2000, 1_000_000  # https://developer.mixpanel.com/reference/user-profile-limits
MOST_BYTES = 1_800_000  # as for events: of a request's size that page says nothing
# Values that Mixpanel takes for "nobody" (https://developer.mixpanel.com/reference/import-events).
NOBODY = frozenset(
    {"anon", "anonymous", "nil", "none", "null", "n/a", "na", "undefined", "unknown", "<nil>", "0", "-1"}
    | {"true", "false", "[]", "{}", "00000000-0000-0000-0000-000000000000"}
)
# Names under which Mixpanel shows a profile (https://docs.mixpanel.com/docs/data-structure/user-profiles).
PROFILE_NAMES = {
    "email_address": "$email",
    "email": "$email",
    "first_name": "$first_name",
    "last_name": "$last_name",
    "name": "$name",
    "phone": "$phone",
    "phone_number": "$phone",
}


def somebody(user_id: str) -> str:
    """Return a user id that Mixpanel takes for one.

    Raises:
        Rejected: it is a word for nobody there.

    """
    if user_id.lower() in NOBODY:
        raise Rejected(f"Mixpanel takes “{user_id}” for nobody, and accepts nothing of such a user.")
    return user_id


def profile_of(person: Person) -> Json:
    """Return a profile as /engage sets it, without the project's token."""
    known = {PROFILE_NAMES.get(name, name): value for name, value in person.traits.items()}
    return {"$distinct_id": person.user_id, "$set": known}


def set_profiles(api: Api, profiles: Iterable[Json]) -> None:
    """Set profiles in one request.

    Raises:
        Rejected: Mixpanel refuses them, in its words; it does so inside a 200.

    """
    token = api.settings["project_token"]
    answer = api.post(
        "engage",
        params={"ip": NO_ADDRESS, "verbose": "1", "strict": "1"},
        json=[{"$token": token, **profile} for profile in profiles],
        step="profiles",
    )
    if not isinstance(answer.data, dict) or answer["status"] != 1:
        raise Undocumented("Mixpanel did not say that it has set the profiles.")


class Profiles(TraitPush):
    """The chosen traits of everybody."""

    description = "The traits that you name become properties of people's profiles in Mixpanel."
    replay = Replay.NATURAL
    replay_proof = f"{DOCS}/profile-set: $set overwrites what is there"
    most_items, most_bytes, largest_item = MOST_PROFILES, MOST_BYTES, LARGEST_PROFILE

    def payload(self, person: Person, settings: Values) -> Json:
        """The person's profile."""
        somebody(person.user_id)
        return profile_of(person)

    def send(self, api: Api, payloads: Sequence[Json]) -> Sequence[Verdict]:
        """Set them all."""
        set_profiles(api, payloads)
        return ["Mixpanel has set the profile"] * len(payloads)
