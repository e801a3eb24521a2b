"""Segment: events and traits out by the Tracking API, events in by a webhook destination.

https://segment.com/docs/connections/sources/catalog/libraries/server/http-api. The API answers 200 to whatever is JSON and not too
large: also to a write key of nobody, and to an event that it then drops. So what it would drop is refused here before.
"""

from collections.abc import Mapping

from django.core.validators import RegexValidator
from requests.auth import AuthBase, HTTPBasicAuth

from connectors.auth import BearerKey, NoAuth
from connectors.base import (
    Category,
    Connector,
    ObjectField,
    PatternField,
    ProbeLine,
    SecretField,
    SigningSecretField,
    Values,
    account_choice,
    object_in,
)
from connectors.forwarders import EventNames, TraitNames, locate_choice
from connectors.http import Api
from connectors.pushes import nightly_choice
from connectors.vendors.segment.outbound import DOCS, Events, Group, Identify, Identities, Track
from connectors.vendors.segment.webhooks import Webhooks, check_taken

# https://segment.com/docs/guides/regional-segment. Another page names eu1.api.segmentapis.com; UNVERIFIED which is newer, and
# with a wrong one events are lost without a word, so the regional guide's host counts.
HOSTS = {"us": "https://api.segment.io/v1", "eu": "https://events.eu1.segmentapis.com/v1"}
PUBLIC = {"us": "https://api.segmentapis.com", "eu": "https://eu1.api.segmentapis.com"}  # UNVERIFIED: the EU's


class Segment(Connector):
    """The vendor."""

    key, label, category = "segment", "Segment", Category.ANALYTICS
    description = "Customer data platform. Gets every impression and answer, and traits; its own events become traits."
    aliases = ("twilio", "cdp", "analytics", "tracking")
    docs_url = DOCS
    forwarder, push = Events, Identities
    actions = (Track, Identify, Group)
    inbound = Webhooks()
    base_urls, chosen_by = HOSTS, "region"
    probe_proves_secrets = False
    setup_steps = (
        "In Segment, open Connections > Sources, add a source of the kind HTTP API, and copy its write key.",
        "See under Workspace settings in which region the workspace is. With another one events are lost without a word.",
        "Segment answers 200 to every write key, also to a wrong one: look in the source's Debugger whether events arrive.",
        "With a Public API token (Workspace settings > Access management > Tokens) a test can see whether the key is yours.",
        "Switch it on: from then on every event is sent within seconds.",
    )

    class Settings(EventNames):
        """Which source, and what goes out and in."""

        region = account_choice(
            "Region",
            [("us", "United States"), ("eu", "European Union")],
            help_text="Where the workspace's data is kept.",
        )
        write_key = SecretField(
            label="Write key",
            usual_length=32,
            names_account=True,
            help_text="Of the source. A wrong one is answered like a right one, so copy it with care.",
            validators=[RegexValidator(r"\A[A-Za-z0-9]{10,64}\Z", "A write key is made of letters and digits.")],
        )
        public_api_token = SecretField(
            label="Public API token",
            required=False,
            help_text="Optional: with it the test looks whether the write key is one of this workspace's sources.",
        )
        traits = TraitNames("They go along as an identify call whenever the person sees or answers a prompt.")
        traits_nightly = nightly_choice("Segment")
        locate = locate_choice("Destinations behind Segment see countries and devices by them.")
        webhook_secret = SigningSecretField(
            help_text="A long random text of your own; enter the same as the shared secret of the webhook destination."
        )
        taken = ObjectField(
            label="What becomes traits",
            required=False,
            example='{"Episode Watched": {"last_watched_at": "timestamp", "last_title": "properties.title"}, '
            '"identify": {"city": "traits.address.city"}}',
            help_text="By the name of a track, page or screen event, or identify: names of traits, and where in the event "
            "their values are.",
        )
        id_trait = PatternField(
            "[a-z][a-z0-9_]{0,79}",
            label="Trait with Segment's user id",
            required=False,
            shape="A trait's name. Empty: your user ids are Segment's.",
        )
        field_order = (
            "region",
            "write_key",
            "public_api_token",
            "event_prefix",
            "traits",
            "traits_nightly",
            "locate",
            "webhook_secret",
            "taken",
            "id_trait",
        )

        def clean_taken(self) -> str:
            """Refuse what names no traits."""
            text: str = self.cleaned_data["taken"]
            check_taken(object_in(text) if text else {})
            return text

    def environment(self, settings: Values) -> str:
        """Of which environment a source is, only Segment knows."""
        return "European Union" if settings["region"] == "eu" else "United States"

    def hosts(self, settings: Values) -> Mapping[str, str]:
        """The Public API."""
        return {"public": PUBLIC[settings["region"]]}

    def auth(self, settings: Values) -> AuthBase:
        """The write key, with an empty password."""
        return HTTPBasicAuth(settings["write_key"], "")

    def auth_at(self, host: str, settings: Values) -> AuthBase:
        """Sign what goes to the Public API by its token."""
        token = settings.get("public_api_token")
        return BearerKey(token) if token else NoAuth()

    def probe(self, api: Api) -> list[ProbeLine]:
        """Look for the write key among the workspace's sources, where there is a token; nothing else can be tested."""
        if not api.settings.get("public_api_token"):
            return [
                ProbeLine(
                    None,
                    "The write key cannot be tested: Segment answers 200 to every one. Look in the source's Debugger "
                    "whether events arrive, or enter a Public API token.",
                )
            ]
        data = api.at("public").get("sources").part("data")
        named = [
            one.text("name") for one in data.rows("sources") if api.settings["write_key"] in one.texts("writeKeys")
        ]
        if named:
            return [ProbeLine(True, f"The write key is that of the source {named[0]}.")]
        if data.inner("pagination").get("next"):
            return [ProbeLine(None, "The write key is not among the first sources that Segment lists; there are more.")]
        return [ProbeLine(False, "No source of this workspace has the write key.")]
