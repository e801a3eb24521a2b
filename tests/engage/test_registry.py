"""Every page of the admin registry: scoped to the App at hand, and open to exactly the roles that it names."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.db import models
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from connectors.models import Connection
from engage.alerts.models import Alert, Kind
from engage.audit.models import Entry
from engage.audit.record import record
from engage.tenancy.models import ApiKey, App, KeyKind, Membership
from engage.tenancy.roles import Role
from engage.tenancy.scoped import ScopedModelAdmin
from prompts.models import Binding, Execution, Prompt, PromptEvent
from sync.models import ImportRun, InboundMessage, Source, Subscriber, Trait
from tests import factories

REGISTRY: dict[type[models.Model], Any] = dict(admin.site._registry)
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
Console = Callable[[Role], Client]


def make(model: type[models.Model], app: App) -> Any:
    """Make a row of `model` in `app`."""
    makers: dict[type[models.Model], Callable[[], Any]] = {
        App: lambda: app,
        ApiKey: lambda: ApiKey.make(app, KeyKind.SECRET)[0],
        Membership: lambda: Membership.objects.get(user=factories.person(app, Role.READ_ONLY)),
        Entry: lambda: record("changed", app, actor="test"),
        Alert: lambda: Alert.objects.create(app=app, kind=Kind.OVERDUE, text="Overdue", opened_at=timezone.now()),
        Connection: lambda: factories.ConnectionFactory(app=app),
        Subscriber: lambda: factories.SubscriberFactory(app=app, is_test=True),
        Trait: lambda: factories.TraitFactory(app=app),
        Source: lambda: factories.SourceFactory(app=app),
        ImportRun: lambda: ImportRun.objects.create(
            app=app, source=factories.SourceFactory(app=app), object_key="a.csv", etag="1"
        ),
        InboundMessage: lambda: InboundMessage.objects.create(
            app=app, connection=factories.ConnectionFactory(app=app), event_id="evt_1"
        ),
        Prompt: lambda: factories.PromptFactory(app=app),
        Binding: lambda: factories.BindingFactory(prompt__app=app),
        PromptEvent: lambda: factories.EventFactory(prompt__app=app),
        Execution: lambda: factories.ExecutionFactory(binding__prompt__app=app),
    }
    for base, maker in makers.items():
        if issubclass(model, base):
            return maker()
    raise AssertionError(f"{model._meta.label} is registered and this test does not know how to make one.")


FILLING: dict[str, Any] = {
    "IntConverter": 1,
    "StringConverter": "x",
    "SlugConverter": "x",
    "PathConverter": "x",
    "UUIDConverter": uuid.uuid4(),
}


def pages(model: type[models.Model], row: Any) -> list[str]:
    """Return the path of every page of `row`: whatever URL of its ModelAdmin names a thing, this is the thing."""
    found = []
    for pattern in REGISTRY[model].get_urls():
        converters = list(pattern.pattern.converters.items())
        if converters and pattern.name:
            (first, _), *rest = converters
            arguments = {first: row.pk, **{name: FILLING[type(converter).__name__] for name, converter in rest}}
            found.append(reverse(f"admin:{pattern.name}", kwargs=arguments))
    return found


def lists(model: type[models.Model]) -> list[str]:
    """Return the path of every page that names no row."""
    return [
        reverse(f"admin:{pattern.name}")
        for pattern in REGISTRY[model].get_urls()
        if pattern.name and not pattern.pattern.converters
    ]


def label(model: type[models.Model]) -> str:
    return model._meta.label


def test_there_is_something_to_walk() -> None:
    assert {App, ApiKey, Membership, Entry} <= set(MODELS)


@pytest.mark.parametrize("model", MODELS, ids=label)
def test_every_page_is_scoped_and_names_its_right(model: type[models.Model]) -> None:
    page = REGISTRY[model]
    assert isinstance(page, ScopedModelAdmin)
    assert page.view_right is not None


@pytest.mark.parametrize("model", MODELS, ids=label)
@pytest.mark.parametrize("role", list(Role))
def test_a_list_answers_as_the_right_says_and_shows_nothing_of_another_app(
    model: type[models.Model], role: Role, app: App, other_app: App, console: Console, rf: Any
) -> None:
    make(model, app)
    theirs = make(model, other_app)
    page = REGISTRY[model]
    client = console(role)
    path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    answer = client.get(path)
    assert page.view_right is not None
    assert answer.status_code == (200 if page.view_right.allows(role) else 403)
    request = rf.get(path)
    request.user, request.engage_app, request.engage_role = None, app, role
    assert not page.get_queryset(request).filter(pk=theirs.pk).exists()


@pytest.mark.parametrize("model", MODELS, ids=label)
@pytest.mark.parametrize("role", list(Role))
def test_a_row_of_another_app_is_not_there(
    model: type[models.Model], role: Role, app: App, other_app: App, console: Console
) -> None:
    theirs = make(model, other_app)
    client = console(role)
    for path in pages(model, theirs):
        # Where the role has no right to the page at all, it is told so before anybody looks for the row.
        assert client.get(path).status_code in {403, 404, 405}, path
        assert client.post(path, {"post": "yes"}).status_code in {403, 404, 405}, path
    assert model._base_manager.filter(pk=theirs.pk).exists()  # noqa: SLF001 - Django's public name


@pytest.mark.parametrize("model", MODELS, ids=label)
@pytest.mark.parametrize("role", list(Role))
def test_every_page_answers_every_role(model: type[models.Model], role: Role, app: App, console: Console) -> None:
    page: ScopedModelAdmin = REGISTRY[model]
    row = make(model, app)
    client = console(role)
    for path in (*lists(model), *pages(model, row)):
        status = client.get(path).status_code
        if not page.view_right or not page.view_right.allows(role):
            assert status in {403, 404, 405}, (path, status)
        assert status < 500, (path, status)
    if page.delete_right is None or not page.delete_right.allows(role):
        client.post(
            f"{reverse(f'admin:{model._meta.app_label}_{model._meta.model_name}_changelist')}{row.pk}/delete/",
            {"post": "yes"},
        )
        assert model._base_manager.filter(pk=row.pk).exists()  # noqa: SLF001 - Django's public name


@pytest.mark.parametrize("model", MODELS, ids=label)
def test_nobody_who_is_not_signed_in_sees_a_page(model: type[models.Model], app: App) -> None:
    row = make(model, app)
    for path in (*lists(model), *pages(model, row)):
        answer = Client().get(path)
        assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/console/login/"), path


def test_an_autocomplete_offers_nothing_of_another_app(app: App, other_app: App, console: Console) -> None:
    fields = [
        (model, field)
        for model in MODELS
        for field in model._meta.get_fields()
        if isinstance(field, models.ForeignKey)
        and field.related_model in MODELS
        and REGISTRY[field.related_model].search_fields
    ]
    assert fields
    for model, field in fields:
        theirs = make(field.related_model, other_app)
        for role in Role:
            query: dict[str, str] = {
                "app_label": model._meta.app_label,
                "model_name": str(model._meta.model_name),
                "field_name": field.name,
                "term": "",
            }
            answer = console(role).get("/console/autocomplete/", query)
            if answer.status_code == 200:
                assert str(theirs.pk) not in [found["id"] for found in answer.json()["results"]], (model, field)
            else:
                assert answer.status_code in {403, 404}
