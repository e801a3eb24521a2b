"""What Braze sends: campaigns and canvases that an API triggers, and transactional e-mail.

https://www.braze.com/docs/api/endpoints/messaging. A trigger is not deduplicated; a transactional mail is, by an id of ours.
"""

from datetime import timedelta
from typing import ClassVar

from django.core.validators import RegexValidator

from connectors.answers import Answer
from connectors.base import USER_ID, CatalogueField, Json, Needs, Replay, Values, given, if_known
from connectors.custom_events import Properties, WithProperties, custom_properties
from connectors.failures import Missing
from connectors.http import Api
from connectors.vendors.braze.users import CHECK_AT, DOCS, EXTERNAL_ID, PERSON, external_id_of, person

API_ID = RegexValidator(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", "It is no id of Braze's.")
# https://www.braze.com/docs/api/objects_filters/recipient_object: of several users with an address this one is meant
PRIORITIZATION = ["identified", "most_recently_updated"]


def recipient(api: Api, user: Json) -> Json:
    """Return to whom it goes: exactly one identifier; raise Missing where there is none."""
    who = person(api, user)
    if "external_id" in who:
        return {"external_user_id": who["external_id"]}
    return {**who, "prioritization": PRIORITIZATION}


class Send(WithProperties):
    """A message that was made in Braze, to one person. Properties are filled into it."""

    needs = PERSON
    check_at = CHECK_AT
    path: ClassVar[str]  # of what is sent; its id is an input
    properties: ClassVar[str] = "trigger_properties"  # what Braze calls what is filled in

    def filled_in(self, user: Json, inputs: Values) -> Json:
        """Return what is filled into the message, under Braze's name; nothing where there is nothing."""
        known = custom_properties(user, inputs)
        return {self.properties: known} if known else {}


class Trigger(Send):
    """One that goes out once for each request."""

    replay = Replay.NEVER
    replay_proof = (
        f"{DOCS}/messaging/send_messages/post_send_triggered_campaigns: no request is recognised when it comes again"
    )

    def trigger(self, api: Api, user: Json, inputs: Values, chosen: Json) -> str:
        """Trigger it. `broadcast` is said too: without a recipient, and without it, everybody in the segment gets the message."""
        who = {**recipient(api, user), **self.filled_in(user, inputs)}
        return accepted(
            api.post(self.path, "trigger", "send", json={**chosen, "recipients": [who], "broadcast": False})
        )


class CampaignTrigger(Trigger):
    """A campaign."""

    key, label = "campaign_trigger", "Trigger campaign"
    description = "Sends the subscriber a campaign whose delivery is API-triggered."
    path = "campaigns"

    class Inputs(Properties):
        """Which campaign, and what is filled in."""

        campaign_id = CatalogueField("campaigns", validators=[API_ID], label="Campaign", help_text="API-triggered.")
        field_order = ("campaign_id", "properties", "traits")

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Trigger it."""
        return self.trigger(api, user, inputs, {"campaign_id": inputs["campaign_id"]})


class CanvasTrigger(Trigger):
    """A canvas."""

    key, label = "canvas_trigger", "Trigger canvas"
    description = "Lets the subscriber enter a canvas whose entry is API-triggered."
    path = "canvas"
    properties = "canvas_entry_properties"

    class Inputs(Properties):
        """Which canvas, and what is filled in."""

        canvas_id = CatalogueField("canvases", validators=[API_ID], label="Canvas", help_text="API-triggered.")
        field_order = ("canvas_id", "properties", "traits")

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Trigger it."""
        return self.trigger(api, user, inputs, {"canvas_id": inputs["canvas_id"]})


class TransactionalEmail(Send):
    """A mail that has to arrive once."""

    key, label = "transactional_email", "Send transactional email"
    description = (
        "Sends the subscriber a transactional campaign, which is an add-on of Braze's. They must have an external id there: "
        "Braze takes no address for it."
    )
    needs = given(USER_ID) & if_known(EXTERNAL_ID)
    replay = Replay.KEY
    replay_proof = f"{DOCS}/messaging/send_messages/post_send_transactional_message: `external_send_id` is deduplicated"
    key_kept = timedelta(hours=24)
    path = "transactional"

    class Inputs(Properties):
        """Which campaign, and what is filled in."""

        campaign_id = CatalogueField("campaigns", validators=[API_ID], label="Campaign", help_text="Transactional.")
        field_order = ("campaign_id", "properties", "traits")

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Send it, with an id that all tries share."""
        who = {"external_user_id": external_id_of(api, user)}
        if not who["external_user_id"]:
            raise Missing(Needs.lacking((EXTERNAL_ID,)))
        body = {"external_send_id": api.tag, "recipient": who, **self.filled_in(user, inputs)}
        answer = api.post(self.path, "v1", "campaigns", inputs["campaign_id"], "send", json=body)
        return f"Braze says “{answer.text('status')}” (dispatch {answer.text('dispatch_id')})"


def accepted(answer: Answer) -> str:
    """Say what a trigger came to: the dispatch that Braze names, or that it waits while Braze is being maintained (202)."""
    if answer.shows("message", "success", "queued") == "queued":
        return "Braze has queued it, and gives it no dispatch yet"
    return f"Braze has accepted it (dispatch {answer.text('dispatch_id')})"
