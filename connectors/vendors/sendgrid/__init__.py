"""Twilio SendGrid, API v3: e-mail from dynamic templates, and lists of Marketing Campaigns.

https://www.twilio.com/docs/sendgrid/api-reference.
"""

from collections.abc import Iterable
from typing import Any

from django import forms
from requests.auth import AuthBase

from connectors.answers import Answer, query_of
from connectors.auth import BearerKey
from connectors.base import (
    Catalogue,
    Category,
    Choice,
    Connector,
    Json,
    ProbeLine,
    SecretField,
    Values,
    account_choice,
    listed,
)
from connectors.http import Api
from connectors.pulls import traits_choice
from connectors.vendors.sendgrid.lists import ListAdd, ListRemove, has_lists
from connectors.vendors.sendgrid.mails import DOCS, SendTemplate, SendTemplateTo, Unsubscribe, has_active_version
from connectors.vendors.sendgrid.pulls import FILES, PULLS

API_VERSION = "v3"
HOSTS = {"global": f"https://api.sendgrid.com/{API_VERSION}", "eu": f"https://api.eu.sendgrid.com/{API_VERSION}"}
TEMPLATES_PER_PAGE, LISTS_PER_PAGE = 200, 1000  # the most that each allows

dynamic = {"generations": "dynamic", "page_size": TEMPLATES_PER_PAGE}
templates = listed("templates", key="{id}", label="{name}", where=has_active_version, params=dynamic)
all_lists = listed("marketing", "lists", key="{id}", label="{name}", params={"page_size": LISTS_PER_PAGE})


def lists(api: Api) -> Iterable[Choice]:
    """Read the lists; the EU has none."""
    return all_lists(api) if has_lists(api) else ()


class SendGrid(Connector):
    """E-mail by Twilio."""

    key, label, category = "sendgrid", "SendGrid", Category.CRM
    description = "Send a template, to the subscriber or to an address that the person enters; manage marketing lists."
    aliases = ("twilio", "email", "e-mail", "mail", "newsletter")
    docs_url = DOCS
    actions = (SendTemplate, SendTemplateTo, ListAdd, ListRemove, Unsubscribe)
    catalogues = {
        "templates": Catalogue("Templates", templates),
        "lists": Catalogue("Lists", lists),
        "groups": Catalogue("Unsubscribe groups", listed("asm", "groups", key="{id}", label="{name}")),
    }
    pulls = PULLS
    base_urls, chosen_by = HOSTS, "region"
    rows_in = ("result", "")  # the unsubscribe groups are the answer itself
    file_hosts = FILES
    setup_steps = (
        "In SendGrid, verify the domain or the address that mail comes from (Settings > Sender Authentication).",
        "Open Settings > API Keys and create a key with restricted access to Mail Send, Template Engine and Marketing.",
        "For “Unsubscribe from all mail”, and to choose unsubscribe groups, give it access to Suppressions too.",
        "Paste the key, choose the region that it belongs to, and enter the sender.",
        "Test the connection, switch it to Active and save.",
        "Bring the subscribers' addresses into the trait email_address.",
    )

    class Settings(forms.Form):
        """Which account, and who writes."""

        region = account_choice(
            "Region",
            [("global", "Global"), ("eu", "EU")],
            help_text="Where the key was made; lists are in Global only.",
        )
        api_key = SecretField(
            label="API key", help_text="Begins with “SG.”; shown only once.", usual_length=69, names_account=True
        )
        from_email = forms.EmailField(label="Sender's address", help_text="Verified, or of a verified domain.")
        from_name = forms.CharField(label="Sender's name", required=False, max_length=100, help_text="What people see.")
        reply_to = forms.EmailField(label="Replies to", required=False, help_text="Empty: to the sender's address.")
        asm_group_id = forms.IntegerField(
            label="Unsubscribe group", required=False, min_value=1, help_text="Its number; an action may name another."
        )
        sandbox_mode = forms.BooleanField(
            label="Sandbox mode", required=False, help_text="Mails are checked, not delivered. Lists are still changed."
        )
        # Traits are compared exactly.
        traits_for = traits_choice(
            "SendGrid", trait="email_address, in small letters as SendGrid has it,", user_id="external ids"
        )

        def clean(self) -> dict[str, Any]:
            """Contacts are read where there are any."""
            cleaned: dict[str, Any] = super().clean() or self.cleaned_data
            if cleaned.get("traits_for") and cleaned.get("region") == "eu":
                self.add_error("traits_for", "SendGrid keeps contacts in its global region only.")
            return cleaned

    def environment(self, settings: Values) -> str:
        """Production, unless mails stay in the sandbox. It is none for `is_sandbox`: lists are changed all the same."""
        return "Undelivered" if settings.get("sandbox_mode") else "Production"

    def auth(self, settings: Values) -> AuthBase:
        """The key, on every call."""
        return BearerKey(settings["api_key"])

    def probe(self, api: Api) -> list[ProbeLine]:
        """Ask what the key may do. UNVERIFIED: the scopes' names beyond mail.send, so their lack is said and fails nothing."""
        scopes = api.get("scopes").texts("scopes")
        may_send = "mail.send" in scopes
        words = "The key may send mail." if may_send else "The key may not send mail (scope mail.send)."
        lines = [ProbeLine(True, "SendGrid accepts the key."), ProbeLine(may_send, words)]
        for scope, lacking in (
            ("templates.read", "templates cannot be chosen"),
            ("marketing.read", "lists cannot be chosen"),
            ("marketing.update", "lists may not be changed"),
        ):
            if scope not in scopes:
                lines.append(ProbeLine(None, f"The key does not show the scope {scope}; without it {lacking}."))
        return lines

    def next_page(self, page: Answer, query: Values) -> Json | None:
        """`_metadata.next` is a whole URL, of which only the token counts."""
        metadata = page.get("_metadata")
        token = query_of(metadata.get("next")).get("page_token") if isinstance(metadata, Answer) else None
        return {**query, "page_token": token} if token not in {None, query.get("page_token")} else None
