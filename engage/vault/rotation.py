"""Move every secret to the first key of FIELD_ENCRYPTION_KEY."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.db import models
from encrypted_model_fields import fields as encryption

from engage.vault.canary import sealed_models
from engage.vault.fields import PREFIX, SealedText, Unreadable
from engage.vault.models import Canary


@dataclass
class Counts:
    """What a rotation did; `unreadable` names the rows that no key opens."""

    rotated: int = 0
    current: int = 0
    unreadable: list[str] = field(default_factory=list)


def rotate() -> Counts:
    """Re-encrypt what is not encrypted with the first key yet. Can be stopped and started again at any row.

    Every row is a transaction of its own, written only if it is still as it was read: what somebody saves meanwhile is
    encrypted with the first key anyway. When some row cannot be read nothing is written at all.
    """
    counts = Counts()
    for model, column, pk in _rows():
        try:
            _stored(model, column, pk)
        except Unreadable:
            counts.unreadable.append(f"{model._meta.label} {pk}")
    if counts.unreadable:
        return counts
    first = Fernet(settings.FIELD_ENCRYPTION_KEY[0])
    for model, column, pk in _rows():
        sealed = _stored(model, column, pk)
        if sealed is None:
            continue
        try:
            first.decrypt(sealed.token)
            counts.current += 1
        except InvalidToken:
            renewed = SealedText(PREFIX + encryption.CRYPTER.rotate(sealed.token).decode("ascii"), sealed.where)
            counts.rotated += model._default_manager.filter(pk=pk, **{column: sealed}).update(**{column: renewed})  # noqa: SLF001 - Django's public name
    return counts


def _rows() -> Iterator[tuple[type[models.Model], str, Any]]:
    columns: list[tuple[type[models.Model], str]] = [
        (Canary, "text"),
        *((model, "sealed") for model in sealed_models()),
    ]
    for model, column in columns:
        for pk in model._default_manager.exclude(**{column: None}).order_by("pk").values_list("pk", flat=True):  # noqa: SLF001 - Django's public name
            yield model, column, pk


def _stored(model: type[models.Model], column: str, pk: Any) -> SealedText | None:
    """Return what a row holds, once it is sure that it can be read; None for a row that is gone."""
    sealed: SealedText | None = model._default_manager.filter(pk=pk).values_list(column, flat=True).first()  # noqa: SLF001 - Django's public name
    if sealed is not None:
        sealed.reveal()
    return sealed
