"""Mixpanel, ingestion API: events by /import, profiles by /engage.

https://developer.mixpanel.com/reference/import-events. Mixpanel takes an event once for the same name, time, user and
`$insert_id`, so a batch whose answer was lost is sent again.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import requests
from django import forms
from requests.auth import AuthBase, HTTPBasicAuth

from connectors.answers import Answer
from connectors.base import (
    Category,
    Connector,
    Json,
    PatternField,
    ProbeLine,
    Replay,
    SecretField,
    Support,
    Values,
    identity,
)
from connectors.failures import BadCredentials, Failure, Rejected, Undocumented
from connectors.forwarders import (
    EventNames,
    ForwardedEvent,
    Forwarder,
    TraitNames,
    Verdict,
    prompt_properties,
    trait_names,
)
from connectors.http import Api

DOCS = "https://developer.mixpanel.com/reference"
HOSTS = {
    "us": "https://api.mixpanel.com",
    "eu": "https://api-eu.mixpanel.com",
    "in": "https://api-in.mixpanel.com",
}
# https://developer.mixpanel.com/reference/import-events. The page says 10 MB; the vendor's sample of the answer to a larger
# one says 2,097,152 bytes, so that is what a batch stays below.
MOST_EVENTS, MOST_BYTES, LARGEST_EVENT = 2000, 1_800_000, 1_000_000
# Values that Mixpanel takes for "nobody" (same page); an event of such a user would be refused.
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
NO_ADDRESS = "0"  # without it Mixpanel would place every person where this server stands


class ServiceAccount(HTTPBasicAuth):
    """Signs all but /engage, which knows the project by its token and takes no other credentials."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request, signed where it is to be."""
        if not urlsplit(str(request.url)).path.endswith("/engage"):
            super().__call__(request)  # type: ignore[no-untyped-call]  # it signs in place
        return request


class Events(Forwarder):
    """Every event by /import, and the chosen traits of its people by /engage."""

    description = (
        "Every impression and answer, with its prompt; and the traits that you name, as the profiles' properties."
    )
    replay = Replay.KEY
    replay_proof = f"{DOCS}/event-deduplication: the same event, time, distinct_id and $insert_id count once"
    most_events, most_bytes, largest_event = MOST_EVENTS, MOST_BYTES, LARGEST_EVENT
    check_at = "In Mixpanel, open Events and look for the user id."

    def traits(self, settings: Values) -> tuple[str, ...]:
        """Those that the connection names."""
        return trait_names(settings.get("traits"))

    def wants_visitor(self, settings: Values) -> bool:
        """Only where the administrator wants to see countries and cities."""
        return bool(settings.get("locate"))

    def payload(self, event: ForwardedEvent, settings: Values) -> Json:
        """An event, and what its person's profile is to hold."""
        if event.user_id.lower() in NOBODY:
            raise Rejected(f"Mixpanel takes “{event.user_id}” for nobody, and accepts no event of such a user.")
        properties = {
            "time": event.milliseconds,
            "distinct_id": event.user_id,
            "$insert_id": event.key,
            "ip": event.address or NO_ADDRESS,
            **prompt_properties(event),
        }
        payload: Json = {"event": {"event": self.name(event, settings), "properties": properties}}
        if event.traits:
            known = {PROFILE_NAMES.get(name, name): value for name, value in event.traits.items()}
            payload["profile"] = {"$distinct_id": event.user_id, "$set": known}
        return payload

    def send(self, api: Api, payloads: Sequence[Json]) -> Sequence[Verdict]:
        """Profiles first, since setting them again changes nothing; then the events."""
        refused = self._set_profiles(api, payloads)
        events = [payload["event"] for payload in payloads]
        params = {"strict": "1", "project_id": str(api.settings["project_id"])}
        try:
            answer = api.post("import", params=params, json=events, step="events")
        except Rejected as no:
            return _each(no, len(events), refused)
        if answer["num_records_imported"] != len(events):
            raise Undocumented(
                f"Mixpanel imported {answer['num_records_imported']} of {len(events)} events without saying which."
            )
        return [_imported(len(events), refused)] * len(events)

    def _set_profiles(self, api: Api, payloads: Sequence[Json]) -> str:
        """Set the traits of the people in a batch. Returns the vendor's words when it refuses them; the events go all the same."""
        latest = {
            payload["profile"]["$distinct_id"]: payload["profile"] for payload in payloads if "profile" in payload
        }
        if not latest:
            return ""
        token = api.settings["project_token"]
        profiles = [{"$token": token, **profile} for profile in latest.values()]
        try:
            answer = api.post(
                "engage", params={"ip": NO_ADDRESS, "verbose": "1", "strict": "1"}, json=profiles, step="profiles"
            )
        except Rejected as no:
            return no.message
        if not isinstance(answer.data, dict) or answer["status"] != 1:
            raise Undocumented("Mixpanel did not say that it has set the profiles.")
        return ""


def _imported(count: int, refused: str) -> str:
    told = f"Mixpanel imported it, in a batch of {count}"
    return f"{told}. The traits were not taken: {refused}" if refused else told


def _each(no: Rejected, count: int, refused: str) -> list[Verdict]:
    """Read which events of a batch were refused: Mixpanel imports the others.

    Raises:
        Rejected: the answer does not say so of each; the batch is sent again in halves, where nothing counts twice.

    """
    records = no.answer.get("failed_records") if no.answer is not None else None
    if no.status != 400 or no.answer is None or not isinstance(records, Answer) or not isinstance(records.data, list):
        raise no
    words = {record.get("index"): _words(record) for record in records if isinstance(record, Answer)}
    known = {index for index in words if type(index) is int and 0 <= index < count}
    if not known or len(known) != len(records) or no.answer.get("num_records_imported") != count - len(known):
        raise no
    taken = _imported(count - len(known), refused)
    return [Rejected(f"Mixpanel refused: {words[place]}") if place in known else taken for place in range(count)]


def _words(record: Answer) -> str:
    parts = [record.get(name) for name in ("field", "message")]
    return ": ".join(part for part in parts if isinstance(part, str) and part)[:500] or "no reason was given"


class Mixpanel(Connector):
    """The vendor."""

    key, label, category = "mixpanel", "Mixpanel", Category.ANALYTICS
    description = "Product analytics. Gets every impression and answer, and the user traits that you choose."
    aliases = ("analytics", "events", "tracking")
    support = Support.CONTRACT
    docs_url = f"{DOCS}/import-events"
    forwarder = Events
    base_urls, chosen_by = HOSTS, "region"
    setup_steps = (
        "In Mixpanel, open Settings > Project Settings > Overview, and copy the project id and the project token.",
        "Under Organization Settings > Service Accounts, add one with the role Admin or Owner in this project.",
        "Copy its user name and its secret, which is shown once. When it expires, events wait for a new one.",
        "On the same overview, see where the project's data resides: United States, European Union or India.",
        "Enter all of it here, test the connection, and switch it on: from then on every event is sent within seconds.",
    )

    class Settings(EventNames):
        """Which project, and what it gets."""

        region = identity(
            forms.ChoiceField(
                label="Data residency",
                choices=[("us", "United States"), ("eu", "European Union"), ("in", "India")],
                help_text="Where the project keeps its data. With another one Mixpanel refuses the account.",
            )
        )
        project_id = identity(
            PatternField(r"[0-9]{1,20}", label="Project id", shape="A number, from the project's settings.")
        )
        service_account = identity(
            PatternField(
                r"[\x21-\x7e]{1,200}",
                label="Service account",
                shape="Its user name, such as engage.a1b2c3.mp-service-account.",
            )
        )
        service_account_password = SecretField(
            label="Service account's secret", help_text="Shown once, when the account is made."
        )
        project_token = SecretField(
            label="Project token", usual_length=32, help_text="From the project's settings. Profiles are set with it."
        )
        traits = TraitNames(
            help_text="Names of traits with commas between them, e.g. plan, email_address. They become properties of the "
            "person's profile whenever the person sees or answers a prompt. Empty: none."
        )
        locate = forms.BooleanField(
            label="Send visitors' addresses",
            required=False,
            help_text="Mixpanel shows countries and cities by them. Off: no address is kept or sent.",
        )
        field_order = (
            "region",
            "project_id",
            "service_account",
            "service_account_password",
            "project_token",
            "event_prefix",
            "traits",
            "locate",
        )

    def environment(self, settings: Values) -> str:
        """The project's number: production and trial projects differ by nothing else."""
        return f"Project {settings['project_id']}"

    def auth(self, settings: Values) -> AuthBase:
        """The service account."""
        return ServiceAccount(settings["service_account"], settings["service_account_password"])

    def probe(self, api: Api) -> list[ProbeLine]:
        """List lookup tables, a read that needs the account and the project.

        UNVERIFIED: that it answers an account of a lower role; so nothing is said of the role.
        """
        project = str(api.settings["project_id"])
        if api.get("lookup-tables", params={"project_id": project})["status"] != "OK":
            raise Undocumented("Mixpanel answered, and did not say OK.")
        return [
            ProbeLine(True, f"Mixpanel knows the service account in project {project}."),
            ProbeLine(
                None, "Whether its role (Admin or Owner) suffices and the token is right, the first events will show."
            ),
        ]

    def failure(self, answer: Answer) -> Failure | None:
        """/engage says "no" inside a 200: `0`, or `status` 0 with the reason. Elsewhere `error` holds the words."""
        data: Any = answer.data
        if answer.status == 200 and type(data) is int and data == 0:
            return Rejected("Mixpanel refused the profiles, without a reason.")
        if answer.status == 200 and isinstance(data, dict) and data.get("status") == 0:
            return Rejected(f"Mixpanel refused: {str(data.get('error') or 'no reason was given')[:500]}")
        if answer.status == 401 and isinstance(data, dict) and isinstance(data.get("error"), str):
            return BadCredentials(
                f"Mixpanel does not accept the service account: {data['error'][:200]}. "
                "Its secret, its role in the project (Admin or Owner), the project id and the region may be the reason."
            )
        return super().failure(answer)
