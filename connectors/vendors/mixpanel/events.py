"""Mixpanel's events, by /import. https://developer.mixpanel.com/reference/import-events.

Mixpanel takes an event once for the same name, time, user and `$insert_id`, so what was sent without an answer is sent again.
"""

from collections.abc import Sequence
from datetime import timedelta

from connectors.answers import Answer
from connectors.base import ANSWERED_AT, USER_ID, Json, Replay, Values
from connectors.custom_events import CustomEvent, custom_properties
from connectors.failures import Failure, Rejected, Undocumented, refused
from connectors.forwarders import ForwardedEvent, Forwarder, Verdict, prompt_properties
from connectors.http import Api
from connectors.pushes import Person
from connectors.times import milliseconds
from connectors.vendors.mixpanel.profiles import DOCS, NO_ADDRESS, profile_of, set_profiles, somebody

# https://developer.mixpanel.com/reference/import-events. The page says 10 MB; the vendor's sample of the answer to a larger
# one says 2,097,152 bytes, so that is what a batch stays below.
MOST_EVENTS, MOST_BYTES, LARGEST_EVENT = 2000, 1_800_000, 1_000_000
ONCE = f"{DOCS}/event-deduplication: the same event, time, distinct_id and $insert_id count once"


class Events(Forwarder):
    """Every event by /import, and the chosen traits of its people by /engage."""

    description = (
        "Every impression and answer, with its prompt; and the traits that you name, as the profiles' properties."
    )
    replay, replay_proof = Replay.KEY, ONCE
    most_items, most_bytes, largest_item = MOST_EVENTS, MOST_BYTES, LARGEST_EVENT
    check_at = "In Mixpanel, open Events and look for the user id."

    def payload(self, event: ForwardedEvent, settings: Values) -> Json:
        """An event, and what its person's profile is to hold."""
        properties = {
            "time": milliseconds(event.time),
            "distinct_id": somebody(event.user_id),
            "$insert_id": event.key,
            "ip": event.address or NO_ADDRESS,
            **prompt_properties(event),
        }
        payload: Json = {"event": {"event": self.name(event, settings), "properties": properties}}
        return payload | ({"profile": profile_of(Person(event.user_id, event.traits))} if event.traits else {})

    def send(self, api: Api, payloads: Sequence[Json]) -> Sequence[Verdict]:
        """Profiles first, since setting them again changes nothing; then the events, also where the profiles are refused."""
        latest = {
            payload["profile"]["$distinct_id"]: payload["profile"] for payload in payloads if "profile" in payload
        }
        untaken = ""
        if latest:
            try:
                set_profiles(api, latest.values())
            except Rejected as no:
                untaken = no.message
        events = [payload["event"] for payload in payloads]
        try:
            answer = _import(api, events)
        except Rejected as no:
            return _each(no, len(events), untaken)
        if answer["num_records_imported"] != len(events):
            raise Undocumented(
                f"Mixpanel imported {answer['num_records_imported']} of {len(events)} events without saying which."
            )
        return [_imported(len(events), untaken)] * len(events)


class TrackCustomEvent(CustomEvent):
    """An event of the designer's own."""

    key, label = "track_custom_event", "Track custom event"
    description = "Adds an event of your own to the person's in Mixpanel, besides those of the prompt."
    replay, replay_proof = Replay.KEY, ONCE
    key_kept = timedelta(days=7)  # no end is stated; nothing is tried for longer
    check_at = "In Mixpanel, open Events and look for the event's name and the user id."

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Import it, with an id that all tries share, and the time of the answer."""
        properties = {
            **custom_properties(user, inputs),
            "time": milliseconds(user[ANSWERED_AT]),
            "distinct_id": somebody(user[USER_ID]),
            "$insert_id": api.tag,
            "ip": NO_ADDRESS,
        }
        try:
            answer = _import(api, [{"event": inputs["event"], "properties": properties}])
        except Rejected as no:
            verdict = _each(no, 1)[0]
            raise (verdict if isinstance(verdict, Failure) else no) from None
        return f"Mixpanel imported {answer.shows('num_records_imported', 1)} event, “{inputs['event']}”"


def _import(api: Api, events: Sequence[Json]) -> Answer:
    params = {"strict": "1", "project_id": str(api.settings["project_id"])}
    return api.post("import", params=params, json=events, step="events")


def _imported(count: int, untaken: str) -> str:
    told = f"Mixpanel imported it, in a batch of {count}"
    return f"{told}. The traits were not taken: {untaken}" if untaken else told


def _each(no: Rejected, count: int, untaken: str = "") -> list[Verdict]:
    """Read which events of a batch were refused: Mixpanel imports the others.

    Raises:
        Rejected: the answer does not say so of each; the batch is sent again in halves, where nothing counts twice.

    """
    if no.status != 400 or no.answer is None:
        raise no
    records = no.answer.each("failed_records")
    words = {record.get("index"): _words(record) for record in no.answer.objects("failed_records")}
    known = {index for index in words if type(index) is int and 0 <= index < count}
    if not known or len(known) != len(records) or no.answer.get("num_records_imported") != count - len(known):
        raise no
    taken = _imported(count - len(known), untaken)
    return [refused("Mixpanel", words[place]) if place in known else taken for place in range(count)]


def _words(record: Answer) -> str:
    parts = [record.get(name) for name in ("field", "message")]
    return ": ".join(part for part in parts if isinstance(part, str) and part)
