"""What goes to Segment: track, identify and group, alone and in batches.

https://segment.com/docs/connections/sources/catalog/libraries/server/http-api. A `messageId` counts once, so what was sent
without an answer is sent again.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django import forms

from connectors.answers import Answer
from connectors.base import ANSWERED_AT, USER_ID, Json, Replay, TemplateField, Values, given
from connectors.bodies import without_empty
from connectors.choosing import filled_in
from connectors.custom_events import (
    CustomEvent,
    NamesTraits,
    SendTraits,
    chosen_traits,
    custom_properties,
    named_traits,
)
from connectors.forwarders import ForwardedEvent, Forwarder, TraitNames, Verdict, prompt_properties
from connectors.http import Api
from connectors.pushes import Person, TraitPush

DOCS = "https://segment.com/docs/connections/sources/catalog/libraries/server/http-api"
ONCE = "https://segment.com/docs/guides/duplicate-data: what comes with a messageId of the last 24 hours is dropped"
# DOCS: "32KB" for a call, and for a batch "500KB per request" and 2500 calls; each event may bring an identify call along.
MOST_CALLS, MOST_BYTES, LARGEST_CALL = 2500, 490_000, 32_000
CHECK_AT = "In Segment, open the source's Debugger and look for the user id."


class Events(Forwarder):
    """Every event as a track call, and the chosen traits of its person as an identify call."""

    description = "Every impression and answer, with its prompt, as a track call; and the traits that you name, as identify calls."
    replay, replay_proof = Replay.KEY, ONCE
    most_items, most_bytes, largest_item = MOST_CALLS // 2, MOST_BYTES, LARGEST_CALL
    browser = frozenset({"path"})
    check_at = CHECK_AT

    def payload(self, event: ForwardedEvent, settings: Values) -> Json:
        """The calls for an event."""
        more = {"userId": event.user_id, "timestamp": _iso(event.time), **_context(event)}
        track = {"type": "track", "messageId": event.key, "event": self.name(event, settings), **more}
        calls: list[Json] = [{**track, "properties": prompt_properties(event)}]
        if event.traits:
            calls.append({"type": "identify", "messageId": f"{event.key}-traits", **more, "traits": dict(event.traits)})
        return {"calls": calls}

    def send(self, api: Api, payloads: Sequence[Json]) -> Sequence[Verdict]:
        """All calls in one batch."""
        said = _took(_batch(api, [call for payload in payloads for call in payload["calls"]]))
        return [said] * len(payloads)


class Identities(TraitPush):
    """The chosen traits of everybody, as identify calls.

    They carry no messageId: with one of their own, traits that became again what they were would be dropped as repeats.
    """

    description = "The traits that you name go to Segment as identify calls."
    replay, replay_proof = Replay.NATURAL, f"{DOCS}#identify: traits are set, and setting them again changes nothing"
    most_items, most_bytes, largest_item = MOST_CALLS, MOST_BYTES, LARGEST_CALL

    def payload(self, person: Person, settings: Values) -> Json:
        """A person's call."""
        return {"type": "identify", "userId": person.user_id, "traits": dict(person.traits)}

    def send(self, api: Api, payloads: Sequence[Json]) -> Sequence[Verdict]:
        """All calls in one batch."""
        return [_took(_batch(api, payloads))] * len(payloads)


class Track(CustomEvent):
    """An event of the designer's own."""

    key, label = "track", "Track an event"
    description = "Sends an event of your own for the person to Segment, besides those of the prompt."
    replay, replay_proof, key_kept = Replay.KEY, ONCE, timedelta(hours=24)
    check_at = CHECK_AT

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Track it."""
        call = {**_who(api, user), "event": inputs["event"], "properties": custom_properties(user, inputs)}
        return _took(api.post("track", json=call))


class Identify(SendTraits):
    """Traits of the person."""

    key, label = "identify", "Identify"
    description = "Sends traits of the person to Segment."
    replay, replay_proof, key_kept = Replay.KEY, ONCE, timedelta(hours=24)
    check_at = CHECK_AT

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Identify them."""
        return _took(api.post("identify", json={**_who(api, user), "traits": chosen_traits(user, inputs)}))


class Group(NamesTraits):
    """Puts a person into a group."""

    key, label = "group", "Group"
    description = "Tells Segment to which group (an account, a household) the person belongs."
    needs = given(USER_ID, ANSWERED_AT)
    replay, replay_proof, key_kept = Replay.KEY, ONCE, timedelta(hours=24)
    check_at = CHECK_AT

    class Inputs(forms.Form):
        """Which group."""

        group_id = TemplateField(label="Group", rows=1, max_length=200, help_text="The group's id.")
        traits = TraitNames("They describe the group.")

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Group them."""
        group = filled_in(inputs["group_id"], user, "group's id")
        return _took(
            api.post("group", json={**_who(api, user), "groupId": group, "traits": named_traits(user, inputs)})
        )


def _who(api: Api, user: Json) -> Json:
    return {"userId": user[USER_ID], "messageId": api.tag, "timestamp": _iso(user[ANSWERED_AT])}


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")


def _context(event: ForwardedEvent) -> Json:
    path = event.browser.get("path")
    told = {
        "ip": event.address,
        "userAgent": event.user_agent,
        "page": {"path": path} if isinstance(path, str) and path else None,
    }
    return without_empty({"context": without_empty(told)})


def _batch(api: Api, calls: Sequence[Json]) -> Answer:
    return api.post("batch", json={"batch": list(calls)})


def _took(answer: Answer) -> str:
    answer.shows("success", True)
    return "Segment took it in; whether it is kept, only its Debugger shows"
