"""Braze, REST API: users, events, and messages that are triggered. https://www.braze.com/docs/api/basics."""

from django import forms
from requests.auth import AuthBase

from connectors.answers import Answer, words_of
from connectors.auth import BearerKey
from connectors.base import (
    WRITING_UNTESTED,
    Catalogue,
    Category,
    Connector,
    Json,
    PatternField,
    ProbeLine,
    Rate,
    SecretField,
    Values,
    identity,
    listed,
)
from connectors.failures import BadCredentials, Failure, Rejected, refused
from connectors.forwarders import TraitNames
from connectors.http import Api
from connectors.pushes import nightly_choice
from connectors.vendors.braze import sending, users

# https://www.braze.com/docs/api/basics/#endpoints: every instance has an endpoint of this form
ENDPOINT = r"(https://)?rest\.[a-z]{2,4}-[0-9]{2}\.braze\.(com|eu)/?"
LIST = {"page": 0, "include_archived": "false", "sort_direction": "desc"}
FORBIDDEN = "do not have permission"  # of a valid key that lacks one; UNVERIFIED: whether with 401 or 403


def endpoint_of(endpoint: str) -> str:
    """Return an endpoint as a URL."""
    return f"https://{endpoint.removeprefix('https://').rstrip('/')}"


class Braze(Connector):
    """Customer engagement by Braze."""

    key, label, category = "braze", "Braze", Category.CRM
    description = (
        "Add users with their e-mail address, update attributes, track events, trigger campaigns and canvases."
    )
    aliases = ("customer engagement", "push", "email", "e-mail", "campaign", "canvas", "marketing automation", "crm")
    docs_url = "https://www.braze.com/docs/api/basics"
    push = users.Attributes
    actions = (
        users.AddEmail,
        users.TrackEvent,
        sending.CampaignTrigger,
        sending.CanvasTrigger,
        sending.TransactionalEmail,
        users.UpdateAttributes,
    )
    # UNVERIFIED: whether `is_api_campaign` is true of campaigns that an API triggers, so none is left out.
    catalogues = {
        "campaigns": Catalogue("Campaigns", listed("campaigns", "list", key="{id}", label="{name}", params=LIST)),
        "canvases": Catalogue("Canvases", listed("canvas", "list", key="{id}", label="{name}", params=LIST)),
    }
    rows_in = ("campaigns", "canvases")
    setup_steps = (
        "In Braze, open Settings > APIs and Identifiers > API Keys, and create a key for the workspace.",
        "Give it users.track; for sending campaigns.trigger.send, canvas.trigger.send or transactional.send.",
        "Give it campaigns.list and canvas.list too: campaigns and canvases are chosen from these lists.",
        "If the key has a list of allowed addresses, add this server's.",
        "On the same page, copy the REST endpoint of your instance, like rest.iad-01.braze.com.",
        "Enter both here, test the connection, switch it to Active and save. A workspace for tests has a key of its own.",
        "Where our user ids are not Braze's external ids, bring those into the trait braze_external_id.",
    )

    class Settings(forms.Form):
        """Which workspace, and how its users are known."""

        base_url = identity(
            PatternField(
                ENDPOINT,
                label="REST endpoint",
                shape="Like rest.iad-01.braze.com or rest.fra-01.braze.eu.",
                help_text="Of your instance; the key belongs to it.",
            ),
        )
        api_key = SecretField(
            label="REST API key", usual_length=36, max_length=200, names_account=True, help_text="Of one workspace."
        )
        user_ids = forms.BooleanField(
            label="User ids are Braze's external ids",
            required=False,
            initial=True,
            help_text="Off: a person is meant by the trait braze_external_id, or else by their e-mail address.",
        )
        traits = TraitNames("They become attributes of the person's profile at night.")
        traits_nightly = nightly_choice("Braze")
        app_id = PatternField(
            r"[A-Za-z0-9-]{1,64}",
            label="App identifier",
            required=False,
            shape="From the same page of Braze.",
            help_text="Goes with custom events. Empty: none.",
        )

        def clean_base_url(self) -> str:
            """The endpoint as a URL."""
            return endpoint_of(self.cleaned_data["base_url"])

    def base_url(self, settings: Values) -> str:
        """The instance's endpoint."""
        return endpoint_of(settings["base_url"])

    def rate(self, settings: Values) -> Rate:
        """250,000 an hour, which most endpoints share; that of users takes more (https://www.braze.com/docs/api/api_limits)."""
        return Rate(250_000, 3600.0)

    def auth(self, settings: Values) -> AuthBase:
        """The key, in the usual header."""
        return BearerKey(settings["api_key"])

    def probe(self, api: Api) -> list[ProbeLine]:
        """List campaigns. A key that may not is known all the same."""
        try:
            api.get("campaigns", "list", params={"page": 0}).rows("campaigns")
        except Rejected as no:
            if no.code != FORBIDDEN:
                raise
            return [
                ProbeLine(True, "Braze knows the key."),
                ProbeLine(None, "The key lacks campaigns.list, so that no campaign can be chosen."),
                WRITING_UNTESTED,
            ]
        return [ProbeLine(True, "Braze accepts the key, which may list campaigns."), WRITING_UNTESTED]

    def next_page(self, page: Answer, query: Values) -> Json | None:
        """After a page with something in it: "stop at an empty page"."""
        return {**query, "page": int(query["page"]) + 1} if self.rows_of(page) else None

    def said(self, answer: Answer) -> tuple[str, str]:
        """Read `{"message", "errors"}`. Braze has no codes; the one sentence that means something of its own is one."""
        words = words_of(answer)
        return (FORBIDDEN if FORBIDDEN in words else ""), words

    def failure(self, answer: Answer) -> Failure | None:
        """Read a refusal: `errors` inside a 2xx are one, since each request is about one thing; "fatal" ones have a 4xx.

        A key that lacks a permission is no bad key, and an unknown one may be answered by 404.
        """
        code, words = self.said(answer)
        if answer.status < 300:
            return refused(self.label, refusals_in(answer)) if answer.get("errors") else None
        if answer.status in {401, 403} and code == FORBIDDEN:
            return refused(self.label, words, code=code)
        if answer.status == 404 and "unknown rest api key" in words.casefold():
            return BadCredentials(f"Braze says: {words}")
        return super().failure(answer)


def refusals_in(answer: Answer) -> str:
    """Return the words of what a 2xx leaves out: texts, or objects with a `type`; empty where it has none."""
    rows = answer.each("errors")
    told = [row.get("type") or words_of(row) if isinstance(row, Answer) else row for row in rows]
    return "; ".join(words for words in told if isinstance(words, str) and words)
