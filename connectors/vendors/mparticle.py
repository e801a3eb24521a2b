"""mParticle (by Rokt), Events API of a Custom Feed: every event of a prompt, and user attributes.

https://docs.mparticle.com/developers/apis/http. A request is answered with 202 also where batches in it fail, so what it would
drop is refused here before. A batch is of one person; each event has one of its own, with an id by which mParticle tells a repeat.
"""

from collections.abc import Sequence

from django import forms
from requests.auth import AuthBase, HTTPBasicAuth

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
    account_choice,
    identity,
)
from connectors.bodies import without_empty
from connectors.failures import Missing, Rejected
from connectors.forwarders import (
    EventNames,
    ForwardedEvent,
    Forwarder,
    TraitNames,
    Verdict,
    locate_choice,
    prompt_properties,
)
from connectors.http import Api
from connectors.times import milliseconds

DOCS = "https://docs.mparticle.com/developers"
PODS = ("us1", "us2", "eu1", "au1")
# DOCS/guides/data-localization: the pod that the feed's page shows.
HOSTS = {pod: f"https://s2s.{pod}.mparticle.com/v2" for pod in PODS}
# DOCS/guides/default-service-limits: 100 batches and 256 kB in a request, 128 kB in a batch; the guide also says 100 events.
MOST_BATCHES, MOST_BYTES, LARGEST_BATCH = 100, 240_000, 120_000
LONGEST_NAME, LONGEST_VALUE, MOST_ATTRIBUTES = 256, 4096, 100


class Events(Forwarder):
    """Every event, in a batch of its own."""

    description = "Every impression and answer, with its prompt, and the traits that you name as user attributes."
    replay = Replay.KEY
    replay_proof = f"{DOCS}/apis/json-reference: a batch's source_request_id is remembered for a month at least"
    most_items, most_bytes, largest_item = MOST_BATCHES, MOST_BYTES, LARGEST_BATCH
    check_at = "In mParticle, open Data Master > Live Stream and look for the customer id."

    def payload(self, event: ForwardedEvent, settings: Values) -> Json:
        """The batch of an event, as far as mParticle takes it."""
        if event.interaction == "impression" and not settings.get("impressions", True):
            raise Missing("Impressions are not sent, as the settings say.")
        name = self.name(event, settings)
        told = {_own(each): str(value)[:LONGEST_VALUE] for each, value in prompt_properties(event).items()}
        attributes = {each: str(value)[:LONGEST_VALUE] for each, value in event.traits.items()}
        if len(name) > LONGEST_NAME or len(attributes) > MOST_ATTRIBUTES:
            raise Rejected(
                f"mParticle takes names of {LONGEST_NAME} characters and {MOST_ATTRIBUTES} attributes at most."
            )
        data = {
            "event_name": name,
            "custom_event_type": "other",
            "source_message_id": event.key,
            "timestamp_unixtime_ms": milliseconds(event.time),
            "custom_attributes": told,
        }
        batch = {
            "environment": settings["mode"],
            "source_request_id": event.key,
            "user_identities": {"customer_id": event.user_id},
            "user_attributes": attributes,
            "ip": event.address,
            "device_info": {"http_header_user_agent": event.user_agent} if event.user_agent else None,
            "events": [{"event_type": "custom_event", "data": data}],
        }
        return without_empty(batch)

    def send(self, api: Api, payloads: Sequence[Json]) -> Sequence[Verdict]:
        """Many batches in one request."""
        answer = api.post("bulkevents", json=list(payloads)).with_status(202)
        return [f"mParticle took it in (status {answer.status}); what becomes of it, its Live Stream shows"] * len(
            payloads
        )


def _own(name: str) -> str:
    """Return a property's name as Recurly Engage sends it here: prompt_id, where other vendors get promo_id."""
    return f"prompt_{name.removeprefix('promo_')}" if name.startswith("promo_") else name


class MParticle(Connector):
    """The vendor."""

    key, label, category = "mparticle", "mParticle", Category.ANALYTICS
    description = "Customer data platform. Gets every impression and answer, and the user traits that you choose."
    aliases = ("rokt", "cdp", "analytics", "events")
    support = Support.CONTRACT
    docs_url = f"{DOCS}/apis/http"
    forwarder = Events
    base_urls, chosen_by = HOSTS, "pod"
    forbidden_is_bad_credentials = True  # the API's description: 403 is "key/secret are present but not valid"
    setup_steps = (
        "In mParticle, open Setup > Inputs > Feeds, add a Custom Feed, and copy its key and secret.",
        "The same page shows the feed's address: its pod (us1, us2, eu1 or au1) is chosen here.",
        "Development sends to the same feed, marked as test data; switch to Production when its Live Stream shows what you expect.",
        "mParticle counts events per user and day by contract; impressions are most of them, and may be left out.",
    )

    class Settings(EventNames):
        """Which feed, and what it gets."""

        pod = account_choice(
            "Pod", [(pod, pod.upper()) for pod in PODS], help_text="Of the feed's address, s2s.<pod>.mparticle.com."
        )
        mode = forms.ChoiceField(
            label="Environment",
            choices=[("production", "Production"), ("development", "Development")],
            help_text="Development is test data in the same workspace.",
        )
        server_key = identity(PatternField(r"[\x21-\x7e]{1,200}", label="Key", shape="The feed's key."))
        server_secret = SecretField(label="Secret", help_text="The feed's secret.")
        impressions = forms.BooleanField(
            label="Send impressions", required=False, initial=True, help_text="Off: only answers are sent."
        )
        traits = TraitNames("They become user attributes whenever the person sees or answers a prompt.")
        locate = locate_choice("mParticle and what is behind it see countries and devices by them.")
        field_order = ("pod", "mode", "server_key", "server_secret", "event_prefix", "impressions", "traits", "locate")

    def is_sandbox(self, settings: Values) -> bool:
        """Development is."""
        return bool(settings["mode"] == "development")

    def auth(self, settings: Values) -> AuthBase:
        """The feed's key and secret."""
        return HTTPBasicAuth(settings["server_key"], settings["server_secret"])

    def probe(self, api: Api) -> list[ProbeLine]:
        """Send a batch without events, as test data, which changes nothing.

        UNVERIFIED: whether that is a 202 or a 400; either comes after the credentials were taken, of which 401 and 403 tell.
        """
        try:
            empty = {"environment": "development", "events": [], "user_identities": {}}
            api.read("events", json=empty).with_status(202)
        except Rejected as no:
            if no.status != 400:
                raise
        return [
            ProbeLine(True, "mParticle takes the feed's key and secret."),
            ProbeLine(None, "What becomes of events, only its Live Stream shows."),
        ]
