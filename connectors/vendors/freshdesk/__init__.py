"""Freshdesk, API v2: a help desk's tickets and contacts.

https://developers.freshdesk.com/api/
"""

from collections.abc import Iterator

from django import forms
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import parse_header_links

from connectors.answers import Answer, query_of, words_of
from connectors.base import (
    WRITING_UNTESTED,
    Catalogue,
    Category,
    Choice,
    Connector,
    Json,
    PatternField,
    ProbeLine,
    Rate,
    SecretField,
    Values,
    identity,
    listed,
    per_minute,
)
from connectors.failures import BadCredentials
from connectors.http import Api
from connectors.vendors.freshdesk import contacts, tickets

API_VERSION = "v2"
PER_PAGE = 100  # at most: https://developers.freshdesk.com/api/#pagination


def statuses(api: Api) -> Iterator[Choice]:
    """Read the statuses, the account's own ones too: `{"2": [what agents see, what customers see]}`."""
    for field in api.pages("ticket_fields", params={"type": "default_status"}):
        choices = field.part("choices")
        for number in choices.data:
            yield Choice(number, str(choices[number][0]))


class Freshdesk(Connector):
    """Help desk by Freshworks."""

    key, label, category = "freshdesk", "Freshdesk", Category.CRM
    description = (
        "Open a ticket about what was answered; change a customer's tickets or move them to the trash; delete and restore "
        "contacts. Freshdesk's API lets nobody mark tickets as spam, so there is no action for it."
    )
    aliases = ("freshworks", "help desk", "helpdesk", "support", "tickets", "customer service", "crm", "spam")
    docs_url = f"{contacts.DOCS}/"
    actions = (
        tickets.CreateTicket,
        tickets.SetPriority,
        tickets.SetStatus,
        tickets.SetResponder,
        tickets.SetGroup,
        tickets.SetSource,
        contacts.SoftDeleteContact,
        contacts.RestoreContact,
        tickets.DeleteAllTickets,
    )
    catalogues = {
        "statuses": Catalogue("Statuses", statuses),
        "groups": Catalogue("Groups", listed("groups", key="{id}", label="{name}")),
        "agents": Catalogue(
            "Agents", listed("agents", key="{id}", label=lambda row: row.part("contact").fill("{name}"))
        ),
    }
    page_query = {"per_page": PER_PAGE}
    rows_in = ("",)
    # What is wrong with the account or the agent is no refusal of a request.
    codes = {"password_lockout": BadCredentials, "account_suspended": BadCredentials}
    setup_steps = (
        "In Freshdesk, sign in as the agent in whose name tickets are changed; the key may do what this agent may.",
        "Open your profile settings and copy the API key.",
        "Enter your account's address on freshdesk.com (an address of your own does not take API requests), and the key.",
        "Test the connection, switch it to Active and save.",
        "Bring the contacts' ids into the trait freshdesk_id, or their addresses into email_address.",
        "Deleted tickets go to the trash. The API deletes for good only a contact with all its tickets, which no action does.",
    )

    class Settings(forms.Form):
        """Which account, and its key."""

        domain = identity(
            PatternField(
                r"(https://)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.freshdesk\.com)?/?",
                label="Account",
                shape="Like yourcompany.freshdesk.com.",
            ),
        )
        api_key = SecretField(label="API key", help_text="From the agent's profile settings.", max_length=64)

        def clean_domain(self) -> str:
            """The account's host, however much of it was typed."""
            return tickets.host_of(self.cleaned_data)

    def base_url(self, settings: Values) -> str:
        """The account's own host."""
        return f"https://{tickets.host_of(settings)}/api/{API_VERSION}"

    def rate(self, settings: Values) -> Rate:
        """200 a minute: the smallest paid plan's (#ratelimit). Larger plans take more, and nothing says which it is.

        What is less (a trial's 50, the plans' own numbers for lists) is told by a 429.
        """
        return per_minute(200)

    def auth(self, settings: Values) -> AuthBase:
        """The key as user name; any password will do."""
        return HTTPBasicAuth(settings["api_key"], "X")

    def probe(self, api: Api) -> list[ProbeLine]:
        """Ask whose key it is."""
        agent = api.get("agents", "me").part("contact")
        return [ProbeLine(True, f"The key belongs to {agent.text('email')}."), WRITING_UNTESTED]

    def next_page(self, page: Answer, query: Values) -> Json | None:
        """A header names the next page, unless it is the last. Of the URL only the page's number counts."""
        links = parse_header_links(page.headers.get("Link", ""))
        following = next((query_of(one["url"]).get("page") for one in links if one.get("rel") == "next"), None)
        return {**query, "page": following} if following else None

    def said(self, answer: Answer) -> tuple[str, str]:
        """Read `{"code", "message"}`, or `{"description", "errors": [{"field", "message", "code"}]}`."""
        code = answer.get("code")
        return (code if isinstance(code, str) else ""), words_of(answer) or str(answer.get("description") or "")
