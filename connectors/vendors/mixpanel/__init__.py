"""Mixpanel, ingestion API: events by /import, profiles by /engage. https://developer.mixpanel.com/reference."""

from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest
from requests.auth import AuthBase, HTTPBasicAuth

from connectors.answers import Answer
from connectors.base import (
    Category,
    Connector,
    PatternField,
    ProbeLine,
    SecretField,
    Support,
    Values,
    account_choice,
    identity,
)
from connectors.failures import BadCredentials, Failure, Undocumented, refused
from connectors.forwarders import EventNames, TraitNames, locate_choice
from connectors.http import Api
from connectors.pushes import nightly_choice
from connectors.vendors.mixpanel.events import Events, TrackCustomEvent
from connectors.vendors.mixpanel.profiles import DOCS, Profiles

HOSTS = {
    "us": "https://api.mixpanel.com",
    "eu": "https://api-eu.mixpanel.com",
    "in": "https://api-in.mixpanel.com",
}


class ServiceAccount(HTTPBasicAuth):
    """Signs all but /engage, which knows the project by its token and takes no other credentials."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Return the request, signed where it is to be."""
        if not urlsplit(str(request.url)).path.endswith("/engage"):
            super().__call__(request)  # type: ignore[no-untyped-call]  # it signs in place
        return request


class Mixpanel(Connector):
    """The vendor."""

    key, label, category = "mixpanel", "Mixpanel", Category.ANALYTICS
    description = "Product analytics. Gets every impression and answer, and the user traits that you choose."
    aliases = ("analytics", "events", "tracking")
    support = Support.CONTRACT
    docs_url = f"{DOCS}/import-events"
    forwarder, push = Events, Profiles
    actions = (TrackCustomEvent,)
    base_urls, chosen_by = HOSTS, "region"
    setup_steps = (
        "In Mixpanel, open Settings > Project Settings > Overview, and copy the project id and the project token.",
        "Under Organization Settings > Service Accounts, add one with the role Admin or Owner in this project.",
        "Copy its user name and its secret, which is shown once. When it expires, events wait for a new one.",
        "On the same overview, see where the project's data resides: United States, European Union or India.",
        "Enter all of it here, test the connection, and switch it on: from then on every event is sent within seconds.",
    )

    class Settings(EventNames):
        """Which project, and what it gets."""

        region = account_choice(
            "Data residency",
            [("us", "United States"), ("eu", "European Union"), ("in", "India")],
            help_text="Where the project keeps its data. With another one Mixpanel refuses the account.",
        )
        project_id = identity(
            PatternField(r"[0-9]{1,20}", label="Project id", shape="A number, from the project's settings.")
        )
        service_account = identity(
            PatternField(
                r"[\x21-\x7e]{1,200}",
                label="Service account",
                shape="Its user name, such as engage.a1b2c3.mp-service-account.",
            )
        )
        service_account_password = SecretField(
            label="Service account's secret", help_text="Shown once, when the account is made."
        )
        project_token = SecretField(
            label="Project token",
            usual_length=32,
            names_account=True,
            help_text="From the project's settings. Profiles are set with it.",
        )
        traits = TraitNames(
            "They become properties of the person's profile whenever the person sees or answers a prompt."
        )
        traits_nightly = nightly_choice("Mixpanel")
        locate = locate_choice("Mixpanel shows countries and cities by them.")
        field_order = (
            "region",
            "project_id",
            "service_account",
            "service_account_password",
            "project_token",
            "event_prefix",
            "traits",
            "traits_nightly",
            "locate",
        )

    def environment(self, settings: Values) -> str:
        """The project's number: production and trial projects differ by nothing else."""
        return f"Project {settings['project_id']}"

    def auth(self, settings: Values) -> AuthBase:
        """The service account."""
        return ServiceAccount(settings["service_account"], settings["service_account_password"])

    def probe(self, api: Api) -> list[ProbeLine]:
        """List lookup tables, a read that needs the account and the project.

        UNVERIFIED: that it answers an account of a lower role; so nothing is said of the role.
        """
        project = str(api.settings["project_id"])
        if api.get("lookup-tables", params={"project_id": project})["status"] != "OK":
            raise Undocumented("Mixpanel answered, and did not say OK.")
        return [
            ProbeLine(True, f"Mixpanel knows the service account in project {project}."),
            ProbeLine(
                None, "Whether its role (Admin or Owner) suffices and the token is right, the first events will show."
            ),
        ]

    def failure(self, answer: Answer) -> Failure | None:
        """/engage says "no" inside a 200: `0`, or `status` 0 with the reason. Elsewhere `error` holds the words."""
        data: Any = answer.data
        if answer.status == 200 and type(data) is int and data == 0:
            return refused(self.label)
        if answer.status == 200 and isinstance(data, dict) and data.get("status") == 0:
            return refused(self.label, str(data.get("error") or ""))
        if answer.status == 401 and isinstance(data, dict) and isinstance(data.get("error"), str):
            return BadCredentials(
                f"Mixpanel does not accept the service account: {data['error'][:200]}. "
                "Its secret, its role in the project (Admin or Owner), the project id and the region may be the reason."
            )
        return super().failure(answer)
