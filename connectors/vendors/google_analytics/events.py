"""Events as the Measurement Protocol takes them. https://developers.google.com/analytics/devguides/collection/protocol/ga4."""

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any
from uuid import uuid5

from django.core.exceptions import ValidationError

from connectors.answers import Answer
from connectors.base import ANSWERED_AT, USER_ID, Json, PatternField, Replay, Values, all_of, given
from connectors.bodies import without_empty
from connectors.choosing import require, text_in
from connectors.custom_events import CustomEvent, custom_properties
from connectors.failures import Failure, Missing, Undocumented
from connectors.forwarders import KEYS, ForwardedEvent, Forwarder, Verdict, event_name, prompt_properties
from connectors.http import Api

DOCS = "https://developers.google.com/analytics/devguides/collection/protocol/ga4"
# DOCS/sending-events#limitations; what concerns a person stands once in a request, so that is of one person.
MOST_EVENTS, MOST_BYTES = 25, 120_000
LONGEST_NAME, LONGEST_VALUE, MOST_PARAMS = 40, 100, 25
MOST_PROPERTIES, LONGEST_PROPERTY_NAME, LONGEST_PROPERTY_VALUE = 25, 24, 36
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
# DOCS/reference#reserved_names
RESERVED_PREFIXES = ("_", "firebase_", "ga_", "google_", "gtag.")
RESERVED_NAMES = frozenset(
    {
        "ad_activeview",
        "ad_click",
        "ad_exposure",
        "ad_query",
        "ad_reward",
        "adunit_exposure",
        "app_clear_data",
        "app_exception",
    }
    | {"app_install", "app_remove", "app_store_refund", "app_update", "app_upgrade", "dynamic_link_app_open"}
    | {"dynamic_link_app_update", "dynamic_link_first_open", "error", "first_open", "first_visit", "in_app_purchase"}
    | {"notification_dismiss", "notification_foreground", "notification_open", "notification_receive", "os_update"}
    | {"session_start", "session_start_with_rollout", "user_engagement"}
)
CLIENT_ID = r"(?:GA\d\.\d\.)?\d{1,20}\.\d{1,20}"
NEVER_TWICE = f"{DOCS}: an event carries no id by which a repeat would be told"
CHECK_AT = "In Google Analytics, open Reports > Realtime, or Admin > DebugView with debug mode on; reports take a day."


class Events(Forwarder):
    """Every event, a person's together."""

    description = (
        "Every impression and answer, with its prompt, under the client id by which Google Analytics knows the browser; "
        "events of people without its cookie are left out, unless the settings say otherwise."
    )
    replay, replay_proof = Replay.NEVER, NEVER_TWICE
    most_items, most_bytes, largest_item = MOST_EVENTS, MOST_BYTES, MOST_BYTES
    browser = frozenset({"ga_client_id", "ga_session_id"})
    check_at = CHECK_AT

    def name(self, event: ForwardedEvent, settings: Values) -> str:
        """Return the shared words as Google takes them: in snake case."""
        return snake(event_name(event, settings))

    def together(self, payload: Json) -> Hashable:
        """One request is of one person and one browser."""
        return json.dumps({**payload, "event": None}, sort_keys=True)

    def payload(self, event: ForwardedEvent, settings: Values) -> Json:
        """An event, and whose it is."""
        session = event.browser.get("ga_session_id")
        told: Json = {**prompt_properties(event), "is_test": "true" if event.is_test else None}
        if re.fullmatch(r"\d{1,20}", str(session)):
            told["session_id"] = str(session)
        payload = {
            "client_id": _client_id(event, settings),
            "user_id": event.user_id if settings.get("send_user_id") and "@" not in event.user_id else None,
            "user_properties": _properties(event.traits),
            "ip_override": event.address,
            "user_agent": event.user_agent,
            **_consent(settings),
            "event": _event(self.name(event, settings), told, event.time.timestamp(), settings),
        }
        return without_empty(payload)

    def send(self, api: Api, payloads: Sequence[Json]) -> Sequence[Verdict]:
        """Send the events of a person."""
        whose = {name: value for name, value in payloads[0].items() if name != "event"}
        said = _collect(api, {**whose, "events": [payload["event"] for payload in payloads]})
        return [said] * len(payloads)


class SendEvent(CustomEvent):
    """An event of the designer's own."""

    key, label = "send_event", "Send event"
    description = (
        "Sends an event of your own to Google Analytics, for the browser whose client id is in the trait ga_client_id."
    )
    needs = given(USER_ID, ANSWERED_AT) & all_of("ga_client_id")
    replay, replay_proof = Replay.NEVER, NEVER_TWICE
    check_at = CHECK_AT

    class Inputs(CustomEvent.Inputs):
        """Names are of Google's kind."""

        event = PatternField(
            NAME.pattern, label="Event name", shape="Up to 40 letters, digits and underscores, a letter first."
        )

        def clean_event(self) -> str:
            """Refuse what is Google's own."""
            return free_name(self.cleaned_data["event"])

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Send it."""
        told = custom_properties(user, inputs)
        client = text_in(user, "ga_client_id", CLIENT_ID, "client id of Google Analytics")
        wrong = [name for name in told if not NAME.fullmatch(name) or name.startswith(RESERVED_PREFIXES)]
        require(not wrong, f"Google Analytics takes no property of the name {', '.join(wrong)[:200]}.")
        require(len(told) <= MOST_PARAMS - 3, f"An event has at most {MOST_PARAMS - 3} properties.")
        event = _event(inputs["event"], told, user[ANSWERED_AT].timestamp(), api.settings)
        return _collect(api, {"client_id": client, **_consent(api.settings), "events": [event]})


def snake(words: str) -> str:
    return re.sub("[^a-z0-9]+", "_", words.lower()).strip("_")


def free_name(name: str) -> str:
    """Return a name that is not Google's own.

    Raises:
        ValidationError: it is.

    """
    if name in RESERVED_NAMES or name.startswith(RESERVED_PREFIXES):
        raise ValidationError(f"{name} is a name that Google Analytics keeps for itself.")
    return name


def _client_id(event: ForwardedEvent, settings: Values) -> str:
    """Return under which id Google Analytics knows the browser.

    Raises:
        Missing: it knows none, and none is to be made.

    """
    found = event.browser.get("ga_client_id")
    if isinstance(found, str) and re.fullmatch(CLIENT_ID, found):
        return found
    if not settings.get("made_client_ids"):
        raise Missing("Google Analytics' cookie was not in the browser, so it is not known whose event this is there.")
    number = uuid5(KEYS, f"{settings.get('measurement_id')}/{event.user_id}").int
    return f"{number >> 96}.{number >> 64 & 0xFFFFFFFF}"


def _properties(traits: Mapping[str, Any]) -> Json:
    """Return traits as a user's properties; Google drops longer values, so they are cut."""
    return {name: {"value": _short(value, LONGEST_PROPERTY_VALUE)} for name, value in traits.items()}


def _short(value: Any, most: int) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, (int, float)) else str(value)[:most]


def _consent(settings: Values) -> Json:
    said = settings.get("ad_consent")
    return {"consent": {"ad_user_data": said, "ad_personalization": said}} if said else {}


def _event(name: str, told: Mapping[str, Any], seconds: float, settings: Values) -> Json:
    """Return an event as it stands in a request."""
    micros = round(seconds * 1_000_000)
    # Without engagement_time_msec (and session_id) it is missing from Realtime: DOCS/sending-events#recommended_parameters.
    own = {"engagement_time_msec": 1, **({"debug_mode": 1} if settings.get("debug_mode") else {})}
    params = {name: _short(value, LONGEST_VALUE) for name, value in without_empty(told).items()}
    # The guide has an event's own time among its params, the vendor's event builder on the event itself.
    return {"name": name, "params": {**params, **own, "timestamp_micros": micros}, "timestamp_micros": micros}


def stream_of(settings: Values) -> Json:
    """Return the query that names the stream."""
    return {"measurement_id": settings["measurement_id"]}


def _collect(api: Api, body: Json) -> str:
    answer = api.write("POST", "mp", "collect", params=stream_of(api.settings), json=body, judge=_judge)
    return f"Google took it in (status {answer.status}), and does not say whether it is kept"


def _judge(answer: Answer) -> Failure | None:
    """A yes is a 2xx without a body (UNVERIFIED: 204); a page in its place is somebody else's."""
    if 200 <= answer.status < 300 and answer.data is not None:
        return Undocumented("Google Analytics answered with something, where it is documented to answer with nothing.")
    return None
