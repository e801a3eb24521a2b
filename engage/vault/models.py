"""Rows that hold secrets, and the canary."""

import json
from typing import Any, ClassVar, Self, TypeVar

from django.db import models

from engage.vault.fields import SealedText, SealedTextField, Unreadable

SealedRow = TypeVar("SealedRow", bound="Sealed")


class SealedManager(models.Manager[SealedRow]):
    """Leaves the sealed column in the database until somebody asks for it."""

    def get_queryset(self) -> models.QuerySet[SealedRow]:
        """Return rows without their secrets."""
        return super().get_queryset().defer("sealed")


class Sealed(models.Model):
    """A row with secrets: one encrypted JSON object that carries the row that it belongs to.

    A blob copied to another row (or an older one put back after the account was changed) does not open there. The row's
    primary key must be known before it is sealed, so these models have UUID keys made in Python.
    """

    generation = models.PositiveIntegerField(default=1, editable=False)
    sealed: models.Field[str | SealedText | None, str | SealedText | None] = SealedTextField(null=True, editable=False)
    secrets_set = models.JSONField(default=dict, editable=False)  # name -> length, for "Stored, 48 characters"

    objects: ClassVar[SealedManager[Self]] = SealedManager()

    class Meta:
        abstract = True

    def _seal_owner(self) -> list[str]:
        return [self._meta.label_lower, str(self.pk), str(getattr(self, "app_id", "")), str(self.generation)]

    def secrets(self) -> dict[str, str]:
        """Return the secrets, decrypted.

        Raises:
            Unreadable: wrong key, or the blob was made for another row.

        """
        if self.sealed is None:
            return {}
        blob: dict[str, Any] = json.loads(self.sealed.reveal() if isinstance(self.sealed, SealedText) else self.sealed)
        if blob.get("row") != self._seal_owner():
            raise Unreadable(f"The secrets of {self._meta.verbose_name} {self.pk} were sealed for another row.")
        return dict(blob["secrets"])

    def seal(self, secrets: dict[str, str]) -> None:
        """Replace the secrets of this row (not saved yet: `save(update_fields=SEALED_FIELDS)` or `save()`)."""
        kept = {name: value for name, value in secrets.items() if value}
        self.sealed = json.dumps({"row": self._seal_owner(), "secrets": kept}) if kept else None
        self.secrets_set = {name: len(value) for name, value in kept.items()}


SEALED_FIELDS = ("sealed", "secrets_set", "generation")


class Canary(models.Model):
    """One row with a known text: if it opens, the encryption key is the right one."""

    text: models.Field[str, SealedText] = SealedTextField()

    class Meta:
        verbose_name_plural = "canaries"
