"""A prompt with Cleeng behind it, in the sandbox's world."""

from typing import Any
from uuid import uuid4

import pytest
from pytest_django import Settings

from connectors.models import Connection
from engage.tenancy.models import App, DeliveryMode
from prompts import events, versions
from prompts.models import Binding, Interaction, Prompt, PromptEvent
from sync.models import Subscriber
from tests import factories
from tests.sandbox_fixture import RunningSandbox, sandbox

__all__ = ["sandbox"]

CUSTOMER = 640000001
SUBSCRIPTION = 710000001  # active, on Premium's monthly offer, without a coupon


class House:
    """A live App, its Cleeng connection, one prompt, and one subscriber whom Cleeng knows."""

    def __init__(self, app: App, sandbox: RunningSandbox) -> None:
        self.app, self.sandbox = app, sandbox
        self.connection: Connection = factories.ConnectionFactory(app=app, secrets={"api_key": sandbox.token})
        self.prompt: Prompt = factories.PromptFactory(app=app, key="stay")
        self.subscriber: Subscriber = factories.SubscriberFactory(
            app=app, user_id="ann", traits={"cleeng_customer_id": str(CUSTOMER)}
        )

    def bind(self, action: str = "apply_coupon", **fields: Any) -> Binding:
        """Bind an action of Cleeng to accept, behind those that are there."""
        fields = {"position": self.prompt.bindings.count(), "connection": self.connection, **fields}
        binding: Binding = factories.BindingFactory(prompt=self.prompt, action=action, **fields)
        self.publish()
        return binding

    def publish(self) -> None:
        """Show the prompt as it is now."""
        versions.publish(self.prompt, by="tests")

    def report(self, interaction: str = Interaction.ACCEPT, **fields: Any) -> PromptEvent:
        """Report an answer of the subscriber."""
        told = events.Report(
            fields.pop("event_id", uuid4()), self.prompt.key, interaction, fields.pop("user_id", "ann"), **fields
        )
        return events.record(self.app, told)[0]


@pytest.fixture
def live_app(app: App) -> App:
    """The App, with everybody served."""
    app.delivery_mode = DeliveryMode.LIVE
    app.save()
    return app


@pytest.fixture
def house(live_app: App, sandbox: RunningSandbox, settings: Settings) -> House:
    """A house with nothing bound yet; the sandbox has one active subscription of the customer, without a coupon."""
    settings.ENGAGE_VENDOR_URLS = sandbox.urls
    return House(live_app, sandbox)
