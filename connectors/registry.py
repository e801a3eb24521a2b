"""Which connectors there are: one line each."""

from functools import cache
from typing import Protocol

from connectors.api_actions import ApiActions
from connectors.base import Action, Connector
from connectors.models import Connection
from connectors.vendors import (
    activecampaign,
    adobe,
    amazon,
    apple,
    braintree,
    braze,
    builtin,
    chargify,
    cleeng,
    freshdesk,
    google_analytics,
    google_play,
    heap,
    mixpanel,
    mparticle,
    recurly,
    roku,
    salesforce,
    segment,
    sendgrid,
    shopify,
    smtp,
    stripe,
    twilio,
    vindicia,
    zendesk,
    zuora,
)
from connectors.website_actions import WebsiteActions

CONNECTORS: tuple[type[Connector], ...] = (
    builtin.BuiltIn,
    ApiActions,
    WebsiteActions,
    activecampaign.ActiveCampaign,
    adobe.Adobe,
    amazon.Amazon,
    apple.Apple,
    braintree.Braintree,
    braze.Braze,
    chargify.Chargify,
    cleeng.Cleeng,
    freshdesk.Freshdesk,
    google_analytics.GoogleAnalytics,
    google_play.GooglePlay,
    heap.Heap,
    mixpanel.Mixpanel,
    mparticle.MParticle,
    recurly.Recurly,
    roku.Roku,
    salesforce.Salesforce,
    segment.Segment,
    sendgrid.SendGrid,
    shopify.Shopify,
    smtp.Email,
    stripe.Stripe,
    twilio.Twilio,
    vindicia.Vindicia,
    zendesk.Zendesk,
    zuora.Zuora,
)


@cache
def _by_key() -> dict[str, Connector]:
    return {declared.key: declared() for declared in CONNECTORS}


def all_connectors() -> list[Connector]:
    """Return every connector, in the order of the registry."""
    return list(_by_key().values())


def forwarder_keys() -> list[str]:
    """Return the keys of the connectors that get every event."""
    return [declared.key for declared in all_connectors() if declared.forwarder]


def connector(key: str) -> Connector:
    """Return the connector with this key.

    Raises:
        KeyError: there is none.

    """
    return _by_key()[key]


def connector_or_none(key: str) -> Connector | None:
    """Return the connector with this key, or None when it has been taken out since."""
    return _by_key().get(key)


class CarriedOut(Protocol):
    """A row that names an action: a binding or an execution."""

    connector: str
    action: str

    @property
    def connection(self) -> Connection | None:
        """The account in which it acts, where it needs one."""


def declaration(row: CarriedOut) -> tuple[Connector, Action] | None:
    """Return the connector and action that a row names, or None when they have been taken out since."""
    declared = connector_or_none(row.connector)
    try:
        settings = row.connection.settings if row.connection else {}
        return (declared, declared.action(row.action, settings)) if declared else None
    except KeyError:
        return None


def action_of(row: CarriedOut) -> Action | None:
    """Return the action that a row names, or None when it has been taken out since."""
    found = declaration(row)
    return found[1] if found else None
