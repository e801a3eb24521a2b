"""ActiveCampaign, API v3: contacts, lists and automations.

https://developers.activecampaign.com/reference/overview. Nothing carries an idempotency key. A contact is saved by its
address, which is the same twice as once; what somebody is on or in already is looked at first.
"""

from django import forms
from django.core.validators import RegexValidator
from requests.auth import AuthBase

from connectors.answers import Answer, words_of
from connectors.auth import HeaderKey
from connectors.base import (
    WRITING_UNTESTED,
    Action,
    Catalogue,
    CatalogueField,
    Category,
    Connector,
    Json,
    PatternField,
    ProbeLine,
    Rate,
    Replay,
    SecretField,
    Values,
    all_of,
    identity,
    listed,
    per_second,
)
from connectors.bodies import without_empty
from connectors.choosing import at_address, email_in, id_at_address, require
from connectors.failures import BadCredentials, Rejected, Undocumented
from connectors.http import Api

API_VERSION = "3"
DOCS = "https://developers.activecampaign.com/reference"
PER_PAGE = 100  # "limit", at most: https://developers.activecampaign.com/reference/pagination
# The vendor's page asks to copy the account's URL, since not all are on api-us1.com
# (https://developers.activecampaign.com/reference/url). UNVERIFIED: other regions' API hosts, which third parties name and the
# vendor's pages do not. Until they do, no key goes there; every account answers under activehosted.com too.
ACCOUNT_URL = r"https://[a-z0-9][a-z0-9-]{0,62}\.(api-us1|activehosted)\.com/?"
NOT_ENTERED = "Could not create SubscriberSeries"  # the 403 of POST /contactAutomations, in the vendor's description
ACTIVE = ("1", 1)  # a subscription's status; read as "1", and answered to a write as 1
NUMBER = RegexValidator(r"^[0-9]{1,10}\Z", "ActiveCampaign's ids are numbers.")


# --- who ------------------------------------------------------------------------------------------


def contact_at(api: Api, address: str) -> str | None:
    """Return the id of the contact with this address, if there is one."""
    exact = at_address(api.get("contacts", params={"email": address}).rows("contacts"), address)
    return id_at_address(api, exact, address, "contact") if exact else None


def save(api: Api, address: str, known: Json) -> str:
    """Save a contact by its address, and return its id. What is not sent stays as it is.

    The rest of the answer proves nothing: the vendor gives names and phone numbers a form of its own.
    """
    answer = api.post("contact", "sync", json={"contact": {"email": address, **known}}, step="contact").part("contact")
    if not at_address([answer], address):
        raise Undocumented(f"ActiveCampaign saved a contact, and does not show {address} as its address.")
    return answer.text("id")


class AddContact(Action):
    """A contact, new or brought up to date."""

    key, label = "add_contact", "Add contact"
    description = "Adds the subscriber as a contact, or brings the contact with this address up to date."
    needs = all_of("email_address")
    replay = Replay.NATURAL
    replay_proof = f"{DOCS}/sync-a-contacts-data: creates the contact, or updates the one with this address"
    check_at = "In ActiveCampaign, open Contacts and search for the address."
    # The address is none of them: who could type one could write into somebody else's contact.
    from_browser = frozenset({"first_name", "last_name", "phone", "value"})

    class Inputs(forms.Form):
        """What is known of them. Whatever is empty stays as ActiveCampaign has it."""

        first_name = forms.CharField(
            required=False, max_length=100, label="First name", help_text="Empty: left as it is."
        )
        last_name = forms.CharField(
            required=False, max_length=100, label="Last name", help_text="Empty: left as it is."
        )
        phone = forms.CharField(required=False, max_length=50, label="Phone", help_text="Empty: left as it is.")
        field = CatalogueField(
            "fields", required=False, validators=[NUMBER], label="Custom field", help_text="One more that is set."
        )
        value = forms.CharField(
            required=False, max_length=1000, label="Its value", help_text="Of the custom field. Empty: left as it is."
        )

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Save the contact."""
        names = {"firstName": inputs["first_name"], "lastName": inputs["last_name"], "phone": inputs["phone"]}
        known = without_empty(names)
        require(inputs["field"] or not inputs["value"], "There is a value, and no custom field is chosen for it.")
        if inputs["value"]:
            known["fieldValues"] = [{"field": inputs["field"], "value": inputs["value"]}]
        address = email_in(user)
        return f"{address} is contact {save(api, address, known)}"

    def check_inputs(self, api: Api, inputs: Values) -> list[str]:
        """A value needs its field."""
        return (
            ["Choose the custom field that gets the value."] if inputs.get("value") and not inputs.get("field") else []
        )


# --- where they are put ---------------------------------------------------------------------------


class AddToList(Action):
    """Somebody onto a list, unless they have left it."""

    key, label = "add_to_list", "Add to list"
    description = "Subscribes the contact to a list; a missing contact is added first. Who has unsubscribed stays so."
    needs = all_of("email_address")
    replay = Replay.CHECK
    replay_proof = f"{DOCS}/retrieve-contact-list-memberships: a contact's lists, each with its status"
    check_at = "In ActiveCampaign, open Contacts, search for the address and look at the contact's lists."

    class Inputs(forms.Form):
        """Which list."""

        list_id = CatalogueField("lists", validators=[NUMBER], label="List", help_text="Where the contact is put.")

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """They are subscribed. Every other row is a no: unsubscribed (2), or a state in which the vendor sends nothing.

        "WARNING: If you change a status from unsubscribed to active, you can re-subscribe a contact to a list from which
        they had manually unsubscribed" (the vendor's description of POST /contactLists). UNVERIFIED: what 0, 3 and 91 mean
        (unconfirmed, bounced and removed, as others report). None of them is a wish to be on the list.
        """
        address, chosen = email_in(user), inputs["list_id"]
        contact = contact_at(api, address)
        if contact is None:
            return None
        rows = [row for row in api.pages("contacts", contact, "contactLists") if row.fill("{list}") == chosen]
        for row in rows:
            if row["status"] not in ACTIVE:
                why = "has unsubscribed from" if row["status"] in ("2", 2) else f"has status {row['status']} on"
                raise Rejected(f"{address} {why} list {chosen}, and is not subscribed again without their own doing.")
        return f"{address} is on list {chosen}" if rows else None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Subscribe them. The vendor takes the three values as texts."""
        address, chosen = email_in(user), inputs["list_id"]
        contact = contact_at(api, address) or save(api, address, {})
        wish = {"list": chosen, "contact": contact, "status": "1"}
        shown = api.post("contactLists", json={"contactList": wish}, step="list").part("contactList")
        shown.shows("list", chosen, int(chosen))
        shown.shows("contact", contact, int(contact))
        shown.shows("status", *ACTIVE)
        return f"{address} is on list {shown['list']}"


class AddToAutomation(Action):
    """Somebody into an automation, once."""

    key, label = "add_to_automation", "Add to automation"
    description = "Puts the contact into an automation, unless it is or was in it; a missing contact is added first."
    needs = all_of("email_address")
    replay = Replay.CHECK
    replay_proof = f"{DOCS}/list-all-contactautomations-for-contact: every automation that a contact has entered"
    check_at = "In ActiveCampaign, open Contacts, search for the address and look at the contact's automations."

    class Inputs(forms.Form):
        """Which automation."""

        automation_id = CatalogueField(
            "automations", validators=[NUMBER], label="Automation", help_text="It must be active to take people."
        )

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """They are, or were, in it.

        UNVERIFIED: the numbers of its status, and whether a second entry is refused (the automation's own setting). A run
        that a lost request began may be over by now, so one that has ended counts too: nobody gets a series twice.
        """
        address, chosen = email_in(user), inputs["automation_id"]
        contact = contact_at(api, address)
        if contact is None:
            return None
        entered = (row.fill("{automation}") for row in api.pages("contacts", contact, "contactAutomations"))
        return f"{address} is, or was, in automation {chosen}" if chosen in list(entered) else None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Put them in. The vendor takes the two ids as numbers."""
        address, chosen = email_in(user), inputs["automation_id"]
        contact = contact_at(api, address) or save(api, address, {})
        wish = {"contact": int(contact), "automation": int(chosen)}
        answer = api.post("contactAutomations", json={"contactAutomation": wish}, step="automation")
        shown = answer.part("contactAutomation")
        shown.shows("automation", chosen, int(chosen))
        shown.shows("contact", contact, int(contact))
        return f"{address} has entered automation {chosen} (entry {shown.fill('{id}')})"


def not_entered(message: str, *, code: str) -> Rejected:
    """Return what follows when an automation takes nobody. It is a 403, and has nothing to do with the key."""
    return Rejected(f"{message}. The automation does not take this contact: look whether it is active.", code=code)


class ActiveCampaign(Connector):
    """Marketing and CRM by ActiveCampaign."""

    key, label, category = "activecampaign", "ActiveCampaign", Category.CRM
    description = "Keep contacts up to date, subscribe them to lists, and put them into automations."
    aliases = ("active campaign", "crm", "email", "e-mail", "newsletter", "marketing automation")
    docs_url = f"{DOCS}/overview"
    actions = (AddContact, AddToList, AddToAutomation)
    catalogues = {
        "lists": Catalogue("Lists", listed("lists", key="{id}", label="{name}")),
        # UNVERIFIED: 1 is active. An automation that is not takes nobody.
        "automations": Catalogue(
            "Automations", listed("automations", key="{id}", label="{name}", where=lambda row: row["status"] in ACTIVE)
        ),
        "fields": Catalogue("Custom fields", listed("fields", key="{id}", label="{title}")),
    }
    page_query = {"limit": PER_PAGE, "offset": 0}
    rows_in = ("lists", "automations", "fields", "contactLists", "contactAutomations")
    # Paging of a contact's own lists is not described: one that does not heed `offset` comes once more.
    may_not_page = True
    codes = {NOT_ENTERED: not_entered}
    # UNVERIFIED: with what status a wrong key is refused. A 403 is believed to mean it only where the test fails too.
    forbidden_is_bad_credentials = True
    setup_steps = (
        "In ActiveCampaign, sign in as the user in whose name contacts are changed; the key may do what this user may.",
        "Open Settings > Developer, and copy the URL and the key.",
        "Paste them here, test the connection, switch it to Active and save.",
        "Bring the subscribers' addresses into the trait email_address.",
    )

    class Settings(forms.Form):
        """Which account, and its key."""

        account_url = identity(
            PatternField(
                ACCOUNT_URL,
                label="Account URL",
                shape="Like https://example.api-us1.com or https://example.activehosted.com.",
                help_text="From Settings > Developer.",
            ),
            part=lambda url: url.rstrip("/"),
        )
        api_key = SecretField(label="API key", help_text="From the same page.", max_length=200)

    def base_url(self, settings: Values) -> str:
        """The account's own host."""
        return f"{settings['account_url'].rstrip('/')}/api/{API_VERSION}"

    def rate(self, settings: Values) -> Rate:
        """As the vendor says: "5 requests per second per account", whatever key (reference/rate-limits, October 2025)."""
        return per_second(5)

    def auth(self, settings: Values) -> AuthBase:
        """The key, in the vendor's own header."""
        return HeaderKey("Api-Token", settings["api_key"])

    def probe(self, api: Api) -> list[ProbeLine]:
        """Ask whose key it is, and whether it sees lists: a key may do what its user's group may."""
        user = api.get("users", "me").part("user").text("email")
        lines = [ProbeLine(True, f"The key belongs to {user}."), WRITING_UNTESTED]
        try:
            api.get("lists", params={"limit": 1}).rows("lists")
        except BadCredentials:
            lines.append(ProbeLine(False, f"{user} may not view lists: change the permissions of their group."))
        return lines

    def next_page(self, page: Answer, query: Values) -> Json | None:
        """After a full page. `meta.total` is not there in every list."""
        full = len(self.rows_of(page)) >= PER_PAGE
        return {**query, "offset": query["offset"] + PER_PAGE} if full else None

    def said(self, answer: Answer) -> tuple[str, str]:
        """Take the one sentence that means something of its own for a code; the vendor has no registry of codes."""
        words = words_of(answer)
        return (words if words == NOT_ENTERED else ""), words
