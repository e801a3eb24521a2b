"""The encrypted field, on top of django-encrypted-model-fields 0.6.5 (whose traps it closes; each has a test)."""

from typing import Any, NoReturn, Self

from cryptography.fernet import InvalidToken
from django.core.exceptions import FieldError, ImproperlyConfigured, ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from encrypted_model_fields import fields as encryption

# Says that what follows is ours and encrypted, so that a plain text in the column is told from a sealed one.
PREFIX = "engage1:"


class Unreadable(ImproperlyConfigured):
    """A stored secret cannot be decrypted with the keys at hand. The row is left as it is."""


class SealedText:
    """What a sealed column holds: the token. Only `reveal()` decrypts it, so rows, `values()` and logs carry no plaintext.

    Saved again, the token goes back as it is: what cannot be read is not overwritten either.
    """

    __slots__ = ("stored", "where")

    def __init__(self, stored: str, where: str) -> None:
        self.stored = stored  # prefix and token
        self.where = where  # "Connection.sealed", for the sentence of a failure

    def __repr__(self) -> str:
        return f"<sealed {self.where}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SealedText) and other.stored == self.stored

    def __hash__(self) -> int:
        return hash(self.stored)

    @classmethod
    def of(cls, text: str, where: str) -> Self:
        """Encrypt `text`."""
        return cls(PREFIX + encryption.encrypt_str(text).decode("ascii"), where)

    @property
    def token(self) -> bytes:
        """The encrypted text, without our prefix."""
        return self.stored.removeprefix(PREFIX).encode("ascii")

    def reveal(self) -> str:
        """Decrypt.

        Raises:
            Unreadable: it was encrypted with a key that we do not have, or damaged.

        """
        try:
            return str(encryption.decrypt_str(self.stored.removeprefix(PREFIX)))
        except InvalidToken:
            raise Unreadable(
                f"{self.where} cannot be decrypted: FIELD_ENCRYPTION_KEY lacks the key that it was saved with."
            ) from None


class SealedTextField(encryption.EncryptedTextField):  # type: ignore[misc]
    """A text that is encrypted in the database: written as a str, read as a `SealedText`.

    Against the package: `to_python` never decrypts (a pasted token stays a pasted token); reading gives no ciphertext for
    a value, and no plaintext without asking; an SQL expression is refused unless its values pass through this field.
    """

    def to_python(self, value: Any) -> Any:
        """Return `value` as it is.

        Raises:
            ValidationError: it comes from a dump of a column that must not be empty; dumps hold no secrets.

        """
        if value == "":
            if self.null:
                return None
            raise ValidationError(f"{self.model.__name__}.{self.name} is not part of a dump. Leave its rows out.")
        return value

    def from_db_value(self, value: str | None, *args: object) -> SealedText | None:
        """Wrap what the database holds.

        Raises:
            Unreadable: it was not encrypted by us.

        """
        if value is None:
            return None
        where = f"{self.model.__name__}.{self.name}"
        if not value.startswith(PREFIX):
            raise Unreadable(f"{where} holds something that was not encrypted by Engage.")
        return SealedText(value, where)

    def get_prep_value(self, value: Any) -> Any:
        """Take the token out, to compare with and to write."""
        return value.stored if isinstance(value, SealedText) else value

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        """Encrypt a text; write a token back as it is; let an expression through whose values come from a sealed field.

        Raises:
            FieldError: an expression that would store a plain text (`update(sealed=Value("..."))`).

        """
        if value is None or isinstance(value, SealedText):
            return self.get_prep_value(value)
        if hasattr(value, "as_sql"):
            if not isinstance(_output_field(value), SealedTextField):
                self._refuse(value)
            return value
        if not isinstance(value, str):
            self._refuse(value)
        return SealedText.of(value, "").stored

    def value_to_string(self, obj: models.Model) -> str:
        """Serializers (`dumpdata`) get no secret."""
        return ""

    def _refuse(self, value: object) -> NoReturn:
        raise FieldError(f"{self.model.__name__}.{self.name} takes a text to encrypt, not a {type(value).__name__}.")


def _output_field(expression: Any) -> models.Field[Any, Any] | None:
    try:
        field: models.Field[Any, Any] | None = expression.output_field
    except FieldError:
        return None
    return field
