"""Braze's users: who is meant, and what /users/track takes of them. https://www.braze.com/docs/api/endpoints/user_data/post_user_track.

Attributes are an upsert. Events are not deduplicated: each request is one more.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms

from connectors.answers import Answer
from connectors.base import (
    ANSWERED_AT,
    NOTHING,
    USER_ID,
    Action,
    Json,
    Needs,
    PatternField,
    Replay,
    Values,
    given,
    if_known,
)
from connectors.bodies import without_empty
from connectors.choosing import email_in, require, text_in
from connectors.custom_events import CustomEvent, Properties, WithProperties, custom_properties
from connectors.failures import Failure, Missing, Rejected, refused
from connectors.forwarders import Verdict
from connectors.http import Api
from connectors.pushes import Person, TraitPush

DOCS = "https://www.braze.com/docs/api/endpoints"
TRACK = f"{DOCS}/user_data/post_user_track"
CHECK_AT = "In Braze, open Audience > Search Users and look for the person."
PERSON = given(USER_ID) & if_known("braze_external_id", "email_address")
EXTERNAL_ID = "braze_external_id"
# https://www.braze.com/docs/api/objects_filters/user_attributes_object: what says who is meant, and what goes by another name
NO_ATTRIBUTES = frozenset({"external_id", "user_alias", "braze_id", "_update_existing_only"})
BRAZE_NAMES = {"email_address": "email", "phone_number": "phone"}


def external_id_of(api: Api, user: Json) -> str:
    """Return a person's external id: the trait, or else our own id where the connection says that it is one; empty: unknown."""
    if EXTERNAL_ID in user:
        return text_in(user, EXTERNAL_ID, r"[^\x00-\x1f\x7f]{1,997}", "external id of Braze's")
    return str(user[USER_ID]) if api.settings.get("user_ids", True) else ""


def person(api: Api, user: Json) -> Json:
    """Return by what /users/track knows a person: exactly one identifier.

    Raises:
        Missing: there is none.

    """
    if external := external_id_of(api, user):
        return {"external_id": external}
    if "email_address" in user:
        return {"email": email_in(user)}
    raise Missing(Needs.lacking((EXTERNAL_ID, "email_address")))


def attributes_of(known: Mapping[str, Any]) -> Json:
    """Return what is known of a person under Braze's names, and nothing that would say who is meant."""
    return {BRAZE_NAMES.get(name, name): value for name, value in known.items() if name not in NO_ATTRIBUTES}


def track(api: Api, **one: Json) -> Answer:
    """Send one attributes object or one event. The number that was processed counts where it is said.

    "queued" is Braze's word for what it takes during a maintenance.
    """
    answer = api.post("users", "track", json={name: [value] for name, value in one.items()})
    if answer.shows("message", "success", "queued") == "success":
        for name in one:
            if answer.get(f"{name}_processed") is not None:
                answer.shows(f"{name}_processed", 1)
    return answer


def taken(answer: Answer) -> str:
    """Say what Braze said. It means that it will be done: nothing tells when."""
    return f"Braze says “{answer.text('message')}”"


class AddEmail(Action):
    """A user with an e-mail address."""

    key, label = "user_add_email", "Add a user with email address"
    description = (
        "Adds a user with the address that the person enters into the prompt, and with an alias where you name a label."
    )
    needs = NOTHING
    replay = Replay.NATURAL
    replay_proof = f"{TRACK}: a user with this alias, or this address, is created or updated"
    check_at = "In Braze, open Audience > Search Users and search for the address."
    from_browser = frozenset({"email"})

    class Inputs(forms.Form):
        """Which address, and under which label."""

        email = forms.EmailField(label="E-mail address", help_text="Of the user.")
        alias_label = PatternField(
            r"[^\x00-\x1f\x7f]{1,100}",
            label="Alias label",
            required=False,
            shape="A short text.",
            help_text="The address becomes the user's alias under this label, so that they are found again. Empty: no alias.",
        )

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """One call for user and alias: between two that depend on each other Braze asks for five minutes.

        Without `_update_existing_only: false` no user is created for an alias (TRACK).
        """
        email, label = inputs["email"], inputs["alias_label"]
        wish: Json = {"email": email}
        if label:
            alias = {"alias_name": email, "alias_label": label}
            wish = {"user_alias": alias, **wish, "_update_existing_only": False}
        return f"{taken(track(api, attributes=wish))}: {email} is a user"


class UpdateAttributes(WithProperties):
    """What is known of somebody."""

    key, label = "attributes_update", "Update attributes"
    description = "Sets attributes of the subscriber's profile in Braze, and whether and what mail they get."
    needs = PERSON
    replay = Replay.NATURAL
    replay_proof = f"{TRACK}: attributes are set, and the same ones twice are the same as once"
    check_at = CHECK_AT

    class Inputs(Properties):
        """Which attributes, and which mail."""

        email_subscribe = forms.ChoiceField(
            choices=[
                ("", "As it is"),
                ("opted_in", "Opted in"),
                ("subscribed", "Subscribed"),
                ("unsubscribed", "Unsubscribed"),
            ],
            required=False,
            label="E-mail subscription",
        )
        subscription_group_id = PatternField(
            "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
            label="Subscription group",
            required=False,
            shape="Its id, like 6ecc4a5e-1f0b-4a3c-8c1d-2b7e5d9f0a11.",
        )
        subscription_state = forms.ChoiceField(
            choices=[("subscribed", "Subscribed"), ("unsubscribed", "Unsubscribed")],
            required=False,
            initial="subscribed",
            label="In this group",
        )

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Set them. Nobody's name for a person among them counts: who is meant stands last."""
        known = attributes_of(custom_properties(user, inputs))
        if inputs["email_subscribe"]:
            known["email_subscribe"] = inputs["email_subscribe"]
        if group := inputs["subscription_group_id"]:
            state = inputs["subscription_state"] or "subscribed"
            known["subscription_groups"] = [{"subscription_group_id": group, "subscription_state": state}]
        require(known, "There is no attribute to set: none is written, and none of the traits is known.")
        who = person(api, user)
        wish = known | who
        return f"{taken(track(api, attributes=wish))}: {len(known)} attributes of {next(iter(who.values()))}"

    def check_inputs(self, api: Api, inputs: Values) -> list[str]:
        """Something has to be set."""
        names = ("properties", "traits", "email_subscribe", "subscription_group_id")
        return [] if any(inputs.get(name) for name in names) else ["Say what is to be set."]


class TrackEvent(CustomEvent):
    """An event of the designer's own."""

    key, label = "event_track", "Track custom event"
    description = "Adds an event of your own to the subscriber's profile in Braze."
    needs = PERSON & given(ANSWERED_AT)
    replay = Replay.NEVER
    replay_proof = f"{TRACK}: events are not deduplicated"
    check_at = CHECK_AT

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Send it, with the time of the answer and a name that all tries share."""
        event = {
            **person(api, user),
            "name": inputs["event"],
            "time": user[ANSWERED_AT].isoformat(timespec="milliseconds"),
            "properties": {**custom_properties(user, inputs), "engage_id": api.tag},
            "app_id": api.settings.get("app_id"),
        }
        return f"{taken(track(api, events=without_empty(event)))}: the event “{inputs['event']}”"


class Attributes(TraitPush):
    """The chosen traits of everybody."""

    description = "The traits that you name become attributes of people's profiles in Braze."
    replay = Replay.NATURAL
    replay_proof = UpdateAttributes.replay_proof
    # https://www.braze.com/docs/api/api_limits: 75 objects in a request, and 50 with the plans of 2024 and later
    most_items, most_bytes, largest_item = 50, 1_000_000, 100_000

    def payload(self, person: Person, settings: Values) -> Json:
        """The person's attributes, under our own id."""
        if not settings.get("user_ids", True):
            raise Rejected("Our user ids are not Braze's external ids, so nobody's traits go there at night.")
        return {**attributes_of(person.traits), "external_id": person.user_id}

    def send(self, api: Api, payloads: Sequence[Json]) -> Sequence[Verdict]:
        """Set them all. Braze sets the others where it names some that it leaves out."""
        try:
            answer = api.post("users", "track", json={"attributes": list(payloads)})
        except Rejected as no:
            return left_out(no, len(payloads))
        answer.shows("message", "success", "queued")
        return [taken(answer)] * len(payloads)


def left_out(no: Rejected, count: int) -> list[Verdict]:
    """Read which attributes objects a 2xx leaves out: `errors` have a `type` and an `index`.

    Raises:
        Rejected: it does not say so of each.

    """
    rows = no.answer.each("errors") if no.answer is not None and no.status < 300 else []
    words = {row.get("index"): str(row.get("type") or "") for row in rows if isinstance(row, Answer)}
    if not rows or len(words) != len(rows) or not all(type(index) is int and 0 <= index < count for index in words):
        raise no
    told: list[str | Failure] = [f"Braze says “{no.answer['message']}”" if no.answer else ""] * count
    for index, why in words.items():
        told[index] = refused("Braze", why)
    return told
