"""Heap: events and properties of identified users, by its server-side API. https://developers.heap.io/reference.

Whoever knows the environment's id may write: there are no credentials. An `idempotency_key` counts once, so what was sent
without an answer is sent again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from requests.auth import AuthBase, HTTPBasicAuth

from connectors.answers import Answer
from connectors.auth import NoAuth
from connectors.base import (
    USER_ID,
    Category,
    Connector,
    Json,
    PatternField,
    ProbeLine,
    Replay,
    SecretField,
    Values,
    account_choice,
    identity,
)
from connectors.custom_events import SendTraits, chosen_traits
from connectors.failures import Undocumented
from connectors.forwarders import EventNames, ForwardedEvent, Forwarder, TraitNames, Verdict, prompt_properties
from connectors.http import Api
from connectors.pushes import Person, TraitPush, nightly_choice

DOCS = "https://developers.heap.io/reference"
HOSTS = {"us": "https://heapanalytics.com/api", "eu": "https://c.eu.heap-api.com/api"}
ACCOUNT = "https://heapanalytics.com/api/public/v0"
# DOCS/bulk-track: 1000 events (DOCS/bulk-add-user-properties: users) in a request; of its bytes nothing is said.
MOST_ITEMS, MOST_BYTES, LARGEST_ITEM = 1000, 1_000_000, 100_000
LONGEST_VALUE = 1023  # DOCS/track-1: "fewer than 1024 characters"
OVERWRITES = f"{DOCS}/add-user-properties: only the newest value of a property is kept"


class Events(Forwarder):
    """Every event of an identified user, and the chosen traits of its people."""

    description = (
        "Every impression and answer, with its prompt, under the user id as Heap's identity; and the traits you name."
    )
    replay = Replay.KEY
    replay_proof = f"{DOCS}/track-1: what comes again with the same idempotency_key changes nothing"
    most_items, most_bytes, largest_item = MOST_ITEMS, MOST_BYTES, LARGEST_ITEM
    check_at = "In Heap, open Live view (Data > Live) and look for the user id."

    def payload(self, event: ForwardedEvent, settings: Values) -> Json:
        """An event, and what its user's properties are to be."""
        payload: Json = {
            "event": {
                "identity": event.user_id,
                "event": self.name(event, settings),
                "timestamp": event.time.isoformat(timespec="milliseconds"),
                "idempotency_key": event.key,
                "properties": _fit(prompt_properties(event)),
            }
        }
        return payload | ({"user": _user(event.user_id, event.traits)} if event.traits else {})

    def send(self, api: Api, payloads: Sequence[Json]) -> Sequence[Verdict]:
        """Properties first, since setting them again changes nothing; then the events."""
        latest = {payload["user"]["identity"]: payload["user"] for payload in payloads if "user" in payload}
        if latest:
            _set_properties(api, list(latest.values()))
        body = {"app_id": api.settings["app_id"], "events": [payload["event"] for payload in payloads]}
        answer = _taken(api.post("track", json=body, step="events"))
        return [f"Heap took it in (status {answer.status})"] * len(payloads)


class Users(TraitPush):
    """The chosen traits of everybody."""

    description = "The traits that you name become properties of users in Heap. Whoever it does not know yet becomes a user there."
    replay, replay_proof = Replay.NATURAL, OVERWRITES
    most_items, most_bytes, largest_item = MOST_ITEMS, MOST_BYTES, LARGEST_ITEM

    def payload(self, person: Person, settings: Values) -> Json:
        """The user's properties."""
        return _user(person.user_id, person.traits)

    def send(self, api: Api, payloads: Sequence[Json]) -> Sequence[Verdict]:
        """Set them all."""
        answer = _set_properties(api, payloads)
        return [f"Heap took it in (status {answer.status})"] * len(payloads)


class AddUserProperties(SendTraits):
    """Traits of the person."""

    key, label = "add_user_properties", "Add user properties"
    description = (
        "Sets traits of the person as properties of the user in Heap, who is added where Heap does not know them."
    )
    replay, replay_proof = Replay.NATURAL, OVERWRITES

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Set them."""
        answer = _set_properties(api, [_user(user[USER_ID], chosen_traits(user, inputs))])
        return f"Heap took the user's properties in (status {answer.status})"


def _user(user_id: str, traits: Mapping[str, Any]) -> Json:
    """Return a user's properties: `email` is Heap's own name, and `id` none that it takes (DOCS/add-user-properties)."""
    named = {{"email_address": "email", "id": "user_id"}.get(name, name): value for name, value in traits.items()}
    return {"identity": user_id, "properties": _fit(named)}


def _fit(told: Mapping[str, Any]) -> Json:
    """Return values as Heap takes them: numbers and short texts."""
    return {
        name: str(value).lower()
        if isinstance(value, bool)
        else value
        if isinstance(value, (int, float))
        else str(value)[:LONGEST_VALUE]
        for name, value in told.items()
    }


def _set_properties(api: Api, users: Sequence[Json]) -> Answer:
    body = {"app_id": api.settings["app_id"], "users": list(users)}
    return _taken(api.post("add_user_properties", json=body, step="properties"))


def _taken(answer: Answer) -> Answer:
    """A yes is a 200 that says nothing. UNVERIFIED: its body; anything in it is not documented, and a repeat is safe."""
    if answer.with_status(200).data not in (None, {}):
        raise Undocumented("Heap answered with something that its documentation does not name.")
    return answer


class Heap(Connector):
    """The vendor."""

    key, label, category = "heap", "Heap", Category.ANALYTICS
    description = (
        "Product analytics. Gets every impression and answer of identified users, and the user traits that you choose."
    )
    aliases = ("contentsquare", "analytics", "events")
    docs_url = f"{DOCS}/track-1"
    forwarder, push = Events, Users
    actions = (AddUserProperties,)
    base_urls, chosen_by = HOSTS, "region"
    probe_proves_secrets = False
    setup_steps = (
        "In Heap, open Account > Manage > Projects and copy the id of the environment; production and development have one each.",
        "Your website calls heap.identify() with the user id that it gives to Engage: then its events and ours are of one user.",
        "An API key (Account > Manage > Privacy & security) is only used to test whether it fits the environment's id.",
    )

    class Settings(EventNames):
        """Which environment, and what it gets."""

        region = account_choice(
            "Region",
            [("us", "United States"), ("eu", "European Union")],
            help_text="Where Heap keeps the account's data.",
        )
        app_id = identity(PatternField("[0-9]{5,20}", label="Environment id", shape="A number, of 5 to 20 digits."))
        api_key = SecretField(
            label="API key",
            required=False,
            help_text="Optional, and for the United States: with it a test can look whether Heap knows the environment.",
        )
        traits = TraitNames("They become properties of the user whenever the person sees or answers a prompt.")
        traits_nightly = nightly_choice("Heap")
        field_order = ("region", "app_id", "api_key", "event_prefix", "traits", "traits_nightly")

    def environment(self, settings: Values) -> str:
        """Its number: production and development differ by nothing else."""
        return f"Environment {settings['app_id']}"

    def hosts(self, settings: Values) -> Mapping[str, str]:
        """Where API keys count. UNVERIFIED: where they do for the European Union, so it is not asked there."""
        return {"account": ACCOUNT}

    def auth(self, settings: Values) -> AuthBase:
        """Nothing is signed: the environment's id is in the body."""
        return NoAuth()

    def auth_at(self, host: str, settings: Values) -> AuthBase:
        """Environment and key."""
        return HTTPBasicAuth(settings["app_id"], settings["api_key"])

    def probe(self, api: Api) -> list[ProbeLine]:
        """Ask for a token, which changes nothing, where there is a key."""
        unproven = ProbeLine(
            None, "Whether events arrive, only Heap's Live view shows: it answers every environment's id alike."
        )
        if not api.settings.get("api_key") or api.settings["region"] != "us":
            return [unproven]
        api.at("account").read("auth_token").text("access_token")
        return [ProbeLine(True, f"Heap knows environment {api.settings['app_id']} and the API key."), unproven]
