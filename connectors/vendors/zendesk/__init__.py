"""Zendesk Support, Ticketing API v2: a help desk's tickets and users.

https://developer.zendesk.com/api-reference/ticketing/introduction/
"""

from django import forms
from requests.auth import AuthBase, HTTPBasicAuth

from connectors.answers import Answer, query_of, words_of
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
    busy,
    identity,
    listed,
    per_minute,
)
from connectors.failures import BadCredentials, Failure, Temporary
from connectors.http import Api
from connectors.vendors.zendesk import tickets, users

API_VERSION = "v2"
STAFF = ("agent", "admin")


class Zendesk(Connector):
    """Help desk by Zendesk."""

    key, label, category = "zendesk", "Zendesk", Category.CRM
    description = (
        "Open a ticket about what was answered; change or delete a customer's tickets; suspend and restore users."
    )
    aliases = ("help desk", "helpdesk", "support", "tickets", "customer service", "crm")
    docs_url = f"{users.DOCS}/introduction/"
    actions = (
        tickets.CreateTicket,
        tickets.SetPriority,
        tickets.AssignAgent,
        tickets.AssignGroup,
        tickets.SetStatus,
        users.SuspendUser,
        users.RestoreUser,
        tickets.DeleteTickets,
        tickets.SpamTickets,
    )
    catalogues = {
        "agents": Catalogue(
            "Agents",
            listed("users", key="{id}", label="{name}", params={**tickets.BY_CURSOR, "role[]": STAFF}),
        ),
        "groups": Catalogue(
            "Groups", listed("groups", "assignable", key="{id}", label="{name}", params=tickets.BY_CURSOR)
        ),
    }
    rows_in = ("tickets", "users", "groups")
    # At most 30 jobs of an account wait or run at once. UNVERIFIED: with which status the next one is refused.
    codes = {"TooManyJobs": busy}
    idempotency_header, idempotency_methods = "Idempotency-Key", frozenset({"POST"})
    setup_steps = (
        "In Zendesk, sign in as an administrator, open Admin Center > Apps and integrations > APIs > API tokens, and add a token.",
        "Enter your account's address, the e-mail address of the agent in whose name tickets are changed, and the token.",
        "The token may do what this agent may: deleting tickets needs a permission that not every agent has.",
        "Test the connection, switch it to Active and save.",
        "Bring the users' ids into the trait zendesk_id, or their addresses into email_address.",
    )

    class Settings(forms.Form):
        """Which account, and who acts."""

        domain = identity(
            PatternField(
                r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.zendesk\.com)?",
                label="Account",
                shape="Like yourcompany.zendesk.com.",
            ),
        )
        username = identity(
            forms.EmailField(label="Agent", help_text="The e-mail address of an agent or administrator.")
        )
        api_key = SecretField(label="API token", help_text="Shown only once, when it is made.", max_length=200)

        def clean_domain(self) -> str:
            """The account's host, however much of it was typed."""
            return tickets.host_of(self.cleaned_data)

    def base_url(self, settings: Values) -> str:
        """The account's own host; a sandbox has one of its own."""
        return f"https://{tickets.host_of(settings)}/api/{API_VERSION}"

    def rate(self, settings: Values) -> Rate:
        """200 a minute: the smallest plan's (introduction/rate-limits). Larger plans take more, and nothing says which it is."""
        return per_minute(200)

    def auth(self, settings: Values) -> AuthBase:
        """The agent, and the token in place of a password."""
        return HTTPBasicAuth(f"{settings['username']}/token", settings["api_key"])

    def probe(self, api: Api) -> list[ProbeLine]:
        """Ask who we are. Zendesk answers everybody here: a visitor without credentials is shown as nobody."""
        user = api.get("users", "me").part("user")
        if user["id"] is None:
            raise BadCredentials("Zendesk does not accept the credentials: it takes us for a visitor.")
        role = user.text("role")
        lines = [
            ProbeLine(
                role in STAFF, f"{user.text('email')} signs in to {tickets.host_of(api.settings)} (role: {role})."
            ),
            WRITING_UNTESTED,
        ]
        if role == "agent":
            lines.append(ProbeLine(None, "An agent may delete tickets only with a permission of their role."))
        return lines

    def next_page(self, page: Answer, query: Values) -> Json | None:
        """After a cursor, or (users that are searched for) by the page's number. Of a URL only its query counts."""
        meta = page.inner("meta")
        if meta:
            following = query_of(page.part("links").get("next")) if meta["has_more"] is True else {}
        else:
            following = query_of(page.get("next_page"))
        name = "page[after]" if meta else "page"
        return {**query, name: following[name]} if name in following else None

    def said(self, answer: Answer) -> tuple[str, str]:
        """Read `{"error", "description", "details"}`, of which `error` may be an object, or a list of `errors`."""
        error, details = answer.get("error"), answer.inner("details")
        words = [answer.get("description") or words_of(answer)]
        words += [row.get("description") for name in details.data for row in details.objects(name)]
        told = "; ".join(text for text in words if isinstance(text, str) and text)
        return (error if isinstance(error, str) else ""), told

    def failure(self, answer: Answer) -> Failure | None:
        """As the code and the status say. A 409 is a collision with another request, which may have been ours (UNVERIFIED)."""
        if answer.status == 409:
            return Temporary("Zendesk is carrying out a request that collides with this one.")
        return super().failure(answer)
