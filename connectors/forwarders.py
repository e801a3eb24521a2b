"""The vocabulary in which an analytics vendor is declared: while its connection is active it gets every event, in batches.

A `Forwarder` says what fits into one request, what an event looks like there, and reads the vendor's answer event by event.
It knows neither the database nor the clock: the same stored event makes the same payload in every try, so that the vendor
recognises a repeat by the id in it.
"""

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar
from uuid import UUID, uuid5

from django import forms
from django.core.exceptions import ValidationError

from connectors.base import Json, Replay, Values
from connectors.bodies import without_empty
from connectors.failures import Failure

if TYPE_CHECKING:
    from connectors.http import Api

EVENT_WORDS: Mapping[str, str] = {
    "impression": "Impression",
    "accept": "Click",
    "secondary_accept": "Click 2",
    "decline": "Decline",
    "dismiss": "Dismiss",
    "timeout": "Timeout",
}
"""What an event is called in reports: the words that Recurly Engage sends to every analytics vendor."""
USUAL_PREFIX = "Recurly Engage Prompt"
SEPARATORS = 2  # bytes that the JSON list around the payloads needs for each of them
KEYS = UUID("5b0f8d5e-3f5c-5f0a-9b0e-7f1b7a0c2a11")  # any fixed namespace; another one would make every key another

Item = TypeVar("Item")
"""What a vendor takes many of in one request."""
Verdict = str | Failure
"""What a vendor said of one of them: the sentence of its success, or a `Failure`, which says what happens next with it."""


@dataclass(frozen=True)
class ForwardedEvent:
    """An event as a forwarder sees it. What the person typed is not part of it."""

    id: UUID  # unique in its App
    time: datetime
    interaction: str  # a key of EVENT_WORDS
    user_id: str
    app: str = ""  # the App's name
    prompt_key: str = ""
    prompt_name: str = ""
    prompt_version: int | None = None
    is_test: bool = False
    traits: Mapping[str, Any] = field(
        default_factory=dict
    )  # those that the forwarder asked for, as far as they are known
    browser: Mapping[str, Any] = field(default_factory=dict)  # those values of the event's context that it asked for
    address: str = ""  # the visitor's, as the server saw it; only where the forwarder asked for it
    user_agent: str = ""  # the same

    @property
    def key(self) -> str:
        """The id by which a vendor recognises a repeat: a UUID, the same in every try."""
        return str(uuid5(KEYS, str(self.id)))


EXAMPLE = ForwardedEvent(
    id=UUID("9b2f6c1e-5d0a-4c58-8f3b-2f6f6a1d7c40"),
    time=datetime.fromisoformat("2026-01-31T18:30:00+00:00"),
    interaction="accept",
    user_id="customer-1042",
    app="Your app",
    prompt_key="stay-with-us",
    prompt_name="Stay with us",
    prompt_version=3,
    browser={"ga_client_id": "1234567890.1769884200", "ga_session_id": "1769884200"},
    address="203.0.113.7",
    user_agent="Mozilla/5.0",
)
"""What the connector's page shows as an example."""


def event_name(event: ForwardedEvent, settings: Values) -> str:
    """Return what an event is called at the vendor: the connection's prefix and the shared word."""
    prefix = str(settings.get("event_prefix") or USUAL_PREFIX).strip()
    return f"{prefix} {EVENT_WORDS.get(event.interaction, event.interaction)}"


def prompt_properties(event: ForwardedEvent) -> Json:
    """Return the properties that most vendors get under the same names. What is not known is left out."""
    named = {
        "promo_id": event.prompt_key,
        "promo_name": event.prompt_name,
        "prompt_version": event.prompt_version,
        "event_timestamp": event.time.isoformat(timespec="milliseconds"),
        "app_name": event.app,
        "is_test": True if event.is_test else None,
    }
    return without_empty(named)


def size_of(payload: Json) -> int:
    """Return how many bytes a payload takes in a request's JSON."""
    return len(json.dumps(payload)) + SEPARATORS


# --- settings that forwarders share -----------------------------------------------------------------------------------------


def trait_names(text: Any) -> tuple[str, ...]:
    """Return the names in a setting that lists traits, each once."""
    return tuple(dict.fromkeys(name for name in str(text or "").replace(",", " ").split() if name))


class TraitNames(forms.CharField):
    """Names of traits, with commas between them.

    Args:
        told: what becomes of them, as a sentence.
        options: as every field of Django takes them.

    """

    MOST = 50

    def __init__(self, told: str, **options: Any) -> None:
        usual = {"label": "User traits to send", "required": False, "max_length": 2000}
        help_text = f"Names of traits with commas between them, e.g. plan. {told}"
        if not options.get("required"):
            help_text += " Empty: none."
        super().__init__(**{**usual, "help_text": help_text, **options})

    def clean(self, value: Any) -> str:
        """Return the names, evenly spaced."""
        names = trait_names(super().clean(value))
        for name in names:
            if not (name.isascii() and name.replace("_", "a").isalnum() and name == name.lower()):
                raise ValidationError(f"{name} is no name of a trait: lower-case letters, digits and underscores.")
        if len(names) > self.MOST:
            raise ValidationError(f"These are {len(names)} traits; at most {self.MOST} can be sent.")
        return ", ".join(names)


class EventNames(forms.Form):
    """Settings of every forwarder that names events by words."""

    event_prefix = forms.CharField(
        label="Event names begin with",
        initial=USUAL_PREFIX,
        max_length=60,
        help_text="Followed by Impression, Click, Click 2, Decline, Dismiss or Timeout. "
        "What stands here at first is what Recurly Engage sends, so reports that you have go on.",
    )


def locate_choice(use: str) -> forms.BooleanField:
    """Return the setting `locate`: whether visitors' addresses and browsers go to the vendor; `use` says what it makes of them."""
    return forms.BooleanField(
        label="Send visitors' addresses", required=False, help_text=f"{use} Off: no address is kept or sent."
    )


# --- the declaration --------------------------------------------------------------------------------------------------------


class Batched(Generic[Item]):
    """How a vendor takes many things in one request: events (`Forwarder`), or people's traits (`connectors.pushes`)."""

    description: ClassVar[str] = ""
    replay: ClassVar[Replay]
    replays: ClassVar[frozenset[Replay]]  # which of them make sense here
    replay_proof: ClassVar[str]  # the vendor's sentence or URL that the claim stands on
    most_items: ClassVar[int]  # in one request
    most_bytes: ClassVar[int]  # of one request's body
    largest_item: ClassVar[int]  # bytes of one payload

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a declaration that does not say what fits, or what a lost answer means."""
        super().__init_subclass__(**options)
        if "replays" in cls.__dict__:
            return  # a word of the vocabulary, and no vendor's
        if getattr(cls, "replay", None) not in cls.replays:
            either = " or ".join(sorted(each.name for each in cls.replays))
            raise TypeError(f"{cls.__name__} does not say what a repeat does: {either}.")
        if not getattr(cls, "replay_proof", ""):
            raise TypeError(f"{cls.__name__} does not say on what that stands: set `replay_proof`.")
        for limit in ("most_items", "most_bytes", "largest_item"):
            if getattr(cls, limit, 0) < 1:
                raise TypeError(f"{cls.__name__} does not say what fits into one request: set `{limit}`.")

    def traits(self, settings: Values) -> tuple[str, ...]:
        """Return the names of the traits that go to the vendor: those that the connection's setting `traits` names."""
        return trait_names(settings.get("traits"))

    def payload(self, item: Item, settings: Values) -> Json:
        """Return what goes to the vendor for one of them: no credentials, and the same every time for the same thing.

        Raises:
            Missing: the vendor cannot take it without what is not known (it is skipped, with this reason).
            Rejected: it cannot be expressed there.

        """
        raise NotImplementedError

    def send(self, api: "Api", payloads: Sequence[Json]) -> Sequence[Verdict]:
        """Send a batch in one request, and return what the vendor said of each payload, in their order.

        A sentence holds a value out of the answer. Raises a Failure for what concerns all of them; a batch that is refused
        for its contents (`Rejected`) is sent again in halves, until the refused one stands alone.
        """
        raise NotImplementedError


class Forwarder(Batched[ForwardedEvent]):
    """How a vendor takes events. One for each analytics connector, as `Connector.forwarder`."""

    key: ClassVar[str] = "forward_events"
    label: ClassVar[str] = "Forward event"
    replays = frozenset({Replay.KEY, Replay.NATURAL, Replay.NEVER})  # KEY: the vendor recognises an event's id
    browser: ClassVar[frozenset[str]] = frozenset()  # names of the values of an event's context that it wants
    check_at: ClassVar[str] = ""  # where a person looks whether an event arrived

    @property
    def repeat_in_words(self) -> str:
        """What becomes of events whose answer was lost, as the connector's page says it."""
        if self.replay is Replay.NEVER:
            return "Not repeated: an event whose answer was lost is given up, since it might be counted twice."
        return "Sent again when an answer was lost: a repeat is recognised, and counts once."

    def wants_visitor(self, settings: Values) -> bool:
        """Whether the visitor's address and browser are kept with an event and sent: the setting `locate`, where there is one."""
        return bool(settings.get("locate"))

    def name(self, event: ForwardedEvent, settings: Values) -> str:
        """Return what an event is called at the vendor."""
        return event_name(event, settings)

    def together(self, payload: Json) -> Hashable:
        """Return what must be alike of all events in one request, for a vendor that takes one person's at a time."""
        return None
