"""Does the encryption key fit the database? Every process asks before it does anything else."""

import sys

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.utils import OperationalError, ProgrammingError

from engage.vault.fields import Unreadable
from engage.vault.models import Canary, Sealed

TEXT = "The key fits."
REFUSAL = (
    "Engage does not start: FIELD_ENCRYPTION_KEY does not fit this database. Credentials were saved with another key. "
    "Put that key back (as the only one, or behind a new one, separated by a comma). Nothing was changed."
)


def fits(using: str = DEFAULT_DB_ALIAS) -> bool:
    """Whether the canary opens; True also where there is none yet (a new database).

    Raises:
        Unreadable: the key does not fit.

    """
    return all(canary.text.reveal() == TEXT for canary in Canary.objects.using(using).all())


def verify_or_exit() -> None:
    """Stop this process with status 3 and a sentence on stderr when the key does not fit."""
    try:
        if fits():
            return
    except Unreadable:
        pass
    except (OperationalError, ProgrammingError):
        return  # not migrated yet, or the database is away: both are said elsewhere, and no secret can be read
    finally:
        connections.close_all()
    sys.stderr.write(REFUSAL + "\n")
    raise SystemExit(3)


def after_migrate(using: str = DEFAULT_DB_ALIAS, **_: object) -> None:
    """Make the canary of a new database; refuse to go on with a key that does not fit.

    Raises:
        Unreadable: the key does not fit. A database that holds secrets and no canary is refused as well: a new canary
            would hide that its key is lost.

    """
    tables = set(connections[using].introspection.table_names())
    if Canary._meta.db_table not in tables:
        return  # migrated back to before it
    if not Canary.objects.using(using).exists():
        made = [model for model in sealed_models() if model._meta.db_table in tables]
        if any(model.objects.using(using).exclude(sealed=None).exists() for model in made):
            raise Unreadable("This database holds secrets but no canary. Restore the vault_canary row.")
        Canary.objects.using(using).create(text=TEXT)
    if not fits(using):
        raise Unreadable(REFUSAL)


def sealed_models() -> list[type[Sealed]]:
    """Return every model with secrets."""
    return [model for model in apps.get_models() if issubclass(model, Sealed)]
