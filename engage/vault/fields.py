"""The encrypted field, on top of django-encrypted-model-fields 0.6.5 (whose traps it closes; each has a test)."""

from typing import Any

from cryptography.fernet import InvalidToken
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from encrypted_model_fields import fields as encryption

# Says that what follows is ours and encrypted, so that a plain text in the column is told from a sealed one.
PREFIX = "engage1:"


class Unreadable(ImproperlyConfigured):
    """A stored secret cannot be decrypted with the keys at hand. The row is left as it is."""


class SealedTextField(encryption.EncryptedTextField):  # type: ignore[misc]
    """A text that is encrypted in the database and decrypted on reading, or an error: never anything in between.

    Against the package: `to_python` never decrypts (a pasted token stays a pasted token); an expression passes through
    unencrypted into SQL instead of being stored as its repr; a missing prefix or a token of another key raises.
    """

    def to_python(self, value: Any) -> Any:
        """Return `value` as it is."""
        return value

    def from_db_value(self, value: str | None, *args: object) -> str | None:
        """Decrypt what the database holds.

        Raises:
            Unreadable: it is not ours, or encrypted with a key that we do not have.

        """
        if value is None:
            return None
        if not value.startswith(PREFIX):
            raise Unreadable(f"{self.model.__name__}.{self.name} holds something that was not encrypted by Engage.")
        try:
            return str(encryption.decrypt_str(value.removeprefix(PREFIX)))
        except InvalidToken:
            raise Unreadable(
                f"{self.model.__name__}.{self.name} cannot be decrypted: FIELD_ENCRYPTION_KEY lacks the key that it was saved with."
            ) from None

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        """Encrypt a text; let SQL expressions through, as `bulk_update` builds them around already prepared values."""
        if value is None or hasattr(value, "as_sql"):
            return value
        return PREFIX + encryption.encrypt_str(str(value)).decode("ascii")

    def value_to_string(self, obj: models.Model) -> str:
        """Serializers (`dumpdata`) get no secret."""
        return ""
