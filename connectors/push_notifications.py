"""What push services share: a notification on a device of the person's, at the address by which the service knows the device.

The addresses are traits as files of push endpoints bring them (`endpoint_fcm`, `endpoint_apns`, `endpoint_adm`, ...). A subclass
for each service says how a message is sent there.
"""

import json
import time
from dataclasses import dataclass
from typing import ClassVar

from django import forms

from connectors.base import Action, Json, PatternField, Replay, Result, TemplateField, Values
from connectors.choosing import filled_in, require, text_in
from connectors.failures import Rejected
from connectors.http import Api

ADDRESS = "[!-~]{1,2000}"  # no service says what its addresses are made of; none of them holds a blank
HOURS = 28 * 24  # FCM's longest; APNs and ADM keep a message a few days longer


@dataclass(frozen=True)
class Message:
    """What is sent to a device.

    Args:
        title: as the device shows it, traits filled in.
        text: the same.
        link: what the app opens when it is tapped; empty: just the app.
        seconds: for which the service keeps it while the device cannot be reached.
        tag: names it: another one of this name takes its place on the device, and does not stand beside it.

    """

    title: str
    text: str
    link: str
    seconds: int
    tag: str

    @property
    def data(self) -> dict[str, str]:
        """What the app gets beside what is shown."""
        return {"link": self.link} if self.link else {}

    @property
    def until(self) -> int:
        """When it is worth nothing any more, in Unix time."""
        return int(time.time()) + self.seconds


class PushNotification(Action):
    """A notification to the device at an address that the person's traits hold.

    No push service takes an idempotency key, so it is never sent again blindly. Each takes a name for a message instead: where a
    person has it run again, the device shows it once all the same.
    """

    key, label = "push", "Send push notification"
    replay = Replay.NEVER
    replay_proof = "No push service recognises a request that comes again: every request is a message."
    most_bytes: ClassVar[int]  # of what the device gets, as the service states it

    class Inputs(forms.Form):
        """What the device shows, and for how long that is worth showing."""

        title = TemplateField(label="Title", rows=1, max_length=200, help_text="One line.")
        text = TemplateField(
            label="Text", rows=3, max_length=2000, help_text="Devices show about the first 150 characters."
        )
        link = PatternField(
            r"[A-Za-z][A-Za-z0-9+.-]*://[!-~]+",
            required=False,
            max_length=500,
            label="Link",
            shape="Like https://example.com/offers or streamly://offers.",
            help_text="What your app opens when the notification is tapped: it gets it as “link”. Empty: just the app.",
        )
        hours = forms.IntegerField(
            min_value=1,
            max_value=HOURS,
            initial=24,
            label="Hours to wait",
            help_text=f"For a device that is off or without a network. 1 to {HOURS}, which are 28 days.",
        )

    def send(self, api: Api, address: str, message: Message) -> Result:
        """Send it. Returns the sentence with the service's name of it; raise Rejected, by `unregistered` where it fits."""
        raise NotImplementedError

    def perform(self, api: Api, user: Json, inputs: Values) -> Result:
        """Fill it in and send it."""
        address = self.address_in(user)
        title, text = (filled_in(inputs[name], user, name) for name in ("title", "text"))
        return self.send(api, address, Message(title, text, inputs["link"], inputs["hours"] * 3600, api.tag))

    def address_in(self, user: Values) -> str:
        """Return the device's address out of the first of the needed traits that is known.

        Raises:
            Rejected: it holds none.

        """
        name = next(name for name in self.needs.traits if name in user)
        return text_in(user, name, ADDRESS, "address of a device")

    def fitting(self, payload: Json) -> Json:
        """Return what the device gets, if the service takes as much.

        Raises:
            Rejected: it does not.

        """
        size = len(json.dumps(payload))  # as it leaves us: in ASCII
        why = f"Filled in, the notification has {size:,} bytes; {self.most_bytes:,} are possible. Shorten its text."
        require(size <= self.most_bytes, why)
        return payload


def unregistered(service: str, *, code: str = "") -> Rejected:
    """Return the refusal of a service that does not know an address any more."""
    why = f"{service} says that the device is no longer registered: the app was removed from it, or has a new address."
    return Rejected(why, code=code)
