"""Salesforce: Service Cloud and Marketing Cloud Engagement, two independent clouds in one connection. Either may be left out."""

from typing import Any

from django import forms
from django.core.validators import RegexValidator
from requests.auth import AuthBase

from connectors.answers import Answer
from connectors.auth import TokenSource
from connectors.base import Category, Connector, SecretField, Values, identity
from connectors.failures import Failure
from connectors.pulls import traits_choice
from connectors.vendors.salesforce import marketing, service, soap
from connectors.vendors.salesforce.pulls import PULLS


class SoapToken(marketing.MarketingToken):
    """The same token, inside the envelope."""

    def bearing(self, token: str) -> AuthBase:
        """Where the SOAP API takes it."""
        return soap.FuelOAuth(token)


class Salesforce(Connector):
    """CRM and marketing by Salesforce."""

    key, label, category = "salesforce", "Salesforce", Category.CRM
    description = "Open cases and post to them in Service Cloud; send mails and fill lists in Marketing Cloud."
    aliases = ("service cloud", "marketing cloud", "sfmc", "exacttarget", "crm", "case", "email", "e-mail", "mail")
    docs_url = service.DOCS
    actions = (
        service.CreateCase,
        service.PostToCases,
        marketing.SendMail,
        marketing.TriggeredSend,
        marketing.ListAdd,
        marketing.ListAddTyped,
    )
    catalogues = {**service.CATALOGUES, **marketing.CATALOGUES}
    pulls = PULLS
    rows_in = ("definitions",)
    parts = {service.CLOUD: service.probe, marketing.CLOUD: marketing.probe}
    # Connected Apps cannot be made any more since Spring '26, and the flow by user name and password is deprecated.
    setup_steps = (
        "For Service Cloud: in Setup, open External Client App Manager and create an app with the client credentials flow.",
        "Give the app the scope “Manage user data via APIs (api)”.",
        "In the app's policies, choose a “Run As” user who may read contacts and read, create and post to cases.",
        "Copy the consumer key and secret, and the My Domain URL (Setup > My Domain).",
        "So that no case can be opened twice, add a text field to Case that is unique and an external ID, and enter its API name.",
        "For Marketing Cloud: in Setup, open Installed Packages, create a package and add a server-to-server API Integration.",
        "Give it the scopes Email: Read, Send and List and Subscribers: Read, Write.",
        "Copy its client id, client secret and Authentication Base URI.",
        "Fill in one of the two or both, test the connection, switch it to Active and save.",
        "Bring the contact's id into the trait salesforce_id, or the address into email_address.",
    )

    class Settings(forms.Form):
        """Which organisation, and which tenant."""

        my_domain = identity(
            forms.CharField(
                label="Service Cloud: My Domain URL",
                required=False,
                validators=[service.MY_DOMAIN],
                help_text="Like https://example.my.salesforce.com, or a sandbox's. Empty: Service Cloud is not used.",
            )
        )
        client_id = identity(
            forms.CharField(
                label="Service Cloud: consumer key", required=False, help_text="Of the external client app."
            )
        )
        client_secret = SecretField(
            label="Service Cloud: consumer secret", goes_with="client_id", help_text="Of the same app."
        )
        case_reference_field = forms.CharField(
            label="Service Cloud: reference field of Case",
            required=False,
            validators=[service.OWN_FIELD],
            help_text="Like Engage_Ref__c: unique and an external ID. Empty: the reference stands in the case's subject.",
        )
        # Salesforce answers with ids of 18 characters, and traits are compared exactly.
        traits_for = traits_choice(
            "Salesforce", trait="salesforce_id, with all its 18 characters,", user_id="contact ids of 18 characters"
        )
        mc_auth_url = identity(
            forms.CharField(
                label="Marketing Cloud: Authentication Base URI",
                required=False,
                validators=[
                    RegexValidator(
                        rf"^{marketing.TENANT.pattern}\Z",
                        "Copy it from the installed package; it ends in .auth.marketingcloudapis.com.",
                    )
                ],
                help_text="Of the installed package. Empty: Marketing Cloud is not used.",
            )
        )
        mc_client_id = identity(
            forms.CharField(label="Marketing Cloud: client id", required=False, help_text="Of the installed package.")
        )
        mc_client_secret = SecretField(
            label="Marketing Cloud: client secret", goes_with="mc_client_id", help_text="Of the installed package."
        )
        mc_account_id = identity(
            forms.CharField(
                label="Marketing Cloud: business unit (MID)",
                required=False,
                validators=[RegexValidator(r"^[0-9]{1,12}\Z", "A MID is a number.")],
                help_text="Empty: the business unit in which the package was made.",
            )
        )
        mc_subscriber_key = forms.ChoiceField(
            choices=[("email", "The e-mail address"), ("trait", "The trait salesforce_subscriber_key")],
            label="Marketing Cloud: subscriber key",
            help_text="By what your account knows its subscribers.",
        )
        mc_from_email = forms.EmailField(
            label="Marketing Cloud: sender of triggered sends",
            required=False,
            help_text="For triggered sends of Email Studio only. Empty: the sender of each.",
        )

        def clean(self) -> dict[str, Any]:
            """Each cloud is set up whole or not at all, and one of them is."""
            cleaned: dict[str, Any] = super().clean() or self.cleaned_data
            pairs = (("my_domain", "client_id"), ("mc_auth_url", "mc_client_id"))
            for first, second in (*pairs, *(pair[::-1] for pair in pairs)):
                if cleaned.get(first) and not cleaned.get(second) and second not in self.errors:
                    self.add_error(second, f"Needed with {self.fields[first].label}.")
            if cleaned.get("traits_for") and not cleaned.get("my_domain") and "my_domain" not in self.errors:
                self.add_error("traits_for", "Contacts are read in Service Cloud, which is not set up.")
            if not self.errors and not any(cleaned.get(first) for first, _ in pairs):
                raise forms.ValidationError("Set up Service Cloud, Marketing Cloud, or both.")
            return cleaned

    def environment(self, settings: Values) -> str:
        """Sandbox where the organisation is one; Marketing Cloud has none."""
        return "Sandbox" if ".sandbox." in (settings.get("my_domain") or "") else "Production"

    def is_sandbox(self, settings: Values) -> bool:
        """Only where nothing of it is real."""
        return self.environment(settings) == "Sandbox" and not settings.get("mc_auth_url")

    def base_url(self, settings: Values) -> str:
        """The organisation's data; nothing where Service Cloud is not used."""
        domain = (settings.get("my_domain") or "").rstrip("/")
        return f"{domain}{service.DATA}" if domain else ""

    def hosts(self, settings: Values) -> dict[str, str]:
        """Where tokens come from, and Marketing Cloud's two APIs."""
        domain = settings.get("my_domain")
        return {**({"login": domain} if domain else {}), **marketing.hosts(settings)}

    def auth(self, settings: Values) -> TokenSource:
        """The organisation's token."""
        return service.ServiceToken(
            "services",
            "oauth2",
            "token",
            client_id=settings["client_id"],
            client_secret=settings["client_secret"],
            lasts=service.SESSION,
        )

    def auth_at(self, host: str, settings: Values) -> AuthBase | TokenSource:
        """The tenant's token, in a header or in the envelope."""
        kind = {"rest": marketing.MarketingToken, "soap": SoapToken}.get(host)
        if kind is None:
            return super().auth_at(host, settings)
        unit = settings.get("mc_account_id")
        return kind(
            "v2",
            "token",
            client_id=settings["mc_client_id"],
            client_secret=settings["mc_client_secret"],
            more={"account_id": unit} if unit else {},
        )

    def next_page(self, page: Answer, query: Values) -> Values | None:
        """Of Marketing Cloud's mails; nothing else is read by pages."""
        return marketing.next_page(page, query)

    def failure(self, answer: Answer) -> Failure | None:
        """Service Cloud refuses with lists, Marketing Cloud with objects and envelopes."""
        if isinstance(answer.data, list):
            return service.failure(answer)
        return soap.failure(answer) or marketing.failure(answer) or super().failure(answer)
