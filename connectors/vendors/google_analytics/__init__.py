"""Google Analytics 4, Measurement Protocol: every event of a prompt, beside the site's own.

https://developers.google.com/analytics/devguides/collection/protocol/ga4. Google answers every request alike, keys of nobody
included, and counts a repeat twice. So nothing is repeated whose answer was lost, and what it would drop is refused here before.
The protocol of Universal Analytics (/collect, UA- ids) is gone since July 2024.
"""

from dataclasses import replace

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from requests.auth import AuthBase

from connectors.auth import QueryKey
from connectors.base import (
    Category,
    Connector,
    PatternField,
    ProbeLine,
    SecretField,
    Values,
    account_choice,
    identity,
)
from connectors.forwarders import EVENT_WORDS, EXAMPLE, EventNames, TraitNames, locate_choice, trait_names
from connectors.http import Api
from connectors.vendors.google_analytics.events import (
    DOCS,
    LONGEST_NAME,
    LONGEST_PROPERTY_NAME,
    MOST_PROPERTIES,
    NAME,
    RESERVED_PREFIXES,
    Events,
    SendEvent,
    free_name,
    stream_of,
)

HOSTS = {"global": "https://www.google-analytics.com", "eu": "https://region1.google-analytics.com"}


class GoogleAnalytics(Connector):
    """The vendor."""

    key, label, category = "google_analytics", "Google Analytics", Category.ANALYTICS
    description = "Web analytics (GA4). Gets every impression and answer beside the site's own events."
    aliases = ("ga4", "gtag", "measurement protocol", "google")
    docs_url = DOCS
    forwarder = Events
    actions = (SendEvent,)
    base_urls, chosen_by = HOSTS, "region"
    probe_proves_secrets = False
    setup_steps = (
        "In Google Analytics, open Admin > Data streams and choose the web stream of your site; copy its measurement id (G-…).",
        "On the same page, open Measurement Protocol API secrets, create one, and copy its value.",
        "Your site must load Google's tag: the client id by which Google knows a browser is read from its cookie by engage.js.",
        "Google answers every secret alike, so a test can only check the format of our events.",
        "To see that they arrive, switch on debug mode, answer a prompt, and look in Admin > DebugView; then switch it off.",
        "App streams (Firebase) are not offered: their ids are not known here.",
    )

    class Settings(EventNames):
        """Which stream, and what it gets."""

        region = account_choice(
            "Where data is received",
            [("global", "Anywhere"), ("eu", "European Union")],
            help_text="The property's data stays where it is; this is where our requests go.",
        )
        measurement_id = identity(
            PatternField(
                "G-[A-Z0-9]{4,20}", label="Measurement id", shape="G- with letters and digits, of the data stream."
            )
        )
        api_secret = SecretField(
            label="API secret",
            help_text="Of the data stream, under Measurement Protocol API secrets.",
            validators=[RegexValidator(r"\A[A-Za-z0-9_-]{6,100}\Z", "It is made of letters, digits, - and _.")],
        )
        traits = TraitNames(
            "They become user properties of the person's events; no e-mail addresses or names: Google's terms forbid them."
        )
        send_user_id = forms.BooleanField(
            label="Send user ids",
            required=False,
            help_text="Only where your user ids say nothing of who it is; ids with an @ are never sent.",
        )
        made_client_ids = forms.BooleanField(
            label="Also people without Google's cookie",
            required=False,
            help_text="They get a client id made of their user id, and count as a browser of their own. Off: their events are left "
            "out, and counted.",
        )
        locate = locate_choice("Google Analytics shows countries and devices by them.")
        ad_consent = forms.ChoiceField(
            label="Consent to advertising",
            required=False,
            choices=[("", "Say nothing"), ("GRANTED", "Granted"), ("DENIED", "Denied")],
            help_text="Goes with every event, for Google's use of it in advertising.",
        )
        debug_mode = forms.BooleanField(
            label="Debug mode", required=False, help_text="Events are shown in DebugView as they arrive."
        )

        field_order = (
            "region",
            "measurement_id",
            "api_secret",
            "event_prefix",
            "traits",
            "send_user_id",
            "made_client_ids",
            "locate",
            "ad_consent",
            "debug_mode",
        )

        def clean_event_prefix(self) -> str:
            """Refuse what would make names that Google does not take."""
            prefix: str = self.cleaned_data["event_prefix"]
            each = (replace(EXAMPLE, interaction=interaction) for interaction in EVENT_WORDS)
            names = [Events().name(event, {"event_prefix": prefix}) for event in each]
            if not all(NAME.fullmatch(name) for name in names):
                raise ValidationError(
                    f"With it names are longer than {LONGEST_NAME} characters, or begin with no letter."
                )
            for name in names:
                free_name(name)
            return prefix

        def clean_traits(self) -> str:
            """Refuse what Google does not take as user properties."""
            text: str = self.cleaned_data["traits"]
            names = trait_names(text)
            wrong = [n for n in names if len(n) > LONGEST_PROPERTY_NAME or n.startswith(RESERVED_PREFIXES)]
            if wrong or len(names) > MOST_PROPERTIES:
                raise ValidationError(
                    f"Google Analytics takes {MOST_PROPERTIES} user properties at most, of {LONGEST_PROPERTY_NAME} characters, and "
                    f"none that begin with {', '.join(RESERVED_PREFIXES)}."
                )
            return text

    def environment(self, settings: Values) -> str:
        """A stream is what it is used for."""
        return str(settings["measurement_id"])

    def auth(self, settings: Values) -> AuthBase:
        """The secret, in the query."""
        return QueryKey("api_secret", settings["api_secret"])

    def probe(self, api: Api) -> list[ProbeLine]:
        """Let Google validate the format of an event; it records nothing there, and looks at no secret."""
        payload = Events().payload(EXAMPLE, api.settings)
        event = {name: value for name, value in payload.items() if name not in {"event", "consent"}}
        body = {**event, "events": [payload["event"]], "validation_behavior": "ENFORCE_RECOMMENDATIONS"}
        answer = api.read("debug", "mp", "collect", params=stream_of(api.settings), json=body)
        wrong = [str(one.get("description") or "no reason was given") for one in answer.rows("validationMessages")]
        if wrong:
            return [ProbeLine(False, f"Google does not take our events: {' '.join(wrong)[:500]}")]
        return [
            ProbeLine(True, "Google takes events of this format."),
            ProbeLine(None, "Whether the measurement id and the secret are right cannot be tested: look in DebugView."),
        ]
