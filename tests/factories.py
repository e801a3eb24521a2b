"""Rows for tests. Each factory makes what its row needs; a test names only what it is about."""

import uuid
from typing import Any

import factory
from django.utils import timezone

from connectors.models import Connection
from engage.tenancy.models import App, Authenticator, Company, Membership, User
from engage.tenancy.roles import Role
from prompts.models import Binding, Execution, Interaction, Prompt, PromptEvent, PromptStatus
from sync.models import Source, Subscriber, Trait

PASSWORD = "a pass phrase of the tests"


class CompanyFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Company

    name = factory.Sequence(lambda n: f"Company {n}")


class AppFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = App

    company = factory.SubFactory(CompanyFactory)
    name = factory.Sequence(lambda n: f"App {n}")
    key = factory.Sequence(lambda n: f"app-{n}")


class UserFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = User
        skip_postgeneration_save = True

    email = factory.Sequence(lambda n: f"person{n}@example.com")
    name = factory.Sequence(lambda n: f"Person {n}")
    password = factory.django.Password(PASSWORD)


class MembershipFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Membership

    user = factory.SubFactory(UserFactory)
    app = factory.SubFactory(AppFactory)
    company = factory.LazyAttribute(lambda made: made.app.company)
    role = Role.APP_MEMBER


def person(app: App, role: Role, **fields: Any) -> User:
    """Make somebody with this role in `app` (a company administrator: in its company)."""
    user: User = UserFactory(**fields)
    in_app = None if role == Role.COMPANY_ADMIN else app
    Membership.objects.create(user=user, company=app.company, app=in_app, role=role)
    return user


def authenticator(user: User) -> Authenticator:
    """Make somebody's second factor. It has no recovery codes."""
    row = Authenticator.make(user)
    row.confirmed = True
    row.save(update_fields=["confirmed"])
    return row


class ConnectionFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Connection

    app = factory.SubFactory(AppFactory)
    connector = "cleeng"
    settings = factory.LazyFunction(lambda: {"environment": "sandbox"})
    active = True
    health = "healthy"

    @classmethod
    def _create(cls, model_class: type[Connection], **fields: Any) -> Connection:
        """`secrets={...}` are sealed; by default there is an API key."""
        secrets = fields.pop("secrets", {"api_key": "cleeng-key-of-the-tests-0123456789"})
        connection = model_class(**fields)
        connection.seal(secrets)
        connection.save(force_insert=True)
        return connection


class SubscriberFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Subscriber

    app = factory.SubFactory(AppFactory)
    user_id = factory.Sequence(lambda n: f"user-{n}")
    traits = factory.LazyFunction(dict)


class TraitFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Trait

    app = factory.SubFactory(AppFactory)
    name = factory.Sequence(lambda n: f"trait_{n}")


class SourceFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Source

    app = factory.SubFactory(AppFactory)
    name = factory.Sequence(lambda n: f"Source {n}")
    bucket = "exports"
    prefix = "cleeng/"
    id_column = "Customer ID"
    access_key_id = "AKIAREADER"

    @classmethod
    def _create(cls, model_class: type[Source], **fields: Any) -> Source:
        """The reader's secret key is sealed."""
        secrets = fields.pop("secrets", {"secret_access_key": "the-readers-secret-key-of-the-tests"})
        source = model_class(**fields)
        source.seal(secrets)
        source.save(force_insert=True)
        return source


class PromptFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Prompt

    app = factory.SubFactory(AppFactory)
    key = factory.Sequence(lambda n: f"prompt-{n}")
    name = factory.Sequence(lambda n: f"Prompt {n}")
    title = "Stay with us"
    status = PromptStatus.LIVE


class BindingFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Binding

    prompt = factory.SubFactory(PromptFactory)
    interaction = Interaction.ACCEPT
    connector = "cleeng"
    action = "apply_coupon"
    connection = factory.LazyAttribute(lambda made: ConnectionFactory(app=made.prompt.app))
    inputs = factory.LazyFunction(lambda: {"coupon": {"from": "fixed", "value": "SAVE20"}})


class EventFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = PromptEvent

    prompt = factory.SubFactory(PromptFactory)
    app = factory.LazyAttribute(lambda made: made.prompt.app)
    subscriber = factory.LazyAttribute(lambda made: SubscriberFactory(app=made.app))
    interaction = Interaction.ACCEPT
    prompt_version = 1
    digest = factory.LazyFunction(lambda: uuid.uuid4().hex)
    mode = "live"
    reference = factory.Sequence(lambda n: f"REF{n:05d}")
    received_at = factory.LazyFunction(timezone.now)


class ExecutionFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Execution

    binding = factory.SubFactory(BindingFactory)
    event = factory.LazyAttribute(lambda made: EventFactory(prompt=made.binding.prompt))
    app = factory.LazyAttribute(lambda made: made.event.app)
    subscriber = factory.LazyAttribute(lambda made: made.event.subscriber)
    connection = factory.LazyAttribute(lambda made: made.binding.connection)
    connector = factory.LazyAttribute(lambda made: made.binding.connector)
    action = factory.LazyAttribute(lambda made: made.binding.action)
    inputs = factory.LazyFunction(lambda: {"coupon": "SAVE20"})
    created_at = factory.LazyFunction(timezone.now)
    due_at = factory.LazyFunction(timezone.now)
