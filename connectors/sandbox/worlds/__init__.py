"""The vendors' worlds: one line each."""

from collections.abc import Mapping

from connectors.sandbox.world import World
from connectors.sandbox.worlds import (
    activecampaign,
    adobe,
    api,
    braze,
    chargify,
    cleeng,
    freshdesk,
    google_analytics,
    heap,
    mixpanel,
    mparticle,
    salesforce,
    segment,
    sendgrid,
    smtp,
    stripe,
    twilio,
    vindicia,
    zendesk,
    zuora,
)

_ALL: tuple[World, ...] = (
    activecampaign,
    adobe,
    api,
    braze,
    chargify,
    cleeng,
    freshdesk,
    google_analytics,
    heap,
    mixpanel,
    mparticle,
    salesforce,
    segment,
    sendgrid,
    smtp,
    stripe,
    twilio,
    vindicia,
    zendesk,
    zuora,
)
WORLDS: Mapping[str, World] = {world.KEY: world for world in _ALL}
"""By the connector's key."""
OVER_HTTP = tuple(key for key in WORLDS if key != smtp.KEY)
"""Those whose requests come to the sandbox's own port, below their key."""
