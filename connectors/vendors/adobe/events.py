"""Adobe's Edge Network, by /v2/collect: events as XDM, for Experience Platform and Adobe Analytics.

https://developer.adobe.com/data-collection-apis/docs/api/collect/. An event's `_id` is made of ours and the same in every try.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid5

from connectors.answers import Answer, words_of
from connectors.base import ANSWERED_AT, USER_ID, Json, Needs, Replay, Values, if_known, object_in
from connectors.bodies import without_empty
from connectors.choosing import email_in
from connectors.custom_events import CustomEvent, custom_properties
from connectors.failures import Missing, Undocumented
from connectors.forwarders import KEYS, ForwardedEvent, Forwarder, Verdict
from connectors.http import Api
from connectors.times import utc

DOCS = "https://developer.adobe.com/data-collection-apis/docs"
# https://developer.adobe.com/data-collection-apis/docs/getting-started/limits/: 64 KB of a request's JSON
MOST_EVENTS, MOST_BYTES, LARGEST_EVENT = 100, 60_000, 20_000
ONCE = (
    "https://experienceleague.adobe.com/en/docs/experience-platform/xdm/classes/experienceevent: `_id` and duplicates"
)
HASHED_EMAIL, EMAIL = "Email_LC_SHA256", "Email"  # namespaces that Adobe provides
ECID = re.compile("[0-9]{38}")
# The words of Recurly Engage's field group, where an accepted prompt is a goal. UNVERIFIED: it has none for the second button.
ACTIVITIES = {"accept": "goal", "secondary_accept": "secondary_goal"}
EVAR, EVENT = re.compile("eVar([1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|250)"), re.compile("event([1-9][0-9]{0,2}|1000)")


def by_email(settings: Values) -> bool:
    """Whether the namespace of a connection knows people by their addresses."""
    return settings.get("identity_namespace") in {HASHED_EMAIL, EMAIL}


def identity_of(settings: Values, user_id: str, traits: Mapping[str, Any]) -> str:
    """Return by what a person is known in the connection's namespace: the address (hashed or as it is), or our own id.

    Raises:
        Missing: the address is not known.

    """
    if not by_email(settings):
        return user_id
    if traits.get("email_address") in (None, ""):
        raise Missing(Needs.lacking(("email_address",)))
    address = email_in(traits).lower()
    return sha256(address.encode()).hexdigest() if settings["identity_namespace"] == HASHED_EMAIL else address


def event_of(settings: Values, *, key: str, time: datetime, who: str, fields: Json, ecid: Any = None) -> Json:
    """Return an event as /v2/collect takes it.

    Args:
        key: our own id of the event; `_id` is a URI reference, so that a hash goes there.
        time: when it was.
        who: the person, in the connection's namespace.
        fields: what lies under the tenant's name.
        ecid: the visitor, as Adobe's Web SDK knows them.

    """
    number = sha256(key.encode()).hexdigest()
    people = {settings["identity_namespace"]: [{"id": who, "primary": True, "authenticatedState": "authenticated"}]}
    if isinstance(ecid, str) and ECID.fullmatch(ecid):
        people["ECID"] = [{"id": ecid, "primary": False, "authenticatedState": "ambiguous"}]
    told = without_empty(fields)
    xdm = {
        "_id": number,
        "eventType": settings["event_type"],
        "timestamp": utc(time, "milliseconds"),
        "identityMap": people,
        settings["tenant"]: told,
    }
    return {"xdm": xdm | analytics_of(settings, told, number)}


def analytics_of(settings: Values, fields: Json, number: str) -> Json:
    """Return what Adobe Analytics counts, where the connection says what goes where; an event's `id` lets it count it once.

    https://experienceleague.adobe.com/en/docs/analytics/implementation/aep-edge/xdm-var-mapping
    """
    mapping = object_in(settings["analytics"]) if settings.get("analytics") else {}
    counted: Json = {}
    for name, variable in mapping.items():
        if name in fields and EVAR.fullmatch(variable):
            counted.setdefault("customDimensions", {}).setdefault("eVars", {})[variable] = str(fields[name])
        if name == fields.get("activity") and EVENT.fullmatch(variable):
            first = (int(variable.removeprefix("event")) - 1) // 100 * 100 + 1
            counted.setdefault(f"event{first}to{first + 99}", {})[variable] = {"id": number, "value": 1}
    return {"_experience": {"analytics": counted}} if counted else {}


def collect(api: Api, events: Sequence[Json]) -> str:
    """Send events in one request, and say what became of them: 202, or 207 where one of Adobe's own services failed.

    The `requestId` that we name, and which is the same for the same events, begins the one in the answer.
    """
    name = str(uuid5(KEYS, " ".join(event["xdm"]["_id"] for event in events)))
    params = {"datastreamId": api.settings["datastream_id"], "requestId": name}
    answer = api.post("v2", "collect", params=params, json={"events": list(events)}, step="events")
    shown = answer.text("requestId")
    if not shown.startswith(name):
        raise Undocumented("Adobe answered, and named another request than ours.")
    return f"Adobe has taken it (request {shown}){partly(answer)}"


def partly(answer: Answer) -> str:
    """Say what a 207 leaves out. The events are in, and what they were to reach may not have them."""
    if answer.status != 207:
        return ""
    rows = [row for name in ("errors", "warnings") for row in answer.objects(name)]
    words = "; ".join(dict.fromkeys(filter(None, map(words_of, rows))))[:300]
    return f", and not all of its services have: {words or 'it does not say why'}"


class Events(Forwarder):
    """Every event to a datastream."""

    description = "Every impression and answer, with its prompt, as an event in XDM under your tenant's name."
    # The same `_id` again: "the Profile store drops the second", while the data lake keeps it.
    replay, replay_proof = Replay.KEY, ONCE
    most_items, most_bytes, largest_item = MOST_EVENTS, MOST_BYTES, LARGEST_EVENT
    browser = frozenset({"adobe_ecid"})
    check_at = "In Experience Platform, open the dataset of the datastream, or a profile's events."

    @property
    def repeat_in_words(self) -> str:
        """What an `_id` does, and what it does not."""
        return (
            "Sent again when an answer was lost, with the same _id: profiles count it once. The data lake keeps both, so queries "
            "there had better count each _id once."
        )

    def name(self, event: ForwardedEvent, settings: Values) -> str:
        """The activity: the type of all of them is the connection's."""
        return ACTIVITIES.get(event.interaction, event.interaction)

    def traits(self, settings: Values) -> tuple[str, ...]:
        """Return the address, where people are known by it."""
        return ("email_address",) if by_email(settings) else ()

    def payload(self, event: ForwardedEvent, settings: Values) -> Json:
        """An event, with the fields of Recurly Engage's field group and no others: Platform refuses what the schema lacks."""
        fields = {
            "activity": self.name(event, settings),
            "app_name": event.app,
            "event_timestamp": event.time.astimezone(UTC).isoformat(timespec="milliseconds"),
            "promo_id": event.prompt_key,
            "promo_name": event.prompt_name,
        }
        who = identity_of(settings, event.user_id, event.traits)
        ecid = event.browser.get("adobe_ecid")
        return event_of(settings, key=event.key, time=event.time, who=who, fields=fields, ecid=ecid)

    def send(self, api: Api, payloads: Sequence[Json]) -> Sequence[Verdict]:
        """Send them; Adobe says nothing of single ones."""
        return [collect(api, payloads)] * len(payloads)


class SendEvent(CustomEvent):
    """An event of the designer's own."""

    key, label = "aep_event", "Send event"
    description = "Sends an event of your own to the datastream, besides those of the prompt. Its name is the activity."
    needs = CustomEvent.needs & if_known("email_address")
    replay, replay_proof = Replay.KEY, ONCE
    key_kept = timedelta(days=7)  # no end is stated; nothing is tried for longer
    check_at = Events.check_at

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Send it, with an id that all tries share, and the time of the answer."""
        time, settings = user[ANSWERED_AT], api.settings
        fields = {
            **custom_properties(user, inputs),
            "activity": inputs["event"],
            "event_timestamp": time.astimezone(UTC).isoformat(timespec="milliseconds"),
        }
        who = identity_of(settings, user[USER_ID], user)
        return collect(api, [event_of(settings, key=api.tag, time=time, who=who, fields=fields)])
