"""Adobe: Experience Platform and Analytics by the Edge Network, Journey Optimizer by calls of its own.

https://developer.adobe.com/data-collection-apis/docs/
"""

import re
from typing import Any

from django import forms
from requests.auth import AuthBase

from connectors.answers import Answer
from connectors.auth import ClientCredentials, NoAuth, TokenSource
from connectors.base import (
    Category,
    Connector,
    Json,
    ObjectField,
    PatternField,
    ProbeLine,
    SecretField,
    SigningSecretField,
    Values,
    identity,
    object_in,
)
from connectors.failures import Failure, refused
from connectors.http import Api, Ending
from connectors.vendors.adobe import events
from connectors.vendors.adobe.journeys import Journeys

OPEN, SIGNED = "https://edge.adobedc.net/ee", "https://server.adobedc.net/ee"
SCOPES = "openid,AdobeID,read_organizations,additional_info.projectedProductContext,session"
ERROR = re.compile(r"EXEG-[0-9]{4}")


class Adobe(Connector):
    """Experience Platform, Journey Optimizer and Analytics."""

    key, label, category = "adobe", "Adobe", Category.ANALYTICS
    description = (
        "Gets every impression and answer through a datastream, for Experience Platform and Adobe Analytics. Journeys of Journey "
        "Optimizer set traits here."
    )
    aliases = ("aep", "ajo", "journey optimizer", "adobe analytics", "edge network", "analytics", "events", "cdp")
    docs_url = f"{events.DOCS}/"
    forwarder = events.Events
    actions = (events.SendEvent,)
    inbound = Journeys()
    setup_steps = (
        "In Experience Platform, create a schema of events, and a dataset, with a field group under your tenant's name.",
        "Its fields are activity, app_name, event_timestamp, promo_id and promo_name. What it lacks, Platform refuses later.",
        "In Data Collection, create a datastream with the service Adobe Experience Platform (and Adobe Analytics) and copy its id.",
        "So that only you may write, create a project with an OAuth server-to-server credential in the Developer Console.",
        "Enter that credential here, and let the datastream take authenticated requests only.",
        "Choose the identity namespace of your profiles: the Email ones use the trait email_address, others your user ids.",
        "Test the connection, switch it to Active and save.",
        "For Adobe Analytics, say which field or activity goes into which variable.",
        "So that it knows the visitor, let your page add the ECID to the event's context, as adobe_ecid; else they are new.",
        "On a page with Adobe's Web SDK, a website action that calls alloy tells Adobe Analytics the same without a server.",
    )

    class Settings(forms.Form):
        """Which datastream, how people are known, and the credentials, if there are any."""

        datastream_id = identity(
            PatternField(
                "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
                label="Datastream id",
                shape="Like 3849f3b5-9a2c-4d7e-8b1f-0c6d5e4a2b10.",
            )
        )
        identity_namespace = PatternField(
            "[A-Za-z0-9_]{1,64}",
            label="Identity namespace",
            initial=events.HASHED_EMAIL,
            shape="Its symbol, like Email_LC_SHA256 or CRMID.",
        )
        tenant = PatternField("_[A-Za-z0-9]+", label="Tenant", shape="The name of your fields, like _production.")
        event_type = PatternField(
            r"\S{1,128}",
            label="Event type",
            initial="web.webinteraction.linkClicks",
            shape="One of Adobe's, or one of your own.",
        )
        analytics = ObjectField(
            label="Variables of Adobe Analytics",
            required=False,
            example='{"promo_id": "eVar12", "goal": "event20"}',
            help_text="Which field goes into which eVar, and which activity counts as which event.",
        )
        org_id = identity(
            PatternField(
                "[0-9A-F]{24}@AdobeOrg", label="Organization id", required=False, shape="It ends in @AdobeOrg."
            )
        )
        client_id = identity(
            forms.CharField(
                label="Client id",
                required=False,
                max_length=100,
                help_text="Empty: the datastream takes events of anybody.",
            )
        )
        client_secret = SecretField(label="Client secret", goes_with="client_id", help_text="Of the same credential.")
        # UNVERIFIED: which of them the Edge Network needs; a project's own list is in the Developer Console.
        scopes = forms.CharField(
            label="Scopes",
            required=False,
            max_length=500,
            initial=SCOPES,
            help_text="As the Developer Console shows them.",
        )
        webhook_secret = SigningSecretField(
            label="API key of journeys", help_text="A long random text of yours, which Journey Optimizer sends along."
        )

        def clean_analytics(self) -> str:
            """Only variables that there are."""
            text: str = self.cleaned_data["analytics"]
            for name, variable in (object_in(text) if text else {}).items():
                told = isinstance(variable, str) and (
                    events.EVAR.fullmatch(variable) or events.EVENT.fullmatch(variable)
                )
                if not told:
                    raise forms.ValidationError(f"{name} goes into none of eVar1 to eVar250 and event1 to event1000.")
            return text

        def clean(self) -> Json:
            """The credential belongs to an organization."""
            cleaned: dict[str, Any] = super().clean() or self.cleaned_data
            if cleaned.get("client_id") and not cleaned.get("org_id") and "org_id" not in self.errors:
                self.add_error("org_id", "Needed with a client id.")
            return cleaned

    def environment(self, settings: Values) -> str:
        """The datastream: those of development and production differ by nothing else."""
        return f"Datastream {settings['datastream_id'][:8]}"

    def base_url(self, settings: Values) -> str:
        """Where events go: another host with a credential than without."""
        return SIGNED if settings.get("client_id") else OPEN

    def hosts(self, settings: Values) -> dict[str, str]:
        """Where tokens come from, and where a credential can be tried by reading."""
        return {"token": "https://ims-na1.adobelogin.com", "platform": "https://platform.adobe.io"}

    def auth(self, settings: Values) -> AuthBase | TokenSource:
        """A token for a day, where there is a credential; else nothing."""
        if not settings.get("client_id"):
            return NoAuth()
        return ClientCredentials(
            "ims",
            "token",
            "v3",
            client_id=settings["client_id"],
            client_secret=settings["client_secret"],
            more={"scope": settings.get("scopes") or SCOPES},
        )

    def auth_at(self, host: str, settings: Values) -> AuthBase | TokenSource:
        """The same token at Platform."""
        return self.auth(settings) if host == "platform" else super().auth_at(host, settings)

    def headers(self, settings: Values) -> dict[str, str]:
        """Whose token it is."""
        named = (
            {"x-api-key": settings["client_id"], "x-gw-ims-org-id": settings["org_id"]}
            if settings.get("client_id")
            else {}
        )
        return {"Accept": "application/json", **named}

    def probe(self, api: Api) -> list[ProbeLine]:
        """Try the credential at Platform, and ask the datastream for an id of a visitor, by which no event is stored.

        UNVERIFIED: that asking for one leaves no trace at all.
        """
        lines = []
        if api.settings.get("client_id"):
            at = ("data", "foundation", "sandbox-management", Ending.SLASH)
            number = len(api.at("platform").get(*at).rows("sandboxes"))
            lines.append(ProbeLine(True, f"Adobe accepts the credential, which sees {number} sandboxes."))
        wish = {"query": {"identity": {"fetch": ["ECID"]}}}
        params = {"configId": api.settings["datastream_id"]}
        api.read("v1", "identity", "acquire", params=params, json=wish).rows("handle")
        lines.append(ProbeLine(True, "The datastream is there."))
        lines.append(
            ProbeLine(None, "Whether the schema has the fields that are sent, the first events will show in Platform.")
        )
        return lines

    def said(self, answer: Answer) -> tuple[str, str]:
        """Read `application/problem+json`: the code is the last part of `type`."""
        code = ERROR.search(str(answer.get("type", "")) if isinstance(answer.get("type"), str) else "")
        words = ": ".join(text for name in ("title", "detail") if isinstance(text := answer.get(name), str) and text)
        return (code[0] if code else ""), words or super().said(answer)[1]

    def failure(self, answer: Answer) -> Failure | None:
        """A 500 with a code of Adobe's own is no passing trouble: "do not retry"."""
        code, words = self.said(answer)
        if answer.status == 500 and code:
            return refused(self.label, words, code=code)
        return super().failure(answer)
