"""Write the history."""

from collections.abc import Mapping
from typing import Any

from django.db import models
from django.http import HttpRequest

from engage.audit.models import Entry

Changes = dict[str, list[Any]]


def snapshot(row: models.Model, fields: list[str]) -> dict[str, Any]:
    """Return the JSON-ready values of `fields` of `row`, to compare before and after."""
    return {name: plain(getattr(row, name)) for name in fields}


def plain(value: Any) -> Any:
    """Return `value` as JSON can hold it."""
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    return str(value)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Changes:
    """Return field -> [old, new] for what differs."""
    return {
        name: [before.get(name), after.get(name)] for name in {**before, **after} if before.get(name) != after.get(name)
    }


def record(
    verb: str,
    thing: models.Model,
    changes: Changes | None = None,
    *,
    request: HttpRequest | None = None,
    actor: str = "",
    label: str = "",
) -> Entry:
    """Add one entry about `thing`, which belongs to an App (or to a Company).

    Args:
        verb: past tense, in the words of a person: "created", "changed", "replaced the API key".
        changes: field -> [old, new]; for a secret {"api_key": [None, "replaced"]}.
        request: whose user and address are recorded; without it `actor` says who it was ("create_company").

    """
    app: Any = getattr(thing, "app", None) if thing._meta.model_name != "app" else thing
    company: Any = app.company if app is not None else getattr(thing, "company", thing)
    person = getattr(request, "user", None)
    user = person if person is not None and person.is_authenticated else None
    return Entry.objects.create(
        company=company,
        app=app,
        user=user,
        actor=user.email if user else actor or "system",
        ip=request.META.get("REMOTE_ADDR") or None if request is not None else None,
        verb=verb,
        kind=str(thing._meta.model_name),
        object_id=str(thing.pk),
        label=(label or str(thing))[:200],
        changes=changes or {},
    )
